"""The status page of real programs, over real sockets: that of a TS, and hosts that get none.

Not here: that of LS in a browser (`tests/tools/test_page.py`), and requests as bytes
(`tests/nodes/test_requests.py`, `tests/nodes/test_served_hosts.py`).
"""

import json
import signal

import pytest

from tests.support.processes import Programs, Talk, wait_for

pytestmark = pytest.mark.process


def get(port: int, path: str, host: str = "localhost") -> tuple[int, str]:
    """Return status and body of a page that is asked for as this host."""
    talk = Talk(port)
    talk.say(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    head, _, body = talk.rest().decode().partition("\r\n\r\n")
    talk.close()
    return int(head.split(" ")[1]), body


def test_a_ts_has_a_page_metrics_and_health(run: Programs) -> None:
    table = run.table("t", "x.example 10.0.0.1")
    ts, port = run.ts(table, 0, "--metrics", 0, "--metrics-name", "TS.Example")
    web = ts.listener("status page")
    client = Talk(port)
    assert client.ask(b"x.example") == b"x.example 10.0.0.1 A IN"
    status, body = get(web, "/status.json", "ts.example")
    shown = json.loads(body)
    assert (status, shown["program"], shown["unhealthy"]) == (200, "ts", "")
    assert (shown["figures"]["answered"], shown["figures"]["clients"]) == (1, 1)
    assert "photofinish_rows 1\n" in get(web, "/metrics", "127.0.0.1")[1]
    assert get(web, "/")[1].startswith("<!doctype html>")
    assert get(web, "/livez") == get(web, "/readyz", "10.0.0.9") == (200, "ok\n")
    ts.signal(signal.SIGTERM)
    assert client.hear(1) == [b"BYE"]
    wait_for(lambda: get(web, "/readyz") == (503, "draining\n"), "that it drains")
    assert get(web, "/livez") == (200, "ok\n")
    client.close()
    assert ts.exits() == 0


@pytest.mark.parametrize("more", [[], ["--workers", 2]], ids=["alone", "workers"])
def test_the_page_of_ls_has_tiers_and_routes(run: Programs, more: list[object]) -> None:
    """As they were given, and their metrics; with workers as each of them has it."""
    upstreams = ("--dns-upstream", "127.0.0.1:1", "--tier", "2=DNS1")
    routes = ("--route", "corp.example,10.0.0.0/8=127.0.0.2:1", "--route", "lan=")
    words = ("--metrics", 0, *upstreams, *routes, *more)
    ls, _ = run.ls([1, 2], *words, linked=False)
    web = ls.listener("status page")
    shown = json.loads(get(web, "/status.json")[1])
    assert (shown["policy"], shown["nobodys_names"]) == ("tiers", "lan")
    assert {one["name"]: (one["tier"], one["routes"]) for one in shown["servers"]} == {
        "TS1": (1, ""),
        "TS2": (1, ""),
        "DNS1": (2, "all other names"),
        "DNS2": (2, "corp.example and 10.in-addr.arpa"),
    }
    metrics = get(web, "/metrics")[1]
    for tier in "tier1", "tier2":
        for name in "asked", "slow", "won":
            assert f'photofinish_tier_{name}_total{{tier="{tier}"}} 0\n' in metrics
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


@pytest.mark.parametrize("more", [[], ["--workers", 1]], ids=["alone", "workers"])
def test_a_page_of_another_site_cannot_read_it(run: Programs, more: list[object]) -> None:
    """[P66]: a browser that was sent here by another site's name says so in Host."""
    words = ("--metrics", 0, "--metrics-name", "page.example", *more)
    ls, _ = run.ls([1], *words, linked=False)
    web = ls.listener("status page")
    for path in ("/", "/status.json", "/metrics"):
        status, body = get(web, path, "evil.example")
        assert status == 421 and "--metrics-name" in body and "evil" not in body
        assert get(web, path, "page.example")[0] == get(web, path)[0] == 200
    assert get(web, "/livez", "evil.example") == (200, "ok\n")
    said = " LS WARNING refused to show the status page as evil.example; if that is a name of"
    ls.logs(said, 3)
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
