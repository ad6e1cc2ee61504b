"""Descriptors: how many this process may open, and which of them clients may have.

The server reserves what it needs for its own work: connections and sockets that it dials,
listeners and what comes to those that reserve, signals, lookups, and some to spare. Clients have
the rest, so they never take a descriptor that is needed to dial again.

The limit is that of this process as it is, and each descriptor that is open already, whoever has
started the process, counts as taken.

Not here: the limit itself (`core/io/system.py`), and what a client too many is told
(`core/io/listener.py`).
"""

from core.bounds import Bounds

_SIGNALS = 2  # the two ends of a pipe: see `core/io/process.py`
LOOKUP_STARTS = 5  # for a lookup while it starts: pipes and /dev/null; then 1
_HOW = "(ulimit -Hn; LimitNOFILE= of a unit)"


class Descriptors:
    """Of one process. `limit`: so many may be open at once; `taken`: so many are already,
    but for signals."""

    def __init__(self, bounds: Bounds, limit: int, taken: int) -> None:
        self._bounds = bounds
        self._limit = limit
        self._needed = taken + _SIGNALS + bounds.descriptors_spare

    def reserve(self, count: int) -> None:
        """Keep so many more from clients."""
        self._needed += count

    @property
    def clients_max(self) -> int:
        """How many clients there may be at once."""
        return max(0, min(self._bounds.clients_max, self._limit - self._needed))

    def too_few(self) -> str:
        """Say why no client at all fits; empty if some do."""
        if self._limit > self._needed:
            return ""
        few = f"{self._limit} descriptors are too few: at least {self._needed + 1} are needed; "
        if self._limit >= self._bounds.descriptors_max:
            return few + "select() holds no more: have fewer workers, servers or listeners"
        return few + f"raise the limit {_HOW}"

    def few(self) -> str:
        """Tell how to have as many clients as the bounds allow, where the limit is in their way;
        empty if it is not, or cannot be raised."""
        missing = self._bounds.clients_max - self.clients_max
        better = min(self._limit + missing, self._bounds.descriptors_max)
        if missing <= 0 or better <= self._limit:
            return ""
        return (
            f"{self.clients_max} clients fit into {self._limit} descriptors; for "
            f"{self.clients_max + better - self._limit} raise the limit to {better} {_HOW}"
        )
