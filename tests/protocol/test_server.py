"""Server: --once, the drain and its end, seen through the table server, which adds nothing.

A table server never owes anything, so what waits for an asker here waits in the connection; what
a drain does about questions without replies is LS's part (`tests/nodes/test_load_balancer.py`).

Not here: one session by itself (`tests/protocol/test_session.py`).
"""

import math
from typing import Any

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.events import Role
from core.metrics import Metric, Value
from core.operator import DrainAsked, Report, Standing, StatsAsked
from core.protocol.server import Server
from core.protocol.server_state import ServerState, closing_report
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.stage import Stage

ROW = b"Rutgers.EDU 172.34.4.6 A IN\n"
ROWS = {b"rutgers.edu": ROW}


def serving(*conns: str, once: bool = False) -> Stage:
    return Stage.begun(TableServer(Table(ROWS), Environment(), once=once), clients=conns)


# -- the drain -------------------------------------------------------------------------------------


def test_c1_a_drain_says_bye_to_all_and_stops_when_they_are_gone() -> None:
    stage = serving("a", "b")
    stage.hear("a", b"rutgers.edu\n")
    stage.drain()
    assert not stage.listening
    assert stage.take("a") == ROW + b"BYE\n"
    assert stage.take("b") == b"BYE\n"
    assert stage.has_ended("a") and stage.has_ended("b")
    stage.end("a")
    assert stage.exit_code is None
    stage.end("b")
    assert stage.exit_code == 0


def test_a_drain_takes_no_more_questions_nor_rests_of_lines() -> None:
    stage = serving("a")
    stage.held.add("a")
    stage.hear("a", b"rutgers")
    stage.drain()
    stage.hear("a", b".edu\nrutgers.edu\n")
    stage.held.clear()
    stage.settle()
    assert stage.take("a") == b"BYE\n"


def test_a_drain_without_anyone_stops_at_once() -> None:
    stage = serving()
    stage.drain()
    assert stage.exit_code == 0 and stage.standings == [Standing.STOPPING]
    assert stage.reports == [
        "asked 0, answered 0, no_data 0, blocked 0, unknown 0, sessions 0, errors 0"
    ]


def test_a_drain_leaves_one_who_is_leaving_already_as_it_is() -> None:
    stage = serving("a", "b")
    stage.hear("a", b"QUIT\n")
    stage.end("b")
    stage.drain()
    assert stage.take("a") == b"BYE\n" and stage.take("b") == b""
    stage.reset("a")
    assert stage.exit_code == 0


def test_one_who_is_accepted_while_the_server_drains_is_told_bye() -> None:
    stage = serving("a")
    stage.drain()
    stage.accept("late")
    stage.hear("late", b"rutgers.edu\n")
    assert stage.take("late") == b"BYE\n"
    stage.end("a")
    assert stage.exit_code is None
    stage.end("late")
    assert stage.exit_code == 0


