"""Stories of LS that asks by routes and by tiers, in the simulator.

The cast is that of the stories of the cache (`tests/sim/cache_story.py`), and all that is checked
there is checked here; besides, by a model of its own (`tests/sim/tier_account.py`):

- P107: no resolver sees a question whose name belongs to others, whatever happens; LS's own `. NS`
  aside;
- P104: no server of a later tier is asked while one of an earlier tier has said whether there is
  such a name, nor before `tier_s`, unless all of those are down, known to be silent, or have said
  nothing about the name; nothing that is said before its turn is told;
- P105: the next tier is asked when `tier_s` is over, and as soon as all have said nothing; calm,
  nothing times out that somebody would have answered in a race;
- P106: nobody hears of a failure, of old data, or that no table has a name, while there is a tier
  that was not asked;
- P33: data is told as soon as it has come;
- I8: nothing is kept of turns.

A story has one to four resolvers, some for the names of routes alone; none to three tables: some
are silent about what they do not have, some say so, some block names, some are slow. Routes are
nested, lead to nobody, or back to the default, and go over special names. There are up to three
tiers, of any servers, or none; then some hedge. At the end LS drains while questions are open.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, ClassVar

from core.bounds import Bounds
from core.protocol.messages import Answer, NoAnswer, ProtocolError, Question, parse_reply
from core.protocol.names import Type, fold
from core.text import split_lines
from nodes.ls.link_state import LIVE
from nodes.ls.tiers.tier_policy import TierPolicy
from nodes.ts.block_list import BLOCK_WITH, BlockList, BlockWith
from nodes.ts.table import Table
from tests.sim.cache_account import Account
from tests.sim.cache_cast import BOGUS_NAME, NAMES, NEAR, NETWORKS, NOBODYS, named, scope
from tests.sim.cache_story import (
    PRIVATE,
    PUBLIC,
    CacheShape,
    CacheStory,
    Reports,
    draw_cache_shape,
)
from tests.sim.invariants import TableWatch, hold
from tests.sim.tier_account import TierAccount
from tests.sim.world import World
from tests.support.dns_messages import address

CORP = ["corp.example", "a.corp.example", "b.a.corp.example", "pub.corp.example",
        "x.pub.corp.example"]  # fmt: skip
_ROUTES = [*CORP[:2], *CORP[:4], "n1.example", "n2.example", "example", "test", "x.test", "local",
           "home.arpa", "nas.home.arpa", "arpa", "in-addr.arpa", "10.in-addr.arpa", "localhost",
           "invalid", "resolver.arpa", "internal"]  # fmt: skip
_FRANK_S = 1.5  # at most: a well resolver says something within so long

Belongs = tuple[str, ...] | None


@dataclass(frozen=True)
class TierShape(CacheShape):
    """As that of a story of the cache, with `routes`, by name, the resolvers that are for these
    alone, and the tiers of servers that are not in the first."""

    routes: dict[str, Belongs]
    routed: frozenset[str]
    tiers: dict[str, int]


def draw_tier_shape(seed: str) -> TierShape:
    """Draw the shape of the story of this seed."""
    shape = vars(draw_cache_shape(seed))
    chance = Random(f"{seed}:tiers")
    count, tables = chance.choice([1, 2, 3, 3, 4]), chance.choice([0, 1, 1, 2, 3])
    places = chance.sample([*PUBLIC, *PRIVATE], count)
    if shape["moves"]:
        places[0] = chance.choice(PRIVATE[:1])
        places[1:] = chance.sample(PUBLIC, min(count - 1, len(PUBLIC)))
    names = [f"DNS{n + 1}" for n in range(len(places))]
    routes: dict[str, Belongs] = {}
    for name in chance.sample(_ROUTES, chance.choice([0, 1, 3, 6])):
        to = chance.sample(names, chance.randint(1, len(names)))
        routes[name] = chance.choice([tuple(to), tuple(to), tuple(to), (), None])
    behind = sorted({one for to in routes.values() for one in to or ()})
    routed = frozenset(one for one in behind if chance.random() < 0.3)
    tiers: dict[str, int] = {}
    kind = chance.choice(["none", "tables first", "tables first", "any", "any", "resolvers first"])
    for server in [*[f"TS{n + 1}" for n in range(tables)], *names]:
        is_table = server.startswith("TS")
        first = {"none": 1, "any": chance.randint(1, 3), "tables first": 1 if is_table else 2}
        tier = first.get(kind, 2 if is_table else chance.randint(1, 2))
        if tier > 1 and server not in routed:
            tiers[server] = tier
    share = None if tiers else chance.choice([None, None, 0.0, 1.0])
    own: dict[str, Any] = {"tables": tables, "places": places, "share": share}
    own["cache_bytes"] = chance.choice([0, 0, 20_000, 4 << 20])
    own["is_long"] = shape["is_long"] and chance.random() < 0.3
    return TierShape(**{**shape, **own}, routes=routes, routed=routed, tiers=tiers)


class TierReports(Reports):
    """LS's log, which passes on what LS asks tables, and how its links stand."""

    story: "TierStory"

    def sent(self, conn: str, data: bytes) -> None:
        super().sent(conn, data)
        for line in split_lines(data) if conn.startswith("TS") else ():
            if line not in (b"PING", b"QUIT"):
                self.story.tiers.sent_line(conn, line.decode())

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        super().changed(machine, old, new)
        kind, _, name = machine.rpartition(" ")
        if kind == "link":
            self.story.tiers.linked(name, new in LIVE)


