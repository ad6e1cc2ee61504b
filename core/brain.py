"""The contract between a brain and the loop: events in, effects out.

A brain is pure: time and randomness are arguments, and the loop performs its effects after the
step, in order. Every connection, accepted or dialled, ends with exactly one `Closed`: nothing comes
from it afterwards, and no effect may name it. After its own `Close` or `Abort` the brain hears
nothing of a connection but that `Closed`. An event carries every whole line of one read; answer it
with one `Send` per connection. The loop reads dialled connections first, in the order in which
their names were first dialled.

Not here: any behaviour, and what the operator asks and is told (`core/operator.py`).
"""

from typing import Protocol

from core.effects import Effect
from core.events import Event


class Brain(Protocol):
    """A program without its sockets and its clock: the loop runs it.

    `due`: when a Woken is wanted at the latest, infinite for never. Each step brings it up to date.
    """

    @property
    def due(self) -> float: ...

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event at time `now` (seconds, monotonic). Must not raise: that is a bug."""
        ...
