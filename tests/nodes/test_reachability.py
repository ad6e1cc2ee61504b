"""LS before resolvers that the network says are not there: parted from at once, and found again.

The cast is that of `tests/support/resolver_cast.py`. Not here: what
breaks a socket (`tests/io/test_datagrams.py`), a network with chance
(`tests/sim/test_story.py`), and real errors (`tests/processes/test_resolver_loopback.py`,
`tests/tools/test_moving.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from tests.support.dns_messages import CODES, question_of, said
from tests.support.resolver_cast import CLIENT, D1, D2, Cast

PROBE_S = Bounds().probe_s
SERVFAIL = CODES["SERVFAIL"]
REFUSED = "DNS1 is unreachable (connection refused); dialling it again [10.0.0.53:53]"
UNHEALTHY = "no server is good: DNS1 UNREACHABLE (connection refused)"


def break_all(cast: Cast, resolver: str, times: int = 2) -> None:
    """Close its port: whatever socket asks hears so."""
    for _ in range(times):
        for conn in {conn for conn, _ in cast.asked(resolver)}:
            if conn in cast.stage.replies:
                cast.stage.break_socket(conn)


def refuse(cast: Cast, resolver: str = D1) -> None:
    cast.ask("refused.example")
    break_all(cast, resolver)


def test_the_only_resolver_refused_is_down_and_fails_at_once() -> None:
    """[P49]: one line says why, and what is asked meanwhile does not wait."""
    cast = Cast(1)
    refuse(cast)
    assert cast.codes() == [SERVFAIL] and cast.stage.reports == [REFUSED]
    assert cast.metric("DNS1.state") == "UNREACHABLE" and cast.brain.unhealthy() == UNHEALTHY
    cast.ask("y.example")
    cast.say_lines("z.example")
    assert cast.codes() == [SERVFAIL] and cast.lines() == b"z.example - FAILED\n"
    assert cast.asked(D1) == []


def test_a_reply_by_the_stream_does_not_say_that_udp_gets_there() -> None:
    """[P49]"""
    cast = Cast(1)
    cast.ask("long.example")
    stream = cast.cut(D1)
    cast.asked(D1)
    cast.ask("x.example")
    break_all(cast, D1, times=1)
    cast.stage.connect(stream)
    by_stream, by_udp = sorted(cast.asked(D1))
    cast.say(stream, said(by_stream[1], "10.0.0.1"))
    assert cast.codes() == [0]
    cast.stage.break_socket(by_udp[0])
    assert cast.codes() == [SERVFAIL] and cast.metric("DNS1.state") == "UNREACHABLE"


def test_a_question_that_alone_is_refused_fails_and_nothing_else() -> None:
    """A firewall lets others pass. It is sent `resends_max` times more, and no more than that."""
    cast = Cast(1)
    cast.ask("bad.example")
    sent = 0
    while sent < 9 and (asked := [one for one in cast.asked(D1) if b"bad" in one[1]]):
        sent += 1
        cast.stage.break_socket(asked[0][0], "operation not permitted")
        bad = cast.asked(D1)
        cast.ask(f"n{sent}.example")
        cast.answer(D1, "10.0.0.1")
        for conn, query in bad:
            cast.stage.replies[conn].append((query, None))
    assert sent == 1 + cast.bounds.resends_max == 1 + cast.metric("DNS1.resent")
    assert sorted(cast.codes()) == [0] * sent + [SERVFAIL]
    assert cast.stage.reports == ["DNS1 is up [10.0.0.53:53]"]


def test_a_question_that_was_resent_is_moved_no_more_often() -> None:
    cast = Cast(bounds=replace(Bounds(), resends_max=1, upstream_sockets=1))
    cast.ask("bad.example")
    cast.stage.break_socket(cast.query_at(D1)[0])
    cast.query_at(D1)
    cast.ask("n.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "REFUSED", "REFUSED")
    assert cast.codes() == [0]
    cast.wait(cast.bounds.join_s / 2)
    again, query = cast.query_at(D1)
    assert question_of(query) == "bad.example"
    cast.stage.break_socket(again)
    assert cast.codes() == [CODES["REFUSED"]] and cast.asked(D1) == []


def test_with_another_resolver_a_refusal_loses_nothing() -> None:
    cast = Cast()
    for n in range(3):
        cast.ask(f"n{n}.example")
    break_all(cast, D1)
    assert cast.codes() == [] and cast.metric("DNS1.state") == "UNREACHABLE"
    assert cast.brain.unhealthy() == ""
    cast.ask("n3.example")
    cast.answer(D2, *["10.0.0.2"] * 4)
    assert cast.codes() == [0] * 4


def test_what_others_had_said_is_told_when_the_last_is_refused() -> None:
    cast = Cast()
    cast.ask("x.example")
    cast.answer(D2, "NXDOMAIN")
    assert cast.codes() == []
    break_all(cast, D1)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_when_all_are_refused_what_was_open_fails_with_the_last() -> None:
    cast = Cast()
    cast.ask("x.example")
    break_all(cast, D1)
    assert cast.codes() == []
    break_all(cast, D2)
    assert cast.codes() == [SERVFAIL] and "DNS2 UNREACHABLE" in cast.brain.unhealthy()


def test_a_question_for_a_table_waits_longer_than_no_data() -> None:
    """The failure is there before the TS could have said anything."""
    cast = Cast(1, tables=1)
    refuse(cast)
    cast.told()
    cast.stage.take("TS1")
    cast.say_lines("x.example")
    cast.wait(0.5)
    cast.stage.hear("TS1", b"x.example 10.0.0.9 A IN\n")
    assert cast.lines() == b"x.example 10.0.0.9 A IN\n"
    cast.say_lines("y.example")
    cast.wait(cast.bounds.grace_failed_s + 0.01)
    assert cast.lines() == b"y.example - FAILED\n" and cast.brain.unhealthy() == ""


def test_one_that_was_refused_is_found_by_what_it_was_asked_last() -> None:
    """[P49]: each `probe_s`, whether anybody asks or not; what comes makes it UP, with a line."""
    cast = Cast(1)
    refuse(cast)
    cast.ask("last.example")
    cast.told()
    for _ in range(3):  # still closed
        cast.wait(PROBE_S)
        ((conn, query),) = cast.asked(D1)
        assert question_of(query) == "last.example" and cast.metric("DNS1.link") == "DIALING"
        cast.stage.break_socket(conn)
        assert cast.metric("DNS1.link") == "DOWN"
    cast.wait(PROBE_S)
    cast.answer(D1, "REFUSED")
    assert cast.metric("DNS1.state") == "UP" and cast.brain.unhealthy() == ""
    assert cast.stage.reports == [REFUSED, "DNS1 is up [10.0.0.53:53]"]
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    assert cast.codes() == [0]


def test_one_that_is_back_is_asked_for_all_that_is_open() -> None:
    """[P49]: what comes first counts, too, though somebody else was asked it meanwhile."""
    cast = Cast()
    refuse(cast)
    for n in range(5):
        cast.ask(f"n{n}.example")
    cast.wait(PROBE_S)
    ((conn, query),) = cast.asked(D1)
    assert question_of(query) == "n4.example"
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0]
    asked = {question_of(query) for _, query in cast.asked(D1)}
    assert asked >= {"refused.example", *(f"n{n}.example" for n in range(4))}
    assert cast.metric("DNS1.won") == 1


def test_a_resolver_that_is_back_has_not_failed_what_is_open() -> None:
    """[P49]: while it was down that counted as its failure; now a table's denial waits for it."""
    cast = Cast(1, tables=1)
    refuse(cast)
    cast.ask("x.example")
    cast.wait(PROBE_S)
    conn, probe = cast.query_at(D1)
    cast.say(conn, said(probe, "TC"))
    assert cast.metric("DNS1.state") == "UP" and question_of(probe) == "x.example"
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    assert cast.codes() == []
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0, 0]


@pytest.mark.parametrize("when", ["down", "dialling"])
def test_a_drain_ends_though_a_resolver_is_refused(when: str) -> None:
    cast = Cast(1)
    refuse(cast)
    if when == "dialling":
        cast.wait(PROBE_S)
    cast.stage.end(CLIENT)
    cast.stage.drain()
    cast.wait(0.0)
    assert cast.stage.exit_code == 0 and not cast.sockets(D1)


def test_what_is_said_of_a_probe_is_told_to_nobody() -> None:
    """The asker of it has been told already."""
    cast = Cast(1)
    refuse(cast)
    cast.told()
    cast.wait(PROBE_S)
    conn, query = cast.query_at(D1)
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.told() == [] and cast.metric("DNS1.late") == 1


def test_one_that_drops_the_probe_is_found_by_the_newest() -> None:
    """The newest question is asked of it, though another resolver is there for that."""
    cast = Cast(2)
    cast.ask("dropped.example")
    break_all(cast, D1)
    cast.ask("x.example")
    cast.wait(PROBE_S)
    for conn, query in cast.asked(D1):
        if question_of(query) != "dropped.example":
            cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("DNS1.state") == "UP"
