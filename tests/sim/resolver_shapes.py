"""Shapes of the stories of LS before resolvers: what is odd about one, and who asks in masses.

A story is plain, or of one of these kinds:

- halves: two resolvers, each of which has half of the names and denies the others (REFUSED, or
  NXDOMAIN), calm; half of them with a load;
- load: hundreds of questions in flight, calm; resolvers read at a rate, from sockets that overflow;
- rough: a load with all the trouble of a plain story, sockets of LS that overflow, narrow ways;
- twice: resolvers send each datagram twice; freeze: they stand still, and then say all at once;
- dead: one of two never says a word;
- closed: for a while nobody listens at the ports of one or two resolvers, calm;
- moves: LS gets another address, time and again, calm;
- refused: what can be refused is: ports are closed, or for some; LS has no way, or may not send;
- elsewhere: a resolver moves to another address, time and again, and LS is told by a SIGHUP, calm;
- old: as halves, with errors that are a header only; one or both do not know EDNS; calm;
- odd: all the trouble of a plain story, and resolvers have habits: they do not know EDNS, send
  errors as a header only, bytes behind the end, more than LS reads, TC over TCP, or close a stream
  after each reply; there DNS waits longer than lines do;
- bogus: the first of three resolvers validates, and says so of what the second one forges and the
  third denies; or its clock is wrong, and it says so of everything; calm;
- private: the second of two resolvers has private addresses of some names, alone or behind others,
  which its LS is to take from the first only; with all the trouble of a plain story.

In a *calm* one nothing is lost by chance, nobody errs, and nothing else happens. In an *honest* one
nobody forges, nor says what is no reply.

Not here: the story, and what must be so (`tests/sim/resolver_story.py`).
"""

from dataclasses import dataclass
from ipaddress import ip_address
from random import Random

from tests.sim.dns_story import DnsAsker, DnsStory
from tests.support.dns_clients import AAAA, A, query
from tests.support.dns_messages import CODES, has_opt, said, without_opt

_ODD = ["halves", "old", "load", "rough", "twice", "halves", "odd", "freeze", "dead", "closed",
        "moves", "refused"]  # fmt: skip
_EVEN = [*["plain"] * 8, "bogus", "private", "elsewhere", "plain"]
KINDS = [kind for pair in zip(_EVEN, _ODD, strict=True) for kind in pair]  # of stories, in turn
ROOMS = [277, 300, 400]  # 277 datagrams are what Linux keeps by default; the window is for that
RATES = [None, 1_500.0, 4_000.0, 20_000.0]  # datagrams a second
CALM_LATENCY_S = 0.02  # at most: hundreds of questions are to be asked within a grace
LOAD_TAKES_S = 0.05  # at most
_FIRST_NUMBER = 8  # of a crowd's names: the others are everybody's
_GIVES_UP_S = 3.0
PUBLIC = "198.51.100."
# The last address of each is private.
PRIVATE_IPV4 = ["192.168.0.7", f"{PUBLIC}7,192.168.0.7", "127.0.0.7", "169.254.0.7", "0.0.0.0"]
PRIVATE_IPV6 = ["fd00::7", "2001:db8::7,fe80::7", "::ffff:10.7.7.7", "::1"]
PRIVATE = frozenset(str(ip_address(text.split(",")[-1])) for text in PRIVATE_IPV4 + PRIVATE_IPV6)
NO_EDNS = ["FORMERR", "NOTIMP", "bare FORMERR", "bare NOTIMP"]


def truth(question: str) -> str:
    """Return what a good resolver says: an address, or a code."""
    name, _, kind = question.partition(" ")
    if not name.endswith(".example"):
        return "NXDOMAIN"
    number = number_in(name)
    if "TYPE15" in kind or ("AAAA" in kind or ("TYPE28" in kind and number % 2)):
        return "NOERROR"
    if "TYPE28" in kind:
        return f"2001:db8::{number + 1:x}"
    return f"10.0.{number >> 8}.{number & 255}"


def is_forged(question: str) -> bool:
    """Return whether somebody forges this, where somebody does."""
    name = question.partition(" ")[0]
    return name.endswith(".example") and number_in(name) % 16 == 5


def forgery(question: str) -> str:
    """Return what a forger says of this."""
    true = truth(question)
    return true if true in CODES else "2001:db8::666" if ":" in true else "203.0.113.66"


def public_or_private(question: str, chance: Random) -> str:
    """Return what one says that is not to have private addresses: of a third of the names it has
    some."""
    true = truth(question)
    if true in CODES:
        return true
    number = number_in(question.partition(" ")[0])
    if number % 3:
        return true if ":" in true else f"{PUBLIC}{number & 255}"
    return chance.choice(PRIVATE_IPV6 if ":" in true else PRIVATE_IPV4)


def owner(question: str, count: int) -> str:
    """Return which of so many resolvers has it, if each has its part; "" for none."""
    name = question.partition(" ")[0]
    return f"DNS{number_in(name) % count + 1}" if name.endswith(".example") else ""


def number_in(name: str) -> int:
    """Return the number in a name that resolvers have."""
    return int(name[1 : name.index(".")])


@dataclass(frozen=True)
class Load:
    """The questions of a crowd: so many at a time, until it is `total`; each slot rests at most so
    long between a reply and its next question. A heavy one meets resolvers that read at a rate."""

    in_flight: int = 0
    total: int = 0
    rests_s: float = 0.0
    is_heavy: bool = False


