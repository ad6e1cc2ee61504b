"""The status page's HTTP: whole requests cut at every byte, and what is no request at all.

Bytes go through the buffers that the loop uses, and what comes back is read by `http.client`,
the standard library's own reader, and by rules of its own: one response, then the end; a length
that is right; nothing kept of one who is gone.

Not here: what is counted (`tests/core/test_metrics.py`), and browsers.
"""

import gc
import http.client
import io
import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Close, Effect, Send
from core.environment import Environment
from core.events import Closed, Ended, Event, Opened, Received, Role, Woken
from core.protocol.names import LINE_BYTES_MAX
from nodes.status_page.http import HEALTH, Page, Route, WebServer
from nodes.status_page.status_page import StatusPage
from nodes.status_page.with_status_page import WithStatusPage
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.balancers import load_balancer
from tests.support.splitting import cuts, pieces
from tests.support.stage import Stage

HEAD_S, FRESH_S, LINES_MAX = 5.0, 1.0, 200  # as the owner may rely on them
ME = "watcher-1"


STATUSES = (200, 400, 404, 405, 408, 414, 421, 431, 501, 503, 505)


class Site:
    """A web server as a brain of its own, with pages that say how often they were made."""

    def __init__(self, watchers_max: float = math.inf, names: Iterable[str] = ()) -> None:
        self.made = {"/": 0, "/sick": 0}
        self.why = ""  # it is unhealthy
        paths = {
            "/": Route(self.page),
            "/sick": Route(self.sick),
            "/alive": Route(self.alive, is_health=True),
            HEALTH: Route(self.health, is_health=True),
        }
        self.web = WebServer(paths, watchers_max, names)
        self.effects: list[Effect] = []

    def page(self, now: float) -> Page:
        self.made["/"] += 1
        return Page("text/html; charset=utf-8", b"page %d at %.2f" % (self.made["/"], now))

    def sick(self, now: float) -> Page:
        self.made["/sick"] += 1
        return Page("text/plain; charset=utf-8", b"sick\n", HTTPStatus.SERVICE_UNAVAILABLE)

    def alive(self, now: float) -> Page:
        return Page("text/plain; charset=utf-8", b"alive")

    def health(self, now: float) -> Page:
        status = HTTPStatus.SERVICE_UNAVAILABLE if self.why else HTTPStatus.OK
        return Page("text/plain; charset=utf-8", self.why.encode() or b"ok", status)

    def step(self, event: Event, now: float) -> list[Effect]:
        woken = isinstance(event, Woken)
        effects = self.web.woken(now) if woken else self.web.step(event, now)
        self.effects += effects
        return effects

    @property
    def due(self) -> float:
        return self.web.due()


def visited(watchers_max: float = math.inf, names: Iterable[str] = ()) -> tuple[Stage, Site]:
    """Build a site with one watcher that has said nothing yet."""
    site = Site(watchers_max, names)
    stage = Stage(site, Bounds())
    stage.accept(ME)
    return stage, site


def another(stage: Stage, request: bytes) -> bytes:
    """Return what another watcher gets for a request."""
    conn = f"watcher-x{len(stage.connections)}x{stage.now}"
    stage.accept(conn)
    stage.hear(conn, request)
    return stage.take(conn)


