"""Hedging: ask the server that is fastest lately, and the next one only if that takes long.

These are the *hedged requests* of Dean and Barroso ("The Tail at Scale", 2013), for servers of
which any is as good as any other. A single setting says what questions may cost, `extra_load`: the
share of questions that are asked of one more server for speed. It sets two things:

- The delay before the next server is asked: the time within which all but that share of recent
  questions had their reply, never over a ceiling: a bad server must not raise it (as in
  Cassandra's speculative retry, `MIN(99p, 50ms)`). A few questions *explore* (`exploration.py`).
- The budget: whatever the delay comes to, a speculative question takes a token (`budget.py`). Late
  questions that find none wait until tokens come, the oldest first.

Not speculative, and free of the budget: when every server that was asked is down, stalled or has
nothing, the next is asked at once; and what has been open for `join_s`, and so may be lost, goes to
every server, so that no question is lost that any of them would have answered.

Questions that are asked together are one *asking*, which goes through ASKING (`asking.py`). No step
goes through everything that is open: changes of links, checks that are due at one time, and late
questions when tokens come are worked off `hedge_per_turn` questions in a step, and `due` asks for
the next step until that is done.

Not here: the contract (`nodes/ls/policy.py`), the default, which asks everyone
(`nodes/ls/race_policy.py`), and what fast is (`ranking.py`).
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice, repeat

from core.effects import Effect
from core.environment import Environment
from core.metrics import Value
from nodes.ls.hedging.asking import ASKING, Asking, AskingEvent, AskingState
from nodes.ls.hedging.budget import Budget
from nodes.ls.hedging.check_schedule import CheckSchedule
from nodes.ls.hedging.exploration import Exploration
from nodes.ls.hedging.link_changes import LinkChanges
from nodes.ls.hedging.link_queues import LinkQueues
from nodes.ls.hedging.ranking import Ranking
from nodes.ls.link import Link
from nodes.ls.monitored import Monitored
from nodes.ls.outcomes import QuestionState
from nodes.ls.policy import Policy, Shares
from nodes.ls.server_set import NO_SERVERS, ServerSet
from nodes.ls.upstream import Upstream

QuestionLimits = tuple[
    ServerSet, ServerSet
]  # links that cannot be asked a question, and links without data of it
_NO_LIMITS: QuestionLimits = (NO_SERVERS, NO_SERVERS)
_CAN_BE_PLACED = frozenset(state for state, row in ASKING.items() if AskingEvent.PLACED in row)


class HedgePolicy(Policy, Monitored):
    """A Policy that asks one server at a time, within a budget for extra questions.

    `extra_load`: the share of extra questions, 0.05 for 5 %. `limits(question)`: the servers that
    cannot be asked it, and those that cannot have data of it and are asked last; without it, every
    server can be asked everything.
    """

    name = "hedge"

    def __init__(
        self,
        env: Environment,
        links: Sequence[Link],
        extra_load: float,
        limits: Callable[[bytes], QuestionLimits] | None = None,
    ) -> None:
        bounds = env.bounds
        self._bounds = bounds
        self._limits = limits
        self._askings: dict[bytes, Asking] = {}  # that of each open question
        self.kept = self._askings
        self.ranking = Ranking(links, extra_load, bounds)
        self._exploration = Exploration(links, bounds.explore_every)
        self.budget = Budget(extra_load, bounds.hedge_tokens_max)
        self._queues = LinkQueues(self._askings, bounds.waiting_bytes_high)
        self._changes = LinkChanges(links, self._askings)
        self._schedule = CheckSchedule()
        self._late: deque[tuple[Asking, Iterator[bytes]]] = deque()  # waiting for tokens
        self.waiting: Collection[Link] = self._queues.links

    @property
    def hedged(self) -> int:
        """Return how many questions were speculative."""
        return self.budget.hedged

    def metrics(self) -> list[Value]:
        return self.budget.metrics()

    # -- new questions -----------------------------------------------------------------------------

    def ask(self, questions: list[bytes], now: float) -> Shares:
        """See Policy. The fastest link gets them, but for the few that explore another."""
        self.budget.earn(len(questions))
        fastest = self.ranking.best(now)
        shares: list[tuple[Link, list[bytes]]] = []
        exploring = self._exploration.take(len(questions))
        if exploring and (explored := self._exploration.next_link(fastest)):
            for asking in self._new_askings(questions[-exploring:], now):
                asking.explores = True
                shares += self._begin(asking, explored, now)
            questions = questions[:-exploring]
        for asking in self._new_askings(questions, now):
            shares += self._begin(asking, fastest, now)
        self._hedge_late(now)
        return shares

    def _new_askings(self, questions: list[bytes], now: float) -> Iterable[Asking]:
        """Group questions into askings. A repeated question keeps its age and its recipients;
        questions that some servers cannot be asked are grouped apart."""
        limits, askings, version = self._limits, self._askings, self._changes.version
        if limits is None and askings.keys().isdisjoint(questions):
            return [Asking(questions, now, version)] if questions else []
        groups: dict[tuple[Asking | None, QuestionLimits], list[bytes]] = {}
        for question in questions:
            limited = _NO_LIMITS if limits is None else limits(question)
            groups.setdefault((askings.get(question), limited), []).append(question)
        created = []
        for (earlier, (unable, without_data)), group in groups.items():
            asking = Asking(group, now, version)
            asking.unable, asking.without_data = unable, without_data
            if earlier is not None:
                self._changes.forget_lost(earlier)
                asking.succeed(earlier)
            created.append(asking)
        return created

    def _begin(
        self, asking: Asking, link: Link | None, now: float
    ) -> list[tuple[Link, list[bytes]]]:
        """Ask a link, or the best other one if it cannot be asked this or have data of it. Return
        what is to be sent at once."""
        questions = asking.questions
        if link is not None and link.bit & (asking.unable | asking.without_data):
            link = self.ranking.next_best(asking, now)
        self._askings.update(dict.fromkeys(questions, asking))
        if link is None:
            return []
        asking.sent(link, now, AskingEvent.PLACED)
        self._check_after_delay(asking, now)
        shares = []
        if link.is_asked:
            asking.add_recipient(link)
            shares = [(link, questions)]
        else:
            self._queues.add(link, asking, questions)
        if now >= asking.began_at + self._bounds.join_s:
            self._ask_everyone(asking, now)
        return shares

    # -- the ends of questions ---------------------------------------------------------------------

    def admits(self, link: Link, questions: Sequence[bytes]) -> list[bool] | None:
        """See Policy."""
        askings = list(map(self._askings.get, questions))
        if self._changes.is_behind:
            for asking in filter(None, askings):
                self._changes.forget_lost(asking)
        bit = link.bit
        admitted = [asking is not None and bool(asking.recipients & bit) for asking in askings]
        return None if all(admitted) else admitted

    def admitted(
        self, upstream: Upstream, questions: Sequence[bytes], now: float
    ) -> Iterable[Effect]:
        for asking, run in groupby(map(self._askings.pop, questions, repeat(None))):
            if asking is not None:
                count = len(list(run))
                self._changes.forget_lost(asking)
                asking.settle(count)
                self.ranking.learn_from_reply(asking, upstream.link, count, now)
        return ()

    def passed(self, link: Link, questions: Sequence[bytes], now: float) -> None:
        """See Policy. They move on to another link when no other one may answer."""
        groups: dict[Asking, list[bytes]] = {}
        for question in questions:
            groups.setdefault(self._askings[question], []).append(question)
        for asking, group in groups.items():
            self._changes.forget_lost(asking)
            self.ranking.learn_from_reply(asking, link, len(group), now)
            part = asking if len(group) == asking.open_count else self._split(asking, group)
            part.denied_by(link)
            self._assess(part, now)

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for asking, run in groupby(map(self._askings.pop, questions, repeat(None))):
            if asking is not None:
                asking.settle(len(list(run)))
        return ()

    def _split(self, asking: Asking, questions: list[bytes]) -> Asking:
        """Split off an asking that is late, and is checked, like the whole."""
        part = asking.split(questions)
        self._askings.update(dict.fromkeys(questions, part))
        if part.life.state is AskingState.LATE:
            self._late.append((part, iter(questions)))
        if asking.check_at < math.inf:
            self._schedule.add(part, asking.check_at)
        return part

    # -- as time passes ----------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When it has to be woken; infinite for never, and minus infinity while there is more to do
        at once than one step may."""
        if self._changes.is_behind or (self._late and self.budget.tokens >= 1):
            return -math.inf
        return self._schedule.due(self._bounds.hedge_per_turn)

    def woken(self, now: float) -> list[Effect]:
        """Assess, check and hedge what is due. The queues have what is to be asked then."""
        self._assess_outdated(now)
        for asking in self._schedule.take_due(now, self._bounds.hedge_per_turn):
            self._check(asking, now)
        self._hedge_late(now)
        return []

    def _check_after_delay(self, asking: Asking, now: float) -> None:
        """Check an asking when the delay is over, or when it may be lost if that is sooner."""
        due, lost_at = now + self.ranking.delay_s(now), asking.began_at + self._bounds.join_s
        self._schedule.add(asking, min(due, lost_at) if now < lost_at else due)

    def _check(self, asking: Asking, now: float) -> None:
        """Make an asking late if its delay is over, or send it to everyone if it may be lost; else
        check again when its age has doubled."""
        self._changes.forget_lost(asking)
        self.ranking.learn_from_silence(asking, now)
        if self._changes.is_outdated(asking):
            self._assess(asking, now)
        if asking.life.state is AskingState.NOWHERE or asking.check_at < math.inf:
            return  # the next link that comes is asked, or a link has just been asked
        lost_at = asking.began_at + self._bounds.join_s
        if now >= lost_at:
            self._ask_everyone(asking, now)
            return
        if asking.life.state is AskingState.ASKED:
            if self.ranking.next_best(asking, now) is None:
                asking.life.fire(AskingEvent.ALL_ASKED)
            else:
                asking.life.fire(AskingEvent.DELAY_OVER)
                asking.questions = asking.open_questions(self._askings)
                self._late.append((asking, iter(asking.questions)))
        again = now + max(now - asking.began_at, self._bounds.hedge_delay_min_s)
        self._schedule.add(asking, min(again, lost_at))

    def _ask_everyone(self, asking: Asking, now: float) -> None:
        """Ask all links that were not asked yet, outside the budget."""
        asking.life.fire(AskingEvent.ALL_ASKED)
        questions = asking.open_questions(self._askings)
        while link := self.ranking.next_best(asking, now):
            asking.sent_at[link] = now
            self._queues.add(link, asking, questions)

    def _hedge_late(self, now: float) -> None:
        """Ask the next link for as many late questions as there are tokens, the oldest first."""
        late = self._late
        for _ in range(self._bounds.hedge_per_turn):
            if not late:
                return
            asking, questions = late[0]
            link = None
            if asking.life.state is AskingState.LATE and asking.open_count:
                if self.budget.tokens < 1:
                    return
                link = self._next_for_late(asking, now)
            if link is None:
                late.popleft()
                continue
            still_open = (q for q in questions if self._askings.get(q) is asking)
            hedged = list(islice(still_open, int(self.budget.tokens)))
            if not hedged:
                late.popleft()
                continue
            self.budget.spend(len(hedged))
            part = asking.split(hedged)
            self._askings.update(dict.fromkeys(hedged, part))
            part.sent(link, now, AskingEvent.HEDGED)
            self._queues.add(link, part, hedged)
            self._check_after_delay(part, now)

    def _next_for_late(self, asking: Asking, now: float) -> Link | None:
        """Return the link to ask speculatively; None if there is none, or it is late no more."""
        if self._changes.is_outdated(asking):
            self._assess(asking, now)
        if asking.life.state is not AskingState.LATE:
            return None
        link = self.ranking.next_best(asking, now)
        if link is None:
            asking.life.fire(AskingEvent.ALL_ASKED)
        return link

    # -- links -------------------------------------------------------------------------------------

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        """See Observer. The first of all that is open is assessed now, the rest in later steps."""
        lost = self._changes.update()
        if lost is not None:
            for link in lost:
                self._queues.drop(link)
            self._assess_outdated(now)
        return ()

    def _assess_outdated(self, now: float) -> None:
        for asking in self._changes.take_outdated(self._bounds.hedge_per_turn):
            self._assess(asking, now)

    def _assess(self, asking: Asking, now: float) -> None:
        """Ask whom an asking needs, by how the links stand: the next one when nobody is left who
        may answer, and all who have come when everyone has been asked, or it may be lost."""
        self._changes.forget_lost(asking)
        asking.version = self._changes.version
        if not asking.may_be_answered():
            asking.life.fire(AskingEvent.DESERTED)
        while asking.life.state in _CAN_BE_PLACED and (link := self.ranking.next_best(asking, now)):
            asking.sent(link, now, AskingEvent.PLACED)
            asking.questions = asking.open_questions(self._askings)
            self._queues.add(link, asking, asking.questions)
            self._check_after_delay(asking, now)
        if now >= asking.began_at + self._bounds.join_s and self.ranking.next_best(asking, now):
            self._ask_everyone(asking, now)

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy."""
        return self._queues.next_slice(link)
