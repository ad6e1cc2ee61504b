"""Binding: sockets at an address of ours, one alone or several that share it.

Those that share an address have a queue each; the kernel spreads connections and datagrams over
them (SO_REUSEPORT). The first is bound before it says that it shares, so that the address cannot be
had while anybody else, another family of sharers too, has it.

An IPv6 socket takes IPv6 only (IPV6_V6ONLY): both families are two addresses, and each may have
another one behind it.

Not here: sockets for datagrams at a wildcard address (`core/io/wildcard.py`).
"""

import socket

from core.addresses import Address


def bound(address: Address, kind: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket of this kind at an address; `is_shared`: with others that share it. Raises
    OSError."""
    family, socket_address = address
    made = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:  # with datagrams it would let another one bind, too
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(socket_address)
    except OSError:
        made.close()
        raise
    return made


def bound_alike(address: Address, kind: int, count: int) -> list[socket.socket]:
    """Return as many sockets of this kind at one address, and no other. Raises OSError."""
    sockets = [bound(address, kind)]
    if count == 1:
        return sockets
    try:
        sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        same = address[0], sockets[0].getsockname()  # with its port
        for _ in range(count - 1):
            sockets.append(bound(same, kind, is_shared=True))
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets
