"""Recent events: the last reports of a brain, as the status page shows them.

Reports of one kind are one event, with the latest text and how often it came: a flood of one kind
does not push out all others. Of level `debug` none is kept.

Not here: the log, which has all of them and those of the loop (`core/io/log.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from core.effects import Effect
from core.operator import Level, Report

_KEPT_MAX = 10


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """The latest report of a kind, its time of day in s since 1970, and how many there were."""

    report: Report
    time: float
    times: int


class RecentEvents:
    """The recent events of one brain. `wall()` is the time of day in s since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._by_kind: dict[str, RecentEvent] = {}  # the latest last

    def take(self, effects: Iterable[Effect]) -> None:
        """Keep the reports among these."""
        for effect in effects:
            if isinstance(effect, Report) and effect.level >= Level.INFO:
                self._keep(effect)

    def _keep(self, report: Report) -> None:
        kind = report.kind or report.text
        before = self._by_kind.pop(kind, None)
        times = 1 if before is None else before.times + 1
        self._by_kind[kind] = RecentEvent(report, self._wall(), times)
        if len(self._by_kind) > _KEPT_MAX:
            del self._by_kind[next(iter(self._by_kind))]

    def entries(self) -> list[dict[str, Any]]:
        """Return what the status page says of them, the latest first."""
        return [
            {
                "time": round(event.time, 3),
                "level": event.report.level.name.lower(),
                "event": event.report.event,
                "text": event.report.text,
                "times": event.times,
            }
            for event in reversed(self._by_kind.values())
        ]
