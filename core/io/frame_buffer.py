"""FrameBuffer: bytes in, whole frames out: messages, each after its length in two bytes.

The length is big-endian and does not count itself (RFC 7766, section 8). It cannot be too long, so
what is held is bounded by what a length can say.

Rules: never rescan, never grow by copying. Frames are handed over as they came; `split_frames`
takes them apart.

Not here: what is in a message.
"""

_LENGTH_BYTES = 2


class FrameBuffer:
    """The bytes of one connection that are not yet a whole frame: see `Framer`."""

    __slots__ = ("_held",)
    unit = "message"
    is_text = False

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_mid_message(self) -> bool:
        return bool(self._held)

    def receive(self, data: bytes) -> bytes:
        """Take one read's bytes; return the frames that they complete."""
        held = self._held
        taken = 0
        while held and taken < len(data):  # twice at most: the length, and then the message
            missing = self._missing()
            held += data[taken : taken + missing]
            taken = min(taken + missing, len(data))
            if len(held) >= _LENGTH_BYTES and not self._missing():
                break
        if held and (len(held) < _LENGTH_BYTES or self._missing()):
            return b""
        first = bytes(held)
        held.clear()
        end = _whole(data, taken)
        held += data[end:]
        return first + data[taken:end]

    def _missing(self) -> int:
        """Count the bytes that the held message still lacks: of its length, or else of itself."""
        held = self._held
        if len(held) < _LENGTH_BYTES:
            return _LENGTH_BYTES - len(held)
        return _LENGTH_BYTES + int.from_bytes(held[:_LENGTH_BYTES]) - len(held)

    def receive_eof(self) -> bool:
        """Take the end of input; return whether it came in the middle of a frame."""
        unfinished = bool(self._held)
        self._held.clear()
        return unfinished


def _whole(data: bytes, start: int) -> int:
    """Find the end of the last whole frame, from `start` on."""
    size = len(data)
    while start + _LENGTH_BYTES <= size:
        end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES])
        if end > size:
            break
        start = end
    return start


def split_frames(frames: bytes) -> list[bytes]:
    """Take whole frames apart: return their messages, without the lengths."""
    messages = []
    start = 0
    while start < len(frames):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(frames[start:begin])
        messages.append(frames[begin:start])
    return messages


def frame(message: bytes) -> bytes:
    """Put the length before a message. Raises OverflowError: it has more than 65,535 bytes."""
    return len(message).to_bytes(_LENGTH_BYTES) + message
