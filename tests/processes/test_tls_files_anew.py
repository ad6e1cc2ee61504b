"""`ls --dns-tls`: that DNS is served by TLS alone, alone and with workers, and that a certificate
which is renewed is shown from a SIGHUP on; where it is no good, all stays as it was.

Not here: how DNS is spoken within (`tests/processes/test_dns_loopback.py`), and the lines for files
that are no good at the start (`tests/nodes/test_tls_files.py`).
"""

import os
import re
import shutil
import signal
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes.test_handed_over import QUERY, Handed
from tests.processes.test_handed_over import handed as handed  # a fixture
from tests.support.certificates import Issued, authority, openssl
from tests.support.processes import PATIENCE_S, Program, Programs, wait_for

pytestmark = [pytest.mark.process, openssl]

NAME = "dns.example"
ALONE: list[str] = []
WORKERS = ["--workers", "2"]


class Told(NamedTuple):
    """An address in the reply to a query, and the number of the certificate that was shown."""

    address: bytes
    serial: str


def ask(port: int) -> Told:
    """Ask by TLS, of the name that the certificate is for."""
    context = ssl.create_default_context(cafile=authority().file)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as stream,
    ):
        stream.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
        with stream.makefile("rb") as replies:
            reply = replies.read(int.from_bytes(replies.read(2), "big"))
        assert reply[:2] == QUERY[:2] and not reply[3] & 15
        shown = stream.getpeercert()
    assert shown is not None
    return Told(reply[-4:], str(shown["serialNumber"]))


class Files:
    """A certificate and its key, which are renewed in place."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.words = ("--tls-cert", self.certificate, "--tls-key", self.key)
        self.put(authority().issue(NAME))

    def put(self, issued: Issued) -> None:
        shutil.copy(issued.certificate, self.certificate)
        shutil.copy(issued.key, self.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def ts_port(run: Programs) -> int:
    return run.ts(run.table("t", "n1.example 10.0.0.1"))[1]


def dns_by_tls(run: Programs, ts_port: int, files: Files, *words: object) -> tuple[Program, int]:
    """Start an LS that serves nothing but DNS by TLS."""
    ls = run.start("ls", f"127.0.0.1:{ts_port}", "--dns-tls", 0, *files.words, *words)
    port = ls.port()
    ls.logs("TS1 is up", 2 if words else 1)
    return ls, port


@pytest.mark.parametrize("words", [ALONE, WORKERS], ids=["alone", "workers"])
def test_dns_by_tls_is_served_with_nothing_beside_it(
    run: Programs, ts_port: int, files: Files, words: list[str]
) -> None:
    ls, port = dns_by_tls(run, ts_port, files, *words)
    assert ls.listener("DNS over TLS") == port
    assert ask(port).address == bytes([10, 0, 0, 1])
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_socket_for_tls_is_handed_over(
    run: Programs, handed: Handed, ts_port: int, files: Files
) -> None:
    """[P80]: with a certificate, and a key, for it."""
    port = handed.open("dns-tls", socket.SOCK_STREAM)
    ls = handed.start(run, "ls", "127.0.0.1", ts_port)
    assert ls.exits() == 2
    assert "the socket 'dns-tls' that was handed over needs --tls-cert FILE and --tl" in ls.log
    ls = handed.start(run, "ls", "127.0.0.1", ts_port, *files.words)
    assert ls.port() == port and ask(port).address == bytes([10, 0, 0, 1])


@pytest.mark.parametrize("words", [ALONE, WORKERS], ids=["alone", "workers"])
def test_a_renewed_certificate_is_shown_after_a_hangup(
    run: Programs, ts_port: int, files: Files, words: list[str]
) -> None:
    """By a worker that is started after it, too: the parent has read the files."""
    ls, port = dns_by_tls(run, ts_port, files, *words)
    old = ask(port).serial
    files.put(authority().issue(NAME, has_own_key=True))
    assert ask(port).serial == old
    ls.signal(signal.SIGHUP)
    wait_for(lambda: {ask(port).serial for _ in range(8)} & {old} == set(), "the new certificate")
    for pid in re.findall(r" is up: process (\d+)", ls.log):
        os.kill(int(pid), signal.SIGKILL)
    if words:
        ls.logs(" is up: process ", 4)
    assert old not in {ask(port).serial for _ in range(8)}


@pytest.mark.parametrize("words", [ALONE, WORKERS], ids=["alone", "workers"])
def test_a_certificate_that_is_no_good_changes_nothing(
    run: Programs, ts_port: int, files: Files, words: list[str]
) -> None:
    """[P78]"""
    ls, port = dns_by_tls(run, ts_port, files, *words)
    old = ask(port).serial
    files.key.write_text("nothing\n")
    ls.signal(signal.SIGHUP)
    ls.logs("all stays as it was")
    assert ls.log.count("all stays as it was") == 1
    line = next(line for line in ls.log.splitlines() if "all stays as it was" in line)
    assert " LS ERROR " in line and f"{files.key}" in line
    assert {ask(port).serial for _ in range(8)} == {old}


def test_another_certificate_takes_other_workers(
    run: Programs, ts_port: int, tmp_path: Path, files: Files
) -> None:
    """[P77] [P78]: where it is may change, and where it is served may not."""
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other")
    config = tmp_path / "ls.toml"

    def write(dns_tls: object, keys: Files) -> None:
        config.write_text(
            f'servers = "127.0.0.1:{ts_port}"\ndns-tls = {dns_tls}\n'
            f'tls-cert = "{keys.certificate}"\ntls-key = "{keys.key}"\n'
        )

    write(0, files)
    ls = run.start("ls", "--config", config)
    port = ls.port()
    old = ask(port).serial
    write(0, other)
    ls.signal(signal.SIGHUP)
    ls.logs(" has ended: ")
    assert ask(port).serial != old
    write(1, other)
    ls.signal(signal.SIGHUP)
    ls.logs("--dns-tls cannot change while LS runs: restart it for that")
    assert ask(port).serial != old
