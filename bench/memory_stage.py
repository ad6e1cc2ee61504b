"""Memory stage: a program in its real loop, over sockets in memory. No clock, no kernel, no peer.

`Stage.system` hands out the sockets, whose other ends (`Peer`) a bench fills and looks at.

Not here: what is asked and counted (`turn.py`).
"""

import math
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.addresses import Address
from core.bounds import Bounds
from core.events import Role
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import LINES

_LINES_AT, _DNS_AT = ("ls", 53), ("ls", 5353)


class Peer:
    """A socket in memory: `come` is what the program reads next, `sent` what it has sent."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.come: deque[Any] = deque()
        self.sent: list[Any] = []
        self.host = ""  # that was dialled, if one was

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        self.fd = -1

    def setblocking(self, blocking: bool) -> None: ...

    def recv(self, count: int) -> bytes:
        if not self.come:
            raise BlockingIOError
        data: bytes = self.come.popleft()
        return data

    def recvfrom(self, count: int) -> tuple[bytes, tuple[str, int]]:
        return self.recv(count), ("127.0.0.1", 1024)

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def sendto(self, data: bytes, address: object) -> int:
        return self.send(data)

    def accept(self) -> tuple["Peer", tuple[str, int]]:
        if not self.come:
            raise BlockingIOError
        accepted: Peer = self.come.popleft()
        return accepted, ("127.0.0.1", 1024)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self.fd)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", self.fd + 1000)


class MemorySystem:
    """A `core.io.system.System` in memory, as far as a loop calls it. Its clock is `t`, in s."""

    hangup, tell = 1, 10
    random = staticmethod(float)

    def __init__(self) -> None:
        self.t = 1000.0
        self.secret = Random(0).randbytes
        self.peers: list[Peer] = []
        self.output = bytearray()

    def peer(self) -> Peer:
        self.peers.append(Peer(3 + len(self.peers)))
        return self.peers[-1]

    def now(self) -> float:
        return self.t

    def wall(self) -> float:
        return 0.0

    def select(
        self, read: list[int], write: list[int], broken: list[int], timeout_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        peers = self.peers
        return [fd for fd in read if peers[fd - 3].come], list(write), []

    def listen(self, address: Address, backlog: int) -> list[Peer]:
        return [self.peer()]

    def take_datagrams(self, address: Address) -> list[Peer]:
        return [self.peer()]

    def dial_datagrams(self, address: Address) -> Peer:
        return self.connect(address)

    def connect(self, address: Address) -> Peer:
        dialled = self.peer()
        dialled.host = address[1][0]
        return dialled

    def dialled(self, host: str) -> list[Peer]:
        return [peer for peer in self.peers if peer.host == host]

    def path(self, address: Address) -> tuple[tuple[str, int], tuple[str, int]]:
        return ("here", 0), ("there", 0)

    def can_send_alike(self, stream: Peer) -> bool:
        return False

    def send_alike(self, stream: Peer, datagrams: bytes, size: int) -> None: ...

    def overflowed(self, stream: Peer) -> int:
        return 0

    def numeric(self, host: str, port: int) -> tuple[Address, ...]:
        return ()

    def connect_error(self, dialled: Peer) -> int:
        return 0

    def tune(self, stream: Peer) -> None: ...

    def write(self, fd: int, data: memoryview) -> int:
        self.output += data
        return len(data)

    def watchdog_s(self) -> float:
        return math.inf

    def catch_signals(self) -> Peer:
        return self.peer()


class Stage:
    """A program in its loop, in memory."""

    def __init__(
        self, build: Callable[[Loop], Any], *, serves: bool = True, dns: bool = False
    ) -> None:
        self.system = MemorySystem()
        system: Any = self.system
        log = Log("", Output(2).append, log_format=bare_line)
        destinations = Destinations(Output(2), own=Output(1))
        self.loop = Loop(system, Bounds(), log, destinations, line_bytes_max=LINE_BYTES_MAX)
        if serves:
            self.loop.listen(system.listen((2, _LINES_AT), 1)[0], LINES)
            self.listener = self.system.peers[-1]
        if dns:
            self.loop.listen_for_datagrams(system.take_datagrams((2, _DNS_AT))[0], Role.DNS)
            self.dns = self.system.peers[-1]
        brain = build(self.loop)
        self.loop.start(brain)
        self.effects = 0
        step = brain.step

        def counted(event: Any, now: float) -> list[Any]:  # noqa: ANN401
            effects = step(event, now)
            self.effects += len(effects)
            return effects

        brain.step = counted
        self.turn(4)

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.system.t += 0.01
            self.loop.turn()

    def connect(self, count: int) -> list[Peer]:
        """Connect so many clients."""
        clients = [self.system.peer() for _ in range(count)]
        for client in clients:
            self.listener.come.append(client)
        self.turn(count // 16 + 2)
        return clients
