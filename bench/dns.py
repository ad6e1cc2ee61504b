"""LS as a DNS server, compared with others that ask several servers and keep the first answer.

    python3 bench/dns.py --results bench/DNS.md

Three balancers, each in front of two servers with the same names: ours in front of two of our TSs,
dnsmasq (`--all-servers`) and smartdns (`response-mode fastest-response`) in front of two dnsmasq,
the simplest servers that they can have. Caches are off everywhere, since relaying is compared.
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
import os
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from report import machine, plotter
from systems import ROOT, cpu_s, free_port, node, running
from terminal import Progress

NAMES = 10_000
PACKAGES = {"dnsmasq": "dnsmasq-base", "smartdns": "smartdns"}
NEEDS = {"dnsmasq --all-servers": ("dnsmasq",), "smartdns": ("smartdns", "dnsmasq")}
LOST_MAX = 1 / 5_000
BOUNDS = {"dnsmasq --all-servers": 2.5, "smartdns": 1.2}  # how many times as many ours shall be
IN_FLIGHT = "20,100,500"  # dnsperf's own choice is 100
_CLIENTS = 10
_LOST_S = 1  # dnsperf gives up: a lost query takes a place in flight no longer
_CHECKED = range(0, NAMES, NAMES // 500)
_COLOURS = {"ours": "#2a7de1", "dnsmasq --all-servers": "#9aa0a6", "smartdns": "#5f6368"}


class Wrong(Exception):
    """A reply is wrong, or ours lost queries."""


@dataclass(frozen=True)
class Round:
    """Results of dnsperf for one balancer."""

    queries_per_s: float
    latency_ms: float  # the mean
    sent: int
    lost: int
    cpu_us: float  # of the balancer, a query


def dnsmasq(port: int, *words: str) -> list[str]:
    """Return the command of a dnsmasq that knows nothing but these words."""
    return [
        "dnsmasq", "--keep-in-foreground", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", "--cache-size=0", "--pid-file=",
        "--conf-file=/dev/null", "--user=root", "--log-facility=/dev/null", *words,
    ]  # fmt: skip


def address(number: int) -> bytes:
    """Return the address of the name with this number."""
    return (10 << 24 | number).to_bytes(4)


def query(number: int) -> bytes:
    """Make a query for the address of the name with this number, which is its ID, too."""
    label = f"n{number}".encode()
    head = struct.pack(">6H", number, 0x100, 1, 0, 0, 0)
    return head + bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


@contextlib.contextmanager
def serving(
    words: list[str], port: int, root: Path = ROOT, log: int = subprocess.DEVNULL
) -> Iterator[int]:
    """Start a DNS server and wait until it replies at this port; yield its process ID.

    It is started in `root`, and `log` takes its standard error. Raises RuntimeError."""
    process = subprocess.Popen(words, cwd=root, stdout=subprocess.DEVNULL, stderr=log)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect(("127.0.0.1", port))
            end = time.monotonic() + 20
            while True:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{' '.join(words)} does not serve")
                with contextlib.suppress(OSError):
                    probe.send(query(0))
                    if probe.recv(512):
                        break
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def ours(backends: "Backends") -> Iterator[tuple[int, int]]:
    """Start our LS as a DNS server; yield its port and process ID."""
    port = free_port()
    words = [word for ts in backends.ts_ports for word in ("127.0.0.1", ts)]
    with serving([*node("ls", 0, *words, "--dns", port)], port) as pid:
        yield port, pid


@contextlib.contextmanager
def all_servers(ports: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start a dnsmasq that asks all of these; yield its port and process ID."""
    port = free_port()
    servers = [f"--server=127.0.0.1#{server}" for server in ports]
    words = dnsmasq(port, "--all-servers", "--dns-forward-max=10000", *servers)
    with serving(words, port) as pid:
        yield port, pid


