"""LS before resolvers over real sockets: F5 of the fault matrix, dead ports, floods, the commands.

The resolver is a socket of the test, which reads what LS asks and replies by hand, so that there is
nothing to wait for but what must happen.

Not here: every kind of bad reply (`tests/nodes/test_reply_matcher.py`), and resolvers of others
(`tests/tools/test_resolver_tools.py`).
"""

import json
import select
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from itertools import count, pairwise
from typing import Any

import pytest

from core.io.frame_buffer import frame
from tests.support.at_once import at_once
from tests.support.dns_messages import (
    CODES,
    QR,
    RD,
    has_opt,
    name,
    question_of,
    said,
    section_of,
    without_opt,
)
from tests.support.processes import (
    PATIENCE_S,
    Programs,
    bind_to_free_port,
    free_port,
    stats,
    wait_for,
)

pytestmark = pytest.mark.process
LOOPBACK = "127.0.0.1"


class Resolver:
    """A resolver that says what the test says. `listener`: at the same port over TCP, if
    `with_tcp`."""

    def __init__(self, port: int = 0, *, with_tcp: bool = False) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if port:
            self.socket.bind((LOOPBACK, port))
        self.port = port or bind_to_free_port(self.socket)
        self.socket.settimeout(PATIENCE_S)
        self.listener: socket.socket | None = None
        if with_tcp:
            self.listener = socket.create_server((LOOPBACK, self.port))
            self.listener.settimeout(PATIENCE_S)

    def __enter__(self) -> "Resolver":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        if self.listener is not None:
            self.listener.close()

    def asked(self) -> tuple[bytes, tuple[str, int]]:
        query, whence = self.socket.recvfrom(4096)
        return query, whence

    def say(self, message: bytes, whither: tuple[str, int]) -> None:
        self.socket.sendto(message, whither)

    def answer(self, text: str) -> None:
        query, whence = self.asked()
        self.say(said(query, text), whence)

    def accept(self) -> socket.socket:
        assert self.listener is not None
        stream = self.listener.accept()[0]
        stream.settimeout(PATIENCE_S)
        return stream


class Site:
    """LS with a DNS front end before these resolvers, and table servers at `tables`."""

    def __init__(
        self, run: Programs, ports: list[int], *words: object, tables: list[int] | None = None
    ) -> None:
        upstreams = [word for port in ports for word in ("--dns-upstream", f"{LOOPBACK}:{port}")]
        self.ls, self.port = run.ls(tables or [], "--dns", 0, *upstreams, *words)
        self.dns = self.ls.listener("DNS")
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(PATIENCE_S)
        self.client.connect((LOOPBACK, self.dns))
        self.number = 0

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def query(self, text: str, kind: int = 1) -> bytes:
        self.number += 1
        head = self.number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        return head + name(text) + kind.to_bytes(2) + b"\0\1"

    def ask(self, text: str, kind: int = 1) -> bytes:
        query = self.query(text, kind)
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


def test_who_guesses_has_ls_ask_over_tcp(run: Programs) -> None:
    """[P36]"""
    with Resolver(with_tcp=True) as resolver, Site(run, [resolver.port]) as site:
        site.ask("x.example")
        query, whence = resolver.asked()
        for n in range(1, 33):
            number = int.from_bytes(query[:2]) ^ n
            resolver.say(said(number.to_bytes(2) + query[2:], "10.6.6.6"), whence)
        again, other = resolver.asked()  # at once, by another port
        assert question_of(again) == "x.example" and other[1] != whence[1]
        resolver.say(said(again, "10.0.0.1"), other)
        assert site.told().endswith(bytes([10, 0, 0, 1]))
        site.ls.logs("or forged; it is asked over TCP for 10 s")
        with resolver.accept() as stream, stream.makefile("rb") as reader:
            while site.metric("DNS1.streamed") == 0:  # LS may not have seen yet that it is there
                site.ask("y.example")
            query = reader.read(int.from_bytes(reader.read(2)))
            assert question_of(query) == "y.example"
            stream.sendall(frame(said(query, "10.0.0.2")))
            assert site.told().endswith(bytes([10, 0, 0, 2]))


def test_what_is_cut_is_asked_for_over_tcp(run: Programs) -> None:
    with Resolver(with_tcp=True) as resolver, Site(run, [resolver.port]) as site:
        site.ask("x.example")
        resolver.answer("TC")
        with resolver.accept() as stream, stream.makefile("rb") as reader:
            again = reader.read(int.from_bytes(reader.read(2)))
            stream.sendall(frame(said(again, ",".join(f"10.0.0.{n}" for n in range(1, 20)))))
        assert site.told()[6:8] == b"\0\x13"


