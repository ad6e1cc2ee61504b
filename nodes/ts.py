"""The table server (TS): answers the names that its table has, and is silent about the rest.

Silence is the protocol: several servers are asked at once, and only one that knows has anything
to say. So nothing is ever owed here: what can be said is said in the step that asked.

Not here: the file (`nodes/tables/load.py`), and sessions, --once and draining
(`core/session.py`, `core/server.py`).
"""

import math
from itertools import repeat

from core import node
from core.bounds import Bounds, Hits
from core.machine import Watch
from core.server import Server
from core.session import Talk


class TableServer:
    """The brain of a TS. `rows` is a table by folded name: whole answer lines, with LF."""

    def __init__(
        self,
        rows: dict[bytes, bytes],
        bounds: Bounds,
        *,
        once: bool = False,
        hits: Hits | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._rows = rows
        hits = Hits() if hits is None else hits
        self._server = Server(bounds, once, self._account, hits, watch)
        self.asked = 0
        self.answered = 0

    def deadline(self) -> float | None:
        """Only a drain has one."""
        due = self._server.drain_due
        return None if due == math.inf else due

    def step(self, event: node.Event, now: float) -> list[node.Effect]:
        """Take one event; see `core/node.py`."""
        server = self._server
        match event:
            case node.Lines(conn, data):
                return self._answer(conn, data)
            case node.Opened(conn):
                return server.opened(conn)
            case node.Ended(conn, unfinished):
                spoke = server.spoke(conn, b"") if unfinished else []
                return spoke + server.ended(conn, unfinished)
            case node.Closed(conn):
                return server.closed(conn, now) + self._stop_maybe()
            case node.DrainAsked():
                return server.drain(now) + self._stop_maybe()
            case node.Woken():
                return server.woken(now)
        raise AssertionError(event)

    def _answer(self, conn: str, data: bytes) -> list[node.Effect]:
        """Say what the table has to say about these names, and what is wrong with the rest."""
        effects = self._server.spoke(conn, data) if self._server.once else []
        session = self._server.sessions[conn]
        asked = session.receive(data)
        answers = list(map(self._rows.get, asked.names, repeat(b"")))
        self.asked += len(answers)
        self.answered += len(answers) - answers.count(b"")
        self._server.errors += asked.errors
        said = asked.refusals + b"".join(answers)
        if said:
            effects.append(node.Send(conn, said))
        if session.life.state is not Talk.OPEN:
            effects += session.last_words()
        return effects

    def _stop_maybe(self) -> list[node.Effect]:
        return [] if self._server.sessions else self._server.all_closed()

    def _account(self) -> str:
        silent = self.asked - self.answered
        return (
            f"asked {self.asked}, answered {self.answered}, unknown {silent}, "
            f"refused {self._server.errors}"
        )
