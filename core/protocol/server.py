"""Server: what both servers have in common: their sessions, and how they end.

`--once`: the first connection that sends a byte is the session. From then on nobody is accepted,
and whoever is there besides is told BUSY. When the session ends, the server drains.

Not here: the states of a server and what it counts (`core/protocol/server_state.py`), and what a
question means: the node owns its server and asks it, never the other way.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from core.effects import Effect, Notify, Report, Standing, Stop, Unlisten
from core.environment import Environment
from core.events import Role
from core.machine import Machine
from core.metrics import Value
from core.protocol.asker import Asker, AskerFactory, Requests, SessionEvent
from core.protocol.messages import refusal
from core.protocol.names import Error
from core.protocol.server_state import (
    CLIENTS,
    ERRORS,
    SERVER,
    SESSIONS,
    ServerEvent,
    ServerState,
    closing_report,
    stats_report,
)
from core.protocol.session import Session


class Server:
    """The sessions of one server. `stats()` is the whole reply to STATS, and `account()` says in a
    line what became of all questions. `factories` make the askers that do not speak lines.
    """

    def __init__(
        self,
        env: Environment,
        stats: Callable[[], bytes],
        account: Callable[[], str],
        *,
        once: bool = False,
        factories: Mapping[Role, AskerFactory] | None = None,
    ) -> None:
        self.life = Machine(SERVER, ServerState.SERVING, "server", env.watch)
        self.sessions: dict[str, Asker] = {}
        self.errors = 0  # lines that were refused
        self.drain_due = math.inf  # when the drain has taken too long
        self._came = 0  # sessions
        self._awaits_session = once  # until a connection has sent a byte
        self._the_session: str | None = None  # of --once
        self._env = env
        self._stats = stats
        self._account = account
        self._factories = factories or {}
        self._drain_s = env.bounds.drain_s(with_dns=Role.DNS in self._factories)

    @property
    def is_draining(self) -> bool:
        return self.life.state is ServerState.DRAINING

    # -- one session -------------------------------------------------------------------------------

    def opened(
        self, conn: str, role: Role = Role.LINES, is_datagrams: bool = False
    ) -> list[Effect]:
        """Take in a connection that may ask from now on, or a socket of datagrams."""
        factory = self._factories.get(role)
        if factory is None:
            self.sessions[conn] = Session(conn, self._env, self._stats)
            self._came += 1
        else:
            self.sessions[conn] = factory.asker(conn, is_datagrams)
        if self.life.state is not ServerState.SERVING:
            return self.part(conn)
        return [] if self._the_session is None else self._turn_away(conn)  # it came in that turn

    def received(
        self,
        conn: str,
        data: Any,  # noqa: ANN401 (as the event brought it)
        now: float,
    ) -> tuple[Asker, Requests, list[Effect]]:
        """Read what one event brought; also return what there is to say at once."""
        effects = self._begin_once(conn) if self._awaits_session else []
        asker = self.sessions[conn]
        requests = asker.receive(data, now)
        if requests.said:
            self.errors += requests.errors
            effects.append(asker.say(requests.said))
        return asker, requests, effects

    def ended(self, conn: str, unfinished: bool) -> list[Effect]:
        """Take the end of a client's input, perhaps in the middle of a line."""
        effects = self._begin_once(conn) if self._awaits_session and unfinished else []
        asker = self.sessions[conn]
        if said := asker.receive_end(unfinished):
            self.errors += 1
            effects.append(asker.say(said))
        return effects + asker.last_words()

    def part(self, conn: str) -> list[Effect]:
        """Take no more questions of a client, and let it go once it is owed nothing."""
        asker = self.sessions[conn]
        asker.life.fire(SessionEvent.DRAIN)
        return asker.last_words()

    def closed(self, conn: str, now: float) -> list[Effect]:
        """Forget a client whose connection is gone."""
        self.sessions.pop(conn).life.fire(SessionEvent.LOST)
        return self.drain(now) if conn == self._the_session else []

    def _begin_once(self, conn: str) -> list[Effect]:
        """Make this connection the session of --once: it is the first that has sent a byte."""
        self._awaits_session = False
        self._the_session = conn
        effects: list[Effect] = [Unlisten()]
        for other in self.sessions:
            if other != conn:
                effects += self._turn_away(other)
        return effects

    def _turn_away(self, conn: str) -> list[Effect]:
        return [self.sessions[conn].say(refusal(Error.BUSY)), *self.part(conn)]

    # -- all of them -------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Effect]:
        """Take no more questions, and let those go that are owed nothing. Asked for at `now`."""
        is_first = self.life.state is ServerState.SERVING
        self.life.fire(ServerEvent.DRAIN)
        if not is_first:
            return []
        self.drain_due = now + self._drain_s
        effects: list[Effect] = [Unlisten(), Notify(Standing.STOPPING)]
        for conn in self.sessions:
            effects += self.part(conn)
        return effects

    def all_closed(self) -> list[Effect]:
        """Stop, if that was to be: the node has found that no connection is left."""
        return self._stop(ServerEvent.ALL_CLOSED) if self.is_draining else []

    def woken(self, now: float) -> list[Effect]:
        """Stop when the drain has taken too long."""
        if now < self.drain_due:
            return []
        self._env.hits["drain_grace_s"] += 1
        cut_off = Report(f"the drain took too long: {len(self.sessions)} clients cut off")
        return [cut_off, *self._stop(ServerEvent.TIME_UP)]

    def _stop(self, event: ServerEvent) -> list[Effect]:
        self.life.fire(event)
        self.drain_due = math.inf
        return [*closing_report(self._account(), self._env.hits), Stop(0)]

    def report_stats(self) -> list[Effect]:
        """Say in the log what STATS would."""
        return stats_report(self._stats())

    def metrics(self) -> list[Value]:
        """Return what is counted about clients."""
        clients = sum(isinstance(asker, Session) for asker in self.sessions.values())
        values = [Value(CLIENTS, clients), Value(SESSIONS, self._came), Value(ERRORS, self.errors)]
        for factory in self._factories.values():
            values += factory.metrics()
        return values
