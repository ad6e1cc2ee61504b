"""Serving: which hosts may connect to a server, and the advice when it cannot listen.

Not here: the loop (`tests/io/test_loop.py`), and servers as processes (`tests/processes/`).
"""

import errno
import ipaddress
import os
import socket
from typing import ClassVar

import pytest

from core.addresses import Address
from core.io.system import Socket, System
from core.operator import Level
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.listening import ListenAddresses, Sockets, cannot_listen, open_sockets
from nodes.cli.ls_arguments import read_ls_options
from nodes.cli.serving import Listening, check_open, find_listening, gate, make_log, ready_line
from nodes.cli.ts import read_ts_options


@pytest.mark.parametrize(
    ("host", "is_admitted"),
    [
        ("10.1.2.3", True), ("192.0.2.1", False), ("fe80::1%eth0", True), ("fe80::1", True),
        ("2001:db8::1", False), ("::1", True),
    ],
)  # fmt: skip
def test_a_host_in_any_of_the_networks_may_connect(host: str, is_admitted: bool) -> None:
    networks = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fe80::/10", "::1/128")]
    assert gate(networks)(host) is is_admitted
    assert gate(())(host)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (
            errno.EACCES,
            "permission denied; ports below 1024 need root, CAP_NET_BIND_SERVICE or a socket "
            "that systemd hands over (examples/photofinish-dns.socket)",
        ),
        (errno.EADDRNOTAVAIL, "::1 is not an address of this machine"),
        (errno.EADDRINUSE, "address already in use; try another port"),
    ],
)
def test_where_nobody_can_listen_advice_is_given(number: int, advice: str) -> None:
    at = (socket.AF_INET6, ("::1", 53, 0, 0))
    failure = cannot_listen(at, OSError(number, os.strerror(number)))
    assert str(failure) == f"cannot listen on [::1]:53: {advice}" and failure.exit_code == 1


@pytest.mark.parametrize(
    ("host", "allow", "is_open"),
    [
        ("127.0.0.9", [], False), ("::1", [], False), ("0.0.0.0", [], True),
        ("fe80::1%2", [], True), ("0.0.0.0", ["--allow", "10.0.0.0/8"], False),
    ],
)  # fmt: skip
def test_a_server_is_open_to_others_only_where_said(
    host: str, allow: list[str], is_open: bool
) -> None:
    server = read_ts_options(["0", "--table", "x", *allow]).server
    listening = Listening(ListenAddresses(((socket.AF_INET, (host, 5300)),)), Sockets())
    if not is_open:
        check_open(server, listening)
        return
    with pytest.raises(Failure, match=r":5300 is open to other machines: say with ") as raised:
        check_open(server, listening)
    assert raised.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("hosts", "allow", "can_connect"),
    [
        (["127.0.0.1"], "10.0.0.0/8", False), (["127.0.0.1", "::1"], "2001:db8::/32", False),
        (["127.0.0.1", "192.0.2.1"], "10.0.0.0/8", True), (["127.0.0.1"], "127.0.0.2/32", True),
        (["::1"], "::/0", True), (["127.0.0.1"], "0.0.0.0/0", True),
        (["0.0.0.0"], "127.0.0.1", True),
    ],
)  # fmt: skip
def test_a_server_to_which_nobody_can_connect_is_refused(
    hosts: list[str], allow: str, can_connect: bool
) -> None:
    server = read_ts_options(["0", "--table", "x", "--allow", allow]).server
    lines = tuple((socket.AF_INET, (host, 5300)) for host in hosts)
    listening = Listening(ListenAddresses(lines), Sockets())
    if can_connect:
        check_open(server, listening)
        return
    why = r"^nobody can connect: 127.0.0.1:5300 is for this machine only, and --allow admits only "
    with pytest.raises(Failure, match=why) as raised:
        check_open(server, listening)
    assert raised.value.exit_code == USAGE


@pytest.mark.parametrize("is_journal", [False, True])
@pytest.mark.parametrize(
    ("asked_for", "wanted"),
    [
        ("auto", None),
        ("text", " TS WARNING x\n"),
        ("json", '"text": "x"}\n'),
        ("journal", "<4>x\n"),
    ],
)
def test_the_log_is_as_asked_for_or_as_its_reader_wants(
    asked_for: str, wanted: str | None, is_journal: bool
) -> None:
    class Managed(System):
        leads_to_journal = staticmethod(lambda fd: is_journal and fd == 2)

    words = ["0", "--table", "x", "--log-format", asked_for]
    written: list[bytes] = []
    log = make_log("TS", read_ts_options(words).server, Managed(), written.append)
    log.report("x", Level.WARNING)
    if wanted is None:
        wanted = "<4>x\n" if is_journal else " TS WARNING x\n"
    assert written[0].decode().endswith(wanted)


