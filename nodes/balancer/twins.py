"""Twins: one question in two languages, where there are table servers beside resolvers.

A query that wants more than a line can say, signatures for example, is a question of its own, which
resolvers are asked. What a table has of its name is an answer to it all the same: so table servers
are asked the line that comes nearest, and what they say of that is said of its twins, too.

Not here: how questions are written (`nodes/dns/question.py`), and who asks whom (`nodes/ls.py`).
"""

from collections.abc import Iterable, Sequence

from nodes.dns.question import TableAnswer, line_of


class Twins:
    """The open questions that are no lines, by the lines that stand for them."""

    def __init__(self) -> None:
        self._of: dict[bytes, dict[bytes, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def as_lines(self, questions: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Which of these a table server can be asked at all, and the lines for it, each once."""
        asked: list[bytes] = []
        lines: dict[bytes, None] = {}
        for question in questions:
            line = line_of(question)
            if line is None:
                continue
            if line is not question:
                self._of.setdefault(line, {})[question] = None
            asked.append(question)
            lines[line] = None
        return asked, list(lines)

    def of(self, lines: Iterable[bytes]) -> list[bytes]:
        """The twins of all of these."""
        return [twin for line in lines for twin in self._of.get(line, ())]

    def answered(
        self, questions: Sequence[bytes], lines: Sequence[bytes]
    ) -> tuple[list[bytes], list[TableAnswer]]:
        """What is answered of the twins of these, by lines that are parallel to them."""
        twins, answers = [], []
        for question, line in zip(questions, lines, strict=True):
            for twin in self._of.get(question, ()):
                _, addresses, kind, _ = line.split(b" ")
                twins.append(twin)
                answers.append(TableAnswer(addresses, kind))
        return twins, answers

    def forget(self, questions: Iterable[bytes]) -> None:
        """These are open no more."""
        if not self._of:
            return
        for question in questions:
            line = line_of(question)
            if line is not question and line in self._of:
                self._of[line].pop(question, None)
                if not self._of[line]:
                    del self._of[line]
