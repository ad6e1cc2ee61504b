"""The load balancer (LS): asks every upstream, and relays the first good answer.

It stores no names. It routes events to its parts, in order: a read of a client becomes questions,
which the policy deals out to upstreams; what an upstream replies goes to whoever waits for it.
Each part is told what happens through a hook (`observer.py`) or woken when it is due.

Not here: the parts. Which question waits for what (`questions.py`), whom to ask (`policy.py`), a
server (`upstream.py`), negatives (`negatives.py`), sessions and draining (`core/protocol`).
"""

import math
from collections.abc import Callable
from itertools import compress, repeat
from typing import Any

from core.effects import Effect
from core.environment import Environment
from core.events import (
    Closed,
    ConnectionEvent,
    Datagrams,
    Ended,
    Event,
    Opened,
    PlaceWanted,
    Received,
    Resolved,
    Role,
    Woken,
)
from core.exposition import stats_text
from core.metrics import Value
from core.operator import DrainAsked, ReloadAsked, ReopenRecords, StatsAsked
from core.owed import Owed
from core.protocol.asker import AskerFactory, SessionState
from core.protocol.outcome import Answered
from core.protocol.server import Server
from nodes.ls.backpressure import Backpressure
from nodes.ls.host_lookups import HostLookups
from nodes.ls.link import LinkEvent, LinkState
from nodes.ls.observer import hooks
from nodes.ls.parts import make_parts
from nodes.ls.setup import Setup
from nodes.ls.status import Status
from nodes.ls.upstream import Replies, Upstream


