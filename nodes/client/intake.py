"""Intake: names as they come on the connection INPUT, and no faster than they can be worked off.

INPUT is paused while LS does not take questions, while nobody reads the output, and while
`names_held_max` names are not written: one that waits for its time to be over may hold up those
behind it. When the client is given up, names of a list that is at hand are lost to the last one,
and of any other list no more are read.

Not here: how people write names (`nodes/client/name_list.py`), and what is open
(`nodes/client/worksheet.py`).
"""

from core.effects import Effect, Pause, Resume
from core.events import Closed, Ended, Event, Received
from core.operator import Level, Report
from nodes.client.name_list import NameList
from nodes.client.settings import ClientSettings
from nodes.client.worksheet import Worksheet

INPUT = "input"


class Intake:
    """The names, those that are there from the start, and the list of more, if there is one. It is
    read while fewer than `held_max` names are held.

    `to_ask`: the questions that are to be asked, each ended by LF. `is_open`: more names may come.
    `failure`: why none can; empty while that is not so.
    """

    def __init__(
        self, settings: ClientSettings, sheet: Worksheet, held_max: int, names: list[bytes]
    ) -> None:
        self.to_ask = sheet.add(b"".join(name + b"\n" for name in names))
        self.is_open = settings.list_name != ""
        self.failure = ""
        self._called = settings.list_name
        self._is_at_hand = settings.is_list_at_hand
        self._list = NameList(settings.list_name)
        self._sheet = sheet
        self._held_max = held_max
        self._is_paused = False
        self._is_lost = False

    def take(self, event: Event) -> list[Effect]:
        """Put the next names on the worksheet, or take the end of the list."""
        match event:
            case Received(_, data):
                return self._take_lines(data)
            case Closed(_, why):
                self.is_open = False
                self.failure = f"cannot read {self._called}: {why}"
            case Ended():
                self.is_open = False
        return []

    def _take_lines(self, data: bytes) -> list[Effect]:
        lines = self._list.read(data)
        self.failure = self._list.refused
        if not lines:
            return []
        self.to_ask += self._sheet.add(lines)
        if self._is_lost:
            self._sheet.lose()
            self.to_ask = b""
        bad = self._list.complaints(self._sheet.bad)
        return [Report(text, Level.WARNING, "bad_name") for text in bad]

    def take_questions(self) -> bytes:
        """Return what is to be asked, and count it as asked."""
        questions, self.to_ask = self.to_ask, b""
        return questions

    def lose(self) -> None:
        """Let names that still come be lost, or read no more."""
        self._is_lost = True
        self.is_open = self.is_open and self._is_at_hand and not self.failure

    def steer(self, has_room: bool) -> list[Effect]:
        """Read on, or pause. `has_room`: neither LS nor the output has too much before it."""
        is_full = self._sheet.held >= self._held_max
        if not self.is_open or self._is_paused is (is_full or not has_room):
            return []
        self._is_paused = not self._is_paused
        return [Pause(INPUT) if self._is_paused else Resume(INPUT)]
