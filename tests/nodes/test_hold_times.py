"""How long something worse than data is held, by what was said and who is left.

Not here: what is held, and released (`tests/nodes/test_negatives.py`).
"""

import math
from typing import Any, cast

import pytest

from core.bounds import Bounds
from nodes.ls.held_negative import HeldNegative
from nodes.ls.hold_times import HoldTimes
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.server_set import NO_SERVERS, ServerSet

NOW = 50.0
LEFT = 3
GRACE_S, FAILED_S = 0.125, 1.25  # of all servers, by whether a failure waits for them
BOUNDS = Bounds(stale_after_s=2.0, stale_hold_s=0.5)
SAID_AND_HELD = {
    QuestionEvent.FAILURE_SAID: QuestionState.FAILURE_HELD,
    QuestionEvent.REFUSAL_SAID: QuestionState.REFUSAL_HELD,
    QuestionEvent.NOT_FOUND_SAID: QuestionState.NOT_FOUND_HELD,
    QuestionEvent.NO_DATA_SAID: QuestionState.NO_DATA_HELD,
    QuestionEvent.KEPT_SAID: QuestionState.DATA_HELD,
}
NO_WORD = (QuestionState.FAILURE_HELD, QuestionState.REFUSAL_HELD, QuestionState.NAME_HELD)


class Graces:
    """Upstreams, as hold times know them."""

    def __init__(self, failed_s: float = FAILED_S) -> None:
        self.failed_s = failed_s

    def grace_s(
        self, question: bytes, servers: ServerSet, now: float, *, is_failure: bool
    ) -> float:
        assert now == NOW
        if not servers:
            return 0.0
        return self.failed_s if is_failure else GRACE_S


def after(
    event: QuestionEvent,
    best: QuestionState,
    left: ServerSet = LEFT,
    failed_s: float = FAILED_S,
) -> float:
    """Return for how long this is held from now on."""
    times = HoldTimes(BOUNDS, cast(Any, Graces(failed_s)))
    return times.after(event, HeldNegative(b"x", best, None, NOW, NOW, math.inf), left, NOW) - NOW


@pytest.mark.parametrize(("event", "best"), SAID_AND_HELD.items())
def test_what_was_said_is_held_for_the_grace_of_those_left(
    event: QuestionEvent, best: QuestionState
) -> None:
    """Data that LS knows waits no longer than a negative does, for a table that has the name."""
    assert after(event, best) == (FAILED_S if best in NO_WORD else GRACE_S)


@pytest.mark.parametrize(("event", "best"), SAID_AND_HELD.items())
def test_without_anybody_left_nothing_new_is_scheduled(
    event: QuestionEvent, best: QuestionState
) -> None:
    """Such a question is released at once by others, or was to be released before."""
    assert after(event, best, NO_SERVERS) == math.inf


@pytest.mark.parametrize("best", [*SAID_AND_HELD.values(), QuestionState.STALE_HELD])
@pytest.mark.parametrize("left", [NO_SERVERS, LEFT])
def test_that_a_name_exists_begins_no_grace(best: QuestionState, left: ServerSet) -> None:
    """Not even where old data is at hand."""
    assert after(QuestionEvent.NAME_SAID, best, left) == math.inf


@pytest.mark.parametrize("left", [NO_SERVERS, LEFT])
def test_old_data_is_held_for_stale_after_s(left: ServerSet) -> None:
    """Also where no server is awaited: one may be back."""
    assert after(QuestionEvent.STALE_SAID, QuestionState.STALE_HELD, left) == 2.0


@pytest.mark.parametrize("event", [QuestionEvent.FAILURE_SAID, QuestionEvent.REFUSAL_SAID])
def test_after_a_failure_old_data_is_held_for_a_grace(event: QuestionEvent) -> None:
    """For `stale_hold_s` at least: a server that was silent may be back."""
    held = QuestionState.STALE_HELD
    assert after(event, held) == FAILED_S
    assert after(event, held, failed_s=0.25) == 0.5
    assert after(event, held, NO_SERVERS) == 0.5


def test_a_failure_beside_something_better_waits_as_that_does() -> None:
    assert after(QuestionEvent.FAILURE_SAID, QuestionState.NOT_FOUND_HELD) == GRACE_S
    assert after(QuestionEvent.FAILURE_SAID, QuestionState.DATA_HELD) == GRACE_S
    assert after(QuestionEvent.FAILURE_SAID, QuestionState.NAME_HELD) == FAILED_S
