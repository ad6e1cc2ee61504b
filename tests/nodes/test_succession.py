"""Workers that are replaced since the configuration has changed, or since they drain.

Not here: one parent's other duties (`tests/nodes/test_supervisor.py`), and processes
(`tests/processes/test_reconfiguring.py`).
"""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Effect, Spawn
from core.events import Woken
from core.operator import DrainAsked, ReloadAsked, Standing
from nodes.workers.configuration import RefusedError
from nodes.workers.messages import pack
from tests.support.nursery import Nursery

RELOAD, DRAIN, RETIRE = {"do": "reload"}, {"do": "drain"}, {"do": "retire", "within_s": 10.0}
RELOADED = [Standing.RELOADING, Standing.READY]


class Changing:
    """A configuration of the test's: `next` is what a reload finds."""

    def __init__(self) -> None:
        self.bounds = Bounds()
        self.current = self.next = "A"
        self.why = ""

    def reread(self) -> bool:
        if self.why:
            raise RefusedError(self.why)
        before, self.current = self.current, self.next
        return self.current != before


class Staff(Nursery):
    """A parent whose workers are up, and what each was forked with."""

    def __init__(self, count: int = 2, watchdog_s: float = math.inf) -> None:
        self.changing = Changing()
        self.forked: dict[str, str] = {}
        super().__init__(count, watchdog_s=watchdog_s, configuration=self.changing)
        for conn in list(self.dialled):
            self.tell(conn)
        self.forget()

    def perform(self, effect: Effect) -> None:
        super().perform(effect)
        if isinstance(effect, Spawn):
            self.forked[effect.conn] = self.changing.current

    def forget(self) -> None:
        self.said.clear()
        self.reports.clear()
        self.standings.clear()

    def change(self, to: str = "B") -> None:
        self.changing.next = to
        self.step(ReloadAsked())

    def serving(self) -> list[str]:
        """Return who has each place."""
        return [slot.conn for slot in self.parent.workers.places.values()]

    def states(self) -> list[str]:
        values = self.metrics()
        return [values[f"W{n}.state"] for n in range(1, len(self.serving()) + 1)]


# -- a configuration that changes ------------------------------------------------------------------


def test_each_worker_in_turn_gives_its_place_to_a_successor() -> None:
    stage = Staff()
    stage.change()
    assert stage.dialled == ["W1.1"] and stage.standings == [Standing.RELOADING]
    assert stage.said == {}, "everyone goes on until then"
    stage.tell("W1.1")
    assert stage.told("W1")[0] == RETIRE and stage.serving() == ["W1.1", "W2"]
    assert stage.dialled == ["W2.2"] and stage.standings == [Standing.RELOADING]
    stage.tell("W2.2")
    assert RETIRE in stage.told("W2") and stage.serving() == ["W1.1", "W2.2"]
    assert stage.standings == RELOADED and stage.dialled == []
    assert stage.forked == {"W1": "A", "W2": "A", "W1.1": "B", "W2.2": "B"}
    stage.die("W2", "it ended with exit code 0")
    stage.die("W1", "it ended with exit code 0")
    assert stage.reports == [
        "the configuration has changed: each worker in turn is replaced",
        "W1.1 is up: process 7", "W2.2 is up: process 7",
        "W2 has ended: it ended with exit code 0", "W1 has ended: it ended with exit code 0",
    ]  # fmt: skip
    stage.wait(60.0)
    assert stage.states() == ["UP", "UP"] and len(stage.spawned) == 4


def test_what_means_the_same_replaces_nobody() -> None:
    stage = Staff()
    stage.change("A")
    assert stage.dialled == [] and stage.told("W1") == stage.told("W2") == [RELOAD]
    for conn in ("W1", "W2"):
        stage.reloaded(conn)
    assert stage.standings == RELOADED and stage.serving() == ["W1", "W2"]


def test_a_configuration_that_is_refused_changes_nothing() -> None:
    """[P78]"""
    stage = Staff()
    stage.changing.why = "ls.toml: 'tiemout' is no key; did you mean 'timeout'?"
    stage.change()
    assert stage.reports == [f"{stage.changing.why}; all stays as it was"]
    assert stage.standings == RELOADED and stage.said == {} and stage.dialled == []
    stage.changing.why = ""
    stage.change()
    assert stage.dialled == ["W1.1"]


