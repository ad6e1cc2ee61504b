"""Peers of TLS, for tests: a DNS server that is odd, a relay that keeps all that passes, and what a
loopback interface carries.

`PlayedTlsServer` answers with `ssl` of Python, a thread for each connection. `Relay` passes bytes
on between a client and a server and knows nothing of TLS; `records` takes apart what it has kept.
`Capture` sees every packet of the loopback interface, where the kernel lets it.

A name like n7.example has the address 10.0.0.7.

Not here: programs that serve DNS by TLS (`tests/tools/test_tls_tools.py`).
"""

import errno
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from tests.support.certificates import Issued
from tests.support.dns_messages import (
    TO_QUESTION,
    TYPES,
    address,
    question_of,
    record,
    reply,
    section_of,
)
from tests.support.processes import PATIENCE_S, free_port

MUTE = "mute"  # accepts, and says nothing at all
SECURED = "secured"  # finishes its handshake, and never replies
ANSWERS = "answers"
LEAVES = "leaves"  # ends each stream once its handshake is done
ONCE = "once"  # ends each stream after a reply, as it should
ABRUPT = "abrupt"  # ends each stream after a reply, without a word of TLS
_ALL, _SO_RCVBUFFORCE = 3, 33  # of Linux: ETH_P_ALL (man 7 packet), and man 7 socket
LARGE = 20_000  # bytes of a reply that no record of TLS holds
CHANGE, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23  # types of records (RFC 8446, section 5.1)
CLIENT_HELLO = 1  # the first handshake message


def answer(query: bytes) -> bytes:
    """Reply with the address that the name has, to TXT with much, and to other types with none."""
    kind = int.from_bytes(section_of(query)[-4:-2])
    answers: tuple[bytes, ...] = ()
    if kind == TYPES["TXT"]:
        text = record(TO_QUESTION, "TXT", (b"\xff" + b"x" * 255) * 10)
        answers = (text,) * (LARGE // len(text) + 1)
    elif kind == TYPES["A"]:
        number = re.match(r"n(\d+)\.", question_of(query).lower())
        assert number is not None, query
        answers = (record(TO_QUESTION, "A", address(f"10.0.0.{number[1]}")),)
    return reply(query, answers=answers)


class _Served:
    """A socket that accepts on loopback, with a thread for whatever comes of each connection."""

    def __init__(self, host: str, port: int | None) -> None:
        self.host = host
        self.port = port or free_port()
        self.accepted = 0  # connections
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept, self._listen())

    def _listen(self) -> socket.socket:
        """Listen at our port. A program that another thread starts has our descriptors until it is
        what it is to be: the port, which was tried or served a moment ago, is taken until then."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return socket.create_server((self.host, self.port), family=family, backlog=128)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
            time.sleep(0.005)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Serve no more. Each thread closes its own sockets: a descriptor that another one closes
        may be somebody else's by the time that it is written to."""
        while self._threads:
            for each in list(self._open):
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)  # of the stream below TLS
            self._threads[0].join(0.05)
            if not self._threads[0].is_alive():
                del self._threads[0]

    def _begin(self, target: Callable[[socket.socket], None], one: socket.socket) -> None:
        thread = threading.Thread(target=self._run, args=(target, one), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, target: Callable[[socket.socket], None], one: socket.socket) -> None:
        with self.kept(one), suppress(OSError):
            target(one)

    @contextmanager
    def kept(self, one: socket.socket) -> Iterator[None]:
        """Close a socket at the end, and shut it down before if all is to end."""
        self._open.add(one)
        try:
            yield
        finally:
            self._open.discard(one)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            stream, _ = listener.accept()
            self.accepted += 1
            self._begin(self.serve, stream)

    def serve(self, stream: socket.socket) -> None:
        raise NotImplementedError


