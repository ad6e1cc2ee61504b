"""Session: one asker as a server sees it, from its first line to its last reply.

What a server wants of any asker is `Asker`; a session is one that speaks the protocol's lines.

It reads chunks of requests, answers what is wrong with them, and knows how far the conversation
has come. How a session ends: after QUIT, after the asker's end of input, because the server drains
or needs the place for another, or because the asker errs too often, everything owed is sent first,
and then BYE, except to one who only ended its input.

PING and STATS are answered here, too. STATS costs the server more than the asker, so of one read
only so many are answered.

Both servers use it. Not here: who answers a question (`nodes/`), and all the sessions together
(`core/protocol/server.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from core.bounds import BoundHits, Bounds
from core.effects import Close, Effect, Send
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.protocol.messages import (
    BYE,
    LINE_BYTES_MAX,
    PONG,
    Command,
    Error,
    ProtocolError,
    Question,
    asked_in,
    fold,
    fold_lines,
    format_message,
    parse_request,
    refusal,
    split_lines,
)
from core.protocol.outcome import Outcome


class SessionState(Label):
    """The life of a session."""

    OPEN = "the asker may ask"
    LEAVING = "no more questions are taken; once all is replied, BYE and the end"
    ENDING = "the asker has ended its input; once all is replied, the end"
    DONE = "all is replied, or nobody is there to be replied to"


class SessionEvent(Label):
    """What happens in a session."""

    QUIT = "the asker will ask nothing more and waits for BYE"
    ENDED = "the asker's input has ended"
    DRAIN = "the server takes no more questions"
    TOO_MANY_ERRORS = "the asker has erred too often in a row"
    ALL_REPLIED = "nothing is owed"
    LOST = "the connection is gone"


S, E = SessionState, SessionEvent
SESSION: Transitions[SessionState, SessionEvent] = {
    S.OPEN: {
        E.QUIT: S.LEAVING,
        E.DRAIN: S.LEAVING,
        E.TOO_MANY_ERRORS: S.LEAVING,
        E.ENDED: S.ENDING,
        E.LOST: S.DONE,
    },
    S.LEAVING: {E.ENDED: STAY, E.DRAIN: STAY, E.ALL_REPLIED: S.DONE, E.LOST: S.DONE},
    S.ENDING: {E.DRAIN: STAY, E.ALL_REPLIED: S.DONE, E.LOST: S.DONE},
    S.DONE: {E.DRAIN: STAY, E.LOST: STAY},
}


@dataclass(slots=True)
class Requests:
    """What one chunk of requests came to. The three of questions are parallel, in order."""

    questions: list[bytes]  # folded
    spellings: list[bytes]  # as sent; the same list as `questions` where nothing differs
    lines: bytes  # the folded ones again, each ended by LF: what travels to a table server
    said: Any  # replies to what was no question, in order, as the asker's `say` takes them
    errors: int  # how many of those are refusals


class Asker(Protocol):
    """Whoever asks a server: it reads requests, and knows how far the conversation has come.

    `owed` is how many of its questions have no reply; `timeout_s` is how long it
    waits for a reply, and `reply_bytes_max` how long that may be, if it may have to wait to be
    sent. `can_wait`: what it asks may be left unread for a while. Such a one is not read while it
    has more than `pending_max` questions without a reply, a bound called `pending_bound`.
    """

    conn: str
    life: Machine[SessionState, SessionEvent]
    owed: int
    timeout_s: float
    reply_bytes_max: int
    can_wait: bool
    pending_max: int
    pending_bound: str

    def receive(self, data: Any, now: float) -> Requests:  # noqa: ANN401 (as the event brought it)
        """Read what one event brought."""
        ...

    def receive_end(self, unfinished: bool) -> Any:  # noqa: ANN401
        """The asker's input has ended; return what there is to say about it."""
        ...

    def say(self, said: Any) -> Effect:  # noqa: ANN401
        """Send replies."""
        ...

    def admitted(self, count: int) -> None:
        """Owe replies to so many questions more."""
        ...

    def reply(self, outcomes: list[Outcome]) -> list[Effect]:
        """Send what became of its questions; they are owed no more."""
        ...

    def last_words(self) -> list[Effect]:
        """What ends the session, if it is to end and nothing is owed."""
        ...


