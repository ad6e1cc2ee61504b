"""Stories of LS that asks by TLS and is asked by TLS, in the simulator.

Besides what is checked in all stories of DNS askers (`tests/sim/dns_story.py`), by those who are at
the other ends (`tests/sim/tls_cast.py`), on the wire (`tests/sim/wire.py`), and here:

- "strict": a resolver that is asked by TLS gets no datagram, and no stream to another port; nothing
  but records goes over a stream of TLS, and of those nothing but a handshake before it is done;
  a certificate that does not fit ends its stream, LS says why, and dials again;
- "dialled": a handshake that hangs ends in time; LS has two streams to a resolver at most;
- "asked again": what was asked on a stream that died, and is still open, is asked on the next one,
  and there is a next one at once, also where an idle one was closed;
- "first good answer": while one of the resolvers is well, nobody hears of a failure; calm, and
  where all are, nobody waits for longer than a reply and a new stream take, whatever streams end;
- "padding": queries are padded, and replies to those who padded (RFC 8467);
- "close_notify": LS says that it ends before it does;
- "renewed": a stream that comes once LS has read its certificate anew is shown the new one;
- "handshakes": a client that does not do its handshake, or does it badly, hears nothing but an
  alert, and goes in time; whoever asks well meanwhile has its replies; of a flood from one address
  only some are heard.

A story has an LS, one to three resolvers by TLS, sometimes one by UDP, a table server, a cache;
askers by UDP, TCP, lines and TLS. It is of one of the kinds of `KINDS`. In one of 97 the real layer
runs at both ends of all streams. At the end everything heals, everybody is answered, LS drains and
leaves nothing.

Not here: a layer of security by itself (`tests/sim/test_secure.py`).
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from core.bounds import Bounds
from core.io.secure_layer import SecureLayer
from core.tls import ServerIdentity, TlsKeys
from nodes.ls.setup import OwnWordsSetup, ServerSetup
from tests.sim.dns_story import NAMES, UNKNOWN, DnsAsker, DnsStory, Stream
from tests.sim.invariants import TableWatch, hold
from tests.sim.resolver_shapes import Crowd, Load, truth
from tests.sim.scenes import Asker
from tests.sim.secure import RealSecurity, SimCertificate
from tests.sim.sockets import SimDatagrams
from tests.sim.tls_cast import (
    ANOTHER,
    BAD_CERTIFICATES,
    NO_HANDSHAKES,
    PADDING,
    REPLY_BLOCK,
    TROUBLES,
    Habits,
    Link,
    TlsClient,
    TlsServer,
)
from tests.sim.world import DNS_PORT, TLS_PORT, Observer, SimSystem, World
from tests.support.certificates import HAS_OPENSSL
from tests.support.dns_clients import Reply
from tests.support.dns_messages import question_of, said, section_of

# Kinds of stories: streams that end though all is well (idle, few), or of which one is forgotten
# without a word (forgets); certificates; handshakes; resolvers that say nothing (silent), break
# records or streams (broken), die (killed); clients (front); a resolver by UDP beside those
# (mixed); all of it (plain).
KINDS = ("idle", "plain", "certificates", "few", "handshakes", "front", "plain", "silent", "broken",
         "killed", "mixed", "forgets")  # fmt: skip
_CALM = frozenset({"idle", "few", "certificates", "handshakes", "silent", "front", "forgets"})
_REAL_EACH = 97
_SLACK_S = 0.1
_RENEWED_S = 1.0  # after a SIGHUP
_RECOVERS_S = 4.6  # dial_s for a handshake that hangs, redial_max_s, and a new one
_CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
LS_NAME = "ls.test"
KEYS = TlsKeys("cert.pem", "key.pem")


@dataclass(frozen=True)
class TlsShape:
    """The oddities of a story."""

    kind: str
    servers: int
    habits: list[Habits]
    has_udp: bool
    has_table: bool
    has_front: bool
    share: float | None
    cache_bytes: int
    has_crowd: bool  # hundreds of questions
    is_cut: bool  # all speak in pieces
    is_real: bool

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens but what the kind says."""
        return self.kind in _CALM


