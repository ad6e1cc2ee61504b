"""CPU that a lookup costs LS, of this checkout and of another.

    python3 bench/cpu.py --before DIR
    python3 bench/cpu.py --before DIR --only "1x100,dns 20" --rounds 5

Each round starts an LS of each checkout in front of the same servers and drives them with the same
load in alternating turns (`bench/pairs.py`). The ratio of a round is this checkout to the other:
below 1 is cheaper. Look at the median of 21 ratios and at their quartiles; two equal checkouts show
how much of a difference is noise.

Lines go to two of our table servers with half of the names each; `dns` to two with all of them,
and `resolver` to one fast fake resolver (`bench/peers/late.c`), over UDP, asked by dnsperf. The
table servers are of this checkout, for both. Without dnsperf or a C compiler only lines are
measured, and a message says so.

Every reply is checked; a wrong one ends the run with exit code 1. There is no bound: the author of
a change judges the ratio. Not here: throughput, and other programs (`bench/throughput.py`).
"""

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pairs
from dns_balancers import NAMES as DNS_NAMES
from dns_balancers import address, missing
from dnsperf import Wrong, codes, dnsperf, metric
from first_good_stage import one_odd
from load import Load, WrongReply
from pairs import Ask
from results import Row, add_flag, keep, machine
from systems import ROOT, free_port, node, running
from terminal import Progress, chosen
from workloads import NAMES, WORKLOADS, names_and_answers, table_servers

_WARM_S = 0.15
_LOST_S = 5  # how long dnsperf waits for a reply
LINES = ("1", "1x100", "50x100")
DNS = ("dns 20", "dns 100", "resolver 20", "resolver 100")  # in flight


@dataclass(frozen=True)
class Workload:
    """Arguments of LS besides its ports, and the load: `load(port)` drives an LS there. `flag`:
    that of LS for this port; lines without."""

    words: tuple[object, ...]
    load: Callable[[int], Ask]
    flag: str = ""

    @contextlib.contextmanager
    def started(self, root: Path) -> Iterator[tuple[int, Ask]]:
        """Start and warm up an LS of that checkout; yield its process and the load on it."""
        port = free_port() if self.flag else 0
        words = (self.flag, port) if self.flag else ()
        with running(node("ls", 0, *self.words, *words), root) as ls:
            pairs.move_to_core_of_ls(ls.pid)
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


def dns(
    words: tuple[object, ...], queries: Path, in_flight: int, *more: str, flag: str = "--dns"
) -> Workload:
    """Return a load of dnsperf, which gets `more` words, with so many in flight. Raises Wrong."""

    def load(port: int) -> Ask:
        def ask(seconds: float) -> int:
            lasting = ("-l", f"{seconds:g}", "-t", str(_LOST_S))
            said = dnsperf(port, queries, in_flight, *lasting, *more)
            if list(codes(said)) != ["NOERROR"]:
                raise Wrong(said)
            return int(metric(said, r"Queries completed:\s+(\d+)"))

        return ask

    return Workload(words, load, flag)


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


def main() -> int:
    """Measure, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--before", type=Path, required=True, metavar="DIR", help="another checkout")
    add("--only", metavar="A,B", help=f"of {', '.join((*LINES, *DNS))} (all)")
    add("--rounds", type=int, default=pairs.ROUNDS, metavar="N", help="(default %(default)s)")
    add("--seconds", type=float, default=pairs.SECONDS, metavar="S", help="of each (%(default)s)")
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
    pairs.leave_core_of_ls()
    progress = Progress()
    kept: list[Row] = []
    print(f"{machine()}; {arguments.rounds} rounds of {arguments.seconds:g} s")
    print(f"{'':12}  {'µs':>7}  {'before':>7}  {'ratio':>6}  {'quartiles':>14}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            with workloads(Path(folder), names) as found:
                for name, workload in found.items():
                    seen = []
                    ways = (partial(workload.started, root) for root in (ROOT, before))
                    for costs in pairs.compare(*ways, arguments.rounds, arguments.seconds):
                        seen.append(costs)
                        progress.say(f"{name}: {len(seen)} of {arguments.rounds}")
                    progress.end()
                    middle = pairs.Summary.of(seen)
                    print(row(name, middle), flush=True)
                    kept += middle.rows(name, "ours", "before")
    except (Wrong, WrongReply) as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    keep(arguments.json, "cpu", kept)
    return 0


def row(name: str, one: pairs.Summary) -> str:
    """Format a workload's line of the table."""
    costs = f"{one.ours_us:7.2f}  {one.other_us:7.2f}  {one.middle:6.3f}"
    return f"{name:12}  {costs}  {one.low:.3f} to {one.high:.3f}"


if __name__ == "__main__":
    sys.exit(main())
