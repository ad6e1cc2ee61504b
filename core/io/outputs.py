"""Sink: bytes that wait for a file descriptor that is not a socket: output, or the log.

They may be pipes or terminals that nobody reads for a while: what they do not take waits here.
It is written in pieces that a pipe takes whole, so that the records of several programs that
share one do not mix. Short records are joined to a piece, a long one is cut without a copy.

A sink with a bound drops records that do not fit, and counts them: a log must not stop the loop.
Before it drops any it asks to be written, so only a reader who is slow costs records, never a
turn that makes many. One without a bound keeps everything: output must not be lost without a word.

Not here: how to write without blocking (`core/io/writer.py`), and when (`core/io/loop.py`).
"""

import math
from collections import deque
from collections.abc import Callable
from itertools import islice

from core.bounds import PIPE_BYTES


def _make_none(sink: "Output") -> None:
    """Do nothing: there is no loop that could write it."""


class Output:
    """What waits for one descriptor, in records that are kept or dropped whole.

    `name` says what it is, for the one complaint about it. `make_room(sink)` is to write what
    waits, as far as the descriptor takes it now. `reopen()`, if there is one, has the descriptor
    lead to what is at its path now, and returns whether that is another file; it raises OSError.
    """

    __slots__ = (
        "_is_torn", "_records", "bytes_max", "dropped", "fd", "has_failed", "make_room", "name",
        "reopen", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        fd: int,
        bytes_max: float = math.inf,
        name: str = "",
        reopen: Callable[[], bool] | None = None,
    ) -> None:
        self.fd = fd
        self.name = name
        self.has_failed = False  # that is reported once
        self.bytes_max = bytes_max
        self.reopen = reopen
        self.make_room: Callable[[Output], None] = _make_none
        self.waiting = 0  # bytes
        self.dropped = 0  # records
        self._records: deque[memoryview] = deque()
        self._is_torn = False  # the descriptor took the beginning of a record, and not its end

    def append(self, record: bytes) -> None:
        """Keep a record until it is written, or drop and count it if there is no room."""
        if not record:
            return
        if self.waiting and self.waiting + len(record) > self.bytes_max:
            self.make_room(self)
        if self._is_torn and not self._records:  # the end was dropped: this is a line of its own
            record = b"\n" + record
        if self.waiting + len(record) > self.bytes_max:
            self.dropped += 1
            return
        self._records.append(memoryview(record))
        self.waiting += len(record)

    def unwritten(self) -> memoryview:
        """The bytes to write next (there are some when `waiting` is not 0). Then tell `written`.

        As many whole records as a pipe takes at once, or so much of one that is longer.
        """
        size = 0
        for count, record in enumerate(self._records):
            size += len(record)
            if size > PIPE_BYTES:
                if count == 0:
                    return record[:PIPE_BYTES]
                return memoryview(b"".join(islice(self._records, count)))
        return memoryview(b"".join(self._records))

    def written(self, count: int) -> None:
        """Take note that the descriptor took `count` bytes."""
        self.waiting -= count
        while count:
            record = self._records[0]
            self._is_torn = count < len(record)
            if self._is_torn:
                self._records[0] = record[count:]
                return
            self._records.popleft()
            count -= len(record)

    def drop(self) -> bool:
        """Drop what waits, for a descriptor that failed; return whether it is the first time."""
        self.dropped += len(self._records)
        self._records.clear()
        self.waiting = 0
        is_news, self.has_failed = not self.has_failed, True
        return is_news

    def moved(self) -> None:
        """The descriptor leads to another file. Drop the end of a record that began in the old."""
        if self._is_torn and self._records:
            self.waiting -= len(self._records.popleft())
            self.dropped += 1
        self._is_torn = self.has_failed = False

    def fail(self) -> None:
        """Drop what waits and whatever will come: the descriptor takes nothing more, ever."""
        self.drop()
        self.bytes_max = 0
