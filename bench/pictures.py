"""Pictures of results, drawn from their rows: no bench has to run again for a better picture.

    python3 bench/pictures.py                      all that bench/results.json has, beside the pages
    python3 bench/pictures.py FILE.json --to DIR

A bench draws its own when it writes its page. Not here: the style (`bench/plotting.py`).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plotting import (
    COLOURS,
    GREY,
    OURS,
    WIDTH_IN,
    draw_spreads,
    finish,
    plain_log,
    plotter,
    short,
    spreads,
    value,
)
from results import Row, read
from sweep import crossing
from systems import HERE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORKLOADS = {
    "1": "1 name at a time",
    "1x100": "100 in flight, 1 connection",
    "10x20": "20 in flight on each of 10",
    "1x5000": "5,000 in flight, 1 connection",
    "50x100": "100 in flight on each of 50",
    "900 idle + 1x100": "100 in flight, beside 900 idle",
    "one TS silent, 1x100": "100 in flight, one TS is silent",
    "one TS dead, 1x100": "100 in flight, one TS is dead",
}
_MARKS = "ms  (● p50, | p99, ○ p99.9)"
_LAWS = {"exponential": "Service times vary", "deterministic": "Service times are equal"}
_HIGHEST = 20  # of the load sweep, in service times


def draw_latencies(rows: Sequence[Row], path: Path) -> bool:
    """Draw percentiles of all systems, a panel for each workload; False if there is no picture."""
    cases = [case for case in _WORKLOADS if spreads(rows, case)]
    pyplot = plotter(path) if cases else None
    if pyplot is None:
        return False
    lines = -(-len(cases) // 2)
    systems = list(dict.fromkeys(one.system for case in cases for one in spreads(rows, case)))
    figure, axes = pyplot.subplots(
        lines,
        min(2, len(cases)),
        figsize=(WIDTH_IN, 0.5 + lines * (0.75 + 0.2 * len(systems))),
        squeeze=False,
        sharey=True,
    )
    for axis, case in zip(axes.flat, cases, strict=False):
        draw_spreads(axis, systems, spreads(rows, case))
        axis.set_title(_WORKLOADS[case])
        axis.set_xlabel(_MARKS)
    for axis in axes.flat[len(cases) :]:
        axis.axis("off")
    finish(pyplot, figure, _of_latencies(rows, cases), path)
    return True


def _of_latencies(rows: Sequence[Row], cases: Sequence[str]) -> str:
    """Say what is to be seen, of the workload in which most is in flight on most connections."""
    case = "50x100" if "50x100" in cases else cases[-1]
    ours, others = value(rows, case, "ours", "p99"), value(rows, case, "streams", "p99")
    if ours is None or others is None:
        return "How long replies take"
    return (
        f"{_WORKLOADS[case][0].upper()}{_WORKLOADS[case][1:]}: 99 % of replies within "
        f"{ours:.3g} ms, with asyncio streams {others:.3g} ms"
    )


def draw_curves(rows: Sequence[Row], path: Path) -> bool:
    """Draw CPU against size, a panel for each thing that grows; False if there is no picture."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.at is not None and row.figure == "CPU":
            curves.setdefault(row.case, []).append((row.at, row.value))
    pyplot = plotter(path) if curves else None
    if pyplot is None:
        return False
    lines = -(-len(curves) // 2)
    figure, axes = pyplot.subplots(
        lines, min(2, len(curves)), figsize=(WIDTH_IN, 0.5 + 2.3 * lines), squeeze=False
    )
    for axis, (about, points) in zip(axes.flat, curves.items(), strict=False):
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, color=OURS)
        plain_log(axis, "xy")
        costs = [cost for _, cost in points]
        axis.set_ylim(min(0.3, *costs), 3 * max(10.0, *costs))
        axis.grid()
        for at, (size, cost) in enumerate(points):
            is_low = cost < min([c for _, c in points[max(0, at - 1) : at + 2] if c != cost] or [0])
            beside = (0, -14) if is_low and 0 < at < len(points) - 1 else (3, 5)
            axis.annotate(
                f"{cost:.3g}", (size, cost), beside, textcoords="offset points", ha="left"
            )
        axis.set_xticks([size for size, _ in points])
        axis.minorticks_off()
        axis.margins(x=0.09)
        name, _, more = about.partition(", ")
        axis.set_xlabel(f"{name}\n{more}" if more else name)
        axis.set_ylabel("CPU µs a lookup")
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    finish(pyplot, figure, _of_curves(curves), path)
    return True


