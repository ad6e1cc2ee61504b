"""A brain among connections that lead nowhere, and a clock that the test turns.

Bytes go through real `Connection`s, marks included; what the brain sends is collected per
connection. The test decides when a peer takes it (`taken`), when time passes (`wait`), and what
happens to a connection. Events are told to the brain as the loop would tell them.

Not here: sockets and the loop. `tests/support/transcript.py` plays the document on this stage.
"""

from collections.abc import Iterable
from typing import Self

from core.addresses import Address, Datagram
from core.bounds import Bounds
from core.brain import Brain
from core.datagram_events import DialDatagrams, SendTo
from core.effects import (
    Abort,
    Close,
    Dial,
    Effect,
    Pause,
    Resolve,
    Resume,
    Send,
    Stop,
    Unlisten,
    Write,
)
from core.environment import Environment
from core.events import (
    Backlogged,
    Closed,
    Ended,
    Event,
    Opened,
    Received,
    Relieved,
    Resolved,
    Role,
    Woken,
)
from core.framing import Framing
from core.io.connection import Connection
from core.io.framer import make_framer
from core.io.stream_state import HEARD, StreamState
from core.operator import DrainAsked, Level, Notify, Progress, ReloadAsked, Report, Standing
from core.protocol.names import LINE_BYTES_MAX
from core.tls import ServerIdentity


def role_of(conn: str) -> Role:
    """Return what a connection of this name is for: tests name what they accept as the loop
    does."""
    return next((role for role in Role if conn.startswith(f"{role.value}-")), Role.LINES)


