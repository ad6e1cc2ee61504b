"""Sockets to one resolver: their life, what was sent by each and has no reply, and what had one.

Questions that were sent together are a *flight*: one time, one socket, and one look at each age.

What may still lie in the resolver's own socket is counted by position: each question by a socket of
datagrams has one, in the order of sending. A reply to one shows that all before it have been taken
(see `nodes/ls/resolvers/window.py`); of one flight, as many as have had a reply.

A socket of datagrams remembers, within a bound, the flights that were sent by it lately. A message
that repeats ID and question of one of them, though it is not waited for, is a copy of a reply, or
late, and not a guess; so is one without a question that repeats the ID. To remember a flight costs
an append; pairs are made only to be looked up.

Not here: what is sent and when (`nodes/ls/resolvers/resolver.py`).
"""

import math
from collections import deque
from collections.abc import Container

from core.machine import STAY, Label, Machine, Transitions, Watch
from nodes.dns.codes import ID_BYTES
from nodes.dns.question import resolver_query


class SocketState(Label):
    """The life of one socket to a resolver."""

    OPENING = "there is no socket yet"
    OPEN = "questions are sent by it"
    RETIRED = "it is asked nothing new; replies to what it was asked still count"
    CLOSING = "we close it, and nothing that comes by it counts"
    GONE = "there is no socket any more"


class SocketEvent(Label):
    """What happens to a socket."""

    OPENED = "it is there"
    OLD = "another one takes its place"
    SETTLED = "there is nothing more to come by it"
    GIVEN_UP = "somebody guesses at it, its peer has ended, or it is not needed any more"
    LOST = "it is gone, has broken, or could not be had"


S, E = SocketState, SocketEvent
SOCKET: Transitions[SocketState, SocketEvent] = {
    S.OPENING: {E.OPENED: S.OPEN, E.GIVEN_UP: S.CLOSING, E.LOST: S.GONE},
    S.OPEN: {E.OLD: S.RETIRED, E.GIVEN_UP: S.CLOSING, E.LOST: S.GONE},
    S.RETIRED: {E.SETTLED: S.CLOSING, E.GIVEN_UP: S.CLOSING, E.LOST: S.GONE},
    S.CLOSING: {E.OPENED: STAY, E.LOST: S.GONE},
    S.GONE: {},
}
KNOWN = frozenset({SocketState.OPEN, SocketState.RETIRED})  # a guess may find it


class SentBatch:
    """Questions that were sent together, with their IDs.

    `asked_at` is when the first of them was asked of the resolver, which may be before it was sent.
    `tries`: how often they had been sent before. `first`: the position of the first one. `left`:
    how many have no reply. `was_calm`: whether few were in flight. `cut`: those whose replies by
    datagram are cut, so that a stream is the only way. `moves`: how often a socket broke by which
    they had been sent. `plain`: those that were asked without EDNS.
    """

    __slots__ = (
        "asked_at", "cut", "first", "ids", "left", "moves", "plain", "questions", "sent_at", "size",
        "tries",
        "was_calm", "way",
    )  # fmt: skip

    def __init__(
        self,
        way: "ResolverSocket",
        questions: list[bytes],
        ids: bytes,
        sent_at: float,
        *,
        asked_at: float,
        tries: int = 0,
        was_calm: bool = False,
        cut: Container[bytes] = (),
        plain: Container[bytes] = (),
    ) -> None:
        self.way = way
        self.questions = questions
        self.ids = ids
        self.left = self.size = len(questions)
        self.sent_at = sent_at
        self.asked_at = asked_at
        self.tries = tries
        self.was_calm = was_calm
        self.first = way.sent
        self.cut = cut
        self.moves = 0
        self.plain = plain

    def numbers(self) -> list[bytes]:
        """The ID of each question; together they take less room."""
        return [self.ids[at : at + ID_BYTES] for at in range(0, len(self.ids), ID_BYTES)]


SentQuestion = tuple[bytes, bytes, SentBatch]  # a question, what a reply to it repeats, its flight


class ResolverSocket:
    """One socket: of datagrams, or a stream. `asked` are its questions without a reply, by ID.

    `sent` counts questions; `passed` is the position up to which the resolver has taken them.
    """

    __slots__ = (
        "_count", "_lately", "_most", "_pairs", "_unsorted", "asked", "conn", "is_stream", "life",
        "old_at", "passed", "replies", "sent",
    )  # fmt: skip

    def __init__(
        self, conn: str, remembered_max: int, *, is_stream: bool, watch: Watch | None
    ) -> None:
        self.conn = conn
        self.is_stream = is_stream
        self.life = Machine(SOCKET, SocketState.OPENING, f"socket {conn}", watch)
        self.asked: dict[bytes, SentQuestion] = {}
        self.old_at = math.inf
        self.replies = 0
        self.sent = 0
        self.passed = 0
        self._most = remembered_max
        self._lately: deque[SentBatch] = deque()  # what is remembered, the oldest first
        self._count = 0  # questions in it
        self._unsorted: deque[SentBatch] = deque()  # those of them whose pairs are not made yet
        self._pairs: dict[bytes, None] = {}  # of the others, and some that are forgotten already

    def pass_by(self, flight: SentBatch, count: int) -> int:
        """Take note that the resolver has taken `count` of a flight, and all before it; return how
        many of these were still in flight."""
        fewer = flight.first + count - self.passed
        if fewer <= 0:
            return 0
        self.passed += fewer
        return fewer

    def remember(self, flight: SentBatch) -> None:
        """Remember what was asked by this flight, and forget the oldest beyond the bound."""
        lately = self._lately
        lately.append(flight)
        self._count += flight.size
        while self._count - lately[0].size >= self._most:
            oldest = lately.popleft()
            self._count -= oldest.size
            if self._unsorted and self._unsorted[0] is oldest:
                self._unsorted.popleft()
        self._unsorted.append(flight)

    def forget(self) -> None:
        """Forget all that was asked by it."""
        self.asked.clear()
        self._lately.clear()
        self._unsorted.clear()
        self._pairs.clear()
        self._count = 0

    def was_asked(self, pair: bytes) -> bool:
        """Whether this ID, with this question section, if there is one, was asked lately.

        Pairs are made of flights only here: usually nobody wants to know."""
        if len(self._pairs) > 4 * self._most:
            self._pairs.clear()
            self._unsorted = self._lately.copy()
        while self._unsorted:
            flight = self._unsorted.popleft()
            for number, question in zip(flight.numbers(), flight.questions, strict=True):
                self._pairs[number] = None
                self._pairs[number + resolver_query(question).section] = None
        return pair in self._pairs
