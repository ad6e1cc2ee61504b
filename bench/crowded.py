"""Parts of `bench/first_good.py` in which dnsperf keeps a number of queries in flight.

All balancers in alternating rounds, each of them started anew; the kernel counts the datagrams for
which a resolver's socket had no room. Not here: the programs that are measured
(`bench/first_good_stage.py`).
"""

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dns_balancers import NAMES
from dnsperf import codes, dnsperf, metric, took_ms
from first_good_stage import BEFORE, OURS, PEER, Balancer, Bench, Page, drops, one_odd, tables
from percentiles import SHARES, milliseconds
from results import Row, figures, latencies
from systems import cpu_s

# The bounds, for ours. None may be bad (any code but NOERROR) or lost in any part.
BEFORE_LEAST = {"refused": 1.0, "nxdomain": 1.0, "single": 2.0, "far": 0.9, "mixed": 0.9}
PEER_LEAST = 1.4  # times dnsmasq --all-servers
SLOWEST_S = {"refused": 0.3, "nxdomain": 0.3, "single": 0.1}

FAR_S, MIXED_S = 0.04, 0.1
_FEWER = 5  # where replies are late there are fewer questions, or it would take too long
_PRINTED = 4  # a share of the questions, once more with every query printed
_LATE_S, _LOST_S = 5, 1  # how long dnsperf waits for ours, as libc does, and for the peer


@dataclass
class Round:
    """Results of dnsperf for one balancer, and counts of that and of the kernel meanwhile."""

    queries_per_s: float
    slowest_s: float
    took_ms: dict[str, float]  # percentiles
    codes: Counter[str]
    lost: int
    cpu_us: float  # of the balancer, a query
    metrics: Counter[str]
    drops: tuple[int, int]  # of the resolvers' sockets, and of the balancer's

    @property
    def bad(self) -> int:
        return self.codes.total() - self.codes["NOERROR"]


