"""Table: what a table server knows, as it is asked.

Most questions are answered by a lookup: `rows` has the whole line. Of a question that is in no row
a table may still have something to say: that its name has nothing of this type, that there are
names below it, or the answer of a wildcard. A list of names (`block_list.py`) has no lines at all,
and says everything in this way.

The names above a row exist, too, with nothing of any type (empty non-terminals, RFC 8020): a table
keeps them.

Not here: how a table is read (`table_file.py`), and what is counted (`answers.py`).
"""

from collections.abc import Iterable
from enum import Enum
from itertools import repeat
from operator import itemgetter

from core.protocol.asker import Requests
from core.protocol.messages import negatives
from core.protocol.names import Negative, name_of, other_type
from nodes.ts.wildcards import WILDCARD, wildcard_of

# The ends of lines that deny a question, behind its spelling.
NO_DATA_END, NAMES_BELOW_END, BLOCKED_END = (
    negatives([b""], why) for why in (Negative.NO_DATA, Negative.NAMES_BELOW, Negative.BLOCKED)
)
ANSWER_END = b" IN\n"  # the end of an answer
_behind = itemgetter(2)  # of a name that was parted at its first dot


class Format(Enum):
    """The formats of a table file. The value is what the file has."""

    ROWS = "rows"
    NAMES = "names"


class Table:
    """The answers of a TS. `rows`: by folded question the whole line of the answer, with its LF;
    that of a wildcard begins with `*.`, as no question does. `above`: the names above those of
    rows, in lower case. `format`: that of its file; `blocks`: whether it blocks names."""

    format = Format.ROWS
    blocks = False

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = {} if rows is None else rows
        self.above: set[bytes] = set()
        self.add_above(list(map(name_of, self.rows)))
        # Whether some name has IPv6 addresses: a question for IPv4 ones may then have NO DATA.
        self.is_mixed = any(b" " in question for question in self.rows)
        self.has_wildcards = any(question.startswith(WILDCARD) for question in self.rows)
        self.bad_rows = 0
        self.first_bad_row = ""  # its number, and why it is bad
        self.duplicate_rows = 0  # the same address again
        self.left_out_rows = 0  # a set that does not fit

    @property
    def size(self) -> int:
        """How many entries there are."""
        return len(self.rows)

    def skip(self, number: int, why: str) -> None:
        """Count the row of this number, which is bad."""
        self.bad_rows += 1
        self.first_bad_row = self.first_bad_row or f"row {number}: {why}"

    def skip_as(self, other: "Table") -> None:
        """Count the bad rows of another table, which had the rows before."""
        self.bad_rows, self.first_bad_row = other.bad_rows, other.first_bad_row

    def count(self, *, duplicate: int = 0, left_out: int = 0) -> None:
        """Count rows that were not taken."""
        self.duplicate_rows += duplicate
        self.left_out_rows += left_out

    def add_above(self, names: list[bytes]) -> None:
        """Add all names above these, which are in lower case. Those of a whole block cost 0.2 us
        each; on the next level there are fewer, and none where nothing was new."""
        level: Iterable[bytes] = names
        above, known = self.above, -1
        while known < len(above):
            known = len(above)
            level = set(map(_behind, map(bytes.partition, level, repeat(b"."))))
            level.discard(b"")
            above |= level

    def may_reply(self, requests: Requests) -> bool:
        """Return whether there may be a reply to one of these that is in no row."""
        return (
            self.is_mixed
            or self.has_wildcards
            or b" " in requests.lines
            or not self.above.isdisjoint(requests.questions)
        )

    def reply(self, question: bytes, spelling: bytes) -> bytes:
        """Return the reply to a question that is in no row, as a line; empty if it has none."""
        if other_type(question) in self.rows:
            return spelling + NO_DATA_END
        if name_of(question) in self.above:
            return spelling + NAMES_BELOW_END
        if not self.has_wildcards:
            return b""
        wildcard = wildcard_of(question, self.rows, self.above)
        if line := self.rows.get(wildcard):
            return name_of(spelling) + line[line.index(b" ") :]
        return spelling + NO_DATA_END if other_type(wildcard) in self.rows else b""

    def free(self, count: int) -> bool:
        """Forget `count` entries, or all where there are fewer; return whether none are left."""
        for entries, forget in ((self.rows, self.rows.popitem), (self.above, self.above.pop)):
            forgotten = min(count, len(entries))
            for _ in range(forgotten):
                forget()
            count -= forgotten
        return not self.rows and not self.above
