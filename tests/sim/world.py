"""A simulated network and clock under the real loop: many programs in one process, from a seed.

`World` holds virtual time, a heap of things to come, and hosts. A host that runs a node has the
real `Loop`, brain and connections on a `SimSystem`, which stands behind the same seam as
`core/io/system.py`. The world decides whose turn is next; a turn costs some microseconds; when
nobody can do anything, time jumps to what comes next. Nothing in core/ or nodes/ is patched.

Bytes arrive in order, after a latency, cut anywhere, and late where hosts are cut apart. A close
with unread input, and bytes for one who is gone, make a reset, and what was under way against it is
lost. Datagrams are lost, overtaken and doubled by chance, and lost where a socket or a way is full.
Those that come to a port where nobody listens make an ICMP error, which the dialled socket that it
is about tells once, with the next call; they are few (Linux: six, then one a second to each peer).
A firewall, or a way that is gone, is an error of the send, or of the dial.

Every choice comes from `random.Random` streams seeded by strings, and nothing depends on the
order of a set or on the real clock: the same seed gives the same `trace`.

Not here: what is asked and what goes wrong when (`tests/sim/stories.py`), and what must be true all
the while (`tests/sim/invariants.py`).
"""

import errno
import math
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import replace
from enum import Enum
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar

from core.addresses import Address
from core.bounds import Bounds
from core.brain import Brain
from core.events import Role
from core.io.descriptors import Descriptors
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.secure_layer import SecureLayer
from core.operator import Standing
from core.protocol.names import LINE_BYTES_MAX
from core.tls import CertificateFacts, ServerIdentity, TlsKeys
from nodes.cli.serving import DNS_STREAMS, DNS_TLS_STREAMS, LINES
from tests.sim.kept import Keeping
from tests.sim.secure import SimCertificate, SimSecurity
from tests.sim.sockets import (
    DNS_PORT,
    TLS_PORT,
    Holder,
    Pipe,
    Signals,
    SimDatagrams,
    SimDialled,
    SimLookup,
    SimSocket,
    error,
)
from tests.sim.wire import Wire

BrainT = TypeVar("BrainT", bound=Brain)
PORT = 53
OUTPUT_FD, LOG_FD = 1, 2
_FAR_S = 1e9  # a time of day that no story sees
FDS_FIRST = 3  # after the standard streams
_PLACE = "@"  # once in the address of a host for each time that it has moved away
_SYN_RETRY_S = 1.0  # a SYN that nobody took is sent again
_ERRORS_MOST = 6  # ICMP errors in as many seconds to one peer (icmp_ratelimit, with a burst)
_SLEEP_S = Bounds().sleep_s  # the longest sleep of a loop
_GIVE_UP_S = 15.0  # TCP_USER_TIMEOUT and keepalive, as the real system sets them


class Network:
    """How this world's network behaves; drawn per seed."""

    def __init__(self, chance: Random) -> None:
        self.latency_s = chance.choice([0.0001, 0.001, 0.02, 0.1])
        self.short = chance.choice([0.0, 0.0, 0.25, 0.8])  # how often an I/O is cut short
        self.refused = chance.choice([0.0, 0.0, 0.1])  # how often an I/O would block
        self.spurious = chance.choice([0.0, 0.0, 0.05])  # how often readiness is a lie
        self.room = chance.choice([64, 500, 4_000, 100_000, 1_000_000])  # bytes between two hosts


class TableFile:
    """The file of a TS's table: what a reload reads is what it was when it was opened.

    `rows` are what the content stands for; None where it is to be refused. `read` is for a
    `nodes.ts.reload.Reload`.
    """

    def __init__(self, rows: dict[bytes, bytes], slice_bytes: int) -> None:
        self.slice_bytes = slice_bytes
        self.judged: dict[bytes, bytes] | None = None  # the rows of what was opened last
        self.write(rows)

    def write(self, rows: dict[bytes, bytes]) -> None:
        """Rename a whole one into place."""
        self.rows: dict[bytes, bytes] | None = dict(rows)
        self.good = self.rows  # the last `rows` that were to be served
        self._content = b"".join(map(_as_rows, rows.values()))
        self._error: OSError | None = None

    def spoil(self, content: bytes, problem: OSError | None) -> None:
        """Spoil it, so that it is nothing to serve: it has no good row, or there is a problem at
        its end."""
        self.rows, self._content, self._error = None, content, problem

    def read(self, path: str) -> Generator[bytes, None, None]:
        content, problem = self._content, self._error
        self.judged = self.rows
        for at in range(0, len(content), self.slice_bytes):
            yield content[at : at + self.slice_bytes]
        if problem is not None:
            raise problem


