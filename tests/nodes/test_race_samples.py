"""Samples: which races are watched to their end, and what is said of them.

Not here: records under chance (`tests/nodes/test_load_balancer_machine.py`), and how a race goes
for its askers (`tests/nodes/test_load_balancer.py`).
"""

import ipaddress
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.brain import Brain
from core.effects import Effect
from core.environment import Environment
from core.metrics import Histogram
from core.operator import Record
from core.protocol.batches import read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.outcome import Answers
from nodes.ls.link import Link
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.race_samples import RaceSamples
from nodes.ls.table_link import TableLink
from nodes.ls.upstream import Upstream
from tests.support.balancers import load_balancer, part_of
from tests.support.stage import Stage

T1, T2, T3 = "TS1", "TS2", "TS3"
NAMES = [T1, T2, T3]
TIMEOUT_S = 5.0
DENIED = {
    "NOT FOUND": QuestionEvent.NOT_FOUND_SAID,
    "NO DATA": QuestionEvent.NO_DATA_SAID,
    "REFUSED": QuestionEvent.REFUSAL_SAID,
    "FAILED": QuestionEvent.FAILURE_SAID,
}


SERVERS: dict[str, Upstream] = {
    server: TableLink(Link(server, (), Environment()), Environment()) for server in NAMES
}


def sent(samples: RaceSamples, server: str, questions: Sequence[bytes], now: float) -> None:
    assert samples.sent(SERVERS[server], questions, now) == []


def answered(
    samples: RaceSamples, server: str, questions: list[bytes], lines: bytes, now: float
) -> list[Effect]:
    return samples.answered(SERVERS[server], Answers(questions, lines), None, now)


def denied(
    samples: RaceSamples, server: str, questions: list[bytes], what: str, now: float
) -> list[Effect]:
    """Let a table server say NOT FOUND of its table; TS3 stands for a resolver, that says
    NXDOMAIN."""
    if what == "NOT FOUND" and server != T3:
        return samples.denied(SERVERS[server], questions, (), now)
    denials = [(question, DENIED[what], None) for question in questions]
    return samples.denied(SERVERS[server], (), denials, now)


def questions_in(lines: bytes) -> list[bytes]:
    """Return the questions that a chunk of replies answers."""
    return read_replies(lines, ErrorStreak(Environment())).questions


def sampler(servers: list[str], share: float = 1.0, most: int = 1 << 30) -> RaceSamples:
    bounds = Bounds(timeout_s=TIMEOUT_S, samples_max=most)
    return RaceSamples(Environment(bounds), servers, share, "race")


def counts(samples: RaceSamples) -> dict[str, Any]:
    """Return what is counted, by its key."""
    return {value.key: value.value for value in samples.metrics()}


def times(samples: RaceSamples, server: str = "") -> Histogram:
    """Return the times to an answer of a server, or the margins."""
    (histogram,) = [h for _, h, subject in samples.histograms() if subject == server]
    return histogram


def lines_of(effects: list[Effect]) -> list[dict[str, Any]]:
    """Return the records among effects, each a line of its own."""
    data = [effect.data for effect in effects if isinstance(effect, Record)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in data)
    return [json.loads(line) for line in data]


# -- which questions are sampled -------------------------------------------------------------------

shares = st.one_of(
    st.sampled_from([1.0, 0.5, 0.25, 0.01, 0.1, 1 / 3, 0.3, 0.9, 0.99, 1e-6]),
    st.floats(0.001, 1.0),
)


@given(share=shares, sizes=st.lists(st.integers(1, 300), max_size=40))
def test_a_share_is_sampled_however_questions_are_batched(share: float, sizes: list[int]) -> None:
    """The first one, and then one for each whole `share`; at any moment, and never one more."""
    samples = sampler(NAMES, share)
    asked = 0
    for size in sizes:
        questions = [b"n%d" % number for number in range(asked, asked + size)]
        asked += size
        samples.asked(questions, 0.0)
        exact = asked * share
        assert math.floor(exact - 1e-6) <= len(samples.kept) <= math.ceil(exact + 1e-6)
    sampled = [int(question[1:]) for question in samples.kept]
    if sampled:
        assert sampled[0] == 0
        gaps = {after - before for before, after in pairwise(sampled)}
        assert gaps <= {math.floor(1 / share + 1e-9), math.ceil(1 / share - 1e-9)}
    whole = sampler(NAMES, share)
    whole.asked([b"n%d" % number for number in range(asked)], 0.0)
    if (1 / share).is_integer():  # else sums may differ in the last bit
        assert list(whole.kept) == list(samples.kept)


