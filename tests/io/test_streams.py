"""Streams: whom a limit cuts, when and why; and what a paused, closing or idle connection is read.

In the simulated world, where after each step nothing may be kept of a connection that is gone. Not
here: the order of a turn, and who shares it (`tests/io/test_loop.py`).
"""

from collections.abc import Iterable

import pytest

from core.bounds import Bounds
from core.effects import Abort, Close, Dial, Effect, Pause, Resume, Send
from core.events import Backlogged, Closed, Ended, Event, Opened, Received, Role, Woken
from core.framing import Framing
from tests.sim.world import PORT
from tests.support.loops import Node, Script, dials, promise

MID_S, LINGER_S = Bounds().mid_line_s, Bounds().linger_s
A = "client-1"


def cut_at(node: Node, until: float) -> float:
    """Run until the asker is cut; return when it was."""
    node.scene.wait_for(lambda: node.why_closed(A) is not None, until - node.now)
    return round(node.now, 1)


@pytest.mark.parametrize(
    ("framing", "why"),
    [(Framing.LINES, "a line took too long"), (Framing.LENGTH_PREFIXED, "a message took too long")],
)
def test_a_slow_message_is_cut_and_called_by_its_framing(framing: Framing, why: str) -> None:
    node = Node(dials(framing))
    node.scene.wait(0.5)
    node.puppet.say(b"\0\7half")
    node.scene.wait(9.0)
    assert node.brain.heard == [Woken(), Opened("TS1", Role.UPSTREAM), Received("TS1", b"")]
    node.scene.wait(2.0)
    assert node.brain.heard[3:] == [Closed("TS1", why)]


@pytest.mark.parametrize("second", [b"ple\n", b"ple\nb", b"p"])
def test_each_line_has_its_own_ten_seconds(second: bytes) -> None:
    """A line that came in two reads is over; one that began with it has its time from there."""
    node = Node()
    asker = node.asker(b"x.exam")
    node.wait_until(9.0)
    asker.say(second)
    if second.endswith(b"\n"):
        node.wait_until(30.0)
        assert node.why_closed(A) is None and not node.loop.hits
    else:
        assert cut_at(node, 30.0) == (19.0 if b"\n" in second else MID_S)
        assert node.why_closed(A) == "a line took too long"
        assert node.loop.hits == {"mid_line_s": 1}


@pytest.mark.parametrize("why", ["paused", "it is owed too much", "memory is short"])
def test_a_line_has_its_time_again_once_it_is_read(why: str) -> None:
    """While its client is not read it cannot end its line."""
    node = Node(
        owed_bytes_high=100,
        owed_bytes_low=50,
        owed_all_bytes_high=1_000,
        owed_all_bytes_low=500,
        few_bytes=10,
    )
    asker = node.asker(b"x.exam")
    if why == "paused":
        node.do(Pause(A))
        node.wait_until(15.0)
        node.do(Resume(A))
    elif why == "it is owed too much":
        node.world.network.room = 0
        node.do(Send(A, b"y" * 200))
        node.wait_until(8.0)
        node.world.network.room = 1_000
    else:
        promise(node.loop.owed, A, 2_000)
        node.host.touched()
        node.wait_until(8.0)
        promise(node.loop.owed, A, 0)
    began = round(node.now, 1)
    node.host.touched()
    assert cut_at(node, 60.0) == began + MID_S
    assert len(asker.take()) == (200 if why == "it is owed too much" else 0)


def test_b2_a_line_unfinished_at_a_close_does_not_matter() -> None:
    """As after QUIT: the clock of a line stops, and that of the end of the stream runs."""
    node = Node()
    asker = node.asker(b"QUIT\nx.exam")
    node.wait_until(MID_S - 2.0)
    node.do(Close(A))
    assert cut_at(node, 60.0) == MID_S - 2.0 + LINGER_S
    assert node.why_closed(A) == "did not end after us" and node.loop.hits == {"linger_s": 1}
    assert asker.has_ended


def test_a_paused_connection_that_is_closed_is_read_to_its_end() -> None:
    """Else its client would get a reset, and might lose what it has not read."""
    node = Node()
    asker = node.asker()
    node.do(Pause(A))
    asker.say(b"x.example\n" * 100)
    node.scene.wait(0.1)
    node.do(Send(A, b"BYE\n"), Close(A))
    node.scene.wait(0.1)
    asker.say(b"more\n")
    asker.end()
    node.scene.wait(0.1)
    assert node.said_of(A) == [Opened(A, Role.LINES), Closed(A, "")]
    assert asker.take() == b"BYE\n" and not asker.was_reset


def test_one_that_is_closed_is_read_also_while_memory_is_short() -> None:
    """Else a client that takes nothing before it has said all would be stuck."""
    node = Node(owed_all_bytes_high=1_000, owed_all_bytes_low=500, few_bytes=10)
    asker = node.asker()
    asker.reads = False
    node.world.network.room = 1_000
    node.do(Send(A, b"y" * 3_000), Close(A))
    asker.say(b"x\n" * 2_000)
    asker.end()
    node.scene.wait(1.0)
    assert asker.stream is not None and asker.stream.sent_end


def test_a_link_that_is_full_is_told_also_as_another_one_ends() -> None:
    node = Node(dials(), waiting_bytes_high=3, waiting_bytes_low=1)
    node.asker()
    node.do(Send("TS1", b"more\n"), Close(A))
    assert node.brain.of(Backlogged) == [Backlogged("TS1")]


