"""Terminal: a line of progress, and flags that choose by name, for all command lines here.

Not here: the measurements, and their reports.
"""

import sys
import time


class Progress:
    """A line on a terminal that shows how far a run has come."""

    def __init__(self) -> None:
        self._status = sys.stderr.isatty()
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        if self._status:
            passed = time.monotonic() - self._began
            print(f"\r\x1b[K{passed:4.0f} s  {text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._status:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def chosen(text: str | None, names: list[str], what: str, separator: str = ",") -> list[str]:
    """Split the names that a flag lists. Raises SystemExit(2) for an unknown one."""
    if text is None:
        return names
    wanted = [word.strip() for word in text.split(separator) if word.strip()]
    for word in wanted:
        if word not in names:
            print(f"there is no {what} {word!r}; there are: {', '.join(names)}", file=sys.stderr)
            raise SystemExit(2)
    return wanted
