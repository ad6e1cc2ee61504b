"""An address that holds most places of a listener, and newcomers from others.

In the simulated world, where a host has the address that the test gives it.

Not here: what a bound says where nobody parts (`tests/io/test_acceptor.py`), and real addresses
(`tests/processes/test_places_apart.py`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.brain import Brain
from core.effects import Close, Send
from core.environment import Environment
from core.events import PlaceWanted
from core.io.connection import Connection
from core.io.frame_buffer import FrameBuffer, frame
from core.io.places import Places
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.nodes.test_dns_clients import TCP, started
from tests.sim.scenes import Asker
from tests.sim.world import FDS_FIRST
from tests.support.dns_clients import query
from tests.support.loops import Node, Script
from tests.support.stage import Stage

A, B = "192.0.2.1", "192.0.2.2"
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


# -- a table server --------------------------------------------------------------------------------


class House:
    """A table server, and its guests."""

    def __init__(self, brain: Brain | None = None, **bounds: float) -> None:
        server = TableServer(Table({b"x.example": ROW}), Environment())
        self.node = Node(brain or server, **bounds)
        self.wait = self.node.scene.wait
        self.hits = self.node.loop.hits

    def knock(self, address: str) -> Asker:
        return self.node.asker(address=address)

    def storm(self, *addresses: str) -> list[Asker]:
        """Connect all of these in one turn."""
        self.node.host.paused_until = self.node.world.t + 1.0
        guests = [self.knock(address) for address in addresses]
        self.wait(1.0)
        return guests

    def is_served(self, guest: Asker) -> bool:
        guest.say(b"x.example\n")
        self.wait(0.1)
        return guest.take() == ROW

    def may_have(self, sockets: int) -> None:
        """Give the server so many descriptors more than it has now."""
        self.node.host.fds_max = FDS_FIRST + len(self.node.host.open) + sockets

    @property
    def had_too_few(self) -> bool:
        return self.node.world.probes["accept runs out of descriptors"] > 0

    @property
    def replaced(self) -> object:
        return {value.key: value.value for value in self.node.loop.metrics()}["replaced"]


def test_the_longest_idle_of_many_says_bye_and_a_newcomer_is_in() -> None:
    """[P38]"""
    house = House(clients_max=4)
    many = [house.knock(A) for _ in range(4)]
    assert house.is_served(many[0])  # it is not the longest idle any more
    newcomer = house.knock(B)
    assert many[1].take() == b"BYE\n" and many[1].has_ended
    assert all(map(house.is_served, (newcomer, many[0], many[2], many[3])))
    assert (house.replaced, dict(house.hits)) == (1, {})
    line = "clients_max is reached, and 192.0.2.1 has 4: the longest idle parts"
    assert house.node.log.reports.count(line) == 1


def test_a_storm_takes_no_more_than_the_spare_descriptors() -> None:
    """[P38]: 4 of the 16 may be parting, and as many more wait for the end of the turn."""
    house = House(clients_max=20, accepts_per_turn=100)
    for _ in range(20):
        house.knock(A)
    house.may_have(8 + 1)
    for batch in range(3):
        storm = house.storm(*(f"198.51.{batch}.{n}" for n in range(12)))
        assert sum(map(house.is_served, storm)) == 4
        assert len(house.node.loop.acceptor.parting) == 4
    assert not house.had_too_few and house.hits["clients_max"] == 3 * 8


def test_a_storm_on_streams_that_owe_nothing_is_bounded() -> None:
    """[P38]: each has been sent everything at once, so it may be cut in the same turn."""
    closes = Script(lambda event: [Close(event.conn)] if isinstance(event, PlaceWanted) else [])
    house = House(closes, clients_max=30, accepts_per_turn=100)
    many = [house.knock(A) for _ in range(30)]
    house.may_have(8 + 1)
    house.storm(*(f"198.51.100.{number}" for number in range(24)))
    assert not house.had_too_few
    assert house.hits["clients_max"] == 24 - 8 and house.replaced == 8
    assert many[7].has_ended and not many[8].has_ended


def test_one_that_takes_nothing_is_not_cut_for_a_newcomer() -> None:
    """[P38]: what it is owed is still sent; meanwhile newcomers are told BUSY."""
    house = House(clients_max=6)
    many = [house.knock(A) for _ in range(6)]
    house.node.world.network.room = 100
    for number, guest in enumerate(many, 1):
        guest.reads = False
        house.node.do(Send(f"client-{number}", b"PONG\n" * 100))
    newcomers = [house.knock(f"198.51.100.{number}") for number in range(5)]
    assert newcomers[4].take() == b"- ERROR BUSY\n"
    assert all(map(house.is_served, newcomers[:4]))
    many[0].reads = True
    many[0].poll()
    house.wait(0.1)
    assert many[0].take() == b"PONG\n" * 100 + b"BYE\n"


@pytest.mark.parametrize("how", ["it has just come", "half a line of it", "bytes to it"])
def test_one_that_is_not_idle_has_another_part(how: str) -> None:
    """[P38]: it counts as not idle since it came, or bytes came in or went out."""
    house = House(clients_max=2)
    first = house.knock(A)
    if how == "it has just come":
        assert house.is_served(first)
    second = house.knock(A)
    if how == "half a line of it":
        first.say(b"x.exam")
    elif how == "bytes to it":
        house.node.do(Send("client-1", b"PONG\n"))
    house.wait(0.1)
    house.knock(B)
    parted = first if how == "it has just come" else second
    assert parted.take() == b"BYE\n" and house.replaced == 1


@pytest.mark.parametrize(
    ("there", "newcomers", "spare"),
    [([A, A, B], [B, A], 16), ([HERE] * 3, [B], 16), ([A] * 3, [B], 3)],
    ids=["half as many", "on this machine", "no spare descriptors"],
)
def test_nobody_parts_and_a_newcomer_is_told_busy(
    there: list[str], newcomers: list[str], spare: int
) -> None:
    """[P18] [P38]"""
    house = House(clients_max=3, descriptors_spare=spare)
    many = list(map(house.knock, there))
    for address in newcomers:
        assert house.knock(address).take() == b"- ERROR BUSY\n"
    assert all(map(house.is_served, many))
    assert (house.replaced, house.hits["clients_max"]) == (0, len(newcomers))


def test_one_that_leaves_by_itself_is_counted_once() -> None:
    house = House(clients_max=3)
    guests = [house.knock(address) for address in (A, A, A, B)]
    guests[0].close()
    house.wait(0.1)
    acceptor = house.node.loop.acceptor
    (listener,) = acceptor.listeners.values()
    assert len(listener.places) == 3 and not acceptor.parting
    for guest in guests[1:]:
        guest.close()
    house.wait(0.1)
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
