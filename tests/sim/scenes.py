"""Scenes for the simulator: a calm world in which a test says what happens, and nothing else does.

The network has no chance in it: a small latency, room for everything. LS is the real one, with
its watch, so every invariant is checked at every step of every scene. A TS is the real one with a
table, or a `Puppet` that says what the test says. An `Asker` is a raw client.

Not here: chance (`tests/sim/stories.py`).
"""

from collections.abc import Callable
from random import Random

from core.bounds import Bounds
from core.protocol.names import Type, fold
from tests.sim.invariants import LoadBalancerWatch, TableWatch
from tests.sim.sockets import SimSocket
from tests.sim.story import run_ls, run_table
from tests.sim.world import PORT, Host, SimSystem, World


class Speaker:
    """An end of a stream that reads and speaks; with a `chance`, in pieces."""

    def __init__(self, host: Host, chance: Random | None = None) -> None:
        self.host = host
        self.world = host.world
        self.chance = chance
        self.stream: SimSocket | None = None
        self.heard = bytearray()
        self.has_ended = False  # the other's end of the stream has come
        self.was_reset = False
        self.reads = True
        self.leaves = False  # closes, when nothing comes any more
        self.most = 1 << 30  # bytes to read at a time
        self._unsaid = bytearray()
        self._ends = False

    def say(self, data: bytes) -> None:
        """Send it as the network takes it."""
        if not self._ends:
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

    @property
    def has_left(self) -> bool:
        """Whether it has closed its stream, or found nobody."""
        return self.stream is not None and self.stream.is_closed

    def poll(self) -> None:
        """Do what can be done now."""
        stream = self.stream
        if stream is None or stream.is_connecting or stream.is_closed:
            return
        if self.host.paused_until > self.world.t:
            return
        if stream.peer is None:  # the dial has failed
            stream.close()
            return
        try:
            while self.reads and not self.has_ended and stream.can_read():
                data = stream.recv(self.most)
                self.heard += data
                self.has_ended = not data
            while self._unsaid and stream.can_write():
                count = len(self._unsaid)
                size = self.chance.randint(1, count) if self.chance is not None else count
                del self._unsaid[: stream.send(bytes(self._unsaid[:size]))]
            if self._ends and not self._unsaid and not stream.sent_end:
                stream.end()
        except BlockingIOError:
            self.world.at(self.world.t + 0.001, self.poll)
        except OSError:
            self.was_reset = True
        if self.leaves and (self.has_ended or self.was_reset):
            stream.close()


class Asker(Speaker):
    """A raw client."""

    def __init__(self, world: World, name: str, chance: Random | None = None) -> None:
        super().__init__(world.host(name), chance)
        self.host.on_touch = self.poll

    def dial(self, host: Host, port: int = PORT) -> None:
        self.stream = SimSocket(self.host)
        self.world.dial(self.stream, host, port)


class Puppet(Speaker):
    """A TS that says what the test says, on the connection that it has now."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.host(name))
        self.host.on_touch = self.poll
        self.accepted = 0
        self.listens()

    def listens(self) -> None:
        self.host.is_up = True
        self.host.listener = SimSocket(self.host, is_listening=True)

    def is_gone(self) -> None:
        """Let it listen no more, and reset its connection."""
        if self.stream is not None and not self.stream.is_closed:
            self.stream.abort()
        self.host.listener = None

    def poll(self) -> None:
        for stream in self.host.take_waiting(self.host.listener):
            self.stream = stream
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
        names = [f"TS{number}" for number in range(1, len(servers) + 1)]
        for name, server in zip(names, servers, strict=True):
            if isinstance(server, str):
                self.puppets.append(Puppet(self.world, name))
            else:
                self.tables.append(self.world.host(name))
                self.start_table(self.tables[-1], server)
        self.watch = LoadBalancerWatch(self.world, self.bounds, self.table_watches, share)
        self.watch.brain = run_ls(
            self.ls, self.bounds, self.watch, names, "scene", links=len(names), extra_load=share
        )
        self.world.checks.append(self.watch.check)
        if linked:
            self.wait(0.1)
            assert len(self.watch.up_since) == len(names)

    def start_table(self, host: Host, table: dict[str, str]) -> None:
        """Start a real TS, or start it again."""
        rows = lines(table)
        if host.name not in self.table_watches:
            watch = TableWatch(self.world, host.name, rows, self.answer_unknown)
            self.table_watches[host.name] = watch
        self.table_watches[host.name].file.write(rows)
        run_table(host, self.table_watches[host.name], Bounds())

    def reload(self, host: Host, table: dict[str, str] | OSError) -> None:
        """Replace a TS's file by another, or an unreadable one, and tell it to read it."""
        file = self.table_watches[host.name].file
        if isinstance(table, OSError):
            file.spoil(b"", table)
        else:
            file.write(lines(table))
        host.ring(SimSystem.hangup)

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
        self.watch.drain_since = self.ls.clock()
        self.ls.ring(15)

    def leaves_nothing(self) -> None:
        """Wait until every client has gone, and check that LS is as it was (I8)."""
        self.wait(6.0)
        self.watch.check_end()


def lines(table: dict[str, str]) -> dict[bytes, bytes]:
    """Return what a TS with this table says."""
    rows: dict[bytes, bytes] = {}
    for question, addresses in table.items():
        name, _, kind = question.partition(" ")
        folded = fold(name.encode(), Type(kind.encode() or b"A"))
        rows[folded] = f"{name} {addresses} {kind or 'A'} IN\n".encode()
    return rows