def test_any_port_for_dns_is_one_that_is_free_for_both() -> None:
    """Sockets that ask resolvers stand at ports that the kernel may give for TCP."""

    class Crowded(System):
        tried: ClassVar[list[int]] = []

        def take_datagrams(self, address: Address, count: int = 1) -> list[Socket]:
            self.tried.append(address[1][1])
            if len(self.tried) < 3:
                raise OSError(errno.EADDRINUSE, "address already in use")
            return super().take_datagrams(address, count)

    system = Crowded()
    at = ListenAddresses(dns=((socket.AF_INET, ("127.0.0.1", 0)),))
    sets = open_sockets(system, at, Sockets(), 16, count=2)
    assert len(system.tried) == 3
    ports = {each.getsockname()[1] for sockets in sets for each in sockets}
    assert ports == {system.tried[-1]} and [len(list(each)) for each in sets] == [2, 2]
    for each in sets:
        each.close()


LOOPBACK: Address = (socket.AF_INET, ("127.0.0.1", 0))


def test_dns_by_tls_has_a_socket_in_each_set() -> None:
    at = ListenAddresses(dns_tls=(LOOPBACK, LOOPBACK))
    sets = open_sockets(System(), at, Sockets(), 16, count=2)
    first, other = sets
    ports = [each.getsockname()[1] for each in first.dns_tls]
    assert [each.getsockname()[1] for each in other.dns_tls] == ports and len(set(ports)) == 2
    assert first.where() == {"dns_tls": f"tls://127.0.0.1:{ports[0]}, tls://127.0.0.1:{ports[1]}"}
    assert [*first] == first.dns_tls, "nothing else is open, and all of it is closed"
    for each in sets:
        each.close()
    assert {each.fileno() for each in first} == {-1}


def test_a_socket_for_tls_that_was_handed_over_is_in_each_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as handed:
        sets = open_sockets(System(), ListenAddresses(), Sockets(dns_tls=[handed]), 16, count=2)
        assert [each.dns_tls for each in sets] == [[handed], [handed]]
        assert Listening(ListenAddresses(), Sockets(dns_tls=[handed])).dns_tls == (
            (socket.AF_INET, handed.getsockname()),
        )


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("lines", "dns", "dns_tls"), "127.0.0.1:{lines}"),
        (("dns", "dns_tls"), "127.0.0.1:{dns}"),
        (("dns_tls",), "tls://127.0.0.1:{dns_tls}"),
    ],
)
def test_the_ready_line_names_what_is_served(kinds: tuple[str, ...], said: str) -> None:
    at = ListenAddresses(**dict.fromkeys(kinds, (LOOPBACK,)))
    (sockets,) = open_sockets(System(), at, Sockets(), 16)
    ports = {
        kind: str(streams[0].getsockname()[1])
        for kind, streams in (
            ("lines", sockets.lines), ("dns", sockets.dns), ("dns_tls", sockets.dns_tls),
        )
        if streams
    }  # fmt: skip
    assert ready_line("ls", sockets).decode() == f"ls ready on {said.format(**ports)}\n"
    sockets.close()


KEYS = ["--tls-cert", "c", "--tls-key", "k"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--dns-tls", "0"], None),
        (["--dns-tls", "0.0.0.0:0"], "0.0.0.0:0 is open to other machines: say with --allow"),
        (["--dns-tls", "0", "--allow", "10.0.0.0/8"], "nobody can connect: 127.0.0.1:0 is for th"),
        (["--dns-tls", "0.0.0.0:0", "--allow", "::1"], "nobody can connect: 0.0.0.0:0 takes IPv4"),
    ],
)
def test_dns_by_tls_alone_is_served_to_who_may_connect(words: list[str], why: str | None) -> None:
    server = read_ls_options([*words, *KEYS, "--dns-upstream", "192.0.2.1"]).server
    if why is not None:
        with pytest.raises(Failure) as raised:
            find_listening(System(), server, ())
        assert str(raised.value).startswith(why)
        return
    listening = find_listening(System(), server, ())
    assert listening.all() == listening.all_dns == listening.dns_tls == (LOOPBACK,)
    assert listening.dns == ()


@pytest.mark.parametrize(
    ("family", "host", "allow", "is_refused"),
    [
        (socket.AF_INET6, "::", "0.0.0.0/0", True), (socket.AF_INET, "0.0.0.0", "::1", True),
        (socket.AF_INET6, "::", "::/0", False), (socket.AF_INET, "0.0.0.0", "10.0.0.0/8", False),
    ],
)  # fmt: skip
def test_an_address_of_a_family_that_nobody_has_is_refused(
    family: int, host: str, allow: str, is_refused: bool
) -> None:
    """`::` takes IPv6 only. A status page may be for nobody: it has an address of its own."""
    server = read_ts_options(["0", "--table", "x", "--allow", allow]).server
    page = ((socket.AF_INET, ("127.0.0.1", 1)), (socket.AF_INET6, ("::1", 1)))
    listening = Listening(ListenAddresses(((family, (host, 5300)),), (), page), Sockets())
    if not is_refused:
        check_open(server, listening)
        return
    with pytest.raises(
        Failure, match=r"^nobody can connect: .*:5300 takes IPv[46] only, and --all"
    ):
        check_open(server, listening)
