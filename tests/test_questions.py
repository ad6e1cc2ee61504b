"""Race against an obvious model: one record per question, looked through from end to end.

The model knows nothing of batches that share names, of speakers or of counters: a question is
open or it is not, and whatever happens walks over all of them. After every step the race must
say what the model says, and keep nothing that the model does not.

All times are multiples of 1/8 s, so that sums of them are exact and a moment can be hit exactly.

Not here: who is told what in which connection (`tests/test_ls.py`).
"""

import math
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import Bounds
from core.environment import Environment
from core.machine import IllegalTransition, Stay
from core.protocol.batches import ErrorStreak, read_replies
from core.protocol.names import Negative, fold_lines
from core.protocol.session import Session
from core.text import split_lines
from nodes.ls.outcomes import QUESTION, QuestionEvent, QuestionState
from nodes.ls.questions import DENIED, Questions
from nodes.ls.upstream import Replies
from tests.counting import lines_run

TIMEOUTS_S, JOIN_S = (5.0, 1.75), 1.0  # some wait less long than others
QUESTIONS = [b"a", b"a AAAA", b"b.x", b"c", b"d.y", b"e"]
ANSWERS = {
    question: b"%b 10.0.0.%%d A IN\n" % question.upper()
    if b" " not in question
    else b"%b 2001:db8::%%d AAAA IN\n" % question.removesuffix(b" AAAA")
    for question in [*QUESTIONS, b"never-asked"]
}
spellings = st.sampled_from([*QUESTIONS, b"A", b"A AAAA", b"B.X", b"b.X", b"C"])
ENDINGS = {  # the ways to end a question for everyone, and what is said then
    (QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND): Negative.NOT_FOUND,
    (QuestionState.NO_DATA_HELD, QuestionEvent.RELEASED): Negative.NO_DATA,
    (QuestionState.NOT_FOUND_HELD, QuestionEvent.RELEASED): Negative.NOT_FOUND,
    (QuestionState.FAILURE_HELD, QuestionEvent.RELEASED): Negative.FAILED,
    (QuestionState.REFUSAL_HELD, QuestionEvent.RELEASED): Negative.FAILED,
}


def fold(spelling: bytes) -> bytes:
    return fold_lines(spelling + b"\n").removesuffix(b"\n")


@dataclass(eq=False)
class Open:
    """The model's record of one question. `batch` is the number of the asking it came with."""

    session: Session
    spelling: bytes
    asked_at: float
    batch: int

    @property
    def folded(self) -> bytes:
        return fold(self.spelling)

    @property
    def due(self) -> float:
        return self.asked_at + self.session.timeout_s


