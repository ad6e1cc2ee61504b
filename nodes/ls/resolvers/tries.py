"""Tries: when LS asks one resolver something itself, to see whether it is well again.

A resolver that could be asked, and is not good, is asked each `try_s`, unless a reply has come
since: under load the questions of clients tell. Nobody would find out that it is back otherwise:
where no server is good, no client is sent.

Not here: one that is refused (`reachability.py`), and how well it serves (`nodes/ls/health.py`).
"""

import math

from core.bounds import Bounds
from nodes.ls.link import Link

TRY = b". TYPE2"  # the question: each resolver knows the name servers of the root


class Tries:
    """The tries of the resolver with this link."""

    def __init__(self, bounds: Bounds, link: Link) -> None:
        self._try_s = bounds.try_s
        self._link = link
        self._last_at = -math.inf  # when it was asked, or has replied

    def heard(self, now: float) -> None:
        """Take note that something has come."""
        self._last_at = now

    def due(self) -> float:
        """Return when it is asked next; infinite for never."""
        link = self._link
        return self._last_at + self._try_s if link.is_live and link.health.is_bad else math.inf

    def take(self, now: float) -> bool:
        """Return whether it is to be asked now; then it is."""
        if self.due() > now:
            return False
        self._last_at = now
        return True
