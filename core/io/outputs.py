"""Outputs: bytes that wait for a file descriptor that is not a socket: output, log or records.

A descriptor may be a pipe or a terminal that nobody reads for a while: what it does not take waits
here. It is written in pieces that a pipe takes whole, so that the records of several programs that
share one do not mix. Short records are joined to a piece, a long one is cut without a copy.

An output with a bound drops records that do not fit, and counts them: a log must not stop the loop.
Before it drops any it asks to be written, so only a slow reader costs records, never a turn that
makes many. An output without a bound keeps everything: nothing may be lost without a word. When
more waits than for a dialled connection should, its brain is told, and need not make more.

`Outputs` are those of one loop. A log that fails is silent from then on; records are dropped until
their disk has room again; a bounded output is gone on without; where one without a bound fails,
which is what the program is for, the program fails.

Not here: how to write without blocking (`core/io/writer.py`), and when (`core/io/loop.py`).
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from core.bounds import PIPE_BYTES
from core.effects import Write
from core.events import Backlogged, Relieved
from core.io.engine import Engine
from core.io.system import reason
from core.metrics import Metric, Value
from core.operator import Level, Progress, Record, ReopenRecords, Report

OWN_OUTPUT = "output"  # the name of the own output in events
LOG_DROPPED = Metric("log_dropped", "Lines of the log that standard error did not take in time")
RECORDS_DROPPED = Metric("records_dropped", "Records of races that their file did not take in time")


def _make_none(output: "Output") -> None:
    """Do nothing: there is no loop that could write it."""


class Output:
    """The bytes that wait for a descriptor, in records that are kept or dropped whole.

    `name` says what it is, for the one complaint about it. `make_room(output)` is to write what
    waits, as far as the descriptor takes it now. `reopen()`, if there is one, has the descriptor
    lead to what is at its path now, and returns whether that is another file; it raises OSError.
    `write_fds` is where it puts its descriptor when something waits.
    """

    __slots__ = (
        "_is_torn", "_records", "bytes_max", "dropped", "fd", "has_failed", "make_room", "name",
        "reopen", "waiting", "write_fds",
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
        self.write_fds: dict[int, None] = {}
        self.waiting = 0  # bytes
        self.dropped = 0  # records
        self._records: deque[memoryview] = deque()
        self._is_torn = False  # the descriptor took the beginning of a record, and not its end

    def fileno(self) -> int:
        return self.fd

    def readable(self, now: float) -> bool:
        """Do nothing: an output is only written."""
        return False

    def writable(self, now: float) -> None:
        """Write what waits, as far as the descriptor takes it now."""
        self.make_room(self)

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
        self.write_fds[self.fd] = None

    def unwritten(self) -> memoryview:
        """Return the bytes to write next, if `waiting` is not 0. Then tell `written`.

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
        """Drop the end of a record that began in the old file: the descriptor leads to another."""
        if self._is_torn and self._records:
            self.waiting -= len(self._records.popleft())
            self.dropped += 1
        self._is_torn = self.has_failed = False

    def fail(self) -> None:
        """Drop what waits and whatever will come: the descriptor takes nothing more, ever."""
        self.drop()
        self.bytes_max = 0


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where a program writes what its log formats, and its Write and Record effects, if it has any.

    `on_terminal`: somebody watches the log, and Progress is shown there.
    """

    log: Output
    own: Output | None = None
    records: Output | None = None
    on_terminal: bool = False


class Outputs:
    """The outputs of one loop."""

    def __init__(self, engine: Engine, to: Destinations) -> None:
        self._engine = engine
        self.all = [each for each in (to.log, to.own, to.records) if each is not None]
        for each in self.all:
            each.make_room = self._write
            each.write_fds = engine.write_fds
            if each.waiting:
                engine.write_fds[each.fd] = None
            engine.by_fd[each.fd] = each
        self._system = engine.system
        self._log = engine.log
        self._log_output = to.log
        self._output = to.own
        self._records = to.records
        self._on_terminal = to.on_terminal
        self._is_backlogged = False  # whether too much waits for `_output`, and its brain knows
        engine.performers |= {
            Write: self._do_write,
            Report: self._do_report,
            Record: self._do_record,
            ReopenRecords: self._do_reopen_records,
            Progress: self._do_progress,
        }

    @property
    def is_awaited(self) -> bool:
        """Whether something waits that the program must not end without having written."""
        output = self._output
        return output is not None and output.bytes_max == math.inf and output.waiting > 0

    def metrics(self) -> list[Value]:
        """Return how many records were dropped."""
        values = [Value(LOG_DROPPED, self._log_output.dropped)]
        if self._records is not None:
            values.append(Value(RECORDS_DROPPED, self._records.dropped))
        return values

    def write_all(self) -> None:
        """Write what waits, the log last: it has to say what went wrong."""
        for output in reversed(self.all):
            self._write(output)

    def wait(self, interruptions: list[int], timeout_s: float) -> list[int]:
        """Wait for the readers of what waits, and write what they take.

        Return which of `interruptions`, descriptors to be read, became readable meanwhile.
        """
        by_fd = {output.fd: output for output in self.all if output.waiting}
        interrupted, writable, _ = self._system.select(interruptions, list(by_fd), [], timeout_s)
        for fd in writable:
            self._write(by_fd[fd])
        return interrupted

    def _write(self, output: Output) -> None:
        """Write what waits, as far as the descriptor takes it now."""
        is_blocked = False
        try:
            while output.waiting:
                output.written(self._system.write(output.fd, output.unwritten()))
        except BlockingIOError:
            is_blocked = True
        except OSError as error:
            self._failed(output, reason(error))
        if not is_blocked:
            self._engine.write_fds.pop(output.fd, None)
        if output is self._output and self._is_backlogged:
            self._look_at_backlog(output.waiting)

    def _look_at_backlog(self, waiting: int) -> None:
        """Tell the brain when what waits gets over the high mark, and when under the low one."""
        bounds, is_backlogged = self._engine.environment.bounds, self._is_backlogged
        if not is_backlogged and waiting > bounds.waiting_bytes_high:
            self._engine.events.append(Backlogged(OWN_OUTPUT))
        elif is_backlogged and waiting < bounds.waiting_bytes_low:
            self._engine.events.append(Relieved(OWN_OUTPUT))
        else:
            return
        self._is_backlogged = not is_backlogged

    def _failed(self, output: Output, why: str) -> None:
        about = {"output": output.name, "reason": why}
        if output is self._records:  # a disk may have room again
            if output.drop():
                text = f"cannot write {output.name}: {why}; records are dropped"
                self._log.report(text, Level.WARNING, "records_not_written", about)
            return
        is_purpose = output.bytes_max == math.inf  # the output that the program is for
        output.fail()
        if output is self._output and is_purpose:
            text = f"cannot write the output: {why}"
            self._log.report(text, Level.ERROR, "output_failed", about)
            self._engine.exit_code = 1
        elif output is self._output:
            text = f"cannot write to standard output: {why}; going on without it"
            self._log.report(text, Level.WARNING, "output_failed", about)

    def _do_write(self, effect: Write) -> None:
        output = self._output
        if output is not None:
            output.append(effect.data)
            if output.bytes_max == math.inf:
                self._look_at_backlog(output.waiting)

    def _do_report(self, effect: Report) -> None:
        self._log.report(effect.text, effect.level, effect.event, effect.about, effect.kind)

    def _do_record(self, effect: Record) -> None:
        if self._records is not None:
            self._records.append(effect.data)

    def _do_reopen_records(self, effect: ReopenRecords) -> None:
        records = self._records
        if records is None or records.reopen is None:
            return
        self._write(records)  # records made by now belong into the old one
        try:
            if records.reopen():
                records.moved()
                self._system.forget(records.fd)
                text, about = f"{records.name} is opened anew", {"output": records.name}
                self._log.report(text, Level.INFO, "records_reopened", about)
        except OSError as error:
            text = f"cannot open {records.name} anew: {reason(error)}; going on with the old file"
            about = {"output": records.name, "reason": reason(error)}
            self._log.report(text, Level.WARNING, "records_not_reopened", about)

    def _do_progress(self, effect: Progress) -> None:
        if self._on_terminal:
            self._log_output.append(b"\r\x1b[K" + effect.text.encode())
