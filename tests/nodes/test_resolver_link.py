"""A resolver as an upstream of LS: which reply is told, how, and how its link stands.

Not here: how long a worse one waits (`tests/nodes/test_grace.py`), the bytes of replies
(`tests/nodes/test_reply.py`), and a resolver alone (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from core.addresses import Address
from core.bounds import Bounds
from core.operator import Standing
from nodes.ls.resolvers.tries import TRY
from nodes.ls.setup import ServerSetup
from tests.support.dns_messages import (
    AD,
    CD,
    CODES,
    DO,
    RD,
    TO_QUESTION,
    opt,
    question_of,
    record,
    reply,
    said,
    section_of,
)
from tests.support.resolver_cast import CLIENT, D1, D2, D3, HERE, MX, THERE, Cast

BEST_FIRST = ["10.0.0.9", "NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"]
SAYS = {"10.0.0.9": "x.example 10.0.0.9 A IN", "NXDOMAIN": "x.example - NOT FOUND",
        "NOERROR": "x.example - NO DATA", "REFUSED": "x.example - FAILED",
        "SERVFAIL": "x.example - FAILED"}  # fmt: skip


@pytest.mark.parametrize(("first", "second"), list(permutations(BEST_FIRST, 2)))
def test_the_better_one_is_told_whoever_says_it_first(first: str, second: str) -> None:
    """[P33]: to a resolver as it was said, to a client in lines. NO DATA of one shows that the name
    exists, whatever another says of it."""
    cast = Cast()
    query = cast.ask("x.example")
    cast.say_lines("x.example")
    cast.answer(D1, first)
    told = cast.told()
    assert bool(told) is (first == BEST_FIRST[0])
    cast.answer(D2, second)
    told += cast.told()
    best = min(first, second, key=BEST_FIRST.index)
    (message, whence) = told[0]
    assert len(told) == 1 and whence == HERE
    assert message == said(query, best)[:11] + b"\0" + said(query, best)[12:-11]  # without OPT
    assert cast.lines() == SAYS[best].encode() + b"\n"


@pytest.mark.parametrize("other", ["10.0.0.9", "NOERROR", "NXDOMAIN", "SERVFAIL"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_referral_counts_as_refused_and_is_told_as_failed(other: str, is_first: bool) -> None:
    """[P43]: as it came it would say that there is nothing."""
    cast = Cast()
    query = cast.ask("x.example")
    cast.say_lines("x.example")
    says = [(D1, "REFERRAL"), (D2, other)]
    for resolver, text in says if is_first else says[::-1]:
        cast.answer(resolver, text)
    ((message, _),) = cast.told()
    assert message[3] & 15 == CODES.get(other, 0) and section_of(message) == section_of(query)
    assert message[8:12] == bytes(4) and cast.lines() == SAYS[other].encode() + b"\n"


def test_of_equals_the_first_is_told() -> None:
    cast = Cast()
    cast.ask("x.example")
    for resolver, ttl_s in ((D1, 1), (D2, 2)):
        conn, query = cast.query_at(resolver)
        soa = record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), ttl_s)
        cast.say(conn, reply(query, "NXDOMAIN", authorities=(soa,)))
    ((message, _),) = cast.told()
    assert message.endswith(record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), 1))


def test_queries_that_differ_in_bits_do_not_join() -> None:
    """[P37]"""
    cast = Cast(1)
    for flags, edns, text in (
        (RD, b"", "x.example"),
        (RD | AD, b"", "x.example TYPE1 +ad"),
        (RD | CD, opt(flags=DO), "x.example TYPE1 +cd+do"),
        (0, b"", "x.example TYPE1 -rd"),
        (RD, opt(), None),
    ):
        cast.ask("x.example", flags=flags, edns=edns, whence=THERE)
        assert [question_of(query) for _, query in cast.asked(D1)] == (
            [] if text is None else [text]
        )
    assert cast.metric("joined") == 1


@pytest.mark.parametrize("explore_every", [1, 1_000])
def test_hedging_asks_nobody_what_it_cannot_be_asked(explore_every: int) -> None:
    """A table server, however fast it is, has nothing to say to a query for MX, and is not thought
    to be slow for it."""
    cast = Cast(tables=1, extra_load=0.05, bounds=Bounds(explore_every=explore_every))
    for n in range(30):
        cast.say_lines(f"a{n}.example")
        cast.stage.hear("TS1", f"a{n}.example 10.0.0.1 A IN\n".encode())
        for conn, query in cast.asked(D1) + cast.asked(D2):
            cast.say(conn, said(query, "10.0.0.1"))
        cast.stage.take("TS1")
        cast.ask(f"x{n}.example MX")
        (conn, query) = (cast.asked(D1) + cast.asked(D2))[0]
        cast.wait(0.02)
        cast.say(conn, reply(query, answers=(MX,)))
        assert cast.codes() == [0] and cast.stage.take("TS1") == b""
    if explore_every > 1:
        assert cast.metric("TS1.won") == 30


def test_hedging_asks_a_table_that_comes_only_what_it_can() -> None:
    cast = Cast(2, tables=1, extra_load=0.0, refused={f"DNS1.{n}" for n in range(1, 5)})
    cast.stage.reset("TS1")
    cast.ask("x~.example MX")
    cast.ask("x.example")
    cast.wait(0.1)
    cast.asked(D1)
    cast.stage.connect("TS1")
    cast.wait(1.0)
    assert cast.stage.take("TS1") == b"x.example\n"
    cast.wait(0.8)
    assert cast.codes() == [CODES["SERVFAIL"]] * 2


def test_a_resolver_beyond_a_table_does_not_make_hedging_unfit() -> None:
    """That it knows what a table has not is what it is there for."""
    cast = Cast(1, tables=1, extra_load=0.0)
    for n in range(4):
        cast.say_lines(f"n{n}.example")
        if cast.stage.take("TS1"):
            cast.stage.hear("TS1", f"n{n}.example - NOT FOUND\n".encode())
        cast.answer(D1, "10.0.0.1")
        assert cast.lines() == f"n{n}.example 10.0.0.1 A IN\n".encode()
    assert cast.metric("TS1.asked") and not any("hedging" in one for one in cast.stage.reports)


def test_a_resolver_that_differs_from_a_table_is_a_warning() -> None:
    cast = Cast(1, tables=1, sample=1.0)
    cast.say_lines("x.example")
    assert cast.stage.take("TS1") == b"x.example\n"
    cast.answer(D1, "10.0.0.1")
    cast.stage.hear("TS1", b"x.example 10.0.0.2 A IN\n")
    assert cast.stage.warnings == ["servers disagree about x.example: DNS1 10.0.0.1, TS1 10.0.0.2"]


def test_resolvers_that_differ_are_reported_and_recorded() -> None:
    cast = Cast(3, sample=1.0)
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.2,10.0.0.1")
    cast.answer(D3, "REFUSED")
    assert cast.metric("disagreements") == 1
    assert cast.stage.reports[-1] == (
        "servers disagree about x.example: DNS1 10.0.0.1, DNS2 10.0.0.2,10.0.0.1"
    )
    assert cast.stage.warnings == [], "resolvers may differ: it is no news"
    cast.ask("y.example MX")
    for resolver in (D1, D2, D3):
        conn, asked = cast.query_at(resolver)
        cast.say(conn, reply(asked, answers=(MX,)))
    assert cast.metric("disagreements") == 1 and cast.metric("sampled") == 2


@pytest.mark.parametrize("extra_load", [None, 0.0])
def test_a_resolver_that_comes_is_asked_for_all_that_is_open(
    extra_load: float | None,
) -> None:
    """Nothing waits for a socket of datagrams, so nothing will be said to be less by and by."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    gone = {f"DNS1.{n}" for n in range(1, 5)}
    cast = Cast(2, bounds=bounds, refused=gone, extra_load=extra_load)
    assert cast.metric("DNS1.state") == "DOWN"
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(0.1)
    assert cast.metric("DNS1.link") == "UP"
    asked = [question_of(query).encode() for _, query in cast.asked(D1)]
    assert len(asked) == 20 + asked.count(TRY)


