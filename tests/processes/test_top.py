"""`top` on a pseudo-terminal, from its start to its end.

Not here: what it shows (`tests/nodes/test_top.py`).
"""

import fcntl
import os
import pty
import signal
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.nodes.test_terminal import SHOWN_AGAIN
from tests.support.processes import Program, Programs, free_port, wait_for

pytestmark = pytest.mark.process


def take_terminal() -> None:
    """Make standard input the terminal of this process, whose Ctrl-C is a signal."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Screen:
    """A terminal of 80 by 24, and `top` on it."""

    def __init__(self, run: Programs, port: int, term: str) -> None:
        self.person, self.terminal = pty.openpty()
        os.set_blocking(self.person, False)
        termios.tcsetwinsize(self.terminal, (24, 80))
        self.before = termios.tcgetattr(self.terminal)
        self.seen = b""
        self.top: Program = run.start(
            *("top", "127.0.0.1", port),
            stdin=self.terminal,
            stdout=self.terminal,
            environment={"TERM": term},
            before=take_terminal,
        )

    def take(self) -> bytes:
        """Read what has been drawn; return all there was."""
        with suppress(BlockingIOError):
            while data := os.read(self.person, 1 << 16):
                self.seen += data
        return self.seen

    def shows(self, text: bytes) -> None:
        """Wait until something is drawn that was not before."""
        self.seen = b""
        wait_for(lambda: text in self.take(), f"{text!r} is drawn")

    def ends(self) -> None:
        """Wait for a clean end that leaves the terminal as it was."""
        assert self.top.exits() == 0
        assert termios.tcgetattr(self.terminal) == self.before

    def close(self) -> None:
        os.close(self.person)
        os.close(self.terminal)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    """The terminals of a test, closed with it."""
    some: list[Screen] = []
    yield some
    for screen in some:
        screen.close()


@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top_shows_ls_and_leaves_the_terminal_as_it_was(
    run: Programs, screens: list[Screen], key: bytes
) -> None:
    _, ts_port = run.ts(run.table("ts", "a.example 10.0.0.1"))
    _, port = run.ls([ts_port])
    screens.append(screen := Screen(run, port, "xterm"))
    screen.shows(b"TS1    UP  ")
    screen.shows(b"questions/s")
    termios.tcsetwinsize(screen.terminal, (2, 20))
    screen.shows(b"... and ")
    os.write(screen.person, key)
    screen.ends()
    assert screen.take().endswith(SHOWN_AGAIN)


def test_top_waits_for_a_server_that_has_died(run: Programs, screens: list[Screen]) -> None:
    """On a terminal without a name, where it writes no escapes."""
    port = free_port()
    table = run.table("ts", "a.example 10.0.0.1")
    ts, _ = run.ts(table, port)
    screens.append(screen := Screen(run, port, "dumb"))
    screen.shows(b"a table of 1 names")
    ts.kill()
    screen.shows(b"no figures from 127.0.0.1:%d: " % port)
    run.ts(table, port)
    screen.shows(b"a table of 1 names")
    screen.top.signal(signal.SIGINT)
    screen.ends()
    assert b"\x1b" not in screen.take()


def test_one_frame_goes_into_a_pipe_without_escapes(run: Programs) -> None:
    _, port = run.ts(run.table("ts", "a.example 10.0.0.1"))
    code, out, log = run.run("top", "127.0.0.1", port, "--once")
    assert (code, log) == (0, "") and "a table of 1 names" in out and out.isascii()
    assert "\x1b" not in out
    code, out, log = run.run("top", "127.0.0.1", free_port(), "--once")
    assert (code, out) == (1, "") and "connection refused" in log and log.count("\n") == 1
