"""Waiting: batches of questions, and the questions that several batches wait for.

The unit is the batch: what one asker asked in one read. It has one deadline, which is its asker's
(`timeout_s` of lines); a question in it costs dictionary operations, not objects.

Not here: which questions are open, and who is told that the time is over (`questions.py`); how long
it is (`core/bounds.py`).
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain, islice, takewhile
from operator import attrgetter

from core.protocol.asker import Asker
from core.protocol.outcome import Spell


@dataclass(slots=True, eq=False)
class Batch:
    """The questions of one read of one asker. `questions` (folded) and `spellings` are parallel.

    They are tuples: a million of them may wait, and the garbage collector leaves tuples alone.
    """

    asker: Asker
    questions: Sequence[bytes]
    spellings: Sequence[bytes]  # the same tuple where nothing differs
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

    def waits_with(self, owner: "Batch | Shared | None") -> bool:
        """Return whether it is one of those that wait for a question."""
        return owner is self or (isinstance(owner, Shared) and self in owner.waiters)

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


# A place among all batches: how many were asked before it, by how long their askers wait.
Place = Mapping[float, int]
START: Place = {}

_ASKED_AT = attrgetter("asked_at")


class Queue(deque[Batch]):
    """Batches in the order of asking. `left`: how many have left it, from its head."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        super().__init__()
        self.left = 0


class Batches:
    """Batches in the order of asking: all, and those of each asker.

    All are kept by how long their askers wait: in each queue the order of asking is that of being
    due. A batch in which nothing is unanswered leaves from the head when the next one comes, or
    somebody looks.
    """

    def __init__(self) -> None:
        self._by_timeout: defaultdict[float, Queue] = defaultdict(Queue)
        self._by_asker: defaultdict[Asker, Queue] = defaultdict(Queue)

    def add(
        self, asker: Asker, questions: list[bytes], spellings: list[bytes], now: float
    ) -> Batch:
        """Make a batch of what an asker asks now."""
        mine = tuple(questions)
        spelled = mine if spellings is questions else tuple(spellings)
        batch = Batch(asker, mine, spelled, now, len(mine))
        for queue in (self._by_timeout[asker.timeout_s], self._by_asker[asker]):
            while queue and not queue[0].unanswered:
                queue.popleft()
                queue.left += 1
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
                queue.left += 1
            if queue and queue[0].due < due:
                due = queue[0].due
        return due

    def due_questions(self, now: float, open_: Mapping[bytes, Batch | Shared]) -> list[bytes]:
        """Return what is asked in those that are due, if they still wait for it: it is in `open_`,
        with those that do."""
        return [
            question
            for queue in self._by_timeout.values()
            for batch in takewhile(lambda batch: batch.due <= now, queue)
            for question in batch.questions
            if batch.waits_with(open_.get(question))
        ]

    def take_due(self, now: float) -> Iterator[Batch]:
        """Take out those that are due and unanswered."""
        for queue in self._by_timeout.values():
            while queue and (not queue[0].unanswered or queue[0].due <= now):
                batch = queue.popleft()
                queue.left += 1
                if batch.unanswered:
                    yield batch

    def end(self) -> Place:
        """Return the place behind all of them."""
        return {timeout_s: queue.left + len(queue) for timeout_s, queue in self._by_timeout.items()}

    def since(self, place: Place) -> Iterator[tuple[Batch, Place]]:
        """Return those from a place on that are unanswered, in the order of asking, each with the
        place that it has."""
        queues = self._by_timeout.items()
        here = {timeout_s: max(place.get(timeout_s, 0), queue.left) for timeout_s, queue in queues}
        rests = [islice(queue, here[timeout_s] - queue.left, None) for timeout_s, queue in queues]
        for batch in merge(*rests, key=_ASKED_AT):
            if batch.unanswered:
                yield batch, here.copy()
            here[batch.asker.timeout_s] += 1
