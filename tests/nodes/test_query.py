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
def test_a_query_is_read_and_replied_to_as_it_was_asked(
    name: str, kind: int, edns: tuple[int, bool] | None, recursive: bool
) -> None:
    query = asked(made(name, kind, edns, recursive))
    folded = name.lower().encode()
    assert query.question == (folded + b" AAAA" if kind == AAAA else folded)
    assert query.wants == {A: Type.A, AAAA: Type.AAAA, ANY: Type.A}.get(kind)
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
@example("a", [IPv4Address(n) for n in range(40)], None)
@example("a", [IPv4Address(n) for n in range(90)], (4096, False))
@example("a" * 14, [IPv4Address(n) for n in range(30)], None)  # 512 bytes
@example("a" * 15, [IPv4Address(n) for n in range(30)], None)  # 513
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
    assert twice.count == 2  # dnspython leaves out what stands there twice
    addresses = b",".join(b"::%x" % n for n in range(1, 100))
    tracemalloc.start()
    many = RecordSet(addresses, TTL_S)
    bytes_kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert many.count == 99 and bytes_kept < 3 * 99 * 28


# -- questions that are none of ours ---------------------------------------------------------------

HEAD = made("x")[:10]
PLAIN, EDNS = made("A.exAmple"), made("A.exAmple", edns=(1232, True))
OPT = EDNS[-11:]
NEWER_OPT = OPT[:6] + b"\1" + OPT[7:]  # EDNS of version 1
NEWER = EDNS[:-11] + NEWER_OPT
IN_A = b"\0\1\0\1"
LABEL_63 = b"\x3f" + b"a" * 63
TOO_LONG = LABEL_63 * 3 + b"\x3e" + b"b" * 62 + b"\0"
MX_RECORD = b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\1\1y"
IXFR, SOA_RECORD = made("x", 251), b"\xc0\x0c\0\6\0\1" + bytes(6)
FORMERR, NOTIMP, REFUSED = dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.REFUSED
UPDATE = dns.update.UpdateMessage("example")  # it has records before its OPT (RFC 2136)
UPDATE.present("a.example")
UPDATE.add("b.example", 60, "A", "10.0.0.1")
UPDATE.use_edns(0)

