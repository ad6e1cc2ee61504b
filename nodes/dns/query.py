"""DNS messages: queries are read, replies are made (RFC 1035, section 4; EDNS: RFC 6891). Pure.

Only the header and the question of a query are looked at, and of what is behind them the OPT
record. A `Query` holds the parts of every reply to it, ready made, so that a reply is a join.
What is no question of ours comes with its reply (`RefusedQuery`), or with none (None): whoever
sends a reply, or less than a header, is never answered, or two servers could talk for ever.

Everything here is "after the ID": the two bytes that differ from query to query stand before what
is read, and before what is made.

Not here: sockets, and what a question came to (`nodes/ls/dns_front_end.py`).
"""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from core.protocol.names import Type, fold, is_name
from nodes.dns.question import AD, CD, DO, RD, written
from nodes.dns.question import REPLY_BYTES_MAX as UDP_BYTES_MAX
from nodes.dns.reply import RCODE, DnsReply
from nodes.dns.wire_names import (
    AAAA,
    ANY,
    HEADER,
    ID_BYTES,
    IN,
    LABEL_BYTES_MAX,
    NAME_BYTES_MAX,
    OPCODE,
    OPT,
    QR,
    RECORD,
    TC,
    TO_QUESTION,
    TWO,
    A,
    Malformed,
    after_name,
)

MESSAGE_BYTES_MAX = 65_535  # of a stream, where each stands after its length
_UDP_BYTES_PLAIN = 512  # without EDNS (RFC 1035, section 4.2.1)
_RA = 0x0080
_EDE = b"\x00\x0f\x00\x02\x00\x16"  # option 15, two bytes: 22, no reachable authority (RFC 8914)
_TYPE = {Type.A: A, Type.AAAA: AAAA}
_TYPES = {number: kind for kind, number in _TYPE.items()}
# What may be put into a reply, by the type that is asked for. ANY gets a part (RFC 8482, 4.1).
_WANTED = _TYPES | {ANY: Type.A}
_TRANSFERS = frozenset({251, 252})  # of whole zones, which nobody here has


