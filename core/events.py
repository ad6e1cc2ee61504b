"""Events: what happened, as the loop tells a brain.

Events are plain values: they print, and they compare with `==`. An event of a connection is a
`ConnectionEvent` and names it. A connection has a role, which says what it is for; its name is a
label, and nobody reads anything from how it is spelled. The loop names what it accepts:
`client-1`, `dns-client-3`, `watcher-2`; a brain names what it dials.

Not here: what to do about any of it (`core/effects.py`), what people ask for by signals
(`core/operator.py`), and the rules (`core/brain.py`).
"""

from dataclasses import dataclass
from enum import Enum

from core.addresses import Address


class Role(Enum):
    """The purpose of a connection. Names of connections that were accepted begin with the value."""

    LINES = "client"
    DNS = "dns-client"
    TLS = "tls-client"  # a DNS client, too
    HTTP = "watcher"
    UPSTREAM = "upstream"
    WORKER = "worker"


class Event:
    """Something that happened."""

    __slots__ = ()


@dataclass(slots=True)
class ConnectionEvent(Event):
    """Something that happened on the connection of this name."""

    conn: str


@dataclass(slots=True)
class Opened(ConnectionEvent):
    """A connection was accepted, a dial has succeeded, or a datagram socket is open."""

    role: Role = Role.LINES
    is_datagrams: bool = False


@dataclass(slots=True)
class Received(ConnectionEvent):
    """A read completed these messages (maybe none), framed as the stream is (`core/framing.py`):
    of one that carries lines, each ended by LF. Never after Ended."""

    data: bytes


@dataclass(slots=True)
class Ended(ConnectionEvent):
    """The peer will send nothing more; it may still be sent to. `unfinished`: in mid-message."""

    unfinished: bool


@dataclass(slots=True)
class Closed(ConnectionEvent):
    """The connection is gone, or the dial failed. `why` is empty when we closed and all is sent."""

    why: str


@dataclass(slots=True)
class PlaceWanted(ConnectionEvent):
    """This accepted connection has to make room: give it what it is owed, and close it."""


@dataclass(slots=True)
class Backlogged(ConnectionEvent):
    """More bytes wait for this dialled connection, or own output, than its high mark."""


@dataclass(slots=True)
class Relieved(ConnectionEvent):
    """After Backlogged: fewer bytes wait than the low mark."""


@dataclass(slots=True)
class Resolved(ConnectionEvent):
    """After Resolve: the addresses; none when the lookup failed, and `why` it did."""

    addresses: tuple[Address, ...]
    why: str = ""


@dataclass(slots=True)
class Woken(Event):
    """The deadline has come."""
