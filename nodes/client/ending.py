"""Ending: what people are told when a client ends, and its exit code.

Not here: the reason of an end that comes too early (`nodes/client/trouble.py`), and when a client
ends (`nodes/client/client.py`).
"""

from core.effects import Effect, Stop
from core.operator import Report
from nodes.client.intake import Intake
from nodes.client.settings import ClientSettings
from nodes.client.worksheet import Worksheet

_FAILED, _UNANSWERED = 1, 3  # exit codes


class Ending:
    """The end of a client that has this worksheet.

    Where it was given up the exit code is 1; else, if `unanswered_fails`, 3 where a name has no
    answer.
    """

    def __init__(self, settings: ClientSettings, sheet: Worksheet, intake: Intake) -> None:
        self._sheet = sheet
        self._intake = intake
        self._unanswered_fails = settings.unanswered_fails
        self._began_at = 0.0
        self._is_given_up = False

    def begin(self, now: float) -> None:
        """Take the time from now on."""
        self._began_at = now

    def give_up(self, why: str, now: float) -> list[Effect]:
        """Tell why it ends too early, and what has become of the names, unless more come."""
        self._is_given_up = True
        is_over = self._sheet.count and not self._intake.is_open
        return [Report(why, event="gave_up"), *(self.sum_up(now) if is_over else ())]

    def sum_up(self, now: float) -> list[Effect]:
        """Tell what has become of the names."""
        text = f"{self._sheet.summary()}, {now - self._began_at:.1f} s"
        return [Report(text, event="ended")]

    def stop(self) -> list[Effect]:
        """End the program, unless more of the list is to be lost."""
        if self._intake.is_open:
            return []
        code = _UNANSWERED if self._unanswered_fails and self._sheet.unanswered else 0
        return [Stop(_FAILED if self._is_given_up else code)]
