"""System: the one seam to the operating system. Everything that is not a plain value is here.

The loop knows select, sockets, the clock, signals and chance through this small object only;
`tests/sim/world.py` has another one, with simulated sockets and a virtual clock, and runs the same
loop. Each method is as thin as it can be, and none decides anything.

Not here: when to do any of it (`core/io/loop.py`).
"""

import errno
import os
import random
import resource
import secrets
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from core.addresses import Address, is_wildcard
from core.io import handed_over, own_names, own_process, process, service_manager
from core.io.binding import bound, bound_alike
from core.io.child import Child
from core.io.lookup import Lookup
from core.io.ports import ours
from core.io.process import Signals
from core.io.tls_contexts import TlsContexts
from core.io.wildcard import WildcardSocket
from core.io.writer import WriteFunction, writer

_DATAGRAM_ROOM = 4 * 1024 * 1024
_UDP_SEGMENT = 103  # of Linux, from 4.18 on; Python has no name for it
_SO_MEMINFO = 55  # of Linux
_MEMINFO = struct.Struct("=9I")  # linux/sock_diag.h; the last one counts drops
_PORTS_TRIED = 8  # most are free

Socket = socket.socket  # for the type checker: the simulator has sockets of its own


def reason(error: OSError) -> str:
    """Return what the operating system says about this error, in lower case."""
    return (error.strerror or str(error)).lower()


