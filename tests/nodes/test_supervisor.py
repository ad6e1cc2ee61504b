"""The parent of the workers: who is started and ended, what is summed, and who hears what.

A worker is what the test says it is.

Not here: a worker's own brain (`tests/nodes/test_worker.py`), how messages travel and numbers add
up (`tests/nodes/test_worker_messages.py`), and processes (`tests/processes/`).
"""

import math

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.events import Woken
from core.metrics import Metric, Value
from core.operator import DrainAsked, ReloadAsked, Standing, StatsAsked
from nodes.status_page import pages
from nodes.workers.messages import pack, sections
from nodes.workers.supervisor import Supervisor
from tests.support.nursery import ASKED, READY, TIMES, Nursery, nursery

WON = Metric("won", "Races won", per="ts")
NOTHING_NEW = {"process": 7, "values": {}, "histograms": {}, "about": {}}
TELL, DRAIN, RELOAD = ({"do": word} for word in ("tell", "drain", "reload"))


# -- starting --------------------------------------------------------------------------------------


def test_it_is_ready_and_may_reload_once_every_worker_serves() -> None:
    stage = Nursery()
    assert stage.spawned == ["W1", "W2"]
    stage.tell("W1")
    stage.step(ReloadAsked())
    assert stage.written == b"" and stage.standings == []
    stage.tell("W2")
    assert stage.written == READY
    assert stage.standings == [Standing.READY, Standing.RELOADING]
    assert stage.reports == ["W1 is up: process 7", "W2 is up: process 7"]
    assert all(stage.told(conn).count(RELOAD) == 1 for conn in ("W1", "W2"))


@pytest.mark.parametrize("other", ["ends", "stays"])
def test_a_worker_that_cannot_start_ends_the_whole(other: str) -> None:
    stage = Nursery()
    stage.tell("W1")
    stage.die("W2", "it ended with exit code 1")
    assert "W2 could not be started: it ended with exit code 1" in stage.reports
    assert stage.told("W1")[-1] == DRAIN and stage.exit_code is None
    if other == "ends":
        stage.die("W1")
    else:
        stage.wait(7.0)
    assert stage.exit_code == 1 and stage.written == b""