def _as_rows(line: bytes) -> bytes:
    """Write the rows of a file that make this line of a table."""
    spelling, addresses, kind, _ = line.split(b" ")
    return b"".join(b"%b %b %b\n" % (spelling, each, kind) for each in addresses.split(b","))


class SimContexts:
    """The authorities and certificates of one host: what a loop calls of `TlsContexts`."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    @property
    def authorities(self) -> list[str]:
        return list(self._host.authorities)

    def load_authorities(self, path: str) -> None:
        self._host.trusted[path] = self._host.authorities[path]

    def load_keys(self, keys: TlsKeys) -> CertificateFacts:
        found = self._host.certificates[keys]
        if isinstance(found, Exception):
            self._host.world.saw("keys cannot be read")
            raise found
        self._host.shown[keys] = found
        return self.certificate(keys)

    def certificate(self, keys: TlsKeys) -> CertificateFacts:
        shown = self._host.shown[keys]
        return CertificateFacts(shown.names, min(shown.ends_at, _FAR_S))

    def secure_dialled(self, identity: ServerIdentity) -> SecureLayer:
        trusted = self._host.trusted[identity.authorities]
        return self._host.world.security.dialled(identity, trusted, self._host.wall())

    def secure_accepted(self, keys: TlsKeys) -> SecureLayer:
        return self._host.world.security.accepted(self._host.shown[keys])


class SimSystem:
    """The operating system of one host: what a loop calls of `core.io.system.System`."""

    hangup = 1
    tell = 10
    flush = 12
    random = staticmethod(float)
    secret = staticmethod(bytes)

    def __init__(self, host: "Host") -> None:
        self.tls = SimContexts(host)
        self._host = host
        self._world = host.world

    def now(self) -> float:
        return self._host.clock()

    def wall(self) -> float:
        return self._host.wall()

    def select(
        self, read_fds: list[int], write_fds: list[int], broken_fds: list[int], timeout_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        """Return what is ready now. Nobody waits here: the world knows when to call a turn."""
        assert 0.0 <= timeout_s <= _SLEEP_S, f"it sleeps for {timeout_s} s"
        assert len(set(read_fds)) == len(read_fds)
        self._host.named |= {*read_fds, *write_fds}
        assert self._host.keeping is not None and self._host.loop is not None
        self._host.keeping.waits(self._host.loop.read_list.fds, self.now())
        held, lie = self._host.open, self._world.lie
        readable = [fd for fd in read_fds if held[fd].can_read() or lie(held[fd])]
        writable = [fd for fd in write_fds if fd <= LOG_FD or held[fd].can_write() or lie(held[fd])]
        return readable, writable, []

    def listen(self, address: Address, backlog: int) -> list[SimSocket]:
        listener = SimSocket(self._host, is_listening=True)
        listener.port = address[1][1]
        if address[1][1] == DNS_PORT:
            self._host.dns_listener = listener
        elif address[1][1] == TLS_PORT:
            self._host.tls_listener = listener
        else:
            self._host.listener = listener
        return [listener]

    def take_datagrams(self, address: Address) -> list[SimDatagrams]:
        return [SimDatagrams(self._host)]

    def dial_datagrams(self, address: Address) -> SimDialled:
        if not self._host.has_fd():
            raise error(errno.EMFILE)
        if self._host.send_error == errno.ENETUNREACH:  # the kernel looks for a way already now
            self._world.saw("a dial finds no way")
            raise error(errno.ENETUNREACH)
        target = self._world.host_at(address)
        assert not target.is_secret, f"strict: datagrams for {target.name}"
        return SimDialled(self._host, target, address[1][0])

    def can_send_alike(self, stream: SimDialled) -> bool:
        return False

    send_alike = None

    def path(self, address: Address) -> tuple[tuple[str, int], tuple[str, int]]:
        return (self._host.name, 0), address[1]

    def overflowed(self, stream: "SimDatagrams | SimDialled") -> int:
        return stream.overflowed

    def connect(self, address: Address) -> SimSocket:
        if not self._host.has_fd():
            self._world.saw("a dial runs out of descriptors")
            raise error(errno.EMFILE)
        dialled, target, port = SimSocket(self._host), self._world.host_at(address), address[1][1]
        assert port == TLS_PORT or not target.is_secret, (
            f"strict: port {port} of {target.name} is dialled"
        )
        if port == TLS_PORT:
            dialled.wire = Wire(f"to {target.name}")
        self._world.dial(dialled, target, port)
        return dialled

    def numeric(self, host: str, port: int) -> tuple[Address, ...]:
        return ()

    def look_up(self, host: str, port: int) -> "SimLookup":
        if not self._host.has_fd():
            self._world.saw("a lookup runs out of descriptors")
            raise error(errno.EMFILE)
        return SimLookup(self._host, host, port)

    def connect_error(self, dialled: SimSocket) -> int:
        number, dialled.error = dialled.error, 0
        return number

    def ack_at_once(self, stream: SimSocket) -> None:
        pass

    def tune(self, stream: SimSocket) -> None:
        if stream.is_reset:
            self._world.saw("reset before it was tuned")
            raise error(errno.EINVAL)

    def end_sending(self, stream: SimSocket) -> None:
        stream.end()

    def write(self, fd: int, data: memoryview) -> int:
        size = self._world.cut_short(len(data))
        if fd == OUTPUT_FD:
            self._host.output += data[:size]
        self._host.progress += 1
        return size

    def notify(self, standing: Standing) -> None:
        self._host.standings.append(standing)

    def watchdog_s(self) -> float:
        return self._host.watchdog_s

    def notify_alive(self) -> None:
        self._host.alive_at.append(self._host.clock())

    def catch_signals(self) -> Signals:
        self._host.signals = Signals(self._host)
        for number in self._host.early:
            self._host.signals.ring(number)
        return self._host.signals


class Host:
    """A machine with one program, or with none: then a story speaks for it through its sockets."""

    def __init__(self, world: "World", name: str, fds_max: int = 1024) -> None:
        self.world = world
        self.name = name
        self.fds_max = fds_max
        self.open: dict[int, Any] = {}  # the holder of each descriptor
        self.named: frozenset[int] = frozenset()  # the question to select in this turn
        self.is_up = True
        self.paused_until = 0.0
        self.rate = 1.0  # of its clock
        self.lag_s = 0.0  # how much longer what it sends takes than the network needs
        self.room: int | None = None  # for datagrams in each socket it is to have; None: endless
        self.says_twice = False  # whether it sends each datagram so
        self.rejects = 0.0  # how often a datagram finds that nobody listens at its port
        self.send_error = 0  # of each datagram that a dialled socket is to send
        self._errors_sent: dict[str, NarrowWay] = {}  # ICMP, by who gets them
        self.dials = 0  # of others to it
        self.address = name
        self.looked_up: list[str] = []  # the names of others
        self.wall_offset_s = 0.0  # of the time of day
        self.progress = 0  # I/O that did something
        self.idle_turns = 0  # in a row, at about one time, that did nothing
        self.output = bytearray()
        self.listener: SimSocket | None = None
        self.dns_listener: SimSocket | None = None
        self.tls_listener: SimSocket | None = None
        self.is_secret = False  # it is to be asked by TLS alone
        self.secured_in_turn = 0  # streams that it has accepted to secure
        # Authorities by the path of their file, and those that were read last; certificates by
        # those of theirs, or why they cannot be read; and those that were read last.
        self.authorities = {"": frozenset({"public"})}
        self.trusted = dict(self.authorities)
        self.certificates: dict[TlsKeys, SimCertificate | Exception] = {}
        self.shown: dict[TlsKeys, SimCertificate] = {}
        self.datagrams: SimDatagrams | None = None
        self.dialled: dict[int, SimDialled] = {}  # by port
        self.ports = Random(f"{name}:ports")
        self.signals: Signals | None = None
        self.early: list[int] = []  # signals that come while its next program starts
        self.standings: list[Standing] = []  # told to a service manager
        self.watchdog_s = math.inf  # within which it wants to hear of the loop
        self.alive_at: list[float] = []  # by its clock, when it did
        self.loop: Loop | None = None
        self.keeping: Keeping | None = None  # checks the loop after each turn
        self.observer: Observer
        self.exit_code: int | None = None
        self.exited_at = math.inf  # by its clock
        self.on_touch: Callable[[], None] | None = None  # for a host without a program
        self.on_accept: Callable[[], None] | None = None  # a waiting connection is accepted
        # Called with what comes to a dialled socket of datagrams, from whom, to which port; with
        # what its program reads of it, and of a stream; and with what goes.
        self.on_landed: Callable[[bytes, str, int], None] | None = None
        self.on_dialled_read: Callable[[bytes, str, int], None] | None = None
        self.on_stream_read: Callable[[SimSocket, bytes], None] | None = None
        self.on_dialled_sent: Callable[[bytes, str, int], None] | None = None
        self._is_told = False
        self._is_ready: bool | None = None  # None: look again
        self._wake_at = 0.0
        self._last_turn_at = 0.0

    def run(
        self,
        bounds: Bounds,
        observer: "Observer",
        build: Callable[[Loop], BrainT],
        listens: bool = True,
        with_dns: bool = False,
        links: int = 0,
        keys: TlsKeys | None = None,
    ) -> BrainT:
        """Start a node; return its brain. `observer` is its wire log, and so sees all that it does.
        `links`: the descriptors that it needs besides. `keys`: it takes DNS by TLS, with these."""
        system: Any = SimSystem(self)
        log: Any = observer
        self.observer = observer
        observer.host = self
        self.is_up = True
        self.paused_until = 0.0
        log_output, output = Output(LOG_FD, bytes_max=0), Output(OUTPUT_FD)
        streams, datagrams = [], []
        if listens:
            streams += [(LINES, each) for each in system.listen((2, (self.name, PORT)), 1)]
        if with_dns:
            at = (2, (self.name, DNS_PORT))
            streams += [(DNS_STREAMS, each) for each in system.listen(at, 1)]
            datagrams = system.take_datagrams(at)
        if keys is not None:
            system.tls.load_keys(keys)
            service = replace(DNS_TLS_STREAMS, keys=keys)
            streams += [(service, each) for each in system.listen((2, (self.name, TLS_PORT)), 1)]
        descriptors = Descriptors(bounds, self.fds_max, FDS_FIRST + len(self.open))
        descriptors.reserve(links)
        self.loop = Loop(
            system,
            bounds,
            log,
            Destinations(log_output, own=output),
            line_bytes_max=LINE_BYTES_MAX,
            wire_log=True,
            descriptors=descriptors,
        )
        self.keeping = Keeping(self.loop, self.open)
        for service, stream in streams:
            self.loop.listen(stream, service)
        for bound in datagrams:
            self.loop.listen_for_datagrams(bound, Role.DNS)
        brain = build(self.loop)
        self.loop.start(brain)
        self.touched()
        return brain

    def ring(self, *numbers: int) -> None:
        """Let signals come to its program."""
        assert self.signals is not None
        for number in numbers:
            self.signals.ring(number)

    def listener_at(self, port: int) -> SimSocket | None:
        """Return what listens at a port."""
        by_port = {DNS_PORT: self.dns_listener, TLS_PORT: self.tls_listener}
        return by_port.get(port, self.listener)

    def take_waiting(self, listener: SimSocket | None) -> list[SimSocket]:
        """Accept all who wait, for a host without a program."""
        taken = []
        while listener is not None and listener.backlog:
            taken.append(listener.backlog.popleft())
            taken[-1].fd = self.take_fd(taken[-1])
        return taken

    # -- descriptors -------------------------------------------------------------------------------

    def has_fd(self) -> bool:
        return len(self.open) + FDS_FIRST < self.fds_max

    def take_fd(self, holder: object) -> int:
        """Take the lowest that is free, as the kernel gives them."""
        fd = FDS_FIRST
        while fd in self.open:
            fd += 1
        assert fd not in self.named, f"descriptor {fd} is used twice in one turn"
        self.open[fd] = holder
        return fd

    def free_fd(self, holder: Holder) -> None:
        if self.open.get(holder.fd) is holder:
            del self.open[holder.fd]

    def has_bytes_under_way(self) -> bool:
        """Return whether a stream of its still has bytes between its two ends, in either
        direction."""
        return any(
            holder.pipe_in.size or holder.pipe_out.size
            for holder in self.open.values()
            if isinstance(holder, SimSocket) and holder.peer is not None and not holder.is_reset
        )

    # -- turns -------------------------------------------------------------------------------------

    def clock(self) -> float:
        return 1000.0 + self.world.t * self.rate

    def wall(self) -> float:
        return self.clock() + self.wall_offset_s

    def touched(self) -> None:
        """Take note that something has changed for a socket of its."""
        self._is_ready = None
        if self.on_touch is not None and not self._is_told:
            self._is_told = True
            self.world.at(self.world.t, self._ask_server)

    def _ask_server(self) -> None:
        self._is_told = False
        is_able = self.is_up and self.paused_until <= self.world.t
        if self.on_touch is not None and is_able:
            self.on_touch()

    def freeze(self, until: float) -> None:
        """Let it do nothing until then; what comes waits for it, as long as there is room."""
        self.world.saw("a host freezes")
        self.paused_until = until
        self.world.at(until, self.touched)

    def move(self) -> None:
        """Move to another address: nothing goes or comes by the dialled sockets that it has."""
        self.world.saw("a host gets another address")
        for one in self.dialled.values():
            one.is_stale = True
            one.error = 0

    def move_away(self, address: str = "") -> None:
        """Move to another address, this one or a new one, which the others do not know yet. Nothing
        goes or comes by the sockets that they have."""
        self.world.saw("a host that is asked moves away")
        self.address = address or self.address + _PLACE
        self.world.places[self.address] = self

    def says_unreachable(self, peer: "Host") -> bool:
        """Return whether another ICMP error goes to this peer."""
        way = self._errors_sent.setdefault(peer.name, NarrowWay(_ERRORS_MOST, float(_ERRORS_MOST)))
        return way.take(self.world.t)

    def may_run(self) -> bool:
        """Return whether a turn would find something to do."""
        if self.loop is None or self.paused_until > self.world.t:
            return False
        if self._is_ready is None:
            write_fds, timeout_s = self.loop.wants()
            self._wake_at = self.world.t + timeout_s / self.rate
            self._is_ready = any(self.open[fd].can_read() for fd in self.loop.read_list.fds) or any(
                fd <= LOG_FD or self.open[fd].can_write() for fd in write_fds
            )
        return self._is_ready or self._wake_at <= self.world.t

    def wakes_at(self) -> float | None:
        """Return when it wants to run at the latest, unless something happens."""
        if self.loop is None:
            return None
        return self.paused_until if self.paused_until > self.world.t else self._wake_at

    def turn(self) -> None:
        """Turn its loop once. An exception that this raises is a bug of ours."""
        assert self.loop is not None
        before = self.progress + self.observer.count
        if self.world.t - self._last_turn_at > 0.05:
            self.idle_turns = 0  # it slept
        self._last_turn_at = self.world.t
        self.secured_in_turn = 0
        self.loop.turn()
        most = self.loop.streams.bounds.tls_accepts_per_turn
        count = self.secured_in_turn
        assert count <= most, f"handshakes: {count} begin in one turn, over {most}"
        self.named = frozenset()
        if self.keeping is not None:
            self.keeping.check(self.clock())
        self._is_ready = None
        idle = self.progress + self.observer.count == before
        self.idle_turns = self.idle_turns + 1 if idle else 0
        if self.loop.exit_code is not None:
            self._exit(self.loop)

    def _exit(self, loop: Loop) -> None:
        loop.outputs.write_all()
        self.exit_code, self.exited_at = loop.exit_code, self.clock()
        loop.close()
        for holder in list(self.open.values()):
            holder.close()
        self._be_down()

    # -- life --------------------------------------------------------------------------------------

    def _be_down(self) -> None:
        self.is_up = False
        self.loop = self.keeping = None
        self.listener = self.dns_listener = self.tls_listener = self.signals = None

    def die(self, silently: bool) -> None:
        """Die: the program is killed, or the machine vanishes and nobody is told for a while."""
        for listener in (self.listener, self.tls_listener):
            for stream in () if listener is None else listener.backlog:
                stream.abort()
        self._be_down()
        for holder in list(self.open.values()):
            if not isinstance(holder, SimSocket) or holder.is_listening:
                continue
            peer = holder.peer
            holder.is_closed = True
            if peer is None:
                continue
            holder.pipe_out.under_way.clear()
            if silently:
                self.world.at(
                    self.world.t + _GIVE_UP_S, lambda peer=peer: peer.reset(errno.ETIMEDOUT)
                )
            else:
                peer.reset(errno.ECONNRESET)
        self.open.clear()


class NarrowWay:
    """Takes at most `most` datagrams in any `within_s`; what comes besides is lost."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self._taken_at: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Let a datagram pass, if it may."""
        taken_at = self._taken_at
        while taken_at and taken_at[0] <= now - self._within_s:
            taken_at.popleft()
        if len(taken_at) >= self._most:
            return False
        taken_at.append(now)
        return True


