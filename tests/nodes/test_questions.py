"""Questions against an obvious model: one record per question, looked through from end to end.

The model knows nothing of batches that share names, or of counters: a question is open or it is
not, and whatever happens walks over all of them. After every step, askers must hear what the model
says, and nothing may be kept that the model does not keep.

All times are multiples of 1/8 s, so that sums of them are exact and a moment can be hit exactly.

Not here: who is told what in which connection (`tests/nodes/test_load_balancer.py`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core.bounds import BoundHits, Bounds
from core.effects import Effect, Send
from core.environment import Environment
from core.machine import IllegalTransition, Stay
from core.owed import Owed
from core.protocol.batches import read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.names import LINE_BYTES_MAX, Negative
from core.protocol.outcome import Answers, Denied
from core.protocol.session import Session
from core.text import split_lines
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QUESTION, QuestionEvent, QuestionState
from nodes.ls.question_metrics import DENIED
from nodes.ls.questions import Questions
from tests.support.counting import lines_run
from tests.support.splitting import folded

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


def made(join_s: float = JOIN_S, owed: Owed | None = None) -> Questions:
    bounds = Bounds(join_s=join_s)
    return Questions(bounds, owed or Owed(bounds, BoundHits()))


def client(number: int, timeout_s: float = 5.0) -> Session:
    return Session(f"client-{number}", Environment(Bounds(timeout_s=timeout_s)), bytes)


def sent(effects: list[Effect]) -> dict[str, bytes]:
    """Return what each asker is sent, once."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    assert len(sends) == len(effects) == len({send.conn for send in sends})
    return {send.conn: send.data for send in sends}


def denied(questions: list[bytes], why: Negative) -> Denied:
    return Denied(questions, questions, why)


@dataclass(eq=False)
class Open:
    """The model's record of one question. `batch` is the number of the asking it came with."""

    session: Session
    spelling: bytes
    asked_at: float
    batch: int

    @property
    def folded(self) -> bytes:
        return folded(self.spelling)

    @property
    def due(self) -> float:
        return self.asked_at + self.session.timeout_s


