"""A socket to a resolver: its life, what was sent by it, and how far the resolver has read.

Queries that are sent together are a *batch*: one time, one socket, and one look at each age.

Queries that may still lie in the resolver's own socket are counted by position: each query by a UDP
socket has one, in the order of sending. A reply to a query shows that all before it have been read
(see `nodes/ls/resolvers/window.py`); of its own batch, as many as have had a reply.

Not here: which sockets there are (`nodes/ls/resolvers/socket_pool.py`), and what is sent by them
(`nodes/ls/resolvers/in_flight.py`).
"""

import math
from collections.abc import Container
from dataclasses import dataclass

from core.machine import STAY, Label, Machine, Transitions, Watch
from nodes.ls.resolvers.recent_queries import RecentQueries, split_ids


class SocketState(Label):
    """The life of one socket to a resolver."""

    OPENING = "there is no socket yet"
    OPEN = "questions are sent by it"
    RETIRED = "it is asked nothing new; replies to what it was asked still count"
    CLOSING = "we close it, and nothing that comes by it counts"
    GONE = "there is no socket any more"


class SocketEvent(Label):
    """The events of a socket."""

    OPENED = "it is there"
    OLD = "another one takes its place"
    NEEDED = "no other one can be had in its place"
    SETTLED = "there is nothing more to come by it"
    GIVEN_UP = "somebody guesses at it, its peer has ended, or it is not needed any more"
    LOST = "it is gone, has broken, or could not be had"


S, E = SocketState, SocketEvent
SOCKET: Transitions[SocketState, SocketEvent] = {
    S.OPENING: {E.OPENED: S.OPEN, E.GIVEN_UP: S.CLOSING, E.LOST: S.GONE},
    S.OPEN: {E.OLD: S.RETIRED, E.GIVEN_UP: S.CLOSING, E.LOST: S.GONE},
    S.RETIRED: {
        E.NEEDED: S.OPEN,
        E.SETTLED: S.CLOSING,
        E.GIVEN_UP: S.CLOSING,
        E.LOST: S.GONE,
    },
    S.CLOSING: {E.OPENED: STAY, E.LOST: S.GONE},
    S.GONE: {},
}
KNOWN = frozenset({SocketState.OPEN, SocketState.RETIRED})  # a guess may find it


@dataclass(slots=True, eq=False)
class SentBatch:
    """Queries that were sent together, by one socket."""

    socket: "ResolverSocket"
    questions: list[bytes]
    ids: bytes  # of each, joined
    first: int  # the position of the first one
    left: int  # how many have no reply
    sent_at: float
    asked_at: float  # when the resolver was to be asked the first of them: that, or before
    tries: int = 0  # how often they had been sent before
    moves: int = 0  # how often a socket broke by which they had been sent
    was_calm: bool = False  # few were in flight when they were sent
    tcp_only: Container[bytes] = ()  # those whose replies over UDP were truncated
    plain: Container[bytes] = ()  # those that were asked without EDNS

    def settle(self, replies: int) -> None:
        """Count replies to its queries."""
        self.left -= replies
        self.socket.replies += replies

    def unanswered(self) -> list[tuple[bytes, bytes]]:
        """Return the ID and the question of each query that has no reply."""
        asked = self.socket.asked
        found = [(number, asked.get(number)) for number in split_ids(self.ids)]
        return [(number, sent[0]) for number, sent in found if sent and sent[2] is self]


SentQuestion = tuple[bytes, bytes, SentBatch]  # a question, what a reply to it repeats, its batch


class ResolverSocket:
    """A UDP socket or TCP stream to a resolver. `asked` are its queries without a reply, by ID."""

    __slots__ = (
        "asked", "conn", "heard_at", "is_stream", "life", "passed", "recent", "replace_at",
        "replies",
    )  # fmt: skip

    def __init__(
        self, conn: str, remembered_max: int, *, is_stream: bool, watch: Watch | None
    ) -> None:
        self.conn = conn
        self.is_stream = is_stream
        self.life = Machine(SOCKET, SocketState.OPENING, f"socket {conn}", watch)
        self.asked: dict[bytes, SentQuestion] = {}
        self.recent = RecentQueries(remembered_max)
        self.replace_at = math.inf
        self.replies = 0
        self.heard_at = -math.inf  # when a stream last brought something
        self.passed = 0  # the position up to which the resolver has read

    def pass_by(self, batch: SentBatch, count: int) -> int:
        """Record that the resolver has read `count` queries of a batch, and all before it; return
        how many of these were still in flight."""
        fewer = batch.first + count - self.passed
        if fewer <= 0:
            return 0
        self.passed += fewer
        return fewer

    def forget(self) -> None:
        """Forget everything that was asked by it."""
        for _, _, batch in self.asked.values():
            batch.left -= 1
        self.asked.clear()
        self.recent.clear()
