"""Sockets of datagrams at a wildcard address: each reply leaves from the address that was asked.

Tests that need addresses that this machine does not have run in a network namespace of their own,
by a child; where there can be none, they are skipped.

Not here: LS (`tests/processes/test_dns_loopback.py`), and what others' tools say
(`tests/tools/test_dns_tools.py`).
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from core.io import wildcard
from core.io.datagrams import DatagramSocket
from core.io.system import System
from core.io.wildcard import WildcardSocket
from tests.support.processes import PATIENCE_S, ROOT, wait_for

V4, V6 = socket.AF_INET, socket.AF_INET6
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


class Server:
    """A socket at the wildcard address of a family, which replies with what it was sent."""

    def __init__(self, family: int, admit: Callable[[str], bool] | None = None) -> None:
        self.family = family
        stream = System().take_datagrams((family, ("::" if family == V6 else "0.0.0.0", 0)))
        self.port: int = stream.getsockname()[1]
        self.one = DatagramSocket(stream, "x", admit)

    def take(self, count: int = 1) -> None:
        """Let the next datagrams wait to be sent back."""
        came: list[tuple[bytes, object]] = []

        def all_there() -> bool:
            came.extend(self.one.receive(count - len(came)))
            return len(came) == count

        wait_for(all_there, f"{count} datagrams")
        self.one.append(came)

    def client(self, host: str, whence: str = "") -> socket.socket:
        """Open a client at `whence` that hears only what comes from the address that it asks."""
        client = socket.socket(self.family, socket.SOCK_DGRAM)
        client.settimeout(PATIENCE_S)
        if whence:
            client.bind(socket.getaddrinfo(whence, 0, self.family, socket.SOCK_DGRAM)[0][4])
        client.connect(self.at(host))
        return client

    def at(self, host: str) -> tuple[object, ...]:
        found = socket.getaddrinfo(host, self.port, self.family, socket.SOCK_DGRAM)
        return found[0][4]

    def replies_from(self, asked: str) -> str:
        """Return whom a client that hears everybody hears."""
        with socket.socket(self.family, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            client.settimeout(PATIENCE_S)
            client.sendto(b"?", self.at(asked))
            self.take()
            self.one.send()
            assert not self.one.dropped
            return str(client.recvfrom(10)[1][0])

    def close(self) -> None:
        self.one.stream.close()


def replies_come_from_whom_was_asked(family: int, hosts: list[str], whence: str) -> None:
    """Check replies to a question from `whence`, which is where the routes would have a reply leave
    from, too."""
    server = Server(family)
    clients = [server.client(host, whence) for host in hosts * 2]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    server.take(len(clients))
    server.one.send()
    assert [client.recv(10) for client in clients] == [b"%d" % n for n in range(len(clients))]
    assert not server.one.dropped
    for client in clients:
        client.close()
    server.close()


def test_a_reply_leaves_from_the_ipv4_address_that_was_asked() -> None:
    """[P53]: also when one turn brings queries to several addresses."""
    replies_come_from_whom_was_asked(V4, ["127.0.0.1", "127.0.0.2", "127.9.9.9"], "127.0.0.1")


def test_a_reply_leaves_from_the_ipv6_loopback_address() -> None:
    replies_come_from_whom_was_asked(V6, ["::1"], "::1")


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


def test_a_broadcast_query_is_replied_to_from_an_own_address() -> None:
    """Linux says which address of the interface that is."""
    server = Server(V4)
    assert server.replies_from("127.255.255.255") == "127.0.0.1"
    server.close()


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
            assert server.one.dropped == (family == V4) and not server.one.has_waiting
        server.close()


def test_who_may_not_ask_a_wildcard_socket_is_not_heard() -> None:
    server = Server(V4, admit=lambda host: host == "127.0.0.1")
    with socket.socket(V4, socket.SOCK_DGRAM) as stranger, server.client("127.0.0.2") as client:
        stranger.bind(("127.0.0.3", 0))
        stranger.sendto(b"stranger", ("127.0.0.2", server.port))
        client.send(b"client")
        wait_for(lambda: (came := server.one.receive(1)) and came[0][0] == b"client", "the client")
    server.close()


@pytest.mark.parametrize(("family", "host"), [(V4, "127.0.0.1"), (V6, "::1")])
def test_a_socket_at_one_address_pays_nothing(family: int, host: str) -> None:
    stream = System().take_datagrams((family, (host, 0)))
    assert type(stream) is socket.socket
    stream.close()


def test_addresses_that_were_asked_are_remembered_within_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wildcard, "_REMEMBERED_MAX", 3)
    server = Server(V4)
    stream = server.one.stream
    assert isinstance(stream, WildcardSocket)
    for number in range(1, 9):
        with server.client(f"127.0.0.{number}") as client:
            client.send(b"?")
            server.take()
            server.one.send()
            assert client.recv(10) == b"?" and len(stream._controls) <= 3
    server.close()
