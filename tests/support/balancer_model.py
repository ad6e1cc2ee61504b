"""A model of LS before table servers: who asked what, who was asked, who is owed what.

A question is one record, and what happens walks over all of them. Whom LS asks, and when, is looked
at and not predicted; given that, every byte that it owes its clients is. Checks are told what
happens in the model, and compare what LS shows (`balancer_checks.py`).

Not here: what happens (`tests/nodes/test_load_balancer_machine.py`).
"""

import ipaddress
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams
from core.effects import Effect, Send
from core.environment import Environment
from core.operator import Record
from core.owed import Owed
from core.protocol.names import Negative
from core.text import split_lines
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from tests.support.balancers import addresses_of, load_balancer
from tests.support.dns_clients import AAAA, A, Reply, query
from tests.support.splitting import folded
from tests.support.stage import Stage

UDP = "dns-client-0"
HERE = ("127.0.0.1", 4000)
TSS = ("TS1", "TS2", "TS3")
LIVE = frozenset({"CATCHING_UP", "UP", "HOLDING"})
CODES = {Negative.NOT_FOUND: 3, Negative.NO_DATA: 0, Negative.TIMED_OUT: 2}

# Small, so that chance gets to them; multiples of 1/64 s, so that a moment can be hit exactly.
SMALL = replace(
    Bounds(),
    dns_timeout_s=1.75,
    redial_first_s=1 / 64,  # within the delay: a link may be back before anybody is late
    no_data_s=3 / 64,
    hedge_delay_min_s=1 / 64,
    hedge_tokens_max=3,
    explore_every=5,
    errors_in_a_row_max=4,
    surplus_answers_max=6,
    pending_per_client_max=7,
    samples_max=4,
)
CLOGGED = replace(SMALL, waiting_bytes_high=12, waiting_bytes_low=5, pending_per_client_max=1000)

REFUSED = {
    b"PING ": b"BADNAME", b"two words": b"BADNAME", b"\xff": b"BADNAME", b"a aaaa": b"BADNAME",
    b"a  AAAA": b"BADNAME", b" AAAA": b"BADNAME", b"x" * 513: b"TOOLONG",
}  # fmt: skip
SILENT = [b"a - TIMED OUT", b"- ERROR BADNAME", b"BYE", b"c AAAA - TIMED OUT"]
MALFORMED = [
    b"a", b"a 10.0.0.256 A IN", b"c 10.0.0.1 A", b"\0", b"a 10.0.0.1 A IN ", b"a AAAA",
    b"a ::1 A IN", b"a 10.0.0.1 AAAA IN", b"a 10.0.0.1, A IN", b"a 10.0.0.1,::1 A IN",
    b"a aaaa - NOT FOUND", b"a - not found", b"a - NOT FOUND ", b"- - NO DATA", b"a A - NO DATA",
]  # fmt: skip
# In the order in which LS takes them.
NO_ANSWERS = (b"NO DATA", b"NAMES BELOW", b"BLOCKED", b"NOT FOUND")


def split_type(question: bytes) -> tuple[bytes, bytes]:
    """Return its name, and what stands behind it."""
    name = question.removesuffix(b" AAAA")
    return name, question[len(name) :]


def without_dot(question: bytes) -> bytes:
    name, rest = split_type(question)
    return name.removesuffix(b".") + rest


def question_of(reply: bytes) -> bytes:
    """Return what a reply replies to, folded."""
    if b" - " in reply:
        return folded(reply.rpartition(b" - ")[0])
    name, _, kind, _ = reply.split(b" ")
    return folded(name + b" AAAA" if kind == b"AAAA" else name)


# -- clients and servers ---------------------------------------------------------------------------


