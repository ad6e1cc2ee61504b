"""Budget: tokens for speculative questions, so that hedging costs no more than its share.

A token comes with each so many new questions (as in Finagle's `RetryBudget` and
`BackupRequestFilter`); a speculative question takes one. There are none at the start: hedging never
costs more than its share of the questions asked so far.

Not here: which questions are speculative (`hedge_policy.py`).
"""

from core.metrics import Metric, Value

HEDGED = Metric("hedged", "Questions that were asked of one more table server for speed")


class Budget:
    """Tokens: `share` of one is earned with each question, and `tokens_max` are kept at most."""

    def __init__(self, share: float, tokens_max: int) -> None:
        self._share = share
        self._tokens_max = tokens_max
        self.tokens = 0.0
        self.hedged = 0  # speculative questions

    def metrics(self) -> list[Value]:
        """Return what is counted here."""
        return [Value(HEDGED, self.hedged)]

    def earn(self, questions: int) -> None:
        """Take note of so many new questions."""
        self.tokens = min(self.tokens + self._share * questions, self._tokens_max)

    def spend(self, questions: int) -> None:
        """Pay for so many speculative questions; there must be tokens enough."""
        self.tokens -= questions
        self.hedged += questions
