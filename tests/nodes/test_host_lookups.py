"""Host lookups: where servers are, asked again when LS reloads.

Not here: lookups themselves, and LS before servers that nobody knows
(`tests/processes/test_hosts.py`).
"""

from core.addresses import Address
from core.bounds import Bounds
from core.effects import Abort, Effect, Resolve
from core.environment import Environment
from core.events import Opened, Resolved
from core.operator import Level, Notify, Report, Standing
from nodes.ls.host_lookups import HostLookups
from nodes.ls.link import Link
from nodes.ls.table_link import TableLink

HERE = ((2, ("10.0.0.1", 1)),)
THERE = ((2, ("10.0.0.2", 1)),)
RELOADING, READY = Notify(Standing.RELOADING), Notify(Standing.READY)
ASKED = [Resolve("TS1", "ts1", 1), Resolve("TS2", "ts2", 2)]


class Servers:
    """TS1 and TS2 have host names and are up; TS3 has none."""

    def __init__(self, addresses: tuple[Address, ...] = HERE, lookup_each_s: float = 1.0) -> None:
        env = Environment(Bounds(lookup_each_s=lookup_each_s))
        hosts = [("ts1", 1), ("ts2", 2), None]
        self.all = [
            TableLink(Link(f"TS{number}", addresses, env, 1 << number), env, host)
            for number, host in enumerate(hosts, 1)
        ]
        self.lookups = HostLookups(self.all)
        for server in self.all:
            server.woken(0.0)
            if addresses:
                server.receive(Opened(server.link.conn), 0.0)

    def found(self, conn: str, *addresses: Address, why: str = "") -> list[Effect]:
        return self.lookups.resolved(Resolved(conn, addresses, why), 1.0)


def told(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Report)]


def unmoved(server: str) -> Report:
    text = f"{server} has the same address as before"
    return Report(text, event="host_unmoved", about={"server": server})


def test_a_reload_looks_up_those_that_have_a_host() -> None:
    servers = Servers()
    assert servers.lookups.reload() == [RELOADING, *ASKED]
    assert servers.found("TS1", *HERE) == [unmoved("TS1")]
    assert servers.found("TS2", *HERE) == [unmoved("TS2"), READY]


def test_without_hosts_a_reload_looks_nothing_up() -> None:
    assert HostLookups([]).reload() == []


def test_reloads_during_lookups_make_one_more_round() -> None:
    servers = Servers()
    servers.lookups.reload()
    servers.found("TS1", *HERE)
    assert servers.lookups.reload() == servers.lookups.reload() == [RELOADING]
    assert servers.found("TS2", *HERE)[1:] == [RELOADING, *ASKED]
    servers.found("TS1", *HERE)
    assert servers.found("TS2", *HERE)[1:] == [READY]


def test_a_server_that_has_moved_is_dialled_elsewhere() -> None:
    servers = Servers()
    servers.lookups.reload()
    effects = servers.found("TS1", *THERE)
    assert effects[-1] == Abort("TS1")
    found, down = told(effects)
    assert found == "TS1: ts1 is at 10.0.0.2:1 now" and "TS1 is down (it has moved)" in down
    assert servers.all[0].link.addresses == THERE
    assert servers.found("TS1", *THERE) == []


def test_a_server_found_where_another_one_is_is_a_warning() -> None:
    servers = Servers()
    servers.found("TS1", *THERE)
    (report,) = [
        effect
        for effect in servers.found("TS2", *HERE, *THERE)
        if isinstance(effect, Report) and effect.level is Level.WARNING
    ][:1]
    assert report.text == "TS2 and TS1 are at the same address; one is enough"
    assert report.event == "server_twice"


def test_the_same_addresses_in_another_order_are_no_move() -> None:
    servers = Servers(HERE + THERE)
    assert servers.found("TS1", *THERE, *HERE) == []


def test_a_lookup_that_fails_leaves_a_server_where_it_was() -> None:
    servers = Servers()
    servers.lookups.reload()
    (text,) = told(servers.found("TS1", why="timed out"))
    assert text == "TS1: cannot look up ts1 (timed out); it is taken to be where it was"
    assert servers.all[0].link.addresses == HERE


def test_the_more_servers_nobody_knows_the_longer_each_waits() -> None:
    """A lookup costs a process: all of them together, one in `lookup_each_s`."""
    servers = Servers((), lookup_each_s=30.0)
    for _ in range(30):
        servers.found("TS1", why="not known")
    servers.all[0].look()
    assert servers.all[0].due == 1.0 + 2 * 30.0


def test_a_drain_looks_nothing_up_because_of_a_reload() -> None:
    servers = Servers()
    servers.lookups.reload()
    servers.lookups.reload()
    servers.lookups.drain()
    assert servers.lookups.reload() == []
    servers.found("TS1", *HERE)
    assert servers.found("TS2", *HERE)[1:] == []


def test_at_the_end_no_server_is_moved_and_nothing_is_said() -> None:
    servers = Servers()
    servers.lookups.end()
    assert servers.found("TS1", *THERE) == []
    unknown = Servers(())
    unknown.lookups.end()
    assert unknown.found("TS1", why="not known") == []
