"""The load of the DNS benches: dnsperf, and what it tells of a balancer.

dnsperf keeps a number of queries in flight and looks at codes only. It tells the rate and the mean
latency; percentiles come from a shorter run of the same load in which it prints every query.

Not here: the balancers (`bench/dns_balancers.py`), rounds and pages.
"""

import re
import statistics
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from percentiles import SHARES, milliseconds, percentiles
from results import Row, figures, latencies
from systems import cpu_s

CLIENTS = 10
LOST_S = 1  # dnsperf gives up: a lost query takes a place in flight no longer
_PRINTED = 0.25  # of the seconds, once more with every query printed


class Wrong(Exception):
    """A reply is wrong, or ours lost queries."""


@dataclass(frozen=True)
class Round:
    """Results of dnsperf for one balancer."""

    queries_per_s: float
    took_ms: dict[str, float]  # percentiles
    sent: int
    lost: int
    cpu_us: float  # of the balancer, a query


@dataclass(frozen=True)
class Summary:
    """Medians of the rounds of a balancer under one load; the share that was lost in all."""

    rate: float
    least: float
    most: float
    took_ms: dict[str, float]
    lost: float
    cpu_us: float

    @staticmethod
    def of(rounds: list[Round]) -> "Summary":
        rates = [one.queries_per_s for one in rounds]
        return Summary(
            statistics.median(rates),
            min(rates),
            max(rates),
            {name: statistics.median(one.took_ms[name] for one in rounds) for name in SHARES},
            sum(one.lost for one in rounds) / sum(one.sent for one in rounds),
            statistics.median(one.cpu_us for one in rounds),
        )

    def line(self, in_flight: int, name: str, ours: "Summary") -> str:
        """Format its row of the table."""
        return (
            f"| {in_flight} | {name} | {self.rate:,.0f} | {self.least:,.0f} | {self.most:,.0f} "
            f"| {ours.rate / self.rate:.2f} | {milliseconds(self.took_ms)} | {self.lost:.4%} "
            f"| {self.cpu_us:.1f} |"
        )

    def rows(self, case: str, name: str) -> list[Row]:
        """Make its rows to keep."""
        found = {
            "rate": (self.rate, "queries/s"),
            "slowest round": (self.least, "queries/s"),
            "fastest round": (self.most, "queries/s"),
            "lost": (self.lost, "share"),
            "CPU": (self.cpu_us, "µs a query"),
        }
        return figures(case, name, found) + latencies(case, name, self.took_ms)


HEAD = (
    "| in flight | balancer | queries/s | from | to | ours to it "
    f"| {' | '.join(f'{name} ms' for name in SHARES)} | lost | CPU µs a query |",
    f"|---:|---{'|---:' * (6 + len(SHARES))}|",
)


def dnsperf(port: int, queries: Path, in_flight: int, *more: str) -> str:
    """Run dnsperf; return its output."""
    words = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries)]
    words += ["-c", str(CLIENTS), "-q", str(in_flight), *more]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def ask(port: int, queries: Path, seconds: float, in_flight: int, *more: str) -> str:
    """Run dnsperf for a time; return its output."""
    return dnsperf(port, queries, in_flight, "-l", f"{seconds:g}", "-t", str(LOST_S), *more)


def measure(name: str, port: int, pid: int, queries: Path, seconds: float, in_flight: int) -> Round:
    """Measure the balancer with this port and process under one load. Raises Wrong."""
    before = cpu_s(pid)
    said = ask(port, queries, seconds, in_flight)
    cpu = cpu_s(pid) - before
    completed = int(metric(said, r"Queries completed:\s+(\d+)"))
    if list(found := codes(said)) != ["NOERROR"]:
        raise Wrong(f"{name}: {found}")
    lost = int(metric(said, r"Queries lost:\s+(\d+)"))
    return Round(
        float(metric(said, r"Queries per second:\s+([0-9.]+)")),
        took_ms(ask(port, queries, _PRINTED * seconds, in_flight, "-v")),
        completed + lost,
        lost,
        cpu / completed * 1e6,
    )


def took_ms(said: str) -> dict[str, float]:
    """Read the percentiles from an output with every query (`-v`), in ms."""
    seen = Counter(re.findall(r"(?m)^> [A-Z]+ .* (\d+\.\d+)$", said))
    return percentiles({float(seconds) * 1000: count for seconds, count in seen.items()})


def codes(said: str) -> dict[str, int]:
    """Read how many replies had each code. Raises Wrong."""
    found = re.findall(r"([A-Z]+) (\d+) \(", metric(said, r"Response codes:\s+(.*)"))
    return {code: int(count) for code, count in found}


def metric(said: str, pattern: str) -> str:
    """Find a metric in the output of dnsperf. Raises Wrong."""
    found = re.search(pattern, said)
    if found is None:
        raise Wrong(f"dnsperf says no {pattern!r}:\n{said}")
    return found[1]
