"""The status page in a real browser, and /metrics as Prometheus reads it.

All parts are real: processes, sockets, Chromium. Where that is missing, the tests are skipped, and
say so. A page is looked at as a person sees it: by its text.

Nothing here depends on speed; what watching costs is measured by `bench/watching.py`. Not here:
requests and pages as bytes (`tests/nodes/test_requests.py`, `tests/core/test_exposition.py`).
"""

import http.client
import http.server
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from core.bounds import Bounds
from core.effects import Effect
from core.events import Event
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.metrics import Histogram, Metric, Value
from core.operator import Report
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import STATUS_PAGE
from nodes.status_page.status_page import StatusPage
from nodes.status_page.with_status_page import WithStatusPage
from tests.support.at_once import at_once
from tests.support.chromium import MISSING, PROGRAM, Browser, Page, browsing
from tests.support.played_resolver import played_resolver
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    Talk,
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
    """Return the number in the tile of this name, or among the totals, if there is one."""
    tiles = [text.partition("\n")[::2] for text in page.texts(".tile")]
    totals = page.text("#totals").partition(": ")[2].split(" · ")
    named = {below: above for above, below in tiles}
    named |= {of: number for of, _, number in (text.rpartition(" ") for text in totals)}
    number = named.get(name, "").replace(",", "")
    return int(number) if number.isdecimal() else None


def unfold(page: Page) -> None:
    """Open what is folded."""
    page.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def verdict(page: Page) -> str:
    """Return what the page says of all, and in which colour."""
    return f"{page.value('document.getElementById(`verdict`).className')} {page.text('#verdict')}"


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
    page.shows(lambda: tile(page, "in flight") == 0, "that all have their replies")
    assert tile(page, "clients connected") == 1
    assert verdict(page) == "good OK" and "policy race" in page.text("#who")
    page.shows(lambda: page.texts("#racing tr")[1:] and " ms" in page.text("#racing"), "times")
    assert [text.split("\t")[0] for text in page.texts("#racing tr")][1:] == [
        "clients, raced", "TS1 alone", "TS2 alone",
    ]  # fmt: skip
    assert page.value("document.querySelector('polyline').points.length") > 1

    assert ask(port, b"differs.example")[0].startswith(b"differs.example 10.0.0.")
    page.shows(lambda: tile(page, "disagreements") == 1, "the disagreement counted")
    unfold(page)
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
    assert (tile(page, "questions a second") or 0) == 0, "less was asked than before"
    again.signal(signal.SIGSTOP)
    page.shows(lambda: gone in page.text(), "that LS is silent")
    again.signal(signal.SIGCONT)
    page.shows(lambda: gone not in page.text(), "that LS speaks again")


def test_the_page_says_what_is_lost_on_a_phone_too(run: Programs, browser: Browser) -> None:
    servers, ts_ports = zip(*two_table_servers(run), strict=True)
    _, _, web = watched(run, list(ts_ports), "--race-sample", 0)
    page = browser.open(f"http://127.0.0.1:{web}/", width=390, height=800)
    page.shows(lambda: page.text("#servers").count("UP") == 2, "both up")
    assert "no race is sampled" in page.text("#bought")
    servers[1].kill()
    page.shows(lambda: "DEGRADED: TS2 UNREACHABLE" in page.text(), "that one is lost")
    assert verdict(page).startswith("odd ") and "next try in" in page.text("#servers")
    servers[0].kill()
    page.shows(lambda: "NOT READY: no server is good" in page.text(), "that all is lost")
    assert verdict(page).startswith("bad ")
    page.shows(lambda: "TS1 is unreachable" in page.text("#events"), "what happened")
    sides = "[document.documentElement.scrollWidth, innerWidth]"
    assert page.value(sides) == [390, 390], "a phone need not be pushed sideways"
    assert page.complaints == []


