"""A table file: rows `name address type`, read into what a table server answers with.

Rules of the file: fields stand apart by spaces or tabs, nothing else; lines end with LF or CRLF;
blank lines and lines that begin with `#` say nothing; a byte-order mark is dropped. A bad row is
reported with its place and skipped; a file that is no text has none that are worth it. Rows with
the same name, in any case of letters, and the same type are one set: it is spelled as the first of
them, keeps their order, and has each address once. An address that would make the answer too long
for a line is reported and left out.

The names above a row exist, too, with nothing of any type (empty non-terminals, RFC 8020): a table
keeps which they are.

A block of ordinary rows is checked by one pattern and split at C speed; only a block with something
else in it, a set for example, is read row by row. Addresses are checked by the patterns of
`core/protocol/messages.py`, which give `ipaddress`'s verdicts (a test holds them together) at a
third of its price: it matters for a million rows.

Not here: a file that is read anew while its table is served (`nodes/ts/reload.py`).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from itertools import repeat
from operator import itemgetter
from pathlib import Path

from core.io.line_buffer import LineBuffer
from core.protocol.messages import (
    IPV4,
    IPV6,
    LINE_BYTES_MAX,
    NAME,
    POSSESSIVE,
    Answer,
    Type,
    fold,
    format_message,
    is_name,
    split_lines,
)
from core.text import BEGINNING_BYTES, not_text
from nodes.ts.kept import Kept

_BLOCK_BYTES = 1024 * 1024
_MARK = b"\xef\xbb\xbf"
SKIPPED = "; skipped"  # ends what is said of a bad row
_NAME_FITS = rb"(?![^ \t\n]{254})"  # not 254 bytes or more
# At most 62 blanks in a row: with the longest name and address that stays within a line.
_BLANKS = rb"[ \t]{1,62}+"
_ORDINARY_ROWS = re.compile(
    rb"(?:%b(?!-++[ \t])%b%b(?:%b%bA|%b%bAAAA)(?:%b)?\n)+%b"
    % (_NAME_FITS, NAME, _BLANKS, IPV4, _BLANKS, IPV6, _BLANKS, _BLANKS, POSSESSIVE)
)
_ADDRESS = {Type.A: re.compile(IPV4), Type.AAAA: re.compile(IPV6)}
_KIND = {Type.A: "an IPv4 address", Type.AAAA: "an IPv6 address"}
_FIELD = re.compile(rb"[^ \t]+")
_behind = itemgetter(2)  # of a name that was parted at its first dot


class RowError(ValueError):
    """A row that is none. The text says why."""


class NoTableError(ValueError):
    """A file that is no table at all. The text says what it does, or is, instead."""


class Table:
    """Answers by folded question; the value is the whole line, with its LF. `above`: the names that
    are above one of a row, in lower case."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = {} if rows is None else rows
        self.above: set[bytes] = set()
        self.add_above([question.removesuffix(b" AAAA") for question in self.rows])
        # Whether a question without a type may be one of a name that has addresses of another.
        self.is_mixed = any(b" " in question for question in self.rows)
        self.bad_rows = 0
        self.duplicate_rows = 0  # the same address again
        self.left_out_rows = 0  # a set that does not fit

    def add_above(self, names: list[bytes]) -> None:
        """Add all names above these, which are in lower case. Those of a whole block cost 0.2 us
        each; on the next level there are fewer, and none where nothing was new."""
        some: Iterable[bytes] = names
        above, known = self.above, -1
        while known < len(above):
            known = len(above)
            some = set(map(_behind, map(bytes.partition, some, repeat(b"."))))
            some.discard(b"")
            above |= some

    def let_go(self, most: int) -> bool:
        """Forget so many entries at most; return whether that were all."""
        for entries, forget in ((self.rows, self.rows.popitem), (self.above, self.above.pop)):
            few = min(most, len(entries))
            for _ in range(few):
                forget()
            most -= few
        return not self.rows and not self.above


def load(path: str, report: Callable[[str], None]) -> Table:
    """Read a table file. `report` gets a line `file:line: what` per bad row.

    Raises OSError, NoTableError.
    """
    loading = Loading(path, report)
    with Path(path).open("rb") as file:
        while data := file.read(_BLOCK_BYTES):
            loading.take(data)
    return loading.end()


def check(table: Table) -> None:
    """Raise NoTableError if there were rows, and no good one."""
    if table.bad_rows and not table.rows:
        raise NoTableError("has no good row")


