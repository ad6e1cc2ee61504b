"""LS as several processes on loopback: who serves whom, what is summed, and how all of it ends.

Tests that harm nobody share one LS before the two TSs of all.

Not here: the brains (`tests/nodes/test_supervisor.py`, `tests/nodes/test_worker.py`), forking
(`tests/io/test_child.py`), and how fast it is (`bench/workers.py`).
"""

import json
import os
import re
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import (
    PATIENCE_S,
    Programs,
    Talk,
    exchange,
    need_descriptors,
    programs,
    stats,
    wait_for,
)

pytestmark = pytest.mark.process


class Crew:
    """A real `ls --workers` before these TSs."""

    def __init__(self, run: Programs, ts_ports: list[int], *words: object) -> None:
        self.ts_ports = ts_ports
        self.parent, self.port = run.ls(ts_ports, "--workers", 2, *words, linked=False)
        self.parent.logs(" is up", 2 * (1 + len(ts_ports)))

    def stats(self) -> dict[str, str]:
        return stats(self.port)

    def counts(self, key: str) -> int:
        return int(self.stats()[key])

    def processes(self) -> dict[str, int]:
        """Return the number of each worker's process, as the log has it last."""
        found = re.findall(r"LS (W\d+) is up: process (\d+)", self.parent.log)
        return {name: int(number) for name, number in found}

    def page(self, path: str) -> str:
        found = re.search(r"status page on (http://[^/]+)/", self.parent.log)
        assert found is not None
        with urlopen(found[1] + path, timeout=PATIENCE_S) as response:
            text: str = response.read().decode()
        return text

    def is_gone(self) -> bool:
        """Return whether no worker of whom the log knows is left."""
        return all(map(is_gone, self.processes().values()))

    def serves(self) -> bool:
        return exchange(self.port, [b"n1.example\nQUIT\n"]) == [ANSWER + b"\nBYE\n"]


ANSWER = b"n1.example 10.0.0.1 A IN"


def is_gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{number}/stat").read_text().split(") ")[1][0] == "Z"


