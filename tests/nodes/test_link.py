"""Link: when a table server is dialled, what counts as standing, and what each state means.

Times are multiples of 1/16 s where a moment has to be hit exactly. `chance` stands for the
jitter: 0.0 gives none, just under 1.0 the most.

Not here: what LS does about any of it (`tests/nodes/test_load_balancer_machine.py`), and the table
of states as such (`tests/core/test_machine.py`).
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.machine import IllegalTransition
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.table_link import TableLink
from tests.support.balancers import link_metric

BOUNDS = replace(Bounds(), redial_first_s=1 / 16)
E, S = LinkEvent, LinkState
CONNECTED = E.DIAL_DUE, E.CONNECTED
# How to bring a link that is DOWN into each state.
WAYS = {
    S.DOWN: (),
    S.DIALING: (E.DIAL_DUE,),
    S.CATCHING_UP: CONNECTED,
    S.UP: (*CONNECTED, E.CAUGHT_UP),
    S.HOLDING: (*CONNECTED, E.CAUGHT_UP, E.BACKLOGGED),
    S.STALLED: (*CONNECTED, E.CAUGHT_UP, E.BACKLOGGED, E.HELD_TOO_LONG),
    S.CLOSING: (*CONNECTED, E.CAUGHT_UP, E.GIVEN_UP),
}


def link(chance: Callable[[], float] = lambda: 0.0) -> Link:
    return Link("TS1", ((2, ("127.0.0.1", 1)),), Environment(BOUNDS, random=chance))


def connected(one: Link, now: float) -> None:
    one.dialled()
    one.connected(now)


def refused(one: Link, now: float) -> None:
    one.dialled()
    one.lost(now)


@pytest.mark.parametrize("state", LinkState)
def test_a_state_says_whether_it_is_asked_heard_and_due(state: LinkState) -> None:
    one = link()
    refused(one, 7.0 - 1 / 16)
    for event in WAYS[state]:
        if event is E.BACKLOGGED:
            one.backlogged(9.0)
        else:
            one.life.fire(event)
    assert one.life.state is state
    assert one.is_asked is (state in (S.UP, S.HOLDING))
    assert one.is_live is (state in (S.CATCHING_UP, S.UP, S.HOLDING))
    assert one.is_answering is (state in (S.CATCHING_UP, S.UP, S.HOLDING, S.STALLED))
    assert one.due() == {S.DOWN: 7.0, S.HOLDING: 9.0 + BOUNDS.held_s}.get(state, math.inf)
    if state is S.UP:
        assert one.life.fire(E.FELL_BEHIND) is S.CATCHING_UP
    else:
        with pytest.raises(IllegalTransition):
            one.life.fire(E.FELL_BEHIND)


def test_one_that_catches_up_holds_up_nobody_however_much_waits() -> None:
    one = link()
    connected(one, 0.0)
    one.backlogged(9.0)
    assert one.life.state is S.CATCHING_UP and one.due() == math.inf
    assert one.life.fire(E.RELIEVED) is S.CATCHING_UP


def test_one_that_is_retired_is_never_dialled_again() -> None:
    one = link()
    assert one.due() == 0.0
    one.retire()
    assert one.due() == math.inf


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a19_the_wait_doubles_up_to_the_longest_plus_a_quarter(chance: float) -> None:
    one, now, waits = link(lambda: chance), 100.0, []
    for _ in range(8):
        refused(one, now)
        waits.append(one.due() - now)
        now = one.due()
    plain = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 1.0, 1.0, 1.0]
    assert waits == pytest.approx([wait * (1 + chance / 4) for wait in plain])


def test_each_wait_has_a_jitter_of_its_own() -> None:
    drawn = iter([0.0, 1.0, 0.0])
    one = link(lambda: next(drawn))
    waits = []
    for _ in range(3):
        refused(one, 0.0)
        waits.append(one.due())
    assert waits == [1 / 16, 1 / 8 * 1.25, 1 / 4]


@pytest.mark.parametrize(("stood_s", "wait_s"), [(0.0, 1.0), (1.0, 1.0), (1.0625, 1 / 16)])
def test_a19_a_wait_starts_over_after_a_connection_that_stood(
    stood_s: float, wait_s: float
) -> None:
    """For that one wait: a refused dial later is no connection that stood."""
    one = link()
    for _ in range(9):
        refused(one, 100.0)
    connected(one, 200.0)
    one.lost(200.0 + stood_s)
    assert one.due() - (200.0 + stood_s) == wait_s
    refused(one, 300.0)
    assert one.due() - 300.0 == min(2 * wait_s, 1.0)


def test_what_is_counted_outlives_connections() -> None:
    one = link()
    table = TableLink(one, Environment(BOUNDS))
    for now in (0.0, 10.0):
        connected(one, now)
        table.ask([b"a", b"b"], now)
        one.replies.credit(2, 1)
        one.replies.misread(1)
        one.replies.misread(0, 3)
        one.lost(now + 1.0)
    counted = {key: link_metric(table, key) for key in ("asked", "won", "late", "redials")}
    assert counted == {"asked": 4, "won": 4, "late": 2, "redials": 1}
    assert (link_metric(table, "malformed"), link_metric(table, "nothing_said")) == (2, 6)
    assert link_metric(table, "link") == "DOWN"
