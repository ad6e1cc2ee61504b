r"""The log: everything that a running node says to people, and which of it is shown.

Each record is one line, on standard error; as text they are

    2026-11-29T16:06:41.123456Z LS > client-1 rutgers.edu     a line was received
    2026-11-29T16:06:41.123512Z LS < TS1 rutgers.edu          a line was sent
    2026-11-29T16:06:41.124003Z LS = TS1 DIALING -> UP        a state machine moved
    2026-11-29T16:06:41.125210Z LS TS1 is up                  a report: shown from its level on
    2026-11-29T16:06:41.126301Z LS WARNING TS2 is stalled     one that is more than information

The first three kinds are the wire log (`--wire-log`); when it is off nothing of this is called.

Times are in UTC, in all formats. Bytes that are not printable ASCII appear as `\xNN`, so that a
record is always one line, and what a peer sends cannot move the reader's cursor. A record is at
most so long that a pipe takes it whole (POSIX, PIPE_BUF). Of reports that are alike a few are shown
in a while, and then how many were not.

Not here: how a record is written (`core/io/log_format.py`), the descriptor (`core/io/outputs.py`)
and the clocks, which are handed in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core.bounds import PIPE_BYTES
from core.io.log_format import LogFormat, LogRecord, text_line
from core.machine import Label
from core.operator import Level
from core.text import printable, split_lines

_ALIKE_MAX = 5  # reports of a kind
_ALIKE_S = 10.0  # in so long a time
_NO_FACTS: Mapping[str, object] = MappingProxyType({})


class _Kind:
    """Reports that are alike: since when they are counted, shown and not shown."""

    __slots__ = ("began", "hidden", "shown")

    def __init__(self, began: float) -> None:
        self.began = began
        self.shown = 0
        self.hidden = 0


class Log:
    """Formats records and hands each to `write`.

    `wall()` is the time of day in s since 1970, UTC; `now()` is a clock that never jumps. Reports
    below `least` are left out.
    """

    def __init__(
        self,
        node: str,
        write: Callable[[bytes], None],
        wall: Callable[[], float] = float,
        now: Callable[[], float] = float,
        *,
        least: Level = Level.INFO,
        log_format: LogFormat = text_line,
    ) -> None:
        self._node = node
        self._write = write
        self._wall = wall
        self._now = now
        self._least = least
        self._format = log_format
        self._kinds: dict[str, _Kind] = {}

    def received(self, conn: str, data: bytes) -> None:
        """Record whole lines that came in."""
        self._each(">", "line_received", conn, data)

    def sent(self, conn: str, data: bytes) -> None:
        """Record whole lines that wait to go out."""
        self._each("<", "line_sent", conn, data)

    def changed(self, machine: str, old: Label, new: Label) -> None:
        """Record that a state machine moved."""
        about = {"machine": machine, "from": old.name, "to": new.name}
        text = f"= {machine} {old.name} -> {new.name}"
        self._record(text, Level.DEBUG, "state_changed", about)

    def report(
        self,
        text: str,
        level: Level = Level.INFO,
        event: str = "",
        about: Mapping[str, object] = _NO_FACTS,
        kind: str = "",
    ) -> None:
        """Tell something that an operator wants to know; see `Report`."""
        if level < self._least:
            return
        hidden = self._hidden_before(kind or text)
        if hidden:
            text, about = f"{text} (and {hidden} more like this)", {**about, "hidden": hidden}
        if hidden is not None:
            self._record(text, level, event, about)

    def _hidden_before(self, kind: str) -> int | None:
        """Count the reports of this kind that were not shown; None: nor is this one to be."""
        now = self._now()
        if len(self._kinds) > 1_000:
            self._kinds.clear()
        alike = self._kinds.get(kind)
        hidden = 0
        if alike is None or now - alike.began >= _ALIKE_S:
            hidden = 0 if alike is None else alike.hidden
            alike = self._kinds[kind] = _Kind(now)
        if alike.shown == _ALIKE_MAX:
            alike.hidden += 1
            return None
        alike.shown += 1
        return hidden

    def _each(self, mark: str, event: str, conn: str, data: bytes) -> None:
        about = {"connection": conn}
        for line in split_lines(data):
            text = f"{mark} {conn} {printable(line).decode('ascii')}"
            self._record(text, Level.DEBUG, event, about)

    def _record(self, text: str, level: Level, event: str, about: Mapping[str, object]) -> None:
        record = self._format(LogRecord(self._wall(), self._node, level, text, event, about))
        line = printable(record.encode("ascii", "backslashreplace"))
        self._write(line[: PIPE_BYTES - 1] + b"\n")
