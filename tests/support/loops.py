"""The loop of the programs with a brain of the test's: over real sockets, or in a simulated world.

A test turns it, and rings its signals. Not here: chance (`tests/sim/stories.py`), and programs
(`tests/support/processes.py`).
"""

import math
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from core.addresses import Address
from core.bounds import Bounds
from core.brain import Brain
from core.effects import Dial, Effect
from core.events import Closed, Event, Received, Role, Woken
from core.framing import Framing
from core.io.listener import Admit, Service, everybody
from core.io.log import Log
from core.io.log_format import LogFormat, bare_line
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.owed import Owed
from core.protocol.names import LINE_BYTES_MAX
from tests.sim.scenes import Asker, Scene
from tests.sim.world import PORT, Observer, World


class Script:
    """A brain that hears, and does what the test says: `on(event)` returns the effects."""

    def __init__(self, on: Callable[[Event], Iterable[Effect]] = lambda _: ()) -> None:
        self.on = on
        self.heard: list[Event] = []
        self.due = math.inf

    def step(self, event: Event, now: float) -> list[Effect]:
        self.heard.append(event)
        return list(self.on(event))

    def of(self, *kinds: type) -> list[Any]:
        """Return what it has heard of these kinds."""
        return [event for event in self.heard if isinstance(event, kinds)]


# -- real sockets ----------------------------------------------------------------------------------


class QuietSystem(System):
    """The real one, but for signals: only the test sends any, by `waker`."""

    def __init__(self) -> None:
        super().__init__()
        self.signals, self.waker = socket.socketpair()
        self.signals.setblocking(False)

    def catch_signals(self) -> Any:  # noqa: ANN401
        return self.signals

    def __del__(self) -> None:
        self.signals.close()
        self.waker.close()


BRISK = replace(Bounds(), sleep_s=0.001)  # a turn without anything to do is short


def real_loop(
    bounds: Bounds = BRISK,
    system: System | None = None,
    said: Callable[[bytes], object] = len,
    to: Destinations | None = None,
    log_format: LogFormat = bare_line,
) -> Loop:
    """Build a loop that says to `said` what it has to report."""
    log, to = Log("X", said, log_format=log_format), to or Destinations(Output(2, bytes_max=0))
    return Loop(system or QuietSystem(), bounds, log, to, line_bytes_max=LINE_BYTES_MAX)


def listen_at(
    loop: Loop, address: Address, service: Service, admit: Admit = everybody
) -> Sequence[Any]:
    """Have a loop listen at an address; return where that is."""
    (stream,) = System().listen(address, 16)
    loop.listen(stream, service, admit)
    return stream.getsockname()  # type: ignore[no-any-return]


def take_datagrams_at(
    loop: Loop, address: Address, role: Role, admit: Admit = everybody
) -> Sequence[Any]:
    """Have a loop take datagrams at an address; return where that is."""
    (stream,) = System().take_datagrams(address)
    loop.listen_for_datagrams(stream, role, admit)
    return stream.getsockname()  # type: ignore[no-any-return]


def started(brain: Brain, *words: Any, **more: Any) -> closing[Loop]:  # noqa: ANN401
    """Build a loop and start this brain in it."""
    loop = real_loop(*words, **more)
    loop.start(brain)
    return closing(loop)


def promise(owed: Owed, conn: str, count: int) -> None:
    """Promise so many bytes to a connection, as a brain does, in place of what it was promised."""
    others = owed.promised_to
    owed.owed_bytes += count - others(conn)
    owed.promised_to = lambda name: count if name == conn else others(name)


def turn_until(loop: Loop, done: Callable[[], object]) -> None:
    """Turn until something is so; many turns without it are a failure, not a wait."""
    for _ in range(20_000):
        if done():
            return
        loop.turn()
    raise AssertionError("it never came")


def drained(client: socket.socket, into: bytearray) -> bool:
    """Read what is there; return whether the stream has ended. A reset raises."""
    try:
        while data := client.recv(1 << 16):
            into += data
    except BlockingIOError:
        return False
    return True


# -- a simulated world -----------------------------------------------------------------------------


def dials(framing: Framing = Framing.LINES) -> Script:
    """Build a brain that dials the puppet of a `Node` at once."""
    dial = Dial("TS1", ((2, ("TS1", PORT)),), framing)
    return Script(lambda event: [dial] if isinstance(event, Woken) else [])


class Reporter(Observer):
    """Keeps what a loop reports."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.reports: list[str] = []

    def report(self, text: str, *words: object) -> None:
        super().report(text, *words)
        self.reports.append(text)


class Node:
    """A brain of the test's under a loop, and askers, in a calm world; it has a puppet, TS1.

    `now` is the time since it is there, by the clock of the loop.
    """

    def __init__(self, brain: Any = None, **bounds: float) -> None:  # noqa: ANN401
        self.scene = Scene("")
        self.world = self.scene.world
        (self.puppet,) = self.scene.puppets
        self.brain = Script() if brain is None else brain
        self.host = self.world.host("server")
        self.log = Reporter(self.world, "server")
        some: Any = bounds
        self.host.run(replace(Bounds(), **some), self.log, lambda _: self.brain, listens=True)
        assert self.host.loop is not None
        self.loop = self.host.loop
        self.began = self.host.clock()
        self.askers: list[Asker] = []

    @property
    def now(self) -> float:
        return self.host.clock() - self.began

    def asker(self, data: bytes = b"", address: str = "") -> Asker:
        """Connect somebody who says this; several may come from one address."""
        asker = Asker(self.world, address or f"asker{len(self.askers) + 1}")
        asker.dial(self.host)
        self.askers.append(asker)
        self.scene.wait(0.01)
        asker.say(data)
        self.scene.wait(0.01)
        return asker

    def wait_until(self, now: float) -> None:
        self.scene.wait(now - self.now)

    def do(self, *effects: Effect) -> None:
        """Perform effects as if a step had returned them."""
        engine = self.loop.engine
        for effect in effects:
            engine.performers[type(effect)](effect)
        engine.deliver()
        self.host.touched()

    def ring(self, *numbers: int) -> None:
        """Let signals come, all of them before the next turn."""
        assert self.host.signals is not None
        for number in numbers:
            self.host.signals.ring(number)

    def said_of(self, conn: str) -> list[Event]:
        """Return what the brain has heard of a connection."""
        return [event for event in self.brain.heard if getattr(event, "conn", "") == conn]

    def why_closed(self, conn: str) -> str | None:
        """Return why a connection is gone; None if it is not."""
        closed = [each for each in self.said_of(conn) if isinstance(each, Closed)]
        assert len(closed) <= 1
        return closed[0].why if closed else None

    def turned_by_hand(self) -> None:
        """Let it turn only by `turn` from now on."""
        self.host.paused_until = self.world.t + 1_000

    def turn(self) -> list[tuple[str, int]]:
        """Turn once; return who was heard, and of how many bytes."""
        before = len(self.brain.heard)
        self.loop.turn()
        assert self.host.keeping is not None
        self.host.keeping.check(self.host.clock())
        events = self.brain.heard[before:]
        return [(each.conn, len(each.data)) for each in events if isinstance(each, Received)]
