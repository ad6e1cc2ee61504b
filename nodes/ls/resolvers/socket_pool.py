"""All sockets to one resolver: opened, replaced by and by, retired, given up.

UDP goes by one of a few sockets, chosen by chance, since a guess has to find its port; each is
replaced after a while (RFC 5452). A socket that is replaced *retires* when its successor is there:
it is asked nothing new, and closed once each of its queries has a reply, or is forgotten. Beside
them there is a TCP stream, or two: so many that `descriptors_for` reserves for them.

Not here: what is sent by which (`nodes/ls/resolvers/udp_sender.py`, `stream.py`).
"""

import math
from collections import deque
from typing import Any

from core.datagram_events import DialDatagrams
from core.effects import Abort, Close, Effect
from core.environment import Environment
from nodes.ls.link import Link
from nodes.ls.resolvers.sockets import KNOWN, ResolverSocket, SocketEvent, SocketState

_TURN_S = 0.0005  # a turn's queries come within it, and may go by one socket


class SocketPool:
    """The sockets to the resolver of a link. `connections`: each has its `owner` there, by the name
    of its connection, from when it is dialled until it is gone.

    `by_conn` holds all that are not GONE; `open` the UDP sockets to be asked by.
    """

    def __init__(
        self, env: Environment, link: Link, connections: dict[str, Any], owner: object
    ) -> None:
        self.by_conn: dict[str, ResolverSocket] = {}
        self.open: list[ResolverSocket] = []
        self._env = env
        self._bounds = env.bounds
        self._secret = env.secret
        self._link = link
        self._connections = connections
        self._owner = owner
        self._replaced: deque[ResolverSocket] = deque()  # open; their successors are being opened
        self._number = 0  # of the last UDP socket
        self._stream_names = (f"{link.conn}.0", f"{link.conn}.00")
        self._chosen: ResolverSocket | None = None
        self._chosen_at = -math.inf

    # -- opening -----------------------------------------------------------------------------------

    def dial_all(self) -> list[Effect]:
        """Dial as many UDP sockets as there should be."""
        return [self.dial_udp() for _ in range(self._bounds.upstream_sockets)]

    def dial_udp(self) -> Effect:
        """Dial one UDP socket more."""
        self._number += 1
        socket = self._new(f"{self._link.conn}.{self._number}", is_stream=False)
        return DialDatagrams(socket.conn, self._link.addresses[0], self._link.conn)

    @property
    def has_room_for_stream(self) -> bool:
        """Whether there may be another stream now, beside the one that is there, if any."""
        return any(name not in self.by_conn for name in self._stream_names)

    def new_stream(self) -> ResolverSocket:
        """Make a stream that its caller dials. Its name is one of two: the loop keeps a place for
        each name that was ever dialled."""
        name = next(name for name in self._stream_names if name not in self.by_conn)
        return self._new(name, is_stream=True)

    def _new(self, name: str, *, is_stream: bool) -> ResolverSocket:
        most = self._bounds.remembered_max
        socket = ResolverSocket(name, most, is_stream=is_stream, watch=self._env.watch)
        self.by_conn[name] = socket
        self._connections[name] = self._owner
        return socket

    def take_into_use(self, socket: ResolverSocket, now: float) -> None:
        """Ask by this UDP socket, too, which is there now."""
        # They are not all to be replaced at once, nor at a time that can be foretold.
        share = 0.5 + self._secret(1)[0] / 256
        socket.replace_at = now + self._bounds.upstream_socket_s * share
        self.open.append(socket)

    # -- asking ------------------------------------------------------------------------------------

    def choose(self, now: float) -> ResolverSocket:
        """Choose an open UDP socket by chance, but once a turn: what goes by one socket goes with
        one call. There has to be one."""
        chosen = self._chosen
        if (
            chosen is None
            or now - self._chosen_at >= _TURN_S
            or chosen.life.state is not SocketState.OPEN
        ):
            chosen = self._chosen = self.open[self._secret(1)[0] % len(self.open)]
            self._chosen_at = now
        return chosen

    def dial_successor(self, socket: ResolverSocket) -> Effect:
        """Dial the UDP socket in favour of which this one is to retire."""
        socket.replace_at = math.inf
        self._replaced.append(socket)
        return self.dial_udp()

    # -- closing -----------------------------------------------------------------------------------

    def retire_replaced(self) -> list[Effect]:
        """Retire the socket that has been replaced for the longest, since a successor is there."""
        if not self._replaced:
            return []
        socket = self._replaced.popleft()
        self.open.remove(socket)
        socket.life.fire(SocketEvent.OLD)
        return self.close_settled(socket)

    def close_settled(self, socket: ResolverSocket) -> list[Effect]:
        """Close a socket that has retired and waits for no reply."""
        if socket.asked or socket.life.state is not SocketState.RETIRED:
            return []
        socket.life.fire(SocketEvent.SETTLED)
        # A stream is not waited for to end, too: another one may need its name.
        return [Abort(socket.conn) if socket.is_stream else Close(socket.conn)]

    def give_up(self, socket: ResolverSocket) -> list[Effect]:
        """Close a socket now; nothing that still comes by it counts."""
        self._put_away(socket)
        is_there = socket.is_stream or socket.life.state is not SocketState.OPENING
        socket.life.fire(SocketEvent.GIVEN_UP)
        if not is_there:
            return []
        return [Abort(socket.conn) if socket.is_stream else Close(socket.conn)]

    def replace_all(self, *, is_elsewhere: bool) -> tuple[list[Effect], list[ResolverSocket]]:
        """Give up every UDP socket that a guess may find, and dial others; also return those that
        were given up. `is_elsewhere`: the resolver has moved, so also those that are being
        opened."""
        effects: list[Effect] = []
        given_up: list[ResolverSocket] = []
        missing = self._bounds.upstream_sockets
        for socket in list(self.by_conn.values()):
            if socket.is_stream:
                continue
            is_opening = socket.life.state is SocketState.OPENING
            if socket.life.state in KNOWN or (is_opening and is_elsewhere):
                given_up.append(socket)
                effects += self.give_up(socket)
            elif is_opening:
                missing -= 1
        return effects + [self.dial_udp() for _ in range(missing)], given_up

    def lost(self, conn: str) -> tuple[ResolverSocket, SocketState]:
        """Drop a socket that is gone, broken, or could not be had; also return its last state."""
        socket = self.by_conn.pop(conn)
        del self._connections[conn]
        state = socket.life.state
        socket.life.fire(SocketEvent.LOST)
        self._put_away(socket)
        return socket, state

    def no_successor(self, now: float) -> bool:
        """Let a replaced socket, if there is any, go on for a while, since its successor could not
        be had; return whether no UDP socket is open or being opened."""
        if self._replaced:
            socket = self._replaced.popleft()
            socket.replace_at = now + self._bounds.upstream_socket_s
            return False
        ways = (SocketState.OPENING, SocketState.OPEN)
        return not any(
            socket.life.state in ways for socket in self.by_conn.values() if not socket.is_stream
        )

    def _put_away(self, socket: ResolverSocket) -> None:
        for where in (self.open, self._replaced):
            if socket in where:
                where.remove(socket)
