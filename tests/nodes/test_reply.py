"""Replies of resolvers, and what goes on of them to an asker; dnspython is the oracle.

Any sections that dnspython can write are read as an obvious model says; what an asker gets of them
is, section by section, what the resolver said. Anything else that arrives is no reply, and never an
exception. Questions have a text that leads back to their message.

Not here: who asked (`tests/nodes/test_resolver_link.py`), and queries
(`tests/nodes/test_query.py`).
"""

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.protocol.messages import Answer, NoAnswer, parse_reply
from core.protocol.names import LINE_BYTES_MAX, is_name
from nodes.dns.codes import EDNS_DO, Flag
from nodes.dns.query import Query, read_query
from nodes.dns.question import (
    is_beyond_tables,
    is_of_line,
    line_of,
    question_text,
    resolver_query,
)
from nodes.dns.reply import DnsReply, ReplyResult, read_reply
from tests.support.counting import lines_run
from tests.support.dns_messages import (
    TO_QUESTION,
    address,
    name,
    opt,
    option,
    record,
    section_of,
)
from tests.support.dns_messages import reply as made

pytest.importorskip("dns", reason="no dnspython here (pip install -r tests/requirements.txt)")
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

NAMES = ["q.example.", "A.example.", "b.example.", "c.d.example.", "elsewhere.test."]
TYPES = ["A", "AAAA", "MX", "TXT", "CNAME"]
RDATA = {
    "A": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
    "AAAA": ["2001:db8::1", "2001:db8::2"],
    "MX": ["10 b.example.", "20 mail.A.example."],
    "TXT": ['"one"', '"two" "three"', '"' + "x" * 200 + '"'],
    "CNAME": NAMES,
    "SOA": ["ns.example. h.example. 1 2 3 4 5"],
    "NS": ["ns.example.", "c.d.example."],
}


@st.composite
def rrsets(draw: st.DrawFn, kinds: list[str], most: int) -> list[dns.rrset.RRset]:
    """Sets of records, each of another name and type; of an alias there is one."""
    sets = {}
    for _ in range(draw(st.integers(0, most))):
        owner, kind = draw(st.sampled_from(NAMES)), draw(st.sampled_from(kinds))
        data = draw(st.lists(st.sampled_from(RDATA[kind]), min_size=1, max_size=3, unique=True))
        if kind in ("CNAME", "SOA"):
            data = data[:1]
        sets[owner.lower(), kind] = dns.rrset.from_text(owner, 60, "IN", kind, *data)
    return draw(st.permutations(list(sets.values())))


OPTIONS = [
    dns.edns.GenericOption(3, b"nsid"), dns.edns.GenericOption(10, bytes(24)),
    dns.edns.GenericOption(12, bytes(7)), dns.edns.GenericOption(15, b"\0\3"),
    dns.edns.GenericOption(15, b"\0\7expired"),
    dns.edns.GenericOption(65001, b"private"),
]  # fmt: skip
HOP_BY_HOP = {3, 10, 11, 12}


@st.composite
def replies(draw: st.DrawFn) -> dns.message.Message:
    """Draw what a resolver may say to a question for a name of type A, AAAA, MX, TXT or CNAME."""
    query = dns.message.make_query("q.example", draw(st.sampled_from([*TYPES, "ANY"])))
    reply = dns.message.make_response(query, recursion_available=draw(st.booleans()))
    reply.answer = draw(rrsets(TYPES, 5))
    reply.authority = draw(rrsets(["SOA", "NS"], 2))
    reply.additional = draw(rrsets(["A", "AAAA"], 2))
    reply.flags |= draw(st.sampled_from([0, dns.flags.AA, dns.flags.AD]))
    reply.set_rcode(draw(st.sampled_from([0, 0, 0, 2, 3, 5, 1, 4, 9])))
    if draw(st.booleans()):
        reply.use_edns(0, 0, 1232, options=draw(st.lists(st.sampled_from(OPTIONS), max_size=4)))
    return reply


def read(data: bytes) -> DnsReply:
    """Return what is read of a message that is a reply."""
    reply = read_reply(data[2:])
    assert reply is not None
    return reply


def wire(message: dns.message.Message) -> bytes:
    data: bytes = message.to_wire(max_size=65_535)
    return data


