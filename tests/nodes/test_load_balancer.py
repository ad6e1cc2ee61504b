"""The load balancer's brain: its log, its health, holds and the end of LS, scene by scene.

Not here: LS under chance (`tests/nodes/test_load_balancer_machine.py`), the fault matrix
(`tests/sim/test_fault_matrix.py`), batches and joining in detail (`tests/nodes/test_questions.py`),
who has said what in detail (`tests/nodes/test_negatives.py`), LS that hedges
(`tests/nodes/test_hedge_policy.py`), waits before a dial as such (`tests/nodes/test_link.py`), and
reloads (`tests/nodes/test_host_lookups.py`).
"""

import math
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.operator import ReloadAsked, ReopenRecords, Standing
from tests.support.balancers import addresses_of, load_balancer, metric
from tests.support.stage import Stage

T1, T2 = "TS1", "TS2"
HOSTS = ("ts1", 1), ("ts2", 2)
TIGHT = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
LONG = b"n" * 40  # a question that is more than the high mark


def started(*up: str, once: bool = False) -> Stage:
    return Stage.begun(load_balancer(addresses_of(2), once=once), up=up)


def asking(*lines: bytes, bounds: Bounds | None = None) -> Stage:
    """Build LS with one client that has asked these, and take out what it sent to its TSs."""
    brain = load_balancer(addresses_of(2), bounds)
    stage = Stage.begun(brain, bounds, up=(T1, T2), clients=["a"])
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    stage.take(T1)
    stage.take(T2)
    return stage


@pytest.mark.parametrize("line", [b"x", b"x 10.0.0.256 A IN", b"x - TIMED OUT", b"BYE"])
def test_a15_what_is_no_answer_ends_no_question(line: bytes) -> None:
    stage = asking(b"x")
    stage.hear(T1, (line + b"\n") * 15)
    assert stage.take("a") == b"" and T1 in stage.connections
    counted = [metric(stage.brain, f"TS1.{key}") for key in ("malformed", "nothing_said")]
    assert sorted(counted) == [0, 15]
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a_second_no_data_begins_no_hold_anew() -> None:
    """[P22]: `no_data_s` counts from the first."""
    bounds = Bounds()
    stage = Stage.begun(
        load_balancer(addresses_of(3), bounds, lambda: 0.0),
        bounds,
        up=("TS1", "TS2", "TS3"),
        clients=("client-1",),
    )
    stage.hear("client-1", b"x\n")
    for conn in ("TS1", "TS2"):
        stage.hear(conn, b"x - NO DATA\n")
        stage.wait(0.6 * bounds.no_data_s)
    assert stage.take("client-1") == b"x - NO DATA\n"


def test_a_reload_goes_on_in_the_race_log_at_its_path() -> None:
    """[P65]"""
    stage = started(T1, T2)
    assert ReopenRecords() in stage.brain.step(ReloadAsked(), stage.now)


def test_a27_of_a_ts_that_is_away_the_log_speaks_once() -> None:
    stage = started(T2)
    for _ in range(5):
        stage.refuse(T1)
        stage.wait(2.0)
    stage.connect(T1)
    stage.reset(T1)
    assert stage.reports == [
        "TS2 is up",
        "TS1 is unreachable (connection refused); dialling it again",
        "TS1 is up",
        "TS1 is down (gone); dialling it again",
    ]


def test_with_nothing_open_there_is_nothing_to_wake_for() -> None:
    stage = asking()
    assert stage.brain.due == math.inf
    stage.hear("a", b"x\n")
    assert stage.brain.due == stage.now + 1.0  # when it looks whether all is replied to
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    stage.wait(12.0)
    assert stage.brain.due == math.inf


def test_a18_a_link_that_takes_nothing_holds_for_a_second() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held |= {T1, T2}
    stage.hear("a", LONG + b"\n")
    stage.accept("late")
    stage.wait(0.99)
    assert stage.paused == {"a", "b", "late"} and stage.brain.unhealthy() == ""
    stage.wait(0.01)
    assert stage.paused == set()
    stalled = "it does not take its questions"
    how = ", ".join(f"{ts} STALLED ({stalled})" for ts in (T1, T2))
    assert stage.brain.unhealthy() == f"no server is good: {how}"
    assert stage.reports[-2:] == [
        f"{ts} is stalled ({stalled}); it gets nothing new" for ts in (T1, T2)
    ]
    stage.hear("a", b"y\n")
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == LONG + b"\ny\n" and stage.brain.unhealthy() == ""


