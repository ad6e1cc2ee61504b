"""Cost of watching: sampling of races, and scrapes of /metrics, side by side with neither.

    python3 bench/watching.py                      5 rounds, 1x100 and 10x20 (4 min)
    python3 bench/watching.py --rounds 9 --workloads 1x100

Each round starts an LS anew for each way of being watched, all in front of the same table servers,
and then drives one after the other, a quarter of a second each, many times over: disturbances of
the machine hit all alike, and two results that are compared were taken within two seconds.
`x off` and `p99 x` are medians, over all turns, of the ratios to the unwatched LS of the same
turn. A scraper is a process of its own that begins scrapes at its rate, whatever became of those
before; each is served whole, refused, or (which must not be) lost. It shares the cores
with the rest, so its own work is included.

Every reply of the load is checked; a wrong one ends the run with exit code 1. Not here: the scraper
(`bench/scraper.py`).
"""

import argparse
import contextlib
import signal
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from load import Load, Period, WrongReply
from percentiles import SHARES
from results import Row, add_flag, figures, keep, latencies, machine
from scraper import Scraper, Told
from systems import Process, free_port, node, running
from terminal import Progress, chosen
from workloads import WORKLOADS, Workload, table_servers

_SLICE_S = 0.25
_SAMPLED = ("--race-sample", "0.01")


@dataclass(frozen=True)
class Way:
    """How LS is watched: its arguments, and scrapes a second. `records`: races go to a file."""

    name: str
    words: tuple[str, ...] = ()
    is_served: bool = False
    scrapes: int = 0
    records: bool = False


OFF = Way("off")
WAYS = (
    OFF,
    Way("off again"),  # how far two that are the same differ here
    Way("1 % sampled", _SAMPLED),
    Way("1 % recorded", _SAMPLED, records=True),
    Way("10 scrapes/s", is_served=True, scrapes=10),
    Way("1000 scrapes/s", is_served=True, scrapes=1_000),
    Way("1 % + 10/s", _SAMPLED, is_served=True, scrapes=10),
    Way("1 % + 1000/s", _SAMPLED, is_served=True, scrapes=1_000),
)


@dataclass
class Seen:
    """Results of one way: a slice of time each turn, and all its scrapes."""

    slices: list[Period] = field(default_factory=list)
    cpu_s: float = 0.0  # of LS alone
    scrapes: Counter[str] = field(default_factory=Counter)  # began, served, refused, lost
    scraped_s: float = 0.0
    scrapes_ms: list[dict[str, float]] = field(default_factory=list)  # percentiles, a round each

    def scraped(self, told: Told) -> None:
        """Add the results of a scraper."""
        self.scrapes.update(told["ended"])
        self.scraped_s += told["seconds"]
        self.scrapes_ms.append(told["took_ms"])

    def rates(self) -> list[float]:
        return [one.lookups / one.seconds for one in self.slices]

    def quantiles_ms(self, share: float) -> list[float]:
        return [one.quantile_ms(share) for one in self.slices]

    def took_ms(self) -> dict[str, float]:
        """Return the median of all slices for each percentile."""
        return {name: statistics.median(self.quantiles_ms(share)) for name, share in SHARES.items()}

    def scrapes_took_ms(self) -> dict[str, float]:
        """Return the median of all rounds for each percentile of the scrapes."""
        return {name: statistics.median(one[name] for one in self.scrapes_ms) for name in SHARES}

    def rows(self, case: str, system: str, off: "Seen") -> list[Row]:
        """Make the rows to keep of this way of being watched."""
        lookups = sum(one.lookups for one in self.slices)
        ratios = (a / b for a, b in zip(self.rates(), off.rates(), strict=True))
        found = {
            "rate": (statistics.median(self.rates()), "lookups/s"),
            "to unwatched": (statistics.median(ratios), "times"),
            "CPU": (self.cpu_s / lookups * 1e6, "µs a lookup"),
            **{f"scrapes {how}": (count, "") for how, count in self.scrapes.items()},
        }
        rows = figures(case, system, found) + latencies(case, system, self.took_ms())
        if self.scrapes_ms:
            rows += latencies(case, system, self.scrapes_took_ms(), "scrape")
        return rows


class SlicedLoad(Load):
    """A load that can rest: nothing is in flight between two slices."""

    def slice(self, seconds: float) -> Period:
        """Ask for `seconds`, and wait for the replies that are owed."""
        period = self.run(seconds)
        while any(asker.in_flight for asker in self._askers):
            self._turn(Period())
        return period


# -- rounds ----------------------------------------------------------------------------------------


@dataclass
class Runner:
    """The LS of one way in one round, its load, and its scraper if it has one."""

    way: Way
    balancer: Process
    load: SlicedLoad
    scraper: Scraper | None

    def slice(self, seconds: float, seen: Seen) -> None:
        before = self.balancer.cpu_s()
        if self.scraper:
            self.scraper.go()
        seen.slices.append(self.load.slice(seconds))
        if self.scraper:
            self.scraper.rest()
        seen.cpu_s += self.balancer.cpu_s() - before


