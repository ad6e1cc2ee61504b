"""Resolvers whose every reply can be told from all others, and says how long it holds.

A `Saying` is one reply of one resolver to one query. Its number is in its records: in each address,
in the serial of its SOA record, in the text of its TXT record. A reply of LS's can thus be traced
to its author, and to when LS read it. No two sayings of a name are equal: what a name has changes
all the time.

A `TimedResolver` changes its mood, too: it is well, fails, refuses, is silent, or slow; and each
has its own view of which names there are, which comes a little later to some. Its TTLs are short,
0, or very long; its negatives have an SOA record or have none.

Not here: what LS may make of it (`tests/sim/cache_account.py`).
"""

import math
import struct
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from core.io.frame_buffer import frame, split_frames
from tests.sim.scenes import Speaker
from tests.sim.sockets import SimDatagrams, SimSocket
from tests.sim.world import Host
from tests.support.dns_messages import (
    BOGUS,
    TO_QUESTION,
    bare,
    has_opt,
    name,
    opt,
    question_of,
    record,
    reply,
    said,
    section_of,
    without_opt,
)

if TYPE_CHECKING:
    from tests.sim.cache_story import CacheStory

DAY_S, HOUR_S, DISPUTED_S = 86_400, 3_600, 30
NAMES = [f"n{n}.example" for n in range(10)]
NEAR = ["mytest", "localhost.example", "7.1.168.193.in-addr.arpa", "7.1.168.in-addr.arpa"]
NOBODYS = ["localhost", "www.localhost", "a.invalid", "x.test", "test", "x.onion", "resolver.arpa",
           "_dns.resolver.arpa"]  # fmt: skip
NETWORKS = ["nas.home.arpa", "home.arpa", "printer.local", "db.internal",
            "7.1.168.192.in-addr.arpa", "10.in-addr.arpa", "9.8.20.172.in-addr.arpa",
            "1.0.254.169.in-addr.arpa", "a.d.f.ip6.arpa", "5.b.e.f.ip6.arpa"]  # fmt: skip
BOGUS_NAME = "bogus.example"
_FAILURES = ("SERVFAIL", "REFUSED", "BOGUS", "FORMERR", "TC")  # TC: the stream may fail
_TTLS = {0: [1], 1: [2], 2: [1, 2, 3, 4, 5], 3: [0, 1, 3], 4: [100_000, 86_400], 5: [1 << 31, 3],
         6: [2, 3, 5], 7: [5, 4_000]}  # fmt: skip
_OPT = 41


def key(message: bytes) -> str:
    """Return the question of a query, folded, with its type and flags."""
    spelled, _, rest = question_of(message).partition(" ")
    return f"{spelled.lower()} {rest}".rstrip()


def named(question: str) -> str:
    """Return the name that a question is about."""
    return question.partition(" ")[0]


def scope(question: str) -> str:
    """Return who may be asked for a question: "nobody", "network", or "all"."""
    asked = named(question)
    for names, found in ((NOBODYS, "nobody"), (NETWORKS, "network")):
        if asked in names:
            return found
    return "all"


@dataclass
class Saying:
    """A reply of a resolver, its number, and the TTLs of its records in their order. `asked_at`:
    when LS sent the query."""

    number: int
    by: str
    question: str
    what: str
    ttls: list[int]
    has_soa: bool
    asked_at: float
    read_at: float = math.inf  # by LS
    kept_at: float = math.inf  # by LS at the earliest
    was_open: bool = False  # the question was when LS read it
    lasts_s: float = 0.0  # may be told again for so long
    why_never: str = ""  # why it must not be told any more
    minimum: int = field(default=DAY_S)

    @property
    def is_data(self) -> bool:
        return self.what == "data"

    @property
    def is_failure(self) -> bool:
        return self.what in _FAILURES

    def capped(self) -> list[int]:
        """Return the TTLs with which it is kept."""
        if self.is_data:
            return [min(ttl, DAY_S) for ttl in self.ttls]
        least = min([*self.ttls, self.minimum, HOUR_S]) if self.has_soa else 0
        return [least] * len(self.ttls)