class BlockWatch(TableWatch):
    """An honest TS that blocks these names, and all below them."""

    def __init__(
        self, world: World, name: str, blocked: list[str], is_frank: bool, block_with: BlockWith
    ) -> None:
        super().__init__(world, name, {}, is_frank)
        self.blocked = blocked
        self.block_with = block_with

    def make_table(self) -> Table:
        table = BlockList(self.block_with)
        for name in map(str.encode, self.blocked):
            table.by_length[len(name)][name] = b""
        return table

    def sent(self, conn: str, data: bytes) -> None:
        """Note it: what it says is not looked at closely."""
        self._note(f"{self.name} < {conn} {data!r}")


class TierStory(CacheStory):
    """An LS before resolvers and tables, in tiers, with routes."""

    prefix = "tiers"
    names: ClassVar[list[str]] = [*NAMES, *CORP]
    lines: ClassVar[list[str]] = [*NAMES[:4], *CORP, *NOBODYS[:6], *NETWORKS[:5]]
    bogus_most = 4  # each may be said twice
    shape: TierShape
    tiers: TierAccount

    def draw_shape(self) -> CacheShape:
        shape = draw_tier_shape(self.seed)
        self.tables = [f"TS{n + 1}" for n in range(shape.tables)]
        servers = [*self.tables, *[f"DNS{n + 1}" for n in range(len(shape.places))]]
        numbers = {server: shape.tiers.get(server, 1) for server in servers}
        default = [numbers[name] for name in servers if name not in (*self.tables, *shape.routed)]
        for name in shape.routed:  # where the first of them is that is asked for all names
            numbers[name] = min(default, default=max(shape.tiers.values(), default=1))
        order = sorted(set(numbers.values())) if shape.tiers else [1]
        self._tier_of = {server: order.index(number) for server, number in numbers.items()}
        waits = len(order) if shape.tiers else 0  # LS itself comes last
        self.tiers_s = waits * (Bounds().tier_s + Bounds().grace_failed_s)
        self.failed_s = Bounds().failure_kept_s + self.tiers_s
        return shape

    def make_account(self) -> Account:
        self.tiers = TierAccount(self)
        return self.tiers

    def make_log(self) -> Reports:
        return TierReports(self)

    def more_options(self) -> dict[str, Any]:
        shape = self.shape
        routes = {name.encode(): to for name, to in shape.routes.items()}
        return {"routes": routes, "routed": shape.routed, "tiers": shape.tiers}

    def tier_of(self, server: str) -> int:
        """Return the tier of a server, counted from 0."""
        return self._tier_of[server]

    def is_barred(self, server: str, question: str) -> bool:
        """Return whether LS thinks that a server is not to be asked this yet."""
        upstreams = self.brain.parts.upstreams
        return bool(upstreams.barred.of(question.encode()) & upstreams.link(server).bit)

    # -- routes ------------------------------------------------------------------------------------

    def route_of(self, question: str) -> Belongs:
        """Return the resolvers of the longest route that a question is about, or is below; None:
        it is as if there were none."""
        labels = named(question).split(".")
        for at in range(len(labels)):
            name = ".".join(labels[at:])
            if name in self.shape.routes:
                return self.shape.routes[name]
        return None

    def scope_of(self, question: str) -> str:
        belongs = self.route_of(question)
        if belongs is None:
            return "all" if self.is_leaked(question) else scope(question)
        return "all" if belongs else "nobody"

    def own_code(self, question: str) -> int:
        return super().own_code(question) if self.route_of(question) is None else 3

    def resolvers_for(self, question: str) -> list[Any]:
        belongs = self.route_of(question)
        if belongs is not None:
            return [one for one in self.resolvers if one.name in belongs]
        routed = self.shape.routed
        return [one for one in super().resolvers_for(question) if one.name not in routed]

    # -- the cast ----------------------------------------------------------------------------------

    def add_table(self, number: int) -> None:
        super().add_table(number)
        chance = Random(f"{self.seed}:table{number}")
        host, watch = list(self.watches.items())[-1]
        host.lag_s = chance.choice([0.0, 0.0, 0.004, 0.1, 0.3, 0.7])
        if chance.random() < 0.4:
            host.die(silently=False)
            blocked = [name for name in [*self.names, *NOBODYS] if chance.random() < 0.2]
            block_with = chance.choice([BLOCK_WITH, BlockWith({})])
            is_frank = watch.is_frank
            self.watches[host] = BlockWatch(self.world, host.name, blocked, is_frank, block_with)
            self.start_table(host, Bounds())

    def draw_name(self, chance: Random) -> str:
        names = [self.names, CORP, CORP, NOBODYS, NETWORKS, [*NEAR, BOGUS_NAME]]
        return chance.choice(chance.choice(names))

    def has_row(self, line: str, addresses: set[bytes]) -> bool:
        for watch in self.watches.values():
            if isinstance(watch, BlockWatch):
                type_ = Type.AAAA if line.endswith(" AAAA") else Type.A
                blocked = watch.block_with.addresses.get(type_, b"")
                if blocked and addresses == {address(blocked.decode())}:
                    return True
        return super().has_row(line, addresses)

    def would_answer(self, server: str, question: str, asked_at: float) -> bool:
        """Return whether a server that is there says something of this that is more than that it
        cannot say, so soon that it is within the time of a question less those of all tiers."""
        if server in self.tables:
            host = next(host for host in self.watches if host.name == server)
            rows = self.watches[host].file.good
            return question.encode() in rows and host.lag_s <= 0.1
        resolver = next(one for one in self.resolvers if one.name == server)
        moods = {resolver.mood_at(asked_at)}
        moods.update(mood for at, mood in resolver.moods if asked_at - 1.0 <= at <= self.world.t)
        return moods == {"well"}

    # -- messages of LS ----------------------------------------------------------------------------

    def read_stream(self, conn: str, data: bytes) -> None:
        super().read_stream(conn, data)
        for line in split_lines(data) if conn.startswith("TS") else ():
            try:
                reply = parse_reply(line)
            except ProtocolError:
                continue
            match reply:
                case Answer(spelling, _, kind):
                    self.tiers.read_word(conn, fold(spelling, kind).decode(), None)
                case NoAnswer(Question(spelling, kind), why):
                    self.tiers.read_word(conn, fold(spelling, kind).decode(), why)

    def check(self) -> None:
        super().check()
        self.tiers.after_step()

    # -- the story ---------------------------------------------------------------------------------

    def live(self) -> None:
        super().live()
        for one in self.resolvers:
            one.host.says_twice = not self.is_calm and self.chance.random() < 0.2

    def become_whole(self) -> None:
        super().become_whole()
        parts = self.brain.parts
        policy, barred = parts.policy, parts.upstreams.barred
        hold(not barred.later, "I8", "questions wait for their tier")
        hold(not policy.waiting, "I8", "links wait to be asked")
        hold(parts.negatives.is_empty, "I8", "negatives are kept")
        if isinstance(policy, TierPolicy):
            hold(policy.due > 1e9 and policy.is_empty, "I8", "turns are kept")

    def leave(self) -> None:
        """Drain everything while questions are open, which have their replies all the same."""
        self.world.stray = 1
        for asker in self.askers:
            for _ in range(10):
                asker.ask()
        self.world.run_until(self.world.t + 2 * self.world.network.latency_s)
        for asker in self.askers:
            asker.open.clear()  # it asks no more
        if any(self.owed.values()):
            self.world.saw("LS drains while questions are open")
        super().leave()
        left = {key: times for key, times in self.owed.items() if times}
        hold(not left, "P29", f"no reply to {left}")
