"""Invariants of LS that hold at every step, whatever happens: I1 to I14 of the fault matrix.

`LoadBalancerWatch` is LS's wire log, so it sees each line that LS read and each that it sent, at
the moment of the step, and each move of a machine. From the lines alone it keeps its own account
of who is owed what and why, and raises `Violated` when LS's doings differ:

    I1  one reply per question, no more         I2  every reply was owed to that client
    I3  a TS answers from what it has served    I4  timeouts at their time, answers not after it
    I5  no timeout while a TS that has something to say was linked and nothing was wrong
    I6  QUIT or the end: all replies, BYE after QUIT, and nothing after
    I7  bounds                                  I8  nothing is left when everybody has gone
    I9  what can be read is read                I10 no turn without effect, again and again
    I11 the conservation law                    I12 no exception (it would leave the world)
    I13 the same seed, the same trace (tests/sim/test_world.py)   I14 a drain ends in its time

and what proto.md promises of who may end a question, and of hedging, by its tags:

    P10 an answer counts once, for all who wait, and only from a TS that was asked
    P21 NOT FOUND in the step in which the last TS says so, and not before
    P22 NO DATA held for those who have not spoken, and not for longer than it may be
    P44 NAMES BELOW held for them, too, for as long as they may answer, and told as NO DATA
    P23 speculative questions within their share        P24 what is old was sent to everyone

`TableWatch` is an honest TS's: what it says is of the table that it serves in that turn.
"""

from collections import defaultdict, deque
from enum import Enum

from core.bounds import Bounds
from core.io.loop import Loop
from core.io.stream_state import StreamState
from core.protocol.asker import SessionState
from core.protocol.messages import (
    Answer,
    NoAnswer,
    ProtocolError,
    Question,
    Refusal,
    format_message,
    parse_reply,
    parse_request,
)
from core.protocol.names import LINE_BYTES_MAX, Command, Error, Negative, Word, fold
from core.text import split_lines
from nodes.ls.hedging.asking import AskingState
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.link_state import LinkState
from nodes.ls.load_balancer import LoadBalancer
from nodes.ts.reload import ReloadState
from nodes.ts.table import Table
from tests.sim.world import Host, Observer, TableFile, World
from tests.support.balancers import part_of

_LIMITS = {"mid_line_s", "write_stall_s", "linger_s", "idle_s"}  # limits that cut a connection
_SLACK_S = 0.25  # turns, in virtual time, between what is due and its being done
_EDGE_S = 1e-9  # sums of times that differ by less are equal
_REPLY_BYTES = 150  # none of the stories' is longer
_LOOKS = 8  # at one asking, before LS sleeps for a while: at 1, 2, 4 ... ms
_LIVE = (LinkState.CATCHING_UP, LinkState.UP, LinkState.HOLDING)  # links whose TS may be waited for
_COUNTED = {
    Negative.TIMED_OUT: "timed_out",
    Negative.NOT_FOUND: "not_found",
    Negative.NO_DATA: "no_data",
}
_REPORTED = {  # probes by what LS reports
    "second signal": "a second signal",
    "it answers what nobody asked": "a TS answers what nobody asked",
    "it does not speak this protocol": "a TS does not speak the protocol",
    "it sent a line that is too long": "a TS sends a line that is too long",
    "hedging is for equal tables": "LS says that hedging does not fit",
}


class Violated(AssertionError):
    """An invariant does not hold."""


def hold(condition: object, invariant: str, text: str) -> None:
    if not condition:
        raise Violated(f"{invariant}: {text}")


