"""Monitored parts: those that have something to show to operators and their machines.

The status of a load balancer is put together from its monitored parts, in the order of their tuple
(`parts.py`). A part overrides what it has to show.

Not here: what a metric is (`core/metrics.py`), and how a status travels (`status.py`).
"""

from typing import Any

from core.metrics import LabelledHistogram, Value


class Monitored:
    """A part that shows something. Nothing is kept for it: everything is asked for when somebody
    looks."""

    def metrics(self) -> list[Value]:
        """Return what it counts."""
        return []

    def histograms(self) -> list[LabelledHistogram]:
        """Return distributions of times."""
        return []

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows beside metrics and histograms; see
        `core.metrics.Observable`."""
        return {}
