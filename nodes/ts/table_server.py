"""The table server (TS): answers the names that its table has, and is silent about the rest.

Silence is the protocol: several servers are asked at once, and only one that knows has anything
to say. A replica of others may say NOT FOUND instead; of a name that it has, but not with the type
that is asked for, every TS says NO DATA, and of a name above one that it has NAMES BELOW. Nothing
is ever owed: what can be said is said in the step that asked.

Not here: the file (`nodes/ts/table_file.py`, `reload.py`), and sessions, --once and draining
(`core/protocol/`).
"""

import math
from collections.abc import Callable
from itertools import repeat

from core.effects import Effect, Send
from core.environment import Environment
from core.events import (
    Closed,
    DrainAsked,
    Ended,
    Event,
    Opened,
    PlaceWanted,
    Received,
    ReloadAsked,
    StatsAsked,
    Woken,
)
from core.exposition import stats_text
from core.metrics import Metric, Value, hits_taken
from core.protocol.asker import SessionState
from core.protocol.messages import negatives
from core.protocol.names import Negative, name_of, other_type
from core.protocol.server import Server
from core.protocol.server_state import ANSWERED, ASKED, NO_DATA
from nodes.ts.reload import Reload
from nodes.ts.table_file import Table

UNKNOWN = Metric("unknown", "Questions whose name is in no row")
ROWS = Metric("rows", "Sets of addresses in the table", is_level=True)

# What follows the question in the lines that deny it.
_NO_DATA, _NAMES_BELOW, _NOT_FOUND = (
    negatives([b""], why) for why in (Negative.NO_DATA, Negative.NAMES_BELOW, Negative.NOT_FOUND)
)


class TableServer:
    """The brain of a TS. `reload` reads its table anew when that is asked for.

    `answer_unknown`: it says NOT FOUND of a name that the table does not have. `loop`: the metrics
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
        self._table = table
        self._reload = reload
        self._answer_unknown = answer_unknown
        self._server = Server(env, lambda: stats_text(self.metrics()), self._account, once=once)
        self._hits = env.hits
        self._loop = loop
        self._asked = 0
        self._answered = 0
        self._no_data = 0

    def deadline(self) -> float | None:
        """Return when a Woken is wanted: each turn for a reload, and for the end of a drain."""
        if self._reload is not None and self._reload.is_busy:
            return -math.inf
        due = self._server.drain_due
        return None if due == math.inf else due

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        server = self._server
        match event:
            case Received(conn, data):
                return self._answer(conn, data, now)
            case Opened(conn):
                return server.opened(conn)
            case Ended(conn, unfinished):
                return server.ended(conn, unfinished)
            case PlaceWanted(conn):
                return server.part(conn)
            case Closed(conn):
                return server.closed(conn, now) + self._stop_maybe()
            case DrainAsked(since):
                return server.drain(min(now, since)) + self._stop_maybe()
            case StatsAsked():
                return server.report_stats()
            case ReloadAsked():
                if self._reload is None or server.is_draining:
                    return []
                return self._reload.ask(now)
            case Woken():
                return self._read_anew(now) + server.woken(now)
        raise AssertionError(event)

    def _read_anew(self, now: float) -> list[Effect]:
        if self._reload is None or not self._reload.is_busy:
            return []
        self._table, effects = self._reload.turn(self._table, now)
        return effects

    def _stop_maybe(self) -> list[Effect]:
        return [] if self._server.sessions else self._server.all_closed()

    # -- answers -----------------------------------------------------------------------------------

    def _answer(self, conn: str, data: bytes, now: float) -> list[Effect]:
        """Say what the table has to say about these names."""
        session, requests, effects = self._server.received(conn, data, now)
        table, questions = self._table, requests.questions
        answers = list(map(table.rows.get, questions, repeat(b"")))
        missing = answers.count(b"")
        self._asked += len(answers)
        self._answered += len(answers) - missing
        if missing and (
            self._answer_unknown
            or table.is_mixed
            or b" " in requests.lines
            or not table.above.isdisjoint(questions)
        ):
            each = zip(answers, questions, requests.spellings, strict=True)
            answers = [
                answer or self._negative(question, spelling) for answer, question, spelling in each
            ]
        if lines := b"".join(answers):
            effects.append(Send(conn, lines))
        if session.life.state is not SessionState.OPEN:
            effects += session.last_words()
        return effects

    def _negative(self, question: bytes, spelling: bytes) -> bytes:
        """Return what there is to say about a question without an answer."""
        if other_type(question) in self._table.rows:
            self._no_data += 1
            return spelling + _NO_DATA
        if name_of(question) in self._table.above:
            return spelling + _NAMES_BELOW
        return spelling + _NOT_FOUND if self._answer_unknown else b""

    # -- metrics -----------------------------------------------------------------------------------

    def metrics(self) -> list[Value]:
        """Return all that it counts, for STATS."""
        return [
            Value(ASKED, self._asked),
            Value(ANSWERED, self._answered),
            Value(NO_DATA, self._no_data),
            Value(UNKNOWN, self._asked - self._answered - self._no_data),
            Value(ROWS, len(self._table.rows)),
            *([] if self._reload is None else self._reload.metrics()),
            *self._server.metrics(),
            *self._loop(),
            *hits_taken(self._hits),
        ]

    def _account(self) -> str:
        unknown = self._asked - self._answered - self._no_data
        return (
            f"asked {self._asked}, answered {self._answered}, no data {self._no_data}, "
            f"unknown {unknown}, refused {self._server.errors}"
        )