def test_a_batch_without_a_sample_is_not_looked_at() -> None:
    samples = sampler(NAMES, 0.001)
    samples.asked([b"first"], 0.0)

    class Unread(list[bytes]):
        def __getitem__(self, at: Any) -> Any:  # noqa: ANN401
            raise AssertionError

        def __iter__(self) -> Any:  # noqa: ANN401
            raise AssertionError

    for _ in range(99):
        samples.asked(Unread([b"x"] * 10), 0.0)
    assert list(samples.kept) == [b"first"]


@given(st.integers(1, 20), st.lists(st.integers(0, 30), max_size=60))
def test_no_more_are_open_than_may_be_and_one_name_only_once(most: int, asked: list[int]) -> None:
    samples = sampler(NAMES, most=most)
    open_: list[bytes] = []
    for number in asked:
        name = b"n%d" % number
        samples.asked([name], 0.0)
        if name not in open_ and len(open_) < most:
            open_.append(name)
        assert list(samples.kept) == open_


# -- disagreements ---------------------------------------------------------------------------------

v4_sets = st.lists(st.ip_addresses(v=4), min_size=1, max_size=5, unique=True)
v6_sets = st.lists(st.ip_addresses(v=6), min_size=1, max_size=5, unique=True)


def in_some_spelling(address: ipaddress.IPv6Address, number: int) -> str:
    ways = [
        str(address),
        address.exploded,
        str(address).upper(),
        ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":")),
        address.exploded.rsplit(":", 2)[0] + f":{ipaddress.IPv4Address(int(address) % 2**32)}",
    ]
    return ways[number % len(ways)]


def raced(kind: bytes, first: str, second: str) -> RaceSamples:
    """Run a race, answered so by two TSs."""
    samples = sampler([T1, T2])
    question = b"x" if kind == b"A" else b"x AAAA"
    samples.asked([question], 0.0)
    for server in (T1, T2):
        sent(samples, server, [question], 0.0)
    for server, said in ((T1, first), (T2, second)):
        line = b"x %b %b IN\n" % (said.encode(), kind)
        if len(line) <= 512:
            assert questions_in(line) == [question]
        answered(samples, server, [question], line, 0.1)
    return samples


@given(v6_sets, v6_sets, st.lists(st.integers(0, 4), min_size=10, max_size=10), st.randoms())
def test_sets_of_ipv6_agree_in_any_order_and_spelling(
    first: list[ipaddress.IPv6Address],
    other: list[ipaddress.IPv6Address],
    ways: list[int],
    chance: Any,  # noqa: ANN401
) -> None:
    spelled = [in_some_spelling(a, way) for a, way in zip(first, ways, strict=False)]
    again = [in_some_spelling(a, way) for a, way in zip(first, ways[5:], strict=False)]
    chance.shuffle(again)
    samples = raced(b"AAAA", ",".join(spelled), ",".join([*again, again[0]]))
    assert counts(samples)["disagreements"] == 0 and not samples.disagreements
    differing = raced(b"AAAA", ",".join(spelled), ",".join(map(str, other)))
    assert counts(differing)["disagreements"] == (set(first) != set(other))


@given(v4_sets, v4_sets)
def test_sets_of_ipv4_agree_in_any_order(
    first: list[ipaddress.IPv4Address], other: list[ipaddress.IPv4Address]
) -> None:
    def said(some: list[ipaddress.IPv4Address]) -> str:
        return ",".join(map(str, some))

    assert counts(raced(b"A", said(first), said(first[::-1])))["disagreements"] == 0
    assert counts(raced(b"A", said(first), said(other)))["disagreements"] == (
        set(first) != set(other)
    )


