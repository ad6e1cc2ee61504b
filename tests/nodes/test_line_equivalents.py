"""Table servers beside resolvers: asked by lines what DNS clients ask, and what that says.

Not here: table servers alone (`tests/nodes/test_load_balancer.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.datagram_events import Datagrams
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from tests.support.balancers import part_of
from tests.support.dns_messages import (
    AD,
    CD,
    CODES,
    DO,
    RD,
    TO_QUESTION,
    address,
    opt,
    question_of,
    record,
    reply,
    said,
    section_of,
)
from tests.support.resolver_cast import D1, D2, HERE, MX, UDP, UNKNOWN_S, Cast


def test_tables_are_asked_what_a_line_can_ask_and_waited_for() -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example")
    cast.ask("x~.example MX")
    assert cast.stage.take("TS1") == b"x.example\n"
    (conn, x), (_, mx) = cast.asked(D1)
    cast.say(conn, said(x, "NXDOMAIN"), said(mx, "NXDOMAIN"))
    assert cast.codes() == [CODES["NXDOMAIN"]]  # of MX: nobody else was asked
    cast.stage.hear("TS1", b"x.example 10.0.0.1 A IN\n")
    ((message, _),) = cast.told()
    assert message.endswith(address("10.0.0.1"))


def test_a_query_beyond_a_line_is_asked_of_tables_as_a_line() -> None:
    """dig sets AD, and a resolver DO: a name of a table is theirs as well as anybody's."""
    cast = Cast(1, tables=1)
    plain = cast.ask("x.example AAAA")
    signed = cast.ask("X.Example AAAA", edns=opt(flags=DO))
    asked = {question_of(query) for _, query in cast.asked(D1)}
    assert asked == {"x.example AAAA", "x.example TYPE28 +do"}
    assert cast.stage.take("TS1") == b"x.example AAAA\nx.example AAAA\n"
    cast.stage.hear("TS1", b"x.EXAMPLE 2001:db8::1,2001:db8::2 AAAA IN\n")
    told = {message[:2]: message for message, _ in cast.told()}
    for query, edns in ((plain, b""), (signed, opt(flags=DO))):
        message = told[query[:2]]
        assert section_of(message) == section_of(query) and message[6:8] == b"\0\2"
        assert address("2001:db8::1") in message and address("2001:db8::2") in message
        assert message.endswith(edns)
    assert not part_of(cast.brain, LineEquivalents) and cast.metric("TS1.won") == 2


@pytest.mark.parametrize("flags", [RD | AD, RD | CD, 0])
def test_a_table_s_denial_counts_for_a_query_beyond_a_line(flags: int) -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example", flags=flags)
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == []
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.ask("y.example", flags=flags)
    cast.answer(D1, "SERVFAIL")
    cast.stage.hear("TS1", b"y.example - NO DATA\n")
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:8] == b"\0\0"
    cast.ask("z.example", flags=flags)
    cast.wait(1.8)
    assert not part_of(cast.brain, LineEquivalents)


@pytest.mark.parametrize(("question", "lines"), [("x.example MX", 1), ("x~.example MX", 0)])
def test_a_table_is_not_silent_about_what_it_cannot_have(question: str, lines: int) -> None:
    """Nor about what it cannot have: that it has the name is no reply in a sampled race."""
    cast = Cast(1, tables=1, sample=1.0)
    cast.ask(question)
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, answers=(MX,)))
    assert cast.metric("sampled") == 1 and cast.metric("TS1.asked") == lines
    assert cast.metric("TS1.silent") == 0 and cast.metric("DNS1.won") == 1


@pytest.mark.parametrize(
    ("question", "flags"), [("x.example", RD), ("x.example", RD | AD), ("x.example MX", RD)]
)
def test_a_silent_table_holds_nxdomain_up_for_no_data_s(question: str, flags: int) -> None:
    """A table that is silent does not have the name, or is slow."""
    cast = Cast(1, tables=1)
    cast.ask(question, flags=flags)
    cast.answer(D1, "NXDOMAIN")
    cast.wait(cast.bounds.no_data_s * 0.9)
    assert cast.codes() == []
    cast.wait(cast.bounds.no_data_s * 0.1)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_a_table_that_denies_the_name_has_no_other_type_of_it() -> None:
    cast = Cast(1, tables=1)
    cast.ask("other.corp MX")
    cast.stage.hear("TS1", b"other.corp - NOT FOUND\n")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]] and cast.metric("late") == 0


