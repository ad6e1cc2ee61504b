"""Race: which questions are open, who waits for each, and what becomes of them.

The unit is the batch: what one asker asked in one read. A batch has one deadline, which is its
asker's; a question in it costs dictionary operations, not objects. Usually one batch alone waits
for a question, and `_open` maps it straight to that batch. Where several wait, or one waits twice,
a `Shared` stands between: one answer serves everyone who waits for it.

Rules. An answer is credited by what it answers, never by order. Each batch keeps its own
deadline, also for a question that it shares. A question joins an asking of the same that is
young enough; otherwise it is asked once more, since the asking may have been lost. The batch at
the head of a question's waiters is its *speaker*: catching up with the askings (`slice_from`)
goes by speakers, so that every open question is found once.

How a question ends is a table, RACE, and so is what beats what: what a server says that is no
answer may be held for something better, and the state is the best that was said. Which state a
question is in, its caller knows of many at once: `nodes/ls/negatives.py` holds what is not
OPEN. An answer ends all of them alike.

The conservation law: asked = answered + not found + no data + failed + timed out + dropped +
pending, at every moment.

Not here: whom to ask, connections and the clock. Pure, and it owns `Session.owed`.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice, repeat, takewhile

from core.machine import STAY, IllegalTransition, Label, Transitions
from core.metrics import Metric, Value
from core.protocol.asker import Asker, Relayed, RelayedReply
from core.protocol.batches import negatives
from core.protocol.names import Negative
from core.protocol.server_state import ANSWERED, ASKED, NO_DATA
from core.text import split_lines

Replies = dict[Asker, list[bytes]]  # chunks of whole lines by whom they are for
Relays = dict[Asker, list[Relayed]]


class QuestionState(Label):
    """How far the race for a question is."""

    OPEN = "it is asked, and nothing that has been said ends it"
    FAILURE_HELD = "somebody cannot find it out, and another may say more"
    REFUSAL_HELD = "somebody does not tell us, and another may"
    NOT_FOUND_HELD = "a resolver says that there is no such name, and another may still answer"
    NAME_HELD = "a table knows that the name exists, and another may still answer"
    NO_DATA_HELD = "somebody says NO DATA, and another may still answer"
    ANSWERED = "a server has answered"
    NOT_FOUND = "there is no such name"
    NO_DATA = "its name is known, and has nothing of this type"
    FAILED = "nobody who was waited for could say, or would"
    TIMED_OUT = "nothing came in time"
    DROPPED = "nobody is there to be replied to"


class QuestionEvent(Label):
    """What happens to a question."""

    ANSWER = "a server answers it"
    NOT_FOUND_SAID = "a resolver says NXDOMAIN"
    NAME_SAID = "a table shows that the name exists, and cannot know what it has of this type"
    NO_DATA_SAID = "a TS says NO DATA, or a resolver has nothing of this type"
    REFUSAL_SAID = "a resolver says REFUSED"
    FAILURE_SAID = "a resolver says SERVFAIL, or another error"
    ALL_NOT_FOUND = "every configured server has spoken, and each says NOT FOUND"
    RELEASED = "every server that is waited for has spoken, or the grace is over"
    TIME_UP = "the asker has waited as long as it may"
    LOST = "the asker is gone"


S, E = QuestionState, QuestionEvent
QUESTION: Transitions[QuestionState, QuestionEvent] = {
    S.OPEN: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: S.REFUSAL_HELD,
        E.FAILURE_SAID: S.FAILURE_HELD,
        E.ALL_NOT_FOUND: S.NOT_FOUND,
        E.TIME_UP: S.TIMED_OUT,
        E.LOST: S.DROPPED,
    },
    S.FAILURE_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: S.REFUSAL_HELD,
        E.FAILURE_SAID: STAY,
        E.RELEASED: S.FAILED,
        E.LOST: S.DROPPED,
    },
    S.REFUSAL_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.RELEASED: S.FAILED,
        E.LOST: S.DROPPED,
    },
    S.NOT_FOUND_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: S.NO_DATA_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.RELEASED: S.NOT_FOUND,
        E.LOST: S.DROPPED,
    },
    S.NAME_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NO_DATA_HELD,
        E.NAME_SAID: STAY,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.RELEASED: S.NO_DATA,
        E.LOST: S.DROPPED,
    },
    S.NO_DATA_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: STAY,
        E.NO_DATA_SAID: STAY,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.RELEASED: S.NO_DATA,
        E.LOST: S.DROPPED,
    },
    S.ANSWERED: {},
    S.NOT_FOUND: {},
    S.NO_DATA: {},
    S.FAILED: {},
    S.TIMED_OUT: {},
    S.DROPPED: {},
}
_SAID = {
    S.NOT_FOUND: Negative.NOT_FOUND,
    S.NO_DATA: Negative.NO_DATA,
    S.FAILED: Negative.FAILED,
    S.TIMED_OUT: Negative.TIMED_OUT,
}


DENIED = {
    Negative.TIMED_OUT: Metric("timed_out", "Questions that nothing came for in time"),
    Negative.NOT_FOUND: Metric("not_found", "Questions whose name nobody has"),
    Negative.NO_DATA: NO_DATA,
    Negative.FAILED: Metric("failed", "Questions that nobody could, or would, find out"),
}
DROPPED = Metric("dropped", "Questions whose asker left before the reply")
PENDING = Metric("pending", "Questions without a reply", is_level=True)
JOINED = Metric("joined", "Questions that joined an asking of the same")
LATE = Metric("late", "Replies of servers that nobody waited for")


@dataclass(slots=True, eq=False)
class Batch:
    """What one asker asked in one read. `questions` (folded) and `spellings` are parallel."""

    number: int  # batches are numbered as they come
    asker: Asker
    questions: Sequence[bytes]
    spellings: Sequence[bytes]  # the same list where nothing differs
    asked_at: float
    due: float
    owed: int  # how many have no reply yet; at 0 the questions are let go
    spelled: dict[bytes, list[bytes]] | None = None  # see `spellings_of`

    def spellings_of(self, question: bytes) -> list[bytes]:
        """How this batch spells a question, as often as it asks it."""
        if self.spelled is None:
            self.spelled = {}
            for folded, spelling in zip(self.questions, self.spellings, strict=True):
                self.spelled.setdefault(folded, []).append(spelling)
        return self.spelled[question]

    def let_go(self) -> None:
        """Nothing is owed: keep nothing of what was asked."""
        self.questions = self.spellings = ()
        self.spelled = None


@dataclass(slots=True, eq=False)
class Shared:
    """A question that several askers wait for: how often each batch does, the oldest first."""

    asked_at: float
    waiters: dict[Batch, int] = field(default_factory=dict)


class Questions:
    """All open questions of a load balancer."""

    def __init__(self, join_s: float) -> None:
        self._join_s = join_s
        self._open: dict[bytes, Batch | Shared] = {}
        # By how long the asker waits; in each, by number, which is by deadline, too.
        self._lanes: dict[float, deque[Batch]] = {}
        self._of_asker: dict[Asker, dict[Batch, None]] = {}
        self._next_number = 0
        self.closed: list[bytes] = []  # since `take_closed`: open no more, without an answer
        self.asked = 0
        self.answered = 0
        self.denied = dict.fromkeys(DENIED, 0)  # replies without an address, by what they say
        self.dropped = 0  # the asker left first
        self.pending = 0  # no reply yet; counted by itself, so that the law can be checked
        self.joined = 0  # questions that cost no line to a TS
        self.late = 0  # answers that nobody waited for

    @property
    def next_number(self) -> int:
        """The number of the next batch: what has been asked has a smaller one."""
        return self._next_number

    def metrics(self) -> list[Value]:
        """What is counted here. The law holds among them."""
        return [
            Value(ASKED, self.asked),
            Value(ANSWERED, self.answered),
            *(Value(DENIED[why], number) for why, number in self.denied.items()),
            Value(DROPPED, self.dropped),
            Value(PENDING, self.pending),
            Value(JOINED, self.joined),
            Value(LATE, self.late),
        ]

    def next_due(self) -> float:
        """When the oldest open batch times out; infinite for never."""
        due = math.inf
        for lane in self._lanes.values():
            while lane and not lane[0].owed:
                lane.popleft()
            if lane and lane[0].due < due:
                due = lane[0].due
        return due

    def due_questions(self, now: float) -> list[bytes]:
        """What is asked in the batches that are due; some of it may be settled."""
        return [
            question
            for lane in self._lanes.values()
            for batch in takewhile(lambda batch: batch.due <= now, lane)
            for question in batch.questions
        ]

    def are_open(self, questions: list[bytes]) -> list[bytes]:
        """Those of them that somebody waits for; the others are counted as late."""
        is_open = self._open
        found = [question for question in questions if question in is_open]
        self.late += len(questions) - len(found)
        return found

    def open_questions(self) -> Iterable[bytes]:
        """All that somebody waits for."""
        return self._open.keys()

    def is_open(self, question: bytes) -> bool:
        """Whether somebody waits for it."""
        return question in self._open

    def take_closed(self) -> list[bytes]:
        """The questions that nobody waits for any more, other than those that were answered."""
        closed, self.closed = self.closed, []
        return closed

    # -- asking ------------------------------------------------------------------------------------

    def ask(
        self, asker: Asker, questions: list[bytes], spellings: list[bytes], now: float
    ) -> list[bytes]:
        """Admit questions (at least one); return those to ask the TSs, maybe all."""
        count = len(questions)
        due = now + asker.timeout_s
        batch = Batch(self._next_number, asker, questions, spellings, now, due, count)
        self._next_number += 1
        self._lanes.setdefault(asker.timeout_s, deque()).append(batch)
        self._of_asker.setdefault(asker, {})[batch] = None
        asker.owed += count
        self.asked += count
        self.pending += count
        mine = dict.fromkeys(questions, batch)
        if len(mine) == count and self._open.keys().isdisjoint(questions):
            self._open.update(mine)
            return questions
        return self._join(batch, now)

    def _join(self, batch: Batch, now: float) -> list[bytes]:
        """The slow way, where a question is open already or comes twice."""
        to_ask: list[bytes] = []
        for question in batch.questions:
            owner = self._open.get(question)
            if owner is None:
                self._open[question] = batch
                to_ask.append(question)
                continue
            if isinstance(owner, Batch):
                owner = Shared(owner.asked_at, {owner: 1})
                self._open[question] = owner
            owner.waiters[batch] = owner.waiters.get(batch, 0) + 1
            if now - owner.asked_at < self._join_s:
                self.joined += 1
            else:
                owner.asked_at = now
                to_ask.append(question)
        return to_ask

    # -- what becomes of a question ----------------------------------------------------------------

    def answer(self, questions: list[bytes], lines: bytes) -> Replies:
        """Credit answers, parallel to `questions` and each ended by LF, to whoever waits."""
        owners = list(map(self._open.pop, questions, repeat(None)))
        first = owners[0]
        alone = first is owners[-1] and owners.count(first) == len(owners)
        if alone and isinstance(first, Batch):
            self._settle(first, len(owners))
            self.answered += len(owners)
            return {first.asker: [lines]}
        replies: Replies = {}
        each = split_lines(lines)
        start = 0
        for owner, run in groupby(owners):
            stop = start + len(list(run))
            if owner is None:
                self.late += stop - start
            elif isinstance(owner, Batch):
                said = b"\n".join(each[start:stop]) + b"\n"
                self.answered += self._reply(replies, owner, said, stop - start)
            else:
                for batch, times in owner.waiters.items():
                    said = (each[start] + b"\n") * times
                    self.answered += self._reply(replies, batch, said, times)
            start = stop
        return replies

    def end(self, questions: list[bytes], was: QuestionState, found: QuestionEvent) -> Replies:
        """End open questions, all of them in the state `was`, with a negative.

        Everyone who waits hears it in its own spelling. Raises IllegalTransition.
        """
        why = _said(was, found)
        owners = list(map(self._open.pop, questions, repeat(None)))
        self.closed += questions
        replies: Replies = {}
        start = 0
        for owner, run in groupby(owners):
            stop = start + len(list(run))
            if isinstance(owner, Batch):
                same = owner.spellings is owner.questions
                spelled = questions[start:stop]
                if not same:
                    spelled = [s for q in spelled for s in owner.spellings_of(q)]
                self._deny(replies, owner, spelled, why)
            elif owner is not None:
                for batch in owner.waiters:
                    self._deny(replies, batch, batch.spellings_of(questions[start]), why)
            start = stop
        return replies

    def relay(
        self,
        questions: list[bytes],
        messages: Sequence[RelayedReply],
        was: QuestionState,
        found: QuestionEvent,
    ) -> Relays:
        """End questions with what was said of them in another language, parallel to them.

        Everyone who waits gets it. Raises IllegalTransition.
        """
        answers = state_after(was, found) is QuestionState.ANSWERED
        why = None if answers else _said(was, found)
        relays: Relays = {}
        pending_before = self.pending
        for question, message in zip(questions, messages, strict=True):
            owner = self._open.pop(question, None)
            if owner is None:
                self.late += 1
                continue
            if why is not None:
                self.closed.append(question)
            for batch in (owner,) if isinstance(owner, Batch) else owner.waiters:
                relayed = relays.setdefault(batch.asker, [])
                if owner is batch and batch.spellings is batch.questions:
                    relayed.append((question, question, message))
                    self._settle(batch, 1)
                    continue
                spelled = batch.spellings_of(question)
                relayed += [(question, spelling, message) for spelling in spelled]
                self._settle(batch, len(spelled))
        settled = pending_before - self.pending
        if why is None:
            self.answered += settled
        else:
            self.denied[why] += settled
        return relays

    def expire(self, now: float) -> Replies:
        """Time out the batches that are due. Nothing may be held in them."""
        why = _said(QuestionState.OPEN, QuestionEvent.TIME_UP)
        replies: Replies = {}
        for lane in self._lanes.values():
            while lane and (not lane[0].owed or lane[0].due <= now):
                batch = lane.popleft()
                if not batch.owed:
                    continue
                spellings = [
                    spelling
                    for question, spelling in zip(batch.questions, batch.spellings, strict=True)
                    if self._leave(batch, question)
                ]
                self._deny(replies, batch, spellings, why)
        return replies

    def forget(self, asker: Asker) -> None:
        """The asker is gone: nobody waits for what it asked."""
        for batch in self._of_asker.pop(asker, {}):
            for question in batch.questions:
                self._leave(batch, question)
            self.dropped += batch.owed
            self.pending -= batch.owed
            asker.owed -= batch.owed
            batch.owed = 0
            batch.let_go()

    def _deny(self, replies: Replies, batch: Batch, spellings: list[bytes], why: Negative) -> None:
        count = len(spellings)
        self.denied[why] += self._reply(replies, batch, negatives(spellings, why), count)

    def _reply(self, replies: Replies, batch: Batch, lines: bytes, count: int) -> int:
        """Let the asker have these lines; return their count."""
        replies.setdefault(batch.asker, []).append(lines)
        self._settle(batch, count)
        return count

    def _settle(self, batch: Batch, count: int) -> None:
        """`count` questions of this batch have got their replies."""
        self.pending -= count
        batch.asker.owed -= count
        batch.owed -= count
        if not batch.owed:
            batch.let_go()
            del self._of_asker[batch.asker][batch]

    def _leave(self, batch: Batch, question: bytes) -> bool:
        """One question of the batch stops waiting; return whether it did wait."""
        owner = self._open.get(question)
        if owner is not batch:
            if not isinstance(owner, Shared) or batch not in owner.waiters:
                return False
            owner.waiters[batch] -= 1
            if owner.waiters[batch]:
                return True
            del owner.waiters[batch]
            if owner.waiters:
                return True
        del self._open[question]
        self.closed.append(question)
        return True

    # -- catching up -------------------------------------------------------------------------------

    def slice_from(self, number: int, bytes_over: int) -> tuple[list[bytes], int]:
        """Questions still open, of the batches from `number` on, in the order of asking.

        Whole batches, until their lines come to more than `bytes_over` bytes. Returns them and
        the number to go on from: `next_number` when that is all.
        """
        questions: list[bytes] = []
        size = 0
        for batch in self._in_order(number):
            if not batch.owed:
                continue
            if size > bytes_over:
                return questions, batch.number
            own = dict.fromkeys(batch.questions)
            spoken = [question for question in own if self._speaker(question) is batch]
            questions += spoken
            size += sum(map(len, spoken)) + len(spoken)
        return questions, self._next_number

    def _in_order(self, number: int = 0) -> Iterable[Batch]:
        """The batches from `number` on that may be owed anything, by number."""
        starts = [bisect_left(lane, number, key=_number) for lane in self._lanes.values()]
        rests = [
            islice(lane, start, None)
            for lane, start in zip(self._lanes.values(), starts, strict=True)
        ]
        return merge(*rests, key=_number)

    def _speaker(self, question: bytes) -> Batch | None:
        owner = self._open.get(question)
        return next(iter(owner.waiters)) if isinstance(owner, Shared) else owner


def _number(batch: Batch) -> int:
    return batch.number


def state_after(was: QuestionState, found: QuestionEvent) -> QuestionState:
    """What a question is after this. Raises IllegalTransition."""
    course = QUESTION[was].get(found)
    if course is None:
        raise IllegalTransition(f"a question: {found.name} in {was.name}")
    return course if isinstance(course, QuestionState) else was


def _said(was: QuestionState, found: QuestionEvent) -> Negative:
    """What is said of a question that ends so. Raises IllegalTransition."""
    why = _SAID.get(state_after(was, found))
    if why is None:
        raise IllegalTransition(f"a question: {found.name} in {was.name} ends nothing")
    return why
