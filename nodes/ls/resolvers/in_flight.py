"""Queries in flight: given their IDs, put into messages, and counted against the window.

An ID is of random bytes that nobody can foretell (RFC 5452), and free among those of its socket.
In flight is what may still lie in the resolver's own socket: see `window.py`.

Not here: how many may be (`nodes/ls/resolvers/window.py`), and their replies
(`nodes/ls/resolvers/reply_matcher.py`).
"""

from collections.abc import Container

from core.environment import Environment
from nodes.dns.codes import ID_BYTES
from nodes.dns.question import padded_query, resolver_query
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.recent_queries import split_ids
from nodes.ls.resolvers.sockets import KNOWN, ResolverSocket, SentBatch
from nodes.ls.resolvers.window import Window


class InFlight:
    """All queries to one resolver that have no reply. `count`: those over UDP that it may not have
    read yet. `pads`: queries are padded, since nobody on the way can read them."""

    def __init__(
        self,
        env: Environment,
        ageing: Ageing,
        edns: EdnsFallback,
        grace: Grace,
        *,
        pads: bool = False,
    ) -> None:
        self.count = 0
        self._bounds = env.bounds
        self._hits = env.hits
        self._secret = env.secret
        self._ageing = ageing
        self._edns = edns
        self._grace = grace
        self._query = padded_query if pads else resolver_query
        self._window = Window(env.bounds.upstream_window)

    def room(self, now: float) -> int:
        """Return how many more may go over UDP; none if negative."""
        return self._window.size(now) - self.count

    def add(
        self,
        socket: ResolverSocket,
        questions: list[bytes],
        now: float,
        *,
        asked_at: float,
        tries: int = 0,
        moves: int = 0,
        tcp_only: Container[bytes] = (),
    ) -> list[bytes]:
        """Make a batch of questions that are sent by this socket now, see `SentBatch`; return its
        messages. Questions beyond the bound of a socket are left out."""
        asked = socket.asked
        room = self._bounds.upstream_asked_max - len(asked)
        if len(questions) > room:
            self._hits["upstream_asked_max"] += 1
            questions = questions[: max(0, room)]
            if not questions:
                return []
        size = len(questions)
        random = self._secret(ID_BYTES * size)
        was_calm = self._window.is_calm(self.count)
        plain = () if self._edns.is_at_rest else self._edns.select_plain(questions, now)
        batch = SentBatch(
            socket, questions, random, socket.recent.sent, size, now, asked_at, tries, moves,
            was_calm, tcp_only, plain,
        )  # fmt: skip
        ids = split_ids(random)
        messages, query = [], self._query
        for at, question in enumerate(questions):
            number = ids[at]
            while number in asked:
                number = ids[at] = self._secret(ID_BYTES)
                batch.ids = b"".join(ids)
            words = query(question)
            asked[number] = (question, words.section, batch)
            messages.append(number + words.message)
        if plain:
            messages = [
                message[:ID_BYTES] + query(question).plain if question in plain else message
                for question, message in zip(questions, messages, strict=True)
            ]
        self._ageing.add(batch)
        if not socket.is_stream:
            socket.recent.remember(batch.ids, questions)
            self.count += size
        return messages

    def learn(self, batch: SentBatch, replies: int, now: float) -> None:
        """Learn from `replies` replies to queries of one batch how fast the resolver is, and how
        far it has read."""
        batch.settle(replies)
        self._grace.replied(now - batch.asked_at, replies)
        socket = batch.socket
        if socket.is_stream:
            return
        self.count -= socket.pass_by(batch, len(batch.questions) - batch.left)
        self._window.replied(replies, now - batch.sent_at, now, was_calm=batch.was_calm)

    def leave(self, batch: SentBatch) -> None:
        """Take a batch that is overdue, or hopeless, out of the window: it has been read, or is
        lost."""
        socket = batch.socket
        if socket.life.state in KNOWN and not socket.is_stream:
            self.count -= socket.pass_by(batch, len(batch.questions))

    def forget(self, socket: ResolverSocket) -> None:
        """Forget everything that was asked by this socket."""
        for question, _, _ in socket.asked.values():
            self._ageing.overdue.pop(question, None)
        socket.forget()
        if not socket.is_stream:
            self.count -= socket.recent.sent - socket.passed
            socket.passed = socket.recent.sent
