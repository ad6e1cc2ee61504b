"""The load balancer (LS): asks every upstream, and relays the first good answer.

It stores no names. It routes events to its parts, in order: a read of a client becomes questions,
which the policy deals out to upstreams; what an upstream replies goes to whoever waits for it.
Each part is told what happens through a hook (`observer.py`) or woken when it is due.

Not here: the parts. Which question waits for what (`questions.py`), whom to ask (`policy.py`), a
server (`upstream.py`), negatives (`negatives.py`), sessions and draining (`core/protocol`).
"""

import math
from collections.abc import Callable
from typing import Any

from core.datagram_events import Datagrams
from core.effects import Effect
from core.environment import Environment
from core.events import Closed, ConnectionEvent, Event, Opened, Received, Resolved, Role, Woken
from core.metrics import Value
from core.operator import DrainAsked, FlushAsked, ReadKeys, ReloadAsked, ReopenRecords
from core.owed import Owed
from core.protocol.asker import AskerFactory, SessionState
from core.protocol.server import Server
from core.protocol.session import Session
from nodes.ls.backpressure import Backpressure
from nodes.ls.exchange import Exchange
from nodes.ls.parts import make_parts
from nodes.ls.service_metrics import ServiceMetrics
from nodes.ls.setup import Setup
from nodes.ls.status import Status

_OPEN = SessionState.OPEN
_READS = (Received, Datagrams)


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
        self.env = env
        self._server = Server(
            env,
            lambda: stats(self.status.metrics()),
            lambda: self.status.metrics(),
            once=setup.once,
            factories={} if dns is None else dict.fromkeys((Role.DNS, Role.TLS), dns),
        )
        self.backpressure = Backpressure(self._server.sessions, env.hits)
        service = ServiceMetrics(self._server, loop, env.hits)
        owed = owed or Owed(env.bounds, env.hits)
        owed.promised_to = self._server.promised_to
        faces = [Session.face, *([] if dns is None else [dns.face])]
        parts = make_parts(setup, env, owed, service, faces)
        self.parts = parts
        if dns is not None and parts.own_words is not None:
            dns.let_pass(parts.own_words.has_reply)
        self._questions = parts.questions
        self._upstreams = parts.upstreams
        self._exchange = Exchange(parts)
        self._lookups = parts.lookups
        self.status = Status(parts, self._server, setup)
        self.metrics = self.status.metrics
        self.histograms = self.status.histograms
        self.unhealthy = self.status.unhealthy
        self.page_entries = self.status.page_entries
        self._timed = parts.timed
        self.due = math.inf

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        upstreams = self._upstreams
        if not isinstance(event, _READS):
            effects = self._step_rarely(event, now)
        elif upstream := upstreams.by_conn.get(event.conn):
            effects = self._exchange.receive(upstream, event, now)
            if upstreams.is_holding or not self.backpressure.is_at_rest:
                effects += self.backpressure.apply(upstreams.is_holding)
        else:
            data: Any = event.data if isinstance(event, Received) else event.datagrams
            asker, requests, effects = self._server.received(event.conn, data, now)
            if requests.questions:
                effects += self._exchange.ask(asker, requests, now)
            if asker.life.state is not _OPEN:
                effects += asker.last_words()
            has_too_many = asker.owed > asker.pending_max
            if upstreams.is_holding or has_too_many or not self.backpressure.is_at_rest:
                effects += self.backpressure.apply(upstreams.is_holding, asker)
        due = self._server.drain_due
        for timed in self._timed:
            if timed.due < due:
                due = timed.due
        self.due = due
        return effects

    def _step_rarely(self, event: Event, now: float) -> list[Effect]:
        """Take an event that is no read; all links may have changed with it."""
        effects = self._take(event, now)
        effects += self._exchange.update_links(now)
        newcomer = None
        if isinstance(event, Opened):
            newcomer = self._server.sessions.get(event.conn)
        return effects + self.backpressure.apply(self._upstreams.is_holding, newcomer)

    def _take(self, event: Event, now: float) -> list[Effect]:
        server = self._server
        match event:
            case Woken():
                return self._woken(now)
            case DrainAsked(since=since):
                self._upstreams.mute()
                self._lookups.drain()
                return server.drain(min(now, since)) + self._part_maybe()
            case ReloadAsked():
                return [ReopenRecords(), ReadKeys(), *self._lookups.reload()]
            case FlushAsked() if self.parts.cache is not None:
                return [self.parts.cache.clear()]
            case Resolved():
                return self._lookups.resolved(event, now)
            case ConnectionEvent(conn) if upstream := self._upstreams.by_conn.get(conn):
                return self._exchange.receive(upstream, event, now) + self._part_maybe()
            case Closed(conn):
                self.backpressure.forget(conn)
                effects = self._questions.forget(server.sessions[conn], now)
                return effects + server.closed(conn, now) + self._part_maybe()
        return server.step(event)

    def _woken(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for timed in self._timed:  # all of them: a negative has to be told before a timeout is
            was_due = timed.due <= now
            effects += timed.woken(now)
            if was_due:
                effects += self._exchange.update_links(now)
        return effects + self._server.woken(now)

    # -- the end -----------------------------------------------------------------------------------

    def _part_maybe(self) -> list[Effect]:
        """Part from all upstreams when a drain has seen the last session off; then stop."""
        if not self._server.is_draining or self._server.sessions:
            return []
        self._lookups.end()
        effects = self._upstreams.part()
        if self._upstreams.are_all_down:
            effects += self._server.all_closed()
        return effects