def measure(
    start: Balancer, upstreams: list[int], folder: Path, load: int, runs: int, patience_s: int
) -> Round:
    """Start a balancer, and ask it for all names `runs` times. Raises Wrong."""
    with start(upstreams, folder) as asked:
        full, cpu = drops(upstreams)[0], cpu_s(asked.pid)
        more = ("-n", str(runs), "-t", str(patience_s))
        said = dnsperf(asked.port, folder / "queries", load, *more)
        cpu = cpu_s(asked.pid) - cpu
        at_resolvers, from_resolvers = drops(upstreams)
        metrics = asked.metrics()
        full_here = drops([asked.port])[0]
        more = ("-n", str(max(1, runs // _PRINTED)), "-t", str(patience_s), "-v")
        printed = dnsperf(asked.port, folder / "queries", load, *more)
        counted = Counter(codes(said))
        return Round(
            float(metric(said, r"Queries per second:\s+([0-9.]+)")),
            float(metric(said, r"Average Latency .*max ([0-9.]+)")),
            took_ms(printed),
            counted,
            int(metric(said, r"Queries lost:\s+(\d+)")),
            cpu / counted.total() * 1e6,
            metrics,
            (at_resolvers - full, from_resolvers + full_here),
        )


def in_turns(
    bench: Bench, part: str, upstreams: list[int], names: list[str], load: int, runs: int
) -> dict[str, list[Round]]:
    """Measure the named balancers under one load, in alternating rounds."""
    seen: dict[str, list[Round]] = {name: [] for name in names}
    for number in range(bench.rounds):
        turn = number % len(names)  # none is always the first
        for name in names[turn:] + names[:turn]:
            bench.progress.say(f"{part}, {load} in flight, round {number + 1}, {name}")
            patience_s = _LOST_S if name == PEER else _LATE_S
            start = bench.balancers[name]
            one = measure(start, upstreams, bench.folder, load, runs, patience_s)
            seen[name].append(one)
    return seen


_HEAD = (
    "| in flight | | queries/s | from | to | ours to it | bad | lost "
    f"| {' | '.join(f'{name} ms' for name in SHARES)} | slowest ms | CPU µs a query | resent "
    "| unmatched | streamed | dropped at resolvers | at it |",
    f"|---:|---|{'---:|' * (13 + len(SHARES))}",
)


def row(load: int, name: str, rounds: list[Round], mine: list[Round]) -> str:
    """Format the row of a balancer under a load: medians of rates, sums of counts."""
    rates = [one.queries_per_s for one in rounds]
    metrics = sum((one.metrics for one in rounds), Counter())
    counts = [f"{metrics[key]:,}" for key in ("resent", "unmatched", "streamed")]
    cells = [
        f"{load}", name, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}",
        f"{max(rates):,.0f}", f"{statistics.median(ratios(mine, rounds)):.2f}",
        f"{sum(one.bad for one in rounds):,}", f"{sum(one.lost for one in rounds):,}",
        milliseconds(middle_ms(rounds), 1),
        f"{max(one.slowest_s for one in rounds) * 1000:,.0f}",
        f"{statistics.median(one.cpu_us for one in rounds):.1f}",
        *(counts if name != PEER else ["", "", ""]),
        *(f"{sum(one.drops[at] for one in rounds):,}" for at in (0, 1)),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def middle_ms(rounds: list[Round]) -> dict[str, float]:
    """Return the median of the rounds for each percentile."""
    return {name: statistics.median(one.took_ms[name] for one in rounds) for name in SHARES}


def rows_of(part: str, load: int, name: str, rounds: list[Round]) -> list[Row]:
    """Make the rows to keep of a balancer under a load."""
    case = f"{part}, {load} in flight"
    found = {
        "rate": (statistics.median(one.queries_per_s for one in rounds), "queries/s"),
        "bad": (sum(one.bad for one in rounds), "replies"),
        "lost": (sum(one.lost for one in rounds), "queries"),
        "slowest": (max(one.slowest_s for one in rounds) * 1000, "ms"),
        "CPU": (statistics.median(one.cpu_us for one in rounds), "µs a query"),
    }
    return figures(case, name, found) + latencies(case, name, middle_ms(rounds))


def ratios(mine: list[Round], theirs: list[Round]) -> list[float]:
    """Divide the rates, round by round."""
    return [a.queries_per_s / b.queries_per_s for a, b in zip(mine, theirs, strict=True)]


def busy(
    bench: Bench, page: Page, part: str, upstreams: list[int], loads: list[int], fewer: int = 1
) -> None:
    """Add the table of a part that dnsperf measures, and its bounds. Raises Wrong."""
    runs = max(1, bench.runs // fewer)
    names = list(bench.balancers if len(upstreams) > 1 else bench.ours())
    page.add(f"{runs * NAMES * bench.rounds:,} questions in {bench.rounds} rounds.", "", *_HEAD)
    all_seen = {load: in_turns(bench, part, upstreams, names, load, runs) for load in loads}
    for load, seen in all_seen.items():
        for name, rounds in seen.items():
            page.add(row(load, name, rounds, seen[OURS]))
            page.rows += rows_of(part, load, name, rounds)
    page.add("")
    for load, seen in all_seen.items():
        mine = seen[OURS]
        bad, lost = sum(one.bad for one in mine), sum(one.lost for one in mine)
        page.shall(f"None shall be bad or lost, of {load} in flight: {bad}, {lost}", not bad + lost)
        slowest_s = max(one.slowest_s for one in mine)
        if part in SLOWEST_S:
            said = f"The slowest shall take less than {SLOWEST_S[part]:g} s: {slowest_s:.3f}"
            page.shall(said, slowest_s < SLOWEST_S[part])
        if BEFORE in seen:
            page.ratio(BEFORE, ratios(mine, seen[BEFORE]), BEFORE_LEAST[part])
        if PEER in seen:
            page.ratio(PEER, ratios(mine, seen[PEER]), PEER_LEAST)
    page.add("")


def halves(bench: Bench, page: Page, part: str, *words: str) -> None:
    code = part.upper()
    page.head(
        f"Half of the names each, {code} for the rest",
        f"Two dnsmasq with the even and the odd of {NAMES:,} names.",
    )
    with tables(bench.folder, 2, *words) as upstreams:
        busy(bench, page, part, upstreams, bench.loads)


def refused(bench: Bench, page: Page) -> None:
    halves(bench, page, "refused")


def nxdomain(bench: Bench, page: Page) -> None:
    halves(bench, page, "nxdomain", "--local=/example/")


def single(bench: Bench, page: Page) -> None:
    page.head("One resolver", f"One dnsmasq with {NAMES:,} names.")
    with tables(bench.folder, 1) as upstreams:
        busy(bench, page, "single", upstreams, [500])


def far(bench: Bench, page: Page) -> None:
    page.head("A distant resolver", f"It replies after {FAR_S * 1000:g} ms.")
    with one_odd(bench.folder, "--delay", FAR_S * 1000) as upstreams:
        busy(bench, page, "far", upstreams, [500], _FEWER)


def mixed(bench: Bench, page: Page) -> None:
    page.head(
        "A resolver that is sometimes late",
        f"It replies to a fifth of the names after {MIXED_S * 1000:g} ms, to the others at once.",
    )
    with one_odd(bench.folder, "--delay", MIXED_S * 1000, "--fifth") as upstreams:
        busy(bench, page, "mixed", upstreams, [500], _FEWER)
