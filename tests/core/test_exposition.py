"""Metrics: any values, as the lines of STATS and as Prometheus text, read back by strict readers.

The reader of Prometheus text here is written from the description of the format (0.0.4), not from
the code: one HELP and one TYPE before a metric's samples, which stand together; no label twice; no
sample twice; buckets that only rise, the last one equal to the count.

Not here: what the servers count (`tests/core/test_metrics.py`), and HTTP
(`tests/nodes/test_requests.py`).
"""

import math
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import BoundHits
from core.exposition import prometheus_text, stats_text
from core.metrics import SPANS_S, Histogram, Info, Metric, Value, hits_taken
from core.protocol.messages import Stat, parse_reply
from core.protocol.names import Word
from core.text import split_lines

# -- a strict reader of Prometheus text ------------------------------------------------------------

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_COMMENT = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.+)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.+)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
Labels = tuple[tuple[str, str], ...]


@dataclass
class ParsedMetric:
    """A metric of a text. `samples` are by name and labels."""

    kind: str = ""
    about: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)


def labels_of(text: str) -> Labels:
    """Return labels as they stand, each one once, with nothing between them but commas."""
    found = list(_LABEL.finditer(text))
    assert "".join(one[0] for one in found) == text and not text.endswith(","), text
    labels = [(one[1], one[2]) for one in found]
    assert len(dict(labels)) == len(labels), text
    return tuple(labels)


def read(text: bytes) -> dict[str, ParsedMetric]:
    """Read Prometheus text; whatever breaks the format fails."""
    metrics_read: dict[str, ParsedMetric] = {}
    now = ""  # the metric whose samples stand here
    assert not text or text.endswith(b"\n")
    for line in split_lines(text):
        said = line.decode()
        if comment := _COMMENT.fullmatch(said):
            word, name, rest = comment.groups()
            metric = metrics_read.setdefault(name, ParsedMetric())
            assert not metric.samples, f"{name}: {word} after its samples"
            if word == "HELP":
                assert not metric.about
                metric.about = rest
            else:
                assert not metric.kind and rest in ("counter", "gauge", "histogram")
                metric.kind = rest
            now = name
            continue
        sample = _SAMPLE.fullmatch(said)
        assert sample is not None, said
        metric = metrics_read[now]
        assert metric.kind and metric.about
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        assert sample[1] in [now + end for end in ends], f"{said} among those of {now}"
        key = sample[1], labels_of(sample[2] or "")
        assert key not in metric.samples, said
        metric.samples[key] = float(sample[3])
    for name, metric in metrics_read.items():
        assert metric.samples, name
        if metric.kind == "histogram":
            check_buckets(name, metric)
    return metrics_read


def check_buckets(name: str, metric: ParsedMetric) -> None:
    """Check for each series that its ends rise and its counts do not fall, the last of them the
    count."""
    series: dict[Labels, list[tuple[float, float]]] = {}
    for (full, labels), value in metric.samples.items():
        if full == f"{name}_bucket":
            *others, (last, end) = labels
            assert last == "le"
            series.setdefault(tuple(others), []).append((float(end), value))
    for labels, buckets in series.items():
        ends, counts = zip(*buckets, strict=True)
        assert list(ends) == sorted(set(ends)) and ends[-1] == math.inf
        assert list(counts) == sorted(counts)
        assert metric.samples[f"{name}_count", labels] == counts[-1]
        assert (f"{name}_sum", labels) in metric.samples
    assert len(metric.samples) == sum(len(buckets) + 2 for buckets in series.values())


@pytest.mark.parametrize(
    "text",
    [
        b"a 1\n",
        b"# HELP a x.\n# TYPE a counter\n",
        b"# HELP a x.\n# TYPE a counter\na 1",
        b"# HELP a x.\n# TYPE a counter\na 1\na 1\n",
        b"# HELP a x.\n# TYPE a counter\nb 1\n",
        b"# HELP a x.\n# TYPE a counter\na{b=c} 1\n",
        b'# HELP a x.\n# TYPE a counter\na{b="c",} 1\n',
        b'# HELP a x.\n# TYPE a counter\na{b="c",b="d"} 1\n',
        b'# HELP a x.\n# TYPE a counter\na{="c"} 1\n',
        b"# HELP a x.\n# TYPE a counter\na{} 1\n",
        b"# HELP a x.\n# TYPE a gauge\na 1\n# TYPE a gauge\n",
        b"# HELP a x.\n# TYPE a gauge\na 1\n# HELP b x.\n# TYPE b gauge\nb 1\na{c=\"d\"} 1\n",
        b'# HELP a x.\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1.0\na_count 2\n',
        b'# HELP a x.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\n'
        b"a_sum 1.0\na_count 1\n",
    ],
)  # fmt: skip
def test_the_reader_can_say_no(text: bytes) -> None:
    with pytest.raises((AssertionError, KeyError, ValueError)):
        read(text)


# -- any values ------------------------------------------------------------------------------------

words = st.from_regex(r"[a-z][a-z_]{0,8}[a-z]", fullmatch=True)
abouts = st.from_regex(r"[A-Z][a-z ,]{0,20}[a-z]", fullmatch=True)
owners = st.from_regex(r"TS[1-9][0-9]{0,2}", fullmatch=True)
numbers = st.one_of(
    st.integers(0, 2**63), st.floats(0, 1e15, allow_nan=False), st.sampled_from([0, 1, 1e-7])
)


