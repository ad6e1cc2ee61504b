"""Lifetimes of replies, as they are kept; dnspython is the oracle.

Any reply that dnspython can write, of many records and with compressed names, is read again when it
has been kept for a while: every TTL has fallen, and nothing else has changed.

Not here: which replies are kept (`tests/nodes/test_cache.py`).
"""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nodes.dns.codes import HEADER, Flag
from nodes.dns.lifetime import DATA_TTL_MAX_S, NEGATIVE_TTL_MAX_S, STALE_TTL_S, Lifetime
from nodes.dns.records import places
from nodes.dns.reply import DnsReply, ReplyResult, read_reply
from tests.support.dns_messages import TO_QUESTION, address, name, opt, option, record
from tests.support.dns_messages import reply as made

pytest.importorskip("dns", reason="no dnspython here (pip install -r tests/requirements.txt)")
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

HIGH_BIT = 2**31
QUERY = bytes(5) + b"\1" + bytes(6) + name("q.example") + b"\0\1\0\1"
NAMES = ["q.example.", "A.example.", "b.Example.", "c.d.example.", "elsewhere.test."]
RDATA = {
    "A": ["10.0.0.1", "10.0.0.2"],
    "AAAA": ["2001:db8::1"],
    "MX": ["10 b.example.", "20 mail.A.example."],
    "TXT": ['"one"', '"two" "three"', '"' + "x" * 200 + '"'],
    "NS": ["ns.example.", "c.d.example."],
    "RRSIG": ["A 8 2 3600 20300101000000 20200101000000 1 example. AAAA"],
}
ttls = st.one_of(
    st.integers(1, 300),
    st.sampled_from([3_599, 3_600, 3_601, 86_399, 86_400, 86_401, HIGH_BIT - 1]),
)
Texts = list[tuple[str, int, str, str]]  # records: owner, TTL, type, data


@st.composite
def sections(draw: st.DrawFn, kinds: Sequence[str], least: int, most: int) -> Texts:
    """Draw the records of a section, each with a TTL of its own."""
    records = []
    for _ in range(draw(st.integers(least, most))):
        kind = draw(st.sampled_from(kinds))
        data = draw(st.sampled_from(RDATA[kind]))
        records.append((draw(st.sampled_from(NAMES)), draw(ttls), kind, data))
    return records


@st.composite
def messages(draw: st.DrawFn, is_data: bool) -> dns.message.Message:
    """Draw a reply to a question for addresses: a chain of aliases, with addresses at its end or
    without."""
    message = dns.message.make_response(dns.message.make_query("q.example", "A"))
    message.flags |= dns.flags.AA | draw(st.sampled_from([0, dns.flags.AD | dns.flags.RA]))
    chain = NAMES[: draw(st.integers(1, 4))]
    answers: Texts = [(owner, draw(ttls), "CNAME", target) for owner, target in pairwise(chain)]
    if is_data:
        for data in draw(st.lists(st.sampled_from(RDATA["A"]), min_size=1, unique=True)):
            answers.append((chain[-1], draw(ttls), "A", data))
        answers += draw(sections(["RRSIG"], 0, 1))
    authorities = draw(sections(["NS", "TXT", "RRSIG"] if is_data else ["TXT", "RRSIG"], 0, 2))
    if not is_data:
        soa = f"ns.example. h.example. 1 2 3 4 {draw(ttls)}"
        authorities.insert(draw(st.integers(0, len(authorities))), ("example.", 0, "SOA", soa))
        authorities = [(owner, ttl or draw(ttls), *rest) for owner, ttl, *rest in authorities]
        message.set_rcode(draw(st.sampled_from([dns.rcode.NOERROR, dns.rcode.NXDOMAIN])))
    message.answer = as_sets(answers)
    message.authority = as_sets(authorities)
    message.additional = as_sets(draw(sections(["A", "AAAA", "MX"], 0, 3)))
    if draw(st.booleans()):
        message.use_edns(0, 0, 1232)
    return message


def as_sets(records: Texts) -> list[dns.rrset.RRset]:
    return [dns.rrset.from_text(owner, ttl, "IN", *rest) for owner, ttl, *rest in records]


def read(message: dns.message.Message) -> DnsReply:
    reply = read_reply(message.to_wire(max_size=65_535)[2:])
    assert reply is not None
    return reply


def seen(reply: DnsReply) -> dns.message.Message:
    """Return what dnspython reads of a reply with its records, each in a set of its own."""
    assert reply.section
    data = bytes(2) + HEADER.pack(reply.flags, 1, *reply.counts) + reply.section + reply.body
    return dns.message.from_wire(data, one_rr_per_rrset=True)


