"""Demo: runs two table servers, LS and a client once, each a process, and shows the race.

A program is started when those that it needs are ready. Everything that it writes comes as lines of
one stream: its ready line, its log, and the client's output. Every program ends by itself: they
serve one session (`--once`), so the client's QUIT ends the whole chain. When one fails, or takes
too long, the demo ends with exit code 1, and the loop ends those that still run.

Not here: what a forked process becomes (`nodes/cli/demo.py`), and how records are shown
(`records.py`).
"""

import math
import re

from core.effects import Effect, Spawn, Stop, Write
from core.events import Closed, Event, Received, Woken
from core.operator import DrainAsked, ReloadAsked, Report
from core.text import printable, split_lines
from nodes.demo.records import CLIENT_LABEL, LS_LABEL, NodeRecord, merged, node_record, race
from nodes.demo.scenario import Scenario

_HOST = "127.0.0.1"
_READY = re.compile(r"\w+ ready on .*:(\d+)")
_WELL = "it ended with exit code 0"  # as `core/io/child.py` says it
_TABLE = "/dev/stdin"  # no file: there may be no place that can be written
_ONCE = ("--once", "--wire-log", "--log-format", "json")
_MERGE_S = 0.1  # records of different programs are put in order within this time
_END_S = 30.0  # for everything; it takes a little over 5 s, and longer on a busy machine
_KNOWN, _UNKNOWN = "google.com", "nothinghere.com"  # names whose races are shown
_BEGINNING = """\
Two table servers (TS1, TS2), a load balancer (LS) and a client, each a process of its own. LS asks
both table servers for each name, and relays the first answer; a table server that does not have the
name stays silent, and after 5 s without an answer LS says TIMED OUT. The client writes:
"""
_WIRE = """
What the servers received (>), sent (<) and became (=); seconds, who, what. A server calls whoever
has connected to it client-1: of LS that is the client, of TS1 and TS2 it is LS.

"""
_MORE = """
All that was sent, and each change of a state: --wire (make run-local WIRE=1). The commands for four
terminals of your own: photofinish --help, or python3 -m nodes --help.
"""


class Demo:
    """The brain of the demo. `is_whole`: it shows all that servers say, and then what the client
    wrote; else the client's lines as they come, and then two races."""

    def __init__(self, scenario: Scenario, *, is_whole: bool = False) -> None:
        self._scenario = scenario
        self._is_whole = is_whole
        self._ports: dict[str, str] = {}  # of the servers that are ready, by label
        self._running: set[str] = set()
        self._is_over = False
        self._written: list[str] = []  # by the client
        self._records: list[NodeRecord] = []  # to be shown
        self._began = math.inf  # the time of the first
        self._show_at = math.inf  # when records are to be shown
        self._end_at = -math.inf  # when patience ends; at first there is something to do at once

    @property
    def due(self) -> float:
        """When to show records, or when patience ends."""
        return min(self._show_at, self._end_at)

    def words(self, label: str) -> list[str]:
        """Return the command line of a program whose turn it is."""
        if label in self._scenario.tables:
            return ["ts", "0", "--table", _TABLE, *_ONCE]
        if label == LS_LABEL:
            hosts = [word for name in self._scenario.tables for word in (_HOST, self._ports[name])]
            return ["ls", "0", *hosts, *_ONCE]
        return ["client", _HOST, self._ports[LS_LABEL], *self._scenario.names]

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if self._is_over:
            return []
        match event:
            case Woken() if self._end_at == -math.inf:
                self._end_at = now + _END_S
                beginning = _WIRE if self._is_whole else f"{_BEGINNING}\n"
                return [Write(beginning.encode()), *self._start(*self._scenario.tables)]
            case Woken() if now >= self._end_at:
                return self._fail(f"not finished after {_END_S:g} s")
            case Woken() if now >= self._show_at:
                return self._show_records()
            case Received(label, data):
                lines = [printable(line).decode() for line in split_lines(data)]
                return [effect for line in lines for effect in self._take(label, line, now)]
            case Closed(label, why):
                return self._end(label, why)
            case DrainAsked() | ReloadAsked():  # SIGHUP: the terminal is gone
                return self._give_up("interrupted")
        return []

    def _start(self, *labels: str) -> list[Effect]:
        self._running.update(labels)
        return [Spawn(label) for label in labels]

    def _take(self, label: str, line: str, now: float) -> list[Effect]:
        """Take a line that a program wrote."""
        if label == CLIENT_LABEL:
            self._written.append(line)
            return [] if self._is_whole else [_line(line)]
        if record := node_record(label, line):
            self._records.append(record)
            if self._is_whole:
                self._show_at = min(self._show_at, now + _MERGE_S)
            return []
        if found := _READY.fullmatch(line):
            return self._ready(label, found[1])
        return [_line(f"{label} {line}")]  # why it does not start

    def _ready(self, label: str, port: str) -> list[Effect]:
        """Start the programs that only waited for this server."""
        self._ports[label] = port
        if label == LS_LABEL:
            return self._start(CLIENT_LABEL)
        return self._start(LS_LABEL) if len(self._ports) == len(self._scenario.tables) else []

    def _end(self, label: str, why: str) -> list[Effect]:
        """Take note that a program has ended; with the last one all is over."""
        self._running.discard(label)
        if why != _WELL or (label != CLIENT_LABEL and label not in self._ports):
            return self._fail(f"{label}: {why}")
        return [] if self._running else self._finish()

    def _finish(self) -> list[Effect]:
        """Show what is left to be shown, and end."""
        written = self._written[: len(self._scenario.expected)]
        if tuple(written) != self._scenario.expected:
            return self._fail("the client did not write what it should")
        if self._is_whole:
            lines = ["", "What the client wrote:", "", *self._written]
            return [*self._show_records(), *map(_line, lines), Stop(0)]
        lines = [
            *("", f"The race for {_KNOWN}, in ms:", "", *race(self._records, _KNOWN)),
            *("", f"Nobody has {_UNKNOWN}:", "", *race(self._records, _UNKNOWN)),
        ]
        return [*map(_line, lines), Write(_MORE.encode()), Stop(0)]

    def _fail(self, why: str) -> list[Effect]:
        """End, with all that servers said and has not been shown: it may explain why."""
        return [*self._show_records(), *self._give_up(why)]

    def _give_up(self, why: str) -> list[Effect]:
        self._is_over = True
        return [Report(why, event="gave_up"), Stop(1)]

    def _show_records(self) -> list[Effect]:
        """Show the records that have not been shown."""
        self._show_at = math.inf
        if not self._records:
            return []
        fresh, self._records = self._records, []
        self._began = min(self._began, *(record.time for record in fresh))
        return [_line(line) for line in merged(fresh, self._began)]


def _line(text: str) -> Write:
    return Write(f"{text}\n".encode())
