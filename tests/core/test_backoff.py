"""Backoff: waits that double.

Not here: what is attempted (`tests/nodes/test_link.py`, `tests/nodes/test_supervisor.py`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.backoff import Backoff


@pytest.mark.parametrize(("lasted_s", "wait_s"), [(0.0, 4.0), (5.0, 4.0), (5.1, 1.0)])
def test_what_lasted_longer_than_the_longest_wait_starts_over(
    lasted_s: float, wait_s: float
) -> None:
    backoff = Backoff(1.0, 5.0)
    backoff.wait_s()
    backoff.wait_s()
    assert backoff.wait_s(lasted_s) == wait_s


def test_another_longest_wait_is_for_the_next_one() -> None:
    backoff = Backoff(4.0, 5.0)
    assert [backoff.wait_s(longest_s=20.0) for _ in range(4)] == [4.0, 8.0, 16.0, 20.0]
    assert [backoff.wait_s() for _ in range(2)] == [20.0, 5.0]
    backoff.start_over()
    assert backoff.wait_s() == 4.0


@given(st.floats(0, 1, exclude_max=True), st.floats(0.001, 100))
def test_jitter_is_a_quarter_at_most(chance: float, seconds: float) -> None:
    backoff = Backoff(seconds, seconds, lambda: chance)
    assert seconds <= backoff.wait_s() <= 1.25 * seconds
    assert backoff.jittered(seconds) == backoff.wait_s()
