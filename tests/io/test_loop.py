"""Promises of a turn of the loop: its order, and its budgets.

On the simulated network, where a turn can be looked at from outside; what needs the kernel is in
`tests/protocol/test_promises.py` and `tests/processes/test_system.py`.
"""

import signal
import time
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.effects import Dial, Send
from core.events import Received, Woken
from core.io.system import System
from core.operator import DrainAsked
from tests.sim.scenes import Scene
from tests.sim.world import PORT
from tests.support.loops import Node, Script, dials, promise

A, B = "client-1", "client-2"
X = b"x 10.0.0.1 A IN\n"
FILLER = b"y - TIMED OUT\n"  # legal from a TS, and answers nothing


@pytest.mark.parametrize(("reads", "reply"), [(5, X), (40, b"x - TIMED OUT\n")])
def test_a6_a_due_timeout_waits_a_while_for_a_ts_with_more(reads: int, reply: bytes) -> None:
    """The answer stands behind so many full reads; sixteen turns are what a timeout waits."""
    bounds = replace(Bounds(), read_bytes=len(FILLER))
    scene = Scene("", bounds=bounds)
    asker = scene.asker(b"x\n")
    scene.ls.paused_until = scene.world.t + 6.0
    scene.watch.undisturbed_since = scene.ls.clock() + 7.0
    scene.puppets[0].say(FILLER * reads + X)
    scene.wait(8.0)
    assert asker.take() == reply


@pytest.mark.parametrize("in_the_turn", [False, True])
def test_each_deadline_may_wait_its_own_sixteen_turns(in_the_turn: bool) -> None:
    """While a link has more to read. A deadline that was put off begins anew."""
    node = Node(dials(), read_bytes=1)
    asker = node.asker()
    node.scene.wait(0.5)
    node.turned_by_hand()
    node.puppet.say(b"?" * 100)
    asker.say(b"?" * 100)  # read after the link
    node.scene.wait(0.5)
    brain, now = node.brain, node.host.clock()

    def put_off(*_: object) -> tuple[()]:
        brain.due = now + 10.0
        return ()

    brain.due = now
    for _ in range(10):
        node.turn()
    if in_the_turn:
        brain.on = put_off
    else:
        put_off()
    node.turn()
    brain.due, brain.on = now, lambda _: ()
    for _ in range(16):
        node.turn()
    assert brain.of(Woken) == [Woken()] and not node.loop.hits["late_turns"]
    node.turn()
    assert len(brain.of(Woken)) == 2 and node.loop.hits["late_turns"] == 1


def test_a_wait_has_a_bound_however_late_all_is_due() -> None:
    brain = Script()
    brain.due = 1e9
    _, timeout_s = Node(brain).loop.wants()
    assert timeout_s == Bounds().sleep_s


def test_c8_the_clock_is_not_the_time_of_day() -> None:
    assert abs(System.now() - time.monotonic()) < 3600 < abs(System.now() - time.time())


def test_of_a_link_that_it_closes_a_brain_hears_only_the_end() -> None:
    """Here the QUIT of a drain takes what waits over the high mark: no Backlogged after Close."""
    scene = Scene("", bounds=replace(Bounds(), waiting_bytes_high=3, waiting_bytes_low=1))
    scene.signal()
    scene.wait(1.0)
    assert scene.puppets[0].take() == b"QUIT\n"
    scene.puppets[0].end()
    scene.wait(1.0)
    assert scene.ls.exit_code == 0


def test_c7_after_a_stop_nobody_is_cut_off_for_what_waited() -> None:
    """Room comes when the process goes on: what waits is sent before it is judged."""
    scene = Scene("", bounds=replace(Bounds(), idle_s=8.0))
    scene.world.network.room = 3_000
    slow, idle = scene.asker(), scene.asker(b"nobody\n")
    slow.reads = False
    slow.say(b"?\nx\n" * 500)
    scene.wait(1.0)
    scene.ls.paused_until = scene.world.t + 15.0
    scene.watch.undisturbed_since = scene.ls.clock() + 16.0
    slow.reads = True
    slow.poll()
    scene.wait(16.0)
    assert idle.take() == b"nobody - TIMED OUT\n" and not idle.has_ended
    assert not slow.has_ended and scene.ls.loop.hits["write_stall_s"] == 0  # type: ignore[union-attr]


# -- reads and sends of a turn ---------------------------------------------------------------------


def test_a_link_is_heard_before_those_who_ask() -> None:
    """Also when it was dialled after they came, and in one turn with them."""
    node = Node()
    asker = node.asker()
    node.do(Dial("TS1", ((2, ("TS1", PORT)),)))
    node.scene.wait(0.5)
    node.turned_by_hand()
    asker.say(b"x\n")
    node.puppet.say(X)
    node.scene.wait(0.5)
    assert node.turn() == [("TS1", len(X)), ("client-1", 2)]


