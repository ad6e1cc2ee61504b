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

Not here: what fast is (`nodes/balancer/pace.py`), and who waits (`nodes/balancer/race.py`).
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count, groupby, islice, repeat

from core.bounds import Bounds
from core.figures import Figure, Value
from core.machine import STAY, Machine, Sign, Table
from nodes.balancer.link import Link, Tie
from nodes.balancer.pace import Pace, Quantile
from nodes.balancer.policy import Shares

_PREFERRED = {Tie.UP: 0, Tie.HOLDING: 1, Tie.CATCHING_UP: 2}  # before what is known of their pace


class Way(Sign):
    """How far an asking has come."""

    NOWHERE = "no TS that may still answer has been asked"
    ASKED = "the TS that was asked last has time to answer"
    LATE = "it has had it: the next TS is asked when the budget allows"
    EVERYWHERE = "every TS that is there has been asked"


class Push(Sign):
    """What happens to an asking."""

    PLACED = "a TS is asked, outside the budget"
    DELAY_OVER = "the delay is over"
    HEDGED = "the budget allows one more TS"
    ALL_ASKED = "there is no TS left to ask"
    DESERTED = "every TS that was asked is gone, stalled, or has nothing"


W, P = Way, Push
ASKING: Table[Way, Push] = {
    W.NOWHERE: {P.PLACED: W.ASKED, P.DESERTED: STAY},
    W.ASKED: {P.DELAY_OVER: W.LATE, P.ALL_ASKED: W.EVERYWHERE, P.DESERTED: W.NOWHERE},
    W.LATE: {P.HEDGED: W.ASKED, P.ALL_ASKED: W.EVERYWHERE, P.DESERTED: W.NOWHERE},
    W.EVERYWHERE: {P.PLACED: STAY, P.ALL_ASKED: STAY, P.DESERTED: W.NOWHERE},
}


class Asking:
    """Questions that were asked together, and have gone the same way since."""

    __slots__ = (
        "admits", "denied", "due", "explores", "left", "questions", "root", "sent", "since",
        "unable", "way",
    )  # fmt: skip

    def __init__(self, questions: list[bytes], since: float, whole: "Asking | None" = None) -> None:
        """A new one, or one for a part of the questions of another."""
        self.questions = questions  # some may be answered, or belong to a later asking by now
        self.left = len(questions)  # those that are and do not
        self.since = since
        self.due = math.inf  # when it is looked at again
        start = Way.NOWHERE if whole is None else whole.way.state
        self.way: Machine[Way, Push] = Machine(ASKING, start, "asking")
        self.sent: dict[Link, float] = {}  # to whom it went and when, the first one first
        self.admits = 0  # bits of those that were sent it, or an earlier asking of the same
        self.root: Asking = self if whole is None else whole.root  # what it was split off from
        self.denied = 0  # bits of those that have nothing
        self.unable = 0  # bits of those among them that cannot be asked it
        self.explores = False
        if whole is not None:
            self.sent = dict(whole.sent)
            self.admits, self.denied, self.unable = whole.admits, whole.denied, whole.unable
            self.explores = whole.explores
            whole.left -= len(questions)

    def part(self, link: Link) -> None:
        """The link's connection is gone, and all that went over it."""
        self.admits &= ~link.bit
        self.denied &= ~link.bit | self.unable
        self.sent.pop(link, None)

    def may_be_answered(self) -> bool:
        """Whether there is a TS that was asked and may still answer."""
        return any(link.is_live and not link.bit & self.denied for link in self.sent)


HEDGED = Figure("hedged", "Questions that were asked of one more table server for speed")


class Budget:
    """Tokens for speculative questions: `share` of one comes with each question."""

    def __init__(self, share: float, tokens_max: int) -> None:
        self._share = share
        self._tokens_max = tokens_max
        self.tokens = 0.0

    def earn(self, questions: int) -> None:
        self.tokens = min(self.tokens + self._share * questions, self._tokens_max)


