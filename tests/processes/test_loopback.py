"""The fault matrix over real processes: each row of A, B, C and E that is marked L, by its number.

The TSs that misbehave are sockets of the test (`Impostor`); LS, the other TSs and the clients are
the real programs. Rows that `tests/processes/test_system.py` shows already stand there, with their
numbers.
"""

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    PATIENCE_S,
    TRACEBACK,
    Program,
    Programs,
    Talk,
    programs,
    wait_for,
)

pytestmark = pytest.mark.process

X = b"x.example 10.0.0.1 A IN"
RESET = struct.pack("ii", 1, 0)


class Impostor:
    """A TS whose every word is the test's. `meet` waits for LS to dial."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE_S)
        self.port = self.server.getsockname()[1]

    def meet(self) -> Talk:
        return Talk.accepted(self.server)


@pytest.fixture(scope="module")
def x_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A TS that has x.example, for the tests that leave it alone."""
    with programs(tmp_path_factory.mktemp("x")) as some:
        yield some.ts(some.table("x", "x.example 10.0.0.1"))[1]


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    some = Impostor()
    yield some
    some.server.close()


def alone(run: Programs, impostor: Impostor, timeout: float) -> tuple[Program, int, Talk]:
    """Start LS with an impostor only; return it, its port, and the link."""
    ls, port = run.ls([impostor.port], "--timeout", timeout)
    return ls, port, impostor.meet()


# -- A. table servers ------------------------------------------------------------------------------


def test_a1_a2_a5_a10_a11_a_link_is_reset_in_mid_answer(run: Programs, impostor: Impostor) -> None:
    """LS asks again once what is open, and answers in plenty are one reply."""
    ls, port, link = alone(run, impostor, 20.0)
    client = Talk(port)
    client.say(b"x.example\ny.example\n")
    assert link.hear(2) == [b"x.example", b"y.example"]
    link.say(b"y.example 10.0.0.2 A IN\nx.exa")
    assert client.hear(1) == [b"y.example 10.0.0.2 A IN"]
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    link.close()
    ls.logs("TS1 is down")
    link = impostor.meet()
    assert link.hear(1) == [b"x.example"] and link.is_silent()
    link.say((X + b"\n") * 3)
    client.say(b"QUIT\n")
    assert client.rest() == X + b"\nBYE\n"


def test_a17_a_ts_that_floods_keeps_nobody_from_an_answer(
    run: Programs, impostor: Impostor, x_port: int
) -> None:
    """Lines that are legal and answer nothing, as fast as LS reads them."""
    _, port = run.ls([impostor.port, x_port], "--timeout", 20)
    link = impostor.meet()
    link.socket.setblocking(False)
    flood = memoryview(b"x.example - TIMED OUT\n" * 50_000)
    sent = 0
    client = Talk(port)
    for _ in range(200):
        for _ in range(4):
            try:
                sent += link.socket.send(flood[sent % 22 :][: 1 << 16])
            except OSError:  # full, or closed for it
                break
        assert client.ask(b"x.example") == X


# -- B. clients ------------------------------------------------------------------------------------


def test_b5_b6_b7_b17_c4_clients_and_signals_come_and_go(run: Programs, x_port: int) -> None:
    """SIGCHLD and SIGWINCH wake nobody; select goes on waiting (PEP 475)."""
    ls, port = run.ls([x_port], "--timeout", 20)
    before = ls.descriptors()
    for data in (b"", b"".join(b"unknown%d.com\n" % n for n in range(100))):
        ls.signal(signal.SIGCONT if data else signal.SIGSTOP)
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(data)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    for _ in range(3_000):
        socket.create_connection(("127.0.0.1", port)).close()
    wait_for(lambda: ls.descriptors() == before, "descriptors as before")
    talk = Talk(port)
    for n in range(10_000):
        ls.signal(signal.SIGWINCH if n % 2 else signal.SIGCHLD)
        if n % 500 == 0:
            assert talk.ask(b"x.example") == X
    assert TRACEBACK not in ls.log


# -- C. the process and its system -----------------------------------------------------------------


