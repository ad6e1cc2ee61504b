"""An address that holds most places of a listener, and newcomers from others.

The loop and its sockets are real, over loopback; only the address that a peer seems to come
from is the test's word.

Not here: what a bound says where nobody parts (`tests/io/test_acceptor.py`), and real addresses
(`tests/processes/test_places_apart.py`).
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addresses import Address
from core.bounds import Bounds
from core.brain import Brain
from core.effects import Send
from core.environment import Environment
from core.events import PlaceWanted, Role
from core.io.connection import Connection
from core.io.frame_buffer import FrameBuffer, frame
from core.io.places import Places
from nodes.cli.serving import DNS_STREAMS, LINES
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ts.table_file import Table
from nodes.ts.table_server import TableServer
from tests.nodes.test_dns_clients import TCP, started
from tests.sim.scenes import Scene
from tests.sim.sockets import SimSocket
from tests.support.balancers import load_balancer
from tests.support.dns_clients import query
from tests.support.loops import QuietSystem, drained, real_loop, turn_until
from tests.support.stage import Stage

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
HERE = "127.0.0.1"
ROW = b"x.example 10.0.0.1 A IN\n"


# -- parting ---------------------------------------------------------------------------------------


ENV = Environment()


def holding(networks: str) -> tuple[Places, list[Connection]]:
    """Build holders: a letter is the network of a connection, `-` this machine; the first is the
    longest idle."""
    places, connections = Places(), []
    for turn, letter in enumerate(networks):
        connection = Connection(ENV, f"{letter}{turn}", True, FrameBuffer())
        connection.last_turn = turn
        places.take(connection, letter.strip("-"))
        connections.append(connection)
    return places, connections


@pytest.mark.parametrize(
    ("networks", "newcomer", "parts"),
    [
        ("aaaa", "b", "a0"), ("aa", "b", "a0"), ("", "a", None),
        ("baaaa", "b", "a1"), ("baaa", "b", "a1"), ("baa", "b", None),  # fewer than half as many
        ("bbaaaa", "b", None), ("aaaa", "a", None),
        ("ab", "c", None),  # nobody loses its only place
        ("bbaaa", "c", "a2"),  # of those that hold most, not of any
        ("----", "b", None), ("----aa", "b", "a4"), ("-aaaa", "-", "a1"), ("--aaaa", "-", None),
    ],
)  # fmt: skip
def test_who_parts_for_a_newcomer(networks: str, newcomer: str, parts: str | None) -> None:
    """[P38]"""
    going = holding(networks)[0].to_part(newcomer.strip("-"))
    assert (going and going.name) == parts


@given(st.lists(st.sampled_from("aabbc-")), st.lists(st.sampled_from("abcdefg-")))
def test_newcomers_come_to_rest_and_no_network_loses_all(held: list[str], come: list[str]) -> None:
    """Each exchange makes it more even, so no two networks throw each other out for ever."""
    places, connections = holding("".join(held))
    count = len(places)
    for letter in come * 20:
        newcomer = letter.strip("-")
        going = places.to_part(newcomer)
        if going is None:
            continue
        assert going.name[0] != "-"
        places.leave(going)
        connections.remove(going)
        assert any(other.name[0] == going.name[0] for other in connections)
        connections.append(Connection(ENV, letter, True, FrameBuffer()))
        places.take(connections[-1], newcomer)
        assert len(places) == count
    assert all(places.to_part(letter.strip("-")) is None for letter in come)


# -- a real loop -----------------------------------------------------------------------------------


class Door:
    """A listening socket whose peers seem to come from elsewhere; it watches the descriptors."""

    def __init__(self, house: "House", stream: socket.socket) -> None:
        self._house, self._stream = house, stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        stream, (_, port) = self._stream.accept()
        self._house.look()
        return stream, (self._house.hosts[port], port)


class Desk(QuietSystem):
    """The real system, whose listeners are doors."""

    def __init__(self, house: "House") -> None:
        super().__init__()
        self._house = house

    def listen(self, address: Address, backlog: int, *, shared: bool = False) -> Any:  # noqa: ANN401
        return Door(self._house, QuietSystem.listen(self, address, backlog, shared=shared))


class House:
    """A server in a loop that the test turns, and its guests."""

    def __init__(self, bounds: Bounds, role: Role = Role.LINES) -> None:
        self.bounds = replace(bounds, sleep_s=0.001)
        self.hosts: dict[int, str] = {}  # by the port of a guest
        self.guests: list[socket.socket] = []
        self.most = 0  # sockets at a time
        self.log = bytearray()
        self.loop = real_loop(self.bounds, Desk(self), self.log.extend)
        self.there: Any = self.loop.listen(
            (socket.AF_INET, (HERE, 0)), DNS_STREAMS if role is Role.DNS else LINES
        )
        self.loop.start(self._brain(role))

    def _brain(self, role: Role) -> Brain:
        if role is Role.LINES:
            return TableServer(
                Table({b"x.example": ROW}),
                Environment(self.bounds, self.loop.hits),
                loop=self.loop.metrics,
            )
        front_end = DnsFrontEnd(Environment(self.bounds), 60)
        return load_balancer([()], self.bounds, float, dns=front_end, loop=self.loop.metrics)

    @property
    def connected(self) -> int:
        """The number of connections that have a socket."""
        streams = self.loop.streams
        return sum(each.fd >= 0 for each in (*streams.accepted.values(), *streams.dialled.values()))

    def look(self) -> None:
        """Look whether there is a socket more than the loop knows of, or has not closed yet."""
        known = self.connected + len(self.loop.engine.doomed)
        self.most = max(self.most, known + 1)

    def knock(self, host: str, *, turned: bool = True) -> socket.socket:
        """Connect somebody who seems to come from there."""
        guest = socket.socket()
        guest.bind((HERE, 0))
        self.hosts[guest.getsockname()[1]] = host
        guest.connect(self.there[:2])
        guest.setblocking(False)
        self.guests.append(guest)
        if turned:
            self.turn()
        return guest

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.loop.turn()

    def heard(self, guest: socket.socket) -> bytes:
        """Read all that comes to one whose stream ends."""
        heard = bytearray()
        turn_until(self.loop, lambda: drained(guest, heard))
        return bytes(heard)

    def is_served(self, guest: socket.socket) -> bool:
        """Return whether one is still there, and is answered."""
        try:
            guest.send(b"x.example\n")
            self.turn()
            return guest.recv(100) == ROW
        except (BlockingIOError, OSError):
            return False

    @property
    def replaced(self) -> object:
        metrics = {value.key: value.value for value in self.loop.metrics()}
        return metrics["replaced"]

    def close(self) -> None:
        self.loop.close()
        for guest in self.guests:
            guest.close()


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(role: Role = Role.LINES, **bounds: float) -> House:
        houses.append(House(replace(Bounds(), **bounds), role))  # type: ignore[arg-type]
        return houses[-1]

    yield make
    for house in houses:
        house.close()


def test_the_longest_idle_of_many_says_bye_and_a_newcomer_is_in(
    build: Callable[..., House],
) -> None:
    """[P38]"""
    house = build(clients_max=4)
    many = [house.knock(A) for _ in range(4)]
    assert house.is_served(many[0])  # it is not the longest idle any more
    newcomer = house.knock(B)
    assert house.heard(many[1]) == b"BYE\n"
    assert all(map(house.is_served, (newcomer, many[0], many[2], many[3])))
    assert (house.replaced, dict(house.loop.hits)) == (1, {})
    assert house.log == b"clients_max is reached, and 192.0.2.1 has 4: the longest idle parts\n"


def test_a_storm_takes_no_more_than_the_spare_descriptors(build: Callable[..., House]) -> None:
    """[P38]: 4 of the 16 may be parting, and as many more wait for the end of the turn."""
    house = build(clients_max=20, accepts_per_turn=100, owed_bytes_high=100, owed_bytes_low=50)
    for _ in range(20):
        house.knock(A)
    house.most = 0
    for batch in range(3):
        storm = [house.knock(f"198.51.{batch}.{n}", turned=False) for n in range(12)]
        house.turn()
        served = sum(map(house.is_served, storm))
        assert served == 4
        assert len(house.loop.acceptor.parting) == 4
    assert house.most <= 20 + 8 + 1
    assert house.loop.hits["clients_max"] == 3 * 8


def test_a_storm_on_streams_that_owe_nothing_is_bounded(build: Callable[..., House]) -> None:
    """[P38]: each has been sent everything at once, so it may be cut in the same turn."""
    house = build(Role.DNS, dns_clients_max=30, accepts_per_turn=100)
    many = [house.knock(A) for _ in range(30)]
    house.most = 0
    for number in range(24):
        house.knock(f"198.51.100.{number}", turned=False)
    house.turn()
    assert house.most <= 30 + 8 + 1
    assert house.loop.hits["dns_clients_max"] == 24 - 8 and house.replaced == 8
    assert house.heard(many[7]) == b""


def test_one_that_takes_nothing_is_not_cut_for_a_newcomer(build: Callable[..., House]) -> None:
    """[P38]: what it is owed is still sent; meanwhile newcomers are told BUSY."""
    house = build(clients_max=6, owed_bytes_high=1 << 30)
    many = [house.knock(A) for _ in range(6)]
    for name in list(house.loop.streams.accepted):
        house.loop.streams.send_to(Send(name, b"PONG\n" * (1 << 21)))
    house.turn()
    newcomers = [house.knock(f"198.51.100.{number}") for number in range(5)]
    assert house.heard(newcomers[4]) == b"- ERROR BUSY\n"
    assert all(map(house.is_served, newcomers[:4]))
    assert house.heard(many[0]).endswith(b"PONG\nBYE\n")


@pytest.mark.parametrize("how", ["it has just come", "half a line of it", "bytes to it"])
def test_one_that_is_not_idle_has_another_part(build: Callable[..., House], how: str) -> None:
    """[P38]: it counts as not idle since it came, or bytes came in or went out."""
    house = build(clients_max=2)
    first = house.knock(A)
    if how == "it has just come":
        assert house.is_served(first)
    second = house.knock(A)
    if how == "half a line of it":
        first.send(b"x.exam")
    elif how == "bytes to it":
        house.loop.streams.send_to(Send("client-1", b"PONG\n"))
    house.turn()
    house.knock(B)
    parted = first if how == "it has just come" else second
    assert house.heard(parted) == b"BYE\n"
    assert house.replaced == 1


@pytest.mark.parametrize(
    ("there", "newcomers", "spare"),
    [([A, A, B], [B, A], 16), ([HERE] * 3, [B], 16), ([A] * 3, [B], 3)],
    ids=["half as many", "on this machine", "no spare descriptors"],
)
def test_nobody_parts_and_a_newcomer_is_told_busy(
    build: Callable[..., House], there: list[str], newcomers: list[str], spare: int
) -> None:
    """[P18] [P38]"""
    house = build(clients_max=3, descriptors_spare=spare)
    many = list(map(house.knock, there))
    for host in newcomers:
        assert house.heard(house.knock(host)) == b"- ERROR BUSY\n"
    assert all(map(house.is_served, many))
    assert (house.replaced, house.loop.hits["clients_max"]) == (0, len(newcomers))


def test_one_that_leaves_by_itself_is_counted_once(build: Callable[..., House]) -> None:
    house = build(clients_max=3)
    many = [house.knock(A) for _ in range(3)]
    house.knock(B)
    many[0].close()
    house.turn()
    (listener,) = house.loop.acceptor.listeners.values()
    assert len(listener.places) == 3 and not house.loop.acceptor.parting
    for guest in house.guests:
        guest.close()
    turn_until(house.loop, lambda: not house.loop.streams.accepted)
    assert len(listener.places) == 0 and not listener.places.networks


# -- bytes that it is owed -------------------------------------------------------------------------


@pytest.mark.parametrize("conn", ["client-1", TCP])
def test_one_that_parts_gets_what_ls_owes_it(conn: str) -> None:
    """[P38]"""
    stage = started()
    stage.accept(conn)
    is_dns = conn == TCP
    stage.hear(conn, frame(query(7, b"x.example")) if is_dns else b"x.example\n")
    stage.step(PlaceWanted(conn))
    if not is_dns:
        stage.hear(conn, b"y.example\n")  # not taken
    assert stage.take(conn) == b"" and not stage.has_ended(conn)
    stage.hear("TS1", ROW)
    said = stage.take(conn)
    assert said[2:4] == b"\0\7" if is_dns else said == ROW + b"BYE\n"
    assert stage.has_ended(conn)


@pytest.mark.parametrize("how", ["QUIT", "end", "twice"])
def test_one_that_is_leaving_already_is_left_as_it_is(how: str) -> None:
    stage = Stage.begun(TableServer(Table({}), Environment()), clients=("a",))
    if how == "QUIT":
        stage.hear("a", b"QUIT\n")
    elif how == "end":
        stage.held.add("a")
        stage.hear("a", b"?\n")
        stage.end("a")
    else:
        stage.step(PlaceWanted("a"))
    stage.step(PlaceWanted("a"))
    stage.held.clear()
    stage.settle()
    expected = b"- ERROR BADNAME\n" if how == "end" else b"BYE\n"
    assert stage.take("a") == expected


def test_a_simulated_address_with_all_places_yields_one() -> None:
    """[P38]: hosts have names there, and every invariant is watched."""
    scene = Scene({"n1": "10.0.0.1"}, bounds=replace(Bounds(), clients_max=3))
    hog = scene.world.host("hog")
    many = [SimSocket(hog) for _ in range(3)]
    for stream in many:
        scene.world.dial(stream, scene.ls)
    scene.wait(0.1)
    for parted in (1, 2):
        assert scene.asker(b"n1\n").take() == b"n1 10.0.0.1 A IN\n"
        assert [bytes(stream.pipe_in.arrived) for stream in many] == (
            [b"BYE\n"] * parted + [b""] * (3 - parted)
        )
    assert scene.asker(b"n1\n").take() == b"- ERROR BUSY\n"  # each has one place
    for stream in many:
        stream.close()
    scene.wait(0.1)
