"""A table file: rows `name address A`, read into what a table server answers with.

Rules of the file: fields stand apart by spaces or tabs, nothing else; lines end with LF or CRLF;
blank lines and lines that begin with `#` say nothing; a byte-order mark is dropped. A bad row is
reported with its place and skipped. Of rows with the same name, in any case of letters, the
first holds.

A block of ordinary rows is checked by one pattern and split at C speed; only a block with
something else in it is read row by row. IPv4 addresses are checked by the pattern of
`core/wire.py`, which gives `ipaddress`'s verdicts (a test holds them together) at a third of
its price: it matters for a million rows.

Not here: files that change while they are served.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from core.lines import LineBuffer
from core.wire import (
    IPV4,
    LINE_BYTES_MAX,
    NAME,
    Answer,
    fold,
    format_message,
    is_name,
    split_lines,
)

_BLOCK_BYTES = 1024 * 1024
_MARK = b"\xef\xbb\xbf"
_NAME_FITS = rb"(?![^ \t\n]{254})"  # not 254 bytes or more
# At most 62 blanks in a row: with the longest name and address that stays within a line.
_BLANKS = rb"[ \t]{1,62}+"
_ORDINARY_ROWS = re.compile(
    rb"(?:%b(?!-++[ \t])%b%b%b%bA(?:%b)?+\n)++"
    % (_NAME_FITS, NAME, _BLANKS, IPV4, _BLANKS, _BLANKS)
)
_ADDRESS = re.compile(IPV4)
_FIELD = re.compile(rb"[^ \t]+")


class RowError(ValueError):
    """A row that is none. The text says why."""


class Table:
    """Rows by folded name; the value is the whole answer line, with its LF."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.bad_rows = 0
        self.duplicate_rows = 0


def load(path: str, report: Callable[[str], None]) -> Table:
    """Read a table file. `report` gets a line `file:line: what` per bad row. Raises OSError."""
    table = Table()
    number = 0
    with Path(path).open("rb") as file:
        for block in _blocks(file):
            count = block.count(b"\n")
            if not _take_ordinary(table, block):
                _take_rows(table, block, f"{path}:", number, report)
            number += count
    return table


def parse_row(row: bytes) -> Answer:
    """Read one row (no LF, not blank). Raises RowError."""
    if len(row) > LINE_BYTES_MAX:
        raise RowError(f"the row has more than {LINE_BYTES_MAX} bytes")
    fields = _FIELD.findall(row)
    if len(fields) != 3:
        raise RowError(f"a row has 3 fields, `name address A`; this one has {len(fields)}")
    name, address, kind = fields
    spelling = name.removesuffix(b".")
    if not is_name(spelling):
        raise RowError("the name is not legal")
    if kind != b"A":
        raise RowError("the type is not A")
    if not _ADDRESS.fullmatch(address):
        raise RowError("the address is not an IPv4 address")
    return Answer(spelling, address)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The file in chunks of whole lines, without mark and CRs; the last line needs no end."""
    buffer = LineBuffer()
    data = file.read(_BLOCK_BYTES).removeprefix(_MARK)
    while data:
        if block := buffer.receive(data):
            yield block
        data = file.read(_BLOCK_BYTES)
    if block := buffer.receive(b"\n").removeprefix(b"\n"):
        yield block


def _take_ordinary(table: Table, block: bytes) -> bool:
    """Take a block in which every row is ordinary and new; else take nothing."""
    if not _ORDINARY_ROWS.fullmatch(block):
        return False
    fields = block.split()
    spellings, addresses = fields[::3], fields[1::3]
    names = list(map(bytes.lower, spellings))
    answers = map(b"%b %b A IN\n".__mod__, zip(spellings, addresses, strict=True))
    rows = dict(zip(names, answers, strict=True))
    if len(rows) != len(names) or not table.rows.keys().isdisjoint(rows):
        return False
    table.rows.update(rows)
    return True


def _take_rows(
    table: Table, block: bytes, place: str, before: int, report: Callable[[str], None]
) -> None:
    for number, row in enumerate(split_lines(block), before + 1):
        if not row.strip(b" \t") or row.startswith(b"#"):
            continue
        try:
            answer = parse_row(row)
        except RowError as bad:
            table.bad_rows += 1
            report(f"{place}{number}: {bad}; skipped")
            continue
        line = format_message(answer) + b"\n"
        held = table.rows.setdefault(fold(answer.spelling), line)
        if held is not line:
            table.duplicate_rows += 1
            if _address(held) != answer.address:
                said = answer.spelling.decode("ascii")
                first = _address(held).decode("ascii")
                report(f"{place}{number}: {said} again, with another address; {first} holds")


def _address(answer: bytes) -> bytes:
    return answer.split(b" ")[1]
