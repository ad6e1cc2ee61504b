"""Supervisor: the parent of several workers that share one port, each a whole LS.

It serves nobody itself. It starts the workers, replaces the ones that die, passes on what signals
and the service manager want, and adds up what they count. Their listening sockets are the parent's,
a set for each place, and outlive the workers; the kernel spreads connections over the sets
(SO_REUSEPORT). Nothing else is shared, so joining, caps and budgets are each worker's own.

Not here: one worker (`slot.py`), its end of it (`worker.py`), workers that are replaced since the
configuration changed (`succession.py`), and forking (`core/io/child.py`).
"""

import math
from typing import Any

from core.effects import Effect, Stop, Unlisten, Write
from core.environment import Environment
from core.events import Backlogged, Closed, Event, Opened, Received, Relieved, Woken
from core.machine import Machine
from core.metrics import LabelledHistogram, Value
from core.operator import (
    DrainAsked,
    FlushAsked,
    Level,
    Notify,
    ReloadAsked,
    Report,
    Standing,
    StatsAsked,
)
from core.protocol.server_state import (
    DRAINING,
    SERVER,
    ServerEvent,
    ServerState,
    closing_report,
    metrics_report,
)
from nodes.workers.configuration import Configuration, FixedConfiguration, RefusedError
from nodes.workers.messages import WorkerMessage
from nodes.workers.slot import SlotEvent, SlotState, WorkerSlot
from nodes.workers.succession import Succession
from nodes.workers.totals import Totals


