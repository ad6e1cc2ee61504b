"""Top: asks a server for STATS once a second, and shows what that tells.

It asks again only after the reply, so that a server that is busy is not asked more than it replies
to. When the server goes away, that is said in one line, and it is dialled again each second. All
that was seen before is forgotten then: another server may have taken its place.

A key is a line on the connection KEYS; `q` ends it, and so does each signal.

Not here: frames (`nodes/top/frame.py`), the terminal and arguments (`nodes/cli/`).
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

from core.addresses import Address
from core.effects import Abort, Dial, Effect, Send, Stop, Write
from core.environment import Environment
from core.events import Closed, Ended, Event, Opened, Received, Role, Woken
from core.machine import Machine
from core.operator import DrainAsked, ReloadAsked, Report
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import Refusal, Reply, Stat
from core.protocol.names import Command, Word
from core.protocol.reply_batch import read_each
from core.text import printable
from nodes.top.frame import Row, away_frame, server_frame
from nodes.top.poll import Between, Poll
from nodes.top.top_state import TOP, TopEvent, TopState

WATCHED, KEYS = "watched", "keys"
_EVERY_S = 1.0
_SPAN_S = 60.0
_PATIENCE_S = 5.0  # for a reply
_ADVICE = "if it is the port of --metrics, try PORT"  # the page replies late, if at all
_VALUES_MAX = 50_000  # of a reply: LS with 64 servers and as many workers has a tenth


class Top:
    """The brain of `top`. `where` names the server for people; `paint` makes bytes of a frame;
    `is_redrawn`: each overwrites the one before, so that a line may be said again and again.

    `once`: it ends after one frame, or with exit code 1.
    """

    def __init__(
        self,
        addresses: tuple[Address, ...],
        where: str,
        env: Environment,
        paint: Callable[[Sequence[Row]], bytes],
        *,
        is_redrawn: bool = False,
        once: bool = False,
    ) -> None:
        self._addresses = addresses
        self._where = where
        self._wall = env.wall
        self._paint = paint
        self._is_redrawn = is_redrawn
        self._once = once
        self._life = Machine(TOP, TopState.IDLE, "top", env.watch)
        self._streak = ErrorStreak(env)
        self._values: dict[str, str] = {}  # of the reply that is coming
        self._polls: deque[Poll] = deque()  # of the last minute
        self._heard = ""  # a reason that the server gave for an end that follows
        self._said = ""  # why it is away, as it was shown last
        self._at = math.inf  # when it was asked, dialled or lost

    @property
    def due(self) -> float:
        """When to ask or dial again, or when patience ends."""
        if self._life.state is TopState.ASKED:
            return self._at + _PATIENCE_S
        if self._life.state in (TopState.RESTING, TopState.AWAY):
            return self._at + _EVERY_S
        return math.inf

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        if self._life.state is TopState.ENDED:
            return []
        match event:
            case Opened(_, Role.UPSTREAM):
                self._polls.clear()
                self._streak.end()
                self._heard = ""
                self._life.fire(TopEvent.CONNECTED)
                return self._ask(now)
            case DrainAsked() | ReloadAsked():  # SIGHUP: the terminal is gone
                return self._end("interrupted" if self._once else "")
            case Ended() | Closed() if event.conn == KEYS:
                return self._end("")
            case Received(_, data) if event.conn == KEYS:
                return self._end("") if b"q\n" in data.lower() else []
            case Received(_, data):
                return self._receive(data, now)
            case Ended():
                return [*self._lose("it closed the connection", now), Abort(WATCHED)]
            case Closed(_, why):
                return self._lose(why, now)
            case Woken():
                return self._woken(now)
        return []

    def _woken(self, now: float) -> list[Effect]:
        match self._life.state:
            case TopState.IDLE:
                return self._dial()
            case TopState.AWAY if now >= self.due:
                return self._dial()
            case TopState.RESTING if now >= self.due:
                self._life.fire(TopEvent.ASK)
                return self._ask(now)
            case TopState.ASKED if now >= self.due:
                why = f"no reply for {_PATIENCE_S:g} s; {_ADVICE}"
                return [*self._lose(why, now), Abort(WATCHED)]
        return []

    def _dial(self) -> list[Effect]:
        self._life.fire(TopEvent.DIAL)
        return [Dial(WATCHED, self._addresses)]

    def _ask(self, now: float) -> list[Effect]:
        self._at = now
        self._values = {}
        return [Send(WATCHED, Command.STATS.value + b"\n")]

    def _receive(self, data: bytes, now: float) -> list[Effect]:
        batch = read_each(data, self._streak)
        effects: list[Effect] = []
        for reply in batch.others:
            effects += self._take(reply, now)
        if self._life.state not in (TopState.ASKED, TopState.RESTING):
            return effects
        if batch.malformed or len(self._values) > _VALUES_MAX:
            why = f"it does not speak this protocol; {_ADVICE}"
            return [*effects, *self._lose(why, now), Abort(WATCHED)]
        return effects

    def _take(self, reply: Reply, now: float) -> list[Effect]:
        """Take one line of a reply."""
        match reply:
            case Stat(key, value):
                self._values[printable(key).decode()] = printable(value).decode()
            case Refusal(code):  # of a server with too many clients, or asked too often
                self._heard = f"{code.name}: {code.value}"
                if self._life.state is TopState.ASKED:
                    self._life.fire(TopEvent.REPLIED)
            case Word.BYE:
                self._heard = self._heard or "it is shutting down, or needs our place"
            case Word.END if self._life.state is TopState.ASKED:
                self._life.fire(TopEvent.REPLIED)
                return self._show(now)
        return []

    def _show(self, now: float) -> list[Effect]:
        """Show the reply that is complete."""
        polls = self._polls
        before = polls[-1] if polls else None
        polls.append(Poll(now, self._values))
        while len(polls) > 2 and polls[1].at <= now - _SPAN_S:
            polls.popleft()
        self._heard = self._said = ""
        minute = Between(polls[-1], polls[0] if len(polls) > 1 else None)
        rows = server_frame(self._where, self._wall(), minute, Between(polls[-1], before))
        effects: list[Effect] = [Write(self._paint(rows))]
        if self._once:
            self._life.fire(TopEvent.END)
            effects.append(Stop(0))
        return effects

    def _lose(self, why: str, now: float) -> list[Effect]:
        """Say that the server is away, and why, unless that is known."""
        if self._life.state is TopState.AWAY:
            return []
        self._life.fire(TopEvent.LOST)
        self._at = now
        text = f"no figures from {self._where}: {self._heard or why}"
        if self._once:
            return self._end(text)
        is_news, self._said, self._heard = text != self._said, text, ""
        return [Write(self._paint(away_frame(text)))] if is_news or self._is_redrawn else []

    def _end(self, why: str) -> list[Effect]:
        """End; `why` is empty where nothing went wrong."""
        self._life.fire(TopEvent.END)
        if why:
            return [Report(why, event="gave_up"), Stop(1)]
        return [Stop(0)]
