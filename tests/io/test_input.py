"""Inputs: files, pipes and terminals, read as they come and left as they are, in a real loop.

Not here: what a client makes of the lines (`tests/nodes/test_client_intake.py`).
"""

import os
import pty
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from core.effects import Abort, Effect, Pause, Resume
from core.events import Closed, Ended, Event, Received
from core.io.input import read_lines_of
from core.io.loop import Loop
from core.protocol.names import LINE_BYTES_MAX
from tests.support.loops import BRISK, Script, real_loop, turn_until

NAME = "input"


@contextmanager
def reading(fd: int, brain: Script) -> Iterator[Loop]:
    bounds = replace(BRISK, mid_line_s=0.001)
    with closing(real_loop(bounds)) as loop:
        loop.start(brain)
        read_lines_of(loop.streams, NAME, fd, LINE_BYTES_MAX)
        yield loop


def ends(event: Event) -> list[Effect]:
    return [Abort(NAME)] if isinstance(event, Ended) else []


def heard(brain: Script) -> bytes:
    return b"".join(event.data for event in brain.of(Received))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):  # the test did
            os.close(fd)


def test_a_line_comes_when_it_is_whole_however_long_that_takes(pipe: tuple[int, int]) -> None:
    """A line that a peer leaves unfinished is over after `mid_line_s`; one of an input never."""
    reader, writer = pipe
    brain = Script(ends)
    with reading(reader, brain) as loop:
        os.write(writer, b"a\nb")
        turn_until(loop, lambda: heard(brain) == b"a\n")
        for _ in range(20):
            loop.turn()
        os.write(writer, b".x\r\n\nlast")
        turn_until(loop, lambda: heard(brain) == b"a\nb.x\n\n")
        os.close(writer)
        turn_until(loop, lambda: brain.of(Closed))
    assert heard(brain) == b"a\nb.x\n\nlast\n"
    assert [type(event) for event in brain.heard][-3:] == [Received, Ended, Closed]
    assert os.get_blocking(reader), "others may have it, too"


def test_a_terminal_ends_at_the_first_end_of_file() -> None:
    person, program = pty.openpty()
    brain = Script(ends)
    with reading(program, brain) as loop:
        os.write(person, b"a\nb\x04")
        turn_until(loop, lambda: heard(brain).startswith(b"a\n"))
        os.write(person, b"\x04")
        turn_until(loop, lambda: brain.of(Closed))
    assert heard(brain) == b"a\nb\n"
    os.close(person)
    os.close(program)


@pytest.mark.parametrize("data", [b"", b"a\n", b"a\nb", b"name.example\n" * 40_000])
def test_a_file_is_read_to_its_end(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "names").write_bytes(data)
    brain = Script(ends)
    with (tmp_path / "names").open("rb") as file, reading(file.fileno(), brain) as loop:
        turn_until(loop, lambda: brain.of(Closed))
        assert os.fstat(file.fileno()), "it is not closed"
    assert heard(brain) == data + b"\n" * (data != b"" and not data.endswith(b"\n"))


def test_what_cannot_be_read_is_closed_with_the_reason(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    brain = Script()
    with reading(folder, brain) as loop:
        turn_until(loop, lambda: brain.of(Closed))
    assert brain.of(Closed) == [Closed(NAME, "is a directory")]
    os.close(folder)


def test_a_paused_input_is_not_read(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    brain = Script(lambda event: [Pause(NAME)] if isinstance(event, Received) else [])
    with reading(reader, brain) as loop:
        os.write(writer, b"a\n")
        turn_until(loop, lambda: heard(brain) == b"a\n")
        os.write(writer, b"b\n")
        for _ in range(20):
            loop.turn()
        assert heard(brain) == b"a\n"
        loop.engine.performers[Resume](Resume(NAME))
        turn_until(loop, lambda: heard(brain) == b"a\nb\n")
