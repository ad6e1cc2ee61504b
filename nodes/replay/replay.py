"""Replay: recorded races, run again under another policy.

A record of `ls --race-log` says what each table server replied and after how long. That is enough
to run the real load balancer through the same questions in a time of its own: its table servers are
the records. The outcome is what the policy would have made of that day: latencies, extra questions,
changed answers.

Records made under hedging or tiers are refused: they do not say what the servers that were not
asked would have replied. A record is one of many questions (`share`), so time is compressed by that
share: as many questions come in a second as really did.

Not here: the load balancer, which is handed in, files, how a record is written
(`nodes/ls/race_record.py`), and which policy is the best (`verdict.py`).
"""

import heapq
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from core.brain import Brain
from core.effects import Dial, Send
from core.events import Backlogged, Event, Opened, Received, Relieved, Woken
from core.protocol.messages import Answer, NoAnswer, format_message, negatives, parse_reply
from core.protocol.names import (
    IPV4,
    IPV6,
    LINE_BYTES_MAX,
    Negative,
    Type,
    name_of,
    question_of,
    type_of,
)
from core.text import split_lines
from nodes.ls.race_record import WON_END, RaceRecord, RecordError, read_record, span_s

DROPPED_REPLY = "DROPPED"  # the asker left before there was a reply
_TIMED_OUT = "TIMED OUT"
_NEGATIVES = ("NOT FOUND", "NO DATA", "NAMES BELOW", "BLOCKED")  # as table servers say them
_NO_ANSWERS = frozenset({*_NEGATIVES, _TIMED_OUT, DROPPED_REPLY})
_ENDS = frozenset({WON_END, "NO_DATA", "NOT_FOUND", "TIMED_OUT", DROPPED_REPLY})
_CLIENT = "client-1"
_QUANTILES = (0.5, 0.99, 0.999)
_NAME = "r%d"  # of a race's question in the replay
# With such a name, of the longest number that there can be, and what stands behind them.
_ADDRESSES_BYTES_MAX = LINE_BYTES_MAX - len("r999999999 ") - len(" AAAA IN")
_ADDRESSES = {
    type_: re.compile(rb"(?:%b)(?:,(?:%b))*" % (address, address))
    for type_, address in ((Type.A, IPV4), (Type.AAAA, IPV6))
}


@dataclass(slots=True)
class ReplayedRace:
    """A race to be replayed. `lag_s`: by table server, s from the question's coming to its being
    asked of it. `replies`: by table server, s from being asked and what it replied.
    """

    at: float
    type: Type
    took_s: float
    reply: str  # the asker's: addresses, or a negative
    lag_s: dict[str, float]
    replies: dict[str, tuple[float, str]]


@dataclass(slots=True)
class ReplayOutcome:
    """The outcome of all races under one policy."""

    took_s: list[float] = field(default_factory=list)
    replied_s: list[float] = field(default_factory=list)  # of these, where the record has a reply
    sent: int = 0  # questions to table servers
    timed_out: int = 0
    unanswered: int = 0  # had an answer when recorded, and has none here
    changed: int = 0  # other addresses, or another negative, than recorded

    @property
    def extra(self) -> float:
        """The share of extra questions: more than one for each."""
        return self.sent / len(self.took_s) - 1

    def quantiles_s(self) -> list[float]:
        """Return p50, p99 and p99.9."""
        ranked = sorted(self.took_s)
        return [ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in _QUANTILES]


def parse(line: bytes) -> ReplayedRace:
    """Read one record. Raises RecordError when it is no record, or cannot be replayed."""
    record = read_record(line)
    if record.policy == "hedge":
        raise RecordError(
            "it was recorded under hedge, where not every TS is asked: record under --policy race "
            "to compare"
        )
    if record.policy == "tiers":
        raise RecordError(
            "it was recorded under tiers, where not every TS is asked: record without --tier, and "
            "then replay with --tier to compare"
        )
    if not record.is_of_tables:
        raise RecordError(
            "it was run by resolvers, which are all asked under every policy: only races of table "
            "servers alone can be replayed"
        )
    try:
        return _race_of(record)
    except (ValueError, KeyError):
        raise RecordError("it is no record of a race: its fields contradict each other") from None


def _race_of(record: RaceRecord) -> ReplayedRace:
    """Return the race of a record of table servers. Raises ValueError or KeyError when it
    contradicts itself."""
    type_ = type_of(record.question.encode())
    replies = {
        server: (span_s(at - record.asked[server]), text)
        for server, (at, text) in record.replies.items()
    }
    if not all(text in _NEGATIVES or _is_addresses(text, type_) for _, text in replies.values()):
        raise ValueError(replies)
    reply = record.end.replace("_", " ")
    if record.winner is not None:
        reply = replies[record.winner][1]
    has_answer = _is_addresses(reply, type_)
    if record.policy != "race" or record.end not in _ENDS:
        raise ValueError(record)
    if has_answer is not (record.end == WON_END):
        raise ValueError(record)
    at = record.at * record.share
    return ReplayedRace(at, type_, record.took, reply, record.asked, replies)


