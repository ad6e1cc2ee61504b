"""The whole system: real processes, real sockets, short timeouts.

The issue's author and a user would try these by hand. Times are asserted only where they are the
promise, and then with the promise's own slack.
"""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.processes import (
    PATIENCE_S,
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
from tests.support.splitting import pieces

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


@pytest.fixture(scope="module")
def standing(
    tmp_path_factory: pytest.TempPathFactory, ts_ports: list[int]
) -> Iterator[tuple[int, int]]:
    """A system that several tests share: ports of LS and of TS1."""
    with programs(tmp_path_factory.mktemp("standing")) as some:
        ls, port = some.ls(ts_ports, "--timeout", 0.4)
        yield port, ts_ports[0]
        assert ls.log.count("is down") == 0


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
    ended = "answered 3, not found 0, no data 0, failed 0, timed out 2, dropped 0, pending 0"
    assert f"asked 5, {ended}" in ls.log


def test_a_known_name_does_not_wait_behind_unknown_ones(run: Programs, ts_ports: list[int]) -> None:
    _, port = run.ls(ts_ports, "--timeout", 20.0)
    talk = Talk(port)
    talk.say(b"".join(b"unknown%d.com\n" % n for n in range(1000)) + b"rutgers.edu\n")
    assert talk.hear(1) == [ANSWER]
    assert talk.is_silent()


@pytest.mark.parametrize("server", [0, 1], ids=["LS", "TS"])
def test_quit_through_a_pipe_a_half_close_and_typing(
    standing: tuple[int, int], server: int
) -> None:
    port = standing[server]
    quitting = Talk(port)
    quitting.say(b"rutgers.edu\nQUIT\n")
    assert quitting.rest() == ANSWER + b"\nBYE\n"
    ending = Talk(port)
    ending.say(b"rutgers.edu\n")
    ending.end()
    assert ending.rest() == ANSWER + b"\n"
    typing = Talk(port)
    for byte in b"rutgers.edu\r\n":
        typing.say(bytes([byte]))
    assert typing.hear(1) == [ANSWER]
    typing.close()


def test_quit_with_questions_in_flight_loses_no_reply(standing: tuple[int, int]) -> None:
    names = [b"rutgers.edu" if n % 2 else b"unknown%d.com" % n for n in range(10_000)]
    (got,) = exchange(standing[0], [b"\n".join(names) + b"\nQUIT\n"])
    *lines, bye, end = got.split(b"\n")
    assert (bye, end) == (b"BYE", b"")
    expected = [ANSWER if n % 2 else names[n] + b" - TIMED OUT" for n in range(10_000)]
    assert Counter(lines) == Counter(expected)


def test_sixteen_clients_that_ask_at_once_get_every_reply(run: Programs) -> None:
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


def test_names_that_spell_commands_are_names_on_every_hop(standing: tuple[int, int]) -> None:
    talk = Talk(standing[0])
    talk.say(b"QUIT.\nquit\nPING.\n")
    assert sorted(talk.hear(3)) == [b"PING - TIMED OUT", b"QUIT - TIMED OUT", b"quit - TIMED OUT"]
    talk.say(b"rutgers.edu\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"


BAD_INPUT = {
    "D1": (b"x" * 10_000_000 + b"\n", b"TOOLONG"),
    "D2": (b"x" * 513 + b"\r\n", b"TOOLONG"),
    "D2b": (b"x" * 512 + b"\r\n", b"BADNAME"),
    "D3": (b"rutgers.edu\0\n", b"BADNAME"),
    "D4": (b"\xff\xfe\n", b"BADNAME"),
    "D5": (b"caf\xe9.fr\n", b"BADNAME"),
    "D6": (b"a\rb\n", b"BADNAME"),
    "D6b": (b"a\r\r\n", b"BADNAME"),
    "D7": (b"a\vb\f\x1c\x85\n", b"BADNAME"),
    "D8": ("a\u2028b\n".encode(), b"BADNAME"),
    "D9": (b"a..b\n", b"BADNAME"),
    "D9b": (b".\n", b"BADNAME"),
    "D10": (b"QUIT \n", b"BADNAME"),
    "D10b": (b"PING \n", b"BADNAME"),
    "D11": ("\u212a.com\n".encode(), b"BADNAME"),
    "D12": (b"x - TIMED OUT\n", b"BADNAME"),
    "D13": (b"\x1b[2J\n", b"BADNAME"),
}


@pytest.mark.parametrize("server", [0, 1], ids=["LS", "TS"])
def test_d1_d2_d3_d4_d5_d6_d7_d8_d9_d10_d11_d12_d13_refused(
    standing: tuple[int, int], server: int
) -> None:
    talk = Talk(standing[server])
    for row, (data, code) in BAD_INPUT.items():
        talk.say(data + b"rutgers.edu\n")
        assert talk.hear(2) == [b"- ERROR " + code, ANSWER], row
    talk.say(b"rutgers.ed")
    talk.end()
    assert talk.rest() == b"- ERROR UNFINISHED\n"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([b"rutgers.edu", b"GOOGLE.com.", b"two words", b"amazon.com", b""]),
        max_size=9,
    ),
    st.lists(st.integers(1, 120), max_size=9, unique=True).map(sorted),
)
def test_any_split_of_the_writes_gives_the_same_replies(
    standing: tuple[int, int], lines: list[bytes], cut: list[int]
) -> None:
    replies = {
        b"rutgers.edu": [ANSWER],
        b"GOOGLE.com.": [b"GOOGLE.com 46.1.3.7 A IN"],
        b"amazon.com": [b"amazon.com 94.5.6.7 A IN"],
        b"two words": [b"- ERROR BADNAME"],
        b"": [],
    }
    data = b"\r\n".join([*lines, b"QUIT\r\n"])
    talk = Talk(standing[0])
    talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces(data, [at for at in cut if at < len(data)]):
        talk.say(piece)
    *got, bye, _ = talk.rest().split(b"\n")
    assert bye == b"BYE"
    assert Counter(got) == Counter(reply for line in lines for reply in replies[line])


