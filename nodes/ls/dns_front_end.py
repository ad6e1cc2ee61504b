"""Askers that speak DNS: all of UDP together is one, and each stream is one (RFC 1035, RFC 7766).

To the race they are askers like any other. A query becomes a question of the protocol; what comes
back are lines of the protocol, or what a resolver replied; each ends one question, so it becomes
the reply to the oldest query that waits for it: an answer to all of them, a TIMED OUT to those
whose time is over.

A query is read once: what it came to is remembered by its bytes after the ID, within a bound of
memory. So are the records that a set of addresses becomes; several are turned round from reply
to reply.

Rules: a reply is never answered, nor anything that is not a query; a UDP client that asks too
much is not heard for the rest of the second. (Loopback is: it cannot be forged.) A
stream that has too much pending is not read; UDP is, and what there is no room for gets SERVFAIL.

Not here: the bytes of a message (`nodes/dns/query.py`), and who wins a race.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from core.addresses import Datagram, is_loopback, network
from core.bounds import BoundHits, Bounds
from core.effects import Close, Effect, Send, SendTo
from core.environment import Environment
from core.io.frame_buffer import frame, split_frames
from core.machine import Machine, Watch
from core.metrics import Metric, Value
from core.protocol.asker import SESSION, Relayed, Requests, SessionEvent, SessionState
from core.protocol.batches import ErrorStreak
from core.protocol.names import Negative, Type
from core.text import split_lines
from nodes.dns.query import MESSAGE_BYTES_MAX, Query, RecordSet, RefusedQuery, read_query
from nodes.dns.question import TableAnswer

QUERIES = Metric("dns_queries", "Questions that were asked by DNS")
REFUSED = Metric("dns_refused", "DNS messages that were no question of ours, and were told so")
IGNORED = Metric("dns_ignored", "DNS messages that are never replied to")
LIMITED = Metric("dns_limited", "Datagrams of clients that asked too much")
_REMEMBERED_BYTES_MAX = 32 * 1024 * 1024  # of queries, and of records: 50,000 ordinary ones
_ENTRY_BYTES = 512  # what one costs besides its text, which is kept several times
_QUERY_TIMES, _RECORDS_TIMES = 4, 16  # how often the text of one is kept
_REMEMBERED_BYTES = 512  # of a query: what is longer is padded, or meant to fill our memory
_SECOND_S = 1.0

Found = TypeVar("Found")
Waiting = tuple[bytes, Any, Query]  # the ID, whence it came, and what it asked


class BoundedCache(dict[bytes, Found]):
    """What was found before, by a text that it keeps `times` over.

    When it takes too much memory all of it is forgotten: what is asked often is soon there again.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times
        self._bytes = 0

    def keep(self, text: bytes, found: Found) -> None:
        """Remember one more."""
        size = _ENTRY_BYTES + self._times * len(text)
        self._bytes += size
        if self._bytes > _REMEMBERED_BYTES_MAX:
            self.clear()
            self._bytes = size
        self[text] = found


class DnsFrontEnd:
    """What all askers of one LS that speak DNS share. `ttl_s`: how long a resolver may remember
    what a table has. `forwards`: there are resolvers that are asked what a line cannot ask."""

    def __init__(
        self,
        bounds: Bounds,
        ttl_s: int,
        hits: BoundHits,
        watch: Watch | None = None,
        *,
        forwards: bool = False,
    ) -> None:
        self.bounds = bounds
        self.watch = watch
        self.queries = 0
        self.refused = 0
        self.ignored = 0
        self._ttl_s = ttl_s
        self._forwards = forwards
        self.hits = hits
        self._read = BoundedCache[Query | RefusedQuery | None](_QUERY_TIMES)
        self._records = BoundedCache[RecordSet](_RECORDS_TIMES)  # by `addresses type`
        self._heard: dict[str, int] = {}  # datagrams of each client in this second
        self._second = 0.0  # when it began
        self._limited = 0

    def asker(self, conn: str, is_datagrams: bool) -> "DnsClient":
        """One for this connection, or for this socket of datagrams."""
        return DnsClient(conn, self, is_datagrams)

    def metrics(self) -> list[Value]:
        """What is counted here."""
        return [
            Value(QUERIES, self.queries),
            Value(REFUSED, self.refused),
            Value(IGNORED, self.ignored),
            Value(LIMITED, self._limited),
        ]

    def read(self, after_id: bytes) -> Query | RefusedQuery | None:
        """What a message says, by its bytes after the ID. None: nothing that may be replied to."""
        try:
            return self._read[after_id]
        except KeyError:
            found = read_query(after_id, forwards=self._forwards)
            if len(after_id) <= _REMEMBERED_BYTES:
                self._read.keep(after_id, found)
            return found

    def records(self, addresses: bytes, kind: bytes) -> RecordSet:
        """The records of a set of addresses, as an answer has them."""
        key = addresses + kind
        records = self._records.get(key)
        if records is None:
            records = RecordSet(addresses, Type(kind), self._ttl_s)
            self._records.keep(key, records)
        return records

    def heard(self, datagrams: list[Datagram], now: float) -> list[Datagram]:
        """Leave out those whose clients have asked too much in this second."""
        if now - self._second >= _SECOND_S:
            self._second = now
            self._heard.clear()
        most, heard = self.bounds.dns_per_second, self._heard
        within = []
        for datagram in datagrams:
            host = datagram[1][0]
            client = host if ":" not in host else network(host)
            count = heard[client] = heard.get(client, 0) + 1
            if count <= most or is_loopback(client):
                within.append(datagram)
        if len(within) < len(datagrams):
            self._limited += len(datagrams) - len(within)
            self.hits["dns_per_second"] += len(datagrams) - len(within)
        return within


