"""A story of the simulator: the frame in which stories of every face are told.

A story is a world drawn from a number: an LS, those that it asks, and those that ask it. Its faces
are lines (`tests/sim/stories.py`), DNS (`tests/sim/dns_story.py`) and resolvers
(`tests/sim/resolver_story.py`); `tests/sim/simulate.py` tells all of them. For `lasts_s` seconds
everything goes wrong; then everything heals, everybody has to be content, and LS drains.
"""

from typing import ClassVar

from core.bounds import Bounds
from core.environment import Environment
from core.io.loop import Loop
from nodes.ts.reload import Reload
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.sim.invariants import TableWatch, hold
from tests.sim.world import Host, Observer, World


class Story:
    """A world from a number."""

    prefix: ClassVar[str]  # of the seeds of this face
    lasts_s = 8.0

    def __init__(self, number: int) -> None:
        self.number = number
        self.seed = f"{self.prefix}{number}"
        self.world = World(self.seed)
        self.ls = self.world.host("LS")

    def run_table(
        self, host: Host, rows: dict[bytes, bytes], bounds: Bounds, observer: Observer, frank: bool
    ) -> None:
        """Start a TS with these rows; with a watch as its observer, it can reload its file."""
        host.is_up = True
        host.paused_until = 0.0

        def build(loop: Loop) -> TableServer:
            reload = None
            if isinstance(observer, TableWatch):
                reload = Reload("table", read=observer.file.read, watch=loop.watch)
            env = Environment(bounds, watch=loop.watch)
            return TableServer(Table(dict(rows)), env, reload=reload, answer_unknown=frank)

        host.run(bounds, observer, build, listens=True)

    # -- the story ---------------------------------------------------------------------------------

    def tell(self) -> World:
        """Tell the whole story. Raises Violated, or whatever LS raised."""
        self.live()
        self.world.run_until(self.lasts_s)
        self.world.heal()
        self.world.lost = self.world.twice = 0.0
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
            if host.signals is not None:
                host.signals.ring(15)
        self.world.run_until(self.world.t + 15.0)
        for host in (self.ls, *running):
            hold(host.loop is None and not host.open, "I8", f"{host.name} holds {host.open}")
