"""The grammar: what is formatted parses back, any bytes are judged, both ways of reading agree."""

import ipaddress
import re
from collections.abc import Iterable
from itertools import product
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.environment import Environment
from core.protocol import batches, messages
from core.protocol.batches import read_questions, read_replies, read_requests
from core.protocol.error_streak import ErrorStreak
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
from core.protocol.names import (
    IPV4,
    IPV6,
    Command,
    Error,
    Negative,
    Type,
    Word,
    fold,
    fold_lines,
    name_of,
    other_type,
    question_of,
    questions_of,
    type_of,
)
from core.protocol.reply_batch import ReplyBatch
from core.text import printable
from tests.support.splitting import (
    PIECES,
    addresses,
    addresses_v6,
    ipv6_texts,
    long_names,
    names,
)
from tests.support.splitting import (
    name_of as a_name_of,
)

RESERVED = [command.value for command in Command]


def a_set(address: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(address, min_size=1, max_size=4).map(b",".join)


any_names = st.one_of(names, names, long_names, st.sampled_from(RESERVED))
any_questions = st.builds(Question, any_names, st.sampled_from(Type))
# A reserved word alone is a command.
questions = any_questions.filter(lambda question: format_message(question) not in RESERVED)
requests = st.one_of(questions, st.sampled_from(Command))
answers = st.one_of(
    st.builds(Answer, any_names, a_set(addresses)),
    st.builds(Answer, any_names, a_set(addresses_v6), st.just(Type.AAAA)),
)
negative_replies = st.builds(NoAnswer, any_questions, st.sampled_from(Negative))
metrics = st.from_regex(rb"[A-Za-z0-9_.]{1,9}", fullmatch=True)
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
request_lines = st.one_of(
    st.lists(lines, min_size=1, max_size=6),
    st.lists(questions.map(format_message), min_size=1, max_size=6),
)
reply_lines = st.one_of(
    st.lists(lines, min_size=1, max_size=6),
    st.lists(
        st.one_of(
            answers.map(format_message),
            negative_replies.map(format_message),
            almost(answers.map(format_message)),
            almost(negative_replies.map(format_message)),
        ),
        min_size=1,
        max_size=3,
    ),
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
def test_any_line_is_a_message_that_formats_back_or_a_protocol_error(line: bytes) -> None:
    for parse in (parse_request, parse_reply):
        try:
            message = parse(line)
        except ProtocolError as error:
            assert error.code in (Error.BADNAME, Error.TOOLONG)
            continue
        assert format_message(message) in (line, line.replace(b". ", b" ").removesuffix(b"."))


# -- questions as bytes ----------------------------------------------------------------------------


@given(any_names, st.sampled_from(Type))
def test_a_question_is_put_together_as_it_is_taken_apart(name: bytes, type: Type) -> None:
    question = question_of(name, type)
    assert question == format_message(Question(name, type))
    assert (name_of(question), type_of(question)) == (name, type)
    assert fold(name + b".", type) == fold_lines(question + b"\n")[:-1]
    other = other_type(question)
    assert name_of(other) == name and type_of(other) is not type and other_type(other) == question
    for text in (type.value, type.value.lower()):
        assert questions_of([name, b"x"], [text, b"a"]) == [question, b"x"]


# -- a chunk at once, and line by line -------------------------------------------------------------


def chunk_of(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def asked_in(data: bytes) -> list[bytes] | None:
    """Return the questions of a chunk that is taken at once, as they are spelled."""
    requests = read_questions(data)
    return None if requests is None else requests.spellings


def replied_in(data: bytes) -> ReplyBatch | None:
    """Return what a chunk of replies comes to that is taken at once."""
    with patch.object(batches, "read_each", lambda data, streak: None):
        return read_replies(data, ErrorStreak(Environment()))


def answered_in(data: bytes) -> list[bytes] | None:
    """Return the questions of a chunk that is taken at once, since it has nothing but answers."""
    batch = replied_in(data)
    return None if batch is None or batch.count > len(batch.questions) else batch.questions


def line_by_line(chunk: list[bytes]) -> dict[str, object]:
    """Return what a chunk of replies comes to."""
    kinds = ("questions", "not_found", "no_data", "names_below", "others")
    found: dict[str, list[Any]] = {kind: [] for kind in kinds}
    count = malformed = errors_in_a_row = 0
    lines, why = b"", ""
    for line in filter(None, chunk):
        message = replied(line)
        count += 1
        errors_in_a_row = errors_in_a_row + 1 if isinstance(message, Error) else 0
        match message:
            case Error():
                malformed += 1
                if message is Error.TOOLONG:
                    why = "it sent a line that is too long"
                    break
                if errors_in_a_row == 16:
                    why = "it does not speak this protocol"
                    break
            case Answer(spelling, _, type):
                found["questions"].append(fold(spelling, type))
                lines += line + b"\n"
            case NoAnswer(Question(spelling, type), Negative.NOT_FOUND):
                found["not_found"].append(fold(spelling, type))
            case NoAnswer(Question(spelling, type), Negative.NO_DATA):
                found["no_data"].append(fold(spelling, type))
            case NoAnswer(Question(spelling, type), Negative.NAMES_BELOW):
                found["names_below"].append(fold(spelling, type))
            case _:
                found["others"].append(message)
    return found | {"lines": lines, "count": count, "malformed": malformed, "why": why}


def shown(batch: ReplyBatch) -> dict[str, object]:
    """Return the same of what was read."""
    kinds = ("questions", "not_found", "no_data", "names_below", "others")
    rest = ("lines", "count", "malformed", "why")
    return {kind: list(getattr(batch, kind)) for kind in kinds} | {
        name: getattr(batch, name) for name in rest
    }


@given(request_lines)
def test_a_chunk_that_questions_matches_is_all_plain_questions_and_no_other_is(
    chunk: list[bytes],
) -> None:
    def is_plain(line: bytes) -> bool:
        name = line.removesuffix(b" AAAA")
        asked = Question(name, Type.A if name == line else Type.AAAA)
        return judged(line) == asked and len(line) <= 253

    plain = all(map(is_plain, chunk))
    data = b"".join(line + b"\n" for line in chunk)
    assert asked_in(data) == (chunk if plain else None)
    if plain:
        folded = [
            fold(line.removesuffix(b" AAAA")) + line[-5:] * line.endswith(b" AAAA")
            for line in chunk
        ]
        assert fold_lines(data) == b"".join(line + b"\n" for line in folded)


@given(reply_lines)
def test_a_chunk_that_answers_matches_is_all_plain_answers_and_no_other_is(
    chunk: list[bytes],
) -> None:
    said = [replied(line) for line in chunk]
    plain = [
        message
        for message in said
        if isinstance(message, Answer) and not message.spelling.endswith(b".")
    ]
    folded = [fold(message.spelling, message.type) for message in plain]
    data = b"".join(line + b"\n" for line in chunk)
    assert answered_in(data) == (folded if len(plain) == len(chunk) else None)


@given(st.lists(answers, min_size=1, max_size=6))
def test_a_chunk_of_answers_is_matched(answers: list[Answer]) -> None:
    data = b"".join(format_message(answer) + b"\n" for answer in answers)
    fits = all(len(format_message(answer)) <= 512 for answer in answers)
    assert answered_in(data) == [fold(answer.spelling, answer.type) for answer in answers]
    assert fits


@given(st.one_of(reply_lines, st.lists(st.sampled_from([b"", b"?", b"PONG"]), max_size=40)))
def test_a_chunk_of_replies_comes_to_what_its_lines_come_to_one_by_one(chunk: list[bytes]) -> None:
    batch = read_replies(chunk_of(chunk), ErrorStreak(Environment()))
    assert shown(batch) == line_by_line(chunk)


@given(st.lists(st.one_of(answers, negative_replies), min_size=1, max_size=8))
def test_a_chunk_of_answers_and_negatives_is_sorted(replies: list[Answer | NoAnswer]) -> None:
    chunk = [format_message(reply) for reply in replies]
    batch = read_replies(chunk_of(chunk), ErrorStreak(Environment()))
    assert shown(batch) == line_by_line(chunk) and batch.count == len(chunk) and not batch.malformed


@given(reply_lines)
def test_what_is_sorted_at_once_is_all_plain_answers_and_negatives_and_nothing_else_is(
    chunk: list[bytes],
) -> None:
    """TIMED OUT and FAILED from a TS are rare, as are long lines in a mixture: a chunk with one is
    read line by line."""

    def is_plain(message: object) -> bool:
        match message:
            case Answer(spelling):
                return not spelling.endswith(b".")
            case NoAnswer(question, why):
                return not question.spelling.endswith(b".") and why.value[:1] == b"N"
        return False

    messages = [replied(line) for line in chunk]
    is_all_answers = all(isinstance(message, Answer) for message in messages)
    is_short = max(map(len, chunk)) <= 253
    batch = replied_in(chunk_of(chunk))
    assert (batch is not None) is (all(map(is_plain, messages)) and (is_all_answers or is_short))
    assert batch is None or shown(batch) == line_by_line(chunk)


@pytest.mark.parametrize("good", [b"x 1.2.3.4 A IN", b"x - NO DATA", b"x - FAILED", b"PONG"])
def test_errors_in_a_row_are_counted_over_chunks_and_a_legal_line_starts_over(good: bytes) -> None:
    env = Environment()
    streak = ErrorStreak(env)
    for chunk in ([b"?"] * 15, [good], [good, *[b"?"] * 15], [b"", good]):
        assert not read_replies(chunk_of(chunk), streak).why and not env.hits
    assert not read_replies(b"?\n" * 15, streak).why
    batch = read_replies(chunk_of([b"?", good]), streak)
    assert batch.why and batch.count == batch.malformed == 1 and streak.is_over
    assert env.hits == {"errors_in_a_row_max": 1}


def test_what_is_no_question_is_returned_in_order_and_nothing_is_read_after_the_end() -> None:
    def others(*lines: bytes) -> list[Command | Error]:
        return read_requests(chunk_of(lines), ErrorStreak(Environment()), 2)[1]

    ping, stats, bad = Command.PING, Command.STATS, Error.BADNAME
    assert others(b"x", b"?", b"PING", b"y", b"STATS") == [bad, ping, stats]
    assert others(*[b"STATS"] * 4) == [stats, stats, Error.TOOMANY, Error.TOOMANY]
    assert others(b"x" * 513, b"QUIT", b"PING") == [Error.TOOLONG, Command.QUIT]
    assert others(*[b"?"] * 20, b"PING") == [bad] * 16


@given(st.lists(questions, min_size=1, max_size=6), st.sampled_from(Negative))
def test_negatives_repeat_their_questions(asked: list[Question], why: Negative) -> None:
    said = negatives([format_message(question) for question in asked], why)
    assert [parse_reply(line) for line in said.split(b"\n")[:-1]] == [
        NoAnswer(question, why) for question in asked
    ]


@pytest.mark.parametrize("kind", [b"", b" AAAA"])
@pytest.mark.parametrize("length", [252, 253, 254, 258])
def test_a_name_may_have_253_bytes_whatever_is_asked_of_it(length: int, kind: bytes) -> None:
    name = a_name_of(length)
    line = name + kind
    assert (judged(line) is Error.BADNAME) is (length > 253)
    if length > 253:
        assert asked_in(line + b"\n") is None
        assert answered_in(name + b" 1.2.3.4 A IN\n") is None
        assert replied_in(line + b" - NOT FOUND\n") is None


@pytest.mark.parametrize("length", range(246, 256))
def test_round_253_bytes_both_ways_of_reading_agree_wherever_the_line_stands(length: int) -> None:
    """Lines that are not taken at once are read by themselves, and then taken after all."""
    name = a_name_of(length)
    for kind in (b"", b" AAAA"):
        asked, legal = name + kind, length <= 253
        for dot in (b"", b"."):
            expected = Question(name, Type.AAAA if kind else Type.A) if legal else Error.BADNAME
            assert judged(name + dot + kind) == expected
        negative = NoAnswer(Question(name, Type.AAAA if kind else Type.A), Negative.NO_DATA)
        assert replied(asked + b" - NO DATA") == (negative if legal else Error.BADNAME)
        answer = name + (b" ::1 AAAA IN" if kind else b" 1.2.3.4 A IN")
        assert isinstance(replied(answer), Answer) is legal
        for before, after in ((b"", b""), (b"x\n", b""), (b"", b"y AAAA\n"), (b"x\n", b"y\n")):
            whole = before + asked + b"\n" + after
            assert (asked_in(whole) is not None) is (len(asked) <= 253)
            deny = whole.replace(b"\n", b" - NO DATA\n")
            batch = read_replies(deny, ErrorStreak(Environment()))
            assert batch.malformed == (not legal) and len(batch.no_data) == deny.count(b"\n") - (
                not legal
            )
        for row in (b"", b"x 1.2.3.4 A IN\n", b"x ::1 AAAA IN\n"):
            for whole in (row + answer + b"\n", answer + b"\n" + row):
                assert (answered_in(whole) is not None) is legal


@pytest.mark.parametrize("word", [*RESERVED, b"-", b"--", b"-" * 63, b"-" * 64])
def test_a_reserved_word_or_hyphens_in_a_chunk_are_what_they_are_by_themselves(word: bytes) -> None:
    """A command with a type is a name with a type; hyphens alone are no name of any type."""
    legal = word in RESERVED
    assert judged(word + b" AAAA") == (Question(word, Type.AAAA) if legal else Error.BADNAME)
    for before, after in ((b"", b""), (b"a\n", b""), (b"", b"b AAAA\n"), (b"a AAAA\n", b"b\n")):
        assert asked_in(before + word + b"\n" + after) is None
        assert (asked_in(before + word + b" AAAA\n" + after) is not None) is legal
    for before, after in ((b"", b""), (b"x 1.2.3.4 A IN\n", b""), (b"", b"x ::1 AAAA IN\n")):
        for end in (b" 1.2.3.4 A IN\n", b" ::1 AAAA IN\n"):
            whole = before + word + end + after
            assert (answered_in(whole) is not None) is legal
        for end in (b" - NO DATA\n", b" AAAA - NOT FOUND\n"):
            assert (replied_in(before + word + end + after) is not None) is legal


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x. AAAA", Question(b"x", Type.AAAA)), (b"X AAAA", Question(b"X", Type.AAAA)),
        (b"QUIT AAAA", Question(b"QUIT", Type.AAAA)), (b"x aaaa", Error.BADNAME),
        (b"x A", Error.BADNAME), (b"x  AAAA", Error.BADNAME), (b"x AAAA ", Error.BADNAME),
        (b" AAAA", Error.BADNAME), (b"- AAAA", Error.BADNAME), (b"AAAA", Question(b"AAAA")),
        (b"x AAAA.", Error.BADNAME), (b"x MX", Error.BADNAME), (b"x.. AAAA", Error.BADNAME),
        (b"QUIT. AAAA", Question(b"QUIT", Type.AAAA)), (b"QUIT  AAAA", Error.BADNAME),
        (b"QUIT A", Error.BADNAME), (b"-. AAAA", Error.BADNAME), (b". AAAA", Error.BADNAME),
        (b"AAAA AAAA", Question(b"AAAA", Type.AAAA)), (b"x AAAA AAAA", Error.BADNAME),
        (b"x\tAAAA", Error.BADNAME), (b"x AAAA\r", Error.BADNAME), (b"x aAAA", Error.BADNAME),
        (b"xAAAA", Question(b"xAAAA")), (b"x.AAAA", Question(b"x.AAAA")),
    ],
)  # fmt: skip
def test_a_type_is_one_word_in_one_spelling(line: bytes, message: object) -> None:
    assert judged(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"x 1.2.3.4 AAAA IN", b"x ::1 A IN", b"x 1.2.3.4,::1 A IN", b"x 1.2.3.4, A IN",
        b"x ,1.2.3.4 A IN", b"x 1.2.3.4,,5.6.7.8 A IN", b"x 1.2.3.4 , 5.6.7.8 A IN",
        b"x fe80::1%eth0 AAAA IN",
    ],
)  # fmt: skip
def test_a_set_has_addresses_of_its_type_only(line: bytes) -> None:
    assert answered_in(line + b"\n") is replied_in(line + b"\n") is None
    with pytest.raises(ProtocolError):
        parse_reply(line)


