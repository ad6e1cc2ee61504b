"""Codes and formats of DNS messages, by their standard names (RFC 1035, section 4; RFC 6891).

Everything in nodes/dns/ is "after the ID": a message is read, and made, without its first two
bytes, which differ from query to query, and which pointers count all the same.

Flags are plain integers: each `&` with a member of an `IntFlag` would be a call in Python.

Not here: names (`nodes/dns/wire_names.py`), and what a message says (`nodes/dns/query.py`,
`nodes/dns/reply.py`).
"""

from enum import IntEnum
from struct import Struct

ID_BYTES = 2
HEADER = Struct(">5H")  # flags, and the counts of the four sections
TYPE_AND_CLASS = Struct(">HH")  # of a question, after its name
RECORD = Struct(">HHIH")  # type, class, TTL and length of data, after the name
OPTION = Struct(">HH")  # code and length of an option in an OPT record (RFC 6891, section 6.1.2)

MESSAGE_BYTES_MAX = 65_535  # of a stream, where each message stands after its length
UDP_BYTES_MAX = 1_232  # of a datagram: fits into every path's packets (DNS flag day 2020)
UDP_BYTES_PLAIN = 512  # of a datagram without EDNS (RFC 1035, section 4.2.1)


class Flag:
    """Bits in the header (RFC 1035, section 4.1.1)."""

    QR = 0x8000  # a reply
    AA = 0x0400  # from whoever is responsible for the name
    TC = 0x0200  # cut to the size of a datagram
    RD = 0x0100  # recursion is desired
    RA = 0x0080  # recursion is available
    AD = 0x0020  # authentic; in a query: say whether it is (RFC 6840, section 5.7)
    CD = 0x0010  # need not be authentic (RFC 4035, section 3.2.2)


OPCODE_MASK = 0x7800  # in the flags; 0 is a query
RCODE_MASK = 0x000F  # in the flags; an OPT record has the upper bits of an extended code
EDNS_DO = 0x8000  # in the TTL of an OPT record: with signatures (RFC 3225)


class Rcode(IntEnum):
    """Codes of replies (RFC 1035, section 4.1.1; RFC 6891, section 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class RdataType(IntEnum):
    """Types of records and questions (RFC 1035, section 3.2.2; RFC 3596; RFC 6891)."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    AAAA = 28
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class RdataClass(IntEnum):
    """The class of all records but those that mean something else by it (RFC 1035, 3.2.4)."""

    IN = 1


class OptionCode(IntEnum):
    """Options of an OPT record."""

    NSID = 3  # RFC 5001
    COOKIE = 10  # RFC 7873
    KEEPALIVE = 11  # how long a stream may idle (RFC 7828)
    PADDING = 12  # RFC 7830
    EDE = 15  # an extended error (RFC 8914)


BOGUS = range(6, 13)  # extended errors by which a validator says: forged or broken


class ExtendedError(IntEnum):
    """Codes of extended errors (RFC 8914, section 4)."""

    STALE_ANSWER = 3
    CACHED_ERROR = 13
    BLOCKED = 15
    NO_REACHABLE_AUTHORITY = 22


def extended_error(code: ExtendedError) -> bytes:
    """Return the option that says so, without a text."""
    return OPTION.pack(OptionCode.EDE, 2) + code.to_bytes(2)
