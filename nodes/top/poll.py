"""Polls: what a server told in one reply to STATS, and what has happened between two of them.

Any reply is taken: a value that is missing or no number counts as 0, and a counter
that has fallen as one that has not moved.

Not here: how STATS is asked for (`nodes/top/top.py`), and what is shown (`nodes/top/frame.py`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.metrics import SPANS_S

_NUMBER_MAX = 1e15
_ENDS = [str(round(end_s * 1e6)) for end_s in SPANS_S]
# By the end of its key: where a span of a distribution begins and ends, in s. No time is known for
# what is beyond all spans but that it took longer.
_SPANS = dict(zip(_ENDS, zip((0.0, *SPANS_S), SPANS_S, strict=False), strict=True))
_SPANS["inf"] = (SPANS_S[-1], SPANS_S[-1])
FACES = ("lines", "dns")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return max(-_NUMBER_MAX, min(value, _NUMBER_MAX)) if math.isfinite(value) else 0.0


@dataclass(frozen=True, slots=True)
class Poll:
    """A reply to STATS, at time `at` (s, monotonic)."""

    at: float
    values: Mapping[str, str]

    def text(self, key: str) -> str:
        """Return a value as it came; empty if there is none."""
        return self.values.get(key, "")

    def number(self, key: str) -> float:
        """Return a value."""
        return _number(self.text(key))

    def first_time(self, key: str) -> float:
        """Return a time, the earliest where workers tell several; 0 if there is none."""
        times = map(_number, self.text(key).split("/"))
        return min((time_s for time_s in times if time_s > 0), default=0.0)

    def with_metric(self, metric: str) -> list[str]:
        """Return who has such a metric, in the order of the reply."""
        found = (key.rpartition(".") for key in self.values)
        return [subject for subject, _, name in found if name == metric and subject]


_NOTHING = Poll(0.0, {})


class Between:
    """Two polls, and what has happened between them: all since the start of the server, if there is
    but one. `seconds`: how long that was; 0 if there is one, since nobody knows."""

    def __init__(self, now: Poll, before: Poll | None = None) -> None:
        self.now = now
        self._before = before or _NOTHING
        self.seconds = now.at - before.at if before is not None else 0.0

    def count(self, *keys: str) -> float:
        """Return by how much these counters have risen, together."""
        rises = (self.now.number(key) - self._before.number(key) for key in keys)
        return sum(max(0.0, rise) for rise in rises)

    def rate(self, *keys: str) -> float:
        """Return the same a second; the whole count where the time is not known."""
        return self.count(*keys) / (self.seconds or 1.0)

    def quantiles_s(self, shares: Iterable[float], *, of: Iterable[str]) -> list[float | None]:
        """Return the times that these shares of the times of some subjects do not exceed, as
        Prometheus works them out of its histograms; None without any."""
        subjects = set(of)
        counts = dict.fromkeys(_SPANS, 0.0)
        for key in self.now.values:
            subject, _, rest = key.partition(".")
            metric, _, end = rest.partition(".")
            if subject in subjects and metric.endswith("_seconds") and end in counts:
                counts[end] += self.count(key)
        return [_quantile_s(counts, share) for share in shares]


def _quantile_s(counts: Mapping[str, float], share: float) -> float | None:
    rank = share * sum(counts.values())
    for end, count in counts.items():
        if count and rank <= count:
            begin_s, end_s = _SPANS[end]
            return begin_s + (end_s - begin_s) * rank / count
        rank -= count
    return SPANS_S[-1] if any(counts.values()) else None
