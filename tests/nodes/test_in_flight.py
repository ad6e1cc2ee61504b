"""How much is in flight to a resolver, and what waits, before the real LS.

Not here: the size of the window (`tests/nodes/test_window.py`), and what is in flight under
chance (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace

from core.bounds import Bounds
from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import D1, D2, Cast, flood


def test_no_socket_is_asked_more_than_it_has_room_for() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1, upstream_asked_max=5))
    for n in range(8):
        cast.ask(f"n{n}.example")
    assert len(cast.asked(D1)) == 5 and cast.hits["upstream_asked_max"] == 3
    cast.wait(6.0)  # a question without hope is forgotten
    cast.ask("x.example")
    assert [question_of(query) for _, query in cast.asked(D1)][-1] == "x.example"


WINDOW_100 = replace(Bounds(), upstream_window=100)


def test_no_more_is_in_flight_than_the_window_and_the_rest_waits() -> None:
    """[P40]: case A2."""
    cast = Cast(1)
    flood(cast, 350)
    first = cast.asked(D1)
    assert len(first) == cast.bounds.upstream_window == 350 - cast.metric("DNS1.waiting")
    for conn, query in first[:30]:
        cast.say(conn, said(query, "10.0.0.1"))
    more = cast.asked(D1)
    assert len(more) == 30 and question_of(more[0][1]) == f"n{len(first)}.example"
    for conn, query in [*first[30:], *more]:
        cast.say(conn, said(query, "10.0.0.1"))
    while more := cast.asked(D1):
        for conn, query in more:
            cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] * 350 and cast.metric("DNS1.resent") == 0


def test_what_nobody_wants_any_more_is_skipped_in_the_queue() -> None:
    """[P40]"""
    cast = Cast(bounds=WINDOW_100)
    flood(cast, 150)
    mine = cast.asked(D2)
    while more := cast.asked(D1):
        for conn, query in more:
            cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("DNS2.waiting") == 50
    cast.ask("x.example")
    cast.asked(D1)
    conn, query = mine[0]
    cast.say(conn, said(query, "10.0.0.1"))
    assert [question_of(query) for _, query in cast.asked(D2)] == ["x.example"]
    assert cast.metric("DNS2.waiting") == 0


def test_what_is_overtaken_makes_room() -> None:
    """[P40]: a slow reply, or one that is lost, is no longer in the resolver's socket."""
    cast = Cast(1, bounds=replace(WINDOW_100, upstream_sockets=1))
    for n in range(60):
        cast.ask(f"slow{n}.example")
    cast.asked(D1)
    flood(cast, 100)
    assert cast.metric("DNS1.waiting") == 100 - 40
    conn, query = cast.asked(D1)[0]
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("DNS1.waiting") == 0


def test_what_is_lost_does_not_shut_a_resolver_out() -> None:
    """[P40]: after a while it has left the window, and nothing needs to come for that."""
    cast = Cast(1, bounds=WINDOW_100)
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    flood(cast, 150)
    assert len(cast.asked(D1)) == 100
    cast.wait(cast.bounds.resend_min_s + 0.001)
    assert len(cast.asked(D1)) == 50


def test_the_window_grows_with_the_way_and_not_with_a_queue() -> None:
    """[P40]: a resolver that is 40 ms away is asked more at once; one whose queue is 40 ms is not,
    though its replies come as fast and as late."""
    for is_far in (True, False):
        cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1))
        if not is_far:
            cast.ask("x.example")
            cast.answer(D1, "10.0.0.1")
        flood(cast, 4_000)
        most = 0
        for _ in range(12):
            round_ = cast.asked(D1)
            most = max(most, len(round_))
            cast.wait(0.04)
            for conn, query in round_:
                cast.say(conn, said(query, "10.0.0.1"))
        assert (most > 400) is is_far, most
