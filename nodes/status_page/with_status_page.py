"""A brain with a status page: events of watchers go to the web server, all others to the brain.

Neither knows of the other, and watching has no way into the race.

Not here: either of them.
"""

import math

from core import node
from nodes.status_page.http import WebServer


class WithStatusPage:
    """A brain made of these two."""

    def __init__(self, brain: node.Brain, web: WebServer) -> None:
        self._brain = brain
        self._web = web

    def deadline(self) -> float | None:
        """The earlier one."""
        due = self._brain.deadline()
        web_due = self._web.due()
        if due is None:
            return None if web_due == math.inf else web_due
        return min(due, web_due)

    def step(self, event: node.Event, now: float) -> list[node.Effect]:
        """Take one event; see `core/node.py`."""
        if isinstance(event, node.Woken):
            return self._brain.step(event, now) + self._web.woken(now)
        conn: str = getattr(event, "conn", "")
        part = self._web if conn.startswith(node.WATCHER) else self._brain
        return part.step(event, now)