class QuestionsMachine(Observer, RuleBasedStateMachine):
    """Sessions ask, answers come, time passes, sessions leave, links catch up."""

    def __init__(self) -> None:
        super().__init__()
        self.owed = Owed(Bounds(), BoundHits())
        self.questions = made(JOIN_S, self.owed)
        self.questions.tell([self])
        self.kept = [self]  # it wants to be told
        self.again: list[bytes] = []  # as it was told
        self.born = 0
        self.sessions = [self.session() for _ in range(3)]
        self.now = 50.0
        self.open: list[Open] = []
        self.sent_at: dict[bytes, float] = {}  # when one that is open was last sent to a TS
        self.asked = self.answered = self.dropped = self.joined = self.late = 0
        self.denied = dict.fromkeys(DENIED, 0)
        self.told: list[tuple[list[bytes], QuestionState, float]] = []  # as it was told

    def session(self) -> Session:
        self.born += 1
        return client(self.born, TIMEOUTS_S[self.born % len(TIMEOUTS_S)])

    def asked_again(self, questions: Sequence[bytes]) -> None:
        self.again += questions

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        self.told.append((list(questions), end, now))
        return ()

    def settle(self, questions: list[Open]) -> None:
        self.open = [question for question in self.open if question not in questions]

    def expect_closed(self, questions: set[bytes], end: QuestionState) -> None:
        """Expect that whoever keeps something about these is told, of each once, that they are open
        no more."""
        told = [question for questions, _, _ in self.told for question in questions]
        assert len(told) == len(set(told)) and set(told) == questions
        assert all((state, now) == (end, self.now) for _, state, now in self.told)
        self.told = []

    def not_open(self, settled: list[Open]) -> set[bytes]:
        """Return the questions of these that nobody waits for any more."""
        return {q.folded for q in settled} - {question.folded for question in self.open}

    def expect(self, effects: list[Effect], model: dict[Session, list[bytes]]) -> None:
        """Expect the same lines to the same sessions, each session's in the same order."""
        said = {conn: split_lines(lines) for conn, lines in sent(effects).items()}
        assert said == {session.conn: lines for session, lines in model.items()}

    @rule(number=st.integers(0, 2), asked=st.lists(spellings, min_size=1, max_size=6))
    def ask(self, number: int, asked: list[bytes]) -> None:
        """Expect what a question costs: a line, unless the same was sent less than a second ago."""
        session, batch = self.sessions[number], self.questions.batches.next_number
        questions = [folded(spelling) for spelling in asked]
        to_send, again = [], []
        for spelling, question in zip(asked, questions, strict=True):
            is_open = any(other.folded == question for other in self.open)
            if is_open and self.now - self.sent_at[question] < JOIN_S:
                self.joined += 1
            else:
                to_send.append(question)
                again += [question] * is_open
                self.sent_at[question] = self.now
            self.open.append(Open(session, spelling, self.now, batch))
        self.asked += len(asked)
        if questions == asked:
            asked = questions  # as a session hands them over: one list, where nothing differs
        assert list(self.questions.ask(session, questions, asked, self.now)) == to_send
        assert self.again == again
        self.again = []

    @rule(answered=st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=6))
    def answer(self, answered: list[bytes]) -> None:
        """Everyone who waits gets the line as it came, once per question."""
        lines = b"".join(ANSWERS[question] % at for at, question in enumerate(answered))
        model: dict[Session, list[bytes]] = {}
        were_open = {question.folded for question in self.open}
        for name, line in zip(answered, split_lines(lines), strict=True):
            served = [question for question in self.open if question.folded == name]
            self.late += not served
            self.answered += len(served)
            for question in served:
                model.setdefault(question.session, []).append(line)
            self.settle(served)
        answers = Answers(read_replies(lines, ErrorStreak(Environment())).questions or [], lines)
        effects, credited = self.questions.answer(answers, self.now)
        self.expect(effects, model)
        assert credited == len(were_open & set(answered))
        told = [(set(told), end, now) for told, end, now in self.told]
        is_any_open = bool(were_open & set(answered))  # else nobody is told
        assert told == [(set(answered), QuestionState.ANSWERED, self.now)] * is_any_open
        self.told = []

    @rule(
        ended=st.lists(st.sampled_from(QUESTIONS), unique=True, max_size=6),
        way=st.sampled_from(list(ENDINGS)),
    )
    def end(self, ended: list[bytes], way: tuple[QuestionState, QuestionEvent]) -> None:
        """Everyone who waits hears it in its own spelling, once per question."""
        late = [q for q in ended if all(other.folded != q for other in self.open)]
        ended = list(filter(self.questions.is_open, ended))
        self.questions.count_late(len(late))
        self.late += len(late)
        if not ended:
            return
        model: dict[Session, list[bytes]] = {}
        for question in ended:
            served = [other for other in self.open if other.folded == question]
            assert served
            for other in served:
                line = b"%b - %b" % (other.spelling, ENDINGS[way].value)
                model.setdefault(other.session, []).append(line)
            self.denied[ENDINGS[way]] += len(served)
            self.settle(served)
        effects = self.questions.end(denied(ended, ENDINGS[way]), *way, self.now)
        assert {conn: sorted(split_lines(lines)) for conn, lines in sent(effects).items()} == {
            session.conn: sorted(lines) for session, lines in model.items()
        }
        self.expect_closed(set(ended), QuestionState[ENDINGS[way].name])

    @rule(eighths=st.sampled_from([1, 7, 8, 9, 20, 39, 40]))
    def pass_time(self, eighths: int) -> None:
        """Each question times out at its own time, in its own spelling; the moments are told."""
        until = self.now + eighths / 8
        while due := [q for q in self.open if q.due <= until]:
            self.now = min(q.due for q in due)
            assert self.questions.due() == self.now
            self.nothing_is_due(self.now - 1 / 16)
            due = [q for q in due if q.due == self.now]
            model: dict[Session, list[bytes]] = {}
            for question in due:
                model.setdefault(question.session, []).append(question.spelling + b" - TIMED OUT")
            self.denied[Negative.TIMED_OUT] += len(due)
            self.settle(due)
            assert set(self.questions.batches.due_questions(self.now)) >= {q.folded for q in due}
            self.expect(self.questions.woken(self.now), model)
            self.expect_closed(self.not_open(due), QuestionState.TIMED_OUT)
        self.now = until
        self.nothing_is_due(self.now)

    def nothing_is_due(self, now: float) -> None:
        assert self.questions.woken(now) == []
        assert not any(questions for questions, _, _ in self.told)
        self.told = []

    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        gone = self.sessions[number]
        mine = [question for question in self.open if question.session is gone]
        assert self.questions.forget(gone, self.now) == []
        self.dropped += len(mine)
        self.settle(mine)
        self.expect_closed(self.not_open(mine), QuestionState.DROPPED)
        self.sessions[number] = self.session()

    @rule(over=st.integers(0, 12), data=st.data())
    def catch_up(self, over: int, data: st.DataObject) -> None:
        """Slices from any number hold each name that nobody before it waits for, once, in order.

        A slice is more than `over` bytes unless it is the last, and not a batch more than needed.
        """
        first = data.draw(st.integers(0, self.questions.batches.next_number), "number")
        oldest: dict[bytes, int] = {}
        for question in self.open:
            oldest.setdefault(question.folded, question.batch)
        found: list[bytes] = []
        number = first
        while number != self.questions.batches.next_number:
            some, following = self.questions.slice_from(number, over)
            assert following > number
            sizes = [len(n) + 1 for n in some if oldest[n] != oldest[some[-1]]]
            assert sum(sizes) <= over
            if following != self.questions.batches.next_number:
                assert sum(len(name) + 1 for name in some) > over
            found += some
            number = following
        assert found == [name for name, batch in oldest.items() if batch >= first]
        assert self.questions.slice_from(self.questions.batches.next_number, over) == (
            [],
            self.questions.batches.next_number,
        )

    @invariant()
    def every_question_is_accounted_for(self) -> None:
        questions = self.questions
        assert questions.pending == len(self.open)
        assert sum(questions.denied.values()) == (
            questions.asked - questions.answered - questions.dropped - questions.pending
        )
        assert questions.denied == self.denied
        assert (questions.asked, questions.answered) == (self.asked, self.answered)
        assert (questions.dropped, questions.joined) == (self.dropped, self.joined)
        assert questions.late == self.late
        for session in self.sessions:
            assert session.owed == sum(question.session is session for question in self.open)
        assert self.owed.total == len(self.open) * LINE_BYTES_MAX

    @invariant()
    def nothing_is_kept_of_what_is_settled(self) -> None:
        questions = self.questions
        all_open = questions.all_open()
        assert len(all_open) == len(set(all_open))
        assert set(all_open) == {question.folded for question in self.open}
        kept = [batch for batch in questions.batches if batch.questions]
        assert {batch.number: batch.unanswered for batch in kept} == {
            batch: sum(q.batch == batch for q in self.open)
            for batch in {q.batch for q in self.open}
        }
        assert sum(map(len, questions._of_asker.values())) == len(kept)
        assert questions._of_asker.keys() <= set(self.sessions)
        if not self.open:
            assert questions.due() == math.inf and not list(questions.batches)


