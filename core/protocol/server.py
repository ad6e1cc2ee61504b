"""Server: what both servers have in common: their sessions, and how they end.

A drain takes no more questions and lets each session go once it is owed nothing. The server stops
when none is left, or when the drain has taken too long.

Not here: the states of a server and what it counts (`core/protocol/server_state.py`), the session
of --once (`only_session.py`), and what a question means: the node owns its server and asks it,
never the other way.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from core.effects import Effect, Stop, Unlisten
from core.environment import Environment
from core.events import Ended, Event, Opened, PlaceWanted, Role
from core.exposition import stats_text
from core.machine import Machine
from core.metrics import Value
from core.operator import FlushAsked, Notify, Report, Standing, StatsAsked
from core.protocol.asker import Asker, AskerFactory, Requests, SessionEvent
from core.protocol.only_session import OnlySession, let_go, turn_away
from core.protocol.server_state import (
    CLIENTS,
    ERRORS,
    SERVER,
    SESSIONS,
    ServerEvent,
    ServerState,
    closing_report,
    metrics_report,
)
from core.protocol.session import Session


class Server:
    """The sessions of one server. `stats()` returns the metrics that answer STATS, `own_metrics()`
    those that it reports when it stops. `factories` make the askers that do not speak lines."""

    def __init__(
        self,
        env: Environment,
        stats: Callable[[], list[Value]],
        own_metrics: Callable[[], list[Value]],
        *,
        once: bool = False,
        factories: Mapping[Role, AskerFactory] | None = None,
    ) -> None:
        self.life = Machine(SERVER, ServerState.SERVING, "server", env.watch)
        self.sessions: dict[str, Asker] = {}
        self.errors = 0  # lines that were refused
        self.drain_due = math.inf  # when the drain has taken too long
        self._came = 0  # sessions
        self._only = OnlySession(once)
        self._env = env
        self._stats = stats
        self._stats_reply = lambda: stats_text(stats())  # all sessions share it
        self._own_metrics = own_metrics
        self._factories = factories or {}
        self._drain_s = env.bounds.drain_s(with_dns=Role.DNS in self._factories)

    @property
    def is_draining(self) -> bool:
        return self.life.state is ServerState.DRAINING

    def step(self, event: Event) -> list[Effect]:
        """Take an event that concerns sessions only, whatever the node does."""
        match event:
            case Opened():
                return self._opened(event)
            case Ended(conn, unfinished):
                return self._ended(conn, unfinished)
            case PlaceWanted(conn):
                return let_go(self.sessions[conn])
            case StatsAsked():
                return metrics_report(self._stats())
            case FlushAsked():  # nothing is kept but by a load balancer
                return []
        raise AssertionError(event)

    def _opened(self, event: Opened) -> list[Effect]:
        conn = event.conn
        if factory := self._factories.get(event.role):
            asker = factory.asker(event)
        else:
            asker = Session(conn, self._env, self._stats_reply)
            self._came += 1
        self.sessions[conn] = asker
        if self.life.state is not ServerState.SERVING:
            return let_go(asker)
        return [] if self._only.conn is None else turn_away(asker)  # it came in that turn

    def received(self, conn: str, data: Any, now: float) -> tuple[Asker, Requests, list[Effect]]:  # noqa: ANN401
        """Read the `data` of one event; also return the effects that follow at once."""
        effects = self._only.begin(conn, self.sessions) if self._only.is_awaited else []
        asker = self.sessions[conn]
        requests = asker.receive(data, now)
        if requests.said:
            self.errors += requests.errors
            effects.append(asker.say(requests.said))
        return asker, requests, effects

    def promised_to(self, conn: str) -> int:
        """Return the most that pending replies to a client may come to, in bytes."""
        asker = self.sessions.get(conn)
        return 0 if asker is None else asker.owed * asker.reply_bytes_max

    def _ended(self, conn: str, unfinished: bool) -> list[Effect]:
        is_first = unfinished and self._only.is_awaited
        effects = self._only.begin(conn, self.sessions) if is_first else []
        asker = self.sessions[conn]
        if said := asker.receive_end(unfinished):
            self.errors += 1
            effects.append(asker.say(said))
        return effects + asker.last_words()

    def closed(self, conn: str, now: float) -> list[Effect]:
        """Forget a client whose connection is gone."""
        self.sessions.pop(conn).life.fire(SessionEvent.LOST)
        return self.drain(now) if conn == self._only.conn else []

    def drain(self, now: float) -> list[Effect]:
        """Take no more questions, and let those go that are owed nothing. Asked for at `now`."""
        is_first = self.life.state is ServerState.SERVING
        self.life.fire(ServerEvent.DRAIN)
        if not is_first:
            return []
        self.drain_due = now + self._drain_s
        effects: list[Effect] = [Unlisten(), Notify(Standing.STOPPING)]
        for asker in self.sessions.values():
            effects += let_go(asker)
        return effects

    def all_closed(self) -> list[Effect]:
        """Stop if the server drains: the node has found that no connection is left."""
        return self._stop(ServerEvent.ALL_CLOSED) if self.is_draining else []

    def woken(self, now: float) -> list[Effect]:
        """Stop when the drain has taken too long."""
        if now < self.drain_due:
            return []
        self._env.hits["drain_grace_s"] += 1
        text = f"the drain took too long: {len(self.sessions)} clients cut off"
        return [Report(text, event="drain_cut_off"), *self._stop(ServerEvent.TIME_UP)]

    def _stop(self, event: ServerEvent) -> list[Effect]:
        self.life.fire(event)
        self.drain_due = math.inf
        return [*closing_report(self._own_metrics(), self._env.hits), Stop(0)]

    def metrics(self) -> list[Value]:
        """Return what is counted about clients."""
        clients = sum(isinstance(asker, Session) for asker in self.sessions.values())
        values = [Value(CLIENTS, clients), Value(SESSIONS, self._came), Value(ERRORS, self.errors)]
        for factory in dict.fromkeys(self._factories.values()):
            values += factory.metrics()
        return values