def test_of_disagreements_the_last_twenty_are_remembered() -> None:
    samples = sampler([T1, T2])
    for number in range(50):
        question = b"n%d" % number
        samples.asked([question], 0.0)
        for server in (T1, T2):
            sent(samples, server, [question], 0.0)
        for server in (T1, T2):
            line = b"%b 10.0.0.%d A IN\n" % (question, int(server[2:]))
            answered(samples, server, [question], line, 0.1)
    assert counts(samples)["disagreements"] == 50
    assert [one["question"] for one in samples.disagreements] == [f"n{n}" for n in range(30, 50)]


def test_a_disagreement_that_comes_again_is_counted() -> None:
    """And moves to the end."""
    samples = sampler([T1, T2])
    for question in (b"x", b"y", b"x", b"x"):
        samples.asked([question], 0.0)
        for server in (T1, T2):
            sent(samples, server, [question], 0.0)
        for server in (T1, T2):
            line = b"%b 10.0.0.%d A IN\n" % (question, int(server[2:]))
            answered(samples, server, [question], line, 0.1)
    told = [(one["question"], one["times"]) for one in samples.disagreements]
    assert told == [("y", 1), ("x", 3)]
    assert {key: counts(samples)[f"{key}.disagreed"] for key in (T1, T2)} == {T1: 0, T2: 4}


# -- under LS --------------------------------------------------------------------------------------

ADDRESSES = [((2, (name, 1)),) for name in (T1, T2)]
SMALL = replace(Bounds(), redial_first_s=1 / 16, no_data_s=1 / 8, hedge_delay_min_s=1 / 16,
                hedge_delay_max_s=1 / 16)  # fmt: skip


class RecordedStage(Stage):
    """A stage that keeps the records."""

    def __init__(self, brain: Brain, bounds: Bounds) -> None:
        super().__init__(brain, bounds)
        self.records: list[dict[str, Any]] = []

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Record):
            self.records += lines_of([effect])
        else:
            super().perform(effect)


def started(bounds: Bounds = SMALL, **words: float) -> RecordedStage:
    """Build LS that samples every race, both links up, and a client."""
    brain = load_balancer(ADDRESSES, bounds, lambda: 0.0, **{"sample": 1.0, **words})
    return RecordedStage.begun(brain, bounds, up=(T1, T2), clients=("a",))


def samples_of(stage: Stage) -> RaceSamples:
    assert isinstance(stage.brain, LoadBalancer)
    samples = part_of(stage.brain, RaceSamples)
    assert samples is not None
    return samples


def per_ts(stage: Stage, name: str) -> list[int]:
    counted = counts(samples_of(stage))
    return [counted[f"{server}.{name}"] for server in (T1, T2)]


