"""A resolver against an obvious model: in flight, waiting, sent again, silent.

The model keeps every sending for ever, in a list, and works out each time what `in_flight.py` and
`ageing.py` count as they go: what may still lie in the resolver's socket, who is overdue, how often
each question was sent. It believes `window.py` about the size of a window and `grace.py` about
usual times, which have tests of their own; everything else it knows only from proto.md. Times are
multiples of 1/64 s.

Not here: which reply is good enough (`tests/nodes/test_negatives.py`), guesses and streams
(`tests/nodes/test_guess_guard.py`, `tests/nodes/test_stream.py`).
"""

import math
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.bounds import Bounds
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Effect
from core.environment import Environment
from core.events import Opened
from core.operator import Report
from nodes.ls.link import Link
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolver import Resolver
from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import Chance

BOUNDS = replace(
    Bounds(),
    upstream_window=6,
    upstream_sockets=2,
    upstream_socket_s=1_000.0,
    silent_questions=4,
    resend_min_s=4 / 64,
    grace_max_s=26 / 64,
    probe_s=8 / 64,
    remembered_max=1_000,
)
PICK = st.integers(0, 1_000)


@dataclass
class Sending:
    """A query that went out. `batch`: what was sent together with it has the same."""

    conn: str
    query: bytes
    question: bytes
    at: float
    tries: int
    batch: int
    overdue_at: float  # of what was sent again
    is_replied: bool = False
    is_overdue: bool = False
    is_forgotten: bool = False


