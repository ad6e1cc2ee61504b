"""The parent of workers on a stage: a worker that it spawns is what the test says it is.

Not here: what the parent does (`tests/nodes/test_supervisor.py`, `tests/nodes/test_succession.py`).
"""

import math
from typing import Any

from core.bounds import Bounds
from core.effects import Effect, Send, Spawn
from core.environment import Environment
from core.events import Closed
from core.metrics import Histogram, Metric, Value
from core.protocol.server_state import CLIENTS, SESSIONS
from nodes.workers.configuration import Configuration
from nodes.workers.messages import Unpacker, pack, sections
from nodes.workers.supervisor import Supervisor
from tests.support.stage import Stage

ASKED = Metric("asked", "Questions")
TIMES = Metric("answer_seconds", "Times", per="ts")
READY = b"ls ready on 127.0.0.1:5300\n"


class Nursery(Stage):
    """The parent's brain; a worker that is spawned waits for the test."""

    def __init__(
        self,
        count: int = 2,
        bounds: Bounds | None = None,
        watchdog_s: float = math.inf,
        configuration: Configuration | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        self.spawned: list[str] = []
        self.parent = Supervisor(
            Environment(bounds), count, READY, watchdog_s=watchdog_s, configuration=configuration
        )
        super().__init__(self.parent, bounds)
        self.begin()

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Spawn):
            self.spawned.append(effect.conn)
            self.dialled.append(effect.conn)
        elif isinstance(effect, Send) and effect.conn in self.dialled:  # it is a fork: it can read
            self.said.setdefault(effect.conn, bytearray()).extend(effect.data)
        else:
            super().perform(effect)

    def tell(
        self, conn: str, asked: int = 0, clients: int = 0, unhealthy: str = "", times: int = 0
    ) -> None:
        """Let a worker tell of itself; it is there from its first word on."""
        if conn in self.dialled:
            self.connect(conn)
        values = [Value(ASKED, asked), Value(CLIENTS, clients), Value(SESSIONS, clients)]
        histogram = Histogram()
        for _ in range(times):
            histogram.add(0.5)
        about = {"unhealthy": unhealthy, "told": [], "servers": {}}
        said = sections(values, [(TIMES, histogram, "TS1")] * bool(times), about)
        self.hear(conn, pack({"process": 7, **said}))

    def reloaded(self, conn: str) -> None:
        """Let a worker say that it has reloaded."""
        self.hear(conn, pack({"standing": "RELOADING"}) + pack({"standing": "READY"}))

    def die(self, conn: str, why: str = "it was ended by signal 9") -> None:
        if conn in self.dialled:
            self.dialled.remove(conn)
        self.connections.pop(conn, None)
        self.take(conn)
        self.step(Closed(conn, why))

    def told(self, conn: str) -> list[dict[str, Any]]:
        return Unpacker().take(self.take(conn))

    def heard(self, conn: str) -> dict[str, Any]:
        """Return the numbers that it was told of the others, by their keys."""
        message = [message for message in self.told(conn) if message["do"] == "hear"][-1]
        return {key: value for key, (_, value, _) in message["values"].items()}

    def ask(self) -> None:
        """Let everyone be asked; what they were told is forgotten."""
        self.wait(1.0)
        self.said.clear()

    def metrics(self) -> dict[str, Any]:
        return {value.key: value.value for value in self.parent.metrics()}

    def waits(self, *conns: str) -> list[float]:
        """Return how long it takes until each of these that dies in turn is started again."""
        waits = []
        for conn in conns:
            died = self.now
            self.die(conn)
            while conn not in self.dialled:
                self.wait(1 / 128)
            waits.append(round(self.now - died, 1))
            self.connect(conn)
        return waits


def nursery(**more: Any) -> Nursery:  # noqa: ANN401
    """Build a supervisor whose workers are up, and have been told nothing."""
    stage = Nursery(**more)
    for conn in list(stage.spawned):
        stage.tell(conn)
    stage.said.clear()
    return stage
