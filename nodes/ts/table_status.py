"""Status: what a table server shows of itself, to operators and their machines.

Everything is counted where it happens; here it is put together, and nothing is kept.

Not here: how a status travels (`core/exposition.py`, `nodes/status_page/pages.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from core.metrics import LabelledHistogram, Value, hits_taken
from core.protocol.server import Server
from core.protocol.server_state import DRAINING, ServerState
from nodes.ts.answers import TableAnswers
from nodes.ts.reload import Reload


class TableStatus:
    """The status of one table server, from its parts; see `core.metrics.Observable`. `loop()`
    returns the metrics of the loop that runs it."""

    def __init__(
        self,
        answers: TableAnswers,
        reload: Reload | None,
        server: Server,
        loop: Callable[[], list[Value]],
        hits: Mapping[str, int],
    ) -> None:
        self._answers = answers
        self._reload = reload
        self._server = server
        self._loop = loop
        self._hits = hits

    def metrics(self) -> list[Value]:
        """Return all that is counted."""
        return [
            *self._answers.metrics(),
            *([] if self._reload is None else self._reload.metrics()),
            *self._server.metrics(),
            *self._loop(),
            *hits_taken(self._hits),
        ]

    def histograms(self) -> list[LabelledHistogram]:
        """Return distributions of times: none, since nothing waits here."""
        return []

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well."""
        return "" if self._server.life.state is ServerState.SERVING else DRAINING

    def page_entries(self) -> dict[str, Any]:
        """Return what the status page shows besides."""
        return {"program": "ts"}
