r"""Questions as text, also those that only DNS can ask, and the query that asks each of a resolver.

Where LS has DNS upstreams, a query of any type can be answered, and its flags (that it wants
DNSSEC, say) change the answer. A name alone does not identify such a question:

- a query that asks what a line can ask, with the flags that a line is asked with, has the text of
  the line, as `core/protocol/names.py` writes it; both are one question;
- every other query is `name TYPE15`, and behind it the flags that differ: `name TYPE1 +do`. A byte
  that no line can have in a name is `\DDD`, the root `.` (RFC 1035, section 5.1).

Text can be logged and recorded as it is; and it can be turned into the query again, so nothing has
to be remembered beside it. Only this module knows how `TYPE15 +do` is written.

Not here: IDs, sockets, and when a resolver is asked (`nodes/ls/resolvers/resolver.py`).
"""

from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from core.protocol.names import Type, is_name, name_of, question_of, type_of
from nodes.dns.codes import (
    EDNS_DO,
    HEADER,
    TYPE_AND_CLASS,
    UDP_BYTES_MAX,
    Flag,
    RdataClass,
    RdataType,
)
from nodes.dns.wire_names import name_as_text, name_from_text

# The name of the root, type, the size that we take, flags, length (RFC 6891, section 6.1.2).
_OPT_RECORD = Struct(">BHHIH")
_ADDITIONALS_AT = 10  # where their count stands, in a message with its ID
ADDRESS_TYPES: dict[int, Type] = {RdataType.A: Type.A, RdataType.AAAA: Type.AAAA}
_TYPED = b" TYPE"
_NOT_RECURSIVE = b"-rd"
_QUERIES_KEPT = 16_384  # a long one takes 1 KB

# The bits of a question are one number: flags of the header, and EDNS_DO, in the place of QR.
_MARKS = ((Flag.AD, b"ad"), (Flag.CD, b"cd"), (EDNS_DO, b"do"))


def is_of_line(question: bytes) -> bool:
    """Return whether a line can ask this question."""
    return _TYPED not in question


def line_of(question: bytes) -> bytes | None:
    """Return the line that table servers are asked for a question; None if no table can have it.

    A line stands for itself. A question for addresses becomes the line that asks for the same; one
    for another type becomes the name alone, to see whether the name exists.
    """
    if is_of_line(question):
        return question
    name, rdtype, _ = _taken_apart(question)
    return question_of(name, ADDRESS_TYPES.get(rdtype, Type.A)) if is_name(name) else None


def is_keepable(question: bytes) -> bool:
    """Return whether a reply to it may be kept for whoever asks the same: not one to ANY, which is
    no whole set (RFC 8482), and none of what a resolver has without asking others (RD is 0)."""
    if is_of_line(question):
        return True
    _, rdtype, marks = _taken_apart(question)
    return rdtype != RdataType.ANY and not marks.endswith(_NOT_RECURSIVE)


def is_beyond_tables(question: bytes) -> bool:
    """Return whether no table can answer a question, since it asks for no addresses."""
    return not is_of_line(question) and _taken_apart(question)[1] not in ADDRESS_TYPES


def _taken_apart(question: bytes) -> tuple[bytes, int, bytes]:
    """Return the name, the type and the marks of a question that no line can ask."""
    name, _, rest = question.partition(_TYPED)
    number, _, marks = rest.partition(b" ")
    return name, int(number), marks


@dataclass(slots=True)
class TableAnswer:
    """A table server's answer to a question that is no line: addresses, as its line has them."""

    addresses: bytes

    def line(self, question: bytes, spelling: bytes) -> bytes:
        """Return the answer as a line, though no client that speaks lines can ask for it."""
        address_type = b"AAAA" if b":" in self.addresses else b"A"
        return b"%b %b %b IN\n" % (spelling.partition(b" ")[0], self.addresses, address_type)


def question_text(labels: list[bytes], rdtype: int, bits: int) -> bytes:
    """Return the text of a question in class IN, folded, from its labels in any case.

    `bits`: its RD, AD and CD, and EDNS_DO.
    """
    line_type = ADDRESS_TYPES.get(rdtype)
    if line_type is not None and bits == Flag.RD:
        name = b".".join(labels).lower()
        if is_name(name) and name.count(b".") == len(labels) - 1:
            return question_of(name, line_type)
    folded = [label.lower() for label in labels]
    marks = b"".join(b"+" + mark for bit, mark in _MARKS if bits & bit)
    if not bits & Flag.RD:
        marks += _NOT_RECURSIVE
    return b"%b%b%d%b" % (name_as_text(folded), _TYPED, rdtype, marks and b" " + marks)


class ResolverQuery:
    """The query that asks a resolver one question: `message` is without its ID.

    `section` is the question section that a reply has to repeat, in lower case.
    """

    __slots__ = ("message", "section")

    def __init__(self, name: bytes, rdtype: int, bits: int) -> None:
        self.section = name + TYPE_AND_CLASS.pack(rdtype, RdataClass.IN)
        opt = _OPT_RECORD.pack(0, RdataType.OPT, UDP_BYTES_MAX, bits & EDNS_DO, 0)
        self.message = HEADER.pack(bits & ~EDNS_DO, 1, 0, 0, 1) + self.section + opt


@lru_cache(maxsize=_QUERIES_KEPT)
def resolver_query(question: bytes) -> ResolverQuery:
    """Return the query that asks a resolver this question."""
    if _TYPED not in question:
        rdtype = RdataType.A if type_of(question) is Type.A else RdataType.AAAA
        return ResolverQuery(name_from_text(name_of(question)), rdtype, Flag.RD)
    name, number, marks = _taken_apart(question)
    bits = 0 if _NOT_RECURSIVE in marks else Flag.RD
    for bit, mark in _MARKS:
        if b"+" + mark in marks:
            bits |= bit
    return ResolverQuery(name_from_text(name), number, bits)


def without_opt(message: bytes) -> bytes:
    """Return the message of a `ResolverQuery`, with its ID, without its OPT record."""
    return message[:_ADDITIONALS_AT] + b"\0\0" + message[_ADDITIONALS_AT + 2 : -_OPT_RECORD.size]
