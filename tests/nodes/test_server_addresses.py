"""The servers that LS is told to ask: that LS never asks itself, nor one server twice.

Not here: what else can be wrong in a command (`tests/nodes/test_programs.py`).
"""

import socket
from pathlib import Path
from typing import Any

import pytest

from core.addresses import Address, comes_to
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.system import System
from core.tls import ServerIdentity
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.server_addresses import (
    choose_resolvers,
    refuse_loops,
    refuse_own_lookups,
    warn_of_clear,
    warn_of_twins,
)
from nodes.cli.server_words import ResolverOption
from nodes.ls.setup import ServerSetup, Setup
from tests.processes.test_wildcard_apart import isolated
from tests.sim.scenes import Scene
from tests.sim.world import PORT
from tests.support.balancers import metric

End = tuple[Any, ...]
V4, V6 = socket.AF_INET, socket.AF_INET6


# -- LS itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "source", "destination", "is_ours"),
    [
        (("127.0.0.1", 5), ("127.0.0.1", 1), ("127.0.0.1", 5), True),
        (("127.0.0.1", 5), ("127.0.0.1", 1), ("127.0.0.1", 6), False),
        (("127.0.0.1", 5), ("127.0.0.1", 1), ("127.0.0.2", 5), False),
        (("0.0.0.0", 5), ("127.0.0.1", 1), ("127.0.0.2", 5), True),
        (("0.0.0.0", 5), ("192.0.2.2", 1), ("192.0.2.2", 5), True),
        (("0.0.0.0", 5), ("192.0.2.2", 1), ("192.0.2.3", 5), False),
        (("0.0.0.0", 5), ("::1", 1, 0, 0), ("::1", 5, 0, 0), False),
        (("::", 5, 0, 0), ("127.0.0.1", 1), ("127.0.0.1", 5), False),
        (("::", 5, 0, 0), ("::1", 1, 0, 0), ("::1", 5, 0, 0), True),
        (("::", 5, 0, 0), ("2001:db8::2", 1, 0, 0), ("2001:db8::2", 5, 0, 0), True),
        (("::", 5, 0, 0), ("2001:db8::2", 1, 0, 0), ("2001:db8::3", 5, 0, 0), False),
        (("127.0.0.1", 5), ("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 5, 0, 0), True),
        (("0.0.0.0", 5), ("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.9", 5, 0, 0), True),
        (("fe80::1", 5, 0, 2), ("fe80::1", 1, 0, 2), ("fe80::1", 5, 0, 2), True),
        (("fe80::1", 5, 0, 2), ("fe80::9", 1, 0, 3), ("fe80::1", 5, 0, 3), False),
    ],
)
def test_what_is_sent_there_comes_to_us(
    own: End, source: End, destination: End, is_ours: bool
) -> None:
    assert comes_to(own, source, destination) is is_ours


def is_refused(host: str, other: str) -> bool:
    """Return whether LS at this host may not ask the other one, at the same port."""
    family, _, _, _, at = socket.getaddrinfo(other, 5300, type=socket.SOCK_STREAM)[0]
    own: Address = (V6, (host, 5300, 0, 0)) if ":" in host else (V4, (host, 5300))
    try:
        refuse_loops(System(), [own], "", [(family, at)], "a table server")
    except Failure as failure:
        assert failure.exit_code == USAGE and "give one of the two another port" in str(failure)
        return True
    return False


def test_ls_does_not_ask_itself_by_any_loopback_address() -> None:
    """[P54]"""
    assert is_refused("127.0.0.1", "127.0.0.1") and is_refused("127.0.0.1", "0.0.0.0")
    assert is_refused("0.0.0.0", "127.9.9.9") and is_refused("0.0.0.0", "0.0.0.0")
    assert is_refused("127.0.0.1", "::ffff:127.0.0.1")
    assert not is_refused("127.0.0.1", "127.0.0.2") and not is_refused("127.0.0.2", "0.0.0.0")
    assert not is_refused("::", "127.0.0.1") and not is_refused("192.0.2.1", "127.0.0.1")


@pytest.mark.process
def test_ls_does_not_ask_itself_by_any_own_address() -> None:
    """[P54]: without a list of them, and where any address may be bound to (ip_nonlocal_bind)."""
    isolated(any_own_address)


def any_own_address() -> None:
    for number in range(2):
        for version in ("ipv4", "ipv6"):
            Path(f"/proc/sys/net/{version}/ip_nonlocal_bind").write_text(str(number))
        assert is_refused("0.0.0.0", "10.1.1.1") and is_refused("10.1.1.1", "10.1.1.1")
        assert is_refused("::", "fd00::2") and is_refused("::", "fd00::3")
        assert is_refused("::", "fe80::1%d0") and is_refused("::", "::1")
        assert not is_refused("0.0.0.0", "10.1.1.2") and not is_refused("10.1.1.1", "127.0.0.1")
        assert not is_refused("::", "fd00::9") and not is_refused("::", "fe80::9%d0")
        assert not is_refused("fd00::2", "fd00::3") and not is_refused("0.0.0.0", "fd00::2")


def test_a_ts_that_moves_to_where_ls_listens_is_not_dialled() -> None:
    """[P54]: its other addresses are; and when there are none it is down, until it moves on."""
    scene = Scene("")
    (link,) = scene.watch.brain.parts.upstreams.links
    came = metric(scene.watch.brain, "sessions")
    link.addresses = ((2, ("LS", PORT)), (2, ("TS1", PORT)))
    scene.puppets[0].reset()
    scene.wait_for(lambda: scene.puppets[0].accepted == 2)
    link.addresses = ((2, ("LS", PORT)),)
    scene.puppets[0].reset()
    scene.wait(5.0)
    assert link.life.state.name in ("DOWN", "DIALING") and scene.puppets[0].accepted == 2
    assert metric(scene.watch.brain, "sessions") == came  # LS was no client of its own
    link.addresses = ((2, ("TS1", PORT)),)
    scene.wait_for(lambda: scene.puppets[0].accepted == 3)


# -- resolvers of files, and those given twice -----------------------------------------------------

OURS: list[Address] = [(V4, ("127.0.0.1", 53)), (V6, ("::1", 53, 0, 0))]
FILE = "/etc/resolv.conf"


def of_file(*hosts: str) -> list[ResolverOption]:
    return [ResolverOption(host, 53, file=FILE) for host in hosts]


def chosen(
    resolvers: list[ResolverOption], dns: list[Address] = OURS
) -> tuple[list[str], list[str]]:
    """Return the hosts that are asked, and what the log says."""
    lines: list[bytes] = []
    log = Log("LS", lines.append, log_format=bare_line)
    hosts = [one.host for one in choose_resolvers(System(), resolvers, dns, log)]
    return hosts, [line.decode().rstrip() for line in lines]


def test_of_a_file_ls_itself_and_who_may_ask_it_are_left_out() -> None:
    """[P54] [P76]"""
    hosts, said = chosen(of_file("127.0.0.53", "192.0.2.1", "127.0.0.1", "::1", "192.0.2.2"))
    assert hosts == ["192.0.2.1", "192.0.2.2"]
    assert said == [
        f"{FILE}: 127.0.0.53 is left out: it is systemd-resolved, which may ask this load balancer",
        f"{FILE}: 127.0.0.1 is left out: it is this load balancer itself",
        f"{FILE}: ::1 is left out: it is this load balancer itself",
    ]


def test_an_ls_that_takes_no_dns_asks_all_of_a_file() -> None:
    hosts = ["127.0.0.53", "127.0.0.1"]
    assert chosen(of_file(*hosts), []) == (hosts, [])


def test_what_is_given_besides_a_file_is_asked_once() -> None:
    given = ResolverOption("2001:DB8::0:1", 53, "mine")
    hosts, said = chosen([*of_file("2001:db8::1", "192.0.2.1"), given])
    assert hosts == ["192.0.2.1", given.host]
    assert said == [f"{FILE}: 2001:db8::1 is left out: it is given already"]


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (
            ["127.0.0.53"],
            "since 127.0.0.53 would ask this load balancer; take /run/systemd/resolve/",
        ),
        (["127.0.0.1", "::1"], "since 127.0.0.1, ::1 would ask this load balancer; name another"),
    ],
)
def test_a_file_with_nothing_left_is_one_clear_error(hosts: list[str], said: str) -> None:
    """[P76]"""
    for more in [], [ResolverOption("192.0.2.1", 53)]:
        with pytest.raises(Failure, match=said) as raised:
            chosen([*of_file(*hosts), *more])
        assert raised.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("192.0.2.1", 53), ("192.0.2.1", 53, "quad9")),
        (("2001:db8::1", 53), ("2001:DB8:0::1", 53)),
        (("dns.example", 53), ("DNS.example.", 53)),
    ],
)
def test_one_resolver_in_two_words_is_refused(one: Any, other: Any) -> None:  # noqa: ANN401
    with pytest.raises(Failure, match="given twice; one is enough"):
        chosen([ResolverOption(*one), ResolverOption(*other)])
    assert len(chosen([ResolverOption(*one), ResolverOption(one[0], 5354)])[0]) == 2


