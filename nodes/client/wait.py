"""Wait: how long LS has sent no reply for which names wait, and what a terminal shows meanwhile.

Nothing counts while no name waits. Progress is first shown after a while: a wait that is over at
once needs none.

Not here: what happens when patience is over (`nodes/client/client.py`), and the terminal
(`core/io/outputs.py`).
"""

import math

from core.effects import Effect
from core.operator import Progress
from nodes.client.worksheet import Worksheet

_SHOWN_EVERY_S = 0.2


class Wait:
    """The wait for replies. `due`: when patience ends, or progress is to be shown."""

    def __init__(self, patience_s: float, *, is_shown: bool) -> None:
        self._patience_s = patience_s
        self._is_shown = is_shown
        self._heard_at = math.inf  # since when no reply has come; infinite while none is awaited
        self._show_at = math.inf

    @property
    def due(self) -> float:
        return min(self._heard_at + self._patience_s, self._show_at)

    def begin(self, now: float) -> None:
        """Count from now on, unless it counts already."""
        if self._heard_at == math.inf:
            self._heard_at = now
            if self._is_shown:
                self._show_at = now + 2 * _SHOWN_EVERY_S

    def renew(self, now: float) -> None:
        """Start the patience over: a reply has come."""
        self._heard_at = now

    def is_over(self, now: float) -> bool:
        """Return whether there has been no reply for too long."""
        return now >= self._heard_at + self._patience_s

    def end(self) -> list[Effect]:
        """Count no more, and wipe the progress if any was to be shown."""
        self._heard_at = math.inf
        if self._show_at == math.inf:
            return []
        self._show_at = math.inf
        return [Progress("")]

    def show(self, sheet: Worksheet, now: float) -> list[Effect]:
        """Show how far it is, if that is due."""
        if now < self._show_at:
            return []
        self._show_at = now + _SHOWN_EVERY_S
        count, owed = sheet.count, sheet.owed
        return [Progress(f"{count - owed:,} of {count:,} names, {owed:,} waiting")]
