"""Addresses: which of them count as one asker, and which are this machine's own.

What one asker may have at most is counted by network: an IPv4 address is one by itself; whoever
has one IPv6 address has the 2**64 of its /64. Askers on this machine are exempt from such counts.
They cannot be forged, and whoever may run programs here has other ways to do harm.

Not here: who may connect at all (`nodes/command/serving.py`).
"""

from functools import lru_cache
from ipaddress import IPv6Address

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
