"""Status: what the load balancer tells of itself, to operators and their machines.

Everything is counted where it happens; here it is put together, and nothing is kept.

Not here: how it travels (`core/metrics.py`, `nodes/status_page/pages.py`).
"""

from collections.abc import Callable
from typing import Any

from core.environment import Environment
from core.metrics import Histogram, Metric, Value, hits_taken
from core.protocol.names import Negative
from core.protocol.server import Server
from core.protocol.server_state import ServerState
from nodes.ls.link_metrics import link_metrics
from nodes.ls.parts import Parts
from nodes.ls.question_metrics import question_metrics
from nodes.ls.setup import Setup


class Status:
    """The status of one load balancer, from its parts. `loop`: the metrics of its loop."""

    def __init__(
        self,
        setup: Setup,
        env: Environment,
        parts: Parts,
        server: Server,
        loop: Callable[[], list[Value]],
    ) -> None:
        self._setup = setup
        self._hits = env.hits
        self._parts = parts
        self._server = server
        self._loop = loop

    def metrics(self) -> list[Value]:
        """Return all that is counted."""
        parts = self._parts
        values = [
            *question_metrics(parts.questions),
            *([] if parts.hedging is None else parts.hedging.metrics()),
            *self._server.metrics(),
            *self._loop(),
            *hits_taken(self._hits),
        ]
        for link in parts.upstreams.links:
            values += link_metrics(link)
        for upstream in parts.upstreams.all:
            values += upstream.metrics()
        return values if parts.samples is None else values + parts.samples.metrics()

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Return distributions of times, and of which server; none without samples."""
        samples = self._parts.samples
        return [] if samples is None else samples.histograms()

    def unhealthy(self) -> str:
        """Return why nobody should be sent here; empty when all is well.

        A silent resolver is no reason: it is asked only what comes here, so nobody would find out
        that it is back. One that is refused is a reason: it is asked whether anything comes or not.
        """
        if self._server.life.state is not ServerState.SERVING:
            return "draining"
        if any(link.is_live for link in self._parts.upstreams.links):
            return ""
        return "no server is up" if self._setup.resolvers else "no table server is up"

    def about(self) -> dict[str, Any]:
        """Return what the status page shows beside metrics and histograms."""
        samples, where = self._parts.samples, self._setup.where()
        return {
            "policy": "race" if self._parts.hedging is None else "hedge",
            "sampling": "no race is sampled" if samples is None else samples.about,
            "told": [] if samples is None else list(samples.told)[::-1],
            "where": {link.conn: where.get(link.conn, "") for link in self._parts.upstreams.links},
        }

    def account(self) -> str:
        """Return what became of all questions, in a line."""
        questions, denied = self._parts.questions, self._parts.questions.denied
        hedging = self._parts.hedging
        hedged = "" if hedging is None else f", hedged {hedging.hedged}"
        return (
            f"asked {questions.asked}, answered {questions.answered}, "
            f"not found {denied[Negative.NOT_FOUND]}, no data {denied[Negative.NO_DATA]}, "
            f"failed {denied[Negative.FAILED]}, timed out {denied[Negative.TIMED_OUT]}, "
            f"dropped {questions.dropped}, pending {questions.pending}, "
            f"refused {self._server.errors}; joined {questions.joined}, "
            f"late {questions.late}{hedged}"
        )
