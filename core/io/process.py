"""Process: signals, from the first line of the program to its last, and its standard descriptors.

A signal that comes before a handler is there has its default action: it kills, or, where the
program is process 1 of a container, is discarded. Therefore `catch` comes first, before anything
that takes time to import. From then on

- a signal that ends a program (`_ENDS`) does so at once while it starts, with nobody to be told;
- a signal that a server takes note of (SIGHUP, SIGUSR1, SIGUSR2) waits in a pipe, where the loop
  finds it;
- once there is a loop (`hand_over`), all of them wait for it there.

A signal that was ignored when the program began stays ignored (nohup, a shell's background job),
but a server's SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 never are. When all is done, `ignore` takes what
still comes: an interpreter that is ending gives a signal back to its default action.

Not here: what the loop makes of a signal (`core/io/signals.py`).
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SERVERS = (signal.SIGUSR1, signal.SIGUSR2)  # no other program takes note of these
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *_SERVERS)
_ENDS = {True: (signal.SIGTERM, signal.SIGINT), False: SIGNALS[:3]}  # by whether it is a server
_STDOUT, _STDERR = 1, 2


class Signals:
    """A pipe into which every signal that is caught puts its number, in a byte.

    It wakes `select` also when a signal comes just before that begins to wait.
    """

    def __init__(self) -> None:
        self._fd, self._full = os.pipe()
        os.set_blocking(self._fd, False)
        os.set_blocking(self._full, False)
        signal.set_wakeup_fd(self._full, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._fd

    def recv(self, count: int) -> bytes:
        """Return the numbers of those that have come. Raises BlockingIOError: there are none."""
        return os.read(self._fd, count)

    def close(self) -> None:
        """Let what comes from now on go unheard."""
        with suppress(ValueError):  # another thread than the first
            if (now := signal.set_wakeup_fd(-1)) not in (-1, self._full):
                signal.set_wakeup_fd(now, warn_on_full_buffer=False)
        os.close(self._fd)
        os.close(self._full)


_first: Signals | None = None  # of `catch`, until there is a loop


def open_standard_streams() -> None:
    """Make a closed standard stream /dev/null; else what is opened next would get its number.

    Standard output becomes what nothing can write, nor open again to write, a folder: nobody would
    know that what was written to /dev/null is lost.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            if number == _STDOUT:
                os.open("/", os.O_RDONLY)
            else:
                os.open(os.devnull, os.O_RDWR)


def catch(*, is_server: bool) -> None:
    """Take signals from now on, in a program that has yet to start.

    `is_server`: it serves until a signal ends it; any other one ends by itself.
    """
    global _first
    _first = Signals()
    for number in _taken(is_server):
        ends = number in _ENDS[is_server]
        signal.signal(number, (_end_server if is_server else _end) if ends else _only_wake)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def hand_over(is_server: bool) -> Signals:
    """Return where the signals are to be read that a loop takes from now on, those included that
    `catch` took note of."""
    global _first
    signals, _first = _first or Signals(), None
    for number in _taken(is_server):
        signal.signal(number, _only_wake)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # blocked in a child (`core/io/child.py`)
    return signals


def descriptors_taken() -> int:
    """Count the descriptors that `catch` has taken for a loop that is yet to come."""
    return 0 if _first is None else 2


def ignore() -> None:
    """Take no signal any more: the program is ending.

    They are blocked, not ignored: Python complains where one that has come finds its handler gone.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


@contextmanager
def blocking() -> Iterator[None]:
    """Let signals end a call of the C library that may block for long.

    No handler of Python runs during such a call, so SIGTERM and SIGINT have their default action
    meanwhile, if the program is still starting. Process 1 has no default action, and waits.
    """
    held = {number: signal.getsignal(number) for number in _ENDS[True]}
    held = {number: how for number, how in held.items() if how in (_end, _end_server)}
    if os.getpid() == 1:
        held = {}
    for number in held:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, how in held.items():
            signal.signal(number, how)


def _taken(is_server: bool) -> Iterator[signal.Signals]:
    """Return the signals that get a handler: those for servers only in a server."""
    for number in SIGNALS:
        if number in _SERVERS and not is_server:
            signal.signal(number, signal.SIG_IGN)
        elif (is_server and number is not signal.SIGINT) or (
            signal.getsignal(number) is not signal.SIG_IGN
        ):
            yield number


def _only_wake(*_: object) -> None:
    """Do nothing: that there is a handler keeps the default action away."""


def _end_server(*_: object) -> None:
    """End a server that has taken nothing yet. Not by an exception, which an import may swallow."""
    _say_and_exit(b"photofinish: ended by a signal before it served\n", 0)


def _end(*_: object) -> None:
    """End another program."""
    _say_and_exit(b"photofinish: interrupted\n", 1)


def _say_and_exit(line: bytes, exit_code: int) -> None:
    with suppress(OSError):
        os.write(_STDERR, line)
    os._exit(exit_code)