class Stage:
    """A brain without its loop. `said[conn]` is what it has sent there and the test has not taken
    out."""

    def __init__(self, brain: Brain, bounds: Bounds, now: float = 100.0) -> None:
        self.brain = brain
        self.bounds = bounds
        self.now = now
        self.connections: dict[str, Connection] = {}
        self.said: dict[str, bytearray] = {}
        self.dialled: list[str] = []  # dials that wait for `connect` or `refuse`
        self.addresses: dict[str, tuple[Address, ...]] = {}  # of the last dial
        self.identities: dict[str, ServerIdentity | None] = {}  # that it asks for
        self.lookups: list[tuple[str, str, int]] = []
        self.paused: set[str] = set()
        self.written = bytearray()
        self.reports: list[str] = []
        self.warnings: list[str] = []  # those of the reports that are more than information
        self.progress: list[str] = []
        self.standings: list[Standing] = []
        self.listening = True
        self.exit_code: int | None = None
        self.replies: dict[str, list[Datagram]] = {}  # by socket of datagrams
        self.framed: set[str] = set()  # dialled streams that are length-prefixed
        self.refused: set[str] = set()  # sockets of datagrams that cannot be had
        self.asked: dict[tuple[str, str], tuple[str, bytes]] = {}  # whose query came by what
        self.held: set[str] = set()  # connections whose peer takes nothing
        self._events: list[Event] = []

    @classmethod
    def begun(
        cls,
        brain: Brain,
        bounds: Bounds | None = None,
        *,
        up: Iterable[str] = (),
        clients: Iterable[str] = (),
    ) -> Self:
        """Begin a brain; bring these links up, then connect these clients."""
        stage = cls(brain, bounds or Bounds())
        stage.begin()
        for conn in up:
            stage.connect(conn)
        for conn in clients:
            stage.accept(conn)
        return stage

    # -- events from others ------------------------------------------------------------------------

    def begin(self) -> None:
        self.step(Woken())

    def accept(self, conn: str) -> None:
        is_dns = role_of(conn) in (Role.DNS, Role.TLS)
        self._connect(conn, True, Framing.LENGTH_PREFIXED if is_dns else Framing.LINES)
        self.step(Opened(conn, role_of(conn)))

    def _connect(self, conn: str, accepted: bool, framing: Framing) -> Connection:
        framer = make_framer(framing, LINE_BYTES_MAX)
        connection = Connection(Environment(self.bounds), conn, accepted, framer)
        self.connections[conn] = connection
        return connection

    def adopt(self, conn: str) -> None:
        """Let there be an input that is read (`core/io/input.py`)."""
        self._connect(conn, True, Framing.LINES)

    def take_datagrams(self, conn: str) -> None:
        """Open a socket of datagrams."""
        self.replies[conn] = []
        self.step(Opened(conn, role_of(conn), is_datagrams=True))

    def connect(self, conn: str) -> None:
        """Answer the dial."""
        self.dialled.remove(conn)
        framing = Framing.LENGTH_PREFIXED if conn in self.framed else Framing.LINES
        self._connect(conn, False, framing).connected()
        self.step(Opened(conn, Role.UPSTREAM))

    def refuse(self, conn: str, why: str = "connection refused") -> None:
        """Let the dial fail."""
        self.dialled.remove(conn)
        self.step(Closed(conn, why))

    def resolve(self, conn: str, addresses: tuple[Address, ...], why: str = "") -> None:
        """End a lookup; without addresses it failed, because of `why`."""
        self.step(Resolved(conn, addresses, why))

    def hear(self, conn: str, *chunks: bytes) -> None:
        """Let bytes come, a read per chunk. A paused connection is not read: that is the test's."""
        for chunk in chunks:
            connection = self.connections.get(conn)
            if connection is not None and connection.life.state in HEARD:
                self.step(Received(conn, connection.framer.receive(chunk)))

    def end(self, conn: str) -> None:
        """End the peer's side of the stream."""
        connection = self.connections[conn]
        heard = connection.life.state in HEARD
        unfinished = connection.receive_eof()
        if heard:
            self._events.append(Ended(conn, unfinished))
        self.settle()

    def reset(self, conn: str) -> None:
        """Break the connection."""
        self.connections[conn].lost()
        self.settle()

    def break_socket(self, conn: str, why: str = "connection refused") -> None:
        """Let the network say that nothing gets to the peer by this socket of datagrams."""
        del self.replies[conn]
        self.step(Closed(conn, why))

    def drain(self) -> None:
        """Let a signal come."""
        self.step(DrainAsked())

    def reload(self) -> None:
        """Let a signal come that asks for that. Steps that a reload does in turns are done in
        `wait`."""
        self.step(ReloadAsked())

    def wait(self, seconds: float) -> None:
        """Time passes; the brain is woken whenever it wanted to be."""
        until = self.now + seconds
        while (due := self.brain.due) <= until:
            self.now = max(self.now, due)
            self.step(Woken())
        self.now = until

    def take(self, conn: str) -> bytes:
        """Return what was said there since the last time."""
        return bytes(self.said.pop(conn, b""))

    # -- effects of the brain ----------------------------------------------------------------------

    def step(self, event: Event) -> None:
        self._events.append(event)
        self.settle()

    def settle(self) -> None:
        """Step and perform until nothing more happens of itself."""
        while True:
            while self._events:
                for effect in self.brain.step(self._events.pop(0), self.now):
                    self.perform(effect)
            for conn, connection in list(self.connections.items()):
                if conn not in self.held:
                    self.flush(conn)
                if connection.is_closed:
                    del self.connections[conn]
                    self.paused.discard(conn)
                    self._events.append(Closed(conn, "gone"))
            if not self._events:
                return

    def flush(self, conn: str) -> None:
        """Let the peer take all that waits."""
        connection = self.connections[conn]
        while connection.waiting:
            said = self.said.setdefault(conn, bytearray())

            def take(data: memoryview, said: bytearray = said) -> int:
                said.extend(data)
                return len(data)

            relieved = connection.flush(take, connection.waiting)
            if relieved and not connection.accepted and connection.life.state is StreamState.OPEN:
                self._events.append(Relieved(conn))

    def perform(self, effect: Effect) -> None:
        match effect:
            case Send(conn, data):
                connection = self.connections[conn]
                are_lines = connection.framer.is_text and role_of(conn) is not Role.HTTP
                assert data.endswith(b"\n") or not are_lines
                if connection.send(data) and not connection.accepted:
                    self._events.append(Backlogged(conn))
            case SendTo(conn, datagrams):
                assert datagrams
                self.replies[conn] += datagrams
            case DialDatagrams(conn, address):
                assert conn not in self.replies
                self.addresses[conn] = (address,)
                if conn in self.refused:
                    self._events.append(Closed(conn, "refused"))
                else:
                    self.replies[conn] = []
                    self._events.append(Opened(conn))
            case Close(conn) if conn in self.replies:
                if role_of(conn) is not Role.DNS:
                    del self.replies[conn]
                self._events.append(Closed(conn, ""))
            case Pause(conn) if conn in self.replies:
                self.paused.add(conn)
            case Dial(conn, addresses, framing, identity):
                if framing is Framing.LENGTH_PREFIXED:
                    self.framed.add(conn)
                assert addresses and conn not in self.connections and conn not in self.dialled
                self.dialled.append(conn)
                self.addresses[conn], self.identities[conn] = addresses, identity
            case Resolve(conn, host, port):
                self.lookups.append((conn, host, port))
            case Close(conn):
                self.paused.discard(conn)
                self.connections[conn].close()
            case Abort(conn):
                if conn in self.dialled:
                    self.refuse(conn)
                else:
                    self.connections[conn].lost()
            case Pause(conn):
                assert conn in self.connections and conn not in self.paused
                self.paused.add(conn)
            case Resume(conn):
                self.paused.remove(conn)
            case Unlisten():
                self.listening = False
            case Write(data):
                self.written += data
            case Report(text, level):
                self.reports.append(text)
                if level > Level.INFO:
                    self.warnings.append(text)
            case Progress(text):
                self.progress.append(text)
            case Notify(standing):
                self.standings.append(standing)
            case Stop(exit_code):
                assert self.exit_code is None
                self.exit_code = exit_code

    def has_ended(self, conn: str) -> bool:
        """Return whether our side of this connection is over."""
        connection = self.connections.get(conn)
        over = (StreamState.LINGERING, StreamState.PARTING)
        return connection is None or connection.life.state in over
