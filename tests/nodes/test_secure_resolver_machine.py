"""A resolver by TLS under any order of events: dials, replies, ends, and time.

After each of them every open question is where it can be replied to, or will be asked; nothing is
asked in the clear; and in the end each asker has had one reply.

Not here: what is done for which reason (`tests/nodes/test_secure_resolver.py`).
"""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.bounds import Bounds
from core.events import Backlogged
from core.io.frame_buffer import frame
from nodes.ls.link_state import LinkState
from nodes.ls.resolvers.secure_resolver import SecureResolver
from nodes.ls.resolvers.sockets import KNOWN, SocketState
from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import D1, IDENTITY, UDP, Cast, by_tls

SOME = st.integers(0, 1 << 16)
WORDS = st.sampled_from(
    ["10.0.0.1", "10.0.0.1", "10.0.0.1", "NXDOMAIN", "SERVFAIL", "REFUSED", "TC", "bare FORMERR"]
)
SPANS = st.sampled_from([0.0, 0.02, 0.06, 0.11, 0.3, 1.01, 1.01, 1.01, 2.0, 6.5, 31.0])


class ResolverByTls(RuleBasedStateMachine):
    """LS with one resolver, which does whatever the rules say."""

    def __init__(self) -> None:
        super().__init__()
        bounds = Bounds(silent_questions=6, resends_max=2, dns_timeout_s=4.5)
        self.cast = Cast(resolvers=[by_tls(1)], bounds=bounds)
        self.open: dict[bytes, str] = {}  # the question of each query without a reply, by its ID
        self.came: list[tuple[str, bytes]] = []  # queries that came by streams that are there
        self.names = 0

    @property
    def link(self) -> Any:  # noqa: ANN401
        return self.cast.brain.parts.upstreams.by_name[D1].link

    @property
    def resolver(self) -> SecureResolver:
        resolver: Any = self.cast.resolver(D1)
        assert isinstance(resolver, SecureResolver)
        return resolver

    @property
    def streams(self) -> list[str]:
        return list(filter(self._is_heard, self.cast.stage.connections))

    def _is_heard(self, conn: str) -> bool:
        connection = self.cast.stage.connections.get(conn)
        return conn.startswith(D1) and connection is not None and connection.is_reading

    def look(self) -> None:
        """Take note of what was asked and told."""
        self.came += self.cast.asked(D1)
        self.came = [(conn, query) for conn, query in self.came if self._is_heard(conn)]
        for message, _ in self.cast.told():
            del self.open[message[:2]]  # KeyError: it has been told twice

    # -- events ------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 5), is_new=st.booleans())
    def ask(self, count: int, is_new: bool) -> None:
        for _ in range(count):
            self.names += is_new
            query = self.cast.ask(f"n{self.names}.example")
            self.open[query[:2]] = question_of(query)
            self.look()

    @precondition(lambda self: self.cast.stage.dialled)
    @rule()
    def answer_the_dial(self) -> None:
        self.cast.stage.connect(self.cast.stage.dialled[0])

    @precondition(lambda self: self.cast.stage.dialled)
    @rule()
    def refuse_the_dial(self) -> None:
        self.cast.stage.refuse(self.cast.stage.dialled[0], "its certificate has expired")

    @precondition(lambda self: self.came)
    @rule(which=SOME, words=WORDS, again=st.booleans(), ends=st.booleans())
    def reply(self, which: int, words: str, again: bool, ends: bool) -> None:
        """The end may come in the same read."""
        conn, query = self.came[which % len(self.came)]
        if not again:
            self.came.remove((conn, query))
        self.cast.stage.hear(conn, frame(said(query, words)))
        self.look()
        if ends and self._is_heard(conn):
            self.cast.stage.end(conn)

    @precondition(lambda self: self.came)
    @rule(words=WORDS)
    def reply_to_all(self, words: str) -> None:
        came, self.came = self.came, []
        for conn in dict.fromkeys(conn for conn, _ in came):
            replies = b"".join(frame(said(query, words)) for c, query in came if c == conn)
            self.cast.stage.hear(conn, replies)

    @precondition(lambda self: self.streams)
    @rule(which=SOME, how=st.sampled_from(["end", "reset", "backlog"]))
    def end(self, which: int, how: str) -> None:
        conn = self.streams[which % len(self.streams)]
        if how == "end":
            self.cast.stage.end(conn)
        elif how == "reset":
            self.cast.stage.reset(conn)
        elif self.resolver.sockets.by_conn[conn].life.state in KNOWN:
            self.cast.stage.step(Backlogged(conn))

    @precondition(lambda self: len(self.came) > 1 and not self.cast.stage.dialled)
    @rule()
    def end_with_one_that_is_left(self) -> None:
        """Reply to all but one, and let another stream follow."""
        conn, left = self.came[0]
        queries = [query for stream, query in self.came if stream == conn and query != left]
        self.cast.stage.hear(conn, *[frame(said(query, "10.0.0.1")) for query in queries])
        if self._is_heard(conn):
            self.cast.stage.reset(conn)
        if self.cast.stage.dialled:
            self.answer_the_dial()

    @rule(seconds=SPANS)
    def wait(self, seconds: float) -> None:
        self.cast.wait(seconds)

    # -- invariants --------------------------------------------------------------------------------

    @invariant()
    def nothing_goes_in_the_clear(self) -> None:
        self.look()
        assert set(self.cast.stage.replies) == {UDP}
        assert set(self.cast.stage.identities.values()) <= {IDENTITY}

    @invariant()
    def there_are_two_streams_at_most(self) -> None:
        sockets = self.resolver.sockets.by_conn
        assert len(sockets) <= 2 and len(self.streams) + len(self.cast.stage.dialled) <= 2
        asked = [each for each in sockets.values() if each.life.state is SocketState.OPEN]
        assert len(asked) <= 1

    @invariant()
    def its_link_waits_for_no_event_that_will_not_come(self) -> None:
        if self.link.life.state in (LinkState.DIALING, LinkState.CLOSING):
            assert self.resolver.sockets.by_conn
        if self.link.life.state is LinkState.DIALING:
            assert self.cast.stage.dialled

    @invariant()
    def each_open_question_has_a_way(self) -> None:
        """Each is in flight, or waits, while the resolver is asked; all have failed when it is
        down."""
        self.look()
        resolver, link = self.resolver, self.link
        if link.life.state is LinkState.DOWN:
            assert not resolver.sockets.by_conn and not self.open
        if resolver.grace.is_silent or not link.is_live:
            return
        asked = {
            question
            for socket in resolver.sockets.by_conn.values()
            if socket.life.state in KNOWN
            for question, _, _ in socket.asked.values()
        }
        ways = asked | set(resolver.streams.waiting)
        assert {question.encode() for question in self.open.values()} <= ways

    @invariant()
    def nothing_waits_for_nothing(self) -> None:
        resolver = self.resolver
        sockets = list(resolver.sockets.by_conn.values())
        if not resolver.streams.waiting:
            return
        opening = [each for each in sockets if each.life.state is SocketState.OPENING]
        busy = [each for each in sockets if each.asked and each.life.state is SocketState.OPEN]
        closing = [each for each in sockets if each.life.state is SocketState.CLOSING]
        assert opening or busy or closing

    def teardown(self) -> None:
        """See that all that was asked has its one reply in time."""
        self.cast.wait(10.0)
        self.look()
        assert not self.open, Counter(self.open.values())


TestResolverByTls = ResolverByTls.TestCase
