"""Status: what the load balancer shows of itself, to operators and their machines.

Everything is counted where it happens; here it is put together, and nothing is kept.

Not here: what each part shows (`monitored.py`), and how a status travels (`core/exposition.py`,
`nodes/status_page/pages.py`).
"""

from typing import Any

from core.metrics import LabelledHistogram, Value
from core.protocol.server import Server
from core.protocol.server_state import ServerState
from nodes.ls.parts import Parts
from nodes.ls.setup import Setup


class Status:
    """The status of one load balancer, from its parts."""

    def __init__(self, setup: Setup, parts: Parts, server: Server) -> None:
        self._setup = setup
        self._policy = parts.policy.name
        self._links = parts.upstreams.links
        self._monitored = parts.monitored
        self._server = server

    def metrics(self) -> list[Value]:
        """Return all that is counted."""
        return [value for part in self._monitored for value in part.metrics()]

    def histograms(self) -> list[LabelledHistogram]:
        """Return distributions of times, and of which server; none without samples."""
        return [histogram for part in self._monitored for histogram in part.histograms()]

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well.

        A silent resolver is no reason: it is asked only what comes here, so nobody would find out
        that it is back. A refused resolver is a reason: it is asked whether anything comes or not.
        """
        if self._server.life.state is not ServerState.SERVING:
            return "draining"
        if any(link.is_live for link in self._links):
            return ""
        return "no server is up" if self._setup.resolvers else "no table server is up"

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows beside metrics and histograms."""
        where = self._setup.where()
        entries: dict[str, Any] = {
            "program": "ls",
            "policy": self._policy,
            "sampling": "no race is sampled",
            "told": [],
            "where": {link.conn: where.get(link.conn, "") for link in self._links},
        }
        for part in self._monitored:
            entries |= part.page_entries()
        return entries
