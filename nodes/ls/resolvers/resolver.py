"""Upstream: one resolver as the load balancer sees it, asked with DNS (RFC 1035, RFC 7766).

A question goes out over UDP: its ID is of random bytes that nobody can guess, and so is the port of
the socket, one of a few that are replaced by and by (RFC 5452). A reply counts only when it comes
from the resolver's address to that very socket, which the kernel sees to, with that ID, and repeats
the question (an error need not); anything else is as if it had not come. One that says that it is
cut (TC) is asked for again over TCP, and what is not understood again without EDNS
(`edns_fallback.py`).

No more is in flight than a window (`window.py`); what is beyond it waits here, in the order of
asking, and is skipped when its turn comes and nobody wants it any more. A resolver that is silent
gets no queue, but one question now and then; when it replies, its owner is told
(`ResolverReplies.is_back`).

Who guesses has to try many IDs, and that shows: after so many replies that match nothing, all
sockets are given up, others are asked, and, once a stream is there, that one for a while: nothing
can be guessed on it. A copy of a reply, and one that is late, match something (`sockets.py`).

What may be lost is sent again: what something worse is held of after a time that doubles
(`grace.py`), anything else once, when it is as old as an asking may be. What went by a socket
that broke goes by another (`reachability.py`).

Not here: which reply is good enough (`nodes/ls/negatives.py`), how it stands (`link.py`: for
want of a connection it is UP when there is a socket), and what a reply says
(`nodes/dns/reply.py`).
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress, count, islice, repeat

from core.addresses import DATAGRAM_BYTES_MAX
from core.bounds import BoundHits, Bounds
from core.effects import Abort, Close, Dial, DialDatagrams, Effect, Level, Report, Send, SendTo
from core.events import Backlogged, Closed, Datagrams, Ended, Event, Opened, Received
from core.io.frame_buffer import frame, split_frames
from core.machine import Watch
from core.metrics import Metric, Value
from nodes.dns.codes import HEADER, ID_BYTES, TYPE_AND_CLASS, UDP_BYTES_MAX
from nodes.dns.question import resolver_query, without_opt
from nodes.dns.reply import DnsReply, ReplyResult, is_bare, read_reply
from nodes.dns.wire_names import Malformed, walk_name
from nodes.ls.link import Link
from nodes.ls.negatives import Denial
from nodes.ls.questions import QuestionEvent
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.reachability import Reachability
from nodes.ls.resolvers.sockets import (
    KNOWN,
    ResolverSocket,
    SentBatch,
    SentQuestion,
    SocketEvent,
    SocketState,
)
from nodes.ls.resolvers.window import Window

_FINDING = {
    ReplyResult.NOT_FOUND: QuestionEvent.NOT_FOUND_SAID,
    ReplyResult.NO_DATA: QuestionEvent.NO_DATA_SAID,
    ReplyResult.REFUSED: QuestionEvent.REFUSAL_SAID,
    ReplyResult.FAILED: QuestionEvent.FAILURE_SAID,
}
_HEADER_BYTES, _TYPE_AND_CLASS_BYTES = ID_BYTES + HEADER.size, TYPE_AND_CLASS.size
_REPLIES_KEPT = 16_384
_TURN_S = 0.0005  # what is sent within so long may go by one socket

UNMATCHED = Metric("unmatched", "Replies that match nothing that it was asked", per="ts")
STREAMED = Metric("streamed", "Questions that it was asked over TCP", per="ts")
RESENT = Metric("resent", "Questions that it was sent again", per="ts")
WAITING = Metric("waiting", "Questions that wait to be sent to it", is_level=True, per="ts")


Admits = Callable[[Link, list[bytes]], list[bool] | None]


@dataclass(slots=True)
class QuestionInterest:
    """What a resolver wants to know of questions.

    `is_wanted`: whether a reply would be of interest; `is_held`: whether something worse than data
    is held of it; `was_denied`: whether it was lately told that it has no data.
    """

    is_wanted: Callable[[bytes], bool]
    is_held: Callable[[bytes], bool]
    was_denied: Callable[[bytes], bool]


@dataclass(slots=True)
class ResolverReplies:
    """What a resolver has said, of questions that somebody wants to know about. `questions` and
    `answers` are parallel. `is_back`: it had been silent, or refused. `differs`: it has data, too
    late, of what another denied. `why`: why nothing gets there, if it is to be parted from."""

    effects: list[Effect] = field(default_factory=list)
    questions: list[bytes] = field(default_factory=list)
    answers: list[DnsReply] = field(default_factory=list)
    denials: list[Denial] = field(default_factory=list)
    late: int = 0  # replies that nobody waited for
    is_back: bool = False
    why: str = ""
    differs: bool = False


class Resolver:
    """One resolver: its sockets, what it is asked, and which of its replies count.

    `link` is how it stands. `secret(n)`: n bytes that nobody can guess. `grace_s`: the longest that
    a worse answer waits for it.
    """

    def __init__(
        self,
        link: Link,
        bounds: Bounds,
        secret: Callable[[int], bytes],
        interest: QuestionInterest,
        hits: BoundHits,
        grace_s: float | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.link = link
        self.grace = Grace(bounds, grace_s)
        self.reachability = Reachability(bounds.probe_s)
        self._bounds = bounds
        self._secret = secret
        self._interest = interest
        self._is_wanted = interest.is_wanted
        self._hits = hits
        self._watch = watch
        self._sockets: dict[
            str, ResolverSocket
        ] = {}  # all that are not GONE, by the connection's name
        self._open: list[ResolverSocket] = []  # of datagrams, to be asked by
        self._old: deque[ResolverSocket] = (
            deque()
        )  # of these, those whose successors are on their way
        self._number = 0
        self._chosen: ResolverSocket | None = None  # of those that are open, to send by now
        self._chosen_at = -math.inf

        self._edns = EdnsFallback(link.conn, bounds.plain_s)
        self._window = Window(bounds.upstream_window)
        self._in_flight = 0  # by all sockets of datagrams
        # Questions that wait for the window, or for a socket, with when they were asked.
        self._queue: deque[tuple[float, deque[bytes]]] = deque()
        self._probed_at = -math.inf  # when it was asked last, while silent
        # What was asked by sockets that broke and waits for the window: by how often that was so.
        self._moved: dict[int, list[bytes]] = {}

        self._stream: ResolverSocket | None = None
        self._waiting: dict[bytes, bool] = {}  # for the stream; whether it is the only way
        self._stream_most = math.inf  # how many questions a stream may have without a reply
        self._was_stuck = False  # the stream was given up by us, for what it did not reply to
        self._is_replaced = False  # likewise, since a socket of datagrams broke
        self._replaced_at = -math.inf
        self._wary_until = -math.inf
        self._is_wary_next = False  # once the stream is there
        self._no_stream_until = -math.inf  # one could not be had: no use in being wary

        # Flights by what is looked at next, each in the order of sending: whether it is silent,
        # whether it is lost, whether it is hopeless.
        self._ages: tuple[deque[SentBatch], ...] = (deque(), deque(), deque())
        # Whoever joins an asking waits as long as any other, and costs no question of its own.
        self._ages_s = (bounds.grace_max_s, bounds.join_s, bounds.join_s + bounds.longest_s)
        # Flights by datagrams that are younger than `resend_s`, in the order of sending; those that
        # were sent again have a time of their own, in a heap.
        self._young: deque[SentBatch] = deque()
        self._again: list[tuple[float, int, SentBatch]] = []
        self._resend_s = self.grace.resend_s(-math.inf)  # as it was when something last came
        self._order = count()
        # Questions without a reply for that long, and how often they have been sent again.
        self._overdue: dict[bytes, int] = {}
        # Of these, those whose sockets were given up: when they are asked again in any case.
        self._put_off: deque[tuple[float, list[bytes]]] = deque()
        self._all_anew_at = -math.inf  # when such may be asked again at once

        self._unmatched = 0
        self._guesses = 0  # replies that match nothing, lately
        self._guesses_since = -math.inf
        self._streamed = 0
        self._resent = 0

    def metrics(self) -> list[Value]:
        """What is counted about it, beside its link."""
        name = self.link.conn
        return [
            Value(UNMATCHED, self._unmatched, name),
            Value(STREAMED, self._streamed, name),
            Value(RESENT, self._resent, name),
            Value(WAITING, self._waiting_count(), name),
            self._edns.metric(),
        ]

    def _waiting_count(self) -> int:
        return sum(len(questions) for _, questions in self._queue) + sum(
            map(len, self._moved.values())
        )

    # -- sockets -----------------------------------------------------------------------------------

    def dial(self) -> list[Effect]:
        """Dial its sockets and forget what waits: once there is one, all that is open is asked."""
        self._queue.clear()
        return [self._dial_datagrams() for _ in range(self._bounds.upstream_sockets)]

    def _dial_datagrams(self) -> Effect:
        self._number += 1
        one = self._new_socket(f"{self.link.conn}.{self._number}", is_stream=False)
        return DialDatagrams(one.conn, self.link.addresses[0])

    def _dial_stream(self) -> list[Effect]:
        if self._stream is not None:
            return []
        # Always of this name: the loop keeps a place for each name that was ever dialled.
        self._stream = self._new_socket(f"{self.link.conn}.0", is_stream=True)
        return [Dial(self._stream.conn, self.link.addresses, framed=True)]

    def _new_socket(self, name: str, *, is_stream: bool) -> ResolverSocket:
        most = self._bounds.remembered_max
        one = self._sockets[name] = ResolverSocket(
            name, most, is_stream=is_stream, watch=self._watch
        )
        return one

    @property
    def has_sockets(self) -> bool:
        """Whether it can be asked, or there is something to be closed."""
        return bool(self._sockets)

    def opened(self, conn: str, now: float) -> list[Effect]:
        """Take a socket that is there into use, and send what waits for it."""
        one = self._sockets[conn]
        one.life.fire(SocketEvent.OPENED)
        if one.life.state is SocketState.CLOSING:
            return [Close(one.conn)]
        if one.is_stream:
            if self._is_wary_next:
                self._is_wary_next = False
                self._wary_until = now + self._bounds.wary_s
            return self._send_by_stream(one, now)
        # They are not all to be replaced at once, nor at a time that can be foretold.
        one.old_at = now + self._bounds.upstream_socket_s * (0.5 + self._secret(1)[0] / 256)
        self._open.append(one)
        effects: list[Effect] = []
        if self.reachability.due() <= now:
            effects += self._probe(now)
        if self._old:
            old = self._old.popleft()
            self._open.remove(old)
            old.life.fire(SocketEvent.OLD)
            effects += self._close_settled(old)
        return self._send_queued(now) + effects

    def _close_settled(self, one: ResolverSocket) -> list[Effect]:
        if one.asked or one.life.state is not SocketState.RETIRED:
            return []
        one.life.fire(SocketEvent.SETTLED)
        return [Close(one.conn)]

    def closed(self, conn: str, why: str, now: float) -> ResolverReplies:
        """Let go of a socket that is gone, has broken, or could not be had."""
        heard = ResolverReplies()
        one = self._sockets.pop(conn)
        was = one.life.state
        one.life.fire(SocketEvent.LOST)
        self._put_away(one)
        if one is self._stream:
            self._stream = None
            self._stream_lost(one, heard, now)
        elif was in KNOWN:
            self._broke(one, why, heard)
            if not heard.why:
                heard.effects += self._replace_stream(now)
        elif (
            was is SocketState.OPENING and self._old
        ):  # whose place it was to take goes on for a while
            self._old.popleft().old_at = now + self._bounds.upstream_socket_s
        elif was is SocketState.OPENING and not self._has_way():
            heard.why = why
        self._forget(one)
        return heard

    def _has_way(self) -> bool:
        ways = (SocketState.OPENING, SocketState.OPEN)
        return any(not one.is_stream and one.life.state in ways for one in self._sockets.values())

    def _broke(self, one: ResolverSocket, why: str, heard: ResolverReplies) -> None:
        """Nothing gets to the resolver by this socket: see `reachability.py`."""
        asked = list(one.asked.values())
        if asked:
            self.reachability.question = asked[-1][0]
        if self.reachability.broke():
            heard.why = why
            self.grace.refused()
            return
        heard.effects, others = self._replace_sockets()
        moves: dict[bytes, int] = {}
        for question, _, flight in [*asked, *others]:
            if self._is_wanted(question):
                moves[question] = max(flight.moves + 1, moves.get(question, 0))
        for question, times in moves.items():
            if times <= self._bounds.resends_max:
                self._moved.setdefault(times, []).append(question)
            else:  # of all that it is asked, this is what is refused
                heard.denials.append((question, QuestionEvent.FAILURE_SAID, None))

    def _replace_sockets(self) -> tuple[list[Effect], list[SentQuestion]]:
        """Give up all sockets of datagrams and dial others; return what has no reply, too."""
        effects: list[Effect] = []
        asked: list[SentQuestion] = []
        missing = self._bounds.upstream_sockets
        for one in list(self._sockets.values()):
            if one.is_stream or one.life.state not in KNOWN:
                missing -= one.life.state is SocketState.OPENING and not one.is_stream
                continue
            asked += one.asked.values()
            self._forget(one)
            effects += self._give_up(one)
        return effects + [self._dial_datagrams() for _ in range(missing)], asked

    def _replace_stream(self, now: float) -> list[Effect]:
        """Give up the stream, since our address may be gone: it would not say so. What it has not
        replied to goes by the next one. Errors that come again and again are not to keep a stream
        from its replies."""
        one = self._stream
        if one is None or one.life.state is SocketState.CLOSING:
            return []
        if now < self._replaced_at + self._bounds.join_s:
            return []
        self._replaced_at = now
        self._is_replaced = True
        return self._give_up(one)

    def _probe(self, now: float) -> list[Effect]:
        """Ask one that is refused whether it is back."""
        self.reachability.probed(now)
        most = self._bounds.resends_max  # it is not sent again otherwise
        return self._send_by_datagrams([self.reachability.question], now, now, most)

    def _put_away(self, one: ResolverSocket) -> None:
        for where in (self._open, self._old):
            if one in where:
                where.remove(one)

    def part(self) -> list[Effect]:
        """Close everything: the resolver is not needed any more."""
        effects: list[Effect] = []
        self._waiting.clear()
        self._queue.clear()
        self._put_off.clear()
        self._overdue.clear()
        self._moved.clear()
        for one in self._sockets.values():
            self._forget(one)
            if one.life.state is not SocketState.CLOSING:
                effects += self._give_up(one)
        return effects

    def _give_up(self, one: ResolverSocket) -> list[Effect]:
        self._put_away(one)
        is_there = one.is_stream or one.life.state is not SocketState.OPENING
        one.life.fire(SocketEvent.GIVEN_UP)
        return [Abort(one.conn) if one.is_stream else Close(one.conn)] if is_there else []

    def _forget(self, one: ResolverSocket) -> None:
        for question, _, flight in one.asked.values():
            flight.left -= 1
            self._overdue.pop(question, None)
        one.forget()
        if not one.is_stream:
            self._in_flight -= one.sent - one.passed
            one.passed = one.sent

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, questions: list[bytes], now: float) -> list[Effect]:
        """Send questions, as many as may be in flight, all by one socket; the rest waits."""
        if not questions:
            return []
        if self._overdue:
            for question in questions:
                self._overdue.pop(question, None)
        if now < self._wary_until:
            stream = self._stream
            is_free = self._stream_most == math.inf  # else it may wait for one that never replies
            if stream is not None and stream.life.state is SocketState.OPEN and is_free:
                self._waiting |= dict.fromkeys(questions, False)
                return self._send_by_stream(stream, now)
            return self._dial_stream() + self._ask_by_datagrams(questions, now)
        return self._ask_by_datagrams(questions, now)

    def _ask_by_datagrams(self, questions: list[bytes], now: float) -> list[Effect]:
        if self.grace.is_silent:
            if now < self._probed_at + self._bounds.probe_s:
                return []
            self._probed_at = now
            questions = questions[:1]
        elif self._is_queueing or len(questions) > self._room(now) or not self._open:
            self._queue.append((now, deque(questions)))
            return self._send_queued(now)
        return self._send_by_datagrams(questions, now, now)

    def _room(self, now: float) -> int:
        return self._window.size(now) - self._in_flight

    @property
    def _is_queueing(self) -> bool:
        """Whether questions wait for the window, or for a socket."""
        return bool(self._queue or self._moved)

    def _send_queued(self, now: float) -> list[Effect]:
        """Send what waits and is still wanted, as far as the window lets it."""
        effects = self._send_moved(now) if self._moved else []
        queue, is_wanted = self._queue, self._is_wanted
        room = self._room(now) if queue and self._open else 0
        asked_at = queue[0][0] if queue else now
        questions: list[bytes] = []
        while queue and len(questions) < room:
            waiting = queue[0][1]
            while waiting and len(questions) < room:
                question = waiting.popleft()
                if is_wanted(question):
                    questions.append(question)
            if not waiting:
                queue.popleft()
            if not questions and queue:
                asked_at = queue[0][0]
        return effects + (self._send_by_datagrams(questions, asked_at, now) if questions else [])

    def _send_moved(self, now: float) -> list[Effect]:
        """The same of what was asked by sockets that broke."""
        effects: list[Effect] = []
        while self._moved and self._open and (room := self._room(now)) > 0:
            moves, moved = self._moved.popitem()
            moved = list(filter(self._is_wanted, moved))
            if len(moved) > room:
                self._moved[moves] = moved[room:]
            if some := moved[:room]:
                self._resent += len(some)
                effects += self._send_by_datagrams(some, now, now, moves=moves)
        return effects

    def _send_by_datagrams(
        self,
        questions: list[bytes],
        asked_at: float,
        now: float,
        tries: int = 0,
        *,
        moves: int = 0,
    ) -> list[Effect]:
        """Send questions, the first of which was asked at that time, by a socket that is open."""
        if not self._open:  # there will be one in a moment
            self._queue.appendleft((asked_at, deque(questions)))
            return []
        one = self._choose_socket(now)
        effects: list[Effect] = []
        if one.old_at <= now:  # it retires when its successor is there
            one.old_at = math.inf
            self._old.append(one)
            effects.append(self._dial_datagrams())
        flight, messages = self._make(one, questions, now, asked_at=asked_at, tries=tries)
        if flight is None:
            return effects
        flight.moves = moves
        one.remember(flight)
        one.sent += len(messages)
        self._in_flight += len(messages)
        if tries:
            due = now + self._resend_s * 2**tries
            heapq.heappush(self._again, (due, next(self._order), flight))
        else:
            self._young.append(flight)
        return [*effects, SendTo(one.conn, [(message, None) for message in messages])]

    def _choose_socket(self, now: float) -> ResolverSocket:
        """Choose by chance, but once a turn: what goes by one socket goes with one call."""
        chosen = self._chosen
        if (
            chosen is None
            or now - self._chosen_at >= _TURN_S
            or chosen.life.state is not SocketState.OPEN
        ):
            chosen = self._chosen = self._open[self._secret(1)[0] % len(self._open)]
            self._chosen_at = now
        return chosen

    def _make(
        self,
        one: ResolverSocket,
        questions: list[bytes],
        now: float,
        *,
        asked_at: float,
        tries: int = 0,
        cut: Container[bytes] = (),
    ) -> tuple[SentBatch | None, list[bytes]]:
        """Make the messages that ask these by this socket, and their flight: None without room."""
        asked = one.asked
        room = self._bounds.upstream_asked_max - len(asked)
        if len(questions) > room:
            self._hits["upstream_asked_max"] += 1
            questions = questions[: max(0, room)]
            if not questions:
                return None, []
        random = self._secret(ID_BYTES * len(questions))
        was_calm = self._window.is_calm(self._in_flight)
        plain = () if self._edns.is_at_rest else self._edns.plain(questions, now)
        flight = SentBatch(
            one, questions, random, now, asked_at=asked_at, tries=tries, was_calm=was_calm, cut=cut,
            plain=plain,
        )  # fmt: skip
        self._ages[0].append(flight)
        ids = flight.numbers()
        messages = []
        for at, question in enumerate(questions):
            number = ids[at]
            while number in asked:
                number = ids[at] = self._secret(ID_BYTES)
                flight.ids = b"".join(ids)
            words = resolver_query(question)
            asked[number] = (question, words.section, flight)
            messages.append(number + words.message)
        if plain:
            messages = [
                without_opt(message) if question in plain else message
                for question, message in zip(questions, messages, strict=True)
            ]
        return flight, messages

    # -- the stream --------------------------------------------------------------------------------

    def _ask_by_stream(self, questions: dict[bytes, bool], now: float) -> list[Effect]:
        self._waiting |= questions
        one = self._stream
        if one is not None and one.life.state is SocketState.OPEN:
            return self._send_by_stream(one, now)
        return self._dial_stream()

    def _send_by_stream(self, one: ResolverSocket, now: float) -> list[Effect]:
        """Send what waits for the stream, or, where one was closed, as much as it may have."""
        if not self._waiting or (one.asked and self._stream_most < math.inf):
            return []
        if len(self._waiting) <= self._stream_most:
            waiting, self._waiting = self._waiting, {}
        else:
            first = list(islice(self._waiting, int(self._stream_most)))
            waiting = {question: self._waiting.pop(question) for question in first}
        cut = frozenset([question for question, is_only in waiting.items() if is_only])
        _, messages = self._make(one, list(waiting), now, asked_at=now, cut=cut)
        self._streamed += len(messages)
        return [Send(one.conn, b"".join(map(frame, messages)))] if messages else []

    def _stream_lost(self, one: ResolverSocket, heard: ResolverReplies, now: float) -> None:
        """What waits for it, and what it did not reply to, goes another way, if there is one.

        One that replied to some and was closed is dialled again at once, and may then have twice as
        many without a reply as this one replied to: a resolver may close after each reply
        (RFC 7766, section 6.2.4). So may one that had several questions and replied to none, once,
        with one question.
        """
        unanswered = {
            question: question in flight.cut for question, _, flight in one.asked.values()
        }
        waiting = {
            question: is_only
            for question, is_only in (unanswered | self._waiting).items()
            if self._is_wanted(question)
        }
        self._waiting = {}
        is_replaced, self._is_replaced = self._is_replaced, False
        if is_replaced or one.replies or len(unanswered) > 1:
            if unanswered and not self._was_stuck and not is_replaced:
                self._stream_most = max(1, 2 * one.replies)
            self._was_stuck = False
            if waiting:
                self._waiting = waiting
                heard.effects += self._dial_stream()
            return
        self._stream_most = math.inf
        self._is_wary_next = False
        self._wary_until = -math.inf
        self._no_stream_until = now + self._bounds.away_s
        heard.denials += [
            (question, QuestionEvent.FAILURE_SAID, None)
            for question, is_only in waiting.items()
            if is_only
        ]
        others = [question for question, is_only in waiting.items() if not is_only]
        heard.effects += self.ask(others, now)

    # -- hearing -----------------------------------------------------------------------------------

    def hear(self, event: Event, now: float) -> ResolverReplies:
        """Take what came by one of its sockets; see `core/brain.py`."""
        match event:
            case Datagrams(conn, datagrams):
                return self._hear(conn, [message for message, _ in datagrams], now)
            case Received(conn, frames):
                return self._hear(conn, split_frames(frames), now)
            case Opened(conn):
                return ResolverReplies(self.opened(conn, now))
            case Closed(conn, why):
                return self.closed(conn, why, now)
            case Ended(conn) | Backlogged(conn):  # it takes nothing more, or too slowly
                return ResolverReplies(self._give_up(self._sockets[conn]))
        raise AssertionError(event)

    def _hear(self, conn: str, messages: list[bytes], now: float) -> ResolverReplies:
        heard = ResolverReplies()
        one = self._sockets[conn]
        if one.life.state is SocketState.CLOSING:
            return heard
        asked, is_wanted, overdue = one.asked, self._is_wanted, self._overdue
        before = len(asked)
        is_at_rest = self._edns.is_at_rest
        cut: list[bytes] = []
        misunderstood: list[tuple[bytes, SentBatch]] = []
        flight: SentBatch | None = None
        replies = 0
        for message in messages:
            number = message[:ID_BYTES]
            found = asked.get(number)
            if found is None:
                self._judge_unmatched(one, message, heard, now)
                continue
            question, repeated, its_flight = found
            if is_wanted(question):
                after_id = message[ID_BYTES:]
                if len(after_id) <= UDP_BYTES_MAX:
                    reply = _read(after_id)
                else:
                    is_whole = one.is_stream or len(message) < DATAGRAM_BYTES_MAX
                    reply = read_reply(after_id, is_whole=is_whole)
                if reply is None:
                    self.link.malformed += 1
                    continue
                if reply.section != repeated and reply.section:
                    self._judge_unmatched(one, message, heard, now)
                    continue
                if reply.is_cut:
                    if one.is_stream:  # where everything fits
                        heard.denials.append((question, QuestionEvent.FAILURE_SAID, None))
                    else:
                        cut.append(question)
                elif reply.result is ReplyResult.DATA:
                    heard.questions.append(question)
                    heard.answers.append(reply)
                elif reply.result is not ReplyResult.MISUNDERSTOOD:
                    heard.denials.append((question, _FINDING[reply.result], reply))
                elif question in its_flight.plain:  # to tell it would say that we do not know EDNS
                    heard.denials.append((question, QuestionEvent.FAILURE_SAID, None))
                else:
                    misunderstood.append((question, its_flight))
                if (
                    not is_at_rest
                    and reply.result is not ReplyResult.MISUNDERSTOOD
                    and question in its_flight.plain
                ):
                    heard.effects += self._edns.understood(question, now)
            elif _repeats(message, repeated) or is_bare(message[ID_BYTES:]):
                heard.late += 1
                if self._interest.was_denied(question) and _has_data(message):
                    heard.differs = True
            else:
                self._judge_unmatched(one, message, heard, now)
                continue
            del asked[number]
            if overdue:
                overdue.pop(question, None)
            its_flight.left -= 1
            if its_flight is not flight:
                if flight is not None:
                    self._learn(flight, replies, now)
                flight, replies = its_flight, 0
            replies += 1
        if flight is not None:
            self._learn(flight, replies, now)
            one.replies += before - len(asked)
            self._resend_s = self.grace.resend_s(now)
        if flight is not None or heard.late:
            heard.is_back = self.grace.heard(now)
            if self.reachability.in_doubt and not one.is_stream:
                heard.is_back = self.reachability.heard() or heard.is_back
        if self._guesses >= self._bounds.unmatched_max:
            heard.effects += self._spoofing_suspected(now)
        if misunderstood:
            heard.effects += self._ask_plain(one, misunderstood, now)
        if cut:
            heard.effects += self._ask_by_stream(dict.fromkeys(cut, True), now)
        if one.is_stream:
            heard.effects += self._widen_stream(one, now)
        if self._is_queueing:
            heard.effects += self._send_queued(now)
        if one.life.state is SocketState.RETIRED:
            heard.effects += self._close_settled(one)
        return heard

    def _ask_plain(
        self, one: ResolverSocket, misunderstood: list[tuple[bytes, SentBatch]], now: float
    ) -> list[Effect]:
        """Ask these again, at once and the same way, without EDNS."""
        asked = {question: question in flight.cut for question, flight in misunderstood}
        self._edns.misunderstood(asked, now)
        if one.is_stream:  # it is about to be sent what waits
            self._waiting |= asked
            return []
        asked_at = min(flight.asked_at for _, flight in misunderstood)
        return self._send_by_datagrams(list(asked), asked_at, now)

    def _learn(self, flight: SentBatch, replies: int, now: float) -> None:
        """So many replies to questions of one flight have come."""
        self.grace.replied(now - flight.asked_at, replies)
        one = flight.way
        if one.is_stream:
            return
        self._in_flight -= one.pass_by(flight, flight.size - flight.left)
        self._window.replied(replies, now - flight.sent_at, now, was_calm=flight.was_calm)

    def _widen_stream(self, one: ResolverSocket, now: float) -> list[Effect]:
        """Let a stream that has replied to all that it had have twice as much from now on."""
        if not one.asked and self._stream_most < math.inf:
            self._stream_most *= 2
        return self._send_by_stream(one, now) if one.life.state is SocketState.OPEN else []

    def _judge_unmatched(
        self, one: ResolverSocket, message: bytes, heard: ResolverReplies, now: float
    ) -> None:
        """Count a message that matches nothing as a guess, unless it is late, or a copy."""
        if one.is_stream:  # who can put anything there need not guess
            self._unmatched += 1
            return
        pair = message[:ID_BYTES] + _question_section(message)
        if (len(pair) > ID_BYTES or is_bare(message[ID_BYTES:])) and one.was_asked(pair):
            heard.late += 1
            return
        self._unmatched += 1
        if now - self._guesses_since > self._bounds.upstream_socket_s:
            self._guesses_since, self._guesses = now, 0
        self._guesses += 1

    def _spoofing_suspected(self, now: float) -> list[Effect]:
        """Give up all sockets that somebody may have guessed, ask by others what was asked by them,
        and over TCP once there is a stream."""
        self._hits["unmatched_max"] += 1
        way = "by other sockets"
        effects: list[Effect] = []
        if now >= self._no_stream_until:
            way = f"over TCP for {self._bounds.wary_s:g} s"
            stream = self._stream
            if stream is not None and stream.life.state is SocketState.OPEN:
                self._wary_until = now + self._bounds.wary_s
            else:
                self._is_wary_next = True
                effects += self._dial_stream()
        text = (
            f"{self.link.conn}: {self._guesses} replies that match nothing: late after a freeze, "
            f"or forged; it is asked {way}"
        )
        self._guesses = 0
        effects.append(Report(text, Level.WARNING, "guesses"))
        others, asked = self._replace_sockets()
        return [*effects, *others, *self._ask_anew(asked, now)]

    def _ask_anew(self, asked: list[SentQuestion], now: float) -> list[Effect]:
        """Ask again what was asked by sockets that are given up, all of it once in `join_s`.

        In between only what may have its reply on the way, or is held. The rest would take the room
        of questions that do get replies, as often as somebody guesses: it is put off, and asked
        then, or as soon as something worse is held of it.
        """
        open_since: dict[bytes, float] = {}
        for question, _, flight in asked:
            open_since[question] = min(flight.asked_at, open_since.get(question, now))
        wanted = [question for question in open_since if self._is_wanted(question)]
        if now < self._wary_until or self.grace.is_silent:
            return self.ask(wanted, now)
        takes_all = now >= self._all_anew_at
        if takes_all:
            self._all_anew_at = now + self._bounds.join_s
        by_time: dict[float, list[bytes]] = {}
        late: list[bytes] = []
        for question in wanted:
            since = open_since[question]
            is_young = since + self._resend_s > now
            if takes_all or is_young or self._interest.is_held(question):
                by_time.setdefault(since, []).append(question)
            else:
                late.append(question)
        for since in sorted(by_time, reverse=True):
            self._queue.appendleft((since, deque(by_time[since])))
        if late:
            self._overdue |= dict.fromkeys(late, 0)
            self._put_off.append((self._all_anew_at, late))
        return self._send_queued(now)

    # -- time --------------------------------------------------------------------------------------

    def due(self) -> float:
        """When it wants to be woken; infinite for never."""
        due = self.grace.due()
        if self.reachability.is_refused and self._open:
            due = min(due, self.reachability.due())
        for age_s, flights in zip(self._ages_s, self._ages, strict=True):
            while flights and not flights[0].left:
                flights.popleft()
            if flights:
                due = min(due, flights[0].sent_at + age_s)
        young = self._young
        while young and not young[0].left:
            young.popleft()
        if young:
            due = min(due, young[0].sent_at + self._resend_s)
        while self._again and not self._again[0][2].left:
            heapq.heappop(self._again)
        if self._again:
            due = min(due, self._again[0][0])
        if self._put_off:
            due = min(due, self._put_off[0][0])
        return due

    def woken(self, now: float, admits: Admits) -> list[Effect]:
        """Look at flights that have come of an age. `admits`: see Policy; what this resolver is not
        asked any more is not sent once more."""
        silent, lost, hopeless = (list(self._come_of_age(at, now)) for at in range(3))
        effects: list[Effect] = []
        for flight in silent:
            if not self.reachability.is_refused:
                self.grace.waited(flight.sent_at, flight.left)
            self._ages[1].append(flight)
        if self.grace.woken(now):
            self._queue.clear()
            self._moved.clear()
            text = f"{self.link.conn} is silent: nobody waits for it until it replies again"
            effects.append(Report(text, Level.WARNING))
        effects += self._resend_held(now)
        again: list[bytes] = []
        for flight in lost:
            again += self._lost(flight)
            self._ages[2].append(flight)
        admitted = admits(self.link, again) or repeat(True)
        effects += self._send_again(list(compress(again, admitted)), 1, now)
        put_off: list[bytes] = []
        while self._put_off and self._put_off[0][0] <= now:
            put_off += self._put_off.popleft()[1]
        if put_off:
            effects += self._ask_put_off(put_off, admits, now)
        for flight in hopeless:
            effects += self._give_up_hope(flight)
        if self._open and self.reachability.due() <= now:
            effects += self._probe(now)
        if self._is_queueing:
            effects += self._send_queued(now)
        return effects

    def _ask_put_off(self, questions: list[bytes], admits: Admits, now: float) -> list[Effect]:
        """Ask those of these that nobody has asked again meanwhile."""
        questions = [
            question
            for question in questions
            if self._overdue.pop(question, None) is not None and self._is_wanted(question)
        ]
        admitted = admits(self.link, questions) or repeat(True)
        return self.ask(list(compress(questions, admitted)), now)

    def _come_of_age(self, at: int, now: float) -> Iterable[SentBatch]:
        flights, age_s = self._ages[at], self._ages_s[at]
        while flights and (not flights[0].left or flights[0].sent_at + age_s <= now):
            flight = flights.popleft()
            if flight.left:
                yield flight

    def _unanswered(self, flight: SentBatch) -> Iterable[bytes]:
        """Those of its questions that have no reply, and want one."""
        for number in flight.numbers():
            found = flight.way.asked.get(number)
            if found is not None and found[2] is flight and self._is_wanted(found[0]):
                yield found[0]

    def _lost(self, flight: SentBatch) -> list[bytes]:
        """Those of its questions to send once more: none that was, or that needs the stream."""
        if flight.tries:
            return []
        questions = self._unanswered(flight)
        if flight.way.is_stream:
            return [question for question in questions if question not in flight.cut]
        return [question for question in questions if self._overdue.get(question) == 0]

    def _give_up_hope(self, flight: SentBatch) -> list[Effect]:
        """Forget a flight to which no reply will come, and the stream that did not reply."""
        one = flight.way
        for number in flight.numbers():
            found = one.asked.get(number)
            if found is not None and found[2] is flight:
                del one.asked[number]
                self._overdue.pop(found[0], None)
        flight.left = 0
        effects = self._close_settled(one)
        if one.is_stream and one.life.state is SocketState.OPEN:  # it is stuck
            self._was_stuck = True
            effects += self._give_up(one)
        return effects

    # -- sending again -----------------------------------------------------------------------------

    def _resend_held(self, now: float) -> list[Effect]:
        """Take flights that may be lost out of the window; send again what of them is held."""
        overdue: list[SentBatch] = []
        young = self._young
        while young and (not young[0].left or young[0].sent_at + self._resend_s <= now):
            flight = young.popleft()
            if flight.left:
                overdue.append(flight)
        while self._again and self._again[0][0] <= now:
            flight = heapq.heappop(self._again)[2]
            if flight.left:
                overdue.append(flight)
        effects: list[Effect] = []
        for flight in overdue:
            if flight.way.life.state in KNOWN:
                self._in_flight -= flight.way.pass_by(flight, flight.size)
            questions = list(self._unanswered(flight))
            self._overdue |= dict.fromkeys(questions, flight.tries)
            effects += self.held(questions, now)
        return effects

    def held(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        """Send again those of them of which something worse is held and that may be lost."""
        overdue = self._overdue
        if not overdue:
            return []
        by_tries: dict[int, list[bytes]] = {}
        for question in questions:
            tries = overdue.get(question, self._bounds.resends_max)
            if tries < self._bounds.resends_max and self._interest.is_held(question):
                by_tries.setdefault(tries + 1, []).append(question)
        effects: list[Effect] = []
        for tries, some in by_tries.items():
            effects += self._send_again(some, tries, now)
        return effects

    def _send_again(self, questions: list[bytes], tries: int, now: float) -> list[Effect]:
        """Send these at once, whatever is in flight: they are few, and somebody waits for them."""
        if not questions or self.grace.is_silent or not self._open:
            return []
        questions = list(dict.fromkeys(questions))
        for question in questions:
            self._overdue.pop(question, None)
        self._resent += len(questions)
        return self._send_by_datagrams(questions, now, now, tries)


def _question_section(message: bytes) -> bytes:
    """The question section of a message, in lower case; empty where there is none."""
    try:
        end = walk_name(message[ID_BYTES:], HEADER.size)[0] + ID_BYTES
    except Malformed:
        return b""
    return message[_HEADER_BYTES:end].lower() + message[end : end + _TYPE_AND_CLASS_BYTES]


def _repeats(message: bytes, asked: bytes) -> bool:
    """Whether a message has this question, in whatever spelling."""
    at, size = _HEADER_BYTES, len(asked) - _TYPE_AND_CLASS_BYTES
    section = message[at : at + len(asked)]
    return section == asked or section[:size].lower() + section[size:] == asked


def _has_data(message: bytes) -> bool:
    reply = read_reply(message[ID_BYTES:])
    return reply is not None and reply.result is ReplyResult.DATA


@lru_cache(maxsize=_REPLIES_KEPT)
def _read(message: bytes) -> DnsReply | None:
    return read_reply(message)