class Hedge:
    """A policy; see `nodes/balancer/policy.py`. `extra_load`: the share, 0.05 for 5 %.
    `unable(question)`: the bits of those that cannot be asked it; without it, everyone can."""

    def __init__(
        self,
        links: Sequence[Link],
        bounds: Bounds,
        extra_load: float,
        unable: Callable[[bytes], int] | None = None,
    ) -> None:
        self._links = links
        self._unable = unable
        self._bounds = bounds
        self._askings: dict[bytes, Asking] = {}  # of each open question
        self._paces = {link: Pace() for link in links}
        self._times = Quantile(1 - extra_load)
        self._budget = Budget(extra_load, bounds.hedge_tokens_max)
        self._looks: list[tuple[float, int, Asking]] = []  # a heap: which is looked at when
        self._number = count()
        self._late: deque[tuple[Asking, Iterator[bytes]]] = deque()  # they wait for tokens
        self._queues: dict[Link, deque[tuple[Asking, list[bytes]]]] = {}  # none of them empty
        self._there = 0  # the bits of those that may answer, as they were
        self._live = 0  # the same of those that are asked for things
        self._unexplored = 0.0
        self._by_exploring = list(links)  # the one explored longest ago first
        self.hedged = 0  # speculative questions

    def figures(self) -> list[Value]:
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
        """Usually one. What is asked again is as old as it was, and who was sent it may answer.
        What some cannot be asked goes its own way."""
        unable, of = self._unable, self._askings
        if unable is None and of.keys().isdisjoint(questions):
            return [Asking(questions, now)] if questions else []
        parted: dict[tuple[Asking | None, int], list[bytes]] = {}
        for question in questions:
            kind = of.get(question), 0 if unable is None else unable(question)
            parted.setdefault(kind, []).append(question)
        askings = []
        for (before, bits), some in parted.items():
            asking = Asking(some, now)
            asking.denied = asking.unable = bits
            if before is not None:
                before.left -= len(some)
                asking.since, asking.admits = before.since, before.admits
            askings.append(asking)
        return askings

    def _begin(
        self, asking: Asking, link: Link | None, now: float
    ) -> list[tuple[Link, list[bytes]]]:
        """Ask a link, if there is one; another one, if it is unable."""
        questions = asking.questions
        if link is not None and link.bit & asking.unable:
            link = self._best(now, asking)
        self._askings.update(dict.fromkeys(questions, asking))
        if link is None:
            return []
        asking.way.fire(Push.PLACED)
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
            if link is not fastest and link.life.state is Tie.UP:
                self._by_exploring.remove(link)
                self._by_exploring.append(link)
                return link
        return None

    def _best(self, now: float, asking: Asking | None = None) -> Link | None:
        """The live link to ask next, one that this asking has not been sent to and that has not
        denied it; of equals, the first."""
        sent, denied = ((), 0) if asking is None else (asking.sent, asking.denied)
        return min(
            (
                link
                for link in self._links
                if link.is_live and link not in sent and not link.bit & denied
            ),
            key=lambda link: (_PREFERRED[link.life.state], self._paces[link].mean_s(now)),
            default=None,
        )

    def _delay_s(self, now: float) -> float:
        bounds = self._bounds
        most = min(self._times.seconds(now), bounds.hedge_delay_max_s)
        return max(bounds.hedge_delay_min_s, most)

    # -- what becomes of them ----------------------------------------------------------------------

    def admits(self, link: Link, questions: list[bytes]) -> list[bool] | None:
        """See Policy."""
        askings = map(self._askings.get, questions)
        admitted = [asking is not None and bool(asking.admits & link.bit) for asking in askings]
        return None if all(admitted) else admitted

    def answered(self, link: Link, questions: list[bytes], now: float) -> None:
        """See Policy."""
        for asking, run in groupby(map(self._askings.pop, questions, repeat(None))):
            if asking is not None:
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
            self._learn(asking, link, len(parted), now)
            part = asking if len(parted) == asking.left else self._split(asking, parted)
            part.denied |= link.bit
            self._move_on(part, now)

    def closed(self, questions: Iterable[bytes]) -> None:
        """See Policy."""
        for asking in filter(None, map(self._askings.pop, questions, repeat(None))):
            asking.left -= 1

    def _learn(self, asking: Asking, link: Link, number: int, now: float) -> None:
        """A link has replied; those that were asked as well have taken so long at least."""
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
        part = Asking(questions, asking.since, asking)
        self._askings.update(dict.fromkeys(questions, part))
        if part.way.state is Way.LATE:
            self._late.append((part, iter(questions)))
        if asking.due < math.inf:
            self._look_at(part, asking.due)
        return part

    # -- the next TS -------------------------------------------------------------------------------

    def due(self) -> float:
        """When it wants to be woken; infinite for never. What is settled, or is looked at another
        time, is not waited for."""
        looks = self._looks
        while looks and (not looks[0][2].left or looks[0][0] != looks[0][2].due):
            heapq.heappop(looks)
        return looks[0][0] if looks else math.inf

    def woken(self, now: float) -> None:
        """It is so late: look at what is due, and spend what there is."""
        while self.due() <= now:
            self._look(heapq.heappop(self._looks)[2], now)
        self._spend(now)

    def _look_at(self, asking: Asking, due: float) -> None:
        asking.due = due
        heapq.heappush(self._looks, (due, next(self._number), asking))

    def _look_soon(self, asking: Asking, now: float) -> None:
        """When the delay is over, or when it may be thought lost if that is sooner."""
        due, lost_at = now + self._delay_s(now), asking.since + self._bounds.join_s
        self._look_at(asking, min(due, lost_at) if now < lost_at else due)

    def _look(self, asking: Asking, now: float) -> None:
        """The delay is over, or it is time to see how things stand: at twice the age again."""
        asking.due = math.inf
        if asking.way.state is Way.NOWHERE:  # whoever comes is asked
            return
        for link, sent_at in asking.sent.items():
            if link.is_live and not link.bit & asking.denied:
                self._paces[link].add(now - sent_at, asking.left, now)
        lost_at = asking.since + self._bounds.join_s
        if now >= lost_at:
            self._ask_everyone(asking, now)
            return
        if asking.way.state is Way.ASKED:
            if self._best(now, asking) is None:
                asking.way.fire(Push.ALL_ASKED)
            else:
                asking.way.fire(Push.DELAY_OVER)
                asking.questions = self._open(asking)
                self._late.append((asking, iter(asking.questions)))
        again = now + max(now - asking.since, self._bounds.hedge_delay_min_s)
        self._look_at(asking, min(again, lost_at))

    def _ask_everyone(self, asking: Asking, now: float) -> None:
        asking.way.fire(Push.ALL_ASKED)
        questions = self._open(asking)
        while link := self._best(now, asking):
            asking.sent[link] = now
            self._queue(link, asking, questions)

    def _spend(self, now: float) -> None:
        """Ask the next TS for as many late questions as there are tokens, oldest first."""
        late, of = self._late, self._askings
        while late and (late[0][0].way.state is not Way.LATE or not late[0][0].left):
            late.popleft()
        while late and self._budget.tokens >= 1:
            asking, questions = late[0]
            is_open = (question for question in questions if of.get(question) is asking)
            link = None
            if asking.way.state is Way.LATE:
                link = self._best(now, asking)
                if link is None:
                    asking.way.fire(Push.ALL_ASKED)
            few = [] if link is None else list(islice(is_open, int(self._budget.tokens)))
            if not few or link is None:
                late.popleft()
                continue
            self._budget.tokens -= len(few)
            self.hedged += len(few)
            part = Asking(few, asking.since, asking)
            self._askings.update(dict.fromkeys(few, part))
            part.way.fire(Push.HEDGED)
            part.sent[link] = now
            self._queue(link, part, few)
            self._look_soon(part, now)

    def _move_on(self, asking: Asking, now: float) -> None:
        """Ask the next TS at once when nobody is left who may answer."""
        if asking.may_be_answered():
            return
        asking.way.fire(Push.DESERTED)
        if link := self._best(now, asking):
            self._place(asking, link, now)

    def _place(self, asking: Asking, link: Link, now: float) -> None:
        """Ask a link outside the budget."""
        asking.way.fire(Push.PLACED)
        asking.sent[link] = now
        asking.questions = self._open(asking)
        self._queue(link, asking, asking.questions)
        self._look_soon(asking, now)

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

    def links_moved(self, now: float) -> None:
        """See Policy."""
        there = sum(link.bit for link in self._links if link.is_answering)
        live = sum(link.bit for link in self._links if link.is_live)
        if (there, live) == (self._there, self._live):
            return
        gone, lame, new = self._there & ~there, self._live & ~live, live & ~self._live
        self._there, self._live = there, live
        askings = dict.fromkeys(self._askings.values())
        for link in self._links:
            if link.bit & gone:
                self._queues.pop(link, None)
                for asking in askings:
                    asking.part(link)
        if lame:  # a stalled one may still answer what it was sent, but nobody waits for it
            for asking in askings:
                self._move_on(asking, now)
        for link in self._links:
            if link.bit & new:
                self._meet(link, askings, now)

    def _meet(self, link: Link, askings: Iterable[Asking], now: float) -> None:
        """A link has come: it is asked for what nobody is, and for what everybody has been."""
        for asking in askings:
            if link in asking.sent or link.bit & asking.unable:
                continue
            if asking.way.state in (Way.NOWHERE, Way.EVERYWHERE):
                self._place(asking, link, now)
            elif now >= asking.since + self._bounds.join_s:
                self._ask_everyone(asking, now)