def records_of(message: dns.message.Message) -> list[dns.rrset.RRset]:
    return [*message.answer, *message.authority, *message.additional]


def ttls_of(reply: DnsReply) -> list[int]:
    return [rrset.ttl for rrset in records_of(seen(reply))]


def without_ttls(message: dns.message.Message) -> list[list[str]]:
    """Return all that the records say but their TTLs, section by section."""
    return [
        [f"{one.name} {one.rdclass} {one.rdtype} {one[0].to_text()}" for one in section]
        for section in (message.answer, message.authority, message.additional)
    ]


def data_limits(message: dns.message.Message) -> tuple[list[int], int]:
    """Return the TTLs of data by an obvious model, and how long it may be kept."""
    capped = [min(rrset.ttl, DATA_TTL_MAX_S) for rrset in records_of(message)]
    return capped, min(capped)


@given(messages(is_data=True), st.data())
def test_all_ttls_of_data_fall_and_nothing_else_changes(
    message: dns.message.Message, data: st.DataObject
) -> None:
    """[P94]: however the records stand, none says more than it said, less its age, nor 0."""
    reply = read(message)
    assert reply.result is ReplyResult.DATA
    lifetime = Lifetime(reply)
    capped, least = data_limits(message)
    assert lifetime.seconds == least
    ages = [0, least - 1, *data.draw(st.lists(st.integers(0, least - 1), max_size=3))]
    for age_s in ages:
        aged = lifetime.aged(age_s)
        assert ttls_of(aged) == [ttl - age_s for ttl in capped] and min(ttls_of(aged)) >= 1
        assert without_ttls(seen(aged)) == without_ttls(seen(reply))
        assert (aged.addresses, aged.result) == (reply.addresses, reply.result)
        assert aged.flags == reply.flags & ~Flag.AA and aged.section == reply.section
    assert ttls_of(reply) == [rrset.ttl for rrset in records_of(message)], "it is as it came"


@given(messages(is_data=False), st.integers(1, NEGATIVE_TTL_MAX_S), st.data())
def test_what_is_no_data_is_kept_as_long_as_its_soa_says(
    message: dns.message.Message, most_s: int, data: st.DataObject
) -> None:
    """RFC 2308, section 5: the TTL of the SOA record and its minimum; and no record outlives it."""
    reply = read(message)
    assert reply.result in (ReplyResult.NO_DATA, ReplyResult.NOT_FOUND)
    (soa,) = [one[0] for one in message.authority if one.rdtype == dns.rdatatype.SOA]
    least = min(soa.minimum, *[rrset.ttl for rrset in records_of(message)])
    assert Lifetime(reply).seconds == min(least, NEGATIVE_TTL_MAX_S)
    lifetime = Lifetime(reply, most_s)
    assert lifetime.seconds == min(least, most_s)
    age_s = data.draw(st.integers(0, lifetime.seconds - 1))
    aged = lifetime.aged(age_s)
    assert set(ttls_of(aged)) == {lifetime.seconds - age_s}
    assert without_ttls(seen(aged)) == without_ttls(seen(reply))


@given(st.one_of(messages(is_data=True), messages(is_data=False)), st.booleans())
def test_a_stale_reply_says_so_and_30_s(message: dns.message.Message, has_other: bool) -> None:
    """RFC 8767, section 4; beside the extended errors that it had."""
    if has_other:
        message.use_edns(0, 0, 1232, options=[dns.edns.EDEOption(22)])
    reply = read(message)
    options = reply.options
    stale = Lifetime(reply).stale()
    assert set(ttls_of(stale)) == {STALE_TTL_S} == {30}
    assert without_ttls(seen(stale)) == without_ttls(seen(reply))
    assert stale.options == options + option(15, b"\0\3") and reply.options == options
    assert stale.addresses == reply.addresses and not stale.flags & Flag.AA


@given(st.one_of(messages(is_data=True), messages(is_data=False)))
def test_places_are_where_the_records_stand(message: dns.message.Message) -> None:
    reply = read(message)
    found = list(places(reply.body, sum(reply.counts)))
    assert [rdtype for rdtype, *_ in found] == [one.rdtype for one in records_of(message)]
    assert found[-1][2] + found[-1][3] == len(reply.body)
    for (_, at, data_at, size), rrset in zip(found, records_of(message), strict=True):
        assert int.from_bytes(reply.body[at : at + 4]) == rrset.ttl
        assert int.from_bytes(reply.body[data_at - 2 : data_at]) == size


