"""The introduction of a server: its text and its fields say the same.

Not here: where it stands in the log (`tests/processes/test_logs.py`).
"""

import json

from core.io.log import Log
from core.io.log_format import json_line
from core.version import VERSION
from nodes.cli.introduction import Introduction


def said(introduction: Introduction, listeners: dict[str, str]) -> tuple[str, dict[str, object]]:
    """Return the text of the record, and its other fields."""
    written: list[bytes] = []
    introduction.report(Log("LS", written.append, log_format=json_line), listeners)
    (record,) = written
    fields = json.loads(record)
    return fields.pop("text"), fields


def test_a_server_says_what_it_is_and_where_it_listens() -> None:
    servers = {"TS1": "localhost:5301", "DNS1": "[::1]:53"}
    introduction = Introduction(
        "race, TS1 localhost:5301, DNS1 [::1]:53", "timeout 5.0 s", {"servers": servers}
    )
    page = "http://127.0.0.1:5380/"
    listeners = {"lines": "127.0.0.1:5300", "dns": "127.0.0.1:5354", "status_page": page}
    text, fields = said(introduction, listeners)
    assert text == (
        f"photofinish {VERSION}: race, TS1 localhost:5301, DNS1 [::1]:53; lines on 127.0.0.1:5300, "
        f"DNS on 127.0.0.1:5354, status page on {page}; timeout 5.0 s"
    )
    assert (fields["event"], fields["level"], fields["version"]) == ("started", "INFO", VERSION)
    assert fields["servers"] == servers and listeners.items() <= fields.items()


def test_a_server_says_where_it_serves_dns_by_tls() -> None:
    listeners = {"dns": "127.0.0.1:53", "dns_tls": "tls://127.0.0.1:853"}
    text, fields = said(Introduction("race"), listeners)
    assert text.endswith("race; DNS on 127.0.0.1:53, DNS over TLS on tls://127.0.0.1:853")
    assert fields["dns_tls"] == "tls://127.0.0.1:853"


def test_what_a_server_does_not_have_is_not_said() -> None:
    text, _ = said(Introduction("table t.txt"), {"lines": "127.0.0.1:5301"})
    assert text == f"photofinish {VERSION}: table t.txt; lines on 127.0.0.1:5301"
