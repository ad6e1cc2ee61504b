"""The client with names that come while it runs: in a pipe, and typed at a terminal.

Not here: which lines are names (`tests/nodes/test_name_list.py`).
"""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.processes.test_system import ANSWER, ROWS_1
from tests.processes.test_top import take_terminal
from tests.support.processes import Programs, programs

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def ts_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A TS that says what it does not know, for tests that leave it alone."""
    with programs(tmp_path_factory.mktemp("ts")) as some:
        yield some.ts(some.table("ts1", *ROWS_1), 0, "--answer-unknown")[1]


def test_a_line_in_a_pipe_is_answered_before_the_next_comes(run: Programs, ts_port: int) -> None:
    """Also behind an LS that closes connections as soon as they are idle."""
    ls, port = run.ls([ts_port], "--timeout", 0.1, "--idle", 0.2, "--wire-log")
    client = run.start("client", "127.0.0.1", port, "--fail", stdin=subprocess.PIPE)
    names, lines = client.process.stdin, client.process.stdout
    assert names is not None and lines is not None
    for sessions, name, line in (
        (1, "rutgers.edu", ANSWER.decode()),
        (2, " RUTGERS.edu\t# again", ANSWER.decode()),
        (3, "nowhere.example", "nowhere.example - NOT FOUND"),
        (3, "two words", "two words - ERROR BADNAME"),
    ):
        names.write(f"{name}\n")
        names.flush()
        assert lines.readline() == f"{line}\n"
        ls.logs("OPEN -> DONE", sessions)
    names.write("amazon.com")  # without an LF
    names.close()
    assert lines.read() == "amazon.com 94.5.6.7 A IN\n"
    assert client.exits() == 3
    assert "standard input:4: neither a legal name nor `name AAAA`: two words\n" in client.log
    assert "5 names: 3 answered, 1 not found, 0 timed out, 1 bad, 0 lost" in client.log


@pytest.mark.parametrize("way", ["end of file", "interrupt"])
def test_a_name_that_is_typed_is_answered_at_once(run: Programs, ts_port: int, way: str) -> None:
    _, port = run.ls([ts_port])
    person, terminal = pty.openpty()
    os.set_blocking(person, False)
    client = run.start(
        *("client", "127.0.0.1", port, "--json"), stdin=terminal, before=take_terminal
    )
    lines = client.process.stdout
    assert lines is not None
    client.logs("Type a name in each line; Ctrl-D ends.\n")
    os.write(person, b"rutgers.edu\n")
    assert json.loads(lines.readline())["addresses"] == ["172.34.4.6"]
    assert os.get_blocking(terminal), "the shell has it, too"
    os.write(person, b"rutgers.edu AAAA\n")
    said = {"name": "rutgers.edu", "type": "AAAA", "result": "no_data", "addresses": []}
    assert json.loads(lines.readline()) == said
    if way == "interrupt":
        client.signal(signal.SIGINT)
    else:
        os.write(person, b"\x04")
    assert client.exits() == (way == "interrupt")
    assert "2 names: 1 answered, 1 no data" in client.log
    os.close(person)
    os.close(terminal)


def test_a_table_server_is_told_from_an_ls(run: Programs) -> None:
    _, port = run.ts(run.table("ts1", *ROWS_1))
    code, out, log = run.run("client", "127.0.0.1", port, "nowhere.example", "rutgers.edu")
    assert (code, out) == (1, f"nowhere.example - LOST\n{ANSWER.decode()}\n")
    why = "closed the session without an answer (is it a table server?)"
    assert log.startswith(f"127.0.0.1:{port} {why}\n2 names: 1 answered")


def test_a_list_that_cannot_be_read_is_one_line(run: Programs) -> None:
    code, out, log = run.run("client", "127.0.0.1", 1, "--names", run.folder)
    assert (code, out, log) == (1, "", f"cannot read {run.folder}: is a directory\n")
