"""TLS as it is asked for: whom a stream has to reach, and what a listener shows. Plain values.

Not here: how a stream is secured (`core/io/secure_layer.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server that a dialled stream has to reach. It has a certificate for `name`, a host name
    or an address, by one of the `authorities`, a file of certificates (empty: the system's)."""

    name: str
    authorities: str = ""


@dataclass(frozen=True, slots=True)
class TlsKeys:
    """The files of a certificate, with those that lead to its authority, and of its private key."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The facts of a certificate: the host names and addresses that it is for, and when it ends
    (time of day, in s since 1970)."""

    names: tuple[str, ...]
    ends_at: float
