"""DatagramSocket: what comes by UDP is taken many at a time, and so is what goes out.

It is to datagrams what a `Connection` is to a stream, with its socket, and much less: there is no
order, no end and no promise. What the network does not take at once waits for the next turn; when
too much waits, what is new is dropped and counted. Who may not ask is not heard.

Not here: what a datagram says, and when the socket is read (the reactor).
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from core.node import Datagram
from core.system import Socket

_BYTES_MAX = 4_096  # a question is a tenth of it; what is longer arrives cut, and is not one
_WAITING_MAX = 65_536  # a second's work: who is so slow is not waited for
_JUDGED_MAX = 65_536  # hosts whose judgement is remembered


class DatagramSocket:
    """One of them. `admit(host)` judges whose datagrams are heard; None admits everyone."""

    def __init__(self, stream: Socket, name: str, admit: Callable[[str], bool] | None) -> None:
        self.stream = stream
        self.name = name
        self.is_read = True
        self.is_ending = False  # nothing more is said after what waits
        self.dropped = 0
        self._admit = admit
        self._judged: dict[Hashable, bool] = {}
        self._waiting: deque[Datagram] = deque()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def receive(self, most: int) -> list[Datagram]:
        """What has come, as far as it is to be heard; `most` of all that at most."""
        receive = self.stream.recvfrom
        came: list[Datagram] = []
        try:
            while len(came) < most:
                came.append(receive(_BYTES_MAX))
        except OSError:  # nothing more, or the network's word on what was sent before
            pass
        if self._admit is not None:
            came = [one for one in came if self._is_admitted(one[1][0])]
        return came

    def _is_admitted(self, host: str) -> bool:
        judged = self._judged.get(host)
        if judged is None:
            assert self._admit is not None
            if len(self._judged) == _JUDGED_MAX:
                self._judged.clear()
            judged = self._judged[host] = self._admit(host)
        return judged

    def append(self, datagrams: list[Datagram]) -> None:
        """Let them wait to be sent."""
        room = _WAITING_MAX - len(self._waiting)
        self.dropped += max(0, len(datagrams) - room)
        self._waiting.extend(datagrams[:room])

    def send(self) -> None:
        """Send what waits, as far as the network takes it."""
        send: Callable[[bytes, Any], int] = self.stream.sendto
        waiting = self._waiting
        while waiting:
            try:
                send(*waiting[0])
            except BlockingIOError:
                return
            except OSError:  # it cannot be sent there
                self.dropped += 1
            waiting.popleft()
