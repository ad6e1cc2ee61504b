"""Text: the lines of a chunk, bytes made printable, and how to tell that a file is no text.

Tables, lists of names and records of races are ASCII, in lines. A file that was saved in another
encoding, packed, or is no text at all, would be thousands of bad lines; it deserves one sentence
instead. It is recognised by its first bytes, or by the share of control characters in its
beginning: text has hardly any. A few odd bytes are left to the reader of the lines.

Not here: what a line means.
"""

import re

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8; it is dropped
BEGINNING_BYTES = 512  # needed of a file to tell, if it has as many
_MARKS = (
    (b"\xff\xfe\0\0", "looks like UTF-32; save it as UTF-8"),
    (b"\0\0\xfe\xff", "looks like UTF-32; save it as UTF-8"),
    (b"\xff\xfe", "looks like UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "looks like UTF-16; save it as UTF-8"),
    (b"\x1f\x8b", "looks like a gzip file; unpack it"),
    (b"\xfd7zXZ\0", "looks like an xz file; unpack it"),
    (b"\x28\xb5\x2f\xfd", "looks like a zstd file; unpack it"),
    (b"PK\3\4", "looks like a zip file; unpack it"),
)
# Encodings without a mark: bytes per character; which of them are mostly NUL in ASCII, which never.
_WIDE = (
    ("UTF-32", 4, (1, 2, 3), 0),
    ("UTF-32", 4, (0, 1, 2), 3),
    ("UTF-16", 2, (1,), 0),
    ("UTF-16", 2, (0,), 1),
)
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
_CONTROLS = bytes({*range(32), 127} - set(b"\t\r\n"))
_CONTROLS_SHARE = 1 / 16  # of random bytes an eighth are, of text none


def split_lines(chunk: bytes) -> list[bytes]:
    """Return the lines of a chunk that ends with LF, without their LFs."""
    lines = chunk.split(b"\n")
    lines.pop()
    return lines


def printable(text: bytes) -> bytes:
    r"""Return the text with every byte that is not printable ASCII as `\xNN`."""
    return _UNPRINTABLE.sub(lambda found: b"\\x%02x" % found[0][0], text)


def not_text(beginning: bytes) -> str:
    """Return why a file with this beginning (`BEGINNING_BYTES`, or all of it) is no text; empty if
    it may be text."""
    beginning = beginning[:BEGINNING_BYTES]
    for mark, why in _MARKS:
        if beginning.startswith(mark):
            return why
    size = len(beginning)
    if beginning and not beginning.strip(b"\0"):
        return "is full of NUL bytes, as after a crash; write it again"
    for name, width, ends, low in _WIDE:
        high = [beginning[at::width] for at in ends]
        if b"\0" not in beginning[low::width] and all(2 * h.count(b"\0") > len(h) for h in high):
            return f"looks like {name}; save it as UTF-8"
    controls = size - len(beginning.translate(None, _CONTROLS))
    if controls > size * _CONTROLS_SHARE:
        return "is no text file"
    if b"\n" not in beginning and b"\r" in beginning[:-1]:  # a last CR may be half of a CRLF
        return "ends its lines with CR alone; save it with LF"
    return ""
