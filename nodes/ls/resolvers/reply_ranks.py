"""Reply ranks: what a reply of one resolver counts as, where that is not what it says.

That a name is bogus is believed, and ends the question, unless data is trusted more
(`--trust-data`) or the resolver is not believed (`validator_belief.py`): then it is a SERVFAIL. A
reply with a private address counts as REFUSED where the resolver may not have any
(`--private-from`).

Not here: which of two is better (`nodes/ls/outcomes.py`), and which addresses are private
(`nodes/dns/private_addresses.py`).
"""

import math

from core.effects import Effect
from core.metrics import Metric, Value
from core.operator import Level, Report
from nodes.dns.private_addresses import blocked, private_address
from nodes.dns.reply import DnsReply, ReplyResult
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.replies import Denial
from nodes.ls.resolvers.validator_belief import ValidatorBelief

REBINDING = Metric(
    "rebinding", "Replies of the server that counted as REFUSED for a private address", per="server"
)
_QUIET_S = 10.0  # between two records of private addresses
_FINDING = {
    ReplyResult.NOT_FOUND: QuestionEvent.NOT_FOUND_SAID,
    ReplyResult.NO_DATA: QuestionEvent.NO_DATA_SAID,
    ReplyResult.REFUSED: QuestionEvent.REFUSAL_SAID,
    ReplyResult.FAILED: QuestionEvent.FAILURE_SAID,
}


class ReplyRanks:
    """The ranks of replies of the resolver called `name`. `trusts_data`: its word that a name is
    bogus counts as SERVFAIL; `bars_private`: its private addresses count as REFUSED."""

    def __init__(self, name: str, *, trusts_data: bool = False, bars_private: bool = False) -> None:
        self.belief = ValidatorBelief(name)
        self.bars_private = bars_private
        self._name = name
        self._trusts_data = trusts_data
        self._barred = 0
        self._told = 0  # how many there were at the last record
        self._told_at = -math.inf

    def event(self, result: ReplyResult, before: int) -> QuestionEvent:
        """Return what a reply that is no data counts as, the one behind so many of this read."""
        if result is not ReplyResult.BOGUS:
            return _FINDING[result]
        if self._trusts_data or not self.belief.takes_bogus(before):
            return QuestionEvent.FAILURE_SAID
        return QuestionEvent.BOGUS_SAID

    def has_barred(self, reply: DnsReply) -> bool:
        """Return whether a reply has a private address that it may not have."""
        return self.bars_private and private_address(reply) is not None

    def bar(self, question: bytes, reply: DnsReply, now: float) -> tuple[Denial, list[Effect]]:
        """Count a reply that has such an address; return what it counts as, and what there is to
        say in the log."""
        self._barred += 1
        denial = question, QuestionEvent.REFUSAL_SAID, blocked(reply)
        if now - self._told_at < _QUIET_S:
            return denial, []
        new = self._barred - self._told
        others = f" (and {new - 1} others since the last such record)" if new > 1 else ""
        address, text = str(private_address(reply)), question.decode("ascii")
        about = {"server": self._name, "question": text, "address": address, "replies": new}
        said = f"{self._name} says that {text} is at {address}, which is private: refused{others}"
        self._told, self._told_at = self._barred, now
        return denial, [Report(said, Level.WARNING, "private_address", about, REBINDING.name)]

    def metrics(self) -> list[Value]:
        """Return how many had such an address."""
        return [Value(REBINDING, self._barred, self._name)]
