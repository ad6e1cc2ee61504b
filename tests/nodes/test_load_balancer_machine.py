"""LS under chance: clients ask, leave, and stop reading; TSs answer, deny, lie, go, come, move, and
take nothing; time passes. Races and hedging, roomy and clogged, asked by lines and by DNS.

Not here: what has to hold (`tests/support/balancer_model.py`, `tests/support/balancer_checks.py`),
servers that are resolvers (`tests/sim/test_story.py`), and faults one by one
(`tests/sim/test_fault_matrix.py`, `tests/nodes/test_hedge_policy.py`).
"""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.events import Relieved
from tests.support.balancer_checks import (
    Backpressure,
    Conservation,
    Hedging,
    Negatives,
    Race,
    Samples,
)
from tests.support.balancer_model import (
    CLOGGED,
    MALFORMED,
    REFUSED,
    SILENT,
    SMALL,
    TSS,
    Asker,
    Check,
    DnsAsker,
    Model,
    Server,
)

QUESTIONS = [
    b"a", b"A", b"B.x", b"b.x.", b"c", b"QUIT.", b"quit", b"Nobody", b"d\r",
    b"a AAAA", b"A. AAAA", b"QUIT AAAA", b"c AAAA\r",
]  # fmt: skip
BY_DNS = [b"a", b"A", b"B.x", b"c", b"quit", b"e", b"a AAAA", b"E AAAA"]
STRANGERS = [  # nobody asks for these
    b"stranger 10.0.0.7 A IN", b"stranger ::7 AAAA IN",
    b"stranger - NOT FOUND", b"stranger AAAA - NO DATA",
]  # fmt: skip
client_lines = st.lists(
    st.one_of(
        st.sampled_from(QUESTIONS),
        st.sampled_from(QUESTIONS),
        st.sampled_from([b"", *REFUSED]),
        st.sampled_from([*QUESTIONS, b"QUIT"]),
    ),
    min_size=1,
    max_size=6,
)
# A number stands for a reply to that one of the open questions, with its name in some spelling:
# so many addresses, those that were said last, or that there is none.
spellers = st.sampled_from([bytes.upper, bytes.lower, b"%b.".__mod__])
nothings = st.sampled_from([b"NOT FOUND", b"NO DATA", b"NAMES BELOW", b"BLOCKED"])
whats = st.sampled_from(
    [0, 1, 2, b"NOT FOUND", b"NOT FOUND", b"NO DATA", b"NAMES BELOW", b"BLOCKED"]
)
replying = st.tuples(st.integers(0, 5), spellers, whats)
server_lines = st.lists(
    st.one_of(
        replying,
        replying,
        replying,
        st.sampled_from([b"", b"\r", *STRANGERS, *SILENT, *MALFORMED]),
    ),
    min_size=1,
    max_size=5,
)
Replying = tuple[int, Callable[[bytes], bytes], int | bytes]
places = st.integers(0, 2)
byte_counts = st.one_of(st.just(0), st.integers(1, 40), st.just(512), st.just(513))
lefts = st.one_of(st.just(0), st.just(0), st.integers(1, 20))  # bytes that are still on their way
TICK_S = 1 / 64
ELSEWHERE = [((2, (place, 1)),) for place in ("here", "there")]


