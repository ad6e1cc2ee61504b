"""Store: what is kept by question, within a bound of memory (SIEVE: Zhang et al., NSDI 2024).

New questions go to the end of a queue. A hand goes through the queue from its oldest entry on when
room is needed, and throws out the first that nobody has asked for since the hand came by last; the
others stay where they are. Names that are asked once, a flood of random ones say, thus push out
each other, and not what people ask for.

Not here: what is kept, and for how long (`cache.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows how much memory it takes, in bytes."""

    @property
    def size(self) -> int: ...


_LEAST_VALUES = 4  # that there is room for, however large they are
_GONE_MIN = 1_024  # questions that are gone and still in the queue

KeptT = TypeVar("KeptT", bound=Sized)


class Store(Generic[KeptT]):
    """Values by question, of `bytes_max` bytes at most. Read `values`; change it here only.
    `forgotten` is told of each question that is thrown out."""

    def __init__(self, bytes_max: int, forgotten: Callable[[bytes], None]) -> None:
        self.values: dict[bytes, KeptT] = {}
        self.bytes = 0
        self.evicted = 0
        self._bytes_max = bytes_max
        self._tell_forgotten = forgotten
        self._ahead: deque[bytes] = deque()  # of the hand, the oldest first
        self._passed: deque[bytes] = deque()  # by the hand
        self._wanted: set[bytes] = set()  # asked for since the hand came by
        self._gone: set[bytes] = set()  # taken out, and still in the queue

    def touch(self, questions: Iterable[bytes]) -> None:
        """Take note that these are asked for: they are in here."""
        self._wanted.update(questions)

    def takes(self, value: KeptT) -> bool:
        """Return whether a value may be put in here: no one may push out most of the others."""
        return value.size <= self._bytes_max // _LEAST_VALUES

    def put(self, question: bytes, value: KeptT) -> None:
        """Keep a value, instead of the one before; throw others out if there is no room."""
        before = self.values.get(question)
        if before is not None:
            self.bytes -= before.size
        else:
            self._make_room(value.size)  # before it has a place: the hand would find it at once
            if question in self._gone:
                self._gone.discard(question)
            else:
                self._begin_again_at_end()
                self._ahead.append(question)
        self.values[question] = value
        self.bytes += value.size
        self._make_room(0)

    def take(self, question: bytes) -> None:
        """Take a question out, if it is in here."""
        if (value := self.values.pop(question, None)) is None:
            return
        self.bytes -= value.size
        self._wanted.discard(question)
        self._gone.add(question)
        if len(self._gone) > _GONE_MIN + len(self.values):  # the hand may not come by for long
            self._ahead = deque(one for one in self._ahead if one not in self._gone)
            self._passed = deque(one for one in self._passed if one not in self._gone)
            self._gone.clear()

    def _make_room(self, size: int) -> None:
        """Throw out as many as it takes for so many bytes, or all."""
        while self.values and self.bytes + size > self._bytes_max:
            self._evict()

    def _begin_again_at_end(self) -> None:
        """Let the hand begin again with the oldest, if it has come to the end of the queue."""
        if not self._ahead:
            self._ahead, self._passed = self._passed, self._ahead

    def _evict(self) -> None:
        """Move the hand on to a question that nobody has asked for, and throw it out."""
        while True:
            self._begin_again_at_end()
            question = self._ahead.popleft()
            if question in self._wanted:
                self._wanted.discard(question)
                self._passed.append(question)
            elif question in self._gone:
                self._gone.discard(question)
            else:
                break
        self.bytes -= self.values.pop(question).size
        self.evicted += 1
        self._tell_forgotten(question)

    def clear(self) -> None:
        """Forget everything."""
        self.values.clear()
        self._ahead.clear()
        self._passed.clear()
        self._wanted.clear()
        self._gone.clear()
        self.bytes = 0
