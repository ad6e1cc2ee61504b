"""Slot: one worker, through every process that it has been.

A process that is gone leaves its slot vacant until the next one is started, after a wait that
doubles (`core/backoff.py`). A worker that is asked for a report and does not send one in time is
old: its last report counts, nobody waits for it, and nothing more is sent to it, since that would
pile up.

Not here: who follows whom in which place (`succession.py`), what the workers count together
(`totals.py`), and how all of them end (`supervisor.py`).
"""

import math
from collections.abc import Mapping

from core.backoff import Backoff
from core.effects import Abort, Effect, Send, Spawn
from core.environment import Environment
from core.machine import STAY, Label, Machine, Transitions
from core.metrics import Metric, Value
from nodes.workers.messages import Unpacker, WorkerMessage, WorkerReport, pack


class SlotState(Label):
    """The state of a worker's place."""

    VACANT = "there is no process; one is started when its time comes"
    STARTING = "there is a process, and it has not reported yet"
    UP = "it serves clients"
    RETIRING = "its successor serves new clients; it serves those that it has, and will end"
    DRAINING = "it takes no more questions, and will end"
    CLOSED = "there is no process, and none is wanted"


WORKER_STATE = Metric(
    "state",
    "State of the worker",
    is_level=True,
    per="worker",
    words=tuple(state.name for state in SlotState),
)


class SlotEvent(Label):
    """An event of a worker's place."""

    START_DUE = "it is time to start a process"
    TOLD = "the worker reports"
    LOST = "the process is gone, or could not be started"
    REPLACED = "its successor serves"
    DRAIN = "the server drains"


S, E = SlotState, SlotEvent
SLOT: Transitions[SlotState, SlotEvent] = {
    S.VACANT: {E.START_DUE: S.STARTING, E.DRAIN: S.CLOSED},
    S.STARTING: {E.TOLD: S.UP, E.LOST: S.VACANT, E.DRAIN: S.DRAINING},
    S.UP: {E.TOLD: STAY, E.LOST: S.VACANT, E.REPLACED: S.RETIRING, E.DRAIN: S.DRAINING},
    S.RETIRING: {E.TOLD: STAY, E.LOST: S.CLOSED, E.DRAIN: S.DRAINING},
    S.DRAINING: {E.TOLD: STAY, E.LOST: S.CLOSED, E.DRAIN: STAY},
    S.CLOSED: {},
}
_RUNNING = frozenset({S.STARTING, S.UP, S.RETIRING, S.DRAINING})

WORKER_CLIENTS = Metric(
    "clients", "Clients that are connected to the worker", is_level=True, per="worker"
)
WORKER_SESSIONS = Metric("sessions", "Clients that have connected to the worker", per="worker")
RESTARTS = Metric("restarts", "Times that the worker was started again", per="worker")
OLD = Metric(
    "old", "Whether the worker's metrics are old: it does not report", is_level=True, per="worker"
)