@pytest.mark.parametrize("more", [(), ("--workers", 1)], ids=["alone", "workers"])
def test_the_page_has_tiers_and_routes_on_a_phone_too(
    run: Programs, ts_ports: list[int], browser: Browser, more: tuple[object, ...]
) -> None:
    long_name = "a-department-with-a-very-long-name.in-a-far-country.corp.example"
    with played_resolver("10.0.0.1") as first, played_resolver("10.0.0.2") as second:
        upstream = ("--dns-upstream", f"127.0.0.1:{first}", "--tier", "2=DNS1", *more)
        routes = ("--route", f"{long_name},10.0.0.0/8=127.0.0.1:{second}", "--route", "lan,nas=")
        words = ("--metrics", 0, *ALL, *upstream, *routes)
        ls, _ = run.ls(ts_ports, *words, linked=False)
        page = browser.open(f"http://127.0.0.1:{ls.listener('status page')}/", width=390)
        page.shows(lambda: page.text("#servers").count("tier 1") == 2, "both tables")
        assert page.text("#servers").count("tier 2") == 2 and "policy tiers" in page.text("#who")
        assert "asked for all other names" in page.text("#servers")
        assert f"asked for {long_name} and 10.in-addr.arpa" in page.text("#servers")
        assert page.text("#nobodys") == "No resolver is asked for lan and nas."
        assert "the questions that came to its tier" in page.text("#bought")
        sides = "[document.documentElement.scrollWidth, innerWidth]"
        assert page.value(sides) == [390, 390], "a phone need not be pushed sideways"
        assert page.complaints == []


def test_the_page_is_red_when_clients_fail_and_yellow_before(
    run: Programs, browser: Browser
) -> None:
    with played_resolver("10.0.0.1") as good, played_resolver("SERVFAIL") as bad:
        pages = []
        for ports in (good, bad), (bad,):
            upstreams = [w for port in ports for w in ("--dns-upstream", f"127.0.0.1:{port}")]
            ls, port = run.ls([], "--metrics", 0, *ALL, *upstreams, linked=False)
            page = browser.open(f"http://127.0.0.1:{ls.listener('status page')}/")
            pages.append((page, port))
        (yellow, of_two), (red, of_one) = pages

        def found(page: Page, port: int) -> str:
            """Return the verdict after some more questions."""
            ask(port, *(b"x%d.example" % number for number in range(20)))
            return verdict(page)

        why = "DEGRADED: DNS2 FAILING for"
        yellow.shows(lambda: found(yellow, of_two).startswith(f"odd {why}"), "one that fails")
        assert "failures only" in yellow.text("#servers") and "0 %" in yellow.texts(".tile")[1]
        red.shows(
            lambda: found(red, of_one).startswith("bad NOT READY: no server"), "that all fail"
        )
        assert "100 % of questions failed" in verdict(red) and "100 %" in red.texts(".tile")[1]
        assert "DNS1 is failing" in red.text("#events")
        assert yellow.complaints == red.complaints == []


def test_the_page_of_workers_has_their_sums(
    run: Programs, ts_ports: list[int], browser: Browser
) -> None:
    ls, port = run.ls(ts_ports, "--metrics", 0, *ALL, "--workers", 2, linked=False)
    page = browser.open(f"http://127.0.0.1:{ls.listener('status page')}/")

    def won() -> bool:
        """Ask some more; return whether the last minute shows it."""
        ask(port, b"same.example")
        return "won" in page.text("#servers")

    page.shows(won, "what the workers count")
    assert verdict(page) == "good OK" and "W2 is up" in page.text("#events")
    unfold(page)
    assert page.text("#workers").count("UP") == 2
    assert page.complaints == []


