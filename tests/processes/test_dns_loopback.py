"""DNS clients over real sockets: part F of the fault matrix, as far as it concerns them.

Queries are made by hand and sent as a bad network or a bad client would. (F5 is about upstreams.)

Not here: the messages themselves (`tests/nodes/test_query.py`), and tools of others
(`tests/tools/test_dns_tools.py`).
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.io.frame_buffer import frame
from tests.nodes.test_dns_clients import NOERROR
from tests.support.dns_clients import AAAA, Reply, query
from tests.support.processes import PATIENCE_S, Programs, Talk, programs, stats, wait_for

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def ts_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Two equal TSs that all tests share."""
    with programs(tmp_path_factory.mktemp("ts")) as some:
        table = some.table("t", *(f"n{n}.example 10.0.0.{n}" for n in range(100)))
        yield [some.ts(table, 0, "--answer-unknown")[1] for _ in range(2)]


class Site:
    """LS with a DNS front end before these TSs; `udp()` is a client's socket."""

    def __init__(
        self, run: Programs, ts_ports: list[int], *words: object, host: str = "127.0.0.1"
    ) -> None:
        words = ("--dns", 0, "--dns-timeout", 0.3, "--host", host, *words)
        self.ls, self.port = run.ls(ts_ports, *words, linked=False)
        self.ls.logs(" is up", 2)
        self.host, self.dns = host, self.ls.listener("DNS")

    def udp(self, asked: str = "") -> socket.socket:
        """Open a client of this address; else, of the one that LS listens at. It hears no other."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(PATIENCE_S)
        client.connect((asked or self.host, self.dns))
        return client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ts_ports: list[int]) -> Iterator[Site]:
    """An LS that tests share."""
    with programs(tmp_path_factory.mktemp("ls")) as some:
        yield Site(some, ts_ports)


def ask_stream(talk: Talk, message: bytes) -> Reply:
    """Ask one query over a stream; return its reply."""
    talk.say(frame(message))
    with talk.socket.makefile("rb") as reader:
        return Reply(reader.read(int.from_bytes(reader.read(2))))


def test_f9_who_may_not_ask_gets_silence(run: Programs, ts_ports: list[int]) -> None:
    site = Site(run, ts_ports, "--allow", "127.0.0.2/32")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as allowed, site.udp() as other:
        allowed.bind(("127.0.0.2", 0))
        allowed.settimeout(PATIENCE_S)
        other.send(query(1, b"n1.example"))
        allowed.sendto(query(2, b"n2.example"), ("127.0.0.1", site.dns))
        assert Reply(allowed.recv(4096)).number == 2
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(4096)


def test_f10_nobody_else_can_bind_our_port(site: Site) -> None:
    for reuse in (0, 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            with pytest.raises(OSError, match="Address already in use"):
                thief.bind(("127.0.0.1", site.dns))


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_and_two_types(run: Programs, ts_ports: list[int], host: str) -> None:
    site = Site(run, ts_ports, "--allow", "::1/128", host=host)
    with site.udp("::1") as client:
        client.send(query(1, b"N7.example"))
        assert Reply(client.recv(4096)).addresses == ["10.0.0.7"]
        client.send(query(2, b"n7.example", AAAA))
        said = Reply(client.recv(4096))
        assert (said.code, said.addresses) == (NOERROR, [])


def test_a_thousand_queries_in_flight_from_many_sockets(site: Site) -> None:
    """[P29]"""
    with ExitStack() as stack:
        clients = [stack.enter_context(site.udp()) for _ in range(50)]
        for start in range(0, 20, 10):  # a few at a time: a socket's buffer is small
            for number, client in enumerate(clients):
                for n in range(start, start + 10):
                    client.send(query(n, b"N%d.example" % ((number + n) % 100)))
            for number, client in enumerate(clients):
                said = [Reply(client.recv(4096)) for _ in range(10)]
                assert {one.number: (one.name, one.addresses) for one in said} == {
                    n: (b"N%d.example" % ((number + n) % 100), [f"10.0.0.{(number + n) % 100}"])
                    for n in range(start, start + 10)
                }


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_drain_replies_to_what_it_has_taken(
    run: Programs, ts_ports: list[int], words: list[str]
) -> None:
    site = Site(run, ts_ports, "--timeout", 1, *words)
    talk = Talk(site.dns)
    with site.udp() as client:
        client.send(query(1, b"n1.example"))
        assert Reply(client.recv(4096)).addresses == ["10.0.0.1"]
        assert ask_stream(talk, query(2, b"n2.example")).number == 2
        site.ls.signal(signal.SIGTERM)
        assert talk.rest() == b""
    talk.close()
    assert site.ls.exits() == 0


@pytest.mark.skipif(
    int(Path("/proc/sys/net/core/rmem_max").read_text()) < 1 << 20, reason="it has not the room"
)
def test_a_drain_takes_all_datagrams_that_have_come(run: Programs, ts_ports: list[int]) -> None:
    """[P53]: more than one turn reads (`datagrams_per_turn`); replies leave from where asked."""
    site = Site(run, ts_ports, "--allow", "127.0.0.0/8", "--timeout", 1, host="0.0.0.0")
    with ExitStack() as stack:
        clients = [  # each has room for so many
            stack.enter_context(site.udp(f"127.0.0.{1 + n % 2}")) for n in range(8)
        ]
        site.ls.signal(signal.SIGSTOP)
        for client in clients:
            for number in range(150):
                client.send(query(number, b"n1.example"))
        site.ls.signal(signal.SIGTERM)
        site.ls.signal(signal.SIGCONT)
        for client in clients:
            came = {Reply(client.recv(4096)).number for _ in range(150)}
            assert came == set(range(150))
    assert site.ls.exits() == 0


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_at_a_wildcard_host_the_address_asked_replies(
    run: Programs, ts_ports: list[int], words: list[str]
) -> None:
    """[P53]: data, what is refused, and SERVFAIL; TCP has one address in any case."""
    site = Site(run, ts_ports, "--allow", "127.0.0.0/8", *words, host="0.0.0.0")
    for asked in ("127.0.0.1", "127.0.0.2", "127.9.9.9"):
        for number in range(20):  # the kernel spreads them over the workers
            with site.udp(asked) as client:
                client.send(query(number, b"n%d.example" % number))
                assert Reply(client.recv(4096)).addresses == [f"10.0.0.{number}"]
                client.send(query(number, b"n1.example") + b"!")
                assert client.recv(4096)[3] & 15 == 1  # FORMERR
        talk = Talk(site.dns, asked)
        assert ask_stream(talk, query(1, b"n1.example")).addresses == ["10.0.0.1"]
        talk.close()


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_port_in_use_is_said_in_a_line(run: Programs, words: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        code, _, log = run.run("ls", 0, "127.0.0.1", 1, "--dns", port, *words)
        assert code == 1 and f"cannot listen on 127.0.0.1:{port}: address already in use" in log
        assert log.count("\n") == 1, log


def test_workers_share_the_dns_port(run: Programs, ts_ports: list[int]) -> None:
    site = Site(run, ts_ports, "--workers", 2)
    site.ls.logs("is up: process", 2)
    with ExitStack() as stack:
        clients = [stack.enter_context(site.udp()) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(query(number, b"n%d.example" % number))
        for number, client in enumerate(clients):
            assert Reply(client.recv(4096)).addresses == [f"10.0.0.{number}"]
    wait_for(lambda: stats(site.port)["dns_queries"] == "100", "both tell what they count")
