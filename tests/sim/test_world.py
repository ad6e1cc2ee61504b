"""The simulated network's manners, one by one.

Not here: stories in it (`tests/sim/test_story.py`).
"""

import errno
from itertools import pairwise
from pathlib import Path

import pytest

from core.bounds import Bounds
from core.datagram_events import Datagrams
from core.effects import Effect
from core.events import Event
from tests.sim.sockets import SimDatagrams, SimDialled, SimSocket, SlowReader
from tests.sim.stories import Cluster
from tests.sim.world import Host, Observer, World

ROOT = Path(__file__).parents[2]


# -- the network's manners -------------------------------------------------------------------------


def pair(room: int = 1_000_000) -> tuple[World, SimSocket, SimSocket]:
    """Build a world without chance in its network, and a connection in it: the dialled end, the
    other."""
    world = World("manners")
    network = world.network
    network.short = network.refused = network.spurious = 0.0
    network.latency_s, network.room = 0.01, room
    here, there = world.host("here"), world.host("there")
    there.listener = SimSocket(there)
    there.listener.is_listening = True
    dialled = SimSocket(here)
    world.dial(dialled, there)
    world.run_until(world.t + 1)
    accepted, _ = there.listener.accept()
    return world, dialled, accepted


def read(stream: SimSocket) -> bytes:
    data = b""
    while stream.can_read():
        piece = stream.recv(7)
        if not piece:
            break
        data += piece
    return data


def test_bytes_arrive_later_in_order_and_the_end_after_them() -> None:
    world, here, there = pair()
    for n in range(50):
        here.send(b"%02d " % n)
    here.end()
    assert not there.can_read()
    world.run_until(world.t + 1)
    assert read(there) == b"".join(b"%02d " % n for n in range(50))
    assert there.recv(1) == b""
    there.send(b"still")
    world.run_until(world.t + 1)
    assert read(here) == b"still"


def test_a_full_network_takes_a_part_and_then_nothing() -> None:
    world, here, there = pair(room=10)
    assert here.send(b"x" * 30) == 10
    assert not here.can_write()
    with pytest.raises(BlockingIOError):
        here.send(b"x")
    world.run_until(world.t + 1)
    read(there)
    assert here.can_write()


def test_a_close_with_unread_input_loses_what_is_under_way() -> None:
    world, here, there = pair()
    here.send(b"unread")
    world.run_until(world.t + 1)
    there.send(b"lost")
    there.close()
    world.run_until(world.t + 1)
    with pytest.raises(ConnectionResetError):
        here.recv(1)


def test_a_close_with_nothing_unread_delivers_everything() -> None:
    world, here, there = pair()
    there.send(b"kept")
    there.close()
    world.run_until(world.t + 1)
    assert read(here) == b"kept" and here.recv(1) == b""


def test_bytes_for_one_who_is_gone_come_back_as_a_reset() -> None:
    world, here, there = pair()
    there.close()
    here.send(b"anybody?")
    world.run_until(world.t + 1)
    with pytest.raises(ConnectionResetError):
        here.send(b"again")
    with pytest.raises(OSError, match="not connected"):
        here.end()


def test_what_arrived_before_a_reset_can_still_be_read() -> None:
    world, here, there = pair()
    there.send(b"before")
    world.run_until(world.t + 1)
    there.abort()
    assert here.recv(100) == b"before"
    with pytest.raises(ConnectionResetError):
        here.recv(100)


@pytest.mark.parametrize("both", [False, True])
def test_a_cut_holds_bytes_until_it_heals_one_way_or_both(both: bool) -> None:
    world, here, there = pair()
    until = world.t + 5
    world.cut(here.host, there.host, until)
    if both:
        world.cut(there.host, here.host, until)
    here.send(b"to")
    there.send(b"back")
    world.run_until(until - 1)
    assert not there.can_read()
    assert here.can_read() is not both
    world.run_until(until + 1)
    assert read(there) == b"to" and read(here) == b"back"


