"""A story of the simulator: the frame in which stories of every face are told.

A story is a world drawn from a number: an LS, those that it asks, and those that ask it. Its faces
are lines (`tests/sim/stories.py`), DNS (`tests/sim/dns_story.py`), resolvers
(`tests/sim/resolver_story.py`), the cache (`tests/sim/cache_story.py`), routes and tiers
(`tests/sim/tier_story.py`), and TLS (`tests/sim/tls_story.py`); `tests/sim/simulate.py` tells all
of them. For `lasts_s` seconds everything goes wrong; then everything heals, everybody has to be
content, and LS drains.
"""

from random import Random
from typing import Any, ClassVar

from core.bounds import Bounds
from core.environment import Environment
from core.io.loop import Loop
from core.tls import TlsKeys
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from nodes.ts.reload import Reload
from nodes.ts.table_server import TableServer
from tests.sim.invariants import TableWatch, hold
from tests.sim.world import PORT, Host, Observer, World
from tests.support.balancers import load_balancer


def run_table(host: Host, watch: TableWatch, bounds: Bounds) -> None:
    """Start a TS with the file of its watch, or start it again."""
    rows = watch.file.good
    watch.serve(dict(rows))

    def build(loop: Loop) -> TableServer:
        return TableServer(
            watch.make_table(),
            Environment(bounds, watch=loop.watch),
            reload=Reload("table", read=watch.file.read, watch=loop.watch),
            answer_unknown=watch.is_frank,
        )

    host.run(bounds, watch, build)


def run_ls(
    host: Host,
    bounds: Bounds,
    observer: Observer,
    tables: list[str],
    seed: str,
    *,
    with_dns: bool = False,
    links: int = 0,
    keys: TlsKeys | None = None,
    **options: Any,  # noqa: ANN401
) -> LoadBalancer:
    """Start LS before the TSs on the hosts of these names; see `load_balancer` for the options.
    `keys`: it takes DNS by TLS as well, with these."""

    def build(loop: Loop) -> LoadBalancer:
        if with_dns:
            env = Environment(bounds, loop.hits)
            options["dns"] = DnsFrontEnd(env, 60, forwards="resolvers" in options)
        return load_balancer(
            [() if options.get("hosts") else ((2, (name, PORT)),) for name in tables],
            bounds,
            Random(f"{seed}:jitter").random,
            hits=loop.hits,
            owed=loop.owed,
            watch=loop.watch,
            **options,
        )

    return host.run(bounds, observer, build, with_dns=with_dns, links=links, keys=keys)


class Story:
    """A world from a number."""

    prefix: ClassVar[str]  # of the seeds of this face
    lasts_s = 8.0

    def __init__(self, number: int) -> None:
        self.number = number
        self.seed = f"{self.prefix}{number}"
        self.world = World(self.seed)
        self.ls = self.world.host("LS")
        self.watches: dict[Host, TableWatch] = {}  # of honest TSs

    def start_table(self, host: Host, bounds: Bounds) -> None:
        """Start an honest TS, unless it runs."""
        if host.loop is None:
            run_table(host, self.watches[host], bounds)

    def tell(self) -> World:
        """Tell the whole story. Raises Violated, or whatever LS raised."""
        self.live()
        self.world.run_until(self.lasts_s)
        self.world.heal()
        self.become_whole()
        self.leave()
        return self.world

    def live(self) -> None:
        """Begin what everybody does, and what goes wrong."""

    def become_whole(self) -> None:
        """Start again what is down, and check that there is progress to the very end."""

    def leave(self) -> None:
        """Drain everything, and check that nothing is left."""
        running = [host for host in self.world.hosts.values() if host.loop is not None]
        for host in running:
            host.ring(15)
        self.world.run_until(self.world.t + 15.0)
        for host in (self.ls, *running):
            hold(host.loop is None and not host.open, "I8", f"{host.name} holds {host.open}")
