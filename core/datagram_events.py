"""Sockets of datagrams: what happens to them, and what a brain wants done with them.

Such a socket is a connection like another: it is Opened and Closed, and closed by Close. What comes
and goes are whole datagrams, each with the address of its peer.

Not here: the events and effects of streams (`core/events.py`, `core/effects.py`).
"""

from dataclasses import dataclass

from core.addresses import Address, Datagram
from core.effects import ConnectionEffect
from core.events import ConnectionEvent


@dataclass(slots=True)
class Datagrams(ConnectionEvent):
    """A turn brought these to a socket of datagrams. Of each, `DATAGRAM_BYTES_MAX` bytes are read,
    and the rest is lost."""

    datagrams: list[Datagram]


@dataclass(slots=True)
class SendTo(ConnectionEffect):
    """Send these through a socket of datagrams, as far as the network takes them."""

    datagrams: list[Datagram]


@dataclass(slots=True)
class DialDatagrams(ConnectionEffect):
    """Have a socket of datagrams that hears this address only, at a port that nobody can guess
    (RFC 5452, section 4.5): Opened or Closed. Closed, too, when the network says that nothing gets
    there by it: what it was sent lately may be lost. `server` is what the log calls the peer."""

    address: Address
    server: str
