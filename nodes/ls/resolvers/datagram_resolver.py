"""Datagram resolver: a DNS resolver that is asked in the clear (RFC 1035, RFC 7766).

A question goes out over UDP, no more in flight than a window lets go; the rest waits. A reply that
is truncated (TC) is asked for again over TCP; a query that is not understood, without EDNS
(`edns_fallback.py`). A question that may be lost is sent again: one of which something worse is
held after a time that doubles (`grace.py`), anything else once, when it is as old as an asking may
be. Questions that went by a socket that broke go by another (`reachability.py`).

When spoofing is suspected, every UDP socket is replaced, and what was asked by them is asked again,
over TCP where there is a stream (`guess_guard.py`). For want of a connection the resolver is UP
when there is a socket.

Not here: what all resolvers have in common (`resolver.py`), and its parts, each in its file.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from core.effects import Close, Effect
from core.environment import Environment
from core.metrics import Value
from nodes.ls.link import Link
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.resolvers.reachability import Reachability
from nodes.ls.resolvers.reply_matcher import QuestionInterest, ResolverReplies
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.resend import Resender
from nodes.ls.resolvers.resolver import RESENT, STREAMED, WAITING, Resolver
from nodes.ls.resolvers.send_queue import SendQueue
from nodes.ls.resolvers.socket_replacement import SocketReplacement
from nodes.ls.resolvers.sockets import KNOWN, ResolverSocket, SentBatch, SocketEvent, SocketState
from nodes.ls.resolvers.stream import StreamFallback
from nodes.ls.resolvers.tries import TRY
from nodes.ls.resolvers.udp_sender import UdpSender


class DatagramResolver(Resolver):
    """A resolver that is asked by datagrams, and over TCP where those do not suffice."""

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
        bounds = env.bounds
        self.redial_s = bounds.probe_s
        self.reachability = Reachability(bounds.probe_s)
        asked = interest.of_link(link)
        self.queue = SendQueue(asked.is_wanted)
        self.stream = StreamFallback(bounds, link, self.sockets, self.in_flight, asked.is_wanted)
        admitted = partial(interest.admitted, link)
        self._sender = UdpSender(self.sockets, self.in_flight, self.queue)
        self._resender = Resender(
            bounds, interest, admitted, self.grace, self.ageing, self.in_flight, self._sender
        )
        self._replacement = SocketReplacement(
            bounds, asked, self.sockets, self.in_flight, self.ageing, self.queue
        )

    def metrics(self) -> list[Value]:
        name = self.link.conn
        return [
            *super().metrics(),
            Value(STREAMED, self.stream.sent, name),
            Value(RESENT, self._sender.resent, name),
            Value(WAITING, self.queue.count, name),
        ]

    @property
    def is_ready(self) -> bool:
        return bool(self.sockets.open) and not self.reachability.is_refused

    @property
    def is_gone(self) -> bool:
        return not self.sockets.by_conn

    def probe_with(self, question: bytes) -> None:
        self.reachability.question = question

    def start_over(self) -> None:
        self.reachability.start_over()

    # -- sockets -----------------------------------------------------------------------------------

    def dial(self) -> list[Effect]:
        self.queue.ready.clear()
        return self.sockets.dial_all()

    def move(self, now: float) -> list[Effect]:
        self.reachability.start_over()
        effects, asked = self._replacement.replace(is_elsewhere=True)
        effects += self.stream.replace()
        open_since = self._replacement.open_since(asked, now)
        if self.grace.is_silent:
            return effects + self.query(list(open_since), now)
        self._replacement.queue_again(open_since, now, now)
        return effects

    def close(self) -> list[Effect]:
        self.stream.waiting.clear()
        self.queue.clear()
        return super().close()

    def _opened(self, socket: ResolverSocket, now: float) -> list[Effect]:
        """Take a socket that is there into use, and send what waits for it."""
        socket.life.fire(SocketEvent.OPENED)
        if socket.life.state is SocketState.CLOSING:
            return [Close(socket.conn)]
        if socket.is_stream:
            self._guard.stream_opened(now)
            return self.stream.send_waiting(now)
        self.sockets.take_into_use(socket, now)
        effects: list[Effect] = []
        if self.reachability.due() <= now:
            effects += self._probe(now)
        effects += self.sockets.retire_replaced()
        return self._sender.send_queued(now) + effects

    def _closed(self, conn: str, why: str, now: float) -> ResolverReplies:
        """Let go of a socket that is gone, has broken, or could not be had."""
        replies = ResolverReplies()
        socket, state = self.sockets.lost(conn)
        if socket.is_stream:
            self._stream_lost(socket, replies, now)
        elif state in KNOWN:
            self._broke(socket, why, replies)
            if not replies.why:
                replies.effects += self.stream.replace_if_stale(now)
        elif state is SocketState.OPENING and self.sockets.no_successor(now):
            replies.why = why
        self.in_flight.forget(socket)
        return replies

    def _broke(self, socket: ResolverSocket, why: str, replies: ResolverReplies) -> None:
        """Ask by new sockets what a broken one was asked, or say why to part from the resolver: see
        `reachability.py`."""
        if asked := list(socket.asked.values()):
            self.reachability.question = asked[-1][0]
        if self.reachability.broke():
            replies.why = why
            self.grace.refused()
            return
        replies.effects, others = self._replacement.replace()
        failed = self._replacement.queue_broken([*asked, *others])
        replies.denials += [(question, QuestionEvent.FAILURE_SAID, None) for question in failed]

    def _stream_lost(self, socket: ResolverSocket, replies: ResolverReplies, now: float) -> None:
        """Ask another way, if there is one, what waits for a stream that is not to be had."""
        effects, unanswered = self.stream.lost(socket)
        replies.effects += effects
        if unanswered is None:
            return
        self._guard.stream_failed(now)
        replies.denials += [
            (question, QuestionEvent.FAILURE_SAID, None)
            for question, is_only in unanswered.items()
            if is_only
        ]
        others = [question for question, is_only in unanswered.items() if not is_only]
        replies.effects += self.query(others, now)

    # -- asking ------------------------------------------------------------------------------------

    def query(self, questions: list[bytes], now: float) -> list[Effect]:
        """Send questions, as many as may be in flight, all by one socket; the rest waits."""
        if not questions:
            return []
        overdue = self.ageing.overdue
        if overdue:
            for question in questions:
                overdue.pop(question, None)
        effects: list[Effect] = []
        if now < self._guard.tcp_until:
            if self.stream.is_open and not self.stream.is_limited:
                return self.stream.ask(dict.fromkeys(questions, False), now)
            effects = self.stream.dial()
        if self.grace.is_silent:
            if not self.grace.take_probe(now):
                return effects
            return effects + self._sender.send(questions[:1], now, now)
        return effects + self._sender.ask(questions, now)

    def _probe(self, now: float) -> list[Effect]:
        """Ask a refused resolver whether it is back."""
        self.reachability.probed(now)
        most = self._bounds.resends_max  # it is not sent again otherwise
        return self._sender.send([self.reachability.question], now, now, tries=most)

    # -- replies -----------------------------------------------------------------------------------

    def _receive(self, conn: str, messages: list[bytes], now: float) -> ResolverReplies:
        replies = ResolverReplies()
        socket = self.sockets.by_conn[conn]
        if socket.life.state is SocketState.CLOSING:
            return replies
        again, is_heard = self._match(socket, messages, replies, now)
        if is_heard and self.reachability.in_doubt and not socket.is_stream:
            replies.is_back = self.reachability.heard() or replies.is_back
        if self._guard.is_alarmed:
            replies.effects += self._spoofing_suspected(now)
        if again.plain:
            replies.effects += self._ask_plain(socket, again.plain, now)
        if again.over_tcp:
            replies.effects += self.stream.ask(dict.fromkeys(again.over_tcp, True), now)
        if socket.is_stream:
            replies.effects += self.stream.replied(now)
        if self.queue.ready:
            replies.effects += self._sender.send_queued(now)
        if socket.life.state is SocketState.RETIRED:
            replies.effects += self.sockets.close_settled(socket)
        return replies

    def _ask_plain(
        self, socket: ResolverSocket, queries: list[tuple[bytes, SentBatch]], now: float
    ) -> list[Effect]:
        """Ask again without EDNS, at once and by the same way, what was not understood."""
        asked = {question: question in batch.tcp_only for question, batch in queries}
        self._edns.misunderstood(asked, now)
        if socket.is_stream:  # it is about to be sent what waits
            self.stream.waiting |= asked
            return []
        asked_at = min(batch.asked_at for _, batch in queries)
        return self._sender.send(list(asked), asked_at, now)

    def _spoofing_suspected(self, now: float) -> list[Effect]:
        """Replace every UDP socket and ask again, over TCP once there is a stream."""
        report, is_stream_needed = self._guard.suspect_spoofing(now, has_stream=self.stream.is_open)
        effects = self.stream.dial() if is_stream_needed else []
        others, asked = self._replacement.replace()
        open_since = self._replacement.open_since(asked, now)
        effects += [report, *others]
        if now < self._guard.tcp_until or self.grace.is_silent:
            return effects + self.query(list(open_since), now)
        self._replacement.queue_again(open_since, self._guard.take_turn(now), now)
        return effects + self._sender.send_queued(now)

    def held(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        return self._resender.resend_held(questions, now)

    # -- time --------------------------------------------------------------------------------------

    def due(self) -> float:
        at = min(self.reachability.due(), self._tries.due()) if self.sockets.open else math.inf
        return min(self.ageing.look(), self.grace.silent_at, self.queue.deferred_until, at)

    def woken(self, now: float) -> list[Effect]:
        """Send again what may be lost, note that it is silent, forget what is hopeless, try it."""
        silent, lost, hopeless = self.ageing.take_aged(now)
        effects: list[Effect] = []
        for batch in silent:
            if not self.reachability.is_refused:
                self.grace.waited(batch.sent_at, batch.left)
        if self.grace.woken(now):
            self.queue.ready.clear()
            effects += self.link.health.says_nothing()
        effects += self._resender.resend_overdue(now)
        again = [question for batch in lost for question in self._resender.lost_in(batch)]
        effects += self._resender.resend(again, 1, now)
        if self.queue.deferred_until <= now:
            effects += self._ask_deferred(now)
        for batch in hopeless:
            effects += self._give_up_hope(batch)
        if self.sockets.open and self.reachability.due() <= now:
            effects += self._probe(now)
        if self.sockets.open and self._tries.take(now):
            effects += self._sender.send([TRY], now, now, tries=self._bounds.resends_max)
        return effects + self._sender.send_queued(now)

    def _ask_deferred(self, now: float) -> list[Effect]:
        """Ask the deferred questions that nobody has asked again meanwhile."""
        questions = [
            question
            for question in self.queue.take_deferred(now)
            if self.ageing.overdue.pop(question, None) is not None
            and self._interest.is_wanted(question)
        ]
        return self.query(self._interest.admitted(self.link, questions), now)

    def _give_up_hope(self, batch: SentBatch) -> list[Effect]:
        """Forget a batch to which no reply will come, and the stream that did not reply."""
        effects = super()._give_up_hope(batch)
        return effects + self.stream.give_up_stuck() if batch.socket.is_stream else effects
