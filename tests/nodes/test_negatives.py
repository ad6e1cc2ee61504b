"""Held negatives against an obvious model: for each question, a set of who has denied it, what is
the best that was said, and until when it is held.

The model knows nothing of bits, of heaps or of the machine of a question: what beats what is a
list. Times are multiples of 1/16 s, so that a moment can be hit exactly.

Not here: who is told what (`tests/nodes/test_load_balancer.py`, `tests/nodes/test_grace.py`),
and who is asked next (`tests/nodes/test_hedge_policy.py`).
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import Bounds
from core.effects import Effect
from core.environment import Environment
from core.protocol.outcome import Denied, Relayed
from nodes.dns.reply import DnsReply
from nodes.ls.barred import Barred
from nodes.ls.link import Link
from nodes.ls.negatives import HeldNegative, HeldNegatives
from nodes.ls.outcomes import QuestionEvent, QuestionState, negative_after, state_after
from nodes.ls.replies import Denial
from nodes.ls.upstreams import Upstreams
from tests.support.counting import alive

GRACES = {1: 1 / 16, 2: 2 / 16, 4: 8 / 16}  # how long each server is waited for, in s
BITS = list(GRACES)
TABLES = 1  # cannot be asked what only DNS can ask of a name that only DNS can have
UNASKABLE = b"\\032 TYPE15"
QUESTIONS = [b"a", b"a AAAA", b"b.x", b"c TYPE15", b"c TYPE28 +do", UNASKABLE]
WORST_FIRST = [
    (QuestionEvent.FAILURE_SAID, QuestionState.FAILURE_HELD),
    (QuestionEvent.REFUSAL_SAID, QuestionState.REFUSAL_HELD),
    (QuestionEvent.STALE_SAID, QuestionState.STALE_HELD),
    (QuestionEvent.NOT_FOUND_SAID, QuestionState.NOT_FOUND_HELD),
    (QuestionEvent.NAME_SAID, QuestionState.NAME_HELD),
    (QuestionEvent.NO_DATA_SAID, QuestionState.NO_DATA_HELD),
    (QuestionEvent.KEPT_SAID, QuestionState.DATA_HELD),
]
NO_DATA = (QuestionState.NOT_FOUND_HELD, QuestionState.NO_DATA_HELD)
LS_KNOWS = (QuestionEvent.STALE_SAID, QuestionEvent.KEPT_SAID)
STATE = dict(WORST_FIRST)
BOGUS = QuestionEvent.BOGUS_SAID

some = st.lists(st.sampled_from(QUESTIONS), max_size=5)
bits = st.sampled_from(BITS)
events = st.sampled_from([*[event for event in STATE if event not in LS_KNOWS], BOGUS])
replies = st.sampled_from([None, DnsReply(b"1", 0, is_cut=False), DnsReply(b"2", 0, is_cut=False)])
denials = st.lists(st.tuples(st.sampled_from(QUESTIONS), events, replies), max_size=5)
own_words = st.lists(
    st.tuples(st.sampled_from(QUESTIONS), st.sampled_from(LS_KNOWS), replies.filter(bool)),
    max_size=3,
)


class Server:
    """An upstream as negatives know it."""

    due_is_steady = True

    def __init__(self, bit: int, grace_s: float = 0.0, *, is_table: bool = False) -> None:
        self.link = Link(f"S{bit}", (), Environment(), bit)
        self.usual_s = grace_s
        self.is_table = is_table
        self.covers_all_names = False
        self.probe = b""

    def can_be_asked(self, question: bytes) -> bool:
        return not self.is_table or question != UNASKABLE

    def can_have_data(self, question: bytes) -> bool:
        return not self.is_table or b"TYPE15" not in question

    def grace_s(self, now: float, *, is_failure: bool, is_early: bool) -> float:
        return (3.0 if is_failure else 1.0) * self.usual_s

    def differed(self, now: float) -> bool:
        return True

    def probe_with(self, question: bytes) -> None:
        self.probe = question

    def look(self) -> None: ...


class OpenQuestions:
    """Open questions as negatives know them. `ended`: those that they have ended."""

    def __init__(self) -> None:
        self.negatives: HeldNegatives | None = None
        self.late: list[bytes] = []  # those whose clients wait no longer
        self.open: list[bytes] = []
        self.ended: list[tuple[bytes, QuestionState, QuestionEvent, object]] = []

    @property
    def due(self) -> float:
        return -math.inf if self.late else math.inf

    def due_questions(self, now: float) -> list[bytes]:
        return self.late

    def all_open(self) -> list[bytes]:
        return self.open

    def end(
        self, outcome: Relayed | Denied, state: QuestionState, event: QuestionEvent, now: float
    ) -> list[Effect]:
        replies: Sequence[object] = [None] * len(outcome.questions)
        if isinstance(outcome, Relayed):
            replies = outcome.replies
        else:
            assert outcome.why is negative_after(state, event)
        for question, reply in zip(outcome.questions, replies, strict=True):
            self.ended.append((question, state, event, reply))
        assert self.negatives is not None
        self.negatives.closed(outcome.questions, state_after(state, event), now)
        return []

    def answer(self, relayed: Relayed, now: float) -> tuple[list[Effect], int]:
        assert self.negatives is not None
        for question, reply in zip(relayed.questions, relayed.replies, strict=True):
            self.ended.append((question, QuestionState.OPEN, QuestionEvent.RELEASED, reply))
        self.negatives.closed(relayed.questions, QuestionState.ANSWERED, now)
        return [], len(relayed.questions)

    def take(self) -> list[tuple[bytes, QuestionState, QuestionEvent, object]]:
        """Return what was ended since the last time."""
        ended, self.ended = self.ended, []
        return ended


class Held:
    """Negatives, and all that they know."""

    def __init__(self, servers: list[Server], *, awaited: int | None = None) -> None:
        self.servers = {server.link.bit: server for server in servers}
        self.upstreams = Upstreams(cast(Any, servers), {}, Barred())
        self.upstreams.awaited = self.upstreams.everyone if awaited is None else awaited
        self.questions = OpenQuestions()
        self.negatives = HeldNegatives(cast(Any, self.questions), self.upstreams, Bounds())
        self.questions.negatives = self.negatives


def factor(state: QuestionState) -> float:
    """Return how much longer a failure is worth waiting for, whatever a table knows beside it."""
    return 1.0 if state in (*NO_DATA, QuestionState.DATA_HELD) else 3.0


@dataclass
class Best:
    """The model's knowledge of what is held: all that was said, and the reply that is told."""

    said: set[QuestionEvent]
    reply: object
    until: float
    since: float
    is_there = False  # a table could say nothing better than that, if it has no such type

    @property
    def state(self) -> QuestionState:
        """A name that exists is not NXDOMAIN, whoever says what first."""
        both = {QuestionEvent.NAME_SAID, QuestionEvent.NOT_FOUND_SAID}
        if both <= self.said and QuestionEvent.KEPT_SAID not in self.said:
            return QuestionState.NO_DATA_HELD
        return next(state for event, state in WORST_FIRST[::-1] if event in self.said)

    def is_moot(self, question: bytes) -> bool:
        """Return whether tables can say nothing better: they know the name, but not this type."""
        return self.is_there and b"TYPE15" in question

    def hear(self, event: QuestionEvent, reply: object) -> None:
        """Take what is said; the first that says the best is told. Old data waits for itself."""
        before = self.state if self.said else None
        self.said.add(event)
        if self.state is before:
            return
        if before is QuestionState.STALE_HELD:
            self.until = math.inf
        self.reply = reply if self.state is STATE[event] else None
        self.is_there |= self.state in (QuestionState.NAME_HELD, QuestionState.NO_DATA_HELD)

    def wait(self, event: QuestionEvent, graces: list[float], now: float) -> None:
        """Wait no longer than for these servers, which are left."""
        wait_s = max(graces) * factor(self.state) if graces else math.inf
        if self.state is QuestionState.STALE_HELD and event is QuestionEvent.STALE_SAID:
            wait_s = Bounds().stale_after_s
        elif self.state is QuestionState.STALE_HELD:
            wait_s = max(Bounds().stale_hold_s, wait_s if graces else 0.0)
        if event is QuestionEvent.NAME_SAID or wait_s == math.inf:
            return
        if self.until == math.inf:
            self.since = now
        self.until = min(self.until, now + wait_s)


