"""Fitness: the log says once that hedging is not for these servers.

Not here: hedging itself (`tests/nodes/test_hedge_policy.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from tests.support.balancers import addresses_of, load_balancer
from tests.support.stage import Stage

T1, T2 = "TS1", "TS2"
DIFFER = "answers what another TS has not"
SILENT = "more than half of the questions get no reply from any TS"


def started(extra_load: float | None = 0.0) -> Stage:
    """Build LS with both links up that asks TS1 first, and a client."""
    bounds = replace(Bounds(), explore_every=2**31 - 1)
    brain = load_balancer(addresses_of(2), bounds, extra_load=extra_load)
    return Stage.begun(brain, bounds, up=(T1, T2), clients=("a",))


def said(stage: Stage, why: str) -> int:
    return sum(why in report for report in stage.reports)


def denied_by_one_and_answered_by_the_other(
    stage: Stage, name: bytes, why: bytes = b"NOT FOUND"
) -> None:
    stage.hear("a", name + b"\n")
    first, second = (T1, T2) if stage.said[T1] else (T2, T1)
    stage.take(first)
    stage.hear(first, name + b" - " + why + b"\n")
    stage.take(second)
    stage.hear(second, name + b" 10.0.0.1 A IN\n")
    assert stage.take("a") == name + b" 10.0.0.1 A IN\n"


def ended(stage: Stage, silent: int, answered: int) -> None:
    for number in range(answered):
        stage.hear("a", b"n%d\n" % number)
        for conn in (T1, T2):
            if stage.take(conn):
                stage.hear(conn, b"n%d 10.0.0.1 A IN\n" % number)
    stage.hear("a", b"".join(b"s%d\n" % number for number in range(silent)))
    stage.wait(5.0)


@pytest.mark.parametrize("why", [b"NOT FOUND", b"NO DATA"])
def test_an_answer_to_what_another_denied_is_told_once(why: bytes) -> None:
    stage = started()
    denied_by_one_and_answered_by_the_other(stage, b"x", why)
    (report,) = [report for report in stage.reports if DIFFER in report]
    assert "consider --policy race" in report
    denied_by_one_and_answered_by_the_other(stage, b"y")
    ended(stage, silent=200, answered=0)
    assert said(stage, DIFFER) == 1 and not said(stage, SILENT)


@pytest.mark.parametrize(
    ("silent", "answered", "times"), [(51, 49, 1), (100, 0, 1), (50, 50, 0), (99, 0, 0)]
)
def test_silence_to_more_than_half_of_a_hundred_is_told_once(
    silent: int, answered: int, times: int
) -> None:
    stage = started()
    ended(stage, silent, answered)
    assert said(stage, SILENT) == times
    ended(stage, silent=100, answered=0)
    assert said(stage, SILENT) == 1


def test_denials_by_all_are_fit() -> None:
    stage = started()
    names = [b"n%d" % number for number in range(200)]
    stage.hear("a", b"".join(name + b"\n" for name in names))
    for conn in (T1, T2):
        stage.hear(conn, b"".join(name + b" - NOT FOUND\n" for name in names))
    stage.wait(5.0)
    assert stage.take("a").count(b" - NOT FOUND\n") == 200
    assert not said(stage, DIFFER) and not said(stage, SILENT)


def test_a_race_is_not_judged() -> None:
    stage = started(extra_load=None)
    denied_by_one_and_answered_by_the_other(stage, b"x")
    ended(stage, silent=200, answered=0)
    assert not said(stage, DIFFER) and not said(stage, SILENT)
