"""Sockets of datagrams: what comes by UDP is taken many at a time, and so is what goes out.

A `DatagramSocket` is to datagrams what a `Connection` is to a stream, with its socket, and much
less: there is no order, no end and no promise. Datagrams that the network does not take at once
wait for the next turn; when too many wait, new ones are dropped and counted. Hosts that are not
admitted are not heard; a socket that was dialled hears its one peer only, which the kernel sees to.

Datagrams that find no room in the socket before it is read are lost, and the kernel counts them.

A dialled one *breaks* when the network says that nothing gets to its peer by it: an ICMP error has
come (nobody listens at that port, there is no way), a firewall here forbids it, or our address is
gone. The kernel says so once, with whatever is called next, which does nothing else then, and once
for many datagrams (man 7 udp, man 7 ip; ICMP is rate limited). Datagrams that had come by it before
are still heard; those that wait are not sent. The socket of many peers has no such word: what
cannot be sent to one of them is dropped.

Not here: what a datagram says, and when a socket is read (`core/io/datagram_sockets.py`).
"""

import errno
from collections import deque
from collections.abc import Callable, Hashable

from core.addresses import DATAGRAM_BYTES_MAX, Datagram
from core.io.system import Socket

_WAITING_MAX = 65_536  # datagrams, a second's work: a slower network is not waited for
_ALIKE_MAX = 64  # UDP_MAX_SEGMENTS of Linux, which is more now
_BYTES_AT_ONCE = 60_000  # of datagrams sent at once: they are one of 65,507 bytes at most
_JUDGED_MAX = 65_536  # hosts whose judgement is remembered
# Of a send. Too long, or a queue in this machine is full: that datagram is lost, and no other.
_OF_ONE = (errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM)
# Of sending many at once: it is not done here (man 7 udp, and a card that makes no checksums), or
# our address is gone, which a send by itself tells.
_NOT_ALIKE = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT, *_OF_ONE)


def _forget(host: str) -> None:
    pass


def _read_nothing(datagram_socket: "DatagramSocket") -> bool:
    return False


class DatagramSocket:
    """A UDP socket. `admit(host)` judges whose datagrams are heard; None admits everyone.
    `refuse(host)` is called for each that is not heard. `dialled`: it has one peer.
    `send_alike(stream, datagrams, size)` sends several of one size at once to that; without it,
    each goes by itself. `overflowed(stream)`: how many have found no room in it so far."""

    def __init__(
        self,
        stream: Socket,
        name: str,
        admit: Callable[[str], bool] | None = None,
        *,
        refuse: Callable[[str], None] = _forget,
        dialled: bool = False,
        send_alike: Callable[[Socket, bytes, int], None] | None = None,
        overflowed: Callable[[Socket], int] = lambda _: 0,
    ) -> None:
        self.stream = stream
        self.fd = -1  # set by whoever keeps the socket
        self.name = name
        self.dialled = dialled
        self.is_read = True
        self.is_ending = False  # nothing more is said after what waits
        self.broke: OSError | None = None  # why nothing gets to its one peer by it
        self.dropped = 0
        self._overflowed = overflowed
        self._overflowed_said = 0
        self._send_alike = send_alike
        self._admit = admit
        self._refuse = refuse
        self._judged: dict[Hashable, bool] = {}
        self.read = _read_nothing  # called to read: set by whoever keeps the socket
        self.waiting: deque[Datagram] = deque()

    def fileno(self) -> int:
        return self.stream.fileno()

    def readable(self, now: float) -> bool:
        """Take what has come; return whether it was dialled and may have more to read."""
        return self.read(self)

    def writable(self, now: float) -> None:
        """Do nothing: what waits is sent in each turn."""

    @property
    def overflowed(self) -> int:
        """How many datagrams have found no room in it."""
        return self._overflowed(self.stream)

    def overflowed_since(self) -> int:
        """Count those that have found no room since this was last asked."""
        before, self._overflowed_said = self._overflowed_said, self.overflowed
        return self._overflowed_said - before

    def receive(self, count_max: int) -> list[Datagram]:
        """Take `count_max` datagrams at most; return those of them that are to be heard."""
        came: list[Datagram] = []
        try:
            if self.dialled:
                receive = self.stream.recv
                while len(came) < count_max:
                    came.append((receive(DATAGRAM_BYTES_MAX), None))
            else:
                receive_from = self.stream.recvfrom
                while len(came) < count_max:
                    came.append(receive_from(DATAGRAM_BYTES_MAX))
        except BlockingIOError:  # nothing more
            pass
        except OSError as error:
            if self.dialled and self.broke is None:
                self.broke = error
                came += self.receive(count_max - len(came))  # it may lie before what had come
        if self._admit is not None:
            came = [datagram for datagram in came if self._is_admitted(datagram[1][0])]
        return came

    def _is_admitted(self, host: str) -> bool:
        judged = self._judged.get(host)
        if judged is None:
            assert self._admit is not None
            if len(self._judged) == _JUDGED_MAX:
                self._judged.clear()
            judged = self._judged[host] = self._admit(host)
        if not judged:
            self._refuse(host)
        return judged

    def append(self, datagrams: list[Datagram]) -> None:
        """Let them wait to be sent."""
        room = _WAITING_MAX - len(self.waiting)
        self.dropped += max(0, len(datagrams) - room)
        self.waiting.extend(datagrams[:room])

    def send(self) -> None:
        """Send what waits, as far as the network takes it."""
        waiting = self.waiting
        if self._send_alike is not None and len(waiting) > 1:
            self._send_by_size(self._send_alike)
        stream = self.stream
        while waiting and self.broke is None:
            data, whither = waiting[0]
            try:
                if whither is None:
                    stream.send(data)
                else:
                    stream.sendto(data, whither)
            except BlockingIOError:
                return
            except OSError as error:
                if self.dialled and error.errno not in _OF_ONE:
                    self.broke = error
                else:
                    self.dropped += 1
            waiting.popleft()
        waiting.clear()

    def _send_by_size(self, send_alike: Callable[[Socket, bytes, int], None]) -> None:
        """Send what waits as far as several are of one size; the rest is still to be sent."""
        by_size: dict[int, list[bytes]] = {}
        for data, _ in self.waiting:
            by_size.setdefault(len(data), []).append(data)
        self.waiting.clear()
        for size, alike in by_size.items():
            count_max = min(_ALIKE_MAX, _BYTES_AT_ONCE // max(size, 1))
            while len(alike) > 1 and count_max > 1 and self._send_alike is not None:
                batch, alike = alike[:count_max], alike[count_max:]
                try:
                    send_alike(self.stream, b"".join(batch), size)
                except BlockingIOError:
                    alike += batch
                    break
                except OSError as error:
                    alike += batch
                    self._send_alike = None
                    if error.errno not in _NOT_ALIKE:
                        self.broke = error
            self.waiting.extend([(data, None) for data in alike])
