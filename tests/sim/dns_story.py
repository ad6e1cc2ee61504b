"""Stories of DNS askers in the simulator: datagrams that are lost, overtaken and doubled.

A `DnsStory` has an LS with a DNS front end and askers by UDP that ask again when nothing comes;
what LS asks is up to the kind of story. Checked all the while, at LS's own socket:

- each reply goes to whoever sent a query with its ID and its question, spelled as it was;
- every query that arrives gets exactly one, once all is well again, and in time (P29).

A `TableStory` has two or three TSs, and an asker by a stream that is cut anywhere. TSs die,
return, pause and are cut off. Checked of each reply:

- its addresses are a row of some TS; NXDOMAIN only of what no TS has;
- SERVFAIL no sooner than `dns_timeout_s` after the query;
- it is no longer than a datagram may be (P31).

Not here: lines as such (`tests/sim/stories.py`), and resolvers (`tests/sim/resolver_story.py`).
"""

from random import Random
from typing import Any

from core.bounds import Bounds
from core.io.frame_buffer import frame, split_frames
from nodes.dns.codes import UDP_BYTES_MAX, Rcode
from nodes.ls.load_balancer import LoadBalancer
from tests.sim.invariants import TableWatch, hold
from tests.sim.scenes import Asker
from tests.sim.sockets import DNS_PORT, SimDatagrams
from tests.sim.story import Story, run_ls
from tests.sim.world import Host, Observer
from tests.support.dns_clients import AAAA, A, Reply, query
from tests.support.dns_messages import TYPES, section_of

MX = TYPES["MX"]
NAMES = [b"n%d.example" % n for n in range(8)]
UNKNOWN = [b"u0.org", b"u1.org", b"example"]  # the last one is above all names


class DnsAsker:
    """An asker by UDP that asks the same again when nothing comes."""

    def __init__(self, story: "DnsStory", name: str) -> None:
        self.story = story
        self.host = story.world.host(name)
        self.host.on_touch = self.poll
        self.socket = SimDatagrams(self.host)
        self.chance = Random(f"{story.seed}:{name}")
        self.open: dict[int, bytes] = {}  # queries without a reply, by ID
        self.asked = 0

    def live(self) -> None:
        at = 0.2
        for _ in range(self.chance.choice([3, 10, 40])):
            at += self.chance.expovariate(4)
            self.story.world.at(at, self.ask)

    def ask(self) -> None:
        for _ in range(self.chance.choice([1, 1, 5])):
            self.asked += 1
            self.open[self.asked] = self.story.draw_query(self.chance, self.asked)
            self.send(self.asked, 3)

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
            self.done(Reply(data).number)

    def done(self, number: int) -> None:
        """Do not wait for a reply to this any more."""
        self.open.pop(number, None)


class Stream(Asker):
    """An asker over TCP that sends all of it, cut anywhere, and then the end."""

    def __init__(self, story: "DnsStory") -> None:
        chance = Random(f"{story.seed}:stream")
        super().__init__(story.world, "stream", chance)
        self.leaves = True
        count = chance.choice([2, 20, 60])
        self.sent = {number: story.draw_query(chance, number) for number in range(1, count)}
        self.say(b"".join(map(frame, self.sent.values())))
        self.end()
        self.world.at(0.3, lambda: self.dial(story.ls, DNS_PORT))

    def replies(self) -> list[bytes]:
        """Return the replies, at the end: one for each query."""
        hold(self.has_ended, "I6", "the stream has not ended")
        said = split_frames(bytes(self.heard))
        hold(sorted(Reply(d).number for d in said) == list(self.sent), "P29", "not one a query")
        for data in said:
            asked = self.sent[Reply(data).number]
            hold(section_of(data) == section_of(asked), "P29", "another question")
        return said


