"""The loop: one hand-written `select` loop that runs one node's brain.

The brain's effects are performed after its step, and what they cause waits in a queue: nothing
re-enters. The queue is emptied before the next socket is touched, so a brain never names a
connection that is gone. An exception out of a step is a bug of ours and leaves through `run`.

The loop does not know what is behind a descriptor: each is a `Source`. It does know the parts that
own them, by name, since the order in which they are read and sent is what a turn is about; it asks
a part only where that has something to do. `turn()` is one iteration, which the simulator calls.

Not here: sockets and clocks (`core/io/system.py`), and what any message means.
"""

import math

from core.bounds import BoundHits, Bounds
from core.brain import Brain
from core.effects import Close
from core.environment import Environment
from core.events import Role
from core.io.acceptor import Acceptor, Closable
from core.io.datagram_sockets import DatagramSockets
from core.io.descriptors import Descriptors
from core.io.dialler import Dialler
from core.io.engine import Engine
from core.io.host_lookups import LookupRunner
from core.io.listener import Admit, Service, everybody
from core.io.log import Log
from core.io.outputs import Destinations, Outputs
from core.io.read_list import ReadList
from core.io.signals import HURRIED, DrainStage, SignalHandler, Watchdog
from core.io.streams import Streams
from core.io.system import Socket, System
from core.metrics import Metric, Value
from core.owed import Owed

TURNS = Metric("turns", "Turns of the event loop")


