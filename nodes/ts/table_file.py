"""A table file: rows, read into what a table server answers with.

A row is `name address type`, or `address name ...` as in /etc/hosts; proto.md ("A table") has the
rules. A bad row is reported with its place and skipped; a file that is no text is refused as a
whole. Rows of one name and type make one set, which has each address once. An address that would
make the answer too long for a line is reported and left out.

The names above a row exist, too, with nothing of any type (empty non-terminals, RFC 8020): a table
keeps them.

A block of ordinary rows is checked by one pattern and split at C speed; a block with anything else
in it, a set for example, is read row by row. Addresses are checked by the patterns of
`core/protocol/names.py`, which give `ipaddress`'s verdicts (a test holds them together) at a third
of its price: it matters for a million rows.

Not here: a file that is read again while its table is served (`nodes/ts/reload.py`).
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
from core.protocol.messages import Answer, format_message
from core.protocol.names import (
    IPV4,
    IPV6,
    LINE_BYTES_MAX,
    NAME,
    NAME_BYTES_MAX,
    POSSESSIVE,
    Type,
    fold,
    is_name,
    name_of,
    questions_of,
)
from core.text import BEGINNING_BYTES, BYTE_ORDER_MARK, not_text, printable, split_lines
from nodes.ts.old_rows import OldRows

BLOCK_BYTES = 1024 * 1024
SKIPPED = "; skipped"  # the end of a report of a bad row
_NAME_FITS = rb"(?![^ \t\n]{%d})" % (NAME_BYTES_MAX + 1)
# At most 62 blanks in a row: with the longest name and address that stays within a line.
_BLANKS = rb"[ \t]{1,62}+"
_ORDINARY_ROWS = re.compile(
    rb"(?:%b(?!-++[ \t])%b%b(?:%b%bA|%b%bAAAA)(?:%b)?\n)+%b"
    % (_NAME_FITS, NAME, _BLANKS, IPV4, _BLANKS, IPV6, _BLANKS, _BLANKS, POSSESSIVE)
)
_ADDRESS = {Type.A: re.compile(IPV4), Type.AAAA: re.compile(IPV6)}
_ADDRESS_WORDS = {Type.A: "an IPv4 address", Type.AAAA: "an IPv6 address"}
_TYPES = {type.value: type for type in Type}
_FORMS = "a row has 3 fields, `name address type`, or is `address name ...` as in /etc/hosts"
_FIELD = re.compile(rb"[^ \t]+")
_behind = itemgetter(2)  # of a name that was parted at its first dot


class RowError(ValueError):
    """A malformed row. The text says why."""


class NoTableError(ValueError):
    """A file that is no table. The text is a predicate: what the file has, or is, instead."""


class Table:
    """The answers of a TS. `rows`: by folded question the whole line of the answer, with its LF.
    `above`: the names above those of rows, in lower case."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self.rows = {} if rows is None else rows
        self.above: set[bytes] = set()
        self.add_above(list(map(name_of, self.rows)))
        # Whether some name has IPv6 addresses: a question for IPv4 ones may then have NO DATA.
        self.is_mixed = any(b" " in question for question in self.rows)
        self.bad_rows = 0
        self.duplicate_rows = 0  # the same address again
        self.left_out_rows = 0  # a set that does not fit

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

    def free(self, count: int) -> bool:
        """Forget `count` entries, or all where there are fewer; return whether none are left."""
        for entries, forget in ((self.rows, self.rows.popitem), (self.above, self.above.pop)):
            forgotten = min(count, len(entries))
            for _ in range(forgotten):
                forget()
            count -= forgotten
        return not self.rows and not self.above


def load(path: str, report: Callable[[str], None]) -> Table:
    """Read a table file. `report` gets a line `FILE:LINE: WHY` for each bad row.

    Raises OSError, NoTableError.
    """
    loading = Loading(path, report)
    with Path(path).open("rb") as file:
        while data := file.read(BLOCK_BYTES):
            loading.take(data)
    return loading.end()


def check(table: Table) -> None:
    """Raise NoTableError if there were rows, and none of them good."""
    if table.bad_rows and not table.rows:
        raise NoTableError("has no good row")


