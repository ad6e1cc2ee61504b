"""Stories of LS that keeps what resolvers said, and of names that must not leave, in the simulator.

Every reply of a resolver can be told from all others (`tests/sim/cache_cast.py`), so each reply of
LS's is traced to who said it, and judged by what LS had read by then (`tests/sim/cache_account.py`,
from the outside, by LS's own clock: what it reads in a turn it knows in that turn). Besides what is
checked in all stories of DNS askers:

- P94: a TTL is what is left of it, to the second, and at least 1; relayed at once, it is as it
  came (a); what may not be kept is not: TTL 0, no SOA record, -rd; a negative that not all have
  said is told for 30 s at most;
- P97: data past its time has a TTL of 30 and says so; it is told when all that were asked have
  failed, or one has and the hold is over, or 1.8 s are, or to whoever asks within 5 s of that;
  never when somebody said better since it was asked; never longer than `--stale` after its end (b);
- "exact question": a reply belongs to its name, type, and flags; nobody's reply is made up (c);
- P96: data that LS surely knows is told, at once, unless a validator's word comes while tables are
  waited for; no failure that is kept is while there is data, fresh or stale; it is told for 5 s at
  most (d);
- I11: asked = answered + ..., as LS counts it, and as it is read and told (e);
- I7: the cache's bytes are within their bound at every step (f);
- a question goes to a resolver once in `join_s`, resends aside, however many ask it; calm ("one
  asking", g);
- "no way back": nothing is told that LS read before what it has told of the question, unless it is
  stale (h);
- P92: no special name reaches a resolver that it is not for, whatever happens (i); P93: what LS
  says of it itself is right, and a table may have it;
- P95: no resolver is asked for what is known; nothing that is kept is told once a table has
  answered, nor kept beyond that answer (j);
- P89: a bogus word ends what is open, and no data of that asking is told after it, now or later;
  P98: a late reply is told only where it is better than what was; P99: nothing is told that was
  kept before SIGUSR2.

A story has an LS with a cache or with none, of megabytes or of a few kilobytes; one to three
resolvers, public and private; tables, or none; askers by UDP and by lines that ask the same names
again and again, with all flags, special names among them, and names that are asked once. Resolvers
have moods, are cut off, stop, and move from an address of the network to one in the world.

At the end everything heals, everybody is answered, LS drains and leaves nothing.
"""

from dataclasses import dataclass, replace
from enum import Enum
from random import Random
from typing import Any, ClassVar

from core.bounds import Bounds
from core.io.frame_buffer import split_frames
from nodes.ls.link_state import LinkState
from nodes.ls.setup import OwnWordsSetup
from tests.sim.cache_account import Account
from tests.sim.cache_cast import (
    BOGUS_NAME,
    NAMES,
    NEAR,
    NETWORKS,
    NOBODYS,
    Saying,
    TimedResolver,
    Told,
    key,
    named,
    number_of,
    scope,
    take_apart,
)
from tests.sim.dns_story import DnsAsker, DnsStory
from tests.sim.invariants import TableWatch, hold
from tests.sim.scenes import Asker
from tests.sim.sockets import SimSocket
from tests.sim.world import DNS_PORT, Host, Observer, SimSystem, World
from tests.support.dns_clients import AAAA, A, query
from tests.support.dns_messages import AD, CD, DO, RD, TYPES, address, opt, section_of

PUBLIC = ["9.9.9.9", "1.1.1.1", "149.112.112.112"]
PRIVATE = ["192.168.1.1", "10.0.0.53", "172.16.3.4"]
_ELSEWHERE = "203.0.114.53"  # a public address that a private resolver moves to
_LAW_STEPS = 97  # between two looks at the conservation law
_MOODS = {
    "well": ["well"],
    "fails": ["well", "SERVFAIL", "REFUSED"],
    "silent": ["well", "silent"],
    "any": ["well", "well", "SERVFAIL", "REFUSED", "silent", "slow", "mixed"],
}
_LINES = 40  # bytes: any line with an address is longer