def test_the_page_of_a_ts_has_its_figures_alone(run: Programs, browser: Browser) -> None:
    ts, port = run.ts(run.table("ts", *SAME), 0, "--metrics", 0)
    assert ask(port, b"same.example", b"same.example") == [b"same.example 10.0.0.1 A IN"] * 2
    page = browser.open(f"http://localhost:{ts.listener('status page')}/")
    page.shows(lambda: tile(page, "answered") == 2, "what was answered")
    figures = {"asked": 2, "no data": 0, "unknown": 0, "rows in the table": 2, "bad lines": 0}
    assert {name: tile(page, name) for name in figures} == figures
    assert "table server" in page.text("#who") and tile(page, "in flight") is None
    assert verdict(page) == "good OK"
    assert "Servers" not in page.text() and "isagreements" not in page.text()
    assert page.complaints == []
    ts.kill()
    page.shows(lambda: "no word from the table server" in page.text(), "that it is gone")


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
            *(Value(Metric(name, "State"), HOSTILE, "TS2") for name in ("state", "why", "link")),
            *(Value(Metric("since", "Since"), "1.0", of) for of in (HOSTILE, "TS2")),
            *(Value(Metric(name, "State"), HOSTILE, HOSTILE) for name in ("state", "why", "link")),
        ]

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        times = Histogram()
        times.add(0.001)
        return [(Metric("answer_seconds", "Times"), times, of) for of in (HOSTILE, "TS2")]

    def unhealthy(self) -> str:
        return HOSTILE

    def page_entries(self) -> dict[str, object]:
        return {
            "program": "ls",
            "policy": HOSTILE,
            "sampling": "100 % of races are sampled",
            "nobodys_names": HOSTILE,
            "servers": {
                of: {"address": HOSTILE, "next": None, "tier": HOSTILE, "routes": HOSTILE}
                for of in (HOSTILE, "TS2")
            },
            "workers": [{"name": HOSTILE, "state": HOSTILE, "old": 0, "clients": 0}],
            "told": [
                {"question": HOSTILE, "answers": {HOSTILE: HOSTILE, "TS2": HOSTILE}, "times": 1}
            ],
        }

    # The brain behind the page, which has nothing to do.

    def step(self, event: Event, now: float) -> list[Effect]:
        return [Report(HOSTILE, event=HOSTILE)]

    due = math.inf


def serve_hostile() -> None:
    """Run the real loop, web server and pages with that server until killed; say its
    port."""
    system, log_output, hostile = System(), Output(2), Hostile()
    loop = Loop(
        system,
        Bounds(),
        Log("", log_output.append, log_format=bare_line),
        Destinations(log_output),
        line_bytes_max=LINE_BYTES_MAX,
    )
    (stream,) = system.listen(system.resolve("127.0.0.1", 0)[0], 16)
    loop.listen(stream, STATUS_PAGE)
    about = {"version": HOSTILE, "listeners": {HOSTILE: HOSTILE}}
    loop.start(WithStatusPage(hostile, StatusPage(hostile, about=about)))
    os.write(1, f"{stream.getsockname()[1]}\n".encode())
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
        page.shows(lambda: HOSTILE in page.text("#servers"), "the name as it is")
        unfold(page)
        assert page.text("#disagreements").count(HOSTILE) >= 3, "the name, and both answers"
        found_in_servers = page.text("#servers").count(HOSTILE)
        assert found_in_servers == 11, "a name, and where, tier, routes, how and why of both"
        for part in "verdict", "who", "events", "workers", "racing", "nobodys":
            assert HOSTILE in page.text(f"#{part}"), part
        found = page.value("[document.scripts.length, document.images.length, document.title]")
        assert found[:2] == [1, 0] and found[2].startswith("NOT READY photofinish 127.0.0.1")
        assert page.complaints == []
    finally:
        server.kill()
        server.communicate()


# -- access ----------------------------------------------------------------------------------------


def test_the_status_page_is_open_only_to_those_allowed(run: Programs) -> None:
    words = ("--metrics", 0, "--metrics-host", "0.0.0.0", "--allow", "10.0.0.0/8")
    ls, _ = run.ls([1], *words, linked=False)
    with pytest.raises((OSError, http.client.HTTPException)):
        get(ls.listener("status page"), "/healthz")


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
        (sample.name, sample.labels.get("server"), sample.labels.get("result")): sample.value
        for family in families.values()
        for sample in family.samples
    }
    told = stats(port)
    replies = "photofinish_replies_total", "photofinish_server_replies_total"
    assert values[replies[0], None, "timed_out"] == float(told["timed_out"])
    assert values[replies[1], "TS1", "answer"] == float(told["TS1.won"])
    assert values["photofinish_server_answer_seconds_count", "TS2", None] == 3
    assert values["photofinish_margin_seconds_count", None, None] == 2
    names = ("asked", "pending", "server_answer_seconds")
    kinds = [families[f"photofinish_{name}"].type for name in names]
    assert kinds == ["counter", "gauge", "histogram"]
    assert {"server": "TS1", "kind": "ts", "state": "UP"} in [
        sample.labels for sample in families["photofinish_server_state"].samples if sample.value
    ]
    for name in ("same.example", "differs.example", "nowhere.example"):
        assert name not in text and name not in str(told)
