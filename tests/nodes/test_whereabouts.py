"""Lookups of one server: without an address, and after it has been away for long."""

import math
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.effects import Dial, Resolve
from core.environment import Environment
from core.events import Closed, Opened
from nodes.ls.link import Link
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Whereabouts

BOUNDS = replace(Bounds(), redial_first_s=1 / 16)
ADDRESSES = ((2, ("127.0.0.1", 1)),)
HOST = ("ts.example", 1)
LOOKUP = Resolve("TS1", *HOST)
DIAL = Dial("TS1", ADDRESSES)


def due(one: TableLink) -> float:
    one.look()
    return one.due


def server(addresses: tuple[tuple[int, object], ...] = ADDRESSES) -> tuple[TableLink, Whereabouts]:
    env = Environment(BOUNDS)
    link = TableLink(Link("TS1", addresses, env), env, HOST)
    return link, link.whereabouts


def test_without_an_address_it_is_looked_up_and_then_dialled() -> None:
    one, where = server(())
    assert due(one) == 0.0 and one.woken(0.0) == [LOOKUP] and due(one) == math.inf
    waits = []
    for _ in range(3):
        where.not_found(100.0, 1)
        waits.append(due(one) - 100.0)
    assert waits == [1 / 16, 1 / 8, 1 / 4]
    where.found(ADDRESSES)
    assert due(one) <= 200.0 and one.woken(200.0) == [DIAL]
    one.receive(Closed("TS1", "refused"), 200.0)
    assert due(one) == 200.0 + 1 / 16  # the wait starts over


@pytest.mark.parametrize("count", [1, 1_000])
def test_the_more_hosts_are_nowhere_the_longer_the_wait(count: int) -> None:
    one, where = server(())
    for _ in range(30):
        where.not_found(0.0, count)
    assert due(one) == max(BOUNDS.lookup_max_s, BOUNDS.lookup_each_s * count)


def test_away_for_long_it_is_looked_up_once_in_a_while() -> None:
    _, where = server()
    times = (100.0, 129.9, 130.0, 131.0, 159.9, 160.0)
    looked_up = [now for now in times if where.look_up_if_long_away(now) == [LOOKUP]]
    assert looked_up == [130.0, 160.0]


def test_only_a_connection_counts_as_having_been_there() -> None:
    """A dial that fails says nothing new of where it is; a connection that held until now does."""
    one, where = server()
    assert not where.look_up_if_long_away(100.0)
    assert one.woken(100.0) == [DIAL]
    one.receive(Closed("TS1", "refused"), 120.0)
    assert where.look_up_if_long_away(130.0)
    assert one.woken(140.0) == [DIAL]
    one.receive(Opened("TS1"), 140.0)
    one.receive(Closed("TS1", "gone"), 1000.0)
    assert not where.look_up_if_long_away(1029.9)
    assert where.look_up_if_long_away(1030.0)
