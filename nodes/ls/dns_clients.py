"""DNS clients: those behind one UDP socket together, and each stream, by TCP (RFC 1035, RFC 7766)
or by TLS (RFC 7858).

To the race they are askers like any other. A query becomes a question (`read_query`). Each outcome
ends one question, and becomes the reply to the query that has waited longest for it: an answer to
every query that waits, a TIMED OUT to each whose time is over.

Rules: a reply is never answered, nor anything that is not a query. A stream that has too much
pending is not read. UDP always is, since datagrams that are not read are lost; a query for which
there is no room gets SERVFAIL.

Not here: what all of them share (`nodes/ls/dns_shared.py`), how the bytes of a query become a
question (`nodes/dns/query.py`), and who wins a race.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import repeat
from typing import Any

from core.addresses import Datagram
from core.datagram_events import SendTo
from core.effects import Close, Effect, Send
from core.io.frame_buffer import frame, split_frames
from core.machine import Machine
from core.protocol.asker import SESSION, Requests, SessionEvent, SessionState
from core.protocol.error_streak import ErrorStreak
from core.protocol.names import Negative
from core.protocol.outcome import Answers, Denied, Outcome, Relayed
from nodes.dns.codes import ID_BYTES, MESSAGE_BYTES_MAX
from nodes.dns.query import Query
from nodes.dns.question import TableAnswer
from nodes.dns.reply import DnsReply
from nodes.ls.dns_shared import DnsShared

Waiting = tuple[bytes, Any, Query]  # the ID, where the reply goes, and the query


class DnsClient(ABC):
    """An asker that speaks DNS; see `Asker`. A subclass for each transport adds what differs.

    Messages are handled as datagrams; those of a stream have no address.
    """

    face = "dns"
    can_wait: bool
    pending_bound: str
    reply_bytes_max: int
    _is_datagram: bool

    def __init__(self, conn: str, shared: DnsShared) -> None:
        env = shared.env
        self.conn = conn
        self.life = Machine(SESSION, SessionState.OPEN, f"session {conn}", env.watch)
        self.owed = 0
        self.timeout_s = env.bounds.dns_timeout_s
        self.pending_max: int = getattr(env.bounds, self.pending_bound)
        self._shared = shared
        self._queries = shared.queries
        self._waiting: dict[bytes, list[Waiting] | deque[Waiting]] = {}  # the oldest first
        self._owed_max = math.inf  # queries beyond it get SERVFAIL
        self._streak: ErrorStreak | None = None  # of messages that are ignored

    @abstractmethod
    def _unpack(self, data: Any, now: float) -> list[Datagram]:  # noqa: ANN401
        """Return the messages that an event brought, without those that are not heard."""

    @abstractmethod
    def say(self, replies: list[Datagram]) -> Effect:
        """Send replies."""

    def receive(self, data: Any, now: float) -> Requests:  # noqa: ANN401 (as the event brought it)
        """Read the messages that one event brought."""
        if self.life.state is not SessionState.OPEN:
            return Requests([], [], b"", b"", 0)
        datagrams = self._unpack(data, now)
        room = self._owed_max - self.owed
        env, queries, waiting = self._shared.env, self._queries, self._waiting
        questions: list[bytes] = []
        replies: list[Datagram] = []
        refused = ignored = 0
        for message, source in datagrams:
            query = queries[message[ID_BYTES:]]
            if isinstance(query, Query):
                if self._streak is not None and self._streak.count:
                    self._streak.end()
                if len(questions) >= room and not self._shared.has_reply(query.question, now):
                    env.hits[self.pending_bound] += 1
                    replies.append((message[:ID_BYTES] + query.busy(), source))
                    continue
                question = query.question
                questions.append(question)
                if question in waiting:
                    self._wait_with_others(question, (message[:ID_BYTES], source, query))
                else:
                    waiting[question] = [(message[:ID_BYTES], source, query)]
            elif query is not None:
                refused += 1
                replies.append((message[:ID_BYTES] + query.reply, source))
            else:
                ignored += 1
                if self._streak is not None:
                    self._streak.add()
                    if self._streak.is_over:  # it carries something else
                        self.life.fire(SessionEvent.TOO_MANY_ERRORS)
                        break
        self._shared.count(len(questions), refused, ignored)
        lines = b"\n".join([*questions, b""])
        return Requests(questions, questions, lines, replies, 0)

    def receive_end(self, unfinished: bool) -> bytes:
        """Take the end of input; half a message is not replied to."""
        self.life.fire(SessionEvent.ENDED)
        return b""

    def last_words(self) -> list[Effect]:
        """Return what ends the session, if it is to end and nothing is owed."""
        if self.owed or self.life.state in (SessionState.OPEN, SessionState.DONE):
            return []
        self.life.fire(SessionEvent.ALL_REPLIED)
        return [Close(self.conn)]

    # -- replies -----------------------------------------------------------------------------------

    def admitted(self, count: int) -> None:
        """Owe replies to so many questions more."""
        self.owed += count

    def reply(self, outcomes: list[Outcome]) -> list[Effect]:
        """Send what became of its questions; they are owed no more."""
        replies: list[Datagram] = []
        for outcome in outcomes:
            questions = outcome.questions
            self.owed -= len(questions)
            match outcome:
                case Answers():
                    replies += map(self._answered, questions, outcome.addresses())
                case Denied(why=why):
                    replies += map(self._denied, questions, repeat(DENIALS[why]))
                case Relayed():
                    replies += map(self._relayed, questions, outcome.replies)
        effects = [self.say(replies)]
        if self.life.state is not SessionState.OPEN:
            effects += self.last_words()
        return effects

    def _answered(self, question: bytes, addresses: bytes) -> Datagram:
        """Make the reply to the oldest query for this: addresses, as an answer has them."""
        message_id, source, query = self._take_oldest(question)
        if query.wants is None:
            return message_id + query.no_data(), source
        records = self._shared.record_sets[addresses]
        return message_id + query.answer(records, self._is_datagram), source

    def _denied(self, question: bytes, deny: Callable[[Query], bytes]) -> Datagram:
        """Make the reply to the oldest query for this: one of `DENIALS`."""
        message_id, source, query = self._take_oldest(question)
        return message_id + deny(query), source

    def _relayed(self, question: bytes, reply: DnsReply | TableAnswer) -> Datagram:
        """Make the reply to the oldest query for this: what a resolver replied, or a table has."""
        if isinstance(reply, TableAnswer):
            return self._answered(question, reply.addresses)
        message_id, source, query = self._take_oldest(question)
        return message_id + query.relayed(reply, self._is_datagram), source

    # -- queries without a reply -------------------------------------------------------------------

    def _wait_with_others(self, question: bytes, query: Waiting) -> None:
        """Put a query behind those that wait for the same: in a deque, which is too large to be had
        for each query, since they may be as many as there is room for."""
        waiting = self._waiting[question]
        if isinstance(waiting, list):
            waiting = self._waiting[question] = deque(waiting)
        waiting.append(query)

    def _take_oldest(self, question: bytes) -> Waiting:
        """Take the query that has waited longest for this question."""
        waiting = self._waiting[question]
        if len(waiting) == 1:
            del self._waiting[question]
            return waiting[0]
        assert isinstance(waiting, deque)
        return waiting.popleft()


class DatagramClients(DnsClient):
    """All clients behind one UDP socket: together one asker.

    They are always read, and replies to them never wait: what the network does not take is dropped.
    """

    can_wait = False
    pending_bound = "pending_per_client_max"
    reply_bytes_max = 0
    _is_datagram = True

    def __init__(self, conn: str, shared: DnsShared) -> None:
        super().__init__(conn, shared)
        self._owed_max = self.pending_max

    def _unpack(self, data: list[Datagram], now: float) -> list[Datagram]:
        return self._shared.drop_excess(data, now)

    def say(self, replies: list[Datagram]) -> Effect:
        """Send replies, each to where its query came from."""
        return SendTo(self.conn, replies)


class StreamClient(DnsClient):
    """A client with a TCP connection. It is closed when it carries something that is not DNS."""

    can_wait = True
    pending_bound = "stream_pending_max"
    reply_bytes_max = MESSAGE_BYTES_MAX
    _is_datagram = False

    def __init__(self, conn: str, shared: DnsShared) -> None:
        super().__init__(conn, shared)
        self._streak = ErrorStreak(shared.env)

    def _unpack(self, data: bytes, now: float) -> list[Datagram]:
        return [(message, None) for message in split_frames(data)]

    def say(self, replies: list[Datagram]) -> Effect:
        """Send replies, each after its length."""
        return Send(self.conn, b"".join([frame(message) for message, _ in replies]))


class SecureStreamClient(StreamClient):
    """A client with a TLS connection. Replies are padded for it where its queries are."""

    def __init__(self, conn: str, shared: DnsShared) -> None:
        super().__init__(conn, shared)
        self._queries = shared.secure_queries


DENIALS: dict[Negative, Callable[[Query], bytes]] = {
    Negative.TIMED_OUT: Query.failure,
    Negative.NOT_FOUND: Query.no_such_name,
    Negative.NO_DATA: Query.no_data,
    Negative.FAILED: Query.failure,
}
