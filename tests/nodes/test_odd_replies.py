"""LS before resolvers that reply oddly: without EDNS, a header only, a tail, too long, or late.

The helpers are those of `tests/nodes/test_resolver.py`, for replies that are not as the book says
and yet say something. Not here: the bytes, one by one (`tests/nodes/test_reply.py`), and chance
(`tests/sim/test_resolver_story.py`).
"""

from dataclasses import replace

import pytest

from core.addresses import DATAGRAM_BYTES_MAX
from core.bounds import Bounds
from core.operator import DrainAsked
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from tests.nodes.test_resolver import D1, D2, Cast, flood, guesses
from tests.support.dns_messages import (
    CODES,
    DO,
    RD,
    TC,
    TO_QUESTION,
    address,
    bare,
    has_opt,
    name,
    opt,
    question_of,
    record,
    reply,
    said,
    without_opt,
)

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


# -- without EDNS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", NO_EDNS)
@pytest.mark.parametrize("edns", [b"", opt(), opt(flags=DO)])
def test_a_resolver_without_edns_is_asked_again_without(text: str, edns: bytes) -> None:
    """[P48]: at once; its client hears what it then says, with an OPT record if it sent one."""
    cast = Cast(1)
    query = cast.ask("X.example", edns=edns)
    conn, asked = cast.query_at(D1)
    assert has_opt(asked)
    cast.say(conn, said(asked, text))
    conn, again = cast.query_at(D1)
    assert not has_opt(again) and again[12:] == asked[12:-11] and again[:2] != asked[:2]
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


def test_badvers_is_asked_again_without_edns() -> None:
    """[P48]: nothing but the OPT record can be the reason."""
    cast = Cast(1)
    cast.ask("x.example", edns=opt())
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, additionals=(opt(high=1),)))
    conn, again = cast.query_at(D1)
    assert not has_opt(again)
    cast.say(conn, without_opt(said(again, "10.0.0.1")))
    assert cast.codes() == [0]


def test_no_edns_is_remembered_for_a_while_and_tried_again() -> None:
    """[P48]"""
    cast = Cast(1)
    for round_ in range(3):
        cast.ask(f"x{round_}.example")
        ((conn, query),) = refuse_edns(cast)
        cast.say(conn, without_opt(said(query, "10.0.0.1")))
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
    cast.ask("x.example")
    ((conn, query),) = refuse_edns(cast)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    cast.wait(cast.bounds.plain_s)
    for n in range(3):
        cast.ask(f"n{n}.example")
        conn, query = cast.query_at(D1)
        assert has_opt(query)
        cast.say(conn, said(query, "10.0.0.1"))
    cast.wait(2 * cast.bounds.plain_s)
    cast.ask("y.example")
    ((conn, query),) = refuse_edns(cast)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
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


def test_a_client_of_lines_hears_what_is_said_without_edns() -> None:
    cast = Cast(1)
    cast.say_lines("x.example", "y.example AAAA")
    for conn, query in refuse_edns(cast):
        is_a = question_of(query) == "x.example"
        cast.say(conn, without_opt(said(query, "10.0.0.1" if is_a else "NOERROR")))
    assert cast.lines() == b"x.example 10.0.0.1 A IN\ny.example AAAA - NO DATA\n"


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
    """[P48] [P39]"""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.answer(D2, "REFUSED")
    refuse_edns(cast)
    cast.wait(cast.bounds.resend_min_s + 0.001)
    conn, query = cast.query_at(D1)
    assert not has_opt(query)
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    assert cast.codes() == [0, 0]


def test_a_second_formerr_to_one_question_changes_nothing() -> None:
    """A query was sent twice, and asked again without; the other copy is no failure."""
    cast = Cast()
    cast.ask("x.example")
    cast.answer(D2, "REFUSED")
    cast.wait(cast.bounds.grace_unknown_s + 0.001)
    first, second = cast.asked(D1)
    cast.say(first[0], said(first[1], "FORMERR"))
    conn, query = cast.query_at(D1)
    cast.say(second[0], said(second[1], "FORMERR"))
    assert cast.told() == []
    cast.say(conn, without_opt(said(query, "10.0.0.1")))
    assert cast.codes() == [0]


def test_signatures_are_not_asked_for_without_edns() -> None:
    """[P48]: AD and CD are in the header, and stay."""
    cast = Cast(1)
    cast.ask("x.example MX", edns=opt(flags=DO), flags=RD | 0x30)
    conn, asked = cast.query_at(D1)
    assert question_of(asked) == "x.example TYPE15 +ad+cd+do"
    cast.say(conn, said(asked, "NOTIMP"))
    assert question_of(cast.query_at(D1)[1]) == "x.example TYPE15 +ad+cd"


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


def test_odd_questions_are_forgotten_beyond_a_bound() -> None:
    edns = EdnsFallback(D1, 600.0)
    for n in range(10_000):
        edns.misunderstood([b"n%d" % n], 1.0)
    assert len(edns._odd) <= 4_096
    assert edns.select_plain([b"n9999", b"x"], 1.0) == {b"n9999"}
    assert not edns.select_plain([b"n9999"], 601.0) and not edns._odd