class NegativesMachine(RuleBasedStateMachine):
    """Servers deny, go and stall; questions are asked again, answered and closed; time passes."""

    def __init__(self) -> None:
        super().__init__()
        servers = [Server(bit, GRACES[bit], is_table=bit == TABLES) for bit in BITS]
        self.real = Held(servers)
        self.negatives = self.real.negatives
        self.now = 50.0
        self.live = set(BITS)
        self.spoken: dict[bytes, set[int]] = {}
        self.held: dict[bytes, Best] = {}
        self.told: set[bytes] = set()

    def close(self, questions: list[bytes]) -> None:
        self.negatives.closed(questions, QuestionState.ANSWERED, self.now)
        self.forget(questions)

    def forget(self, questions: list[bytes]) -> None:
        for question in questions:
            self.spoken.pop(question, None)
            self.held.pop(question, None)

    def release(self, model: set[bytes], unknown: Set[bytes] = frozenset()) -> None:
        """Release what has been held enough: it is told once, the best of it, and then it is open
        no more."""
        ended = self.real.questions.take()
        questions = [question for question, _, _, _ in ended]
        assert len(questions) == len(set(questions)) and set(questions) == model | unknown
        for question, state, event, reply in ended:
            if question in unknown:
                assert event is QuestionEvent.ALL_NOT_FOUND and reply is None
                continue
            best = self.held[question]
            assert event is QuestionEvent.RELEASED and reply is best.reply
            is_data = best.state in (QuestionState.STALE_HELD, QuestionState.DATA_HELD)
            assert state is (QuestionState.OPEN if is_data else best.state)
        self.forget(questions)

    def left(self, question: bytes) -> set[int]:
        """Return who is to speak still, of those who are waited for."""
        is_moot = question in self.held and self.held[question].is_moot(question)
        return self.live - self.past(question) - ({TABLES} if is_moot else set())

    def past(self, question: bytes) -> set[int]:
        """Return who has spoken, or cannot be asked this."""
        unable = {TABLES} if question == UNASKABLE else set()
        return self.spoken.get(question, set()) | unable

    def release_what_is_held_in_vain(self) -> None:
        model = {question for question in self.held if not self.left(question)}
        self.release(model)

    @rule(bit=bits, not_found=some, denials=denials)
    def hear(self, bit: int, not_found: list[bytes], denials: list[Denial]) -> None:
        """[P21] [P22] [P33] [P42]: all say that their tables have not; or the best of what is held,
        when every live one has spoken or has had its time, which a table's NAME does not begin.
        [P89]: what is bogus is ended at once, and nothing else that is said of it counts.

        A server that is stalled may speak, too; the same may be said twice, and worse after better.
        """
        said = denials
        bogus = {question: reply for question, event, reply in said if event is BOGUS}
        was = {question: self.held[question].state for question in bogus if question in self.held}
        self.forget(list(bogus))
        denials = [denial for denial in said if denial[0] not in bogus]
        self.take(bit, denials)
        for question in not_found:
            self.speak(question, bit)
        decided = set(not_found) | {question for question, _, _ in denials}
        unknown = {q for q in decided - set(self.held) if self.past(q) == set(BITS)}
        self.negatives.add(bit, not_found, said, self.now)
        ended = self.real.questions.take()
        at_once = [each for each in ended if each[2] is BOGUS]
        self.real.questions.ended = ended[len(at_once) :]
        assert sorted(at_once, key=lambda each: each[0]) == [
            (question, was.get(question, QuestionState.OPEN), BOGUS, bogus[question])
            for question in sorted(bogus)
        ]
        self.release({q for q in decided & set(self.held) if not self.left(q)}, unknown)

    @rule(denials=own_words)
    def ls_knows(self, denials: list[Denial]) -> None:
        """[P97]: data that is kept, or old: that is nobody's word who is waited for."""
        self.take(0, denials)
        self.negatives.add(0, (), denials, self.now)
        self.release({question for question, _, _ in denials if not self.left(question)})

    def take(self, bit: int, denials: list[Denial]) -> None:
        for question, event, reply in denials:
            self.speak(question, bit)
            best = self.held.setdefault(question, Best(set(), None, math.inf, self.now))
            best.hear(event, reply)
            best.wait(event, [GRACES[one] for one in self.left(question)], self.now)

    def speak(self, question: bytes, bit: int) -> None:
        self.spoken.setdefault(question, set()).update({bit} if bit else set())

    @rule(bit=bits)
    def a_server_comes(self, bit: int) -> None:
        self.live.add(bit)
        self.real.upstreams.awaited = sum(self.live)

    @rule(bit=bits)
    def a_server_stalls(self, bit: int) -> None:
        """Words of a stalled server still stand; nobody waits for what it has not said."""
        self.live.discard(bit)
        self.links_changed(0, bit)
        self.release_what_is_held_in_vain()

    @rule(gone=st.sets(bits, max_size=2))
    def some_servers_are_lost(self, gone: set[int]) -> None:
        """Their words are forgotten; what is held stays held. They may have stalled."""
        self.live -= gone
        self.links_changed(sum(gone), sum(gone))
        for by in self.spoken.values():
            by -= gone
        self.release_what_is_held_in_vain()

    def links_changed(self, gone: int, unawaited: int) -> None:
        self.real.upstreams.awaited = sum(self.live)
        self.negatives.links_changed(gone, unawaited, self.now)

    @rule(bit=bits)
    def a_server_has_what_others_deny(self, bit: int) -> None:
        """[P33]: what is denied is held for it as long as it is waited for, from the beginning."""
        self.negatives.differed(cast(Any, self.real.servers[bit]), self.now)
        for question, best in self.held.items():
            if best.state in NO_DATA and bit not in self.spoken[question]:
                best.until = max(best.until, best.since + GRACES[bit])

    @rule(sixteenths=st.sampled_from([0, 1, 2, 32]), late=some)
    def time_passes(self, sixteenths: int, late: list[bytes]) -> None:
        """Nothing is held past its time, nor what is `late`: its asker waits no longer."""
        self.now += sixteenths / 16
        untils = [best.until for best in self.held.values()]
        assert self.negatives.schedule.due <= min(untils, default=math.inf)
        model = {
            question
            for question, best in self.held.items()
            if best.until <= self.now or question in late
        }
        self.told |= {question for question in model if self.held[question].state in NO_DATA}
        self.real.questions.late = late
        self.negatives.schedule.woken(self.now)
        self.real.questions.late = []
        self.release(model)
        untils = [best.until for best in self.held.values()]
        assert self.negatives.schedule.due == min(untils, default=math.inf)

    @rule(questions=some)
    def some_are_asked_again(self, questions: list[bytes]) -> None:
        self.negatives.asked_again(questions)
        for question in set(questions) - set(self.held):
            self.spoken.pop(question, None)

    @rule(questions=some)
    def some_are_open_no_more(self, questions: list[bytes]) -> None:
        assert self.negatives.are_denied(questions) is any(
            self.spoken.get(question) or question in self.held for question in questions
        )
        self.close(questions)

    @invariant()
    def nothing_else_is_kept(self) -> None:
        spoken = {
            question: sum(by)
            for question, by in self.spoken.items()
            if by or question in self.held
        }  # fmt: skip
        assert self.negatives.kept == spoken
        assert self.negatives.is_empty is (not spoken and not self.held)

    @invariant()
    def others_are_told_what_is_held_and_what_was_told(self) -> None:
        for question in QUESTIONS:
            best = self.held.get(question)
            assert self.negatives.is_held(question) is (best is not None and best.until < math.inf)
            assert self.negatives.early.was_told(question) is (question in self.told)


