"""Stories of LS before resolvers, in the simulator: what is late, cut, forged, lost and doubled.

Besides what is checked in all stories of DNS askers (`tests/sim/dns_story.py`):

- a reply has an OPT record if the query had one, and is never FORMERR or NOTIMP (P48);
- nothing that was forged, malformed, or about something else is ever told (P35);
- data is told as soon as it has come (P33), and nothing worse than the best that has come;
- anything worse than data is told within the longest grace of its coming (P33);
- no name is denied that a table has shown to exist, while its question was open (P42);
- "first good answer", in halves and old, load, moves and elsewhere: data that one of the resolvers
  has is told, and nothing else;
- "no overflow", calm: no resolver's socket overflows; LS does not send more than is read;
- "no guesses", honest: LS does not report that somebody guesses; a copy is none, nor is what is
  late; "no streams", honest: no resolver is dialled over TCP unless it has cut a reply;
- a name that a validator says to be bogus ends at once, with its word (P89), unless it says that of
  everything (P90), bogus; no private address is told of a resolver that may have none (P91),
  private;
- "refused at once", closed: once a port is closed, nobody waits for it; once it is open again,
  nobody is refused.

A story has an LS, one to three resolvers, sometimes a TS, askers by UDP that ask again, and a
client of lines. Each resolver has a temper: how long it takes, and how often it fails, refuses,
says nothing, says it twice, says it much too late, or says what is no reply to its question; on
some a forger speaks, who has the resolver's address, knows LS's ports, and guesses IDs. Resolvers
fall silent, pause, and are cut off. Some stories have another shape
(`tests/sim/resolver_shapes.py`): a load, halves of the names, copies, a freeze.

At the end everything heals and everybody is answered; LS keeps nothing of what it asked, drains,
and leaves nothing. Not here: which reply is malformed (`tests/nodes/test_reply_matcher.py`).
"""

import errno
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from core.addresses import DATAGRAM_BYTES_MAX
from core.bounds import Bounds
from core.io.frame_buffer import frame, split_frames
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.link_state import LinkState
from nodes.ls.race_samples import RaceSamples
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.resolvers.tries import TRY
from tests.sim.dns_story import NAMES, UNKNOWN, DnsAsker, DnsStory
from tests.sim.invariants import TableWatch, hold
from tests.sim.resolver_shapes import (
    CALM_LATENCY_S,
    KINDS,
    LOAD_TAKES_S,
    PRIVATE,
    PUBLIC,
    RATES,
    ROOMS,
    Crowd,
    draw_habits,
    draw_shape,
    forgery,
    is_forged,
    owner,
    public_or_private,
    truth,
)
from tests.sim.scenes import Asker, Speaker
from tests.sim.sockets import SimDatagrams, SimSocket, SlowReader
from tests.sim.world import DNS_PORT, Host, Observer, SimSystem, World
from tests.support.balancers import part_of
from tests.support.dns_clients import Reply, query
from tests.support.dns_messages import (
    BOGUS,
    CODES,
    TO_QUESTION,
    address,
    malformed,
    opt,
    question_of,
    record,
    reply,
    said,
    section_of,
)

FORGED = "10.6.6.6"
FORGED_BYTES = address(FORGED)
# More is better. A referral is as good as REFUSED, and told as SERVFAIL.
RANKS = {"data": 4, "NOERROR": 3, "NXDOMAIN": 2, "REFUSED": 1, "REFERRAL": 1, "SERVFAIL": 0}
_CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
_FORGES_UNTIL_S = 8.0
_SLACK_S = 0.1  # of turns, and of datagrams that wait to be read
_READ_S = 0.01  # LS has read a query so long after it came
REFUSED_S = 0.3  # within so long after a port was closed, or opened again, LS knows
_LATELY_S = 2.0
_BELIEVED_REPLIES, _BELIEVED_BOGUS = 200, 10  # no more of the last ones than this are bogus
_ASIDE = 3  # replies that LS may read in another order than they came
_BAD = ("another ID", "another question", "malformed", "no reply")


@dataclass
class Said:
    """A good reply that is on its way, by the port and the ID that it goes to."""

    section: bytes
    question: bytes


