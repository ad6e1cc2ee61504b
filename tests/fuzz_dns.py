"""Mutated DNS packets through the real LS: an answer, an error, or silence.

    python3 -m tests.fuzz_dns --packets 1000000 --seed 1

Every packet is a query with some of its bytes changed, cut off, put in or swapped. The brain of LS
has it as it would from a socket; TSs answer half of what they are asked. With `--resolvers` LS has
no TSs but a resolver, whose replies are changed in the same way; now and then it is there over TCP,
too. Nothing may raise; every reply goes to whoever sent a packet with its ID, is a reply, and is no
longer than a datagram may be; every packet gets at most one; and memory does not grow once all
caches are warm.

Exit code 1 when any of it is not so; the seed plays it again. Not here: sockets.
"""

import argparse
import resource
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from core.addresses import Datagram
from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Abort, Close, Dial, Effect, Send
from core.environment import Environment
from core.events import Closed, Ended, Event, Opened, Received, Role, Woken
from core.framing import Framing
from core.io.frame_buffer import frame, split_frames
from core.text import split_lines
from nodes.dns.codes import UDP_BYTES_MAX
from nodes.ls.dns_front_end import DnsFrontEnd
from tests.support.balancers import load_balancer

UDP = "dns-client-0"
_BATCH = 200
_WARM_SHARE = 0.5  # then every cache has been full
_GROWTH_KB_MAX = 16 * 1024
_TYPES = (1, 28, 15, 255, 252, 65)
_SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)


def template(chance: Random) -> bytearray:
    """Draw a query as a client would send it, most often."""
    labels = [f"n{chance.randrange(2000)}", chance.choice(["example", "Example", "a" * 63])]
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
    edns = b""
    if chance.random() < 0.5:
        options = chance.randbytes(chance.randrange(20))
        size = chance.choice([0, 512, 1232, 4096, 65535])
        edns = b"\0" + struct.pack(">HHIH", 41, size, chance.choice([0, 0x8000]), len(options))
        edns += options
    head = struct.pack(">HHHHHH", chance.randrange(65536), 0x0100, 1, 0, 0, bool(edns))
    kind = chance.choice(_TYPES)
    return bytearray(head + name + struct.pack(">HH", kind, 1) + edns)


def mutated(chance: Random, packet: bytearray) -> bytes:
    """Change a few bytes of a packet."""
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        at = chance.randrange(2, len(packet) + 1)
        what = chance.randrange(6)
        if what == 0:
            del packet[at:]
        elif what == 1:
            packet[at:at] = chance.randbytes(chance.choice([1, 2, 12, 300]))
        elif what == 2:
            packet[at : at + 2] = b"\xc0" + bytes([chance.randrange(len(packet) % 256 + 1)])
        elif what == 3:
            packet[2:12] = chance.randbytes(10)
        elif at < len(packet):
            packet[at] = chance.choice([0, 1, 63, 64, 191, 192, 255, chance.randrange(256)])
    return bytes(packet)


def reply_to(chance: Random, query: bytes) -> bytearray:
    """Draw what a resolver would say, most often: aliases, addresses, a code, an OPT record."""
    flags = 0x8180 | chance.choice([0, 0, 0, 1, 2, 3, 4, 5, 0x200])
    if flags & 7 and chance.random() < 0.2:  # a header and nothing else
        return bytearray(query[:2] + struct.pack(">HHHHH", flags, 0, 0, 0, 0))
    count = chance.choice([0, 1, 3, 40])
    records = b""
    owner = b"\xc0\x0c"
    for _ in range(count):
        kind, data = chance.choice(
            [(1, chance.randbytes(4)), (28, chance.randbytes(16)), (5, owner)]
        )
        records += owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        owner = chance.choice([owner, b"\1a\xc0\x0c"])
    has_opt = chance.random() < 0.7
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if has_opt else b""
    head = query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, has_opt)
    section = query[12:-11] if query[11] else query[12:]  # the record at its end is an empty OPT
    return bytearray(head + section + records + opt)


@dataclass
class Outcome:
    """The ends of all packets."""

    packets: int = 0
    seconds: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)  # of replies
    asked: int = 0  # questions that came to the TSs, or the resolver
    grew_kb: int = 0

    @property
    def silent(self) -> int:
        return self.packets - self.codes.total()


