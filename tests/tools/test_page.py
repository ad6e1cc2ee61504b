"""The views of LS from outside: the status page in a real browser, /metrics as Prometheus reads it,
/healthz, STATS, the log, and the record of races with its replay.

All parts are real: processes, sockets, Chromium. Where something is missing on a machine, the tests
that need it are skipped, and say so. Table servers that misbehave are sockets of the test. A page
is looked at as a person sees it: by its text.

Nothing here depends on speed; what watching costs is measured by `bench/watching.py`.
"""

import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from core.bounds import Bounds
from core.effects import Effect
from core.events import Event
from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.metrics import Histogram, Metric, Value
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import STATUS_PAGE
from nodes.status_page.http import WebServer
from nodes.status_page.pages import pages
from nodes.status_page.with_status_page import WithStatusPage
from tests.support.at_once import at_once
from tests.support.chromium import MISSING, PROGRAM, Browser, Page, browsing
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    Talk,
    exchange,
    programs,
    stats,
    wait_for,
)

pytestmark = pytest.mark.process

SAME = ("same.example 10.0.0.1", "cdn.example 10.0.0.7")
ROWS_1 = (*SAME, "differs.example 10.0.0.2")
ROWS_2 = (*SAME, "differs.example 10.0.0.3")
ALL = ("--race-sample", 1)
HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip(MISSING)
    with browsing(tmp_path_factory.mktemp("chromium")) as some:
        yield some


@pytest.fixture(scope="module")
def ts_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Two TSs that differ in one name, for the tests that leave them alone."""
    with programs(tmp_path_factory.mktemp("ts")) as some:
        yield [port for _, port in two_table_servers(some)]


def two_table_servers(run: Programs) -> list[tuple[Program, int]]:
    return [run.ts(run.table("ts1", *ROWS_1)), run.ts(run.table("ts2", *ROWS_2))]


def watched(run: Programs, ts_ports: list[int], *words: object) -> tuple[Program, int, int]:
    """Start LS before these TSs; return LS, its port, and its page's port."""
    ls, port = run.ls(ts_ports, "--metrics", 0, *words)
    return ls, port, ls.listener("status page")


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a page. Raises OSError or HTTPException when there is no
    response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def ask(port: int, *names: bytes) -> list[bytes]:
    """Return the replies to these, sorted."""
    talk = Talk(port)
    talk.say(b"".join(name + b"\n" for name in names))
    replies = talk.hear(len(names))
    talk.close()
    return sorted(replies)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# -- the page, in Chromium -------------------------------------------------------------------------

# The least contrast of text, by the rule of WCAG 2.2, 1.4.3, and which text that is.
_CONTRAST = """
(() => {
  const probe = document.body.appendChild(document.createElement("div"));
  const colour = (text) => {
    probe.style.color = text;
    return getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
  };
  const light = (rgb) => rgb.slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = light(colour("Canvas"));
  const seen = [...document.body.querySelectorAll("*")]
    .filter((one) => [...one.childNodes].some((part) => part.nodeType === 3 && part.data.trim()))
    .filter((one) => one.checkVisibility() && !["SCRIPT", "STYLE"].includes(one.tagName))
    .map((one) => {
      const both = [light(colour(getComputedStyle(one).color)), ground];
      return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), one.textContent];
    });
  probe.remove();
  return seen.reduce((least, one) => (one[0] < least[0] ? one : least), [99, ""]);
})()
"""


def tile(page: Page, name: str) -> int | None:
    """Return the metric above this word, if there is one."""
    for text in page.texts(".tile"):
        metric, _, below = text.replace(",", "").partition("\n")
        if below == name and re.fullmatch(r"-?\d+", metric):
            return int(metric)
    return None


