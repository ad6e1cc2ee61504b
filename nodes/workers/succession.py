"""Succession: workers that are replaced, one place after another, by others that start beside them.

Every process has the configuration that its parent had when it was forked. In a place whose worker
has an older one a successor is started beside it; once that serves, the older one retires: it
listens no more, serves those who are connected, and ends. Both have the same listening sockets, so
whoever waits there meanwhile is served by the successor, and nobody is lost.

Rules. A place is changed only when no other one is being changed, so that all others serve. A
successor that dies is started again as any worker is, and its predecessor goes on. A configuration
that changes once more meanwhile is no other case: whoever has an older one than the parent is
replaced. Nor is a worker that drains since somebody has told it to: it is taken to have none.

Not here: one process's life (`slot.py`), and reading a configuration (`configuration.py`).
"""

from collections.abc import Iterator

from core.effects import Effect
from core.environment import Environment
from core.operator import Level, Report
from nodes.workers.slot import SlotState, WorkerSlot

_NONE = -1  # of a worker that drains


def place_names(count: int) -> list[str]:
    """Return the names of as many places."""
    return [f"W{number}" for number in range(1, count + 1)]


class Succession:
    """All workers: `places` has the one that serves, or will, in each place, by its name; `beside`
    has successors that do not serve yet, and those who retire."""

    def __init__(self, env: Environment, count: int) -> None:
        self._env = env
        self.places = {name: WorkerSlot(env, name, name) for name in place_names(count)}
        self.beside: dict[str, WorkerSlot] = {}  # by connection
        self.by_conn = {slot.conn: slot for slot in self.places.values()}
        self._current = 0  # the number of the parent's configuration
        self._starts = 0  # of successors

    def __iter__(self) -> Iterator[WorkerSlot]:
        """Yield every worker."""
        return iter([*self.places.values(), *self.beside.values()])

    def due(self) -> float:
        """Return when first a process is to be started, or to be ended."""
        return min(slot.due() for slot in self)

    @property
    def is_over(self) -> bool:
        """Whether every place has a worker with the parent's configuration, or will have."""
        return all(not self._is_outdated(slot) for slot in self.places.values())

    def start(self, slot: WorkerSlot, now: float) -> Effect:
        """Start a process with the parent's configuration."""
        slot.configuration = self._current
        return slot.start(now)

    def renew(self) -> None:
        """Take note that the parent's configuration is another one from now on."""
        self._current += 1

    def leaves(self, slot: WorkerSlot) -> None:
        """Take note that a worker drains of its own accord: it has to be replaced."""
        slot.configuration = _NONE

    def go_on(self, now: float) -> list[Effect]:
        """Start the next successor, unless one is starting. Where a place has one that retires yet,
        that drains first: a place has two processes at most, however often there is a change."""
        if any(slot.is_coming for slot in self.beside.values()):
            return []
        effects: list[Effect] = []
        for slot in self.places.values():
            if slot.is_up and self._is_outdated(slot):
                if older := [each for each in self.beside.values() if each.place == slot.place]:
                    effects += [e for each in older if each.is_retiring for e in each.drain()]
                    continue
                self._starts += 1
                successor = slot.successor(self._env, f"{slot.place}.{self._starts}")
                self.beside[successor.conn] = self.by_conn[successor.conn] = successor
                return [*effects, self.start(successor, now)]
        return effects

    def came_up(self, slot: WorkerSlot, now: float, drain_s: float) -> list[Effect]:
        """Have the predecessor of a worker that serves now retire; a drain takes `drain_s`."""
        predecessor = self.places[slot.place]
        if predecessor is slot:
            return []
        self._take_place(slot)
        self.beside[predecessor.conn] = predecessor
        retire_s = self._env.bounds.retire_s
        return predecessor.retire(retire_s, now + retire_s + drain_s)

    def gone(self, slot: WorkerSlot) -> bool:
        """Forget a worker whose process is gone, where another one has its place or will have it;
        return whether that is so."""
        successors = [each for each in self.beside.values() if each.place == slot.place]
        if self.places[slot.place] is slot:
            waiting = next((each for each in successors if each.is_coming), None)
            if waiting is None:
                return False
            self._take_place(waiting)
        elif slot.life.state is SlotState.VACANT:  # a successor: it is started again
            return False
        self.beside.pop(slot.conn, None)
        del self.by_conn[slot.conn]
        return True

    def overdue(self, now: float) -> list[Effect]:
        """End by force those who retire and have not ended in time."""
        effects: list[Effect] = []
        for slot in self.beside.values():
            if slot.ends_by <= now:
                text = f"{slot.conn} does not end: ending it by force"
                effects += [Report(text, Level.WARNING, "worker_cut_off", slot.about), slot.end()]
        return effects

    def _take_place(self, slot: WorkerSlot) -> None:
        del self.beside[slot.conn]
        self.places[slot.place] = slot

    def _is_outdated(self, slot: WorkerSlot) -> bool:
        return slot.is_running and slot.configuration != self._current
