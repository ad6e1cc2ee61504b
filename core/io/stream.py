"""Stream: a connection with its socket, and how it is read.

It is received from once in a turn, as many bytes as its share of the turn: a dialled one as many
as a read may have, an accepted one fewer when many are to be read, few or none while too much is
owed to all (`core/owed.py`). Each read is one event; of a stream that is secured, each that brings
plain bytes.

Not here: all of them, and how they are sent to and closed (`core/io/streams.py`).
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.events import Ended, Received
from core.io.connection import Connection
from core.io.framer import Framer
from core.io.stream_security import StreamSecurity
from core.io.stream_state import HEARD, StreamState
from core.io.system import Socket, reason
from core.io.time_limits import TimeLimit

if TYPE_CHECKING:
    from core.io.streams import Streams


def let_nobody_know(stream: "Stream") -> None:
    """Do nothing: nobody else keeps this stream."""


class Stream(Connection):
    """A connection and its socket, which it has while `fd` is not negative.

    `idle` limits how long nothing may come or go. `let_go(stream)` is called once, when it is
    gone, so that whoever made it can forget it.
    """

    __slots__ = ("_streams", "fd", "idle", "is_paused", "let_go", "socket")

    def __init__(
        self,
        streams: "Streams",
        name: str,
        accepted: bool,
        framer: Framer,
        read_bytes: int | None = None,
        security: StreamSecurity | None = None,
    ) -> None:
        owed = streams.owed if accepted else None
        env = streams.engine.environment
        super().__init__(env, name, accepted, framer, owed, read_bytes, security)
        self._streams = streams
        self.socket: Socket
        self.fd = -1
        self.is_paused = False
        self.idle: TimeLimit[Stream] | None = None
        self.let_go: Callable[[Stream], object] = let_nobody_know

    def fileno(self) -> int:
        return self.fd

    @property
    def is_read(self) -> bool:
        return self.bytes_to_read(1) > 0

    def bytes_to_read(self, share: int) -> int:
        """Return how many bytes to read, if the share of this turn is so many; 0: none at all."""
        if not self.is_reading or self.is_paused:
            return 0
        if not self.accepted:
            return self.read_bytes
        streams = self._streams
        if self.life.state in HEARD and streams.owed.is_short():
            if not streams.owed.is_few(self.name, self.waiting):
                return 0
            share = min(share, streams.bounds.few_read_bytes)
        return min(share, self.read_bytes)

    def readable(self, now: float) -> bool:
        """Receive once, and queue the event that this makes."""
        streams = self._streams
        if self.is_paused:
            return False
        most = self.read_bytes
        if self.accepted:
            if streams.owed.owed_bytes > streams.owed.low:  # it may be too much by now
                most = self.bytes_to_read(streams.read_share)
            elif streams.read_share < most:
                most = streams.read_share
        if not most or (self.security is not None and not self.security.may_go_on(self)):
            return False
        engine = streams.engine
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return False
        except OSError as error:
            streams.lose(self, reason(error))
            return False
        if not data:
            self.read_end(now)
            return False
        count = len(data)
        if self.security is not None:
            data = self.security.receive(self, data)
        if data and self.life.state in HEARD:
            self.last_turn = engine.turn
            messages = self.framer.receive(data)
            if self.framer.is_mid_message or streams.limits.mid_message.due < math.inf:
                self._watch_message(bool(messages), now)
            if self.idle is not None:
                self.idle.restart(self, now)
            if engine.wire is not None and self.framer.is_text:
                engine.wire.received(self.name, messages)
            engine.events.append(Received(self.name, messages))
        if self.security is not None and self.security.has_ended(self, now):
            return False
        if count < most:
            return False
        engine.environment.hits["read_bytes" if most == self.read_bytes else "turn_bytes"] += 1
        return not self.accepted

    def writable(self, now: float) -> None:
        """Have it sent to in this turn."""
        self._streams.unsent[self] = None

    def _watch_message(self, completed: bool, now: float) -> None:
        """Keep the limit on messages. The clock of a message is not restarted by its bytes."""
        mid_message = self._streams.limits.mid_message
        if not self.framer.is_mid_message:
            mid_message.stop(self)
        elif completed:
            mid_message.restart(self, now)
        else:
            mid_message.start(self, now)

    def read_end(self, now: float) -> None:
        """Take the peer's end of stream."""
        streams = self._streams
        is_heard = self.life.state in HEARD
        was_securing = self.life.state is StreamState.SECURING
        unfinished = self.receive_eof()
        streams.engine.read_fds_stale = True
        streams.limits.mid_message.stop(self)
        if was_securing:
            streams.lose(self, "it has ended the TLS handshake")
        elif self.is_closed:
            # DEAF until its end: that peer did not take all that it was owed.
            streams.gone(self, "the peer stopped reading" if is_heard else "")
        elif is_heard:
            streams.engine.events.append(Ended(self.name, unfinished))
        else:
            streams.after_flush(self, now)

    def reads_again(self) -> None:
        """Restart the clock of its message: while unread, the peer could not finish that."""
        streams = self._streams
        streams.engine.read_fds_stale = True
        if self in streams.limits.mid_message:
            streams.limits.mid_message.restart(self, streams.engine.system.now())
