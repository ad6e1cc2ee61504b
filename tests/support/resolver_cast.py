"""LS, and everybody who talks to it: resolvers played by hand, table servers, and askers.

The real LS on a `tests/support/stage.py`. DNS askers are two clients of one socket (`UDP`), a
stream (`TCP`), and there is a client of lines (`CLIENT`). Replies are made with
`tests/support/dns_messages.py`.

Not here: a network with chance (`tests/sim/resolver_story.py`).
"""

import struct
from collections.abc import Sequence
from typing import Any

from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams
from core.environment import Environment
from core.io.frame_buffer import frame, split_frames
from core.tls import ServerIdentity
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.resolvers.datagram_resolver import DatagramResolver
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.setup import ServerSetup
from tests.support.balancers import load_balancer
from tests.support.dns_messages import RD, TO_QUESTION, TYPES, name, record, said
from tests.support.stage import Stage

UDP, TCP, CLIENT = "dns-client-0", "dns-client-1", "client-1"
HERE, THERE = ("127.0.0.1", 4000), ("127.0.0.1", 4001)
D1, D2, D3 = "DNS1", "DNS2", "DNS3"
UNKNOWN_S = Bounds().grace_unknown_s
IDENTITY = ServerIdentity("dns.example")
MX = record(TO_QUESTION, "MX", b"\0\x0a" + name("mail.example"))


class Chance:
    """Bytes that look like chance and come again."""

    def __init__(self) -> None:
        self.state = 1
        self.draw = self.next  # a test may put something else here

    def __call__(self, size: int) -> bytes:
        return self.draw(size)

    def next(self, size: int) -> bytes:
        drawn = bytearray()
        for _ in range(size):
            self.state = self.state * 1_103_515_245 + 12_345 & 0x7FFFFFFF
            drawn.append(self.state >> 16 & 255)
        return bytes(drawn)


def by_tls(number: int) -> ServerSetup:
    """Return a resolver that is asked by TLS."""
    host = (f"192.0.2.{number}", 853)
    return ServerSetup(f"DNS{number}", ((2, host),), host, IDENTITY)


class Cast:
    """LS, and everybody who talks to it."""

    def __init__(
        self,
        count: int = 2,
        *,
        tables: int = 0,
        tables_are_up: bool = True,
        bounds: Bounds | None = None,
        refused: set[str] | None = None,
        resolvers: Sequence[ServerSetup] = (),
        **more: Any,  # noqa: ANN401
    ) -> None:
        self.bounds = bounds or Bounds()
        hits = BoundHits()
        self.chance = Chance()
        self.brain = load_balancer(
            [((2, (f"TS{n + 1}", 1)),) for n in range(tables)],
            self.bounds,
            lambda: 0.0,
            dns=DnsFrontEnd(Environment(self.bounds, hits), 60, forwards=True),
            resolvers=resolvers or [(2, (f"10.0.0.{n + 53}", 53)) for n in range(count)],
            secret=self.chance,
            hits=hits,
            **more,
        )
        self.hits = hits
        self.stage = Stage(self.brain, self.bounds)
        self.stage.refused |= refused or set()
        self.stage.begin()
        self.stage.take_datagrams(UDP)
        for n in range(tables if tables_are_up else 0):
            self.stage.connect(f"TS{n + 1}")
        self.stage.accept(CLIENT)
        self.number = 0

    # askers

    def ask(
        self, question: str, *, edns: bytes = b"", flags: int = RD, whence: tuple[str, int] = HERE
    ) -> bytes:
        """Ask a query by UDP; return it, so that its reply can be compared."""
        query = self.query(question, edns=edns, flags=flags)
        self.stage.step(Datagrams(UDP, [(query, whence)]))
        return query

    def query(self, question: str, *, edns: bytes = b"", flags: int = RD) -> bytes:
        self.number += 1
        text, _, kind = question.partition(" ")
        head = struct.pack(">6H", self.number, flags, 1, 0, 0, bool(edns))
        return head + name(text) + struct.pack(">HH", TYPES[kind or "A"], 1) + edns

    def told(self) -> list[tuple[bytes, Any]]:
        """Return what was said by UDP since the last time."""
        told, self.stage.replies[UDP] = self.stage.replies[UDP], []
        return told

    def codes(self) -> list[int]:
        return [message[3] & 15 for message, _ in self.told()]

    def lines(self) -> bytes:
        return self.stage.take(CLIENT)

    def say_lines(self, *lines: str) -> None:
        self.stage.hear(CLIENT, "".join(f"{line}\n" for line in lines).encode())

    # resolvers

    def asked(self, resolver: str) -> list[tuple[str, bytes]]:
        """Return what this one was asked since the last time: by which socket, and the query."""
        found = []
        for conn in self.sockets(resolver):
            found += [(conn, query) for query, _ in self.stage.replies[conn]]
            self.stage.replies[conn] = []
        for conn in self.stage.framed:
            if conn.startswith(f"{resolver}."):
                found += [(conn, query) for query in split_frames(self.stage.take(conn))]
        return found

    def query_at(self, resolver: str) -> tuple[str, bytes]:
        """Return the only query that it was asked."""
        (found,) = self.asked(resolver)
        return found

    def say(self, conn: str, *messages: bytes) -> None:
        """Let it say this by a socket of its."""
        if conn in self.stage.framed:
            self.stage.hear(conn, b"".join(map(frame, messages)))
        elif conn in self.stage.replies:
            self.stage.step(Datagrams(conn, [(message, None) for message in messages]))

    def answer(self, resolver: str, *texts: str) -> None:
        """Let it reply in these words to all that it was asked."""
        for (conn, query), text in zip(self.asked(resolver), texts, strict=True):
            self.say(conn, said(query, text))

    def dialled(self, resolver: str) -> str:
        """Return the stream to it that is being dialled."""
        (conn,) = [conn for conn in self.stage.dialled if conn.startswith(f"{resolver}.")]
        return conn

    def cut(self, resolver: str) -> str:
        """Let it cut its reply to what it was asked; return the stream that is there then."""
        self.answer(resolver, "TC")
        stream = self.dialled(resolver)
        self.stage.connect(stream)
        return stream

    def sockets(self, resolver: str) -> list[str]:
        return [conn for conn in self.stage.replies if conn.startswith(f"{resolver}.")]

    def metric(self, key: str) -> Any:  # noqa: ANN401
        return next(value.value for value in self.brain.metrics() if value.key == key)

    def resolver(self, name: str) -> DatagramResolver:
        link = self.brain.parts.upstreams.by_name[name]
        assert isinstance(link, ResolverLink)
        return link.resolver

    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)


def flood(cast: Cast, count: int, label: str = "n") -> None:
    """Ask so many different questions at once."""
    queries = [cast.query(f"{label}{n}.example") for n in range(count)]
    cast.stage.step(Datagrams(UDP, [(query, HERE) for query in queries]))


def guesses(query: bytes, count: int) -> list[bytes]:
    """Guess so many other IDs than that of a query."""
    mine = int.from_bytes(query[:2])
    return [said((mine ^ n).to_bytes(2) + query[2:], "10.6.6.6") for n in range(1, count + 1)]
