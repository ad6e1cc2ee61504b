"""Secure streams: by which one resolver is asked that is asked by TLS alone (RFC 7858).

There is one, and every question goes by it at once; where there is none, questions wait while it is
dialled. A question has no other way: nothing leaves before the stream is secure, since the loop
says Opened no sooner.

- Questions without a reply on a stream that ends are asked again by the next one, `resends_max`
  times at most: one of them may be what ends the streams. Where there was no reply that is the
  first of them, likely, so it waits for the others. A stream that was closed with questions left
  may have been closed for their number: the next one has as many at once as that one replied to,
  and twice as many each time that it has replied to more. Two streams in a row that bring no reply,
  though they are asked, or end at once, are of no use: the resolver is down.
- A stream that has a question for `join_s`, and brings nothing for half as long, retires, and
  another one is asked beside it; replies by the first one still count. When the second is silent,
  too, the first is given up for a third. Where a second cannot be had, the first is asked on.
- Questions of a turn are one record. When a stream has fallen silent with such questions, each goes
  in one of its own: a server may see only the first of a record (dnsdist 1.7, as it comes).

Not here: the server that is dialled, and what it has to prove (`nodes/ls/link.py`), and when it is
asked (`secure_resolver.py`).
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
from nodes.ls.resolvers.sockets import ResolverSocket, SentBatch, SocketEvent, SocketState


class SecureStreams:
    """The streams to the resolver of a link. `sent`: questions that were sent by them; `resent`:
    those of them that were sent before. `waiting`: questions to be sent, and how many streams have
    ended with each."""

    def __init__(
        self,
        bounds: Bounds,
        link: Link,
        sockets: SocketPool,
        in_flight: InFlight,
        is_wanted: Callable[[bytes], bool],
    ) -> None:
        self.sent = 0
        self.resent = 0
        self.waiting: dict[bytes, int] = {}
        self._bounds = bounds
        self._link = link
        self._sockets = sockets
        self._in_flight = in_flight
        self._is_wanted = is_wanted
        self._socket: ResolverSocket | None = None  # the one that is asked, or being opened
        self._most = math.inf  # how many questions it may have without a reply
        self._was_useless = False  # the stream before brought no reply
        self._is_apart = False  # each question goes in a record of its own
        self._old: SentBatch | None = None  # the first that came of the age at which silence shows
        self._second_at = -math.inf  # no second stream is tried before

    # -- dialling ----------------------------------------------------------------------------------

    def dial(self) -> list[Effect]:
        """Dial a stream, if there is none, nor one on its way."""
        if self._socket is not None or not self._sockets.has_room_for_stream:
            return []
        self._socket = self._sockets.new_stream()
        link = self._link
        return [Dial(self._socket.conn, link.addresses, Framing.LENGTH_PREFIXED, link.identity)]

    def replace(self) -> list[Effect]:
        """Give up the one that is asked. Questions without a reply are asked again."""
        socket = self._socket
        if socket is None or socket.life.state is SocketState.CLOSING:
            return []
        return self._sockets.give_up(socket)

    def forget(self) -> None:
        """Forget all of them, which are being closed, and what waits."""
        self.waiting.clear()
        self._socket = None
        self._most = math.inf
        self._is_apart = False

    def opened(self, socket: ResolverSocket, now: float) -> list[Effect]:
        """Send by a stream that is there what still waits for it."""
        socket.life.fire(SocketEvent.OPENED)
        socket.heard_at = now
        self.waiting = {q: moves for q, moves in self.waiting.items() if self._is_wanted(q)}
        return self.send_waiting(now)

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, questions: list[bytes], now: float) -> list[Effect]:
        """Ask questions: at once, or once there is a stream."""
        self.waiting |= dict.fromkeys(questions, 0)
        return self.send_waiting(now)

    def send_waiting(self, now: float) -> list[Effect]:
        """Send what waits, as far as the stream may have that; dial it where there is none."""
        socket, waiting = self._socket, self.waiting
        if not waiting:
            return []
        if socket is None:
            return self.dial()
        room = self._most - len(socket.asked)
        if socket.life.state is not SocketState.OPEN or room <= 0:
            return []
        if len(waiting) <= room:
            questions, self.waiting = waiting, {}
        else:
            first = list(islice(waiting, int(room)))
            questions = {question: waiting.pop(question) for question in first}
        by_moves: dict[int, list[bytes]] = {}
        for question, moves in questions.items():
            by_moves.setdefault(moves, []).append(question)
        messages: list[bytes] = []
        for moves, those in by_moves.items():
            sent = self._in_flight.add(socket, those, now, asked_at=now, moves=moves)
            self.resent += len(sent) if moves else 0
            messages += sent
        self.sent += len(messages)
        frames = list(map(frame, messages))
        if not self._is_apart:
            frames = [b"".join(frames)] if frames else []
        return [Send(socket.conn, each) for each in frames]

    def replied(self, now: float) -> list[Effect]:
        """Send what waits after a read; twice as much from now on if the stream has replied to more
        than it may have."""
        socket = self._socket
        self._was_useless = False
        if socket is not None and socket.replies > self._most:
            self._most *= 2
        return self.send_waiting(now)

    # -- silence and end ---------------------------------------------------------------------------

    def due(self) -> float:
        """Return when the stream has fallen silent, if it brings nothing until then and has an old
        question; infinite for never."""
        old = self._old
        if old is None or not old.left or old.socket is not self._socket:
            return math.inf
        return max(old.socket.heard_at + self._bounds.join_s / 2, self._second_at)

    def watch(self, batch: SentBatch) -> None:
        """Look for silence from now on, for this batch: it is `join_s` old."""
        if self._old is None or not self._old.left or self._old.socket is not self._socket:
            self._old = batch

    def retire_if_silent(self, now: float) -> list[Effect]:
        """Ask another stream what this one has not replied to, if it has fallen silent."""
        old, socket = self._old, self._socket
        if old is None or socket is None or self.due() > now:
            return []
        effects = [e for older in self._retired() for e in self._sockets.give_up(older)]
        socket.life.fire(SocketEvent.OLD)
        self._socket = None
        self._is_apart = self._is_apart or len(old.questions) > 1
        self.waiting = self._unanswered(socket) | self.waiting
        return effects + self.dial()

    def dial_failed(self, now: float) -> list[Effect] | None:
        """Ask a stream on that has retired, if there is one, since no other can be had; None: there
        is no stream."""
        self._socket = next(iter(self._retired()), None)
        if self._socket is None:
            return None
        self._socket.life.fire(SocketEvent.NEEDED)
        self._second_at = now + self._bounds.join_s
        for question, _, _ in self._socket.asked.values():
            self.waiting.pop(question, None)
        return self.send_waiting(now)

    def _retired(self) -> list[ResolverSocket]:
        streams = self._sockets.by_conn.values()
        return [stream for stream in streams if stream.life.state is SocketState.RETIRED]

    def lost(self, socket: ResolverSocket, now: float) -> tuple[list[Effect], list[bytes], bool]:
        """Take note that a stream is gone. Return what dials the next one, if anything waits; the
        questions that fail, since too many streams have ended with them; and whether streams are of
        no use."""
        if socket is not self._socket:  # its questions have been asked again
            return self.send_waiting(now), [], False
        self._socket = None
        unanswered = self._unanswered(socket)
        is_short = now < socket.heard_at + self._bounds.join_s
        is_useless = not socket.replies and (bool(unanswered) or is_short)
        was_useless, self._was_useless = self._was_useless, is_useless
        if is_useless and was_useless:
            self.waiting.clear()
            return [], [], True
        if unanswered:
            self._most = max(1, socket.replies)
        most = self._bounds.resends_max
        failed = [question for question, moves in unanswered.items() if moves > most]
        for question in failed:
            del unanswered[question]
        self.waiting = unanswered | self.waiting
        if unanswered and not socket.replies:
            first = next(iter(unanswered))
            self.waiting[first] = self.waiting.pop(first)
        return self.send_waiting(now), failed, False

    def _unanswered(self, socket: ResolverSocket) -> dict[bytes, int]:
        """Return the questions by a stream that want a reply, and how many streams have ended with
        each, this one counted."""
        unanswered: dict[bytes, int] = {}
        for question, _, batch in socket.asked.values():
            if self._is_wanted(question):
                unanswered[question] = max(batch.moves + 1, unanswered.get(question, 0))
        return unanswered
