"""Each MUST of proto.md that its sessions cannot show by themselves, shown directly.

Where only bytes matter, a session is written down here and played as those of the document are.
Where the loop matters, a real one runs in this process over loopback: the test turns it, so
nothing waits for a clock.
"""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from core.bounds import Bounds
from core.brain import Brain
from core.environment import Environment
from core.io.loop import Loop
from nodes.cli.serving import LINES
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.loops import BRISK, drained, listen_at, real_loop, turn_until
from tests.support.transcript import play, transcripts

ROWS = {b"%d.example" % n: b"%d.example 10.0.0.1 A IN\n" % n for n in range(4_000)}


# -- bytes -----------------------------------------------------------------------------------------


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
    text = f"""```session
client -> LS: (connect)
client -> LS: x.example
LS -> TS1: x.example
LS -> TS2: x.example
TS1 -> LS: {line}
TS2 -> LS: x.example 10.0.0.2 A IN
LS -> client: x.example 10.0.0.2 A IN
```"""
    play(transcripts(text)[0], "LS", {}, lambda data: [data])


# -- a real loop -----------------------------------------------------------------------------------


@contextmanager
def serving(brain: Brain, bounds: Bounds) -> Iterator[tuple[Loop, int]]:
    """Run this brain on a free port, in a loop that the test turns."""
    loop = real_loop(bounds)
    with closing(loop):
        _, port = listen_at(loop, (socket.AF_INET, ("127.0.0.1", 0)), LINES)[:2]
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


def test_a_client_that_does_not_read_is_not_read() -> None:
    """[P14]: and the other one, whom it owes nothing, is served meanwhile."""
    questions = b"".join(b"%d.example\n" % n for n in range(4_000)) * 200 + b"QUIT\n"
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
            turn_until(loop, lambda: not drained(other, got) and got.endswith(b"\n"))
            assert got == ROWS[b"7.example"]
            turn_until(loop, lambda: (push(), drained(slow, replies))[1])
            assert replies == b"".join(ROWS.values()) * 200 + b"BYE\n"


def test_who_closes_reads_on_so_that_nobody_loses_replies() -> None:
    """[P17]: questions that arrive after QUIT are read and dropped; the replies all come."""
    with serving(TableServer(Table(ROWS), Environment(BRISK)), BRISK) as (loop, port):
        with closing(dial(port)) as client:
            names = b"".join(b"%d.example\n" % n for n in range(2_000))
            client.setblocking(True)
            client.sendall(names + b"QUIT\n" + b"late.example\n" * 20_000)
            client.setblocking(False)
            got = bytearray()
            turn_until(loop, lambda: drained(client, got))
            assert got == b"".join(list(ROWS.values())[:2_000]) + b"BYE\n"