class WorkerSlot:
    """A worker in a place: W1, W2, ... `conn` names it here and in the log: W1, or W1.3 if it is
    a successor there. `about`: the same as a fact of reports."""

    def __init__(self, env: Environment, place: str, conn: str, restarts: int = 0) -> None:
        self.place = place
        self.conn = conn
        self.about = {"worker": conn}
        self.life = Machine(SLOT, SlotState.VACANT, f"worker {conn}", env.watch)
        self.report = WorkerReport()
        self.asked_at = 0.0  # when it was asked for the report that is not here yet
        self.is_asked = False  # for a report that it has not sent yet
        self.is_old = False  # its report is waited for no more
        self.is_reloading = False
        self.is_outdated = False  # it is to reload once it reports
        self.configuration = 0  # the number of that which it was started with
        self.ends_by = math.inf  # while it retires
        self._is_cut = False  # its process is being ended
        self._unpacker = Unpacker()
        self._backoff = Backoff(env.bounds.restart_first_s, env.bounds.restart_max_s)
        self._start_at = 0.0  # while VACANT
        self._starts = 0
        self._restarts_before = restarts  # of its predecessors
        self._began = 0.0

    @property
    def is_running(self) -> bool:
        """Whether there is a process that messages may be sent to."""
        return self.life.state in _RUNNING

    @property
    def is_starting(self) -> bool:
        return self.life.state is SlotState.STARTING

    @property
    def is_up(self) -> bool:
        return self.life.state is SlotState.UP

    @property
    def is_retiring(self) -> bool:
        return self.life.state is SlotState.RETIRING

    @property
    def is_coming(self) -> bool:
        """Whether it does not serve yet."""
        return self.life.state in (SlotState.VACANT, SlotState.STARTING)

    @property
    def restarts(self) -> int:
        """The number of times that a worker in this place was started again."""
        return self._restarts_before + max(0, self._starts - 1)

    @property
    def is_awaited(self) -> bool:
        """Whether the worker is up, and its report is still waited for."""
        return self.is_up and self.is_asked and not self.is_old

    @property
    def starts_at(self) -> float:
        """When a process is to be started; infinite for never."""
        return self._start_at if self.life.state is SlotState.VACANT else math.inf

    def due(self) -> float:
        """Return when a process is to be started, or ended."""
        return min(self.starts_at, self.ends_by)

    def start(self, now: float) -> Effect:
        """Start a process, which reports unasked as soon as it serves. It knows what the parent
        read at its own start, which may be long ago."""
        self.life.fire(SlotEvent.START_DUE)
        self.is_outdated = self._starts > 0
        self._starts += 1
        self.is_asked, self.asked_at = True, now
        self._began = now
        self._unpacker = Unpacker()
        return Spawn(self.conn)

    def successor(self, env: Environment, conn: str) -> "WorkerSlot":
        """Return a worker that is to have this one's place."""
        return WorkerSlot(env, self.place, conn, self.restarts)

    def retire(self, within_s: float, ends_by: float) -> list[Effect]:
        """Have it listen no more, and end within this time once those whom it serves are gone."""
        self.life.fire(SlotEvent.REPLACED)
        self.ends_by = ends_by
        return self.send({"do": "retire", "within_s": within_s})

    def drain(self) -> list[Effect]:
        """Have it drain, and be gone then."""
        self.life.fire(SlotEvent.DRAIN)
        return self.send({"do": "drain"})

    def end(self) -> Effect:
        """End its process by force. It is told nothing more."""
        self._is_cut = True
        self.ends_by = math.inf
        return Abort(self.conn)

    def lost(self, now: float) -> None:
        """Note that the process is gone. The next one is started after a wait."""
        self.life.fire(SlotEvent.LOST)
        self.report = WorkerReport()
        self.is_asked = self.is_old = self.is_reloading = self._is_cut = False
        self.ends_by = math.inf
        self._start_at = now + self._backoff.wait_s(now - self._began)

    def receive(self, data: bytes) -> list[WorkerMessage]:
        """Return the messages that these lines complete."""
        return self._unpacker.take(data)

    def ask(self, now: float) -> list[Effect]:
        """Ask for a report."""
        self.is_asked, self.asked_at = True, now
        return self.send({"do": "tell"})

    def send(self, message: Mapping[str, object]) -> list[Effect]:
        """Send a message to its process, if there is one that hears."""
        if not self.is_running or self._is_cut:
            return []
        return [Send(self.conn, pack(dict(message)))]

    def metrics(self) -> list[Value]:
        """Return what is counted about this worker."""
        values = self.report.values
        clients, sessions = (
            values[metric.name].value if metric.name in values else 0
            for metric in (WORKER_CLIENTS, WORKER_SESSIONS)  # as the worker counts them itself
        )
        return [
            Value(WORKER_STATE, self.life.state.name, self.place),
            Value(WORKER_CLIENTS, clients, self.place),
            Value(WORKER_SESSIONS, sessions, self.place),
            Value(RESTARTS, self.restarts, self.place),
            Value(OLD, int(self.is_old), self.place),
        ]