TestQuestions = QuestionsMachine.TestCase


def test_b14_one_who_joins_late_has_its_own_deadline() -> None:
    questions = made(100.0)
    first, second = client(1), client(2)
    questions.ask(first, [b"x"], [b"x"], 0.0)
    assert list(questions.ask(second, [b"x"], [b"X"], 4.9)) == []
    assert questions.woken(5.0) == [Send(first.conn, b"x - TIMED OUT\n")]
    assert questions.woken(9.8) == []
    assert questions.woken(9.9) == [Send(second.conn, b"X - TIMED OUT\n")]


def test_a_question_joins_an_asking_under_a_second_old_and_no_other() -> None:
    for age_s, to_ask in ((0.875, []), (1.0, [b"x"])):
        questions = made(1.0)
        session = client(1)
        questions.ask(session, [b"x"], [b"x"], 0.0)
        assert list(questions.ask(session, [b"x"], [b"x"], age_s)) == to_ask
        assert questions.joined == (not to_ask)


def test_b13_b16_a_thousand_askers_of_one_name_cost_one_line_and_get_a_reply_each() -> None:
    questions = made()
    sessions = [client(number) for number in range(1000)]
    to_ask = [questions.ask(session, [b"x"] * 3, [b"x"] * 3, 0.0) for session in sessions]
    assert to_ask == [[b"x"]] + [[]] * 999
    assert questions.joined == 2999
    effects, credited = questions.answer(Answers([b"x"], b"x 10.0.0.1 A IN\n"), 0.5)
    assert credited == 1
    assert effects == [Send(session.conn, b"x 10.0.0.1 A IN\n" * 3) for session in sessions]


