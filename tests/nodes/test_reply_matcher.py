"""Which replies of a resolver count: its own, a header only, with a tail, too long, or late.

Not here: the bytes, one by one (`tests/nodes/test_reply.py`), and what follows on guesses
(`tests/nodes/test_guess_guard.py`).
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.addresses import DATAGRAM_BYTES_MAX
from core.bounds import Bounds
from core.datagram_events import Datagrams
from core.operator import DrainAsked
from nodes.ls.resolvers.recent_queries import RecentQueries
from tests.support.dns_messages import (
    CODES,
    DO,
    RD,
    TC,
    TO_QUESTION,
    address,
    bare,
    has_opt,
    malformed,
    opt,
    record,
    reply,
    said,
    section_of,
)
from tests.support.resolver_cast import D1, D2, HERE, UDP, Cast


def another_id(query: bytes) -> bytes:
    return bytes([query[0] ^ 0x80]) + query[1:]


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "another ID": lambda query: said(another_id(query), "10.6.6.6"),
    "another name": lambda query: said(query, "10.6.6.6").replace(b"\1x", b"\1y"),
    "another type": lambda query: reply(query, section=section_of(query)[:-3] + b"\x1c\0\1"),
    "another class": lambda query: reply(query, section=section_of(query)[:-1] + b"\3"),
    "no reply": lambda query: query,
    "no question": lambda query: query[:2] + b"\x81\x80" + bytes(8),
    "no such name, and no question": lambda query: bare(query, "NXDOMAIN"),
    "a header with another ID": lambda query: bare(another_id(query), "REFUSED"),
    "cut short": lambda query: said(query, "10.6.6.6")[:-12],
    "and other bytes": lambda query: malformed(said(query, "10.6.6.6")),
    "an operation": lambda query: query[:2] + b"\xa9" + said(query, "10.6.6.6")[3:],
    "nothing": lambda query: b"",
    "an ID": lambda query: query[:2],
}  # fmt: skip


@pytest.mark.parametrize("spoiled", ["another name", "another type", "no question", "nothing"])
def test_a_stray_reply_settles_no_closed_question(spoiled: str) -> None:
    """A question that is asked again would miss the reply that is on its way."""
    cast = Cast(2)
    cast.ask("x.example")
    cast.answer(D2, "10.0.0.2")
    conn, asked = cast.query_at(D1)
    cast.say(conn, SPOILED[spoiled](asked))
    assert cast.metric("DNS1.unmatched") == 1 and cast.metric("DNS1.late") == 0
    cast.say(conn, said(asked, "10.0.0.1").replace(b"example", b"eXAMPLE"))
    assert cast.metric("DNS1.late") == 1


@pytest.mark.parametrize("spoiled", SPOILED)
def test_f5_what_is_no_reply_to_its_question_ends_nothing(spoiled: str) -> None:
    """[P35]: and the good one still counts."""
    cast = Cast(1)
    query = cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, SPOILED[spoiled](asked))
    assert cast.told() == []
    cast.say(conn, said(asked, "10.0.0.1").replace(b"example", b"eXAMPLE"))
    ((message, _),) = cast.told()
    assert message[:2] == query[:2] and message.endswith(address("10.0.0.1"))
    counted = cast.metric("DNS1.unmatched"), cast.metric("DNS1.malformed")
    is_guess = spoiled.startswith(("another", "a header")) or spoiled == "nothing"
    assert counted == ((1, 0) if is_guess else (0, 1))


def test_ids_are_the_bytes_of_the_secret_source_and_free_ones() -> None:
    """Two of the same would let one reply end the other's question."""
    drawn = iter([b"\0", b"\1\1\2\2\3\3", b"\0", b"\1\1", b"\2\2", b"\4\4"])
    cast = Cast(1)
    cast.chance.draw = lambda size: next(drawn)
    cast.stage.step(Datagrams(UDP, [(cast.query(f"n{n}.example"), HERE) for n in range(3)]))
    assert [query[:2] for _, query in cast.asked(D1)] == [b"\1\1", b"\2\2", b"\3\3"]
    cast.wait(0.001)
    cast.ask("x.example")
    assert [query[:2] for _, query in cast.asked(D1)] == [b"\4\4"]


def test_of_copies_only_so_many_are_remembered() -> None:
    """[P36]: twice the bound at most."""
    cast = Cast(1, bounds=replace(Bounds(), remembered_max=8, upstream_sockets=1))
    conn = cast.sockets(D1)[0]
    said_ = []
    for n in range(30):
        cast.ask(f"n{n}.example")
        _, query = cast.query_at(D1)
        said_.append(said(query, "10.0.0.1"))
        cast.say(conn, said_[-1])
    cast.say(conn, *said_)
    assert 8 <= cast.metric("DNS1.late") <= 16
    assert cast.metric("DNS1.unmatched") == 30 - cast.metric("DNS1.late")


def test_the_newest_queries_are_known_and_the_oldest_forgotten() -> None:
    """However often it is asked, and so however often what is outdated is cleared away."""
    most, recent = 8, RecentQueries(8)
    ids = [number.to_bytes(2) for number in range(100)]
    for sent, number in enumerate(ids, 1):
        recent.remember(number, [b"n%d.example" % sent])
        newest = ids[max(0, sent - most) : sent]
        assert all(map(recent.has, newest)), sent
    assert not any(map(recent.has, ids[: -5 * most]))
    recent.clear()
    assert not any(map(recent.has, ids))


