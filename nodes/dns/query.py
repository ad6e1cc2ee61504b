"""Queries of DNS clients, and the replies to them (RFC 1035, section 4; EDNS: RFC 6891). Pure.

Of a query the header and the question are read, and of the records behind them only OPT. A `Query`
holds the parts of every reply to it, ready made, and a reply is then a join. A query that LS does
not take up comes with its reply (`RefusedQuery`); a message that is a reply, or shorter than a
header, is never answered, or two servers could talk for ever.

Everything is "after the ID"; see `nodes/dns/codes.py`.

Not here: sockets, and what becomes of a question (`nodes/ls/dns_clients.py`).
"""

from dataclasses import dataclass

from core.protocol.names import Type, fold, is_name
from nodes.dns.codes import (
    EDNS_DO,
    HEADER,
    ID_BYTES,
    MESSAGE_BYTES_MAX,
    OPCODE_MASK,
    RCODE_MASK,
    RECORD,
    TYPE_AND_CLASS,
    UDP_BYTES_MAX,
    UDP_BYTES_PLAIN,
    ExtendedError,
    Flag,
    Rcode,
    RdataClass,
    RdataType,
    extended_error,
)
from nodes.dns.padding import REPLY_BLOCK_BYTES, has_padding, padded_opt
from nodes.dns.question import ADDRESS_TYPES, question_text
from nodes.dns.record_set import RecordSet
from nodes.dns.reply import DnsReply
from nodes.dns.wire_names import Malformed, split_labels, walk_name

# Of an OPT record: its class, which is the sender's size; its TTL, which is version and flags; and
# whether replies are padded because of it.
Opt = tuple[int, int, bool]
_NOBODY_REPLIED = extended_error(ExtendedError.NO_REACHABLE_AUTHORITY)
# The addresses that tables have for a type. ANY gets a part (RFC 8482, section 4.1).
_TABLE_TYPES = ADDRESS_TYPES | {RdataType.ANY: Type.A}
_TRANSFERS = frozenset({RdataType.IXFR, RdataType.AXFR})  # of whole zones, which nobody here has


@dataclass(slots=True)
class RefusedQuery:
    """A query that is answered at once, with an error or without data."""

    reply: bytes


class Query:
    """A query that becomes a question of the race.

    `question` is folded. `wants` is the type of the addresses that a reply may have; None if it may
    have none, even where the name is known.
    """

    __slots__ = ("_flags", "_opt", "_section", "_size_max", "question", "wants")

    def __init__(
        self,
        question: bytes,
        wants: Type | None,
        flags: int,
        section: bytes,
        opt: bytes,
        size_max: int,
    ) -> None:
        self.question = question
        self.wants = wants
        self._flags = flags  # of every reply
        self._section = section  # the question section as it was sent, in its spelling
        self._opt = opt  # our OPT record; empty for a client without EDNS
        self._size_max = size_max  # of a datagram

    def answer(self, records: RecordSet, is_datagram: bool) -> bytes:
        """Reply with addresses; none, and TC, where a datagram cannot hold all of them."""
        rotated = records.rotate()
        size = ID_BYTES + HEADER.size + len(self._section) + len(rotated) + len(self._opt)
        if is_datagram and size > self._size_max:
            return self._reply(Flag.TC)
        head = HEADER.pack(self._flags, 1, records.count, 0, bool(self._opt))
        return self._joined(head, rotated, self._opt)

    def relayed(self, reply: DnsReply, is_datagram: bool) -> bytes:
        """Pass on a resolver's reply, with our OPT record instead of the resolver's.

        A reply that is too long for a datagram, or, with our OPT record, for any message, is cut,
        and says TC. If it does not repeat the question, only its code goes on. A referral is no
        reply to a client that wants recursion, which would read it as NO DATA: it is a failure.
        """
        if not reply.section:
            return self._reply(reply.flags & RCODE_MASK, reply.options)
        if reply.is_referral and self._flags & Flag.RD:
            return self._reply(Rcode.SERVFAIL)
        answers, authorities, additionals = reply.counts
        without_options = opt = self._opt
        if opt and reply.rcode_high:
            without_options = opt = b"%b%c%b" % (opt[:5], reply.rcode_high, opt[6:])
        elif reply.rcode_high:  # an extended code cannot be said without EDNS
            return self.failure()
        if opt and reply.options:
            opt = b"%b%b%b" % (opt[:-2], len(reply.options).to_bytes(2), reply.options)
        size = ID_BYTES + HEADER.size + len(self._section) + len(reply.body) + len(opt)
        if size > (self._size_max if is_datagram else MESSAGE_BYTES_MAX):
            head = HEADER.pack(reply.flags | Flag.TC, 1, 0, 0, bool(opt))
            return self._joined(head, b"", without_options)
        head = HEADER.pack(reply.flags, 1, answers, authorities, additionals + bool(opt))
        return self._joined(head, reply.body, opt)

    def no_data(self) -> bytes:
        """Reply that the name is known, and has no address of the type that is asked for."""
        return self._reply(Rcode.NOERROR)

    def no_such_name(self) -> bytes:
        """Reply that the name is not known."""
        return self._reply(Rcode.NXDOMAIN)

    def failure(self) -> bytes:
        """Reply that no server has answered the question in time."""
        return self._reply(Rcode.SERVFAIL, _NOBODY_REPLIED)

    def busy(self) -> bytes:
        """Reply that there is no room for the query."""
        return self._reply(Rcode.SERVFAIL)

    def _reply(self, more_flags: int, options: bytes = b"") -> bytes:
        opt = self._opt
        if opt and options:
            opt = b"%b%b%b" % (opt[:-2], len(options).to_bytes(2), options)
        head = HEADER.pack(self._flags | more_flags, 1, 0, 0, bool(opt))
        return self._joined(head, b"", opt)

    def _joined(self, head: bytes, records: bytes, opt: bytes) -> bytes:
        """Join the parts of a reply, of which the question section is the second."""
        return b"".join((head, self._section, records, opt))