class System:
    """The real one."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)  # time of day: for log lines, never for a decision
    random = staticmethod(random.random)
    secret = staticmethod(secrets.token_bytes)  # bytes that nobody can guess
    select = staticmethod(select.select)
    watchdog_s = staticmethod(service_manager.watchdog_s)
    notify = staticmethod(service_manager.notify)
    notify_alive = staticmethod(service_manager.notify_alive)
    own_names = staticmethod(own_names.own_names)  # of this machine
    own_process = staticmethod(own_process.own_process)  # its metrics
    handed_over = staticmethod(handed_over.handed_over)  # sockets; they are taken once
    leads_to_journal = staticmethod(service_manager.leads_to_journal)
    hangup = int(signal.SIGHUP)
    tell = int(signal.SIGUSR1)
    flush = int(signal.SIGUSR2)

    def __init__(self, *, is_server: bool = True) -> None:
        self.tls = TlsContexts()
        self._is_server = is_server
        self._writers: dict[int, WriteFunction] = {}  # by descriptor

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the addresses of a host, in the order of its name service. Blocks. Raises OSError.

        `getaddrinfo` raises UnicodeError for `a..b` and for labels of over 63 bytes (bpo-32958).
        """
        try:
            with process.blocking():
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(f"not a host name: {error}") from None
        return tuple(dict.fromkeys((family, address) for family, _, _, _, address in found))

    def numeric(self, host: str, port: int) -> tuple[Address, ...]:
        """Return the address that a host is written as; none if it is a name."""
        try:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        except (OSError, UnicodeError):
            return ()
        return tuple((family, address) for family, _, _, _, address in found)

    def look_up(self, host: str, port: int) -> Lookup:
        """Look a host up in a child process. Raises OSError when there can be none."""
        return Lookup(host, port)

    def spawn(self, name: str) -> Socket:
        """Fork; return a stream to the child. Raises OSError when there can be none, and Born in
        the child."""
        return Child(name)

    def listen(self, address: Address, backlog: int, count: int = 1) -> list[Socket]:
        """Open as many listening sockets at one address, among which the kernel spreads
        connections. Raises OSError."""
        listeners = bound_alike(address, socket.SOCK_STREAM, count)
        try:
            for each in listeners:
                each.listen(backlog)
                each.setblocking(False)
        except OSError:
            for each in listeners:
                each.close()
            raise
        return listeners

    def take_datagrams(self, address: Address, count: int = 1) -> list[Socket]:
        """Open as many sockets for datagrams at one address, among which the kernel spreads them.
        Raises OSError."""
        return [self.received_at(each) for each in bound_alike(address, socket.SOCK_DGRAM, count)]

    def received_at(self, bound: Socket) -> Socket:
        """Make a bound socket one for datagrams of clients: it has room for what comes while a turn
        lasts, as far as the kernel grants that. Raises OSError."""
        if is_wildcard(bound.getsockname()[0]):
            bound = WildcardSocket(bound)
        bound.setblocking(False)
        self._make_room(bound)
        return bound

    def dial_datagrams(self, address: Address) -> Socket:
        """Open a socket for datagrams of this address only, at a port that nobody can guess.

        The kernel's own choice is from half as many ports (`core/io/ports.py`). Raises OSError.
        """
        family, socket_address = address
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
        for left in reversed(range(_PORTS_TRIED)):
            port = secrets.choice(ours())
            try:
                dialled = bound((family, (wildcard, port)), socket.SOCK_DGRAM)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise
        try:
            dialled.setblocking(False)
            dialled.connect(socket_address)
            self._make_room(dialled)
        except OSError:
            dialled.close()
            raise
        return dialled

    def path(self, address: Address) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return between which socket addresses the kernel would send to this one: from, to.

        Nothing is sent. A wildcard address becomes a loopback one. Raises OSError when there is no
        way.
        """
        family, socket_address = address
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(socket_address)
            return probe.getsockname(), probe.getpeername()

    def send_alike(self, stream: Socket, datagrams: bytes, size: int) -> None:
        """Send datagrams of this size each, one behind the other, to whom the socket was dialled:
        up to 64 cost little more than one (UDP_SEGMENT, man 7 udp). Raises OSError."""
        stream.sendmsg([datagrams], [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", size))])

    def can_send_alike(self, stream: Socket) -> bool:
        """Return whether the kernel sends datagrams alike at once.

        A kernel that does not know the control message (before 4.18) ignores it, and sends all as
        one datagram; but it does not know the option either.
        """
        try:
            stream.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
        except OSError:
            return False
        return True

    def overflowed(self, stream: Socket) -> int:
        """Count the datagrams that this socket had no room for (SO_MEMINFO, Linux 4.12; else 0)."""
        try:
            counts = stream.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return 0
        return int(_MEMINFO.unpack(counts)[-1]) if len(counts) == _MEMINFO.size else 0

    def _make_room(self, stream: Socket) -> None:
        for room in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            stream.setsockopt(socket.SOL_SOCKET, room, _DATAGRAM_ROOM)

    def connect(self, address: Address) -> Socket:
        """Open a socket that is connecting: writable once that is decided. Raises OSError."""
        family, socket_address = address
        dialled = socket.socket(family, socket.SOCK_STREAM)
        try:
            dialled.setblocking(False)
            with suppress(BlockingIOError):
                dialled.connect(socket_address)
            self.tune(dialled)
        except OSError:
            dialled.close()
            raise
        return dialled

    def tune(self, stream: Socket) -> None:
        """Have a stream send at once what it has, and end when its host has vanished."""
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):  # not everywhere; three probes from 6 s on: 15 s in all
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 6)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the same 15 s for bytes that nobody acknowledges
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000)

    def connect_error(self, dialled: Socket) -> int:
        """Return 0 when a connecting socket that became writable is connected, else the errno."""
        return dialled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def end_sending(self, stream: Socket) -> None:
        """End our side of a stream; reading goes on. Raises OSError when it has been reset."""
        stream.shutdown(socket.SHUT_WR)

    def ack_at_once(self, stream: Socket) -> None:
        """Acknowledge what has come without waiting for a reply to send it with (TCP_QUICKACK, man
        7 tcp; for this once): a peer may wait for that with what it says next."""
        if hasattr(socket, "TCP_QUICKACK"):  # of Linux
            with suppress(OSError):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def write(self, fd: int, data: memoryview) -> int:
        """Write what the descriptor takes without blocking; return how much.

        Raises BlockingIOError when that is nothing, and OSError when it is broken.
        """
        if fd not in self._writers:
            self._writers[fd] = writer(fd)
        return self._writers[fd](data)

    def forget(self, fd: int) -> None:
        """Find out anew how to write to a descriptor that leads elsewhere now."""
        self._writers.pop(fd, None)

    def catch_signals(self) -> Signals:
        """Return where to read the number of each signal that came since the program began."""
        return process.hand_over(self._is_server)

    def limit_descriptors(self, limit: int) -> tuple[int, int]:
        """Have as many descriptors as `limit` or as the machine allows, and never one that select()
        cannot hold. Return how many there may be, and how many of them are taken, but for signals.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        if soft != limit:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return limit, sum(map(_is_open, range(limit))) - process.descriptors_taken()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