class RaceMachine(RuleBasedStateMachine):
    """Sessions ask, answers come, time passes, sessions leave, links catch up."""

    def __init__(self) -> None:
        super().__init__()
        self.race = Questions(JOIN_S)
        self.born = 0
        self.sessions = [self.session() for _ in range(3)]
        self.now = 50.0
        self.open: list[Open] = []
        self.sent_at: dict[bytes, float] = {}  # when one that is open was last sent to a TS
        self.asked = self.answered = self.dropped = self.joined = self.late = 0
        self.denied = dict.fromkeys(DENIED, 0)
        self.closed: set[bytes] = set()

    def session(self) -> Session:
        self.born += 1
        patience_s = TIMEOUTS_S[self.born % len(TIMEOUTS_S)]
        return Session(f"client-{self.born}", Environment(Bounds(timeout_s=patience_s)), bytes)

    def settle(self, questions: list[Open]) -> None:
        self.open = [question for question in self.open if question not in questions]

    def close_all_but_open(self, settled: list[Open]) -> None:
        still = {question.folded for question in self.open}
        self.closed |= {question.folded for question in settled} - still

    def expect(self, replies: Replies, model: dict[Session, list[bytes]]) -> None:
        """The same lines to the same sessions, each session's in the same order."""
        said = {s: split_lines(b"".join(chunks)) for s, chunks in replies.items()}
        assert said == model

    @rule(number=st.integers(0, 2), asked=st.lists(spellings, min_size=1, max_size=6))
    def ask(self, number: int, asked: list[bytes]) -> None:
        """What a question costs: a line, unless the same was sent less than a second ago."""
        session, batch = self.sessions[number], self.race.next_number
        folded = [fold(spelling) for spelling in asked]
        to_send = []
        for spelling, question in zip(asked, folded, strict=True):
            is_open = any(other.folded == question for other in self.open)
            if is_open and self.now - self.sent_at[question] < JOIN_S:
                self.joined += 1
            else:
                to_send.append(question)
                self.sent_at[question] = self.now
            self.open.append(Open(session, spelling, self.now, batch))
        self.asked += len(asked)
        if folded == asked:
            asked = folded  # as a session hands them over: one list, where nothing differs
        assert list(self.race.ask(session, folded, asked, self.now)) == to_send

    @rule(answered=st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=6))
    def answer(self, answered: list[bytes]) -> None:
        """Everyone who waits gets the line as it came, once per question."""
        lines = b"".join(ANSWERS[question] % at for at, question in enumerate(answered))
        model: dict[Session, list[bytes]] = {}
        for name, line in zip(answered, split_lines(lines), strict=True):
            served = [question for question in self.open if question.folded == name]
            self.late += not served
            self.answered += len(served)
            for question in served:
                model.setdefault(question.session, []).append(line)
            self.settle(served)
        self.expect(
            self.race.answer(read_replies(lines, ErrorStreak(Environment())).questions, lines),
            model,
        )

    @rule(
        ended=st.lists(st.sampled_from(QUESTIONS), unique=True, max_size=6),
        way=st.sampled_from(list(ENDINGS)),
    )
    def end(self, ended: list[bytes], way: tuple[QuestionState, QuestionEvent]) -> None:
        """Everyone who waits hears it in its own spelling, once per question."""
        late = [q for q in ended if all(other.folded != q for other in self.open)]
        ended = self.race.are_open(ended)
        self.late += len(late)
        model: dict[Session, list[bytes]] = {}
        for question in ended:
            served = [other for other in self.open if other.folded == question]
            assert served
            for other in served:
                line = b"%b - %b" % (other.spelling, ENDINGS[way].value)
                model.setdefault(other.session, []).append(line)
            self.denied[ENDINGS[way]] += len(served)
            self.settle(served)
        self.closed |= set(ended)
        replies = self.race.end(ended, *way)
        assert {s: sorted(split_lines(b"".join(chunks))) for s, chunks in replies.items()} == {
            session: sorted(lines) for session, lines in model.items()
        }

    @rule(eighths=st.sampled_from([1, 7, 8, 9, 20, 39, 40]))
    def pass_time(self, eighths: int) -> None:
        """Each question times out at its own time, in its own spelling; the moments are told."""
        until = self.now + eighths / 8
        while due := [q for q in self.open if q.due <= until]:
            self.now = min(q.due for q in due)
            assert self.race.next_due() == self.now
            assert self.race.expire(self.now - 1 / 16) == {}
            due = [q for q in due if q.due == self.now]
            model: dict[Session, list[bytes]] = {}
            for question in due:
                model.setdefault(question.session, []).append(question.spelling + b" - TIMED OUT")
            self.denied[Negative.TIMED_OUT] += len(due)
            self.settle(due)
            self.close_all_but_open(due)
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
        self.close_all_but_open(mine)
        self.sessions[number] = self.session()

    @rule(over=st.integers(0, 12), data=st.data())
    def catch_up(self, over: int, data: st.DataObject) -> None:
        """Slices from any number hold each name that nobody before it waits for, once, in order.

        A slice is more than `over` bytes unless it is the last, and not a batch more than needed.
        """
        first = data.draw(st.integers(0, self.race.next_number), "number")
        oldest: dict[bytes, int] = {}
        for question in self.open:
            oldest.setdefault(question.folded, question.batch)
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

    @rule()
    def those_who_keep_something_about_a_question_hear_that_it_is_closed(self) -> None:
        """Also of one that is open again by now: it was asked anew then."""
        assert set(self.race.take_closed()) == self.closed
        self.closed = set()

    @invariant()
    def every_question_is_accounted_for(self) -> None:
        race = self.race
        assert race.pending == len(self.open)
        denied = sum(race.denied.values())
        assert race.asked == race.answered + denied + race.dropped + race.pending
        said = (race.asked, race.answered, race.denied, race.dropped, race.joined, race.late)
        model = (self.asked, self.answered, self.denied, self.dropped, self.joined, self.late)
        assert said == model
        for session in self.sessions:
            assert session.owed == sum(question.session is session for question in self.open)

    @invariant()
    def nothing_is_kept_of_what_is_settled(self) -> None:
        race = self.race
        assert set(race._open) == {question.folded for question in self.open}
        kept = [batch for batch in race._in_order() if batch.questions]
        assert {batch.number: batch.owed for batch in kept} == {
            batch: sum(q.batch == batch for q in self.open)
            for batch in {q.batch for q in self.open}
        }
        assert sum(map(len, race._of_asker.values())) == len(kept)
        assert race._of_asker.keys() <= set(self.sessions)
        if not self.open:
            assert race.next_due() == math.inf and not list(race._in_order())


TestRace = RaceMachine.TestCase


def test_b14_one_who_joins_late_has_its_own_deadline() -> None:
    race = Questions(100.0)
    first, second = (Session(f"client-{n}", Environment(), bytes) for n in (1, 2))
    race.ask(first, [b"x"], [b"x"], 0.0)
    assert list(race.ask(second, [b"x"], [b"X"], 4.9)) == []
    assert race.expire(5.0) == {first: [b"x - TIMED OUT\n"]}
    assert race.expire(9.8) == {}
    assert race.expire(9.9) == {second: [b"X - TIMED OUT\n"]}


