"""A resolver over UDP that can be told at any time to say something else, and counts who asks.

Not here: one that says always the same (`tests/support/played_resolver.py`), and resolvers as
programs (`tests/tools/test_resolver_tools.py`).
"""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.dns_messages import (
    TO_QUESTION,
    TYPES,
    address,
    name,
    question_of,
    record,
    reply,
)

SILENT = "silent"
_SOA = name("ns.example") + name("root.example") + struct.pack(">5I", 1, 3600, 600, 86_400, 60)


class SwitchedResolver:
    """`says`: an address, which is the answer to A (NO DATA to other types), a code, or `SILENT`;
    NXDOMAIN has an SOA record. `ttl_s` is that of all records; `delay_s`: how late it replies.
    `asked` counts questions by their names."""

    def __init__(self, says: str = "10.0.0.1", ttl_s: int = 1) -> None:
        self.says = says
        self.ttl_s = ttl_s
        self.delay_s = 0.0
        self.asked: Counter[str] = Counter()
        self.port = 0

    def reply(self, query: bytes) -> bytes | None:
        """Return the reply to a query; None: there is none."""
        self.asked[question_of(query).partition(" ")[0]] += 1
        says = self.says
        if says == SILENT:
            return None
        soa = record(name("example"), "SOA", _SOA, self.ttl_s)
        if says == "NXDOMAIN":
            return reply(query, says, authorities=(soa,))
        if not says[0].isdigit():
            return reply(query, says)
        if int.from_bytes(query[12 + len(_name_in(query)) :][:2]) != TYPES["A"]:
            return reply(query, authorities=(soa,))
        return reply(query, answers=(record(TO_QUESTION, "A", address(says), self.ttl_s),))


def _name_in(query: bytes) -> bytes:
    return query[12 : query.index(b"\0", 12) + 1]


@contextmanager
def switched_resolver(says: str = "10.0.0.1", ttl_s: int = 1) -> Iterator[SwitchedResolver]:
    """Play such a resolver on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as played:
        played.bind(("127.0.0.1", 0))
        one = SwitchedResolver(says, ttl_s)
        one.port = played.getsockname()[1]
        thread = threading.Thread(target=_play, args=(played, one), daemon=True)
        thread.start()
        yield one
        with suppress(OSError):
            played.shutdown(socket.SHUT_RDWR)  # wakes the thread
        thread.join()


def _play(played: socket.socket, one: SwitchedResolver) -> None:
    def send(message: bytes, asker: tuple[str, int]) -> None:
        with suppress(OSError):
            played.sendto(message, asker)

    while True:
        try:
            query, asker = played.recvfrom(4096)
        except OSError:
            return
        if not query:
            return
        if (message := one.reply(query)) is None:
            continue
        if one.delay_s:
            threading.Timer(one.delay_s, send, (message, asker)).start()
        else:
            send(message, asker)
