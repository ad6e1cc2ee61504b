"""Addresses: how they are written, which of them count as one asker, and which are our own.

Limits for one asker are counted by network. An IPv4 address is a network by itself; an IPv6 address
counts with its /64, since a host that has one of its 2**64 addresses has all. Askers on this
machine are exempt: their addresses cannot be forged, and a user who may run programs here has other
ways to do harm.

Whether an address is this machine's own is not looked up in a list of interfaces. The kernel is
asked how it would send there (`System.path`). If it would send from that very address, or from
loopback, the address is ours.

Not here: who may connect at all (`nodes/cli/serving.py`).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

Address = tuple[int, Any]  # (address family, socket address), as the host lookup gives them
# The payload, and the peer's address, to which replies go: hashable, with its numeric host first.
# None on a connected socket.
Datagram = tuple[bytes, Any]
DATAGRAM_BYTES_MAX = 4_096  # read of a datagram: a query has a tenth, and a resolver is told 1,232

THIS_MACHINE = ""  # the network of askers that are exempt


def address_text(socket_address: Sequence[object]) -> str:
    """Return an address as people write it: 127.0.0.1:5301, [::1]:5301."""
    host, port = socket_address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


@lru_cache(maxsize=65_536)
def network(host: str) -> str:
    """Return what a numeric host is counted under: itself, or its /64."""
    if ":" not in host:
        return host
    prefix = IPv6Address(host).packed[:8]
    return f"{IPv6Address(prefix + bytes(8))}/64"


def is_wildcard(host: str) -> bool:
    """Return whether this numeric host stands for every address of its family."""
    return host in ("0.0.0.0", "::")


def is_public(host: str) -> bool:
    """Return whether a numeric host is out in the world, as far as can be told from it; it is no
    private, link-local or loopback one (RFC 6890)."""
    try:
        return ip_address(_unmapped(host.partition("%")[0])).is_global
    except ValueError:
        return True


def are_public(addresses: Iterable[Address]) -> bool:
    """Return whether one of these is out in the world."""
    return any(is_public(address[0]) for _, address in addresses)


_LOOPBACK = network("::1")


def is_loopback(counted: str) -> bool:
    """Return whether a network is a loopback network."""
    return counted.startswith("127.") or counted == _LOOPBACK


def network_of_peer(peer: str, own: str) -> str:
    """Return the network of a peer that connected to our address `own`."""
    counted = network(peer)
    return THIS_MACHINE if peer == own or is_loopback(counted) else counted


def comes_to(own: Sequence[Any], source: Sequence[Any], destination: Sequence[Any]) -> bool:
    """Return whether a packet from `source` to `destination` comes to a socket that listens at
    `own`.

    All are numeric socket addresses. The last two are as `System.path` returns them: the
    destination is no wildcard.
    """
    host, sent_from, sent_to = (_unmapped(end[0]) for end in (own, source, destination))
    if own[1] != destination[1]:
        return False
    if not is_wildcard(host):
        return host == sent_to and _interface(own) == _interface(destination)
    if (":" in host) != (":" in sent_to):  # each family has a wildcard of its own: IPV6_V6ONLY
        return False
    return sent_from == sent_to or is_loopback(network(sent_to))


def _unmapped(host: str) -> str:
    """Return a host in IPv4 form if it is an IPv4 address written as IPv6 (RFC 4291, section
    2.5.5.2)."""
    return host.removeprefix("::ffff:") if "." in host else host


def _interface(end: Sequence[Any]) -> int:
    """Return the interface of a link-local IPv6 address, 0 for any other address."""
    return int(end[3]) if len(end) > 3 else 0