TestNegatives = NegativesMachine.TestCase


def test_a_name_that_exists_has_not_the_time_of_old_data() -> None:
    """The time of old data is its own: a table's NAME begins none."""
    machine = NegativesMachine()
    machine.ls_knows([(b"b.x", QuestionEvent.STALE_SAID, None)])
    machine.hear(TABLES, [], [(b"b.x", QuestionEvent.NAME_SAID, None)])
    machine.time_passes(32, [])
    assert list(machine.held) == [b"b.x"] and machine.negatives.schedule.due == math.inf


def failed(*questions: bytes) -> list[Denial]:
    return [(question, QuestionEvent.FAILURE_SAID, None) for question in questions]


def servers(*bits: int) -> list[Server]:
    return [Server(bit, GRACES[bit]) for bit in bits]


def test_a_grace_counts_from_the_first_denial_of_the_world() -> None:
    """[P42]: also where it became shorter, and longer, since a server has been seen to differ."""
    held = Held([Server(1, is_table=True), Server(2, 1.0), Server(4, 1.0)])
    held.negatives.add(1, [], [(b"x TYPE15", QuestionEvent.NAME_SAID, None)], 0.0)
    assert held.negatives.schedule.due == math.inf
    held.negatives.add(2, [], [(b"x TYPE15", QuestionEvent.NOT_FOUND_SAID, None)], 10.0)
    assert held.negatives.schedule.due == 11.0
    held.servers[4].usual_s = 0.5
    held.negatives.add(2, [], [(b"x TYPE15", QuestionEvent.NOT_FOUND_SAID, None)], 10.25)
    assert held.negatives.schedule.due == 10.75
    held.servers[4].usual_s = 5.0
    held.negatives.differed(cast(Any, held.servers[4]), 10.5)
    held.negatives.schedule.woken(10.5)
    assert held.negatives.schedule.due == 15.0