def test_dials_are_refused_hang_or_meet_themselves() -> None:
    world, here, there = pair()
    world.backlog_max = 1
    first, second = SimSocket(here.host), SimSocket(here.host)
    world.dial(first, there.host)
    world.run_until(world.t + 1)
    world.dial(second, there.host)
    world.run_until(world.t + 1)
    assert not first.is_connecting and second.is_connecting
    there.host.listener.accept()  # type: ignore[union-attr]
    world.run_until(world.t + 2)
    assert not second.is_connecting
    world.cut(here.host, there.host, world.t + 3)
    hanging = SimSocket(here.host)
    world.dial(hanging, there.host)
    world.run_until(world.t + 2)
    assert hanging.is_connecting
    there.host.listener = None
    world.run_until(world.t + 3)
    assert hanging.error == errno.ECONNREFUSED
    world.own_dials = 1.0
    own = SimSocket(here.host)
    world.dial(own, there.host)
    world.run_until(world.t + 1)
    assert own.getsockname() == own.getpeername()


def test_descriptors_are_the_lowest_that_are_free_and_run_out() -> None:
    world, here, there = pair()
    host = there.host
    assert (here.fd, there.fd) == (3, 4)
    one, two = SimSocket(host), SimSocket(host)
    assert (one.fd, two.fd) == (5, 6)
    one.close()
    assert SimSocket(host).fd == 5
    host.fds_max = 7
    world.dial(SimSocket(here.host), host)
    world.run_until(world.t + 1)
    with pytest.raises(OSError, match="Too many open files"):
        host.listener.accept()  # type: ignore[union-attr]


def test_a_silent_death_is_noticed_late_and_a_loud_one_at_once() -> None:
    for silently, noticed_s in ((True, 15.0), (False, 0.0)):
        world, here, there = pair()
        died_at = world.t
        there.host.die(silently)
        while not here.is_reset:
            world.run_until(world.t + 0.5)
        assert noticed_s <= world.t - died_at <= noticed_s + 1.0


def test_a_connection_may_be_gone_before_it_is_accepted() -> None:
    world, here, there = pair()
    world.aborts = 1.0
    world.dial(SimSocket(here.host), there.host)
    world.run_until(world.t + 1)
    with pytest.raises(ConnectionAbortedError):
        there.host.listener.accept()  # type: ignore[union-attr]


def test_chance_cuts_refuses_and_lies() -> None:
    world, here, there = pair()
    world.network.short, world.network.spurious = 1.0, 1.0
    sizes = {here.send(b"x" * 100) for _ in range(50)}
    assert len(sizes) > 10 and max(sizes) <= 100
    assert world.lie(there) and not there.can_read()
    world.network.refused = 1.0
    with pytest.raises(BlockingIOError):
        here.send(b"x")


def test_a_pause_and_a_clock_of_its_own() -> None:
    cluster = Cluster(1)
    ls, world = cluster.ls, cluster.world
    ls.rate = 1.1
    before = ls.clock()
    world.run_until(world.t + 10)
    assert ls.clock() - before == pytest.approx(11.0, abs=0.01)
    ls.paused_until = world.t + 5
    assert ls.loop is not None
    turns = ls.loop.turns
    world.run_until(world.t + 4.9)
    assert ls.loop.turns == turns


def datagrams(room: int | None = None) -> tuple[World, Host, SimDatagrams]:
    """Build a world without chance in its network, a host that sends, and a socket of this room."""
    world = World("datagrams")
    network = world.network
    network.refused, network.latency_s, world.stray = 0.0, 0.001, 1
    here, there = world.host("here"), world.host("there")
    there.room = room
    return world, here, SimDatagrams(there)


def send(world: World, here: Host, socket: SimDatagrams, count: int) -> None:
    for number in range(count):
        world.fly(b"%d" % number, here, socket.host)


@pytest.mark.parametrize(("room", "kept"), [(None, 20), (7, 7)])
def test_a_full_socket_of_datagrams_loses_what_comes(room: int | None, kept: int) -> None:
    world, here, socket = datagrams(room)
    told: list[bytes] = []
    socket.on_arrival = lambda data, who: told.append(data)
    send(world, here, socket, 20)
    world.run_until(1.0)
    assert len(socket.arrived) == len(told) == kept
    assert socket.overflowed == world.probes["a socket overflows"] == 20 - kept
    socket.recvfrom(1)
    send(world, here, socket, 1)
    world.run_until(2.0)
    assert len(socket.arrived) == kept  # there was room again


