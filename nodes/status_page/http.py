"""A web server for a few pages, as a pure part of a brain: lines in, effects out (RFC 9112).

Each connection is for one request: GET or HEAD of a path that is known; anything else gets the
status that says what is wrong. A page is shown only to a request that was sent to a host of this
server, and 421 says so to any other; a path of health tells so little that it is shown to all, as
balancers may send any Host. OPTIONS tells which methods are allowed, with the status of its path if
that is one of health, and else with that of `HEALTH`: balancers check with it, so it must fail when
the server is not well.

A watcher that has not asked within a few seconds, or sends too long a head, is let go; sooner when
all places are taken, since others may be waiting. A page is made at most once a second, however
many ask for it, so that watching costs next to nothing.

Not here: what a request asks for (`request.py`), which hosts are this server's (`hosts.py`), and
what the pages say (`pages.py`).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice

from core.effects import Abort, Close, Effect, Send
from core.events import Closed, Ended, Event, Opened, Received
from core.operator import Level, Report
from core.text import split_lines
from nodes.status_page.hosts import ServedHosts
from nodes.status_page.request import ASTERISK, Head, RequestError

_HEAD_S = 5.0  # time for a whole head: a browser sends it at once
_CROWDED_S = 1.0  # the same, and for the end, when all places are taken
_HEAD_LINES_MAX = 200
_FRESH_S = 1.0  # age at which a page is made again
_HOST_SHOWN_MAX = 64  # letters of a host in the log: it may be anybody's text
HEALTH = ASTERISK  # the path of health whose status OPTIONS gets by default
_ALLOW = "Allow: GET, HEAD, OPTIONS\r\n"
_WRONG_METHOD = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_HEAD = """\
HTTP/1.1 {status.value} {status.phrase}\r
Content-Type: {media_type}\r
Content-Length: {length}\r
Cache-Control: no-store\r
Content-Security-Policy: default-src 'none'; {inline}img-src data:; connect-src 'self'; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r
X-Content-Type-Options: nosniff\r
Connection: close\r
{more}\r
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, as a response carries it. `inline`: directives of a Content-Security-Policy that let
    a browser take the scripts and styles that are in the page itself; by default it takes none."""

    media_type: str
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    inline: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The page behind a path. `make` makes its page at a given time. `is_health`: the page tells
    nothing but how the server is, so it is shown to requests for any host."""

    make: Callable[[float], Page]
    is_health: bool = False


@dataclass(slots=True)
class _Watcher:
    """A watcher without a response, and its request as far as it has come."""

    since: float
    head: Head = field(default_factory=Head)


class WebServer:
    """The connections of all watchers. `routes`: by path, `HEALTH` among them. `watchers_max`:
    connections that there may be at once; others wait. `names`: the server's own."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        watchers_max: float = math.inf,
        names: Iterable[str] = (),
    ) -> None:
        self._routes = routes
        self._watchers_max = watchers_max
        self._hosts = ServedHosts(names)
        self._parting: dict[str, float] = {}  # those that have their response, and since when
        self._made: dict[str, tuple[float, Page]] = {}  # by path, and when
        self._watchers: dict[str, _Watcher] = {}  # those without a response, the oldest first
        self.requests = 0

    def due(self) -> float:
        """Return when the first watcher is let go: one that has not asked yet, or, when all places
        are taken, one that has its response and does not end. Infinite for never."""
        oldest = [watcher.since for watcher in islice(self._watchers.values(), 1)]
        if self._is_crowded():
            oldest += islice(self._parting.values(), 1)
        return min(oldest, default=math.inf) + self._limit_s()

    def woken(self, now: float) -> list[Effect]:
        """Let go of the watchers that take too long."""
        effects: list[Effect] = []
        while self.due() <= now:
            for conn, watcher in islice(self._watchers.items(), 1):
                if watcher.since + self._limit_s() <= now:
                    effects += self._respond(conn, _plain(HTTPStatus.REQUEST_TIMEOUT), now)
                    break
            else:
                conn = next(iter(self._parting))
                del self._parting[conn]
                effects.append(Abort(conn))
        return effects

    def _is_crowded(self) -> bool:
        return len(self._watchers) + len(self._parting) >= self._watchers_max

    def _limit_s(self) -> float:
        return _CROWDED_S if self._is_crowded() else _HEAD_S

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event of a watcher's connection."""
        match event:
            case Opened(conn):
                self._watchers[conn] = _Watcher(now)
            case Received(conn, data):
                return self._read(conn, data, now)
            case Ended(conn) if conn in self._watchers:
                return self._respond(conn, _plain(HTTPStatus.BAD_REQUEST), now)
            case Closed(conn):
                self._watchers.pop(conn, None)
                self._parting.pop(conn, None)
        return []

    def _read(self, conn: str, data: bytes, now: float) -> list[Effect]:
        watcher = self._watchers.get(conn)
        if watcher is None:  # it has its response, and sends more
            return []
        head = watcher.head
        for line in split_lines(data):
            if head.take(line):
                return self._answer(conn, head, now)
            if head.lines > _HEAD_LINES_MAX:
                too_large = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return self._respond(conn, too_large, now)
        return []

    def _answer(self, conn: str, head: Head, now: float) -> list[Effect]:
        effects: list[Effect] = []
        try:
            page = self._page(head, now)
        except RequestError as error:
            page = _plain(error.status, str(error))
            if error.report:
                effects.append(
                    Report(error.report, Level.WARNING, "request_misdirected", {}, "misdirected")
                )
        more = _ALLOW if head.method == b"OPTIONS" or page.status in _WRONG_METHOD else ""
        with_body = head.method != b"HEAD"
        return effects + self._respond(conn, page, now, more=more, with_body=with_body)

    def _page(self, head: Head, now: float) -> Page:
        """Return the page to show for a whole head. Raises RequestError."""
        request = head.read()
        path, route = request.path, self._routes.get(request.path)
        if route is not None and head.method == b"OPTIONS" and not route.is_health:
            path, route = HEALTH, self._routes[HEALTH]
        if route is None or not route.is_health:
            self._check_host(request.host())
        if route is None:
            raise RequestError(HTTPStatus.NOT_FOUND)
        made_at, page = self._made.get(path, (-math.inf, None))
        if page is None or now - made_at >= _FRESH_S:
            page = route.make(now)
            self._made[path] = now, page
        return page

    def _check_host(self, host: str | None) -> None:
        """Raise RequestError where a request was sent to a host that is not served."""
        if host is None or self._hosts.serves(host):  # a browser always says it
            return
        shown = host if len(host) <= _HOST_SHOWN_MAX else f"{host[:_HOST_SHOWN_MAX]}..."
        raise RequestError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "not a name of this server; if it should be one, start it with --metrics-name NAME",
            f"refused to show the status page as {shown}; if that is a name of this server, start "
            "it with --metrics-name NAME",
        )

    def _respond(
        self, conn: str, page: Page, now: float, *, more: str = "", with_body: bool = True
    ) -> list[Effect]:
        """Send the whole response, and end the connection."""
        self.requests += 1
        del self._watchers[conn]
        self._parting[conn] = now
        head = _HEAD.format(
            status=page.status,
            media_type=page.media_type,
            length=len(page.body),
            inline=page.inline,
            more=more,
        ).encode("ascii")
        return [Send(conn, head + page.body if with_body else head), Close(conn)]


def _plain(status: HTTPStatus, text: str = "") -> Page:
    body = f"{text or status.phrase}\n".encode("ascii")
    return Page("text/plain; charset=utf-8", body, status)
