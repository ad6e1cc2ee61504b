"""Race records: what came of a sampled race, and its line of JSON, written and read in one place.

`ls --race-log` appends such lines to a file, and `replay` reads them. Times are in s, to the
microsecond. A file may have been cut, or edited, so whatever LS cannot have written is refused.

Not here: which races are sampled (`race_samples.py`), and which of them can be replayed
(`nodes/replay/replay.py`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nodes.ls.server_names import LEGAL_NAME, is_table_name

WON_END = "ANSWERED"  # the end of a race that was won
_NEGATIVES = frozenset(
    {"NOT FOUND", "NO DATA", "NAMES BELOW", "BLOCKED", "REFUSED", "FAILED", "BOGUS"}
)
_DECIMALS = 6
_NO_RECORD = "it is no record of a race"
_SECONDS_MAX = 1e9  # some 30 years
_T = TypeVar("_T")


class RecordError(ValueError):
    """A record that cannot be used. The text says why, and has nothing of the record in it."""


@dataclass(slots=True)
class RaceRecord:
    """A sampled race. `at` is a time of the machine's clock, `time` the same moment by the time of
    day, in ISO 8601 (empty in older records); all others are spans since then."""

    at: float
    question: str
    policy: str
    share: float  # of all questions, that of those that are sampled
    asked: dict[str, float] = field(default_factory=dict)  # by server
    replies: dict[str, tuple[float, str]] = field(default_factory=dict)  # addresses, or a negative
    winner: str | None = None  # the first to answer, if the askers got an answer
    margin: float | None = None  # how much later the second answer came
    end: str = ""  # why it ended for its askers: the name of a state; empty while it has not
    took: float = 0.0  # and after how long
    time: str = ""

    def finish(self, end: str, now: float) -> bool:
        """End the race for its askers; return False if it had ended before."""
        if self.end:
            return False
        self.end, self.took = end, now - self.at
        return True

    def reply(self, server: str, text: str, now: float) -> bool:
        """Note the first reply of a server that was asked; return whether this is it."""
        if server not in self.asked or server in self.replies:
            return False
        self.replies[server] = (now - self.at, text)
        return True

    def answer(self, server: str, text: str, now: float) -> None:
        """Note a server's answer, also after it denied: the first one wins, unless the race is
        over."""
        if not self.end and self.replies.get(server, (0.0, ""))[1] in _NEGATIVES:
            del self.replies[server]
        if not self.reply(server, text, now):
            return
        if self.finish(WON_END, now):
            self.winner = server
        elif self.winner is not None and self.margin is None:
            self.margin = self.replies[server][0] - self.replies[self.winner][0]

    @property
    def answers(self) -> dict[str, str]:
        """The addresses that servers answered with, the first answer first."""
        return {
            server: text for server, (_, text) in self.replies.items() if text not in _NEGATIVES
        }

    @property
    def is_of_tables(self) -> bool:
        """Whether table servers alone were asked."""
        return all(map(is_table_name, self.asked))

    @property
    def is_done(self) -> bool:
        """Whether nothing is missing any more."""
        return bool(self.end) and self.replies.keys() == self.asked.keys()

    def line(self) -> bytes:
        """Return the record as a line."""
        record = {
            "at": _rounded(self.at),
            "time": self.time,
            "question": self.question,
            "policy": self.policy,
            "share": self.share,
            "asked": {server: _rounded(at) for server, at in self.asked.items()},
            "replies": {
                server: [_rounded(at), text] for server, (at, text) in self.replies.items()
            },
            "winner": self.winner,
            "margin": None if self.margin is None else _rounded(self.margin),
            "end": self.end,
            "took": _rounded(self.took),
        }
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def read_record(line: bytes) -> RaceRecord:
    """Read a record from its line. Raises RecordError."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise RecordError(f"{_NO_RECORD}: it is no JSON") from None
    if not isinstance(record, dict):
        raise RecordError(_NO_RECORD)
    values = {}
    for name, read in _READERS.items():
        try:
            values[name] = read(record.get(name))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            why = f"{_NO_RECORD}: its '{name}' is missing, or is not as LS writes it"
            raise RecordError(why) from None
    return RaceRecord(**values)


def span_s(value: Any) -> float:  # noqa: ANN401
    """Return what is a span, or a time of the machine. Raises TypeError, ValueError,
    OverflowError."""
    if not 0 <= float(value) < _SECONDS_MAX:
        raise ValueError(value)
    return float(value)


def _by_server(part: dict[str, Any], read: Callable[[Any], _T]) -> dict[str, _T]:
    if not all(map(LEGAL_NAME.fullmatch, part)):
        raise ValueError(part)
    return {server: read(value) for server, value in part.items()}


def _reply(value: Any) -> tuple[float, str]:  # noqa: ANN401
    at, text = value
    return span_s(at), _text(text)


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise ValueError(value)
    return value


def _rounded(at: float) -> float:
    return round(at, _DECIMALS)


def _share(value: Any) -> float:  # noqa: ANN401
    if not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


_READERS: dict[str, Callable[[Any], Any]] = {  # by field
    "at": span_s,
    "question": _text,
    "policy": _text,
    "share": _share,
    "asked": lambda part: _by_server(part, span_s),
    "replies": lambda part: _by_server(part, _reply),
    "winner": lambda value: None if value is None else _text(value),
    "margin": lambda value: None if value is None else span_s(value),
    "end": _text,
    "took": span_s,
    "time": lambda value: "" if value is None else _text(value),
}
