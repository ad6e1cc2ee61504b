r"""Questions that only DNS can ask: how they are written, and the message that asks each.

Where LS has DNS upstreams, a query of any type can be answered, and what its bits say (that it
wants DNSSEC, say) changes the answer. So the race knows it by more than a name:

- what a line can ask, and with the bits that a line is asked with, is the line: `name`, or
  `name AAAA` (`core/protocol/names.py`); a query and a line that ask the same are one question;
- everything else is `name TYPE15`, and the bits that differ behind it: `name TYPE1 +do`. A byte
  that no line can have in a name is `\DDD`, the root `.` (RFC 1035, section 5.1).

Text can be logged and recorded as it is; and it can be turned into the message again, so nothing
has to be remembered beside it.

Not here: who asks, IDs and sockets (`nodes/ls/resolvers/resolver.py`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from core.protocol.names import Type, is_name, question_of
from nodes.dns.wire_names import AAAA, HEADER, IN, OPT, TWO, A

REPLY_BYTES_MAX = 1_232  # of one datagram: fits into every path's packets (DNS flag day 2020)
# The name of the root, type, the size that we take, flags, length (RFC 6891, section 6.1.2).
_OPT_RECORD = Struct(">BHHIH")
_ADDITIONALS = 10  # where their count stands
_PLAIN_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
_ESCAPED = re.compile(rb"\\(\d{3})")
_OF_LINE = {A: Type.A, AAAA: Type.AAAA}
_TYPED = b" TYPE"
_OF_TABLES = (b"", b"1", b"28")  # types, as questions have them; a line has none
_QUESTIONS_KEPT = 16_384  # a long one takes 1 KB


# What a query says of the answer that it wants, in one number: bits of its header, and DO of OPT.
DO = 0x8000  # with signatures (RFC 3225); its place is that of QR
RD = 0x0100
AD = 0x0020  # say whether it is authentic (RFC 6840, section 5.7)
CD = 0x0010  # though it may not be (RFC 4035, section 3.2.2)
_MARKS = ((AD, b"ad"), (CD, b"cd"), (DO, b"do"))


def is_of_line(question: bytes) -> bool:
    """Whether a line can ask it."""
    return _TYPED not in question


def line_of(question: bytes) -> bytes | None:
    """Return the line that a table server is asked for it: of a line, itself; for addresses, the
    line that asks for the same; for another type the name alone, to see whether it exists. None: no
    table can have such a name."""
    if is_of_line(question):
        return question
    name, _, rest = question.partition(_TYPED)
    if not is_name(name):
        return None
    return question_of(name, Type.AAAA if rest.partition(b" ")[0] == b"28" else Type.A)


def is_beyond_tables(question: bytes) -> bool:
    """Whether a table cannot have what it asks for, since it is of another type than addresses."""
    number = question.partition(_TYPED)[2].partition(b" ")[0]
    return number not in _OF_TABLES


@dataclass(slots=True)
class TableAnswer:
    """What a table has of a question that is no line: addresses, as they stand in its answer."""

    addresses: bytes
    kind: bytes

    def line(self, question: bytes, spelling: bytes) -> bytes:
        """Nobody who speaks lines asks so; it could be said like this."""
        return b"%b %b %b IN\n" % (spelling.partition(b" ")[0], self.addresses, self.kind)


def written(labels: list[bytes], kind: int, bits: int) -> bytes:
    """The question of a query in class IN, folded."""
    folded = [label.lower() for label in labels]
    line_type = _OF_LINE.get(kind)
    if line_type is not None and bits == RD:
        name = b".".join(folded)
        if is_name(name) and name.count(b".") == len(labels) - 1:
            return question_of(name, line_type)
    text = b".".join(map(_escaped, folded)) or b"."
    marks = b"".join(b"+" + mark for bit, mark in _MARKS if bits & bit)
    if not bits & RD:
        marks += b"-rd"
    return b"%b%b%d%b" % (text, _TYPED, kind, marks and b" " + marks)


def _escaped(label: bytes) -> bytes:
    if not label.strip(_PLAIN_BYTES):
        return label
    return b"".join(b"%c" % byte if byte in _PLAIN_BYTES else b"\\%03d" % byte for byte in label)


class Wording:
    """The message that asks a question: `message` without its ID, and `asked`, the question section
    that a reply to it has to repeat, in lower case."""

    __slots__ = ("asked", "message")

    def __init__(self, name: bytes, kind: int, bits: int) -> None:
        self.asked = name + TWO.pack(kind, IN)
        opt = _OPT_RECORD.pack(0, OPT, REPLY_BYTES_MAX, bits & DO, 0)
        self.message = HEADER.pack(bits & ~DO, 1, 0, 0, 1) + self.asked + opt


@lru_cache(maxsize=_QUESTIONS_KEPT)
def wording(question: bytes) -> Wording:
    """How a question, in the way that the race has it, is asked of a resolver."""
    name, _, rest = question.partition(b" ")
    kind, bits = 1, RD
    if rest == b"AAAA":
        kind = 28
    elif rest:
        number, _, marks = rest.removeprefix(b"TYPE").partition(b" ")
        kind = int(number)
        if b"-rd" in marks:
            bits = 0
        for bit, mark in _MARKS:
            if b"+" + mark in marks:
                bits |= bit
    return Wording(_packed(name), kind, bits)


def without_opt(message: bytes) -> bytes:
    """The message of a `Wording`, with its ID, without its OPT record."""
    return message[:_ADDITIONALS] + b"\0\0" + message[_ADDITIONALS + 2 : -_OPT_RECORD.size]


def _packed(name: bytes) -> bytes:
    """A name as it travels: each label after its length."""
    if name == b".":
        return b"\0"
    labels = name.split(b".")
    if b"\\" in name:
        labels = [_ESCAPED.sub(lambda found: b"%c" % int(found[1]), label) for label in labels]
    return b"".join([b"%c%b" % (len(label), label) for label in labels]) + b"\0"
