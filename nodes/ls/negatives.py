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

import math
from collections.abc import Callable, Iterable, Sequence

from core.bounds import Bounds
from core.effects import Effect
from core.protocol.outcome import Denied, Relayed, RelayedReply
from nodes.ls.early_negatives import EarlyNegatives
from nodes.ls.held_negative import SAYS_NO_DATA, HeldNegative
from nodes.ls.hold_schedule import HoldSchedule
from nodes.ls.hold_times import HoldTimes
from nodes.ls.observer import Observer, hearers
from nodes.ls.outcomes import QuestionEvent, QuestionState, negative_after, state_after
from nodes.ls.questions import Questions
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet, has_all, without
from nodes.ls.tiers.tier_turn import TierEvent
from nodes.ls.upstream import Upstream
from nodes.ls.upstreams import Upstreams

_BOGUS_SAID = QuestionEvent.BOGUS_SAID
_NAME_EXISTS = frozenset({QuestionState.NAME_HELD, QuestionState.NO_DATA_HELD})
_DENIES = frozenset({QuestionEvent.NOT_FOUND_SAID, QuestionEvent.NO_DATA_SAID})

NextTier = Callable[[list[bytes], TierEvent, float], tuple[list[bytes], list[Denial]]]


class HeldNegatives(Observer):
    """All open questions of which a server has said that it has nothing."""

    def __init__(self, questions: Questions, upstreams: Upstreams, bounds: Bounds) -> None:
        self._hear_released: Sequence[Observer] = ()
        self._next_tier: NextTier | None = None
        self._times = HoldTimes(bounds, upstreams)
        self._questions = questions
        self._upstreams = upstreams
        # The servers that have denied each question.
        self._deniers: dict[bytes, ServerSet] = {}
        self.kept = self._deniers
        self._held: dict[bytes, HeldNegative] = {}
        self.schedule = HoldSchedule(self._release_due)
        self.early = EarlyNegatives(self.differed)

    def tell(self, observers: Sequence[Observer], next_tier: NextTier | None = None) -> None:
        """Tell these from now on what is told of what was held. `next_tier`: see `TierPolicy`."""
        self._hear_released = hearers(observers, "released")
        self._next_tier = next_tier

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
            self._deniers[question] = self._deniers.get(question, NO_SERVERS) | servers
            held = self._hold(servers, question, event, reply, now)
            held.heard |= servers
            if event in _DENIES:
                held.agreed |= servers
            left = without(awaited, self._spoken(question) | held.moot)
            self.schedule.shorten(held, self._times.after(event, held, left, now), now)
        for question in unknown:
            self._deniers[question] = self._deniers.get(question, NO_SERVERS) | servers
        unheld: dict[bytes, None] = {}
        enough: dict[bytes, HeldNegative] = {}
        for question in [*[question for question, _, _ in denials], *unknown]:
            if question not in self._held:
                unheld[question] = None
            elif self._is_enough(self._held[question]):
                enough[question] = self._held[question]
        effects = self._decide(list(enough.values()), now)
        if unheld:
            effects += self._end_unheld(list(unheld), now)
        return ended + effects

    def slow(self, questions: list[bytes], now: float) -> list[Effect]:
        """Have the next tier asked for those of these open questions of which nothing has been said
        about the name: the time of their tier is over."""
        quiet = [q for q in questions if q not in self._held or self._held[q].is_weak]
        return self._ask_next_tier(quiet, TierEvent.TIER_SLOW, now)[1]

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

    def _spoken(self, question: bytes) -> ServerSet:
        """Return those that have denied this, and those that cannot be asked it, or need not."""
        return self._deniers.get(question, NO_SERVERS) | self._upstreams.unable(question)

    def _is_enough(self, held: HeldNegative) -> bool:
        """Return whether nobody is waited for any more. With old data at hand, whoever is silent
        has a chance, too."""
        deniers = self._spoken(held.question)
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

    # -- deciding ----------------------------------------------------------------------------------

    def _end_unheld(self, questions: list[bytes], now: float) -> list[Effect]:
        """End questions of which tables alone have said that they do not have them, if all have."""
        effects: list[Effect] = []
        if self._next_tier is not None:
            quiet = [q for q in questions if has_all(self._spoken(q), self._upstreams.awaited)]
            gone_on, effects = self._ask_next_tier(quiet, TierEvent.TIER_FAILED, now)
            questions = [question for question in questions if question not in gone_on]
        everyone = self._upstreams.everyone
        nowhere = [question for question in questions if has_all(self._spoken(question), everyone)]
        end = QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND
        return effects + self._end_plainly(nowhere, *end, now)

    def _decide(self, enough: list[HeldNegative], now: float) -> list[Effect]:
        """Release these, but for those of which nothing has been said about the name while there is
        a tier that was not asked."""
        if self._next_tier is None:
            return self._release(enough, now)
        weak = [held.question for held in enough if held.is_weak]
        gone_on, effects = self._ask_next_tier(weak, TierEvent.TIER_FAILED, now)
        return effects + self._release(
            [held for held in enough if held.question not in gone_on], now
        )

    def _ask_next_tier(
        self, questions: list[bytes], event: TierEvent, now: float
    ) -> tuple[set[bytes], list[Effect]]:
        """Have the next tier asked for these; return those for which there was one. Negatives that
        are held of them are held as if they had been said now."""
        if not questions or self._next_tier is None:
            return set(), []
        gone_on, words = self._next_tier(questions, event, now)
        for question in gone_on:
            held = self._held.get(question)
            if held is not None and (held.heard or held.until <= now):
                left = without(self._upstreams.awaited, self._spoken(question) | held.moot)
                held.until = math.inf
                failed = QuestionEvent.FAILURE_SAID
                self.schedule.shorten(held, self._times.after(failed, held, left, now), now)
        effects = self.fail(gone_on, now) if self._upstreams.failing else []
        effects += self.add(NO_SERVERS, (), words, now)
        held_on = [self._held[question] for question in gone_on if question in self._held]
        effects += self._decide(list(filter(self._is_enough, held_on)), now)
        return set(gone_on), effects

    # -- releasing ---------------------------------------------------------------------------------

    def _release_due(self, due: list[HeldNegative], now: float) -> list[Effect]:
        """Release what has been held long enough, and what clients wait for no longer."""
        last: dict[bytes, HeldNegative] = {}
        if self._held and self._questions.due <= now:
            for question in self._questions.due_questions(now):
                if question in self._held:
                    last[question] = self._held[question]
        due = [held for held in due if held.question not in last]
        for held in [*last.values(), *due]:
            if held.best in SAYS_NO_DATA:
                self.early.add(held.question)
        if later := self._upstreams.barred.later:
            # A tier has its time, whatever the grace, while one of its servers may have the name.
            tiered = (held for held in due if held.is_weak and held.question in later)
            waiting = {held.question for held in tiered if not self._is_enough(held)}
            due = [held for held in due if held.question not in waiting]
        return self._release(list(last.values()), now) + self._decide(due, now)

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
            if held.best in SAYS_NO_DATA and not self._spoken(question) & bit:
                until = held.since + self._times.grace_s(held, bit, now)
                if until > held.until:
                    self.schedule.add(held, until)
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
        effects = self._decide(list(filter(self._is_enough, self._held.values())), now)
        if unawaited and self._upstreams.failing:
            effects += self.fail(self._questions.all_open(), now)
        if unawaited and self._next_tier is not None:
            unheld = [q for q in self._questions.all_open() if q not in self._held]
            effects += self._end_unheld(unheld, now)
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
            held = self._held.pop(question, None)
            if held is not None:
                held.until = math.inf
        if not self._held:
            self.schedule.clear()
        return ()

    def _forget_servers(self, servers: ServerSet) -> None:
        """Forget what these have said: their connections are gone."""
        for question, deniers in list(self._deniers.items()):
            if deniers & servers:
                self._deniers[question] = without(deniers, servers)
                if not self._deniers[question] and question not in self._held:
                    del self._deniers[question]