class Rcode(IntEnum):
    """What a reply says of its query (RFC 1035, section 4.1.1; RFC 6891, section 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class RecordSet:
    """The records of a set of addresses, turned round by one from reply to reply."""

    __slots__ = ("_at", "_record_bytes", "_size", "_twice", "count")

    def __init__(self, addresses: bytes, kind: Type, ttl_s: int) -> None:
        """`addresses` is what stands in an answer: text, separated by commas. One that is there
        twice, however it is written, is one record (RFC 2181, section 5)."""
        make = IPv4Address if kind is Type.A else IPv6Address
        texts = addresses.decode("ascii").split(",")
        packed = list(dict.fromkeys([make(text).packed for text in texts]))
        size = len(packed[0])
        head = TO_QUESTION + RECORD.pack(_TYPE[kind], IN, ttl_s, size)
        records = b"".join([head + address for address in packed])
        self._record_bytes = len(head) + size
        self._size = len(records)
        # Every order is a piece of this. Each order by itself would be as many times the memory
        # as there are addresses, for each of the sets that are remembered.
        self._twice = records * 2 if len(packed) > 1 else records
        self._at = 0
        self.count = len(packed).to_bytes(2)

    def turned(self) -> bytes:
        """All of them, in the order whose turn it is."""
        at, size = self._at, self._size
        after = at + self._record_bytes
        self._at = after if after < size else 0
        return self._twice[at : at + size]


@dataclass(slots=True)
class RefusedQuery:
    """What is no question of ours, and what it is told."""

    reply: bytes


class Query:
    """A question of ours. `question` is what it asks the race for, folded; `wants` the type of
    the addresses that a reply may have: None for none, though its name be known."""

    __slots__ = ("_echo", "_flags", "_opt", "_size_max", "question", "wants")

    def __init__(
        self,
        question: bytes,
        wants: Type | None,
        flags: int,
        echo: bytes,
        opt: bytes,
        size_max: int,
    ) -> None:
        self.question = question
        self.wants = wants
        self._flags = flags
        self._echo = echo  # the question as it was sent, in every spelling
        self._opt = opt
        self._size_max = size_max

    def addresses(self, records: RecordSet, is_datagram: bool) -> bytes:
        """An answer; one that a datagram cannot hold says so, and has none of them (TC)."""
        turned = records.turned()
        size = ID_BYTES + HEADER.size + len(self._echo) + len(turned) + len(self._opt)
        if is_datagram and size > self._size_max:
            return self._reply(TC)
        ends = b"\x00\x00\x00\x01" if self._opt else b"\x00\x00\x00\x00"
        head = TWO.pack(self._flags, 1)
        return b"".join((head, records.count, ends, self._echo, turned, self._opt))

    def relayed(self, reply: DnsReply, is_datagram: bool) -> bytes:
        """What a resolver replied, as it came but for what is between it and us; what is too long
        for a datagram, or, with our OPT record, for any message, is said to be cut. Where the
        resolver has not repeated the question, only its code goes on. A referral is no reply to one
        who wants recursion, and would be read as NO DATA: it is a failure."""
        if not reply.asked:
            return self._reply(reply.flags & RCODE)
        if reply.is_referral and self._flags & RD:
            return self._reply(Rcode.SERVFAIL)
        answers, authorities, additionals = reply.counts
        short = opt = self._opt
        if opt and reply.high:
            short = opt = b"%b%c%b" % (opt[:5], reply.high, opt[6:])
        elif reply.high:  # what it says cannot be said without
            return self.failure()
        if opt and reply.options:
            opt = b"%b%b%b" % (opt[:-2], len(reply.options).to_bytes(2), reply.options)
        size = ID_BYTES + HEADER.size + len(self._echo) + len(reply.body) + len(opt)
        if size > (self._size_max if is_datagram else MESSAGE_BYTES_MAX):
            return HEADER.pack(reply.flags | TC, 1, 0, 0, bool(opt)) + self._echo + short
        head = HEADER.pack(reply.flags, 1, answers, authorities, additionals + bool(opt))
        return b"".join((head, self._echo, reply.body, opt))

    def empty(self) -> bytes:
        """The name is known, and there is no address of the type that is asked for."""
        return self._reply(Rcode.NOERROR)

    def no_such_name(self) -> bytes:
        """The name is not known."""
        return self._reply(Rcode.NXDOMAIN)

    def failure(self) -> bytes:
        """Nobody has said anything about it in time."""
        opt = self._opt
        if opt:
            opt = opt[:-2] + len(_EDE).to_bytes(2) + _EDE
        return HEADER.pack(self._flags | Rcode.SERVFAIL, 1, 0, 0, bool(opt)) + self._echo + opt

    def busy(self) -> bytes:
        """The reply to a query that there is no room for."""
        return self._reply(Rcode.SERVFAIL)

    def _reply(self, more: int) -> bytes:
        opt = self._opt
        return HEADER.pack(self._flags | more, 1, 0, 0, bool(opt)) + self._echo + opt


def read_query(data: bytes, *, forwards: bool = False) -> Query | RefusedQuery | None:
    """What a message says. Never raises. `forwards`: there are resolvers to be asked, so that any
    name and type may have an answer."""
    if len(data) < HEADER.size:
        return None
    flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if flags & QR:
        return None
    bits = flags & (RD | AD | CD)
    flags = QR | _RA | flags & (OPCODE | RD | CD)
    behind = answers + authorities
    if flags & OPCODE or questions != 1:
        rcode = Rcode.NOTIMP if flags & OPCODE else Rcode.FORMERR
        opt = _find_opt_after(data, HEADER.size, questions, behind, additionals)
        return _refusal(flags, rcode, opt=_our_opt(opt))
    try:
        labels, at = _labels(data, HEADER.size)
    except Malformed:
        return _refusal(flags, Rcode.FORMERR)
    end = at + TWO.size
    if end > len(data):
        return _refusal(flags, Rcode.FORMERR)
    kind, group = TWO.unpack_from(data, at)
    if behind:
        opt, is_whole = _find_opt_after(data, end, 0, behind, additionals), False
    else:
        opt, is_whole = _find_opt(data, end, additionals)
    if opt is not None:
        bits |= opt[1] & DO
    echo = data[HEADER.size : end]
    return _judge(labels, kind, group, flags, echo, opt, is_whole, bits if forwards else None)


def _judge(
    labels: list[bytes],
    kind: int,
    group: int,
    flags: int,
    echo: bytes,
    opt: tuple[int, int] | None,
    is_whole: bool,
    bits: int | None,
) -> Query | RefusedQuery:
    """What to make of a well-formed question. `opt`: the class and the TTL of the OPT record;
    whoever sends one gets one, whatever else there is to say (RFC 6891, section 6.1.1).
    `is_whole`: whether what is behind the question is well formed, too. `bits`: what the query says
    to a resolver; None where there is none to be asked."""
    our_opt, size_max = _our_opt(opt), _UDP_BYTES_PLAIN
    is_new = 0
    if opt is not None:
        size, ttl = opt
        size_max = min(max(size, _UDP_BYTES_PLAIN), UDP_BYTES_MAX)
        is_new = ttl >> 16 & 0xFF
        if is_new and is_whole:
            our_opt = _our_opt(opt, Rcode.BADVERS >> 4)
    if kind in _TRANSFERS:  # one of them has a record where a question has none (RFC 1995)
        return _refusal(flags, Rcode.REFUSED, echo, our_opt)
    if not is_whole:
        return _refusal(flags, Rcode.FORMERR, echo, our_opt)
    if is_new:  # the other half of BADVERS is in the OPT record
        return _refusal(flags, Rcode.NOERROR, echo, our_opt)
    if group != IN:
        return _refusal(flags, Rcode.REFUSED, echo, our_opt)
    if bits is not None:
        wants = _TYPES.get(kind)
        return Query(written(labels, kind, bits), wants, flags, echo, our_opt, size_max)
    if not labels:  # the root exists, and has no addresses
        return _refusal(flags, Rcode.NOERROR, echo, our_opt)
    name = b".".join(labels)
    if not is_name(name) or name.count(b".") != len(labels) - 1:  # no table can have it
        return _refusal(flags, Rcode.NXDOMAIN, echo, our_opt)
    wants = _WANTED.get(kind)
    question = fold(name, Type.A if wants is None else wants)
    return Query(question, wants, flags, echo, our_opt, size_max)


def _labels(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The labels of a name that stands at `at`, and where it ends. No pointers: what they could
    point to comes later. Raises Malformed."""
    labels: list[bytes] = []
    last = min(len(data), at + NAME_BYTES_MAX)
    while at < last:
        size = data[at]
        at += 1
        if not size:
            return labels, at
        if size > LABEL_BYTES_MAX:
            break
        labels.append(data[at : at + size])
        at += size
    raise Malformed