def test_a_resolver_without_edns_is_asked_without(run: Programs) -> None:
    """[P48] [P46] [P47]: its errors are a header only, and bytes stand behind its replies."""
    with Resolver() as resolver, Site(run, [resolver.port]) as site:
        site.ask("x.example")
        query, whence = resolver.asked()
        assert has_opt(query)
        resolver.say(said(query, "bare FORMERR"), whence)
        for n in range(5):
            query, whence = resolver.asked()
            assert not has_opt(query)
            resolver.say(without_opt(said(query, "10.0.0.1")) + b"tail", whence)
            assert site.told().endswith(bytes([10, 0, 0, 1]))
            site.ask(f"n{n}.example")
        query, whence = resolver.asked()
        resolver.say(said(query, "bare REFUSED"), whence)
        message = site.told()
        assert message[3] & 15 == CODES["REFUSED"] and section_of(message) == section_of(query)
        site.ls.logs("DNS1 does not know EDNS: it is asked without for 10 min at a time")
        assert site.ls.log.count("EDNS") == 1 and site.metric("DNS1.plain") == 6


def test_a_datagram_that_is_too_long_is_asked_for_over_tcp(run: Programs) -> None:
    """[P47]: a long one over TCP counts; TC over TCP is SERVFAIL, and waits for nothing."""
    with Resolver(with_tcp=True) as resolver, Site(run, [resolver.port]) as site:
        many = ",".join(f"10.0.{n >> 8}.{n & 255}" for n in range(1, 400))
        site.ask("x.example")
        resolver.answer(many)
        with resolver.accept() as stream, stream.makefile("rb") as reader:
            again = reader.read(int.from_bytes(reader.read(2)))
            stream.sendall(frame(said(again, many) + b"tail"))
            assert site.told()[2:4] == b"\x83\x80"  # cut, for a client without EDNS
            site.ask("y.example")
            resolver.answer("TC")
            again = reader.read(int.from_bytes(reader.read(2)))
            stream.sendall(frame(said(again, "TC")))
            assert site.told()[3] & 15 == CODES["SERVFAIL"]
        assert site.metric("timed_out") == 0 and site.metric("DNS1.malformed") == 0


def test_a_closed_port_holds_nobody_up_and_is_asked_later(run: Programs) -> None:
    with Resolver() as resolver, Resolver() as later:
        port = later.port
        later.socket.close()
        with Site(run, [resolver.port, port]) as site:
            for n in range(50):
                site.ask(f"n{n}.example")
                resolver.answer("10.0.0.1")
                assert site.told().endswith(bytes([10, 0, 0, 1]))
            with Resolver(port) as back:
                back.socket.setblocking(False)
                for n in count():  # it may be silent by now, and is asked a question now and then
                    site.ask(f"x{n}.example")
                    resolver.answer("10.0.0.1")
                    site.told()
                    with suppress(BlockingIOError):
                        assert question_of(back.asked()[0]).endswith(".example")
                        break


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
        site.ls.logs("DNS1 is down (connection refused)")
        wait_for(lambda: web(health) == (503, "no server is up\n"), "503")
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
        assert site.ls.log.count("DNS1 is down") == 1


