"""The pages of the status server: for Prometheus, for balancers and Kubernetes, and for people.

The page for people is one file without outside assets; it loads what it shows as JSON, every
second. Names that clients asked for are in the JSON only, and the page shows them as text. Its
script and its style are the only ones that a browser takes: the response names them by their hash.

Not here: HTTP (`http.py`), what is counted (`core.metrics.Observable`), and what is kept for the
page to show besides (`status_page.py`).
"""

import json
import pkgutil
import re
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from core.metrics import SPANS_S, Observable, Value
from nodes.status_page.http import HEALTH, Page, Route
from nodes.status_page.prometheus import prometheus_page


def pages(
    server: Observable,
    full_status: Callable[[float], dict[str, Any]],
    process: Callable[[], list[Value]] = list,
) -> Mapping[str, Route]:
    """Return the route of each path. `full_status` returns what the page for people shows, and
    `process` the metrics of this process."""
    html = pkgutil.get_data(__name__, "page.html")
    assert html is not None
    for_people = Page("text/html; charset=utf-8", html, inline=_inline(html))

    def readiness(now: float) -> Page:
        return _health(server.unhealthy())

    ready = Route(readiness, is_health=True)
    return {
        "/": Route(lambda now: for_people),
        "/metrics": Route(
            lambda now: Page(
                "text/plain; version=0.0.4; charset=utf-8",
                prometheus_page(server, process),
            )
        ),
        "/livez": Route(lambda now: _health(""), is_health=True),  # to answer is the proof
        "/readyz": ready,
        "/healthz": ready,
        HEALTH: ready,
        "/status.json": Route(
            lambda now: Page("application/json", json.dumps(full_status(now)).encode() + b"\n")
        ),
    }


def _inline(html: bytes) -> str:
    """Return the directives that let a browser take the script and the style of a page, each by its
    hash, and no other (Content Security Policy, level 2)."""
    directives = ""
    for kind, text in re.findall(rb"(?s)<(script|style)>(.*?)</\1>", html):
        digest = b2a_base64(sha256(text).digest(), newline=False)
        directives += f"{kind.decode()}-src 'sha256-{digest.decode()}'; "
    return directives


def _health(why: str) -> Page:
    """Return the page of a server that is not well because of this; of a well one where it is
    empty."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
    return Page("text/plain; charset=utf-8", f"{why or 'ok'}\n".encode(), status)


def status(server: Observable, now: float) -> dict[str, Any]:
    """Put together what the server itself says for the page, at this time."""
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
