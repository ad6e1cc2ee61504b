"""`--check`: what it finds, with nothing bound and nothing written.

Not here: how words and files are read (`tests/nodes/test_arguments.py`, `test_config_file.py`).
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.support.certificates import authority, openssl, self_signed
from tests.support.processes import ROOT

GOOD = "photofinish: configuration is good: "
SAMPLED = "--race-sample 1 --race-log"
FORMS = "a row has 3 fields, `name address type`, or is `address name ...` as in /etc/hosts; "
FORMS += "this one has"
PAGE = "--metrics 0 --metrics-host 127.0.0.9"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with tables, and one that nobody may write to."""
    (tmp_path / "table").write_text("a.example 10.0.0.1 A\n# nothing\n")
    (tmp_path / "mixed").write_text("a.example 10.0.0.1 A\nbad\n")
    (tmp_path / "bad").write_text("bad row\n")
    (tmp_path / "races").write_text("{}\n")
    yield tmp_path


@pytest.fixture(autouse=True)
def nothing_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no socket be bound."""

    def bind(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a check binds {address}")

    monkeypatch.setattr(socket.socket, "bind", bind)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ls 5300 localhost 5301", "race, TS1 localhost:5301"),
        ("ls 0 127.0.0.1 1 --dns 0 --metrics 0 --workers 2", "2 workers, race, TS1 127.0.0.1:1"),
        ("ls 0 127.0.0.1 1 --host 0.0.0.0 --allow 0.0.0.0/0", "race, TS1 127.0.0.1:1"),
        (f"ls 0 127.0.0.1 1 {SAMPLED} {{folder}}/new {PAGE}", "race, TS1 127.0.0.1:1"),
        (
            f"ls 0 127.0.0.1 1 --workers 1 {SAMPLED} {{folder}}/races",
            "1 worker, race, TS1 127.0.0.1:1",
        ),
        ("ls 0 --dns-upstream 192.0.2.1", "race, DNS1 192.0.2.1:53"),
        ("ts 5300 --table {folder}/table", "table {folder}/table, 1 rows"),
        (
            "ts 0 --table {folder}/mixed",
            f"table {{folder}}/mixed, 1 rows, 1 bad ones left out, the first is row 2: {FORMS} 1",
        ),
    ],
)
def test_a_good_configuration_is_one_line(
    command: Command, folder: Path, words: str, found: str
) -> None:
    """[P73]"""
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    code, out, log = command(*words.format(folder=folder).split(), "--check")
    assert (code, out, log) == (0, f"{GOOD}{found.format(folder=folder)}\n", "")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ls 0 nohost.invalid 5301", "within 2 s, given as a table server; is the name right?"),
        ("ls 0 ::1 1 --upstream nohost.invalid", "within 2 s, given as --dns-upstream; is the n"),
        (
            "ls 0 ::1 1 --upstream ::1 --route a=nohost.invalid",
            "cannot resolve 'nohost.invalid' within 2 s, given as a resolver of --route; is the ",
        ),
        ("ls 0 a..b 5301", "'a..b' is not a host name"),
        ("ls 5300 localhost 5300", "given as a table server, is this load balancer's own address"),
        ("ls 0 127.0.0.1 1 --host 0.0.0.0", "0.0.0.0:0 is open to other machines: say with"),
        (
            "ls 0 127.0.0.1 1 --host 203.0.113.9 --allow 0.0.0.0/0",
            "203.0.113.9 is not an address of th",
        ),
        (
            "ls 0 127.0.0.1 1 --metrics 0 --metrics-host 203.0.113.9 --allow 0.0.0.0/0",
            "203.0.113.9 is ",
        ),
        ("ls 0 127.0.0.1 1 --metrics 0 --metrics-host 0.0.0.0", "0.0.0.0:0 is open "),
        (f"ls 0 127.0.0.1 1 {SAMPLED} {{folder}}", "cannot write {folder}: is a directory"),
        (f"ls 0 127.0.0.1 1 {SAMPLED} {{folder}}/no/x", "cannot write {folder}/no/x: no such file"),
        (f"ls 0 127.0.0.1 1 {SAMPLED} {{folder}}/races/x", "{folder}/races/x: not a directory"),
        ("ls 0 127.0.0.1 1 --grace 1", "--grace is for the answers of resolvers"),
        ("ts 0 --table {folder}/none", "cannot read the table {folder}/none: no such file"),
        ("ts 0 --table {folder}", "cannot read the table {folder}: is a directory"),
        ("ts 0 --table {folder}/bad", f"{{folder}}/bad has no good row; row 1: {FORMS} 2"),
        (
            "ts 0 --table {folder}/mixed --strict",
            "has 1 bad rows, and --strict wants none; row 2: a row has 3 f",
        ),
        (
            "ts 0 --table {folder}/table --host 203.0.113.9 --allow 0.0.0.0/0",
            "is not an address of thi",
        ),
    ],
)
def test_a_bad_configuration_is_one_line_and_exit_code_2(
    command: Command, folder: Path, words: str, said: str
) -> None:
    code, out, log = command(*words.format(folder=folder).split(), "--check")
    assert (code, out, log.count("\n")) == (2, "", 1), log
    assert log.startswith("photofinish: ") and said.format(folder=folder) in log, log


def test_a_race_log_that_may_not_be_written_is_told(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the answer of the system is played."""
    asked: list[tuple[object, int]] = []

    def access(path: object, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)
    for name in "races", "new":
        path = folder / name
        code, out, log = command(
            "ls", "0", "127.0.0.1", "1", *SAMPLED.split(), f"{path}", "--check"
        )
        assert (code, out) == (2, "")
        assert log == f"photofinish: cannot write {path}: permission denied\n"
    assert asked == [(f"{folder / 'races'}", os.W_OK), (folder, os.W_OK | os.X_OK)]