def test_without_resolvers_silent_tables_are_not_waited_for() -> None:
    """Tables could say nothing better of a type that none has, of a name that one of them has."""
    held = Held([Server(1, is_table=True), Server(2, is_table=True), Server(4)])
    held.negatives.add(1, [], [(b"c TYPE15", QuestionEvent.NAME_SAID, None)], 0.0)
    assert held.questions.take() == []
    held.upstreams.awaited = 1 | 2
    held.negatives.links_changed(0, 4, 0.0)
    assert [question for question, *_ in held.questions.take()] == [b"c TYPE15"]


def test_an_answer_to_what_was_denied_shows_a_split_view() -> None:
    """Nothing is shown by an answer to what is held as a failure."""
    for event, due in ((QuestionEvent.NO_DATA_SAID, 5.0), (QuestionEvent.FAILURE_SAID, 3.0)):
        held = Held([Server(1), Server(2, 1.0)])
        held.negatives.add(1, [], [(b"x", event, None)], 0.0)
        held.servers[2].usual_s = 5.0
        held.negatives.admitted(cast(Any, held.servers[2]), [b"x"], 0.5)
        held.negatives.schedule.woken(0.5)
        assert held.negatives.schedule.due == due


@pytest.mark.parametrize("is_another_held", [False, True])
def test_what_is_settled_leaves_nothing_to_wake_up_for(is_another_held: bool) -> None:
    """A heap keeps it for a while; it must not be looked at, nor held for good."""
    held = Held(servers(1, 2))
    for number in range(1_000):
        held.negatives.add(1, [], failed(b"n%d" % number), number / 1e4)
        held.negatives.closed([b"n%d" % number], QuestionState.ANSWERED, 0.0)
    if is_another_held:
        held.negatives.add(1, [], failed(b"x"), 1.0)
    assert held.negatives.schedule.due == (1.0 + 3 * GRACES[2] if is_another_held else math.inf)
    assert alive(HeldNegative) == is_another_held


def test_those_that_are_down_fail_what_nobody_else_can_answer() -> None:
    resolvers = servers(1, 2)
    resolvers[1].covers_all_names = True
    held = Held(resolvers, awaited=1)
    held.upstreams.failing = 2
    held.negatives.fail([b"x", b"y"], 0.0)
    assert held.servers[2].probe == b"y"
    assert held.negatives.is_held(b"x") and held.questions.take() == []
    held.negatives.schedule.woken(3 * GRACES[1])
    assert [question for question, *_ in held.questions.take()] == [b"x", b"y"]


def test_those_that_are_down_fail_nothing_while_one_is_up() -> None:
    resolvers = servers(1, 2)
    for server in resolvers:
        server.covers_all_names = True
    held = Held(resolvers, awaited=1)
    held.upstreams.failing = 2
    held.negatives.fail([b"x"], 0.0)
    assert held.negatives.is_empty
    held.questions.open = [b"x"]
    held.upstreams.awaited = 0
    held.negatives.links_changed(0, 1, 0.0)
    assert [question for question, *_ in held.questions.take()] == [b"x"]
