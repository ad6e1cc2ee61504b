"""Each MUST of proto.md that its sessions cannot show by themselves, shown directly.

Where only bytes matter, a session is written down here and played as those of the document are.
Where the loop matters, a real one runs in this process over loopback: the test turns it, so
nothing waits for a clock.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.brain import Brain
from core.environment import Environment
from core.io.line_buffer import LineBuffer
from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import LINES
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.support.transcript import Transcript, play, transcripts

ROWS = {b"%d.example" % n: b"%d.example 10.0.0.1 A IN\n" % n for n in range(20_000)}
TABLES = {"TS1": {b"rutgers.edu": b"rutgers.edu 172.34.4.6 A IN\n"}}


def session(text: str) -> Transcript:
    return transcripts(f"```session\n{text.strip()}\n```")[0]


def played(program: str, text: str) -> None:
    play(session(text), program, TABLES, lambda data: [data])


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte", [b"\r", b"\v", b"\f", b"\x1c", b"\x85", "\u2028".encode(), b"\0"])
def test_nothing_but_lf_ends_a_line(byte: bytes) -> None:
    """[P1]"""
    assert LineBuffer(LINE_BYTES_MAX).receive(b"a" + byte + b"b\n") == b"a" + byte + b"b\n"


def test_an_endless_line_is_not_kept() -> None:
    """[P3]"""
    buffer = LineBuffer(LINE_BYTES_MAX)
    assert buffer.receive(b"x" * 10_000_000) == b"x" * (LINE_BYTES_MAX + 1) + b"\n"
    assert len(buffer._held) <= LINE_BYTES_MAX + 2
    assert buffer.receive(b"x" * 10_000 + b"\nrutgers.edu\n") == b"rutgers.edu\n"


@pytest.mark.parametrize("name", ["a..b", ".", "-", "--", "a b", "x@y", "a" * 64, "é"])
def test_what_is_no_name_is_refused_and_the_next_line_is_read(name: str) -> None:
    """[P4]"""
    played(
        "TS1",
        f"""
nc -> TS1: (connect)
nc -> TS1: {name}
nc -> TS1: rutgers.edu
TS1 -> nc: - ERROR BADNAME
TS1 -> nc: rutgers.edu 172.34.4.6 A IN
""",
    )


def test_names_travel_in_lower_case_and_without_the_dot() -> None:
    """[P5]"""
    lines = "".join(
        f"client -> LS: {name}\nLS -> TS1: {lower}\nLS -> TS2: {lower}\n"
        for name, lower in (
            ("QUIT.", "quit"),
            ("Ping", "ping"),
            ("STATS.", "stats"),
            ("A.B", "a.b"),
        )
    )
    played("LS", "client -> LS: (connect)\n" + lines)


def test_sixteen_errors_in_a_row_end_the_session_and_fifteen_do_not() -> None:
    """[P6]"""
    bad = "client -> LS: two words\nLS -> client: - ERROR BADNAME\n"
    good = "client -> LS: x.example\nLS -> TS1: x.example\nLS -> TS2: x.example\n"
    answer = "TS1 -> LS: x.example 10.0.0.1 A IN\nLS -> client: x.example 10.0.0.1 A IN\n"
    end = "LS -> client: BYE\nLS -> client: (end)\n"
    played("LS", "client -> LS: (connect)\n" + bad * 15 + good + bad * 15 + answer)
    played("LS", "client -> LS: (connect)\n" + good + bad * 16 + answer + end)


def test_a_table_server_is_silent_about_what_it_does_not_have() -> None:
    """[P8]"""
    played("TS1", "nc -> TS1: (connect)\nnc -> TS1: nothinghere.com\nnc -> TS1: www.rutgers.edu\n")


def test_an_answer_counts_for_its_own_name_only() -> None:
    """[P10]"""
    played(
        "LS",
        """
client -> LS: (connect)
client -> LS: x.example
LS -> TS1: x.example
LS -> TS2: x.example
TS1 -> LS: y.example 10.0.0.1 A IN
TS1 -> LS: x.example.org 10.0.0.1 A IN
... 5 s
LS -> client: x.example - TIMED OUT
TS1 -> LS: x.example 10.0.0.1 A IN
""",
    )


@pytest.mark.parametrize(
    "line",
    [
        "x.example - TIMED OUT",
        "- ERROR TOOLONG",
        "BYE",
        "x.example 10.0.0.256 A IN",
        "x.example",
        "?",
    ],
)
def test_nothing_but_an_answer_ends_a_question(line: str) -> None:
    """[P11]"""
    played(
        "LS",
        f"""