def test_b12_out_of_descriptors_is_a_rest_and_no_spin(run: Programs) -> None:
    """From another cause than clients: the limit becomes lower while the server runs."""
    ts, port = run.ts(run.table("x", "x.example 10.0.0.1"))
    _, hard = resource.prlimit(ts.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(ts.process.pid, resource.RLIMIT_NOFILE, (64, hard))
    talks = [Talk(port) for _ in range(200)]
    ts.logs("cannot accept: too many open files")
    stat = Path(f"/proc/{ts.process.pid}/stat")
    used = sum(map(int, stat.read_text().split()[13:15]))
    time.sleep(0.5)  # this half second's work is what is measured
    assert sum(map(int, stat.read_text().split()[13:15])) - used < 10  # of its 50 ticks
    assert ts.log.count("cannot accept") == 1
    for talk in talks[:150]:
        talk.close()
    assert talks[199].ask(b"x.example") == X


def test_c6_c7_signals_and_a_stop_change_no_timeout(run: Programs, impostor: Impostor) -> None:
    """After the stop, what can be read wins."""
    ls, port, link = alone(run, impostor, 0.5)
    client = Talk(port)
    began = time.monotonic()
    client.say(b"x.example\n")
    while client.is_silent() and time.monotonic() - began < 5:
        ls.signal(signal.SIGWINCH)
        time.sleep(0.001)
    assert client.hear(1) == [b"x.example - TIMED OUT"] and time.monotonic() - began >= 0.5
    client.say(b"y.example\nz.example\n")
    assert link.hear(3) == [b"x.example", b"y.example", b"z.example"]
    ls.signal(signal.SIGSTOP)
    link.say(b"y.example 10.0.0.2 A IN\n")
    time.sleep(0.7)  # past the timeout, which is what is to be shown
    ls.signal(signal.SIGCONT)
    assert client.hear(2) == [b"y.example 10.0.0.2 A IN", b"z.example - TIMED OUT"]


# -- E. tables -------------------------------------------------------------------------------------


def version(number: int, count: int) -> list[str]:
    return [f"n{n}.example {number}.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count)]


def told(lines: list[bytes]) -> list[int]:
    """Tell of which version each answer is. Raises ValueError for what is no answer of any."""
    versions = []
    for line in lines:
        name, address, *rest = line.split(b" ")
        n = int(name.removeprefix(b"n").removesuffix(b".example"))
        number, *place = map(int, address.split(b"."))
        if place != [n >> 16, n >> 8 & 255, n & 255] or rest != [b"A", b"IN"]:
            raise ValueError(line)
        versions.append(number)
    return versions


def test_e5_tables_that_change_give_old_answers_or_new_ones(run: Programs) -> None:
    """[P25]: through LS, several clients at once; nobody loses an answer, and the links stay."""
    count = 2_000
    table = run.table("some", *version(0, count))
    ts, ts_port = run.ts(table)
    ls, port = run.ls([ts_port], "--timeout", 60)
    talks = [Talk(port) for _ in range(4)]
    heard: list[list[int]] = [[] for _ in talks]
    for number in range(1, 5):  # of lines that are alike the log shows five
        run.replace(table, *version(number, count))
        ts.signal(signal.SIGHUP)
        while ts.log.count(" reloaded: ") < number:
            for talk in talks:
                talk.say(b"".join(b"n%d.example\n" % n for n in range(0, count, 20)))
            for talk, versions in zip(talks, heard, strict=True):
                versions += told(talk.hear(count // 20))
    for talk, versions in zip(talks, heard, strict=True):
        assert versions == sorted(versions) and set(versions) <= set(range(5))
        talk.say(b"n7.example\nQUIT\n")
        assert talk.rest() == b"n7.example 4.0.0.7 A IN\nBYE\n"
    assert "is down" not in ls.log and "WARNING" not in ts.log


def test_e6_a_refused_file_changes_nothing_and_says_why(run: Programs) -> None:
    """[P26]"""
    table = run.table("x", "x.example 10.0.0.1")
    ts, port = run.ts(table, 0, "--strict")
    talk = Talk(port)
    assert talk.ask(b"x.example") == X
    before = ts.descriptors()

    def refuses(why: str) -> None:
        ts.signal(signal.SIGHUP)
        ts.logs(f"ERROR {table} is refused: {why}; the old table stays in use")
        talk.say(b"x.example\ny.example\n")
        assert talk.hear(1) == [X]

    table.unlink()
    refuses("no such file or directory")
    os.mkfifo(table)  # nobody writes to it
    refuses("it is not a regular file")
    table.unlink()
    run.table("x", "y.example 10.0.0.1", "x.example 10.0.0")
    why = "row 2: the address is not an IPv4 address"
    refuses(f"it has a bad row, and --strict wants none; {why}")
    talk.say(b"STATS\n")
    told = list(iter(lambda: talk.hear(1)[0], b"END"))
    assert b"STAT reloads 0" in told and b"STAT reloads_refused 3" in told
    assert ts.descriptors() == before
    run.replace(table, "x.example 10.0.0.2")
    ts.signal(signal.SIGHUP)
    ts.logs(" reloaded: ")
    assert talk.ask(b"x.example") == b"x.example 10.0.0.2 A IN"
