"""The two contracts of what the loop waits for: a descriptor, or a time.

The loop calls both without knowing what is behind them. Each part puts its sources into `by_fd`
of the loop and takes them out again, and says when the descriptors to be read or written change
(`core/io/engine.py`).

Not here: the loop (`core/io/loop.py`).
"""

from typing import Protocol


class Source(Protocol):
    """A descriptor that `select` watches. Either call may find that nothing is there."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def readable(self, now: float) -> bool:
        """Read once; return whether it was dialled and has more: then deadlines may wait."""
        ...

    def writable(self, now: float) -> None:
        """Go on with what waited until the descriptor takes bytes."""
        ...


class Timer(Protocol):
    """Something to be done at a time."""

    @property
    def due(self) -> float:
        """The earliest time at which `expire` has something to do; infinite for never."""
        ...

    def expire(self, now: float) -> None:
        """Do what is due, if anything is."""
        ...
