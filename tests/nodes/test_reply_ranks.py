"""Replies that count as something else than they say: words of a validator, private addresses.

Not here: which reply is bogus (`tests/nodes/test_reply.py`), and what is held meanwhile
(`tests/nodes/test_negatives.py`).
"""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from nodes.dns.private_addresses import PRIVATE, is_private, private_address
from nodes.dns.reply import read_reply
from nodes.ls.resolvers.validator_belief import ValidatorBelief
from tests.support.dns_messages import (
    BOGUS,
    CD,
    CODES,
    RD,
    TO_QUESTION,
    address,
    name,
    opt,
    option,
    record,
    reply,
    said,
)
from tests.support.resolver_cast import D1, D2, D3, Cast

BLOCKED = option(15, b"\0\x0f")
PUBLIC = "198.51.100.7"


# -- a validator's word ----------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["", "SERVFAIL", "REFUSED", "NXDOMAIN", "NOERROR"])
def test_a_bogus_name_ends_at_once_whatever_is_held(before: str) -> None:
    """[P89]: it is relayed with its error; data that comes later is told to nobody."""
    cast = Cast(3)
    cast.ask("x.example", edns=opt())
    cast.ask("x.example", whence=("127.0.0.1", 4001))
    cast.say_lines("X.example")
    if before:
        cast.answer(D3, before)
    assert cast.told() == [] and cast.lines() == b""
    cast.answer(D1, "BOGUS")
    (first, _), (second, _) = cast.told()
    assert [message[3] & 15 for message in (first, second)] == [CODES["SERVFAIL"]] * 2
    assert first.endswith(opt(BOGUS)) and BOGUS not in second
    assert cast.lines() == b"X.example - FAILED\n"
    cast.answer(D2, "10.6.6.6")
    assert cast.told() == [] and cast.lines() == b""
    assert cast.metric("failed") == 3 and cast.metric("DNS1.bogus") == 1
    assert cast.metric("DNS1.failed") == 0 and cast.metric("DNS2.late") == 1
    assert cast.brain.parts.negatives.is_empty and cast.brain.parts.negatives.schedule.due > 1e9


def test_bogus_ends_what_a_table_knows_to_exist() -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example MX")
    cast.stage.hear("TS1", b"x.example 10.0.0.1 A IN\n")
    cast.answer(D1, "BOGUS")
    assert cast.codes() == [CODES["SERVFAIL"]]


def test_two_words_in_one_read_end_a_question_once() -> None:
    """A question that was asked again is told once, also where something else is said of it."""
    cast = Cast(2, bounds=replace(Bounds(), upstream_sockets=1))
    cast.ask("x.example")
    cast.wait(1.5)
    cast.ask("x.example")
    asked = cast.asked(D1)
    assert len(asked) > 1
    (conn, first), (_, second) = asked[:2]
    cast.say(conn, said(first, "BOGUS"), said(second, "NXDOMAIN"))
    assert cast.codes() == [CODES["SERVFAIL"]] * 2
    cast.ask("y.example")
    cast.wait(1.5)
    cast.ask("y.example")
    (_, first), (_, second) = cast.asked(D1)[:2]
    cast.say(conn, said(first, "SERVFAIL"), said(second, "BOGUS"))
    assert cast.codes() == [CODES["SERVFAIL"]] * 2 and cast.metric("DNS1.bogus") == 2
    assert cast.brain.parts.negatives.is_empty


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_hedging_the_word_of_whoever_is_asked_first_ends_it(share: float) -> None:
    """[P89]"""
    cast = Cast(2, tables=1, extra_load=share)
    cast.ask("x.example MX")
    asked = cast.asked(D1) or cast.asked(D2)
    assert len(asked) == 1 and not cast.asked(D2)
    cast.say(asked[0][0], said(asked[0][1], "BOGUS"))
    assert cast.codes() == [CODES["SERVFAIL"]]
    cast.wait(5.0)
    assert not cast.asked(D1) and not cast.asked(D2), "nobody else is asked"


def test_with_trust_data_bogus_is_a_servfail() -> None:
    """[P90]: held, and beaten by anything better."""
    cast = Cast(2, trusts_data=True)
    cast.ask("x.example")
    cast.answer(D1, "BOGUS")
    assert cast.told() == []
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [0]
    cast.ask("y.example", edns=opt())
    for resolver in (D1, D2):
        cast.answer(resolver, "BOGUS" if resolver == D1 else "SERVFAIL")
    ((message, _),) = cast.told()
    assert message.endswith(opt(BOGUS))
    assert (cast.metric("DNS1.bogus"), cast.metric("DNS1.failed")) == (0, 2)