def test_the_page_moves_with_questions_and_shows_who_differs(
    run: Programs, ts_ports: list[int], browser: Browser
) -> None:
    _, port, web = watched(run, ts_ports, *ALL)
    page = browser.open(f"http://127.0.0.1:{web}/")
    page.shows(lambda: tile(page, "asked") == 0, "the first metrics")
    talk = Talk(port)

    def more() -> bool:
        """Ask some more; it is true."""
        talk.say(b"same.example\ncdn.example\n" * 10)
        return bool(talk.hear(20))

    page.shows(lambda: more() and tile(page, "asked"), "what was asked")
    asked, answered = tile(page, "asked"), tile(page, "answered")
    page.shows(lambda: more() and tile(page, "asked") != asked, "more asked")
    assert tile(page, "answered") != answered
    page.shows(lambda: more() and tile(page, "questions a second"), "a rate")
    assert tile(page, "clients") == 1
    assert "race" in page.text() and "100 %" in page.text()

    assert ask(port, b"differs.example")[0].startswith(b"differs.example 10.0.0.")
    page.shows(lambda: tile(page, "disagreements") == 1, "the disagreement counted")
    listed = page.text("#disagreements")
    assert all(text in listed for text in ("differs.example", "10.0.0.2", "10.0.0.3"))
    servers = page.text("#servers")
    assert servers.count("UP") == 2 and "TS1" in servers and "TS2" in servers
    for scheme in ("light", "dark"):
        page.prefers(scheme)
        least, text = page.value(_CONTRAST)
        assert least >= 4.5, f"{text!r} is hard to read, {scheme}: {least:.1f} to 1"
    assert page.complaints == []


def test_the_page_says_that_ls_is_gone_or_silent_or_back(run: Programs, browser: Browser) -> None:
    _, ts_port = run.ts(run.table("ts", *SAME))
    ls, port = run.ls([ts_port], "--metrics", 0, *ALL)
    web = ls.listener("status page")
    page = browser.open(f"http://127.0.0.1:{web}/")
    ask(port, *[b"same.example"] * 50)
    page.shows(lambda: tile(page, "asked") == 50, "what was asked")
    gone = "no word from the load balancer"
    ls.kill()
    page.shows(lambda: gone in page.text(), "that LS is gone")
    assert all("ERR_" in complaint for complaint in page.complaints), "of the network only"
    again, _ = run.ls([ts_port], "--metrics", web, *ALL)
    page.shows(lambda: tile(page, "asked") == 0, "the new one's metrics")
    assert gone not in page.text()
    assert (tile(page, "questions a second") or 0) >= 0, "less was asked than before"
    again.signal(signal.SIGSTOP)
    page.shows(lambda: gone in page.text(), "that LS is silent")
    again.signal(signal.SIGCONT)
    page.shows(lambda: gone not in page.text(), "that LS speaks again")


def test_the_page_says_when_no_table_server_is_up(run: Programs, browser: Browser) -> None:
    servers, ts_ports = zip(*two_table_servers(run), strict=True)
    _, _, web = watched(run, list(ts_ports))
    page = browser.open(f"http://127.0.0.1:{web}/")
    page.shows(lambda: page.text("#servers").count("UP") == 2, "both up")
    assert "no race is sampled" in page.text()
    for server in servers:
        server.kill()
    page.shows(lambda: "no table server is up" in page.text(), "that all is lost")
    assert "UP" not in page.text("#servers")
    assert page.complaints == []


class Prefixed(http.server.BaseHTTPRequestHandler):
    """A proxy that shows what is at `port` below /photofinish, and nothing else."""

    port = 0

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/photofinish":
            status, body = get(self.port, "/")
        elif self.path.startswith("/photofinish/"):
            status, body = get(self.port, self.path.removeprefix("/photofinish"))
        else:
            status, body = 404, ""
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("path", ["/photofinish/", "/photofinish", "/photofinish/?x=1#y"])
def test_the_page_has_its_metrics_behind_a_path_of_a_proxy(
    run: Programs, ts_ports: list[int], browser: Browser, path: str
) -> None:
    _, port, web = watched(run, ts_ports)
    ask(port, b"same.example")
    handler = type("Handler", (Prefixed,), {"port": web})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            page = browser.open(f"http://127.0.0.1:{proxy.server_port}{path}")
            page.shows(lambda: tile(page, "asked") == 1, "the metrics")
            assert page.complaints == []
        finally:
            proxy.shutdown()


