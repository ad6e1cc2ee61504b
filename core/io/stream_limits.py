"""Stream limits: how long a stream may take: in mid-message, or a handshake; to take what it is
sent; to end after us; and without a byte either way.

While a stream is not read, the clock of its message starts anew: its peer could not finish that.

Not here: which of them runs when (`core/io/stream.py`, `core/io/streams.py`).
"""

import math
from typing import TYPE_CHECKING

from core.io.stream_state import StreamState
from core.io.time_limits import TimeLimit

if TYPE_CHECKING:
    from core.io.stream import Stream
    from core.io.streams import Streams


class StreamLimits:
    """The limits of all streams of one loop. `left_out`: streams that this turn does not read,
    since memory is short."""

    def __init__(self, streams: "Streams") -> None:
        bounds = streams.bounds
        self.left_out: set[Stream] = set()
        self.mid_message = TimeLimit(
            bounds.mid_line_s, "mid_line_s", "took too long", self._end_mid_message
        )
        self.write_stall = TimeLimit(
            bounds.write_stall_s, "write_stall_s", "took nothing for long", self._end
        )
        self.lingering = TimeLimit(bounds.linger_s, "linger_s", "did not end after us", self._end)
        self._streams = streams
        self._idle: dict[str, TimeLimit[Stream]] = {}  # by bound
        self._alike = (self.mid_message, self.write_stall, self.lingering)
        streams.engine.timers += self._alike

    def stop(self, stream: "Stream") -> None:
        """Limit a stream no more."""
        for limit in self._alike:
            limit.stop(stream)
        if stream.idle is not None:
            stream.idle.stop(stream)
            stream.idle = None

    def limit_idle(self, stream: "Stream", bound: str) -> None:
        """End it when nothing comes or goes for as long as this bound, or else `idle_s`, says."""
        engine, bounds = self._streams.engine, self._streams.bounds
        span_s = min(getattr(bounds, bound), bounds.idle_s)
        if span_s == math.inf:
            return
        if bound not in self._idle:
            self._idle[bound] = TimeLimit(span_s, bound, "silent for long", self._end)
            engine.timers.append(self._idle[bound])
        stream.idle = self._idle[bound]
        stream.idle.start(stream, engine.system.now())

    def _end(self, stream: "Stream", limit: "TimeLimit[Stream]", why: str = "") -> None:
        """End a connection whose time is over."""
        engine = self._streams.engine
        engine.environment.hits[limit.bound] += 1
        if stream.security is not None:
            stream.security.take_leave(stream)
        self._streams.lose(stream, why or limit.why)
        engine.deliver()

    def _end_mid_message(self, stream: "Stream", limit: "TimeLimit[Stream]") -> None:
        """End a connection in the middle of a message. While it is not read, it has time; one that
        this turn leaves out may be read only in the next one, even if memory is not short now."""
        if stream.is_read and stream not in self.left_out:
            is_securing = stream.life.state is StreamState.SECURING
            what = "TLS handshake" if is_securing else stream.framer.unit
            self._end(stream, limit, f"a {what} {limit.why}")
        else:
            limit.start(stream, self._streams.engine.system.now())
