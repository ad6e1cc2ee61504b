"""Latency: how fast servers reply lately, as a mean and as a quantile.

A sample is a time, and how many questions took so long. A question that is still open is a sample,
too, with its age: else a server that falls silent would keep the mean of its last replies. Samples
fade with time, not with further samples: the mean of a server that turns slow follows within a few
spans, however few questions it still answers.

Not here: what is done about it (`hedging/hedge_policy.py`, `resolvers/grace.py`), and the clock.
"""

import math

_SPAN_S = 0.05  # samples of one span make one mean: short beside what a person notices
_NEWEST_WEIGHT = 0.5  # of the mean of the newest span: after three spans the old is an eighth
_BUCKETS_PER_DOUBLING = 16  # each is 4 % wide
_FIRST_S = 1e-4  # the first bucket ends here: the loop itself takes about as long
_BUCKETS = 18 * _BUCKETS_PER_DOUBLING  # the last one begins at 26 s
_FRESH_S = 0.01  # a quantile that was worked out so lately is not worked out again


class RecentMean:
    """Mean of the recent latencies of one server."""

    __slots__ = ("_count", "_mean_s", "_span_began_at", "_sum_s")

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._span_began_at = -math.inf  # the span whose samples are being added up
        self._sum_s = 0.0
        self._count = 0

    def add(self, seconds: float, count: int, now: float) -> None:
        """Take note that `count` questions took so long, or have waited so long already."""
        self._end_span(now)
        self._sum_s += seconds * count
        self._count += count

    def mean_s(self, now: float) -> float:
        """Return the recent mean, in s; 0 while nothing is known."""
        self._end_span(now)
        if self._mean_s or not self._count:
            return self._mean_s
        return self._sum_s / self._count  # the very first span

    def _end_span(self, now: float) -> None:
        if now - self._span_began_at < _SPAN_S:
            return
        self._span_began_at = now
        if self._count:
            mean_s = self._sum_s / self._count
            self._mean_s += (mean_s - self._mean_s) * (_NEWEST_WEIGHT if self._mean_s else 1.0)
            self._sum_s, self._count = 0.0, 0


class RecentQuantile:
    """The latency that a given share of recent questions did not exceed.

    A question counts half as much after each `half_life_s`; while all that are known count less
    than `least`, there is no quantile.
    """

    def __init__(self, share: float, half_life_s: float = 1.0, least: float = 20) -> None:
        self._share = share
        self._half_life_s = half_life_s
        self._least = least
        self._counts = [0.0] * _BUCKETS
        self._total = 0.0
        self._faded_at: float = math.inf
        self._found_at = -math.inf
        self._found_s = math.inf

    def add(self, seconds: float, count: int) -> None:
        """Take note that `count` questions took so long."""
        bucket = 0
        if seconds > _FIRST_S:
            bucket = 1 + int(math.log2(seconds / _FIRST_S) * _BUCKETS_PER_DOUBLING)
        self._counts[min(bucket, _BUCKETS - 1)] += count
        self._total += count

    def seconds(self, now: float) -> float:
        """Return the quantile, in s, at most `_FRESH_S` old; infinite while too little is known."""
        if now - self._found_at >= _FRESH_S:
            self._found_at = now
            self._fade(now)
            self._found_s = self._find() if self._total >= self._least else math.inf
        return self._found_s

    def _fade(self, now: float) -> None:
        self._faded_at = min(self._faded_at, now)
        if now - self._faded_at >= self._half_life_s:
            left = 0.5 ** ((now - self._faded_at) / self._half_life_s)
            self._faded_at = now
            self._counts = [count * left for count in self._counts]
            self._total = sum(self._counts)

    def _find(self) -> float:
        left = self._share * self._total
        for bucket, count in enumerate(self._counts):
            if count and count >= left:
                ends = [_FIRST_S * 2 ** (at / _BUCKETS_PER_DOUBLING) for at in (bucket - 1, bucket)]
                low = ends[0] if bucket else 0.0
                return low + (ends[1] - low) * left / count
            left -= count
        return math.inf
