"""The status page of one server: its web server, and what is kept for it to show.

While there is a page its server's counts are taken once a second, whether anybody looks or not, so
that who opens it sees the last minute.

Not here: how events get here (`with_status_page.py`), and each page (`pages.py`).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from core.effects import Effect
from core.events import ConnectionEvent
from core.metrics import Observable, Value
from nodes.status_page.history import History
from nodes.status_page.http import WebServer
from nodes.status_page.pages import pages, status
from nodes.status_page.recent_events import RecentEvents
from nodes.status_page.verdict import verdict


class StatusPage:
    """The page that shows `server`. `watchers_max` and `names`: see `WebServer`. `wall()` is the
    time of day in s since 1970; `process()` returns the metrics of this process. `about`: what it
    shows besides, which never changes."""

    def __init__(
        self,
        server: Observable,
        *,
        watchers_max: float = math.inf,
        names: Iterable[str] = (),
        wall: Callable[[], float] = float,
        process: Callable[[], list[Value]] = list,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._server = server
        self._wall = wall
        self._about = about or {}
        self._began = math.inf
        self._history = History()
        self._events = RecentEvents(wall)
        self._web = WebServer(pages(server, self._status, process), watchers_max, names)

    def due(self) -> float:
        """Return when there is something to do."""
        return min(self._web.due(), self._history.due)

    def step(self, event: ConnectionEvent, now: float) -> list[Effect]:
        """Take an event of a watcher's connection."""
        return self._web.step(event, now)

    def woken(self, now: float) -> list[Effect]:
        """Do what is due."""
        self._began = min(self._began, now)
        if self._history.due <= now:
            self._history.take(self._server.metrics(), self._server.histograms(), now)
        return self._web.woken(now)

    def heard(self, effects: Iterable[Effect]) -> None:
        """Take note of what the server wants done; its reports are shown."""
        self._events.take(effects)

    def _status(self, now: float) -> dict[str, Any]:
        shown = {
            **self._about,
            "time": round(self._wall(), 3),
            "uptime_s": round(max(0.0, now - self._began), 3),
            **status(self._server, now),
            "events": self._events.entries(),
        }
        shown["last_minute"] = self._history.last_minute(one["name"] for one in shown["servers"])
        return {**shown, "verdict": verdict(shown)}
