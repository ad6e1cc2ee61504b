"""State that all DNS clients of one LS share: caches, limits of UDP clients, and counts.

A query is read once: the result is remembered by its bytes after the ID, within a bound of memory.
The records that a set of addresses becomes are remembered, too.

A UDP client that asks too much is not heard for the rest of the second. Loopback is: its addresses
cannot be forged.

Not here: who waits for what (`nodes/ls/dns_clients.py`), and the bytes of a message (`nodes/dns/`).
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from core.addresses import Datagram, is_loopback, network
from core.environment import Environment
from nodes.dns.query import read_query
from nodes.dns.record_set import RecordSet

_CACHE_BYTES_MAX = 32 * 1024 * 1024  # of each cache: 50,000 ordinary queries
_ENTRY_BYTES = 512  # the size of an entry, besides its text
_QUERY_COPIES, _RECORDS_COPIES = 4, 16  # how often an entry holds its text
_TEXT_BYTES_MAX = 512  # of an entry: a longer query is padded, or meant to fill our memory
_SECOND_S = 1.0

ValueT = TypeVar("ValueT")


class BoundedCache(dict[bytes, ValueT]):
    """Values by the text from which `make` makes them; `cache[text]` makes what is missing.

    `copies` is how often the text stands in a value. When the cache takes too much memory all of it
    is forgotten: what is asked often is soon there again.
    """

    def __init__(self, make: Callable[[bytes], ValueT], copies: int) -> None:
        super().__init__()
        self._make = make
        self._copies = copies
        self._bytes = 0

    def __missing__(self, text: bytes) -> ValueT:
        value = self._make(text)
        if len(text) > _TEXT_BYTES_MAX:
            return value
        size = _ENTRY_BYTES + self._copies * len(text)
        self._bytes += size
        if self._bytes > _CACHE_BYTES_MAX:
            self.clear()
            self._bytes = size
        self[text] = value
        return value


class DnsShared:
    """Caches, limits and counts of all DNS clients of one LS.

    `queries` holds what `read_query` makes of a message, by its bytes after the ID, and
    `secure_queries` the same for clients that nobody else can hear; `record_sets` holds a
    `RecordSet` for the addresses of an answer.
    """

    def __init__(self, env: Environment, ttl_s: int, *, forwards: bool) -> None:
        """Begin with empty caches; `DnsFrontEnd` says what the arguments are."""
        self.env = env
        read = partial(read_query, forwards=forwards)
        self.queries = BoundedCache(read, _QUERY_COPIES)
        self.secure_queries = BoundedCache(partial(read, pads=True), _QUERY_COPIES)
        self.record_sets = BoundedCache(partial(RecordSet, ttl_s=ttl_s), _RECORDS_COPIES)
        self.asked = 0  # queries that became questions
        self.refused = 0  # queries that did not
        self.ignored = 0  # messages that are never answered
        self.limited = 0  # datagrams of clients that asked too much
        # Whether LS can reply to a question without asking: such a query needs no room.
        self.has_reply: Callable[[bytes, float], bool] = lambda question, now: False
        self._counts: dict[str, int] = {}  # datagrams of each client in this second
        self._second = 0.0  # when it began

    def count(self, asked: int, refused: int, ignored: int) -> None:
        """Count the messages of one read."""
        self.asked += asked
        self.refused += refused
        self.ignored += ignored

    def drop_excess(self, datagrams: list[Datagram], now: float) -> list[Datagram]:
        """Return the datagrams without those of clients that asked too much in this second."""
        if now - self._second >= _SECOND_S:
            self._second = now
            self._counts.clear()
        counts, per_second = self._counts, self.env.bounds.dns_per_second
        within = []
        for datagram in datagrams:
            host = datagram[1][0]
            client = host if ":" not in host else network(host)
            count = counts[client] = counts.get(client, 0) + 1
            if count <= per_second or is_loopback(client):
                within.append(datagram)
        dropped = len(datagrams) - len(within)
        if dropped:
            self.limited += dropped
            self.env.hits["dns_per_second"] += dropped
        return within
