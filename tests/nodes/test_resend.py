"""Questions that a resolver is sent again, since they may be lost.

Not here: the same under chance (`tests/nodes/test_resolver.py`).
"""

from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import D1, D2, Cast


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
    """[P39]: the times count from the asking. It may be lost once more."""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.asked(D2)
    cast.wait(0.5)
    assert cast.asked(D2) == []
    cast.answer(D1, "SERVFAIL")
    assert len(cast.asked(D2)) == 1
    cast.wait(0.065)
    cast.answer(D2, "10.0.0.2")
    assert cast.codes()[-1] == 0
