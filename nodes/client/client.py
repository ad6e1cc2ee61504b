"""The client: asks LS for every name it was given, and writes one line per name, in input order.

It sends as fast as LS takes and reads all the while. A reply is credited by name; several
questions for one name are equal, and get their replies in the order of asking. A name that is
not legal is not sent; its line says so. What has no reply when the connection is gone, or when
nothing has had one for too long, is LOST: everything that arrived is written all the same.

Not here: files and arguments (`nodes/cli/client.py`).
"""

from collections import deque
from dataclasses import dataclass
from itertools import repeat

from core.addresses import Address
from core.bounds import Bounds
from core.effects import Abort, Close, Dial, Effect, Progress, Report, Send, Stop, Write
from core.events import (
    Backlogged,
    Closed,
    DrainAsked,
    Ended,
    Event,
    Opened,
    Received,
    Relieved,
    ReloadAsked,
    StatsAsked,
    Woken,
)
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.protocol.messages import (
    Answer,
    Bye,
    Command,
    Negative,
    NoAnswer,
    ProtocolError,
    Question,
    Refusal,
    answered_in,
    asked_in,
    fold,
    fold_lines,
    parse_reply,
    parse_request,
    split_lines,
)
from core.text import printable

LS = "LS"
_PROGRESS_EVERY_S = 0.2
_RESERVED = frozenset(command.value for command in Command)


class ClientState(Label):
    """The life of a client."""

    IDLE = "nothing has been done yet"
    DIALING = "a connection to LS is being made"
    ASKING = "names are being sent, and replies come"
    LEAVING = "everything is asked, QUIT too; replies come, and then BYE"
    DONE = "every name has its line"
    FAILED = "the connection could not be made, ended too early, or brought no replies"


class ClientEvent(Label):
    """What happens to a client."""

    START = "the loop runs"
    NOTHING_TO_ASK = "no name is legal"
    CONNECTED = "LS has answered the dial"
    ALL_ASKED = "the last name is on its way"
    ALL_REPLIED = "nothing is owed"
    CUT_SHORT = "there will be no more replies, and some are owed"


S, E = ClientState, ClientEvent
CLIENT: Transitions[ClientState, ClientEvent] = {
    S.IDLE: {E.START: S.DIALING, E.NOTHING_TO_ASK: S.DONE, E.CUT_SHORT: S.FAILED},
    S.DIALING: {E.CONNECTED: S.ASKING, E.CUT_SHORT: S.FAILED},
    S.ASKING: {E.ALL_ASKED: S.LEAVING, E.CUT_SHORT: S.FAILED},
    S.LEAVING: {E.ALL_REPLIED: S.DONE, E.CUT_SHORT: S.FAILED},
    S.DONE: {E.CUT_SHORT: STAY},
    S.FAILED: {E.CUT_SHORT: STAY},
}


@dataclass(slots=True)
class Tally:
    """What became of the names."""

    answered: int = 0
    timed_out: int = 0
    not_found: int = 0
    no_data: int = 0
    failed: int = 0
    bad: int = 0
    lost: int = 0