class Loop:
    """Runs a brain over sockets until it says Stop, or a second signal comes.

    Before `run` or `turn`: `listen` (servers only), then `start(brain)`. `descriptors`: what there
    are, the sockets to listen at among those that are taken; without them it is taken that all but
    the standard streams are free.
    """

    def __init__(
        self,
        system: System,
        bounds: Bounds,
        log: Log,
        destinations: Destinations,
        *,
        line_bytes_max: int,
        wire_log: bool = False,
        descriptors: Descriptors | None = None,
    ) -> None:
        self._system = system
        self._bounds = bounds
        self.descriptors = descriptors or Descriptors(bounds, bounds.descriptors_max, 3)
        self.hits = BoundHits()
        self.owed = Owed(bounds, self.hits)
        wire = log if wire_log else None
        self.watch = None if wire is None else wire.changed  # see `Environment`
        seam = system.random, system.secret, system.wall
        self.environment = Environment(bounds, self.hits, self.watch, *seam)
        self.engine = engine = Engine(system, self.environment, log, wire)

        self.outputs = Outputs(engine, destinations)
        self.streams = Streams(engine, self.owed, line_bytes_max)
        self.acceptor = Acceptor(engine, self.streams, self.descriptors)
        Dialler(engine, self.streams, self.acceptor.own_addresses)
        self.datagrams = DatagramSockets(engine)
        self.host_lookups = LookupRunner(engine)
        self.signals = SignalHandler(engine, self.acceptor, self.streams, self.datagrams)
        self._watchdog = Watchdog(engine)
        engine.performers[Close] = self._do_close
        self.turns = 0
        self.read_list = ReadList(system, bounds)
        self._due = math.inf  # when the first timer is due, as it was when the turn began

    @property
    def exit_code(self) -> int | None:
        return self.engine.exit_code

    def listen(self, stream: Socket, service: Service, admit: Admit = everybody) -> None:
        """Accept who comes to a listening socket, which is the loop's own from now on.

        `admit(host)` judges each connection by the numeric host that accept returned. The service
        says how those that are accepted are treated. Other processes may have the same socket.
        """
        self.acceptor.listen(stream, service, admit)

    def listen_for_datagrams(self, stream: Socket, role: Role, admit: Admit = everybody) -> None:
        """Take datagrams of this role from a bound socket: Opened. Else as `listen`."""
        self.datagrams.listen(stream, role, admit)

    def hold(self, held: Closable) -> None:
        """Hold what workers listen at, until Unlisten: it is closed then, or when the loop is."""
        self.acceptor.hold(held)

    def adopt(self, name: str, stream: Socket) -> None:
        """Take a stream that is there already as a connection of this name: Opened."""
        self.streams.adopt(name, stream)

    def metrics(self) -> list[Value]:
        """Return what the loop counts, but for `hits`, which the brain has as well."""
        parts = self.engine.refusals, self.acceptor, self.datagrams, self.outputs
        return [Value(TURNS, self.turns), *(value for part in parts for value in part.metrics())]

    def start(self, brain: Brain) -> None:
        """Run this brain from now on. It is woken once, to dial what it wants to dial."""
        self.acceptor.start()
        self.signals.start()
        self._watchdog.start()
        self.engine.start(brain)

    def run(self) -> int:
        """Turn until the brain stops, write what is left, return the exit code.

        The reader of an output that has no bound is waited for, for a moment only after a signal;
        all else gets what it takes now. An output that is cut short is a failure.
        """
        try:
            while self.engine.exit_code is None:
                self.turn()
            while self.outputs.is_awaited and (wait_s := self.signals.wait_s()) > 0:
                if self.outputs.wait(self.signals.to_read(), wait_s):
                    self.signals.read()
            self.outputs.write_all()
            return self.engine.exit_code or int(self.outputs.is_awaited)
        finally:
            self.close()

    def turn(self) -> None:
        """Wait for something to happen, and handle all of it. Always in this order:

            select -> accept -> read (dialled first, in their order; one recv each) -> signals
            -> what became writable -> the brain, if it is due -> one send per connection that has
            bytes -> limits -> reap

        Input goes before timeouts: an answer in hand beats its deadline. Dialled connections are
        read first: answers before new questions, and the lowest link wins a tie. Accepted ones
        share what a turn reads, and sends, so that it is short and nobody waits for another's
        backlog; while too much is owed to all of them, few are read (`core/owed.py`). Output is
        sent once per connection, so that a batch is one packet. Limits come last: after a long
        pause of the process nobody is cut off for what he has done by now. Sockets are closed at
        the end only: a descriptor that `select` named cannot have become another connection.
        """
        self.turns += 1
        engine, by_fd = self.engine, self.engine.by_fd
        engine.turn = self.turns
        write_fds, timeout_s = self.wants()
        stage = self.signals.stage
        is_draining = stage is not DrainStage.NONE  # then each is read once more in one turn
        read_list = self.read_list
        if read_list.quiet and not is_draining:
            readable, writable, _ = read_list.select(write_fds, timeout_s)
        else:
            readable, writable, _ = self._system.select(read_list.fds, write_fds, [], timeout_s)
        link_was_full = False  # whether a dialled one has more to read
        self.streams.read_share = self._bounds.turn_bytes // (len(readable) or 1) or 1
        now = self._system.now()
        for fd in readable:
            if fd in by_fd:  # else it is gone, in this turn
                link_was_full = by_fd[fd].readable(now) or link_was_full
                engine.deliver()
        if is_draining:
            self.signals.go_on(stage)
        now = self._system.now()
        for fd in writable:
            if fd in by_fd:
                by_fd[fd].writable(now)
                engine.deliver()
        if engine.brain.due > now:
            engine.late_turns = 0
        else:
            engine.wake(now, link_was_full)
        if self.streams.unsent:
            self.streams.send(now)
        if self.datagrams.busy:
            self.datagrams.send()
        if now >= self._due:
            for timer in engine.timers:
                timer.expire(now)
        if self.host_lookups.may_start:
            self.host_lookups.start_next()
        if engine.doomed:
            engine.reap()

    def wants(self) -> tuple[list[int], float]:
        """Bring the read list up to date. Return descriptors to write, and how long the next turn
        waits, in s: never a negative time nor an infinite one, since select raises on both."""
        engine, owed = self.engine, self.owed
        is_short = self.streams.was_short or (owed.owed_bytes > owed.low and owed.is_short())
        if engine.read_fds_stale or is_short or self.turns >= self.read_list.renew_at:
            self._list_read_fds()
        due = math.inf
        for timer in engine.timers:
            if timer.due < due:
                due = timer.due
        self._due = due
        due = min(due, engine.brain.due)
        is_hurrying = self.signals.stage in HURRIED
        if is_hurrying or self.streams.unsent or engine.doomed or self.host_lookups.may_start:
            timeout_s = 0.0
        elif due == math.inf:
            timeout_s = self._bounds.sleep_s
        else:
            timeout_s = min(max(0.0, due - self._system.now()), self._bounds.sleep_s)
        return list(engine.write_fds), timeout_s

    def close(self) -> None:
        """Close every socket, in no particular order and without a word."""
        parts = self.acceptor, self.signals, self.streams, self.datagrams, self.host_lookups
        for part in parts:
            part.give_up()
        self.engine.reap()

    def _list_read_fds(self) -> None:
        """List the descriptors to read, in order: after a change, and while memory is short."""
        streams, datagrams = self.streams, self.datagrams
        streams.look_at_memory()
        fds = [
            *self.host_lookups.to_read(), *self.acceptor.to_read(),
            *streams.to_read(dialled=True), *datagrams.to_read(dialled=True),
            *streams.to_read(dialled=False), *datagrams.to_read(dialled=False),
            *self.signals.to_read(),
        ]  # fmt: skip
        quiet = streams.quiet_since(self.turns - self._bounds.quiet_turns)
        self.read_list.renew(fds, quiet, self.turns)
        self.engine.read_fds_stale = False

    def _do_close(self, effect: Close) -> None:
        owner = self.datagrams if effect.conn in self.datagrams else self.streams
        owner.close(effect.conn)
