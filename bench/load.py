"""The load: a process that asks in a closed loop, checks every reply, and measures latencies.

Each connection keeps `window` questions in flight: for each reply a new question is sent. The names
of the connections differ, so that no system gains by merging equal questions. Every reply is looked
up among those owed on its connection: a reply that is wrong, or comes twice, raises WrongReply; at
the end all replies that are owed are waited for, and after QUIT come BYE and the end, and nothing
else. Where a question may time out, TIMED OUT is a reply, too, and counted.

The cost here is per batch, too: a third to half a microsecond for each lookup, the same for
every system that is measured.

Not here: the programs (`bench/systems.py`), and reports.
"""

import contextlib
import math
import select
import socket
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from percentiles import percentile, percentiles

_READ_BYTES = 1 << 16  # more would be mapped and unmapped for each read
_PATIENCE_S = 30.0
TIMED_OUT = b" - TIMED OUT"


class WrongReply(Exception):
    """A reply without a question, a wrong address, a second reply, or none at all."""


@dataclass(slots=True)
class Period:
    """The results of a span of load."""

    seconds: float = 0.0
    lookups: int = 0
    latencies_us: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def percentiles_ms(self) -> dict[str, float]:
        """Return the percentiles of the latencies by their names."""
        return {name: us / 1000 for name, us in percentiles(self.latencies_us).items()}

    def quantile_ms(self, share: float) -> float:
        """Return the latency that this share of the lookups did not exceed."""
        return percentile(self.latencies_us, share) / 1000

    def share_over(self, latency_us: int) -> float:
        """Return the share of the lookups that took longer."""
        longer = sum(count for took, count in self.latencies_us.items() if took > latency_us)
        return longer / max(1, sum(self.latencies_us.values()))

    def add(self, other: "Period") -> None:
        """Add the results of another period to these."""
        self.seconds += other.seconds
        self.lookups += other.lookups
        for latency, count in other.latencies_us.items():
            self.latencies_us[latency] += count


class _Asker:
    """A connection. `in_flight` maps each reply that is owed to when it was asked for."""

    def __init__(
        self, port: int, names: Sequence[bytes], answers: Sequence[bytes], may_time_out: bool
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.fd = self.socket.fileno()
        self.in_flight: dict[bytes, float] = {}
        self.timed_out = 0
        self._answer_of = dict(zip(names, answers, strict=True)) if may_time_out else {}
        self.unsent: deque[memoryview] = deque()
        self._names = [*names, *names]  # twice: a slice never has to go round the end
        self._answers = [*answers, *answers]
        self._period = len(names)
        self._next = 0
        self._rest = b""

    def ask(self, count: int, now: float) -> None:
        start = self._next
        answers = self._answers[start : start + count]
        if not self.in_flight.keys().isdisjoint(answers):
            raise WrongReply(f"a name is asked again and still open: of {answers[:3]}...")
        self.in_flight.update(dict.fromkeys(answers, now))
        lines = b"\n".join(self._names[start : start + count]) + b"\n"
        self._next = (start + count) % self._period
        self.unsent.append(memoryview(lines))
        self.send()

    def send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.unsent:
                taken = self.socket.send(self.unsent[0])
                if taken < len(self.unsent[0]):
                    self.unsent[0] = self.unsent[0][taken:]
                    return
                self.unsent.popleft()

    def receive(self) -> list[float]:
        """Read once; return when the questions were asked whose replies came. Raises WrongReply."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise WrongReply(f"the connection ended with {len(self.in_flight)} replies owed")
        *replies, self._rest = (self._rest + data).split(b"\n")
        if self._answer_of and any(reply.endswith(TIMED_OUT) for reply in replies):
            replies = [self._meant(reply) for reply in replies]
        try:
            return list(map(self.in_flight.pop, replies))
        except KeyError as error:
            raise WrongReply(f"not owed: {error.args[0]!r}") from None

    def _meant(self, reply: bytes) -> bytes:
        """Return the answer that this reply settles: itself, or the one that TIMED OUT is for."""
        if not reply.endswith(TIMED_OUT):
            return reply
        self.timed_out += 1
        return self._answer_of.get(reply.removesuffix(TIMED_OUT), reply)

    def leave(self) -> None:
        """Send QUIT, and check that nothing comes but BYE and the end. Raises WrongReply."""
        self.socket.settimeout(_PATIENCE_S)
        self.socket.sendall(b"QUIT\n")
        rest = self._rest
        while data := self.socket.recv(_READ_BYTES):
            rest += data
        self.socket.close()
        if rest != b"BYE\n":
            raise WrongReply(f"after QUIT there came {rest[:99]!r}")


class Load:
    """Connections to a server's port that ask, and `idle` ones that do not.

    `may_time_out`: TIMED OUT is a reply, too.
    """

    def __init__(
        self,
        port: int,
        names: Sequence[bytes],
        answers: Sequence[bytes],
        *,
        connections: int,
        window: int,
        idle: int = 0,
        may_time_out: bool = False,
    ) -> None:
        self.window = window
        share = len(names) // connections
        if share < window:
            raise ValueError(f"{len(names)} names are too few for {connections} times {window}")
        self._idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle)]
        self._askers = [
            _Asker(port, names[at : at + share], answers[at : at + share], may_time_out)
            for at in range(0, connections * share, share)
        ]
        self._by_fd = {asker.fd: asker for asker in self._askers}
        self._fds = list(self._by_fd)

    @property
    def in_flight(self) -> int:
        return sum(len(asker.in_flight) for asker in self._askers)

    @property
    def timed_out(self) -> int:
        """The number of TIMED OUT replies so far."""
        return sum(asker.timed_out for asker in self._askers)

    def run(self, seconds: float, lookups: float = math.inf) -> Period:
        """Keep the windows full for `seconds`, or until `lookups` replies have come."""
        period = Period()
        began = time.perf_counter()
        for asker in self._askers:
            if missing := self.window - len(asker.in_flight):
                asker.ask(missing, began)
        while time.perf_counter() < began + seconds and period.lookups < lookups:
            for asker, count in self._turn(period):
                asker.ask(count, time.perf_counter())
        period.seconds = time.perf_counter() - began
        return period

    def finish(self) -> Period:
        """Wait for replies that are owed, and leave; return their results. Raises WrongReply."""
        period = Period()
        began = time.perf_counter()
        while self.in_flight:
            self._turn(period)
        period.seconds = time.perf_counter() - began
        for asker in self._askers:
            asker.leave()
        for stream in self._idle:
            stream.setblocking(False)
            try:
                raise WrongReply(f"an idle connection heard {stream.recv(99)!r}")
            except BlockingIOError:
                stream.close()
        return period

    def _turn(self, period: Period) -> list[tuple[_Asker, int]]:
        """Read once from each connection; return those that got replies, and how many."""
        blocked = [asker.fd for asker in self._askers if asker.unsent]
        readable, writable, _ = select.select(self._fds, blocked, [], _PATIENCE_S)
        if not readable and not writable:
            raise WrongReply(f"nothing came for {_PATIENCE_S:g} s")
        for fd in writable:
            self._by_fd[fd].send()
        done = []
        for fd in readable:
            asker = self._by_fd[fd]
            times = asker.receive()
            now = time.perf_counter()
            for asked_at, run in groupby(times):
                period.latencies_us[int((now - asked_at) * 1e6)] += len(list(run))
            period.lookups += len(times)
            if times:
                done.append((asker, len(times)))
        return done