class Loading:
    """A table in the making, of a file that is read in chunks. `report` as for `load`."""

    def __init__(self, path: str, report: Callable[[str], None]) -> None:
        self.table = Table()
        self._path = path
        self._report = report
        self._buffer = LineBuffer(LINE_BYTES_MAX)
        self._kept: Kept | None = None
        self._rows = 0  # so far, good or not
        self._start: bytes | None = b""  # of the file, until it is long enough to be judged

    def keep(self, old: dict[bytes, bytes]) -> None:
        """Make the table of what these rows have in common with it."""
        self._kept = Kept(old)

    def take(self, data: bytes) -> None:
        """The next chunk, cut anywhere. Raises NoTableError."""
        if self._start is None:
            self._take(self._buffer.receive(data))
            return
        self._start += data
        if len(self._start) >= BEGINNING_BYTES:
            self._begin(self._start)

    def end(self) -> Table:
        """There is no more; the last row needs no LF. Raises NoTableError."""
        if self._start is not None:
            self._begin(self._start)
        self._take(self._buffer.receive(b"\n").removeprefix(b"\n"))
        self._kept = None  # it holds the old rows
        return self.table

    def _begin(self, start: bytes) -> None:
        self._start = None
        if why := not_text(start):
            raise NoTableError(why)
        self._take(self._buffer.receive(start.removeprefix(_MARK)))

    def _take(self, block: bytes) -> None:
        """Whole lines, without CRs."""
        if not block:
            return
        if not _take_ordinary(self.table, block, self._kept):
            place = f"{self._path}:"
            _take_rows(self.table, block, place, self._rows, self._report, self._kept)
        self._rows += block.count(b"\n")


def parse_row(row: bytes) -> Answer:
    """Read one row (no LF, not blank). Raises RowError."""
    if len(row) > LINE_BYTES_MAX:
        raise RowError(f"the row has more than {LINE_BYTES_MAX} bytes")
    fields = _FIELD.findall(row)
    if len(fields) != 3:
        raise RowError(f"a row has 3 fields, `name address type`; this one has {len(fields)}")
    name, address, word = fields
    spelling = name.removesuffix(b".")
    if not is_name(spelling):
        raise RowError("the name is not legal")
    try:
        kind = Type(word)
    except ValueError:
        raise RowError("the type is neither A nor AAAA") from None
    if not _ADDRESS[kind].fullmatch(address):
        raise RowError(f"the address is not {_KIND[kind]}")
    return Answer(spelling, address, kind)


def _take_ordinary(table: Table, block: bytes, kept: Kept | None) -> bool:
    """Take a block in which every row is ordinary and new; else take nothing."""
    if not _ORDINARY_ROWS.fullmatch(block):
        return False
    answers: Iterable[bytes]
    if b"\t" not in block and block.count(b" ") == 2 * block.count(b"\n"):  # as answers have them
        fields = block.lower().split()
        names = questions = fields[::3]
        answers = BytesIO(block.replace(b"\n", b" IN\n")).readlines()
    else:
        fields = block.split()
        names = questions = list(map(bytes.lower, fields[::3]))
        each = zip(fields[::3], fields[1::3], fields[2::3], strict=True)
        answers = map(b"%b %b %b IN\n".__mod__, each)
    if b":" in block:  # an IPv6 address
        table.is_mixed = True
        typed = zip(names, fields[2::3], strict=True)
        questions = [name if kind in b"Aa" else name + b" AAAA" for name, kind in typed]
    rows = dict(zip(questions, answers, strict=True))
    if len(rows) != len(questions) or not table.rows.keys().isdisjoint(rows):
        return False
    table.rows.update(rows if kept is None else kept.rows(rows))
    table.add_above(names)
    return True


def _take_rows(
    table: Table,
    block: bytes,
    place: str,
    before: int,
    report: Callable[[str], None],
    kept: Kept | None,
) -> None:
    names: list[bytes] = []
    for number, row in enumerate(split_lines(block), before + 1):
        if not row.strip(b" \t") or row.startswith(b"#"):
            continue
        try:
            answer = parse_row(row)
        except RowError as bad:
            table.bad_rows += 1
            report(f"{place}{number}: {bad}{SKIPPED}")
            continue
        table.is_mixed = table.is_mixed or answer.type is Type.AAAA
        names.append(answer.spelling.lower())
        line = format_message(answer) + b"\n"
        question = fold(answer.spelling, answer.type)
        held = table.rows.get(question)
        if held is None:
            table.rows.update({question: line} if kept is None else kept.rows({question: line}))
            continue
        spelling, addresses, _, _ = held.split(b" ")
        if _is_among(answer.addresses, addresses.split(b",")):
            table.duplicate_rows += 1
            continue
        line = format_message(Answer(spelling, addresses + b"," + answer.addresses, answer.type))
        if len(line) <= LINE_BYTES_MAX:
            line += b"\n"
            table.rows[question] = line if kept is None else kept.line(question, line)
        else:
            table.left_out_rows += 1
            report(
                f"{place}{number}: the addresses of {spelling.decode('ascii')} do not fit into a "
                f"line of {LINE_BYTES_MAX} bytes; {answer.addresses.decode('ascii')} is left out"
            )
    table.add_above(names)


def _is_among(address: bytes, addresses: list[bytes]) -> bool:
    """Whether it is one of these, perhaps written in another way."""
    if b":" not in address:
        return address in addresses
    return _address(address) in map(_address, addresses)


@lru_cache(maxsize=256)  # a set of rows that stand together is compared pair by pair
def _address(text: bytes) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(text.decode("ascii"))
