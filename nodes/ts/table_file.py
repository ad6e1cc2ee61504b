"""A table file: rows, or a list of names, read into what a table server answers with.

A row is `name address type`, or `address name ...` as in /etc/hosts; a list has rows that are names
alone. The first good row tells which a file is, unless that is given; proto.md ("A table") has the
rules. A name without a dot tells nothing, since it may be a word of an error page: rows from the
first of them on are held, as far as there is room, until another row tells whether it is a name of
a list. A bad row is reported with its place and skipped; a file that is no text is refused as a
whole, and so is a list that has no name with a dot.

Not here: what a row is (`rows.py`, `block_list.py`), and a file that is read again while its table
is served (`reload.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.io.line_buffer import LineBuffer
from core.protocol.names import LINE_BYTES_MAX
from core.text import BEGINNING_BYTES, BYTE_ORDER_MARK, not_text, split_lines
from nodes.ts.block_list import (
    BLOCK_WITH,
    BlockList,
    BlockListReader,
    BlockWith,
    has_dot,
    parse_name,
)
from nodes.ts.rows import RowError, RowsReader, parse_row
from nodes.ts.table import Format, Table

BLOCK_BYTES = 256 * 1024
_HELD_BYTES_MAX = 4 * 1024  # read row by row in one turn of a reload, with a slice


class NoTableError(ValueError):
    """A file that is no table. The text is a predicate: what the file has, or is, instead."""


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a file is to be read. `format`: None for what its first good row is; `block_with`: what
    is said of the names of a list."""

    format: Format | None = None
    block_with: BlockWith = BLOCK_WITH


ANY_FORM = TableForm()
_NO_DOT = (
    "has no name with a dot, as if it were an error page; add one, such as none.invalid, if that "
    "is meant"
)


def load(path: str, report: Callable[[str], None], form: TableForm = ANY_FORM) -> Table:
    """Read a table file. `report` gets a line `FILE:LINE: WHY` for each bad row.

    Raises OSError, NoTableError.
    """
    loading = Loading(path, report, form)
    with Path(path).open("rb") as file:
        while data := file.read(BLOCK_BYTES):
            loading.take(data)
    return loading.end()


def check(table: Table) -> None:
    """Raise NoTableError if there were rows, and none of them good, or names, and none with a
    dot."""
    if table.bad_rows and not table.size:
        raise NoTableError(f"has no good row; {table.first_bad_row}")
    if isinstance(table, BlockList) and table.size and not table.has_dots:
        raise NoTableError(_NO_DOT)


class Loading:
    """A table that is being read from a file, in chunks. `report` as for `load`."""

    def __init__(
        self,
        path: str,
        report: Callable[[str], None],
        form: TableForm = ANY_FORM,
    ) -> None:
        self._say = partial(_say, path, report)  # which does not refer to the loading itself
        self._form = form
        self._old: Table | None = None
        self._buffer = LineBuffer(LINE_BYTES_MAX)
        self._rows = 0  # rows read by now, good or not
        self._start: bytes | None = b""  # of the file, until it is long enough to be judged
        self._format = form.format
        self._held = b""  # whole lines that may be of either format
        self._reader = self._reader_of(self._format)

    @property
    def table(self) -> Table:
        """The table, as far as it has been read."""
        return self._reader.table

    def reuse(self, old: Table) -> None:
        """Make the table of the bytes of this one, which must not change meanwhile, where it has
        equal ones, and, if it has any entry, of its format, whatever the first row is. Nothing has
        been taken yet."""
        self._old = old
        if old.size:
            self._format = self._format or old.format
        self._reader = self._reader_of(self._format)

    def take(self, data: bytes) -> None:
        """Take the next chunk, cut anywhere. Raises NoTableError."""
        if self._start is None:
            self._take(self._buffer.receive(data))
            return
        self._start += data
        if len(self._start) >= BEGINNING_BYTES:
            self._begin(self._start)

    def end(self) -> Table:
        """Take the end of the file, whose last row needs no LF. Raises NoTableError."""
        if self._start is not None:
            self._begin(self._start)
        self._take(self._buffer.receive(b"\n").removeprefix(b"\n"))
        self._take_held(b"")
        return self.table

    def _begin(self, start: bytes) -> None:
        self._start = None
        if why := not_text(start):
            raise NoTableError(why)
        self._take(self._buffer.receive(start.removeprefix(BYTE_ORDER_MARK)))

    def _take(self, block: bytes) -> None:
        """Take whole lines, without CRs."""
        if self._format is None:
            block = self._recognise(block)
        self._take_rows(block)

    def _take_rows(self, block: bytes) -> None:
        if block:
            self._reader.take(block, self._rows + 1)
            self._rows += block.count(b"\n")

    def _recognise(self, block: bytes) -> bytes:
        """Take, or hold, the lines before the row that tells the format; return the others."""
        start = at = 0
        for row in split_lines(block):
            if format := _format_of(row):
                before = self.table
                self._format, self._reader = format, self._reader_of(format)
                self.table.skip_as(before)
                self._take_held(block[start:at])
                return block[at:]
            at += len(row) + 1
            held = len(self._held) + at - start
            if held > _HELD_BYTES_MAX or (held == len(row) + 1 and not _name_alone(row)):
                self._take_held(block[start:at])
                start = at
        self._held += block[start:]
        return b""

    def _take_held(self, more: bytes) -> None:
        """Take the lines that are held, and these behind them."""
        held, self._held = self._held + more, b""
        self._take_rows(held)

    def _reader_of(self, format: Format | None) -> RowsReader | BlockListReader:
        """Make the reader of a format; of an unknown one that of rows."""
        if format is Format.NAMES:
            return BlockListReader(BlockList(self._form.block_with), self._say, self._old)
        return RowsReader(Table(), self._say, self._old)


def _say(path: str, report: Callable[[str], None], number: int, text: str) -> None:
    report(f"{path}:{number}: {text}")


def _format_of(row: bytes) -> Format | None:
    """Return the format of a file that begins with this row; None if it does not tell."""
    try:
        return Format.ROWS if parse_row(row) else None
    except RowError:
        return Format.NAMES if has_dot(_name_alone(row)) else None


def _name_alone(row: bytes) -> list[bytes]:
    """Return the name of a row of a list; none if it is blank, or bad there."""
    try:
        return parse_name(row)
    except RowError:
        return []
