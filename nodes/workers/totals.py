"""Totals: what all workers count together, and what each of them hears of it.

Numbers add up, also those of workers that are gone as long as they only rise: a counter that falls
would look like a new start. Of a number that they share the least counts, and words that differ
stand side by side. A worker hears of the others only what has changed since it last did, so that an
idle server costs nothing.

Not here: how reports travel (`messages.py`).
"""

from collections.abc import Iterable, Mapping

from core.effects import Effect
from core.metrics import Histogram, LabelledHistogram, Value
from nodes.workers.messages import (
    Histograms,
    Values,
    WorkerMessage,
    WorkerReport,
    changes,
    keyed,
)
from nodes.workers.slot import WorkerSlot


def summed(parts: Iterable[Values]) -> Values:
    """Return one value for each metric and subject, in the order of their first values."""
    sums: Values = {}
    for part in parts:
        for key, value in part.items():
            if key in sums:
                value = _joined(sums[key], value)
            sums[key] = value
    return sums


def summed_histograms(parts: Iterable[Mapping[str, LabelledHistogram]]) -> Histograms:
    """Return one histogram for each metric and subject."""
    sums: Histograms = {}
    for part in parts:
        for key, (metric, histogram, subject) in part.items():
            _, total, _ = sums.setdefault(key, (metric, Histogram(), subject))
            total.add_all(histogram)
    return sums


class Totals:
    """The totals of these workers, and of those that are gone. A place is told
    about by the worker that has it."""

    def __init__(self, workers: Iterable[WorkerSlot], places: Mapping[str, WorkerSlot]) -> None:
        self._slots = workers
        self._places = places
        self._lost = WorkerReport()  # the counters of workers that are gone
        self._stale: dict[str, None] = {}  # keys of values that workers have yet to hear again
        self._known: Values = {}  # values about each worker, as they were heard last

    def take(self, slot: WorkerSlot, message: WorkerMessage) -> None:
        """Take in a report. A worker that was old or starting has yet to hear everything."""
        self._stale |= dict.fromkeys(slot.report.take(message))
        if slot.is_old or slot.is_starting:
            self._stale |= dict.fromkeys(self.values())

    def lose(self, report: WorkerReport) -> None:
        """Keep the counters of a worker that is gone, and forget its levels."""
        lost = self._lost
        self._stale |= dict.fromkeys(report.values)
        lost.values = summed([lost.values, _counters(report.values)])
        lost.histograms = summed_histograms([lost.histograms, report.histograms])

    def values(self) -> Values:
        """Return the metrics of all workers, added up, and those about each worker."""
        reported = [slot.report.values for slot in self._slots]
        return summed([*reported, self._lost.values, self._about_workers()])

    def histograms(self) -> list[LabelledHistogram]:
        """Return the histograms of all workers, added up."""
        reported = [slot.report.histograms for slot in self._slots]
        return list(summed_histograms([self._lost.histograms, *reported]).values())

    def share(self) -> list[Effect]:
        """Tell each worker that serves what has changed of the others."""
        about_workers = self._about_workers()
        stale = self._stale | dict.fromkeys(changes(about_workers, self._known))
        self._stale, self._known = {}, about_workers
        if not stale:
            return []
        effects: list[Effect] = []
        up = [slot for slot in self._slots if slot.is_up or slot.is_retiring]
        for slot in up:
            if slot.is_old:
                continue
            others = [other.report.values for other in self._slots if other is not slot]
            values = summed(
                {key: part[key] for key in stale if key in part}
                for part in [*others, self._lost.values, about_workers]
            )
            gone = [key for key in stale if key not in values]
            effects += slot.send({"do": "hear", "values": values, "gone": gone})
        return effects

    def _about_workers(self) -> Values:
        return keyed(value for slot in self._places.values() for value in slot.metrics())


def _counters(values: Values) -> Values:
    return {key: value for key, value in values.items() if not value.metric.is_level}


def _joined(one: Value, other: Value) -> Value:
    a, b = one.value, other.value
    joined: int | float | str
    if isinstance(a, str) or isinstance(b, str):
        joined = "/".join(dict.fromkeys(f"{a}/{b}".split("/")))
    else:
        joined = min(a, b) if other.metric.is_shared else a + b
    return Value(other.metric, joined, other.subject)
