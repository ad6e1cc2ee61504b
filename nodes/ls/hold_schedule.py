"""Hold schedule: when each negative that is held is released, the next one first.

A heap, from which nothing is taken out early: an entry whose time is no longer that of its negative
(`HeldNegative.until`), since it was released sooner or is held for longer, is dropped when its turn
comes.

Not here: for how long something is held (`hold_times.py`), and what follows (`negatives.py`).
"""

import heapq
import math
from itertools import count

from nodes.ls.held_negative import HeldNegative


class HoldSchedule:
    """A schedule of releases. `due`: never later than the next one."""

    def __init__(self) -> None:
        self._releases: list[tuple[float, int, HeldNegative]] = []
        self._number = count()
        self.due = math.inf

    def add(self, held: HeldNegative, until: float) -> None:
        """Release this then, and not when it was to be released before."""
        held.until = until
        heapq.heappush(self._releases, (until, next(self._number), held))
        self.due = min(self.due, until)

    def shorten(self, held: HeldNegative, until: float, now: float) -> None:
        """Release this then, if that is sooner: fewer or faster servers may be left."""
        if until < held.until:
            if held.until == math.inf:
                held.since = now
            self.add(held, until)

    def clear(self) -> None:
        """Forget all: nothing is held."""
        self._releases.clear()
        self.due = math.inf

    def take_due(self, now: float) -> list[HeldNegative]:
        """Take what is to be released by now."""
        taken: dict[bytes, HeldNegative] = {}
        while self._next() <= now:
            held = heapq.heappop(self._releases)[2]
            taken[held.question] = held
        return list(taken.values())

    def look(self) -> None:
        """Set `due` right."""
        self.due = self._next()

    def _next(self) -> float:
        """Return when the next one is released; infinite for never."""
        releases = self._releases
        while releases and releases[0][2].until != releases[0][0]:
            heapq.heappop(releases)
        return releases[0][0] if releases else math.inf
