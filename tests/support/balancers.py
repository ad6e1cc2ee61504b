"""A load balancer made in one line, as tests want it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from core.addresses import Address
from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.machine import Watch
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.link_metrics import link_metrics
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import Setup
from nodes.ls.table_link import TableLink

_PartT = TypeVar("_PartT")


def load_balancer(
    servers: Sequence[tuple[Address, ...]],
    bounds: Bounds | None = None,
    random: Callable[[], float] = float,
    *,
    secret: Callable[[int], bytes] = bytes,
    hits: BoundHits | None = None,
    watch: Watch | None = None,
    **options: Any,  # noqa: ANN401
) -> LoadBalancer:
    """Build LS before these table servers. `options` are those of `Setup` and of `LoadBalancer`."""
    hits = BoundHits() if hits is None else hits
    env = Environment(bounds or Bounds(), hits, watch, random, secret)
    parts = {
        name: options.pop(name) for name in ("owed", "dns", "loop", "stats") if name in options
    }
    return LoadBalancer(Setup(servers, **options), env, **parts)


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
