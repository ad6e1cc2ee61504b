"""The whole system: real processes, real sockets, short timeouts.

The issue's author and a user would try these by hand. Times are asserted only where they are the
promise, and then with the promise's own slack.
"""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    ROOT,
    Program,
    Programs,
    Talk,
    exchange,
    free_port,
    need_descriptors,
    programs,
    wait_for,
)

pytestmark = pytest.mark.process

ROWS_1 = ("amazon.com 94.5.6.7", "rutgers.edu 172.34.4.6")
ROWS_2 = ("www.princeton.edu 128.1.1.4", "GOOGLE.com 46.1.3.7")
NAMES = ["www.princeton.edu", "rutgers.edu", "nothinghere.com", "google.com", "www.google.com"]
REPLIES = (
    "www.princeton.edu 128.1.1.4 A IN\nrutgers.edu 172.34.4.6 A IN\nnothinghere.com - TIMED OUT\n"
    "GOOGLE.com 46.1.3.7 A IN\nwww.google.com - TIMED OUT\n"
)
ANSWER = b"rutgers.edu 172.34.4.6 A IN"


@pytest.fixture(scope="module")
def ts_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Two TSs, for the tests that leave them alone."""
    with programs(tmp_path_factory.mktemp("ts")) as some:
        tables = some.table("ts1", *ROWS_1), some.table("ts2", *ROWS_2)
        yield [some.ts(table)[1] for table in tables]


# -- words that it must show -----------------------------------------------------------------------


def test_five_names_take_one_timeout_and_with_once_all_leave(run: Programs) -> None:
    """Two unknown names wait at the same time, not one after the other."""
    tables = run.table("ts1", *ROWS_1), run.table("ts2", *ROWS_2)
    servers, ports = zip(*(run.ts(table, 0, "--once") for table in tables), strict=True)
    ls, port = run.ls(list(ports), "--timeout", 0.5, "--once", "--wire-log")
    (run.folder / "names").write_text("\n".join(NAMES) + "\n")
    out = run.folder / "out"
    code, printed, log = run.run(
        "client", "localhost", port, "--names", run.folder / "names", "--out", out
    )
    assert (code, printed, out.read_text()) == (0, "", REPLIES)
    assert re.match(r"5 names: 3 answered, 2 timed out, 0 bad, 0 lost, \d+\.\d s", log), log
    assert [program.exits() for program in (ls, *servers)] == [0, 0, 0]
    assert " < TS1 rutgers.edu" in ls.log and " > TS1 rutgers.edu 172" in ls.log
    before, _, _ = ls.log.partition("TIMED OUT")
    assert " < TS1 nothinghere.com" in before and " < TS1 www.google.com" in before
    assert " = link TS1 CATCHING_UP -> UP" in ls.log
    ended = "answered 3, timed_out 2, not_found 0, no_data 0, failed 0, dropped 0"
    assert f"asked 5, {ended}" in ls.log


def test_b1_b2_b4_quit_through_a_pipe_a_half_close_and_typing(
    run: Programs, ts_ports: list[int]
) -> None:
    for port in (run.ls(ts_ports)[1], ts_ports[0]):
        for junk in (b"", b"junk after\n" * 5_000):
            quitting = Talk(port)
            quitting.say(b"rutgers.edu\n" * 1_000 + b"QUIT\n" + junk)
            assert quitting.rest() == (ANSWER + b"\n") * 1_000 + b"BYE\n"
        ending = Talk(port)
        ending.say(b"rutgers.edu\n")
        ending.end()
        assert ending.rest() == ANSWER + b"\n"
        typing = Talk(port)
        for byte in b"rutgers.edu\r\n":
            typing.say(bytes([byte]))
        assert typing.hear(1) == [ANSWER]


def test_b15_sixteen_clients_that_ask_at_once_get_every_reply(run: Programs) -> None:
    """The circle of backpressure. SYSTEM_NAMES=1000000 is the size that once stood still."""
    each = int(os.environ.get("SYSTEM_NAMES", "160000")) // 16
    rows = [f"host{n}.example 10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(each)]
    _, port_1 = run.ts(run.table("even", *rows[::2]))
    _, port_2 = run.ts(run.table("odd", *rows[1::2]))
    _, port = run.ls([port_1, port_2], "--timeout", 60)
    names = [row.split()[0].encode() for row in rows]
    shifted = [b"\n".join(names[k * each // 16 :] + names[: k * each // 16]) for k in range(16)]
    expected = sorted(f"{row} A IN".encode() for row in rows)
    for got in exchange(port, [data + b"\nQUIT\n" for data in shifted]):
        *lines, bye, _ = got.split(b"\n")
        assert bye == b"BYE" and sorted(lines) == expected


def test_a21_a24_ls_asks_servers_that_come_later_than_itself(run: Programs) -> None:
    port_1 = free_port()
    ls, port = run.ls([port_1], "--timeout", 20, linked=False)
    ls.logs("TS1 is unreachable (connection refused)")
    talk = Talk(port)
    talk.say(b"rutgers.edu\n")
    ts, _ = run.ts(run.table("ts1", *ROWS_1), port_1)
    assert talk.hear(1) == [ANSWER]
    ts.kill()
    ls.logs("TS1 is unreachable", 2)
    talk.say(b"amazon.com\n")
    run.ts(run.table("ts1", *ROWS_1), port_1)
    assert talk.hear(1) == [b"amazon.com 94.5.6.7 A IN"]


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_c1_c3_a_signal_lets_everyone_have_what_it_is_owed(
    run: Programs, ts_ports: list[int], number: signal.Signals
) -> None:
    """A client that never reads keeps nobody."""
    ls, port = run.ls(ts_ports, "--timeout", 0.5, "--bound", "drain_grace_s=0.2", "--wire-log")
    asking, idle, deaf = Talk(port), Talk(port), Talk(port)
    deaf.say(b"rutgers.edu\n" * 1_000)
    asking.say(b"unknown.com\n")
    ls.logs("> client-1 unknown.com")
    ls.logs("client-2 is")
    ls.signal(number)
    assert idle.rest() == b"BYE\n"
    assert asking.rest() == b"unknown.com - TIMED OUT\nBYE\n"
    idle.close()
    asking.close()
    assert ls.exits() == 0
    with pytest.raises(ConnectionRefusedError):
        Talk(port)


def test_c2_a_second_signal_ends_it_at_once(run: Programs, ts_ports: list[int]) -> None:
    ls, port = run.ls(ts_ports, "--timeout", 20.0, "--wire-log")
    talk = Talk(port)
    talk.say(b"unknown.com\n")
    ls.logs("> client-1 unknown.com")
    ls.signal(signal.SIGTERM)
    ls.logs("server SERVING -> DRAINING")
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None])
def test_a_signal_or_the_end_of_ls_ends_the_client(
    run: Programs, ts_ports: list[int], number: signal.Signals | None
) -> None:
    """The answers so far are kept; SIGHUP comes from a terminal that is closed."""
    ls, port = run.ls(ts_ports, "--timeout", 60.0)
    out = run.folder / "out"
    client = run.start("client", "127.0.0.1", port, "rutgers.edu", "nowhere.com", "--out", out)
    wait_for(lambda: out.exists() and out.read_text(), "the first answer")
    if number is None:
        ls.kill()
    else:
        client.signal(number)
    assert client.exits() == 1
    assert out.read_text() == f"{ANSWER.decode()}\nnowhere.com - LOST\n"


def children(program: Program) -> list[str]:
    """Return the processes that one has started and not waited for."""
    pid = program.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_c17_a_hangup_has_ls_look_up_and_keeps_nobody_waiting(
    run: Programs, ts_ports: list[int]
) -> None:
    port_1 = ts_ports[0]
    ls = run.start("ls", 0, "localhost", port_1, "127.0.0.1", port_1, "--timeout", 20)
    talk = Talk(ls.port())
    ls.logs(" is up", 2)
    assert talk.ask(b"rutgers.edu") == ANSWER
    before = ls.descriptors()
    for times in range(1, 3):
        ls.signal(signal.SIGHUP)
        assert talk.ask(b"rutgers.edu") == ANSWER
        ls.logs("TS1 has the same address as before", times)
        ls.logs("TS2 has the same address as before", times)
    wait_for(lambda: not children(ls), "the processes that looked up are gone")
    wait_for(lambda: ls.descriptors() == before, "descriptors as before")
    most = 0
    for _ in range(200):
        ls.signal(signal.SIGHUP)
        most = max(most, len(children(ls)))
    wait_for(lambda: not children(ls), "the last lookup")
    assert most <= 2 + 2, "two that are done may not be reaped yet"
    talk.say(b"rutgers.edu\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"
    assert "is down" not in ls.log


# -- a service manager -----------------------------------------------------------------------------


class Manager:
    """A service manager's socket, and what it hears there (man 3 sd_notify)."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def hears(self, standing: str) -> int:
        """Check that the next thing that it is told is this; return when it was, by the monotonic
        clock."""
        lines = self.socket.recv(4096).decode().splitlines()
        assert lines[0] == f"{standing}=1", lines
        told = dict(line.split("=", 1) for line in lines)
        return int(told["MONOTONIC_USEC"])