def answer_of(length: int, address: bytes, kind: bytes) -> bytes:
    """Write a line of so many bytes, of this address again and again."""
    count = (length - 40) // len(address + b",")
    rest = b" %b %b IN" % (b",".join([address] * count), kind)
    return b"a" * (length - len(rest)) + rest


ADDRESS_AND_TYPE = [(b"10.0.0.1", b"A"), (b"::1", b"AAAA")]


@pytest.mark.parametrize(("address", "kind"), ADDRESS_AND_TYPE)
def test_d2_an_answer_of_512_bytes_is_one_in_both_ways_of_reading(
    address: bytes, kind: bytes
) -> None:
    line = answer_of(512, address, kind)
    assert isinstance(replied(line), Answer)
    assert answered_in(line + b"\n") is not None


@pytest.mark.parametrize("length", [513, 514, 2_000])
@pytest.mark.parametrize(("address", "kind"), ADDRESS_AND_TYPE)
def test_d2_an_answer_of_more_than_512_bytes_is_none_in_both_ways_of_reading(
    address: bytes, kind: bytes, length: int
) -> None:
    """Else what becomes of it would depend on where the network cuts it."""
    line = answer_of(length, address, kind)
    assert replied(line) is Error.TOOLONG
    for before in (b"", b"x 1.2.3.4 A IN\n"):
        assert answered_in(before + line + b"\n") is None
        assert replied_in(before + line + b"\nx AAAA - NO DATA\n") is None


