"""Streams: all connections of one loop, with their sockets.

Each is read once in a turn, and sent to once. Accepted ones share what a turn reads, and sends, in
equal parts; while too much is owed to all of them, few are read, and little at a time
(`core/owed.py`). A dialled one is always read: see `core/io/connection.py`.

A close is staged: what is owed is sent, our side is ended, and the socket lingers until the peer
ends, too; some take too long (`stream_limits.py`).
Each connection ends with one Closed, and its socket is closed when the turn ends.

Not here: where connections come from (`core/io/acceptor.py`, `core/io/dialler.py`), and how bytes
become messages (`core/io/framer.py`).
"""

from core.effects import Abort, Pause, Resume, Send
from core.events import Backlogged, Closed, Opened, Relieved, Role
from core.framing import Framing
from core.io.engine import Engine
from core.io.framer import make_framer
from core.io.handshakes import Handshakes
from core.io.source import Source
from core.io.stream import Stream, let_nobody_know
from core.io.stream_limits import StreamLimits
from core.io.stream_security import StreamSecurity
from core.io.stream_state import StreamState
from core.io.system import Socket, reason
from core.owed import Owed


class Streams:
    """The connections of one loop, by name. `accepted` and `dialled` are in the order of reading.

    A dialled name keeps its closed connection, and so its place, until it is dialled again.
    `unsent` are to be sent to in this turn; `read_share` bytes may be read of each in it.
    """

    def __init__(self, engine: Engine, owed: Owed, line_bytes_max: int) -> None:
        bounds = engine.environment.bounds
        self.engine = engine
        self.bounds = bounds
        self.owed = owed
        self.dialled: dict[str, Stream] = {}
        self.accepted: dict[str, Stream] = {}
        self.unsent: dict[Stream, None] = {}
        self.read_share = 1
        self.was_short = False  # whether memory was, when it was last listed what is read
        self.handshakes = Handshakes(engine.log, bounds.tls_accepts_per_turn)
        self._line_bytes_max = line_bytes_max
        self.limits = StreamLimits(self)
        engine.performers |= {
            Send: self.send_to,
            Abort: self._do_abort,
            Pause: self._do_pause,
            Resume: self._do_resume,
        }

    # -- which there are -------------------------------------------------------------------------

    def add(
        self,
        name: str,
        *,
        accepted: bool,
        framing: Framing = Framing.LINES,
        read_bytes: int | None = None,
        security: StreamSecurity | None = None,
    ) -> Stream:
        """Make a connection that has no socket yet."""
        framer = make_framer(framing, self._line_bytes_max)
        stream = Stream(self, name, accepted, framer, read_bytes, security)
        (self.accepted if accepted else self.dialled)[name] = stream
        return stream

    def attach(self, stream: Stream, socket: Socket, source: Source | None = None) -> None:
        """Give a connection its socket, which `source` watches for it, or the stream itself."""
        stream.socket, stream.fd = socket, socket.fileno()
        self.engine.by_fd[stream.fd] = source or stream
        self.engine.read_fds_stale = True

    def detach(self, stream: Stream) -> None:
        """Take the socket of a connection away, if it has one; it is closed at the turn's end."""
        if stream.fd < 0:
            return
        engine = self.engine
        del engine.by_fd[stream.fd]
        engine.write_fds.pop(stream.fd, None)
        self.unsent.pop(stream, None)
        self.limits.stop(stream)
        stream.fd = -1
        engine.doomed.append(stream.socket)
        engine.read_fds_stale = True

    def adopt(self, name: str, socket: Socket) -> None:
        """Take a stream that is there already: Opened."""
        socket.setblocking(False)  # its descriptor is taken already
        self.attach(self.add(name, accepted=True), socket)
        self.engine.events.append(Opened(name, Role.WORKER))

    def give_up(self) -> None:
        """Let go of all sockets, without a word to the brain."""
        for stream in (*self.accepted.values(), *self.dialled.values()):
            self.detach(stream)

    # -- in --------------------------------------------------------------------------------------

    def to_read(self, *, dialled: bool) -> list[int]:
        """Return the descriptors that are read, of those that were dialled or of the others."""
        streams = self.dialled if dialled else self.accepted
        return [stream.fd for stream in streams.values() if stream.is_read]

    def quiet_since(self, turn: int) -> set[int]:
        """Return the descriptors of accepted connections on which nothing came or went since."""
        return {stream.fd for stream in self.accepted.values() if stream.last_turn < turn}

    def look_at_memory(self) -> None:
        """Note whether memory is short; where it no longer is, all are read again."""
        is_short = self.owed.is_short()
        if self.was_short and not is_short:
            for stream in self.accepted.values():
                stream.reads_again()
        self.was_short = is_short
        accepted = self.accepted.values() if is_short else ()
        self.limits.left_out = {stream for stream in accepted if not stream.is_read}

    # -- out -------------------------------------------------------------------------------------

    def send_to(self, effect: Send) -> None:
        """Append bytes; they are sent in this turn, unless the connection is blocked."""
        stream = self.accepted.get(effect.conn) or self.dialled[effect.conn]
        engine = self.engine
        if engine.wire is not None and stream.framer.is_text:
            engine.wire.sent(effect.conn, effect.data)
        if stream.send(effect.data):
            self.went_over_high(stream)
        if stream.fd not in engine.write_fds:
            self.unsent[stream] = None

    def went_over_high(self, stream: Stream) -> None:
        """Take note that more waits for it than its high mark."""
        engine = self.engine
        if stream.accepted:
            engine.environment.hits["owed_bytes_high"] += 1
            engine.read_fds_stale = True
        else:
            engine.environment.hits["waiting_bytes_high"] += 1
            engine.events.append(Backlogged(stream.name))

    def send(self, now: float) -> None:
        """Send once on each connection that has bytes and is not known to be blocked."""
        unsent, self.unsent = self.unsent, {}
        engine = self.engine
        share = self.bounds.turn_sent_bytes // (len(unsent) or 1) or 1
        for stream in unsent:
            waited = stream.waiting
            if not waited:  # it was lost in this turn
                continue
            relieved = False
            most = share if stream.accepted else waited
            if waited > most:
                engine.environment.hits["turn_sent_bytes"] += 1
            try:
                relieved = stream.flush(stream.socket.send, most)
            except BlockingIOError:
                pass
            except OSError as error:
                self._send_failed(stream, reason(error))
                continue
            taken = stream.waiting < waited
            if taken:
                stream.last_turn = engine.turn
                if stream.idle is not None:
                    stream.idle.restart(stream, now)
            if stream.waiting:
                engine.write_fds[stream.fd] = None
                if taken:
                    self.limits.write_stall.restart(stream, now)
                else:
                    self.limits.write_stall.start(stream, now)
            elif stream.fd in engine.write_fds:
                del engine.write_fds[stream.fd]
                self.limits.write_stall.stop(stream)
            if relieved and stream.accepted:
                stream.reads_again()
            if stream.life.state is not StreamState.OPEN:
                self.after_flush(stream, now)
            elif relieved and not stream.accepted:
                engine.events.append(Relieved(stream.name))
            if engine.events:
                engine.deliver()

    def _send_failed(self, stream: Stream, why: str) -> None:
        """Send nothing more; what the peer sent before may still be read."""
        self.engine.write_fds.pop(stream.fd, None)
        self.limits.write_stall.stop(stream)
        stream.send_failed()
        self.engine.read_fds_stale = True
        if stream.is_closed:
            self.gone(stream, why)
            self.engine.deliver()

    # -- effects ---------------------------------------------------------------------------------

    def close(self, name: str) -> None:
        """Begin a staged close."""
        stream = self._living(name)
        self.engine.drop_events_of(name)
        stream.is_paused = False
        self.limits.mid_message.stop(stream)
        stream.close()
        if stream.waiting and stream.fd not in self.engine.write_fds:
            self.unsent[stream] = None
        self.engine.read_fds_stale = True
        self.after_flush(stream, self.engine.system.now())

    def _do_abort(self, effect: Abort) -> None:
        self.engine.drop_events_of(effect.conn)
        stream = self.accepted.get(effect.conn) or self.dialled[effect.conn]
        if not stream.is_closed:  # else its dial failed in this step: Closed will come
            self.lose(stream, "given up")

    def _do_pause(self, effect: Pause) -> None:
        self._living(effect.conn).is_paused = True
        self.engine.read_fds_stale = True

    def _do_resume(self, effect: Resume) -> None:
        stream = self._living(effect.conn)
        stream.is_paused = False
        stream.reads_again()

    def _living(self, name: str) -> Stream:
        """Return the living connection of this name. KeyError: the brain named one that is gone."""
        stream = self.accepted.get(name) or self.dialled[name]
        if stream.is_closed:
            raise KeyError(name)
        return stream

    # -- the end of a connection -----------------------------------------------------------------

    def after_flush(self, stream: Stream, now: float) -> None:
        """End our side, or be done, if that was the last of a staged close."""
        state = stream.life.state
        if state is StreamState.LINGERING and stream not in self.limits.lingering:
            self.engine.read_fds_stale = True
            self.limits.lingering.start(stream, now)
            try:
                self.engine.system.end_sending(stream.socket)
            except OSError as error:  # reset meanwhile
                self.lose(stream, reason(error))
        elif state is StreamState.CLOSED and stream.fd >= 0:
            self.gone(stream, "")

    def lose(self, stream: Stream, why: str) -> None:
        """End a connection at once."""
        stream.lost()
        self.gone(stream, why)

    def gone(self, stream: Stream, why: str) -> None:
        """Forget a closed connection and queue its one Closed."""
        self.detach(stream)
        self.accepted.pop(stream.name, None)
        stream.let_go(stream)
        stream.let_go = let_nobody_know  # and keep nothing of it alive
        if stream.security is None or stream.security.gone(stream, why):
            self.engine.events.append(Closed(stream.name, why))
