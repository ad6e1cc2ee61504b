"""Records for the addresses of an answer, ready made, in another order for each reply.

Not here: the reply that they are put into (`nodes/dns/query.py`).
"""

from ipaddress import IPv4Address, IPv6Address

from nodes.dns.codes import RECORD, RdataClass, RdataType

# The name of every record is a pointer to that of the question.
QUESTION_POINTER = b"\xc0\x0c"


class RecordSet:
    """The records of a set of addresses, so many as `count`, rotated by one from reply to reply."""

    __slots__ = ("_at", "_record_bytes", "_size", "_twice", "count")

    def __init__(self, addresses: bytes, ttl_s: int) -> None:
        """Make the records of addresses as an answer has them: text, separated by commas.

        All are of one family. An address that stands there twice, however it is written, is one
        record (RFC 2181, section 5).
        """
        is_ipv6 = b":" in addresses
        make = IPv6Address if is_ipv6 else IPv4Address
        texts = addresses.decode("ascii").split(",")
        packed = list(dict.fromkeys([make(text).packed for text in texts]))
        rdtype = RdataType.AAAA if is_ipv6 else RdataType.A
        size = len(packed[0])
        head = QUESTION_POINTER + RECORD.pack(rdtype, RdataClass.IN, ttl_s, size)
        records = b"".join([head + address for address in packed])
        self._record_bytes = len(head) + size
        self._size = len(records)
        # Every order is a piece of this. Each order by itself would be as many times the memory
        # as there are addresses, for each of the sets that are remembered.
        self._twice = records * 2 if len(packed) > 1 else records
        self._at = 0
        self.count = len(packed)

    def rotate(self) -> bytes:
        """Return all records, beginning with the second of the last time."""
        at, size = self._at, self._size
        after = at + self._record_bytes
        self._at = after if after < size else 0
        return self._twice[at : at + size]
