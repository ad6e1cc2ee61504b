"""Kept: rows of a new table that the old one has, too, are made of the old one's bytes.

A table that is read anew is mostly as it was. Rows that are made anew beside the old ones need
twice the memory, and leave holes when the old ones go; rows that are kept need none, and leave
none.

A dict tells the line of a question, but not its own copy of the question. That is found in a
window of the old table, in its order, since a file is mostly in the order that it had: a row that
is found there moves the window on by one, and one that the old table has elsewhere by two, so that
it catches up where many rows are gone. New rows move nothing. Where the order is another one only
lines are kept.

Not here: what a row is (`nodes/ts/table_file.py`), and when a file is read (`reload.py`).
"""

from itertools import islice

_WINDOW_ROWS = 4096  # so many rows that stand together may be gone; some 0.5 MB


class Kept:
    """The rows of an old table, which must not change meanwhile."""

    __slots__ = ("_ahead", "_old", "_window")

    def __init__(self, old: dict[bytes, bytes]) -> None:
        self._old = old
        self._ahead = iter(old)
        self._window: dict[bytes, bytes] = {}  # each question by itself
        self._move(_WINDOW_ROWS)

    def rows(self, rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """Return equal rows, of old bytes where they are equal."""
        held = list(map(self._old.get, rows))
        before = len(self._window)
        questions = map(self._window.pop, rows, rows)
        lines = (
            old if old == line else line for old, line in zip(held, rows.values(), strict=True)
        )
        kept = dict(zip(questions, lines, strict=True))
        found = before - len(self._window)
        elsewhere = len(rows) - held.count(None) - found
        self._move(found + 2 * elsewhere)
        return kept

    def line(self, question: bytes, line: bytes) -> bytes:
        """Return an equal line, the old one if that is equal."""
        old = self._old.get(question)
        return line if old is None or old != line else old

    def _move(self, count: int) -> None:
        ahead = list(islice(self._ahead, count))
        self._window.update(zip(ahead, ahead, strict=True))
        for question in list(islice(self._window, max(0, len(self._window) - _WINDOW_ROWS))):
            del self._window[question]
