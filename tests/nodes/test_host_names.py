"""Names of table servers: at the start, while they are not known, and many at once.

Not here: the same with real processes (`tests/processes/test_hosts.py`).
"""

import select
import signal
from collections import Counter

import pytest

from core.addresses import Address
from core.bounds import Bounds
from core.io.lookup import _CHILD, Lookup
from core.io.loop import Loop
from core.io.system import System
from core.operator import Standing
from nodes.cli.arguments import Failure
from nodes.cli.host_names import check_name, find_hosts, find_servers
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import ServerSetup
from tests.sim.world import PORT, Observer, SimSystem, World
from tests.support.balancers import load_balancer
from tests.support.processes import PATIENCE_S
from tests.support.stage import Stage

T1, T2 = "TS1", "TS2"
HERE: tuple[Address, ...] = ((2, ("10.9.9.9", 1)),)
KNOWN: tuple[Address, ...] = ((2, ("10.9.9.8", 2)),)
HOSTS = [("one.example", 1), ("two.example", 2)]


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64, ".".join(["x" * 60] * 5), "\udcff", "."])
def test_what_can_be_no_host_name_is_a_mistake_of_usage(host: str) -> None:
    with pytest.raises(Failure, match="is not a host name") as raised:
        check_name(host)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("host", ["a", "a.b.", "ts_1", "bücher.example", "x" * 63, "1.2.3"])
def test_what_may_be_a_host_name_is_looked_up(host: str) -> None:
    check_name(host)


def test_an_address_is_itself_and_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(System, "look_up")
    found = find_hosts(System(), [("127.0.0.1", 5), ("127.0.0.1", 6), ("::1", 7)], 4, 1.0)
    assert [there[:2] for ((_, there),) in found] == [
        ("127.0.0.1", 5), ("127.0.0.1", 6), ("::1", 7)
    ]  # fmt: skip


def test_a_name_is_looked_up_once_for_all_its_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = Counter[str]()

    def look_up(self: System, host: str, port: int) -> Lookup:
        looked_up[host] += 1
        return Lookup(host, port)

    monkeypatch.setattr(System, "look_up", look_up)
    found = find_hosts(System(), [("localhost", port) for port in range(1, 61)], 4, PATIENCE_S)
    assert looked_up == {"localhost": 1}
    for port, addresses in enumerate(found, 1):
        assert addresses and {there[1] for _, there in addresses} == {port}


def test_what_is_not_found_in_time_is_left_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.io.lookup._CHILD", "import time; time.sleep(600)")
    assert find_hosts(System(), [("a.example", 1), ("127.0.0.1", 2)], 4, 0.1) == [
        (), ((2, ("127.0.0.1", 2)),)
    ]  # fmt: skip


def test_a_lookup_ends_in_time_whatever_signals_are_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signals may be blocked by whoever started us."""
    monkeypatch.setattr("core.io.lookup._CHILD_S", 1)
    child = "import time\ntime.sleep(600)"
    monkeypatch.setattr("core.io.lookup._CHILD", _CHILD.split("try:")[0] + child)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        lookup = Lookup("localhost", 1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        assert select.select([lookup], [], [], PATIENCE_S)[0]
        assert lookup.read() == () and lookup.why == "no reply"
    finally:
        lookup.close()


def test_of_what_is_known_already_nothing_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that takes over from another begins with what that one was told."""
    monkeypatch.delattr(System, "look_up")
    known = [ServerSetup("DNS1", HERE, HOSTS[0]), ServerSetup("DNS2", (), HOSTS[1])]
    named = [("quad9", HOSTS[0]), ("DNS2", ("127.0.0.1", 5))]
    found = find_servers(System(), named, known, 4, 1.0)
    assert found == [
        ServerSetup("quad9", HERE, HOSTS[0]),
        ServerSetup("DNS2", ((2, ("127.0.0.1", 5)),), ("127.0.0.1", 5)),
    ]


# -- a name that is not known yet ------------------------------------------------------------------


def unknown(*servers: tuple[Address, ...]) -> Stage:
    brain = load_balancer(servers, Bounds(), lambda: 0.0, hosts=HOSTS)
    return Stage.begun(brain)


