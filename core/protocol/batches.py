"""Batches: many lines at once, read in the direction of a server and in that of a client.

A chunk of ordinary lines is taken by one pattern, at C speed, without an object for a line; any
other chunk is read line by line. The two ways agree. Simple quantifiers are possessive, so that a
match costs one pass, whatever the bytes.

Not here: a single line (`core/protocol/messages.py`), replies line by line, and what a batch of
them holds (`reply_batch.py`), and what becomes of a batch.
"""

from core.protocol.asker import Requests
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import ProtocolError, Question, format_message, parse_request
from core.protocol.names import (
    ANSWERS,
    LINE_BYTES_MAX,
    NAME_BYTES_MAX,
    QUESTIONS,
    REPLIES,
    Command,
    Error,
    fold,
    fold_lines,
    questions_of,
)
from core.protocol.reply_batch import ReplyBatch, read_each
from core.text import split_lines


def read_questions(data: bytes) -> Requests | None:
    """Read a chunk in which every line is a question; return None when one line is not.

    A question with a trailing dot, or with a type behind a very long name, is read by itself.
    """
    if not QUESTIONS.fullmatch(data):
        return None
    spellings = data.split(b"\n")[:-1]  # which has no spare room that waits with a question
    if max(map(len, spellings)) > NAME_BYTES_MAX:
        return None
    lines = fold_lines(data) if b" " in data else data.lower()
    return Requests(spellings if lines == data else split_lines(lines), spellings, lines)


def read_each_request(
    data: bytes, streak: ErrorStreak, stats_max: int
) -> tuple[Requests, list[Command | Error]]:
    """Read a chunk of whole lines line by line, whatever they are; also return, in order, its
    commands and what was wrong.

    Nothing is read after QUIT, nor after the last error of the streak. STATS that comes more than
    `stats_max` times is an error.
    """
    questions: list[bytes] = []
    spellings: list[bytes] = []
    others: list[Command | Error] = []
    stats = 0
    for line in filter(None, split_lines(data)):
        try:
            request = parse_request(line)
            stats += request is Command.STATS
            if request is Command.STATS and stats > stats_max:
                raise ProtocolError(Error.TOOMANY)
        except ProtocolError as error:
            others.append(error.code)
            streak.add()
            if streak.is_over:
                break
            continue
        if streak.count:
            streak.end()
        if isinstance(request, Question):
            questions.append(fold(request.spelling, request.type))
            spellings.append(format_message(request))
            continue
        others.append(request)
        if request is Command.QUIT:
            break
    return Requests(questions, spellings, b"".join(q + b"\n" for q in questions)), others


def read_replies(data: bytes, streak: ErrorStreak) -> ReplyBatch:
    """Read a chunk of whole lines. Nothing is read after a line for which the peer has to be given
    up: one that is too long, or the last error of the streak."""
    fits = b"," not in data or max(map(len, data.split(b"\n"))) <= LINE_BYTES_MAX
    if fits and ANSWERS.fullmatch(data):
        fields = data.lower().split()
        questions = fields[::4]
        if len(data) <= NAME_BYTES_MAX or max(map(len, questions)) <= NAME_BYTES_MAX:
            if streak.count:
                streak.end()
            if b":" in data:  # no IPv6 address is without one, and nothing else has one
                questions = questions_of(questions, fields[2::4])
            return ReplyBatch(questions, data, len(questions))
    elif REPLIES.fullmatch(data):
        lines = split_lines(data)
        if max(map(len, lines)) <= NAME_BYTES_MAX:  # longer ones are rare: mostly sets
            return _sort(lines, streak)
    return read_each(data, streak)


def _sort(lines: list[bytes], streak: ErrorStreak) -> ReplyBatch:
    """Sort answers and negatives by how they end."""
    answers = [line + b"\n" for line in lines if line.endswith(b" IN")]
    batch = read_replies(b"".join(answers), streak) if answers else ReplyBatch()
    batch.not_found = _named(lines, b" - NOT FOUND")
    batch.no_data = _named(lines, b" - NO DATA")
    batch.names_below = _named(lines, b" - NAMES BELOW")
    batch.blocked = _named(lines, b" - BLOCKED")
    if streak.count:
        streak.end()
    batch.count = len(lines)
    return batch


def _named(lines: list[bytes], end: bytes) -> list[bytes]:
    """Return the questions of the lines that end like this."""
    named = [line.removesuffix(end) + b"\n" for line in lines if line.endswith(end)]
    return split_lines(fold_lines(b"".join(named)))
