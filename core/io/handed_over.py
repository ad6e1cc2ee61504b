"""Sockets that a service manager has opened for this program (man 3 sd_listen_fds).

They are how a program without privileges listens at a port below 1024, and how nobody is refused
while it is started anew. Programs that this one starts get neither the sockets nor word of them.

Not here: what each is for (`nodes/cli/listening.py`), and what else the manager is told or says
(`service_manager.py`).
"""

import os
import socket

from core.addresses import address_text, is_wildcard

_FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def handed_over() -> list[tuple[str, socket.socket]]:
    """Take the sockets, each after the name that the manager gives it; a second time there are
    none. Raises OSError for a descriptor that is no socket."""
    count, whose, named = (os.environ.pop(name, "") for name in _VARIABLES)
    if whose != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    names = named.split(":")
    found = []
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        given = socket.socket(fileno=_FIRST + number)
        given.set_inheritable(False)
        given.setblocking(False)
        found.append((name, given))
    return found


def is_for_datagrams(given: socket.socket) -> bool:
    """Return whether datagrams come to it, and no connections."""
    return given.type == socket.SOCK_DGRAM


def why_useless(given: socket.socket) -> str:
    """Return why it cannot be listened at, and what to change in its unit; empty if it can."""
    if given.family not in (socket.AF_INET, socket.AF_INET6):
        return "has no internet address"
    if given.type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        return "is neither for TCP nor for UDP"
    where = address_text(given.getsockname())
    if given.type == socket.SOCK_STREAM and not given.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        return f"at {where} is a connection; its unit needs Accept=no"
    if (
        given.family == socket.AF_INET6
        and is_wildcard(given.getsockname()[0])
        and not given.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    ):
        return (
            f"at {where} takes IPv4, too; its unit needs BindIPv6Only=ipv6-only, and an address "
            "for IPv4"
        )
    return ""
