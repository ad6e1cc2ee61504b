"""Engine: the contract between the loop and its parts, which perform effects and make events.

A part never steps the brain in the middle of its own work: what it says waits in `events`.

Not here: the loop itself (`core/io/loop.py`).
"""

from collections import deque
from typing import Any, Protocol

from core.environment import Environment
from core.events import Event
from core.io.log import Log
from core.io.system import System


class Engine(Protocol):
    """What the loop gives to a part of it.

    `events` wait for the brain until `deliver()`. What is `doomed` is closed when the turn ends.
    `read_fds_stale` is set when another set of descriptors is to be read, `exit_code` to stop.
    """

    events: deque[Event]
    read_fds_stale: bool
    exit_code: int | None

    @property
    def system(self) -> System: ...

    @property
    def environment(self) -> Environment: ...

    @property
    def log(self) -> Log: ...

    @property
    def doomed(self) -> list[Any]: ...

    def deliver(self) -> None:
        """Step the brain through what happened."""
        ...

    def not_dialled(self, name: str, error: OSError) -> str:
        """Return why there is no socket; say it where this process is out of something."""
        ...

    def begin_last_call(self) -> None:
        """Take only those who wait at the listeners that a drain closes, and nobody after them."""
        ...

    def accept_the_last(self) -> bool:
        """Accept a turn's share of them; return whether that was the last, and nobody listens."""
        ...
