"""Signals while the loop runs: a clean end in steps, reloads, and word to a service manager.

The first signal to end begins a drain. Those who wait to be accepted are accepted, some in each
turn (ACCEPTING); handshakes are waited for, for `drain_grace_s` at most (SECURING); then each
connection is read once more, in one turn (READING); then the brain is told. A second signal stops
the loop at once.

Not here: signals before there is a loop, and the pipe they come by (`core/io/process.py`).
"""

import math
from enum import Enum

from core.effects import Drain, Unlisten
from core.io.acceptor import Acceptor
from core.io.datagram_sockets import DatagramSockets
from core.io.engine import Engine
from core.io.process import Signals
from core.io.streams import Streams
from core.operator import DrainAsked, FlushAsked, Level, Notify, ReloadAsked, StatsAsked


class DrainStage(Enum):
    """How far a drain has come that the brain does not know of yet.

    This is no state machine: the steps follow each other, and no event chooses between them.
    """

    NONE = "no drain has begun, or the brain has been told"
    ACCEPTING = "those who wait are being accepted"
    SECURING = "the brain has yet to hear of some, since their handshakes are not done"
    READING = "each connection is being read once more"


HURRIED = frozenset({DrainStage.ACCEPTING, DrainStage.READING})  # it goes on with the next turn


class SignalHandler:
    """Reads signals, and leads a drain to the point where the brain is told."""

    def __init__(
        self,
        engine: Engine,
        acceptor: Acceptor,
        streams: Streams,
        datagram_sockets: DatagramSockets,
    ) -> None:
        self.stage = DrainStage.NONE
        self.due = math.inf  # when handshakes are waited for no longer
        self.count = 0  # of those to end
        self._engine = engine
        self._acceptor = acceptor
        self._streams = streams
        self._datagram_sockets = datagram_sockets
        self._pipe: Signals | None = None
        self._since = 0.0  # when the drain began
        engine.timers.append(self)
        engine.performers |= {
            Drain: lambda _: self.begin_to_drain(),
            Unlisten: lambda _: self._unlisten(),
        }

    def start(self) -> None:
        """Take signals from now on."""
        self._pipe = self._engine.system.catch_signals()
        self._engine.by_fd[self._pipe.fileno()] = self
        self._engine.read_fds_stale = True

    def fileno(self) -> int:
        return -1 if self._pipe is None else self._pipe.fileno()

    def readable(self, now: float) -> bool:
        """Take what has come."""
        self.read()
        return False

    def writable(self, now: float) -> None:
        """Do nothing: signals only come."""

    def to_read(self) -> list[int]:
        """Return the descriptor to read, if signals come."""
        return [] if self._pipe is None else [self._pipe.fileno()]

    def give_up(self) -> None:
        """Take no signal any more; the pipe is closed at the end of the turn."""
        if self._pipe is not None:
            self._engine.by_fd.pop(self._pipe.fileno(), None)
            self._engine.doomed.append(self._pipe)
            self._engine.read_fds_stale = True
            self._pipe = None

    def read(self) -> None:
        """Take what has come: the first signal to end begins a drain, the next one stops."""
        engine = self._engine
        if self._pipe is None:
            return
        try:
            numbers = self._pipe.recv(64)
        except BlockingIOError:
            return
        hangups = numbers.count(engine.system.hangup)
        if hangups:
            engine.events.append(ReloadAsked())
        tells = numbers.count(engine.system.tell)
        if tells:
            engine.events.append(StatsAsked())
        flushes = numbers.count(engine.system.flush)
        if flushes:
            engine.events.append(FlushAsked())
        ends = len(numbers) - hangups - tells - flushes
        is_first = ends > 0 and self.count == 0
        self.count += ends
        if not numbers:  # the other end is gone: never spin on it
            self.give_up()
        elif self.count > 1 and engine.exit_code is None:
            text = "second signal: stopping at once"
            engine.log.report(text, Level.WARNING, "second_signal")
            engine.exit_code = 1
        elif is_first:
            self.begin_to_drain()

    def wait_s(self) -> float:
        """Return how long to wait yet for who reads the output: a moment after the first signal,
        and no longer after a second one."""
        bounds, now = self._engine.environment.bounds, self._engine.system.now()
        if not self.count:
            return bounds.sleep_s
        return 0.0 if self.count > 1 else self._since + bounds.drain_grace_s - now

    def begin_to_drain(self) -> None:
        """Accept those who wait now: as many as the kernel keeps, one more than it was told to.

        Not until nobody waits: that may never be.
        """
        if self.stage is not DrainStage.NONE:
            return
        self.stage = DrainStage.ACCEPTING
        self._since = self._engine.system.now()
        self._acceptor.begin_last_call()
        self._accept()

    def go_on(self, stage: DrainStage) -> None:
        """Go on from this stage, which the turn began in and has read once in."""
        if stage is DrainStage.ACCEPTING:
            self._accept()
        elif stage is DrainStage.SECURING:
            self._wait_for_handshakes()
        elif stage is DrainStage.READING:
            self.stage = DrainStage.NONE
            self._engine.events.append(DrainAsked(self._since))
            self._engine.deliver()

    def _unlisten(self) -> None:
        """Leave those who wait to whoever else has the same sockets. Sockets of workers are let go
        now, and not before: the brain may fork one while a drain begins."""
        self._acceptor.let_go()
        self._acceptor.unlisten()
        self._datagram_sockets.leave_unread()

    def _accept(self) -> None:
        if self._acceptor.accept_the_last():
            self._datagram_sockets.end_listening()
            self._wait_for_handshakes()

    def _wait_for_handshakes(self) -> None:
        """Let handshakes be done, if any are under way; those that take too long are cut off."""
        by = self._since + self._engine.environment.bounds.drain_grace_s
        if self._acceptor.unsecured() and self._engine.system.now() < by:
            self.stage, self.due = DrainStage.SECURING, by
            return
        for stream in self._acceptor.unsecured():
            self._streams.lose(stream, "this server ends")
        self.stage, self.due = DrainStage.READING, math.inf

    def expire(self, now: float) -> None:
        """Do nothing: a turn that is due goes on by itself."""


class Watchdog:
    """Word to a service manager: how we stand, and that the loop turns.

    The latter twice in the time that it gives.
    """

    def __init__(self, engine: Engine) -> None:
        self.due = math.inf
        self._system = engine.system
        self._every_s = self._system.watchdog_s() / 2
        engine.timers.append(self)
        engine.performers |= {Notify: lambda effect: self._system.notify(effect.standing)}

    def start(self) -> None:
        """Tell it from now on, if it wants to know."""
        if self._every_s < math.inf:
            self.due = self._system.now()

    def expire(self, now: float) -> None:
        """Tell it, if that is due."""
        if now >= self.due:
            self.due = now + self._every_s
            self._system.notify_alive()