@contextlib.contextmanager
def smart(ports: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start a smartdns that keeps the fastest response of these; yield port and process ID."""
    port = free_port()
    lines = [
        f"bind 127.0.0.1:{port}", "cache-size 0", "speed-check-mode none",
        "response-mode fastest-response", "dualstack-ip-selection no", "log-level error",
        f"log-file {folder / 'smartdns.log'}",
        "serve-expired no", "prefetch-domain no",
        *(f"server 127.0.0.1:{server}" for server in ports),
    ]  # fmt: skip
    path = folder / "smartdns.conf"
    path.write_text("\n".join(lines) + "\n")
    words = ["smartdns", "-f", "-c", str(path), "-p", "-"]
    with serving(words, port) as pid:
        yield port, pid


BALANCERS: dict[str, Callable[["Backends"], contextlib.AbstractContextManager[tuple[int, int]]]] = {
    "ours": ours,
    "dnsmasq --all-servers": lambda behind: all_servers(behind.dns_ports, behind.folder),
    "smartdns": lambda behind: smart(behind.dns_ports, behind.folder),
}


@dataclass(frozen=True)
class Backends:
    """The servers behind all of them."""

    folder: Path
    ts_ports: list[int]
    dns_ports: list[int]


@contextlib.contextmanager
def backends(folder: Path) -> Iterator[Backends]:
    """Start two of our TSs and two dnsmasq, with the same names."""
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
            if len(BALANCERS) == 1:  # no other balancer is measured
                continue
            dns_ports.append(free_port())
            words = dnsmasq(dns_ports[-1], f"--addn-hosts={hosts}")
            stack.enter_context(serving(words, dns_ports[-1]))
        yield Backends(folder, ts_ports, dns_ports)


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


def ask(port: int, queries: Path, seconds: float, in_flight: int) -> str:
    """Run dnsperf for a time; return its output."""
    return dnsperf(port, queries, in_flight, "-l", f"{seconds:g}", "-t", str(_LOST_S))


def dnsperf(port: int, queries: Path, in_flight: int, *more: str) -> str:
    """Run dnsperf; return its output."""
    words = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries)]
    words += ["-c", str(_CLIENTS), "-q", str(in_flight), *more]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def measure(
    name: str, behind: Backends, seconds: float, loads: list[int]
) -> tuple[list[float], list[Round]]:
    """Start a balancer, warm it up, check it, measure it under each load. Raises Wrong."""
    queries = behind.folder / "queries"
    with BALANCERS[name](behind) as (port, pid):
        ask(port, queries, seconds / 4, loads[0])
        alone_ms = check(name, port)
        rounds = []
        for in_flight in loads:
            before = cpu_s(pid)
            said = ask(port, queries, seconds, in_flight)
            rounds.append(judge(name, said, cpu_s(pid) - before))
        return alone_ms, rounds


def judge(name: str, said: str, cpu: float) -> Round:
    """Read the output of dnsperf for a balancer that used `cpu` seconds. Raises Wrong."""
    completed = int(metric(said, r"Queries completed:\s+(\d+)"))
    codes = re.findall(r"([A-Z]+) (\d+) \(", metric(said, r"Response codes:\s+(.*)"))
    if [code for code, _ in codes] != ["NOERROR"]:
        raise Wrong(f"{name}: {codes}")
    lost = int(metric(said, r"Queries lost:\s+(\d+)"))
    return Round(
        float(metric(said, r"Queries per second:\s+([0-9.]+)")),
        float(metric(said, r"Average Latency \(s\):\s+([0-9.]+)")) * 1000,
        completed + lost,
        lost,
        cpu / completed * 1e6,
    )


def metric(said: str, pattern: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        raise Wrong(f"dnsperf says no {pattern!r}:\n{said}")
    return found[1]


def version(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    found = re.search(r"\d+\.\d[\w.+-]*|\d+(?=\+)", done.stdout + done.stderr)
    return found[0] if found else "?"


Seen = dict[tuple[str, int], list[Round]]  # by balancer and queries in flight


def draw(seen: Seen, loads: list[int], path: Path) -> bool:
    """Draw a bar for each balancer under each load, and its rounds.

    Returns False without matplotlib."""
    plot = plotter(path)
    if plot is None:
        return False
    names = list(dict.fromkeys(name for name, _ in seen))
    width = 0.8 / len(names)
    shape, axes = plot.subplots(figsize=(7, 3.2))
    for place, name in enumerate(names):
        for group, load in enumerate(loads):
            rates = [one.queries_per_s / 1000 for one in seen[name, load]]
            at = group + (place - (len(names) - 1) / 2) * width
            label = name if group == 0 else None
            axes.bar(at, statistics.median(rates), width * 0.9, color=_COLOURS[name], label=label)
            axes.plot([at] * len(rates), rates, "k_", markersize=8)
    axes.set_xticks(range(len(loads)), [f"{load} in flight" for load in loads])
    axes.set_ylabel("thousand queries a second\n(marks: the rounds)")
    axes.legend(fontsize=9)
    shape.tight_layout()
    shape.savefig(path, metadata={"Date": None})
    plot.close(shape)
    return True


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each (3)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    parser.add_argument(
        "--in-flight", default=IN_FLIGHT, metavar="N,N", help=f"the loads ({IN_FLIGHT})"
    )
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write the page")
    arguments = parser.parse_args()
    loads = [int(word) for word in arguments.in_flight.split(",")]
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has servers, and not everybody looks
    if shutil.which("dnsperf") is None:
        print("no dnsperf here (Debian, as root: apt-get install dnsperf)", file=sys.stderr)
        return 2
    for name, programs in NEEDS.items():
        missing = [program for program in programs if shutil.which(program) is None]
        if missing:
            packages = " ".join(PACKAGES[program] for program in missing)
            print(f"without {name} (Debian, as root: apt-get install {packages})")
            del BALANCERS[name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    progress = Progress()
    seen: Seen = {(name, load): [] for load in loads for name in BALANCERS}
    alone_ms: dict[str, list[float]] = {name: [] for name in BALANCERS}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, backends(Path(name)) as behind:
            for number in range(arguments.rounds):
                names = list(BALANCERS)
                turn = number % len(names)  # none is always the first
                for one in names[turn:] + names[:turn]:
                    progress.say(f"round {number + 1}, {one}")
                    took_ms, rounds = measure(one, behind, arguments.seconds, loads)
                    alone_ms[one] += took_ms
                    for load, what in zip(loads, rounds, strict=True):
                        seen[one, load].append(what)
            progress.end()
        text = report(seen, alone_ms, loads, arguments.results)
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    print(text)
    if arguments.results:
        arguments.results.write_text(text)
    return 0 if all(lost(seen["ours", load]) <= LOST_MAX for load in loads) else 1


def lost(rounds: list[Round]) -> float:
    """Return the share of the queries that had no reply in time."""
    return sum(one.lost for one in rounds) / sum(one.sent for one in rounds)


def report(
    seen: Seen, alone_ms: dict[str, list[float]], loads: list[int], results: Path | None
) -> str:
    """Format the page."""
    versions = ", ".join(
        f"{words[0]} {version(words)}"
        for words in (["dnsmasq", "--version"], ["smartdns", "-v"], ["dnsperf", "-h"])
        if shutil.which(words[0])
    )
    rounds = len(seen["ours", loads[0]])
    lines = [
        "# Serving DNS, compared with dnsmasq and smartdns",
        "",
        "`make bench-dns` writes this page: dnsperf asks each balancer, which has two servers with",
        f"the same {NAMES:,} names behind it: our TSs behind ours, dnsmasq behind the other two.",
        f"{_CLIENTS} clients, {rounds} alternating rounds, medians; `from` and `to` are the",
        "slowest and the fastest round. The load, the balancer and the servers share this machine.",
        "CPU is of the balancer alone.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {versions}.",
        "",
        "| in flight | balancer | queries/s | from | to | ours to it | mean ms | lost "
        "| CPU µs a query |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    middle = {key: statistics.median(o.queries_per_s for o in seen[key]) for key in seen}
    for (name, load), all_rounds in seen.items():
        rates = [one.queries_per_s for one in all_rounds]
        lines.append(
            f"| {load} | {name} | {middle[name, load]:,.0f} | {min(rates):,.0f} | {max(rates):,.0f}"
            f" | {middle['ours', load] / middle[name, load]:.2f} "
            f"| {statistics.median(one.latency_ms for one in all_rounds):.1f} "
            f"| {lost(all_rounds):.4%} "
            f"| {statistics.median(one.cpu_us for one in all_rounds):.1f} |"
        )
    lines.append("")
    for name, bound in BOUNDS.items():
        ratios = {
            load: middle["ours", load] / middle[name, load]
            for load in loads
            if (name, load) in seen
        }
        if ratios:
            said = ", ".join(
                f"{ratio:.2f} at {load} ({'reached' if ratio >= bound else 'NOT reached'})"
                for load, ratio in ratios.items()
            )
            lines.append(f"- {name}: ours shall be {bound} times as many, and is {said}.")
    most = max(lost(seen["ours", load]) for load in loads)
    said = "kept" if most <= LOST_MAX else "NOT kept"
    lines += [
        f"- Ours shall lose one query in {1 / LOST_MAX:,.0f} at most ({LOST_MAX:.4%}): {said}.",
        "- A single query takes, in the median, "
        + ", ".join(f"{name} {statistics.median(ms):.2f} ms" for name, ms in alone_ms.items())
        + ".",
        "- Every reply had the code NOERROR, and each balancer, in each round, the right address "
        f"for {len(_CHECKED)} of the names.",
        "",
        "Queries that the others lose found no room in their listening socket, whose buffer they",
        f"leave as the kernel makes it; each such query takes a place in flight for {_LOST_S} s,",
        "so they have fewer in flight than stated. With few in flight the cost is that of waking",
        "up: the few queries that a turn of LS finds share a `select` and a write to each TS.",
    ]
    if results is not None and draw(seen, loads, results.with_name("dns.svg")):
        lines += ["", "![Queries a second](dns.svg)"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