def test_the_patterns_do_not_slow_down_on_what_almost_matches() -> None:
    """A match is one pass, and giving back is another one. Quadratic would not end."""
    for almost in (b"a" * 2_000_000, b"a." * 1_000_000, b"a\n" * 1_000_000 + b"!"):
        assert asked_in(almost) is answered_in(almost) is replied_in(almost) is None
    for almost in (b"x " + b"1:" * 1_000_000, b"x 1::1" + b",1::1" * 400_000, b"x ::" * 500_000):
        assert answered_in(almost) is replied_in(almost) is None
    for begin, again, end in (
        (b"x 1.2.3.4", b",1.2.3.4", b",::1 A IN\n"),
        (b"x ::1.2.3.4", b",::1.2.3.4", b",::1.2.3.256 AAAA IN\n"),
        (b"x 1::", b",1:1:1:1:1:1:1::", b",1:1:1:1:1:1:1:1:1 AAAA IN\n"),
        (b"", b"x 1:1:1:1:1:1:1:: AAAA IN\n", b"x 1:1:1:1:1:1:1:1:1 AAAA IN\n"),
        (b"", b"x AAAA - NO DATA\n", b"x AAAA - NO DATE\n"),
        (b"", b"x AAAA\n", b"x AAAA AAAA\n"),
        (b"x", b".x", b" - NOT FOUN\n"),
        (b"-", b"-", b"\n"),
        (b"", b"-.-\n", b"- AAAA\n"),
        (b"", b"QUITS\n", b"QUIT\n"),
    ):
        almost = begin + again * 100_000 + end
        assert asked_in(almost) is answered_in(almost) is replied_in(almost) is None


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
    assert (asked_in(line + b"\n") is not None) is plain


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


