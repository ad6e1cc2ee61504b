"""The table server (TS): answers the names that its table has, and is silent about the rest.

Silence is the protocol: several servers are asked at once, and only one that knows has anything
to say. One that is the same as others may say NOT FOUND instead; of a name that it has, but not
with the type that is asked for, any says NO DATA, and of a name above one that it has NAMES BELOW.
So nothing is ever owed here: what can be said is said in the step that asked.

Not here: the file (`nodes/ts/table_file.py`, `reload.py`), and sessions, --once and draining
(`core/protocol/session.py`, `core/protocol/server.py`).
"""

import math
from collections.abc import Callable
from itertools import repeat

from core.bounds import BoundHits, Bounds
from core.effects import Effect, Send
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
from core.machine import Watch
from core.metrics import Metric, Value, hits_taken
from core.protocol.messages import Negative, negatives
from core.protocol.server import Server
from core.protocol.session import SessionState
from nodes.ts.reload import Reload
from nodes.ts.table_file import Table

ASKED = Metric("asked", "Questions that clients asked")
ANSWERED = Metric("answered", "Questions that were answered with addresses")
NO_DATA = Metric("no_data", "Questions whose name has nothing of their type")
UNKNOWN = Metric("unknown", "Questions whose name is in no row")
ROWS = Metric("rows", "Sets of addresses in the table", is_level=True)


class TableServer:
    """The brain of a TS. `reload` reads its table anew when that is asked for.

    `answer_unknown`: it says NOT FOUND of a name that the table does not have. `loop`: the figures
    of the loop that runs it.
    """

    def __init__(
        self,
        table: Table,
        bounds: Bounds,
        *,
        reload: Reload | None = None,
        answer_unknown: bool = False,
        loop: Callable[[], list[Value]] = list,
        once: bool = False,
        hits: BoundHits | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._table = table
        self._reload = reload
        self._answer_unknown = answer_unknown
        hits = BoundHits() if hits is None else hits
        self._server = Server(bounds, once, self._account, self.metrics, hits, watch)
        self._hits = hits
        self._loop = loop
        self.asked = 0
        self.answered = 0
        self.no_data = 0

    def deadline(self) -> float | None:
        """A reload wants every turn; else only a drain has one."""
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
                spoke = server.spoke(conn) if unfinished else []
                return spoke + server.ended(conn, unfinished)
            case PlaceWanted(conn):
                return server.part(conn)
            case Closed(conn):
                return server.closed(conn, now) + self._stop_maybe()
            case DrainAsked(since):
                return server.drain(min(now, since)) + self._stop_maybe()
            case StatsAsked():
                return server.tell()
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
        return [*effects]

    def _answer(self, conn: str, data: bytes, now: float) -> list[Effect]:
        """Say what the table has to say about these names, and what is wrong with the rest."""
        effects = self._server.spoke(conn) if self._server.once else []
        session = self._server.sessions[conn]
        asked = session.receive(data, now)
        answers = list(map(self._table.rows.get, asked.questions, repeat(b"")))
        missing = answers.count(b"")
        self.asked += len(answers)
        self.answered += len(answers) - missing
        self._server.errors += asked.errors
        table = self._table
        if missing and (
            self._answer_unknown
            or table.is_mixed
            or b" " in asked.lines
            or not table.above.isdisjoint(asked.questions)
        ):
            answers = list(map(self._or_negative, answers, asked.questions, asked.spellings))
        said = asked.said + b"".join(answers)
        if said:
            effects.append(Send(conn, said))
        if session.life.state is not SessionState.OPEN:
            effects += session.last_words()
        return effects

    def metrics(self) -> list[Value]:
        """All that it counts, for STATS."""
        return [
            Value(ASKED, self.asked),
            Value(ANSWERED, self.answered),
            Value(NO_DATA, self.no_data),
            Value(UNKNOWN, self.asked - self.answered - self.no_data),
            Value(ROWS, len(self._table.rows)),
            *([] if self._reload is None else self._reload.metrics()),
            *self._server.metrics(),
            *self._loop(),
            *hits_taken(self._hits),
        ]

    def _or_negative(self, answer: bytes, question: bytes, spelling: bytes) -> bytes:
        """The answer, if there is one, or what there is to say about there being none."""
        if answer:
            return answer
        name = question.removesuffix(b" AAAA")
        other = name if name != question else question + b" AAAA"
        if other in self._table.rows:
            self.no_data += 1
            return negatives([spelling], Negative.NO_DATA)
        if name in self._table.above:
            return negatives([spelling], Negative.NAMES_BELOW)
        return negatives([spelling], Negative.NOT_FOUND) if self._answer_unknown else b""

    def _stop_maybe(self) -> list[Effect]:
        return [] if self._server.sessions else self._server.all_closed()

    def _account(self) -> str:
        unknown = self.asked - self.answered - self.no_data
        return (
            f"asked {self.asked}, answered {self.answered}, no data {self.no_data}, "
            f"unknown {unknown}, refused {self._server.errors}"
        )
