"""Send queue: questions that one resolver is to be asked and that cannot go yet.

Questions that wait for the window, or for a socket, stand in the order of asking; those that had
their turn before (a socket broke, or somebody guessed at it) go first. A question that nobody wants
any more when its turn comes is skipped. Beside them wait questions that are *deferred* to a time:
guesses made them be asked too often, and their turn is not before then.

Not here: how many may go (`nodes/ls/resolvers/window.py`), and by which socket
(`nodes/ls/resolvers/resolver.py`).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class WaitingBatch:
    """Questions that wait together. `moves`: how often a socket broke by which they were sent."""

    asked_at: float
    questions: deque[bytes]
    moves: int = 0


class SendQueue:
    """Queries that wait to be sent to one resolver. `ready`: those that go as soon as there is
    room; `deferred_until`: when the first that is deferred is due, infinite for never."""

    def __init__(self, is_wanted: Callable[[bytes], bool]) -> None:
        self.ready: deque[WaitingBatch] = deque()
        self.deferred_until = math.inf
        self._deferred: deque[tuple[float, list[bytes]]] = deque()
        self._is_wanted = is_wanted

    @property
    def count(self) -> int:
        """Return how many questions are ready."""
        return sum(len(batch.questions) for batch in self.ready)

    def put_last(self, questions: Iterable[bytes], asked_at: float) -> None:
        """Add new questions."""
        self.ready.append(WaitingBatch(asked_at, deque(questions)))

    def put_first(self, questions: Iterable[bytes], asked_at: float, moves: int = 0) -> None:
        """Add questions before all others."""
        self.ready.appendleft(WaitingBatch(asked_at, deque(questions), moves))

    def take(self, room: int) -> tuple[list[bytes], float, int]:
        """Take up to `room` questions that are wanted and can be sent as one batch; also return
        when the first was asked, and how often they were moved. Without any, nothing is left."""
        ready, is_wanted = self.ready, self._is_wanted
        questions: list[bytes] = []
        asked_at, moves = math.inf, 0
        while ready and len(questions) < room:
            batch = ready[0]
            if not questions:
                asked_at, moves = batch.asked_at, batch.moves
            elif batch.moves != moves:
                break
            waiting = batch.questions
            while waiting and len(questions) < room:
                question = waiting.popleft()
                if is_wanted(question):
                    questions.append(question)
            if not waiting:
                ready.popleft()
        return questions, asked_at, moves

    def defer(self, questions: list[bytes], until: float) -> None:
        """Keep questions until a time that is not before that of any other."""
        self._deferred.append((until, questions))
        self.deferred_until = self._deferred[0][0]

    def take_deferred(self, now: float) -> list[bytes]:
        """Take the questions that were deferred until now."""
        questions: list[bytes] = []
        while self._deferred and self._deferred[0][0] <= now:
            questions += self._deferred.popleft()[1]
        self.deferred_until = self._deferred[0][0] if self._deferred else math.inf
        return questions

    def clear(self) -> None:
        """Forget everything, what is deferred, too."""
        self.ready.clear()
        self._deferred.clear()
        self.deferred_until = math.inf
