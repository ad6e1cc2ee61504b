"""Samples: which races are watched to their end, and which of their answers differ.

Not here: the records and metrics of samples (`tests/nodes/test_load_balancer_machine.py`), and how
a race goes for its askers (`tests/nodes/test_load_balancer.py`).
"""

import ipaddress
import json
import math
import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Effect
from core.environment import Environment
from core.operator import Level, Record
from core.protocol.outcome import Answers
from nodes.ls.disagreements import Disagreements
from nodes.ls.link import Link
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.race_record import RaceRecord, read_record
from nodes.ls.race_samples import RaceSamples
from nodes.ls.table_link import TableLink
from tests.support.balancers import addresses_of, load_balancer, part_of
from tests.support.stage import Stage

T1, T2 = "TS1", "TS2"


def sampler(share: float = 1.0) -> RaceSamples:
    return RaceSamples(Environment(), table_links(), share, "race")


def table_links() -> list[TableLink]:
    return [TableLink(Link(server, (), Environment()), Environment()) for server in (T1, T2)]


def test_a_race_has_the_time_of_day_at_which_it_began() -> None:
    """In its record, and in what is read of it."""
    samples = RaceSamples(Environment(wall=lambda: 1_795_960_931.5), table_links(), 1.0, "race")
    samples.asked([b"x"], 7.0)
    (effect,) = samples.woken(12.0)
    assert isinstance(effect, Record)
    record = json.loads(effect.data)
    assert (record["at"], record["time"]) == (7.0, "2026-11-29T14:02:11.500Z")
    assert read_record(effect.data).line() == effect.data


def both_asked(names: list[bytes]) -> tuple[RaceSamples, list[TableLink]]:
    """Sample these questions, which two table servers are asked at 0."""
    samples, links = sampler(), table_links()
    samples.asked(names, 0.0)
    for link in links:
        samples.sent(link, names, 0.0)
    return samples, links


# -- which questions are sampled -------------------------------------------------------------------

shares = st.one_of(
    st.sampled_from([1.0, 0.5, 0.25, 0.01, 0.1, 1 / 3, 0.3, 0.9, 0.99, 1e-6]),
    st.floats(0.001, 1.0),
)


@given(share=shares, sizes=st.lists(st.integers(1, 300), max_size=40))
def test_a_share_is_sampled_however_questions_are_batched(share: float, sizes: list[int]) -> None:
    """The first one, and then one for each whole `share`; at any moment, and never one more."""
    samples = sampler(share)
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
    whole = sampler(share)
    whole.asked([b"n%d" % number for number in range(asked)], 0.0)
    if (1 / share).is_integer():  # else sums may differ in the last bit
        assert list(whole.kept) == list(samples.kept)


def test_with_no_share_there_are_no_samples() -> None:
    brain = load_balancer(addresses_of(2), sample=0.0)
    assert part_of(brain, RaceSamples) is None
    assert {subject for _, _, subject in brain.histograms()} == {"lines"}


class Unsearched(list[bytes]):
    """Questions of which none may be looked for."""

    def index(self, *_: Any) -> Any:  # noqa: ANN401
        raise AssertionError

    __contains__ = index


class Unread(Unsearched):
    __getitem__ = __iter__ = Unsearched.index


def test_a_batch_without_a_sample_is_not_looked_at() -> None:
    samples = sampler(0.001)
    samples.asked([b"first"], 0.0)
    for _ in range(99):
        samples.asked(Unread([b"x"] * 10), 0.0)
    assert list(samples.kept) == [b"first"]