class Session:
    """An asker that speaks lines. `stats()` is the whole reply to STATS."""

    __slots__ = (
        "_bounds",
        "_errors_in_a_row",
        "_hits",
        "_stats",
        "conn",
        "life",
        "owed",
        "pending_max",
        "timeout_s",
    )
    reply_bytes_max = LINE_BYTES_MAX
    can_wait = True
    pending_bound = "pending_per_client_max"

    def __init__(
        self,
        conn: str,
        bounds: Bounds,
        hits: BoundHits,
        stats: Callable[[], bytes],
        watch: Watch | None = None,
    ) -> None:
        self.conn = conn
        self.life = Machine(SESSION, SessionState.OPEN, f"session {conn}", watch)
        self.owed = 0  # questions without a reply
        self.timeout_s = bounds.timeout_s
        self.pending_max = bounds.pending_per_client_max
        self._errors_in_a_row = 0
        self._bounds = bounds
        self._hits = hits
        self._stats = stats

    def receive(self, data: bytes, now: float) -> Requests:
        """Read a chunk of whole lines; what comes after the last word is ignored."""
        if self.life.state is not SessionState.OPEN:
            return Requests([], [], b"", b"", 0)
        spellings = asked_in(data)
        if spellings is None:
            return self._receive_by_line(data)
        self._errors_in_a_row = 0
        folded = fold_lines(data)
        questions = spellings if folded == data else split_lines(folded)
        return Requests(questions, spellings, folded, b"", 0)

    def receive_end(self, unfinished: bool) -> bytes:
        """The asker's input has ended; return what there is to say about it."""
        said = unfinished and self.life.state is SessionState.OPEN
        self.life.fire(SessionEvent.ENDED)
        return refusal(Error.UNFINISHED) if said else b""

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
            lines.append(outcome.as_lines())
        effects: list[Effect] = [Send(self.conn, b"".join(lines))]
        if self.life.state is not SessionState.OPEN:
            effects += self.last_words()
        return effects

    def last_words(self) -> list[Effect]:
        """What ends the session, if it is to end and nothing is owed."""
        state = self.life.state
        if self.owed or state in (SessionState.OPEN, SessionState.DONE):
            return []
        self.life.fire(SessionEvent.ALL_REPLIED)
        close = Close(self.conn)
        return [Send(self.conn, BYE), close] if state is SessionState.LEAVING else [close]

    def _receive_by_line(self, data: bytes) -> Requests:
        """The slow way, where something in the chunk is not an ordinary question."""
        questions: list[bytes] = []
        spellings: list[bytes] = []
        said: list[bytes] = []
        errors = stats = 0
        for line in split_lines(data):
            if not line:
                continue
            try:
                request = parse_request(line)
                if isinstance(request, Question):
                    self._errors_in_a_row = 0
                    questions.append(fold(request.spelling, request.type))
                    spellings.append(format_message(request))
                    continue
                if request is Command.QUIT:
                    self.life.fire(SessionEvent.QUIT)
                    break
                if request is Command.STATS:
                    stats += 1
                    if stats > self._bounds.stats_per_read:
                        raise ProtocolError(Error.TOOMANY)
                self._errors_in_a_row = 0
                said.append(PONG if request is Command.PING else self._stats())
            except ProtocolError as error:
                said.append(refusal(error.code))
                errors += 1
                self._errors_in_a_row += 1
                if self._errors_in_a_row == self._bounds.errors_in_a_row_max:
                    self.life.fire(SessionEvent.TOO_MANY_ERRORS)
                    self._hits["errors_in_a_row_max"] += 1
                    break
        lines = b"".join(question + b"\n" for question in questions)
        return Requests(questions, spellings, lines, b"".join(said), errors)