def draw_tls_shape(number: int, seed: str) -> TlsShape:
    """Draw the shape of the story of this seed."""
    chance = Random(f"{seed}:shape")
    kind = KINDS[number % len(KINDS)]
    count = chance.choice([1, 1, 2, 3])
    habits = [draw_habits(chance, kind) for _ in range(count)]
    is_mixed = kind == "mixed"
    return TlsShape(
        kind=kind,
        servers=count,
        habits=habits,
        has_udp=is_mixed or (kind == "plain" and chance.random() < 0.2),
        has_table=chance.random() < 0.2,
        has_front=kind == "front" or chance.random() < 0.5,
        share=chance.choice([None, None, 0.0, 1.0]),
        cache_bytes=chance.choice([0, 0, 4 << 20]),
        is_cut=chance.random() < 0.5,
        has_crowd=kind in ("idle", "forgets") and chance.random() < 0.3,
        is_real=HAS_OPENSSL and number % _REAL_EACH == 96,
    )


def draw_habits(chance: Random, kind: str) -> Habits:
    """Draw the habits of a resolver in a story of this kind."""
    takes_s = chance.choice([0.001, 0.01, 0.05, 0.3])
    end = chance.choice(["both", "both", "end", "notify"])
    idle_s = chance.choice([0.2, 0.5, 1.0, 2.5])
    most = chance.choice([1, 2, 5, 20])
    match kind:
        case "idle":
            return Habits(min(takes_s, 0.05), idle_s, end=end)
        case "few":
            return Habits(min(takes_s, 0.05), replies_most=most, end=end)
        case "plain" | "broken" | "killed" | "mixed":
            return Habits(
                takes_s,
                chance.choice([1e9, idle_s]),
                chance.choice([1 << 30, most]),
                chance.choice([end, "reset"]),
                knows_edns=chance.random() < 0.9,
            )
    return Habits(min(takes_s, 0.05))


