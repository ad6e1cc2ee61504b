"""Acceptor: the listeners of one loop, and how each connection that comes there is treated.

A few are accepted in each turn; of those that are secured fewer, since a handshake takes as long as
many reads, and no address may have more than a few a second. The brain hears of those once they are
secure.

When all places are taken, one more is told so and closed; or a connection of a network that holds
many parts for it (`core/io/places.py`). Where places are soon free again, one that is too many may
wait in the kernel's queue instead: closed with a request unread it would get a reset, and no word.

A drain makes a last call: those who wait already are accepted, and nobody after them.

Not here: one listener, and its rest (`core/io/listener.py`), and what becomes of a connection
(`core/io/streams.py`).
"""

import contextlib
import math
from functools import partial
from typing import Any, Protocol

from core.addresses import THIS_MACHINE
from core.events import Opened, PlaceWanted
from core.io.certificates import Certificates
from core.io.descriptors import Descriptors
from core.io.engine import Engine
from core.io.listener import Admit, Listener, Service
from core.io.per_second import PerSecond
from core.io.places import Places
from core.io.stream import Stream
from core.io.stream_security import StreamSecurity
from core.io.stream_state import StreamState
from core.io.streams import Streams
from core.io.system import Socket
from core.metrics import Metric, Value, refused_for
from core.operator import Level
from core.tls import TlsKeys

REPLACED = Metric("replaced", "Connections that parted for one of another address")
TURNED_AWAY = refused_for("turned_away", "Connections for which there was no place", "busy")
TLS_LIMITED = refused_for(
    "tls_limited", "TLS connections beyond what an address may have", "tls_rate"
)
CLIENTS_MAX = Metric("clients_max", "Clients that there may be at once", is_level=True)


class Closable(Protocol):
    """An object that can be closed."""

    def close(self) -> None:
        """Close it."""


