"""News: what a worker and its parent tell each other, and the sums that are made of it.

A message is a JSON object, cut into lines, since lines are what the loop carries; an empty line
ends it. What a worker counts comes whole each time, so one message that is lost costs nothing.

Sums: numbers add up, also those of workers that are gone as long as they only rise (a counter
that falls would look like a new start); words that differ stand side by side.

Not here: who says what when (`supervisor.py`, `worker.py`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from core.figures import Figure, Histogram, Value
from core.wire import split_lines

_LINE_BYTES = 500  # a line of the loop is at most LINE_BYTES_MAX long
Told = tuple[Figure, Histogram, str]  # a histogram, as `core.figures.metrics` takes it
Message = dict[str, Any]


def pack(message: Message) -> bytes:
    """A message as lines."""
    text = json.dumps(message)
    parts = [text[at : at + _LINE_BYTES] for at in range(0, len(text), _LINE_BYTES)]
    return "".join(f"{part}\n" for part in [*parts, ""]).encode("ascii")


class Unpacker:
    """Lines in, messages out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> list[Message]:
        """The messages that these whole lines complete."""
        messages = []
        for line in split_lines(data):
            if line:
                self._parts.append(line)
            else:
                messages.append(json.loads(b"".join(self._parts)))
                self._parts.clear()
        return messages


@dataclass
class News:
    """What a worker tells of itself: all that it counts, and what its status page would show."""

    values: list[Value] = field(default_factory=list)
    histograms: list[Told] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)

    def packed(self) -> Message:
        """As part of a message."""
        return {
            "values": packed_values(self.values),
            "histograms": [
                [astuple(figure), told.counts, told.sum_s, of]
                for figure, told, of in self.histograms
            ],
            "status": self.status,
        }

    @staticmethod
    def unpacked(message: Message) -> "News":
        """The reverse."""
        histograms = []
        for figure, counts, sum_s, of in message["histograms"]:
            told = Histogram()
            told.counts, told.sum_s = counts, sum_s
            histograms.append((Figure(*figure), told, of))
        return News(unpacked_values(message["values"]), histograms, message["status"])


def packed_values(values: Iterable[Value]) -> list[Any]:
    """As part of a message."""
    return [[astuple(value.figure), value.value, value.of] for value in values]


def unpacked_values(packed: Iterable[Any]) -> list[Value]:
    """The reverse."""
    return [Value(Figure(*figure), value, of) for figure, value, of in packed]


def summed(parts: Iterable[Iterable[Value]]) -> list[Value]:
    """One value of each figure, in the order in which they come first."""
    sums: dict[tuple[Figure, str], int | float | str] = {}
    for part in parts:
        for value in part:
            key = value.figure, value.of
            sums[key] = _joined(sums[key], value.value) if key in sums else value.value
    return [Value(figure, value, of) for (figure, of), value in sums.items()]


def summed_histograms(parts: Iterable[Iterable[Told]]) -> list[Told]:
    """One histogram of each kind."""
    sums: dict[tuple[Figure, str], Histogram] = {}
    for part in parts:
        for figure, told, of in part:
            total = sums.setdefault((figure, of), Histogram())
            total.counts = [a + b for a, b in zip(total.counts, told.counts, strict=True)]
            total.sum_s += told.sum_s
    return [(figure, total, of) for (figure, of), total in sums.items()]


def risen(values: Iterable[Value]) -> list[Value]:
    """Those that only rise: they count also when the worker that counted them is gone."""
    return [value for value in values if not value.figure.is_level]


def summed_servers(statuses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the status pages show of each TS, together."""
    return [
        {name: _joined_all([server[name] for server in same]) for name in same[0]}
        for same in zip(*(status["servers"] for status in statuses), strict=True)
    ]


def _joined_all(items: list[Any]) -> Any:  # noqa: ANN401 (numbers, words, or counts)
    total = items[0]
    for item in items[1:]:
        if isinstance(total, list):
            total = [a + b for a, b in zip(total, item, strict=True)]
        else:
            total = _joined(total, item)
    return total


def _joined(a: int | float | str, b: int | float | str) -> int | float | str:
    if isinstance(a, str) or isinstance(b, str):
        return "/".join(dict.fromkeys(f"{a}/{b}".split("/")))
    return a + b
