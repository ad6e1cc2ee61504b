"""Check schedule: when each asking is checked again.

An asking is due once at a time. When it gets another time, or has no open question left, its old
entry stays in the heap until its turn comes, since searching for it would cost more.

Not here: what a check does (`hedge_policy.py`).
"""

import heapq
import math
from collections.abc import Iterator
from itertools import count

from nodes.ls.hedging.asking import Asking


class CheckSchedule:
    """A heap of askings by the time of their next check."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Asking]] = []
        self._numbers = count()  # entries of one time are due in the order in which they came

    def add(self, asking: Asking, check_at: float) -> None:
        """Check an asking at this time, and not when it was to be checked before."""
        asking.check_at = check_at
        heapq.heappush(self._entries, (check_at, next(self._numbers), asking))

    def due(self, entries_max: int) -> float:
        """Return when the first check is due; infinite for never. Drops outdated entries, but not
        more than `entries_max`: with more of them it may be too early."""
        entries = self._entries
        for _ in range(min(len(entries), entries_max)):
            if self._is_valid(*entries[0]):
                break
            heapq.heappop(entries)
        return entries[0][0] if entries else math.inf

    def take_due(self, now: float, questions_max: int) -> Iterator[Asking]:
        """Take out askings that are due, until their questions come to `questions_max`."""
        entries = self._entries
        while questions_max > 0 and entries and entries[0][0] <= now:
            check_at, number, asking = heapq.heappop(entries)
            if self._is_valid(check_at, number, asking):
                asking.check_at = math.inf
                yield asking
            questions_max -= len(asking.questions) or 1

    def _is_valid(self, check_at: float, _: int, asking: Asking) -> bool:
        return asking.open_count > 0 and asking.check_at == check_at