def test_a_drain_closes_every_socket_and_ends() -> None:
    cast = Cast(tables=1)
    cast.ask("x.example")
    cast.ask("y.example")
    (conn, x), (other, y) = cast.asked(D1)
    cast.say(other, said(y, "TC"))
    cast.stage.end(CLIENT)
    cast.stage.drain()
    assert cast.stage.exit_code is None
    cast.say(conn, said(x, "10.0.0.1"))
    cast.stage.connect(cast.dialled(D1))
    cast.answer(D1, "10.0.0.2")
    cast.stage.end("TS1")
    assert cast.stage.exit_code == 0 and not cast.sockets(D1) and not cast.sockets(D2)
    assert [message[3] & 15 for message, _ in cast.told()] == [0, 0]


# -- where it is -----------------------------------------------------------------------------------

HOST = ("dns.example", 53)
OLD: Address = (2, ("10.0.0.53", 53))
NEW: Address = (2, ("10.0.0.99", 53))


def cast_of(*addresses: Address, **more: Any) -> Cast:  # noqa: ANN401
    """Build LS before one resolver with a host name, which is at these addresses."""
    return Cast(resolvers=[ServerSetup("quad9", addresses, HOST)], **more)


def asked_at(cast: Cast) -> set[tuple[Address, ...]]:
    """Return where the sockets lead that LS has."""
    return {cast.stage.addresses[conn] for conn in cast.sockets("quad9")}


