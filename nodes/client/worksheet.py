"""Worksheet: the names of the input, in order, with the line that is written for each.

A name waits for its reply by its folded question; several names with the same question get their
replies in the order of asking. A name that is not legal is not asked; its line says why. Lines are
handed out from the beginning on, as far as they are complete.

Not here: the talk with LS (`nodes/client/client.py`).
"""

from collections import Counter, deque
from collections.abc import Iterable
from itertools import repeat

from core.protocol.batches import read_questions
from core.protocol.messages import NoAnswer, ProtocolError, Question, parse_request
from core.protocol.names import LINE_BYTES_MAX, Command, Negative, fold
from core.protocol.reply_batch import ReplyBatch
from core.text import printable, split_lines

_RESERVED = frozenset(command.value for command in Command)
# Outcomes, as the summary calls them and in its order; the others are shown where there are any.
_OUTCOMES = ("answered", "not found", "no data", "failed", "timed out", "bad", "lost")
_ALWAYS_SHOWN = frozenset({"answered", "timed out", "bad", "lost"})
_OUTCOME = {
    Negative.TIMED_OUT: "timed out",
    Negative.NOT_FOUND: "not found",
    Negative.NO_DATA: "no data",
    Negative.NAMES_BELOW: "no data",
    Negative.FAILED: "failed",
}


class Worksheet:
    """The line of each name. No name is empty; each stands alone or is followed by ` AAAA`.

    `to_ask`: the questions, in order, each ended by LF. `owed`: names without a line.
    """

    def __init__(self, names: list[bytes]) -> None:
        self.names = names
        self._tally: Counter[str] = Counter()
        self._lines: list[bytes | None] = [None] * len(names)
        self._written = 0  # of `_lines`
        self._waiting: dict[bytes, int | deque[int]] = {}  # places in `names`, by question
        self.to_ask = self._prepare()
        self.owed = len(names) - self._tally["bad"]

    def _prepare(self) -> bytes:
        """Write down what is wrong with bad names; return what to ask for the others."""
        whole = b"\n".join(self.names) + b"\n"
        if requests := read_questions(whole):
            questions = requests.questions
            self._waiting = dict(zip(questions, range(len(questions)), strict=True))
            # Fewer where a name comes twice, more questions than names where one has an LF in it.
            if len(self._waiting) == len(questions) == len(self.names):
                return whole
        self._waiting = {}
        to_ask = []
        for place, name in enumerate(self.names):
            question = _question_of(name)
            if question is None:
                self._lines[place] = printable(name) + b" - ERROR BADNAME"
                self._tally["bad"] += 1
                continue
            places = self._waiting.setdefault(question, place)
            if isinstance(places, deque):
                places.append(place)
            elif places != place:
                self._waiting[question] = deque((places, place))
            to_ask.append(question if name in _RESERVED else name)
        return b"".join(name + b"\n" for name in to_ask)

    def take(self, batch: ReplyBatch) -> None:
        """Credit replies to the names that wait for them."""
        self._answer(batch.questions, split_lines(batch.lines))
        for questions, why in (
            (batch.not_found, Negative.NOT_FOUND),
            (batch.no_data, Negative.NO_DATA),
            (batch.names_below, Negative.NAMES_BELOW),
        ):
            for question in questions:
                self._deny(question, why)
        for reply in batch.others:
            if isinstance(reply, NoAnswer):
                self._deny(fold(reply.question.spelling, reply.question.type), reply.why)

    def _answer(self, questions: Iterable[bytes], lines: list[bytes]) -> None:
        """Write answers down as they came."""
        places = map(self._waiting.pop, questions, repeat(None))
        credited = 0
        for question, place, line in zip(questions, places, lines, strict=True):
            if isinstance(place, deque):
                place = self._first_of(question, place)
            if place is not None:
                self._lines[place] = line
                credited += 1
        self.owed -= credited
        self._tally["answered"] += credited

    def _deny(self, question: bytes, why: Negative) -> None:
        """Write a negative down in the spelling of the input."""
        place = self._waiting.pop(question, None)
        if isinstance(place, deque):
            place = self._first_of(question, place)
        if place is not None:
            self._lines[place] = b"%b - %b" % (self.names[place], why.value)
            self.owed -= 1
            self._tally[_OUTCOME[why]] += 1

    def lose(self) -> None:
        """Write down that the names without a line are lost."""
        for place, line in enumerate(self._lines):
            if line is None:
                self._lines[place] = self.names[place] + b" - LOST"
                self._tally["lost"] += 1
        self.owed = 0

    def take_complete(self) -> bytes:
        """Return the lines that have become complete, from the beginning on, each ended by LF."""
        begin = self._written
        try:
            end = self._lines.index(None, begin)  # at C speed
        except ValueError:
            end = len(self._lines)
        complete = [line + b"\n" for line in self._lines[begin:end] if line is not None]
        self._lines[begin:end] = repeat(b"", end - begin)  # free them; the places stay
        self._written = end
        return b"".join(complete)

    def summary(self) -> str:
        """Return in words how many names had which outcome."""
        counts = [
            f"{self._tally[outcome]} {outcome}"
            for outcome in _OUTCOMES
            if self._tally[outcome] or outcome in _ALWAYS_SHOWN
        ]
        return f"{len(self.names)} names: {', '.join(counts)}"

    def _first_of(self, question: bytes, places: deque[int]) -> int:
        """Return the first of several places; the others go on waiting."""
        if len(places) > 1:
            self._waiting[question] = places
        return places.popleft()


def in_order(data: bytes) -> list[bytes]:
    """Cut a chunk of replies so that, with each part read by itself, replies to equal names keep
    their order, and so do other lines: it stays whole where it has neither."""
    lines = split_lines(data)
    negatives = data.count(b" - ")
    is_plain = data.count(b" IN\n") + negatives == len(lines)
    if is_plain and max(map(len, lines), default=0) <= LINE_BYTES_MAX:
        names = (line.partition(b" ")[0].removesuffix(b".").lower() for line in lines)
        if not negatives or len(set(names)) == len(lines):
            return [data]
    return [line + b"\n" for line in lines]


def _question_of(name: bytes) -> bytes | None:
    """Return the folded question of a line of the input; None when the line is not legal.

    A word that is a command on the wire is a name here.
    """
    try:
        request = parse_request(name)
    except ProtocolError:
        return None
    return fold(request.spelling, request.type) if isinstance(request, Question) else fold(name)
