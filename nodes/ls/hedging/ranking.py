"""Ranking: which link is to be asked next, and how long its reply is waited for.

The order of links goes by their recent mean latency, after two things that matter more: a link that
can have no data of a question comes last, and one that does not take what it is sent comes after
those that do. The delay is a quantile of recent latencies of all links.

Not here: means and quantiles (`nodes/ls/latency.py`).
"""

from collections.abc import Sequence

from core.bounds import Bounds
from nodes.ls.hedging.asking import Asking
from nodes.ls.latency import RecentMean, RecentQuantile
from nodes.ls.link import Link
from nodes.ls.link_state import LinkState

_PREFERENCE = {LinkState.UP: 0, LinkState.HOLDING: 1, LinkState.CATCHING_UP: 2}


class Ranking:
    """Recent latencies of all links. `extra_load`: the share of questions that may take longer
    than the delay."""

    def __init__(self, links: Sequence[Link], extra_load: float, bounds: Bounds) -> None:
        self._links = links
        self._means = {link: RecentMean() for link in links}
        self._latency = RecentQuantile(1 - extra_load)
        self._delay_min_s = bounds.hedge_delay_min_s
        self._delay_max_s = bounds.hedge_delay_max_s

    def best(self, now: float) -> Link | None:
        """Return the live link to ask first; of equals, the first. None if there is none."""
        return min(
            (link for link in self._links if link.is_live),
            key=lambda link: (_PREFERENCE[link.life.state], self._means[link].mean_s(now)),
            default=None,
        )

    def next_best(self, asking: Asking, now: float) -> Link | None:
        """Return the live link to ask next: it can be asked this, was not, and has not denied it.
        None if there is none left."""
        excluded = asking.denied | asking.unable
        return min(
            (
                link
                for link in self._links
                if link.is_live and link not in asking.sent_at and not link.bit & excluded
            ),
            key=lambda link: (
                link.bit & asking.without_data > 0,
                _PREFERENCE[link.life.state],
                self._means[link].mean_s(now),
            ),
            default=None,
        )

    def delay_s(self, now: float) -> float:
        """Return how long the link that was asked last has before another one is asked: the time
        that all but `extra_load` of recent questions did not exceed, within its bounds."""
        return max(self._delay_min_s, min(self._latency.seconds(now), self._delay_max_s))

    def add(self, link: Link, seconds: float, count: int, now: float) -> None:
        """Take note that `count` questions took a link so long, or have waited so long already."""
        self._means[link].add(seconds, count, now)

    def learn_from_reply(self, asking: Asking, link: Link, count: int, now: float) -> None:
        """Learn from a reply of a link to `count` questions; other links that were asked and may
        still answer have taken so long at least."""
        if not asking.sent_at:
            return
        for other, sent_at in asking.sent_at.items():
            if other is link or asking.awaits(other):
                self.add(other, now - sent_at, count, now)
        if not asking.explores and not asking.denied:
            self._latency.add(now - next(iter(asking.sent_at.values())), count)

    def learn_from_silence(self, asking: Asking, now: float) -> None:
        """Learn that links have not replied yet: else one that falls silent would keep its rank."""
        for link, sent_at in asking.sent_at.items():
            if asking.awaits(link):
                self.add(link, now - sent_at, asking.open_count, now)
