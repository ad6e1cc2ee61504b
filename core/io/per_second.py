"""Per second: how many of something an address may have in each second.

Not here: what is counted, and who is exempt.
"""

_SECOND_S = 1.0


class PerSecond:
    """Counts by key. In each second every key may have as many as `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = {}  # in this second
        self._began_at = 0.0

    def take(self, key: str, now: float) -> bool:
        """Count one more; return whether it is within the bound."""
        if now - self._began_at >= _SECOND_S:
            self._began_at = now
            self._counts.clear()
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count <= self._most