def test_a_full_dialled_socket_loses_what_comes() -> None:
    world, here, socket = datagrams()
    here.room = 3
    dialled = SimDialled(here, socket.host)
    for _ in range(5):
        socket.sendto(b"x", ("here", dialled.port))
    world.run_until(1.0)
    assert len(dialled.arrived) == 3 and dialled.overflowed == 2


@pytest.mark.parametrize(("apart_s", "is_lossy"), [(0.0, True), (0.02, False)])
def test_a_slow_reader_overflows_under_load_only(apart_s: float, is_lossy: bool) -> None:
    """The same fifty, at once and spread: what is lost depends on how they come."""
    world, here, socket = datagrams(room=10)
    taken: list[float] = []
    reader = SlowReader(socket, lambda data, port: taken.append(world.t), per_second=100)
    socket.host.on_touch = reader.poll
    for number in range(50):
        world.at(number * apart_s, lambda: send(world, here, socket, 1))
    world.run_until(5.0)
    assert (socket.overflowed > 0) is is_lossy
    assert len(taken) == 50 - socket.overflowed
    assert all(later - one > 0.0099 for one, later in pairwise(taken))


def test_a_reader_without_a_rate_takes_all_at_once() -> None:
    world, here, socket = datagrams(room=50)
    reader = SlowReader(socket, lambda data, port: None, per_second=None)
    socket.host.on_touch = reader.poll
    send(world, here, socket, 50)
    world.run_until(0.01)
    assert not socket.arrived and not socket.overflowed


def test_a_narrow_way_loses_what_is_too_much_until_it_heals() -> None:
    world, here, socket = datagrams()
    world.narrow(here, socket.host, most=5, within_s=1.0)
    for at in (0.0, 0.5, 1.1):
        world.at(at, lambda: send(world, here, socket, 4))
    world.run_until(0.9)
    assert len(socket.arrived) == 5 and world.probes["a way is too narrow"] == 3
    world.run_until(1.3)
    assert len(socket.arrived) == 9
    world.fly(b"back", socket.host, here)  # the other way is not narrow
    world.heal()
    send(world, here, socket, 20)
    world.run_until(2.0)
    assert len(socket.arrived) == 29 and world.probes["a way is too narrow"] == 3


def test_a_host_that_says_all_twice_is_heard_twice() -> None:
    world, here, socket = datagrams()
    here.says_twice = True
    send(world, here, socket, 3)
    world.run_until(1.0)
    assert len(socket.arrived) == 6


def test_a_frozen_host_reads_what_waits_when_it_thaws() -> None:
    world, here, socket = datagrams(room=4)
    taken: list[float] = []
    reader = SlowReader(socket, lambda data, port: taken.append(world.t), per_second=None)
    socket.host.on_touch = reader.poll
    socket.host.freeze(3.0)
    send(world, here, socket, 9)
    world.run_until(2.9)
    assert not taken and len(socket.arrived) == 4
    world.run_until(4.0)
    assert taken == [3.0] * 4 and socket.overflowed == 5


class CountingBrain:
    """A brain that counts the datagrams of each event."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def deadline(self) -> float | None:
        return None

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Datagrams):
            self.counts.append(len(event.datagrams))
        return []


def test_datagrams_are_read_so_many_in_one_turn() -> None:
    world, brain = World("full"), CountingBrain()
    ls, resolver = world.host("LS"), world.host("resolver")
    bounds = Bounds(datagrams_per_turn=5)
    ls.run(bounds, Observer(world, "LS"), lambda _: brain, listens=False, with_dns=True)
    assert ls.datagrams is not None
    ls.paused_until = 1.0
    for _ in range(12):
        world.fly(b"x", resolver, ls)
    world.run_until(20.0)
    assert sum(brain.counts) == 12 and max(brain.counts) <= 5