@given(st.one_of(messages(is_data=True), messages(is_data=False)), st.data())
def test_a_reply_of_any_bytes_can_be_kept(
    message: dns.message.Message, data: st.DataObject
) -> None:
    """Once it is read it can be aged: no TTL is 0, nor more than there is left."""
    wire = bytearray(message.to_wire(max_size=65_535)[2:])
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    reply = read_reply(bytes(wire))
    assume(reply is not None and not reply.is_cut)
    assert reply is not None
    lifetime = Lifetime(reply)
    assert 0 <= lifetime.seconds <= DATA_TTL_MAX_S
    if lifetime.seconds:
        body = lifetime.aged(lifetime.seconds - 1).body
        found = [body[at : at + 4] for _, at, _, _ in places(body, sum(reply.counts))]
        assert min(map(int.from_bytes, found)) == 1 and len(body) == len(reply.body)


# -- by hand ---------------------------------------------------------------------------------------


def soa(minimum_s: int, ttl_s: int) -> bytes:
    data = name("ns.example") + name("h.example") + bytes(16) + minimum_s.to_bytes(4)
    return record(TO_QUESTION, "SOA", data, ttl_s)


def a(ttl_s: int) -> bytes:
    return record(TO_QUESTION, "A", address("10.0.0.1"), ttl_s)


def seconds(code: str = "NOERROR", **sections: tuple[bytes, ...]) -> int:
    reply = read_reply(made(QUERY, code, **sections)[2:])
    assert reply is not None
    return Lifetime(reply).seconds


@pytest.mark.parametrize("ttl_s", [HIGH_BIT, HIGH_BIT + 1, 2**32 - 1, 86_401, 86_400])
def test_a_ttl_with_the_high_bit_is_large_and_not_0(ttl_s: int) -> None:
    """RFC 8767, section 4."""
    assert seconds(answers=(a(ttl_s),)) == 86_400
    assert seconds("NXDOMAIN", authorities=(soa(ttl_s, ttl_s),)) == 3_600


@pytest.mark.parametrize("where", ["answers", "authorities", "additionals"])
def test_a_reply_with_a_ttl_of_0_anywhere_is_not_kept(where: str) -> None:
    sections = {"answers": (a(60),), "authorities": (), "additionals": (opt(),)}
    assert seconds(**sections) == 60
    sections[where] = (record(TO_QUESTION, "TXT", b"\1x", 0), *sections[where])
    assert seconds(**sections) == 0


def test_the_ttl_of_an_opt_record_is_none() -> None:
    """Its bits are a version and flags."""
    assert seconds(answers=(a(60),), additionals=(opt(flags=0),)) == 60
    assert seconds(answers=(a(60),), additionals=(opt(flags=0x8000), a(1))) == 60, "left out"
    assert seconds(answers=(a(60),), additionals=(a(50), opt(flags=0x8000))) == 50


@pytest.mark.parametrize("code", ["NXDOMAIN", "NOERROR"])
def test_without_soa_what_is_no_data_is_not_kept(code: str) -> None:
    """RFC 2308, section 5: nobody says for how long. An SOA record elsewhere says nothing of it."""
    alias = record(TO_QUESTION, "CNAME", name("a.example"), 60)
    assert seconds(code) == 0
    assert seconds(code, answers=(alias,)) == 0
    assert seconds(code, authorities=(record(TO_QUESTION, "TXT", b"\1x"),)) == 0
    assert seconds(code, answers=(soa(60, 60),)) == 0
    assert seconds(code, additionals=(soa(60, 60), opt())) == 0
    assert seconds(code, answers=(alias,), authorities=(soa(70, 80),)) == 60


@pytest.mark.parametrize(
    ("minimum_s", "ttl_s", "kept_s"),
    [(5, 9, 5), (9, 5, 5), (0, 9, 0), (9, 0, 0), (3_601, 4_000, 3_600), (30, 3_600, 30)],
)
def test_the_lesser_of_ttl_and_minimum_of_the_soa_counts(
    minimum_s: int, ttl_s: int, kept_s: int
) -> None:
    assert seconds("NXDOMAIN", authorities=(soa(minimum_s, ttl_s),)) == kept_s


def test_an_soa_beside_data_says_nothing_of_it() -> None:
    assert seconds(answers=(a(60),), authorities=(soa(5, 70),)) == 60
    assert seconds(answers=(a(60),), authorities=(soa(70, 5),)) == 5


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_a_failure_without_records_has_no_lifetime(code: str) -> None:
    assert seconds(code) == 0