def test_answers_for_one_batch_are_relayed_as_they_came() -> None:
    questions = made()
    session = client(1)
    questions.ask(session, [b"a", b"b"], [b"A", b"b"], 0.0)
    chunk = b"A 10.0.0.1 A IN\nB 10.0.0.2 A IN\n"
    effects, _ = questions.answer(Answers([b"a", b"b"], chunk), 0.5)
    assert sent(effects)[session.conn] is chunk


def work_of_one_name(count: int) -> int:
    questions = made()
    session = client(1)
    names = [b"x"] * count
    questions.ask(session, names, names, 0.0)
    lines: list[Effect] = []
    work = lines_run(lambda: lines.extend(questions.woken(5.0)))
    assert lines == [Send(session.conn, b"x - TIMED OUT\n" * count)]
    return work


def work_of_spellings(count: int) -> int:
    """Two clients spell the same differently, and both are told in their own way."""
    questions = made()
    first, second = client(1), client(2)
    folded = [b"n%d" % number for number in range(count)]
    spelled = [question.upper() for question in folded]
    questions.ask(first, folded, spelled, 0.0)
    questions.ask(second, folded, folded, 0.0)
    replies: dict[str, list[bytes]] = {first.conn: [], second.conn: []}
    end = QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND

    def end_all() -> None:
        for at in range(0, count, 10):
            outcome = denied(folded[at : at + 10], Negative.NOT_FOUND)
            for conn, lines in sent(questions.end(outcome, *end, 0.5)).items():
                replies[conn].append(lines)

    work = lines_run(end_all)
    assert b"".join(replies[first.conn]) == b"".join(s + b" - NOT FOUND\n" for s in spelled)
    assert b"".join(replies[second.conn]) == b"".join(q + b" - NOT FOUND\n" for q in folded)
    return work


def test_an_answer_ends_a_question_whether_or_not_it_is_held() -> None:
    """A chunk of answers is therefore credited without a look at the state of each."""
    for state, row in QUESTION.items():
        is_open = state is QuestionState.OPEN or state.name.endswith("_HELD")
        assert (row.get(QuestionEvent.ANSWER) is QuestionState.ANSWERED) is is_open
        assert bool(row) is (QuestionEvent.ANSWER in row)


def test_only_what_the_table_ends_with_a_negative_can_be_ended_so() -> None:
    for state, row in QUESTION.items():
        for event in QuestionEvent:
            questions = made()
            questions.ask(client(1), [b"x"], [b"x"], 0.0)
            following = row.get(event)
            name = following.name if following and not isinstance(following, Stay) else ""
            if name in Negative.__members__:
                line = b"x - %b\n" % Negative[name].value
                effects = questions.end(denied([b"x"], Negative[name]), state, event, 0.0)
                assert effects == [Send("client-1", line)]
                assert questions.denied[Negative[name]] == 1
                continue
            with pytest.raises(IllegalTransition):
                questions.end(denied([b"x"], Negative.NOT_FOUND), state, event, 0.0)
            assert questions.is_open(b"x")


def test_a_batch_that_is_settled_lets_its_names_go_also_behind_one_that_is_open() -> None:
    """Else one unknown name every few seconds would keep everything that was ever asked."""
    questions = made()
    session = client(1)
    questions.ask(session, [b"nobody"], [b"nobody"], 0.0)
    for number in range(100):
        name = b"n%d" % number
        questions.ask(session, [name], [name], 0.0)
        questions.answer(Answers([name], name + b" 10.0.0.1 A IN\n"), 0.0)
    assert [batch.questions for batch in questions.batches if batch.questions] == [[b"nobody"]]
    questions.woken(5.0)
    assert questions.due() == math.inf and not list(questions.batches) and not questions.all_open()


def work_of_catching_up(count: int) -> int:
    questions = made()
    session = client(1)
    for number in range(count):
        question = b"n%06d" % number
        questions.ask(session, [question], [question], 0.0)

    def catch_up() -> None:
        number = 0
        while number != questions.batches.next_number:
            _, number = questions.slice_from(number, 30)

    return lines_run(catch_up)


@pytest.mark.parametrize("work", [work_of_one_name, work_of_spellings, work_of_catching_up])
def test_four_times_as_many_questions_are_four_times_the_work(work: Callable[[int], int]) -> None:
    """Quadratic work would be sixteen times as much."""
    assert work(2000) < 5 * work(500)
