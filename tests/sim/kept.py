"""Checks of one loop after each of its turns: what it keeps, what it waits for, whom it cuts.

The truth is the simulator's: the descriptors that its host has open, and a `Record` of what came
and went on each stream, and when. Against it stand the loop's own containers: whatever is keyed by
a connection or a descriptor holds none that is gone and lacks none that is there; each clock runs
for those whom it is for and for nobody else; and those whom a limit cuts in a turn have done, by
their records, what the limit is about, for as long as it says, while nobody else has.

Not here: what LS says to whom (`tests/sim/invariants.py`).
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from core.addresses import THIS_MACHINE
from core.io.connection import Connection
from core.io.dialler import DialAttempt
from core.io.loop import Loop
from core.io.stream import Stream
from core.io.stream_state import HEARD, StreamState
from core.io.time_limits import TimeLimit

OUTPUT_FDS = {1, 2}  # the only descriptors of a host that are no sockets
_EDGE_S = 1e-6  # sums of times that differ by less are equal


class Record:
    """The bytes that a program took and gave on one stream, and when, by its host's clock."""

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.came_at = now  # bytes were last read, also those that are dropped
        self.moved_at = now  # bytes of a conversation last came, or any went
        self.mid_line_since: float | None = None
        self.unread_at = now  # when the program last waited, and not for this stream
        self.read_since = now  # since when it has always waited for it
        self.gave_at = now  # bytes were last taken
        self.stalled_since: float | None = None  # some were left over
        self.ended_at: float | None = None

    def took(self, data: bytes, now: float) -> None:
        """Take note that the program read this."""
        self.came_at = now
        rest = data[data.rfind(b"\n") + 1 :]
        if not rest:
            self.mid_line_since = None
        elif len(rest) < len(data) or self.mid_line_since is None:
            self.mid_line_since = now

    def gave(self, size: int, of: int, now: float) -> None:
        """Take note that so many of the bytes that the program offered were taken; maybe none."""
        if size:
            self.gave_at = now
            self.stalled_since = now if size < of else None
        elif self.stalled_since is None:
            self.stalled_since = now

    def turned(self, is_heard: bool) -> None:
        """Take note that a turn is over, and whether what came is of interest after it."""
        self.moved_at = max(self.moved_at, self.gave_at, self.came_at if is_heard else 0.0)

    def waited(self, is_read: bool, now: float) -> None:
        """Take note that the program waits, for this stream or not."""
        if not is_read:
            self.unread_at = now
            self.read_since = math.inf
        elif self.read_since == math.inf:
            self.read_since = now

    def has_lasted(self, bound: str, now: float) -> float:
        """Return for how long it has been as the limit of this bound is about; at the most."""
        since: float | None
        if bound == "mid_line_s":
            since = self.mid_line_since
            since = None if since is None else max(since, self.unread_at)
        elif bound == "write_stall_s":
            since = self.gave_at if self.stalled_since is None else self.stalled_since
        elif bound == "linger_s":
            since = self.ended_at
        elif bound == "dial_s":
            since = self.began_at
        else:
            since = self.moved_at
        return -math.inf if since is None else now - since


