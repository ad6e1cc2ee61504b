"""Secure layer: the contract of what stands between socket and framer where a stream is secured.

Bytes off the wire come in, and plain bytes out; plain bytes go in, and come out sealed. It has no
socket. Its own bytes (of its handshake, or an alert) wait in it until they are taken, in front of
what is sealed next: the order of both is that of the wire.

Not here: TLS (`core/io/tls_layer.py`), and when a stream is secured (`core/io/streams.py`).
"""

from typing import Protocol


class SecurityError(Exception):
    """A stream is not secure: the text says why in a line, `kind` in a word (see `KINDS`). `plain`:
    bytes that came before, and are good."""

    def __init__(self, why: str, kind: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.plain = b""


UNFINISHED = "unfinished"
KINDS = {
    "expired": "the server's certificate has ended, or has not begun",
    "wrong_name": "the server's certificate is for another name",
    "untrusted": "the server's certificate is by no trusted authority",
    "certificate": "the server's certificate is of no use otherwise",
    "refused": "the peer has refused: our certificate, say",
    "protocol": "what came is no TLS, or none that both know",
    UNFINISHED: "the peer has ended, or took too long",
}


class SecureLayer(Protocol):
    """The security of one stream. `is_secured`: the handshake is done, and a server that we dialled
    has proved who it is. `is_ended`: the peer has said that it sends nothing more."""

    is_secured: bool
    is_ended: bool

    @property
    def unsent(self) -> int:
        """How many bytes of its own wait in it."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the wire; return the plain bytes that they complete. The first call begins
        the handshake, with no bytes where we dialled. Raises SecurityError: nothing more will be
        had from it, but that an alert may be waiting."""
        ...

    def seal(self, data: bytes) -> bytes:
        """Return what goes on the wire: what waits, and behind it these plain bytes, sealed. There
        may be plain bytes only once it is secured."""
        ...

    def end(self) -> None:
        """Tell the peer, with the next bytes, that we send nothing more."""
        ...
