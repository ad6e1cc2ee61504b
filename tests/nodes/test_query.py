"""DNS messages: what we read, what we make, and what we make of nonsense; dnspython is the oracle.

Queries that dnspython makes are read as it reads them; replies that we make, it reads as they are
meant. Every packet gets a reply, FORMERR, or silence, never an exception, and no reply that a
datagram may not have.

Not here: who asks, and how often (`tests/nodes/test_dns_clients.py`), and streams
(`tests/io/test_frame_buffer.py`).
"""

import struct
import tracemalloc
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.protocol.names import Type, is_name
from nodes.dns.codes import UDP_BYTES_MAX
from nodes.dns.query import Query, RefusedQuery, read_query
from nodes.dns.record_set import RecordSet
from tests.support.counting import lines_run

pytest.importorskip("dns", reason="no dnspython here (pip install dnspython)")
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.update

ID = b"\x12\x34"
A, AAAA, MX, ANY, AXFR = 1, 28, 15, 255, 252
labels = st.text("abcXYZ019-_", min_size=1, max_size=12)
names = st.lists(labels, min_size=1, max_size=5).map(".".join).filter(lambda n: n.strip("-"))
edns = st.none() | st.tuples(st.integers(0, 65535), st.booleans())
TTL_S = 60


def made(
    name: str,
    kind: int = A,
    edns: tuple[int, bool] | None = None,
    recursive: bool = True,
    group: int = 1,
) -> bytes:
    """Make a query as dnspython makes it, without the ID."""
    query = dns.message.make_query(name, kind, group)
    if not recursive:
        query.flags &= ~dns.flags.RD
    if edns is not None:
        size, wants_dnssec = edns
        query.use_edns(0, dns.flags.DO if wants_dnssec else 0, size)
    return query.to_wire()[2:]


def asked(after_id: bytes) -> Query:
    query = read_query(after_id)
    assert isinstance(query, Query)
    return query


def heard(after_id: bytes) -> Any:  # noqa: ANN401
    """Return what dnspython makes of a reply of ours."""
    return dns.message.from_wire(ID + after_id)


def refused(after_id: bytes) -> Any:  # noqa: ANN401
    """Return the reply to what is no question of ours."""
    found = read_query(after_id)
    assert isinstance(found, RefusedQuery)
    return heard(found.reply)


def with_counts(after_id: bytes, *counts: int) -> bytes:
    return after_id[:2] + struct.pack(">4H", *counts) + after_id[10:]


# -- queries ---------------------------------------------------------------------------------------


@given(names, st.sampled_from([A, AAAA, MX, ANY, 16, 65]), edns, st.booleans())
def test_a_query_is_read_as_what_it_asks(
    name: str, kind: int, edns: tuple[int, bool] | None, recursive: bool
) -> None:
    query = asked(made(name, kind, edns, recursive))
    folded = name.lower().encode()
    assert query.question == (folded + b" AAAA" if kind == AAAA else folded)
    assert query.wants == {A: Type.A, AAAA: Type.AAAA, ANY: Type.A}.get(kind)


@given(names, st.sampled_from([A, AAAA, MX]), edns, st.booleans())
def test_a_reply_has_its_code_and_the_question_as_spelled(
    name: str, kind: int, edns: tuple[int, bool] | None, recursive: bool
) -> None:
    query = asked(made(name, kind, edns, recursive))
    for reply, rcode in (
        (query.no_data(), dns.rcode.NOERROR),
        (query.no_such_name(), dns.rcode.NXDOMAIN),
        (query.failure(), dns.rcode.SERVFAIL),
    ):
        message = heard(reply)
        assert message.rcode() == rcode and not message.answer and not message.authority
        assert message.question[0].name.to_text().rstrip(".") == name  # as it was spelled: 0x20
        assert message.question[0].rdtype == kind
        said = {dns.flags.QR, dns.flags.RA} | ({dns.flags.RD} if recursive else set())
        assert message.flags & 0xFFF0 == sum(said)
        assert message.edns == (-1 if edns is None else 0)
        if edns is not None:
            assert message.payload == UDP_BYTES_MAX
            assert bool(message.ednsflags & dns.flags.DO) is edns[1]  # RFC 3225, section 3
            options = [(option.otype, option.code) for option in message.options]
            why = [(dns.edns.OptionType.EDE, dns.edns.EDECode.NO_REACHABLE_AUTHORITY)]
            assert options == (why if rcode == dns.rcode.SERVFAIL else [])


