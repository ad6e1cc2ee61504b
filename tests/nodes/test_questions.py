"""Questions: batches and joining in detail.

Not here: what becomes of questions under chance (`tests/nodes/test_load_balancer_machine.py`), and
who is told what in which connection (`tests/nodes/test_load_balancer.py`).
"""

import math
from collections.abc import Callable

import pytest

from core.bounds import BoundHits, Bounds
from core.effects import Effect, Send
from core.environment import Environment
from core.machine import IllegalTransition, Stay
from core.owed import Owed
from core.protocol.names import Negative
from core.protocol.outcome import Answers, Denied, Relayed
from core.protocol.session import Session
from nodes.ls.outcomes import QUESTION, QuestionEvent, QuestionState
from nodes.ls.questions import Questions
from nodes.ls.waiting import START, Batches
from nodes.ls.waits import Waits
from tests.support.counting import lines_run


def made(join_s: float = 1.0) -> Questions:
    bounds = Bounds(join_s=join_s)
    return Questions(bounds, Owed(bounds, BoundHits()), Waits([Session.face]))


def client(number: int) -> Session:
    return Session(f"client-{number}", Environment(Bounds()), bytes)


def sent(effects: list[Effect]) -> dict[str, bytes]:
    """Return what each asker is sent, once."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    assert len(sends) == len(effects) == len({send.conn for send in sends})
    return {send.conn: send.data for send in sends}


def denied(questions: list[bytes], why: Negative) -> Denied:
    return Denied(questions, questions, why)


def test_a_question_joins_one_under_a_second_old() -> None:
    for age_s, to_ask in ((0.875, []), (1.0, [b"x"])):
        questions = made(1.0)
        session = client(1)
        questions.ask(session, [b"x"], [b"x"], 0.0)
        assert list(questions.ask(session, [b"x"], [b"x"], age_s)) == to_ask
        assert questions.joined == (not to_ask)


def test_answers_for_one_batch_are_relayed_as_they_came() -> None:
    questions = made()
    session = client(1)
    questions.ask(session, [b"a", b"b"], [b"A", b"b"], 0.0)
    chunk = b"A 10.0.0.1 A IN\nB 10.0.0.2 A IN\n"
    effects, _ = questions.answer(Answers([b"a", b"b"], chunk), 0.5)
    assert sent(effects)[session.conn] is chunk


def test_what_times_out_has_waited_for_all_of_its_time() -> None:
    bounds, waits = Bounds(), Waits([Session.face])
    questions = Questions(bounds, Owed(bounds, BoundHits()), waits)
    questions.ask(client(1), [b"a", b"b"], [b"a", b"b"], 1.0)
    questions.woken(6.0)
    waited = waits.by_end[QuestionState.TIMED_OUT][Session.face]
    assert (sum(waited.counts), waited.sum_s) == (2, 10.0)


def test_each_question_of_a_batch_has_waited() -> None:
    bounds, waits = Bounds(), Waits([Session.face])
    questions = Questions(bounds, Owed(bounds, BoundHits()), waits)
    questions.ask(client(1), [b"a", b"b"], [b"a", b"b"], 1.0)
    questions.answer(Answers([b"a", b"b"], b"a 10.0.0.1 A IN\nb 10.0.0.1 A IN\n"), 1.5)
    waited = waits.by_end[QuestionState.ANSWERED][Session.face]
    assert (sum(waited.counts), waited.sum_s) == (2, 1.0)


def test_askers_of_one_question_have_each_waited_its_own_time() -> None:
    """Also where a name comes twice in one read."""
    bounds, waits = Bounds(), Waits([Session.face])
    questions = Questions(bounds, Owed(bounds, BoundHits()), waits)
    questions.ask(client(1), [b"a"], [b"a"], 1.0)
    questions.ask(client(2), [b"a", b"a"], [b"a", b"a"], 1.5)
    questions.answer(Answers([b"a"], b"a 10.0.0.1 A IN\n"), 2.0)
    waited = waits.by_end[QuestionState.ANSWERED][Session.face]
    assert (sum(waited.counts), waited.sum_s) == (3, 2.0)


def test_a_batch_that_is_due_is_due_with_what_it_waits_for() -> None:
    """Not with what it has a reply to, though others have asked for that since."""
    questions = made()
    questions.ask(client(1), [b"a", b"b", b"c"], [b"a", b"b", b"c"], 0.0)
    questions.ask(client(2), [b"b"], [b"b"], 0.5)
    questions.answer(Answers([b"a"], b"a 10.0.0.1 A IN\n"), 1.0)
    questions.ask(client(2), [b"a"], [b"a"], 2.0)
    assert questions.due_questions(5.0) == [b"b", b"c"]


class Known:
    """A reply that LS has."""

    addresses = b"10.0.0.1"

    def __init__(self, text: bytes = b"10.0.0.1 A IN") -> None:
        self.text = text

    def line(self, question: bytes, spelling: bytes) -> bytes:
        return spelling + b" " + self.text + b"\n"


def test_what_is_known_is_counted_as_asked_and_as_it_ends() -> None:
    """Nothing is open for it, and nobody waited: the law holds, and no observer hears of it."""
    bounds, waits = Bounds(), Waits([Session.face])
    owed = Owed(bounds, BoundHits())
    questions = Questions(bounds, owed, waits)
    session = client(1)
    known = {
        QuestionState.ANSWERED: Relayed([b"a", b"b"], [Known(), Known()], [b"A", b"b"]),
        QuestionState.NO_DATA: Relayed([b"c"], [Known(b"- NO DATA")]),
        QuestionState.NOT_FOUND: Relayed([b"d"], [Known(b"- NOT FOUND")], [b"D"]),
    }
    session.admitted(4)
    (send,) = questions.tell_known(session, known)
    assert isinstance(send, Send) and send.conn == session.conn
    assert send.data == (b"A 10.0.0.1 A IN\nb 10.0.0.1 A IN\nc - NO DATA\nD - NOT FOUND\n")
    assert (session.owed, owed.owed_bytes, questions.pending, questions.all_open()) == (0, 0, 0, [])
    assert (questions.asked, questions.answered) == (4, 2)
    assert questions.denied[Negative.NO_DATA] == questions.denied[Negative.NOT_FOUND] == 1
    assert questions.asked == questions.answered + sum(questions.denied.values())
    for state, count in ((QuestionState.ANSWERED, 2), (QuestionState.NO_DATA, 1)):
        waited = waits.by_end[state][Session.face]
        assert (sum(waited.counts), waited.sum_s) == (count, 0.0)


def test_what_is_known_leaves_what_is_open_as_it_is() -> None:
    """Also where the same asker waits for the same question."""
    questions, session = made(), client(1)
    questions.ask(session, [b"a"], [b"a"], 0.0)
    session.admitted(1)
    questions.tell_known(session, {QuestionState.ANSWERED: Relayed([b"a"], [Known()])})
    assert session.owed == 1 and questions.pending == 1 and questions.all_open() == [b"a"]
    assert sent(questions.answer(Answers([b"a"], b"a 10.0.0.2 A IN\n"), 0.5)[0]) == {
        session.conn: b"a 10.0.0.2 A IN\n"
    }
    assert (questions.asked, questions.answered, questions.late) == (2, 2, 0)


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
    """Tell two clients that spell the same differently, both in their own way."""
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


def test_only_what_the_table_ends_so_can_be_ended_so() -> None:
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


def test_settled_batches_leave_when_their_asker_asks_again() -> None:
    batches, session = Batches(), client(1)
    for _ in range(100):
        batches.add(session, [b"a"], [b"a"], 0.0).settle(1)
    assert len(list(batches)) == len(list(batches.take_of(session))) == 1


def test_a_settled_batch_lets_its_names_go_behind_an_open_one() -> None:
    """Else one unknown name every few seconds would keep everything that was ever asked."""
    questions = made()
    session = client(1)
    questions.ask(session, [b"nobody"], [b"nobody"], 0.0)
    for number in range(100):
        name = b"n%d" % number
        questions.ask(session, [name], [name], 0.0)
        questions.answer(Answers([name], name + b" 10.0.0.1 A IN\n"), 0.0)
    assert [batch.questions for batch in questions.batches if batch.questions] == [(b"nobody",)]
    questions.woken(5.0)
    assert (
        questions.batches.next_due() == math.inf
        and not list(questions.batches)
        and not questions.all_open()
    )


def test_slices_name_once_what_stays_open_whatever_leaves() -> None:
    """A place stays what it is when batches before it time out or are answered."""
    questions, session = made(), client(1)
    for at, name in enumerate([b"a", b"b", b"c", b"d"]):
        questions.ask(session, [name], [name], float(at))
    named, place = questions.slice_from(START, 0)
    questions.answer(Answers([b"a"], b"a 10.0.0.1 A IN\n"), 4.0)
    questions.ask(session, [b"e"], [b"e"], 4.0)  # where the batch of `a` leaves
    for now, name in ((6.0, b"f"), (7.0, b"g")):  # those of `b` and `c` time out
        more, place = questions.slice_from(place, 0)
        named += more
        questions.woken(now)
        questions.ask(session, [name], [name], now)
    while place != questions.batches.end():
        more, place = questions.slice_from(place, 0)
        named += more
    assert named == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]


def work_of_catching_up(count: int) -> int:
    questions = made()
    session = client(1)
    for number in range(count):
        question = b"n%06d" % number
        questions.ask(session, [question], [question], 0.0)

    def catch_up() -> None:
        place = START
        while place != questions.batches.end():
            _, place = questions.slice_from(place, 30)

    return lines_run(catch_up)


@pytest.mark.parametrize("work", [work_of_one_name, work_of_spellings, work_of_catching_up])
def test_four_times_as_many_questions_are_four_times_the_work(work: Callable[[int], int]) -> None:
    """Quadratic work would be sixteen times as much."""
    assert work(2000) < 5 * work(500)
