"""Twins: one question in two languages, where there are table servers beside resolvers.

A query that says more than a line can is a question of its own, and resolvers are asked it. Table
servers are asked the line that comes nearest, once for all its twins:

- of a query for addresses that wants more than a line can say, signatures for example, the line for
  the same addresses: what a table has is an answer to the query, and NO DATA is NO DATA;
- of a query for another type (MX, say) the line that is the name alone. No table can know what
  there is of that type. But one that has the name, with whatever addresses, shows that it exists.

Not here: how questions are written (`nodes/dns/question.py`), and who asks whom
(`nodes/ls/load_balancer.py`).
"""

from collections.abc import Iterable, Sequence

from nodes.dns.question import TableAnswer, is_beyond_tables, line_of
from nodes.ls.negatives import Denial
from nodes.ls.questions import QuestionEvent


class LineEquivalents:
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

    def have(self, lines: Iterable[bytes]) -> bool:
        """Whether one of these has a twin."""
        return bool(self._of) and not self._of.keys().isdisjoint(lines)

    def without_data(self, lines: Iterable[bytes]) -> list[Denial]:
        """What it says of the twins of these that a table has the name, and nothing else."""
        return [
            (
                twin,
                QuestionEvent.NAME_SAID if is_beyond_tables(twin) else QuestionEvent.NO_DATA_SAID,
                None,
            )
            for twin in self.of(lines)
        ]

    def answered(
        self, questions: Sequence[bytes], lines: Sequence[bytes]
    ) -> tuple[list[bytes], list[TableAnswer], list[Denial]]:
        """What is answered of the twins of these, by lines that are parallel to them; and what is
        said of the others."""
        twins: list[bytes] = []
        answers: list[TableAnswer] = []
        denials: list[Denial] = []
        for question, line in zip(questions, lines, strict=True):
            for twin in self._of.get(question, ()):
                if is_beyond_tables(twin):
                    denials.append((twin, QuestionEvent.NAME_SAID, None))
                    continue
                _, addresses, kind, _ = line.split(b" ")
                twins.append(twin)
                answers.append(TableAnswer(addresses, kind))
        return twins, answers, denials

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
