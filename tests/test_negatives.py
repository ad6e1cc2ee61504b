"""Verdicts against an obvious model: for each question, a set of who has spoken, what is the best
that was said, and until when it is held.

The model knows nothing of bits, of heaps or of RACE: what beats what is a list. Times are multiples
of 1/16 s, so that a moment can be hit exactly.

Not here: who is told what (`tests/test_ls.py`, `tests/test_upstreams.py`), and who is asked next
(`tests/test_hedge.py`).
"""

import math
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nodes.dns.reply import DnsReply
from nodes.ls.negatives import HeldNegative, HeldNegatives
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.upstream import Denial

GRACES = {1: 1 / 16, 2: 2 / 16, 4: 8 / 16}  # what each is waited for
BITS = list(GRACES)
EVERYONE = sum(BITS)
TABLES = 1  # cannot be asked what only DNS can ask of a name that only DNS can have
UNASKABLE = b"\\032 TYPE15"
QUESTIONS = [b"a", b"a AAAA", b"b.x", b"c TYPE15", b"c TYPE28 +do", UNASKABLE]
WORST_FIRST = [
    (QuestionEvent.FAILURE_SAID, QuestionState.FAILURE_HELD),
    (QuestionEvent.REFUSAL_SAID, QuestionState.REFUSAL_HELD),
    (QuestionEvent.NOT_FOUND_SAID, QuestionState.NOT_FOUND_HELD),
    (QuestionEvent.NAME_SAID, QuestionState.NAME_HELD),
    (QuestionEvent.NO_DATA_SAID, QuestionState.NO_DATA_HELD),
]
COURSE = dict(WORST_FIRST)

some = st.lists(st.sampled_from(QUESTIONS), max_size=5)
bits = st.sampled_from(BITS)
findings = st.sampled_from(list(COURSE))
messages = st.sampled_from([None, DnsReply(b"1", 0, is_cut=False), DnsReply(b"2", 0, is_cut=False)])
denials = st.lists(st.tuples(st.sampled_from(QUESTIONS), findings, messages), max_size=5)


def grace_s(course: QuestionState, of: int, now: float) -> float:
    return factor(course) * max(one for bit, one in GRACES.items() if bit & of)


def factor(course: QuestionState) -> float:
    """A failure is worth waiting longer for, whatever a table knows beside it."""
    denied = (QuestionState.NOT_FOUND_HELD, QuestionState.NO_DATA_HELD)
    return 1.0 if course in denied else 3.0


@dataclass
class Best:
    """What the model knows of what is held: all that was said, and the message that is told."""

    said: set[QuestionEvent]
    message: object
    until: float
    since: float

    @property
    def course(self) -> QuestionState:
        """A name that exists is not NXDOMAIN, whoever says what first."""
        if {QuestionEvent.NAME_SAID, QuestionEvent.NOT_FOUND_SAID} <= self.said:
            return QuestionState.NO_DATA_HELD
        return next(course for finding, course in WORST_FIRST[::-1] if finding in self.said)

    def is_moot(self, question: bytes) -> bool:
        """Whether tables can say nothing better: they know the name, but not this type."""
        is_there = self.course in (QuestionState.NAME_HELD, QuestionState.NO_DATA_HELD)
        return is_there and b"TYPE15" in question


