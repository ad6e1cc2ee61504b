"""A resolver for measurements: late, failing, dead, or forged, as its flags say.

    python3 bench/resolver.py --delay-ms 30 [--code SERVFAIL] [--dead] [--forge blind --rate 10000]

`nNUMBER.example` has the address 10.x.y.z of its number, `xNUMBER.example` does not exist, and
`lostNUMBER.example` never gets a reply. With `--code` every reply has that code, with `--dead`
there is none at all.

`--forge` makes it act for an attacker, who can put this address and port on packets, but does not
see the queries: it sends `--rate` replies a second, with the address 10.6.6.6, for the `lost` name
that was asked last (the attacker had it asked). `blind` guesses port and ID; `knowing` reads the
ports from the kernel, which no attacker can, and guesses IDs only. It prints how many it has sent
when it is terminated.

Not here: the queries, and the verdict (`bench/resolvers.py`).
"""

import argparse
import heapq
import random
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType

CODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
FORGED = "10.6.6.6"
_TICK_S = 0.002  # forged replies go out this often
_PORTS_S = 0.05  # ports are looked up this often


def label_of(query: bytes) -> bytes:
    """Read the first label of the name that is asked."""
    return query[13 : 13 + query[12]].lower()


def section_end(message: bytes) -> int:
    """Find the end of the question."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return at + 5


def reply(query: bytes, code: int, address: bytes = b"") -> bytes:
    """Make a reply with an address, or none; the OPT record, if any, comes back as it is."""
    end = section_end(query)
    head = struct.pack(">HHHHH", 0x8180 | code, 1, bool(address), 0, query[11])
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + address if address else b""
    return query[:2] + head + query[12:end] + record + query[end:]


def ports_of_peers(port: int) -> list[int]:
    """List the ports of all sockets here that are connected to this one (man 5 proc, net/udp)."""
    peer = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return [int(row[1].split(":")[1], 16) for row in rows if row[2] == peer]


class Resolver:
    """The resolver: its socket, its delayed replies, and the replies that it forges."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.later: list[tuple[float, bytes, tuple[str, int]]] = []
        self.victim = b""
        self.forged = 0
        self.ports: list[int] = []
        self.ports_at = 0.0
        self.forge_at = time.monotonic()

    def run(self) -> None:
        while True:
            now = time.monotonic()
            due = self.later[0][0] if self.later else now + 1
            if self.arguments.forge:
                due = min(due, self.forge_at)
            select.select([self.socket], [], [], max(0.0, due - now))
            self.hear()
            now = time.monotonic()
            while self.later and self.later[0][0] <= now:
                _, message, whither = heapq.heappop(self.later)
                self.socket.sendto(message, whither)
            if self.arguments.forge and now >= self.forge_at:
                self.forge(now)

    def hear(self) -> None:
        while True:
            try:
                query, whence = self.socket.recvfrom(4096)
            except BlockingIOError:
                return
            label = label_of(query)
            if label.startswith(b"lost"):
                self.victim = query
                continue
            if self.arguments.dead:
                continue
            code, address = CODES[self.arguments.code], b""
            if code == 0 and label.startswith(b"x"):
                code = CODES["NXDOMAIN"]
            elif code == 0:
                number = int(label[1:]) if label[1:].isdigit() else 0
                address = (10 << 24 | number).to_bytes(4)
            due = time.monotonic() + self.arguments.delay_ms / 1000
            heapq.heappush(self.later, (due, reply(query, code, address), whence))

    def forge(self, now: float) -> None:
        """Send forged replies, as many as are due."""
        count = int(self.arguments.rate * _TICK_S)
        self.forge_at = max(self.forge_at + _TICK_S, now - 0.1)
        if not self.victim:
            return
        if self.arguments.forge == "knowing" and now - self.ports_at > _PORTS_S:
            self.ports_at = now
            self.ports = ports_of_peers(self.port)
        after_id = reply(self.victim, 0, socket.inet_aton(FORGED))[2:]
        for _ in range(count):
            port = random.choice(self.ports) if self.ports else random.randrange(1024, 65536)
            try:
                self.socket.sendto(random.randbytes(2) + after_id, ("127.0.0.1", port))
                self.forged += 1
            except OSError:  # an error of an earlier one: no socket there
                pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, metavar="MS")
    parser.add_argument("--code", choices=CODES, default="NOERROR")
    parser.add_argument("--dead", action="store_true")
    parser.add_argument("--forge", choices=("blind", "knowing"))
    parser.add_argument(
        "--rate",
        type=int,
        default=10_000,
        metavar="N",
        help="forged replies a second (default %(default)s)",
    )
    resolver = Resolver(parser.parse_args())

    def stop(number: int, frame: FrameType | None) -> None:
        print(resolver.forged, flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    print(f"resolver on 127.0.0.1:{resolver.port}", flush=True)
    resolver.run()


if __name__ == "__main__":
    main()
