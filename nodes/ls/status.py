"""Status: what the load balancer shows of itself, to operators and their machines.

Everything is counted where it happens; here it is put together, and nothing is kept.

Not here: what each part shows (`monitored.py`), where servers stand among tiers and routes
(`placement.py`), and how a status travels (`core/exposition.py`, `nodes/status_page/pages.py`).
"""

from typing import Any

from core.metrics import LabelledHistogram, Value, spans_taken
from core.protocol.server import Server
from core.protocol.server_state import DRAINING, ServerState
from nodes.ls.link_metrics import about
from nodes.ls.parts import Parts
from nodes.ls.placement import nobodys, placed
from nodes.ls.setup import Setup


class Status:
    """The status of one load balancer, from its parts and its options."""

    def __init__(self, parts: Parts, server: Server, setup: Setup) -> None:
        self._policy = parts.policy.name
        self._links = parts.upstreams.links
        self._upstreams = parts.upstreams.all
        self._monitored = parts.monitored
        self._server = server
        self._places = placed(setup)
        self._nobodys = nobodys(setup)

    def metrics(self) -> list[Value]:
        """Return all that is counted."""
        values = [value for part in self._monitored for value in part.metrics()]
        return values + spans_taken(self.histograms())

    def histograms(self) -> list[LabelledHistogram]:
        """Return distributions of times, and of which server; none without samples."""
        return [histogram for part in self._monitored for histogram in part.histograms()]

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well."""
        if self._server.life.state is not ServerState.SERVING:
            return DRAINING
        if not all(link.health.is_bad for link in self._links):
            return ""
        how = [link.health.text() for link in self._links]
        return f"no server is good: {', '.join(how)}" if how else "there is no server"

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows beside metrics and histograms."""
        entries: dict[str, Any] = {
            "program": "ls",
            "policy": self._policy,
            "sampling": "no race is sampled",
            "told": [],
            "nobodys_names": self._nobodys,
            "servers": {
                upstream.link.conn: about(upstream) | self._places[upstream.link.conn]
                for upstream in self._upstreams
            },
        }
        for part in self._monitored:
            entries |= part.page_entries()
        return entries
