"""Limit: the connections that must do something within a span, as a FIFO.

All entries of one limit wait equally long, so the order of starting is the order of being due:
a dictionary keeps it, start and stop cost one operation each, and nothing is ever sorted. It
holds at most one entry per connection, so the search for the first one is short, too.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

Holder = TypeVar("Holder")


class Limit(Generic[Holder]):
    """Who has to be done by when. `span_s` may be infinite: then nobody is ever due.

    `bound` is the name of the span; `why` is what is said of one who was not done.
    """

    __slots__ = ("_due", "bound", "span_s", "why")

    def __init__(self, span_s: float, bound: str, why: str) -> None:
        self.span_s = span_s
        self.bound = bound
        self.why = why
        self._due: dict[Holder, float] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._due

    def restart(self, holder: Holder, now: float) -> None:
        """The span begins now, also for one that was waiting."""
        self._due.pop(holder, None)
        self._due[holder] = now + self.span_s

    def start(self, holder: Holder, now: float) -> None:
        """The span begins now, unless it runs already."""
        self._due.setdefault(holder, now + self.span_s)

    def stop(self, holder: Holder) -> None:
        """The holder did it, or is gone."""
        self._due.pop(holder, None)

    def next_due(self) -> float | None:
        """When the first one is due, None for never."""
        return next(iter(self._due.values()), None)

    def expire(self, now: float) -> Iterator[Holder]:
        """Each holder whose span is over; it is taken out."""
        while self._due:
            holder, due = next(iter(self._due.items()))
            if due > now:
                return
            del self._due[holder]
            yield holder
