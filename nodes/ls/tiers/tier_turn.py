"""Tier turns: how far questions that were asked together have come through the tiers.

A turn is split when its questions part: some go on to the next tier, and some do not.

Not here: when they go on, and to which tier (`tier_policy.py`).
"""

import math
from collections.abc import Mapping, Sequence

from core.machine import STAY, Label, Machine, Transitions


class TierState(Label):
    """Progress of questions through the tiers."""

    LATER_LEFT = "servers of later tiers have not been asked"
    ALL_ASKED = "every server that may be asked has been"


class TierEvent(Label):
    """Events of a turn."""

    TIER_FAILED = "all who are asked are down, or could say nothing about the name"
    TIER_SLOW = "nobody has said anything about the name by the end of the tier's time"
    NONE_LEFT = "no later tier has a server that may be asked"


S, E = TierState, TierEvent
TIER: Transitions[TierState, TierEvent] = {
    S.LATER_LEFT: {E.TIER_FAILED: STAY, E.TIER_SLOW: STAY, E.NONE_LEFT: S.ALL_ASKED},
    S.ALL_ASKED: {},
}


class TierTurn:
    """Questions that were asked together, and have come as far. `tier`: the last that was asked,
    counted from 0; `over_at`: when its time is over; `open_count`: those that are open and belong
    to this turn."""

    __slots__ = ("life", "open_count", "over_at", "questions", "tier")

    def __init__(self, questions: Sequence[bytes]) -> None:
        self.life = Machine(TIER, TierState.LATER_LEFT, "tiers")
        self.questions = questions  # some may be closed, or belong to another turn by now
        self.open_count = len(questions)
        self.tier = -1
        self.over_at = math.inf

    def split(self, questions: Sequence[bytes]) -> "TierTurn":
        """Return a turn that has come as far, for some of the open questions; this one, if these
        are all."""
        if len(questions) == self.open_count:
            return self
        self.settle(len(questions))
        part = TierTurn(questions)
        part.tier = self.tier
        return part

    def settle(self, count: int) -> None:
        """Let go of so many questions: they are closed, or belong to another turn."""
        self.open_count -= count

    def open_questions(self, turns: Mapping[bytes, "TierTurn"]) -> list[bytes]:
        """Return those that are open and belong to it. `turns`: that of each open question."""
        return [question for question in self.questions if turns.get(question) is self]
