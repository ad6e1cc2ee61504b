"""Replay: recorded races, run again under another policy.

A record of `ls --race-log` says what each TS replied and after how long. That is enough to run
the load balancer itself, the real one, through the same questions in a time of its own: its
table servers are the records. What comes out is what the policy would have made of that day:
latencies, further questions, changed answers.

Records made under hedging are refused: they do not say what the TSs that were not asked would
have replied. So is whatever LS cannot have written: a file may have been cut, or edited, and what
is in a record is played and printed. A record is one of many questions (`share`), so time is
compressed by that share: as many questions come in a second as really did.

Not here: the load balancer, which is handed in, and files.
"""

import heapq
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from core.brain import Brain
from core.effects import Dial, Send
from core.events import Backlogged, Event, Opened, Received, Relieved, Woken
from core.protocol.names import IPV4, IPV6, LINE_BYTES_MAX, Type, name_of, question_of, type_of
from core.text import split_lines

LINES_DROPPED = "DROPPED"
_ANSWERED = "ANSWERED"
_ENDS = frozenset({_ANSWERED, "NO_DATA", "NOT_FOUND", "TIMED_OUT", LINES_DROPPED})
_CLIENT = "client-1"
_SHOWN = (0.5, 0.99, 0.999)
_SERVER = re.compile(r"TS[1-9][0-9]{0,5}")
_RESOLVER = re.compile(r"DNS[1-9][0-9]{0,5}")
_SECONDS_MAX = 1e9  # some 30 years
_NAME = "r%d"  # what a race's question is called in the replay
# With such a name, of the longest number that there can be, and what stands behind them.
_ADDRESSES_BYTES_MAX = LINE_BYTES_MAX - len("r999999999 ") - len(" AAAA IN")
_ADDRESSES = {
    kind: re.compile(rb"(?:%b)(?:,(?:%b))*" % (address, address))
    for kind, address in ((Type.A, IPV4), (Type.AAAA, IPV6))
}


class RecordError(ValueError):
    """A record that cannot be replayed. The text says why."""


@dataclass(slots=True)
class RecordedRace:
    """One record. `replies`: by TS, s from being asked and what it said. `lag_s`: by TS, s from the
    question's coming to its being asked of it.
    """

    at: float
    type: Type
    took_s: float
    said: str  # addresses, or a negative
    lag_s: dict[str, float]
    replies: dict[str, tuple[float, str]]


@dataclass(slots=True)
class ReplayOutcome:
    """What came of all races under one policy."""

    took_s: list[float] = field(default_factory=list)
    sent: int = 0  # questions to TSs
    timed_out: int = 0
    changed: int = 0  # other addresses, or another negative, than recorded

    def quantiles_s(self) -> list[float]:
        """p50, p99 and p99.9."""
        ranked = sorted(self.took_s)
        return [ranked[min(len(ranked) - 1, int(share * len(ranked)))] for share in _SHOWN]


def parse(line: bytes) -> RecordedRace:
    """Read one record. Raises RecordError."""
    try:
        record = json.loads(line.decode())
        if record["policy"] == "hedge":
            raise RecordError(
                "it was recorded under hedge, where not every TS is asked: record under --policy "
                "race to compare"
            )
        if record["policy"] != "race" or not 0 <= record["share"] <= 1:
            raise ValueError(record)
        asked = {server: _seconds(lag) for server, lag in record["asked"].items()}
        if any(map(_RESOLVER.fullmatch, asked)):
            raise RecordError(
                "it was run by resolvers, too, whose replies are held for better ones: only races "
                "of table servers alone can be replayed"
            )
        if not all(map(_SERVER.fullmatch, asked)):
            raise ValueError(asked)
        kind = type_of(record["question"].encode())
        replies = {
            server: (_seconds(at - asked[server]), _reply(what, kind))
            for server, (at, what) in record["replies"].items()
        }
        end, winner = record["end"], record["winner"]
        said = end.replace("_", " ") if winner is None else replies[winner][1]
        if end not in _ENDS or (end == _ANSWERED) is not _is_addresses(said, kind):
            raise ValueError(end)
        return RecordedRace(
            _seconds(record["at"]) * record["share"],
            kind,
            _seconds(record["took"]),
            said,
            asked,
            replies,
        )
    except RecordError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise RecordError("it is no record of a race") from None


def _seconds(value: float) -> float:
    """A number that is a span, or a time of the machine. Raises ValueError, OverflowError."""
    if not 0 <= float(value) < _SECONDS_MAX:
        raise ValueError(value)
    return float(value)


def _reply(text: str, kind: Type) -> str:
    """What a TS can have said. Raises ValueError."""
    if text not in ("NOT FOUND", "NO DATA") and not _is_addresses(text, kind):
        raise ValueError(text)
    return text


