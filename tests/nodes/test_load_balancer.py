"""The load balancer's brain: against obvious models under chance, and fault by fault.

`ClusterMachine` knows a question as one record and predicts every byte that LS sends to anyone,
whatever clients and TSs say, however it is cut, and whoever comes, leaves, returns or drains.
`CloggedMachine` adds TSs that do not take what they are sent; there it predicts what is promised
(who is held up, what a TS has been asked for when it is well again), not the slices, and not for
how long NO DATA is held.

The rows of the fault matrix that need neither sockets nor a simulated network are below, with
their numbers in the names of the tests.

Not here: batches and joining in detail (`tests/nodes/test_questions.py`), who has said what in
detail (`tests/nodes/test_negatives.py`), LS that hedges (`tests/nodes/test_hedge_policy.py`), waits
before a dial as such (`tests/nodes/test_link.py`), and what is wrong with a line
(`tests/protocol/test_session.py`).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import BoundHits, Bounds
from core.brain import Brain
from core.effects import Effect, Send
from core.events import Relieved
from core.io.backlog import BacklogState
from core.operator import Standing
from core.owed import Owed
from core.protocol.names import LINE_BYTES_MAX, Negative
from core.text import split_lines
from tests.support.balancers import load_balancer, metric
from tests.support.splitting import folded
from tests.support.stage import Stage

SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"


def started(bounds: Bounds | None = None, linked: bool = True, once: bool = False) -> Stage:
    bounds = bounds or Bounds()
    stage = Stage.begun(load_balancer(SERVERS, bounds, lambda: 0.0, once=once), bounds)
    if linked:
        stage.connect(T1)
        stage.connect(T2)
    return stage


def asking(*lines: bytes, bounds: Bounds | None = None) -> Stage:
    """Build LS with one client that has asked these, and take out what it sent to its TSs."""
    stage = started(bounds)
    stage.accept("a")
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    stage.take(T1)
    stage.take(T2)
    return stage


# -- against a model -------------------------------------------------------------------------------

# Small, so that chance gets to them; multiples of 1/16 s, so that a moment can be hit exactly.
SMALL = replace(
    Bounds(),
    redial_first_s=1 / 16,
    no_data_s=1 / 16,
    errors_in_a_row_max=4,
    surplus_answers_max=6,
    pending_per_client_max=7,
)
QUESTIONS = [
    b"a", b"A", b"B.x", b"b.x.", b"c", b"QUIT.", b"quit", b"Nobody", b"d\r",
    b"a AAAA", b"A. AAAA", b"QUIT AAAA", b"c AAAA\r",
]  # fmt: skip
REFUSED = {
    b"PING ": b"BADNAME", b"two words": b"BADNAME", b"\xff": b"BADNAME", b"a aaaa": b"BADNAME",
    b"a  AAAA": b"BADNAME", b" AAAA": b"BADNAME", b"x" * 513: b"TOOLONG",
}  # fmt: skip
STRANGERS = [  # nobody asks for these
    b"stranger 10.0.0.7 A IN", b"stranger ::7 AAAA IN",
    b"stranger - NOT FOUND", b"stranger AAAA - NO DATA",
]  # fmt: skip
SILENT = [b"a - TIMED OUT", b"- ERROR BADNAME", b"BYE", b"c AAAA - TIMED OUT"]
MALFORMED = [
    b"a", b"a 10.0.0.256 A IN", b"c 10.0.0.1 A", b"\0", b"a 10.0.0.1 A IN ", b"a AAAA",
    b"a ::1 A IN", b"a 10.0.0.1 AAAA IN", b"a 10.0.0.1, A IN", b"a 10.0.0.1,::1 A IN",
    b"a aaaa - NOT FOUND", b"a - not found", b"a - NOT FOUND ", b"- - NO DATA", b"a A - NO DATA",
]  # fmt: skip

client_lines = st.lists(
    st.one_of(
        st.sampled_from(QUESTIONS),
        st.sampled_from(QUESTIONS),
        st.sampled_from([b"", *REFUSED]),
        st.sampled_from([*QUESTIONS, b"QUIT"]),
    ),
    min_size=1,
    max_size=6,
)
# A number stands for a reply to that one of the open questions, with its name in some spelling:
# so many addresses, or that there is none.
spellers = st.sampled_from([bytes.upper, bytes.lower, b"%b.".__mod__])
NOT_FOUND, NO_DATA = Negative.NOT_FOUND.value, Negative.NO_DATA.value
replying = st.tuples(
    st.integers(0, 5), spellers, st.sampled_from([1, 2, NOT_FOUND, NOT_FOUND, NO_DATA])
)
server_lines = st.lists(
    st.one_of(
        replying,
        replying,
        replying,
        st.sampled_from([b"", b"\r", *STRANGERS, *SILENT, *MALFORMED]),
    ),
    min_size=1,
    max_size=5,
)
Replying = tuple[int, Callable[[bytes], bytes], int | bytes]


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


places = st.integers(0, 1)
byte_counts = st.one_of(st.just(0), st.integers(1, 40), st.just(512), st.just(513))
lefts = st.one_of(st.just(0), st.just(0), st.integers(1, 20))  # bytes that are still on their way


@dataclass(eq=False)
class Asker:
    """A client, as the model sees it."""

    conn: str
    typed: bytes = b""  # on its way to LS
    half: bytes = b""  # the line that has not ended
    is_dropping: bool = False  # the rest of a line that is too long
    may_ask: bool = True
    wants_bye: bool = True
    has_ended: bool = False  # its input
    errors_in_a_row: int = 0
    expected: bytes = b""  # to be heard before anything else
    is_done: bool = False  # and then nothing more


@dataclass(eq=False)
class Server:
    """A TS, as the model sees it."""

    conn: str
    typed: bytes = b""
    half: bytes = b""
    is_up: bool = False
    has_quit: bool = False  # it was told QUIT
    errors_in_a_row: int = 0
    asked: int = 0
    answered: int = 0
    expected: bytes = b""


@dataclass(eq=False)
class Question:
    """A question of an asker."""

    asker: Asker
    spelling: bytes
    asked_at: float

    @property
    def name(self) -> bytes:
        """The question folded: a name, and maybe its type."""
        return folded(self.spelling)


class ClusterMachine(RuleBasedStateMachine):
    """Clients and TSs talk to LS, and every byte that it sends is predicted."""

    BOUNDS = SMALL
    SERVER = Server

    def __init__(self) -> None:
        super().__init__()
        self.stage = self.new_stage()
        self.askers: list[Asker] = []
        self.servers = [self.SERVER(T1), self.SERVER(T2)]
        self.open: list[Question] = []
        self.sent_at: dict[bytes, float] = {}  # when a name that is open was last asked for
        self.spoken: dict[bytes, set[str]] = {}  # servers that have nothing about an open name
        self.held: dict[bytes, float] = {}  # names of which NO DATA was said: until when
        self.came = 0
        self.said = 0
        self.is_draining = False
        self.stage.begin()
        for _ in range(2):
            self.come()
        for server in self.servers:
            self.connect(server)

    def new_stage(self) -> Stage:
        self.owed = Owed(self.BOUNDS, BoundHits())
        brain = load_balancer(SERVERS, self.BOUNDS, lambda: 0.0, owed=self.owed)
        return Stage(brain, self.BOUNDS)

    # events

    @rule(who=places, lines=client_lines, cut=byte_counts, left=lefts)
    def client_sends(self, who: int, lines: list[bytes], cut: int, left: int) -> None:
        """In two reads; the end may stay on its way until the next time."""
        if all(asker.has_ended or not asker.may_ask for asker in self.askers):
            self.come()
        if asker := self.asker(who):
            asker.typed += b"".join(line + b"\n" for line in lines)
            self.client_is_read(asker, cut)
            self.client_is_read(asker, max(0, len(asker.typed) - left))

    @rule(who=places, names=st.lists(st.sampled_from(QUESTIONS), min_size=2, max_size=7))
    def client_asks(self, who: int, names: list[bytes]) -> None:
        """The same without anything odd, so that there is something to answer."""
        self.client_sends(who, names, 0, 0)

    @rule(who=places, how=st.sampled_from(["quits", "ends", "ends in mid-line", "vanishes"]))
    def client_leaves(self, who: int, how: str) -> None:
        asker = self.asker(who)
        if asker is None:
            return
        if how == "vanishes":
            self.compare()
            self.stage.reset(asker.conn)
            self.askers.remove(asker)
            self.open = [question for question in self.open if question.asker is not asker]
            self.forget_closed()
            self.settle()
        elif how == "quits":
            asker.typed += b"QUIT\n"
            self.client_is_read(asker, len(asker.typed))
        else:
            if how == "ends in mid-line" and asker.conn not in self.stage.paused:
                asker.typed += b"a"
            self.client_ends(asker)

    @rule(who=places, said=server_lines, cut=byte_counts, left=lefts)
    def server_sends(self, who: int, said: list[bytes | Replying], cut: int, left: int) -> None:
        server = self.servers[who]
        if server.conn in self.stage.dialled:
            self.connect(server)
        if server.is_up and not server.has_quit:
            lines = [line if isinstance(line, bytes) else self.reply(*line) for line in said]
            server.typed += b"".join(line + b"\n" for line in lines)
            self.server_is_read(server, cut)
            self.server_is_read(server, max(0, len(server.typed) - left))

    @rule(
        who=places,
        numbers=st.lists(st.integers(0, 5), min_size=1, max_size=4),
        what=st.sampled_from([NOT_FOUND, NO_DATA]),
    )
    def server_has_nothing(self, who: int, numbers: list[int], what: bytes) -> None:
        """The same without anything odd, so that something comes of it."""
        self.server_sends(who, [(number, bytes.lower, what) for number in numbers], 0, 0)

    @rule(who=places, how=st.sampled_from(["end", "reset"]))
    def server_goes(self, who: int, how: str) -> None:
        server = self.servers[who]
        if server.conn in self.stage.connections:
            self.compare()
            self.stage.held.discard(server.conn)
            getattr(self.stage, how)(server.conn)
            self.lose(server)
            self.settle()

    @rule(who=places)
    def server_is_reached(self, who: int) -> None:
        if not self.servers[who].is_up:
            self.time_passes(4)
        if self.servers[who].conn in self.stage.dialled:
            self.connect(self.servers[who])

    @rule(who=places)
    def server_refuses(self, who: int) -> None:
        if self.servers[who].conn in self.stage.dialled:
            self.stage.refuse(self.servers[who].conn)

    @rule(sixteenths=st.sampled_from([1, 2, 4, 8, 15, 16, 17, 32, 63, 80]))
    def time_passes(self, sixteenths: int) -> None:
        """Everything that was asked 5.0 s ago times out, and nothing else does.

        Names that are held are held for their time, and not past the time of any question.
        """
        now, until = self.stage.now, self.stage.now + sixteenths / 16
        self.stage.wait(sixteenths / 16)
        timeout_s = self.BOUNDS.timeout_s
        while True:
            dues = [question.asked_at + timeout_s for question in self.open]
            now = max(now, min([*dues, *self.held.values()], default=math.inf))
            if now > until:
                break
            over = [question for question in self.open if question.asked_at + timeout_s <= now]
            self.end([name for name, due in self.held.items() if over or due <= now], NO_DATA)
            for question in [question for question in over if question in self.open]:
                self.open.remove(question)
                question.asker.expected += question.spelling + b" - TIMED OUT\n"
            self.forget_closed()
        self.settle()
        if self.stage.exit_code is not None:
            self.be_gone()

    @rule(wanted=st.sampled_from([False] * 7 + [True]))
    def drain(self, wanted: bool) -> None:
        """Rare enough for something to happen before it."""
        if not wanted or self.is_draining:
            return
        self.is_draining = True
        self.stage.drain()
        for asker in self.askers:
            asker.may_ask = False
        self.settle()

    # the model

    def come(self) -> None:
        if self.stage.listening:
            self.came += 1
            asker = Asker(f"client-{self.came}")
            self.askers.append(asker)
            self.stage.accept(asker.conn)

    def asker(self, who: int) -> Asker | None:
        """Draw an asker whose input has not ended."""
        some = [asker for asker in self.askers if not asker.has_ended]
        return some[who % len(some)] if some else None

    def client_is_read(self, asker: Asker, count: int) -> None:
        """Let a client be read, unless it is paused."""
        if asker.conn in self.stage.paused or not asker.typed or not count:
            return
        data, asker.typed = asker.typed[:count], asker.typed[count:]
        self.stage.hear(asker.conn, data)
        if asker.is_dropping:
            _, end, data = data.partition(b"\n")
            asker.is_dropping = not end
        *lines, asker.half = (asker.half + data).split(b"\n")
        if len(asker.half) > 512:  # refused at once, and the rest of it is dropped
            lines.append(asker.half)
            asker.half, asker.is_dropping = b"", True
        self.read(asker, lines)
        self.settle()

    def client_ends(self, asker: Asker) -> None:
        """Half-close a client, after everything that is on its way, if that can be read."""
        self.client_is_read(asker, len(asker.typed))
        if asker.typed or asker.conn in self.stage.paused:
            return
        self.stage.end(asker.conn)
        asker.has_ended = True
        if asker.may_ask:
            asker.expected += b"- ERROR UNFINISHED\n" if asker.half else b""
            asker.may_ask = asker.wants_bye = False
        self.settle()

    def reply(self, number: int, spell: Callable[[bytes], bytes], what: int | bytes) -> bytes:
        """Write a reply to an open question; no answer is equal to another."""
        open_names = list(dict.fromkeys(question.name for question in self.open))
        open_names = open_names or [b"a", b"b.x", b"a AAAA"]
        name, rest = split_type(open_names[number % len(open_names)])
        if isinstance(what, bytes):
            return b"%b%b - %b" % (spell(name), rest, what)
        self.said += 1
        one = b"2001:db8::%x" % self.said if rest else b"10.0.%d.%d" % divmod(self.said, 250)
        addresses = b",".join([one] * what)
        return b"%b %b %b IN" % (spell(name), addresses, rest.strip() or b"A")

    def server_is_read(self, server: Server, count: int) -> None:
        if not server.is_up or not server.typed or not count:
            return
        data, server.typed = server.typed[:count], server.typed[count:]
        self.stage.hear(server.conn, data)
        *lines, server.half = (server.half + data).split(b"\n")
        answers: list[bytes] = []
        denials: dict[bytes, list[bytes]] = {NO_DATA: [], NOT_FOUND: []}
        is_lost = False
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                continue
            server.answered += 1
            if line in MALFORMED:
                server.errors_in_a_row += 1
                is_lost = server.errors_in_a_row == self.BOUNDS.errors_in_a_row_max
                if is_lost:
                    break
                continue
            server.errors_in_a_row = 0
            if line.endswith(b" IN"):
                answers.append(line)
            elif line.endswith((NOT_FOUND, NO_DATA)):
                denials[line.rpartition(b" - ")[2]].append(question_of(line))
        for line in answers:  # of one read, they go first
            self.credit(server, line)
        self.deny(server, denials[NO_DATA], denials[NOT_FOUND])
        if is_lost or server.answered > server.asked + self.BOUNDS.surplus_answers_max:
            self.lose(server)
        self.settle()

    def read(self, asker: Asker, lines: list[bytes]) -> None:
        """Read whole lines at once: refusals first, and one line per TS for all questions."""
        to_send = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line or not asker.may_ask:
                continue
            if line == b"QUIT":
                asker.may_ask = False
            elif line in REFUSED or len(line) > 512:
                asker.expected += b"- ERROR %b\n" % REFUSED.get(line, b"TOOLONG")
                asker.errors_in_a_row += 1
                asker.may_ask = asker.errors_in_a_row < self.BOUNDS.errors_in_a_row_max
            else:
                asker.errors_in_a_row = 0
                to_send += self.ask(asker, without_dot(line))
        for server in self.servers:
            if server.is_up:
                self.send(server, to_send)

    def ask(self, asker: Asker, spelling: bytes) -> list[bytes]:
        now, name = self.stage.now, folded(spelling)
        is_open = any(question.name == name for question in self.open)
        self.open.append(Question(asker, spelling, now))
        if is_open and now - self.sent_at[name] < self.BOUNDS.join_s:
            return []
        self.sent_at[name] = now
        if name not in self.held:  # a server that is asked anew speaks anew
            self.spoken.pop(name, None)
        return [name]

    def send(self, server: Server, names: list[bytes]) -> None:
        server.asked += len(names)
        server.expected += b"".join(name + b"\n" for name in names)

    def connect(self, server: Server) -> None:
        """Connect it: it is asked once for everything that is open, the oldest first."""
        self.stage.connect(server.conn)
        server.is_up, server.has_quit = True, False
        server.typed = server.half = b""
        server.asked = server.answered = server.errors_in_a_row = 0
        self.send(server, list(dict.fromkeys(question.name for question in self.open)))
        self.settle()

    def credit(self, server: Server, line: bytes) -> None:
        """Give everyone who waits for that question the line as it came, once for each."""
        name = question_of(line)
        for question in [question for question in self.open if question.name == name]:
            self.open.remove(question)
            question.asker.expected += line + b"\n"
        self.forget_closed()

    def deny(self, server: Server, no_data: list[bytes], not_found: list[bytes]) -> None:
        """Let it have nothing about these. NO DATA is held until every TS that is up has spoken."""
        is_open = {question.name for question in self.open}
        for name in no_data:
            if name in is_open:
                self.held.setdefault(name, self.stage.now + self.BOUNDS.no_data_s)
        names = [name for name in dict.fromkeys([*no_data, *not_found]) if name in is_open]
        for name in names:
            self.spoken.setdefault(name, set()).add(server.conn)
        self.end(self.held_in_vain(names), NO_DATA)
        everyone = {server.conn for server in self.servers}
        self.end([name for name in names if self.spoken.get(name) == everyone], NOT_FOUND)

    def held_in_vain(self, names: Iterable[bytes]) -> list[bytes]:
        """Return the names that are held, and of which nobody who is up has still to speak."""
        up = {server.conn for server in self.servers if server.is_up}
        return [name for name in names if name in self.held and self.spoken[name] >= up]

    def end(self, names: list[bytes], why: bytes) -> None:
        """End these: everyone who waits for them hears so, in its own spelling."""
        for name in names:
            for question in [question for question in self.open if question.name == name]:
                self.open.remove(question)
                question.asker.expected += question.spelling + b" - " + why + b"\n"
        self.forget_closed()

    def forget_closed(self) -> None:
        is_open = {question.name for question in self.open}
        self.spoken = {name: by for name, by in self.spoken.items() if name in is_open}
        self.held = {name: due for name, due in self.held.items() if name in is_open}

    def lose(self, server: Server) -> None:
        """Forget what it has said; what is held stays held, and not for it."""
        server.is_up = False
        for by in self.spoken.values():
            by.discard(server.conn)
        self.end(self.held_in_vain(self.held), NO_DATA)

    def settle(self) -> None:
        """Tell those who will ask nothing more and are owed nothing; without anyone, LS parts."""
        for asker in list(self.askers):
            owed = any(question.asker is asker for question in self.open)
            if not asker.may_ask and not owed and not asker.is_done:
                asker.is_done = True
                asker.expected += b"BYE\n" if asker.wants_bye else b""
            if asker.is_done and asker.has_ended:
                self.compare_asker(asker)
                assert asker.conn not in self.stage.connections
                self.askers.remove(asker)
        if self.is_draining and not self.askers:
            for server in self.servers:
                if server.is_up and not server.has_quit:
                    server.expected += b"QUIT\n"
                    server.has_quit = True

    def be_gone(self) -> None:
        """Check that LS has stopped: what is still open is closed, and nothing more happens."""
        assert not self.open
        self.compare()
        self.askers.clear()
        self.stage.connections.clear()
        self.stage.dialled.clear()
        for server in self.servers:
            server.is_up = False

    # invariants

    def compare_asker(self, asker: Asker) -> None:
        assert self.stage.take(asker.conn) == asker.expected
        asker.expected = b""

    def compare_server(self, server: Server) -> None:
        assert self.stage.take(server.conn) == server.expected
        server.expected = b""

    def compare(self) -> None:
        for asker in self.askers:
            self.compare_asker(asker)
        for server in self.servers:
            self.compare_server(server)

    @invariant()
    def everyone_hears_what_it_is_owed_at_once_and_nothing_else(self) -> None:
        self.compare()
        for asker in self.askers:
            assert self.stage.has_ended(asker.conn) is asker.is_done

    @invariant()
    def a_link_stands_as_long_as_its_ts_behaves(self) -> None:
        for server in self.servers:
            assert (server.conn in self.stage.connections) is server.is_up
            assert not server.has_quit or self.stage.has_ended(server.conn)

    @invariant()
    def those_are_paused_who_have_asked_too_much(self) -> None:
        for asker in self.askers:
            if asker.may_ask:
                owed = sum(question.asker is asker for question in self.open)
                too_many = owed > self.BOUNDS.pending_per_client_max
                assert (asker.conn in self.stage.paused) is too_many

    @invariant()
    def it_has_promised_what_is_open(self) -> None:
        assert self.owed.total == LINE_BYTES_MAX * len(self.open)

    @invariant()
    def it_stops_when_it_has_parted_from_everyone(self) -> None:
        """Or when its drain has taken too long; but then, too, every question has its reply."""
        if self.stage.exit_code is None:
            assert not (self.is_draining and not self.askers and not self.stage.connections)
        else:
            assert self.stage.exit_code == 0 and self.is_draining and not self.open
            assert not self.stage.listening

    def teardown(self) -> None:
        """Check that 5.0 s later nobody is owed anything, and everybody can go, whatever has
        happened."""
        self.time_passes(80)
        assert not self.open
        while asker := self.asker(0):
            self.client_ends(asker)
            self.time_passes(80)
        assert not self.askers and not self.open
        self.compare()


TestCluster = ClusterMachine.TestCase


@dataclass(eq=False)
class CloggedServer(Server):
    """A TS that may take nothing for a while."""

    sent: dict[bytes, Question] = field(default_factory=dict)  # the oldest that waited for it
    heavy_since: float | None = None  # more waits for it than the high mark
    holds_since: float | None = None  # the same, and it had been asked for everything before


class CloggedStage(Stage):
    """Notes what is sent to TSs at the time of sending, not of taking."""

    def __init__(self, brain: Brain, bounds: Bounds) -> None:
        super().__init__(brain, bounds)
        self.noted: dict[str, list[bytes]] = {T1: [], T2: []}

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Send) and effect.conn in self.noted:
            self.noted[effect.conn] += split_lines(effect.data)
        super().perform(effect)


class CloggedMachine(ClusterMachine):
    """The same, with TSs that take little or nothing for a while."""

    BOUNDS = replace(
        SMALL,
        waiting_bytes_high=12,
        waiting_bytes_low=5,
        pending_per_client_max=1000,
    )
    SERVER = CloggedServer

    def __init__(self) -> None:
        self.may_have_spoken: dict[bytes, set[str]] = {}  # as `spoken`, and some are not certain
        super().__init__()

    def new_stage(self) -> CloggedStage:
        self.owed = Owed(self.BOUNDS, BoundHits())
        brain = load_balancer(SERVERS, self.BOUNDS, lambda: 0.0, owed=self.owed)
        return CloggedStage(brain, self.BOUNDS)

    @rule(who=places)
    def clog(self, who: int) -> None:
        self.stage.held.add(self.servers[who].conn)

    @rule(who=places)
    def unclog(self, who: int) -> None:
        self.stage.held.discard(self.servers[who].conn)
        self.stage.settle()
        self.settle()

    @rule(who=places, count=st.integers(1, 20))
    def server_takes_a_little(self, who: int, count: int) -> None:
        server = self.servers[who]
        if not server.is_up:
            return
        connection = self.stage.connections[server.conn]
        if connection.waiting and connection.sent(min(count, len(connection.unsent()))):
            server.heavy_since = None  # the next bytes begin a new hold
            self.stage.step(Relieved(server.conn))
        self.settle()

    def reply(self, number: int, spell: Callable[[bytes], bytes], what: int | bytes) -> bytes:
        return super().reply(number, spell, NOT_FOUND if what == NO_DATA else what)

    def drain(self) -> None:
        """Drain without parting from a link that takes nothing: that is a matter of limits."""

    # the model

    def send(self, server: CloggedServer, names: list[bytes]) -> None:
        """Send: which slice goes when is not predicted; `settle` sees what was sent."""

    def connect(self, server: CloggedServer) -> None:
        server.sent.clear()
        super().connect(server)

    def credit(self, server: CloggedServer, line: bytes) -> None:
        """Credit an answer only if it was asked for on this connection.

        It must count when the oldest who waits is the one it was asked for, or when nothing is
        left to ask for; when that one has gone and others have joined, it may be asked for again.
        """
        name = question_of(line)
        oldest = self.oldest().get(name)
        if oldest is None or name not in server.sent:
            return
        certain = server.sent[name] is oldest or server.heavy_since is None
        if certain or self.hears_next(oldest, line):
            super().credit(server, line)

    def hears_next(self, question: Question, line: bytes) -> bool:
        said = self.stage.said.get(question.asker.conn, b"")
        return said.startswith(question.asker.expected + line + b"\n")

    def deny(self, server: CloggedServer, no_data: list[bytes], not_found: list[bytes]) -> None:
        """Take the same of what it says that it has nothing about.

        Here NO DATA is NOT FOUND: how long it is held depends on who has stalled, and when.
        """
        oldest = self.oldest()
        everyone = {other.conn for other in self.servers}
        for name in dict.fromkeys(not_found):
            if name not in oldest or name not in server.sent:
                continue
            if server.sent[name] is oldest[name] or server.heavy_since is None:
                self.spoken.setdefault(name, set()).add(server.conn)
            self.may_have_spoken.setdefault(name, set()).add(server.conn)
            said = oldest[name].spelling + b" - " + NOT_FOUND
            if self.spoken.get(name) == everyone or (
                self.may_have_spoken[name] == everyone and self.hears_next(oldest[name], said)
            ):
                self.end([name], NOT_FOUND)

    def ask(self, asker: Asker, spelling: bytes) -> list[bytes]:
        to_send = super().ask(asker, spelling)
        for name in to_send:
            self.may_have_spoken.pop(name, None)
        return to_send

    def forget_closed(self) -> None:
        super().forget_closed()
        is_open = self.oldest()
        self.may_have_spoken = {n: by for n, by in self.may_have_spoken.items() if n in is_open}

    def lose(self, server: CloggedServer) -> None:
        super().lose(server)
        for by in self.may_have_spoken.values():
            by.discard(server.conn)
        server.heavy_since = server.holds_since = None

    def oldest(self) -> dict[bytes, Question]:
        """Return, for each open name, the question that has waited for longest."""
        oldest: dict[bytes, Question] = {}
        for question in self.open:
            oldest.setdefault(question.name, question)
        return oldest

    def settle(self) -> None:
        super().settle()
        oldest = self.oldest()
        for server in self.servers:
            server.sent = {name: q for name, q in server.sent.items() if name in oldest}
            noted = self.stage.noted[server.conn]
            for name in noted:
                assert name in oldest, "asked for, and nobody waits for it"
                server.sent[name] = oldest[name]
            server.asked += len(noted)
            noted.clear()

            self.weigh(server)

    def weigh(self, server: CloggedServer) -> None:
        """Note since when too much waits for it."""
        connection = self.stage.connections.get(server.conn)
        if connection is None or connection.weight.state is BacklogState.LIGHT:
            server.heavy_since = server.holds_since = None
        elif server.heavy_since is None:
            server.heavy_since = self.stage.now

    def read(self, asker: Asker, lines: list[bytes]) -> None:
        """Read: what new questions make too much, for a TS that had been asked for all, is a
        hold."""
        super().read(asker, lines)
        for server in self.servers:
            was_light = server.heavy_since is None
            self.weigh(server)
            if was_light and server.heavy_since is not None:
                server.holds_since = self.stage.now

    # invariants

    def compare_server(self, server: Server) -> None:
        self.stage.take(server.conn)

    @invariant()
    def a_ts_that_takes_what_it_is_sent_has_been_asked_for_everything(self) -> None:
        for server in self.servers:
            if server.is_up and server.heavy_since is None:
                assert server.sent.keys() == self.oldest().keys()

    @invariant()
    def those_are_paused_who_have_asked_too_much(self) -> None:
        """By a TS that takes too little, for a second at most."""
        now, held_s = self.stage.now, self.BOUNDS.held_s
        may, must = (
            any(since is not None and now - since < held_s for since in sinces)
            for sinces in zip(*((s.heavy_since, s.holds_since) for s in self.servers), strict=True)
        )
        for asker in self.askers:
            if asker.may_ask and may is must:
                assert (asker.conn in self.stage.paused) is may

    def teardown(self) -> None:
        self.stage.held.clear()
        self.unclog(0)
        super().teardown()


TestClogged = CloggedMachine.TestCase


# -- part A of the fault matrix --------------------------------------------------------------------


def test_a1_a_ts_dies_with_a_question_in_flight_and_the_other_answers() -> None:
    stage = asking(b"x")
    stage.reset(T1)
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.2 A IN\n"


def test_a2_a_fragment_of_an_answer_is_never_relayed() -> None:
    stage = asking(b"www.google.com")
    stage.hear(T1, b"www.goo")
    stage.end(T1)
    stage.wait(4.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"www.google.com - TIMED OUT\n"


def test_a3_a4_half_a_line_and_its_rest_too_late_come_to_one_timeout() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"x 10.0")
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.hear(T1, b".0.1 A IN\n")
    assert stage.take("a") == b""


def test_a5_a_ts_that_restarts_is_asked_once_for_what_is_open() -> None:
    stage = asking(b"x", b"y", b"x")
    stage.hear(T2, b"y 10.0.0.2 A IN\n")
    stage.reset(T1)
    stage.wait(2.0)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"y 10.0.0.2 A IN\n" + b"x 10.0.0.1 A IN\n" * 2


def test_a8_a_late_answer_satisfies_the_same_name_asked_again() -> None:
    stage = asking(b"x")
    stage.wait(5.0)
    stage.hear("a", b"x\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x - TIMED OUT\nx 10.0.0.1 A IN\n"


def test_a9_a_late_answer_is_not_credited_to_the_next_question() -> None:
    stage = asking(b"x")
    stage.wait(5.0)
    stage.hear("a", b"y\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x - TIMED OUT\n"


@pytest.mark.parametrize("order", [(T1, T2), (T2, T1)])
def test_a10_a11_a12_of_several_answers_the_one_that_is_read_first_counts(
    order: tuple[str, str],
) -> None:
    """The loop reads links in their order, so that of two in one turn the lowest wins."""
    stage = asking(b"x")
    for number, link in enumerate(order):
        stage.hear(link, b"x 10.0.0.%d A IN\nx 10.0.1.%d A IN\n" % (number, number))
    assert stage.take("a") == b"x 10.0.0.0 A IN\n"
    stage.hear("a", b"QUIT\n")
    assert stage.take("a") == b"BYE\n"


@pytest.mark.parametrize(("count", "closed"), [(101, False), (102, True)])
def test_a13_a_ts_that_answers_what_nobody_asked_is_closed(count: int, closed: bool) -> None:
    stage = asking(b"x")
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * count)
    assert (T1 not in stage.connections) is closed
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.2 A IN\n"
    stage.wait(0.05)
    assert (T1 in stage.dialled) is closed


def test_a13_surplus_is_what_goes_beyond_what_was_asked_on_this_connection() -> None:
    """To answer everything three times is no surplus of a hundred; a new connection owes anew."""
    stage = asking(*(b"n%d" % n for n in range(50)))
    answers = b"".join(b"n%d 10.0.0.1 A IN\n" % n for n in range(50))
    stage.hear(T1, answers * 3)
    assert T1 in stage.connections
    stage.reset(T1)
    stage.wait(0.05)
    stage.connect(T1)
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * 100)
    assert T1 in stage.connections
    stage.hear(T1, b"y - TIMED OUT\n")
    assert T1 not in stage.connections


def test_blank_lines_of_a_ts_are_no_surplus() -> None:
    """proto.md, Conventions: a line with no byte in it is ignored."""
    stage = asking(b"x")
    for chunk in (b"\n" * 1_000, b"\r\n" * 1_000, b"\n\r\ny - TIMED OUT\n\n" * 50):
        stage.hear(T1, chunk)
    assert T1 in stage.connections
    stage.hear(T1, b"\nx 10.0.0.1 A IN\n\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a13_one_that_floods_whenever_it_comes_is_dialled_less_and_less() -> None:
    stage = asking(b"x")
    waits = []
    for _ in range(6):
        stage.hear(T1, b"y 10.0.0.1 A IN\n" * 102)
        before = stage.now
        stage.wait(stage.brain.deadline() - before)
        waits.append(round(stage.now - before, 3))
        stage.connect(T1)
        assert stage.take(T1) == b"x\n"
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


def test_a13_answers_in_the_chunk_that_closes_a_link_still_count() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * 101 + b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    assert T1 not in stage.connections


@pytest.mark.parametrize("answer", [b"GOOGLE.com 10.0.0.1 A IN", b"google.COM. 10.0.0.1 A IN"])
def test_a14_an_answer_in_another_spelling_is_relayed_as_it_came(answer: bytes) -> None:
    stage = asking(b"google.com")
    stage.hear(T1, answer + b"\n")
    assert stage.take("a") == answer + b"\n"


BAD = [
    b"x", b"x 10.0.0.1 A", b"x 10.0.0.256 A IN", b"x 010.0.0.1 A IN", b"x 10.0.0.1 B IN",
    b"x 10.0.0.1 A IN ", b" x 10.0.0.1 A IN", b"x\0 10.0.0.1 A IN", b"\xff 10.0.0.1 A IN",
    b"x 10.0.0.1 A IN\x1b", b"x  10.0.0.1 A IN", b"x\t10.0.0.1 A IN", b"x ::1 A IN",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_a15_a_malformed_answer_is_dropped_and_the_question_waits_on(line: bytes) -> None:
    stage = asking(b"x")
    stage.hear(T1, line + b"\n")
    assert stage.take("a") == b""
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


@pytest.mark.parametrize("line", [b"x - TIMED OUT", b"- ERROR BADNAME", b"BYE"])
def test_a15_what_a_ts_may_say_beside_answers_ends_no_question(line: bytes) -> None:
    stage = asking(b"x")
    stage.hear(T1, (line + b"\n") * 50)
    assert stage.take("a") == b"" and T1 in stage.connections
    assert metric(stage.brain, "TS1.nothing_said") == 50
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a15_sixteen_malformed_lines_in_a_row_close_the_link_and_fifteen_do_not() -> None:
    stage = asking(b"x", b"y")
    stage.hear(T1, b"?\n" * 15 + b"x 10.0.0.1 A IN\n" + b"?\n" * 15)
    assert T1 in stage.connections
    stage.hear(T1, b"?\n")
    assert T1 not in stage.connections
    assert metric(stage.brain, "TS1.malformed") == 31


def test_a16_a_line_without_end_closes_the_link() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"z" * 513)
    assert T1 not in stage.connections
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"


def test_a19_the_wait_before_a_redial_doubles_to_two_seconds() -> None:
    stage = started(linked=False)
    waits = []
    for _ in range(9):
        for link in list(stage.dialled):
            stage.refuse(link)
        before = stage.now
        while T1 not in stage.dialled:
            stage.wait(0.01)
        waits.append(round(stage.now - before, 2))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("stood_s", "wait_s"), [(1.0, 2.0), (3.0, 0.05)])
def test_a19_only_a_connection_that_stood_starts_the_waits_over(
    stood_s: float, wait_s: float
) -> None:
    stage = started(linked=False)
    for _ in range(9):
        stage.refuse(T1)
        stage.wait(2.0)
    stage.connect(T1)
    stage.wait(stood_s)
    stage.reset(T1)
    stage.wait(wait_s - 0.01)
    assert T1 not in stage.dialled
    stage.wait(0.02)
    assert T1 in stage.dialled


def test_a24_with_no_ts_at_all_every_question_times_out_in_its_time() -> None:
    stage = started(linked=False)
    stage.accept("a")
    stage.hear("a", b"x\n")
    stage.wait(4.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"x - TIMED OUT\n"


def test_a25_when_all_ts_die_each_question_times_out_at_its_own_time() -> None:
    stage = asking(b"x")
    stage.wait(1.0)
    stage.hear("a", b"y\n")
    stage.reset(T1)
    stage.reset(T2)
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.wait(1.0)
    assert stage.take("a") == b"y - TIMED OUT\n"


def test_a27_of_a_ts_that_is_away_the_log_speaks_once() -> None:
    stage = started(linked=False)
    stage.connect(T2)
    for _ in range(5):
        stage.refuse(T1)
        stage.wait(2.0)
    stage.connect(T1)
    stage.reset(T1)
    down = "TS1 is down ({}); dialling it again"
    assert stage.reports == [
        "TS2 is up", down.format("connection refused"), "TS1 is up", down.format("gone"),
    ]  # fmt: skip


def test_a28_a_ts_that_ends_is_dialled_again() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"BYE\n")
    stage.end(T1)
    assert stage.has_ended(T1)
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"


# -- questions that TSs do not have ----------------------------------------------------------------


def test_not_found_is_said_when_every_configured_ts_has_said_so_and_not_before() -> None:
    """[P21]"""
    stage = asking(b"X.y.")
    stage.hear(T1, b"x.Y - NOT FOUND\n" * 3)
    assert stage.take("a") == b""
    stage.hear(T2, b"x.y. - NOT FOUND\n")
    assert stage.take("a") == b"X.y - NOT FOUND\n"
    assert stage.brain.deadline() is None


def test_one_that_is_down_may_have_the_name() -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.reset(T2)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.wait(0.05)
    stage.connect(T2)
    assert stage.take(T2) == b"x\n"
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_what_a_ts_has_said_goes_with_its_connection() -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.reset(T1)
    stage.wait(0.05)
    stage.connect(T1)
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


@pytest.mark.parametrize("is_back", [True, False])
def test_what_a_ts_has_said_goes_with_its_connection_also_when_it_had_stalled(
    is_back: bool,
) -> None:
    """[P21]: by then it is not waited for any more, which is something else."""
    stage = asking(b"x", bounds=TIGHT)
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(1.0)
    assert stage.reports[-1].startswith("TS1 is stalled")
    stage.held.clear()
    stage.reset(T1)
    stage.wait(0.05)
    if is_back:
        stage.connect(T1)
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    if not is_back:
        stage.connect(T1)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_one_that_has_stalled_may_have_the_name_and_what_it_has_said_counts() -> None:
    """[P21]"""
    stage = asking(b"x", b"y", bounds=TIGHT)
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.5)
    stage.wait(0.5)
    stage.hear(T2, b"x - NOT FOUND\ny - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"
    stage.hear(T1, b"y - NOT FOUND\n")
    assert stage.take("a") == b"y - NOT FOUND\n"


def test_a_link_that_has_not_been_asked_yet_cannot_deny() -> None:
    """[P10]"""
    stage = started(TIGHT, linked=False)
    stage.accept("a")
    names = [b"n%02d" % n for n in range(30)]
    for name in names:
        stage.hear("a", name + b"\n")
    stage.connect(T2)
    stage.hear(T2, b"n29 - NOT FOUND\n")
    stage.held.add(T1)
    stage.connect(T1)
    stage.hear(T1, b"n29 - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    stage.hear(T1, b"n29 - NOT FOUND\n")
    assert stage.take("a") == b"n29 - NOT FOUND\n"


@pytest.mark.parametrize(("age_s", "is_asked_again"), [(0.9, False), (1.0, True)])
def test_what_is_asked_again_has_to_be_denied_again(age_s: float, is_asked_again: bool) -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.wait(age_s)
    stage.hear("a", b"x\n")
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == (b"" if is_asked_again else b"x - NOT FOUND\n" * 2)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == (b"x - NOT FOUND\n" * 2 if is_asked_again else b"")


def test_no_data_is_held_for_an_answer_and_not_for_long() -> None:
    """[P22]"""
    stage = asking(b"x AAAA", b"y AAAA")
    stage.hear(T1, b"x AAAA - NO DATA\ny AAAA - NO DATA\n")
    stage.wait(0.009)
    stage.hear(T2, b"x ::1 AAAA IN\n")
    assert stage.take("a") == b"x ::1 AAAA IN\n"
    stage.wait(0.001)
    assert stage.take("a") == b"y AAAA - NO DATA\n"
    assert stage.brain.deadline() is None


@pytest.mark.parametrize("second", [b"x AAAA - NOT FOUND\n", b"x AAAA - NO DATA\n"])
def test_no_data_is_said_as_soon_as_every_live_ts_has_spoken(second: bytes) -> None:
    """[P22]"""
    stage = asking(b"x AAAA")
    stage.hear(T1, b"x AAAA - NO DATA\n")
    stage.hear(T2, second)
    assert stage.take("a") == b"x AAAA - NO DATA\n"


@pytest.mark.parametrize("speaker", [T1, T2])
def test_no_data_does_not_wait_for_one_that_is_gone(speaker: str) -> None:
    """[P22]: whoever of the two said so."""
    stage = asking(b"x AAAA")
    stage.hear(speaker, b"x AAAA - NO DATA\n")
    stage.reset(T1)
    if speaker == T1:
        assert stage.take("a") == b""
        stage.wait(0.01)
    assert stage.take("a") == b"x AAAA - NO DATA\n"


def test_names_below_are_no_data_once_every_live_ts_has_spoken() -> None:
    """[P44]: whatever the others say, and who says it first."""
    for words in ((b"NAMES BELOW", b"NOT FOUND"), (b"NOT FOUND", b"NAMES BELOW"),
                  (b"NAMES BELOW", b"NAMES BELOW"), (b"NO DATA", b"NAMES BELOW")):  # fmt: skip
        stage = asking(b"X AAAA", b"y")
        stage.hear(T1, b"x AAAA - %b\ny - %b\n" % (words[0], words[0]))
        assert stage.take("a") == b""
        stage.hear(T2, b"x AAAA - %b\ny - %b\n" % (words[1], words[1]))
        assert stage.take("a") == b"X AAAA - NO DATA\ny - NO DATA\n"
        assert stage.brain.deadline() is None


def test_names_below_shorten_no_wait_for_an_address() -> None:
    """[P44]: another table may have the name itself; and when none has, it is no timeout."""
    stage = asking(b"x", b"y")
    stage.hear(T1, b"x - NAMES BELOW\ny - NAMES BELOW\n? ?\n")
    stage.wait(4.9)
    assert stage.take("a") == b""
    stage.hear(T2, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    stage.wait(0.1)
    assert stage.take("a") == b"y - NO DATA\n"


def test_no_data_ends_sooner_than_names_below() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"x - NAMES BELOW\n")
    stage.wait(1.0)
    stage.hear(T1, b"x - NO DATA\n")
    stage.wait(0.01)
    assert stage.take("a") == b"x - NO DATA\n"


def test_no_data_does_not_wait_for_one_that_has_stalled() -> None:
    """[P22]"""
    stage = asking(b"x", bounds=replace(TIGHT, no_data_s=4.0))
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.hear(T2, b"x - NO DATA\n")
    stage.wait(0.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"x - NO DATA\n"


def test_no_data_is_not_held_past_the_time_of_its_question() -> None:
    """[P22]"""
    stage = asking(b"x", b"y")
    stage.wait(4.995)
    stage.hear(T1, b"x - NO DATA\n")
    stage.wait(0.005)
    assert stage.take("a") == b"x - NO DATA\ny - TIMED OUT\n"


@pytest.mark.parametrize("cut", range(1, 40))
def test_an_answer_wins_over_no_data_of_the_same_ts(cut: int) -> None:
    """[P22]"""
    stage = asking(b"x")
    said = b"x - NO DATA\nx 10.0.0.1 A IN\n"
    stage.hear(T1, said[:cut], said[cut:])
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_the_two_types_of_a_name_have_nothing_to_do_with_each_other() -> None:
    stage = asking(b"x", b"x AAAA")
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.hear(T2, b"x AAAA - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.hear(T1, b"x ::1 AAAA IN\n")
    assert stage.take("a") == b"x ::1 AAAA IN\n"
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_who_has_gone_leaves_nothing_of_what_was_said_about_its_questions() -> None:
    stage = asking(b"x", b"y")
    stage.hear(T1, b"x - NOT FOUND\ny - NO DATA\n")
    stage.reset("a")
    assert stage.brain.deadline() is None
    stage.accept("b")
    stage.hear("b", b"x\n")
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("b") == b""


def test_a_race_says_nothing_about_tables_that_differ() -> None:
    stage = asking(*(b"n%d" % n for n in range(200)))
    stage.hear(T1, b"n0 - NOT FOUND\n")
    stage.hear(T2, b"n0 10.0.0.1 A IN\n")
    stage.wait(5.0)
    assert stage.take("a").count(b" - TIMED OUT\n") == 199
    assert stage.reports == ["TS1 is up", "TS2 is up"]


# -- part B ----------------------------------------------------------------------------------------


def test_what_can_be_confused_with_a_command_travels_in_lower_case_and_without_the_dot() -> None:
    stage = started()
    stage.accept("a")
    stage.hear("a", b"QUIT.\nquit\nPing\nSTATS.\nping.\n")
    assert stage.take(T1) == stage.take(T2) == b"quit\nping\nstats\n"
    stage.wait(5.0)
    assert stage.take("a") == b"".join(
        name + b" - TIMED OUT\n" for name in (b"QUIT", b"quit", b"Ping", b"STATS", b"ping")
    )
    assert T1 in stage.connections and T2 in stage.connections


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_b1_quit_with_questions_in_flight(count: int) -> None:
    names = [b"n%d" % n for n in range(count)]
    stage = asking(*names, b"QUIT")
    stage.hear(T1, b"".join(name + b" 10.0.0.1 A IN\n" for name in names))
    assert stage.take("a") == b"".join(n + b" 10.0.0.1 A IN\n" for n in names) + b"BYE\n"
    assert stage.has_ended("a")


def test_b5_a_client_that_vanishes_leaves_nothing_behind() -> None:
    stage = asking(*(b"n%d" % n for n in range(100)))
    stage.reset("a")
    assert stage.brain.deadline() is None
    stage.hear(T1, b"n1 10.0.0.1 A IN\n")
    stage.accept("b")
    stage.hear("b", b"n1\n")
    assert stage.take(T1) == b"n1\n"


def test_b9_c16_too_many_questions_of_one_client_pause_it_until_some_are_replied() -> None:
    stage = asking(
        *(b"n%d" % n for n in range(10)),
        bounds=replace(Bounds(), pending_per_client_max=10),
    )
    assert stage.paused == set()
    stage.hear("a", b"n10\n")
    assert stage.paused == {"a"}
    stage.accept("b")
    stage.hear("b", b"n1\n")
    assert stage.paused == {"a"}
    stage.hear(T1, b"n3 10.0.0.1 A IN\n")
    assert stage.paused == set()


# -- links: catching up and backpressure -----------------------------------------------------------

TIGHT = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)


def test_a_question_asked_while_a_link_is_dialled_is_sent_when_it_comes_up() -> None:
    stage = started(linked=False)
    stage.accept("a")
    stage.hear("a", b"x\ny\n")
    stage.connect(T2)
    assert stage.take(T2) == b"x\ny\n"
    stage.hear("a", b"z\n")
    assert stage.take(T2) == b"z\n"


def test_catching_up_goes_in_slices_and_what_is_new_comes_after() -> None:
    stage = started(TIGHT, linked=False)
    stage.accept("a")
    names = [b"n%02d" % n for n in range(30)]
    for name in names:
        stage.hear("a", name + b"\n")
    stage.held.add(T1)
    stage.connect(T1)
    first = stage.connections[T1].waiting
    assert 30 < first <= 36  # over the high mark, by one batch at most
    stage.hear("a", b"new\n")
    assert stage.connections[T1].waiting == first and stage.paused == set()
    stage.hear(T1, b"n29 10.0.0.1 A IN\n")  # not asked on this connection yet: it is late
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == b"".join(name + b"\n" for name in [*names, b"new"])


def test_a18_a_link_that_takes_nothing_holds_the_clients_for_a_second_and_then_nobody() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.paused == {"a", "b"}
    stage.wait(0.99)
    assert stage.paused == {"a", "b"}
    stage.wait(0.01)
    assert stage.paused == set()
    assert stage.reports[-1] == "TS1 is stalled: it does not take its questions"
    waiting = stage.connections[T1].waiting
    stage.hear("a", b"y\n")
    assert stage.connections[T1].waiting == waiting
    assert stage.take(T2).endswith(b"\ny\n")
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == b"n" * 40 + b"\ny\n"
    stage.hear("a", b"z\n")
    assert stage.take(T1) == b"z\n"
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    assert stage.take("a") == b"y 10.0.0.1 A IN\n"


def test_who_comes_while_a_link_holds_the_clients_up_is_not_read_either() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.accept("late")
    assert stage.paused == {"a", "late"}
    stage.wait(1.0)
    assert stage.paused == set()


def test_a_link_that_takes_again_in_time_lets_the_clients_go() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.9)
    stage.held.clear()
    stage.settle()
    assert stage.paused == set()
    stage.wait(1.0)
    stage.hear("a", b"z\n")
    assert stage.take(T1).endswith(b"z\n")


def test_of_two_links_that_hold_the_clients_the_second_one_goes_on() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held |= {T1, T2}
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.5)
    stage.held.discard(T1)
    stage.settle()
    assert stage.paused == {"a"}
    stage.wait(0.5)
    assert stage.paused == set()


def test_a_link_that_is_lost_while_it_holds_the_clients_lets_them_go() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.reset(T1)
    assert stage.paused == set()


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_gives_everyone_what_it_is_owed_and_then_parts_from_the_links() -> None:
    stage = asking(b"x")
    stage.accept("idle")
    stage.drain()
    assert stage.take("idle") == b"BYE\n" and not stage.listening
    stage.end("idle")
    stage.hear("a", b"too-late\n")
    assert stage.take(T1) == b""
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\nBYE\n"
    stage.end("a")
    assert stage.take(T1) == b"QUIT\n" and stage.take(T2) == b"QUIT\n"
    assert stage.exit_code is None
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


def test_a_drain_goes_on_dialling_while_somebody_waits_and_says_nothing_of_it() -> None:
    stage = asking(b"x")
    stage.reset(T1)
    stage.reset(T2)
    said = len(stage.reports)
    stage.drain()
    stage.wait(0.05)
    stage.refuse(T2)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"
    assert stage.reports[said:] == ["TS1 is up"]
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\nBYE\n"


def test_a_drain_lets_those_go_who_are_held_up() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.paused == {"a", "b"}
    stage.drain()
    assert stage.take("b") == b"BYE\n" and stage.has_ended("b")
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n" + b"n" * 40 + b" - TIMED OUT\nBYE\n"
    assert stage.has_ended("a")


def test_a_second_request_to_drain_changes_nothing() -> None:
    stage = asking(b"x")
    stage.drain()
    stage.wait(1.0)
    stage.drain()
    assert stage.take("a") == b""
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\nBYE\n"
    stage.wait(1.0)
    assert stage.exit_code == 0


def test_the_account_at_the_end_adds_up() -> None:
    stage = asking(b"x", b"X", b"y", b"?", b"nobody")
    stage.accept("b")
    stage.hear("b", b"gone\nx\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\nlate 10.0.0.1 A IN\n")
    stage.reset("b")
    stage.wait(5.0)
    stage.hear("a", b"z\n")
    stage.drain()
    stage.hear(T2, b"x 10.0.0.1 A IN\nz 10.0.0.1 A IN\n")
    for conn in ("a", T1, T2):
        stage.end(conn)
    assert stage.exit_code == 0
    assert stage.reports[-1] == (
        "asked 7, answered 4, not found 0, no data 0, failed 0, timed out 2, dropped 1, pending 0, "
        "refused 1; joined 2, late 2"
    )


def test_with_nothing_open_and_all_links_up_there_is_nothing_to_wake_for() -> None:
    stage = started()
    stage.accept("a")
    assert stage.brain.deadline() is None
    stage.hear("a", b"x\n")
    assert stage.brain.deadline() == stage.now + 5.0
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.brain.deadline() is None


def test_a_drain_with_nobody_there_gives_up_links_that_are_not_up() -> None:
    stage = started(linked=False)
    stage.connect(T1)
    stage.drain()
    assert stage.dialled == [] and stage.take(T1) == b"QUIT\n"
    stage.hear(T1, b"BYE\n")
    assert stage.exit_code is None
    stage.end(T1)
    assert stage.exit_code == 0


def test_c3_a_drain_ends_a_second_after_the_timeout_at_the_latest() -> None:
    stage = asking(b"x")
    stage.drain()
    stage.wait(5.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 0


def test_once_the_session_that_spoke_first_ends_the_server() -> None:
    stage = started(once=True)
    stage.accept("probe")
    stage.end("probe")
    assert stage.exit_code is None and stage.listening
    stage.accept("a")
    stage.accept("b")
    stage.hear("a", b"ru")
    assert not stage.listening
    stage.hear("b", b"y\n")
    assert stage.take("b") == b"- ERROR BUSY\nBYE\n"
    stage.hear("a", b"tgers.edu\nQUIT\n")
    stage.wait(5.0)
    stage.end("a")
    stage.end("b")
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


def test_a_ts_that_stays_away_is_looked_up_again() -> None:
    bounds = Bounds()
    brain = load_balancer(SERVERS, bounds, lambda: 0.0, hosts=[("ts1", 1), ("ts2", 2)])
    stage = Stage.begun(brain, bounds, up=(T2,))
    while stage.now < 127:
        stage.refuse(T1)
        stage.wait(2.0)
    assert stage.lookups == []
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.lookups == [(T1, "ts1", 1)]
    stage.resolve(T1, ((2, ("elsewhere", 1)),))  # the dial to where it was is given up
    stage.wait(3.0)
    assert stage.dialled == [T1] and stage.addresses[T1] == ((2, ("elsewhere", 1)),)
    stage.resolve(T1, ())
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.addresses[T1] == ((2, ("elsewhere", 1)),)


# -- reloading -------------------------------------------------------------------------------------

HOSTS = ("ts1", 1), ("ts2", 2)
ELSEWHERE = ((2, ("elsewhere", 1)),)
LOOKUPS = [(T1, "ts1", 1), (T2, "ts2", 2)]
RELOADING, READY = Standing.RELOADING, Standing.READY


def named(linked: bool = True) -> Stage:
    """Build LS that knows its TSs by name."""
    stage = Stage.begun(load_balancer(SERVERS, Bounds(), lambda: 0.0, hosts=HOSTS))
    if linked:
        stage.connect(T1)
        stage.connect(T2)
    stage.accept("a")
    stage.reports.clear()
    return stage


def test_a_reload_looks_up_every_ts_and_waits_for_none() -> None:
    stage = named()
    stage.reload()
    assert stage.lookups == LOOKUPS and stage.standings == [RELOADING]
    stage.hear("a", b"x\n")
    stage.hear(T2, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    stage.resolve(T2, SERVERS[1])
    assert stage.reports == ["TS2 has the same address as before"]
    assert stage.standings == [RELOADING]
    stage.resolve(T1, (), "no reply")
    said = "TS1: cannot look up ts1 (no reply); it is taken to be where it was"
    assert stage.reports[1:] == [said]
    assert stage.standings == [RELOADING, READY]
    assert stage.dialled == [] and set(stage.connections) == {T1, T2, "a"}


def test_a_ts_that_has_moved_is_dialled_there_and_asked_for_what_is_open() -> None:
    """[P13]: and what still comes from where it was does not count."""
    stage = named()
    stage.hear("a", b"x\ny\n")
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    stage.take(T1)
    stage.take(T2)
    stage.reload()
    stage.resolve(T2, SERVERS[1])
    stage.resolve(T1, ELSEWHERE)
    assert stage.standings == [RELOADING, READY]
    assert stage.reports[1:] == ["TS1 is down (it has moved); dialling it again"]
    stage.hear(T1, b"x 10.0.0.9 A IN\n")
    stage.wait(0.2)
    assert stage.dialled == [T1] and stage.addresses[T1] == ELSEWHERE
    stage.connect(T1)
    assert stage.take(T1) == b"x\n" and stage.take(T2) == b""
    stage.take("a")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


@pytest.mark.parametrize("way", ["dialling", "away", "stalled"])
def test_a_ts_that_has_moved_is_dialled_there_however_it_stood(way: str) -> None:
    stage = named(linked=way == "stalled")
    if way == "away":
        stage.refuse(T1)
    elif way == "stalled":
        stage.held.add(T1)
        label = b"z" * 60
        for n in range(0, 6_000, 1_000):
            names = b"".join(
                b"%d.%b.%b.%b\n" % (k, label, label, label) for k in range(n, n + 1000)
            )
            stage.hear("a", names)
        stage.wait(1.1)
        assert "TS1 is stalled: it does not take its questions" in stage.reports
    stage.reload()
    stage.resolve(T1, ELSEWHERE)
    stage.wait(0.3)
    assert T1 in stage.dialled and stage.addresses[T1] == ELSEWHERE
    stage.held.clear()
    stage.connect(T1)


def test_a_ts_whose_addresses_come_in_another_order_has_not_moved() -> None:
    both = (*SERVERS[0], *ELSEWHERE)
    servers = (both, SERVERS[1])
    stage = Stage.begun(load_balancer(servers, Bounds(), lambda: 0.0, hosts=HOSTS), up=(T1,))
    stage.reload()
    stage.resolve(T1, both[::-1])
    assert T1 in stage.connections and stage.reports[-1] == "TS1 has the same address as before"


def test_who_asks_again_gets_one_more_round_and_ready_after_that() -> None:
    """Lookups for this are never more at a time than TSs."""
    stage = named()
    for _ in range(100):
        stage.reload()
    assert stage.lookups == LOOKUPS
    stage.resolve(T1, SERVERS[0])
    stage.reload()
    assert stage.lookups == LOOKUPS
    stage.resolve(T2, SERVERS[1])
    assert stage.lookups == LOOKUPS * 2 and READY not in stage.standings
    stage.resolve(T2, ELSEWHERE)
    stage.resolve(T1, SERVERS[0])
    assert stage.lookups == LOOKUPS * 2 and stage.standings.count(READY) == 1
    assert stage.standings[-1] is READY
    stage.reload()
    assert stage.lookups == LOOKUPS * 3


def test_a_drain_looks_nothing_up_and_is_not_kept_by_what_is_looked_up() -> None:
    stage = named()
    stage.reload()
    stage.reload()
    stage.drain()
    stage.reload()
    stage.resolve(T1, ELSEWHERE)
    stage.resolve(T2, SERVERS[1])
    assert stage.lookups == LOOKUPS
    stage.end("a")
    assert stage.dialled == []
    for conn in (T1, T2):
        if conn in stage.connections:
            stage.end(conn)
    assert stage.exit_code == 0


def test_ls_whose_tss_have_no_names_has_nothing_to_reload() -> None:
    stage = started()
    stage.reload()
    assert stage.lookups == [] and stage.standings == []
