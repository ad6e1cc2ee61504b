"""The grammar: what is formatted parses back, any bytes are judged, both ways of reading agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol import messages
from core.protocol.batches import read_questions
from core.protocol.messages import (
    Answer,
    NoAnswer,
    ProtocolError,
    Question,
    Refusal,
    Stat,
    format_message,
    negatives,
    parse_reply,
    parse_request,
)
from core.protocol.names import Command, Error, Negative, Type, Word
from core.text import printable
from tests.support.splitting import PIECES, addresses, addresses_v6, any_names, long_names, names

RESERVED = [command.value for command in Command]


def a_set(address: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(address, min_size=1, max_size=4).map(b",".join)


any_questions = st.builds(Question, any_names, st.sampled_from(Type))
# A reserved word alone is a command.
questions = any_questions.filter(lambda question: format_message(question) not in RESERVED)
requests = st.one_of(questions, st.sampled_from(Command))
answers = st.one_of(
    st.builds(Answer, any_names, a_set(addresses)),
    st.builds(Answer, any_names, a_set(addresses_v6), st.just(Type.AAAA)),
)
negative_replies = st.builds(NoAnswer, any_questions, st.sampled_from(Negative))
metrics = st.from_regex(rb"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True)
replies = st.one_of(
    answers,
    negative_replies,
    st.builds(Refusal, st.sampled_from(Error)),
    st.builds(Stat, metrics, metrics),
    st.sampled_from(Word),
)


def changed(line: bytes, at: int, put: bytes, cut: int) -> bytes:
    """Draw the line with something else somewhere in it."""
    at %= len(line) + 1
    return line[:at] + put + line[at + cut :]


def almost(messages: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Draw lines that one change makes of these; some are still legal."""
    put = st.sampled_from([b"", b"", b" ", b",", b".", b"-", b":", b"::", b"1", b"a", b" AAAA"])
    return st.builds(changed, messages, st.integers(0, 400), put, st.integers(0, 2))


lines = st.one_of(
    names,
    st.lists(
        st.sampled_from(
            [
                *PIECES,
                b" A IN",
                b" 1.2.3.4",
                b",",
                b" - ",
                b"TIMED OUT",
                b"NO DATA",
                b" AAAA",
                b" ::1",
                b" AAAA IN",
            ]
        ),
        max_size=6,
    )
    .map(b"".join)
    .map(lambda line: line.replace(b"\n", b"")),
    st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")),
    replies.map(format_message),
    long_names.map(lambda name: name + b" AAAA"),
    almost(requests.map(format_message)),
    almost(replies.map(format_message)),
)


def judged(line: bytes) -> object:
    """Return what a request line is: a message, or the code of what is wrong with it."""
    try:
        return parse_request(line)
    except ProtocolError as error:
        return error.code


def replied(line: bytes) -> object:
    """Return what a reply line is: a message, or the code of what is wrong with it."""
    try:
        return parse_reply(line)
    except ProtocolError as error:
        return error.code


# -- round trips and totality ----------------------------------------------------------------------


@given(requests)
def test_a_request_parses_back(message: messages.Request) -> None:
    assert parse_request(format_message(message)) == message


@given(replies)
def test_a_reply_parses_back(message: messages.Reply) -> None:
    assert parse_reply(format_message(message)) == message


@given(lines)
def test_any_line_formats_back_or_is_a_protocol_error(line: bytes) -> None:
    for parse in (parse_request, parse_reply):
        try:
            message = parse(line)
        except ProtocolError as error:
            assert error.code in (Error.BADNAME, Error.TOOLONG)
            continue
        assert format_message(message) in (line, line.replace(b". ", b" ").removesuffix(b"."))


@given(st.lists(questions, min_size=1, max_size=6), st.sampled_from(Negative))
def test_negatives_repeat_their_questions(asked: list[Question], why: Negative) -> None:
    said = negatives([format_message(question) for question in asked], why)
    assert [parse_reply(line) for line in said.split(b"\n")[:-1]] == [
        NoAnswer(question, why) for question in asked
    ]


L63 = b"a" * 63
N253 = b".".join([L63, L63, L63, b"a" * 61])
BAD = Error.BADNAME


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        # a byte that is not legal, wherever it is
        *((BAD, [byte, b"a" + byte, byte + b"a", b"a" + byte + b"b"])
          for byte in (b"\0", b"\xff", b"\x80", b"\xe9", b"\x1b", b"\t", b" ", b"@", b"\r",
                       b"\v", b"\f", b"\x1c", b"\x85", "\u2028".encode(), "\u212a".encode())),
        # the name rule
        (Question, [N253, N253 + b".", L63, L63 + b".b", b"a.", b"_x", b"-a", b"a-", b"W.x", b"1"]),
        (BAD, [N253 + b"a", N253 + b"..", L63 + b"a", L63 + b"a.b", b"a..b", b".", b"..", b".a",
               b"-", b"---", b"-.", b"a/b", b"a,b"]),
        # only the exact word is a command
        (Command.QUIT, [b"QUIT"]), (Command.PING, [b"PING"]), (Command.STATS, [b"STATS"]),
        (Question, [b"quit", b"Quit", b"QUIT.", b"ping", b"QUITE", b"STATS.x"]),
        (BAD, [b"QUIT ", b" QUIT"]),
        # a type is one word in one spelling
        (Type.AAAA, [b"x. AAAA", b"X AAAA", b"QUIT AAAA", b"QUIT. AAAA", b"AAAA AAAA"]),
        (Question, [b"AAAA", b"xAAAA", b"x.AAAA"]),
        (BAD, [b"x aaaa", b"x A", b"x  AAAA", b"x AAAA ", b" AAAA", b"- AAAA", b"x AAAA.", b"x MX",
               b"x.. AAAA", b"QUIT  AAAA", b"QUIT A", b"-. AAAA", b". AAAA", b"x AAAA AAAA",
               b"x\tAAAA", b"x AAAA\r", b"x aAAA"]),
        # a reply is no request
        (BAD, [b"x - TIMED OUT", b"x 1.2.3.4 A IN", b"- ERROR BUSY", b"a b"]),
        (Error.TOOLONG, [b"a" * 513]), (BAD, [b"a" * 512]),
    ],
)  # fmt: skip
def test_d2_d3_d4_d5_d6_d7_d9_d10_d11_d12_a_line_is_judged(
    message: object, lines: list[bytes]
) -> None:
    """[P4]: alone, and in a chunk that is read at once where it is a plain question."""
    for line in lines:
        name = line.removesuffix(b" AAAA").removesuffix(b".")
        question = Question(name, Type.AAAA if message is Type.AAAA else Type.A)
        is_question = message in (Question, Type.AAAA)
        if message is Question:
            question = Question(line.removesuffix(b"."))
        assert judged(line) == (question if is_question else message), line
        is_plain = is_question and b"." not in line[-1:] and b". " not in line
        assert (read_questions(line + b"\n") is not None) is is_plain, line


@pytest.mark.parametrize("key", [b"asked", b"TS1.won", b"my-dns.won", b"lines.no_data_seconds.100"])
def test_a_metric_may_have_the_name_of_a_resolver(key: bytes) -> None:
    """Which has letters, digits, hyphens and underscores."""
    assert replied(b"STAT " + key + b" 17") == Stat(key, b"17")


def test_d13_what_cannot_be_printed_is_escaped() -> None:
    assert printable(b"a\x1b[2J\r\n\xe9 b\x7f") == b"a\\x1b[2J\\x0d\\x0a\\xe9 b\\x7f"
