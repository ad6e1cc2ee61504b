"""Throughput and latency of photofinish and of the alternatives, side by side.

    python3 bench/throughput.py                    every system, every workload
    python3 bench/throughput.py --workloads 1,1x100 --peers relay,streams --seconds 1

Each round starts every system anew and drives each with the same load in turn, so that
disturbances of the machine hit them alike; results are medians of the rounds. Only the ratios
matter: absolute rates depend on the machine.

Every reply is checked; a wrong one ends the run with exit code 1.
"""

import argparse
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import startup
from load import WrongReply
from pictures import draw_curves, draw_latencies
from report import Cell, as_text, rows_of, write_results
from results import add_flag, keep
from sizes import CURVES, measure_curves
from systems import SYSTEMS, System, Unavailable
from terminal import Progress, chosen
from workloads import (
    WORKLOADS,
    Figures,
    Round,
    Workload,
    cold_start,
    large_file,
    measure,
    table_servers,
)

ALONE: dict[str, Callable[[Path], Figures]] = {  # measured of ours only
    "cold": cold_start,
    "file": large_file,
    "start": lambda folder: startup.medians(startup.measure(folder)),
}


def main() -> int:
    """Measure, print the table; return the exit code."""
    workload_names = [workload.name for workload in WORKLOADS]
    system_names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"systems: {', '.join(system_names)}. workloads: {'; '.join(workload_names)}; "
        "cold (a TS with a million rows starts); file (a million names through the client); "
        "start (of each program)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=float, default=2.0, metavar="S", help="of each measurement (default 2)")
    add("--rounds", type=int, default=5, metavar="N", help="of every measurement (default 5)")
    add("--workloads", metavar="A,B", help="only these, separated by commas")
    add("--peers", metavar="A,B", help="ours and only these; - for ours alone")
    add("--sizes", action="store_true", help="also measure cost against size, for ours")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the latencies (needs matplotlib)")
    add("--results", type=Path, metavar="FILE.md", help="write tables, pictures and the machine")
    add_flag(parser)
    arguments = parser.parse_args()
    if arguments.seconds <= 0 or arguments.rounds < 1:
        print("--seconds and --rounds have to be more than 0", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    names = chosen(arguments.workloads, [*workload_names, *ALONE], "workload")
    peers = chosen(None if arguments.peers != "-" else "", system_names[1:], "system")
    if arguments.peers not in (None, "-"):
        peers = chosen(arguments.peers, system_names[1:], "system")
    try:
        return run(arguments, names, ["ours", *peers])
    except WrongReply as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1


def systems_here(names: list[str], folder: Path) -> list[System]:
    """Return the named systems that can be started here; leave out others with a line for each."""
    ready = []
    for system in SYSTEMS:
        if system.name in names:
            try:
                system.command([], folder)
                ready.append(system)
            except Unavailable as why:
                print(f"without {system.name}: {why}", file=sys.stderr)
    return ready


def compare(
    workload: Workload,
    systems: list[System],
    servers: list[int],
    folder: Path,
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
) -> list[Cell]:
    """Measure the systems under a workload in alternating rounds. Raises WrongReply."""
    is_alone = workload.connections + workload.idle == 1
    taking_part = [system for system in systems if is_alone or not system.one_client]
    seen: dict[str, list[Round]] = {system.name: [] for system in taking_part}
    for number in range(rounds):
        turn = number % len(taking_part)  # none is always the first
        for system in taking_part[turn:] + taking_part[:turn]:
            say(f"{workload.name}: round {number + 1}, {system.name}")
            seen[system.name].append(measure(system, workload, servers, folder, seconds))
    ours = statistics.median(one.lookups_per_s for one in seen["ours"])
    return [Cell.of(workload.name, name, seen[name], ours) for name in seen]


def run(arguments: argparse.Namespace, workloads: list[str], systems: list[str]) -> int:
    """Measure all rounds of everything that was chosen."""
    progress = Progress()
    cells: list[Cell] = []
    single: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        ready = systems_here(systems, folder)
        with table_servers(folder) as servers:
            for workload in (w for w in WORKLOADS if w.name in workloads):
                new = compare(
                    workload,
                    ready,
                    servers[workload.servers],
                    folder,
                    arguments.seconds,
                    arguments.rounds,
                    progress.say,
                )
                cells += new
                progress.end()
                print(as_text(new, first=len(cells) == len(new)), flush=True)
        for name in (name for name in ALONE if name in workloads):
            progress.say(name)
            single[name] = ALONE[name](folder)
            progress.end()
            metrics = ", ".join(
                f"{k} {value:.1f} {unit}" for k, (value, unit) in single[name].items()
            )
            print(f"{name}: {metrics}", flush=True)
        curves = measure_curves(folder, progress.say) if arguments.sizes else {}
        progress.end()
    for about in CURVES:
        if about in curves:
            points = ", ".join(f"{size:,}: {cost:.2f}" for size, cost in curves[about])
            print(f"CPU µs a lookup against {about}: {points}")
    rows = rows_of(cells, single, curves)
    keep(arguments.json, "throughput", rows)
    if arguments.plot:
        draw_latencies(rows, arguments.plot)
    if arguments.results:
        latency, sizes = (arguments.results.with_name(f"{n}.svg") for n in ("latency", "sizes"))
        pictures = [
            *([latency] if draw_latencies(rows, latency) else []),
            *([sizes] if draw_curves(rows, sizes) else []),
        ]
        write_results(arguments.results, cells, single, curves, pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
