"""Gain of asking two servers when one of them is late: the experiments in a closed loop.

Each starts two slow table servers and LS anew, keeps a window of questions in flight, and counts
every question from the first to the last, also those that are still open at the end. If a server is
bad (dead, slow, silent), it is the first in the order of LS's command line, so that a policy that
asks one before the other begins with the bad one.

`single` has the first server only; where that is dead it has the other, which shows the best that
is possible. Extra questions are counted by the servers: all that they were asked, beyond one each.

Not here: the load sweep (`bench/sweep.py`), and reports.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from load import Load, Period
from slow import Counter
from systems import HERE, free_port, node, running

POLICIES: dict[str, tuple[str, ...]] = {  # flags of LS
    "single": (),
    "race": (),  # the default of LS
    "hedge": ("--policy", "hedge", "--max-extra-load", "0.05"),
}
SLOWER_BY_S = 0.5
RECOVERED_S = 0.1 * SLOWER_BY_S  # p99 below this: one good server alone has 21 ms
_SETTLE_S = 0.3  # until LS has found its servers
_SLICE_S = 0.25
_TURN = 0.4  # of the seconds, before the server turns slow
_SLICES_LEFT_OUT = 2  # at the beginning, counted as "before"
_SLICES_LOW = 4  # in a row, to count as recovered
THREE_POINT = ("--law", "three-point")


@dataclass(frozen=True)
class Experiment:
    """The flags of the two servers; `first` is None where nobody listens."""

    name: str
    about: str
    first: tuple[str, ...] | None = THREE_POINT
    second: tuple[str, ...] = THREE_POINT


def _of_law(law: str) -> Experiment:
    flags = ("--law", law, "--mean", "0.01")
    return Experiment(law, "both servers, mean 10 ms", flags, flags)


EXPERIMENTS = (
    Experiment("three-point", 'both servers, as in "The Tail at Scale"'),
    _of_law("deterministic"),
    _of_law("exponential"),
    _of_law("pareto"),
    _of_law("bimodal"),
    Experiment("dead", "nobody listens at the first", None),
    Experiment("slow", "the first is 100 ms slower", (*THREE_POINT, "--slow-by", "0.1")),
    Experiment("silent", "the first gives 1 % no answer", (*THREE_POINT, "--silent", "0.01")),
)


@dataclass(frozen=True)
class Asking:
    """Questions, answers, the table that has them, and the number in flight."""

    names: Sequence[bytes]
    answers: Sequence[bytes]
    table: Path
    window: int


@dataclass(frozen=True)
class Row:
    """Results of one policy in one experiment."""

    experiment: str
    policy: str
    period: Period
    extra: float  # questions beyond one for each lookup, as a share of the lookups
    timed_out: int


@dataclass(frozen=True)
class Slice:
    """A short span of one run."""

    ends_s: float  # since the server turned slow
    p99_ms: float
    lookups_per_s: float
    extra: float  # from the beginning of the run to here


@dataclass(frozen=True)
class Turning:
    """Results of a run in which a server turns slow."""

    policy: str
    before_ms: float  # p99, the median of slices
    worst_ms: float
    after_ms: float  # of the slices from the recovery on
    recovered_s: float | None  # after it turned slow, p99 is low for a second; None for never
    relapses: int  # slices after that in which it is not
    most_extra: float  # at the end of any slice
    slices: list[Slice]


def measure(
    experiment: Experiment, policy: str, asking: Asking, lookups: int, seconds: float
) -> Row:
    """Measure `lookups` lookups, or fewer if `seconds` are over before. Raises WrongReply."""
    with _system(experiment, policy, asking) as (load, counters):
        period = load.run(seconds, lookups - asking.window)
        period.add(load.finish())
        asked = sum(counter.asked() for counter in counters)
        return Row(experiment.name, policy, period, asked / period.lookups - 1, load.timed_out)


def measure_turning(policy: str, asking: Asking, seconds: float) -> Turning:
    """Measure while the first server becomes 500 ms slower in mid-run. Raises WrongReply.

    Until then it is the faster one, by 2 ms, so that a policy that prefers the faster is hit.
    """
    turns_after_s = _TURN * seconds
    flags = ("--slow-by", str(SLOWER_BY_S), "--slow-after", str(turns_after_s))
    experiment = Experiment(
        "turns-slow", "", (*THREE_POINT, *flags), (*THREE_POINT, "--slow-by", "0.002")
    )
    slices = []
    lookups = 0
    with _system(experiment, policy, asking) as (load, counters):
        began = now = time.perf_counter()
        while now < began + seconds:
            period = load.run(_SLICE_S)
            asked = sum(counter.asked() for counter in counters)
            now = time.perf_counter()
            lookups += period.lookups
            slices.append(
                Slice(
                    now - began - turns_after_s,
                    period.quantile_ms(0.99),
                    period.lookups / period.seconds,
                    asked / (lookups + load.in_flight) - 1,
                )
            )
        load.finish()
    return _judge(policy, slices)


def _judge(policy: str, slices: list[Slice]) -> Turning:
    before = [part for part in slices if part.ends_s <= 0][_SLICES_LEFT_OUT:]
    after = [part for part in slices if part.ends_s > 0]
    low = [part.p99_ms <= 1000 * RECOVERED_S for part in after]
    starts = range(len(low) - _SLICES_LOW + 1)
    at = next((start for start in starts if all(low[start : start + _SLICES_LOW])), None)
    return Turning(
        policy,
        statistics.median(part.p99_ms for part in before),
        max(part.p99_ms for part in after),
        statistics.median(part.p99_ms for part in after[at:]),
        None if at is None else after[at - 1].ends_s if at else 0.0,
        0 if at is None else low[at:].count(False),
        max(part.extra for part in slices),
        slices,
    )


@contextlib.contextmanager
def _system(
    experiment: Experiment, policy: str, asking: Asking
) -> Iterator[tuple[Load, list[Counter]]]:
    """Start servers and LS as the policy wants; yield the load, and a counter for each server."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        counters: list[Counter] = []
        for seed, flags in enumerate((experiment.first, experiment.second)):
            if flags is None and policy != "single":
                ports.append(free_port())
            elif flags is not None and (policy != "single" or not ports):
                words = [sys.executable, HERE / "slow.py", 0, "--table", asking.table]
                words += ["--seed", seed, *flags]
                ports.append(stack.enter_context(running([str(word) for word in words])).port)
                counters.append(Counter(ports[-1]))
                stack.callback(counters[-1].close)
        servers = [word for port in ports for word in ("127.0.0.1", port)]
        balancer = stack.enter_context(running(node("ls", 0, *servers, *POLICIES[policy])))
        time.sleep(_SETTLE_S)
        load = Load(
            balancer.port,
            asking.names,
            asking.answers,
            connections=1,
            window=asking.window,
            may_time_out=True,
        )
        yield load, counters
