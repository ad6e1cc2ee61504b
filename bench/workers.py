"""Cost and gain of workers: `ls --workers N` compared with one process.

    python3 bench/workers.py --results bench/WORKERS.md

Each round starts every kind anew and drives each with the same load in turn; results are medians
of the rounds. The CPU of LS for a lookup is compared, its parent and all its workers together:
where cores are left over, it determines throughput. On a machine whose cores are all busy with
the load, LS and the TSs, more workers cannot serve more, and the table shows that.

Not here: what must be true of workers (`tests/nodes/test_supervisor.py`).
"""

import argparse
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from load import Load, WrongReply
from percentiles import SHARES, milliseconds
from results import Row, add_flag, figures, keep, latencies, machine
from systems import Process, children, cpu_s, node, running
from terminal import Progress
from workloads import WORKLOADS, Workload, names_and_answers, table_servers

KINDS = {"one process": (), "--workers 1": ("--workers", 1), "--workers 2": ("--workers", 2)}
ASKED = ("50x100", "10x20")
SESSIONS = 400


@dataclass(frozen=True)
class Round:
    """Results of one measurement. CPU in µs a lookup."""

    lookups_per_s: float
    ls_us: float
    ts_us: float
    load_us: float
    took_ms: dict[str, float]  # percentiles


def started(servers: list[int], words: tuple[object, ...]) -> list[str]:
    """Return the command of an LS in front of these TSs."""
    pairs = [word for port in servers for word in ("127.0.0.1", port)]
    return node("ls", 0, *pairs, *words)


def measure(
    words: tuple[object, ...],
    workload: Workload,
    servers: list[int],
    ts_pids: list[int],
    seconds: float,
) -> Round:
    """Start a kind, warm it up, measure, wait for all replies."""
    with running(started(servers, words)) as balancer:
        load = workload.load(balancer.port, Load)
        load.run(seconds / 4)
        before = cpu_s(balancer.pid), cpu_s(*ts_pids), time.process_time()
        period = load.run(seconds)
        after = cpu_s(balancer.pid), cpu_s(*ts_pids), time.process_time()
        load.finish()
        each = [(b - a) / period.lookups * 1e6 for a, b in zip(before, after, strict=True)]
        return Round(period.lookups / period.seconds, *each, took_ms=period.percentiles_ms())


def stats(port: int) -> dict[str, str]:
    """Ask for STATS; return values by name."""
    with socket.create_connection(("127.0.0.1", port)) as talk:
        talk.sendall(b"STATS\nQUIT\n")
        said = b""
        while data := talk.recv(1 << 16):
            said += data
    lines = said.decode().split("\n")
    return dict(line.split(" ")[1:] for line in lines if line.startswith("STAT "))


