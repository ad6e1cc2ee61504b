r"""The log: one formatter for everything that a running node says to people.

One line per record, on standard error:

    16:06:41.123456 LS > client-1 rutgers.edu            a line was received
    16:06:41.123512 LS < TS1 rutgers.edu                 a line was sent
    16:06:41.124003 LS = TS1 DIALING -> CATCHING_UP      a state machine moved
    16:06:41.125210 LS TS1 is up                         a report: always shown

The first three kinds are the wire log (`--wire-log`); when it is off nothing of this is called.
Bytes that are not printable ASCII appear as `\xNN`, so that a record is always one line, and
what a peer sends cannot move the reader's cursor.

Not here: the descriptor (`core/sink.py`) and the clock, which is handed in.
"""

from collections.abc import Callable

from core.machine import Sign
from core.wire import printable, split_lines

_DAY_S = 86_400


class Log:
    """Formats records and hands each to `write`.

    `wall()` is the time of day in s since 1970, UTC. Without it a record is its bare text: what a
    program that a person runs by hand has to say.
    """

    def __init__(
        self, node: str, write: Callable[[bytes], None], wall: Callable[[], float] | None
    ) -> None:
        self._node = node
        self._write = write
        self._wall = wall

    def received(self, conn: str, data: bytes) -> None:
        """These whole lines came in."""
        self._each(">", conn, data)

    def sent(self, conn: str, data: bytes) -> None:
        """These whole lines wait to go out."""
        self._each("<", conn, data)

    def changed(self, machine: str, old: Sign, new: Sign) -> None:
        """A state machine moved."""
        self._record(f"= {machine} {old.name} -> {new.name}")

    def report(self, text: str) -> None:
        """Something that an operator wants to know."""
        self._record(text)

    def _each(self, mark: str, conn: str, data: bytes) -> None:
        for line in split_lines(data):
            self._record(f"{mark} {conn} {printable(line).decode('ascii')}")

    def _record(self, text: str) -> None:
        if self._wall is None:
            self._write(f"{text}\n".encode("ascii", "backslashreplace"))
            return
        now = self._wall() % _DAY_S
        hours, rest = divmod(now, 3600)
        minutes, seconds = divmod(rest, 60)
        stamp = f"{int(hours):02}:{int(minutes):02}:{seconds:09.6f}"
        self._write(f"{stamp} {self._node} {text}\n".encode("ascii", "backslashreplace"))
