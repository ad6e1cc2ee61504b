"""A resolver with a programmed behaviour, and the loop that runs all of them.

A `Way` is a function of the resolver, a query, and its sender, which sends whatever it likes, now
or later; over TCP a `Stream` returns the reply to a query, and whether the stream ends with it.
The names are `nNUMBER.example`, and their addresses 10.x.y.z of the number. Replies are made by
hand from the query: header, question, records, and an OPT record where the query has one.

Everything is in one process and one `select`, clients too: there are some hundred questions
a second, and a process for each resolver would cost more than they do. For many, and for a fast
resolver, see `bench/peers/late.c`.

Not here: the behaviours (`bench/odd_kinds.py`).
"""

import contextlib
import heapq
import itertools
import select
import socket
import struct
import time
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
Address = tuple[str, int]
Way = Callable[["Resolver", bytes, Address], None]
Stream = Callable[[bytes], tuple[bytes, bool]]

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
QR, TC, RA = 0x8000, 0x0200, 0x0080


# -- messages --------------------------------------------------------------------------------------


def end_of_question(message: bytes) -> int:
    """Find the end of the question section of a message with one question."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def number_of(message: bytes) -> int:
    """Read the number in the name that is asked."""
    label = message[13 : 13 + message[12]]
    return int(label[1:]) if label[1:].isdigit() else 0


def has_edns(query: bytes) -> bool:
    return bool(query[11])  # LS adds nothing but OPT to a query


def reply(
    query: bytes,
    code: int = NOERROR,
    *,
    flags: int = RA,
    answers: tuple[bytes, ...] = (),
    authorities: tuple[bytes, ...] = (),
    additionals: tuple[bytes, ...] = (),
    high: int = 0,
) -> bytes:
    """Make a reply with these records, and an OPT record behind them where the query has one.

    `high`: the upper bits of the code, in the OPT record (RFC 6891, section 6.1.3)."""
    opt = b"\0" + struct.pack(">HHBBHH", 41, 1232, high, 0, 0, 0) if has_edns(query) else b""
    counts = (1, len(answers), len(authorities), len(additionals) + bool(opt))
    bits = QR | int.from_bytes(query[2:4]) & 0x0100 | flags | code
    records = b"".join((*answers, *authorities, *additionals))
    return (
        query[:2] + struct.pack(">5H", bits, *counts) + query[12 : end_of_question(query)]
        + records + opt
    )  # fmt: skip


def data(query: bytes, *, more: tuple[bytes, ...] = ()) -> bytes:
    """Make the good reply."""
    address = (10 << 24 | number_of(query)).to_bytes(4)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + address
    return reply(query, answers=(record,), additionals=more)


def _in_example(query: bytes, kind: int, rdata: bytes) -> bytes:
    """Make a record of `example`, wherever that stands in the question."""
    return struct.pack(">HHHIH", 0xC00D + query[12], kind, 1, 60, len(rdata)) + rdata


def soa(query: bytes) -> tuple[bytes, ...]:
    return (_in_example(query, 6, b"\0\0" + struct.pack(">5I", 1, 3600, 600, 86400, 60)),)


def denial(query: bytes) -> bytes:
    return reply(query, NXDOMAIN, authorities=soa(query))


def no_data(query: bytes) -> bytes:
    return reply(query, authorities=soa(query))


def referral(query: bytes) -> bytes:
    """Make a referral: NS records alone (RFC 1034, section 4.3.2)."""
    return reply(
        query, flags=0, authorities=(_in_example(query, 2, b"\2ns\xc0" + bytes([13 + query[12]])),)
    )


def header(query: bytes, code: int) -> bytes:
    """Make a reply that consists of a header only."""
    return query[:2] + struct.pack(">5H", QR | code, 0, 0, 0, 0)


def padding(query: bytes) -> tuple[bytes, ...]:
    """Make TXT records of 5,000 bytes together."""
    return (_in_example(query, 16, b"\xf9" + b"x" * 249),) * 19


def upper(message: bytes) -> bytes:
    """Spell the question of a message in capital letters."""
    end = end_of_question(message)
    return message[:12] + message[12:end].upper() + message[end:]


def other_name(message: bytes) -> bytes:
    """Put another name of the same length into the question of a message."""
    return message[:13] + b"m" + message[14:]


# -- the loop and a resolver -----------------------------------------------------------------------


class Loop:
    """Sockets to read, and calls for later."""

    def __init__(self) -> None:
        self.readers: dict[socket.socket, Callable[[], None]] = {}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, wait_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.perf_counter() + wait_s, next(self._order), what))

    def turn(self, longest_s: float = 0.2) -> None:
        now = time.perf_counter()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()
        wait_s = min(longest_s, self._later[0][0] - now) if self._later else longest_s
        for one in select.select(list(self.readers), [], [], max(0.0, wait_s))[0]:
            if one in self.readers:
                self.readers[one]()


class Resolver:
    """A resolver at its own port, which is closed where there is no `way`, or no `stream`."""

    def __init__(self, loop: Loop, way: Way | None, stream: Stream | None) -> None:
        self.loop = loop
        self.way = way
        self.stream = stream
        self.asked = 0  # queries up to now, by UDP
        self.mute_until = 0.0  # queries are dropped until then
        self.open: list[socket.socket] = []
        self.heard: set[int] = set()  # numbers of names
        while True:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind((LOOPBACK, 0))
            self.port: int = self.socket.getsockname()[1]
            with contextlib.suppress(OSError):
                self.listener = socket.create_server((LOOPBACK, self.port))
                break
            self.socket.close()
        self.other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.other.bind((LOOPBACK, 0))
        self.open += [self.socket, self.listener, self.other]
        for one in self.open:
            one.setblocking(False)
        if way is not None:
            loop.readers[self.socket] = self.hear
        else:
            self.socket.close()
        if stream is not None:
            loop.readers[self.listener] = self.accept
        else:
            self.listener.close()

    def close(self) -> None:
        for one in self.open:
            self.loop.readers.pop(one, None)
            one.close()

    def hear(self) -> None:
        assert self.way is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                query, whence = self.socket.recvfrom(4096)
                self.asked += 1
                self.way(self, query, whence)

    def say(self, message: bytes, whither: Address, wait_s: float = 0.0) -> None:
        if wait_s:
            self.loop.after(wait_s, lambda: self.say(message, whither))
        elif self.socket.fileno() >= 0:
            self.socket.sendto(message, whither)

    def accept(self) -> None:
        stream, _ = self.listener.accept()
        stream.setblocking(False)
        self.open.append(stream)
        rest = bytearray()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                try:
                    came = stream.recv(65_536)
                except ConnectionError:
                    came = b""
                rest.extend(came)
                while len(rest) >= 2 and len(rest) >= 2 + (size := int.from_bytes(rest[:2])):
                    query = bytes(rest[2 : 2 + size])
                    del rest[: 2 + size]
                    assert self.stream is not None
                    message, is_last = self.stream(query)
                    with contextlib.suppress(OSError):
                        stream.send(len(message).to_bytes(2) + message)
                    if is_last:
                        came = b""
                        break
                if not came:
                    self.loop.readers.pop(stream, None)
                    stream.close()

        self.loop.readers[stream] = read
