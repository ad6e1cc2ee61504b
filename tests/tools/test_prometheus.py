"""Metrics as Prometheus itself takes them: `promtool`, and a real one that scrapes a live LS.

All parts are real but the resolvers, which the test plays: one fails at everything, the other takes
as long as it is told. Prometheus is asked at the moment of its last scrape, so that an increase is
exact. Where it is missing, the tests are skipped, and say so.

Not here: the format, read strictly (`tests/core/test_exposition.py`), and what a scrape costs
(`bench/watching.py`).
"""

import heapq
import json
import math
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from core.metrics import SPANS_S
from tests.support.certificates import authority, openssl
from tests.support.dns_messages import CODES, RD, name, question_of, said
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    bind_to_free_port,
    free_port,
    wait_for,
)

PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")
WHERE_FROM = "(Debian: apt-get install prometheus)"
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(PROMTOOL is None, reason=f"no promtool here {WHERE_FROM}"),
]
EXAMPLES = ROOT / "examples"
STEP = SPANS_S[1] / SPANS_S[0]
BATCHES, BATCH = 10, 20  # of questions, of which one of each batch is slow, and one fails
SLOW_S = 0.2


def promtool(*words: object, text: bytes = b"") -> tuple[int, str]:
    """Run it; return its exit code, and all that it says."""
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *map(str, words)], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout.decode()


def page(program: Program, path: str = "metrics") -> bytes:
    """Return a page of a program."""
    url = f"http://127.0.0.1:{program.listener('status page')}/{path}"
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
        body: bytes = response.read()
    return body


# -- promtool --------------------------------------------------------------------------------------


def by_tls() -> tuple[object, ...]:
    """Return the words for DNS over TLS."""
    certificate, key = authority().issue("dns.example")
    return ("--dns-tls", 0, "--tls-cert", certificate, "--tls-key", key)


@openssl
def test_promtool_has_nothing_to_say_about_any_program(run: Programs) -> None:
    table = run.table("ts", "x.example 10.0.0.1")
    table_server, port = run.ts(table, 0, "--metrics", 0)
    _, other = run.ts(table)
    dns = ("--dns", 0, "--dns-upstream", f"127.0.0.1:{free_port()}", *by_tls())
    alone, _ = run.ls([port, other], *dns, "--metrics", 0, "--race-sample", 1, linked=False)
    workers, _ = run.ls([port], "--workers", 2, "--metrics", 0, *by_tls(), linked=False)
    for program in (table_server, alone, workers):
        text = page(program)
        assert b"process_open_fds" in text and b"photofinish_ready 1\n" in text
        assert promtool("check", "metrics", text=text) == (0, "")


def test_the_configuration_and_the_alerts_are_good() -> None:
    code, said_of_it = promtool("check", "config", EXAMPLES / "prometheus.yml")
    assert code == 0 and "WARNING" not in said_of_it, said_of_it
    code, said_of_it = promtool("check", "rules", EXAMPLES / "alerts.yml")
    assert code == 0, said_of_it


def test_each_alert_is_roused_by_its_cause_and_by_no_other() -> None:
    code, said_of_it = promtool("test", "rules", EXAMPLES / "alerts_test.yml")
    assert code == 0, said_of_it
    alerts = set(re.findall(r"- alert: (\w+)", (EXAMPLES / "alerts.yml").read_text()))
    roused = re.findall(
        r"alertname: (\w+)\n +exp_alerts", (EXAMPLES / "alerts_test.yml").read_text()
    )
    assert alerts == set(roused)


def queries() -> list[str]:
    """Return all queries of the dashboard, with values for its variables."""
    dashboard = json.loads((EXAMPLES / "grafana.json").read_text())
    values = {"$__rate_interval": "5m", "$instance": ".*"}
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for variable, value in values.items():
        found = [query.replace(variable, value) for query in found]
    assert not any("$" in query for query in found)
    return found


