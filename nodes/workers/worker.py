"""Worker: a brain that runs in one of several processes, and its stream to their supervisor.

The parent is to it what signals and the service manager are to a server that runs alone: it says
when to drain and when to reload, and hears how that stands. It says when to retire: the worker
listens no more, goes on with the streams that it has, and drains when they are gone or its time is
over. It also asks for reports, and brings
those of the others, so that STATS shows the totals of all whichever worker is asked. When the
parent is gone, the worker drains: nobody would start it again, nor stop it.

Not here: the parent (`supervisor.py`), and what the messages are made of (`messages.py`).
"""

import math
from collections.abc import Callable

from core.effects import Abort, Drain, Effect, Send, Stop, Unlisten
from core.events import Closed, ConnectionEvent, Ended, Event, Opened, Received, Role, Woken
from core.metrics import Value
from core.observable import ObservableBrain
from core.operator import FlushAsked, Level, Notify, ReloadAsked, Report
from nodes.workers.messages import (
    Sections,
    Unpacker,
    Values,
    WorkerMessage,
    changes,
    keyed,
    pack,
    sections,
    unpacked_values,
)
from nodes.workers.totals import summed

PARENT = "parent"  # the connection to it
_CLIENTS = (Role.LINES, Role.DNS, Role.TLS)
StatsFilter = Callable[[list[Value]], list[Value]]  # of a worker's own metrics, those of STATS


class Worker:
    """A brain around a brain. `build(stats)` makes the inner one, which answers STATS with what
    `stats` makes of its own metrics: those of all workers. `process`: the worker's PID."""

    def __init__(self, build: Callable[[StatsFilter], ObservableBrain], process: int = 0) -> None:
        self._process = process
        self._reported: Sections = {}  # metrics as the parent knows them
        self._others: Values = {}
        self._unpacker = Unpacker()
        self._has_parent = False
        self._streams: set[str] = set()  # of clients
        self._is_retiring = False
        self._retired_at = math.inf  # when it drains at the latest, if it retires
        self._brain = build(lambda own: list(summed([keyed(own), self._others]).values()))

    @property
    def due(self) -> float:
        """When the inner brain is, or the time to retire in is over."""
        return min(self._brain.due, self._retired_at)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if isinstance(event, ConnectionEvent) and event.conn == PARENT:
            effects = self._step_parent(event, now)
        elif isinstance(event, Received):
            return self._brain.step(event, now)  # nothing in it is for the parent
        else:
            effects = self._brain.step(event, now) + self._follow(event, now)
        if any(isinstance(effect, Stop) for effect in effects) and self._has_parent:
            effects.insert(0, self._report())  # counts since the last time
        return [self._to_parent(effect) for effect in effects]

    def _follow(self, event: Event, now: float) -> list[Effect]:
        """Keep the streams of clients that there are; drain when the last one is gone, or the time
        is over."""
        match event:
            case Opened(conn, role, is_datagrams) if role in _CLIENTS and not is_datagrams:
                self._streams.add(conn)
            case Closed(conn):
                self._streams.discard(conn)
        is_due = self._retired_at <= now or not self._streams
        if not (self._is_retiring and is_due):
            return []
        self._is_retiring, self._retired_at = False, math.inf
        return [Drain()]

    def _step_parent(self, event: ConnectionEvent, now: float) -> list[Effect]:
        match event:
            case Opened():
                self._has_parent = True
                return [self._report()]
            case Received(_, data):
                messages = self._unpacker.take(data)
                return [effect for message in messages for effect in self._take(message, now)]
            case Ended():
                return [Abort(PARENT)]
            case Closed():
                self._has_parent = False
                text = "the parent is gone: draining"
                return [Report(text, Level.WARNING, "parent_gone"), Drain()]
        return []

    def _take(self, message: WorkerMessage, now: float) -> list[Effect]:
        match message["do"]:
            case "tell":
                return [self._report()]
            case "hear":
                self._others |= unpacked_values(message["values"])
                for key in message["gone"]:
                    self._others.pop(key, None)
            case "reload":
                return self._brain.step(ReloadAsked(), now)
            case "flush":
                return self._brain.step(FlushAsked(), now)
            case "retire":
                self._is_retiring, self._retired_at = True, now + message["within_s"]
                return [Unlisten(), *self._follow(Woken(), now)]
            case "drain":
                return [Drain()]
        return []

    def _report(self) -> Effect:
        """Report what has changed since the last time."""
        brain = self._brain
        before = self._reported
        about = {**brain.page_entries(), "unhealthy": brain.unhealthy()}
        self._reported = sections(brain.metrics(), brain.histograms(), about)
        changed = {
            name: changes(part, before.get(name, {})) for name, part in self._reported.items()
        }
        return Send(PARENT, pack({"process": self._process, **changed}))

    def _to_parent(self, effect: Effect) -> Effect:
        """Tell the parent how this server stands, in place of the service manager."""
        if isinstance(effect, Notify) and self._has_parent:
            return Send(PARENT, pack({"standing": effect.standing.name}))
        return effect
