"""Reply batches: the replies of one read, sorted, and the exact way to read them, line by line.

The exact way takes whatever a server may send. `read_replies` (`core/protocol/batches.py`) takes
what is ordinary at C speed and leaves the rest to it; where both can read, they agree.

Not here: a single line (`core/protocol/messages.py`), and what becomes of a batch.
"""

from dataclasses import dataclass, field

from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import Answer, NoAnswer, ProtocolError, Reply, parse_reply
from core.protocol.names import Error, Negative, fold
from core.text import split_lines


@dataclass(slots=True)
class ReplyBatch:
    """The replies of one read. All questions are folded; `lines` are the answers to `questions` as
    they came, parallel to them and each ended by LF."""

    questions: list[bytes] = field(default_factory=list)
    lines: bytes = b""
    not_found: list[bytes] = field(default_factory=list)
    no_data: list[bytes] = field(default_factory=list)
    names_below: list[bytes] = field(default_factory=list)
    others: list[Reply] = field(default_factory=list)  # legal, but say nothing of a question
    count: int = 0  # lines that are not blank
    malformed: int = 0  # lines that are no replies
    why: str = ""  # the peer has to be given up, if it has


def read_each(data: bytes, streak: ErrorStreak) -> ReplyBatch:
    """Read a chunk of whole lines, line by line. Nothing is read after a line for which the peer
    has to be given up: one that is too long, or the last error of the streak."""
    batch = ReplyBatch()
    denied = {
        Negative.NOT_FOUND: batch.not_found,
        Negative.NO_DATA: batch.no_data,
        Negative.NAMES_BELOW: batch.names_below,
    }
    answers: list[bytes] = []
    for line in filter(None, split_lines(data)):
        batch.count += 1
        try:
            reply = parse_reply(line)
        except ProtocolError as error:
            batch.malformed += 1
            if error.code is Error.TOOLONG:
                batch.why = "it sent a line that is too long"
                break
            streak.add()
            if streak.is_over:
                batch.why = "it does not speak this protocol"
                break
            continue
        streak.count = 0
        if isinstance(reply, Answer):
            batch.questions.append(fold(reply.spelling, reply.type))
            answers.append(line + b"\n")
        elif isinstance(reply, NoAnswer) and reply.why in denied:
            denied[reply.why].append(fold(reply.question.spelling, reply.question.type))
        else:
            batch.others.append(reply)
    batch.lines = b"".join(answers)
    return batch
