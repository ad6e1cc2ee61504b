"""Lookups of one table server: without an address, and after it has been away for long."""

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


def server(addresses: tuple[tuple[int, object], ...] = ADDRESSES) -> TableLink:
    env = Environment(BOUNDS)
    return TableLink(Link("TS1", addresses, env), env, HOST)


def whereabouts(of: TableLink) -> Whereabouts:
    assert of.whereabouts is not None
    return of.whereabouts


def test_without_an_address_it_is_looked_up_and_then_dialled() -> None:
    one = server(())
    assert one.due() == 0.0 and one.woken(0.0) == [LOOKUP] and one.due() == math.inf
    waits = []
    for _ in range(3):
        whereabouts(one).not_found(100.0, 1)
        waits.append(one.due() - 100.0)
    assert waits == [1 / 16, 1 / 8, 1 / 4]
    whereabouts(one).found(ADDRESSES, 200.0)
    assert one.due() == 200.0 and one.woken(200.0) == [DIAL]
    one.receive(Closed("TS1", "refused"), 200.0)
    assert one.due() == 200.0 + 1 / 16  # the wait starts over


@pytest.mark.parametrize("count", [1, 1_000])
def test_the_more_hosts_are_nowhere_the_longer_the_wait(count: int) -> None:
    one = server(())
    for _ in range(30):
        whereabouts(one).not_found(0.0, count)
    assert one.due() == max(BOUNDS.lookup_max_s, BOUNDS.lookup_each_s * count)


def is_looked_up(one: TableLink, now: float) -> bool:
    return whereabouts(one).look_up_if_long_away(now) == [LOOKUP]


def test_away_for_long_it_is_looked_up_once_in_a_while() -> None:
    one = server()
    times = (100.0, 129.9, 130.0, 131.0, 159.9, 160.0)
    assert [is_looked_up(one, now) for now in times] == [False, False, True, False, False, True]


def test_only_a_connection_counts_as_having_been_there() -> None:
    """A dial that fails says nothing new of where it is; a connection that held until now does."""
    one = server()
    assert not is_looked_up(one, 100.0)
    assert one.woken(100.0) == [DIAL]
    one.receive(Closed("TS1", "refused"), 120.0)
    assert is_looked_up(one, 130.0)
    assert one.woken(140.0) == [DIAL]
    one.receive(Opened("TS1"), 140.0)
    one.receive(Closed("TS1", "gone"), 1000.0)
    assert not is_looked_up(one, 1029.9)
    assert is_looked_up(one, 1030.0)
