"""The loop: one hand-written `select` loop that runs one node's brain.

One turn, always in this order:

    select -> accept -> read (dialled first, in their order; one recv each) -> signals
    -> what became writable -> the brain's deadline -> one send per connection that has bytes
    -> limits -> reap

Why so. Input goes before timeouts: an answer in hand beats its deadline. Dialled connections
are read first: answers before new questions, and the lowest link wins a tie. Accepted ones share
what a turn reads, and sends, in equal parts, so that it is short and nobody waits for another's
backlog; while too much is owed to all of them, few are read (`core/owed.py`). Output is sent once
per connection and turn, so that a batch is one packet. Limits come last: after a long pause of
the whole process nobody is cut off for not having done what it has done by now. Sockets are
closed at the end of the turn only, so that a descriptor number that `select` named cannot have
become another connection.

The brain's effects are performed after its step, and what they cause waits in a queue: nothing
re-enters. The queue is emptied before the next socket is touched, so a brain never names a
connection that is gone. An exception out of a step is a bug of ours and leaves through `run`.

`turn()` is one iteration; the simulator calls it itself. `run()` is a loop around it.

Not here: sockets and clocks (`core/io/system.py`), and what any line means.
"""

import contextlib
import errno
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from core.addresses import Address, comes_to
from core.bounds import BoundHits, Bounds
from core.brain import Brain
from core.effects import (
    Abort,
    Close,
    Dial,
    Drain,
    Level,
    Notify,
    Pause,
    Resume,
    Send,
    Spawn,
    Stop,
    Unlisten,
)
from core.environment import Environment
from core.events import (
    Backlogged,
    Closed,
    Ended,
    Event,
    Opened,
    PlaceWanted,
    Received,
    Relieved,
    Role,
    Woken,
)
from core.io.acceptor import Listener, Service, everybody
from core.io.connection import HEARD, Connection, StreamState
from core.io.datagram_sockets import DatagramSockets
from core.io.descriptors import Descriptors
from core.io.frame_buffer import FrameBuffer
from core.io.host_lookups import HostLookups
from core.io.line_buffer import LineBuffer
from core.io.log import Log
from core.io.lookup import Lookup
from core.io.outputs import Output, Outputs
from core.io.process import Signals
from core.io.signals import DrainStage, SignalHandler, Watchdog
from core.io.system import Socket, System, reason
from core.io.time_limits import TimeLimit
from core.machine import Watch
from core.metrics import Metric, Value
from core.owed import Owed

TURNS = Metric("turns", "Iterations of the loop")
REPLACED = Metric("replaced", "Connections that parted for one of another address")
CLIENTS_MAX = Metric("clients_max", "Clients that there may be at once", is_level=True)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # man 2 socket


