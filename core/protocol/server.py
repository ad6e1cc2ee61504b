"""Server: what table server and load balancer have in common: their sessions, and how they end.

A server serves until it is asked to drain: by a signal, or, with `--once`, because its one
session has ended. Draining, it takes no more questions, gives every session what it is owed and
its last words, and stops when all connections are gone, or when its time is up.

`--once`: the first connection that has sent a byte is the session. From then on nobody is accepted,
and whoever is there besides is told BUSY.

Not here: what a question means. The node owns its server and asks it, never the other way.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from core.bounds import BoundHits, Bounds
from core.effects import Effect, Notify, Report, Standing, Stop, Unlisten
from core.events import Role
from core.exposition import stats_text
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.metrics import Metric, Value
from core.protocol.messages import Error, refusal
from core.protocol.session import Asker, Session, SessionEvent


class ServerState(Label):
    """The life of a server."""

    SERVING = "sessions are accepted and may ask"
    DRAINING = "no more questions are taken; what is owed is still sent"
    STOPPED = "every connection is gone, or the drain took too long"


class ServerEvent(Label):
    """What happens to a server."""

    DRAIN = "a signal came, or the one session of --once has ended"
    ALL_CLOSED = "no connection is left"
    TIME_UP = "the drain has taken as long as it may"


SERVER: Transitions[ServerState, ServerEvent] = {
    ServerState.SERVING: {ServerEvent.DRAIN: ServerState.DRAINING},
    ServerState.DRAINING: {
        ServerEvent.DRAIN: STAY,
        ServerEvent.ALL_CLOSED: ServerState.STOPPED,
        ServerEvent.TIME_UP: ServerState.STOPPED,
    },
    ServerState.STOPPED: {ServerEvent.DRAIN: STAY},
}


CLIENTS = Metric("clients", "Clients that are connected", is_level=True)
SESSIONS = Metric("sessions", "Clients that have come")
ERRORS = Metric("errors", "Lines of clients that were refused")


class OtherAskers(Protocol):
    """Who makes askers that do not speak lines."""

    def asker(self, conn: str, is_datagrams: bool) -> Asker:
        """One for this connection, or for this socket of datagrams."""
        ...

    def metrics(self) -> list[Value]:
        """What is counted about them."""
        ...


class Server:
    """The sessions of one server. `account` says in a line what became of all questions;
    `metrics` are all that the server counts, these here among them. `others` makes askers of
    connections whose role is DNS.
    """

    def __init__(
        self,
        bounds: Bounds,
        once: bool,
        account: Callable[[], str],
        metrics: Callable[[], Iterable[Value]],
        hits: BoundHits,
        watch: Watch | None,
        others: OtherAskers | None = None,
    ) -> None:
        self.sessions: dict[str, Asker] = {}
        self._others = others
        self.life = Machine(SERVER, ServerState.SERVING, "server", watch)
        self.errors = 0  # lines that were refused
        self._came = 0
        self._account = account
        self._metrics = metrics
        self._hits = hits
        self._drain_s = bounds.drain_s(with_dns=others is not None)
        self.drain_due = math.inf  # when the drain has taken too long
        self._bounds = bounds
        self.once = once
        self._the_session: str | None = None  # of --once
        self._watch = watch

    @property
    def is_draining(self) -> bool:
        return self.life.state is ServerState.DRAINING

    def metrics(self) -> list[Value]:
        """What this file knows."""
        return [
            Value(CLIENTS, sum(isinstance(one, Session) for one in self.sessions.values())),
            Value(SESSIONS, self._came),
            Value(ERRORS, self.errors),
            *([] if self._others is None else self._others.metrics()),
        ]

    def _stats(self) -> bytes:
        return stats_text(self._metrics())

    # -- one session -------------------------------------------------------------------------------

    def opened(
        self, conn: str, role: Role = Role.LINES, is_datagrams: bool = False
    ) -> list[Effect]:
        """Somebody may ask from now on."""
        session: Asker
        if self._others is not None and role is Role.DNS:
            session = self._others.asker(conn, is_datagrams)
        else:
            session = Session(conn, self._bounds, self._hits, self._stats, self._watch)
            self._came += 1
        self.sessions[conn] = session
        if self.life.state is not ServerState.SERVING:
            session.life.fire(SessionEvent.DRAIN)
        elif self._the_session is not None:  # it came in the very turn
            return self._turn_away(conn)
        return session.last_words()

    def spoke(self, conn: str) -> list[Effect]:
        """A client has sent bytes. Only `once` wants to know: the first to do so is the session."""
        if not self.once or self._the_session is not None:
            return []
        self._the_session = conn
        effects: list[Effect] = [Unlisten()]
        for other in self.sessions:
            if other != conn:
                effects += self._turn_away(other)
        return effects

    def _turn_away(self, conn: str) -> list[Effect]:
        """There is one session only, and this is not it."""
        return [self.sessions[conn].say(refusal(Error.BUSY)), *self.part(conn)]

    def ended(self, conn: str, unfinished: bool) -> list[Effect]:
        """A client will send nothing more."""
        session = self.sessions[conn]
        refusal = session.receive_end(unfinished)
        self.errors += bool(refusal)
        return [*([session.say(refusal)] if refusal else []), *session.last_words()]

    def part(self, conn: str) -> list[Effect]:
        """Take no more questions of a client, and let it go once it is owed nothing."""
        session = self.sessions[conn]
        session.life.fire(SessionEvent.DRAIN)
        return session.last_words()

    def closed(self, conn: str, now: float) -> list[Effect]:
        """A client's connection is gone."""
        self.sessions.pop(conn).life.fire(SessionEvent.LOST)
        return self.drain(now) if conn == self._the_session else []

    # -- all of them -------------------------------------------------------------------------------

    def drain(self, now: float) -> list[Effect]:
        """Take no more questions, and let those go who are owed nothing. It was asked for `now`."""
        if self.life.state is not ServerState.SERVING:
            self.life.fire(ServerEvent.DRAIN)
            return []
        self.life.fire(ServerEvent.DRAIN)
        self.drain_due = now + self._drain_s
        effects: list[Effect] = [Unlisten(), Notify(Standing.STOPPING)]
        for conn in self.sessions:
            effects += self.part(conn)
        return effects

    def all_closed(self) -> list[Effect]:
        """The node has found that no connection is left: stop, if that was to be."""
        if self.life.state is not ServerState.DRAINING:
            return []
        return self._stop(ServerEvent.ALL_CLOSED)

    def woken(self, now: float) -> list[Effect]:
        """Stop when the drain has taken too long."""
        if now < self.drain_due:
            return []
        self._hits["drain_grace_s"] += 1
        cut_off = Report(f"the drain took too long: {len(self.sessions)} clients cut off")
        return [cut_off, *self._stop(ServerEvent.TIME_UP)]

    def tell(self) -> list[Effect]:
        """Say in the log what STATS would."""
        return [Report(f"{value.key} {value.value}") for value in self._metrics()]

    def _stop(self, fate: ServerEvent) -> list[Effect]:
        """Stop, and say what there was."""
        self.life.fire(fate)
        self.drain_due = math.inf
        effects: list[Effect] = [Report(self._account())]
        if self._hits:
            said = ", ".join(f"{bound} {count}" for bound, count in sorted(self._hits.items()))
            effects.append(Report(f"bounds that took hold: {said}"))
        return [*effects, Stop(0)]
