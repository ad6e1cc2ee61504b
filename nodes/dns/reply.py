"""What a resolver replies, read (RFC 1035, section 4; EDNS: RFC 6891; the chain: RFC 1034, 3.6.2).

A reply is read once and for all: what it says of its question, the addresses that its aliases lead
to, and, ready made, the parts of which a reply to any asker is joined. Its question, in the asker's
spelling, is as long as it was, so what points into it points right. What a resolver says to its own
asker only (RFC 6891, section 6.1.1: a cookie of one server would break the next) is left out; and
with it what stands behind it: records that are additional, and may be missed.

A referral (RFC 2308, section 2.2: NOERROR, not what was asked for, and of whom to ask NS records,
but no SOA) knows nothing of its question, and counts as REFUSED.

A reply is read as its counts say: bytes behind its end are no part of it. Of an error (a code that
is neither NOERROR nor NXDOMAIN) no more than the code is needed: it need not repeat its question
(many that turn an asker away send a header and nothing else), and records of it that cannot be read
are left out. Nor need a reply that is cut (RFC 2181, section 9: it is ignored, but for that).

Any other message that says more, or less, than it can is None. So is one that is no reply.

Not here: whether anybody asked for it (`nodes/ls/resolvers/resolver.py`), and who takes it.
"""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from core.protocol.names import LINE_BYTES_MAX, Negative
from nodes.dns.wire_names import (
    AAAA,
    ANY,
    CNAME,
    HEADER,
    ID_BYTES,
    IN,
    LABEL_BYTES_MAX,
    NAME_BYTES_MAX,
    NS,
    OPCODE,
    OPT,
    POINTER,
    QR,
    RECORD,
    SOA,
    TC,
    TO_QUESTION,
    TWO,
    A,
    Malformed,
    after_name,
)

RCODE = 0x000F
_ALIASES_MAX = 16  # who goes on from there goes round
# From hop to hop only: NSID (RFC 5001), a cookie (RFC 7873), how long a stream may idle (RFC 7828),
# padding (RFC 7830).
_OF_ONE_HOP = frozenset({3, 10, 11, 12})
_SIZE = {A: 4, AAAA: 16}


class ReplyResult(Enum):
    """What a reply says of its question. The better one stands first."""

    DATA = "there is what was asked for"
    NO_DATA = "there is nothing of this type"
    NOT_FOUND = "there is no such name"
    REFUSED = "it is not told to us"
    FAILED = "it could not be found out"
    MISUNDERSTOOD = "it is not asked in a way that is understood"


_NEGATIVE = {
    ReplyResult.NO_DATA: Negative.NO_DATA,
    ReplyResult.NOT_FOUND: Negative.NOT_FOUND,
    ReplyResult.REFUSED: Negative.FAILED,
    ReplyResult.FAILED: Negative.FAILED,
    ReplyResult.MISUNDERSTOOD: Negative.FAILED,
}
_NO_ERROR = frozenset({0, 3})  # NXDOMAIN is an answer, too
# FORMERR, NOTIMP and, with the upper bits of an extended code, BADVERS (RFC 6891, section 9).
_BY_RCODE = {
    1: ReplyResult.MISUNDERSTOOD,
    3: ReplyResult.NOT_FOUND,
    4: ReplyResult.MISUNDERSTOOD,
    5: ReplyResult.REFUSED,
    16: ReplyResult.MISUNDERSTOOD,
}


