"""Framer: the contract of a buffer that takes one stream apart, and which buffer does that.

Bytes come in as the network cuts them; whole messages come out, as one chunk for each read.

Not here: the two buffers (`core/io/line_buffer.py`, `core/io/frame_buffer.py`), and when a message
has taken too long (`core/io/stream.py`).
"""

from typing import Protocol

from core.framing import Framing
from core.io.frame_buffer import FrameBuffer
from core.io.line_buffer import LineBuffer


class Framer(Protocol):
    """The bytes of one connection that are not yet a whole message."""

    @property
    def unit(self) -> str:
        """The name of one message in a report."""
        ...

    @property
    def is_text(self) -> bool:
        """Whether messages are lines, which the wire log can show."""
        ...

    @property
    def is_mid_message(self) -> bool:
        """Whether bytes of an unfinished message are being waited for."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take one read's bytes; return the messages that they complete, framed as they came."""
        ...

    def receive_eof(self) -> bool:
        """Take the end of input; return whether it came in the middle of a message."""
        ...


def make_framer(framing: Framing, line_bytes_max: int) -> Framer:
    """Make the buffer of a new stream; lines may have so many bytes."""
    return LineBuffer(line_bytes_max) if framing is Framing.LINES else FrameBuffer()