def _is_addresses(text: str, kind: Type) -> bool:
    fits = len(text) <= _ADDRESSES_BYTES_MAX
    return fits and _ADDRESSES[kind].fullmatch(text.encode()) is not None


def servers_of(races: Iterable[RecordedRace]) -> list[str]:
    """The TSs that were asked, by their numbers."""
    names = {server for race in races for server in race.lag_s}
    return sorted(names, key=lambda name: (len(name), name))


def as_recorded(races: Sequence[RecordedRace]) -> ReplayOutcome:
    """What came of them on the day."""
    timed_out = sum(race.said == "TIMED OUT" for race in races)
    sent = sum(len(race.lag_s) for race in races)
    return ReplayOutcome([race.took_s for race in races], sent, timed_out)


def replay(races: Sequence[RecordedRace], servers: Sequence[str], brain: Brain) -> ReplayOutcome:
    """Run a load balancer through the races. Its TSs, TS1 and so on, are these of the records."""
    return _Stage(races, servers, brain).run()


class _Stage:
    """A brain, its time, and its TSs, which say what the records say."""

    def __init__(self, races: Sequence[RecordedRace], servers: Sequence[str], brain: Brain) -> None:
        self._races = races
        self._brain = brain
        self._recorded = {f"TS{n}": server for n, server in enumerate(servers, 1)}
        self._outcome = ReplayOutcome()
        self._now = 0.0
        self._coming: list[tuple[float, int, Event]] = []
        self._number = count()

    def run(self) -> ReplayOutcome:
        """Everything, in the order of time."""
        self._step(Woken())
        self._step(Opened(_CLIENT))
        began = self._now
        for number, race in enumerate(self._races):
            question = question_of((_NAME % number).encode(), race.type)
            self._at(began + race.at, Received(_CLIENT, question + b"\n"))
        while len(self._outcome.took_s) < len(self._races):
            due = self._brain.deadline()
            if self._coming and (due is None or self._coming[0][0] <= due):
                self._now, _, event = heapq.heappop(self._coming)
                self._step(event)
            else:
                assert due is not None  # else a question would never have its reply
                self._now = max(self._now, due)
                self._step(Woken())
        return self._outcome

    def _at(self, when: float, event: Event) -> None:
        heapq.heappush(self._coming, (when, next(self._number), event))

    def _step(self, event: Event) -> None:
        sent: list[str] = []
        for effect in self._brain.step(event, self._now):
            match effect:
                case Dial(conn):
                    self._step(Opened(conn))
                case Send(conn, data) if conn == _CLIENT:
                    self._replied(split_lines(data))
                case Send(conn, data):
                    self._asked(conn, split_lines(data))
                    sent.append(conn)
        for conn in sent:  # whatever it is, it is taken at once
            self._step(Backlogged(conn))
            self._step(Relieved(conn))

    def _asked(self, conn: str, lines: list[bytes]) -> None:
        """A TS is asked, and will say what it said then."""
        server = self._recorded[conn]
        self._outcome.sent += len(lines)
        for line in lines:
            name = name_of(line)
            race = self._races[int(name[1:])]
            if server not in race.replies:
                continue
            wait_s, what = race.replies[server]
            there = race.at + race.lag_s[server]  # before that it could not be asked
            if what in ("NOT FOUND", "NO DATA"):
                reply = b"%b - %b\n" % (line, what.encode())
            else:
                reply = b"%b %b %b IN\n" % (name, what.encode(), race.type.value)
            self._at(max(self._now, there) + wait_s, Received(conn, reply))

    def _replied(self, lines: list[bytes]) -> None:
        for line in lines:
            name, said, *rest = line.split(b" ")
            race = self._races[int(name[1:])]
            what = said.decode()
            if said in (b"-", b"AAAA"):
                what = b" ".join(rest).removeprefix(b"- ").decode()
            self._outcome.took_s.append(self._now - race.at)
            self._outcome.timed_out += what == "TIMED OUT"
            if race.said != LINES_DROPPED:  # else nobody waited to see
                self._outcome.changed += set(what.split(",")) != set(race.said.split(","))


def shown(name: str, outcome: ReplayOutcome) -> str:
    """One row of the table that HEAD begins."""
    number = len(outcome.took_s)
    times = "".join(f"{seconds * 1000:>10.1f}" for seconds in outcome.quantiles_s())
    extra = 100 * (outcome.sent / number - 1)
    return f"{name:<14}{number:>10}{times}{extra:>10.2f}{outcome.timed_out:>11}{outcome.changed:>9}"


HEAD = (
    f"{'policy':<14}{'questions':>10}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}"
    f"{'extra %':>10}{'timed out':>11}{'changed':>9}"
)
