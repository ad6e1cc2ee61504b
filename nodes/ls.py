"""The load balancer (LS): asks every table server at once and relays the first answer.

It stores no names. A question goes to every link that is UP, joined with the other questions of
the same read; the first answer for a name goes to everyone who waits for it, as it came; when
none came in time, each asker hears so in its own spelling.

Backpressure, so that no circle can close: LS reads its links always. It stops reading clients
while a link is HOLDING, a client that has too many questions pending, and, when all clients
together have too many, all but those with few.

Not here: which question waits for what (`nodes/balancer/race.py`), how a link stands
(`nodes/balancer/link.py`), sessions and draining (`core/session.py`, `core/server.py`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import compress

from core import node
from core.bounds import Bounds, Hits
from core.machine import Watch
from core.server import Server
from core.session import Session, Talk
from core.wire import (
    Answer,
    Command,
    Error,
    ProtocolError,
    answered_names,
    fold,
    parse_reply,
    split_lines,
)
from nodes.balancer.link import Link, Pull, Tie
from nodes.balancer.race import Race, Replies


class LoadBalancer:
    """The brain of LS. `servers` holds the addresses of each TS; they are called TS1, TS2, ...

    `hosts`, parallel to it, says what those addresses were resolved from; without it a TS that
    has moved is not found again.
    """

    def __init__(
        self,
        servers: Sequence[tuple[node.Address, ...]],
        bounds: Bounds,
        random: Callable[[], float],
        *,
        hosts: Sequence[tuple[str, int]] = (),
        once: bool = False,
        hits: Hits | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._bounds = bounds
        self._hits = Hits() if hits is None else hits
        self._server = Server(bounds, once, self._account, self._hits, watch)
        self._race = Race(bounds.timeout_s, bounds.join_s)
        self._links = {
            f"TS{number}": Link(f"TS{number}", addresses, bounds, random, watch)
            for number, addresses in enumerate(servers, 1)
        }
        self._hosts = dict(zip(self._links, hosts, strict=False))
        # What every step wants to know of all links: see `_look_at_links`.
        self._links_due = 0.0  # the first `Link.due` of all
        self._asked: list[Link] = []  # those that get every new question at once
        self._held = False  # whether one is HOLDING
        self._straits = (False, False)  # as `_regulate` saw it last: held, too much pending
        self._paused: dict[str, None] = {}  # sessions that are not read, in order
        self.nothing_said = 0  # legal lines of a TS that answer no question
        self.malformed = 0  # lines of a TS that are no reply at all

    def deadline(self) -> float | None:
        """The first of: a batch times out, something is due on a link, the drain ends."""
        due = min(self._race.next_due(), self._links_due, self._server.drain_due)
        return None if due == math.inf else due

    def step(self, event: node.Event, now: float) -> list[node.Effect]:
        """Take one event; see `core/node.py`."""
        if isinstance(event, node.Lines):
            link = self._links.get(event.conn)
            if link is None:
                return self._ask(event.conn, event.data, now)
            return self._answer(link, event.data)
        effects = self._step_rarely(event, now)
        self._look_at_links()
        newcomer = None
        if isinstance(event, node.Opened):
            newcomer = self._server.sessions.get(event.conn)
        return effects + self._regulate(newcomer)

    def _step_rarely(self, event: node.Event, now: float) -> list[node.Effect]:
        """Everything but lines."""
        match event:
            case node.Woken():
                return self._woken(now)
            case node.DrainAsked():
                return self._server.drain(now) + self._part_maybe()
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
                return self._server.closed(conn, now) + self._part_maybe()
        raise AssertionError(event)

    # -- questions ---------------------------------------------------------------------------------

    def _ask(self, conn: str, data: bytes, now: float) -> list[node.Effect]:
        """Admit a client's questions and pass on those that are not being asked already."""
        effects = self._server.spoke(conn, data) if self._server.once else []
        session = self._server.sessions[conn]
        asked = session.receive(data)
        if asked.refusals:
            self._server.errors += asked.errors
            effects.append(node.Send(conn, asked.refusals))
        if asked.names:
            names = self._race.ask(session, asked.names, asked.spellings, now)
            lines = asked.lines if names is asked.names else _lines(names)
            if names:
                for link in self._asked:
                    link.asked += len(names)
                    effects.append(node.Send(link.conn, lines))
        if session.life.state is not Talk.OPEN:
            effects += session.last_words()
        effects += self._regulate(session)
        return effects

    def _reply(self, replies: Replies) -> list[node.Effect]:
        """Send what became of questions, and let those go who were waiting for it."""
        effects: list[node.Effect] = []
        for session, chunks in replies.items():
            effects.append(node.Send(session.conn, b"".join(chunks)))
            if session.life.state is not Talk.OPEN:
                effects += session.last_words()
        return effects

    def _woken(self, now: float) -> list[node.Effect]:
        effects = self._reply(self._race.expire(now))
        for link in self._links.values():
            if link.due() > now or self._is_parting:
                continue
            if link.life.state is Tie.HOLDING:
                link.life.fire(Pull.HELD_TOO_LONG)
                self._hits["held_s"] += 1
                link.asked_upto = self._race.next_number
                effects.append(
                    node.Report(f"{link.conn} is stalled: it does not take its questions")
                )
            else:
                link.life.fire(Pull.DIAL_DUE)
                effects.append(node.Dial(link.conn, link.addresses))
                if link.conn in self._hosts and link.is_long_away(now):
                    self._hits["away_s"] += 1
                    effects.append(node.Resolve(link.conn, *self._hosts[link.conn]))
        return effects + self._server.woken(now)

    # -- answers -----------------------------------------------------------------------------------

    def _answer(self, link: Link, data: bytes) -> list[node.Effect]:
        """Credit what a TS said to whoever waits for it."""
        why = ""
        lines = data
        names = answered_names(data)
        if names is None:
            names, lines, why = self._read_by_line(link, data)
        else:
            link.errors_in_a_row = 0
            link.answered += len(names)
        if not link.is_asked:
            names, lines = self._only_asked(link, names, lines)
        effects = self._reply(self._race.answer(names, lines)) if names else []
        if link.answered > link.asked + self._bounds.surplus_answers_max and not why:
            self._hits["surplus_answers_max"] += 1
            why = "it answers what nobody asked"
        if why:
            effects += self._give_up(link, why, node.Abort(link.conn))
            self._look_at_links()
        effects += self._regulate()
        return effects

    def _read_by_line(self, link: Link, data: bytes) -> tuple[list[bytes], bytes, str]:
        """The slow way, where a line is no ordinary answer.

        Returns the names that were answered, the lines that answer them, and why the link has to
        be given up, if it has. A malformed line never ends a question: another TS may answer it.
        """
        names: list[bytes] = []
        lines: list[bytes] = []
        for line in split_lines(data):
            link.answered += 1
            if not line:
                continue
            try:
                reply = parse_reply(line)
            except ProtocolError as error:
                self.malformed += 1
                link.errors_in_a_row += 1
                if error.code is Error.TOOLONG:
                    return names, _lines(lines), "it sent a line that is too long"
                if link.errors_in_a_row == self._bounds.errors_in_a_row_max:
                    self._hits["errors_in_a_row_max"] += 1
                    return names, _lines(lines), "it does not speak this protocol"
                continue
            link.errors_in_a_row = 0
            if isinstance(reply, Answer):
                names.append(fold(reply.spelling))
                lines.append(line)
            else:
                self.nothing_said += 1
        return names, _lines(lines), ""

    def _only_asked(
        self, link: Link, names: list[bytes], lines: bytes
    ) -> tuple[list[bytes], bytes]:
        """Leave out answers that this link has not been asked for on this connection."""
        asked = self._race.asked_before(link.asked_upto, names)
        self._race.late += asked.count(False)
        kept = compress(split_lines(lines), asked)
        return list(compress(names, asked)), _lines(kept)

    # -- links -------------------------------------------------------------------------------------

    def _step_link(self, link: Link, event: node.Event, now: float) -> list[node.Effect]:
        match event:
            case node.Opened():
                link.connected(now)
                link.down_said = False
                return [node.Report(f"{link.conn} is up"), *self._catch_up(link)]
            case node.Closed(_, why):
                link.lost(now)
                return [*self._say_down(link, why), *self._part_maybe()]
            case node.Resolved(_, addresses):
                link.addresses = addresses or link.addresses
                return []
            case node.Ended():
                return self._give_up(link, "it ended", node.Close(link.conn))
            case node.Backlogged():
                if link.life.fire(Pull.BACKLOGGED) is Tie.HOLDING:
                    link.held_since = now
                return []
            case node.Relieved():
                caught_up = link.life.fire(Pull.RELIEVED) is not Tie.CATCHING_UP
                return [] if caught_up else self._catch_up(link)
        raise AssertionError(event)

    def _catch_up(self, link: Link) -> list[node.Effect]:
        """Send the next slice of what is open. If more is left, it goes over the high mark, so
        that Relieved will call for the next one."""
        over = self._bounds.waiting_bytes_high
        names, link.asked_upto = self._race.slice_from(link.asked_upto, over)
        link.asked += len(names)
        if link.asked_upto == self._race.next_number:
            link.life.fire(Pull.CAUGHT_UP)
        return [node.Send(link.conn, _lines(names))] if names else []

    def _give_up(self, link: Link, why: str, end: node.Effect) -> list[node.Effect]:
        """Part from a link in the way that `end` says."""
        link.life.fire(Pull.GIVEN_UP)
        return [*self._say_down(link, why), end]

    def _say_down(self, link: Link, why: str) -> list[node.Effect]:
        if link.down_said or self._server.is_draining:
            return []
        link.down_said = True
        return [node.Report(f"{link.conn} is down ({why}); dialling it again")]

    def _look_at_links(self) -> None:
        """One of them may have moved."""
        links = self._links.values()
        self._links_due = math.inf if self._is_parting else min(link.due() for link in links)
        self._asked = [link for link in links if link.is_asked]
        self._held = any(link.life.state is Tie.HOLDING for link in links)

    # -- backpressure ------------------------------------------------------------------------------

    def _regulate(self, asker: Session | None = None) -> list[node.Effect]:
        """Pause and resume sessions as links and caps want it. `asker` may have asked too much."""
        bounds = self._bounds
        held = self._held
        full = self._race.pending > bounds.pending_max
        sessions: Iterable[Session]
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
        return (
            f"asked {race.asked}, answered {race.answered}, timed out {race.timed_out}, "
            f"dropped {race.dropped}, pending {race.pending}, refused {self._server.errors}; "
            f"joined {race.joined}, late {race.late}"
        )


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
