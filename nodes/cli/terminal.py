"""Terminal: the screen and the keys of a program that has a terminal to itself for a while.

Inside `taken`, keys come at once and are not shown, and the program draws on the other screen, with
the cursor hidden. However that ends, by an exception too, everything is then as it was. Keys that
would stop the program in between (Ctrl-Z), or end it without that (Ctrl-backslash), are off
meanwhile; Ctrl-C is a signal as ever.

The keys are a stream as the loop adopts it (`Loop.adopt`), on which every key is a line.

Not here: what is drawn.
"""

import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from core.io.input import SharedDescriptor

_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_SIZE = os.terminal_size((80, 24))  # where a terminal does not know
_LOCAL_MODES, _CONTROL_KEYS = 3, 6  # places in what termios has


def can_draw(fd: int, term: str) -> bool:
    """Return whether escapes may be written there: it is a terminal, and `term` (TERM) names it."""
    return os.isatty(fd) and term not in ("", "dumb")


def size_of(fd: int) -> os.terminal_size:
    """Return how many columns and lines a terminal has now."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return _SIZE
    return size if size.columns and size.lines else _SIZE


class Keys(SharedDescriptor):
    """The keys of a terminal, as a stream: each is a line."""

    def recv(self, count: int) -> bytes:
        """Return the keys that have come. Raises OSError when the terminal is gone."""
        return b"".join(b"%c\n" % key for key in super().recv(count // 2))


@contextmanager
def taken(keys_fd: int, screen_fd: int) -> Iterator[Any]:
    """Have a terminal meanwhile; give its keys, None where they do not come from a terminal."""
    has_keys = os.isatty(keys_fd)
    modes: list[Any] = termios.tcgetattr(keys_fd) if has_keys else []
    try:
        if has_keys:
            termios.tcsetattr(keys_fd, termios.TCSANOW, _raw(modes))
        _write(screen_fd, _OTHER_SCREEN + _HIDE_CURSOR)
        yield Keys(keys_fd) if has_keys else None
    finally:
        _write(screen_fd, _SHOW_CURSOR + _FIRST_SCREEN)
        if has_keys:
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(keys_fd, termios.TCSANOW, modes)


def _raw(modes: list[Any]) -> list[Any]:
    """Return the modes in which keys come at once."""
    raw = [*modes]
    raw[_LOCAL_MODES] &= ~(termios.ICANON | termios.ECHO)
    keys = [*modes[_CONTROL_KEYS]]
    keys[termios.VMIN], keys[termios.VTIME] = 1, 0
    keys[termios.VSUSP] = keys[termios.VQUIT] = b"\0"  # no key
    raw[_CONTROL_KEYS] = keys
    return raw


def _write(fd: int, text: str) -> None:
    with suppress(OSError):  # it is gone
        os.write(fd, text.encode())
