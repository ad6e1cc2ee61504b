"""Read list: which descriptors `select` is to name when they can be read, in the order of reading.

`select` goes through every descriptor that it is given, so idle connections make each turn of the
busy ones longer (900 of them by 0.2 ms). Those that have been quiet for many turns are therefore
looked at less often while others are busy, and always before a wait for longer: what comes on a
quiet one waits for `quiet_look_s` at most, and makes it busy.

Not here: which descriptors are read at all, and what is done with one that can be (`loop.py`).
"""

from core.bounds import Bounds
from core.io.system import System


class ReadList:
    """Descriptors to read, in order. `fds` are all of them; `is_old`: who is quiet should be
    looked up again, and told to `renew`."""

    def __init__(self, system: System, bounds: Bounds) -> None:
        self.fds: list[int] = []
        self.is_old = False
        self._system = system
        self._bounds = bounds
        self._quiet: set[int] = set()
        self._busy: list[int] = []  # all others, in the same order
        self._look_at = 0.0  # when all are looked at next, where some are quiet
        self._turns_left = bounds.quiet_turns  # until it is old

    def renew(self, fds: list[int], quiet: set[int]) -> None:
        """Read these from now on; `quiet` are those among them that may be looked at less often."""
        self.fds = fds
        self.is_old = False
        self._turns_left = self._bounds.quiet_turns
        if not self._quiet:  # else they are to be looked at in time, however often this happens
            self._look_at = self._system.now() + self._bounds.quiet_look_s
        self._set_apart(quiet if len(quiet) >= self._bounds.quiet_least else set())

    def _set_apart(self, quiet: set[int]) -> None:
        self._quiet = quiet
        self._busy = [fd for fd in self.fds if fd not in quiet]

    def select(
        self, write_fds: list[int], timeout_s: float, *, at_all: bool
    ) -> tuple[list[int], list[int]]:
        """Wait for `timeout_s` at most; return what can be read, and what can be written. `at_all`:
        look at all that are read, the quiet ones included."""
        select = self._system.select
        self._turns_left -= 1
        if not self._turns_left:
            self.is_old = len(self.fds) >= self._bounds.quiet_least
            self._turns_left = self._bounds.quiet_turns
        if self._quiet and not at_all:
            left_s = self._look_at - self._system.now()
            if left_s > 0.0:
                readable, writable, _ = select(self._busy, write_fds, [], min(timeout_s, left_s))
                if readable or writable:
                    return readable, writable
                timeout_s = max(0.0, timeout_s - left_s)
        readable, writable, _ = select(self.fds, write_fds, [], timeout_s)
        if self._quiet:
            self._look_at = self._system.now() + self._bounds.quiet_look_s
            if not self._quiet.isdisjoint(readable):
                self._set_apart(self._quiet.difference(readable))
        return readable, writable
