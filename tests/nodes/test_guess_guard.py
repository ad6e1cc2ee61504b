"""A resolver at whose queries somebody guesses: other sockets, and then a stream.

Not here: which reply matches nothing (`tests/nodes/test_reply_matcher.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from tests.support.dns_messages import CODES, name, question_of, said
from tests.support.resolver_cast import D1, D2, Cast, guesses


def test_who_guesses_finds_other_sockets_and_then_a_stream() -> None:
    """[P36]: it goes on over UDP, by other ports, until the stream is there."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 31))
    assert conn in cast.sockets(D1) and not cast.stage.dialled
    cast.say(conn, *guesses(asked, 1))
    assert conn not in cast.sockets(D1) and cast.hits["unmatched_max"] == 1
    by, again = cast.query_at(D1)
    assert by in cast.sockets(D1) and again[2:] == asked[2:] and again[:2] != asked[:2]
    cast.say(by, said(again, "10.0.0.1"))
    assert cast.codes() == [0]
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.ask("y.example")
    by, other = cast.query_at(D1)
    assert by == stream and question_of(other) == "y.example"
    cast.say(stream, said(other, "10.0.0.2"))
    assert cast.codes() == [0]
    cast.wait(cast.bounds.wary_s)
    cast.ask("z.example")
    ((by, _),) = cast.asked(D1)
    assert by in cast.sockets(D1) and len(cast.sockets(D1)) == cast.bounds.upstream_sockets


def test_a_stream_that_ends_in_wary_times_costs_nobody_time() -> None:
    """[P36]: UDP goes on while it is dialled again."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.asked(D1)
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.stage.end(stream)
    cast.ask("y.example")
    by, asked = cast.query_at(D1)
    assert by in cast.sockets(D1)
    cast.say(by, said(asked, "10.0.0.1"))
    assert 0 in cast.codes()


def test_guesses_at_all_sockets_add_up_and_old_ones_expire() -> None:
    """[P36]: who knows all ports has no more guesses than who knows one. A few now and then are
    replies that came twice, or very late."""
    cast = Cast(1)
    for _ in range(40):
        for n in range(10):
            cast.ask(f"n{n}.example")
        (conn, asked), *_ = cast.asked(D1)
        cast.say(conn, *guesses(asked, 3), said(asked, "10.0.0.1"))
        cast.wait(1.5)
    assert not cast.hits["unmatched_max"]
    cast.wait(10.0)
    cast.asked(D1)
    cast.ask("x.example")
    _, asked = cast.query_at(D1)
    before = cast.sockets(D1)
    for conn in before:
        cast.say(conn, *guesses(asked, 8))
    assert cast.hits["unmatched_max"] == 1 and not set(before) & set(cast.sockets(D1))
    assert len(cast.sockets(D1)) == cast.bounds.upstream_sockets
    assert [question_of(query) for _, query in cast.asked(D1)] == ["x.example"]


def test_without_tcp_it_is_udp_again_by_another_socket() -> None:
    """[P36]"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    ((by, again),) = cast.asked(D1)
    assert by in cast.sockets(D1) and by != conn
    cast.say(by, said(again, "10.0.0.1"))
    assert cast.codes() == [0]


@pytest.mark.parametrize("how", ["end", "too slow"])
def test_after_a_stream_without_replies_it_is_udp_again(how: str) -> None:
    """[P36]: only what was cut has no other way."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    cast = Cast(1, bounds=Bounds() if how == "end" else bounds)
    cast.ask("cut.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.asked(D1)
    if how == "too slow":
        cast.stage.held.add(cast.dialled(D1))
    cast.stage.connect(cast.dialled(D1))
    if how == "end":
        assert {question_of(query) for _, query in cast.asked(D1)} == {"cut.example"}
        cast.stage.end(next(iter(cast.stage.framed)))
    ((message, _),) = cast.told()
    assert message[3] & 15 == CODES["SERVFAIL"] and name("cut.example") in message
    cast.ask("y.example")
    ((by, again),) = cast.asked(D1)
    assert by in cast.sockets(D1) and question_of(again) == "y.example"


def test_where_tcp_was_not_to_be_had_a_guess_costs_no_time() -> None:
    """Else one who guesses could have a resolver wait for a dial again and again."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    for _ in range(5):
        conn, asked = cast.query_at(D1)
        cast.say(conn, *guesses(asked, 32))
        assert not cast.stage.dialled and conn not in cast.sockets(D1)
    assert len(cast.sockets(D1)) == cast.bounds.upstream_sockets
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "10.0.0.1"))
    assert cast.codes() == [0]
    assert cast.stage.reports[-1].endswith("or forged; it is asked by other sockets")


def test_guesses_again_re_ask_at_once_only_what_is_young() -> None:
    """[P36]: what has been open for long would take the room of what gets replies, as often as
    somebody guesses. It is asked again all the same, `join_s` after all was."""
    cast = Cast(1)
    cast.ask("old.example")
    conn, asked = cast.query_at(D1)
    cast.wait(0.5)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["old.example"]
    cast.wait(0.3)
    cast.ask("young.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["young.example"]
    cast.wait(0.6)
    assert "old.example" not in [question_of(query) for _, query in cast.asked(D1)]
    cast.wait(0.2)
    assert "old.example" in [question_of(query) for _, query in cast.asked(D1)]


def test_guesses_re_ask_at_once_what_is_held() -> None:
    """[P36], [P39]: somebody waits for it, for a grace at most."""
    cast = Cast(2)
    cast.ask("x.example")
    (first, asked), (second, other) = cast.asked(D1)[0], cast.asked(D2)[0]
    cast.wait(0.3)
    cast.asked(D1)
    cast.say(second, said(other, "REFUSED"))
    cast.asked(D1)
    cast.say(first, *guesses(asked, 32))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["x.example"]


def test_the_only_socket_that_is_given_up_loses_no_question() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1))
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    for _ in range(3):
        conn, asked = cast.query_at(D1)
        cast.say(conn, *guesses(asked, 32))
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "10.0.0.1"))
    assert cast.codes() == [0]


def test_guesses_at_a_retired_socket_cost_no_more_sockets() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_socket_s=0.1))
    for n in range(40):
        cast.ask(f"n{n}.example")
        cast.wait(0.05)
    asked = cast.asked(D1)
    for conn, query in asked:
        cast.say(conn, *guesses(query, 32))
    assert len(cast.resolver(D1).sockets.open) == cast.bounds.upstream_sockets
