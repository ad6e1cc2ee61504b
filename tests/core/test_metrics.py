"""Metrics that the servers count: no name twice, all of them readable, and what adds up.

The law of conservation is held under random stories of clients and table servers that come, go,
ask and answer. Not here: what each metric is called in proto.md (`tests/protocol/test_proto.py`).
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.exposition import prometheus_text
from core.metrics import Metric, Value
from nodes.ls.load_balancer import LoadBalancer
from nodes.status_page import pages
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.core.test_exposition import read
from tests.support.balancers import load_balancer
from tests.support.stage import Stage

LOOP = [Value(Metric("turns", "Turns of the loop"), 7)]
SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"


def started(
    *,
    bounds: Bounds | None = None,
    hits: BoundHits | None = None,
    **words: Any,  # noqa: ANN401
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
    assert all(len(each) >= 3 and each[0] == "STAT" for each in words)
    count = {key: " ".join(value) for _, key, *value in words}
    assert len(count) == len(words)
    return count


@pytest.mark.parametrize(
    "words",
    [{}, {"sample": 1.0}, {"sample": 0.5, "extra_load": 0.05}, {"sample": 0.5, "tiers": {T2: 2}}],
)
def test_no_metric_of_ls_has_the_name_of_another(words: dict[str, Any]) -> None:
    hits = BoundHits({"read_bytes": 2, "clients_max": 1})
    brain = started(hits=hits, **words).brain
    assert isinstance(brain, LoadBalancer)
    values = brain.metrics()
    assert max(Counter(value.key for value in values).values()) == 1
    metrics_told = read(prometheus_text(values, brain.histograms()))
    families = {(v.metric.family or v.metric.name, v.metric.per) for v in values}
    kept = {v.metric for v in values if v.metric.family and not v.metric.per}
    texts = {v.metric for v in values if v.metric.is_text}
    waits, sampled = 1, 2 * ("sample" in words)
    assert len(metrics_told) == len(families) + len(kept) - len(texts) + waits + sampled
    assert all(metric.about[0].isupper() for metric in metrics_told.values())


def test_no_metric_of_ts_has_the_name_of_another() -> None:
    brain = TableServer(Table({b"x": b"X 10.0.0.1 A IN\n"}), Environment(), loop=lambda: LOOP)
    stage = Stage(brain, Bounds())
    stage.accept("a")
    stage.hear("a", b"X\nx\ny\nx AAAA\n\xff\n")
    assert told(stage, "a") == {
        "asked": "4", "answered": "2", "no_data": "1", "blocked": "0", "unknown": "1", "rows": "1",
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
    of_ts = {key: value for key, value in count.items() if key.startswith("TS")}
    for key in TEXTS:
        assert of_ts.pop(f"{T1}.{key}") and of_ts.pop(f"{T2}.{key}")
    assert of_ts == {
        **{f"{ts}.{key}": "0" for ts in (T1, T2) for key in UNTOUCHED},
        "TS1.asked": "4", "TS1.won": "2", "TS1.late": "2",
        "TS1.nothing_said": "1", "TS1.malformed": "1", "TS1.redials": "1",
        "TS2.asked": "3", "TS2.won": "1", "TS2.late": "1",
        "TS2.nothing_said": "0", "TS2.malformed": "0", "TS2.redials": "0",
    }  # fmt: skip
    assert count["late"] == "3"


# -- the law ---------------------------------------------------------------------------------------

NAMES = [b"a", b"A", b"b.x", b"c AAAA", b"b.X AAAA"]
LEVELS = {"pending", "clients"}
TEXTS = ("state", "link", "since", "why")
UNTOUCHED = (
    "no_data",
    "names_below",
    "not_found",
    "refused",
    "failed",
    "bogus",
    "truncated",
    "none",
)
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
            assert key in LEVELS or key.endswith(TEXTS) or int(value) <= int(now[key]), key
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
