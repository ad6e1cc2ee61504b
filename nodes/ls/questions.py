"""Open questions: who waits for each, and what becomes of it.

Usually one batch alone waits for a question, and `_open` maps it straight to that batch. Where
several wait, or one waits twice, a `Shared` stands between: one answer serves everyone.

Rules. An answer is credited by what it answers, never by order. A question joins one that was asked
less than `join_s` ago; an older one may have been lost, and is asked again. A reply that finds no
question open is *late*: counted, and dropped. The conservation law:
asked = answered + not found + no data + failed + timed out + dropped + pending, at every moment.

Not here: whom to ask (`policy.py`), the machine (`outcomes.py`), the 5.0 s (`core/bounds.py`).
"""

import math
from collections.abc import Sequence
from itertools import groupby, repeat

from core.bounds import Bounds
from core.effects import Effect
from core.owed import Owed
from core.protocol.asker import Asker
from core.protocol.names import Negative
from core.protocol.outcome import Answered, Denied, Outcome, Relayed
from nodes.ls.observer import Observer, hearers
from nodes.ls.outcomes import NEGATIVES, QuestionEvent, QuestionState, negative_after, state_after
from nodes.ls.waiting import Batch, Batches, Place, Shared
from nodes.ls.waits import Waits

_ANSWERED, _TIMED_OUT = QuestionState.ANSWERED, QuestionState.TIMED_OUT


