"""Reload: a table file is read again, in slices, while the table that was read before is served.

The loop runs one slice a turn, so that nobody waits for longer than a slice takes. When the whole
file has been read it is judged, and then its table replaces the old one all at once, or is refused.
A table that is no longer served is freed in slices, too: freeing a million rows takes longer than a
turn may.

A file is refused, with one line that says why, when it cannot be read, is not a regular file
(only that can be read without waiting), changes while it is read, is no text, has rows and no good
one, names and none with a dot, or, for --strict, a bad row. A file without rows is served: a list
of names may be empty. But a file of no bytes at all, which is how a file begins that is written in
place, does not replace rows.
A table that has entries keeps its format, rows or names: a page that says "error" is no list.
A reload that is asked for while a file is being read reads it once more afterwards.

Not here: what a table is (`nodes/ts/table.py`), and who asks (`nodes/ts/table_server.py`).
"""

import errno
import os
from collections.abc import Callable, Generator

from core.effects import Effect
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.metrics import Metric, Value
from core.operator import Level, Notify, Report, Standing
from core.regular_file import regular_file
from nodes.ts.table import Table
from nodes.ts.table_file import ANY_FORM, Loading, NoTableError, TableForm, check

# Bytes read in one turn: hundreds of rows, 0.2 ms, or 1 to 3 ms where they are read row by row.
SLICE_BYTES = 8 * 1024
_SLICE_ROWS = 20_000  # rows freed in one turn, with names above them: 2 ms
_NO_BYTE = "it is empty, as if it were being written; write a comment into it if that is meant"
EMPTY = "has no rows: every name is unknown"


class ReloadState(Label):
    """The state of a reload."""

    STEADY = "nothing is being read"
    READING = "a new table is being read, slice by slice"
    OUTDATED = "as READING, and the file may be newer by now: it is read once more afterwards"
    RETIRING = "what is not served, the old table or a refused one, is let go, slice by slice"
    RESTARTING = "as RETIRING, and then the file is read"


class ReloadEvent(Label):
    """The events of a reload."""

    ASKED = "a signal came"
    TAKEN = "the whole file has been read, and its table is served from now on"
    REFUSED = "it cannot be read, or is not to be served"
    LET_GO = "nothing is left of what is not served"


S, E = ReloadState, ReloadEvent
RELOAD: Transitions[ReloadState, ReloadEvent] = {
    S.STEADY: {E.ASKED: S.READING},
    S.READING: {E.ASKED: S.OUTDATED, E.TAKEN: S.RETIRING, E.REFUSED: S.RETIRING},
    S.OUTDATED: {E.ASKED: STAY, E.TAKEN: S.RESTARTING, E.REFUSED: S.RESTARTING},
    S.RETIRING: {E.ASKED: S.RESTARTING, E.LET_GO: S.STEADY},
    S.RESTARTING: {E.ASKED: STAY, E.LET_GO: S.READING},
}

RELOADS = Metric("reloads", "Tables that were read again, and served")
RELOADS_REFUSED = Metric("reloads_refused", "Tables that were read again, and refused")

Slices = Callable[[str], Generator[bytes, None, None]]


def slices(path: str) -> Generator[bytes, None, None]:
    """Read a file in slices. Raises OSError when it cannot be read, or not without waiting, or
    has changed meanwhile."""
    with regular_file(path) as fd:
        before = os.fstat(fd)
        while data := os.read(fd, SLICE_BYTES):
            yield data
        after = os.fstat(fd)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError(
                errno.EAGAIN, "it changed while it was read; rename a whole one into place"
            )


