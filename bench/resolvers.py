"""LS in front of resolvers, compared with others that ask several and keep one answer.

    python3 bench/resolvers.py --results bench/RESOLVERS.md

Four experiments, each with ours, dnsmasq (`--all-servers`) and smartdns (`fastest-response`) in
front of the same two resolvers, caches off:

- *throughput*: two real servers (Knot DNS) with the same 10,000 names, dnsperf asks; dnsdist and
  unbound, in front of one of the two, are there for reference;
- *fails fast*: one resolver says SERVFAIL to everything after 1 ms, the other is good after
  30 ms;
- *dead*: one resolver never replies, the other is good at once; some names do not exist;
- *spoofed* (ours only): beside the good replies an attacker sends 10,000 forged ones
  a second for names to which the resolver never replies.

But for dnsperf the load is an open one: each query is sent at its time, whatever became of those
before. Not here: the resolvers that are late, dead or forged (`bench/resolver.py`).
"""

import argparse
import contextlib
import os
import random
import select
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
from dataclasses import dataclass, field
from pathlib import Path

from dns import Wrong, address, all_servers, ask, judge, serving, smart, version
from report import machine
from resolver import CODES, FORGED
from systems import HERE, cpu_s, free_port, node
from terminal import Progress, chosen

NAMES = 10_000
PACKAGES = {
    "dnsmasq": "dnsmasq-base", "smartdns": "smartdns", "knotd": "knot", "dnsdist": "dnsdist",
    "unbound": "unbound", "dnsperf": "dnsperf",
}  # fmt: skip
THROUGHPUT_LEAST, THROUGHPUT_GOAL = 1.2, 1.5
GOOD_P99_MS = 60.0
DEAD_P99_MS = 2.0  # more than the good one alone
SLOWED_MAX = 1.2
IN_FLIGHT = "20,100"
PARTS = ["throughput", "fails", "dead", "guesses"]
_WAIT_S = 3.0  # for the last replies
_NAME_OF = {code: name for name, code in CODES.items()}


# -- balancers -------------------------------------------------------------------------------------