def _is_addresses(text: str, type_: Type) -> bool:
    fits = len(text) <= _ADDRESSES_BYTES_MAX
    return fits and _ADDRESSES[type_].fullmatch(text.encode()) is not None


def servers_of(races: Iterable[ReplayedRace]) -> list[str]:
    """Return the table servers that were asked, by their numbers."""
    names = {server for race in races for server in race.lag_s}
    return sorted(names, key=lambda name: (len(name), name))


def as_recorded(races: Sequence[ReplayedRace]) -> ReplayOutcome:
    """Return the outcome that these races had when they were recorded."""
    timed_out = sum(race.reply == _TIMED_OUT for race in races)
    sent = sum(len(race.lag_s) for race in races)
    replied_s = [race.took_s for race in races if race.reply != _TIMED_OUT]
    return ReplayOutcome([race.took_s for race in races], replied_s, sent, timed_out)


def replay(races: Sequence[ReplayedRace], servers: Sequence[str], brain: Brain) -> ReplayOutcome:
    """Run a load balancer through the races. Its TS1, TS2, ... are these servers of the records."""
    return _Stage(races, servers, brain).run()


class _Stage:
    """A brain, its time, and its table servers, which reply what the records say."""

    def __init__(self, races: Sequence[ReplayedRace], servers: Sequence[str], brain: Brain) -> None:
        self._races = races
        self._brain = brain
        self._recorded = {f"TS{n}": server for n, server in enumerate(servers, 1)}
        self._outcome = ReplayOutcome()
        self._now = 0.0
        self._coming: list[tuple[float, int, Event]] = []
        self._number = count()

    def run(self) -> ReplayOutcome:
        """Play everything in the order of time."""
        self._step(Woken())
        self._step(Opened(_CLIENT))
        began = self._now
        for number, race in enumerate(self._races):
            question = question_of((_NAME % number).encode(), race.type)
            self._at(began + race.at, Received(_CLIENT, question + b"\n"))
        while len(self._outcome.took_s) < len(self._races):
            due = self._brain.due
            if self._coming and self._coming[0][0] <= due:
                self._now, _, event = heapq.heappop(self._coming)
                self._step(event)
            else:
                assert due < math.inf  # else a question would never have its reply
                self._now = max(self._now, due)
                self._step(Woken())
        return self._outcome

    def _at(self, when: float, event: Event) -> None:
        heapq.heappush(self._coming, (when, next(self._number), event))

    def _step(self, event: Event) -> None:
        sent_to: list[str] = []
        for effect in self._brain.step(event, self._now):
            match effect:
                case Dial(conn):
                    self._step(Opened(conn))
                case Send(conn, data) if conn == _CLIENT:
                    self._replied(split_lines(data))
                case Send(conn, data):
                    self._asked(conn, split_lines(data))
                    sent_to.append(conn)
        for conn in sent_to:  # however much it is, the server takes it at once
            self._step(Backlogged(conn))
            self._step(Relieved(conn))

    def _asked(self, conn: str, lines: list[bytes]) -> None:
        """Have a table server that is asked reply in time, as it did then."""
        server = self._recorded[conn]
        self._outcome.sent += len(lines)
        for line in lines:
            name = name_of(line)
            race = self._races[int(name[1:])]
            if server not in race.replies:
                continue
            wait_s, text = race.replies[server]
            there_at = race.at + race.lag_s[server]  # before that the server could not be asked
            if text in _NEGATIVES:
                reply = negatives([line], Negative(text.encode()))
            else:
                reply = format_message(Answer(name, text.encode(), race.type)) + b"\n"
            self._at(max(self._now, there_at) + wait_s, Received(conn, reply))

    def _replied(self, lines: list[bytes]) -> None:
        for line in lines:
            match parse_reply(line):
                case Answer(spelling, addresses):
                    reply = addresses.decode()
                case NoAnswer(question, why):
                    spelling, reply = question.spelling, why.value.decode()
                case _:
                    raise AssertionError(line)
            race, outcome = self._races[int(spelling[1:])], self._outcome
            outcome.took_s.append(self._now - race.at)
            if race.reply != _TIMED_OUT:
                outcome.replied_s.append(self._now - race.at)
            outcome.timed_out += reply == _TIMED_OUT
            outcome.unanswered += reply in _NO_ANSWERS and race.reply not in _NO_ANSWERS
            if race.reply != DROPPED_REPLY:  # else nobody waited to see
                outcome.changed += set(reply.split(",")) != set(race.reply.split(","))
