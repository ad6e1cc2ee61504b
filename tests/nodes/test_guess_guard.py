"""A resolver at whose queries somebody guesses: other sockets, and then a stream.

Not here: which reply matches nothing (`tests/nodes/test_reply_matcher.py`), and streams that fail
(`tests/nodes/test_resolver.py`).
"""

from tests.support.dns_messages import question_of, said
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
