"""LS as a DNS server, compared with others in front of the same names.

    python3 bench/dns.py --results bench/DNS.md

Each balancer stands in front of two servers with the same names: ours in front of two of our TSs,
those of `bench/dns_balancers.py` in front of two dnsmasq, the simplest servers that they can have.
dnsperf asks, with the same queries, in alternating rounds; results are medians of the rounds. CPU
is of the balancer alone. Each round starts every balancer anew and gives it one load after the
other: how many queries are in flight matters more than anything else.

dnsperf looks at codes only, so some addresses are asked for and compared beforehand, one after the
other; the time of a single query comes from there. (With fewer than about twenty in flight dnsperf
naps between replies, whatever it asks, and measures itself.) A wrong code, a wrong address, or more
than one query in 5,000 lost by ours ends it with exit code 1. Not here: whether each reply is right
in full (`tests/tools/test_dns_tools.py`).
"""

import argparse
import contextlib
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dnsperf
from dns_balancers import (
    DNSMASQ,
    NAMES,
    SMARTDNS,
    Balancer,
    address,
    dnsmasq,
    look_in_sbin,
    missing,
    peers_here,
    query,
    serving,
    versions,
)
from dnsperf import Wrong
from percentiles import milliseconds, percentiles
from pictures import draw_dns
from results import Row, add_flag, keep, latencies, machine
from systems import free_port, node, running
from terminal import Progress

