"""Cost against size: CPU microseconds of a lookup when there is more of something.

No curve may rise with its size: that would be a buffer that is copied as it grows, or a list that
is searched. The load balancer is measured, and for the rows of a table the table server.

Not here: the comparison with others, and the picture (`bench/pictures.py`).
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from load import Load
from systems import Process, node, running
from workloads import MILLION, names_and_answers, write_table

_SECONDS = 1.5
Points = list[tuple[int, float]]


def _cost_us(process: Process, port: int, rows: int, connections: int, window: int) -> float:
    """Return the CPU of this process in µs for each lookup of a load on that port."""
    names, answers = names_and_answers(rows)
    load = Load(port, names, answers, connections=connections, window=window)
    load.run(_SECONDS / 3)
    before = process.cpu_s()
    lookups = load.run(_SECONDS).lookups
    cost = (process.cpu_s() - before) / lookups * 1e6
    load.finish()
    return cost


def _balancer(folder: Path, rows: int, connections: int, window: int, servers: int = 2) -> float:
    with contextlib.ExitStack() as stack:
        words: list[object] = []
        for number in range(servers):
            table = write_table(folder / f"sizes{number}", range(number, rows, servers))
            server = stack.enter_context(running(node("ts", 0, "--table", table)))
            words += ["127.0.0.1", server.port]
        balancer = stack.enter_context(running(node("ls", 0, *words)))
        return _cost_us(balancer, balancer.port, rows, connections, window)


def in_flight(folder: Path, size: int) -> float:
    connections = 1 if size < 100_000 else 16
    return _balancer(folder, max(2 * size, 1_000), connections, size // connections)


def connections(folder: Path, size: int) -> float:
    return _balancer(folder, max(20 * size, 1_000), size, 10)


def servers(folder: Path, size: int) -> float:
    return _balancer(folder, 20_000, 10, 100, size)


def table_rows(folder: Path, size: int) -> float:
    table = write_table(folder / "rows", range(size))
    with running(node("ts", 0, "--table", table)) as server:
        return _cost_us(server, server.port, size, 1, 10)


CURVES: dict[str, tuple[Callable[[Path, int], float], Sequence[int]]] = {
    "names in flight": (in_flight, (1, 10, 100, 1_000, 10_000, 100_000, MILLION)),
    "connections, 10 names in flight each": (connections, (1, 10, 100, 992)),
    "table servers": (servers, (1, 2, 4, 8, 16, 32)),
    "rows of a table, 10 names in flight (CPU of the TS)": (
        table_rows,
        (10, 1_000, 100_000, MILLION),
    ),
}


def measure_curves(folder: Path, say: Callable[[str], None]) -> dict[str, Points]:
    """Measure every curve."""
    curves: dict[str, Points] = {}
    for about, (function, sizes) in CURVES.items():
        curves[about] = []
        for size in sizes:
            say(f"{about}: {size:,}")
            curves[about].append((size, function(folder, size)))
    return curves
