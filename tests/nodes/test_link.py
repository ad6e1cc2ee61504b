"""Link: when a table server is dialled, what counts as standing, and what each state means.

Times are multiples of 1/16 s where a moment has to be hit exactly. `chance` stands for the
jitter: 0.0 gives none, just under 1.0 the most.

Not here: what LS does about any of it (`tests/nodes/test_load_balancer.py`), and the table of
states as such (`tests/core/test_machine.py`).
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.machine import IllegalTransition
from core.operator import Level, Report
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent, LinkState
from tests.support.balancers import link_metric

BOUNDS = replace(Bounds(), redial_first_s=1 / 16)
ADDRESSES = ((2, ("127.0.0.1", 1)),)
# How to bring a link that is DOWN into each state.
WAYS = {
    LinkState.DOWN: (),
    LinkState.DIALING: (LinkEvent.DIAL_DUE,),
    LinkState.CATCHING_UP: (LinkEvent.DIAL_DUE, LinkEvent.CONNECTED),
    LinkState.UP: (LinkEvent.DIAL_DUE, LinkEvent.CONNECTED, LinkEvent.CAUGHT_UP),
    LinkState.HOLDING: (
        LinkEvent.DIAL_DUE,
        LinkEvent.CONNECTED,
        LinkEvent.CAUGHT_UP,
        LinkEvent.BACKLOGGED,
    ),
    LinkState.STALLED: (
        LinkEvent.DIAL_DUE,
        LinkEvent.CONNECTED,
        LinkEvent.CAUGHT_UP,
        LinkEvent.BACKLOGGED,
        LinkEvent.HELD_TOO_LONG,
    ),
    LinkState.CLOSING: (
        LinkEvent.DIAL_DUE,
        LinkEvent.CONNECTED,
        LinkEvent.CAUGHT_UP,
        LinkEvent.GIVEN_UP,
    ),
}
ASKED_AGAIN = (*WAYS[LinkState.UP], LinkEvent.FELL_BEHIND)  # from UP back to CATCHING_UP


def link(chance: Callable[[], float] = lambda: 0.0) -> Link:
    return Link("TS1", ADDRESSES, Environment(BOUNDS, random=chance))


def brought_to(state: LinkState) -> Link:
    one = link()
    for event in WAYS[state]:
        one.life.fire(event)
    assert one.life.state is state
    return one


def connected(one: Link, now: float) -> None:
    one.dialled()
    one.connected(now)


def refused(one: Link, now: float) -> None:
    one.dialled()
    one.lost(now)


@pytest.mark.parametrize("state", LinkState)
def test_only_a_link_that_had_everything_is_asked_at_once(state: LinkState) -> None:
    assert brought_to(state).is_asked is (state in (LinkState.UP, LinkState.HOLDING))


@pytest.mark.parametrize("state", LinkState)
def test_an_answer_is_hoped_for_from_whoever_is_asked(
    state: LinkState,
) -> None:
    assert brought_to(state).is_live is (
        state in (LinkState.CATCHING_UP, LinkState.UP, LinkState.HOLDING)
    )


@pytest.mark.parametrize("state", LinkState)
def test_only_a_link_that_is_up_can_fall_behind(state: LinkState) -> None:
    one = brought_to(state)
    if state is LinkState.UP:
        assert one.life.fire(LinkEvent.FELL_BEHIND) is LinkState.CATCHING_UP
    else:
        with pytest.raises(IllegalTransition):
            one.life.fire(LinkEvent.FELL_BEHIND)


def test_a_link_that_fell_behind_is_up_with_its_last_slice() -> None:
    one = link()
    for event in ASKED_AGAIN:
        one.life.fire(event)
    assert one.is_live and not one.is_asked and one.is_answering
    for event in (
        LinkEvent.BACKLOGGED,
        LinkEvent.RELIEVED,
        LinkEvent.BACKLOGGED,
        LinkEvent.RELIEVED,
    ):
        assert one.life.fire(event) is LinkState.CATCHING_UP
        assert one.due() == math.inf
    assert one.life.fire(LinkEvent.CAUGHT_UP) is LinkState.UP


@pytest.mark.parametrize("event", [LinkEvent.LOST, LinkEvent.GIVEN_UP])
def test_one_that_fell_behind_may_go(event: LinkEvent) -> None:
    one = link()
    for before in ASKED_AGAIN:
        one.life.fire(before)
    one.life.fire(event)
    assert not one.is_live and not one.is_answering


def test_each_link_has_a_bit_that_its_connections_share() -> None:
    links = [Link(f"TS{n}", ADDRESSES, Environment(BOUNDS), 1 << n) for n in range(5)]
    assert sum(one.bit for one in links) == 0b11111
    connected(links[3], 0.0)
    links[3].lost(1.0)
    connected(links[3], 2.0)
    assert links[3].bit == 0b1000


@pytest.mark.parametrize("state", LinkState)
def test_replies_count_while_a_connection_is_not_being_ended(state: LinkState) -> None:
    silent = (LinkState.DOWN, LinkState.DIALING, LinkState.CLOSING)
    assert brought_to(state).is_answering is (state not in silent)


@pytest.mark.parametrize("state", LinkState)
def test_something_is_due_only_to_dial_or_to_let_the_clients_go(state: LinkState) -> None:
    one = link()
    refused(one, 7.0 - 1 / 16)
    for event in WAYS[state]:
        if event is LinkEvent.BACKLOGGED:
            one.backlogged(9.0)
        else:
            one.life.fire(event)
    dues = {LinkState.DOWN: 7.0, LinkState.HOLDING: 9.0 + BOUNDS.held_s}
    assert one.due() == dues.get(state, math.inf)


def test_one_that_catches_up_holds_up_nobody_however_much_waits() -> None:
    one = brought_to(LinkState.CATCHING_UP)
    one.backlogged(9.0)
    assert one.life.state is LinkState.CATCHING_UP and one.due() == math.inf


def test_one_that_is_retired_is_never_dialled_again() -> None:
    one = link()
    one.retire()
    assert one.due() == math.inf


def test_the_first_dial_is_due_from_the_beginning() -> None:
    assert link().due() == 0.0


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a19_the_wait_doubles_up_to_the_longest_plus_a_quarter(
    chance: float,
) -> None:
    one, now, waits = link(lambda: chance), 100.0, []
    for _ in range(8):
        refused(one, now)
        waits.append(one.due() - now)
        now = one.due()
    plain = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 2.0, 2.0]
    assert waits == pytest.approx([wait * (1 + chance / 4) for wait in plain])
    assert all(1.0 <= w / p < 1.25 for w, p in zip(waits, plain, strict=True))


def test_each_wait_has_a_jitter_of_its_own() -> None:
    drawn = iter([0.0, 1.0, 0.0])
    one = link(lambda: next(drawn))
    waits = []
    for _ in range(3):
        refused(one, 0.0)
        waits.append(one.due())
    assert waits == [1 / 16, 1 / 8 * 1.25, 1 / 4]


@pytest.mark.parametrize(("stood_s", "wait_s"), [(0.0, 2.0), (2.0, 2.0), (2.0625, 1 / 16)])
def test_a19_a_wait_starts_over_after_a_connection_that_stood(
    stood_s: float, wait_s: float
) -> None:
    one = link()
    for _ in range(9):
        refused(one, 100.0)
    connected(one, 200.0)
    one.lost(200.0 + stood_s)
    assert one.due() - (200.0 + stood_s) == wait_s


def test_a_connection_that_stood_counts_for_one_wait() -> None:
    one = link()
    connected(one, 0.0)
    one.lost(100.0)
    waits = []
    for now in (200.0, 300.0, 400.0):
        refused(one, now)
        waits.append(one.due() - now)
    assert waits == [1 / 8, 1 / 4, 1 / 2]


def test_a_new_connection_has_been_asked_nothing() -> None:
    one = link()
    connected(one, 0.0)
    one.sent(9)
    assert one.asked == 9
    one.lost(10.0)
    connected(one, 11.0)
    assert one.asked == 0
    assert one.life.state is LinkState.CATCHING_UP


def test_what_is_counted_outlives_connections() -> None:
    one = link()
    for now in (0.0, 10.0):
        connected(one, now)
        one.sent(4)
        one.credit(2, 1)
        one.misread(1)
        one.misread(0, 3)
        one.lost(now + 1.0)
    counted = {key: link_metric(one, key) for key in ("asked", "won", "late", "redials")}
    assert counted == {"asked": 8, "won": 4, "late": 2, "redials": 1}
    assert (link_metric(one, "malformed"), link_metric(one, "nothing_said")) == (2, 6)
    assert link_metric(one, "state") == "DOWN"


def test_that_it_is_down_is_said_once_until_it_is_up() -> None:
    one = link()
    down = Report("TS1 is down (gone); dialling it again", Level.WARNING)
    assert (one.say_down("gone"), one.say_down("gone")) == ([down], [])
    one.dialled()
    assert one.connected(0.0)  # it was said to be down
    assert one.give_up("gone") == [down]
    one.lost(1.0)
    connected(one, 2.0)
    one.mute()
    assert one.say_down("gone") == []
