"""The descriptors of a simulated host: streams, datagrams, signals and lookups.

Each is what `core/io/system.py` would hand out, as far as the loop calls it. The manners of the
network, and all chance, are the world's.

Not here: time, hosts and ways between them (`tests/sim/world.py`).
"""

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from core.addresses import Address
from tests.sim.kept import Record
from tests.sim.wire import Wire

if TYPE_CHECKING:
    from tests.sim.world import Host, World

DNS_PORT = 5353
TLS_PORT = 853
T = TypeVar("T")


def error(number: int) -> OSError:
    """Make the error that the kernel raises."""
    return OSError(number, os.strerror(number))


class Pipe:
    """Bytes from one end of a connection to the other."""

    def __init__(self, world: "World", source: "SimSocket", destination: "SimSocket") -> None:
        self.world = world
        self.source, self.destination = source, destination
        self.under_way: deque[bytes | None] = deque()  # None is the end of the stream
        self.arrived = bytearray()
        self.ended = False  # the end of the stream has arrived
        self.size = 0  # bytes in both
        self._last_at = 0.0
        self._held = 0  # pieces that a cut holds up

    @property
    def room(self) -> int:
        """How many bytes the sender's kernel still takes."""
        return self.world.network.room - self.size

    def put(self, data: bytes | None) -> None:
        """Send bytes, or the end, on their way; they stay in order."""
        self.under_way.append(data)
        self.size += len(data or b"")
        takes_s = self.world.latency() + self.source.host.lag_s
        self._last_at = max(self._last_at, self.world.t + takes_s)
        self.world.at(self._last_at, self.deliver)

    def deliver(self) -> None:
        """Deliver the next piece, or let it wait for the network to heal."""
        world = self.world
        if not self.under_way or self.destination.is_reset:
            return
        healed_at = world.cut_until(self.source.host, self.destination.host)
        if healed_at > world.t:
            world.saw("bytes wait for the network to heal")
            self._held += 1
            world.held_up[self] = None
            world.at(healed_at, self._release)
            return
        data = self.under_way.popleft()
        if data is None:
            self.ended = True
        elif self.destination.is_closed:  # the reset loses what comes the other way
            world.saw("bytes for one who is gone")
            self.destination.pipe_out.under_way.clear()
            self.source.reset(errno.ECONNRESET)
            return
        else:
            self.arrived += data
        self.destination.host.touched()

    def _release(self) -> None:
        """Let a piece that a cut held up go on, unless it has already: everything healed before."""
        if self._held:
            self._held -= 1
            self.deliver()

    def release_all(self) -> None:
        """Let all that a cut held up arrive now."""
        while self._held:
            self._release()


class Holder:
    """Something that holds a descriptor of its host, unless it has none yet."""

    def __init__(self, host: "Host", has_fd: bool = True) -> None:
        self.host = host
        self.fd = host.take_fd(self) if has_fd else -1

    def fileno(self) -> int:
        return self.fd

    def can_read(self) -> bool:
        return False

    def can_write(self) -> bool:
        return False

    def close(self) -> None:
        self.host.free_fd(self)


