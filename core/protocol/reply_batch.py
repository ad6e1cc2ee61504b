"""Reply batches: the replies of one read, sorted, and the exact way to read them, line by line.

The exact way takes whatever a server may send. `read_replies` (`core/protocol/batches.py`) takes
what is ordinary at C speed and leaves the rest to it; where both can read, they agree.

Not here: a single line (`core/protocol/messages.py`), and what becomes of a batch.
"""

from collections.abc import Sequence

from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import Answer, NoAnswer, ProtocolError, Reply, parse_reply
from core.protocol.names import Error, Negative, fold
from core.protocol.outcome import Answers
from core.text import split_lines

_SORTED = (Negative.NOT_FOUND, Negative.NO_DATA, Negative.NAMES_BELOW, Negative.BLOCKED)


class ReplyBatch(Answers):
    """The replies of one read: answers, and what else there was. All questions are folded.
    `count`: lines that are not blank."""

    not_found: Sequence[bytes] = ()
    no_data: Sequence[bytes] = ()
    names_below: Sequence[bytes] = ()
    blocked: Sequence[bytes] = ()
    others: Sequence[Reply] = ()  # legal, but say nothing of a question
    malformed = 0  # lines that are no replies
    why = ""  # the reason to give the peer up; empty if there is none

    def __init__(self, questions: Sequence[bytes] = (), lines: bytes = b"", count: int = 0) -> None:
        self.questions = questions
        self.lines = lines
        self._each = None
        self.count = count


def read_each(data: bytes, streak: ErrorStreak) -> ReplyBatch:
    """Read a chunk of whole lines line by line, whatever they are."""
    why, count, malformed = "", 0, 0
    questions: list[bytes] = []
    answers: list[bytes] = []
    others: list[Reply] = []
    denied: dict[Negative, list[bytes]] = {why: [] for why in _SORTED}
    for line in filter(None, split_lines(data)):
        count += 1
        try:
            reply = parse_reply(line)
        except ProtocolError as error:
            malformed += 1
            if error.code is Error.TOOLONG:
                why = "it sent a line that is too long"
                break
            streak.add()
            if streak.is_over:
                why = "it does not speak this protocol"
                break
            continue
        if streak.count:
            streak.end()
        if isinstance(reply, Answer):
            questions.append(fold(reply.spelling, reply.type))
            answers.append(line + b"\n")
        elif isinstance(reply, NoAnswer) and reply.why in denied:
            denied[reply.why].append(fold(reply.question.spelling, reply.question.type))
        else:
            others.append(reply)
    batch = ReplyBatch(questions, b"".join(answers), count)
    batch.others, batch.malformed, batch.why = others, malformed, why
    batch.not_found, batch.no_data, batch.names_below, batch.blocked = denied.values()
    return batch
