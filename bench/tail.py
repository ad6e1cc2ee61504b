"""The tail: gain of asking two servers when servers are late, dead or silent, on real sockets.

    python3 bench/tail.py                          everything, in six minutes
    python3 bench/tail.py --only three-point --policies single,race --lookups 50000

Table servers that are slow on purpose (bench/slow.py) stand behind the real LS, which asks the
first of them (`single`), both at once (`race`), or the second only when the first is late, within
a budget of 5 % (`hedge`). Every reply is checked; a wrong one ends the run with exit code 1.

Not here: the experiments (bench/replicas.py, bench/sweep.py), and reports (bench/tail_report.py).
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from load import WrongReply
from pictures import draw_tail
from replicas import EXPERIMENTS, POLICIES, Asking, measure, measure_turning
from results import add_flag, keep
from sweep import measure_sweep
from tail_report import (
    TailResults,
    as_text,
    rows_of,
    sweep_as_text,
    turning_as_text,
    verdicts,
    write_results,
)
from terminal import Progress, chosen
from workloads import names_and_answers, write_table

_NAMES = 200_000  # enough that none is asked again while an answer to it may be on its way
_LARGEST = "three-point"  # has all of --lookups, however long that takes; others a quarter
_LONGEST_S = 600.0
TURNS_SLOW, LOAD = "turns-slow", "load"


def main() -> int:
    """Measure, print tables and verdicts; return the exit code."""
    names = [*(experiment.name for experiment in EXPERIMENTS), TURNS_SLOW, LOAD]
    about = [f"  {experiment.name}: {experiment.about}" for experiment in EXPERIMENTS]
    about += [
        f"  {TURNS_SLOW}: the first becomes 500 ms slower in mid-run",
        f"  {LOAD}: servers that serve one question at a time; the load up to which race pays",
    ]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="experiments:\n" + "\n".join(about),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", metavar="A,B", help="only these experiments, separated by commas")
    add("--policies", metavar="A,B", help=f"only these of {', '.join(POLICIES)}")
    add(
        "--lookups", type=int, default=200_000, metavar="N",
        help=f"of {_LARGEST} under each policy; a quarter for others (default 200,000)",
    )  # fmt: skip
    add(
        "--seconds", type=float, default=10.0, metavar="S",
        help=f"a measurement may take, {_LARGEST} apart; in {LOAD} each point five times that "
        "(default 10)",
    )  # fmt: skip
    add("--window", type=int, default=100, metavar="N", help="questions in flight (default 100)")
    add("--plot", type=Path, metavar="FILE.svg", help="draw them (needs matplotlib)")
    add("--results", type=Path, metavar="FILE.md", help="write tables, the machine, and tail.svg")
    add_flag(parser)
    arguments = parser.parse_args()
    if arguments.seconds < 2 or not 0 < arguments.window <= _NAMES:
        print(f"--seconds: 2 or more; --window: 1 to {_NAMES}", file=sys.stderr)
        return 2
    if arguments.lookups < 8 * arguments.window:
        print("--lookups has to be at least 8 windows", file=sys.stderr)
        return 2
    wanted = chosen(arguments.only, names, "experiment")
    policies = chosen(arguments.policies, list(POLICIES), "policy")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    try:
        results = run(arguments, wanted, policies)
    except WrongReply as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # a program did not start; the text says which, and why
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    for verdict in verdicts(results):
        print(verdict)
    keep(arguments.json, "tail", rows_of(results))
    if arguments.plot:
        draw_tail(rows_of(results), arguments.plot)
    if arguments.results:
        write_results(arguments.results, results)
    return 0


def run(arguments: argparse.Namespace, wanted: list[str], policies: list[str]) -> TailResults:
    """Run the wanted experiments; print each line of a table as soon as it is known."""
    progress = Progress()
    results = TailResults()

    def show(text: str) -> None:
        progress.end()
        print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="tail-") as name:
        folder = Path(name)
        table = write_table(folder / "table", range(_NAMES))
        asking = Asking(*names_and_answers(_NAMES), table, arguments.window)
        for experiment in (e for e in EXPERIMENTS if e.name in wanted):
            lookups, seconds = arguments.lookups // 4, arguments.seconds
            if experiment.name == _LARGEST:
                lookups, seconds = arguments.lookups, _LONGEST_S
            for policy in policies:
                progress.say(f"{experiment.name}: {policy}")
                row = measure(experiment, policy, asking, lookups, seconds)
                results.rows.append(row)
                show(as_text(row, first=len(results.rows) == 1))
        if TURNS_SLOW in wanted:
            for policy in (p for p in policies if p != "single"):
                progress.say(f"{TURNS_SLOW}: {policy}")
                turning = measure_turning(policy, asking, arguments.seconds)
                results.turnings.append(turning)
                show(turning_as_text(turning, first=len(results.turnings) == 1))
        if LOAD in wanted:
            results.sweep = measure_sweep(folder, arguments.seconds, progress.say)
            show(sweep_as_text(results.sweep))
    return results


if __name__ == "__main__":
    sys.exit(main())
