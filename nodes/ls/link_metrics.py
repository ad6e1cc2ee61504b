"""Metrics of links: what was counted about each server that LS asks.

Not here: who counts (`link.py`, `upstream.py`), and what is counted about a resolver besides
(`resolvers/`).
"""

from core.metrics import Metric, Value
from nodes.ls.upstream import Upstream

LINK_STATE = Metric("state", "State of the link to the server", is_level=True, per="ts")
LINK_ASKED = Metric("asked", "Questions that it was sent", per="ts")
LINK_WON = Metric("won", "Races that it won", per="ts")
LINK_LATE = Metric("late", "Replies of it that nobody waited for", per="ts")
NOTHING_SAID = Metric("nothing_said", "Legal lines of it that end no question", per="ts")
MALFORMED = Metric("malformed", "Lines or messages of it that are no replies", per="ts")
REDIALS = Metric("redials", "Times that it was dialled again", per="ts")


def link_metrics(upstream: Upstream) -> list[Value]:
    """Return what was counted about the link to one upstream."""
    link = upstream.link
    return [
        Value(LINK_STATE, link.life.state.name, link.conn),
        Value(LINK_ASKED, upstream.asked, link.conn),
        Value(LINK_WON, link.won, link.conn),
        Value(LINK_LATE, link.late, link.conn),
        Value(REDIALS, max(0, link.dials - 1), link.conn),
        Value(NOTHING_SAID, link.nothing_said, link.conn),
        Value(MALFORMED, link.malformed, link.conn),
    ]
