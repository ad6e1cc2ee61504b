"""Style of all pictures: as wide as a README shows them, and what each colour means.

A README is some 800 px wide. A picture is drawn just so wide, with letters of 12 px, so that it is
read as it was drawn. A colour means the same system in every panel of every picture, names stand
at the marks and not in a legend, and the title says what is to be seen.

Not here: the pictures (`bench/pictures.py`).
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 800 / 96  # an SVG has 96 px to an inch
LETTERS_PT = 9.0  # 12 px
OURS = "#0072b2"
GREY = "#767676"
COLOURS = {  # told apart by those who see no red or no green, too
    "ours": OURS, "race": OURS,
    "hedge": "#d55e00", "single": GREY,
    "streams": "#e69f00", "uvloop": "#b87f00",
    "batched": "#009e73", "uvbatched": "#00664b",
    "relay": "#222222", "lockstep": GREY,
    "dnsmasq --all-servers": "#e69f00", "smartdns": "#009e73",
    "dnsdist (one)": "#cc79a7", "unbound (one)": "#8c6bb1",
}  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """The percentiles of a system's latencies in ms."""

    system: str
    p50: float
    p99: float
    p999: float


def value(rows: Iterable[Row], case: str, system: str, figure: str) -> float | None:
    """Return a figure of a system in a case; None where it was not measured."""
    wanted = (case, system, figure)
    found = (row.value for row in rows if (row.case, row.system, row.figure) == wanted)
    return next(found, None)


def spreads(rows: Sequence[Row], case: str) -> list[Spread]:
    """Return the spread of each system that was measured in a case, in their order."""
    systems = dict.fromkeys(row.system for row in rows if row.case == case)
    found = []
    for system in systems:
        told = [value(rows, case, system, name) for name in ("p50", "p99", "p99.9")]
        ms = [one for one in told if one is not None]
        if len(ms) == len(told):
            found.append(Spread(system, *ms))
    return found


def plotter(path: Path) -> ModuleType | None:
    """Import the module that draws; print a line and return None if there is none."""
    try:
        import matplotlib
    except ImportError:
        print(f"no picture {path.name}: pip install -r bench/requirements.txt", file=sys.stderr)
        return None
    matplotlib.use("svg")
    sizes = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "photofinish",  # the same results give the same bytes
            **dict.fromkeys(sizes, LETTERS_PT),
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
        }
    )
    from matplotlib import pyplot

    return pyplot


def finish(pyplot: ModuleType, figure: "Figure", title: str, path: Path) -> None:
    """Put the title above all panels, and write the picture."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=LETTERS_PT + 2, fontweight="bold")
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def plain_log(axis: "Axes", which: str) -> None:
    """Label a log axis with plain numbers: 0.1, 1, 10, 10k."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in which:
        getattr(axis, f"set_{name}scale")("log")
        ticks = axis.xaxis if name == "x" else axis.yaxis
        least, most = axis.get_xlim() if name == "x" else axis.get_ylim()
        subs = (1, 2, 5) if most < 30 * least else (1,)  # a short axis has few powers of ten
        ticks.set_major_locator(LogLocator(base=10, subs=subs, numticks=8))
        ticks.set_major_formatter(FuncFormatter(lambda number, _: short(number)))
        ticks.set_minor_formatter(NullFormatter())


def short(number: float) -> str:
    """Format a number of an axis in few letters."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def draw_spreads(axis: "Axes", systems: Sequence[str], found: Iterable[Spread]) -> None:
    """Draw a line from p50 to p99.9 for each system, in the row that has its name."""
    for one in found:
        at, colour = systems.index(one.system), COLOURS[one.system]
        axis.plot([one.p50, one.p999], [at, at], color=colour, linewidth=1.5)
        axis.plot([one.p50], [at], "o", color=colour, markersize=5)
        axis.plot([one.p99], [at], "|", color=colour, markersize=10, markeredgewidth=2)
        axis.plot([one.p999], [at], "o", color=colour, markersize=5, markerfacecolor="white")
    axis.set_ylim(len(systems) - 0.4, -0.6)
    axis.set_yticks(range(len(systems)), systems)
    axis.tick_params(axis="y", length=0)
    for label in axis.get_yticklabels():
        label.set_color(COLOURS[label.get_text()])
        label.set_fontweight("bold" if label.get_text() == "ours" else "normal")
    plain_log(axis, "x")
    axis.grid(axis="x")
