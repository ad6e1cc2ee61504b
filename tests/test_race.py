"""Race against an obvious model: one record per question, looked through from end to end.

The model knows nothing of batches that share names, of speakers or of counters: a question is
open or it is not, and whatever happens walks over all of them. After every step the race must
say what the model says, and keep nothing that the model does not.

All times are multiples of 1/8 s, so that sums of them are exact and a moment can be hit exactly.

Not here: who is told what in which connection (`tests/test_ls.py`).
"""

import math
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.bounds import Hits
from core.session import Session
from core.wire import answered_names, fold, split_lines
from nodes.balancer.race import Race, Replies

TIMEOUT_S, JOIN_S = 5.0, 1.0
NAMES = [b"a", b"b.x", b"c", b"d.y", b"e"]
spellings = st.sampled_from([*NAMES, b"A", b"B.X", b"b.X", b"C"])


@dataclass(eq=False)
class Open:
    """The model's record of one question. `batch` is the number of the asking it came with."""

    session: Session
    spelling: bytes
    asked_at: float
    batch: int

    @property
    def name(self) -> bytes:
        return fold(self.spelling)


class RaceMachine(RuleBasedStateMachine):
    """Sessions ask, answers come, time passes, sessions leave, links catch up."""

    def __init__(self) -> None:
        super().__init__()
        self.race = Race(TIMEOUT_S, JOIN_S)
        self.born = 0
        self.sessions = [self.session() for _ in range(3)]
        self.now = 50.0
        self.open: list[Open] = []
        self.sent_at: dict[bytes, float] = {}  # when a name that is open was last sent to a TS
        self.asked = self.answered = self.timed_out = self.dropped = self.joined = self.late = 0

    def session(self) -> Session:
        self.born += 1
        return Session(f"client-{self.born}", errors_in_a_row_max=16, hits=Hits())

    def settle(self, questions: list[Open]) -> None:
        self.open = [question for question in self.open if question not in questions]

    def expect(self, replies: Replies, model: dict[Session, list[bytes]]) -> None:
        """The same lines to the same sessions, each session's in the same order."""
        said = {s: split_lines(b"".join(chunks)) for s, chunks in replies.items()}
        assert said == model

    @rule(number=st.integers(0, 2), asked=st.lists(spellings, min_size=1, max_size=6))
    def ask(self, number: int, asked: list[bytes]) -> None:
        """What a question costs: a line, unless its name was sent less than a second ago."""
        session, batch = self.sessions[number], self.race.next_number
        names = [fold(spelling) for spelling in asked]
        to_send = []
        for spelling, name in zip(asked, names, strict=True):
            is_open = any(question.name == name for question in self.open)
            if is_open and self.now - self.sent_at[name] < JOIN_S:
                self.joined += 1
            else:
                to_send.append(name)
                self.sent_at[name] = self.now
            self.open.append(Open(session, spelling, self.now, batch))
        self.asked += len(asked)
        assert list(self.race.ask(session, names, asked, self.now)) == to_send

    @rule(answered=st.lists(st.sampled_from([*NAMES, b"never-asked"]), min_size=1, max_size=6))
    def answer(self, answered: list[bytes]) -> None:
        """Everyone who waits for a name gets the line as it came, once per question."""
        lines = b"".join(b"%b 10.0.0.%d A IN\n" % (n.upper(), i) for i, n in enumerate(answered))
        model: dict[Session, list[bytes]] = {}
        for name, line in zip(answered, split_lines(lines), strict=True):
            served = [question for question in self.open if question.name == name]
            self.late += not served
            self.answered += len(served)
            for question in served:
                model.setdefault(question.session, []).append(line)
            self.settle(served)
        self.expect(self.race.answer(answered_names(lines) or [], lines), model)

    @rule(eighths=st.sampled_from([1, 7, 8, 9, 20, 39, 40]))
    def pass_time(self, eighths: int) -> None:
        """Each question times out at its own time, in its own spelling; the moments are told."""
        until = self.now + eighths / 8
        while due := [q for q in self.open if q.asked_at + TIMEOUT_S <= until]:
            self.now = due[0].asked_at + TIMEOUT_S
            assert self.race.next_due() == self.now
            assert self.race.expire(self.now - 1 / 16) == {}
            due = [q for q in due if q.asked_at + TIMEOUT_S == self.now]
            model: dict[Session, list[bytes]] = {}
            for question in due:
                model.setdefault(question.session, []).append(question.spelling + b" - TIMED OUT")
            self.timed_out += len(due)
            self.settle(due)
            self.expect(self.race.expire(self.now), model)
        self.now = until
        assert self.race.expire(self.now) == {}

    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        gone = self.sessions[number]
        mine = [question for question in self.open if question.session is gone]
        self.race.forget(gone)
        assert gone.owed == 0
        self.dropped += len(mine)
        self.settle(mine)
        self.sessions[number] = self.session()

    @rule(over=st.integers(0, 12), data=st.data())
    def catch_up(self, over: int, data: st.DataObject) -> None:
        """Slices from any number hold each name that nobody before it waits for, once, in order.

        A slice is more than `over` bytes unless it is the last, and not a batch more than needed.
        """
        first = data.draw(st.integers(0, self.race.next_number), "number")
        oldest: dict[bytes, int] = {}
        for question in self.open:
            oldest.setdefault(question.name, question.batch)
        found: list[bytes] = []
        number = first
        while number != self.race.next_number:
            some, following = self.race.slice_from(number, over)
            assert following > number
            sizes = [len(n) + 1 for n in some if oldest[n] != oldest[some[-1]]]
            assert sum(sizes) <= over
            if following != self.race.next_number:
                assert sum(len(name) + 1 for name in some) > over
            found += some
            number = following
        assert found == [name for name, batch in oldest.items() if batch >= first]
        assert self.race.slice_from(self.race.next_number, over) == ([], self.race.next_number)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def what_was_asked_before_a_batch_is_known(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.race.next_number), "number")
        before = {question.name for question in self.open if question.batch < number}
        assert self.race.asked_before(number, NAMES) == [name in before for name in NAMES]

    @invariant()
    def every_question_is_accounted_for(self) -> None:
        race = self.race
        assert race.pending == len(self.open)
        assert race.asked == race.answered + race.timed_out + race.dropped + race.pending
        said = (race.asked, race.answered, race.timed_out, race.dropped, race.joined, race.late)
        model = (self.asked, self.answered, self.timed_out, self.dropped, self.joined, self.late)
        assert said == model
        for session in self.sessions:
            assert session.owed == sum(question.session is session for question in self.open)

    @invariant()
    def nothing_is_kept_of_what_is_settled(self) -> None:
        race = self.race
        assert set(race._open) == {question.name for question in self.open}
        kept = [batch for batch in race._batches if batch.names]
        assert {batch.number: batch.owed for batch in kept} == {
            batch: sum(q.batch == batch for q in self.open)
            for batch in {q.batch for q in self.open}
        }
        assert sum(map(len, race._of_session.values())) == len(kept)
        assert race._of_session.keys() <= set(self.sessions)
        if not self.open:
            assert race.next_due() == math.inf and not race._batches


