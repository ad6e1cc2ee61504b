"""Patience: how long one resolver is worth waiting for, from how it has answered lately.

While a worse answer is held, it waits for those who have not spoken, and no longer than they
usually take: three times what all but 5 % of the recent replies took, between a floor and a
ceiling (`--grace` says otherwise). One that has been silent for its last questions is not waited
for at all, until it speaks again. A question counts as met with silence when it has been open for
as long as the ceiling, and nothing at all has come since it was sent: with many in flight the
newest are always open.

Not here: whom to ask first (`nodes/balancer/pace.py` has means for that), and the clock.
"""

import math

from core.bounds import Bounds
from nodes.balancer.pace import Quantile

_USUALLY = 0.95
_TIMES = 3.0
_HALF_LIFE_S = 30.0  # who is asked now and then is known by what was a minute ago


class Patience:
    """With one resolver. `fixed_s`: wait for so long, whatever it usually takes."""

    def __init__(self, bounds: Bounds, fixed_s: float | None) -> None:
        self._bounds = bounds
        self._fixed_s = fixed_s
        self._times = Quantile(_USUALLY, _HALF_LIFE_S, least=0.5)
        self._heard_at = -math.inf
        self._silences = 0  # questions in a row

    def answered(self, took_s: float, count: int, now: float) -> None:
        """`count` replies have come after so long."""
        self._times.add(took_s, count)
        self._heard_at = now
        self._silences = 0

    def waited(self, sent_at: float, count: int) -> None:
        """`count` questions, sent at that time, have been open for as long as the ceiling."""
        if sent_at > self._heard_at:
            self._silences += count

    @property
    def is_over(self) -> bool:
        """Whether it is not waited for: it has said nothing to its last questions."""
        return self._silences >= self._bounds.silent_questions

    def grace_s(self, now: float) -> float:
        """How long a worse answer waits for it."""
        if self._fixed_s is not None:
            return self._fixed_s
        usual_s = self._times.seconds(now)
        if usual_s == math.inf:
            return self._bounds.grace_unknown_s
        return min(max(_TIMES * usual_s, self._bounds.grace_min_s), self._bounds.grace_max_s)
