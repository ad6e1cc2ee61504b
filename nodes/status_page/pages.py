"""The pages of the status server: for Prometheus, for a balancer, and for people.

The page for people is one file without outside assets; what it shows it asks for as JSON, every
second. Names that somebody asked for are in the JSON only, and the page shows them as text.

Not here: HTTP (`nodes/status_page/http.py`), and what is counted (the load balancer).
"""

import json
import pkgutil
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from core.metrics import SPANS_S, Histogram, Metric, Value, prometheus_text
from nodes.status_page.http import HEALTH, Page


class Observable(Protocol):
    """What a server shows of itself."""

    def metrics(self) -> list[Value]:
        """All that it counts."""
        ...

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Distributions of times, and of which TS."""
        ...

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        ...

    def about(self) -> dict[str, Any]:
        """What the page shows besides. `where`: the address of each server, in order."""
        ...


def pages(server: Observable) -> Mapping[str, Callable[[float], Page]]:
    """What each path leads to."""
    html = pkgutil.get_data(__name__, "page.html")
    assert html is not None

    def health(now: float) -> Page:
        why = server.unhealthy()
        status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
        return Page("text/plain; charset=utf-8", f"{why or 'ok'}\n".encode(), status)

    return {
        "/": lambda now: Page("text/html; charset=utf-8", html),
        "/metrics": lambda now: Page(
            "text/plain; version=0.0.4; charset=utf-8",
            prometheus_text(server.metrics(), server.histograms()),
        ),
        "/healthz": health,
        HEALTH: health,
        "/status.json": lambda now: Page(
            "application/json", json.dumps(status(server, now)).encode() + b"\n"
        ),
    }


def status(watched: Observable, now: float) -> dict[str, Any]:
    """Put together what the page shows, at this time."""
    about = watched.about()
    servers: dict[str, dict[str, Any]] = {
        name: {"name": name, "where": where} for name, where in about.pop("where").items()
    }
    values = watched.metrics()
    for value in values:
        if value.of in servers:
            servers[value.of][value.metric.name] = value.value
    for metric, histogram, of in watched.histograms():
        if of in servers:
            servers[of][metric.name] = histogram.counts
    return {
        **about,
        "at": round(now, 3),
        "unhealthy": watched.unhealthy(),
        "figures": {value.metric.name: value.value for value in values if not value.of},
        "servers": list(servers.values()),
        "spans": SPANS_S,
    }
