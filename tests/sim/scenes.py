"""Scenes for the simulator: a calm world in which a test says what happens, and nothing else does.

The network has no chance in it: a small latency, room for everything. LS is the real one, with
its watch, so every invariant is checked at every step of every scene. A TS is the real one with a
table, or a `Puppet` that says what the test says. An `Asker` is a raw client.

Not here: chance (`tests/sim/stories.py`).
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from core.bounds import Bounds
from core.environment import Environment
from core.io.loop import Loop
from core.protocol.names import Type, fold
from nodes.ls.load_balancer import LoadBalancer
from nodes.ts.reload import Reload
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.sim.invariants import LoadBalancerWatch, TableWatch
from tests.sim.sockets import SimSocket
from tests.sim.world import PORT, Host, SimSystem, TableFile, World
from tests.support.balancers import load_balancer


class Speaker:
    """A host without a program: it reads what comes, and says what it is told to."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.host = world.host(name)
        self.host.on_touch = self.poll
        self.stream: SimSocket | None = None
        self.heard = bytearray()
        self.has_ended = False
        self.was_reset = False
        self.reads = True
        self.most = 1 << 30  # bytes to read at a time
        self._unsaid = bytearray()
        self._ends = False

    def say(self, data: bytes) -> None:
        """Send it as the network takes it."""
        self._unsaid += data
        self.poll()

    def end(self) -> None:
        """Half-close, when all is said."""
        self._ends = True
        self.poll()

    def close(self) -> None:
        """Close, with whatever is unread."""
        assert self.stream is not None
        self.stream.close()

    def reset(self) -> None:
        """Vanish with a reset."""
        assert self.stream is not None
        self.stream.abort()

    def take(self) -> bytes:
        """Return what was heard since the last time."""
        heard = bytes(self.heard)
        self.heard.clear()
        return heard

    def after(self, seconds: float) -> bytes:
        """Let time pass; return what was heard since the last `take`."""
        self.world.run_until(self.world.t + seconds)
        return self.take()

    def poll(self) -> None:
        stream = self.stream
        if stream is None or stream.is_connecting or stream.is_closed or stream.peer is None:
            return
        try:
            while self.reads and not self.has_ended and stream.can_read():
                data = stream.recv(self.most)
                self.heard += data
                self.has_ended = not data
            while self._unsaid and stream.can_write():
                del self._unsaid[: stream.send(bytes(self._unsaid))]
            if self._ends and not self._unsaid and not stream.sent_end:
                stream.end()
        except OSError:
            self.was_reset = True


class Asker(Speaker):
    """A raw client."""

    def dial(self, host: Host) -> None:
        self.stream = SimSocket(self.host)
        self.world.dial(self.stream, host)


