"""LS in front of resolvers, compared with others that ask several and keep one answer.

    python3 bench/resolvers.py --results bench/RESOLVERS.md

Five experiments, each with ours and the balancers of `bench/dns_balancers.py` in front of the same
two resolvers, caches off but in the last; dnsdist and unbound ask one of the two for each question:

- *throughput*: two real servers (Knot DNS) with the same 10,000 names, dnsperf asks;
- *fails fast*: one resolver says SERVFAIL to everything after 1 ms, the other is good after
  30 ms;
- *dead*: one resolver never replies, the other is good at once; some names do not exist;
- *spoofed* (ours only): beside the good replies an attacker sends 10,000 forged ones
  a second for names to which the resolver never replies;
- *cached*: as *throughput*, with caches on, and nothing but hits.

But for dnsperf the load is an open one (`bench/open_load.py`). Not here: the resolvers that are
late, dead or forged (`bench/resolver.py`).
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dnsperf
from dns_balancers import (
    DNSMASQ,
    NAMES,
    PEERS,
    UNBOUND,
    Balancer,
    look_in_sbin,
    missing,
    peers_here,
    serving,
    versions,
)
from dns_servers import knots, late, standing_still
from dnsperf import Wrong
from open_load import Seen, offer
from percentiles import SHARES, milliseconds
from results import Row, add_flag, figures, keep, latencies, machine
from systems import free_port, node
from terminal import Progress, chosen

THROUGHPUT_LEAST, THROUGHPUT_GOAL = 1.2, 1.5
GOOD_P99_MS = 60.0
DEAD_P99_MS = 2.0  # more than the good one alone
SLOWED_MAX = 1.2
IN_FLIGHT = "20,100"
PARTS = ["throughput", "fails", "dead", "guesses", "cached"]
BY_DNSPERF = {"throughput", "cached"}
CACHE_MIB, CACHE_ENTRIES = 32, 2 * NAMES  # of ours, and of the others
CACHED = f"ours, --cache {CACHE_MIB}"
# The most CPU of ours with its cache for a query, by queries in flight: to ours without; to unbound
TO_UNCACHED_MAX, TO_UNBOUND_MAX = {20: 0.6, 100: 0.77}, {20: 1.8, 100: 1.8}
_WARMINGS_MAX = 3  # the first is enough unless a query is lost
_TOOK = " | ".join(f"{name} ms" for name in SHARES)


@contextlib.contextmanager
def ours(upstreams: list[int], folder: Path, *more: object) -> Iterator[tuple[int, int]]:
    """Start our LS, with `more` arguments; yield its port and process ID."""
    port = free_port()
    words = [word for upstream in upstreams for word in ("--dns-upstream", f"127.0.0.1:{upstream}")]
    with serving(node("ls", 0, "--dns", port, *words, *more), port) as pid:
        yield port, pid


class Bench:
    """Settings that all experiments share, and the lines and rows of their results."""

    def __init__(self, folder: Path, seconds: float, rounds: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.rounds = rounds
        self.balancers: dict[str, Balancer] = {"ours": ours, **peers_here()}
        self.progress = Progress()
        self.lines: list[str] = []
        self.rows: list[Row] = []

    def in_turns(
        self, balancers: dict[str, Balancer] | None = None
    ) -> Iterator[tuple[int, str, Balancer]]:
        """Yield every balancer in each round, of these or of all; none is always the first."""
        balancers = balancers or self.balancers
        names = list(balancers)
        for number in range(self.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                yield number, name, balancers[name]


# -- the load of dnsperf ---------------------------------------------------------------------------

Summaries = dict[tuple[str, int], dnsperf.Summary]  # by balancer, and queries in flight
Warming = Callable[[str, int, dict[int, int], Path], None]  # name, port, Knot DNS, queries


def before_knots(
    bench: Bench, about: str, balancers: dict[str, Balancer], loads: list[int], warm: Warming
) -> Summaries:
    """Measure balancers before two Knot DNS, each one warmed up first. Raises Wrong."""
    seen: dict[tuple[str, int], list[dnsperf.Round]] = {}
    folder = bench.folder / about
    folder.mkdir()
    queries = folder / "queries"
    with knots(folder) as servers:
        for number, name, start in bench.in_turns(balancers):
            with start(list(servers), folder) as (port, pid):
                warm(name, port, servers, queries)
                for load in loads:
                    bench.progress.say(f"{about}, round {number + 1}, {name}, {load} in flight")
                    one = dnsperf.measure(name, port, pid, queries, bench.seconds, load)
                    seen.setdefault((name, load), []).append(one)
    return {key: dnsperf.Summary.of(rounds) for key, rounds in seen.items()}


def tell(bench: Bench, about: str, sums: Summaries, ours: str) -> None:
    """Add the table and the rows; `ours` is the balancer that others are compared with."""
    bench.lines += dnsperf.HEAD
    for (name, load), one in sorted(sums.items(), key=lambda item: item[0][1]):
        bench.lines.append(one.line(load, name, sums[ours, load]))
        bench.rows += one.rows(f"{about}, {load} in flight", name)


# -- the five experiments --------------------------------------------------------------------------


def throughput(bench: Bench, loads: list[int]) -> None:
    """Measure throughput with two Knot DNS. Raises Wrong."""

    def warm(name: str, port: int, servers: dict[int, int], queries: Path) -> None:
        dnsperf.ask(port, queries, bench.seconds / 4, loads[0])

    sums = before_knots(bench, "throughput", bench.balancers, loads, warm)
    bench.lines += [
        "## Throughput",
        "",
        f"Two Knot DNS with {NAMES:,} names; dnsperf, {dnsperf.CLIENTS} clients, {bench.rounds} "
        f"alternating rounds of {bench.seconds:g} s, medians.",
        "Balancers marked (one) ask only one of the two for each question.",
        "",
    ]
    tell(bench, "throughput", sums, "ours")
    if DNSMASQ in bench.balancers:
        ratios = {load: sums["ours", load].rate / sums[DNSMASQ, load].rate for load in loads}
        least = min(ratios.values())
        said = "reached" if least >= THROUGHPUT_GOAL else "NOT reached"
        bench.lines += [
            "",
            f"Ours shall be {THROUGHPUT_LEAST} times dnsmasq, and the goal is {THROUGHPUT_GOAL}: "
            + ", ".join(f"{ratio:.2f} at {load}" for load, ratio in ratios.items())
            + f" ({said}).",
        ]


def fails_fast(bench: Bench) -> None:
    """Measure with a resolver that fails after 1 ms, and one that is good after 30."""
    rate, seen = 200.0, {name: Seen() for name in bench.balancers}
    labels = [b"n%d" % n for n in range(int(rate * bench.seconds))]
    for number, name, start in bench.in_turns():
        with contextlib.ExitStack() as stack:
            bad, _ = stack.enter_context(late("--code", "SERVFAIL", "--delay-ms", 1))
            good, _ = stack.enter_context(late("--delay-ms", 30))
            port, _ = stack.enter_context(start([bad, good], bench.folder))
            bench.progress.say(f"one fails fast, round {number + 1}, {name}")
            seen[name].add(offer(port, labels, rate))
    bench.lines += [
        "",
        "## One fails fast",
        "",
        "One says SERVFAIL to everything after 1 ms, the other has the answer after 30 ms; "
        f"{rate:g} different names a second, {bench.rounds} rounds of {bench.seconds:g} s.",
        "",
        f"| | good | SERVFAIL | lost | {_TOOK} | slowest ms |",
        f"|---{'|---:' * (4 + len(SHARES))}|",
    ]
    for name, one in seen.items():
        took_ms, slowest_ms = one.percentiles_ms("NOERROR"), one.slowest_ms("NOERROR")
        good, failed = one.count("NOERROR") / one.total(), one.count("SERVFAIL") / one.total()
        bench.lines.append(
            f"| {name} | {good:.2%} | {failed:.2%} | {one.lost / one.total():.2%} "
            f"| {milliseconds(took_ms, 1)} | {slowest_ms:.1f} |"
        )
        found = {
            "good": (good, "share"),
            "SERVFAIL": (failed, "share"),
            "lost": (one.lost / one.total(), "share"),
            "slowest": (slowest_ms, "ms"),
        }
        bench.rows += figures("one fails fast", name, found)
        bench.rows += latencies("one fails fast", name, took_ms)
    mine = seen["ours"]
    is_good = mine.count("NOERROR") == mine.total()
    is_fast = mine.percentiles_ms("NOERROR")["p99"] < GOOD_P99_MS
    said = "kept" if is_good and is_fast else "NOT kept"
    bench.lines += ["", f"Ours shall be 100 % good with a p99 under {GOOD_P99_MS:g} ms: {said}."]


def one_is_dead(bench: Bench) -> None:
    """Measure with a dead resolver, and a good one; every tenth name does not exist."""
    rate = 500.0
    ways: dict[str, Balancer | None] = {"the good one, asked directly": None}
    ways |= {f"{name}, the good one alone": start for name, start in bench.balancers.items()}
    ways |= {f"{name}, both": start for name, start in bench.balancers.items()}
    seen = {way: Seen() for way in ways}
    count = int(rate * bench.seconds)
    labels = [b"x%d" % n if n % 10 == 9 else b"n%d" % n for n in range(count)]
    for number in range(bench.rounds):
        for way, start in ways.items():
            with contextlib.ExitStack() as stack:
                good, _ = stack.enter_context(late("--delay-ms", 1))
                dead, _ = stack.enter_context(late("--dead"))
                upstreams = [dead, good] if way.endswith("both") else [good]
                port = good
                if start is not None:
                    port, _ = stack.enter_context(start(upstreams, bench.folder))
                bench.progress.say(f"one is dead, round {number + 1}, {way}")
                seen[way].add(offer(port, labels, rate))
    bench.lines += [
        "",
        "## One is dead",
        "",
        "One never replies, the other has the answer after 1 ms; every tenth name does not exist; "
        f"{rate:g} names a second, {bench.rounds} rounds of {bench.seconds:g} s.",
        "",
        f"| | replies | data {_TOOK} | NXDOMAIN {_TOOK} | slowest ms |",
        f"|---{'|---:' * (2 + 2 * len(SHARES))}|",
    ]
    for way, one in seen.items():
        data_ms, none_ms = one.percentiles_ms("NOERROR"), one.percentiles_ms("NXDOMAIN")
        replies, slowest_ms = 1 - one.lost / one.total(), one.slowest_ms("NXDOMAIN")
        cells = f"{milliseconds(data_ms)} | {milliseconds(none_ms)} | {slowest_ms:.2f}"
        bench.lines.append(f"| {way} | {replies:.2%} | {cells} |")
        name, _, who = way.partition(", ")
        case = f"one is dead, {who}"
        bench.rows += figures(case, name, {"replies": (replies, "share")})
        bench.rows += latencies(case, name, data_ms, "data")
        bench.rows += latencies(case, name, none_ms, "NXDOMAIN")
    mine, alone = seen["ours, both"], seen["ours, the good one alone"]
    beyond = mine.percentiles_ms("NOERROR")["p99"] - alone.percentiles_ms("NOERROR")["p99"]
    slowest_ms = mine.slowest_ms("NXDOMAIN")
    said = "kept" if beyond <= DEAD_P99_MS else "NOT kept"
    bench.lines += [
        "",
        f"The p99 of data shall be within {DEAD_P99_MS:g} ms of the good one alone: "
        f"{beyond:+.2f} ms, {said}. NXDOMAIN waits for the dead one until it has left 16 questions "
        f"without a reply, for a grace of 100 ms each; the slowest took {slowest_ms:.1f} ms, and "
        "later ones do not wait.",
    ]


def one_guesses(bench: Bench, seconds: float) -> None:
    """Measure with forged replies beside good ones; ours only."""
    rate = 500.0
    bench.lines += [
        "",
        "## One is spoofed",
        "",
        "The resolver has the answer after 10 ms, and never replies to every tenth name; an "
        f"attacker sends 10,000 forged replies a second for such a name, for {seconds:g} s. "
        "`blind` guesses port and ID, as an attacker off the path must; `knowing` reads the "
        "ports from the kernel.",
        "",
        f"| attacker | forged | believed | {_TOOK} |",
        f"|---{'|---:' * (2 + len(SHARES))}|",
    ]
    labels = [
        b"lost%d" % n if n % 10 == 9 else b"n%d" % random.randrange(NAMES)
        for n in range(int(rate * seconds))
    ]
    p50: dict[str, float] = {}
    believed: dict[str, int] = {}
    for attacker in ("none", "blind", "knowing"):
        words = [] if attacker == "none" else ["--forge", attacker, "--rate", 10_000]
        total = Seen()
        with contextlib.ExitStack() as stack:
            upstream, process = stack.enter_context(late("--delay-ms", 10, *words))
            port, _ = stack.enter_context(ours([upstream], bench.folder))
            for start in range(0, len(labels), 60_000):
                bench.progress.say(f"spoofed, {attacker}, {start / rate:.0f} of {seconds:.0f} s")
                total.add(offer(port, labels[start : start + 60_000], rate))
            process.terminate()
            assert process.stdout is not None
            sent = int(process.stdout.readline())
        took_ms = total.percentiles_ms("NOERROR")
        p50[attacker], believed[attacker] = took_ms["p50"], total.forged
        bench.lines.append(f"| {attacker} | {sent:,} | {total.forged} | {milliseconds(took_ms)} |")
        found = {"forged": (sent, "replies"), "believed": (total.forged, "replies")}
        bench.rows += figures(f"spoofed, {attacker}", "ours", found)
        bench.rows += latencies(f"spoofed, {attacker}", "ours", took_ms)
    slowed = p50["blind"] / p50["none"]
    is_kept = not believed["blind"] and slowed <= SLOWED_MAX
    bench.lines += [
        "",
        f"None shall be believed, and replies not be slowed by more than {SLOWED_MAX - 1:.0%}: "
        f"{believed['blind']} believed, {slowed - 1:+.1%} in the median: "
        f"{'kept' if is_kept else 'NOT kept'}.",
    ]


def cached(bench: Bench, loads: list[int]) -> None:
    """Measure hits of caches, and ours without one beside them. Raises Wrong."""
    balancers: dict[str, Balancer] = {
        CACHED: lambda ports, folder: ours(ports, folder, "--cache", CACHE_MIB),
        "ours": ours,
        **{n: PEERS[n].balancer(CACHE_ENTRIES) for n in bench.balancers if n in PEERS},
    }

    all_good = {"NOERROR": NAMES}
    missed: dict[str, str] = {}

    def warm(name: str, port: int, servers: dict[int, int], queries: Path) -> None:
        once = ("-n", "1", "-l", "10", "-t", "5")  # 10 s at most; a slow machine loses nothing
        for _ in range(_WARMINGS_MAX):
            if dnsperf.codes(dnsperf.dnsperf(port, queries, loads[0], *once)) == all_good:
                break
        if name != "ours":
            with standing_still(servers.values()):
                said = dnsperf.dnsperf(port, queries, loads[0], *once)
            if (found := dnsperf.codes(said)) != all_good:
                why = f"{name}: of {NAMES} names its cache has {found}"
                if name == CACHED:
                    raise Wrong(why)
                missed[name] = why  # another's may lose some on a busy machine

    sums = before_knots(bench, "cached", balancers, loads, warm)
    bench.lines += [
        "",
        "## Cached",
        "",
        f"The same two Knot DNS and the same load, {bench.rounds} alternating rounds of "
        f"{bench.seconds:g} s, medians. Each is first asked for all names once. All but `ours` "
        f"have a cache: `{CACHED}` one of {CACHE_MIB} MiB, others one for {CACHE_ENTRIES:,} names. "
        "They tell nothing but hits: before it is measured each has to know all names while both "
        "Knot DNS stand still.",
        "",
    ]
    tell(bench, "cached", sums, CACHED)
    said = [f"to ours without {held(sums, loads, 'ours', TO_UNCACHED_MAX)}"]
    if UNBOUND in balancers:
        said.append(f"to unbound's {held(sums, loads, UNBOUND, TO_UNBOUND_MAX)}")
    bench.lines += ["", f"CPU of ours with the cache, {'; '.join(said)}."]
    bench.lines += [f"Not all were hits: {why}." for why in missed.values()]


def held(sums: Summaries, loads: list[int], other: str, most: dict[int, float]) -> str:
    """Format the ratios of CPU of ours with its cache to another, beside the most they shall be."""
    told = []
    for load in loads:
        ratio = sums[CACHED, load].cpu_us / sums[other, load].cpu_us
        bound = most.get(load)
        is_kept = bound is None or round(ratio, 2) <= bound
        verdict = f" (at most {bound:g}: {'kept' if is_kept else 'NOT reached'})" if bound else ""
        told.append(f"{ratio:.2f} at {load}{verdict}")
    return ", ".join(told)


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=3.0, metavar="S", help="of each (3)")
    add("--rounds", type=int, default=3, metavar="N", help="of each (3)")
    add("--in-flight", default=IN_FLIGHT, metavar="N,N", help=f"of dnsperf ({IN_FLIGHT})")
    add("--forge-seconds", type=float, default=60.0, metavar="S", help="of the attacks (60)")
    add("--only", metavar="PART,PART", help=f"of {', '.join(PARTS)} (all)")
    add("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    look_in_sbin()
    parts = chosen(arguments.only, PARTS, "part")
    for part in BY_DNSPERF & set(parts):
        if why := missing("knotd", "dnsperf"):
            print(f"without {part} {why}")
            parts.remove(part)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    loads = [int(word) for word in arguments.in_flight.split(",")]
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            bench = Bench(Path(name), arguments.seconds, arguments.rounds)
            if "throughput" in parts:
                throughput(bench, loads)
            if "fails" in parts:
                fails_fast(bench)
            if "dead" in parts:
                one_is_dead(bench)
            if "guesses" in parts:
                one_guesses(bench, arguments.forge_seconds)
            if "cached" in parts:
                cached(bench, loads)
        bench.progress.end()
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    text = "\n".join([*heading(), *bench.lines, ""])
    print(text)
    keep(arguments.json, "resolvers", bench.rows)
    if arguments.results:
        arguments.results.write_text(text)
    return 0


def heading() -> list[str]:
    """Format the beginning of the page."""
    programs = versions("dnsmasq", "smartdns", "dnsdist", "unbound", "knotd", "dnsperf")
    return [
        "# In front of resolvers, compared with dnsmasq, smartdns, dnsdist and unbound",
        "",
        "`make bench-resolvers` writes this page. Everything shares this machine; caches are off, "
        "but for the last section.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {programs}.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
