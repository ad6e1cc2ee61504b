r"""The log: one formatter for everything that a running node says to people.

Each record is one line, on standard error:

    16:06:41.123456 LS > client-1 rutgers.edu            a line was received
    16:06:41.123512 LS < TS1 rutgers.edu                 a line was sent
    16:06:41.124003 LS = TS1 DIALING -> CATCHING_UP      a state machine moved
    16:06:41.125210 LS TS1 is up                         a report: shown from its level on
    16:06:41.126301 LS WARNING TS2 is stalled            one that is more than information

The first three kinds are the wire log (`--wire-log`); when it is off nothing of this is called.
As JSON a record is one object a line, with the same in fields.

Bytes that are not printable ASCII appear as `\xNN`, so that a record is always one line, and
what a peer sends cannot move the reader's cursor. A record is at most so long that a pipe takes
it whole (POSIX, PIPE_BUF). Of reports that are alike a few are shown in a while, and then how
many were not.

Not here: the descriptor (`core/io/outputs.py`) and the clocks, which are handed in.
"""

import json
from collections.abc import Callable

from core.bounds import PIPE_BYTES
from core.machine import Label
from core.operator import Level
from core.text import printable, split_lines

_DAY_S = 86_400
_ALIKE_MAX = 5  # reports of a kind
_ALIKE_S = 10.0  # in so long a time


class _Kind:
    """Reports that are alike: since when they are counted, shown and not shown."""

    __slots__ = ("began", "hidden", "shown")

    def __init__(self, began: float) -> None:
        self.began = began
        self.shown = 0
        self.hidden = 0


class Log:
    """Formats records and hands each to `write`.

    `wall()` is the time of day in s since 1970, UTC. Without it a record is its bare text: what a
    program that a person runs by hand has to say. `now()` is a clock that never jumps. Reports
    below `least` are left out.
    """

    def __init__(
        self,
        node: str,
        write: Callable[[bytes], None],
        wall: Callable[[], float] | None,
        now: Callable[[], float] = float,
        *,
        least: Level = Level.INFO,
        as_json: bool = False,
    ) -> None:
        self._node = node
        self._write = write
        self._wall = wall
        self._now = now
        self._least = least
        self._as_json = as_json
        self._kinds: dict[str, _Kind] = {}

    def received(self, conn: str, data: bytes) -> None:
        """Record whole lines that came in."""
        self._each(">", conn, data)

    def sent(self, conn: str, data: bytes) -> None:
        """Record whole lines that wait to go out."""
        self._each("<", conn, data)

    def changed(self, machine: str, old: Label, new: Label) -> None:
        """Record that a state machine moved."""
        self._record(f"= {machine} {old.name} -> {new.name}", Level.DEBUG)

    def report(self, text: str, level: Level = Level.INFO, kind: str = "") -> None:
        """Tell something that an operator wants to know. `kind`: see `Report`."""
        if level < self._least:
            return
        hidden = self._hidden_before(kind or text)
        if hidden is not None:
            self._record(f"{text} (and {hidden} more like this)" if hidden else text, level)

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

    def _each(self, mark: str, conn: str, data: bytes) -> None:
        for line in split_lines(data):
            self._record(f"{mark} {conn} {printable(line).decode('ascii')}", Level.DEBUG)

    def _record(self, text: str, level: Level) -> None:
        if self._wall is None:
            record = text
        elif self._as_json:
            fields = {"time": round(self._wall(), 6), "node": self._node, "level": level.name}
            shortest = len(json.dumps({**fields, "text": ""}))
            room = PIPE_BYTES - shortest - 1
            while len(json.dumps(text)) - 2 > room:
                text = text[: len(text) * 3 // 4]
            record = json.dumps({**fields, "text": text})
        else:
            now = self._wall() % _DAY_S
            hours, rest = divmod(now, 3600)
            minutes, seconds = divmod(rest, 60)
            stamp = f"{int(hours):02}:{int(minutes):02}:{seconds:09.6f}"
            loud = f"{level.name} " if level > Level.INFO else ""
            record = f"{stamp} {self._node} {loud}{text}"
        line = printable(record.encode("ascii", "backslashreplace"))
        self._write(line[: PIPE_BYTES - 1] + b"\n")
