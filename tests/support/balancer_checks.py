"""Checks of LS, each by itself, which hold whatever happens; the model tells them what does.

Not here: the bytes that clients are sent, which the model itself compares (`balancer_model.py`).
"""

import ipaddress
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.io.backlog import BacklogState
from core.metrics import Histogram
from core.protocol.names import LINE_BYTES_MAX
from nodes.ls.race_samples import RaceSamples
from tests.support.balancer_model import Check, Model, Server
from tests.support.balancers import hedging_of, part_of

LEAST_S = 1e-6  # times of different origin that differ by less are equal
NEGATIVES = {said: said.decode() for said in (b"NOT FOUND", b"NO DATA", b"NAMES BELOW", b"BLOCKED")}


class Conservation(Check):
    """Every question is counted once, and nothing is kept of what is settled."""

    KEYS = (
        "asked", "answered", "not_found", "no_data", "failed", "timed_out", "dropped", "joined",
        "late", "errors",
    )  # fmt: skip
    OF_SERVERS = ("asked", "won", "late", "malformed", "nothing_said")

    def holds(self) -> None:
        model = self.model
        shown = {value.key: value.value for value in model.brain.metrics()}
        counted = model.counted
        for key in self.KEYS:
            assert shown[key] == counted[key], f"{key} {shown[key]}, not {counted[key]}"
        assert shown["pending"] == len(model.open)
        for server in model.servers.values():
            for key in self.OF_SERVERS:
                assert shown[f"{server.conn}.{key}"] == server.counted[key], (server.conn, key)
        lines = [question for question in model.open if not question.asker.is_dns]
        assert model.owed.owed_bytes == LINE_BYTES_MAX * len(lines)
        questions = model.brain.parts.questions
        assert sorted(questions.all_open()) == sorted(model.lives)
        unanswered = [batch.unanswered for batch in questions.batches if batch.questions]
        per_batch = Counter(id(question.batch) for question in model.open)
        assert sorted(unanswered) == sorted(per_batch.values())
        if model.stage.exit_code is not None:
            (account,) = [text for text in model.stage.reports if text.startswith("asked ")]
            told = dict(count.split(" ") for count in account.split(", "))
            assert {key: told[key] for key in self.KEYS} == {
                key: str(counted[key]) for key in self.KEYS
            }


class Negatives(Check):
    """[P21] [P22]: it is kept who has denied what, for as long as it may matter."""

    def holds(self) -> None:
        negatives = self.model.brain.parts.negatives
        said = {name for name, life in self.model.lives.items() if life.spoken}
        held = {name for name, life in self.model.lives.items() if life.held_until is not None}
        assert set(negatives.kept) == said | held
        assert negatives.is_empty is not bool(said | held)


class Backpressure(Check):
    """Clients are not read that have asked too much, nor for a second at most while a TS takes too
    little."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.heavy_since: dict[str, float] = {}  # more waits for it than the high mark
        self.holds_since: dict[str, float] = {}  # the same, and it had been asked for everything

    def asked(self, names: list[bytes]) -> None:
        """Take note: too much for a TS that had been asked for all so far is a hold."""
        self.is_asking = True

    def weigh(self) -> None:
        model = self.model
        for name in model.servers:
            connection = model.stage.connections.get(name)
            if connection is None or connection.weight.state is BacklogState.LIGHT:
                self.heavy_since.pop(name, None)
                self.holds_since.pop(name, None)
            elif name not in self.heavy_since:
                self.heavy_since[name] = model.now
                if self.is_asking and model.share is None:
                    self.holds_since[name] = model.now
        self.is_asking = False

    is_asking = False

    def relieved(self, name: str) -> None:
        """Let the next bytes begin a new hold."""
        self.heavy_since.pop(name, None)
        self.holds_since.pop(name, None)

    def moment(self) -> None:
        self.is_asking = False

    def holds(self) -> None:
        self.weigh()
        model = self.model
        now, held_s = model.now, model.bounds.held_s
        may = any(now - since < held_s for since in self.heavy_since.values())
        must = any(now - since < held_s for since in self.holds_since.values())
        for asker in model.askers:
            if asker.may_ask and not asker.is_dns:
                is_paused = asker.conn in model.stage.paused
                has_too_many = model.owed_to(asker) > model.bounds.pending_per_client_max
                assert is_paused is has_too_many or (is_paused and may)
                assert is_paused or not must
            assert not asker.is_dns or asker.conn not in model.stage.paused


class Race(Check):
    """Everyone who is up is asked at once, and who comes up for all that is open, the oldest
    first: of what was asked at the same time, in any order."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.expected: dict[str, dict[bytes, float]] = {name: {} for name in model.servers}

    def asked(self, names: list[bytes]) -> None:
        for server in self.model.servers.values():
            if server.is_up:
                self.expected[server.conn] |= dict.fromkeys(names, self.model.now)

    def connected(self, server: Server) -> None:
        if server.is_up and not server.sent and not server.asked:
            for question in self.model.open:
                self.expected[server.conn].setdefault(question.name, question.asked_at)

    def holds(self) -> None:
        for name, server in self.model.servers.items():
            expected = self.expected[name]
            assert sorted(server.got) == sorted(expected), f"{server.got}, not {list(expected)}"
            assert [expected[name] for name in server.got] == list(expected.values())
            self.expected[name], server.got = {}, []