@pytest.fixture(scope="module")
def module_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with programs(tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture(scope="module")
def ts_ports(module_run: Programs) -> list[int]:
    table = module_run.table("t", *(f"n{n}.example 10.0.0.{n}" for n in range(200)))
    return [module_run.ts(table)[1] for _ in range(2)]


@pytest.fixture(scope="module")
def shared(module_run: Programs, ts_ports: list[int]) -> Crew:
    need_descriptors(4000)
    return Crew(module_run, ts_ports, "--metrics", 0)


# -- shared by all ---------------------------------------------------------------------------------


def test_eighteen_hundred_clients_are_spread_and_summed(shared: Crew) -> None:
    """[P28]"""
    before = shared.stats()
    with ExitStack() as stack:
        talks = []
        for _ in range(1800):
            talks.append(Talk(shared.port))
            stack.callback(talks[-1].close)
        for number, talk in enumerate(talks):
            talk.say(b"n%d.example\n" % (number % 200))
        for number, talk in enumerate(talks):
            n = number % 200
            assert talk.hear(1) == [b"n%d.example 10.0.0.%d A IN" % (n, n)]
        wait_for(lambda: shared.counts("clients") >= 1800, "all are there at once")
        asked = int(before["asked"]) + 1800
        wait_for(lambda: shared.counts("asked") == asked, "all questions are summed")
        seen = ("W1.sessions", "W2.sessions")  # as the parent has told each: maybe before the rest
        wait_for(
            lambda: sum(shared.counts(key) - int(before[key]) for key in seen) >= 1800,
            "all sessions are told",
        )
        told = shared.stats()

    def more(key: str) -> int:
        return int(told[key]) - int(before[key])

    shares = [more(f"W{n}.sessions") for n in (1, 2)]
    assert sum(shares) >= 1800 and max(shares) <= 0.65 * sum(shares), shares
    assert more("answered") == 1800 and told["pending"] == "0"
    assert sum(more(f"TS{n}.won") for n in (1, 2)) + more("joined") == 1800


def test_the_parents_pages_show_all_workers(shared: Crew) -> None:
    asked = shared.counts("asked") + 10
    exchange(shared.port, [b"n1.example\nQUIT\n"] * 10)
    sum_line = f"photofinish_asked_total {asked}\n"
    wait_for(lambda: sum_line in shared.page("/metrics"), "the page has the sum")
    assert 'photofinish_worker_state{worker="W2",state="UP"} 1\n' in shared.page("/metrics")
    assert shared.page("/healthz") == "ok\n"
    assert '"workers": [{"name": "W1"' in shared.page("/status.json")


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_port_of_workers_or_of_one_is_in_use_for_others(
    run: Programs, shared: Crew, words: list[str]
) -> None:
    ts_port = shared.ts_ports[0]
    for port in (shared.port, ts_port) if words else (shared.port,):
        code, out, log = run.run("ls", port, "127.0.0.1", shared.ts_ports[1], *words)
        assert (code, out) == (1, "") and log.count("\n") == 1, log
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in log


# -- workers that die or stand still ---------------------------------------------------------------


def test_a_killed_worker_takes_only_its_own_sessions(run: Programs, ts_ports: list[int]) -> None:
    """[P27]: and it comes back."""
    crew = Crew(run, ts_ports)
    talks = [Talk(crew.port) for _ in range(40)]
    for talk in talks:
        talk.say(b"n1.example\n")
        assert talk.hear(1) == [ANSWER]
    wait_for(lambda: crew.counts("clients") >= 40, "news of all have come round")
    lost = crew.counts("W1.clients")
    os.kill(crew.processes()["W1"], signal.SIGKILL)
    crew.parent.logs("W1 is gone: it was ended by signal 9")
    crew.parent.logs("W1 is up", 2)
    ends: Counter[bool] = Counter()
    for talk in talks:
        try:
            talk.say(b"n2.example\n")
            ends[talk.hear(1) == [b"n2.example 10.0.0.2 A IN"]] += 1
        except (AssertionError, ConnectionError):
            ends[False] += 1
        talk.close()
    assert 0 < ends[False] <= lost and ends[True] == 40 - ends[False]
    exchange(crew.port, [b"n3.example\nQUIT\n"] * 60)
    wait_for(lambda: crew.counts("W1.sessions") > 0, "the new one serves")
    assert crew.counts("asked") >= 80 and crew.counts("W1.restarts") == 1


def test_a_stopped_worker_keeps_neither_news_nor_drain(run: Programs, ts_ports: list[int]) -> None:
    """[P62]"""
    quick = ("--bound", "news_s=0.1", "--bound", "drain_grace_s=0.4")
    crew = Crew(run, ts_ports, "--timeout", 0.5, *quick, "--metrics", 0)

    def metric(name: str) -> int:
        lines = crew.page("/metrics").splitlines()
        return int(next(line for line in lines if line.startswith(name + " ")).split(" ")[1])

    stopped = crew.processes()["W2"]
    os.kill(stopped, signal.SIGSTOP)
    crew.parent.logs("W2 does not report; its last metrics count")
    assert metric('photofinish_worker_old{worker="W2"}') == 1
    asked = metric("photofinish_asked_total")
    others = 0
    while others < 5:  # the kernel gives some of them to the one that is stopped
        talk = Talk(crew.port)
        talk.say(b"n1.example\n")
        others += bool(select.select([talk.socket], [], [], 0.1)[0])
        talk.close()
    wait_for(lambda: metric("photofinish_asked_total") >= asked + 5, "the sum goes on")
    began = time.monotonic()
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 0
    assert time.monotonic() - began >= 0.9, "it may have ended by itself"
    assert "the drain took too long: W2 ended by force" in crew.parent.log
    assert is_gone(stopped)


# -- how it ends -----------------------------------------------------------------------------------


def test_sigterm_drains_all_and_leaves_nothing(run: Programs, ts_ports: list[int]) -> None:
    crew = Crew(run, ts_ports, "--timeout", 0.5)
    talks = [Talk(crew.port) for _ in range(20)]
    for talk in talks:
        talk.say(b"n1.example\nnowhere.example\n")
    for talk in talks:
        assert talk.hear(1) == [ANSWER]
    crew.parent.signal(signal.SIGTERM)
    for talk in talks:
        assert talk.rest() == b"nowhere.example - TIMED OUT\nBYE\n"
        talk.close()
    assert crew.parent.exits() == 0 and crew.is_gone()
    assert "all workers: asked 40, answered 20, timed_out 20" in crew.parent.log


def test_workers_whose_parent_dies_drain(run: Programs, ts_ports: list[int]) -> None:
    crew = Crew(run, ts_ports)
    talk = Talk(crew.port)
    talk.say(b"PING\n")
    assert talk.hear(1) == [b"PONG"]
    crew.parent.kill()
    assert talk.rest() == b"BYE\n"
    talk.close()
    wait_for(crew.is_gone, "the workers are gone")
    assert crew.parent.log.count("the parent is gone: draining") == 2


def test_a_second_signal_ends_all_at_once(run: Programs, ts_ports: list[int]) -> None:
    crew = Crew(run, ts_ports)
    talk = Talk(crew.port)
    talk.say(b"nowhere.example\n")
    wait_for(lambda: crew.counts("pending"), "it is asked")
    crew.parent.signal(signal.SIGTERM)
    crew.parent.logs("asked", 1)  # the first has come: the worker without clients is gone
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 1 and crew.is_gone()


def test_an_interrupt_of_the_whole_group_ends_cleanly(run: Programs, ts_ports: list[int]) -> None:
    """As a terminal's Ctrl-C comes to all of them."""
    crew = Crew(run, ts_ports)
    for number in (crew.parent.process.pid, *crew.processes().values()):
        os.kill(number, signal.SIGINT)
    assert crew.parent.exits() == 0 and crew.is_gone()


def test_another_may_begin_while_the_old_one_drains(run: Programs, ts_ports: list[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as late:
        crew = Crew(run, [late.getsockname()[1]], "--timeout", 2 * PATIENCE_S)
        links = [late.accept()[0] for _ in range(2)]
        talk = Talk(crew.port)
        talk.say(b"late.example\nPING\n")
        assert talk.hear(1) == [b"PONG"]
        (asked,), _, _ = select.select(links, [], [], PATIENCE_S)
        assert asked.recv(100) == b"late.example\n"
        (idle,) = (link for link in links if link is not asked)
        crew.parent.signal(signal.SIGTERM)
        assert idle.recv(100) == b"QUIT\n"
        idle.close()
        crew.parent.logs("asked", 1)  # the worker without clients has said its account
        servers = [word for port in ts_ports for word in ("127.0.0.1", port)]
        other = run.start("ls", crew.port, *servers, "--workers", 2)
        assert other.port() == crew.port
        other.logs(" is up", 6)
        assert crew.serves()
        asked.sendall(b"late.example 10.0.0.1 A IN\n")
        assert talk.rest() == b"late.example 10.0.0.1 A IN\nBYE\n"
        asked.close()
        talk.close()
    assert crew.parent.exits() == 0


def test_race_records_of_workers_are_lines_of_one_file(run: Programs, ts_ports: list[int]) -> None:
    path = run.folder / "races.jsonl"
    crew = Crew(run, ts_ports, "--race-sample", 1, "--race-log", path)
    exchange(crew.port, [b"n1.example\nn%d.example\nQUIT\n" % n for n in range(2, 102)])
    wait_for(lambda: crew.counts("sampled") >= 101, "all are sampled")
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 0
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["question"] for record in records} == {f"n{n}.example" for n in range(1, 102)}
    code, out, _ = run.run("replay", path)
    assert code == 0 and "race" in out