class Loading:
    """A table that is being read from a file, in chunks. `report` as for `load`."""

    def __init__(self, path: str, report: Callable[[str], None]) -> None:
        self.table = Table()
        self._path = path
        self._report = report
        self._buffer = LineBuffer(LINE_BYTES_MAX)
        self._old: OldRows | None = None
        self._rows = 0  # rows read by now, good or not
        self._start: bytes | None = b""  # of the file, until it is long enough to be judged

    def reuse(self, rows: dict[bytes, bytes]) -> None:
        """Make the table of the bytes of these rows where it has equal ones."""
        self._old = OldRows(rows)

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
        self._old = None  # it holds the old rows
        return self.table

    def _begin(self, start: bytes) -> None:
        self._start = None
        if why := not_text(start):
            raise NoTableError(why)
        self._take(self._buffer.receive(start.removeprefix(BYTE_ORDER_MARK)))

    def _take(self, block: bytes) -> None:
        """Take whole lines, without CRs."""
        if not block:
            return
        if not self._take_ordinary(block):
            self._take_rows(block)
        self._rows += block.count(b"\n")

    def _take_ordinary(self, block: bytes) -> bool:
        """Take a block in which every row is ordinary and new; else take nothing."""
        if not _ORDINARY_ROWS.fullmatch(block):
            return False
        table = self.table
        answers: Iterable[bytes]
        count = block.count(b"\n")
        if b"\t" not in block and block.count(b" ") == 2 * count:  # blanks as answers have them
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
            questions = questions_of(names, fields[2::3])
        rows = dict(zip(questions, answers, strict=True))
        if len(rows) != len(questions) or not table.rows.keys().isdisjoint(rows):
            return False
        table.rows.update(rows if self._old is None else self._old.reuse(rows))
        table.add_above(names)
        return True

    def _take_rows(self, block: bytes) -> None:
        """Take a block row by row."""
        names: list[bytes] = []
        for number, row in enumerate(split_lines(block), self._rows + 1):
            try:
                answers = parse_row(row)
            except RowError as bad:
                self.table.bad_rows += 1
                self._report(f"{self._path}:{number}: {bad}{SKIPPED}")
                continue
            for answer in answers:
                names.append(answer.spelling.lower())
                self._take_answer(answer, number)
        self.table.add_above(names)

    def _take_answer(self, answer: Answer, number: int) -> None:
        """Take one address of a name, from the row of this number."""
        table = self.table
        table.is_mixed = table.is_mixed or answer.type is Type.AAAA
        line = format_message(answer) + b"\n"
        question = fold(answer.spelling, answer.type)
        present = table.rows.get(question)
        if present is None:
            new = {question: line}
            table.rows.update(new if self._old is None else self._old.reuse(new))
            return
        spelling, addresses, _, _ = present.split(b" ")
        if _is_among(answer.addresses, addresses.split(b",")):
            table.duplicate_rows += 1
            return
        answer.spelling, added = spelling, answer.addresses
        answer.addresses = addresses + b"," + added
        line = format_message(answer)
        if len(line) <= LINE_BYTES_MAX:
            line += b"\n"
            old = self._old
            table.rows[question] = line if old is None else old.reuse_line(question, line)
        else:
            table.left_out_rows += 1
            self._report(
                f"{self._path}:{number}: the addresses of {spelling.decode('ascii')} do not "
                f"fit into a line of {LINE_BYTES_MAX} bytes; {added.decode('ascii')} is left out"
            )


def parse_row(row: bytes) -> list[Answer]:
    """Read one row (no LF): an address for each of its names, none if it is blank. Raises
    RowError."""
    if b"#" in row:
        row = row.partition(b"#")[0]
    if len(row) > LINE_BYTES_MAX:
        raise RowError(f"the row has more than {LINE_BYTES_MAX} bytes")
    fields = _FIELD.findall(row)
    if not fields:
        return []
    is_typed = len(fields) == 3 and fields[2] in _TYPES
    if not (is_typed and _type_of(fields[1])) and (type := _type_of(fields[0])):
        return _parse_hosts_row(fields[0], type, fields[1:])
    if len(fields) != 3:
        raise RowError(f"{_FORMS}; this one has {len(fields)}")
    name, address, word = fields
    spelling = name.removesuffix(b".")
    if not is_name(spelling):
        raise RowError("the name is not legal")
    if not is_typed:
        raise RowError("the type is neither A nor AAAA")
    type = _TYPES[word]
    if not _ADDRESS[type].fullmatch(address):
        raise RowError(f"the address is not {_ADDRESS_WORDS[type]}")
    return [Answer(spelling, address, type)]


def _parse_hosts_row(address: bytes, type: Type, names: list[bytes]) -> list[Answer]:
    """Read a row `address name ...`. Raises RowError."""
    if not names:
        raise RowError("the row has an address and no name")
    answers = []
    for name in names:
        spelling = name.removesuffix(b".")
        shown = printable(name).decode()
        if name in _TYPES or _type_of(name) is not None:
            what = "a type" if name in _TYPES else "an address"
            raise RowError(f"{shown} is {what}, where a row `address name ...` has a name")
        if not is_name(spelling):
            raise RowError(f"the name {shown} is not legal")
        answers.append(Answer(spelling, address, type))
    return answers


def _type_of(text: bytes) -> Type | None:
    """Return the type of an address, None for what is no address."""
    type = Type.AAAA if b":" in text else Type.A
    return type if _ADDRESS[type].fullmatch(text) else None


def _is_among(address: bytes, addresses: list[bytes]) -> bool:
    """Return whether an address is one of these, however they are written."""
    if b":" not in address:
        return address in addresses
    return _address(address) in map(_address, addresses)


@lru_cache(maxsize=256)  # a set of rows that stand together is compared pair by pair
def _address(text: bytes) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(text.decode("ascii"))
