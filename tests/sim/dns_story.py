"""Stories of the DNS front end in the simulator: datagrams that are lost, overtaken and doubled.

    python3 -m tests.sim.dns_story --seeds 1000

A story has an LS with a DNS front end, two or three TSs, resolvers over UDP that ask again when
nothing comes, one over a stream that is cut anywhere, and a client that speaks lines. TSs die,
return, pause and are cut off. Checked all the while, at LS's own socket:

- each reply goes to whoever sent a query with its ID and its question, spelled as it was;
- every query that arrives gets exactly one, once all is well again (P29);
- its addresses are a row of some TS; NXDOMAIN only of what no TS has;
- SERVFAIL no sooner than `dns_timeout_s` after the query, and no reply much later than that;
- no reply is longer than a datagram may be (P31).

At the end everything heals, everybody is answered, and LS drains and leaves nothing. Not here:
lines as such (`tests/sim/stories.py`).
"""

import argparse
import sys
from collections import Counter
from random import Random
from typing import Protocol

from core.bounds import Bounds
from core.environment import Environment
from core.io.frame_buffer import frame, split_frames
from core.io.loop import Loop
from nodes.dns.codes import UDP_BYTES_MAX, Rcode
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.nodes.test_dns_clients import AAAA, MX, NOERROR, NXDOMAIN, SERVFAIL, A, Reply, query
from tests.sim.world import PORT, Host, Observer, SimDatagrams, SimSocket, World
from tests.support.balancers import load_balancer

NAMES = [b"n%d.example" % n for n in range(8)]
UNKNOWN = [b"u0.org", b"u1.org", b"example"]  # the last one is above all names
_PLAN_S = 8.0
_SLACK_S = 0.5  # of LS's turns, and of what holds one up


class Violated(AssertionError):
    """Something that must always be so was not."""


def hold(condition: object, text: str) -> None:
    """Raise Violated unless it is so."""
    if not condition:
        raise Violated(text)


class Told(Protocol):
    """The facts that an asker wants to know of the story that it is in."""

    world: World
    seed: str

    def draw_query(self, chance: Random, number: int) -> bytes:
        """Draw its next query."""
        ...


class Resolver:
    """An asker by UDP that asks the same again when nothing comes."""

    def __init__(self, story: Told, number: int) -> None:
        self.story = story
        self.host = story.world.host(f"resolver{number}")
        self.host.on_touch = self.poll
        self.socket = SimDatagrams(self.host)
        self.chance = Random(f"{story.seed}:resolver{number}")
        self.open: dict[int, bytes] = {}  # queries without a reply, by ID
        self.replied = 0
        self._next = 0

    def live(self) -> None:
        at = 0.2
        for _ in range(self.chance.choice([3, 10, 40])):
            at += self.chance.expovariate(4)
            self.story.world.at(at, self.ask)

    def ask(self) -> None:
        for _ in range(self.chance.choice([1, 1, 5])):
            self._next += 1
            message = self.story.draw_query(self.chance, self._next)
            self.open[self._next] = message
            self.send(self._next, 3)

    def send(self, number: int, times: int) -> None:
        message = self.open.get(number)
        if message is None or not times:
            return
        try:
            self.socket.sendto(message, ("LS", 0))
        except BlockingIOError:
            self.story.world.at(self.story.world.t + 0.01, lambda: self.send(number, times))
            return
        wait_s = self.chance.choice([0.3, 2.0])
        self.story.world.at(self.story.world.t + wait_s, lambda: self.send(number, times - 1))

    def poll(self) -> None:
        while self.socket.arrived:
            data, _ = self.socket.arrived.popleft()
            self.replied += self.open.pop(Reply(data).number, None) is not None


class Stream:
    """An asker over TCP that sends all of it, cut anywhere, and then the end."""

    def __init__(self, story: "Story") -> None:
        self.story = story
        self.host = story.world.host("stream")
        self.host.on_touch = self.poll
        self.chance = Random(f"{story.seed}:stream")
        self.heard = bytearray()
        self.sent: dict[int, bytes] = {}
        self.unsaid = bytearray()
        self.is_over = False
        self.socket = SimSocket(self.host)

    def live(self) -> None:
        for number in range(1, self.chance.choice([2, 20, 60])):
            self.sent[number] = self.story.draw_query(self.chance, number)
            self.unsaid += frame(self.sent[number])
        self.story.world.at(
            0.3, lambda: self.story.world.dial(self.socket, self.story.ls, by_dns=True)
        )

    def poll(self) -> None:
        stream, world = self.socket, self.story.world
        if stream.is_connecting or stream.peer is None or self.is_over:
            return
        try:
            while stream.can_read():
                data = stream.recv(1 << 16)
                if not data:
                    self.is_over = True
                    stream.close()
                    return
                self.heard += data
            while self.unsaid and stream.can_write():
                size = self.chance.randint(1, len(self.unsaid))
                del self.unsaid[: stream.send(bytes(self.unsaid[:size]))]
            if not self.unsaid and not stream.sent_end:
                stream.end()
        except BlockingIOError:
            world.at(world.t + 0.001, self.poll)