class PaddedQuery(Query):
    """A query that is padded, and so are all replies to it (RFC 8467, section 4.1)."""

    __slots__ = ()

    def _joined(self, head: bytes, records: bytes, opt: bytes) -> bytes:
        before = ID_BYTES + len(head) + len(self._section) + len(records)
        return super()._joined(head, records, padded_opt(opt, before, REPLY_BLOCK_BYTES))


def read_query(
    data: bytes, *, forwards: bool = False, pads: bool = False
) -> Query | RefusedQuery | None:
    """Read the message of a DNS client, any bytes at all; None: it may not be answered.

    `forwards`: there are resolvers to be asked, so that any name and type may have an answer.
    `pads`: replies are padded if the query is, for nobody on the way can read them.
    """
    if len(data) < HEADER.size:
        return None
    sent_flags, questions, answers, authorities, additionals = HEADER.unpack_from(data)
    if sent_flags & Flag.QR:
        return None
    flags = Flag.QR | Flag.RA | sent_flags & (OPCODE_MASK | Flag.RD | Flag.CD)
    records = answers + authorities
    if sent_flags & OPCODE_MASK or questions != 1:
        rcode = Rcode.NOTIMP if sent_flags & OPCODE_MASK else Rcode.FORMERR
        opt = _find_opt_after(data, HEADER.size, questions, records, additionals, pads)
        return _refused(flags, rcode, b"", opt)
    try:
        name_end, _ = walk_name(data, HEADER.size)
    except Malformed:
        return _refused(flags, Rcode.FORMERR, b"", None)
    end = name_end + TYPE_AND_CLASS.size
    if end > len(data):
        return _refused(flags, Rcode.FORMERR, b"", None)
    rdtype, rdclass = TYPE_AND_CLASS.unpack_from(data, name_end)
    if records:
        opt, is_whole = _find_opt_after(data, end, 0, records, additionals, pads), False
    else:
        opt, is_whole = _find_opt(data, end, additionals, pads)
    section = data[HEADER.size : end]
    refusal = _why_refused(rdtype, rdclass, is_whole, opt)
    if refusal is not None:
        return _refused(flags, refusal, section, opt)
    labels = split_labels(section)
    if forwards:
        bits = sent_flags & (Flag.RD | Flag.AD | Flag.CD)
        if opt is not None:
            bits |= opt[1] & EDNS_DO
        question, wants = question_text(labels, rdtype, bits), ADDRESS_TYPES.get(rdtype)
    elif not labels:  # the root exists, and has no addresses
        return _refused(flags, Rcode.NOERROR, section, opt)
    else:
        name = b".".join(labels)
        if not is_name(name) or name.count(b".") != len(labels) - 1:  # no table can have it
            return _refused(flags, Rcode.NXDOMAIN, section, opt)
        wants = _TABLE_TYPES.get(rdtype)
        question = fold(name, Type.A if wants is None else wants)
    if opt is None:
        return Query(question, wants, flags, section, b"", UDP_BYTES_PLAIN)
    size_max = min(max(opt[0], UDP_BYTES_PLAIN), UDP_BYTES_MAX)
    make = PaddedQuery if opt[2] else Query
    return make(question, wants, flags, section, _own_opt(opt), size_max)


