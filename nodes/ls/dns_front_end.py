"""The DNS front end of LS: makes the DNS clients that its server serves, and counts what they do.

Not here: the clients, which ask (`dns_clients.py`); how a query becomes a question
(`nodes/dns/query.py`, `read_query`); what the clients share (`dns_shared.py`).
"""

from collections.abc import Callable

from core.environment import Environment
from core.events import Opened, Role
from core.metrics import Metric, Value, refused_for
from nodes.ls.dns_clients import DatagramClients, DnsClient, SecureStreamClient, StreamClient
from nodes.ls.dns_shared import DnsShared

QUERIES = Metric("dns_queries", "Questions that were asked by DNS")
REFUSED = Metric("dns_refused", "DNS messages that were no question of ours, and were told so")
IGNORED = Metric("dns_ignored", "DNS messages that are never replied to")
LIMITED = refused_for(
    "dns_limited", "Datagrams of clients that asked too much", "rate", is_kept=True
)
_STREAM_CLIENTS = {Role.DNS: StreamClient, Role.TLS: SecureStreamClient}


class DnsFrontEnd:
    """Makes the DNS clients of one LS.

    `ttl_s` is how long a DNS client may remember what a table has. `forwards`: there are resolvers,
    which are asked what a line cannot ask.
    """

    face = DnsClient.face

    def __init__(self, env: Environment, ttl_s: int, *, forwards: bool = False) -> None:
        self._shared = DnsShared(env, ttl_s, forwards=forwards)

    def asker(self, opened: Opened) -> DnsClient:
        """Make the client of a stream, or one for all clients behind a socket of datagrams."""
        make = DatagramClients if opened.is_datagrams else _STREAM_CLIENTS[opened.role]
        return make(opened.conn, self._shared)

    def let_pass(self, has_reply: Callable[[bytes, float], bool]) -> None:
        """Take a query for which there is no room all the same, if it needs none: LS can reply to
        its question without asking."""
        self._shared.has_reply = has_reply

    def metrics(self) -> list[Value]:
        """Return what is counted of all clients."""
        return [
            Value(QUERIES, self._shared.asked),
            Value(REFUSED, self._shared.refused),
            Value(IGNORED, self._shared.ignored),
            Value(LIMITED, self._shared.limited),
        ]