def web(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_clients_of_lines_are_answered_and_told_what_failed(run: Programs) -> None:
    with Resolver() as resolver, Site(run, [resolver.port]) as site:
        client = run.start("client", LOOPBACK, site.port, "x.example", "y.example", "z.example")
        for _ in range(3):
            query, whence = resolver.asked()
            text = {"x.example": "10.0.0.1", "y.example": "SERVFAIL", "z.example": "NXDOMAIN"}
            resolver.say(said(query, text[question_of(query)]), whence)
        assert client.output() == (
            "x.example 10.0.0.1 A IN\ny.example - FAILED\nz.example - NOT FOUND\n"
        )
        assert "1 answered, 1 not found, 1 failed, 0 timed out" in client.log


@pytest.mark.parametrize("words", [[], ["--answer-unknown"]], ids=["silent", "frank"])
@at_once
def test_a_resolver_cannot_deny_a_name_of_a_table(run: Programs, words: list[str]) -> None:
    """[P42]: or a program that asks for A and AAAA would have no address at all."""
    table = run.table("t", "web.corp 10.0.0.7")
    tables = [run.ts(table, 0, *words)[1]]
    more = ("--bound", f"no_data_s={PATIENCE_S}")  # however slow this machine is
    with Resolver() as resolver, Site(run, [resolver.port], *more, tables=tables) as site:
        site.ask("Web.corp")
        assert site.told().endswith(bytes([10, 0, 0, 7]))
        resolver.answer("NXDOMAIN")
        for kind in (28, 15, 65):  # AAAA, MX, HTTPS
            asked = site.ask("Web.corp", kind)
            resolver.answer("NXDOMAIN")
            message = site.told()
            assert message[3] & 15 == CODES["NOERROR"] and message[6:12] == bytes(6)
            assert section_of(message) == section_of(asked)
        if words:
            site.ask("other.corp", 28)
            resolver.answer("NXDOMAIN")
            assert site.told()[3] & 15 == CODES["NXDOMAIN"]
            site.ask("other.corp", 15)
            resolver.answer("NXDOMAIN")
            assert site.told()[3] & 15 == CODES["NXDOMAIN"]


@at_once
def test_two_that_ask_each_other_stop(run: Programs) -> None:
    """Each question is open at both once; it comes back, joins, and times out."""
    port = free_port()
    with Site(run, [port], "--dns-timeout", 0.3) as first:
        words = ("--dns", port, "--dns-upstream", f"{LOOPBACK}:{first.dns}", "--dns-timeout", 0.3)
        _, other = run.ls([], *words, linked=False)
        first.ask("x.example")
        assert first.told()[3] & 15 == 2
        wait_for(lambda: stats(other)["pending"] == "0", "no loop")
        assert first.metric("DNS1.asked") == 1 and first.metric("joined") <= 1


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


def test_the_status_page_says_where_a_resolver_is(run: Programs) -> None:
    with Resolver() as resolver, Site(run, [resolver.port], "--metrics", 0) as site:
        where = f"http://{LOOPBACK}:{site.ls.listener('status page')}/status.json"
        with urllib.request.urlopen(where, timeout=PATIENCE_S) as page:
            status: dict[str, Any] = json.load(page)
        (server,) = status["servers"]
        assert (server["name"], server["where"]) == ("DNS1", f"{LOOPBACK}:{resolver.port}")


def test_a_drain_gives_what_is_owed_and_ends(run: Programs) -> None:
    with Resolver() as resolver, Site(run, [resolver.port]) as site:
        site.ask("x.example")
        query, whence = resolver.asked()
        site.ls.signal(signal.SIGTERM)
        wait_for(lambda: refused(site.port), "the listener is closed")
        resolver.say(said(query, "10.0.0.1"), whence)
        assert site.told().endswith(bytes([10, 0, 0, 1]))
        assert site.ls.exits() == 0 and "asked 1, answered 1" in site.ls.log


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def test_an_address_of_ipv6_is_taken_with_and_without_a_port(run: Programs) -> None:
    run.start("ls", 0, "--dns-upstream", "::1", "--dns-upstream", "[::1]:5353").port()


@at_once
def test_a_late_reply_is_relayed_by_default(run: Programs) -> None:
    """Later than table servers are waited for, sooner than clients give up; by workers, too."""
    with Resolver() as resolver, Site(run, [resolver.port]) as alone:
        with Site(run, [resolver.port], "--workers", 2) as workers:
            asked_at = time.monotonic()
            queries = []
            for site in (alone, workers):
                site.ask("x.example")
                queries.append(resolver.asked())
            time.sleep(2.5 - (time.monotonic() - asked_at))  # the delay is tested
            assert not select.select([alone.client, workers.client], [], [], 0)[0]
            for site, (query, whence) in zip((alone, workers), queries, strict=True):
                resolver.say(said(query, "10.0.0.1"), whence)
                assert site.told()[3] & 15 == 0


@pytest.mark.parametrize("flag", ["--dns-timeout", "--bound"])
@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_a_dns_timeout_that_is_said_wins(run: Programs, words: list[str], flag: str) -> None:
    value = "0.3" if flag == "--dns-timeout" else "dns_timeout_s=0.3"
    longer = ("--bound", f"dns_timeout_upstream_s={2 * PATIENCE_S}")
    with Resolver() as resolver, Site(run, [resolver.port], flag, value, *longer, *words) as site:
        site.ask("x.example")
        assert site.told()[3] & 15 == CODES["SERVFAIL"]