class Hostile:
    """A server to be watched, whose every word is markup that would rename the page."""

    def metrics(self) -> list[Value]:
        names = ("asked", "answered", "pending", "timed_out", "not_found", "no_data", "clients")
        of_each = ("asked", "won", "late", "redials", "silent")
        return [
            *(Value(Metric(name, "Questions"), 1) for name in (*names, "disagreements")),
            *(Value(Metric(name, "Of one"), 1, of) for name in of_each for of in (HOSTILE, "TS2")),
            *(Value(Metric("state", "State"), HOSTILE, of) for of in (HOSTILE, "TS2")),
        ]

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        times = Histogram()
        times.add(0.001)
        return [(Metric("answer_seconds", "Times"), times, of) for of in (HOSTILE, "TS2")]

    def unhealthy(self) -> str:
        return ""

    def page_entries(self) -> dict[str, object]:
        return {
            "policy": HOSTILE,
            "sampling": "100 % of races are sampled",
            "where": {HOSTILE: HOSTILE, "TS2": HOSTILE},
            "told": [
                {"question": HOSTILE, "answers": {HOSTILE: HOSTILE, "TS2": HOSTILE}, "times": 1}
            ],
        }

    # The brain behind the page, which has nothing to do.

    def step(self, event: Event, now: float) -> list[Effect]:
        return []

    def deadline(self) -> None:
        return None


def serve_hostile() -> None:
    """Run the real loop, web server and pages with that server until killed; say its
    port."""
    system, log_output, hostile = System(), Output(2), Hostile()
    loop = Loop(
        system,
        Bounds(),
        Log("", log_output.append, None),
        Destinations(log_output),
        line_bytes_max=LINE_BYTES_MAX,
    )
    (address, *_) = system.resolve("127.0.0.1", 0)
    where = loop.listen(address, STATUS_PAGE)
    loop.start(WithStatusPage(hostile, WebServer(pages(hostile))))
    os.write(1, f"{where[1]}\n".encode())
    loop.run()


def test_markup_in_a_name_is_shown_as_text_and_does_nothing(browser: Browser) -> None:
    """No name on the wire can be like this; should that ever change, the page is safe."""
    words = [
        sys.executable,
        "-c",
        "from tests.tools.test_page import serve_hostile; serve_hostile()",
    ]
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        page = browser.open(f"http://127.0.0.1:{int(server.stdout.readline())}/")
        page.shows(lambda: HOSTILE in page.text("#disagreements"), "the name as it is")
        assert page.text("#disagreements").count(HOSTILE) >= 3, "the name, and both answers"
        assert page.text("#servers").count(HOSTILE) == 5, "a name, and where and how both stand"
        assert page.text("#said").count(HOSTILE) == 1
        found = page.value("[document.scripts.length, document.images.length, document.title]")
        assert found == [1, 0, "photofinish"]
        assert page.complaints == []
    finally:
        server.kill()
        server.communicate()


# -- /metrics, /healthz, STATS ---------------------------------------------------------------------


@at_once
def test_metrics_are_what_prometheus_reads_and_name_no_name(
    run: Programs, ts_ports: list[int]
) -> None:
    parser = pytest.importorskip(
        "prometheus_client.parser", reason="no prometheus_client here: see tests/requirements.txt"
    )
    _, port, web = watched(run, ts_ports, *ALL, "--timeout", 0.3)
    ask(port, b"same.example", b"differs.example", b"nowhere.example")
    wait_for(lambda: stats(port)["sampled"] == "3", "three races watched to their end")
    status, text = get(web, "/metrics")
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert status == 200 and all(family.documentation for family in families.values())
    values = {
        (sample.name, sample.labels.get("ts"), sample.labels.get("le")): sample.value
        for family in families.values()
        for sample in family.samples
    }
    told = stats(port)
    for key in ("asked", "answered", "timed_out", "joined", "sampled", "disagreements"):
        assert values[f"photofinish_{key}_total", None, None] == float(told[key]), key
    for of in ("TS1", "TS2"):
        for key in ("asked", "won", "late", "redials", "silent", "lost", "disagreed"):
            assert values[f"photofinish_ts_{key}_total", of, None] == float(told[f"{of}.{key}"])
        buckets = [
            value
            for (name, ts, _), value in values.items()
            if name == "photofinish_ts_answer_seconds_bucket" and ts == of
        ]
        assert buckets == sorted(buckets) and buckets[-1] == 3
        assert values["photofinish_ts_answer_seconds_count", of, None] == 3
    assert values["photofinish_margin_seconds_count", None, None] == 2
    kinds = {name.removeprefix("photofinish_"): family.type for name, family in families.items()}
    assert (kinds["asked"], kinds["pending"], kinds["ts_answer_seconds"]) == (
        "counter",
        "gauge",
        "histogram",
    )
    assert families["photofinish_ts_state"].samples[0].labels == {"ts": "TS1", "is": "UP"}
    _, shown = get(web, "/status.json")
    assert "differs.example" in shown
    for name in ("same.example", "differs.example", "nowhere.example"):
        assert name not in text and name not in str(told)