class LoadBalancerMachine(RuleBasedStateMachine):
    """Clients, TSs and time do to LS whatever they can."""

    IS_CLOGGED = False
    SHARES: tuple[float | None, ...] = (None,)
    CHECKS: tuple[type[Check], ...] = (Conservation, Negatives, Backpressure, Samples)

    @initialize(
        number=st.integers(0, 3),
        servers=st.sampled_from([2, 3]),
        per_turn=st.sampled_from([1, 3, 1024]),
    )
    def begin(self, number: int, servers: int, per_turn: int) -> None:
        bounds = replace(CLOGGED if self.IS_CLOGGED else SMALL, hedge_per_turn=per_turn)
        share = self.SHARES[number % len(self.SHARES)]
        self.model = Model(bounds, servers, self.CHECKS, share)
        self.stage = self.model.stage
        self.model.come()
        self.model.come()
        self.model.come_by_dns()

    # clients

    def asker(self, who: int) -> Asker | None:
        """Draw a client of lines whose input has not ended."""
        some = [one for one in self.model.askers if not one.has_ended and not one.is_dns]
        return some[who % len(some)] if some else None

    @rule(who=places, lines=client_lines, cut=byte_counts, left=lefts)
    def client_sends(self, who: int, lines: list[bytes], cut: int, left: int) -> None:
        """In two reads; the end may stay on its way until the next time."""
        if not any(one.may_ask and not one.is_dns for one in self.model.askers):
            self.model.come()
        if asker := self.asker(who):
            asker.typed += b"".join(line + b"\n" for line in lines)
            self.model.client_is_read(asker, cut)
            self.model.client_is_read(asker, max(0, len(asker.typed) - left))

    @rule(who=places, names=st.lists(st.sampled_from(QUESTIONS), min_size=2, max_size=7))
    def client_asks(self, who: int, names: list[bytes]) -> None:
        """The same without anything odd, so that there is something to answer."""
        self.client_sends(who, names, 0, 0)

    @rule(names=st.lists(st.sampled_from(BY_DNS), min_size=1, max_size=4))
    def dns_clients_ask(self, names: list[bytes]) -> None:
        for asker in self.model.askers:
            if isinstance(asker, DnsAsker):
                self.model.ask_by_dns(asker, names)
                break

    @rule(who=places, how=st.sampled_from(["quits", "ends", "ends in mid-line", "vanishes"]))
    def client_leaves(self, who: int, how: str) -> None:
        asker = self.asker(who)
        if asker is None:
            return
        if how == "vanishes":
            self.model.client_vanishes(asker)
        elif how == "quits":
            asker.typed += b"QUIT\n"
            self.model.client_is_read(asker, len(asker.typed))
        else:
            if how == "ends in mid-line" and asker.conn not in self.stage.paused:
                asker.typed += b"a"
            self.model.client_ends(asker)

    @rule(who=places)
    def client_stops_reading(self, who: int) -> None:
        if asker := self.asker(who):
            self.stage.held.add(asker.conn)

    @rule()
    def clients_read_again(self) -> None:
        self.stage.held &= set(TSS)
        self.stage.settle()
        self.model.settle()

    # table servers

    def server(self, who: int) -> Server:
        return list(self.model.servers.values())[who % len(self.model.servers)]

    @rule(who=places, said=server_lines, cut=byte_counts, left=lefts)
    def server_sends(self, who: int, said: list[bytes | Replying], cut: int, left: int) -> None:
        server = self.server(who)
        if server.conn in self.stage.dialled:
            self.model.connect(server)
        if server.is_up and not server.has_quit:
            lines = [line if isinstance(line, bytes) else self.model.write(*line) for line in said]
            server.typed += b"".join(line + b"\n" for line in lines)
            self.model.server_is_read(server, cut)
            self.model.server_is_read(server, max(0, len(server.typed) - left))

    @rule(who=places, numbers=st.lists(st.integers(0, 5), min_size=1, max_size=4), what=nothings)
    def server_has_nothing(self, who: int, numbers: list[int], what: bytes) -> None:
        """The same without anything odd, so that something comes of it."""
        self.server_sends(who, [(number, bytes.lower, what) for number in numbers], 0, 0)

    @rule(who=places, what=st.sampled_from([0, 1, 1, 2, b"NOT FOUND", b"NOT FOUND"]))
    def server_replies_to_all_that_it_was_asked(self, who: int, what: int | bytes) -> None:
        server = self.server(who)
        if server.is_up and not server.has_quit:
            replies = [self.model.reply(name, bytes.lower, what) for name in server.sent]
            server.typed += b"".join(reply + b"\n" for reply in replies)
            self.model.server_is_read(server, len(server.typed))

    @rule(who=places, how=st.sampled_from(["end", "reset"]))
    def server_goes(self, who: int, how: str) -> None:
        if self.server(who).conn in self.stage.connections:
            self.model.go(self.server(who), how)

    @rule(who=places)
    def server_is_reached(self, who: int) -> None:
        server = self.server(who)
        if not server.is_up:
            self.model.time_passes(2 * TICK_S)
        if server.conn in self.stage.dialled:
            self.model.connect(server)

    @rule(who=places)
    def server_refuses(self, who: int) -> None:
        if self.server(who).conn in self.stage.dialled:
            self.stage.refuse(self.server(who).conn)

    @rule(who=places)
    def reload(self, who: int) -> None:
        """All servers are looked up."""
        self.stage.reload()

    @precondition(lambda self: self.stage.lookups)
    @rule(which=st.integers(0, 5), where=st.sampled_from([None, *ELSEWHERE]))
    def lookup_ends(
        self, which: int, where: tuple[tuple[int, tuple[str, int]], ...] | None
    ) -> None:
        conn, _, _ = self.stage.lookups.pop(which % len(self.stage.lookups))
        model, server = self.model, self.model.servers[conn]
        has_moved = where is not None and where != model.where[conn]
        model.compare()
        if where is not None:
            model.where[conn] = where
        if has_moved and server.is_up and not server.has_quit:
            self.stage.held.discard(conn)
            model.lose(server)
        self.stage.resolve(conn, where or (), "unknown")
        model.settle()

    @precondition(lambda self: self.IS_CLOGGED)
    @rule(who=places)
    def clog(self, who: int) -> None:
        server = self.server(who)
        if server.is_up:
            self.stage.held.add(server.conn)
            server.well_since = float("inf")

    @precondition(lambda self: self.IS_CLOGGED)
    @rule(who=places)
    def unclog(self, who: int) -> None:
        self.server(who).well_since = self.stage.now
        self.stage.held.discard(self.server(who).conn)
        self.stage.settle()
        self.model.settle()

    @precondition(lambda self: self.IS_CLOGGED)
    @rule(who=places, count=st.integers(1, 20))
    def server_takes_a_little(self, who: int, count: int) -> None:
        connection = self.stage.connections.get(self.server(who).conn)
        if connection is not None and connection.waiting:
            if connection.flush(len, count):
                for check in self.model.checks:
                    if isinstance(check, Backpressure):
                        check.relieved(self.server(who).conn)
                self.stage.step(Relieved(self.server(who).conn))
            self.model.settle()

    # time

    @rule(ticks=st.sampled_from([1, 2, 3, 4, 16, 60, 63, 64, 65, 112, 128, 252, 320]))
    def time_passes(self, ticks: int) -> None:
        self.model.time_passes(ticks * TICK_S)

    @precondition(lambda self: not self.IS_CLOGGED and not self.model.is_draining)
    @rule(wanted=st.sampled_from([False] * 7 + [True]))
    def drain(self, wanted: bool) -> None:
        """Rare enough for something to happen before it."""
        if wanted:
            self.model.drain()

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "model"):
            self.model.holds()

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.ends()


class CloggedMachine(LoadBalancerMachine):
    """Some TSs take little or nothing for a while."""

    IS_CLOGGED = True


class RaceMachine(LoadBalancerMachine):
    CHECKS = (*LoadBalancerMachine.CHECKS, Race)


class HedgeMachine(LoadBalancerMachine):
    SHARES = (0.0, 0.05, 0.3, 1.0)
    CHECKS = (*LoadBalancerMachine.CHECKS, Hedging)


class CloggedHedgeMachine(HedgeMachine):
    IS_CLOGGED = True


TestRace = RaceMachine.TestCase
TestCloggedRace = CloggedMachine.TestCase
TestHedge = HedgeMachine.TestCase
TestCloggedHedge = CloggedHedgeMachine.TestCase
