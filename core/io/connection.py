"""Connection: the bytes of one stream, between a socket and messages. Pure: it has no socket.

The owner of the socket tells it what happened (`receive_eof`, `lost`, ...), asks what to do
(`is_reading`, ...), and lets it `flush` what waits. A close that we begin is staged: what is owed
is sent (FLUSHING), our side is ended (LINGERING), and what still comes in is read and dropped until
the peer ends, too. A `close()` with unread input would make the kernel send a reset, and the peer
would lose replies that it had not read. A peer that takes nothing more may still have sent
something that we have not read: DEAF.

Not here: sockets and limits (`core/io/streams.py`), and what a message means.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.environment import Environment
from core.io.backlog import BACKLOG, BacklogEvent, BacklogState
from core.io.framer import Framer
from core.io.stream_state import HEARD, READ, SENT_TO, STREAM, StreamEvent, StreamState
from core.machine import Machine
from core.owed import Owed

if TYPE_CHECKING:
    from core.io.stream_security import StreamSecurity

_OPEN, _LIGHT = StreamState.OPEN, BacklogState.LIGHT
_NOTHING = memoryview(b"")


class Connection:
    """A stream. Accepted connections answer to their askers; dialled ones ask.

    The difference is backpressure: the asker always reads, so only an *accepted* connection that
    is owed too much is not read. With one rule, two ends could stop reading each other.
    `framer` takes apart what comes in, while the life is in one of the states HEARD. `owed` is told
    what waits; `read_bytes` is the most of one read. `security`: what seals what is sent, if it is.
    """

    __slots__ = (
        "_fresh", "_high", "_left", "_low", "_owed", "accepted", "framer", "last_turn", "life",
        "name", "read_bytes", "security", "waiting", "weight",
    )  # fmt: skip

    def __init__(
        self,
        env: Environment,
        name: str,
        accepted: bool,
        framer: Framer,
        owed: Owed | None = None,
        read_bytes: int | None = None,
        security: "StreamSecurity | None" = None,
    ) -> None:
        bounds, watch = env.bounds, env.watch
        self.name = name
        self.accepted = accepted
        self.last_turn = 0  # of the loop, in which bytes came or went: kept by the loop
        self.read_bytes = bounds.read_bytes if read_bytes is None else read_bytes
        self._owed = owed
        self.security = security
        start = StreamState.OPEN if security is None else StreamState.SECURING
        start = start if accepted else StreamState.CONNECTING
        self.life = Machine(STREAM, start, name, watch)
        self.weight = Machine(BACKLOG, BacklogState.LIGHT, name, watch)
        if accepted:
            self._high, self._low = bounds.owed_bytes_high, bounds.owed_bytes_low
        else:
            self._high, self._low = bounds.waiting_bytes_high, bounds.waiting_bytes_low
        self.framer = framer
        self._left = _NOTHING  # bytes that the last send left over
        self._fresh: list[bytes] = []  # appended since: joined once, when its turn comes
        self.waiting = 0  # bytes in both

    @property
    def is_closed(self) -> bool:
        return self.life.state is StreamState.CLOSED

    @property
    def is_reading(self) -> bool:
        """Whether to read from the socket, as far as this connection is concerned."""
        if self.life.state is _OPEN:
            return not (self.accepted and self.weight.state is BacklogState.HEAVY)
        return self.life.state in READ

    # -- in ------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Take note that the dial was answered."""
        is_clear = self.security is None
        self.life.fire(StreamEvent.CONNECTED if is_clear else StreamEvent.REACHED)

    def receive_eof(self) -> bool:
        """Take the peer's end of stream; return whether it came in the middle of a message."""
        unfinished = self.life.state in HEARD and self.framer.receive_eof()
        self.life.fire(StreamEvent.PEER_ENDED)
        self._flushed_maybe()
        return unfinished

    # -- out -----------------------------------------------------------------------------------

    def send(self, data: bytes) -> bool:
        """Append bytes; return whether this took what waits over the high mark.

        To a peer that takes nothing more they are dropped: it will not be there to miss them.
        """
        if self.life.state not in SENT_TO:
            if self.life.state is StreamState.DEAF:
                return False
            raise AssertionError(f"{self.name}: sent to while {self.life.state.name}")
        self._fresh.append(data)
        self.waiting += len(data)
        if self._owed is not None:
            self._owed.owed_bytes += len(data)
        return self.waiting > self._high and self.is_over_high()

    def count(self, more: int) -> None:
        """Count bytes that wait, too; or, if negative, that do not."""
        self.waiting += more
        if self._owed is not None:
            self._owed.owed_bytes += more

    def is_over_high(self) -> bool:
        """Return whether what waits is over the high mark, and was not before."""
        if self.waiting <= self._high or self.weight.state is not _LIGHT:
            return False
        self.weight.fire(BacklogEvent.OVER_HIGH)
        return True

    def flush(self, send: Callable[[memoryview], int], most: int) -> bool:
        """Send what waits, `most` bytes of it: `send` returns how many it has taken, and what it
        raises is raised. Return whether less waits than the low mark now, and did not before.

        A view keeps all that it is a view of: what is left is copied once it is less than half.
        """
        left = self._left
        if not left:
            if self.security is None:
                fresh = b"".join(self._fresh)
            else:
                fresh = self.security.seal(self, self._fresh)
            self._fresh.clear()
            left = self._left = memoryview(fresh)
        count = send(left[:most] if len(left) > most else left)
        left = left[count:]
        if not left:
            left = _NOTHING
        elif 2 * len(left) < len(left.obj):  # type: ignore[arg-type]
            left = memoryview(bytes(left))
        self._left = left
        self.waiting -= count
        if self._owed is not None:
            self._owed.owed_bytes -= count
        if self.life.state is not _OPEN:
            self._flushed_maybe()
        if self.weight.state is _LIGHT or self.waiting >= self._low:
            return False
        self.weight.fire(BacklogEvent.UNDER_LOW)
        return True

    def send_failed(self) -> None:
        """Take note that nothing more will be taken, ever."""
        self.life.fire(StreamEvent.SEND_FAILED)
        self._forget()

    # -- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Begin a staged close."""
        if self.security is not None and self.life.state in SENT_TO:
            sealed = self.security.seal(self, self._fresh)
            self._fresh.clear()
            self._left = memoryview(bytes(self._left) + sealed)
            self.security.end(self)
        self.life.fire(StreamEvent.CLOSE_ASKED)
        self._flushed_maybe()

    def lost(self) -> None:
        """Take note that the stream is gone, whatever was in it."""
        self.life.fire(StreamEvent.LOST)
        self._forget()

    def _flushed_maybe(self) -> None:
        if not self.waiting and self.life.state in (StreamState.FLUSHING, StreamState.PARTING):
            self.life.fire(StreamEvent.FLUSHED)

    def _forget(self) -> None:
        self._left = _NOTHING
        self._fresh.clear()
        self.count(-self.waiting)