def test_with_cd_it_is_asked_and_told_as_any_other() -> None:
    cast = Cast(2)
    cast.ask("x.example", flags=RD | CD)
    cast.answer(D1, "10.6.6.6")
    assert cast.codes() == [0]


def hear(cast: Cast, text: str, count: int = 1, late: bool = False) -> None:
    """Let the first resolver say this to so many questions; the second has data."""
    for _ in range(count):
        cast.ask(f"n{cast.number}.example")
        for resolver, says in [(D2, "10.0.0.2"), (D1, text)][:: 1 if late else -1]:
            cast.answer(resolver, says)


@pytest.mark.parametrize("late", [False, True])
def test_who_finds_too_much_bogus_is_not_believed(late: bool) -> None:
    """[P90]: more than 5 % of its last 200 replies, also those that are late."""
    cast = Cast(2)
    hear(cast, "BOGUS", 10, late)
    assert cast.codes() == [0 if late else CODES["SERVFAIL"]] * 10
    assert cast.stage.warnings == []
    hear(cast, "BOGUS", 20, late)
    assert cast.codes() == [0] * 20
    (warning,) = cast.stage.warnings
    assert warning.startswith("DNS1 says of more than 10 of its last 200 replies that they are")
    hear(cast, "10.0.0.1", 189)
    hear(cast, "BOGUS")
    assert cast.codes() == [0] * 190, "of the last 200 eleven are"
    hear(cast, "10.0.0.1")
    assert cast.stage.reports[-1].startswith("DNS1 is believed again")
    cast.told()
    hear(cast, "BOGUS")
    assert cast.codes() == [CODES["SERVFAIL"]]


@given(st.lists(st.lists(st.booleans(), max_size=60), max_size=40))
def test_belief_is_that_of_the_last_200_replies(reads: list[list[bool]]) -> None:
    """[P90]"""
    belief, replies, news = ValidatorBelief(D1), [], 0
    is_believed = True
    for read in reads:
        for before, is_bogus in enumerate(read):
            replies.append(is_bogus)
            if is_bogus:
                assert belief.takes_bogus(before) is (sum(replies[-200:]) <= 10)
        news += len(belief.heard(len(read)))
        was, is_believed = is_believed, sum(replies[-200:]) <= 10
        assert news == (was is not is_believed)
        news = 0


def test_a_validator_that_finds_bogus_names_is_well() -> None:
    """Its word is a good reply, on time or late; one that is not believed fails."""
    cast = Cast(2)
    for n in range(8):
        hear(cast, "BOGUS", late=n % 2 == 1)
        cast.wait(1.0)
    hear(cast, "SERVFAIL", 15)
    cast.wait(5.0)
    hear(cast, "BOGUS")
    assert cast.metric("DNS1.state") == "UP"
    for _ in range(40):
        hear(cast, "BOGUS")
        cast.wait(0.5)
    assert cast.metric("DNS1.state") == "FAILING"


# -- private addresses -----------------------------------------------------------------------------


def private_cast(count: int = 2) -> Cast:
    return Cast(count, private_from={D1})


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "169.254.169.254", "0.0.0.0",
        "fd00::1", "fe80::1", "::1", "::", "::ffff:192.168.1.1", f"{PUBLIC},10.0.0.1",
        "2001:db8::1,fd00::1",
    ],
)  # fmt: skip
def test_a_private_address_of_such_a_resolver_is_refused(text: str) -> None:
    """[P91]: another's answer wins, of any rank above; alone it is a failure that says why."""
    kind = " AAAA" if ":" in text else ""
    cast = private_cast()
    cast.ask(f"x.example{kind}")
    cast.answer(D1, text)
    assert cast.told() == []
    cast.answer(D2, text)
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message.endswith(address(text.split(",")[-1]))
    cast.ask(f"y.example{kind}", edns=opt())
    cast.say_lines(f"Y.example{kind}")
    cast.answer(D2, "SERVFAIL")
    cast.answer(D1, text)
    ((message, _),) = cast.told()
    assert message[3] & 15 == CODES["SERVFAIL"] and message.endswith(opt(BLOCKED))
    assert message[6:10] == bytes(4) and cast.lines() == f"Y.example{kind} - FAILED\n".encode()
    assert (cast.metric("DNS1.rebinding"), cast.metric("DNS1.refused")) == (2, 2)
    assert cast.metric("DNS2.rebinding") == 0