@openssl
def test_a_check_reads_the_files_of_tls(command: Command) -> None:
    """DNS by TLS is served alone, so that options of DNS are for it; a resolver is asked by TLS."""
    good = authority().issue("dns.example", "192.0.2.53")
    words = ["--dns-upstream", "quad9=tls://9.9.9.9#dns.quad9.net", "--tls-ca", authority().file]
    words += ["--dns-tls", "0", "--dns-ttl", "5", "--dns-timeout", "3", "--check"]
    code, out, log = command("ls", *words, "--tls-cert", good.certificate, "--tls-key", good.key)
    assert (code, log) == (0, "")
    assert out.startswith(
        f"{GOOD}race, quad9 tls://9.9.9.9:853#dns.quad9.net, dns-tls with a certificate for "
        "dns.example, 192.0.2.53 until 20"
    )


@openssl
def test_a_check_finds_what_is_wrong_with_files_of_tls(command: Command) -> None:
    good, ended = authority().issue("a.example"), self_signed("a.example", ends_in_days=-1)
    other = authority().issue("b.example", has_own_key=True)
    resolver = ["--dns-upstream", "tls://192.0.2.1"]
    for words, said in (
        (
            ["--dns-tls", "0", "--tls-cert", ended.certificate, "--tls-key", ended.key],
            " ended on 2",
        ),
        (["--dns-tls", "0", "--tls-cert", good.certificate, "--tls-key", other.key], "cannot use"),
        (
            ["--dns-tls", "0", "--tls-cert", "/none", "--tls-key", good.key],
            "-cert /none: no such f",
        ),
        (["--tls-ca", good.key], f"cannot use --tls-ca {good.key}: "),
        (["--tls-ca", "/none"], "cannot read --tls-ca /none: no such file or directory"),
    ):
        code, out, log = command("ls", "0", *resolver, *words, "--check")
        assert (code, out, log.count("\n")) == (2, "", 1) and said in log, log


TIERS = (
    "1 worker, tiers, TS1 localhost:5301 in tier 1, TS2 localhost:5302 in tier 1, "
    "router 192.168.1.1:53 in tier 3, quad9 tls://9.9.9.9:853#dns.quad9.net in tier 2, "
    "cloudflare tls://1.1.1.1:853#cloudflare-dns.com in tier 2, 1 route"
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "photofinish",
            "2 workers, race, TS1 localhost:5301, TS2 localhost:5302, home 192.0.2.53:53",
        ),
        ("photofinish-home", TIERS),
    ],
)
def test_the_example_of_a_file_is_good(command: Command, name: str, found: str) -> None:
    path = ROOT / "examples" / f"{name}.toml"
    assert command("ls", "--config", str(path), "--check") == (0, f"{GOOD}{found}\n", "")
