"""The one session of `--once`: the first connection that sends a byte.

Before that byte any number of clients may be connected, in silence: a probe that says nothing is
not the session. After it nobody is accepted, and every other client, also one that was accepted in
that very turn, is told BUSY and let go once nothing is owed.

Not here: the drain that follows the session's end (`core/protocol/server.py`).
"""

from collections.abc import Mapping

from core.effects import Effect, Unlisten
from core.protocol.asker import Asker, SessionEvent
from core.protocol.messages import refusal
from core.protocol.names import Error


class OnlySession:
    """The session of `--once`. `conn` is its connection, None before it begins. `is_awaited`: it
    has yet to begin; never without `--once`."""

    __slots__ = ("conn", "is_awaited")

    def __init__(self, once: bool) -> None:
        self.is_awaited = once
        self.conn: str | None = None

    def begin(self, conn: str, askers: Mapping[str, Asker]) -> list[Effect]:
        """Make this connection the session, and turn every other away."""
        self.is_awaited = False
        self.conn = conn
        effects: list[Effect] = [Unlisten()]
        for other, asker in askers.items():
            if other != conn:
                effects += turn_away(asker)
        return effects


def turn_away(asker: Asker) -> list[Effect]:
    """Refuse an asker because another is the session."""
    return [asker.say(refusal(Error.BUSY)), *let_go(asker)]


def let_go(asker: Asker) -> list[Effect]:
    """Take no more questions of an asker; return what ends it, if it is owed nothing."""
    asker.life.fire(SessionEvent.DRAIN)
    return asker.last_words()
