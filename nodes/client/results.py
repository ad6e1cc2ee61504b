"""Results of names, and the lines that are written for names.

A line is an answer or a negative as LS said it, or `NAME - LOST` or `NAME - ERROR BADNAME`: its
end tells the result.

Not here: which name a reply belongs to (`nodes/client/worksheet.py`), and the same as JSON
(`nodes/client/json_lines.py`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

from core.protocol.names import Negative


class NameResult(Enum):
    """The results of names, in the order of a summary. Their values are for people."""

    ANSWERED = "answered"
    NOT_FOUND = "not found"
    NO_DATA = "no data"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    BAD = "bad"
    LOST = "lost"


NEGATIVE_RESULTS = {
    Negative.TIMED_OUT: NameResult.TIMED_OUT,
    Negative.NOT_FOUND: NameResult.NOT_FOUND,
    Negative.NO_DATA: NameResult.NO_DATA,
    Negative.NAMES_BELOW: NameResult.NO_DATA,
    Negative.BLOCKED: NameResult.NOT_FOUND,
    Negative.FAILED: NameResult.FAILED,
}
BAD_END, LOST_END = b" - ERROR BADNAME", b" - LOST"  # of lines that LS does not say
_ALWAYS_SHOWN = frozenset(
    {NameResult.ANSWERED, NameResult.TIMED_OUT, NameResult.BAD, NameResult.LOST}
)

# Writes the lines of names: of parallel sequences.
LineFormat = Callable[[Sequence[bytes], Sequence[bytes]], bytes]


def plain_lines(names: Sequence[bytes], lines: Sequence[bytes]) -> bytes:
    """Write the lines as they are, each ended by LF."""
    return b"\n".join(lines) + b"\n"


def summary(tally: Counter[NameResult], count: int) -> str:
    """Return in words how many of so many names had which result."""
    counts = [
        f"{tally[result]} {result.value}"
        for result in NameResult
        if tally[result] or result in _ALWAYS_SHOWN
    ]
    return f"{count} name{'' if count == 1 else 's'}: {', '.join(counts)}"
