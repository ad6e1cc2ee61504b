"""Two ways of LS compared by the CPU that they take, in alternating rounds of one run.

Each round starts an LS of each way and drives both with the same load in turns of a few tenths of a
second: one, the other, the other, the one; the next round begins with the other. A change of the
machine that lasts a second therefore meets both. The CPU of LS alone is compared, as the kernel
counts it in ns (man 5 proc has only ticks of 10 ms, too few for so short a time); LS has a core of
its own where there are several. Look at the median of 21 ratios and at their quartiles.

Not here: what is started, and the load (`bench/cpu.py`, `bench/tls.py`).
"""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from results import Row, figures

ROUNDS, SECONDS = 21, 0.5  # of each way in a round
_CORES = os.sched_getaffinity(0)
_CORE_OF_LS = {max(_CORES)}

Ask = Callable[[float], int]  # asks for so many seconds; returns the number of lookups
Way = Callable[[], AbstractContextManager[tuple[int, Ask]]]  # starts an LS; its process, the load


def leave_core_of_ls() -> None:
    """Keep this process, and all that is started from here, off the core of LS."""
    if len(_CORES) > 1:
        os.sched_setaffinity(0, _CORES - _CORE_OF_LS)


def move_to_core_of_ls(pid: int) -> None:
    os.sched_setaffinity(pid, _CORE_OF_LS)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process of one thread has used (sched-stats of the kernel)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def compare(ours: Way, other: Way, rounds: int, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield for each round the CPU in µs a lookup of both ways. Raises what their loads raise."""
    for number in range(rounds):
        first, second = (ours, other) if number % 2 else (other, ours)
        lookups, used_s = {first: 0, second: 0}, {first: 0.0, second: 0.0}
        with first() as one, second() as two:
            started = {first: one, second: two}
            for way in (first, second, second, first):
                pid, ask = started[way]
                before_s = cpu_s(pid)
                lookups[way] += ask(seconds / 2)
                used_s[way] += cpu_s(pid) - before_s
        yield used_s[ours] / lookups[ours] * 1e6, used_s[other] / lookups[other] * 1e6


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    values = [*values, *values] if len(values) == 1 else values  # a single value has none
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True)
class Summary:
    """Medians of both ways in µs a lookup, and the median and quartiles of their ratios."""

    ours_us: float
    other_us: float
    low: float
    middle: float
    high: float

    @staticmethod
    def of(seen: Sequence[tuple[float, float]]) -> "Summary":
        """Sum up the rounds of a workload."""
        ours, others = (statistics.median(costs) for costs in zip(*seen, strict=True))
        return Summary(ours, others, *quartiles([a / b for a, b in seen]))

    def rows(self, case: str, ours: str, other: str) -> list[Row]:
        """Make the rows to keep, under the names of both ways."""
        found = {
            "CPU": (self.ours_us, "µs a lookup"),
            f"to {other}": (self.middle, "times"),
            f"to {other}, lower quartile": (self.low, "times"),
            f"to {other}, upper quartile": (self.high, "times"),
        }
        return [*figures(case, ours, found), Row(case, other, "CPU", self.other_us, "µs a lookup")]
