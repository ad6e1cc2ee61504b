"""The log of a server as those read it who look for something: jq, the journal, a person.

Real processes, since standard error is what it is about.

Not here: each format by itself (`tests/io/test_log_format.py`), and a log that nobody reads
(`tests/processes/test_outputs.py`).
"""

import json
import os
import signal
import socket
from typing import Any

import pytest

from core.version import VERSION
from tests.support.processes import PATIENCE_S, Program, Programs, free_port, stats

pytestmark = pytest.mark.process

ROW = "rutgers.edu 172.34.4.6"


def records(program: Program) -> list[dict[str, Any]]:
    """Return all of its log, which is JSON to the last line."""
    return [json.loads(line) for line in program.log.splitlines()]


def ended(program: Program) -> dict[str, Any]:
    """End a server; return the last record of each event."""
    program.signal(signal.SIGTERM)
    assert program.exits() == 0
    return {record["event"]: record for record in records(program)}


@pytest.mark.parametrize("workers", [(), ("--workers", 1)], ids=["alone", "workers"])
def test_every_line_of_ls_is_json_with_what_happened(
    run: Programs, workers: tuple[object, ...]
) -> None:
    """The first record says what LS is, the last what it has counted, by the names of STATS."""
    closed = free_port()
    words = ("--dns", 0, "--metrics", 0, "--log-format", "json", "--timeout", 2.5, *workers)
    ls, port = run.ls([closed], *words, linked=False)
    ls.logs("connection refused")
    told = stats(port)
    first = records(ls)[0]
    last = ended(ls)["stopped"]
    assert first["event"] == "started" and first["version"] == VERSION
    assert (first["policy"], first["timeout_s"]) == ("race", 2.5)
    assert first["servers"] == {"TS1": f"127.0.0.1:{closed}"}
    assert first["lines"] == f"127.0.0.1:{port}" and first["dns"].startswith("127.0.0.1:")
    assert first["status_page"].startswith("http://127.0.0.1:")
    assert first.get("workers") == (1 if workers else None)
    assert {"asked", "answered", "timed_out", "not_found", "errors", "late"} <= last.keys()
    counted = set(last) - {"time", "node", "level", "event", "text"}
    assert counted <= told.keys() and "pending" not in counted
    assert last["text"].endswith(", ".join(f"{name} {last[name]}" for name in last if name in told))


def test_every_line_of_a_table_server_is_json(run: Programs) -> None:
    """Also the lines before it serves."""
    table = run.folder / "table.txt"
    table.write_text(f"{ROW} A\nbad row\n")
    ts = run.start("ts", 0, "--table", table, "--log-format", "json")
    port = ts.port()
    events = ended(ts)
    assert list(events) == ["bad_row", "table_loaded", "started", "stopped"]
    loaded = events["table_loaded"]
    assert (loaded["table"], loaded["rows"], loaded["bad_rows"]) == (str(table), 1, 1)
    assert events["started"]["lines"] == f"127.0.0.1:{port}"
    assert events["stopped"]["unknown"] == 0


@pytest.mark.parametrize("is_journal", [True, False])
def test_the_journal_is_known_by_its_device_and_inode(run: Programs, is_journal: bool) -> None:
    """As systemd connects a service, by a stream socket; another's number means nothing."""
    ours, theirs = socket.socketpair()
    found = os.fstat(theirs.fileno())
    number = found.st_ino + (not is_journal)
    table = run.table("ts", ROW)
    environment = {"JOURNAL_STREAM": f"{found.st_dev}:{number}"}
    ts = run.start("ts", 0, "--table", table, stderr=theirs.fileno(), environment=environment)
    theirs.close()
    port = ts.port()
    ts.signal(signal.SIGTERM)
    assert ts.exits() == 0
    ours.settimeout(PATIENCE_S)
    log = b"".join(iter(lambda: ours.recv(4_096), b"")).decode()
    ours.close()
    if not is_journal:
        assert "<" not in log and f"Z TS photofinish {VERSION}: " in log
        return
    loaded, started, stopped = log.splitlines()
    assert loaded.startswith(f"<6>{table}: 1 rows in ")
    assert started == f"<6>photofinish {VERSION}: table {table}; lines on 127.0.0.1:{port}"
    assert stopped.startswith("<6>asked 0, answered 0, ")


def test_a_program_that_cannot_start_is_an_error_in_the_journal(run: Programs) -> None:
    ours, theirs = socket.socketpair()
    found = os.fstat(theirs.fileno())
    environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    ts = run.start("ts", 0, "--table", run.folder, stderr=theirs.fileno(), environment=environment)
    theirs.close()
    assert ts.exits() == 1
    ours.settimeout(PATIENCE_S)
    assert ours.recv(4_096).startswith(b"<3>photofinish: cannot read the table ")
    ours.close()
