"""Input: a file, a pipe or a terminal that a program reads as lines, while they come.

The loop reads it as one of its connections: once in a turn, when `select` says so, and not while it
is paused. The descriptor stays blocking, because other programs may have the same open file
description; `select` calls it readable when a read does not block, or, of a regular file, always.
The last line needs no LF, and no line has to be over in time: a person may write it.

Not here: what a line means.
"""

import os
from typing import Any

from core.events import Received
from core.io.line_buffer import LineBuffer
from core.io.stream import Stream
from core.io.streams import Streams


class SharedDescriptor:
    """A descriptor that others have, too, in the manner of a socket that is only read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """Leave it as it is."""

    def recv(self, count: int) -> bytes:
        """Return what is there, and nothing at its end. Raises OSError."""
        return os.read(self._fd, count)

    def close(self) -> None:
        """Leave it open: it is not ours alone."""


class InputStream(Stream):
    """An input as a connection."""

    __slots__ = ()

    def _watch_message(self, completed: bool, now: float) -> None:
        """Let a line take its time."""

    def read_end(self, now: float) -> None:
        """Take the end, and before it the last line if there is a beginning of one."""
        if self.framer.is_mid_message and (line := self.framer.receive(b"\n")):
            self._streams.engine.events.append(Received(self.name, line))
        super().read_end(now)


def read_lines_of(streams: Streams, name: str, fd: int, line_bytes_max: int) -> None:
    """Read a descriptor from now on, as the connection of this name: Received, Ended, Closed."""
    descriptor: Any = SharedDescriptor(fd)  # no socket, but used as one
    stream = InputStream(streams, name, True, LineBuffer(line_bytes_max))
    streams.accepted[name] = stream
    streams.attach(stream, descriptor)
