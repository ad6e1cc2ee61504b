"""Samples: races that are watched to their end, the losers' replies included.

A race is over for its askers with the first answer; what the losers would have said, and when,
is what tells how servers compare. Figures from winners alone flatter everybody, so a sampled
race stays open until every TS that was asked has replied, or could have no asker any more.

One question in so many is sampled, the first of each so many that are asked, so that it costs
the others a look into one dictionary for each batch. Of every sample comes a line of JSON, and
where two TSs answered with different sets of addresses, a report.

Not here: what is done with the lines, and the figures of all races.
"""

import ipaddress
import json
import math
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

from core.effects import Effect, Level, Record, Report
from core.metrics import Histogram, Metric, Value
from core.protocol.outcome import Answered
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.upstream import Denial, Upstream

SAMPLED = Metric("sampled", "Questions whose races were watched to their end")
DISAGREEMENTS = Metric("disagreements", "Sampled races in which two TSs gave different addresses")
LOST = Metric("lost", "Sampled races in which it answered, and another was faster", per="ts")
SILENT = Metric("silent", "Sampled races in which it did not reply in time", per="ts")
DISAGREED = Metric("disagreed", "Sampled races in which it gave other addresses", per="ts")
ANSWER_S = Metric("answer_seconds", "Sampled times to an answer, of winners and losers", per="ts")
MARGIN_S = Metric("margin_seconds", "Sampled times from the first answer to the second")
_TOLD_MAX = 20  # disagreements that are remembered to be shown
_NEGATIVE = {
    QuestionEvent.NOT_FOUND_SAID: "NOT FOUND",
    QuestionEvent.NAME_SAID: "NO DATA",
    QuestionEvent.NO_DATA_SAID: "NO DATA",
    QuestionEvent.REFUSAL_SAID: "REFUSED",
    QuestionEvent.FAILURE_SAID: "FAILED",
}


@dataclass(slots=True)
class RaceSample:
    """One race. Times are in s since it began."""

    question: bytes
    began: float
    asked: dict[str, float] = field(default_factory=dict)  # by TS
    replies: dict[str, tuple[float, str]] = field(default_factory=dict)  # addresses, or a negative
    answers: list[str] = field(default_factory=list)  # the TSs that answered, in that order
    end: QuestionState | None = None  # why it ended for its askers
    took_s: float | None = None  # and after how long

    def finish(self, end: QuestionState, now: float) -> None:
        """It is over for its askers, if it was not before."""
        if self.end is None:
            self.end, self.took_s = end, now - self.began

    @property
    def winner(self) -> str | None:
        return self.answers[0] if self.answers and self.end is QuestionState.ANSWERED else None

    @property
    def margin_s(self) -> float | None:
        """How much later the second answer came; None when there was none."""
        if self.winner is None or len(self.answers) < 2:
            return None
        return self.replies[self.answers[1]][0] - self.replies[self.answers[0]][0]