def test_a_race_is_recorded_when_the_loser_has_answered_too() -> None:
    stage = started()
    stage.hear("a", b"X.example\n")
    stage.wait(1 / 16)
    stage.hear(T2, b"x.example 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x.example 10.0.0.1 A IN\n" and not stage.records
    stage.wait(1 / 4)
    stage.hear(T1, b"X.Example 10.0.0.1 A IN\n")
    assert stage.records == [
        {
            "at": 100.0, "question": "x.example", "policy": "race", "share": 1.0,
            "asked": {T1: 0.0, T2: 0.0},
            "replies": {T2: [0.0625, "10.0.0.1"], T1: [0.3125, "10.0.0.1"]},
            "winner": T2, "margin": 0.25, "end": "ANSWERED", "took": 0.0625,
        }
    ]  # fmt: skip
    samples = samples_of(stage)
    assert (per_ts(stage, "lost"), per_ts(stage, "silent")) == ([1, 0], [0, 0])
    assert times(samples, T1).sum_s == 0.3125 and times(samples).sum_s == 0.25


@pytest.mark.parametrize("after", [0.5, 4.9])
def test_a_loser_that_never_answers_is_silent_in_the_end(after: float) -> None:
    stage = started()
    stage.hear("a", b"x AAAA\n")
    stage.hear(T1, b"x ::1 AAAA IN\n")
    if after == 0.5:
        stage.reset(T2)  # a link that is lost will not answer either
    stage.wait(after)
    assert not stage.records
    stage.wait(5.0 - after)
    (record,) = stage.records
    assert record["replies"] == {T1: [0.0, "::1"]} and record["margin"] is None
    assert (record["winner"], record["end"], record["took"]) == (T1, "ANSWERED", 0.0)
    assert per_ts(stage, "silent") == [0, 1]
    assert times(samples_of(stage), T2).counts[-1] == 1
    assert times(samples_of(stage)).counts[-1] == 1


def test_one_who_was_asked_later_has_its_own_clock() -> None:
    """A hedge: the second is asked when the first takes long, and loses only from then on."""
    bounds = replace(SMALL, explore_every=1_000_000)
    stage = started(bounds, extra_load=1.0)
    stage.hear("a", b"x\ny\n")  # two tokens
    (first, second) = (T1, T2) if T1 in stage.said else (T2, T1)
    stage.wait(1 / 8)
    assert stage.take(second) == b"x\ny\n"
    stage.hear(second, b"x 10.0.0.1 A IN\ny 10.0.0.1 A IN\n")
    stage.hear(first, b"x 10.0.0.1 A IN\ny 10.0.0.1 A IN\n")
    assert len(stage.records) == 2
    for record in stage.records:
        assert record["policy"] == "hedge" and record["asked"] == {first: 0.0, second: 0.0625}
        assert record["winner"] == second and record["margin"] == 0.0
    assert times(samples_of(stage), second).sum_s == pytest.approx(2 / 16)
    assert times(samples_of(stage), first).sum_s == pytest.approx(2 / 8)


def test_with_no_share_there_are_no_samples_and_no_records() -> None:
    stage = started(sample=0.0)
    stage.hear("a", b"x\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert not stage.records
    assert isinstance(stage.brain, LoadBalancer)
    assert part_of(stage.brain, RaceSamples) is None and stage.brain.histograms() == []
    assert not any("disagree" in text for text in stage.reports)


# -- failures --------------------------------------------------------------------------------------


def test_an_answer_that_does_not_count_does_not_win() -> None:
    """The answer is for a question that this TS was not asked on its present connection."""
    stage = started(replace(SMALL, waiting_bytes_high=3, waiting_bytes_low=2))
    stage.hear("a", b"aa\n")
    stage.hear("a", b"bb\n")
    stage.hear("a", b"cc\n")
    stage.reset(T1)
    stage.wait(1 / 4)
    stage.held.add(T1)
    stage.connect(T1)
    stage.hear(T1, b"cc 10.0.0.1 A IN\n")
    assert stage.take("a") == b""
    stage.wait(1 / 4)
    stage.hear(T2, b"cc 10.0.0.2 A IN\n")
    assert stage.take("a") == b"cc 10.0.0.2 A IN\n"
    stage.wait(5.0)
    (record,) = [record for record in stage.records if record["question"] == "cc"]
    assert (record["winner"], record["took"]) == (T2, 0.5)


def test_an_answer_is_not_looked_for_in_its_chunk() -> None:
    """That would be quadratic work."""

    class Chunk(list[bytes]):
        def index(self, *_: Any) -> Any:  # noqa: ANN401
            raise AssertionError

        __contains__ = index

    samples = sampler([T1])
    questions = Chunk(b"n%d" % number for number in range(100))
    samples.asked(questions, 0.0)
    sent(samples, T1, questions, 0.0)
    lines = b"".join(question + b" 10.0.0.1 A IN\n" for question in questions)
    answered(samples, T1, questions, lines, 0.1)
    assert counts(samples)["sampled"] == 100


def test_nothing_is_said_in_the_order_of_a_set() -> None:
    """Records of the same story are therefore the same: in the order of the answers."""
    stage = started()
    names = [b"n%d" % number for number in range(50)]
    stage.hear("a", b"".join(name + b"\n" for name in names))
    for conn in (T1, T2):
        stage.hear(conn, b"".join(name + b" 10.0.0.1 A IN\n" for name in names))
    assert [record["question"].encode() for record in stage.records] == names
