"""Rows: `name address type`, or `address name ...` as in /etc/hosts, read into a table.

Rows of one name and type make one set, which has each address once. An address that would make the
answer too long for a line is reported and left out; the answer of a wildcard has to fit with the
longest name.

A block of ordinary rows is checked by one pattern and split at C speed; a block with anything else
in it, a set for example, is read row by row. Addresses are checked by the patterns of
`core/protocol/names.py`, which give `ipaddress`'s verdicts (a test holds them together) at a third
of its price: it matters for a million rows.

Not here: the file (`table_file.py`), and rows that are names alone (`block_list.py`).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO

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
    questions_of,
)
from core.text import printable, split_lines
from nodes.ts.old_rows import OldRows
from nodes.ts.table import Table
from nodes.ts.wildcards import WILDCARD, is_name_of_row

SKIPPED = "; skipped"  # the end of a report of a bad row
NAME_FITS = rb"(?![^ \t\n]{%d})" % (NAME_BYTES_MAX + 1)
# At most 62 blanks in a row: with the longest name and address that stays within a line.
_BLANKS = rb"[ \t]{1,62}+"
_ORDINARY_ROWS = re.compile(
    rb"(?:%b(?!-++[ \t])(?:\*\.)?%b%b(?:%b%bA|%b%bAAAA)(?:%b)?\n)+%b"
    % (NAME_FITS, NAME, _BLANKS, IPV4, _BLANKS, IPV6, _BLANKS, _BLANKS, POSSESSIVE)
)
_ADDRESS = {Type.A: re.compile(IPV4), Type.AAAA: re.compile(IPV6)}
_ADDRESS_WORDS = {Type.A: "an IPv4 address", Type.AAAA: "an IPv6 address"}
_TYPES = {type.value: type for type in Type}
_FORMS = "a row has 3 fields, `name address type`, or is `address name ...` as in /etc/hosts"
_FIELD = re.compile(rb"[^ \t]+")

# Gets the number of a row, and what is to be said of it.
Say = Callable[[int, str], None]


class RowError(ValueError):
    """A malformed row. The text says why."""


class RowsReader:
    """Reads rows into a table, of which it may reuse the rows of an old one."""

    def __init__(self, table: Table, say: Say, old: Table | None = None) -> None:
        self.table = table
        self._say = say
        self._old = None if old is None else OldRows(old.rows)

    def take(self, block: bytes, number: int) -> None:
        """Take whole lines, without CRs; the first is the row of this number."""
        if not self._take_ordinary(block):
            self._take_rows(block, number)

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
        table.has_wildcards = table.has_wildcards or b"*" in block
        table.rows.update(rows if self._old is None else self._old.reuse(rows))
        table.add_above(names)
        return True

    def _take_rows(self, block: bytes, first: int) -> None:
        """Take a block row by row."""
        names: list[bytes] = []
        for number, row in enumerate(split_lines(block), first):
            try:
                answers = parse_row(row)
            except RowError as bad:
                self.table.skip(number, str(bad))
                self._say(number, f"{bad}{SKIPPED}")
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
        is_wildcard = question.startswith(WILDCARD)
        if present is None:
            table.has_wildcards = table.has_wildcards or is_wildcard
            new = {question: line}
            table.rows.update(new if self._old is None else self._old.reuse(new))
            return
        spelling, addresses, _, _ = present.split(b" ")
        if _is_among(answer.addresses, addresses.split(b",")):
            table.count(duplicate=1)
            return
        answer.spelling, added = spelling, answer.addresses
        answer.addresses = addresses + b"," + added
        line = format_message(answer)
        room = NAME_BYTES_MAX - len(spelling) if is_wildcard else 0
        if len(line) + room <= LINE_BYTES_MAX:
            line += b"\n"
            old = self._old
            table.rows[question] = line if old is None else old.reuse_line(question, line)
        else:
            table.count(left_out=1)
            self._say(
                number,
                f"the addresses of {spelling.decode('ascii')} do not fit into a line of "
                f"{LINE_BYTES_MAX} bytes; {added.decode('ascii')} is left out",
            )


def fields_of(row: bytes) -> list[bytes]:
    """Return the fields of a row (no LF), none if it is blank. Raises RowError."""
    if b"#" in row:
        row = row.partition(b"#")[0]
    if len(row) > LINE_BYTES_MAX:
        raise RowError(f"the row has more than {LINE_BYTES_MAX} bytes")
    return _FIELD.findall(row)


def parse_row(row: bytes) -> list[Answer]:
    """Read one row (no LF): an address for each of its names, none if it is blank. Raises
    RowError."""
    fields = fields_of(row)
    if not fields:
        return []
    is_typed = len(fields) == 3 and fields[2] in _TYPES
    if not (is_typed and type_of_address(fields[1])) and (type := type_of_address(fields[0])):
        return _parse_hosts_row(fields[0], type, fields[1:])
    if len(fields) != 3:
        raise RowError(f"{_FORMS}; this one has {len(fields)}")
    name, address, word = fields
    spelling = name.removesuffix(b".")
    if not is_name_of_row(spelling):
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
        if name in _TYPES or type_of_address(name) is not None:
            what = "a type" if name in _TYPES else "an address"
            raise RowError(f"{shown} is {what}, where a row `address name ...` has a name")
        if not is_name_of_row(spelling):
            raise RowError(f"the name {shown} is not legal")
        answers.append(Answer(spelling, address, type))
    return answers


def type_of_address(text: bytes) -> Type | None:
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
