"""A resolver that does not know EDNS is asked without.

Not here: the bytes of replies (`tests/nodes/test_reply.py`).
"""

import pytest

from nodes.ls.resolvers.edns_fallback import EdnsFallback
from tests.support.dns_messages import (
    AD,
    CD,
    CODES,
    DO,
    RD,
    TO_QUESTION,
    address,
    has_opt,
    name,
    opt,
    record,
    reply,
    said,
    without_opt,
)
from tests.support.resolver_cast import D1, D2, Cast, flood, guesses

NO_EDNS = ["FORMERR", "NOTIMP", "bare FORMERR", "bare NOTIMP"]
TELLS = "DNS1 does not know EDNS: it is asked without for 10 min at a time"


def refuse_edns(cast: Cast, text: str = "FORMERR", to: str = D1) -> list[tuple[str, bytes]]:
    """Refuse EDNS to all that it was asked with it; return what it is asked without."""
    plain: list[tuple[str, bytes]] = []
    while asked := cast.asked(to):
        for conn, query in asked:
            if has_opt(query):
                cast.say(conn, said(query, text))
            else:
                plain.append((conn, query))
    return plain


@pytest.mark.parametrize("text", NO_EDNS)
@pytest.mark.parametrize("edns", [b"", opt(), opt(flags=DO)])
def test_a_resolver_without_edns_is_asked_again_without(text: str, edns: bytes) -> None:
    """[P48]: at once; its client hears what it then says, with an OPT record if it sent one. AD and
    CD are in the header, and stay."""
    cast = Cast(1)
    query = cast.ask("X.example", edns=edns, flags=RD | AD | CD)
    conn, asked = cast.query_at(D1)
    assert has_opt(asked)
    cast.say(conn, said(asked, text))
    conn, again = cast.query_at(D1)
    assert not has_opt(again) and again[:2] != asked[:2]
    assert again[2:10] == asked[2:10] and again[12:] == asked[12:-11]
    assert cast.told() == [] and TELLS not in cast.stage.reports
    cast.say(conn, without_opt(said(again, "10.0.0.1")))
    ((message, _),) = cast.told()
    has_do = bool(edns) and edns[7] & 0x80
    ends = opt(flags=DO if has_do else 0) if edns else b""
    assert message == reply(
        query, answers=(record(TO_QUESTION, "A", address("10.0.0.1")),),
        additionals=(ends,) if edns else (),
    )  # fmt: skip
    assert cast.stage.reports.count(TELLS) == 1 and cast.metric("DNS1.plain") == 1


def ask_plain(cast: Cast, question: str) -> None:
    """Ask this, refuse EDNS to it, and answer it without."""
    cast.ask(question)
    ((conn, query),) = refuse_edns(cast)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))


def test_no_edns_is_remembered_for_a_while_and_tried_again() -> None:
    """[P48]"""
    cast = Cast(1)
    for round_ in range(3):
        ask_plain(cast, f"x{round_}.example")
        for n in range(5):
            cast.ask(f"n{n}.r{round_}.example")
            conn, query = cast.query_at(D1)
            assert not has_opt(query)
            cast.say(conn, without_opt(said(query, "NXDOMAIN")))
        cast.wait(cast.bounds.plain_s)
    assert cast.codes() == ([0] + [3] * 5) * 3
    assert cast.stage.reports.count(TELLS) == 1  # it was known all the time


def test_a_resolver_that_learns_edns_is_asked_with_it() -> None:
    cast = Cast(1)
    ask_plain(cast, "x.example")
    cast.wait(cast.bounds.plain_s)
    for n in range(3):
        cast.ask(f"n{n}.example")
        conn, query = cast.query_at(D1)
        assert has_opt(query)
        cast.say(conn, said(query, "10.0.0.1"))
    cast.wait(2 * cast.bounds.plain_s)
    ask_plain(cast, "y.example")
    assert cast.codes() == [0] * 5
    assert cast.stage.reports.count(TELLS) == 2  # it knew it meanwhile


@pytest.mark.parametrize("text", ["FORMERR", "bare NOTIMP"])
def test_what_is_not_understood_either_way_is_servfail(text: str) -> None:
    """[P48]: and says nothing about other questions. It is asked with EDNS only once."""
    cast = Cast(1)
    for edns in (b"", opt()):
        cast.ask("odd.example", edns=edns)
        ((conn, query),) = refuse_edns(cast, text)
        cast.say(conn, said(query, text))
        ((message, _),) = cast.told()
        assert message[3] & 15 == CODES["SERVFAIL"] and name("odd.example") in message
        assert bool(message[11]) is bool(edns)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    assert has_opt(query) and not any("EDNS" in report for report in cast.stage.reports)
    assert cast.metric("DNS1.plain") == 2
    cast.say(conn, said(query, "10.0.0.1"))
    cast.told()
    cast.ask("odd.example")
    conn, query = cast.query_at(D1)
    assert not has_opt(query)
    cast.say(conn, said(query, text))
    cast.wait(cast.bounds.plain_s)
    cast.ask("odd.example")
    assert has_opt(cast.query_at(D1)[1])