def test_a_name_that_is_not_known_is_looked_up_until_it_is() -> None:
    """[P61]: after waits that double, up to a bound."""
    stage = unknown((), KNOWN)
    stage.connect(T2)
    assert stage.lookups == [(T1, "one.example", 1)] and stage.dialled == []
    stage.wait(600.0)
    assert len(stage.lookups) == 1, "one at a time"
    times = []
    for count in range(1, 12):
        stage.resolve(T1, (), "name or service not known")
        began = stage.now
        while len(stage.lookups) == count and stage.now < began + 60:
            stage.wait(0.01)
        times.append(round(stage.now - began, 1))
    assert times[0] < 0.1 and times[1:4] == [0.1, 0.2, 0.4] and times[-3:] == [5.0] * 3
    said = "TS1: cannot look up one.example (name or service not known); trying again; "
    assert stage.reports.count(said + "is the name spelled right?") == 11
    stage.resolve(T1, HERE)
    stage.wait(0.0)
    assert stage.dialled == [T1] and stage.addresses[T1] == HERE
    stage.connect(T1)
    assert len(stage.lookups) == 12


def test_ls_serves_with_no_name_known() -> None:
    """[P61]: what is asked times out, or is asked of whoever is found in time."""
    stage = unknown((), ())
    brain = stage.brain
    assert isinstance(brain, LoadBalancer)
    assert "TS1 DOWN (its address is not known)" in brain.unhealthy()
    values = {value.key: value.value for value in brain.metrics()}
    assert values["TS1.state"] == "DOWN" and values["TS1.redials"] == 0
    assert [one["address"] for one in brain.page_entries()["servers"].values()] == [
        "one.example:1",
        "two.example:2",
    ]
    stage.accept("a")
    stage.hear("a", b"x\n")
    stage.wait(4.0)
    stage.hear("a", b"y\n")
    stage.wait(2.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.resolve(T2, KNOWN)
    stage.wait(0.0)
    stage.connect(T2)
    assert stage.take(T2) == b"y\n"
    stage.hear(T2, b"y 10.0.0.1 A IN\n")
    assert stage.take("a") == b"y 10.0.0.1 A IN\n" and brain.unhealthy() == ""


def test_a_reload_looks_up_a_name_that_is_not_known_once() -> None:
    stage = unknown((), KNOWN)
    stage.connect(T2)
    stage.resolve(T1, (), "no reply")
    stage.reload()
    stage.resolve(T2, KNOWN)
    stage.resolve(T1, (), "no reply")
    assert stage.standings == [Standing.RELOADING, Standing.READY]
    assert sum("TS1: cannot look up" in report for report in stage.reports) == 2
    assert not any("taken to be where it was" in report for report in stage.reports)
    stage.reload()
    stage.resolve(T1, HERE)
    stage.wait(0.0)
    assert stage.dialled == [T1]


def test_a_drain_does_not_wait_for_a_name() -> None:
    stage = unknown((), ())
    stage.drain()
    assert stage.exit_code == 0 and stage.dialled == []


def test_sixty_names_are_looked_up_few_at_a_time_one_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """[P60]"""
    world = World("hosts")
    network = world.network
    network.short = network.refused = network.spurious = 0.0
    names = [f"TS{n}" for n in range(1, 61)]
    for name in names:
        world.host(name)
    ls = world.host("LS")
    by_turn: Counter[int] = Counter()
    most = 0

    def look_up(self: SimSystem, host: str, port: int, of: object = SimSystem.look_up) -> object:
        nonlocal most
        assert ls.loop is not None
        by_turn[ls.loop.turns] += 1
        most = max(most, len(ls.loop.host_lookups.to_read()) + 1)
        return of(self, host, port)  # type: ignore[operator]

    monkeypatch.setattr(SimSystem, "look_up", look_up)
    bounds = Bounds()

    def build(loop: Loop) -> LoadBalancer:
        hosts = [(name, PORT) for name in names]
        addresses: list[tuple[Address, ...]] = [((2, (name, PORT)),) for name in names]
        return load_balancer(addresses, bounds, lambda: 0.0, hosts=hosts)

    ls.run(bounds, Observer(world, "LS"), build, listens=True, links=60 + 4)
    world.run_until(1.0)
    assert not by_turn
    assert ls.signals is not None
    ls.signals.ring(SimSystem.hangup)
    world.run_until(20.0)
    assert sorted(ls.looked_up) == sorted(names)
    assert set(by_turn.values()) == {1} and most == bounds.lookups_max
    assert ls.standings == [Standing.RELOADING, Standing.READY]
    assert not any(type(holder).__name__ == "SimLookup" for holder in ls.open.values())