class DnsStory(Story):
    """An LS with a DNS front end, and askers by UDP."""

    losses: tuple[float, ...]  # how often datagrams may be lost
    slack_s: float  # of LS's turns, and of what holds one up
    heals_s: float  # the time until all is well after it has healed
    brain: LoadBalancer
    bounds: Bounds

    def __init__(self, number: int) -> None:
        super().__init__(number)
        chance = self.chance = Random(self.seed)
        self.world.network.room = max(self.world.network.room, 4_000)
        self.world.lost = chance.choice(self.losses)
        self.world.twice = chance.choice([0.0, 0.2])
        self.was_disturbed = False  # LS, by a pause or a crowd
        # Queries that arrived and were not replied to, by who asked, ID and question; with times.
        self.owed: dict[tuple[str, int, bytes], list[float]] = {}
        self.askers: list[DnsAsker] = []

    def run_ls(self, observer: Observer, **options: Any) -> None:  # noqa: ANN401
        """Start LS before the TSs, and come between it and its askers."""
        tables = [host.name for host in self.watches]
        self.brain = run_ls(
            self.ls, self.bounds, observer, tables, self.seed, with_dns=True, **options
        )
        assert self.ls.datagrams is not None
        self.ls.datagrams.on_arrival = self.arrived
        self.ls.datagrams.on_sent = self.said

    def draw_query(self, chance: Random, number: int) -> bytes:
        """Draw the next query of an asker."""
        name = chance.choice([*NAMES, *NAMES, *UNKNOWN])
        spelled = bytes(byte ^ 32 * (chance.random() < 0.3) if byte > 64 else byte for byte in name)
        return query(number, spelled, chance.choice([A, A, A, AAAA, MX]))

    # -- the invariants ----------------------------------------------------------------------------

    def arrived(self, data: bytes, who: str) -> None:
        """Take note of a query that came to LS."""
        key = who, int.from_bytes(data[:2]), section_of(data)
        self.owed.setdefault(key, []).append(self.world.t)

    def said(self, data: bytes, who: str) -> None:
        """Check a reply of LS's."""
        reply, section = Reply(data), section_of(data)
        waiting = self.owed.get((who, reply.number, section))
        hold(waiting, "P29", f"{who} is owed nothing like {data!r}")
        assert waiting is not None
        asked_at = waiting.pop(-1 if self.is_of_a_copy(reply, waiting[0]) else 0)
        took_s = self.world.t - asked_at
        is_in_time = took_s <= self.bounds.dns_timeout_s + self.slack_s
        hold(is_in_time or self.was_disturbed, "P29", f"a reply after {took_s:.3f} s")
        self.world.saw(f"DNS hears {Rcode(reply.code).name}" + " and data" * bool(reply.addresses))
        self.judge(data, who, asked_at)

    def is_of_a_copy(self, reply: Reply, asked_at: float) -> bool:
        """Return whether it is not for the first of those who wait, which was asked then."""
        return False

    def judge(self, data: bytes, who: str, asked_at: float) -> None:
        """Check that a reply may be what it is."""
        raise NotImplementedError

    # -- the story ---------------------------------------------------------------------------------

    def suffer(self, what: str, host: Host) -> None:
        """Let something go wrong, with this host if with one."""
        world, until = self.world, self.world.t + self.chance.uniform(0.1, 4.0)
        match what:
            case "cut":
                world.cut(self.ls, host, until)
            case "silence":
                world.cut(host, self.ls, until)
            case "pause":
                host.paused_until = until
            case "pause LS":
                self.was_disturbed = True
                self.ls.paused_until = until
            case "lose":
                world.lost = 0.9
                world.at(until, lambda: setattr(world, "lost", 0.0))

    def become_whole(self) -> None:
        self.world.run_until(self.world.t + self.heals_s)
        left = {key: times for key, times in self.owed.items() if times}
        hold(not left, "P29", f"no reply to {left}")

    def leave(self) -> None:
        super().leave()
        hold(self.ls.exit_code == 0, "I14", f"LS ended with {self.ls.exit_code}")
        hold(not self.brain.parts.questions.all_open(), "I8", "questions are left")


