"""EDNS fallback: which questions one resolver is asked without an OPT record (RFC 6891, 6.2.2).

A resolver that does not know EDNS says FORMERR or NOTIMP to a query that has an OPT record (section
7), and may know the answer to the same query without one. A resolver that says BADVERS may know it
as well: nothing but the record can be the reason. Each such question is asked again, at once,
without. Two things are remembered for `plain_s`, and then EDNS is tried again:

- the question: it is not asked with an OPT record again;
- the resolver, as soon as one of these questions has had a reply that is none of the three: it
  does not know EDNS, and is asked everything without. Until then the question may be odd, or the
  reply forged, and neither is a reason to ask everything without.

Any of the three codes in reply to a question that was asked without an OPT record is a failure.

Not here: which queries were sent without (`SentBatch.plain`), and sending
(`nodes/ls/resolvers/in_flight.py`).
"""

import math
from collections.abc import Collection

from core.effects import Effect
from core.metrics import Metric, Value
from core.operator import Level, Report

PLAIN = Metric("plain", "Questions to the server without EDNS", per="server")
_ODD_MAX = 4_096  # questions remembered: more than are in flight until the first reply


class EdnsFallback:
    """Knowledge of one resolver, called `name`. While it `is_at_rest` everything is asked with
    an OPT record, and no reply is of interest."""

    def __init__(self, name: str, plain_s: float) -> None:
        self.is_at_rest = True
        self._name = name
        self._plain_s = plain_s
        self._plain_until = -math.inf  # for all questions
        self._odd: dict[bytes, None] = {}  # the questions that are asked without
        self._odd_until = -math.inf
        self._asked = 0  # how often any was asked without

    def metric(self) -> Value:
        """Return how many questions were asked without an OPT record."""
        return Value(PLAIN, self._asked, self._name)

    def select_plain(self, questions: list[bytes], now: float) -> Collection[bytes]:
        """Select the questions that are asked without an OPT record now, and count them."""
        if now < self._plain_until:
            plain = frozenset(questions)
        elif now < self._odd_until:
            plain = frozenset(filter(self._odd.__contains__, questions))
        else:
            self._odd.clear()
            self.is_at_rest = True
            return ()
        self._asked += len(plain)
        return plain

    def misunderstood(self, questions: Collection[bytes], now: float) -> None:
        """Record that these were not understood, asked with an OPT record."""
        self.is_at_rest = False
        if now < self._plain_until:
            return
        if now >= self._odd_until or len(self._odd) + len(questions) > _ODD_MAX:
            self._odd.clear()
            self._odd_until = now + self._plain_s
        self._odd |= dict.fromkeys(questions)

    def understood(self, question: bytes, now: float) -> list[Effect]:
        """Record that this was understood, asked without. The operator is told what that means,
        unless it was so just before."""
        if question not in self._odd:
            return []
        is_news = now >= self._plain_until + self._plain_s
        self._plain_until = now + self._plain_s
        self._odd.clear()
        self._odd_until = -math.inf
        if not is_news:
            return []
        minutes = f"{self._plain_s / 60:g} min"
        text = f"{self._name} does not know EDNS: it is asked without for {minutes} at a time"
        return [Report(text, Level.WARNING, "edns_unknown", {"server": self._name})]