def test_catching_up_goes_in_slices_and_what_is_new_comes_after() -> None:
    """[P10]: what it was not asked on this connection it can neither answer nor deny."""
    stage = Stage.begun(load_balancer(addresses_of(2), TIGHT), TIGHT, up=[T2], clients=["a"])
    names = [b"n%02d" % n for n in range(30)]
    for name in names:
        stage.hear("a", name + b"\n")
    stage.hear(T2, b"n29 - NOT FOUND\n")
    stage.held.add(T1)
    stage.connect(T1)
    first = stage.connections[T1].waiting
    assert 30 < first <= 36  # over the high mark, by one batch at most
    stage.hear("a", b"new\n")
    assert stage.connections[T1].waiting == first and stage.paused == set()
    stage.hear(T1, b"n28 10.0.0.1 A IN\nn29 - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == b"".join(name + b"\n" for name in [*names, b"new"])


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_dials_in_silence_while_somebody_waits() -> None:
    stage = asking(b"x")
    stage.reset(T1)
    stage.reset(T2)
    said = len(stage.reports)
    stage.drain()
    stage.wait(0.05)
    stage.refuse(T2)
    stage.connect(T1)
    stage.reset(T1)
    stage.wait(0.1)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n" * 2
    assert stage.reports[said:] == []
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\nBYE\n"


def test_a_drain_lets_those_go_who_are_held_up() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", LONG + b"\n")
    assert stage.paused == {"a", "b"}
    stage.drain()
    assert stage.take("b") == b"BYE\n" and stage.has_ended("b")
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n" + LONG + b" - TIMED OUT\nBYE\n"
    assert stage.has_ended("a")


def test_a_second_request_to_drain_changes_nothing() -> None:
    stage = asking(b"x")
    stage.drain()
    stage.wait(1.0)
    stage.drain()
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\nBYE\n"
    stage.wait(0.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 0


def test_a_drain_without_clients_gives_up_dials() -> None:
    stage = started(T1)
    stage.drain()
    assert stage.dialled == [] and stage.take(T1) == b"QUIT\n"
    stage.hear(T1, b"BYE\n")
    assert stage.exit_code is None
    stage.end(T1)
    assert stage.exit_code == 0


def test_a_drain_looks_nothing_up_and_waits_for_no_lookup() -> None:
    stage = Stage.begun(load_balancer(addresses_of(2), hosts=HOSTS))
    stage.accept("a")
    stage.connect(T1)
    stage.connect(T2)
    stage.reload()
    stage.drain()
    stage.reload()
    stage.resolve(T1, addresses_of(1)[0])
    stage.reload()
    assert stage.lookups == [(T1, *HOSTS[0]), (T2, *HOSTS[1])]
    assert stage.standings == [Standing.RELOADING, Standing.STOPPING]
    stage.end("a")
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


@pytest.mark.parametrize("is_stalled", [False, True], ids=["dialling", "stalled"])
def test_a_ts_that_has_moved_is_dialled_there_however_it_stood(is_stalled: bool) -> None:
    brain = load_balancer(addresses_of(2), TIGHT, hosts=HOSTS)
    stage = Stage.begun(brain, TIGHT, up=[T1] if is_stalled else [], clients=["a"])
    if is_stalled:
        stage.held.add(T1)
        stage.hear("a", LONG + b"\n")
        stage.wait(1.0)
        assert stage.reports[-1].startswith("TS1 is stalled")
    elsewhere = ((2, ("elsewhere", 1)),)
    stage.reload()
    stage.resolve(T1, elsewhere)
    stage.wait(0.1)
    assert T1 in stage.dialled and stage.addresses[T1] == elsewhere


def test_once_the_session_that_spoke_first_ends_the_server() -> None:
    stage = started(T1, T2, once=True)
    stage.accept("a")
    stage.accept("b")
    stage.hear("a", b"ru")
    stage.hear("b", b"y\n")
    assert not stage.listening and stage.take("b") == b"- ERROR BUSY\nBYE\n"
    stage.hear("a", b"tgers.edu\nQUIT\n")
    stage.wait(5.0)
    for conn in ("a", "b", T1, T2):
        stage.end(conn)
    assert stage.exit_code == 0
    assert stage.reports[:2] == ["TS1 is up", "TS2 is up"] and "is down" not in str(stage.reports)