def test_records_come_in_the_order_of_the_last_answers() -> None:
    """Not in that of a set. None is looked for in its chunk, which would be quadratic work."""
    names = [b"n%d" % number for number in range(50)]
    samples, links = both_asked(names)
    lines = b"".join(name + b" 10.0.0.1 A IN\n" for name in names)
    for link, now in zip(links, (0.25, 0.75), strict=True):
        effects = samples.answered(link, Answers(Unsearched(names), lines), None, now)
    records = [json.loads(effect.data) for effect in effects if isinstance(effect, Record)]
    assert [record["question"].encode() for record in records] == names
    ends = {(record["winner"], record["took"], record["margin"]) for record in records}
    assert ends == {(T1, 0.25, 0.5)}
    assert {key: histogram.sum_s for _, histogram, key in samples.histograms()} == {
        T1: 50 * 0.25, T2: 50 * 0.75, "": 50 * 0.5,
    }  # fmt: skip


def test_an_answer_that_is_not_admitted_does_not_win() -> None:
    samples, links = both_asked([b"x"])
    for link, admitted, now in zip(links, ([False], None), (0.1, 0.5), strict=True):
        answers = Answers([b"x"], b"x 10.0.0.1 A IN\n")
        assert samples.answered(link, answers, admitted, now) == []
    (effect,) = samples.woken(5.0)
    assert isinstance(effect, Record)
    record = json.loads(effect.data)
    assert (record["winner"], record["took"]) == (T2, 0.5)


def test_an_answer_after_a_denial_of_its_own_wins() -> None:
    """Its asker hears the answer, so the record must not name a later one."""
    samples, links = both_asked([b"x"])
    samples.denied(links[0], (), [(b"x", QuestionEvent.NO_DATA_SAID, None)], 0.1)
    effects: list[Effect] = []
    for link, now in zip(links, (0.25, 0.75), strict=True):
        effects += samples.answered(link, Answers([b"x"], b"x 10.0.0.1 A IN\n"), None, now)
    (effect,) = effects
    assert isinstance(effect, Record)
    record = json.loads(effect.data)
    assert (record["winner"], record["took"], record["margin"]) == (T1, 0.25, 0.5)


class RecordingStage(Stage):
    """An LS that samples all races, with its table servers up and a client, and its records."""

    def __init__(self, tables: int = 1, **words: Any) -> None:  # noqa: ANN401
        super().__init__(load_balancer(addresses_of(tables), sample=1.0, **words), Bounds())
        self.records: list[RaceRecord] = []
        self.begin()
        for number in range(1, tables + 1):
            self.connect(f"TS{number}")
        self.accept("a")

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Record):
            self.records.append(read_record(effect.data))
        super().perform(effect)


@pytest.mark.parametrize("what", ["NOT FOUND", "NO DATA", "NAMES BELOW", "BLOCKED"])
def test_a_record_has_the_very_negative_of_a_table(what: str) -> None:
    stage = RecordingStage()
    stage.hear("a", b"x\n")
    stage.hear(T1, b"x - %b\n" % what.encode())
    stage.wait(5.0)
    (record,) = stage.records
    assert record.replies == {T1: (0.0, what)}


def test_of_tiers_a_record_has_when_each_was_asked() -> None:
    stage = RecordingStage(3, tiers={T2: 2, "TS3": 3})
    stage.hear("a", b"slow\nbad\nfast\n")
    stage.wait(0.125)
    stage.hear(T1, b"fast 10.0.0.1 A IN\nbad - NOT FOUND\n")
    stage.hear(T2, b"bad 10.0.0.2 A IN\n")
    stage.wait(Bounds().tier_s - 0.125)
    stage.hear(T2, b"slow 10.0.0.2 A IN\n")
    stage.wait(5.0)
    asked = {record.question: record.asked for record in stage.records}
    tier_s = Bounds().tier_s
    assert asked == {
        "fast": {T1: 0.0},
        "bad": {T1: 0.0, T2: 0.125},
        "slow": {T1: 0.0, T2: tier_s},
    }
    assert {record.policy for record in stage.records} == {"tiers"}
    winners = {record.question: (record.winner, record.took) for record in stage.records}
    assert winners == {"fast": (T1, 0.125), "bad": (T2, 0.125), "slow": (T2, tier_s)}
    silent = {value.key: value.value for value in stage.brain.metrics()}["TS1.silent"]
    assert silent == 1


