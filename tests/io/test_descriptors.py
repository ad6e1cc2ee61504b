"""Descriptors: what the limit is, who may have them, and that clients never take those of links."""

import resource
from contextlib import ExitStack
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.io.descriptors import Descriptors
from nodes.ls.setup import descriptors_for
from tests.sim.scenes import Scene
from tests.support.processes import Programs, Talk

BUSY = b"- ERROR BUSY\n"
ROW = "x.example 10.0.0.1"
ANSWER = b"x.example 10.0.0.1 A IN"
TABLE = {"n1": "10.0.0.1"}
# As if whoever started it had not closed what it had open.
LEAKY = """
import os, runpy
for _ in range({count}):
    os.open(os.devnull, os.O_RDONLY)
runpy.run_module("nodes", run_name="__main__")
"""


def leaky_by(count: int) -> tuple[str, str]:
    return "-c", LEAKY.format(count=count)


def of(limit: int, taken: int = 3, **bounds: int) -> Descriptors:
    return Descriptors(replace(Bounds(), **bounds), limit, taken)  # type: ignore[arg-type]


# -- uses of descriptors ---------------------------------------------------------------------------


def test_clients_have_what_is_left_of_the_limit() -> None:
    some = of(64, descriptors_spare=10)
    assert some.clients_max == 64 - 3 - 2 - 10
    some.reserve(40)
    assert some.clients_max == 64 - 3 - 2 - 10 - 40
    assert of(64, taken=30, descriptors_spare=10).clients_max == 64 - 30 - 2 - 10
    assert of(1024, clients_max=5).clients_max == 5


def test_a_limit_in_the_way_is_said_with_what_to_raise_it_to() -> None:
    assert of(64).few().startswith("43 clients fit into 64 descriptors; for 992 raise the limit to")
    assert "to 1013 " in of(64).few()
    crowded = of(64)
    crowded.reserve(36)
    assert crowded.few().startswith("7 clients fit into 64 descriptors; for 967 raise the limit to")
    assert "to 1024 " in crowded.few()
    assert of(1024).few() == "" and of(64, clients_max=40).few() == ""
    assert of(64, descriptors_max=64).few() == "", "it is wanted so"


def test_a_limit_too_low_for_one_client_is_an_error() -> None:
    some = of(24)
    assert some.too_few() == "" and some.clients_max == 3
    some.reserve(3)
    assert some.clients_max == 0
    assert some.too_few().startswith("24 descriptors are too few: at least 25 are needed; raise")
    some.reserve(30)
    assert some.clients_max == 0


def test_ls_counts_each_socket_of_a_resolver_twice_and_lookups_of_tss() -> None:
    bounds = replace(Bounds(), upstream_sockets=3, lookups_max=2)
    assert descriptors_for(bounds, 0, 1) == 2 * 3 + 2
    assert descriptors_for(bounds, 5, 2) == 5 + 2 * (2 * 3 + 2) + 2 + 4


# -- a storm of clients ----------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 10, 50])
def test_a_ts_that_is_back_is_dialled_whatever_clients_come(room: int) -> None:
    """[P59]: and each client is served, or told BUSY."""
    bounds = Bounds()
    fds_max = 3 + 2 + bounds.descriptors_spare + 1 + 2 + room
    scene = Scene(TABLE, "puppet", fds_max=fds_max, bounds=bounds, linked=False)
    scene.wait(0.5)
    (puppet,) = scene.puppets
    askers = [scene.asker() for _ in range(room)]
    puppet.is_gone()
    scene.wait(0.2)
    askers += [scene.asker() for _ in range(90)]
    told = [asker.take() for asker in askers]
    assert told == [b""] * room + [BUSY] * 90
    scene.wait(3.0)
    puppet.listens()
    scene.wait_for(lambda: puppet.accepted == 2, bounds.redial_max_s * 1.25 + 0.1)
    for asker in askers[:room]:
        asker.say(b"n1\n")
    scene.wait(0.2)
    assert all(asker.take() == b"n1 10.0.0.1 A IN\n" for asker in askers[:room])
    assert scene.world.probes["a dial runs out of descriptors"] == 0
    assert scene.world.probes["accept runs out of descriptors"] == 0


# -- the real thing --------------------------------------------------------------------------------


def clients_max(port: int) -> int:
    talk = Talk(port)
    talk.say(b"STATS\nQUIT\n")
    lines = talk.rest().decode().split("\n")
    talk.close()
    (line,) = [line for line in lines if line.startswith("STAT clients_max ")]
    return int(line.split(" ")[2])


def crowd(stack: ExitStack, port: int, count: int) -> list[Talk]:
    talks = [Talk(port) for _ in range(count)]
    for talk in talks:
        stack.callback(talk.close)
    return talks


@pytest.mark.process
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


@pytest.mark.process
@pytest.mark.parametrize("workers", [[], ["--workers", 1]])
def test_clients_take_no_descriptor_of_a_ts_that_restarts(
    run: Programs, workers: list[object]
) -> None:
    """[P59]"""
    table = run.table("t", ROW)
    ts, ts_port = run.ts(table)
    ls, port = run.ls([ts_port], "--timeout", 60, *workers, descriptors=(64, 64))
    most = clients_max(port)
    assert 20 < most < 50
    ls.logs(f"{most} clients fit into 64 descriptors; for 99")
    with ExitStack() as stack:
        talks = crowd(stack, port, 90)
        ts.kill()
        ls.logs("TS1 is down")
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


@pytest.mark.process
@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000,
    reason="nobody may have 2,000 descriptors here",
)
def test_a_start_with_too_many_open_ends_in_one_line(run: Programs) -> None:
    """Also where names are to be looked up: `select` could not hold their descriptors."""
    ls = run.start("ls", 0, "nowhere.invalid", 1, descriptors=(2000, 2000), python=leaky_by(1100))
    assert ls.exits() == 1 and "1024 descriptors are too few" in ls.log


@pytest.mark.process
def test_descriptors_that_were_open_at_the_start_count_as_taken(run: Programs) -> None:
    _, ts_port = run.ts(run.table("t", ROW))
    _, port = run.ls([ts_port], descriptors=(64, 64))
    leaky = run.start("ls", 0, "127.0.0.1", ts_port, descriptors=(64, 64), python=leaky_by(20))
    assert clients_max(leaky.port()) == clients_max(port) - 20


@pytest.mark.process
@pytest.mark.parametrize("workers", [[], ["--workers", 2]])
def test_a_limit_too_low_for_the_links_is_said_in_a_line(
    run: Programs, workers: list[object]
) -> None:
    servers = ["127.0.0.1", 1] * 30
    ls = run.start("ls", 0, *servers, *workers, descriptors=(60, 60))
    assert ls.exits() == 1
    lines = [line for line in ls.log.splitlines() if "descriptors are too few" in line]
    assert len(lines) == 1 and "60 descriptors are too few: at least " in lines[0]
    if not workers:
        assert len(ls.log.splitlines()) == 1


@pytest.mark.process
def test_a_dial_without_a_descriptor_is_logged_and_tried_again(run: Programs) -> None:
    """From another cause: the limit becomes lower while LS runs."""
    table = run.table("t", ROW)
    ts, ts_port = run.ts(table)
    ls, port = run.ls([ts_port], "--timeout", 60)
    talk = Talk(port)
    pid = ls.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    ts.kill()
    ls.logs("no socket for TS1: too many open files; trying again")
    run.ts(table, ts_port)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    ls.logs("TS1 is up", 2)
    talk.say(b"x.example\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"
    talk.close()