@given(
    names,
    st.lists(st.ip_addresses(v=4), min_size=1, max_size=25, unique=True)
    | st.lists(st.ip_addresses(v=6), min_size=1, max_size=12, unique=True),
    edns,
)
def test_an_answer_has_all_addresses_turned_round_or_is_cut(
    name: str, addresses: list[IPv4Address | IPv6Address], edns: tuple[int, bool] | None
) -> None:
    kind = Type.A if addresses[0].version == 4 else Type.AAAA
    query = asked(made(name, A if kind is Type.A else AAAA, edns))
    records = RecordSet(",".join(map(str, addresses)).encode(), TTL_S)
    most = 512 if edns is None else min(max(edns[0], 512), UDP_BYTES_MAX)
    for turn in range(len(addresses) + 1):
        whole = query.answer(records, is_datagram=False)
        message = heard(whole)
        assert message.rcode() == dns.rcode.NOERROR and not message.flags & dns.flags.TC
        (found,) = message.answer
        assert found.name == message.question[0].name and found.ttl == TTL_S
        start = 2 * turn % len(addresses)
        assert [ip_address(item.address) for item in found] == [
            *addresses[start:],
            *addresses[:start],
        ]
        cut = query.answer(records, is_datagram=True)
        assert len(ID + cut) <= most
        if len(ID + whole) <= most:
            assert len(heard(cut).answer[0]) == len(addresses)
        else:  # f6
            message = heard(cut)
            assert message.flags & dns.flags.TC and not message.answer


def test_a_set_holds_each_address_once_in_two_replies_room() -> None:
    """RFC 2181, section 5; and 65,536 sets are remembered."""
    twice = RecordSet(b"2001:db8::1,2001:DB8:0::1,::2", TTL_S)
    query = asked(made("a", AAAA))
    (found,) = heard(query.answer(twice, is_datagram=True)).answer
    assert [item.address for item in found] == ["2001:db8::1", "::2"]
    addresses = b",".join(b"::%x" % n for n in range(1, 100))
    tracemalloc.start()
    many = RecordSet(addresses, TTL_S)
    bytes_kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert many.count == (99).to_bytes(2) and bytes_kept < 3 * 99 * 28


# -- questions that are none of ours ---------------------------------------------------------------


@given(st.binary(max_size=40))
def test_f1_a_reply_is_never_answered(rest: bytes) -> None:
    """[P30]"""
    query = made("a.example")
    assert read_query(bytes([query[0] | 0x80]) + query[1:]) is None
    assert read_query(b"\x80" + rest.ljust(9, b"\0")) is None


@given(st.binary(max_size=9))
def test_f2_what_is_shorter_than_a_header_is_never_answered(data: bytes) -> None:
    assert read_query(data) is None


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # a pointer to itself
        b"\xc0\x0e\xc0\x0c",  # two to each other
        b"\x01a\xc0\x0c",
        b"\xc0\xff",  # forward, to nowhere
        b"\x40" + b"a" * 64 + b"\0",  # a label of 64 bytes
        b"\x80a\0",
        b"\x3f" + b"a" * 10,  # cut
        b"",
        b"\x3f" * 1 + b"a" * 63 + (b"\x3f" + b"a" * 63) * 3 + b"\x01b\0",  # 257 bytes
    ],
)
def test_f3_a_name_with_a_pointer_or_cut_is_a_format_error(name: bytes) -> None:
    header = made("x")[:10]
    message = refused(header + name + b"\0\1\0\1")
    assert message.rcode() == dns.rcode.FORMERR and not message.question


def test_f3_a_name_of_255_bytes_is_legal_and_one_more_is_not() -> None:
    longest = b"\x3f" + b"a" * 63 + (b"\x3f" + b"a" * 63) * 2 + b"\x3d" + b"b" * 61 + b"\0"
    assert len(longest) == 255
    query = asked(made("x")[:10] + longest + b"\0\1\0\1")
    assert is_name(query.question) and len(query.question) == 253


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (2, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (65535, 0, 0, 0)]
)
def test_f4_anything_but_one_question_is_a_format_error(counts: tuple[int, ...]) -> None:
    assert refused(with_counts(made("a.example"), *counts)).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize("more", [b"\0", b"abc", made("b.example")])