TestRace = RaceMachine.TestCase


def test_b14_one_who_joins_late_has_its_own_deadline() -> None:
    race = Race(5.0, 100.0)
    first, second = Session("client-1", 16, Hits()), Session("client-2", 16, Hits())
    race.ask(first, [b"x"], [b"x"], 0.0)
    assert list(race.ask(second, [b"x"], [b"X"], 4.9)) == []
    assert race.expire(5.0) == {first: [b"x - TIMED OUT\n"]}
    assert race.expire(9.8) == {}
    assert race.expire(9.9) == {second: [b"X - TIMED OUT\n"]}


def test_a_question_joins_an_asking_under_a_second_old_and_no_other() -> None:
    for age_s, sent in ((0.875, []), (1.0, [b"x"])):
        race = Race(5.0, 1.0)
        session = Session("client-1", 16, Hits())
        race.ask(session, [b"x"], [b"x"], 0.0)
        assert list(race.ask(session, [b"x"], [b"x"], age_s)) == sent
        assert race.joined == (not sent)


def test_b13_b16_a_thousand_askers_of_one_name_cost_one_line_and_get_a_reply_each() -> None:
    race = Race(5.0, 1.0)
    sessions = [Session(f"client-{n}", 16, Hits()) for n in range(1000)]
    sent = [list(race.ask(session, [b"x"] * 3, [b"x"] * 3, 0.0)) for session in sessions]
    assert sent == [[b"x"]] + [[]] * 999
    assert race.joined == 2999
    replies = race.answer([b"x"], b"x 10.0.0.1 A IN\n")
    assert replies == {session: [b"x 10.0.0.1 A IN\n" * 3] for session in sessions}


def test_a_hundred_thousand_times_one_name_in_one_batch_is_no_quadratic_work() -> None:
    """A walk over the waiters per question would be ten thousand million steps."""
    race = Race(5.0, 1.0)
    session = Session("client-1", 16, Hits())
    names = [b"x"] * 100_000
    race.ask(session, names, names, 0.0)
    assert race.expire(5.0) == {session: [b"x - TIMED OUT\n" * 100_000]}


def test_answers_for_one_batch_are_relayed_as_they_came() -> None:
    race = Race(5.0, 1.0)
    session = Session("client-1", 16, Hits())
    race.ask(session, [b"a", b"b"], [b"A", b"b"], 0.0)
    chunk = b"A 10.0.0.1 A IN\nB 10.0.0.2 A IN\n"
    (relayed,) = race.answer([b"a", b"b"], chunk)[session]
    assert relayed is chunk


def test_a_batch_that_is_settled_lets_its_names_go_also_behind_one_that_is_open() -> None:
    """Else one unknown name every few seconds would keep everything that was ever asked."""
    race = Race(5.0, 1.0)
    session = Session("client-1", 16, Hits())
    race.ask(session, [b"nobody"], [b"nobody"], 0.0)
    for number in range(100):
        name = b"n%d" % number
        race.ask(session, [name], [name], 0.0)
        race.answer([name], name + b" 10.0.0.1 A IN\n")
    assert [batch.names for batch in race._batches if batch.names] == [[b"nobody"]]
    race.expire(5.0)
    assert race.next_due() == math.inf and not race._batches and not race._open
