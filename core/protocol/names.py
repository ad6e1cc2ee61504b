"""Names: the limits, words, names and addresses of the grammar, and a question as bytes.

A question is a name and a type of address. It is written as the name alone (type A) or as
`name AAAA`. *Folded*, with the name in lower case and without its trailing dot, it is what
questions are compared by, what travels to a table server, and the key of every dictionary. Only
this module puts a question together from name and type, and takes it apart.

Everything is bytes. Names are folded by `bytes.lower()`, which knows ASCII only: `str.lower`
would let U+212A KELVIN SIGN match `k` (RFC 4343 folds ASCII, nothing else).

Not here: lines (`core/protocol/messages.py`), and many lines at once (`core/protocol/batches.py`).
"""

import re
import sys
from collections.abc import Container, Iterable
from enum import Enum

LINE_BYTES_MAX = 512  # before the LF or CRLF: a name, an address and room for a set of addresses
NAME_BYTES_MAX = 253  # RFC 1035 section 2.3.4: 255 on the wire is 253 in text
LABEL_BYTES_MAX = 63  # RFC 1035 section 2.3.4


class Error(Enum):
    """Reasons why a line, or a client, is refused. The value is for people."""

    BADNAME = "the line is neither a legal question nor a command"
    TOOLONG = "the line has more than 512 bytes; the rest of it was dropped"
    TOOMANY = "STATS was asked for too often in one read; ask again later"
    UNFINISHED = "the input ended in the middle of a line; a cut name is not asked"
    BUSY = "the server has as many clients as it can take; this one is closed"


class Command(Enum):
    """Requests that are not names, in exactly this spelling."""

    QUIT = b"QUIT"
    PING = b"PING"
    STATS = b"STATS"


class Word(Enum):
    """Replies of one word."""

    BYE = b"BYE"  # the last reply on a connection
    PONG = b"PONG"  # the reply to PING
    END = b"END"  # the last line of the reply to STATS


class Type(Enum):
    """Types of address that can be asked for (RFC 1035 section 3.4.1, RFC 3596)."""

    A = b"A"
    AAAA = b"AAAA"


class Negative(Enum):
    """Replies that name a question and give no address."""

    TIMED_OUT = b"TIMED OUT"
    NOT_FOUND = b"NOT FOUND"
    NO_DATA = b"NO DATA"
    NAMES_BELOW = b"NAMES BELOW"
    BLOCKED = b"BLOCKED"
    FAILED = b"FAILED"


# -- patterns --------------------------------------------------------------------------------------

# Everything that is repeated below can be matched in one way only. Possessive quantifiers, which
# never give anything back, find the same then, a fifth faster. But before 3.11.5 Python gets them
# wrong, unless they repeat one character (cpython issue 106052).
POSSESSIVE = b"+" if sys.version_info >= (3, 11, 5) else b""
_LABEL = rb"[A-Za-z0-9_-]{1,%d}+" % LABEL_BYTES_MAX
NAME = _LABEL + rb"(?:\." + _LABEL + rb")*" + POSSESSIVE
_OCTET = rb"(?:[3-9][0-9]?+|1[0-9]{0,2}+|2(?:[0-4][0-9]?+|5[0-5]?+|[6-9])?%b|0)" % POSSESSIVE
IPV4 = rb"\.".join([_OCTET] * 4)


def _ipv6() -> bytes:
    """Build the pattern of RFC 3986 section 3.2.2: what may stand before, and after, a `::`."""
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
ADDRESSES_AND_TYPE = rb"(?:%b(?:,%b)*%b A|%b(?:,%b)*%b AAAA)" % (
    IPV4, IPV4, POSSESSIVE, IPV6, IPV6, POSSESSIVE
)  # fmt: skip
_LEGAL_NAME = re.compile(NAME)
_NOT_RESERVED = rb"(?!(?:QUIT|PING|STATS|-++(?: AAAA)?)\n)"
_ANSWER = rb"(?!-++ )" + NAME + rb" " + ADDRESSES_AND_TYPE + rb" IN\n"
_DENIAL = rb" - (?:N(?:OT FOUND|O DATA|AMES BELOW)|BLOCKED)\n"
_NEGATIVE = rb"(?!-++ )%b(?: AAAA)?%b%b" % (NAME, POSSESSIVE, _DENIAL)
# Chunks of lines that are all ordinary, but for the length of their names.
QUESTIONS = re.compile(rb"(?:" + _NOT_RESERVED + NAME + rb"(?:\n| AAAA\n))+" + POSSESSIVE)
ANSWERS = re.compile(rb"(?:" + _ANSWER + rb")+" + POSSESSIVE)
REPLIES = re.compile(rb"(?:" + _ANSWER + rb"|" + _NEGATIVE + rb")+" + POSSESSIVE)


def is_name(spelling: bytes) -> bool:
    """Return whether this is a legal name, its trailing dot already dropped."""
    return (
        len(spelling) <= NAME_BYTES_MAX
        and _LEGAL_NAME.fullmatch(spelling) is not None
        and spelling.strip(b"-") != b""  # `-` stands where a reply names no question
    )


# -- questions -------------------------------------------------------------------------------------

_TYPED = b" AAAA"


def question_of(name: bytes, type: Type) -> bytes:
    """Put a question together, in the spelling of its name."""
    return name if type is Type.A else name + _TYPED


def questions_of(names: Iterable[bytes], types: Iterable[bytes]) -> list[bytes]:
    """Put many questions together; the types are A and AAAA in any case of letters."""
    return [
        name if type in b"Aa" else name + _TYPED for name, type in zip(names, types, strict=True)
    ]


def name_of(question: bytes) -> bytes:
    """Return the name that a question asks about."""
    return question.removesuffix(_TYPED)


def type_of(question: bytes) -> Type:
    """Return the type that a question asks for."""
    return Type.AAAA if question.endswith(_TYPED) else Type.A


def other_type(question: bytes) -> bytes:
    """Return the question for the same name's addresses of the other type."""
    return question.removesuffix(_TYPED) if question.endswith(_TYPED) else question + _TYPED


def fold(spelling: bytes, type: Type = Type.A) -> bytes:
    """Fold a question, from its name and type."""
    return question_of(spelling.removesuffix(b".").lower(), type)


def fold_lines(questions: bytes) -> bytes:
    """Fold a chunk of questions without trailing dots, each ended by LF."""
    folded = questions.lower()
    return folded.replace(b" aaaa\n", b" AAAA\n") if b" " in folded else folded


def nearest(question: bytes, names: Container[bytes]) -> bytes | None:
    """Return the longest of these names that the name of a question is, or is below; None if it is
    below none. The question may be one that only DNS can ask, with anything behind its name."""
    name = question.partition(b" ")[0]
    while name:
        if name in names:
            return name
        name = name.partition(b".")[2]
    return None
