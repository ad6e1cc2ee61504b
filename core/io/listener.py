"""Listener: a listening socket, who may come in, and its rest when we are out of something.

A queue of connections that cannot be accepted, for want of descriptors, keeps the socket
readable: a loop that tried again at once would spin. The listener therefore rests for a while, and
`again_at` says until when; it is not to be waited for meanwhile.

Connections are called after the role of their listener: `client-1`, `client-2`, ... Listeners of
one service share its places and its numbers, wherever they listen; what one connection too many is
told is the service's to say (`Service`).

Not here: what becomes of a connection (`core/io/acceptor.py`).
"""

import errno
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.addresses import network_of_peer
from core.events import Role
from core.framing import Framing
from core.io.places import Places
from core.io.stream import Stream
from core.io.system import Socket, System, reason
from core.tls import TlsKeys

# Errors of accept() about a connection that is gone already; the next one may be there. After any
# other error we are out of something (man 2 accept).
_GONE = frozenset(
    {
        errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
        errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM,
    }
)  # fmt: skip

Admit = Callable[[str], bool]  # judges who may come in, by a numeric host


@dataclass(frozen=True, slots=True)
class Service:
    """A service at its listeners: how each connection that comes there is treated.

    Bounds are given by their names. `connections`: how many there may be at once. `reserves`: as
    many descriptors are kept for them; else they have what others leave. `farewell`: what one
    more is told; None: it waits. `framing`: how its messages are told apart. `reads`: the bytes of
    one read. `idles`: how long nothing may come or go. `accepts`: how many are accepted in a turn.
    `drains`: whether a drain ends it. `keys`: those that secure connections; None: in the clear.
    """

    role: Role
    connections: str
    farewell: bytes | None = b""
    framing: Framing = Framing.LINES
    reads: str = "read_bytes"
    idles: str = "idle_s"
    accepts: str = "accepts_per_turn"
    reserves: bool = True
    drains: bool = True
    keys: TlsKeys | None = None


def everybody(host: str) -> bool:
    """Let everyone in."""
    return True


def _leave_waiting(listener: "Listener") -> None:
    pass


class Listener:
    """A listening socket: who may come in, who has a place, and its rest when we are out of
    something.

    `admit(host)` judges by the numeric address that accept returned. `places` are those of the
    service. `come(listener)` is called when somebody waits.
    """

    def __init__(
        self,
        system: System,
        stream: Socket,
        service: Service,
        admit: Admit,
        places: Places[Stream],
        rest_s: float,
        come: "Callable[[Listener], None]" = _leave_waiting,
    ) -> None:
        self.stream = stream
        self.service = service
        self.places = places
        self.again_at: float | None = None  # resting until then
        self.trouble = ""  # why it could not accept, since it last could
        self.left = math.inf  # how many more it takes
        self._system = system
        self._admit = admit
        self._rest_s = rest_s
        self._come = come

    def fileno(self) -> int:
        return self.stream.fileno()

    def readable(self, now: float) -> bool:
        """Accept those who wait, or some of them."""
        self._come(self)
        return False

    def writable(self, now: float) -> None:
        """Do nothing: a listener is not written to."""

    @property
    def is_read(self) -> bool:
        """Whether one that comes is to be accepted now."""
        return self.again_at is None and self.room > 0

    @property
    def room(self) -> float:
        """The number that may be accepted; the others wait."""
        if self.service.farewell is not None:
            return math.inf
        return self.places.left

    def next_name(self) -> str:
        """Return the name of the next connection."""
        return f"{self.service.role.value}-{self.places.next_number()}"

    def last_call(self, count: int) -> None:
        """Take only those who wait already, and no more than so many: then `left` is 0."""
        self.left = count

    def _nobody_waits(self) -> None:
        if self.left < math.inf:
            self.left = 0

    def rested(self, now: float) -> bool:
        """End a rest whose time is over; return whether there was one."""
        if self.again_at is None or now < self.again_at:
            return False
        self.again_at = None
        return True

    def accept(self, attempts_max: float, now: float) -> Iterator[tuple[Socket, str, str]]:
        """Yield each connection that waits and may come in, with its host and the network that it
        counts under; `attempts_max` attempts at most."""
        attempts = 0
        while attempts < attempts_max and self.left:
            attempts += 1
            self.left -= 1
            try:
                stream, address = self.stream.accept()
            except BlockingIOError:
                self._nobody_waits()
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self._nobody_waits()
                self.again_at = now + self._rest_s
                self.trouble = reason(error)
                return
            if not self._admit(address[0]):
                stream.close()
                continue
            try:
                self._system.tune(stream)
                network = network_of_peer(address[0], stream.getsockname()[0])
            except OSError:  # reset before we had a look
                stream.close()
                continue
            self.trouble = ""
            yield stream, address[0], network
