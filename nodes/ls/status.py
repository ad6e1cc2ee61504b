"""Shown: what the load balancer tells of itself, to operators and their machines.

Everything is counted where it happens; here it is put together, and nothing is kept.

Not here: how it travels (`core/metrics.py`, `nodes/status_page/pages.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

from core.bounds import BoundHits
from core.metrics import Histogram, Metric, Value, hits_taken
from core.protocol.names import Negative
from core.protocol.server import Server
from core.protocol.server_state import ServerState
from nodes.ls.hedging.policy import HedgePolicy
from nodes.ls.link import Link
from nodes.ls.questions import Questions
from nodes.ls.race_samples import RaceSamples
from nodes.ls.resolvers.resolvers import Resolvers


class Status:
    """Of one load balancer, from its parts. `where`: the addresses of its servers, for people."""

    def __init__(
        self,
        race: Questions,
        hedge: HedgePolicy | None,
        server: Server,
        links: Mapping[str, Link],
        resolvers: Resolvers,
        samples: RaceSamples | None,
        loop: Callable[[], list[Value]],
        hits: BoundHits,
        where: Mapping[str, str],
    ) -> None:
        self._questions = race
        self._hedge = hedge
        self._server = server
        self._links = links
        self._resolvers = resolvers
        self._samples = samples
        self._loop = loop
        self._hits = hits
        self._where = where

    def metrics(self) -> list[Value]:
        """All that is counted."""
        values = [
            *self._questions.metrics(),
            *([] if self._hedge is None else self._hedge.metrics()),
            *self._server.metrics(),
            *self._loop(),
            *hits_taken(self._hits),
        ]
        for link in self._links.values():
            values += link.metrics()
        values += self._resolvers.metrics()
        return values if self._samples is None else values + self._samples.metrics()

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Distributions of times, and of which server; none without samples."""
        return [] if self._samples is None else self._samples.histograms()

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well.

        A silent resolver is no reason: it is asked only what comes here, so nobody would find out
        that it is back. One that is refused is a reason: it is asked whether anything comes or not.
        """
        if self._server.life.state is not ServerState.SERVING:
            return "draining"
        if any(link.is_live for link in self._links.values()):
            return ""
        return "no server is up" if self._resolvers else "no table server is up"

    def about(self) -> dict[str, Any]:
        """What the status page shows beside figures and histograms."""
        samples = self._samples
        return {
            "policy": "race" if self._hedge is None else "hedge",
            "sampling": "no race is sampled" if samples is None else samples.about,
            "told": [] if samples is None else list(samples.told)[::-1],
            "where": {name: self._where.get(name, "") for name in self._links},
        }

    def account(self) -> str:
        """What became of all questions, in a line."""
        race, denied = self._questions, self._questions.denied
        hedged = "" if self._hedge is None else f", hedged {self._hedge.hedged}"
        return (
            f"asked {race.asked}, answered {race.answered}, "
            f"not found {denied[Negative.NOT_FOUND]}, no data {denied[Negative.NO_DATA]}, "
            f"failed {denied[Negative.FAILED]}, timed out {denied[Negative.TIMED_OUT]}, "
            f"dropped {race.dropped}, pending {race.pending}, refused {self._server.errors}; "
            f"joined {race.joined}, late {race.late}{hedged}"
        )
