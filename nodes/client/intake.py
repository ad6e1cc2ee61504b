"""Intake: names as they come on the connection INPUT, and no faster than they can be worked off.

INPUT is paused while LS does not take questions, while nobody reads the output, and while
`names_held_max` names are not written: one that waits for its time to be over may hold up those
behind it.

Not here: how people write names (`nodes/client/name_list.py`), and what is open
(`nodes/client/worksheet.py`).
"""

from core.effects import Abort, Effect, Pause, Resume
from core.events import Closed, Ended, Event, Received
from core.operator import Level, Report
from nodes.client.name_list import NameList
from nodes.client.worksheet import Worksheet

INPUT = "input"


class Intake:
    """The list of names, `called` by this name; there is none if that is empty.

    It is read while fewer than `held_max` names are held.
    `is_open`: more names may come. `failure`: why none can; empty while that is not so.
    """

    def __init__(self, called: str, sheet: Worksheet, held_max: int) -> None:
        self.is_open = called != ""
        self.failure = ""
        self._called = called
        self._list = NameList(called)
        self._sheet = sheet
        self._held_max = held_max
        self._is_paused = False

    def take(self, event: Event) -> tuple[bytes, list[Effect]]:
        """Put the next names on the worksheet, or take the end of the list. Return the questions to
        ask, each ended by LF."""
        match event:
            case Received(_, data) if self.is_open:
                lines = self._list.read(data)
                self.failure = self._list.refused
                to_ask = self._sheet.add(lines) if lines else b""
                bad = self._list.complaints(self._sheet.bad) if lines else ()
                return to_ask, [Report(text, Level.WARNING, "bad_name") for text in bad]
            case Closed(_, why) if self.is_open:
                self.failure = f"cannot read {self._called}: {why}"
            case Ended() if self.is_open:
                self.is_open = False
                return b"", [Abort(INPUT)]
        return b"", []

    def steer(self, has_room: bool) -> list[Effect]:
        """Read on, or pause. `has_room`: neither LS nor the output has too much before it."""
        is_full = self._sheet.held >= self._held_max
        if not self.is_open or self._is_paused is (is_full or not has_room):
            return []
        self._is_paused = not self._is_paused
        return [Pause(INPUT) if self._is_paused else Resume(INPUT)]