class Keeping:
    """Checks one loop of a host; `open_fds` are the descriptors that it has, with their holders."""

    def __init__(self, loop: Loop, open_fds: Mapping[int, Any]) -> None:
        self._loop = loop
        self._open = open_fds
        self._hits: dict[str, int] = {}
        self._seen: tuple[object, ...] = ()  # whose places were checked last
        self._has_framed = False  # streams that are no lines may be accepted
        self._limits: dict[str, TimeLimit[Any]] = {}  # by bound
        self.cut: list[Record] = []  # of streams that the loop closed in this turn

    def waits(self, read_fds: Collection[int], now: float) -> None:
        """Check that all that is to be read is waited for, and nothing else; and record it."""
        reads, by_fd = set(read_fds), self._loop.engine.by_fd
        assert reads <= by_fd.keys(), "what is read has no source"
        for fd in self._loop.acceptor.listeners.keys() - reads:
            assert not self._loop.acceptor.listeners[fd].is_read, "a listener is not read"
        for stream in self._streams():
            is_waited_for = stream.fd in reads
            if by_fd[stream.fd] is stream:
                assert is_waited_for == stream.is_read, f"{stream.name}: {stream.is_read=}"
            stream.socket.record.waited(is_waited_for, now)  # type: ignore[attr-defined]

    def check(self, now: float) -> None:
        """Check everything, after a turn at this time."""
        loop = self._loop
        self._check_descriptors()
        self._has_framed = self._has_framed or len(loop.acceptor.listeners) > 1
        seen = (*loop.streams.accepted, len(loop.acceptor.parting))
        if seen != self._seen:
            self._seen = seen
            self._check_places()
        for each in loop.engine.timers[len(self._limits) :]:
            if isinstance(each, TimeLimit):
                self._limits[each.bound] = each
        self._check_clocks()
        self._check_cuts(now)

    def _streams(self) -> list[Stream]:
        streams = self._loop.streams
        both = (*streams.accepted.values(), *streams.dialled.values())
        return [stream for stream in both if stream.fd >= 0]

    # -- containers -------------------------------------------------------------------------------

    def _check_descriptors(self) -> None:
        loop, engine, streams = self._loop, self._loop.engine, self._loop.streams
        sources, there = engine.by_fd.keys() - OUTPUT_FDS, set(self._open)
        assert sources <= there, f"sources of closed descriptors: {sources - there}"
        forgotten = [self._open[fd] for fd in there - sources if hasattr(self._open[fd], "host")]
        assert not forgotten, f"open, and nobody watches them: {forgotten}"
        gone = {*engine.write_fds, *loop.datagrams.busy, *loop.acceptor.listeners}
        gone |= {stream.fd for stream in streams.unsent}
        gone |= set(loop.host_lookups.to_read())
        gone -= engine.by_fd.keys()
        assert not gone, f"kept of descriptors that are gone: {gone}"
        assert not engine.doomed and not engine.events
        for each in loop.datagrams:
            assert engine.by_fd[each.fileno()] is each
        for name, stream in (*streams.accepted.items(), *streams.dialled.items()):
            assert name == stream.name
            assert (stream.fd < 0) == stream.is_closed, f"{name} is {stream.life.state.name}"
            assert stream.fd >= 0 or not stream.accepted, f"{name} is gone, and kept"
            assert not stream.is_paused or stream.is_closed or stream.life.state in HEARD, (
                f"{name} closes, and is never read"
            )

    def _check_places(self) -> None:
        acceptor, accepted = self._loop.acceptor, self._loop.streams.accepted
        for listener in acceptor.listeners.values():
            places = listener.places
            held: dict[str, int] = {}
            for connection in places:
                self._is_there(connection, "a place")
                held[places.holder(connection)[0]] = places.holder(connection)[1]
            assert sum(held.values()) == len(places), "networks hold more than there is"
            assert set(places.networks) == held.keys() - {THIS_MACHINE}, "a network holds nothing"
            assert not set(places) & acceptor.parting.keys(), "it parts, and holds its place"
        for connection in acceptor.parting:
            self._is_there(connection, "its parting")
        if len(acceptor.listeners) == 1 and accepted:
            (listener,) = acceptor.listeners.values()
            count = len(listener.places) + len(acceptor.parting)
            assert count == len(accepted), f"{count} places for {len(accepted)}"

    def _is_there(self, connection: Connection, what: str) -> None:
        there = self._loop.streams.accepted.get(connection.name)
        assert there is connection, f"{connection.name} is gone, and {what} is kept"

    # -- clocks ----------------------------------------------------------------------------------

    def _check_clocks(self) -> None:
        """Check that each clock runs for those whom it is for, and for nobody else."""
        engine, streams = self._loop.engine, self._loop.streams
        wanted: dict[str, set[object]] = {bound: set() for bound in self._limits}
        for stream in self._streams():
            source = engine.by_fd[stream.fd]
            stream.socket.record.turned(stream.life.state in HEARD)  # type: ignore[attr-defined]
            if isinstance(source, DialAttempt):
                wanted["dial_s"].add(stream)
                continue
            if stream.life.state is StreamState.SECURING:
                wanted["mid_line_s" if stream.accepted else "dial_s"].add(stream)
            is_blocked = stream.fd in engine.write_fds
            assert not stream.waiting or is_blocked or stream in streams.unsent, (
                f"{stream.name} is owed bytes, and nobody sends them"
            )
            assert stream.waiting or not is_blocked, f"{stream.name} is waited for in vain"
            if is_blocked:
                wanted["write_stall_s"].add(stream)
            if stream.life.state is StreamState.LINGERING:
                wanted["linger_s"].add(stream)
            if stream.life.state in HEARD and self._is_mid_message(stream):
                wanted["mid_line_s"].add(stream)
            if stream.idle is not None:
                wanted[stream.idle.bound].add(stream)
        for bound, limit in self._limits.items():
            there = {each.stream if isinstance(each, DialAttempt) else each for each in limit}
            assert there == wanted[bound], f"{bound}: {there} are timed, not {wanted[bound]}"

    def _is_mid_message(self, stream: Stream) -> bool:
        record = stream.socket.record  # type: ignore[attr-defined]
        if stream.framer.is_text:
            is_mid_line: bool = record.mid_line_since is not None
            return is_mid_line
        return stream.framer.is_mid_message

    def _check_cuts(self, now: float) -> None:
        """Check that those whom a limit cut had their time, and that nobody has more."""
        hits, cut = self._loop.hits, self.cut
        for bound, limit in self._limits.items():
            count = hits[bound] - self._hits.get(bound, 0)
            if count:
                self._hits[bound] = hits[bound]
                due = sum(each.has_lasted(bound, now) >= limit.span_s - _EDGE_S for each in cut)
                is_framed = bound == "mid_line_s" and self._has_framed
                assert count <= due or is_framed, f"{bound} cuts {count}, and {due} are due"
            for holder in limit:
                stream: Stream = holder.stream if isinstance(holder, DialAttempt) else holder
                record = stream.socket.record  # type: ignore[attr-defined]
                is_securing = stream.life.state is StreamState.SECURING
                if bound == "mid_line_s" and not (stream.framer.is_text or is_securing):
                    continue
                lasted = record.has_lasted("dial_s" if is_securing else bound, now)
                if bound == "mid_line_s":
                    lasted = min(lasted, now - record.read_since)
                elif limit is stream.idle:
                    lasted = min(lasted, now - record.came_at)
                assert lasted < limit.span_s + _EDGE_S, f"{stream.name}: {bound} is long over"
        self.cut = []