class Reload:
    """The reloading of one file, which is read as `form` says. `read` yields its slices."""

    def __init__(
        self,
        path: str,
        *,
        form: TableForm = ANY_FORM,
        strict: bool = False,
        read: Slices = slices,
        watch: Watch | None = None,
    ) -> None:
        self.life = Machine(RELOAD, ReloadState.STEADY, "reload", watch)
        self._path = path
        self._about = {"table": path}  # facts of each report
        self._form = form
        self._strict = strict
        self._read = read
        self._began = 0.0
        self._slices: Generator[bytes, None, None]
        self._loading: Loading
        self._is_empty = True  # no byte of it has been read
        self._bad: list[str] = []  # reports about rows of this slice
        self._retired = Table()
        self._taken = 0
        self._refused = 0

    @property
    def is_busy(self) -> bool:
        """Whether the next turn is wanted, too."""
        return self.life.state is not ReloadState.STEADY

    def metrics(self) -> list[Value]:
        """Return what became of reloads."""
        return [Value(RELOADS, self._taken), Value(RELOADS_REFUSED, self._refused)]

    def ask(self, now: float) -> list[Effect]:
        """Have the file read, from its beginning."""
        if self.life.state is ReloadState.STEADY:
            self._begin(now)
        self.life.fire(ReloadEvent.ASKED)
        return [Notify(Standing.RELOADING)]

    def turn(self, served: Table, now: float) -> tuple[Table, list[Effect]]:
        """Read or free the next slice; return the table to serve from now on."""
        if self.life.state in (ReloadState.READING, ReloadState.OUTDATED):
            return self._read_slice(served, now)
        if self._retired.free(_SLICE_ROWS):
            self._retired = Table()  # an emptied one still holds its memory
            if self.life.fire(ReloadEvent.LET_GO) is ReloadState.READING:
                self._begin(now)
        return served, []

    def _begin(self, now: float) -> None:
        self._began = now
        self._slices = self._read(self._path)
        self._bad = []
        self._is_empty = True
        self._loading = Loading(self._path, self._bad.append, self._form)

    def _read_slice(self, served: Table, now: float) -> tuple[Table, list[Effect]]:
        try:
            data = next(self._slices, b"")
        except OSError as error:
            return served, self._refuse((error.strerror or str(error)).lower())
        try:
            if data:
                if self._is_empty:
                    self._is_empty = False
                    self._loading.reuse(served)
                self._loading.take(data)
            else:
                self._loading.end()
        except NoTableError as error:
            return served, self._refuse(f"it {error}")
        table = self._loading.table
        if self._strict and table.bad_rows:
            bad = table.first_bad_row
            return served, self._refuse(f"it has a bad row, and --strict wants none; {bad}")
        effects: list[Effect] = [
            Report(text, Level.WARNING, "bad_row", self._about, "a bad row") for text in self._bad
        ]
        self._bad.clear()
        if data:
            return served, effects
        try:
            check(table)
        except NoTableError as error:
            return served, [*effects, *self._refuse(f"it {error}")]
        if self._is_empty and served.size:
            return served, self._refuse(_NO_BYTE)
        self._taken += 1
        self._retired = served
        del self._loading
        left = f", {table.bad_rows} bad rows left out" if table.bad_rows else ""
        rows, seconds = table.size, now - self._began
        text = f"{self._path} reloaded: {rows} {table.format.value} in {seconds:.1f} s{left}"
        about = {"rows": rows, "seconds": round(seconds, 3), "bad_rows": table.bad_rows}
        effects.append(Report(text, Level.INFO, "table_reloaded", {**self._about, **about}))
        if not table.size:
            text = f"{self._path} {EMPTY}"
            effects.append(Report(text, Level.WARNING, "table_empty", self._about))
        return table, [*effects, *self._decided(ReloadEvent.TAKEN)]

    def _refuse(self, why: str) -> list[Effect]:
        self._refused += 1
        self._slices.close()
        self._retired = self._loading.table
        del self._loading  # which holds both tables
        text = f"{self._path} is refused: {why}; the old table stays in use"
        refusal = Report(text, Level.ERROR, "reload_refused", {**self._about, "reason": why})
        return [refusal, *self._decided(ReloadEvent.REFUSED)]

    def _decided(self, step: ReloadEvent) -> list[Effect]:
        if self.life.fire(step) is ReloadState.RESTARTING:
            return []
        return [Notify(Standing.READY)]
