"""Refusals: those whom the access list does not admit, counted, and told about now and then.

A scan, or a flood, must not fill the log: one record in ten seconds names an address, the option
that would admit it, and how many came since the record before.

Not here: who judges (`nodes/cli/serving.py`), and what becomes of whoever is not admitted
(`core/io/listener.py`, `core/io/datagrams.py`).
"""

import math
from collections.abc import Callable

from core.io.log import Log
from core.metrics import Value, refused_for
from core.operator import Level

NOT_ADMITTED = refused_for(
    "not_admitted", "Connections and datagrams from where --allow admits nobody", "acl"
)
_QUIET_S = 10.0


class Refusals:
    """The refusals of one loop. `now()` is a clock that never jumps."""

    def __init__(self, now: Callable[[], float], log: Log) -> None:
        self._now = now
        self._log = log
        self._count = 0
        self._told = 0  # how many there were at the last record
        self._told_at = -math.inf

    def refuse(self, host: str) -> None:
        """Count a connection or a datagram from this host, which is not admitted."""
        self._count += 1
        now = self._now()
        if now - self._told_at < _QUIET_S:
            return
        new = self._count - self._told
        others = f" (and {new - 1} others since the last such record)" if new > 1 else ""
        text = f"{host} is refused: no --allow admits it{others}"
        about = {"address": host, "refused": new}
        self._log.report(text, Level.WARNING, "not_admitted", about, NOT_ADMITTED.name)
        self._told, self._told_at = self._count, now

    def counting(self, admit: Callable[[str], bool]) -> Callable[[str], bool]:
        """Return a judge like this one that counts those whom it refuses."""

        def judge(host: str) -> bool:
            is_admitted = admit(host)
            if not is_admitted:
                self.refuse(host)
            return is_admitted

        return judge

    def metrics(self) -> list[Value]:
        """Return how many were refused."""
        return [Value(NOT_ADMITTED, self._count)]
