"""Answers of a table: what it has to say about questions, and how many it could answer.

A question of the table is answered by its row, as it is. Of others the table may have something to
say, NO DATA for example. Any other name gets silence, or NOT FOUND where the table is a replica of
every other (`answer_unknown`).

Rules. A chunk of names that are all in the table costs a dictionary lookup each; only where a name
is missing, and something might be said about it, each question is looked at by itself.

Not here: what a table says (`table.py`, `block_list.py`), and who asks (`table_server.py`).
"""

from itertools import repeat

from core.metrics import Metric, Value
from core.protocol.asker import Requests
from core.protocol.messages import negatives
from core.protocol.names import Negative
from core.protocol.server_state import ANSWERED, ASKED, NO_DATA
from nodes.ts.table import ANSWER_END, BLOCKED_END, NO_DATA_END, Table

BLOCKED = Metric("blocked", "Questions whose name, or one above it, is in a list of names")
UNKNOWN = Metric("unknown", "Questions whose name is in no row")
ROWS = Metric("rows", "Sets of addresses in the table, or names in the list", is_level=True)

_NOT_FOUND = negatives([b""], Negative.NOT_FOUND)


class TableAnswers:
    """A table that is asked. Another may take its place in `table` at any time."""

    __slots__ = (
        "_answer_unknown",
        "_answered",
        "_asked",
        "_blocked",
        "_denied",
        "_no_data",
        "table",
    )

    def __init__(self, table: Table, *, answer_unknown: bool) -> None:
        self.table = table
        self._answer_unknown = answer_unknown
        self._asked = 0
        self._answered = 0
        self._no_data = 0
        self._denied = 0  # questions whose name is said not to exist
        self._blocked = 0

    def lines(self, requests: Requests) -> bytes:
        """Return the replies to these questions, as whole lines in their order."""
        table, questions = self.table, requests.questions
        answers = list(map(table.rows.get, questions, repeat(b"")))
        missing = answers.count(b"")
        self._asked += len(answers)
        self._answered += len(answers) - missing
        if missing and (self._answer_unknown or table.may_reply(requests)):
            each = zip(answers, questions, requests.spellings, strict=True)
            answers = [
                answer or self._reply(question, spelling) for answer, question, spelling in each
            ]
        return b"".join(answers)

    def _reply(self, question: bytes, spelling: bytes) -> bytes:
        """Return the reply to a question that is in no row; empty for silence."""
        line = self.table.reply(question, spelling)
        if not line:
            return spelling + _NOT_FOUND if self._answer_unknown else b""
        self._answered += line.endswith(ANSWER_END)
        self._no_data += line.endswith(NO_DATA_END)
        self._denied += line.endswith(BLOCKED_END)
        self._blocked += self.table.blocks
        return line

    def metrics(self) -> list[Value]:
        """Return what is counted about questions, and how large the table is."""
        return [
            Value(ASKED, self._asked),
            Value(ANSWERED, self._answered),
            Value(NO_DATA, self._no_data),
            Value(BLOCKED, self._blocked),
            Value(UNKNOWN, self._unknown()),
            Value(ROWS, self.table.size),
        ]

    def _unknown(self) -> int:
        return self._asked - self._answered - self._no_data - self._denied
