"""The host lookups of one loop: a brain wants the addresses of a name, and hears of them.

A host that is written as an address is no lookup. One is started in a turn, and few run at a time
(`core/io/lookup.py`).

Not here: dialling what was found.
"""

from collections.abc import Callable
from typing import Any

from core.effects import Resolve
from core.events import Resolved
from core.io.engine import Engine
from core.io.lookup import Lookups
from core.io.system import reason


class HostLookups:
    """Performs Resolve. `fds` are the descriptors to read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lookups = Lookups(engine.environment.bounds.lookups_max)
        self.is_waiting = False  # whether any has to be started, now or when another one ends

    @property
    def fds(self) -> list[int]:
        return self._lookups.fds

    @property
    def may_start(self) -> bool:
        """Whether there is one to be started now."""
        return self._lookups.may_start

    def performers(self) -> dict[type, Callable[[Any], None]]:
        """Return what performs Resolve."""
        return {Resolve: self._do_resolve}

    def _do_resolve(self, effect: Resolve) -> None:
        addresses = self._engine.system.numeric(effect.host, effect.port)
        if addresses:
            self._engine.events.append(Resolved(effect.conn, addresses))
        else:
            self._lookups.want(effect.conn, effect.host, effect.port)
            self.is_waiting = bool(self._lookups.waiting)

    def start_next(self) -> None:
        """Start the lookup that has waited longest."""
        engine = self._engine
        name, host, port = self._lookups.next()
        self.is_waiting = bool(self._lookups.waiting)
        try:
            self._lookups.started(name, engine.system.look_up(host, port))
        except OSError as error:
            engine.events.append(Resolved(name, (), reason(error)))
            engine.deliver()
            return
        engine.read_fds_stale = True

    def read(self, fd: int) -> bool:
        """Read what a lookup has found, if this is the descriptor of one; return whether it is."""
        if fd not in self._lookups:
            return False
        engine = self._engine
        name, lookup = self._lookups.at(fd)
        addresses = lookup.read()
        if addresses is not None:
            self._lookups.done(fd)
            engine.doomed.append(lookup)
            engine.read_fds_stale = True
            engine.events.append(Resolved(name, addresses, lookup.why))
        return True

    def close(self) -> None:
        """Give all lookups up."""
        self._engine.doomed.extend(self._lookups.give_up())
        self.is_waiting = False