def test_c3_a_drain_ends_a_second_after_the_timeout() -> None:
    stage = serving("a", "b", "c")
    stage.drain()
    stage.end("b")
    stage.wait(5.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 0
    assert stage.reports == [
        "the drain took too long: 2 clients cut off",
        "asked 0, answered 0, no_data 0, blocked 0, unknown 0, sessions 3, errors 0",
        "bounds that took hold: drain_grace_s 1",
    ]


def test_a_drain_lasts_its_longest_question_from_the_signal() -> None:
    bounds = Bounds(timeout_s=1.0, dns_timeout_s=4.5)
    dns: Any = {Role.DNS: ()}
    for factories, longest_s in ((None, 2.0), (dns, 5.5)):
        server = Server(Environment(bounds), list, list, factories=factories)
        server.drain(10.0)
        assert server.drain_due == 10.0 + longest_s
    stage = serving("a")
    stage.now = 50.0
    stage.step(DrainAsked(since=49.0))
    assert stage.brain.due == 55.0


def test_who_asks_for_the_metrics_finds_them_in_the_log() -> None:
    """[P58]: the same as STATS, and nothing else happens."""
    stage = serving("a")
    stage.hear("a", b"rutgers.edu\n", b"STATS\n")
    said = stage.take("a").decode().split("\n")
    stage.step(StatsAsked())
    assert [f"STAT {line}" for line in stage.reports] == [x for x in said if x.startswith("STAT ")]
    assert stage.take("a") == b"" and stage.exit_code is None


def test_the_last_report_has_its_counts_as_fields() -> None:
    """Of the whole server, and no levels."""
    counts = Metric("asked", ""), Metric("pending", "", is_level=True), Metric("won", "", per="ts")
    values = [Value(metric, number) for number, metric in enumerate(counts)]
    last, bounds = closing_report(values, {"b": 2, "a": 1}, "all: ")
    assert last == Report("all: asked 0", event="stopped", about={"asked": 0})
    text = "bounds that took hold: a 1, b 2"
    assert bounds == Report(text, event="bounds_hit", about={"a": 1, "b": 2})


def test_a_second_request_to_drain_changes_nothing() -> None:
    stage = serving("a")
    stage.drain()
    stage.wait(3.0)
    stage.drain()
    assert stage.take("a") == b"BYE\n"
    stage.wait(3.0)
    assert stage.exit_code == 0


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_server_that_serves_is_not_stopped_by_its_last_client(how: str) -> None:
    """Without --once nobody is the session, and there is nothing to wait for."""
    stage = serving("a")
    stage.hear("a", b"rutgers.edu\nQUIT\n")
    getattr(stage, how)("a")
    assert stage.exit_code is None and stage.brain.due == math.inf and stage.listening
    stage.accept("b")
    stage.hear("b", b"rutgers.edu\n")
    assert stage.take("b") == ROW


def test_one_that_has_stopped_stays_so_whatever_is_asked_of_it() -> None:
    server = Server(Environment(), list, list)
    server.drain(0.0)
    assert server.all_closed() != []
    assert server.life.state is ServerState.STOPPED
    assert server.drain(1.0) == server.all_closed() == server.woken(100.0) == []


# -- --once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "reset"])
def test_once_connections_that_say_nothing_are_not_the_session(how: str) -> None:
    stage = serving("probe", "another", once=True)
    getattr(stage, how)("probe")
    assert stage.listening and stage.exit_code is None
    stage.accept("a")
    stage.hear("a", b"rutgers.edu\n")
    getattr(stage, how)("another")
    assert stage.exit_code is None
    stage.hear("a", b"QUIT\n")
    assert stage.exit_code is None
    stage.end("a")
    assert stage.exit_code == 0


@pytest.mark.parametrize("data", [b"rutg", b"\n", b"?\n", b"QUIT\n"])
def test_once_the_listener_closes_with_the_first_byte(data: bytes) -> None:
    stage = serving("a", once=True)
    assert stage.listening
    stage.hear("a", data)
    assert not stage.listening


def test_once_whoever_is_not_the_session_is_told_busy() -> None:
    """[P56]: also one that was accepted before it, and one that comes in the very turn."""
    stage = serving("before", "a", once=True)
    stage.hear("a", b"rutg")
    stage.accept("after")
    for other in ("before", "after"):
        stage.hear(other, b"rutgers.edu\nQUIT\n")
        assert stage.take(other) == b"- ERROR BUSY\nBYE\n" and stage.has_ended(other)
        stage.end(other)
    assert stage.exit_code is None
    stage.hear("a", b"ers.edu\n")
    assert stage.take("a") == ROW
    stage.end("a")
    assert stage.exit_code == 0


def test_once_half_a_line_is_the_session_and_its_end_drains() -> None:
    stage = serving("a", "b", once=True)
    stage.hear("a", b"rutg")
    stage.end("a")
    assert stage.take("a") == b"- ERROR UNFINISHED\n"
    assert not stage.listening
    assert stage.take("b") == b"- ERROR BUSY\nBYE\n"
    assert stage.exit_code is None
    stage.end("b")
    assert stage.exit_code == 0


def test_once_a_lost_session_drains_in_its_time() -> None:
    stage = serving("a", "b", once=True)
    stage.hear("a", b"rutgers.edu\n")
    stage.reset("a")
    stage.wait(6.0)
    assert stage.exit_code == 0
