"""Questions that a resolver is asked over TCP, and the ends of the stream.

Not here: streams of clients (`tests/nodes/test_dns_clients.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.io.frame_buffer import frame, split_frames
from tests.support.dns_messages import CODES, TC, TO_QUESTION, opt, record, reply, said
from tests.support.resolver_cast import D1, TCP, Cast, flood, guesses


def test_a_stream_that_stays_after_one_that_closed_gets_more() -> None:
    """[P41]: twice as much as the first replied to, and so on."""
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
    """[P41]: and then it is no way at all, for these questions."""
    cast = Cast(1)
    for label in ("first", "later"):
        flood(cast, 5, label)
        for conn, query in cast.asked(D1):
            cast.say(conn, said(query, "TC"))
        for size in (5, 1):
            stream = cast.dialled(D1)
            cast.stage.connect(stream)
            assert len(cast.asked(D1)) == size
            cast.stage.end(stream)
        assert cast.codes() == [CODES["SERVFAIL"]] * 5 and not cast.stage.dialled


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


@pytest.mark.parametrize("size", [512, 513])
def test_a_reply_of_a_resolver_may_fill_a_datagram(size: int) -> None:
    """[P31]: to its last byte, and no further."""
    cast = Cast(1)
    cast.ask("x.example TXT")
    conn, asked = cast.query_at(D1)
    room = size - len(reply(asked, additionals=())) - len(record(TO_QUESTION, "TXT", b""))
    text = record(TO_QUESTION, "TXT", bytes(room))
    cast.say(conn, reply(asked, answers=(text,), additionals=()))
    ((message, _),) = cast.told()
    fits = size == 512
    assert message.endswith(text) is fits and bool(message[2] & 2) is not fits


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


def test_a_stream_that_is_stuck_is_given_up() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    stream = cast.cut(D1)
    cast.wait(6.0)
    assert stream not in cast.stage.connections
    cast.asked(D1)
    cast.ask("y.example")
    cast.answer(D1, "TC")
    assert cast.dialled(D1) == stream  # by the same name, so that the loop keeps one place for it


def test_what_was_cut_fails_with_a_stream_asked_it_twice() -> None:
    """[P41]: at once. It had been sent again over UDP when its reply was cut, and then somebody
    guesses, so that this is asked over TCP, too."""
    cast = Cast(1)
    cast.ask("x.example")
    cast.wait(1.0)
    (first, query), (second, again) = cast.asked(D1)
    cast.say(first, said(query, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.say(second, *guesses(again, 32))
    assert [conn for conn, _ in cast.asked(D1)] == [stream, stream]
    cast.stage.end(stream)
    assert cast.codes() == [CODES["SERVFAIL"]] and not cast.asked(D1)


@pytest.mark.parametrize("replies", [0, 1])
def test_after_a_stuck_stream_the_next_is_tried_as_ever(replies: int) -> None:
    """[P41]: the next one closes on several, and then on one."""
    cast = Cast(1)
    flood(cast, 2, "stuck")
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    for _, query in cast.asked(D1)[:replies]:
        cast.say(stream, said(query, "10.0.0.1"))
    cast.wait(6.1)
    assert stream not in cast.stage.connections
    cast.told()
    flood(cast, 5)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    for size in (5, 1):
        cast.stage.connect(cast.dialled(D1))
        assert len(cast.asked(D1)) == size
        cast.stage.end(stream)
    assert cast.codes() == [CODES["SERVFAIL"]] * 5 and not cast.stage.dialled


def test_a_stream_that_takes_too_slowly_is_given_up() -> None:
    """[P36]: what was cut has no other way, and all else goes by UDP."""
    cast = Cast(1, bounds=replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10))
    cast.ask("x.example")
    cast.answer(D1, "TC")
    cast.stage.held.add(cast.dialled(D1))
    cast.stage.connect(cast.dialled(D1))
    assert cast.codes() == [CODES["SERVFAIL"]]
    cast.asked(D1)
    cast.ask("y.example")
    assert cast.query_at(D1)[0] in cast.sockets(D1)


def test_a_stream_is_replaced_once_a_second_at_most() -> None:
    """However often UDP sockets break: else errors that never end would keep it from replies."""
    cast = Cast(1)
    cast.ask("x.example")
    stream = cast.cut(D1)
    cast.asked(D1)
    replaced = []
    for question in ("y.example", "z.example"):
        cast.ask(question)
        ((conn, _),) = cast.asked(D1)
        cast.stage.break_socket(conn)
        replaced.append(stream in cast.stage.dialled)
        if stream in cast.stage.dialled:
            cast.stage.connect(stream)
        for conn, query in cast.asked(D1):
            if conn != stream:
                cast.say(conn, said(query, "10.0.0.1"))
    assert replaced == [True, False]


def test_a_stream_that_takes_a_replaced_one_s_place_gets_all() -> None:
    """That LS gave up the first one says nothing of what the resolver takes."""
    cast = Cast(1)
    flood(cast, 3)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.asked(D1)
    cast.stage.break_socket(cast.sockets(D1)[-1])
    cast.stage.connect(stream)
    assert [conn for conn, _ in cast.asked(D1)] == [stream] * 3
