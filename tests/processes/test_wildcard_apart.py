"""Replies at a wildcard address, in a network namespace with addresses that the tests need.

By a child; where there can be none, they are skipped. Not here: what this machine's own addresses
show (`tests/io/test_wildcard.py`).
"""

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.io.test_wildcard import V4, V6, Server, replies_come_from_whom_was_asked
from tests.support.processes import PATIENCE_S, ROOT

_SETUP = """\
ip link set lo up
ip addr add 10.1.1.1/32 dev lo
ip link add name d0 type veth peer name d1
ip link set d1 addrgenmode none up
ip link set d0 addrgenmode none up
echo 1 > /proc/sys/net/ipv6/conf/d1/disable_ipv6
ip addr add fd00::2/64 dev d0 nodad
ip addr add fd00::3/64 dev d0 nodad
ip addr add fe80::1/64 dev d0 nodad
ip addr add fe80::2/64 dev d0 nodad
ip route add local 10.77.0.0/16 dev lo
ip -6 route add local fd77::/64 dev lo
"""


def isolated(story: Callable[[], None]) -> None:
    """Run a function of a module in a network of its own. Skips where that cannot be."""
    own = ["unshare", "--user", "--map-root-user", "--net", "sh", "-ec"]
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("no unshare, or no ip")
    if subprocess.run([*own, _SETUP], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    module = f"tests.{story.__module__.removeprefix('tests.')}"
    command = f"from {module} import {story.__name__} as story; story()"
    run = subprocess.run(
        [*own, f'{_SETUP}exec "$0" -c "$1"', sys.executable, command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,  # it says itself what it waits for
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.process
def test_a_reply_leaves_from_the_ipv6_address_that_was_asked() -> None:
    """[P53]: a link-local one, too."""
    isolated(ipv6_addresses)


def ipv6_addresses() -> None:
    replies_come_from_whom_was_asked(V6, ["fd00::2", "fd00::3"], "fd00::2")
    replies_come_from_whom_was_asked(V6, ["fe80::1%d0", "fe80::2%d0"], "fe80::1%d0")
    replies_come_from_whom_was_asked(V6, ["fe80::1%d0", "fe80::2%d0"], "fd00::2")


@pytest.mark.process
def test_a_reply_leaves_from_an_address_of_a_local_route() -> None:
    """[P53]: a whole network may be this machine's own, without an interface that has it."""
    isolated(local_routes)


def local_routes() -> None:
    for family, asked, whence in (
        (V4, ["10.77.1.2", "10.77.3.4"], "10.1.1.1"),
        (V6, ["fd77::1", "fd77::2:3"], "fd00::2"),
    ):
        replies_come_from_whom_was_asked(family, asked, whence)


@pytest.mark.process
def test_a_multicast_query_is_replied_to_from_an_own_address() -> None:
    isolated(multicast_query)


def multicast_query() -> None:
    server = Server(V6)
    assert server.replies_from("ff02::1%d0") in ("fe80::1", "fe80::2")
    server.close()


@pytest.mark.process
def test_a_reply_from_an_address_that_is_gone_is_counted() -> None:
    """And those behind it go out. A reply over IPv6 leaves all the same, for nobody."""
    isolated(address_that_is_gone)


def address_that_is_gone() -> None:
    for family, gone, stays in ((V4, "10.1.1.1", "127.0.0.1"), (V6, "fd00::3", "fd00::2")):
        server = Server(family)
        with server.client(gone) as one, server.client(stays) as two:
            one.send(b"1")
            two.send(b"2")
            server.take(2)
            device = "lo" if family == V4 else "d0"
            size = 32 if family == V4 else 64
            subprocess.run(["ip", "addr", "del", f"{gone}/{size}", "dev", device], check=True)
            server.one.send()
            assert two.recv(10) == b"2"
            assert server.one.dropped == (family == V4) and not server.one.waiting
        server.close()
