"""Supervisor: the parent of several workers that share one port, each a whole LS.

It serves nobody itself. It starts the workers, replaces the ones that die, passes on what signals
and the service manager want, and adds up what they count. The kernel spreads connections over the
workers (SO_REUSEPORT); nothing else is shared, so joining, caps and budgets are each worker's own.

Not here: one worker's place (`slot.py`), a worker's end of it (`worker.py`), and forking
(`core/io/child.py`).
"""

import math
from typing import Any

from core.effects import Abort, Effect, Stop, Unlisten, Write
from core.environment import Environment
from core.events import Backlogged, Closed, Event, Opened, Received, Relieved, Woken
from core.machine import Machine
from core.metrics import LabelledHistogram, Value
from core.operator import DrainAsked, Level, Notify, ReloadAsked, Report, Standing, StatsAsked
from core.protocol.server_state import (
    DRAINING,
    SERVER,
    ServerEvent,
    ServerState,
    closing_report,
    metrics_report,
)
from nodes.workers.messages import WorkerMessage
from nodes.workers.slot import SlotEvent, SlotState, WorkerSlot
from nodes.workers.totals import Totals


class Supervisor:
    """The brain of the parent. `ready` is what it writes once every worker serves. `with_dns`: the
    workers serve DNS. `watchdog_s`: a worker that has been silent for as long is ended."""

    def __init__(
        self,
        env: Environment,
        count: int,
        ready: bytes,
        *,
        with_dns: bool = False,
        watchdog_s: float = math.inf,
    ) -> None:
        self.life = Machine(SERVER, ServerState.SERVING, "server", env.watch)
        self._slots = {f"W{n}": WorkerSlot(env, f"W{n}") for n in range(1, count + 1)}
        self._totals = Totals(self._slots.values())
        self._report_s = env.bounds.news_s
        self._ready = ready
        self._exit_code = 0
        # A worker's own drain ends before this: its grace is half of what the user has set, see
        # `nodes/cli/ls_arguments.py`.
        self._drain_s = env.bounds.drain_s(with_dns) + env.bounds.drain_grace_s
        self._watchdog_s = watchdog_s
        self._reload_next = False  # a reload was asked for before all served
        self._ask_due = math.inf  # when reports are to be asked for
        self._drain_due = math.inf

    @property
    def due(self) -> float:
        """When first a worker is to be started, reports are due, or the drain takes too long."""
        return min(self._ask_due, self._drain_due, *(slot.due() for slot in self._slots.values()))

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Woken():
                return self._woken(now)
            case Opened():  # it reports as soon as it serves
                return []
            case Received(conn, data):
                slot = self._slots[conn]
                return [e for message in slot.receive(data) for e in self._take(slot, message, now)]
            case Closed(conn, why):
                return self._closed(self._slots[conn], why, now)
            case DrainAsked(since):
                return self._drain(min(now, since))
            case StatsAsked():
                return metrics_report(self.metrics())
            case ReloadAsked():
                return self._reload()
            case Backlogged() | Relieved():  # a worker that is stopped: see `_ask`
                return []
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        effects = [slot.start(now) for slot in self._slots.values() if slot.due() <= now]
        if self._ask_due <= now:
            self._ask_due = now + self._report_s
            effects += self._ask(now)
        if self._drain_due <= now:
            self._drain_due = math.inf
            self.life.fire(ServerEvent.TIME_UP)
            left = [slot.conn for slot in self._slots.values() if slot.is_running]
            text = f"the drain took too long: {', '.join(left)} ended by force"
            cut_off = Report(text, Level.WARNING, "drain_cut_off", {"workers": left})
            effects += [cut_off, Stop(self._exit_code)]
        return effects

    def _up(self) -> list[WorkerSlot]:
        return [slot for slot in self._slots.values() if slot.is_up]

    # -- reports -----------------------------------------------------------------------------------

    def _ask(self, now: float) -> list[Effect]:
        """Ask for reports. A worker that still owes its last one is old; a watchdog ends it."""
        effects: list[Effect] = []
        for slot in self._slots.values():
            if not slot.is_running:
                continue
            if not slot.is_asked:
                effects.append(slot.ask(now))
                continue
            silent_s = now - slot.asked_at
            if slot.is_starting and silent_s < self._report_s:
                continue
            if not slot.is_old:
                slot.is_old = True
                text = f"{slot.conn} does not report; its last metrics count"
                effects.append(Report(text, Level.WARNING, "worker_silent", slot.about))
                if slot.is_reloading:
                    slot.is_reloading = False
                    effects += self._reloaded()
            if silent_s >= self._watchdog_s:
                text = f"{slot.conn} has been silent for {self._watchdog_s:g} s: ending it"
                effects += [Report(text, Level.ERROR, "worker_hung", slot.about), Abort(slot.conn)]
        return effects

    def _take(self, slot: WorkerSlot, message: WorkerMessage, now: float) -> list[Effect]:
        if "standing" in message:
            return self._standing_changed(slot, message["standing"])
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
        slot.life.fire(SlotEvent.TOLD)
        if slot.is_outdated:
            slot.is_outdated = False
            effects.append(slot.send({"do": "reload"}))
        if self._ready and len(self._up()) == len(self._slots):
            effects += [Write(self._ready), Notify(Standing.READY)]
            self._ready = b""
            self._ask_due = now + self._report_s
            if self._reload_next:
                effects += self._reload()
        if not any(other.is_awaited for other in self._slots.values()):
            effects += self._totals.share()
        return effects

    def _closed(self, slot: WorkerSlot, why: str, now: float) -> list[Effect]:
        was_starting = slot.is_starting
        was_reloading = slot.is_reloading
        about = {**slot.about, "reason": why}
        self._totals.lose(slot.report)
        slot.lost(now)
        if self.life.state is ServerState.DRAINING:
            return self._stop_if_done()
        if was_starting and self._ready:  # it will not get better
            self._exit_code = 1
            text = f"{slot.conn} could not be started: {why}"
            return [Report(text, Level.ERROR, "worker_not_started", about), *self._drain(now)]
        text = f"{slot.conn} is gone: {why}; starting it again"
        kind = f"{slot.conn} is gone"
        effects: list[Effect] = [Report(text, Level.WARNING, "worker_gone", about, kind)]
        return effects + (self._reloaded() if was_reloading else [])

    # -- reloading ---------------------------------------------------------------------------------

    def _reload(self) -> list[Effect]:
        self._reload_next = bool(self._ready)
        if self._reload_next:
            return []
        up = self._up()
        if self.life.state is not ServerState.SERVING or not up:
            return []
        effects: list[Effect] = [Notify(Standing.RELOADING)]
        for slot in up:
            if slot.is_old:  # nobody waits for it
                slot.is_outdated = True
                continue
            slot.is_reloading = True
            effects.append(slot.send({"do": "reload"}))
        return effects + self._reloaded()

    def _standing_changed(self, slot: WorkerSlot, standing: str) -> list[Effect]:
        if standing != Standing.READY.name or not slot.is_reloading:
            return []
        slot.is_reloading = False
        return self._reloaded()

    def _reloaded(self) -> list[Effect]:
        if any(slot.is_reloading for slot in self._slots.values()):
            return []
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
        for slot in self._slots.values():
            if slot.is_running:
                effects.append(slot.send({"do": "drain"}))
            if slot.life.state is not SlotState.CLOSED:
                slot.life.fire(SlotEvent.DRAIN)
        return effects + self._stop_if_done()

    def _stop_if_done(self) -> list[Effect]:
        if any(slot.is_running for slot in self._slots.values()):
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
                {"name": slot.conn, **{v.metric.name: v.value for v in slot.metrics()}}
                for slot in self._slots.values()
            ],
        }
