"""Race: which questions are open, who waits for each, and what becomes of them.

The unit is the batch: the questions that one session asked in one read. A batch has one
deadline; a question in it costs dictionary operations, not objects. Usually one batch alone
waits for a name, and `_open` maps the name straight to it. Where several wait, or one waits
twice, a `Shared` stands between: one answer serves everyone who waits for that name.

Rules. An answer is credited by name, never by order. Each batch keeps its own deadline, also
for a name that it shares. A question joins an asking of the same name that is young enough;
otherwise the name is asked once more, since the asking may have been lost. The batch at the
head of a name's waiters is its *speaker*: catching up with the askings (`slice_from`) goes by
speakers, so that every open name is found once.

The conservation law: asked = answered + timed out + dropped + pending, at every moment.

Not here: connections, links and the clock. Pure, and it owns `Session.owed`.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, repeat

from core.session import Session
from core.wire import split_lines, timed_out

Replies = dict[Session, list[bytes]]  # chunks of whole lines by whom they are for


@dataclass(slots=True, eq=False)
class Batch:
    """Questions that one session asked in one read. `names` and `spellings` are parallel."""

    number: int  # batches are numbered as they come
    session: Session
    names: Sequence[bytes]
    spellings: Sequence[bytes]
    due: float
    owed: int  # how many have no reply yet; at 0 the names are let go


@dataclass(slots=True, eq=False)
class Shared:
    """A name for which several questions wait: how many of each batch, the oldest first."""

    asked_at: float
    waiters: dict[Batch, int] = field(default_factory=dict)


class Race:
    """All open questions of a load balancer."""

    def __init__(self, timeout_s: float, join_s: float) -> None:
        self._timeout_s = timeout_s
        self._join_s = join_s
        self._open: dict[bytes, Batch | Shared] = {}
        self._batches: deque[Batch] = deque()  # by number, which is by deadline, too
        self._of_session: dict[Session, dict[Batch, None]] = {}
        self._next_number = 0
        self.asked = 0
        self.answered = 0
        self.timed_out = 0
        self.dropped = 0  # the asker left first
        self.pending = 0  # no reply yet; counted by itself, so that the law can be checked
        self.joined = 0  # questions that cost no line to a TS
        self.late = 0  # answers that nobody waited for

    @property
    def next_number(self) -> int:
        """The number of the next batch: what has been asked has a smaller one."""
        return self._next_number

    def next_due(self) -> float:
        """When the oldest open batch times out; infinite for never."""
        batches = self._batches
        while batches and not batches[0].owed:
            batches.popleft()
        return batches[0].due if batches else math.inf

    # -- asking ------------------------------------------------------------------------------------

    def ask(
        self, session: Session, names: list[bytes], spellings: list[bytes], now: float
    ) -> list[bytes]:
        """Admit questions (at least one); return the names to ask the TSs for, maybe all."""
        count = len(names)
        batch = Batch(self._next_number, session, names, spellings, now + self._timeout_s, count)
        self._next_number += 1
        self._batches.append(batch)
        self._of_session.setdefault(session, {})[batch] = None
        session.owed += count
        self.asked += count
        self.pending += count
        mine = dict.fromkeys(names, batch)
        if len(mine) == count and self._open.keys().isdisjoint(names):
            self._open.update(mine)
            return names
        return self._join(batch, now)

    def _join(self, batch: Batch, now: float) -> list[bytes]:
        """The slow way, where a name is open already or comes twice."""
        to_ask: list[bytes] = []
        for name in batch.names:
            owner = self._open.get(name)
            if owner is None:
                self._open[name] = batch
                to_ask.append(name)
                continue
            if isinstance(owner, Batch):
                owner = Shared(owner.due - self._timeout_s, {owner: 1})
                self._open[name] = owner
            owner.waiters[batch] = owner.waiters.get(batch, 0) + 1
            if now - owner.asked_at < self._join_s:
                self.joined += 1
            else:
                owner.asked_at = now
                to_ask.append(name)
        return to_ask

    # -- what becomes of a question ----------------------------------------------------------------

    def answer(self, names: list[bytes], lines: bytes) -> Replies:
        """Credit answers, parallel to `names` and each ended by LF, to whoever waits for them."""
        owners = list(map(self._open.pop, names, repeat(None)))
        first = owners[0]
        alone = first is owners[-1] and owners.count(first) == len(owners)
        if alone and isinstance(first, Batch):
            self._settle(first, len(owners))
            self.answered += len(owners)
            return {first.session: [lines]}
        replies: Replies = {}
        each = split_lines(lines)
        start = 0
        for owner, run in groupby(owners):
            stop = start + len(list(run))
            if owner is None:
                self.late += stop - start
            elif isinstance(owner, Batch):
                self._reply(replies, owner, b"\n".join(each[start:stop]) + b"\n", stop - start)
            else:
                for batch, times in owner.waiters.items():
                    self._reply(replies, batch, (each[start] + b"\n") * times, times)
            start = stop
        return replies

    def expire(self, now: float) -> Replies:
        """Time out the batches that are due."""
        replies: Replies = {}
        batches = self._batches
        while batches and (not batches[0].owed or batches[0].due <= now):
            batch = batches.popleft()
            if not batch.owed:
                continue
            spellings = [
                spelling
                for name, spelling in zip(batch.names, batch.spellings, strict=True)
                if self._leave(batch, name)
            ]
            replies.setdefault(batch.session, []).append(timed_out(spellings))
            self.timed_out += len(spellings)
            self._settle(batch, len(spellings))
        return replies

    def forget(self, session: Session) -> None:
        """The session is gone: nobody waits for what it asked."""
        for batch in self._of_session.pop(session, {}):
            for name in batch.names:
                self._leave(batch, name)
            self.dropped += batch.owed
            self.pending -= batch.owed
            session.owed -= batch.owed
            batch.owed = 0
            batch.names = batch.spellings = ()

    def _reply(self, replies: Replies, batch: Batch, lines: bytes, count: int) -> None:
        replies.setdefault(batch.session, []).append(lines)
        self.answered += count
        self._settle(batch, count)

    def _settle(self, batch: Batch, count: int) -> None:
        """`count` questions of this batch have got their replies."""
        self.pending -= count
        batch.session.owed -= count
        batch.owed -= count
        if not batch.owed:
            batch.names = batch.spellings = ()
            del self._of_session[batch.session][batch]

    def _leave(self, batch: Batch, name: bytes) -> bool:
        """One question of the batch stops waiting; return whether it did wait."""
        owner = self._open.get(name)
        if owner is batch:
            del self._open[name]
            return True
        if not isinstance(owner, Shared) or batch not in owner.waiters:
            return False
        owner.waiters[batch] -= 1
        if not owner.waiters[batch]:
            del owner.waiters[batch]
            if not owner.waiters:
                del self._open[name]
        return True

    # -- catching up -------------------------------------------------------------------------------

    def slice_from(self, number: int, bytes_over: int) -> tuple[list[bytes], int]:
        """Names still open, of the batches from `number` on, in the order of asking.

        Whole batches, until their lines come to more than `bytes_over` bytes. Returns the names
        and the number to go on from: `next_number` when that is all.
        """
        names: list[bytes] = []
        size = 0
        for batch in self._batches:
            if batch.number < number or not batch.owed:
                continue
            if size > bytes_over:
                return names, batch.number
            spoken = [name for name in dict.fromkeys(batch.names) if self._speaker(name) is batch]
            names += spoken
            size += sum(map(len, spoken)) + len(spoken)
        return names, self._next_number

    def asked_before(self, number: int, names: list[bytes]) -> list[bool]:
        """For each name, whether it is open and was asked by a batch before `number`."""
        speakers = map(self._speaker, names)
        return [speaker is not None and speaker.number < number for speaker in speakers]

    def _speaker(self, name: bytes) -> Batch | None:
        owner = self._open.get(name)
        return next(iter(owner.waiters)) if isinstance(owner, Shared) else owner