def test_the_queries_of_the_dashboard_are_such(tmp_path: Path) -> None:
    """As expressions of rules: promtool has no other way to be asked."""
    rules = [
        {"record": "some:query", "expr": f"{query} + {n}"} for n, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"  # JSON is YAML, too
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said_of_it = promtool("check", "rules", path)
    assert code == 0, said_of_it


@openssl
def test_alerts_and_dashboard_name_only_metrics_that_there_are(run: Programs) -> None:
    _, port = run.ts(run.table("ts", "x.example 10.0.0.1"))
    records = run.folder / "races"
    sampled = ("--race-sample", 1, "--race-log", records)
    ls, _ = run.ls([port], "--metrics", 0, *sampled, *by_tls())
    there = set(re.findall(r"^(\w+)[{ ]", page(ls).decode(), re.M))
    named = (EXAMPLES / "alerts.yml").read_text() + "\n".join(queries())
    assert set(re.findall(r"\b(?:photofinish|process)_\w+(?=[\[{ ])", named)) <= there


# -- a real Prometheus -----------------------------------------------------------------------------


class Prometheus:
    """A Prometheus that scrapes one LS, five times a second."""

    def __init__(self, folder: Path, web: int) -> None:
        assert PROMETHEUS is not None
        self.port = free_port()
        scrape = {"job_name": "photofinish", "static_configs": [{"targets": [f"127.0.0.1:{web}"]}]}
        often = {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
        (folder / "prometheus.yml").write_text(
            json.dumps({"global": often, "scrape_configs": [scrape]})
        )
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def ask(self, query: str, at: float | None = None) -> list[Any]:
        """Return the result of a query: series, each with its value; none before it is up."""
        words = {"query": query} | ({} if at is None else {"time": f"{at:.3f}"})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:
                told = json.load(response)
        except (ConnectionError, urllib.error.URLError):
            assert self._process.poll() is None, Path(self._log.name).read_text()
            return []
        assert told["status"] == "success", told
        result: list[Any] = told["data"]["result"]
        return result

    def value(self, query: str, at: float | None = None) -> float:
        """Return the value of a query with one result; NaN for none."""
        result = self.ask(query, at)
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else math.nan

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


class Resolver:
    """A resolver in a thread of its own. `fails`: it says SERVFAIL at once, to all. Else it answers
    at once, slowly or with SERVFAIL, as a name says; nothing twice."""

    def __init__(self, *, fails: bool) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = bind_to_free_port(self.socket)
        self.failures = 0
        self._fails = fails
        self._seen: set[str] = set()
        self._due: list[tuple[float, bytes, Any]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # closed
            while True:
                wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else PATIENCE_S
                if select.select([self.socket], [], [], wait_s)[0]:
                    self._hear(*self.socket.recvfrom(4096))
                while self._due and self._due[0][0] <= time.monotonic():
                    _, reply, whence = heapq.heappop(self._due)
                    self.socket.sendto(reply, whence)

    def _hear(self, query: bytes, whence: object) -> None:
        question = question_of(query)
        if question in self._seen or not question.endswith(".example"):
            return
        self._seen.add(question)
        if self._fails or question.startswith("bad"):
            self.failures += 1
            reply = said(query, "SERVFAIL")
        else:
            reply = said(query, "10.0.0.1")
        wait_s = SLOW_S if question.startswith("slow") and not self._fails else 0.0
        heapq.heappush(self._due, (time.monotonic() + wait_s, reply, whence))

    def close(self) -> None:
        self.socket.close()


def load(port: int) -> tuple[list[float], int]:
    """Ask in batches; return how long each reply took, and how many were SERVFAIL."""
    took: list[float] = []
    failed = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(PATIENCE_S)
        asker.connect(("127.0.0.1", port))
        for batch in range(BATCHES):
            kinds = ["slow", "bad", *["quick"] * (BATCH - 2)]
            asked_at = {}
            for number, kind in enumerate(kinds):
                question = name(f"{kind}{batch}-{number}.example") + b"\0\1\0\1"
                head = number.to_bytes(2, "big") + RD.to_bytes(2, "big") + b"\0\1" + bytes(6)
                asked_at[number] = time.monotonic()
                asker.send(head + question)
            for _ in kinds:
                reply = asker.recv(4096)
                took.append(time.monotonic() - asked_at[int.from_bytes(reply[:2], "big")])
                failed += reply[3] & 15 == CODES["SERVFAIL"]
    return sorted(took), failed


def is_near(seconds: float, other: float) -> bool:
    """Return whether two times are in the same span of a histogram, or in neighbours."""
    return abs(math.log(seconds / other, STEP)) < 2


@openssl
@pytest.mark.skipif(PROMETHEUS is None, reason=f"no Prometheus here {WHERE_FROM}")
def test_prometheus_sees_the_load_as_the_load_saw_itself(run: Programs) -> None:
    with closing(Resolver(fails=True)) as bad, closing(Resolver(fails=False)) as good:
        upstreams = [w for one in (bad, good) for w in ("--dns-upstream", f"127.0.0.1:{one.port}")]
        words = ("--dns", 0, *by_tls(), "--metrics", 0, "--race-sample", 1)
        ls, _ = run.ls([], *upstreams, *words)
        with closing(Prometheus(run.folder, ls.listener("status page"))) as prometheus:
            asked = "photofinish_asked_total"
            wait_for(lambda: prometheus.value(asked) == 0, "a scrape before the load")
            took, failed = load(ls.listener("DNS"))
            total = BATCHES * BATCH
            wait_for(lambda: prometheus.value("photofinish_sampled_total") == total, "one after it")
            at = prometheus.value(f"timestamp({asked})")

            def seen(query: str) -> float:
                return prometheus.value(query, at)

            assert failed == BATCHES
            mine = 'photofinish_replies_total{result="failed"}'
            assert seen(f"increase({mine}[5m])") == pytest.approx(failed)
            assert seen(f"rate({mine}[5m]) * 300") == pytest.approx(failed)
            for server, one in (("DNS1", bad), ("DNS2", good)):
                replies = (
                    f'photofinish_server_replies_total{{server="{server}",result=~"failed|late"}}'
                )
                assert seen(f"sum(increase({replies}[5m]))") == pytest.approx(one.failures)
                place = (
                    f'photofinish_server_info{{address="127.0.0.1:{one.port}",server="{server}"}}'
                )
                assert seen(place) == 1
            buckets = "sum by (le) (rate(photofinish_reply_seconds_bucket[5m]))"
            p99 = took[math.ceil(0.99 * len(took)) - 1]
            assert p99 >= SLOW_S and is_near(seen(f"histogram_quantile(0.99, {buckets})"), p99)
            alone = 'rate(photofinish_server_answer_seconds_bucket{server="DNS2"}[5m])'
            assert is_near(seen(f"histogram_quantile(0.99, {alone})"), SLOW_S)
            for query in queries():
                assert prometheus.ask(query, at) or "> 0" in query, query
