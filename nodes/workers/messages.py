"""Messages between a worker and its supervisor.

The supervisor tells a worker to do one of these: tell (report its metrics), hear (take the sums of
the others), reload, flush, retire or drain. The worker sends reports, and its standing.

A message is a JSON object, cut into lines, since lines are what the loop carries; an empty line
ends it. Each item of a report has a key, and items that have not changed since the last report are
left out: most metrics of most servers stand still from one second to the next. A stream between the
two brings all that is sent on it or ends, and a new one begins with everything.

Not here: when each sends what (`supervisor.py`, `slot.py`, `worker.py`), and sums (`totals.py`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, TypeVar

from core.metrics import Histogram, LabelledHistogram, Metric, Value
from core.text import split_lines

_LINE_BYTES = 500  # a line of the loop is at most LINE_BYTES_MAX long
WorkerMessage = dict[str, Any]
Values = dict[str, Value]  # each by its key
Histograms = dict[str, LabelledHistogram]  # likewise
Sections = dict[str, dict[str, Any]]  # of a report: `values`, `histograms`, `about`, each by keys
_T = TypeVar("_T")


def pack(message: WorkerMessage) -> bytes:
    """Write a message as lines. Metrics and values become lists of their fields."""
    text = json.dumps(message, default=astuple)
    parts = [text[at : at + _LINE_BYTES] for at in range(0, len(text), _LINE_BYTES)]
    return "".join(f"{part}\n" for part in [*parts, ""]).encode("ascii")


class Unpacker:
    """A buffer that lines go into and messages come out of."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> list[WorkerMessage]:
        """Return the messages that these whole lines complete."""
        messages = []
        for line in split_lines(data):
            if line:
                self._parts.append(line)
            else:
                messages.append(json.loads(b"".join(self._parts)))
                self._parts.clear()
        return messages


def keyed(values: Iterable[Value]) -> Values:
    """Map each value's key to it."""
    return {value.key: value for value in values}


def sections(
    values: Iterable[Value], histograms: Iterable[LabelledHistogram], about: dict[str, Any]
) -> Sections:
    """Put together all that a worker reports now."""
    return {
        "values": keyed(values),
        "histograms": {
            f"{subject}.{metric.name}": (metric, tuple(histogram.counts), histogram.sum_s, subject)
            for metric, histogram, subject in histograms
        },
        "about": about,
    }


def changes(now: Mapping[str, _T], before: Mapping[str, _T]) -> dict[str, _T]:
    """Return the items that differ from before, by their keys."""
    return {key: item for key, item in now.items() if before.get(key) != item}


@dataclass(slots=True)
class WorkerReport:
    """All that a worker has reported: its metrics, and what else its status page would show."""

    values: Values = field(default_factory=dict)
    histograms: Histograms = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def take(self, message: WorkerMessage) -> list[str]:
        """Take in the changes of each section; return the keys of the values among them."""
        values = unpacked_values(message["values"])
        self.values.update(values)
        for key, (metric, counts, sum_s, subject) in message["histograms"].items():
            histogram = Histogram()
            histogram.counts, histogram.sum_s = counts, sum_s
            self.histograms[key] = _unpacked_metric(metric), histogram, subject
        self.about.update(message["about"])
        return list(values)


def unpacked_values(packed: Mapping[str, Any]) -> Values:
    """Read the values of a message."""
    return {
        key: Value(_unpacked_metric(metric), value, subject)
        for key, (metric, value, subject) in packed.items()
    }


def _unpacked_metric(fields: list[Any]) -> Metric:
    """Read a metric: JSON has no tuples."""
    words: list[Any] = [tuple(each) if isinstance(each, list) else each for each in fields]
    return Metric(*words)
