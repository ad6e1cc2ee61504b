"""The load balancer (LS): asks table servers and resolvers, and relays the first answer.

It stores no names. Whom a question goes to is its policy's to say: everyone at once, unless it
is told to hedge. The first answer goes to everyone who waits for it, as it came; when there is
none, each asker hears so in its own spelling.

A server is a link to it, whatever it speaks. What differs is in two places: how it is asked
(`_ask_server`), and how what it says is read before it comes to `_answer` and `_deny`.

Backpressure, so that no circle can close: LS reads its links always. It stops reading clients
while a link is HOLDING, and a client that has too many questions pending. What replies to pending
questions may come to it keeps in `Owed`, for the reactor to see what all clients together are
owed. Datagrams that are not read would be lost, so they are always read.

Not here: which question waits for what (`nodes/ls/questions.py`), whom it is asked of
(`nodes/ls/policy.py`, `hedging/policy.py`), what TSs say that is no answer (`table_link.py`,
`negatives.py`), how resolvers are asked (`resolvers/resolver.py`), what the losers say
(`race_samples.py`), how a link stands (`link.py`), sessions and draining
(`core/protocol/session.py`, `core/protocol/server.py`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

from core.addresses import Address
from core.bounds import BoundHits, Bounds
from core.effects import (
    Abort,
    Close,
    Dial,
    Effect,
    Level,
    Notify,
    Pause,
    ReopenRecords,
    Report,
    Resolve,
    Resume,
    Send,
    Standing,
)
from core.environment import Environment
from core.events import (
    Backlogged,
    Closed,
    ConnectionEvent,
    Datagrams,
    DrainAsked,
    Ended,
    Event,
    Opened,
    PlaceWanted,
    Received,
    Relieved,
    ReloadAsked,
    Resolved,
    StatsAsked,
    Woken,
)
from core.io.descriptors import LOOKUP_STARTS
from core.machine import Watch
from core.metrics import Histogram, Metric, Value
from core.owed import Owed
from core.protocol.messages import Command, Negative, ReplyBatch, answered_in, split_lines
from core.protocol.server import OtherAskers, Server
from core.protocol.session import Asker, SessionState
from nodes.dns.question import TableAnswer, is_beyond_tables
from nodes.dns.reply import DnsReply
from nodes.ls.hedging.policy import HedgePolicy
from nodes.ls.link import Link, LinkEvent, LinkState
from nodes.ls.negatives import Denial, HeldNegative, HeldNegatives
from nodes.ls.policy import Policy, RacePolicy
from nodes.ls.questions import (
    QuestionEvent,
    Questions,
    QuestionState,
    Relays,
    Replies,
    state_after,
)
from nodes.ls.race_samples import RaceSamples
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from nodes.ls.resolvers.resolver import QuestionInterest, Resolver
from nodes.ls.resolvers.resolvers import Resolvers
from nodes.ls.status import Status
from nodes.ls.table_link import sort_lines

_STREAMS = 2  # to a resolver: the one in use, and one that has not ended yet
# No resolver has said anything about the name.
_NOT_TOLD = frozenset(
    {QuestionState.FAILURE_HELD, QuestionState.REFUSAL_HELD, QuestionState.NAME_HELD}
)
_JUDGED_LEAST = 100  # questions that have ended before LS says what most of them came to


def descriptors_for(bounds: Bounds, servers: int, upstreams: int) -> int:
    """How many descriptors LS needs for so many TSs and resolvers, lookups included. Each socket
    of datagrams may be there twice: it is replaced before its last replies have come."""
    each = 2 * bounds.upstream_sockets + _STREAMS
    lookups = bounds.lookups_max - 1 + LOOKUP_STARTS if servers else 0
    return servers + each * upstreams + lookups


class LoadBalancer:
    """The brain of LS. `servers` holds the addresses of each TS; they are called TS1, TS2, ...

    `hosts`, parallel to it, says what those addresses were resolved from; without it a TS that
    has moved is not found again. A TS without an address is looked up until there is one.
    `extra_load`: hedge, for this share of extra questions; without
    it, race. `dns` makes the askers that speak DNS, if there are any. `upstreams` are resolvers;
    they are called DNS1, DNS2, ..., and asked with IDs made of what `secret` gives. `grace_s`: how
    long a worse answer waits for a better one; without it, as long as those who are to speak
    usually take. `sample`: the share of races that are watched to their end. `loop`: the figures of
    the loop that runs it. `shown` makes of its figures what STATS tells.
    """

    def __init__(
        self,
        servers: Sequence[tuple[Address, ...]],
        bounds: Bounds,
        random: Callable[[], float],
        *,
        hosts: Sequence[tuple[str, int]] = (),
        extra_load: float | None = None,
        dns: OtherAskers | None = None,
        upstreams: Sequence[Address] = (),
        secret: Callable[[int], bytes] = bytes,
        grace_s: float | None = None,
        sample: float = 0.0,
        loop: Callable[[], list[Value]] = list,
        shown: Callable[[list[Value]], list[Value]] = list,
        once: bool = False,
        hits: BoundHits | None = None,
        owed: Owed | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._bounds = bounds
        self._hits = BoundHits() if hits is None else hits
        self._owed = Owed(bounds, self._hits) if owed is None else owed
        self._server = Server(
            bounds,
            once,
            lambda: self._status.account(),
            lambda: shown(self.metrics()),
            self._hits,
            watch,
            dns,
        )
        self._questions = Questions(bounds.join_s)
        self._links = {
            f"TS{number}": Link(f"TS{number}", addresses, bounds, random, watch, 1 << number - 1)
            for number, addresses in enumerate(servers, 1)
        }
        self._resolvers = Resolvers(
            upstreams,
            1 << len(servers),
            bounds,
            random,
            secret,
            QuestionInterest(
                self._is_wanted,
                lambda question: self._negatives.is_held(question),
                lambda question: self._negatives.was_denied(question),
            ),
            self._hits,
            grace_s,
            watch,
        )
        self._links |= self._resolvers.links
        self._line_equivalents = LineEquivalents()
        links = list(self._links.values())
        self._tables = (1 << len(servers)) - 1  # the bits of the TSs
        self._asked_by_dns = sum(link.bit for link in self._resolvers.links.values())
        self._negatives = HeldNegatives(
            sum(link.bit for link in links), self._tables, self._grace_s
        )
        self._hedge = None
        if extra_load is not None:
            unfit = self._negatives.unfit if servers and upstreams else None
            self._hedge = HedgePolicy(links, bounds, extra_load, unfit)
        self._policy: Policy = self._hedge or RacePolicy(
            links, self._questions, bounds.waiting_bytes_high
        )
        self._unfit_said = self._hedge is None  # the log says once that hedging does not fit
        self._samples: RaceSamples | None = None
        if sample:
            policy = "race" if self._hedge is None else "hedge"
            self._samples = RaceSamples(Environment(bounds), list(self._links), sample, policy)
        self._hosts = dict(zip(self._links, hosts, strict=False))
        where = {name: f"{host}:{port}" for name, (host, port) in self._hosts.items()}
        self._status = Status(
            self._questions,
            self._hedge,
            self._server,
            self._links,
            self._resolvers,
            self._samples,
            loop,
            self._hits,
            where | self._resolvers.where,
        )
        # What every step wants to know of all links: see `_links_changed`.
        self._links_due = 0.0  # the first `Link.due` of all
        self._there = 0  # the bits of those that have a connection
        self._live = 0  # the bits of those that a reply is waited for from
        self._failing = 0  # the bits of resolvers that cannot be asked
        self._held = False  # whether one is HOLDING
        self._was_held = False  # when `_apply_backpressure` looked last
        self._paused: dict[str, None] = {}  # sessions that are not read, in order
        self._sought: dict[str, None] = {}  # links whose hosts are looked up because of a reload
        self._seek_again = False  # another reload was asked for meanwhile

    def deadline(self) -> float | None:
        """The first of: a batch times out, the policy or a link has something due, what is held
        is to be released, the drain ends."""
        due = min(self._questions.next_due(), self._links_due, self._server.drain_due)
        if self._hedge is not None:
            due = min(due, self._hedge.due())
        due = min(due, self._negatives.due())
        if self._samples is not None:
            due = min(due, self._samples.due())
        if self._resolvers:
            due = min(due, self._resolvers.due())
        return None if due == math.inf else due

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if isinstance(event, Received):
            link = self._links.get(event.conn)
            if link is not None:
                effects = self._hear(link, event.data, now)
            elif upstream := self._resolvers.get(event.conn):
                effects = self._hear_resolver(upstream, event, now)
            else:
                effects = self._ask(event.conn, event.data, now)
        elif isinstance(event, Datagrams):
            if upstream := self._resolvers.get(event.conn):
                effects = self._hear_resolver(upstream, event, now)
            else:
                effects = self._ask(event.conn, event.datagrams, now)
        else:
            effects = self._step_rarely(event, now)
            effects += self._links_changed(now)
            newcomer = None
            if isinstance(event, Opened):
                newcomer = self._server.sessions.get(event.conn)
            effects += self._apply_backpressure(newcomer)
        if self._samples is not None and self._samples.effects:
            effects += self._samples.take_effects()
        return effects

    def _step_rarely(self, event: Event, now: float) -> list[Effect]:
        """Everything but lines."""
        match event:
            case Woken():
                return self._woken(now)
            case DrainAsked(since):
                return self._server.drain(min(now, since)) + self._part_maybe()
            case StatsAsked():
                return self._server.tell()
            case ReloadAsked():
                return [ReopenRecords(), *self._look_up_all()]
        assert isinstance(event, ConnectionEvent)
        link = self._links.get(event.conn)
        if link is not None:
            return self._step_link(link, event, now)
        upstream = self._resolvers.get(event.conn)
        if upstream is not None:
            return self._step_upstream(upstream, event, now)
        match event:
            case Opened(conn, role, is_datagrams):
                return self._server.opened(conn, role, is_datagrams)
            case Ended(conn, unfinished):
                spoke = self._server.spoke(conn) if unfinished else []
                return spoke + self._server.ended(conn, unfinished)
            case PlaceWanted(conn):
                return self._server.part(conn)
            case Closed(conn):
                self._paused.pop(conn, None)
                session = self._server.sessions[conn]
                self._questions.forget(session)
                self._owed.promise(session.conn, session.owed * session.reply_bytes_max)
                self._close(QuestionState.DROPPED, now)
                return self._server.closed(conn, now) + self._part_maybe()
        raise AssertionError(event)

    # -- questions ---------------------------------------------------------------------------------

    def _ask(self, conn: str, data: Any, now: float) -> list[Effect]:  # noqa: ANN401
        """Admit an asker's questions and pass on those that are not being asked already."""
        effects = self._server.spoke(conn) if self._server.once else []
        session = self._server.sessions[conn]
        asked = session.receive(data, now)
        if asked.said:
            self._server.errors += asked.errors
            effects.append(session.say(asked.said))
        if asked.questions:
            questions = self._questions.ask(session, asked.questions, asked.spellings, now)
            self._owed.promise(session.conn, session.owed * session.reply_bytes_max)
            if questions:
                whole = asked.lines if questions is asked.questions else _lines(questions)
                if self._negatives.spoken:
                    self._negatives.asked_again(questions)
                if self._samples is not None:
                    self._samples.begin(questions, now)
                for link, part in self._policy.ask(questions, now):
                    effects += self._ask_server(
                        link, part, now, whole if part is questions else b""
                    )
                if self._policy.waiting:
                    effects += self._ask_waiting(now)
                if self._failing:
                    effects += self._fail(questions, now)
        if session.life.state is not SessionState.OPEN:
            effects += session.last_words()
        effects += self._apply_backpressure(session)
        return effects

    def _ask_server(
        self, link: Link, questions: list[bytes], now: float, lines: bytes = b""
    ) -> list[Effect]:
        """Ask a server. `lines` are the questions as such, if they are there already."""
        upstream = self._resolvers.get(link.conn)
        count = len(questions)
        if upstream is None and self._resolvers:
            questions, asked = self._line_equivalents.as_lines(questions)
            count, lines = len(asked), _lines(asked)
        if not questions:
            return []
        link.asked += count
        if self._samples is not None:
            racing = questions
            if upstream is None and self._line_equivalents:
                racing = [q for q in questions if not is_beyond_tables(q)]
            self._samples.asked(link.conn, racing, now)
        if upstream is not None:
            return upstream.ask(questions, now)
        return [Send(link.conn, lines or _lines(questions))]

    def _reply(self, replies: Replies) -> list[Effect]:
        """Send what became of questions, and let those go who were waiting for it."""
        effects: list[Effect] = []
        for session, chunks in replies.items():
            self._owed.promise(session.conn, session.owed * session.reply_bytes_max)
            effects += session.reply(b"".join(chunks))
        return effects

    def _relay(self, relays: Relays) -> list[Effect]:
        """Send what resolvers said to those who wait for it."""
        effects: list[Effect] = []
        for asker, relayed in relays.items():
            self._owed.promise(asker.conn, asker.owed * asker.reply_bytes_max)
            effects += asker.relay(relayed)
        return effects

    def _woken(self, now: float) -> list[Effect]:
        is_time_up = self._questions.next_due() <= now
        effects: list[Effect] = []
        if self._negatives.spoken:
            late = self._questions.due_questions(now) if is_time_up else ()
            effects += self._release(self._negatives.held_until(now, late), now)
        if self._resolvers:
            silent_before = self._resolvers.silent
            effects += self._resolvers.woken(now, self._policy.admits)
            if self._negatives.spoken and self._resolvers.silent & ~silent_before:
                effects += self._release(self._negatives.held_in_vain(self._awaited), now)
            if self._failing and self._resolvers.silent & ~silent_before:
                effects += self._fail(list(self._questions.open_questions()), now)
        if is_time_up:
            effects += self._reply(self._questions.expire(now))
            self._close(QuestionState.TIMED_OUT, now)
            effects += self._judge_silence()
        if self._samples is not None and self._samples.due() <= now:
            self._samples.woken(now)
        if self._hedge is not None and self._hedge.due() <= now:
            self._hedge.woken(now)
            effects += self._ask_waiting(now)
        for link in self._links.values():
            if link.due() > now or self._is_parting:
                continue
            if link.life.state is LinkState.HOLDING:
                link.life.fire(LinkEvent.HELD_TOO_LONG)
                self._hits["held_s"] += 1
                link.asked_upto = self._questions.next_number
                text = f"{link.conn} is stalled: it does not take its questions"
                effects.append(Report(text, Level.WARNING))
            elif not link.addresses and link.conn in self._hosts:
                link.is_sought = True
                effects.append(Resolve(link.conn, *self._hosts[link.conn]))
            else:
                link.life.fire(LinkEvent.DIAL_DUE)
                link.dials += 1
                if upstream := self._resolvers.get(link.conn):
                    effects += upstream.dial()
                    continue
                effects.append(Dial(link.conn, link.addresses))
                if link.conn in self._hosts and link.is_long_away(now):
                    self._hits["away_s"] += 1
                    effects.append(Resolve(link.conn, *self._hosts[link.conn]))
        return effects + self._server.woken(now)

    def _ask_waiting(self, now: float) -> list[Effect]:
        """Ask the links for what the policy wants them to be asked besides new questions."""
        effects: list[Effect] = []
        for link in list(self._policy.waiting):
            if link.life.state is LinkState.UP:  # else it is asked as soon as it is relieved
                effects += self._ask_slice(link, now)
        return effects

    # -- answers -----------------------------------------------------------------------------------

    def _hear(self, link: Link, data: bytes, now: float) -> list[Effect]:
        """Credit what a TS said to whoever waits for it."""
        why = ""
        questions = answered_in(data)
        if questions is not None:
            link.errors_in_a_row = 0
            link.answered += len(questions)
            effects = self._answer_lines(link, questions, data, now)
        else:
            said, why = sort_lines(link, data, self._bounds, self._hits)
            effects = self._answer_lines(link, said.questions, said.lines, now)
            if said.not_found or said.no_data or said.names_below:
                effects += self._deny_lines(link, said, now)
        if link.answered > link.asked + self._bounds.surplus_answers_max and not why:
            self._hits["surplus_answers_max"] += 1
            why = "it answers what nobody asked"
        if why:
            effects += self._give_up(link, why, Abort(link.conn))
            effects += self._links_changed(now)
        effects += self._apply_backpressure()
        return effects

    def _answer_lines(
        self, link: Link, questions: list[bytes], lines: bytes, now: float
    ) -> list[Effect]:
        """Answers of a TS say something of the twins of what it was asked, too."""
        if not self._line_equivalents.have(questions):
            return self._answer(link, questions, lines, now)
        each = split_lines(lines)
        twins, answers, denials = self._line_equivalents.answered(questions, each)
        are_asked = list(map(self._is_asked_itself, questions))
        effects = self._answer(link, twins, answers, now) if twins else []
        if denials:
            effects += self._deny(link, [], denials, now)
        if any(are_asked):
            lines = _lines(compress(each, are_asked))
            effects += self._answer(link, list(compress(questions, are_asked)), lines, now)
        return effects

    def _deny_lines(self, link: Link, said: ReplyBatch, now: float) -> list[Effect]:
        """What a TS says of lines without an answer it says of their twins, too. Whether a name
        exists that is only above others is for resolvers to say, where there are any."""
        not_found, no_data, below = said.not_found, said.no_data, said.names_below
        if self._resolvers:
            not_found, below = not_found + below, []
        denials = self._line_equivalents.without_data(no_data)
        unknown = self._line_equivalents.of(not_found)
        if self._line_equivalents:
            not_found = list(filter(self._is_asked_itself, not_found))
            no_data = list(filter(self._is_asked_itself, no_data))
        denials += [(question, QuestionEvent.NO_DATA_SAID, None) for question in no_data]
        denials += [(question, QuestionEvent.NAME_SAID, None) for question in below]
        return self._deny(link, not_found + unknown, denials, now)

    def _is_asked_itself(self, line: bytes) -> bool:
        """Whether a line was asked for itself, and not only for its twins."""
        return self._is_wanted(line) or not self._line_equivalents.have((line,))

    def _hear_resolver(self, upstream: Resolver, event: Event, now: float) -> list[Effect]:
        """What a resolver says counts as what a TS says."""
        heard = upstream.hear(event, now)
        link, effects = upstream.link, heard.effects
        if heard.why and link.life.state not in (LinkState.DOWN, LinkState.CLOSING):
            link.life.fire(LinkEvent.GIVEN_UP)
            effects += [*self._say_down(link, heard.why), *upstream.part()]
        elif heard.is_back and link.life.state is LinkState.DIALING:
            heard.is_back = False
            effects += [*self._come_up(link, now), *self._links_changed(now)]
        link.late += heard.late
        self._questions.late += heard.late
        if heard.questions:
            effects += self._answer(link, heard.questions, heard.answers, now)
        if heard.differs:
            self._differs(link, now)
        if heard.denials:
            effects += self._deny(link, [], heard.denials, now)
        if heard.is_back:
            effects += upstream.ask(self._open_with(link), now)
        return effects + self._apply_backpressure()

    def _answer(
        self,
        link: Link,
        questions: list[bytes],
        answers: bytes | Sequence[DnsReply | TableAnswer],
        now: float,
    ) -> list[Effect]:
        """Relay answers, parallel to `questions`, for what this link was asked: lines, or what is
        to be relayed in another language."""
        effects: list[Effect] = []
        late_before = self._questions.late
        admitted = self._policy.admits(link, questions)
        if self._samples is not None:
            self._samples.answered(link.conn, questions, _texts(answers), now, admitted)
        if admitted is not None:
            self._questions.late += admitted.count(False)
            questions = list(compress(questions, admitted))
            if isinstance(answers, bytes):
                answers = _lines(compress(split_lines(answers), admitted))
            else:
                answers = list(compress(answers, admitted))
        if not questions:
            link.late += self._questions.late - late_before
            return effects
        is_table = link.bit & self._tables
        if not is_table and self._negatives.have_denied(questions):
            self._differs(link, now)
        if self._negatives.spoken:
            if is_table and not self._unfit_said and self._negatives.are_spoken_of(questions):
                effects += self._say_unfit(f"{link.conn} answers what another TS has not")
            self._negatives.forget(questions)
        self._line_equivalents.forget(questions)
        self._policy.answered(link, questions, now)
        late_admitted = self._questions.late
        if isinstance(answers, bytes):
            effects += self._reply(self._questions.answer(questions, answers))
        else:
            relays = self._questions.relay(
                questions, answers, QuestionState.OPEN, QuestionEvent.ANSWER
            )
            effects += self._relay(relays)
        link.won += len(questions) - (self._questions.late - late_admitted)
        link.late += self._questions.late - late_before
        return effects

    def _deny(
        self, link: Link, not_found: list[bytes], denials: Sequence[Denial], now: float
    ) -> list[Effect]:
        """A server has nothing about these; end what that decides, and ask others for the rest."""
        denied = [*not_found, *[question for question, _, _ in denials]]
        if self._samples is not None:
            findings = {QuestionEvent.NOT_FOUND_SAID: list(not_found)}
            for question, finding, _ in denials:
                findings.setdefault(finding, []).append(question)
            for finding, some in findings.items():
                self._samples.denied(link.conn, some, finding, now)
        late_before = self._questions.late
        still = dict.fromkeys(self._questions.are_open(self._only_asked(link, denied)))
        link.late += self._questions.late - late_before
        not_found = [question for question in not_found if question in still]
        denials = [denial for denial in denials if denial[0] in still]
        unknown, enough = self._negatives.hear(link.bit, self._awaited, not_found, denials, now)
        self._policy.denied(link, list(still), now)
        effects = self._release(enough, now)
        if denials and self._resolvers:
            effects += self._resolvers.held([question for question, _, _ in denials], now)
        if unknown:
            ended = self._questions.end(unknown, QuestionState.OPEN, QuestionEvent.ALL_NOT_FOUND)
            effects += self._reply(ended)
            self._close(QuestionState.NOT_FOUND, now)
        return effects + self._ask_waiting(now)

    def _release(self, enough: list[HeldNegative], now: float) -> list[Effect]:
        """Say the best that was said of what has been held enough."""
        effects: list[Effect] = []
        for course in dict.fromkeys([held.course for held in enough]):
            some = [held for held in enough if held.course is course]
            plain = [held.question for held in some if held.message is None]
            said = {held.question: held.message for held in some if held.message is not None}
            effects += self._reply(self._questions.end(plain, course, QuestionEvent.RELEASED))
            effects += self._relay(
                self._questions.relay(
                    list(said), list(said.values()), course, QuestionEvent.RELEASED
                )
            )
            self._close(state_after(course, QuestionEvent.RELEASED), now)
        return effects

    def _close(self, end: QuestionState, now: float) -> None:
        """Some questions are open no more: let those know who keep something about them."""
        closed = self._questions.take_closed()
        self._negatives.forget(closed)
        self._line_equivalents.forget(closed)
        self._policy.closed(closed)
        if self._samples is not None:
            self._samples.ended(closed, end, now)

    def _only_asked(self, link: Link, questions: list[bytes]) -> list[bytes]:
        """Leave out what this link was not asked for on this connection."""
        admitted = self._policy.admits(link, questions)
        if admitted is None:
            return questions
        self._questions.late += admitted.count(False)
        return list(compress(questions, admitted))

    # -- whether hedging fits ----------------------------------------------------------------------

    def _judge_silence(self) -> list[Effect]:
        """Hedging is for TSs that say what they do not know."""
        race = self._questions
        silent = race.denied[Negative.TIMED_OUT]
        ended = race.answered + sum(race.denied.values())
        if self._unfit_said or ended < _JUDGED_LEAST or 2 * silent <= ended:
            return []
        return self._say_unfit("more than half of the questions get no reply from any TS")

    def _say_unfit(self, why: str) -> list[Effect]:
        self._unfit_said = True
        advice = "hedging is for equal tables and --answer-unknown; consider --policy race"
        return [Report(f"{why}: {advice}", Level.WARNING)]

    # -- resolvers ---------------------------------------------------------------------------------

    def _is_wanted(self, question: bytes) -> bool:
        """Whether a resolver's reply to this is of interest to anybody."""
        if self._questions.is_open(question):
            return True
        return self._samples is not None and self._samples.watches(question)

    def _differs(self, link: Link, now: float) -> None:
        """Wait longer for this resolver from now on: it had what another denied."""
        upstream = self._resolvers.get(link.conn)
        if upstream is not None and upstream.grace.differs(now):
            self._negatives.wait_longer(link.bit, now)

    def _open_with(self, link: Link) -> list[bytes]:
        """All that is open and that this link was to be asked."""
        questions = list(self._questions.open_questions())
        admitted = self._policy.admits(link, questions)
        return questions if admitted is None else list(compress(questions, admitted))

    @property
    def _awaited(self) -> int:
        """The bits of those that a reply is waited for from."""
        return self._live & ~self._resolvers.silent if self._resolvers else self._live

    def _grace_s(self, course: QuestionState, bits: int, now: float) -> float:
        """How long a question that is held so waits for these to speak."""
        is_failure = course in _NOT_TOLD
        no_data_s = 0.0
        if bits & self._tables:  # what fails at once does so before a TS could say anything
            is_early = is_failure and self._failing
            no_data_s = self._bounds.grace_failed_s if is_early else self._bounds.no_data_s
        return max(no_data_s, self._resolvers.grace_s(bits, now, is_failure=is_failure))

    def _fail(self, questions: list[bytes], now: float) -> list[Effect]:
        """Resolvers cannot be asked these, and no other resolver is waited for: that counts as if
        they had said SERVFAIL."""
        if not questions:
            return []
        self._resolvers.find_with(questions[-1])
        awaited = self._awaited
        if awaited & ~self._tables:
            return []
        denials: list[Denial] = [
            (question, QuestionEvent.FAILURE_SAID, None) for question in questions
        ]
        _, enough = self._negatives.hear(self._failing, awaited, [], denials, now)
        return self._release(enough, now)

    def _step_upstream(self, upstream: Resolver, event: Event, now: float) -> list[Effect]:
        """What happens to one of its sockets."""
        link = upstream.link
        effects = self._hear_resolver(upstream, event, now)
        if isinstance(event, Opened) and link.life.state is LinkState.DIALING:
            if not upstream.reachability.is_refused:  # else it is when something comes from it
                effects += self._come_up(link, now)
        elif isinstance(event, Closed) and not upstream.has_sockets:
            link.lost(now, self._bounds.probe_s)
            effects += [*self._say_down(link, event.why), *self._part_maybe()]
        return effects

    def _come_up(self, link: Link, now: float) -> list[Effect]:
        """A resolver can be asked: ask for what is open."""
        news = [Report(f"{link.conn} is up")] if link.down_said else []
        link.connected(now)
        link.down_said = False
        self._negatives.forget_server(link.bit)
        return [*news, *self._links_changed(now), *self._ask_slice(link, now)]

    # -- links -------------------------------------------------------------------------------------

    def _step_link(self, link: Link, event: Event, now: float) -> list[Effect]:
        match event:
            case Opened():
                link.connected(now)
                link.down_said = False
                meeting = self._links_changed(now)
                up = Report(f"{link.conn} is up")
                return [up, *meeting, *self._ask_slice(link, now)]
            case Closed(_, why):
                link.lost(now)
                return [*self._say_down(link, why), *self._part_maybe()]
            case Resolved(_, addresses, why):
                return self._looked_up(link, addresses, why, now)
            case Ended():
                return self._give_up(link, "it ended", Close(link.conn))
            case Backlogged():
                if link.life.fire(LinkEvent.BACKLOGGED) is LinkState.HOLDING:
                    link.held_since = now
                return []
            case Relieved():
                if link.life.fire(LinkEvent.RELIEVED) is LinkState.CATCHING_UP:
                    return [*self._links_changed(now), *self._ask_slice(link, now)]
                return self._ask_waiting(now)
        raise AssertionError(event)

    def _look_up_all(self) -> list[Effect]:
        """Where are the TSs now? Nothing waits for the answers. Who asks again before they are all
        there gets one more round afterwards: there are no more children at a time than TSs."""
        if self._server.is_draining or not self._hosts:
            return []
        effects: list[Effect] = [Notify(Standing.RELOADING)]
        self._seek_again = bool(self._sought)
        if self._seek_again:
            return effects
        self._sought = dict.fromkeys(self._hosts)
        return effects + [Resolve(conn, *host) for conn, host in self._hosts.items()]

    def _looked_up(
        self, link: Link, addresses: tuple[Address, ...], why: str, now: float
    ) -> list[Effect]:
        """A lookup is done. A TS that has moved is parted from, and dialled where it is now; one
        that nobody knows yet is looked up again."""
        effects: list[Effect] = []
        has_moved = bool(addresses) and set(addresses) != set(link.addresses)
        if has_moved:
            link.found(addresses, now)
            if not self._is_parting and (link.is_answering or link.life.state is LinkState.DIALING):
                effects += self._give_up(link, "it has moved", Abort(link.conn))
        elif not link.addresses:
            if not self._is_parting:
                text = f"{link.conn}: cannot look up {self._hosts[link.conn][0]} ({why}); "
                text += "trying again; is the name spelled right?"
                kind = f"{link.conn} cannot be looked up"
                effects.append(Report(text, Level.WARNING, kind))
            link.not_found(now, sum(not self._links[conn].addresses for conn in self._hosts))
        if link.conn in self._sought:
            del self._sought[link.conn]
            host = self._hosts[link.conn][0]
            if not addresses and link.addresses:
                text = f"{link.conn}: cannot look up {host} ({why}); it is taken to be where it was"
                effects.append(Report(text, Level.WARNING))
            elif addresses and not has_moved:
                effects.append(Report(f"{link.conn} is where it was"))
            if not self._sought and self._seek_again:
                effects += self._look_up_all()
            elif not self._sought:
                effects.append(Notify(Standing.READY))
        return effects

    def _ask_slice(self, link: Link, now: float) -> list[Effect]:
        """Ask a link for the next slice of what the policy has for it. If more is left, it goes
        over the high mark, so that Relieved will call for the next one. Datagrams have no mark."""
        questions, is_last = self._policy.next_slice(link, now)
        while not is_last and self._resolvers.get(link.conn):
            more, is_last = self._policy.next_slice(link, now)
            questions += more
        if link.life.state is LinkState.CATCHING_UP and is_last:
            link.life.fire(LinkEvent.CAUGHT_UP)
        elif link.life.state is LinkState.UP and not is_last:
            link.life.fire(LinkEvent.FELL_BEHIND)
        return self._ask_server(link, questions, now)

    def _give_up(self, link: Link, why: str, end: Effect) -> list[Effect]:
        """Part from a link in the way that `end` says."""
        link.life.fire(LinkEvent.GIVEN_UP)
        return [*self._say_down(link, why), end]

    def _say_down(self, link: Link, why: str) -> list[Effect]:
        if link.down_said or self._server.is_draining:
            return []
        link.down_said = True
        text = f"{link.conn} is down ({why}); dialling it again"
        return [Report(text, Level.WARNING)]

    def _links_changed(self, now: float) -> list[Effect]:
        """Take in how all links stand, since one of them may have moved."""
        links = self._links.values()
        self._links_due = math.inf if self._is_parting else min(link.due() for link in links)
        self._held = any(link.life.state is LinkState.HOLDING for link in links)
        there = sum(link.bit for link in links if link.is_answering)
        live = sum(link.bit for link in links if link.is_live)
        gone, lame = self._there & ~there, self._live & ~live
        self._there, self._live = there, live
        effects: list[Effect] = []
        if self._negatives.spoken and (gone or lame):
            self._negatives.forget_server(gone)
            effects = self._release(self._negatives.held_in_vain(self._awaited), now)
        self._failing = self._asked_by_dns & ~live
        if self._failing and lame:
            effects += self._fail(list(self._questions.open_questions()), now)
        self._policy.links_moved(now)
        return effects + self._ask_waiting(now)

    # -- backpressure ------------------------------------------------------------------------------

    def _apply_backpressure(self, asker: Asker | None = None) -> list[Effect]:
        """Pause and resume sessions as links and caps want it. `asker` may have asked too much."""
        held = self._held
        sessions: Iterable[Asker]
        if held is not self._was_held:
            self._was_held = held
            sessions = self._server.sessions.values()
        elif self._paused and not held:
            sessions = [self._server.sessions[conn] for conn in self._paused]
            if asker is not None:
                sessions.append(asker)
        elif asker is not None and (held or asker.owed > asker.pending_max):
            sessions = [asker]
        else:
            return []
        effects: list[Effect] = []
        for session in sessions:
            conn = session.conn
            paused = conn in self._paused
            if session.life.state is not SessionState.OPEN or not session.can_wait:
                continue
            if (held or session.owed > session.pending_max) is not paused:
                if paused:
                    del self._paused[conn]
                    effects.append(Resume(conn))
                else:
                    if not held:
                        self._hits[session.pending_bound] += 1
                    self._paused[conn] = None
                    effects.append(Pause(conn))
        return effects

    # -- what it shows of itself: see `nodes/ls/status.py` ------------------------------------

    def metrics(self) -> list[Value]:
        """All that it counts, for STATS and for monitoring."""
        return self._status.metrics()

    def histograms(self) -> list[tuple[Metric, Histogram, str]]:
        """Distributions of times, and of which server; none without samples."""
        return self._status.histograms()

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        return self._status.unhealthy()

    def about(self) -> dict[str, Any]:
        """What the status page shows beside figures and histograms."""
        return self._status.about()

    # -- the end -----------------------------------------------------------------------------------

    @property
    def _is_parting(self) -> bool:
        """Whether the links are not needed any more."""
        return self._server.is_draining and not self._server.sessions

    def _part_maybe(self) -> list[Effect]:
        """Draining, once the last session is gone: part from the links, and then stop."""
        if not self._is_parting:
            return []
        effects: list[Effect] = []
        for link in self._links.values():
            upstream = self._resolvers.get(link.conn)
            if upstream is not None:
                if (
                    link.life.state is not LinkState.DOWN
                    and link.life.state is not LinkState.CLOSING
                ):
                    link.life.fire(LinkEvent.GIVEN_UP)
                    effects += upstream.part()
            elif link.life.state is LinkState.DIALING:
                effects += self._give_up(link, "", Abort(link.conn))
            elif link.is_answering:
                effects.append(Send(link.conn, Command.QUIT.value + b"\n"))
                effects += self._give_up(link, "", Close(link.conn))
        if all(link.life.state is LinkState.DOWN for link in self._links.values()):
            effects += self._server.all_closed()
        return effects


def _texts(answers: bytes | Sequence[DnsReply | TableAnswer]) -> Callable[[], list[bytes]]:
    """The addresses in answers, once somebody wants them."""
    if isinstance(answers, bytes):
        return lambda: [line.split(b" ")[1] for line in split_lines(answers)]
    return lambda: [reply.addresses or b"data" for reply in answers]


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
