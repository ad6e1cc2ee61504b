"""A brain among connections that lead nowhere, and a clock that the test turns.

Bytes go through real `Connection`s, marks included; what the brain sends is collected per
connection. The test decides when a peer takes it (`taken`), when time passes (`wait`), and what
happens to a connection. What happens is told to the brain as the reactor would tell it.

Not here: sockets and the reactor. `tests/transcript.py` plays the document on this stage.
"""

from core import node
from core.bounds import Bounds
from core.io.connection import HEARD, Connection, StreamState
from core.io.frame_buffer import FrameBuffer


class Stage:
    """One brain. `said[conn]` is what it has sent there and the test has not taken out."""

    def __init__(self, brain: node.Brain, bounds: Bounds, now: float = 100.0) -> None:
        self.brain = brain
        self.bounds = bounds
        self.now = now
        self.connections: dict[str, Connection] = {}
        self.said: dict[str, bytearray] = {}
        self.dialled: list[str] = []  # dials that wait for `connect` or `refuse`
        self.addresses: dict[str, tuple[node.Address, ...]] = {}  # of the last dial
        self.lookups: list[tuple[str, str, int]] = []
        self.paused: set[str] = set()
        self.written = bytearray()
        self.reports: list[str] = []
        self.progress: list[str] = []
        self.standings: list[node.Standing] = []
        self.listening = True
        self.exit_code: int | None = None
        self.replies: dict[str, list[node.Datagram]] = {}  # by socket of datagrams
        self.framed: set[str] = set()  # dialled streams that carry DNS
        self.refused: set[str] = set()  # sockets of datagrams that cannot be had
        self.asked: dict[tuple[str, str], tuple[str, bytes]] = {}  # whose query came by what
        self.held: set[str] = set()  # connections whose peer takes nothing
        self._events: list[node.Event] = []

    # -- what others do ----------------------------------------------------------------------------

    def begin(self) -> None:
        self.step(node.Woken())

    def accept(self, conn: str) -> None:
        buffer = FrameBuffer() if conn.startswith(node.RESOLVER) else None
        self.connections[conn] = Connection(conn, accepted=True, bounds=self.bounds, buffer=buffer)
        self.step(node.Opened(conn))

    def take_datagrams(self, conn: str) -> None:
        """A socket of datagrams is there."""
        self.replies[conn] = []
        self.step(node.Opened(conn, is_datagrams=True))

    def connect(self, conn: str) -> None:
        """The dial is answered."""
        self.dialled.remove(conn)
        buffer = FrameBuffer() if conn in self.framed else None
        connection = Connection(conn, accepted=False, bounds=self.bounds, buffer=buffer)
        connection.connected()
        self.connections[conn] = connection
        self.step(node.Opened(conn))

    def refuse(self, conn: str) -> None:
        """The dial fails."""
        self.dialled.remove(conn)
        self.step(node.Closed(conn, "connection refused"))

    def resolve(self, conn: str, addresses: tuple[node.Address, ...], why: str = "") -> None:
        """A lookup is done; without addresses it failed, because of `why`."""
        self.step(node.Resolved(conn, addresses, why))

    def hear(self, conn: str, *chunks: bytes) -> None:
        """Bytes come, a read per chunk. A paused connection is not read: that is the test's."""
        for chunk in chunks:
            connection = self.connections.get(conn)
            if connection is not None and connection.life.state in HEARD:
                self.step(node.Lines(conn, connection.receive(chunk)))

    def end(self, conn: str) -> None:
        """The peer's end of stream."""
        connection = self.connections[conn]
        heard = connection.life.state in HEARD
        unfinished = connection.receive_eof()
        if heard:
            self._events.append(node.Ended(conn, unfinished))
        self.settle()

    def reset(self, conn: str) -> None:
        """The connection breaks."""
        self.connections[conn].lost()
        self.settle()

    def break_socket(self, conn: str, why: str = "connection refused") -> None:
        """The network says that nothing gets to the peer by this socket of datagrams."""
        del self.replies[conn]
        self.step(node.Closed(conn, why))

    def drain(self) -> None:
        """A signal comes."""
        self.step(node.DrainAsked())

    def reload(self) -> None:
        """A signal comes that asks for that. What a reload does in turns is done in `wait`."""
        self.step(node.ReloadAsked())

    def wait(self, seconds: float) -> None:
        """Time passes; the brain is woken whenever it wanted to be."""
        until = self.now + seconds
        while (due := self.brain.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.step(node.Woken())
        self.now = until

    def take(self, conn: str) -> bytes:
        """What was said there since the last time."""
        return bytes(self.said.pop(conn, b""))

    # -- what the brain does -----------------------------------------------------------------------

    def step(self, event: node.Event) -> None:
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
                    self._events.append(node.Closed(conn, "gone"))
            if not self._events:
                return

    def flush(self, conn: str) -> None:
        """The peer takes all that waits."""
        connection = self.connections[conn]
        while connection.waiting:
            data = bytes(connection.unsent())
            self.said.setdefault(conn, bytearray()).extend(data)
            relieved = connection.sent(len(data))
            if relieved and not connection.accepted and connection.life.state is StreamState.OPEN:
                self._events.append(node.Relieved(conn))

    def perform(self, effect: node.Effect) -> None:
        match effect:
            case node.Send(conn, data):
                assert data.endswith(b"\n") or not self.connections[conn].speaks_lines
                connection = self.connections[conn]
                if connection.send(data) and not connection.accepted:
                    self._events.append(node.Backlogged(conn))
            case node.SendTo(conn, datagrams):
                assert datagrams
                self.replies[conn] += datagrams
            case node.DialDatagrams(conn, _):
                assert conn not in self.replies
                if conn in self.refused:
                    self._events.append(node.Closed(conn, "refused"))
                else:
                    self.replies[conn] = []
                    self._events.append(node.Opened(conn))
            case node.Close(conn) if conn in self.replies:
                if not conn.startswith(node.RESOLVER):
                    del self.replies[conn]
                self._events.append(node.Closed(conn, ""))
            case node.Pause(conn) if conn in self.replies:
                self.paused.add(conn)
            case node.Dial(conn, addresses, framed):
                if framed:
                    self.framed.add(conn)
                assert addresses and conn not in self.connections and conn not in self.dialled
                self.dialled.append(conn)
                self.addresses[conn] = addresses
            case node.Resolve(conn, host, port):
                self.lookups.append((conn, host, port))
            case node.Close(conn):
                self.paused.discard(conn)
                self.connections[conn].close()
            case node.Abort(conn):
                if conn in self.dialled:
                    self.refuse(conn)
                else:
                    self.connections[conn].lost()
            case node.Pause(conn):
                assert conn in self.connections and conn not in self.paused
                self.paused.add(conn)
            case node.Resume(conn):
                self.paused.remove(conn)
            case node.Unlisten():
                self.listening = False
            case node.Write(data):
                self.written += data
            case node.Report(text):
                self.reports.append(text)
            case node.Progress(text):
                self.progress.append(text)
            case node.Notify(standing):
                self.standings.append(standing)
            case node.Stop(exit_code):
                assert self.exit_code is None
                self.exit_code = exit_code

    def has_ended(self, conn: str) -> bool:
        """Whether our side of this connection is over."""
        connection = self.connections.get(conn)
        over = (StreamState.LINGERING, StreamState.PARTING)
        return connection is None or connection.life.state in over