@dataclass(frozen=True)
class CacheShape:
    """The oddities of a story. `moves`: a resolver moves out of the network; `is_long`: it takes
    minutes, with little asked; `is_storm`: many ask the same at once."""

    cache_bytes: int
    stale_s: float
    leaked: tuple[bytes, ...]
    places: list[str]
    tables: int
    share: float | None
    moods: list[str]
    is_calm: bool
    is_long: bool
    is_storm: bool
    moves: bool
    is_sampled: bool  # races are watched to their end: then LS sends again what it has a reply to


def draw_cache_shape(seed: str) -> CacheShape:
    """Draw the shape of the story of this seed."""
    chance = Random(f"{seed}:shape")
    count = chance.choice([1, 2, 2, 3])
    kind = chance.choice(["public", "private", "mixed"])
    moves = chance.random() < 0.15
    public, private = chance.sample(PUBLIC, count), chance.sample(PRIVATE, count)
    places = {"public": public, "private": private}.get(kind, [*private[:1], *public[1:]])
    if moves and kind == "public":
        places = [*private[:1], *public[1:]]
    return CacheShape(
        cache_bytes=chance.choice([0, 6_000, 20_000, *[4 << 20] * 6]),
        stale_s=chance.choice([0.0, 3.0, 86_400.0, 86_400.0]),
        leaked=chance.choice([(), (), (), (b"home.arpa",), (b"test", b"168.192.in-addr.arpa")]),
        places=places,
        tables=chance.choice([0, 0, 0, 1, 2]),
        share=chance.choice([None, None, 0.0, 1.0]),
        moods=_MOODS[chance.choice(["well", "fails", "silent", "any", "any", "any"])],
        is_calm=chance.random() < 0.4,
        is_long=chance.random() < 0.15,
        is_storm=chance.random() < 0.3,
        moves=moves,
        is_sampled=chance.random() < 0.2,
    )


class Reports(Observer):
    """LS's log, which passes on what LS reads and says on streams."""

    def __init__(self, story: "CacheStory") -> None:
        super().__init__(story.world, "LS")
        self.story = story

    def received(self, conn: str, data: bytes) -> None:
        super().received(conn, data)
        self.story.read_stream(conn, data)

    def sent(self, conn: str, data: bytes) -> None:
        super().sent(conn, data)
        if conn.startswith("client-"):
            self.story.say_lines(conn, data)

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        super().changed(machine, old, new)
        for resolver in self.story.resolvers:
            if machine == f"link {resolver.name}":
                resolver.is_linked = new is LinkState.UP

    def report(self, text: str, *more: object) -> None:
        super().report(text, *more)
        if "cache" in text and "empt" in text:
            self.story.account.flushed()


class Regular(DnsAsker):
    """An asker that asks the same few names again and again. `questions`: what it asked, by ID."""

    def __init__(self, story: DnsStory, name: str) -> None:
        super().__init__(story, name)
        self.questions: dict[int, str] = {}

    def live(self) -> None:
        story, chance = self.story, self.chance
        assert isinstance(story, CacheStory)
        at, count = 0.2, chance.choice([20, 60])
        for _ in range(count):
            at += chance.expovariate(count / story.lasts_s)
            if at < story.lasts_s:
                story.world.at(at, self.ask)
        if story.shape.is_storm:
            for _ in range(6):
                story.world.at(chance.uniform(1.0, story.lasts_s), self.storm)

    def ask(self) -> None:
        for _ in range(self.chance.choice([1, 1, 3])):
            self.ask_this(self.story.draw_query(self.chance, self.asked + 1))

    def storm(self) -> None:
        """Ask one question many times."""
        message = self.story.draw_query(self.chance, 0)
        for _ in range(30):
            number = self.asked + 1
            self.ask_this(number.to_bytes(2) + message[2:])

    def ask_this(self, message: bytes) -> None:
        self.asked += 1
        self.open[self.asked] = message
        self.questions[self.asked] = key(message)
        self.send(self.asked, 2)


