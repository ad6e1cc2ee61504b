"""A resolver against an obvious model: a network that loses, breaks, refuses and guesses.

The model plays the network (dials that are answered or fail, sockets that break, replies in any
order, guesses, a stream that ends) and the owner of a `ResolverLink`. It keeps every query for
ever, in a list, and works out each time what `in_flight.py`, `ageing.py` and `socket_pool.py` count
as they go: what may still lie in the resolver's socket, which query is overdue, which socket is too
old. It believes `window.py` about the size of a window and `grace.py` about usual times, which have
tests of their own; all else it knows from proto.md. Times are multiples of 1/64 s.

At the end the network is well, everything gets a reply, and nothing may be left.

Not here: which reply is good enough (`tests/nodes/test_negatives.py`), EDNS
(`tests/nodes/test_edns_fallback.py`), and whole stories (`tests/nodes/test_guess_guard.py`,
`tests/nodes/test_stream.py`).
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Abort, Close, Dial, Effect, Send
from core.environment import Environment
from core.events import Closed, ConnectionEvent, Ended, Opened, Received
from core.io.frame_buffer import frame, split_frames
from core.operator import Report
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.resolvers.tries import TRY
from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import Chance

BOUNDS = replace(
    Bounds(),
    upstream_window=6,
    upstream_sockets=2,
    upstream_socket_s=1.0,
    timeout_s=0.5,
    dns_timeout_s=0.5,
    silent_questions=4,
    resend_min_s=4 / 64,
    grace_max_s=26 / 64,
    probe_s=8 / 64,
    remembered_max=1_000,
    unmatched_max=3,
    wary_s=0.5,
    away_s=0.5,
)
FORGOTTEN_S = BOUNDS.longest_s + BOUNDS.join_s
STREAM = "DNS1.0"
PICK = st.integers(0, 1_000)
SAID = ["10.0.0.1", "10.0.0.1", "REFUSED", "NXDOMAIN", "TC"]
OTHER = b"\1\0\0\1" + bytes(6) + b"\5other\0\0\1\0\1"  # a query that is never sent, without its ID
GONE = LinkState.DOWN, LinkState.CLOSING


@dataclass(eq=False)
class Socket:
    """A UDP socket or stream of LS's that is there."""

    opened_at: float
    renew_from: float = math.inf  # when it may be replaced, and when it has to be
    renew_by: float = math.inf
    is_old: bool = False  # its successor is there
    replies: int = 0


@dataclass(eq=False)
class Sending:
    """A query that went out. `batch`: what was sent together with it has the same."""

    conn: str
    query: bytes
    question: bytes
    at: float
    batch: int
    since: float  # when the first of its batch was asked, or before
    tries: int = 0
    moves: int = 0
    overdue_at: float = math.inf  # of what was sent again
    is_replied: bool = False
    is_overdue: bool = False
    is_aged: bool = False  # it counts as silence, if any
    is_forgotten: bool = False  # too old, or its socket was given up
    is_cut: bool = False  # it has no other way than the stream

    @property
    def is_alive(self) -> bool:
        return not self.is_replied and not self.is_forgotten

    @property
    def pair(self) -> tuple[str, bytes]:
        return self.conn, self.query[:2]


@dataclass(eq=False)
class Guard:
    """Guesses as the model knows them, and the stream that they lead to."""

    unmatched: int = 0
    guesses: int = 0  # lately
    since: float = -math.inf
    alarms: int = 0
    tcp_until: float = -math.inf
    is_tcp_next: bool = False
    no_stream_until: float = -math.inf

    def is_alarmed(self, count: int, now: float) -> bool:
        """[P36]"""
        self.unmatched += count
        if now - self.since > BOUNDS.upstream_socket_s:
            self.since, self.guesses = now, 0
        self.guesses += count
        if self.guesses < BOUNDS.unmatched_max:
            return False
        self.guesses = 0
        self.alarms += 1
        return True


@dataclass(eq=False)
class Heard:
    """Replies that the last event brought."""

    answers: list[bytes] = field(default_factory=list)
    denials: list[bytes] = field(default_factory=list)
    late: int = 0
    change: LinkChange | None = None


class FewIds(Chance):
    """Bytes that make IDs of which there are few, so that they come again; but each sixteenth time
    any ID, or a stream with 64 questions would have none left, and look for one for ever."""

    calls = 0

    def __call__(self, size: int) -> bytes:
        drawn = super().__call__(size)
        self.calls += 1
        is_any = size == 1 or self.calls % 16 == 0
        return drawn if is_any else bytes(one & 7 for one in drawn)


