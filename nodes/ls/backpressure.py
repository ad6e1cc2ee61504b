"""Backpressure: which clients are not read, and why.

LS always reads its links, or a circle could close in which each end waits for the other. It does
not read clients while a link is HOLDING, since they ask faster than it takes, nor a client that has
too many questions pending. Datagrams that are not read would be lost, so they are always read.

Not here: when a link is HOLDING, and that it is STALLED when that lasts (`link_state.py`,
`table_link.py`); what all clients together are owed (`core/owed.py`).
"""

from collections.abc import Iterable, Mapping

from core.bounds import BoundHits
from core.effects import Effect, Pause, Resume
from core.protocol.asker import Asker, SessionState


class Backpressure:
    """Pauses and resumes the sessions of a server."""

    def __init__(self, sessions: Mapping[str, Asker], hits: BoundHits) -> None:
        self._sessions = sessions
        self._hits = hits
        self.paused: dict[str, None] = {}  # in the order of pausing
        self.is_at_rest = True  # nobody is paused, and no link was HOLDING when last looked at
        self._was_holding = False

    def forget(self, conn: str) -> None:
        """Forget a session: its connection is gone."""
        self.paused.pop(conn, None)

    def apply(self, is_holding: bool, asker: Asker | None = None) -> list[Effect]:
        """Pause and resume sessions. `asker` may have asked too much since the last time."""
        sessions: Iterable[Asker]
        if is_holding is not self._was_holding:
            self._was_holding = is_holding
            sessions = self._sessions.values()
        elif self.paused and not is_holding:
            sessions = [self._sessions[conn] for conn in self.paused]
            if asker is not None:
                sessions.append(asker)
        elif asker is not None and (is_holding or asker.owed > asker.pending_max):
            sessions = [asker]
        else:
            return []
        effects: list[Effect] = []
        for session in sessions:
            conn = session.conn
            if session.life.state is not SessionState.OPEN or not session.can_wait:
                continue
            has_too_many = session.owed > session.pending_max
            if (is_holding or has_too_many) is (conn in self.paused):
                continue
            if conn in self.paused:
                del self.paused[conn]
                effects.append(Resume(conn))
            else:
                if not is_holding:
                    self._hits[session.pending_bound] += 1
                self.paused[conn] = None
                effects.append(Pause(conn))
        self.is_at_rest = not self.paused and not is_holding
        return effects
