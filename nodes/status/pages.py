"""The pages of the status server: for Prometheus, for a balancer, and for people.

The page for people is one file without outside assets; what it shows it asks for as JSON, every
second. Names that somebody asked for are in the JSON only, and the page shows them as text.

Not here: HTTP (`nodes/status/http.py`), and what is counted (the load balancer).
"""

import json
import pkgutil
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol

from core.figures import Figure, Histogram, Value, metrics
from nodes.status.http import Page


class Watched(Protocol):
    """What a server shows of itself."""

    def figures(self) -> list[Value]:
        """All that it counts."""
        ...

    def histograms(self) -> list[tuple[Figure, Histogram, str]]:
        """Distributions of times, and of which TS."""
        ...

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        ...

    def status(self, now: float) -> dict[str, object]:
        """What the page shows, at this time."""
        ...


def pages(server: Watched) -> Mapping[str, Callable[[float], Page]]:
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
            metrics(server.figures(), server.histograms()),
        ),
        "/healthz": health,
        "/status.json": lambda now: Page(
            "application/json", json.dumps(server.status(now)).encode() + b"\n"
        ),
    }
