"""The client: asks LS for every name it was given, and writes one line per name, in input order.

It sends as fast as LS takes and reads all the while. A name that has no reply when the connection
is gone, or when no name has had one for too long, is LOST: everything that arrived is written all
the same.

Not here: names and their lines (`nodes/client/worksheet.py`), files and arguments
(`nodes/cli/client.py`).
"""

import math

from core.addresses import Address
from core.effects import Abort, Close, Dial, Effect, Send, Stop, Write
from core.environment import Environment
from core.events import Backlogged, Closed, Ended, Event, Opened, Received, Relieved, Woken
from core.machine import Machine
from core.operator import DrainAsked, Progress, ReloadAsked, Report, StatsAsked
from core.protocol.batches import read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.names import Command
from nodes.client.client_state import CLIENT, ClientEvent, ClientState
from nodes.client.trouble import Trouble
from nodes.client.worksheet import Worksheet, in_order

LS = "LS"
_PROGRESS_EVERY_S = 0.2


class Client:
    """The brain of a client. `names` are as `Worksheet` takes them.

    `where` names LS for people; `progress`: somebody watches a terminal.
    """

    def __init__(
        self,
        names: list[bytes],
        addresses: tuple[Address, ...],
        where: str,
        env: Environment,
        *,
        progress: bool = False,
    ) -> None:
        self._sheet = Worksheet(names)
        self._addresses = addresses
        self._patience_s = env.bounds.patience_s
        self._slice_bytes = env.bounds.waiting_bytes_high
        self._life = Machine(CLIENT, ClientState.IDLE, "client", env.watch)
        self._streak = ErrorStreak(env)
        self._asked = 0  # bytes of the questions, of those to ask
        self._started_at = 0.0
        self._replied_at: float | None = None  # LS's last reply to a name, or to the dial
        self._progress_at: float | None = 0.0 if progress else None
        self._trouble = Trouble(where)

    @property
    def due(self) -> float:
        """When patience ends, or progress is to be shown, whichever comes first."""
        if self._replied_at is None:
            return math.inf
        patience = self._replied_at + self._patience_s
        return patience if self._progress_at is None else min(patience, self._progress_at)

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Received(_, data):
                return self._receive(data, now)
            case Opened():
                self._life.fire(ClientEvent.CONNECTED)
                self._replied_at = now
                return self._ask_more()
            case Backlogged() | StatsAsked():
                return []
            case Relieved():
                return self._ask_more()
            case Ended():
                # Nothing more can come: what LS has not taken is not worth waiting for.
                return [*self._cut_short(self._trouble.of_end(), now), Abort(LS)]
            case Closed(_, why):
                effects = self._cut_short(self._trouble.of_loss(why), now)
                return [*effects, Stop(0 if self._life.state is ClientState.DONE else 1)]
            case DrainAsked() | ReloadAsked():  # SIGHUP: the terminal is gone
                effects = self._cut_short("interrupted", now)
                return [*effects, Abort(LS)] if effects else []
            case Woken():
                return self._woken(now)
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        if self._life.state is ClientState.IDLE:
            return self._start(now)
        if self._replied_at is not None and now >= self._replied_at + self._patience_s:
            self._replied_at = None
            return [*self._cut_short(self._trouble.of_silence(self._patience_s), now), Abort(LS)]
        if self._progress_at is not None and now >= self._progress_at:
            self._progress_at = now + _PROGRESS_EVERY_S
            count, owed = len(self._sheet.names), self._sheet.owed
            return [Progress(f"{count - owed:,} of {count:,} names, {owed:,} waiting")]
        return []

    def _start(self, now: float) -> list[Effect]:
        self._started_at = now
        if self._progress_at is not None:
            self._progress_at = now + 2 * _PROGRESS_EVERY_S
        if not self._sheet.owed:
            self._life.fire(ClientEvent.NOTHING_TO_ASK)
            return [*self._write(), *self._sum_up(now), Stop(0)]
        self._life.fire(ClientEvent.START)
        return [Dial(LS, self._addresses)]

    def _ask_more(self) -> list[Effect]:
        """Send the next slice. If more is left, it goes over the high mark, so that Relieved will
        call for the next one."""
        to_ask = self._sheet.to_ask
        if self._asked == len(to_ask):
            return []
        end = to_ask.find(b"\n", self._asked + self._slice_bytes) + 1 or len(to_ask)
        questions = to_ask[self._asked : end]
        self._asked = end
        if end == len(to_ask):
            self._life.fire(ClientEvent.ALL_ASKED)
            questions += Command.QUIT.value + b"\n"
        return [Send(LS, questions)]

    def _receive(self, data: bytes, now: float) -> list[Effect]:
        """Credit each reply to its name, and write what is complete."""
        owed = self._sheet.owed
        for part in in_order(data):
            batch = read_replies(part, self._streak)
            self._sheet.take(batch)
            self._trouble.note(batch)
            if self._streak.is_over:
                break
        if self._sheet.owed < owed:
            self._replied_at = now
        effects = self._write()
        if not self._sheet.owed and self._life.state is ClientState.LEAVING:
            self._life.fire(ClientEvent.ALL_REPLIED)
            self._progress_at = None
            effects += [*self._sum_up(now), Close(LS)]
        elif self._streak.is_over:
            effects += [*self._cut_short(self._trouble.of_end(), now), Abort(LS)]
        return effects

    def _write(self) -> list[Effect]:
        complete = self._sheet.take_complete()
        return [Write(complete)] if complete else []

    def _cut_short(self, why: str, now: float) -> list[Effect]:
        """End the client: no more replies will come, and the names that have none are lost."""
        before = self._life.state
        if self._life.fire(ClientEvent.CUT_SHORT) is before:
            return []  # it is over already
        self._replied_at = None
        self._sheet.lose()
        return [*self._write(), Progress(""), Report(why, event="gave_up"), *self._sum_up(now)]

    def _sum_up(self, now: float) -> list[Effect]:
        seconds = f"{now - self._started_at:.1f} s"
        return [Progress(""), Report(f"{self._sheet.summary()}, {seconds}", event="ended")]