def test_f4_bytes_that_belong_to_nothing_are_a_format_error(more: bytes) -> None:
    for query in (made("a.example"), made("a.example", edns=(1232, False))):
        assert refused(query + more).rcode() == dns.rcode.FORMERR


def test_f4_a_format_error_behind_the_question_repeats_it() -> None:
    """RFC 6891, section 6.1.1; without it a client would take us for one without EDNS."""
    query = made("A.exAmple", edns=(1232, True))
    opt = query[-11:]
    newer = query[:-6] + b"\0\1" + query[-4:]  # EDNS of version 1
    assert refused(newer).rcode() == dns.rcode.BADVERS
    for wrong in (query + b"\0", newer + b"\0", with_counts(query + opt, 1, 0, 0, 2)):
        message = refused(wrong)
        assert message.rcode() == dns.rcode.FORMERR
        assert message.question[0].name.to_text() == "A.exAmple."
        assert message.edns == 0 and message.ednsflags & dns.flags.DO
    for wrong in (query[:-1], with_counts(query, 1, 1, 0, 1), with_counts(query, 1, 0, 0, 0)):
        message = refused(wrong)
        assert message.rcode() == dns.rcode.FORMERR and message.question and message.edns == -1


OPT = made("x", edns=(1232, True))[-11:]
QUESTION = made("x")[10:]
MX_RECORD = b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\1\1y"


@pytest.mark.parametrize(
    ("counts", "body"),
    [
        ((0, 0, 0, 1), OPT),
        ((2, 0, 0, 1), QUESTION + QUESTION + OPT),
        ((3, 0, 0, 2), QUESTION + b"\xc0\x0c\0\1\0\1" * 2 + MX_RECORD + OPT),
        ((1, 1, 0, 1), QUESTION + MX_RECORD + OPT),
        ((1, 0, 2, 1), QUESTION + MX_RECORD + MX_RECORD + OPT),
        ((0, 1, 0, 1), b"\0" + MX_RECORD[2:] + OPT),
    ],
)
def test_f4_a_format_error_has_our_opt_record_wherever_theirs_is(
    counts: tuple[int, ...], body: bytes
) -> None:
    """RFC 6891, section 6.1.1; that of a new version is told ours, too."""
    for opt in (OPT, OPT[:6] + b"\1" + OPT[7:]):
        message = refused(with_counts(made("x")[:10] + body[: -len(opt)] + opt, *counts))
        assert message.rcode() == dns.rcode.FORMERR
        assert message.edns == 0 and message.ednsflags & dns.flags.DO
    for cut in range(1, len(body)):
        message = refused(with_counts(made("x")[:10] + body[:-cut], *counts))
        assert message.rcode() == dns.rcode.FORMERR and message.edns == -1


HERE = 2 + len(made("a.example"))  # where what is behind the question begins, in the message


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        (b"\0", True),
        (b"\1b\0", True),
        (b"\xc0\x0c", True),  # the name of the question
        (b"\1b\xc0\x0e", True),  # the end of it
        (b"\xc0" + bytes([HERE]), False),  # itself
        (b"\1b\xc0" + bytes([HERE]), False),  # its own beginning: round and round
        (b"\xc0" + bytes([HERE + 2]), False),  # forward
        (b"\xff\xff", False),
        (b"\xc0\x0b", False),  # into the header
        (b"\xc0", False),
        (b"\x40" + b"a" * 64 + b"\0", False),
        ((b"\x3f" + b"a" * 63) * 4 + b"\0", False),
    ],
)
def test_f3_a_pointer_behind_the_question_points_back(name: bytes, legal: bool) -> None:
    record = name + struct.pack(">HHIH", 16, 1, 0, 0)
    data = with_counts(made("a.example") + record, 1, 0, 0, 1)
    if legal:
        assert asked(data).question == b"a.example"
    else:
        assert refused(data).rcode() == dns.rcode.FORMERR


@given(names, edns, st.data())
def test_a_query_that_is_cut_anywhere_is_a_format_error(
    name: str, edns: tuple[int, bool] | None, data: st.DataObject
) -> None:
    query = made(name, edns=edns)
    end = data.draw(st.integers(10, len(query) - 1))
    assert refused(query[:end]).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize("opcode", range(1, 16))