class TableStory(DnsStory):
    """An LS before table servers."""

    prefix = "dns"
    losses = 0.0, 0.1, 0.4
    slack_s = 0.5
    heals_s = 40.0

    def __init__(self, number: int) -> None:
        super().__init__(number)
        chance = self.chance
        self.bounds = Bounds(
            datagrams_per_turn=chance.choice([1, 7, 512]),
            pending_per_client_max=chance.choice([10, 65_536]),
            stream_pending_max=chance.choice([2, 128]),
            dns_per_second=1_000_000,
        )
        self.early = 0  # SERVFAILs that are not about time
        for each in range(chance.choice([2, 3])):
            self.add_server(each)
        share = chance.choice([None, None, 0.0, 0.05, 1.0])
        self.run_ls(Observer(self.world, "LS"), extra_load=share)
        self.known = set().union(*(watch.file.good for watch in self.watches.values()))
        self.askers = [DnsAsker(self, f"asker{n}") for n in range(chance.choice([1, 3]))]
        self.stream = Stream(self)

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
        host.lag_s = chance.choice([0.0, 0.0, 0.03, 0.4])
        is_frank = chance.random() < 0.7
        self.watches[host] = TableWatch(self.world, host.name, table, is_frank)
        self.start_table(host, Bounds())

    def judge(self, data: bytes, who: str, asked_at: float) -> None:
        reply, kind = Reply(data), section_of(data)[-4:-2]
        took_s = self.world.t - asked_at
        if who != self.stream.host.name:
            hold(len(data) <= UDP_BYTES_MAX, "P31", f"a reply of {len(data)} bytes")
        name = reply.name.lower()
        question = name + b" AAAA" if kind == AAAA.to_bytes(2) else name
        is_known = not self.known.isdisjoint((name, name + b" AAAA"))
        is_known = is_known or any(b".%b " % name in other + b" " for other in self.known)
        if reply.addresses:
            rows = [watch.file.good.get(question, b" ") for watch in self.watches.values()]
            said = [set(row.split(b" ")[1].decode().split(",")) for row in rows]
            hold(set(reply.addresses) in said, "I3", f"{reply.addresses} for {question!r}")
            hold(kind != MX.to_bytes(2), "I3", "addresses for another type")
        elif reply.code == Rcode.NOERROR:
            hold(is_known, "I3", f"an empty answer for {name!r}, which nobody has")
        elif reply.code == Rcode.NXDOMAIN:
            hold(not is_known, "I3", f"NXDOMAIN for {name!r}")
        else:
            hold(reply.code == Rcode.SERVFAIL, "I3", f"code {reply.code}")
            if took_s < self.bounds.dns_timeout_s - 1e-6:
                self.early += 1
                most = self.brain.env.hits["pending_per_client_max"]
                hold(self.early <= most, "I3", f"SERVFAIL after {took_s} s")

    def is_of_a_copy(self, reply: Reply, asked_at: float) -> bool:
        """SERVFAIL before the time is for a copy of a query for which there was no room."""
        is_early = self.world.t - asked_at < self.bounds.dns_timeout_s - 1e-6
        return is_early and reply.code == Rcode.SERVFAIL

    # -- the story ---------------------------------------------------------------------------------

    def suffer(self, what: str, host: Host) -> None:
        if what == "kill":
            host.die(silently=False)
        elif what == "start":
            self.start_table(host, Bounds())
        else:
            super().suffer(what, host)

    def live(self) -> None:
        for asker in self.askers:
            asker.live()
        if self.bounds.stream_pending_max < 128:
            self.was_disturbed = True  # the rest, not read, waits in the kernel
        chance = self.chance
        for _ in range(chance.choice([0, 1, 4])):
            kinds = ["kill", "start", "cut", "silence", "pause", "pause LS", "lose"]
            what, host = chance.choice(kinds), chance.choice(list(self.watches))
            at = chance.uniform(0, self.lasts_s)
            self.world.at(at, lambda what=what, host=host: self.suffer(what, host))

    def become_whole(self) -> None:
        for host in self.watches:
            self.start_table(host, Bounds())
        super().become_whole()
        self.check_stream()
        asker = self.askers[0]
        asker.open = {60_000: query(60_000, min(self.known).split(b" ")[0])}
        asker.send(60_000, 1)
        self.world.run_until(self.world.t + 10.0)
        hold(not asker.open, "P29", "the last query has no reply")

    def check_stream(self) -> None:
        stream = self.stream
        for data in stream.replies():
            self.judge(data, stream.host.name, self.world.t - self.bounds.dns_timeout_s)
