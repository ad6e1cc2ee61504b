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
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.processes import (
    PATIENCE_S,
    Program,
    Programs,
    Talk,
    exchange,
    free_port,
    programs,
    stats,
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


def facing(
    run: Programs, impostor: Impostor, x_port: int, *words: object
) -> tuple[Program, int, Talk]:
    """Start LS between an impostor (TS1) and the real TS that has x.example; return LS, its port,
    the link."""
    ls, ls_port = run.ls([impostor.port, x_port], "--timeout", 20, *words)
    return ls, ls_port, impostor.meet()


def alone(run: Programs, impostor: Impostor, timeout: float) -> tuple[Program, int, Talk]:
    """Start LS with an impostor only."""
    ls, port = run.ls([impostor.port], "--timeout", timeout)
    return ls, port, impostor.meet()


def ask(port: int, *names: bytes) -> Talk:
    talk = Talk(port)
    talk.say(b"".join(name + b"\n" for name in names))
    return talk


# -- A. table servers ------------------------------------------------------------------------------


def test_a1_a_ts_is_reset_with_a_question_in_flight(
    run: Programs, impostor: Impostor, x_port: int
) -> None:
    _, port, link = facing(run, impostor, x_port)
    client = ask(port, b"x.example")
    assert link.hear(1) == [b"x.example"]
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    link.close()
    assert client.hear(1) == [X]


def test_a2_a_ts_ends_in_mid_answer(run: Programs, impostor: Impostor) -> None:
    ls, port, link = alone(run, impostor, 0.3)
    client = ask(port, b"www.google.com", b"QUIT")
    link.hear(1)
    link.say(b"www.goo")
    link.close()
    assert client.rest() == b"www.google.com - TIMED OUT\nBYE\n"
    ls.logs("TS1 is down")


def test_a5_a_ts_that_returns_in_time_is_asked_again_once(
    run: Programs, impostor: Impostor
) -> None:
    _, port, link = alone(run, impostor, 20.0)
    client = ask(port, b"x.example", b"y.example")
    assert link.hear(2) == [b"x.example", b"y.example"]
    link.say(b"y.example 10.0.0.2 A IN\n")
    assert client.hear(1) == [b"y.example 10.0.0.2 A IN"]
    link.close()
    link = impostor.meet()
    assert link.hear(1) == [b"x.example"] and link.is_silent()
    link.say(X + b"\n" + X + b"\n")
    client.say(b"QUIT\n")
    assert client.rest() == X + b"\nBYE\n"


def test_a9_a_late_answer_is_not_the_next_questions(run: Programs, impostor: Impostor) -> None:
    """The bug of the first system."""
    _, port, link = alone(run, impostor, 0.3)
    client = ask(port, b"x.example")
    assert client.hear(1) == [b"x.example - TIMED OUT"]
    client.say(b"y.example\nQUIT\n")
    assert link.hear(2) == [b"x.example", b"y.example"]
    link.say(X + b"\n")
    assert client.rest() == b"y.example - TIMED OUT\nBYE\n"


def test_a10_a11_answers_in_plenty_are_one_reply(
    run: Programs, impostor: Impostor, x_port: int
) -> None:
    _, port, link = facing(run, impostor, x_port)
    for _ in range(20):
        client = ask(port, b"x.example")
        link.hear(1)
        link.say((X + b"\n") * 3)
        assert client.hear(1) == [X]
        client.say(b"QUIT\n")
        assert client.rest() == b"BYE\n"


@pytest.mark.parametrize(
    ("row", "junk"),
    [
        ("a13", b"y.example 10.0.0.2 A IN\n" * 150),
        ("a15", b"\x1b[2J\n" * 16),
        ("a16", b"z" * 1_000_000),
    ],
)
def test_a13_a15_a16_a_ts_that_talks_nonsense_is_redialled(
    run: Programs, impostor: Impostor, x_port: int, row: str, junk: bytes
) -> None:
    ls, port, link = facing(run, impostor, x_port)
    client = ask(port, b"never.example", b"x.example")
    assert client.hear(1) == [X]
    try:
        link.say(junk)
    except OSError:
        assert row == "a16", "only the long one may be cut short"
    ls.logs("TS1 is down")
    again = impostor.meet()
    assert again.hear(1) == [b"never.example"]
    again.say(b"never.example 10.0.0.3 A IN\n")
    assert client.hear(1) == [b"never.example 10.0.0.3 A IN"]


def test_a17_a_ts_that_floods_keeps_nobody_from_an_answer(
    run: Programs, impostor: Impostor, x_port: int
) -> None:
    """Lines that are legal and answer nothing, as fast as LS reads them."""
    _, port, link = facing(run, impostor, x_port)
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


def test_a18_a_ts_that_reads_nothing_keeps_nobody(
    run: Programs, impostor: Impostor, x_port: int
) -> None:
    impostor.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ls, port, _ = facing(run, impostor, x_port, "--timeout", 60, "--bound", "held_s=0.2")
    label = b"z" * 60
    names = b"".join(b"%d.%b.%b.%b\n" % (n, label, label, label) for n in range(60_000))
    talk = Talk(port)
    talk.socket.setblocking(False)
    unsent = memoryview(names)

    def stalled() -> bool:
        """Ask on, as far as LS reads, until it gives that TS up."""
        nonlocal unsent
        with suppress(BlockingIOError):
            unsent = unsent[talk.socket.send(unsent[: 1 << 18]) :]
        return "TS1 is stalled" in ls.log

    wait_for(stalled, "the TS that does not read holds nobody up any more")
    assert Talk(port).ask(b"x.example") == X


def test_a19_a_ts_that_accepts_and_closes_costs_little(run: Programs, impostor: Impostor) -> None:
    ls, _, link = alone(run, impostor, 0.3)
    began = time.monotonic()
    for _ in range(5):
        link.close()
        link = impostor.meet()
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.4  # the waits double
    assert ls.log.count("is up") >= 2


def test_a21_a_ts_that_is_not_there_is_dialled_until_it_is(run: Programs) -> None:
    dead = free_port()
    ls, port = run.ls([dead], "--timeout", 20, linked=False)
    ls.logs("TS1 is down (connection refused)")
    client = ask(port, b"x.example")
    run.ts(run.table("x", "x.example 10.0.0.1"), dead)
    assert client.hear(1) == [X]
    assert ls.log.count("is down") == 1


# -- B. clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"QUIT\n", b""])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_b1_b2_b4_every_reply_and_then_a_clean_end(
    run: Programs, impostor: Impostor, count: int, end: bytes
) -> None:
    _, port, link = alone(run, impostor, 20.0)
    names = [b"n%d.example" % n for n in range(count)]
    client = Talk(port)
    client.say(
        b"".join(name + b"\n" for name in names) + end + (b"junk after\n" * 5000 if end else b"")
    )
    if not end:
        client.end()
    link.hear(count)
    link.say(b"".join(name + b" 10.0.0.1 A IN\n" for name in names))
    expected = b"".join(name + b" 10.0.0.1 A IN\n" for name in names)
    assert client.rest() == expected + (b"BYE\n" if end else b"")