class World:
    """Hosts, a network, and time."""

    def __init__(self, seed: str) -> None:
        self.chance = Random(f"{seed}:network")
        self.turns = Random(f"{seed}:turns")
        self.network = Network(Random(f"{seed}:kind"))
        self.security = SimSecurity(seed)
        self.t = 0.0
        self.hosts: dict[str, Host] = {}
        self.places: dict[str, Host] = {}  # by the addresses that hosts have moved to
        self.probes: Counter[str] = Counter()
        self.trace = 0  # a running checksum of everything that is seen
        self.aborts = 0.0  # how often a connection is gone before it is accepted
        self.lost = 0.0  # how often a datagram is
        self.twice = 0.0  # how often one arrives so
        self.stray = 30  # how many times as long as the others one in four takes
        self.own_dials = 0.0  # how often a dial to nobody meets itself
        self.backlog_max = 100
        self.known_at: dict[str, float] = {}  # from when on a name can be looked up, if not yet
        self.lookup_s = 0.02  # the time that a lookup takes
        self.steps = 0
        self.checks: list[Callable[[], None]] = []  # called after each step
        self.held_up: dict[Pipe, None] = {}  # in which a cut holds up bytes, in their order
        self._cuts: dict[tuple[str, str], float] = {}
        self._narrow: dict[tuple[str, str], NarrowWay] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def host_at(self, address: Address) -> Host:
        """Return the host at an address, which it has, or had."""
        at = address[1][0]
        return self.places[at] if at in self.places else self.hosts[at]

    def host(self, name: str, fds_max: int = 1024) -> Host:
        """Add a new machine."""
        host = Host(self, name, fds_max)
        self.hosts[name] = host
        return host

    def saw(self, what: str) -> None:
        """Take note that something that is to happen sometimes has happened."""
        self.probes[what] += 1

    def note(self, text: str) -> None:
        """Note another line in the trace."""
        self.trace = zlib.crc32(f"{self.t:.9f} {text}".encode(), self.trace)

    # -- time --------------------------------------------------------------------------------------

    def at(self, t: float, do: Callable[[], None]) -> None:
        """Do it then; at one time, in the order of asking."""
        self._count += 1
        heappush(self._heap, (t, self._count, do))

    def run_until(self, until: float) -> None:
        """Let everybody run up to a time."""
        while self.step(until):
            pass

    def step(self, until: float) -> bool:
        """Turn a host once, or jump in time; return whether it is not `until` yet."""
        heap = self._heap
        while heap and heap[0][0] <= self.t:
            heappop(heap)[2]()
        nodes = [host for host in self.hosts.values() if host.loop is not None]
        runnable = [host for host in nodes if host.may_run()]
        if runnable:
            host = runnable[0] if len(runnable) == 1 else self.turns.choice(runnable)
            self.note(host.name)
            host.turn()
            self.t += self.turns.uniform(10e-6, 200e-6)
        else:
            coming = [at for host in nodes if (at := host.wakes_at()) is not None]
            if heap:
                coming.append(heap[0][0])
            self.t = min((at for at in (*coming, until) if at > self.t), default=until)
        self.steps += 1
        for check in self.checks:
            check()
        return self.t < until

    # -- the network -------------------------------------------------------------------------------

    def latency(self) -> float:
        return self.network.latency_s * self.chance.uniform(0.1, 1.0)

    def blocked(self) -> bool:
        refused = self.network.refused
        return refused > 0 and self.chance.random() < refused

    def cut_short(self, size: int) -> int:
        short = self.network.short
        if short and size > 1 and self.chance.random() < short:
            return self.chance.randint(1, size)
        return size

    def lie(self, holder: object) -> bool:
        """Return whether select calls a stream ready that is not."""
        spurious = self.network.spurious
        is_stream = isinstance(holder, SimSocket) and holder.peer is not None
        if spurious > 0 and is_stream and self.chance.random() < spurious:
            self.saw("readiness is a lie")
            return True
        return False

    def cut(self, source: Host, destination: Host, until: float) -> None:
        """Cut the way: nothing goes from one to the other for a while."""
        self._cuts[source.name, destination.name] = until

    def cut_until(self, source: Host, destination: Host) -> float:
        return self._cuts.get((source.name, destination.name), 0.0)

    def narrow(self, source: Host, destination: Host, most: int, within_s: float) -> None:
        """Narrow the way: so many datagrams get from one to the other within that time; the rest is
        lost."""
        self._narrow[source.name, destination.name] = NarrowWay(most, within_s)

    def heal(self) -> None:
        """Heal the network and all machines from now on."""
        self._cuts.clear()
        self._narrow.clear()
        for pipe in self.held_up:
            pipe.release_all()
        self.held_up.clear()
        self.aborts = self.own_dials = self.lost = self.twice = 0.0
        self.network.refused = self.network.spurious = 0.0
        for host in self.hosts.values():
            host.paused_until = 0.0
            host.rejects, host.send_error = 0.0, 0
            host.touched()

    def fly(
        self,
        data: bytes,
        source: Host,
        destination: Host,
        from_port: int = DNS_PORT,
        to_port: int = DNS_PORT,
    ) -> None:
        """Send a datagram on its way; each copy of it takes its own time."""
        if self.lost and self.chance.random() < self.lost:
            self.saw("a datagram is lost")
            return
        way = self._narrow.get((source.name, destination.name))
        if way is not None and not way.take(self.t):
            self.saw("a way is too narrow")
            return
        copies = 1
        if self.twice and self.chance.random() < self.twice:
            self.saw("a datagram arrives twice")
            copies = 2
        if source.says_twice:
            self.saw("a host says it twice")
            copies = 2
        to = destination, destination.address
        for _ in range(copies):
            takes_s = self.latency() * self.chance.choice([1, 1, 1, self.stray])
            at = self.t + takes_s
            self.at(at, lambda: self._land(data, source, to, from_port, to_port))

    def _land(
        self, data: bytes, source: Host, to: tuple[Host, str], from_port: int, to_port: int
    ) -> None:
        destination, address = to
        if destination.address != address:
            self.saw("a datagram goes where nobody is any more")
            return
        if self.cut_until(source, destination) > self.t:
            return
        dialled = destination.dialled.get(to_port)
        if dialled is not None:
            # The kernel drops what is from anybody else, and to an address that is ours no more.
            is_of_peer = dialled.peer is source and from_port == DNS_PORT and not dialled.is_stale
            is_of_peer = is_of_peer and dialled.to == source.address
            if is_of_peer and dialled.put(data) and destination.on_landed is not None:
                destination.on_landed(data, source.name, to_port)
            return
        asker = source.dialled.get(from_port)
        if asker is not None and destination.rejects > self.chance.random():
            if destination.says_unreachable(source):
                self.at(self.t + self.latency(), lambda: asker.come_back(errno.ECONNREFUSED))
            return
        if destination.datagrams is None or to_port not in (0, DNS_PORT):
            return
        is_there = destination.datagrams.put((data, (source.name, from_port)))
        if is_there and destination.datagrams.on_arrival is not None:
            destination.datagrams.on_arrival(data, source.name)

    def dial(self, dialled: SimSocket, target: Host, port: int = PORT) -> None:
        """Send a SYN on its way."""
        dialled.is_connecting = True
        dialled.to = target
        target.dials += 1
        self.at(self.t + self.latency(), lambda: self._syn(dialled, target, port))

    def _syn(self, dialled: SimSocket, target: Host, port: int) -> None:
        """Let it arrive: there is somebody, or nobody, or no room, or no way."""
        if dialled.is_closed or not dialled.is_connecting:
            return
        listener = target.listener_at(port)
        ways = self.cut_until(dialled.host, target), self.cut_until(target, dialled.host)
        if max(ways) > self.t:
            self.saw("a dial hangs")
        elif listener is None:
            dialled.is_connecting = False
            if self.chance.random() < self.own_dials:
                self.saw("a dial meets itself")
                dialled.is_own_peer = True
            else:
                self.saw("a dial is refused")
                dialled.error = errno.ECONNREFUSED
            dialled.host.touched()
            return
        elif len(listener.backlog) >= self.backlog_max:
            self.saw("the backlog is full")
        else:
            self._join(dialled, target, listener)
            return
        self.at(self.t + _SYN_RETRY_S, lambda: self._syn(dialled, target, port))

    def _join(self, dialled: SimSocket, target: Host, listener: SimSocket) -> None:
        """Make the connection, which waits to be accepted."""
        accepted = SimSocket(target, has_fd=False)
        accepted.port = listener.port
        dialled.is_connecting = False
        dialled.peer, accepted.peer = accepted, dialled
        dialled.pipe_out = accepted.pipe_in = Pipe(self, dialled, accepted)
        accepted.pipe_out = dialled.pipe_in = Pipe(self, accepted, dialled)
        listener.backlog.append(accepted)
        target.touched()
        dialled.host.touched()