@contextlib.contextmanager
def ours(upstreams: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start our LS; yield its port and process ID."""
    port = free_port()
    words = [word for upstream in upstreams for word in ("--dns-upstream", f"127.0.0.1:{upstream}")]
    with serving([*node("ls", 0, "--dns", port, *words)], port) as pid:
        yield port, pid


@contextlib.contextmanager
def one_dnsdist(upstreams: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start dnsdist in front of the first resolver; yield its port and process ID."""
    port = free_port()
    path = folder / "dnsdist.conf"
    path.write_text(
        f'setLocal("127.0.0.1:{port}")\n'
        f'newServer{{address="127.0.0.1:{upstreams[0]}", healthCheckMode="up"}}\n'
        "setMaxUDPOutstanding(65535)\nsetSecurityPollSuffix('')\n"
    )
    with serving(["dnsdist", "-C", str(path), "--supervised"], port) as pid:
        yield port, pid


@contextlib.contextmanager
def one_unbound(upstreams: list[int], folder: Path) -> Iterator[tuple[int, int]]:
    """Start an unbound that forwards to the first resolver, without a cache."""
    port = free_port()
    path = folder / "unbound.conf"
    path.write_text(
        f"""server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: "{folder / "unbound.log"}"
    pidfile: ""
    chroot: ""
    username: ""
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    msg-cache-size: 0
    rrset-cache-size: 0
    cache-max-ttl: 0
    outgoing-range: 8192
    num-queries-per-thread: 4096
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{upstreams[0]}
"""
    )
    with serving(["unbound", "-d", "-c", str(path)], port) as pid:
        yield port, pid


Balancer = Callable[[list[int], Path], contextlib.AbstractContextManager[tuple[int, int]]]
RACERS: dict[str, Balancer] = {
    "ours": ours,
    "dnsmasq --all-servers": all_servers,
    "smartdns": smart,
}
SINGLES: dict[str, Balancer] = {"dnsdist (one)": one_dnsdist, "unbound (one)": one_unbound}
PROGRAM = {
    "dnsmasq --all-servers": "dnsmasq", "smartdns": "smartdns", "dnsdist (one)": "dnsdist",
    "unbound (one)": "unbound",
}  # fmt: skip


# -- resolvers -------------------------------------------------------------------------------------


@contextlib.contextmanager
def knots(folder: Path) -> Iterator[list[int]]:
    """Start two real servers with the same zone; yield their ports."""
    zone = folder / "example.zone"
    records = "".join(f"n{n} A {'.'.join(map(str, address(n)))}\n" for n in range(NAMES))
    zone.write_text(
        "$ORIGIN example.\n$TTL 3600\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
        + records
    )
    (folder / "queries").write_text("".join(f"n{n}.example A\n" for n in range(NAMES)))
    with contextlib.ExitStack() as stack:
        ports = []
        for number in range(2):
            home = folder / f"knot{number}"
            home.mkdir()
            ports.append(free_port())
            path = home / "knot.conf"
            path.write_text(
                f"""server:
    listen: 127.0.0.1@{ports[-1]}
    rundir: {home}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {home}
zone:
  - domain: example.
    file: {zone}
    zonefile-sync: -1
    journal-content: none
"""
            )
            stack.enter_context(serving(["knotd", "-c", str(path)], ports[-1]))
        yield ports


@contextlib.contextmanager
def late(
    *words: object, program: tuple[str, ...] = (sys.executable, str(HERE / "resolver.py"))
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start `bench/resolver.py`, or another program; yield its port and process."""
    process = subprocess.Popen([*program, *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rsplit(":", 1)[1]), process
    finally:
        process.kill()
        process.communicate()


# -- an open load ----------------------------------------------------------------------------------


@dataclass
class Seen:
    """Results of queries: ms of those that had a reply, by code; how many were forged."""

    took_ms: dict[str, list[float]] = field(default_factory=dict)
    lost: int = 0
    forged: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)  # when asked, and for how long

    def count(self, code: str) -> int:
        return len(self.took_ms.get(code, []))

    def total(self) -> int:
        return sum(map(len, self.took_ms.values())) + self.lost

    def quantile(self, code: str, share: float) -> float:
        """Return a quantile of the latencies of a code, in ms; NaN when there are none."""
        took = sorted(self.took_ms.get(code, []))
        return took[min(len(took) - 1, int(share * len(took)))] if took else float("nan")

    def add(self, other: "Seen") -> None:
        for code, took in other.took_ms.items():
            self.took_ms.setdefault(code, []).extend(took)
        self.lost += other.lost
        self.forged += other.forged


def query(number: int, label: bytes) -> bytes:
    """Make a query for the address of this name."""
    head = struct.pack(">6H", number, 0x100, 1, 0, 0, 0)
    return head + bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


def offer(port: int, labels: list[bytes], rate: float) -> Seen:
    """Ask for these at `rate` a second; no reply `_WAIT_S` after the last question is a loss."""
    assert len(labels) < 65_536
    seen = Seen()
    sent_at: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        began = time.perf_counter()
        number = 0
        while True:
            now = time.perf_counter()
            while number < len(labels) and began + number / rate <= now:
                sent_at[number] = time.perf_counter()
                client.send(query(number, labels[number]))
                number += 1
            if number == len(labels):
                until = began + number / rate + _WAIT_S
                if not sent_at or now > until:
                    break
            else:
                until = began + number / rate
            if not select.select([client], [], [], max(0.0, until - now))[0]:
                continue
            while True:
                try:
                    said = client.recv(4096)
                except BlockingIOError:
                    break
                at = sent_at.pop(int.from_bytes(said[:2]), None)
                if at is None:
                    continue
                code = _NAME_OF[said[3] & 15]
                if code == "NOERROR" and not said[7]:
                    code = "NODATA"
                took_s = time.perf_counter() - at
                seen.took_ms.setdefault(code, []).append(took_s * 1000)
                seen.waits.append((at, took_s))
                seen.forged += socket.inet_aton(FORGED) in said
    seen.lost = len(sent_at)
    return seen


# -- the four experiments --------------------------------------------------------------------------


def throughput(
    folder: Path, seconds: float, rounds: int, loads: list[int], progress: Progress
) -> list[str]:
    """Measure throughput with two Knot DNS; return lines of the page. Raises Wrong."""
    rates: dict[tuple[str, int], list[float]] = {}
    more: dict[tuple[str, int], list[tuple[float, float]]] = {}
    names = {**RACERS, **SINGLES}
    with knots(folder) as upstreams:
        for number in range(rounds):
            turn = number % len(names)
            for name in [*list(names)[turn:], *list(names)[:turn]]:
                with names[name](upstreams, folder) as (port, pid):
                    queries = folder / "queries"
                    ask(port, queries, seconds / 4, loads[0])
                    for load in loads:
                        progress.say(f"throughput, round {number + 1}, {name}, {load} in flight")
                        before = cpu_s(pid)
                        said = ask(port, queries, seconds, load)
                        one = judge(name, said, cpu_s(pid) - before)
                        rates.setdefault((name, load), []).append(one.queries_per_s)
                        more.setdefault((name, load), []).append((one.lost / one.sent, one.cpu_us))
    middle = {key: statistics.median(seen) for key, seen in rates.items()}
    lines = [
        "## Throughput",
        "",
        f"Two Knot DNS with {NAMES:,} names; dnsperf, 10 clients, {rounds} alternating rounds of "
        f"{seconds:g} s, medians.",
        "Balancers marked (one) ask only one of the two.",
        "",
        "| in flight | | queries/s | from | to | ours to it | lost | CPU µs a query |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for load in loads:
        for name in names:
            seen = rates[name, load]
            lost, cpu = (statistics.median(each) for each in zip(*more[name, load], strict=True))
            lines.append(
                f"| {load} | {name} | {middle[name, load]:,.0f} | {min(seen):,.0f} "
                f"| {max(seen):,.0f} | {middle['ours', load] / middle[name, load]:.2f} "
                f"| {lost:.3%} | {cpu:.1f} |"
            )
    peer = "dnsmasq --all-servers"
    if peer in names:
        ratios = {load: middle["ours", load] / middle[peer, load] for load in loads}
        least = min(ratios.values())
        said = "reached" if least >= THROUGHPUT_GOAL else "NOT reached"
        lines += [
            "",
            f"Ours shall be {THROUGHPUT_LEAST} times dnsmasq, and the goal is {THROUGHPUT_GOAL}: "
            + ", ".join(f"{ratio:.2f} at {load}" for load, ratio in ratios.items())
            + f" ({said}).",
        ]
    return lines


def fails_fast(folder: Path, seconds: float, rounds: int, progress: Progress) -> list[str]:
    """Measure with a resolver that fails after 1 ms, and one that is good after 30."""
    rate, seen = 200.0, {name: Seen() for name in RACERS}
    for number in range(rounds):
        for name in RACERS:
            with contextlib.ExitStack() as stack:
                bad, _ = stack.enter_context(late("--code", "SERVFAIL", "--delay-ms", 1))
                good, _ = stack.enter_context(late("--delay-ms", 30))
                port, _ = stack.enter_context(RACERS[name]([bad, good], folder))
                progress.say(f"one fails fast, round {number + 1}, {name}")
                labels = [b"n%d" % n for n in range(int(rate * seconds))]
                seen[name].add(offer(port, labels, rate))
    lines = [
        "",
        "## One fails fast",
        "",
        "One says SERVFAIL to everything after 1 ms, the other has the answer after 30 ms; "
        f"{rate:g} different names a second, {rounds} rounds of {seconds:g} s.",
        "",
        "| | good | SERVFAIL | lost | p50 ms | p99 ms | slowest ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in seen.items():
        p50, p99, most = (one.quantile("NOERROR", share) for share in (0.5, 0.99, 1.0))
        lines.append(
            f"| {name} | {one.count('NOERROR') / one.total():.2%} "
            f"| {one.count('SERVFAIL') / one.total():.2%} | {one.lost / one.total():.2%} "
            f"| {p50:.1f} | {p99:.1f} | {most:.1f} |"
        )
    mine = seen["ours"]
    is_good = mine.count("NOERROR") == mine.total()
    is_fast = mine.quantile("NOERROR", 0.99) < GOOD_P99_MS
    said = "kept" if is_good and is_fast else "NOT kept"
    lines += ["", f"Ours shall be 100 % good with a p99 under {GOOD_P99_MS:g} ms: {said}."]
    return lines


def one_is_dead(folder: Path, seconds: float, rounds: int, progress: Progress) -> list[str]:
    """Measure with a dead resolver, and a good one; every tenth name does not exist."""
    rate = 500.0
    ways: dict[str, Balancer | None] = {"the good one, asked directly": None}
    ways |= {f"{name}, the good one alone": racer for name, racer in RACERS.items()}
    ways |= {f"{name}, both": racer for name, racer in RACERS.items()}
    seen = {way: Seen() for way in ways}
    labels = [b"x%d" % n if n % 10 == 9 else b"n%d" % n for n in range(int(rate * seconds))]
    for number in range(rounds):
        for way, racer in ways.items():
            with contextlib.ExitStack() as stack:
                good, _ = stack.enter_context(late("--delay-ms", 1))
                dead, _ = stack.enter_context(late("--dead"))
                upstreams = [dead, good] if way.endswith("both") else [good]
                port = good
                if racer is not None:
                    port, _ = stack.enter_context(racer(upstreams, folder))
                progress.say(f"one is dead, round {number + 1}, {way}")
                seen[way].add(offer(port, labels, rate))
    lines = [
        "",
        "## One is dead",
        "",
        "One never replies, the other has the answer after 1 ms; every tenth name does not exist; "
        f"{rate:g} names a second, {rounds} rounds of {seconds:g} s.",
        "",
        "| | replies | data p50 ms | p99 ms | NXDOMAIN p50 ms | p99 ms | slowest ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for way, one in seen.items():
        metrics = [
            one.quantile(code, share)
            for code, share in (
                ("NOERROR", 0.5), ("NOERROR", 0.99), ("NXDOMAIN", 0.5), ("NXDOMAIN", 0.99),
                ("NXDOMAIN", 1.0),
            )
        ]  # fmt: skip
        cells = " | ".join(f"{metric:.2f}" for metric in metrics)
        lines.append(f"| {way} | {1 - one.lost / one.total():.2%} | {cells} |")
    mine, alone = seen["ours, both"], seen["ours, the good one alone"]
    beyond = mine.quantile("NOERROR", 0.99) - alone.quantile("NOERROR", 0.99)
    slowest = mine.quantile("NXDOMAIN", 1.0)
    said = "kept" if beyond <= DEAD_P99_MS else "NOT kept"
    lines += [
        "",
        f"The p99 of data shall be within {DEAD_P99_MS:g} ms of the good one alone: "
        f"{beyond:+.2f} ms, {said}. NXDOMAIN waits for the dead one until it has left 16 questions "
        f"without a reply, for a grace of 100 ms each; the slowest took {slowest:.1f} ms, and "
        "later ones do not wait.",
    ]
    return lines


def one_guesses(folder: Path, seconds: float, progress: Progress) -> list[str]:
    """Measure with forged replies beside good ones; ours only."""
    rate = 500.0
    lines = [
        "",
        "## One is spoofed",
        "",
        "The resolver has the answer after 10 ms, and never replies to every tenth name; an "
        f"attacker sends 10,000 forged replies a second for such a name, for {seconds:g} s. "
        "`blind` guesses port and ID, as an attacker off the path must; `knowing` reads the "
        "ports from the kernel.",
        "",
        "| attacker | forged | believed | p50 ms | p99 ms |",
        "|---|---:|---:|---:|---:|",
    ]
    labels = [
        b"lost%d" % n if n % 10 == 9 else b"n%d" % random.randrange(NAMES)
        for n in range(int(rate * seconds))
    ]
    p50: dict[str, float] = {}
    believed: dict[str, int] = {}
    for attacker in ("none", "blind", "knowing"):
        words = [] if attacker == "none" else ["--forge", attacker, "--rate", 10_000]
        total, sent = Seen(), 0
        with late("--delay-ms", 10, *words) as (upstream, process), ours([upstream], folder) as at:
            for start in range(0, len(labels), 60_000):
                progress.say(f"spoofed, {attacker}, {start / rate:.0f} of {seconds:.0f} s")
                total.add(offer(at[0], labels[start : start + 60_000], rate))
            process.terminate()
            assert process.stdout is not None
            sent = int(process.stdout.readline())
        p50[attacker] = total.quantile("NOERROR", 0.5)
        believed[attacker] = total.forged
        lines.append(
            f"| {attacker} | {sent:,} | {total.forged} | {p50[attacker]:.2f} "
            f"| {total.quantile('NOERROR', 0.99):.2f} |"
        )
    slowed = p50["blind"] / p50["none"]
    is_kept = not believed["blind"] and slowed <= SLOWED_MAX
    lines += [
        "",
        f"None shall be believed, and replies not be slowed by more than {SLOWED_MAX - 1:.0%}: "
        f"{believed['blind']} believed, {slowed - 1:+.1%} in the median: "
        f"{'kept' if is_kept else 'NOT kept'}.",
    ]
    return lines


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each (3)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each (3)")
    parser.add_argument(
        "--in-flight", default=IN_FLIGHT, metavar="N,N", help=f"of dnsperf ({IN_FLIGHT})"
    )
    parser.add_argument(
        "--forge-seconds", type=float, default=60.0, metavar="S", help="of the attacks (60)"
    )
    parser.add_argument("--only", metavar="PART,PART", help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write the page")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has servers, and not everybody looks
    for name, program in PROGRAM.items():
        if shutil.which(program) is None:
            print(f"without {name} (Debian, as root: apt-get install {PACKAGES[program]})")
            RACERS.pop(name, None)
            SINGLES.pop(name, None)
    parts = chosen(arguments.only, PARTS, "part")
    missing = [program for program in ("knotd", "dnsperf") if shutil.which(program) is None]
    if missing and "throughput" in parts:
        packages = " ".join(PACKAGES[program] for program in missing)
        print(f"without throughput (Debian, as root: apt-get install {packages})")
        parts.remove("throughput")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    progress = Progress()
    seconds, rounds = arguments.seconds, arguments.rounds
    loads = [int(word) for word in arguments.in_flight.split(",")]
    body: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            if "throughput" in parts:
                body += throughput(folder, seconds, rounds, loads, progress)
            if "fails" in parts:
                body += fails_fast(folder, seconds, rounds, progress)
            if "dead" in parts:
                body += one_is_dead(folder, seconds, rounds, progress)
            if "guesses" in parts:
                body += one_guesses(folder, arguments.forge_seconds, progress)
        progress.end()
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    text = "\n".join([*heading(), *body, ""])
    print(text)
    if arguments.results:
        arguments.results.write_text(text)
    return 0


def heading() -> list[str]:
    """Format the beginning of the page."""
    versions = ", ".join(
        f"{words[0]} {version(words)}"
        for words in (
            ["dnsmasq", "--version"], ["smartdns", "-v"], ["dnsdist", "--version"],
            ["unbound", "-V"], ["knotd", "-V"], ["dnsperf", "-h"],
        )
        if shutil.which(words[0])
    )  # fmt: skip
    return [
        "# In front of resolvers, compared with dnsmasq and smartdns",
        "",
        "`make bench-resolvers` writes this page. Everything shares this machine; caches are off.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {versions}.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