def model(message: dns.message.Message) -> tuple[ReplyResult, list[str]]:
    """Return what it says, and the addresses in it, by going from name to name."""
    if message.rcode() != 0:
        by_code = {3: ReplyResult.NOT_FOUND, 5: ReplyResult.REFUSED} | dict.fromkeys(
            (1, 4, 16), ReplyResult.MISUNDERSTOOD
        )
        if message.rcode() == 2 and any(is_bogus(option) for option in message.options):
            return ReplyResult.BOGUS, []
        return by_code.get(message.rcode(), ReplyResult.FAILED), []
    wanted, owner = message.question[0].rdtype, message.question[0].name
    if wanted == dns.rdatatype.ANY:
        return (ReplyResult.DATA if message.answer else without_data(message)), []
    for _ in range(20):
        found = {rrset.rdtype: rrset for rrset in message.answer if rrset.name == owner}
        if wanted in found:
            is_address = wanted in (dns.rdatatype.A, dns.rdatatype.AAAA)
            return ReplyResult.DATA, [str(rdata) for rdata in found[wanted]] if is_address else []
        if dns.rdatatype.CNAME not in found:
            break
        owner = found[dns.rdatatype.CNAME][0].target
    return without_data(message), []


def is_bogus(option: dns.edns.Option) -> bool:
    """Return whether it is an extended error that a validator says."""
    return option.otype == 15 and b"\0\6" <= option.to_wire()[:2] <= b"\0\x0c"


def without_data(message: dns.message.Message) -> ReplyResult:
    """Return whether it is NO DATA or a referral (RFC 2308, section 2.2)."""
    kinds = {rrset.rdtype for rrset in message.authority}
    is_referral = dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds
    return ReplyResult.REFUSED if is_referral else ReplyResult.NO_DATA


@given(replies())
def test_a_reply_says_what_the_model_says(message: dns.message.Message) -> None:
    """[P43]: and nothing, where it is a referral."""
    reply = read(wire(message))
    assert not reply.is_cut
    said, addresses = model(message)
    assert reply.result is said
    is_error = message.rcode() != dns.rcode.NOERROR
    assert reply.is_referral is (said is ReplyResult.REFUSED and not is_error)
    if said is ReplyResult.DATA:
        assert sorted(reply.addresses.decode().split(",")) == sorted(addresses or [""])


@pytest.mark.parametrize("code", ["SERVFAIL", "NXDOMAIN", "REFUSED", "NOERROR"])
def test_errors_6_to_12_of_servfail_alone_are_bogus(code: str) -> None:
    """[P89]: whatever else is said beside it, and however it is explained."""
    query = bytes(5) + b"\1" + bytes(6) + name("q.example") + b"\0\1\0\1"
    found = []
    for number in range(26):
        error = option(15, number.to_bytes(2) + b"why")
        for options in (error, option(15, b"\0\3") + error, error + option(65001, b"")):
            if read(made(query, code, additionals=(opt(options),))).result is ReplyResult.BOGUS:
                found.append(number)
    assert found == ([n for n in range(6, 13) for _ in range(3)] if code == "SERVFAIL" else [])
    for options in (option(15, b""), option(15, b"\6"), option(3, b"\0\6")):
        reply = read(made(query, code, additionals=(opt(options, high=0),)))
        assert reply.result is not ReplyResult.BOGUS
    assert read(made(query, code, additionals=(opt(option(15, b"\0\6"), high=1),))).result in (
        ReplyResult.FAILED, ReplyResult.MISUNDERSTOOD
    )  # fmt: skip


CHAIN = [dns.name.from_text(f"{'x' * (n % 3)}n{n}.Example.") for n in range(19)]


@pytest.mark.parametrize(("count", "end"), [(16, ReplyResult.DATA), (17, ReplyResult.NO_DATA)])
def test_sixteen_aliases_are_followed_and_no_more(count: int, end: ReplyResult) -> None:
    message = dns.message.make_response(dns.message.make_query(CHAIN[0], "A"))
    message.answer.append(dns.rrset.from_text(CHAIN[count], 1, "IN", "A", "10.0.0.1"))
    for owner, target in pairwise(CHAIN[: count + 1]):
        alias = dns.rrset.from_text(owner, 1, "IN", "CNAME", target.to_text())
        message.answer.insert(0, alias)
    assert read(wire(message)).result is end