class Socket:
    """The socket that `http.client` reads from."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def response(data: bytes, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    """Read one response, by the standard library, and see that nothing comes after it."""
    found = http.client.HTTPResponse(Socket(data), method=method)  # type: ignore[arg-type]
    found.begin()
    body = found.read()
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b"\n" not in head.replace(b"\r\n", b"") and head.startswith(b"HTTP/1.1 ")
    assert found.headers["Connection"] == "close"
    (length,) = found.headers.get_all("Content-Length", [])
    assert int(length) == len(rest) or (method == "HEAD" and not rest)
    assert rest == body
    return found, body


def asked(request: bytes, *chunks: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """Return what comes back for a request that arrives so, and then the end."""
    stage, site = visited()
    stage.hear(ME, *(chunks or (request,)))
    assert [type(effect) for effect in site.effects] == [Send, Close]
    assert stage.has_ended(ME)
    return response(stage.take(ME), request.split(b" ")[0].decode("latin-1"))


BROWSER = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11)\r\n"
    b"Accept: text/html,application/xhtml+xml\r\nConnection: keep-alive\r\n\r\n"
)
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
FILLS_A_LINE = b"GET /?" + b"x" * (LINE_BYTES_MAX - len(b"GET /? HTTP/1.1")) + b" HTTP/1.1"
REQUESTS = {
    BROWSER: 200,
    b"GET / HTTP/1.0\r\n\r\n": 200,
    b"GET / HTTP/1.1\nHost: localhost\n\n": 200,
    b"\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
    b"GET /?a=b&c=/x?y HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
    b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
    b"GET /sick HTTP/1.1\r\nHost: localhost\r\n\r\n": 503,
    b"HEAD /sick?x HTTP/1.1\r\nHost: localhost\r\n\r\n": 503,
    b"HEAD /no HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"GET /%2f HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n": 405,
    b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n": 405,
    b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n": 405,
    b"PATCH / HTTP/1.1\r\nHost: localhost\r\n\r\n": 405,
    b"DELETE /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n": 405,
    b"OPTIONS / HTTP/1.0\r\n\r\n": 200,
    b"OPTIONS /sick?x HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
    b"OPTIONS /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
    b"OPTIONS x HTTP/1.1\r\nHost: localhost\r\n\r\n": 400,
    b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n": 400,
    b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n": 501,
    b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n": 501,
    b"nonsense\r\n\r\n": 400,
    b"GET\r\n\r\n": 400,
    b"GET / \r\n\r\n": 400,
    b"GET /\r\n\r\n": 400,
    b"GET  / HTTP/1.1\r\n\r\n": 400,
    b"GET x HTTP/1.1\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\n\n": 400,
    b"GET http://127.0.0.1:8080/ HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,  # RFC 9112, 3.2.2: must
    b"CONNECT a:443 HTTP/1.1\r\nHost: localhost\r\n\r\n": 405,
    b"PRI * HTTP/2.0\r\n\r\n": 505,
    b"GET / HTTP/3.0\r\n\r\n": 505,
    b"GET / HTTP/1.x\r\n\r\n": 400,
    b"GET /a b HTTP/1.1\r\n\r\n": 400,
    FILLS_A_LINE + b"\r\nHost: localhost\r\n\r\n": 200,
    FILLS_A_LINE.replace(b"?", b"?x") + b"\r\n\r\n": 414,
    FILLS_A_LINE.replace(b"?", b"?x") + b"x HTTP/1.1\r\n\r\n": 414,  # a good line, cut too late
    HEAD + b"Cookie: " + b"x" * 5_000 + b"\r\n\r\n": 200,
    HEAD + b"a: b\r\n" * (LINES_MAX - 1) + b"\r\n": 200,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (LINES_MAX + 1): 431,
}


@pytest.mark.parametrize(("request_", "status"), REQUESTS.items())
def test_every_request_has_its_status_however_it_is_cut(request_: bytes, status: int) -> None:
    """In two at every byte where that is not too many, byte by byte, and in one; nothing is said
    before it is whole. HEAD is GET without the page."""
    whole, body = asked(request_)
    assert whole.status == status
    assert whole.headers["Allow"] == "GET, HEAD, OPTIONS" or status != 405
    if request_.startswith(b"HEAD"):
        got, page = asked(request_.replace(b"HEAD", b"GET"))
        assert got.headers.items() == whole.headers.items() and page and not body
    stage, site = visited()
    end = b"\r\n" if request_.endswith(b"\r\n") else b"\n"
    stage.hear(ME, request_.removesuffix(end))
    assert not site.effects
    if len(request_) < 600:
        for at in range(1, len(request_)):
            found, same = asked(request_, request_[:at], request_[at:])
            assert (found.status, same) == (whole.status, body)
        found, same = asked(request_, *(bytes([byte]) for byte in request_))
        assert (found.status, same) == (whole.status, body)


@pytest.mark.parametrize("target", [b"/", b"/sick", b"*"])
def test_options_tells_the_health_and_what_may_be_asked(target: bytes) -> None:
    """A check that asks so must not pass because some page can be shown. Another path of health has
    its own."""
    stage, site = visited()
    for why, status in [("", 200), ("draining", 503)]:
        site.why = why
        found, body = response(another(stage, b"OPTIONS %b HTTP/1.0\r\n\r\n" % target), "OPTIONS")
        assert (found.status, body) == (status, why.encode() or b"ok")
        assert found.headers["Allow"] == "GET, HEAD, OPTIONS"
        found, body = response(another(stage, b"OPTIONS /alive HTTP/1.0\r\n\r\n"), "OPTIONS")
        assert (found.status, body) == (200, b"alive")
        stage.wait(FRESH_S)


def test_a_page_is_shown_nowhere_else_and_loads_nothing() -> None:
    found, _ = asked(BROWSER)
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert not [word for word in ("http:", "*", "unsafe", "script", "style") if word in policy]
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Cache-Control"] == "no-store"


def test_what_comes_after_a_request_is_ignored() -> None:
    """Also what was read before the close."""
    _, site = visited()
    assert len(site.step(Received(ME, b"GET / HTTP/1.0\n\n" * 2), 100.0)) == 2
    assert site.step(Received(ME, b"GET / HTTP/1.0\n\n"), 100.0) == []
    assert site.step(Ended(ME, False), 100.0) == []


def test_places_that_are_all_taken_are_free_after_a_second() -> None:
    """Of who does not ask, and of who has its response and does not end."""
    stage, site = visited(watchers_max=3)
    stage.accept("watcher-2")
    stage.hear("watcher-2", BROWSER)
    stage.wait(2.0)
    assert site.due == 105.0 and len(stage.connections) == 2
    stage.accept("watcher-3")
    assert site.due == 101.0
    stage.wait(0.0)
    assert response(stage.take(ME))[0].status == 408 and "watcher-2" not in stage.connections
    assert "watcher-3" not in stage.said
    stage.accept("watcher-4")
    stage.hear("watcher-4", BROWSER)
    stage.wait(1.0)
    assert response(stage.take("watcher-3"))[0].status == 408
    assert response(stage.take("watcher-4"))[0].status == 200


def test_a_page_is_made_at_most_once_a_second_however_many_ask() -> None:
    stage, site = visited()
    bodies = []
    for number in range(40):
        bodies.append(response(another(stage, b"GET /?%d HTTP/1.0\r\n\r\n" % number))[1])
        another(stage, b"GET /sick HTTP/1.0\r\n\r\n")
        stage.wait(1 / 8)
    assert bodies == [b"page %d at %d.00" % (n // 8 + 1, 100 + n // 8) for n in range(40)]
    assert site.made == {"/": 5, "/sick": 5}


def test_an_unknown_path_is_not_remembered() -> None:
    """Nor are the watchers that asked for it: the places are not taken."""

    def pages_held() -> int:
        return sum(isinstance(thing, Page) for thing in gc.get_objects())

    stage, site = visited(watchers_max=3)
    held = pages_held()
    for number in range(1_000):
        stage.accept(f"watcher-x{number}")
        stage.hear(f"watcher-x{number}", b"GET /%d HTTP/1.0\r\n\r\n" % number)
        stage.end(f"watcher-x{number}")
    assert pages_held() <= held + 2 and site.due == 100.0 + HEAD_S


# -- anything --------------------------------------------------------------------------------------

heads = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"GET ", b"HEAD ", b"POST ", b"/", b"/sick", b" HTTP/1.1", b" HTTP/1.0", b"\r\n",
                b"\n", b"\r\n\r\n", b"\n\n", b"a: b\r\n", b"Host: a\n",
                b"Host: [::1]\r\n", b"\r", b"\0", b" ", b"PRI * HTTP/2.0",
                b"GET / HTTP/1.0\r\n\r\n", b"a: b\n" * 150, b"Host:",
            ]
        ),
        st.binary(max_size=20),
        st.integers(505, 520).map(lambda count: b"x" * count),
    ),
    max_size=20,
).map(b"".join)  # fmt: skip


@given(
    heads.flatmap(lambda data: st.tuples(st.just(data), cuts(data))),
    st.sampled_from(["end", "reset", "wait"]),
)
def test_any_bytes_in_any_cut_come_to_one_response_and_the_end(
    cut: tuple[bytes, list[bytes]], last: str
) -> None:
    """And to the same one however they are cut; of one who is gone nothing is kept. A watcher that
    has not asked is told so when it ends, or takes too long."""
    data, parts = cut
    said = []
    for chunks in (parts, pieces(data, [])):
        stage, site = visited()
        stage.hear(ME, *chunks)
        had = bool(site.effects)
        if last == "wait":
            stage.wait(HEAD_S)
        if ME in stage.connections:
            getattr(stage, "reset" if last == "reset" else "end")(ME)
        assert site.due == math.inf
        assert had or last != "wait" or site.effects
        said.append(stage.take(ME))
        if site.effects:
            assert [type(effect) for effect in site.effects[-2:]] == [Send, Close]
            assert site.web.requests == 1
            method = "HEAD" if said[-1].endswith(b"\r\n\r\n") else "GET"
            status = response(said[-1], method)[0].status
            assert status in STATUSES if had else status == {"end": 400, "wait": 408}[last]
        else:
            assert not said[-1] and last == "reset"
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    if len(next(filter(None, lines), b"")) <= LINE_BYTES_MAX:
        assert said[0] == said[1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=20, max_size=40))
def test_watchers_do_not_disturb_each_other(story: list[tuple[int, int]]) -> None:
    """Against a model of who has asked and since when, whatever else trickles in: each gets one
    response, at its time."""
    stage, site = visited()
    stage.reset(ME)
    since: dict[str, float] = {}
    born: dict[int, int] = {}
    expected: dict[str, int] = {}
    for who, what in story:
        conn = f"watcher-{who}x{born.get(who, 0)}"
        if conn not in stage.connections:
            born[who] = born.get(who, 0) + 1
            conn = f"watcher-{who}x{born[who]}"
            stage.accept(conn)
            since[conn] = stage.now
            stage.hear(conn, b"GET / HTTP/1.0\n" if who % 2 else b"\r\n")
        if what == 0 and conn in since:
            stage.hear(conn, b"GET /no HTTP/1.0\n\n")
            expected[conn] = 400 if who % 2 else 404
        elif what == 1 and conn in since:
            stage.hear(conn, b"GET / HTTP/1.0\n")
            stage.hear(conn, b"\n")
            expected[conn] = expected.get(conn, 400 if who % 2 else 200)
        elif what == 2:
            stage.reset(conn)
            since.pop(conn, None)
        elif what == 3 and conn in since:
            stage.hear(conn, b"a: b\n" if who % 2 else b"\r\n")
        else:
            stage.wait(what * 0.75)
            for other, at in since.items():
                if stage.now >= at + HEAD_S and other not in expected:
                    expected[other] = 408
        for other in expected:
            since.pop(other, None)
        assert site.web.due() == min((at + HEAD_S for at in since.values()), default=math.inf)
    assert {conn: response(bytes(data))[0].status for conn, data in stage.said.items()} == expected


# -- in front of LS --------------------------------------------------------------------------------


def balanced(**words: float) -> Stage:
    """Build LS with a status page, its link up."""
    brain = load_balancer([((2, (T1, 1)),), ((2, (T2, 1)),)], Bounds(), lambda: 0.0, **words)
    return Stage.begun(WithStatusPage(brain, StatusPage(brain)), up=(T1,))


T1, T2 = "TS1", "TS2"


def looked(stage: Stage, path: str) -> tuple[int, str, bytes]:
    """Return status, media type and body of a page, as it is a second later."""
    stage.wait(FRESH_S)
    stage.accept(ME)
    stage.hear(ME, b"GET %b HTTP/1.1\r\nHost: [::1]:5380\r\n\r\n" % path.encode())
    found, body = response(stage.take(ME))
    stage.end(ME)
    return found.status, found.headers["Content-Type"], body


def test_the_pages_of_ls() -> None:
    stage = balanced(sample=1.0)
    stage.accept("a")
    stage.hear("a", b"x.example\n")
    stage.connect(T2)
    stage.hear(T1, b"x.example 10.0.0.1 A IN\n")
    stage.hear(T2, b"x.example 10.0.0.2 A IN\n")
    status, kind, text = looked(stage, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"photofinish_asked_total 1\n" in text
    assert b'_server_replies_total{server="TS1",kind="ts",result="answer"} 1\n' in text
    assert b"photofinish_disagreements_total 1\n" in text and b"example" not in text
    status, kind, text = looked(stage, "/status.json")
    assert (status, kind) == (200, "application/json")
    shown = json.loads(text)
    assert shown["figures"]["asked"] == 1 and [one["name"] for one in shown["servers"]] == [T1, T2]
    assert shown["told"] == [
        {"question": "x.example", "answers": {T1: "10.0.0.1", T2: "10.0.0.2"}, "times": 1}
    ]
    assert shown["verdict"] == {"word": "OK", "why": ""} and shown["uptime_s"] == 2.0
    events = [one["event"] for one in shown["events"]]
    assert events == ["servers_disagree", "server_health", "server_health"], "the latest first"
    assert shown["events"][1]["text"].startswith("TS2 is up")
    minute = shown["last_minute"]
    assert (minute["seconds"], minute["asked"], minute["replies"]) == (2.0, 1, {"answered": 1})
    assert {name: of["replies"] for name, of in minute["servers"].items()} == {
        T1: {"won": 1}, T2: {"late": 1},
    }  # fmt: skip
    status, kind, text = looked(stage, "/")
    assert status == 200 and kind.startswith("text/html") and text.startswith(b"<!doctype html>")
    assert b"http://" not in text and b"https://" not in text and b"innerHTML" not in text


def test_only_script_and_style_of_the_page_itself_are_taken() -> None:
    """Each is named by its hash, so a browser runs nothing that a name could bring in."""
    stage = balanced()
    stage.accept(ME)
    stage.hear(ME, BROWSER)
    found, body = response(stage.take(ME))
    policy = found.headers["Content-Security-Policy"].split("; ")
    for kind in ("script", "style"):
        text = body.split(f"<{kind}>".encode())[1].split(f"</{kind}>".encode())[0]
        assert body.count(f"<{kind}".encode()) == 1 and len(text) > 100
        digest = b64encode(sha256(text).digest()).decode()
        assert [each for each in policy if each.startswith(f"{kind}-src")] == [
            f"{kind}-src 'sha256-{digest}'"
        ]
    assert not re.search(rb" (?:style|on[a-z]+)=", body.partition(b"<script>")[0])
    assert "unsafe" not in str(policy)


def test_ls_says_why_it_is_not_ready_and_that_it_is_alive() -> None:
    stage = balanced()

    def ready() -> tuple[int, bytes]:
        """Look at all paths of health."""
        found = looked(stage, "/readyz")[::2]
        assert looked(stage, "/healthz")[::2] == found
        assert looked(stage, "/livez")[::2] == (200, b"ok\n")
        for target, status in ("/", found[0]), ("/readyz", found[0]), ("/livez", 200):
            stage.accept(ME)
            stage.hear(ME, b"OPTIONS %b HTTP/1.0\r\n\r\n" % target.encode())
            assert response(stage.take(ME), "OPTIONS")[0].status == status
            stage.end(ME)
        return found

    assert ready() == (200, b"ok\n")
    stage.reset(T1)
    assert ready() == (200, b"ok\n")  # of TS2 nothing is known yet
    stage.refuse(T2)
    why = b"no server is good: TS1 DOWN (gone), TS2 UNREACHABLE (connection refused)\n"
    assert ready() == (503, why)
    stage.wait(1.0)
    stage.connect(T2)
    assert ready()[0] == 200
    stage.accept("a")
    stage.hear("a", b"x\n")
    stage.drain()
    assert ready() == (503, b"draining\n")


def test_the_pages_of_ts() -> None:
    """Look at those of LS."""
    brain = TableServer(Table({b"x": b"x 10.0.0.1 A IN\n"}), Environment())
    stage = Stage.begun(WithStatusPage(brain, StatusPage(brain)), clients=("a",))
    stage.hear("a", b"x\nx\ny\nx AAAA\n\xff\n")
    status, kind, text = looked(stage, "/status.json")
    shown = json.loads(text)
    assert (status, kind, shown["program"]) == (200, "application/json", "ts")
    assert shown["unhealthy"] == "" and shown["servers"] == []
    figures = {"asked": 4, "answered": 2, "no_data": 1, "unknown": 1, "rows": 1, "errors": 1}
    assert shown["figures"].items() >= {**figures, "clients": 1}.items()
    assert b"photofinish_asked_total 4\n" in looked(stage, "/metrics")[2]
    assert looked(stage, "/")[2].startswith(b"<!doctype html>")
    assert looked(stage, "/readyz")[::2] == looked(stage, "/livez")[::2] == (200, b"ok\n")
    stage.drain()
    assert looked(stage, "/readyz")[::2] == (503, b"draining\n")
    assert looked(stage, "/livez")[::2] == (200, b"ok\n")


def test_watchers_are_no_clients() -> None:
    """Watchers are not counted, do not hold up a drain, and what they say is asked nowhere."""
    stage = balanced()
    stage.accept(ME)
    stage.hear(ME, b"rutgers.edu\nSTATS\nQUIT\n")
    assert stage.take(T1) == stage.take(ME) == b""
    stage.accept("client-1")
    stage.hear("client-1", b"STATS\n")
    assert b"STAT clients 1\n" in stage.take("client-1")
    stage.hear("client-1", b"QUIT\n")
    stage.end("client-1")
    stage.drain()
    stage.end(T1)
    stage.dialled.clear()
    stage.step(Closed(T2, "given up")) if stage.exit_code is None else None
    assert stage.exit_code == 0 and ME in stage.connections


@pytest.mark.parametrize("first", ["client", "watcher"])
def test_both_parts_are_woken_when_either_wants_to_be(first: str) -> None:
    stage = balanced()
    stage.dialled.clear()
    assert stage.brain.due == stage.now + 1.0, "each second there is something to count"
    for who in (first, {"client": "watcher", "watcher": "client"}[first]):
        stage.accept(ME if who == "watcher" else "a")
        if who == "client":
            stage.hear("a", b"x\n")
        stage.wait(1.0)
        assert stage.brain.due == stage.now + 1.0
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    assert response(stage.take(ME))[0].status == 408


def test_a_watcher_gives_way_at_once_when_places_are_taken() -> None:
    """Not only when there is something to count."""
    brain = TableServer(Table(), Environment())
    stage = Stage.begun(WithStatusPage(brain, StatusPage(brain, watchers_max=2)), clients=(ME,))
    stage.wait(1.5)
    stage.accept("watcher-2")
    assert stage.brain.due <= stage.now


def test_a_watcher_that_is_gone_is_forgotten() -> None:
    """Its name may be a client's."""
    stage = balanced()
    stage.accept(ME)
    stage.reset(ME)
    stage.brain.step(Opened(ME, Role.LINES), stage.now)
    assert Send(ME, b"PONG\n") in stage.brain.step(Received(ME, b"PING\n"), stage.now)
