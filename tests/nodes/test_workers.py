"""LS as several processes: the parent's brain, a worker's brain, forking, and all of it for real.

The parent is tested on the stage, where a worker is what the test says it is; the worker around a
real LS; `Child` by real forks; and the whole as processes on loopback: who serves whom, what is
summed, and how all of it ends.

Not here: how fast it is (`bench/workers.py`).
"""

import json
import math
import os
import re
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Drain, Effect, Spawn
from core.environment import Environment
from core.events import Closed, Woken
from core.io.child import Born, Child
from core.io.lookup import Lookup
from core.metrics import Histogram, Metric, Value
from core.operator import DrainAsked, ReloadAsked, Standing, StatsAsked
from core.protocol import server_state
from core.protocol.server_state import CLIENTS, SESSIONS
from core.text import split_lines
from nodes.cli.ls_arguments import read_ls_options
from nodes.ls.load_balancer import LoadBalancer
from nodes.status_page import pages
from nodes.workers.messages import Unpacker, WorkerReport, changes, keyed, pack, sections
from nodes.workers.supervisor import Supervisor
from nodes.workers.totals import summed
from nodes.workers.worker import PARENT, Worker
from tests.support.balancers import load_balancer
from tests.support.processes import (
    PATIENCE_S,
    Programs,
    Talk,
    exchange,
    need_descriptors,
    stats,
    wait_for,
)
from tests.support.stage import Stage

ASKED = Metric("asked", "Questions")
STATE = Metric("state", "State", is_level=True, per="ts")
NOTHING_NEW = {"process": 7, "values": {}, "histograms": {}, "about": {}}
READY = b"ls ready on 127.0.0.1:5000\n"
process = pytest.mark.process


# -- news ------------------------------------------------------------------------------------------

metrics = st.sampled_from([ASKED, STATE, CLIENTS, Metric("hits", "Often", per="bound")])
values = st.builds(Value, metrics, st.integers(0, 2**40) | st.sampled_from(["UP", "DOWN"]))


@given(st.lists(values, max_size=40), st.text(max_size=2000), st.data())
def test_news_arrive_as_they_were_told_however_they_are_cut(
    told: list[Value], word: str, data: st.DataObject
) -> None:
    histogram = Histogram()
    histogram.add(0.003)
    times = Metric("answer_seconds", "Times", per="ts")
    sent = pack(sections(told, [(times, histogram, "TS1")], {"a": word})) + pack({"do": "tell"})
    assert all(len(line) <= 512 for line in split_lines(sent))
    places = [n + 1 for n, byte in enumerate(sent) if byte == 10]
    chosen = data.draw(st.lists(st.sampled_from(places), max_size=5, unique=True).map(sorted))
    unpacker = Unpacker()
    got = []
    for start, end in zip([0, *chosen], [*chosen, len(sent)], strict=True):
        got += unpacker.take(sent[start:end]) if sent[start:end] else []
    assert got[1] == {"do": "tell"} and len(got) == 2
    back = WorkerReport()
    assert back.take(got[0]) == list(keyed(told))
    assert (back.values, back.about) == (keyed(told), {"a": word})
    (metric, heard, of) = back.histograms["TS1.answer_seconds"]
    assert (metric, heard.counts, heard.sum_s, of) == (times, histogram.counts, 0.003, "TS1")


@given(st.lists(st.lists(values, max_size=9), min_size=1, max_size=9))
def test_changes_one_after_the_other_make_the_whole(tellings: list[list[Value]]) -> None:
    news, before, whole = WorkerReport(), sections([], [], {}), sections([], [], {})
    for told in tellings:
        whole = {**whole, "values": whole["values"] | keyed(told)}
        message = {name: changes(part, before[name]) for name, part in whole.items()}
        before = whole
        assert news.take(json.loads(json.dumps(message, default=astuple))) is not None
        assert news.values == whole["values"]
        assert not any(changes(part, before[name]) for name, part in whole.items())


def test_numbers_add_up_and_words_that_differ_stand_side_by_side() -> None:
    one = [Value(ASKED, 3), Value(STATE, "UP", "TS1"), Value(STATE, "UP", "TS2")]
    two = [Value(ASKED, 4), Value(STATE, "UP", "TS1"), Value(STATE, "DOWN", "TS2")]
    assert list(summed([keyed(one), keyed(two), keyed(two)]).values()) == [
        Value(ASKED, 11),
        Value(STATE, "UP", "TS1"),
        Value(STATE, "UP/DOWN", "TS2"),
    ]


# -- the parent ------------------------------------------------------------------------------------