@dataclass(eq=False)
class Asker:
    """A client that speaks lines."""

    conn: str
    timeout_s: float
    typed: bytes = b""  # on its way to LS
    half: bytes = b""  # the line that has not ended
    is_dropping: bool = False  # the rest of a line that is too long
    may_ask: bool = True
    wants_bye: bool = True
    has_ended: bool = False  # its input
    errors_in_a_row: int = 0
    expected: list[Any] = field(default_factory=list)  # to be heard before anything else
    is_done: bool = False  # and then nothing more
    is_dns = False

    def is_answered(self, question: "Question", line: bytes) -> None:
        self.expected.append(line)

    def is_denied(self, question: "Question", why: Negative) -> None:
        self.expected.append(question.spelling + b" - " + why.value)

    def heard(self, stage: Stage) -> list[Any]:
        """Return what it was told since the last time."""
        return split_lines(stage.take(self.conn))

    @staticmethod
    def in_order(told: list[Any]) -> tuple[list[Any], list[Any]]:
        """Return it without an order where none is promised: of all that is no answer."""
        denials = [line for line in told if b" - " in line]
        return [line for line in told if b" - " not in line], sorted(denials)


class DnsAsker(Asker):
    """All clients behind a socket of datagrams."""

    is_dns = True

    def is_answered(self, question: "Question", line: bytes) -> None:
        texts = line.split(b" ")[1].decode().split(",")
        addresses = sorted({str(ipaddress.ip_address(text)) for text in texts})
        self.expected.append((question.number, split_type(question.spelling)[0], 0, addresses))

    def is_denied(self, question: "Question", why: Negative) -> None:
        self.refuse(question.number, question.spelling, CODES[why])

    def refuse(self, number: int, spelling: bytes, code: int) -> None:
        self.expected.append((number, split_type(spelling)[0], code, []))

    def heard(self, stage: Stage) -> list[Any]:
        said, stage.replies[self.conn] = stage.replies[self.conn], []
        assert all(whence == HERE for _, whence in said)
        replies = [Reply(data) for data, _ in said]
        return [(one.number, one.name, one.code, sorted(one.addresses)) for one in replies]

    @staticmethod
    def in_order(told: list[Any]) -> tuple[list[Any], list[Any]]:
        return sorted(told), []


@dataclass(eq=False)
class Server:
    """A TS, and what went over its present connection; `sent` is of open questions."""

    conn: str
    typed: bytes = b""
    half: bytes = b""
    is_up: bool = False
    has_quit: bool = False  # it is to be told QUIT
    was_told: bool = False
    errors_in_a_row: int = 0
    asked: int = 0
    answered: int = 0
    unheard: int = 0  # questions since it was heard
    heard_at: float = 0.0  # or came
    pings: int = 0
    sent: dict[bytes, int] = field(default_factory=dict)  # of which asking anew it had each
    got: list[bytes] = field(default_factory=list)  # lines, since they were looked at
    well_since: float = 0.0  # since when it has taken what it is sent
    counted: Counter[str] = field(default_factory=Counter)  # as metrics have it

    def hang_up(self) -> None:
        self.is_up = self.has_quit = self.was_told = False
        self.typed = self.half = b""
        self.errors_in_a_row = self.asked = self.answered = self.unheard = self.pings = 0
        self.sent.clear()


@dataclass(eq=False)
class Question:
    """A question of an asker. `batch`: all that it asked in the same read. `number`: a DNS ID."""

    asker: Asker
    spelling: bytes
    asked_at: float
    batch: list[bytes]
    number: int = 0

    @property
    def name(self) -> bytes:
        """The question folded: a name, and maybe its type."""
        return folded(self.spelling)

    @property
    def due(self) -> float:
        return self.asked_at + self.asker.timeout_s


@dataclass(eq=False)
class Life:
    """A question for all who ask it, from the first who does until nobody waits for it."""

    began: float
    anew_at: float  # when it was last asked anew: the beginning, or `join_s` later
    anew: int = 1  # how often
    held_until: float | None = None  # a TS has said that the name exists, or that none does
    held: Negative = Negative.NOT_FOUND  # NO_DATA once a TS has said that the name exists
    spoken: set[str] = field(default_factory=set)  # servers that have nothing


