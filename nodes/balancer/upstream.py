"""Upstream: one resolver as the load balancer sees it, asked with DNS (RFC 1035, RFC 7766).

A question goes out over UDP: its ID is of random bytes that nobody can guess, and so is the port of
the socket, one of a few that are replaced by and by (RFC 5452). A reply counts only when it comes
from the resolver's address to that very socket, which the kernel sees to, with that ID, and repeats
the question; anything else is as if it had not come. One that says that it is cut (TC) is asked for
again over TCP.

Who guesses has to try many IDs, and that shows: after so many replies that match nothing, all
sockets are given up, and the resolver asked over TCP for a while, where nothing can be guessed.

What is lost on the way is sent once more when it is as old as an asking may be. Questions that were
sent together are a *flight*: one time, one socket, and one look at each age.

Not here: which reply is good enough (`nodes/balancer/verdicts.py`), how long it is waited for
(`nodes/balancer/patience.py`), how it stands (`link.py`: for want of a connection it is UP when
there is a socket), and what a reply says (`nodes/dns/reply.py`).
"""

import math
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress, repeat

from core import node
from core.bounds import Bounds, Hits
from core.figures import Figure, Value
from core.frames import frame, split_frames
from core.machine import STAY, Machine, Sign, Table, Watch
from nodes.balancer.link import Link
from nodes.balancer.patience import Patience
from nodes.balancer.race import Finding
from nodes.balancer.verdicts import Denial
from nodes.dns.question import REPLY_BYTES_MAX, wording
from nodes.dns.reply import Reply, Said, read_reply

_ID_BYTES = 2
_FINDING = {
    Said.NOT_FOUND: Finding.NOT_FOUND_SAID,
    Said.NO_DATA: Finding.NO_DATA_SAID,
    Said.REFUSED: Finding.REFUSAL_SAID,
    Said.FAILED: Finding.FAILURE_SAID,
}
_HEADER_BYTES, _TYPE_AND_CLASS_BYTES = 12, 4
_REPLIES_KEPT = 16_384


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

_KNOWN = frozenset({Way.OPEN, Way.RETIRED})  # a guess may find it
UNMATCHED = Figure("unmatched", "Replies that match nothing that it was asked", per="ts")
STREAMED = Figure("streamed", "Questions that it was asked over TCP", per="ts")
RESENT = Figure("resent", "Questions that it was sent once more", per="ts")


Admits = Callable[[Link, list[bytes]], list[bool] | None]


class Flight:
    """Questions that were sent together. `left`: how many have no reply. `cut`: those of them for
    which there is no other way."""

    __slots__ = ("cut", "ids", "is_again", "left", "sent_at", "way")

    def __init__(
        self,
        way: "Socket",
        ids: list[bytes],
        sent_at: float,
        is_again: bool,
        cut: Container[bytes],
    ) -> None:
        self.way = way
        self.ids = ids
        self.left = len(ids)
        self.sent_at = sent_at
        self.is_again = is_again
        self.cut = cut


Asked = tuple[bytes, bytes, Flight]  # a question, what a reply to it repeats, and when


class Socket:
    """One of datagrams, or a stream. `asked` are its questions without a reply, by ID."""

    __slots__ = ("asked", "conn", "has_spoken", "is_stream", "life", "old_at")

    def __init__(self, conn: str, *, is_stream: bool, watch: Watch | None) -> None:
        self.conn = conn
        self.is_stream = is_stream
        self.life = Machine(SOCKET, Way.OPENING, f"socket {conn}", watch)
        self.asked: dict[bytes, Asked] = {}
        self.old_at = math.inf
        self.has_spoken = False


@dataclass(slots=True)
class Heard:
    """What a resolver has said, of questions that somebody wants to know about. `questions` and
    `answers` are parallel."""

    effects: list[node.Effect] = field(default_factory=list)
    questions: list[bytes] = field(default_factory=list)
    answers: list[Reply] = field(default_factory=list)
    denials: list[Denial] = field(default_factory=list)
    late: int = 0  # replies that nobody waited for