class DnsReply:
    """One that is well formed. `asked`: the question section that it repeats, in lower case; empty
    where there is none.

    `is_cut`: it says that it is not whole; then nothing but `asked` and `is_cut` counts.
    """

    __slots__ = (
        "_addresses",
        "_text",
        "asked",
        "body",
        "counts",
        "flags",
        "high",
        "is_cut",
        "is_referral",
        "options",
        "said",
    )

    def __init__(self, asked: bytes, flags: int, *, is_cut: bool) -> None:
        self.asked = asked
        self.flags = flags
        self.is_cut = is_cut
        self.said = ReplyResult.FAILED
        self.is_referral = False  # it says only who may know
        self.counts = (0, 0, 0)  # of records: answers, authorities, additionals without OPT
        self.body = b""  # those records
        self.high = 0  # the upper bits of an extended code
        self.options = b""  # of its OPT record, that may be passed on
        self._addresses: tuple[bytes, ...] = ()
        self._text: bytes | None = b""  # of them; None: nobody has wanted it

    @property
    def addresses(self) -> bytes:
        """As text, separated by commas. None: empty."""
        if self._text is None:  # many may ask, and there may be thousands
            make = IPv4Address if len(self._addresses[0]) == _SIZE[A] else IPv6Address
            self._text = b",".join([str(make(packed)).encode() for packed in self._addresses])
        return self._text

    def line(self, question: bytes, spelling: bytes) -> bytes:
        """What a line says to who asked so."""
        if self.said is not ReplyResult.DATA:
            return b"%b - %b\n" % (spelling, _NEGATIVE[self.said].value)
        name, _, kind = question.partition(b" ")
        start, end = name + b" ", b" %b IN" % (kind or b"A")
        addresses = self.addresses
        if len(start) + len(addresses) + len(end) > LINE_BYTES_MAX:
            room = LINE_BYTES_MAX - len(start) - len(end)
            addresses = addresses[: addresses.rindex(b",", 0, room + 1)]
        return start + addresses + end + b"\n"


def read_reply(data: bytes, *, is_whole: bool = True) -> DnsReply | None:
    """What a message says, by its bytes after the ID. None: it is no reply, or malformed.
    `is_whole`: nothing was left out when it was read; else what does not fit its counts is cut."""
    if len(data) < HEADER.size:
        return None
    flags, questions, *counts = HEADER.unpack_from(data)
    if not flags & QR or flags & OPCODE:
        return None
    is_cut = bool(flags & TC)
    if is_bare(data):
        reply = DnsReply(b"", flags, is_cut=is_cut)
        reply.said = _BY_RCODE.get(flags & RCODE, ReplyResult.FAILED)
        return reply
    if questions != 1:
        return None
    try:
        name, at = _name(data, HEADER.size, {})
    except Malformed:
        return None
    end = at + TWO.size
    if end > len(data) or end - HEADER.size != len(name) + TWO.size:  # a pointer in it
        return None
    asked = name + data[at:end]
    reply = DnsReply(asked, flags, is_cut=is_cut)
    if not is_cut:
        try:
            _read_records(reply, data, end, counts, name)
        except Malformed:
            if flags & RCODE not in _NO_ERROR:
                reply = DnsReply(asked, flags, is_cut=False)
                reply.said = _BY_RCODE.get(flags & RCODE, ReplyResult.FAILED)
            elif not is_whole:
                reply = DnsReply(asked, flags, is_cut=True)
            else:
                return None
    return reply


def is_bare(data: bytes) -> bool:
    """Whether this is a reply, by its bytes after the ID, that need have no question, and has none:
    an error, or cut."""
    if len(data) < HEADER.size:
        return False
    flags, questions = TWO.unpack_from(data)
    has_question = questions and len(data) > HEADER.size
    if has_question or not flags & QR or flags & OPCODE:
        return False
    return bool(flags & TC) or flags & RCODE not in _NO_ERROR


