"""A secure layer without secrets, and peers that speak it, for tests of what is done around one.

Each record is a letter, a size and bytes, so that a test can see, and say, what travels:

    h   the handshake: `hello` of who dials, `welcome`, and `done` of who dials
    d   plain bytes      e   the end      x   an alert, with its reason
    k   wants so many bytes of the layer's own, which come as an `n`: as TLS may say something by
        itself at any time

Not here: TLS (`tests/io/test_tls_layer.py`), and the layer of the simulator (`tests/sim/`).
"""

import socket
import struct
from collections.abc import Iterator
from typing import Any

from core.io.secure_layer import SecurityError
from core.tls import CertificateFacts, ServerIdentity, TlsKeys

KEYS = TlsKeys("there.pem", "there.key")
IDENTITY = ServerIdentity("dns.example")
_HEAD = struct.Struct(">cI")


def record(kind: bytes, data: bytes = b"") -> bytes:
    """Write a record."""
    return _HEAD.pack(kind, len(data)) + data


HELLO, WELCOME, DONE = (record(b"h", word) for word in (b"hello", b"welcome", b"done"))


class PlayedLayer:
    """A `SecureLayer` of these records. `kinds`: of the records that came."""

    def __init__(self, *, dials: bool) -> None:
        self.is_secured = False
        self.is_ended = False
        self.kinds = ""
        self.knows = True  # the certificate of the peer
        self._dials = dials
        self._has_begun = False
        self._came = bytearray()
        self._unsent = b""

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def receive(self, data: bytes) -> bytes:
        if self._dials and not self._has_begun:
            self._unsent += HELLO
        self._has_begun = True
        self._came += data
        plain = b""
        try:
            for record_plain in self._records():
                plain += record_plain
        except SecurityError as error:
            error.plain = plain
            raise
        return plain

    def _records(self) -> Iterator[bytes]:
        while len(self._came) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._came)
            if kind not in b"hdexkn":
                raise self._failed("it does not speak this", "protocol")
            if len(self._came) < _HEAD.size + size:
                return
            body = bytes(self._came[_HEAD.size : _HEAD.size + size])
            del self._came[: _HEAD.size + size]
            self.kinds += kind.decode()
            yield self._take(kind, body)

    def _take(self, kind: bytes, body: bytes) -> bytes:
        if kind == b"x":
            raise SecurityError(f"it refuses us: {body.decode()}", "refused")
        if kind == b"k":
            self._unsent += record(b"n", bytes(int(body)))
        elif kind == b"e":
            self.is_ended = True
        elif kind == b"h" and body == b"hello":
            self._unsent += WELCOME
        elif kind == b"h":
            if not self.knows:
                raise self._failed("its certificate has expired", "expired")
            self._unsent += DONE if self._dials else b""
            self.is_secured = True
        return body if kind == b"d" else b""

    def _failed(self, why: str, kind: str) -> SecurityError:
        self._unsent += record(b"x", kind.encode())
        return SecurityError(why, kind)

    def seal(self, data: bytes) -> bytes:
        assert self.is_secured or not data, "plain bytes before it is secure"
        unsent, self._unsent = self._unsent, b""
        return unsent + (record(b"d", data) if data else b"")

    def end(self) -> None:
        self._unsent += record(b"e")


class PlayedContexts:
    """`TlsContexts` that hand out such layers."""

    def __init__(self) -> None:
        self.dialled: list[PlayedLayer] = []
        self.knows = True  # the certificates of servers

    def certificate(self, keys: TlsKeys) -> CertificateFacts:
        return CertificateFacts(("there",), 1e10)

    def secure_dialled(self, identity: ServerIdentity) -> PlayedLayer:
        assert identity == IDENTITY
        self.dialled.append(PlayedLayer(dials=True))
        self.dialled[-1].knows = self.knows
        return self.dialled[-1]

    def secure_accepted(self, keys: TlsKeys) -> PlayedLayer:
        assert keys == KEYS
        return PlayedLayer(dials=False)


class SecurePeer:
    """The other end of a stream that is secured, on a socket. `wire`: all that came."""

    def __init__(self, stream: socket.socket, *, dials: bool) -> None:
        self.socket = stream
        stream.setblocking(False)
        stream.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # else bytes wait for an acknowledgement
        self.layer: Any = PlayedLayer(dials=dials)
        self.wire = b""
        self.plain = b""
        self.has_ended = False
        self.alert = ""

    def put(self, data: bytes) -> None:
        """Send these very bytes."""
        assert self.socket.send(data) == len(data)

    def say(self, data: bytes = b"") -> None:
        """Send what the layer has to say, and this, sealed."""
        if data or self.layer.unsent:
            self.put(self.layer.seal(data))

    def begin(self) -> None:
        """Begin the handshake."""
        self.layer.receive(b"")
        self.say()

    def look(self) -> "SecurePeer":
        """Read what is there, and reply to what is of the handshake."""
        try:
            while not self.has_ended and (data := self.socket.recv(1 << 16)):
                self.wire += data
                self.plain += self.layer.receive(data)
            self.has_ended = True
        except BlockingIOError:
            pass
        except SecurityError as error:
            self.alert = str(error)
        if not self.has_ended and not self.alert:
            self.say()
        return self

    def end(self) -> None:
        """End the stream without a word."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()