class SimSocket(Holder):
    """A stream, dialled or accepted, or a listener. Only what the loop calls is here."""

    def __init__(self, host: "Host", *, has_fd: bool = True, is_listening: bool = False) -> None:
        super().__init__(host, has_fd)  # none while it is not accepted yet
        self.is_closed = False
        self.is_reset = False
        self.error = 0  # of the connection, not told yet
        self.is_listening = is_listening
        self.port = self.fd  # of a listener, and of what came to it, the listener's
        self.backlog: deque[SimSocket] = deque()
        self.is_connecting = False
        self.is_own_peer = False
        self.sent_end = False
        self.peer: SimSocket | None = None
        self.to: Host | None = None  # of one that was dialled
        self.pipe_in: Pipe
        self.pipe_out: Pipe
        self.wire: Wire | None = None  # of what it sends, where that is to be secured
        self.record = Record(host.clock())

    # -- called by the loop ------------------------------------------------------------------------

    def fileno(self) -> int:
        return -1 if self.is_closed else self.fd

    def getsockname(self) -> tuple[str, int]:
        return (self.host.name, self.port)

    def getpeername(self) -> tuple[str, int]:
        if self.is_own_peer:
            return self.getsockname()
        if self.peer is None or self.is_reset:
            raise error(errno.ENOTCONN)
        return (self.peer.host.name, self.peer.port)

    def accept(self) -> tuple["SimSocket", tuple[str, int]]:
        host, world = self.host, self.host.world
        if self.backlog and world.chance.random() < world.aborts:
            world.saw("gone before accept")
            host.progress += 1
            raise error(errno.ECONNABORTED)
        if not self.backlog:
            raise BlockingIOError
        if not host.has_fd():
            world.saw("accept runs out of descriptors")
            raise error(errno.EMFILE)
        stream = self.backlog.popleft()
        stream.fd = host.take_fd(stream)
        stream.record = Record(host.clock())
        host.secured_in_turn += stream.port == TLS_PORT
        if stream.port == TLS_PORT and host.loop is not None:
            stream.wire = Wire(f"{host.name}, accepted")
        host.progress += 1
        if host.on_accept is not None:
            host.on_accept()
        assert stream.peer is not None
        return stream, (stream.peer.host.name, 1)

    def recv(self, count: int) -> bytes:
        host, world = self.host, self.host.world
        if self.is_own_peer:
            raise BlockingIOError
        pipe = self.pipe_in
        if pipe.arrived and not world.blocked():
            size = world.cut_short(min(count, len(pipe.arrived)))
            data = bytes(pipe.arrived[:size])
            del pipe.arrived[:size]
            pipe.size -= size
            pipe.source.host.touched()
            self.record.took(data, host.clock())
            host.progress += 1
            if host.on_stream_read is not None:
                host.on_stream_read(self, data)
            return data
        if not pipe.arrived and (self.error or self.is_reset):
            number, self.error = self.error or errno.ECONNRESET, 0
            host.progress += 1
            raise error(number)
        if not pipe.arrived and pipe.ended:
            host.progress += 1
            return b""
        world.saw("recv would block")
        raise BlockingIOError

    def send(self, data: bytes | memoryview) -> int:
        host, world = self.host, self.host.world
        if self.error or self.is_reset:
            number, self.error = self.error or errno.EPIPE, 0
            host.progress += 1
            raise error(number)
        assert not self.sent_end, "sent after our end of stream"
        room = self.pipe_out.room
        if room <= 0 or world.blocked():
            world.saw("send would block")
            self.record.gave(0, len(data), host.clock())
            raise BlockingIOError
        size = world.cut_short(min(room, len(data)))
        if size < len(data):
            world.saw("send takes a part")
        if self.wire is not None:
            self.wire.take(bytes(data[:size]))
        self.pipe_out.put(bytes(data[:size]))
        self.record.gave(size, len(data), host.clock())
        host.progress += 1
        return size

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.host.free_fd(self)
        if self.host.keeping is not None:
            self.host.keeping.cut.append(self.record)
        if self.is_listening:
            for stream in self.backlog:
                stream.abort()
            self.backlog.clear()
        elif self.peer is not None and not self.is_reset:
            if self.pipe_in.arrived:
                self.host.world.saw("a close with unread input")
                self.abort()
            elif not self.sent_end:
                self.end()

    # -- called by the network ---------------------------------------------------------------------

    def end(self) -> None:
        """End our side of the stream."""
        if self.is_reset:
            raise error(errno.ENOTCONN)
        self.sent_end = True
        self.record.ended_at = self.host.clock()
        self.pipe_out.put(None)

    def abort(self) -> None:
        """Close without an end: what is under way is lost, and the peer is reset."""
        self.is_closed = True
        self.host.free_fd(self)
        if self.peer is not None:
            self.pipe_out.under_way.clear()
            self.peer.reset(errno.ECONNRESET)

    def reset(self, number: int) -> None:
        """Take a reset from the peer, at once: the worst of times. Bytes that have arrived stay
        readable."""
        if not self.is_reset and not self.is_closed:
            self.is_reset = True
            self.error = number
            self.host.world.saw("a reset")
            self.host.touched()

    def can_read(self) -> bool:
        if self.is_listening:
            return bool(self.backlog)
        if self.is_connecting or self.is_own_peer:
            return False
        if self.peer is None:
            return self.error != 0
        return bool(self.pipe_in.arrived) or self.pipe_in.ended or self.is_reset

    def can_write(self) -> bool:
        if self.is_connecting:
            return False
        return self.is_own_peer or self.is_reset or self.error != 0 or self.pipe_out.room > 0


class Inbox(Holder, Generic[T]):
    """A socket of datagrams, and those that have come to it and are not read yet. When `room` of
    them wait, those that come are lost, as the kernel does it; None for endless."""

    def __init__(self, host: "Host") -> None:
        super().__init__(host)
        self.arrived: deque[T] = deque()
        self.room = host.room
        self.overflowed = 0  # datagrams that were lost so

    def put(self, datagram: T) -> bool:
        """Keep one for the host to read; return whether there was room for it."""
        if self.room is not None and len(self.arrived) >= self.room:
            self.overflowed += 1
            self.host.world.saw("a socket overflows")
            return False
        self.arrived.append(datagram)
        self.host.touched()
        return True

    def can_read(self) -> bool:
        return bool(self.arrived)

    def can_write(self) -> bool:
        return True


class SimDatagrams(Inbox[tuple[bytes, tuple[str, int]]]):
    """A socket of datagrams. Datagrams that it sends may be lost, overtaken, or arrive twice."""

    def __init__(self, host: "Host") -> None:
        super().__init__(host)
        self.on_arrival: Callable[[bytes, str], None] | None = None
        self.on_read: Callable[[bytes, str], None] | None = None
        self.on_sent: Callable[[bytes, str], None] | None = None
        host.datagrams = self

    def getsockname(self) -> tuple[str, int]:
        return (self.host.name, DNS_PORT)

    def recvfrom(self, count: int) -> tuple[bytes, tuple[str, int]]:
        if not self.arrived or self.host.world.blocked():
            raise BlockingIOError
        data, whence = self.arrived.popleft()
        self.host.progress += 1
        if self.on_read is not None:
            self.on_read(data, whence[0])
        return data[:count], whence

    def sendto(self, data: bytes, address: tuple[str, int]) -> int:
        if self.host.world.blocked():
            raise BlockingIOError
        self.host.progress += 1
        if self.on_sent is not None:
            self.on_sent(data, address[0])
        self.host.world.fly(data, self.host, self.host.world.hosts[address[0]], to_port=address[1])
        return len(data)

    def close(self) -> None:
        super().close()
        self.host.datagrams = None


