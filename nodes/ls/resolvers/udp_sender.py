"""Sending over UDP: at once where the window and the sockets let it, else in turn.

All questions of one turn go by one socket. The rest waits in the queue, and goes when a reply makes
room, or a socket is there. Questions that are sent again go at once, whatever is in flight: they
are few, and somebody waits for them.

Not here: what is sent again, and when (`nodes/ls/resolvers/resend.py`), and asking over TCP
(`nodes/ls/resolvers/stream.py`).
"""

from core.datagram_events import SendTo
from core.effects import Effect
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.send_queue import SendQueue
from nodes.ls.resolvers.socket_pool import SocketPool


class UdpSender:
    """Sends to one resolver. `resent`: how many questions were sent more than once."""

    def __init__(self, sockets: SocketPool, in_flight: InFlight, queue: SendQueue) -> None:
        self.resent = 0
        self._sockets = sockets
        self._in_flight = in_flight
        self._queue = queue

    @property
    def has_socket(self) -> bool:
        """Return whether something can be sent at once."""
        return bool(self._sockets.open)

    def ask(self, questions: list[bytes], now: float) -> list[Effect]:
        """Send new questions, or let them wait behind others."""
        queue = self._queue
        if queue.ready or len(questions) > self._in_flight.room(now) or not self._sockets.open:
            queue.put_last(questions, now)
            return self.send_queued(now)
        return self.send(questions, now, now)

    def send_queued(self, now: float) -> list[Effect]:
        """Send what waits and is still wanted, as far as the window lets it."""
        queue = self._queue
        effects: list[Effect] = []
        if not queue.ready or not self._sockets.open:
            return effects
        room = self._in_flight.room(now)
        while room > 0 and queue.ready:
            questions, asked_at, moves = queue.take(room)
            if questions:
                room -= len(questions)
                if moves:
                    self.resent += len(questions)
                effects += self.send(questions, min(asked_at, now), now, moves=moves)
        return effects

    def send_again(self, questions: list[bytes], tries: int, now: float) -> list[Effect]:
        """Send questions at once that have been sent `tries` times."""
        self.resent += len(questions)
        return self.send(questions, now, now, tries=tries)

    def send(
        self,
        questions: list[bytes],
        asked_at: float,
        now: float,
        *,
        tries: int = 0,
        moves: int = 0,
    ) -> list[Effect]:
        """Send questions at once, or first when there is a socket; see `SentBatch`."""
        if not self._sockets.open:  # there will be one in a moment
            self._queue.put_first(questions, asked_at)
            return []
        socket = self._sockets.choose(now)
        effects: list[Effect] = []
        if socket.replace_at <= now:
            effects.append(self._sockets.dial_successor(socket))
        messages = self._in_flight.add(
            socket, questions, now, asked_at=asked_at, tries=tries, moves=moves
        )
        if messages:
            effects.append(SendTo(socket.conn, [(message, None) for message in messages]))
        return effects
