"""Reports of results: the table, the rows to keep, and RESULTS.md.

Not here: how they are measured.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from load import Period
from percentiles import SHARES
from results import Row, figures, latencies, machine
from workloads import Round

COUNTED = "## Cost of a turn, counted"  # the last section of RESULTS.md, which turn.py keeps
_HEAD = (
    "workload", "system", "lookups/s", "from", "to", "x ours", *(f"{name} ms" for name in SHARES),
    "CPU s/M", "peak MB",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A system under a workload: the median of its rounds."""

    workload: str
    system: str
    lookups_per_s: float
    least: float
    most: float
    ratio: float  # to ours
    cpu_s_per_million: float
    peak_mb: float
    period: Period  # the latencies of all rounds

    @staticmethod
    def of(workload: str, system: str, rounds: list[Round], ours: float) -> "Cell":
        rates = [round_.lookups_per_s for round_ in rounds]
        whole = Period()
        for round_ in rounds:
            whole.add(round_.period)
        median = statistics.median(rates)
        return Cell(
            workload,
            system,
            median,
            min(rates),
            max(rates),
            median / ours,
            statistics.median(round_.cpu_s_per_million for round_ in rounds),
            max(round_.peak_mb for round_ in rounds),
            whole,
        )

    def texts(self) -> tuple[str, ...]:
        """Format the cells of its row in a table, parallel to the head."""
        return (
            self.workload,
            self.system,
            f"{self.lookups_per_s:,.0f}",
            f"{self.least:,.0f}",
            f"{self.most:,.0f}",
            f"{self.ratio:.3f}",
            *(f"{ms:.2f}" for ms in self.period.percentiles_ms().values()),
            f"{self.cpu_s_per_million:.2f}",
            f"{self.peak_mb:.0f}",
        )


def as_text(cells: Sequence[Cell], first: bool) -> str:
    """Format rows of a table for a terminal, with its head if they are the first."""
    rows = [cell.texts() for cell in cells]
    if first:
        rows.insert(0, _HEAD)
    return aligned(rows, (20, 9, 10, 10, 10, 7, 8, 8, 8, 8, 7))


def aligned(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Align rows for a terminal: two columns of names, then numbers."""
    return "\n".join(
        "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table: two columns of names, then numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|---" + "|---:" * (len(head) - 2) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def rows_of(
    cells: Sequence[Cell],
    single: dict[str, dict[str, tuple[float, str]]],
    curves: dict[str, list[tuple[int, float]]],
) -> list[Row]:
    """Make the rows of all results for the file that has those of all benches."""
    rows = []
    for cell in cells:
        found = {
            "rate": (cell.lookups_per_s, "lookups/s"),
            "slowest round": (cell.least, "lookups/s"),
            "fastest round": (cell.most, "lookups/s"),
            "to ours": (cell.ratio, "times"),
            "CPU": (cell.cpu_s_per_million, "µs a lookup"),
            "peak": (cell.peak_mb, "MB"),
        }
        rows += figures(cell.workload, cell.system, found)
        rows += latencies(cell.workload, cell.system, cell.period.percentiles_ms())
    for name, metrics in single.items():
        rows += figures(name, "ours", metrics)
    for about, points in curves.items():
        rows += [Row(about, "ours", "CPU", cost, "µs a lookup", size) for size, cost in points]
    return rows


def split_results(path: Path) -> tuple[str, str]:
    """Return the text of RESULTS.md before the section that `turn.py` keeps at its end, and that
    section."""
    text = path.read_text() if path.exists() else ""
    before, title, after = text.partition(COUNTED)
    return before, title + after


def write_results(
    path: Path,
    cells: Sequence[Cell],
    single: dict[str, dict[str, tuple[float, str]]],
    curves: dict[str, list[tuple[int, float]]],
    pictures: Sequence[Path],
) -> None:
    """Write RESULTS.md: the tables, the pictures, the machine, the command and the date; and keep
    what `bench/turn.py` counted."""
    parts = [
        "# Results",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}.",
        f"    python3 {' '.join(sys.argv)}",
        "The load, the load balancer and two table servers share this machine. `x ours` is the "
        "ratio of a system's median to ours in the same rounds; `from` and `to` are its slowest "
        "and fastest round. CPU and memory are those of the load balancer alone.",
        markdown(_HEAD, [cell.texts() for cell in cells]),
    ]
    if single:
        parts.append("## Large inputs and start-up, ours")
        lines = ["| what | figure | value |", "|---|---|---:|"]
        lines += [
            f"| {name} | {key} ({unit}) | {value:.1f} |"
            for name, metrics in single.items()
            for key, (value, unit) in metrics.items()
        ]
        parts.append("\n".join(lines))
    if curves:
        parts += ["## Cost against size, ours", "CPU microseconds a lookup."]
        for about, points in curves.items():
            lines = [f"| {about} | CPU µs a lookup |", "|---:|---:|"]
            lines += [f"| {size:,} | {cost:.2f} |" for size, cost in points]
            parts.append("\n".join(lines))
    parts += [f"![{picture.stem}]({picture.name})" for picture in pictures]
    _, counted = split_results(path)
    path.write_text("\n\n".join([*parts, counted]).rstrip("\n") + "\n")
