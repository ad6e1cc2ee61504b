"""How many questions a resolver may have in flight: `nodes/ls/resolvers/window.py`.

Not here: what is in flight (`tests/nodes/test_resolver.py`).
"""

import pytest

from nodes.ls.resolvers.window import Window

BASE = 100


def replies(window: Window, per_s: float, took_s: float, span_s: float, now: float) -> float:
    """Reply so many times a second, for so long, each sent when few were in flight; return when
    that ends."""
    for number in range(int(per_s * span_s)):
        window.replied(1, took_s, now + number / per_s, was_calm=True)
    return now + span_s


def test_with_nothing_known_it_is_its_base() -> None:
    window = Window(BASE)
    assert window.size(0.0) == BASE
    window.replied(50, 0.5, 0.0, was_calm=False)  # says nothing about the way
    assert window.size(0.0) == BASE


@pytest.mark.parametrize("took_s", [0.001, 0.02, 0.04, 0.2, 1.0])
@pytest.mark.parametrize("per_s", [100, 1_000, 10_000])
def test_it_holds_what_is_under_way_and_a_quarter_more(took_s: float, per_s: float) -> None:
    """[P40]: the rate is that of the busier of two spans, so a few replies are off at most."""
    window = Window(BASE)
    now = replies(window, per_s, took_s, max(5.0, 5 * took_s), 0.0)
    wanted = BASE + 1.25 * per_s * took_s
    assert abs(window.size(now) - wanted) <= 2 + 0.03 * wanted


def test_when_replies_cease_it_is_its_base_again() -> None:
    window = Window(BASE)
    now = replies(window, 1_000, 0.2, 2.0, 0.0)
    assert window.size(now) > 300
    assert window.size(now + 0.41) == BASE


def test_a_queue_of_our_own_never_makes_it_grow() -> None:
    """[P40]: a resolver that does 10,000 a second and always has a full queue, for ten minutes."""
    window = Window(BASE)
    window.replied(1, 0.0002, 0.0, was_calm=True)
    now = 0.0
    for _ in range(60_000):
        now += 0.01
        size = window.size(now)
        assert size <= BASE + 10
        window.replied(100, size / 10_000, now, was_calm=window.is_calm(size))


@pytest.mark.parametrize(("rest_s", "span_s"), [(0.0, 25.0), (10.0, 1.0)])
def test_a_way_that_becomes_longer_is_learnt(rest_s: float, span_s: float) -> None:
    """Once something was sent with few in flight, and the old times are forgotten: after a rest at
    once."""
    window = Window(BASE)
    now = replies(window, 1_000, 0.001, 5.0, 0.0)
    now = replies(window, 1_000, 0.1, span_s, now + rest_s)
    assert window.size(now) > 200


@pytest.mark.parametrize(("before_s", "after_s", "wanted"), [(0.001, 0.1, 1350), (0.1, 0.001, 130)])
def test_a_way_that_changes_is_learnt_under_load(
    before_s: float, after_s: float, wanted: int
) -> None:
    """[P40]: a resolver that does 10,000 a second, and always has as many as it may have."""
    window = Window(BASE)
    window.replied(1, before_s, 0.0, was_calm=True)
    now = 0.0
    while now < 25.0:
        size = window.size(now)
        now += 0.01
        took_s = max(after_s, size / 10_000)
        window.replied(int(0.01 * size / took_s), took_s, now, was_calm=window.is_calm(size - 1))
    assert abs(window.size(now) - wanted) <= 0.05 * wanted


def test_what_is_sent_with_few_in_flight_is_calm() -> None:
    window = Window(BASE)
    assert window.is_calm(0) and window.is_calm(25) and not window.is_calm(26)
