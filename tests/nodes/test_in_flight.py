"""How much is in flight to a resolver, and what waits, before the real LS.

Not here: the size of the window (`tests/nodes/test_window.py`), and what is in flight under
chance (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace
from random import Random

import pytest

from core.bounds import Bounds
from core.environment import Environment
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.send_queue import SendQueue
from nodes.ls.resolvers.sockets import ResolverSocket
from tests.support.dns_messages import CODES, has_opt, question_of, said
from tests.support.resolver_cast import D1, D2, Cast, flood


def test_no_socket_is_asked_more_than_it_has_room_for() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1, upstream_asked_max=5))
    for n in range(8):
        cast.ask(f"n{n}.example")
    assert len(cast.asked(D1)) == 5 and cast.hits["upstream_asked_max"] == 3
    cast.wait(6.0)  # a question without hope is forgotten
    cast.ask("x.example")
    assert [question_of(query) for _, query in cast.asked(D1)][-1] == "x.example"


def test_a_wait_for_room_counts_as_time_of_the_reply() -> None:
    """[P39]: so others wait for a resolver as long as a question to it takes from its asking."""
    cast = Cast(bounds=replace(Bounds(), upstream_window=1))
    flood(cast, 2)
    cast.answer(D1, "10.0.0.1")
    cast.query_at(D2)
    cast.wait(0.1)  # that is overdue, and the second one is sent
    cast.answer(D2, "10.0.0.2")
    cast.asked(D1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.told()
    cast.say(conn, said(query, "NXDOMAIN"))
    cast.wait(0.28)
    assert cast.codes() == []
    cast.wait(0.04)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_what_is_hopeless_makes_room_though_not_overdue() -> None:
    """[P40]: sent again it is overdue after twice as long, and nobody waits for it before that."""
    bounds = replace(Bounds(), upstream_sockets=1, upstream_window=1, grace_unknown_s=1.0)
    cast = Cast(1, bounds=replace(bounds, timeout_s=0.5, dns_timeout_s=0.5))
    cast.ask("x.example")
    cast.wait(0.9)
    cast.ask("x.example")  # it joins
    cast.wait(0.2)
    assert len(cast.asked(D1)) == 2  # once more after 1 s
    cast.wait(1.5)
    cast.ask("y.example")
    assert [question_of(query) for _, query in cast.asked(D1)] == ["y.example"]


def test_questions_moved_as_often_go_in_one_batch() -> None:
    queue = SendQueue(lambda question: True)
    queue.put_last([b"new"], 3.0)
    queue.put_first([b"moved"], 2.0, moves=1)
    queue.put_first([b"moved too"], 1.0, moves=1)
    assert queue.take(9) == ([b"moved too", b"moved"], 1.0, 1)
    assert queue.take(9) == ([b"new"], 3.0, 0)


@pytest.mark.parametrize(("pads", "sizes"), [(True, [128, 256, 27]), (False, [38, 138, 27])])
def test_queries_are_padded_where_nobody_can_read_them(pads: bool, sizes: list[int]) -> None:
    """But for those that are asked without an OPT record, of which padding would be a part."""
    bounds = Bounds()
    edns = EdnsFallback("DNS1", bounds.plain_s)
    ageing, grace = Ageing(bounds, 1.0), Grace(bounds, None)
    env = Environment(bounds, secret=Random("in flight").randbytes)
    sending = InFlight(env, ageing, edns, grace, pads=pads)
    stream = ResolverSocket("DNS1.1", 16, is_stream=True, watch=None)
    questions = [b"x.example", b".".join([b"a" * 53] * 2 + [b"b"]), b"y.example"]
    edns.misunderstood([b"y.example"], 0.0)
    messages = sending.add(stream, questions, 1.0, asked_at=1.0)
    assert [len(message) for message in messages] == sizes
    assert [question_of(message).encode() for message in messages] == questions
    assert [has_opt(message) for message in messages] == [True, True, False]
    assert [stream.asked[message[:2]][0] for message in messages] == questions
