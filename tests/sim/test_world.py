"""The simulated network's manners that no planted bug and no row of the fault matrix would miss.

Not here: stories in it (`tests/sim/test_story.py`).
"""

import pytest

from tests.sim.sockets import SimDatagrams, SimDialled, SimSocket, SlowReader
from tests.sim.world import World


def calm_world() -> World:
    """Build a world without chance in its network."""
    world = World("manners")
    network = world.network
    network.short = network.refused = network.spurious = 0.0
    network.latency_s, network.room, world.stray = 0.01, 10, 1
    return world


def pair() -> tuple[World, SimSocket, SimSocket]:
    """Build a connection in such a world: the dialled end, and the other."""
    world = calm_world()
    here, there = world.host("here"), world.host("there")
    there.listener = SimSocket(there, is_listening=True)
    dialled = SimSocket(here)
    world.dial(dialled, there)
    world.run_until(1.0)
    accepted, _ = there.listener.accept()
    return world, dialled, accepted


def test_a_full_network_takes_a_part_and_then_nothing() -> None:
    world, here, there = pair()
    assert here.send(b"x" * 30) == 10 and not here.can_write()
    with pytest.raises(BlockingIOError):
        here.send(b"x")
    world.run_until(2.0)
    assert there.recv(20) == b"x" * 10 and here.can_write()


@pytest.mark.parametrize("is_read", [True, False])
def test_a_close_with_unread_input_loses_what_is_under_way(is_read: bool) -> None:
    world, here, there = pair()
    here.send(b"to")
    world.run_until(2.0)
    if is_read:
        there.recv(9)
    there.send(b"back")
    there.close()
    world.run_until(3.0)
    if is_read:
        assert here.recv(9) == b"back" and here.recv(1) == b""
        here.send(b"anybody?")  # comes back as a reset
        world.run_until(4.0)
    with pytest.raises(ConnectionResetError):
        here.recv(1)
    with pytest.raises(OSError, match="not connected"):
        here.end()


def test_what_arrived_before_a_reset_can_still_be_read() -> None:
    world, here, there = pair()
    there.send(b"before")
    world.run_until(2.0)
    there.abort()
    assert here.recv(100) == b"before"
    with pytest.raises(ConnectionResetError):
        here.recv(100)


def test_a_dial_to_a_full_backlog_waits_for_its_turn() -> None:
    world, here, there = pair()
    world.backlog_max = 1
    dials = [SimSocket(here.host) for _ in range(2)]
    for dial in dials:
        world.dial(dial, there.host)
        world.run_until(world.t + 1)
    assert [dial.is_connecting for dial in dials] == [False, True]
    there.host.listener.accept()  # type: ignore[union-attr]
    world.run_until(world.t + 2)
    assert not dials[1].is_connecting


def test_descriptors_are_the_lowest_that_are_free() -> None:
    _, here, there = pair()
    one, two = SimSocket(there.host), SimSocket(there.host)
    assert (here.fd, there.fd, one.fd, two.fd) == (3, 4, 5, 6)
    one.close()
    assert SimSocket(there.host).fd == 5


def test_a_host_has_a_clock_of_its_own() -> None:
    world = calm_world()
    host = world.host("here")
    host.rate = 1.1
    world.run_until(10.0)
    assert host.clock() == pytest.approx(1011.0)


def test_sockets_of_datagrams_have_room_for_so_many() -> None:
    """Also while their host stands still; it reads what waits when it thaws."""
    world = calm_world()
    here, there = world.host("here"), world.host("there")
    here.room, there.room = 3, 4
    dialled, socket = SimDialled(here, there, there.address), SimDatagrams(there)
    taken: list[float] = []
    there.on_touch = SlowReader(socket, lambda data, port: taken.append(world.t), None).poll
    there.freeze(3.0)
    for _ in range(9):
        world.fly(b"x", here, there)
        socket.sendto(b"x", ("here", dialled.port))
    world.run_until(2.9)
    assert len(dialled.arrived) == 3 and dialled.overflowed == 6 and not taken
    world.run_until(4.0)
    assert taken == [3.0] * 4 and socket.overflowed == 5