def test_any_operation_but_a_query_is_not_implemented(opcode: int) -> None:
    query = made("a.example")
    found = read_query(bytes([query[0] | opcode << 3]) + query[1:])
    assert isinstance(found, RefusedQuery)
    assert found.reply[1] & 15 == dns.rcode.NOTIMP and found.reply[0] >> 3 & 15 == opcode
    assert len(found.reply) == 10
    with_opt = made("a.example", edns=(1232, True))
    found = read_query(bytes([with_opt[0] | opcode << 3]) + with_opt[1:])
    assert isinstance(found, RefusedQuery) and found.reply[1] & 15 == dns.rcode.NOTIMP
    assert found.reply[2:10] == bytes(7) + b"\1" and found.reply[10:] == OPT


def test_an_update_and_a_session_are_not_implemented() -> None:
    """An update has records before its OPT (RFC 2136); a session has none (RFC 8490)."""
    update = dns.update.UpdateMessage("example")
    update.present("a.example")
    update.add("b.example", 60, "A", "10.0.0.1")
    update.use_edns(0)
    message = refused(update.to_wire()[2:])
    assert message.rcode() == dns.rcode.NOTIMP and message.edns == 0
    message = refused(b"\x30\0" + bytes(8) + b"\0\1\0\4" + bytes(4))
    assert message.rcode() == dns.rcode.NOTIMP and message.edns == -1


def test_questions_that_are_counted_and_not_there_are_read_once() -> None:
    """As many as a count can say, each of five bytes."""
    data = with_counts(made("x")[:10] + (b"\0" + bytes(4)) * 13_000, 65535, 0, 0, 1)
    assert refused(data).rcode() == dns.rcode.FORMERR


def test_a_transfer_is_refused_whatever_record_it_comes_with() -> None:
    """IXFR has the SOA that its asker knows (RFC 1995, section 3)."""
    data = (
        bytes.fromhex("0100 0001 0000 0001 0000")
        + b"\1x\0\0\xfb\0\1"
        + b"\xc0\x0c\0\6\0\1"
        + bytes(6)
    )
    refusal = read_query(data)
    assert isinstance(refusal, RefusedQuery) and refusal.reply[1] & 15 == 5


@pytest.mark.parametrize(("kind", "group"), [(16, 3), (A, 4), (A, 254), (AXFR, 1), (251, 1)])
def test_another_class_and_transfers_are_refused(kind: int, group: int) -> None:
    message = refused(made("version.bind", kind, (1232, False), group=group))
    assert message.rcode() == dns.rcode.REFUSED and message.edns == 0
    assert message.question[0].rdtype == kind and message.question[0].rdclass == group


def test_the_root_has_no_addresses_and_does_exist() -> None:
    message = refused(made(".", 2))
    assert message.rcode() == dns.rcode.NOERROR and not message.answer


@pytest.mark.parametrize(
    "name", [b"\x03a b\0", b"\x03a.b\x01c\0", b"\x01-\0", b"\x02\xc3\xa4\0", b"\x04a\0b\n\0"]
)
def test_a_name_that_no_table_can_have_does_not_exist(name: bytes) -> None:
    message = refused(made("x")[:10] + name + b"\0\1\0\1")
    assert message.rcode() == dns.rcode.NXDOMAIN and len(message.question) == 1


# -- EDNS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 7, 255])
def test_edns_of_another_version_is_told_ours(version: int) -> None:
    query = dns.message.make_query("a.example", A)
    query.use_edns(version, 0, 1232)
    message = refused(query.to_wire()[2:])
    assert message.rcode() == dns.rcode.BADVERS and message.edns == 0 and message.question


def test_a_refused_transfer_says_nothing_of_its_edns_version() -> None:
    """The upper bits of BADVERS and REFUSED together would be an extended code of 21."""
    query = dns.message.make_query("a.example", AXFR)
    query.use_edns(1, 0, 1232)
    message = refused(query.to_wire()[2:])
    assert message.rcode() == dns.rcode.REFUSED and message.edns == 0


