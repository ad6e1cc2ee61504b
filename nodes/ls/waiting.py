"""Waiting: batches of questions, and the questions that several batches wait for.

The unit is the batch: what one asker asked in one read. It has one deadline, which is its asker's;
a question in it costs dictionary operations, not objects.

Not here: which questions are open (`nodes/ls/questions.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    due: float
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
    def spell(self) -> Spell | None:
        """`spellings_of`; None where everything is spelled as it is folded, and asked once."""
        return None if self.spellings is self.questions else self.spellings_of

    def settle(self, count: int) -> bool:
        """Take `count` questions as replied to; return whether none is left."""
        self.unanswered -= count
        if self.unanswered:
            return False
        self.questions = self.spellings = ()
        self._spelled = None
        return True


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
