"""Verdicts against an obvious model: for each question, a set of who has spoken and when it began.

The model knows nothing of bits or of what is due first: it walks over everything. Times are
multiples of 1/16 s, so that a moment can be hit exactly.

Not here: who is told what (`tests/test_ls.py`), and who is asked next (`tests/test_hedge.py`).
"""

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nodes.balancer.verdicts import Verdicts

HOLD_S = 1 / 16
BITS = [1, 2, 4]
EVERYONE = sum(BITS)
QUESTIONS = [b"a", b"a AAAA", b"b.x", b"c"]

some = st.lists(st.sampled_from(QUESTIONS), max_size=5)
bits = st.sampled_from(BITS)


class VerdictsMachine(RuleBasedStateMachine):
    """TSs deny, go and stall; questions are asked again, answered and closed; time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.verdicts = Verdicts(EVERYONE, HOLD_S)
        self.now = 50.0
        self.live = set(BITS)
        self.spoken: dict[bytes, set[int]] = {}
        self.held: dict[bytes, float] = {}

    def close(self, questions: list[bytes]) -> None:
        self.verdicts.forget(questions)
        for question in questions:
            self.spoken.pop(question, None)
            self.held.pop(question, None)

    def release(self, enough: list[bytes], model: set[bytes]) -> None:
        """What has been held enough is told once, and then it is open no more."""
        assert len(enough) == len(set(enough)) and set(enough) == model
        self.close(enough)

    def release_what_is_held_in_vain(self) -> None:
        model = {question for question in self.held if self.live <= self.spoken[question]}
        self.release(self.verdicts.held_in_vain(sum(self.live)), model)

    @rule(bit=bits, not_found=some, no_data=some)
    def hear(self, bit: int, not_found: list[bytes], no_data: list[bytes]) -> None:
        """[P21] [P22]: everyone says so, or every live one and somebody NO DATA.

        One that is stalled may speak, too; the same may be said twice.
        """
        for question in no_data:
            self.held.setdefault(question, self.now + HOLD_S)
        for question in [*not_found, *no_data]:
            self.spoken.setdefault(question, set()).add(bit)
        decided = set(not_found) | set(no_data)
        said = self.verdicts.hear(bit, sum(self.live), not_found, no_data, self.now)
        assert [len(questions) for questions in said] == [len(set(questions)) for questions in said]
        unknown, enough = said
        assert set(enough) == {q for q in decided & set(self.held) if self.live <= self.spoken[q]}
        assert set(unknown) == {
            q for q in decided - set(self.held) if self.spoken[q] == set(BITS)
        }  # fmt: skip
        self.close(unknown + enough)

    @rule(bit=bits)
    def a_ts_comes(self, bit: int) -> None:
        self.live.add(bit)

    @rule(bit=bits)
    def a_ts_stalls(self, bit: int) -> None:
        """What it has said still stands; nobody waits for what it has not."""
        self.live.discard(bit)
        self.release_what_is_held_in_vain()

    @rule(gone=st.sets(bits, max_size=2))
    def some_tss_are_lost(self, gone: set[int]) -> None:
        """What they have said is forgotten; what is held stays held. They may have stalled."""
        self.live -= gone
        self.verdicts.take_back(sum(gone))
        for by in self.spoken.values():
            by -= gone
        self.release_what_is_held_in_vain()

    @rule(sixteenths=st.sampled_from([0, 1, 2]))
    def time_passes(self, sixteenths: int) -> None:
        self.now += sixteenths / 16
        assert self.verdicts.due() == min(self.held.values(), default=math.inf)
        model = {question for question, due in self.held.items() if due <= self.now}
        self.release(self.verdicts.held_until(self.now), model)

    @rule()
    def a_question_times_out(self) -> None:
        """Nothing is held past that."""
        self.release(self.verdicts.held_until(math.inf), set(self.held))
        assert not self.held

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
        assert self.verdicts._held == self.held


TestVerdicts = VerdictsMachine.TestCase


@pytest.mark.parametrize("count", [1, 2, 5])
def test_not_found_takes_everyone_and_a_ts_that_repeats_itself_is_still_one(count: int) -> None:
    verdicts = Verdicts((1 << count) - 1, HOLD_S)
    for number in range(count):
        for again in range(3):
            said = verdicts.hear(1 << number, (1 << count) - 1, [b"x", b"x"], [], 0.0)
            is_last = number == count - 1
            assert said == (([b"x"] if is_last else []), []), again


def test_no_data_is_better_than_not_found_whoever_says_it_first() -> None:
    for first, second in (([], [b"x"]), ([b"x"], [])):
        verdicts = Verdicts(3, HOLD_S)
        assert verdicts.hear(1, 3, first, second, 0.0) == ([], [])
        assert verdicts.hear(2, 3, second, first, 0.0) == ([], [b"x"])


def test_no_data_is_held_from_the_first_who_says_so() -> None:
    verdicts = Verdicts(7, HOLD_S)
    verdicts.hear(1, 7, [], [b"x"], 0.0)
    verdicts.hear(2, 7, [], [b"x"], HOLD_S / 2)
    assert verdicts.due() == HOLD_S
    assert verdicts.held_until(HOLD_S - 1e-6) == []
    assert verdicts.held_until(HOLD_S) == [b"x"]


def test_where_nobody_denies_nothing_is_kept() -> None:
    verdicts = Verdicts(3, HOLD_S)
    verdicts.asked_again([b"x"])
    verdicts.forget([b"x"])
    verdicts.take_back(1)
    assert not verdicts.spoken and verdicts.due() == math.inf
    assert verdicts.held_until(math.inf) == verdicts.held_in_vain(0) == []


def test_with_nobody_left_to_wait_for_all_that_is_held_is_held_in_vain() -> None:
    verdicts = Verdicts(3, HOLD_S)
    verdicts.hear(1, 3, [b"y"], [b"x"], 0.0)
    verdicts.take_back(1)
    assert verdicts.held_in_vain(2) == []
    assert verdicts.held_in_vain(0) == [b"x"]
    assert verdicts.spoken == {b"x": 0}
