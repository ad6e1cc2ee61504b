"""Messages: one line, read and written. Pure; `proto.md` is the specification.

Two kinds of lines travel: *requests* (towards a table server: a question, or a command) and
*replies* (towards the client).

Not here: many lines at once (`core/protocol/batches.py`), what names and addresses are
(`names.py`), and bytes that are not yet lines (`core/io/line_buffer.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.protocol.names import (
    ADDRESSES_AND_TYPE,
    LINE_BYTES_MAX,
    Command,
    Error,
    Negative,
    Type,
    Word,
    is_name,
    name_of,
    question_of,
    type_of,
)


class ProtocolError(ValueError):
    """A line that is no message. `code` says what is wrong with it."""

    def __init__(self, code: Error) -> None:
        super().__init__(code.value)
        self.code = code


@dataclass(slots=True)
class Question:
    """A request for a name's addresses. `spelling` is the name as sent, without trailing dot."""

    spelling: bytes
    type: Type = Type.A


@dataclass(slots=True)
class Answer:
    """A reply with addresses, separated by commas, in the spelling and order of the table."""

    spelling: bytes
    addresses: bytes
    type: Type = Type.A


@dataclass(slots=True)
class NoAnswer:
    """A reply that repeats its question and says why there is no address."""

    question: Question
    why: Negative


@dataclass(slots=True)
class Refusal:
    """A reply that names no question: something else was wrong."""

    code: Error


@dataclass(slots=True)
class Stat:
    """A line of the reply to STATS: a metric and its value."""

    key: bytes
    value: bytes


Request = Question | Command
Reply = Answer | NoAnswer | Refusal | Stat | Word

_COMMANDS = {command.value: command for command in Command}
_WORDS = {word.value: word for word in Word}
_ANSWER = re.compile(rb"([^ ]++) (?=" + ADDRESSES_AND_TYPE + rb" IN\Z)([^ ]++) (A|AAAA) IN")
_NEGATIVE = re.compile(rb"([^ ]++(?: AAAA)?) - (" + b"|".join(n.value for n in Negative) + rb")")
_REFUSAL = re.compile(rb"- ERROR (" + b"|".join(error.name.encode() for error in Error) + rb")")
_STAT = re.compile(rb"STAT ([A-Za-z][A-Za-z0-9_.-]*+) ([!-~][ -~]*+)")


def parse_request(line: bytes) -> Request:
    """Read one line of a client (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    if line in _COMMANDS:
        return _COMMANDS[line]
    spelling = name_of(line).removesuffix(b".")
    if not is_name(spelling):
        raise ProtocolError(Error.BADNAME)
    return Question(spelling, type_of(line))


def parse_reply(line: bytes) -> Reply:
    """Read one line of a server (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    if line in _WORDS:
        return _WORDS[line]
    if found := _REFUSAL.fullmatch(line):
        return Refusal(Error[found[1].decode()])
    if (found := _ANSWER.fullmatch(line)) and is_name(found[1].removesuffix(b".")):
        return Answer(found[1], found[2], Type(found[3]))
    if (found := _NEGATIVE.fullmatch(line)) and is_name(name_of(found[1]).removesuffix(b".")):
        return NoAnswer(Question(name_of(found[1]), type_of(found[1])), Negative(found[2]))
    if found := _STAT.fullmatch(line):
        return Stat(found[1], found[2])
    raise ProtocolError(Error.BADNAME)


def format_message(message: Request | Reply) -> bytes:
    """Write a message as its line, without the LF: the inverse of the two parsers."""
    match message:
        case Command():
            return message.value
        case Word():
            return message.value
        case Question(spelling, type):
            return question_of(spelling, type)
        case Answer(spelling, addresses, type):
            return b"%b %b %b IN" % (spelling, addresses, type.value)
        case NoAnswer(question, why):
            return b"%b - %b" % (format_message(question), why.value)
        case Refusal(code):
            return b"- ERROR %b" % code.name.encode()
        case Stat(key, value):
            return b"STAT %b %b" % (key, value)


def refusal(code: Error) -> bytes:
    """Write the whole line, with its LF, that says what was wrong."""
    return format_message(Refusal(code)) + b"\n"


def negatives(questions: Sequence[bytes], why: Negative) -> bytes:
    """Write a line for each of these questions (at least one), in their spelling, that says why it
    has no answer."""
    end = b" - %b\n" % why.value
    return end.join(questions) + end