def test_b7_connections_reset_before_they_are_accepted(run: Programs) -> None:
    ts, port = run.ts(run.table("x", "x.example 10.0.0.1"))
    ts.signal(signal.SIGSTOP)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    ts.signal(signal.SIGCONT)
    assert Talk(port).ask(b"x.example") == X


def test_b9_one_who_never_reads_costs_little_and_keeps_nobody(run: Programs, x_port: int) -> None:
    ls, port = run.ls([x_port], "--timeout", 20)
    assert Talk(port).ask(b"x.example") == X
    before = ls.peak_mb()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    deaf.setblocking(False)
    data, sent, since = b"x.example\n" * 50_000, 0, time.monotonic()
    while time.monotonic() - since < 0.5:  # half a second without a byte taken: LS reads no more
        try:
            sent += deaf.send(data)
            since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    assert Talk(port).ask(b"x.example") == X
    assert ls.peak_mb() - before < 8
    deaf.close()


def test_b13_many_at_once_for_one_name_cost_one_line(run: Programs, impostor: Impostor) -> None:
    ls, port = run.ls([impostor.port], "--timeout", 20, "--wire-log")
    link = impostor.meet()
    clients = [ask(port, b"x.example") for _ in range(100)]
    assert link.hear(1) == [b"x.example"]
    for number in range(1, 101):
        ls.logs(f"> client-{number} x.example")
    link.say(X + b"\n")
    assert [client.hear(1) for client in clients] == [[X]] * 100
    assert ls.log.count("< TS1 x.example") <= 2  # twice if that took over a second


