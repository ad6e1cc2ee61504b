"""The stream to one resolver: questions that are asked over TCP (RFC 7766).

A question whose reply over UDP was truncated has no other way; while the resolver is kept on TCP
(`guess_guard.py`) others go by the stream as well, and have UDP to fall back on.

A stream that replied to some questions and was closed is dialled again at once, and may then have
twice as many without a reply as the last one replied to: a resolver may close after each reply (RFC
7766, section 6.2.4). A stream that had several questions and replied to none is dialled again, too,
once, with one question. Once all that a stream had is replied to, it may have twice as many.

Not here: when to ask over TCP (`nodes/ls/resolvers/resolver.py`), and how lengths frame messages
(`core/io/frame_buffer.py`).
"""

import math
from collections.abc import Callable
from itertools import islice

from core.bounds import Bounds
from core.effects import Dial, Effect, Send
from core.framing import Framing
from core.io.frame_buffer import frame
from nodes.ls.link import Link
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.socket_pool import SocketPool
from nodes.ls.resolvers.sockets import ResolverSocket, SocketState


class StreamFallback:
    """The stream to the resolver of a link, one at a time. `sent`: questions asked by it.

    `waiting`: questions that it is to be asked, and whether there is no other way for each.
    """

    def __init__(
        self,
        bounds: Bounds,
        link: Link,
        sockets: SocketPool,
        in_flight: InFlight,
        is_wanted: Callable[[bytes], bool],
    ) -> None:
        self.sent = 0
        self.waiting: dict[bytes, bool] = {}
        self._bounds = bounds
        self._link = link
        self._sockets = sockets
        self._in_flight = in_flight
        self._is_wanted = is_wanted
        self._socket: ResolverSocket | None = None
        self._most = math.inf  # how many questions it may have without a reply
        self._was_stuck = False  # we gave it up, for what it did not reply to
        self._is_replaced = False  # we gave it up, since a UDP socket broke
        self._replaced_at = -math.inf

    @property
    def is_open(self) -> bool:
        """Return whether questions are sent by it at once."""
        return self._socket is not None and self._socket.life.state is SocketState.OPEN

    @property
    def is_limited(self) -> bool:
        """Return whether a question may wait for the reply to another, which may never come."""
        return self._most < math.inf

    def dial(self) -> list[Effect]:
        """Dial it, if it is not there, nor on its way."""
        if self._socket is not None:
            return []
        self._socket = self._sockets.new_stream()
        return [Dial(self._socket.conn, self._link.addresses, Framing.LENGTH_PREFIXED)]

    def ask(self, questions: dict[bytes, bool], now: float) -> list[Effect]:
        """Ask questions by it, once it is there; see `waiting`."""
        self.waiting |= questions
        return self.send_waiting(now) if self.is_open else self.dial()

    def send_waiting(self, now: float) -> list[Effect]:
        """Send what waits, or, where a stream was closed, as much as this one may have."""
        socket = self._socket
        if not self.waiting or socket is None or (socket.asked and self._most < math.inf):
            return []
        if len(self.waiting) <= self._most:
            waiting, self.waiting = self.waiting, {}
        else:
            first = list(islice(self.waiting, int(self._most)))
            waiting = {question: self.waiting.pop(question) for question in first}
        tcp_only = frozenset([question for question, is_only in waiting.items() if is_only])
        messages = self._in_flight.add(socket, list(waiting), now, asked_at=now, tcp_only=tcp_only)
        self.sent += len(messages)
        return [Send(socket.conn, b"".join(map(frame, messages)))] if messages else []

    def replied(self, now: float) -> list[Effect]:
        """Send what waits after a read; twice as much from now on if all had a reply."""
        if self._socket is not None and not self._socket.asked and self._most < math.inf:
            self._most *= 2
        return self.send_waiting(now) if self.is_open else []

    def replace_if_stale(self, now: float) -> list[Effect]:
        """Give it up, since our address may be gone: it would not say so. Errors that come again
        and again are not to keep a stream from its replies: it is replaced once in `join_s` at
        most."""
        if now < self._replaced_at + self._bounds.join_s:
            return []
        effects = self.replace()
        if effects:
            self._replaced_at = now
        return effects

    def replace(self) -> list[Effect]:
        """Give it up. Questions that it has not replied to go by the next one."""
        socket = self._socket
        if socket is None or socket.life.state is SocketState.CLOSING:
            return []
        self._is_replaced = True
        return self._sockets.give_up(socket)

    def give_up_stuck(self) -> list[Effect]:
        """Give it up for a question that it did not reply to."""
        socket = self._socket
        if socket is None or socket.life.state is not SocketState.OPEN:
            return []
        self._was_stuck = True
        return self._sockets.give_up(socket)

    def lost(self, socket: ResolverSocket) -> tuple[list[Effect], dict[bytes, bool] | None]:
        """Dial another one when it is gone, if that may be of use and anything waits for it. If
        not, also return the questions that need another way; see `waiting`."""
        unanswered: dict[bytes, bool] = {}
        for question, _, batch in socket.asked.values():  # it may have been asked more than once
            is_only = question in batch.tcp_only
            unanswered[question] = is_only or unanswered.get(question, False)
        waiting = {
            question: is_only
            for question, is_only in (unanswered | self.waiting).items()
            if self._is_wanted(question)
        }
        self._socket = None
        self.waiting = {}
        is_replaced, self._is_replaced = self._is_replaced, False
        was_stuck, self._was_stuck = self._was_stuck, False
        if not (is_replaced or socket.replies or len(unanswered) > 1):
            self._most = math.inf
            return [], waiting
        if unanswered and not was_stuck and not is_replaced:
            self._most = max(1, 2 * socket.replies)
        self.waiting = waiting
        return self.dial() if waiting else [], None