def _find_opt(data: bytes, at: int, count: int) -> tuple[tuple[int, int] | None, bool]:
    """Class and TTL of the first OPT record, and whether all is well: `count` records end the
    message, one OPT among them at most. Others are not looked at: signatures, say, of which we
    know nothing."""
    found = None
    for _ in range(count):
        is_root = data[at : at + 1] == b"\x00"
        try:
            at = after_name(data, at)
        except Malformed:
            return found, False
        if at + RECORD.size > len(data):
            return found, False
        kind, group, ttl, size = RECORD.unpack_from(data, at)
        at += RECORD.size + size
        if kind == OPT:
            if found is not None or not is_root or at > len(data):  # RFC 6891, section 6.1.1
                return found, False
            found = group, ttl
    return found, at == len(data)


def _find_opt_after(
    data: bytes, at: int, questions: int, records: int, additionals: int
) -> tuple[int, int] | None:
    """Class and TTL of the first OPT record behind so many questions and other records; None where
    it cannot be found. Any operation has them in this form (RFC 1996; RFC 2136, section 2)."""
    try:
        for _ in range(questions):
            at = after_name(data, at) + TWO.size
        for _ in range(records):
            at = after_name(data, at) + RECORD.size
            at += int.from_bytes(data[at - 2 : at])
    except Malformed:
        return None
    return _find_opt(data, at, additionals)[0]


def _our_opt(opt: tuple[int, int] | None, high: int = 0) -> bytes:
    """The OPT record of a reply to whoever sent this one; `high`: the upper bits of its code."""
    if opt is None:
        return b""
    return b"\x00" + RECORD.pack(OPT, UDP_BYTES_MAX, high << 24 | opt[1] & DO, 0)


def _refusal(flags: int, rcode: Rcode, echo: bytes = b"", opt: bytes = b"") -> RefusedQuery:
    return RefusedQuery(HEADER.pack(flags | rcode, bool(echo), 0, 0, bool(opt)) + echo + opt)
