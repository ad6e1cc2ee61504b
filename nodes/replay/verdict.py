"""The verdict of a replay: what each policy buys and costs on these races, and which to take.

The rule. Times are compared at p99.9 from 10,000 races on, at p99 from 1,000 on; fewer races are
too few. Races that timed out when they were recorded do not count: no server answered them. A time
is shorter than another if that is more than chance, and by 1 ms and by 10 %. A policy is out if it
leaves more questions unanswered than the other does, by 1 in 10,000. The yardstick is the best
single server. Where a policy gains on it, take the cheapest that keeps half of the gain or more.
Where none does, take hedge, which goes on when a server fails; or that server alone, if hedge is
slower. Tiers are compared and never taken: they say whose answer counts, and no time tells whether
that is right.

More than chance: the ranges of two standard errors around both ranks do not overlap. That takes
races to be independent; and times are those of servers under the load that they had when recorded.

Not here: how races are replayed (`replay.py`), tables and JSON (`report.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from nodes.replay.replay import ReplayOutcome

_QUANTILES = (("p99.9", 0.999), ("p99", 0.99))
_BEYOND_MIN = 10  # races beyond a quantile; from fewer it is not known
_SHORTER_S, _SHORTER_SHARE = 0.001, 0.1  # less is not noticed
_STANDARD_ERRORS = 2
_UNANSWERED_SHARE = 1e-4
_GAIN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Play:
    """Races as one policy played them. `server`: that of `single`; `flags`: those of `ls`."""

    policy: str
    outcome: ReplayOutcome
    server: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name for people."""
        return f"{self.policy} {self.server}" if self.server else self.policy


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict. `take`: the play to follow, None if there is none; `by`: the quantile that
    decided; `times_s`: by label, the times at that quantile."""

    text: tuple[str, ...]
    take: Play | None = None
    by: str | None = None
    times_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Contestant:
    """A play, its time, and the range in which chance may have put that."""

    play: Play
    time_s: float
    least_s: float
    most_s: float

    @property
    def unanswered(self) -> int:
        return self.play.outcome.unanswered

    @property
    def name(self) -> str:
        return f"{self.play.server} alone" if self.play.server else self.play.policy

    @property
    def title(self) -> str:
        return self.name.capitalize()

    def is_shorter(self, other: "_Contestant") -> bool:
        """Return whether people would notice, be it chance or not."""
        shorter_s = other.time_s - self.time_s
        return shorter_s >= max(_SHORTER_S, _SHORTER_SHARE * other.time_s)

    def is_faster(self, other: "_Contestant") -> bool:
        """Return whether it is shorter by more than chance."""
        return self.is_shorter(other) and self.most_s < other.least_s


def judge(plays: Sequence[Play]) -> Verdict:
    """Compare race, hedge, and each server alone; and tiers, which are never taken."""
    singles = [play for play in plays if play.policy == "single"]
    tiers = [play for play in plays if play.policy == "tiers"]
    rivals = [play for play in plays if play.policy not in ("single", "tiers")]
    if not singles or {play.policy for play in rivals} != {"race", "hedge"}:
        return Verdict(("No verdict: it compares all policies; leave out --policy.",))
    if len(singles) == 1:
        text = f"No verdict: {singles[0].server} is the only server, whatever the policy."
        return Verdict((text,))
    count = len(plays[0].outcome.replied_s)
    for by, share in _QUANTILES:
        if round(count * (1 - share), 6) >= _BEYOND_MIN:
            tolerated = _UNANSWERED_SHARE * count
            best = min(_leaving_fewest(_contestants(singles, share), tolerated), key=_time_s)
            others = _contestants(tiers, share)
            return _verdict(best, _contestants(rivals, share), others, tolerated, by)
    text = f"No verdict: {_counted(count, 'race')} had a reply, and 1,000 are needed."
    return Verdict((text,))


def _verdict(
    best: _Contestant,
    rivals: list[_Contestant],
    others: list[_Contestant],
    tolerated: float,
    by: str,
) -> Verdict:
    """Compare policies with the best single server. `others` are compared, and not taken."""
    taken, why = _choose(best, rivals, tolerated)
    all_rivals = [*rivals, *others]
    how = f"ls ... {' '.join(taken.play.flags)}"
    if taken.play.server:
        how = "name no other server to ls"
    text = [
        f"On these races, by {by}:",
        f"  {best.name}, the best single server: {_ms(best.time_s)}{_unanswered(best)}",
        *(f"  {each.name}: {_compared(each, best)}{_unanswered(each)}" for each in all_rivals),
        f"Take {taken.name}: {how}",
        *(f"  {reason}" for reason in why),
    ]
    for rival in all_rivals:
        changed = rival.play.outcome.changed - rival.unanswered
        if changed > tolerated:
            questions = _counted(changed, "question")
            text.append(f"Under {rival.name} {questions} would have had another reply:")
            but = "tiers say whose reply counts" if rival in others else "hedging is for equal ones"
            text.append(f"  the servers differ, and {but}.")
    if others:
        text.append(
            "Tiers are never taken: use them where some servers are to count before others."
        )
    times_s = {each.play.label: each.time_s for each in (best, *all_rivals)}
    return Verdict(tuple(text), taken.play, by, times_s)


def _choose(
    best: _Contestant, rivals: list[_Contestant], tolerated: float
) -> tuple[_Contestant, list[str]]:
    """Return which to take, and why."""
    left = _leaving_fewest(rivals, tolerated)
    fastest = min(left, key=_time_s)
    if best.unanswered - fastest.unanswered <= tolerated and not fastest.is_faster(best):
        return _choose_without_gain(best, rivals, left)
    gain_s = best.time_s - fastest.time_s
    enough_s = best.time_s - _GAIN_SHARE * gain_s
    keep = [each for each in left if each.time_s <= enough_s or not fastest.is_faster(each)]
    taken = min(keep, key=lambda each: each.play.outcome.sent)
    other = next(each for each in rivals if each is not taken)
    if other not in left:
        return taken, [f"{other.title} leaves more questions unanswered."]
    if not taken.is_faster(best):
        return taken, [f"It answers what {best.name} does not."]
    if other.is_faster(taken):
        kept = (best.time_s - taken.time_s) / gain_s
        return taken, [
            f"It keeps {_percent(kept)} of the gain of {other.name}. {other.title} is "
            f"{_ms(taken.time_s - other.time_s)} faster, if servers bear its load."
        ]
    if other in keep:
        return taken, [f"It is no slower than {other.name}, and costs no more."]
    kept = max(0.0, best.time_s - other.time_s) / gain_s
    return taken, [f"{other.title} keeps {_percent(kept)} of its gain."]


def _choose_without_gain(
    best: _Contestant, rivals: list[_Contestant], left: list[_Contestant]
) -> tuple[_Contestant, list[str]]:
    why = f"No policy is faster than {best.name}, by 1 ms and by 10 % and by more than chance."
    hedge = next(rival for rival in rivals if rival.play.policy == "hedge")
    if hedge in left and not best.is_faster(hedge):
        return hedge, [why, "Hedge costs little, and goes on when that server fails."]
    single = f"But nobody answers while {best.play.server} is down; under race others do."
    return best, [why, single]


# -- figures ---------------------------------------------------------------------------------------


def _contestants(plays: Sequence[Play], share: float) -> list[_Contestant]:
    """Return each with its time at this quantile, and the range of that."""
    contestants = []
    for play in plays:
        ranked = sorted(play.outcome.replied_s)
        count = len(ranked)
        spread = _STANDARD_ERRORS * math.sqrt(count * (1 - share))
        at = [int(share * count + off) for off in (0.0, -spread, spread)]
        contestants.append(_Contestant(play, *(ranked[min(rank, count - 1)] for rank in at)))
    return contestants


def _leaving_fewest(contestants: list[_Contestant], tolerated: float) -> list[_Contestant]:
    """Return those that leave hardly more questions unanswered than the best of them does."""
    fewest = min(each.unanswered for each in contestants)
    return [each for each in contestants if each.unanswered - fewest <= tolerated]


def _time_s(contestant: _Contestant) -> float:
    return contestant.time_s


# -- words -----------------------------------------------------------------------------------------


def _compared(rival: _Contestant, best: _Contestant) -> str:
    cost = f"for {_percent(rival.play.outcome.extra)} more questions"
    than = f"about as fast as {best.name}"
    if rival.is_shorter(best):
        than = f"{_ms(best.time_s - rival.time_s)} faster than {best.name}"
        than += "" if rival.is_faster(best) else " (may be chance)"
    elif best.is_shorter(rival):
        than = f"{_ms(rival.time_s - best.time_s)} slower than {best.name}"
        than += "" if best.is_faster(rival) else " (may be chance)"
    return f"{_ms(rival.time_s)}, {than}, {cost}"


def _unanswered(contestant: _Contestant) -> str:
    count = contestant.unanswered
    return f"; {_counted(count, 'question')} unanswered" if count else ""


def _ms(time_s: float) -> str:
    return f"{1000 * time_s:.1f} ms"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
