"""Questions and replies of resolvers, for tests: messages taken apart and made by hand.

A second way to read and write DNS beside the sources', short because it knows only what tests say.
A question is written as the race has it: `x.example`, `x.example AAAA`, `x.example TYPE15 +do`.

Not here: programs that are resolvers (`tests/tools/test_resolver_tools.py`).
"""

import ipaddress
import struct

CODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "OPT": 41,
         "ANY": 255}  # fmt: skip
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
DO = 0x8000
BOGUS = b"\0\x0f\0\2\0\6"  # the option that says so (RFC 8914)


def name(text: str) -> bytes:
    """Write a name as it travels."""
    labels = [label.encode() for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner: bytes, kind: str, data: bytes, ttl_s: int = 60) -> bytes:
    """Write a record in class IN."""
    return owner + struct.pack(">HHIH", TYPES[kind], 1, ttl_s, len(data)) + data


def opt(options: bytes = b"", *, size: int = 1232, high: int = 0, flags: int = 0) -> bytes:
    """Write an OPT record."""
    return b"\0" + struct.pack(">HHBBHH", 41, size, high, 0, flags, len(options)) + options


def option(code: int, data: bytes) -> bytes:
    """Write an option of an OPT record."""
    return struct.pack(">HH", code, len(data)) + data


TO_QUESTION = b"\xc0\x0c"


def address(text: str) -> bytes:
    """Write an address as it travels."""
    return ipaddress.ip_address(text).packed


def section_of(message: bytes) -> bytes:
    """Return the question section of a message with one question."""
    at = 12
    while message[at]:
        at += message[at] + 1
    return message[12 : at + 5]


def question_of(message: bytes) -> str:
    """Return what a query asks, as the race has it."""
    flags, _, _, _, additionals = struct.unpack_from(">5H", message, 2)
    section = section_of(message)
    labels, at = [], 0
    while section[at]:
        labels.append(section[at + 1 : at + 1 + section[at]].decode())
        at += section[at] + 1
    kind = int.from_bytes(section[-4:-2])
    rest = message[12 + len(section) :]
    assert rest[:3] == (b"\0\0\x29" if additionals else b"") and additionals < 2
    has_do = bool(additionals and rest[7] & 0x80)
    bits = (("+ad", flags & AD), ("+cd", flags & CD), ("+do", has_do))
    marks = "".join(mark for mark, is_set in bits if is_set)
    marks += "" if flags & RD else "-rd"
    text = ".".join(labels) or "."
    if not marks and kind in (1, 28):
        return text if kind == 1 else f"{text} AAAA"
    return f"{text} TYPE{kind}{' ' if marks else ''}{marks}"


def has_opt(query: bytes) -> bool:
    """Return whether a query of LS's has an OPT record."""
    return query[10:12] != b"\0\0"


def without_opt(message: bytes) -> bytes:
    """Return what ends with an empty OPT record, without it."""
    assert message.endswith(b"\0\0\0\0\0\0") and message[-11:-8] == b"\0\0\x29"
    return message[:11] + bytes([message[11] - 1]) + message[12:-11]


def bare(query: bytes, code: str, flags: int = RD) -> bytes:
    """Write an error that is a header and nothing else."""
    return query[:2] + struct.pack(">5H", QR | flags | CODES[code], 0, 0, 0, 0)


def malformed(message: bytes) -> bytes:
    """Write a reply of which a record is missing, and a byte stands there instead."""
    return message[:11] + bytes([message[11] + 1]) + message[12:] + b"!"


def reply(
    query: bytes,
    code: str = "NOERROR",
    *,
    answers: tuple[bytes, ...] = (),
    authorities: tuple[bytes, ...] = (),
    additionals: tuple[bytes, ...] = (opt(),),
    flags: int = RD | RA,
    section: bytes | None = None,
) -> bytes:
    """Write a reply to a query, made of these records."""
    records = [*answers, *authorities, *additionals]
    head = struct.pack(
        ">5H", QR | flags | CODES[code], 1, len(answers), len(authorities), len(additionals)
    )
    return query[:2] + head + (section or section_of(query)) + b"".join(records)


def said(query: bytes, text: str) -> bytes:
    """Write a reply in words: a code, TC, REFERRAL, BOGUS, or addresses separated by commas; `bare`
    before a code has the header only."""
    if text.startswith("bare "):
        return bare(query, text.removeprefix("bare "))
    if text == "TC":
        return reply(query, flags=TC | RD | RA)
    if text == "REFERRAL":
        return reply(query, authorities=(record(TO_QUESTION, "NS", name("ns.test")),), flags=RD)
    if text == "BOGUS":
        return reply(query, "SERVFAIL", additionals=(opt(BOGUS),))
    if text in CODES:
        return reply(query, text)
    records = []
    for one in text.split(","):
        packed = address(one)
        records.append(record(TO_QUESTION, "A" if len(packed) == 4 else "AAAA", packed))
    return reply(query, answers=tuple(records))