class Nursery(Stage):
    """The parent's brain; a worker that is spawned waits for the test."""

    def __init__(
        self, count: int = 2, bounds: Bounds | None = None, watchdog_s: float = math.inf
    ) -> None:
        bounds = bounds or Bounds()
        self.spawned: list[str] = []
        super().__init__(
            Supervisor(Environment(bounds), count, READY, watchdog_s=watchdog_s), bounds
        )
        self.begin()

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Spawn):
            self.spawned.append(effect.conn)
            self.dialled.append(effect.conn)
        else:
            super().perform(effect)

    def tell(self, conn: str, asked: int = 0, clients: int = 0, unhealthy: str = "") -> None:
        """Let a worker tell of itself; it is there from its first word on."""
        if conn in self.dialled:
            self.connect(conn)
        values = [Value(ASKED, asked), Value(CLIENTS, clients), Value(SESSIONS, clients)]
        about = {"unhealthy": unhealthy, "told": [], "where": {}}
        self.hear(conn, pack({"process": 7, **sections(values, [], about)}))

    def die(self, conn: str, why: str = "it was ended by signal 9") -> None:
        if conn in self.dialled:
            self.dialled.remove(conn)
        self.connections.pop(conn, None)
        self.step(Closed(conn, why))

    def told(self, conn: str) -> list[dict[str, Any]]:
        return Unpacker().take(self.take(conn))

    def metrics(self) -> dict[str, Any]:
        values: list[Value] = self.brain.metrics()  # type: ignore[attr-defined]
        return {value.key: value.value for value in values}


def nursery(**more: Any) -> Nursery:  # noqa: ANN401
    """Build a supervisor whose workers are up."""
    stage = Nursery(**more)
    for conn in list(stage.spawned):
        stage.tell(conn)
    return stage


def test_it_is_ready_once_every_worker_serves() -> None:
    stage = Nursery()
    assert stage.spawned == ["W1", "W2"]
    stage.tell("W1")
    assert stage.written == b"" and stage.standings == []
    stage.tell("W2")
    assert stage.written == READY and stage.standings == [Standing.READY]
    assert stage.reports == ["W1 is up: process 7", "W2 is up: process 7"]


def test_one_that_cannot_even_start_ends_the_whole() -> None:
    stage = Nursery()
    stage.tell("W1")
    stage.die("W2", "it ended with exit code 1")
    assert "W2 could not be started: it ended with exit code 1" in stage.reports
    assert stage.told("W1")[-1] == {"do": "drain"} and stage.exit_code is None
    stage.die("W1")
    assert stage.exit_code == 1 and stage.written == b""


