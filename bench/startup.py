"""Start-up of each program: from its start to its help, to being ready, or to its first answer.

    python3 bench/startup.py

Every round starts each program once; results are medians of the rounds, in ms of the clock. The
time of a bare Python, which does nothing, is the least that is possible. A server is ready when it
says so; the client has ended when it has printed the answer to one name. Not here: a table server
with a million rows (`bench/workloads.py`), and a whole system (`make run-local`).
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from report import markdown
from results import Row, add_flag, figures, keep
from systems import ROOT, node, running
from terminal import Progress

ROUNDS = 9
_LEAST = "Python alone"
Took = dict[str, list[float]]  # ms of each round, by what was started


def end_ms(words: list[str]) -> float:
    """Run a program to its end; return how long it took. Raises RuntimeError if it fails."""
    began = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    took_ms = (time.perf_counter() - began) * 1000
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {done.stderr.strip()}")
    return took_ms


def ready_ms(words: list[str]) -> float:
    """Start a server; return how long it took to be ready."""
    began = time.perf_counter()
    with running(words):
        return (time.perf_counter() - began) * 1000


def measure(folder: Path, rounds: int = ROUNDS, say: Callable[[str], None] = str) -> Took:
    """Start every program in each round."""
    table = folder / "startup"
    table.write_text("a.example 10.0.0.1 A\n")
    took: Took = {}
    with ExitStack() as stack:
        ts = stack.enter_context(running(node("ts", 0, "--table", table)))
        to_ts = ("127.0.0.1", ts.port)
        ls = stack.enter_context(running(node("ls", 0, *to_ts)))
        started = {_LEAST: (end_ms, [sys.executable, "-c", "pass"])}
        started["--version"] = (end_ms, node("--version"))
        for program in ("ts", "ls", "client", "replay"):
            started[f"{program} --help"] = (end_ms, node(program, "--help"))
        started |= {
            "ts, ready": (ready_ms, node("ts", 0, "--table", table)),
            "ls, ready": (ready_ms, node("ls", 0, *to_ts)),
            "ls --workers 2, ready": (ready_ms, node("ls", 0, *to_ts, "--workers", 2)),
            "client, one name": (end_ms, node("client", "127.0.0.1", ls.port, "a.example")),
        }
        for number in range(rounds):
            say(f"start-up: round {number + 1}")
            for name, (run, words) in started.items():
                took.setdefault(name, []).append(run(words))
    return took


def medians(took: Took) -> dict[str, tuple[float, str]]:
    """Return the median of each, with its unit."""
    return {name: (statistics.median(ms), "ms") for name, ms in took.items()}


def rows_of(took: Took) -> list[Row]:
    """Make the rows to keep."""
    return figures("start-up", "ours", medians(took))


def table(took: Took) -> str:
    """Format medians, and the least and the most of all rounds."""
    least = statistics.median(took[_LEAST])
    rows = []
    for name, ms in took.items():
        cells = (statistics.median(ms), min(ms), max(ms), statistics.median(ms) - least)
        rows.append((name, "", *(f"{cell:.0f}" for cell in cells)))
    head = ("start-up", "", "median ms", "least", "most", f"beyond {_LEAST}")
    return markdown(head, rows)


def main() -> int:
    """Measure, print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="(%(default)s)")
    add_flag(parser)
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        print("--rounds has to be more than 0", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    progress = Progress()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            took = measure(Path(name), arguments.rounds, progress.say)
    except RuntimeError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    progress.end()
    print(table(took))
    keep(arguments.json, "startup", rows_of(took))
    return 0


if __name__ == "__main__":
    sys.exit(main())
