"""Hearing: the lines of a TS that are not all answers, sorted by what they say.

A malformed line never ends a question: another TS may answer it. A TS that says too many in a
row, or one that is too long, speaks another protocol, and is to be given up.

Not here: what becomes of it (`nodes/ls/load_balancer.py`), and chunks that are all answers, which
need no sorting.
"""

from core.bounds import BoundHits, Bounds
from core.protocol.messages import (
    Answer,
    Error,
    Negative,
    NoAnswer,
    ProtocolError,
    Question,
    ReplyBatch,
    fold,
    parse_reply,
    replied_in,
    split_lines,
)
from nodes.ls.link import Link


def sort_lines(link: Link, data: bytes, bounds: Bounds, hits: BoundHits) -> tuple[ReplyBatch, str]:
    """Sort a chunk; also return why the link has to be given up, if it has."""
    said = replied_in(data)
    if said is not None:
        link.errors_in_a_row = 0
        link.answered += data.count(b"\n")
        return said, ""
    said = ReplyBatch([], b"", [], [], [])
    lines: list[bytes] = []
    why = ""
    for line in split_lines(data):
        if not line:
            continue
        link.answered += 1
        try:
            reply = parse_reply(line)
        except ProtocolError as error:
            link.malformed += 1
            link.errors_in_a_row += 1
            if error.code is Error.TOOLONG:
                why = "it sent a line that is too long"
                break
            if link.errors_in_a_row == bounds.errors_in_a_row_max:
                hits["errors_in_a_row_max"] += 1
                why = "it does not speak this protocol"
                break
            continue
        link.errors_in_a_row = 0
        match reply:
            case Answer(spelling, _, kind):
                said.questions.append(fold(spelling, kind))
                lines.append(line + b"\n")
            case NoAnswer(Question(spelling, kind), Negative.NOT_FOUND):
                said.not_found.append(fold(spelling, kind))
            case NoAnswer(Question(spelling, kind), Negative.NO_DATA):
                said.no_data.append(fold(spelling, kind))
            case NoAnswer(Question(spelling, kind), Negative.NAMES_BELOW):
                said.names_below.append(fold(spelling, kind))
            case _:
                link.nothing_said += 1
    said.lines = b"".join(lines)
    return said, why