class DnsClient:
    """One asker that speaks DNS: `conn` is a stream, or a socket of datagrams; see `Asker`.

    Datagrams that are not read are lost, so they are read always; what there is no room for is
    told so. Replies to them never wait long: what the network does not take is dropped.
    """

    def __init__(self, conn: str, face: DnsFrontEnd, is_datagrams: bool) -> None:
        self.conn = conn
        self.life = Machine(SESSION, SessionState.OPEN, f"session {conn}", face.watch)
        self.owed = 0
        self.timeout_s = face.bounds.dns_timeout_s
        self.can_wait = not is_datagrams
        self.reply_bytes_max = 0 if is_datagrams else MESSAGE_BYTES_MAX
        self.pending_bound = "pending_per_client_max" if is_datagrams else "stream_pending_max"
        self.pending_max: int = getattr(face.bounds, self.pending_bound)
        self._face = face
        self._waiting: dict[bytes, list[Waiting]] = {}  # by question, the oldest first
        self._streak = ErrorStreak(Environment(face.bounds, face.hits))

    def receive(self, data: Any, now: float) -> Requests:  # noqa: ANN401
        """Read what came: whole frames of a stream, or datagrams."""
        if self.life.state is not SessionState.OPEN:
            return Requests([], [], b"", b"", 0)
        face = self._face
        room: float = math.inf  # for so many questions
        if self.can_wait:
            datagrams = [(message, None) for message in split_frames(data)]
        else:
            datagrams = face.heard(data, now)
            room = self.pending_max - self.owed
        waiting = self._waiting
        questions: list[bytes] = []
        said: list[Datagram] = []
        for message, whence in datagrams:
            query = face.read(message[2:])
            if isinstance(query, Query):
                self._streak.count = 0
                if len(questions) >= room:
                    face.hits[self.pending_bound] += 1
                    said.append((message[:2] + query.busy(), whence))
                    continue
                question = query.question
                questions.append(question)
                held = waiting.get(question)
                if held is None:
                    waiting[question] = [(message[:2], whence, query)]
                else:
                    held.append((message[:2], whence, query))
            elif query is not None:
                face.refused += 1
                said.append((message[:2] + query.reply, whence))
            else:
                face.ignored += 1
                if self.can_wait:
                    self._streak.add()
                    if self._streak.is_over:
                        self.life.fire(SessionEvent.TOO_MANY_ERRORS)  # it carries something else
                        break
        face.queries += len(questions)
        lines = b"\n".join([*questions, b""])
        return Requests(questions, questions, lines, said, 0)

    def receive_end(self, unfinished: bool) -> bytes:
        """The stream's input has ended; half a message is not replied to."""
        self.life.fire(SessionEvent.ENDED)
        return b""

    def say(self, said: list[Datagram]) -> Effect:
        """Send replies."""
        if said[0][1] is None:
            return Send(self.conn, b"".join([frame(message) for message, _ in said]))
        return SendTo(self.conn, said)

    def relay(self, relayed: list[Relayed]) -> list[Effect]:
        """Send on what resolvers replied, or tables have, and let it go if it waited for that."""
        said: list[Datagram] = []
        taken: dict[bytes, int] = {}
        for question, _, message in relayed:
            number, whence, query = self._first_waiting(question, taken)
            if isinstance(message, TableAnswer):
                records = self._face.records(message.addresses, message.kind)
                made = query.addresses(records, whence is not None)
            else:
                made = query.relayed(message, whence is not None)
            said.append((number + made, whence))
        self._let_go(taken)
        return self._say_and_end(said)

    def _first_waiting(self, question: bytes, taken: dict[bytes, int]) -> Waiting:
        """Return whoever has waited longest for this, of those who are not taken yet."""
        place = taken.get(question, 0)
        taken[question] = place + 1
        return self._waiting[question][place]

    def _let_go(self, taken: dict[bytes, int]) -> None:
        """Forget so many of those who waited for each question: all at once, since they may be as
        many as there is room for."""
        for question, count in taken.items():
            held = self._waiting[question]
            if count == len(held):
                del self._waiting[question]
            else:
                del held[:count]

    def reply(self, lines: bytes) -> list[Effect]:
        """Send what became of its questions, and let it go if it waited for that."""
        face = self._face
        said: list[Datagram] = []
        taken: dict[bytes, int] = {}
        for line in split_lines(lines):
            if line.endswith(b" IN"):
                name, addresses, kind, _ = line.split(b" ")
                question, why = name.lower() if kind == b"A" else name.lower() + b" AAAA", b""
            else:
                question, _, why = line.partition(b" - ")
            number, whence, query = self._first_waiting(question, taken)
            if why:
                message = number + _NEGATIVE[why](query)
            elif query.wants is None:
                message = number + query.empty()
            else:
                message = number + query.addresses(
                    face.records(addresses, kind), whence is not None
                )
            said.append((message, whence))
        self._let_go(taken)
        return self._say_and_end(said)

    def _say_and_end(self, said: list[Datagram]) -> list[Effect]:
        effects = [self.say(said)]
        if self.life.state is not SessionState.OPEN:
            effects += self.last_words()
        return effects

    def last_words(self) -> list[Effect]:
        """What ends it, if it is to end and nothing is owed."""
        if self.owed or self.life.state in (SessionState.OPEN, SessionState.DONE):
            return []
        self.life.fire(SessionEvent.ALL_REPLIED)
        return [Close(self.conn)]


_NEGATIVE: dict[bytes, Callable[[Query], bytes]] = {
    Negative.TIMED_OUT.value: Query.failure,
    Negative.NOT_FOUND.value: Query.no_such_name,
    Negative.NO_DATA.value: Query.empty,
    Negative.FAILED.value: Query.failure,
}