class ResolverMachine(RuleBasedStateMachine):
    """Questions are asked, held and settled; the network does what it likes; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 64.0
        self.wanted: dict[bytes, None] = {}
        self.held: set[bytes] = set()
        self.asked: dict[bytes, None] = {}  # of it, and it owes a reply, as far as it has a way
        self.asked_at: dict[bytes, float] = {}
        self.waiting: list[bytes] = []  # those of them that are new and not sent, in order
        self.moves: dict[bytes, int] = {}  # to be sent again: how often their sockets broke
        self.sendings: list[Sending] = []
        self.live: list[Sending] = []  # those of them whose replies still count, and some more
        self.sockets: dict[str, Socket] = {}
        self.dials: list[str] = []
        self.replaced: list[str] = []  # sockets whose successors are being dialled
        self.closing: list[str] = []
        self.stale: set[str] = set()  # of the dials, those to where it was before it moved
        self.urgent: set[bytes] = set()  # those of them that go before new ones
        self.doubled: set[bytes] = set()  # asked once more while they waited
        self.deferred: dict[bytes, float] = {}
        self.all_again_at = -math.inf  # when guesses may have all asked again
        self.overdue: dict[bytes, list[int]] = {}  # how often each had been sent again
        self.numbers: Counter[str] = Counter()  # of names asked
        self.batch = 0
        self.heard_at = -math.inf
        self.silence: list[float] = []  # when questions without a reply were sent
        self.is_silent = False
        self.probed_at = -math.inf
        self.in_doubt = False
        self.guard = Guard()
        self.tried_at = -math.inf  # when it was asked TRY last
        self.stream_replaced_at = -math.inf
        self.is_stream_replaced = False
        self.resends = False  # it may send again now
        self.cuts: set[bytes] = set()  # whose replies by UDP were cut
        self.left: list[Sending] = []  # on the stream that is gone
        self.left_cut: set[bytes] = set()
        self.left_replies = 0
        self.reports: list[str] = []
        self.hits = BoundHits()
        env = Environment(BOUNDS, self.hits, secret=FewIds())
        interest = QuestionInterest(
            self.wanted.__contains__,
            self.held.__contains__,
            lambda question: False,
            lambda link, questions: None,
        )
        self.link = Link("DNS1", ((2, ("10.0.0.1", 53)),), env)
        self.upstream = ResolverLink(env, self.link, interest, {})
        self.resolver = self.upstream.resolver
        self.perform(self.upstream.woken(self.now))
        self.open_udp()

    # -- views of the model ------------------------------------------------------------------------

    def udp(self, *, is_old: bool | None = None) -> list[str]:
        """Return the UDP sockets that are there."""
        return [
            conn
            for conn, socket in self.sockets.items()
            if conn != STREAM and is_old in (None, socket.is_old)
        ]

    def alive(self) -> list[Sending]:
        """Return the queries whose replies still count."""
        self.live = [one for one in self.live if one.is_alive]
        return self.live

    def waits(self) -> list[bytes]:
        """Return what waits for the window, or for a socket."""
        ready = self.resolver.queue.ready
        return [one for batch in ready for one in batch.questions if one in self.wanted]

    @property
    def is_up(self) -> bool:
        return self.link.life.state is LinkState.UP

    # -- effects of the resolver -------------------------------------------------------------------

    def hear(self, event: ConnectionEvent) -> Heard:
        """Let something happen to one of its connections; do what its owner does."""
        was_up = self.is_up
        replies = self.upstream.receive(event, self.now)
        heard = Heard(late=replies.late, change=replies.link_change)
        heard.answers = [one for answers in replies.answers for one in answers.questions]
        heard.denials = [denial[0] for denial in replies.denials]
        self.settle(replies, was_up)
        for question in [*heard.answers, *heard.denials]:
            assert question in self.wanted
            self.forget_question(question)
        if heard.change is LinkChange.CAME_UP:
            self.link.life.fire(LinkEvent.CAUGHT_UP)
        if heard.change in (LinkChange.CAME_UP, LinkChange.IS_BACK):
            self.ask_for(list(self.wanted), self.upstream.resume)
        return heard

    def settle(self, replies: Replies, was_up: bool) -> None:
        self.perform(replies.effects)
        if self.link.life.state in GONE:
            assert not self.sockets
            if was_up:
                assert replies.link_change is LinkChange.OTHER
                if self.wanted:
                    self.upstream.probe_with(list(self.wanted)[-1])
            for one in (self.asked, self.waiting, self.moves, self.overdue, self.replaced):
                one.clear()
            for one in (self.urgent, self.deferred, self.left, self.left_cut):
                one.clear()
        while self.closing:
            conn = self.closing.pop()
            if conn == STREAM:
                self.stream_is_lost()
            else:
                self.hear(Closed(conn, ""))

    def perform(self, effects: list[Effect]) -> None:
        for at, effect in enumerate(effects):
            match effect:
                case DialDatagrams(conn, address):
                    assert conn not in self.sockets and conn not in self.dials
                    assert (address,) == self.link.addresses
                    self.dials.append(conn)
                    after = effects[at + 1] if at + 1 < len(effects) else None
                    if isinstance(after, SendTo):
                        self.succeed(after.conn)
                case Dial(conn, addresses):
                    assert conn == STREAM not in self.dials and STREAM not in self.sockets
                    assert addresses == self.link.addresses
                    self.dials.append(conn)
                case SendTo(conn, datagrams):
                    self.send(conn, [query for query, _ in datagrams])
                case Send(conn, data):
                    assert conn == STREAM
                    self.send(conn, split_frames(data))
                case Close(conn) | Abort(conn):
                    self.let_go(conn)
                    self.closing.append(conn)
                case Report(text):
                    self.reports.append(text)

    def succeed(self, conn: str) -> None:
        """Note that this socket is to be replaced: at about its time, and once."""
        socket = self.sockets[conn]
        assert self.now >= socket.renew_from and conn not in self.replaced
        self.replaced.append(conn)

    def let_go(self, conn: str) -> None:
        """Note that this connection is closed, with all that was asked by it."""
        self.give_up_hope()
        if conn == STREAM:
            self.left = [one for one in self.alive() if one.conn == STREAM]
            self.left_cut = self.cut()
            self.left_replies = self.sockets[conn].replies if conn in self.sockets else 0
        if conn in self.dials:
            self.dials.remove(conn)
            return
        del self.sockets[conn]
        if conn in self.replaced:
            self.replaced.remove(conn)
        for one in self.alive():
            if one.conn == conn:
                one.is_forgotten = True
                self.overdue.pop(one.question, None)

    def send(self, conn: str, queries: list[bytes]) -> None:
        """Take queries; see that each may be sent, and by this socket."""
        socket = self.sockets[conn]
        assert not socket.is_old
        assert conn in self.replaced or self.now < socket.renew_by
        questions = [question_of(query).encode() for query in queries]
        twice = [question for question in questions if questions.count(question) > 1]
        assert self.doubled.issuperset(twice)
        self.batch += 1
        since = min(self.asked_at.get(question, self.now) for question in questions)
        for query, question in zip(queries, questions, strict=True):
            one = Sending(conn, query, question, self.now, self.batch, since)
            counts = [other for other in self.alive() if self.now < other.at + FORGOTTEN_S]
            assert one.pair not in {other.pair for other in counts}, "two have one ID"
            is_doubled = question in self.doubled
            if question == TRY and self.link.life.state is not LinkState.DIALING:
                assert self.link.health.is_bad and self.tried_at <= self.now - BOUNDS.try_s
                self.tried_at = self.now
                one.tries = BOUNDS.resends_max
                one.overdue_at = self.now + self.resolver.ageing.resend_s * 2**one.tries
            elif conn == STREAM:
                one.is_cut = question in self.cuts
                if question not in self.waits():
                    self.moves.pop(question, None)
            elif (is_doubled or not self.is_up) and self.is_resend(question):
                self.take_resend(one)
            elif question in self.waiting:
                assert question in self.wanted
                # In the order of asking: whoever is before it is not wanted any more.
                at = self.waiting.index(question)
                before = self.wanted.keys() & {*self.waiting[:at]} - self.doubled
                assert is_doubled or (not before and self.urgent.isdisjoint(self.waits()))
                self.waiting.remove(question)
            elif question in self.moves and (self.is_up or question not in self.waits()):
                assert question in self.wanted
                one.moves = self.moves.pop(question)
            elif self.link.life.state is LinkState.DIALING:
                assert question == self.resolver.reachability.question
                one.tries = BOUNDS.resends_max
                one.overdue_at = self.now + self.resolver.ageing.resend_s * 2**one.tries
            elif not is_doubled and not self.is_silent:
                self.take_resend(one)
            self.sendings.append(one)
            self.live.append(one)
            self.urgent.discard(question)
            if not self.overdue.get(question):
                self.overdue.pop(question, None)

    def is_resend(self, question: bytes) -> bool:
        """Return whether this is sent since it may be lost, though it waits as well."""
        if not self.resends or self.is_silent:
            return False
        mine = [one for one in self.alive() if one.question == question]
        is_again = any(one.tries and one.at == self.now for one in mine)
        lost = [
            one for one in mine if not one.tries and 0 <= self.now - one.at - BOUNDS.join_s < 1 / 64
        ]
        if any(one.conn == STREAM and not one.is_cut for one in lost) and not is_again:
            return True
        tries = self.overdue.get(question, [BOUNDS.resends_max])[0]
        return tries < BOUNDS.resends_max and (question in self.held or bool(lost))

    def take_resend(self, one: Sending) -> None:
        """[P39]: only what was sent so long ago, and so often at most."""
        one.tries = self.overdue[one.question].pop(0) + 1 if one.question in self.overdue else 1
        one.overdue_at = self.now + self.resolver.ageing.resend_s * 2**one.tries
        one.since = self.now
        before = [other for other in self.sendings if other.question == one.question]
        assert one.tries <= BOUNDS.resends_max and one.question in self.wanted
        assert not self.is_silent
        if one.question not in self.held:
            assert one.tries == 1 and self.now - before[0].at >= BOUNDS.join_s

    def cut(self) -> set[bytes]:
        """Return the questions that have no other way than the stream."""
        waiting = self.resolver.stream.waiting
        of_stream = {one.question for one in self.alive() if one.is_cut}
        return of_stream | {question for question, is_only in waiting.items() if is_only}

    # -- rules: questions --------------------------------------------------------------------------

    @rule(count=st.integers(1, 9))
    def ask(self, count: int) -> None:
        first = self.numbers["n"]
        self.numbers["n"] += count
        questions = [b"n%d.example" % n for n in range(first, first + count)]
        self.wanted |= dict.fromkeys(questions)
        if self.is_up:
            self.ask_for(questions, self.upstream.ask)
        else:
            self.upstream.probe_with(questions[-1])

    def ask_for(
        self, questions: list[bytes], ask: Callable[[list[bytes], float], list[Effect]]
    ) -> None:
        if not questions:
            return
        before = len(self.sendings)
        by_stream = self.now < self.guard.tcp_until and STREAM in self.sockets
        is_limited = self.resolver.stream.is_limited
        self.doubled |= {*questions} & {*self.waits(), *(one.question for one in self.alive())}
        self.urgent -= {*questions}
        for question in questions:
            self.overdue.pop(question, None)
            self.deferred.pop(question, None)
        self.asked |= dict.fromkeys(questions)
        self.asked_at |= dict.fromkeys(questions, self.now)
        if not self.is_silent and not (by_stream and not is_limited):
            self.waiting = [one for one in self.waiting if one not in questions] + questions
        if by_stream and not is_limited:
            self.cuts -= {*questions} - self.cut()
        self.perform(ask(questions, self.now))
        sent = self.sendings[before:]
        if by_stream and not is_limited:
            assert {one.conn for one in sent} == {STREAM}
        elif self.is_silent:
            assert len(sent) <= 1
            may_probe = self.now >= self.probed_at + BOUNDS.probe_s
            if self.udp(is_old=False):
                assert bool(sent) is may_probe
            elif may_probe:
                self.moves[questions[0]] = 0  # it goes once there is a socket
            if may_probe:
                self.probed_at = self.now
        if self.now < self.guard.tcp_until:
            assert STREAM in self.dials or STREAM in self.sockets

    def move(self, moves: dict[bytes, int]) -> None:
        """Note that these are to be sent once more, by another way."""
        self.doubled |= moves.keys() & {*self.waits()}
        self.moves |= moves

    def probe(self) -> None:
        """Note that it is asked one of several questions, if it is silent and has no stream."""
        by_stream = self.now < self.guard.tcp_until and STREAM in self.sockets
        if by_stream and not self.resolver.stream.is_limited:
            return
        if self.is_silent and self.now >= self.probed_at + BOUNDS.probe_s:
            self.probed_at = self.now

    def forget_question(self, question: bytes) -> None:
        self.wanted.pop(question, None)
        self.asked.pop(question, None)
        self.held.discard(question)

    @precondition(lambda self: self.wanted)
    @rule(pick=PICK, is_answer=st.booleans())
    def somebody_else_replies(self, pick: int, is_answer: bool) -> None:
        question = list(self.wanted)[pick % len(self.wanted)]
        if is_answer:
            self.forget_question(question)
            return
        self.held.add(question)
        self.resends = True
        self.perform(self.upstream.hurry([question], self.now))
        self.resends = False

    # -- rules: replies ----------------------------------------------------------------------------

    def deliver(self, conn: str, *messages: bytes) -> Heard:
        if conn == STREAM:
            return self.hear(Received(conn, b"".join(map(frame, messages))))
        return self.hear(Datagrams(conn, [(message, None) for message in messages]))

    def spoke(self, conn: str) -> bool:
        """Note that something came that shows that it is there; return whether it is back."""
        self.heard_at = self.now
        self.silence.clear()
        was_silent, self.is_silent = self.is_silent, False
        was_refused = self.resolver.reachability.is_refused
        if conn == STREAM:
            return was_silent
        self.in_doubt = False
        return was_silent or was_refused

    @precondition(lambda self: self.alive())
    @rule(picks=st.lists(PICK, min_size=1, max_size=3), text=st.sampled_from(SAID))
    def reply(self, picks: list[int], text: str) -> None:
        for pick in picks:
            if alive := self.alive():
                self.reply_to(alive[pick % len(alive)], text)

    @precondition(lambda self: any(one.conn in self.sockets for one in self.sendings))
    @rule(pick=PICK, text=st.sampled_from(SAID))
    def reply_again(self, pick: int, text: str) -> None:
        """A copy, or one that comes when it is forgotten."""
        there = [one for one in self.sendings if one.conn in self.sockets]
        settled = [one for one in there if not one.is_alive] or there
        self.reply_to(settled[pick % len(settled)], text)

    def reply_to(self, one: Sending, text: str) -> None:
        same = one.question, one.pair  # it may have been sent again with the same ID
        one = next((q for q in self.alive() if (q.question, q.pair) == same), one)
        was_alive, counts = one.is_alive, one.is_alive and one.question in self.wanted
        if was_alive:
            one.is_replied = True
            self.overdue.pop(one.question, None)
            self.sockets[one.conn].replies += 1
        is_heard = was_alive or one.conn != STREAM
        is_back = is_heard and self.spoke(one.conn)
        is_cut_again = counts and text == "TC" and one.conn != STREAM
        if is_cut_again:
            self.cuts.add(one.question)
        if not was_alive and one.conn == STREAM:
            self.guard.unmatched += 1  # of a stream it is no guess
        heard = self.deliver(one.conn, said(one.query, text))
        is_try = was_alive and one.question == TRY
        assert heard.late == (is_heard and not counts and not is_try)
        assert len(heard.answers) + len(heard.denials) == (counts and not is_cut_again)
        assert (heard.change in (LinkChange.IS_BACK, LinkChange.CAME_UP)) is is_back
        if is_cut_again and one.question in self.wanted:
            assert one.question in self.cut() or is_back

    @precondition(lambda self: self.sockets)
    @rule(pick=PICK, count=st.integers(1, 3), how=st.sampled_from(["ID", "question", "socket"]))
    def guess(self, pick: int, count: int, how: str) -> None:
        """[P35] [P36]: a reply with an ID that was not used there, to another question, or one
        that belongs to another socket."""
        conn = list(self.sockets)[pick % len(self.sockets)]
        by_it = [one for one in self.sendings if one.conn == conn]
        used = {one.query[:2] for one in by_it}
        free = (number.to_bytes(2) for number in range(65_536))
        ids = list(islice((number for number in free if number not in used), count))
        others = [one for one in self.sendings if one.conn != conn and one.query[:2] not in used]
        messages = [said(number + OTHER, "10.6.6.6") for number in ids]
        if how == "socket" and others:
            messages[0] = said(others[pick % len(others)].query, "10.6.6.6")
        elif how == "question" and by_it:
            messages[0] = said(by_it[pick % len(by_it)].query[:2] + OTHER, "10.6.6.6")
        if conn == STREAM:
            self.guard.unmatched += count
            is_alarm = False
        else:
            is_alarm = self.guard.is_alarmed(count, self.now)
        before = self.udp()
        again = self.alarmed() if is_alarm else []
        heard = self.deliver(conn, *messages)
        assert not heard.answers and not heard.denials and not heard.late and not heard.change
        assert self.hits["unmatched_max"] == self.guard.alarms
        if is_alarm:
            self.check_replaced(before)
            self.check_deferred(again)

    def alarmed(self) -> list[Sending]:
        """Note what is to be asked again, since every UDP socket is replaced."""
        guard = self.guard
        again = [one for one in self.alive() if one.conn != STREAM and one.question in self.wanted]
        if self.now >= guard.no_stream_until:
            if STREAM in self.sockets:
                guard.tcp_until = self.now + BOUNDS.wary_s
            else:
                guard.is_tcp_next = True
        self.move({one.question: 0 for one in again})
        for one in again:
            self.asked_at[one.question] = min(self.asked_at.get(one.question, self.now), one.since)
        if again:
            self.probe()
        return again

    def check_deferred(self, again: list[Sending]) -> None:
        """[P36]: only what is neither young nor held, and only once all was asked lately."""
        if self.now < self.guard.tcp_until or self.is_silent:
            return
        until = self.all_again_at
        if self.now >= until:
            self.all_again_at = self.now + BOUNDS.join_s
        waits = {*self.waits(), *self.resolver.stream.waiting, *(q.question for q in self.alive())}
        for one in again:
            if one.question not in waits or one.question in self.resolver.ageing.overdue:
                assert self.now < until and one.question not in self.held
                since = min(other.since for other in again if other.question == one.question)
                assert since + self.resolver.ageing.resend_s <= self.now
                self.deferred[one.question] = until
                self.overdue[one.question] = [0]
                if one.question not in waits:
                    self.moves.pop(one.question, None)

    def check_replaced(self, before: list[str]) -> None:
        """[P36] [P50]: no UDP socket is left that was there, and there will be as many."""
        assert not set(before) & set(self.udp()) and not self.replaced
        dials = [conn for conn in self.dials if conn not in {STREAM, *self.stale}]
        assert len(dials) >= BOUNDS.upstream_sockets

    # -- rules: the network ------------------------------------------------------------------------

    @precondition(lambda self: self.dials)
    @rule(pick=PICK, is_there=st.sampled_from([True, True, False]))
    def dial_ends(self, pick: int, is_there: bool) -> None:
        conn = self.dials[pick % len(self.dials)]
        if is_there:
            self.opens(conn)
        else:
            self.fails(conn)

    def opens(self, conn: str) -> None:
        self.dials.remove(conn)
        if conn in self.stale:
            self.stale.remove(conn)
            self.sockets[conn] = Socket(self.now, is_old=True)
            self.hear(Opened(conn))
            assert conn not in self.sockets
            return
        socket = self.sockets[conn] = Socket(self.now)
        if conn == STREAM:
            if self.guard.is_tcp_next:
                self.guard.is_tcp_next = False
                self.guard.tcp_until = self.now + BOUNDS.wary_s
        else:
            socket.renew_from = self.now + 0.5 * BOUNDS.upstream_socket_s
            socket.renew_by = self.now + 1.5 * BOUNDS.upstream_socket_s
            if self.replaced:
                self.sockets[self.replaced.pop(0)].is_old = True
        self.hear(Opened(conn))

    def fails(self, conn: str) -> None:
        if conn == STREAM:
            self.let_go(conn)
            self.stream_is_lost()
            return
        self.dials.remove(conn)
        if conn in self.stale:
            self.stale.remove(conn)
            self.hear(Closed(conn, "refused"))
            return
        was_gone = self.link.life.state in GONE
        is_end = False
        if self.replaced:
            socket = self.sockets[self.replaced.pop(0)]
            socket.renew_from = socket.renew_by = self.now + BOUNDS.upstream_socket_s
        else:
            dials = [conn for conn in self.dials if conn not in {STREAM, *self.stale}]
            is_end = not dials and not self.udp(is_old=False)
        self.hear(Closed(conn, "refused"))
        assert (self.link.life.state in GONE) is (is_end or was_gone)

    def stream_is_lost(self) -> None:
        """[P41]: another one if it may be of use; else what is cut has failed."""
        is_replaced, self.is_stream_replaced = self.is_stream_replaced, False
        is_of_use = is_replaced or self.left_replies or len({q.question for q in self.left}) > 1
        waiting = self.resolver.stream.waiting
        left = [one for one in {*waiting, *(q.question for q in self.left)} if one in self.wanted]
        failed = set() if is_of_use else self.left_cut & self.wanted.keys()
        if not is_of_use:
            self.guard.is_tcp_next = False
            self.guard.tcp_until = -math.inf
            self.guard.no_stream_until = self.now + BOUNDS.away_s
            others = [question for question in left if question not in failed]
            for question in others:
                self.overdue.pop(question, None)
            self.doubled |= {*others} & {one.question for one in self.alive()}
            self.move(dict.fromkeys(others, 0))
            if others:
                self.probe()
        heard = self.hear(Closed(STREAM, "gone"))
        assert {*heard.denials} == failed
        assert (STREAM in self.dials) is bool(is_of_use and left)
        self.left = []

    @precondition(lambda self: self.udp())
    @rule(pick=PICK)
    def socket_breaks(self, pick: int) -> None:
        """[P49] [P50]"""
        before = self.udp()
        conn = before[pick % len(before)]
        asked = [one for one in self.alive() if one.conn != STREAM and one.question in self.wanted]
        was_in_doubt, self.in_doubt = self.in_doubt, True
        failed: set[bytes] = set()
        has_stream = STREAM in self.sockets or STREAM in self.dials
        if was_in_doubt:
            self.silence.clear()
            self.is_silent = False
        else:
            for one in asked:
                moves = max(other.moves for other in asked if other.question == one.question) + 1
                if moves <= BOUNDS.resends_max:
                    self.move({one.question: moves})
                else:
                    failed.add(one.question)
            self.urgent |= {one.question for one in asked} - failed - self.doubled
            if has_stream and self.now >= self.stream_replaced_at + BOUNDS.join_s:
                self.stream_replaced_at = self.now
                self.is_stream_replaced = True
            for question in failed:
                self.moves.pop(question, None)
        self.let_go(conn)
        heard = self.hear(Closed(conn, "connection refused"))
        assert (self.link.life.state in GONE) is was_in_doubt
        if not was_in_doubt:
            assert set(heard.denials) == failed
            self.check_replaced(before)

    @precondition(lambda self: self.link.life.state not in GONE)
    @rule()
    def moves(self) -> None:
        """[P75]: what was asked by any socket is asked by new ones, and no other is left."""
        before, was_up = self.udp(), self.is_up
        self.stale |= {conn for conn in self.dials if conn != STREAM}
        again = [one for one in self.alive() if one.conn != STREAM and one.question in self.wanted]
        self.in_doubt = False
        self.is_stream_replaced = STREAM in self.sockets or STREAM in self.dials
        self.move({one.question: 0 for one in again})
        for one in again:
            self.asked_at[one.question] = min(self.asked_at.get(one.question, self.now), one.since)
        if again and self.is_silent and self.now >= self.probed_at + BOUNDS.probe_s:
            self.probed_at = self.now
        self.numbers["moves"] += 1
        self.link.addresses = ((2, (f"10.0.1.{self.numbers['moves']}", 53)),)
        self.settle(Replies(self.upstream.moved(self.now)), was_up)
        self.check_replaced(before)
        assert len(self.dials) - len(self.stale) - (STREAM in self.dials) == BOUNDS.upstream_sockets
        assert not self.resolver.reachability.is_refused

    @precondition(lambda self: STREAM in self.sockets)
    @rule()
    def stream_ends(self) -> None:
        self.hear(Ended(STREAM, False))

    # -- time --------------------------------------------------------------------------------------

    @rule(ticks=st.sampled_from([1, 1, 2, 4, 8, 16, 64]))
    def time_passes(self, ticks: int) -> None:
        """Tick by tick, so that what is due is seen at its time."""
        for _ in range(ticks):
            self.open_udp()
            self.pass_to(self.now + 1 / 64)

    def open_udp(self) -> None:
        """Open the sockets that are being dialled: that takes no time."""
        for conn in list(self.dials):
            if conn != STREAM:
                self.opens(conn)

    def pass_to(self, then: float) -> None:
        before, self.now = self.now, then
        fresh = self.grow_old()
        is_due = False
        for question, until in list(self.deferred.items()):
            if until <= self.now:
                del self.deferred[question]
                if self.overdue.pop(question, None) and question in self.wanted:
                    self.moves[question] = 0
                    is_due = True
        was_up = self.is_up
        if self.upstream.due <= self.now:
            self.resends = True
            self.settle(Replies(self.upstream.woken(self.now)), was_up)
            self.resends = False
        self.check_silence()
        if is_due:
            self.probe()
        if self.udp(is_old=False) and not self.is_silent:
            self.check_lost(before, fresh)
        for tries in self.overdue.values():
            del tries[:-1]

    def grow_old(self) -> list[bytes]:
        """Note who is overdue, silent, or hopeless by now; return what has come overdue."""
        fresh = []
        seen: set[tuple[int, bytes]] = set()  # twice in a batch, it is sent again once
        resend_s = self.resolver.ageing.resend_s
        for one in sorted(self.alive(), key=lambda one: one.overdue_at if one.tries else 0.0):
            due = one.overdue_at if one.tries else one.at + resend_s
            if not one.is_overdue and self.now >= due and one.conn != STREAM:
                one.is_overdue = True
                if one.question in self.wanted and (one.batch, one.question) not in seen:
                    seen.add((one.batch, one.question))
                    known = self.overdue.setdefault(one.question, [])
                    if one.question not in self.held or known[-1:] == [BOUNDS.resends_max]:
                        known.clear()  # else it is sent again for both
                    known.append(one.tries)
                    fresh.append(one.question)
            if not one.is_aged and self.now >= one.at + BOUNDS.grace_max_s:
                one.is_aged = True
                if one.at > self.heard_at and not self.resolver.reachability.is_refused:
                    self.silence.append(one.at)
        return fresh

    def check_lost(self, before: float, fresh: list[bytes]) -> None:
        """[P39]: what is held was sent again when it came overdue, all else after `join_s`."""
        for question in fresh:
            if question in self.held and question in self.overdue and question in self.wanted:
                assert self.overdue[question][-1] >= BOUNDS.resends_max
        for one in self.alive():
            is_lost = before < one.at + BOUNDS.join_s <= self.now and not one.tries
            if is_lost and not one.is_cut and one.question in self.wanted.keys() - self.doubled:
                assert self.overdue.get(one.question) != [0]

    def check_silence(self) -> None:
        """[P34]"""
        is_due = len(self.silence) >= BOUNDS.silent_questions
        if is_due and self.now >= min(self.silence) + BOUNDS.silent_s and not self.is_silent:
            self.is_silent = True
            self.waiting.clear()
        assert self.resolver.grace.is_silent is self.is_silent
        assert self.upstream.is_awaited is (self.link.is_live and not self.is_silent)
        self.give_up_hope()

    def give_up_hope(self) -> None:
        """Forget what is too old for a reply that anybody waits for."""
        old = [one for one in self.alive() if self.now >= one.at + FORGOTTEN_S]
        for one in old:
            one.is_forgotten = True
            self.overdue.pop(one.question, None)
        for question in {one.question for one in old} - self.ways():
            self.asked.pop(question, None)

    def ways(self) -> set[bytes]:
        """Return the questions of which a reply may come, or that are to be sent."""
        of_queues = {*self.resolver.stream.waiting, *self.deferred, *self.waits()}
        return of_queues | {one.question for one in self.alive()}

    # -- invariants --------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_unless_it_is_silent(self) -> None:
        lost = self.asked.keys() - self.ways()
        assert self.is_silent or not lost
        for question in lost:
            del self.asked[question]
        if self.is_silent:  # nor is anything kept that was to be sent once more
            waits = self.waits()
            self.moves = {one: moves for one, moves in self.moves.items() if one in waits}

    @invariant()
    def what_is_in_flight_is_known(self) -> None:
        """[P40]: at least, of each socket, what was sent after the last one that is known to be
        taken. At most: of what was sent together, only so many are taken as have had a reply, or
        are overdue, or forgotten."""
        least = most = 0
        for conn in self.udp():
            by_it = [one for one in self.sendings if one.conn == conn]
            taken = [at for at, one in enumerate(by_it, 1) if not one.is_alive or one.is_overdue]
            passed = 0
            for batch in {one.batch for one in by_it}:
                places = [at for at, one in enumerate(by_it) if one.batch == batch]
                known = sum(not by_it[at].is_alive or by_it[at].is_overdue for at in places)
                passed = max(passed, places[0] + known if known else 0)
            least += len(by_it) - max(taken, default=0)
            most += len(by_it) - passed
        assert least <= self.resolver.in_flight.count <= most

    @invariant()
    def nothing_waits_that_need_not(self) -> None:
        """[P40]: and the rest of the queue is what the model has waiting."""
        waits = self.waits()
        new = [one for one in waits if one in self.waiting and one not in self.doubled]
        rest = self.wanted.keys() - self.doubled
        assert new == [one for one in self.waiting if one in rest]
        if waits and self.udp(is_old=False):
            assert self.resolver.in_flight.room(self.now) <= 0

    @invariant()
    def each_query_without_a_reply_is_known_and_no_other(self) -> None:
        sockets = self.resolver.sockets.by_conn.items()
        known = [(conn, number) for conn, socket in sockets for number in socket.asked]
        assert sorted(known) == sorted(one.pair for one in self.alive())

    @invariant()
    def sockets_are_as_many_as_they_should_be(self) -> None:
        dials = [conn for conn in self.dials if conn not in {STREAM, *self.stale}]
        count = len(self.udp(is_old=False)) + len(dials) - len(self.replaced)
        assert count <= BOUNDS.upstream_sockets or self.link.life.state in GONE
        for conn in self.udp(is_old=True):
            assert any(one.conn == conn for one in self.alive()), "all that it was asked is settled"

    @invariant()
    def what_is_said_and_counted_is_so(self) -> None:
        """Each state is said once, and a resolver that is gone is said to be so."""
        counted = {value.key: value.value for value in self.upstream.metrics()}
        assert counted["DNS1.unmatched"] == self.guard.unmatched
        states = [text.split()[2] for text in self.reports if text.startswith("DNS1 is ")]
        assert all(state != after for state, after in pairwise(states))
        if states and self.link.life.state in GONE:
            assert states[-1] in ("unreachable", "down")

    def teardown(self) -> None:
        """Let all be well: everything has a reply, and nothing is left."""
        for _ in range(500):
            for conn in list(self.dials):
                self.opens(conn)
            for conn in list(self.sockets):
                alive = [one for one in self.alive() if one.conn == conn and conn in self.sockets]
                mine = list({one.question: one for one in alive}.values())
                for one in mine:
                    one.is_replied = True
                    self.overdue.pop(one.question, None)
                    self.sockets[conn].replies += 1
                if mine:
                    self.spoke(conn)
                    self.deliver(conn, *[said(one.query, "10.0.0.1") for one in mine])
            if self.dials or self.alive():
                continue
            if (due := self.upstream.due) == math.inf:
                break
            self.pass_to(max(self.now, due))
        resolver = self.resolver
        assert self.is_up and not self.asked and not resolver.in_flight.count
        assert not resolver.ageing.overdue and not resolver.stream.waiting
        assert not any(socket.asked for socket in resolver.sockets.by_conn.values())


TestResolver = ResolverMachine.TestCase