def test_a_resolver_not_known_yet_is_looked_up_until_it_is() -> None:
    """[P61]: meanwhile it counts as one that is down, and fails at once."""
    cast = cast_of()
    lookup = ("quad9", *HOST)
    assert cast.stage.lookups == [lookup] and not cast.sockets("quad9")
    assert cast.metric("quad9.state") == "DOWN" and cast.brain.unhealthy()
    cast.ask("early.example")
    assert cast.codes() == [CODES["SERVFAIL"]]
    cast.stage.resolve("quad9", (), "not known")
    cast.wait(1.0)
    assert cast.stage.lookups == [lookup] * 2
    cast.stage.resolve("quad9", (NEW,))
    cast.wait(0.0)
    assert asked_at(cast) == {(NEW,)}
    cast.wait(0.0)
    assert question_of(cast.query_at("quad9")[1]).encode() == TRY
    cast.ask("x.example")
    cast.answer("quad9", "10.0.0.1")
    assert cast.codes() == [0] and cast.metric("quad9.won") == 1
    assert "quad9: dns.example is at 10.0.0.99:53 now" in cast.stage.reports
    assert cast.stage.reports[-1] == "quad9 is up [dns.example:53]"


def test_what_was_asked_of_a_resolver_that_moves_is_asked_there() -> None:
    """[P75]: at once, and what its old address still says does not count."""
    cast = cast_of(OLD)
    for n in range(3):
        cast.ask(f"n{n}.example")
    old = cast.asked("quad9")
    cast.stage.reload()
    assert cast.stage.lookups == [("quad9", *HOST)]
    cast.stage.resolve("quad9", (NEW,))
    assert asked_at(cast) == {(NEW,)}
    for conn, query in old:
        cast.say(conn, said(query, "10.6.6.6"))
    again = cast.asked("quad9")
    assert {question_of(query) for _, query in again} == {f"n{n}.example" for n in range(3)}
    assert cast.codes() == [], "nor does anything fail"
    for conn, query in again:
        cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] * 3
    assert cast.stage.warnings == [] and cast.stage.standings[-1] is Standing.READY


def test_what_was_asked_over_tcp_is_asked_there_over_tcp() -> None:
    """[P75]"""
    cast = cast_of(OLD)
    cast.ask("long.example")
    stream = cast.cut("quad9")
    assert [conn for conn, _ in cast.asked("quad9")] == [stream]
    cast.stage.reload()
    cast.stage.resolve("quad9", (NEW,))
    assert cast.dialled("quad9") == stream and cast.stage.addresses[stream] == (NEW,)
    cast.stage.connect(stream)
    cast.answer("quad9", "10.0.0.1")
    assert cast.codes() == [0]


def test_a_resolver_that_was_refused_may_be_well_elsewhere() -> None:
    """[P75]: nothing that the network said of its old address counts."""
    cast = cast_of(OLD)
    cast.ask("x.example")
    for _ in range(2):
        cast.stage.break_socket(cast.query_at("quad9")[0])
    assert cast.codes() == [CODES["SERVFAIL"]]
    cast.wait(cast.bounds.probe_s * 1.5)  # it is dialled, and probed
    cast.stage.reload()
    cast.stage.resolve("quad9", (NEW,))
    cast.asked("quad9")
    cast.ask("y.example")
    cast.stage.break_socket(cast.query_at("quad9")[0])
    assert cast.codes() == [], "a single error proves nothing"
    cast.answer("quad9", "10.0.0.1")
    assert cast.codes() == [0] and cast.metric("quad9.state") == "UP"


def test_a_silent_resolver_is_looked_up_and_asked_elsewhere() -> None:
    """[P75]: once it has been so for `away_s`, and each time after as long."""
    cast = cast_of(OLD, bounds=replace(Bounds(), silent_questions=1))
    cast.ask("x.example")
    cast.wait(3.0)
    assert cast.metric("quad9.state") == "SILENT" and cast.stage.lookups == []
    cast.wait(cast.bounds.away_s + cast.bounds.try_s)
    assert len(cast.stage.lookups) == 1 and cast.hits["away_s"] == 1
    cast.asked("quad9")
    cast.stage.resolve("quad9", (NEW,))
    cast.wait(cast.bounds.try_s)
    assert asked_at(cast) == {(NEW,)}
    (conn, query), *_ = cast.asked("quad9")
    assert question_of(query).encode() == TRY
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("quad9.state") == "UP"
    cast.wait(2 * cast.bounds.away_s)
    assert len(cast.stage.lookups) == 1


def test_of_several_addresses_one_that_replies_is_found() -> None:
    """[P75]: at the first it is refused, at the second there is silence."""
    more: Address = (2, ("10.0.0.77", 53))
    cast = cast_of(OLD, NEW, more, bounds=replace(Bounds(), silent_questions=1))
    assert asked_at(cast) == {(OLD,)}
    cast.ask("x.example")
    for _ in range(2):
        cast.stage.break_socket(cast.query_at("quad9")[0])
    cast.wait(cast.bounds.probe_s * 1.5)
    assert asked_at(cast) == {(NEW,)}
    cast.wait(cast.bounds.away_s * 1.5)
    assert asked_at(cast) == {(more,)}
    cast.stage.resolve("quad9", (OLD, NEW, more))
    assert asked_at(cast) == {(more,)}, "the same addresses are no move"


def test_a_resolver_that_is_not_known_does_not_hold_up_a_drain() -> None:
    cast = cast_of()
    cast.stage.end(CLIENT)
    cast.stage.drain()
    assert cast.stage.exit_code == 0