def test_many_in_flight_are_asked_again_in_one_batch() -> None:
    """[P48] [P40]: none is in flight twice, and nothing is late."""
    cast = Cast(1)
    flood(cast, 300)
    first = cast.asked(D1)
    (conn,) = {conn for conn, _ in first}
    cast.say(conn, *[said(query, "FORMERR") for _, query in first])
    resolver = cast.resolver(D1)
    again = cast.asked(D1)
    plain = [query for _, query in again if not has_opt(query)]
    assert len(plain) == len(first) and resolver.in_flight.count == len(again)
    while again:
        for conn, query in again:
            text = "FORMERR" if has_opt(query) else "10.0.0.1"
            cast.say(conn, said(query, text))
        again = cast.asked(D1)
    assert cast.codes() == [0] * 300 and resolver.in_flight.count == 0
    assert cast.metric("DNS1.resent") == 0 and not resolver.ageing.overdue
    assert cast.stage.reports.count(TELLS) == 1


def test_what_is_asked_without_edns_and_lost_is_sent_again_so() -> None:
    """[P48] [P39]: and a second FORMERR, to a query that was sent twice, is no failure."""
    cast = Cast()
    cast.ask("x.example")
    cast.answer(D2, "REFUSED")
    cast.wait(cast.bounds.grace_unknown_s + 0.001)
    first, second = cast.asked(D1)
    cast.say(first[0], said(first[1], "FORMERR"))
    assert not has_opt(cast.query_at(D1)[1])
    cast.say(second[0], said(second[1], "FORMERR"))
    assert cast.told() == []
    cast.wait(0.1)
    conn, query = cast.asked(D1)[-1]
    assert not has_opt(query) and cast.told() == []
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    assert cast.codes() == [0]


@pytest.mark.parametrize("closes", [False, True])
def test_over_tcp_it_is_asked_again_without_edns_too(closes: bool) -> None:
    """[P48]: also where the stream is closed after each reply, and the question goes by the next:
    it would else be asked with EDNS again and again."""
    cast = Cast(1)
    cast.ask("w.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))  # it is asked over TCP only
    cast.answer(D1, "10.0.0.1")
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.told()
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    assert conn == stream and has_opt(asked)
    cast.say(stream, said(asked, "FORMERR"))
    ((conn, query),) = cast.asked(D1)
    assert conn == stream and not has_opt(query)
    if closes:
        cast.stage.end(stream)
        cast.stage.connect(cast.dialled(D1))
        ((conn, query),) = cast.asked(D1)
        assert not has_opt(query)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    assert cast.codes() == [0]


def test_what_is_cut_without_edns_is_asked_over_tcp_without() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    ((conn, query),) = refuse_edns(cast)
    cast.say(conn, without_opt(said(query, "TC")))
    assert cast.stage.reports.count(TELLS) == 1
    cast.stage.connect(cast.dialled(D1))
    conn, query = cast.query_at(D1)
    assert not has_opt(query)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    assert cast.codes() == [0]


def test_what_nobody_wants_any_more_is_not_asked_again() -> None:
    cast = Cast()
    cast.ask("x.example")
    cast.answer(D2, "10.0.0.2")
    assert refuse_edns(cast, "bare FORMERR") == []
    assert (cast.metric("DNS1.late"), cast.metric("DNS1.unmatched")) == (1, 0)


def test_what_was_in_flight_prolongs_no_time_without_edns() -> None:
    """A question that was asked with EDNS, and refused when that was known of all."""
    edns = EdnsFallback(D1, 600.0)
    edns.misunderstood([b"x"], 0.0)
    edns.understood(b"x", 0.0)
    edns.misunderstood([b"in-flight"], 0.1)
    assert edns.select_plain([b"in-flight"], 599.0)
    edns.understood(b"in-flight", 599.0)
    assert not edns.select_plain([b"in-flight"], 601.0)


def test_odd_questions_are_forgotten_beyond_a_bound() -> None:
    edns = EdnsFallback(D1, 600.0)
    for n in range(10_000):
        edns.misunderstood([b"n%d" % n], 1.0)
    every = [b"n%d" % n for n in range(10_000)]
    assert len(edns.select_plain(every, 1.0)) <= 4_096
    assert edns.select_plain([b"n9999", b"x"], 1.0) == {b"n9999"}
    assert not edns.select_plain([b"n9999"], 601.0) and edns.is_at_rest