@at_once
def test_healthz_tells_when_nobody_should_be_sent_here(run: Programs) -> None:
    servers, ts_ports = zip(*two_table_servers(run), strict=True)
    ls, port, web = watched(run, list(ts_ports), "--timeout", 20)
    assert get(web, "/healthz") == (200, "ok\n")
    servers[0].kill()
    ls.logs("TS1 is down")
    assert get(web, "/healthz") == (200, "ok\n")
    servers[1].kill()
    down = (503, "no table server is up\n")
    wait_for(lambda: get(web, "/healthz") == down, "503 with every TS down")
    talk = Talk(port)
    talk.say(b"nowhere.example\nPING\n")
    assert talk.hear(1) == [b"PONG"]
    ls.signal(signal.SIGTERM)
    wait_for(lambda: get(web, "/healthz") == (503, "draining\n"), "503 while draining")
    assert get(web, "/metrics")[0] == 200


def test_what_is_not_there_is_said_so_by_the_rules_of_http(
    run: Programs, ts_ports: list[int]
) -> None:
    _, _, web = watched(run, ts_ports)
    for said, status in (
        (b"GET /nothing HTTP/1.1\r\n\r\n", HTTPStatus.NOT_FOUND),
        (b"GET /metrics?x=1 HTTP/1.0\n\n", HTTPStatus.OK),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", HTTPStatus.METHOD_NOT_ALLOWED),
        (b"BREW / HTTP/1.1\r\n\r\n", HTTPStatus.NOT_IMPLEMENTED),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", None),
        (b"rutgers.edu\n\n", HTTPStatus.BAD_REQUEST),
        (b"X: y\r\n" * 300 + b"\r\n", None),
    ):
        talk = Talk(web)
        talk.say(said)
        head = talk.rest().split(b"\r\n")[0].decode()
        if status is None:
            assert re.fullmatch(r"HTTP/1\.1 4\d\d .*", head), said
        else:
            assert head == f"HTTP/1.1 {status.value} {status.phrase}", said
        talk.close()
    talk = Talk(web)
    talk.say(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
    head, _, body = talk.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and body == b""
    page = Path(ROOT / "nodes" / "status_page" / "page.html").read_bytes()
    assert b"Content-Length: %d\r\n" % len(page) in head


def test_the_status_page_is_open_only_to_those_allowed(run: Programs) -> None:
    words = ("--metrics", 0, "--metrics-host", "0.0.0.0")
    code, out, log = run.run("ls", 0, "127.0.0.1", 1, *words)
    assert (code, out, log.count("\n")) == (2, "", 1)
    assert "--metrics-host 0.0.0.0 is open to other machines: say with --allow" in log
    ls, _ = run.ls([1], *words, "--allow", "10.0.0.0/8", linked=False)
    with pytest.raises((OSError, http.client.HTTPException)):
        get(ls.listener("status page"), "/healthz")


@at_once
def test_silent_watchers_do_not_keep_a_scrape_out_for_long(
    run: Programs, ts_ports: list[int]
) -> None:
    """Nor questions: those come in by another door."""
    _, port, web = watched(run, ts_ports)
    idle = [Talk(web) for _ in range(17)]
    assert ask(port, b"same.example") == [b"same.example 10.0.0.1 A IN"]

    def is_served() -> bool:
        try:
            return get(web, "/metrics")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    began = time.monotonic()
    wait_for(is_served, "a scrape beside idle watchers")
    assert time.monotonic() - began < 8.0
    for talk in idle:
        talk.close()


@pytest.mark.parametrize("most", [1, 16])
def test_scrapes_that_come_at_once_are_all_served(
    run: Programs, ts_ports: list[int], most: int
) -> None:
    """More than there may be at once: the others wait for a place."""
    _, port, web = watched(run, ts_ports, "--bound", f"watchers_max={most}")
    talks = [Talk(web) for _ in range(30)]
    for talk in talks:
        talk.say(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
    for talk in talks:
        assert talk.rest().startswith(b"HTTP/1.1 200 OK\r\n")
        talk.close()
    assert int(stats(port)["watchers_max.hits"]) > 0


@at_once
def test_ping_and_stats_tell_a_person_how_a_server_is(run: Programs) -> None:
    ts, ts_port = run.ts(run.table("ts", *ROWS_1))
    _, port = run.ls([ts_port], "--timeout", 0.3)
    for server in (port, ts_port):
        talk = Talk(server)
        talk.say(b"PING\nping.\nPING\n")
        talk.end()
        heard = talk.rest().split(b"\n")
        assert heard[:2] == [b"PONG", b"PONG"], "ping is a name"
        talk.close()
    ask(port, b"same.example", b"nowhere.example", b"cdn.example AAAA", b"?")
    at_ls, at_ts = stats(port), stats(ts_port)
    sums = ("answered", "not_found", "no_data", "timed_out", "dropped", "pending")
    assert int(at_ls["asked"]) == sum(int(at_ls[key]) for key in sums)
    assert (at_ls["asked"], at_ls["answered"], at_ls["no_data"]) == ("4", "1", "1")
    assert (at_ls["errors"], at_ls["TS1.state"], at_ls["TS1.won"]) == ("1", "UP", "1")
    assert (at_ts["rows"], at_ts["answered"], at_ts["no_data"]) == ("3", "1", "1")
    assert at_ts["unknown"] == "3", "of the two that LS asked, and the ping to the TS itself"
    assert ts.process.poll() is None


# -- the record of races, and the log --------------------------------------------------------------


@at_once
def test_a_disagreement_is_recorded_reported_and_counted(
    run: Programs, ts_ports: list[int]
) -> None:
    path = run.folder / "races"
    ls, port, _ = watched(run, ts_ports, *ALL, "--race-log", path, "--timeout", 0.5)
    ask(port, b"same.example", b"Differs.example", b"nowhere.example")
    wait_for(lambda: stats(port)["sampled"] == "3", "three races watched to their end")
    wait_for(lambda: path.read_text().count("\n") == 3, "three records")
    by_name = {record["question"]: record for record in records(path)}
    differs = by_name["differs.example"]
    assert {ts: what for ts, (_, what) in differs["replies"].items()} == {
        "TS1": "10.0.0.2",
        "TS2": "10.0.0.3",
    }
    assert differs["winner"] in ("TS1", "TS2") and differs["end"] == "ANSWERED"
    assert differs["margin"] >= 0 and differs["asked"].keys() == {"TS1", "TS2"}
    nowhere = by_name["nowhere.example"]
    assert (nowhere["winner"], nowhere["end"], nowhere["replies"]) == (None, "TIMED_OUT", {})
    assert nowhere["took"] == pytest.approx(0.5, abs=0.4)
    assert "TSs disagree about differs.example: " in ls.log
    assert "TS1 10.0.0.2" in ls.log and "TS2 10.0.0.3" in ls.log
    told = stats(port)
    assert (told["disagreements"], told["records_dropped"]) == ("1", "0")
    assert int(told["TS1.disagreed"]) + int(told["TS2.disagreed"]) == 1
    assert (told["TS1.silent"], told["TS2.silent"]) == ("1", "1")


@at_once
def test_a_run_that_is_replayed_under_race_has_its_own_figures(run: Programs) -> None:
    """A TS is real; the other answers its names one after the other, so that times differ."""
    evens = [f"even{n}.example" for n in range(100)]
    odds = [f"odd{n}.example" for n in range(100)]
    _, ts_port = run.ts(run.table("evens", *(f"{name} 10.0.0.1" for name in evens)))
    path = run.folder / "races"
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        impostor.settimeout(PATIENCE_S)
        _, port = run.ls(
            [impostor.getsockname()[1], ts_port], *ALL, "--race-log", path, "--timeout", 1
        )
        link = Talk.accepted(impostor)
    names = [*odds, *evens, "nowhere.example"]
    client = Talk(port)
    client.say(b"".join(name.encode() + b"\n" for name in names))
    assert len(link.hear(len(names))) == len(names)
    client.hear(len(evens))
    for name in odds:
        link.say(f"{name} 10.0.0.2 A IN\n".encode())
        assert client.hear(1) == [f"{name} 10.0.0.2 A IN".encode()]
    assert client.hear(1) == [b"nowhere.example - TIMED OUT"]
    wait_for(lambda: path.read_text().count("\n") == len(names), "every race recorded")
    link.close()

    code, out, log = run.run("replay", path, "--policy", "race", "--timeout", 1)
    assert (code, log) == (0, "")
    head, recorded, replayed = out.splitlines()
    assert head.split()[:2] == ["policy", "questions"]
    was = [float(word) for word in recorded.removeprefix("as recorded").split()]
    now = [float(word) for word in replayed.removeprefix("race").split()]
    assert now == pytest.approx(was, rel=0.02), out
    questions, p50, p99, p999, extra, timed_out, changed = now
    assert (questions, extra, timed_out, changed) == (201, 100, 1, 0)
    assert 0 < p50 < p99 < p999 and p999 == pytest.approx(1000, rel=0.04)
    code, out, _ = run.run("replay", path, "--timeout", 1)
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()[1:]] == [
        "as recorded", "race", "single TS1", "single TS2", "hedge",
    ]  # fmt: skip


@at_once
def test_what_cannot_be_replayed_is_refused_in_one_line(run: Programs, ts_ports: list[int]) -> None:
    path = run.folder / "hedged"
    _, port, _ = watched(run, ts_ports, *ALL, "--race-log", path, "--policy", "hedge")
    ask(port, b"same.example")
    wait_for(path.read_text, "a record")
    broken, empty = run.folder / "broken", run.folder / "empty"
    broken.write_text('{"at": 0}\n')
    empty.write_text("")
    for file, said in (
        (path, ":1: it was recorded under hedge"),
        (broken, ":1: it is no record of a race"),
        (empty, "there are no races in"),
        (run.folder / "none", "no such file"),
    ):
        code, out, log = run.run("replay", file)
        assert (code, out, log.count("\n")) == (1, "", 1 + (":1: " in said)), log
        assert said in log and str(file) in log
    code, _, log = run.run("ls", 0, "127.0.0.1", 1, "--race-log", path)
    assert code == 2 and "--race-log has nothing to write without --race-sample" in log
    code, _, log = run.run("ls", 0, "127.0.0.1", 1, *ALL, "--race-log", run.folder)
    assert code == 1 and "is a directory" in log


@at_once
def test_records_that_nobody_takes_are_dropped_and_answers_go_on(run: Programs) -> None:
    """A FIFO that nobody reads: 64 KiB are in it, 1 MiB waits, the rest is dropped whole."""
    fifo = run.folder / "fifo"
    os.mkfifo(fifo)
    count = 10_000
    rows = [f"host{n}.example 10.0.{n >> 8}.{n & 255}" for n in range(count)]
    _, ts_port = run.ts(run.table("ts", *rows))
    ls, port = run.ls([ts_port], *ALL, "--race-log", fifo)
    names = b"".join(row.split()[0].encode() + b"\n" for row in rows)
    (got,) = exchange(port, [names + b"QUIT\n"])
    assert sorted(got.split(b"\n")[:-2]) == sorted(f"{row} A IN".encode() for row in rows)
    told = stats(port)
    dropped = int(told["records_dropped"])
    assert told["sampled"] == str(count) and 0 < dropped < count
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    taken = b""

    def take() -> bool:
        nonlocal taken
        try:
            taken += os.read(reader, 1 << 20)
        except BlockingIOError:
            ask(port, b"host0.example")
        return taken.count(b"\n") >= count - dropped

    wait_for(take, "what waited comes when somebody reads")
    os.close(reader)
    assert all(json.loads(line)["end"] == "ANSWERED" for line in taken.splitlines())
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_disk_that_is_full_is_warned_of_once_and_answers_go_on(
    run: Programs, ts_ports: list[int]
) -> None:
    ls, port, _ = watched(run, ts_ports, *ALL, "--race-log", "/dev/full")
    for number in range(5):
        assert ask(port, b"same.example") == [b"same.example 10.0.0.1 A IN"]
        wait_for(lambda n=number: int(stats(port)["records_dropped"]) > n, "a record dropped")
    said = "cannot write /dev/full: no space left on device; records are dropped"
    assert ls.log.count(said) == 1
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
