"""Metrics: what a server counts. Each is named and explained once, beside the code that counts it:
`LATE = Metric("late", "Replies that ...")`. STATS puts the subject before the name (`Value.key`).

A metric is a number, or a word for a state. It belongs to the whole program, or to one of the
servers that it asks, of their tiers, of its workers, faces (the protocols that clients speak) or
bounds, whose name then stands before it: `TS1.won`. Names that clients asked for are never among
them: any client could otherwise write into the monitoring.

For Prometheus some metrics are one, a *family*, in which a label tells them apart: what became of
questions, say.

Not here: the list of all (proto.md has it, and the tests compare it), and how metrics are written
for STATS and for Prometheus (`core/exposition.py`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from core.bounds import COUNTED

# Ends of the spans of a histogram, in s: from 0.1 ms to 9.27 s in steps of the square root of 2, so
# that a quantile read from them is wrong by a sixth at most.
SPANS_S = tuple(float(f"{1e-4 * 2 ** (step / 2):.3g}") for step in range(34))


@dataclass(frozen=True, slots=True)
class Metric:
    """A thing that is counted. `is_level`: it goes up and down; others only rise. `per`: what it is
    counted for, a `server` that is asked, a `tier` of servers, a `worker`, a `face` or a `bound`;
    empty for the whole program. `family`: see above; `family_about` explains it, and `label` is a
    label with its value. `words`: all that a state may be. `is_text`: it is for people, and no
    metric of Prometheus. `is_kept`: it still has the name, too, that it had before its family.
    `is_common`: all programs that Prometheus watches have it by the same name. `is_shared`: it is
    one thing for all workers, so that they are not added up: the least counts."""

    name: str
    about: str
    is_level: bool = False
    per: str = ""
    family: str = ""
    family_about: str = ""
    label: tuple[str, str] = ("", "")
    words: tuple[str, ...] = ()
    is_text: bool = False
    is_kept: bool = False
    is_common: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Info:
    """A fact in words, for Prometheus: a level that is always 1, whose labels say it."""

    name: str
    about: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Value:
    """A metric and its value now. `subject` names the server, tier, worker, face or bound that it
    belongs to, empty for the whole program."""

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

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a time, `count` times."""
        self.counts[bisect_left(SPANS_S, seconds)] += count
        self.sum_s += seconds * count

    def add_all(self, other: "Histogram") -> None:
        """Add the counts of another histogram."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def add_endless(self) -> None:
        """Count a time that did not end while it was watched: beyond all spans, and in no sum."""
        self.counts[-1] += 1


# The last is the name of the server or face that it belongs to, empty for the whole program.
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
        `sampling`, `told` (disagreements of servers, the latest first), `nobodys_names` (those that
        no resolver is asked for) and `servers` (of each, in order: `kind`, `address`, `next`,
        `tier`, `routes`)."""
        ...


BOUND = Metric("hits", "How often a bound took hold", per="bound")


def hits_taken(hits: Mapping[str, int]) -> list[Value]:
    """Return the hits of each bound that has taken hold."""
    return [Value(BOUND, count, name) for name, count in sorted(hits.items())]


def hits_untaken(values: Iterable[Value]) -> list[Value]:
    """Return 0 for each bound that has no hits among these: what appears with its first hit is not
    seen to rise."""
    taken = {value.subject for value in values if value.metric.per == BOUND.per}
    return [Value(BOUND, 0, name) for name in COUNTED if name not in taken]


def refused_for(name: str, about: str, why: str, *, is_kept: bool = False) -> Metric:
    """Return the metric of those that were refused for this reason."""
    family_about = "Connections and datagrams that were refused, by reason"
    label = ("reason", why)
    return Metric(
        name, about, family="refused", family_about=family_about, label=label, is_kept=is_kept
    )


def spans_taken(histograms: Iterable[LabelledHistogram]) -> list[Value]:
    """Return how many times fell into each span, where any did, for STATS: `NAME.141` is that of
    the span which ends at 141 us, `NAME.inf` of what is beyond all."""
    ends = [*(str(round(end_s * 1e6)) for end_s in SPANS_S), "inf"]
    return [
        Value(Metric(f"{metric.name}.{end}", metric.about, per=metric.per, is_text=True), count, of)
        for metric, histogram, of in histograms
        for end, count in zip(ends, histogram.counts, strict=True)
        if count
    ]
