"""Text: how to show bytes to a person, and whether a file that a person gave is text at all.

Tables, lists of names and records of races are ASCII, in lines. A file that was saved in another
encoding, packed, or is no text at all, would be thousands of bad lines; it deserves one sentence
instead. A file is taken for what it is by its first bytes, or by the share of control characters in
what it begins with: text has hardly any. A few odd bytes are left to whoever reads the lines.

Not here: what a line means.
"""

import re

BEGINNING_BYTES = 512  # what there has to be of a file, if it is as long, to tell
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
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
# Encodings without a mark: bytes a character, which of them are mostly NUL in ASCII, which never.
_WIDE = (
    ("UTF-32", 4, (1, 2, 3), 0),
    ("UTF-32", 4, (0, 1, 2), 3),
    ("UTF-16", 2, (1,), 0),
    ("UTF-16", 2, (0,), 1),
)
_CONTROLS = bytes({*range(32), 127} - set(b"\t\r\n"))
_CONTROLS_SHARE = 1 / 16  # of random bytes an eighth are, of text none


def not_text(beginning: bytes) -> str:
    """Return why a file that begins so (`BEGINNING_BYTES`, or all of it) is no text; else ""."""
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
    if b"\n" not in beginning and b"\r" in beginning[:-1]:  # a last one may be half of a CRLF
        return "ends its lines with CR alone; save it with LF"
    return ""


def printable(text: bytes) -> bytes:
    r"""The text with every byte that is not printable ASCII as `\xNN`."""
    return _UNPRINTABLE.sub(lambda found: b"\\x%02x" % found[0][0], text)