def test_not_found_of_all_tables_is_no_word_of_a_resolver() -> None:
    cast = Cast(1, tables=1)
    cast.say_lines("x.example")
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    assert cast.lines() == b""
    cast.answer(D1, "10.0.0.1")
    assert cast.lines() == b"x.example 10.0.0.1 A IN\n"
    cast.say_lines("y.example")
    cast.answer(D1, "SERVFAIL")
    cast.stage.hear("TS1", b"y.example - NOT FOUND\n")
    assert cast.lines() == b"y.example - FAILED\n"


def test_a_table_that_comes_again_is_not_awaited_in_vain() -> None:
    cast = Cast(tables=1)
    cast.ask("x~.example MX")
    cast.answer(D1, "SERVFAIL")
    cast.stage.reset("TS1")
    cast.wait(cast.bounds.redial_first_s)
    cast.stage.connect("TS1")
    cast.answer(D2, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]]


HAS = [b"web.corp 10.0.0.1 A IN\n", b"web.corp - NO DATA\n"]  # A, and AAAA only


NOTHING = ["NXDOMAIN", "REFUSED", "SERVFAIL"]


@pytest.mark.parametrize("has", HAS)
@pytest.mark.parametrize("code", NOTHING)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_name_of_a_table_exists_whatever_type_is_asked(
    has: bytes, code: str, is_first: bool
) -> None:
    """[P42]: NO DATA, as a DNS client hears it; who spoke first does not matter."""
    cast = Cast(1, tables=1)
    query = cast.ask("Web.Corp MX")
    assert cast.stage.take("TS1") == b"web.corp\n"
    if is_first:
        cast.stage.hear("TS1", has)
    assert cast.codes() == []
    cast.answer(D1, code)
    if not is_first:
        assert cast.codes() == []
        cast.stage.hear("TS1", has)
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:12] == bytes(6)
    assert section_of(message) == section_of(query)
    assert cast.metric("no_data") == 1 and cast.metric("late") == 0
    assert cast.metric("TS1.late") == 0 and cast.metric("TS1.asked") == 1
    assert not part_of(cast.brain, LineEquivalents) and cast.brain.parts.negatives.is_empty


def test_a_table_s_no_data_for_a_line_beats_nxdomain_too() -> None:
    cast = Cast(1, tables=1)
    cast.ask("web.corp AAAA")
    cast.say_lines("web.corp AAAA")
    cast.stage.hear("TS1", b"web.corp AAAA - NO DATA\n")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [0] and cast.lines() == b"web.corp AAAA - NO DATA\n"


@pytest.mark.parametrize("has", HAS)
def test_a_name_of_a_table_shortens_no_wait_for_data(has: bytes) -> None:
    """[P42]: a resolver that needs 2 s for the MX is heard, and is not pressed."""
    cast = Cast(1, tables=1, bounds=replace(Bounds(), dns_timeout_s=4.5))
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", has)
    conn, query = cast.query_at(D1)
    cast.wait(0.9)
    assert cast.codes() == [] and cast.asked(D1) == []  # nothing is held for a grace
    cast.wait(1.1)
    cast.say(conn, reply(query, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message.endswith(MX)


def test_a_name_of_a_table_shortens_no_wait_of_a_refusal() -> None:
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    cast.answer(D1, "REFUSED")
    cast.wait(cast.bounds.grace_failed_s - 0.01)
    assert cast.codes() == []
    (conn, query) = cast.asked(D2)[0]
    cast.say(conn, reply(query, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message.endswith(MX)


def test_nxdomain_begins_the_grace_of_a_name_of_a_table() -> None:
    """Not the table's word: from then on the other resolver has its time, and then it is NO DATA,
    though it was NXDOMAIN that was said with a message."""
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    cast.wait(0.5)
    soa = record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), 1)
    conn, query = cast.asked(D1)[0]
    cast.say(conn, reply(query, "NXDOMAIN", authorities=(soa,)))
    cast.wait(UNKNOWN_S - 0.001)
    assert cast.codes() == []
    cast.wait(0.001)
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:12] == bytes(6)


@pytest.mark.parametrize("how", ["time", "silence"])
def test_a_name_of_a_table_is_no_data_if_resolvers_are_silent(how: str) -> None:
    """[P42]: at the asker's time, or at once where nobody is left who may have data."""
    cast = Cast(1, tables=2)
    if how == "silence":
        for n in range(cast.bounds.silent_questions):
            cast.ask(f"n{n}.example")
        cast.wait(1.5)
        cast.told()
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])  # and TS2 is silent: it could say nothing better
    if how == "time":
        cast.wait(cast.bounds.dns_timeout_s - 0.01)
        assert cast.codes() == []
        cast.wait(0.01)
    assert cast.codes()[-1:] == [0]


