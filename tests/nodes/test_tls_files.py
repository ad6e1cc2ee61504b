"""The files of TLS: what is read of which, and the line for one that cannot be used.

Not here: the words that name them (`test_tls_arguments.py`).
"""

import os
from pathlib import Path

import pytest

from core.io.tls_contexts import TlsContexts
from core.tls import CertificateFacts, ServerIdentity, TlsKeys
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.server_words import ResolverOption, resolver_words
from nodes.cli.tls_arguments import TlsOptions
from nodes.cli.tls_files import check_use, checked_certificate, identified, read_tls_files
from nodes.ls.setup import ServerSetup
from tests.support.certificates import authority, encrypted, openssl, self_signed

(PLAIN,), (TLS,) = resolver_words("192.0.2.1"), resolver_words("tls://192.0.2.2#a.example")
KEYS = TlsKeys("cert.pem", "key.pem")
FACTS = CertificateFacts(("a.example", "192.0.2.1"), 2e9)


class Played(TlsContexts):
    """Contexts that note what is read, and whose reads fail as a test says."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.read: list[object] = []
        self._error = error

    def load_authorities(self, path: str) -> None:
        self._note(path)

    def load_keys(self, keys: TlsKeys) -> CertificateFacts:
        self._note(keys)
        return FACTS

    def _note(self, what: object) -> None:
        self.read.append(what)
        if self._error is not None:
            raise self._error


def failure(error: Exception, tls: TlsOptions, *resolvers: ResolverOption) -> str:
    with pytest.raises(Failure) as raised:
        read_tls_files(Played(error), tls, resolvers)
    return str(raised.value)


@pytest.mark.parametrize(
    ("tls", "resolvers", "read"),
    [
        (TlsOptions(), [PLAIN], []),
        (TlsOptions(), [PLAIN, TLS], [""]),
        (TlsOptions("ca.pem"), [TLS], ["ca.pem"]),
        (TlsOptions(keys=KEYS), [PLAIN], [KEYS]),
        (TlsOptions("ca.pem", KEYS), [TLS], ["ca.pem", KEYS]),
    ],
)
def test_only_files_that_are_needed_are_read(
    tls: TlsOptions, resolvers: list[ResolverOption], read: list[object]
) -> None:
    """The system's authorities are many, and take a while."""
    contexts = Played()
    read_tls_files(contexts, tls, resolvers)
    assert contexts.read == read
    setups = [ServerSetup("x", (), None, one.identity) for one in resolvers]
    read_tls_files(again := Played(), tls, setups)
    assert again.read == read


def test_a_file_that_cannot_be_used_is_one_line() -> None:
    missing = FileNotFoundError(2, "No such file or directory")
    assert failure(missing, TlsOptions("ca.pem"), TLS) == (
        "cannot read --tls-ca ca.pem: no such file or directory"
    )
    assert failure(ValueError("why"), TlsOptions("ca.pem"), TLS) == (
        "cannot use --tls-ca ca.pem: why"
    )
    assert failure(ValueError("there are none"), TlsOptions(), TLS) == (
        "cannot use the authorities of this machine: there are none; name a file of authorities "
        "with --tls-ca"
    )
    assert failure(ValueError("why"), TlsOptions(keys=KEYS)) == (
        "cannot use --tls-cert cert.pem with --tls-key key.pem: why"
    )
    for path, flag in ("cert.pem", "--tls-cert"), ("key.pem", "--tls-key"):
        denied = PermissionError(13, "Permission denied", path)
        said = f"cannot read {flag} {path}: permission denied"
        assert failure(denied, TlsOptions(keys=KEYS)) == said


def test_a_certificate_and_a_socket_for_it_go_together() -> None:
    check_use(TlsOptions(), is_served=False)
    check_use(TlsOptions(keys=KEYS), is_served=True)
    for tls, is_served, said in (
        (TlsOptions(), True, "the socket 'dns-tls' that was handed over needs --tls-cert FILE and"),
        (TlsOptions(keys=KEYS), False, "--tls-cert is for DNS over TLS; there is no --dns-tls P"),
    ):
        with pytest.raises(Failure, match=f"^{said}") as raised:
            check_use(tls, is_served=is_served)
        assert raised.value.exit_code == USAGE


def test_a_resolver_is_authenticated_by_the_authorities_given() -> None:
    servers = [ServerSetup("DNS1", (), ("192.0.2.1", 53)), ServerSetup("DNS2", (), None)]
    plain, by_tls = identified(servers, [PLAIN, TLS], "ca.pem")
    assert plain == servers[0]
    assert by_tls.identity == ServerIdentity("a.example", "ca.pem")


def test_a_check_refuses_a_certificate_that_has_ended() -> None:
    said = "dns-tls with a certificate for a.example, 192.0.2.1 until 2033-05-18"
    assert checked_certificate(KEYS, FACTS, 1.9e9) == said
    with pytest.raises(Failure, match=r"^the certificate cert.pem ended on 2033-05-18: renew it$"):
        checked_certificate(KEYS, FACTS, 2e9)


# -- real files ------------------------------------------------------------------------------------


@openssl
def test_real_files_are_read_or_say_what_is_wrong(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing\n")
    pipe = f"{tmp_path}/pipe"
    os.mkfifo(pipe)
    good, other = authority().issue("a.example"), authority().issue("b.example", has_own_key=True)
    contexts = TlsContexts()
    read_tls_files(contexts, TlsOptions(authority().file, TlsKeys(*good)), [TLS])
    read_tls_files(
        contexts, TlsOptions(good.certificate, TlsKeys(*self_signed("a.example"))), [TLS]
    )
    for tls, said in (
        (TlsOptions(str(nothing)), f"cannot use --tls-ca {nothing}: "),
        (TlsOptions(f"{tmp_path}"), f"cannot read --tls-ca {tmp_path}: it is not a regular file"),
        (TlsOptions("", TlsKeys(good.certificate, pipe)), f"cannot read --tls-key {pipe}: it is n"),
        (TlsOptions(f"{tmp_path}/x"), f"cannot read --tls-ca {tmp_path}/x: no such file or di"),
        (TlsOptions("", TlsKeys(good.certificate, f"{tmp_path}/k")), "cannot read --tls-key "),
        (TlsOptions("", TlsKeys(f"{tmp_path}/c", good.key)), "cannot read --tls-cert "),
        (TlsOptions("", TlsKeys(good.certificate, other.key)), "cannot use --tls-cert "),
        (TlsOptions("", TlsKeys(str(nothing), good.key)), "cannot use --tls-cert "),
        (TlsOptions("", TlsKeys(good.certificate, str(nothing))), "cannot use --tls-cert "),
        (TlsOptions("", TlsKeys(*encrypted(good))), "cannot use --tls-cert "),
    ):
        with pytest.raises(Failure) as raised:
            read_tls_files(contexts, tls, [TLS] if tls.authorities else [])
        assert str(raised.value).startswith(said) and "\n" not in str(raised.value)
