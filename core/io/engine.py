"""Engine: what the parts of one loop share: sources, the queue of events, and the brain.

Each part performs some of the brain's effects, and queues the events that they and its sources
make. It never steps the brain in the middle of its own work: what it says waits in `events` until
somebody delivers it between two sockets.

Not here: what is done when (`core/io/loop.py`).
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from core.brain import Brain
from core.environment import Environment
from core.events import Event
from core.io.log import Log
from core.io.source import Source
from core.io.system import System


class Engine:
    """A brain, what steps it, and what is watched for it. `wire` is the wire log, if there is one.

    `performers` has what performs each kind of effect. `by_fd` has the source of each descriptor.
    """

    def __init__(
        self, system: System, environment: Environment, log: Log, wire: Log | None
    ) -> None:
        self.system = system
        self.environment = environment
        self.log = log
        self.wire = wire
        self.events: deque[Event] = deque()  # for the brain
        self.brain: Brain
        self.has_stepped = True  # the brain, since its deadline was asked for
        self.performers: dict[type, Callable[[Any], None]] = {}
        self.by_fd: dict[int, Source] = {}
        self.read_fds_stale = True  # other descriptors than before are to be read
        self.write_fds: dict[int, None] = {}  # descriptors to wait for until they take bytes
        self.doomed: list[Any] = []  # what is closed when the turn ends
        self.turns = 0
        self.exit_code: int | None = None  # set to stop

    def deliver(self) -> None:
        """Step the brain through what happened and what that caused, until nothing is left."""
        events, performers = self.events, self.performers
        while events:
            event = events.popleft()
            self.has_stepped = True
            for effect in self.brain.step(event, self.system.now()):
                performers[type(effect)](effect)

    def reap(self) -> None:
        """Close what is doomed."""
        for each in self.doomed:
            each.close()
        self.doomed.clear()
