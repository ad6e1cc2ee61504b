"""The grammar: limits, names, messages, parse and format. Pure; `proto.md` is its specification.

Two kinds of lines travel: *requests* (towards a table server: a question, or a command) and
*replies* (towards the asker). Each kind is read in two ways that must agree:

- a whole chunk of ordinary lines at once, by one pattern (`asked_in`, `answered_in`,
  `replied_in`); quantifiers of what is simple are possessive, so a match costs one pass however
  bytes lie;
- line by line (`parse_request`, `parse_reply`), where something in the chunk is not ordinary.

A question is a name and a type of address, and is written as the name alone (type A) or as
`name AAAA`. *Folded* it is what questions are compared by, what they travel as to a table
server, and the key of every dictionary: the name in lower case, without its trailing dot.

Everything is bytes. Names are folded by `bytes.lower()`, which knows ASCII only: `str.lower`
would let U+212A KELVIN SIGN match `k` (RFC 4343 folds ASCII, nothing else).

Not here: bytes that are not yet lines (`core/io/line_buffer.py`), and who owes whom a reply.
"""

import re
import sys
from dataclasses import dataclass
from enum import Enum

LINE_BYTES_MAX = 512  # before the LF or CRLF: a name, an address and room for a set of addresses
NAME_BYTES_MAX = 253  # RFC 1035 section 2.3.4: 255 on the wire is 253 in text
LABEL_BYTES_MAX = 63  # RFC 1035 section 2.3.4


class Error(Enum):
    """What can be wrong with a line that somebody sent us. The value is for people."""

    BADNAME = "the line is neither a legal question nor a command"
    TOOLONG = "the line has more than 512 bytes; the rest of it was dropped"
    TOOMANY = "STATS was asked for too often in one read; ask again later"
    UNFINISHED = "the input ended in the middle of a line; a cut name is not asked"
    BUSY = "the server has as many clients as it can take; this one is closed"


class ProtocolError(ValueError):
    """A line that is no message. `code` says what is wrong with it."""

    def __init__(self, code: Error) -> None:
        super().__init__(code.value)
        self.code = code


class Command(Enum):
    """Requests that are not names, in exactly this spelling."""

    QUIT = b"QUIT"
    PING = b"PING"
    STATS = b"STATS"


class Type(Enum):
    """What kind of address is asked for (RFC 1035 section 3.4.1, RFC 3596)."""

    A = b"A"
    AAAA = b"AAAA"


class Negative(Enum):
    """Replies that name a question and give no address."""

    TIMED_OUT = b"TIMED OUT"
    NOT_FOUND = b"NOT FOUND"
    NO_DATA = b"NO DATA"
    NAMES_BELOW = b"NAMES BELOW"
    FAILED = b"FAILED"


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
class Bye:
    """The last reply on a connection."""


@dataclass(slots=True)
class Pong:
    """The reply to PING."""


@dataclass(slots=True)
class Stat:
    """One line of the reply to STATS: what is counted, and how much."""

    key: bytes
    value: bytes


@dataclass(slots=True)
class End:
    """The last line of the reply to STATS."""


Request = Question | Command
Reply = Answer | NoAnswer | Refusal | Bye | Pong | Stat | End

BYE = b"BYE\n"
PONG = b"PONG\n"

# Pieces of patterns, for whoever builds one from them. What a quantifier repeats can be matched in
# one way only, so it may give back or not: possessive ones, which do not, are a fifth faster. But
# before 3.11.5 Python gets them wrong, unless they repeat one character (cpython issue 106052).
POSSESSIVE = b"+" if sys.version_info >= (3, 11, 5) else b""
_LABEL = rb"[A-Za-z0-9_-]{1,63}+"
NAME = _LABEL + rb"(?:\." + _LABEL + rb")*" + POSSESSIVE
_TYPED = rb"(?: AAAA)?" + POSSESSIVE
_NOT_RESERVED = rb"(?!(?:QUIT|PING|STATS|-++(?: AAAA)?)\n)"
_OCTET = rb"(?:[3-9][0-9]?+|1[0-9]{0,2}+|2(?:[0-4][0-9]?+|5[0-5]?+|[6-9])?%b|0)" % POSSESSIVE
IPV4 = rb"\.".join([_OCTET] * 4)