class TimedResolver:
    """A host that is asked: its replies hold for a time, and it has moods."""

    def __init__(self, story: "CacheStory", number: int, host: Host) -> None:
        self.story = story
        self.number = number
        self.name = f"DNS{number + 1}"
        self.host = host
        self.chance = chance = Random(f"{story.seed}:resolver{number}")
        host.on_touch = self.poll
        self.socket = SimDatagrams(host)
        self.links: list[Speaker] = []
        self.unsaid: list[tuple[bytes, int]] = []
        self.takes_s = chance.choice([0.001, 0.001, 0.02, 0.2])
        self.cuts = chance.choice([0.0, 0.0, 0.3])
        self.knows_edns = chance.random() < 0.8
        self.validates = number == 0 and chance.random() < 0.7
        self.lag_s = chance.choice([0.0, 0.5, 3.0])
        self.is_stopped = False
        self.down: list[tuple[float, float]] = []
        self.is_linked = False  # as LS has it
        self.bogus = 0
        can_stream = chance.random() < 0.8 and not story.shape.moves
        if not can_stream:
            self.cuts = 0.0
        listener = SimSocket(host, is_listening=True)
        host.dns_listener = listener if can_stream else None
        self.moods: list[tuple[float, str]] = []
        at = 0.0
        while at < story.lasts_s:
            self.moods.append((at, chance.choice(story.shape.moods)))
            at += chance.uniform(0.5, 4.0) * story.lasts_s / 8.0

    # -- its words ---------------------------------------------------------------------------------

    def mood(self) -> str:
        return self.mood_at(self.story.world.t)

    def mood_at(self, now: float) -> str:
        if now > self.story.lasts_s:
            return "well"
        return next(mood for at, mood in reversed(self.moods) if at <= now)

    def view(self, question: str) -> str:
        """Return what it says of a question when it is well: there is data, or not."""
        asked, _, rest = question.partition(" ")
        if asked == BOGUS_NAME:
            has_room = self.validates and self.bogus < self.story.bogus_most and "+cd" not in rest
            return "BOGUS" if has_room else "data"
        if asked.startswith("u"):
            return "NXDOMAIN"
        if asked[:2] in ("n1", "n3") and ("AAAA" in rest or "TYPE28" in rest):
            return "NOERROR"
        changes = self.story.changes.get(asked, [(0.0, "data")])
        now = self.story.world.t - self.lag_s
        return next((what for at, what in reversed(changes) if at <= now), "data")

    def draw(self, question: str) -> tuple[str, float]:
        """Draw what it says, and after how long; infinite for never."""
        chance, true = self.chance, self.view(question)
        wait_s = self.takes_s * chance.uniform(0.5, 1.5)
        match self.mood():
            case "SERVFAIL":
                return "SERVFAIL", wait_s
            case "REFUSED":
                return "REFUSED", wait_s
            case "silent":
                return true, math.inf
            case "slow":
                return true, chance.uniform(0.3, 4.0)
            case "mixed":
                odd = chance.choice([true, true, "SERVFAIL", "REFUSED", "NXDOMAIN", "late", "lost"])
                if odd == "late":
                    return true, chance.uniform(0.5, 4.0)
                return (true, math.inf) if odd == "lost" else (odd, wait_s)
        return true, wait_s

    def word(self, message: bytes, text: str, asked_at: float) -> tuple[Saying, bytes]:
        """Write a reply, and note it in the account."""
        question = key(message)
        number, chance = self.story.account.next_number(), self.chance
        number_ttls = _TTLS[sum(named(question).encode()) % len(_TTLS)]

        def ttl() -> int:
            return chance.choice(number_ttls)

        records: tuple[list[bytes], list[bytes], list[bytes]] = [], [], []
        ttls: list[int] = []
        minimum, has_soa = DAY_S, False

        def add(section: int, owner: bytes, kind: str, data: bytes) -> None:
            ttls.append(ttl())
            records[section].append(record(owner, kind, data, ttls[-1]))

        code = "NOERROR"
        if text == "data":
            owner = TO_QUESTION
            kind = question.partition(" ")[2]
            if chance.random() < 0.2 and "TYPE15" not in kind:
                add(0, TO_QUESTION, "CNAME", name("alias.example"))
                at = 12 + len(section_of(message)) + 12  # of the alias
                owner = (0xC000 | at).to_bytes(2)
            for each in range(chance.choice([1, 1, 3])):
                add(0, owner, *data_of(kind, number, each))
            if chance.random() < 0.3:
                add(1, name("example"), "NS", name("ns.example"))
            if chance.random() < 0.3:
                add(2, name("ns.example"), "A", bytes([10, 9, 9, 9]))
        elif text in ("NXDOMAIN", "NOERROR"):
            code, has_soa = text, chance.random() < 0.8
            if has_soa:
                minimum = ttl()
                data = name("ns.example") + name("root.example")
                data += struct.pack(">5I", number, 3_600, 600, DAY_S, minimum)
                add(1, name("example"), "SOA", data)
            else:
                add(2, name("example"), "TXT", b"\6%06d" % number)
        options = BOGUS if text == "BOGUS" else b""
        if text in ("data", "NXDOMAIN", "NOERROR", "BOGUS"):
            data = reply(
                message,
                "SERVFAIL" if text == "BOGUS" else code,
                answers=tuple(records[0]),
                authorities=tuple(records[1]),
                additionals=(*records[2], opt(options)),
            )
            data = data if has_opt(message) or options else without_opt(data)
        else:
            data = bare(message, text) if text == "FORMERR" else said(message, text)
        saying = Saying(number, self.name, question, text, ttls, has_soa, asked_at)
        saying.minimum = minimum
        self.bogus += text == "BOGUS"
        self.story.account.sayings[number] = saying
        return saying, data

    # -- datagrams ---------------------------------------------------------------------------------

    def poll(self) -> None:
        unsaid, self.unsaid = self.unsaid, []
        for data, port in unsaid:
            self.send(data, port)
        while self.socket.arrived:
            data, (_, port) = self.socket.arrived.popleft()
            self.take(data, port)
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

    def take(self, message: bytes, port: int) -> None:
        story = self.story
        question = key(message)
        story.account.asked(self, question)
        asked_at = story.account.sent_at.get((self.name, port, message[:2]), story.world.t)
        text, wait_s = self.draw(question)
        if not self.knows_edns and has_opt(message):
            text = "FORMERR"
        elif self.chance.random() < self.cuts and wait_s < math.inf:
            text = "TC"
        if wait_s == math.inf:
            return
        saying, data = self.word(message, text, asked_at)
        story.account.on_its_way[self.name, port, message[:2]] = saying
        story.world.at(story.world.t + wait_s, lambda: self.send(data, port))

    def take_framed(self, link: Speaker, message: bytes) -> None:
        story = self.story
        question = key(message)
        story.account.asked(self, question)
        text, wait_s = self.draw(question)
        if not self.knows_edns and has_opt(message):
            text = "FORMERR"
        if wait_s == math.inf:
            return
        saying, data = self.word(message, text, story.world.t)
        story.account.on_its_way[self.name, 0, message[:2]] = saying
        story.world.at(story.world.t + wait_s, lambda: link.say(frame(data)))

    def send(self, data: bytes, port: int) -> None:
        if self.is_stopped:
            return
        if self.host.paused_until > self.story.world.t:
            self.unsaid.append((data, port))
            return
        self.socket.sendto(data, ("LS", port))

    def was_down(self, since: float) -> bool:
        """Return whether LS may have taken it to be down at some time since then."""
        now = self.story.world.t
        return not self.is_linked or any(at <= now and until > since for at, until in self.down)

    def stop(self, until: float) -> None:
        """Stop the program; it ends with all that it was to say, and is started again then."""
        listener, self.host.dns_listener = self.host.dns_listener, None
        self.host.rejects, self.is_stopped = 1.0, True
        self.down.append((self.story.world.t, until))

        def start() -> None:
            self.host.dns_listener = listener
            self.host.rejects, self.is_stopped = 0.0, False

        self.story.world.at(until, start)