class Client:
    """The brain of a client.

    `names` are the input's lines, none of them empty: names, each alone or followed by ` AAAA`.
    `where` names LS for people; `progress`: somebody watches a terminal.
    """

    def __init__(
        self,
        names: list[bytes],
        addresses: tuple[Address, ...],
        where: str,
        bounds: Bounds,
        *,
        progress: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.tally = Tally()
        self._names = names
        self._addresses = addresses
        self._where = where
        self._bounds = bounds
        self._life = Machine(CLIENT, ClientState.IDLE, "client", watch)
        self._lines: list[bytes | None] = [None] * len(names)  # what is written for each name
        self._written = 0  # of `_lines`
        self._waiting: dict[bytes, int | deque[int]] = {}  # places in `_names`, by what is asked
        self._owed = 0
        self._questions = self._prepare()  # each ended by LF
        self._asked = 0  # bytes of `_questions`
        self._started_at = 0.0
        self._replied_at: float | None = None  # LS's last reply to a name, or to the dial
        self._progress_at: float | None = 0.0 if progress else None
        self._trouble = ""  # what LS said, or did, that explains the end
        self._errors_in_a_row = 0  # lines that are no replies

    def _prepare(self) -> bytes:
        """Write down what is wrong with bad names, and return what to ask for the others."""
        whole = b"\n".join(self._names) + b"\n"
        spelled = asked_in(whole)
        if spelled is not None:
            lines = fold_lines(whole)
            folded = spelled if lines == whole else split_lines(lines)
            self._waiting = dict(zip(folded, range(len(folded)), strict=True))
            # Fewer: one comes twice. More than were given: one has an LF in it.
            if len(self._waiting) == len(folded) == len(self._names):
                self._owed = len(folded)
                return whole
        self._waiting = {}
        to_ask = []
        for place, spelling in enumerate(self._names):
            question = _read_question(spelling)
            if question is None:
                self._lines[place] = printable(spelling) + b" - ERROR BADNAME"
                self.tally.bad += 1
                continue
            key = fold(question.spelling, question.type)
            places = self._waiting.setdefault(key, place)
            if isinstance(places, deque):
                places.append(place)
            elif places != place:
                self._waiting[key] = deque((places, place))
            self._owed += 1
            to_ask.append(key if spelling in _RESERVED else spelling)
        return b"".join(line + b"\n" for line in to_ask)

    def deadline(self) -> float | None:
        """The first of: no name has had a reply for too long, somebody wants to see progress."""
        if self._replied_at is None:
            return None
        patience = self._replied_at + self._bounds.patience_s
        return patience if self._progress_at is None else min(patience, self._progress_at)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Received(_, data):
                return self._heard(data, now)
            case Opened():
                self._life.fire(ClientEvent.CONNECTED)
                self._replied_at = now
                return self._ask_more()
            case Backlogged() | StatsAsked():
                return []
            case Relieved():
                return self._ask_more()
            case Ended():
                why = self._trouble or "LS ended the connection"
                # Nothing more can come: what LS has not taken is not worth waiting for.
                return [*self._cut_short(why, now), Abort(LS)]
            case Closed(_, why):
                why = self._trouble or f"no connection to LS at {self._where}: {why}"
                return [
                    *self._cut_short(why, now),
                    Stop(0 if self._life.state is ClientState.DONE else 1),
                ]
            case DrainAsked() | ReloadAsked():  # SIGHUP: the terminal is gone
                effects = self._cut_short("interrupted", now)
                return [*effects, Abort(LS)] if effects else []
            case Woken():
                return self._woken(now)
        raise AssertionError(event)

    # -- asking ------------------------------------------------------------------------------------

    def _woken(self, now: float) -> list[Effect]:
        if self._life.state is ClientState.IDLE:
            return self._start(now)
        if self._replied_at is not None and now >= self._replied_at + self._bounds.patience_s:
            self._replied_at = None
            silent_s = f"{self._bounds.patience_s:g} s"
            why = f"LS at {self._where} has sent no reply for {silent_s} (see --patience)"
            if self._trouble:
                why += f"; {self._trouble}"
            return [*self._cut_short(why, now), Abort(LS)]
        if self._progress_at is not None and now >= self._progress_at:
            self._progress_at = now + _PROGRESS_EVERY_S
            done = len(self._names) - self._owed
            return [Progress(f"{done:,} of {len(self._names):,} names, {self._owed:,} waiting")]
        return []

    def _start(self, now: float) -> list[Effect]:
        self._started_at = now
        if self._progress_at is not None:
            self._progress_at = now + 2 * _PROGRESS_EVERY_S
        if not self._owed:
            self._life.fire(ClientEvent.NOTHING_TO_ASK)
            return [*self._write(), *self._sum_up(now), Stop(0)]
        self._life.fire(ClientEvent.START)
        return [Dial(LS, self._addresses)]

    def _ask_more(self) -> list[Effect]:
        """Send the next slice. If more is left, it goes over the high mark, so that Relieved will
        call for the next one."""
        questions = self._questions
        if self._asked == len(questions):
            return []
        over = self._asked + self._bounds.waiting_bytes_high
        end = questions.find(b"\n", over) + 1 or len(questions)
        slice_ = questions[self._asked : end]
        self._asked = end
        if end == len(questions):
            self._life.fire(ClientEvent.ALL_ASKED)
            slice_ += Command.QUIT.value + b"\n"
        return [Send(LS, slice_)]

    # -- replies -----------------------------------------------------------------------------------

    def _heard(self, data: bytes, now: float) -> list[Effect]:
        """Credit each reply to its name, and write what is complete."""
        owed = self._owed
        questions = answered_in(data)
        if questions is None:
            self._heard_by_line(data)
        else:
            self._errors_in_a_row = 0
            self._credit(questions, split_lines(data))
        if self._owed < owed:
            self._replied_at = now
        effects = self._write()
        if not self._owed and self._life.state is ClientState.LEAVING:
            self._life.fire(ClientEvent.ALL_REPLIED)
            self._progress_at = None
            effects += [*self._sum_up(now), Close(LS)]
        elif self._errors_in_a_row >= self._bounds.errors_in_a_row_max:
            effects += [*self._cut_short(self._trouble, now), Abort(LS)]
        return effects

    def _credit(self, questions: list[bytes], lines: list[bytes]) -> None:
        """These answers, as they came."""
        places = map(self._waiting.pop, questions, repeat(None))
        credited = 0
        for question, place, line in zip(questions, places, lines, strict=True):
            if isinstance(place, deque):
                place = self._first_of(question, place)
            if place is not None:
                self._lines[place] = line
                credited += 1
        self._owed -= credited
        self.tally.answered += credited

    def _heard_by_line(self, data: bytes) -> None:
        """The slow way, where a line is no ordinary answer."""
        for line in split_lines(data):
            if not line:
                continue
            try:
                reply = parse_reply(line)
            except ProtocolError:
                self._trouble = f"what answers at {self._where} does not speak this protocol"
                self._errors_in_a_row += 1
                continue
            self._errors_in_a_row = 0
            match reply:
                case Answer(spelling, _, kind):
                    self._credit([fold(spelling, kind)], [line])
                case NoAnswer(Question(spelling, kind), why):
                    place = self._place_of(fold(spelling, kind))
                    if place is not None:
                        self._lines[place] = b"%b - %b" % (self._names[place], why.value)
                        self._count(why)
                case Refusal(code):
                    self._trouble = f"LS at {self._where} says {code.name}: {code.value}"
                case Bye():
                    self._trouble = f"LS at {self._where} is going away; ask again later"

    def _count(self, why: Negative) -> None:
        match why:
            case Negative.TIMED_OUT:
                self.tally.timed_out += 1
            case Negative.NOT_FOUND:
                self.tally.not_found += 1
            case Negative.NO_DATA | Negative.NAMES_BELOW:
                self.tally.no_data += 1
            case Negative.FAILED:
                self.tally.failed += 1

    def _place_of(self, question: bytes) -> int | None:
        """The first place that waits for this; it waits no longer."""
        place = self._waiting.pop(question, None)
        if isinstance(place, deque):
            place = self._first_of(question, place)
        self._owed -= place is not None
        return place

    def _first_of(self, question: bytes, places: deque[int]) -> int:
        """The first of several places; the others go on waiting."""
        if len(places) > 1:
            self._waiting[question] = places
        return places.popleft()

    def _write(self) -> list[Effect]:
        """What has become complete from the beginning on. `index` searches at C speed."""
        begin = self._written
        try:
            end = self._lines.index(None, begin)
        except ValueError:
            end = len(self._lines)
        if begin == end:
            return []
        complete = [line for line in self._lines[begin:end] if line is not None]
        self._lines[begin:end] = repeat(b"", end - begin)  # let them go; the places stay
        self._written = end
        return [Write(b"\n".join(complete) + b"\n")]

    # -- the end -----------------------------------------------------------------------------------

    def _cut_short(self, why: str, now: float) -> list[Effect]:
        """No more replies will come: say so of every name that has none."""
        before = self._life.state
        if self._life.fire(ClientEvent.CUT_SHORT) is before:
            return []  # it is over already
        self._replied_at = None
        for place, line in enumerate(self._lines):
            if line is None:
                self._lines[place] = self._names[place] + b" - LOST"
                self.tally.lost += 1
        self._owed = 0
        return [*self._write(), Progress(""), Report(why), *self._sum_up(now)]

    def _sum_up(self, now: float) -> list[Effect]:
        tally = self.tally
        known_unknown = "".join(
            f"{count} {what}, "
            for count, what in (
                (tally.not_found, "not found"),
                (tally.no_data, "no data"),
                (tally.failed, "failed"),
            )
            if count
        )
        text = (
            f"{len(self._names)} names: {tally.answered} answered, {known_unknown}"
            f"{tally.timed_out} timed out, {tally.bad} bad, {tally.lost} lost, "
            f"{now - self._started_at:.1f} s"
        )
        return [Progress(""), Report(text)]


def _read_question(spelling: bytes) -> Question | None:
    """What a line of the input asks for; None when it is not legal.

    A word that is a command on the wire is a name here.
    """
    try:
        request = parse_request(spelling)
    except ProtocolError:
        return None
    return request if isinstance(request, Question) else Question(spelling)
