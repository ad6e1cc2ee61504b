"""Metrics of the service that LS gives: its clients, the loop that runs it, and bounds that took
hold.

Not here: who counts (`core/protocol/server.py`, `core/io/loop.py`, whoever keeps a bound).
"""

from collections.abc import Callable

from core.bounds import BoundHits
from core.metrics import Value, hits_taken
from core.protocol.server import Server
from nodes.ls.monitored import Monitored


class ServiceMetrics(Monitored):
    """All metrics but those of questions and upstreams. `loop`: the metrics of the loop."""

    def __init__(self, server: Server, loop: Callable[[], list[Value]], hits: BoundHits) -> None:
        self._server = server
        self._loop = loop
        self._hits = hits

    def metrics(self) -> list[Value]:
        return [*self._server.metrics(), *self._loop(), *hits_taken(self._hits)]
