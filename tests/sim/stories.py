"""Stories for the simulator: who asks what, who answers how, and what goes wrong when.

A `Cluster` is a story (`tests/sim/story.py`) of one LS, its TSs and its clients. A plan is a list
of at most 50 `Fault`s; hypothesis draws and shrinks it, the volume runner draws it from the seed.
When all has healed, whoever still talks gets its replies, and a new client gets its answer.

About half of the clusters are old-fashioned: LS races, tables have one IPv4 address a name, and
honest TSs are silent about what they do not know. How the others differ is in their `Manner`.
"""

import errno
from dataclasses import dataclass, replace
from random import Random

from core.bounds import Bounds
from core.environment import Environment
from core.io.loop import Loop
from core.protocol.messages import ProtocolError, Question, parse_request
from core.protocol.names import fold
from nodes.client.client import Client
from tests.sim.invariants import LoadBalancerWatch, TableWatch, check_wire, hold
from tests.sim.scenes import Asker, Speaker
from tests.sim.sockets import SimSocket
from tests.sim.story import Story, run_ls
from tests.sim.world import FDS_FIRST, PORT, Host, Observer, SimSystem

NAMES = [b"n%d.example" % n for n in range(10)]
UNKNOWN = [b"unknown0.org", b"unknown1.org", b"unknown2.org", b"example"]  # above all names
FAULTS = (
    "pause LS", "pause TS", "kill TS", "vanish TS", "start TS", "cut LS-TS", "cut TS-LS",
    "cut both", "cut client", "pause client", "silence", "aborts", "own dials", "drain LS",
    "two signals", "reload TS", "storm", "leak", "calm",
)  # fmt: skip
PLAN_S = 8.0
ROGUE = {b"10.9.9.9", b"2001:db8::9,2001:db8::99"}  # addresses that a rogue gives for any name
_HOURS_S = 1_000.0  # far more than any story takes
WINDOW_S = 6.0  # how long a fault may last


@dataclass(frozen=True)
class Fault:
    """Something goes wrong at a time, with one of those who can be meant, for a while."""

    at: float
    kind: str
    target: int
    lasts: float


def draw_plan(seed: int) -> list[Fault]:
    """Draw the plan of a seed, for the volume runner: most are short, some are calm."""
    chance = Random(f"{seed}:plan")
    reloads = [
        Fault(round(chance.uniform(0, PLAN_S / 2), 3), "reload TS", chance.randrange(4), 0.0)
        for _ in range(chance.choice([0, 0, 0, 1, 4]))
    ]
    return reloads + [
        Fault(
            round(chance.uniform(0, PLAN_S), 3),
            chance.choice(FAULTS),
            chance.randrange(4),
            round(chance.uniform(0.01, WINDOW_S), 3),
        )
        for _ in range(chance.choice([0, 1, 2, 4, 8]))
    ]


def draw_bounds(chance: Random) -> Bounds:
    """Draw bounds so small that a few bytes and clients reach them."""
    high = chance.choice([60, 300, 65_536])
    waiting = chance.choice([80, 400, 1_048_576])
    pending = chance.choice([5, 40, 65_536])
    all_high = chance.choice([2_000, 40_000, 67_108_864])
    return replace(
        Bounds(),
        read_bytes=chance.choice([16, 100, 1_000, 65_536]),
        accepts_per_turn=chance.choice([1, 2, 16]),
        owed_bytes_high=high,
        owed_bytes_low=high // 4,
        waiting_bytes_high=waiting,
        waiting_bytes_low=waiting // 4,
        pending_per_client_max=pending,
        turn_bytes=chance.choice([40, 600, 262_144]),
        owed_all_bytes_high=all_high,
        owed_all_bytes_low=3 * all_high // 4,
        few_bytes=chance.choice([100, 1_600, 8_192]),
        few_read_bytes=chance.choice([7, 256]),
        clients_max=chance.choice([2, 4, 992]),
        quiet_look_s=chance.choice([0.002, 0.05]),
        quiet_turns=chance.choice([3, 1_024]),
        quiet_least=chance.choice([1, 64]),
        descriptors_spare=4,
        late_turns=chance.choice([2, 16]),
        idle_s=chance.choice([float("inf"), float("inf"), 7.0]),
        write_stall_s=chance.choice([2.0, 10.0]),
        linger_s=chance.choice([0.5, 5.0]),
    )