def server(run: Programs, kind: str, ts_port: int, **how: object) -> Program:
    """Start a TS, or an LS before this one."""
    if kind == "ts":
        return run.start("ts", 0, "--table", run.table("ts1", *ROWS_1), **how)
    workers = ("--workers", 2) if kind == "workers" else ()
    return run.start("ls", 0, "localhost", ts_port, *workers, **how)


@pytest.mark.parametrize("kind", ["ts", "ls", "workers"])
@pytest.mark.parametrize("place", ["in a folder", "abstract"])
def test_a_service_manager_is_told_how_a_server_stands(
    run: Programs, ts_ports: list[int], kind: str, place: str
) -> None:
    name = f"@photofinish-{os.getpid()}-{kind}"
    if place == "in a folder":
        name = str(run.folder / "notify")
    manager = Manager(name)
    with manager.socket:
        began = time.monotonic_ns() // 1000
        program = server(run, kind, ts_ports[0], environment={"NOTIFY_SOCKET": name})
        times = [began, manager.hears("READY")]
        Talk(program.port()).close()
        for _ in range(2):
            times.append(time.monotonic_ns() // 1000)
            program.signal(signal.SIGHUP)
            times += [manager.hears("RELOADING"), manager.hears("READY")]
        times.append(time.monotonic_ns() // 1000)
        program.signal(signal.SIGTERM)
        times += [manager.hears("STOPPING"), time.monotonic_ns() // 1000]
        assert program.exits() == 0
        assert times == sorted(times)
        assert not select.select([manager.socket], [], [], 0)[0], "nothing more"


def test_a_service_manager_that_is_not_there_changes_nothing(run: Programs) -> None:
    never_read = Manager(str(run.folder / "never read"))
    taken = run.folder / "taken"
    taken.write_text("no socket")
    for name in (
        "", "@", "@nobody", str(run.folder / "none"), str(taken), "relative", "/" + "x" * 200,
        "vsock:2:1", "\udcff", str(run.folder / "never read"),
    ):  # fmt: skip
        ts = server(run, "ts", 0, environment={"NOTIFY_SOCKET": name})
        talk = Talk(ts.port())
        for _ in range(20 if "never" in name else 1):
            ts.signal(signal.SIGHUP)
            assert talk.ask(b"rutgers.edu") == ANSWER, name
        ts.logs(" reloaded: ")
        ts.signal(signal.SIGTERM)
        assert talk.rest() == b"BYE\n"
        talk.close()
        assert ts.exits() == 0
    never_read.socket.close()


# -- the client ------------------------------------------------------------------------------------


def test_the_client_reads_stdin_and_flags_stand_anywhere(
    run: Programs, ts_ports: list[int]
) -> None:
    _, port = run.ls(ts_ports, "--timeout", 0.3)
    for words in ((), ("--names", "-")):
        client = run.start("client", *words, "127.0.0.1", port, stdin=subprocess.PIPE)
        out, _ = client.process.communicate("rutgers.edu\namazon.com\n", timeout=30)
        assert out == "rutgers.edu 172.34.4.6 A IN\namazon.com 94.5.6.7 A IN\n"
    code, out, _ = run.run("client", "127.0.0.1", "--patience", 5, port, "rutgers.edu")
    assert (code, out) == (0, "rutgers.edu 172.34.4.6 A IN\n")


def test_a_silent_server_is_given_up_after_the_patience(run: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        code, out, log = run.run("client", "127.0.0.1", port, "a", "--patience", 0.3)
    assert (code, out) == (1, "a - LOST\n")
    assert "has sent no reply for 0.3 s" in log


def test_c13_an_output_that_is_full_or_closed_or_slow(run: Programs, ts_ports: list[int]) -> None:
    _, port = run.ls(ts_ports, "--timeout", 0.3)
    names = run.folder / "names"
    names.write_text("rutgers.edu\n" * 20_000)
    code, _, log = run.run("client", "127.0.0.1", port, "--names", names, "--out", "/dev/full")
    assert code == 1 and "cannot write the output: no space left on device" in log
    closed = run.start("client", "127.0.0.1", port, "--names", names)
    assert closed.process.stdout is not None
    closed.process.stdout.close()
    assert closed.process.wait(30) == 1 and "cannot write the output: broken pipe" in closed.log
    slow = run.start("client", "127.0.0.1", port, "--names", names)
    slow.logs("20000 answered")
    assert slow.output() == "rutgers.edu 172.34.4.6 A IN\n" * 20_000


def test_c13_standard_streams_may_be_closed_or_full(run: Programs) -> None:
    nodes = f"{sys.executable} -m nodes"
    for command, code, said in (
        (f"{nodes} client 127.0.0.1 1 <&-", 0, "0 names"),
        (f"{nodes} client 127.0.0.1 1 a 2>&-", 1, ""),
        (f"{nodes} client 127.0.0.1 1 a >&-", 1, "cannot write the output: bad file descriptor"),
        (f"{nodes} demo >&-", 1, "cannot write the output: bad file descriptor"),
        (f"{nodes} ts 0 --table nowhere 2>/dev/full", 1, ""),
    ):
        done = subprocess.run(
            ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (code, "" if code == 0 else done.stdout), command
        assert said in done.stderr and "Traceback" not in done.stderr, command


# -- clients that may connect, and how it is started -----------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_the_system_runs_over_ipv6(run: Programs) -> None:
    ts = run.start("ts", 0, "--table", run.table("ts1", *ROWS_1), "--host", "::1")
    ls = run.start("ls", 0, "::1", ts.port(), "--host", "::1")
    port = ls.port()
    ls.logs("TS1 is up")
    code, out, _ = run.run("client", "::1", port, "rutgers.edu")
    assert (code, out) == (0, ANSWER.decode() + "\n")


def test_c9_a23_a27_what_cannot_start_says_why(run: Programs) -> None:
    """As processes; `tests/nodes/test_programs.py` has the rest."""
    port = free_port()
    for words, code, said in (
        (("ls", port, "127.0.0.1", port), 2, "this load balancer's own address"),
        (("ls", 0, "a..b", 1), 2, "'a..b' is not a host name"),
        (("ls", 0, "127.0.0.1", 1, "--bound", "descriptors_max=4"), 1, "4 descriptors are too few"),
        (("ts", 0, "--table", run.folder), 1, "is a directory"),
        (("client", "127.0.0.1"), 2, "required: LS_PORT"),
        ((), 2, "say which program to run"),
    ):
        got, out, log = run.run(*words)
        assert (got, out) == (code, "") and said in log and log.count("\n") == 1, (words, log)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("ts", {"ts", "status_page"}),
        ("client", {"client"}),
        ("top", {"top"}),
        ("replay", {"replay", "ls", "dns"}),
    ],
)
def test_a_program_imports_nothing_of_the_others(name: str, folders: set[str]) -> None:
    """Imports are most of the time that a program takes to start."""
    code = f"import sys; from nodes.cli.programs import program; program({name!r}); "
    code += "print(*{name.split('.')[1] for name in sys.modules if name.startswith('nodes.')})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert set(done.stdout.split()) == {"cli", *folders}, done.stderr


def test_e4_a_million_rows_load(run: Programs) -> None:
    table = run.folder / "million"
    with table.open("w") as file:
        file.writelines(
            f"host{n}.example 10.{n >> 16}.{n >> 8 & 255}.{n & 255} A\n" for n in range(1_000_000)
        )
    ts, port = run.ts(table)
    talk = Talk(port)
    talk.say(b"HOST0.example\nhost999999.example\nQUIT\n")
    assert talk.rest() == b"host0.example 10.0.0.0 A IN\nhost999999.example 10.15.66.63 A IN\nBYE\n"
    assert "1000000 rows" in ts.log


def test_b11_above_the_bound_clients_are_told_busy(run: Programs) -> None:
    need_descriptors(2_000)
    _, port = run.ts(run.table("ts1", *ROWS_1))
    talks = [Talk(port) for _ in range(1_100)]
    for talk in talks[:992]:
        talk.say(b"rutgers.edu\n")
    assert all(talk.hear(1) == [ANSWER] for talk in talks[:992])
    assert all(talk.rest() == b"- ERROR BUSY\n" for talk in talks[992:])
    for talk in talks[:10]:
        talk.say(b"QUIT\n")
        assert talk.rest() == b"BYE\n"
        talk.close()
    again = Talk(port)
    assert again.ask(b"rutgers.edu") == ANSWER
    for talk in talks[10:]:
        talk.close()
