"""The pages of the status server: for Prometheus, for balancers and Kubernetes, and for people.

The page for people is one file without outside assets; it loads what it shows as JSON, every
second. Names that clients asked for are in the JSON only, and the page shows them as text.

Not here: HTTP (`http.py`), and what is counted (`core.metrics.Observable`).
"""

import json
import pkgutil
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from core.exposition import prometheus_text
from core.metrics import SPANS_S, Observable
from nodes.status_page.http import HEALTH, Page, Route


def pages(server: Observable) -> Mapping[str, Route]:
    """Return the route of each path."""
    html = pkgutil.get_data(__name__, "page.html")
    assert html is not None

    def readiness(now: float) -> Page:
        return _health(server.unhealthy())

    ready = Route(readiness, is_health=True)
    return {
        "/": Route(lambda now: Page("text/html; charset=utf-8", html)),
        "/metrics": Route(
            lambda now: Page(
                "text/plain; version=0.0.4; charset=utf-8",
                prometheus_text(server.metrics(), server.histograms(), _kinds(server)),
            )
        ),
        "/livez": Route(lambda now: _health(""), is_health=True),  # to answer is the proof
        "/readyz": ready,
        "/healthz": ready,
        HEALTH: ready,
        "/status.json": Route(
            lambda now: Page("application/json", json.dumps(status(server, now)).encode() + b"\n")
        ),
    }


def _health(why: str) -> Page:
    """Return the page of a server that is not well because of this; of a well one where it is
    empty."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
    return Page("text/plain; charset=utf-8", f"{why or 'ok'}\n".encode(), status)


def _kinds(server: Observable) -> dict[str, str]:
    return {name: about["kind"] for name, about in server.page_entries().get("servers", {}).items()}


def status(server: Observable, now: float) -> dict[str, Any]:
    """Put together what the page shows, at this time."""
    entries = server.page_entries()
    upstreams: dict[str, dict[str, Any]] = {
        name: {"name": name, **about} for name, about in entries.pop("servers", {}).items()
    }
    values = server.metrics()
    for value in values:
        if value.subject in upstreams and "." not in value.metric.name:  # but spans
            upstreams[value.subject][value.metric.name] = value.value
    for metric, histogram, subject in server.histograms():
        if subject in upstreams:
            upstreams[subject][metric.name] = histogram.counts
    return {
        **entries,
        "at": round(now, 3),
        "unhealthy": server.unhealthy(),
        "figures": {value.metric.name: value.value for value in values if not value.subject},
        "servers": list(upstreams.values()),
        "spans": SPANS_S,
    }