def _why_refused(rdtype: int, rdclass: int, is_whole: bool, opt: Opt | None) -> Rcode | None:
    """Return the code that a well-formed question is refused with, if it is.

    `is_whole`: what is behind the question is well formed, too.
    """
    if rdtype in _TRANSFERS:  # IXFR has a record where a question has none (RFC 1995)
        return Rcode.REFUSED
    if not is_whole:
        return Rcode.FORMERR
    if opt is not None and opt[1] >> 16 & 0xFF:  # a version of EDNS that we do not know
        return Rcode.BADVERS
    if rdclass != RdataClass.IN:
        return Rcode.REFUSED
    return None


def _find_opt(data: bytes, at: int, count: int, pads: bool) -> tuple[Opt | None, bool]:
    """Return the first OPT record, and whether `count` records, at most one of them OPT, end the
    message. Other records are passed over: signatures, say, of which we know nothing.

    `pads`: padding in it is looked for. Nothing else is read of options, which may be malformed.
    """
    found = None
    for _ in range(count):
        is_root = data[at : at + 1] == b"\x00"
        try:
            at = at + 1 if is_root else walk_name(data, at)[0]
        except Malformed:
            return found, False
        if at + RECORD.size > len(data):
            return found, False
        rdtype, rdclass, ttl, size = RECORD.unpack_from(data, at)
        at += RECORD.size + size
        if rdtype == RdataType.OPT:
            if found is not None or not is_root or at > len(data):  # RFC 6891, section 6.1.1
                return found, False
            found = rdclass, ttl, pads and has_padding(data[at - size : at])
    return found, at == len(data)


def _find_opt_after(
    data: bytes, at: int, questions: int, records: int, additionals: int, pads: bool
) -> Opt | None:
    """Return the first OPT record behind this many questions and other records; None where it
    cannot be found. Any operation has them in this form (RFC 1996; RFC 2136, section 2)."""
    try:
        for _ in range(questions):
            at = walk_name(data, at)[0] + TYPE_AND_CLASS.size
        for _ in range(records):
            at = walk_name(data, at)[0] + RECORD.size
            at += int.from_bytes(data[at - 2 : at])
    except Malformed:
        return None
    return _find_opt(data, at, additionals, pads)[0]


def _own_opt(opt: Opt, rcode: int = Rcode.NOERROR) -> bytes:
    """Return the OPT record of a reply to a query with this one: the upper bits of the code, DO."""
    ttl = rcode >> 4 << 24 | opt[1] & EDNS_DO
    return b"\x00" + RECORD.pack(RdataType.OPT, UDP_BYTES_MAX, ttl, 0)


def _refused(flags: int, rcode: Rcode, section: bytes, opt: Opt | None) -> RefusedQuery:
    """Make the reply that refuses a query; with an OPT record if the query has one, whatever else
    there is to say (RFC 6891, section 6.1.1)."""
    own_opt = b"" if opt is None else _own_opt(opt, rcode)
    reply = HEADER.pack(flags | rcode & RCODE_MASK, bool(section), 0, 0, bool(own_opt)) + section
    if opt is not None and opt[2]:
        own_opt = padded_opt(own_opt, ID_BYTES + len(reply), REPLY_BLOCK_BYTES)
    return RefusedQuery(reply + own_opt)