class Reports(Observer):
    """A log that keeps what LS reports, and when."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.texts: list[tuple[float, str]] = []

    def report(self, text: str, *more: object) -> None:
        self.texts.append((self.world.t, text))
        super().report(text, *more)


class PlainResolver:
    """A resolver by UDP that is always well, and slower than the others."""

    def __init__(self, story: "TlsStory", name: str) -> None:
        self.host = story.world.host(name)
        self.host.on_touch = self.poll
        self.socket = SimDatagrams(self.host)
        self.story = story

    def poll(self) -> None:
        world = self.story.world
        while self.socket.arrived:
            message, (_, port) = self.socket.arrived.popleft()
            data = said(message, truth(question_of(message)))
            world.at(world.t + 0.02, lambda data=data, port=port: self.send(data, port))

    def send(self, data: bytes, port: int) -> None:
        try:
            self.socket.sendto(data, ("LS", port))
        except BlockingIOError:
            self.story.world.at(self.story.world.t + 0.001, lambda: self.send(data, port))


class TlsStory(DnsStory):
    """An LS before resolvers by TLS."""

    prefix = "tls"
    losses = 0.0, 0.1
    slack_s = _SLACK_S
    heals_s = 20.0

    def __init__(self, number: int) -> None:
        super().__init__(number)
        chance, world = self.chance, self.world
        self.shape = shape = draw_tls_shape(number, self.seed)
        if shape.is_real:
            world.security = RealSecurity(self.seed)
            world.saw("a story of the real layer")
        if shape.is_calm:
            world.lost = world.twice = 0.0
            world.stray = 1
            world.network.refused = 0.0
            world.network.latency_s = min(world.network.latency_s, 0.02)
            world.network.room = max(world.network.room, 100_000)
        self.bounds = Bounds(
            dns_per_second=1_000_000,
            dns_timeout_s=chance.choice([4.5, 4.5, 3.0]),
            mid_line_s=chance.choice([1.0, 10.0]),
        )
        # Whether the network takes all of what it is given, if it is little.
        self.is_whole = not (world.network.short or world.network.refused)
        self.handshake_s = self.bounds.dial_s + 4 * world.network.latency_s + _SLACK_S
        self.servers = [TlsServer(self, n, shape.habits[n]) for n in range(shape.servers)]
        self.plain = [PlainResolver(self, f"DNS{shape.servers + 1}")] if shape.has_udp else []
        if shape.has_table:
            self.add_table()
        self.renewals = 0  # of LS's certificate
        self.ls.certificates[KEYS] = self.new_certificate(0)
        self.start_ls()
        self.askers = [DnsAsker(self, f"asker{n}") for n in range(chance.choice([1, 2]))]
        if shape.has_crowd:
            self.askers.append(Crowd(self, Load(20, 150, 0.5)))
        self.client = Asker(world, "client")
        self.stream = Stream(self)
        self.clients: list[TlsClient] = []
        if shape.has_front:
            self.add_clients()
        world.checks.append(self.check)

    # -- the cast ----------------------------------------------------------------------------------

    def wall(self) -> float:
        return self.ls.wall()

    def new_certificate(self, number: int) -> SimCertificate:
        return SimCertificate((LS_NAME, f"number{number}.test"))

    def add_table(self) -> None:
        rows = {
            name: b"%b 10.0.0.%d A IN\n" % (name, number)
            for number, name in enumerate(NAMES)
            if self.chance.random() < 0.3
        }
        host = self.world.host("TS1")
        self.watches[host] = TableWatch(self.world, "TS1", rows, False)
        self.start_table(host, Bounds())

    def start_ls(self) -> None:
        self.log = Reports(self.world, "LS")
        resolvers: list[Any] = [
            ServerSetup(
                one.host.name,
                ((2, (one.host.name, TLS_PORT)),),
                identity=ServerIdentity(one.name),
            )
            for one in self.servers
        ]
        resolvers += [
            ServerSetup(one.host.name, ((2, (one.host.name, DNS_PORT)),)) for one in self.plain
        ]
        self.run_ls(
            self.log,
            extra_load=self.shape.share,
            resolvers=resolvers,
            secret=Random(f"{self.seed}:secret").randbytes,
            own_words=OwnWordsSetup(self.shape.cache_bytes, 0.0, ()),
            keys=KEYS if self.shape.has_front else None,
        )

    def add_clients(self) -> None:
        chance = self.chance
        bad = [
            "says nothing",
            "speaks in the clear",
            "sends garbage",
            "hangs",
            "vanishes",
            "breaks a record",
        ]
        self.clients = [TlsClient(self, f"tls{n}", ["well"], chance.choice([1, 3])) for n in (1, 2)]
        if self.shape.kind in ("front", "plain"):
            self.clients.append(TlsClient(self, "bad", bad, 12))
        if self.shape.kind == "front" and chance.random() < 0.5:
            self.clients.append(TlsClient(self, "flood", ["vanishes", "well"], 0))

    def layer_to_ls(self) -> SecureLayer:
        """Make the layer of a client of LS."""
        return self.world.security.dialled(
            ServerIdentity(LS_NAME), frozenset({"public"}), self.wall()
        )

    # -- the invariants ----------------------------------------------------------------------------

    def check(self) -> None:
        """Check after each step how many streams LS has to each resolver."""
        if self.ls.loop is None:
            return
        for one in self.servers:
            count = one.open_streams
            hold(count <= 2, "dialled", f"{count} streams to {one.host.name}")

    def is_open(self, question: bytes) -> bool:
        return self.ls.loop is not None and self.brain.parts.questions.is_open(question)

    @property
    def races(self) -> bool:
        return self.shape.share is None

    def secured(self, server: TlsServer, link: Link) -> None:
        """Take note of a stream that is there: what is open, and was asked on another one before,
        is asked on this one."""
        lost = {q: at for q, at in server.unanswered.items() if self.is_open(q)}
        server.unanswered.clear()
        if lost:
            self.world.saw("questions outlive their stream")
        is_sure = self.races and self.shape.is_calm and self.shape.kind not in ("few", "silent")
        if not lost or not is_sure:
            return

        def look() -> None:
            left = [q for q in lost if self.is_open(q) and q not in link.heard_of]
            is_there = not (link.is_over or link.has_left or link.was_reset)
            hold(not left or not is_there, "asked again", f"not of {server.host.name}: {left}")

        self.world.at(self.world.t + 6 * self.world.network.latency_s + _SLACK_S, look)

    def ended(self, server: TlsServer, link: Link) -> None:
        """Take note of a stream that its server ends, idle: there is another one soon, so that
        nobody has to wait for it."""
        accepted = server.accepted

        def look() -> None:
            is_sure = self.shape.kind == "idle" and self.ls.loop is not None
            is_there = server.accepted > accepted or not link.has_ended
            hold(is_there or not is_sure, "dialled", f"{server.host.name} idled out, and is not")

        self.world.at(self.world.t + 6 * self.world.network.latency_s + _SLACK_S, look)

    def failed(self, server: TlsServer, link: Link) -> None:
        """Take note of a stream that LS gave up because of what it was shown, or told: it says why,
        and dials again."""
        since = self.world.t - 2 * self.world.network.latency_s - _SLACK_S
        name, accepted = server.host.name, server.accepted
        # An older stream to it, whose certificate was good, may go on: then none has to be dialled.
        goes_on = server.open_streams > 0
        is_sure = not self.was_disturbed and not goes_on
        if link.trouble in self.whys and is_sure:
            is_asked = self.brain.parts.upstreams.by_name[name].link.is_live
            hold(not is_asked, "strict", f"{name} is asked, and its certificate is bad")
            said = [text for _, text in self.log.texts if text.startswith(f"{name} is ")]
            is_said = said and any(why in said[-1] for why in self.whys.values())
            if (
                self.shape.kind != "certificates"
            ):  # it may have been down before, for another reason
                is_said = said and "is up" not in said[-1]
            hold(is_said, "strict", f"why {name} is down is not said: {said[-1:]}")
            self.world.saw("LS says why it does not trust a server")

        def look() -> None:
            is_again = server.accepted > accepted or self.ls.loop is None
            is_reached = server.is_reached_since(since) and server.host.tls_listener is not None
            is_again = is_again or self.was_disturbed or goes_on
            hold(is_again or not is_reached, "dialled", f"{name} is not dialled again")

        longest_s = 1.25 * self.bounds.redial_max_s + 4 * self.world.network.latency_s + _SLACK_S
        self.world.at(self.world.t + longest_s, look)

    def well(self, since: float) -> list[TlsServer]:
        """Return the resolvers that have been well since then, and are known to be."""
        recovers_s = _RECOVERS_S + (self.bounds.failure_kept_s if self.shape.cache_bytes else 0.0)
        return [one for one in self.servers if one.is_well_since(since - recovers_s)]

    def judge(self, data: bytes, who: str, asked_at: float) -> None:
        self.judge_reply(data, who, asked_at)

    def take_reply_by_tls(
        self, client: TlsClient, asked_at: float, query: bytes, data: bytes
    ) -> None:
        """Judge a reply to a client by TLS."""
        hold(section_of(data) == section_of(query), "P29", f"another question: {data!r}")
        took_s = self.world.t - asked_at
        longest_s = self.bounds.dns_timeout_s + self.slack_s + 0.5
        hold(took_s <= longest_s or self.was_disturbed, "P29", f"a reply after {took_s:.3f} s")
        if query[11] and PADDING.to_bytes(2) in query[12 + len(section_of(query)) :]:
            self.world.saw("a padded reply")
            hold(len(data) % REPLY_BLOCK == 0, "padding", f"a reply of {len(data)} bytes")
        self.judge_reply(data, client.host.name, asked_at)

    def judge_reply(self, data: bytes, who: str, asked_at: float) -> None:
        """Judge what was told, by what is true, and by who is well."""
        is_failure, seen = self.judge_words(data, who, asked_at)
        if self.was_disturbed:
            return
        if is_failure and self.shape.is_calm:
            hold(not self.well(asked_at), "first good answer", seen)
        elif self.is_hurried:
            took_s = self.world.t - asked_at
            hold(took_s <= self.quick_s, "first good answer", f"late: {seen}")

    def judge_words(self, data: bytes, who: str, asked_at: float) -> tuple[bool, str]:
        """Judge what was told by what is true; return whether it is a failure, and how to say it
        all."""
        reply, section, now = Reply(data), section_of(data).lower(), self.world.t
        question = question_of(b"\0\0\1" + bytes(9) + section)
        true = truth(question)
        hold(reply.code in _CODES, "P48", f"{who} hears {data!r}")
        what = reply.addresses or [_CODES[reply.code]]
        seen = f"{who} hears {what} of {question}, asked at {asked_at:.3f}, told at {now:.3f}"
        is_failure = what == ["SERVFAIL"]
        # A table has some names, and nothing else of them.
        is_right = what == [true] or (self.watches and what == ["NOERROR"])
        hold(is_right or is_failure, "first good answer", f"not {true}: {seen}")
        return is_failure, seen

    @property
    def is_hurried(self) -> bool:
        """Whether all resolvers are well all the time, so that nobody has to wait."""
        return self.shape.kind in ("idle", "front", "forgets") and self.races

    @property
    def quick_s(self) -> float:
        """How long a reply takes at the most, if a stream ends just when it is asked for."""
        slowest_s = 1.5 * max([0.02, *[one.habits.takes_s for one in self.servers]])
        # A stream is silent once something that was asked after its last reply is `join_s` old.
        new_s = 2 * self.bounds.join_s if self.shape.kind == "forgets" else 0.0
        return new_s + 2 * slowest_s + 16 * self.world.network.latency_s + 0.3

    # -- the story ---------------------------------------------------------------------------------

    def suffer_at(self, what: str, number: int) -> None:
        """Let something go wrong, with the resolver of this number if with one."""
        if what == "reload":
            self.renew()
            return
        chance, world = self.chance, self.world
        one = self.servers[number]
        host = one.host
        until = world.t + chance.uniform(0.1, 4.0)
        match what:
            case "kill":
                one.kill()
                one.troubled.append((world.t, world.t))
            case "forget":
                if self.shape.kind != "forgets":
                    one.troubled.append((world.t, world.t))
                one.freeze_streams()
            case "freeze":
                one.troubled.append((world.t, until))
                one.cuts.append((world.t, until))
                host.freeze(until)
            case "cut" | "silence":
                one.troubled.append((world.t, until))
                one.cuts.append((world.t, until))
                self.suffer(what, host)
            case _ if what in TROUBLES:
                if self.shape.is_real and what == ANOTHER:
                    what = "untrusted"
                one.be_troubled(what, until)
            case _:
                self.suffer(what, host)

    def renew(self) -> None:
        """Have LS read its certificate anew, or one that cannot be read."""
        world, chance = self.world, self.chance
        if not self.shape.has_front or self.ls.loop is None:
            return
        self.renewals += 1
        if chance.random() < 0.3:
            bad: Exception = chance.choice([ValueError("no certificate in it"), OSError(2, "gone")])
            self.ls.certificates[KEYS] = bad
        else:
            world.saw("a certificate is renewed")
            self.ls.certificates[KEYS] = self.new_certificate(self.renewals)
        self.ls.ring(SimSystem.hangup)
        wanted, number = self.ls.certificates[KEYS], self.renewals

        def look() -> None:
            is_last = number == self.renewals and not self.was_disturbed
            if is_last and isinstance(wanted, SimCertificate):
                hold(self.ls.shown[KEYS] == wanted, "renewed", f"{self.ls.shown[KEYS]} is shown")

        world.at(world.t + _RENEWED_S, look)

    def trust(self, authority: str) -> None:
        """Let LS trust another authority, and hear of it."""
        before = self.ls.authorities[""]
        if self.ls.loop is None or authority in before:
            return
        self.world.saw("authorities are read anew")
        self.ls.authorities[""] = before | {authority}
        self.ls.ring(SimSystem.hangup)

    def kinds_of_trouble(self) -> list[str]:
        """Return what may go wrong in a story of this kind."""
        all_of_it = [*TROUBLES, "kill", "forget", "freeze", "cut", "silence", "lose"]
        return {
            "idle": [],
            "few": [],
            "front": ["reload"],
            "certificates": list(BAD_CERTIFICATES),
            "handshakes": [*NO_HANDSHAKES, "ends"],
            "silent": ["silent", "forget", "freeze"],
            "forgets": ["forget"],
            "broken": ["breaks"],
            "killed": ["kill", "closed", "cut", "silence", "freeze", "pause LS"],
        }.get(self.shape.kind, [*all_of_it, "reload", "pause LS"])

    def live(self) -> None:
        world, chance = self.world, self.chance
        for asker in (*self.askers, *self.clients):
            asker.live()
        self.names = [chance.choice([*NAMES, *UNKNOWN]) for _ in range(20)]
        world.at(0.3, lambda: self.client.dial(self.ls))
        world.at(0.5, lambda: self.client.say(b"".join(name + b"\n" for name in self.names)))
        kinds = self.kinds_of_trouble()
        count = 0 if not kinds else 1 if self.shape.kind == "forgets" else chance.choice([1, 2, 4])
        for _ in range(count):
            what, number = chance.choice(kinds), chance.randrange(len(self.servers) or 1)
            at = chance.uniform(0, self.lasts_s - 1.0)
            world.at(at, lambda what=what, number=number: self.suffer_at(what, number))
        if any(client.host.name == "flood" for client in self.clients):
            world.at(chance.uniform(1.0, 5.0), self.flood)

    def flood(self) -> None:
        flood = self.clients[-1]
        for _ in range(60):
            flood.come()

    def leave(self) -> None:
        """Drain everything while clients are in the middle of their handshakes."""
        for client in self.clients[:1]:
            client.manners = ["says nothing", "hangs"]
            for _ in range(3):
                client.come()
        self.world.run_until(self.world.t + 4 * self.world.network.latency_s)
        began_at = self.ls.clock()
        super().leave()
        took_s = self.ls.exited_at - began_at
        longest_s = self.bounds.drain_s(with_dns=True) + _SLACK_S
        hold(took_s <= longest_s, "I14", f"the drain took {took_s:.3f} s")

    @property
    def whys(self) -> dict[str, str]:
        """The words of LS about each kind of certificate."""
        if self.shape.is_real:
            return {"expired": "expired"}
        return {
            "wrong name": "certificate is for elsewhere.test",
            "expired": "certificate has expired",
            "untrusted": "nobody known vouches for it",
            ANOTHER: "nobody known vouches for it",
            "early": "certificate is not valid yet",
        }

    def become_whole(self) -> None:
        for one in self.servers:
            one.be_whole()
        for host in self.watches:
            self.start_table(host, Bounds())
        super().become_whole()
        lines = bytes(self.client.heard).splitlines()
        hold(len(lines) == len(self.names), "P7", f"{len(lines)} replies to {len(self.names)}")
        for data in self.stream.replies():
            self.judge_words(data, "stream", self.world.t)
        flood = [each for each in self.clients if each.host.name == "flood"]
        count = sum(visit.layer.is_secured for each in flood for visit in each.here)
        hold(count <= 2 * self.bounds.tls_per_second, "handshakes", f"{count} in a second")
        for visit in [visit for client in self.clients for visit in client.here]:
            is_good = visit.manner == "well" and not (visit.is_over or visit.was_reset)
            left = [*visit.asked, *visit.to_ask]
            is_kept_out = not visit.layer.is_secured and visit.client.host.name == "flood"
            is_kept_out = is_kept_out or self.was_disturbed  # its handshake took too long, perhaps
            hold(not left or not is_good or is_kept_out, "P29", f"no reply to {left}")
            if visit.is_broken and self.is_whole and not (visit.was_reset or visit.has_finished):
                hold(visit.failure and visit.failure.kind == "refused", "records", "no alert")
                self.world.saw("a client that breaks a record hears an alert")
            if not visit.is_good:
                is_gone = visit.has_ended or visit.was_reset
                hold(is_gone, "handshakes", f"one that {visit.manner} is still there")
                if not visit.was_reset:
                    self.world.saw("a bad handshake is ended")
        self.client.end()
