"""DNS clients of LS, for tests: queries made by hand, and replies taken apart.

Not here: messages of resolvers (`dns_messages.py`).
"""

import struct
from ipaddress import IPv4Address, IPv6Address

A, AAAA = 1, 28


def query(number: int, name: bytes, kind: int = A, edns: bytes = b"") -> bytes:
    """Write a query with this ID."""
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, bool(edns))
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    return head + labels + struct.pack(">xHH", kind, 1) + edns


class Reply:
    """A reply, as far as it is looked at."""

    def __init__(self, data: bytes) -> None:
        self.number, flags, _, count, _, self.additional = struct.unpack_from(">6H", data)
        assert flags & 0x8000
        self.code, self.is_cut = flags & 15, bool(flags & 0x0200)
        at = 12
        spelled = []
        while size := data[at]:
            spelled.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        self.name = b".".join(spelled)
        at += 5
        self.addresses = []
        for _ in range(count):
            kind, _, _, size = struct.unpack_from(">HHIH", data, at + 2)
            packed = data[at + 12 : at + 12 + size]
            if kind in (A, AAAA):
                make = IPv4Address if kind == A else IPv6Address
                self.addresses.append(str(make(packed)))
            at += 12 + size
        self.rest = data[at:]
