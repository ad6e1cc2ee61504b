"""Verdicts: what servers have said of open questions that is no answer, and when that decides.

Three rules. What a TS says with NOT FOUND is only that its own table does not have the name: it
decides when every configured server has spoken, since one that is down, stalled or silent may have
it. Everything else that is no answer is *held*, for a grace, until every server that is waited for
has spoken, and the best of it is then what was said; which is the best, RACE says
(`nodes/ls/questions.py`). That a table shows that a name exists (NAME_SAID) begins no grace: it is
held for as long as somebody may have more to say. What a TS has said on a connection goes with it.

What was told as NOT FOUND or NO DATA because its grace was over is remembered for a while: data
that comes after all shows that servers differ.

A server is one bit, so that who has spoken is one number; here is nothing of a question that
nobody has denied, and so nothing at all where TSs are silent about what they do not know.

Not here: who is told, whom to ask next (`nodes/ls/hedging/policy.py`), and how long a grace is.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

from core.protocol.asker import RelayedReply
from nodes.dns.question import is_beyond_tables, line_of
from nodes.ls.questions import QuestionEvent, QuestionState, state_after


@dataclass(slots=True, eq=False)
class HeldNegative:
    """The best that was said of a question so far. `message`: it is a resolver's reply. `since`:
    when its grace began. `moot`: the bits of tables that could say nothing better."""

    question: bytes
    course: QuestionState
    message: RelayedReply | None
    since: float
    until: float
    moot: int = 0


Denial = tuple[bytes, QuestionEvent, RelayedReply | None]  # a question, what is said of it, and how
_DENIED = frozenset({QuestionState.NOT_FOUND_HELD, QuestionState.NO_DATA_HELD})
_NAME_EXISTS = frozenset({QuestionState.NAME_HELD, QuestionState.NO_DATA_HELD})
_DENIED_KEPT = 1_024  # questions: data that comes too late comes soon after


class HeldNegatives:
    """All open questions of which a server has said that it has nothing.

    `everyone`: the bits of all configured servers; `tables` are those of them that can only be
    asked what a line can ask. `grace_s(course, bits, now)`: how long a question that is held so
    waits for these to speak.
    """

    def __init__(
        self, everyone: int, tables: int, grace_s: Callable[[QuestionState, int, float], float]
    ) -> None:
        self._everyone = everyone
        self._tables = tables
        self._grace_s = grace_s
        self.spoken: dict[bytes, int] = {}  # the bits of those who have, by question
        self._held: dict[bytes, HeldNegative] = {}
        self._dues: list[
            tuple[float, int, HeldNegative]
        ] = []  # a heap; some are settled, or due sooner
        self._number = count()
        self._denied: dict[bytes, None] = {}  # lately told that there is no data, for want of time

    def due(self) -> float:
        """When the first one has been held long enough; infinite for never. Asked now and then, it
        lets go of what is settled."""
        dues = self._dues
        while dues and not self._is_due(dues[0][2], dues[0][0]):
            heapq.heappop(dues)
        return dues[0][0] if dues else math.inf

    def _is_due(self, held: HeldNegative, until: float) -> bool:
        return held.until == until and self._held.get(held.question) is held

    def hear(
        self, bit: int, awaited: int, not_found: list[bytes], denials: list[Denial], now: float
    ) -> tuple[list[bytes], list[HeldNegative]]:
        """A server says so of open questions: `not_found` of its table, `denials` of the world.

        `awaited` are those who are waited for. Returns what is NOT FOUND now, and what has been
        held enough.
        """
        spoken = self.spoken
        unknown: dict[bytes, None] = {}
        enough: dict[bytes, HeldNegative] = {}
        for question, finding, message in denials:
            spoken[question] = by = self._spoken_of(question) | bit
            held = self._hold(question, finding, message, now)
            left = awaited & ~by & ~held.moot
            if left and finding is not QuestionEvent.NAME_SAID:  # else it has been held enough
                self._hold_until(held, now + self._grace_s(held.course, left, now), now)
        for question in [*[question for question, _, _ in denials], *not_found]:
            spoken[question] = by = self._spoken_of(question) | bit
            if question in self._held:
                held = self._held[question]
                if not awaited & ~by & ~held.moot:
                    enough[question] = held
            elif by == self._everyone:
                unknown[question] = None
        return list(unknown), list(enough.values())

    def _spoken_of(self, question: bytes) -> int:
        """The bits of those who have spoken of it, or cannot be asked it."""
        by = self.spoken.get(question)
        return self.unable(question) if by is None else by

    def unable(self, question: bytes) -> int:
        """The bits of those that cannot be asked it."""
        return self._tables if self._tables and line_of(question) is None else 0

    def unfit(self, question: bytes) -> tuple[int, int]:
        """The bits of those that cannot be asked it, and of those that cannot have data of it."""
        return self.unable(question), self._tables if is_beyond_tables(question) else 0

    def _hold(
        self, question: bytes, finding: QuestionEvent, message: RelayedReply | None, now: float
    ) -> HeldNegative:
        """Keep this, if it is better than what is held."""
        held = self._held.get(question)
        if held is None:
            held = self._held[question] = HeldNegative(
                question, QuestionState.OPEN, None, now, math.inf
            )
        best = state_after(held.course, finding)
        if best is not held.course:
            held.course = best
            says_so = (
                state_after(QuestionState.OPEN, finding) is best
            )  # NXDOMAIN of a name that exists
            held.message = message if says_so else None
            if self._tables and best in _NAME_EXISTS and is_beyond_tables(question):
                held.moot = self._tables
        return held

    def _hold_until(self, held: HeldNegative, until: float, now: float) -> None:
        """Hold it no longer than that: those still to speak may be fewer by now, or faster."""
        if until < held.until:
            if held.until == math.inf:
                held.since = now
            held.until = until
            heapq.heappush(self._dues, (until, next(self._number), held))

    def wait_longer(self, bit: int, now: float) -> None:
        """Hold what others deny for as long as this server is waited for now: it has been seen to
        have what others denied."""
        for question, held in self._held.items():
            if held.course in _DENIED and not self.spoken[question] & bit:
                until = held.since + self._grace_s(held.course, bit, now)
                if until > held.until:
                    held.until = until
                    heapq.heappush(self._dues, (until, next(self._number), held))

    def held_until(self, now: float, among: Iterable[bytes] = ()) -> list[HeldNegative]:
        """What has been held long enough, and, however long, what is `among` these."""
        due = {question: self._held[question] for question in among if question in self._held}
        while self.due() <= now:
            held = heapq.heappop(self._dues)[2]
            due[held.question] = held
        for question, held in due.items():
            if held.course in _DENIED:
                if len(self._denied) == _DENIED_KEPT:
                    self._denied.clear()
                self._denied[question] = None
        return list(due.values())

    def held_in_vain(self, awaited: int) -> list[HeldNegative]:
        """What need not be held any longer, now that only these may still speak."""
        return [
            held
            for held in self._held.values()
            if not awaited & ~self.spoken[held.question] & ~held.moot
        ]

    def is_held(self, question: bytes) -> bool:
        """Whether something worse than data is held of it, for a grace."""
        held = self._held.get(question)
        return held is not None and held.until < math.inf

    def have_denied(self, questions: Iterable[bytes]) -> bool:
        """Whether NXDOMAIN or NO DATA is the best that is held of one of them, or was told."""
        held, denied = self._held, self._denied
        if not held and not denied:
            return False
        return any(
            question in denied or (question in held and held[question].course in _DENIED)
            for question in questions
        )

    def was_denied(self, question: bytes) -> bool:
        """Whether it was lately told that there is no data, before everybody had spoken."""
        return question in self._denied

    def are_spoken_of(self, questions: list[bytes]) -> bool:
        """Whether a server has said of one of them that it has nothing."""
        return not self.spoken.keys().isdisjoint(questions)

    def asked_again(self, questions: list[bytes]) -> None:
        """Forget who has spoken of these: they are asked anew. What is held stays held."""
        if self.are_spoken_of(questions):
            for question in questions:
                if question not in self._held:
                    self.spoken.pop(question, None)

    def forget_server(self, bits: int) -> None:
        """Forget what these TSs have said: their connections are gone."""
        for question, by in list(self.spoken.items()):
            if by & bits:
                unable = self.unable(question)
                self.spoken[question] = by & ~bits | unable
                if not by & ~bits & ~unable and question not in self._held:
                    del self.spoken[question]

    def forget(self, questions: Iterable[bytes]) -> None:
        """Forget these: they are open no more."""
        if self.spoken:
            for question in questions:
                self.spoken.pop(question, None)
                self._held.pop(question, None)
