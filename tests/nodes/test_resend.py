"""Questions that a resolver is sent again, since they may be lost.

Not here: the same under chance (`tests/nodes/test_resolver.py`).
"""

import math

import pytest

from tests.support.dns_messages import CODES, question_of, said
from tests.support.resolver_cast import D1, D2, Cast, guesses


def test_what_is_lost_is_sent_once_more_and_then_forgotten() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    ((_, first),) = cast.asked(D1)
    cast.wait(1.0)
    ((conn, again),) = cast.asked(D1)
    assert first[2:] == again[2:] and first[:2] != again[:2]
    cast.wait(3.0)
    assert cast.asked(D1) == []
    cast.say(conn, said(again, "10.0.0.1"))
    assert cast.lines() == b"x.example 10.0.0.1 A IN\n"
    cast.wait(10.0)
    resolver = cast.resolver(D1)
    assert not any(one.asked for one in resolver.sockets.by_conn.values())
    assert resolver.due() == math.inf and cast.brain.deadline() is None


def test_a_silent_one_is_sent_nothing_once_more() -> None:
    cast = Cast()
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.answer(D1, *["10.0.0.1"] * 20)
    cast.asked(D2)
    cast.wait(0.5)
    cast.ask("x.example")
    assert len(cast.asked(D1)) == len(cast.asked(D2)) == 1
    cast.wait(1.0)
    assert (len(cast.asked(D1)), len(cast.asked(D2))) == (1, 0)


def test_a_held_question_is_sent_again_where_no_reply_came() -> None:
    """[P39]: after 30 ms, twice as long, and so on, four times."""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.ask("y.example")
    cast.asked(D2)
    x, _ = cast.asked(D1)
    cast.say(x[0], said(x[1], "REFUSED"))
    began = cast.stage.now
    times: list[float] = []
    while cast.stage.now - began < 1.1:
        cast.wait(0.005)
        for _, query in cast.asked(D2):
            if question_of(query) == "x.example":
                times.append(round(cast.stage.now - began, 2))
    assert times == [0.03, 0.09, 0.21, 0.45]
    assert [question_of(query) for _, query in cast.asked(D1)] == ["y.example"]  # once, at 1 s
    assert cast.metric("DNS2.resent") == 4 + 1


def test_a_question_held_when_overdue_is_sent_again_at_once() -> None:
    """[P39]: the times count from the asking."""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.asked(D2)
    cast.wait(0.5)
    assert cast.asked(D2) == []
    cast.answer(D1, "SERVFAIL")
    conn, query = cast.query_at(D2)
    cast.say(conn, said(query, "10.0.0.2"))
    assert cast.codes()[-1] == 0


def test_one_that_is_silent_is_not_sent_again_what_is_held() -> None:
    """[P39]"""
    cast = Cast()
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.answer(D1, *["10.0.0.1"] * 20)
    cast.wait(1.5)
    cast.asked(D2)
    cast.ask("x.example")
    assert len(cast.asked(D2)) == 1  # a probe
    cast.answer(D1, "REFUSED")
    assert cast.codes()[-1] == CODES["REFUSED"]
    cast.wait(2.0)
    assert cast.asked(D2) == []


@pytest.mark.parametrize("ending", ["it replies late", "its sockets are given up"])
def test_what_is_overdue_is_forgotten_with_a_late_reply(ending: str) -> None:
    """Else each question that it is slow about, and another is not, would be kept for ever."""
    cast = Cast()
    for n in range(50):
        cast.ask(f"n{n}.example")
        cast.wait(0.15)
        conn, query = cast.query_at(D2)
        cast.answer(D1, "10.0.0.1")
        if ending == "it replies late":
            cast.say(conn, said(query, "10.0.0.1"))
        else:
            cast.say(conn, *guesses(query, 32))
    assert not cast.resolver(D2).ageing.overdue
