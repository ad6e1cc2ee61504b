"""A load balancer made in one line, as tests want it."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from core.addresses import Address
from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.machine import Watch
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.link_metrics import link_metrics
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import ServerSetup, Setup
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Host

_PartT = TypeVar("_PartT")


def load_balancer(
    servers: Sequence[tuple[Address, ...]],
    bounds: Bounds | None = None,
    random: Callable[[], float] = float,
    *,
    secret: Callable[[int], bytes] = bytes,
    hits: BoundHits | None = None,
    watch: Watch | None = None,
    hosts: Sequence[Host] = (),
    resolvers: Sequence[Address | ServerSetup] = (),
    **options: Any,  # noqa: ANN401
) -> LoadBalancer:
    """Build LS before these table servers: `hosts`, parallel to them, is what they are looked up
    from. `options` are those of `Setup` and of `LoadBalancer`."""
    hits = BoundHits() if hits is None else hits
    env = Environment(bounds or Bounds(), hits, watch, random, secret)
    parts = {
        name: options.pop(name) for name in ("owed", "dns", "loop", "stats") if name in options
    }
    tables = [
        ServerSetup(f"TS{number}", addresses, host)
        for number, (addresses, host) in enumerate(zip_longest(servers, hosts), 1)
    ]
    return LoadBalancer(Setup(tables, as_resolvers(resolvers), **options), env, **parts)


def as_resolvers(resolvers: Sequence[Address | ServerSetup]) -> list[ServerSetup]:
    """Call those of these resolvers that have no name yet DNS1, DNS2, ..."""
    return [
        one
        if isinstance(one, ServerSetup)
        else ServerSetup(f"DNS{number}", (one,), (one[1][0], one[1][1]))
        for number, one in enumerate(resolvers, 1)
    ]


def addresses_of(count: int) -> list[tuple[Address, ...]]:
    """Return an address for each of so many table servers: TS1, TS2, ..."""
    return [((2, (f"TS{number}", 1)),) for number in range(1, count + 1)]


def link_metric(table: TableLink, key: str) -> int | str:
    """Return what STATS says of this of TS1, which is that one."""
    (value,) = [value.value for value in link_metrics(table) if value.key == f"TS1.{key}"]
    return value


def metric(brain: LoadBalancer, key: str) -> int | str:
    """Return what STATS says of this."""
    (value,) = [value.value for value in brain.metrics() if value.key == key]
    return value


def part_of(brain: LoadBalancer, kind: type[_PartT]) -> _PartT | None:
    """Return the observer of this type; None if this LS has none."""
    return next((part for part in brain.parts.observers if isinstance(part, kind)), None)


def hedging_of(brain: LoadBalancer) -> HedgePolicy:
    """Return the policy of an LS that hedges."""
    policy = brain.parts.policy
    assert isinstance(policy, HedgePolicy)
    return policy
