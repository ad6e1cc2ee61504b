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

Every reply of the load is checked; a wrong one ends the run with exit code 1.
"""

import argparse
import contextlib
import errno
import json
import os
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from load import Load, Period, WrongReply
from report import machine
from systems import Process, free_port, node, running
from terminal import Progress, chosen
from workloads import WORKLOADS, Workload, table_servers

_SLICE_S = 0.25
_PATIENCE_S = 5.0
_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
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
    scrape_p99_ms: list[float] = field(default_factory=list)

    def rates(self) -> list[float]:
        return [one.lookups / one.seconds for one in self.slices]

    def quantiles_ms(self, share: float) -> list[float]:
        return [one.quantile_us(share) / 1000 for one in self.slices]


class SlicedLoad(Load):
    """A load that can rest: nothing is in flight between two slices."""

    def slice(self, seconds: float) -> Period:
        """Ask for `seconds`, and wait for the replies that are owed."""
        period = self.run(seconds)
        while any(asker.in_flight for asker in self._askers):
            self._turn(Period())
        return period


# -- the scraper, a process of its own -------------------------------------------------------------


class Scrape:
    """A request in progress."""

    def __init__(self, port: int) -> None:
        self.began = time.perf_counter()
        self.heard = b""
        self.is_asked = False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.error = self.socket.connect_ex(("127.0.0.1", port))

    def move(self) -> str:
        """Go on; return how it ended: served, refused, or not yet (empty)."""
        try:
            if not self.is_asked:
                self.is_asked = True
                self.socket.send(_REQUEST)
                return ""
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return ""
        except OSError:  # reset: it was turned away
            return "refused"
        if data:
            self.heard += data
            return ""
        if not self.heard:
            return "refused"
        head, _, body = self.heard.partition(b"\r\n\r\n")
        whole = b"Content-Length: %d\r\n" % len(body) in head
        return "served" if whole and head.startswith(b"HTTP/1.1 200 ") else "lost"


def scrape(port: int, rate: int) -> None:
    """Scrape at a rate from each `g` on standard input to the next `s`; at its end, print the
    results."""
    ended: Counter[str] = Counter()
    open_: dict[int, Scrape] = {}
    times: list[float] = []
    began = due = seconds = 0.0
    is_over = False
    while not is_over or open_:
        now = time.perf_counter()
        while began and due <= now:
            due += 1 / rate
            ended["began"] += 1
            one = Scrape(port)
            if one.error in (0, errno.EINPROGRESS):
                open_[one.socket.fileno()] = one
            else:
                ended["refused"] += 1
                one.socket.close()
        if any(one.began + _PATIENCE_S < now for one in open_.values()):
            break
        reads = [fd for fd, one in open_.items() if one.is_asked]
        writes = [fd for fd, one in open_.items() if not one.is_asked]
        inputs = [] if is_over else [0]
        wait_s = max(0.0, due - now) if began else None if inputs and not open_ else 1.0
        readable, writable, _ = select.select([*inputs, *reads], writes, [], wait_s)
        if 0 in readable:
            readable.remove(0)
            word = os.read(0, 1)
            if word == b"g":
                began = due = time.perf_counter()
            elif began:
                seconds += time.perf_counter() - began
                began = 0.0
            is_over = not word
        for fd in (*readable, *writable):
            if how := open_[fd].move():
                ended[how] += 1
                if how == "served":
                    times.append(time.perf_counter() - open_[fd].began)
                open_.pop(fd).socket.close()
    ended["lost"] += len(open_)
    p99_ms = 1000 * sorted(times)[int(0.99 * len(times))] if times else 0.0
    print(json.dumps({"ended": ended, "seconds": seconds, "p99_ms": p99_ms}))


class Scraper:
    """The scraper process. `go` and `stop` work at once; `end` returns its results."""

    def __init__(self, port: int, rate: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--scrape", str(port), str(rate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"g")

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"s")

    def end(self, seen: Seen) -> None:
        out, _ = self._process.communicate()  # which ends its input
        told = json.loads(out)
        seen.scrapes.update(told["ended"])
        seen.scraped_s += told["seconds"]
        seen.scrape_p99_ms.append(told["p99_ms"])

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


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
            self.scraper.stop()
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
                runner.scraper.end(seen[runner.way.name])


_HEAD = (
    "workload", "watched", "lookups/s", "from", "to", "x off", "p50 ms", "p99 ms", "p99 x",
    "CPU s/M", "begun/s", "served", "refused", "lost", "p99 ms",
)  # fmt: skip
_WIDTHS = (8, 14, 10, 10, 10, 6, 7, 7, 6, 7, 8, 8, 8, 5, 7)


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
    scraped = ("",) * 5
    if way.scrapes:
        scraped = (
            f"{seen.scrapes['began'] / seen.scraped_s:,.0f}",
            *(f"{seen.scrapes[how]:,}" for how in ("served", "refused", "lost")),
            f"{median(seen.scrape_p99_ms):.1f}",
        )
    return (
        workload,
        way.name,
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f}",
        f"{max(rates):,.0f}",
        f"{median(a / b for a, b in zip(rates, off.rates(), strict=True)):.3f}",
        f"{median(seen.quantiles_ms(0.5)):.2f}",
        f"{median(p99s):.2f}",
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
    add("--scrape", nargs=2, type=int, help=argparse.SUPPRESS)  # starts a scraper
    arguments = parser.parse_args()
    if arguments.scrape:
        scrape(*arguments.scrape)
        return 0
    if arguments.seconds <= 0 or arguments.rounds < 1:
        print("--seconds and --rounds have to be more than 0", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    names = chosen(arguments.workloads, [workload.name for workload in WORKLOADS], "workload")
    wanted = chosen(arguments.ways, [way.name for way in WAYS], "way")
    ways = [way for way in WAYS if way is OFF or way.name in wanted]
    progress = Progress()
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
    except WrongReply as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
