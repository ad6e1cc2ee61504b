"""How much work something is, in lines of Python: the same on every machine.

Not here: what is too much.
"""

import sys
from collections.abc import Callable
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
