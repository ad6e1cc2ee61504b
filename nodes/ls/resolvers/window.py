"""Window: how many questions one resolver may have in flight over UDP.

A resolver reads datagrams from a socket with room for some hundreds. A burst beyond that is lost
unread, and a client that goes on as soon as another resolver answers never notices that it is
sending too fast. The rest waits in the load balancer, therefore, while there are in flight

    base + 1.25 x (replies a second) x (least reply time)

The product is what is under way when nothing queues (bandwidth times delay); a quarter more lets
the window grow while replies speed up; `base` is what may wait in the resolver's socket.

*In flight* is what may still lie in that socket. A socket is first in, first out: when a reply has
come, whatever the same socket of ours sent before that question has been read, also where its reply
takes long or never comes (as in TCP's forward acknowledgement, Mathis and Mahdavi, 1996). A
question that a resolver has to look up elsewhere makes room for others thereby, and so does a lost
one;
`nodes/ls/resolvers/in_flight.py` counts. A question that is overdue (`ageing.py`) has left, too.

The least reply time counts only *calm* questions, sent while few were in flight: all others measure
the queue that we made ourselves, and a window that grew by it would never stop growing. Where many
have been in flight for long, it may be wrong by now: then the window shrinks to those few until a
reply to a calm question has come (as BBR does, Cardwell and others, 2016).

Not here: what waits (`nodes/ls/resolvers/send_queue.py`), and the clock.
"""

import math

_GAIN = 1.25
_SPAN_S = 0.05  # over which replies are counted; or the least reply time, if it is longer
_RECENT_S = 10.0  # a least reply time is forgotten when a younger one is known for so long
_FEW = 0.25  # of `base`: no more than this in flight make no queue


class Window:
    """How many questions one resolver may have in flight. `base`: how many may wait in its
    socket."""

    __slots__ = (
        "_base", "_before", "_began", "_calm_at", "_count", "_least_at", "_least_before_s",
        "_least_s",
    )  # fmt: skip

    def __init__(self, base: int) -> None:
        self._base = base
        self._least_s = self._least_before_s = math.inf  # of the last `_RECENT_S`, and before
        self._least_at = -math.inf  # since when `_least_s` is measured
        self._calm_at = -math.inf  # when a reply last measured it
        self._began = -math.inf  # the span in which replies are counted
        self._count = 0  # in this span
        self._before = 0  # in the span before

    def is_calm(self, in_flight: int) -> bool:
        """Return whether the reply time of a query that is sent now will show how fast the resolver
        is."""
        return in_flight <= self._base * _FEW

    def replied(self, count: int, took_s: float, now: float, *, was_calm: bool) -> None:
        """Learn from `count` replies that came `took_s` after their queries were sent."""
        if was_calm:
            if now - self._calm_at >= _RECENT_S:  # nothing that is known is recent
                self._least_s = math.inf
            self._calm_at = now
            if now - self._least_at >= _RECENT_S:
                self._least_before_s, self._least_s = self._least_s, math.inf
                self._least_at = now
            if took_s < self._least_s:
                self._least_s = took_s
        self._turn_over(now)
        self._count += count

    def size(self, now: float) -> int:
        """Return how many may be in flight."""
        least_s = min(self._least_s, self._least_before_s)
        if least_s == math.inf:
            return self._base
        self._turn_over(now)
        replies = max(self._count, self._before)
        if replies and now - self._calm_at >= _RECENT_S:
            return int(self._base * _FEW) + 1  # of which all are calm
        return self._base + int(_GAIN * replies * least_s / max(_SPAN_S, least_s))

    def _turn_over(self, now: float) -> None:
        """Begin a new span when one is over."""
        least_s = min(self._least_s, self._least_before_s)
        span_s = _SPAN_S if least_s == math.inf else max(_SPAN_S, least_s)
        ago_s = now - self._began
        if ago_s >= span_s:
            self._before = self._count if ago_s < 2 * span_s else 0
            self._count = 0
            self._began = now
