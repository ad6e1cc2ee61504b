"""The DNS face beside what else asks several servers and keeps the first answer.

    python3 bench/dns.py --results bench/DNS.md

Three balancers, each before two servers with the same names: ours before two of our TSs, dnsmasq
(`--all-servers`) and smartdns (`response-mode fastest-response`) before two dnsmasq, the simplest
servers that they can have. Caches are off everywhere: what is compared is asking. dnsperf asks,
with the same queries, in alternating rounds; figures are medians of the rounds. CPU is of the
balancer alone.

A wrong code, or more than one query in 5,000 lost by ours, ends it with exit code 1. Not here: what
is right in each reply (`tests/test_dns_tools.py`).
"""

import argparse
import contextlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from report import machine, plotter
from systems import ROOT, free_port, node, running
from terminal import Progress
from workers import cpu_s

NAMES = 10_000
NEEDED = {"dnsperf": "dnsperf", "dnsmasq": "dnsmasq-base", "smartdns": "smartdns"}
LOST_MAX = 1 / 5_000
BOUNDS = {"dnsmasq --all-servers": 2.5, "smartdns": 1.2}
_OUTSTANDING, _CLIENTS = 500, 10


class Wrong(Exception):
    """Somebody replied what is not so, or ours lost queries."""


@dataclass(frozen=True)
class Round:
    """What dnsperf saw of one balancer."""

    queries_per_s: float
    latency_ms: float  # the mean
    lost: float  # share of the queries sent
    cpu_us: float  # of the balancer, a query


def dnsmasq(port: int, *words: str) -> list[str]:
    """One that knows nothing but what it is told here."""
    return [
        "dnsmasq", "--keep-in-foreground", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", "--cache-size=0", "--pid-file=",
        "--conf-file=/dev/null", "--user=root", "--log-facility=/dev/null", *words,
    ]  # fmt: skip


@contextlib.contextmanager
def serving(words: list[str], port: int) -> Iterator[int]:
    """A program that is asked by DNS at this port; its process. It is there when it replies."""
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect(("127.0.0.1", port))
            end = time.monotonic() + 20
            while True:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{' '.join(words)} does not serve")
                with contextlib.suppress(OSError):
                    probe.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\2n0\7example\0\0\1\0\1")
                    if probe.recv(512):
                        break
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def ours(backends: "Backends") -> Iterator[tuple[int, int]]:
    """Port and process of our LS with a DNS face."""
    port = free_port()
    words = [word for ts in backends.ts_ports for word in ("127.0.0.1", ts)]
    with serving([*node("ls", 0, *words, "--dns", port)], port) as pid:
        yield port, pid


@contextlib.contextmanager
def all_servers(backends: "Backends") -> Iterator[tuple[int, int]]:
    """dnsmasq that asks all its servers."""
    port = free_port()
    servers = [f"--server=127.0.0.1#{server}" for server in backends.dns_ports]
    words = dnsmasq(port, "--all-servers", "--dns-forward-max=10000", *servers)
    with serving(words, port) as pid:
        yield port, pid


@contextlib.contextmanager
def smart(backends: "Backends") -> Iterator[tuple[int, int]]:
    """smartdns that keeps the fastest response."""
    port = free_port()
    lines = [
        f"bind 127.0.0.1:{port}", "cache-size 0", "speed-check-mode none",
        "response-mode fastest-response", "dualstack-ip-selection no", "log-level error",
        f"log-file {backends.folder / 'smartdns.log'}",
        "serve-expired no", "prefetch-domain no",
        *(f"server 127.0.0.1:{server}" for server in backends.dns_ports),
    ]  # fmt: skip
    path = backends.folder / "smartdns.conf"
    path.write_text("\n".join(lines) + "\n")
    words = ["smartdns", "-f", "-c", str(path), "-p", "-"]
    with serving(words, port) as pid:
        yield port, pid


BALANCERS: dict[str, Callable[["Backends"], contextlib.AbstractContextManager[tuple[int, int]]]] = {
    "ours": ours,
    "dnsmasq --all-servers": all_servers,
    "smartdns": smart,
}


@dataclass(frozen=True)
class Backends:
    """The servers behind all of them."""

    folder: Path
    ts_ports: list[int]
    dns_ports: list[int]