def test_two_opt_records_or_one_of_a_name_are_a_format_error() -> None:
    query = made("a.example", edns=(1232, False))
    opt = query[-11:]
    assert refused(with_counts(query + opt, 1, 0, 0, 2)).rcode() == dns.rcode.FORMERR
    named = query[:-11] + b"\x01a" + opt
    assert refused(named).rcode() == dns.rcode.FORMERR


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=30)), max_size=4))
def test_unknown_options_and_signatures_are_passed_over(
    options: list[tuple[int, bytes]],
) -> None:
    query = made("a.example", edns=(4096, True))
    said = b"".join(struct.pack(">HH", code, len(data)) + data for code, data in options)
    opt = query[-11:-2] + struct.pack(">H", len(said)) + said
    signed = b"\x03key\0" + struct.pack(">HHIH", 250, 255, 0, 3) + b"abc"
    plain = asked(query)
    for after_id in (query[:-11] + opt, with_counts(query[:-11] + opt + signed, 1, 0, 0, 2)):
        found = asked(after_id)
        assert (found.question, found.no_data()) == (plain.question, plain.no_data())


def test_many_records_that_lead_nowhere_are_read_once() -> None:
    """As many as a count can say, with names that only point: each byte is looked at once."""
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 0)
    query = with_counts(made("a.example") + record * 5000, 1, 0, 0, 5000)
    assert asked(query).question == b"a.example"
    assert refused(with_counts(query, 1, 0, 0, 65535)).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    "record",
    [
        b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 0),  # each points to the question
        (b"\1a" * 120) + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 0),
        (b"\1a" * 127) + b"\0" + struct.pack(">HHIH", 1, 1, 0, 0),  # names as long as can be
        b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0),
    ],
)
def test_f3_no_message_takes_more_work_than_it_has_bytes(record: bytes) -> None:
    """Built to make a reader that follows pointers go on for ever."""
    few, many = (
        lines_run(partial(read_query, with_counts(made("a.example") + record * n, 1, 0, 0, n)))
        for n in (9, 90)
    )
    assert many <= 10 * few
    assert many <= 100 + 8 * 90 * len(record)
    long = made("x")[:10] + b"\1a" * 32_000
    assert lines_run(partial(read_query, long)) < 1_000  # a name has 255 bytes, no more


# -- nonsense --------------------------------------------------------------------------------------

changes = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from(["set", "cut", "put"]), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, how: list[tuple[int, str, int]]) -> bytes:
    """Draw the same with bytes set, put in, or the rest cut off."""
    it = bytearray(data)
    for at, what, value in how:
        at %= len(it) + 1
        if what == "cut":
            del it[max(at, 1) :]
        elif what == "put" or at == len(it):
            it.insert(at, value)
        else:
            it[at] = value
    return bytes(it)


@given(names, st.sampled_from([A, AAAA, MX]), edns, changes)
@example("a", A, (1232, True), [(11, "set", 0xC0), (12, "set", 0x0C)])
def test_whatever_arrives_gets_a_legal_reply_or_none(
    name: str, kind: int, edns: tuple[int, bool] | None, how: list[tuple[int, str, int]]
) -> None:
    data = changed(made(name, kind, edns), how)
    found = read_query(data)
    if isinstance(found, Query):
        records = RecordSet(b",".join(b"10.0.0.%d" % n for n in range(25)), TTL_S)
        replies = [found.no_data(), found.failure(), found.answer(records, is_datagram=True)]
        said = dns.message.from_wire(ID + data, question_only=True).question[0]
        assert found.question.removesuffix(b" AAAA").decode() == str(said.name).lower().rstrip(".")
    else:
        replies = [] if found is None else [found.reply]
        assert all(len(reply) <= len(data) for reply in replies)  # no amplification
    assert (found is None) is (len(data) < 10 or data[0] >= 0x80)
    for reply in replies:
        assert len(ID + reply) <= max(512, UDP_BYTES_MAX)
        assert reply[0] & 0x80 and reply[0] >> 3 & 15 == data[0] >> 3 & 15
        if not reply[0] >> 3 & 15:  # dnspython reads other operations in other ways
            assert heard(reply).id == 0x1234


@given(st.binary(max_size=300))
def test_any_bytes_get_a_reply_or_silence(data: bytes) -> None:
    assert read_query(data) is None or len(data) >= 10
