"""Sockets to one resolver: their life, what was sent by each and has no reply, and what had one.

Questions that were sent together are a *flight*: one time, one socket, and one look at each age.

What may still lie in the resolver's own socket is counted by position: each question by a socket of
datagrams has one, in the order of sending. A reply to one shows that all before it have been taken
(see `nodes/balancer/window.py`); of one flight, as many as have had a reply.

A socket of datagrams remembers, within a bound, which pairs of ID and question had a reply or are
waited for no more. A message with such a pair is a copy, or late, and not a guess.

Not here: what is sent and when (`nodes/balancer/upstream.py`).
"""

import math
from collections.abc import Container

from core.machine import STAY, Machine, Sign, Table, Watch


class Way(Sign):
    """The life of one socket to a resolver."""

    OPENING = "there is no socket yet"
    OPEN = "questions are sent by it"
    RETIRED = "it is asked nothing new; replies to what it was asked still count"
    CLOSING = "we close it, and nothing that comes by it counts"
    GONE = "there is no socket any more"


class Turn(Sign):
    """What happens to a socket."""

    OPENED = "it is there"
    OLD = "another one takes its place"
    SETTLED = "there is nothing more to come by it"
    GIVEN_UP = "somebody guesses at it, its peer has ended, or it is not needed any more"
    LOST = "it is gone, or could not be had"


W, T = Way, Turn
SOCKET: Table[Way, Turn] = {
    W.OPENING: {T.OPENED: W.OPEN, T.GIVEN_UP: W.CLOSING, T.LOST: W.GONE},
    W.OPEN: {T.OLD: W.RETIRED, T.GIVEN_UP: W.CLOSING, T.LOST: W.GONE},
    W.RETIRED: {T.SETTLED: W.CLOSING, T.GIVEN_UP: W.CLOSING, T.LOST: W.GONE},
    W.CLOSING: {T.OPENED: STAY, T.LOST: W.GONE},
    W.GONE: {},
}
KNOWN = frozenset({Way.OPEN, Way.RETIRED})  # a guess may find it


class Flight:
    """Questions that were sent together.

    `asked_at` is when the first of them was asked of the resolver, which may be before it was sent.
    `tries`: how often they had been sent before. `first`: the position of the first one. `left`:
    how many have no reply. `was_calm`: whether few were in flight. `cut`: those whose replies by
    datagram are cut, so that a stream is the only way.
    """

    __slots__ = (
        "asked_at", "cut", "first", "ids", "left", "sent_at", "tries", "was_calm", "way",
    )  # fmt: skip

    def __init__(
        self,
        way: "Socket",
        ids: list[bytes],
        sent_at: float,
        *,
        asked_at: float,
        tries: int = 0,
        was_calm: bool = False,
        cut: Container[bytes] = (),
    ) -> None:
        self.way = way
        self.ids = ids
        self.left = len(ids)
        self.sent_at = sent_at
        self.asked_at = asked_at
        self.tries = tries
        self.was_calm = was_calm
        self.first = way.sent
        self.cut = cut


Asked = tuple[bytes, bytes, Flight]  # a question, what a reply to it repeats, its flight


class Socket:
    """One socket: of datagrams, or a stream. `asked` are its questions without a reply, by ID.

    `sent` counts questions; `passed` is the position up to which the resolver has taken them.
    """

    __slots__ = (
        "_settled", "_settled_before", "_settled_max", "asked", "conn", "is_stream", "life",
        "old_at", "passed", "replies", "sent",
    )  # fmt: skip

    def __init__(
        self, conn: str, settled_max: int, *, is_stream: bool, watch: Watch | None
    ) -> None:
        self.conn = conn
        self.is_stream = is_stream
        self.life = Machine(SOCKET, Way.OPENING, f"socket {conn}", watch)
        self.asked: dict[bytes, Asked] = {}
        self.old_at = math.inf
        self.replies = 0
        self.sent = 0
        self.passed = 0
        self._settled_max = settled_max
        self._settled: dict[bytes, None] = {}  # the newest pairs, and as many or none before
        self._settled_before: dict[bytes, None] = {}

    def pass_by(self, flight: Flight, count: int) -> int:
        """Take note that the resolver has taken `count` of a flight, and all before it; return how
        many of these were still in flight."""
        fewer = flight.first + count - self.passed
        if fewer <= 0:
            return 0
        self.passed += fewer
        return fewer

    def settle(self, pairs: dict[bytes, None]) -> None:
        """Remember that these had their reply, or wait no more: IDs, each with the question section
        behind it."""
        if len(self._settled) >= self._settled_max:
            self._settled_before, self._settled = self._settled, {}
        self._settled |= pairs

    def was_settled(self, pair: bytes) -> bool:
        """Whether this pair is remembered."""
        return pair in self._settled or pair in self._settled_before
