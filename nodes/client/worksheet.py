"""Worksheet: the names that were asked for, in order, with the line that is written for each.

A name waits for its reply by its folded question; several names with the same question get their
replies in the order of asking. A name that is not legal is not asked; its line says why. Lines are
handed out from the beginning on, as far as they are complete, and then forgotten with their names.

Not here: the talk with LS (`nodes/client/client.py`), and how people write names
(`nodes/client/name_list.py`).
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import count, repeat

from core.effects import Effect, Write
from core.protocol.batches import read_questions, read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import NoAnswer, ProtocolError, Question, parse_request
from core.protocol.names import LINE_BYTES_MAX, Command, Negative, fold
from core.protocol.reply_batch import ReplyBatch
from core.text import printable, split_lines
from nodes.client.results import (
    BAD_END,
    LOST_END,
    NEGATIVE_RESULTS,
    LineFormat,
    NameResult,
    plain_lines,
    summary,
)

_RESERVED = frozenset(command.value for command in Command)


class Worksheet:
    """The line of each name. `format_lines` puts lines into the form in which they are written.

    `count`: names by now. `owed`: those that wait for a reply. `bad`: those among the last that
    were added that are no names, by their places there.
    """

    def __init__(self, format_lines: LineFormat = plain_lines) -> None:
        self.count = 0
        self.owed = 0
        self.bad: dict[int, bytes] = {}
        self._format = format_lines
        self._tally: Counter[NameResult] = Counter()
        self._names: list[bytes] = []  # those from the place `_first` on
        self._lines: list[bytes | None] = []  # of these
        self._first = 0
        self._written = 0  # of `_lines`
        self._waiting: dict[bytes, int | deque[int]] = {}  # places, by question

    @property
    def held(self) -> int:
        """How many names have not been written."""
        return len(self._lines) - self._written

    @property
    def unanswered(self) -> int:
        """How many names have a line that is no answer."""
        return self._tally.total() - self._tally[NameResult.ANSWERED]

    @property
    def is_passed_over(self) -> bool:
        """Whether a name has no reply although a later one has one, or none has any."""
        if not self.owed:
            return False
        later = self._lines[self._lines.index(None, self._written) :]
        replied = (line for line in later if line and not line.endswith(BAD_END))
        return any(replied) or self._tally.total() == self._tally[NameResult.BAD]

    def add(self, lines: bytes) -> bytes:
        """Add names, each ended by LF and alone or followed by ` AAAA`. Return the questions to
        ask, each ended by LF."""
        self.bad = {}
        first = self.count
        if requests := read_questions(lines):
            names, questions = requests.spellings, requests.questions
            waiting: dict[bytes, int | deque[int]] = dict(zip(questions, count(first)))
            # Fewer where a name comes twice.
            if len(waiting) == len(names) and self._waiting.keys().isdisjoint(waiting):
                self._waiting |= waiting
                self._hold(names)
                self.owed += len(names)
                return lines
        names = split_lines(lines)
        self._hold(names)
        to_ask = []
        for at, name in enumerate(names):
            question = _question_of(name)
            if question is None:
                self.bad[at] = name
                self._lines[first - self._first + at] = printable(name) + BAD_END
            else:
                to_ask.append(question if name in _RESERVED else name)
                self._wait(question, first + at)
        self.owed += len(to_ask)
        self._tally[NameResult.BAD] += len(self.bad)
        return b"".join(name + b"\n" for name in to_ask)

    def _hold(self, names: list[bytes]) -> None:
        self._names += names
        self._lines += repeat(None, len(names))
        self.count += len(names)

    def _wait(self, question: bytes, place: int) -> None:
        places = self._waiting.setdefault(question, place)
        if isinstance(places, deque):
            places.append(place)
        elif places != place:
            self._waiting[question] = deque((places, place))

    def credit(self, data: bytes, streak: ErrorStreak) -> Iterator[ReplyBatch]:
        """Credit each of these replies to the first name that waits for it; yield all there was."""
        for part in _in_order(data):
            batch = read_replies(part, streak)
            self._take(batch)
            yield batch
            if streak.is_over:
                break

    def _take(self, batch: ReplyBatch) -> None:
        self._answer(batch.questions, split_lines(batch.lines))
        for questions, why in (
            (batch.not_found, Negative.NOT_FOUND),
            (batch.no_data, Negative.NO_DATA),
            (batch.names_below, Negative.NAMES_BELOW),
            (batch.blocked, Negative.BLOCKED),
        ):
            for question in questions:
                self._deny(question, why)
        for reply in batch.others:
            if isinstance(reply, NoAnswer):
                self._deny(fold(reply.question.spelling, reply.question.type), reply.why)

    def _answer(self, questions: Iterable[bytes], lines: list[bytes]) -> None:
        """Write answers down as they came."""
        places = map(self._waiting.pop, questions, repeat(None))
        credited, first = 0, self._first
        for question, place, line in zip(questions, places, lines, strict=True):
            if isinstance(place, deque):
                place = self._first_of(question, place)
            if place is not None:
                self._lines[place - first] = line
                credited += 1
        self.owed -= credited
        self._tally[NameResult.ANSWERED] += credited

    def _deny(self, question: bytes, why: Negative) -> None:
        """Write a negative down in the spelling of the input."""
        place = self._waiting.pop(question, None)
        if isinstance(place, deque):
            place = self._first_of(question, place)
        if place is not None:
            place -= self._first
            self._lines[place] = b"%b - %b" % (self._names[place], why.value)
            self.owed -= 1
            self._tally[NEGATIVE_RESULTS[why]] += 1

    def lose(self) -> None:
        """Write down that the names without a line are lost."""
        for place, line in enumerate(self._lines):
            if line is None:
                self._lines[place] = self._names[place] + LOST_END
                self._tally[NameResult.LOST] += 1
        self.owed = 0

    def write(self) -> list[Effect]:
        """Write the lines that have become complete, from the beginning on."""
        begin = self._written
        try:
            end = self._lines.index(None, begin)  # at C speed
        except ValueError:
            end = len(self._lines)
        if end == begin:
            return []
        lines = [line for line in self._lines[begin:end] if line is not None]
        data = self._format(self._names[begin:end], lines)
        self._written = end
        if 2 * end >= len(self._lines):  # else to forget them costs more than it saves
            del self._lines[:end], self._names[:end]
            self._first += end
            self._written = 0
        return [Write(data)]

    def summary(self) -> str:
        """Return in words how many names had which result."""
        return summary(self._tally, self.count)

    def _first_of(self, question: bytes, places: deque[int]) -> int:
        """Return the first of several places; the others go on waiting."""
        if len(places) > 1:
            self._waiting[question] = places
        return places.popleft()


def _in_order(data: bytes) -> list[bytes]:
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
