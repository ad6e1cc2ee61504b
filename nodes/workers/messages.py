"""News: what a worker and its parent tell each other, and the sums that are made of it.

A message is a JSON object, cut into lines, since lines are what the loop carries; an empty line
ends it. Whatever is told has a key, and what was told under it before is not told again: most
figures of most servers stand still from one second to the next. A stream between the two brings
all that is said on it or ends, and a new one begins with everything.

Sums: numbers add up, also those of workers that are gone as long as they only rise (a counter
that falls would look like a new start); words that differ stand side by side.

Not here: who says what when (`supervisor.py`, `worker.py`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, TypeVar

from core.metrics import Histogram, Metric, Value
from core.text import split_lines

_LINE_BYTES = 500  # a line of the loop is at most LINE_BYTES_MAX long
Told = tuple[Metric, Histogram, str]  # a histogram, as `core.metrics.metrics` takes it
WorkerMessage = dict[str, Any]
Values = dict[str, Value]  # each by its key
Sections = dict[str, dict[str, Any]]  # what a worker tells: parts of news, and what is in them
_T = TypeVar("_T")


def pack(message: WorkerMessage) -> bytes:
    """A message as lines. There may be figures and values in it."""
    text = json.dumps(message, default=astuple)
    parts = [text[at : at + _LINE_BYTES] for at in range(0, len(text), _LINE_BYTES)]
    return "".join(f"{part}\n" for part in [*parts, ""]).encode("ascii")


class Unpacker:
    """Lines in, messages out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> list[WorkerMessage]:
        """The messages that these whole lines complete."""
        messages = []
        for line in split_lines(data):
            if line:
                self._parts.append(line)
            else:
                messages.append(json.loads(b"".join(self._parts)))
                self._parts.clear()
        return messages


def sections(
    values: Iterable[Value], histograms: Iterable[Told], about: dict[str, Any]
) -> Sections:
    """All that a worker has to tell, as it stands now."""
    return {
        "values": keyed(values),
        "histograms": {
            f"{of}.{metric.name}": (metric, tuple(told.counts), told.sum_s, of)
            for metric, told, of in histograms
        },
        "about": about,
    }


def changes(now: Mapping[str, _T], before: Mapping[str, _T]) -> dict[str, _T]:
    """What is not as it was, by its key."""
    return {key: item for key, item in now.items() if before.get(key) != item}


@dataclass
class WorkerReport:
    """What a worker has told of itself: all that it counts, and what its status page would show
    besides."""

    values: Values = field(default_factory=dict)
    histograms: dict[str, Told] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def take(self, message: WorkerMessage) -> list[str]:
        """Take in the changes of each section; return the keys of the values among them."""
        heard = unpacked_values(message["values"])
        self.values.update(heard)
        for key, (metric, counts, sum_s, of) in message["histograms"].items():
            told = Histogram()
            told.counts, told.sum_s = counts, sum_s
            self.histograms[key] = Metric(*metric), told, of
        self.about.update(message["about"])
        return list(heard)


def unpacked_values(packed: Mapping[str, Any]) -> Values:
    """Read values from a message."""
    return {key: Value(Metric(*metric), value, of) for key, (metric, value, of) in packed.items()}


def keyed(values: Iterable[Value]) -> Values:
    """Map each value's key to it."""
    return {value.key: value for value in values}


def summed(parts: Iterable[Values]) -> Values:
    """One value of each figure, in the order in which they come first."""
    sums: Values = {}
    for part in parts:
        for key, value in part.items():
            if key in sums:
                value = Value(value.metric, _joined(sums[key].value, value.value), value.of)
            sums[key] = value
    return sums


def summed_histograms(parts: Iterable[Mapping[str, Told]]) -> dict[str, Told]:
    """One histogram of each kind."""
    sums: dict[str, Told] = {}
    for part in parts:
        for key, (metric, told, of) in part.items():
            _, total, _ = sums.setdefault(key, (metric, Histogram(), of))
            total.counts = [a + b for a, b in zip(total.counts, told.counts, strict=True)]
            total.sum_s += told.sum_s
    return sums


def risen(values: Values) -> Values:
    """Leave out levels: what only rises counts also when its worker is gone."""
    return {key: value for key, value in values.items() if not value.metric.is_level}


def _joined(a: int | float | str, b: int | float | str) -> int | float | str:
    if isinstance(a, str) or isinstance(b, str):
        return "/".join(dict.fromkeys(f"{a}/{b}".split("/")))
    return a + b
