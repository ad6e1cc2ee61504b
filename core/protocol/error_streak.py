"""Error streak: the errors that a peer makes in a row, in whatever language it speaks.

A peer that makes `errors_in_a_row_max` errors in a row speaks another protocol, and is to be given
up. A legal message ends the streak. That the bound took hold is counted here, once for each streak.

Not here: what an error is (the readers of `core/protocol/` and `nodes/dns/` know), and how a peer
is given up.
"""

from core.environment import Environment


class ErrorStreak:
    """The errors of one peer in a row. `count` is how many there are now: whoever reads a legal
    message calls `end`, and may save the call where it is 0."""

    __slots__ = ("_hits", "_max", "count")

    def __init__(self, env: Environment) -> None:
        self.count = 0
        self._max = env.bounds.errors_in_a_row_max
        self._hits = env.hits

    @property
    def is_over(self) -> bool:
        """Whether there were too many."""
        return self.count >= self._max

    def end(self) -> None:
        """End the streak: a legal message has come, or another connection begins."""
        self.count = 0

    def add(self) -> None:
        """Count an error."""
        self.count += 1
        if self.count == self._max:
            self._hits["errors_in_a_row_max"] += 1
