"""Block list: a list of names, each of which stands for itself and for all names below it.

All of them are answered in the same way: with addresses that lead nowhere, of their type, or with
the word that there is no such name. A question is looked up label by label, from its whole name on.

A name is held once, as the key and the value of a dict: a list that is read again reuses the old
bytes, wherever in the file they stand now. A dict that grows does so at once, for which one of a
million names would take 30 ms; so names are in one of 16, by their length. Blocks of plain names
are checked by one pattern and taken at C speed; a block with anything else in it is read row by
row.

Not here: which file is a list (`table_file.py`).
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from core.protocol.asker import Requests
from core.protocol.names import (
    IPV4,
    LINE_BYTES_MAX,
    NAME,
    NAME_BYTES_MAX,
    POSSESSIVE,
    Type,
    is_name,
    name_of,
    type_of,
)
from core.text import printable, split_lines
from nodes.ts.rows import NAME_FITS, SKIPPED, RowError, Say, fields_of, type_of_address
from nodes.ts.table import ANSWER_END, BLOCKED_END, NO_DATA_END, Format, Table
from nodes.ts.wildcards import WILDCARD

_GROUPS = 16
_ORDINARY_NAMES = re.compile(
    rb"(?:(?:#[^\n]*+|(?:\*\.)?%b(?!-++\n)(?!%b\n)%b)?\n)+%b" % (NAME_FITS, IPV4, NAME, POSSESSIVE)
)


@dataclass(frozen=True, slots=True)
class BlockWith:
    """The reply to questions for names that are blocked: addresses by their type, separated by
    commas, or, without any, that there is no such name. Raises ValueError where they do not fit
    into a line."""

    addresses: Mapping[Type, bytes]

    def __post_init__(self) -> None:
        for type in self.addresses:
            longest = len(self.end(type)) - 1 + NAME_BYTES_MAX
            if longest > LINE_BYTES_MAX:
                raise ValueError("with the longest name so many addresses do not fit into a line")

    def end(self, type: Type) -> bytes:
        """Return what a line has behind the name, if it is an answer, or else the question."""
        if addresses := self.addresses.get(type):
            return b" %b %b%b" % (addresses, type.value, ANSWER_END)
        return NO_DATA_END if self.addresses else BLOCKED_END


BLOCK_WITH = BlockWith({Type.A: b"0.0.0.0", Type.AAAA: b"::"})


class BlockList(Table):
    """The names that a TS blocks, in lower case: each by itself, in one of `groups`, which is found
    in `by_length`. `has_dots`: whether any of them has a dot, as not every word has."""

    format = Format.NAMES
    blocks = True

    def __init__(self, block_with: BlockWith) -> None:
        super().__init__()
        self.groups: list[dict[bytes, bytes]] = [{} for _ in range(_GROUPS)]
        self.by_length = self.groups * (NAME_BYTES_MAX // _GROUPS + 1)
        self.has_dots = False
        self._ends = {type: block_with.end(type) for type in Type}

    @property
    def size(self) -> int:
        return sum(map(len, self.groups))

    def may_reply(self, requests: Requests) -> bool:
        return any(self.groups)

    def reply(self, question: bytes, spelling: bytes) -> bytes:
        by_length, name = self.by_length, name_of(question)
        while name:
            if name in by_length[len(name)]:
                end = self._ends[type_of(question)]
                return (name_of(spelling) if end.endswith(ANSWER_END) else spelling) + end
            name = name.partition(b".")[2]
        return b""

    def free(self, count: int) -> bool:
        for names in self.groups:
            forgotten = min(count, len(names))
            for _ in range(forgotten):
                names.popitem()
            count -= forgotten
        return not any(self.groups)


class BlockListReader:
    """Reads names into a list, of which it may reuse the names of an old table."""

    def __init__(self, table: BlockList, say: Say, old: Table | None = None) -> None:
        self.table = table
        self._say = say
        self._old = old.by_length if isinstance(old, BlockList) else None

    def take(self, block: bytes, number: int) -> None:
        """Take whole lines, without CRs; the first is the row of this number."""
        if not _ORDINARY_NAMES.fullmatch(block):
            names = self._names_of_rows(block, number)
        elif b"#" in block or b"*" in block:
            lines = (line.removeprefix(WILDCARD) for line in split_lines(block.lower()))
            names = [line for line in lines if line and not line.startswith(b"#")]
        else:
            names = block.lower().split()
        if self._old is not None:
            old = map(self._old.__getitem__, map(len, names))
            names = list(map(dict.get, old, names, names))
        self.table.has_dots = self.table.has_dots or has_dot(names)
        before = self.table.size
        held = map(self.table.by_length.__getitem__, map(len, names))
        deque(map(dict.setdefault, held, names, names), maxlen=0)
        self.table.count(duplicate=len(names) - (self.table.size - before))

    def _names_of_rows(self, block: bytes, first: int) -> list[bytes]:
        """Read a block row by row."""
        names: list[bytes] = []
        for number, row in enumerate(split_lines(block), first):
            try:
                names += parse_name(row)
            except RowError as bad:
                self.table.skip(number, str(bad))
                self._say(number, f"{bad}{SKIPPED}")
        return names


def has_dot(names: list[bytes]) -> bool:
    """Return whether any of these names has a dot."""
    return any(b"." in name for name in names)


def parse_name(row: bytes) -> list[bytes]:
    """Read one row of a list (no LF): its name in lower case, none if it is blank. Raises
    RowError."""
    fields = fields_of(row)
    if not fields:
        return []
    if len(fields) > 1:
        raise RowError(f"a row of a list is one name; this one has {len(fields)} fields")
    name = fields[0].removesuffix(b".").removeprefix(WILDCARD)
    if type_of_address(name):
        raise RowError(f"{name.decode('ascii')} is an address, where a list has a name")
    if not is_name(name):
        raise RowError(f"the name {printable(fields[0]).decode()} is not legal")
    return [name.lower()]