WORDS = ("UP", "DOWN", "FAR_AWAY")


@st.composite
def some_values(draw: st.DrawFn) -> list[Value]:
    """Metrics with different names, each with values of one kind, in any order."""
    values = []
    for name in draw(st.lists(words, unique=True, max_size=6)):
        is_level = draw(st.booleans())
        per = draw(st.sampled_from(["", "server", "bound"]))
        metric = Metric(name, draw(abouts), is_level, per, words=WORDS)
        kind = st.sampled_from([*WORDS, "UP/DOWN"]) if is_level else numbers
        kind = draw(st.sampled_from([kind, numbers]))
        whose = draw(st.lists(owners, unique=True, min_size=1, max_size=4)) if per else [""]
        values += [Value(metric, draw(kind), of) for of in whose]
    return draw(st.permutations(values))


times = st.floats(0, 20, allow_nan=False)
histograms = st.lists(st.one_of(times, st.sampled_from(SPANS_S)), max_size=30)


@given(values=some_values())
def test_any_values_come_back_from_the_lines_that_answer_stats(values: list[Value]) -> None:
    *said, end = map(parse_reply, split_lines(stats_text(values)))
    assert end is Word.END
    assert said == [Stat(v.key.encode(), str(v.value).encode()) for v in values]


@given(
    values=some_values(),
    asked=st.dictionaries(owners, histograms, max_size=3),
    alone=st.one_of(st.none(), histograms),
)
def test_any_values_come_back_from_prometheus_text(
    values: list[Value], asked: dict[str, list[float]], alone: list[float] | None
) -> None:
    """Each word is a sample, 1 where it is so; a bucket counts all that is not above its end."""
    of_ts, of_all = (
        Metric("took_seconds", "About one", per="server"),
        Metric("lag_seconds", "About all"),
    )
    given_times = [(of_ts, name, times) for name, times in asked.items()]
    if alone is not None:
        given_times.append((of_all, "", alone))
    shown = []
    for metric, name, each in given_times:
        histogram = Histogram()
        for seconds in each:
            histogram.add(seconds)
        shown.append((metric, histogram, name))
    found = read(prometheus_text(values, shown))

    model: dict[str, dict[tuple[str, Labels], float]] = {}
    for value in values:
        metric = value.metric
        full = "photofinish_" + ("server_" if metric.per == "server" else "") + metric.name
        full += "" if metric.is_level else "_total"
        labels = ((metric.per, value.subject),) if value.subject else ()
        if isinstance(value.value, str):
            for word in WORDS:
                is_so = float(word in value.value.split("/"))
                model.setdefault(full, {})[full, (*labels, (metric.name, word))] = is_so
        else:
            model.setdefault(full, {})[full, labels] = float(value.value)  # kept by Prometheus
        assert found[full].kind == ("gauge" if metric.is_level else "counter")
        assert found[full].about == metric.about + "."
    for _, name, each in given_times:
        full = "photofinish_server_took_seconds" if name else "photofinish_lag_seconds"
        labels = (("server", name),) if name else ()
        samples = model.setdefault(full, {})
        for end in [*SPANS_S, math.inf]:
            le = "+Inf" if end == math.inf else str(end)
            within = sum(seconds <= end for seconds in each)
            samples[f"{full}_bucket", (*labels, ("le", le))] = within
        samples[f"{full}_sum", labels] = pytest.approx(sum(each), abs=1e-5)
        samples[f"{full}_count", labels] = len(each)
    assert {name: metric.samples for name, metric in found.items()} == model


@given(histograms, st.lists(times, max_size=5))
def test_what_took_too_long_is_in_no_span_but_the_last(
    within: list[float], beyond: list[float]
) -> None:
    histogram = Histogram()
    for seconds in within:
        histogram.add(seconds)
    for _ in beyond:
        histogram.add_endless()
    assert sum(histogram.counts) == len(within) + len(beyond)
    assert histogram.counts[-1] == sum(s > SPANS_S[-1] for s in within) + len(beyond)
    assert histogram.sum_s == pytest.approx(sum(within))


@given(st.dictionaries(words, st.text(max_size=9), max_size=3))
def test_any_text_of_a_label_comes_back(labels: dict[str, str]) -> None:
    """An empty label is as good as none."""
    text = prometheus_text([], infos=[Info("some_info", "About it", labels)])
    ((_, found),) = read(text)["photofinish_some_info"].samples
    unescaped = {
        label: re.sub(r"\\(.)", lambda one: "\n" if one[1] == "n" else one[1], content)
        for label, content in found
    }
    assert unescaped == {label: content for label, content in labels.items() if content}


def test_of_bounds_those_are_told_that_took_hold() -> None:
    hits = BoundHits({"read_bytes": 2, "clients_max": 1})
    assert stats_text(hits_taken(hits)) == b"STAT clients_max.hits 1\nSTAT read_bytes.hits 2\nEND\n"
    (metric,) = read(prometheus_text(hits_taken(hits))).values()
    assert {labels: n for (_, labels), n in metric.samples.items()} == {
        (("bound", "clients_max"),): 1,
        (("bound", "read_bytes"),): 2,
    }
