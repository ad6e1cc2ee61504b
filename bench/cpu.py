"""CPU that a lookup costs LS, of this checkout and of another.

    python3 bench/cpu.py --before DIR
    python3 bench/cpu.py --before DIR --only "1x100,dns 20" --rounds 5

Each round starts an LS of each checkout in front of the same servers and drives them with the same
load in turns of a few tenths of a second: one, the other, the other, the one; the next round begins
with the other. A change of the machine that lasts a second therefore meets both. The CPU of LS
alone is compared, as the kernel counts it in ns (man 5 proc has only ticks of 10 ms, too few for so
short a time). The ratio of a round is this checkout to the other: below 1 is cheaper. Look at the
median of 21 ratios and at their quartiles; two equal checkouts show how much of a difference is
noise.

Lines go to two of our table servers with half of the names each; `dns` to two with all of them,
and `resolver` to one fast fake resolver (`bench/peers/late.c`), over UDP, asked by dnsperf. The
table servers are of this checkout, for both. Without dnsperf or a C compiler only lines are
measured, and a message says so.

Every reply is checked; a wrong one ends the run with exit code 1. There is no bound: the author of
a change judges the ratio. Not here: throughput, and other programs (`bench/throughput.py`).
"""

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dns_balancers import NAMES as DNS_NAMES
from dns_balancers import address, missing
from dnsperf import Wrong, codes, dnsperf, metric
from first_good_stage import one_odd
from load import Load, WrongReply
from results import Row, add_flag, figures, keep, machine
from systems import ROOT, free_port, node, running
from terminal import Progress, chosen
from workloads import NAMES, WORKLOADS, names_and_answers, table_servers

ROUNDS, SECONDS = 21, 0.5  # of each checkout in a round
_WARM_S = 0.15
_LOST_S = 5  # how long dnsperf waits for a reply
CORES = os.sched_getaffinity(0)
CORE_OF_LS = {max(CORES)}
LINES = ("1", "1x100", "50x100")
DNS = ("dns 20", "dns 100", "resolver 20", "resolver 100")  # in flight


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process of one thread has used (sched-stats of the kernel)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


Ask = Callable[[float], int]  # asks for so many seconds; returns the number of lookups


@dataclass(frozen=True)
class Workload:
    """Arguments of LS besides its ports, and the load: `load(port)` drives an LS there. `by_dns`:
    this port is that of DNS."""

    words: tuple[object, ...]
    load: Callable[[int], Ask]
    by_dns: bool = False

    @contextlib.contextmanager
    def started(self, root: Path) -> Iterator[tuple[int, Ask]]:
        """Start and warm up an LS of that checkout; yield its process and the load on it."""
        port = free_port() if self.by_dns else 0
        words = ("--dns", port) if self.by_dns else ()
        with running(node("ls", 0, *self.words, *words), root) as ls:
            os.sched_setaffinity(ls.pid, CORE_OF_LS)
            ask = self.load(port or ls.port)
            ask(_WARM_S)
            yield ls.pid, ask


def lines(servers: list[int], connections: int, window: int) -> Workload:
    """Return a load of `connections` with `window` names in flight each. Raises WrongReply."""
    names, answers = names_and_answers(NAMES)

    def load(port: int) -> Ask:
        def ask(seconds: float) -> int:
            load = Load(port, names, answers, connections=connections, window=window)
            period = load.run(seconds)
            load.finish()
            return period.lookups

        return ask

    return Workload(tuple(word for port in servers for word in ("127.0.0.1", port)), load)


def dns(words: tuple[object, ...], queries: Path, in_flight: int) -> Workload:
    """Return a load of dnsperf with so many in flight. Raises Wrong."""

    def load(port: int) -> Ask:
        def ask(seconds: float) -> int:
            more = ("-l", f"{seconds:g}", "-t", str(_LOST_S))
            said = dnsperf(port, queries, in_flight, *more)
            if list(codes(said)) != ["NOERROR"]:
                raise Wrong(said)
            return int(metric(said, r"Queries completed:\s+(\d+)"))

        return ask

    return Workload(words, load, by_dns=True)


