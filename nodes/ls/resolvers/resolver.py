"""Resolver: one DNS resolver as the load balancer asks it, whatever carries the questions.

The contract of the ways to ask: by datagrams (`datagram_resolver.py`), by a stream that is secured
(`secure_resolver.py`); and what they have in common: queries in flight, replies that match them,
and silence. A resolver that is silent gets one question now and then, and no more; when it replies,
its owner is told (`ResolverReplies.is_back`).

Not here: which reply is good enough (`nodes/ls/negatives.py`), how the resolver stands (`link.py`),
and the parts, each in its file.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from core.datagram_events import Datagrams
from core.effects import Effect
from core.environment import Environment
from core.events import Backlogged, Closed, Ended, Event, Opened, Received
from core.io.frame_buffer import split_frames
from core.metrics import Metric, Value
from nodes.ls.link import Link
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.guess_guard import GuessGuard
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.reply_matcher import (
    AskAgain,
    QuestionInterest,
    ReplyMatcher,
    ResolverReplies,
)
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.socket_pool import SocketPool
from nodes.ls.resolvers.sockets import ResolverSocket, SentBatch, SocketState
from nodes.ls.resolvers.tries import Tries

UNMATCHED = Metric("unmatched", "Replies that match no question to the server", per="server")
STREAMED = Metric("streamed", "Questions to the server over TCP or TLS", per="server")
RESENT = Metric("resent", "Questions to the server that were sent again", per="server")
WAITING = Metric("waiting", "Questions that wait for the server", is_level=True, per="server")


class Resolver(ABC):
    """A resolver: its sockets, what it is asked, and which of its replies count, by `ranks`.

    `link`: how it stands. `connections`: where it puts its `owner`, by the name of each connection
    that it dials, until that is closed. `grace_s`: the longest that a worse answer waits for it.
    """

    def __init__(
        self,
        env: Environment,
        link: Link,
        interest: QuestionInterest,
        connections: dict[str, Any],
        owner: object,
        ranks: ReplyRanks,
        grace_s: float | None = None,
    ) -> None:
        self._bounds = bounds = env.bounds
        self.link = link
        self.grace = Grace(bounds, grace_s)
        self.ageing = Ageing(bounds, self.grace.resend_s(-math.inf))
        self.sockets = SocketPool(env, link, connections, owner)
        self._interest = interest
        self._edns = EdnsFallback(link.conn, bounds.plain_s)
        self._guard = GuessGuard(env, link.conn)
        self.in_flight = InFlight(
            env, self.ageing, self._edns, self.grace, pads=link.identity is not None
        )
        self._matcher = ReplyMatcher(
            link, interest, self.in_flight, self.ageing.overdue, self._edns, self._guard, ranks
        )
        self.redial_s: float | None = None  # until it is dialled again; None: as long as a TS
        self._tries = Tries(bounds, link)

    # -- the contract ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it can be asked, as far as is known."""

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether it has no connection any more, and wants none until it is dialled."""

    @abstractmethod
    def dial(self) -> list[Effect]:
        """Dial it, and forget what waits: once it is there its owner asks it for all that is
        open."""

    @abstractmethod
    def move(self, now: float) -> list[Effect]:
        """Ask it at the first address of its link from now on, also what was asked elsewhere."""

    @abstractmethod
    def _opened(self, socket: ResolverSocket, now: float) -> list[Effect]:
        """Take a socket that is there into use, and send what waits for it."""

    @abstractmethod
    def _closed(self, conn: str, why: str, now: float) -> ResolverReplies:
        """Let go of a socket that is gone, has broken, or could not be had."""

    @abstractmethod
    def _receive(self, conn: str, messages: list[bytes], now: float) -> ResolverReplies:
        """Take messages that came by a socket."""

    @abstractmethod
    def query(self, questions: list[bytes], now: float) -> list[Effect]:
        """Send questions, or let them wait for their turn."""

    def held(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        """Send again those of these that are held, if they may be lost."""
        return []

    def probe_with(self, question: bytes) -> None:  # noqa: B027 (it may need none)
        """Ask it this to see whether it is back, if it takes a question to see that."""

    def start_over(self) -> None:  # noqa: B027 (it may know nothing)
        """Know nothing of where it is: it is elsewhere now."""

    @abstractmethod
    def due(self) -> float:
        """Return when it has to be woken; infinite for never."""

    @abstractmethod
    def woken(self, now: float) -> list[Effect]:
        """Do what is due."""

    def metrics(self) -> list[Value]:
        """Return what is counted about it, beside its link."""
        return [Value(UNMATCHED, self._guard.unmatched, self.link.conn), self._edns.metric()]

    # -- in common ---------------------------------------------------------------------------------

    def take(self, event: Event, now: float) -> ResolverReplies:
        """Take an event of one of its sockets; see `core/brain.py`."""
        match event:
            case Datagrams(conn, datagrams):
                return self._receive(conn, [message for message, _ in datagrams], now)
            case Received(conn, frames):
                return self._receive(conn, split_frames(frames), now)
            case Opened(conn):
                return ResolverReplies(self._opened(self.sockets.by_conn[conn], now))
            case Closed(conn, why):
                return self._closed(conn, why, now)
            case Ended(conn) | Backlogged(conn):  # it takes nothing more, or too slowly
                return ResolverReplies(self.sockets.give_up(self.sockets.by_conn[conn]))
        raise AssertionError(event)

    def close(self) -> list[Effect]:
        """Close all its connections, and forget what it was asked."""
        effects: list[Effect] = []
        self.ageing.overdue.clear()
        for socket in self.sockets.by_conn.values():
            self.in_flight.forget(socket)
            if socket.life.state is not SocketState.CLOSING:
                effects += self.sockets.give_up(socket)
        return effects

    def _match(
        self, socket: ResolverSocket, messages: list[bytes], replies: ResolverReplies, now: float
    ) -> tuple[AskAgain, bool]:
        """Match what came by a socket, and add it to `replies`; return what is to be asked again,
        and whether anything was a reply of this resolver."""
        before = len(socket.asked)
        again = self._matcher.match(socket, messages, replies, now)
        matched = before - len(socket.asked)
        if matched:
            self.ageing.resend_s = self.grace.resend_s(now)
        is_heard = matched > 0 or replies.late > 0
        if is_heard:
            self._tries.heard(now)
            replies.is_back = self.grace.heard(now)
        return again or _NOTHING, is_heard

    def _give_up_hope(self, batch: SentBatch) -> list[Effect]:
        """Forget a batch to which no reply will come."""
        self.in_flight.leave(batch)  # it may be too young yet to be overdue
        for number, question in batch.unanswered():
            del batch.socket.asked[number]
            self.ageing.overdue.pop(question, None)
        batch.left = 0
        return self.sockets.close_settled(batch.socket)


_NOTHING = AskAgain()
