"""Hold times: how long something worse than data is held, once it has been said.

A grace, which each server that is waited for has of its own. That a name exists begins none. Old
data that LS has kept is held until clients lose their patience; once a resolver has failed, for a
grace as well, in which another that was silent may be back.

Not here: what is held (`negatives.py`), and the grace of a server (`resolvers/grace.py`,
`table_link.py`).
"""

import math

from core.bounds import Bounds
from nodes.ls.held_negative import HeldNegative
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.server_set import ServerSet
from nodes.ls.upstreams import Upstreams

# No resolver has said anything about the name.
_FAILURES = frozenset(
    {
        QuestionState.FAILURE_HELD,
        QuestionState.REFUSAL_HELD,
        QuestionState.STALE_HELD,
        QuestionState.NAME_HELD,
    }
)


class HoldTimes:
    """The hold times among these upstreams."""

    def __init__(self, bounds: Bounds, upstreams: Upstreams) -> None:
        self._bounds = bounds
        self._upstreams = upstreams

    def after(self, event: QuestionEvent, held: HeldNegative, left: ServerSet, now: float) -> float:
        """Return when this is to be released at the latest, now that it was said and these servers
        are left; infinite: that says nothing of it."""
        if event is QuestionEvent.NAME_SAID:
            return math.inf
        if held.best is not QuestionState.STALE_HELD:
            return now + self.grace_s(held, left, now) if left else math.inf
        if event is QuestionEvent.STALE_SAID:
            return now + self._bounds.stale_after_s
        return now + max(self._bounds.stale_hold_s, self.grace_s(held, left, now))

    def grace_s(self, held: HeldNegative, servers: ServerSet, now: float) -> float:
        """Return how long this waits for these servers."""
        is_failure = held.best in _FAILURES
        return self._upstreams.grace_s(held.question, servers, now, is_failure=is_failure)
