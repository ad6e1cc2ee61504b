"""The sockets of datagrams of one loop: which are read and sent to, and what becomes of each.

A turn costs nothing for those at rest: only sockets for which something waits, or that are to end,
are `busy`. A socket that broke is read until nothing more comes, and then let go: in this order,
since the brain may send by it, or close it, for what it hears.

Not here: one socket (`core/io/datagrams.py`).
"""

from collections.abc import Iterator

from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.events import Closed, Opened, Role
from core.io.datagrams import DatagramSocket
from core.io.dialler import ITSELF, comes_to_us, why_not_dialled
from core.io.engine import Engine
from core.io.listener import Admit, everybody
from core.io.system import Socket, reason
from core.metrics import Metric, Value
from core.operator import Level

_MANY_DATAGRAMS = 64  # in one turn: a socket that overflows has more, so with fewer we do not ask
_DRAIN_READS_MAX = 128  # of one socket, when it is read for the last time: somebody may flood it
DATAGRAMS_DROPPED = Metric(
    "datagrams_dropped", "Datagrams that the network did not take, or not in time"
)
OVERFLOWED = Metric(
    "datagrams_overflowed", "Datagrams that found no room in a socket before they were read"
)


class DatagramSockets:
    """All sockets of datagrams of one loop, by name."""

    def __init__(self, engine: Engine) -> None:
        self.busy: dict[int, DatagramSocket] = {}  # by descriptor: something waits, or it ends
        self._engine = engine
        self._by_name: dict[str, DatagramSocket] = {}
        self._dropped = 0  # by those that are gone
        self._overflowed = 0  # of those that are gone
        engine.performers |= {SendTo: self._do_send_to, DialDatagrams: self._do_dial}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[DatagramSocket]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> DatagramSocket:
        return self._by_name[name]

    def metrics(self) -> list[Value]:
        """Return how many datagrams were lost, if there is any socket for them."""
        if not self._by_name:
            return []
        return [Value(DATAGRAMS_DROPPED, self.dropped), Value(OVERFLOWED, self.overflowed)]

    @property
    def dropped(self) -> int:
        """How many datagrams the network did not take."""
        return self._dropped + sum(each.dropped for each in self)

    @property
    def overflowed(self) -> int:
        """How many datagrams have found no room in a socket."""
        return self._overflowed + sum(each.overflowed for each in self)

    # -- which there are ---------------------------------------------------------------------------

    def listen(self, stream: Socket, role: Role, admit: Admit) -> None:
        """Take datagrams from a bound socket; see `Loop.listen_for_datagrams`."""
        engine = self._engine
        known = sum(not each.dialled for each in self)
        name = f"{role.value}-0.{known + 1}" if known else f"{role.value}-0"  # streams: from 1 on
        judge = None if admit is everybody else admit
        refuse, overflowed = engine.refusals.refuse, engine.system.overflowed
        self.add(DatagramSocket(stream, name, judge, refuse=refuse, overflowed=overflowed))
        engine.events.append(Opened(name, role, is_datagrams=True))

    def add(self, datagram_socket: DatagramSocket) -> None:
        """Keep one more socket, until it is removed."""
        datagram_socket.fd = datagram_socket.fileno()
        self._by_name[datagram_socket.name] = datagram_socket
        self._engine.by_fd[datagram_socket.fd] = datagram_socket
        self._engine.read_fds_stale = True
        datagram_socket.read = self.read

    def remove(self, datagram_socket: DatagramSocket) -> None:
        """Forget a socket that is to be closed, but not what it counted."""
        fd = datagram_socket.fd
        del self._by_name[datagram_socket.name]
        del self._engine.by_fd[fd]
        self._engine.read_fds_stale = True
        if self.busy.pop(fd, None) is not None:
            del self._engine.write_fds[fd]
        self._dropped += datagram_socket.dropped
        self._overflowed += datagram_socket.overflowed

    def give_up(self) -> None:
        """Let go of all sockets."""
        for each in list(self):
            self.remove(each)
            self._engine.doomed.append(each.stream)

    def to_read(self, *, dialled: bool) -> list[int]:
        """Return the descriptors that are read, of those that were dialled or of the others."""
        return [each.fd for each in self if each.is_read and each.dialled is dialled]

    def _do_dial(self, effect: DialDatagrams) -> None:
        engine, name = self._engine, effect.conn
        system = engine.system
        own = [each.stream.getsockname() for each in self if not each.dialled]
        try:
            if comes_to_us(engine, effect.server, effect.address, own):
                engine.events.append(Closed(name, ITSELF))
                return
            stream = system.dial_datagrams(effect.address)
        except OSError as error:
            why = why_not_dialled(engine.log, effect.server, error)
            engine.events.append(Closed(name, why))
            return
        send_alike = system.send_alike if system.can_send_alike(stream) else None
        self.add(
            DatagramSocket(
                stream, name, dialled=True, send_alike=send_alike, overflowed=system.overflowed
            )
        )
        engine.events.append(Opened(name, Role.UPSTREAM))

    # -- in ----------------------------------------------------------------------------------------

    def read(self, datagram_socket: DatagramSocket) -> bool:
        """Take what has come; return whether it was dialled and may have more to read."""
        has_more = self._receive(datagram_socket) and datagram_socket.dialled
        if datagram_socket.broke is not None:
            self._broken(datagram_socket)
        return has_more

    def end_listening(self) -> None:
        """Read all that has come to sockets that were not dialled, and then nothing more.

        The rest of a stream is left unread instead, but its peer sees that the stream ends.
        """
        for each in self:
            if not each.dialled:
                self._receive_all(each)
        self.leave_unread()

    def leave_unread(self) -> None:
        """Read nothing any more from sockets that were not dialled."""
        for each in self:
            if not each.dialled:
                each.is_read = False
        self._engine.read_fds_stale = True

    def _receive(self, datagram_socket: DatagramSocket) -> bool:
        """Take what has come; return whether there may be more."""
        if not datagram_socket.is_read:
            return False
        engine, name = self._engine, datagram_socket.name
        count_max = engine.environment.bounds.datagrams_per_turn
        datagrams = datagram_socket.receive(count_max)
        count = len(datagrams)
        if count == count_max:
            engine.environment.hits["datagrams_per_turn"] += 1
        if count >= _MANY_DATAGRAMS and (lost := datagram_socket.overflowed_since()):
            text = f"{name}: {lost} datagrams found no room; raise net.core.rmem_max"
            about = {"connection": name, "datagrams": lost}
            engine.log.report(
                text, Level.WARNING, "datagrams_overflowed", about, f"{name} overflows"
            )
        if datagrams:
            engine.events.append(Datagrams(name, datagrams))
        return count == count_max

    def _receive_all(self, datagram_socket: DatagramSocket) -> None:
        for _ in range(_DRAIN_READS_MAX):
            if not self._receive(datagram_socket):
                break

    def _broken(self, datagram_socket: DatagramSocket) -> None:
        """Hear what had come by a socket that broke, and let it go."""
        self._receive_all(datagram_socket)
        self._engine.deliver()
        self._let_go(datagram_socket)

    def _let_go(self, datagram_socket: DatagramSocket) -> None:
        engine, broke = self._engine, datagram_socket.broke
        self.remove(datagram_socket)
        engine.doomed.append(datagram_socket.stream)
        why = "" if broke is None or datagram_socket.is_ending else reason(broke)
        engine.events.append(Closed(datagram_socket.name, why))

    # -- out ---------------------------------------------------------------------------------------

    def _do_send_to(self, effect: SendTo) -> None:
        datagram_socket = self._by_name[effect.conn]
        datagram_socket.append(effect.datagrams)
        fd = datagram_socket.fd
        self.busy[fd] = datagram_socket
        self._engine.write_fds[fd] = None

    def close(self, name: str) -> None:
        """Close this socket after what waits."""
        datagram_socket = self._by_name[name]
        datagram_socket.is_ending = True
        fd = datagram_socket.fd
        self.busy[fd] = datagram_socket
        self._engine.write_fds[fd] = None

    def send(self) -> None:
        """Send what waits; let go of sockets that have ended, or broken."""
        over = []
        for fd, each in list(self.busy.items()):
            each.send()
            if not each.waiting:
                del self.busy[fd], self._engine.write_fds[fd]
                if each.is_ending or each.broke is not None:
                    over.append(each)
        for each in over:
            if each.broke is None:
                self._let_go(each)
            else:
                self._broken(each)
            self._engine.deliver()
