"""Authorities and certificates for tests of TLS, made with the command line of openssl.

An `Authority` issues certificates for host names and addresses, which end when a test says so;
`self_signed` makes one that nobody vouches for. All are files below a folder that is removed when
the process ends. Sizes are the same in every run where keys are RSA: the serial number is a count
of fixed length, and nothing else in a certificate varies.

Certificates of a kind have the same key unless a test wants another, since to make one is what
takes time (RSA: 0.15 s). A test that needs openssl has the mark `openssl`, and is skipped where it
is missing.

Not here: contexts of TLS (`core/io/tls_layer.py`).
"""

import atexit
import itertools
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest

HAS_OPENSSL = shutil.which("openssl") is not None
openssl = pytest.mark.skipif(
    not HAS_OPENSSL, reason="no openssl here (Debian: apt-get install openssl)"
)
RSA, EC = "rsa", "ec"  # kinds of keys: 2048 bits, P-256
_MAKES = {
    RSA: ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    EC: ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
}
_SERIALS = itertools.count(0x1000_0000)
_LOCK = threading.RLock()  # tests of a module run in threads
_CONFIGURATION = """\
[req]
distinguished_name = nothing
prompt = no
[nothing]
[ca]
default_ca = here
[here]
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial.txt
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{names}
"""


class Issued(NamedTuple):
    """The paths of a certificate and of its key, in PEM."""

    certificate: str
    key: str


class Authority:
    """An authority that issues certificates; `file` is the path of its own. `name` is what its
    certificate calls it. `above`: another authority, which has signed that; what is issued then has
    it behind it in its file."""

    def __init__(self, name: str, kind: str = RSA, above: "Authority | None" = None) -> None:
        by = None if above is None else above._own
        self._own = _certificate(name, (), _new_key(kind), "authority", 3650.0, by)
        self._kind = kind
        self._behind = "" if above is None else Path(self.file).read_text() + above._behind

    @property
    def file(self) -> str:
        return self._own.certificate

    def issue(
        self,
        *names: str,
        ends_in_days: float = 90.0,
        days: float | None = None,
        kind: str | None = None,
        has_own_key: bool = False,
    ) -> Issued:
        """Issue a certificate for these host names and addresses. It is good for so many `days`;
        without them it began a day before now, or before its end."""
        kind = kind or self._kind
        key = _new_key(kind) if has_own_key else _key_file(kind)
        issued = _certificate(names[0], names, key, "server", ends_in_days, self._own, days)
        with Path(issued.certificate).open("a") as file:
            file.write(self._behind)
        return issued

    def issue_without_names(self, subject: str, kind: str) -> Issued:
        """Issue a certificate that says its name in its subject alone, where RFC 9525 does not look
        for it."""
        return _certificate(subject, (), _key_file(kind), "server", 90.0, self._own)


@cache
def _authority(name: str, kind: str) -> Authority:
    return Authority(name, kind)


def authority(name: str = "Authority", kind: str = RSA) -> Authority:
    """Return the authority of this name, which is made once in a process."""
    with _LOCK:
        return _authority(name, kind)


def self_signed(*names: str, ends_in_days: float = 90.0, kind: str = RSA) -> Issued:
    """Make a certificate that its own key has signed."""
    return _certificate(names[0], names, _key_file(kind), "server", ends_in_days, None)


def encrypted(issued: Issued) -> Issued:
    """Return the same certificate with its key in a file that takes a pass phrase."""
    key = _folder() / "encrypted.pem"
    _run("pkey", "-in", issued.key, "-aes128", "-passout", "pass:secret", "-out", str(key))
    return Issued(issued.certificate, str(key))


def without_chain(issued: Issued) -> Issued:
    """Return the certificate without those of authorities behind it."""
    first, end, _ = Path(issued.certificate).read_text().partition("-----END CERTIFICATE-----\n")
    alone = _folder() / "alone.pem"
    alone.write_text(first + end)
    return Issued(str(alone), issued.key)


def _certificate(
    subject: str,
    names: Sequence[str],
    key: str,
    section: str,
    ends_in_days: float,
    issuer: Issued | None,
    days: float | None = None,
) -> Issued:
    """Make a certificate with the extensions of this section. `issuer`: None for one that signs
    itself.

    `openssl ca`, since the other commands cannot say in OpenSSL 3.0 when a certificate begins.
    """
    folder = _folder()
    (folder / "index.txt").touch()
    (folder / "serial.txt").write_text(f"{next(_SERIALS):x}\n")
    configuration, request, made = (str(folder / f"{n}.pem") for n in ("conf", "request", "made"))
    alternatives = ", ".join(f"{'IP' if _is_address(one) else 'DNS'}:{one}" for one in names)
    Path(configuration).write_text(
        _CONFIGURATION.format(
            folder=folder, names=f"subjectAltName = {alternatives}" if names else ""
        )
    )
    words = ("-config", configuration, "-subj", f"/CN={subject}")
    _run("req", "-new", *words, "-key", key, "-out", request)
    now = datetime.now(UTC)
    ends = now + timedelta(days=ends_in_days)
    begins = min(now, ends) - timedelta(days=1) if days is None else ends - timedelta(days=days)
    by = ("-selfsign",) if issuer is None else ("-cert", issuer.certificate)
    _run(
        *("ca", "-batch", "-notext", "-config", configuration, "-extensions", section),
        *("-in", request, "-out", made, *by, "-keyfile", key if issuer is None else issuer.key),
        *("-startdate", f"{begins:%y%m%d%H%M%SZ}", "-enddate", f"{ends:%y%m%d%H%M%SZ}"),
    )
    return Issued(made, key)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _new_key(kind: str) -> str:
    path = str(_folder() / "key.pem")
    _run("genpkey", *_MAKES[kind], "-out", path)
    return path


@cache
def _shared_key(kind: str) -> str:
    return _new_key(kind)


def _key_file(kind: str) -> str:
    with _LOCK:
        return _shared_key(kind)


@cache
def _home() -> Path:
    """Make the folder of all."""
    home = tempfile.TemporaryDirectory(prefix="photofinish-tls-", ignore_cleanup_errors=True)
    atexit.register(home.cleanup)
    return Path(home.name)


def _folder() -> Path:
    with _LOCK:
        return Path(tempfile.mkdtemp(dir=_home()))


def _run(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {' '.join(words)}\n{done.stderr}"