def test_b15_a_hundred_thousand_names_in_one_write(run: Programs) -> None:
    _, ts_port = run.ts(run.table("x", *(f"n{n}.example 10.0.0.1" for n in range(1000))))
    _, port = run.ls([ts_port], "--timeout", 60)
    names = b"".join(b"n%d.example\n" % (n % 1000) for n in range(100_000))
    got, other = exchange(port, [names + b"QUIT\n", b"n1.example\nQUIT\n"])
    assert got.count(b"\n") == 100_001 and got.endswith(b"\nBYE\n")
    assert other == b"n1.example 10.0.0.1 A IN\nBYE\n"


def test_b17_thousands_come_and_go_and_leave_no_descriptor(run: Programs) -> None:
    ts, port = run.ts(run.table("x", "x.example 10.0.0.1"))
    before = ts.descriptors()
    for _ in range(3_000):
        socket.create_connection(("127.0.0.1", port)).close()
    wait_for(lambda: ts.descriptors() == before, "descriptors as before")
    assert Talk(port).ask(b"x.example") == X


@pytest.mark.parametrize(
    "hello", [b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20, os.urandom(4000)]
)
def test_b19_another_protocol_is_told_so_and_ended(x_port: int, hello: bytes) -> None:
    talk = Talk(x_port)
    talk.say(hello + b"\n\xff" * 40)
    lines = talk.rest().split(b"\n")
    assert lines[-2:] == [b"BYE", b""] and len(lines) >= 18
    assert Talk(x_port).ask(b"x.example") == X


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


def test_c4_ten_thousand_idle_signals_change_nothing(run: Programs) -> None:
    """SIGCHLD and SIGWINCH wake nobody; select goes on waiting (PEP 475)."""
    ts, port = run.ts(run.table("x", "x.example 10.0.0.1"))
    talk = Talk(port)
    for n in range(10_000):
        ts.signal(signal.SIGWINCH if n % 2 else signal.SIGCHLD)
        if n % 500 == 0:
            assert talk.ask(b"x.example") == X
    assert "Traceback" not in ts.log


def test_c6_interrupted_system_calls_under_load(run: Programs, impostor: Impostor) -> None:
    ls, port, _ = alone(run, impostor, 0.5)
    began = time.monotonic()
    client = ask(port, b"x.example", b"QUIT")
    while client.is_silent() and time.monotonic() - began < 5:
        ls.signal(signal.SIGWINCH)
        time.sleep(0.001)
    assert client.rest() == b"x.example - TIMED OUT\nBYE\n"
    assert time.monotonic() - began >= 0.5


def test_c7_after_a_stop_what_can_be_read_wins(run: Programs, impostor: Impostor) -> None:
    ls, port, link = alone(run, impostor, 0.5)
    client = ask(port, b"x.example", b"y.example")
    assert link.hear(2) == [b"x.example", b"y.example"]
    ls.signal(signal.SIGSTOP)
    link.say(X + b"\n")
    time.sleep(0.7)  # past the timeout, which is what is to be shown
    ls.signal(signal.SIGCONT)
    assert client.hear(2) == [X, b"y.example - TIMED OUT"]
    client.say(b"QUIT\n")
    assert client.rest() == b"BYE\n"


@pytest.mark.parametrize(("kind", "is_broken"), [("ts", True), ("ls", False)])
def test_c13_a_log_that_nobody_reads_stops_nothing(
    run: Programs, x_port: int, kind: str, is_broken: bool
) -> None:
    """Lines are dropped whole, also where the reader has gone."""
    reading, writing = os.pipe()
    table = run.table("x", "x.example 10.0.0.1")
    words = {"ts": ("--table", table), "ls": ("127.0.0.1", x_port)}[kind]
    server = run.start(kind, 0, *words, "--wire-log", stderr=writing)
    os.close(writing)
    port = server.port()
    (got,) = exchange(port, [b"x.example\n" * 20_000 + b"QUIT\n"])
    assert got == (X + b"\n") * 20_000 + b"BYE\n"
    assert int(stats(port)["log_dropped"]) > 0
    if is_broken:
        os.close(reading)
    assert Talk(port).ask(b"x.example") == X
    server.signal(signal.SIGTERM)
    assert server.exits() == 0
    if not is_broken:
        assert b"".join(iter(lambda: os.read(reading, 1 << 16), b"")).endswith(b"\n")
        os.close(reading)


