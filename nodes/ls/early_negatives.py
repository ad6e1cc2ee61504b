"""Early negatives: questions that were told as NOT FOUND or NO DATA since their grace was over.

Not every server had denied them by then. They are remembered for a while: data that comes after
all, to the same question or to a later one for the same, shows that servers differ.

Not here: what is held, and for how long (`negatives.py`); replies of resolvers that nobody waits
for any more, which are looked up here (`resolvers/reply_matcher.py`).
"""

from collections.abc import Callable, Iterable, Sequence

from core.effects import Effect
from nodes.ls.observer import Observer
from nodes.ls.upstream import Upstream

_KEPT_MAX = 1_024  # questions that are remembered: data that comes too late comes soon after


class EarlyNegatives(Observer):
    """Questions of which it was lately told that there is no data, before everybody had said so.
    `differed` is told which upstream has data of one, and when."""

    def __init__(self, differed: Callable[[Upstream, float], Iterable[Effect]]) -> None:
        self._tell_difference = differed
        self._told: dict[bytes, None] = {}
        self.kept = self._told

    def add(self, question: bytes) -> None:
        """Remember a question; when there are too many, all others are forgotten."""
        if len(self._told) == _KEPT_MAX:
            self._told.clear()
        self._told[question] = None

    def was_told(self, question: bytes) -> bool:
        """Return whether it was lately told that there is no data of this."""
        return question in self._told

    def admitted(
        self, upstream: Upstream, questions: Sequence[bytes], now: float
    ) -> Iterable[Effect]:
        if self._told.keys().isdisjoint(questions):
            return ()
        return self._tell_difference(upstream, now)