class PlayedTlsServer(_Served):
    """A server of DNS by TLS whose manner may be changed at any time. `queries`: all that it has
    been asked; `failures`: why handshakes failed, in the words of OpenSSL. While `is_open` is not
    set, handshakes wait."""

    def __init__(
        self,
        keys: Issued,
        manner: str = ANSWERS,
        host: str = "127.0.0.1",
        port: int | None = None,
        prepare: Callable[[ssl.SSLContext], object] = lambda context: None,
    ) -> None:
        self.manner = manner
        self.queries: list[bytes] = []
        self.failures: list[str] = []
        self.handshakes = 0
        self.is_open = threading.Event()
        self.is_open.set()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*keys)
        prepare(self.context)
        super().__init__(host, port)

    def serve(self, stream: socket.socket) -> None:
        if self.manner == MUTE:
            while stream.recv(1 << 16):
                pass
            return
        self.is_open.wait(PATIENCE_S)
        try:
            secured = self.context.wrap_socket(stream, server_side=True, suppress_ragged_eofs=False)
        except ssl.SSLError as error:
            self.failures.append(error.reason or str(error))
            return
        with self.kept(secured), suppress(ssl.SSLError):
            self.handshakes += 1
            if self.manner == LEAVES:
                secured.unwrap()
                return
            while (query := _frame(secured)) is not None:
                self.queries.append(query)
                if self.manner == SECURED:
                    continue
                message = answer(query)
                secured.sendall(len(message).to_bytes(2) + message)
                if self.manner == ONCE:
                    secured.unwrap()
                if self.manner in (ONCE, ABRUPT):
                    return


def _frame(stream: socket.socket) -> bytes | None:
    """Read a message with its length before it; None at the end of the stream."""
    head = _exactly(stream, 2)
    return None if head is None else _exactly(stream, int.from_bytes(head))


def _exactly(stream: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


class Passage:
    """The bytes that passed by one connection of a relay, both ways."""

    def __init__(self) -> None:
        self.up = b""  # from the client
        self.down = b""  # from the server, also what was held back
        self.up_before_down = b""  # said by the client before it was told anything
        self.is_over = False


class Relay(_Served):
    """A relay to a port of loopback. `passes`: how many bytes of the server's it passes on, by
    connection; the rest is kept back."""

    def __init__(self, to: int, passes: int | None = None) -> None:
        self._to = to
        self._passes = passes
        self.passages: list[Passage] = []
        super().__init__("127.0.0.1", None)

    @property
    def ended(self) -> int:
        """How many of its connections are over."""
        return sum(passage.is_over for passage in self.passages)

    def serve(self, stream: socket.socket) -> None:
        passage = Passage()
        self.passages.append(passage)
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            with self.kept(server):
                down = threading.Thread(
                    target=self._pass_down, args=(server, stream, passage), daemon=True
                )
                down.start()
                while data := stream.recv(1 << 16):
                    passage.up += data
                    if not passage.down:
                        passage.up_before_down += data
                    server.sendall(data)
                with suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
                down.join()
        passage.is_over = True

    def _pass_down(self, server: socket.socket, stream: socket.socket, passage: Passage) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                left = len(data)
                if self._passes is not None:
                    left = max(0, self._passes - len(passage.down))
                passage.down += data
                stream.sendall(data[:left])
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)


def records(stream: bytes) -> list[tuple[int, bytes]]:
    """Take a stream apart into records of TLS: type and content. Raises AssertionError where it is
    anything else."""
    found = []
    at = 0
    while at < len(stream):
        kind, version, size = stream[at], stream[at + 1 : at + 3], stream[at + 3 : at + 5]
        assert kind in (CHANGE, ALERT, HANDSHAKE, DATA) and version[:1] == b"\3", stream[at:]
        end = at + 5 + int.from_bytes(size)
        assert len(size) == 2 and end <= len(stream), "a record is not whole"
        found.append((kind, stream[at + 5 : end]))
        at = end
    return found


class Capture:
    """The packets of the loopback interface that have this text in them, in any case of letters."""

    def __init__(self, text: bytes) -> None:
        self.packets: list[bytes] = []
        self._text = text.lower()
        self._last = b"the last of " + self._text
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        with suppress(OSError):  # room for packets of others, too
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind(("lo", 0))
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._socket.close()

    def end(self) -> None:
        """Read all that has come by now, and no more: up to a packet of our own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            while self._thread.is_alive():
                one.sendto(self._last, ("127.0.0.1", 9))
                self._thread.join(0.1)

    def _read(self) -> None:
        while True:
            packet, where = self._socket.recvfrom(1 << 17)
            if where[2] != socket.PACKET_OUTGOING:  # each is there twice
                continue
            small = packet.lower()
            if self._last in small:
                return
            if self._text in small:
                self.packets.append(packet)


def can_capture() -> bool:
    """Return whether the kernel lets this process see packets."""
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as one:
            one.bind(("lo", 0))
    except (OSError, AttributeError):
        return False
    return True


def ports_of(packet: bytes) -> tuple[int, int]:
    """Return the ports of a packet of IPv4 on loopback: whence, and where to."""
    assert packet[12:14] == b"\x08\0"
    at = 14 + (packet[14] & 15) * 4
    return int.from_bytes(packet[at : at + 2]), int.from_bytes(packet[at + 2 : at + 4])
