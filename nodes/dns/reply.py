"""A resolver's reply (RFC 1035, section 4; EDNS: RFC 6891; the chain: RFC 1034, section 3.6.2).

A reply is read once: what it says of its question, the addresses that its aliases lead to, and,
ready made, the parts of which a reply to any DNS client is joined. Its question, in the client's
spelling, is as long as it was, so pointers into it stay right. Options that a resolver means for
LS only (RFC 6891, section 6.1.1: a cookie of one server would break the next) are left out; and so
is what stands behind the OPT record: additional records, which may be missed.

A referral (RFC 2308, section 2.2: NOERROR without what was asked for, NS records of the servers to
ask instead, and no SOA) knows nothing of its question, and counts as REFUSED.

SERVFAIL with an extended error 6 to 12 (RFC 8914, sections 4.7 to 4.13) is the word of a validator
that what it found is forged or broken: it is BOGUS.

A reply is read as its counts say: bytes behind its end are no part of it. Of an error (any code but
NOERROR and NXDOMAIN) no more than the code is needed: it need not repeat its question (many that
refuse to answer send a header and nothing else), and if its records cannot be read they are left
out. Nor need a reply that is cut (RFC 2181, section 9: it is ignored, but for that).

Any other malformed message, and any that is not a reply, is read as None.

Not here: whether it was asked for (`nodes/ls/resolvers/resolver.py`), and where it is sent.
"""

from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from core.protocol.names import LINE_BYTES_MAX, Negative, name_of, type_of
from nodes.dns.codes import (
    BOGUS,
    HEADER,
    OPCODE_MASK,
    OPTION,
    RCODE_MASK,
    RECORD,
    TYPE_AND_CLASS,
    Flag,
    OptionCode,
    Rcode,
    RdataClass,
    RdataType,
)
from nodes.dns.record_set import QUESTION_POINTER
from nodes.dns.wire_names import Malformed, read_name, walk_name

_ALIASES_MAX = 16  # a longer chain of CNAME records counts as a loop
_HOP_BY_HOP = frozenset(
    {OptionCode.NSID, OptionCode.COOKIE, OptionCode.KEEPALIVE, OptionCode.PADDING}
)
_CODE_BYTES = 2  # of an extended error, before its text
_ADDRESS_BYTES: dict[int, int] = {RdataType.A: 4, RdataType.AAAA: 16}


class ReplyResult(Enum):
    """Meanings of a reply, the best first."""

    DATA = "there is what was asked for"
    NO_DATA = "there is nothing of this type"
    NOT_FOUND = "there is no such name"
    REFUSED = "the resolver does not tell us"
    FAILED = "the resolver could not find out"
    MISUNDERSTOOD = "the resolver does not understand the query"
    BOGUS = "the resolver has found it, and it is forged or broken"


_NEGATIVES = {
    ReplyResult.NO_DATA: Negative.NO_DATA,
    ReplyResult.NOT_FOUND: Negative.NOT_FOUND,
    ReplyResult.REFUSED: Negative.FAILED,
    ReplyResult.FAILED: Negative.FAILED,
    ReplyResult.MISUNDERSTOOD: Negative.FAILED,
    ReplyResult.BOGUS: Negative.FAILED,
}
_WITH_SECTIONS = frozenset({Rcode.NOERROR, Rcode.NXDOMAIN})  # NXDOMAIN is an answer, too
# FORMERR, NOTIMP and, with the upper bits of an extended code, BADVERS (RFC 6891, section 9).
_RESULTS: dict[int, ReplyResult] = {
    Rcode.FORMERR: ReplyResult.MISUNDERSTOOD,
    Rcode.NXDOMAIN: ReplyResult.NOT_FOUND,
    Rcode.NOTIMP: ReplyResult.MISUNDERSTOOD,
    Rcode.REFUSED: ReplyResult.REFUSED,
    Rcode.BADVERS: ReplyResult.MISUNDERSTOOD,
}


