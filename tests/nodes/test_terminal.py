"""The terminal that a program has to itself: as it was afterwards, and never drawn on otherwise.

On a pseudo-terminal, in this process. Not here: `top` on it (`tests/processes/test_top.py`).
"""

import os
import pty
import termios
from collections.abc import Iterator

import pytest

from nodes.cli.terminal import can_draw, size_of, taken

SHOWN_AGAIN = b"\x1b[?25h\x1b[?1049l"  # the cursor, and the screen that was there


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the person's end, and the program's."""
    ends = pty.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def test_the_terminal_is_as_it_was_also_after_an_error(terminal: tuple[int, int]) -> None:
    person, program = terminal
    before = termios.tcgetattr(program)
    with pytest.raises(ZeroDivisionError), taken(program, program):
        assert os.read(person, 1 << 10) == b"\x1b[?1049h\x1b[?25l"
        assert termios.tcgetattr(program) != before
        raise ZeroDivisionError
    assert termios.tcgetattr(program) == before
    assert os.read(person, 1 << 10) == SHOWN_AGAIN


def test_keys_come_at_once_each_as_a_line_and_unseen(terminal: tuple[int, int]) -> None:
    person, program = terminal
    with taken(program, program) as keys:
        os.read(person, 1 << 10)
        keys.setblocking(False)  # as the loop does
        os.write(person, b"xq\x1a\x1c")
        assert keys.recv(1 << 10) == b"x\nq\n\x1a\n\x1c\n"
        assert os.get_blocking(program)
    assert os.read(person, 1 << 10) == SHOWN_AGAIN


def test_without_a_terminal_there_are_no_keys(terminal: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    with taken(reader, terminal[1]) as keys:
        assert keys is None
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False), ("", False)])
def test_only_a_terminal_with_a_name_is_drawn_on(
    terminal: tuple[int, int], term: str, draws: bool
) -> None:
    reader, writer = os.pipe()
    assert (can_draw(terminal[1], term), can_draw(writer, term)) == (draws, False)
    os.close(reader)
    os.close(writer)


def test_a_size_that_nobody_knows_is_80_by_24(terminal: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    assert size_of(terminal[1]) == size_of(writer) == (80, 24)
    termios.tcsetwinsize(terminal[1], (50, 132))
    assert size_of(terminal[1]) == (132, 50)
    os.close(reader)
    os.close(writer)
