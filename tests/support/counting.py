"""How much work something is, in lines of Python, and what is kept; and an alarm.

Not here: what is too much.
"""

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


def lines_run(work: Callable[[], object]) -> int:
    """Count the lines of Python that it takes."""
    count = 0

    def trace(frame: FrameType, event: str, value: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    """Fail where something would go on for ever; far beyond what it takes on any machine."""

    def too_long(*_: object) -> None:
        raise AssertionError("it does not end")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def open_descriptors() -> set[str]:
    """Return the numbers of the descriptors that this process has, one to list them included."""
    gc.collect()
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def alive(kind: type) -> int:
    """Count the objects of a class that anything still holds."""
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())
