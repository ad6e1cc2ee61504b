"""The client: asks LS for names as they come, and writes one line per name, in input order.

It asks as fast as LS takes and reads all the while. LS is dialled for the first name, and again
where it left while nothing was owed. A name that has no reply when the connection is gone, or when
no name has had one for too long, is LOST: everything that arrived is written all the same.

Not here: names and their lines (`nodes/client/worksheet.py`), those that are yet to come
(`nodes/client/intake.py`), files and arguments (`nodes/cli/client.py`).
"""

from core.addresses import Address
from core.effects import Abort, Close, Dial, Effect, Send, Stop
from core.environment import Environment
from core.events import Backlogged, Closed, Ended, Event, Opened, Received, Relieved, Woken
from core.machine import Machine
from core.operator import DrainAsked, FlushAsked, ReloadAsked, StatsAsked
from core.protocol.error_streak import ErrorStreak
from core.protocol.names import Command
from nodes.client.client_state import CLIENT, ClientEvent, ClientState
from nodes.client.ending import Ending
from nodes.client.intake import INPUT, Intake
from nodes.client.settings import ClientSettings
from nodes.client.trouble import Trouble
from nodes.client.wait import Wait
from nodes.client.worksheet import Worksheet

LS = "LS"


class Client:
    """The brain of a client. `names` are there from the start; `where` names LS for people."""

    def __init__(
        self,
        names: list[bytes],
        addresses: tuple[Address, ...],
        where: str,
        env: Environment,
        settings: ClientSettings = ClientSettings(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._sheet = Worksheet(settings.format_lines)
        self._intake = Intake(settings, self._sheet, env.bounds.names_held_max, names)
        self._ending = Ending(settings, self._sheet, self._intake)
        self._wait = Wait(env.bounds.patience_s, is_shown=settings.shows_progress)
        self._trouble = Trouble(where, env.bounds.patience_s)
        self._addresses = addresses
        self._life = Machine(CLIENT, ClientState.IDLE, "client", env.watch)
        self._streak = ErrorStreak(env)
        self._backlogged: set[str] = set()  # LS, or the output

    @property
    def due(self) -> float:
        return self._wait.due

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        effects, state = self._step(event, now), self._life.state
        has_room = state is not ClientState.DIALING and not self._backlogged
        return effects + self._intake.steer(has_room)

    def _step(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received() | Ended() | Closed() if event.conn == INPUT:
                if not self._intake.is_open:
                    return []
                effects = self._intake.take(event)
                if self._intake.failure:
                    return self._give_up(self._intake.failure, now) or [Stop(1)]
                return effects + self._go_on(now)
            case Received(_, data):
                return self._receive(data, now)
            case Opened():
                self._life.fire(ClientEvent.CONNECTED)
                return self._go_on(now)
            case Backlogged(conn) | Relieved(conn):
                self._backlogged ^= {conn}  # they come by turns
                return []
            case Ended():  # nothing more can come, whatever LS has not taken yet
                effects = [] if self._part() else self._give_up(self._trouble.of_end(), now)
                return effects or [Abort(LS)]
            case Closed() if self._life.state is ClientState.IDLE or self._part():
                return []
            case Closed(_, why):
                return self._cut_short(self._trouble.of_loss(why), now) + self._ending.stop()
            case DrainAsked() | ReloadAsked():  # SIGHUP: the terminal is gone
                return self._give_up("interrupted", now)
            case Woken():
                return self._woken(now)
            case StatsAsked() | FlushAsked():
                return []
        raise AssertionError(event)

    def _woken(self, now: float) -> list[Effect]:
        if self._life.state is ClientState.IDLE:
            self._ending.begin(now)
            return self._go_on(now)
        if self._wait.is_over(now):
            return self._give_up(self._trouble.of_silence(), now) or [*self._wait.end(), Abort(LS)]
        return self._wait.show(self._sheet, now)

    def _go_on(self, now: float) -> list[Effect]:
        """Write what is complete, send what is to be asked, and end when nothing is left to do."""
        life, is_last = self._life, not self._intake.is_open
        effects = self._sheet.write()
        if life.state is ClientState.IDLE and self._intake.to_ask:
            life.fire(ClientEvent.NAMED)
            return [*effects, Dial(LS, self._addresses)]
        if life.state is ClientState.ASKING and (self._intake.to_ask or is_last):
            questions = self._intake.take_questions()
            if is_last:
                life.fire(ClientEvent.ALL_ASKED)
                questions += Command.QUIT.value + b"\n"
            self._wait.begin(now)
            effects.append(Send(LS, questions))
        if self._sheet.owed or life.state is ClientState.DONE:
            return effects
        effects += self._wait.end()
        if is_last and life.state in (ClientState.IDLE, ClientState.FAILED):
            life.fire(ClientEvent.NOTHING_TO_ASK)
            effects += self._ending.sum_up(now) + self._ending.stop()
        elif is_last and life.state is ClientState.LEAVING:
            life.fire(ClientEvent.ALL_REPLIED)
            self._wait.renew(now)  # for BYE
            effects += [*self._ending.sum_up(now), Close(LS)]
        return effects

    def _receive(self, data: bytes, now: float) -> list[Effect]:
        """Credit each reply to its name, and write what is complete."""
        owed, sheet = self._sheet.owed, self._sheet
        for batch in sheet.credit(data, self._streak):
            self._trouble.note(batch, sheet, has_quit=self._life.state is ClientState.LEAVING)
        if sheet.owed < owed:
            self._wait.renew(now)
        effects = self._go_on(now)
        if self._streak.is_over:
            effects += self._give_up(self._trouble.of_end(), now)
        elif self._trouble.is_bye and self._part():
            effects.append(Abort(LS))
        return effects

    def _part(self) -> bool:
        """Let LS leave if nothing is owed and names may come: the next one dials again."""
        if self._life.state is not ClientState.ASKING or self._sheet.owed:
            return False
        self._life.fire(ClientEvent.LEFT)
        self._streak.end()
        self._trouble.forget()
        self._backlogged.discard(LS)
        return True

    def _give_up(self, why: str, now: float) -> list[Effect]:
        """End the client, and its connection if there is one."""
        end = Stop(1) if self._life.state is ClientState.IDLE else Abort(LS)
        effects = self._cut_short(why, now)
        return [*effects, end] if effects else []

    def _cut_short(self, why: str, now: float) -> list[Effect]:
        """End the client: no more replies will come, and the names that have none are lost."""
        before = self._life.state
        if self._life.fire(ClientEvent.CUT_SHORT) is before:
            return []  # it is over already
        self._intake.lose()
        self._backlogged.discard(LS)
        wiped = self._wait.end()
        self._sheet.lose()
        return [*self._sheet.write(), *wiped, *self._ending.give_up(why, now)]
