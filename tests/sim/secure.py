"""A layer of security for the simulator: what TLS does to a stream, with chance from the seed.

It fulfils the contract of `core/io/secure_layer.py`, at both ends. On the wire are records of TLS's
form: a type, a version, a length, a body. The end that dials says hello; the other end answers with
a certificate; the first proves that it has seen it, and may speak in the same flight. From then on
each record is mixed with what both hellos make, and with its number in its direction, so that a
record of another connection, one that comes twice, one that is broken, and bytes in the clear all
fail at once. An alert ends all; "close" is the one that ends a direction (close_notify).

It is strict with whoever uses it: plain bytes before the handshake is done, bytes after `end`, and
anything after a failure are an AssertionError, since the real one would lose them, or worse.

Not here: which certificate is shown, and what goes wrong (`tests/sim/tls_cast.py`).
"""

import math
import struct
from collections.abc import Set
from dataclasses import dataclass
from enum import Enum
from functools import cache
from hashlib import blake2b, shake_128
from random import Random

from core.io.secure_layer import SecureLayer, SecurityError
from core.io.tls_contexts import TlsContexts
from core.tls import ServerIdentity, TlsKeys
from tests.sim.wire import ALERT, BODY_BYTES_MAX, DATA, HANDSHAKE, HEAD_BYTES, TYPES, VERSION
from tests.support import certificates

RECORD_BYTES_MAX = 16_384
_TAG_BYTES = 8
_CERTIFICATE_BYTES = 700  # of the server's flight, as those of real ones are long
CLOSE = "close"


@dataclass(frozen=True)
class SimCertificate:
    """A certificate: for whom it is, who says so, and for how long (times of day)."""

    names: tuple[str, ...]
    authority: str = "public"
    ends_at: float = math.inf
    begins_at: float = -math.inf

    def packed(self) -> bytes:
        """Write it as it is shown."""
        text = f"{','.join(self.names)};{self.authority};{self.ends_at!r};{self.begins_at!r};"
        return text.encode().ljust(_CERTIFICATE_BYTES, b".")

    @classmethod
    def unpacked(cls, data: bytes) -> "SimCertificate":
        """Read one that is shown."""
        names, authority, ends_at, begins_at, _ = data.decode().split(";")
        return cls(tuple(names.split(",")), authority, float(ends_at), float(begins_at))


def check(shown: SimCertificate, identity: ServerIdentity, trusted: Set[str], wall: float) -> None:
    """Check a certificate that a server shows at this time of day. Raises SecurityError."""
    if shown.authority not in trusted:
        raise SecurityError(f"nobody known vouches for it, but {shown.authority}", "untrusted")
    if wall >= shown.ends_at:
        raise SecurityError("certificate has expired", "expired")
    if wall < shown.begins_at:
        raise SecurityError("certificate is not valid yet", "certificate")
    if identity.name not in shown.names:
        text = f"certificate is for {shown.names[0]}, not for {identity.name}"
        raise SecurityError(text, "wrong_name")


class _Phase(Enum):
    BEGINNING = "nothing has been said"
    GREETED = "we have said hello, or answered one"
    SECURED = "the handshake is done"
    FAILED = "it has failed, or was told so"


