"""Unanswered: how many questions one server left without a reply, once their time was over.

That is not followed for each question: those that had been asked by then are compared with all
replies until now. The count is exact once nothing is open, and before that never too high: a reply
to something newer hides one that is missing. The server is looked at once a `try_s` while it
is asked.

Not here: which question it was, and when nobody waits for a server any more.
"""

import math
from collections import deque

from core.bounds import Bounds


class Unanswered:
    """The count of one server. `due`: when it looks next; infinite while nothing is asked."""

    __slots__ = ("_asked_by", "_bounds", "_missed", "count", "due")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._asked_by: deque[tuple[float, int]] = deque()  # how many were asked at which time
        self._missed = 0  # on connections that are gone
        self.count = 0
        self.due = math.inf

    def begin(self, now: float) -> float:
        """Look from now on, since it is being asked; return when."""
        self.due = now + self._bounds.try_s
        return self.due

    def look(self, asked: int, replied: int, now: float) -> None:
        """Count, and look again as long as the time of something is not over."""
        asked_by = self._asked_by
        asked_by.append((now, asked))
        over = now - self._bounds.longest_s
        while len(asked_by) > 1 and asked_by[1][0] <= over:
            asked_by.popleft()
        if asked_by[0][0] <= over:
            self.count = max(self.count, self._missed + asked_by[0][1] - replied)
            if asked_by[0][1] == asked:
                asked_by.clear()
                self.due = math.inf
                return
        self.due = now + self._bounds.try_s

    def lost(self, missed: int) -> None:
        """Take note that so many questions will have no reply: their connection is gone. From now
        on what was asked is as good as replied to."""
        self._missed += missed
        self.count = max(self.count, self._missed)
        self._asked_by.clear()
