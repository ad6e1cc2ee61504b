"""Waiting: batches of questions, and the questions that several batches wait for.

The unit is the batch: what one asker asked in one read. It has one deadline, which is its asker's
(`timeout_s` of lines); a question in it costs dictionary operations, not objects.

Not here: which questions are open, and who is told that the time is over (`questions.py`); how long
it is (`core/bounds.py`).
"""

import math
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain, islice, takewhile
from operator import attrgetter

from core.protocol.asker import Asker
from core.protocol.outcome import Spell


@dataclass(slots=True, eq=False)
class Batch:
    """The questions of one read of one asker. `questions` (folded) and `spellings` are parallel."""

    number: int  # batches are numbered in the order of asking
    asker: Asker
    questions: Sequence[bytes]
    spellings: Sequence[bytes]  # the same list where nothing differs
    asked_at: float
    unanswered: int  # questions without a reply; at 0 the questions are dropped
    _spelled: dict[bytes, list[bytes]] | None = None

    def spellings_of(self, question: bytes) -> list[bytes]:
        """Return how this batch spells a question, as often as it asks it."""
        if self._spelled is None:
            self._spelled = {}
            for folded, spelling in zip(self.questions, self.spellings, strict=True):
                self._spelled.setdefault(folded, []).append(spelling)
        return self._spelled[question]

    @property
    def due(self) -> float:
        """When its asker's time is over."""
        return self.asked_at + self.asker.timeout_s

    @property
    def spell(self) -> Spell | None:
        """`spellings_of`; None where everything is spelled as it is folded, and asked once."""
        return None if self.spellings is self.questions else self.spellings_of

    def settle(self, count: int) -> None:
        """Take `count` questions as replied to."""
        self.unanswered -= count
        if not self.unanswered:
            self.questions = self.spellings = ()
            self._spelled = None


@dataclass(slots=True, eq=False)
class Shared:
    """A question that is waited for more than once: how often by each batch, the oldest first."""

    asked_at: float
    waiters: dict[Batch, int] = field(default_factory=dict)

    def join(self, batch: Batch) -> None:
        """Let a batch wait for it, once more."""
        self.waiters[batch] = self.waiters.get(batch, 0) + 1

    def leave(self, batch: Batch) -> None:
        """Let a batch wait for it once less."""
        self.waiters[batch] -= 1
        if not self.waiters[batch]:
            del self.waiters[batch]


_NUMBER = attrgetter("number")


class Batches:
    """Batches in the order of asking: all, and those of each asker.

    All are kept by how long their askers wait: in each queue the order of asking is that of being
    due. A batch in which nothing is unanswered leaves from the head when the next one comes, or
    somebody looks.
    """

    def __init__(self) -> None:
        self.next_number = 0  # of the next batch: what has been asked has a smaller one
        self._by_timeout: defaultdict[float, deque[Batch]] = defaultdict(deque)
        self._by_asker: defaultdict[Asker, deque[Batch]] = defaultdict(deque)

    def add(
        self, asker: Asker, questions: list[bytes], spellings: list[bytes], now: float
    ) -> Batch:
        """Make a batch of what an asker asks now."""
        batch = Batch(self.next_number, asker, questions, spellings, now, len(questions))
        self.next_number += 1
        for queue in (self._by_timeout[asker.timeout_s], self._by_asker[asker]):
            while queue and not queue[0].unanswered:
                queue.popleft()
            queue.append(batch)
        return batch

    def take_of(self, asker: Asker) -> Iterable[Batch]:
        """Take out those of an asker; some are settled."""
        return self._by_asker.pop(asker, ())

    def __iter__(self) -> Iterator[Batch]:
        """All that are kept, those that are settled included."""
        return chain.from_iterable(self._by_timeout.values())

    def next_due(self) -> float:
        """Return when the oldest one that is unanswered times out; infinite for never."""
        due = math.inf
        for queue in self._by_timeout.values():
            while queue and not queue[0].unanswered:
                queue.popleft()
            if queue and queue[0].due < due:
                due = queue[0].due
        return due

    def due_questions(self, now: float) -> list[bytes]:
        """Return what is asked in those that are due; some of it may be settled."""
        return [
            question
            for queue in self._by_timeout.values()
            for batch in takewhile(lambda batch: batch.due <= now, queue)
            for question in batch.questions
        ]

    def take_due(self, now: float) -> Iterator[Batch]:
        """Take out those that are due and unanswered."""
        for queue in self._by_timeout.values():
            while queue and (not queue[0].unanswered or queue[0].due <= now):
                batch = queue.popleft()
                if batch.unanswered:
                    yield batch

    def since(self, number: int) -> Iterable[Batch]:
        """Return those from this number on that are unanswered, in the order of asking."""
        queues = self._by_timeout.values()
        starts = [bisect_left(queue, number, key=_NUMBER) for queue in queues]
        rests = [islice(queue, start, None) for queue, start in zip(queues, starts, strict=True)]
        return (batch for batch in merge(*rests, key=_NUMBER) if batch.unanswered)