LOST_MAX = 1 / 5_000
BOUNDS = {DNSMASQ: 2.5, SMARTDNS: 1.2}  # how many times as many ours shall be
IN_FLIGHT = "20,100,500"  # dnsperf's own choice is 100
_CHECKED = range(0, NAMES, NAMES // 500)


@contextlib.contextmanager
def ours(ports: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start our LS as a DNS server in front of these TSs; yield its port and process ID."""
    port = free_port()
    words = [word for ts in ports for word in ("127.0.0.1", ts)]
    with serving([*node("ls", 0, *words, "--dns", port)], port) as pid:
        yield port, pid


@dataclass(frozen=True)
class Stage:
    """The balancers, and the servers behind them: our TSs behind ours, dnsmasq behind others."""

    folder: Path
    balancers: dict[str, Balancer]
    ts_ports: list[int]
    dns_ports: list[int]

    def started(self, name: str) -> contextlib.AbstractContextManager[tuple[int, int]]:
        ports = self.ts_ports if name == "ours" else self.dns_ports
        return self.balancers[name](ports, self.folder)


@contextlib.contextmanager
def staged(folder: Path, peers: dict[str, Balancer]) -> Iterator[Stage]:
    """Start two of our TSs, and two dnsmasq if there are peers, with the same names."""
    rows = [(f"n{n}.example", ".".join(map(str, address(n)))) for n in range(NAMES)]
    table, hosts = folder / "table", folder / "hosts"
    table.write_text("".join(f"{name} {address} A\n" for name, address in rows))
    hosts.write_text("".join(f"{address} {name}\n" for name, address in rows))
    (folder / "queries").write_text("".join(f"{name} A\n" for name, _ in rows))
    with contextlib.ExitStack() as stack:
        ts_ports, dns_ports = [], []
        for _ in range(2):
            words = node("ts", 0, "--table", table, "--answer-unknown")
            ts_ports.append(stack.enter_context(running(words)).port)
            if peers:
                dns_ports.append(free_port())
                words = dnsmasq(dns_ports[-1], f"--addn-hosts={hosts}")
                stack.enter_context(serving(words, dns_ports[-1]))
        yield Stage(folder, {"ours": ours, **peers}, ts_ports, dns_ports)


def check(name: str, port: int) -> list[float]:
    """Compare the addresses of some names, asked alone; return ms for each. Raises Wrong."""
    took_ms = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", port))
        for number in _CHECKED:
            began = time.perf_counter()
            client.send(query(number))
            said = client.recv(512)
            took_ms.append((time.perf_counter() - began) * 1000)
            right = said[:2] == number.to_bytes(2) and said[3] & 15 == 0 and said[6:8] == b"\0\1"
            if not right or said[-4:] != address(number):
                raise Wrong(f"{name}: n{number}.example is {said.hex()}")
    return took_ms


@dataclass
class Seen:
    """Results of all rounds: of dnsperf by balancer and queries in flight, and of queries alone."""

    loads: list[int]
    rounds: dict[tuple[str, int], list[dnsperf.Round]] = field(default_factory=dict)
    alone_ms: dict[str, list[float]] = field(default_factory=dict)

    def summaries(self) -> dict[tuple[str, int], dnsperf.Summary]:
        """Sum up the rounds, load by load."""
        keys = sorted(self.rounds, key=lambda key: self.loads.index(key[1]))
        return {key: dnsperf.Summary.of(self.rounds[key]) for key in keys}

    def rows(self, about: str = "") -> list[Row]:
        """Make the rows to keep; `about` stands before each case."""
        rows = []
        for (name, load), one in self.summaries().items():
            rows += one.rows(f"{about}{load} in flight", name)
        for name, took_ms in self.alone_ms.items():
            rows += latencies(f"{about}alone", name, percentiles(took_ms))
        return rows


def measure(
    stage: Stage, loads: list[int], seconds: float, rounds: int, say: Callable[[str], None]
) -> Seen:
    """Start, warm up, check and measure every balancer in alternating rounds. Raises Wrong."""
    seen = Seen(loads)
    queries = stage.folder / "queries"
    names = list(stage.balancers)
    for number in range(rounds):
        turn = number % len(names)  # none is always the first
        for name in names[turn:] + names[:turn]:
            say(f"DNS, round {number + 1}, {name}")
            with stage.started(name) as (port, pid):
                dnsperf.ask(port, queries, seconds / 4, loads[0])
                seen.alone_ms.setdefault(name, []).extend(check(name, port))
                for load in loads:
                    one = dnsperf.measure(name, port, pid, queries, seconds, load)
                    seen.rounds.setdefault((name, load), []).append(one)
    return Seen(loads, seen.rounds, {name: seen.alone_ms[name] for name in names})


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=3.0, metavar="S", help="of each (3)")
    add("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    add("--in-flight", default=IN_FLIGHT, metavar="N,N", help=f"the loads ({IN_FLIGHT})")
    add("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    loads = [int(word) for word in arguments.in_flight.split(",")]
    look_in_sbin()
    if why := missing("dnsperf"):
        print(f"no dnsperf here {why}", file=sys.stderr)
        return 2
    peers = peers_here("dnsmasq")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    progress = Progress()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            with staged(Path(name), peers) as stage:
                seen = measure(stage, loads, arguments.seconds, arguments.rounds, progress.say)
        progress.end()
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    text = page(seen, arguments.results)
    print(text)
    keep(arguments.json, "dns", seen.rows())
    if arguments.results:
        arguments.results.write_text(text)
    sums = seen.summaries()
    return 0 if all(sums["ours", load].lost <= LOST_MAX for load in loads) else 1


def page(seen: Seen, results: Path | None) -> str:
    """Format the page."""
    sums = seen.summaries()
    lines = [
        "# Serving DNS, compared with dnsmasq, smartdns, dnsdist and unbound",
        "",
        "`make bench-dns` writes this page: dnsperf asks each balancer, which has two servers with",
        f"the same {NAMES:,} names behind it: our TSs behind ours, dnsmasq behind the others.",
        f"{dnsperf.CLIENTS} clients, {len(seen.rounds['ours', seen.loads[0]])} alternating rounds,",
        "medians; `from` and `to` are the slowest and the fastest round. The load, the balancer,",
        "and the servers share this machine. CPU is of the balancer alone. Balancers marked (one)",
        "ask only one of the two servers for each question. Percentiles are of a shorter run of",
        "the same load, in which dnsperf prints every query.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; "
        f"{versions('dnsmasq', 'smartdns', 'dnsdist', 'unbound', 'dnsperf')}.",
        "",
        *dnsperf.HEAD,
        *(one.line(load, name, sums["ours", load]) for (name, load), one in sums.items()),
        "",
        *bounds(seen.loads, sums),
        "- Every reply had the code NOERROR, and each balancer, in each round, the right address "
        f"for {len(_CHECKED)} of the names.",
        "",
        "A query alone, in ms:",
        "",
        "| balancer | p50 | p99 | p99.9 |",
        "|---|---:|---:|---:|",
        *(f"| {n} | {milliseconds(percentiles(ms))} |" for n, ms in seen.alone_ms.items()),
        "",
        "Queries that the others lose found no room in their listening socket, whose buffer they",
        f"leave as the kernel makes it; each such query takes a place in flight for "
        f"{dnsperf.LOST_S} s,",
        "so they have fewer in flight than stated. With few in flight the cost is that of waking",
        "up: the few queries that a turn of LS finds share a `select` and a write to each TS.",
    ]
    if results is not None and draw_dns(seen.rows(), results.with_name("dns.svg")):
        lines += ["", "![Queries a second](dns.svg)"]
    return "\n".join([*lines, ""])


def bounds(loads: list[int], sums: dict[tuple[str, int], dnsperf.Summary]) -> list[str]:
    """Format the bounds of ours, and whether each is kept."""
    lines = []
    for name, bound in BOUNDS.items():
        ratios = {
            load: sums["ours", load].rate / sums[name, load].rate
            for load in loads
            if (name, load) in sums
        }
        if ratios:
            said = ", ".join(
                f"{ratio:.2f} at {load} ({'reached' if ratio >= bound else 'NOT reached'})"
                for load, ratio in ratios.items()
            )
            lines.append(f"- {name}: ours shall be {bound} times as many, and is {said}.")
    most = max(sums["ours", load].lost for load in loads)
    said = "kept" if most <= LOST_MAX else "NOT kept"
    lines.append(
        f"- Ours shall lose one query in {1 / LOST_MAX:,.0f} at most ({LOST_MAX:.4%}): {said}."
    )
    return lines


if __name__ == "__main__":
    sys.exit(main())
