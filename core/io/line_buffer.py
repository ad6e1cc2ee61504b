"""LineBuffer: bytes in, whole lines out.

Lines come out as one chunk of bytes per read, each ended by exactly one LF: the reader checks and
splits it at C speed. Only LF ends a line (never `splitlines`, which also cuts at a lone CR); one CR
before it is dropped; at most one line is held back; no byte is searched twice. A line is handed
over cut, one byte over the limit, as soon as it cannot be legal any more, and the rest of it is
dropped however long it is: the reader needs to know its length only.

Not here: what a line means, and when a line has taken too long (`core/io/stream.py`).
"""


class LineBuffer:
    """The bytes of one connection that are not yet a whole line, of `line_bytes_max` at most."""

    __slots__ = ("_dropping", "_held", "_line_bytes_max", "is_mid_message")
    unit = "line"
    is_text = True

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._held = bytearray()
        self._dropping = False  # inside the rest of a line that has been handed over cut
        self.is_mid_message = False  # whether bytes of an unfinished line are being waited for

    @property
    def held_bytes(self) -> int:
        """Return how many bytes of an unfinished line are kept."""
        return len(self._held)

    def receive(self, data: bytes) -> bytes:
        """Take one read's bytes; return the lines that it completed, each ended by LF."""
        end = data.rfind(b"\n") + 1
        self.is_mid_message = end < len(data)
        if not end:
            return self._hold(data)
        whole, rest = data[:end], data[end:]
        if self._dropping:
            self._dropping = False
            whole = whole[whole.index(b"\n") + 1 :]
        elif self._held:
            whole = bytes(self._held) + whole
            self._held.clear()
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n")
        return whole + self._hold(rest) if rest else whole

    def receive_eof(self) -> bool:
        """Take the end; return whether it came in the middle of a line that was not yet cut."""
        unfinished = bool(self._held)
        self._held.clear()
        self._dropping = self.is_mid_message = False
        return unfinished

    def _hold(self, data: bytes) -> bytes:
        """Keep the beginning of a line, or hand it over cut when it is too long already."""
        if self._dropping:
            return b""
        held = self._held
        held += data[: self._line_bytes_max + 2 - len(held)]
        # A byte over the limit may be the CR of a legal line's CRLF: what follows decides.
        if len(held) <= self._line_bytes_max or (
            len(held) == self._line_bytes_max + 1 and held.endswith(b"\r")
        ):
            return b""
        cut = bytes(held[: self._line_bytes_max + 1]) + b"\n"
        held.clear()
        self._dropping = True
        return cut
