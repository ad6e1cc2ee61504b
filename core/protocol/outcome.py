"""Outcomes: what became of questions, as an asker is told.

An asker puts them into its own language: a session into lines, a DNS client into messages. An
outcome covers many questions: what an upstream said in one read stays together, and goes on as it
came where one batch of questions waited for all of it.

Not here: who waits for what (`nodes/ls/questions.py`).
"""

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Protocol, TypeVar

from core.protocol.messages import negatives
from core.protocol.names import Negative
from core.text import split_lines

_T = TypeVar("_T")


class RelayedReply(Protocol):
    """A reply in another language than lines, relayed unchanged to askers that speak it."""

    def line(self, question: bytes, spelling: bytes) -> bytes:
        """Return the reply as a line, ended by LF, for a question in this spelling."""
        ...

    @property
    def addresses(self) -> bytes:
        """The addresses of the reply as a line has them; empty where it has other data."""
        ...


Spell = Callable[[bytes], Sequence[bytes]]  # how one asker spelled a question, as often as it asked


class Answers:
    """Answers of a table server as they came: whole lines, parallel to the questions."""

    __slots__ = ("_each", "lines", "questions")

    def __init__(self, questions: Sequence[bytes], lines: bytes) -> None:
        self.questions = questions
        self.lines = lines
        self._each: list[bytes] | None = None

    def each(self) -> list[bytes]:
        """Return the lines one by one, without LF."""
        if self._each is None:
            self._each = split_lines(self.lines)
        return self._each

    def addresses(self) -> list[bytes]:
        """Return the addresses of each answer, as its line has them."""
        return [line.split(b" ")[1] for line in self.each()]

    def only(self, wanted: Sequence[bool]) -> "Answers":
        """Return the answers that are wanted; `wanted` is parallel to the questions."""
        lines = [line + b"\n" for line in compress(self.each(), wanted)]
        return Answers(list(compress(self.questions, wanted)), b"".join(lines))

    def part(self, start: int, stop: int, times: int, spell: Spell | None) -> "Answers":
        if times == 1 and stop - start == len(self.questions):
            return self
        lines = b"\n".join(self.each()[start:stop]) + b"\n"
        return Answers([*self.questions[start:stop]] * times, lines * times)

    def texts(self) -> list[bytes]:
        return self.addresses()


class Relayed:
    """Replies in another language, parallel to the questions and to how they were spelled."""

    __slots__ = ("questions", "replies", "spellings")

    def __init__(
        self,
        questions: Sequence[bytes],
        replies: Sequence[Any],  # each a RelayedReply, of a kind that the asker knows
        spellings: Sequence[bytes] | None = None,  # None: as they are folded
    ) -> None:
        self.questions = questions
        self.replies = replies
        self.spellings = questions if spellings is None else spellings

    @property
    def lines(self) -> bytes:
        """A line for each reply, in the client's spelling."""
        spelled = zip(self.questions, self.spellings, self.replies, strict=True)
        return b"".join([reply.line(question, spelling) for question, spelling, reply in spelled])

    def only(self, wanted: Sequence[bool]) -> "Relayed":
        """Return the replies that are wanted; `wanted` is parallel to the questions."""
        return Relayed(list(compress(self.questions, wanted)), list(compress(self.replies, wanted)))

    def part(self, start: int, stop: int, times: int, spell: Spell | None) -> "Relayed":
        questions, replies = self.questions[start:stop], self.replies[start:stop]
        if spell is None:
            return Relayed(questions, replies)
        spellings = [spell(question) for question in questions]
        return Relayed(
            _as_often(questions, spellings),
            _as_often(replies, spellings),
            [spelling for ways in spellings for spelling in ways],
        )

    def texts(self) -> list[bytes]:
        return [reply.addresses or b"data" for reply in self.replies]


class Denied:
    """A negative for questions, parallel to how they were spelled."""

    __slots__ = ("questions", "spellings", "why")

    def __init__(
        self, questions: Sequence[bytes], spellings: Sequence[bytes], why: Negative
    ) -> None:
        self.questions = questions
        self.spellings = spellings
        self.why = why

    @property
    def lines(self) -> bytes:
        """A line for each question, in the client's spelling."""
        return negatives(self.spellings, self.why)

    def part(self, start: int, stop: int, times: int, spell: Spell | None) -> "Denied":
        questions = self.questions[start:stop]
        if spell is None:
            return Denied(questions, questions, self.why)
        spellings = [spell(question) for question in questions]
        return Denied(
            _as_often(questions, spellings),
            [spelling for ways in spellings for spelling in ways],
            self.why,
        )


def _as_often(items: Sequence[_T], spellings: Sequence[Sequence[bytes]]) -> list[_T]:
    """Return each item as often as its question was asked; `spellings` are parallel."""
    return [item for item, ways in zip(items, spellings, strict=True) for _ in ways]


# Each has `questions` (folded, as often as they were asked), `lines`: one line for each, ended by
# LF, and `part(start, stop, times, spell)`: the part for an asker that asked each of these
# questions `times` times. `spell` is None where it asked each once, in their own spelling: then the
# part that is all of it is the outcome itself.
Outcome = Answers | Relayed | Denied
# Of one upstream, before it is known who waits for them: `only(wanted)`, a parallel list, are those
# that are wanted, and `texts()` the addresses in each, or a word for other data.
Answered = Answers | Relayed
