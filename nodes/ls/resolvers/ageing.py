"""Ageing: batches in flight by age, and which questions may have been lost.

A batch is looked at when it is old enough to count as silence (`grace_max_s`), to be lost
(`join_s`: then a question is asked again once), and to be hopeless. Before that, one sent over UDP
comes *overdue* (`resend_s`, see `grace.py`; twice as long after each resend): it has left the
resolver's socket, and those of its questions are sent again of which something worse is held.

Not here: what is done with them (`nodes/ls/resolvers/resolver.py`).
"""

import heapq
import math
from collections import deque
from itertools import count

from core.bounds import Bounds
from nodes.ls.resolvers.sockets import SentBatch


class Ageing:
    """The batches to one resolver that wait for replies.

    `overdue`: questions without a reply for so long that they may be lost, and how often each was
    sent again. `resend_s`: when what is sent for the first time comes overdue. `due`: when a batch
    comes of an age, or before, where one of which nothing is left has not been noticed (`look`).
    """

    def __init__(self, bounds: Bounds, resend_s: float) -> None:
        self.overdue: dict[bytes, int] = {}
        self.due = math.inf
        self.resend_s = resend_s
        # By the age that is looked for next, each in the order of sending.
        self._ages: tuple[deque[SentBatch], ...] = (deque(), deque(), deque())
        # A question that joins an asking waits as long as any other, and is not sent for it.
        self._ages_s = (bounds.grace_max_s, bounds.join_s, bounds.join_s + bounds.longest_s)
        # Until they are overdue: in the order of sending, and, once sent again, by time in a heap.
        self._young: deque[SentBatch] = deque()
        self._resent: list[tuple[float, int, SentBatch]] = []
        self._order = count()

    def add(self, batch: SentBatch) -> None:
        """Take in a batch that is sent now."""
        self._ages[0].append(batch)
        due = batch.sent_at + self._ages_s[0]
        if not batch.socket.is_stream:
            overdue_at = batch.sent_at + self.resend_s * 2**batch.tries
            if batch.tries:
                heapq.heappush(self._resent, (overdue_at, next(self._order), batch))
            else:
                self._young.append(batch)
            due = min(due, overdue_at)
        self.due = min(self.due, due)

    def look(self) -> float:
        """Work out, and return, exactly when a batch comes of an age; infinite for never."""
        due = math.inf
        for age_s, batches in zip(self._ages_s, self._ages, strict=True):
            while batches and not batches[0].left:
                batches.popleft()
            if batches:
                due = min(due, batches[0].sent_at + age_s)
        young = self._young
        while young and not young[0].left:
            young.popleft()
        if young:
            due = min(due, young[0].sent_at + self.resend_s)
        while self._resent and not self._resent[0][2].left:
            heapq.heappop(self._resent)
        if self._resent:
            due = min(due, self._resent[0][0])
        self.due = due
        return due

    def take_aged(self, now: float) -> tuple[list[SentBatch], list[SentBatch], list[SentBatch]]:
        """Return the batches that are old enough by now to count as silence, to be lost, and to be
        hopeless; a batch is in each list once, and forgotten with the last."""
        silent, lost, hopeless = (self._take(at, now) for at in range(3))
        self._ages[1].extend(silent)
        self._ages[2].extend(lost)
        return silent, lost, hopeless

    def _take(self, at: int, now: float) -> list[SentBatch]:
        batches, age_s = self._ages[at], self._ages_s[at]
        taken: list[SentBatch] = []
        while batches and (not batches[0].left or batches[0].sent_at + age_s <= now):
            batch = batches.popleft()
            if batch.left:
                taken.append(batch)
        return taken

    def take_overdue(self, now: float) -> list[SentBatch]:
        """Return the batches that have come overdue; each is returned once."""
        taken: list[SentBatch] = []
        young = self._young
        while young and (not young[0].left or young[0].sent_at + self.resend_s <= now):
            batch = young.popleft()
            if batch.left:
                taken.append(batch)
        while self._resent and self._resent[0][0] <= now:
            batch = heapq.heappop(self._resent)[2]
            if batch.left:
                taken.append(batch)
        return taken
