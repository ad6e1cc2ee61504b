"""DNS clients over real sockets: part F of the fault matrix, as far as it concerns them.

Queries are made by hand and sent as a bad network or a bad client would. (F5 is about upstreams.)

Not here: the messages themselves (`tests/nodes/test_query.py`), and tools of others
(`tests/tools/test_dns_tools.py`).
"""

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from core.io.frame_buffer import frame, split_frames
from tests.nodes.test_dns_clients import NOERROR, NXDOMAIN, SERVFAIL
from tests.support.dns_clients import AAAA, Reply, query
from tests.support.processes import PATIENCE_S, Programs, Talk, exchange, programs, stats, wait_for

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

    def ask(self, message: bytes) -> Reply:
        """Ask a query; return its reply."""
        with self.udp() as client:
            client.send(message)
            return Reply(client.recv(4096))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ts_ports: list[int]) -> Iterator[Site]:
    """An LS that tests share."""
    with programs(tmp_path_factory.mktemp("ls")) as some:
        yield Site(some, ts_ports)


def hear_frames(talk: Talk, count: int) -> list[bytes]:
    """Read the next messages of a stream."""
    while True:
        with suppress(IndexError):
            messages = split_frames(talk.heard)
            if len(messages) >= count and b"".join(map(frame, messages)) == talk.heard:
                talk.heard = b""
                return messages
        data = talk.socket.recv(1 << 16)
        assert data, f"ended after {talk.heard!r}"
        talk.heard += data


def test_f1_f2_no_query_gets_silence_and_the_next_its_reply(site: Site) -> None:
    """[P30]"""
    reply = bytearray(query(1, b"n1.example"))
    reply[2] |= 0x80
    with site.udp() as client:
        before = int(stats(site.port)["dns_ignored"])
        for nonsense in (bytes(reply), b"", b"\0" * 11, b"x"):
            client.send(nonsense)
        client.send(query(2, b"n2.example"))
        said = Reply(client.recv(4096))
        assert (said.number, said.addresses) == (2, ["10.0.0.2"])
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(4096)
    wait_for(lambda: int(stats(site.port)["dns_ignored"]) == before + 4, "all four have been seen")


def test_f3_f4_a_malformed_query_is_told_so_at_once(site: Site) -> None:
    loop = struct.pack(">6H", 7, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"
    good = query(7, b"n1.example")
    for message, repeated in ((loop, b""), (good + b"!", good[12:])):
        with site.udp() as client:
            client.send(message)
            data = client.recv(4096)
        assert data[:2] == b"\0\7" and data[3] & 15 == 1 and data[12:] == repeated


def test_f7_a_stream_byte_by_byte_and_the_lengths_at_both_ends(site: Site) -> None:
    talk = Talk(site.dns)
    for byte in frame(query(1, b"n1.example")):
        talk.say(bytes([byte]))
    assert Reply(hear_frames(talk, 1)[0]).addresses == ["10.0.0.1"]
    longest = query(2, b"n2.example", edns=b"")
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 65_535 - len(longest) - 11)
    longest = longest[:10] + b"\0\1" + longest[12:] + opt + b"\0" * (65_535 - len(longest) - 11)
    assert len(longest) == 65_535
    talk.say(frame(b"") + frame(longest) + frame(query(3, b"n3.example")))
    said = [Reply(message) for message in hear_frames(talk, 2)]
    assert [(one.number, one.addresses) for one in said] == [(2, ["10.0.0.2"]), (3, ["10.0.0.3"])]
    talk.close()


def test_f8_pipelined_queries_are_answered_as_they_are_ready(site: Site) -> None:
    talk = Talk(site.dns)
    unknown = frame(query(999, b"nowhere.example"))
    talk.say(unknown + b"".join(frame(query(n, b"n%d.example" % n)) for n in range(100)))
    talk.end()
    said = [Reply(message) for message in split_frames(talk.rest())]
    assert {one.number: one.addresses for one in said if one.number != 999} == {
        n: [f"10.0.0.{n}"] for n in range(100)
    }
    assert [one.code for one in said if one.number == 999] == [NXDOMAIN]
    talk.close()


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


def test_f11_when_time_is_up_there_is_one_servfail(run: Programs, ts_ports: list[int]) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    site = Site(run, [*ts_ports, silent.getsockname()[1]], "--timeout", 0.5)
    with site.udp() as client:
        client.send(query(1, b"nowhere.example"))
        assert Reply(client.recv(4096)).code == SERVFAIL
        (said,) = exchange(site.port, [b"nowhere.example\nQUIT\n"])
        assert said == b"nowhere.example - TIMED OUT\nBYE\n"
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(4096)
    silent.close()


def test_ipv6_and_two_types(run: Programs, ts_ports: list[int]) -> None:
    site = Site(run, ts_ports, host="::1")
    assert site.ask(query(1, b"N7.example")).addresses == ["10.0.0.7"]
    said = site.ask(query(2, b"n7.example", AAAA))
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
        talk.say(frame(query(2, b"n2.example")))
        assert Reply(hear_frames(talk, 1)[0]).number == 2
        site.ls.signal(signal.SIGTERM)
        assert talk.rest() == b""
    talk.close()
    assert site.ls.exits() == 0


@pytest.mark.skipif(
    int(Path("/proc/sys/net/core/rmem_max").read_text()) < 1 << 20, reason="it has not the room"
)
def test_a_drain_takes_all_datagrams_that_have_come(run: Programs, ts_ports: list[int]) -> None:
    """Datagrams are more than one turn reads (`datagrams_per_turn`)."""
    site = Site(run, ts_ports, "--timeout", 1)
    with ExitStack() as stack:
        clients = [stack.enter_context(site.udp()) for _ in range(8)]  # each has room for so many
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
        talk.say(frame(query(1, b"n1.example")))
        assert Reply(hear_frames(talk, 1)[0]).addresses == ["10.0.0.1"]
        talk.close()


def test_at_the_ipv6_wildcard_host_loopback_replies(run: Programs, ts_ports: list[int]) -> None:
    site = Site(run, ts_ports, "--allow", "::1/128", host="::")
    with site.udp("::1") as client:
        client.send(query(1, b"n1.example"))
        assert Reply(client.recv(4096)).addresses == ["10.0.0.1"]


def test_the_last_replies_of_a_drain_leave_from_where_asked(
    run: Programs, ts_ports: list[int]
) -> None:
    """[P53]"""
    site = Site(run, ts_ports, "--allow", "127.0.0.0/8", "--timeout", 1, host="0.0.0.0")
    with site.udp("127.0.0.2") as client:
        site.ls.signal(signal.SIGSTOP)
        for number in range(50):
            client.send(query(number, b"n1.example"))
        site.ls.signal(signal.SIGTERM)
        site.ls.signal(signal.SIGCONT)
        assert {Reply(client.recv(4096)).number for _ in range(50)} == set(range(50))
    assert site.ls.exits() == 0


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
