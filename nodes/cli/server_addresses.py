"""The servers that LS is told to ask: addresses that can be asked, and none that is LS itself.

A resolver is named by its address, so one at which nobody can ever be asked is refused at once. A
table server may be a host that moves: where LS listens itself it is not dialled later, either
(`core/io/loop.py`).

Not here: how they are asked.
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence

from core.addresses import Address, comes_to
from core.io.system import System
from nodes.cli.arguments import USAGE, Failure, address_text, port_number

_DNS_PORT = 53
_BRACKETED = re.compile(r"\[([^]]*)\](?::(.*))?")
_EVERYBODY = ipaddress.ip_address("255.255.255.255")


def resolver_address(text: str) -> tuple[str, int]:
    """An address of a resolver: 127.0.0.1, 127.0.0.1:5053, ::1, [::1]:5053, fe80::1%eth0."""
    host, port = text, str(_DNS_PORT)
    if bracketed := _BRACKETED.fullmatch(text):
        host, given = bracketed.groups()
        port = port if given is None else given
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not an address; write it like 127.0.0.1:5053 or [::1]:5053"
        ) from None
    if trouble := _trouble(address):
        raise argparse.ArgumentTypeError(f"'{text}' {trouble}")
    return host, port_number(port)


def _trouble(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Why nobody can be asked at this address, and what to write instead; empty if one can."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return f"is an IPv4 address; write it as {mapped}"
    if address.is_unspecified:
        here = "127.0.0.1" if address.version == 4 else "::1"
        return f"is every address of this machine, and none to ask at; write {here}"
    if address.is_multicast or address == _EVERYBODY:
        return "is no machine's own address; write that of one resolver"
    if address.version == 6 and address.is_link_local and address.scope_id is None:
        return f"is an address at each interface; write which, like {address}%eth0"
    return ""


def refuse_loops(
    system: System, own: Address | None, does: str, others: Sequence[Address], what: str
) -> None:
    """None of these others, which are to be `what`, is where LS does this. Raises Failure."""
    for other in others:
        if own is not None and _comes_to(system, own, other):
            raise Failure(
                f"{address_text(other[1])} is to be {what} and {does}: LS would ask itself; give "
                "one of the two another port",
                USAGE,
            )


def _comes_to(system: System, own: Address, other: Address) -> bool:
    if own[1][1] != other[1][1]:
        return False
    try:
        return comes_to(own[1], *system.path(other))
    except OSError:  # no way there
        return False