class Check:
    """Something that has to hold. It is told what happens in the model, before LS is."""

    def __init__(self, model: "Model") -> None:
        self.model = model

    def asked(self, names: list[bytes]) -> None:
        """Take note of questions that are new, or asked anew."""

    def sent(self, server: Server, name: bytes) -> None:
        """Take note that LS has asked a TS; it is not in `server.sent` yet."""

    def connected(self, server: Server) -> None:
        """Take note that a link comes up."""

    def answered(self, server: Server, name: bytes, line: bytes, is_admitted: bool) -> None:
        """Take note that a TS answers."""

    def denied(self, server: Server, name: bytes, what: bytes) -> None:
        """Take note that a TS has nothing of this."""

    def closed(self, name: bytes, end: str) -> None:
        """Take note that nobody waits for it any more."""

    def moment(self) -> None:
        """Time has passed; what was due is closed."""

    def holds(self) -> None:
        """Compare, between two events."""

    def ends(self) -> None:
        """Compare, when everybody has gone."""


class WatchedStage(Stage):
    """Says of every line to a TS when it is sent, and keeps the records."""

    def __init__(self, brain: LoadBalancer, bounds: Bounds) -> None:
        super().__init__(brain, bounds)
        self.note: Callable[[str, bytes], None] = lambda conn, line: None
        self.records: list[bytes] = []

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Record):
            self.records.append(effect.data)
            return
        if isinstance(effect, Send) and effect.conn in TSS:
            for line in split_lines(effect.data):
                self.note(effect.conn, line)
        super().perform(effect)

    def wait_until(self, moment: float) -> None:
        self.wait(0.0)
        while self.now < moment and self.exit_code is None:
            self.now = min(moment, max(self.brain.due, self.now))
            self.wait(0.0)