class TableWatch(Observer):
    """Sees all that an honest TS says, and every table that it has served.

    P25 what it says is of the table that it serves, all of it, from one turn to the next
    P26 what is to be refused is never served
    """

    def __init__(self, world: World, name: str, rows: dict[bytes, bytes], is_frank: bool) -> None:
        super().__init__(world, name)
        self.file = TableFile(rows, slice_bytes=30)
        self.is_frank = is_frank
        self.tables: list[dict[bytes, bytes]] = []
        self.since: list[float] = []  # when each was first served

    def make_table(self) -> Table:
        """Make what a TS with its file serves."""
        return Table(dict(self.file.good))

    def serve(self, rows: dict[bytes, bytes] | None) -> None:
        """Serve this from now on."""
        hold(rows is not None, "P26", f"{self.name} serves what is to be refused")
        assert rows is not None
        self.tables.append(rows)
        self.since.append(self.world.t)

    @property
    def holds(self) -> set[bytes]:
        """The questions that it has answered all the while."""
        return set.intersection(*map(set, self.tables or [self.file.good]))

    def may_say(self, question: bytes, addresses: bytes) -> bool:
        """Return whether one of its tables has these addresses."""
        lines = (rows.get(question, b"").split(b" ") for rows in self.tables)
        return any(addresses in line[1:2] for line in lines)

    def which(self, question: bytes, line: bytes, since: float, first: int) -> int | None:
        """Return the first table from number `first` on, served since then, that has this
        answer."""
        for number in range(first, len(self.tables)):
            is_over = number + 1 < len(self.tables) and self.since[number + 1] < since
            if not is_over and self.tables[number].get(question) == line + b"\n":
                return number
        return None

    def sent(self, conn: str, data: bytes) -> None:
        super().sent(conn, data)
        rows = self.tables[-1]
        for line in split_lines(data):
            match parse_reply(line):
                case Answer(spelling, _, kind):
                    right = rows.get(fold(spelling, kind)) == line + b"\n"
                case NoAnswer(Question(spelling, kind), why):
                    question = fold(spelling, kind)
                    right = question not in rows and why is self.negative(question)
                case _:
                    continue
            hold(right, "P25", f"{self.name} says {line!r}, and serves {rows}")

    def negative(self, question: bytes) -> Negative | None:
        """Return what it is to say of a question that no row answers; None: nothing."""
        rows = self.tables[-1]
        if other_type(question) in rows:
            return Negative.NO_DATA
        below = b".%b " % question.removesuffix(b" AAAA")
        if any(below in row + b" " for row in rows):
            return Negative.NAMES_BELOW
        return Negative.NOT_FOUND if self.is_frank else None

    def report(self, text: str, *_: object) -> None:
        super().report(text)
        if " reloaded: " in text:
            self.serve(self.file.judged)
            self.world.saw("a reload is taken")
        elif " is refused: " in text:
            hold(self.file.judged is None, "P26", f"{self.name}: {text}")
            self.world.saw("a reload is refused")

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        super().changed(machine, old, new)
        if new is ReloadState.OUTDATED:
            self.world.saw("a reload is asked for again while it reads")


def other_type(question: bytes) -> bytes:
    """Return the question, folded, for the same name and the other type."""
    name = question.removesuffix(b" AAAA")
    return name if name != question else question + b" AAAA"


class Life:
    """A question for all who wait for it, from the first who asks until nobody waits.

    Facts kept by link are of its present connection.
    """

    def __init__(self, now: float) -> None:
        self.waiting = 0  # replies that are owed
        self.born_at = now
        self.anew_at = now  # when it was asked last, and did not join
        self.anew = 1  # how often
        self.lines: dict[str, int] = {}  # link: how often it was asked
        self.sent_at: dict[str, float] = {}  # link: when first
        self.last_at = now  # when any was asked last
        self.lately: set[str] = set()  # links that were asked since it was asked anew
        self.denied: set[str] = set()  # links that have nothing, since it was asked anew
        # The same, and what; kept while it is held. A TS that denies an asking after it was asked
        # anew has spoken, even if the new line is still on its way to it (or in its queue).
        self.said: dict[str, set[Negative]] = {}
        self.no_data_at: float | None = None  # when the first TS said NO DATA
        self.has_names_below = False  # by the word of a TS
        self.is_deserted = False  # a link that was asked is gone

    def ask_anew(self, now: float) -> None:
        self.anew_at = now
        self.anew += 1
        self.lately.clear()
        self.denied.clear()
        if not self.is_held:
            self.said.clear()

    @property
    def is_held(self) -> bool:
        """Whether a TS has shown that its name exists."""
        return self.no_data_at is not None or self.has_names_below

    def ask_of(self, link: str, now: float) -> None:
        self.lines[link] = self.lines.get(link, 0) + 1
        self.sent_at.setdefault(link, now)
        self.last_at = now
        self.lately.add(link)

    def hear(self, link: str, why: Negative, now: float) -> None:
        self.denied.add(link)
        self.said.setdefault(link, set()).add(why)
        if why is Negative.NO_DATA and self.no_data_at is None:
            self.no_data_at = now
        self.has_names_below = self.has_names_below or why is Negative.NAMES_BELOW

    def part(self, link: str) -> bool:
        """Forget a connection that is gone; return whether something was said there."""
        self.is_deserted = self.is_deserted or link in self.lately
        self.lines.pop(link, None)
        self.sent_at.pop(link, None)
        self.lately.discard(link)
        self.denied.discard(link)
        return self.said.pop(link, None) is not None