client -> LS: (connect)
client -> LS: x.example
LS -> TS1: x.example
LS -> TS2: x.example
TS1 -> LS: {line}
TS2 -> LS: x.example 10.0.0.2 A IN
LS -> client: x.example 10.0.0.2 A IN
""",
    )


# -- a real loop -----------------------------------------------------------------------------------


class QuietSystem(System):
    """The real one, without the signals of the process that runs the tests."""

    def catch_signals(self) -> socket.socket:
        woken, self._waker = socket.socketpair()
        woken.setblocking(False)
        return woken


@contextmanager
def serving(brain: Brain, bounds: Bounds) -> Iterator[tuple[Loop, int]]:
    """Run this brain on a free port, in a loop that the test turns."""
    log_output = Output(2, bytes_max=0)
    system = QuietSystem()
    loop = Loop(
        system,
        bounds,
        Log("TS", log_output.append, system.wall),
        Destinations(log_output),
        line_bytes_max=LINE_BYTES_MAX,
    )
    with closing(loop):
        _, port = loop.listen((socket.AF_INET, ("127.0.0.1", 0)), LINES)[:2]
        loop.start(brain)
        assert isinstance(port, int)
        yield loop, port


def dial(port: int, kernel_bytes: int | None = None) -> socket.socket:
    """Dial as a client; `kernel_bytes` is how little the kernel is to take in for it."""
    client = socket.socket()
    if kernel_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client


def turn_until(loop: Loop, done: Callable[[], bool]) -> None:
    """Turn until something is so; many turns without it are a failure, not a wait."""
    for _ in range(20_000):
        if done():
            return
        loop.turn()
    raise AssertionError("it never came")


def drain(client: socket.socket, into: bytearray) -> bool:
    """Read what is there; return whether the stream has ended. A reset raises."""
    try:
        while data := client.recv(1 << 16):
            into += data
    except BlockingIOError:
        return False
    return True


BRISK = replace(Bounds(), sleep_s=0.001)  # a turn without anything to do is short


def test_a_client_that_does_not_read_is_not_read_and_then_gets_everything() -> None:
    """[P14]: and the other one, whom it owes nothing, is served meanwhile."""
    questions = b"".join(b"%d.example\n" % n for n in range(20_000)) * 40 + b"QUIT\n"
    with serving(TableServer(Table(ROWS), Environment(BRISK)), BRISK) as (loop, port):
        with closing(dial(port, 4096)) as slow, closing(dial(port)) as other:
            sent, got, replies = 0, bytearray(), bytearray()

            def push() -> bool:
                nonlocal sent
                with suppress(BlockingIOError):
                    sent += slow.send(questions[sent : sent + 65536])
                return sent == len(questions)

            for _ in range(600):  # far more turns than it would take to read it all
                push()
                loop.turn()
            assert sent < len(questions)
            waiting = max(c.waiting for c in loop.streams.accepted.values())
            assert waiting < BRISK.owed_bytes_high + 4 * BRISK.read_bytes
            other.send(b"7.example\n")
            turn_until(loop, lambda: not drain(other, got) and got.endswith(b"\n"))
            assert got == ROWS[b"7.example"]
            turn_until(loop, lambda: (push(), drain(slow, replies))[1])
            assert replies == b"".join(ROWS.values()) * 40 + b"BYE\n"


def test_who_closes_reads_on_so_that_nobody_loses_replies_by_a_reset() -> None:
    """[P17]: questions that arrive after QUIT are read and dropped; the replies all come."""
    with serving(TableServer(Table(ROWS), Environment(BRISK)), BRISK) as (loop, port):
        with closing(dial(port)) as client:
            names = b"".join(b"%d.example\n" % n for n in range(2_000))
            client.setblocking(True)
            client.sendall(names + b"QUIT\n" + b"late.example\n" * 20_000)
            client.setblocking(False)
            got = bytearray()
            turn_until(loop, lambda: drain(client, got))
            assert got == b"".join(list(ROWS.values())[:2_000]) + b"BYE\n"


def test_a_client_above_the_bound_is_told_so_and_a_place_that_is_free_again_is_used() -> None:
    """[P18]"""
    bounds = replace(BRISK, clients_max=2)
    with serving(TableServer(Table(ROWS), Environment(bounds)), bounds) as (loop, port):
        first, second = dial(port), dial(port)
        turn_until(loop, lambda: len(loop.streams.accepted) == 2)
        with closing(dial(port)) as third:
            got = bytearray()
            turn_until(loop, lambda: drain(third, got))
            assert got == b"- ERROR BUSY\n"
        first.close()
        turn_until(loop, lambda: len(loop.streams.accepted) == 1)
        with closing(dial(port)) as fourth:
            fourth.send(b"1.example\n")
            again = bytearray()
            turn_until(loop, lambda: not drain(fourth, again) and again.endswith(b"\n"))
            assert again == ROWS[b"1.example"]
        second.close()