near_v6 = st.builds(
    lambda text, at, put, cut: text[:at] + put + text[at + cut :],
    st.one_of(
        st.ip_addresses(v=6).map(str),
        st.ip_addresses(v=6).map(lambda address: address.exploded),
        st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
        ipv6_texts,
        st.lists(st.sampled_from(["", "1", "ab", "ffff", "00000"]), max_size=9).map(":".join),
    ),
    st.integers(0, 40),
    st.sampled_from(["", "", ":", "::", "g", "0", "1.2.3.4", ":1.2.3.256", "%eth0"]),
    st.integers(0, 3),
)


def is_ipv6(text: str) -> bool:
    """Return what `ipaddress` says; but for scopes, which mean something on one machine only."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


@given(near_v6)
@settings(max_examples=500)
def test_the_pattern_of_ipv6_addresses_gives_the_verdicts_of_ipaddress(text: str) -> None:
    assert (re.fullmatch(IPV6, text.encode()) is not None) is is_ipv6(text)


@given(ipv6_texts)
def test_any_way_to_write_an_ipv6_address_is_one(text: str) -> None:
    assert is_ipv6(text) and re.fullmatch(IPV6, text.encode())


# Up to nine groups, each written, left out, or an IPv4 address: with `::` and with a dotted part
# in every place and any number of times.
SHAPES = [
    ":".join(groups)
    for count in range(1, 10)
    for groups in product(("", "a", "1.2.3.4"), repeat=count)
]


def test_every_shape_of_an_ipv6_address_gets_the_verdict_of_ipaddress() -> None:
    pattern = re.compile(IPV6)
    taken = [text for text in SHAPES if pattern.fullmatch(text.encode())]
    assert taken == list(filter(is_ipv6, SHAPES))


def test_every_shape_of_an_ipv6_address_may_stand_anywhere_in_a_set() -> None:
    """A set is matched without going back: no shape may be taken for a shorter one in it."""
    for text in map(str.encode, filter(is_ipv6, SHAPES)):
        for in_set in (text, b"::1," + text, text + b",::1", text + b",::," + text):
            line = b"x %b AAAA IN" % in_set
            assert replied(line) == Answer(b"x", in_set, Type.AAAA)
            assert answered_in(line + b"\n") == [b"x AAAA"]
            batch = read_replies(line + b"\nx - NO DATA\n", ErrorStreak(Environment()))
            assert batch.questions == [b"x AAAA"] and batch.no_data == [b"x"]
