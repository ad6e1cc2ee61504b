"""The status page is shown to requests for hosts of the server, and no others (DNS rebinding).

Requests go through the whole web server, in one piece and byte by byte.

Not here: whatever else a request may be (`tests/nodes/test_requests.py`), and real sockets
(`tests/processes/test_status_page.py`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Close, Send
from core.environment import Environment
from core.io.system import System
from core.operator import Level, Report
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.status_page import with_status_page
from nodes.cli.ts import read_ts_options
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.nodes.test_requests import ME, Site, response, visited
from tests.support.stage import Stage

NAMES = ("LS1", "page.example.", "xn--bcher-kva.example")
KIND = "misdirected"


def status(request: bytes) -> tuple[int, Site]:
    """Return the status of a request, the same however it comes, and the site that was asked."""
    found = {}
    for chunks in ([bytes([byte]) for byte in request], [request]):
        stage, site = visited(names=NAMES)
        stage.hear(ME, *chunks)
        assert [type(effect) for effect in site.effects[-2:]] == [Send, Close]
        method = request.partition(b" ")[0].decode()
        found[response(stage.take(ME), method)[0].status] = site
    ((only, site),) = found.items()
    return only, site


def sent_to(host: bytes, path: bytes = b"/") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (path, host)


# -- hosts -----------------------------------------------------------------------------------------

HOSTS = {
    # Numeric addresses.
    b"127.0.0.1": 200, b"127.0.0.1:5380": 200, b"10.1.2.3:": 200, b"192.0.2.1.": 200,
    b"[::1]": 200, b"[::1]:5380": 200, b"[2001:DB8::1]:80": 200, b"[::ffff:10.0.0.1]": 200,
    b"[fe80::1%eth0]:5380": 200, b"[fe80::1%25eth0]": 200,
    b"127.1": 421, b"2130706433": 421, b"0x7f.0.0.1": 421, b"127.0.0.01": 421, b"1.2.3.256": 421,
    b"127.0.0.1.evil.example": 421, b"[1::2::3]": 421, b"[127.0.0.1]": 421, b"[...]": 421,
    b"::1": 400, b"[::1": 400, b"::1]": 400, b"[evil.example]": 400, b"[]": 400, b"[::1]x": 400,
    b"[::1%]": 400, b"[::1]:80:80": 400,
    # Names that lead to this machine everywhere.
    b"localhost": 200, b"LOCALHOST:5380": 200, b"localhost.": 200, b"ls.localhost:1": 200,
    b"a.b.LocalHost.": 200,
    b"localhost.evil.example": 421, b"evillocalhost": 421, b"localhost..": 421, b"localhostx": 421,
    b".": 421, b"local%68ost": 421,
    # Names that are the server's own.
    b"LS1": 200, b"ls1:5380": 200, b"ls1.": 200, b"page.example": 200, b"PAGE.Example.:99": 200,
    b"xn--bcher-kva.EXAMPLE": 200,
    b"a.page.example": 421, b"page.example.evil.example": 421, b"ls1x": 421, b"xls1": 421,
    b"ls2": 421, b"evil.example": 421, b"evil.example:5380": 421, b"page_example": 421,
    # No host at all, or nothing that can be one.
    b"": 421, b":5380": 421, b"  localhost \t": 200, b"\tls1": 200,
    b"ls1 evil.example": 400, b"ls1,evil.example": 421, b"ls1:x": 400, b"ls1:80:80": 400,
    b"user@ls1": 400, b"ls1/": 400, b"http://ls1": 400, b"ls1\0": 400,
    b"b\xc3\xbccher.example": 400, b"ls1\revil": 400, b"ls1\x0b": 400, b'"ls1"': 400, b"*": 421,
}  # fmt: skip


@pytest.mark.parametrize(("host", "expected"), HOSTS.items(), ids=repr)
def test_a_page_is_shown_by_the_hosts_of_the_server(host: bytes, expected: int) -> None:
    """[P66]: never made for others, whoever they are."""
    found, site = status(sent_to(host))
    assert (found, site.made["/"]) == (expected, int(expected == 200))
    assert status(sent_to(host, b"/nowhere"))[0] == {200: 404}.get(expected, expected)


labels = st.text(st.sampled_from("abcelostLOCAHST012.-_%~$"), max_size=20)
ENDS = ("", ".", "localhost", "page.example", "ls1", "127.0.0.1", ".evil", "%")


@given(labels, st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from(["", ":80"]))
def test_no_other_host_is_served(begin: str, middle: str, end: str, port: str) -> None:
    """[P66]"""
    host = f"{begin}{middle}{end}"
    name = host.lower().removesuffix(".")
    parts = name.split(".")
    is_address = len(parts) == 4 and all(
        p.isdigit() and str(int(p)) == p and int(p) < 256 for p in parts
    )
    is_own = name in ("localhost", "ls1", "page.example") or name.endswith(".localhost")
    assert status(sent_to(f"{host}{port}".encode()))[0] == (200 if is_own or is_address else 421)


# -- where a request names its host ----------------------------------------------------------------

CUT = LINE_BYTES_MAX - len(b"Host:") - len(b"localhost")  # of spaces that fill the line
HEADS = {
    b"GET / HTTP/1.0\r\n\r\n": 200,  # no browser: each says whom it means
    b"GET / HTTP/1.0\r\nHost: evil\r\n\r\n": 421,
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.2\r\n\r\n": 400,
    b"GET / HTTP/1.1\nhOST:ls1\n\n": 200,
    b"GET / HTTP/1.1\nX-Host: ls1\nHost: evil\n\n": 421,
    b"GET / HTTP/1.1\nHost: evil\nX-Forwarded-Host: ls1\nForwarded: host=ls1\n\n": 421,
    # Two are one too many, in whatever order, and the same ones, too.
    b"GET / HTTP/1.1\nHost: ls1\nHost: evil\n\n": 400,
    b"GET / HTTP/1.1\nHost: evil\na: b\nhost: ls1\n\n": 400,
    b"GET / HTTP/1.0\nHost: ls1\nHost: ls1\n\n": 400,
    b"GET http://ls1/ HTTP/1.1\nHost: ls1\nHost: ls1\n\n": 400,
    # A line that goes on, or that two readers would read in two ways.
    b"GET / HTTP/1.1\nHost: ls1\n evil\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1\n\t\n\n": 400,
    b"GET / HTTP/1.1\n Host: ls1\n\n": 400,
    b"GET / HTTP/1.1\nHost : evil\nHost: ls1\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1\nnonsense\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1\n: b\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1\nX: a\rHost: evil\n\n": 200,
    # A target in absolute form (RFC 9112, 3.2.2).
    b"GET http://ls1:5380/ HTTP/1.1\nHost: evil\n\n": 200,
    b"GET HTTP://[::1]/ HTTP/1.1\nHost: evil\n\n": 200,
    b"GET http://evil/ HTTP/1.1\nHost: ls1\n\n": 421,
    b"GET http://evil:5380/?http://ls1/ HTTP/1.1\nHost: ls1\n\n": 421,
    b"GET http://evil/ HTTP/1.0\n\n": 421,
    b"GET http://ls1/ HTTP/1.1\n\n": 400,
    b"GET http://ls1/ HTTP/1.1\nHost: a b\n\n": 400,
    b"GET http://ls1@evil/ HTTP/1.1\nHost: ls1\n\n": 400,
    b"GET http:///ls1 HTTP/1.1\nHost: ls1\n\n": 400,
    b"GET http:/// HTTP/1.1\nHost: ls1\n\n": 400,
    b"GET //evil/ HTTP/1.1\nHost: ls1\n\n": 404,
    b"GET https://ls1/ HTTP/1.1\nHost: ls1\n\n": 400,
    # A line that may have been cut.
    b"GET / HTTP/1.1\nHost:" + b" " * CUT + b"localhost\n\n": 200,
    b"GET / HTTP/1.1\nHost:" + b" " * CUT + b"localhost.evil.example\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1" + b" " * LINE_BYTES_MAX + b"\n\n": 400,
    b"GET / HTTP/1.1\nHost: ls1\nX: " + b"x" * LINE_BYTES_MAX + b"Host: evil\n\n": 200,
    b"GET / HTTP/1.1\nHost: ls1\n" + b"x" * LINE_BYTES_MAX + b": y\n\n": 400,
}


@pytest.mark.parametrize(("head", "expected"), HEADS.items(), ids=lambda part: repr(part)[:60])
def test_a_request_names_one_host(head: bytes, expected: int) -> None:
    """[P66]"""
    found, site = status(head)
    assert (found, site.made["/"]) == (expected, int(expected == 200))


@pytest.mark.parametrize("fields", [b"", b"Host: evil\n", b"Host: a\nHost: b\n", b"Host: a b\n"])
@pytest.mark.parametrize(
    "line", [b"GET /alive", b"HEAD /alive", b"OPTIONS /alive", b"OPTIONS *", b"OPTIONS /"]
)
def test_health_is_told_to_any_host(line: bytes, fields: bytes) -> None:
    """Balancers and Kubernetes say what they like."""
    assert status(b"%b HTTP/1.1\n%b\n" % (line, fields))[0] == 200


# -- the log and the body --------------------------------------------------------------------------


def refused(host: bytes) -> tuple[Report, bytes]:
    """Return what the log and who asks are told where the host is not served."""
    stage, site = visited(names=NAMES)
    stage.hear(ME, sent_to(host))
    found, body = response(stage.take(ME))
    report, *_ = site.effects
    assert found.status == 421 and found.headers["Allow"] is None and isinstance(report, Report)
    return report, body


def test_log_and_body_name_the_option_that_lets_a_name_in() -> None:
    report, body = refused(b"Evil.example:5380")
    assert (report.level, report.kind) == (Level.WARNING, KIND)
    assert report.text == (
        "refused to show the status page as Evil.example; if that is a name of this server, start "
        "it with --metrics-name NAME"
    )
    assert body.count(b"\n") == 1 and b"--metrics-name NAME" in body and b"Evil" not in body


def test_a_long_host_is_cut_in_the_log() -> None:
    """Anybody may send it; and all are of one kind, so the log limits them together."""
    report, _ = refused(b"x" * 490)
    assert f" {'x' * 64}...;" in report.text and "x" * 65 not in report.text
    assert (
        report.kind == refused(b"y" * 64)[0].kind and f" {'y' * 64};" in refused(b"y" * 64)[0].text
    )


def test_a_malformed_request_is_not_logged() -> None:
    """No option would help."""
    for head in b"GET / HTTP/1.1\n\n", sent_to(b"a b"), sent_to(b"a\nHost: b"):
        found, site = status(head)
        assert found == 400 and not any(isinstance(effect, Report) for effect in site.effects)


# -- the names of a server -------------------------------------------------------------------------


class Machine(System):
    """A machine that is called so."""

    own_names = staticmethod(lambda: {"web7", "web7.example"})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("web7", 200), ("WEB7.example:5380", 200), ("web8", 421),
        ("Page.Example", 200), ("other.example", 200), ("inside.example", 200), ("evil", 421),
    ],
)  # fmt: skip
def test_names_are_the_machines_and_those_of_options(host: str, expected: int) -> None:
    """[P66]"""
    words = ["0", "--table", "x", "--metrics", "0", "--metrics-host", "inside.example"]
    words += ["--metrics-name", "page.example", "--metrics-name", "OTHER.example."]
    brain = TableServer(Table(), Environment())
    options = read_ts_options(words).server
    page = with_status_page(brain, options, Machine(), {"status_page": "http://127.0.0.1:1/"})
    stage = Stage(page, Bounds())
    stage.accept(ME)
    stage.hear(ME, sent_to(host.encode()))
    assert response(stage.take(ME))[0].status == expected


def test_a_server_without_a_page_is_its_brain_alone() -> None:
    brain = TableServer(Table(), Environment())
    options = read_ts_options(["0", "--table", "x"]).server
    assert with_status_page(brain, options, Machine(), {}) is brain
