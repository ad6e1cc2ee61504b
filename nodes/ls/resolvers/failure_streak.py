"""Failure streak: whether one resolver has lately replied with nothing but failures.

It fails when its last `failing_replies` replies, over at least `failing_s`, were all failures:
SERVFAIL, or another code that says nothing of the name. REFUSED alone is none of these until no
good reply has come for `refusing_s`: where resolvers divide the names between them (a split view),
each refuses what is the other's, and is well.

Late replies count like others. Not here: what follows from it (`nodes/ls/standing.py`).
"""

import math

from core.bounds import Bounds


class FailureStreak:
    """Replies of one resolver since its last good one. `count`: how many there are."""

    __slots__ = ("_bounds", "_failed", "_good_at", "_since", "count")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.count = 0
        self._failed = 0  # those that are not REFUSED
        self._since = 0.0  # when the first of them came
        self._good_at = math.inf  # the last good reply, or else the first of all

    def add(self, good: int, failed: int, refused: int, now: float) -> None:
        """Take the replies of one read, in whatever order they came."""
        if good:
            self.count = self._failed = 0
            self._good_at = now
            return
        if not self.count:
            self._since = now
            self._good_at = min(self._good_at, now)
        self.count += failed + refused
        self._failed += failed

    def why(self, now: float) -> str:
        """Return in words why it counts as failing; empty while it does not."""
        bounds = self._bounds
        if self.count < bounds.failing_replies or now - self._since < bounds.failing_s:
            return ""
        if self._failed:
            return f"failures only in its last {self.count} replies"
        if now - self._good_at < bounds.refusing_s:
            return ""
        return f"REFUSED to its last {self.count} questions"
