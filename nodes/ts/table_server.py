"""The table server (TS): answers the names that its table has, and is silent about the rest.

Silence is the protocol: several servers are asked at once, and only one that knows has anything
to say. Nothing is ever owed: what can be said is said in the step that asked.

Not here: what a table says (`nodes/ts/answers.py`), its file (`table_file.py`, `reload.py`), what
it shows of itself (`table_status.py`), and sessions, --once and draining (`core/protocol/`).
"""

import math
from collections.abc import Callable

from core.effects import Effect, Send
from core.environment import Environment
from core.events import Closed, Event, Received, Woken
from core.metrics import Value
from core.operator import DrainAsked, ReloadAsked
from core.protocol.asker import SessionState
from core.protocol.server import Server
from nodes.ts.answers import TableAnswers
from nodes.ts.reload import Reload
from nodes.ts.table import Table
from nodes.ts.table_status import TableStatus


class TableServer:
    """The brain of a TS. `reload` reads its table again when that is asked for.

    `answer_unknown`: names that the table does not have get NOT FOUND. `loop()` returns the metrics
    of the loop that runs it.
    """

    def __init__(
        self,
        table: Table,
        env: Environment,
        *,
        reload: Reload | None = None,
        answer_unknown: bool = False,
        loop: Callable[[], list[Value]] = list,
        once: bool = False,
    ) -> None:
        self.answers = TableAnswers(table, answer_unknown=answer_unknown)
        self._reload = reload
        self._server = Server(env, lambda: status.metrics(), lambda: status.metrics(), once=once)
        status = TableStatus(self.answers, reload, self._server, loop, env.hits)
        self.metrics = status.metrics
        self.histograms = status.histograms
        self.unhealthy = status.unhealthy
        self.page_entries = status.page_entries
        self.due = math.inf  # in each turn for a reload, and for the end of a drain

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if not isinstance(event, Received):
            effects = self._step_rarely(event, now)
            is_busy = self._reload is not None and self._reload.is_busy
            self.due = -math.inf if is_busy else self._server.drain_due
            return effects
        conn = event.conn
        session, requests, effects = self._server.received(conn, event.data, now)
        if lines := self.answers.lines(requests):
            effects.append(Send(conn, lines))
        if session.life.state is not SessionState.OPEN:
            effects += session.last_words()
        return effects

    def _step_rarely(self, event: Event, now: float) -> list[Effect]:
        """Take an event that is no read; only such a one changes when this is due."""
        server = self._server
        match event:
            case Closed(conn):
                return server.closed(conn, now) + self._stop_maybe()
            case DrainAsked(since):
                return server.drain(min(now, since)) + self._stop_maybe()
            case ReloadAsked():
                if self._reload is None or server.is_draining:
                    return []
                return self._reload.ask(now)
            case Woken():
                return self._reload_slice(now) + server.woken(now)
        return server.step(event)

    def _reload_slice(self, now: float) -> list[Effect]:
        if self._reload is None or not self._reload.is_busy:
            return []
        self.answers.table, effects = self._reload.turn(self.answers.table, now)
        return effects

    def _stop_maybe(self) -> list[Effect]:
        return [] if self._server.sessions else self._server.all_closed()
