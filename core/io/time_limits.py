"""Limit: the connections that must do something within a span, as a FIFO.

All entries of one limit wait equally long, so the order of starting is the order of being due:
a dictionary keeps it, start and stop cost one operation each, and nothing is ever sorted. It
holds at most one entry per connection, so the search for the first one is short, too.
"""

import math
from collections.abc import Iterator
from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class TimeLimit(Generic[Holder]):
    """Who has to be done by when. `span_s` may be infinite: then nobody is ever due.

    `bound` is the name of the span; `why` is what is said of one who was not done. `due` is when
    the first one is due, infinite for never.
    """

    __slots__ = ("_dues", "bound", "due", "span_s", "why")

    def __init__(self, span_s: float, bound: str, why: str) -> None:
        self.span_s = span_s
        self.bound = bound
        self.why = why
        self.due = math.inf
        self._dues: dict[Holder, float] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._dues

    def restart(self, holder: Holder, now: float) -> None:
        """The span begins now, also for one that was waiting."""
        self._dues.pop(holder, None)
        self._dues[holder] = now + self.span_s
        self._look()

    def start(self, holder: Holder, now: float) -> None:
        """The span begins now, unless it runs already."""
        self._dues.setdefault(holder, now + self.span_s)
        self._look()

    def stop(self, holder: Holder) -> None:
        """The holder did it, or is gone."""
        if self._dues.pop(holder, None) is not None:
            self._look()

    def expire(self, now: float) -> Iterator[Holder]:
        """Each holder whose span is over; it is taken out."""
        while self.due <= now:
            holder = next(iter(self._dues))
            del self._dues[holder]
            self._look()
            yield holder

    def _look(self) -> None:
        self.due = next(iter(self._dues.values()), math.inf)
