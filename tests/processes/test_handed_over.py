"""Sockets that a service manager hands over: LS listens at them, alone and with workers.

The manager is the test: it opens sockets, puts them where systemd would, and says so in the
environment (man 3 sd_listen_fds). systemd's own tool is in `tests/tools/test_service.py`.

Not here: opening sockets of one's own (`tests/nodes/test_listening.py`).
"""

import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Program, Programs, exchange, wait_for

pytestmark = pytest.mark.process

ANSWER = b"n1.example 10.0.0.1 A IN"
QUERY = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02n1\x07example\x00\x00\x01\x00\x01"
FIRST = 3
_MANAGER = """\
import os, sys
count, names = int(sys.argv[1]), sys.argv[2]
os.environ |= {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "nodes", *sys.argv[3:]])
"""


class Handed:
    """Sockets that are handed over."""

    def __init__(self) -> None:
        self.sockets: list[tuple[str, socket.socket]] = []

    def open(
        self, name: str, kind: int, family: int = socket.AF_INET, *, v6_only: bool = True
    ) -> int:
        """Open one at a loopback address; return its port."""
        opened = socket.socket(family, kind)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
        opened.bind(
            ("127.0.0.1" if family == socket.AF_INET else "::" if not v6_only else "::1", 0)
        )
        if kind == socket.SOCK_STREAM:
            opened.listen(64)
        self.sockets.append((name, opened))
        port: int = opened.getsockname()[1]
        return port

    def start(self, run: Programs, *words: object) -> Program:
        """Start a program that gets them."""
        names = ":".join(name for name, _ in self.sockets)

        def put() -> None:
            high = [os.dup(each.fileno()) for _, each in self.sockets]
            for number, fd in enumerate(high):
                os.dup2(fd, FIRST + number, inheritable=True)

        return run.start(
            *(len(self.sockets), names, *words),
            python=("-c", _MANAGER),
            before=put,
            close_fds=False,
        )


@pytest.fixture
def handed() -> Iterator[Handed]:
    some = Handed()
    yield some
    for _, each in some.sockets:
        each.close()


@pytest.fixture
def ts_port(run: Programs) -> int:
    return run.ts(run.table("t", "n1.example 10.0.0.1"))[1]


def ask(port: int, host: str = "127.0.0.1", family: int = socket.AF_INET) -> bytes:
    """Ask by DNS over UDP; return the address in the reply."""
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect((host, port))
        client.send(QUERY)
        reply = client.recv(4096)
        assert reply[:2] == QUERY[:2] and not reply[3] & 15
        return reply[-4:]


