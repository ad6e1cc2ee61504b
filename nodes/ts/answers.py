"""Answers of a table: what it has to say about questions, and how many it could answer.

A name of the table is answered by its row, as it is. A name that the table has, but not with the
type that is asked for, gets NO DATA; a name above one that it has, NAMES BELOW. Any other name gets
silence, or NOT FOUND where the table is a replica of every other (`answer_unknown`).

Rules. A chunk of names that are all in the table costs a dictionary lookup each; only where a name
is missing, and something might be said about it, each question is looked at by itself.

Not here: the file of the table (`nodes/ts/table_file.py`), and who asks (`table_server.py`).
"""

from itertools import repeat

from core.metrics import Metric, Value
from core.protocol.asker import Requests
from core.protocol.messages import negatives
from core.protocol.names import Negative, name_of, other_type
from core.protocol.server_state import ANSWERED, ASKED, NO_DATA
from nodes.ts.table_file import Table

UNKNOWN = Metric("unknown", "Questions whose name is in no row")
ROWS = Metric("rows", "Sets of addresses in the table", is_level=True)

# The ends of lines that deny a question, behind its spelling.
_NO_DATA, _NAMES_BELOW, _NOT_FOUND = (
    negatives([b""], why) for why in (Negative.NO_DATA, Negative.NAMES_BELOW, Negative.NOT_FOUND)
)


class TableAnswers:
    """A table that is asked. Another may take its place in `table` at any time."""

    __slots__ = ("_answer_unknown", "_answered", "_asked", "_no_data", "table")

    def __init__(self, table: Table, *, answer_unknown: bool) -> None:
        self.table = table
        self._answer_unknown = answer_unknown
        self._asked = 0
        self._answered = 0
        self._no_data = 0

    def lines(self, requests: Requests) -> bytes:
        """Return the replies to these questions, as whole lines in their order."""
        table, questions = self.table, requests.questions
        answers = list(map(table.rows.get, questions, repeat(b"")))
        missing = answers.count(b"")
        self._asked += len(answers)
        self._answered += len(answers) - missing
        if missing and (
            self._answer_unknown
            or table.is_mixed
            or b" " in requests.lines
            or not table.above.isdisjoint(questions)
        ):
            each = zip(answers, questions, requests.spellings, strict=True)
            answers = [
                answer or self._negative(question, spelling) for answer, question, spelling in each
            ]
        return b"".join(answers)

    def _negative(self, question: bytes, spelling: bytes) -> bytes:
        """Return the reply to a question without an answer; empty for silence."""
        if other_type(question) in self.table.rows:
            self._no_data += 1
            return spelling + _NO_DATA
        if name_of(question) in self.table.above:
            return spelling + _NAMES_BELOW
        return spelling + _NOT_FOUND if self._answer_unknown else b""

    def metrics(self) -> list[Value]:
        """Return what is counted about questions, and how large the table is."""
        return [
            Value(ASKED, self._asked),
            Value(ANSWERED, self._answered),
            Value(NO_DATA, self._no_data),
            Value(UNKNOWN, self._unknown()),
            Value(ROWS, len(self.table.rows)),
        ]

    def _unknown(self) -> int:
        return self._asked - self._answered - self._no_data
