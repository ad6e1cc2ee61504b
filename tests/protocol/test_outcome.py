"""Outcomes: the part for an asker has each of its questions as often as it asked, as it spelled it.

Not here: who waits for what (`tests/nodes/test_questions.py`), and messages of DNS
(`tests/nodes/test_dns_clients.py`).
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol.names import Negative
from core.protocol.outcome import Answers, Denied, Relayed
from core.text import split_lines

QUESTIONS = [b"a", b"b.y", b"c.x", b"d"]


class Reply:
    """A reply in another language."""

    def __init__(self, question: bytes) -> None:
        self.question = question
        self.addresses = b"10.0.0.1" if question != b"d" else b""

    def line(self, question: bytes, spelling: bytes) -> bytes:
        assert question == self.question
        return spelling + b" 10.0.0.1 A IN\n"


def outcome_of(questions: list[bytes], kind: object) -> Any:  # noqa: ANN401
    if isinstance(kind, Negative):
        return Denied(questions, questions, kind)
    if kind is Relayed:
        return Relayed(questions, list(map(Reply, questions)))
    return Answers(questions, b"".join(Reply(each).line(each, each) for each in questions))


def said(spellings: list[bytes], kind: object) -> Counter[bytes]:
    end = b" - " + kind.value if isinstance(kind, Negative) else b" 10.0.0.1 A IN"
    return Counter(spelling + end for spelling in spellings)


kinds = st.sampled_from([Answers, Relayed, Negative.NOT_FOUND, Negative.NO_DATA])


@given(kinds, st.integers(0, 3), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_part_has_each_question_as_often_as_it_was_asked(
    kind: object, start: int, count: int, times: int, is_spelled: bool
) -> None:
    """A table server's answers keep its own spelling; all else has the asker's."""
    stop = min(start + count, len(QUESTIONS))
    mine = QUESTIONS[start:stop]
    ways = [bytes.upper, bytes.lower, bytes.title][:times]
    is_spelled = is_spelled or times > 1
    spell = (lambda question: [way(question) for way in ways]) if is_spelled else None
    part = outcome_of(QUESTIONS, kind).part(start, stop, times, spell)
    spellings = mine if spell is None else [way for each in mine for way in spell(each)]
    if kind is Answers:
        spellings = mine * times
    assert Counter(split_lines(part.lines)) == said(spellings, kind)
    assert Counter(part.questions) == Counter(mine * times)
    assert len(split_lines(part.lines)) == len(part.questions)


@pytest.mark.parametrize("kind", [Answers, Relayed])
@pytest.mark.parametrize("wanted", [(1, 0, 0, 1), (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0)])
def test_only_those_that_are_wanted_are_left(kind: type, wanted: tuple[int, ...]) -> None:
    left = outcome_of(QUESTIONS, kind).only([each == 1 for each in wanted])
    mine = [question for question, is_wanted in zip(QUESTIONS, wanted, strict=True) if is_wanted]
    assert left.questions == mine and Counter(split_lines(left.lines)) == said(mine, kind)
    data = [b"10.0.0.1" if kind is Answers or each != b"d" else b"data" for each in mine]
    assert [bytes(text) for text in left.texts()] == data


def test_a_part_that_is_all_of_it_is_not_copied() -> None:
    whole = outcome_of(QUESTIONS, Answers)
    assert whole.part(0, 4, 1, None) is whole
