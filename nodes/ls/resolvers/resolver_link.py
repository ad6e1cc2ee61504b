"""Resolver link: a resolver as an upstream, asked and heard by DNS.

For want of a connection its link is UP when there is a socket; one that was refused only when it
has replied again. It is never HOLDING or STALLED: what it has no room for waits, or is dropped.

Not here: queries and their replies (`resolver.py`).
"""

from collections.abc import Iterable

from core.effects import Effect
from core.events import Closed, ConnectionEvent, Opened
from core.operator import Report
from core.protocol.outcome import Relayed
from nodes.ls.link_state import LinkState
from nodes.ls.replies import LinkNews, Replies
from nodes.ls.resolvers.resolver import Resolver
from nodes.ls.upstream import Upstream


class ResolverLink(Resolver, Upstream):
    """A resolver as an `Upstream`."""

    is_decisive = is_timed = True

    def ask(self, questions: list[bytes], now: float, lines: bytes = b"") -> list[Effect]:
        self.link.sent(len(questions))
        return self.query(questions, now)

    def resume(self, questions: list[bytes], now: float) -> list[Effect]:
        return self.query(questions, now)

    @property
    def is_awaited(self) -> bool:
        return self.link.is_live and not self.grace.is_silent

    def grace_s(self, now: float, *, is_failure: bool, is_early: bool) -> float:
        return self.grace.grace_s(now, is_failure=is_failure)

    def has_differed(self, now: float) -> bool:
        return self.grace.differs(now)

    def hurry(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        return self.held(questions, now)

    def probe_with(self, question: bytes) -> None:
        self.reachability.question = question

    def receive(self, event: ConnectionEvent, now: float) -> Replies:
        heard = self.take(event, now)
        replies = Replies(heard.effects)
        replies.denials, replies.late = heard.denials, heard.late
        replies.has_late_data = heard.differs
        if heard.questions:
            replies.answers = (Relayed(heard.questions, heard.answers),)
        link = self.link
        if heard.why and link.life.state not in (LinkState.DOWN, LinkState.CLOSING):
            replies.effects += self.give_up(heard.why)
            replies.news = LinkNews.CHANGED
        elif heard.is_back and link.life.state is LinkState.DIALING:
            self._come_up(replies, now)
        elif heard.is_back:
            replies.news = LinkNews.IS_BACK
        if isinstance(event, Opened) and link.life.state is LinkState.DIALING:
            if not self.reachability.is_refused:  # else it is when something comes from it
                self._come_up(replies, now)
        elif isinstance(event, Closed) and not self.has_sockets:
            link.lost(now, self._bounds.probe_s)
            replies.effects += link.say_down(event.why)
            replies.news = LinkNews.CHANGED
        return replies

    def _come_up(self, replies: Replies, now: float) -> None:
        if self.link.connected(now):
            replies.effects.append(Report(f"{self.link.conn} is up"))
        replies.news = LinkNews.CAME_UP

    def give_up(self, why: str) -> list[Effect]:
        return [*self.link.give_up(why), *super().part()]

    def due(self) -> float:
        return min(self.link.due(), super().due())

    def woken(self, now: float) -> list[Effect]:
        effects = super().woken(now) if super().due() <= now else []
        if self.link.due() <= now:
            self.link.dialled()
            effects += self.dial()
        return effects

    def part(self) -> list[Effect]:
        link = self.link
        link.retire()
        if link.life.state in (LinkState.DOWN, LinkState.CLOSING):
            return []
        return self.give_up("")
