"""Writing to descriptors that nobody reads: none of them ever blocks, none is changed for others.

A write that would block for ever is ended by an alarm, so that it fails and does not hang.

Not here: what waits meanwhile (`tests/io/test_log.py`), and whole programs
(`tests/processes/test_outputs.py`).
"""

import os
import pty
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from core.bounds import PIPE_BYTES
from core.io.writer import WriteFunction, writer
from tests.support.counting import ends_within

BLOCKED_S = 30  # far beyond what a test takes
LINE = b"x" * 59 + b"\n"
PIECE = memoryview(LINE * (PIPE_BYTES // len(LINE)))


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    with ends_within(BLOCKED_S):
        yield


def refuse(*_: object) -> int:
    raise PermissionError


@pytest.fixture(params=["opened again", "not to be opened"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a description of our own is to be had."""
    if request.param == "not to be opened":
        monkeypatch.setattr(os, "open", refuse)


def pipe() -> tuple[int, int]:
    return os.pipe()


def terminal() -> tuple[int, int]:
    return pty.openpty()


def sockets() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def filled(write: WriteFunction, fd: int) -> int:
    """Write whenever select says so, until nothing more is taken; return how much was.

    A loop that does so must not spin: what says that it can be written takes something.
    """
    count = 0
    while select.select([], [fd], [], 0)[1]:
        with suppress(BlockingIOError):
            while True:
                count += write(PIECE)
    return count


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", [pipe, terminal, sockets])
def test_a_descriptor_that_nobody_reads_never_blocks(kind: Callable[[], tuple[int, int]]) -> None:
    """When its reader comes back it takes more. Those who share it find it as it was: blocking."""
    reader, fd = kind()
    write = writer(fd)
    count = filled(write, fd)
    assert count >= PIPE_BYTES - 1
    assert os.get_blocking(fd)
    while count > 0:  # a terminal adds a CR to each LF
        count -= len(os.read(reader, 1 << 20))
    select.select([], [fd], [])
    assert write(memoryview(b"more\n")) > 0
    os.close(reader)
    os.close(fd)


def test_a_pipe_takes_a_piece_whole_or_not_at_all() -> None:
    """Programs that share it do not get into each other's lines."""
    reader, fd = pipe()
    write = writer(fd)
    assert filled(write, fd) % len(PIECE) == 0
    os.read(reader, PIPE_BYTES // 2)
    with pytest.raises(BlockingIOError):
        write(PIECE)
    os.close(reader)
    os.close(fd)


def test_a_file_takes_everything(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        assert writer(file.fileno())(memoryview(bytes(10_000_000))) == 10_000_000
    assert path.stat().st_size == 10_000_000


@pytest.mark.usefixtures("way")
def test_a_pipe_without_a_reader_is_broken() -> None:
    reader, fd = pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        writer(fd)(PIECE)
    os.close(fd)


def test_a_descriptor_that_is_closed_is_an_error() -> None:
    reader, fd = pipe()
    os.close(fd)
    os.close(reader)
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer(fd)


def test_a_terminal_that_cannot_be_opened_takes_a_byte_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A terminal promises no more, and a pipe takes PIPE_BUF; with more a write might block."""
    monkeypatch.setattr(os, "open", refuse)
    for kind, count in ((terminal, 1), (pipe, select.PIPE_BUF)):
        reader, fd = kind()
        assert writer(fd)(PIECE) == min(count, len(PIECE))
        os.close(reader)
        os.close(fd)
