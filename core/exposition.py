"""Exposition: the two ways to write metrics.

`stats_text` writes the lines that answer STATS, `prometheus_text` Prometheus text (exposition
format 0.0.4). There a state is one series for each word that it may be, 1 for what it is; metrics
of one family are one, with a label; and what is counted of a server has its kind as well. Metrics
that had another name before they were of a family keep that for one release.

Not here: what a metric is (`core/metrics.py`).
"""

from collections.abc import Iterable, Iterator, Mapping

from core.metrics import SPANS_S, Histogram, Info, LabelledHistogram, Metric, Value

_UNNAMED = ("", "bound", "face")  # values of `per` of which no word stands in the metric's name
_KINDS: Mapping[str, str] = {}
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def stats_text(values: Iterable[Value]) -> bytes:
    """Return the lines that answer STATS, END included."""
    lines = [f"STAT {value.key} {value.value}\n" for value in values]
    return "".join([*lines, "END\n"]).encode("ascii")


def prometheus_text(
    values: Iterable[Value],
    histograms: Iterable[LabelledHistogram] = (),
    kinds: Mapping[str, str] = _KINDS,
    infos: Iterable[Info] = (),
) -> bytes:
    """Return Prometheus text, all values of a metric together, facts first and histograms last.
    `kinds`: the kind of each server."""
    families: dict[str, list[str]] = {}
    for info in infos:
        name = f"photofinish_{info.name}"
        if name not in families:
            families[name] = _heading(name, info.about, "gauge")
        families[name].append(f"{_series(name, info.labels)} 1")
    for value in values:
        metric = value.metric
        if metric.is_text:
            continue
        suffix = "" if metric.is_level else "_total"
        name = _full_name(metric, metric.family or metric.name, suffix)
        lines = families.get(name)
        if lines is None:
            lines = families[name] = _heading(name, _about(metric), _kind_of(metric))
        lines += _samples(name, value, kinds)
        if metric.is_kept:
            old = _full_name(metric, metric.name, suffix)
            about = f"{metric.about}; kept until 1.1: see {name}"
            families[old] = _heading(old, about, _kind_of(metric))
            families[old].append(f"{old} {value.value}")
    for metric, histogram, subject in histograms:
        name = _full_name(metric, metric.family or metric.name, "")
        lines = families.get(name)
        if lines is None:
            lines = families[name] = _heading(name, _about(metric), "histogram")
        lines += _buckets(name, histogram, _labels(metric, subject, kinds))
    return "".join(f"{line}\n" for lines in families.values() for line in lines).encode()


def _full_name(metric: Metric, name: str, suffix: str) -> str:
    """Return a name of a metric in Prometheus text."""
    if metric.is_common:
        return f"{name}{suffix}"
    subject = "" if metric.per in _UNNAMED else f"{metric.per}_"
    return f"photofinish_{subject}{name}{suffix}"


def _kind_of(metric: Metric) -> str:
    return "gauge" if metric.is_level else "counter"


def _about(metric: Metric) -> str:
    return metric.family_about or metric.about


def _heading(name: str, about: str, kind: str) -> list[str]:
    return [f"# HELP {name} {about}.", f"# TYPE {name} {kind}"]


def _labels(metric: Metric, subject: str, kinds: Mapping[str, str]) -> dict[str, str]:
    labels = {metric.per: subject} if subject else {}
    if subject in kinds:
        labels["kind"] = kinds[subject]
    label, content = metric.label
    return labels | {label: content} if label else labels


def _buckets(name: str, histogram: Histogram, labels: dict[str, str]) -> Iterator[str]:
    text = _text(labels)
    total = 0
    for end, count in zip([*map(str, SPANS_S), "+Inf"], histogram.counts, strict=True):
        total += count
        yield f'{name}_bucket{{{text}{"," if text else ""}le="{end}"}} {total}'
    yield f"{_series(f'{name}_sum', labels)} {histogram.sum_s:.6f}"
    yield f"{_series(f'{name}_count', labels)} {total}"


def _samples(name: str, value: Value, kinds: Mapping[str, str]) -> Iterator[str]:
    metric = value.metric
    labels = _labels(metric, value.subject, kinds)
    if isinstance(value.value, str):
        now = value.value.split("/")  # of several workers
        for word in metric.words:
            yield f"{_series(name, labels | {metric.name: word})} {int(word in now)}"
    else:
        yield f"{_series(name, labels)} {value.value}"


def _series(name: str, labels: Mapping[str, str]) -> str:
    text = _text(labels)
    return f"{name}{{{text}}}" if text else name


def _text(labels: Mapping[str, str]) -> str:
    return ",".join(
        f'{label}="{content.translate(_ESCAPED)}"' for label, content in labels.items() if content
    )