def test_a_successor_that_dies_is_tried_again_and_nobody_retires() -> None:
    stage = Staff()
    stage.change()
    for _ in range(3):
        stage.die("W1.1", "it ended with exit code 1")
        assert stage.serving() == ["W1", "W2"] and stage.told("W1") == []
        stage.wait(0.2)
        assert stage.dialled == ["W1.1"]
    stage.tell("W1.1")
    assert stage.serving() == ["W1.1", "W2"] and stage.dialled == ["W2.2"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_meanwhile_has_a_successor(when: str) -> None:
    stage = Staff()
    stage.change()
    if when == "after":
        stage.tell("W1.1")
    stage.die("W1")
    assert stage.serving() == ["W1.1", "W2"]
    if when == "before":
        stage.tell("W1.1")
    stage.tell("W2.2")
    stage.wait(30.0)
    assert stage.spawned == ["W1", "W2", "W1.1", "W2.2"] and stage.standings == RELOADED


def test_another_change_meanwhile_replaces_the_new_ones_too() -> None:
    """Once the first are gone: a place has two processes at most."""
    stage = Staff(2)
    stage.change("B")
    stage.change("C")
    stage.tell("W1.1")
    told = stage.told("W1")
    assert RETIRE in told and DRAIN in told and stage.dialled == ["W2.2"]
    stage.tell("W2.2")
    assert stage.dialled == [] and DRAIN not in stage.told("W2")
    stage.die("W1", "it ended with exit code 0")
    assert stage.dialled == ["W1.3"] and stage.forked["W1.3"] == "C"
    stage.tell("W1.3")
    assert RETIRE in stage.told("W1.1") and stage.serving() == ["W1.3", "W2.2"]
    stage.die("W2", "it ended with exit code 0")
    stage.die("W1.1", "it ended with exit code 0")
    assert stage.standings[-1] is Standing.READY and stage.standings.count(Standing.READY) == 1


@pytest.mark.parametrize("ends", ["overdue", "hung"])
def test_one_that_is_ended_by_force_is_told_nothing_more(ends: str) -> None:
    """Also where reports are due in the same moment, as after a pause of the whole machine."""
    stage = Staff(2, watchdog_s=3.0 if ends == "hung" else math.inf)
    stage.change()
    stage.tell("W1.1")
    stage.tell("W2.2")
    stage.said.clear()
    stage.ask()
    for conn in ("W1", "W2", "W1.1", "W2.2") if ends == "overdue" else ("W2", "W1.1", "W2.2"):
        stage.tell(conn)
    stage.now += 60.0
    stage.step(Woken())
    assert "W1" not in stage.connections
    stage.step(DrainAsked())


def test_one_that_died_comes_back_with_the_new_configuration() -> None:
    stage = Staff()
    stage.die("W1")
    stage.change()
    stage.wait(0.1)
    assert stage.forked["W2.1"] == stage.forked["W1"] == "B" and stage.serving() == ["W1", "W2"]
    stage.tell("W1")
    stage.tell("W2.1")
    assert stage.standings == RELOADED


def test_one_that_is_starting_yet_is_replaced_once_it_serves() -> None:
    stage = Staff(1)
    stage.change("B")
    stage.die("W1")
    stage.change("C")
    assert stage.dialled == ["W1.1"] and stage.serving() == ["W1.1"]
    stage.tell("W1.1")
    assert stage.dialled == ["W1.2"] and stage.forked["W1.2"] == "C"


def test_restarts_are_counted_through_all_who_had_a_place() -> None:
    stage = Staff(1)
    for _ in range(2):
        stage.die("W1")
        stage.wait(0.5)
        stage.tell("W1")
    stage.change()
    stage.tell("W1.1")
    assert stage.metrics()["W1.restarts"] == 2


def test_a_drain_may_take_as_long_as_the_slowest_worker() -> None:
    """Also one that has another configuration than the parent has had at its start."""
    stage = Staff(1)
    stage.changing.bounds = replace(Bounds(), timeout_s=50.0)
    stage.change()
    stage.tell("W1.1")
    stage.step(DrainAsked())
    stage.die("W1", "it ended with exit code 0")
    stage.wait(51.0)
    assert stage.exit_code is None
    stage.wait(1.1)
    assert stage.exit_code == 0 and "the drain took too long: W1.1" in stage.warnings[-1]


# -- workers that drain ----------------------------------------------------------------------------


def test_a_worker_that_drains_by_itself_is_replaced_at_once() -> None:
    """Its place has listening sockets that nobody else reads."""
    stage = Staff()
    stage.hear("W2", pack({"standing": "STOPPING"}))
    assert stage.dialled == ["W2.1"]
    stage.tell("W2.1")
    assert stage.serving() == ["W1", "W2.1"] and stage.standings == []
    stage.die("W2", "it ended with exit code 0")
    stage.wait(5.0)
    assert stage.dialled == [] and stage.metrics()["W2.restarts"] == 0


def test_one_that_retires_too_long_is_ended_by_force() -> None:
    """After `retire_s` and the longest drain: 10 s, 5 s of a question, and twice 1 s of grace."""
    stage = Staff(1)
    stage.change()
    stage.tell("W1.1")
    stage.wait(16.9)
    assert "W1" in stage.connections
    stage.wait(0.2)
    assert "W1" not in stage.connections
    assert "W1 does not end: ending it by force" in stage.warnings


@pytest.mark.parametrize("is_up", [False, True])
def test_a_drain_ends_successors_and_those_who_retire(is_up: bool) -> None:
    stage = Staff(1)
    stage.change()
    if is_up:
        stage.tell("W1.1")
    stage.step(DrainAsked())
    for conn in ("W1", "W1.1"):
        assert stage.told(conn)[-1] == DRAIN
        assert stage.exit_code is None
        stage.die(conn, "it ended with exit code 0")
    assert stage.exit_code == 0


def test_what_one_that_retires_counts_is_in_all_sums() -> None:
    stage = Staff()
    stage.tell("W1", asked=5)
    stage.tell("W2", asked=1)
    stage.change()
    stage.tell("W1.1", asked=2)
    stage.tell("W2.2", asked=10)
    for asked_more in (0, 100):
        stage.tell("W1", asked=5 + asked_more)
        stage.said.clear()
        stage.ask()
        for conn in ("W1", "W2", "W1.1", "W2.2"):
            stage.tell(conn, asked={"W1": 5 + asked_more, "W2": 1, "W1.1": 2, "W2.2": 10}[conn])
        assert stage.metrics()["asked"] == 18 + asked_more
    assert stage.heard("W1.1")["asked"] == 116
    stage.die("W1", "it ended with exit code 0")
    assert stage.metrics()["asked"] == 118


# -- any order of events ---------------------------------------------------------------------------

WHAT = st.sampled_from(["change", "same", "refuse", "up", "die", "drains", "wait", "report"])


@settings(max_examples=150)
@given(st.integers(1, 3), st.lists(st.tuples(WHAT, st.integers(0, 9)), max_size=40))
def test_all_places_come_to_have_the_last_configuration(
    count: int, story: list[tuple[str, int]]
) -> None:
    """No process is forked with one and serves another, one successor at a time is starting, and in
    the end each place has one worker with what the parent has. [P77]"""
    stage = Staff(count)
    for what, pick in story:
        _happen(stage, what, pick)
        starting = [conn for conn in stage.dialled if "." in conn]
        assert len([conn for conn in starting if conn not in stage.serving()]) <= 1
    for _ in range(200):
        for conn in list(stage.dialled):
            stage.tell(conn)
        stage.wait(0.2)
    assert all(stage.forked[conn] == stage.changing.current for conn in stage.serving())
    assert stage.states() == ["UP"] * count
    assert Standing.RELOADING not in stage.standings or stage.standings[-1] is Standing.READY


def _happen(stage: Staff, what: str, pick: int) -> None:
    up = sorted(conn for conn in stage.connections)
    conn = up[pick % len(up)] if up else ""
    if what in ("change", "same", "refuse"):
        stage.changing.why = "no" if what == "refuse" else ""
        stage.change(f"{pick}" if what == "change" else stage.changing.current)
    elif what == "up" and stage.dialled:
        stage.tell(stage.dialled[0])
    elif what == "wait":
        stage.wait(pick / 4)
    elif what == "die" and conn:
        stage.die(conn)
    elif what == "drains" and conn:
        stage.hear(conn, pack({"standing": "STOPPING"}))
    elif what == "report" and conn:
        stage.reloaded(conn)
