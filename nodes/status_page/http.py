"""A web server for a few pages, as a pure part of a brain: lines in, effects out (RFC 9112).

Each connection is for one request: GET or HEAD of a path that is known; anything else gets the
status that says what is wrong. OPTIONS, of a known path or of `*`, tells which methods are allowed,
with the status of the health page: balancers check with it, so it must fail when the server is not
well. A watcher that has not asked within a few seconds, or sends too long a head, is let go; sooner
when all places are taken, since others may be waiting. A page is made at most once a second,
however many ask for it, so that watching costs next to nothing.

The head of a request is lines, so it comes through the same buffers as the protocol's: a field
that is too long for them arrives cut, and no field is looked at.

Not here: what the pages say (`pages.py`).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice

from core.effects import Abort, Close, Effect, Send
from core.events import Closed, Ended, Event, Opened, Received
from core.protocol.names import LINE_BYTES_MAX
from core.text import split_lines

_HEAD_S = 5.0  # time for a whole head: a browser sends it at once
_CROWDED_S = 1.0  # the same, and for the end, when all places are taken
_HEAD_LINES_MAX = 200
_FRESH_S = 1.0  # age at which a page is made again
HEALTH = "*"  # the path of the page whose status OPTIONS gets
_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_ALLOW = "Allow: GET, HEAD, OPTIONS\r\n"
_KNOWN_METHODS = frozenset({*_METHODS, b"POST", b"PUT", b"DELETE", b"CONNECT", b"TRACE", b"PATCH"})
_WRONG_METHOD = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_REQUEST_LINE = re.compile(rb"([!#-'*+.^_`|~0-9A-Za-z-]+) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.[0-9]")
_ORIGIN = re.compile(rb"^http://[^/?]*", re.IGNORECASE)
_HEAD = """\
HTTP/1.1 {status.value} {status.phrase}\r
Content-Type: {media_type}\r
Content-Length: {length}\r
Cache-Control: no-store\r
Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; \
form-action 'none'; frame-ancestors 'none'\r
X-Content-Type-Options: nosniff\r
Connection: close\r
{more}\r
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, as a response carries it."""

    media_type: str
    body: bytes
    status: HTTPStatus = HTTPStatus.OK


@dataclass(slots=True)
class _Request:
    """A request, as far as it has come."""

    since: float
    line: bytes = b""  # the request line, the first of its head
    lines: int = 0


class WebServer:
    """The connections of all watchers. `pages` make the page of each path at a given time; one of
    the paths is `HEALTH`. `watchers_max`: connections that there may be at once; others wait."""

    def __init__(
        self, pages: Mapping[str, Callable[[float], Page]], watchers_max: float = math.inf
    ) -> None:
        self._pages = pages
        self._watchers_max = watchers_max
        self._parting: dict[str, float] = {}  # those that have their response, and since when
        self._made: dict[str, tuple[float, Page]] = {}  # by path, and when
        self._requests: dict[str, _Request] = {}  # of those without a response, the oldest first
        self.requests = 0

    def due(self) -> float:
        """Return when the first watcher is let go: one that has not asked yet, or, when all places
        are taken, one that has its response and does not end. Infinite for never."""
        oldest = [request.since for request in islice(self._requests.values(), 1)]
        if self._is_crowded():
            oldest += islice(self._parting.values(), 1)
        return min(oldest, default=math.inf) + self._limit_s()

    def woken(self, now: float) -> list[Effect]:
        """Let go of the watchers that take too long."""
        effects: list[Effect] = []
        while self.due() <= now:
            for conn, request in islice(self._requests.items(), 1):
                if request.since + self._limit_s() <= now:
                    effects += self._respond(conn, _plain(HTTPStatus.REQUEST_TIMEOUT), now)
                    break
            else:
                conn = next(iter(self._parting))
                del self._parting[conn]
                effects.append(Abort(conn))
        return effects

    def _is_crowded(self) -> bool:
        return len(self._requests) + len(self._parting) >= self._watchers_max

    def _limit_s(self) -> float:
        return _CROWDED_S if self._is_crowded() else _HEAD_S

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event of a watcher's connection."""
        match event:
            case Opened(conn):
                self._requests[conn] = _Request(now)
            case Received(conn, data):
                return self._read(conn, data, now)
            case Ended(conn) if conn in self._requests:
                return self._respond(conn, _plain(HTTPStatus.BAD_REQUEST), now)
            case Closed(conn):
                self._requests.pop(conn, None)
                self._parting.pop(conn, None)
        return []

    def _read(self, conn: str, data: bytes, now: float) -> list[Effect]:
        request = self._requests.get(conn)
        if request is None:  # it has its response, and sends more
            return []
        for line in split_lines(data):
            if not request.line:
                request.line = line  # an empty line before it is ignored (RFC 9112, 2.2)
                continue
            if not line:
                return self._answer(conn, request.line, now)
            request.lines += 1
            if request.lines > _HEAD_LINES_MAX:
                too_large = _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return self._respond(conn, too_large, now)
        return []

    def _answer(self, conn: str, line: bytes, now: float) -> list[Effect]:
        method, page = self._page(line, now)
        more = _ALLOW if method == b"OPTIONS" or page.status in _WRONG_METHOD else ""
        return self._respond(conn, page, now, more=more, with_body=method != b"HEAD")

    def _page(self, line: bytes, now: float) -> tuple[bytes, Page]:
        """Return the method of a request line, empty if it has none, and the page to send."""
        if len(line) > LINE_BYTES_MAX:
            return b"", _plain(HTTPStatus.REQUEST_URI_TOO_LONG)
        parts = _REQUEST_LINE.fullmatch(line)
        if parts is None:
            return b"", _plain(HTTPStatus.BAD_REQUEST)
        method, target, version = parts.groups()
        if version != b"1":
            return method, _plain(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if method not in _METHODS:
            known = method in _KNOWN_METHODS
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_IMPLEMENTED
            return method, _plain(status)
        # In absolute form, as for a proxy, a host stands before the path (RFC 9112, 3.2.2).
        path = _ORIGIN.sub(b"", target).partition(b"?")[0].decode("latin-1")
        if not path.startswith("/") and (method, path) != (b"OPTIONS", HEALTH):
            return method, _plain(HTTPStatus.BAD_REQUEST)
        if path not in self._pages:
            return method, _plain(HTTPStatus.NOT_FOUND)
        if method == b"OPTIONS":
            path = HEALTH
        made_at, page = self._made.get(path, (-math.inf, None))
        if page is None or now - made_at >= _FRESH_S:
            page = self._pages[path](now)
            self._made[path] = now, page
        return method, page

    def _respond(
        self, conn: str, page: Page, now: float, *, more: str = "", with_body: bool = True
    ) -> list[Effect]:
        """Send the whole response, and end the connection."""
        self.requests += 1
        del self._requests[conn]
        self._parting[conn] = now
        head = _HEAD.format(
            status=page.status, media_type=page.media_type, length=len(page.body), more=more
        ).encode("ascii")
        return [Send(conn, head + page.body if with_body else head), Close(conn)]


def _plain(status: HTTPStatus) -> Page:
    return Page("text/plain; charset=utf-8", f"{status.phrase}\n".encode("ascii"), status)
