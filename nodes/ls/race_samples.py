"""Race samples: races that are watched to their end, the losers' replies included.

A race is over for its askers with the first answer; what the losers reply, and when, tells how
servers compare. Metrics of winners alone flatter everybody, so a sampled race stays open until
every server that was asked has replied, or could have no asker any more.

Of every so many questions the first is sampled, so that the others cost a look into one dictionary
for each batch. Each sample becomes a record.

Not here: what a record is made of (`race_record.py`), answers that differ (`disagreements.py`), and
metrics of all races.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from itertools import compress
from typing import Any

from core.effects import Effect
from core.environment import Environment
from core.metrics import Histogram, LabelledHistogram, Metric, Value
from core.operator import Record
from core.protocol.outcome import Answered
from core.time_of_day import utc_text
from nodes.ls.disagreements import Disagreements
from nodes.ls.monitored import Monitored
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.race_record import RaceRecord
from nodes.ls.replies import Denial
from nodes.ls.upstream import Upstream

SAMPLED = Metric("sampled", "Questions whose races were watched to their end")
LOST = Metric(
    "lost", "Sampled races in which the server answered, and another was faster", per="server"
)
SILENT = Metric("silent", "Sampled races in which the server did not reply in time", per="server")
ANSWER_S = Metric(
    "answer_seconds", "Sampled times to an answer, of winners and losers", per="server"
)
MARGIN_S = Metric("margin_seconds", "Sampled times from the first answer to the second")
_TIME_DECIMALS = 3
_BLOCKED = "BLOCKED"  # a table says NOT_FOUND_SAID so, since its NOT FOUND means less
_NEGATIVE = {
    QuestionEvent.NOT_FOUND_SAID: "NOT FOUND",
    QuestionEvent.NAME_SAID: "NAMES BELOW",
    QuestionEvent.NO_DATA_SAID: "NO DATA",
    QuestionEvent.REFUSAL_SAID: "REFUSED",
    QuestionEvent.FAILURE_SAID: "FAILED",
    QuestionEvent.BOGUS_SAID: "BOGUS",
}


class RaceSamples(Observer, Monitored):
    """All sampled races of these servers. `share`: of all questions, those that are sampled;
    `policy`: its name, for the records."""

    def __init__(
        self, env: Environment, upstreams: Sequence[Upstream], share: float, policy: str
    ) -> None:
        servers = [upstream.link.conn for upstream in upstreams]
        may_differ = [one.link.conn for one in upstreams if one.covers_all_names]
        self._bounds = env.bounds
        self._wall = env.wall
        self._share = share
        self._policy = policy
        self._every = 1 / share
        self._ahead = 0.0  # questions until the next sample
        # In the order of beginning. In a dict the first would be looked for among the gone.
        self._open: OrderedDict[bytes, RaceRecord] = OrderedDict()
        self.kept = self._open
        self._disagreements = Disagreements(servers, may_differ)
        self._sampled = 0
        self._lost = dict.fromkeys(servers, 0)
        self._silent = dict.fromkeys(servers, 0)
        self._answer_s = {server: Histogram() for server in servers}
        self._margin_s = Histogram()

    def metrics(self) -> list[Value]:
        """Return the counts of all samples."""
        return [
            Value(SAMPLED, self._sampled),
            self._disagreements.total(),
            *(Value(LOST, number, server) for server, number in self._lost.items()),
            *(Value(SILENT, number, server) for server, number in self._silent.items()),
            *self._disagreements.by_server(),
        ]

    def histograms(self) -> list[LabelledHistogram]:
        """Return the times to answers by server, and the margins of all."""
        return [
            *((ANSWER_S, histogram, server) for server, histogram in self._answer_s.items()),
            (MARGIN_S, self._margin_s, ""),
        ]

    @property
    def disagreements(self) -> deque[dict[str, Any]]:
        """The latest disagreements, the last one last."""
        return self._disagreements.latest

    def page_entries(self) -> dict[str, Any]:
        return {
            "sampling": f"{100 * self._share:g} % of races are sampled",
            "told": list(self.disagreements)[::-1],
        }

    # -- events of questions: see `Observer` -------------------------------------------------------

    def asked(self, questions: Sequence[bytes], now: float) -> list[Effect]:
        """Sample some of these."""
        count = len(questions)
        if count <= self._ahead:
            self._ahead -= count
            return []
        at = self._ahead
        time = utc_text(self._wall(), _TIME_DECIMALS)
        while at < count:
            question = questions[int(at)]
            if question not in self._open and len(self._open) < self._bounds.samples_max:
                text = question.decode("ascii")
                self._open[question] = RaceRecord(now, text, self._policy, self._share, time=time)
            at += self._every
        self._ahead = at - count
        return []

    def sent(self, upstream: Upstream, questions: Sequence[bytes], now: float) -> list[Effect]:
        for race in self._of(questions):
            question = race.question.encode("ascii")
            if upstream.can_be_asked(question) and upstream.can_have_data(question):
                race.asked.setdefault(upstream.link.conn, now - race.at)
        return []

    def answered(
        self, upstream: Upstream, answers: Answered, admitted: list[bool] | None, now: float
    ) -> list[Effect]:
        """Note answers. Those that are not admitted count as a loser's where the race is over."""
        questions = answers.questions
        if self._open.keys().isdisjoint(questions):
            return []
        texts = answers.texts()
        watched = map(self._open.__contains__, questions)
        effects: list[Effect] = []
        for at in list(compress(range(len(questions)), watched)):
            race = self._open.get(questions[at])
            if race is None or (not race.end and admitted and not admitted[at]):
                continue
            race.answer(upstream.link.conn, texts[at].decode("ascii"), now)
            effects += self._close_if_done(race)
        return effects

    def denied(
        self, upstream: Upstream, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> list[Effect]:
        said = {"NOT FOUND": list(unknown)}
        for question, event, reply in denials:
            is_blocked = event is QuestionEvent.NOT_FOUND_SAID and reply is None
            said.setdefault(_BLOCKED if is_blocked else _NEGATIVE[event], []).append(question)
        effects: list[Effect] = []
        for text, questions in said.items():
            for race in self._of(questions):
                race.reply(upstream.link.conn, text, now)
                effects += self._close_if_done(race)
        return effects

    def closed(self, questions: Sequence[bytes], end: QuestionState, now: float) -> list[Effect]:
        """Note that these are over for their clients. Answers are noted already; where there is
        none LS has told what it had kept, which was no race."""
        if end is QuestionState.ANSWERED:
            for race in self._of(questions):
                if not race.end:
                    del self._open[race.question.encode("ascii")]
            return []
        effects: list[Effect] = []
        for race in self._of(questions):
            race.finish(end.name, now)
            effects += self._close_if_done(race)
        return effects

    def watches(self, question: bytes) -> bool:
        """Return whether there is an open sample of this question."""
        return question in self._open

    @property
    def due(self) -> float:
        """When the oldest sample is to be closed; infinite for never."""
        for race in self._open.values():
            return race.at + self._bounds.timeout_s
        return math.inf

    def woken(self, now: float) -> list[Effect]:
        """Close those for which nobody can wait any more, also where the question is asked again
        and again: it has been watched for long enough."""
        effects: list[Effect] = []
        while self.due <= now:
            race = next(iter(self._open.values()))
            race.finish(QuestionState.TIMED_OUT.name, now)  # for who began it, though others wait
            effects += self._close(race)
        return effects

    # -- a race ------------------------------------------------------------------------------------

    def _of(self, questions: Collection[bytes]) -> list[RaceRecord]:
        """Return the open samples of these questions, in their order, each once."""
        if self._open.keys().isdisjoint(questions):
            return []
        watched = compress(questions, map(self._open.__contains__, questions))
        return [self._open[question] for question in dict.fromkeys(watched)]

    def _close_if_done(self, race: RaceRecord) -> list[Effect]:
        return self._close(race) if race.is_done else []

    def _close(self, race: RaceRecord) -> list[Effect]:
        del self._open[race.question.encode("ascii")]
        self._sampled += 1
        answers, winner = race.answers, race.winner
        for server, asked_s in race.asked.items():
            if server not in race.replies:
                self._silent[server] += 1
                self._answer_s[server].add_endless()
            elif server in answers:
                self._answer_s[server].add(race.replies[server][0] - asked_s)
                self._lost[server] += winner is not None and server != winner
        if winner is not None and len(race.asked) > 1:
            if race.margin is None:
                self._margin_s.add_endless()
            else:
                self._margin_s.add(race.margin)
        effects: list[Effect] = []
        if winner is not None and len(answers) > 1:
            effects += self._disagreements.compare(race.question, answers, winner)
        return [*effects, Record(race.line())]
