"""The load balancer (LS): asks table servers and relays the first answer.

It stores no names. Whom a question goes to is its policy's to say: everyone at once, unless it
is told to hedge. The first answer goes to everyone who waits for it, as it came; when there is
none, each asker hears so in its own spelling.

Backpressure, so that no circle can close: LS reads its links always. It stops reading clients
while a link is HOLDING, a client that has too many questions pending, and, when all clients
together have too many, all but those with few.

Not here: which question waits for what (`nodes/balancer/race.py`), whom it is asked of
(`nodes/balancer/policy.py`, `hedge.py`), what TSs say that is no answer (`hearing.py`,
`verdicts.py`), what the losers say (`sample.py`), how a link stands (`link.py`), sessions and
draining (`core/session.py`, `core/server.py`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

from core import node
from core.bounds import Bounds, Hits
from core.figures import SPANS_S, Figure, Histogram, Value, hits_taken
from core.machine import Watch
from core.server import Life, Others, Server
from core.session import Asker, Talk
from core.wire import Command, Negative, answered_in, split_lines
from nodes.balancer.hearing import sort_lines
from nodes.balancer.hedge import Hedge
from nodes.balancer.link import Link, Pull, Tie
from nodes.balancer.policy import Everyone, Policy
from nodes.balancer.race import Course, Finding, Race, Replies
from nodes.balancer.sample import Samples
from nodes.balancer.verdicts import Verdicts

_JUDGED_LEAST = 100  # questions that have ended before LS says what most of them came to


class LoadBalancer:
    """The brain of LS. `servers` holds the addresses of each TS; they are called TS1, TS2, ...

    `hosts`, parallel to it, says what those addresses were resolved from; without it a TS that
    has moved is not found again. `extra_load`: hedge, for this share of extra questions; without
    it, race. `dns` makes the askers that speak DNS, if there are any. `sample`: the share of
    races that are watched to their end. `loop`: the figures of the loop that runs it. `shown`
    makes of its figures what STATS tells.
    """

    def __init__(
        self,
        servers: Sequence[tuple[node.Address, ...]],
        bounds: Bounds,
        random: Callable[[], float],
        *,
        hosts: Sequence[tuple[str, int]] = (),
        extra_load: float | None = None,
        dns: Others | None = None,
        sample: float = 0.0,
        loop: Callable[[], list[Value]] = list,
        shown: Callable[[list[Value]], list[Value]] = list,
        once: bool = False,
        hits: Hits | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._bounds = bounds
        self._hits = Hits() if hits is None else hits
        self._loop = loop
        self._server = Server(
            bounds, once, self._account, lambda: shown(self.figures()), self._hits, watch, dns
        )
        self._race = Race(bounds.join_s)
        self._links = {
            f"TS{number}": Link(f"TS{number}", addresses, bounds, random, watch, 1 << number - 1)
            for number, addresses in enumerate(servers, 1)
        }
        links = list(self._links.values())
        self._verdicts = Verdicts(sum(link.bit for link in links), bounds.no_data_s)
        self._hedge = None if extra_load is None else Hedge(links, bounds, extra_load)
        self._policy: Policy = self._hedge or Everyone(links, self._race, bounds.waiting_bytes_high)
        self._unfit_said = self._hedge is None  # the log says once that hedging does not fit
        self._samples: Samples | None = None
        if sample:
            policy = "race" if self._hedge is None else "hedge"
            self._samples = Samples(
                list(self._links), sample, bounds.timeout_s, bounds.samples_max, policy
            )
        self._hosts = dict(zip(self._links, hosts, strict=False))
        # What every step wants to know of all links: see `_look_at_links`.
        self._links_due = 0.0  # the first `Link.due` of all
        self._there = 0  # the bits of those that have a connection
        self._live = 0  # the bits of those that a reply is waited for from
        self._held = False  # whether one is HOLDING
        self._straits = (False, False)  # as `_regulate` saw it last: held, too much pending
        self._paused: dict[str, None] = {}  # sessions that are not read, in order
        self._sought: dict[str, None] = {}  # links whose hosts are looked up because of a reload
        self._seek_again = False  # another reload was asked for meanwhile

    def deadline(self) -> float | None:
        """The first of: a batch times out, the policy or a link has something due, what is held
        is to be released, the drain ends."""
        due = min(self._race.next_due(), self._links_due, self._server.drain_due)
        if self._hedge is not None:
            due = min(due, self._hedge.due())
        if self._verdicts.spoken:
            due = min(due, self._verdicts.due())
        if self._samples is not None:
            due = min(due, self._samples.due())
        return None if due == math.inf else due

    def step(self, event: node.Event, now: float) -> list[node.Effect]:
        """Take one event; see `core/node.py`."""
        if isinstance(event, node.Lines):
            link = self._links.get(event.conn)
            if link is None:
                effects = self._ask(event.conn, event.data, now)
            else:
                effects = self._hear(link, event.data, now)
        elif isinstance(event, node.Datagrams):
            effects = self._ask(event.conn, event.datagrams, now)
        else:
            effects = self._step_rarely(event, now)
            effects += self._look_at_links(now)
            newcomer = None
            if isinstance(event, node.Opened):
                newcomer = self._server.sessions.get(event.conn)
            effects += self._regulate(newcomer)
        if self._samples is not None and self._samples.effects:
            effects += self._samples.take_effects()
        return effects

    def _step_rarely(self, event: node.Event, now: float) -> list[node.Effect]:
        """Everything but lines."""
        match event:
            case node.Woken():
                return self._woken(now)
            case node.DrainAsked():
                return self._server.drain(now) + self._part_maybe()
            case node.ReloadAsked():
                return self._look_up_all()
        link = self._links.get(event.conn)
        if link is not None:
            return self._step_link(link, event, now)
        match event:
            case node.Opened(conn):
                return self._server.opened(conn)
            case node.Ended(conn, unfinished):
                spoke = self._server.spoke(conn, b"") if unfinished else []
                return spoke + self._server.ended(conn, unfinished)
            case node.Closed(conn):
                self._paused.pop(conn, None)
                self._race.forget(self._server.sessions[conn])
                self._close(Course.DROPPED, now)
                return self._server.closed(conn, now) + self._part_maybe()
        raise AssertionError(event)

    # -- questions ---------------------------------------------------------------------------------

    def _ask(self, conn: str, data: Any, now: float) -> list[node.Effect]:  # noqa: ANN401
        """Admit an asker's questions and pass on those that are not being asked already."""
        effects = self._server.spoke(conn, data) if self._server.once else []
        session = self._server.sessions[conn]
        asked = session.receive(data, now)
        if asked.said:
            self._server.errors += asked.errors
            effects.append(session.say(asked.said))
        if asked.questions:
            questions = self._race.ask(session, asked.questions, asked.spellings, now)
            if questions:
                whole = asked.lines if questions is asked.questions else _lines(questions)
                if self._verdicts.spoken:
                    self._verdicts.asked_again(questions)
                if self._samples is not None:
                    self._samples.begin(questions, now)
                for link, part in self._policy.ask(questions, now):
                    link.asked += len(part)
                    if self._samples is not None:
                        self._samples.asked(link.conn, part, now)
                    lines = whole if part is questions else _lines(part)
                    effects.append(node.Send(link.conn, lines))
                if self._policy.waiting:
                    effects += self._pass_on(now)
        if session.life.state is not Talk.OPEN:
            effects += session.last_words()
        effects += self._regulate(session)
        return effects

    def _reply(self, replies: Replies) -> list[node.Effect]:
        """Send what became of questions, and let those go who were waiting for it."""
        effects: list[node.Effect] = []
        for session, chunks in replies.items():
            effects += session.reply(b"".join(chunks))
        return effects

    def _woken(self, now: float) -> list[node.Effect]:
        is_time_up = self._race.next_due() <= now
        held = self._verdicts.held_until(math.inf if is_time_up else now)
        effects = self._release(held, now)
        if is_time_up:
            effects += self._reply(self._race.expire(now))
            self._close(Course.TIMED_OUT, now)
            effects += self._judge_silence()
        if self._samples is not None and self._samples.due() <= now:
            self._samples.woken(now)
        if self._hedge is not None and self._hedge.due() <= now:
            self._hedge.woken(now)
            effects += self._pass_on(now)
        for link in self._links.values():
            if link.due() > now or self._is_parting:
                continue
            if link.life.state is Tie.HOLDING:
                link.life.fire(Pull.HELD_TOO_LONG)
                self._hits["held_s"] += 1
                link.asked_upto = self._race.next_number
                text = f"{link.conn} is stalled: it does not take its questions"
                effects.append(node.Report(text, node.Level.WARNING))
            else:
                link.life.fire(Pull.DIAL_DUE)
                link.dials += 1
                effects.append(node.Dial(link.conn, link.addresses))
                if link.conn in self._hosts and link.is_long_away(now):
                    self._hits["away_s"] += 1
                    effects.append(node.Resolve(link.conn, *self._hosts[link.conn]))
        return effects + self._server.woken(now)

    def _pass_on(self, now: float) -> list[node.Effect]:
        """Ask the links for what the policy wants them to be asked besides new questions."""
        effects: list[node.Effect] = []
        for link in list(self._policy.waiting):
            if link.life.state is Tie.UP:  # else it is asked as soon as it is relieved
                effects += self._ask_slice(link, now)
        return effects

    # -- answers -----------------------------------------------------------------------------------

    def _hear(self, link: Link, data: bytes, now: float) -> list[node.Effect]:
        """Credit what a TS said to whoever waits for it."""
        why = ""
        questions = answered_in(data)
        if questions is not None:
            link.errors_in_a_row = 0
            link.answered += len(questions)
            effects = self._answer(link, questions, data, now)
        else:
            said, why = sort_lines(link, data, self._bounds, self._hits)
            effects = self._answer(link, said.questions, said.lines, now)
            if said.not_found or said.no_data:
                effects += self._deny(link, said.not_found, said.no_data, now)
        if link.answered > link.asked + self._bounds.surplus_answers_max and not why:
            self._hits["surplus_answers_max"] += 1
            why = "it answers what nobody asked"
        if why:
            effects += self._give_up(link, why, node.Abort(link.conn))
            effects += self._look_at_links(now)
        effects += self._regulate()
        return effects

    def _answer(
        self, link: Link, questions: list[bytes], lines: bytes, now: float
    ) -> list[node.Effect]:
        """Relay answers, parallel to `questions`, for what this link was asked."""
        effects: list[node.Effect] = []
        late_before = self._race.late
        admitted = self._policy.admits(link, questions)
        if self._samples is not None:
            self._samples.answered(link.conn, questions, lines, now, admitted)
        if admitted is not None:
            self._race.late += admitted.count(False)
            lines = _lines(compress(split_lines(lines), admitted))
            questions = list(compress(questions, admitted))
        if not questions:
            link.late += self._race.late - late_before
            return effects
        if self._verdicts.spoken:
            if not self._unfit_said and self._verdicts.are_spoken_of(questions):
                effects += self._say_unfit(f"{link.conn} answers what another TS has not")
            self._verdicts.forget(questions)
        self._policy.answered(link, questions, now)
        late_admitted = self._race.late
        effects += self._reply(self._race.answer(questions, lines))
        link.won += len(questions) - (self._race.late - late_admitted)
        link.late += self._race.late - late_before
        return effects

    def _deny(
        self, link: Link, not_found: list[bytes], no_data: list[bytes], now: float
    ) -> list[node.Effect]:
        """A TS has nothing about these; end what that decides, and ask others for the rest."""
        if self._samples is not None:
            for denied, what in ((not_found, Negative.NOT_FOUND), (no_data, Negative.NO_DATA)):
                self._samples.denied(link.conn, denied, what.value.decode("ascii"), now)
        late_before = self._race.late
        not_found = self._race.are_open(self._only_asked(link, not_found))
        no_data = self._race.are_open(self._only_asked(link, no_data))
        link.late += self._race.late - late_before
        unknown, enough = self._verdicts.hear(link.bit, self._live, not_found, no_data, now)
        self._policy.denied(link, list(dict.fromkeys(not_found + no_data)), now)
        effects = self._release(enough, now)
        if unknown:
            ended = self._race.end(unknown, Course.OPEN, Finding.ALL_NOT_FOUND)
            effects += self._reply(ended)
            self._close(Course.NOT_FOUND, now)
        return effects + self._pass_on(now)

    def _release(self, questions: list[bytes], now: float) -> list[node.Effect]:
        """Say NO DATA of what has been held enough."""
        if not questions:
            return []
        replies = self._race.end(questions, Course.HELD, Finding.HELD_ENOUGH)
        self._close(Course.NO_DATA, now)
        return self._reply(replies)

    def _close(self, end: Course, now: float) -> None:
        """Some questions are open no more: let those know who keep something about them."""
        closed = self._race.take_closed()
        self._verdicts.forget(closed)
        self._policy.closed(closed)
        if self._samples is not None:
            self._samples.ended(closed, end, now)

    def _only_asked(self, link: Link, questions: list[bytes]) -> list[bytes]:
        """Leave out what this link was not asked for on this connection."""
        admitted = self._policy.admits(link, questions)
        if admitted is None:
            return questions
        self._race.late += admitted.count(False)
        return list(compress(questions, admitted))

    # -- whether hedging fits ----------------------------------------------------------------------

    def _judge_silence(self) -> list[node.Effect]:
        """Hedging is for TSs that say what they do not know."""
        race = self._race
        silent = race.denied[Negative.TIMED_OUT]
        ended = race.answered + sum(race.denied.values())
        if self._unfit_said or ended < _JUDGED_LEAST or 2 * silent <= ended:
            return []
        return self._say_unfit("more than half of the questions get no reply from any TS")

    def _say_unfit(self, why: str) -> list[node.Effect]:
        self._unfit_said = True
        advice = "hedging is for equal tables and --answer-unknown; consider --policy race"
        return [node.Report(f"{why}: {advice}", node.Level.WARNING)]

    # -- links -------------------------------------------------------------------------------------

    def _step_link(self, link: Link, event: node.Event, now: float) -> list[node.Effect]:
        match event:
            case node.Opened():
                link.connected(now)
                link.down_said = False
                meeting = self._look_at_links(now)
                up = node.Report(f"{link.conn} is up")
                return [up, *meeting, *self._ask_slice(link, now)]
            case node.Closed(_, why):
                link.lost(now)
                return [*self._say_down(link, why), *self._part_maybe()]
            case node.Resolved(_, addresses):
                return self._looked_up(link, addresses)
            case node.Ended():
                return self._give_up(link, "it ended", node.Close(link.conn))
            case node.Backlogged():
                if link.life.fire(Pull.BACKLOGGED) is Tie.HOLDING:
                    link.held_since = now
                return []
            case node.Relieved():
                if link.life.fire(Pull.RELIEVED) is Tie.CATCHING_UP:
                    return [*self._look_at_links(now), *self._ask_slice(link, now)]
                return self._pass_on(now)
        raise AssertionError(event)

    def _look_up_all(self) -> list[node.Effect]:
        """Where are the TSs now? Nothing waits for the answers. Who asks again before they are all
        there gets one more round afterwards: there are no more children at a time than TSs."""
        if self._server.is_draining or not self._hosts:
            return []
        effects: list[node.Effect] = [node.Notify(node.Standing.RELOADING)]
        self._seek_again = bool(self._sought)
        if self._seek_again:
            return effects
        self._sought = dict.fromkeys(self._hosts)
        return effects + [node.Resolve(conn, *host) for conn, host in self._hosts.items()]

    def _looked_up(self, link: Link, addresses: tuple[node.Address, ...]) -> list[node.Effect]:
        """A lookup is done. A TS that has moved is parted from, and dialled where it is now."""
        effects: list[node.Effect] = []
        has_moved = bool(addresses) and set(addresses) != set(link.addresses)
        if has_moved:
            link.addresses = addresses
            if not self._is_parting and (link.is_answering or link.life.state is Tie.DIALING):
                effects += self._give_up(link, "it has moved", node.Abort(link.conn))
        if link.conn in self._sought:
            del self._sought[link.conn]
            host = self._hosts[link.conn][0]
            if not addresses:
                text = f"{link.conn}: cannot look up {host}; it is taken to be where it was"
                effects.append(node.Report(text, node.Level.WARNING))
            elif not has_moved:
                effects.append(node.Report(f"{link.conn} is where it was"))
            if not self._sought and self._seek_again:
                effects += self._look_up_all()
            elif not self._sought:
                effects.append(node.Notify(node.Standing.READY))
        return effects

    def _ask_slice(self, link: Link, now: float) -> list[node.Effect]:
        """Ask a link for the next slice of what the policy has for it. If more is left, it goes
        over the high mark, so that Relieved will call for the next one."""
        questions, is_last = self._policy.next_slice(link, now)
        link.asked += len(questions)
        if self._samples is not None:
            self._samples.asked(link.conn, questions, now)
        if link.life.state is Tie.CATCHING_UP and is_last:
            link.life.fire(Pull.CAUGHT_UP)
        elif link.life.state is Tie.UP and not is_last:
            link.life.fire(Pull.FELL_BEHIND)
        return [node.Send(link.conn, _lines(questions))] if questions else []

    def _give_up(self, link: Link, why: str, end: node.Effect) -> list[node.Effect]:
        """Part from a link in the way that `end` says."""
        link.life.fire(Pull.GIVEN_UP)
        return [*self._say_down(link, why), end]

    def _say_down(self, link: Link, why: str) -> list[node.Effect]:
        if link.down_said or self._server.is_draining:
            return []
        link.down_said = True
        text = f"{link.conn} is down ({why}); dialling it again"
        return [node.Report(text, node.Level.WARNING)]

    def _look_at_links(self, now: float) -> list[node.Effect]:
        """One of them may have moved."""
        links = self._links.values()
        self._links_due = math.inf if self._is_parting else min(link.due() for link in links)
        self._held = any(link.life.state is Tie.HOLDING for link in links)
        there = sum(link.bit for link in links if link.is_answering)
        live = sum(link.bit for link in links if link.is_live)
        gone, lame = self._there & ~there, self._live & ~live
        self._there, self._live = there, live
        effects: list[node.Effect] = []
        if self._verdicts.spoken and (gone or lame):
            self._verdicts.take_back(gone)
            effects = self._release(self._verdicts.held_in_vain(live), now)
        self._policy.links_moved(now)
        return effects + self._pass_on(now)

    # -- backpressure ------------------------------------------------------------------------------

    def _regulate(self, asker: Asker | None = None) -> list[node.Effect]:
        """Pause and resume sessions as links and caps want it. `asker` may have asked too much."""
        bounds = self._bounds
        held = self._held
        full = self._race.pending > bounds.pending_max
        sessions: Iterable[Asker]
        if (held, full) != self._straits:
            self._straits = (held, full)
            sessions = self._server.sessions.values()
        elif self._paused and not held:
            sessions = [self._server.sessions[conn] for conn in self._paused]
            if asker is not None:
                sessions.append(asker)
        elif asker is not None and (held or full or asker.owed > bounds.pending_per_client_max):
            sessions = [asker]
        else:
            return []
        most = bounds.pending_few if full else bounds.pending_per_client_max + 1
        effects: list[node.Effect] = []
        for session in sessions:
            conn = session.conn
            paused = conn in self._paused
            if session.life.state is Talk.OPEN and (held or session.owed >= most) is not paused:
                if paused:
                    del self._paused[conn]
                    effects.append(node.Resume(conn))
                else:
                    if not held:
                        self._hits["pending_max" if full else "pending_per_client_max"] += 1
                    self._paused[conn] = None
                    effects.append(node.Pause(conn))
        return effects

    # -- what it shows of itself -------------------------------------------------------------------

    def figures(self) -> list[Value]:
        """All that it counts, for STATS and for monitoring."""
        values = [
            *self._race.figures(),
            *([] if self._hedge is None else self._hedge.figures()),
            *self._server.figures(),
            *self._loop(),
            *hits_taken(self._hits),
        ]
        for link in self._links.values():
            values += link.figures()
        return values if self._samples is None else values + self._samples.figures()

    def histograms(self) -> list[tuple[Figure, Histogram, str]]:
        """Distributions of times, and of which TS; none without samples."""
        return [] if self._samples is None else self._samples.histograms()

    def unhealthy(self) -> str:
        """Why nobody should be sent here; empty when all is well."""
        if self._server.life.state is not Life.SERVING:
            return "draining"
        return "" if self._live else "no table server is up"

    def status(self, now: float) -> dict[str, object]:
        """What the status page shows."""
        samples = self._samples
        servers = []
        for name, link in self._links.items():
            server: dict[str, object] = {"name": name, "where": self._where(name)}
            server |= {value.figure.name: value.value for value in link.figures()}
            if samples is not None:
                server |= {
                    "silent": samples.silent[name],
                    "answer_seconds": samples.answer_s[name].counts,
                }
            servers.append(server)
        policy = "race" if self._hedge is None else "hedge"
        return {
            "at": round(now, 3),
            "policy": policy,
            "sampling": "no race is sampled" if samples is None else samples.about,
            "unhealthy": self.unhealthy(),
            "figures": {value.figure.name: value.value for value in self.figures() if not value.of},
            "servers": servers,
            "spans": SPANS_S,
            "told": [] if samples is None else list(samples.told)[::-1],
        }

    def _where(self, name: str) -> str:
        host, port = self._hosts.get(name, ("", 0))
        return f"{host}:{port}" if host else ""

    # -- the end -----------------------------------------------------------------------------------

    @property
    def _is_parting(self) -> bool:
        """Whether the links are not needed any more."""
        return self._server.is_draining and not self._server.sessions

    def _part_maybe(self) -> list[node.Effect]:
        """Draining, once the last session is gone: part from the links, and then stop."""
        if not self._is_parting:
            return []
        effects: list[node.Effect] = []
        for link in self._links.values():
            if link.life.state is Tie.DIALING:
                effects += self._give_up(link, "", node.Abort(link.conn))
            elif link.is_answering:
                effects.append(node.Send(link.conn, Command.QUIT.value + b"\n"))
                effects += self._give_up(link, "", node.Close(link.conn))
        if all(link.life.state is Tie.DOWN for link in self._links.values()):
            effects += self._server.all_closed()
        return effects

    def _account(self) -> str:
        race = self._race
        denied = race.denied
        hedged = "" if self._hedge is None else f", hedged {self._hedge.hedged}"
        return (
            f"asked {race.asked}, answered {race.answered}, "
            f"not found {denied[Negative.NOT_FOUND]}, no data {denied[Negative.NO_DATA]}, "
            f"timed out {denied[Negative.TIMED_OUT]}, "
            f"dropped {race.dropped}, pending {race.pending}, refused {self._server.errors}; "
            f"joined {race.joined}, late {race.late}{hedged}"
        )


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
