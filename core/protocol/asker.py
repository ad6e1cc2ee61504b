"""Asker: a client as a server sees it, whatever it speaks.

Its life is a machine. A session ends after QUIT, after the client's end of input, because the
server drains or needs the place for another, or because the client errs too often: everything
owed is sent first, and then BYE, except to a client that only ended its input.

Not here: a client that speaks lines (`core/protocol/session.py`), one that speaks DNS
(`nodes/ls/dns_front_end.py`), and all of them together (`core/protocol/server.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from core.effects import Effect
from core.events import Opened
from core.machine import STAY, Label, Machine, Transitions
from core.metrics import Value
from core.protocol.outcome import Outcome


class SessionState(Label):
    """The life of a session."""

    OPEN = "the asker may ask"
    LEAVING = "no more questions are taken; once all is replied, BYE and the end"
    ENDING = "the asker has ended its input; once all is replied, the end"
    DONE = "all is replied, or nobody is there to be replied to"


class SessionEvent(Label):
    """The events of a session."""

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
    """The requests of one read. `questions`, `spellings` and `lines` are parallel, in order."""

    questions: list[bytes]  # folded
    spellings: list[bytes]  # as sent; the same list as `questions` where nothing differs
    lines: bytes  # the folded ones again, each ended by LF: what travels to a table server
    said: Any = b""  # replies to what was no question, in order, as the asker's `say` takes them
    errors: int = 0  # how many of those are refusals


class Asker(Protocol):
    """A client: it reads requests, and knows how far the conversation has come.

    `face` is the protocol that it speaks, in a word; `owed` is how many of its questions have no
    reply; `timeout_s` is how long it waits for a reply, and `reply_bytes_max` the length of the
    longest reply that may have to wait to be sent.
    `can_wait`: its requests may be left unread for a while. Such an asker is not read while it has
    more than `pending_max` questions without a reply, a bound called `pending_bound`.
    """

    conn: str
    face: str
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
        """Take the end of input, perhaps in mid-line; return the reply to it, if any."""
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
        """Return what ends the session, if it is to end and nothing is owed."""
        ...


class AskerFactory(Protocol):
    """Makes the askers of some roles, and counts what it knows of all of them. `face`: theirs."""

    face: str

    def asker(self, opened: Opened) -> Asker:
        """Make an asker for this connection, or for this socket of datagrams."""
        ...

    def let_pass(self, has_reply: Callable[[bytes, float], bool]) -> None:
        """Take requests also where there is no room, if the server has a reply to them by now."""
        ...

    def metrics(self) -> list[Value]:
        """Return what is counted about them."""
        ...
