"""Race against an obvious model: one record per question, looked through from end to end."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.session import Session
from core.wire import answered_names, fold, split_lines
from nodes.balancer.race import Race, Replies

TIMEOUT_S, JOIN_S = 5.0, 1.0
NAMES = [b"a", b"b.x", b"c", b"d.y", b"e"]
spellings = st.sampled_from([*NAMES, b"A", b"B.X", b"b.X", b"C"])


@dataclass(eq=False)
class Open:
    """The model's record of one question."""

    session: Session
    spelling: bytes
    asked_at: float

    @property
    def name(self) -> bytes:
        return fold(self.spelling)


class RaceMachine(RuleBasedStateMachine):
    """Sessions ask, answers come, time passes, sessions leave."""

    def __init__(self) -> None:
        super().__init__()
        self.race = Race(TIMEOUT_S, JOIN_S)
        self.sessions = [self.session(n) for n in range(3)]
        self.now = 50.0
        self.open: list[Open] = []
        self.sent_at: dict[bytes, float] = {}  # when a name that is open was last sent to a TS
        self.mark = 0  # a batch number seen earlier
        self.sent_since_mark: set[bytes] = set()

    def session(self, number: int) -> Session:
        return Session(f"client-{number}", errors_in_a_row_max=16)

    def expect(self, replies: Replies, model: dict[Session, list[bytes]]) -> None:
        """The same lines to the same sessions; a session's lines in any order."""
        said = {s: sorted(split_lines(b"".join(chunks))) for s, chunks in replies.items()}
        assert said == {session: sorted(lines) for session, lines in model.items()}

    @rule(number=st.integers(0, 2), asked=st.lists(spellings, min_size=1, max_size=6))
    def ask(self, number: int, asked: list[bytes]) -> None:
        session = self.sessions[number]
        names = [fold(spelling) for spelling in asked]
        to_send = []
        for spelling, name in zip(asked, names, strict=True):
            is_open = any(question.name == name for question in self.open)
            if not is_open or self.now - self.sent_at[name] >= JOIN_S:
                to_send.append(name)
                self.sent_at[name] = self.now
            self.open.append(Open(session, spelling, self.now))
        assert list(self.race.ask(session, names, asked, self.now)) == to_send

    @rule(answered=st.lists(st.sampled_from([*NAMES, b"never-asked"]), min_size=1, max_size=6))
    def answer(self, answered: list[bytes]) -> None:
        lines = b"".join(b"%b 10.0.0.1 A IN\n" % name.upper() for name in answered)
        model: dict[Session, list[bytes]] = {}
        late = 0
        for name, line in zip(answered, split_lines(lines), strict=True):
            served = [question for question in self.open if question.name == name]
            late += not served
            for question in served:
                model.setdefault(question.session, []).append(line)
                self.open.remove(question)
        before = self.race.late
        self.expect(self.race.answer(answered_names(lines), lines), model)
        assert self.race.late - before == late

    @rule(seconds=st.sampled_from([0.1, 0.9, 1.0, 2.5, 4.9, 5.0]))
    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.race.next_due()) is not None and due <= until:
            assert due >= self.now
            self.now = due
            model: dict[Session, list[bytes]] = {}
            for question in list(self.open):
                if question.asked_at + TIMEOUT_S <= self.now:
                    line = question.spelling + b" - TIMED OUT"
                    model.setdefault(question.session, []).append(line)
                    self.open.remove(question)
            assert model
            self.expect(self.race.expire(self.now), model)
        self.now = until
        assert all(question.asked_at + TIMEOUT_S > self.now for question in self.open)

    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        self.race.forget(self.sessions[number])
        assert self.sessions[number].owed == 0
        self.open = [q for q in self.open if q.session is not self.sessions[number]]
        self.sessions[number] = self.session(number)

    @rule(over=st.integers(0, 12))
    def catch_up_from_the_beginning(self, over: int) -> None:
        """Slices from number 0 hold every open name once, in the order of asking."""
        names: list[bytes] = []
        number = 0
        while number != self.race.next_number:
            some, number = self.race.slice_from(number, over)
            if number != self.race.next_number:
                assert sum(len(name) + 1 for name in some) > over
            names += some
        assert names == list(dict.fromkeys(question.name for question in self.open))

    @precondition(lambda self: self.open)
    @rule()
    def what_was_asked_before_now_is_known(self) -> None:
        open_names = {question.name for question in self.open}
        expected = [name in open_names for name in NAMES]
        assert self.race.asked_before(self.race.next_number, NAMES) == expected
        assert not any(self.race.asked_before(0, NAMES))

    @invariant()
    def every_question_is_accounted_for(self) -> None:
        race = self.race
        assert race.pending == len(self.open)
        assert race.asked == race.answered + race.timed_out + race.dropped + race.pending
        for session in self.sessions:
            assert session.owed == sum(question.session is session for question in self.open)

    @invariant()
    def nothing_is_kept_of_what_is_settled(self) -> None:
        open_names = {question.name for question in self.open}
        assert set(self.race._open) == open_names
        kept = [batch for batch in self.race._batches if batch.names]
        assert sum(batch.owed for batch in kept) == len(self.open)
        assert sum(map(len, self.race._of_session.values())) == len(kept)
        assert bool(self.open) is (self.race.next_due() is not None)


TestRace = RaceMachine.TestCase


def test_one_who_joins_late_has_its_own_deadline() -> None:
    """B14"""
    race = Race(5.0, 100.0)
    first, second = Session("client-1", 16), Session("client-2", 16)
    race.ask(first, [b"x"], [b"x"], 0.0)
    assert list(race.ask(second, [b"x"], [b"X"], 4.9)) == []
    assert race.expire(5.0) == {first: [b"x - TIMED OUT\n"]}
    assert race.expire(9.8) == {}
    assert race.expire(9.9) == {second: [b"X - TIMED OUT\n"]}


def test_a_thousand_askers_of_one_name_cost_one_line_and_get_a_reply_each() -> None:
    """B13, B16"""
    race = Race(5.0, 1.0)
    sessions = [Session(f"client-{n}", 16) for n in range(1000)]
    sent = [list(race.ask(session, [b"x"] * 3, [b"x"] * 3, 0.0)) for session in sessions]
    assert sent == [[b"x"]] + [[]] * 999
    assert race.joined == 2999
    replies = race.answer([b"x"], b"x 10.0.0.1 A IN\n")
    assert replies == {session: [b"x 10.0.0.1 A IN\n" * 3] for session in sessions}


def test_a_hundred_thousand_times_one_name_in_one_batch_is_no_quadratic_work() -> None:
    race = Race(5.0, 1.0)
    session = Session("client-1", 16)
    names = [b"x"] * 100_000
    race.ask(session, names, names, 0.0)
    assert race.expire(5.0) == {session: [b"x - TIMED OUT\n" * 100_000]}


def test_answers_for_one_batch_are_relayed_as_they_came() -> None:
    race = Race(5.0, 1.0)
    session = Session("client-1", 16)
    race.ask(session, [b"a", b"b"], [b"A", b"b"], 0.0)
    chunk = b"A 10.0.0.1 A IN\nB 10.0.0.2 A IN\n"
    (relayed,) = race.answer([b"a", b"b"], chunk)[session]
    assert relayed is chunk
