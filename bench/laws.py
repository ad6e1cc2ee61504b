"""The laws by which a slow server is late: each draws a delay in s, from chance that is given.

A law takes the mean in seconds, except `three-point`, which has its own (6.8 ms): it is fitted to
the figures of "The Tail at Scale" (Dean, Barroso, 2013), P(X > 10 ms) = 0.02, P(X > 70 ms) =
10^-2.5 and P(X > 1.8 s) = 10^-5. Between 2 and 10 ms every delay is as likely as any other;
through the three points and on, the logarithm of the share that takes longer falls in a straight
line with the logarithm of the delay, up to 3 s.

Not here: the server that is late, and its queue (`bench/slow.py`).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

Law = Callable[[Random, float], float]

_PARETO_SHAPE = 2.1  # just a variance: a heavier tail has none, and its results never settle
_SLOW_SHARE = 0.02  # of bimodal; the others take half the mean
_FASTEST_S = 0.002
_POINTS = ((0.010, 0.02), (0.070, 10**-2.5), (1.8, 10**-5))  # a delay, and the share above it
_LONGEST_S = 3.0  # below the 5 s of LS: a late answer is still an answer


def deterministic(chance: Random, mean_s: float) -> float:
    return mean_s


def exponential(chance: Random, mean_s: float) -> float:
    return chance.expovariate(1 / mean_s)


def pareto(chance: Random, mean_s: float) -> float:
    return mean_s * (_PARETO_SHAPE - 1) / _PARETO_SHAPE * chance.paretovariate(_PARETO_SHAPE)


def bimodal(chance: Random, mean_s: float) -> float:
    """Draw half the mean, or rarely 25.5 times the mean."""
    if chance.random() >= _SLOW_SHARE:
        return mean_s / 2
    return mean_s * (1 - (1 - _SLOW_SHARE) / 2) / _SLOW_SHARE


def three_point(chance: Random, mean_s: float) -> float:
    """Return the delay that a uniform share exceeds. `mean_s` is ignored."""
    left = 1 - chance.random()
    (body_end, tail), *_ = _POINTS
    if left > tail:
        return body_end - (body_end - _FASTEST_S) * (left - tail) / (1 - tail)
    for (start, above), (end, below) in pairwise(_POINTS):  # noqa: B007 (the last goes on)
        if left > below:
            break
    steps = math.log(above / left) / math.log(above / below)
    return min(_LONGEST_S, start * (end / start) ** steps)


LAWS: dict[str, Law] = {
    "deterministic": deterministic,
    "exponential": exponential,
    "pareto": pareto,
    "bimodal": bimodal,
    "three-point": three_point,
}