class DnsReply:
    """A well-formed reply.

    `section` is the question section that it repeats, in lower case; empty where it has none.
    `is_cut`: it says that it is not whole; then only `section` and `is_cut` count.
    """

    __slots__ = (
        "_packed",
        "_text",
        "body",
        "counts",
        "flags",
        "is_cut",
        "is_referral",
        "options",
        "rcode_high",
        "result",
        "section",
    )

    def __init__(self, section: bytes, flags: int, *, is_cut: bool) -> None:
        self.section = section
        self.flags = flags
        self.is_cut = is_cut
        self.result = _RESULTS.get(flags & RCODE_MASK, ReplyResult.FAILED)
        self.is_referral = False
        self.counts = (0, 0, 0)  # of records: answers, authorities, additionals without OPT
        self.body = b""  # those records
        self.rcode_high = 0  # the upper bits of an extended code
        self.options = b""  # of its OPT record, without those that are for LS only
        self._packed: tuple[bytes, ...] = ()  # addresses
        self._text: bytes | None = b""  # the same as text; None: nobody has wanted it

    @property
    def addresses(self) -> bytes:
        """The addresses as text, separated by commas; empty if there are none."""
        if self._text is None:  # many may ask, and there may be thousands
            is_ipv4 = len(self._packed[0]) == _ADDRESS_BYTES[RdataType.A]
            make = IPv4Address if is_ipv4 else IPv6Address
            self._text = b",".join([str(make(packed)).encode() for packed in self._packed])
        return self._text

    def line(self, question: bytes, spelling: bytes) -> bytes:
        """Return the reply as a line for a client that asked in this spelling.

        Addresses that do not fit into a line are left out.
        """
        if self.result is not ReplyResult.DATA:
            return b"%b - %b\n" % (spelling, _NEGATIVES[self.result].value)
        start, end = name_of(question) + b" ", b" %b IN" % type_of(question).value
        addresses = self.addresses
        if len(start) + len(addresses) + len(end) > LINE_BYTES_MAX:
            room = LINE_BYTES_MAX - len(start) - len(end)
            addresses = addresses[: addresses.rindex(b",", 0, room + 1)]
        return start + addresses + end + b"\n"

    def kept(self, body: bytes) -> "DnsReply":
        """Return the same reply with these records, as one that was kept (RFC 1035, section 4.1.1:
        it is not from whoever is responsible for the name)."""
        reply = DnsReply(self.section, self.flags & ~Flag.AA, is_cut=False)
        reply.result, reply.counts, reply.body = self.result, self.counts, body
        reply.rcode_high, reply.options = self.rcode_high, self.options
        reply._packed, reply._text = self._packed, self._text
        return reply

    def read_records(self, data: bytes, start: int, counts: list[int]) -> None:
        """Read all records of the message, which begin at `start`, once. Raises Malformed."""
        name, wanted = self.section[:-4], int.from_bytes(self.section[-4:-2])
        answers, authorities, additionals = counts
        aliases: dict[bytes, bytes] = {}
        found: dict[bytes, list[bytes]] = {}  # data of the type that was asked for, by owner
        known: dict[int, bytes] = {}  # names, by where they begin
        authority_types: set[int] = set()
        at, stop = start, None
        for number in range(answers + authorities + additionals):
            begin = at
            owner = name
            if data[at : at + 2] == QUESTION_POINTER:
                at += 2
            elif number < answers:
                owner, at = read_name(data, at, known)
            else:
                at, _ = walk_name(data, at)
            if at + RECORD.size > len(data):
                raise Malformed
            rdtype, rdclass, ttl, size = RECORD.unpack_from(data, at)
            at += RECORD.size
            end = at + size
            if end > len(data):
                raise Malformed
            if rdtype == RdataType.OPT:
                if stop is not None or number < answers + authorities or data[begin] != 0:
                    raise Malformed
                stop, additionals = begin, number - answers - authorities
                self.rcode_high = ttl >> 24
                if size:
                    self.options = _end_to_end(data[at:end])
            elif number < answers:
                if rdtype == RdataType.CNAME and wanted != RdataType.CNAME:
                    alias, alias_end = read_name(data, at, known)
                    if alias_end != end:
                        raise Malformed
                    aliases.setdefault(owner, alias)
                if rdtype == wanted and rdclass == RdataClass.IN:
                    if size != _ADDRESS_BYTES.get(rdtype, size):
                        raise Malformed
                    found.setdefault(owner, []).append(data[at:end])
            elif number < answers + authorities:
                authority_types.add(rdtype)
            at = end
        self.counts = (answers, authorities, additionals)
        self.body = data[start : at if stop is None else stop]
        for _ in range(_ALIASES_MAX):
            if name in found or name not in aliases:
                break
            name = aliases[name]
        self._conclude(wanted, found.get(name, []), authority_types)

    def _conclude(self, wanted: int, data: list[bytes], authority_types: set[int]) -> None:
        """Take in what the records say: `data` of the type that was asked for."""
        rcode = self.rcode_high << 4 | self.flags & RCODE_MASK
        if rcode:
            self.result = _RESULTS.get(rcode, ReplyResult.FAILED)
            if rcode == Rcode.SERVFAIL and self.options and _has_bogus(self.options):
                self.result = ReplyResult.BOGUS
        elif data or (wanted == RdataType.ANY and self.counts[0]):
            self.result = ReplyResult.DATA
            if wanted in _ADDRESS_BYTES:
                self._packed = tuple(dict.fromkeys(data))
                self._text = None
        else:
            has_ns = RdataType.NS in authority_types
            self.is_referral = has_ns and RdataType.SOA not in authority_types
            self.result = ReplyResult.REFUSED if self.is_referral else ReplyResult.NO_DATA