class LoadBalancerWatch(Observer):
    """Sees all that one LS does. `tables`: the honest TSs, by link; `share`: of speculative
    questions, where LS hedges."""

    def __init__(
        self, world: World, bounds: Bounds, tables: dict[str, TableWatch], share: float | None
    ) -> None:
        super().__init__(world, "LS")
        self.bounds = bounds
        self.share = share
        self.tables = tables
        self.brain: LoadBalancer
        # Of a link's present connection: when each question was sent first, by the world's time,
        # and the number of the table that it spoke of last.
        self.first_sent: defaultdict[str, dict[bytes, float]] = defaultdict(dict)
        self.spoke_of: defaultdict[str, int] = defaultdict(int)
        self.owed: dict[str, dict[bytes, deque[tuple[bytes, float]]]] = {}
        self.errors: defaultdict[str, int] = defaultdict(int)  # refusals that are owed
        self.pongs: defaultdict[str, int] = defaultdict(int)  # that are owed
        self.in_a_row: defaultdict[str, int] = defaultdict(int)
        self.sent_to: defaultdict[str, bytearray] = defaultdict(bytearray)
        self.host_of: dict[str, str] = {}  # a client's host, by what LS calls it
        self.clean: set[str] = set()  # clients that got all they were owed and their end
        self.talking: set[str] = set()  # sessions that may ask
        self.up_since: dict[str, float] = {}
        self.link_states: dict[str, LinkState] = {}
        counted = ("asked", "answered", *_COUNTED.values(), "dropped")
        self.counts = dict.fromkeys(counted, 0)
        self.drain_since: float | None = None
        self.is_cutting = False  # its drain took too long, and it ended all the same
        self.undisturbed_since = 0.0  # nothing has been done to LS or the network since
        self.slices: defaultdict[str, int] = defaultdict(int)  # link: while it catches up
        self.lives: dict[bytes, Life] = {}  # of questions that somebody waits for
        self.held: dict[bytes, Life] = {}  # those of them whose names exist by the word of a TS
        self.bad_in_a_row: defaultdict[str, int] = defaultdict(int)  # lines of a link
        # Of the TS that speaks in this step: its answers that count, what is unknown by its word,
        # and whom LS therefore owes nothing any more when the step is over.
        self.answers: dict[bytes, bytes] = {}
        self.unknown: set[bytes] = set()
        self.must_end: list[Life] = []
        self.moved: set[bytes] = set()  # questions that something has happened to in this turn
        self.time_up_at = 0.0  # when a question was last replied to that was due
        # The budget: questions that did not join, lines that were speculative for certain, lines
        # to further TSs that were not since the asking was old; whether all of it is certain.
        self.first = 0
        self.speculative = 0
        self.aged = 0
        self.is_plain = True
        self._turns_seen = 0

    # -- reads of LS -------------------------------------------------------------------------------

    def received(self, conn: str, data: bytes) -> None:
        super().received(conn, data)
        self._end_step()
        if not conn.startswith("client-"):
            self._told(conn, data)
        if conn not in self.talking:
            return
        now = self.host.clock()
        for line in split_lines(data):
            if not line:
                continue
            try:
                request = parse_request(line)
            except ProtocolError:
                request = None
            if isinstance(request, Question):
                question = fold(request.spelling, request.type)
                spelling = format_message(request)
                self.owed[conn].setdefault(question, deque()).append((spelling, now))
                self.counts["asked"] += 1
                self.in_a_row[conn] = 0
                self._begin(question, now)
            elif request is Command.QUIT:
                return
            elif request is Command.PING:
                self.pongs[conn] += 1
                self.in_a_row[conn] = 0
            else:
                self.errors[conn] += 1
                self.in_a_row[conn] += 1
                if self.in_a_row[conn] == self.bounds.errors_in_a_row_max:
                    self.world.saw("errors end a session")
                    return

    def _begin(self, question: bytes, now: float) -> None:
        """Begin a question: it is asked for the first time, anew, or with others."""
        life = self.lives.get(question)
        if life is None:
            life = self.lives[question] = Life(now)
            self.first += 1
        elif now - life.anew_at >= self.bounds.join_s - _EDGE_S:
            life.ask_anew(now)
            self.first += 1
            if life.is_held:
                self.world.saw("a held question is asked anew")
        life.waiting += 1
        self.moved.add(question)

    def _told(self, link: str, data: bytes) -> None:
        """Take what counts of what a TS says."""
        denials: list[tuple[bytes, Negative]] = []
        for line in split_lines(data):
            if not line:
                continue
            try:
                reply = parse_reply(line)
            except ProtocolError as problem:
                self.bad_in_a_row[link] += 1
                bad = self.bad_in_a_row[link] == self.bounds.errors_in_a_row_max
                if bad or problem.code is Error.TOOLONG:
                    break
                continue
            self.bad_in_a_row[link] = 0
            match reply:
                case Answer(spelling, _, kind):
                    question = fold(spelling, kind)
                    self._is_of_a_table(link, question, line)
                    if self._was_asked(link, question):
                        self.answers.setdefault(question, line)
                case NoAnswer(Question(spelling, kind), why) if why is not Negative.TIMED_OUT:
                    denials.append((fold(spelling, kind), why))
                case _:
                    self.world.saw("a TS says what is no answer")
        self.must_end += [self.lives[question] for question in self.answers]
        for question, why in denials:
            if question not in self.answers and self._was_asked(link, question):
                life = self.lives[question]
                life.hear(link, why, self.host.clock())
                self.moved.add(question)
                if life.is_held:
                    self.held[question] = life
        for question in dict.fromkeys(question for question, _ in denials):
            life = self.lives.get(question)
            if life is None or question in self.answers or life.is_held:
                continue
            if all(
                Negative.NOT_FOUND in life.said.get(each, ())
                for each in self.brain.parts.upstreams.by_name
            ):
                self.unknown.add(question)
                self.must_end.append(life)

    def _is_of_a_table(self, link: str, question: bytes, line: bytes) -> None:
        """Check that an honest TS answers from a table that it has served since it was asked, and
        from none that is older than the last of which it spoke on this connection."""
        table = self.tables.get(link)
        if table is None:
            return
        since = self.first_sent[link].get(question)
        hold(since is not None, "I3", f"{link} answers {line!r}, and was not asked")
        assert since is not None
        number = table.which(question, line, since, self.spoke_of[link])
        hold(number is not None, "I3", f"{link} says {line!r} of no table of its, or an older one")
        assert number is not None
        self.spoke_of[link] = number
        if number < len(table.tables) - 1 and table.tables[-1].get(question) != line + b"\n":
            self.world.saw("an answer is late after a reload")

    def _was_asked(self, link: str, question: bytes) -> bool:
        life = self.lives.get(question)
        return life is not None and link in life.lines

    def _end_step(self) -> None:
        """End a step: what a TS said has had its effect, or will have none."""
        for life in self.must_end:
            hold(not life.waiting, "P9", f"{life.waiting} still wait for what a TS has decided")
        self.answers.clear()
        self.unknown.clear()
        self.must_end.clear()

    # -- questions of LS ---------------------------------------------------------------------------

    def _asked(self, link: str, data: bytes) -> None:
        """Take note that LS asks a TS."""
        now = self.host.clock()
        for question in split_lines(data):
            if question in (Command.QUIT.value, Command.PING.value):
                continue
            life = self.lives.get(question)
            hold(life, "I2", f"{link} is asked for {question!r}, and nobody waits for it")
            assert life is not None
            if self.share is not None:
                self._count(link, life, now)
            elif link in life.lines:
                self.world.saw("a name is asked anew")
            life.ask_of(link, now)
            self.first_sent[link].setdefault(question, self.world.t)
        self.slices[link] += 1
        if self.slices[link] == 2:
            self.world.saw("catching up takes slices")

    def _count(self, link: str, life: Life, now: float) -> None:
        """Say why LS, which hedges, asks this TS now: for the first time, freely, or speculating.

        Only where the link has been UP since before the asking does it get a line in the step
        that decides so; else that may have been earlier, when things stood otherwise.
        """
        asked = life.lines.get(link, 0)
        hold(asked < life.anew, "P23", f"{link} is asked more often than anybody asks")
        others = life.lately - {link}
        hopeful = [other for other in others if self.is_live(other) and other not in life.denied]
        if not hopeful:
            if others or life.is_deserted:
                denied = others <= life.denied and not life.is_deserted
                self.world.saw(f"a {'denied' if denied else 'deserted'} question moves on")
        elif now - life.born_at >= self.bounds.join_s - _EDGE_S:
            self.aged += 1
            self.world.saw("an old asking goes to everyone")
        elif self.up_since.get(link, now) < life.anew_at:
            self.speculative += 1
            self.world.saw("a question is hedged")

    # -- replies of LS -----------------------------------------------------------------------------

    def sent(self, conn: str, data: bytes) -> None:
        super().sent(conn, data)
        if not conn.startswith("client-"):
            self._asked(conn, data)
            return
        self.sent_to[conn] += data
        now = self.host.clock()
        hold(conn in self.owed, "I6", f"{conn} is sent to after its end")
        for line in split_lines(data):
            match parse_reply(line):
                case Word.BYE:
                    hold(not self.owed_to(conn), "I6", f"BYE to {conn}, which is owed something")
                    hold(conn not in self.talking, "I6", f"BYE to {conn} before it has ended")
                case Word.PONG:
                    self.pongs[conn] -= 1
                    hold(self.pongs[conn] >= 0, "I1", f"a PONG for nothing to {conn}")
                case Refusal(Error.UNFINISHED):
                    self.world.saw("unfinished line")
                case Refusal():
                    self.errors[conn] -= 1
                    hold(self.errors[conn] >= 0, "I1", f"a refusal for nothing to {conn}")
                case NoAnswer(Question(spelling, kind) as asked, why):
                    question = fold(spelling, kind)
                    life, when = self._pop(conn, question, format_message(asked))
                    self.counts[_COUNTED[why]] += 1
                    if why is Negative.TIMED_OUT:
                        self._timed_out(question, life, when, now)
                    elif why is Negative.NOT_FOUND:
                        self._not_found(question, life)
                    else:
                        self._no_data(question, life, when, now)
                case Answer() as answer:
                    self._answered(conn, answer, line, now)

    def owed_to(self, conn: str) -> int:
        return sum(map(len, self.owed[conn].values()))

    def _pop(self, conn: str, question: bytes, spelling: bytes | None) -> tuple[Life, float]:
        """Take out a question of this client that is replied to; return its life, and when it was
        asked."""
        waiting = self.owed[conn].get(question)
        hold(waiting, "I2", f"{conn} is not owed a reply for {question!r}")
        assert waiting is not None
        for at, (asked, when) in enumerate(waiting):
            if spelling is None or asked == spelling:
                del waiting[at]
                if not waiting:
                    del self.owed[conn][question]
                if self.host.clock() - when >= self.bounds.timeout_s - _EDGE_S:
                    self.time_up_at = self.host.clock()
                if self.share is not None:
                    self._check_asked(question)
                return self._leave(question, 1), when
        raise Violated(f"I2: {conn} did not spell it {spelling!r}")

    def _leave(self, question: bytes, count: int) -> Life:
        """Let so many not wait for it any more."""
        life = self.lives[question]
        life.waiting -= count
        if not life.waiting:
            del self.lives[question]
            self.held.pop(question, None)
        return life

    def _answered(self, conn: str, answer: Answer, line: bytes, now: float) -> None:
        question = fold(answer.spelling, answer.type)
        life, when = self._pop(conn, question, None)
        said = self.answers.get(question)
        hold(said == line, "P10", f"{line!r} is relayed, and {said!r} was said by one who may")
        age = now - when
        if self.undisturbed_since <= when:
            hold(age <= self.bounds.timeout_s + _SLACK_S, "I4", f"answer after {age:.3f} s")
        if age > self.bounds.timeout_s - 0.1:
            self.world.saw("an answer just in time")
        if life.no_data_at is not None:
            self.world.saw("NO DATA is held and an answer beats it")
        if answer.type.value == b"AAAA":
            self.world.saw("an answer of IPv6")
        self.counts["answered"] += 1

    def _not_found(self, question: bytes, life: Life) -> None:
        hold(question in self.unknown, "P21", f"{question!r} is NOT FOUND, by {life.said} only")
        for link in self.tables:
            hold(not self.has_name(link, question), "P21", f"{question!r} is NOT FOUND: {link}")
        self.world.saw("NOT FOUND is relayed")

    def _no_data(self, question: bytes, life: Life, asked_at: float, now: float) -> None:
        """Check that NO DATA is said for a reason, and that no TS would have answered that had the
        time to."""
        bounds = self.bounds
        hold(life.is_held, "P22", f"{question!r}: no TS has said NO DATA")
        no_data_at = life.no_data_at
        if no_data_at is None:
            self.world.saw("NAMES BELOW is relayed as NO DATA")
        if self.have_spoken(life):
            self.world.saw("NO DATA is relayed when all have spoken")
        elif no_data_at is not None and now >= no_data_at + bounds.no_data_s - _EDGE_S:
            self.world.saw("NO DATA is released by the hold")
        else:
            due = now - bounds.timeout_s + _EDGE_S
            asked = (when for of in self.owed.values() for each in of.values() for _, when in each)
            is_time = self.time_up_at == now or any(when <= due for when in asked)
            tag = "P44" if no_data_at is None else "P22"
            hold(is_time, tag, f"{question!r}: NO DATA, which was said at {no_data_at}")
            self.world.saw("NO DATA is released by a timeout")
        if self.undisturbed_since > asked_at:
            return
        age = now - asked_at
        hold(age <= bounds.timeout_s + _SLACK_S, "I4", f"NO DATA after {age:.3f} s")
        longest_s = self.longest_s + _SLACK_S
        for link in self.well_since(asked_at):
            asked_for = now - life.sent_at.get(link, now)
            hold(
                not self.has(link, question) or asked_for <= longest_s,
                "I5",
                f"NO DATA of {question!r} though {link} has it and was asked {asked_for:.3f} s ago",
            )

    def _timed_out(self, question: bytes, life: Life, asked_at: float, now: float) -> None:
        age = now - asked_at
        hold(age >= self.bounds.timeout_s - _EDGE_S, "I4", f"timeout after {age:.3f} s")
        hold(not life.is_held, "P22", f"{question!r} timed out, and a TS knows its name")
        self.world.saw("a question times out")
        if self.undisturbed_since > asked_at:
            return
        hold(age <= self.bounds.timeout_s + _SLACK_S, "I4", f"timeout after {age:.3f} s")
        well = self.well_since(asked_at)
        for link in well:
            hold(not self.has_name(link, question), "I5", f"{question!r} timed out: {link} has it")
        frank = {link for link, table in self.tables.items() if table.is_frank}
        is_known_unknown = frank.issuperset(self.brain.parts.upstreams.by_name) and len(
            well
        ) == len(frank)
        hold(not is_known_unknown, "I5", f"{question!r} timed out though every TS says NOT FOUND")

    def has(self, link: str, question: bytes) -> bool:
        """Return whether the TS of a link is honest, and answers this."""
        return link in self.tables and question in self.tables[link].holds

    def has_name(self, link: str, question: bytes) -> bool:
        return self.has(link, question) or self.has(link, other_type(question))

    def _check_asked(self, question: bytes) -> None:
        """Check under hedging that it has been waiting to go to another TS for no longer than it
        may."""
        life, bounds, hedge = self.lives[question], self.bounds, part_of(self.brain, HedgePolicy)
        assert hedge is not None
        links = [link for link, since in self.up_since.items() if since < life.born_at]
        unasked = sorted(set(links) - life.lines.keys())
        if not unasked or self.undisturbed_since > life.born_at:
            return
        now = self.host.clock()
        age = now - life.born_at
        text = f"{question!r}, {age:.3f} s old, was not sent to {unasked}"
        hold(age <= bounds.join_s + _SLACK_S, "P24", text)
        is_late = now - life.last_at > bounds.hedge_delay_max_s + _SLACK_S
        may = is_late and hedge.budget.tokens >= 1 and self.are_all_up
        hold(not may, "P23", f"{text}, and there is a budget")

    @property
    def are_all_up(self) -> bool:
        """Whether nothing waits for a link that is live."""
        return all(state is LinkState.UP for state in self.link_states.values() if state in _LIVE)

    def is_live(self, link: str) -> bool:
        return self.link_states.get(link) in _LIVE

    def have_spoken(self, life: Life) -> bool:
        """Return whether everyone who may has said that it has nothing."""
        return all(link in life.said for link in self.link_states if self.is_live(link))

    def well_since(self, asked_at: float) -> list[str]:
        """Return the links that were UP all the while; none where the network is not roomy."""
        if not self.is_roomy:
            return []
        return [link for link, since in self.up_since.items() if since <= asked_at]

    @property
    def is_roomy(self) -> bool:
        """Whether the network carries enough for every answer to be in time."""
        return self.world.network.room / self.longest_s > 50_000

    @property
    def longest_s(self) -> float:
        """How long bytes are on their way to a TS and back, on the clock of LS."""
        lag_s = max(host.lag_s for host in self.world.hosts.values())
        return (2 * self.world.network.latency_s + lag_s) * self.host.rate

    # -- how LS moves ------------------------------------------------------------------------------

    def changed(self, machine: str, old: Enum, new: Enum) -> None:
        super().changed(machine, old, new)
        kind, _, name = machine.rpartition(" ")
        if kind == "session":
            self.talking.discard(name)
            if new is SessionState.DONE and name in self.owed:  # else its connection went first
                self.clean.add(name)
        elif kind == "link":
            assert isinstance(new, LinkState)
            self.link_states[name] = new
            self.slices[name] = 0 if new is LinkState.CATCHING_UP else 3
            self.is_plain = self.is_plain and not self.counts["asked"]
            if old is LinkState.UP and new is LinkState.CATCHING_UP:
                self.world.saw("a link falls behind")
            if new in (LinkState.CLOSING, LinkState.DOWN):
                self._part(name)
            if new in (LinkState.CLOSING, LinkState.DOWN, LinkState.STALLED, LinkState.UP):
                self.moved.update(self.lives)
            if new is LinkState.UP:
                self.up_since[name] = self.host.clock()
            elif old is LinkState.UP:
                self.up_since.pop(name, None)
        elif new is StreamState.CLOSED and name in self.owed:
            self.counts["dropped"] += self.owed_to(name)
            if self.owed_to(name):
                self.world.saw("a client leaves with questions open")
            for question, waiting in self.owed[name].items():
                self._leave(question, len(waiting))
            del self.owed[name]
        elif new is StreamState.CLOSED and old in (StreamState.FLUSHING, StreamState.PARTING):
            self.clean.discard(name)  # cut before it had everything, perhaps

    def _part(self, link: str) -> None:
        """Forget a link's connection that is gone, and what was asked and said there."""
        self.bad_in_a_row[link] = 0
        self.first_sent.pop(link, None)
        self.spoke_of.pop(link, None)
        for life in self.lives.values():
            if life.part(link):
                self.world.saw("what a TS has said goes with its connection")

    def report(self, text: str, *_: object) -> None:
        super().report(text)
        if "the drain took too long" in text:
            self.is_cutting = True
        for words, probe in _REPORTED.items():
            if words in text:
                self.world.saw(probe)
        conn, is_, host = text.partition(" is ")
        if is_ and conn.startswith("client-"):
            self.host_of[conn] = host
            self.owed[conn] = {}
            self.talking.add(conn)

    # -- after every step --------------------------------------------------------------------------

    def check(self) -> None:
        """Check all that can be said of LS as it stands."""
        host = self.host
        if host.loop is None:
            return
        self._end_step()
        self._check_account()
        self._check_held()
        self._check_moved()
        self._check_budget()
        self._check_bounds()
        calm = not (self.world.network.refused or self.world.network.spurious)
        if calm and host.idle_turns > 3:
            # Where LS hedges, it looks at a living asking now and then, ever more rarely.
            hedge = part_of(self.brain, HedgePolicy)
            looks = 0 if hedge is None else _LOOKS * (4 + len(hedge.kept))
            hold(host.idle_turns <= 3 + looks, "I10", f"{host.idle_turns} turns without effect")
        if self.drain_since is not None and self.undisturbed_since <= self.drain_since:
            with_dns = host.dns_listener is not None
            longest = self.bounds.drain_s(with_dns) + _SLACK_S
            hold(host.clock() - self.drain_since <= longest, "I14", "the drain does not end")
        self._probe()

    def _probe(self) -> None:
        """Probe for what LS does sometimes, and lines alone do not show."""
        loop, brain = self.host.loop, self.brain
        assert loop is not None
        for happened, probe in (
            (brain.parts.questions.joined, "a question joins"),
            (brain.parts.questions.late, "an answer is late"),
            (brain.backpressure.paused, "a client is paused"),
            (loop.engine.late_turns, "a due timeout waits"),
            (loop.hits["clients_max"], "too many clients"),
            (loop.hits.keys() & _LIMITS, "a limit ends a connection"),
        ):
            if happened:
                self.world.probes[probe] = 1
        hedge = part_of(brain, HedgePolicy)
        if loop.turns != self._turns_seen and hedge is not None:
            self._turns_seen = loop.turns
            for asking in dict.fromkeys(hedge.kept.values()):
                self.world.probes[f"AskingState {asking.life.state.name}"] = 1
                if asking.explores:
                    self.world.probes["a question explores another TS"] = 1
                if asking.life.state is AskingState.LATE and asking.open_count:
                    self.world.probes["a question waits for the budget"] = 1

    def _check_held(self) -> None:
        """Check that NO DATA is not held without need."""
        bounds, now = self.bounds, self.host.clock()
        for question, life in self.held.items():
            hold(not self.have_spoken(life), "P22", f"{question!r} is held, and all have spoken")
            if life.no_data_at is not None and self.undisturbed_since <= life.no_data_at:
                age = now - life.no_data_at
                hold(age <= bounds.no_data_s + _SLACK_S, "P22", f"{question!r} held {age:.3f} s")

    def _check_moved(self) -> None:
        """Check whom a question that moves has been asked: in a race everyone who is up; under
        hedging the next one, when nobody else may answer."""
        for question in sorted(self.moved & self.lives.keys()):
            life = self.lives[question]
            if self.share is None:
                up = [
                    link
                    for link, state in self.link_states.items()
                    if state in (LinkState.UP, LinkState.HOLDING)
                ]
                hold(life.lines.keys() >= set(up), "P13", f"{question!r} is asked of {life.lines}")
            elif self.are_all_up and not any(map(self.is_live, life.lately - life.denied)):
                left = [each for each in self.link_states if self.is_live(each)]
                left = [each for each in left if each not in life.lately | life.denied]
                hold(not left, "P24", f"{question!r} has nowhere to go, and was not sent to {left}")
        self.moved.clear()

    def _check_budget(self) -> None:
        """Speculation costs no more than its share, by what LS counts and by its lines."""
        hedge = part_of(self.brain, HedgePolicy)
        if hedge is None or self.share is None:
            return
        most = self.share * self.first + _EDGE_S
        hold(hedge.hedged <= most, "P23", f"{hedge.hedged} hedged of {self.first}")
        counted = f"{hedge.hedged} hedged, and {self.speculative} to {self.aged} more are seen"
        hold(self.speculative <= hedge.hedged, "P23", counted)
        hold(not self.is_plain or hedge.hedged <= self.speculative + self.aged, "P23", counted)

    def _check_account(self) -> None:
        race = self.brain.parts.questions
        hold(
            race.asked == race.answered + sum(race.denied.values()) + race.dropped + race.pending,
            "I11",
            "the account does not add up",
        )
        pending = sum(map(self.owed_to, self.owed))
        seen = {**self.counts, "pending": pending}
        denied = {name: race.denied[why] for why, name in _COUNTED.items()}
        kept = {name: denied[name] if name in denied else getattr(race, name) for name in seen}
        hold(seen == kept, "I11", f"seen {seen}, kept {kept}")

    def _check_bounds(self) -> None:
        bounds, loop = self.bounds, self.host.loop
        assert loop is not None
        parting = len(loop.acceptor.parting)
        clients = len(loop.streams.accepted) - parting
        hold(clients <= loop.descriptors.clients_max, "I7", f"{clients} clients")
        hold(parting <= bounds.descriptors_spare // 4, "I7", f"{parting} part at once")
        self._check_owed(loop)
        asked_over = bounds.pending_per_client_max + bounds.read_bytes
        for connection in (*loop.streams.accepted.values(), *loop.streams.dialled.values()):
            held = connection.framer.held_bytes
            hold(held <= LINE_BYTES_MAX + 2, "I7", f"{held} bytes of a line")
            if connection.accepted:
                most = bounds.owed_bytes_high + asked_over * _REPLY_BYTES
            else:
                most = 2 * bounds.waiting_bytes_high + (clients + 1) * bounds.read_bytes + 600
            hold(connection.waiting <= most, "I7", f"{connection.waiting} bytes wait, over {most}")

    def _check_owed(self, loop: Loop) -> None:
        """Check that what all are owed adds up, and is over its mark by no more than one read and
        the few."""
        bounds, race, owed = self.bounds, self.brain.parts.questions, loop.owed
        waiting = sum(connection.waiting for connection in loop.streams.accepted.values())
        promised = race.pending * LINE_BYTES_MAX
        known = waiting + promised
        hold(owed.owed_bytes == known, "I7", f"{owed.owed_bytes}: {waiting} and {promised}")
        few = bounds.few_bytes + bounds.few_read_bytes * LINE_BYTES_MAX
        most = bounds.owed_all_bytes_high + bounds.read_bytes * LINE_BYTES_MAX
        most += bounds.clients_max * few
        hold(owed.owed_bytes <= most, "I7", f"{owed.owed_bytes} bytes are owed, over {most}")

    def check_end(self) -> None:
        """I8, when every client has gone."""
        loop, race = self.host.loop, self.brain.parts.questions
        assert loop is not None
        hold(not loop.streams.accepted, "I8", f"still there: {list(loop.streams.accepted)}")
        hold(race.pending == 0 and not race.all_open(), "I8", "questions are left")
        hold(not any(batch.questions for batch in race.batches), "I8", "names are left")
        negatives, hedge = self.brain.parts.negatives, part_of(self.brain, HedgePolicy)
        hold(negatives.is_empty, "I8", "negatives are left")
        if hedge is not None:
            hold(not hedge.kept and not hedge.waiting, "I8", "askings are left")
            hold(hedge.due == float("inf"), "I8", "askings are waited for")
        hold(not self.brain.backpressure.paused, "I8", "somebody is paused")
        hold(loop.owed.owed_bytes == 0, "I8", f"{loop.owed.owed_bytes} bytes are owed")
        dialled = sum(1 for c in loop.streams.dialled.values() if not c.is_closed)
        own = 1 + (self.host.listener is not None and not self.host.listener.is_closed)
        hold(len(self.host.open) == dialled + own, "I8", f"descriptors: {self.host.open}")


def check_wire(watch: LoadBalancerWatch, host: Host, heard: bytes, was_reset: bool) -> None:
    """I6 on the wire: one who got its last words got all that LS said, and no reset."""
    for conn, name in watch.host_of.items():
        if name == host.name and conn in watch.clean:
            hold(not was_reset, "I6", f"{conn} was reset")
            said = bytes(watch.sent_to[conn])
            hold(heard == said, "I6", f"{conn} heard {len(heard)} of {len(said)} bytes")
