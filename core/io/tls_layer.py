"""TLS layer: a `SecureLayer` by Python's ssl module, over buffers in memory; and its contexts.

TLS 1.2 or newer. A server that is dialled is always authenticated: certificate, name and time. We
resume no session: with TLS 1.3 that saves no round trip, and whoever sees two such handshakes knows
that they are of one client. (OpenSSL itself keeps the last 20,480 sessions of TLS 1.2 for clients
that ask: 25 MB.) Nothing is negotiated anew in mid-stream.

A certificate file can only be read by using it: `read_certificate` does a handshake with itself.

Not here: where contexts are kept (`core/io/tls_contexts.py`).
"""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from core.io.secure_layer import UNFINISHED, SecurityError
from core.regular_file import regular_file
from core.tls import CertificateFacts, TlsKeys

_RECORD_BYTES_MAX = 16_384  # plain bytes of a record (RFC 8446, section 5.1)
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL; Python has no name for it
# Codes of X509_STORE_CTX_get_error (man 3), by what they mean.
_EXPIRED = {9: "is not valid yet; is the clock of this machine right?", 10: "has expired"}
_WRONG_NAME = frozenset({62, 64})
_UNTRUSTED = {
    18: "is signed by itself, and not trusted here",
    **dict.fromkeys((2, 19, 20, 21), "is by an authority that is not trusted here"),
}
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
_OTHER_KEY = frozenset({"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})  # the last: of its kind
_NO_VERSION = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW"})


class TlsLayer:
    """A stream's TLS; see `SecureLayer`. `name`: whom we have dialled; without it we accepted."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None) -> None:
        self.is_secured = False
        self.is_ended = False
        self._name = name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=name is None, server_hostname=name
        )

    @property
    def unsent(self) -> int:
        return self._outgoing.pending

    def receive(self, data: bytes) -> bytes:
        self._incoming.write(data)
        records: list[bytes] = []
        try:
            if not self.is_secured:
                self._tls.do_handshake()
                self.is_secured = True
            records.extend(self._records())
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            raise SecurityError("it has ended the TLS handshake", UNFINISHED) from None
        except ssl.SSLError as error:
            failure = self._security_error(error)
            failure.plain = b"".join(records)
            raise failure from None
        return b"".join(records)

    def _records(self) -> Iterator[bytes]:
        """Yield the plain bytes of each record that is whole."""
        tls, incoming = self._tls, self._incoming
        while not self.is_ended and (incoming.pending or tls.pending()):
            try:
                plain = tls.read(_RECORD_BYTES_MAX)
            except ssl.SSLWantReadError:  # the rest of a record is to come
                return
            except ssl.SSLZeroReturnError:  # both have ended
                plain = b""
            self.is_ended = not plain
            yield plain

    def seal(self, data: bytes) -> bytes:
        left = memoryview(data)
        while left:  # a call takes a record
            left = left[self._tls.write(left) :]
        return self._outgoing.read()

    def end(self) -> None:
        with suppress(ssl.SSLError):  # the peer's word is not waited for
            self._tls.unwrap()

    def certificate(self) -> dict[str, Any]:
        """Return what the peer's certificate says, as `ssl.SSLSocket.getpeercert`."""
        return self._tls.getpeercert() or {}

    def _security_error(self, error: ssl.SSLError) -> SecurityError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._certificate_error(error)
        said = error.reason or ""
        if said in _NO_TLS:
            return SecurityError("it does not speak TLS", "protocol")
        if said in _NO_VERSION:
            return SecurityError("it speaks no version of TLS from 1.2 on", "protocol")
        _, is_alert, alert = said.partition("_ALERT_")
        if is_alert:
            return SecurityError(f"it refuses TLS with us: {_in_words(alert)}", "refused")
        return SecurityError(f"TLS fails: {_in_words(said)}", "protocol")

    def _certificate_error(self, error: ssl.SSLCertVerificationError) -> SecurityError:
        code = error.verify_code
        if code in _EXPIRED:
            return SecurityError(f"its certificate {_EXPIRED[code]}", "expired")
        if code in _WRONG_NAME:
            return SecurityError(f"its certificate is not for {self._name}", "wrong_name")
        if code in _UNTRUSTED:
            return SecurityError(f"its certificate {_UNTRUSTED[code]}", "untrusted")
        return SecurityError(f"its certificate is refused: {error.verify_message}", "certificate")


def _in_words(reason: str) -> str:
    return reason.replace("_", " ").lower() or "no reason is given"


# -- contexts --------------------------------------------------------------------------------------


def dialled_context(authorities: str) -> ssl.SSLContext:
    """Return a context to dial with that trusts the authorities in a file, or, if that is empty,
    the system's. Raises OSError, and ValueError: there are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # RFC 9525, section 2
    _restrict(context)
    if not authorities:
        known = ssl.get_default_verify_paths()
        if known.cafile is None and (known.capath is None or not any(Path(known.capath).iterdir())):
            raise ValueError("this machine has none")
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    with regular_file(authorities):  # else its name is not in the error, and a pipe is waited for
        pass
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError:
        raise ValueError("there is no certificate in PEM form in it") from None
    return context


def accepted_context(keys: TlsKeys) -> ssl.SSLContext:
    """Return a context to accept with. Raises OSError, and ValueError: they are no certificate and
    the key of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.num_tickets = 0
    for path in (keys.certificate, keys.key):
        with regular_file(path):
            pass
    try:
        context.load_cert_chain(keys.certificate, keys.key, _no_password)
    except ssl.SSLError as error:
        why = "no certificate in PEM form in it, or no key in the file of the key"
        if error.reason in _OTHER_KEY:
            why = "the key is that of another certificate"
        elif error.reason:
            why = f"{why} ({_in_words(error.reason)})"
        raise ValueError(why) from None
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted; take the password off it")


def read_certificate(context: ssl.SSLContext, keys: TlsKeys) -> CertificateFacts:
    """Return what the certificate of a context to accept with says. Raises ValueError: it is of no
    use for a server."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    trusting.load_verify_locations(keys.certificate)
    dialled, accepted = TlsLayer(trusting, "localhost"), TlsLayer(context)
    try:
        while not (dialled.is_secured and accepted.is_secured):
            dialled.receive(accepted.seal(b""))
            accepted.receive(dialled.seal(b""))
    except SecurityError as error:
        raise ValueError(f"the certificate is of no use for a server: {error}") from None
    said = dialled.certificate()
    names = [name for kind, name in said.get("subjectAltName", ()) if kind != "IP Address"]
    hosts = [name for kind, name in said.get("subjectAltName", ()) if kind == "IP Address"]
    names += [str(ip_address(host)) for host in hosts]
    return CertificateFacts(tuple(names), ssl.cert_time_to_seconds(str(said["notAfter"])))
