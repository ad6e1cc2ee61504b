"""Reports of the tail: tables, verdicts, the rows to keep, TAIL.md.

Not here: how they are measured, and the picture (`bench/pictures.py`).
"""

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from percentiles import SHARES
from pictures import draw_tail
from replicas import RECOVERED_S, SLOWER_BY_S, Row, Turning
from report import aligned, markdown
from results import Row as Result
from results import figures, latencies, machine
from sweep import Sweep, crossing

_HEAD = (
    "experiment", "policy", "lookups", *(f"{name} ms" for name in SHARES), "over 500 ms %",
    "extra %", "timed out %",
)  # fmt: skip
_TURNING_HEAD = (
    "turns slow", "policy", "p99 before", "at worst", "recovered", "back after s", "relapses",
    "extra % at the end", "at most",
)  # fmt: skip
_SWEEP_HEAD = ("service", "policy")
_SLOW_US = 500_000


@dataclass
class TailResults:
    """Everything that was measured."""

    rows: list[Row] = field(default_factory=list)
    turnings: list[Turning] = field(default_factory=list)
    sweep: Sweep = field(default_factory=dict)


# -- tables ----------------------------------------------------------------------------------------


def row_texts(row: Row) -> tuple[str, ...]:
    """Format the cells of a row, parallel to the head."""
    period = row.period
    return (
        row.experiment,
        row.policy,
        f"{period.lookups:,}",
        *(f"{ms:.1f}" for ms in period.percentiles_ms().values()),
        f"{period.share_over(_SLOW_US):.3%}".rstrip("%"),
        f"{row.extra:.2%}".rstrip("%"),
        f"{row.timed_out / period.lookups:.3%}".rstrip("%"),
    )


def turning_texts(turning: Turning) -> tuple[str, ...]:
    """Format the cells of the row of a server that turned slow."""
    back = turning.recovered_s
    return (
        f"by {SLOWER_BY_S:g} s",
        turning.policy,
        *(f"{ms:.1f}" for ms in (turning.before_ms, turning.worst_ms, turning.after_ms)),
        "never" if back is None else f"{back:.2f}",
        str(turning.relapses),
        f"{turning.slices[-1].extra:.2%}".rstrip("%"),
        f"{turning.most_extra:.2%}".rstrip("%"),
    )


def sweep_table(sweep: Sweep) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Format the head and the rows of the sweep: means in service times, a column for each load."""
    rows = [
        (law, policy, *(f"{mean:.2f}" for _, mean in curve))
        for law, curves in sweep.items()
        for policy, curve in curves.items()
    ]
    loads = next(iter(next(iter(sweep.values())).values()))
    return (*_SWEEP_HEAD, *(f"{load:.2f}" for load, _ in loads)), rows


def as_text(row: Row, first: bool) -> str:
    """Format a row for a terminal, after the head if it is the first."""
    rows = [row_texts(row)]
    if first:
        rows.insert(0, _HEAD)
    return aligned(rows, (13, 7, 9, 8, 8, 8, 13, 8, 11))


def turning_as_text(turning: Turning, first: bool) -> str:
    """Format the row of a server that turned slow for a terminal, likewise."""
    rows = [turning_texts(turning)]
    if first:
        rows.insert(0, _TURNING_HEAD)
    return aligned(rows, (13, 7, 11, 9, 9, 12, 9, 18, 8))


def sweep_as_text(sweep: Sweep) -> str:
    """Format the table of the sweep for a terminal."""
    head, rows = sweep_table(sweep)
    return aligned([head, *rows], (13, 7, *(6 for _ in head[2:])))


# -- verdicts --------------------------------------------------------------------------------------


def verdicts(results: TailResults) -> list[str]:
    """Write a sentence for each question that the experiments answer."""
    said = []
    for experiment in dict.fromkeys(row.experiment for row in results.rows):
        rows = {row.policy: row for row in results.rows if row.experiment == experiment}
        if len(rows) == 3 and (sentence := _gain(rows["single"], rows["race"], rows["hedge"])):
            said.append(f"{experiment}: {sentence}")
    for turning in results.turnings:
        back = turning.recovered_s
        when = "not in this run" if back is None else f"{back:.2f} s after the turn"
        said.append(
            f"turns-slow, {turning.policy}: p99 is {turning.before_ms:.1f} ms before, "
            f"{turning.worst_ms:.1f} ms at worst, below {1000 * RECOVERED_S:g} ms again {when}, "
            f"{turning.after_ms:.1f} ms then (with {turning.relapses} relapses of a quarter "
            f"second); extra questions never above {turning.most_extra:.2%}"
        )
    for law, curves in results.sweep.items():
        at = crossing(curves["single"], curves["race"])
        said.append(
            f"load, {law} service: asking both "
            + ("never pays" if at is None else f"pays up to a load of {at:.2f}")
        )
    return said


def _gain(single: Row, race: Row, hedge: Row) -> str | None:
    """Say how much of race's gain hedge keeps; None where race gains too little to compare."""
    alone, both, hedged = (row.period.quantile_ms(0.999) for row in (single, race, hedge))
    if both > 0.9 * alone:
        return None
    return (
        f"hedge keeps {(alone - hedged) / (alone - both):.1%} of what race gains at p99.9 over "
        f"single ({alone:.1f}, {both:.1f}, {hedged:.1f} ms) for {hedge.extra:.2%} extra questions"
    )


