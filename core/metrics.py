"""Figures: what a server counts, each named and explained once, and the two ways to show them.

A figure is a number, or a word for a state. It belongs to the whole server, or to one of its
table servers, whose name then stands before it: `TS1.won`. `stats_text` shows figures as the lines
that answer STATS, `prometheus_text` as Prometheus text (exposition format 0.0.4). Names that
somebody asked for are never among them: who can ask could else write into the monitoring.

Not here: what is counted where. proto.md has the list, and the tests compare it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# Ends of the spans of a histogram, in s: 1, 2.5, 5 and so on, round what people call fast and slow.
SPANS_S = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0
)  # fmt: skip


_PLAIN = ("", "bound")  # no word of it stands in the name of a metric


@dataclass(frozen=True, slots=True)
class Metric:
    """What is counted. `is_level`: it goes up and down; else it only rises. `per`: what there is
    one of it for: a table server (`ts`), a `worker`, a `bound`; empty for one of the whole server.
    """

    name: str
    about: str
    is_level: bool = False
    per: str = ""

    @property
    def metric(self) -> str:
        """What it is called in Prometheus text."""
        return f"photofinish_{'' if self.per in _PLAIN else f'{self.per}_'}{self.name}"


@dataclass(frozen=True, slots=True)
class Value:
    """A figure as it stands. `of` says of which table server or bound, empty for all."""

    metric: Metric
    value: int | float | str
    of: str = ""

    @property
    def key(self) -> str:
        """What it is called among the lines that answer STATS."""
        return f"{self.of}.{self.metric.name}" if self.of else self.metric.name


BOUND = Metric("hits", "How often a bound took hold", per="bound")


def hits_taken(hits: Mapping[str, int]) -> list[Value]:
    """How often each bound took hold, of those that did."""
    return [Value(BOUND, count, name) for name, count in sorted(hits.items())]


class Histogram:
    """How often a time fell into which span. `counts` are parallel to SPANS_S, and one more."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SPANS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """It took so long."""
        self.counts[bisect_left(SPANS_S, seconds)] += 1
        self.sum_s += seconds

    def add_beyond(self, seconds: float) -> None:
        """It took longer than all spans, perhaps for ever: it was watched for so long."""
        self.counts[-1] += 1
        self.sum_s += seconds


def stats_text(values: Iterable[Value]) -> bytes:
    """The lines that answer STATS, END included."""
    lines = [f"STAT {value.key} {value.value}\n" for value in values]
    return "".join([*lines, "END\n"]).encode("ascii")


def prometheus_text(
    values: Iterable[Value], histograms: Iterable[tuple[Metric, Histogram, str]] = ()
) -> bytes:
    """The same as Prometheus text, each figure's values together. A word becomes a label.

    A histogram comes with its figure and the table server that it belongs to, empty for all.
    """
    by_figure: dict[Metric, list[Value]] = {}
    for value in values:
        by_figure.setdefault(value.metric, []).append(value)
    lines: list[str] = []
    for metric, group in by_figure.items():
        full = metric.metric if metric.is_level else f"{metric.metric}_total"
        kind = "gauge" if metric.is_level else "counter"
        lines += [f"# HELP {full} {metric.about}.", f"# TYPE {full} {kind}"]
        lines += [_sample(full, value) for value in group]
    said = ""
    for metric, histogram, of in histograms:
        full = metric.metric
        if full != said:
            said = full
            lines += [f"# HELP {full} {metric.about}.", f"# TYPE {full} histogram"]
        lines += _buckets(full, histogram, of)
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _buckets(full: str, histogram: Histogram, of: str) -> Iterator[str]:
    label = f'ts="{of}"' if of else ""
    total = 0
    for end, count in zip([*map(str, SPANS_S), "+Inf"], histogram.counts, strict=True):
        total += count
        yield f'{full}_bucket{{{label}{"," if label else ""}le="{end}"}} {total}'
    labels = f"{{{label}}}" if label else ""
    yield f"{full}_sum{labels} {histogram.sum_s:.6f}"
    yield f"{full}_count{labels} {total}"


def _sample(full: str, value: Value) -> str:
    labels = {value.metric.per: value.of} if value.of else {}
    number: int | float | str = value.value
    if isinstance(number, str):
        labels["is"] = number
        number = 1
    said = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{full}{{{said}}} {number}" if said else f"{full} {number}"