class CacheStory(DnsStory):
    """An LS before resolvers, of which it keeps what they say."""

    prefix = "cache"
    names: ClassVar[list[str]] = NAMES  # that resolvers know something about
    lines: ClassVar[list[str]] = [*NAMES[:4], *NAMES[:4], *NOBODYS[:6], *NETWORKS[:5]]
    bogus_most = 7  # of a resolver: it is surely believed (P90)
    tiers_s = 0.0  # how much longer it may take since some are asked after others
    account: Account
    losses = 0.0, 0.0, 0.1
    slack_s = 0.1
    heals_s = 20.0

    def __init__(self, number: int) -> None:
        super().__init__(number)
        chance, world = self.chance, self.world
        self.shape = self.draw_shape()
        self.lasts_s = 90.0 if self.shape.is_long else 10.0
        self.bounds = replace(
            Bounds(),
            dns_timeout_s=chance.choice([1.8, 4.5, 4.5]),
            datagrams_per_turn=chance.choice([3, 512]),
            dns_per_second=1_000_000,
            upstream_sockets=chance.choice([1, 4]),
            upstream_socket_s=chance.choice([0.5, 10.0]),
            plain_s=chance.choice([0.5, 600.0]),
        )
        world.twice = 0.0
        world.network.refused = 0.0  # LS says what it has to say in the turn in which it can
        if self.is_calm:
            world.lost, world.stray = 0.0, 1
            world.network.latency_s = min(world.network.latency_s, 0.02)
        self.account = self.make_account()
        self.changes = {name: self.draw_changes() for name in self.names}
        self.resolvers = [
            TimedResolver(self, n, self.host_at(place)) for n, place in enumerate(self.shape.places)
        ]
        self.by_place = {one.host.name: one for one in self.resolvers}
        for one in self.resolvers if self.is_calm else ():
            one.cuts, one.knows_edns = 0.0, True
        for each in range(self.shape.tables):
            self.add_table(each)
        self.start_ls()
        self.askers = [Regular(self, f"asker{n}") for n in range(chance.choice([2, 3]))]
        self.client = Asker(world, "client")
        self.read_at: dict[tuple[str, int, bytes], list[tuple[float, Saying | None]]] = {}
        self.lines_read: dict[tuple[str, str], list[tuple[float, Saying | None]]] = {}
        self.heard: dict[SimSocket, bytearray] = {}  # of streams, what is no whole message yet
        self.lines_asked = 0
        self.told = 0
        world.checks.append(self.check)
        self._steps = 0

    def draw_shape(self) -> CacheShape:
        return draw_cache_shape(self.seed)

    def make_account(self) -> Account:
        return Account(self)

    @property
    def is_calm(self) -> bool:
        return self.shape.is_calm and not self.shape.moves

    @property
    def races(self) -> bool:
        return self.shape.share is None

    @property
    def stale_s(self) -> float:
        return self.shape.stale_s

    @property
    def cache_bytes(self) -> int:
        return self.shape.cache_bytes

    @property
    def has_room(self) -> bool:
        """Whether nothing that is kept is thrown out."""
        return self.cache_bytes > 1 << 20

    @property
    def has_lost_streams(self) -> bool:
        return False

    def is_leaked(self, question: str) -> bool:
        """Return whether LS is to ask everybody for this special name."""
        asked = named(question)
        return any(
            asked == name or asked.endswith(f".{name}")
            for name in map(bytes.decode, self.shape.leaked)
        )

    def scope_of(self, question: str) -> str:
        """Return who may be asked for a question: "nobody", "network", or "all"."""
        return "all" if self.is_leaked(question) else scope(question)

    def own_code(self, question: str) -> int:
        """Return what LS says itself of a special name, where nobody is asked."""
        asked = named(question)
        is_local = asked in ("localhost", "www.localhost")
        return 0 if is_local or asked.endswith("resolver.arpa") else 3

    def resolvers_for(self, question: str) -> list[TimedResolver]:
        """Return the resolvers that may be asked this."""
        found = self.scope_of(question)
        return [
            one
            for one in self.resolvers
            if found == "all" or (found == "network" and not one.host.is_public)
        ]

    def has_row(self, line: str, addresses: set[bytes]) -> bool:
        """Return whether a table has these addresses for a line."""
        for watch in self.watches.values():
            row = watch.file.good.get(line.encode())
            if row is not None:
                texts = row.split(b" ")[1].decode().split(",")
                if addresses == set(map(address, texts)):
                    return True
        return False

    # -- the cast ----------------------------------------------------------------------------------

    def host_at(self, place: str) -> "Place":
        host = Place(self.world, place)
        self.world.hosts[place] = host
        return host

    def draw_changes(self) -> list[tuple[float, str]]:
        """Draw what becomes of a name in time."""
        chance = self.chance
        changes, at = [(-10.0, "data")], 0.0
        while chance.random() < 0.3 and at < self.lasts_s:
            at += chance.uniform(0.0, self.lasts_s / 2)
            changes.append((at, chance.choice(["data", "NXDOMAIN", "NOERROR"])))
        return changes

    def add_table(self, number: int) -> None:
        chance = self.chance
        rows = {}
        for row, name in enumerate([*NAMES, "x.test", "nas.home.arpa", "printer.local"]):
            if chance.random() < 0.4:
                rows[name.encode()] = f"{name} 172.31.{number}.{row} A IN\n".encode()
            if chance.random() < 0.2:
                line = f"{name} 2001:db9::{number}:{row} AAAA IN\n".encode()
                rows[f"{name} AAAA".encode()] = line
        host = self.world.host(f"TS{number + 1}")
        host.lag_s = chance.choice([0.0, 0.0, 0.004, 0.1])
        self.watches[host] = TableWatch(self.world, host.name, rows, chance.random() < 0.6)
        self.start_table(host, Bounds())

    def start_ls(self) -> None:
        shape = self.shape
        self.run_ls(
            self.make_log(),
            extra_load=shape.share,
            resolvers=[(2, (one.host.name, DNS_PORT)) for one in self.resolvers],
            secret=Random(f"{self.seed}:secret").randbytes,
            sample=0.5 if shape.is_sampled else 0.0,
            own_words=OwnWordsSetup(shape.cache_bytes, shape.stale_s, shape.leaked),
            **self.more_options(),
        )
        assert self.ls.datagrams is not None
        self.ls.datagrams.on_read = self.read_query
        self.ls.on_dialled_read = self.read_reply
        self.ls.on_stream_read = self.read_frames
        self.ls.on_dialled_sent = self.sent

    def make_log(self) -> Reports:
        return Reports(self)

    def more_options(self) -> dict[str, Any]:
        """Return what else LS is to be set up with."""
        return {}

    def draw_name(self, chance: Random) -> str:
        names = chance.choice([NAMES, NAMES, NAMES[:3], NOBODYS, NETWORKS, [*NEAR, BOGUS_NAME]])
        return chance.choice(names)

    def draw_query(self, chance: Random, number: int) -> bytes:
        name = self.draw_name(chance)
        if chance.random() < 0.2:
            name = f"{chance.choice('mu')}{chance.randrange(10_000)}.example"
        spelled = "".join(each.upper() if chance.random() < 0.2 else each for each in name)
        kind = chance.choice([A, A, A, A, AAAA, TYPES["MX"]])
        has_edns, bits = chance.random() < 0.6, chance.choice([0, DO])
        if not all(one.knows_edns for one in self.resolvers):
            bits = 0  # LS cannot ask them for that
        edns = opt(flags=bits) if has_edns else b""
        message = query(number % 65_536, spelled.encode(), kind, edns)
        flags = chance.choice([RD, RD, RD, RD, RD | CD, RD | AD, 0])
        return message[:2] + flags.to_bytes(2) + message[4:]

    # -- messages of LS ----------------------------------------------------------------------------

    def read_query(self, data: bytes, who: str) -> None:
        known = self.account.read_query(key(data))
        entry = who, int.from_bytes(data[:2]), section_of(data)
        self.read_at.setdefault(entry, []).append((self.world.t, known))

    def read_reply(self, data: bytes, place: str, port: int) -> None:
        resolver = self.by_place[place]
        saying = self.account.on_its_way.pop((resolver.name, port, data[:2]), None)
        if saying is not None:
            self.account.read_reply(saying)

    def read_frames(self, stream: SimSocket, data: bytes) -> None:
        """Take what LS reads of a resolver's stream."""
        assert stream.peer is not None
        resolver = self.by_place.get(stream.peer.host.name)
        if resolver is None:
            return
        heard = self.heard.setdefault(stream, bytearray())
        heard += data
        while (size := 2 + int.from_bytes(heard[:2])) <= len(heard):
            (message,) = split_frames(bytes(heard[:size]))
            del heard[:size]
            saying = self.account.on_its_way.pop((resolver.name, 0, message[:2]), None)
            if saying is not None:
                self.account.read_reply(saying)

    def read_stream(self, conn: str, data: bytes) -> None:
        """Take what LS reads of a client of lines, or a table."""
        for line in data.decode().splitlines():
            if conn.startswith("TS"):
                words = line.lower().split(" ")
                asked = words[0] + " AAAA" * (words[2:3] == ["aaaa"])
                self.account.read_table(asked, conn, is_answer=line.endswith(" IN"))
            elif conn.startswith("client-") and line:
                name, _, kind = line.partition(" ")
                question = f"{name.lower()} {kind}".rstrip()
                known = self.account.read_query(question)
                self.lines_read.setdefault((conn, question), []).append((self.world.t, known))

    def say_lines(self, conn: str, data: bytes) -> None:
        for line in data.decode().splitlines():
            if line in ("BYE", "PONG"):
                continue
            spelled, _, why = line.partition(" - ")
            told = Told(0, [], set(), set(), set(), is_line=True)
            if why:
                told.code = {"NOT FOUND": 3, "NO DATA": 0}.get(why, 2)
            else:
                spelled, addresses, kind, _ = line.split(" ")
                spelled += " AAAA" * (kind == "AAAA")
                told.addresses = set(map(address, addresses.split(",")))
                numbers = [number_of(1 if len(one) == 4 else 28, one) for one in told.addresses]
                told.numbers = {number for number in numbers if number is not None}
            name, _, kind = spelled.partition(" ")
            question = f"{name.lower()} {kind}".rstrip()
            asked_at, known = self.lines_read[conn, question].pop(0)
            self.account.judge(question, told, asked_at, known)

    def sent(self, data: bytes, place: str, port: int) -> None:
        resolver = self.by_place[place]
        self.account.sent_at[resolver.name, port, data[:2]] = self.world.t
        self.account.sent(resolver, key(data))

    def judge(self, data: bytes, who: str, asked_at: float) -> None:
        section = section_of(data)
        asked_at, known = self.read_at[who, int.from_bytes(data[:2]), section].pop(0)
        question = self.question_of(data, who)
        self.told += 1
        self.account.judge(question, take_apart(data), asked_at, known)

    def question_of(self, data: bytes, who: str) -> str:
        """Return the question that a reply is for, with all flags: those of its query."""
        asker = next(one for one in self.askers if one.host.name == who)
        assert isinstance(asker, Regular)
        return asker.questions[int.from_bytes(data[:2])]

    def check(self) -> None:
        """Check after each step what LS counts."""
        self._steps += 1
        if self.ls.loop is None:
            return
        cache = self.brain.parts.cache
        if cache is not None:
            values = {value.key: value.value for value in cache.metrics()}
            held = values["cache_bytes"]
            hold(0 <= held <= self.cache_bytes, "I7", f"{held} bytes are kept")
        if self._steps % _LAW_STEPS == 0:
            self.check_law()

    def check_law(self) -> None:
        values = {value.key: value.value for value in self.brain.metrics()}
        ends = ("answered", "not_found", "no_data", "failed", "timed_out", "dropped", "pending")
        parts = {end: values[end] for end in ends}
        hold(values["asked"] == sum(parts.values()), "I11", f"{values['asked']} is not {parts}")

    # -- the story ---------------------------------------------------------------------------------

    def suffer(self, what: str, host: Host) -> None:
        world = self.world
        until = world.t + self.chance.uniform(0.1, 4.0)
        match what:
            case "stop":
                self.by_place[host.name].stop(until)
            case "kill" if self.watches:
                self.chance.choice(list(self.watches)).die(silently=False)
            case "start":
                for table in self.watches:
                    self.start_table(table, Bounds())
            case "deaf" if self.watches:
                world.cut(self.chance.choice(list(self.watches)), self.ls, until)
            case "flush":
                self.ls.ring(SimSystem.flush)
            case "reload":
                self.ls.ring(SimSystem.hangup)
            case _:
                super().suffer(what, host)

    def move_out(self) -> None:
        """Let a resolver of the network move to an address in the world, and LS hear of it."""
        host, now = self.resolvers[0].host, self.world.t
        self.resolvers[0].down.append((now, now + 1.0))  # LS parts from it, to ask it there
        host.move_away(_ELSEWHERE)
        self.world.at(self.world.t + 0.2, lambda: self.ls.ring(SimSystem.hangup))

    def live(self) -> None:
        world, chance = self.world, self.chance
        for asker in self.askers:
            asker.live()
        world.at(0.3, lambda: self.client.dial(self.ls))
        for _ in range(chance.choice([3, 15])):
            world.at(chance.uniform(0.5, self.lasts_s), self.ask_lines)
        kinds = ["stop", "cut", "silence", "pause LS", "lose", "kill", "start", "deaf", "reload"]
        if self.shape.moves:
            world.at(chance.uniform(1.0, self.lasts_s), self.move_out)
        for _ in range(chance.choice([0, 1, 3])):
            what, host = chance.choice([*kinds, "flush"]), chance.choice(self.resolvers).host
            if not self.is_calm or what in ("flush", "reload", "start"):
                at = chance.uniform(0, self.lasts_s)
                world.at(at, lambda what=what, host=host: self.suffer(what, host))

    def ask_lines(self) -> None:
        chance = self.chance
        for _ in range(chance.choice([1, 4])):
            self.lines_asked += 1
            line = chance.choice(self.lines) + chance.choice(["", "", " AAAA"])
            self.client.say(f"{line}\n".encode())

    def become_whole(self) -> None:
        for host in self.watches:
            self.start_table(host, Bounds())
        super().become_whole()
        left = {one: times for one, times in self.lines_read.items() if times}
        lines = bytes(self.client.heard).splitlines()
        hold(not left and len(lines) == self.lines_asked, "P7", f"no reply to {left}")
        self.check_law()
        values = {value.key: value.value for value in self.brain.metrics()}
        asked, read = values["asked"], self.account.read
        hold(asked == read == self.account.replied, "I11", f"{asked} asked, {read} read")
        hold(not self.brain.parts.upstreams.barred.withheld, "I8", "questions are withheld")
        if self.brain.parts.cache is not None:
            for what in ("stale", "repaired", "evicted"):
                if values[what]:
                    self.world.saw(f"the cache counts {what}")
        self.client.end()


class Place(Host):
    """A host at a numeric address, which is out in the world or not."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)

    @property
    def is_public(self) -> bool:
        return self.address in (*PUBLIC, _ELSEWHERE)