@contextlib.contextmanager
def backends(folder: Path) -> Iterator[Backends]:
    """Two of our TSs and two dnsmasq, with the same names."""
    rows = [(f"n{n}.example", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(NAMES)]
    table, hosts = folder / "table", folder / "hosts"
    table.write_text("".join(f"{name} {address} A\n" for name, address in rows))
    hosts.write_text("".join(f"{address} {name}\n" for name, address in rows))
    (folder / "queries").write_text("".join(f"{name} A\n" for name, _ in rows))
    with contextlib.ExitStack() as stack:
        ts_ports, dns_ports = [], []
        for _ in range(2):
            words = node("ts", 0, "--table", table, "--answer-unknown")
            ts_ports.append(stack.enter_context(running(words)).port)
            dns_ports.append(free_port())
            words = dnsmasq(dns_ports[-1], f"--addn-hosts={hosts}")
            stack.enter_context(serving(words, dns_ports[-1]))
        yield Backends(folder, ts_ports, dns_ports)


def ask(port: int, queries: Path, seconds: float) -> str:
    """What dnsperf says."""
    words = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries)]
    words += ["-l", f"{seconds:g}", "-c", str(_CLIENTS), "-q", str(_OUTSTANDING)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def measure(name: str, behind: Backends, seconds: float) -> Round:
    """Start one, warm it up, measure. Raises Wrong."""
    with BALANCERS[name](behind) as (port, pid):
        ask(port, behind.folder / "queries", seconds / 4)
        before = cpu_s(pid)
        said = ask(port, behind.folder / "queries", seconds)
        cpu = cpu_s(pid) - before
    completed = int(figure(said, r"Queries completed:\s+(\d+)"))
    codes = re.findall(r"([A-Z]+) (\d+) \(", figure(said, r"Response codes:\s+(.*)"))
    if [code for code, _ in codes] != ["NOERROR"]:
        raise Wrong(f"{name}: {codes}")
    lost = int(figure(said, r"Queries lost:\s+(\d+)"))
    return Round(
        float(figure(said, r"Queries per second:\s+([0-9.]+)")),
        float(figure(said, r"Average Latency \(s\):\s+([0-9.]+)")) * 1000,
        lost / (completed + lost),
        cpu / completed * 1e6,
    )


def figure(said: str, pattern: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        raise Wrong(f"dnsperf says no {pattern!r}:\n{said}")
    return found[1]


def version(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    found = re.search(r"\d+\.\d[\w.+-]*|\d+(?=\+)", done.stdout + done.stderr)
    return found[0] if found else "?"


def draw(seen: dict[str, list[Round]], path: Path) -> bool:
    """The picture: a bar for each, and its rounds. False without matplotlib."""
    plot = plotter(path)
    if plot is None:
        return False
    shape, axes = plot.subplots(figsize=(7, 2.6))
    for place, (name, rounds) in enumerate(reversed(seen.items())):
        rates = [one.queries_per_s / 1000 for one in rounds]
        axes.barh(place, statistics.median(rates), color="#2a7de1" if name == "ours" else "#9aa0a6")
        axes.plot(rates, [place] * len(rates), "k|", markersize=12)
    axes.set_yticks(range(len(seen)), list(reversed(seen)))
    axes.set_xlabel("thousand queries a second (marks: the rounds)")
    shape.tight_layout()
    shape.savefig(path)
    return True


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="of each (4)")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of each (7)")
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write what was seen")
    arguments = parser.parse_args()
    if "dnsperf" not in filter(shutil.which, NEEDED):
        print("no dnsperf here (Debian, as root: apt-get install dnsperf)", file=sys.stderr)
        return 2
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            print(f"without {program} (Debian, as root: apt-get install {package})")
            BALANCERS.pop(next(name for name in BALANCERS if program in name))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    progress = Progress()
    seen: dict[str, list[Round]] = {name: [] for name in BALANCERS}
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, backends(Path(name)) as behind:
            for number in range(arguments.rounds):
                names = list(BALANCERS)
                turn = number % len(names)  # nobody is always the first
                for one in names[turn:] + names[:turn]:
                    progress.say(f"round {number + 1}, {one}")
                    seen[one].append(measure(one, behind, arguments.seconds))
            progress.end()
        text = report(seen, arguments.results)
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    print(text)
    if arguments.results:
        arguments.results.write_text(text)
    lost = statistics.mean(one.lost for one in seen["ours"])
    return 0 if lost <= LOST_MAX else 1


def report(seen: dict[str, list[Round]], results: Path | None) -> str:
    """The page."""
    versions = ", ".join(
        f"{words[0]} {version(words)}"
        for words in (["dnsmasq", "--version"], ["smartdns", "-v"], ["dnsperf", "-h"])
        if shutil.which(words[0])
    )
    lines = [
        "# The DNS face beside dnsmasq and smartdns",
        "",
        "`make bench-dns` writes this page: dnsperf asks each balancer, which has two servers with",
        f"the same {NAMES:,} names behind it; {_CLIENTS} clients, {_OUTSTANDING} queries in flight,"
        f" {len(seen['ours'])} alternating rounds, medians.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {versions}.",
        "",
        "| balancer | queries/s | from | to | ours to it | mean ms | lost | CPU µs a query |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    middle = {name: statistics.median(o.queries_per_s for o in seen[name]) for name in seen}
    for name, rounds in seen.items():
        rates = [one.queries_per_s for one in rounds]
        lines.append(
            f"| {name} | {middle[name]:,.0f} | {min(rates):,.0f} | {max(rates):,.0f} "
            f"| {middle['ours'] / middle[name]:.2f} "
            f"| {statistics.median(one.latency_ms for one in rounds):.1f} "
            f"| {statistics.mean(one.lost for one in rounds):.4%} "
            f"| {statistics.median(one.cpu_us for one in rounds):.1f} |"
        )
    lines.append("")
    for name, bound in BOUNDS.items():
        if name in seen:
            ratio = middle["ours"] / middle[name]
            said = "reached" if ratio >= bound else "NOT reached"
            lines.append(f"- {name}: {ratio:.2f} times as many; at least {bound} wanted: {said}.")
    if results is not None and draw(seen, results.with_name("dns.svg")):
        lines += ["", "![Queries a second](dns.svg)"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
