"""Datagram sockets: what happens to them, and what a brain wants done with them.

A datagram socket is a connection like any other: it is Opened and Closed, and Close closes it. It
carries whole datagrams, each with the address of its peer.

Not here: the events and effects of streams (`core/events.py`, `core/effects.py`).
"""

from dataclasses import dataclass

from core.addresses import Address, Datagram
from core.effects import ConnectionEffect
from core.events import ConnectionEvent


@dataclass(slots=True)
class Datagrams(ConnectionEvent):
    """Datagrams came to this socket in one turn. Of each, `DATAGRAM_BYTES_MAX` bytes are read, and
    the rest is lost."""

    datagrams: list[Datagram]


@dataclass(slots=True)
class SendTo(ConnectionEffect):
    """Send datagrams through this socket, as far as the network takes them."""

    datagrams: list[Datagram]


@dataclass(slots=True)
class DialDatagrams(ConnectionEffect):
    """Open a datagram socket that receives from this address only, at a port that nobody can guess
    (RFC 5452, section 4.5): Opened or Closed. It is Closed, too, when the network says that nothing
    gets there by it: what it sent lately may be lost. `server` is what the log calls the peer."""

    address: Address
    server: str