@pytest.mark.parametrize(
    "text", [PUBLIC, "172.32.0.1", "11.0.0.1", "2001:db8::1", "::ffff:8.8.8.8"]
)
def test_a_public_address_of_such_a_resolver_counts(text: str) -> None:
    cast = private_cast()
    cast.ask("x.example AAAA" if ":" in text else "x.example")
    cast.answer(D1, text)
    assert cast.codes() == [0] and cast.metric("DNS1.rebinding") == 0


def test_by_default_private_addresses_count() -> None:
    cast = Cast(2)
    cast.ask("x.example")
    cast.answer(D1, "192.168.1.1")
    assert cast.codes() == [0]


def test_any_record_of_the_answer_section_counts() -> None:
    """[P91]: of another name or type than was asked for, however names are written; not beyond."""
    private = record(name("other.example"), "A", address("10.0.0.1"))
    alias = record(TO_QUESTION, "CNAME", name("other.example"))
    public = record(b"\5other" + TO_QUESTION, "A", address(PUBLIC))
    for answers, others, is_refused in (
        ((alias, private), (), True),
        ((record(TO_QUESTION, "A", address(PUBLIC)), public, private), (), True),
        ((record(TO_QUESTION, "TXT", b"\x04" + address("10.0.0.1")), public), (), False),
        ((record(TO_QUESTION, "A", address(PUBLIC)),), (private,), False),
    ):
        cast = private_cast()
        cast.ask("x.example")
        conn, query = cast.query_at(D1)
        cast.say(conn, reply(query, answers=answers, authorities=others))
        assert cast.metric("DNS1.rebinding") == is_refused


def test_what_is_denied_with_a_private_address_is_refused() -> None:
    cast = private_cast(1)
    cast.ask("x.example AAAA", edns=opt())
    conn, query = cast.query_at(D1)
    cast.say(conn, reply(query, answers=(record(TO_QUESTION, "A", address("10.0.0.1")),)))
    ((message, _),) = cast.told()
    assert message.endswith(opt(BLOCKED)) and address("10.0.0.1") not in message


def test_a_late_private_address_shows_no_other_view() -> None:
    """A resolver that has had data which others denied is waited for longer; such data is none."""
    for text in ("192.168.1.1", PUBLIC):
        cast = private_cast()
        cast.ask("x.example")
        cast.answer(D2, "NXDOMAIN")
        cast.wait(1.0)
        cast.answer(D1, text)
        grace = cast.resolver(D1).grace
        assert (grace.differs_until > cast.stage.now) is (text == PUBLIC)


def test_private_addresses_are_told_of_every_ten_seconds() -> None:
    cast = private_cast(1)
    for n in range(25):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "192.168.1.1")
        cast.wait(1.0)
    assert cast.stage.warnings == [
        "DNS1 says that n0.example is at 192.168.1.1, which is private: refused",
        *(
            f"DNS1 says that n{n}.example is at 192.168.1.1, which is private: refused "
            "(and 9 others since the last such record)"
            for n in (10, 20)
        ),
    ]


def test_a_resolver_with_private_addresses_alone_is_well() -> None:
    cast = private_cast(1)
    for n in range(100):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "192.168.1.1")
        cast.wait(1.0)
    assert cast.metric("DNS1.state") == "UP"


NETWORKS = [ip_network(text) for text in PRIVATE]


@given(
    st.ip_addresses() | st.sampled_from(NETWORKS).flatmap(lambda net: st.ip_addresses(network=net))
)
def test_private_is_what_lies_in_these_networks(one: object) -> None:
    where = ip_address(str(one))
    mapped = getattr(where, "ipv4_mapped", None) or where
    expected = any(mapped in net for net in NETWORKS if net.version == mapped.version)
    assert is_private(where.packed) is expected
    if where.version == 4:
        assert is_private(bytes(10) + b"\xff\xff" + where.packed) is expected


def test_no_prefix_of_a_long_answer_hides_an_address() -> None:
    query = bytes(5) + b"\1" + bytes(6) + name("x.example") + b"\0\1\0\1"
    for count in (0, 1, 40):
        answers = [record(TO_QUESTION, "A", address(PUBLIC))] * count
        answers.append(record(name("www.x.example"), "A", address("10.0.0.1")))
        found = read_reply(reply(query, answers=tuple(answers))[2:])
        assert found is not None and str(private_address(found)) == "10.0.0.1"