@given(
    st.permutations(range(19)),
    st.integers(0, 18),
    st.integers(0, 18),
    st.sampled_from(["A", "AAAA", "MX", "TYPE65280"]),
    st.data(),
)
def test_aliases_lead_where_dnspython_goes(
    order: list[int], length: int, back: int, kind: str, data: st.DataObject
) -> None:
    """From name to name in whatever order they are said; to a set, outside, or round and round."""
    query = dns.message.make_query(CHAIN[order[0]], kind)
    message = dns.message.make_response(query)
    ends = {"A": "10.0.0.1", "AAAA": "::1", "MX": "1 n1.example.", "TYPE65280": "\\# 2 c00c"}
    text = data.draw(st.sampled_from([ends[kind], "", "round"]))
    edges = [(order[n], order[n + 1]) for n in range(length)]
    last = order[length]
    if text == "round":
        edges.append((last, order[min(back, length)]))
    elif text:
        message.answer.append(dns.rrset.from_text(CHAIN[last], 60, "IN", kind, text))
    for owner, target in data.draw(st.permutations(edges)):
        at = data.draw(st.integers(0, len(message.answer)))
        alias = dns.rrset.from_text(CHAIN[owner], 60, "IN", "CNAME", CHAIN[target].to_text())
        message.answer.insert(at, alias)
    reply = read(wire(message))
    try:
        found = dns.message.from_wire(wire(message)).resolve_chaining().answer
    except dns.message.ChainTooLong:
        found = text if length == 16 and text != "round" else None  # here we go one further
    assert reply.result is (ReplyResult.DATA if found else ReplyResult.NO_DATA)
    assert reply.addresses.decode() == (text if found and kind in ("A", "AAAA") else "")


def texts(section: list[dns.rrset.RRset]) -> list[str]:
    return sorted(text for rrset in section for text in rrset.to_text().lower().splitlines())


@given(
    replies(), st.booleans(), st.none() | st.tuples(st.integers(0, 4096), st.booleans()), st.data()
)
def test_what_goes_on_is_what_was_said(
    message: dns.message.Message,
    is_datagram: bool,
    edns: tuple[int, bool] | None,
    data: st.DataObject,
) -> None:
    """[P37]"""
    question = message.question[0]
    spelled = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in "q.example")
    asked = dns.message.make_query(spelled, question.rdtype)
    if edns is not None:
        asked.use_edns(0, dns.flags.DO if edns[1] else 0, edns[0])
    query = read_query(asked.to_wire()[2:], forwards=True)
    reply = read(wire(message))
    assert isinstance(query, Query)
    if reply.is_referral:  # an asker that wants no recursion gets that, too
        failure = dns.message.from_wire(b"\1\2" + query.relayed(reply, is_datagram))
        assert failure.rcode() == dns.rcode.SERVFAIL and failure.question
        assert not (failure.answer or failure.authority or failure.additional)
        assert (failure.edns >= 0) is (edns is not None)
        asked.flags &= ~dns.flags.RD
        query = read_query(asked.to_wire()[2:], forwards=True)
        assert isinstance(query, Query)
    relayed = b"\1\2" + query.relayed(reply, is_datagram)
    got = dns.message.from_wire(relayed, ignore_trailing=False)
    most = 512 if edns is None else min(max(edns[0], 512), 1232)
    assert not is_datagram or len(relayed) <= most
    assert got.question[0].name.to_text() == f"{spelled}." and got.rcode() == message.rcode()
    assert (got.edns >= 0) is (edns is not None)
    if edns is not None:
        assert bool(got.ednsflags & dns.flags.DO) is edns[1]
        is_whole = not got.flags & dns.flags.TC
        kept = [one for one in message.options if one.otype not in HOP_BY_HOP and is_whole]
        assert [one.to_wire() for one in got.options] == [one.to_wire() for one in kept]
    if got.flags & dns.flags.TC:
        assert is_datagram and not got.answer and len(wire(message)) + 40 > most
    else:
        assert got.flags == message.flags
        for section in ("answer", "authority", "additional"):
            assert texts(getattr(got, section)) == texts(getattr(message, section))