class Storm:
    """Connections to a host, faster than it can accept them: for one that is accepted another one
    waits, at once, until so many have come. None says anything, and none ends."""

    def __init__(self, world: World, target: Host, waiting: int, most: int) -> None:
        self.come = 0
        self._world = world
        self._target = target
        self._waiting = waiting
        self._most = most
        self._host = world.host("storm")
        target.on_accept = self.rage

    def rage(self) -> None:
        """Have as many wait as are to."""
        listener = self._target.listener
        while (
            listener is not None
            and not listener.is_closed
            and len(listener.backlog) < self._waiting
            and self.come < self._most
        ):
            self.come += 1
            self._world.saw("a storm of connections")
            self._world._join(SimSocket(self._host, has_fd=False), self._target, listener)


class Observer:
    """A log that counts and traces: the base of whoever watches a node."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.count = 0
        self.host: Host

    def received(self, conn: str, data: bytes) -> None:
        self._note(f"{self.name} > {conn} {data!r}")

    def sent(self, conn: str, data: bytes) -> None:
        self._note(f"{self.name} < {conn} {data!r}")

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        self._note(f"{self.name} = {machine} {old.name} {new.name}")
        self.world.saw(f"{type(new).__name__} {new.name}")

    def report(self, text: str, *_: object) -> None:
        self._note(f"{self.name} {text}")

    def _note(self, text: str) -> None:
        self.count += 1
        self.world.note(text)