class ResolverMachine(RuleBasedStateMachine):
    """Questions are asked, held and settled; some have replies, in any order; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: dict[bytes, None] = {}
        self.held: set[bytes] = set()
        self.sendings: list[Sending] = []
        self.waiting: list[bytes] = []  # those that are asked and not sent, in order
        self.tries: dict[bytes, int] = {}  # how often each was sent again
        self.now = 64.0
        self.heard_at = -math.inf
        self.is_silent = False
        self.batch = 0
        self.asked = 0
        interest = QuestionInterest(
            self.wanted.__contains__,
            self.held.__contains__,
            lambda _: False,
            lambda link, questions: None,
        )
        link = Link("DNS1", ((2, ("10.0.0.1", 53)),), Environment(BOUNDS))
        self.resolver = Resolver(Environment(BOUNDS, secret=Chance()), link, interest, {}, self)
        for effect in self.resolver.dial():
            assert isinstance(effect, DialDatagrams)
            self.perform(self.resolver.take(Opened(effect.conn), self.now).effects)

    # -- effects of the resolver -------------------------------------------------------------------

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, SendTo):
                assert isinstance(effect, Report), effect
                continue
            by_question: dict[bytes, int] = {}
            for query, _ in effect.datagrams:
                question = question_of(query).encode()
                by_question[question] = tries = self.tries.setdefault(question, -1) + 1
                self.tries[question] = tries
                is_new = not self.sendings or self.sendings[-1].tries != tries
                self.batch += is_new or effect.datagrams[0][0] == query
                self.sendings.append(
                    Sending(
                        effect.conn,
                        query,
                        question,
                        self.now,
                        tries,
                        self.batch,
                        self.now + self.resolver.ageing.resend_s * 2**tries,
                    )
                )
                if question in self.waiting:
                    # In the order of asking: whoever is before it is not wanted any more.
                    at = self.waiting.index(question)
                    assert not [one for one in self.waiting[:at] if one in self.wanted]
                    del self.waiting[: at + 1]
                else:
                    assert tries > 0 or self.is_silent, "it was asked, or it is sent again"
                if tries > 0:
                    self.check_again(question, tries)
            assert len(by_question) == len(effect.datagrams)

    def check_again(self, question: bytes, tries: int) -> None:
        """[P39]: only what was sent so long ago, and so often at most."""
        before = [one for one in self.sendings[:-1] if one.question == question]
        assert tries <= BOUNDS.resends_max and question in self.wanted and not self.is_silent
        assert any(one.is_overdue for one in before)
        if question not in self.held:
            assert tries == 1 and self.now - before[-1].at >= BOUNDS.join_s

    def in_flight(self) -> tuple[int, int]:
        """[P40]: at least, of each socket, what was sent after the last one that is known to be
        taken. At most: of what was sent together, only so many are taken as have had a reply."""
        least = most = 0
        for conn in {one.conn for one in self.sendings}:
            by_it = [one for one in self.sendings if one.conn == conn]
            taken = [at for at, one in enumerate(by_it, 1) if one.is_replied or one.is_overdue]
            passed = 0
            for batch in {one.batch for one in by_it}:
                places = [at for at, one in enumerate(by_it) if one.batch == batch]
                known = sum(by_it[at].is_replied or by_it[at].is_overdue for at in places)
                passed = max(passed, places[0] + known if known else 0)
            least += len(by_it) - max(taken, default=0)
            most += len(by_it) - passed
        return least, most

    # -- rules -------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 9))
    def ask(self, count: int) -> None:
        questions = [b"n%d.example" % (self.asked + n) for n in range(count)]
        self.asked += count
        self.wanted |= dict.fromkeys(questions)
        if not self.is_silent:
            self.waiting += questions
        self.perform(self.resolver.query(questions, self.now))

    @precondition(lambda self: any(not one.is_replied for one in self.sendings))
    @rule(pick=PICK, text=st.sampled_from(["10.0.0.1", "REFUSED", "NXDOMAIN"]))
    def reply(self, pick: int, text: str) -> None:
        """To anything that was sent and had no reply, however long ago."""
        open_ = [one for one in self.sendings if not one.is_replied]
        one = open_[pick % len(open_)]
        was_wanted, was_late = one.question in self.wanted, one.is_forgotten
        one.is_replied = not was_late
        self.heard_at = self.now
        was_silent, self.is_silent = self.is_silent, False
        event = Datagrams(one.conn, [(said(one.query, text), None)])
        heard = self.resolver.take(event, self.now)
        assert heard.is_back is was_silent
        assert len(heard.questions) + len(heard.denials) == (was_wanted and not was_late)
        assert heard.late == (was_late or not was_wanted)
        self.settle_one(one.question, only_if=was_wanted and not was_late)
        self.perform(heard.effects)
        if heard.is_back:  # its owner's questions then are in `tests/nodes/test_grace.py`
            self.wanted.clear()
            self.held.clear()

    def settle_one(self, question: bytes, *, only_if: bool) -> None:
        if only_if:
            self.wanted.pop(question, None)
            self.held.discard(question)

    @precondition(lambda self: self.wanted)
    @rule(pick=PICK)
    def somebody_else_answers(self, pick: int) -> None:
        self.settle_one(list(self.wanted)[pick % len(self.wanted)], only_if=True)

    @precondition(lambda self: self.wanted)
    @rule(pick=PICK)
    def somebody_else_denies(self, pick: int) -> None:
        question = list(self.wanted)[pick % len(self.wanted)]
        self.held.add(question)
        self.perform(self.resolver.held([question], self.now))

    @rule(ticks=st.sampled_from([1, 1, 2, 4, 8, 16, 64]))
    def time_passes(self, ticks: int) -> None:
        """Tick by tick, so that what is due is seen at its time."""
        for _ in range(ticks):
            self.now += 1 / 64
            self.grow_old()
            if self.resolver.due() <= self.now:
                self.perform(self.resolver.woken(self.now))
            self.check_silence()

    def grow_old(self) -> None:
        for one in self.sendings:
            age_s = self.now - one.at
            if not one.is_replied:
                young_until = (
                    one.overdue_at if one.tries else one.at + self.resolver.ageing.resend_s
                )
                one.is_overdue = one.is_overdue or self.now >= young_until
                one.is_forgotten = one.is_forgotten or age_s >= BOUNDS.timeout_s + BOUNDS.join_s

    def check_silence(self) -> None:
        """[P34]"""
        since = [
            one
            for one in self.sendings
            if not one.is_replied
            and one.at > self.heard_at
            and self.now - one.at >= BOUNDS.grace_max_s
        ]
        is_due = len(since) >= BOUNDS.silent_questions and self.now >= since[0].at + BOUNDS.silent_s
        if is_due and not self.is_silent:
            self.is_silent = True
            self.waiting.clear()
        assert self.resolver.grace.is_silent is self.is_silent

    # -- invariants --------------------------------------------------------------------------------

    @invariant()
    def what_is_in_flight_is_known(self) -> None:
        least, most = self.in_flight()
        assert least <= self.resolver.in_flight.count <= most

    @invariant()
    def nothing_waits_that_need_not(self) -> None:
        """[P40]: and the rest of the queue is what the model has waiting."""
        ready = [one for batch in self.resolver.queue.ready for one in batch.questions]
        waits = [one for one in ready if one in self.wanted]
        assert waits == [one for one in self.waiting if one in self.wanted]
        if waits:
            assert self.resolver.in_flight.room(self.now) <= 0


TestResolver = ResolverMachine.TestCase
