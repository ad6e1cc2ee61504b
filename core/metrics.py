"""Metrics: what a server counts. Each is named and explained once, beside the code that counts it:
`LATE = Metric("late", "Replies that ...")`. STATS puts the subject before the name (`Value.key`).

A metric is a number, or a word for a state. It belongs to the whole server, or to one of its
upstreams, workers or bounds, whose name then stands before it: `TS1.won`. Names that clients asked
for are never among them: any client could otherwise write into the monitoring.

Not here: the list of all (proto.md has it, and the tests compare it), and how metrics are written
for STATS and for Prometheus (`core/exposition.py`).
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# Ends of the spans of a histogram, in s: 1, 2.5, 5 and so on, round what people call fast and slow.
SPANS_S = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metric:
    """A thing that is counted. `is_level`: it goes up and down; others only rise. `per`: what it is
    counted for, an upstream (`ts`), a `worker` or a `bound`; empty for the whole server."""

    name: str
    about: str
    is_level: bool = False
    per: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A metric and its value now. `subject` names the upstream, worker or bound that it belongs to,
    empty for the whole server."""

    metric: Metric
    value: int | float | str
    subject: str = ""

    @property
    def key(self) -> str:
        """The name of the metric in the reply to STATS."""
        return f"{self.subject}.{self.metric.name}" if self.subject else self.metric.name


class Histogram:
    """A distribution of times. `counts`: how many fell into each span of SPANS_S, and beyond."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SPANS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(SPANS_S, seconds)] += 1
        self.sum_s += seconds

    def add_all(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def add_beyond(self, seconds: float) -> None:
        """Count a time beyond all spans, perhaps endless, that was watched for `seconds`."""
        self.counts[-1] += 1
        self.sum_s += seconds


# The last is the name of the upstream that it belongs to, empty for the whole server.
LabelledHistogram = tuple[Metric, Histogram, str]


class Observable(Protocol):
    """The part of a brain that a status page, or the parent of a worker, reads."""

    def metrics(self) -> list[Value]:
        """Return all metrics."""
        ...

    def histograms(self) -> list[LabelledHistogram]:
        """Return all distributions of times."""
        ...

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well."""
        ...

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows besides: `program` (ts or ls), and of LS `policy`,
        `sampling`, `told` (disagreements of table servers, the latest first) and `where` (the
        address of each upstream, in order)."""
        ...


BOUND = Metric("hits", "How often a bound took hold", per="bound")


def hits_taken(hits: Mapping[str, int]) -> list[Value]:
    """Return the hits of each bound that has taken hold."""
    return [Value(BOUND, count, name) for name, count in sorted(hits.items())]