class Model:
    """The clients and the TSs of one LS, and all that is open."""

    def __init__(
        self,
        bounds: Bounds,
        servers: int,
        kinds: Iterable[type[Check]],
        extra_load: float | None = None,
    ) -> None:
        self.bounds = bounds
        self.share = extra_load
        self.owed = Owed(bounds, BoundHits())
        addresses = addresses_of(servers)
        self.brain = load_balancer(
            addresses,
            bounds,
            lambda: 0.0,
            owed=self.owed,
            dns=DnsFrontEnd(Environment(bounds), 60),
            extra_load=extra_load,
            sample=1.0,
            hosts=[(name.lower(), 1) for name in TSS[:servers]],
        )
        self.stage = WatchedStage(self.brain, bounds)
        self.stage.note = self.note
        self.askers: list[Asker] = []
        self.servers = {name: Server(name) for name in TSS[:servers]}
        self.where = dict(zip(TSS, addresses, strict=False))
        self.open: list[Question] = []
        self.lives: dict[bytes, Life] = {}
        self.counted: Counter[str] = Counter()  # as metrics have it
        self.closed = b"a"  # the last question that was closed
        self.came = self.said = 0
        self.is_draining = False
        self.now = self.stage.now
        self.checks = [kind(self) for kind in kinds]
        self.stage.begin()
        for name in self.servers:
            self.connect(self.servers[name])

    # -- clients -----------------------------------------------------------------------------------

    def come(self) -> None:
        if self.stage.listening:
            self.came += 1
            self.askers.append(Asker(f"client-{self.came}", self.bounds.timeout_s))
            self.stage.accept(self.askers[-1].conn)

    def come_by_dns(self) -> None:
        self.askers.append(DnsAsker(UDP, self.bounds.dns_timeout_s))
        self.stage.take_datagrams(UDP)

    def client_is_read(self, asker: Asker, count: int) -> None:
        """Let a client be read, unless it is paused."""
        if asker.conn in self.stage.paused or not asker.typed or not count:
            return
        whole = data = asker.typed[:count]
        asker.typed = asker.typed[count:]
        if asker.is_dropping:
            _, end, data = data.partition(b"\n")
            asker.is_dropping = not end
        *lines, asker.half = (asker.half + data).split(b"\n")
        if len(asker.half) > 512:  # refused at once, and the rest of it is dropped
            lines.append(asker.half)
            asker.half, asker.is_dropping = b"", True
        self.read(asker, lines)
        self.stage.hear(asker.conn, whole)
        self.settle()

    def read(self, asker: Asker, lines: list[bytes]) -> None:
        """Read whole lines at once."""
        spellings: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line or not asker.may_ask:
                continue
            if line == b"QUIT":
                asker.may_ask = False
            elif line in REFUSED or len(line) > 512:
                asker.expected.append(b"- ERROR " + REFUSED.get(line, b"TOOLONG"))
                self.counted["errors"] += 1
                asker.errors_in_a_row += 1
                asker.may_ask = asker.errors_in_a_row < self.bounds.errors_in_a_row_max
            else:
                asker.errors_in_a_row = 0
                spellings.append(without_dot(line))
        self.ask(asker, [(spelling, 0) for spelling in spellings])

    def ask_by_dns(self, asker: DnsAsker, spellings: list[bytes]) -> None:
        """Ask these in as many datagrams of one turn."""
        self.came += 1
        numbered = [(spelling, 100 * self.came + n) for n, spelling in enumerate(spellings)]
        datagrams = [
            (query(number, split_type(spelling)[0], AAAA if b" " in spelling else A), HERE)
            for spelling, number in numbered
        ]
        if asker.may_ask:
            room = self.bounds.pending_per_client_max - self.owed_to(asker)
            for spelling, number in numbered[max(0, room) :]:
                asker.refuse(number, spelling, CODES[Negative.TIMED_OUT])
            self.ask(asker, numbered[: max(0, room)])
        self.stage.step(Datagrams(UDP, datagrams))
        self.settle()

    def ask(self, asker: Asker, spellings: list[tuple[bytes, int]]) -> None:
        """Ask: what is open, and was asked less than a second ago, is joined."""
        batch = [folded(spelling) for spelling, _ in spellings]
        to_ask = []
        for (spelling, number), name in zip(spellings, batch, strict=True):
            self.open.append(Question(asker, spelling, self.now, batch, number))
            life = self.lives.get(name)
            if life is None:
                self.lives[name] = Life(self.now, self.now)
            elif self.now - life.anew_at < self.bounds.join_s:
                self.counted["joined"] += 1
                continue
            else:
                life.anew_at = self.now
                life.anew += 1
                if life.held_until is None:  # a server that is asked anew speaks anew
                    life.spoken.clear()
            to_ask.append(name)
        self.counted["asked"] += len(batch)
        for check in self.checks:
            check.asked(to_ask)

    def client_ends(self, asker: Asker) -> None:
        """Half-close a client, after everything that is on its way, if that can be read."""
        self.client_is_read(asker, len(asker.typed))
        if asker.typed or asker.conn in self.stage.paused or asker not in self.askers:
            return
        self.stage.end(asker.conn)
        asker.has_ended = True
        if asker.may_ask:
            if asker.half:
                asker.expected.append(b"- ERROR UNFINISHED")
                self.counted["errors"] += 1
            asker.may_ask = asker.wants_bye = False
        self.settle()

    def client_vanishes(self, asker: Asker) -> None:
        self.stage.held.discard(asker.conn)
        self.stage.settle()
        self.compare_asker(asker)
        self.askers.remove(asker)
        mine = [question for question in self.open if question.asker is asker]
        self.counted["dropped"] += len(mine)
        self.open = [question for question in self.open if question not in mine]
        self.close_deserted(mine, "DROPPED")
        self.stage.reset(asker.conn)
        self.settle()

    def owed_to(self, asker: Asker) -> int:
        return sum(question.asker is asker for question in self.open)

    # -- table servers -----------------------------------------------------------------------------

    def note(self, conn: str, line: bytes) -> None:
        """Take note of a line to a TS, at the moment of sending."""
        self.now = self.stage.now
        server = self.servers[conn]
        assert server.is_up
        if line == b"QUIT":
            assert self.is_draining
            server.was_told = True
            return
        if line == b"PING":
            assert server.unheard >= self.bounds.silent_questions
            assert self.now - server.heard_at >= self.bounds.silent_s
            server.pings += 1
            return
        server.got.append(line)
        assert line in self.lives, "it is asked for, and nobody waits for it"
        for check in self.checks:
            check.sent(server, line)
        server.sent[line] = self.lives[line].anew
        server.asked += 1
        server.unheard += 1
        server.counted["asked"] += 1

    def connect(self, server: Server) -> None:
        assert self.stage.addresses[server.conn] == self.where[server.conn]
        server.hang_up()
        server.is_up, server.well_since, server.heard_at = True, self.now, self.now
        for check in self.checks:
            check.connected(server)
        self.stage.connect(server.conn)
        self.settle()

    def go(self, server: Server, how: str) -> None:
        """Lose a connection."""
        self.compare()
        self.stage.held.discard(server.conn)
        self.lose(server)
        getattr(self.stage, how)(server.conn)
        self.settle()

    def lose(self, server: Server) -> None:
        """Forget what it has said; what is held stays held."""
        server.hang_up()
        for life in self.lives.values():
            life.spoken.discard(server.conn)

    def write(self, number: int, spell: Callable[[bytes], bytes], what: int | bytes) -> bytes:
        """Write a reply to a question that is open, or was closed last: see `reply`."""
        names = [*self.lives, self.closed]
        return self.reply(names[number % len(names)], spell, what)

    def reply(self, name: bytes, spell: Callable[[bytes], bytes], what: int | bytes) -> bytes:
        """Write a reply to a question: so many addresses that nobody has said before, at 0 the last
        one anew, or that there are none."""
        name, rest = split_type(name)
        if isinstance(what, bytes):
            return b"%b%b - %b" % (spell(name), rest, what)
        self.said += what > 0
        one = b"2001:db8::%x" % self.said if rest else b"10.0.%d.%d" % divmod(self.said, 250)
        addresses = b",".join([one] * max(1, what))
        return b"%b %b %b IN" % (spell(name), addresses, rest.strip() or b"A")

    def server_is_read(self, server: Server, count: int) -> None:
        if not server.is_up or not server.typed or not count:
            return
        data, server.typed = server.typed[:count], server.typed[count:]
        *lines, server.half = (server.half + data).split(b"\n")
        answers: list[bytes] = []
        denials: dict[bytes, list[bytes]] = {what: [] for what in NO_ANSWERS}
        is_lost = False
        if lines:
            server.unheard, server.heard_at = 0, self.now
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                continue
            server.answered += 1
            if line in MALFORMED:
                server.counted["malformed"] += 1
                server.errors_in_a_row += 1
                is_lost = server.errors_in_a_row == self.bounds.errors_in_a_row_max
                if is_lost:
                    break
                continue
            server.errors_in_a_row = 0
            if line.endswith(b" IN"):
                answers.append(line)
            elif line.endswith(NO_ANSWERS):
                denials[line.rpartition(b" - ")[2]].append(question_of(line))
            else:
                server.counted["nothing_said"] += 1
        for line in answers:  # of one read, they go first
            self.credit(server, line)
        self.deny(server, denials)
        is_lost |= server.answered > server.asked + server.pings + self.bounds.surplus_answers_max
        if is_lost:
            for check in self.checks:
                check.connected(server)  # as far as certainty goes
        self.stage.hear(server.conn, data)
        if is_lost:
            self.stage.held.discard(server.conn)
            self.stage.settle()
            assert server.conn not in self.stage.connections, (server, self.stage.reports, data)
            self.lose(server)
        self.settle()

    def credit(self, server: Server, line: bytes) -> None:
        """Give everyone who waits for that question the line as it came, once for each; if the TS
        was asked on this connection."""
        name = question_of(line)
        is_admitted = name in server.sent
        for check in self.checks:
            check.answered(server, name, line, is_admitted)
        if not is_admitted:
            self.count_late(server)
            return
        waiting = self.take(name)
        for question in waiting:
            question.asker.is_answered(question, line)
        self.counted["answered"] += len(waiting)
        server.counted["won"] += 1
        self.close([name], "ANSWERED")

    def count_late(self, server: Server) -> None:
        self.counted["late"] += 1
        server.counted["late"] += 1

    def deny(self, server: Server, denials: dict[bytes, list[bytes]]) -> None:
        """Let it have nothing about these: held until every TS that is live has spoken, if one has
        said that the name exists; else NOT FOUND when everyone has."""
        live = self.live()
        decided: dict[bytes, None] = {}
        for what in (b"NOT FOUND", b"NO DATA", b"NAMES BELOW", b"BLOCKED"):
            for name in denials[what]:
                for check in self.checks:
                    check.denied(server, name, what)
        for what, names in denials.items():
            for name in names:
                if name not in server.sent:
                    self.count_late(server)
                    continue
                life = self.lives[name]
                life.spoken.add(server.conn)
                decided[name] = None
                if what != b"NOT FOUND":
                    is_final = what in (b"NO DATA", b"BLOCKED")
                    until = self.now + self.bounds.no_data_s if is_final else math.inf
                    before = math.inf if life.held_until is None else life.held_until
                    life.held_until = min(before, until)
                    if what != b"BLOCKED":
                        life.held = Negative.NO_DATA
        ended = [name for name in decided if self.is_held_in_vain(self.lives[name], live)]
        nowhere = [
            name
            for name in decided
            if self.lives[name].held_until is None
            and self.lives[name].spoken == self.servers.keys()
        ]
        self.end_held(ended)
        self.end(nowhere, Negative.NOT_FOUND)

    def live(self) -> set[str]:
        """Return those from which an answer can be hoped for, as LS shows them."""
        shown = {value.key: value.value for value in self.brain.parts.upstreams.metrics()}
        return {name for name in self.servers if shown[f"{name}.state"] in LIVE}

    @staticmethod
    def is_held_in_vain(life: Life, live: set[str]) -> bool:
        return life.held_until is not None and life.spoken >= live

    # -- the ends of questions ---------------------------------------------------------------------

    def take(self, name: bytes) -> list[Question]:
        """Take out all who wait for it."""
        waiting = [question for question in self.open if question.name == name]
        self.open = [question for question in self.open if question.name != name]
        return waiting

    def end_held(self, names: list[bytes]) -> None:
        """End these with the best that was said of each."""
        held = {name: self.lives[name].held for name in names}
        for why in (Negative.NO_DATA, Negative.NOT_FOUND):
            self.end([name for name in names if held[name] is why], why)

    def end(self, names: list[bytes], why: Negative) -> None:
        """End these: everyone who waits for them hears so, in its own spelling."""
        for name in names:
            for question in self.take(name):
                question.asker.is_denied(question, why)
                self.counted[why.name.lower()] += 1
        self.close(names, why.name)

    def close(self, names: Iterable[bytes], end: str) -> None:
        for name in names:
            self.closed = name
            del self.lives[name]
            for server in self.servers.values():
                server.sent.pop(name, None)
            for check in self.checks:
                check.closed(name, end)

    def close_deserted(self, gone: list[Question], end: str) -> None:
        """Close what nobody waits for any more."""
        still = {question.name for question in self.open}
        self.close([n for n in dict.fromkeys(q.name for q in gone) if n not in still], end)

    def time_passes(self, seconds: float) -> None:
        """Time out questions that were asked so long ago. Release negatives that were held for
        their time, or with a question that times out."""
        until = self.stage.now + seconds
        while self.stage.exit_code is None:
            dues = [question.due for question in self.open]
            dues += [life.held_until for life in self.lives.values() if life.held_until is not None]
            moment = min([until, *dues, self.brain.due])
            self.now = max(moment, self.stage.now)
            self.do_what_is_due()
            self.stage.wait_until(self.now)
            self.settle()
            if self.now >= until:
                break

    def do_what_is_due(self) -> None:
        over = [question for question in self.open if question.due <= self.now]
        named = {name for question in over for name in question.batch}
        held = [
            name
            for name, life in self.lives.items()
            if life.held_until is not None and (life.held_until <= self.now or name in named)
        ]
        self.end_held(held)
        over = [question for question in over if question in self.open]
        for question in over:
            self.open.remove(question)
            question.asker.is_denied(question, Negative.TIMED_OUT)
            self.counted["timed_out"] += 1
        self.close_deserted(over, "TIMED_OUT")
        for check in self.checks:
            check.moment()

    # -- the end -----------------------------------------------------------------------------------

    def drain(self) -> None:
        self.is_draining = True
        for asker in self.askers:
            asker.may_ask = False
        self.stage.drain()
        self.settle()

    def settle(self) -> None:
        """Release what is held in vain. Tell those who will ask nothing more and are owed nothing;
        without anyone, LS parts."""
        self.now = self.stage.now
        live = self.live()
        self.end_held([n for n, one in self.lives.items() if self.is_held_in_vain(one, live)])
        for asker in list(self.askers):
            if not asker.may_ask and not asker.is_done and not self.owed_to(asker):
                asker.is_done = True
                if asker.is_dns:
                    asker.has_ended = True
                elif asker.wants_bye:
                    asker.expected.append(b"BYE")
            is_stuck = asker.conn in self.stage.held and asker.conn in self.stage.connections
            if asker.is_done and asker.has_ended and not is_stuck:
                self.stage.held.discard(asker.conn)
                self.compare_asker(asker)
                assert asker.conn not in self.stage.connections
                self.askers.remove(asker)
        if self.is_draining and not self.askers:
            for server in self.servers.values():
                server.has_quit = server.is_up
        if self.stage.exit_code is not None:
            self.be_gone()

    def be_gone(self) -> None:
        """Check that LS has stopped: what is still open is closed, and nothing more happens."""
        assert not self.open and self.is_draining and self.stage.exit_code == 0
        self.compare()
        self.askers.clear()
        self.stage.connections.clear()
        self.stage.dialled.clear()
        for server in self.servers.values():
            server.hang_up()

    # -- comparing ---------------------------------------------------------------------------------

    def compare_asker(self, asker: Asker) -> None:
        heard = asker.in_order(asker.heard(self.stage))
        expected = asker.in_order(asker.expected)
        assert heard == expected, f"{asker.conn}: {heard}, not {expected}"
        asker.expected = []

    def compare(self) -> None:
        for asker in self.askers:
            if asker.conn not in self.stage.held:
                self.compare_asker(asker)

    def holds(self) -> None:
        """Check everything, between two events."""
        self.compare()
        for asker in self.askers:
            if asker.conn not in self.stage.held and not asker.is_dns:
                assert self.stage.has_ended(asker.conn) is asker.is_done
        for server in self.servers.values():
            assert (server.conn in self.stage.connections) is server.is_up
            assert server.has_quit is server.was_told
            assert not server.has_quit or self.stage.has_ended(server.conn)
        for check in self.checks:
            check.holds()
        if self.stage.exit_code is None:
            assert not (self.is_draining and not self.askers and not self.stage.connections)
        else:
            assert not self.open and not self.stage.listening

    def ends(self) -> None:
        """Check that nobody is owed anything after 5.0 s, and everybody can go."""
        self.stage.held.clear()
        self.stage.settle()
        self.settle()
        self.time_passes(self.bounds.timeout_s)
        assert not self.open
        for check in self.checks:
            check.ends()
        while some := [one for one in self.askers if not one.is_dns and not one.has_ended]:
            self.client_ends(some[0])
            self.time_passes(self.bounds.timeout_s)
        assert all(asker.is_dns for asker in self.askers) and not self.open
        self.compare()
