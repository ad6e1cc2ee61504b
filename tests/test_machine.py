"""Every state machine of the project, whole: each pair of state and event, and the house rules."""

from collections.abc import Mapping
from enum import Enum

import pytest

from core.conn import STREAM, WEIGHT, Happening, Stream, Tide, Weight
from core.machine import STAY, IllegalTransition, Machine, Stay
from core.server import SERVER, Fate, Life
from core.session import SESSION, Talk, Turn
from nodes.balancer.link import LINK, Pull, Tie
from nodes.client import CLIENT, Task
from nodes.client import Step as ClientStep
from nodes.tables.reload import RELOAD, Reading, Step
from nodes.workers.supervisor import WORKER, Duty, Post

# table, its events, where it starts, where it may end, and what a peer can cause at any time
MACHINES = {
    "connection": (STREAM, Happening, {Stream.CONNECTING, Stream.OPEN}, {Stream.CLOSED}),
    "weight": (WEIGHT, Tide, {Weight.LIGHT}, set()),
    "session": (SESSION, Turn, {Talk.OPEN}, {Talk.DONE}),
    "server": (SERVER, Fate, {Life.SERVING}, {Life.STOPPED}),
    "link": (LINK, Pull, {Tie.DOWN}, set()),
    "worker": (WORKER, Duty, {Post.VACANT}, {Post.CLOSED}),
    "reload": (RELOAD, Step, {Reading.STEADY}, set()),
    "client": (CLIENT, ClientStep, {Task.IDLE}, {Task.DONE, Task.FAILED}),
}
# In which states the world outside can make an event happen.
PEER_CAUSED = [
    (STREAM, Happening.LOST, set(Stream)),
    (STREAM, Happening.PEER_ENDED, {Stream.OPEN, Stream.DEAF, Stream.FLUSHING, Stream.LINGERING}),
    (STREAM, Happening.SEND_FAILED, {Stream.OPEN, Stream.HALF_CLOSED, Stream.FLUSHING}),
    (STREAM, Happening.SEND_FAILED, {Stream.PARTING}),
    (SESSION, Turn.QUIT, {Talk.OPEN}),
    (SESSION, Turn.ENDED, {Talk.OPEN, Talk.LEAVING}),
    (SESSION, Turn.LOST, set(Talk)),
    (SESSION, Turn.DRAIN, set(Talk)),
    (SERVER, Fate.DRAIN, set(Life)),
    (LINK, Pull.LOST, set(Tie) - {Tie.DOWN}),
    (LINK, Pull.BACKLOGGED, {Tie.CATCHING_UP, Tie.UP}),
    (LINK, Pull.RELIEVED, {Tie.CATCHING_UP, Tie.HOLDING, Tie.STALLED}),
    (WORKER, Duty.LOST, {Post.STARTING, Post.UP, Post.DRAINING}),
    (WORKER, Duty.DRAIN, {Post.VACANT, Post.STARTING, Post.UP}),
    (RELOAD, Step.ASKED, set(Reading)),
    (CLIENT, ClientStep.CUT_SHORT, set(Task)),
]  # fmt: skip

Table = Mapping[Enum, Mapping[Enum, Enum]]
each = pytest.mark.parametrize(
    ("table", "events", "starts", "ends"), MACHINES.values(), ids=MACHINES
)


@each
def test_every_pair_goes_where_the_table_says_or_is_our_mistake(
    table: Table, events: type[Enum], starts: set[Enum], ends: set[Enum]
) -> None:
    for state in table:
        for event in events:
            seen: list[tuple[str, Enum, Enum]] = []
            machine = Machine(table, state, "it", lambda *move, seen=seen: seen.append(move))
            following = table[state].get(event)
            if following is None:
                with pytest.raises(IllegalTransition, match=f"it: {event.name} in {state.name}"):
                    machine.fire(event)
                assert machine.state is state and not seen
            elif following is STAY:
                assert machine.fire(event) is state
                assert machine.state is state and not seen
            else:
                assert machine.fire(event) is following
                assert machine.state is following and seen == [("it", state, following)]


@each
def test_every_state_has_a_row_and_is_reached_and_only_ends_have_no_way_out(
    table: Table, events: type[Enum], starts: set[Enum], ends: set[Enum]
) -> None:
    assert set(table) == set(type(next(iter(table))))
    reached, todo = set(starts), list(starts)
    while todo:
        for following in table[todo.pop()].values():
            if not isinstance(following, Stay) and following not in reached:
                reached.add(following)
                todo.append(following)
    assert reached == set(table)
    stuck = {s for s, row in table.items() if all(isinstance(f, Stay) for f in row.values())}
    assert stuck == ends


@each
def test_every_event_is_used_and_every_name_has_a_gloss_of_its_own(
    table: Table, events: type[Enum], starts: set[Enum], ends: set[Enum]
) -> None:
    assert {event for row in table.values() for event in row} == set(events)
    for names in (events, type(next(iter(table)))):
        glosses = [name.value for name in names]
        assert len(set(glosses)) == len(glosses) == len(names.__members__)
        assert all(isinstance(gloss, str) and 10 < len(gloss) < 100 for gloss in glosses)


@pytest.mark.parametrize(("table", "event", "states"), PEER_CAUSED)
def test_what_a_peer_can_do_has_a_cell(table: Table, event: Enum, states: set[Enum]) -> None:
    assert {state for state in states if event not in table[state]} == set()
