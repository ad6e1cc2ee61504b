"""Session: a client that speaks lines, from its first line to its last reply.

It says what is wrong with lines, answers PING and STATS, and knows how far the conversation has
come. STATS costs the server more than the client, so only a few are answered in one read.

Both servers use it. Not here: what a session is and how it ends (`core/protocol/asker.py`), who
answers a question (`nodes/`), and all the sessions together (`core/protocol/server.py`).
"""

from collections.abc import Callable

from core.effects import Close, Effect, Send
from core.environment import Environment
from core.machine import Machine
from core.protocol.asker import SESSION, Requests, SessionEvent, SessionState
from core.protocol.batches import read_each_request, read_questions
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import format_message, refusal
from core.protocol.names import LINE_BYTES_MAX, Command, Error, Word
from core.protocol.outcome import Outcome

_OPEN = SessionState.OPEN
_BYE, _PONG = (format_message(word) + b"\n" for word in (Word.BYE, Word.PONG))


class Session:
    """An `Asker` that speaks lines. `stats()` is the whole reply to STATS."""

    __slots__ = (
        "_stats",
        "_stats_max",
        "_streak",
        "conn",
        "life",
        "owed",
        "pending_max",
        "timeout_s",
    )
    face = "lines"
    reply_bytes_max = LINE_BYTES_MAX
    can_wait = True
    pending_bound = "pending_per_client_max"

    def __init__(self, conn: str, env: Environment, stats: Callable[[], bytes]) -> None:
        self.conn = conn
        self.life = Machine(SESSION, SessionState.OPEN, f"session {conn}", env.watch)
        self.owed = 0  # questions without a reply
        self.timeout_s = env.bounds.timeout_s
        self.pending_max = env.bounds.pending_per_client_max
        self._streak = ErrorStreak(env)
        self._stats = stats
        self._stats_max = env.bounds.stats_per_read

    def receive(self, data: bytes, now: float) -> Requests:
        """Read a chunk of whole lines; what comes after the client's last word is ignored."""
        if self.life.state is not _OPEN:
            return Requests([], [], b"")
        if requests := read_questions(data):
            if self._streak.count:
                self._streak.end()
            return requests
        requests, others = read_each_request(data, self._streak, self._stats_max)
        if others:
            requests.said = b"".join(map(self._reply_to, others))
            requests.errors = sum(isinstance(other, Error) for other in others)
            if self._streak.is_over:
                self.life.fire(SessionEvent.TOO_MANY_ERRORS)
        return requests

    def _reply_to(self, request: Command | Error) -> bytes:
        """Return the reply to a command or an error."""
        match request:
            case Command.QUIT:
                self.life.fire(SessionEvent.QUIT)
                return b""
            case Command.PING:
                return _PONG
            case Command.STATS:
                return self._stats()
            case Error():
                return refusal(request)

    def receive_end(self, unfinished: bool) -> bytes:
        """Take the end of input; return the refusal of a last line that is cut."""
        is_cut = unfinished and self.life.state is SessionState.OPEN
        self.life.fire(SessionEvent.ENDED)
        return refusal(Error.UNFINISHED) if is_cut else b""

    def say(self, said: bytes) -> Effect:
        """Send lines."""
        return Send(self.conn, said)

    def admitted(self, count: int) -> None:
        """Owe replies to so many questions more."""
        self.owed += count

    def reply(self, outcomes: list[Outcome]) -> list[Effect]:
        """Send what became of its questions, and let it go if it waited for that."""
        lines = []
        for outcome in outcomes:
            self.owed -= len(outcome.questions)
            lines.append(outcome.lines)
        effects: list[Effect] = [Send(self.conn, lines[0] if len(lines) == 1 else b"".join(lines))]
        if self.life.state is not _OPEN:
            effects += self.last_words()
        return effects

    def last_words(self) -> list[Effect]:
        """Return what ends the session, if it is to end and nothing is owed."""
        state = self.life.state
        if self.owed or state in (SessionState.OPEN, SessionState.DONE):
            return []
        self.life.fire(SessionEvent.ALL_REPLIED)
        close = Close(self.conn)
        return [Send(self.conn, _BYE), close] if state is SessionState.LEAVING else [close]
