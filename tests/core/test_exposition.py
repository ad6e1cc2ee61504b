"""Metrics: any values, as the lines of STATS and as Prometheus text, read back by strict readers.

The reader of Prometheus text here is written from the description of the format (0.0.4), not from
the code: one HELP and one TYPE before a metric's samples, which stand together; no label twice; no
sample twice; buckets that only rise, the last one equal to the count.

The servers' own metrics are looked at as well: no name twice, all of them readable, and the law of
conservation under random stories of clients and table servers that come, go, ask and answer.

Not here: what each metric is called in proto.md (`tests/protocol/test_proto.py`), and HTTP
(`tests/nodes/test_requests.py`).
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.events import Woken
from core.exposition import prometheus_text, stats_text
from core.metrics import SPANS_S, Histogram, Metric, Value, hits_taken
from core.protocol.messages import Stat, parse_reply
from core.protocol.names import Word
from core.text import split_lines
from nodes.ls.load_balancer import LoadBalancer
from nodes.status_page import pages
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.support.balancers import load_balancer
from tests.support.stage import Stage

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
        said = line.decode("ascii")
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


@st.composite
def some_values(draw: st.DrawFn) -> list[Value]:
    """Metrics with different names, each with values of one kind, in any order."""
    values = []
    for name in draw(st.lists(words, unique=True, max_size=6)):
        is_level = draw(st.booleans())
        per = draw(st.sampled_from(["", "ts", "bound"]))
        metric = Metric(name, draw(abouts), is_level, per)
        kind = st.from_regex(r"[A-Z][A-Z_]{0,9}", fullmatch=True) if is_level else numbers
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
    """A word is a label of a sample that is 1; a bucket counts all that is not above its end."""
    of_ts, of_all = (
        Metric("took_seconds", "About one", per="ts"),
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
        full = "photofinish_" + ("ts_" if metric.per == "ts" else "") + metric.name
        full += "" if metric.is_level else "_total"
        labels = ((metric.per, value.subject),) if value.subject else ()
        if isinstance(value.value, str):
            model.setdefault(full, {})[full, (*labels, ("is", value.value))] = 1
        else:
            model.setdefault(full, {})[full, labels] = float(value.value)  # kept by Prometheus
        assert found[full].kind == ("gauge" if metric.is_level else "counter")
        assert found[full].about == metric.about + "."
    for _, name, each in given_times:
        full = "photofinish_ts_took_seconds" if name else "photofinish_lag_seconds"
        labels = (("ts", name),) if name else ()
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
    for seconds in beyond:
        histogram.add_beyond(seconds)
    assert sum(histogram.counts) == len(within) + len(beyond)
    assert histogram.counts[-1] == sum(s > SPANS_S[-1] for s in within) + len(beyond)
    assert histogram.sum_s == pytest.approx(sum(within) + sum(beyond))


def test_no_values_are_an_empty_text_and_a_single_end() -> None:
    assert prometheus_text([]) == b"" and stats_text([]) == b"END\n"


def test_of_bounds_those_are_told_that_took_hold() -> None:
    hits = BoundHits({"read_bytes": 2, "clients_max": 1})
    assert stats_text(hits_taken(hits)) == b"STAT clients_max.hits 1\nSTAT read_bytes.hits 2\nEND\n"
    (metric,) = read(prometheus_text(hits_taken(hits))).values()
    assert {labels: n for (_, labels), n in metric.samples.items()} == {
        (("bound", "clients_max"),): 1,
        (("bound", "read_bytes"),): 2,
    }


# -- metrics of the servers ------------------------------------------------------------------------

LOOP = [Value(Metric("turns", "Turns of the loop"), 7)]
SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"


def started(
    *, bounds: Bounds | None = None, hits: BoundHits | None = None, **words: float
) -> Stage:
    """Build LS with both links up."""
    bounds = bounds or Bounds()
    brain = load_balancer(SERVERS, bounds, lambda: 0.0, loop=lambda: LOOP, hits=hits, **words)
    return Stage.begun(brain, bounds, up=(T1, T2))


def told(stage: Stage, conn: str) -> dict[str, str]:
    """Return what STATS says to a client that nothing else is said to."""
    stage.take(conn)
    stage.hear(conn, b"STATS\n")
    *said, end = stage.take(conn).decode().split("\n")[:-1]
    assert end == "END"
    words = [line.split(" ") for line in said]
    assert all(len(each) == 3 and each[0] == "STAT" for each in words)
    count = {key: value for _, key, value in words}
    assert len(count) == len(words)
    return count


@pytest.mark.parametrize("words", [{}, {"sample": 1.0}, {"sample": 0.5, "extra_load": 0.05}])
def test_no_metric_of_ls_has_the_name_of_another(words: dict[str, float]) -> None:
    hits = BoundHits({"read_bytes": 2, "clients_max": 1})
    brain = started(hits=hits, **words).brain
    assert isinstance(brain, LoadBalancer)
    values = brain.metrics()
    assert max(Counter(value.key for value in values).values()) == 1
    metrics_told = read(prometheus_text(values, brain.histograms()))
    assert len(metrics_told) == len({v.metric for v in values}) + 2 * ("sample" in words)
    assert all(metric.about[0].isupper() for metric in metrics_told.values())


def test_no_metric_of_ts_has_the_name_of_another() -> None:
    brain = TableServer(Table({b"x": b"X 10.0.0.1 A IN\n"}), Environment(), loop=lambda: LOOP)
    stage = Stage(brain, Bounds())
    stage.accept("a")
    stage.hear("a", b"X\nx\ny\nx AAAA\n\xff\n")
    assert told(stage, "a") == {
        "asked": "4", "answered": "2", "no_data": "1", "unknown": "1", "rows": "1",
        "clients": "1", "sessions": "1", "errors": "1", "turns": "7",
    }  # fmt: skip


@given(st.lists(st.sampled_from([b"x", b"y", b"x AAAA", b"y AAAA", b"z AAAA", b"z"]), max_size=12))
def test_a_ts_counts_by_chunk_what_it_would_count_one_by_one(questions: list[bytes]) -> None:
    """Asked is answered, no data or unknown; whether it says NOT FOUND or nothing."""
    rows = {b"x": b"X 10.0.0.1 A IN\n", b"z AAAA": b"z ::1 AAAA IN\n"}
    for answer_unknown in (False, True):
        counts = []
        for cut in (len(questions), 1):
            stage = Stage(
                TableServer(Table(rows), Environment(), answer_unknown=answer_unknown), Bounds()
            )
            stage.accept("a")
            for at in range(0, len(questions), max(1, cut)):
                stage.hear("a", b"".join(q + b"\n" for q in questions[at : at + cut]))
            counts.append({key: int(value) for key, value in told(stage, "a").items()})
        assert counts[0] == counts[1]
        count = counts[0]
        assert count["asked"] == len(questions)
        assert count["answered"] == sum(question in rows for question in questions)
        assert count["no_data"] == sum(question in (b"x AAAA", b"z") for question in questions)
        assert count["asked"] == count["answered"] + count["no_data"] + count["unknown"]


def test_a_ts_is_counted_through_all_its_connections() -> None:
    stage = started()
    stage.accept("a")
    stage.hear("a", b"x\ny\nz\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\nx 10.0.0.2 A IN\nBYE\nnonsense\n")
    stage.hear(T2, b"x 10.0.0.1 A IN\ny 10.0.0.1 A IN\n")
    stage.reset(T1)
    stage.wait(1.0)
    stage.connect(T1)  # z is asked again
    stage.hear(T1, b"z 10.0.0.1 A IN\nz 10.0.0.1 A IN\n")
    count = told(stage, "a")
    assert {key: value for key, value in count.items() if key.startswith("TS")} == {
        "TS1.state": "UP", "TS1.asked": "4", "TS1.won": "2", "TS1.late": "2",
        "TS1.nothing_said": "1", "TS1.malformed": "1", "TS1.redials": "1",
        "TS2.state": "UP", "TS2.asked": "3", "TS2.won": "1", "TS2.late": "1",
        "TS2.nothing_said": "0", "TS2.malformed": "0", "TS2.redials": "0",
    }  # fmt: skip
    assert count["late"] == "3"


# -- the law ---------------------------------------------------------------------------------------

NAMES = [b"a", b"A", b"b.x", b"c AAAA", b"b.X AAAA"]
LEVELS = {"pending", "clients", "TS1.state", "TS2.state"}
places = st.integers(0, 1)
asked_lines = st.lists(
    st.sampled_from([*NAMES, *NAMES, b"PING", b"\xff", b"d."]), min_size=1, max_size=5
)
said_lines = st.lists(
    st.sampled_from(
        [
            b"a 10.0.0.1 A IN", b"A 10.0.0.2 A IN", b"b.x 10.0.0.1,10.0.0.2 A IN",
            b"c ::1 AAAA IN", b"b.x ::2 AAAA IN", b"d 10.0.0.9 A IN", b"a - NOT FOUND",
            b"b.x - NO DATA", b"c AAAA - NO DATA", b"c AAAA - NOT FOUND", b"d - NOT FOUND",
            b"a - TIMED OUT", b"nonsense", b"BYE",
        ]
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip
_SMALL = replace(
    Bounds(), redial_first_s=1 / 16, errors_in_a_row_max=4, surplus_answers_max=6, no_data_s=1 / 8
)


class LawMachine(RuleBasedStateMachine):
    """Clients and TSs come, go, ask and answer. A watching client looks at the metrics."""

    WORDS: dict[str, float] = {}

    def __init__(self) -> None:
        super().__init__()
        self.stage = started(bounds=_SMALL, **self.WORDS)
        self.stage.accept("watching")
        self.clients = 0
        self.there = [self.come(), self.come()]
        self.asked = self.errors = 0
        self.before: dict[str, str] = {}

    def come(self) -> str:
        self.clients += 1
        self.stage.accept(f"c{self.clients}")
        return f"c{self.clients}"

    @rule(who=places, lines=asked_lines)
    def ask(self, who: int, lines: list[bytes]) -> None:
        conn = self.there[who]
        if conn not in self.stage.connections or self.stage.has_ended(conn):
            conn = self.there[who] = self.come()
        self.stage.hear(conn, b"".join(line + b"\n" for line in lines))
        in_a_row = 0
        for line in lines:
            in_a_row = in_a_row + 1 if line == b"\xff" else 0
            self.errors += line == b"\xff"
            self.asked += line not in (b"\xff", b"PING")
            if in_a_row == 4:
                break
        if b"\xff" in lines[-1:]:  # no count is carried over to the next read
            self.stage.hear(conn, b"PING\n")

    @rule(who=places, how=st.sampled_from(["end", "reset"]))
    def leave(self, who: int, how: str) -> None:
        if self.there[who] in self.stage.connections:
            getattr(self.stage, how)(self.there[who])
        self.there[who] = self.come()

    @rule(who=st.sampled_from([T1, T2]), lines=said_lines)
    def answer(self, who: str, lines: list[bytes]) -> None:
        if who in self.stage.dialled:
            self.stage.connect(who)
        self.stage.hear(who, b"".join(line + b"\n" for line in lines))

    @rule(who=st.sampled_from([T1, T2]), how=st.sampled_from(["end", "reset"]))
    def go(self, who: str, how: str) -> None:
        if who in self.stage.connections:
            getattr(self.stage, how)(who)

    @rule(sixteenths=st.sampled_from([1, 2, 3, 16, 17, 79, 80]))
    def pass_time(self, sixteenths: int) -> None:
        self.stage.wait(sixteenths / 16)

    @invariant()
    def every_metric_is_what_it_says(self) -> None:
        now = told(self.stage, "watching")
        self.every_question_is_accounted_for(now)
        self.what_is_late_is_somebodys(now)
        self.what_only_rises_never_falls(now)

    def every_question_is_accounted_for(self, now: dict[str, str]) -> None:
        ends = ("answered", "not_found", "no_data", "timed_out", "dropped", "pending")
        assert int(now["asked"]) == sum(int(now[end]) for end in ends) == self.asked
        assert int(now["errors"]) == self.errors
        clients = [conn for conn in self.stage.connections if not conn.startswith("TS")]
        assert int(now["clients"]) == len(clients)

    def what_is_late_is_somebodys(self, now: dict[str, str]) -> None:
        """Check that every late reply is some TS's, and every answer is of a race that some TS
        won."""
        assert int(now["late"]) == int(now["TS1.late"]) + int(now["TS2.late"])
        won = int(now["TS1.won"]) + int(now["TS2.won"])
        assert won <= int(now["answered"])
        assert (won == 0) is (now["answered"] == "0")

    def what_only_rises_never_falls(self, now: dict[str, str]) -> None:
        for key, value in self.before.items():
            assert key in LEVELS or int(value) <= int(now[key]), key
        self.before = now

    def teardown(self) -> None:
        self.stage.wait(6.0)
        self.every_metric_is_what_it_says()
        brain = self.stage.brain
        assert isinstance(brain, LoadBalancer)
        read(prometheus_text(brain.metrics(), brain.histograms()))
        assert told(self.stage, "watching")["pending"] == "0"


class HedgedLawMachine(LawMachine):
    """The same where not every TS is asked, and some races are sampled."""

    WORDS = {"extra_load": 0.5, "sample": 0.5}


TestLaw = LawMachine.TestCase
TestHedgedLaw = HedgedLawMachine.TestCase


def test_the_status_of_ls_has_the_same_metrics_as_stats() -> None:
    stage = started(sample=1.0)
    stage.accept("a")
    stage.hear("a", b"x\ny\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    brain = stage.brain
    assert isinstance(brain, LoadBalancer)
    shown = pages.status(brain, stage.now)
    count = told(stage, "a")
    metrics, servers = shown["figures"], shown["servers"]
    assert isinstance(metrics, dict) and isinstance(servers, list)
    assert {key: str(value) for key, value in metrics.items()} == {
        key: value for key, value in count.items() if "." not in key
    }
    for server in servers:
        for key in ("state", "asked", "won", "late", "redials", "silent"):
            assert str(server[key]) == count[f"{server['name']}.{key}"]
    assert brain.unhealthy() == ""
    stage.reset(T1)
    assert brain.unhealthy() == ""
    stage.reset(T2)
    assert brain.unhealthy() == "no table server is up"
    stage.drain()
    assert brain.unhealthy() == "draining"
    assert stage.brain.step(Woken(), stage.now) == []
