"""The host lookups of one loop: a brain wants the addresses of a name, and hears of them.

A host that is written as an address needs no lookup. Each turn starts one lookup at most, and few
run at a time (`core/io/lookup.py`).

Not here: dialling what was found.
"""

from collections.abc import Callable

from core.effects import Resolve
from core.events import Resolved
from core.io.engine import Engine
from core.io.lookup import Lookups
from core.io.system import reason


class LookupSource:
    """A lookup under way, as what the loop reads."""

    __slots__ = ("_fd", "_read")

    def __init__(self, fd: int, read: Callable[[int], None]) -> None:
        self._fd = fd
        self._read = read

    def fileno(self) -> int:
        return self._fd

    def readable(self, now: float) -> bool:
        """Take what has been found."""
        self._read(self._fd)
        return False

    def writable(self, now: float) -> None:
        """Do nothing: a lookup is only read."""


class LookupRunner:
    """Performs Resolve. `may_start`: there is a lookup to be started now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lookups = Lookups(engine.environment.bounds.lookups_max)
        self.may_start = False
        engine.performers |= {Resolve: self._do_resolve}

    def to_read(self) -> list[int]:
        """Return the descriptors of lookups under way."""
        return self._lookups.fds

    def _do_resolve(self, effect: Resolve) -> None:
        addresses = self._engine.system.numeric(effect.host, effect.port)
        if addresses:
            self._engine.events.append(Resolved(effect.conn, addresses))
        else:
            self._lookups.want(effect.conn, effect.host, effect.port)
            self.may_start = self._lookups.may_start

    def start_next(self) -> None:
        """Start the lookup that has waited longest."""
        engine = self._engine
        name, host, port = self._lookups.next()
        try:
            lookup = engine.system.look_up(host, port)
        except OSError as error:
            self.may_start = self._lookups.may_start
            engine.events.append(Resolved(name, (), reason(error)))
            engine.deliver()
            return
        self._lookups.started(name, lookup)
        self.may_start = self._lookups.may_start
        fd = lookup.fileno()
        engine.by_fd[fd] = LookupSource(fd, self._read)
        engine.read_fds_stale = True

    def _read(self, fd: int) -> None:
        """Read what a lookup has found; when that is all, it is over."""
        engine = self._engine
        name, lookup = self._lookups.at(fd)
        addresses = lookup.read()
        if addresses is not None:
            self._lookups.done(fd)
            self.may_start = self._lookups.may_start
            del engine.by_fd[fd]
            engine.doomed.append(lookup)
            engine.read_fds_stale = True
            engine.events.append(Resolved(name, addresses, lookup.why))

    def give_up(self) -> None:
        """Give all lookups up."""
        for fd in self._lookups.fds:
            del self._engine.by_fd[fd]
        self._engine.doomed.extend(self._lookups.give_up())
        self.may_start = False