def test_two_names_of_one_server_are_a_warning() -> None:
    """Names may stand for other addresses later."""
    lines: list[bytes] = []
    at: Address = (V4, ("192.0.2.1", 53))
    servers = [
        ServerSetup(name, addresses, (f"{name}.example", 53))
        for name, addresses in (("a", (at,)), ("b", ()), ("c", ((V4, ("192.0.2.2", 53)), at)))
    ]
    warn_of_twins(servers, Log("LS", lines.append, log_format=bare_line))
    assert lines == [b"c and a are at the same address; one is enough\n"]


@pytest.mark.parametrize("is_second_tier", [False, True])
def test_a_resolver_by_tls_beside_itself_in_the_clear_is_told(is_second_tier: bool) -> None:
    """In a later tier it is somebody's wish: asked where TLS is of no use."""
    here = ("192.0.2.1", 53)
    secure = ServerSetup("DNS1", ((V4, ("192.0.2.1", 853)),), here, ServerIdentity("a.example"))
    clear = ServerSetup("DNS2", ((V4, here),), here)
    other = ServerSetup("DNS3", ((V4, ("192.0.2.2", 53)),), here)
    lines: list[bytes] = []
    setup = Setup((), (secure, clear, other), tiers={"DNS2": 2} if is_second_tier else {})
    warn_of_clear(setup, Log("LS", lines.append, log_format=bare_line))
    said = b"DNS2 is asked in the clear, at 192.0.2.1, what DNS1 is asked there by TLS"
    assert [line.startswith(said) for line in lines] == ([] if is_second_tier else [True])


@pytest.mark.parametrize("text", ["nameserver 127.0.0.1\nnameserver ::1\n", "", None])
def test_a_name_that_only_ls_could_look_up_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    """[P76]: a file without a nameserver, or none, means this machine."""
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr("nodes.cli.resolver_file.SYSTEM_FILE", str(path))
    known = ServerSetup("DNS1", ((V4, ("192.0.2.1", 53)),), ("known.example", 53))
    unknown = ServerSetup("DNS2", (), ("unknown.example", 53))
    refuse_own_lookups(System(), [known], OURS)
    refuse_own_lookups(System(), [known, unknown], [(V4, ("127.0.0.1", 5354))])
    refuse_own_lookups(System(), [known, unknown], [])
    with pytest.raises(Failure, match=r"cannot look up 'unknown\.example'") as raised:
        refuse_own_lookups(System(), [known, unknown], OURS)
    assert raised.value.exit_code == USAGE
    path.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
    refuse_own_lookups(System(), [known, unknown], OURS)