def test_a_question_joins_an_asking_under_a_second_old_and_no_other() -> None:
    for age_s, sent in ((0.875, []), (1.0, [b"x"])):
        race = Questions(1.0)
        session = Session("client-1", Environment(), bytes)
        race.ask(session, [b"x"], [b"x"], 0.0)
        assert list(race.ask(session, [b"x"], [b"x"], age_s)) == sent
        assert race.joined == (not sent)


def test_b13_b16_a_thousand_askers_of_one_name_cost_one_line_and_get_a_reply_each() -> None:
    race = Questions(1.0)
    sessions = [Session(f"client-{n}", Environment(), bytes) for n in range(1000)]
    sent = [list(race.ask(session, [b"x"] * 3, [b"x"] * 3, 0.0)) for session in sessions]
    assert sent == [[b"x"]] + [[]] * 999
    assert race.joined == 2999
    replies = race.answer([b"x"], b"x 10.0.0.1 A IN\n")
    assert replies == {session: [b"x 10.0.0.1 A IN\n" * 3] for session in sessions}


def test_a_hundred_thousand_times_one_name_in_one_batch_is_no_quadratic_work() -> None:
    """A walk over the waiters per question would be ten thousand million steps."""
    race = Questions(1.0)
    session = Session("client-1", Environment(), bytes)
    names = [b"x"] * 100_000
    race.ask(session, names, names, 0.0)
    assert race.expire(5.0) == {session: [b"x - TIMED OUT\n" * 100_000]}


def test_answers_for_one_batch_are_relayed_as_they_came() -> None:
    race = Questions(1.0)
    session = Session("client-1", Environment(), bytes)
    race.ask(session, [b"a", b"b"], [b"A", b"b"], 0.0)
    chunk = b"A 10.0.0.1 A IN\nB 10.0.0.2 A IN\n"
    (relayed,) = race.answer([b"a", b"b"], chunk)[session]
    assert relayed is chunk


def test_a_hundred_thousand_spellings_are_found_in_one_pass() -> None:
    """Looked for one by one in their batch, they would be five thousand million steps."""
    race = Questions(1.0)
    first, second = (Session(f"client-{n}", Environment(), bytes) for n in (1, 2))
    folded = [b"n%d" % number for number in range(100_000)]
    spelled = [question.upper() for question in folded]
    race.ask(first, folded, spelled, 0.0)
    race.ask(second, folded, folded, 0.0)
    replies: dict[Session, list[bytes]] = {first: [], second: []}
    for at in range(0, len(folded), 1_000):
        some = race.end(folded[at : at + 1_000], QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND)
        for session, chunks in some.items():
            replies[session] += chunks
    assert b"".join(replies[first]) == b"".join(s + b" - NOT FOUND\n" for s in spelled)
    assert b"".join(replies[second]) == b"".join(q + b" - NOT FOUND\n" for q in folded)


def test_an_answer_ends_a_question_whether_or_not_it_is_held() -> None:
    """So a chunk of answers is credited without a look at the state of each."""
    for state, row in QUESTION.items():
        is_open = state is QuestionState.OPEN or state.name.endswith("_HELD")
        assert (row.get(QuestionEvent.ANSWER) is QuestionState.ANSWERED) is is_open
        assert bool(row) is (QuestionEvent.ANSWER in row)


def test_only_what_the_table_ends_with_a_negative_can_be_ended_so() -> None:
    race = Questions(1.0)
    for state, row in QUESTION.items():
        for event in QuestionEvent:
            following = row.get(event)
            said = following.name if following and not isinstance(following, Stay) else ""
            if said in Negative.__members__:
                assert race.end([], state, event) == {}
                continue
            with pytest.raises(IllegalTransition):
                race.end([], state, event)


def test_a_batch_that_is_settled_lets_its_names_go_also_behind_one_that_is_open() -> None:
    """Else one unknown name every few seconds would keep everything that was ever asked."""
    race = Questions(1.0)
    session = Session("client-1", Environment(), bytes)
    race.ask(session, [b"nobody"], [b"nobody"], 0.0)
    for number in range(100):
        name = b"n%d" % number
        race.ask(session, [name], [name], 0.0)
        race.answer([name], name + b" 10.0.0.1 A IN\n")
    assert [batch.questions for batch in race._in_order() if batch.questions] == [[b"nobody"]]
    race.expire(5.0)
    assert race.next_due() == math.inf and not list(race._in_order()) and not race._open


def work_of_catching_up(count: int) -> int:
    race = Questions(join_s=1.0)
    session = Session("client-1", Environment(), bytes)
    for number in range(count):
        question = b"n%06d" % number
        race.ask(session, [question], [question], 0.0)

    def catch_up() -> None:
        number = 0
        while number != race.next_number:
            _, number = race.slice_from(number, 30)

    return lines_run(catch_up)


def test_a_slice_goes_on_where_the_last_one_ended() -> None:
    """From the beginning each time would be sixteen times as much work."""
    assert work_of_catching_up(2000) < 5 * work_of_catching_up(500)
