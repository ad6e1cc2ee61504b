"""Own process: its metrics are as the system says."""

import gc
import os
import sys
import time

import pytest

from core.io.own_process import own_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no /proc as Linux has it")


def seen() -> dict[str, float]:
    return {value.key: float(value.value) for value in own_process()}


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_what_is_seen_is_what_the_system_says() -> None:
    gc.collect()  # earlier tests have left sockets
    before = seen()
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    memory = b"x" * 50_000_000
    after = seen()
    for fd in opened:
        os.close(fd)
    assert after["process_open_fds"] == before["process_open_fds"] + 3
    assert after["process_open_fds"] == len([fd for fd in range(4_096) if is_open(fd)]) + 3
    assert after["process_open_fds"] < after["process_max_fds"]
    grown = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
    assert grown > len(memory) / 2
    assert (
        before["process_cpu_seconds"] <= after["process_cpu_seconds"] <= time.process_time() + 0.001
    )
    assert before["process_start_time_seconds"] == after["process_start_time_seconds"]
    assert time.time() - 86_400 < after["process_start_time_seconds"] <= time.time() + 1
