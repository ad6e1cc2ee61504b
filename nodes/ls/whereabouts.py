"""Whereabouts: where one server is, by the name of its host.

A server without an address is looked up until there is one, after waits that double. A server
that is away for long may have moved: it is looked up each `away_s` while it is tried.

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
    """The lookups of one server, of which `link` says how it stands. Without a `host` it is never
    looked up."""

    def __init__(self, link: Link, env: Environment, host: Host | None) -> None:
        self._host = host
        if not link.addresses:
            link.health.lost("its address is not known")  # the log has it from each lookup
        self._link = link
        self._env = env
        self._lookup_at = math.inf if host is None else 0.0  # while it has no address
        self._away_since: float | None = None  # or since when it was last looked up
        bounds = env.bounds
        self._backoff = Backoff(bounds.redial_first_s, bounds.redial_max_s, env.random)

    @property
    def is_fixed(self) -> bool:
        """Return whether it is where it is for good."""
        return self._host is None

    @property
    def host_name(self) -> str:
        """Return what it is looked up by."""
        return "" if self._host is None else self._host[0]

    def due(self) -> float:
        """Return when to look up a server that has no address."""
        return self._lookup_at

    def look_up(self) -> list[Effect]:
        """Look it up; nothing more is due until the lookup is done."""
        self._lookup_at = math.inf
        return [] if self._host is None else [Resolve(self._link.conn, *self._host)]

    def is_there(self) -> None:
        """Take note that it is there."""
        self._away_since = None

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
        if self._host is None:
            return []
        self._env.hits["away_s"] += 1
        return self.look_up()

    def found(self, addresses: tuple[Address, ...]) -> None:
        """Take where it is now."""
        self._backoff.start_over()
        self._link.addresses = addresses

    def not_found(self, now: float, count: int) -> None:
        """Look it up again after a wait. `count` hosts are nowhere: the more, the longer the wait
        may be, so that together they cost no more."""
        bounds = self._env.bounds
        longest_s = max(bounds.lookup_max_s, bounds.lookup_each_s * count)
        self._lookup_at = now + self._backoff.wait_s(longest_s=longest_s)
