"""Table link: a table server, asked and heard over its link.

Answers go on as the chunk of lines that they came in. A malformed line never ends a question:
another server may answer it. A table server that sends too many of them in a row, a line that is
too long, or more answers than it was asked for, speaks another protocol, and is given up.

Not here: what becomes of its replies (`exchange.py`).
"""

import math

from core.effects import Abort, Close, Dial, Effect, Send
from core.environment import Environment
from core.events import Backlogged, Closed, ConnectionEvent, Ended, Opened, Received, Relieved
from core.protocol.batches import read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.names import Command
from core.protocol.reply_batch import ReplyBatch
from nodes.ls.health import HealthState
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.table_silence import TableSilence
from nodes.ls.unanswered import Unanswered
from nodes.ls.upstream import Upstream
from nodes.ls.whereabouts import Host, Whereabouts

_SAID = QuestionEvent.NO_DATA_SAID, QuestionEvent.NAME_SAID, QuestionEvent.NOT_FOUND_SAID


class TableLink(Upstream):
    """A table server as an `Upstream`. `host`: what its addresses were looked up from; without it
    a server that has moved is not found again."""

    kind = "ts"
    takes_slices = True

    def __init__(self, link: Link, env: Environment, host: Host | None = None) -> None:
        self.link = link
        self.whereabouts = Whereabouts(link, env, host)
        self.unanswered = Unanswered(env.bounds)
        self._env = env
        self._silence = TableSilence(link, env.bounds)
        self._replies = 0  # lines, counted from as many as it had been asked for when it came up
        self._surplus_max = env.bounds.surplus_answers_max
        self._streak = ErrorStreak(env)

    def ask(self, questions: list[bytes], now: float, lines: bytes = b"") -> list[Effect]:
        self.asked += len(questions)
        if self.unanswered.due == math.inf:
            self.due = min(self.due, self.unanswered.begin(now))
        return [Send(self.link.conn, lines or b"\n".join(questions) + b"\n")]

    @property
    def is_awaited(self) -> bool:
        return self.link.is_live

    def grace_s(self, now: float, *, is_failure: bool, is_early: bool) -> float:
        bounds = self._env.bounds
        return bounds.grace_failed_s if is_failure and is_early else bounds.no_data_s

    # -- input -------------------------------------------------------------------------------------

    def receive(self, event: ConnectionEvent, now: float) -> Replies:
        if not isinstance(event, Received):
            return self._receive_rarely(event, now)
        batch = read_replies(event.data, self._streak)
        self._replies += batch.count
        replies = Replies([], (batch,) if batch.questions else ())
        if self.link.health.life.state is not HealthState.UP:
            replies.effects, replies.link_change = self.link.health.good(), LinkChange.OTHER
        if len(batch.questions) < batch.count:
            replies.failure = batch.why
            self._add_negatives(replies, batch)
        surplus = self._replies - self.asked - self._silence.pings
        if surplus > self._surplus_max and not replies.failure:
            self._env.hits["surplus_answers_max"] += 1
            replies.failure = "it answers what nobody asked"
        return replies

    def _receive_rarely(self, event: ConnectionEvent, now: float) -> Replies:
        """Take an event that is no read; all of them change the link."""
        link = self.link
        match event:
            case Opened():
                link.connected(now)
                self.unanswered.lost(max(0, self.asked - self._replies))
                self._replies = self.asked
                self._silence.begin(self.asked, self._replies)
                self._streak.end()
                return Replies(link.health.good(), link_change=LinkChange.CAME_UP)
            case Closed(why=why):
                has_been_said = link.life.state is LinkState.CLOSING
                if link.lost(now):
                    self.whereabouts.went_away(now)
                effects = [] if has_been_said else link.health.lost(why)
                return Replies(effects, link_change=LinkChange.OTHER)
            case Ended():
                effects = [*link.give_up("it ended"), Close(link.conn)]
                return Replies(effects, link_change=LinkChange.OTHER)
            case Backlogged():
                link.backlogged(now)
            case Relieved():
                if link.life.fire(LinkEvent.RELIEVED) is LinkState.CATCHING_UP:
                    return Replies(link.health.good(), link_change=LinkChange.HAS_ROOM)
        return Replies([], link_change=LinkChange.OTHER)

    def _add_negatives(self, replies: Replies, batch: ReplyBatch) -> None:
        self.link.replies.misread(batch.malformed, len(batch.others))
        replies.unknown = batch.not_found
        said = zip(_SAID, (batch.no_data, batch.names_below, batch.blocked), strict=True)
        replies.denials = [(question, event, None) for event, named in said for question in named]

    def give_up(self, why: str) -> list[Effect]:
        return [*self.link.give_up(why), Abort(self.link.conn)]

    def moved(self, now: float) -> list[Effect]:
        return self.give_up("it has moved")

    # -- time --------------------------------------------------------------------------------------

    def look(self) -> None:
        at = self.link if self.link.addresses else self.whereabouts
        self.due = min(at.due(), self.unanswered.due)

    def woken(self, now: float) -> list[Effect]:
        """Dial it, look its host up, let it hold up clients no longer, or see if it is there."""
        link = self.link
        effects: list[Effect] = []
        if self.unanswered.due <= now:
            self.unanswered.look(self.asked, self._replies, now)
            effects = self._silence.look(self.asked, self._replies, self.unanswered, now)
        self.look()
        if self.due > now:
            return effects
        if link.life.state is LinkState.HOLDING:
            link.life.fire(LinkEvent.HELD_TOO_LONG)
            self._env.hits["held_s"] += 1
            return effects + link.health.takes_nothing()
        if not link.addresses:
            return effects + self.whereabouts.look_up()
        link.dialled()
        effects.append(Dial(link.conn, link.addresses))
        return effects + self.whereabouts.look_up_if_long_away(now)

    def part(self) -> list[Effect]:
        link = self.link
        link.retire()
        if link.life.state is LinkState.DIALING:
            return [*link.give_up(""), Abort(link.conn)]
        if link.is_answering:
            quit_line = Send(link.conn, Command.QUIT.value + b"\n")
            return [quit_line, *link.give_up(""), Close(link.conn)]
        return []
