"""Fitness: whether hedging is for these servers, told once in the log when it is not.

Hedging is for table servers that hold the same names and say what they do not know. Where one
answers what another has denied, or most questions get no reply at all, it is not.

Not here: hedging itself (`hedge_policy.py`).
"""

from collections.abc import Iterable, Sequence

from core.effects import Effect
from core.operator import Level, Report
from core.protocol.names import Negative
from nodes.ls.negatives import HeldNegatives
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionState
from nodes.ls.questions import Questions
from nodes.ls.upstream import Upstream

_JUDGED_MIN = 100  # questions that have ended before most of them mean anything


class HedgingFitness(Observer):
    """Watches how questions end. It is told of answers before
    the held negatives are, which may forget."""

    def __init__(self, questions: Questions, negatives: HeldNegatives) -> None:
        self._questions = questions
        self._negatives = negatives
        self.kept: tuple[object, ...] = (self,)  # nothing, once it is said

    def admitted(
        self, upstream: Upstream, questions: Sequence[bytes], now: float
    ) -> Iterable[Effect]:
        if upstream.covers_all_names or not self._negatives.are_denied(questions):
            return ()
        return self._say(f"{upstream.link.conn} answers what another TS has not")

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        if end is not QuestionState.TIMED_OUT:
            return ()
        denied = self._questions.denied
        ended = self._questions.answered + sum(denied.values())
        if ended < _JUDGED_MIN or 2 * denied[Negative.TIMED_OUT] <= ended:
            return ()
        return self._say("more than half of the questions get no reply from any TS")

    def _say(self, why: str) -> Iterable[Effect]:
        self.kept = ()
        advice = "hedging is for equal tables and --answer-unknown; consider --policy race"
        return [Report(f"{why}: {advice}", Level.WARNING, "hedging_unfit", {"reason": why})]
