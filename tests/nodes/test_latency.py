"""Recent mean and quantile of latencies, against exact figures where there are such.

Not here: what is done about it (`tests/nodes/test_hedge_policy.py`).
"""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ls.latency import RecentMean, RecentQuantile

SPAN_S = 0.05
seconds = st.floats(min_value=2e-4, max_value=20.0)
shares = st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0])


def mean_of(*samples: tuple[float, float, int]) -> RecentMean:
    """Return a mean of these: when, how long it took, how often."""
    mean = RecentMean()
    for now, took_s, count in samples:
        mean.add(took_s, count, now)
    return mean


# -- the mean --------------------------------------------------------------------------------------


def test_a_mean_of_nothing_is_faster_than_anything() -> None:
    """A TS that nobody knows is therefore asked, and becomes known."""
    assert RecentMean().mean_s(0.0) == RecentMean().mean_s(1e6) == 0.0


@given(
    took_s=seconds,
    step_s=st.floats(0.001, 1.0),
    count=st.integers(1, 1000),
    times=st.integers(1, 100),
)
def test_a_steady_stream_has_its_mean(took_s: float, step_s: float, count: int, times: int) -> None:
    """From its first sample on."""
    mean = mean_of(*((at * step_s, took_s, count) for at in range(times)))
    assert mean.mean_s((times - 1) * step_s) == pytest.approx(took_s)
    assert mean.mean_s(times * step_s) == pytest.approx(took_s)


@given(data=st.data())
def test_a_mean_never_leaves_its_samples(data: st.DataObject) -> None:
    mean, told, now = RecentMean(), [], 0.0
    for step_s, took_s, count in data.draw(
        st.lists(st.tuples(st.floats(0.0, 1.0), seconds, st.integers(1, 9)), max_size=30)
    ):
        now += step_s
        mean.add(took_s, count, now)
        told.append(took_s)
        assert min(told) * 0.999 <= mean.mean_s(now) <= max(told) * 1.001


@pytest.mark.parametrize("was_s", [0.001, 0.5])
def test_a_recent_sample_wins_by_time_however_few_there_are(was_s: float) -> None:
    """A million fast ones, and then a slow one per span: four spans later it is slow."""
    turned_s = 0.501 - was_s
    mean = mean_of(*((at * 0.01, was_s, 10_000) for at in range(100)))
    for at in range(6):
        mean.add(turned_s, 1, 1.0 + at * SPAN_S * 1.01)
    assert mean.mean_s(1.0 + 6 * SPAN_S * 1.01) == pytest.approx(turned_s, rel=0.5, abs=0.02)


def test_one_outlier_among_many_of_a_span_hardly_moves_it() -> None:
    mean = mean_of(*((at * 0.001, 0.001, 20) for at in range(1000)))
    mean.add(0.1, 1, 1.0)
    mean.add(0.001, 1000, 1.001)
    assert max(mean.mean_s(1.0 + at * 0.01) for at in range(20)) == pytest.approx(0.001, rel=0.1)


# -- the quantile ----------------------------------------------------------------------------------


def quantile(share: float, samples: list[tuple[float, int]]) -> RecentQuantile:
    """Return a quantile that was looked at before, as hedging does, and then told these."""
    told = RecentQuantile(share)
    assert told.seconds(0.0) == math.inf
    for took_s, count in samples:
        told.add(took_s, count)
    return told


def exact(share: float, samples: list[tuple[float, int]]) -> float:
    """Return the shortest time that this share of the samples did not exceed."""
    ordered = sorted(samples)
    total = sum(count for _, count in samples)
    for (took_s, _), upto in zip(ordered, accumulate(c for _, c in ordered), strict=True):
        if upto >= share * total:
            return took_s
    return ordered[-1][0]


@given(
    share=shares,
    samples=st.lists(st.tuples(seconds, st.integers(1, 50)), min_size=20, max_size=60),
)
def test_a_quantile_is_within_five_percent_of_the_exact_one(
    share: float, samples: list[tuple[float, int]]
) -> None:
    """Of samples of one second; a share that falls between two samples may go either way."""
    found = quantile(share, samples).seconds(0.5)
    nearest = [exact(share + way, samples) for way in (-1e-9, 0.0, 1e-9)]
    assert any(found == pytest.approx(near, rel=0.05) for near in nearest)


@given(share=shares, samples=st.lists(st.tuples(seconds, st.integers(1, 50)), max_size=20))
def test_n_samples_at_once_are_n_samples(share: float, samples: list[tuple[float, int]]) -> None:
    singly = [(took_s, 1) for took_s, count in samples for _ in range(count)]
    assert quantile(share, samples).seconds(0.5) == quantile(share, singly).seconds(0.5)


@pytest.mark.parametrize(("count", "is_known"), [(0, False), (19, False), (20, True)])
def test_too_few_say_nothing(count: int, is_known: bool) -> None:
    found = quantile(0.95, [(0.01, 1)] * count).seconds(0.5)
    assert (found < math.inf) is is_known


@pytest.mark.parametrize("took_s", [0.0, 1e-9, 1e-4, 26.0, 1000.0])
def test_the_shortest_and_the_longest_have_a_place(took_s: float) -> None:
    found = quantile(0.5, [(took_s, 100)]).seconds(0.5)
    assert found <= 1e-4 if took_s <= 1e-4 else found >= 20.0


def test_what_is_old_fades() -> None:
    """Ten thousand slow ones, and then a hundred fast ones a second: soon the slow are few."""
    recent = quantile(0.95, [(1.0, 10_000)])
    assert recent.seconds(0.5) == pytest.approx(1.0, rel=0.05)
    for second in range(1, 14):
        recent.add(0.001, 100)
        recent.seconds(float(second))
    assert recent.seconds(14.0) == pytest.approx(0.001, rel=0.05)


def test_without_samples_a_quantile_is_unknown_in_time() -> None:
    """A thousand samples are twenty after about five and a half half-lives, looked at or not."""
    recent = quantile(0.95, [(0.01, 1000)])
    known = [recent.seconds(second + 0.5) < math.inf for second in range(10)]
    assert known == [True] * 6 + [False] * 4
    for second in range(10):
        left_alone = quantile(0.95, [(0.01, 1000)])
        assert (left_alone.seconds(second + 0.5) < math.inf) is known[second]


def test_a_quantile_is_worked_out_anew_once_in_a_while() -> None:
    recent = quantile(0.95, [(0.01, 1000)])
    assert recent.seconds(0.5) == pytest.approx(0.01, rel=0.05)
    recent.add(1.0, 1_000_000)
    assert recent.seconds(0.505) == pytest.approx(0.01, rel=0.05)
    assert recent.seconds(0.511) == pytest.approx(1.0, rel=0.05)