def _read_records(reply: DnsReply, data: bytes, start: int, counts: list[int], name: bytes) -> None:
    """Walk through all records once. Raises Malformed."""
    wanted = int.from_bytes(reply.asked[-4:-2])
    answers, authorities, additionals = counts
    aliases: dict[bytes, bytes] = {}
    found: dict[bytes, list[bytes]] = {}
    known: dict[int, bytes] = {}  # names, by where they begin
    beside: set[int] = set()  # types in the authority section
    at, stop = start, None
    for number in range(answers + authorities + additionals):
        begin = at
        if data[at : at + 2] == TO_QUESTION:
            owner, at = name, at + 2
        elif number < answers:
            owner, at = _name(data, at, known)
        else:
            owner, at = b"", after_name(data, at)
        if at + RECORD.size > len(data):
            raise Malformed
        kind, group, ttl, size = RECORD.unpack_from(data, at)
        at += RECORD.size
        if at + size > len(data):
            raise Malformed
        if kind == OPT:
            if stop is not None or number < answers + authorities or data[begin] != 0:
                raise Malformed
            stop, additionals = begin, number - answers - authorities
            reply.high = ttl >> 24
            reply.options = _passed_on(data[at : at + size])
        elif number < answers:
            if kind == CNAME and wanted != CNAME:
                alias, end = _name(data, at, known)
                if end != at + size:
                    raise Malformed
                aliases.setdefault(owner, alias)
            if kind == wanted and group == IN:
                if size != _SIZE.get(kind, size):
                    raise Malformed
                found.setdefault(owner, []).append(data[at : at + size])
        elif number < answers + authorities:
            beside.add(kind)
        at += size
    reply.counts = (answers, authorities, additionals)
    reply.body = data[start : at if stop is None else stop]
    owner = name
    for _ in range(_ALIASES_MAX):
        if owner in found or owner not in aliases:
            break
        owner = aliases[owner]
    there = found.get(owner, [])
    code = reply.high << 4 | reply.flags & RCODE
    if code:
        reply.said = _BY_RCODE.get(code, ReplyResult.FAILED)
    elif there or (wanted == ANY and answers):
        reply.said = ReplyResult.DATA
        if wanted in _SIZE:
            reply._addresses = tuple(dict.fromkeys(there))
            reply._text = None
    else:
        reply.is_referral = NS in beside and SOA not in beside
        reply.said = ReplyResult.REFUSED if reply.is_referral else ReplyResult.NO_DATA


def _passed_on(options: bytes) -> bytes:
    """Those options that are for more than one hop. Raises Malformed."""
    kept: list[bytes] = []
    at = 0
    while at < len(options):
        if at + TWO.size > len(options):
            raise Malformed
        code, size = TWO.unpack_from(options, at)
        end = at + TWO.size + size
        if end > len(options):
            raise Malformed
        if code not in _OF_ONE_HOP:
            kept.append(options[at:end])
        at = end
    return b"".join(kept)


def _name(data: bytes, at: int, known: dict[int, bytes]) -> tuple[bytes, int]:
    """A name as it travels, in lower case and without pointers, and where it ends. A pointer has to
    point to what stands before the label that it follows (RFC 1035, section 4.1.4), so that none
    can lead round. What pointers have led to is `known`: else a name could be read as often as it
    has been pointed to. Raises Malformed."""
    parts: list[bytes] = []
    pointed_to: list[tuple[int, int]] = []  # where, and how many parts came before it
    size_all = after = 0
    least = at
    while True:
        if at >= len(data):
            raise Malformed
        size = data[at]
        if size > LABEL_BYTES_MAX:
            if size < POINTER or at + 1 >= len(data):
                raise Malformed
            after = after or at + 2
            at = ((size & 0x3F) << 8 | data[at + 1]) - ID_BYTES
            if not HEADER.size <= at < least:
                raise Malformed
            least = at
            rest = known.get(at)
            if rest is None:
                pointed_to.append((at, len(parts)))
                continue
        else:
            rest = data[at : at + size + 1].lower()
            at += size + 1
            if at > len(data):
                raise Malformed
        parts.append(rest)
        size_all += len(rest)
        if size_all > NAME_BYTES_MAX:
            raise Malformed
        if not rest[-1] and (size > LABEL_BYTES_MAX or not size):
            break
    for where, count in pointed_to:
        known[where] = b"".join(parts[count:])
    return b"".join(parts), after or at
