"""Sockets of datagrams at a wildcard address: each reply leaves from the address that was asked.

Not here: addresses that this machine does not have (`tests/processes/test_wildcard_apart.py`), LS
(`tests/processes/test_dns_loopback.py`), and what others' tools say
(`tests/tools/test_dns_tools.py`).
"""

import socket
from collections.abc import Callable

import pytest

from core.addresses import Datagram
from core.io.datagrams import DatagramSocket
from core.io.system import System
from tests.support.processes import PATIENCE_S, wait_for

V4, V6 = socket.AF_INET, socket.AF_INET6


class Server:
    """A socket at the wildcard address of a family, which replies with what it was sent."""

    def __init__(self, family: int, admit: Callable[[str], bool] | None = None) -> None:
        self.family = family
        (stream,) = System().take_datagrams((family, ("::" if family == V6 else "0.0.0.0", 0)))
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


@pytest.mark.parametrize(
    ("family", "hosts", "whence"),
    [(V4, ["127.0.0.1", "127.0.0.2", "127.9.9.9"], "127.0.0.1"), (V6, ["::1"], "::1")],
    ids=["IPv4", "IPv6"],
)
def test_a_reply_leaves_from_the_address_that_was_asked(
    family: int, hosts: list[str], whence: str
) -> None:
    """[P53]: also when one turn brings queries to several addresses. They are from `whence`, which
    is where the routes would have a reply leave from, too."""
    replies_come_from_whom_was_asked(family, hosts, whence)


def test_a_broadcast_query_is_replied_to_from_an_own_address() -> None:
    """Linux says which address of the interface that is."""
    server = Server(V4)
    assert server.replies_from("127.255.255.255") == "127.0.0.1"
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
    (stream,) = System().take_datagrams((family, (host, 0)))
    assert type(stream) is socket.socket
    stream.close()


def test_addresses_that_were_asked_are_remembered_within_a_bound() -> None:
    """The control of an address is the same object again; after 1,024 others it is a new one."""
    server = Server(V4)
    controls = []
    with socket.socket(V4, socket.SOCK_DGRAM) as client:
        for number in (0, 0, *range(1, 1_025), 0):
            client.sendto(b"?", (f"127.1.{number // 256}.{number % 256}", server.port))
            came: list[Datagram] = []
            wait_for(lambda: came.extend(server.one.receive(1)) or came, "a datagram")  # noqa: B023
            controls.append(came[0][1][2])
    assert controls[0] is controls[1]
    assert controls[-1] == controls[0] and controls[-1] is not controls[0]
    server.close()