def test_no_data_waits_for_no_table_without_the_type() -> None:
    cast = Cast(1, tables=1)
    cast.ask("web.corp MX")
    cast.answer(D1, "NOERROR")
    assert cast.codes() == [0]
    cast.stage.hear("TS1", HAS[0])
    assert cast.metric("TS1.late") == 1 and cast.brain.parts.negatives.is_empty


@pytest.mark.parametrize("kind", ["", " AAAA", " MX"])
def test_names_below_are_no_word_beside_resolvers(kind: str) -> None:
    """[P44]: a table that has names below `com` says nothing of `com`; it has spoken, though."""
    cast = Cast(tables=1)
    for code in ("NXDOMAIN", "SERVFAIL"):
        cast.ask(f"com{kind}")
        line = cast.stage.take("TS1").strip()
        cast.stage.hear("TS1", line + b" - NAMES BELOW\n")
        cast.answer(D1, code)
        assert cast.codes() == []
        cast.answer(D2, code)
        assert cast.codes() == [CODES[code]]
    cast.ask(f"com{kind}")
    cast.stage.hear("TS1", line + b" - NAMES BELOW\n")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(UNKNOWN_S)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    assert cast.metric("TS1.malformed") == 0 and cast.metric("late") == 0


@pytest.mark.parametrize("kind", ["", " AAAA", " MX"])
def test_a_name_that_a_table_blocks_has_nothing_of_any_type(kind: str) -> None:
    """[P103]: while NO DATA of a table is no word on other types."""
    cast = Cast(1, tables=1)
    cast.ask(f"ads.example{kind}")
    line = cast.stage.take("TS1").strip()
    cast.stage.hear("TS1", line + b" - BLOCKED\n")
    assert cast.codes() == []
    cast.answer(D1, "SERVFAIL")
    assert cast.codes() == [CODES["NXDOMAIN"]]
    assert cast.metric("TS1.not_found") == 1 and cast.metric("TS1.malformed") == 0


def test_a_table_is_asked_once_for_all_types_of_one_read() -> None:
    cast = Cast(1, tables=1)
    queries = [cast.query(f"web.corp {kind}".strip()) for kind in ("", "MX", "TXT", "AAAA")]
    cast.stage.step(Datagrams(UDP, [(query, HERE) for query in queries]))
    assert cast.stage.take("TS1") == b"web.corp\nweb.corp AAAA\n"
    assert cast.metric("TS1.asked") == 2
    cast.stage.hear("TS1", b"web.corp 10.0.0.1 A IN\nweb.corp AAAA - NO DATA\n")
    assert cast.codes() == [0]
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "NXDOMAIN"))
    assert cast.codes() == [0, 0, 0] and cast.metric("no_data") == 3


def test_a_query_that_ends_leaves_others_of_its_line_to_wait() -> None:
    cast = Cast(1, tables=1)
    cast.ask("web.corp MX")
    conn, query = cast.query_at(D1)
    cast.ask("web.corp", flags=RD | AD)
    cast.say(conn, reply(query, answers=(MX,)))
    assert cast.codes() == [0]
    cast.stage.hear("TS1", HAS[0])
    ((message, _),) = cast.told()
    assert message.endswith(address("10.0.0.1")) and cast.metric("TS1.late") == 0


def test_data_after_the_name_of_a_table_is_no_difference() -> None:
    """No table denies it. Else each MX would make the resolver one that is waited for longer."""
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    conn, query = cast.asked(D1)[0]
    cast.say(conn, reply(query, answers=(MX,)))
    assert cast.codes() == [0]
    cast.asked(D2)
    cast.ask("x.example")
    cast.answer(D2, "NXDOMAIN")
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    cast.wait(cast.bounds.grace_max_s)
    assert cast.codes() == [CODES["NXDOMAIN"]]


@pytest.mark.parametrize("extra_load", [0.0, 1.0])
def test_hedging_asks_a_table_for_the_name_last(extra_load: float) -> None:
    """[P42]: where resolvers have nothing."""
    cast = Cast(1, tables=1, extra_load=extra_load)
    cast.ask("web.corp MX")
    assert cast.stage.take("TS1") == b""
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [] and cast.stage.take("TS1") == b"web.corp\n"
    cast.stage.hear("TS1", HAS[0])
    assert cast.codes() == [0]
