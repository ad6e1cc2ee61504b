"""A resolver at whose queries somebody guesses: other sockets, and then a stream.

Not here: which reply matches nothing (`tests/nodes/test_reply_matcher.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from tests.support.dns_messages import CODES, name, question_of, said
from tests.support.resolver_cast import D1, Cast, guesses


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


@pytest.mark.parametrize("how", ["end", "too slow"])
def test_after_a_stream_without_replies_it_is_udp_again(how: str) -> None:
    """[P36]: only what was cut has no other way."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    cast = Cast(1, bounds=Bounds() if how == "end" else bounds)
    cast.ask("cut.example")
    cast.answer(D1, "TC")
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
