"""Supervisor: the parent of several workers that share one port, each a whole LS.

It serves nobody itself. It starts the workers, starts again the ones that die (after a wait that
doubles), passes on what signals and the service manager want, and adds up what they count.
The kernel spreads connections over the workers (SO_REUSEPORT); nothing else is shared, so joining,
caps and budgets are each worker's own.

Not here: a worker's end of it (`nodes/workers/worker.py`), and forking (`core/io/child.py`).
"""

import math
from typing import Any

from core.bounds import Bounds
from core.effects import (
    Abort,
    Effect,
    Level,
    Notify,
    Report,
    Send,
    Spawn,
    Standing,
    Stop,
    Unlisten,
    Write,
)
from core.events import (
    Backlogged,
    Closed,
    DrainAsked,
    Event,
    Opened,
    Received,
    Relieved,
    ReloadAsked,
    StatsAsked,
    Woken,
)
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.metrics import Histogram, Metric, Value
from core.protocol.server_state import SERVER, ServerEvent, ServerState
from nodes.workers.messages import (
    Told,
    Unpacker,
    Values,
    WorkerReport,
    changes,
    keyed,
    pack,
    risen,
    summed,
    summed_histograms,
)


class SlotState(Label):
    """How it stands with one worker's place."""

    VACANT = "there is no process; one is started when its time comes"
    STARTING = "there is a process, and it has not told of itself yet"
    UP = "it serves clients"
    DRAINING = "it takes no more questions, and will end"
    CLOSED = "there is no process, and none is wanted"


class SlotEvent(Label):
    """What happens to it."""

    START_DUE = "it is time to start a process"
    TOLD = "it tells of itself"
    LOST = "the process is gone, or could not be started"
    DRAIN = "the server drains"


S, E = SlotState, SlotEvent
WORKER: Transitions[SlotState, SlotEvent] = {
    S.VACANT: {E.START_DUE: S.STARTING, E.DRAIN: S.CLOSED},
    S.STARTING: {E.TOLD: S.UP, E.LOST: S.VACANT, E.DRAIN: S.DRAINING},
    S.UP: {E.TOLD: STAY, E.LOST: S.VACANT, E.DRAIN: S.DRAINING},
    S.DRAINING: {E.TOLD: STAY, E.LOST: S.CLOSED},
    S.CLOSED: {},
}

WORKER_STATE = Metric("state", "How it stands with this worker", is_level=True, per="worker")
WORKER_CLIENTS = Metric("clients", "Clients that are connected to it", is_level=True, per="worker")
WORKER_SESSIONS = Metric(
    "sessions", "Clients that came to it since it began", is_level=True, per="worker"
)
RESTARTS = Metric("restarts", "Times that it was started again", per="worker")
OLD = Metric("old", "Whether its figures are old: it does not tell", is_level=True, per="worker")
_OF_WORKERS = (
    WORKER_CLIENTS.name,
    WORKER_SESSIONS.name,
)  # keys of what a worker counts, shown of each


class _Worker:
    """One place. `conn` is what it is called here and in the log: W1, W2, ..."""

    def __init__(self, conn: str, bounds: Bounds, watch: Watch | None) -> None:
        self.conn = conn
        self.life = Machine(WORKER, SlotState.VACANT, f"worker {conn}", watch)
        self.start_at = 0.0  # while VACANT
        self.starts = 0
        self.news = WorkerReport()
        self.is_asked = False  # for news, and has not told yet
        self.asked_at = 0.0  # then, since when
        self.is_old = False  # nor in time: what it told last counts, and nobody waits for it
        self.is_reloading = False
        self.is_outdated = False  # it is to read anew, once it tells of itself
        self.unpacker = Unpacker()
        self._bounds = bounds
        self._began = 0.0
        self._wait_s = bounds.restart_first_s

    @property
    def is_there(self) -> bool:
        """Whether there is a process that may be told things."""
        return self.life.state in (SlotState.STARTING, SlotState.UP, SlotState.DRAINING)

    def started(self, now: float) -> None:
        """A process is to be there from now on, and to tell of itself unasked. It knows what the
        parent read at its own start, which may be long ago."""
        self.life.fire(SlotEvent.START_DUE)
        self.is_outdated = self.starts > 0
        self.starts += 1
        self.is_asked, self.asked_at = True, now
        self._began = now
        self.unpacker = Unpacker()

    def lost(self, now: float) -> None:
        """It is gone. Only one that lasted starts the waits over."""
        self.life.fire(SlotEvent.LOST)
        self.news = WorkerReport()
        self.is_asked = self.is_old = self.is_reloading = False
        if now - self._began > self._bounds.restart_max_s:
            self._wait_s = self._bounds.restart_first_s
        self.start_at = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._bounds.restart_max_s)

    def metrics(self) -> list[Value]:
        """What is counted about it."""
        said = self.news.values
        clients, sessions = (said[key].value if key in said else 0 for key in _OF_WORKERS)
        return [
            Value(WORKER_STATE, self.life.state.name, self.conn),
            Value(WORKER_CLIENTS, clients, self.conn),
            Value(WORKER_SESSIONS, sessions, self.conn),
            Value(RESTARTS, max(0, self.starts - 1), self.conn),
            Value(OLD, int(self.is_old), self.conn),
        ]