class SimLayer:
    """An end of a stream, made by `dialled` or `accepted`. `nonce`: what it gives by chance."""

    def __init__(self, nonce: bytes, *, dials: bool) -> None:
        self.is_secured = False
        self.is_ended = False
        self.shown: SimCertificate | None = None  # by the peer
        self._nonce = nonce
        self._dials = dials
        self._identity = ServerIdentity("")
        self._trusted: Set[str] = frozenset()
        self._wall = 0.0
        self._certificate: SimCertificate | None = None
        self._phase = _Phase.BEGINNING
        self._in = bytearray()
        self._out = bytearray()
        self._has_ended = False  # we have said that we send nothing more
        self._key = b""
        self._numbers = {True: 0, False: 0}  # of the next record, ours and the peer's

    @classmethod
    def dialled(
        cls, nonce: bytes, identity: ServerIdentity, trusted: Set[str], wall: float
    ) -> "SimLayer":
        """Make the end of one that dials: it is to reach this server."""
        layer = cls(nonce, dials=True)
        layer._identity, layer._trusted, layer._wall = identity, trusted, wall
        return layer

    @classmethod
    def accepted(cls, nonce: bytes, certificate: SimCertificate) -> "SimLayer":
        """Make the end of one that is dialled: it shows this certificate."""
        layer = cls(nonce, dials=False)
        layer._certificate = certificate
        return layer

    # -- the contract ------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        return len(self._out)

    def receive(self, data: bytes) -> bytes:
        """Take bytes off the wire; return plain ones. Raises SecurityError."""
        assert self._phase is not _Phase.FAILED, "it goes on after a failure"
        if self._phase is _Phase.BEGINNING and self._dials:
            assert not data, "bytes come before our hello"
            self._phase = _Phase.GREETED
            self._out += record(HANDSHAKE, b"C" + self._nonce)
            return b""
        if self.is_ended:
            return b""
        self._in += data
        plain = bytearray()
        try:
            while not self.is_ended and (whole := take_record(self._in)) is not None:
                plain += self._take(*whole)
        except SecurityError as error:
            if error.kind != "refused":  # else the peer has said so itself
                self._alert(error.kind)
            self._phase = _Phase.FAILED
            raise
        return bytes(plain)

    def seal(self, data: bytes) -> bytes:
        """Return all that is to go on the wire, and this last."""
        if data:
            assert self._phase is _Phase.SECURED, f"{data!r} would go out in the clear"
            assert not self._has_ended, f"{data!r} would go out after our end"
            for at in range(0, len(data), RECORD_BYTES_MAX):
                self._out += self._sealed(DATA, bytes(data[at : at + RECORD_BYTES_MAX]))
        out, self._out = bytes(self._out), bytearray()
        return out

    def end(self) -> None:
        """Say that we send nothing more."""
        if self._phase is _Phase.SECURED and not self._has_ended:
            self._out += self._sealed(ALERT, CLOSE.encode())
        self._has_ended = True

    # -- for tests ---------------------------------------------------------------------------------

    def refuse(self, why: str) -> None:
        """Have an alert go out: we do not want this."""
        self._alert(why)
        self._phase = _Phase.FAILED

    # -- records -----------------------------------------------------------------------------------

    def _take(self, kind: int, body: bytes) -> bytes:
        """Take a record; return the plain bytes in it."""
        if kind == ALERT and not self._key:
            raise SecurityError(f"it says {body.decode(errors='replace')}", "refused")
        match self._phase, self._dials:
            case _Phase.BEGINNING, False:
                return self._hear_hello(kind, body)
            case _Phase.GREETED, True:
                return self._hear_certificate(kind, body)
        if kind != DATA:
            raise SecurityError(f"a record of type {kind} in the clear", "protocol")
        kind, plain = self._opened(body)
        if kind == ALERT and plain == CLOSE.encode():
            if self._phase is _Phase.GREETED:
                raise SecurityError("it ends within the handshake", "unfinished")
            self.is_ended = True
            return b""
        if kind == ALERT:
            raise SecurityError(f"it says {plain.decode()}", "refused")
        if self._phase is _Phase.GREETED:
            if (kind, plain) != (HANDSHAKE, b"F"):
                raise SecurityError(f"{plain!r} comes within the handshake", "protocol")
            self._phase, self.is_secured = _Phase.SECURED, True
            return b""
        if kind != DATA:
            raise SecurityError("a handshake comes after the handshake", "protocol")
        return plain

    def _hear_hello(self, kind: int, body: bytes) -> bytes:
        if kind != HANDSHAKE or body[:1] != b"C":
            raise SecurityError("no hello", "protocol")
        assert self._certificate is not None
        self._phase = _Phase.GREETED
        packed = self._certificate.packed()
        self._out += record(HANDSHAKE, b"S" + bytes([len(self._nonce)]) + self._nonce + packed)
        self._key = _key(body[1:], self._nonce)
        return b""

    def _hear_certificate(self, kind: int, body: bytes) -> bytes:
        if kind != HANDSHAKE or body[:1] != b"S":
            raise SecurityError("no common version", "protocol")
        nonce, packed = body[2 : 2 + body[1]], body[2 + body[1] :]
        self._key = _key(self._nonce, nonce)
        self.shown = SimCertificate.unpacked(packed)
        check(self.shown, self._identity, self._trusted, self._wall)
        self._phase, self.is_secured = _Phase.SECURED, True
        self._out += self._sealed(HANDSHAKE, b"F")
        return b""

    def _alert(self, why: str) -> None:
        text = why.encode()
        self._out += self._sealed(ALERT, text) if self._key else record(ALERT, text)

    def _sealed(self, kind: int, plain: bytes) -> bytes:
        plain += bytes([kind])
        start = self._start(is_ours=True)
        return record(DATA, _tag(start, plain) + _mixed(start, plain))

    def _opened(self, body: bytes) -> tuple[int, bytes]:
        start = self._start(is_ours=False)
        plain = _mixed(start, body[_TAG_BYTES:])
        if not plain or body[:_TAG_BYTES] != _tag(start, plain):
            raise SecurityError("a record is broken", "protocol")
        return plain[-1], plain[:-1]

    def _start(self, *, is_ours: bool) -> bytes:
        """Return what the next record of a direction is mixed from."""
        number = self._numbers[is_ours]
        self._numbers[is_ours] += 1
        return self._key + struct.pack(">?Q", is_ours == self._dials, number)


