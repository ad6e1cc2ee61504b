"""A brain with a status page: events of watchers go to the page, all others to the brain.

The brain does not know of the page, and what the page hears of it are its effects: a watcher cannot
reach the brain that it watches.

Not here: the page (`status_page.py`).
"""

import math

from core.brain import Brain
from core.effects import Effect
from core.events import Closed, ConnectionEvent, Event, Opened, Role, Woken
from nodes.status_page.status_page import StatusPage


class WithStatusPage:
    """A brain made of another brain and its page."""

    def __init__(self, brain: Brain, page: StatusPage) -> None:
        self._brain = brain
        self._page = page
        self.due = self._page_due = math.inf
        self._watchers: set[str] = set()  # the connections that are the page's

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if isinstance(event, Opened) and event.role is Role.HTTP:
            self._watchers.add(event.conn)
        if isinstance(event, ConnectionEvent) and event.conn in self._watchers:
            effects = self._page.step(event, now)
            self._page_due = self._page.due()
            if isinstance(event, Closed):
                self._watchers.remove(event.conn)
        else:
            effects = self._brain.step(event, now)
            self._page.heard(effects)
            if isinstance(event, Woken):
                effects += self._page.woken(now)
                self._page_due = self._page.due()
        self.due = min(self._brain.due, self._page_due)
        return effects
