"""The options about TLS: what the words come to, and where DNS is served by TLS alone.

Not here: mistakes in them (`test_words.py`), resolvers by TLS (`test_server_words.py`), and the
files (`test_tls_files.py`).
"""

import pytest

from core.tls import TlsKeys
from nodes.cli.arguments import Failure
from nodes.cli.ls_arguments import read_ls_options
from nodes.cli.tls_arguments import TlsOptions
from tests.conftest import Command

KEYS = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")
UPSTREAM = ("--dns-upstream", "192.0.2.1")
BY_TLS = ("--dns-upstream", "tls://192.0.2.1")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (UPSTREAM, TlsOptions()),
        (BY_TLS, TlsOptions()),
        ((*BY_TLS, "--tls-ca", "ca.pem"), TlsOptions("ca.pem")),
        (
            (*UPSTREAM, "--route", "a=x=tls://192.0.2.2", "--tls-ca", "ca.pem"),
            TlsOptions("ca.pem"),
        ),
        (
            (*UPSTREAM, "--dns-tls", "853", *KEYS),
            TlsOptions(keys=TlsKeys("cert.pem", "key.pem")),
        ),
    ],
)
def test_files_are_for_who_is_asked_and_who_asks(words: tuple[str, ...], found: TlsOptions) -> None:
    assert read_ls_options(["5300", *words]).tls == found


@pytest.mark.parametrize(
    ("words", "dns_tls"),
    [
        (["--dns-tls", "853"], [("127.0.0.1", 853)]),
        (["5", "--dns-tls", "0", "--dns", "53"], [("127.0.0.1", 0)]),
        (["--dns-tls", "[::1]:853", "--dns-tls", "127.0.0.2:8"], [("::1", 853), ("127.0.0.2", 8)]),
        (["--host", "a", "--host", "::2", "--dns-tls", "853"], [("a", 853), ("::2", 853)]),
        (["5", "--host", "::2", "--dns-tls", "b:853"], [("b", 853)]),
    ],
)
def test_dns_by_tls_is_where_the_words_say(
    words: list[str], dns_tls: list[tuple[str, int]]
) -> None:
    """As DNS is: alone, or beside anything else."""
    listen = read_ls_options([*words, *KEYS, *UPSTREAM]).server.listen
    assert list(listen.dns_tls) == dns_tls and listen.serves_dns


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("853 --dns-tls 853", "PORT and --dns-tls are both 853; try --dns-tls 854 "),
        ("--dns 853 --dns-tls 853", "--dns and --dns-tls are both 853; try --dns-tls 854 "),
        ("--dns-tls 853 --metrics 853", "--dns-tls and --metrics are both 853; try --metrics "),
        ("--dns-tls 853 --dns-tls 853", "127.0.0.1:853 is given twice for --dns-tls "),
        ("--host ::1 --dns-tls ::2:853", "argument --dns-tls: '::2:853' is not a port, 0 to 65535"),
        ("--host ::1 --dns-tls [::2]:853", "--host ::1 does nothing without PORT, --dns PORT or "),
    ],
)
def test_a_place_for_tls_is_nobody_elses(words: str, why: str) -> None:
    with pytest.raises(Failure) as raised:
        read_ls_options([*words.split(), *KEYS, *UPSTREAM])
    assert str(raised.value).startswith(why)


def test_defaults_of_dns_hold_where_it_is_served_by_tls(command: Command) -> None:
    words = ["ls", "--dns-upstream", "tls://9.9.9.9#dns.quad9.net", "--print-config"]
    _, without, _ = command(*words, "5300")
    code, out, log = command(*words, "--dns-tls", "[::1]:853", *KEYS)
    assert (code, log) == (0, "")
    lines = [line.rpartition("  # ")[0] or line for line in out.splitlines()]
    for line in (
        'dns-upstream = ["tls://9.9.9.9#dns.quad9.net"]', 'dns-tls = ["[::1]:853"]', "# tls-ca",
        'tls-cert = "cert.pem"', 'tls-key = "key.pem"', "dns-timeout = 4.5", "dns-ttl = 60",
    ):  # fmt: skip
        assert line in lines
    assert "# dns-timeout" in without and "# dns-tls" in without and "# tls-key" in without
