"""Secure resolver: a DNS resolver that is asked by TLS, never in the clear (RFC 7858, RFC 8310).

It is UP once a stream to it is secure, which shows that it is the one that was named; from then on
it is UP without a stream, too: public resolvers close after some seconds without a question. A
stream that has brought replies is followed by another at once if something was asked in the last
`away_s`, so that nobody waits for a handshake; else with the next question. The resolver is DOWN,
for a reason that the log has, when a dial fails or streams are of no use; then it is dialled again
as a table server is.

Queries are padded (RFC 8467), so that their size does not say what is asked.

Not here: its streams (`secure_streams.py`), and what all resolvers have in common (`resolver.py`).
"""

import math
from typing import Any

from core.effects import Effect
from core.environment import Environment
from core.metrics import Value
from nodes.ls.link import Link
from nodes.ls.link_state import LinkState
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.resolvers.reply_matcher import QuestionInterest, ResolverReplies
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.resolver import RESENT, STREAMED, WAITING, Resolver
from nodes.ls.resolvers.secure_streams import SecureStreams
from nodes.ls.resolvers.sockets import KNOWN, ResolverSocket, SocketState
from nodes.ls.resolvers.tries import TRY

_USELESS = "its streams end without a reply"


class SecureResolver(Resolver):
    """A resolver that is asked by streams that are secured."""

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
        super().__init__(env, link, interest, connections, owner, ranks, grace_s)
        is_wanted = interest.of_link(link).is_wanted
        self.streams = SecureStreams(env.bounds, link, self.sockets, self.in_flight, is_wanted)
        self._asked_at = -math.inf

    def metrics(self) -> list[Value]:
        name = self.link.conn
        return [
            *super().metrics(),
            Value(STREAMED, self.streams.sent, name),
            Value(RESENT, self.streams.resent, name),
            Value(WAITING, len(self.streams.waiting), name),
        ]

    @property
    def is_ready(self) -> bool:
        return True  # the handshake has said so

    @property
    def is_gone(self) -> bool:
        return self.link.life.state is LinkState.CLOSING and not self.sockets.by_conn

    # -- streams -----------------------------------------------------------------------------------

    def dial(self) -> list[Effect]:
        self.streams.waiting.clear()
        return self.streams.dial()

    def move(self, now: float) -> list[Effect]:
        return self.streams.replace()

    def close(self) -> list[Effect]:
        self.streams.forget()
        return super().close()

    def _opened(self, socket: ResolverSocket, now: float) -> list[Effect]:
        return self.streams.opened(socket, now)

    def _closed(self, conn: str, why: str, now: float) -> ResolverReplies:
        replies = ResolverReplies()
        socket, state = self.sockets.lost(conn)
        if self.link.life.state is LinkState.CLOSING:  # all are closed
            pass
        elif state is SocketState.OPENING:
            effects = self.streams.dial_failed(now)
            if effects is None:
                self._down(replies, why or "the dial has failed")
            replies.effects = effects or []
        else:
            replies.effects, failed, are_useless = self.streams.lost(socket, now)
            replies.denials = [(each, QuestionEvent.FAILURE_SAID, None) for each in failed]
            if are_useless:  # a server may refuse us only once the handshake is done (TLS 1.3)
                said = f": {why}" if why and state in KNOWN else ""
                self._down(replies, f"{_USELESS}{said}")
            elif socket.replies and now < self._asked_at + self._bounds.away_s:
                replies.effects += self.streams.dial()
        self.in_flight.forget(socket)
        return replies

    def _down(self, replies: ResolverReplies, why: str) -> None:
        """Say why to part from it: that is no silence."""
        replies.why = why
        self.grace.refused()

    # -- asking ------------------------------------------------------------------------------------

    def query(self, questions: list[bytes], now: float) -> list[Effect]:
        if not questions:
            return []
        self._asked_at = now
        if self.grace.is_silent:
            questions = questions[:1] if self.grace.take_probe(now) else []
        return self.streams.ask(questions, now)

    def _receive(self, conn: str, messages: list[bytes], now: float) -> ResolverReplies:
        replies = ResolverReplies()
        socket = self.sockets.by_conn[conn]
        if socket.life.state is SocketState.CLOSING:
            return replies
        socket.heard_at = now
        again, is_heard = self._match(socket, messages, replies, now)
        if again.plain:
            plain = [question for question, _ in again.plain]
            self._edns.misunderstood(plain, now)
            self.streams.waiting |= dict.fromkeys(plain, 0)
        if is_heard:
            replies.effects += self.streams.replied(now)
        replies.effects += self.sockets.close_settled(socket)
        return replies

    # -- time --------------------------------------------------------------------------------------

    def due(self) -> float:
        streams_due = self.streams.due()
        return min(self.ageing.look(), self.grace.silent_at, self._tries.due(), streams_due)

    def woken(self, now: float) -> list[Effect]:
        silent, old, hopeless = self.ageing.take_aged(now)
        effects: list[Effect] = []
        for batch in silent:
            self.grace.waited(batch.sent_at, batch.left)
        if self.grace.woken(now):
            self.streams.waiting.clear()
            effects += self.link.health.says_nothing()
        for batch in old:
            self.streams.watch(batch)
        effects += self.streams.retire_if_silent(now)
        for batch in hopeless:
            effects += self._give_up_hope(batch)
        if hopeless:  # there is room for what waits
            effects += self.streams.send_waiting(now)
        if self._tries.take(now):
            effects += self.streams.ask([TRY], now)
        return effects
