"""Records of a reply that was read, by where they stand in its body (RFC 1035, section 4.1.3).

Not here: what they say of a question (`reply.py`).
"""

from collections.abc import Iterator

from nodes.dns.codes import RECORD

_TTL_AT = 4  # after the name, the type and the class
_POINTER = 0xC0  # from here on a length is half a pointer

# The type of a record, where its TTL and its data stand, and how long the data is.
RecordPlace = tuple[int, int, int, int]


def places(body: bytes, count: int) -> Iterator[RecordPlace]:
    """Yield the places of the first records of a well-formed body."""
    at = 0
    for _ in range(count):
        while 0 < (size := body[at]) < _POINTER:
            at += size + 1
        at += 2 if size else 1
        rdtype, _, _, size = RECORD.unpack_from(body, at)
        yield rdtype, at + _TTL_AT, at + RECORD.size, size
        at += RECORD.size + size
