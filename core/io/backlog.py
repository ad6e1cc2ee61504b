"""Backlog: whether more waits to be sent on a connection than is good.

Two marks, so that it does not change with every send: HEAVY from the high one on, until below the
low one. A brain hears of both where it fills a dialled connection; an accepted one is not
read meanwhile.

Not here: what the marks are (`core/bounds.py`), and what follows (`core/io/connection.py`).
"""

from core.machine import Label, Transitions


class BacklogState(Label):
    """How much waits to be sent."""

    LIGHT = "less waits than the high mark"
    HEAVY = "more waited than the high mark, and not yet less than the low one"


class BacklogEvent(Label):
    """A mark was crossed."""

    OVER_HIGH = "more waits than the high mark"
    UNDER_LOW = "less waits than the low mark"


BACKLOG: Transitions[BacklogState, BacklogEvent] = {
    BacklogState.LIGHT: {BacklogEvent.OVER_HIGH: BacklogState.HEAVY},
    BacklogState.HEAVY: {BacklogEvent.UNDER_LOW: BacklogState.LIGHT},
}
