"""A resolver as an upstream of LS: which reply is told, how, and how its link stands.

Not here: how long a worse one waits (`tests/nodes/test_grace.py`), the bytes of replies
(`tests/nodes/test_reply.py`), and a resolver alone (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace
from itertools import permutations

import pytest

from core.bounds import Bounds
from core.datagram_events import Datagrams
from core.io.frame_buffer import frame, split_frames
from nodes.dns.reply import read_reply
from tests.support.dns_messages import (
    AD,
    CD,
    CODES,
    DO,
    RA,
    RD,
    TO_QUESTION,
    address,
    name,
    opt,
    option,
    question_of,
    record,
    reply,
    said,
    section_of,
)
from tests.support.resolver_cast import CLIENT, D1, D2, D3, HERE, MX, TCP, THERE, UDP, Cast

BEST_FIRST = ["10.0.0.9", "NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"]


SAYS = {"10.0.0.9": "x.example 10.0.0.9 A IN", "NXDOMAIN": "x.example - NOT FOUND",
        "NOERROR": "x.example - NO DATA", "REFUSED": "x.example - FAILED",
        "SERVFAIL": "x.example - FAILED", "FORMERR": "x.example - FAILED"}  # fmt: skip


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
    referral = record(b"\7example\0", "NS", name("ns.example"))
    ((conn, asked),), ((second, asked_second),) = cast.asked(D1), cast.asked(D2)
    says = [
        lambda: cast.say(conn, reply(asked, authorities=(referral,), flags=RD)),
        lambda: cast.say(second, said(asked_second, other)),
    ]
    for say in says if is_first else says[::-1]:
        say()
    ((message, _),) = cast.told()
    told = "SERVFAIL" if other == "SERVFAIL" else other
    assert message[3] & 15 == CODES.get(told, 0) and section_of(message) == section_of(query)
    assert message[8:12] == bytes(4) and cast.lines() == SAYS[told].encode() + b"\n"


def test_who_wants_no_recursion_gets_a_referral_as_it_came() -> None:
    cast = Cast(1)
    cast.ask("x.example", flags=0)
    conn, asked = cast.query_at(D1)
    referral = record(b"\7example\0", "NS", name("ns.example"))
    cast.say(conn, reply(asked, authorities=(referral,), flags=0))
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message.endswith(referral)


def test_any_other_code_is_a_failure() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, reply(query, flags=RD | RA | 9))  # NOTAUTH
    assert cast.codes() == [9] and cast.metric("failed") == 1


def test_of_equals_the_first_is_told() -> None:
    cast = Cast()
    cast.ask("x.example")
    for resolver, ttl_s in ((D1, 1), (D2, 2)):
        conn, query = cast.query_at(resolver)
        soa = record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), ttl_s)
        cast.say(conn, reply(query, "NXDOMAIN", authorities=(soa,)))
    ((message, _),) = cast.told()
    assert message.endswith(record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), 1))


def test_a_reply_is_relayed_without_what_is_for_one_hop() -> None:
    """[P37]: a cookie, padding and the like stay here, and what explains the reply goes on."""
    cast = Cast(1)
    cookie, padding, ede = option(10, bytes(24)), option(12, bytes(9)), option(15, b"\0\3stale")
    glue = record(name("mail.example"), "A", address("10.0.0.7"))
    for edns in (b"", opt(), opt(flags=DO), opt(option(10, bytes(8)))):
        query = cast.ask("X.Example MX", edns=edns)
        conn, asked = cast.query_at(D1)
        has_do = bool(edns) and edns[7] & 0x80
        assert question_of(asked) == "x.example TYPE15" + " +do" * bool(has_do)
        flags = DO if has_do else 0
        theirs = opt(cookie + ede + padding, size=4096, flags=flags)
        cast.say(conn, reply(asked, answers=(MX,), additionals=(glue, theirs, glue)))
        ((message, _),) = cast.told()
        ours = (glue, opt(ede, flags=flags)) if edns else (glue,)
        assert message == reply(query, answers=(MX,), additionals=ours)


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


def test_each_asker_has_its_own_id_and_spelling() -> None:
    """[P37]"""
    cast = Cast(1)
    queries = [
        cast.ask(text, whence=whence)
        for text in ("x.example", "X.eXample")
        for whence in (HERE, THERE)
    ]
    cast.answer(D1, "10.0.0.1")
    assert [(message[:2], section_of(message), whence) for message, whence in cast.told()] == [
        (query[:2], section_of(query), whence)
        for query, whence in zip(queries, [HERE, THERE] * 2, strict=True)
    ]


def test_a_code_that_needs_edns_is_servfail_to_one_without() -> None:
    cast = Cast(1)
    for edns in (b"", opt()):
        cast.ask("x.example", edns=edns)
        conn, asked = cast.query_at(D1)
        cast.say(conn, reply(asked, flags=RD | RA | 7, additionals=(opt(high=1),)))  # BADCOOKIE
        ((message, _),) = cast.told()
        assert message[3] & 15 == (7 if edns else CODES["SERVFAIL"])
        assert not edns or message[-11:] == opt(high=1)


def test_a_stream_of_dns_is_relayed_to_as_well() -> None:
    cast = Cast(1)
    cast.stage.accept(TCP)
    query = cast.query("x.example TXT")
    cast.stage.hear(TCP, frame(query))
    conn, asked = cast.query_at(D1)
    long = tuple(record(TO_QUESTION, "TXT", bytes([200]) + bytes(200)) for _ in range(4))
    cast.say(conn, reply(asked, answers=long))
    assert split_frames(cast.stage.take(TCP)) == [reply(query, answers=long, additionals=())]


def test_a_line_has_the_addresses_that_aliases_lead_to() -> None:
    cast = Cast(1)
    cast.say_lines("X.example", "y.example AAAA")
    (conn, x), (_, y) = cast.asked(D1)
    alias = record(TO_QUESTION, "CNAME", name("other.example"))
    found = [record(name("OTHER.example"), "A", address(text)) for text in ("10.0.0.1", "10.0.0.2")]
    stray = record(name("stray.example"), "A", address("10.6.6.6"))
    cast.say(conn, reply(x, answers=(found[0], stray, alias, found[1])), said(y, "2001:db8::1"))
    assert cast.lines() == b"x.example 10.0.0.1,10.0.0.2 A IN\ny.example 2001:db8::1 AAAA IN\n"


def test_an_alias_that_leads_to_nothing_is_no_data() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, answers=(record(TO_QUESTION, "CNAME", name("other.example")),)))
    assert cast.lines() == b"x.example - NO DATA\n"


def test_a_set_that_no_line_holds_is_cut_to_what_it_does() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    cast.answer(D1, ",".join(f"10.200.200.{n}" for n in range(100, 160)))
    line = cast.lines()
    assert 490 < len(line) <= 513 and line.endswith(b" A IN\n") and b",, " not in line


def test_a_long_set_is_written_once_for_all_who_ask() -> None:
    """A client that asked often for a name with thousands of addresses has stopped LS."""
    cast = Cast(1)
    cast.say_lines(*["x.example"] * 300)
    conn, asked = cast.query_at(D1)
    many = [record(TO_QUESTION, "A", number.to_bytes(4)) for number in range(3_000)]
    answer = reply(asked, answers=tuple(many))
    parsed = read_reply(answer[2:])
    assert parsed is not None and parsed.addresses is parsed.addresses
    cast.say(conn, answer)
    assert len(cast.lines().splitlines()) == 300


def test_lines_and_queries_join() -> None:
    cast = Cast(1)
    cast.say_lines("X.example")
    cast.ask("x.example")
    assert len(cast.asked(D1)) == 1 and cast.metric("joined") == 1


def test_hedging_asks_the_next_when_the_first_has_no_answer() -> None:
    cast = Cast(extra_load=0.0)
    cast.ask("x.example")
    assert cast.asked(D2) == []
    cast.answer(D1, "SERVFAIL")
    assert cast.codes() == []
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [0]


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


def test_hedging_counts_the_answers_and_losses_of_resolvers() -> None:
    cast = Cast(extra_load=1.0)
    cast.ask("x.example")
    cast.wait(0.05)
    cast.answer(D2, "10.0.0.2")
    cast.answer(D1, "10.0.0.1")
    assert cast.codes() == [0]
    assert (cast.metric("hedged"), cast.metric("DNS2.won"), cast.metric("DNS1.late")) == (1, 1, 1)


def test_resolvers_that_differ_are_reported_and_recorded() -> None:
    cast = Cast(3, sample=1.0)
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.2,10.0.0.1")
    cast.answer(D3, "REFUSED")
    assert cast.metric("disagreements") == 1
    assert cast.stage.reports[-1] == (
        "TSs disagree about x.example: DNS1 10.0.0.1, DNS2 10.0.0.2,10.0.0.1"
    )
    cast.ask("y.example MX")
    for resolver in (D1, D2, D3):
        conn, asked = cast.query_at(resolver)
        cast.say(conn, reply(asked, answers=(MX,)))
    assert cast.metric("disagreements") == 1 and cast.metric("sampled") == 2


def test_a_question_that_comes_back_in_a_loop_joins() -> None:
    """A loop: what LS asks its resolver is asked of LS again, by whoever that forwards to."""
    cast = Cast(1)
    cast.ask("x.example MX", edns=opt(flags=DO))
    for _ in range(3):
        for _, query in cast.asked(D1):
            cast.stage.step(Datagrams(UDP, [(query, THERE)]))
    assert cast.asked(D1) == [] and cast.metric("joined") == 1
    cast.wait(1.8)
    assert cast.codes() == [CODES["SERVFAIL"]] * 2


def test_a_resolver_without_sockets_is_dialled_again() -> None:
    cast = Cast(1, refused={f"DNS1.{n}" for n in range(1, 5)})
    assert cast.metric("DNS1.state") == "DOWN" and cast.brain.unhealthy() == "no server is up"
    cast.ask("x.example")
    assert cast.codes() == [CODES["SERVFAIL"]]  # nobody could be asked
    cast.wait(0.1)
    assert cast.metric("DNS1.state") == "UP" and cast.brain.unhealthy() == ""
    assert cast.stage.reports == ["DNS1 is down (refused); dialling it again", "DNS1 is up"]
    cast.ask("x.example")
    assert len(cast.asked(D1)) == 1


@pytest.mark.parametrize("extra_load", [None, 0.0])
def test_a_resolver_that_comes_is_asked_for_all_that_is_open(
    extra_load: float | None,
) -> None:
    """Nothing waits for a socket of datagrams, so nothing will be said to be less by and by."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    gone = {f"DNS1.{n}" for n in range(1, 5)}
    cast = Cast(2, bounds=bounds, refused=gone, extra_load=extra_load)
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(0.1)
    assert cast.metric("DNS1.state") == "UP" and len(cast.asked(D1)) == 20


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


def test_a_name_with_any_byte_ends_its_own_asker_only() -> None:
    """Names with any byte in them; one asks for another's text."""
    cast = Cast(1)
    odd = [b"\5a b.c\0", b"\3a\nb\0", b"\3a\\b\0", b"\7a - b.c\0", b"\0"]
    for number, packed in enumerate(odd):
        head = number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        cast.stage.step(Datagrams(UDP, [(head + packed + b"\0\x10\0\1", HERE)]))
    assert sorted(section_of(query)[:-4] for _, query in cast.asked(D1)) == sorted(odd)
    cast.wait(1.8)
    assert [(message[:2], section_of(message)[:-4]) for message, _ in cast.told()] == [
        (number.to_bytes(2), packed) for number, packed in enumerate(odd)
    ]


def test_flags_of_the_reply_are_the_resolvers() -> None:
    cast = Cast(1)
    cast.ask("x.example", flags=RD | AD)
    conn, asked = cast.query_at(D1)
    cast.say(
        conn,
        reply(asked, answers=(record(TO_QUESTION, "A", address("10.0.0.1")),), flags=RD | RA | AD),
    )
    ((message, _),) = cast.told()
    assert int.from_bytes(message[2:4]) == 0x8000 | RD | RA | AD
