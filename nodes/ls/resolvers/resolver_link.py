"""Resolver link: a resolver as an upstream, asked and heard by DNS.

Its link is UP while it can be asked, as far as is known: each way to ask says what that means. It
is never HOLDING or STALLED: what it has no room for waits, or is dropped.

Not here: queries and their replies (`resolver.py`).
"""

import math
from collections.abc import Iterable

from core.addresses import are_public
from core.datagram_events import Datagrams
from core.effects import Effect
from core.environment import Environment
from core.events import Closed, ConnectionEvent, Opened, Received
from core.metrics import Value
from core.protocol.outcome import Relayed
from nodes.ls.health import HealthState
from nodes.ls.link import Link
from nodes.ls.link_state import LinkState
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.resolvers.datagram_resolver import DatagramResolver
from nodes.ls.resolvers.failure_streak import FailureStreak
from nodes.ls.resolvers.reply_matcher import QuestionInterest, ResolverReplies
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.resolver import Resolver
from nodes.ls.resolvers.secure_resolver import SecureResolver
from nodes.ls.unanswered import Unanswered
from nodes.ls.upstream import Upstream
from nodes.ls.whereabouts import Host, Whereabouts


class ResolverLink(Upstream):
    """A resolver as an `Upstream`. `connections`: where it puts itself, by the name of each
    connection that it has or is dialling. `grace_s`: the longest that a worse answer waits for it.
    `host`: what its addresses are looked up from; it is asked at the first of them, and at the next
    one when that is of no use. `ranks`: what its replies count as.
    """

    kind = "resolver"
    covers_all_names = True

    def __init__(
        self,
        env: Environment,
        link: Link,
        interest: QuestionInterest,
        connections: dict[str, Upstream],
        grace_s: float | None = None,
        host: Host | None = None,
        ranks: ReplyRanks | None = None,
    ) -> None:
        self.link = link
        self.whereabouts = Whereabouts(link, env, host)
        self.unanswered = Unanswered(env.bounds)
        self._replied = 0
        self._streak = FailureStreak(env.bounds)
        self._ranks = ranks or ReplyRanks(link.conn)
        kind = DatagramResolver if link.identity is None else SecureResolver
        self.resolver: Resolver = kind(env, link, interest, connections, self, self._ranks, grace_s)
        self._was_public = are_public(link.addresses)

    def ask(self, questions: list[bytes], now: float, lines: bytes = b"") -> list[Effect]:
        self.asked += len(questions)
        if self.unanswered.due == math.inf:
            self.due = min(self.due, self.unanswered.begin(now))
        return self._query(questions, now)

    def resume(self, questions: list[bytes], now: float) -> list[Effect]:
        return self._query(questions, now)

    def _query(self, questions: list[bytes], now: float) -> list[Effect]:
        effects = self.resolver.query(questions, now)
        if self.resolver.ageing.due < self.due:
            self.due = self.resolver.ageing.due
        return effects

    @property
    def is_awaited(self) -> bool:
        return (self.link.is_live or self.link.is_coming) and not self.resolver.grace.is_silent

    def grace_s(self, now: float, *, is_failure: bool, is_early: bool) -> float:
        return self.resolver.grace.grace_s(now, is_failure=is_failure)

    def differed(self, now: float) -> bool:
        return self.resolver.grace.differs(now)

    def hurry(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        effects = self.resolver.held(questions, now)
        self.look()
        return effects

    def probe_with(self, question: bytes) -> None:
        self.resolver.probe_with(question)

    def receive(self, event: ConnectionEvent, now: float) -> Replies:
        heard = self.resolver.take(event, now)
        replies = Replies(heard.effects)
        replies.denials, replies.late = heard.denials, heard.late
        replies.has_late_data = heard.differs
        if heard.questions:
            replies.answers = (Relayed(heard.questions, heard.answers),)
        link = self.link
        if isinstance(event, Received | Datagrams):
            replies.effects += self._judge(heard, now)
        if heard.why and link.life.state not in (LinkState.DOWN, LinkState.CLOSING):
            replies.effects += self.give_up(heard.why)
            replies.link_change = LinkChange.OTHER
        elif heard.is_back and link.life.state is LinkState.DIALING:
            self._come_up(replies, now)
        elif heard.is_back:
            replies.link_change = LinkChange.IS_BACK
        if isinstance(event, Opened) and link.life.state is LinkState.DIALING:
            # If it is refused, it comes up when something comes from it.
            if self.resolver.is_ready:
                self._come_up(replies, now)
        elif isinstance(event, Closed) and self.resolver.is_gone:
            if link.life.state is not LinkState.CLOSING:  # else why has been said
                replies.effects += link.health.lost(event.why)
            link.lost(now, self.resolver.redial_s)
            replies.link_change = LinkChange.OTHER
        self.look()
        return replies

    def _judge(self, heard: ResolverReplies, now: float) -> list[Effect]:
        """Count the replies of one read, and say how well the resolver serves by them."""
        failed, refused = heard.late_failures, heard.late_refusals - heard.barred
        for _, said, _ in heard.denials:
            failed += said is QuestionEvent.FAILURE_SAID
            refused += said is QuestionEvent.REFUSAL_SAID
        link = self.link
        link.replies.truncate(heard.truncated)
        count = heard.count
        self._replied += count - heard.tried - heard.truncated
        effects = self._ranks.belief.heard(count)
        streak, health = self._streak, link.health
        if not (failed or refused or streak.count) and health.life.state is HealthState.UP:
            return effects
        if not count:
            return effects
        streak.add(count - failed - refused, failed, refused, now)
        why = streak.why(now)
        if why:
            return effects + health.fails(why)
        self.whereabouts.is_there()
        return effects + health.good()

    def _come_up(self, replies: Replies, now: float) -> None:
        self.link.connected(now)
        replies.link_change = LinkChange.CAME_UP

    def give_up(self, why: str) -> list[Effect]:
        return [*self.link.give_up(why), *self.resolver.close()]

    def moved(self, now: float) -> list[Effect]:
        was_public, self._was_public = self._was_public, are_public(self.link.addresses)
        if self._was_public and not was_public:  # it may not be asked all that it was
            self.resolver.start_over()
            return self.give_up("it has moved out of this network")
        effects = self.resolver.move(now)
        self.look()
        return effects

    def look(self) -> None:
        at = self.link if self.link.addresses else self.whereabouts
        self.due = min(at.due(), self.resolver.due(), self.unanswered.due)

    def woken(self, now: float) -> list[Effect]:
        effects = self.resolver.woken(now) if self.resolver.due() <= now else []
        if self.unanswered.due <= now:
            self.unanswered.look(self.asked, self._replied, now)
        if not self.link.addresses:
            if self.whereabouts.due() <= now:
                effects += self.whereabouts.look_up()
        elif self.link.due() <= now:
            effects += self._dial()
        if self.link.addresses and self.link.health.is_bad:
            effects += self._look_elsewhere(now)
        self.look()
        return effects

    def _dial(self) -> list[Effect]:
        if self.link.dials:
            self._turn_to_next_address()
        self.link.dialled()
        return self.resolver.dial()

    def _look_elsewhere(self, now: float) -> list[Effect]:
        """Look up a resolver that has not been well for long, and ask it elsewhere meanwhile, if
        it has another address."""
        lookup = self.whereabouts.look_up_if_long_away(now)
        is_parted = self.link.life.state in (LinkState.DOWN, LinkState.CLOSING)
        if not lookup or is_parted or len(self.link.addresses) == 1:
            return lookup
        self._turn_to_next_address()
        return lookup + self.resolver.move(now)

    def _turn_to_next_address(self) -> None:
        first, *others = self.link.addresses
        self.link.addresses = (*others, first)

    def part(self) -> list[Effect]:
        link = self.link
        link.retire()
        if link.life.state in (LinkState.DOWN, LinkState.CLOSING):
            return []
        effects = self.give_up("")
        if self.resolver.is_gone:  # it had no connection, so none will be closed
            link.lost(0.0)
        return effects

    def metrics(self) -> list[Value]:
        return self.resolver.metrics() + self._ranks.metrics()
