"""Time limits: what has to be done within a span, as a FIFO.

All entries of one limit have the same span, so the order of starting is the order of being due:
a dictionary keeps it, start and stop cost one operation each, and nothing is ever sorted. It
holds at most one entry per holder, so the search for the first one is short, too.

Not here: what is limited, and what becomes of a holder that was not done (`streams.py`,
`dialler.py`), and how long each span is (`core/bounds.py`).
"""

import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class TimeLimit(Generic[Holder]):
    """Holders that have to be done by a time. With an infinite `span_s` nobody is ever due.

    `bound` is the name of the span; `why` is what is said of a holder that was not done, for which
    `end(holder, limit)` is called. `due` is when the first one is due, infinite for never.
    """

    __slots__ = ("_dues", "_end", "bound", "due", "span_s", "why")

    def __init__(
        self,
        span_s: float,
        bound: str,
        why: str,
        end: "Callable[[Holder, TimeLimit[Holder]], None]",
    ) -> None:
        self.span_s = span_s
        self.bound = bound
        self.why = why
        self.due = math.inf
        self._end = end
        self._dues: dict[Holder, float] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._dues

    def __iter__(self) -> Iterator[Holder]:
        """Go over the holders, the first to be due first."""
        return iter(self._dues)

    def restart(self, holder: Holder, now: float) -> None:
        """Begin the span now, also for a holder that was waiting."""
        self._dues.pop(holder, None)
        self._dues[holder] = now + self.span_s
        self._look()

    def start(self, holder: Holder, now: float) -> None:
        """Begin the span now, unless it runs already."""
        self._dues.setdefault(holder, now + self.span_s)
        self._look()

    def stop(self, holder: Holder) -> None:
        """Forget a holder that is done, or gone."""
        if self._dues.pop(holder, None) is not None:
            self._look()

    def expire(self, now: float) -> None:
        """Take out each holder whose span is over, and end it."""
        while self.due <= now:
            holder = next(iter(self._dues))
            del self._dues[holder]
            self._look()
            self._end(holder, self)

    def _look(self) -> None:
        self.due = next(iter(self._dues.values()), math.inf)
