"""Questions that a resolver is asked over TCP, and the ends of the stream.

Not here: streams of clients (`tests/nodes/test_dns_clients.py`).
"""

import pytest

from core.io.frame_buffer import frame, split_frames
from tests.support.dns_messages import CODES, TC, TO_QUESTION, opt, record, reply, said
from tests.support.resolver_cast import D1, MX, TCP, Cast, flood


def test_a_stream_that_closes_after_replies_costs_two_writes() -> None:
    """[P41]: case A12."""
    cast = Cast(1)
    flood(cast, 300)
    written = 0
    while waiting := [one for one in cast.asked(D1) if one[0] in cast.sockets(D1)]:
        for conn, query in waiting:
            cast.say(conn, said(query, "TC"))
    while cast.stage.dialled:
        stream = cast.dialled(D1)
        cast.stage.connect(stream)
        asked = cast.asked(D1)
        written += len(asked)
        cast.say(stream, said(asked[0][1], "10.0.0.1"))
        cast.stage.end(stream)
    assert cast.codes() == [0] * 300
    assert written <= 3 * 300


def test_a_stream_that_stays_after_one_that_closed_gets_more() -> None:
    """[P41]"""
    cast = Cast(1)
    flood(cast, 60)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    first = cast.dialled(D1)
    cast.stage.connect(first)
    cast.say(first, said(cast.asked(D1)[0][1], "10.0.0.1"))
    cast.stage.end(first)
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    sizes = []
    while asked := cast.asked(D1):
        sizes.append(len(asked))
        cast.say(stream, *[said(query, "10.0.0.1") for _, query in asked])
    assert sizes == [2, 4, 8, 16, 29] and cast.codes() == [0] * 60


def test_a_stream_that_closes_on_several_is_tried_with_one() -> None:
    """[P41]: and then it is no way at all."""
    cast = Cast(1)
    flood(cast, 5)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    for size in (5, 1):
        stream = cast.dialled(D1)
        cast.stage.connect(stream)
        assert len(cast.asked(D1)) == size
        cast.stage.end(stream)
    assert cast.codes() == [CODES["SERVFAIL"]] * 5 and not cast.stage.dialled


def test_a_cut_reply_is_asked_for_over_a_stream_that_is_kept() -> None:
    cast = Cast(1)
    query = cast.ask("x.example MX", edns=opt())
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    assert cast.told() == []
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    by, again = cast.query_at(D1)
    assert by == stream and again[2:] == asked[2:]
    cast.say(stream, reply(again, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message == reply(query, answers=(MX,))
    cast.ask("y.example MX")
    cast.answer(D1, "TC")
    assert not cast.stage.dialled and cast.query_at(D1)[0] == stream


def test_what_is_too_long_for_the_asker_is_cut_by_us() -> None:
    """[P37]"""
    cast = Cast(1)
    long = tuple(record(TO_QUESTION, "TXT", bytes([200]) + bytes(200)) for _ in range(4))
    for edns, fits in ((b"", False), (opt(size=4096), True)):
        query = cast.ask("x.example TXT", edns=edns)
        conn, asked = cast.query_at(D1)
        cast.say(conn, reply(asked, answers=long))
        ((message, _),) = cast.told()
        flags = int.from_bytes(message[2:4])
        assert bool(flags & TC) is not fits and message[:2] == query[:2]
        assert len(message) <= (1232 if fits else 512)


@pytest.mark.parametrize("edns", [b"", opt()])
def test_a_reply_too_long_beside_our_opt_record_is_cut(edns: bytes) -> None:
    """A resolver without EDNS may fill a message to its last byte; that has ended LS."""
    cast = Cast(1)
    cast.stage.accept(TCP)
    cast.stage.hear(TCP, frame(cast.query("x.example TXT", edns=edns)))
    cast.cut(D1)
    conn, asked = cast.query_at(D1)
    room = 65_535 - len(reply(asked, additionals=())) - len(record(TO_QUESTION, "TXT", b""))
    longest = reply(asked, answers=(record(TO_QUESTION, "TXT", bytes(room)),), additionals=())
    cast.say(conn, longest)
    (message,) = split_frames(cast.stage.take(TCP))
    if edns:
        assert message[2] & 2 and len(message) < 100 and message.endswith(opt())
    else:
        assert message[2:] == longest[2:]


def test_tc_on_a_stream_is_a_failure_at_once() -> None:
    """[P47]: there is no other way that could bring more."""
    cast = Cast(1)
    cast.ask("x.example")
    stream = cast.cut(D1)
    _, asked = cast.query_at(D1)
    cast.say(stream, said(asked, "TC"))
    assert cast.codes() == [CODES["SERVFAIL"]] and cast.metric("DNS1.malformed") == 0
    assert cast.asked(D1) == []


def test_a_stream_that_is_stuck_is_given_up() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.wait(6.0)
    assert stream not in cast.stage.connections
    cast.asked(D1)
    cast.ask("y.example")
    cast.answer(D1, "TC")
    assert cast.dialled(D1) == stream  # by the same name, so that the loop keeps one place for it
