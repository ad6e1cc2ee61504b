"""The verdict of a replay: which policy is taken for which figures, and how that is said; JSON.

Figures are made up here: times of two servers alone, of race and of hedge.

Not here: how races are replayed (`tests/nodes/test_replay.py`).
"""

import json
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.replay.replay import ReplayOutcome
from nodes.replay.report import Replayed, as_json
from nodes.replay.verdict import Play, Verdict, judge

COUNT = 20_000
EXTRA = {"race": 1.0, "hedge": 0.05}


@dataclass
class Figures:
    """The figures of a play: its time at the quantile, and how many it leaves unanswered."""

    ms: float
    unanswered: int = 0
    others: int = 0  # replies that are not those recorded
    spread: float = 0.02  # of the times around that quantile, as a share


@dataclass
class Case:
    """The figures of all plays."""

    race: Figures
    hedge: Figures
    first: Figures = field(default_factory=lambda: Figures(100))
    second: Figures = field(default_factory=lambda: Figures(300))
    count: int = COUNT

    def plays(self) -> list[Play]:
        plays = [("race", None, self.race), ("single", "TS1", self.first)]
        plays += [("single", "TS2", self.second), ("hedge", None, self.hedge)]
        return [
            Play(policy, outcome(policy, figures, self.count), server, flags_of(policy))
            for policy, server, figures in plays
        ]

    def verdict(self) -> Verdict:
        return judge(self.plays())


def flags_of(policy: str) -> tuple[str, ...]:
    return ("--policy", policy) if policy in EXTRA else ()


def outcome(policy: str, figures: Figures, count: int) -> ReplayOutcome:
    """Make times of which the last fiftieth is about that time, and the others 0.05 ms."""
    tail = count // 50
    lot = random.Random(1)
    times = [0.00005] * (count - tail)
    for _ in range(tail):
        times.append(figures.ms / 1000 * (1 + figures.spread * lot.uniform(-0.5, 0.5)))
    sent = round(count * (1 + EXTRA.get(policy, 0.0)))
    changed = figures.unanswered + figures.others
    return ReplayOutcome(times, times, sent, 0, figures.unanswered, changed)


def taken(verdict: Verdict) -> str | None:
    return verdict.take and verdict.take.label


