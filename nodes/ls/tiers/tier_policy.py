"""Tiers: some servers are asked first, and others only where those have nothing to say.

The servers of the first tier are raced. The next tier is asked as well when everybody who was asked
is down or could say nothing about the name, or when `tier_s` is over and nobody has said anything.
A table's NOT FOUND says nothing about a name, and neither do SERVFAIL, REFUSED and old data.
NXDOMAIN and NO DATA do, and so does a table that has the name: then no later tier is asked. Late
replies of earlier tiers count as before. A tier in which nobody is hoped for is passed over, and
asked together with the next one.

LS itself is the last tier, for what it knows of names (`own_turn.py`).

To a question that waits for its tier, the servers of later tiers are barred (`nodes/ls/barred.py`),
so that nobody waits for them and nobody asks them by another way.

Not here: the race (`nodes/ls/race_policy.py`), what has been said of a question, and when nobody is
left to wait for (`nodes/ls/negatives.py`), which asks for the next tier then.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import repeat

from core.bounds import Bounds
from core.effects import Effect
from core.metrics import Metric, Value
from nodes.ls.link import Link
from nodes.ls.monitored import Monitored
from nodes.ls.negatives import HeldNegatives
from nodes.ls.observer import ALWAYS
from nodes.ls.outcomes import QuestionState
from nodes.ls.policy import Shares
from nodes.ls.questions import Questions
from nodes.ls.race_policy import RacePolicy
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet, union, without
from nodes.ls.tiers.own_turn import OwnTurn
from nodes.ls.tiers.tier_turn import TierEvent, TierState, TierTurn
from nodes.ls.upstreams import Upstreams

TIER_ASKED = Metric("asked", "Questions that came to the tier", per="tier")
TIER_SLOW = Metric(
    "slow", "Questions that went on to the next tier when the time of this was over", per="tier"
)
TIER_WON = Metric("won", "Answers of servers of the tier that counted", per="tier")


class TierCounts:
    """Counts of questions of one tier; see the metrics."""

    asked = slow = 0

    def count(self, *, asked: int = 0, slow: int = 0) -> None:
        """Count so many more."""
        self.asked += asked
        self.slow += slow


class TierPolicy(RacePolicy, Monitored):
    """A Policy that asks tier after tier. `tiers`: the servers of each, in their order.

    `negatives` are told of open questions whose tier has had its time: they ask for the `next_tier`
    of those of which nobody has said anything.
    """

    name = "tiers"

    def __init__(
        self,
        upstreams: Upstreams,
        questions: Questions,
        bounds: Bounds,
        tiers: Sequence[ServerSet],
        own_turn: OwnTurn,
        negatives: HeldNegatives,
    ) -> None:
        super().__init__(upstreams.links, questions, bounds.waiting_bytes_high)
        self._upstreams = upstreams
        self._own_turn = own_turn
        self._tiers = [*tiers, own_turn.bit]
        self._after = [union(self._tiers[number + 1 :]) for number in range(len(self._tiers))]
        self._tier_s = bounds.tier_s
        self._negatives = negatives
        self._later = upstreams.barred.later
        self._turns: dict[bytes, TierTurn] = {}  # that of each open question
        self.kept = ALWAYS
        self._ends: deque[tuple[float, TierTurn]] = deque()  # of the times of turns, in order
        self._queues: dict[Link, list[bytes]] = {}  # of questions that went on
        self.waiting: Collection[Link] = self._queues.keys()
        self._counts = [TierCounts() for _ in self._tiers]

    def metrics(self) -> list[Value]:
        values = []
        for number, servers in enumerate(self._tiers[:-1]):
            name = f"tier{number + 1}"
            won = sum(link.replies.won for link in self._links if link.bit & servers)
            values += [
                Value(TIER_ASKED, self._counts[number].asked, name),
                Value(TIER_SLOW, self._counts[number].slow, name),
                Value(TIER_WON, won, name),
            ]
        return values

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is kept of any question."""
        return not self._turns and not self._queues and self.due == math.inf

    # -- asking ------------------------------------------------------------------------------------

    def begin(self, questions: list[bytes], now: float) -> None:
        """See Policy. A question that is asked again is where it was."""
        turns = self._turns
        groups: dict[ServerSet, list[bytes]] = {}
        for question in questions:
            if question not in turns:
                groups.setdefault(self._unable(question), []).append(question)
        for unable, group in groups.items():
            self._begin(TierTurn(group), group, unable, now)

    def ask(self, questions: list[bytes], now: float) -> Shares:
        """See Policy."""
        self.begin(questions, now)
        return super().ask(questions, now)

    def _unable(self, question: bytes) -> ServerSet:
        """Return those that cannot be asked this in any tier, LS itself among them."""
        return self._upstreams.unable_in_any_tier(question) | self._own_turn.excluded(question)

    def next_tier(
        self, questions: Iterable[bytes], event: TierEvent, now: float
    ) -> tuple[list[bytes], list[Denial]]:
        """Have these open questions asked of the next tier; return those for which there is one,
        and what LS says of them if it is that."""
        groups: dict[tuple[TierTurn, ServerSet], list[bytes]] = {}
        for question in questions:
            turn = self._turns.get(question)
            if turn is not None and turn.life.state is TierState.LATER_LEFT:
                groups.setdefault((turn, self._unable(question)), []).append(question)
        moved: list[bytes] = []
        for (turn, unable), group in groups.items():
            part = turn.split(group)
            part.life.fire(event)
            if event is TierEvent.TIER_SLOW:
                self._counts[part.tier].count(slow=len(group))
            before = self._later.get(group[0], 0)
            if self._begin(part, group, unable, now):
                moved += group
                self._queue(group, without(before, self._later.get(group[0], 0) | unable))
        return moved, self._own_turn.take(moved)

    def _begin(self, turn: TierTurn, questions: list[bytes], unable: ServerSet, now: float) -> bool:
        """Let the next tier have its turn; return whether there is one."""
        before, number = turn.tier, self._next(turn.tier, unable)
        if number is not None:
            turn.tier = number
            turn.over_at = now + self._tier_s
            for asked in range(before + 1, number + 1):
                if without(self._tiers[asked], unable):
                    self._counts[asked].count(asked=len(questions))
        self._turns.update(dict.fromkeys(questions, turn))
        later = self._after[turn.tier] if turn.tier >= 0 else NO_SERVERS
        if without(later, unable):
            self._later.update(dict.fromkeys(questions, later))
            self._ends.append((turn.over_at, turn))
        else:
            turn.life.fire(TierEvent.NONE_LEFT)
            turn.over_at = math.inf
            for question in questions:
                self._later.pop(question, None)
        return number is not None

    def _next(self, tier: int, unable: ServerSet) -> int | None:
        """Return the next tier in which a server is hoped for, or else the last that has one that
        may be asked; None if there is none."""
        last = None
        for number in range(tier + 1, len(self._tiers)):
            servers = without(self._tiers[number], unable)
            if servers & (self._upstreams.awaited | self._own_turn.bit):
                return number
            if servers:
                last = number
        return last

    def _queue(self, questions: list[bytes], servers: ServerSet) -> None:
        """Have these servers asked as well, where what is open has been gone through already."""
        for link in self._links:
            if not link.bit & servers or not link.is_answering:
                continue
            asked = questions
            if not link.is_asked:
                sent = self._sent.get(link, ())
                asked = [question for question in questions if question in sent]
            if asked:
                self._queues.setdefault(link, []).extend(asked)

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy. A link that is up gets all that went on to it, as what is new, at once."""
        queued = list(filter(self._questions.is_open, self._queues.pop(link, ())))
        if link.is_asked:
            return queued, True
        questions, is_last = super().next_slice(link, now)
        return queued + questions, is_last

    def admits(self, link: Link, questions: Sequence[bytes]) -> list[bool] | None:
        """See Policy. A server of a later tier can only answer what was asked before; and what LS
        knows goes over late replies of those that are not asked for it."""
        admitted = super().admits(link, questions)
        if not link.bit & self._after[0] and self._own_turn.is_empty:
            return admitted
        late = [question in self._turns and self._is_late(link, question) for question in questions]
        if not any(late):
            return admitted
        both = zip(admitted or repeat(True), late, strict=False)
        return [is_admitted and not is_late for is_admitted, is_late in both]

    def _is_late(self, link: Link, question: bytes) -> bool:
        barred = self._after[max(0, self._turns[question].tier)]
        if not self._own_turn.excluded(question):
            barred |= self._upstreams.barred.withheld.get(question, NO_SERVERS)
        return bool(barred & link.bit)

    # -- the ends of turns, and of questions -------------------------------------------------------

    @property
    def due(self) -> float:
        """When the time of a turn is over; infinite for never."""
        ends = self._ends
        while ends and (not ends[0][1].open_count or ends[0][1].over_at != ends[0][0]):
            ends.popleft()
        return ends[0][0] if ends else math.inf

    def woken(self, now: float) -> list[Effect]:
        """Let the next tier have its turn, where the time of one is over; LS, where that of clients
        is."""
        effects: list[Effect] = []
        if not self._own_turn.is_empty and self._questions.due <= now:
            last = self._own_turn.take_last(self._questions.due_questions(now))
            effects += self._negatives.add(NO_SERVERS, (), last, now)
        while self.due <= now:
            _, turn = self._ends.popleft()
            effects += self._negatives.slow(turn.open_questions(self._turns), now)
        return effects

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for question in questions:
            turn = self._turns.pop(question, None)
            if turn is not None:  # else the answer is late
                turn.settle(1)
                self._later.pop(question, None)
        return super().closed(questions, end, now)

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        for link in list(self._queues):
            if not link.is_answering:
                del self._queues[link]
        return super().links_changed(reconnected, unawaited, now)
