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