# -- a header only ---------------------------------------------------------------------------------


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


def test_an_error_that_is_a_header_only_is_worse_than_any_word() -> None:
    """[P46] [P33]: it is held as any other of its code."""
    for text in ("NOERROR", "NXDOMAIN", "10.0.0.2"):
        cast = Cast()
        cast.ask("x.example")
        cast.answer(D1, "bare REFUSED")
        assert cast.told() == []
        cast.answer(D2, text)
        assert cast.codes() == [CODES.get(text, 0)]


@pytest.mark.parametrize("code", ["NOERROR", "NXDOMAIN"])
def test_no_error_without_a_question_is_no_reply(code: str) -> None:
    """[P35]"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, bare(query, code))
    assert cast.told() == [] and cast.metric("DNS1.malformed") == 1
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0]


def test_a_header_with_another_id_matches_nothing() -> None:
    """[P35] [P36]"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, *[bare(guess, "REFUSED") for guess in guesses(query, 32)])
    assert cast.told() == [] and cast.metric("DNS1.unmatched") == 32
    assert cast.hits["unmatched_max"] == 1


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


def test_a_header_that_says_tc_is_asked_for_over_tcp() -> None:
    """[P46] (RFC 2181, section 9)"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, bare(query, "NOERROR", flags=TC | RD))
    cast.stage.connect(cast.dialled(D1))
    cast.answer(D1, "10.0.0.1")
    assert cast.codes() == [0]


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


# -- a tail, and too much --------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("has_edns", [False, True])
def test_bytes_behind_a_reply_are_left_out(is_stream: bool, has_edns: bool) -> None:
    """[P47]"""
    cast = Cast(1)
    query = cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    if is_stream:
        cast.say(conn, said(asked, "TC"))
        cast.stage.connect(cast.dialled(D1))
        conn, asked = cast.query_at(D1)
    good = said(asked, "10.0.0.1")
    cast.say(conn, (good if has_edns else without_opt(good)) + b"\0tail")
    ((message, _),) = cast.told()
    assert message == without_opt(said(query, "10.0.0.1"))


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


def test_a_cut_header_over_tcp_is_a_failure_at_once() -> None:
    """[P47]"""
    cast = Cast(1)
    cast.ask("x.example")
    cast.answer(D1, "TC")
    cast.stage.connect(cast.dialled(D1))
    conn, query = cast.query_at(D1)
    cast.say(conn, bare(query, "NOERROR", flags=TC))
    assert cast.codes() == [CODES["SERVFAIL"]]


# -- late ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout_s", "dns_timeout_s", "takes_s"),
    [(5.0, 10.0, 6.5), (1.0, 4.5, 1.3), (20.0, 1.8, 19.0)],
)
def test_a_late_reply_counts_as_long_as_an_asker_waits(
    timeout_s: float, dns_timeout_s: float, takes_s: float
) -> None:
    """[P45]: on whatever socket, which may have been replaced long ago."""
    bounds = replace(
        Bounds(), timeout_s=timeout_s, dns_timeout_s=dns_timeout_s, upstream_socket_s=0.5
    )
    cast = Cast(1, bounds=bounds)
    cast.ask("x.example")
    cast.say_lines("x.example")
    conn, query = cast.asked(D1)[0]
    for _ in range(10):
        cast.wait(takes_s / 10)
        cast.ask("other.example")  # sockets are replaced
    cast.asked(D1)
    cast.told()
    cast.lines()
    cast.say(conn, said(query, "10.0.0.1"))
    told = [message for message, _ in cast.told()]
    lines = cast.lines()
    assert (dns_timeout_s > timeout_s) is any(name("x.example") in message for message in told)
    assert (timeout_s > dns_timeout_s) is (lines == b"x.example 10.0.0.1 A IN\n")
    assert cast.metric("DNS1.unmatched") == 0


def test_a_late_reply_counts_for_who_joined_late() -> None:
    """[P45]: that cost no query of its own."""
    bounds = replace(Bounds(), timeout_s=1.0, dns_timeout_s=1.0, resends_max=1)
    cast = Cast(1, bounds=bounds)
    cast.say_lines("x.example")
    conn, query = cast.query_at(D1)
    cast.wait(0.9)
    cast.ask("x.example")
    assert cast.asked(D1) == []
    cast.wait(0.4)
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.lines() == b"x.example - TIMED OUT\n" and cast.codes() == [0]


def test_a_drain_waits_for_dns_as_long_as_dns_does() -> None:
    """[P45]: `--timeout 1`, and a resolver that needs three seconds."""
    cast = Cast(1, bounds=replace(Bounds(), timeout_s=1.0, dns_timeout_s=4.5))
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.stage.step(DrainAsked())
    cast.wait(3.0)
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] and not cast.hits["drain_grace_s"]
