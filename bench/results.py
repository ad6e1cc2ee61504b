"""Results of all benches in one JSON file: what a result is, and how it is kept.

Every bench takes `--json FILE` and puts its rows there as its own section; the sections of other
benches stay as they are, so that one file can hold all of them:

    {"dns": {"date": "2026-11-29", "commit": "4ede773", "machine": "2 cores, ...",
             "command": "bench/dns.py --rounds 3",
             "rows": [{"case": "20 in flight", "system": "ours",
                       "figure": "p99", "value": 0.61, "unit": "ms"}, ...]}, ...}

Not here: tables for people (`bench/report.py`), pictures (`bench/pictures.py`), and what a
percentile is (`bench/percentiles.py`).
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systems import ROOT


@dataclass(frozen=True)
class Row:
    """A figure of a system in a case, such as the p99 of `ours` at `1x100`.

    `at` is there for the points of a curve: the size, load or second at which it was measured.
    """

    case: str
    system: str
    figure: str
    value: float
    unit: str
    at: float | None = None

    def as_json(self) -> str:
        """Format it as an object; the value is null where nothing could be measured."""
        told = {
            "case": self.case,
            "system": self.system,
            "figure": self.figure,
            "value": None if math.isnan(self.value) else float(f"{self.value:.6g}"),
            "unit": self.unit,
        }
        return json.dumps(told if self.at is None else {**told, "at": self.at}, ensure_ascii=False)


def figures(
    case: str, system: str, values: Mapping[str, tuple[float, str]], at: float | None = None
) -> list[Row]:
    """Make a row of each figure, given as its value and its unit."""
    return [Row(case, system, name, value, unit, at) for name, (value, unit) in values.items()]


def latencies(case: str, system: str, took_ms: Mapping[str, float], about: str = "") -> list[Row]:
    """Make a row of each percentile; `about` tells apart several kinds of latencies of a case."""
    return [Row(case, system, f"{about} {name}".strip(), ms, "ms") for name, ms in took_ms.items()]


def keep(path: Path | None, bench: str, rows: Iterable[Row]) -> None:
    """Put these rows into the file as the section of this bench, in place of its former ones.

    Nothing happens without a path: `--json` was not given.
    """
    if path is None:
        return
    section = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "command": " ".join([f"bench/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "rows": list(rows),
    }
    write(path, {**read(path), bench: section})


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Read all sections of a file, by bench; none where there is no file. Raises ValueError."""
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(told, dict) or not all("rows" in section for section in told.values()):
        raise ValueError(f"{path} has no results of benches")
    return {
        bench: {
            **section,
            "rows": [
                Row(**{**row, "value": math.nan if row["value"] is None else row["value"]})
                for row in section["rows"]
            ],
        }
        for bench, section in told.items()
    }


def write(path: Path, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the sections, a row a line, at once: a reader never finds half of a file."""
    parts = []
    for bench, section in sorted(sections.items()):
        about = [
            f" {json.dumps(name)}: {json.dumps(told, ensure_ascii=False)}"
            for name, told in section.items()
            if name != "rows"
        ]
        body = ",\n".join(f"  {row.as_json()}" for row in section["rows"])
        lines = ",\n".join([*about, f' "rows": [\n{body}\n ]'])
        parts.append(f"{json.dumps(bench)}: {{\n{lines}\n}}")
    made = path.with_name(f"{path.name}.{os.getpid()}")
    made.write_text("{\n" + ",\n".join(parts) + "\n}\n")
    made.replace(path)


def add_flag(parser: argparse.ArgumentParser) -> None:
    """Give a command line its `--json`, which is looked at before anything is measured."""
    parser.add_argument(
        "--json", type=_file, metavar="FILE", help="put the results there, beside those of others"
    )


def _file(text: str) -> Path:
    path = Path(text)
    try:
        read(path)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(f"{path} cannot be written")
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return path


def commit() -> str | None:
    """Return the commit of this checkout, with a `+` if it was changed since; None without git."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> str:
    """Describe this machine and Python."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    except OSError:
        pass
    optimized = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "built with" if optimized else "built without"
    build += " --enable-optimizations"
    return (
        f"{os.cpu_count()} cores{f' ({model})' if model else ''}, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()} ({build})"
    )