def read_reply(data: bytes, *, is_whole: bool = True) -> DnsReply | None:
    """Read a reply by its bytes after the ID; None: it is malformed, or no reply.

    `is_whole`: nothing was left out when it was received; else a reply that does not fit its counts
    is cut.
    """
    if len(data) < HEADER.size:
        return None
    flags, questions, *counts = HEADER.unpack_from(data)
    if not flags & Flag.QR or flags & OPCODE_MASK:
        return None
    is_cut = bool(flags & Flag.TC)
    is_error = flags & RCODE_MASK not in _WITH_SECTIONS
    if (is_cut or is_error) and is_bare(data):
        return DnsReply(b"", flags, is_cut=is_cut)
    if questions != 1:
        return None
    try:
        name_end, _ = walk_name(data, HEADER.size)
    except Malformed:
        return None
    end = name_end + TYPE_AND_CLASS.size
    if end > len(data):
        return None
    section = data[HEADER.size : name_end].lower() + data[name_end:end]
    reply = DnsReply(section, flags, is_cut=is_cut)
    if is_cut:
        return reply
    try:
        reply.read_records(data, end, counts)
    except Malformed:
        if is_error:
            return DnsReply(section, flags, is_cut=False)
        return None if is_whole else DnsReply(section, flags, is_cut=True)
    return reply


def is_bare(data: bytes) -> bool:
    """Return whether a message, after its ID, is a reply that need not repeat its question, and
    does not: an error, or a reply that is cut."""
    if len(data) < HEADER.size:
        return False
    flags, questions, *_ = HEADER.unpack_from(data)
    has_question = questions and len(data) > HEADER.size
    if has_question or not flags & Flag.QR or flags & OPCODE_MASK:
        return False
    return bool(flags & Flag.TC) or flags & RCODE_MASK not in _WITH_SECTIONS


def _end_to_end(options: bytes) -> bytes:
    """Return the options that are for more than one hop. Raises Malformed."""
    kept: list[bytes] = []
    at = 0
    while at < len(options):
        if at + OPTION.size > len(options):
            raise Malformed
        code, size = OPTION.unpack_from(options, at)
        end = at + OPTION.size + size
        if end > len(options):
            raise Malformed
        if code not in _HOP_BY_HOP:
            kept.append(options[at:end])
        at = end
    return b"".join(kept)


def _has_bogus(options: bytes) -> bool:
    """Return whether well-formed options have the extended error of a validator."""
    at = 0
    while at < len(options):
        code, size = OPTION.unpack_from(options, at)
        at += OPTION.size
        is_error = code == OptionCode.EDE and size >= _CODE_BYTES
        if is_error and int.from_bytes(options[at : at + _CODE_BYTES]) in BOGUS:
            return True
        at += size
    return False