@pytest.mark.parametrize("code", [dns.rcode.BADVERS, dns.rcode.BADCOOKIE])
@pytest.mark.parametrize("size", [0, 2_000])
def test_a_long_code_is_whole_whether_what_it_says_fits_or_not(
    code: dns.rcode.Rcode, size: int
) -> None:
    """Half of it is in the OPT record: without one it cannot be said."""
    asked = dns.message.make_query("q.example", "TXT", use_edns=0, payload=1232)
    message = dns.message.make_response(asked)
    message.use_edns(0, 0, 1232, options=[dns.edns.GenericOption(65001, bytes(size))])
    message.set_rcode(code)
    query, reply = read_query(asked.to_wire()[2:], forwards=True), read(wire(message))
    assert isinstance(query, Query)
    assert reply.result in (ReplyResult.FAILED, ReplyResult.MISUNDERSTOOD)
    relayed = b"\0\0" + query.relayed(reply, True)
    got = dns.message.from_wire(relayed)
    assert len(relayed) <= 1232  # [P31]: options, too, may be what is too long
    assert got.rcode() == code and bool(got.flags & dns.flags.TC) is bool(size)
    asked.use_edns(None)
    query = read_query(asked.to_wire()[2:], forwards=True)
    assert isinstance(query, Query)
    failure = dns.message.from_wire(b"\0\0" + query.relayed(reply, True))
    assert failure.rcode() == dns.rcode.SERVFAIL and failure.edns == -1


# -- messages that are no reply --------------------------------------------------------------------


@given(replies(), st.data())
def test_half_a_reply_is_none_and_a_longer_one_is_whole(
    message: dns.message.Message, data: st.DataObject
) -> None:
    """[P46] [P47]: of an error its code is enough, and bytes behind the end are nothing."""
    whole = wire(message)[2:]
    size = data.draw(st.integers(0, len(whole) - 1))
    cut = read_reply(whole[:size])
    assert cut is None or (message.rcode() not in (0, 3) and not cut.body)
    assert size < 10 or (cut is None) is (message.rcode() in (0, 3) or 10 < size < 25)
    more = read(bytes(2) + whole + data.draw(st.binary(min_size=1, max_size=20)))
    as_it_is = read(bytes(2) + whole)
    for slot in DnsReply.__slots__:
        assert getattr(more, slot) == getattr(as_it_is, slot)


def long_reply(kind: str) -> bytes:
    """Write a reply with something in every section, compressed."""
    message = dns.message.make_response(dns.message.make_query("q.example", kind))
    made_of = dns.rrset.from_text
    message.answer = [
        made_of("b.example.", 60, "IN", kind, *RDATA[kind]),
        made_of("q.example.", 60, "IN", "CNAME", "a.example."),
        made_of("a.example.", 60, "IN", "CNAME", "b.example."),
    ]
    message.authority = [made_of("example.", 60, "IN", "NS", "ns.example.")]
    message.additional = [made_of("ns.example.", 60, "IN", "AAAA", "2001:db8::1")]
    message.use_edns(0, 0, 1232, options=OPTIONS)
    return wire(message)


def test_options_that_are_for_one_hop_alone_go_no_further() -> None:
    reply = read_reply(long_reply("A")[2:])
    assert reply is not None
    kept = [(one.otype, one.to_wire()) for one in OPTIONS if one.otype not in HOP_BY_HOP]
    assert reply.options == b"".join(
        code.to_bytes(2) + len(data).to_bytes(2) + data for code, data in kept
    )


@pytest.mark.parametrize("kind", ["A", "MX"])
def test_each_byte_cut_or_changed_ends_well(kind: str) -> None:
    """Everything that dnspython can read we can, but for pointers into the header, and agree with
    it about; and whatever we take can be passed on, and still be read by whoever could read it
    before."""
    whole = long_reply(kind)
    asked = dns.message.make_query("Q.exAmple", kind)
    queries = [read_query(asked.to_wire()[2:], forwards=True)]
    asked.use_edns(0, 0, 1232)
    queries.append(read_query(asked.to_wire()[2:], forwards=True))
    for at in range(2, len(whole)):
        assert read_reply(whole[2:at]) is None
        cut = read_reply(whole[2:at], is_whole=False)
        assert cut is None if at < 27 else cut is not None and cut.is_cut
        old = whole[at]
        for new in {0, 5, 12, 41, 63, 64, 192, 255, old ^ 1, old ^ 32} - {old}:
            changed = whole[:at] + bytes([new]) + whole[at + 1 :]
            reply = read_reply(changed[2:])
            if reply is not None and not reply.is_cut:
                relayed = [query.relayed(reply, True) for query in queries]  # type: ignore[union-attr]
                assert all(len(one) + 2 <= 1232 for one in relayed)
                reply.line(b"q.example", b"q.example") if kind == "A" else reply.addresses
            try:
                message = dns.message.from_wire(changed, one_rr_per_rrset=True)
            except (dns.exception.DNSException, ValueError):  # of other records' data we know less
                continue
            if message.opcode() or not message.flags & dns.flags.QR:
                assert reply is None
            elif reply is None:
                assert whole[at - 1] == 0xC0 and new < 12
            elif not reply.section:  # fewer questions than there are
                assert not message.question and message.rcode() not in (0, 3)
            elif not reply.is_cut and (reply.body or message.rcode() in (0, 3)):
                for one in relayed:
                    dns.message.from_wire(b"\0\0" + one)
                aliases = [rrset.name for rrset in message.answer if rrset.rdtype == 5]
                is_ours = all(rrset.rdclass == 1 for rrset in message.answer)
                if is_ours and len(set(aliases)) == len(aliases):
                    assert model(message)[0] is reply.result


QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\1\1q\7example\0\0\1\0\1" + opt()


def with_answer(owner: bytes, data: bytes = bytes(4), kind: str = "A") -> bytes:
    return made(QUERY, answers=(record(owner, kind, data),))


def test_an_address_of_another_class_is_no_data() -> None:
    chaos = record(TO_QUESTION, "A", bytes(4)).replace(b"\0\1\0\1", b"\0\1\0\3")
    assert read(made(QUERY, answers=(chaos,))).result is ReplyResult.NO_DATA


SPOILT = {
    "a pointer in the question": made(QUERY)[:12] + b"\xc0\x0c\0\1\0\1",
    "a pointer forward": with_answer(b"\xc0\x40"),
    "a pointer to itself": with_answer(b"\xc0\x1b"),
    "a pointer into the header": with_answer(b"\xc0\x02"),
    "a pointer forward behind the answers": made(
        QUERY, authorities=(record(b"\1a\xc0\x40", "A", bytes(4)),)
    ),
    "a pointer to itself behind the answers": made(
        QUERY, additionals=(record(b"\1a\xc0\x1b", "A", bytes(4)),)
    ),
    "half a pointer": made(QUERY, additionals=(b"\1a\xc0",)),
    "a label of another kind": with_answer(b"\x40a\0"),
    "a question that is too long": made(QUERY)[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
    "a name that is too long": with_answer(
        (b"\x3f" + b"a" * 63) * 3 + b"\x35" + b"a" * 53 + b"\xc0\x0c"
    ),
    "an address of five bytes": with_answer(TO_QUESTION, bytes(5)),
    "an alias that is longer": with_answer(TO_QUESTION, b"\1a\0!", "CNAME"),
    "an alias in the next record": made(
        QUERY, answers=(record(TO_QUESTION, "CNAME", b""), record(b"\1a\0", "A", bytes(4)))
    ),
    "two OPT records": made(QUERY, additionals=(opt(), opt())),
    "OPT among the answers": made(QUERY, answers=(opt(),), additionals=()),
    "OPT of a name": made(QUERY, additionals=(b"\1a" + opt(),)),
    "an option that is cut": made(QUERY, additionals=(opt(option(15, b"ab")[:-1]),)),
    "half an option": made(QUERY, additionals=(opt(b"\0\x0f\0"),)),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_says_more_or_less_than_it_can_is_no_reply(how: str) -> None:
    """[P35] (RFC 9267)"""
    assert read_reply(made(QUERY)[2:]) is not None
    assert read_reply(SPOILT[how][2:]) is None


@pytest.mark.parametrize("rest", [b"\0", TO_QUESTION])
@pytest.mark.parametrize(("size", "is_legal"), [(255, True), (256, False)])
def test_a_name_of_255_bytes_is_read_and_no_longer_one(
    size: int, is_legal: bool, rest: bytes
) -> None:
    """[P35]: also where a part of it is pointed to, which counts as if it stood there."""
    behind = len(rest) if rest == b"\0" else len(name("q.example"))
    missing = size - 3 * 64 - behind - 1
    owner = (b"\x3f" + b"a" * 63) * 3 + b"%c" % missing + b"a" * missing + rest
    assert (read_reply(with_answer(owner)[2:]) is not None) is is_legal


def test_no_reply_takes_more_work_than_it_has_bytes() -> None:
    """Names that lead from pointer to pointer, as many as a name may have, again and again."""
    head = b"\x81\x80\0\1\xff\xff\0\0\0\0\1q\0\0\1\0\1"
    rest = b"\0\5\0\1\0\0\0\0\0\2"
    chain = b"\1a\0" + rest + b"\xc0\x0c"
    last = 2 + len(head)  # where the newest name begins
    for _ in range(100):
        here = 2 + len(head) + len(chain)
        chain += b"\1a" + (0xC000 | last).to_bytes(2) + rest + b"\xc0\x0c"
        last = here
    deep = (0xC000 | last).to_bytes(2)
    for data in (
        head + (b"\xc0\x0c" + rest + b"\xc0\x0c") * 4_000,
        head + chain + (b"\1b" + deep + rest + deep) * 3_500,
        b"\x81\x80\0\1\0\0\xff\xff\0\0\1q\0\0\1\0\1" + b"\0" * 60_000,
    ):
        assert lines_run(partial(read_reply, data)) < 5 * len(data)


# -- questions as text -----------------------------------------------------------------------------

labels = st.lists(
    st.binary(min_size=1, max_size=12) | st.sampled_from([b"a", b"B-0", b"_x"]), max_size=6
)
bits = st.lists(st.sampled_from([Flag.RD, Flag.AD, Flag.CD, EDNS_DO]), unique=True).map(sum)
kinds = st.sampled_from([1, 28, 15, 16, 65, 255, 65_535])


@given(labels, kinds, bits)
def test_the_text_of_a_question_leads_to_its_message(
    labels: list[bytes], kind: int, bits: int
) -> None:
    question = question_text(labels, kind, bits)
    assert b"\n" not in question and question.isascii() and b" - " not in question
    words = resolver_query(question)
    message = dns.message.from_wire(b"\0\0" + words.message)
    folded = tuple(label.lower() for label in labels)
    assert message.question[0].name.labels == (*folded, b"")
    assert message.question[0].rdtype == kind
    assert message.flags == bits & ~EDNS_DO
    assert bool(message.ednsflags & EDNS_DO) is bool(bits & EDNS_DO)
    assert message.payload == 1232 and section_of(b"\0\0" + words.message) == words.section


@given(st.lists(st.tuples(labels, kinds, bits), min_size=2, max_size=2))
def test_two_questions_have_one_text_only_if_they_are_one(
    two: list[tuple[list[bytes], int, int]],
) -> None:
    one, other = ([[label.lower() for label in labels], kind, bits] for labels, kind, bits in two)
    assert (question_text(*two[0]) == question_text(*two[1])) is (one == other)


@given(labels, kinds, bits)
@example([b"a.b"], 1, Flag.RD)
def test_a_line_asks_for_addresses_of_legal_names_only(
    labels: list[bytes], kind: int, bits: int
) -> None:
    """And of another type the line that stands for it is the name, as a table may have it."""
    question = question_text(labels, kind, bits)
    text = b".".join(labels)
    is_legal = is_name(text) and text.count(b".") == len(labels) - 1
    assert is_of_line(question) is (is_legal and kind in (1, 28) and bits == Flag.RD)
    assert is_beyond_tables(question) is (kind not in (1, 28))
    line = text.lower() + (b" AAAA" if kind == 28 else b"")
    assert line_of(question) == (line if is_legal else None)


@pytest.mark.parametrize(
    ("kind", "text", "count"), [("A", "10.0.0.%d", 40), ("AAAA", "2001:db8::%x", 30)]
)
def test_a_line_is_legal_and_has_all_addresses_that_fit(kind: str, text: str, count: int) -> None:
    records = tuple(record(TO_QUESTION, kind, address(text % n)) for n in range(count))
    for length in range(1, 250):
        asked_name = (("a" * 60 + ".") * 5)[:length].rstrip(".")
        query = bytes(12) + name(asked_name) + dns.rdatatype.from_text(kind).to_bytes(2) + b"\0\1"
        reply = read(made(query, answers=(*records, records[0])))
        question = asked_name.encode() + (b" AAAA" if kind == "AAAA" else b"")
        line = reply.line(question, question).removesuffix(b"\n")
        parsed = parse_reply(line)
        assert isinstance(parsed, Answer) and len(line) <= LINE_BYTES_MAX
        told, every = parsed.addresses.split(b","), reply.addresses.split(b",")
        assert told == every[: len(told)] and len(every) == count
        assert told == every or len(line) + 1 + len(every[len(told)]) > LINE_BYTES_MAX
        assert reply.addresses is reply.addresses  # written once, for however many who ask


@pytest.mark.parametrize("code", ["NXDOMAIN", "NOERROR", "REFUSED", "SERVFAIL", "NOTIMP"])
def test_every_code_has_a_line(code: str) -> None:
    reply = read(made(QUERY, code))
    parsed = parse_reply(reply.line(b"q.example", b"Q.example").removesuffix(b"\n"))
    assert isinstance(parsed, NoAnswer) and parsed.question.spelling == b"Q.example"
