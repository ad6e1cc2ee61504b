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
from core.effects import Stop
from core.environment import Environment
from core.events import Closed, ConnectionEvent, Event, Woken
from core.io.log import Log
from core.io.refusals import Refusals
from core.io.source import Source, Timer
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
        self.refusals = Refusals(system.now, log)
        self.events: deque[Event] = deque()  # for the brain
        self.brain: Brain
        self.late_turns = 0  # for which it has been due, and waited, since answers may lie unread
        self.performers: dict[type, Callable[[Any], None]] = {Stop: self._do_stop}
        self.by_fd: dict[int, Source] = {}
        self.timers: list[Timer] = []  # in the order in which they expire
        self.read_fds_stale = True  # other descriptors than before are to be read
        self.write_fds: dict[int, None] = {}  # descriptors to wait for until they take bytes
        self.doomed: list[Any] = []  # sockets to close when the turn ends
        self.turn = 0  # the number of this turn
        self.exit_code: int | None = None  # set to stop

    def deliver(self) -> None:
        """Step the brain through what happened and what that caused, until nothing is left."""
        events, performers = self.events, self.performers
        while events:
            event = events.popleft()
            for effect in self.brain.step(event, self.system.now()):
                performers[type(effect)](effect)

    def drop_events_of(self, name: str) -> None:
        """Let the brain hear nothing more of a connection that it closes, but that it is gone."""

        def is_dropped(event: Event) -> bool:
            is_of_it = isinstance(event, ConnectionEvent) and event.conn == name
            return is_of_it and not isinstance(event, Closed)

        kept = [event for event in self.events if not is_dropped(event)]
        self.events.clear()
        self.events += kept

    def wake(self, now: float, link_was_full: bool) -> None:
        """Wake the brain, which is due. It waits for `late_turns` at most while answers may still
        lie unread: `link_was_full`."""
        bounds, hits = self.environment.bounds, self.environment.hits
        if link_was_full and self.late_turns < bounds.late_turns:
            self.late_turns += 1
            return
        if link_was_full:
            hits["late_turns"] += 1
        self.late_turns = 0
        self.events.append(Woken())
        self.deliver()

    def start(self, brain: Brain) -> None:
        """Run this brain from now on, and wake it once."""
        self.brain = brain
        self.events.append(Woken())
        self.deliver()

    def _do_stop(self, effect: Stop) -> None:
        if self.exit_code is None:  # else a second signal, or a broken output, came first
            self.exit_code = effect.exit_code

    def reap(self) -> None:
        """Close what is doomed."""
        for each in self.doomed:
            each.close()
        self.doomed.clear()