def record(kind: int, body: bytes) -> bytes:
    """Write a record."""
    return struct.pack(">BBBH", kind, VERSION, VERSION, len(body)) + body


def take_record(data: bytearray) -> tuple[int, bytes] | None:
    """Take the first record off these bytes; None: it is not all there. Raises SecurityError: it
    cannot become one."""
    wrong = data[:1] and data[0] not in TYPES
    wrong = wrong or (data[1:2] and data[1] != VERSION)
    if wrong or (len(data) >= HEAD_BYTES and int.from_bytes(data[3:5]) > BODY_BYTES_MAX):
        raise SecurityError("these are no records", "protocol")
    size = HEAD_BYTES + int.from_bytes(data[3:5])
    if len(data) < HEAD_BYTES or len(data) < size:
        return None
    kind, body = data[0], bytes(data[HEAD_BYTES:size])
    del data[:size]
    return kind, body


def _key(dialler: bytes, other: bytes) -> bytes:
    return blake2b(dialler + b"|" + other, digest_size=16).digest()


def _tag(start: bytes, plain: bytes) -> bytes:
    return blake2b(plain, digest_size=_TAG_BYTES, key=start).digest()


def _mixed(start: bytes, data: bytes) -> bytes:
    size = len(data)
    mask = int.from_bytes(shake_128(start).digest(size))
    return (int.from_bytes(data) ^ mask).to_bytes(size)


class SimSecurity:
    """Makes the layers of a world, with nonces from its seed."""

    def __init__(self, seed: str) -> None:
        self._chance = Random(f"{seed}:nonces")

    def dialled(self, identity: ServerIdentity, trusted: Set[str], wall: float) -> SecureLayer:
        """Make the layer of one that dials, and trusts these authorities."""
        return SimLayer.dialled(self._nonce(), identity, trusted, wall)

    def accepted(self, certificate: SimCertificate) -> SecureLayer:
        """Make the layer of one that is dialled, and shows this certificate."""
        return SimLayer.accepted(self._nonce(), certificate)

    def _nonce(self) -> bytes:
        return self._chance.randbytes(16)


class RealSecurity(SimSecurity):
    """Makes real layers instead, with certificates of the same names and authorities.

    Their bytes depend on chance that is not the seed's; the number of those does not.
    """

    def dialled(self, identity: ServerIdentity, trusted: Set[str], wall: float) -> SecureLayer:
        (name,) = trusted
        return _CONTEXTS.secure_dialled(ServerIdentity(identity.name, _trusted_file(name)))

    def accepted(self, certificate: SimCertificate) -> SecureLayer:
        is_for_ever = (certificate.begins_at, certificate.ends_at) == (-math.inf, math.inf)
        ends_in_days = 90.0 if is_for_ever else -1.0
        return _CONTEXTS.secure_accepted(
            _issued(certificate.names, certificate.authority, ends_in_days)
        )


_CONTEXTS = TlsContexts()


@cache
def _trusted_file(name: str) -> str:
    path = certificates.authority(name).file
    _CONTEXTS.load_authorities(path)
    return path


@cache
def _issued(names: tuple[str, ...], authority: str, ends_in_days: float) -> TlsKeys:
    issued = certificates.authority(authority).issue(*names, ends_in_days=ends_in_days)
    keys = TlsKeys(issued.certificate, issued.key)
    _CONTEXTS.load_keys(keys)
    return keys


def forget_contexts() -> None:
    """Have all contexts made anew."""
    _trusted_file.cache_clear()
    _issued.cache_clear()