class Supervisor:
    """The brain of the parent. `ready` is what it writes once every worker serves. `with_dns`: the
    workers are asked with DNS. `watchdog_s`: a worker that stands still for so long is ended."""

    def __init__(
        self,
        count: int,
        bounds: Bounds,
        ready: bytes,
        *,
        with_dns: bool = False,
        watchdog_s: float = math.inf,
        watch: Watch | None = None,
    ) -> None:
        self.life = Machine(SERVER, ServerState.SERVING, "server", watch)
        self._workers = {f"W{n}": _Worker(f"W{n}", bounds, watch) for n in range(1, count + 1)}
        self._bounds = bounds
        self._ready = ready
        self._exit_code = 0
        # A worker's own drain ends before this: here a grace is half of what the user has set, see
        # `bounds_of_ls` (`nodes/cli/ls.py`).
        self._drain_s = bounds.drain_s(with_dns) + bounds.drain_grace_s
        self._watchdog_s = watchdog_s
        self._reload_next = False  # it was asked for before all served
        self._ask_at = math.inf  # when news are due
        self._drain_due = math.inf
        self._gone: Values = {}  # what those counted that are gone
        self._gone_histograms: dict[str, Told] = {}
        self._stale: dict[str, None] = {}  # keys of values that workers have yet to hear anew
        self._here: Values = {}  # what was counted about each worker when they last heard

    def deadline(self) -> float | None:
        """The first of: a worker is to be started, news are due, the drain has taken too long."""
        due = min(self._ask_at, self._drain_due)
        for worker in self._workers.values():
            if worker.life.state is SlotState.VACANT:
                due = min(due, worker.start_at)
        return None if due == math.inf else due

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Woken():
                return self._woken(now)
            case Opened():  # it tells of itself as soon as it serves
                return []
            case Received(conn, data):
                return self._hear(self._workers[conn], data, now)
            case Closed(conn, why):
                return self._closed(self._workers[conn], why, now)
            case DrainAsked(since):
                return self._drain(min(now, since))
            case StatsAsked():
                return [Report(f"{value.key} {value.value}") for value in self.metrics()]
            case ReloadAsked():
                return self._reload()
            case Backlogged() | Relieved():  # one that has stopped: see `_ask`
                return []
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for worker in self._workers.values():
            if worker.life.state is SlotState.VACANT and worker.start_at <= now:
                worker.started(now)
                effects.append(Spawn(worker.conn))
        if self._ask_at <= now:
            self._ask_at = now + self._bounds.news_s
            effects += self._ask(now)
        if self._drain_due <= now:
            self._drain_due = math.inf
            self.life.fire(ServerEvent.TIME_UP)
            left = [worker.conn for worker in self._workers.values() if worker.is_there]
            text = f"the drain took too long: {', '.join(left)} ended by force"
            effects += [Report(text, Level.WARNING), Stop(self._exit_code)]
        return effects

    # -- workers -----------------------------------------------------------------------------------

    def _ask(self, now: float) -> list[Effect]:
        """Ask for news. A worker that has not replied since the last time is waited for no more,
        and is told nothing, since that would pile up. Under a watchdog it is ended."""
        effects: list[Effect] = []
        for worker in self._workers.values():
            if not worker.is_there:
                continue
            if not worker.is_asked:
                worker.is_asked, worker.asked_at = True, now
                effects.append(_say(worker, {"do": "tell"}))
                continue
            if (
                worker.life.state is SlotState.STARTING
                and now - worker.asked_at < self._bounds.news_s
            ):
                continue
            if not worker.is_old:
                worker.is_old = True
                text = f"{worker.conn} does not tell of itself; its last figures count"
                effects.append(Report(text, Level.WARNING))
                if worker.is_reloading:
                    worker.is_reloading = False
                    effects += self._reloaded()
            if now - worker.asked_at >= self._watchdog_s:
                text = f"{worker.conn} has stood still for {self._watchdog_s:g} s: ending it"
                effects += [Report(text, Level.ERROR), Abort(worker.conn)]
        return effects

    def _up(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.life.state is SlotState.UP]

    def _hear(self, worker: _Worker, data: bytes, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for message in worker.unpacker.take(data):
            if "standing" in message:
                effects += self._stands(worker, message["standing"])
                continue
            self._stale |= dict.fromkeys(worker.news.take(message))
            worker.is_asked = False
            if worker.is_old:
                worker.is_old = False
                self._stale |= dict.fromkeys(self._summed())  # it has heard nothing meanwhile
                effects.append(Report(f"{worker.conn} tells of itself again"))
            if worker.life.state is SlotState.STARTING:
                self._stale |= dict.fromkeys(self._summed())  # it has heard nothing
                text = f"{worker.conn} is up: process {message['process']}"
                effects.append(Report(text))
            worker.life.fire(SlotEvent.TOLD)
            if worker.is_outdated:
                worker.is_outdated = False
                effects.append(_say(worker, {"do": "reload"}))
            if self._ready and len(self._up()) == len(self._workers):
                effects += [Write(self._ready), Notify(Standing.READY)]
                self._ready = b""
                self._ask_at = now + self._bounds.news_s
                if self._reload_next:
                    effects += self._reload()
            if not any(one.is_asked and not one.is_old for one in self._up()):
                effects += self._spread()
        return effects

    def _spread(self) -> list[Effect]:
        """Let each worker know what has changed of the others, once all have told."""
        here = self._of_workers()
        stale = self._stale | dict.fromkeys(changes(here, self._here))
        self._stale, self._here = {}, here
        if not stale:
            return []
        effects: list[Effect] = []
        up = self._up()
        for worker in up:
            if worker.is_old:
                continue
            others = [other.news.values for other in up if other is not worker]
            values = summed(
                {key: part[key] for key in stale if key in part}
                for part in [*others, self._gone, here]
            )
            gone = [key for key in stale if key not in values]
            effects.append(_say(worker, {"do": "hear", "values": values, "gone": gone}))
        return effects

    def _closed(self, worker: _Worker, why: str, now: float) -> list[Effect]:
        was = worker.life.state
        self._stale |= dict.fromkeys(worker.news.values)
        self._gone = summed([self._gone, risen(worker.news.values)])
        self._gone_histograms = summed_histograms([self._gone_histograms, worker.news.histograms])
        was_reloading = worker.is_reloading
        worker.lost(now)
        if self.life.state is ServerState.DRAINING:
            return self._stop_maybe()
        effects: list[Effect] = []
        if was is SlotState.STARTING and self._ready:  # it will not get better
            self._exit_code = 1
            text = f"{worker.conn} could not be started: {why}"
            return [Report(text, Level.ERROR), *self._drain(now)]
        text = f"{worker.conn} is gone: {why}; starting it again"
        effects.append(Report(text, Level.WARNING, f"{worker.conn} is gone"))
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
        for worker in up:
            if worker.is_old:  # nobody waits for it
                worker.is_outdated = True
                continue
            worker.is_reloading = True
            effects.append(_say(worker, {"do": "reload"}))
        return effects + self._reloaded()

    def _stands(self, worker: _Worker, standing: str) -> list[Effect]:
        if standing != Standing.READY.name or not worker.is_reloading:
            return []
        worker.is_reloading = False
        return self._reloaded()

    def _reloaded(self) -> list[Effect]:
        if any(worker.is_reloading for worker in self._workers.values()):
            return []
        return [Notify(Standing.READY)]

    # -- the end -----------------------------------------------------------------------------------

    def _drain(self, now: float) -> list[Effect]:
        is_first = self.life.state is ServerState.SERVING
        self.life.fire(ServerEvent.DRAIN)
        if not is_first:
            return []
        self._drain_due = now + self._drain_s
        self._ask_at = math.inf
        effects: list[Effect] = [Unlisten(), Notify(Standing.STOPPING)]
        for worker in self._workers.values():
            if worker.is_there:
                effects.append(_say(worker, {"do": "drain"}))
            if worker.life.state is not SlotState.CLOSED:
                worker.life.fire(SlotEvent.DRAIN)
        return effects + self._stop_maybe()

    def _stop_maybe(self) -> list[Effect]:
        if any(worker.is_there for worker in self._workers.values()):
            return []
        self._drain_due = math.inf
        self.life.fire(ServerEvent.ALL_CLOSED)
        account = [f"{v.metric.name} {v.value}" for v in self._gone.values() if not v.metric.per]
        return [Report(f"all workers: {', '.join(account)}"), Stop(self._exit_code)]

    # -- what it shows -----------------------------------------------------------------------------

    def metrics(self) -> list[Value]:
        """All that the workers count, together, and what is counted about each."""
        return list(self._summed().values())

    def _summed(self) -> Values:
        told = [worker.news.values for worker in self._workers.values()]
        return summed([*told, self._gone, self._of_workers()])

    def _of_workers(self) -> Values:
        return keyed(value for worker in self._workers.values() for value in worker.metrics())

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Those of all workers together."""
        told = [worker.news.histograms for worker in self._workers.values()]
        return list(summed_histograms([self._gone_histograms, *told]).values())

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        if self.life.state is not ServerState.SERVING:
            return "draining"
        up = [worker for worker in self._up() if not worker.is_old]
        if not up:
            return "no worker is up" if not self._up() else "no worker tells of itself"
        troubles = [str(worker.news.about["unhealthy"]) for worker in up]
        return troubles[0] if all(troubles) else ""

    def about(self) -> dict[str, Any]:
        """What the status page shows beside figures. Servers and settings are the same for all."""
        told = [worker.news.about for worker in self._up()]
        first = told[0] if told else {"policy": "", "sampling": "", "where": {}}
        return {
            **first,
            "told": [record for about in told for record in about["told"]],
            "workers": [
                {"name": worker.conn, **{v.metric.name: v.value for v in worker.metrics()}}
                for worker in self._workers.values()
            ],
        }


def _say(worker: _Worker, message: dict[str, Any]) -> Effect:
    return Send(worker.conn, pack(message))