def _ipv6() -> bytes:
    """The pattern of RFC 3986 section 3.2.2: what may stand before, and after, a `::`."""
    group = rb"[0-9A-Fa-f]{1,4}+"
    last_two = rb"(?:%b:%b|%b)" % (group, group, IPV4)
    ways = [rb"(?:%b:){6}%b" % (group, last_two)]
    for after in (5, 4, 3, 2, 1, 0):
        before = rb"(?:(?:%b:){0,%d}%b)?" % (group, 4 - after, group) if after < 5 else b""
        ways.append(rb"%b::(?:%b:){%d}%b" % (before, group, after, last_two))
    ways.append(rb"(?:(?:%b:){0,5}%b)?::%b" % (group, group, group))
    ways.append(rb"(?:(?:%b:){0,6}%b)?::" % (group, group))
    return rb"(?:" + b"|".join(ways) + rb")"


IPV6 = _ipv6()
_ADDRESSES = rb"(?:%b(?:,%b)*%b A|%b(?:,%b)*%b AAAA)" % (
    IPV4, IPV4, POSSESSIVE, IPV6, IPV6, POSSESSIVE
)  # fmt: skip
_ANSWER = rb"(?!-++ )" + NAME + rb" " + _ADDRESSES + rb" IN\n"
_NEGATIVE = rb"(?!-++ )" + NAME + _TYPED + rb" - N(?:OT FOUND|O DATA|AMES BELOW)\n"

# Lines of a chunk that are all ordinary, but for the length of their names.
_QUESTIONS = re.compile(rb"(?:" + _NOT_RESERVED + NAME + rb"(?:\n| AAAA\n))+" + POSSESSIVE)
_ANSWERS = re.compile(rb"(?:" + _ANSWER + rb")+" + POSSESSIVE)
_REPLIES = re.compile(rb"(?:" + _ANSWER + rb"|" + _NEGATIVE + rb")+" + POSSESSIVE)

_LEGAL_NAME = re.compile(NAME)
_ONE_ANSWER = re.compile(rb"([^ ]++) (?=" + _ADDRESSES + rb" IN\Z)([^ ]++) (A|AAAA) IN")
_ONE_NEGATIVE = re.compile(
    rb"([^ ]++)( AAAA)? - (" + b"|".join(negative.value for negative in Negative) + rb")"
)
_ONE_REFUSAL = re.compile(rb"- ERROR (" + b"|".join(e.name.encode() for e in Error) + rb")")
_ONE_STAT = re.compile(rb"STAT ([A-Za-z0-9_.]++) ([A-Za-z0-9_.+-]++)")
_WORDS: dict[bytes, type[Bye | Pong | End]] = {b"BYE": Bye, b"PONG": Pong, b"END": End}
_COMMANDS = {command.value: command for command in Command}


def is_name(spelling: bytes) -> bool:
    """Whether this is a legal name, its trailing dot already dropped."""
    return (
        len(spelling) <= NAME_BYTES_MAX
        and _LEGAL_NAME.fullmatch(spelling) is not None
        and spelling.strip(b"-") != b""  # `-` stands where a reply names no question
    )


def fold(spelling: bytes, kind: Type = Type.A) -> bytes:
    """A question folded, from its name and type."""
    name = spelling.removesuffix(b".").lower()
    return name if kind is Type.A else name + b" AAAA"


def fold_lines(questions: bytes) -> bytes:
    """A chunk of questions without trailing dots, each ended by LF: all of them folded."""
    folded = questions.lower()
    return folded.replace(b" aaaa\n", b" AAAA\n") if b" " in folded else folded