class Upstream:
    """One of them; `link` is how it stands. `secret(n)`: n bytes that nobody can guess.

    `is_wanted(question)`: whether a reply would be of interest.
    """

    def __init__(
        self,
        link: Link,
        bounds: Bounds,
        secret: Callable[[int], bytes],
        is_wanted: Callable[[bytes], bool],
        hits: Hits,
        grace_s: float | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.link = link
        self.patience = Patience(bounds, grace_s)
        self._bounds = bounds
        self._secret = secret
        self._is_wanted = is_wanted
        self._hits = hits
        self._watch = watch
        self._sockets: dict[str, Socket] = {}  # all that are not GONE, by the connection's name
        self._open: list[Socket] = []  # of datagrams, to be asked by
        self._old: deque[Socket] = deque()  # of these, those whose successors are on their way
        self._number = 0
        self._stream: Socket | None = None
        self._unsent: dict[bytes, None] = {}  # questions that wait for a socket
        self._waiting: dict[bytes, bool] = {}  # for the stream; whether it is the only way
        self._wary_until = -math.inf
        self._no_stream_until = -math.inf  # one could not be had: no use in being wary
        # Flights by what is looked at next, each in the order of sending: whether it is silent,
        # whether it is lost, whether it is hopeless.
        self._ages: tuple[deque[Flight], ...] = (deque(), deque(), deque())
        longest_s = max(bounds.timeout_s, bounds.dns_timeout_s)  # that anybody waits
        self._ages_s = (bounds.grace_max_s, bounds.join_s, longest_s)
        self._unmatched = 0
        self._guesses = 0  # replies that match nothing, lately
        self._guesses_since = -math.inf
        self._streamed = 0
        self._resent = 0

    def figures(self) -> list[Value]:
        """What is counted about it, beside its link."""
        name = self.link.conn
        return [
            Value(UNMATCHED, self._unmatched, name),
            Value(STREAMED, self._streamed, name),
            Value(RESENT, self._resent, name),
        ]

    # -- sockets -----------------------------------------------------------------------------------

    def dial(self) -> list[node.Effect]:
        """Have sockets. What is open then it will be asked anew."""
        self._unsent.clear()
        return [self._dial_datagrams() for _ in range(self._bounds.upstream_sockets)]

    def _dial_datagrams(self) -> node.Effect:
        self._number += 1
        one = Socket(f"{self.link.conn}.{self._number}", is_stream=False, watch=self._watch)
        self._sockets[one.conn] = one
        return node.DialDatagrams(one.conn, self.link.addresses[0])

    def _dial_stream(self) -> list[node.Effect]:
        if self._stream is not None:
            return []
        self._number += 1
        self._stream = Socket(f"{self.link.conn}.{self._number}", is_stream=True, watch=self._watch)
        self._sockets[self._stream.conn] = self._stream
        return [node.Dial(self._stream.conn, self.link.addresses, framed=True)]

    @property
    def has_sockets(self) -> bool:
        """Whether it can be asked, or there is something to be closed."""
        return bool(self._sockets)

    def opened(self, conn: str, now: float) -> list[node.Effect]:
        """A socket is there."""
        one = self._sockets[conn]
        one.life.fire(Turn.OPENED)
        if one.life.state is Way.CLOSING:
            return [node.Close(one.conn)]
        if one.is_stream:
            waiting, self._waiting = self._waiting, {}
            return self._send_by_stream(one, waiting, now)
        # They are not all to be replaced at once, nor at a time that can be foretold.
        one.old_at = now + self._bounds.upstream_socket_s * (0.5 + self._secret(1)[0] / 256)
        self._open.append(one)
        unsent, self._unsent = self._unsent, {}
        effects = self.ask([question for question in unsent if self._is_wanted(question)], now)
        if self._old:
            old = self._old.popleft()
            self._open.remove(old)
            old.life.fire(Turn.OLD)
            effects += self._close_settled(old)
        return effects

    def _close_settled(self, one: Socket) -> list[node.Effect]:
        if one.asked or one.life.state is not Way.RETIRED:
            return []
        one.life.fire(Turn.SETTLED)
        return [node.Close(one.conn)]

    def closed(self, conn: str, now: float) -> Heard:
        """A socket is gone, or could not be had."""
        heard = Heard()
        one = self._sockets.pop(conn)
        was_to_come = one.life.state is Way.OPENING
        one.life.fire(Turn.LOST)
        self._put_away(one)
        if one is self._stream:
            self._stream = None
            self._stream_lost(one, heard, now)
        elif self._old and was_to_come:  # whose place it was to take goes on for a while
            self._old.popleft().old_at = now + self._bounds.upstream_socket_s
        self._forget(one)
        return heard

    def _put_away(self, one: Socket) -> None:
        for where in (self._open, self._old):
            if one in where:
                where.remove(one)

    def _stream_lost(self, one: Socket, heard: Heard, now: float) -> None:
        """What waits for it, and what it did not reply to, goes another way, if there is one. A
        stream that has spoken was only closed for being idle, perhaps: once more."""
        for question, _, flight in one.asked.values():
            self._waiting[question] = question in flight.cut or self._waiting.get(question, False)
        waiting = {
            question: is_only
            for question, is_only in self._waiting.items()
            if self._is_wanted(question)
        }
        self._waiting = waiting if one.has_spoken else {}
        if one.has_spoken:
            heard.effects += self._dial_stream() if waiting else []
            return
        self._wary_until = -math.inf
        self._no_stream_until = now + self._bounds.away_s
        heard.denials += [
            (question, Finding.FAILURE_SAID, None)
            for question, is_only in waiting.items()
            if is_only
        ]
        others = [question for question, is_only in waiting.items() if not is_only]
        heard.effects += self.ask(others, now)

    def part(self) -> list[node.Effect]:
        """It is not needed any more: close everything."""
        effects: list[node.Effect] = []
        self._waiting.clear()
        self._unsent.clear()
        for one in self._sockets.values():
            self._forget(one)
            if one.life.state is not Way.CLOSING:
                effects += self._give_up(one)
        return effects

    def _give_up(self, one: Socket) -> list[node.Effect]:
        self._put_away(one)
        is_there = one.is_stream or one.life.state is not Way.OPENING
        one.life.fire(Turn.GIVEN_UP)
        return [node.Abort(one.conn) if one.is_stream else node.Close(one.conn)] if is_there else []

    # -- asking ------------------------------------------------------------------------------------

    def ask(
        self, questions: list[bytes], now: float, *, is_again: bool = False
    ) -> list[node.Effect]:
        """Send questions, all by one socket."""
        if not questions:
            return []
        if now < self._wary_until:
            return self._ask_by_stream(dict.fromkeys(questions, False), now)
        if not self._open:  # there will be one in a moment
            self._unsent |= dict.fromkeys(questions)
            return []
        one = self._open[self._secret(1)[0] % len(self._open)]
        effects: list[node.Effect] = []
        if one.old_at <= now:  # it retires when its successor is there
            one.old_at = math.inf
            self._old.append(one)
            effects.append(self._dial_datagrams())
        return effects + self._send(one, questions, now, is_again=is_again)

    def _ask_by_stream(self, questions: dict[bytes, bool], now: float) -> list[node.Effect]:
        one = self._stream
        if one is not None and one.life.state is Way.OPEN:
            return self._send_by_stream(one, questions, now)
        self._waiting |= questions
        return self._dial_stream()

    def _send_by_stream(
        self, one: Socket, questions: dict[bytes, bool], now: float
    ) -> list[node.Effect]:
        cut = frozenset([question for question, is_only in questions.items() if is_only])
        return self._send(one, list(questions), now, cut=cut) if questions else []

    def _send(
        self,
        one: Socket,
        questions: list[bytes],
        now: float,
        *,
        is_again: bool = False,
        cut: Container[bytes] = (),
    ) -> list[node.Effect]:
        asked = one.asked
        room = self._bounds.upstream_asked_max - len(asked)
        if len(questions) > room:
            self._hits["upstream_asked_max"] += 1
            questions = questions[: max(0, room)]
            if not questions:
                return []
        random = self._secret(_ID_BYTES * len(questions))
        ids = [random[at : at + _ID_BYTES] for at in range(0, len(random), _ID_BYTES)]
        flight = Flight(one, ids, now, is_again, cut)
        self._ages[0].append(flight)
        messages = []
        for at, question in enumerate(questions):
            number = ids[at]
            while number in asked:
                number = ids[at] = self._secret(_ID_BYTES)
            words = wording(question)
            asked[number] = (question, words.asked, flight)
            messages.append(number + words.message)
        if one.is_stream:
            self._streamed += len(messages)
            return [node.Send(one.conn, b"".join(map(frame, messages)))]
        return [node.SendTo(one.conn, [(message, None) for message in messages])]

    # -- hearing -----------------------------------------------------------------------------------

    def hear(self, event: node.Event, now: float) -> Heard:
        """Take what came by one of its sockets; see `core/node.py`."""
        match event:
            case node.Datagrams(conn, datagrams):
                return self._hear(conn, [message for message, _ in datagrams], now)
            case node.Lines(conn, frames):
                return self._hear(conn, split_frames(frames), now)
            case node.Opened(conn):
                return Heard(self.opened(conn, now))
            case node.Closed(conn, _):
                return self.closed(conn, now)
            case node.Ended(conn) | node.Backlogged(conn):  # it takes nothing more, or too slowly
                return Heard(self._give_up(self._sockets[conn]))
        raise AssertionError(event)

    def _hear(self, conn: str, messages: list[bytes], now: float) -> Heard:
        heard = Heard()
        one = self._sockets[conn]
        if one.life.state is Way.CLOSING:
            return heard
        asked, is_wanted = one.asked, self._is_wanted
        cut: list[bytes] = []
        flight, count = None, 0
        for message in messages:
            number = message[:_ID_BYTES]
            found = asked.get(number)
            if found is None:
                self._count_unmatched(one, now)
                continue
            question, repeated, its_flight = found
            if is_wanted(question):
                after_id = message[_ID_BYTES:]
                reply = (_read if len(after_id) <= REPLY_BYTES_MAX else read_reply)(after_id)
                if reply is None:
                    self.link.malformed += 1
                    continue
                if reply.asked != repeated:
                    self._count_unmatched(one, now)
                    continue
                if reply.is_cut:
                    if one.is_stream:  # where everything fits
                        self.link.malformed += 1
                        continue
                    cut.append(question)
                elif reply.said is Said.DATA:
                    heard.questions.append(question)
                    heard.answers.append(reply)
                else:
                    heard.denials.append((question, _FINDING[reply.said], reply))
            elif _repeats(message, repeated):  # the rest of it is not worth the while
                heard.late += 1
            else:
                self._count_unmatched(one, now)
                continue
            del asked[number]
            its_flight.left -= 1
            if its_flight is not flight:
                if flight is not None:
                    self.patience.answered(now - flight.sent_at, count, now)
                flight, count = its_flight, 0
            count += 1
        if flight is not None:
            self.patience.answered(now - flight.sent_at, count, now)
            one.has_spoken = True
        if self._guesses >= self._bounds.unmatched_max:
            heard.effects += self._beware(now)
        if cut:
            heard.effects += self._ask_by_stream(dict.fromkeys(cut, True), now)
        if one.life.state is Way.RETIRED:
            heard.effects += self._close_settled(one)
        return heard

    def _count_unmatched(self, one: Socket, now: float) -> None:
        self._unmatched += 1
        if one.is_stream:  # who can put anything there need not guess
            return
        if now - self._guesses_since > self._bounds.upstream_socket_s:
            self._guesses_since, self._guesses = now, 0
        self._guesses += 1

    def _beware(self, now: float) -> list[node.Effect]:
        """Somebody guesses: give up all sockets that he may know, and ask by another way what was
        asked by them."""
        self._hits["unmatched_max"] += 1
        way = "by other sockets"
        if now >= self._no_stream_until:
            self._wary_until = now + self._bounds.wary_s
            way = f"over TCP for {self._bounds.wary_s:g} s"
        text = (
            f"{self.link.conn}: {self._guesses} replies that match nothing, as if guessed; "
            f"it is asked {way}"
        )
        self._guesses = 0
        effects: list[node.Effect] = [node.Report(text, node.Level.WARNING, "guesses")]
        asked: dict[bytes, None] = {}
        missing = self._bounds.upstream_sockets
        for one in list(self._sockets.values()):
            if one.is_stream or one.life.state not in _KNOWN:
                missing -= one.life.state is Way.OPENING and not one.is_stream
                continue
            asked |= dict.fromkeys(question for question, _, _ in one.asked.values())
            self._forget(one)
            effects += self._give_up(one)
        effects += [self._dial_datagrams() for _ in range(missing)]
        return effects + self.ask([one for one in asked if self._is_wanted(one)], now)

    def _forget(self, one: Socket) -> None:
        for _, _, flight in one.asked.values():
            flight.left -= 1
        one.asked.clear()

    # -- time --------------------------------------------------------------------------------------

    def due(self) -> float:
        """When it wants to be woken; infinite for never."""
        due = math.inf
        for age_s, flights in zip(self._ages_s, self._ages, strict=True):
            while flights and not flights[0].left:
                flights.popleft()
            if flights:
                due = min(due, flights[0].sent_at + age_s)
        return due

    def woken(self, now: float, admits: Admits) -> list[node.Effect]:
        """Look at flights that have come of an age. `admits`: see Policy; what another asking of
        the same is about is not sent once more."""
        effects: list[node.Effect] = []
        silent, lost, hopeless = (list(self._come_of_age(at, now)) for at in range(3))
        was_over = self.patience.is_over
        for flight in silent:
            self.patience.waited(flight.sent_at, flight.left)
            self._ages[1].append(flight)
        if self.patience.is_over and not was_over:
            text = f"{self.link.conn} is silent: nobody waits for it until it replies again"
            effects.append(node.Report(text, node.Level.WARNING))
        again: list[bytes] = []
        for flight in lost:
            if not flight.is_again and not self.patience.is_over:
                again += [question for question in self._of(flight) if self._is_wanted(question)]
            self._ages[2].append(flight)
        again = list(compress(again, admits(self.link, again) or repeat(True)))
        self._resent += len(again)
        effects += self.ask(list(dict.fromkeys(again)), now, is_again=True)
        for flight in hopeless:
            asked = flight.way.asked
            for number in flight.ids:
                if number in asked and asked[number][2] is flight:
                    del asked[number]
            flight.left = 0
            effects += self._close_settled(flight.way)
            if flight.way.is_stream and flight.way.life.state is Way.OPEN:  # it is stuck
                effects += self._give_up(flight.way)
        return effects

    def _come_of_age(self, at: int, now: float) -> Iterable[Flight]:
        flights, age_s = self._ages[at], self._ages_s[at]
        while flights and (not flights[0].left or flights[0].sent_at + age_s <= now):
            flight = flights.popleft()
            if flight.left:
                yield flight

    def _of(self, flight: Flight) -> Iterable[bytes]:
        for number in flight.ids:
            found = flight.way.asked.get(number)
            if found is not None and found[2] is flight:
                yield found[0]


def _repeats(message: bytes, asked: bytes) -> bool:
    """Whether a message has this question, in whatever spelling."""
    at, size = _HEADER_BYTES, len(asked) - _TYPE_AND_CLASS_BYTES
    section = message[at : at + len(asked)]
    return section == asked or section[:size].lower() + section[size:] == asked


@lru_cache(maxsize=_REPLIES_KEPT)
def _read(message: bytes) -> Reply | None:
    return read_reply(message)
