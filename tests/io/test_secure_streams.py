"""Streams that are secured, under one loop: what the brain hears, and when; limits and ends.

Sockets are real, the clock is the test's, and so is the layer (`tests/support/played_security.py`).

Not here: TLS itself (`tests/io/test_tls_layer.py`).
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.effects import Abort, Close, Dial, Effect, Send
from core.events import Backlogged, Closed, Ended, Event, Opened, PlaceWanted, Received, Role, Woken
from core.framing import Framing
from core.io import listener
from core.operator import DrainAsked
from nodes.cli.serving import DNS_TLS_STREAMS
from tests.support.loops import BRISK, QuietSystem, Script, listen_at, real_loop, turn_until
from tests.support.played_security import (
    DONE,
    HELLO,
    IDENTITY,
    KEYS,
    WELCOME,
    PlayedContexts,
    SecurePeer,
    record,
)

SERVICE = replace(DNS_TLS_STREAMS, keys=KEYS, framing=Framing.LINES)
A, TS = "tls-client-1", "TS1"
MUCH = 1 << 24  # bytes: more than the kernel takes for a peer that reads nothing
HERE = (socket.AF_INET, ("127.0.0.1", 0))
OPENED = {A: Opened(A, Role.TLS), TS: Opened(TS, Role.UPSTREAM)}


class House:
    """A loop that listens, and dials where it is told, with a clock that the test turns."""

    def __init__(self, **bounds: float) -> None:
        self.system, self.tls = QuietSystem(), PlayedContexts()
        system: Any = self.system
        system.tls, system.now = self.tls, lambda: self.now
        self.now = 100.0
        self.said: list[bytes] = []
        self.brain = Script()
        some: Any = bounds
        self.loop = real_loop(replace(BRISK, **some), self.system, self.said.append)
        self.address = listen_at(self.loop, HERE, SERVICE)[:2]
        self.loop.start(self.brain)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.peers: list[SecurePeer] = []

    def close(self) -> None:
        """Let everybody go; nothing may be kept of anybody then."""
        for peer in self.peers:
            peer.close()
        self.server.close()
        for name in [*self.loop.streams.accepted, *self.loop.streams.dialled]:
            if not self.stream(name).is_closed:
                self.do(Abort(name))
        self.turn(3)
        assert not self.loop.streams.accepted and not self.loop.streams.unsent
        assert self.loop.owed.owed_bytes == 0
        assert not any(len(list(timer)) for timer in self.limits())
        self.loop.close()

    def limits(self) -> list[Any]:
        return [each for each in self.loop.engine.timers if hasattr(each, "span_s")]

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.turn()

    def until(self, done: Callable[[], object]) -> None:
        turn_until(self.loop, done)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.turn(3)
        self.now += seconds
        self.turn(3)

    def do(self, *effects: Effect) -> None:
        for effect in effects:
            self.loop.engine.performers[type(effect)](effect)
        self.loop.engine.deliver()

    # -- peers

    def guest(self) -> SecurePeer:
        """Connect somebody, who says nothing yet."""
        before = len(self.loop.streams.accepted)
        peer = SecurePeer(socket.create_connection(self.address, timeout=5), dials=True)
        self.peers.append(peer)
        self.until(lambda: len(self.loop.streams.accepted) > before)
        return peer

    def dialled(self) -> SecurePeer:
        """Dial TS1; return it, which has said nothing yet."""
        at = (socket.AF_INET, self.server.getsockname()[:2])
        self.do(Dial(TS, (at, at), Framing.LINES, IDENTITY))
        peer = SecurePeer(self.server.accept()[0], dials=False)
        self.peers.append(peer)
        return peer

    def met(self, conn: str) -> SecurePeer:
        """Return the peer of this connection, which is secured now."""
        peer = self.guest() if conn == A else self.dialled()
        if conn == A:
            peer.begin()
        self.until(lambda: peer.look().layer.is_secured)
        self.until(lambda: OPENED[conn] in self.brain.heard)
        return peer

    def of(self, conn: str) -> list[Event]:
        return [event for event in self.brain.heard if getattr(event, "conn", "") == conn]

    def metric(self, key: str) -> Any:  # noqa: ANN401
        return {value.key: value.value for value in self.loop.metrics()}.get(key)

    def stream(self, conn: str) -> Any:  # noqa: ANN401
        return self.loop.streams.accepted.get(conn) or self.loop.streams.dialled.get(conn)


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(**bounds: float) -> House:
        houses.append(House(**bounds))
        return houses[-1]

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build()


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> Iterable[list[str]]:
    """Let those who come be of these networks, in turn; then of this machine."""
    of: list[str] = []

    def network(peer: str, own: str) -> str:
        return of.pop(0) if of else ""

    monkeypatch.setattr(listener, "network_of_peer", network)
    return of


# -- the handshake ---------------------------------------------------------------------------------


def test_a_client_is_heard_of_once_it_is_secure(house: House) -> None:
    """The server is not the first to speak."""
    guest = house.guest()
    house.turn(3)
    assert guest.look().wire == b"" and house.brain.heard == [Woken()]
    guest.begin()
    house.until(lambda: guest.look().layer.is_secured)
    assert guest.wire == WELCOME
    house.until(lambda: len(house.brain.heard) > 1)
    assert house.brain.heard == [Woken(), Opened(A, Role.TLS)]
    assert house.metric("tls_handshakes") == 1 and house.metric("tls_failed_unfinished") == 0


def test_a_server_is_heard_of_once_it_is_secure(house: House) -> None:
    """Nothing that is asked of it goes before."""
    house.brain.on = lambda event: [Send(TS, b"query\n")] if isinstance(event, Opened) else []
    server = house.dialled()
    house.turn(5)
    assert server.socket.recv(100) == HELLO and house.brain.heard == [Woken()]
    server.put(WELCOME)
    house.until(lambda: len(house.brain.heard) > 1)
    house.turn()
    assert house.brain.heard == [Woken(), Opened(TS, Role.UPSTREAM)]
    assert server.socket.recv(100) == DONE + record(b"d", b"query\n")


@pytest.mark.parametrize("conn", [A, TS])
def test_bytes_right_behind_the_handshake_are_heard(house: House, conn: str) -> None:
    """And the end right behind them."""
    peer = house.guest() if conn == A else house.dialled()
    peer.put((HELLO + DONE if conn == A else WELCOME) + record(b"d", b"x\ny\n") + record(b"e"))
    house.until(lambda: len(house.of(conn)) > 2)
    assert house.of(conn) == [OPENED[conn], Received(conn, b"x\ny\n"), Ended(conn, False)]


@pytest.mark.parametrize("conn", [A, TS])
def test_bytes_that_come_one_by_one_mean_the_same(house: House, conn: str) -> None:
    peer = house.guest() if conn == A else house.dialled()
    said = (HELLO + DONE if conn == A else WELCOME) + record(b"d", b"x\n") + record(b"e")
    for at in range(len(said)):
        peer.put(said[at : at + 1])
        house.turn()
    house.until(lambda: len(house.of(conn)) > 2)
    assert house.of(conn) == [OPENED[conn], Received(conn, b"x\n"), Ended(conn, False)]


def test_what_is_sent_in_a_turn_is_one_record(house: House) -> None:
    house.brain.on = lambda event: (
        [Send(A, b"1\n"), Send(A, b"2\n"), Send(A, b"3\n")] if isinstance(event, Received) else []
    )
    guest = house.met(A)
    guest.say(b"x\n")
    house.until(lambda: guest.look().plain)
    assert guest.plain == b"1\n2\n3\n" and guest.layer.kinds == "hd"


# -- handshakes that fail --------------------------------------------------------------------------


def test_a_client_that_cannot_be_secured_is_counted_and_logged(house: House) -> None:
    """The brain does not hear of it; it is told why, itself."""
    guest = house.guest()
    guest.put(b"GET / HTTP/1.1\r\n\r\n")
    house.until(lambda: guest.look().alert or guest.has_ended)
    assert guest.alert == "it refuses us: protocol"
    house.turn(2)
    assert house.brain.heard == [Woken()] and not house.loop.streams.accepted
    assert house.said == [f"{A} is not served: it does not speak this [127.0.0.1]\n".encode()]
    assert house.metric("tls_failed_protocol") == 1 and house.metric("tls_handshakes") == 0


def test_a_server_that_proves_nothing_is_not_spoken_to(house: House) -> None:
    """The brain hears why; the server gets an alert, and not a byte more."""
    house.tls.knows = False
    server = house.dialled()
    house.turn(3)
    server.put(WELCOME + record(b"d", b"x\n"))
    house.until(lambda: house.of(TS))
    assert house.of(TS) == [Closed(TS, "its certificate has expired")]
    assert server.socket.recv(1_000) == HELLO + record(b"x", b"expired")
    assert house.metric("tls_failed_expired") == 1 and house.said == []


def test_a_peer_that_refuses_is_counted(house: House) -> None:
    guest = house.guest()
    guest.put(HELLO)
    house.turn(3)
    guest.put(record(b"x", b"unknown ca"))
    house.until(lambda: house.said)
    assert house.said == [f"{A} is not served: it refuses us: unknown ca [127.0.0.1]\n".encode()]
    assert house.metric("tls_failed_refused") == 1


@pytest.mark.parametrize("said", [b"", HELLO[:3]])
def test_a_client_that_ends_in_its_handshake_is_counted(house: House, said: bytes) -> None:
    """Without a word it only looked who is there, and the log has nothing of that."""
    guest = house.guest()
    if said:
        guest.put(said)
    house.turn(2)
    guest.end()
    house.until(lambda: not house.loop.streams.accepted)
    assert house.brain.heard == [Woken()] and house.metric("tls_failed_unfinished") == 1
    why = f"{A} is not served: it has ended the TLS handshake [127.0.0.1]\n".encode()
    assert house.said == ([why] if said else [])


def test_a_server_that_ends_in_its_handshake_is_no_server(house: House) -> None:
    server = house.dialled()
    house.turn(3)
    server.end()
    house.until(lambda: house.of(TS))
    assert house.of(TS) == [Closed(TS, "it has ended the TLS handshake")]
    assert house.metric("tls_failed_unfinished") == 1


def test_a_dial_without_an_answer_is_no_handshake(house: House) -> None:
    where = house.server.getsockname()[:2]
    house.server.close()
    house.do(Dial(TS, ((socket.AF_INET, where),), Framing.LINES, IDENTITY))
    house.until(lambda: house.of(TS))
    assert house.of(TS) == [Closed(TS, "connection refused")]
    assert house.metric("tls_failed_unfinished") == 0


@pytest.mark.parametrize("conn", [A, TS])
def test_an_alert_ends_a_stream_that_was_secure(house: House, conn: str) -> None:
    """That was no handshake."""
    peer = house.met(conn)
    peer.put(record(b"d", b"x\n") + record(b"x", b"internal error"))
    house.until(lambda: len(house.of(conn)) > 2)
    heard = [OPENED[conn], Received(conn, b"x\n"), Closed(conn, "it refuses us: internal error")]
    assert house.of(conn) == heard
    assert house.metric("tls_failed_refused") == 0 and house.said == []


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("conn", [A, TS])
def test_an_end_of_the_peer_is_heard_in_either_way(house: House, conn: str, says_so: bool) -> None:
    """The peer is still sent to, and told of our end behind that."""
    peer = house.met(conn)
    if says_so:
        peer.put(record(b"d", b"x\n") + record(b"e"))
    else:
        peer.put(record(b"d", b"x\n"))
        peer.end()
    house.until(lambda: len(house.of(conn)) > 2)
    assert house.of(conn) == [OPENED[conn], Received(conn, b"x\n"), Ended(conn, False)]
    house.do(Send(conn, b"last\n"), Close(conn))
    house.until(lambda: peer.look().has_ended)
    assert peer.plain == b"last\n" and peer.layer.kinds[-2:] == "de"
    house.until(lambda: len(house.of(conn)) > 3)
    assert house.of(conn)[3:] == [Closed(conn, "")]


def test_an_end_in_mid_message_is_told(house: House) -> None:
    guest = house.met(A)
    guest.put(record(b"d", b"x.exam") + record(b"e"))
    house.until(lambda: len(house.of(A)) > 2)
    assert house.of(A)[2:] == [Ended(A, True)]


@pytest.mark.parametrize("conn", [A, TS])
def test_our_end_is_said_behind_all_that_is_owed(house: House, conn: str) -> None:
    """Also where the peer takes that little by little; what still comes is dropped."""
    peer = house.met(conn)
    data = bytes(range(11, 251)) * (MUCH // 240)
    house.do(Send(conn, data + b"\n"))
    house.turn()
    assert house.stream(conn).waiting > 0
    house.do(Send(conn, b"last\n"), Close(conn))
    peer.say(b"too late\n")
    house.until(lambda: peer.look().has_ended)
    assert peer.plain == data + b"\nlast\n"
    assert peer.layer.kinds.endswith("dde") and peer.layer.is_ended
    assert house.of(conn) == [OPENED[conn], *house.brain.of(Backlogged)]
    peer.end()
    house.until(lambda: house.of(conn)[-1] == Closed(conn, ""))


def test_a_peer_that_takes_nothing_more_is_still_heard(house: House) -> None:
    """Our layer replies to its layer; that goes nowhere, and is owed to nobody."""
    guest = house.met(A)
    house.stream(A).send_failed()
    guest.put(record(b"k", b"1000") + record(b"d", b"x\n"))
    house.until(lambda: len(house.of(A)) > 1)
    assert house.of(A)[1:] == [Received(A, b"x\n")] and house.loop.owed.owed_bytes == 0


# -- memory ----------------------------------------------------------------------------------------


def test_what_a_layer_says_by_itself_is_owed(house: House) -> None:
    """A client that makes it say much, and takes nothing, is not read any more."""
    guest = house.met(A)
    guest.put(record(b"k", b"%d" % MUCH))
    house.until(lambda: house.loop.owed.owed_bytes)
    stream = house.stream(A)
    house.turn()
    assert stream.waiting == house.loop.owed.owed_bytes > 1 << 20 and not stream.is_read
    guest.put(record(b"d", b"x\n"))
    house.turn(3)
    assert house.of(A) == [Opened(A, Role.TLS)]
    house.until(lambda: guest.look().layer.kinds.endswith("n"))
    house.until(lambda: len(house.of(A)) > 1)
    assert house.loop.owed.owed_bytes == 0 and house.of(A)[1:] == [Received(A, b"x\n")]
    assert house.loop.hits["owed_bytes_high"] == 1


def test_what_waits_counts_as_it_is_sent(house: House) -> None:
    """Sealed bytes are more than plain ones."""
    guest = house.met(A)
    stream = house.stream(A)
    house.do(Send(A, b"x\n"), Send(A, b"y\n"))
    assert stream.waiting == 4 == house.loop.owed.owed_bytes
    house.until(lambda: guest.look().plain == b"x\ny\n")
    assert stream.waiting == 0 == house.loop.owed.owed_bytes


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_handshake_that_was_not_taken_is_owed_no_more(house: House, how: str) -> None:
    """The peer has gone before it has taken that."""
    guest = house.guest()
    guest.put(HELLO + record(b"k", b"%d" % MUCH))
    house.until(lambda: house.loop.owed.owed_bytes)
    house.turn(2)
    assert house.loop.owed.owed_bytes > 0
    if how == "end":
        guest.end()
    else:
        guest.close()
    house.until(lambda: not house.loop.streams.accepted)
    assert house.loop.owed.owed_bytes == 0 and house.brain.heard == [Woken()]


# -- limits ----------------------------------------------------------------------------------------


def test_a_dial_and_its_handshake_have_one_time_together(house: House) -> None:
    """And another address is not tried after one that has answered."""
    house.dialled()
    house.now += 2.0
    house.turn(3)
    assert house.tls.dialled[0].unsent == 0
    house.wait(0.9)
    assert house.of(TS) == []
    house.wait(0.2)
    assert house.of(TS) == [Closed(TS, "no answer to the TLS handshake")]
    assert house.loop.hits == {"dial_s": 1} and house.metric("tls_failed_unfinished") == 1
    house.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        house.server.accept()


def test_a_stream_that_was_dialled_has_no_such_time_later(house: House) -> None:
    house.met(TS)
    house.wait(1_000.0)
    assert house.of(TS) == [OPENED[TS]] and not house.loop.hits


@pytest.mark.parametrize("said", [b"", HELLO])
def test_a_client_has_its_time_for_the_handshake(house: House, said: bytes) -> None:
    """Words meanwhile make that no longer."""
    guest = house.guest()
    house.wait(6.0)
    if said:
        guest.put(said)
    house.wait(3.9)
    assert house.stream(A) is not None
    house.wait(0.2)
    assert house.stream(A) is None and house.loop.hits == {"mid_line_s": 1}
    assert house.brain.heard == [Woken()] and house.metric("tls_failed_unfinished") == 1
    why = f"{A} is not served: a TLS handshake took too long [127.0.0.1]\n".encode()
    assert house.said == ([why] if said else [])


def test_the_first_message_has_its_time_behind_the_handshake(house: House) -> None:
    guest = house.guest()
    house.wait(9.0)
    guest.put(HELLO + DONE + record(b"d", b"x.exam"))
    house.wait(9.0)
    assert house.of(A) == [OPENED[A], Received(A, b"")]
    house.wait(1.1)
    assert house.of(A)[2:] == [Closed(A, "a line took too long")]


def test_a_client_is_idle_from_its_handshake_on(build: Callable[..., House]) -> None:
    """Records of no plain bytes are no word."""
    house = build(mid_line_s=30.0)
    guest = house.guest()
    house.wait(15.0)
    guest.put(HELLO + DONE)
    house.wait(0.0)
    assert house.of(A) == [OPENED[A]]
    house.wait(9.0)
    guest.put(record(b"n", b"nothing"))
    house.wait(1.1)
    assert house.of(A)[1:] == [Closed(A, "silent for long")]
    assert house.loop.hits == {"dns_idle_s": 1}
    assert guest.look().has_ended and guest.layer.kinds.endswith("e")


def test_a_dial_may_be_given_up_in_its_handshake(house: House) -> None:
    server = house.dialled()
    house.turn(3)
    house.do(Abort(TS))
    house.turn(2)
    assert house.of(TS) == [Closed(TS, "given up")] and server.look().has_ended
    house.wait(10.0)
    assert not house.loop.hits


# -- places ----------------------------------------------------------------------------------------


def test_one_in_its_handshake_parts_for_a_newcomer(
    build: Callable[..., House], networks: list[str]
) -> None:
    """The brain does not hear of it. Those that it knows are told to part."""
    house = build(tls_clients_max=4)
    networks += ["192.0.2.1"] * 4 + ["192.0.2.2"] * 2
    known = house.met(A)
    waiting = [house.guest() for _ in range(3)]
    for peer in waiting[1:]:
        peer.begin()
    house.until(lambda: all(peer.look().layer.is_secured for peer in waiting[1:]))
    house.until(lambda: len(house.brain.of(Opened)) == 3)
    known.say(b"x\n")  # it is not idle
    house.until(lambda: house.brain.of(Received))
    for peer in waiting[1:]:
        peer.say(b"x\n")
    house.until(lambda: len(house.brain.of(Received)) == 3)
    newcomer = SecurePeer(socket.create_connection(house.address), dials=True)
    house.peers.append(newcomer)
    newcomer.begin()
    house.until(lambda: newcomer.look().layer.is_secured)
    assert waiting[0].look().has_ended and house.brain.of(PlaceWanted) == []
    assert not any(peer.look().has_ended for peer in (known, *waiting[1:]))
    assert (
        "tls-client-2" not in house.loop.streams.accepted and len(house.loop.streams.accepted) == 4
    )
    assert house.loop.hits["tls_clients_max"] == 0


def test_one_that_is_known_is_asked_to_part(
    build: Callable[..., House], networks: list[str]
) -> None:
    house = build(tls_clients_max=2)
    networks += ["192.0.2.1"] * 2 + ["192.0.2.2"]
    house.met(A)
    house.guest()
    house.brain.on = lambda event: [Close(event.conn)] if isinstance(event, PlaceWanted) else []
    house.turn(2)
    house.peers.append(SecurePeer(socket.create_connection(house.address), dials=True))
    house.until(lambda: house.brain.of(PlaceWanted))
    assert house.brain.of(PlaceWanted) == [PlaceWanted(A)]


def test_an_address_has_only_so_many_in_a_second(
    build: Callable[..., House], networks: list[str]
) -> None:
    """The next is closed without a word; this machine is exempt."""
    house = build(tls_per_second=2)
    networks += ["192.0.2.1"] * 3 + ["192.0.2.2", "192.0.2.1"]
    for _ in range(2):
        house.guest()
    turned_away = SecurePeer(socket.create_connection(house.address), dials=True)
    house.peers.append(turned_away)
    house.until(lambda: turned_away.look().has_ended)
    assert turned_away.wire == b"" and house.brain.heard == [Woken()]
    assert len(house.loop.streams.accepted) == 2
    assert house.loop.hits == {"tls_per_second": 1} and house.metric("tls_limited") == 1
    house.guest()
    house.now += 1.0
    house.guest()
    for _ in range(9):
        house.guest()
    assert house.loop.hits["tls_per_second"] == 1 and len(house.loop.streams.accepted) == 13


def test_few_are_accepted_in_a_turn(house: House) -> None:
    for _ in range(5):
        house.peers.append(SecurePeer(socket.create_connection(house.address), dials=True))
    counts = []
    for _ in range(3):
        house.turn()
        counts.append(len(house.loop.streams.accepted))
    assert counts == [2, 4, 5] and house.loop.hits == {"tls_accepts_per_turn": 2}


def test_few_handshakes_are_computed_in_a_turn(house: House) -> None:
    """Clients may all say at one moment what makes it due."""
    guests = [house.guest() for _ in range(5)]
    for guest in guests:
        guest.begin()
    counts = []
    for _ in range(3):
        house.turn()
        counts.append(sum(guest.look().layer.is_secured for guest in guests))
    assert counts == [2, 4, 5]


@pytest.mark.parametrize("conn", [A, TS])
def test_bytes_before_a_failure_in_one_read_are_heard(house: House, conn: str) -> None:
    """As they would be if the failure came in a read of its own."""
    peer = house.met(conn)
    peer.put(record(b"d", b"x\n") + b"!" * 8)
    house.until(lambda: isinstance(house.of(conn)[-1], Closed))
    assert house.of(conn)[-2:] == [Received(conn, b"x\n"), Closed(conn, "it does not speak this")]


# -- the end of all --------------------------------------------------------------------------------


def test_a_drain_waits_for_handshakes_for_a_while(house: House) -> None:
    """Clients whose handshake is done in time are heard, the others cut off."""
    secure = house.met(A)
    unsecured = [house.guest() for _ in range(4)]
    unsecured[1].put(HELLO[:5])
    unsecured[2].put(HELLO)
    house.system.waker.send(bytes([15]))
    house.turn(5)
    secure.put(record(b"d", b"x\n"))
    unsecured[2].put(DONE + record(b"d", b"y\n"))
    house.wait(0.9)
    assert house.brain.of(DrainAsked) == []
    house.wait(0.2)
    assert house.brain.heard[-1] == DrainAsked(100.0)
    assert house.brain.of(Received) == [Received(A, b"x\n"), Received("tls-client-4", b"y\n")]
    assert list(house.loop.streams.accepted) == [A, "tls-client-4"]
    assert [peer.look().has_ended for peer in unsecured] == [True, True, False, True]
    assert house.metric("tls_failed_unfinished") == 3
    assert house.said == [b"tls-client-3 is not served: this server ends [127.0.0.1]\n"]


def test_a_drain_goes_on_once_all_handshakes_are_done(house: House) -> None:
    """However they end, and at once."""
    guests = [house.guest() for _ in range(2)]
    guests[0].put(HELLO)
    house.system.waker.send(bytes([15]))
    house.turn(5)
    assert house.brain.of(DrainAsked) == []
    guests[0].put(DONE)
    guests[1].end()
    house.turn(5)
    assert house.brain.of(DrainAsked) == [DrainAsked(100.0)]
    assert list(house.loop.streams.accepted) == [A]


@pytest.mark.parametrize("first", [Opened, Received])
@pytest.mark.parametrize("effect", [Close, Abort])
@pytest.mark.parametrize("conn", [A, TS])
def test_one_that_is_closed_is_not_heard_of_any_more(
    house: House, conn: str, effect: type[Close | Abort], first: type
) -> None:
    """Also where more came in the same read: a query, say, and the end right behind it."""
    house.brain.on = lambda event: [effect(conn)] if isinstance(event, first) else []
    peer = house.guest() if conn == A else house.dialled()
    peer.put((HELLO + DONE if conn == A else WELCOME) + record(b"d", b"x\n") + record(b"e"))
    house.until(lambda: house.brain.of(Closed))
    heard = [OPENED[conn], Received(conn, b"x\n")][: 1 if first is Opened else 2]
    assert house.of(conn) == [*heard, Closed(conn, "" if effect is Close else "given up")]
