"""The wire of a stream that is to be secured: what a program sends there is records, and no more.

It knows of a record what anybody on the way sees: its type, version and length. Until the program
has been told that the handshake is done, no byte of data may be among them; that is for the other
end to see, which takes them apart (`tests/sim/secure.py`).

Not here: what is in records.
"""

VERSION = 3
ALERT, HANDSHAKE, DATA = 21, 22, 23
TYPES = frozenset({20, ALERT, HANDSHAKE, DATA})
HEAD_BYTES = 5
BODY_BYTES_MAX = 16_384 + 256
_IN_THE_CLEAR = (b"\7example", b".example", b"QUIT")


class Wire:
    """The bytes of a program on one stream; AssertionError for those that may not be there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = bytearray()

    def take(self, data: bytes) -> None:
        """Take what goes out next."""
        self._rest += data
        while len(self._rest) >= HEAD_BYTES:
            kind, version, size = self._rest[0], self._rest[1], int.from_bytes(self._rest[3:5])
            is_record = kind in TYPES and version == VERSION and size <= BODY_BYTES_MAX
            assert is_record, f"records: {self._name}, {bytes(self._rest[:40])!r} is none"
            if len(self._rest) < HEAD_BYTES + size:
                return
            body = bytes(self._rest[HEAD_BYTES : HEAD_BYTES + size])
            del self._rest[: HEAD_BYTES + size]
            clear = [one for one in _IN_THE_CLEAR if one in body]
            assert not clear, f"records: {self._name}, {clear} goes out in the clear"
