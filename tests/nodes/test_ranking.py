"""Ranking: what the delay until the next server is learnt from.

Not here: recent means and quantiles (`tests/nodes/test_latency.py`), and whom LS asks first
(`tests/nodes/test_hedge_policy.py`).
"""

import pytest

from core.bounds import Bounds
from core.environment import Environment
from nodes.ls.hedging.asking import Asking
from nodes.ls.hedging.ranking import Ranking
from nodes.ls.link import Link


def delay_after(*, explores: bool = False, is_denied: bool = False, hedged: bool = False) -> float:
    """Return the delay when all replies took 10 ms, to askings of this kind."""
    bounds = Bounds()
    link, other = (Link(f"TS{n}", (), Environment(bounds), n) for n in (1, 2))
    ranking = Ranking([link, other], 0.05, bounds)
    asking = Asking([b"x"], 0.0, 0)
    asking.sent_at[link] = 0.0
    if hedged:
        asking.sent_at[other] = 0.008
    asking.explores = explores
    if is_denied:
        asking.denied_by(other)
    ranking.learn_from_reply(asking, link, 1_000, 0.01)
    return ranking.delay_s(1.0)


@pytest.mark.parametrize("hedged", [False, True])
def test_the_delay_counts_from_when_the_first_was_asked(hedged: bool) -> None:
    assert delay_after(hedged=hedged) == pytest.approx(0.01, rel=0.05)


def test_the_delay_is_not_that_of_odd_askings() -> None:
    """A server that is explored may be slow; where one has denied, another was asked later."""
    for explores, is_denied in ((True, False), (False, True), (True, True)):
        assert delay_after(explores=explores, is_denied=is_denied) == Bounds().hedge_delay_max_s