class FakeResolver:
    """A host that is asked, and has a temper."""

    def __init__(self, story: "ResolverStory", number: int) -> None:
        self.story = story
        self.number = number
        self.chance = chance = Random(f"{story.seed}:resolver{number}")
        self.host = story.world.host(f"DNS{number + 1}")
        self.host.on_touch = self.poll
        self.socket = SimDatagrams(self.host)
        self.reader = SlowReader(self.socket, self.take, None)
        self.unsaid: list[tuple[bytes, int]] = []  # while it is frozen
        self.has_cut = False
        listener = SimSocket(self.host, is_listening=True)
        self.host.dns_listener = listener if chance.random() < 0.8 else None
        self.links: list[Speaker] = []  # streams of LS to it
        self.takes_s = chance.choice([0.001, 0.01, 0.05, 0.3])
        self.good = chance.choice([1.0, 0.9, 0.5])
        self.evil = chance.choice([0.0, 0.2, 0.5])  # how often it says something else before
        self.cuts = chance.choice([0.0, 0.0, 0.5])
        self.favourite = chance.choice(["SERVFAIL", "REFUSED", "silence", "late", "any"])
        self.is_dead = False
        self.is_stopped = False
        self.asked_ids: deque[tuple[int, bytes]] = deque(maxlen=200)
        if chance.random() < 0.4:
            story.world.at(chance.uniform(0.5, _FORGES_UNTIL_S), self.forge)
        self.be_shaped()

    def be_shaped(self) -> None:
        """Be as the shape of the story wants it, whatever was drawn for a plain one."""
        shape = self.story.shape
        self.peaks = chance = Random(f"{self.story.seed}:{self.host.name}")
        room, rate = chance.choice(ROOMS), chance.choice(RATES)
        if shape.load.in_flight:
            self.socket.room = room
        if shape.load.is_heavy:
            self.reader = SlowReader(self.socket, self.take, rate)
            self.takes_s = min(self.takes_s, LOAD_TAKES_S)
        self.habits = draw_habits(self.story.seed, shape.kind, self.number)
        if shape.is_honest:
            self.good, self.evil = 1.0, 0.0
        if shape.is_calm:
            self.cuts = 0.0
        if shape.kind == "closed":
            self.takes_s = min(self.takes_s, LOAD_TAKES_S)
        if shape.kind == "bogus" and self.number == 0:
            self.takes_s = min(self.takes_s, 0.01)  # else it speaks when all is said
        self.host.says_twice = shape.kind == "twice"
        if shape.kind == "freeze":
            at, lasts_s = chance.uniform(1.5, 5.0), chance.uniform(1.0, 14.0)
            self.story.world.at(at, lambda: self.host.freeze(at + lasts_s))

    def stop(self, until: float) -> None:
        """Stop the program; it ends with all that it was to say, and is started again then."""
        listener, self.host.dns_listener = self.host.dns_listener, None
        self.host.rejects, self.is_stopped = 1.0, True

        def start() -> None:
            self.host.dns_listener = listener
            self.host.rejects, self.is_stopped = 0.0, False

        self.story.world.at(until, start)

    def truth(self, question: str) -> str:
        """Return what it says when it is well."""
        shape, by_name = self.story.shape, self.host.name
        if shape.kind == "private" and by_name == "DNS2":
            return public_or_private(question, self.peaks)
        if shape.has_wrong_clock:
            return "BOGUS" if by_name == "DNS1" else truth(question)
        if shape.kind == "bogus" and is_forged(question):
            denial = self.peaks.choice(["NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"])
            return {"DNS1": "BOGUS", "DNS2": forgery(question), "DNS3": denial}[by_name]
        denial = self.story.shape.denial
        return denial if denial and owner(question, 2) != self.host.name else truth(question)

    def draw(self, question: str) -> str:
        """Draw what it says of this."""
        chance = self.chance
        if chance.random() < self.good:
            return self.truth(question)
        if self.favourite == "any":
            odd = ["SERVFAIL", "REFUSED", "NXDOMAIN", "REFERRAL", "silence", "late", "twice"]
            return chance.choice(odd)
        return self.favourite

    def poll(self) -> None:
        unsaid, self.unsaid = self.unsaid, []
        for data, port in unsaid:
            self.send(data, port)
        self.reader.poll()
        for stream in self.host.take_waiting(self.host.dns_listener):
            self.links.append(Speaker(self.host))
            self.links[-1].stream, self.links[-1].leaves = stream, True
        for link in self.links:
            link.poll()
            while (size := 2 + int.from_bytes(link.heard[:2])) <= len(link.heard):
                (message,) = split_frames(bytes(link.heard[:size]))
                del link.heard[:size]
                self.take_framed(link, message)
        self.links = [link for link in self.links if not link.has_left]

    def take_framed(self, link: Speaker, message: bytes) -> None:
        text = self.draw(question_of(message))
        habits = self.habits
        if habits.is_lost_on(message):
            text = habits.no_edns
            self.story.world.saw("a stream without EDNS")
        elif habits.cuts_streams and self.peaks.random() < habits.cuts_streams:
            text = "TC"
            self.story.world.saw("a stream that is cut")
        if text in ("silence", "late", "twice") or self.is_dead:
            return
        if text == "REFERRAL" or PRIVATE.intersection(text.split(",")):
            self.story.referred_at[section_of(message).lower()] = self.story.world.t
        data = frame(habits.worded(message, text))
        self.story.world.at(self.story.world.t + self.takes_s, lambda: link.say(data))
        if habits.closes:
            self.story.world.at(self.story.world.t + self.takes_s + 0.001, link.close)

    def take(self, message: bytes, port: int) -> None:
        chance, world = self.chance, self.story.world
        self.asked_ids.append((port, message[:2]))
        if self.is_dead:
            return
        question = question_of(message)
        if chance.random() < self.evil:
            bad = self.spoilt(message, chance.choice(_BAD))
            world.at(world.t + self.takes_s * chance.random(), lambda: self.send(bad, port))
        habits = self.habits
        if habits.is_lost_on(message):
            lost = habits.worded(message, habits.no_edns)
            world.at(world.t + self.takes_s * chance.random(), lambda: self.send(lost, port))
            world.saw("a query with EDNS in vain")
            return
        if chance.random() < self.cuts or (habits.bulges and self.peaks.random() < habits.bulges):
            self.has_cut = True
            cut = habits.worded(message, "TC")
            if habits.bulges:
                filler = record(b"\0", "TXT", bytes(4_096))
                cut = reply(message, additionals=(filler,))
                world.saw("a datagram that is too long")
            world.at(world.t + self.takes_s, lambda: self.send(cut, port))
            return
        text = self.draw(question)
        wait_s = self.takes_s * chance.uniform(0.5, 1.5)
        if self.story.shape.has_two_peaks and self.peaks.random() < 0.2:
            wait_s = self.peaks.uniform(0.1, 0.3)
        times = 1
        if text == "silence":
            return
        if text == "late":
            wait_s, text = chance.uniform(1.0, 7.0), self.truth(question)
        if text == "twice":
            times, text = 2, self.truth(question)
        good = habits.worded(message, text)
        self.story.promised[self.host.name, port, message[:2]] = Said(
            section_of(message), question.encode()
        )
        if not good[5]:
            world.saw("a header only")
        for _ in range(times):
            world.at(world.t + wait_s, lambda: self.send(good, port))

    def spoilt(self, message: bytes, how: str) -> bytes:
        evil = said(message, FORGED)
        match how:
            case "another ID":
                return bytes([message[0], message[1] ^ 0x55]) + evil[2:]
            case "another question":
                other = section_of(message)
                other = other[:1] + bytes([other[1] ^ 1]) + other[2:]
                records = (record(TO_QUESTION, "A", address(FORGED)),)
                return reply(message, answers=records, section=other)
            case "malformed":
                return malformed(evil)
        return message

    def send(self, data: bytes, port: int) -> None:
        if self.is_stopped:
            return
        if self.host.paused_until > self.story.world.t:
            self.unsaid.append((data, port))
            return
        try:
            self.socket.sendto(data, ("LS", port))
        except BlockingIOError:
            self.story.world.at(self.story.world.t + 0.001, lambda: self.send(data, port))

    def forge(self) -> None:
        """Forge replies with guesses at IDs, at a port of LS that is right."""
        if self.story.shape.is_honest:
            return
        chance = self.chance
        ports = [port for port, one in self.story.ls.dialled.items() if one.peer is self.host]
        if not ports or not self.asked_ids:
            return
        port = chance.choice(ports)
        message = query(0, chance.choice(NAMES)) + b"\0\0\x29\4\xd0\0\0\0\0\0\0"
        message = message[:10] + b"\0\1" + message[12:]
        for _ in range(chance.choice([3, 30, 100])):
            number = chance.randbytes(2)
            if (port, number) not in self.asked_ids:  # a right guess is right
                self.send(number + said(message, FORGED)[2:], port)
        self.story.world.saw("a forger guesses")
        self.story.world.at(self.story.world.t + 0.5, self.forge)