def measure(
    ways: list[Way],
    workload: Workload,
    servers: list[int],
    folder: Path,
    seconds: float,
    seen: dict[str, Seen],
) -> None:
    """Measure a round: start all, warm up, take turns, wait for all replies. Raises."""
    words = [word for port in servers for word in ("127.0.0.1", port)]
    with contextlib.ExitStack() as stack:
        runners = []
        for way in ways:
            web = free_port()
            watching = [*way.words, *(("--metrics", web) if way.is_served else ())]
            if way.records:
                watching += ["--race-log", folder / "races"]
            balancer = stack.enter_context(running(node("ls", 0, *words, *watching)))
            load = workload.load(balancer.port, SlicedLoad)
            scraper = Scraper(web, way.scrapes) if way.scrapes else None
            if scraper:
                stack.callback(scraper.kill)
            runners.append(Runner(way, balancer, load, scraper))
        for runner in runners:
            runner.slice(_SLICE_S, Seen())
        for turn in range(max(1, round(seconds / _SLICE_S))):
            first = turn % len(runners)  # none is always the first
            for runner in runners[first:] + runners[:first]:
                runner.slice(_SLICE_S, seen[runner.way.name])
        for runner in runners:
            runner.load.finish()
            if runner.scraper:
                seen[runner.way.name].scraped(runner.scraper.end())


_HEAD = (
    "workload", "watched", "lookups/s", "from", "to", "x off",
    *(f"{name} ms" for name in SHARES), "p99 x",
    "CPU s/M", "begun/s", "served", "refused", "lost", *(f"{name} ms" for name in SHARES),
)  # fmt: skip
_WIDTHS = (8, 14, 10, 10, 10, 6, 7, 7, 8, 6, 7, 8, 8, 8, 5, 7, 7, 8)


def line(texts: tuple[str, ...]) -> str:
    return "  ".join(
        text.ljust(width) if at < 2 else text.rjust(width)
        for at, (text, width) in enumerate(zip(texts, _WIDTHS, strict=True))
    )


def row(workload: str, way: Way, seen: Seen, off: Seen) -> tuple[str, ...]:
    """Format the row of one way: medians of all slices, and all scrapes."""
    median = statistics.median
    rates = seen.rates()
    p99s = seen.quantiles_ms(0.99)
    lookups = sum(one.lookups for one in seen.slices)
    scraped = ("",) * (4 + len(SHARES))
    if way.scrapes:
        scraped = (
            f"{seen.scrapes['began'] / seen.scraped_s:,.0f}",
            *(f"{seen.scrapes[how]:,}" for how in ("served", "refused", "lost")),
            *(f"{ms:.1f}" for ms in seen.scrapes_took_ms().values()),
        )
    return (
        workload,
        way.name,
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f}",
        f"{max(rates):,.0f}",
        f"{median(a / b for a, b in zip(rates, off.rates(), strict=True)):.3f}",
        *(f"{ms:.2f}" for ms in seen.took_ms().values()),
        f"{median(a / b for a, b in zip(p99s, off.quantiles_ms(0.99), strict=True)):.2f}",
        f"{seen.cpu_s / lookups * 1e6:.2f}",
        *scraped,
    )


def main() -> int:
    """Measure, print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=2.0, metavar="S", help="of each way and round (default 2)")
    add("--rounds", type=int, default=5, metavar="N", help="of every measurement (default 5)")
    add("--workloads", default="1x100,10x20", metavar="A,B", help="(default %(default)s)")
    names = ", ".join(way.name for way in WAYS).replace("%", "%%")
    add("--ways", metavar="A,B", help=f"only these: {names}")
    add_flag(parser)
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or arguments.rounds < 1:
        print("--seconds and --rounds have to be more than 0", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    names = chosen(arguments.workloads, [workload.name for workload in WORKLOADS], "workload")
    wanted = chosen(arguments.ways, [way.name for way in WAYS], "way")
    ways = [way for way in WAYS if way is OFF or way.name in wanted]
    progress = Progress()
    kept: list[Row] = []
    print(f"{machine()}; {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(line(_HEAD), flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            with table_servers(folder) as servers:
                for workload in (one for one in WORKLOADS if one.name in names):
                    seen = {way.name: Seen() for way in ways}
                    for number in range(arguments.rounds):
                        progress.say(f"{workload.name}: round {number + 1}")
                        ports = servers[workload.servers]
                        measure(ways, workload, ports, folder, arguments.seconds, seen)
                    progress.end()
                    for way in ways:
                        texts = row(workload.name, way, seen[way.name], seen[OFF.name])
                        print(line(texts), flush=True)
                        kept += seen[way.name].rows(workload.name, way.name, seen[OFF.name])
    except WrongReply as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    keep(arguments.json, "watching", kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
