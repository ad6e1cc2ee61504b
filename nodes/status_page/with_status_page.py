"""A brain with a status page: events of watchers go to the web server, all others to the brain.

Neither knows of the other, so a watcher cannot reach the brain that it watches.

Not here: the web server (`http.py`), and what its pages say (`pages.py`).
"""

import math

from core.brain import Brain
from core.effects import Effect
from core.events import Closed, ConnectionEvent, Event, Opened, Role, Woken
from nodes.status_page.http import WebServer


class WithStatusPage:
    """A brain made of another brain and a web server."""

    def __init__(self, brain: Brain, web: WebServer) -> None:
        self._brain = brain
        self._web = web
        self.due = self._web_due = math.inf
        self._watchers: set[str] = set()  # the connections that are the web server's

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if isinstance(event, Opened) and event.role is Role.HTTP:
            self._watchers.add(event.conn)
        if isinstance(event, ConnectionEvent) and event.conn in self._watchers:
            effects = self._web.step(event, now)
            self._web_due = self._web.due()
            if isinstance(event, Closed):
                self._watchers.remove(event.conn)
        else:
            effects = self._brain.step(event, now)
            if isinstance(event, Woken):
                effects += self._web.woken(now)
                self._web_due = self._web.due()
        self.due = min(self._brain.due, self._web_due)
        return effects
