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
    ID_BYTES,
    TYPE_AND_CLASS,
    UDP_BYTES_MAX,
    Flag,
    RdataClass,
    RdataType,
)
from nodes.dns.padding import QUERY_BLOCK_BYTES, padded_opt
from nodes.dns.wire_names import name_as_text, name_from_text

# The name of the root, type, the size that we take, flags, length (RFC 6891, section 6.1.2).
_OPT_RECORD = Struct(">BHHIH")
_ADDITIONALS_AT = 8  # where their count stands, which is the last thing in a header
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

    def __init__(self, name: bytes, rdtype: int, bits: int, *, is_padded: bool) -> None:
        self.section = name + TYPE_AND_CLASS.pack(rdtype, RdataClass.IN)
        head = HEADER.pack(bits & ~EDNS_DO, 1, 0, 0, 1) + self.section
        opt = _OPT_RECORD.pack(0, RdataType.OPT, UDP_BYTES_MAX, bits & EDNS_DO, 0)
        if is_padded:
            opt = padded_opt(opt, ID_BYTES + len(head), QUERY_BLOCK_BYTES)
        self.message = head + opt

    @property
    def plain(self) -> bytes:
        """The message without its OPT record, and the padding in it."""
        return self.message[:_ADDITIONALS_AT] + b"\0\0" + self.section


@lru_cache(maxsize=_QUERIES_KEPT)
def resolver_query(question: bytes) -> ResolverQuery:
    """Return the query that asks a resolver this question."""
    return _made(question, is_padded=False)


@lru_cache(maxsize=_QUERIES_KEPT)
def padded_query(question: bytes) -> ResolverQuery:
    """Return the same query, padded (RFC 8467): to be sent where nobody on the way can read it."""
    return _made(question, is_padded=True)


def _made(question: bytes, *, is_padded: bool) -> ResolverQuery:
    if _TYPED not in question:
        rdtype = RdataType.A if type_of(question) is Type.A else RdataType.AAAA
        name = name_from_text(name_of(question))
        return ResolverQuery(name, rdtype, Flag.RD, is_padded=is_padded)
    name, number, marks = _taken_apart(question)
    bits = 0 if _NOT_RECURSIVE in marks else Flag.RD
    for bit, mark in _MARKS:
        if b"+" + mark in marks:
            bits |= bit
    return ResolverQuery(name_from_text(name), number, bits, is_padded=is_padded)