@contextlib.contextmanager
def workloads(folder: Path, names: list[str]) -> Iterator[dict[str, Workload]]:
    """Start servers for the named workloads, and yield these by name."""
    with contextlib.ExitStack() as stack:
        found = {}
        servers = stack.enter_context(table_servers(folder))["split"]
        for one in (one for one in WORKLOADS if one.name in names):
            found[one.name] = lines(servers, one.connections, one.window)
        asked = [name for name in names if name in DNS]
        if asked:
            rows = [f"n{n}.example {'.'.join(map(str, address(n)))} A" for n in range(DNS_NAMES)]
            table, queries = folder / "dns-table", folder / "queries"
            table.write_text("\n".join(rows) + "\n")
            queries.write_text("".join(f"n{n}.example A\n" for n in range(DNS_NAMES)))
            words = node("ts", 0, "--table", table, "--answer-unknown")
            ports = [stack.enter_context(running(words)).port for _ in range(2)]
            (fake,) = stack.enter_context(one_odd(folder))
            before = {
                "dns": tuple(word for port in ports for word in ("127.0.0.1", port)),
                "resolver": ("--dns-upstream", f"127.0.0.1:{fake}"),
            }
            for name in asked:
                kind, in_flight = name.split()
                found[name] = dns(before[kind], queries, int(in_flight))
        yield found


def compare(
    workload: Workload, before: Path, rounds: int, seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield for each round the CPU in µs a lookup, of this checkout and of the other. Raises Wrong
    or WrongReply."""
    for number in range(rounds):
        first, second = (ROOT, before) if number % 2 else (before, ROOT)
        lookups, used_s = dict.fromkeys((ROOT, before), 0), dict.fromkeys((ROOT, before), 0.0)
        with workload.started(first) as one, workload.started(second) as other:
            started = {first: one, second: other}
            for root in (first, second, second, first):
                pid, ask = started[root]
                before_s = cpu_s(pid)
                lookups[root] += ask(seconds / 2)
                used_s[root] += cpu_s(pid) - before_s
        yield used_s[ROOT] / lookups[ROOT] * 1e6, used_s[before] / lookups[before] * 1e6


def main() -> int:
    """Measure, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--before", type=Path, required=True, metavar="DIR", help="another checkout")
    add("--only", metavar="A,B", help=f"of {', '.join((*LINES, *DNS))} (all)")
    add("--rounds", type=int, default=ROUNDS, metavar="N", help="(default %(default)s)")
    add("--seconds", type=float, default=SECONDS, metavar="S", help="of each (%(default)s)")
    add_flag(parser)
    arguments = parser.parse_args()
    before: Path = arguments.before.resolve()
    if not (before / "nodes" / "__main__.py").exists() or before == ROOT:
        print(f"{before} is no other checkout of photofinish", file=sys.stderr)
        return 2
    names = chosen(arguments.only, [*LINES, *DNS], "workload")
    why = missing("dnsperf", "cc")
    if why and any(name in DNS for name in names):
        print(f"without DNS {why}")
        names = [name for name in names if name not in DNS]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES - CORE_OF_LS)  # and so of all that is started from here
    progress = Progress()
    kept: list[Row] = []
    print(f"{machine()}; {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(f"{'':12}  {'µs':>7}  {'before':>7}  {'ratio':>6}  {'quartiles':>14}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            with workloads(Path(folder), names) as found:
                for name, workload in found.items():
                    seen = []
                    for costs in compare(workload, before, arguments.rounds, arguments.seconds):
                        seen.append(costs)
                        progress.say(f"{name}: {len(seen)} of {arguments.rounds}")
                    progress.end()
                    middle = summary(seen)
                    print(row(name, middle), flush=True)
                    kept += rows_of(name, middle)
    except (Wrong, WrongReply) as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    keep(arguments.json, "cpu", kept)
    return 0


@dataclass(frozen=True)
class Summary:
    """Medians of both checkouts in µs a lookup, and the median and quartiles of their ratios."""

    ours_us: float
    before_us: float
    low: float
    middle: float
    high: float


def summary(seen: list[tuple[float, float]]) -> Summary:
    """Sum up the rounds of a workload."""
    ours, theirs = (statistics.median(costs) for costs in zip(*seen, strict=True))
    ratios = [a / b for a, b in seen]
    ratios = ratios * 2 if len(ratios) == 1 else ratios  # a single ratio has no quartiles
    return Summary(ours, theirs, *statistics.quantiles(ratios, n=4, method="inclusive"))


def row(name: str, one: Summary) -> str:
    """Format a workload's line of the table."""
    costs = f"{one.ours_us:7.2f}  {one.before_us:7.2f}  {one.middle:6.3f}"
    return f"{name:12}  {costs}  {one.low:.3f} to {one.high:.3f}"


def rows_of(name: str, one: Summary) -> list[Row]:
    """Make the rows to keep of a workload."""
    found = {
        "CPU": (one.ours_us, "µs a lookup"),
        "to before": (one.middle, "times"),
        "to before, lower quartile": (one.low, "times"),
        "to before, upper quartile": (one.high, "times"),
    }
    before = Row(name, "before", "CPU", one.before_us, "µs a lookup")
    return [*figures(name, "ours", found), before]


if __name__ == "__main__":
    sys.exit(main())
