"""Held negative: the best that was said of one open question so far, if that is no answer.

Not here: how long it is held, and what decides (`negatives.py`).
"""

from dataclasses import dataclass

from core.protocol.outcome import RelayedReply
from nodes.ls.outcomes import QuestionState
from nodes.ls.server_set import NO_SERVERS, ServerSet

# The states in which a server has said that there is no data.
SAYS_NO_DATA = frozenset({QuestionState.NOT_FOUND_HELD, QuestionState.NO_DATA_HELD})
# Those in which nothing has been said about the name.
_SAYS_NOTHING = frozenset(
    {QuestionState.FAILURE_HELD, QuestionState.REFUSAL_HELD, QuestionState.STALE_HELD}
)


@dataclass(slots=True, eq=False)
class HeldNegative:
    """The `best` that was said of a question. `reply`: the resolver's that said so, if any.
    `said_at`: when that was. `said_by`: who said so; empty, if LS itself. `since`: when its grace
    began. `moot`: the servers that could say nothing better. `heard`: those that have said
    something, and `agreed`: those that have said that there is no data."""

    question: bytes
    best: QuestionState
    reply: RelayedReply | None
    said_at: float
    since: float
    until: float
    moot: ServerSet = NO_SERVERS
    heard: ServerSet = NO_SERVERS
    agreed: ServerSet = NO_SERVERS
    said_by: ServerSet = NO_SERVERS

    @property
    def is_weak(self) -> bool:
        """Return whether nothing has been said about the name."""
        return self.best in _SAYS_NOTHING
