"""Hedge: ask the TS that is fastest lately, and the next one only if that takes long.

For replicas: any TS is as good as any other. Questions that are asked together are an *asking*,
and it goes its way through ASKING, below. What an asking may cost is one knob, the share of extra
questions:

- the delay before the next TS is asked is the time within which all but that share of recent
  questions had their reply (Dean & Barroso, "The Tail at Scale", 2013), never over a ceiling: a
  bad TS must not talk it up (as in Cassandra's speculative retry, `MIN(99p, 50ms)`);
- whatever the delay comes to, a speculative question takes a token, and a token comes with each
  so many new questions (Finagle's `RetryBudget` and `BackupRequestFilter`).

Not speculative, and free of the budget: a TS that is down, stalled, or has nothing moves the
question on at once; and one that has waited for as long as an asking may be thought lost goes to
everyone, so that no question is lost that any TS would have answered.

An asking is split when its questions part: some are hedged and some are not, some are denied.

No step goes through everything that is open. When links have moved, every asking has to be judged
anew; a *round* through them does so, `hedge_per_turn` questions in a step, and `due` asks for the
next step until it is through. Until its turn comes, an asking is as it was, and so whatever
touches it first either judges it or takes from it what went over lost connections. Looks that are
due at one time, and late questions when tokens come, are bounded in the same way.

Not here: what fast is (`nodes/ls/latency.py`), and who waits (`nodes/ls/questions.py`).
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count, groupby, islice, repeat

from core.bounds import Bounds
from core.machine import STAY, Label, Machine, Transitions
from core.metrics import Metric, Value
from nodes.ls.latency import RecentMean, RecentQuantile
from nodes.ls.link import Link, LinkState
from nodes.ls.policy import Shares

_PREFERRED = {
    LinkState.UP: 0,
    LinkState.HOLDING: 1,
    LinkState.CATCHING_UP: 2,
}  # before what is known of their pace


class AskingState(Label):
    """How far an asking has come."""

    NOWHERE = "no TS that may still answer has been asked"
    ASKED = "the TS that was asked last has time to answer"
    LATE = "it has had it: the next TS is asked when the budget allows"
    EVERYWHERE = "every TS that is there has been asked"


class AskingEvent(Label):
    """What happens to an asking."""

    PLACED = "a TS is asked, outside the budget"
    DELAY_OVER = "the delay is over"
    HEDGED = "the budget allows one more TS"
    ALL_ASKED = "there is no TS left to ask"
    DESERTED = "every TS that was asked is gone, stalled, or has nothing"


S, E = AskingState, AskingEvent
ASKING: Transitions[AskingState, AskingEvent] = {
    S.NOWHERE: {E.PLACED: S.ASKED, E.DESERTED: STAY},
    S.ASKED: {E.DELAY_OVER: S.LATE, E.ALL_ASKED: S.EVERYWHERE, E.DESERTED: S.NOWHERE},
    S.LATE: {E.HEDGED: S.ASKED, E.ALL_ASKED: S.EVERYWHERE, E.DESERTED: S.NOWHERE},
    S.EVERYWHERE: {E.PLACED: STAY, E.ALL_ASKED: STAY, E.DESERTED: S.NOWHERE},
}


_PLACED = frozenset(way for way, after in ASKING.items() if AskingEvent.PLACED in after)


class Asking:
    """Questions that were asked together, and have gone the same way since."""

    __slots__ = (
        "admits", "denied", "due", "explores", "last", "left", "moves", "questions", "root", "sent",
        "since", "unable", "way",
    )  # fmt: skip

    def __init__(
        self, questions: list[bytes], since: float, moves: int, whole: "Asking | None" = None
    ) -> None:
        """A new one, or one for a part of the questions of another."""
        self.questions = questions  # some may be answered, or belong to a later asking by now
        self.left = len(questions)  # those that are open and belong to this one
        self.since = since
        self.moves = moves  # how often links had moved when it was judged last
        self.due = math.inf  # when it is looked at again
        start = AskingState.NOWHERE if whole is None else whole.way.state
        self.way: Machine[AskingState, AskingEvent] = Machine(ASKING, start, "asking")
        self.sent: dict[Link, float] = {}  # to whom it went and when, the first one first
        self.admits = 0  # bits of those that were sent it, or an earlier asking of the same
        self.root: Asking = self if whole is None else whole.root  # what it was split off from
        self.denied = 0  # bits of those that have nothing
        self.unable = 0  # bits of those among them that cannot be asked it
        self.last = 0  # bits of those that are asked after all others, since they have no data
        self.explores = False
        if whole is not None:
            self.sent = dict(whole.sent)
            self.admits, self.denied, self.unable = whole.admits, whole.denied, whole.unable
            self.last = whole.last
            self.explores = whole.explores
            whole.left -= len(questions)

    def part(self, link: Link) -> None:
        """Take out a link whose connection is gone, with all that went over it."""
        self.admits &= ~link.bit
        self.denied &= ~link.bit | self.unable
        self.sent.pop(link, None)

    def may_be_answered(self) -> bool:
        """Whether there is a TS that was asked and may still answer."""
        return any(link.is_live and not link.bit & self.denied for link in self.sent)


HEDGED = Metric("hedged", "Questions that were asked of one more table server for speed")


class Budget:
    """Tokens for speculative questions: `share` of one comes with each question."""

    def __init__(self, share: float, tokens_max: int) -> None:
        self._share = share
        self._tokens_max = tokens_max
        self.tokens = 0.0

    def earn(self, questions: int) -> None:
        self.tokens = min(self.tokens + self._share * questions, self._tokens_max)


class HedgePolicy:
    """A policy; see `nodes/ls/policy.py`. `extra_load`: the share, 0.05 for 5 %.
    `unfit(question)`: the bits of those that cannot be asked it, and of those that cannot have data
    of it; without it, everyone can."""

    def __init__(
        self,
        links: Sequence[Link],
        bounds: Bounds,
        extra_load: float,
        unfit: Callable[[bytes], tuple[int, int]] | None = None,
    ) -> None:
        self._links = links
        self._unfit = unfit
        self._bounds = bounds
        self._askings: dict[bytes, Asking] = {}  # of each open question
        self._paces = {link: RecentMean() for link in links}
        self._times = RecentQuantile(1 - extra_load)
        self._budget = Budget(extra_load, bounds.hedge_tokens_max)
        self._looks: list[tuple[float, int, Asking]] = []  # a heap: which is looked at when
        self._number = count()
        self._late: deque[tuple[Asking, Iterator[bytes]]] = deque()  # they wait for tokens
        self._queues: dict[Link, deque[tuple[Asking, list[bytes]]]] = {}  # none of them empty
        self._moves = 0  # how often links have moved
        self._lost: dict[Link, int] = {}  # with which move each lost its last connection
        self._round: deque[Asking] = deque()  # those that have to be judged still
        self._round_moves = 0  # as they were when the round began
        self._there = 0  # the bits of those that may answer, as they were
        self._live = 0  # the same of those that are asked for things
        self._unexplored = 0.0
        self._by_exploring = list(links)  # the one explored longest ago first
        self.hedged = 0  # speculative questions

    def metrics(self) -> list[Value]:
        """What is counted here."""
        return [Value(HEDGED, self.hedged)]

    # -- new questions -----------------------------------------------------------------------------

    def ask(self, questions: list[bytes], now: float) -> Shares:
        """The fastest link gets them, but for the few that explore another."""
        self._budget.earn(len(questions))
        fastest = self._best(now)
        self._unexplored += len(questions) / self._bounds.explore_every
        few = int(self._unexplored)
        shares: list[tuple[Link, list[bytes]]] = []
        if few:
            self._unexplored -= few
            if explored := self._next_explored(fastest):
                for asking in self._new_askings(questions[-few:], now):
                    asking.explores = True
                    shares += self._begin(asking, explored, now)
                questions = questions[:-few]
        for asking in self._new_askings(questions, now):
            shares += self._begin(asking, fastest, now)
        self._spend(now)
        return shares

    def _new_askings(self, questions: list[bytes], now: float) -> Iterable[Asking]:
        """Make an asking of these, or several: what is asked again is as old as it was, and may be
        answered by whoever was sent it; what does not fit some TSs goes its own way."""
        unfit, of = self._unfit, self._askings
        if unfit is None and of.keys().isdisjoint(questions):
            return [Asking(questions, now, self._moves)] if questions else []
        parted: dict[tuple[Asking | None, tuple[int, int]], list[bytes]] = {}
        for question in questions:
            kind = of.get(question), (0, 0) if unfit is None else unfit(question)
            parted.setdefault(kind, []).append(question)
        askings = []
        for (before, (unable, last)), some in parted.items():
            asking = Asking(some, now, self._moves)
            asking.denied = asking.unable = unable
            asking.last = last
            if before is not None:
                self._part(before)
                before.left -= len(some)
                asking.since, asking.admits = before.since, before.admits
            askings.append(asking)
        return askings

    def _begin(
        self, asking: Asking, link: Link | None, now: float
    ) -> list[tuple[Link, list[bytes]]]:
        """Ask this link, if there is one, or another one if it cannot be asked these."""
        questions = asking.questions
        if link is not None and link.bit & (asking.unable | asking.last):
            link = self._best(now, asking)
        self._askings.update(dict.fromkeys(questions, asking))
        if link is None:
            return []
        asking.way.fire(AskingEvent.PLACED)
        self._look_soon(asking, now)
        asking.sent[link] = now
        shares = []
        if link.is_asked:
            asking.admits |= link.bit
            shares = [(link, questions)]
        else:
            self._queue(link, asking, questions)
        if now >= asking.since + self._bounds.join_s:
            self._ask_everyone(asking, now)
        return shares

    def _next_explored(self, fastest: Link | None) -> Link | None:
        for link in self._by_exploring:
            if link is not fastest and link.life.state is LinkState.UP:
                self._by_exploring.remove(link)
                self._by_exploring.append(link)
                return link
        return None

    def _best(self, now: float, asking: Asking | None = None) -> Link | None:
        """The live link to ask next, one that this asking has not been sent to and that has not
        denied it; of equals, the first."""
        sent: Collection[Link] = ()
        denied = last = 0
        if asking is not None:
            sent, denied, last = asking.sent, asking.denied, asking.last
        return min(
            (
                link
                for link in self._links
                if link.is_live and link not in sent and not link.bit & denied
            ),
            key=lambda link: (
                link.bit & last > 0,
                _PREFERRED[link.life.state],
                self._paces[link].mean_s(now),
            ),
            default=None,
        )

    def _delay_s(self, now: float) -> float:
        bounds = self._bounds
        most = min(self._times.seconds(now), bounds.hedge_delay_max_s)
        return max(bounds.hedge_delay_min_s, most)

    # -- what becomes of them ----------------------------------------------------------------------

    def admits(self, link: Link, questions: list[bytes]) -> list[bool] | None:
        """See Policy."""
        askings = list(map(self._askings.get, questions))
        if self._is_behind:
            for asking in filter(None, askings):
                self._part(asking)
        admitted = [asking is not None and bool(asking.admits & link.bit) for asking in askings]
        return None if all(admitted) else admitted

    def answered(self, link: Link, questions: list[bytes], now: float) -> None:
        """See Policy."""
        for asking, run in groupby(map(self._askings.pop, questions, repeat(None))):
            if asking is not None:
                self._part(asking)
                number = len(list(run))
                asking.left -= number
                self._learn(asking, link, number, now)

    def denied(self, link: Link, questions: list[bytes], now: float) -> None:
        """See Policy. They are moved on."""
        askings = self._askings
        of: dict[Asking, list[bytes]] = {}
        for question in questions:
            of.setdefault(askings[question], []).append(question)
        for asking, parted in of.items():
            self._part(asking)
            self._learn(asking, link, len(parted), now)
            part = asking if len(parted) == asking.left else self._split(asking, parted)
            part.denied |= link.bit
            self._judge(part, now)

    def closed(self, questions: Iterable[bytes]) -> None:
        """See Policy."""
        for asking in filter(None, map(self._askings.pop, questions, repeat(None))):
            asking.left -= 1

    def _learn(self, asking: Asking, link: Link, number: int, now: float) -> None:
        """Learn from a reply of a link; others that were asked have taken so long at least."""
        if not asking.sent:
            return
        for other, sent_at in asking.sent.items():
            if other is link or (other.is_live and not other.bit & asking.denied):
                self._paces[other].add(now - sent_at, number, now)
        if not asking.explores and asking.denied == asking.unable:
            self._times.add(now - next(iter(asking.sent.values())), number)

    def _open(self, asking: Asking) -> list[bytes]:
        """Those of its questions that are open and have not left it."""
        of = self._askings
        return [question for question in asking.questions if of.get(question) is asking]

    def _split(self, asking: Asking, questions: list[bytes]) -> Asking:
        """An asking of its own for some of its questions, on the same way."""
        part = Asking(questions, asking.since, asking.moves, asking)
        self._askings.update(dict.fromkeys(questions, part))
        if part.way.state is AskingState.LATE:
            self._late.append((part, iter(questions)))
        if asking.due < math.inf:
            self._look_at(part, asking.due)
        return part

    # -- the next TS -------------------------------------------------------------------------------

    def due(self) -> float:
        """When it wants to be woken; infinite for never, and minus infinity while there is more to
        do at once than one step may. What is settled, or is looked at another time, is not waited
        for, unless there is more of that than is cleared away at once."""
        if self._is_behind or (self._late and self._budget.tokens >= 1):
            return -math.inf
        looks = self._looks
        for _ in range(min(len(looks), self._bounds.hedge_per_turn)):
            if self._is_due(*looks[0]):
                break
            heapq.heappop(looks)
        return looks[0][0] if looks else math.inf

    def _is_due(self, due: float, _: int, asking: Asking) -> bool:
        """Whether an entry of the looks still stands."""
        return asking.left > 0 and asking.due == due

    def woken(self, now: float) -> None:
        """Go on with the round, look at what is due, and spend what there is."""
        self._go_on(now)
        looks, left = self._looks, self._bounds.hedge_per_turn
        while left > 0 and looks and looks[0][0] <= now:
            look = heapq.heappop(looks)
            if self._is_due(*look):
                self._look(look[2], now)
            left -= len(look[2].questions) or 1
        self._spend(now)

    def _look_at(self, asking: Asking, due: float) -> None:
        asking.due = due
        heapq.heappush(self._looks, (due, next(self._number), asking))

    def _look_soon(self, asking: Asking, now: float) -> None:
        """Look at it when the delay is over, or when it may be thought lost if that is sooner."""
        due, lost_at = now + self._delay_s(now), asking.since + self._bounds.join_s
        self._look_at(asking, min(due, lost_at) if now < lost_at else due)

    def _look(self, asking: Asking, now: float) -> None:
        """See how an asking stands, since its delay is over or its age has doubled."""
        asking.due = math.inf
        self._part(asking)
        for link, sent_at in asking.sent.items():
            if link.is_live and not link.bit & asking.denied:
                self._paces[link].add(now - sent_at, asking.left, now)
        self._catch_up(asking, now)
        if asking.way.state is AskingState.NOWHERE or asking.due < math.inf:
            return  # whoever comes is asked, or somebody just has been
        lost_at = asking.since + self._bounds.join_s
        if now >= lost_at:
            self._ask_everyone(asking, now)
            return
        if asking.way.state is AskingState.ASKED:
            if self._best(now, asking) is None:
                asking.way.fire(AskingEvent.ALL_ASKED)
            else:
                asking.way.fire(AskingEvent.DELAY_OVER)
                asking.questions = self._open(asking)
                self._late.append((asking, iter(asking.questions)))
        again = now + max(now - asking.since, self._bounds.hedge_delay_min_s)
        self._look_at(asking, min(again, lost_at))

    def _ask_everyone(self, asking: Asking, now: float) -> None:
        asking.way.fire(AskingEvent.ALL_ASKED)
        questions = self._open(asking)
        while link := self._best(now, asking):
            asking.sent[link] = now
            self._queue(link, asking, questions)

    def _spend(self, now: float) -> None:
        """Ask the next TS for as many late questions as there are tokens, oldest first."""
        late, of = self._late, self._askings
        for _ in range(self._bounds.hedge_per_turn):
            if not late:
                return
            asking, questions = late[0]
            link = None
            if asking.way.state is AskingState.LATE and asking.left:
                if self._budget.tokens < 1:
                    return
                link = self._next_for_late(asking, now)
            if link is None:
                late.popleft()
                continue
            is_open = (question for question in questions if of.get(question) is asking)
            few = list(islice(is_open, int(self._budget.tokens)))
            if not few:
                late.popleft()
                continue
            self._budget.tokens -= len(few)
            self.hedged += len(few)
            part = Asking(few, asking.since, asking.moves, asking)
            self._askings.update(dict.fromkeys(few, part))
            part.way.fire(AskingEvent.HEDGED)
            part.sent[link] = now
            self._queue(link, part, few)
            self._look_soon(part, now)

    def _next_for_late(self, asking: Asking, now: float) -> Link | None:
        """The link to ask speculatively; None if there is none, or the asking is late no more."""
        self._catch_up(asking, now)
        if asking.way.state is not AskingState.LATE:
            return None
        link = self._best(now, asking)
        if link is None:
            asking.way.fire(AskingEvent.ALL_ASKED)
        return link

    def _place(self, asking: Asking, link: Link, now: float) -> None:
        """Ask a link outside the budget."""
        asking.way.fire(AskingEvent.PLACED)
        asking.sent[link] = now
        asking.questions = self._open(asking)
        self._queue(link, asking, asking.questions)
        self._look_soon(asking, now)

    # -- when links move ---------------------------------------------------------------------------

    def links_moved(self, now: float) -> None:
        """See Policy. All that is open is judged anew: the first of it now."""
        there = sum(link.bit for link in self._links if link.is_answering)
        live = sum(link.bit for link in self._links if link.is_live)
        if (there, live) == (self._there, self._live):
            return
        gone = self._there & ~there
        self._there, self._live = there, live
        self._moves += 1
        for link in self._links:
            if link.bit & gone:
                self._queues.pop(link, None)
                self._lost[link] = self._moves
        self._go_on(now)

    @property
    def _is_behind(self) -> bool:
        """Whether there may be askings that were not judged since the links moved."""
        return bool(self._round) or self._round_moves != self._moves

    def _go_on(self, now: float) -> None:
        """Judge the next askings of the round. If links moved during it, another one follows: a
        round that began anew each time would never come to its end while links flap."""
        left = self._bounds.hedge_per_turn
        while left > 0 and self._is_behind:
            if not self._round:
                self._round_moves = self._moves
                self._round.extend(dict.fromkeys(self._askings.values()))
                continue
            asking = self._round.popleft()
            if asking.left:
                self._catch_up(asking, now)
            left -= len(asking.questions) or 1

    def _catch_up(self, asking: Asking, now: float) -> None:
        """Judge an asking if links have moved since it was."""
        if asking.moves != self._moves:
            self._judge(asking, now)

    def _judge(self, asking: Asking, now: float) -> None:
        """Ask whom an asking needs by how the links stand: the next one when nobody is left who may
        answer, and everyone who has come when everyone has been asked, or it may be lost."""
        self._part(asking)
        asking.moves = self._moves
        if not asking.may_be_answered():
            asking.way.fire(AskingEvent.DESERTED)
        while asking.way.state in _PLACED and (link := self._best(now, asking)):
            self._place(asking, link, now)
        if now >= asking.since + self._bounds.join_s and self._best(now, asking):
            self._ask_everyone(asking, now)

    def _part(self, asking: Asking) -> None:
        """Take from an asking what went over connections that were lost since it was judged."""
        if asking.moves != self._moves:
            for link, move in self._lost.items():
                if move > asking.moves:
                    asking.part(link)

    # -- links -------------------------------------------------------------------------------------

    @property
    def waiting(self) -> Collection[Link]:
        """See Policy."""
        return self._queues

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy. Whole lists, until their lines come to more than the high mark."""
        queue, of = self._queues.get(link, deque()), self._askings
        questions: list[bytes] = []
        size = 0
        while queue and size <= self._bounds.waiting_bytes_high:
            root, some = queue.popleft()
            for question in some:
                asking = of.get(question)
                if asking is not None and asking.root is root and not asking.denied & link.bit:
                    asking.admits |= link.bit
                    questions.append(question)
                    size += len(question) + 1
        if not queue:
            self._queues.pop(link, None)
        return questions, not queue

    def _queue(self, link: Link, asking: Asking, questions: list[bytes]) -> None:
        self._queues.setdefault(link, deque()).append((asking.root, questions))
