"""Read list: which descriptors `select` is to name when they can be read, in the order of reading.

`select` goes through every descriptor that it is given, so idle connections make each turn of the
busy ones longer (900 of them by 0.2 ms). Those that have been quiet for many turns are therefore
looked at less often while others are busy, and always before a wait for longer: what comes on a
quiet one waits for `quiet_look_s` at most, and makes it busy.

Not here: which descriptors are read at all, and what is done with one that can be (`loop.py`).
"""

import math
from typing import Never

from core.bounds import Bounds
from core.io.system import System

Ready = tuple[list[int], list[int], list[Never]]  # to read, and to write


class ReadList:
    """Descriptors to read, in order. `fds` are all of them, and `quiet` those that may be looked at
    less often: while there are any, `select` is to be called here. From the turn `renew_at` on,
    `renew` should be told anew who is quiet."""

    def __init__(self, system: System, bounds: Bounds) -> None:
        self.fds: list[int] = []
        self.quiet: set[int] = set()
        self.renew_at = math.inf
        self._system = system
        self._bounds = bounds
        self._busy: list[int] = []  # all others, in the same order
        self._look_at = 0.0  # when all are looked at next, where some are quiet

    def renew(self, fds: list[int], quiet: set[int], turn: int) -> None:
        """Read these from this turn on; `quiet` are those on which nothing came lately."""
        bounds = self._bounds
        self.fds = fds
        self.renew_at = turn + bounds.quiet_turns if len(fds) >= bounds.quiet_least else math.inf
        if not self.quiet:  # else they are to be looked at in time, however often this happens
            self._look_at = self._system.now() + bounds.quiet_look_s
        self._set_apart(quiet if len(quiet) >= bounds.quiet_least else set())

    def _set_apart(self, quiet: set[int]) -> None:
        self.quiet = quiet
        self._busy = [fd for fd in self.fds if fd not in quiet]

    def select(self, write_fds: list[int], timeout_s: float) -> Ready:
        """Wait for `timeout_s` at most; return what `select` returns."""
        select = self._system.select
        left_s = self._look_at - self._system.now()
        if left_s > 0.0:
            ready = select(self._busy, write_fds, [], min(timeout_s, left_s))
            if ready[0] or ready[1]:
                return ready
            timeout_s = max(0.0, timeout_s - left_s)
        ready = select(self.fds, write_fds, [], timeout_s)
        self._look_at = self._system.now() + self._bounds.quiet_look_s
        if not self.quiet.isdisjoint(ready[0]):
            self._set_apart(self.quiet.difference(ready[0]))
        return ready
