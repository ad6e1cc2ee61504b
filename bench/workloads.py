"""Workloads, their servers, and the measurement of a system under a workload.

Not here: rounds, medians and tables (`bench/throughput.py`, `bench/report.py`).
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from load import Load, Period, WrongReply
from systems import ROOT, System, free_port, node, running

LoadT = TypeVar("LoadT", bound=Load)
Figures = dict[str, tuple[float, str]]  # by name: a value and its unit
NAMES = 20_000
_WARM_SHARE = 0.25  # of the seconds measured, before them
MILLION = 1_000_000


@dataclass(frozen=True)
class Workload:
    """`connections` connections with `window` questions in flight each."""

    name: str
    connections: int
    window: int
    idle: int = 0  # more connections, which ask nothing
    servers: str = "split"  # which table servers: see `table_servers`

    def load(self, port: int, kind: type[LoadT]) -> LoadT:
        """Connect a load of this kind to a port."""
        names, answers = names_and_answers(NAMES)
        return kind(
            port,
            names,
            answers,
            connections=self.connections,
            window=self.window,
            idle=self.idle,
        )


WORKLOADS = (
    Workload("1", 1, 1),
    Workload("1x100", 1, 100),
    Workload("10x20", 10, 20),
    Workload("1x5000", 1, 5_000),
    Workload("50x100", 50, 100),
    Workload("900 idle + 1x100", 1, 100, idle=900),
    Workload("one TS silent, 1x100", 1, 100, servers="silent"),
    Workload("one TS dead, 1x100", 1, 100, servers="dead"),
)


def row(number: int) -> str:
    return f"host{number}.example 10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def names_and_answers(count: int) -> tuple[list[bytes], list[bytes]]:
    """Return names and the whole replies that they must get, parallel."""
    rows = [row(number) for number in range(count)]
    return [r.split()[0].encode() for r in rows], [f"{r} A IN".encode() for r in rows]


def write_table(path: Path, numbers: range) -> Path:
    with path.open("w") as file:
        file.writelines(f"{row(number)} A\n" for number in numbers)
    return path


@contextlib.contextmanager
def table_servers(folder: Path, count: int = NAMES) -> Iterator[dict[str, list[int]]]:
    """Start our table servers for every workload; yield their ports by kind.

    split: two with half of the names each. silent: one without a row, one with all. dead: one
    that is not there, one with all.
    """
    parts = {
        "even": range(0, count, 2),
        "odd": range(1, count, 2),
        "none": range(0),
        "all": range(count),
    }
    with contextlib.ExitStack() as stack:
        port = {}
        for name, numbers in parts.items():
            table = write_table(folder / name, numbers)
            process = stack.enter_context(running(node("ts", 0, "--table", table)))
            port[name] = process.port
        yield {
            "split": [port["even"], port["odd"]],
            "silent": [port["none"], port["all"]],
            "dead": [free_port(), port["all"]],
        }


@dataclass(frozen=True)
class Round:
    """Results of one measurement."""

    lookups_per_s: float
    cpu_s_per_million: float  # of the load balancer alone
    peak_mb: float
    period: Period


def measure(
    system: System, workload: Workload, servers: list[int], folder: Path, seconds: float
) -> Round:
    """Start the system, warm it up, measure, wait for all replies. Raises."""
    with running(system.command(servers, folder)) as balancer:
        load = workload.load(balancer.port, Load)
        load.run(seconds * _WARM_SHARE)
        before = balancer.cpu_s()
        period = load.run(seconds)
        cpu_s = balancer.cpu_s() - before
        load.finish()
        return Round(
            period.lookups / period.seconds,
            cpu_s / max(1, period.lookups) * MILLION,
            balancer.peak_mb(),
            period,
        )


# -- ours alone: large inputs ----------------------------------------------------------------------


def cold_start(folder: Path) -> Figures:
    """Measure a table server with a million rows: seconds until it is ready, and its memory."""
    table = write_table(folder / "million", range(MILLION))
    began = time.perf_counter()
    with running(node("ts", 0, "--table", table)) as server:
        ready_s = time.perf_counter() - began
        return {"ready": (ready_s, "s"), "peak of TS": (server.peak_mb(), "MB")}


def large_file(folder: Path) -> Figures:
    """Measure a million names, 1 % of them unknown, with the real client; check its output."""
    names, answers = names_and_answers(MILLION)
    unknown = [b"unknown%d.example" % number for number in range(0, MILLION, 100)]
    names[::100] = unknown
    answers[::100] = [name + b" - TIMED OUT" for name in unknown]
    asked, out = folder / "names", folder / "out"
    asked.write_bytes(b"\n".join(names) + b"\n")
    halves = [write_table(folder / f"half{n}", range(n, MILLION, 2)) for n in (0, 1)]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(node("ts", 0, "--table", half))).port for half in halves
        ]
        words = [word for port in servers for word in ("127.0.0.1", port)]
        balancer = stack.enter_context(running(node("ls", 0, *words)))
        began = time.perf_counter()
        client = subprocess.Popen(
            node("client", "127.0.0.1", balancer.port, "--names", asked, "--out", out),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        peak_kb = _peak_kb_of_child(client)
        seconds = time.perf_counter() - began
        if out.read_bytes() != b"\n".join(answers) + b"\n":
            raise WrongReply("the client's output is not what the tables say")
        return {
            "all answered": (seconds, "s"),
            "peak of client": (peak_kb / 1024, "MB"),
            "peak of LS": (balancer.peak_mb(), "MB"),
        }


def _peak_kb_of_child(child: "subprocess.Popen[bytes]") -> int:
    """Wait for a child; return its largest resident size in KB."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"the client ended with exit code {child.returncode}")
    return usage.ru_maxrss
