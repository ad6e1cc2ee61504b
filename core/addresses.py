"""Addresses: which of them count as one asker, and which are this machine's own.

What one asker may have at most is counted by network: an IPv4 address is one by itself; whoever
has one IPv6 address has the 2**64 of its /64. Askers on this machine are exempt from such counts.
They cannot be forged, and whoever may run programs here has other ways to do harm.

Whether an address is this machine's own is not looked up in a list of interfaces. The kernel is
asked how it would send there (`System.path`): from that very address, or from loopback, and it is.

Not here: who may connect at all (`nodes/cli/serving.py`).
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

Address = tuple[int, Any]  # (address family, socket address), as the host lookup gives them
# The payload, and the peer's address, which is hashable, begins with its numeric host, and is where
# to reply, as it is; None on a connected socket.
Datagram = tuple[bytes, Any]
DATAGRAM_BYTES_MAX = 4_096  # a query is a tenth of it, and a resolver was told 1,232

THIS_MACHINE = ""  # the network of those that are exempt


@lru_cache(maxsize=65_536)
def network(host: str) -> str:
    """Return what a numeric host is counted under: itself, or its /64."""
    if ":" not in host:
        return host
    prefix = IPv6Address(host.partition("%")[0]).packed[:8]
    return f"{IPv6Address(prefix + bytes(8))}/64"


def is_wildcard(host: str) -> bool:
    """Whether whoever listens at this numeric host listens at every address of its family."""
    return host in ("0.0.0.0", "::")


_LOOPBACK = network("::1")


def is_loopback(counted: str) -> bool:
    """Whether a network is a loopback one."""
    return counted.startswith("127.") or counted == _LOOPBACK


def network_of_peer(peer: str, own: str) -> str:
    """Return the network of a peer that connected to our address `own`."""
    counted = network(peer)
    return THIS_MACHINE if peer == own or is_loopback(counted) else counted


def comes_to(own: Sequence[Any], source: Sequence[Any], destination: Sequence[Any]) -> bool:
    """Return whether what is sent from `source` to `destination` comes to who listens at `own`.

    All are numeric socket addresses. The last two are as `System.path` has them: the destination is
    no wildcard.
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
    """An IPv4 address that is written as one of IPv6, as what it is (RFC 4291, section 2.5.5.2)."""
    return host.removeprefix("::ffff:") if "." in host else host


def _interface(end: Sequence[Any]) -> int:
    """The interface that a link-local IPv6 address is at; else 0."""
    return int(end[3]) if len(end) > 3 else 0
