"""TLS as it is asked for: the server that a stream has to reach, and the files of a listener.

Plain values, and how the end of a certificate is said.

Not here: how a stream is secured (`core/io/secure_layer.py`).
"""

from dataclasses import dataclass

SOON_DAYS = 14  # a certificate that ends within these is to be renewed


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A server that a dialled stream has to reach: its certificate is for `name`, a host name or an
    address, by one of the `authorities`, a file of certificates (empty: those of the system)."""

    name: str
    authorities: str = ""


@dataclass(frozen=True, slots=True)
class TlsKeys:
    """The files of a certificate, with those that lead to its authority, and of its private key."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The words of a certificate: for which host names and addresses it is, and when it ends (time
    of day, in s since 1970)."""

    names: tuple[str, ...]
    ends_at: float


def end_text(days: float) -> str:
    """Say when a certificate ends, that many days from now."""
    if days < 0:
        return "has ended"
    return f"ends in {days:.0f} days" if days >= 1 else "ends within a day"
