"""Environment: what all parts of one running program share.

Handed down as one object, so that a part that needs another bound, or randomness, changes no
signature on the way to it.

Not here: sockets and the clock (`core/io/system.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from core.bounds import BoundHits, Bounds
from core.machine import Watch


@dataclass(slots=True)
class Environment:
    """`watch` is called when a machine changes its state; `random()` is in [0, 1), `secret(n)` is n
    bytes that nobody can guess, and `wall()` the time of day in s since 1970: to be written down,
    never for a decision. Without the last three nothing varies, so that a test repeats."""

    bounds: Bounds = field(default_factory=Bounds)
    hits: BoundHits = field(default_factory=BoundHits)  # how often each bound took hold
    watch: Watch | None = None
    random: Callable[[], float] = float
    secret: Callable[[int], bytes] = bytes
    wall: Callable[[], float] = float