class Supervisor:
    """The brain of the parent. `ready` is what it writes once every worker serves. `with_dns`: the
    workers serve DNS. `watchdog_s`: a worker that has been silent for as long is ended.
    `configuration`: what they are built from; without it, it never changes."""

    def __init__(
        self,
        env: Environment,
        count: int,
        ready: bytes,
        *,
        with_dns: bool = False,
        watchdog_s: float = math.inf,
        configuration: Configuration | None = None,
    ) -> None:
        self.life = Machine(SERVER, ServerState.SERVING, "server", env.watch)
        self.workers = Succession(env, count)
        self._totals = Totals(self.workers, self.workers.places)
        self._configuration = configuration or FixedConfiguration(env.bounds)
        self._with_dns = with_dns
        self._report_s = env.bounds.news_s
        self._ready = ready
        self._exit_code = 0
        self._drain_s = 0.0  # of the slowest worker that there may be
        self._take_bounds()
        self._watchdog_s = watchdog_s
        self._reload_next = False  # a reload was asked for before all served
        self._is_reloading = False  # and that has not been said to be over
        self._ask_due = math.inf  # when reports are to be asked for
        self._drain_due = math.inf

    @property
    def due(self) -> float:
        """When first a worker is to be started, reports are due, or the drain takes too long."""
        return min(self._ask_due, self._drain_due, self.workers.due())

    def _take_bounds(self) -> None:
        """Take in how long a drain may take. A worker's own ends before: its grace is half of what
        the user has set, see `nodes/cli/ls_arguments.py`."""
        bounds = self._configuration.bounds
        self._drain_s = max(self._drain_s, bounds.drain_s(self._with_dns) + bounds.drain_grace_s)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Woken():
                return self._woken(now)
            case Opened():  # it reports as soon as it serves
                return []
            case Received(conn, data):
                slot = self.workers.by_conn[conn]
                return [e for message in slot.receive(data) for e in self._take(slot, message, now)]
            case Closed(conn, why):
                return self._closed(self.workers.by_conn[conn], why, now)
            case DrainAsked(since):
                return self._drain(min(now, since))
            case StatsAsked():
                return metrics_report(self.metrics())
            case ReloadAsked():
                return self._reload(now)
            case FlushAsked():
                flush = {"do": "flush"}
                return [e for slot in self.workers if slot.is_running for e in slot.send(flush)]
            case Backlogged() | Relieved():  # a worker that is stopped: see `_ask`
                return []
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        workers = self.workers
        effects = [workers.start(slot, now) for slot in workers if slot.starts_at <= now]
        effects += workers.overdue(now)
        if self._ask_due <= now:
            self._ask_due = now + self._report_s
            effects += self._ask(now)
        if self._drain_due <= now:
            self._drain_due = math.inf
            self.life.fire(ServerEvent.TIME_UP)
            left = [slot.conn for slot in workers if slot.is_running]
            text = f"the drain took too long: {', '.join(left)} ended by force"
            cut_off = Report(text, Level.WARNING, "drain_cut_off", {"workers": left})
            effects += [cut_off, Stop(self._exit_code)]
        return effects

    def _up(self) -> list[WorkerSlot]:
        return [slot for slot in self.workers.places.values() if slot.is_up]

    # -- reports -----------------------------------------------------------------------------------

    def _ask(self, now: float) -> list[Effect]:
        """Ask for reports. A worker that still owes its last one is old; a watchdog ends it."""
        effects: list[Effect] = []
        for slot in self.workers:
            if not slot.is_running:
                continue
            if not slot.is_asked:
                effects += slot.ask(now)
                continue
            silent_s = now - slot.asked_at
            if slot.is_starting and silent_s < self._report_s:
                continue
            if not slot.is_old:
                slot.is_old = True
                text = f"{slot.conn} does not report; its last metrics count"
                effects.append(Report(text, Level.WARNING, "worker_silent", slot.about))
                slot.is_reloading = False
                effects += self._reloaded()
            if silent_s >= self._watchdog_s:
                text = f"{slot.conn} has been silent for {self._watchdog_s:g} s: ending it"
                effects += [Report(text, Level.ERROR, "worker_hung", slot.about), slot.end()]
        return effects

    def _take(self, slot: WorkerSlot, message: WorkerMessage, now: float) -> list[Effect]:
        if "standing" in message:
            return self._standing_changed(slot, message["standing"], now)
        effects: list[Effect] = []
        self._totals.take(slot, message)
        slot.is_asked = False
        if slot.is_old:
            slot.is_old = False
            text = f"{slot.conn} reports again"
            effects.append(Report(text, Level.INFO, "worker_back", slot.about))
        if slot.is_starting:
            process = message["process"]
            about = {**slot.about, "process": process}
            text = f"{slot.conn} is up: process {process}"
            effects.append(Report(text, Level.INFO, "worker_up", about))
        was_starting = slot.is_starting
        slot.life.fire(SlotEvent.TOLD)
        if was_starting and slot.is_up:
            effects += self.workers.came_up(slot, now, self._drain_s)
            effects += self.workers.go_on(now) + self._reloaded()
        if slot.is_outdated:
            slot.is_outdated = False
            effects += slot.send({"do": "reload"})
        if self._ready and len(self._up()) == len(self.workers.places):
            effects += [Write(self._ready), Notify(Standing.READY)]
            self._ready = b""
            self._ask_due = now + self._report_s
            if self._reload_next:
                effects += self._reload(now)
        if not any(other.is_awaited for other in self.workers):
            effects += self._totals.share()
        return effects

    def _closed(self, slot: WorkerSlot, why: str, now: float) -> list[Effect]:
        was_starting = slot.is_starting
        about = {**slot.about, "reason": why}
        self._totals.lose(slot.report)
        slot.lost(now)
        if self.life.state is ServerState.DRAINING:
            return self._stop_if_done()
        if was_starting and self._ready:  # it will not get better
            self._exit_code = 1
            text = f"{slot.conn} could not be started: {why}"
            return [Report(text, Level.ERROR, "worker_not_started", about), *self._drain(now)]
        if self.workers.gone(slot):
            text = f"{slot.conn} has ended: {why}"
            ended = Report(text, Level.INFO, "worker_ended", about)
            return [ended, *self.workers.go_on(now), *self._reloaded()]
        text = f"{slot.conn} is gone: {why}; starting it again"
        kind = f"{slot.conn} is gone"
        return [Report(text, Level.WARNING, "worker_gone", about, kind), *self._reloaded()]

    # -- reloading ---------------------------------------------------------------------------------

    def _reload(self, now: float) -> list[Effect]:
        self._reload_next = bool(self._ready)
        if self._reload_next:
            return []
        if self.life.state is not ServerState.SERVING:
            return []
        self._is_reloading = True
        effects: list[Effect] = [Notify(Standing.RELOADING)]
        try:
            has_changed = self._configuration.reread()
        except RefusedError as error:
            text = f"{error}; all stays as it was"
            effects.append(Report(text, Level.ERROR, "configuration_refused"))
            return effects + self._reloaded()
        if has_changed:
            effects += self._renew(now)
        else:
            effects += self._reread_names()
        return effects + self._reloaded()

    def _renew(self, now: float) -> list[Effect]:
        """Replace all workers, since the configuration has changed."""
        self.workers.renew()
        self._take_bounds()
        text = "the configuration has changed: each worker in turn is replaced"
        changed = Report(text, Level.INFO, "configuration_changed")
        return [changed, *self.workers.go_on(now)]

    def _reread_names(self) -> list[Effect]:
        """Have all workers read anew what they read at their start."""
        effects: list[Effect] = []
        for slot in self._up():
            if slot.is_old:  # nobody waits for it
                slot.is_outdated = True
                continue
            slot.is_reloading = True
            effects += slot.send({"do": "reload"})
        return effects

    def _standing_changed(self, slot: WorkerSlot, standing: str, now: float) -> list[Effect]:
        if standing == Standing.READY.name:
            slot.is_reloading = False
        elif standing == Standing.STOPPING.name and self.life.state is ServerState.SERVING:
            self.workers.leaves(slot)  # somebody has told it to drain
            return self.workers.go_on(now)
        return self._reloaded()

    def _reloaded(self) -> list[Effect]:
        """Say that a reload is over, once it is."""
        if not self._is_reloading or not self.workers.is_over:
            return []
        if any(slot.is_reloading for slot in self.workers):
            return []
        self._is_reloading = False
        return [Notify(Standing.READY)]

    # -- the end -----------------------------------------------------------------------------------

    def _drain(self, now: float) -> list[Effect]:
        is_first = self.life.state is ServerState.SERVING
        self.life.fire(ServerEvent.DRAIN)
        if not is_first:
            return []
        self._drain_due = now + self._drain_s
        self._ask_due = math.inf
        effects: list[Effect] = [Unlisten(), Notify(Standing.STOPPING)]
        for slot in self.workers:
            if slot.life.state is not SlotState.CLOSED:
                effects += slot.drain()
        return effects + self._stop_if_done()

    def _stop_if_done(self) -> list[Effect]:
        if any(slot.is_running for slot in self.workers):
            return []
        self._drain_due = math.inf
        self.life.fire(ServerEvent.ALL_CLOSED)
        return [*closing_report(self.metrics(), {}, "all workers: "), Stop(self._exit_code)]

    # -- views: see `core.metrics.Observable` ------------------------------------------------------

    def metrics(self) -> list[Value]:
        """Return the metrics of all workers, added up, and those about each worker."""
        return list(self._totals.values().values())

    def histograms(self) -> list[LabelledHistogram]:
        """Return the histograms of all workers, added up."""
        return self._totals.histograms()

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well."""
        if self.life.state is not ServerState.SERVING:
            return DRAINING
        up = self._up()
        troubles = [str(slot.report.about["unhealthy"]) for slot in up if not slot.is_old]
        if not troubles:
            return "no worker reports" if up else "no worker is up"
        return troubles[0] if all(troubles) else ""

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows besides. Upstreams and settings are the same for all
        workers."""
        reported = [slot.report.about for slot in self._up()]
        first = reported[0] if reported else {"policy": "", "sampling": "", "servers": {}}
        return {
            "program": "ls",
            **first,
            "told": [record for about in reported for record in about["told"]],
            "workers": [
                {"name": slot.place, **{v.metric.name: v.value for v in slot.metrics()}}
                for slot in self.workers.places.values()
            ],
        }