LIGHT = Load(20, 100, 0.5)


@dataclass(frozen=True)
class Shape:
    """The oddities of a story; none, in a plain one."""

    kind: str = "plain"
    count: int | None = None  # of resolvers; None: as in a plain one
    denial: str = ""  # said of what others have, if each resolver has its part of the names
    load: Load = Load()
    has_two_peaks: bool = False  # a fifth of the replies takes 0.1 s to 0.3 s
    lasts_s: float = 8.0
    has_wrong_clock: bool = False  # the first resolver, that validates

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens but what the kind says."""
        return self.kind in (
            "halves",
            "load",
            "dead",
            "closed",
            "moves",
            "elsewhere",
            "old",
            "bogus",
        )

    @property
    def is_honest(self) -> bool:
        """Whether all that resolvers say are replies to what they were asked."""
        return self.is_calm or self.kind in ("twice", "freeze")


def draw_shape(seed: str, kind: str) -> Shape:
    """Draw the shape of the story of this seed, which is to be of this kind."""
    chance = Random(f"{seed}:shape")
    has_two_peaks = chance.random() < 0.3
    in_flight = chance.choice([200, 300, 400, 600])
    heavy = Load(in_flight, in_flight + 200, is_heavy=True)
    is_heavy = chance.random() < 0.5
    denial = chance.choice(["REFUSED", "NXDOMAIN"])
    match kind:
        case "halves":
            return Shape(kind, 2, denial, heavy if is_heavy else LIGHT, has_two_peaks)
        case "load" | "rough":
            return Shape(kind, None, "", heavy, has_two_peaks)
        case "twice":
            return Shape(kind, None, "", LIGHT, has_two_peaks)
        case "freeze":
            return Shape(kind, None, "", Load(40, 250, 2.0), lasts_s=16.0)
        case "dead":
            return Shape(kind, 2, denial, LIGHT)
        case "closed" | "moves" | "elsewhere":
            return Shape(kind, chance.choice([1, 2]), "", Load(20, 200, 0.5))
        case "refused":
            return Shape(kind, None, "", LIGHT)
        case "old":
            return Shape(kind, 2, "REFUSED", LIGHT, has_two_peaks)
        case "bogus":
            return Shape(kind, 3, "", Load(20, 250, 0.2), has_wrong_clock=is_heavy)
        case "private":
            return Shape(kind, 2, "", LIGHT)
        case "odd":
            return Shape(kind)
    return Shape()


@dataclass(frozen=True)
class Habits:
    """The habits in which a resolver differs from others. `no_edns`: what it says to an OPT
    record."""

    no_edns: str = ""
    is_terse: bool = False  # its errors are a header only
    tail: bytes = b""
    bulges: float = 0.0  # how often its datagrams are longer than what LS reads
    cuts_streams: float = 0.0  # how often it says TC over TCP
    closes: bool = False  # each stream, after a reply

    def worded(self, message: bytes, text: str) -> bytes:
        """Return its reply to a message, in words; see `said`."""
        if self.is_terse and text in ("REFUSED", "SERVFAIL"):
            text = f"bare {text}"
        data = said(message, text)
        if not text.startswith("bare ") and not has_opt(message):
            data = without_opt(data)
        return data + self.tail

    def is_lost_on(self, message: bytes) -> bool:
        """Return whether it does not understand this message."""
        return bool(self.no_edns) and has_opt(message)


def draw_habits(seed: str, kind: str, number: int) -> Habits:
    """Draw the habits of a resolver in a story of this kind."""
    chance = Random(f"{seed}:habits{number}")
    no_edns = chance.choice(NO_EDNS)
    match kind:
        case "old":
            return Habits(
                no_edns if not number or chance.random() < 0.5 else "",
                is_terse=True,
                tail=chance.choice([b"", b"\0tail"]),
            )
        case "odd":
            return Habits(
                no_edns if chance.random() < 0.5 else "",
                is_terse=chance.random() < 0.5,
                tail=chance.choice([b"", b"\0tail"]),
                bulges=chance.choice([0.0, 0.2]),
                cuts_streams=chance.choice([0.0, 0.3]),
                closes=chance.random() < 0.5,
            )
        case "twice":
            return Habits(no_edns if chance.random() < 0.5 else "")
    return Habits()


class Crowd(DnsAsker):
    """An asker that keeps many questions in flight, each about another name."""

    def __init__(self, story: DnsStory, load: Load) -> None:
        super().__init__(story, "crowd")
        self.load = load

    def live(self) -> None:
        for _ in range(self.load.in_flight):
            self.story.world.at(1.0 + self.chance.random() * self.load.rests_s, self.ask)

    def ask(self) -> None:
        if self.asked == self.load.total:
            return
        self.asked += 1
        number = self.asked
        name = b"n%d.example" % (_FIRST_NUMBER + number)
        self.open[number] = query(number, name, self.chance.choice([A] * 7 + [AAAA]))
        self.send(number, 1)
        self.story.world.at(self.story.world.t + _GIVES_UP_S, lambda: self.done(number))

    def done(self, number: int) -> None:
        """Ask the next: this has a reply, or is not waited for any longer."""
        if self.open.pop(number, None) is not None:
            rest_s = self.chance.random() * self.load.rests_s
            self.story.world.at(self.story.world.t + rest_s, self.ask)
