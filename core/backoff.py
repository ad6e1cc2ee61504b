"""Backoff: a wait before the next attempt that doubles with each.

Only an attempt that lasted longer than the longest wait starts it over: a server that accepts and
closes at once, or a process that dies at once, would otherwise be tried without pause. Jitter, up
to a quarter more, keeps many that wait from trying in step.

Not here: what is attempted.
"""

from collections.abc import Callable


class Backoff:
    """The waits between the attempts at one thing. `random()` is in [0, 1)."""

    __slots__ = ("_first_s", "_longest_s", "_next_s", "_random")

    def __init__(
        self, first_s: float, longest_s: float, random: Callable[[], float] = float
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._random = random
        self._next_s = first_s

    def start_over(self) -> None:
        """Make the next wait the first again."""
        self._next_s = self._first_s

    def wait_s(self, lasted_s: float = 0.0, longest_s: float | None = None) -> float:
        """Return how long to wait after an attempt that lasted for `lasted_s` and failed. The
        next wait is twice as long, up to `longest_s`, by default the longest."""
        if lasted_s > self._longest_s:
            self.start_over()
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._longest_s if longest_s is None else longest_s)
        return self.jittered(wait_s)

    def jittered(self, seconds: float) -> float:
        """Return a span up to a quarter longer."""
        return seconds * (1 + self._random() / 4)
