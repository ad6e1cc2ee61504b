"""LS in front of real and odd resolvers, under load, compared with another checkout of itself.

    python3 bench/first_good.py --before DIR --results bench/FIRST_GOOD.md
    python3 bench/first_good.py --parts refused,dies --questions 20000 --rounds 1

Each part puts one kind of resolver behind LS and has one or more bounds, which stand at the top of
`bench/crowded.py` and `bench/odd.py`:

- *refused*, *nxdomain*: two dnsmasq with half of the names each say REFUSED, or NXDOMAIN, of the
  other half; the good reply is the one that counts, though the bad one may come first;
- *single*: one dnsmasq with all names;
- *far*, *mixed*: a resolver that replies after 40 ms; one of whose replies a fifth take 100 ms;
- *dies*: two resolvers that say NXDOMAIN, or REFUSED, of everything, of which one dies;
- *twice*, *frozen*: a resolver that sends each reply twice; one that is frozen for 14 s, together
  with a good one and alone. Neither is an attack, and the log must not say so;
- *ends*: a resolver that sends every client to TCP, and closes that after each reply.

`--before` is the folder of another checkout, which is run with the same Python, in alternating
rounds; its results stand beside ours and have no bounds. In the first five parts dnsperf keeps a
number of queries in flight; in the others the load is an open one. The resolvers' sockets have the
receive buffer that the kernel gives by default: that it overflows is the point.

A missed bound ends the run with exit code 1. A ratio misses its bound only when the ratios of all
rounds do, and a death its bounds only when three in a row do: they vary with whatever else the
machine does, and all are shown. Not here: the parts themselves.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import crowded
import odd
from dns_balancers import NAMES, look_in_sbin, missing, versions
from dnsperf import Wrong
from first_good_stage import BEFORE, OURS, PEER, Balancer, Bench, Page, peer, photofinish
from results import add_flag, keep, machine
from systems import ROOT, Unavailable
from terminal import Progress, chosen

QUESTIONS, ROUNDS = 1_000_000, 5


@dataclass(frozen=True)
class Part:
    """The function that adds a part to the page, and the programs that it needs."""

    run: Callable[[Bench, Page], None]
    needs: tuple[str, ...]


PARTS = {
    "refused": Part(crowded.refused, ("dnsperf", "dnsmasq")),
    "nxdomain": Part(crowded.nxdomain, ("dnsperf", "dnsmasq")),
    "single": Part(crowded.single, ("dnsperf", "dnsmasq")),
    "far": Part(crowded.far, ("dnsperf", "cc")),
    "mixed": Part(crowded.mixed, ("dnsperf", "cc")),
    "dies": Part(odd.dies, ("cc",)),
    "twice": Part(odd.twice, ("cc",)),
    "frozen": Part(odd.frozen, ("cc",)),
    "ends": Part(odd.ends, ("cc",)),
}


def heading(before: Path | None) -> list[str]:
    """Format the beginning of the page."""
    lines = [
        "# The first good answer, in front of real and odd resolvers",
        "",
        "`make bench-first-good` writes this page. Everything shares this machine; caches are off.",
        f"10 clients; each socket of a resolver has room for {buffer_bytes():,} bytes.",
    ]
    if before is not None:
        words = [sys.executable, "-m", "nodes", "--version"]
        done = subprocess.run(words, cwd=before, capture_output=True, text=True, check=False)
        lines.append(f"`before` is {done.stdout.strip() or '?'}, in alternating rounds.")
    return [
        *lines,
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {versions('dnsmasq', 'dnsperf')}.",
        "",
    ]


def buffer_bytes() -> int:
    """Read the default size of a receive buffer (man 7 socket)."""
    return int(Path("/proc/sys/net/core/rmem_default").read_text())


def available(parts: list[str]) -> list[str]:
    """Leave out parts that lack a program, with a line for each."""
    found = []
    for part in parts:
        if why := missing(*PARTS[part].needs):
            print(f"without {part} {why}")
        else:
            found.append(part)
    return found


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", metavar="PART,PART", help=f"of {', '.join(PARTS)} (all)")
    add("--before", type=Path, metavar="DIR", help="another checkout, to compare with")
    add(
        "--questions", type=int, default=QUESTIONS, metavar="N",
        help="of dnsperf under each load, all rounds together (default %(default)s)",
    )  # fmt: skip
    add(
        "--rounds",
        type=int,
        default=ROUNDS,
        metavar="N",
        help="rounds of dnsperf (default %(default)s)",
    )
    add(
        "--in-flight",
        default="200,1000",
        metavar="N,N",
        help="loads of refused and nxdomain (%(default)s)",
    )
    add("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    before: Path | None = arguments.before and arguments.before.resolve()
    if before is not None and not (before / "nodes" / "__main__.py").exists():
        print(f"{before} is no checkout of photofinish", file=sys.stderr)
        return 2
    look_in_sbin()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    balancers: dict[str, Balancer] = {OURS: photofinish(ROOT)}
    if before is not None:
        balancers[BEFORE] = photofinish(before)
    balancers[PEER] = peer
    parts = available(chosen(arguments.parts, list(PARTS), "part"))
    page = Page(heading(before))
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            (folder / "queries").write_text("".join(f"n{n}.example A\n" for n in range(NAMES)))
            runs = max(1, arguments.questions // arguments.rounds // NAMES)
            loads = [int(word) for word in arguments.in_flight.split(",")]
            bench = Bench(folder, balancers, arguments.rounds, loads, runs, Progress())
            shown = 0
            for part in parts:
                PARTS[part].run(bench, page)
                bench.progress.end()
                print("\n".join(page.lines[shown:]), flush=True)
                shown = len(page.lines)
    except (Unavailable, Wrong) as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    if arguments.results:
        arguments.results.write_text("\n".join(page.lines))
    keep(arguments.json, "first_good", page.rows)
    if page.missed:
        print(f"{page.missed} bounds were missed", file=sys.stderr)
    return 1 if page.missed else 0


if __name__ == "__main__":
    sys.exit(main())