class Acceptor:
    """All listeners of one loop. `due` is when the first of those that rest goes on."""

    def __init__(self, engine: Engine, streams: Streams, descriptors: Descriptors) -> None:
        self.due = math.inf
        self.listeners: dict[int, Listener] = {}  # by descriptor
        self.parting: dict[Stream, None] = {}  # those that part for another, the oldest first
        self._engine = engine
        self._bounds = engine.environment.bounds
        self._hits = engine.environment.hits
        self._streams = streams
        self._descriptors = descriptors
        self._turned_away = 0
        self._replaced = 0
        self._limited = 0
        self._handshakes = PerSecond(self._bounds.tls_per_second)
        self._held: list[Closable] = []
        self._places: dict[Service, Places[Stream]] = {}
        self._certificates = Certificates(engine, self.keys)
        engine.timers.append(self)

    def metrics(self) -> list[Value]:
        """Return how many clients there may be, and how many were turned away or had to part."""
        return [
            Value(TURNED_AWAY, self._turned_away),
            Value(REPLACED, self._replaced),
            Value(CLIENTS_MAX, self._descriptors.clients_max),
            *self._streams.handshakes.metrics(are_due=bool(self.keys())),
            *([Value(TLS_LIMITED, self._limited)] if self.keys() else ()),
            *self._certificates.metrics(),
        ]

    def keys(self) -> list[TlsKeys]:
        """Return the keys of all listeners that secure what comes there."""
        found = [listener.service.keys for listener in self.listeners.values()]
        return list(dict.fromkeys(keys for keys in found if keys is not None))

    # -- where we listen -------------------------------------------------------------------------

    def listen(self, stream: Socket, service: Service, admit: Admit) -> None:
        """Accept who comes to a listening socket; see `Loop.listen`."""
        if service not in self._places:
            self._places[service] = self._reserve(service)
        engine = self._engine
        listener = Listener(
            engine.system,
            stream,
            service,
            engine.refusals.counting(admit),
            self._places[service],
            self._bounds.accept_rest_s,
            self._somebody_waits,
        )
        self.listeners[stream.fileno()] = engine.by_fd[stream.fileno()] = listener

    def _reserve(self, service: Service) -> Places[Stream]:
        """Return the places of a service, with the descriptors that it reserves for them."""
        if not service.reserves:
            return Places(lambda: self._descriptors.clients_max)
        count = int(getattr(self._bounds, service.connections))
        self._descriptors.reserve(count)
        return Places(lambda: count)

    def own_addresses(self) -> list[Any]:
        """Return the socket addresses where we listen."""
        return [listener.stream.getsockname() for listener in self.listeners.values()]

    def hold(self, held: Closable) -> None:
        """Hold sockets of others until the brain says Unlisten; see `Loop.hold`."""
        self._held.append(held)

    def start(self) -> None:
        """Say so when descriptors are too few for as many clients as there may be."""
        has_clients = any(not each.service.reserves for each in self.listeners.values())
        if has_clients and (few := self._descriptors.few()):
            self._engine.log.report(few, Level.WARNING, "few_descriptors")
        self._certificates.start()

    def to_read(self) -> list[int]:
        """Return the descriptors of listeners where one that comes is accepted now."""
        return [fd for fd, listener in self.listeners.items() if listener.is_read]

    def expire(self, now: float) -> None:
        """End the rests that are over."""
        if now < self.due:
            return
        for listener in self.listeners.values():
            if listener.rested(now):
                self._engine.read_fds_stale = True
        self._look()

    def let_go(self) -> None:
        """Close what is held for others."""
        self._engine.doomed.extend(self._held)
        self._held.clear()

    def unlisten(self) -> None:
        """Close the listeners that a drain closes."""
        for listener in self._for_askers():
            self._forget(listener)

    def give_up(self) -> None:
        """Close all listeners, and what is held for others."""
        self.let_go()
        self.unlisten()
        for listener in list(self.listeners.values()):
            self._forget(listener)

    def _forget(self, listener: Listener) -> None:
        fd = listener.fileno()
        del self.listeners[fd], self._engine.by_fd[fd]
        self._engine.doomed.append(listener.stream)
        self._engine.read_fds_stale = True
        self._look()

    def _look(self) -> None:
        rests = [each.again_at for each in self.listeners.values() if each.again_at is not None]
        self.due = min(rests, default=math.inf)

    # -- the last to be accepted -----------------------------------------------------------------

    def begin_last_call(self) -> None:
        """Take only those who wait at the listeners that a drain closes, and nobody after them."""
        for listener in self._for_askers():
            listener.last_call(self._bounds.backlog_max + 1)

    def accept_the_last(self) -> bool:
        """Accept a turn's share of them; return whether that was the last, and nobody listens."""
        for listener in self._for_askers():
            self._accept(listener, getattr(self._bounds, listener.service.accepts))
        if any(listener.left for listener in self._for_askers()):
            return False
        self.unlisten()
        return True

    def unsecured(self) -> list[Stream]:
        """Return those that are not secure yet: the brain does not know them."""
        streams = self._streams.accepted.values()
        return [stream for stream in streams if stream.life.state is StreamState.SECURING]

    def _for_askers(self) -> list[Listener]:
        return [each for each in self.listeners.values() if each.service.drains]

    # -- accepting -------------------------------------------------------------------------------

    def _somebody_waits(self, listener: Listener) -> None:
        if listener.left == math.inf:  # else see `accept_the_last`
            self._accept(listener, getattr(self._bounds, listener.service.accepts))

    def _accept(self, listener: Listener, count_max: float) -> None:
        """Accept until nobody waits, or `count_max` have come."""
        engine, hits, service = self._engine, self._hits, listener.service
        known = listener.trouble
        count = 0
        room = min(count_max, listener.room)
        now = engine.system.now()
        for stream, host, network in listener.accept(room, now):
            count += 1
            if service.keys is not None and not self._may_secure(network, now):
                stream.close()
            elif listener.places.left > 0 or self._make_room(listener, network):
                self._take(listener, stream, host, network)
                engine.deliver()
            else:
                hits[service.connections] += 1
                self._turned_away += 1
                with contextlib.suppress(OSError):
                    stream.send(service.farewell or b"")
                stream.close()
        if count == count_max:
            hits[service.accepts] += 1
        if not listener.room:
            hits[service.connections] += 1
        if listener.again_at is not None:
            hits["accept_rest_s"] += 1
            engine.read_fds_stale = True
            self._look()
            if listener.trouble != known:  # once, not ten times a second
                text = f"cannot accept: {listener.trouble}; trying again"
                about = {"reason": listener.trouble}
                engine.log.report(text, Level.WARNING, "accept_failed", about)

    def _take(self, listener: Listener, socket: Socket, host: str, network: str) -> None:
        """Make a connection of a socket that was accepted."""
        engine, streams, service = self._engine, self._streams, listener.service
        name = listener.next_name()
        read_bytes = getattr(self._bounds, service.reads)
        security = None
        if service.keys is not None:
            layer = engine.system.tls.secure_accepted(service.keys)
            security = StreamSecurity(streams, layer, host)
        stream = streams.add(
            name, accepted=True, framing=service.framing, read_bytes=read_bytes, security=security
        )
        stream.last_turn = engine.turn
        listener.places.take(stream, network)
        stream.let_go = listener.places.leave
        streams.attach(stream, socket)
        if engine.wire is not None:
            about = {"client": name, "address": host}
            engine.wire.report(f"{name} is {host}", Level.INFO, "client_accepted", about)
        if security is None:
            self._opened(service, stream)
        else:
            security.secured = partial(self._opened, service)
            streams.limits.mid_message.start(stream, engine.system.now())

    def _opened(self, service: Service, stream: Stream) -> None:
        """Tell the brain that a connection is there."""
        if stream.security is not None:
            stream.security.is_known = True
            self._streams.limits.mid_message.stop(stream)
        self._streams.limits.limit_idle(stream, service.idles)
        self._engine.events.append(Opened(stream.name, service.role))

    def _may_secure(self, network: str, now: float) -> bool:
        """Return whether one more handshake with this network is within the bound of a second."""
        if network == THIS_MACHINE or self._handshakes.take(network, now):
            return True
        self._hits["tls_per_second"] += 1
        self._limited += 1
        return False

    def _make_room(self, listener: Listener, network: str) -> bool:
        """Have a connection part for a newcomer of this network; return whether one does.

        Until it is gone it takes a descriptor of the spare ones, so only a few may be parting at
        once. When more would, the first that has been sent everything is no longer waited for.
        """
        engine = self._engine
        parting_max = self._bounds.descriptors_spare // 4
        if len(self.parting) + len(engine.doomed) >= 2 * parting_max:  # the doomed have theirs, too
            return False
        going = listener.places.to_part(network)
        if going is None:
            return False
        if len(self.parting) >= parting_max:
            lingering = (each for each in self.parting if each.life.state is StreamState.LINGERING)
            done = next(lingering, None)
            if done is None:
                return False
            self._streams.lose(done, "its descriptor is needed")
        if going.life.state is StreamState.SECURING:  # the brain does not know it
            self._streams.lose(going, "its place is needed")
            return True
        holder, held = listener.places.holder(going)
        bound = listener.service.connections
        text = f"{bound} is reached, and {holder} has {held}: the longest idle parts"
        about = {"bound": bound, "address": holder, "connections": held}
        engine.log.report(text, Level.WARNING, "client_replaced", about, REPLACED.name)
        self._replaced += 1
        listener.places.leave(going)
        self.parting[going] = None
        going.let_go = self.parting.pop
        engine.events.append(PlaceWanted(going.name))
        engine.deliver()
        return True