# The query, its code, and whether the reply repeats the question, and has an OPT record.
REFUSALS: dict[str, tuple[bytes, dns.rcode.Rcode, bool, bool]] = {
    "a pointer to itself": (HEAD + b"\xc0\x0c" + IN_A, FORMERR, False, False),
    "two pointers to each other": (HEAD + b"\xc0\x0e\xc0\x0c" + IN_A, FORMERR, False, False),
    "a pointer back": (HEAD + b"\1a\xc0\x0c" + IN_A, FORMERR, False, False),
    "a pointer to nowhere": (HEAD + b"\xc0\xff" + IN_A, FORMERR, False, False),
    "a label of 64 bytes": (HEAD + b"\x40" + b"a" * 64 + b"\0" + IN_A, FORMERR, False, False),
    "a label of another kind": (HEAD + b"\x80a\0" + IN_A, FORMERR, False, False),
    "half a label": (HEAD + b"\x3f" + b"a" * 10 + IN_A, FORMERR, False, False),
    "a name of 256 bytes": (HEAD + TOO_LONG + IN_A, FORMERR, False, False),
    "no question": (with_counts(PLAIN, 0, 0, 0, 0), FORMERR, False, False),
    "two questions": (with_counts(PLAIN, 2, 0, 0, 0), FORMERR, False, False),
    "65535 questions": (with_counts(PLAIN, 65535, 0, 0, 0), FORMERR, False, False),
    "an answer": (with_counts(PLAIN, 1, 1, 0, 0), FORMERR, True, False),
    "an authority": (with_counts(PLAIN, 1, 0, 1, 0), FORMERR, True, False),
    "more behind the end": (PLAIN + b"\0", FORMERR, True, False),
    "a query behind the end": (PLAIN + PLAIN, FORMERR, True, False),
    "more behind the OPT record": (EDNS + b"\0", FORMERR, True, True),
    "more behind a new OPT record": (NEWER + b"\0", FORMERR, True, True),
    "two OPT records": (with_counts(EDNS + OPT, 1, 0, 0, 2), FORMERR, True, True),
    "an OPT record of a name": (EDNS[:-11] + b"\1a" + OPT, FORMERR, True, False),
    "an OPT record that is cut": (EDNS[:-1], FORMERR, True, False),
    "options that are cut": (EDNS[:-1] + b"\5", FORMERR, True, False),
    "an OPT record as an answer": (with_counts(EDNS, 1, 1, 0, 1), FORMERR, True, False),
    "an OPT record that is not counted": (with_counts(EDNS, 1, 0, 0, 0), FORMERR, True, False),
    "EDNS of another version": (NEWER, dns.rcode.BADVERS, True, True),
    "a transfer": (made("x", AXFR, (1232, True)), REFUSED, True, True),
    # Both codes together would be an extended code of 21.
    "a transfer by EDNS of another version": (
        made("x", AXFR, (1232, True))[:-11] + NEWER_OPT, REFUSED, True, True,
    ),
    # With the SOA that its asker knows (RFC 1995, section 3).
    "a transfer of changes": (with_counts(IXFR + SOA_RECORD, 1, 0, 1, 0), REFUSED, True, False),
    "class CH": (made("x", 16, (1232, True), group=3), REFUSED, True, True),
    "class HS": (made("x", group=4), REFUSED, True, False),
    "class NONE": (made("x", group=254), REFUSED, True, False),
    "the root": (made(".", 2), dns.rcode.NOERROR, True, False),  # it exists, without addresses
    "a name with a blank": (HEAD + b"\3a b\0" + IN_A, dns.rcode.NXDOMAIN, True, False),
    "a label with a dot": (HEAD + b"\3a.b\1c\0" + IN_A, dns.rcode.NXDOMAIN, True, False),
    "a label that is a hyphen": (HEAD + b"\1-\0" + IN_A, dns.rcode.NXDOMAIN, True, False),
    "a name with other bytes": (HEAD + b"\4a\0\xc3\n\0" + IN_A, dns.rcode.NXDOMAIN, True, False),
    "an update": (UPDATE.to_wire()[2:], NOTIMP, False, True),
    "a session": (b"\x30\0" + bytes(8) + b"\0\1\0\4" + bytes(4), NOTIMP, False, False),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_f4_a_query_not_taken_up_is_told_why(what: str) -> None:
    """RFC 6891, section 6.1.1: with our OPT record if theirs can be found, else a client would take
    us for a server without EDNS."""
    data, code, has_question, has_opt = REFUSALS[what]
    message = refused(data)
    assert message.rcode() == code and bool(message.question) is has_question
    if has_question:
        sent = dns.message.from_wire(ID + data, question_only=True).question[0]
        found = message.question[0]
        assert (found.to_text(), found.rdtype) == (sent.to_text(), sent.rdtype)
    assert message.edns == (0 if has_opt else -1)
    assert bool(message.ednsflags & dns.flags.DO) is (has_opt and what != "an update")


def test_a_name_of_255_bytes_is_legal() -> None:
    longest = LABEL_63 * 3 + b"\x3d" + b"b" * 61 + b"\0"
    query = asked(HEAD + longest + IN_A)
    assert is_name(query.question) and len(query.question) == 253


@pytest.mark.parametrize(
    ("counts", "body"),
    [
        ((0, 0, 0, 1), b""),
        ((2, 0, 0, 1), PLAIN[10:] * 2),
        ((3, 0, 0, 2), PLAIN[10:] + b"\xc0\x0c\0\1\0\1" * 2 + MX_RECORD),
        ((1, 1, 0, 1), PLAIN[10:] + MX_RECORD),
        ((1, 0, 2, 1), PLAIN[10:] + MX_RECORD + MX_RECORD),
        ((0, 1, 0, 1), b"\0" + MX_RECORD[2:]),
    ],
)
def test_a_format_error_has_our_opt_record_wherever_theirs_is(
    counts: tuple[int, ...], body: bytes
) -> None:
    """That of a new version is told ours, too."""
    for opt in (OPT, NEWER_OPT):
        message = refused(with_counts(HEAD + body + opt, *counts))
        assert message.rcode() == dns.rcode.FORMERR
        assert message.edns == 0 and message.ednsflags & dns.flags.DO
    whole = body + OPT
    for end in range(len(whole)):
        message = refused(with_counts(HEAD + whole[:end], *counts))
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
        (b"\x40\x0c", False),  # neither a length nor a pointer
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


@pytest.mark.parametrize("query", [PLAIN, EDNS])
def test_a_query_cut_anywhere_is_a_format_error(query: bytes) -> None:
    for end in range(10, len(query)):
        assert refused(query[:end]).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize("opcode", range(1, 16))
def test_any_operation_but_a_query_is_not_implemented(opcode: int) -> None:
    for query, opt in ((PLAIN, b""), (EDNS, OPT)):
        found = read_query(bytes([query[0] | opcode << 3]) + query[1:])
        assert isinstance(found, RefusedQuery)
        assert found.reply[1] & 15 == NOTIMP and found.reply[0] >> 3 & 15 == opcode
        assert found.reply[2:] == bytes(7) + bytes([bool(opt)]) + opt


# -- EDNS ------------------------------------------------------------------------------------------


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
@example("a", A, None, [(0, "set", 0x81)])
@example("a", A, None, [(9, "cut", 0)])
def test_f1_f2_whatever_arrives_gets_a_legal_reply_or_none(
    name: str, kind: int, edns: tuple[int, bool] | None, how: list[tuple[int, str, int]]
) -> None:
    """[P30]: neither a reply nor what is shorter than a header is ever answered."""
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