class Hedging(Check):
    """[P23] [P24]: extra load stays within its share, and nothing is lost."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.speculative = 0  # lines that were, for certain
        self.is_plain = True  # nobody has gone or clogged, nothing is asked anew: all is certain
        self.policy = hedging_of(model.brain)
        self.hedged = 0
        self.tokens = 0.0
        self.last_sent: dict[bytes, float] = {}  # to any server

    def asked(self, names: list[bytes]) -> None:
        assert self.model.share is not None
        earned = self.model.share * len(names)
        self.tokens = min(self.tokens + earned, self.model.bounds.hedge_tokens_max)
        self.is_plain &= all(self.model.lives[name].anew == 1 for name in names)

    def connected(self, server: Server) -> None:
        self.is_plain &= server.conn not in self.model.stage.connections or not server.asked
        self.is_plain &= not self.model.lives

    def is_hoped_for(self, server: Server, name: bytes) -> bool:
        """Return whether a TS was asked it, lately, and may still answer."""
        life = self.model.lives[name]
        is_asked = server.sent.get(name) == life.anew and server.conn not in life.spoken
        return is_asked and server.conn in self.model.live()

    def sent(self, server: Server, name: bytes) -> None:
        model, life = self.model, self.model.lives[name]
        self.last_sent[name] = model.now
        assert server.sent.get(name, 0) < life.anew, "once for each time that it is asked anew"
        others = [other for other in model.servers.values() if other is not server]
        is_first = not any(other.sent.get(name) == life.anew for other in model.servers.values())
        is_certain = self.is_plain or server.well_since < life.anew_at
        is_late = model.now - life.began >= model.bounds.join_s - LEAST_S
        if is_certain and not is_first and not is_late:
            self.speculative += any(self.is_hoped_for(other, name) for other in others)

    def holds(self) -> None:
        model = self.model
        for server in model.servers.values():
            server.got = []
            self.is_plain &= server.is_up and server.conn not in model.stage.held
        (hedged,) = [value.value for value in self.policy.metrics() if value.key == "hedged"]
        assert isinstance(hedged, int)
        self.tokens -= hedged - self.hedged
        self.hedged = hedged
        assert self.tokens > -LEAST_S and self.speculative <= hedged
        assert not self.is_plain or self.speculative == hedged
        well = [server for server in model.servers.values() if self.is_well(server)]
        assert not {link.conn for link in self.policy.waiting} & {one.conn for one in well}
        assert set(self.policy.kept) == set(model.lives)  # type: ignore[call-overload]
        if model.brain.due <= model.now:
            return
        is_anyone_ill = len(well) < sum(server.is_up for server in model.servers.values())
        for name, life in model.lives.items():
            if all(name in server.sent for server in well):
                continue
            assert model.now - life.began < model.bounds.join_s, name
            # Lines that wait for a TS that takes nothing are in good hands, as far as LS knows.
            hoped_for = any(self.is_hoped_for(one, name) for one in model.servers.values())
            assert hoped_for or is_anyone_ill, name
            is_late = model.now - self.last_sent[name] >= model.bounds.hedge_delay_max_s
            assert not (self.is_plain and is_late and self.tokens > 1), name

    def is_well(self, server: Server) -> bool:
        """Return whether it is up, and takes what it is sent."""
        connection = self.model.stage.connections.get(server.conn)
        is_light = connection is not None and connection.weight.state is BacklogState.LIGHT
        return is_light and server.is_up and server.conn not in self.model.stage.held

    def ends(self) -> None:
        """Let go, step by step, of all that is settled."""
        while (due := self.policy.due) < math.inf:
            self.policy.woken(due)


@dataclass(eq=False)
class Watched:
    """A sampled race."""

    began: float
    asked: dict[str, float] = field(default_factory=dict)
    replies: dict[str, tuple[float, str]] = field(default_factory=dict)
    end: str = ""
    took: float = 0.0
    winner: str | None = None


def _set_of(addresses: str) -> set[object]:
    return {ipaddress.ip_address(one) for one in addresses.split(",")}


class Samples(Check):
    """Every race that is sampled has its record, and metrics are those of the records."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.open: dict[bytes, Watched] = {}
        self.records: list[dict[str, Any]] = []
        self.counted: Counter[str] = Counter()
        self.times = {subject: Histogram() for subject in ("", *model.servers)}

    def asked(self, names: list[bytes]) -> None:
        for name in names:
            if name not in self.open and len(self.open) < self.model.bounds.samples_max:
                self.open[name] = Watched(self.model.now)

    def sent(self, server: Server, name: bytes) -> None:
        if race := self.open.get(name):
            race.asked.setdefault(server.conn, self.model.now - race.began)

    def answered(self, server: Server, name: bytes, line: bytes, is_admitted: bool) -> None:
        race = self.open.get(name)
        if race is None or (not race.end and not is_admitted):
            return
        said = race.replies.get(server.conn, (0.0, ""))[1]
        if not race.end and said in NEGATIVES.values():  # it has more to say now
            del race.replies[server.conn]
        if self.reply(race, server, line.split(b" ")[1].decode()) and not race.end:
            race.end, race.took, race.winner = "ANSWERED", self.took(race), server.conn
        self.close_if_done(name)

    def denied(self, server: Server, name: bytes, what: bytes) -> None:
        if race := self.open.get(name):
            self.reply(race, server, NEGATIVES[what])
            self.close_if_done(name)

    def closed(self, name: bytes, end: str) -> None:
        race = self.open.get(name)
        if race is None or end == "ANSWERED":
            return
        if not race.end:
            race.end, race.took = end, self.took(race)
        self.close_if_done(name)

    def moment(self) -> None:
        """Watch nothing for longer than anybody could wait."""
        for name, race in list(self.open.items()):
            if race.began + self.model.bounds.timeout_s <= self.model.now:
                if not race.end:
                    race.end, race.took = "TIMED_OUT", self.took(race)
                self.close(name)

    def took(self, race: Watched) -> float:
        return self.model.now - race.began

    def reply(self, race: Watched, server: Server, what: str) -> bool:
        """Take the first reply of a TS that was asked."""
        is_news = server.conn in race.asked and server.conn not in race.replies
        if is_news:
            race.replies[server.conn] = (self.took(race), what)
        return is_news

    def close_if_done(self, name: bytes) -> None:
        race = self.open[name]
        if race.end and race.asked.keys() == race.replies.keys():
            self.close(name)

    def close(self, name: bytes) -> None:
        race = self.open.pop(name)
        answers = {
            server: (at, what)
            for server, (at, what) in race.replies.items()
            if what not in NEGATIVES.values()
        }
        winner, ats = race.winner, [at for at, _ in answers.values()]
        margin = ats[1] - ats[0] if winner and len(ats) > 1 else None
        self.records.append(
            {
                "at": round(race.began, 6),
                "time": "1970-01-01T00:00:00.000Z",
                "question": name.decode(),
                "policy": "race" if self.model.share is None else "hedge",
                "share": 1.0,
                "asked": {server: round(at, 6) for server, at in race.asked.items()},
                "replies": {
                    server: [round(at, 6), what] for server, (at, what) in race.replies.items()
                },
                "winner": winner,
                "margin": None if margin is None else round(margin, 6),
                "end": race.end,
                "took": round(race.took, 6),
            }
        )
        self.counted["sampled"] += 1
        if winner and len(race.asked) > 1:
            self.count_time("", margin, 0.0)
        differing = []
        for server, asked_at in race.asked.items():
            self.counted[f"{server}.silent"] += server not in race.replies
            if server in answers or server not in race.replies:
                self.count_time(server, answers.get(server, [None])[0], asked_at)
            if winner and server in answers:
                self.counted[f"{server}.lost"] += server != winner
                if _set_of(answers[server][1]) != _set_of(answers[winner][1]):
                    differing.append(server)
        for server in differing:
            self.counted[f"{server}.disagreed"] += 1
        self.counted["disagreements"] += bool(differing)

    def count_time(self, subject: str, at: float | None, since: float) -> None:
        """Count a time of a server, or a margin (""); None for one that never came."""
        if at is None:
            self.times[subject].add_endless()
        else:
            self.times[subject].add(at - since)

    def holds(self) -> None:
        model = self.model
        texts = [json.loads(record) for record in model.stage.records]
        model.stage.records = []
        by_name = sorted(self.records, key=lambda record: record["question"])
        assert sorted(texts, key=lambda record: record["question"]) == by_name
        assert all(list(text) == list(record) for text, record in zip(texts, by_name, strict=True))
        self.records = []
        samples = part_of(model.brain, RaceSamples)
        assert samples is not None
        shown = {value.key: value.value for value in samples.metrics()}
        assert shown == {key: self.counted[key] for key in shown}
        for _, histogram, subject in samples.histograms():
            assert histogram.counts == self.times[subject].counts, subject
            assert histogram.sum_s == pytest.approx(self.times[subject].sum_s), subject
        assert list(samples.kept) == list(self.open)  # type: ignore[call-overload]
        told = [report for report in model.stage.reports if "disagree about" in report]
        assert len(told) == self.counted["disagreements"]