def data_of(kind: str, number: int, each: int) -> tuple[str, bytes]:
    """Return the type and the data of a record of a saying, for a question of this kind."""
    if "TYPE15" in kind:
        return "MX", number.to_bytes(2) + name(f"mx{each}.example")
    if "AAAA" in kind or "TYPE28" in kind:
        return "AAAA", bytes.fromhex("20010db8") + bytes(9) + number.to_bytes(2) + bytes([each])
    return "A", bytes([11]) + number.to_bytes(2) + bytes([each])


def number_of(kind: int, data: bytes) -> int | None:
    """Return the number of the saying that a record of LS's reply is from, if it says so."""
    match kind:
        case 1 if data[0] == 11:
            return int.from_bytes(data[1:3])
        case 28 if data[:4] == bytes.fromhex("20010db8"):
            return int.from_bytes(data[13:15])
        case 15:
            return int.from_bytes(data[:2])
        case 6:
            return int.from_bytes(data[-20:-16])
        case 16:
            return int(data[1:7])
    return None


@dataclass
class Told:
    """A reply of LS's, taken apart. `is_line`: it says no TTLs, and no number without data."""

    code: int
    ttls: list[int]
    numbers: set[int]
    addresses: set[bytes]  # in A and AAAA records
    errors: set[int]  # extended ones
    has_edns: bool = False
    is_line: bool = False


def take_apart(message: bytes) -> Told:
    """Take a reply of LS's apart."""
    flags, _, *counts = struct.unpack_from(">5H", message, 2)
    told = Told(flags & 15, [], set(), set(), set())
    at = _after_name(message, 12) + 4
    for _ in range(sum(counts)):
        at = _after_name(message, at)
        kind, _, ttl, size = struct.unpack_from(">HHIH", message, at)
        at += 10
        data = message[at : at + size]
        at += size
        if kind == _OPT:
            told.has_edns = True
            told.errors = _errors(data)
            continue
        told.ttls.append(ttl)
        if (number := number_of(kind, data)) is not None:
            told.numbers.add(number)
        if kind in (1, 28):
            told.addresses.add(data)
    assert at == len(message), message
    return told


def _after_name(message: bytes, at: int) -> int:
    while size := message[at]:
        if size >= 0xC0:
            return at + 2
        at += 1 + size
    return at + 1


def _errors(options: bytes) -> set[int]:
    found: set[int] = set()
    at = 0
    while at < len(options):
        code, size = struct.unpack_from(">HH", options, at)
        if code == 15:
            found.add(int.from_bytes(options[at + 4 : at + 6]))
        at += 4 + size
    return found
