"""Whereabouts: where one table server is, by the name of its host.

A server without an address is looked up until there is one, after waits that double. A server
that is away for long may have moved: it is looked up each `away_s` while it is dialled.

Not here: all servers together, and reloads (`host_lookups.py`).
"""

import math

from core.addresses import Address
from core.backoff import Backoff
from core.effects import Effect, Resolve
from core.environment import Environment
from nodes.ls.link import Link

Host = tuple[str, int]  # a name and a port


class Whereabouts:
    """The lookups of one server, of which `link` says how it stands."""

    def __init__(self, link: Link, env: Environment, host: Host) -> None:
        self.host = host
        if not link.addresses:
            link.health.lost("its address is not known")  # the log has it from each lookup
        self._link = link
        self._env = env
        self._lookup_at = 0.0  # while it has no address
        self._away_since: float | None = None  # or since when it was last looked up
        bounds = env.bounds
        self._backoff = Backoff(bounds.redial_first_s, bounds.redial_max_s, env.random)

    def due(self) -> float:
        """Return when to look up a server that has no address."""
        return self._lookup_at

    def look_up(self) -> list[Effect]:
        """Look it up; nothing more is due until the lookup is done."""
        self._lookup_at = math.inf
        return [Resolve(self._link.conn, *self.host)]

    def went_away(self, now: float) -> None:
        """Take note that it was there until now."""
        self._away_since = now

    def look_up_if_long_away(self, now: float) -> list[Effect]:
        """Look it up if it has been away, and was not looked up, for `away_s`."""
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < self._env.bounds.away_s:
            return []
        self._away_since = now
        self._env.hits["away_s"] += 1
        return [Resolve(self._link.conn, *self.host)]

    def found(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take where it is now."""
        self._backoff.start_over()
        self._link.found(addresses, now)

    def not_found(self, now: float, count: int) -> None:
        """Look it up again after a wait. `count` hosts are nowhere: the more, the longer the wait
        may be, so that together they cost no more."""
        bounds = self._env.bounds
        longest_s = max(bounds.lookup_max_s, bounds.lookup_each_s * count)
        self._lookup_at = now + self._backoff.wait_s(longest_s=longest_s)