class Questions:
    """All open questions of a load balancer. `owed` is told the most that replies to each asker may
    come to."""

    def __init__(self, bounds: Bounds, owed: Owed, waits: Waits) -> None:
        self._hear_again: Sequence[Observer] = ()  # those that are told what is asked again
        self._hear_closed: Sequence[Observer] = ()  # those that are told what is open no more
        self._join_s = bounds.join_s
        self._owed = owed
        self._waits = waits.by_end
        self._open: dict[bytes, Batch | Shared] = {}
        self.batches = Batches()
        self.due = math.inf  # when the oldest open batch times out, or before (see `Timed`)
        self.asked = 0
        self.answered = 0
        self.denied = dict.fromkeys(NEGATIVES.values(), 0)
        self.dropped = 0
        self.pending = 0  # counted by itself, so that the law can be checked
        self.joined = 0
        self.late = 0

    def tell(self, observers: Sequence[Observer]) -> None:
        """Tell these from now on what is asked again, and what is open no more."""
        self._hear_again = hearers(observers, "asked_again")
        self._hear_closed = hearers(observers, "closed")

    def count_late(self, count: int) -> None:
        """Count replies that nobody waited for."""
        self.late += count

    def is_open(self, question: bytes) -> bool:
        """Return whether somebody waits for it."""
        return question in self._open

    def all_open(self) -> list[bytes]:
        """Return all that somebody waits for."""
        return list(self._open)

    # -- asking ------------------------------------------------------------------------------------

    def ask(
        self, asker: Asker, questions: list[bytes], spellings: list[bytes], now: float
    ) -> list[bytes]:
        """Admit questions (at least one); return those to ask upstreams: often the same list."""
        count = len(questions)
        batch = self.batches.add(asker, questions, spellings, now)
        self.due = min(self.due, now + asker.timeout_s)
        asker.admitted(count)
        self._owed.owed_bytes += count * asker.reply_bytes_max
        self.asked += count
        self.pending += count
        mine = dict.fromkeys(questions, batch)
        if len(mine) == count and self._open.keys().isdisjoint(questions):
            self._open.update(mine)
            return questions
        return self._join(batch, now)

    def _join(self, batch: Batch, now: float) -> list[bytes]:
        """Admit questions the slow way, where one is open already or comes twice."""
        to_ask: list[bytes] = []
        again: list[bytes] = []
        for question in batch.questions:
            owner = self._open.get(question)
            if owner is None:
                self._open[question] = batch
                to_ask.append(question)
                continue
            if isinstance(owner, Batch):
                owner = self._open[question] = Shared(owner.asked_at, {owner: 1})
            owner.join(batch)
            if now - owner.asked_at < self._join_s:
                self.joined += 1
            else:
                owner.asked_at = now
                to_ask.append(question)
                again.append(question)
        for observer in self._hear_again if again else ():
            if observer.kept:
                observer.asked_again(again)
        return to_ask

    def tell_known(self, asker: Asker, known: dict[QuestionState, Relayed]) -> list[Effect]:
        """Tell an asker what it was admitted with and is known, by how that ends questions."""
        for end, relayed in known.items():
            count = len(relayed.questions)
            self.asked += count
            if end is _ANSWERED:
                self.answered += count
            else:
                self.denied[NEGATIVES[end]] += count
            self._waits[end][asker.face].add(0.0, count)
        return asker.reply(list(known.values()))

    # -- the ends of questions ---------------------------------------------------------------------

    def answer(self, answers: Answered, now: float) -> tuple[list[Effect], int]:
        """Send answers to everyone who waits; return, too, how many somebody waited for."""
        questions = answers.questions
        outcomes, settled, late = self._settle(answers, _ANSWERED, now)
        self.answered += settled
        self.late += late
        if not outcomes:
            return [], 0
        effects = self._close(questions, _ANSWERED, outcomes, now)
        return effects, len(questions) - late

    def end(
        self, negatives: Relayed | Denied, state: QuestionState, event: QuestionEvent, now: float
    ) -> list[Effect]:
        """End open questions that are in this state with negatives, or with the replies in another
        language that said so. Raises IllegalTransition."""
        why, end = negative_after(state, event), state_after(state, event)
        outcomes, settled, _ = self._settle(negatives, end, now)
        self.denied[why] += settled
        return self._close(negatives.questions, end, outcomes, now)

    def _settle(
        self, whole: Outcome, end: QuestionState, now: float
    ) -> tuple[dict[Asker, list[Outcome]], int, int]:
        """Take questions out; return what each asker hears of them, how many that settles, and how
        many nobody waited for."""
        waits = self._waits[end]
        owners = list(map(self._open.pop, whole.questions, repeat(None)))
        first, count = owners[0], len(owners)
        if isinstance(first, Batch) and owners.count(first) == count:
            outcome = whole
            if first.spellings is not first.questions:
                outcome = whole.part(0, count, 1, first.spellings_of)
            self.pending -= count
            waits[first.asker.face].add(now - first.asked_at, count)
            first.settle(count)
            return {first.asker: [outcome]}, count, 0
        outcomes: dict[Asker, list[Outcome]] = {}
        if first is None and owners.count(None) == count:  # those of the loser of a race
            return outcomes, 0, count
        settled = late = start = 0
        for owner, run in groupby(owners):
            stop = start + len(list(run))
            if owner is None:
                late += stop - start
            else:
                waiters = {owner: 1} if isinstance(owner, Batch) else owner.waiters
                for batch, times in waiters.items():
                    is_folded = owner is batch and batch.spellings is batch.questions
                    spell = None if is_folded else batch.spellings_of
                    outcome = whole.part(start, stop, times, spell)
                    outcomes.setdefault(batch.asker, []).append(outcome)
                    count = times * (stop - start)
                    self.pending -= count
                    waits[batch.asker.face].add(now - batch.asked_at, count)
                    batch.settle(count)
                    settled += count
            start = stop
        return outcomes, settled, late

    def _close(
        self,
        questions: Sequence[bytes],
        end: QuestionState,
        outcomes: dict[Asker, list[Outcome]],
        now: float,
    ) -> list[Effect]:
        """Tell askers what became of their questions, and observers that they are closed."""
        effects: list[Effect] = []
        for asker, heard in outcomes.items():
            owed = asker.owed
            effects += asker.reply(heard)
            self._owed.owed_bytes -= (owed - asker.owed) * asker.reply_bytes_max
        for observer in self._hear_closed:
            if observer.kept:
                effects += observer.closed(questions, end, now)
        return effects

    # -- time, and askers that leave ---------------------------------------------------------------

    def due_questions(self, now: float) -> list[bytes]:
        """Return what the batches that are due still wait for."""
        return self.batches.due_questions(now, self._open)

    def woken(self, now: float) -> list[Effect]:
        """Time out the batches that are due. No negative may be held in them."""
        outcomes: dict[Asker, list[Outcome]] = {}
        gone: list[bytes] = []
        for batch in self.batches.take_due(now):
            waited = [
                (question, spelling)
                for question, spelling in zip(batch.questions, batch.spellings, strict=True)
                if self._leave(batch, question, gone)
            ]
            questions, spellings = map(list, zip(*waited, strict=True))
            denied = Denied(questions, spellings, Negative.TIMED_OUT)
            outcomes.setdefault(batch.asker, []).append(denied)
            self.denied[Negative.TIMED_OUT] += len(questions)
            self.pending -= len(questions)
            self._waits[_TIMED_OUT][batch.asker.face].add(now - batch.asked_at, len(questions))
            batch.settle(len(questions))
        self.due = self.batches.next_due()
        return self._close(gone, _TIMED_OUT, outcomes, now)

    def forget(self, asker: Asker, now: float) -> list[Effect]:
        """Drop what an asker waits for: it is gone."""
        gone: list[bytes] = []
        for batch in self.batches.take_of(asker):
            for question in batch.questions:
                self._leave(batch, question, gone)
            self.dropped += batch.unanswered
            self.pending -= batch.unanswered
            batch.settle(batch.unanswered)
        self._owed.owed_bytes -= asker.owed * asker.reply_bytes_max
        return self._close(gone, QuestionState.DROPPED, {}, now)

    def _leave(self, batch: Batch, question: bytes, gone: list[bytes]) -> bool:
        """Let a batch wait for a question once less; return whether it did wait. If nobody does
        any more, the question is `gone`."""
        owner = self._open.get(question)
        if owner is not batch:
            if not isinstance(owner, Shared) or batch not in owner.waiters:
                return False
            owner.leave(batch)
            if owner.waiters:
                return True
        del self._open[question]
        gone.append(question)
        return True

    # -- catching up -------------------------------------------------------------------------------

    def slice_from(self, place: Place, bytes_over: int) -> tuple[list[bytes], Place]:
        """Return open questions of the batches from a place on, in the order of asking, and the
        place to go on from: `batches.end()` when that is all.

        Whole batches, until their lines come to more than `bytes_over` bytes. A question is found
        once: with the first batch that waits for it.
        """
        questions: list[bytes] = []
        size = 0
        for batch, upto in self.batches.since(place):
            if size > bytes_over:
                return questions, upto
            own = [q for q in dict.fromkeys(batch.questions) if self._first_waiter(q) is batch]
            questions += own
            size += sum(map(len, own)) + len(own)
        return questions, self.batches.end()

    def _first_waiter(self, question: bytes) -> Batch | None:
        owner = self._open.get(question)
        return next(iter(owner.waiters)) if isinstance(owner, Shared) else owner
