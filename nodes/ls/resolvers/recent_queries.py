"""Recent queries: what one UDP socket asked lately, so that a late reply is no guess.

A message that repeats ID and question of a recent query, though it is not waited for, is a copy of
a reply, or late. A message without a question that repeats the ID is
one as well. To remember a batch costs
an append; pairs of ID and question are made only to be looked up, which is rare.

Not here: queries that still wait for a reply (`nodes/ls/resolvers/sockets.py`).
"""

from collections import deque

from nodes.dns.codes import ID_BYTES
from nodes.dns.question import resolver_query

_Batch = tuple[bytes, list[bytes]]  # the IDs, joined, and the question of each


def split_ids(ids: bytes) -> list[bytes]:
    """Take joined IDs apart; joined they take less room."""
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


class RecentQueries:
    """The newest `most` queries of a socket, in whole batches: rather more than fewer."""

    __slots__ = ("_batches", "_count", "_most", "_pairs", "_unsorted", "sent")

    def __init__(self, most: int) -> None:
        self.sent = 0  # queries, ever: the position of the next one
        self._most = most
        self._batches: deque[_Batch] = deque()  # the oldest first
        self._count = 0  # queries in them
        self._unsorted: deque[_Batch] = deque()  # those of them whose pairs are not made yet
        self._pairs: dict[bytes, None] = {}  # of the others, and of some that are forgotten already

    def remember(self, ids: bytes, questions: list[bytes]) -> None:
        """Remember a batch that is sent, and forget the oldest beyond the bound."""
        batches = self._batches
        batch = ids, questions
        batches.append(batch)
        self.sent += len(questions)
        self._count += len(questions)
        while self._count - len(batches[0][1]) >= self._most:
            oldest = batches.popleft()
            self._count -= len(oldest[1])
            if self._unsorted and self._unsorted[0] is oldest:
                self._unsorted.popleft()
        self._unsorted.append(batch)

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self._unsorted.clear()
        self._pairs.clear()
        self._count = 0

    def has(self, pair: bytes) -> bool:
        """Return whether this ID, and the question section behind it, if any, were asked lately."""
        if len(self._pairs) > 4 * self._most:
            self._pairs.clear()
            self._unsorted = self._batches.copy()
        while self._unsorted:
            ids, questions = self._unsorted.popleft()
            for number, question in zip(split_ids(ids), questions, strict=True):
                self._pairs[number] = None
                self._pairs[number + resolver_query(question).section] = None
        return pair in self._pairs
