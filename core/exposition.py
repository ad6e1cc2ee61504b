"""Exposition: the two ways to write metrics.

`stats_text` writes the lines that answer STATS, `prometheus_text` Prometheus text (exposition
format 0.0.4), where a word that tells a state becomes a label.

Not here: what a metric is (`core/metrics.py`).
"""

from collections.abc import Iterable, Iterator

from core.metrics import SPANS_S, Histogram, LabelledHistogram, Metric, Value

_UNNAMED = ("", "bound")  # values of `per` of which no word stands in the metric's name


def stats_text(values: Iterable[Value]) -> bytes:
    """Return the lines that answer STATS, END included."""
    lines = [f"STAT {value.key} {value.value}\n" for value in values]
    return "".join([*lines, "END\n"]).encode("ascii")


def _full_name(metric: Metric) -> str:
    """Return the name of a metric in Prometheus text, without the suffix of a counter."""
    return f"photofinish_{'' if metric.per in _UNNAMED else f'{metric.per}_'}{metric.name}"


def prometheus_text(values: Iterable[Value], histograms: Iterable[LabelledHistogram] = ()) -> bytes:
    """Return Prometheus text, all values of a metric together, histograms last."""
    by_metric: dict[Metric, list[Value]] = {}
    for value in values:
        by_metric.setdefault(value.metric, []).append(value)
    lines: list[str] = []
    for metric, group in by_metric.items():
        name = _full_name(metric) + ("" if metric.is_level else "_total")
        lines += _heading(name, metric, "gauge" if metric.is_level else "counter")
        lines += [_sample(name, value) for value in group]
    last = ""
    for metric, histogram, subject in histograms:
        name = _full_name(metric)
        if name != last:
            last = name
            lines += _heading(name, metric, "histogram")
        lines += _buckets(name, histogram, subject)
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _heading(name: str, metric: Metric, kind: str) -> list[str]:
    return [f"# HELP {name} {metric.about}.", f"# TYPE {name} {kind}"]


def _buckets(name: str, histogram: Histogram, subject: str) -> Iterator[str]:
    label = f'ts="{subject}"' if subject else ""
    total = 0
    for end, count in zip([*map(str, SPANS_S), "+Inf"], histogram.counts, strict=True):
        total += count
        yield f'{name}_bucket{{{label}{"," if label else ""}le="{end}"}} {total}'
    labels = f"{{{label}}}" if label else ""
    yield f"{name}_sum{labels} {histogram.sum_s:.6f}"
    yield f"{name}_count{labels} {total}"


def _sample(name: str, value: Value) -> str:
    labels = {value.metric.per: value.subject} if value.subject else {}
    number: int | float | str = value.value
    if isinstance(number, str):
        labels["is"] = number
        number = 1
    text = ",".join(f'{label}="{content}"' for label, content in labels.items())
    return f"{name}{{{text}}} {number}" if text else f"{name} {number}"
