"""Questions that arrive in an open loop, as a Poisson process, at many systems at once.

The arrival times are drawn beforehand and do not depend on the replies, and a latency counts from
the drawn time, not from when this process got round to sending. A slow system therefore gets no
less load, and questions that wait because of it count against it.

A single process drives all systems in one loop: none of them is busy. Every reply is checked; a
wrong reply, or none at all, raises WrongReply. TIMED OUT is a reply, and counted.

Not here: the closed loop (`bench/load.py`).
"""

import contextlib
import math
import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from load import TIMED_OUT, WrongReply

_READ_BYTES = 1 << 16
_PATIENCE_S = 30.0
_PAUSE_S = 1.0  # between two offers, for the queues that the first has left


@dataclass(slots=True)
class Offer:
    """A number of questions at an average rate, and their latencies."""

    load: float  # the name of the rate
    questions_per_s: float
    questions: int
    latencies_s: list[float] = field(default_factory=list)
    timed_out: int = 0

    @property
    def mean_s(self) -> float:
        return sum(self.latencies_s) / len(self.latencies_s)


class Station:
    """A system that is given one offer after the other.

    Each question goes to a random port of `ports`; no name is asked twice. The random draws of an
    offer depend on its load alone, so two systems are asked at the same times.
    """

    def __init__(
        self,
        ports: Sequence[int],
        names: Sequence[bytes],
        answers: Sequence[bytes],
        offers: Sequence[Offer],
    ) -> None:
        if sum(offer.questions for offer in offers) > len(names):
            raise ValueError(f"{len(names)} names are too few")
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        self._rests = dict.fromkeys(self._sockets, b"")
        self.fds = {stream.fileno(): stream for stream in self._sockets}
        for stream in self._sockets:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs = zip(names, answers, strict=True)
        self._in_flight: dict[bytes, tuple[float, bytes]] = {}  # by name: since when, the answer
        self._offers = iter(offers)
        self._offer: Offer
        self._arrivals: Iterator[float] = iter(())
        self.due = math.inf  # when the next question comes
        self.is_done = False

    def begin(self, now: float) -> None:
        """Make the next offer, if there is one."""
        offer = next(self._offers, None)
        if offer is None:
            self.is_done = True
            return
        self._offer = offer
        self._chance = random.Random(f"arrivals {offer.load}")
        self._arrivals = self._draw(offer, now)
        self.due = next(self._arrivals)

    def ask(self, now: float) -> None:
        """Ask every question that has come by now."""
        while self.due <= now:
            name, answer = next(self._pairs)
            self._in_flight[name] = (self.due, answer)
            stream = self._sockets[self._chance.randrange(len(self._sockets))]
            stream.sendall(name + b"\n")
            self.due = next(self._arrivals, math.inf)

    def receive(self, fd: int, now: float) -> None:
        """Take the replies on this descriptor. Raises WrongReply."""
        stream = self.fds[fd]
        data = stream.recv(_READ_BYTES)
        if not data:
            raise WrongReply(f"the connection ended with {len(self._in_flight)} replies owed")
        *replies, self._rests[stream] = (self._rests[stream] + data).split(b"\n")
        for reply in replies:
            name = reply.partition(b" ")[0]
            since, answer = self._in_flight.pop(name, (0.0, None))
            if reply != answer:
                if answer is None or reply != name + TIMED_OUT:
                    raise WrongReply(f"not owed: {reply!r}")
                self._offer.timed_out += 1
            self._offer.latencies_s.append(now - since)
        if self.due == math.inf and not self._in_flight:
            self.begin(now + _PAUSE_S)

    def close(self) -> None:
        for stream in self._sockets:
            stream.close()

    def _draw(self, offer: Offer, now: float) -> Iterator[float]:
        for _ in range(offer.questions):
            now += self._chance.expovariate(offer.questions_per_s)
            yield now


def ask_all(stations: Sequence[Station], say: Callable[[int], None]) -> None:
    """Give every station all its offers; `say` is told how many are not done. Raises WrongReply."""
    station_of = {fd: station for station in stations for fd in station.fds}
    fds = list(station_of)
    heard_at = time.perf_counter()
    with contextlib.ExitStack() as stack:
        for station in stations:
            stack.callback(station.close)
            station.begin(heard_at)
        while busy := [station for station in stations if not station.is_done]:
            say(len(busy))
            due = min(station.due for station in busy)
            wait_s = min(max(0.0, due - time.perf_counter()), _PATIENCE_S)
            readable, _, _ = select.select(fds, [], [], wait_s)
            now = time.perf_counter()
            for fd in readable:
                station_of[fd].receive(fd, now)
                heard_at = now
            for station in busy:
                station.ask(now)
            if now > heard_at + _PATIENCE_S:
                raise WrongReply(f"nothing came for {_PATIENCE_S:g} s")
