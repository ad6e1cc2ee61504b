"""How a server begins and ends, in the simulator: signals, a storm of connections, --once.

Not here: the same over processes (`tests/processes/test_signals.py`).
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.io.loop import Loop
from nodes.ts.reload import Reload
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.sim.scenes import Scene
from tests.sim.world import Host, Observer, SimSystem, Storm

ROW = b"x 10.0.0.1 A IN\n"
SMALL = replace(Bounds(), backlog_max=40, accepts_per_turn=4, clients_max=8, timeout_s=1.0)


class House:
    """A table server alone, without a watch: what it is, and who comes to it."""

    def __init__(self, *, once: bool = False, bounds: Bounds = SMALL, early: bytes = b"") -> None:
        self.scene = Scene("")
        self.world = self.scene.world
        self.host: Host = self.world.host("server")
        self.host.early = list(early)
        self.brain: TableServer

        def build(loop: Loop) -> TableServer:
            table = Table({b"x": ROW})
            read = Reload("table", read=lambda path: iter([b"x 10.0.0.1 A\n"]))  # type: ignore[arg-type,return-value]
            self.brain = TableServer(table, Environment(bounds, loop.hits), reload=read, once=once)
            return self.brain

        self.host.run(bounds, Observer(self.world, "server"), build, listens=True)

    def metric(self, key: str) -> object:
        return {value.key: value.value for value in self.brain.metrics()}[key]


def storming() -> tuple[House, Storm]:
    house = House()
    storm = Storm(house.world, house.host, waiting=5, most=20_000)
    storm.rage()
    house.scene.wait(0.01)
    assert storm.come > SMALL.backlog_max
    return house, storm


def test_a_drain_in_a_storm_accepts_a_bounded_number() -> None:
    """[P19]: some in each turn, and ends when its time is over, counted from the signal."""
    house, storm = storming()
    came, began = storm.come, house.world.t
    house.host.ring(15)
    before, most_in_a_turn = storm.come, 0
    while house.world.step(began + 10.0) and house.host.exit_code is None:
        most_in_a_turn = max(most_in_a_turn, storm.come - before)
        before = storm.come
    assert house.host.exit_code == 0
    # In the turn in which the signal is read some have been accepted before it.
    assert storm.come - came <= SMALL.backlog_max + 1 + SMALL.accepts_per_turn
    assert most_in_a_turn <= 2 * SMALL.accepts_per_turn
    assert house.world.t - began <= SMALL.drain_s(with_dns=False) + 0.001


def test_a_second_signal_is_heard_in_a_storm() -> None:
    house, _ = storming()
    began = house.world.t
    house.host.ring(15)
    house.world.step(began + 1.0)
    house.host.ring(15)
    while house.world.step(began + 10.0) and house.host.exit_code is None:
        pass
    assert house.host.exit_code == 1 and house.world.t - began < 0.01


@pytest.mark.parametrize("waiting", [0, 1, 30])
def test_who_waits_when_the_signal_comes_is_still_served(waiting: int) -> None:
    house = House(bounds=replace(SMALL, clients_max=100))
    house.host.paused_until = house.world.t + 5.0
    askers = [house.scene.asker() for _ in range(waiting)]
    for asker in askers:
        asker.dial(house.host)
        asker.say(b"x\n")
    house.scene.wait(0.5)
    house.host.ring(15)
    house.scene.wait(5.0)
    assert [asker.take() for asker in askers] == [ROW + b"BYE\n"] * waiting
    for asker in askers:
        asker.end()
    house.scene.wait(0.5)
    assert house.host.exit_code == 0


def test_hangups_before_the_loop_are_one_reload_after_the_start() -> None:
    house = House(early=bytes([SimSystem.hangup] * 3))
    house.scene.wait(0.1)
    assert house.metric("reloads") == 1 and house.host.exit_code is None


def test_a_signal_to_end_before_the_loop_is_a_drain() -> None:
    house = House(early=b"\x0f")
    house.scene.wait(0.1)
    assert house.host.exit_code == 0


def test_once_one_accepted_before_the_first_byte_is_told_busy() -> None:
    """[P56]: over a network, whoever is read first."""
    house = House(once=True)
    one, two, three = (house.scene.asker() for _ in range(3))
    for asker in (one, two, three):
        asker.dial(house.host)
    house.scene.wait(0.1)
    assert house.host.listener is not None and house.host.listener.is_listening
    two.say(b"x")
    house.scene.wait(0.1)
    one.say(b"x\n")
    house.scene.wait(0.1)
    assert one.take() == three.take() == b"- ERROR BUSY\nBYE\n"
    two.say(b"\nQUIT\n")
    house.scene.wait(0.1)
    assert two.take() == ROW + b"BYE\n"
    assert house.metric("asked") == 1
    for asker in (one, two, three):
        asker.end()
    house.scene.wait(0.1)
    assert house.host.exit_code == 0


def test_a_watchdog_hears_twice_in_its_time_if_there_is_one() -> None:
    house = House()
    house.scene.wait(100.0)
    assert house.host.alive_at == []
    host = house.world.host("watched")
    host.watchdog_s = 3.0
    began = house.world.t
    host.run(
        SMALL,
        Observer(house.world, "watched"),
        lambda loop: TableServer(Table({}), Environment(SMALL)),
        listens=True,
    )
    house.scene.wait(30.0)
    told = [at - 1000.0 - began for at in host.alive_at]
    assert len(told) == 20 or len(told) == 21
    gaps = [later - earlier for earlier, later in pairwise(told)]
    assert told[0] < 0.01 and max(gaps) < 1.6
    host.freeze(house.world.t + 10.0)  # a loop that stands still says nothing
    count = len(host.alive_at)
    house.scene.wait(9.0)
    assert len(host.alive_at) == count