class Reports(Observer):
    """A log that keeps what LS reports, and passes on what it hears."""

    def __init__(self, world: World, name: str, hear: Callable[[str, bytes], None]) -> None:
        super().__init__(world, name)
        self.texts: list[str] = []
        self._hear = hear

    def received(self, conn: str, data: bytes) -> None:
        super().received(conn, data)
        self._hear(conn, data)

    def report(self, text: str, *more: object) -> None:
        self.texts.append(text)
        super().report(text, *more)


def wording(section: bytes) -> str:
    """Return the question of a section, as the race has it."""
    return question_of(b"\0\0\1" + bytes(9) + section.lower())


class ResolverStory(DnsStory):
    """An LS before resolvers, and sometimes a table server."""

    prefix = "resolvers"
    losses = 0.0, 0.1, 0.3
    slack_s = _SLACK_S
    heals_s = 20.0

    def __init__(self, number: int) -> None:
        super().__init__(number)
        chance = self.chance
        self.shape = draw_shape(self.seed, KINDS[number % len(KINDS)])
        self.lasts_s = self.shape.lasts_s
        self.bounds = Bounds(
            datagrams_per_turn=chance.choice([7, 512]),
            dns_per_second=1_000_000,
            upstream_sockets=chance.choice([1, 4]),
            upstream_socket_s=chance.choice([0.5, 10.0]),
            wary_s=chance.choice([0.5, 10.0]),
            plain_s=Random(f"{self.seed}:plain").choice([0.5, 600.0]),
            timeout_s=1.0 if self.shape.kind == "odd" else 5.0,
            dns_timeout_s=6.0 if self.shape.kind == "odd" else 1.8,
        )
        self.with_edns: set[tuple[str, int, bytes]] = set()  # those of them with an OPT record
        # Good replies that are on their way, and what has come of them: by question, when and what.
        self.promised: dict[tuple[str, int, bytes], Said] = {}
        self.sent_at: dict[tuple[str, int, bytes], float] = {}
        self.settled: set[tuple[str, int, bytes]] = set()
        self.came: dict[bytes, list[tuple[float, str]]] = {}  # in datagrams, by question
        self.referred_at: dict[bytes, float] = {}  # when a referral was last sent on a stream
        self.shown: dict[str, list[float]] = {}  # by line, when the table said that it has the name
        # When a validator that is surely believed said so of an open question, by question.
        self.bogus: dict[bytes, list[float]] = {}
        # Whether replies were bogus, by resolver, of the last ones; and since when it is so of too
        # many.
        self.lately: dict[str, deque[bool]] = {}
        self.doubted_at = math.inf
        count = chance.choice([1, 2, 2, 3])
        self.resolvers = [FakeResolver(self, n) for n in range(self.shape.count or count)]
        # Deniers of each question while it was open, and when that came first.
        self.denied: dict[bytes, dict[str, float]] = {}
        self.had: dict[str, list[float]] = {}  # when who had what another had denied
        self.closed = math.inf, math.inf  # the time in which nobody listens at some ports
        if chance.random() < 0.3 and not self.shape.is_calm:
            self.add_table()
        self.start_ls()
        self.askers = [DnsAsker(self, f"asker{n}") for n in range(chance.choice([1, 3]))]
        self.client = Asker(self.world, "client")
        self.crowd = Crowd(self, self.shape.load)
        self.be_shaped()

    def be_shaped(self) -> None:
        """Let the world be as the shape of the story wants it."""
        world, shape = self.world, self.shape
        chance = Random(f"{self.seed}:world")
        if shape.is_calm:
            world.lost = world.twice = 0.0
            world.stray = 1
            world.network.latency_s = min(world.network.latency_s, CALM_LATENCY_S)
        if shape.kind == "dead":
            chance.choice(self.resolvers).is_dead = True
        if shape.kind == "closed":
            at, until = chance.uniform(1.5, 3.0), chance.uniform(3.5, 6.0)
            self.closed = at, until
            for one in self.resolvers[: chance.choice([1, 2])]:
                world.at(at, lambda one=one: one.stop(until))
        if shape.kind == "moves":
            for n in range(chance.choice([1, 3, 6])):  # once something has come since the last time
                world.at(0.5 + n + 0.2 * chance.random(), self.ls.move)
        if shape.kind == "elsewhere":
            for n in range(chance.choice([2, 4])):
                world.at(0.5 + n + chance.random(), lambda: self.move_away(chance))
        if shape.kind == "refused":
            for _ in range(chance.choice([2, 5, 10])):
                world.at(chance.uniform(0.5, shape.lasts_s), lambda: self.refuse(chance))
        if shape.kind == "rough":
            self.ls.room = ROOMS[-1]
            for one in self.resolvers:
                most = chance.choice([20, 50, 200])
                world.narrow(self.ls, one.host, most, within_s=0.1)

    def add_table(self) -> None:
        rows = {
            name: b"%b 10.0.0.%d A IN\n" % (name, number)
            for number, name in enumerate(NAMES)
            if self.chance.random() < 0.3
        }
        host, is_frank = self.world.host("TS1"), self.chance.random() < 0.5
        self.watches[host] = TableWatch(self.world, "TS1", rows, is_frank)
        self.start_table(host, Bounds())

    def start_ls(self) -> None:
        share = self.chance.choice([None, None, 0.0, 1.0])
        grace_s = self.chance.choice([None, None, None, 0.05])
        if self.shape.is_calm:
            grace_s = None
        self.log = Reports(self.world, "LS", self.heard)

        resolvers = [(2, (one.host.name, DNS_PORT)) for one in self.resolvers]
        self.run_ls(
            self.log,
            extra_load=share,
            resolvers=resolvers,
            secret=Random(f"{self.seed}:secret").randbytes,
            grace_s=grace_s,
            private_from={"DNS2"} if self.shape.kind == "private" else (),
            sample=self.chance.choice([0.0, 0.5]),
        )
        self.ls.on_landed = self.landed
        self.ls.on_dialled_sent = self.sent

    def draw_query(self, chance: Random, number: int) -> bytes:
        message = super().draw_query(chance, number)
        if self.shape.kind in ("old", "odd") and number % 2:
            message = message[:11] + b"\1" + message[12:] + opt()
        return message

    # -- the invariants ----------------------------------------------------------------------------

    def arrived(self, data: bytes, who: str) -> None:
        super().arrived(data, who)
        if data[11]:
            self.with_edns.add((who, int.from_bytes(data[:2]), section_of(data)))

    def sent(self, data: bytes, who: str, port: int) -> None:
        self.sent_at.setdefault((who, port, data[:2]), self.world.t)

    def is_wanted(self, question: bytes) -> bool:
        """Return whether LS waits for a reply to this, or watches its race."""
        samples = part_of(self.brain, RaceSamples)
        is_watched = samples is not None and samples.watches(question)
        return is_watched or self.brain.parts.questions.is_open(question)

    def landed(self, data: bytes, who: str, port: int) -> None:
        """Take note of what came to a socket of LS's; what was promised counts once."""
        key = who, port, data[:2]
        is_bogus = BOGUS in data
        lately = self.lately.setdefault(who, deque(maxlen=_BELIEVED_REPLIES))
        lately.append(is_bogus)
        is_believed = sum(lately) <= _BELIEVED_BOGUS - _ASIDE
        if sum(lately) > _BELIEVED_BOGUS + _ASIDE:
            self.doubted_at = min(self.doubted_at, self.world.t)
        is_too_long = len(data) > DATAGRAM_BYTES_MAX
        if (data[2] & 0x02 or is_too_long) and data[2] & 0x80:
            self.settled.add(key)  # later replies by UDP are not waited for
        promised = self.promised.get(key)
        if promised is not None and not self.is_wanted(promised.question):
            self.settled.add(key)  # nobody looks at it closely
        if key in self.settled or promised is None or FORGED_BYTES in data or data[-1:] == b"!":
            return
        if not data[2] & 0x80:
            return
        if data[5] and section_of(data) != promised.section:
            return
        self.settled.add(key)
        link = self.brain.parts.upstreams.link(who)
        if self.brain.parts.policy.admits(link, [promised.question]) is not None:
            return  # hedging, it was not asked for this asking
        if self.world.t - self.sent_at[key] < self.bounds.longest_s - _SLACK_S:
            what = "data" if data[7] else "REFERRAL" if data[9] else _CODES[data[3] & 15]
            section = promised.section.lower()
            if what == "data" and not PRIVATE.isdisjoint(Reply(data).addresses):
                what = "REFERRAL"  # is as good as that
            if is_bogus and is_believed and self.brain.parts.questions.is_open(promised.question):
                self.bogus.setdefault(section, []).append(self.world.t)
            word = self.world.t, what
            self.came.setdefault(section, []).append(word)
            denied = self.denied.setdefault(section, {})
            if what != "data":
                denied.setdefault(who, self.world.t)
            elif any(at + _READ_S < self.world.t for by, at in denied.items() if by != who):
                self.had.setdefault(who, []).append(self.world.t)
            given_up = self.brain.env.hits["unmatched_max"]

            def forget_server() -> None:
                """Forget a server: what lies in a socket is lost with it, if a guess before it was
                one too many."""
                if self.brain.env.hits["unmatched_max"] > given_up:
                    self.came[section].remove(word)
                    self.world.saw("a socket is given up with a reply in it")

            self.world.at(self.world.t + _SLACK_S, forget_server)

    def judge(self, data: bytes, who: str, asked_at: float) -> None:
        answer, section, now = Reply(data), section_of(data), self.world.t
        seen = f"{who} hears {data!r}"
        hold(answer.code in _CODES, "P48", f"of EDNS, or what it means: {seen}")
        has_edns = (who, answer.number, section) in self.with_edns
        hold(answer.additional == has_edns, "P37", f"OPT: {seen}")  # no other is ever told
        hold(FORGED not in answer.addresses, "P35", f"what was forged: {seen}")
        section = section.lower()
        code = _CODES[answer.code]
        what = "data" if answer.addresses else code
        true = truth(wording(section))
        hold(PRIVATE.isdisjoint(answer.addresses), "P91", f"what is private: {seen}")
        if self.shape.kind == "bogus":
            self.judge_bogus(section, what, asked_at, now)
            if what == "SERVFAIL":
                hold(not has_edns or BOGUS in data, "P89", f"not why: {seen}")
                return
        self.judge_first(section, what, asked_at)
        self.judge_refused(what, true if true in RANKS else "data", asked_at, now)
        if not answer.addresses:
            self.judge_worse(section, RANKS[code], asked_at, now)
            self.judge_name(section, RANKS[code], asked_at, now)
        elif len(section) and section[-4:-2] == b"\0\1":
            right = [[true]]
            if self.shape.kind == "bogus":
                right.append([forgery(wording(section))])
            if self.shape.kind == "private":
                right.append([f"{PUBLIC}{true.split('.')[-1]}"])
            hold(answer.addresses in right, "P35", f"{answer.addresses}")

    def judge_bogus(self, section: bytes, what: str, asked_at: float, now: float) -> None:
        """Judge what was told where one resolver says that some names, or all, are bogus."""
        question = wording(section)
        since = [at for at in self.bogus.get(section, ()) if at > asked_at + _READ_S]
        if since:
            self.world.saw("a validator is believed")
            late = f"{what} of {question}, bogus at {since[0]:.3f}, is told at {now:.3f}"
            hold(now - since[0] < _SLACK_S, "P89", late)
        if self.shape.has_wrong_clock and self.doubted_at + _SLACK_S < asked_at:
            self.world.saw("a validator is not believed")
            true = truth(question)
            hold(what == (true if true in RANKS else "data"), "P90", f"{what} of {question}")

    def judge_first(self, section: bytes, what: str, asked_at: float) -> None:
        """Judge which of several answers was told, where each resolver has its part of the names.

        Where the others say NXDOMAIN, only once LS has seen lately that one has what they deny."""
        question = wording(section)
        is_sure = self.shape.kind in ("halves", "load", "moves", "elsewhere", "old")
        if is_sure and self.shape.denial == "NXDOMAIN":
            seen = self.had.get(owner(question, 2), ())
            is_sure = any(asked_at - _LATELY_S <= at < asked_at for at in seen)
        if is_sure and truth(question) not in CODES:
            hold(what == "data", "first good answer", f"{what} of {question}")

    def judge_refused(self, what: str, truth: str, asked_at: float, now: float) -> None:
        """Judge what was told while a port is closed: it would be `truth` if it were not."""
        closed_at, opened_at = self.closed
        if closed_at + REFUSED_S < asked_at:
            seen = f"{what} at {now:.3f}, asked at {asked_at:.3f}"
            hold(now - asked_at < REFUSED_S, "refused at once", seen)
        is_open = not closed_at - REFUSED_S < asked_at < opened_at + REFUSED_S
        if is_open and self.shape.kind == "closed":
            hold(what == truth, "refused at once", f"{what}, not {truth}, asked at {asked_at:.3f}")

    def judge_worse(self, section: bytes, rank: int, asked_at: float, now: float) -> None:
        """Judge something worse than data that was told."""
        if self.was_disturbed:
            return
        read_at = asked_at + _SLACK_S  # it may have waited for a turn while the one before ended
        since = [(at, what) for at, what in self.came.get(section, []) if at > read_at]
        is_referred = self.referred_at.get(section, 0.0) > asked_at
        was_open = [what for at, what in self.came.get(section, ()) if at > asked_at]
        is_referred = is_referred or "REFERRAL" in was_open
        if rank == RANKS["SERVFAIL"] and is_referred:
            rank = RANKS["REFERRAL"]
            self.world.saw("a referral is told as a failure")
        for at, what in since:
            came = RANKS[what]
            seen = f"{what} came at {at:.3f}, {rank} is told at {now:.3f} of {section!r}"
            hold(at > now - _SLACK_S or came <= rank, "P33", f"{seen}")
            longest_s = self.longest_hold_s(what) + _SLACK_S
            hold(now - at <= longest_s, "P33", f"held for {now - at:.3f} s: {seen}")

    def heard(self, conn: str, data: bytes) -> None:
        """Take note of what LS heard; of a table, keep which names it has."""
        for line in data.decode().splitlines() if conn == "TS1" else ():
            question = line.partition(" - ")[0]
            if line.endswith(" IN"):
                question = line.split(" ")[0]
            if line.endswith((" IN", " - NO DATA")):
                self.shown.setdefault(question.lower(), []).append(self.world.t)

    def judge_name(self, section: bytes, rank: int, asked_at: float, now: float) -> None:
        """Judge something worse than data that was told of a name. Hedging, a table's word may be
        of another asking."""
        if self.was_disturbed or part_of(self.brain, HedgePolicy) is not None:
            return
        line = wording(section).partition(" TYPE")[0].lower()
        if any(asked_at + _READ_S < at < now for at in self.shown.get(line, ())):
            self.world.saw("a table has shown that a name exists")
            hold(rank >= RANKS["NOERROR"], "P42", f"{rank} is told of {section!r}")

    def longest_hold_s(self, what: str) -> float:
        """Return how long LS may keep this to itself while it waits for something better."""
        differ = any(
            self.ls.clock() < link.resolver.grace.differs_until
            for link in self.brain.parts.upstreams.all
            if isinstance(link, ResolverLink)
        )
        is_failure = what in ("REFUSED", "REFERRAL", "SERVFAIL")
        return self.bounds.grace_failed_s if is_failure or differ else self.bounds.grace_max_s

    # -- the story ---------------------------------------------------------------------------------

    def suffer(self, what: str, host: Host) -> None:
        if what == "dead":
            one = next(one for one in self.resolvers if one.host is host)
            one.is_dead = True
            until = self.world.t + self.chance.uniform(0.1, 4.0)
            self.world.at(until, lambda: setattr(one, "is_dead", False))
        else:
            super().suffer(what, host)

    def move_away(self, chance: Random) -> None:
        """Move a resolver to another address, and tell LS soon."""
        chance.choice(self.resolvers).host.move_away()
        self.world.at(
            self.world.t + chance.uniform(0.05, 0.2), lambda: self.ls.ring(SimSystem.hangup)
        )

    def refuse(self, chance: Random) -> None:
        """Refuse something for a while."""
        world, ls = self.world, self.ls
        one = chance.choice(self.resolvers)
        until = world.t + chance.choice([0.05, 0.2, 3.0]) * chance.random()
        match chance.choice(["stop", "reject", "forbid", "no way", "move"]):
            case "stop":
                one.stop(until)
            case "reject":
                one.host.rejects = chance.random()
                world.at(until, lambda: setattr(one.host, "rejects", 0.0))
            case "forbid":
                ls.send_error = errno.EPERM
                world.at(until, lambda: setattr(ls, "send_error", 0))
            case "no way":
                ls.send_error = errno.ENETUNREACH
                world.at(until, lambda: setattr(ls, "send_error", 0))
            case "move":
                ls.move()

    def live(self) -> None:
        world, chance = self.world, self.chance
        for asker in self.askers:
            asker.live()
        self.crowd.live()
        self.names = [chance.choice([*NAMES, *UNKNOWN]) for _ in range(20)]
        world.at(0.3, lambda: self.client.dial(self.ls))
        world.at(0.5, lambda: self.client.say(b"".join(name + b"\n" for name in self.names)))
        for _ in range(chance.choice([0, 1, 3])):
            what = chance.choice(["dead", "cut", "silence", "pause LS", "lose"])
            at, host = chance.uniform(0, self.lasts_s), chance.choice(self.resolvers).host
            if not self.shape.is_calm:
                world.at(at, lambda what=what, host=host: self.suffer(what, host))

    def become_whole(self) -> None:
        super().become_whole()
        lines = bytes(self.client.heard).splitlines()
        hold(len(lines) == len(self.names), "P7", f"{len(lines)} replies to {len(self.names)}")
        hold(FORGED.encode() not in self.client.heard, "P35", "what was forged is told")
        for line in lines:
            addresses = line.split(b" ")[1].decode().split(",")
            hold(PRIVATE.isdisjoint(addresses), "P91", f"what is private is told: {line!r}")
        self.check_nothing_is_kept()
        self.client.end()
        if self.shape.is_calm:
            overflowed = sum(one.socket.overflowed for one in self.resolvers)
            hold(not overflowed, "no overflow", f"{overflowed} datagrams lost")
        if self.shape.is_honest:
            guesses = [text for text in self.log.texts if "match nothing" in text]
            hold(not guesses, "no guesses", str(guesses))
            dialled = [one for one in self.resolvers if one.host.dials and not one.has_cut]
            hold(not dialled, "no streams", str([one.host.name for one in dialled]))

    def check_nothing_is_kept(self) -> None:
        brain = self.brain
        hold(
            not brain.parts.questions.all_open() and brain.parts.negatives.is_empty,
            "I8",
            "questions are kept",
        )
        hold(brain.parts.negatives.schedule.due > 1e9, "I8", "something is held")
        hold(not part_of(brain, LineEquivalents), "I8", "line equivalents are kept")
        for one in self.resolvers:
            link = brain.parts.upstreams.by_name[one.host.name]
            resolver = link.resolver
            sockets = resolver.sockets.by_conn
            asked = {
                name: [question for question, _, _ in it.asked.values() if question != TRY]
                for name, it in sockets.items()
            }
            kept = {name: questions for name, questions in asked.items() if questions}
            hold(
                not kept and not resolver.stream.waiting, "I8", f"it is kept what was asked: {kept}"
            )
            if not link.link.health.is_bad:  # else it is tried again and again
                hold(link.due > 1e9, "I8", "batches are kept")
            hold(link.link.life.state is LinkState.UP, "I8", f"{one.host.name} is not up")
            udp = [it for it in sockets.values() if not it.is_stream]
            most = self.bounds.upstream_sockets
            retired = len(udp) - len(resolver.sockets.open)  # that wait for a reply to a try
            hold(len(resolver.sockets.open) == most, "I8", f"{len(udp)} sockets")
            hold(not retired or link.link.health.is_bad, "I8", f"{retired} sockets are kept")
            by_it = {conn for conn, it in brain.parts.upstreams.by_conn.items() if it is link}
            hold(by_it == sockets.keys(), "I8", f"{one.host.name} is found by {by_it}")
