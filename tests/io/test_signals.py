"""SignalHandler: signals as the loop finds them, in one read or in several.

Not here: the pipe that they come by (`tests/io/test_process.py`), and what a drain does for
clients, and the watchdog (`tests/sim/test_drain.py`).
"""

from typing import Any

import pytest

from core.effects import Drain, Effect, Stop, Write
from core.events import Event, Woken
from core.io.outputs import Destinations, Output
from core.operator import DrainAsked, ReloadAsked, StatsAsked
from tests.sim.scenes import Scene
from tests.sim.world import SimSystem
from tests.support.loops import Node, QuietSystem, Script, real_loop

HANGUP, TELL, END = SimSystem.hangup, SimSystem.tell, 15
SECOND = "second signal: stopping at once"


@pytest.mark.parametrize("apart", [False, True])
def test_two_signals_to_end_stop_the_loop_at_once(apart: bool) -> None:
    """Also when both are found in one read."""
    node = Node()
    node.turned_by_hand()
    node.ring(END)
    if apart:
        node.turn()
    node.ring(END)
    node.turn()
    assert node.loop.exit_code == 1 and node.log.reports == [SECOND]


def test_signals_that_end_nothing_are_never_a_second_one() -> None:
    """Several that come together are told once: what is asked for is the same."""
    node = Node()
    node.ring(HANGUP, TELL, END, TELL, HANGUP)
    node.scene.wait(0.1)
    node.ring(HANGUP)
    node.scene.wait(0.1)
    assert node.loop.exit_code is None
    assert [type(event) for event in node.brain.heard[1:]] == [
        ReloadAsked, StatsAsked, DrainAsked, ReloadAsked
    ]  # fmt: skip
    (asked,) = node.brain.of(DrainAsked)
    assert abs(asked.since - node.began) < 0.1 and not node.log.reports


def test_a_drain_that_the_brain_asks_for_is_one_signal() -> None:
    node = Node()
    node.do(Drain())
    node.do(Drain())
    node.scene.wait(0.1)
    assert len(node.brain.of(DrainAsked)) == 1
    node.ring(END)  # the first: that drain goes on
    node.scene.wait(0.1)
    assert node.loop.exit_code is None


def test_c5_the_end_of_the_pipe_is_not_read_again_and_again() -> None:
    node = Node()
    signals = node.host.signals
    assert signals is not None
    signals.has_ended = True
    node.host.touched()
    node.scene.wait(1.0)
    assert signals.fileno() not in node.host.open and node.loop.turns < 10
    assert node.loop.exit_code is None and node.loop.signals.fileno() == -1


def test_a_signal_after_the_end_of_the_drain_changes_nothing() -> None:
    node = Node(Script(lambda event: [Stop(0)] if isinstance(event, DrainAsked) else []))
    node.turned_by_hand()
    node.ring(END)
    for _ in range(4):
        node.turn()
    node.ring(END)
    node.loop.signals.read()
    assert node.loop.exit_code == 0 and not node.log.reports


def test_c2_a_second_signal_counts_as_the_drain_ends() -> None:
    scene = Scene("")
    scene.asker(b"x\n").reads = False
    scene.signal()
    scene.wait(1.0)
    scene.ls.paused_until = scene.world.t + 10.0
    scene.watch.drain_since = None
    scene.watch.undisturbed_since = scene.ls.clock() + 10.0
    assert scene.ls.signals is not None
    scene.ls.signals.ring(END)
    scene.wait(11.0)
    assert scene.ls.exit_code == 1


class Stuck(QuietSystem):
    """Descriptors that take nothing for a while, whatever select says; sockets are real."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.blocked = writes  # that take nothing
        self.written = b""

    def select(self, read: list[int], write: list[int], *rest: Any) -> Any:  # noqa: ANN401
        return QuietSystem.select(read, [], [], 0.0)[0], write, []

    def write(self, fd: int, data: memoryview) -> int:
        self.blocked -= 1
        if self.blocked >= 0:
            raise BlockingIOError
        self.written += data
        return len(data)


@pytest.mark.parametrize(
    ("rung", "is_written"), [(b"", True), (b"\x0f", True), (b"\x0f\x0f", False)]
)
def test_a_second_signal_ends_the_wait_for_a_reader(rung: bytes, is_written: bool) -> None:
    """An output without a bound is written before the program ends, and one that is cut short is a
    failure. After one signal its reader has a moment."""

    def write_all(event: Event) -> list[Effect]:
        return [Write(b"found\n"), Stop(0)] if isinstance(event, Woken) else []

    system, is_written = Stuck(writes=1_000), len(rung) < 2
    loop = real_loop(system=system, to=Destinations(Output(2, bytes_max=0), own=Output(1)))
    system.waker.send(rung)
    loop.start(Script(write_all))
    assert loop.run() == int(not is_written)
    assert system.written == b"found\n" * is_written and (system.blocked < 0) is is_written
