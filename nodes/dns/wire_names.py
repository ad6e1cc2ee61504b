"""Pieces of a DNS message that queries and replies have in common (RFC 1035, RFC 6891).

Everything is "after the ID": a message is read, and made, without its first two bytes, which
pointers count all the same.

Not here: what a query asks (`nodes/dns/query.py`), and what a reply says (`nodes/dns/reply.py`).
"""

from struct import Struct

ID_BYTES = 2
HEADER = Struct(">5H")  # flags, and the counts of the four sections
RECORD = Struct(">HHIH")  # type, class, TTL, length: after the name
TWO = Struct(">HH")  # type and class of a question; code and length of an option
NAME_BYTES_MAX = 255  # on the wire (section 2.3.4)
LABEL_BYTES_MAX = 63
POINTER = 0xC0  # from here on a length is none, but half a pointer (section 4.1.4)
TO_QUESTION = b"\xc0\x0c"  # a pointer to the question's name
QR, OPCODE, TC = 0x8000, 0x7800, 0x0200
IN = 1
A, NS, CNAME, SOA, AAAA, OPT, ANY = 1, 2, 5, 6, 28, 41, 255


class Malformed(ValueError):
    """A message that says more, or less, than it can."""


def after_name(data: bytes, at: int) -> int:
    """Return where a name ends, without reading it. A pointer ends it, and is not followed; so that
    none can lead round, it has to point to what stands before the name (section 4.1.4). Raises
    Malformed."""
    start = at
    last = min(len(data), at + NAME_BYTES_MAX)
    while at < last:
        size = data[at]
        at += 1
        if not size:
            return at
        if size > LABEL_BYTES_MAX:
            if size >= POINTER and at < len(data):
                where = (size & 0x3F) << 8 | data[at]
                if ID_BYTES + HEADER.size <= where < ID_BYTES + start:
                    return at + 1
            break
        at += size
    raise Malformed
