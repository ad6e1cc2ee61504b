"""How long a worse answer waits for a resolver, and when nobody waits for it.

Not here: the rule of grace against a model (`tests/nodes/test_negatives.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.events import Closed
from nodes.cli.ls_arguments import read_ls_options
from tests.support.dns_messages import CODES, name, question_of, said, section_of
from tests.support.resolver_cast import D1, D2, D3, UNKNOWN_S, Cast

SILENT = (
    "DNS2 is silent (no reply to its last 16 questions); it is tried once a second [10.0.0.54:53]"
)


def told_after(cast: Cast, seconds: float) -> list[int]:
    """Return what was told, after nothing was until then."""
    cast.wait(seconds - 0.001)
    assert cast.codes() == []
    cast.wait(0.001)
    return cast.codes()


def silent() -> Cast:
    """Build LS before one resolver, which is silent; 20 questions are open."""
    cast = Cast(1)
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(1.0)
    assert any("DNS1 is silent" in report for report in cast.stage.reports)
    return cast


@pytest.mark.parametrize(
    ("text", "most_s", "waits_s"),
    [
        ("NXDOMAIN", None, UNKNOWN_S),
        ("NXDOMAIN", 0.05, 0.05),
        ("NXDOMAIN", 9.0, UNKNOWN_S),
        ("SERVFAIL", 0.3, 0.3),
        ("SERVFAIL", 9.0, Bounds().grace_failed_s),
    ],
)
def test_a_worse_answer_waits_for_the_grace_and_no_longer(
    text: str, most_s: float | None, waits_s: float
) -> None:
    """[P33]: `--grace` is the longest; it makes none longer."""
    cast = Cast(grace_s=most_s)
    cast.ask("x.example")
    cast.answer(D1, text)
    assert told_after(cast, waits_s) == [CODES[text]]
    conn, query = cast.asked(D2)[0]
    cast.say(conn, said(query, "10.0.0.2"))
    assert cast.codes() == [] and cast.metric("DNS2.late") == 1


@pytest.mark.parametrize("text", ["NXDOMAIN", "SERVFAIL"])
def test_with_grace_0_no_late_answer_is_waited_for(text: str) -> None:
    """[P33]"""
    words = ["0", "--dns-upstream", "192.0.2.1", "--grace", "0"]
    cast = Cast(grace_s=read_ls_options(words).grace_s)
    cast.ask("x.example")
    cast.answer(D1, text)
    cast.wait(0.0)
    assert cast.codes() == [CODES[text]]
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [] and cast.metric("DNS2.late") == 1


@pytest.mark.parametrize(
    ("takes_s", "grace_s"), [(0.001, 0.01), (0.02, 0.06), (0.1, 0.3), (0.3, 0.4)]
)
def test_the_grace_is_three_times_the_usual_reply_time(takes_s: float, grace_s: float) -> None:
    """Between the floor and the ceiling; 4 % is what a bucket of times may be wide."""
    cast = Cast()
    for n in range(40):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        cast.wait(takes_s)
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "NXDOMAIN"))
    cast.told()
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(grace_s * 0.94)
    assert cast.codes() == []
    cast.wait(grace_s * 0.1)
    assert cast.codes() == [CODES["NXDOMAIN"]]


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
def test_a_failure_waits_longer_than_a_denial(failure: str) -> None:
    """[P33]: case A3; the good one takes half a second, twenty at a time, and is not silent."""
    cast = Cast()
    for burst in range(3):
        for n in range(20):
            cast.ask(f"n{n}.b{burst}.example")
        cast.answer(D1, *[failure] * 20)
        cast.wait(0.6)
        assert cast.told() == []
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "10.0.0.2"))
        assert cast.codes() == [0] * 20
    cast.ask("x.example")
    cast.answer(D1, failure)
    assert told_after(cast, cast.bounds.grace_failed_s) == [CODES[failure]]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_denial_waits_where_resolvers_differ(is_late: bool) -> None:
    """[P33]: split views are learnt, also from data that comes when NXDOMAIN has been told."""
    cast = Cast()
    for name_ in ("w.example", "x.example"):  # the first reply shows how fast it is
        cast.ask(name_)
        cast.answer(D1, "NXDOMAIN")
        if is_late and name_ == "x.example":
            cast.wait(0.4)
            assert cast.codes() == [CODES["NXDOMAIN"]]
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "NXDOMAIN" if name_ == "w.example" else "10.0.0.2"))
        cast.told()
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN")
    assert told_after(cast, cast.bounds.grace_failed_s) == [CODES["NXDOMAIN"]]
    cast.asked(D2)
    cast.ask("z.example")
    cast.answer(D2, "NXDOMAIN")  # the first never had what the second denied
    cast.wait(UNKNOWN_S)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.asked(D1)
    cast.wait(cast.bounds.split_view_s)
    cast.ask("y2.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(0.4)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_what_is_held_waits_longer_once_resolvers_differ() -> None:
    """[P33]: also what was denied before that was known, from when it was held."""
    cast = Cast()
    cast.ask("w.example")
    for conn, query in [*cast.asked(D1), *cast.asked(D2)]:
        cast.say(conn, said(query, "NXDOMAIN"))
    cast.told()
    cast.ask("x.example")
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN", "NXDOMAIN")
    cast.wait(0.005)
    x, _ = cast.asked(D2)
    cast.say(x[0], said(x[1], "10.0.0.2"))
    assert cast.codes() == [0]
    assert told_after(cast, cast.bounds.grace_failed_s - 0.005) == [CODES["NXDOMAIN"]]


def test_what_the_one_that_differs_has_denied_waits_no_longer() -> None:
    """[P33]: only the third resolver may still have it, and nothing is known of that one."""
    cast = Cast(3)
    cast.ask("x.example")
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN", "NXDOMAIN")
    cast.answer(D2, "NXDOMAIN", "10.0.0.2")
    assert cast.codes() == [0]
    assert told_after(cast, UNKNOWN_S) == [CODES["NXDOMAIN"]]


def test_a_timeout_ends_a_hold_and_no_other_question() -> None:
    """[P33]: the one whose time is over hears the best that was said."""
    cast = Cast(bounds=replace(Bounds(), grace_failed_s=60.0, dns_timeout_s=1.8))
    cast.resolver(D2).grace.differs(1e9)
    cast.ask("x.example")
    cast.wait(1.0)
    cast.ask("y.example")
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "NXDOMAIN"))
    cast.wait(0.8)
    ((message, _),) = cast.told()
    assert section_of(message).startswith(name("x.example")) and message[3] & 15 == 3
    cast.wait(1.0)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_with_several_left_the_grace_is_that_of_the_slowest() -> None:
    """[P33]: here of one that has not shown how fast it is, beside one that takes 1 ms."""
    cast = Cast(3)
    cast.ask("w.example")
    cast.answer(D2, "10.0.0.2")
    cast.asked(D1)
    cast.asked(D3)
    cast.told()
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    assert told_after(cast, UNKNOWN_S) == [CODES["NXDOMAIN"]]


def test_with_three_the_grace_is_that_of_those_who_are_left() -> None:
    cast = Cast(3)
    for n in range(40):  # DNS2 takes 20 ms; DNS3 has never said anything
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        cast.wait(0.02)
        cast.answer(D2, "10.0.0.2")
        cast.asked(D3)
        if n == 10:
            cast.wait(0.5)  # now it is silent
    cast.told()
    cast.ask("x.example")
    cast.answer(D1, "SERVFAIL")
    cast.answer(D2, "SERVFAIL")
    assert cast.codes() == [CODES["SERVFAIL"]]


def test_a_silent_resolver_is_not_waited_for_until_it_replies() -> None:
    """[P34]"""
    cast = Cast()
    for n in range(16):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        assert cast.codes() == [], n  # the other is waited for
        cast.wait(UNKNOWN_S)
        assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.wait(cast.bounds.grace_max_s)
    assert SILENT in cast.stage.reports
    cast.asked(D2)
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.answer(D2, "NXDOMAIN")  # it was asked all the same
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == []
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [0]


def test_a_silent_one_that_is_refused_fails_what_is_open() -> None:
    """Nobody waits for it, and so nobody is awaited less when it is down."""
    cast = silent()
    cast.told()
    for _ in range(2):  # the first may be about one datagram
        conn = cast.sockets(D1)[-1]
        del cast.stage.replies[conn]
        cast.stage.step(Closed(conn, "connection refused"))
    assert cast.codes() == [CODES["SERVFAIL"]] * 20
    assert cast.metric("pending") == 0


def test_what_is_held_for_one_that_turns_silent_is_told() -> None:
    """[P34]: before the grace is over."""
    cast = Cast()
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.answer(D1, *["REFUSED"] * 20)
    assert cast.bounds.silent_s < cast.bounds.grace_failed_s
    assert told_after(cast, cast.bounds.silent_s) == [CODES["REFUSED"]] * 20


def test_a_silent_resolver_gets_a_question_now_and_then() -> None:
    """[P34]: and when it replies it is asked for what is open."""
    cast = silent()
    cast.wait(0.2)
    cast.asked(D1)
    for n in range(30):
        cast.ask(f"m{n}.example")
        cast.wait(0.01)
    probes = cast.asked(D1)
    assert 3 <= len(probes) <= 4 and cast.metric("DNS1.waiting") == 0
    conn, query = probes[0]
    cast.say(conn, said(query, "10.0.0.1"))
    again = {question_of(query) for _, query in cast.asked(D1)}
    assert again == {f"{one}{n}.example" for one in "nm" for n in range(30)} - {
        question_of(query), *(f"n{n}.example" for n in range(20, 30))
    }  # fmt: skip


def test_hedging_asks_one_that_is_back_nothing_of_another_one() -> None:
    """[P23]: it is asked again only what it had been asked."""
    cast = Cast(extra_load=0.0)
    for n in range(cast.bounds.silent_questions):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        cast.wait(UNKNOWN_S)
    cast.wait(cast.bounds.grace_max_s)
    assert SILENT in cast.stage.reports
    conn, query = cast.asked(D2)[0]
    cast.ask("x.example")
    cast.say(conn, said(query, "10.0.0.2"))
    assert cast.asked(D2) == [] and len(cast.asked(D1)) == 1