class VerdictsMachine(RuleBasedStateMachine):
    """Servers deny, go and stall; questions are asked again, answered and closed; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts = HeldNegatives(EVERYONE, TABLES, grace_s)
        self.now = 50.0
        self.live = set(BITS)
        self.spoken: dict[bytes, set[int]] = {}
        self.held: dict[bytes, Best] = {}

    def close(self, questions: list[bytes]) -> None:
        self.verdicts.forget(questions)
        for question in questions:
            self.spoken.pop(question, None)
            self.held.pop(question, None)

    def release(self, enough: list[HeldNegative], model: set[bytes]) -> None:
        """What has been held enough is told once, the best of it, and then it is open no more."""
        questions = [held.question for held in enough]
        assert len(questions) == len(set(questions)) and set(questions) == model
        for held in enough:
            best = self.held[held.question]
            assert held.course is best.course and held.message is best.message
        self.close(questions)

    def left(self, question: bytes) -> set[int]:
        """Who is to speak still, of those who are waited for."""
        is_moot = question in self.held and self.held[question].is_moot(question)
        return self.live - self.spoken[question] - ({TABLES} if is_moot else set())

    def release_what_is_held_in_vain(self) -> None:
        model = {question for question in self.held if not self.left(question)}
        self.release(self.verdicts.held_in_vain(sum(self.live)), model)

    @rule(bit=bits, not_found=some, denials=denials)
    def hear(self, bit: int, not_found: list[bytes], denials: list[Denial]) -> None:
        """[P21] [P22] [P33] [P42]: all say that their tables have not; or the best of what is held,
        when every live one has spoken or has had its time, which a table's NAME does not begin.

        One that is stalled may speak, too; the same may be said twice, and worse after better.
        """
        for question, finding, message in denials:
            self.speak(question, bit)
            best = self.held.setdefault(question, Best(set(), None, math.inf, self.now))
            before = best.course if best.said else None
            best.said.add(finding)
            if best.course is not before:
                best.message = message if best.course is COURSE[finding] else None
            if finding is QuestionEvent.NAME_SAID:
                continue
            left = self.left(question)
            longest = max((GRACES[one] for one in left), default=0)
            if left and best.until == math.inf:
                best.since = self.now
            if left:
                best.until = min(best.until, self.now + longest * factor(best.course))
        for question in not_found:
            self.speak(question, bit)
        decided = set(not_found) | {question for question, _, _ in denials}
        said = self.verdicts.hear(bit, sum(self.live), not_found, denials, self.now)
        unknown, enough = said
        assert len(unknown) == len(set(unknown))
        assert set(unknown) == {
            q for q in decided - set(self.held) if self.spoken[q] == set(BITS)
        }  # fmt: skip
        self.release(enough, {q for q in decided & set(self.held) if not self.left(q)})
        self.close(unknown)

    def speak(self, question: bytes, bit: int) -> None:
        if not self.spoken.get(question) and question not in self.held:
            self.spoken[question] = {TABLES} if question == UNASKABLE else set()
        self.spoken[question].add(bit)

    @rule(bit=bits)
    def a_server_comes(self, bit: int) -> None:
        self.live.add(bit)

    @rule(bit=bits)
    def a_server_stalls(self, bit: int) -> None:
        """What it has said still stands; nobody waits for what it has not."""
        self.live.discard(bit)
        self.release_what_is_held_in_vain()

    @rule(gone=st.sets(bits, max_size=2))
    def some_servers_are_lost(self, gone: set[int]) -> None:
        """What they have said is forgotten; what is held stays held. They may have stalled. What
        tables cannot be asked they need not say when they are back."""
        self.live -= gone
        self.verdicts.forget_server(sum(gone))
        for question, by in self.spoken.items():
            takes_back = by & gone and question == UNASKABLE
            by -= gone
            if takes_back:
                by.discard(TABLES)
                by |= {TABLES} if by or question in self.held else set()
        self.release_what_is_held_in_vain()

    @rule(bit=bits)
    def a_server_has_what_others_deny(self, bit: int) -> None:
        """[P33]: what is denied is held for it as long as it is waited for, from the beginning."""
        self.verdicts.wait_longer(bit, self.now)
        for question, best in self.held.items():
            if factor(best.course) == 1.0 and bit not in self.spoken[question]:
                best.until = max(best.until, best.since + GRACES[bit])

    @rule(sixteenths=st.sampled_from([0, 1, 2]), late=some)
    def time_passes(self, sixteenths: int, late: list[bytes]) -> None:
        """Nothing is held past its time, nor what is `late`: its asker waits no longer."""
        self.now += sixteenths / 16
        untils = [best.until for best in self.held.values()]
        assert self.verdicts.due() == min(untils, default=math.inf)
        model = {
            question
            for question, best in self.held.items()
            if best.until <= self.now or question in late
        }
        self.release(self.verdicts.held_until(self.now, late), model)

    @rule(questions=some)
    def some_are_asked_again(self, questions: list[bytes]) -> None:
        self.verdicts.asked_again(questions)
        for question in set(questions) - set(self.held):
            self.spoken.pop(question, None)

    @rule(questions=some)
    def some_are_open_no_more(self, questions: list[bytes]) -> None:
        assert self.verdicts.are_spoken_of(questions) is any(
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
        assert self.verdicts.spoken == spoken
        assert self.verdicts._held.keys() == self.held.keys()


TestVerdicts = VerdictsMachine.TestCase

NO_DATA, FAILED = QuestionEvent.NO_DATA_SAID, QuestionEvent.FAILURE_SAID


def no_data(*questions: bytes) -> list[Denial]:
    return [(question, NO_DATA, None) for question in questions]


def questions(enough: list[HeldNegative]) -> list[bytes]:
    return [held.question for held in enough]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_not_found_takes_everyone_and_a_ts_that_repeats_itself_is_still_one(count: int) -> None:
    verdicts = HeldNegatives((1 << count) - 1, (1 << count) - 1, grace_s)
    for number in range(count):
        for again in range(3):
            said = verdicts.hear(1 << number, (1 << count) - 1, [b"x", b"x"], [], 0.0)
            is_last = number == count - 1
            assert said == (([b"x"] if is_last else []), []), again


def test_no_data_is_better_than_not_found_of_a_table_whoever_says_it_first() -> None:
    for first, second in ((([], no_data(b"x")), ([b"x"], [])), (([b"x"], []), ([], no_data(b"x")))):
        verdicts = HeldNegatives(3, 3, grace_s)
        assert verdicts.hear(1, 3, *first, 0.0) == ([], [])
        unknown, enough = verdicts.hear(2, 3, *second, 0.0)
        assert not unknown and questions(enough) == [b"x"]


def test_it_is_held_from_the_first_who_says_so_and_no_longer_for_the_fast_than_they_take() -> None:
    verdicts = HeldNegatives(7, 0, grace_s)
    verdicts.hear(1, 7, [], [(b"x", FAILED, None)], 0.0)  # 2 and 4 are to speak
    assert verdicts.due() == 3 * GRACES[4]
    verdicts.hear(4, 7, [], [(b"x", FAILED, None)], 0.0)  # only 2 is
    assert verdicts.due() == 3 * GRACES[2]
    verdicts.hear(
        4, 7, [], [(b"x", FAILED, None)], GRACES[2] / 2
    )  # that it is said again is no news
    assert verdicts.due() == 3 * GRACES[2]
    assert verdicts.held_until(3 * GRACES[2] - 1e-6) == []
    assert questions(verdicts.held_until(3 * GRACES[2])) == [b"x"]


def test_a_grace_counts_from_the_first_denial_and_not_from_a_table_that_has_the_name() -> None:
    """[P42]: also where it becomes longer, since a server has been seen to differ."""
    longer = [1.0, 5.0]
    verdicts = HeldNegatives(7, 1, lambda *_: longer[0])
    assert verdicts.hear(1, 7, [], [(b"x TYPE15", QuestionEvent.NAME_SAID, None)], 0.0) == ([], [])
    assert verdicts.due() == math.inf and not verdicts.is_held(b"x TYPE15")
    verdicts.hear(2, 7, [], [(b"x TYPE15", QuestionEvent.NOT_FOUND_SAID, None)], 10.0)
    assert verdicts.due() == 11.0 and verdicts.is_held(b"x TYPE15")
    longer.pop(0)
    verdicts.wait_longer(4, 10.5)
    assert verdicts.due() == 15.0


def test_where_nobody_denies_nothing_is_kept() -> None:
    verdicts = HeldNegatives(3, 0, grace_s)
    verdicts.asked_again([b"x"])
    verdicts.forget([b"x"])
    verdicts.forget_server(1)
    assert not verdicts.spoken and verdicts.due() == math.inf
    assert verdicts.held_until(1e9, [b"x"]) == verdicts.held_in_vain(0) == []


def test_with_nobody_left_to_wait_for_all_that_is_held_is_held_in_vain() -> None:
    verdicts = HeldNegatives(3, 0, grace_s)
    verdicts.hear(1, 3, [b"y"], no_data(b"x"), 0.0)
    verdicts.forget_server(1)
    assert verdicts.held_in_vain(2) == []
    assert questions(verdicts.held_in_vain(0)) == [b"x"]
    assert verdicts.spoken == {b"x": 0}


def test_what_is_not_held_leaves_nothing_behind() -> None:
    """With one resolver nobody is waited for, and nobody asks when anything is due."""
    verdicts = HeldNegatives(1, 0, grace_s)
    for number in range(100):
        question = b"n%d" % number
        _, enough = verdicts.hear(1, 1, [], [(question, FAILED, None)], 1.0)
        assert questions(enough) == [question]
        verdicts.forget([question])
    assert not verdicts._dues and not verdicts._held and not verdicts.spoken


def test_what_is_settled_leaves_nothing_to_wake_up_for() -> None:
    """A heap keeps it for a while; it must not be looked at, nor held for good."""
    verdicts = HeldNegatives(3, 0, grace_s)
    for number in range(1_000):
        question = b"n%d" % number
        verdicts.hear(1, 3, [], [(question, FAILED, None)], number / 1e4)
        verdicts.forget([question])
    assert verdicts.due() == math.inf and not verdicts._dues