def test_c17_a_host_is_reached_by_the_address_that_serves(run: Programs, x_port: int) -> None:
    """`localhost` is ::1 first on many machines, and the TS listens on 127.0.0.1."""
    ls = run.start("ls", 0, "localhost", x_port, "--timeout", 20)
    port = ls.port()
    ls.logs("TS1 is up")
    code, out, _ = run.run("client", "localhost", port, "x.example")
    assert (code, out) == (0, X.decode() + "\n")


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


@pytest.mark.parametrize("way", ["renamed", "written in place"])
def test_e4_a_large_table_is_read_anew_while_one_asks(run: Programs, way: str) -> None:
    """[P25]: each answer is wholly of one table, and none is of the old one after a new one."""
    count = 30_000
    table = run.table("large", *version(1, count))
    ts, port = run.ts(table)
    talk = Talk(port)
    if way == "renamed":
        run.replace(table, *version(2, count))
    else:
        run.table("large", *version(2, count))
    ts.signal(signal.SIGHUP)
    versions: list[int] = []
    while " reloaded: " not in ts.log:
        n = len(versions) * 7919 % count
        talk.say(b"n%d.example\n" % n)
        (line,) = talk.hear(1)
        assert line.startswith(b"n%d.example " % n)
        versions += told([line])
    assert versions == sorted(versions) and set(versions) <= {1, 2}
    talk.say(b"".join(b"n%d.example\n" % n for n in range(0, count, 100)))
    assert set(told(talk.hear(count // 100))) == {2}
    assert f"{table} reloaded: {count} rows in " in ts.log
    talk.say(b"STATS\n")
    assert b"STAT reloads 1" in iter(lambda: talk.hear(1)[0], b"END")


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


def test_e5_thousands_of_hangups_end_with_the_last_table(run: Programs) -> None:
    table = run.table("some", *version(0, 200))
    ts, port = run.ts(table)
    talk = Talk(port)
    for number in range(1, 201):
        run.replace(table, *version(number, 200))
        for _ in range(10):
            ts.signal(signal.SIGHUP)
        if number % 20 == 0:
            talk.say(b"n7.example\n")
            assert 0 <= told(talk.hear(1))[0] <= number

    def is_last() -> bool:
        talk.say(b"n7.example\n")
        return told(talk.hear(1)) == [200]

    wait_for(is_last, "the last table is served")


def test_e6_a_refused_file_changes_nothing_and_says_why(run: Programs) -> None:
    """[P26]"""
    table = run.table("x", "x.example 10.0.0.1")
    ts, port = run.ts(table, 0, "--strict")
    talk = ask(port, b"x.example")
    assert talk.hear(1) == [X]
    before = ts.descriptors()

    def refuses(why: str) -> None:
        ts.signal(signal.SIGHUP)
        ts.logs(f"ERROR {table} is refused: {why}; the old table stays in use")
        talk.say(b"x.example\ny.example\n")
        assert talk.hear(1) == [X]

    table.unlink()
    refuses("no such file or directory")
    table.mkdir()
    refuses("it is not a regular file")
    table.rmdir()
    table.write_bytes(b"\x7fELF\0\1\2\n" * 100_000)
    refuses("it is no text file")
    table.write_bytes(b"")
    refuses("it is empty, as if it were being written; write a comment into it if that is meant")
    run.table("x", "y.example 10.0.0.1", "x.example 10.0.0")
    refuses(f"{table}:2: the address is not an IPv4 address, and --strict wants no bad row")
    talk.say(b"STATS\n")
    told = list(iter(lambda: talk.hear(1)[0], b"END"))
    assert b"STAT reloads 0" in told and b"STAT reloads_refused 5" in told
    assert ts.descriptors() == before
    run.replace(table, "x.example 10.0.0.2")
    ts.signal(signal.SIGHUP)
    ts.logs(" reloaded: ")
    assert talk.ask(b"x.example") == b"x.example 10.0.0.2 A IN"


def test_e6_a_pipe_that_nobody_writes_to_keeps_nobody_waiting(run: Programs) -> None:
    """[P26]"""
    table = run.table("x", "x.example 10.0.0.1")
    ts, port = run.ts(table)
    table.unlink()
    os.mkfifo(table)
    ts.signal(signal.SIGHUP)
    talk = ask(port, b"x.example")
    assert talk.hear(1) == [X]
    ts.logs(f"ERROR {table} is refused: it is not a regular file")
    ts.signal(signal.SIGTERM)
    assert talk.rest() == b"BYE\n"
