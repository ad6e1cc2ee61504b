"""Hold schedule: when each negative that is held is released, the next one first.

A heap, from which nothing is taken out early: an entry whose time is no longer that of its negative
(`HeldNegative.until`), since it was released sooner or is held for longer, is dropped when its turn
comes.

Not here: for how long something is held (`hold_times.py`), and what follows (`negatives.py`).
"""

import heapq
import math
from collections.abc import Callable
from itertools import count

from core.effects import Effect
from nodes.ls.held_negative import HeldNegative


class HoldSchedule:
    """A schedule of releases, and `Timed`. `release(due, now)` releases what is due."""

    def __init__(self, release: Callable[[list[HeldNegative], float], list[Effect]]) -> None:
        self._release = release
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

    def woken(self, now: float) -> list[Effect]:
        """Have all released that is to be by now. Something else may be due, as what clients wait
        for no longer is: so `release` is called in any case."""
        due: dict[bytes, HeldNegative] = {}
        while self._next() <= now:
            held = heapq.heappop(self._releases)[2]
            due[held.question] = held
        effects = self._release(list(due.values()), now)
        self.due = self._next()
        return effects

    def _next(self) -> float:
        """Return when the next one is released; infinite for never."""
        releases = self._releases
        while releases and releases[0][2].until != releases[0][0]:
            heapq.heappop(releases)
        return releases[0][0] if releases else math.inf
