"""History: the last minute of a server, second by second, from what it counts anyway.

Once a second the counts are taken. A *step* is what was added since the time before; the steps of
the last 60 s are kept, and their sum. A step takes longer when the loop was held up, and says so.
Counts only rise: when one has fallen another program counts now, and the history begins anew.

Errors are questions that failed or timed out. Their share is one of the questions that had a reply
in the same time, not of those that were asked then: a question may be open for seconds.

Not here: who takes the counts (`status_page.py`), and what follows from them (`verdict.py`).
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.metrics import SPANS_S, LabelledHistogram, Value

STEP_S = 1.0
KEPT_S = 60.0
_FAULTS = ("failed", "timed_out")  # results that are errors
_ASKED, _WAITS, _ANSWERS = "asked", "reply_seconds", "answer_seconds"
_REPLIES = "replies"  # the family of results, of clients' questions and of servers' replies
_WHOLE = -1
Key = tuple[str, str, int]  # a server or nothing, a metric, and a span of it or _WHOLE


@dataclass(frozen=True, slots=True)
class Step:
    """The counts that were added in this many seconds."""

    ended_at: float
    seconds: float
    added: Counter[Key]

    def errors(self) -> int:
        """Return how many clients' questions went wrong."""
        return sum(self.added["", result, _WHOLE] for result in _FAULTS)


class History:
    """The history of one server. `due`: when counts are to be taken."""

    def __init__(self) -> None:
        self.due = -math.inf
        self._taken_at = -math.inf
        self._before: Counter[Key] = Counter()
        self._steps: deque[Step] = deque()
        self._sum: Counter[Key] = Counter()  # of all steps

    def take(
        self, values: Iterable[Value], histograms: Iterable[LabelledHistogram], now: float
    ) -> None:
        """Take the counts as they are now."""
        counts = _counts(values, histograms)
        has_fallen = any(counts[key] < before for key, before in self._before.items())
        if has_fallen or self._taken_at == -math.inf:
            self._steps.clear()
            self._sum.clear()
        else:
            step = Step(now, now - self._taken_at, counts - self._before)
            self._steps.append(step)
            self._sum += step.added
        while self._steps and self._steps[0].ended_at <= now - KEPT_S:
            self._sum -= self._steps.popleft().added
        self._before = counts
        self._taken_at = now
        self.due = now + STEP_S

    def last_minute(self, servers: Iterable[str]) -> dict[str, Any]:
        """Return what the status page says of it, and of each of these servers."""
        steps = self._steps
        replies = self._replies("")
        replied = sum(replies.values()) - replies.get("dropped", 0)
        errors = sum(replies.get(result, 0) for result in _FAULTS)
        return {
            "seconds": round(sum(step.seconds for step in steps), 3),
            "steps": {
                "seconds": [round(step.seconds, 3) for step in steps],
                "asked": [step.added["", _ASKED, _WHOLE] for step in steps],
                "errors": [step.errors() for step in steps],
            },
            "asked": self._sum["", _ASKED, _WHOLE],
            "replies": replies,
            "errors_share": errors / replied if replied else None,
            **self._quantiles("", _WAITS),
            "servers": {
                name: {
                    "asked": self._sum[name, _ASKED, _WHOLE],
                    "replies": self._replies(name),
                    **self._quantiles(name, _ANSWERS),
                }
                for name in servers
            },
        }

    def _replies(self, subject: str) -> dict[str, int]:
        """Return how many there were of each result, where any was."""
        return {
            name: count
            for (of, name, span), count in self._sum.items()
            if (of, span) == (subject, _WHOLE) and name != _ASKED
        }

    def _quantiles(self, subject: str, name: str) -> dict[str, Any]:
        counts = [self._sum[subject, name, span] for span in range(len(SPANS_S) + 1)]
        quantiles = {f"p{percent}_s": quantile(counts, percent) for percent in (50, 99)}
        return {"times": sum(counts), **quantiles}


def quantile(counts: Sequence[int], percent: int) -> float | str | None:
    """Return the end of the span within which so many of all times are: `inf` beyond all spans,
    None where there is no time."""
    wanted = sum(counts) * percent
    if not wanted:
        return None
    reached = 0
    for end_s, count in zip(SPANS_S, counts, strict=False):
        reached += count
        if reached * 100 >= wanted:
            return end_s
    return "inf"


def _counts(values: Iterable[Value], histograms: Iterable[LabelledHistogram]) -> Counter[Key]:
    """Return the few counts of which a history is kept; those of the waits of all faces and
    results together."""
    counts: Counter[Key] = Counter()
    for value in values:
        metric = value.metric
        is_kept = metric.family == _REPLIES or metric.name == _ASKED
        if is_kept and isinstance(value.value, int):
            counts[value.subject, metric.name, _WHOLE] = value.value
    for metric, histogram, subject in histograms:
        name = metric.family or metric.name
        of = subject if name == _ANSWERS else ""
        for span, count in enumerate(histogram.counts):
            if count:
                counts[of, name, span] += count
    return counts