def crowd(clients: int, says: bytes = b"", **bounds: int) -> Node:
    """Build a node with clients; to what it hears it says this. It is turned by hand."""
    brain = Script(lambda e: [Send(e.conn, says)] if says and isinstance(e, Received) else [])
    node = Node(brain, **bounds)
    for _ in range(clients):
        node.asker()
    node.turned_by_hand()
    return node


def say(node: Node, data: bytes) -> None:
    """Have each client say this."""
    for asker in node.askers:
        asker.say(data)
    node.scene.wait(0.5)


def test_clients_share_what_a_turn_reads_in_equal_parts() -> None:
    some = crowd(10, turn_bytes=1_000)
    say(some, b"x\n" * 500)
    for _ in range(3):
        heard = some.turn()
        assert len({conn for conn, _ in heard}) == 10
        assert sum(count for _, count in heard) <= 1_000
    assert some.loop.hits["turn_bytes"] == 30
    alone = crowd(1, turn_bytes=1_000)
    say(alone, b"x\n" * 500)
    assert alone.turn() == [("client-1", 1_000)]


def test_while_memory_is_short_only_the_few_are_read() -> None:
    some = crowd(3, owed_all_bytes_high=10_000, owed_all_bytes_low=5_000, few_read_bytes=10)
    say(some, b"x\n" * 50)
    for conn in ("client-1", "client-2"):
        promise(some.loop.owed, conn, 9_000)
    for _ in range(3):
        assert some.turn() == [("client-3", 10)]
    some.loop.wants()
    fds = some.loop.read_list.fds
    read = {each.name for each in some.loop.streams.accepted.values() if each.fd in fds}
    assert read == {"client-3"}  # select would name the others again and again
    promise(some.loop.owed, "client-1", 0)
    assert some.turn() == [("client-1", 10), ("client-3", 10)]  # not yet below the low mark
    promise(some.loop.owed, "client-2", 0)
    assert [conn for conn, _ in some.turn()] == ["client-1", "client-2", "client-3"]
    assert some.loop.hits["owed_all_bytes_high"] == 1


def test_a_quiet_client_is_heard_in_time_and_before_a_drain() -> None:
    node = Node(quiet_turns=2, quiet_least=1, quiet_look_s=2.0)
    quiet, busy = node.asker(), node.asker()
    node.turned_by_hand()
    heard = []
    for _ in range(9):  # in the first two nobody is quiet yet
        busy.say(b"b\n")
        quiet.say(b"q\n" if len(heard) > 2 else b"")
        node.scene.wait(0.5)
        heard.append([conn for conn, _ in node.turn()])
    assert heard[3:] == [[B], [B], [A, B], [A, B], [A, B], [A, B]]
    for _ in range(4):
        busy.say(b"b\n")
        node.scene.wait(0.001)
        node.turn()
    quiet.say(b"last\n")
    node.ring(signal.SIGTERM)
    for _ in range(3):
        busy.say(b"b\n")
        node.scene.wait(0.001)
        node.turn()
    (asked,) = node.brain.of(DrainAsked)
    heard_of = node.brain.heard[: node.brain.heard.index(asked)]
    assert Received(A, b"last\n") in heard_of


def test_memory_that_gets_short_inside_a_turn_counts_in_it() -> None:
    some = crowd(
        5, b"y" * 600, owed_all_bytes_high=1_000, owed_all_bytes_low=500, few_bytes=400,
        few_read_bytes=2,
    )  # fmt: skip
    say(some, b"x\n" * 50)
    heard = some.turn()
    assert heard[:2] == [("client-1", 100), ("client-2", 100)]
    assert heard[2:] == [("client-3", 2), ("client-4", 2), ("client-5", 2)]


def test_a_link_is_read_whatever_the_clients_are_owed() -> None:
    scene = Scene("", bounds=replace(Bounds(), owed_all_bytes_high=100, owed_all_bytes_low=50))
    loop = scene.ls.loop
    assert loop is not None
    asker = scene.asker(b"x\n")
    scene.wait(0.1)
    loop.owed.owed_bytes += 100  # somebody else's
    scene.world.checks.clear()
    link = loop.streams.dialled["TS1"]
    assert loop.owed.is_short() and link.bytes_to_read(1) == scene.bounds.read_bytes
    link.waiting += 10_000  # however much waits for it: else both ends might stop reading
    assert link.bytes_to_read(1) == scene.bounds.read_bytes
    link.waiting -= 10_000
    scene.puppets[0].say(X)
    scene.wait(0.1)
    assert asker.take() == X and loop.owed.is_short()


def test_clients_share_what_a_turn_sends_in_equal_parts() -> None:
    some = crowd(4, b"y" * 1_000, turn_sent_bytes=400)
    say(some, b"x\n")
    some.turn()
    waiting = [connection.waiting for connection in some.loop.streams.accepted.values()]
    assert waiting == [900] * 4 and some.loop.hits["turn_sent_bytes"] == 4
    for _ in range(9):
        some.turn()
    assert some.loop.owed.owed_bytes == 0
