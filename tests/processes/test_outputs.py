"""Outputs of programs beside their conversations: log, records and output, and who reads them.

Real processes. A reader that is slow or gone costs lines that are counted, never an answer; a
file loses nothing; a program ends in any case.

Not here: one descriptor by itself (`tests/io/test_writer.py`).
"""

import json
import os
import pty
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.io.writer import writer
from tests.io.test_writer import filled
from tests.support.processes import PATIENCE_S, Programs, Talk, exchange, programs, stats, wait_for

pytestmark = pytest.mark.process

COUNT = 20_000
ROWS = [f"host{n}.example 10.0.{n >> 8}.{n & 255}" for n in range(COUNT)]
NAMES = b"".join(row.split()[0].encode() + b"\n" for row in ROWS)
SLOW = ("--timeout", 60)  # no question is lost on a machine that is busy
REPLIES = sorted(f"{row} A IN".encode() for row in ROWS)


def is_answered(port: int) -> bool:
    """Ask for all names at once."""
    (got,) = exchange(port, [NAMES + b"QUIT\n"])
    return sorted(got.split(b"\n")[:-2]) == REPLIES


@pytest.fixture(scope="module")
def ts_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A TS that all tests share."""
    with programs(tmp_path_factory.mktemp("ts")) as some:
        yield some.ts(some.table("ts", *ROWS))[1]


@pytest.mark.parametrize("kind", ["terminal", "pipe", "broken pipe"])
def test_c13_a_log_that_nobody_reads_costs_lines_only(
    run: Programs, ts_port: int, kind: str
) -> None:
    """With the wire log on it, which is far more than it takes."""
    reader, log = pty.openpty() if kind == "terminal" else os.pipe()
    ls, port = run.ls([ts_port], *SLOW, "--wire-log", linked=False, stderr=log)
    os.close(log)
    assert is_answered(port)
    assert int(stats(port)["log_dropped"]) > 0
    if kind == "broken pipe":
        os.close(reader)
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
    if kind == "pipe":
        assert b"".join(iter(lambda: os.read(reader, 1 << 16), b"")).endswith(b"\n")
    if kind != "broken pipe":
        os.close(reader)


def test_files_get_every_line_of_log_and_records(run: Programs, ts_port: int) -> None:
    """A turn makes more of them than may wait for a slow reader."""
    path = run.folder / "races.jsonl"
    ls, port = run.ls([ts_port], *SLOW, "--wire-log", "--race-sample", 1, "--race-log", path)
    assert is_answered(port)
    told = stats(port)
    assert (told["log_dropped"], told["records_dropped"]) == ("0", "0")
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
    assert len(path.read_bytes().splitlines()) == COUNT
    for mark in ("> client-1", "< TS1", "> TS1", "< client-1"):
        assert ls.log.count(f"LS {mark} host") == COUNT


def test_records_that_nobody_takes_are_dropped_whole(run: Programs, ts_port: int) -> None:
    """A FIFO that nobody reads: 64 KiB are in it, 1 MiB waits, and the rest is dropped."""
    fifo = run.folder / "fifo"
    os.mkfifo(fifo)
    ls, port = run.ls([ts_port], *SLOW, "--race-sample", 1, "--race-log", fifo)
    assert is_answered(port)
    told = stats(port)
    dropped = int(told["records_dropped"])
    assert told["sampled"] == str(COUNT) and 0 < dropped < COUNT
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    taken = b""

    def take() -> bool:
        nonlocal taken
        with suppress(BlockingIOError):
            taken += os.read(reader, 1 << 20)
        return taken.count(b"\n") >= COUNT - dropped

    wait_for(take, "what waited comes when somebody reads")
    os.close(reader)
    assert all(json.loads(line)["end"] == "ANSWERED" for line in taken.splitlines())
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_output_that_nobody_reads_ends_at_a_signal(
    run: Programs, ts_port: int, end: signal.Signals
) -> None:
    """Until then the client waits: somebody may read it, and is to get all of it."""
    reader, terminal = pty.openpty()
    _, port = run.ls([ts_port], *SLOW)
    (run.folder / "names").write_bytes(NAMES)
    client = run.start(
        "client", "127.0.0.1", port, "--names", run.folder / "names", stdout=terminal
    )
    os.close(terminal)
    client.logs(f"{COUNT} answered")
    client.signal(end)
    assert client.exits() == 1, "its output is cut short"
    os.close(reader)


def test_a_ready_line_nobody_reads_does_not_keep_a_server(run: Programs, ts_port: int) -> None:
    """LS with workers, whose standard output is a pipe that is full."""
    reader, full = os.pipe()
    filled(writer(full), full)
    ls = run.start("ls", 0, "127.0.0.1", ts_port, "--workers", 1, stdout=full)
    os.close(full)
    ls.logs("TS1 is up")
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0
    os.close(reader)


def has(path: Path, count: int) -> bool:
    """Return whether so many whole records are there."""
    data = path.read_bytes() if path.exists() else b""
    assert all(json.loads(line)["end"] == "ANSWERED" for line in data.splitlines())
    return data.count(b"\n") == count


@pytest.mark.parametrize("workers", [(), ("--workers", 2)])
def test_a_race_log_that_is_renamed_is_opened_anew(
    run: Programs, ts_port: int, workers: tuple[object, ...]
) -> None:
    """[P65]"""
    path, old = run.folder / "races.jsonl", run.folder / "races.jsonl.1"
    ls, port = run.ls([ts_port], *SLOW, "--race-sample", 1, "--race-log", path, *workers)

    def ask() -> None:
        talk = Talk(port)
        talk.say(b"host0.example\nQUIT\n")
        assert talk.rest() == REPLIES[0] + b"\nBYE\n"

    ask()
    wait_for(lambda: has(path, 1), "a record")
    path.rename(old)
    ask()
    wait_for(lambda: has(old, 2), "one more in the old file")
    ls.signal(signal.SIGHUP)
    ls.logs(f"{path} is opened anew", len(workers) or 1)
    ask()
    wait_for(lambda: has(path, 1), "a record in the new file")
    assert has(old, 2)
    began = datetime.fromisoformat(json.loads(path.read_bytes())["time"])
    assert abs(datetime.now(UTC) - began) < timedelta(seconds=PATIENCE_S)
