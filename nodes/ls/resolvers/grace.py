"""Grace: how long one resolver is worth waiting for, from how it has replied lately.

A worse answer is held until the resolvers that have said nothing yet do, for a *grace* at most:

- REFUSED and SERVFAIL say nothing about a name, so they wait long enough for a question that was
  lost to be sent again a few times (`grace_failed_s`);
- NXDOMAIN and NO DATA are as good as any answer where resolvers agree, and wait three times what
  all but 5 % of the recent replies took, between a floor and a ceiling. Where this resolver has
  lately had what another denied, they do not agree (a *split view*: a company's names, a block
  list), and it is waited for as long as with a failure.

A question of which something worse is held is sent again when there is no reply to it after twice
what all but 5 % took (`resend_s`). Both times count from when the question was asked, so what it
waited in the load balancer is in them.

A resolver is *silent* when there is no reply at all to its last `silent_questions` questions, over
at least `silent_s`; then nobody waits for it until something comes from it. A question counts once
it is `grace_max_s` old and nothing has come since it was sent: with many in flight the newest are
always open.

Not here: what is held meanwhile (`nodes/ls/negatives.py`), the grace of a table server
(`nodes/ls/table_link.py`), and which server is asked first (`nodes/ls/latency.py`).
"""

import math

from core.bounds import Bounds
from nodes.ls.latency import RecentQuantile

_USUALLY = 0.95
_TIMES = 3.0
_RESEND_TIMES = 2.0
_HALF_LIFE_S = 30.0  # of a reply time: a resolver that is asked now and then stays known


class Grace:
    """How long to wait for one resolver. `most_s`: the longest grace, if there is such a limit.

    `is_silent`: nobody waits for it. `silent_at`: when it becomes silent if nothing comes; infinite
    for never.
    """

    def __init__(self, bounds: Bounds, most_s: float | None) -> None:
        self._bounds = bounds
        self._most_s = math.inf if most_s is None else most_s
        self._times = RecentQuantile(_USUALLY, _HALF_LIFE_S, least=0.5)
        self._heard_at = -math.inf
        self._unanswered = 0  # questions in a row
        self._unanswered_since = math.inf  # when the first of them was sent
        self.differs_until = -math.inf  # it has lately had what another denied
        self.is_silent = False
        self.silent_at = math.inf
        self._probed_at = -math.inf  # when it was asked last, while silent

    def replied(self, took_s: float, count: int) -> None:
        """Learn that `count` questions had a reply so long after they were asked."""
        self._times.add(took_s, count)

    def heard(self, now: float) -> bool:
        """Record that something came from it; return whether it had been silent."""
        was_silent, self.is_silent = self.is_silent, False
        self._heard_at = now
        self._unanswered, self._unanswered_since = 0, math.inf
        self.silent_at = math.inf
        return was_silent

    def refused(self) -> None:
        """Record that the network says why nothing comes from it: that is no silence."""
        self.is_silent = False
        self._unanswered, self._unanswered_since = 0, math.inf
        self.silent_at = math.inf

    def take_probe(self, now: float) -> bool:
        """Return whether it is to be asked one question now, while it is silent; then it is."""
        if now < self._probed_at + self._bounds.probe_s:
            return False
        self._probed_at = now
        return True

    def waited(self, sent_at: float, count: int) -> None:
        """Record that `count` questions, sent at that time, are `grace_max_s` old."""
        if sent_at > self._heard_at:
            self._unanswered += count
            self._unanswered_since = min(self._unanswered_since, sent_at)
            if self._unanswered >= self._bounds.silent_questions and not self.is_silent:
                self.silent_at = self._unanswered_since + self._bounds.silent_s

    def woken(self, now: float) -> bool:
        """Return whether it becomes silent now."""
        if self.silent_at > now:
            return False
        self.is_silent = True
        self.silent_at = math.inf
        return True

    def differs(self, now: float) -> bool:
        """Record that it had what another denied; return whether it lately had not."""
        is_news = self.differs_until <= now
        self.differs_until = now + self._bounds.split_view_s
        return is_news

    def grace_s(self, now: float, *, is_failure: bool) -> float:
        """Return how long a worse answer waits for it; `is_failure`: REFUSED or SERVFAIL."""
        bounds = self._bounds
        if is_failure or now < self.differs_until:
            grace_s = bounds.grace_failed_s
        else:
            usual_s = self._times.seconds(now)
            if usual_s == math.inf:
                grace_s = bounds.grace_unknown_s
            else:
                grace_s = min(max(_TIMES * usual_s, bounds.grace_min_s), bounds.grace_max_s)
        return min(grace_s, self._most_s)

    def resend_s(self, now: float) -> float:
        """Return after how long without a reply a question may be lost."""
        bounds = self._bounds
        usual_s = self._times.seconds(now)
        if usual_s == math.inf:
            return max(bounds.grace_unknown_s, bounds.resend_min_s)
        return min(max(_RESEND_TIMES * usual_s, bounds.resend_min_s), bounds.join_s)
