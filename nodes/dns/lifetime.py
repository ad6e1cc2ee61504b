"""Lifetimes of replies: how long one may be kept, and what it says when it has been kept a while
(RFC 1035, section 4.1.3; RFC 2181, section 8; RFC 2308, section 5; RFC 8767, section 4).

A reply is kept as the message that it is. Its lifetime is the least TTL of its records, also of
those that are no answer; one without data needs an SOA record, whose minimum counts, too. All its
TTLs fall together, by whole seconds that have begun, and none is ever 0: where a reply has less
than a second left it is over.

Everything is about well-formed replies, which `nodes/dns/reply.py` has read.

Not here: which replies are kept (`nodes/ls/cache/`).
"""

from array import array
from collections.abc import Sequence
from struct import Struct

from nodes.dns.codes import ExtendedError, RdataType, extended_error
from nodes.dns.records import places
from nodes.dns.reply import DnsReply, ReplyResult

DATA_TTL_MAX_S = 86_400  # a day, as in RFC 8767, section 4
NEGATIVE_TTL_MAX_S = 3_600  # an hour; RFC 2308, section 5, says one to three
STALE_TTL_S = 30  # RFC 8767, section 4
_TTL = Struct(">I")
_IS_STALE = extended_error(ExtendedError.STALE_ANSWER)


class Lifetime:
    """The lifetime of a reply in `seconds`; 0: it may not be kept. `negative_max_s`: the longest
    one without data."""

    __slots__ = ("_aged", "_places", "_reply", "_ttls", "seconds")

    def __init__(self, reply: DnsReply, negative_max_s: int = NEGATIVE_TTL_MAX_S) -> None:
        is_data = reply.result is ReplyResult.DATA
        self._reply = reply
        self._aged: DnsReply | None = None
        self._places = array("H")  # as many as there are records, which may be thousands
        self._ttls = array("I")
        minimum = self._read_records(DATA_TTL_MAX_S if is_data else negative_max_s)
        self.seconds = min(self._ttls, default=0)
        if not is_data:  # without its SOA record nobody says for how long; with it, all of it
            self.seconds = min(self.seconds, minimum)
            self._ttls = array("I", [self.seconds] * len(self._ttls))

    def _read_records(self, most: int) -> int:
        """Find all TTLs; return the minimum of the SOA record, 0 where there is none."""
        body, minimum = self._reply.body, 0
        answers, authorities, additionals = self._reply.counts
        count = answers + authorities + additionals
        for number, (rdtype, ttl_at, at, size) in enumerate(places(body, count)):
            (ttl,) = _TTL.unpack_from(body, ttl_at)
            self._places.append(ttl_at)
            self._ttls.append(min(ttl, most))
            if rdtype == RdataType.SOA and answers <= number < answers + authorities:
                (minimum,) = _TTL.unpack_from(body, at + size - _TTL.size)
        return minimum

    def aged(self, seconds: int) -> DnsReply:
        """Return the reply as it is after so many seconds, fewer than its lifetime: always the same
        object, which thus grows older."""
        if self._aged is None:
            self._aged = self._reply.kept(self._reply.body)
        self._aged.body = self._with_ttls([ttl - seconds for ttl in self._ttls])
        return self._aged

    def stale(self) -> DnsReply:
        """Return the reply as one that is past its lifetime (RFC 8767; RFC 8914, section 4.4)."""
        reply = self._reply.kept(self._with_ttls([STALE_TTL_S] * len(self._ttls)))
        reply.options += _IS_STALE
        return reply

    def _with_ttls(self, ttls: Sequence[int]) -> bytes:
        body = bytearray(self._reply.body)
        for at, ttl in zip(self._places, ttls, strict=True):
            _TTL.pack_into(body, at, ttl)
        return bytes(body)
