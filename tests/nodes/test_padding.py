"""Padding of queries and of replies, and whether a query has it; dnspython is the oracle.

Not here: which clients get padded replies (`tests/nodes/test_dns_clients.py`), and which resolvers
padded queries (`tests/nodes/test_in_flight.py`).
"""

import struct
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodes.dns.padding import has_padding, padded_opt
from nodes.dns.query import Query, RefusedQuery, read_query
from nodes.dns.question import padded_query, resolver_query
from nodes.dns.record_set import RecordSet
from nodes.dns.reply import read_reply
from tests.support.dns_messages import opt, option, reply, said

pytest.importorskip("dns", reason="no dnspython here (pip install dnspython)")
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype

ID = b"\x12\x34"
PADDING = dns.edns.OptionType.PADDING
MOST = 65_535
labels = st.text("abc019-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) < 254)


def options(message: dns.message.Message) -> list[dns.edns.OptionType]:
    return [one.otype for one in message.options]


# -- queries of LS ---------------------------------------------------------------------------------


@given(names, st.sampled_from(["A", "AAAA", "MX"]), st.booleans())
@example("a" * 63 + "." + "b" * 31, "A", False)  # 128 bytes without any zeros
@example("a" * 63 + "." + "b" * 32, "A", False)
def test_a_padded_query_is_as_dnspython_pads_it(name: str, kind: str, has_do: bool) -> None:
    text = f"{name} TYPE{dns.rdatatype.from_text(kind)}{' +do' if has_do else ''}".encode()
    sent = ID + padded_query(text).message
    made = dns.message.make_query(name, kind, use_edns=0, payload=1232, want_dnssec=has_do)
    made.pad, made.id = 128, 0x1234
    assert sent == made.to_wire()
    made.pad = 0
    assert ID + resolver_query(text).message == made.to_wire()
    made.use_edns(None)
    assert ID + padded_query(text).plain == ID + resolver_query(text).plain == made.to_wire()


def test_a_padded_query_asks_what_the_same_query_asks() -> None:
    for question in (b"x.example", b"x.example AAAA", b"x.example TYPE15 +ad+cd+do-rd"):
        padded, bare = padded_query(question), resolver_query(question)
        assert padded.section == bare.section and padded.message.startswith(bare.message[:-2])
        assert len(ID + padded.message) == 128


# -- queries of clients ----------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0, 1, 2, 12]), max_size=24).map(bytes))
@example(b"")
@example(option(12, b""))
@example(option(12, b"") + b"\0")  # malformed behind it
@example(option(12, b"12")[:-1])
@example(option(1, option(12, b"")))  # in another one
@example(option(1, b"x") + option(12, b"\1\2"))
def test_padding_is_found_where_dnspython_finds_it(data: bytes) -> None:
    try:
        record = dns.rdata.from_wire(1232, dns.rdatatype.OPT, data, 0, len(data))
        expected = PADDING in [one.otype for one in record.options]
    except dns.exception.FormError:
        expected = False
    assert has_padding(data) is expected


def made(name: str, kind: str = "A", *, pad: int = 128) -> bytes:
    """Make a query, without the ID; one whose `pad` is 0 is not padded."""
    return dns.message.make_query(name, kind, use_edns=0, payload=4096, pad=pad).to_wire()[2:]


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("rest", [b"\0", b"\0\x0c\0", b"\0\x0c\0\5zeros?", option(1, b"")[:3]])
def test_malformed_options_change_nothing(rest: bytes, pads: bool) -> None:
    """Such a query is not padded, and is read as any other."""
    query = read_query(made("x.example", pad=0)[:-11] + opt(rest, size=4096), pads=pads)
    plain = read_query(made("x.example", pad=0))
    assert type(query) is type(plain) is Query
    assert (query.question, query.no_data()) == (plain.question, plain.no_data())


# -- replies ---------------------------------------------------------------------------------------


def unpadded(padded: bytes, block: int = 468) -> bytes:
    """Return a reply without its padding, once it is seen that it has as much as it needs."""
    message = dns.message.from_wire(ID + padded)
    assert options(message).count(PADDING) == 1 and options(message)[-1] == PADDING
    zeros = message.options[-1].to_wire()
    size = len(ID + padded)
    assert size % block == 0 and len(zeros) < block and not any(zeros)
    bare = padded[: -4 - len(zeros)]
    rest = sum(4 + len(one.to_wire()) for one in message.options[:-1])
    return bare[: len(bare) - rest - 2] + struct.pack(">H", rest) + bare[len(bare) - rest :]


LIKE_OPT = opt()  # an option may end with what is no record


def replies(query: Query) -> list[bytes]:
    """Make replies of each kind, and of many lengths."""
    asked = ID + resolver_query(query.question).message
    addresses = [",".join(f"10.0.{n}.{low}" for low in range(n)) for n in (1, 20, 21, 22, 250)]
    heard = [said(asked, text) for text in (*addresses, "NXDOMAIN", "BOGUS")]
    heard += [reply(asked, additionals=(opt(option(65001, LIKE_OPT)),))]
    relayed = [read_reply(message[2:]) for message in heard]
    assert all(relayed)
    return [
        *[query.answer(RecordSet(text.encode(), 60), is_datagram=False) for text in addresses],
        *[query.relayed(it, is_datagram=False) for it in relayed if it],
        query.no_data(),
        query.no_such_name(),
        query.failure(),
        query.busy(),
    ]


@given(names)
def test_a_reply_to_a_padded_query_is_the_same_and_padded(name: str) -> None:
    query = read_query(made(name), forwards=True, pads=True)
    plain = read_query(made(name), forwards=True)
    assert isinstance(query, Query) and isinstance(plain, Query)
    for padded, bare in zip(replies(query), replies(plain), strict=True):
        assert unpadded(padded) == bare


def test_no_reply_is_padded_without_need_or_wish() -> None:
    no_opt = dns.message.make_query("x.example", "A").to_wire()[2:]
    for data, pads in (
        (made("x.example"), False),
        (made("x.example", pad=0), True),
        (no_opt, True),
    ):
        query = read_query(data, forwards=True, pads=pads)
        assert isinstance(query, Query)
        for message in replies(query):
            assert PADDING not in options(dns.message.from_wire(ID + message))
    for data, pads in ((made("x", "AXFR"), False), (made("x", "AXFR", pad=0), True)):
        refused = read_query(data, pads=pads)
        assert isinstance(refused, RefusedQuery)
        assert PADDING not in options(dns.message.from_wire(ID + refused.reply))


def test_a_padded_query_that_is_refused_gets_padding() -> None:
    """Also where its OPT record had to be looked for."""
    data = made("x.example")
    newer = data[:10] + data[10:].replace(b"\0\x29\x10\0\0\0", b"\0\x29\x10\0\0\1")
    no_question = (
        data[:2] + struct.pack(">4H", 0, 0, 0, 1) + data[len(made("x.example", pad=0)) - 11 :]
    )
    update = bytes([data[0] | 5 << 3]) + data[1:]
    others = (made("x.example", "AXFR"), data + b"!", newer, no_question, update, made("."))
    codes = []
    for message in others:
        refused, bare = read_query(message, pads=True), read_query(message)
        assert isinstance(refused, RefusedQuery) and isinstance(bare, RefusedQuery)
        assert len(ID + refused.reply) == 468 and unpadded_opcode(refused.reply) == bare.reply
        codes.append((refused.reply[1] & 15, bool(refused.reply[3])))
    assert codes == [(5, True), (1, True), (0, True), (1, False), (4, False), (0, True)]


@given(
    st.lists(st.tuples(st.integers(0, 125), st.integers(0, 255)), max_size=4), st.integers(10, 127)
)
@example([], 126)
@example([(9, 2)], 126)  # two OPT records of which one is not there
@example([], 125)
def test_a_damaged_query_gets_the_same_reply_or_it_padded(
    changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(made("x.example"))
    for at, value in changes:
        data[at] = value
    message = bytes(data[:end])
    found, bare = read_query(message, pads=True), read_query(message)
    assert (found is None) is (bare is None)
    if isinstance(found, Query):
        assert isinstance(bare, Query) and found.question == bare.question
        reply, expected = found.failure(), bare.failure()
    elif isinstance(found, RefusedQuery):
        assert isinstance(bare, RefusedQuery)
        reply, expected = found.reply, bare.reply
    else:
        return
    assert reply == expected or unpadded_opcode(reply) == expected


def unpadded_opcode(padded: bytes) -> bytes:
    """Return a reply without padding, whatever its operation: dnspython reads queries alone."""
    opcode = padded[0] & 0x78
    bare = unpadded(bytes([padded[0] & ~0x78]) + padded[1:])
    return bytes([bare[0] | opcode]) + bare[1:]


@pytest.mark.parametrize(
    ("before", "size"),
    [
        (468 - 15, 468),
        (468 - 14, 2 * 468),
        (140 * 468 - 15, 140 * 468),
        (140 * 468 - 14, MOST),  # the next multiple would be 65,988
        (MOST - 15, MOST),
        (MOST - 14, MOST - 14 + 11),  # there is no room for the option
        (MOST - 11, MOST),
    ],
)
def test_no_message_is_padded_beyond_what_a_stream_has(before: int, size: int) -> None:
    padded = padded_opt(opt(), before, 468)
    assert before + len(padded) == size
    assert int.from_bytes(padded[9:11]) == len(padded) - 11


def test_padding_stands_behind_the_options_that_are_there() -> None:
    for first, block in product((option(15, b"\0\x16"), option(65001, bytes(500))), (128, 468)):
        found = padded_opt(opt(first), 40, block)
        record = dns.rdata.from_wire(1232, dns.rdatatype.OPT, found, 11, len(found) - 11)
        assert [one.otype for one in record.options][1:] == [PADDING]
        assert found[11:].startswith(first) and (40 + len(found)) % block == 0
