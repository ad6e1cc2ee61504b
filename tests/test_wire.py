"""The grammar: what is formatted parses back, any bytes are judged, both ways of reading agree."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import wire
from core.wire import (
    IPV4,
    Answer,
    Bye,
    Command,
    Error,
    Negative,
    NoAnswer,
    ProtocolError,
    Question,
    Refusal,
    answered_names,
    asked_names,
    fold,
    format_message,
    parse_reply,
    parse_request,
    printable,
)
from tests.splitting import PIECES, addresses, names

requests = st.one_of(names.map(Question), st.sampled_from(Command))
replies = st.one_of(
    st.builds(Answer, names, addresses),
    st.builds(NoAnswer, names, st.sampled_from(Negative)),
    st.builds(Refusal, st.sampled_from(Error)),
    st.just(Bye()),
)
lines = st.one_of(
    names,
    st.lists(st.sampled_from([*PIECES, b" A IN", b" 1.2.3.4", b" - ", b"TIMED OUT"]), max_size=6)
    .map(b"".join)
    .map(lambda line: line.replace(b"\n", b"")),
    st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    replies.map(format_message),
)


def judged(line: bytes) -> object:
    """What a request line is: a message, or the code of what is wrong with it."""
    try:
        return parse_request(line)
    except ProtocolError as error:
        return error.code


# -- round trips and totality ----------------------------------------------------------------------


@given(requests)
def test_a_request_parses_back(message: wire.Request) -> None:
    assert parse_request(format_message(message)) == message


@given(replies)
def test_a_reply_parses_back(message: wire.Reply) -> None:
    assert parse_reply(format_message(message)) == message


@given(lines)
def test_any_line_is_a_message_that_formats_back_or_a_protocol_error(line: bytes) -> None:
    for parse in (parse_request, parse_reply):
        try:
            message = parse(line)
        except ProtocolError as error:
            assert error.code in (Error.BADNAME, Error.TOOLONG)
            continue
        dot = b"." if parse is parse_request and line.endswith(b".") else b""
        assert format_message(message) + dot == line


# -- a chunk at once, and line by line -------------------------------------------------------------


@given(st.lists(lines, min_size=1, max_size=6))
def test_a_chunk_that_questions_matches_is_all_plain_questions_and_no_other_is(
    chunk: list[bytes],
) -> None:
    def is_plain(line: bytes) -> bool:
        return judged(line) == Question(line)

    plain = all(map(is_plain, chunk))
    assert asked_names(b"".join(line + b"\n" for line in chunk)) == (chunk if plain else None)


@given(st.lists(lines, min_size=1, max_size=6))
def test_a_chunk_that_answers_matches_is_all_answers_and_gives_their_names(
    chunk: list[bytes],
) -> None:
    data = b"".join(line + b"\n" for line in chunk)
    names = answered_names(data)
    if names is not None:
        messages = [parse_reply(line) for line in chunk]
        assert names == [
            fold(message.spelling) for message in messages if isinstance(message, Answer)
        ]
        assert len(names) == len(chunk)


@given(st.lists(st.builds(Answer, names, addresses), min_size=1, max_size=6))
def test_a_chunk_of_answers_is_matched(answers: list[Answer]) -> None:
    data = b"".join(format_message(answer) + b"\n" for answer in answers)
    assert answered_names(data) == [fold(answer.spelling) for answer in answers]


def test_the_patterns_do_not_slow_down_on_what_almost_matches() -> None:
    """A match is one pass: possessive quantifiers give nothing back. Quadratic would not end."""
    for almost in (b"a" * 2_000_000, b"a." * 1_000_000, b"a\n" * 1_000_000 + b"!"):
        assert asked_names(almost) is answered_names(almost) is None


# -- part D of the fault matrix --------------------------------------------------------------------


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"\x80", b"\xe9", b"\x1b", b"\t", b" ", b"@"])
def test_d3_d4_d5_a_byte_that_is_not_legal_is_badname_wherever_it_is(byte: bytes) -> None:
    for line in (byte, b"a" + byte, byte + b"a", b"a" + byte + b"b"):
        assert judged(line) is Error.BADNAME


@pytest.mark.parametrize("line", [b"a\rb", b"a\r", b"\r"])
def test_d6_a_cr_in_a_line_is_badname(line: bytes) -> None:
    assert judged(line) is Error.BADNAME


@pytest.mark.parametrize("mark", [b"\v", b"\f", b"\x1c", b"\x85", "\u2028".encode()])
def test_d7_what_unicode_calls_a_line_end_is_badname(mark: bytes) -> None:
    assert judged(b"a" + mark + b"b") is Error.BADNAME


L63 = b"a" * 63
N253 = b".".join([L63, L63, L63, b"a" * 61])


@pytest.mark.parametrize(
    ("line", "legal"),
    [
        (N253, True), (N253 + b"a", False), (N253 + b".", True), (N253 + b"..", False),
        (L63, True), (L63 + b"a", False), (L63 + b".b", True), (L63 + b"a.b", False),
        (b"a..b", False), (b".", False), (b"..", False), (b".a", False), (b"a.", True),
        (b"_x", True), (b"-a", True), (b"a-", True), (b"-", False), (b"---", False),
        (b"-.", False), (b"WwW.x", True), (b"1", True), (b"a/b", False), (b"a,b", False),
    ],
)  # fmt: skip
def test_d9_the_name_rule(line: bytes, legal: bool) -> None:
    expected = Question(line.removesuffix(b".")) if legal else Error.BADNAME
    assert judged(line) == expected
    plain = legal and not line.endswith(b".")
    assert (asked_names(line + b"\n") is not None) is plain


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"QUIT", Command.QUIT), (b"quit", Question(b"quit")), (b"Quit", Question(b"Quit")),
        (b"QUIT.", Question(b"QUIT")), (b"QUIT ", Error.BADNAME), (b" QUIT", Error.BADNAME),
        (b"PING", Command.PING), (b"ping", Question(b"ping")), (b"STATS", Command.STATS),
        (b"QUITE", Question(b"QUITE")), (b"STATS.x", Question(b"STATS.x")),
    ],
)  # fmt: skip
def test_d10_only_the_exact_word_is_a_command(line: bytes, message: object) -> None:
    assert judged(line) == message


def test_d11_the_kelvin_sign_is_no_k() -> None:
    assert judged("\u212a.example".encode()) is Error.BADNAME
    assert fold("\u212a".encode()) != b"k"
    assert fold(b"K.eXample.") == b"k.example"


@pytest.mark.parametrize("line", [b"x - TIMED OUT", b"x 1.2.3.4 A IN", b"- ERROR BUSY", b"a b"])
def test_d12_a_reply_is_no_request(line: bytes) -> None:
    assert judged(line) is Error.BADNAME


def test_d13_what_cannot_be_printed_is_escaped() -> None:
    assert printable(b"a\x1b[2J\r\n\xe9 b\x7f") == b"a\\x1b[2J\\x0d\\x0a\\xe9 b\\x7f"


@pytest.mark.parametrize(("count", "code"), [(512, Error.BADNAME), (513, Error.TOOLONG)])
def test_d2_a_line_is_too_long_from_byte_513_on(count: int, code: Error) -> None:
    assert judged(b"a" * count) is code
    with pytest.raises(ProtocolError) as raised:
        parse_reply(b"a" * count)
    assert raised.value.code is code


# -- addresses -------------------------------------------------------------------------------------

octets = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(["", "00", "010", "0x1", "1_0", "+1", " 1", "256", "255", "\u0661", "1e1"]),
)


@given(st.lists(octets, min_size=3, max_size=5).map(".".join))
def test_the_pattern_of_addresses_gives_the_verdicts_of_ipaddress(text: str) -> None:
    try:
        ipaddress.IPv4Address(text)
        legal = True
    except ValueError:
        legal = False
    assert (re.fullmatch(IPV4, text.encode()) is not None) is legal
