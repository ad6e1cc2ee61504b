"""Worker: a brain that runs in one of several processes, and its stream to their parent.

The parent is to it what signals and the service manager are to a server that runs alone: it says
when to drain and when to reload, and is told how that stands. It also asks for news, and brings
those of the others, so that STATS tells of all of them whichever is asked. When the parent is
gone, the worker drains: nobody would start it again, nor stop it.

Not here: the parent (`nodes/workers/supervisor.py`).
"""

from collections.abc import Callable
from typing import Any, Protocol

from core.effects import Abort, Drain, Effect, Level, Notify, Report, Send, Stop
from core.events import Closed, Ended, Event, Opened, Received, ReloadAsked
from core.metrics import Histogram, Metric, Value
from nodes.workers.messages import (
    Sections,
    Unpacker,
    Values,
    changes,
    keyed,
    pack,
    sections,
    summed,
    unpacked_values,
)

PARENT = "parent"  # what the stream is called
StatsView = Callable[[list[Value]], list[Value]]  # of one worker's figures, those that STATS tells


class Balancer(Protocol):
    """What a worker runs."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """See `core/brain.py`."""
        ...

    def deadline(self) -> float | None:
        """See `core/brain.py`."""
        ...

    def metrics(self) -> list[Value]:
        """All that it counts."""
        ...

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Distributions of times."""
        ...

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        ...

    def about(self) -> dict[str, Any]:
        """What the status page shows beside figures and histograms."""
        ...


class Worker:
    """A brain around a brain. `build(shown)` makes the inner one; to `shown` it gives what it
    counts whenever somebody asks for STATS, and tells what comes back. `process`: its PID."""

    def __init__(self, build: Callable[[StatsView], Balancer], process: int = 0) -> None:
        self._process = process
        self._told: Sections = {}  # what the parent knows
        self._others: Values = {}
        self._unpacker = Unpacker()
        self._has_parent = False
        self._brain = build(lambda own: list(summed([keyed(own), self._others]).values()))

    def deadline(self) -> float | None:
        """Return that of the inner brain: nothing of the parent's waits for a time."""
        return self._brain.deadline()

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        conn: str = getattr(event, "conn", "")
        if conn == PARENT:
            effects = self._step_parent(event, now)
        elif isinstance(event, Received):
            return self._brain.step(event, now)  # nothing in it is for the parent
        else:
            effects = self._brain.step(event, now)
        if any(isinstance(effect, Stop) for effect in effects) and self._has_parent:
            effects.insert(0, self._news())  # what has been counted since the last time
        return [self._to_parent(effect) for effect in effects]

    def _step_parent(self, event: Event, now: float) -> list[Effect]:
        effects: list[Effect] = []
        match event:
            case Opened():
                self._has_parent = True
                effects.append(self._news())
            case Received(_, data):
                for message in self._unpacker.take(data):
                    match message["do"]:
                        case "tell":
                            effects.append(self._news())
                        case "hear":
                            self._others |= unpacked_values(message["values"])
                            for key in message["gone"]:
                                self._others.pop(key, None)
                        case "reload":
                            effects += self._brain.step(ReloadAsked(), now)
                        case "drain":
                            effects.append(Drain())
            case Ended():
                effects.append(Abort(PARENT))
            case Closed():
                self._has_parent = False
                text = "the parent is gone: draining"
                effects += [Report(text, Level.WARNING), Drain()]
        return effects

    def _news(self) -> Effect:
        """Tell what has changed since the last time."""
        brain = self._brain
        before = self._told
        about = {**brain.about(), "unhealthy": brain.unhealthy()}
        self._told = sections(brain.metrics(), brain.histograms(), about)
        changed = {name: changes(part, before.get(name, {})) for name, part in self._told.items()}
        return Send(PARENT, pack({"process": self._process, **changed}))

    def _to_parent(self, effect: Effect) -> Effect:
        """Tell the parent how this server stands, in place of the service manager."""
        if isinstance(effect, Notify) and self._has_parent:
            return Send(PARENT, pack({"standing": effect.standing.name}))
        return effect
