"""Acceptor: listeners under one loop, each with names, limits and an end of its own.

Everything is real but the signals. Not here: one listener (`tests/io/test_listener.py`), and who
parts for another (`tests/io/test_places.py`).
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from core.effects import Close, Effect, Send
from core.events import Ended, Event, Opened, Received, Role
from core.operator import DrainAsked
from nodes.cli.serving import LINES, STATUS_PAGE
from tests.sim.scenes import Asker
from tests.support.loops import BRISK, Node, QuietSystem, Script, listen_at, real_loop


class House:
    """A loop with both listeners, whose brain says what it hears."""

    def __init__(self, **bounds: int) -> None:
        self.system, self.brain = QuietSystem(), Script(echo)
        self.loop = real_loop(replace(BRISK, **bounds), self.system)
        here = (socket.AF_INET, ("127.0.0.1", 0))
        self.doors = {each.role: listen_at(self.loop, here, each) for each in (LINES, STATUS_PAGE)}
        self.loop.start(self.brain)
        self.guests: list[socket.socket] = []

    def knock(self, role: Role) -> socket.socket:
        """Connect somebody."""
        guest = socket.create_connection(self.doors[role][:2], timeout=5)
        self.guests.append(guest)
        self.turn()
        return guest

    def turn(self, times: int = 2) -> None:
        for _ in range(times):
            self.loop.turn()

    def opened(self) -> list[str]:
        return [event.conn for event in self.brain.of(Opened)]


def echo(event: Event) -> list[Effect]:
    match event:
        case Received(conn, data):
            return [Send(conn, data)]
        case Ended(conn):
            return [Close(conn)]
    return []


@pytest.fixture
def build() -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(**bounds: int) -> House:
        houses.append(House(**bounds))
        return houses[-1]

    yield make
    for house in houses:
        house.loop.close()
        for guest in house.guests:
            guest.close()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build(watchers_max=2, clients_max=3)


def test_too_many_of_one_kind_keep_nobody_of_the_other_out(house: House) -> None:
    """[P18]: a client that is too many is told; a watcher waits until another has gone."""
    watchers = [house.knock(Role.HTTP) for _ in range(3)]
    clients = [house.knock(Role.LINES) for _ in range(4)]
    assert clients[3].recv(100) == b"- ERROR BUSY\n"
    assert len(house.opened()) == 5
    assert house.loop.hits == {"watchers_max": 1, "clients_max": 1}
    count = {value.key: value.value for value in house.loop.metrics()}
    assert (count["turned_away"], count["not_admitted"]) == (1, 0)
    clients[0].sendall(b"x\n")
    watchers[0].sendall(b"y\n")
    house.turn(3)
    assert (clients[0].recv(100), watchers[0].recv(100)) == (b"x\n", b"y\n")
    watchers[2].sendall(b"z\n")
    watchers[1].close()
    house.turn(4)
    assert house.opened()[-1] == "watcher-3" and watchers[2].recv(100) == b"z\n"
    clients[1].close()
    house.turn(4)
    another = house.knock(Role.LINES)
    another.sendall(b"x\n")
    house.turn(3)
    assert another.recv(100) == b"x\n"


@pytest.mark.parametrize("most", [1, 2, 16])
def test_watchers_who_come_at_once_come_in_one_after_another(
    build: Callable[..., House], most: int
) -> None:
    """Never more than may be there, and none is closed."""
    some = build(watchers_max=most)
    waiting = [some.knock(Role.HTTP) for _ in range(18)]
    for number, guest in enumerate(waiting, 1):
        assert len(some.opened()) == min(18, number + most - 1)
        guest.sendall(b"x\n")
        some.turn(3)
        assert guest.recv(100) == b"x\n"
        guest.close()
        some.turn(3)
    assert some.loop.hits["watchers_max"] >= 18 - most


def test_places_of_watchers_are_kept_free_of_clients(build: Callable[..., House]) -> None:
    some = build(watchers_max=5, descriptors_max=35, descriptors_spare=16)
    for _ in range(10):
        some.knock(Role.LINES)
    standing = 3 + 2  # standard streams, signals
    assert len(some.opened()) == 35 - 16 - standing - 5


def test_a_signal_closes_the_door_of_clients_only(house: House) -> None:
    house.system.waker.send(b"\x0f")
    house.turn(3)
    assert house.brain.of(DrainAsked)
    house.knock(Role.HTTP)
    assert house.opened() == ["watcher-1"]
    with pytest.raises(ConnectionRefusedError):
        house.knock(Role.LINES)


def test_accept_trouble_is_told_once_until_it_is_over() -> None:
    """The loop tries again ten times a second, and clients that wait come in when it is over."""
    node = Node()
    line = "cannot accept: too many open files; trying again"
    for times in (1, 2):
        node.host.fds_max = 0
        node.asker()
        node.scene.wait(1.05)
        assert node.log.reports.count(line) == times
        assert node.loop.hits == {"accept_rest_s": 11 * times}
        node.host.fds_max = 1_000
        node.scene.wait(0.2)
        assert len(node.brain.of(Opened)) == times


def test_no_more_than_the_budget_is_accepted_in_one_turn() -> None:
    node = Node(accepts_per_turn=3)
    node.turned_by_hand()
    for number in range(20):
        Asker(node.world, f"many{number}").dial(node.host)
    node.scene.wait(0.5)
    there = []
    for _ in range(8):
        node.turn()
        there.append(len(node.loop.streams.accepted))
    assert there == [3, 6, 9, 12, 15, 18, 20, 20] and node.loop.hits == {"accepts_per_turn": 6}