# -- servers that come and go ----------------------------------------------------------------------


def test_a24_ls_asks_servers_that_come_later_than_itself(run: Programs) -> None:
    port_1 = free_port()
    ls, port = run.ls([port_1], "--timeout", 20, linked=False)
    ls.logs("TS1 is down")
    talk = Talk(port)
    talk.say(b"rutgers.edu\n")
    ts, _ = run.ts(run.table("ts1", *ROWS_1), port_1)
    assert talk.hear(1) == [ANSWER]
    ts.kill()
    ls.logs("TS1 is down", 2)
    talk.say(b"amazon.com\n")
    run.ts(run.table("ts1", *ROWS_1), port_1)
    assert talk.hear(1) == [b"amazon.com 94.5.6.7 A IN"]


def test_a22_with_nobody_there_a_dial_never_meets_itself(run: Programs) -> None:
    """The kernel gives a dial to a free local port that very port now and then: never an answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = free.getsockname()[1]
    _, port = run.ls([dead], "--timeout", 0.3, linked=False)
    talk = Talk(port)
    talk.say(b"rutgers.edu\nQUIT\n")
    assert talk.rest() == b"rutgers.edu - TIMED OUT\nBYE\n"


def test_b5_b6_clients_that_vanish_are_not_missed(standing: tuple[int, int]) -> None:
    reset = struct.pack("ii", 1, 0)
    for _ in range(50):
        talk = Talk(standing[0])
        talk.say(b"".join(b"unknown%d.com\n" % n for n in range(100)))
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        talk.close()
    talk = Talk(standing[0])
    talk.say(b"rutgers.edu\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_c1_a_signal_lets_everyone_have_what_it_is_owed(
    run: Programs, ts_ports: list[int], number: signal.Signals
) -> None:
    ls, port = run.ls(ts_ports, "--timeout", 0.5, "--wire-log")
    asking, idle = Talk(port), Talk(port)
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


def test_c3_a_client_that_never_reads_does_not_keep_a_drain(
    run: Programs, ts_ports: list[int]
) -> None:
    ls, port = run.ls(ts_ports, "--timeout", 0.3, "--bound", "drain_grace_s=0.2")
    talk = Talk(port)
    talk.say(b"rutgers.edu\n" * 1000)
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_table_server_drains_too(run: Programs) -> None:
    ts, port = run.ts(run.table("ts1", *ROWS_1))
    talk = Talk(port)
    assert talk.ask(b"rutgers.edu") == ANSWER
    ts.signal(signal.SIGTERM)
    assert talk.rest() == b"BYE\n"
    talk.close()
    assert ts.exits() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_client_with_what_arrived(
    run: Programs, ts_ports: list[int], number: signal.Signals
) -> None:
    """SIGHUP too: its terminal is gone."""
    _, port = run.ls(ts_ports, "--timeout", 60.0)
    out = run.folder / "out"
    client = run.start("client", "127.0.0.1", port, "rutgers.edu", "nowhere.com", "--out", out)
    wait_for(lambda: out.exists() and out.read_text(), "the first answer")
    client.signal(number)
    assert client.exits() == 1
    assert out.read_text() == f"{ANSWER.decode()}\nnowhere.com - LOST\n"


def children(program: Program) -> list[str]:
    """Return the processes that one has started and not waited for."""
    pid = program.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_hangup_has_ls_look_up_and_keeps_nobody_waiting(
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


ELSEWHERE = """
import sys
from core.io.system import System
from nodes.cli.programs import main
looked_up = System.look_up
port = int(sys.argv.pop(1))
System.look_up = lambda self, host, _: looked_up(self, host, port)
sys.exit(main(sys.argv[1:]))
"""


def test_a_hangup_has_ls_find_a_server_that_has_moved(run: Programs) -> None:
    """[P13]: LS as it is, but for what a name says when it is looked up again: another port, for
    want of another machine."""
    ts, port = run.ts(run.table("old", "rutgers.edu 10.0.0.1", "amazon.com 10.0.0.1"))
    _, port_elsewhere = run.ts(run.table("new", *ROWS_1, "late.com 10.0.0.2"))
    ls = run.start(
        port_elsewhere, "ls", 0, "localhost", port, "--timeout", 60, python=("-c", ELSEWHERE)
    )
    talk = Talk(ls.port())
    ls.logs("TS1 is up")
    talk.say(b"late.com\nrutgers.edu\n")
    assert talk.hear(1) == [b"rutgers.edu 10.0.0.1 A IN"]
    ls.signal(signal.SIGHUP)
    assert talk.hear(1) == [b"late.com 10.0.0.2 A IN"]
    assert "TS1 is down (it has moved); dialling it again" in ls.log
    talk.say(b"rutgers.edu\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"
    ts.kill()
    assert ls.log.count("is down") == 1


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
    return run.start("ls", 0, "localhost", ts_port, **how)


@pytest.mark.parametrize("kind", ["ts", "ls"])
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


@pytest.mark.parametrize("kind", ["ts", "ls"])
def test_a_service_manager_that_is_not_there_changes_nothing(
    run: Programs, ts_ports: list[int], kind: str
) -> None:
    never_read = Manager(str(run.folder / "never read"))
    taken = run.folder / "taken"
    taken.write_text("no socket")
    names = [
        "", "@", "@nobody", str(run.folder / "none"), str(taken), "relative", "/" + "x" * 200,
        "vsock:2:1", "\udcff", str(run.folder / "never read"),
    ]  # fmt: skip
    for name in names if kind == "ts" else names[-3:]:
        program = server(run, kind, ts_ports[0], environment={"NOTIFY_SOCKET": name})
        talk = Talk(program.port())
        if kind == "ls":
            program.logs("TS1 is up")
        for _ in range(20 if "never" in name else 1):
            program.signal(signal.SIGHUP)
            assert talk.ask(b"rutgers.edu") == ANSWER, name
        program.logs(" reloaded: " if kind == "ts" else "has the same address as before")
        program.signal(signal.SIGTERM)
        assert talk.rest() == b"BYE\n"
        talk.close()
        assert program.exits() == 0
    never_read.socket.close()


# -- the client ------------------------------------------------------------------------------------


def test_the_client_reads_crlf_a_mark_duplicates_and_bad_names(
    run: Programs, ts_ports: list[int]
) -> None:
    _, port = run.ls(ts_ports, "--timeout", 0.3)
    data = b"\xef\xbb\xbfRUTGERS.edu.\r\n\r\nbad name\r\nrutgers.edu\nNoWhere\ncaf\xe9\nQUIT\nquit."
    (run.folder / "names").write_bytes(data)
    code, out, log = run.run("client", "127.0.0.1", port, "--names", run.folder / "names")
    assert code == 0
    assert out == (
        "rutgers.edu 172.34.4.6 A IN\nbad name - ERROR BADNAME\nrutgers.edu 172.34.4.6 A IN\n"
        "NoWhere - TIMED OUT\ncaf\\xe9 - ERROR BADNAME\nQUIT - TIMED OUT\nquit. - TIMED OUT\n"
    )
    assert log.startswith("7 names: 2 answered, 3 timed out, 2 bad, 0 lost")


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


def test_without_a_server_every_name_is_lost(run: Programs) -> None:
    port = free_port()
    code, out, log = run.run("client", "127.0.0.1", port, "a", "b")
    assert (code, out) == (1, "a - LOST\nb - LOST\n")
    assert log.splitlines()[0] == f"no connection to LS at 127.0.0.1:{port}: connection refused"


def test_when_ls_dies_what_arrived_is_kept(run: Programs, ts_ports: list[int]) -> None:
    ls, port = run.ls(ts_ports, "--timeout", 20.0)
    (run.folder / "names").write_text("rutgers.edu\nunknown.com\namazon.com\n")
    out = run.folder / "out"
    client = run.start("client", "127.0.0.1", port, "--names", run.folder / "names", "--out", out)
    wait_for(lambda: out.exists() and out.read_text(), "the first answer")
    ls.kill()
    assert client.exits() == 1
    lines = out.read_text().splitlines()
    assert lines[:2] == [ANSWER.decode(), "unknown.com - LOST"]
    assert lines[2] in ("amazon.com 94.5.6.7 A IN", "amazon.com - LOST")


def test_a_silent_server_is_given_up_after_the_patience(run: Programs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        code, out, log = run.run("client", "127.0.0.1", port, "a", "--patience", 0.3)
    assert (code, out) == (1, "a - LOST\n")
    assert "has sent no reply for 0.3 s" in log


def test_a_server_that_only_says_pong_is_given_up_as_well(run: Programs) -> None:
    """[P63]: it never stops; the client's time does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        words = ("127.0.0.1", server.getsockname()[1], "a", "--patience", 0.3)
        client = run.start("client", *words)
        talk, _ = server.accept()
        with talk, suppress(OSError):
            talk.settimeout(PATIENCE_S)
            while True:
                talk.sendall(b"PONG\n")
        assert (client.exits(), client.output()) == (1, "a - LOST\n")
    assert "has sent no reply for 0.3 s" in client.log


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
        (f"{nodes} ts 0 --table nowhere 2>/dev/full", 1, ""),
    ):
        done = subprocess.run(
            ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (code, "" if code == 0 else done.stdout), command
        assert said in done.stderr and "Traceback" not in done.stderr, command


# -- clients that may connect, and how it is started -----------------------------------------------


def test_other_machines_may_connect_only_when_it_is_said_who(run: Programs) -> None:
    table = run.table("ts1", *ROWS_1)
    _, port = run.ts(table, 0, "--host", "0.0.0.0", "--allow", "10.0.0.0/8", "--allow", "::1/128")
    refused = Talk(port)
    with pytest.raises(ConnectionResetError):
        refused.say(b"rutgers.edu\n")
        if refused.rest() == b"":
            raise ConnectionResetError
    _, port = run.ts(table, 0, "--host", "0.0.0.0", "--allow", "127.0.0.0/8")
    allowed = Talk(port)
    assert allowed.ask(b"rutgers.edu") == ANSWER


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
    [("ts", {"ts"}), ("client", {"client"}), ("replay", {"replay", "ls", "dns"})],
)
def test_a_program_imports_nothing_of_the_others(name: str, folders: set[str]) -> None:
    """Imports are most of the time that a program takes to start."""
    code = f"import sys; from nodes.cli.programs import program; program({name!r}); "
    code += "print(*{name.split('.')[1] for name in sys.modules if name.startswith('nodes.')})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert set(done.stdout.split()) == {"cli", *folders}, done.stderr


