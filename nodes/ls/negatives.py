"""Negatives: what servers have said of open questions that is no answer, and when that decides.

Four rules. NOT FOUND of a TS says only that its own table does not have the name: it decides when
every configured server has denied, since one that is down, stalled or silent may have it. BOGUS, of
a resolver that validates, ends a question at once: nobody can be believed better. Everything else
that is no answer is *held*, for a grace, until every server that is awaited has denied, and the
best of it is then what was said; which is the best, the machine says (`outcomes.py`). That a table
shows that a name exists (NAME_SAID) begins no grace: it is held for as long as somebody may have
more to say. All that a TS has said on a connection is forgotten with it.

Nothing is kept of a question that nobody has denied, and so nothing at all where TSs are silent
about what they do not know.

Not here: whom to ask next (`policy.py`), how long something is held (`hold_times.py`), and what
follows when data comes after it (`early_negatives.py`).
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from itertools import count

from core.bounds import Bounds
from core.effects import Effect
from core.protocol.outcome import Denied, Relayed, RelayedReply
from nodes.ls.early_negatives import EarlyNegatives
from nodes.ls.held_negative import SAYS_NO_DATA, HeldNegative
from nodes.ls.hold_times import HoldTimes
from nodes.ls.observer import Observer, hearers
from nodes.ls.outcomes import QuestionEvent, QuestionState, negative_after, state_after
from nodes.ls.questions import Questions
from nodes.ls.replies import Denial
from nodes.ls.server_set import ServerSet, has_all, without
from nodes.ls.upstream import Upstream
from nodes.ls.upstreams import Upstreams

_BOGUS_SAID = QuestionEvent.BOGUS_SAID
_NAME_EXISTS = frozenset({QuestionState.NAME_HELD, QuestionState.NO_DATA_HELD})
_DENIES = frozenset({QuestionEvent.NOT_FOUND_SAID, QuestionEvent.NO_DATA_SAID})


class HeldNegatives(Observer):
    """All open questions of which a server has said that it has nothing."""

    def __init__(self, questions: Questions, upstreams: Upstreams, bounds: Bounds) -> None:
        self._hear_released: Sequence[Observer] = ()
        self._times = HoldTimes(bounds, upstreams)
        self._questions = questions
        self._upstreams = upstreams
        # The servers that have denied each question, or cannot be asked it.
        self._deniers: dict[bytes, ServerSet] = {}
        self.kept = self._deniers
        self._held: dict[bytes, HeldNegative] = {}
        # A heap of when each is released; some are settled by then, or are released sooner.
        self._releases: list[tuple[float, int, HeldNegative]] = []
        self.due = math.inf  # see `Timed`
        self._number = count()
        self.early = EarlyNegatives(self.differed)

    def tell(self, observers: Sequence[Observer]) -> None:
        """Tell these from now on what is told of what was held."""
        self._hear_released = hearers(observers, "released")

    # -- replies of servers ------------------------------------------------------------------------

    def add(
        self, servers: ServerSet, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> list[Effect]:
        """Take what servers say of open questions: `unknown` to their tables, `denials` of the
        world. End what that decides."""
        ended: list[Effect] = []
        if any(event is _BOGUS_SAID for _, event, _ in denials):
            ended, denials = self._end_bogus(denials, now)
        awaited = self._upstreams.awaited
        for question, event, reply in denials:
            deniers = self._deniers[question] = self._deniers_of(question) | servers
            held = self._hold(servers, question, event, reply, now)
            held.heard |= servers
            if event in _DENIES:
                held.agreed |= servers
            left = without(awaited, deniers | held.moot)
            self._shorten(held, self._times.after(event, held, left, now), now)
        nowhere: dict[bytes, None] = {}
        enough: dict[bytes, HeldNegative] = {}
        for question in [*[question for question, _, _ in denials], *unknown]:
            deniers = self._deniers[question] = self._deniers_of(question) | servers
            if question in self._held:
                if self._is_enough(self._held[question]):
                    enough[question] = self._held[question]
            elif deniers == self._upstreams.everyone:
                nowhere[question] = None
        effects = self._release(list(enough.values()), now)
        if nowhere:
            end = QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND
            effects += self._end_plainly(list(nowhere), *end, now)
        return ended + effects

    def _end_bogus(
        self, denials: Sequence[Denial], now: float
    ) -> tuple[list[Effect], Sequence[Denial]]:
        """End at once what a validator says to be bogus, whatever is held of it; return what is
        left of these denials, too."""
        bogus = {question: reply for question, event, reply in denials if event is _BOGUS_SAID}
        by_state: dict[QuestionState, list[bytes]] = {}
        for question in bogus:
            held = self._held.get(question)
            by_state.setdefault(held.best if held else QuestionState.OPEN, []).append(question)
        effects: list[Effect] = []
        for state, questions in by_state.items():
            relayed = Relayed(questions, [bogus[question] for question in questions])
            effects += self._questions.end(relayed, state, _BOGUS_SAID, now)
        return effects, [denial for denial in denials if denial[0] not in bogus]

    def _deniers_of(self, question: bytes) -> ServerSet:
        deniers = self._deniers.get(question)
        return self._upstreams.unable(question) if deniers is None else deniers

    def _is_enough(self, held: HeldNegative) -> bool:
        """Return whether nobody is waited for any more. With old data at hand, whoever is silent
        has a chance, too."""
        deniers = self._deniers[held.question]
        if not has_all(deniers | held.moot, self._upstreams.awaited):
            return False
        is_stale = held.best is QuestionState.STALE_HELD
        return not is_stale or has_all(deniers, self._upstreams.live_resolvers)

    def _hold(
        self,
        servers: ServerSet,
        question: bytes,
        event: QuestionEvent,
        reply: RelayedReply | None,
        now: float,
    ) -> HeldNegative:
        """Keep this, if it is better than what is held."""
        held = self._held.get(question)
        if held is None:
            held = HeldNegative(question, QuestionState.OPEN, None, now, now, math.inf)
            self._held[question] = held
        better = state_after(held.best, event)
        if better is not held.best:
            if held.best is QuestionState.STALE_HELD:
                held.until = math.inf  # that was for the old data
            held.best, held.said_at, held.said_by = better, now, servers
            # NXDOMAIN of a name that exists becomes NO DATA, which the reply does not say.
            says_so = state_after(QuestionState.OPEN, event) is better
            held.reply = reply if says_so else None
            if better in _NAME_EXISTS:
                held.moot = self._upstreams.without_data(question)
        return held

    def _shorten(self, held: HeldNegative, until: float, now: float) -> None:
        """Shorten a hold: fewer or faster servers may be left."""
        if until < held.until:
            if held.until == math.inf:
                held.since = now
            self._schedule(held, until)

    def _schedule(self, held: HeldNegative, until: float) -> None:
        held.until = until
        heapq.heappush(self._releases, (until, next(self._number), held))
        self.due = min(self.due, until)

    # -- releasing ---------------------------------------------------------------------------------

    def _next_release(self) -> float:
        """Return when the first one is released; infinite for never."""
        releases = self._releases
        while releases and not self._is_scheduled(releases[0][2], releases[0][0]):
            heapq.heappop(releases)
        return releases[0][0] if releases else math.inf

    def _is_scheduled(self, held: HeldNegative, until: float) -> bool:
        return held.until == until and self._held.get(held.question) is held

    def woken(self, now: float) -> list[Effect]:
        """Release what has been held long enough, and what clients wait for no longer."""
        due: dict[bytes, HeldNegative] = {}
        if self._held and self._questions.due <= now:
            for question in self._questions.due_questions(now):
                if question in self._held:
                    due[question] = self._held[question]
        while self._next_release() <= now:
            held = heapq.heappop(self._releases)[2]
            due[held.question] = held
        for question, held in due.items():
            if held.best in SAYS_NO_DATA:
                self.early.add(question)
        effects = self._release(list(due.values()), now)
        self.due = self._next_release()
        return effects

    def fail(self, questions: list[bytes], now: float) -> list[Effect]:
        """Let servers that are down count as if they had said SERVFAIL to these open questions,
        where no server is awaited whose failure would count."""
        upstreams = self._upstreams
        if not questions:
            return []
        upstreams.probe_with(questions[-1])
        questions = [question for question in questions if upstreams.fails_at_once(question)]
        denials = [(question, QuestionEvent.FAILURE_SAID, None) for question in questions]
        return self.add(upstreams.failing, (), denials, now)

    def _release(self, enough: list[HeldNegative], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for observer in self._hear_released if enough else ():
            effects += observer.released(enough, now)
        released = QuestionEvent.RELEASED
        for state in dict.fromkeys([held.best for held in enough]):
            of_state = [held for held in enough if held.best is state]
            plain = [held.question for held in of_state if held.reply is None]
            effects += self._end_plainly(plain, state, released, now)
            replied = [held for held in of_state if held.reply is not None]
            if replied:
                questions = [held.question for held in replied]
                relayed = Relayed(questions, [held.reply for held in replied])
                if state_after(state, released) is QuestionState.ANSWERED:
                    effects += self._questions.answer(relayed, now)[0]
                else:
                    effects += self._questions.end(relayed, state, released, now)
        return effects

    def _end_plainly(
        self, questions: list[bytes], state: QuestionState, event: QuestionEvent, now: float
    ) -> list[Effect]:
        if not questions:
            return []
        denied = Denied(questions, questions, negative_after(state, event))
        return self._questions.end(denied, state, event, now)

    # -- views -------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is kept of any question."""
        return not self._deniers and not self._held

    def is_held(self, question: bytes) -> bool:
        """Return whether something worse than data is held of it, for a grace."""
        held = self._held.get(question)
        return held is not None and held.until < math.inf

    def are_denied(self, questions: Iterable[bytes]) -> bool:
        """Return whether a server has said of one of them that it has nothing."""
        return not self._deniers.keys().isdisjoint(questions)

    # -- events of questions and upstreams: see `Observer` -----------------------------------------

    def differed(self, upstream: Upstream, now: float) -> Iterable[Effect]:
        """Wait longer for a server from now on: it has been seen to have what others denied."""
        if not upstream.differed(now):
            return ()
        bit = upstream.link.bit
        for question, held in self._held.items():
            if held.best in SAYS_NO_DATA and not self._deniers[question] & bit:
                until = held.since + self._times.grace_s(held, bit, now)
                if until > held.until:
                    self._schedule(held, until)
        return ()

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        """Forget what servers said on earlier connections, and release what nobody can better any
        more."""
        if not reconnected and not unawaited:
            return ()
        if reconnected:
            self._forget_servers(reconnected)
        effects = self._release(list(filter(self._is_enough, self._held.values())), now)
        if unawaited and self._upstreams.failing:
            effects += self.fail(self._questions.all_open(), now)
        return effects

    def admitted(
        self, upstream: Upstream, questions: Sequence[bytes], now: float
    ) -> Iterable[Effect]:
        """Compare answers with what others said: if NXDOMAIN or NO DATA is the best that is held of
        one of these, the server differs."""
        held = self._held
        for question in questions:
            if question in held and held[question].best in SAYS_NO_DATA:
                return self.differed(upstream, now)
        return ()

    def asked_again(self, questions: Sequence[bytes]) -> None:
        """Forget who has denied these, but for those of which something is held."""
        for question in questions:
            if question not in self._held:
                self._deniers.pop(question, None)

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for question in questions:
            self._deniers.pop(question, None)
            self._held.pop(question, None)
        if not self._held:
            self._releases.clear()
            self.due = math.inf
        return ()

    def _forget_servers(self, servers: ServerSet) -> None:
        """Forget what these have said: their connections are gone."""
        for question, deniers in list(self._deniers.items()):
            if deniers & servers:
                unable = self._upstreams.unable(question)
                others = without(deniers, servers)
                self._deniers[question] = others | unable
                if has_all(unable, others) and question not in self._held:
                    del self._deniers[question]