RULE = {  # by case: what is taken, and what is said of it
    "hedge keeps most of the gain": (Case(Figures(20), Figures(40)), "hedge", "It keeps 75"),
    "hedge keeps half of the gain": (Case(Figures(20), Figures(59)), "hedge", "It keeps 51"),
    "hedge keeps less than half": (Case(Figures(20), Figures(62)), "race", "Hedge keeps 47"),
    "hedge is slower than a server": (Case(Figures(20), Figures(900)), "race", "Hedge keeps 0 %"),
    "hedge is as fast as race": (Case(Figures(20), Figures(20.5)), "hedge", "no slower than race"),
    "hedge is faster than race": (Case(Figures(60), Figures(20)), "hedge", "no slower than race"),
    "the gain is below 10 %": (Case(Figures(91), Figures(99)), "hedge", "No policy is faster"),
    "the gain is below 1 ms": (
        Case(Figures(0.1), Figures(0.6), Figures(0.8), Figures(0.9)), "hedge", "No policy is faster"
    ),
    "the gain is just over both": (
        Case(Figures(8.8), Figures(9.9), Figures(10), Figures(10)), "race", "Hedge keeps"
    ),
    "one server always wins": (
        Case(Figures(6), Figures(15), Figures(6), Figures(60)), "single TS1",
        "TS1 alone: name no other server to ls\n",
    ),
    "all are the same": (
        Case(Figures(9), Figures(9), Figures(9), Figures(9)), "hedge", "No policy is faster"
    ),
    "hedge loses answers": (Case(Figures(20), Figures(20, 3)), "race", "leaves more questions"),
    "hedge loses next to none": (Case(Figures(20), Figures(20, 2)), "hedge", "no slower than race"),
    "hedge loses answers that a server has": (
        Case(Figures(100), Figures(20, 3)), "single TS1", "No policy is faster"
    ),
    "the faster server loses answers": (
        Case(Figures(100), Figures(100), Figures(20, 3), Figures(100)), "hedge", "than TS2 alone"
    ),
    "each server loses answers": (
        Case(Figures(100), Figures(100), Figures(100, 9), Figures(100, 9)), "hedge",
        "answers what TS1 alone does not",
    ),
    "each server loses answers, fast": (
        Case(Figures(100), Figures(180), Figures(20, 9), Figures(20, 9)), "race",
        "answers what TS1 alone does not",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("case", "wanted", "said"), RULE.values(), ids=RULE)
def test_the_cheapest_that_keeps_half_of_the_gain_is_taken(
    case: Case, wanted: str, said: str
) -> None:
    verdict = case.verdict()
    text = "\n".join(verdict.text)
    assert (taken(verdict), verdict.by) == (wanted, "p99.9"), text
    assert said in text, text
    assert f"Take {wanted.replace('single TS1', 'TS1 alone')}" in text


def test_each_policy_has_a_line_of_gain_and_cost() -> None:
    verdict = Case(
        Figures(20, spread=0), Figures(140, 2, spread=0), Figures(100, spread=0)
    ).verdict()
    assert list(verdict.text[:5]) == [
        "On these races, by p99.9:",
        "  TS1 alone, the best single server: 100.0 ms",
        "  race: 20.0 ms, 80.0 ms faster than TS1 alone, for 100 % more questions",
        "  hedge: 140.0 ms, 40.0 ms slower than TS1 alone, for 5 % more questions; "
        "2 questions unanswered",
        "Take race: ls ... --policy race",
    ]
    assert verdict.times_s == pytest.approx({"single TS1": 0.1, "race": 0.02, "hedge": 0.14})
    alike = Case(Figures(98), Figures(100)).verdict()
    assert alike.text[2].endswith("about as fast as TS1 alone, for 100 % more questions")


def test_a_gain_that_may_be_chance_is_none() -> None:
    """Of the slowest each is a third slower than the one before: any could be at the quantile."""
    plays = Case(Figures(20), Figures(40)).plays()
    for play, factor in zip(plays, (0.6, 1.0, 1.1, 1.0), strict=True):
        tail = [factor * 0.01 * 1.33**n for n in range(20)]
        play.outcome.replied_s = [0.001] * 9_980 + tail
    verdict = judge(plays)
    assert taken(verdict) == "hedge"
    assert "faster than TS1 alone (may be chance), for 100 %" in verdict.text[2]
    assert "by more than chance" in verdict.text[-2]


@pytest.mark.parametrize(
    ("count", "by"),
    [(1, None), (999, None), (1_000, "p99"), (9_999, "p99"), (10_000, "p99.9")],
)
def test_the_quantile_is_of_as_many_races_as_it_needs(count: int, by: str | None) -> None:
    verdict = Case(Figures(20), Figures(40), count=count).verdict()
    assert (verdict.by, taken(verdict)) == (by, "hedge" if by else None)
    if by is None:
        races = f"{count:,} race{'' if count == 1 else 's'} had a reply"
        assert verdict.text == (f"No verdict: {races}, and 1,000 are needed.",)


def test_races_without_a_recorded_reply_do_not_count() -> None:
    plays = Case(Figures(20), Figures(40)).plays()
    for play in plays:
        play.outcome.took_s = [*play.outcome.took_s, *[5.0] * COUNT]
    assert taken(judge(plays)) == "hedge"
    for play in plays:
        play.outcome.replied_s = play.outcome.replied_s[:999]
    assert judge(plays).take is None


def test_one_server_has_no_verdict() -> None:
    plays = [play for play in Case(Figures(20), Figures(40)).plays() if play.server != "TS2"]
    assert judge(plays) == Verdict(("No verdict: TS1 is the only server, whatever the policy.",))


@pytest.mark.parametrize("missing", ["race", "single", "hedge"])
def test_a_policy_that_was_not_replayed_leaves_no_verdict(missing: str) -> None:
    plays = [play for play in Case(Figures(20), Figures(40)).plays() if play.policy != missing]
    assert judge(plays) == Verdict(("No verdict: it compares all policies; leave out --policy.",))


@pytest.mark.parametrize("ms", [1, 20, 900])
def test_tiers_are_compared_and_never_taken(ms: float) -> None:
    """However fast they are, and however few questions they leave unanswered."""
    case = Case(Figures(20, 5), Figures(40, 5), Figures(100, 5, spread=0), Figures(300, 5))
    flags = ("--tier", "2=TS2")
    tiers = Play("tiers", outcome("tiers", Figures(ms, 0, 9, spread=0), COUNT), None, flags)
    without, verdict = case.verdict(), judge([*case.plays(), tiers])
    assert (verdict.take, verdict.by) == (without.take, without.by)
    assert verdict.times_s == {**without.times_s, "tiers": pytest.approx(ms / 1000)}
    than = f"{abs(100 - ms):.1f} ms {'faster' if ms < 100 else 'slower'} than TS1 alone"
    compared = f"  tiers: {ms:.1f} ms, {than}, for 0 % more questions"
    changed = (
        "Under tiers 9 questions would have had another reply:",
        "  the servers differ, and tiers say whose reply counts.",
    )
    last = "Tiers are never taken: use them where some servers are to count before others."
    assert verdict.text == (*without.text[:4], compared, *without.text[4:], *changed, last)
    assert judge([tiers]) == judge([])


@pytest.mark.parametrize(("others", "is_said"), [(2, False), (3, True)])
def test_replies_that_would_be_others_are_told(others: int, is_said: bool) -> None:
    text = "\n".join(Case(Figures(20), Figures(40, 1, others)).verdict().text)
    assert (f"Under hedge {others} questions would have had another reply" in text) is is_said


figures = st.builds(
    Figures,
    st.one_of(st.floats(0.1, 5_000), st.sampled_from([1.0, 5.0, 10.0, 11.0])),
    st.sampled_from([0, 0, 1, 2, 3, 50]),
    st.sampled_from([0, 0, 9]),
    st.sampled_from([0.0, 0.02, 1.0]),
)
cases = st.builds(Case, figures, figures, figures, figures, st.sampled_from([1_000, 10_000]))


@given(cases, st.permutations(range(4)))
def test_any_figures_have_a_verdict_that_keeps_the_answers(case: Case, order: list[int]) -> None:
    """No policy leaves fewer questions unanswered; and the order of plays is no matter."""
    plays = case.plays()
    verdict = judge(plays)
    assert verdict.take is not None
    fewest = min(play.outcome.unanswered for play in plays if play.policy in EXTRA)
    assert verdict.take.outcome.unanswered - fewest <= case.count / 10_000
    again = judge([plays[at] for at in order])
    assert again.times_s.get("race") == verdict.times_s["race"]
    if verdict.take.policy in EXTRA:
        assert taken(again) == taken(verdict)
    assert all(line.isprintable() and len(line) <= 120 for line in verdict.text)


def test_json_has_all_figures_and_the_verdict() -> None:
    plays = Case(Figures(20, 0, 3), Figures(40, spread=0)).plays()
    recorded = ReplayOutcome([0.1234567, 0.2], [0.1234567], sent=3, timed_out=1)
    verdict = judge(plays)
    made = json.loads(as_json(Replayed(["TS1", "TS2"], 4, 5, recorded, plays, verdict)))
    assert made.keys() == {
        *("servers", "bad_records", "dropped", "as_recorded", "policies", "verdict")
    }
    assert (made["servers"], made["dropped"], made["bad_records"]) == (["TS1", "TS2"], 4, 5)
    assert made["as_recorded"] == {
        "questions": 2, "p50_s": 0.2, "p99_s": 0.2, "p999_s": 0.2, "extra": 0.5,
        "timed_out": 1, "unanswered": 0, "changed": 0,
    }  # fmt: skip
    assert list(made["policies"]) == ["race", "single TS1", "single TS2", "hedge"]
    assert made["policies"]["race"]["changed"] == 3
    assert made["policies"]["hedge"] == {
        "flags": ["--policy", "hedge"], "questions": COUNT, "p50_s": 0.00005, "p99_s": 0.04,
        "p999_s": 0.04, "extra": 0.05, "timed_out": 0, "unanswered": 0, "changed": 0,
    }  # fmt: skip
    told = made["verdict"]
    assert (told["take"], told["flags"], told["by"]) == ("hedge", ["--policy", "hedge"], "p99.9")
    assert told["times_s"].keys() == {"single TS1", "race", "hedge"}
    assert told["text"] == list(verdict.text)


def test_json_without_a_verdict_has_null() -> None:
    plays = Case(Figures(20), Figures(40), count=10).plays()
    made = json.loads(as_json(Replayed([], 0, 0, plays[0].outcome, plays, judge(plays))))
    told = made["verdict"]
    assert (told["take"], told["flags"], told["by"], told["times_s"]) == (None, [], None, {})
