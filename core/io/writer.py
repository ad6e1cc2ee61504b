"""Writers: how to write to a descriptor that other programs share, without waiting for a reader.

Standard output and standard error belong to other programs, too, so they stay blocking:
O_NONBLOCK would be set for everybody who holds the same open file description. The way to write
without blocking depends on what the descriptor is, which is found out once:

- a regular file takes anything;
- a socket (a service manager's log) is sent to with MSG_DONTWAIT, which is a flag of one call;
- a pipe, a terminal or another device is opened once more: that description is ours alone, and
  does not block;
- where that fails (it is another user's, or there is no /proc), the descriptor is written only
  when `select` says so: a pipe then takes PIPE_BUF bytes without blocking (POSIX), a terminal
  promises no more than one.

Not here: what is written and when (`core/io/outputs.py`, `core/io/loop.py`).
"""

import os
import select
import socket
import stat
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

WriteFunction = Callable[[memoryview], int]


def writer(fd: int) -> WriteFunction:
    """Return a function that writes to this descriptor. Raises OSError when it is not open.

    The function takes bytes and returns how many were taken. It raises BlockingIOError when that
    would be none, and OSError when the descriptor is broken.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return partial(os.write, fd)
    try:
        if stat.S_ISSOCK(mode):
            ours = socket.socket(fileno=os.dup(fd))
            write, close = partial(_send_now, ours), ours.close
        else:
            again = _opened_again(fd)
            write, close = partial(os.write, again), partial(os.close, again)
        weakref.finalize(write, close)
        return write
    except OSError:
        return partial(_write_when_ready, fd, 1 if os.isatty(fd) else select.PIPE_BUF)


def _send_now(ours: socket.socket, data: memoryview) -> int:
    return ours.send(data, socket.MSG_DONTWAIT)


def _opened_again(fd: int) -> int:
    """Open the same file once more. Raises OSError when it cannot be."""
    path = f"/proc/self/fd/{fd}"
    if not Path(path).exists():
        path = os.ttyname(fd)
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _write_when_ready(fd: int, bytes_max: int, data: memoryview) -> int:
    if not select.select([], [fd], [], 0)[1]:
        raise BlockingIOError
    return os.write(fd, data[:bytes_max])