BROKEN = """
import sys
from nodes.cli.programs import main
from nodes.ts.table_server import TableServer
TableServer.step = lambda self, event, now: [][0]
sys.exit(main(sys.argv[1:]))
"""


def test_a_server_with_a_bug_ends_with_exit_code_70(run: Programs) -> None:
    ts = run.start("ts", 0, "--table", run.table("ts1", *ROWS_1), python=("-c", BROKEN))
    assert ts.process.wait(PATIENCE_S) == 70
    assert "Traceback" in ts.log and ts.log.endswith("IndexError: list index out of range\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", " has no rows: every name is unknown"),
        ("# nobody is blocked\n", " has no rows: every name is unknown"),
        ("rutgers.edu 172.34.4.6 A\nbad row\n", ":2: a row has 3 fields"),
    ],
)
def test_a_table_that_may_be_a_mistake_is_served_and_told(
    run: Programs, text: str, said: str
) -> None:
    table = run.folder / "table"
    table.write_text(text)
    ts, port = run.ts(table, 0, "--answer-unknown")
    assert f"{table}{said}" in ts.log
    talk = Talk(port)
    talk.say(b"a\nQUIT\n")
    assert talk.rest() == b"a - NOT FOUND\nBYE\n"
    talk.close()


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


def test_a_bound_that_is_set_takes_hold_and_is_counted(run: Programs, ts_ports: list[int]) -> None:
    ls, port = run.ls(ts_ports[:1], "--bound", "clients_max=1", "--bound", "errors_in_a_row_max=2")
    one, two = Talk(port), Talk(port)
    assert two.rest() == b"- ERROR BUSY\n"
    one.say(b"?\n?\n")
    assert one.rest() == b"- ERROR BADNAME\n- ERROR BADNAME\nBYE\n"
    one.close()
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
    assert "bounds that took hold: clients_max 1, errors_in_a_row_max 1" in ls.log


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