class Puppet(Speaker):
    """A TS that says what the test says, on the connection that it has now."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.accepted = 0
        self.listens()

    def listens(self) -> None:
        listener = SimSocket(self.host)
        listener.is_listening = True
        self.host.listener = listener

    def is_gone(self) -> None:
        """Let it listen no more, and reset its connection."""
        if self.stream is not None and not self.stream.is_closed:
            self.stream.abort()
        self.host.listener = None

    def poll(self) -> None:
        listener = self.host.listener
        while listener is not None and listener.backlog:
            self.stream = listener.backlog.popleft()
            self.stream.fd = self.host.take_fd(self.stream)
            self.accepted += 1
            self.has_ended = self._ends = False
            self._unsaid.clear()
        super().poll()


class Scene:
    """An LS and its TSs: a name is a `Puppet`, a table (of question: addresses) is a real TS.

    `share`: LS hedges, for so many extra questions. `answer_unknown`: real TSs say NOT FOUND.
    """

    def __init__(
        self,
        *servers: dict[str, str] | str,
        bounds: Bounds | None = None,
        linked: bool = True,
        fds_max: int = 1024,
        share: float | None = None,
        answer_unknown: bool = False,
    ) -> None:
        self.bounds = bounds or Bounds()
        self.answer_unknown = answer_unknown
        self.world = World("scene")
        network = self.world.network
        network.latency_s = 0.001
        network.short = network.refused = network.spurious = 0.0
        network.room = 1 << 20
        self.ls = self.world.host("LS", fds_max)
        self.puppets: list[Puppet] = []
        self.tables: list[Host] = []
        self.table_watches: dict[str, TableWatch] = {}
        self.rows: dict[bytes, set[bytes]] = {}
        names = []
        for number, server in enumerate(servers, 1):
            names.append(f"TS{number}")
            if isinstance(server, str):
                self.puppets.append(Puppet(self.world, f"TS{number}"))
            else:
                host = self.world.host(f"TS{number}")
                self.tables.append(host)
                self.start_table(host, server)
        self.watch = LoadBalancerWatch(self.world, self.bounds, self.rows, share)
        self.watch.tables = self.table_watches
        self.watch.anything |= {b"10.0.0.%d" % n for n in range(10)}
        self.watch.anything |= {b"2001:db8::%d" % n for n in range(10)}

        def build(loop: Loop) -> LoadBalancer:
            addresses = [((2, (name, PORT)),) for name in names]
            chance = Random("jitter")
            self.watch.brain = load_balancer(
                addresses,
                self.bounds,
                chance.random,
                extra_load=share,
                owed=loop.owed,
                watch=loop.watch,
            )
            return self.watch.brain

        self.ls.run(self.bounds, self.watch, build, listens=True, links=len(names))
        self.world.checks.append(self.watch.check)
        if linked:
            self.wait(0.1)
            assert len(self.watch.up_since) == len(names)

    def start_table(self, host: Host, table: dict[str, str]) -> None:
        """Start a real TS, or start it again."""
        rows = self.lines(table)
        watch = self.table_watches.get(host.name)
        if watch is None:
            watch = TableWatch(self.world, host.name, TableFile(rows, slice_bytes=8))
            watch.is_frank = self.answer_unknown
            self.table_watches[host.name] = watch
        watch.file.write(rows)
        watch.serve(dict(rows))
        read, is_frank = watch.file.read, self.answer_unknown

        def build(loop: Loop) -> TableServer:
            return TableServer(
                Table(rows),
                Environment(watch=loop.watch),
                reload=Reload("table", read=read, watch=loop.watch),
                answer_unknown=is_frank,
            )

        host.run(replace(Bounds()), watch, build, listens=True)

    def lines(self, table: dict[str, str]) -> dict[bytes, bytes]:
        """Return what a TS with this table says; from now on, one may."""
        rows: dict[bytes, bytes] = {}
        for question, addresses in table.items():
            name, _, kind = question.partition(" ")
            folded = fold(name.encode(), Type(kind.encode() or b"A"))
            rows[folded] = f"{name} {addresses} {kind or 'A'} IN\n".encode()
            self.rows.setdefault(folded, set()).add(addresses.encode())
        return rows

    def reload(self, host: Host, table: dict[str, str] | OSError) -> None:
        """Replace a TS's file by another, or an unreadable one, and tell it to read it."""
        file = self.table_watches[host.name].file
        if isinstance(table, OSError):
            file.spoil(b"", table)
        else:
            file.write(self.lines(table))
        assert host.signals is not None
        host.signals.ring(SimSystem.hangup)

    def asker(self, data: bytes = b"") -> Asker:
        """Connect a new client that says this."""
        asker = Asker(self.world, f"asker{len(self.world.hosts)}")
        asker.dial(self.ls)
        self.wait(0.01)
        asker.say(data)
        self.wait(0.01)
        return asker

    def wait(self, seconds: float) -> None:
        self.world.run_until(self.world.t + seconds)

    def wait_for(self, happened: Callable[[], object], within_s: float = 60.0) -> float:
        """Run until it is so; return how long that took. Raises AssertionError."""
        began = self.world.t
        while not happened():
            assert self.world.t < began + within_s, "it never happened"
            self.wait(0.01)
        return self.world.t - began

    def signal(self) -> None:
        assert self.ls.signals is not None
        self.watch.drain_since = self.ls.clock()
        self.ls.signals.ring(15)

    def leaves_nothing(self) -> None:
        """Wait until every client has gone, and check that LS is as it was (I8)."""
        self.wait(6.0)
        self.watch.check_end()