class Story:
    """A world from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = f"dns{seed}"
        self.world = World(self.seed)
        chance = self.chance = Random(self.seed)
        self.world.network.room = max(self.world.network.room, 4_000)
        self.world.lost = chance.choice([0.0, 0.1, 0.4])
        self.world.twice = chance.choice([0.0, 0.2])
        self.bounds = Bounds(
            datagrams_per_turn=chance.choice([1, 7, 512]),
            pending_per_client_max=chance.choice([10, 65_536]),
            stream_pending_max=chance.choice([2, 128]),
            dns_per_second=1_000_000,
        )
        self.ls = self.world.host("LS")
        self.servers: list[Host] = []
        self.tables: list[dict[bytes, bytes]] = []
        self.rows: dict[bytes, set[bytes]] = {}
        self.frank: list[bool] = []
        for number in range(chance.choice([2, 3])):
            self.add_server(number)
        # Queries that arrived and were not replied to, by who asked, ID and question; with times.
        self.owed: dict[tuple[str, int, bytes], list[float]] = {}
        self.codes: Counter[int] = Counter()
        self.start_ls()
        self.resolvers = [Resolver(self, n) for n in range(chance.choice([1, 3]))]
        self.stream = Stream(self)

    # -- the hosts ---------------------------------------------------------------------------------

    def add_server(self, number: int) -> None:
        chance = self.chance
        host = self.world.host(f"TS{number + 1}")
        table = {}
        for row, name in enumerate(NAMES):
            if chance.random() < 0.7:
                addresses = b"10.0.%d.%d" % (number, row)
                if chance.random() < 0.5:
                    addresses += b",10.1.%d.%d" % (number, row)
                table[name] = b"%b %b A IN\n" % (chance.choice([name, name.upper()]), addresses)
            if chance.random() < 0.3:
                line = b"%b 2001:db8::%x:%x AAAA IN\n" % (name, number + 1, row + 1)
                table[name + b" AAAA"] = line
        for question, line in table.items():
            self.rows.setdefault(question, set()).add(line.split(b" ")[1])
        host.lag_s = chance.choice([0.0, 0.0, 0.03, 0.4])
        self.servers.append(host)
        self.tables.append(table)
        self.frank.append(chance.random() < 0.7)
        self.start_server(host)

    def start_server(self, host: Host) -> None:
        if host.loop is not None:
            return
        host.is_up = True
        place = self.servers.index(host)

        def build(loop: Loop) -> TableServer:
            table = Table(dict(self.tables[place]))
            return TableServer(table, Environment(), answer_unknown=self.frank[place])

        host.run(Bounds(), Observer(self.world, host.name), build, listens=True)

    def start_ls(self) -> None:
        share = self.chance.choice([None, None, 0.0, 0.05, 1.0])

        def build(loop: Loop) -> LoadBalancer:
            addresses = [((2, (host.name, PORT)),) for host in self.servers]
            jitter = Random(f"{self.seed}:jitter")
            self.hits = loop.hits
            front_end = DnsFrontEnd(Environment(self.bounds, self.hits), 60)
            self.brain = load_balancer(
                addresses,
                self.bounds,
                jitter.random,
                extra_load=share,
                dns=front_end,
                owed=loop.owed,
            )
            return self.brain

        observer = Observer(self.world, "LS")
        self.ls.run(self.bounds, observer, build, listens=True, with_dns=True)
        assert self.ls.datagrams is not None
        self.ls.datagrams.on_arrival = self.arrived
        self.ls.datagrams.on_sent = self.said

    def draw_query(self, chance: Random, number: int) -> bytes:
        name = chance.choice([*NAMES, *NAMES, *UNKNOWN])
        spelled = bytes(byte ^ 32 * (chance.random() < 0.3) if byte > 64 else byte for byte in name)
        return query(number, spelled, chance.choice([A, A, A, AAAA, MX]))

    # -- the invariants ----------------------------------------------------------------------------

    def arrived(self, data: bytes, who: str) -> None:
        key = who, int.from_bytes(data[:2]), data[12:]
        self.owed.setdefault(key, []).append(self.world.t)

    def said(self, data: bytes, who: str) -> None:
        reply = Reply(data)
        end = data.index(b"\0", 12) + 5
        waiting = self.owed.get((who, reply.number, data[12:end]))
        hold(waiting, f"{who} is owed nothing like {data!r}")
        assert waiting is not None
        # SERVFAIL before the time is for a copy of a query for which there was no room.
        is_early = self.world.t - waiting[0] < self.bounds.dns_timeout_s - 1e-6
        asked_at = waiting.pop(-1 if is_early and reply.code == SERVFAIL else 0)
        hold(len(data) <= UDP_BYTES_MAX, f"a reply of {len(data)} bytes")
        self.judge(reply, data[end - 4 : end - 2], self.world.t - asked_at)

    def judge(self, reply: Reply, kind: bytes, took_s: float) -> None:
        """Check that a reply may be what it is."""
        self.codes[reply.code] += 1
        name = reply.name.lower()
        question = name + b" AAAA" if kind == AAAA.to_bytes(2) else name
        is_known = any(other in self.rows for other in (name, name + b" AAAA"))
        is_known = is_known or any(b".%b " % name in question + b" " for question in self.rows)
        if reply.addresses:
            said = {frozenset(row.decode().split(",")) for row in self.rows.get(question, ())}
            hold(frozenset(reply.addresses) in said, f"{reply.addresses} for {question!r}")
            hold(kind != MX.to_bytes(2), "addresses for another type")
        elif reply.code == NOERROR:
            hold(is_known, f"an empty answer for {name!r}, which nobody has")
        elif reply.code == NXDOMAIN:
            hold(not is_known, f"NXDOMAIN for {name!r}")
        else:
            hold(reply.code == SERVFAIL, f"code {reply.code}")
            if took_s < self.bounds.dns_timeout_s - 1e-6:
                self.early += 1
                most = self.hits["pending_per_client_max"]
                hold(self.early <= most, f"SERVFAIL after {took_s} s")
        held = self.bounds.dns_timeout_s + _SLACK_S
        hold(took_s <= held or self.was_paused, f"a reply after {took_s} s")

    # -- the story ---------------------------------------------------------------------------------

    was_paused = False
    early = 0  # SERVFAILs that are not about time
    hits: Counter[str]

    def suffer(self) -> None:
        """Let something go wrong."""
        world, chance = self.world, self.chance
        host = chance.choice(self.servers)
        until = world.t + chance.uniform(0.1, 4.0)
        match chance.choice(["kill", "start", "cut", "silence", "pause", "pause LS", "lose"]):
            case "kill":
                host.die(silently=False)
            case "start":
                self.start_server(host)
            case "cut":
                world.cut(self.ls, host, until)
            case "silence":
                world.cut(host, self.ls, until)
            case "pause":
                host.paused_until = until
            case "pause LS":
                self.was_paused = True
                self.ls.paused_until = until
            case "lose":
                world.lost = 0.9
                world.at(until, lambda: setattr(world, "lost", 0.0))

    def tell(self) -> World:
        """Tell the whole story. Raises Violated, or whatever LS raised."""
        world = self.world
        for resolver in self.resolvers:
            resolver.live()
        self.stream.live()
        if self.bounds.stream_pending_max < 128:
            self.was_paused = True  # the rest, not read, waits in the kernel
        for _ in range(self.chance.choice([0, 1, 4])):
            world.at(self.chance.uniform(0, _PLAN_S), self.suffer)
        world.run_until(_PLAN_S)
        world.heal()
        world.lost = world.twice = 0.0
        for host in self.servers:
            self.start_server(host)
        world.run_until(world.t + 40.0)
        left = {key: times for key, times in self.owed.items() if times}
        hold(not left, f"no reply to {left}")
        self.check_stream()
        self.check_all_is_well()
        return world

    def check_stream(self) -> None:
        stream = self.stream
        hold(stream.is_over, "the stream has not ended")
        said = [Reply(data) for data in split_frames(bytes(stream.heard))]
        hold(sorted(r.number for r in said) == list(stream.sent), "not one reply a query")
        for reply, data in zip(said, split_frames(bytes(stream.heard)), strict=True):
            end = data.index(b"\0", 12) + 5
            hold(data[12:end] == stream.sent[reply.number][12:], "another question")
            self.judge(reply, data[end - 4 : end - 2], self.bounds.dns_timeout_s)

    def check_all_is_well(self) -> None:
        """Check that all who ask now are answered; then LS drains, and nothing is left."""
        resolver = self.resolvers[0]
        resolver.open = {60_000: query(60_000, next(iter(self.tables[0]))[:10].split(b" ")[0])}
        resolver.send(60_000, 1)
        self.world.run_until(self.world.t + 10.0)
        hold(not resolver.open, "the last query has no reply")
        assert self.ls.signals is not None
        self.ls.signals.ring(15)
        for host in self.servers:
            if host.signals is not None:
                host.signals.ring(15)
        self.world.run_until(self.world.t + 15.0)
        hold(self.ls.loop is None and not self.ls.open, f"LS holds {self.ls.open}")
        hold(self.ls.exit_code == 0, f"LS ended with {self.ls.exit_code}")
        hold(not self.brain.parts.questions.all_open(), "questions are left")


def main() -> int:
    """Tell many; print what was seen."""
    parser = argparse.ArgumentParser(description="Tells stories of the DNS front end.")
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    arguments = parser.parse_args()
    codes: Counter[int] = Counter()
    probes: Counter[str] = Counter()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        story = Story(seed)
        try:
            probes.update(story.tell().probes)
        except Exception:
            print(f"violated: python3 -m tests.sim.dns_story --first {seed} --seeds 1")
            raise
        codes.update(story.codes)
    said = ", ".join(f"{Rcode(code).name} {count:,}" for code, count in sorted(codes.items()))
    print(f"{arguments.seeds} stories, 0 violations; replies: {said}")
    print(", ".join(f"{what}: {probes[what]}" for what in sorted(probes) if "datagram" in what))
    return 0


if __name__ == "__main__":
    sys.exit(main())
