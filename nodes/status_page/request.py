"""A request's head, line by line: what it asks for, and of which host (RFC 9112).

The lines come through the same buffers as the protocol's, so one that is longer than
`LINE_BYTES_MAX` may have arrived cut: nothing behind that counts, and a request line or a Host of
that length is refused. A line that is no field is refused, too: with a space before the colon, or
before a line that continues the last one, two readers may see two different Hosts. Of the fields
only Host is looked at.

A request is sent to the host in its target, where that has one, else to that of its Host field.

Not here: which hosts are served (`hosts.py`), and the pages (`http.py`).
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from core.protocol.names import LINE_BYTES_MAX

ASTERISK = "*"  # the target of an OPTIONS that is about the whole server
_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_KNOWN_METHODS = frozenset({*_METHODS, b"POST", b"PUT", b"DELETE", b"CONNECT", b"TRACE", b"PATCH"})
_TOKEN = rb"[!#-'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_ABSOLUTE = re.compile(rb"http://([^/?]+)(.*)", re.IGNORECASE)
_FIELD = re.compile(rb"(%b):[ \t]*(.*?)[ \t]*" % _TOKEN, re.DOTALL)
# host[:port] (RFC 3986, 3.2.2), without a user; an IPv6 address may name its interface.
_AUTHORITY = re.compile(
    rb"(\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._~-]+)?\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?"
)


class RequestError(Exception):
    """A request that gets this status, and this line in place of a page. `report`: what the log is
    told; empty for nothing."""

    def __init__(self, status: HTTPStatus, text: str = "", report: str = "") -> None:
        super().__init__(text or status.phrase)
        self.status = status
        self.report = report


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request that may be answered. `fields`: the values of its Host fields. `authority`: that in
    its target, empty where there is none."""

    path: str
    authority: bytes
    fields: tuple[bytes, ...]
    needs_field: bool

    def host(self) -> str | None:
        """Return the host that it was sent to, as it spells it; None where HTTP/1.0 does not say.
        Raises RequestError (RFC 9112, 3.2)."""
        if len(self.fields) > 1:
            raise _bad("a request has one Host field, not several")
        if self.needs_field and not self.fields:
            raise _bad("a request of HTTP/1.1 has a Host field")
        host = None
        for text in (*self.fields, *filter(None, [self.authority])):
            found = _AUTHORITY.fullmatch(text)
            if found is None:
                raise _bad("the host of a request is HOST or HOST:PORT")
            host = found[1].decode("ascii")
        return host


class Head:
    """The head of one request, as far as it has come. `lines`: how many came after its first."""

    __slots__ = ("_has_odd_line", "_hosts", "_line", "lines")

    def __init__(self) -> None:
        self.lines = 0
        self._line = b""  # the request line
        self._hosts: list[bytes] = []  # values of Host fields
        self._has_odd_line = False

    def take(self, line: bytes) -> bool:
        """Take the next line; return whether it is the last."""
        if not self._line:
            self._line = line  # an empty line before it is ignored (RFC 9112, 2.2)
            return False
        if not line:
            return True
        self.lines += 1
        field = _FIELD.fullmatch(line[:LINE_BYTES_MAX])
        if field is None:
            self._has_odd_line = True
        elif field[1].lower() == b"host":
            self._has_odd_line |= len(line) > LINE_BYTES_MAX
            self._hosts.append(field[2])
        return False

    @property
    def method(self) -> bytes:
        """The method, known or not; of what is no request the first word."""
        return self._line.partition(b" ")[0]

    def read(self) -> WebRequest:
        """Return the request, when its last line has been taken. Raises RequestError."""
        if len(self._line) > LINE_BYTES_MAX:
            raise RequestError(HTTPStatus.REQUEST_URI_TOO_LONG)
        parts = _REQUEST_LINE.fullmatch(self._line)
        if parts is None:
            raise _bad()
        method, target, version, minor = parts.groups()
        if version != b"1":
            raise RequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if method not in _METHODS:
            is_known = method in _KNOWN_METHODS
            status = HTTPStatus.METHOD_NOT_ALLOWED if is_known else HTTPStatus.NOT_IMPLEMENTED
            raise RequestError(status)
        if self._has_odd_line:
            raise _bad("a line of the head is no field, or a Host that is too long")
        authority = b""
        if absolute := _ABSOLUTE.fullmatch(target):  # as for a proxy (RFC 9112, 3.2.2)
            authority, target = absolute.groups()
        path = target.partition(b"?")[0].decode("latin-1")
        if not path.startswith("/") and (method, path) != (b"OPTIONS", ASTERISK):
            raise _bad()
        return WebRequest(path, authority, tuple(self._hosts), minor != b"0")


def _bad(text: str = "") -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, text)
