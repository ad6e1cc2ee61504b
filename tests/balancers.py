"""A load balancer made in one line, as tests want it."""

from collections.abc import Callable, Sequence
from typing import Any

from core.addresses import Address
from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.machine import Watch
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import Setup


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
    """LS before these table servers. `options` are those of `Setup` and of `LoadBalancer`."""
    hits = BoundHits() if hits is None else hits
    env = Environment(bounds or Bounds(), hits, watch, random, secret)
    parts = {
        name: options.pop(name) for name in ("owed", "dns", "loop", "stats") if name in options
    }
    return LoadBalancer(Setup(servers, **options), env, **parts)


def metric(brain: LoadBalancer, key: str) -> int | str:
    """What STATS says of this."""
    (value,) = [value.value for value in brain.metrics() if value.key == key]
    return value