def test_a_worker_that_dies_comes_back_after_a_doubling_wait() -> None:
    stage = nursery()
    assert stage.waits(*["W1"] * 9) == [0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert stage.reports.count("W1 is gone: it was ended by signal 9; starting it again") == 9
    stage.wait(1.1)
    assert stage.waits("W1") == [0.1], "it had lasted"


# -- counts ----------------------------------------------------------------------------------------


def test_half_a_report_dies_with_its_worker() -> None:
    stage = nursery()
    half = pack({"process": 7, **sections([Value(ASKED, 9)], [], {"a": "x" * 2000})})
    stage.hear("W1", half[: half.index(b"\n") + 1])
    stage.die("W1")
    stage.wait(0.1)
    stage.tell("W1", asked=4)
    assert stage.metrics()["asked"] == 4


def test_what_a_lost_worker_counted_stays_and_its_levels_go() -> None:
    """[P58]: also in the log."""
    stage = nursery()

    def told() -> tuple[int, ...]:
        """Return questions, clients, W1's clients and restarts, and times."""
        (found,) = stage.parent.histograms()
        assert found[::2] == (TIMES, "TS1") and found[1].sum_s == 0.5 * sum(found[1].counts)
        values = stage.metrics()
        keys = ("asked", "clients", "W1.clients", "W1.restarts")
        return (*(values[key] for key in keys), sum(found[1].counts))

    stage.tell("W1", asked=10, clients=3, times=2)
    stage.tell("W2", asked=5, clients=1, times=1)
    assert told() == (15, 4, 3, 0, 3)
    stage.die("W1")
    assert told() == (15, 1, 0, 0, 3) and stage.metrics()["W1.state"] == "VACANT"
    stage.wait(0.1)
    stage.tell("W1", asked=2, clients=2, times=4)
    assert told() == told() == (17, 3, 2, 1, 7), "looking changes nothing"
    stage.die("W1")
    stage.die("W2")
    assert (stage.metrics()["asked"], sum(stage.parent.histograms()[0][1].counts)) == (17, 7)
    stage.step(StatsAsked())
    assert "asked 17" in stage.reports and "W2.state VACANT" in stage.reports


def test_workers_hear_only_what_has_changed_of_the_others() -> None:
    """[P28]"""
    stage = nursery(count=3)
    stage.wait(1.0)
    assert [stage.told(conn) for conn in stage.spawned] == [[TELL]] * 3
    for number, conn in enumerate(stage.spawned):
        assert stage.take(conn) == b""
        stage.tell(conn, asked=10**number)
    assert [stage.heard(conn)["asked"] for conn in stage.spawned] == [110, 101, 11]
    for _ in range(2):
        stage.ask()
        for conn in stage.spawned:
            stage.hear(conn, pack(NOTHING_NEW))
        assert not any(stage.take(conn) for conn in stage.spawned)
    stage.ask()
    for conn, asked in zip(stage.spawned, (4, 10, 100), strict=True):
        stage.tell(conn, asked=asked)
    for conn, others in zip(stage.spawned, (110, 104, 14), strict=True):
        assert stage.heard(conn) == {"asked": others, "clients": 0, "sessions": 0}


def test_a_worker_that_is_started_again_hears_everything() -> None:
    stage = nursery(count=3)
    stage.tell("W1", asked=10, clients=3)
    stage.tell("W2", asked=5, clients=1)
    stage.die("W1")
    stage.wait(0.1)
    stage.tell("W1")
    for conn, asked, clients in (("W1", 15, 1), ("W2", 10, 0), ("W3", 15, 1)):
        said = stage.heard(conn)
        assert (said["asked"], said["clients"], said["W2.sessions"]) == (asked, clients, 1)
        assert said["W1.restarts"] == 1


def test_a_level_that_only_a_lost_worker_had_is_gone() -> None:
    stage = nursery()
    stage.die("W1")
    stage.ask()
    stage.hear("W2", pack(NOTHING_NEW))
    (message,) = stage.told("W2")
    assert message["gone"] == ["clients"] and message["values"]["asked"][1] == 0


def test_a_worker_that_dies_while_it_is_asked_keeps_no_news() -> None:
    stage = nursery(count=3)
    stage.ask()
    stage.tell("W1", asked=1)
    stage.die("W3")
    stage.tell("W2", asked=2)
    assert [stage.heard(conn)["asked"] for conn in ("W1", "W2")] == [2, 1]
    stage.ask()  # W3 is started again, and has not reported yet
    stage.tell("W1", asked=5)
    stage.tell("W2", asked=5)
    assert [stage.heard(conn)["asked"] for conn in ("W1", "W2")] == [5, 5]


# -- workers that stand still ----------------------------------------------------------------------


def test_news_go_on_while_a_worker_is_stopped() -> None:
    """[P62]: and it hears what it has missed once it goes on."""
    stage = nursery(count=3)

    def tell_two(asked: int) -> None:
        stage.wait(1.0)
        for conn in ("W1", "W2"):
            stage.take(conn)
            stage.tell(conn, asked=asked)

    tell_two(1)
    stage.take("W3")
    tell_two(5)
    assert stage.reports[-1] == "W3 does not report; its last metrics count"
    assert stage.metrics()["W3.old"] == 1 and stage.take("W3") == b""
    heard = stage.heard("W1")
    assert heard["asked"] == 5 and heard["W3.old"] == 1
    for _ in range(100):
        tell_two(6)
    assert stage.take("W3") == b"", "nothing piles up for it"
    assert stage.metrics()["asked"] == 12
    assert sum("does not report" in report for report in stage.reports) == 1
    stage.ask()
    stage.hear("W3", pack(NOTHING_NEW))
    assert stage.reports[-1] == "W3 reports again"
    for conn in ("W1", "W2"):
        stage.hear(conn, pack(NOTHING_NEW))
    heard = stage.heard("W3")
    assert heard["asked"] == 12 and heard["W3.old"] == 0


@pytest.mark.parametrize("watchdog_s", [3.0, math.inf])
def test_a_watchdog_ends_a_worker_that_stands_still(watchdog_s: float) -> None:
    stage = nursery(watchdog_s=watchdog_s)
    for second in range(6):
        stage.wait(1.0)
        if stage.told("W2")[-1:] == [TELL]:
            stage.tell("W2")
        ended = [report for report in stage.reports if "has been silent for 3 s" in report]
        assert bool(ended) == (second >= 3 and watchdog_s < math.inf)
    assert ended == ([] if watchdog_s == math.inf else ["W1 has been silent for 3 s: ending it"])
    assert ("W1" in stage.dialled) == (watchdog_s < math.inf)


@pytest.mark.parametrize("watchdog_s", [3.0, math.inf])
def test_a_worker_that_hangs_while_it_starts_again_is_old(watchdog_s: float) -> None:
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
    assert any("W1 does not report" in report for report in stage.reports)
    ended = any("has been silent for 3 s" in report for report in stage.reports)
    assert ended == (watchdog_s < math.inf)


# -- reloading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["done", "dead"])
def test_a_reload_is_over_when_it_is_over_for_all(ends: str) -> None:
    stage = nursery()
    stage.step(ReloadAsked())
    assert stage.standings[-1] is Standing.RELOADING
    assert [stage.told(conn)[-1] for conn in ("W1", "W2")] == [RELOAD] * 2
    stage.reloaded("W1")
    assert stage.standings[-1] is Standing.RELOADING
    if ends == "done":
        stage.reloaded("W2")
    else:
        stage.die("W2")
    assert stage.standings[-1] is Standing.READY


def test_a_reload_waits_for_no_worker_that_is_stopped() -> None:
    """Else a service manager would take the whole as reloading for as long as that is."""
    stage = nursery()
    stage.wait(1.0)
    stage.tell("W1")
    stage.step(ReloadAsked())
    stage.reloaded("W1")
    assert stage.standings[-1] is Standing.RELOADING
    stage.wait(1.0)
    assert stage.metrics()["W2.old"] == 1 and stage.standings[-1] is Standing.READY
    stage.told("W2")
    for _ in range(3):
        stage.step(ReloadAsked())
        assert stage.standings[-1] is Standing.RELOADING
        stage.reloaded("W1")
        assert stage.standings[-1] is Standing.READY
    assert stage.take("W2") == b"", "nothing piles up for it"
    for reloads in (1, 0):
        stage.tell("W2")
        assert stage.told("W2").count(RELOAD) == reloads


def test_a_worker_that_is_started_again_reads_anew() -> None:
    """The table that it was forked with is what its parent read long ago."""
    stage = nursery()
    stage.die("W1")
    stage.step(ReloadAsked())
    stage.wait(0.1)
    for reloads in (1, 0):
        stage.tell("W1")
        assert stage.told("W1").count(RELOAD) == reloads
    assert stage.told("W2").count(RELOAD) == 1


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_waits_for_every_worker_and_starts_none_again() -> None:
    stage = nursery(count=3)
    stage.die("W3")
    stage.drain()
    assert not stage.listening and stage.standings[-1] is Standing.STOPPING
    assert [stage.told(conn)[-1] for conn in ("W1", "W2")] == [DRAIN] * 2
    won = sections([Value(WON, 3, "TS1")], [], {})
    stage.hear("W1", pack({"process": 7, **won}))
    stage.tell("W1", asked=4)
    stage.die("W1", "it ended with exit code 0")
    assert stage.exit_code is None
    stage.die("W2", "it ended with exit code 0")
    assert stage.exit_code == 0 and stage.spawned == ["W1", "W2", "W3"]
    assert stage.reports[-1] == "all workers: asked 4, sessions 0"
    assert stage.metrics()["TS1.won"] == 3


def test_a_worker_that_drains_is_asked_for_no_report() -> None:
    """The last one comes without being asked for, and nobody ends the worker meanwhile."""
    stage = nursery(watchdog_s=3.0)
    stage.drain()
    stage.wait(5.0)
    assert stage.told("W1") == stage.told("W2") == [DRAIN]
    assert not any("report" in report or "silent" in report for report in stage.reports)


def test_a_drain_that_takes_too_long_says_which_worker_does() -> None:
    stage = nursery()
    stage.drain()
    stage.die("W1")
    stage.wait(6.9)
    assert stage.exit_code is None
    stage.wait(0.2)
    assert stage.exit_code == 0
    assert stage.reports[-1] == "the drain took too long: W2 ended by force"


@pytest.mark.parametrize("state", ["asked", "old", "reloading", "draining", "starting", "waiting"])
def test_nothing_is_told_to_a_worker_that_is_gone(state: str) -> None:
    """In every state: the stage fails on a send to a connection that is gone."""
    stage = nursery()
    if state in ("asked", "old"):
        stage.wait(2.0 if state == "old" else 1.0)
    elif state == "reloading":
        stage.step(ReloadAsked())
    elif state == "draining":
        stage.drain()
    elif state in ("starting", "waiting"):
        stage.die("W1")
        stage.wait(0.1)
    if state != "waiting":
        stage.die("W1")
    spawned = len(stage.spawned)
    stage.tell("W2", asked=1)
    stage.step(ReloadAsked())
    stage.step(StatsAsked())
    stage.drain()
    stage.die("W2")
    if state == "waiting":
        assert stage.exit_code is None
        stage.die("W1")
    stage.wait(10.0)
    assert stage.exit_code == 0 and len(stage.spawned) == spawned
    assert stage.metrics()["W1.state"] == stage.metrics()["W2.state"] == "CLOSED"


@pytest.mark.parametrize(("with_dns", "question_s"), [(False, 1.0), (True, 4.5)])
def test_a_drain_waits_for_questions_and_for_grace_twice(with_dns: bool, question_s: float) -> None:
    """Each worker has half of the grace: see `tests/nodes/test_ls_arguments.py`."""
    bounds = Bounds(timeout_s=1.0, dns_timeout_s=4.5)
    supervisor = Supervisor(Environment(bounds), 1, READY, with_dns=with_dns)
    supervisor.step(Woken(), 10.0)
    supervisor.step(DrainAsked(), 10.0)
    assert supervisor.due == 10.0 + question_s + 2 * bounds.drain_grace_s


# -- health ----------------------------------------------------------------------------------------


def test_stopped_workers_are_old_until_they_report_or_go() -> None:
    stage = nursery()
    stage.wait(1.0)
    stage.tell("W1")
    stage.wait(1.0)
    assert stage.metrics()["W2.old"] == 1 and stage.parent.unhealthy() == ""
    stage.wait(1.0)
    assert stage.parent.unhealthy() == "no worker reports"
    stage.step(ReloadAsked())
    assert stage.standings[-2:] == [Standing.RELOADING, Standing.READY], "nobody is waited for"
    stage.tell("W2")
    assert stage.parent.unhealthy() == ""
    stage.die("W1")
    assert stage.metrics()["W1.old"] == 0


def test_it_is_as_healthy_as_its_healthiest_worker() -> None:
    stage = nursery()
    parent = stage.parent
    stage.tell("W1", unhealthy="no table server is up")
    assert parent.unhealthy() == pages.status(parent, 5.0)["unhealthy"] == ""
    stage.die("W2")
    assert parent.unhealthy() == "no table server is up"
    stage.die("W1")
    assert parent.unhealthy() == "no worker is up"
    assert pages.status(parent, 5.0)["workers"][0] == {
        "name": "W1", "state": "VACANT", "clients": 0, "sessions": 0, "restarts": 0, "old": 0
    }  # fmt: skip
    stage.drain()
    assert parent.unhealthy() == "draining"
