"""LS with `--cache` beside Knot DNS, unbound and dnsmasq: what it keeps is what they say.

Kept replies are compared, field by field, with what Knot says when it is asked directly; their TTLs
with those of unbound's cache before the same Knot. Resolvers that stand still are not noticed for
names that were asked for before.

`make test-dns` runs these tests, too. Not here: when old data is told, and what else dig shows
(`tests/tools/test_cache_tools.py`).
"""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import PATIENCE_S, Programs, free_port, stats, wait_for
from tests.tools.test_resolver_tools import (
    LOOPBACK,
    Server,
    a_knot,
    an_unbound,
    ask_all,
    balancer_before,
    dns,
    dnsmasq,
    dnsmasq_words,
    fields,
    knot,
    unbound,
)
from tests.tools.test_resolver_trouble import Steady

pytestmark = [pytest.mark.process, pytest.mark.dns]
_COUNT = 10_000
_STALE = 3  # an extended error (RFC 8914)
_TYPES = ["A", "AAAA", "MX"]
_OPTIONS = [{}, {"use_edns": 0, "payload": 1232}, {"want_dnssec": True}]
_HEAD = (
    "$ORIGIN example.\n$TTL 1\n@ SOA ns hostmaster 1 3600 600 86400 1\n@ NS ns\nns A 127.0.0.1\n"
)


def _key(one: dns.rrset.RRset) -> tuple[object, ...]:
    return one.name, one.rdtype, one.covers


def ttls_of(message: dns.message.Message) -> list[int]:
    """Return the TTLs of a reply, and replace them by 0."""
    sections = (message.answer, message.authority, message.additional)
    rrsets = sorted((one for section in sections for one in section), key=_key)
    ttls = [one.ttl for one in rrsets]
    for one in rrsets:
        one.ttl = 0
    return ttls


def a_query(number: int) -> dns.message.Message:
    """Return a question about a name of its own: with data, without, or not there at all."""
    parent = ["wild.example", "example", "N1.example"][number % 3]
    options = _OPTIONS[number // 3 % 3]
    kind = _TYPES[number // 9 % 3]
    query = dns.message.make_query(f"x{number}.{parent}", kind, id=number, **options)
    if query.edns >= 0:
        query.use_edns(0, query.ednsflags, payload=1232)
    if number % 5 == 0:
        query.flags |= dns.flags.CD
    return query


@knot
def test_10_000_kept_replies_are_those_of_the_resolver(run: Programs, tmp_path: Path) -> None:
    """[P94]: everything but TTLs, which have fallen by their age and are not 0, and AA, which
    nobody says of what is kept."""
    queries = [a_query(number) for number in range(_COUNT)]
    with ExitStack() as stack:
        one = a_knot(stack, tmp_path)
        port, dns_port = balancer_before(run, [one], "--cache", 64)
        directly = ask_all(one.port, queries)
        begun = time.monotonic()
        ask_all(int(dns_port), queries)
        asked = stats(port)
        kept = ask_all(int(dns_port), queries)
        age_s = time.monotonic() - begun
        told = stats(port)
        assert int(asked["cached"]) == 0
        assert int(told["cached"]) >= _COUNT
        assert told["DNS1.asked"] == asked["DNS1.asked"]
        codes = set()
        for expected, got in zip(directly, kept, strict=True):
            pairs = zip(ttls_of(expected), ttls_of(got), strict=True)
            expected.flags &= ~dns.flags.AA
            assert fields(got) == fields(expected), f"{expected}\n{got}"
            assert all(ttl > 0 and 1 <= whole - ttl <= age_s + 1 for whole, ttl in pairs), got
            codes.add((dns.rcode.to_text(got.rcode()), bool(got.answer)))
        assert codes == {("NOERROR", True), ("NOERROR", False), ("NXDOMAIN", False)}


@knot
@unbound
@at_once
def test_ttls_are_those_of_another_cache_within_1(run: Programs, tmp_path: Path) -> None:
    """For as long as both keep what they were told first: LS ends a second before, instead of
    saying 0."""
    names = {f"t{ttl}-{n}.example": ttl for ttl in range(1, 6) for n in range(4)}
    zone = _HEAD + "".join(f"{name}. {ttl} A 10.0.0.{ttl}\n" for name, ttl in names.items())
    with ExitStack() as stack:
        server = a_knot(stack, tmp_path, zone)
        other = an_unbound(stack, tmp_path, server.port)
        _, dns_port = balancer_before(run, [server], "--cache", 8)

        def ask(name: str) -> tuple[int, int, float]:
            """Return the TTLs that LS and the other tell, and the time between the two asks."""
            query = dns.message.make_query(name, "A")
            begun = time.monotonic()
            replies = [
                dns.query.udp(query, LOOPBACK, PATIENCE_S, port)
                for port in (int(dns_port), other.port)
            ]
            return *(one.answer[0].ttl for one in replies), time.monotonic() - begun

        last = {name: ask(name) for name in names}
        apart_s = {name: took_s for name, (*_, took_s) in last.items()}
        compared = dict.fromkeys(range(1, 6), 0)
        while last:
            for name, before in list(last.items()):
                told, expected, took_s = now = ask(name)
                if told > before[0] or expected > before[1]:
                    del last[name]  # it was asked for again
                    continue
                assert abs(told - expected) <= 1 + took_s + apart_s[name], name
                compared[names[name]] += 1
                last[name] = now
        assert all(compared.values())


@knot
@dnsmasq
@at_once
def test_resolvers_that_stand_still_are_not_noticed(run: Programs, tmp_path: Path) -> None:
    """[P97]: names that were asked for before have their answers, and new ones when both are
    back."""
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"10.0.0.{n} n{n}.example\n" for n in range(100)))
    zone = _HEAD + "".join(f"n{n} {1 + n % 2} A 10.0.0.{n}\n" for n in range(100))
    with ExitStack() as stack:
        port = free_port()
        words = [*dnsmasq_words(port, f"--addn-hosts={hosts}"), "--local-ttl=2"]
        both = [a_knot(stack, tmp_path, zone), Server(stack, words, port, tmp_path / "log")]
        ls_port, dns_port = balancer_before(run, both, "--cache", 8)
        steady = stack.enter_context(Steady(int(dns_port)))
        steady.ask(100)
        for one in both:
            one.signal(signal.SIGSTOP)
        steady.ask(400)
        for one in both:
            one.signal(signal.SIGCONT)
        steady.ask(100)
        assert steady.finish().keys() == {"data"}
        assert int(stats(ls_port)["stale"]) > 50

        def is_fresh(name: str) -> bool:
            query = dns.message.make_query(name, "A", use_edns=0)
            reply = dns.query.udp(query, LOOPBACK, PATIENCE_S, int(dns_port))
            return not reply.options and reply.answer[0].ttl <= 2

        wait_for(lambda: all(is_fresh(f"n{n}.example") for n in range(100)), "all are fresh")
