"""LS before resolvers over real sockets: F5 of the fault matrix, TCP, dead ports, and workers.

The resolver is a socket of the test, which reads what LS asks and replies by hand, so that there is
nothing to wait for but what must happen.

Not here: every kind of bad reply (`tests/nodes/test_reply_matcher.py`), and resolvers of others
(`tests/tools/test_resolver_tools.py`).
"""

import socket
import time
import urllib.error
import urllib.request
from itertools import pairwise

import pytest

from core.io.frame_buffer import frame
from tests.support.at_once import at_once
from tests.support.dns_messages import CODES, QR, RD, name, question_of, said, section_of
from tests.support.processes import PATIENCE_S, Programs, bind_to_free_port, stats, wait_for

pytestmark = pytest.mark.process
LOOPBACK = "127.0.0.1"

UNREACHABLE = "no server is good: DNS1 UNREACHABLE (connection refused)\n"


class Resolver:
    """A resolver that says what the test says."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if port:
            self.socket.bind((LOOPBACK, port))
        self.port = port or bind_to_free_port(self.socket)
        self.socket.settimeout(PATIENCE_S)

    def __enter__(self) -> "Resolver":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def asked(self) -> tuple[bytes, tuple[str, int]]:
        return self.socket.recvfrom(4096)

    def say(self, message: bytes, whither: tuple[str, int]) -> None:
        self.socket.sendto(message, whither)

    def answer(self, text: str) -> None:
        query, whence = self.asked()
        self.say(said(query, text), whence)


class Site:
    """LS with a DNS front end before these resolvers."""

    def __init__(self, run: Programs, ports: list[int], *words: object) -> None:
        upstreams = [word for port in ports for word in ("--dns-upstream", f"{LOOPBACK}:{port}")]
        self.ls, self.port = run.ls([], "--dns", 0, *upstreams, *words)
        self.dns = self.ls.listener("DNS")
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(PATIENCE_S)
        self.client.connect((LOOPBACK, self.dns))
        self.number = 0

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def query(self, text: str) -> bytes:
        self.number += 1
        head = self.number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        return head + name(text) + b"\0\1\0\1"

    def ask(self, text: str) -> bytes:
        query = self.query(text)
        self.client.send(query)
        return query

    def told(self) -> bytes:
        message = self.client.recv(4096)
        assert message[2] & QR >> 8
        return message

    def metric(self, key: str) -> int:
        return int(stats(self.port)[key])


def test_f5_only_a_reply_to_what_was_asked_counts(run: Programs) -> None:
    """[P35]: another ID, another question, from elsewhere, to another port; then the good one."""
    with Resolver() as resolver, Resolver() as stranger, Site(run, [resolver.port]) as site:
        asked = site.ask("x.example")
        query, whence = resolver.asked()
        forged = said(query, "10.6.6.6")
        resolver.say(bytes([forged[0] ^ 1]) + forged[1:], whence)
        resolver.say(forged.replace(b"\1x", b"\1y"), whence)
        resolver.say(forged[:-3], whence)
        stranger.say(forged, whence)
        resolver.say(said(query, "10.0.0.1"), whence)
        message = site.told()
        assert message[:2] == asked[:2] and section_of(message) == section_of(asked)
        assert message.endswith(bytes([10, 0, 0, 1]))
        assert site.metric("DNS1.unmatched") == 2 and site.metric("DNS1.malformed") == 1


def test_ids_and_ports_cannot_be_foretold(run: Programs) -> None:
    """[P35]: 200 IDs are spread over the whole range and come in no order; four ports are used."""
    with Resolver() as resolver, Site(run, [resolver.port]) as site:
        seen = []
        for n in range(200):
            site.ask(f"n{n}.example")
            query, whence = resolver.asked()
            seen.append((whence[1], int.from_bytes(query[:2])))
            resolver.say(said(query, "10.0.0.1"), whence)
            site.told()
        ids = [number for _, number in seen]
        assert len({port for port, _ in seen}) == 4 and len(set(ids)) > 190
        assert min(ids) < 6_000 and max(ids) > 59_000
        steps = {after - before for before, after in pairwise(ids)}
        assert len(steps) > 190


def test_a_datagram_that_is_too_long_is_asked_for_over_tcp(run: Programs) -> None:
    """[P47]: a long one over TCP counts; TC over TCP is SERVFAIL, and waits for nothing."""
    with (
        Resolver() as resolver,
        socket.create_server((LOOPBACK, resolver.port)) as listener,
        Site(run, [resolver.port]) as site,
    ):
        listener.settimeout(PATIENCE_S)
        many = ",".join(f"10.0.{n >> 8}.{n & 255}" for n in range(1, 400))
        site.ask("x.example")
        resolver.answer(many)
        stream, _ = listener.accept()
        stream.settimeout(PATIENCE_S)
        with stream, stream.makefile("rb") as reader:
            again = reader.read(int.from_bytes(reader.read(2)))
            stream.sendall(frame(said(again, many) + b"tail"))
            assert site.told()[2:4] == b"\x83\x80"  # cut, for a client without EDNS
            site.ask("y.example")
            resolver.answer("TC")
            again = reader.read(int.from_bytes(reader.read(2)))
            stream.sendall(frame(said(again, "TC")))
            assert site.told()[3] & 15 == CODES["SERVFAIL"]
        assert site.metric("timed_out") == 0 and site.metric("DNS1.malformed") == 0


@at_once
def test_a_closed_port_is_said_fails_at_once_and_is_found_again(run: Programs) -> None:
    """[P49]: within less than half of what a question may take; alone, so that nobody helps."""
    with Resolver() as before:
        port = before.port
    with Site(run, [port], "--metrics", 0, "--dns-timeout", 20) as site:
        health = f"http://{LOOPBACK}:{site.ls.listener('status page')}/healthz"
        began = time.monotonic()
        for n in range(5):
            site.ask(f"n{n}.example")
            assert site.told()[3] & 15 == CODES["SERVFAIL"]
        assert time.monotonic() - began < 10.0
        site.ls.logs("DNS1 is unreachable (connection refused)")
        wait_for(lambda: web(health) == (503, UNREACHABLE), "503")
        with Resolver(port) as back:
            probe, whence = back.asked()
            assert question_of(probe) == "n4.example"
            back.say(said(probe, "REFUSED"), whence)
            site.ls.logs("DNS1 is up")
            wait_for(lambda: web(health) == (200, "ok\n"), "200")
            site.ask("x.example")
            while question_of((asked := back.asked())[0]) != "x.example":
                pass  # it was asked more than once whether it is there
            back.say(said(asked[0], "10.0.0.1"), asked[1])
            assert site.told().endswith(bytes([10, 0, 0, 1]))
        assert site.ls.log.count("DNS1 is unreachable") == 1


def web(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@at_once
def test_workers_have_sockets_of_their_own(run: Programs) -> None:
    ports = set()
    with Resolver() as resolver, Site(run, [resolver.port], "--workers", 2) as site:
        for n in range(60):  # the kernel gives each client to one of them
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.connect((LOOPBACK, site.dns))
                client.send(site.query(f"n{n}.example"))
                query, whence = resolver.asked()
                ports.add(whence[1])
                resolver.say(said(query, "10.0.0.1"), whence)
                assert client.recv(4096).endswith(bytes([10, 0, 0, 1]))
    assert 4 < len(ports) <= 8
