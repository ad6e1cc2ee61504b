"""Stream security: what is done for a stream that is secured, from its handshake to its last word.

Its layer stands between socket and framer. Bytes to be sent are sealed when their turn comes, so
that those of one turn are one record; bytes that come in are plain before anybody looks at them.
The brain hears of the stream once it is secure: of one that was accepted nothing before that.

Not here: how bytes are sealed (`core/io/secure_layer.py`), and how long a handshake may take
(`core/io/dialler.py`, `core/io/acceptor.py`).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from core.io.secure_layer import UNFINISHED, SecureLayer, SecurityError
from core.io.stream_state import HEARD, StreamEvent, StreamState

if TYPE_CHECKING:
    from core.io.connection import Connection
    from core.io.stream import Stream
    from core.io.streams import Streams


class StreamSecurity:
    """The security of one stream, from this `host` if it was accepted. `secured(stream)` is called
    once there is any. `is_known`: the brain has heard of the stream, so it is to hear of its end.
    """

    __slots__ = (
        "_has_begun",
        "_host",
        "_kind",
        "_layer",
        "_streams",
        "_why",
        "is_known",
        "secured",
    )

    def __init__(self, streams: "Streams", layer: SecureLayer, host: str = "") -> None:
        self._streams = streams
        self._layer = layer
        self._host = host
        self._has_begun = False
        self._why = ""  # it has failed
        self._kind = UNFINISHED  # of failure
        self.is_known = False
        self.secured: Callable[[Stream], object] = _ignore

    # -- in ------------------------------------------------------------------------------------

    def receive(self, stream: "Stream", data: bytes) -> bytes:
        """Take bytes off the wire; return the plain ones, if they are of interest. The first call
        begins the handshake."""
        self._has_begun = True
        was_securing = stream.life.state is StreamState.SECURING
        if not was_securing and stream.life.state not in HEARD:
            return b""
        streams, layer = self._streams, self._layer
        if was_securing or not stream.accepted:  # a client may wait for that with its first query
            streams.engine.system.ack_at_once(stream.socket)
        before = layer.unsent
        try:
            plain = layer.receive(data)
        except SecurityError as error:
            self._why, self._kind = str(error), error.kind
            return error.plain
        if stream.life.state is StreamState.DEAF:
            layer.seal(b"")  # it would not take that
        elif layer.unsent > before:
            stream.count(layer.unsent - before)
            if stream.is_over_high():
                streams.went_over_high(stream)
            if stream.fd not in streams.engine.write_fds:
                streams.unsent[stream] = None
            if was_securing and stream.accepted:
                streams.handshakes.compute(streams.engine.turn)
        if was_securing and layer.is_secured:
            stream.life.fire(StreamEvent.SECURED)
            streams.handshakes.succeed()
            self.secured(stream)
        return plain

    def has_ended(self, stream: "Stream", now: float) -> bool:
        """Return whether the stream is over with what was received last, by a failure or by the
        peer's word; then take that."""
        if self._why:
            if not stream.waiting:
                self._say(stream)
            self._streams.lose(stream, self._why)
        elif self._layer.is_ended and stream.life.state in HEARD:
            stream.read_end(now)
        else:
            return False
        return True

    def may_go_on(self, stream: "Stream") -> bool:
        """Return whether a handshake may go on in this turn: those of who comes are bounded."""
        is_bounded = stream.accepted and stream.life.state is StreamState.SECURING
        return not is_bounded or self._streams.handshakes.may_compute(self._streams.engine.turn)

    def _say(self, stream: "Stream") -> None:
        """Send what the layer has to say at the end, if the peer takes that."""
        with suppress(OSError):
            stream.socket.send(self._layer.seal(b""))

    # -- out -----------------------------------------------------------------------------------

    def seal(self, connection: "Connection", fresh: list[bytes]) -> bytes:
        """Return what goes on the wire: what the layer has to say, and behind it these, sealed: to
        who has come at once, to a server each by itself, as its brain has sent them."""
        before = sum(map(len, fresh)) + self._layer.unsent
        parts = [b"".join(fresh)] if connection.accepted or not fresh else fresh
        sealed = b"".join(map(self._layer.seal, parts))
        connection.count(len(sealed) - before)
        return sealed

    def end(self, connection: "Connection") -> None:
        """Say, behind all that was sealed, that we send nothing more."""
        self._layer.end()
        connection.count(self._layer.unsent)

    def take_leave(self, stream: "Stream") -> None:
        """Tell the peer of a stream that is about to be closed, if it is owed nothing."""
        if stream.life.state is StreamState.OPEN and not stream.waiting:
            self._layer.end()
            self._say(stream)

    # -- the end -------------------------------------------------------------------------------

    def gone(self, stream: "Stream", why: str) -> bool:
        """Take note that the stream is gone; return whether the brain is to hear of it."""
        self.secured = _ignore  # and keep nothing of it alive
        has_begun = self._has_begun or stream.accepted
        if has_begun and not self._layer.is_secured:
            self._streams.handshakes.fail(self._kind)
            if stream.accepted and self._has_begun:  # else somebody looked who is there
                self._streams.handshakes.report(stream.name, self._host, why, self._kind)
        return self.is_known or not stream.accepted


def _ignore(stream: "Stream") -> None:
    pass