def rows_of(results: TailResults) -> list[Result]:
    """Make the rows of all results for the file that has those of all benches."""
    rows: list[Result] = []
    for row in results.rows:
        found = {
            "lookups": (row.period.lookups, ""),
            "over 500 ms": (row.period.share_over(_SLOW_US), "share"),
            "extra questions": (row.extra, "share"),
            "timed out": (row.timed_out / row.period.lookups, "share"),
        }
        rows += latencies(row.experiment, row.policy, row.period.percentiles_ms())
        rows += figures(row.experiment, row.policy, found)
    for turning in results.turnings:
        back = turning.recovered_s
        found = {
            "p99 before": (turning.before_ms, "ms"),
            "p99 at worst": (turning.worst_ms, "ms"),
            "p99 recovered": (turning.after_ms, "ms"),
            "recovered after": (math.nan if back is None else back, "s"),
            "relapses": (turning.relapses, ""),
            "extra questions": (turning.slices[-1].extra, "share"),
            "extra questions at most": (turning.most_extra, "share"),
        }
        rows += figures("turns-slow", turning.policy, found)
    for law, curves in results.sweep.items():
        for policy, curve in curves.items():
            case = f"load, {law} service"
            rows += [Result(case, policy, "mean", ms, "service times", at) for at, ms in curve]
    return rows


# -- the results -----------------------------------------------------------------------------------


def write_results(path: Path, results: TailResults) -> None:
    """Write the page: verdicts, tables, the machine, the command and the date; and its picture."""
    parts = [
        "# The tail",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}.",
        f"    python3 {' '.join(sys.argv)}",
        "Real sockets, slow table servers; `python3 bench/tail.py --help` says what each "
        "experiment is. `single` is LS with the first server only. Everything shares this machine, "
        "which adds half a millisecond to two.",
        "\n".join(f"- {verdict}" for verdict in verdicts(results)),
    ]
    picture = path.with_name("tail.svg")
    if draw_tail(rows_of(results), picture):
        parts.append(f"![latencies under each policy, and against load]({picture.name})")
    if results.rows:
        parts.append(markdown(_HEAD, [row_texts(row) for row in results.rows]))
    if results.turnings:
        parts.append(markdown(_TURNING_HEAD, [turning_texts(t) for t in results.turnings]))
    if results.sweep:
        parts.append("Mean latency in service times, against the load of a server under `single`:")
        parts.append(markdown(*sweep_table(results.sweep)))
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
