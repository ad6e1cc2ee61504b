"""Batches: a chunk that is read at once comes to what its lines come to one by one."""

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.environment import Environment
from core.protocol import batches
from core.protocol.batches import read_questions, read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import (
    Answer,
    NoAnswer,
    ProtocolError,
    Question,
    format_message,
    parse_reply,
)
from core.protocol.names import Error, Negative, Type, fold, fold_lines
from core.protocol.reply_batch import ReplyBatch
from tests.protocol.test_messages import (
    RESERVED,
    almost,
    answers,
    judged,
    lines,
    negative_replies,
    questions,
    replied,
)
from tests.support.counting import ends_within
from tests.support.splitting import name_of as a_name_of

request_lines = st.one_of(
    st.lists(lines, min_size=1, max_size=6),
    st.lists(questions.map(format_message), min_size=1, max_size=6),
)
reply_lines = st.one_of(
    st.lists(answers.map(format_message), min_size=1, max_size=6),
    st.lists(st.one_of(answers, negative_replies).map(format_message), min_size=1, max_size=8),
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
    kinds = ("questions", "not_found", "no_data", "names_below", "blocked", "others")
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
            case NoAnswer(Question(spelling, type), Negative.BLOCKED):
                found["blocked"].append(fold(spelling, type))
            case _:
                found["others"].append(message)
    return found | {"lines": lines, "count": count, "malformed": malformed, "why": why}


def shown(batch: ReplyBatch) -> dict[str, object]:
    """Return the same of what was read."""
    kinds = ("questions", "not_found", "no_data", "names_below", "blocked", "others")
    rest = ("lines", "count", "malformed", "why")
    return {kind: list(getattr(batch, kind)) for kind in kinds} | {
        name: getattr(batch, name) for name in rest
    }


@given(request_lines)
def test_only_a_chunk_of_plain_questions_is_read_at_once(chunk: list[bytes]) -> None:
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


@given(st.one_of(reply_lines, st.lists(st.sampled_from([b"", b"?", b"PONG"]), max_size=40)))
def test_a_chunk_of_replies_is_what_its_lines_are_one_by_one(chunk: list[bytes]) -> None:
    """Only plain answers and negatives are sorted at once. TIMED OUT and FAILED from a TS are rare,
    as are long lines in a mixture: a chunk with one is read line by line."""

    def is_plain(message: object) -> bool:
        match message:
            case Answer(spelling):
                return not spelling.endswith(b".")
            case NoAnswer(question, why):
                return not question.spelling.endswith(b".") and why.value[:1] in b"NB"
        return False

    messages = [replied(line) for line in chunk]
    is_all_answers = all(isinstance(message, Answer) for message in messages)
    is_short = max(map(len, chunk), default=0) <= 253
    expected = line_by_line(chunk)
    assert shown(read_replies(chunk_of(chunk), ErrorStreak(Environment()))) == expected
    if chunk:
        batch = replied_in(chunk_of(chunk))
        is_sorted = all(map(is_plain, messages)) and (is_all_answers or is_short)
        assert (batch is not None) is is_sorted
        assert batch is None or shown(batch) == expected


@pytest.mark.parametrize(
    ("line", "question"),
    [
        (b"STAT 10.0.0.1 A IN", b"stat"),
        (b"STAT ::1 AAAA IN", b"stat AAAA"),
        (b"STAT - NOT FOUND", b"stat"),
        (b"STAT AAAA - NOT FOUND", b"stat AAAA"),
    ],
)
def test_a_reply_about_the_name_stat_is_no_metric(line: bytes, question: bytes) -> None:
    """[P2]: however the network cuts it from what comes before and after it."""
    for rest in (b"", b"PONG\n"):
        batch = read_replies(line + b"\n" + rest, ErrorStreak(Environment()))
        assert [*batch.questions, *batch.not_found] == [question]


@pytest.mark.parametrize("good", [b"x 1.2.3.4 A IN", b"x - NO DATA", b"x - FAILED", b"PONG"])
def test_errors_in_a_row_are_counted_until_a_legal_line_comes(good: bytes) -> None:
    env = Environment()
    streak = ErrorStreak(env)
    for chunk in ([b"?"] * 15, [good], [b"?"] * 15, [good, *[b"?"] * 15], [b"", good]):
        assert not read_replies(chunk_of(chunk), streak).why and not env.hits
    assert not read_replies(b"?\n" * 15, streak).why
    batch = read_replies(chunk_of([b"?", good]), streak)
    assert batch.why and batch.count == batch.malformed == 1 and streak.is_over
    streak.add()
    assert env.hits == {"errors_in_a_row_max": 1}


@pytest.mark.parametrize("length", range(246, 256))
def test_round_253_bytes_both_ways_of_reading_agree(length: int) -> None:
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
def test_reserved_words_and_hyphens_are_in_a_chunk_as_alone(word: bytes) -> None:
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


@pytest.mark.parametrize("length", [512, 513, 514, 2_000])
@pytest.mark.parametrize(("address", "kind"), [(b"10.0.0.1", b"A"), (b"::1", b"AAAA")])
def test_d2_an_answer_has_512_bytes_at_most_either_way(
    address: bytes, kind: bytes, length: int
) -> None:
    """Else what becomes of it would depend on where the network cuts it. After a longer one nothing
    is read."""
    line = answer_of(length, address, kind)
    if length == 512:
        assert isinstance(replied(line), Answer) and answered_in(line + b"\n") is not None
        return
    assert replied(line) is Error.TOOLONG
    for before in (b"", b"x 1.2.3.4 A IN\n"):
        assert answered_in(before + line + b"\n") is None
        assert replied_in(before + line + b"\nx AAAA - NO DATA\n") is None
    batch = read_replies(
        b"x 1.2.3.4 A IN\n" + line + b"\nz ::1 AAAA IN\n", ErrorStreak(Environment())
    )
    assert batch.questions == [b"x"] and batch.why == "it sent a line that is too long"


def test_the_patterns_do_not_slow_down_on_what_almost_matches() -> None:
    """A match is one pass, and giving back is another one; with the square of it none ends."""
    with ends_within(60):
        for line in (b"a" * 400_000, b"a." * 200_000, b"a\n" * 200_000 + b"!"):
            assert asked_in(line) is answered_in(line) is replied_in(line) is None
        for line in (b"x " + b"1:" * 200_000, b"x 1::1" + b",1::1" * 80_000, b"x ::" * 100_000):
            assert answered_in(line) is replied_in(line) is None
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
            line = begin + again * 20_000 + end
            assert asked_in(line) is answered_in(line) is replied_in(line) is None
