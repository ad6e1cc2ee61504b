"""The contract between a brain and the loop: events in, effects out.

A brain is pure. `step(event, now)` returns effects, which the loop performs after the step, in
order; `deadline()` is when the brain wants a `Woken` at the latest, None for never. Time and
randomness are arguments.

Rules for the brain. Every connection, accepted or dialled, ends with exactly one `Closed`, and
nothing comes from it afterwards; no effect may name it then. After its own `Close` or `Abort`
the brain hears nothing of a connection but that `Closed`. One event carries every whole line of
one read; answer it with one `Send` per connection.

The loop reads dialled connections first, in the order in which their names were first dialled.

Not here: any behaviour.
"""

from typing import Protocol

from core.effects import Effect
from core.events import Event


class Brain(Protocol):
    """What the loop runs."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event at time `now` (seconds, monotonic). Must not raise: that is a bug."""
        ...

    def deadline(self) -> float | None:
        """When a Woken is wanted; cheap, asked once a turn."""
        ...
