"""Percentiles: how the benches sum up latencies, all in the same way.

Not here: the latencies themselves, and what they are of.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}  # reported wherever there are latencies


def percentile(seen: Mapping[float, int] | Iterable[float], share: float) -> float:
    """Return the least of the values that this share did not exceed; NaN of no values.

    `seen` has the values, or how often each of them occurred.
    """
    counts = seen if isinstance(seen, Mapping) else Counter(seen)
    left = share * sum(counts.values())
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return value
    return math.nan


def percentiles(seen: Mapping[float, int] | Iterable[float]) -> dict[str, float]:
    """Return the percentiles that are reported, by their names."""
    counts = seen if isinstance(seen, Mapping) else Counter(seen)
    return {name: percentile(counts, share) for name, share in SHARES.items()}


def milliseconds(took: Mapping[str, float], digits: int = 2, between: str = " | ") -> str:
    """Format percentiles as cells of a table."""
    return between.join(f"{ms:.{digits}f}" for ms in took.values())
