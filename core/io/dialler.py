"""Dialler: how the loop gets the connections that a brain asks for.

The addresses of a dial are tried one by one, each for as long as `dial_s`, and the first that
answers is taken: Opened. When none does, the dial has failed: Closed. We never dial ourselves: a
server that has moved here, or whose name says so, would ask itself.

A stream that is to be secured is taken once it is: the address that answers has the rest of its
`dial_s` for that, and no other one is tried after it.

Not here: what a name's addresses are (`core/io/host_lookups.py`), and when to dial again.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from core.addresses import Address, address_text, comes_to
from core.effects import Dial, Spawn
from core.events import Opened, Role
from core.io.engine import Engine
from core.io.log import Log
from core.io.stream import Stream
from core.io.stream_security import StreamSecurity
from core.io.stream_state import StreamState
from core.io.streams import Streams
from core.io.system import reason
from core.io.time_limits import TimeLimit
from core.operator import Level

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # man 2 socket
ITSELF = "it is this server itself"  # why a server is not dialled


def why_not_dialled(log: Log, name: str, error: OSError) -> str:
    """Return why there is no socket; say so where this process is out of something."""
    if error.errno in _EXHAUSTED:
        text = f"no socket for {name}: {reason(error)}; trying again"
        about = {"server": name, "reason": reason(error)}
        log.report(text, Level.WARNING, "no_socket", about, f"no socket for {name}")
    return reason(error)


def comes_to_us(engine: Engine, server: str, address: Address, own: Iterable[Any]) -> bool:
    """Return whether this address of a server is one of our own, at which we listen; say so, since
    it is not dialled there. Raises OSError: no way leads there."""
    ours = [name for name in own if name[1] == address[1][1]]
    if not ours:
        return False
    ends = engine.system.path(address)
    if not any(comes_to(name, *ends) for name in ours):
        return False
    host, port = address[1][:2]
    text = f"{server}: {host} port {port} is this server itself; not dialled"
    about = {"server": server, "address": address_text(address[1])}
    engine.log.report(text, Level.WARNING, "own_address", about, f"{server} is itself")
    return True


class DialAttempt:
    """A dial under way, the source of its socket until it is decided."""

    __slots__ = ("_dialler", "addresses", "stream")

    def __init__(self, dialler: "Dialler", stream: Stream, addresses: tuple[Address, ...]) -> None:
        self._dialler = dialler
        self.stream = stream
        self.addresses = deque(addresses)  # not yet tried

    def fileno(self) -> int:
        return self.stream.fd

    def readable(self, now: float) -> bool:
        """Read nothing: the dial is not answered yet."""
        return False

    def writable(self, now: float) -> None:
        """Take note that the dial is decided, either way (man 2 connect, EINPROGRESS)."""
        self._dialler.decided(self)

    def secured(self, stream: Stream) -> None:
        """Take the connection, which is secure now."""
        self._dialler.opened(self)

    def let_go(self, stream: Stream) -> None:
        """Wait no more: the connection is gone."""
        self._dialler.limit.stop(self)


class Dialler:
    """Performs Dial and Spawn. `own_addresses()` returns where we listen."""

    def __init__(
        self, engine: Engine, streams: Streams, own_addresses: Callable[[], list[Any]]
    ) -> None:
        self._engine = engine
        self._streams = streams
        self._own_addresses = own_addresses
        self.limit: TimeLimit[DialAttempt] = TimeLimit(
            engine.environment.bounds.dial_s, "dial_s", "no answer", self._unanswered
        )
        engine.timers.append(self.limit)
        engine.performers |= {Dial: self._do_dial, Spawn: self._do_spawn}

    def _do_dial(self, effect: Dial) -> None:
        security = None
        if effect.identity is not None:
            layer = self._engine.system.tls.secure_dialled(effect.identity)
            security = StreamSecurity(self._streams, layer)
        stream = self._streams.add(
            effect.conn, accepted=False, framing=effect.framing, security=security
        )
        attempt = DialAttempt(self, stream, effect.addresses)
        stream.let_go = attempt.let_go
        self._try_next(attempt, "no address")

    def _do_spawn(self, effect: Spawn) -> None:
        engine, streams = self._engine, self._streams
        stream = streams.add(effect.conn, accepted=False)
        try:
            socket = engine.system.spawn(effect.conn)
        except OSError as error:
            streams.lose(stream, reason(error))
            return
        streams.attach(stream, socket)
        stream.connected()
        engine.events.append(Opened(effect.conn, Role.WORKER))

    def _try_next(self, attempt: DialAttempt, why: str) -> None:
        """Try the next address; when there is none, the dial has failed, because of `why`."""
        engine, stream = self._engine, attempt.stream
        self.limit.stop(attempt)
        self._streams.detach(stream)
        while attempt.addresses:
            address = attempt.addresses.popleft()
            try:
                if comes_to_us(engine, stream.name, address, self._own_addresses()):
                    why = ITSELF  # it has moved here, or so its name says
                    continue
                socket = engine.system.connect(address)
            except OSError as error:
                why = why_not_dialled(engine.log, stream.name, error)
                continue
            self._streams.attach(stream, socket, attempt)
            engine.write_fds[stream.fd] = None
            self.limit.start(attempt, engine.system.now())
            return
        self._streams.lose(stream, why)

    def decided(self, attempt: DialAttempt) -> None:
        """Take the connection that is there now, or secure it; or try the next address."""
        engine, stream = self._engine, attempt.stream
        socket = stream.socket
        try:
            error = engine.system.connect_error(socket)
            # With nobody listening, a dial from the very port that it dials meets itself.
            is_own = error == 0 and socket.getsockname() == socket.getpeername()
        except OSError as raised:
            self._try_next(attempt, reason(raised))
            return
        if is_own:
            self._try_next(attempt, "nobody there: the dial met itself")
        elif error:
            self._try_next(attempt, os.strerror(error).lower())
        else:
            del engine.write_fds[stream.fd]
            self._streams.attach(stream, socket)
            stream.connected()
            if stream.security is None:
                self.opened(attempt)
            else:
                attempt.addresses.clear()
                stream.security.secured = attempt.secured
                stream.security.receive(stream, b"")
                stream.security.has_ended(stream, engine.system.now())

    def opened(self, attempt: DialAttempt) -> None:
        """Tell the brain that a connection is there."""
        self.limit.stop(attempt)
        self._engine.events.append(Opened(attempt.stream.name, Role.UPSTREAM))

    def _unanswered(self, attempt: DialAttempt, limit: TimeLimit[DialAttempt]) -> None:
        is_reached = attempt.stream.life.state is StreamState.SECURING
        self._try_next(attempt, f"{limit.why}{' to the TLS handshake' if is_reached else ''}")
        self._engine.environment.hits[limit.bound] += 1
        self._engine.deliver()
