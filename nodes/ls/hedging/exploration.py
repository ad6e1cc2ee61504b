"""Exploration: a small share of questions that go to another server than the fastest.

A server that is never asked has no recent latency, so nobody would find out that it has become the
fastest. Of `explore_every` questions the first asks another server first, each server in its turn.

Not here: which server is the fastest (`ranking.py`).
"""

from collections.abc import Sequence

from nodes.ls.link import Link
from nodes.ls.link_state import LinkState


class Exploration:
    """Which of the new questions explore, and which link each of them asks first."""

    def __init__(self, links: Sequence[Link], explore_every: int) -> None:
        self._explore_every = explore_every
        self._owed = 0.0  # questions that are to explore: less than one
        self._links = list(links)  # the one explored longest ago first

    def take(self, questions: int) -> int:
        """Return how many of so many new questions are to explore."""
        self._owed += questions / self._explore_every
        count = int(self._owed)
        self._owed -= count
        return count

    def next_link(self, fastest: Link | None) -> Link | None:
        """Return the link whose turn it is, of those that are UP; None if there is no other."""
        for link in self._links:
            if link is not fastest and link.life.state is LinkState.UP:
                self._links.remove(link)
                self._links.append(link)
                return link
        return None