@pytest.mark.parametrize("code", ["REFUSED", "SERVFAIL"])
@pytest.mark.parametrize("edns", [b"", opt(flags=DO)])
def test_an_error_that_is_a_header_only_counts(code: str, edns: bytes) -> None:
    """[P46]: what is told of it has its question, and an OPT record if the client sent one."""
    cast = Cast()
    query = cast.ask("X.example", edns=edns)
    cast.say_lines("x.example")
    for resolver in (D1, D2):
        for conn, asked in cast.asked(resolver):
            cast.say(conn, said(asked, f"bare {code}"))
    ((message, _),) = cast.told()
    assert message == reply(query, code, additionals=(edns,) if edns else ())
    assert cast.lines() == b"x.example - FAILED\n"
    assert cast.metric("DNS1.malformed") == cast.metric("DNS1.unmatched") == 0


def test_a_copy_of_a_header_is_no_guess() -> None:
    """[P36]: nor is a late one."""
    cast = Cast()
    for n in range(40):
        cast.ask(f"n{n}.example")
        cast.answer(D2, "REFUSED")
        conn, query = cast.query_at(D1)
        cast.say(conn, *[bare(query, "REFUSED")] * 3)
    assert cast.codes() == [CODES["REFUSED"]] * 40
    assert (cast.metric("DNS1.late"), cast.metric("DNS1.unmatched")) == (80, 0)


def test_an_error_with_wrong_counts_counts() -> None:
    """[P46]: many copy the header of the query, which counts an OPT record, and send no record."""
    cast = Cast(1)
    query = cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, "REFUSED")[:-11])
    ((message, _),) = cast.told()
    assert message == reply(query, "REFUSED", additionals=())
    cast.ask("y.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, reply(query, "FORMERR")[:12])
    assert not has_opt(cast.query_at(D1)[1])


def long_reply(query: bytes, size: int) -> bytes:
    """Write a reply of so many bytes at least."""
    text = record(TO_QUESTION, "TXT", bytes([200]) + bytes(200))
    return reply(query, answers=(text,) * (size // len(text) + 1))


def test_a_datagram_that_is_longer_than_what_is_read_is_cut() -> None:
    """[P47]: it is asked for over TCP."""
    cast = Cast(1)
    cast.ask("x.example TXT")
    conn, asked = cast.query_at(D1)
    whole = long_reply(asked, 5_000)
    cast.say(conn, whole[: DATAGRAM_BYTES_MAX - 1])
    assert not cast.stage.dialled and cast.metric("DNS1.malformed") == 1
    cast.say(conn, whole[:DATAGRAM_BYTES_MAX])
    cast.stage.connect(cast.dialled(D1))
    conn, asked = cast.query_at(D1)
    cast.say(conn, long_reply(asked, 5_000)[:DATAGRAM_BYTES_MAX])
    assert cast.told() == []  # of a stream all is read
    cast.say(conn, long_reply(asked, 5_000))
    ((message, _),) = cast.told()
    assert message[2] & 0x02  # to our client it is, too


def test_a_datagram_that_is_as_long_and_whole_counts() -> None:
    """[P47]"""
    cast = Cast(1)
    cast.ask("x.example TXT")
    conn, asked = cast.query_at(D1)
    padded = long_reply(asked, 600) + bytes(4_000)
    cast.say(conn, padded[:DATAGRAM_BYTES_MAX])
    assert not cast.stage.dialled and len(cast.told()) == 1


def test_a_header_that_says_tc_is_asked_for_over_tcp_once() -> None:
    """[P46] (RFC 2181, section 9) [P47]: there is no other way that could bring more."""
    cast = Cast(1)
    for is_cut_again in (False, True):
        cast.ask("x.example")
        conn, query = cast.query_at(D1)
        cast.say(conn, bare(query, "NOERROR", flags=TC | RD))
        if not is_cut_again:
            cast.stage.connect(cast.dialled(D1))
        stream, query = cast.query_at(D1)
        cast.say(stream, bare(query, "NOERROR", flags=TC) if is_cut_again else said(query, "::"))
    assert cast.codes() == [0, CODES["SERVFAIL"]]
    assert cast.metric("DNS1.malformed") == 0 and cast.asked(D1) == []


@pytest.mark.parametrize(
    ("timeout_s", "dns_timeout_s", "takes_s"),
    [(5.0, 10.0, 6.5), (1.0, 4.5, 1.3), (20.0, 1.8, 19.0)],
)
def test_a_late_reply_counts_as_long_as_an_asker_waits(
    timeout_s: float, dns_timeout_s: float, takes_s: float
) -> None:
    """[P45]"""
    cast = Cast(1, bounds=replace(Bounds(), timeout_s=timeout_s, dns_timeout_s=dns_timeout_s))
    cast.ask("x.example")
    cast.say_lines("x.example")
    conn, query = cast.query_at(D1)
    cast.wait(takes_s)
    cast.told()
    cast.lines()
    cast.say(conn, said(query, "10.0.0.1"))
    assert bool(cast.told()) is (dns_timeout_s > timeout_s)
    assert cast.lines() == (b"x.example 10.0.0.1 A IN\n" if timeout_s > dns_timeout_s else b"")
    assert cast.metric("DNS1.unmatched") == 0


def test_a_drain_waits_for_dns_as_long_as_dns_does() -> None:
    """[P45]: `--timeout 1`, and a resolver that needs three seconds."""
    cast = Cast(1, bounds=replace(Bounds(), timeout_s=1.0, dns_timeout_s=4.5))
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.stage.step(DrainAsked())
    cast.wait(3.0)
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] and not cast.hits["drain_grace_s"]