def parse_request(line: bytes) -> Request:
    """Read one line of an asker (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    command = _COMMANDS.get(line)
    if command is not None:
        return command
    name = line.removesuffix(b" AAAA")
    spelling = name.removesuffix(b".")
    if not is_name(spelling):
        raise ProtocolError(Error.BADNAME)
    return Question(spelling, Type.A if name == line else Type.AAAA)


def parse_reply(line: bytes) -> Reply:
    """Read one line of an answerer (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    if line in _WORDS:
        return _WORDS[line]()
    if found := _ONE_REFUSAL.fullmatch(line):
        return Refusal(Error[found[1].decode()])
    if found := _ONE_STAT.fullmatch(line):
        return Stat(found[1], found[2])
    found = _ONE_ANSWER.fullmatch(line) or _ONE_NEGATIVE.fullmatch(line)
    if found is None or not is_name(found[1].removesuffix(b".")):
        raise ProtocolError(Error.BADNAME)
    if found.re is _ONE_ANSWER:
        return Answer(found[1], found[2], Type(found[3]))
    kind = Type.AAAA if found[2] else Type.A
    return NoAnswer(Question(found[1], kind), Negative(found[3]))


def format_message(message: Request | Reply) -> bytes:
    """The line of a message, without its LF: the inverse of the two parsers."""
    match message:
        case Command():
            return message.value
        case Question(spelling, kind):
            return spelling if kind is Type.A else spelling + b" AAAA"
        case Answer(spelling, addresses, kind):
            return b"%b %b %b IN" % (spelling, addresses, kind.value)
        case NoAnswer(question, why):
            return b"%b - %b" % (format_message(question), why.value)
        case Refusal(code):
            return b"- ERROR %b" % code.name.encode()
        case Stat(key, value):
            return b"STAT %b %b" % (key, value)
        case Bye() | Pong() | End():
            return next(word for word, kind in _WORDS.items() if isinstance(message, kind))


def refusal(code: Error) -> bytes:
    """The whole line, with its LF, that says what was wrong."""
    return format_message(Refusal(code)) + b"\n"


def split_lines(chunk: bytes) -> list[bytes]:
    """The lines of a chunk that ends with LF, without their LFs."""
    lines = chunk.split(b"\n")
    lines.pop()
    return lines


def asked_in(chunk: bytes) -> list[bytes] | None:
    """The questions of a chunk in which every line is one; None when one line is not.

    One with a trailing dot, or with a type behind a very long name, has to be read by itself.
    """
    if not _QUESTIONS.fullmatch(chunk):
        return None
    questions = split_lines(chunk)
    return questions if max(map(len, questions)) <= NAME_BYTES_MAX else None


def answered_in(chunk: bytes) -> list[bytes] | None:
    """The folded questions that a chunk answers; None when one of its lines is no answer."""
    if not _ANSWERS.fullmatch(chunk) or not _fit(chunk):
        return None
    fields = chunk.lower().split()
    names = fields[::4]
    if max(map(len, names)) > NAME_BYTES_MAX:
        return None
    if b":" not in chunk:  # no IPv6 address is without one, and nothing else has one
        return names
    return [
        name if kind == b"a" else name + b" AAAA"
        for name, kind in zip(names, fields[2::4], strict=True)
    ]


def _fit(replies: bytes) -> bool:
    """Whether no reply is too long a line: only one with a set of addresses can be."""
    return b"," not in replies or max(map(len, split_lines(replies))) <= LINE_BYTES_MAX


@dataclass(slots=True)
class ReplyBatch:
    """What a chunk of answers and negatives says. `questions` and `lines` of answers: parallel."""

    questions: list[bytes]  # folded, as are all here
    lines: bytes  # that answer them, each ended by LF
    not_found: list[bytes]
    no_data: list[bytes]
    names_below: list[bytes]


def replied_in(chunk: bytes) -> ReplyBatch | None:
    """Sort a chunk in which every line is an answer or a negative of a TS; else None."""
    if not _REPLIES.fullmatch(chunk) or not _fit(chunk):
        return None
    lines = split_lines(chunk)
    answers = [line + b"\n" for line in lines if line.endswith(b" IN")]
    whole = b"".join(answers)
    questions = answered_in(whole) if answers else []
    not_found = _repeated(lines, b" - NOT FOUND")
    no_data = _repeated(lines, b" - NO DATA")
    names_below = _repeated(lines, b" - NAMES BELOW")
    longest = max(map(len, [*not_found, *no_data, *names_below]), default=0)
    if questions is None or longest > NAME_BYTES_MAX:
        return None
    return ReplyBatch(questions, whole, not_found, no_data, names_below)


def _repeated(lines: list[bytes], end: bytes) -> list[bytes]:
    """The questions, folded, of the lines that end so."""
    said = [line.removesuffix(end) for line in lines if line.endswith(end)]
    return split_lines(fold_lines(b"\n".join(said) + b"\n")) if said else []


def negatives(questions: list[bytes], why: Negative) -> bytes:
    """The lines that say so of each of these questions (at least one), in this spelling."""
    end = b" - %b\n" % why.value
    return end.join(questions) + end
