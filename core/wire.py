"""The grammar: limits, names, messages, parse and format. Pure; `proto.md` is its specification.

Two kinds of lines travel: *requests* (towards a table server: a name, or a command) and
*replies* (towards the asker). Each kind is read in two ways that must agree:

- a whole chunk of ordinary lines at once, by one pattern (`asked_names`, `answered_names`). The
  patterns use possessive quantifiers, so a match costs one pass however the bytes lie;
- line by line (`parse_request`, `parse_reply`), where something in the chunk is not ordinary.

Everything is bytes. Names are compared by `bytes.lower()`, which knows ASCII only:
`str.lower` would let U+212A KELVIN SIGN match `k` (RFC 4343 folds ASCII, nothing else).

Not here: bytes that are not yet lines (`core/lines.py`), and who owes whom a reply.
"""

import re
from dataclasses import dataclass
from enum import Enum

LINE_BYTES_MAX = 512  # before the LF or CRLF: a name, an address and room for a set of addresses
NAME_BYTES_MAX = 253  # RFC 1035 section 2.3.4: 255 on the wire is 253 in text
LABEL_BYTES_MAX = 63  # RFC 1035 section 2.3.4


class Error(Enum):
    """What can be wrong with a line that somebody sent us. The value is for people."""

    BADNAME = "the line is neither a legal name nor a command"
    TOOLONG = "the line has more than 512 bytes; the rest of it was dropped"
    UNKNOWN = "the command is reserved, and this server does not know it"
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


class Negative(Enum):
    """Replies that name a question and give no address."""

    TIMED_OUT = b"TIMED OUT"


@dataclass(slots=True)
class Question:
    """A request for a name's address. `spelling` is as sent, without a trailing dot."""

    spelling: bytes


@dataclass(slots=True)
class Answer:
    """A reply with an address, in the spelling of the table that it comes from."""

    spelling: bytes
    address: bytes


@dataclass(slots=True)
class NoAnswer:
    """A reply that names its question and says why there is no address."""

    spelling: bytes
    why: Negative


@dataclass(slots=True)
class Refusal:
    """A reply that names no question: something else was wrong."""

    code: Error


@dataclass(slots=True)
class Bye:
    """The last reply on a connection."""


Request = Question | Command
Reply = Answer | NoAnswer | Refusal | Bye

BYE = b"BYE\n"

# Pieces of patterns, for whoever builds one from them. An octet goes by its first digit: no
# alternative is tried twice.
_LABEL = rb"[A-Za-z0-9_-]{1,63}+"
NAME = _LABEL + rb"(?:\." + _LABEL + rb")*+"
_NOT_RESERVED = rb"(?:(?=[^QPS-])|(?!(?:QUIT|PING|STATS|-++)\n))"
_OCTET = rb"(?:[3-9][0-9]?+|1[0-9]{0,2}+|2(?:[0-4][0-9]?+|5[0-5]?+|[6-9])?+|0)"
IPV4 = rb"\.".join([_OCTET] * 4)

# Lines of a chunk that are all ordinary, but for the length of their names.
_QUESTIONS = re.compile(rb"(?:" + _NOT_RESERVED + NAME + rb"\n)++")
_ANSWERS = re.compile(rb"(?:(?!-++ )" + NAME + rb" " + IPV4 + rb" A IN\n)++")

_LEGAL_NAME = re.compile(NAME)
_ONE_ANSWER = re.compile(rb"([^ ]++) (" + IPV4 + rb") A IN")
_ONE_NEGATIVE = re.compile(rb"([^ ]++) - (TIMED OUT)")
_ONE_REFUSAL = re.compile(rb"- ERROR (" + b"|".join(e.name.encode() for e in Error) + rb")")
_COMMANDS = {command.value: command for command in Command}
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")


def is_name(spelling: bytes) -> bool:
    """Whether this is a legal name, its trailing dot already dropped."""
    return (
        len(spelling) <= NAME_BYTES_MAX
        and _LEGAL_NAME.fullmatch(spelling) is not None
        and spelling.strip(b"-") != b""  # `-` stands where a reply names no question
    )


def fold(spelling: bytes) -> bytes:
    """The form in which names are compared and in which they travel to a table server."""
    return spelling.removesuffix(b".").lower()


def parse_request(line: bytes) -> Request:
    """Read one line of an asker (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    command = _COMMANDS.get(line)
    if command is not None:
        return command
    spelling = line.removesuffix(b".")
    if not is_name(spelling):
        raise ProtocolError(Error.BADNAME)
    return Question(spelling)


def parse_reply(line: bytes) -> Reply:
    """Read one line of an answerer (no LF, not empty). Raises ProtocolError."""
    if len(line) > LINE_BYTES_MAX:
        raise ProtocolError(Error.TOOLONG)
    if line == b"BYE":
        return Bye()
    if found := _ONE_REFUSAL.fullmatch(line):
        return Refusal(Error[found[1].decode()])
    found = _ONE_ANSWER.fullmatch(line) or _ONE_NEGATIVE.fullmatch(line)
    if found is None or not is_name(found[1].removesuffix(b".")):
        raise ProtocolError(Error.BADNAME)
    if found.re is _ONE_ANSWER:
        return Answer(found[1], found[2])
    return NoAnswer(found[1], Negative(found[2]))


def format_message(message: Request | Reply) -> bytes:
    """The line of a message, without its LF: the inverse of the two parsers."""
    match message:
        case Command():
            return message.value
        case Question(spelling):
            return spelling
        case Answer(spelling, address):
            return b"%b %b A IN" % (spelling, address)
        case NoAnswer(spelling, why):
            return b"%b - %b" % (spelling, why.value)
        case Refusal(code):
            return b"- ERROR %b" % code.name.encode()
        case Bye():
            return b"BYE"


def refusal(code: Error) -> bytes:
    """The whole line, with its LF, that says what was wrong."""
    return format_message(Refusal(code)) + b"\n"


def split_lines(chunk: bytes) -> list[bytes]:
    """The lines of a chunk that ends with LF, without their LFs."""
    lines = chunk.split(b"\n")
    lines.pop()
    return lines


def asked_names(chunk: bytes) -> list[bytes] | None:
    """The names of a chunk in which every line is a question; None when one line is not.

    A question with a trailing dot is not seen as one here: it has to be read by itself.
    """
    if not _QUESTIONS.fullmatch(chunk):
        return None
    names = split_lines(chunk)
    return names if max(map(len, names)) <= NAME_BYTES_MAX else None


def answered_names(chunk: bytes) -> list[bytes] | None:
    """The folded names of a chunk in which every line is an answer; None when one line is not."""
    if not _ANSWERS.fullmatch(chunk):
        return None
    names = chunk.lower().split()[::4]
    return names if max(map(len, names)) <= NAME_BYTES_MAX else None


def timed_out(spellings: list[bytes]) -> bytes:
    """The lines that say of each of these (at least one) that nothing came in time."""
    return b" - TIMED OUT\n".join(spellings) + b" - TIMED OUT\n"


def printable(text: bytes) -> bytes:
    r"""The text with every byte that is not printable ASCII as `\xNN`."""
    return _UNPRINTABLE.sub(lambda found: b"\\x%02x" % found[0][0], text)