def anew(table: dict[bytes, bytes], version: int) -> dict[bytes, bytes]:
    """Give the same names other addresses, as many of them."""
    rows = {}
    for row, (question, line) in enumerate(table.items()):
        spelling, addresses, kind, end = line.split(b" ")
        form = b"2001:db8:%x:%x::%x" if kind == b"AAAA" else b"10.%d.%d.%d"
        count = len(addresses.split(b","))
        others = b",".join(form % (100 + version, row, each) for each in range(count))
        rows[question] = b" ".join([spelling, others, kind, end])
    return rows


class Manner:
    """The manner of LS and its TSs in a cluster, drawn from its seed."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.is_old = chance.random() < 0.5
        self.share: float | None = None  # of speculative questions; None: LS races
        self.equal = False  # all honest tables are
        self.frank = 0.0  # how many TSs say NOT FOUND
        self.typed = 0.0  # how many names have IPv6 addresses, and how many have several
        self.lags = [0.0]  # how much slower than the network a TS may be
        self.is_tight = False  # TSs sleep, and little can wait for them meanwhile
        if not self.is_old:
            self.share = chance.choice([None, 0.0, 0.05, 0.3, 1.0, 1.0])
            self.equal = chance.random() < (0.3 if self.share is None else 0.7)
            self.frank = chance.choice([0.0, 0.5, 1.0, 1.0])
            self.typed = chance.choice([0.0, 0.3, 0.7])
            self.lags = chance.choice([[0.0], [0.0, 0.004, 0.03], [0.0, 0.1, 0.4]])
            self.is_tight = chance.random() < 0.25

    def bounds(self, bounds: Bounds) -> Bounds:
        """Return bounds some of which hedging reaches within a few questions."""
        if self.is_old:
            return bounds
        if self.is_tight:
            bounds = replace(bounds, waiting_bytes_high=80, waiting_bytes_low=20, held_s=0.2)
        return replace(
            bounds,
            explore_every=self.chance.choice([1, 3, 100]),
            hedge_tokens_max=self.chance.choice([1, 3, 100]),
            hedge_delay_max_s=self.chance.choice([0.002, 0.05, 0.05]),
            no_data_s=self.chance.choice([0.01, 0.01, 0.1]),
        )

    def extend(self, table: dict[bytes, bytes], number: int) -> None:
        """Give some names more addresses, and some IPv6 addresses, maybe them only."""
        chance = self.chance
        for row, (name, line) in enumerate(list(table.items())):
            if chance.random() < self.typed:
                address = line.split(b" ")[1]
                table[name] = line.replace(address, b"%b,10.1.%d.%d" % (address, number, row))
            if chance.random() < self.typed:
                addresses = [b"2001:db8::%x:%x" % (number, row), b"2001:DB8::%x" % row]
                addresses = addresses[: chance.choice([1, 2])]
                spelling = line.split(b" ")[0]
                table[name + b" AAAA"] = b"%b %b AAAA IN\n" % (spelling, b",".join(addresses))
                if chance.random() < 0.3:
                    del table[name]

    def ask_typed(self, chance: Random, names: list[bytes]) -> list[bytes]:
        """Let some of these ask for IPv6 addresses, and some try to in a wrong way."""
        if not self.typed and (self.is_old or chance.random() < 0.7):
            return names
        ways = [b"", b"", b" AAAA", b" AAAA"]
        typed = [name + chance.choice(ways) for name in names]
        if chance.random() < 0.1:
            typed.append(names[0] + chance.choice([b" aaaa", b" A", b"  AAAA", b" AAAA "]))
        return typed


# -- those who are no nodes of ours ----------------------------------------------------------------


class ClusterAsker(Asker):
    """A raw client: a script of things to say, cut anywhere, and habits of its own."""

    def __init__(self, cluster: "Cluster", number: int, chance: Random) -> None:
        super().__init__(cluster.world, f"asker{number}", chance)
        self.cluster = cluster
        self.draw = chance
        self.ever_slow = False
        self.leaves = True

    def live(self) -> None:
        """Write its script: when it comes, what it asks, and how it leaves."""
        chance = self.draw
        start = chance.uniform(0, 4.0)
        start_at = start + chance.choice([0.0001, 0.001, 0.02])
        self.world.at(start, lambda: self.dial(self.cluster.ls))
        for _ in range(chance.choice([1, 1, 2, 5])):
            start += chance.expovariate(1.5)
            self.world.at(start, self.ask)
        if chance.random() < 0.1:
            self.world.at(start_at, self.vanish)
        ways = {"quit": self.quit, "half-close": self.end, "vanish": self.vanish, "deaf": self.deaf}
        habit = chance.choice(["stay", "stay", "quit", "quit", "half-close", "vanish", "deaf"])
        if habit in ways:
            self.world.at(start + chance.choice([0.0, 0.5, 3.0]), ways[habit])

    def ask(self) -> None:
        chance = self.draw
        kind = chance.choice(["names", "names", "names", "same", "many", "junk", "long", "half"])
        known = [*NAMES, *(name.upper() + b"." for name in NAMES[:3]), b"quit", b"PING."]
        names = [chance.choice([*known, *UNKNOWN]) for _ in range(chance.choice([1, 3, 12]))]
        if kind == "same":
            names = names[:1] * 10
        elif kind == "many":
            names = [b"m%d.%b" % (n, names[0]) for n in range(chance.choice([30, 100]))]
        elif kind == "junk":
            junk = [chance.choice([b"two words", b"\xff", b"", b"-"]) for _ in range(20)]
            names = [*junk, b"PING", *names]
        elif kind == "long":
            names.insert(0, b"x" * chance.choice([512, 513, 5_000]))
        if kind != "junk":
            names = self.cluster.manner.ask_typed(chance, names)
        end = b"\r\n" if chance.random() < 0.2 else b"\n"
        data = b"".join(name + end for name in names)
        self.say(data[: -chance.randint(1, 3)] if kind == "half" else data)

    def quit(self) -> None:
        self.say(b"\nQUIT\n")

    def vanish(self) -> None:
        """Gone: by a reset, or by a close, which with unread input is one."""
        if self.draw.random() < 0.5:
            self.reset()
        self.close()

    def deaf(self) -> None:
        """Read nothing from now on, and keep asking."""
        self.reads = False
        self.ever_slow = True
        self.say(b"".join(NAMES[n % 10] + b"\n" for n in range(300)))

    def heal(self) -> None:
        """Heal: at the end everybody reads and says good-bye."""
        self.reads = True
        self.quit()


class Rogue:
    """A table server that does not keep to the rules, or is merely slow."""

    def __init__(self, cluster: "Cluster", host: Host, chance: Random) -> None:
        self.world, self.host, self.chance = cluster.world, host, chance
        host.on_touch = self.poll
        self.links: list[Speaker] = []
        self.denies = 0.0 if cluster.manner.is_old else chance.choice([0.1, 0.5, 0.9])
        self.start()

    def start(self) -> None:
        self.host.is_up = True
        self.host.listener = SimSocket(self.host, is_listening=True)

    def poll(self) -> None:
        for stream in self.host.take_waiting(self.host.listener):
            link = Speaker(self.host)
            link.stream, link.leaves = stream, True
            self.links.append(link)
            if self.chance.random() < 0.1:
                self.world.saw("a TS that accepts and closes")
                stream.close()
        for link in self.links:
            link.poll()
            *names, rest = link.take().split(b"\n")
            link.heard += rest
            for name in names:
                if name != b"QUIT":
                    data = self.reply(name)
                    self.world.at(
                        self.world.t + self.delay(), lambda link=link, data=data: link.say(data)
                    )
        self.links = [link for link in self.links if not link.has_left]

    def delay(self) -> float:
        if self.denies and self.chance.random() < self.denies:
            return self.chance.choice([0.0, 0.0, 0.004, 0.02, 0.1])
        return self.chance.choice([0.0, 0.01, 0.5, 4.9, 4.99, 5.0, 5.2])

    def reply(self, name: bytes) -> bytes:
        """Write a reply, right or wrong in some way."""
        if self.denies and self.chance.random() < 0.1:
            name = self.chance.choice(NAMES)  # asked or not
        right = b"%b 10.9.9.9 A IN\n" % name.upper()
        wrong = [
            right * 2, right.replace(b"9.9 A", b"9.999 A"), b"- ERROR BADNAME\n", right[:-3],
            b"%b - TIMED OUT\n" % name, b"BYE\n", b"other.example 10.9.9.9 A IN\n" * 3, b"\xff\0\n",
            b"z" * 600, b"?\n" * 20, b"junk.example 10.9.9.9 A IN\n" * 110, b"",
        ]  # fmt: skip
        data = self.chance.choice([right, right, right, *wrong])
        if self.denies and self.chance.random() < self.denies:
            data = self.denial(name)
        elif self.denies and data == right and name.endswith(b" AAAA"):
            data = b"%b 2001:db8::9,2001:db8::99 AAAA IN\n" % name.removesuffix(b" AAAA")
        return data

    def denial(self, name: bytes) -> bytes:
        """Write a denial: it has nothing, or says so, or says so and something else."""
        not_found, no_data = b"%b - NOT FOUND\n" % name, b"%b - NO DATA\n" % name
        answer = b"%b 10.9.9.9 A IN\n" % name.removesuffix(b" AAAA")
        return self.chance.choice(
            [
                *[not_found] * 5, *[no_data] * 3, not_found.upper(), not_found * 3,
                no_data + not_found, not_found + answer, answer + no_data, no_data[:-2],
                b"other.example - NOT FOUND\n", b"- NOT FOUND\n", not_found + b"?\n" * 16,
                no_data + b"z" * 600,
            ]
        )  # fmt: skip


class Storm:
    """Clients that come all at once, say nothing, and stay until they are refused, or for a
    while."""

    def __init__(self, ls: Host, count: int) -> None:
        self.world = ls.world
        self.askers = [Asker(self.world, f"storm{len(self.world.hosts)}") for _ in range(count)]
        for asker in self.askers:
            asker.leaves = True
            asker.dial(ls)

    def end(self) -> None:
        for asker in self.askers:
            asker.close()
            if asker.heard == b"- ERROR BUSY\n":
                self.world.saw("a client of a storm is told BUSY")


# -- a cluster -------------------------------------------------------------------------------------


class Cluster(Story):
    """An LS, some TSs, some clients; the faults of a plan happen to them."""

    prefix = ""

    def __init__(self, number: int, plan: list[Fault] | None = None) -> None:
        super().__init__(number)
        seed = self.seed
        self.plan = draw_plan(number) if plan is None else plan
        chance = self.chance = Random(f"{seed}:cluster")
        self.manner = Manner(Random(f"{seed}:manner"))
        self.bounds = self.manner.bounds(draw_bounds(chance))
        self.table: dict[bytes, bytes] = {}  # of the first TS
        self.servers: list[Host] = []
        self.rogues: dict[Host, Rogue] = {}
        self.reloads = 0
        self.clients: list[tuple[Host, list[bytes]]] = []
        self.is_drained = False
        self.faults_until = 0.0  # when faults of the network are over
        self.has_leaked = False  # something else has taken descriptors of LS
        self.ls.fds_max = chance.choice([14, 17, 1024, 1024])
        self.ls.rate = chance.choice([0.9, 1.0, 1.0, 1.1])
        self.world.backlog_max = chance.choice([1, 3, 100])
        for number in range(chance.choice([1, 2, 2, 3])):
            self.add_server(number)
        self.hosts: list[tuple[str, int]] = []  # where LS has names only
        if self.manner.chance.random() < 0.25:
            self.hosts = [(host.name, PORT) for host in self.servers]
            for name, _ in self.hosts:
                self.world.known_at[name] = self.manner.chance.choice([0.0, 0.5, 3.0])
        self.start_ls()
        self.askers = [
            ClusterAsker(self, number, Random(f"{seed}:asker{number}"))
            for number in range(chance.choice([0, 1, 2, 3, 5]))
        ]
        for asker in self.askers:
            asker.live()
        if self.manner.is_tight:
            self.world.network.room = 64
            for target in range(4):
                sleep = Fault(self.manner.chance.uniform(0, 5), "pause TS", target, 1.5)
                self.world.at(sleep.at, lambda sleep=sleep: self.suffer(sleep))
        for number in range(chance.choice([0, 1, 1])):
            self.world.at(chance.uniform(0, 3), lambda number=number: self.start_client(number))

    # -- its hosts ---------------------------------------------------------------------------------

    def add_server(self, number: int) -> None:
        chance = self.chance
        host = self.world.host(f"TS{number + 1}")
        self.servers.append(host)
        table = {
            name: b"%b 10.0.%d.%d A IN\n" % (chance.choice([name, name.upper()]), number, row)
            for row, name in enumerate(NAMES)
            if chance.random() < 0.6
        }
        manner = self.manner
        manner.extend(table, number)
        host.lag_s = manner.chance.choice(manner.lags)
        self.table = self.table or table
        if chance.random() < 0.25:
            self.rogues[host] = Rogue(self, host, Random(f"{self.seed}:rogue{number}"))
            return
        is_frank = manner.chance.random() < manner.frank
        rows = self.table if manner.equal else table
        self.watches[host] = TableWatch(self.world, host.name, rows, is_frank)
        if chance.random() < 0.85:
            self.start_server(host)

    def start_server(self, host: Host) -> None:
        """Start a TS, or start it again."""
        if host not in self.rogues:
            self.start_table(host, replace(self.bounds, clients_max=992, idle_s=float("inf")))
        elif host.listener is None:
            self.rogues[host].start()

    def start_ls(self) -> None:
        tables = {host.name: watch for host, watch in self.watches.items()}
        self.watch = LoadBalancerWatch(self.world, self.bounds, tables, self.manner.share)
        lookups = min(self.bounds.lookups_max, len(self.hosts))
        self.ls.fds_max = min(1024, self.ls.fds_max + lookups)
        self.watch.brain = run_ls(
            self.ls,
            self.bounds,
            self.watch,
            [host.name for host in self.servers],
            self.seed,
            links=len(self.servers) + lookups,
            hosts=self.hosts,
            extra_load=self.manner.share,
        )
        self.world.checks.append(self.watch.check)

    def start_client(self, number: int) -> None:
        """Start a real client with a list of names."""
        chance = Random(f"{self.seed}:client{number}")
        names = [
            chance.choice([*NAMES, *UNKNOWN, b"bad name"]) for _ in range(chance.choice([1, 5, 60]))
        ]
        names = self.manner.ask_typed(chance, names)
        host = self.world.host(f"client{number}")
        self.clients.append((host, names))
        bounds = replace(self.bounds, patience_s=12.0, write_stall_s=float("inf"))

        def build(loop: Loop) -> Client:
            return Client(names, ((2, ("LS", PORT)),), "LS", Environment(bounds, watch=loop.watch))

        host.run(bounds, Observer(self.world, host.name), build, listens=False)

    # -- faults ------------------------------------------------------------------------------------

    def suffer(self, fault: Fault) -> None:
        """Let it happen now."""
        world, until = self.world, self.world.t + fault.lasts
        server = self.servers[fault.target % len(self.servers)]
        kind = fault.kind
        if kind == "reload TS":
            if server in self.watches:
                self.reload(server)
            return  # nobody is to notice: it disturbs nothing
        self.faults_until = max(self.faults_until, until)
        if kind == "pause LS":
            self.ls.paused_until = until
        elif kind == "pause TS":
            server.paused_until = until
        elif kind in ("kill TS", "vanish TS"):
            self.faults_until = float("inf")  # until everything heals
            server.die(silently=kind == "vanish TS")
            if server in self.rogues:
                self.rogues[server].links.clear()
        elif kind == "start TS":
            self.start_server(server)
        elif kind in ("cut LS-TS", "cut both"):
            world.cut(self.ls, server, until)
        elif kind == "silence":
            for host in self.servers:
                world.cut(host, self.ls, until)
        elif kind in ("cut client", "pause client") and self.askers:
            asker = self.askers[fault.target % len(self.askers)]
            asker.ever_slow = True
            if kind == "pause client":
                asker.host.paused_until = until
                world.at(until, asker.poll)
            else:
                world.cut(asker.host, self.ls, until)
                world.cut(self.ls, asker.host, until)
        elif kind == "aborts":
            world.aborts = 0.5
        elif kind == "own dials":
            world.own_dials = 0.5
        elif kind == "storm":
            world.at(until, Storm(self.ls, 3 + 5 * fault.target).end)
        elif kind == "leak":
            self.leak(until)
        elif kind in ("drain LS", "two signals"):
            self.signal(2 if kind == "two signals" else 1)
        if kind in ("cut TS-LS", "cut both"):
            world.cut(server, self.ls, until)
        self.disturb()

    def reload(self, server: Host) -> None:
        """Replace a TS's file by another, or one to refuse, and tell it so; maybe soon again."""
        self.reloads += 1
        chance = Random(f"{self.seed}:reload{self.reloads}")
        file = self.watches[server].file
        rows = anew(file.good, self.reloads)
        if chance.random() < 0.3:
            half = b"n1.example 10.9.9.8 A\n" * 3
            torn = OSError(errno.EAGAIN, "it changed while it was read")
            missing = OSError(errno.ENOENT, "No such file or directory")
            content, problem = chance.choice(
                [(b"", None), (b"bad row\n" * 20, None), (half, torn), (b"", missing)]
            )
            if not (rows or content or problem):  # no byte in the place of no row is taken [P64]
                file.write(rows)
            else:
                file.spoil(content, problem)
        else:
            file.write(rows)
        if server.signals is not None:
            server.signals.ring(SimSystem.hangup)
        if chance.random() < 0.5:
            self.world.at(
                self.world.t + chance.choice([0.0002, 0.002, 0.3]), lambda: self.reload(server)
            )

    def leak(self, until: float) -> None:
        """Take all descriptors of LS that are free, as something else would."""
        host, before = self.ls, self.ls.fds_max
        host.fds_max = min(before, len(host.open) + FDS_FIRST)
        self.has_leaked = True

        def mend() -> None:
            host.fds_max = max(before, host.fds_max)

        self.world.at(until, mend)

    def signal(self, times: int) -> None:
        if self.ls.signals is not None and self.ls.loop is not None:
            self.is_drained = True
            if times == 1 and self.watch.drain_since is None:
                self.watch.drain_since = self.ls.clock()
            self.ls.ring(*[15] * times)

    def disturb(self) -> None:
        """Disturb the cluster: what happened before the end of the last fault does not count for
        some promises."""
        until = max(self.faults_until, self.world.t)
        self.watch.undisturbed_since = 1000.0 + until * self.ls.rate

    # -- the story ---------------------------------------------------------------------------------

    def live(self) -> None:
        for fault in self.plan:
            self.world.at(fault.at, lambda fault=fault: self.suffer(fault))

    def become_whole(self) -> None:
        world = self.world
        self.faults_until = world.t
        self.disturb()
        for host in self.servers:
            self.start_server(host)
        for asker in self.askers:
            asker.heal()
        give_up_at = world.t + _HOURS_S
        while not self.is_quiet() and world.t < give_up_at:
            world.run_until(world.t + 5.0)
        world.run_until(world.t + 4.0)  # for links to come up again
        ran_out = world.probes["a dial runs out of descriptors"]
        hold(not ran_out or self.has_leaked, "I7", "a link found no descriptor")
        if self.ls.loop is None:
            hold(self.is_drained, "I12", "LS has stopped, and nobody asked it to")
            world.saw("LS drained in mid-story")
        else:
            self.check_liveness()
        self.check_clients()

    def is_quiet(self) -> bool:
        """Return whether everybody has its last words, or has been cut for taking nothing.

        Late answers are waited for, too: through a window of 64 bytes they take longer than a
        question is open, and the next answer comes behind them (seed 6122).
        """
        ls, listener = self.ls.loop, self.ls.listener
        return (
            all(asker.has_left for asker in self.askers)
            and all(host.exit_code is not None for host, _ in self.clients)
            and (ls is None or not (ls.streams.accepted or self.is_drained))
            and (listener is None or not listener.backlog)
            and not self.ls.has_bytes_under_way()
        )

    def check_liveness(self) -> None:
        """Check that LS has forgotten everybody, is linked again, and answers."""
        watch = self.watch
        watch.check_end()
        known = [name for watch in self.watches.values() for name in watch.file.good]
        if known:
            asker = Asker(self.world, "last")
            asker.dial(self.ls)
            asker.say(known[0] + b"\nQUIT\n")
            self.world.run_until(self.world.t + 12.0)
            first = bytes(asker.heard).split(b" ")[1:2]
            # A slower TS has it, maybe, and a faster one has it with another type.
            is_denied = not self.manner.is_old and asker.heard.endswith(b" - NO DATA\nBYE\n")
            hold(
                (first and self.may_say(known[0], first[0])) or is_denied,
                "I5",
                f"the last asker heard {asker.heard!r}",
            )

    def check_clients(self) -> None:
        """Check what each client has in its hands."""
        for asker in self.askers:
            # A client whom a second signal or the end of a drain cut off was promised nothing.
            cut_off = self.ls.exit_code == 1 or self.watch.is_cutting
            if asker.has_ended and not asker.ever_slow and not cut_off:
                check_wire(self.watch, asker.host, bytes(asker.heard), asker.was_reset)
        for host, names in self.clients:
            hold(host.exit_code is not None, "I8", f"{host.name} does not end")
            lines = bytes(host.output).split(b"\n")[:-1]
            hold(len(lines) == len(names), "I1", f"{len(lines)} lines for {len(names)} names")
            lost = 0
            for name, line in zip(names, lines, strict=True):
                lost += line == name + b" - LOST"
                hold(self.is_reply(name, line), "I3", f"{line!r} for {name!r}")
            hold((host.exit_code != 0) == bool(lost) or not lost, "I1", "lost, and exit code 0")
            if lost:
                self.world.saw("a client loses names")

    def is_reply(self, name: bytes, line: bytes) -> bool:
        """Return whether a client may have written this line for a line of its input."""
        if line == name + b" - LOST":
            return True
        try:
            request = parse_request(name)
        except ProtocolError:
            return line == name + b" - ERROR BADNAME"
        if line in (name + b" - " + why for why in (b"TIMED OUT", b"NOT FOUND", b"NO DATA")):
            return True
        assert isinstance(request, Question)
        spelling, addresses, *rest = line.split(b" ")
        question = fold(request.spelling, request.type)
        of_type = [request.type.value, b"IN"]
        is_spelled = fold(spelling) == fold(request.spelling) and rest == of_type
        return is_spelled and self.may_say(question, addresses)

    def may_say(self, question: bytes, addresses: bytes) -> bool:
        """Return whether any TS may."""
        is_rogues = bool(self.rogues) and addresses in ROGUE
        return is_rogues or any(w.may_say(question, addresses) for w in self.watches.values())

    def leave(self) -> None:
        if self.watch.drain_since is None:
            self.watch.drain_since = self.ls.clock()
        super().leave()
