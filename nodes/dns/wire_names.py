r"""Names of DNS messages: as they travel, and as text (RFC 1035, sections 3.1, 4.1.4 and 5.1).

On the wire a name is labels, each after its length, and ends with a length of 0, or with a pointer
to the rest of it, which stands earlier in the message. As text it is labels with dots between them;
a byte that no name of a table can have is `\DDD`, and the root is `.`.

Not here: questions as text, with a type (`nodes/dns/question.py`).
"""

import re

from core.protocol.names import LABEL_BYTES_MAX
from nodes.dns.codes import HEADER, ID_BYTES

WIRE_NAME_BYTES_MAX = 255  # with its lengths (section 2.3.4)
_POINTER = 0xC0  # from here on a length is half a pointer
_PLAIN_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
_ESCAPED = re.compile(rb"\\(\d{3})")


class Malformed(ValueError):
    """A message that says more, or less, than its counts and lengths allow."""


def walk_name(data: bytes, at: int) -> tuple[int, int]:
    """Walk over the name that stands at `at`; return where it ends, and where its pointer leads.

    A name without a pointer leads to 0. A pointer ends the name, and is not followed; it has to
    lead to before the name (section 4.1.4), so that no chain of them can go round. Raises
    Malformed.
    """
    start = at
    last = min(len(data), at + WIRE_NAME_BYTES_MAX)
    while at < last:
        size = data[at]
        if size > LABEL_BYTES_MAX:  # it is no length
            if size < _POINTER or at + 1 == len(data):
                break
            target = ((size & 0x3F) << 8 | data[at + 1]) - ID_BYTES
            if HEADER.size <= target < start:
                return at + 2, target
            break
        at += size + 1
        if not size:
            return at, 0
    raise Malformed


def read_name(data: bytes, at: int, known: dict[int, bytes]) -> tuple[bytes, int]:
    """Return the name that stands at `at`, in lower case and without pointers, and where it ends.

    `known` holds the names of this message that were read, by where they begin, and is added to:
    without it a name could be read as often as it is pointed to. Raises Malformed.
    """
    runs: list[tuple[int, bytes]] = []  # where each begins, and its labels up to a pointer
    size = after = 0
    while True:
        end, target = walk_name(data, at)
        after = after or end
        rest = known.get(target, b"")
        run = data[at : end - 2 if target else end].lower() + rest
        size += len(run)
        if size > WIRE_NAME_BYTES_MAX:
            raise Malformed
        runs.append((at, run))
        if rest or not target:
            break
        at = target
    name = b""
    for start, run in reversed(runs):
        name = known[start] = run + name
    return name, after


def split_labels(name: bytes) -> list[bytes]:
    """Return the labels of a well-formed name without pointers; what is behind it is ignored."""
    labels: list[bytes] = []
    at = 0
    while size := name[at]:
        at += 1
        labels.append(name[at : at + size])
        at += size
    return labels


def name_as_text(labels: list[bytes]) -> bytes:
    """Return the text of a name whose labels are in lower case."""
    return b".".join(map(_escaped, labels)) or b"."


def name_from_text(text: bytes) -> bytes:
    """Return a name as it travels: the inverse of `name_as_text`."""
    if text == b".":
        return b"\0"
    labels = text.split(b".")
    if b"\\" in text:
        labels = [_ESCAPED.sub(lambda found: b"%c" % int(found[1]), label) for label in labels]
    name = b""
    for label in labels:
        name += b"%c%b" % (len(label), label)
    return name + b"\0"


def _escaped(label: bytes) -> bytes:
    if not label.strip(_PLAIN_BYTES):
        return label
    return b"".join(b"%c" % byte if byte in _PLAIN_BYTES else b"\\%03d" % byte for byte in label)