def test_a_paused_connection_is_not_read_and_loses_nothing() -> None:
    node = Node()
    asker = node.asker()
    node.do(Pause(A))
    asker.say(b"x\ny\n")
    asker.end()
    node.scene.wait(1.0)
    assert node.said_of(A) == [Opened(A, Role.LINES)]
    node.do(Resume(A))
    node.scene.wait(0.1)
    assert node.said_of(A)[1:] == [Received(A, b"x\ny\n"), Ended(A, unfinished=False)]


def test_a_pause_holds_in_the_turn_in_which_it_is_asked_for() -> None:
    """Though select has named the connection already."""
    other = "client-2"
    node = Node(Script(lambda event: [Pause(other)] if isinstance(event, Received) else []))
    askers = [node.asker(), node.asker()]
    node.turned_by_hand()
    for asker in askers:
        asker.say(b"x\n")
    node.scene.wait(0.1)
    assert node.turn() == [(A, 2)] and node.turn() == []


def test_memory_that_gets_free_in_its_last_turn_cuts_no_line() -> None:
    """In that turn it is not read yet: its time is over only when it could have been."""
    node = Node(owed_all_bytes_high=1_000, owed_all_bytes_low=500, few_bytes=10)
    node.asker(b"x.exam")
    other = node.asker()
    promise(node.loop.owed, A, 2_000)
    node.turned_by_hand()
    node.scene.wait(MID_S)
    other.say(b"x\n")
    node.scene.wait(0.1)
    assert "mid_line_s" not in node.loop.hits

    def on(event: Event) -> Iterable[Effect]:
        promise(node.loop.owed, A, 0)
        return ()

    node.brain.on = on
    assert node.turn() == [("client-2", 2)]
    assert "mid_line_s" not in node.loop.hits and node.why_closed(A) is None


@pytest.mark.parametrize(("room", "cut_s"), [(0, 8.0), (3, 11.0)])
def test_b20_only_a_send_that_is_taken_is_a_sign_of_life(room: int, cut_s: float) -> None:
    """An idle client stays idle while a send to it is blocked."""
    node = Node(idle_s=8.0)
    node.asker().reads = False
    node.wait_until(3.0)
    node.world.network.room = room
    node.do(Send(A, b"PONG\n"))
    assert cut_at(node, 30.0) == cut_s and node.why_closed(A) == "silent for long"
    assert node.loop.hits == {"idle_s": 1}


def test_each_read_is_a_sign_of_life() -> None:
    node = Node(idle_s=8.0, mid_line_s=20.0)
    asker = node.asker()
    for at in (5.0, 10.0, 15.0):
        node.wait_until(at)
        asker.say(b"x")
    assert cut_at(node, 60.0) == 23.0 and node.why_closed(A) == "silent for long"


@pytest.mark.parametrize("takes", [0, 500])
def test_b9_b10_a_peer_is_cut_10_s_after_it_last_took_a_byte(takes: int) -> None:
    node = Node()
    asker = node.asker()
    asker.reads = False
    node.world.network.room = 2 * takes
    node.do(Send(A, b"y" * 5_000))
    node.wait_until(6.0)
    asker.most, asker.reads = takes, takes > 0
    asker.poll()
    asker.reads = False
    assert 0 <= cut_at(node, 60.0) - (16.0 if takes else 10.0) < 0.2
    assert node.why_closed(A) == "took nothing for long" and node.loop.hits == {"write_stall_s": 1}


def test_a_peer_that_can_take_nothing_more_is_not_waited_for() -> None:
    """When it is read again, which is late here, its reset is what ends it."""
    node = Node()
    asker = node.asker()
    asker.reads = False
    node.world.network.room = 0
    node.do(Pause(A), Send(A, b"y" * 100))
    node.scene.wait(1.0)
    asker.reset()
    node.wait_until(30.0)
    assert node.why_closed(A) is None and node.loop.owed.owed_bytes == 0 and not node.loop.hits
    node.do(Resume(A))
    node.scene.wait(0.1)
    assert node.why_closed(A) == "connection reset by peer"


@pytest.mark.parametrize("how", ["reset", "Abort", "Close", "end and Close"])
def test_nothing_is_kept_of_a_connection_that_is_gone(how: str) -> None:
    """Paused, idle, in mid-line and blocked as it was: `Node` looks after each step."""
    node = Node(idle_s=50.0)
    asker = node.asker(b"x.exam")
    asker.reads = False
    node.world.network.room = 0
    node.do(Pause(A), Send(A, b"y" * 100))
    node.scene.wait(1.0)
    if how == "reset":
        node.do(Resume(A))
        asker.reset()
    elif how == "Abort":
        node.do(Abort(A))
    else:
        if how == "end and Close":
            node.do(Resume(A))
            asker.end()
        node.do(Close(A))
        node.world.network.room = 1_000
        asker.reads = True
        node.host.touched()
        node.scene.wait(0.1)
        asker.end()
    node.scene.wait(1.0)
    assert node.why_closed(A) is not None and not node.loop.streams.accepted
    assert not list(node.loop.streams.limits.mid_message) and node.loop.owed.owed_bytes == 0
    node.scene.wait(60.0)
    assert not node.loop.hits


def test_a_descriptor_is_not_used_again_in_its_turn() -> None:
    """The simulated kernel raises when it is; with the lowest number free it would be, at once."""

    def dial_again(event: Event) -> Iterable[Effect]:
        return [Dial("TS1", ((2, ("TS1", PORT)),))] if isinstance(event, Closed) else []

    node = Node(Script(dial_again))
    node.asker().reset()
    node.scene.wait(0.1)
    assert node.puppet.accepted == 2  # LS, and then the brain
