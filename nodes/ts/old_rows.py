"""Old rows: a new table reuses the bytes of the rows that it has in common with the old one.

A table that is read again is mostly as it was. New rows beside equal old ones would need twice the
memory, and leave holes when the old ones go; rows that are reused need no memory, and leave no
holes.

A dict tells the line of a question, but not its own copy of the question. That is found in a
window of the old table, in its order, since a file mostly keeps its order: a row that is found in
the window moves it on by one, and one that the old table has elsewhere by two, so that the window
catches up where many rows are gone. New rows move nothing. Where the order differs only lines are
reused.

Not here: what a row is (`nodes/ts/rows.py`), and when a file is read (`reload.py`).
"""

from itertools import islice

_WINDOW_ROWS = 4096  # rows that stand together and may be gone; some 0.5 MB


class OldRows:
    """The rows of an old table, which must not change meanwhile."""

    __slots__ = ("_ahead", "_rows", "_window")

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows
        self._ahead = iter(rows)
        self._window: dict[bytes, bytes] = {}  # each question by itself
        self._move(_WINDOW_ROWS)

    def reuse(self, rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Return the same rows, made of old bytes where there are equal ones."""
        old_lines = list(map(self._rows.get, rows))
        before = len(self._window)
        questions = map(self._window.pop, rows, rows)
        lines = (
            old if old == line else line for old, line in zip(old_lines, rows.values(), strict=True)
        )
        reused = dict(zip(questions, lines, strict=True))
        found = before - len(self._window)
        elsewhere = len(rows) - old_lines.count(None) - found
        self._move(found + 2 * elsewhere)
        return reused

    def reuse_line(self, question: bytes, line: bytes) -> bytes:
        """Return the old line of this question if it is equal, else the new one."""
        old = self._rows.get(question)
        return line if old is None or old != line else old

    def _move(self, count: int) -> None:
        """Take in more rows, and drop the first ones that do not fit into the window."""
        ahead = list(islice(self._ahead, count))
        self._window.update(zip(ahead, ahead, strict=True))
        for question in list(islice(self._window, max(0, len(self._window) - _WINDOW_ROWS))):
            del self._window[question]