class Loop:
    """Runs a brain over sockets until it says Stop, or a second signal comes.

    Before `run` or `turn`: `listen` (servers only), then `start(brain)`.
    `log_output` takes what `log` formats, `output` the brain's Write effects, `records` its Record
    effects. `on_terminal`: somebody watches, and Progress is shown. `descriptors`: what there are;
    without them it is taken that all but the standard streams are free.
    """

    def __init__(
        self,
        system: System,
        bounds: Bounds,
        log: Log,
        log_output: Output,
        *,
        line_bytes_max: int,
        wire_log: bool = False,
        output: Output | None = None,
        records: Output | None = None,
        on_terminal: bool = False,
        descriptors: Descriptors | None = None,
    ) -> None:
        self.descriptors = descriptors or Descriptors(bounds, bounds.descriptors_max, 3)
        self.system = system
        self._bounds = bounds
        self.log = log
        self._wire = log if wire_log else None
        self.outputs = Outputs(
            system, log, log_output, output, records, self._output_failed, on_terminal=on_terminal
        )
        self._brain: Brain
        self._brain_due: float | None = None  # its deadline, as it was when the turn began
        self._brain_stepped = True  # since then; nothing else can change it
        self.events: deque[Event] = deque()
        self.exit_code: int | None = None
        self.turns = 0
        self.hits = BoundHits()
        self.environment = Environment(bounds, self.hits, self.watch, system.random, system.secret)
        self._line_bytes_max = line_bytes_max
        self.owed = Owed(bounds, self.hits)

        self._listeners: dict[int, Listener] = {}  # by descriptor
        self._came_to: dict[Connection, Listener] = {}  # those that hold a place there
        self._parting: dict[Connection, None] = {}  # those that part for another, the oldest first
        self._replaced = 0
        self._claims: list[Socket] = []
        self.datagrams = DatagramSockets(self)
        self._signals = SignalHandler(self)
        self._watchdog = Watchdog(system)

        # A dialled name keeps its place when it is dialled again, and so its order in reading.
        self._dialled: dict[str, Connection] = {}
        self._accepted: dict[str, Connection] = {}
        self._sockets: dict[Connection, Socket] = {}
        self._by_fd: dict[int, Connection] = {}
        self._dials: dict[Connection, deque[Address]] = {}  # addresses not yet tried
        self.host_lookups = HostLookups(self)
        self._paused: set[Connection] = set()
        self._unsent: dict[Connection, None] = {}  # to be sent to this turn, in order
        self._blocked: dict[Connection, int] = {}  # their descriptors: waiting to be writable
        self.doomed: list[Socket | Lookup | Signals] = []  # to close at the end of the turn
        self._read_fds: list[int] = []  # in the order of reading
        self.read_fds_stale = True
        self._was_short = False  # whether memory was short when that list was made

        self._dialling: TimeLimit[Connection] = TimeLimit(bounds.dial_s, "dial_s", "no answer")
        self._mid_line: TimeLimit[Connection] = TimeLimit(
            bounds.mid_line_s, "mid_line_s", "a line took too long"
        )
        self._write_stall: TimeLimit[Connection] = TimeLimit(
            bounds.write_stall_s, "write_stall_s", "took nothing for long"
        )
        self._lingering: TimeLimit[Connection] = TimeLimit(
            bounds.linger_s, "linger_s", "did not end after us"
        )
        self._idle: TimeLimit[Connection] = TimeLimit(bounds.idle_s, "idle_s", "silent for long")
        self._dns_idle: TimeLimit[Connection] = TimeLimit(
            min(bounds.dns_idle_s, bounds.idle_s), "dns_idle_s", "silent for long"
        )
        self._idle_of: dict[Connection, TimeLimit[Connection]] = {}  # which of the two, if any
        self._limits = (
            self._dialling, self._mid_line, self._write_stall, self._lingering, self._idle,
            self._dns_idle,
        )  # fmt: skip
        self._limits_due = math.inf  # when the first of all is due, as it was when the turn began
        self._late_turns = 0
        self._performers: dict[type, Callable[[Any], None]] = {
            Send: self._do_send,
            **self.datagrams.performers(),
            Dial: self._do_dial,
            Spawn: self._do_spawn,
            **self.host_lookups.performers(),
            Close: self._do_close,
            Abort: self._do_abort,
            Pause: self._do_pause,
            Resume: self._do_resume,
            Unlisten: self._do_unlisten,
            **self.outputs.performers(),
            Notify: self._do_notify,
            Drain: self._do_drain,
            Stop: self._do_stop,
        }

    # -- before the first turn -------------------------------------------------------------------

    @property
    def watch(self) -> Watch | None:
        """What a machine has to call so that its moves show in the wire log."""
        return None if self._wire is None else self._wire.changed

    def listen(
        self,
        address: Address,
        service: Service,
        admit: Callable[[str], bool] = everybody,
        *,
        shared: bool = False,
    ) -> Sequence[object]:
        """Listen at one address; return the socket address that it became. Raises OSError.

        `admit(host)` judges each connection by the numeric host that accept returned. What comes
        is treated as the service says. `shared`: other processes listen there, too, each with a
        socket of its own.
        """
        bounds = self._bounds
        stream = self.system.listen(address, bounds.backlog_max, shared=shared)
        self.descriptors.reserve(1)
        if service.reserves:
            count = int(getattr(bounds, service.connections))
            self.descriptors.reserve(count)
            most = lambda: count  # noqa: E731
        else:
            most = lambda: self.descriptors.clients_max  # noqa: E731
        rest_s = bounds.accept_rest_s
        listener = Listener(self.system, stream, service, admit, most, rest_s)
        self._listeners[stream.fileno()] = listener
        there: Sequence[object] = stream.getsockname()
        return there

    def listen_for_datagrams(
        self,
        address: Address,
        admit: Callable[[str], bool] = everybody,
        *,
        shared: bool = False,
    ) -> Sequence[object]:
        """Take datagrams at one address: Opened. Else as `listen`."""
        self.descriptors.reserve(1)
        return self.datagrams.listen(address, admit, shared=shared)

    def _lines(self) -> LineBuffer:
        return LineBuffer(self._line_bytes_max)

    def hold(self, *claims: Socket) -> None:
        """Keep addresses for children who share them, as long as anybody is to come there."""
        self._claims += claims

    def adopt(self, name: str, stream: Socket) -> None:
        """Take a stream that is there already as a connection of this name: Opened."""
        stream.setblocking(False)  # its descriptor is taken already
        connection = Connection(self.environment, name, True, self._lines(), self.owed)
        self._accepted[name] = connection
        self._register(connection, stream)
        self.events.append(Opened(name, Role.WORKER))

    def metrics(self) -> list[Value]:
        """What the loop counts, but for `hits`, which the brain has as well."""
        values = [
            Value(TURNS, self.turns),
            Value(REPLACED, self._replaced),
            Value(CLIENTS_MAX, self.descriptors.clients_max),
        ]
        return values + self.datagrams.metrics() + self.outputs.metrics()

    def start(self, brain: Brain) -> None:
        """Run this brain from now on. It is woken once, to dial what it wants to dial."""
        has_clients = any(not one.service.reserves for one in self._listeners.values())
        if has_clients and (few := self.descriptors.few()):
            self.log.report(few, Level.WARNING)
        self._signals.start()
        self._watchdog.start()
        self._brain = brain
        self.events.append(Woken())
        self.deliver()

    # -- the loop --------------------------------------------------------------------------------

    def run(self) -> int:
        """Turn until the brain stops, write what is left, return the exit code.

        The reader of an output that has no bound is waited for, until a second signal; all else
        gets what it takes now.
        """
        try:
            while self.exit_code is None:
                self.turn()
            while self.outputs.is_awaited and self._signals.count < 2:
                self._write_out(self._bounds.sleep_s)
            self.outputs.write_all()
            return self.exit_code
        finally:
            self.close()

    def turn(self) -> None:
        """One iteration: wait for something to happen, and handle all of it."""
        self.turns += 1
        read_fds, write_fds, timeout_s = self.wants()
        readable, writable, _ = self.system.select(read_fds, write_fds, [], timeout_s)
        stage = self._signals.stage
        link_was_full = self._read(readable)
        if stage is not DrainStage.NONE:
            self._signals.go_on(stage)
        for fd in writable:
            self._writable(fd)
            self.deliver()
        now = self.system.now()
        if self._brain_due is None or self._brain_due > now:
            self._late_turns = 0
        else:
            self._wake(now, link_was_full)
        self._send(now)
        if now >= self._limits_due:
            self._expire(now)
        if self.host_lookups.is_waiting and self.host_lookups.may_start:
            self.host_lookups.start_next()
        if self.doomed:
            self._reap()

    def wants(self) -> tuple[list[int], list[int], float]:
        """What the next turn waits for: descriptors to read, to write, and how long, in s.

        Never a negative time nor an infinite one: select raises on both.
        """
        owed = self.owed
        is_short = self._was_short or (owed.total > owed.low and owed.is_short())
        if self.read_fds_stale or is_short:
            self._list_read_fds()
        write_fds = list(self._blocked.values())
        write_fds += self.datagrams.busy
        for output in self.outputs.all:
            if output.waiting:
                write_fds.append(output.fd)
        due = self._watchdog.due
        for limit in self._limits:
            if limit.due < due:
                due = limit.due
        for listener in self._listeners.values():
            if listener.again_at is not None:
                due = min(due, listener.again_at)
        self._limits_due = due
        if self._brain_stepped:
            self._brain_stepped = False
            self._brain_due = self._brain.deadline()
        if self._brain_due is not None and self._brain_due < due:
            due = self._brain_due
        looks_up = self.host_lookups.is_waiting and self.host_lookups.may_start
        if self._unsent or self.doomed or looks_up or self._signals.stage is not DrainStage.NONE:
            timeout_s = 0.0
        elif due == math.inf:
            timeout_s = self._bounds.sleep_s
        else:
            timeout_s = min(max(0.0, due - self.system.now()), self._bounds.sleep_s)
        return self._read_fds, write_fds, timeout_s

    def _writable(self, fd: int) -> None:
        connection = self._by_fd.get(fd)
        if connection is None:
            if self.datagrams.at(fd) is None:  # those are sent to in any case
                self.outputs.writable(fd)
        elif connection in self._dials:
            self._dial_decided(connection)
        else:
            self._unsent[connection] = None

    def close(self) -> None:
        """Close every socket, in no particular order and without a word."""
        self._unlisten()
        self.doomed += (listener.stream for listener in self._listeners.values())
        self._listeners.clear()
        self._signals.close()
        self.doomed += self._sockets.values()
        self.doomed += self.datagrams.give_up()
        self.host_lookups.close()
        self._sockets.clear()
        self._reap()

    def _list_read_fds(self) -> None:
        """List the descriptors to read, in order. The list is kept from turn to turn while nothing
        changes, and made anew in each turn while memory is short."""
        is_short = self.owed.is_short()
        if self._was_short and not is_short:
            for connection in self._accepted.values():
                self._reads_again(connection)
        self._was_short = is_short
        fds = self.host_lookups.fds
        fds += [fd for fd, listener in self._listeners.items() if listener.is_read]
        for connections, dialled in ((self._dialled, True), (self._accepted, False)):
            fds += [
                self._sockets[connection].fileno()
                for connection in connections.values()
                if self._is_read(connection)
            ]
            fds += self.datagrams.to_read(dialled=dialled)
        fds += self._signals.fds()
        self._read_fds = fds
        self.read_fds_stale = False

    def _is_read(self, connection: Connection) -> bool:
        return self._to_read(connection, 1) > 0

    def _to_read(self, connection: Connection, share: int) -> int:
        """How many bytes to read of it, if its share of this turn is so many; 0: it is not read."""
        if not connection.is_reading or connection in self._paused:
            return 0
        if not connection.accepted:
            return connection.read_bytes
        if connection.life.state in HEARD and self.owed.is_short():
            if not self.owed.is_few(connection.name, connection.waiting):
                return 0
            share = min(share, self._bounds.few_read_bytes)
        return min(share, connection.read_bytes)

    def deliver(self) -> None:
        """Step the brain through what happened and what that caused, until nothing is left."""
        while self.events:
            event = self.events.popleft()
            self._brain_stepped = True
            for effect in self._brain.step(event, self.system.now()):
                self._performers[type(effect)](effect)

    # -- accepting -------------------------------------------------------------------------------

    def _accept(self, listener: Listener, most: float) -> None:
        """Accept until nobody waits, or `most` have come."""
        known = listener.trouble
        count = 0
        for stream, host, network in listener.accept(min(most, listener.room), self.system.now()):
            count += 1
            if len(listener.places) < listener.most() or self._make_room(listener, network):
                self._accepted_from(listener, stream, host, network)
                self.deliver()
            else:
                self.hits[listener.service.connections] += 1
                with contextlib.suppress(OSError):
                    stream.send(listener.service.farewell or b"")
                stream.close()
        if count == most:
            self.hits["accepts_per_turn"] += 1
        if not listener.room:
            self.hits[listener.service.connections] += 1
        if listener.again_at is not None:
            self.hits["accept_rest_s"] += 1
            self.read_fds_stale = True
            if listener.trouble != known:  # once, not ten times a second
                text = f"cannot accept: {listener.trouble}; trying again"
                self.log.report(text, Level.WARNING)

    def _make_room(self, listener: Listener, network: str) -> bool:
        """Have a connection part for a newcomer of this network; return whether one does.

        Until it is gone it takes a descriptor of the spare ones, so only a few may be parting at
        once. One of those that has been sent everything is then no longer waited for.
        """
        most = self._bounds.descriptors_spare // 4
        if len(self._parting) + len(self.doomed) >= 2 * most:  # the doomed have theirs, too
            return False
        going = listener.places.to_part(network)
        if going is None:
            return False
        if len(self._parting) >= most:
            done = next((one for one in self._parting if one in self._lingering), None)
            if done is None:
                return False
            self._lose(done, "its descriptor is needed")
        holder, held = listener.places.holder(going)
        self.log.report(
            f"{listener.service.connections} is reached, and {holder} has {held}: "
            "the longest idle parts",
            Level.WARNING,
            REPLACED.name,
        )
        self._replaced += 1
        self._came_to.pop(going).places.leave(going)
        self._parting[going] = None
        self.events.append(PlaceWanted(going.name))
        self.deliver()
        return True

    def _accepted_from(self, listener: Listener, stream: Socket, host: str, network: str) -> None:
        name = listener.next_name()
        service = listener.service
        framer = self._lines() if service.framer is None else service.framer()
        read_bytes = getattr(self._bounds, service.reads)
        connection = Connection(self.environment, name, True, framer, self.owed, read_bytes)
        self._accepted[name] = connection
        connection.last_turn = self.turns
        listener.places.take(connection, network)
        self._came_to[connection] = listener
        self._register(connection, stream)
        if self._wire is not None:
            self._wire.report(f"{name} is {host}")
        idle = self._dns_idle if service.idles == self._dns_idle.bound else self._idle
        if idle.span_s < math.inf:
            self._idle_of[connection] = idle
            idle.start(connection, self.system.now())
        self.events.append(Opened(name, service.role))

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, readable: list[int]) -> bool:
        """One recv per readable connection; return whether a dialled one has more to read."""
        link_was_full = False
        owed = self.owed
        share = self._bounds.turn_bytes // (len(readable) or 1) or 1
        for fd in readable:
            connection = self._by_fd.get(fd)
            if connection is None:
                link_was_full = self._read_other(fd) or link_was_full
            elif connection not in self._paused:
                most = connection.read_bytes
                if connection.accepted:
                    if owed.total > owed.low:  # it may be too much by now
                        most = self._to_read(connection, share)
                    elif share < most:
                        most = share
                count = self._read_one(connection, most) if most else 0
                if most and count == most:
                    self.hits["read_bytes" if most == connection.read_bytes else "turn_bytes"] += 1
                    link_was_full = link_was_full or not connection.accepted
            self.deliver()
        return link_was_full

    def _read_other(self, fd: int) -> bool:
        """What is no connection; return whether it was dialled and has more to read."""
        datagram_socket = self.datagrams.at(fd)
        if datagram_socket is not None:
            return self.datagrams.read(datagram_socket)
        if self.host_lookups.read(fd):
            return False
        if fd in self._listeners:
            if self._listeners[fd].left == math.inf:  # else see `accept_the_last`
                self._accept(self._listeners[fd], self._bounds.accepts_per_turn)
        else:
            self._signals.read()
        return False

    def _read_one(self, connection: Connection, most: int) -> int:
        """One recv, and the event that it makes; return the count of bytes."""
        try:
            data = self._sockets[connection].recv(most)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._lose(connection, reason(error))
            return 0
        if not data:
            self._read_end(connection, self.system.now())
        elif connection.life.state in HEARD:
            connection.last_turn = self.turns
            lines = connection.receive(data)
            if connection.lines.is_mid_line or self._mid_line.due < math.inf:
                self._watch_line(connection, bool(lines), self.system.now())
            if self._idle_of and connection in self._idle_of:
                self._idle_of[connection].restart(connection, self.system.now())
            if self._wire is not None and connection.speaks_lines:
                self._wire.received(connection.name, lines)
            self.events.append(Received(connection.name, lines))
        return len(data)

    def _read_end(self, connection: Connection, now: float) -> None:
        heard = connection.life.state in HEARD
        unfinished = connection.receive_eof()
        self.read_fds_stale = True
        self._mid_line.stop(connection)
        if connection.is_closed:
            # DEAF until its end: that peer did not take all that it was owed.
            self._gone(connection, "the peer stopped reading" if heard else "")
        elif heard:
            self.events.append(Ended(connection.name, unfinished))
        else:
            self._after_flush(connection, now)

    def _watch_line(self, connection: Connection, completed: bool, now: float) -> None:
        """Keep the limit on lines. A line's clock is not restarted by its bytes."""
        if connection.lines.is_mid_line:
            if completed:
                self._mid_line.restart(connection, now)
            else:
                self._mid_line.start(connection, now)
        else:
            self._mid_line.stop(connection)

    def _reads_again(self, connection: Connection) -> None:
        """What is not read cannot finish its line: the clock begins anew."""
        self.read_fds_stale = True
        if connection in self._mid_line:
            self._mid_line.restart(connection, self.system.now())

    # -- the last to be accepted -----------------------------------------------------------------

    def begin_last_call(self) -> None:
        """Take only those who wait at the listeners that a drain closes, and nobody after them."""
        for listener in self._for_askers():
            listener.last_call(self._bounds.backlog_max + 1)

    def accept_the_last(self) -> bool:
        """Accept a turn's share of them; return whether that was the last, and nobody listens."""
        for listener in self._for_askers():
            self._accept(listener, self._bounds.accepts_per_turn)
        if any(listener.left for listener in self._for_askers()):
            return False
        self._unlisten()
        self.datagrams.end_listening()
        return True

    def _for_askers(self) -> list[Listener]:
        return [one for one in self._listeners.values() if one.service.drains]

    def _unlisten(self) -> None:
        self.doomed += self._claims
        self._claims.clear()
        for listener in self._for_askers():
            del self._listeners[listener.fileno()]
            self.doomed.append(listener.stream)
            self.read_fds_stale = True

    # -- dialling --------------------------------------------------------------------------------

    def _dial(
        self, name: str, addresses: tuple[Address, ...], framer: LineBuffer | FrameBuffer
    ) -> None:
        connection = Connection(self.environment, name, False, framer)
        self._dialled[name] = connection
        self._dials[connection] = deque(addresses)
        self._dial_next(connection, "no address")

    def _dial_next(self, connection: Connection, why: str) -> None:
        """Try the next address; when there is none, the dial has failed, because of `why`."""
        self._unregister(connection)
        addresses = self._dials[connection]
        while addresses:
            address = addresses.popleft()
            try:
                if self._comes_to_us(address):  # it has moved here, or so its name says
                    why = "it is this server itself"
                    host, port = address[1][:2]
                    text = (
                        f"{connection.name}: {host} port {port} is this server itself; not dialled"
                    )
                    self.log.report(text, Level.WARNING, f"{connection.name} is itself")
                    continue
                stream = self.system.connect(address)
            except OSError as error:
                why = self.not_dialled(connection.name, error)
                continue
            self._register(connection, stream)
            self._blocked[connection] = stream.fileno()
            self._dialling.restart(connection, self.system.now())
            return
        self._lose(connection, why)

    def _comes_to_us(self, address: Address) -> bool:
        """Whether one of our listeners is there. Raises OSError when there is no way there."""
        names = [listener.stream.getsockname() for listener in self._listeners.values()]
        ours = [name for name in names if name[1] == address[1][1]]
        return bool(ours) and any(comes_to(name, *self.system.path(address)) for name in ours)

    def not_dialled(self, name: str, error: OSError) -> str:
        """Return why there is no socket; say so where this process is out of something."""
        if error.errno in _EXHAUSTED:
            text = f"no socket for {name}: {reason(error)}; trying again"
            self.log.report(text, Level.WARNING, f"no socket for {name}")
        return reason(error)

    def _dial_decided(self, connection: Connection) -> None:
        """The socket is writable: we are connected, or not (man 2 connect, EINPROGRESS)."""
        stream = self._sockets[connection]
        try:
            error = self.system.connect_error(stream)
            # With nobody listening, a dial from the very port that it dials meets itself.
            own = error == 0 and stream.getsockname() == stream.getpeername()
        except OSError as raised:
            self._dial_next(connection, reason(raised))
            return
        if own:
            self._dial_next(connection, "nobody there: the dial met itself")
        elif error:
            self._dial_next(connection, os.strerror(error).lower())
        else:
            del self._dials[connection]
            self._dialling.stop(connection)
            self._blocked.pop(connection, None)
            connection.connected()
            self.read_fds_stale = True
            self.events.append(Opened(connection.name, Role.UPSTREAM))

    def _spawn(self, name: str) -> None:
        connection = Connection(self.environment, name, False, self._lines())
        self._dialled[name] = connection
        try:
            stream = self.system.spawn(name)
        except OSError as error:
            self._lose(connection, reason(error))
            return
        self._register(connection, stream)
        connection.connected()
        self.events.append(Opened(name, Role.WORKER))

    # -- time ------------------------------------------------------------------------------------

    def _expire(self, now: float) -> None:
        """End what has taken longer than its limit, and the listener's rest. Here a service manager
        hears that the loop turns, and so it costs nothing where there is none."""
        self._watchdog.expire(now)
        for listener in self._listeners.values():
            if listener.rested(now):
                self.read_fds_stale = True
        for limit in self._limits:
            for connection in limit.expire(now):
                if limit is self._dialling:
                    self._dial_next(connection, limit.why)
                    self.hits[limit.bound] += 1
                elif limit is self._mid_line and not self._is_read(connection):
                    limit.start(connection, now)
                else:
                    self.hits[limit.bound] += 1
                    self._lose(connection, limit.why)
                self.deliver()

    def _wake(self, now: float, link_was_full: bool) -> None:
        """The brain's deadline has come, unless a step of this turn has put it off. It waits, for a
        while, when answers may still lie unread."""
        due = self._brain.deadline()
        if due is None or due > now:
            self._late_turns = 0
            return
        if link_was_full and self._late_turns < self._bounds.late_turns:
            self._late_turns += 1
            return
        if link_was_full:
            self.hits["late_turns"] += 1
        self._late_turns = 0
        self.events.append(Woken())
        self.deliver()

    # -- sending ---------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        """One send per connection that has bytes and is not known to be blocked."""
        unsent, self._unsent = self._unsent, {}
        share = self._bounds.turn_sent_bytes // (len(unsent) or 1) or 1
        for connection in unsent:
            if not connection.waiting:  # it was lost in this turn
                continue
            stream = self._sockets[connection]
            data = connection.unsent()
            if connection.accepted and len(data) > share:
                data = data[:share]
                self.hits["turn_sent_bytes"] += 1
            try:
                taken = stream.send(data)
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self._send_failed(connection, reason(error))
                continue
            relieved = connection.sent(taken)
            if taken:
                connection.last_turn = self.turns
            if taken and self._idle_of and connection in self._idle_of:
                self._idle_of[connection].restart(connection, now)
            if connection.waiting:
                self._blocked[connection] = stream.fileno()
                if taken:
                    self._write_stall.restart(connection, now)
                else:
                    self._write_stall.start(connection, now)
            elif connection in self._blocked:
                del self._blocked[connection]
                self._write_stall.stop(connection)
            if relieved and connection.accepted:
                self._reads_again(connection)
            if connection.life.state is not StreamState.OPEN:
                self._after_flush(connection, now)
            elif relieved and not connection.accepted:
                self.events.append(Relieved(connection.name))
            if self.events:
                self.deliver()
        if self.datagrams.busy:
            self.datagrams.send()

    def _send_failed(self, connection: Connection, why: str) -> None:
        """It takes nothing more; what it sent before may still be read."""
        self._blocked.pop(connection, None)
        self._write_stall.stop(connection)
        connection.send_failed()
        self.read_fds_stale = True
        if connection.is_closed:
            self._gone(connection, why)
            self.deliver()

    def _after_flush(self, connection: Connection, now: float) -> None:
        """If that was the last of a staged close: end our side, or be done."""
        state = connection.life.state
        if state is StreamState.LINGERING and connection not in self._lingering:
            self.read_fds_stale = True
            self._lingering.start(connection, now)
            try:
                self.system.end_sending(self._sockets[connection])
            except OSError as error:  # reset meanwhile
                self._lose(connection, reason(error))
        elif state is StreamState.CLOSED and connection in self._sockets:
            self._gone(connection, "")

    # -- effects ---------------------------------------------------------------------------------

    def _do_send(self, effect: Send) -> None:
        connection = self._accepted.get(effect.conn) or self._dialled[effect.conn]
        if self._wire is not None and connection.speaks_lines:
            self._wire.sent(effect.conn, effect.data)
        if connection.send(effect.data):
            if connection.accepted:
                self.hits["owed_bytes_high"] += 1
                self.read_fds_stale = True
            else:
                self.hits["waiting_bytes_high"] += 1
                self.events.append(Backlogged(effect.conn))
        if connection not in self._blocked:
            self._unsent[connection] = None

    def _do_close(self, effect: Close) -> None:
        if effect.conn in self.datagrams:
            self.datagrams.end(effect.conn)
            return
        connection = self._named(effect.conn)
        self._drop_events_of(effect.conn)
        self._paused.discard(connection)
        self._mid_line.stop(connection)
        connection.close()
        self.read_fds_stale = True
        self._after_flush(connection, self.system.now())

    def _do_abort(self, effect: Abort) -> None:
        self._drop_events_of(effect.conn)
        connection = self._accepted.get(effect.conn) or self._dialled[effect.conn]
        if not connection.is_closed:  # else its dial failed in this step: Closed will come
            self._lose(connection, "given up")

    def _do_pause(self, effect: Pause) -> None:
        self._paused.add(self._named(effect.conn))
        self.read_fds_stale = True

    def _do_resume(self, effect: Resume) -> None:
        connection = self._named(effect.conn)
        self._paused.discard(connection)
        self._reads_again(connection)

    def _do_dial(self, effect: Dial) -> None:
        self._dial(effect.conn, effect.addresses, FrameBuffer() if effect.framed else self._lines())

    def _do_spawn(self, effect: Spawn) -> None:
        self._spawn(effect.conn)

    def _do_notify(self, effect: Notify) -> None:
        self.system.notify(effect.standing)

    def _do_unlisten(self, effect: Unlisten) -> None:
        self._unlisten()

    def _do_drain(self, effect: Drain) -> None:
        self._signals.begin_to_drain()

    def _do_stop(self, effect: Stop) -> None:
        if self.exit_code is None:  # else a second signal, or a broken output, came first
            self.exit_code = effect.exit_code

    def _drop_events_of(self, name: str) -> None:
        """The brain hears nothing more of a connection that it closes, but that it is gone."""
        kept = [
            event
            for event in self.events
            if not (isinstance(event, Backlogged) and event.conn == name)
        ]
        self.events.clear()
        self.events += kept

    def _named(self, name: str) -> Connection:
        """The living connection of this name. KeyError: the brain named one that is gone."""
        connection = self._accepted.get(name) or self._dialled[name]
        if connection.is_closed:
            raise KeyError(name)
        return connection

    # -- the end of a connection -----------------------------------------------------------------

    def _register(self, connection: Connection, stream: Socket) -> None:
        self._sockets[connection] = stream
        self._by_fd[stream.fileno()] = connection
        self.read_fds_stale = True

    def _unregister(self, connection: Connection) -> None:
        """The one place where a descriptor leaves the loop; it is closed at the turn's end."""
        stream = self._sockets.pop(connection, None)
        if stream is None:
            return
        del self._by_fd[stream.fileno()]
        self._blocked.pop(connection, None)
        self._unsent.pop(connection, None)
        self._paused.discard(connection)
        self._idle_of.pop(connection, None)
        for limit in self._limits:
            limit.stop(connection)
        self.doomed.append(stream)
        self.read_fds_stale = True

    def _lose(self, connection: Connection, why: str) -> None:
        connection.lost()
        self._gone(connection, why)

    def _gone(self, connection: Connection, why: str) -> None:
        """Forget a closed connection and queue its one Closed."""
        self._unregister(connection)
        self._dials.pop(connection, None)
        self._accepted.pop(connection.name, None)
        if listener := self._came_to.pop(connection, None):
            listener.places.leave(connection)
        self._parting.pop(connection, None)
        self.events.append(Closed(connection.name, why))

    def _reap(self) -> None:
        for stream in self.doomed:
            stream.close()
        self.doomed.clear()

    # -- descriptors that are not sockets --------------------------------------------------------

    def _write_out(self, timeout_s: float) -> None:
        """Wait for the readers of what waits, or for a signal, and write what they take."""
        write_fds = [output.fd for output in self.outputs.all if output.waiting]
        readable, writable, _ = self.system.select(self._signals.fds(), write_fds, [], timeout_s)
        if readable:
            self._signals.read()
        for fd in writable:
            self.outputs.writable(fd)

    def _output_failed(self) -> None:
        self.exit_code = 1