def test_an_answer_after_the_end_does_not_replace_a_denial() -> None:
    """The race was lost with it: what comes after that is no second answer."""
    race = RaceRecord(0.0, "x", "race", 1.0, {T1: 0.0, T2: 0.0, "TS3": 0.0})
    race.reply(T1, "NO DATA", 0.1)
    race.answer(T2, "10.0.0.2", 0.2)
    race.answer(T1, "10.0.0.1", 0.3)
    assert race.answers == {T2: "10.0.0.2"} and race.margin is None


def test_the_margin_of_a_race_is_that_of_its_second_answer() -> None:
    servers = T1, T2, "TS3"
    race = RaceRecord(0.0, "x", "race", 1.0, dict.fromkeys(servers, 0.0))
    for server, now in zip(servers, (0.25, 0.5, 1.0), strict=True):
        race.answer(server, "10.0.0.1", now)
    assert race.margin == 0.25


# -- disagreements ---------------------------------------------------------------------------------


def sets_of(version: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.ip_addresses(v=version), min_size=1, max_size=5, unique=True)  # type: ignore[call-overload]


def in_some_spelling(address: ipaddress.IPv4Address | ipaddress.IPv6Address, number: int) -> str:
    ways = [str(address)]
    if address.version == 6:
        groups = struct.unpack("!8H", address.packed)
        whole = ":".join(f"{group:04x}" for group in groups)
        ways += [
            whole,
            str(address).upper(),
            ":".join(f"{group:x}" for group in groups),
            whole[:-9] + str(ipaddress.IPv4Address(address.packed[12:])),
        ]
    return ways[number % len(ways)]


@given(
    st.one_of(st.tuples(sets_of(version), sets_of(version)) for version in (4, 6)),
    st.lists(st.integers(0, 4), min_size=10, max_size=10),
    st.randoms(),
)
def test_sets_of_addresses_agree_in_any_order_and_spelling(
    sets: tuple[list[Any], list[Any]],
    ways: list[int],
    chance: Any,  # noqa: ANN401
) -> None:
    def differ(first: list[str], second: list[str]) -> bool:
        answers = {T1: ",".join(first), T2: ",".join(second)}
        return bool(Disagreements([T1, T2]).compare("x", answers, T1))

    first, other = sets
    spelled = list(map(in_some_spelling, first, ways))
    again = list(map(in_some_spelling, first, ways[5:]))
    chance.shuffle(again)
    assert not differ(spelled, [*again, again[0]])
    assert differ(spelled, list(map(str, other))) is (set(first) != set(other))


@pytest.mark.parametrize(
    ("servers", "level"),
    [(("DNS1", "DNS2"), Level.DEBUG), ((T1, "DNS1"), Level.WARNING), ((T1, T2), Level.WARNING)],
)
def test_a_disagreement_of_resolvers_alone_is_no_warning(
    servers: tuple[str, str], level: Level
) -> None:
    """Its facts are in fields, too."""
    answers = dict(zip(servers, ("10.0.0.1", "10.0.0.2"), strict=True))
    told = Disagreements([T1, T2, "DNS1", "DNS2"], may_differ=["DNS1", "DNS2"])
    (report,) = told.compare("x", answers, servers[0])
    assert (report.level, report.about) == (level, {"question": "x", "answers": answers})


def test_of_disagreements_the_last_twenty_are_remembered() -> None:
    """A question that comes again is counted, and moves to the end."""
    told = Disagreements([T1, T2])
    for question in (*(f"n{number}" for number in range(50)), "n40", "n40"):
        told.compare(question, {T1: "10.0.0.1", T2: "10.0.0.2"}, T1)
    latest = [(one["question"], one["times"]) for one in told.latest]
    assert latest == [*((f"n{n}", 1) for n in range(30, 50) if n != 40), ("n40", 3)]
    assert [value.value for value in (told.total(), *told.by_server())] == [52, 0, 52]