class SimDialled(Inbox[bytes]):
    """A socket of datagrams that has one peer, the socket that a host takes them at. Each call
    that raises an error of the socket does nothing else, as Linux has it."""

    def __init__(self, host: "Host", peer: "Host", to: str) -> None:
        super().__init__(host)
        self.peer = peer
        self.to = to  # where the peer is, or was
        self.port = host.ports.randrange(1024, 65536)
        self.error = 0  # that came back, and was not told yet
        self.is_stale = False  # its host has another address by now
        host.dialled[self.port] = self

    def recv(self, count: int) -> bytes:
        self._tell_error()
        if not self.arrived or self.host.world.blocked():
            raise BlockingIOError
        self.host.progress += 1
        data = self.arrived.popleft()[:count]
        if self.host.on_dialled_read is not None:
            self.host.on_dialled_read(data, self.peer.name, self.port)
        return data

    def _tell_error(self) -> None:
        if self.error:
            number, self.error = self.error, 0
            self.host.progress += 1
            raise error(number)

    def come_back(self, number: int) -> None:
        """Take an ICMP error."""
        if not self.is_stale:
            self.error = number
            self.host.world.saw("an ICMP error comes")
            self.host.touched()

    def send(self, data: bytes) -> int:
        self._tell_error()
        if self.host.world.blocked():
            raise BlockingIOError
        self.host.progress += 1
        number = errno.EINVAL if self.is_stale else self.host.send_error
        if number:
            self.host.world.saw("a datagram cannot be sent")
            raise error(number)
        if self.to != self.peer.address:
            self.host.world.saw("a datagram goes where nobody is any more")
            return len(data)
        if self.host.on_dialled_sent is not None:
            self.host.on_dialled_sent(data, self.peer.name, self.port)
        self.host.world.fly(data, self.host, self.peer, from_port=self.port)
        return len(data)

    def can_read(self) -> bool:
        return bool(self.arrived) or self.error != 0

    def close(self) -> None:
        super().close()
        self.host.dialled.pop(self.port, None)


class SlowReader:
    """Reads the datagrams of a host without a program: so many a second, or all at once.

    Call `poll` whenever the host is touched; `take` gets each datagram and the port it is from.
    """

    def __init__(
        self, socket: SimDatagrams, take: Callable[[bytes, int], None], per_second: float | None
    ) -> None:
        self._socket = socket
        self._take = take
        self._rest_s = 0.0 if per_second is None else 1.0 / per_second
        self._free_at = 0.0
        self._is_waiting = False

    def poll(self) -> None:
        """Take what may be taken now, and come back for the rest."""
        socket, world = self._socket, self._socket.host.world
        while socket.arrived and self._free_at <= world.t:
            data, (_, port) = socket.arrived.popleft()
            if self._rest_s:
                self._free_at = world.t + self._rest_s
            self._take(data, port)
        if socket.arrived and not self._is_waiting:
            self._is_waiting = True
            world.at(self._free_at, self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        self._socket.host.touched()


class Signals(Holder):
    """The wake-up end from which the loop reads signal numbers."""

    def __init__(self, host: "Host") -> None:
        super().__init__(host)
        self.has_ended = False  # the end that writes is gone
        self._numbers = b""

    def ring(self, number: int) -> None:
        """Let a signal come."""
        self._numbers += bytes([number])
        self.host.touched()

    def recv(self, count: int) -> bytes:
        if not self._numbers and not self.has_ended:
            raise BlockingIOError
        numbers, self._numbers = self._numbers[:count], self._numbers[count:]
        self.host.progress += 1
        return numbers

    def can_read(self) -> bool:
        return bool(self._numbers) or self.has_ended


class SimLookup(Holder):
    """A name that is being looked up: found if it is the name of a host, and known by now."""

    def __init__(self, host: "Host", name: str, port: int) -> None:
        super().__init__(host)
        self.name, self.port = name, port
        self.why = "name or service not known"
        self._is_done = False
        host.looked_up.append(name)
        host.world.at(host.world.t + host.world.lookup_s, self._end)

    def _end(self) -> None:
        self._is_done = True
        self.host.touched()

    def read(self) -> tuple[Address, ...] | None:
        self.host.progress += 1
        world = self.host.world
        if world.t >= world.known_at.get(self.name, 0.0):
            return ((2, (world.hosts[self.name].address, self.port)),)
        world.saw("a lookup fails")
        return ()

    def can_read(self) -> bool:
        return self._is_done