def test_one_that_dies_is_started_again_after_a_wait_that_doubles() -> None:
    stage = nursery()
    waits = []
    for _ in range(9):
        died = stage.now
        stage.die("W1")
        while "W1" not in stage.dialled:
            stage.wait(1 / 128)
        waits.append(stage.now - died)
        stage.connect("W1")
    assert [round(wait, 1) for wait in waits] == [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    stage.wait(5.1)
    stage.die("W1")
    stage.wait(0.1)
    assert stage.dialled == ["W1"]  # it had lasted


def test_a_counter_never_falls_when_a_worker_dies_and_a_level_does() -> None:
    stage = nursery()
    stage.tell("W1", asked=10, clients=3)
    stage.tell("W2", asked=5, clients=1)
    told = stage.metrics()
    assert (told["asked"], told["clients"], told["W1.clients"], told["sessions"]) == (15, 4, 3, 4)
    stage.die("W1")
    told = stage.metrics()
    assert (told["asked"], told["clients"], told["W1.state"]) == (15, 1, "VACANT")
    stage.wait(0.1)
    stage.tell("W1", asked=2, clients=2)
    told = stage.metrics()
    assert (told["asked"], told["clients"], told["W1.restarts"]) == (17, 3, 1)
    stage.die("W1")
    assert stage.metrics()["asked"] == 17


def test_each_hears_what_the_others_count() -> None:
    """[P28]"""
    stage = nursery(count=3)
    for conn in stage.spawned:
        stage.take(conn)
    stage.wait(1.0)
    assert [stage.told(conn) for conn in stage.spawned] == [[{"do": "tell"}]] * 3
    for number, conn in enumerate(stage.spawned):
        assert stage.take(conn) == b""
        stage.tell(conn, asked=10**number)
    for conn, others in zip(stage.spawned, (110, 101, 11), strict=True):
        (message,) = stage.told(conn)
        assert message["do"] == "hear"
        assert message["values"]["asked"][1] == others


def test_workers_hear_only_what_has_changed() -> None:
    stage = nursery(count=3)
    for at_rest in (False, True, True):  # first of the last ones that came up
        for conn in stage.spawned:
            stage.take(conn)
        stage.wait(1.0)
        for conn in stage.spawned:
            stage.take(conn)
            stage.hear(conn, pack(NOTHING_NEW))
        assert not at_rest or not any(stage.take(conn) for conn in stage.spawned)
    stage.wait(1.0)
    for conn in stage.spawned:
        stage.take(conn)
        stage.tell(conn, asked=3 if conn == "W1" else 0)
    for conn, others in zip(stage.spawned, (0, 3, 3), strict=True):
        (message,) = stage.told(conn)
        assert numbers(message) == {"asked": others, "clients": 0, "sessions": 0}


def test_one_that_is_started_again_hears_everything() -> None:
    stage = nursery(count=3)
    stage.tell("W1", asked=10, clients=3)
    stage.tell("W2", asked=5, clients=1)
    stage.die("W1")
    stage.wait(0.1)
    for conn in ("W2", "W3"):
        stage.take(conn)
    stage.tell("W1")
    for conn, asked, clients in (("W1", 15, 1), ("W2", 10, 0), ("W3", 15, 1)):
        said = numbers(stage.told(conn)[-1])
        assert (said["asked"], said["clients"], said["W2.sessions"]) == (asked, clients, 1)
        assert said["W1.restarts"] == 1


def test_a_level_that_only_a_lost_worker_had_is_gone() -> None:
    stage = nursery()
    stage.die("W1")
    stage.wait(1.0)
    stage.take("W2")
    stage.hear("W2", pack(NOTHING_NEW))
    (message,) = stage.told("W2")
    assert message["gone"] == ["clients"] and numbers(message)["asked"] == 0


def test_news_of_others_go_on_while_a_worker_is_stopped() -> None:
    """[P62]: and it hears what it has missed once it goes on."""
    stage = nursery(count=3)
    stage.wait(1.0)
    for conn in ("W1", "W2"):
        stage.tell(conn, asked=1)
        stage.take(conn)
    stage.take("W3")
    stage.wait(1.0)
    assert stage.reports[-1] == "W3 does not report; its last metrics count"
    assert stage.metrics()["W3.old"] == 1 and stage.take("W3") == b""
    for conn in ("W1", "W2"):
        stage.tell(conn, asked=5)
    heard = [message for message in stage.told("W1") if message["do"] == "hear"]
    assert numbers(heard[-1])["asked"] == 5 and numbers(heard[-1])["W3.old"] == 1
    for _ in range(100):
        stage.wait(1.0)
        stage.tell("W1", asked=6)
        stage.tell("W2", asked=6)
    assert stage.take("W3") == b"", "nothing piles up for it"
    assert (
        stage.metrics()["asked"] == 12 and sum("does not report" in r for r in stage.reports) == 1
    )
    stage.wait(1.0)
    stage.told("W1")
    stage.tell("W3", asked=2)
    assert stage.reports[-1] == "W3 reports again"
    stage.tell("W1", asked=7)
    stage.tell("W2", asked=7)
    heard = [message for message in stage.told("W3") if message["do"] == "hear"]
    assert numbers(heard[-1])["asked"] == 14 and numbers(heard[-1])["W3.old"] == 0
    assert stage.metrics()["asked"] == 16


def test_a_worker_that_is_lost_while_it_is_stopped_is_old_no_more() -> None:
    stage = nursery()
    stage.wait(1.0)
    stage.tell("W1")
    stage.wait(1.0)
    assert stage.metrics()["W2.old"] == 1
    stage.die("W2")
    stage.wait(1.0)
    stage.tell("W2")
    assert stage.metrics()["W2.old"] == 0


def test_a_drain_waits_for_every_worker_and_starts_none_again() -> None:
    stage = nursery(count=3)
    stage.die("W3")
    stage.drain()
    assert not stage.listening and stage.standings[-1] is Standing.STOPPING
    assert [stage.told(conn)[-1] for conn in ("W1", "W2")] == [{"do": "drain"}] * 2
    stage.tell("W1", asked=4)
    stage.die("W1", "it ended with exit code 0")
    assert stage.exit_code is None
    stage.die("W2", "it ended with exit code 0")
    assert stage.exit_code == 0 and stage.spawned == ["W1", "W2", "W3"]
    assert stage.reports[-1].startswith("all workers: asked 4, ")


def test_a_drain_that_takes_too_long_says_who_does() -> None:
    stage = nursery()
    stage.drain()
    stage.die("W1")
    stage.wait(6.9)
    assert stage.exit_code is None
    stage.wait(0.2)
    assert stage.exit_code == 0
    assert stage.reports[-1] == "the drain took too long: W2 ended by force"


@pytest.mark.parametrize("ends", ["done", "dead"])
def test_a_reload_is_over_when_it_is_over_for_all(ends: str) -> None:
    stage = nursery()
    stage.step(ReloadAsked())
    assert stage.standings[-1] is Standing.RELOADING
    assert [stage.told(conn)[-1] for conn in ("W1", "W2")] == [{"do": "reload"}] * 2
    stage.hear("W1", pack({"standing": "RELOADING"}) + pack({"standing": "READY"}))
    assert stage.standings[-1] is Standing.RELOADING
    if ends == "done":
        stage.hear("W2", pack({"standing": "READY"}))
    else:
        stage.die("W2")
    assert stage.standings[-1] is Standing.READY


def test_a_reload_waits_for_no_worker_that_is_stopped() -> None:
    """Else a service manager would take the whole as reloading for as long as that is."""
    stage = nursery()
    stage.wait(1.0)
    stage.tell("W1")
    stage.step(ReloadAsked())
    stage.hear("W1", pack({"standing": "READY"}))
    assert stage.standings[-1] is Standing.RELOADING
    stage.wait(1.0)
    assert stage.metrics()["W2.old"] == 1 and stage.standings[-1] is Standing.READY
    stage.told("W2")
    for _ in range(3):
        stage.step(ReloadAsked())
        assert stage.standings[-1] is Standing.RELOADING
        stage.hear("W1", pack({"standing": "READY"}))
        assert stage.standings[-1] is Standing.READY
    assert stage.take("W2") == b"", "nothing piles up for it"
    stage.tell("W2")
    assert stage.told("W2").count({"do": "reload"}) == 1
    stage.tell("W2")
    assert stage.told("W2").count({"do": "reload"}) == 0


def test_a_reload_is_over_where_all_are_stopped() -> None:
    stage = nursery()
    stage.wait(2.0)
    stage.step(ReloadAsked())
    assert stage.standings[-2:] == [Standing.RELOADING, Standing.READY]


def test_a_worker_that_is_started_again_reads_anew() -> None:
    """The table that it was forked with is what its parent read long ago."""
    stage = nursery()
    stage.die("W1")
    stage.step(ReloadAsked())
    stage.wait(0.1)
    stage.tell("W1")
    assert stage.told("W1").count({"do": "reload"}) == 1
    stage.tell("W1")
    assert stage.told("W1").count({"do": "reload"}) == 0
    assert stage.told("W2").count({"do": "reload"}) == 1


def test_a_reload_before_all_have_served_waits_until_they_have() -> None:
    stage = Nursery()
    stage.tell("W1")
    stage.step(ReloadAsked())
    assert stage.standings == []
    stage.tell("W2")
    assert stage.standings == [Standing.READY, Standing.RELOADING]
    assert all(stage.told(conn).count({"do": "reload"}) == 1 for conn in ("W1", "W2"))


def test_a_drain_waits_for_questions_by_dns() -> None:
    bounds = Bounds(timeout_s=1.0, dns_timeout_s=4.5)
    supervisor = Supervisor(Environment(bounds), 1, READY, with_dns=True)
    supervisor.step(Woken(), 10.0)
    supervisor.step(DrainAsked(), 10.0)
    assert supervisor.deadline() == 10.0 + 4.5 + 2 * bounds.drain_grace_s


def test_who_asks_for_the_metrics_finds_the_sum_in_the_log() -> None:
    """[P58]"""
    stage = nursery()
    stage.tell("W1", asked=10)
    stage.tell("W2", asked=5)
    stage.step(StatsAsked())
    assert "asked 15" in stage.reports and "W2.state UP" in stage.reports


@pytest.mark.parametrize("watchdog_s", [3.0, math.inf])
def test_one_that_stands_still_is_ended_where_there_is_a_watchdog(watchdog_s: float) -> None:
    stage = Nursery(watchdog_s=watchdog_s)
    stage.tell("W1")
    stage.tell("W2")
    for _ in range(6):
        stage.wait(1.0)
        if stage.told("W2")[-1:] == [{"do": "tell"}]:
            stage.tell("W2")
    ended = [report for report in stage.reports if "has been silent for 3 s" in report]
    assert ended == ([] if watchdog_s == math.inf else ["W1 has been silent for 3 s: ending it"])
    assert ("W1" in stage.dialled) == (watchdog_s < math.inf)


@pytest.mark.parametrize("watchdog_s", [3.0, math.inf])
def test_one_that_stands_still_while_it_starts_again_is_old(watchdog_s: float) -> None:
    """And is ended under a watchdog; one that starts for less than `news_s` is not old."""
    stage = nursery(watchdog_s=watchdog_s)
    stage.wait(0.9)
    stage.die("W1")
    stage.wait(0.06)
    assert stage.spawned == ["W1", "W2", "W1"]
    for _ in range(20):
        assert not stage.metrics()["W1.old"] or stage.now - 0.96 >= 1.0
        stage.wait(0.25)
        stage.tell("W2")
    assert sum("W1 does not report" in report for report in stage.reports) >= 1
    ended = [report for report in stage.reports if "has been silent for 3 s" in report]
    assert bool(ended) == (watchdog_s < math.inf)


def test_it_is_not_healthy_where_all_workers_are_stopped() -> None:
    stage = nursery()
    brain: Any = stage.brain
    stage.wait(1.0)
    stage.tell("W1")
    stage.wait(1.0)
    assert stage.metrics()["W2.old"] == 1 and brain.unhealthy() == ""
    stage.wait(1.0)
    assert brain.unhealthy() == "no worker reports"
    stage.tell("W2")
    assert brain.unhealthy() == ""


def test_it_is_as_healthy_as_its_healthiest_worker() -> None:
    stage = nursery()
    brain: Any = stage.brain
    stage.tell("W1", unhealthy="no table server is up")
    assert brain.unhealthy() == pages.status(brain, 5.0)["unhealthy"] == ""
    stage.die("W2")
    assert brain.unhealthy() == "no table server is up"
    stage.die("W1")
    assert brain.unhealthy() == "no worker is up"
    assert pages.status(brain, 5.0)["workers"][0] == {
        "name": "W1", "state": "VACANT", "clients": 0, "sessions": 0, "restarts": 0,
        "old": 0,
    }  # fmt: skip
    stage.drain()
    assert brain.unhealthy() == "draining"


# -- a worker --------------------------------------------------------------------------------------


def worker(sample: float = 0.0) -> Stage:
    """Build a worker with a real LS, whose parent is there."""
    bounds = Bounds()
    servers = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
    hosts = [("ts1", 1), ("ts2", 1)]

    def build(shown: Callable[[list[Value]], list[Value]]) -> LoadBalancer:
        return load_balancer(servers, bounds, lambda: 0.0, hosts=hosts, stats=shown, sample=sample)

    class Nest(Stage):
        def perform(self, effect: Effect) -> None:
            if isinstance(effect, Drain):
                self.drain()
            else:
                super().perform(effect)

    stage = Nest(Worker(build, 7), bounds)
    stage.begin()
    stage.accept(PARENT)
    stage.connect("TS1")
    stage.connect("TS2")
    return stage


def messages(stage: Stage) -> list[dict[str, Any]]:
    return Unpacker().take(stage.take(PARENT))


def numbers(message: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a message has, by their keys."""
    return {key: value for key, (_, value, _) in message["values"].items()}


def hear(values: list[Value], gone: Sequence[str] = ()) -> bytes:
    """Let the parent tell of the others."""
    return pack({"do": "hear", "values": keyed(values), "gone": list(gone)})


def test_it_tells_of_itself_at_once_and_whenever_it_is_asked() -> None:
    stage = worker()
    (first,) = messages(stage)
    assert first["process"] == 7
    stage.accept("client-1")
    stage.hear("client-1", b"x\n")
    stage.hear(PARENT, pack({"do": "tell"}))
    (second,) = messages(stage)
    said = numbers(second)
    assert (said["asked"], said["clients"], said["TS1.state"]) == (1, 1, "UP")
    assert first["about"]["where"] == {"TS1": "ts1:1", "TS2": "ts2:1"}


def test_stats_tells_the_sum_over_all() -> None:
    """[P28]"""
    stage = worker()
    stage.hear(PARENT, hear([Value(server_state.ASKED, 41)]))
    stage.accept("client-1")
    stage.hear("client-1", b"x\n", b"STATS\n")
    assert b"STAT asked 42\n" in stage.take("client-1")
    stage.take(PARENT)
    stage.hear(PARENT, pack({"do": "tell"}))
    (told,) = messages(stage)
    assert numbers(told)["asked"] == 1  # its own only


def test_what_others_no_longer_have_leaves_the_sum() -> None:
    stage = worker()
    stage.hear(PARENT, hear([Value(STATE, "DOWN", "TS1"), Value(server_state.ASKED, 41)]))
    stage.hear(PARENT, hear([], gone=["TS1.state"]))
    stage.accept("client-1")
    stage.hear("client-1", b"STATS\n")
    said = stage.take("client-1")
    assert b"STAT TS1.state UP\n" in said and b"STAT asked 41\n" in said


def test_a_worker_tells_only_what_has_changed() -> None:
    stage = worker(sample=1.0)
    messages(stage)
    stage.hear(PARENT, pack({"do": "tell"}))
    messages(stage)
    stage.hear(PARENT, pack({"do": "tell"}))
    (rest,) = messages(stage)
    assert rest == NOTHING_NEW
    stage.accept("client-1")
    for name in (b"x", b"y"):  # the second time too: what was told is not what goes on counting
        stage.hear("client-1", name + b"\n")
        for conn in ("TS1", "TS2"):
            stage.hear(conn, name + b" 10.0.0.1 A IN\n")
        stage.hear(PARENT, pack({"do": "tell"}))
        (told,) = messages(stage)
        assert {"asked", "answered", "TS1.won"} <= set(told["values"])
        assert not {"TS1.state", "TS2.won", "errors"} & set(told["values"])
        assert "TS1.answer_seconds" in told["histograms"] and not told["about"]


@pytest.mark.parametrize("how", ["told", "orphaned", "cut off"])
def test_it_drains_when_it_is_told_to_or_has_no_parent(how: str) -> None:
    stage = worker()
    stage.accept("client-1")
    stage.hear("client-1", b"x\n")
    stage.take(PARENT)
    if how == "told":
        stage.hear(PARENT, pack({"do": "drain"}))
    elif how == "orphaned":
        stage.end(PARENT)
    else:
        stage.reset(PARENT)
    stage.hear("TS1", b"x 10.0.0.1 A IN\n")
    assert stage.take("client-1") == b"x 10.0.0.1 A IN\nBYE\n"
    stage.end("client-1")
    stage.end("TS1")
    stage.end("TS2")
    assert stage.exit_code == 0
    last = [message for message in messages(stage) if "values" in message]
    if how == "told":
        assert numbers(last[-1])["answered"] == 1
    else:
        assert "the parent is gone: draining" in stage.reports


def test_its_service_manager_is_its_parent() -> None:
    stage = worker()
    stage.take(PARENT)
    stage.hear(PARENT, pack({"do": "reload"}))
    assert messages(stage) == [{"standing": "RELOADING"}]
    assert [conn for conn, *_ in stage.lookups] == ["TS1", "TS2"]
    stage.resolve("TS1", ((2, ("TS1", 1)),))
    stage.resolve("TS2", ())
    assert messages(stage) == [{"standing": "READY"}] and stage.standings == []


# -- forking ---------------------------------------------------------------------------------------


def forked(name: str, be: Callable[[socket.socket], int]) -> Child:
    """Fork a child that does this, and ends with the exit code that it returns."""
    try:
        return Child(name)
    except Born as born:
        code = 99
        try:
            assert born.name == name
            code = be(born.stream)
        finally:
            os._exit(code)


def last_word(child: Child) -> str:
    """Return what the end of its stream says."""
    child.setblocking(True)
    try:
        while True:
            child.recv(100)
    except OSError as end:
        return str(end.strerror)


def test_a_read_at_the_end_says_how_a_child_ended() -> None:
    child = forked("W1", lambda stream: 7)
    assert last_word(child) == "it ended with exit code 7"
    child.close()
    child = forked("W2", lambda stream: os.kill(os.getpid(), signal.SIGKILL) or 0)
    assert last_word(child) == "it was ended by signal 9"
    child.close()


def test_a_child_is_ended_when_its_stream_is_closed() -> None:
    child = forked("W1", lambda stream: time.sleep(PATIENCE_S) or 0)
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child._pid or 2**22 - 1, 0)


def test_a_later_child_lets_go_of_an_earlier_one_and_does_not_end_it() -> None:
    first = forked("W1", lambda stream: len(stream.recv(1)))

    def be_second(stream: socket.socket) -> int:
        first.close()
        return 0

    second = forked("W2", be_second)
    assert last_word(second) == "it ended with exit code 0"
    first.send(b"!")
    assert last_word(first) == "it ended with exit code 1"
    first.close()
    second.close()


def test_a_child_keeps_its_pid_where_sigchld_was_ignored() -> None:
    """Else its number may be a stranger's when it is ended, and nobody knows how it ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = forked("W1", lambda stream: 3)
        assert last_word(child) == "it ended with exit code 3"
        child.close()
        lookup = Lookup("localhost", 1)
        assert os.waitid(os.P_PID, lookup._child.pid, os.WEXITED | os.WNOWAIT) is not None
        lookup.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_somebody_else_has_waited_for_is_not_ended() -> None:
    ended: list[int] = []
    child = forked("W1", lambda stream: 3)
    os.waitpid(child._pid, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", lambda pid, number: ended.append(pid))
        child.close()
    assert ended == []


def test_a_signal_to_a_child_that_cannot_take_it_yet_waits_and_is_not_its_parents() -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    try:

        def be(stream: socket.socket) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 5 if signal.SIGTERM in signal.sigpending() else 6

        child = forked("W1", be)
        assert last_word(child) == "it ended with exit code 5"
        child.close()
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()


# -- the real thing --------------------------------------------------------------------------------


class Crew:
    """A real `ls --workers` before two TSs."""

    def __init__(self, run: Programs, count: int, *words: object, **how: Any) -> None:  # noqa: ANN401
        self.table = run.table("t", *(f"n{n}.example 10.0.0.{n}" for n in range(200)))
        self.ts_ports = [run.ts(self.table)[1] for _ in range(2)]
        self.parent, self.port = run.ls(
            self.ts_ports, "--workers", count, *words, linked=False, **how
        )
        self.parent.logs(" is up", 3 * count)

    def stats(self) -> dict[str, str]:
        return stats(self.port)

    def processes(self) -> dict[str, int]:
        """Return the number of each worker's process, as the log has it last."""
        found = re.findall(r"LS (W\d+) is up: process (\d+)", self.parent.log)
        return {name: int(number) for name, number in found}


def is_gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{number}/stat").read_text().split(") ")[1][0] == "Z"


@process
def test_sessions_are_spread_and_their_sum_is_told(run: Programs) -> None:
    """[P28]"""
    crew = Crew(run, 2)
    said = exchange(crew.port, [b"n%d.example\nn1.example\nQUIT\n" % (n % 200) for n in range(400)])
    assert all(reply.endswith(b"BYE\n") and reply.count(b" A IN\n") == 2 for reply in said)
    wait_for(lambda: int(crew.stats()["asked"]) == 800, "all questions are summed")
    told = crew.stats()
    shares = [int(told[f"W{n}.sessions"]) for n in (1, 2)]
    assert sum(shares) >= 400 and max(shares) <= 0.65 * sum(shares), shares
    assert told["answered"] == "800" and told["pending"] == "0"
    wins = sum(int(told[f"TS{n}.won"]) for n in (1, 2))
    assert wins + int(told["joined"]) == 800


@process
def test_eighteen_hundred_clients_are_served_at_once(run: Programs) -> None:
    need_descriptors(4000)
    crew = Crew(run, 2)
    with ExitStack() as stack:
        talks = []
        for _ in range(1800):
            talks.append(Talk(crew.port))
            stack.callback(talks[-1].close)
        for number, talk in enumerate(talks):
            talk.say(b"n%d.example\n" % (number % 200))
        for number, talk in enumerate(talks):
            n = number % 200
            assert talk.hear(1) == [b"n%d.example 10.0.0.%d A IN" % (n, n)]
        wait_for(lambda: int(crew.stats()["clients"]) >= 1800, "all are there at once")


@process
def test_a_worker_that_is_killed_takes_its_own_sessions_with_it_and_comes_back(
    run: Programs,
) -> None:
    """[P27]"""
    crew = Crew(run, 2)
    talks = [Talk(crew.port) for _ in range(40)]
    for talk in talks:
        talk.say(b"n1.example\n")
        assert talk.hear(1) == [b"n1.example 10.0.0.1 A IN"]
    wait_for(lambda: int(crew.stats()["clients"]) >= 40, "news of all have come round")
    lost = int(crew.stats()["W1.clients"])
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
    wait_for(lambda: int(crew.stats()["W1.sessions"]) > 0, "the new one serves")
    assert int(crew.stats()["asked"]) >= 80 and crew.stats()["W1.restarts"] == "1"


@process
def test_a_worker_is_started_again_where_sigchld_was_ignored(run: Programs) -> None:
    ignoring = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    ignoring += "from nodes.cli.programs import main; sys.exit(main(sys.argv[1:]))"
    crew = Crew(run, 2, python=("-c", ignoring))
    os.kill(crew.processes()["W1"], signal.SIGKILL)
    crew.parent.logs("W1 is gone: it was ended by signal 9; starting it again")
    crew.parent.logs("W1 is up", 2)
    (got,) = exchange(crew.port, [b"n1.example\nQUIT\n"])
    assert got == b"n1.example 10.0.0.1 A IN\nBYE\n"
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 0


@process
def test_a_worker_that_is_stopped_keeps_neither_news_nor_a_drain(run: Programs) -> None:
    """[P62]"""
    crew = Crew(run, 2, "--timeout", 0.5, "--bound", "news_s=0.1", "--metrics", 0)
    page = crew.parent.log.partition("status page on ")[2].split()[0]

    def metric(name: str) -> int:
        with urlopen(page + "metrics", timeout=PATIENCE_S) as response:
            lines = response.read().decode().splitlines()
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
        others += bool(select.select([talk.socket], [], [], 0.5)[0])
        talk.close()
    wait_for(lambda: metric("photofinish_asked_total") >= asked + 5, "the sum goes on")
    began = time.monotonic()
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 0
    assert time.monotonic() - began >= 1.4, "it may have ended by itself"
    assert "the drain took too long: W2 ended by force" in crew.parent.log
    assert is_gone(stopped)


def test_each_worker_has_its_share_of_grace_and_of_lookups() -> None:
    """A drain with workers ends in time, too: the parent waits for as long again."""
    words = ["0", "localhost", "5001", "--workers", "2", "--bound", "drain_grace_s=0.8"]
    bounds = read_ls_options(words).server.bounds
    assert bounds.drain_grace_s == 0.4
    assert bounds.lookup_each_s == 2 * Bounds().lookup_each_s, "nor do they look up more than one"
    stage = nursery(bounds=bounds)
    stage.drain()
    due = stage.brain.deadline()
    assert due == stage.now + bounds.timeout_s + 0.8


@process
def test_sigterm_drains_all_and_nothing_is_left(run: Programs) -> None:
    crew = Crew(run, 2, "--timeout", 0.5)
    talks = [Talk(crew.port) for _ in range(20)]
    for talk in talks:
        talk.say(b"n1.example\nnowhere.example\n")
    for talk in talks:
        assert talk.hear(1) == [b"n1.example 10.0.0.1 A IN"]
    numbers = crew.processes().values()
    crew.parent.signal(signal.SIGTERM)
    for talk in talks:
        assert talk.rest() == b"nowhere.example - TIMED OUT\nBYE\n"
        talk.close()
    assert crew.parent.exits() == 0
    assert all(map(is_gone, numbers))
    assert "all workers: asked 40, answered 20, timed_out 20" in crew.parent.log


@process
def test_a_worker_that_is_asked_to_drains_and_another_takes_its_place(run: Programs) -> None:
    crew = Crew(run, 2)
    os.kill(crew.processes()["W2"], signal.SIGTERM)
    crew.parent.logs("W2 is gone: it ended with exit code 0")
    crew.parent.logs("W2 is up", 2)
    assert exchange(crew.port, [b"n1.example\nQUIT\n"]) == [b"n1.example 10.0.0.1 A IN\nBYE\n"]


@process
def test_workers_whose_parent_dies_drain(run: Programs) -> None:
    crew = Crew(run, 2)
    talk = Talk(crew.port)
    talk.say(b"PING\n")
    assert talk.hear(1) == [b"PONG"]
    numbers = crew.processes().values()
    crew.parent.kill()
    assert talk.rest() == b"BYE\n"
    talk.close()
    wait_for(lambda: all(map(is_gone, numbers)), "the workers are gone")
    assert crew.parent.log.count("the parent is gone: draining") == 2


@process
def test_a_second_signal_ends_all_at_once(run: Programs) -> None:
    crew = Crew(run, 2)
    talk = Talk(crew.port)
    talk.say(b"nowhere.example\n")
    wait_for(lambda: int(crew.stats()["pending"]), "it is asked")
    crew.parent.signal(signal.SIGTERM)
    crew.parent.logs("asked", 1)  # the first has come: the worker without clients is gone
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 1
    assert all(map(is_gone, crew.processes().values()))


@process
def test_an_interrupt_of_the_whole_group_ends_cleanly(run: Programs) -> None:
    """As a terminal's Ctrl-C comes to all of them."""
    crew = Crew(run, 2)
    for number in (crew.parent.process.pid, *crew.processes().values()):
        os.kill(number, signal.SIGINT)
    assert crew.parent.exits() == 0
    assert all(map(is_gone, crew.processes().values()))


@process
@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_port_that_workers_hold_is_in_use_for_all_others(run: Programs, words: list[str]) -> None:
    crew = Crew(run, 2)
    code, out, log = run.run("ls", crew.port, "127.0.0.1", crew.ts_ports[0], *words)
    assert (code, out) == (1, "")
    assert f"cannot listen on 127.0.0.1:{crew.port}: address already in use" in log


@process
def test_workers_cannot_take_a_port_that_somebody_holds(run: Programs) -> None:
    _, ts_port = run.ts(run.table("t", "x 10.0.0.1"))
    _, port = run.ls([ts_port])
    code, out, log = run.run("ls", port, "127.0.0.1", ts_port, "--workers", 2)
    assert (code, out) == (1, "") and log.count("\n") == 1, log


@process
def test_another_may_begin_while_the_old_one_drains(run: Programs) -> None:
    crew = Crew(run, 2)
    talk = Talk(crew.port)
    talk.say(b"nowhere.example\nPING\n")
    assert talk.hear(1) == [b"PONG"]
    crew.parent.signal(signal.SIGTERM)
    crew.parent.logs("asked", 1)  # the worker without clients has said its account
    servers = [word for port in crew.ts_ports for word in ("127.0.0.1", port)]
    other = run.start("ls", crew.port, *servers, "--workers", 2)
    assert other.port() == crew.port
    other.logs(" is up", 6)
    assert exchange(crew.port, [b"n1.example\nQUIT\n"]) == [b"n1.example 10.0.0.1 A IN\nBYE\n"]
    assert talk.rest() == b"nowhere.example - TIMED OUT\nBYE\n"
    assert crew.parent.exits() == 0


@process
def test_who_started_it_is_told_once(run: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(PATIENCE_S)
        with monkeypatch.context() as patched:
            patched.setenv("NOTIFY_SOCKET", str(path))
            parent, _ = run.ls([1], "--workers", 2, linked=False)
        heard = [manager.recv(100).split(b"\n")[0]]
        parent.signal(signal.SIGHUP)
        heard += [manager.recv(100).split(b"\n")[0] for _ in range(2)]
        parent.signal(signal.SIGTERM)
        heard.append(manager.recv(100).split(b"\n")[0])
        assert parent.exits() == 0
        assert heard == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@process
def test_records_of_several_workers_are_whole_lines_of_one_file(run: Programs) -> None:
    path = run.folder / "races.jsonl"
    crew = Crew(run, 2, "--race-sample", 1, "--race-log", path)
    exchange(crew.port, [b"n1.example\nn%d.example\nQUIT\n" % n for n in range(2, 102)])
    wait_for(lambda: int(crew.stats()["sampled"]) >= 101, "all are sampled")
    crew.parent.signal(signal.SIGTERM)
    assert crew.parent.exits() == 0
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["question"] for record in records} == {f"n{n}.example" for n in range(1, 102)}
    code, out, _ = run.run("replay", path)
    assert code == 0 and "race" in out


@process
def test_the_parents_pages_show_all_of_them(run: Programs) -> None:
    crew = Crew(run, 2, "--metrics", 0)
    found = re.search(r"status page on (http://[^/]+)/", crew.parent.log)
    assert found is not None
    exchange(crew.port, [b"n1.example\nQUIT\n"] * 10)
    wait_for(lambda: int(crew.stats()["asked"]) == 10, "news have come round")

    def page(path: str) -> str:
        with urlopen(found[1] + path, timeout=PATIENCE_S) as response:
            text: str = response.read().decode()
        return text

    wait_for(lambda: "photofinish_asked_total 10\n" in page("/metrics"), "the page has the sum")
    assert 'photofinish_worker_state{worker="W2",is="UP"} 1\n' in page("/metrics")
    assert page("/healthz") == "ok\n"
    assert '"workers": [{"name": "W1"' in page("/status.json")


@process
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "'0' is not a number from 1 to 256"),
        (["--workers", "two"], "'two' is not a number from 1 to 256"),
        (["--workers", "2", "--once"], "--once serves one session in one process"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(run: Programs, words: list[str], said: str) -> None:
    code, _, log = run.run("ls", 0, "127.0.0.1", 1, *words)
    assert code == 2 and said in log and log.count("\n") == 1