def _of_curves(curves: dict[str, list[tuple[float, float]]]) -> str:
    about, points = next(iter(curves.items()))
    many = [(size, cost) for size, cost in points if size >= 1_000] or points
    costs = [cost for _, cost in many]
    return (
        f"From {many[0][0]:,.0f} to {many[-1][0]:,.0f} {about.partition(',')[0]} a lookup costs "
        f"{min(costs):.1f} to {max(costs):.1f} µs"
    )


def draw_tail(rows: Sequence[Row], path: Path) -> bool:
    """Draw percentiles under each policy, and latency against load; False if there is none."""
    cases = [case for case in dict.fromkeys(row.case for row in rows) if spreads(rows, case)]
    laws = [law for law in _LAWS if any(row.case == f"load, {law} service" for row in rows)]
    pyplot = plotter(path) if cases or laws else None
    if pyplot is None:
        return False
    lines = -(-len(cases) // 2)
    figure = pyplot.figure(figsize=(WIDTH_IN, 0.6 + 1.15 * lines + 3.0 * bool(laws)))
    grid = figure.add_gridspec(
        lines + bool(laws), 2, height_ratios=[1.15] * lines + [3.0] * bool(laws)
    )
    for at, case in enumerate(cases):
        axis = figure.add_subplot(grid[at // 2, at % 2])
        found = spreads(rows, case)
        draw_spreads(axis, [one.system for one in found], found)
        axis.set_xlim(3, 10_000)
        plain_log(axis, "x")
        axis.set_title(_title_of(case))
        if at >= len(cases) - 2:
            axis.set_xlabel(_MARKS)
        else:
            axis.tick_params(labelbottom=False)
    for at, law in enumerate(laws):
        _draw_load(figure.add_subplot(grid[lines, at]), rows, law)
    finish(pyplot, figure, _of_tail(rows, cases), path)
    return True


def _title_of(case: str) -> str:
    about = {
        "dead": "the first server is dead",
        "slow": "the first is 100 ms slower",
        "silent": "the first gives 1 % no answer",
    }
    return about.get(case, f"both servers late: {case}")


def _draw_load(axis: "Axes", rows: Sequence[Row], law: str) -> None:
    case = f"load, {law} service"
    curves = {
        policy: [
            (row.at, row.value)
            for row in rows
            if (row.case, row.system) == (case, policy) and row.at is not None
        ]
        for policy in ("single", "race")
    }
    for policy, curve in curves.items():
        shown = [(load, mean) for load, mean in curve if mean < _HIGHEST]
        axis.plot(*zip(*shown, strict=True), "-o", markersize=3, color=COLOURS[policy])
        axis.annotate(
            policy, shown[-1], (6, 0), textcoords="offset points", va="center",
            color=COLOURS[policy],
        )  # fmt: skip
    plain_log(axis, "y")
    axis.set_ylim(0.5, _HIGHEST)
    axis.set_xlim(0, 0.8)
    axis.grid()
    at = crossing(curves["single"], curves["race"])
    if at is not None:
        axis.axvline(at, color=GREY, linestyle=":")
    said = "never pays" if at is None else f"pays below {at:.2f}"
    axis.set_title(f"{_LAWS[law]}: race {said}")
    axis.set_xlabel("load of a server, each name asked once")
    axis.set_ylabel("mean latency in service times")


def _of_tail(rows: Sequence[Row], cases: Sequence[str]) -> str:
    case = "three-point" if "three-point" in cases else cases[0] if cases else ""
    found = {one.system: one.p999 for one in spreads(rows, case)}
    extra = value(rows, case, "hedge", "extra questions")
    if not {"single", "race", "hedge"} <= found.keys() or extra is None:
        return "Gain of asking two servers"
    return (
        f"p99.9 of {found['single']:.3g} ms: {found['race']:.3g} when both servers are asked, "
        f"{found['hedge']:.3g} for {extra:.1%} more questions"
    )


def draw_dns(rows: Sequence[Row], path: Path) -> bool:
    """Draw the rate of each balancer under each load; False if there is no picture."""
    cases = list(dict.fromkeys(row.case for row in rows if row.figure == "rate"))
    pyplot = plotter(path) if cases else None
    if pyplot is None:
        return False
    systems = list(dict.fromkeys(row.system for row in rows if row.figure == "rate"))
    figure, axes = pyplot.subplots(
        1, len(cases), figsize=(WIDTH_IN, 1.3 + 0.32 * len(systems)), squeeze=False, sharey=True
    )
    for axis, case in zip(axes[0], cases, strict=True):
        for at, system in enumerate(systems):
            rate, least, most = (
                value(rows, case, system, name)
                for name in ("rate", "slowest round", "fastest round")
            )
            if rate is None or least is None or most is None:
                continue
            axis.barh(at, rate, 0.7, color=COLOURS[system])
            axis.plot([least, most], [at, at], color="black", linewidth=1)
            axis.annotate(
                f"{rate / 1000:.0f}k", (most, at), (4, 0), textcoords="offset points", va="center"
            )
        axis.set_title(case)
        axis.set_xlabel("queries a second")
        axis.margins(x=0.22)
        axis.grid(axis="x")
        axis.xaxis.set_major_formatter(lambda number, _: short(number))
        axis.xaxis.set_major_locator(pyplot.MaxNLocator(3))
    axes[0][0].set_yticks(range(len(systems)), systems)
    axes[0][0].invert_yaxis()
    finish(pyplot, figure, _of_dns(rows, cases), path)
    return True


def _of_dns(rows: Sequence[Row], cases: Sequence[str]) -> str:
    ratios = []
    for case in cases:
        ours, theirs = (
            value(rows, case, system, "rate") for system in ("ours", "dnsmasq --all-servers")
        )
        if ours and theirs:
            ratios.append(ours / theirs)
    if not ratios:
        return "DNS queries a second"
    least, most = (f"{one:.1f}" for one in (min(ratios), max(ratios)))
    times = least if least == most else f"{least} to {most}"
    return f"DNS: {times} times as many queries a second as dnsmasq (line: all rounds)"


PICTURES: dict[str, list[tuple[str, Callable[[Sequence[Row], Path], bool]]]] = {  # by bench
    "throughput": [("latency.svg", draw_latencies), ("sizes.svg", draw_curves)],
    "tail": [("tail.svg", draw_tail)],
    "dns": [("dns.svg", draw_dns)],
}


def draw_all(bench: str, rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw the pictures of a bench into a folder; return their names."""
    return [name for name, draw in PICTURES[bench] if draw(rows, folder / name)]


def main() -> int:
    """Draw all pictures; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("file", type=Path, nargs="?", default=HERE / "results.json", metavar="FILE.json")
    add("--to", type=Path, default=HERE, metavar="DIR", help="where they go (default bench/)")
    arguments = parser.parse_args()
    try:
        sections = read(arguments.file)
    except (OSError, ValueError) as error:
        print(f"{arguments.file}: {error}", file=sys.stderr)
        return 1
    found = [bench for bench in PICTURES if bench in sections]
    if not found:
        print(f"{arguments.file} has none of {', '.join(PICTURES)}", file=sys.stderr)
        return 1
    names = []
    for bench in found:
        names += draw_all(bench, sections[bench]["rows"], arguments.to)
    print(f"drawn in {arguments.to}: {', '.join(names) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