def until(port: int, happened: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """Ask for STATS until a condition holds. Raises WrongReply after 10 s without."""
    end = time.monotonic() + 10
    while not happened(told := stats(port)):
        if time.monotonic() > end:
            raise WrongReply(f"it never happened; metrics: {told}")
        time.sleep(0.02)
    return told


def spread(balancer: Process) -> list[int]:
    """Open SESSIONS connections; return how many each worker got."""
    talks = [socket.create_connection(("127.0.0.1", balancer.port)) for _ in range(SESSIONS)]
    told = until(balancer.port, lambda told: int(told["clients"]) >= SESSIONS)
    for talk in talks:
        talk.close()
    return [int(told[f"W{n}.clients"]) for n in (1, 2)]


def listeners(port: int) -> int:
    """Count the sockets that listen at a port of this machine (man 5 proc, /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def comes_back(balancer: Process) -> float:
    """Kill a worker; return the seconds until another listens in its place and all are answered."""
    names, answers = names_and_answers(1)
    began = time.monotonic()
    killed = children(balancer.pid)[0]
    os.kill(killed, signal.SIGKILL)
    while killed in children(balancer.pid) or listeners(balancer.port) < 2:
        if time.monotonic() > began + 10:
            raise WrongReply("the worker did not come back")
    for _ in range(20):  # the kernel spreads them over both
        with socket.create_connection(("127.0.0.1", balancer.port)) as talk:
            talk.sendall(names[0] + b"\nQUIT\n")
            said = b""
            while data := talk.recv(1 << 16):
                said += data
        if said != answers[0] + b"\nBYE\n":
            raise WrongReply(f"{said!r} instead of {answers[0]!r}")
    return time.monotonic() - began


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each (2)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each (5)")
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        text, rows = run(arguments.rounds, arguments.seconds)
    except WrongReply as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    print(text)
    keep(arguments.json, "workers", rows)
    if arguments.results:
        arguments.results.write_text(text)
    return 0


def run(rounds: int, seconds: float) -> tuple[str, list[Row]]:
    """Measure everything; return the page, and the rows to keep."""
    progress = Progress()
    lines = [
        "# Cost and gain of workers",
        "",
        "`make bench-workers` writes this page. CPU is of LS (parent and workers together), of the",
        "TSs, and of the load, in µs a lookup; medians of the rounds.",
        "",
        machine(),
        "",
        "| in flight | LS | lookups/s | CPU of LS | to one process | of TSs | of load | "
        + " | ".join(f"{name} ms" for name in SHARES)
        + " |",
        f"|---|---{'|---:' * (5 + len(SHARES))}|",
    ]
    rows: list[Row] = []
    arithmetic = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        with table_servers(Path(name)) as ports:
            servers = ports["split"]
            ts_pids = children(os.getpid())  # no other child is running yet
            for workload in (w for w in WORKLOADS if w.name in ASKED):
                seen: dict[str, list[Round]] = {kind: [] for kind in KINDS}
                for number in range(rounds):
                    kinds = list(KINDS)
                    turn = number % len(kinds)
                    for kind in kinds[turn:] + kinds[:turn]:
                        progress.say(f"{workload.name}: round {number + 1}, {kind}")
                        seen[kind].append(measure(KINDS[kind], workload, servers, ts_pids, seconds))
                progress.end()

                def middle(kind: str, metric: str, seen: dict[str, list[Round]] = seen) -> float:
                    return statistics.median(getattr(one, metric) for one in seen[kind])

                alone = middle("one process", "ls_us")
                for kind in KINDS:
                    ls_us = middle(kind, "ls_us")
                    took_ms = {
                        name: statistics.median(one.took_ms[name] for one in seen[kind])
                        for name in SHARES
                    }
                    lines.append(
                        f"| {workload.name} | {kind} | {middle(kind, 'lookups_per_s'):,.0f} "
                        f"| {ls_us:.2f} | {ls_us / alone:.2f} | {middle(kind, 'ts_us'):.2f} "
                        f"| {middle(kind, 'load_us'):.2f} | {milliseconds(took_ms, 1)} |"
                    )
                    found = {
                        "rate": (middle(kind, "lookups_per_s"), "lookups/s"),
                        "CPU": (ls_us, "µs a lookup"),
                        "CPU of TSs": (middle(kind, "ts_us"), "µs a lookup"),
                        "CPU of load": (middle(kind, "load_us"), "µs a lookup"),
                    }
                    rows += figures(workload.name, kind, found)
                    rows += latencies(workload.name, kind, took_ms)
                two = middle("--workers 2", "ls_us")
                arithmetic.append(
                    f"- {workload.name}: one process has {1e6 / alone:,.0f} lookups a second in a "
                    f"core; each of two workers {1e6 / two:,.0f}, both {2e6 / two:,.0f}, if they "
                    f"have a core each: {2 * alone / two:.2f} times one process."
                )
            progress.say("spread, death, clients")
            with running(started(servers, ("--workers", 2))) as balancer:
                shares = spread(balancer)
                back_s = comes_back(balancer)
            progress.end()
    lines += ["", "With enough cores that comes to:", "", *arithmetic, ""]
    most = max(shares) / sum(shares)
    lines += [
        f"{SESSIONS} sessions: {shares[0]} and {shares[1]}, at most {100 * most:.0f} % with one.",
        f"{back_s:.2f} s after a worker had been killed another one served in its place.",
        "",
    ]
    found = {"most with one worker": (most, "share"), "another worker after": (back_s, "s")}
    rows += figures(f"{SESSIONS} sessions", "--workers 2", found)
    return "\n".join(lines), rows


if __name__ == "__main__":
    sys.exit(main())
