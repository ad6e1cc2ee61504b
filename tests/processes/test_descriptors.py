"""Limits of descriptors, of programs that are started with them.

Not here: what the limit comes to for whom (`tests/io/test_descriptors.py`).
"""

import resource
from contextlib import ExitStack

import pytest

from tests.support.processes import Programs, Talk, free_port, stats

pytestmark = pytest.mark.process

BUSY = b"- ERROR BUSY\n"
ROW = "x.example 10.0.0.1"
ANSWER = b"x.example 10.0.0.1 A IN"
# As if whoever started it had not closed what it had open.
LEAKY = """
import os, runpy
for _ in range({count}):
    os.open(os.devnull, os.O_RDONLY)
runpy.run_module("nodes", run_name="__main__")
"""


def leaky_by(count: int) -> tuple[str, str]:
    return "-c", LEAKY.format(count=count)


def crowd(stack: ExitStack, port: int, count: int) -> list[Talk]:
    talks = [Talk(port) for _ in range(count)]
    for talk in talks:
        stack.callback(talk.close)
    return talks


@pytest.mark.parametrize("kind", ["ts", "ls"])
def test_a_low_soft_limit_is_raised_to_what_the_bounds_need(run: Programs, kind: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    table = run.table("t", ROW)
    if kind == "ts":
        program = run.start("ts", 0, "--table", table, descriptors=(64, hard))
        port = program.port()
    else:
        program, port = run.ls([run.ts(table)[1]], descriptors=(64, hard))
    soft = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)[0]
    assert soft == (1024 if hard == resource.RLIM_INFINITY else min(1024, hard))
    with ExitStack() as stack:
        for talk in crowd(stack, port, 100):
            talk.say(b"x.example\n")
            assert talk.hear(1) == [ANSWER]
    assert "clients fit" not in program.log


@pytest.mark.parametrize("workers", [[], ["--workers", 1]])
def test_clients_take_no_descriptor_of_a_ts_that_restarts(
    run: Programs, workers: list[object]
) -> None:
    """[P59]"""
    table = run.table("t", ROW)
    ts, ts_port = run.ts(table, free_port())
    ls, port = run.ls([ts_port], "--timeout", 60, *workers, descriptors=(64, 64))
    most = int(stats(port)["clients_max"])
    assert 20 < most < 50
    ls.logs(f"{most} clients fit into 64 descriptors; for 99")
    with ExitStack() as stack:
        talks = crowd(stack, port, 90)
        ts.kill()
        ls.logs("TS1 is unreachable")
        served = []
        for talk in talks:
            talk.say(b"PING\n")
            line = talk.hear(1)[0]
            if line == b"PONG":
                served.append(talk)
            else:
                assert line == BUSY.strip() and talk.rest() == b""
        assert abs(len(served) - most) <= 1, "the one that asked for STATS may not be gone"
        run.ts(table, ts_port)
        ls.logs("TS1 is up", 2)
        served[0].say(b"x.example\n")
        assert served[0].hear(1) == [ANSWER]
    assert "too many open files" not in ls.log


@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000,
    reason="nobody may have 2,000 descriptors here",
)
def test_a_start_with_too_many_open_ends_in_one_line(run: Programs) -> None:
    """Also where names are to be looked up: `select` could not hold their descriptors."""
    ls = run.start("ls", 0, "nowhere.invalid", 1, descriptors=(2000, 2000), python=leaky_by(1100))
    assert ls.exits() == 1 and "1024 descriptors are too few" in ls.log


def test_descriptors_that_were_open_at_the_start_count_as_taken(run: Programs) -> None:
    _, ts_port = run.ts(run.table("t", ROW))
    _, port = run.ls([ts_port], descriptors=(64, 64))
    leaky = run.start("ls", 0, "127.0.0.1", ts_port, descriptors=(64, 64), python=leaky_by(20))
    assert int(stats(leaky.port())["clients_max"]) == int(stats(port)["clients_max"]) - 20


@pytest.mark.parametrize("workers", [[], ["--workers", 2]])
def test_a_limit_too_low_for_the_links_is_said_in_a_line(
    run: Programs, workers: list[object]
) -> None:
    servers = [word for port in range(1, 31) for word in ("127.0.0.1", port)]
    ls = run.start("ls", 0, *servers, *workers, descriptors=(60, 60))
    assert ls.exits() == 1
    lines = [line for line in ls.log.splitlines() if "descriptors are too few" in line]
    assert len(lines) == 1 and "60 descriptors are too few: at least " in lines[0]
    if not workers:
        assert len(ls.log.splitlines()) == 1
