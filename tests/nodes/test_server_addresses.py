"""The servers that LS is told to ask: which addresses are refused, and that LS never asks itself.

Not here: what else can be wrong in a command (`tests/nodes/test_programs.py`).
"""

import argparse
import socket
from pathlib import Path
from typing import Any

import pytest

from core.addresses import Address, comes_to
from core.io.system import System
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.server_addresses import refuse_loops, resolver_address
from tests.processes.test_wildcard_apart import isolated
from tests.sim.scenes import Scene
from tests.sim.world import PORT
from tests.support.balancers import metric

End = tuple[Any, ...]
V4, V6 = socket.AF_INET, socket.AF_INET6


# -- addresses of resolvers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("127.0.0.2:5053", ("127.0.0.2", 5053)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[2001:db8::1]:5053", ("2001:db8::1", 5053)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
        ("[fe80::1%2]:5053", ("fe80::1%2", 5053)),
        ("169.254.1.1", ("169.254.1.1", 53)),
    ],
)
def test_an_address_that_can_be_asked_is_taken(text: str, found: tuple[str, int]) -> None:
    assert resolver_address(text) == found


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("0.0.0.0:5053", "write 127.0.0.1$"),
        ("[::]:5053", "write ::1$"),
        ("::", "write ::1$"),
        ("[::ffff:192.0.2.1]:5053", "write it as 192.0.2.1$"),
        ("::ffff:0.0.0.0", "write it as 0.0.0.0$"),
        ("224.0.0.251:5353", "write that of one resolver$"),
        ("255.255.255.255", "write that of one resolver$"),
        ("[ff02::fb%eth0]:5353", "write that of one resolver$"),
        ("fe80::1", "write it like fe80::1%eth0$"),
        ("[fe80::1]:5053", "write it like fe80::1%eth0$"),
        ("fe80::1%", "write it like"),
        ("[::1", "write it like"),
        ("[::1:5053", "write it like"),
        ("[::1]5053", "write it like"),
        ("[fe80::1]%eth0:53", "write it like"),
        ("127.0.0.1%eth0", "write it like"),
        ("192.0.2.1:0", "is not a port"),
        ("[fe80::1%eth0]:0", "is not a port"),
    ],
)
def test_an_address_that_never_works_is_refused(text: str, instead: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=instead):
        resolver_address(text)


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
        refuse_loops(System(), own, "", [(family, at)], "a table server")
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