class RaceSamples(Observer):
    """All sampled races. `servers`: what the TSs are called; `share`: of all questions."""

    def __init__(
        self, servers: Sequence[str], share: float, timeout_s: float, open_max: int, policy: str
    ) -> None:
        self.about = f"{100 * share:g} % of races are sampled"
        self._share = share
        self._every = 1 / share
        self._ahead = 0.0  # questions until the next sample
        self._timeout_s = timeout_s
        self._open_max = open_max
        self._policy = policy
        # In the order of beginning. In a dict the first would be looked for among the gone.
        self._open: OrderedDict[bytes, RaceSample] = OrderedDict()
        self.sampled = 0
        self.disagreements = 0
        self.lost = dict.fromkeys(servers, 0)
        self.silent = dict.fromkeys(servers, 0)
        self.disagreed = dict.fromkeys(servers, 0)
        self.answer_s = {server: Histogram() for server in servers}
        self.margin_s = Histogram()
        self.told: deque[dict[str, Any]] = deque(maxlen=_TOLD_MAX)

    def metrics(self) -> list[Value]:
        """What this file knows."""
        values = [Value(SAMPLED, self.sampled), Value(DISAGREEMENTS, self.disagreements)]
        for metric, counts in (
            (LOST, self.lost),
            (SILENT, self.silent),
            (DISAGREED, self.disagreed),
        ):
            values += [Value(metric, number, server) for server, number in counts.items()]
        return values

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Distributions of times in s, and of which TS."""
        return [
            *((ANSWER_S, histogram, server) for server, histogram in self.answer_s.items()),
            (MARGIN_S, self.margin_s, ""),
        ]

    # -- what happens to questions: see `Observer` -------------------------------------------------

    def asked(self, questions: Sequence[bytes], now: float) -> list[Effect]:
        """Sample some of these."""
        count = len(questions)
        if count <= self._ahead:
            self._ahead -= count
            return []
        at = self._ahead
        while at < count:
            question = questions[int(at)]
            if question not in self._open and len(self._open) < self._open_max:
                self._open[question] = RaceSample(question, now)
            at += self._every
        self._ahead = at - count
        return []

    def sent(self, upstream: Upstream, questions: Sequence[bytes], now: float) -> list[Effect]:
        if upstream.is_limited:
            questions = [
                question
                for question in questions
                if upstream.can_be_asked(question) and upstream.can_have_data(question)
            ]
        for sample in self._of(questions):
            sample.asked.setdefault(upstream.link.conn, now - sample.began)
        return []

    def answered(
        self, upstream: Upstream, answers: Answered, admitted: list[bool] | None, now: float
    ) -> list[Effect]:
        """What is not admitted counts as a loser's reply where the race is over."""
        questions, server = answers.questions, upstream.link.conn
        if self._open.keys().isdisjoint(questions):
            return []
        texts = answers.texts()
        watched = map(self._open.__contains__, questions)
        effects: list[Effect] = []
        for at in list(compress(range(len(questions)), watched)):
            sample = self._open.get(questions[at])
            if sample is None or (sample.end is None and admitted and not admitted[at]):
                continue
            if self._reply(sample, server, texts[at].decode("ascii"), now):
                sample.answers.append(server)
                sample.finish(QuestionState.ANSWERED, now)
            effects += self._close_maybe(sample)
        return effects

    def denied(
        self, upstream: Upstream, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> list[Effect]:
        said = {QuestionEvent.NOT_FOUND_SAID: list(unknown)}
        for question, event, _ in denials:
            said.setdefault(event, []).append(question)
        effects: list[Effect] = []
        for event, questions in said.items():
            for sample in self._of(questions):
                self._reply(sample, upstream.link.conn, _NEGATIVE[event], now)
                effects += self._close_maybe(sample)
        return effects

    def closed(self, questions: Sequence[bytes], end: QuestionState, now: float) -> list[Effect]:
        """These are over for their clients. What was answered is finished already."""
        if end is QuestionState.ANSWERED:
            return []
        effects: list[Effect] = []
        for sample in self._of(questions):
            sample.finish(end, now)
            effects += self._close_maybe(sample)
        return effects

    def watches(self, question: bytes) -> bool:
        """Whether there is a sample of this."""
        return question in self._open

    def due(self) -> float:
        """When the oldest is to be closed; infinite for never."""
        for sample in self._open.values():
            return sample.began + self._timeout_s
        return math.inf

    def woken(self, now: float) -> list[Effect]:
        """Close those for which nobody can wait any more. One whose question is asked again and
        again is closed, too: it has been watched for long enough."""
        effects: list[Effect] = []
        while self.due() <= now:
            sample = next(iter(self._open.values()))
            sample.finish(QuestionState.TIMED_OUT, now)  # for who began it, though others wait
            effects += self._close(sample)
        return effects

    def _of(self, questions: Collection[bytes]) -> list[RaceSample]:
        """Those of these questions, in their order, each once."""
        if self._open.keys().isdisjoint(questions):
            return []
        watched = compress(questions, map(self._open.__contains__, questions))
        return [self._open[question] for question in dict.fromkeys(watched)]

    # -- the end of one ----------------------------------------------------------------------------

    def _reply(self, sample: RaceSample, server: str, what: str, now: float) -> bool:
        """Note the first reply of a TS that was asked; return whether this is it."""
        if server not in sample.asked or server in sample.replies:
            return False
        sample.replies[server] = (now - sample.began, what)
        return True

    def _close_maybe(self, sample: RaceSample) -> list[Effect]:
        if sample.end is None or sample.replies.keys() != sample.asked.keys():
            return []
        return self._close(sample)

    def _close(self, sample: RaceSample) -> list[Effect]:
        del self._open[sample.question]
        self.sampled += 1
        winner = sample.winner
        for server, asked_s in sample.asked.items():
            if server not in sample.replies:
                self.silent[server] += 1
                self.answer_s[server].add_beyond(self._timeout_s - asked_s)
            elif server in sample.answers:
                self.answer_s[server].add(sample.replies[server][0] - asked_s)
                self.lost[server] += winner is not None and server != winner
        if winner is not None and len(sample.asked) > 1:
            margin_s = sample.margin_s
            if margin_s is None:
                self.margin_s.add_beyond(self._timeout_s)
            else:
                self.margin_s.add(margin_s)
        effects: list[Effect] = []
        if winner is not None and len(sample.answers) > 1:
            effects += self._compare(sample, winner)
        return [*effects, Record(self._line(sample))]

    def _compare(self, sample: RaceSample, winner: str) -> list[Effect]:
        """Whether every TS that answered gave the same set of addresses."""
        said = {server: sample.replies[server][1] for server in sample.answers}
        first = _as_set(said[winner])
        others = [server for server in sample.answers if _as_set(said[server]) != first]
        if not others:
            return []
        self.disagreements += 1
        for server in others:
            self.disagreed[server] += 1
        question = sample.question.decode("ascii")
        times = 1
        for before in self.told:  # one line for each name: one that is asked often tells no more
            if before["question"] == question:
                times += before["times"]
                self.told.remove(before)
                break
        self.told.append({"question": question, "answers": said, "times": times})
        shown = ", ".join(f"{server} {addresses}" for server, addresses in said.items())
        return [Report(f"TSs disagree about {question}: {shown}", Level.WARNING, "disagreement")]

    def _line(self, sample: RaceSample) -> bytes:
        margin_s = sample.margin_s
        record = {
            "at": round(sample.began, 6),
            "question": sample.question.decode("ascii"),
            "policy": self._policy,
            "share": self._share,
            "asked": {server: round(at, 6) for server, at in sample.asked.items()},
            "replies": {
                server: [round(at, 6), what] for server, (at, what) in sample.replies.items()
            },
            "winner": sample.winner,
            "margin": None if margin_s is None else round(margin_s, 6),
            "end": None if sample.end is None else sample.end.name,
            "took": None if sample.took_s is None else round(sample.took_s, 6),
        }
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def _as_set(addresses: str) -> frozenset[object]:
    """A set that is the same however its addresses are written and ordered."""
    if ":" not in addresses:
        return frozenset(addresses.split(","))
    return frozenset(map(ipaddress.ip_address, addresses.split(",")))
