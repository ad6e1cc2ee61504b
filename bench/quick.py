"""All that a change is likely to move, in under two minutes: throughput, DNS and start-up.

    python3 bench/quick.py
    python3 bench/quick.py --parts throughput,dns --json FILE

Few workloads, few peers and short rounds of what `bench/throughput.py`, `bench/dns.py` and
`bench/startup.py` measure: good for a first look, and to see a regression of a fifth. For less than
that, measure in alternating rounds with another checkout (`bench/cpu.py`). Peers and programs that
are missing are left out, with a line for each. A wrong reply ends the run with exit code 1.

Not here: the measurements, and pages.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dns
import dnsperf
import startup
import throughput
from dns_balancers import look_in_sbin, missing, peers_here
from load import WrongReply
from report import as_text, rows_of
from results import Row, add_flag, keep, machine
from terminal import Progress, chosen
from workloads import WORKLOADS, table_servers

ASKED = ("1", "1x100", "50x100")
SYSTEMS = ["ours", "streams", "uvbatched", "relay"]
IN_FLIGHT = 20


class Quick:
    """Settings that all parts share."""

    def __init__(self, folder: Path, seconds: float, rounds: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.rounds = rounds
        self.progress = Progress()

    def show(self, text: str) -> None:
        self.progress.end()
        print(text, flush=True)


def lines(quick: Quick) -> list[Row]:
    """Measure throughput of lines. Raises WrongReply."""
    rows = []
    systems = throughput.systems_here(SYSTEMS, quick.folder)
    with table_servers(quick.folder) as servers:
        for one in (one for one in WORKLOADS if one.name in ASKED):
            ports = servers[one.servers]
            cells = throughput.compare(
                one, systems, ports, quick.folder, quick.seconds, quick.rounds, quick.progress.say
            )
            quick.show(as_text(cells, first=not rows))
            rows += rows_of(cells, {}, {})
    return rows


def queries(quick: Quick) -> list[Row]:
    """Measure DNS with few queries in flight; nothing without dnsperf. Raises Wrong."""
    look_in_sbin()
    if why := missing("dnsperf"):
        quick.show(f"without DNS {why}")
        return []
    with dns.staged(quick.folder, peers_here("dnsmasq")) as stage:
        say = quick.progress.say
        seen = dns.measure(stage, [IN_FLIGHT], quick.seconds, quick.rounds, say)
    sums = seen.summaries()
    rows = [one.line(load, name, sums["ours", load]) for (name, load), one in sums.items()]
    quick.show("\n".join(["", *dnsperf.HEAD, *rows]))
    return seen.rows("DNS, ")


def starts(quick: Quick) -> list[Row]:
    """Measure start-up, three times as often: its rounds are short."""
    took = startup.measure(quick.folder, 3 * quick.rounds, quick.progress.say)
    quick.show(f"\n{startup.table(took)}")
    return startup.rows_of(took)


PARTS: dict[str, Callable[[Quick], list[Row]]] = {
    "throughput": lines, "dns": queries, "startup": starts,
}  # fmt: skip


def main() -> int:
    """Measure, print tables; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=0.6, metavar="S", help="of each (%(default)s)")
    add("--rounds", type=int, default=3, metavar="N", help="of each (%(default)s)")
    add("--parts", metavar="A,B", help=f"of {', '.join(PARTS)} (all)")
    add_flag(parser)
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or arguments.rounds < 1:
        print("--seconds and --rounds have to be more than 0", file=sys.stderr)
        return 2
    parts = chosen(arguments.parts, list(PARTS), "part")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    began = time.monotonic()
    rows: list[Row] = []
    print(f"{machine()}; {arguments.rounds} rounds of {arguments.seconds:g} s", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            for part in parts:
                quick = Quick(Path(name), arguments.seconds, arguments.rounds)
                rows += PARTS[part](quick)
    except (WrongReply, dnsperf.Wrong, RuntimeError) as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    print(f"\n{time.monotonic() - began:.0f} s in all")
    keep(arguments.json, "quick", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