@pytest.mark.parametrize("workers", [0, 2])
def test_all_kinds_of_sockets_are_listened_at(
    run: Programs, handed: Handed, ts_port: int, workers: int
) -> None:
    """[P80]: lines, DNS of both kinds and families, and the status page; PORT is not needed."""
    lines = handed.open("lines", socket.SOCK_STREAM)
    handed.open("dns", socket.SOCK_STREAM)
    dns = handed.open("dns", socket.SOCK_DGRAM)
    dns_v6 = handed.open("dns", socket.SOCK_DGRAM, socket.AF_INET6)
    page = handed.open("metrics", socket.SOCK_STREAM)
    words = ["--workers", workers] if workers else []
    ls = handed.start(run, "ls", "127.0.0.1", ts_port, *words)
    assert ls.port() == lines
    for _ in range(8):
        assert exchange(lines, [b"n1.example\nQUIT\n"]) == [ANSWER + b"\nBYE\n"]
        assert ask(dns) == ask(dns_v6, "::1", socket.AF_INET6) == bytes([10, 0, 0, 1])
    for number in range(FIRST, FIRST + len(handed.sockets)):  # no program that LS starts gets them
        flags = Path(f"/proc/{ls.process.pid}/fdinfo/{number}").read_text().split("flags:")[1]
        assert int(flags.split()[0], 8) & os.O_CLOEXEC
    got = exchange(page, [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    assert b"200 OK" in got[0]
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_who_comes_while_it_is_started_anew_is_served(
    run: Programs, handed: Handed, ts_port: int
) -> None:
    """The sockets are the manager's: what waits in them is lost with no program."""
    dns = handed.open("dns", socket.SOCK_DGRAM)
    lines = handed.open("lines", socket.SOCK_STREAM)
    first = handed.start(run, "ls", "127.0.0.1", ts_port)
    first.logs("TS1 is up")
    first.kill()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        socket.create_connection(("127.0.0.1", lines), timeout=20) as talk,
    ):
        client.settimeout(20)
        client.connect(("127.0.0.1", dns))
        client.send(QUERY)
        talk.sendall(b"n1.example\n")
        handed.start(run, "ls", "127.0.0.1", ts_port)
        assert client.recv(4096)[-4:] == bytes([10, 0, 0, 1])
        assert talk.recv(100) == ANSWER + b"\n"


def test_workers_share_them_and_a_killed_one_loses_nobody(
    run: Programs, handed: Handed, ts_port: int
) -> None:
    dns = handed.open("dns", socket.SOCK_DGRAM)
    ls = handed.start(run, "ls", "127.0.0.1", ts_port, "--workers", 2)
    ls.logs(" is up: process ", 2)
    for _ in range(3):
        count = ls.log.count(" is up: process ")
        numbers = re.findall(r" is up: process (\d+)", ls.log)
        os.kill(int(numbers[-1]), signal.SIGKILL)
        for _ in range(20):
            assert ask(dns) == bytes([10, 0, 0, 1])
        wait_for(lambda: ls.log.count(" is up: process ") > count, "it is started again")  # noqa: B023


@pytest.mark.parametrize(
    ("opened", "words", "why"),
    [
        ([("web", socket.SOCK_STREAM, 4)], (), "has a name of no use: FileDescriptorName= has to"),
        ([("lines", socket.SOCK_DGRAM, 4)], (), "is for datagrams: its unit needs ListenStream="),
        ([("dns", socket.SOCK_DGRAM, 46)], (), "takes IPv4, too; its unit needs BindIPv6Only="),
        ([("dns", socket.SOCK_DGRAM, 4)], ("--once",), "--once serves one session of lines"),
        ([], (), "no PORT: say where to listen"),
    ],
)
def test_a_socket_of_no_use_is_one_line(
    run: Programs,
    handed: Handed,
    ts_port: int,
    opened: Sequence[tuple[str, int, int]],
    words: Sequence[str],
    why: str,
) -> None:
    """[P80]"""
    for name, kind, family in opened:
        is_v6 = family == 46
        handed.open(name, kind, socket.AF_INET6 if is_v6 else socket.AF_INET, v6_only=not is_v6)
    ls = handed.start(run, "ls", "127.0.0.1", ts_port, *words)
    assert ls.exits() == 2
    assert ls.log.count("\n") == 1 and why in ls.log


def test_a_wildcard_that_is_handed_over_needs_allow(
    run: Programs, handed: Handed, ts_port: int
) -> None:
    """[P79]"""
    opened = socket.create_server(("0.0.0.0", 0))
    handed.sockets.append(("lines", opened))
    ls = handed.start(run, "ls", "127.0.0.1", ts_port)
    assert ls.exits() == 2 and "is open to other machines: say with --allow" in ls.log
    ls = handed.start(run, "ls", "127.0.0.1", ts_port, "--allow", "127.0.0.0/8")
    assert ls.port() == opened.getsockname()[1]


def test_what_is_meant_for_another_process_is_left_alone(run: Programs, ts_port: int) -> None:
    told = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "lines"}
    ls = run.start("ls", "0", "127.0.0.1", ts_port, environment=told)
    assert exchange(ls.port(), [b"n1.example\nQUIT\n"]) == [ANSWER + b"\nBYE\n"]


def test_the_words_of_the_example_start_with_its_sockets(run: Programs, handed: Handed) -> None:
    """As they stand, and with those for a network."""
    example = (ROOT / "examples/photofinish-dns.service").read_text()
    found = re.search(r"ARGUMENTS=(ls --dns-upstream .*)", example)
    allow = re.search(r"this machine included:\n# (.*)\.", example)
    assert found is not None and allow is not None
    for family in (socket.AF_INET, socket.AF_INET6):
        handed.open("dns", socket.SOCK_DGRAM, family)
        handed.open("dns", socket.SOCK_STREAM, family)
    for words in (found[1].split(), [*found[1].split(), *allow[1].split()]):
        ls = handed.start(run, *words)
        assert ls.process.stdout is not None
        assert "ls ready on " in ls.process.stdout.readline(), ls.log
        ls.signal(signal.SIGTERM)
        assert ls.exits() == 0
