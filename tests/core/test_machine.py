"""Every state machine of the project, whole: each pair of state and event, and the house rules."""

from collections.abc import Mapping
from enum import Enum

import pytest

from core.io.backlog import BACKLOG, BacklogEvent, BacklogState
from core.io.stream_state import STREAM, StreamEvent, StreamState
from core.machine import STAY, IllegalTransition, Machine, Stay
from core.protocol.asker import SESSION, SessionEvent, SessionState
from core.protocol.server_state import SERVER, ServerEvent, ServerState
from nodes.client.client_state import CLIENT, ClientEvent, ClientState
from nodes.ls.link_state import LINK, LinkEvent, LinkState
from nodes.top.top_state import TOP, TopEvent, TopState
from nodes.ts.reload import RELOAD, ReloadEvent, ReloadState
from nodes.workers.slot import SLOT, SlotEvent, SlotState

# table, its events, where it starts, where it may end, and what a peer can cause at any time
MACHINES = {
    "connection": (
        STREAM,
        StreamEvent,
        {StreamState.CONNECTING, StreamState.OPEN},
        {StreamState.CLOSED},
    ),
    "weight": (BACKLOG, BacklogEvent, {BacklogState.LIGHT}, set()),
    "session": (SESSION, SessionEvent, {SessionState.OPEN}, {SessionState.DONE}),
    "server": (SERVER, ServerEvent, {ServerState.SERVING}, {ServerState.STOPPED}),
    "link": (LINK, LinkEvent, {LinkState.DOWN}, set()),
    "worker": (SLOT, SlotEvent, {SlotState.VACANT}, {SlotState.CLOSED}),
    "reload": (RELOAD, ReloadEvent, {ReloadState.STEADY}, set()),
    "top": (TOP, TopEvent, {TopState.IDLE}, {TopState.ENDED}),
    "client": (CLIENT, ClientEvent, {ClientState.IDLE}, {ClientState.DONE, ClientState.FAILED}),
}
# In which states the world outside can make an event happen.
PEER_CAUSED = [
    (STREAM, StreamEvent.LOST, set(StreamState)),
    (
        STREAM,
        StreamEvent.PEER_ENDED,
        {StreamState.OPEN, StreamState.DEAF, StreamState.FLUSHING, StreamState.LINGERING},
    ),
    (
        STREAM,
        StreamEvent.SEND_FAILED,
        {StreamState.OPEN, StreamState.HALF_CLOSED, StreamState.FLUSHING},
    ),
    (STREAM, StreamEvent.SEND_FAILED, {StreamState.PARTING}),
    (SESSION, SessionEvent.QUIT, {SessionState.OPEN}),
    (SESSION, SessionEvent.ENDED, {SessionState.OPEN, SessionState.LEAVING}),
    (SESSION, SessionEvent.LOST, set(SessionState)),
    (SESSION, SessionEvent.DRAIN, set(SessionState)),
    (SERVER, ServerEvent.DRAIN, set(ServerState)),
    (LINK, LinkEvent.LOST, set(LinkState) - {LinkState.DOWN}),
    (LINK, LinkEvent.BACKLOGGED, {LinkState.CATCHING_UP, LinkState.UP}),
    (LINK, LinkEvent.RELIEVED, {LinkState.CATCHING_UP, LinkState.HOLDING, LinkState.STALLED}),
    (SLOT, SlotEvent.LOST, {SlotState.STARTING, SlotState.UP, SlotState.DRAINING}),
    (SLOT, SlotEvent.DRAIN, {SlotState.VACANT, SlotState.STARTING, SlotState.UP}),
    (RELOAD, ReloadEvent.ASKED, set(ReloadState)),
    (CLIENT, ClientEvent.CUT_SHORT, set(ClientState)),
    (TOP, TopEvent.END, set(TopState)),
    (TOP, TopEvent.LOST, set(TopState) - {TopState.IDLE}),
]

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
def test_every_state_is_reached_and_only_ends_have_no_way_out(
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
def test_every_event_is_used_and_each_name_has_its_own_gloss(
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
