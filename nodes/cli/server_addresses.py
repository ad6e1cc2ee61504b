"""The servers that LS is told to ask: addresses that can be asked, and none that is LS itself.

A resolver is named by its address, so an address at which nobody can ever be asked is refused at
once. A table server may be a host that moves: it is not dialled later, either, where LS listens
itself (`core/io/loop.py`).

Not here: how they are asked.
"""

import argparse
import ipaddress
from collections.abc import Sequence

from core.addresses import Address, address_text, comes_to
from core.io.system import System
from nodes.cli.address_words import split_address
from nodes.cli.arguments import USAGE, Failure, port_number

_DNS_PORT = 53
_BROADCAST = ipaddress.ip_address("255.255.255.255")


def resolver_address(text: str) -> tuple[str, int]:
    """Read an address of a resolver: 127.0.0.1, 127.0.0.1:5053, ::1, [::1]:5053, fe80::1%eth0."""
    host, port = split_address(text)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an address; write it like 127.0.0.1:5053 or [::1]:5053"
        ) from None
    if trouble := _trouble(address):
        raise argparse.ArgumentTypeError(f"'{text}' {trouble}")
    return host, _DNS_PORT if port is None else port_number(port)


def _trouble(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return why nobody can be asked at this address, and what to write instead; empty if a server
    can."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return f"is an IPv4 address; write it as {mapped}"
    if address.is_unspecified:
        here = "127.0.0.1" if address.version == 4 else "::1"
        return f"stands for every address of this machine; write {here}"
    if address.is_multicast or address == _BROADCAST:
        return "is the address of many machines; write that of one resolver"
    if address.version == 6 and address.is_link_local and address.scope_id is None:
        return f"needs the interface that it is at; write it like {address}%eth0"
    return ""


def refuse_loops(
    system: System, own: Sequence[Address], option: str, others: Sequence[Address], given_as: str
) -> None:
    """Raise Failure where one of these others, `given_as` a server to ask, is one of LS's own
    addresses, those of this option (empty for PORT)."""
    for other in others:
        if any(_comes_to(system, each, other) for each in own):
            raise Failure(
                f"{address_text(other[1])}, given as {given_as}, is this load balancer's own "
                f"{option}{' ' if option else ''}address: LS would ask itself; give one of the two "
                "another port",
                USAGE,
            )


def _comes_to(system: System, own: Address, other: Address) -> bool:
    if own[1][1] != other[1][1]:
        return False
    try:
        return comes_to(own[1], *system.path(other))
    except OSError:  # there is no route to it
        return False
