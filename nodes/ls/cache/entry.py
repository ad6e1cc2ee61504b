"""Entry: a resolver's reply that is kept, and how old it is.

Not here: how many are kept (`store.py`), and what TTLs a reply says when it is old
(`nodes/dns/lifetime.py`).
"""

import math

from nodes.dns.lifetime import Lifetime
from nodes.dns.reply import DnsReply, ReplyResult

_ENTRY_BYTES = 900  # besides its bytes, which it has three times: as kept, as told, as a key
_RECORD_BYTES = 64  # for its TTL, and its address by itself


class Entry:
    """A reply to one question. `told_until`: until when it is told although it is stale;
    `more_bytes`: the memory that is taken besides."""

    __slots__ = ("_lifetime", "holds_until", "kept_at", "result", "size", "told", "told_until")

    def __init__(
        self, question: bytes, reply: DnsReply, lifetime: Lifetime, now: float, more_bytes: int = 0
    ) -> None:
        self._lifetime = lifetime
        self.result = reply.result
        self.kept_at = now
        self.told_until = -math.inf
        self.told = (
            reply  # as it was told last: `fresh` for less than a second, until `holds_until`
        )
        self.holds_until = -math.inf
        text_bytes = 2 * (len(question) + len(reply.body)) + len(reply.section)
        self.size = _ENTRY_BYTES + text_bytes + _RECORD_BYTES * sum(reply.counts) + more_bytes

    @property
    def is_data(self) -> bool:
        return self.result is ReplyResult.DATA

    def over_s(self, now: float) -> float:
        """Return for how long it has been over; negative while it is not."""
        return now - self.kept_at - self._lifetime.seconds

    def fresh(self, now: float) -> DnsReply | None:
        """Return the reply as it is now; None if it has less than a second left."""
        if now <= self.holds_until:
            return self.told
        age_s = math.ceil(now - self.kept_at)
        if age_s >= self._lifetime.seconds:
            return None
        self.told = self._lifetime.aged(age_s)
        self.holds_until = self.kept_at + age_s
        return self.told

    def stale(self) -> DnsReply:
        """Return the reply as one that is too old."""
        return self._lifetime.stale()