def resident_kb() -> int:
    """Return the memory of this process now (man 5 proc, field 2 of statm, in pages)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


class Fuzz:
    """An LS and its packets."""

    def __init__(self, seed: str, *, resolvers: bool = False) -> None:
        self.chance = Random(seed)
        hits = BoundHits()
        bounds = Bounds(dns_per_second=1_000_000, unmatched_max=1_000_000)
        front_end = DnsFrontEnd(Environment(bounds, hits), 60, forwards=resolvers)
        self.brain = load_balancer(
            () if resolvers else _SERVERS,
            bounds,
            lambda: 0.0,
            dns=front_end,
            resolvers=[(2, ("127.0.0.1", 53))] if resolvers else [],
            secret=Random(f"{seed}:secret").randbytes,
            hits=hits,
        )
        self.now = 100.0
        self.owed: Counter[bytes] = Counter()  # packets by ID that may still get a reply
        self.outcome = Outcome()
        self.queries: list[tuple[str, list[bytes]]] = []  # to the resolver: by which socket, what
        self.sockets: dict[str, bool] = {}  # those that are there; whether it is a stream
        self.brain.step(Opened(UDP, Role.DNS, is_datagrams=True), self.now)
        self.look(self.brain.step(Woken(), self.now))
        for conn in () if resolvers else ("TS1", "TS2"):
            self.brain.step(Opened(conn, Role.UPSTREAM), self.now)

    def batch(self) -> None:
        """Play a turn's packets, what the TSs say to it, and, now and then, time."""
        chance = self.chance
        packets = [mutated(chance, template(chance)) for _ in range(_BATCH)]
        self.owed.update(packet[:2] for packet in packets)
        self.outcome.packets += _BATCH
        whence = ("127.0.0.1", 4000)
        effects = self.brain.step(Datagrams(UDP, [(p, whence) for p in packets]), self.now)
        asked = self.look(effects)
        answers = b"".join(
            b"%b 10.0.0.1,10.0.0.2 A IN\n" % name
            if not name.endswith(b" AAAA")
            else b"%b 2001:db8::1 AAAA IN\n" % name.removesuffix(b" AAAA")
            for name in asked
            if chance.random() < 0.5
        )
        if answers:
            self.look(self.brain.step(Received("TS1", answers), self.now))
        queries, self.queries = self.queries, []
        for conn, asked_by_it in queries:
            replies = [
                mutated(chance, reply_to(chance, query))
                for query in asked_by_it
                if chance.random() < 0.8
            ]
            self.outcome.asked += len(asked_by_it)
            if conn not in self.sockets:
                continue
            if not self.sockets[conn]:
                said: list[Datagram] = [(reply, None) for reply in replies]
                self.look(self.brain.step(Datagrams(conn, said), self.now))
                continue
            self.look(self.brain.step(Received(conn, b"".join(map(frame, replies))), self.now))
            if conn in self.sockets and chance.random() < 0.1:
                self.look(self.brain.step(Ended(conn, False), self.now))
        if chance.random() < 0.1:
            self.now += 2.0
            while self.brain.due <= self.now:
                self.look(self.brain.step(Woken(), self.now))
            self.owed.clear()  # those not replied to by now will not be

    def look(self, effects: list[Effect]) -> list[bytes]:
        """See that what is sent may be; return what TS1 is asked."""
        asked: list[bytes] = []
        for effect in effects:
            if isinstance(effect, DialDatagrams):
                self.sockets[effect.conn] = False
                asked += self.look(self.brain.step(Opened(effect.conn, Role.UPSTREAM), self.now))
            elif isinstance(effect, Dial) and effect.framing is Framing.LENGTH_PREFIXED:
                event: Event = Closed(effect.conn, "no")
                if self.chance.random() < 0.5:
                    event = Opened(effect.conn, Role.UPSTREAM)
                    self.sockets[effect.conn] = True
                asked += self.look(self.brain.step(event, self.now))
            elif isinstance(effect, Close | Abort):
                self.sockets.pop(effect.conn, None)
                asked += self.look(self.brain.step(Closed(effect.conn, ""), self.now))
            elif isinstance(effect, SendTo) and effect.conn != UDP:
                self.queries.append((effect.conn, [query for query, _ in effect.datagrams]))
            elif isinstance(effect, Send) and self.sockets.get(effect.conn):
                self.queries.append((effect.conn, split_frames(effect.data)))
            elif isinstance(effect, SendTo):
                for data, _ in effect.datagrams:
                    assert 12 <= len(data) <= UDP_BYTES_MAX and data[2] & 0x80, data
                    self.owed[data[:2]] -= 1
                    assert self.owed[data[:2]] >= 0, f"nobody is owed {data!r}"
                    self.outcome.codes[data[3] & 15] += 1
            elif isinstance(effect, Send) and effect.conn == "TS1":
                asked += split_lines(effect.data)
        self.outcome.asked += len(asked)
        return asked

    def run(self, packets: int) -> Outcome:
        """Run so many packets, at least."""
        outcome = self.outcome
        began = time.perf_counter()
        warm_kb = 0
        while outcome.packets < packets:
            self.batch()
            if not warm_kb and outcome.packets >= _WARM_SHARE * packets:
                warm_kb = resident_kb()
        outcome.seconds = time.perf_counter() - began
        outcome.grew_kb = resident_kb() - warm_kb
        return outcome


def main() -> int:
    """Run, print, and say whether all was well."""
    parser = argparse.ArgumentParser(description="Sends mutated DNS packets through the real LS.")
    parser.add_argument("--packets", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--resolvers", action="store_true", help="have a resolver behind LS")
    arguments = parser.parse_args()
    fuzz = Fuzz(arguments.seed, resolvers=arguments.resolvers)
    outcome = fuzz.run(arguments.packets)
    codes = ", ".join(f"rcode {code}: {count:,}" for code, count in sorted(outcome.codes.items()))
    print(
        f"{outcome.packets:,} packets in {outcome.seconds:.0f} s, seed {arguments.seed}: {codes}; "
        f"silence: {outcome.silent:,}; {outcome.asked:,} questions passed on; "
        f"memory grew by {outcome.grew_kb:,} KB after the first {_WARM_SHARE:.0%}"
    )
    if outcome.grew_kb > _GROWTH_KB_MAX:
        print(f"that is more than {_GROWTH_KB_MAX:,} KB")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
