"""Own process: what Prometheus watches of any process, by the names that it has there.

Read when somebody asks, from /proc as Linux has it (man 5 proc); elsewhere all that needs it is
left out.

Not here: what the programs count themselves (`core/metrics.py`).
"""

import os
import resource
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from core.metrics import Metric, Value

CPU_S = Metric("process_cpu_seconds", "CPU time that this process has used, in s", is_common=True)
MEMORY = Metric(
    "process_resident_memory_bytes", "Memory that this process holds, in bytes", True,
    is_common=True,
)  # fmt: skip
OPEN_FDS = Metric("process_open_fds", "Descriptors that are open", True, is_common=True)
MAX_FDS = Metric("process_max_fds", "Most descriptors that may be open", True, is_common=True)
START_S = Metric(
    "process_start_time_seconds", "Time at which this process began, in s since 1970", True,
    is_common=True,
)  # fmt: skip
_PROC = Path("/proc")
_AFTER_NAME = 19  # of the fields behind the name of the program: where its start stands


def own_process() -> list[Value]:
    """Return what is to be seen of this process now."""
    values = [
        Value(CPU_S, round(time.process_time(), 3)),
        Value(MAX_FDS, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]
    with suppress(OSError, ValueError, IndexError):  # no such /proc
        pages = int((_PROC / "self/statm").read_bytes().split()[1])
        open_fds = len(list((_PROC / "self/fd").iterdir())) - 1  # but that of the list itself
        values += [
            Value(MEMORY, pages * resource.getpagesize()),
            Value(OPEN_FDS, open_fds),
            Value(START_S, _began_at()),
        ]
    return values


@cache
def _began_at() -> float:
    """Return when this process began: as long after the machine did as it says, in ticks."""
    lines = (_PROC / "stat").read_text().split("\n")
    machine = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    behind_name = (_PROC / "self/stat").read_bytes().rpartition(b") ")[2].split()
    return machine + int(behind_name[_AFTER_NAME]) / os.sysconf("SC_CLK_TCK")
