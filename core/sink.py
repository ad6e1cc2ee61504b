"""Sink: bytes that wait for a file descriptor that is not a socket: output, or the log.

Standard output and standard error may be pipes that nobody reads for a while, and they are
shared with other programs, so they stay blocking. Instead they are written to only when `select`
says so, and `System.write` then takes no more than cannot block.

A sink with a bound drops records that do not fit, and counts them: a log must not stop the loop.
One without a bound keeps everything: output must not be lost without a word.
"""

import math
from collections import deque
from itertools import islice

from core.bounds import PIPE_BYTES


class Sink:
    """What waits for one descriptor, in records that are kept or dropped whole.

    `name` says what it is, for the one complaint about it.
    """

    __slots__ = (
        "_is_torn", "_records", "bytes_max", "dropped", "fd", "has_failed", "name", "waiting",
    )  # fmt: skip

    def __init__(self, fd: int, bytes_max: float = math.inf, name: str = "") -> None:
        self.fd = fd
        self.name = name
        self.has_failed = False  # once is enough to be told
        self.bytes_max = bytes_max
        self.waiting = 0  # bytes
        self.dropped = 0  # records
        self._records: deque[memoryview] = deque()
        self._is_torn = False  # the first record has been written in part

    def append(self, record: bytes) -> None:
        """Let a record wait, or drop it."""
        if not record:
            return
        if self.waiting + len(record) > self.bytes_max:
            self.dropped += 1
            return
        self._records.append(memoryview(record))
        self.waiting += len(record)

    def unwritten(self) -> memoryview:
        """The bytes to write next (there are some when `waiting` is not 0). Then tell `written`.

        As many whole records as a pipe takes at once, or one that is longer.
        """
        size = 0
        for count, record in enumerate(self._records):
            size += len(record)
            if size > PIPE_BYTES:
                return memoryview(b"".join(islice(self._records, max(1, count))))
        return memoryview(b"".join(self._records))

    def written(self, count: int) -> None:
        """The descriptor took `count` bytes."""
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
        """The descriptor took nothing: drop what waits. Returns whether that is news."""
        self.dropped += len(self._records)
        self._records.clear()
        self.waiting = 0
        if self._is_torn:  # what comes next is a line of its own
            self._is_torn = False
            self._records.append(memoryview(b"\n"))
            self.waiting = 1
        is_news, self.has_failed = not self.has_failed, True
        return is_news

    def fail(self) -> None:
        """The descriptor takes nothing more, ever: drop what waits and what will come."""
        self.drop()
        self._records.clear()
        self.waiting = 0
        self.bytes_max = 0