class LoadBalancer:
    """The brain of LS.

    `dns` makes the askers that speak DNS, if there are any. `loop`: the metrics of the loop that
    runs it. `stats` makes of all metrics those that answer STATS.
    """

    def __init__(
        self,
        setup: Setup,
        env: Environment,
        *,
        owed: Owed | None = None,
        dns: AskerFactory | None = None,
        loop: Callable[[], list[Value]] = list,
        stats: Callable[[list[Value]], list[Value]] = list,
    ) -> None:
        parts = make_parts(setup, env, owed or Owed(env.bounds, env.hits))
        self.parts = parts
        self.env = env
        self._questions = parts.questions
        self._upstreams = parts.upstreams
        self._policy = parts.policy
        self._negatives = parts.negatives
        self._lookups = HostLookups(parts.table_links)
        self._server = Server(
            env,
            lambda: stats_text(stats(self.status.metrics())),
            lambda: self.status.account(),
            once=setup.once,
            factories={} if dns is None else {Role.DNS: dns},
        )
        self.backpressure = Backpressure(self._server.sessions, env.hits)
        self.status = Status(setup, env, parts, self._server, loop)
        self.metrics = self.status.metrics
        self.histograms = self.status.histograms
        self.unhealthy = self.status.unhealthy
        self.about = self.status.about
        self._timed = parts.timed
        self._asked = hooks(parts.observers, "asked")
        self._sent = hooks(parts.observers, "sent")
        self._answered = hooks(parts.observers, "answered")
        self._denied = hooks(parts.observers, "denied")
        self._questions.on_closed = hooks(parts.observers, "closed")

    def deadline(self) -> float | None:
        """Return when the first part is due, None for never."""
        due = self._server.drain_due
        for timed in self._timed:
            due = min(due, timed.due())
        return None if due == math.inf else due

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if isinstance(event, ConnectionEvent):
            server = self._upstreams.by_conn.get(event.conn)
            if isinstance(event, Received):
                if server is None:
                    return self._ask(event.conn, event.data, now)
                return self._receive(server, event, now)
            if isinstance(event, Datagrams):
                if server is None:
                    return self._ask(event.conn, event.datagrams, now)
                return self._receive(server, event, now)
        effects = self._step_rarely(event, now)
        effects += self._update_links(now)
        newcomer = None
        if isinstance(event, Opened):
            newcomer = self._server.sessions.get(event.conn)
        return effects + self.backpressure.apply(self._upstreams.is_holding, newcomer)

    def _step_rarely(self, event: Event, now: float) -> list[Effect]:
        """Everything but reads."""
        server = self._server
        match event:
            case Woken():
                return self._woken(now)
            case DrainAsked(since=since):
                self._upstreams.mute()
                self._lookups.drain()
                return server.drain(min(now, since)) + self._part_maybe()
            case StatsAsked():
                return server.report_stats()
            case ReloadAsked():
                return [ReopenRecords(), *self._lookups.reload()]
            case Resolved():
                return self._lookups.resolved(event, now)
        assert isinstance(event, ConnectionEvent)
        upstream = self._upstreams.by_conn.get(event.conn)
        if upstream is not None:
            return self._receive(upstream, event, now) + self._part_maybe()
        match event:
            case Opened():
                return server.opened(event)
            case Ended(conn, unfinished):
                return server.ended(conn, unfinished)
            case PlaceWanted(conn):
                return server.part(conn)
            case Closed(conn):
                self.backpressure.forget(conn)
                effects = self._questions.forget(server.sessions[conn], now)
                return effects + server.closed(conn, now) + self._part_maybe()
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for timed in self._timed:
            if timed.due() <= now:
                effects += timed.woken(now)
                effects += self._update_links(now)
        return effects + self._server.woken(now)

    # -- questions ---------------------------------------------------------------------------------

    def _ask(self, conn: str, data: Any, now: float) -> list[Effect]:  # noqa: ANN401
        """Admit an asker's questions, and ask those that are not being asked already."""
        asker, requests, effects = self._server.received(conn, data, now)
        if requests.questions:
            questions = self._questions.ask(asker, requests.questions, requests.spellings, now)
            if questions:
                is_whole = questions is requests.questions
                effects += self._ask_upstreams(questions, requests.lines if is_whole else b"", now)
        if asker.life.state is not SessionState.OPEN:
            effects += asker.last_words()
        return effects + self.backpressure.apply(self._upstreams.is_holding, asker)

    def _ask_upstreams(self, questions: list[bytes], lines: bytes, now: float) -> list[Effect]:
        """Ask whom the policy wants asked. `lines`: the questions, if they are there already."""
        effects: list[Effect] = []
        for asked in self._asked:
            effects += asked(questions, now)
        for link, share in self._policy.ask(questions, now):
            if not lines and share is questions:
                lines = b"\n".join(questions) + b"\n"
            server = self._upstreams.by_name[link.conn]
            effects += self._send(server, share, lines if share is questions else b"", now)
        if self._policy.waiting:
            effects += self._ask_waiting(now)
        if self._upstreams.failing:
            effects += self._negatives.fail(questions, now)
        return effects

    def _send(
        self, upstream: Upstream, questions: list[bytes], lines: bytes, now: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        for sent in self._sent:
            effects += sent(upstream, questions, now)
        return effects + upstream.ask(questions, now, lines)

    def _ask_slice(self, upstream: Upstream, now: float) -> list[Effect]:
        """Ask a server for the next slice of what the policy has for it. If more is left, it goes
        over the high mark, so that Relieved will call for the next one."""
        link = upstream.link
        questions, is_last = self._policy.next_slice(link, now)
        while not is_last and not upstream.takes_slices:
            more, is_last = self._policy.next_slice(link, now)
            questions += more
        if link.life.state is LinkState.CATCHING_UP and is_last:
            link.life.fire(LinkEvent.CAUGHT_UP)
        elif link.life.state is LinkState.UP and not is_last:
            link.life.fire(LinkEvent.FELL_BEHIND)
        return self._send(upstream, questions, b"", now) if questions else []

    def _ask_waiting(self, now: float) -> list[Effect]:
        """Ask servers for what the policy wants them to be asked besides new questions."""
        effects: list[Effect] = []
        for link in list(self._policy.waiting):
            if link.life.state is LinkState.UP:  # else it is asked as soon as it is relieved
                effects += self._ask_slice(self._upstreams.by_name[link.conn], now)
        return effects

    # -- replies -----------------------------------------------------------------------------------

    def _receive(self, upstream: Upstream, event: ConnectionEvent, now: float) -> list[Effect]:
        """Take what happened to an upstream, and give its replies to whoever waits for them."""
        replies = upstream.receive(event, now)
        effects = replies.effects
        if replies.has_come_up:
            self._negatives.forget_servers(upstream.link.bit)
        if replies.has_come_up or replies.has_room:
            effects += self._update_links(now)
            effects += self._ask_slice(upstream, now)
        elif replies.is_back:
            effects += self._update_links(now)
        if replies.late:
            self._questions.count_late(replies.late)
            upstream.link.credit(0, replies.late)
        for answers in replies.answers:
            effects += self._answer(upstream, answers, now)
        if replies.has_late_data:
            self._negatives.differs(upstream, now)
        if replies.unknown or replies.denials:
            effects += self._deny(upstream, replies, now)
        if replies.is_back:
            effects += upstream.resume(self._open_for(upstream), now)
        if replies.failure:
            effects += upstream.give_up(replies.failure)
        if replies.failure or replies.has_changed or replies.has_come_up:
            effects += self._update_links(now)
        return effects + self.backpressure.apply(self._upstreams.is_holding)

    def _answer(self, upstream: Upstream, answers: Answered, now: float) -> list[Effect]:
        effects: list[Effect] = []
        link, late = upstream.link, 0
        admitted = self._policy.admits(link, answers.questions)
        for answered in self._answered:
            effects += answered(upstream, answers, admitted, now)
        if admitted is not None:
            late = admitted.count(False)
            self._questions.count_late(late)
            answers = answers.only(admitted)
        won = 0
        if answers.questions:
            self._policy.won(link, answers.questions, now)
            told, won = self._questions.answer(answers, now)
            effects += told
            late += len(answers.questions) - won
        link.credit(won, late)
        return effects

    def _deny(self, upstream: Upstream, replies: Replies, now: float) -> list[Effect]:
        """Take what is no answer; end what that decides, and ask others for the rest."""
        effects: list[Effect] = []
        link = upstream.link
        for denied in self._denied:
            effects += denied(upstream, replies.unknown, replies.denials, now)
        questions = [*replies.unknown, *[question for question, _, _ in replies.denials]]
        admitted = self._policy.admits(link, questions) or repeat(True)
        are_open = map(self._questions.is_open, questions)
        counted = [
            question
            for question, is_admitted, is_open in zip(questions, admitted, are_open, strict=False)
            if is_admitted and is_open
        ]
        late = len(questions) - len(counted)
        self._questions.count_late(late)
        link.credit(0, late)
        still_open = dict.fromkeys(counted)
        unknown = [question for question in replies.unknown if question in still_open]
        denials = [denial for denial in replies.denials if denial[0] in still_open]
        self._policy.passed(link, list(still_open), now)
        effects += self._negatives.add(link.bit, unknown, denials, now)
        if denials:
            effects += self._upstreams.hurry([question for question, _, _ in denials], now)
        return effects + self._ask_waiting(now)

    # -- links -------------------------------------------------------------------------------------

    def _open_for(self, upstream: Upstream) -> list[bytes]:
        """All that is open and that this server was to be asked."""
        questions = self._questions.all_open()
        admitted = self._policy.admits(upstream.link, questions)
        return questions if admitted is None else list(compress(questions, admitted))

    def _update_links(self, now: float) -> list[Effect]:
        """Take in how all links stand, since one of them may have changed."""
        effects: list[Effect] = []
        gone, unawaited = self._upstreams.update()
        if gone or unawaited:
            effects += self._negatives.servers_changed(gone, unawaited, now)
        self._policy.links_changed(now)
        return effects + self._ask_waiting(now)

    def _part_maybe(self) -> list[Effect]:
        """Draining, once the last session is gone: part from all upstreams, and then stop."""
        if not self._server.is_draining or self._server.sessions:
            return []
        self._lookups.end()
        effects = self._upstreams.part()
        if self._upstreams.are_all_down:
            effects += self._server.all_closed()
        return effects
