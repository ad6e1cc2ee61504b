"""Placement: where each server stands among tiers and routes, as the status page shows it.

A server has a tier where there are tiers, counted as the metrics of tiers are. A resolver has the
names that it is asked for where there are routes: a few of those that its routes have, how many
more, and "all other names" where it is asked for names without a route. Tables are asked for all
names, whatever routes there are. All of this follows from options: no client has a say in it.

Not here: who is asked a question (`routes.py`, `tiers/tier_policy.py`).
"""

from collections.abc import Collection, Sequence
from typing import Any

from nodes.ls.server_set import NO_SERVERS, server_at
from nodes.ls.setup import Setup

_NAMES_MAX = 5  # names of routes that are shown
_ALL_OTHERS = "all other names"


def placed(setup: Setup) -> dict[str, dict[str, Any]]:
    """Return of each server its `tier`, None where there are none, and its `routes` in words, empty
    where it is asked for all names."""
    tiers, routes, default = setup.servers_by_tier(), setup.routes_to(), setup.default_resolvers
    places: dict[str, dict[str, Any]] = {}
    for number, server in enumerate(setup.all()):
        bit = server_at(number)
        tier = next((n for n, servers in enumerate(tiers, 1) if servers & bit), None)
        names = [
            name.decode("ascii")
            for name, servers in routes.items()
            if (default if servers is None else servers) & bit
        ]
        others = [_ALL_OTHERS] if routes and default & bit else []
        places[server.name] = {"tier": tier, "routes": _in_words(names, others)}
    return places


def nobodys(setup: Setup) -> str:
    """Return the names that no resolver is asked for, in words; empty if there are none."""
    routes = setup.routes_to().items()
    return _in_words([name.decode("ascii") for name, servers in routes if servers == NO_SERVERS])


def _in_words(names: Sequence[str], last: Collection[str] = ()) -> str:
    """Put names into words: a few, how many more, and what is said last."""
    more = len(names) - _NAMES_MAX
    parts = [*names[:_NAMES_MAX], *([f"{more} more"] if more > 0 else []), *last]
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
