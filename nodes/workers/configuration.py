"""Configuration: what workers are built from, as their parent sees it.

The parent reads it anew when it is told to reload, and forks workers with it from then on.

Not here: files and command lines (`nodes/cli/`), and how workers are replaced (`succession.py`).
"""

from typing import Protocol

from core.bounds import Bounds


class RefusedError(Exception):
    """The configuration cannot be had. The text is one line that says why."""


class Configuration(Protocol):
    """The configuration of workers. `bounds` are those of each."""

    @property
    def bounds(self) -> Bounds:
        """Return the bounds of what is forked now."""

    def reread(self) -> bool:
        """Read it anew; return whether it means something else than before. Raises RefusedError,
        and is as before then."""


class FixedConfiguration:
    """A configuration that is as it was at the start."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def reread(self) -> bool:
        """Return that it is the same."""
        return False
