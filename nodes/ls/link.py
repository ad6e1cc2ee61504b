"""Link: how one upstream stands, through every connection to it, and when it is dialled again.

A link that comes up is asked for what is open, in slices, before it gets what is new
(CATCHING_UP). One that takes too little first holds the clients up (HOLDING), since they ask faster
than it reads, and after a while nobody (STALLED): the other servers are there to answer.

Not here: connections (`table_link.py`, `resolvers/sockets.py`), and what it is asked.
"""

import math

from core.addresses import Address
from core.backoff import Backoff
from core.effects import Effect
from core.environment import Environment
from core.machine import STAY, Label, Machine, Transitions
from core.metrics import Metric, Value
from core.operator import Level, Report


class LinkState(Label):
    """How a link stands."""

    DOWN = "there is no connection; it is dialled again in time, once its address is known"
    DIALING = "a connection is being made"
    CATCHING_UP = "it is being asked, slice by slice, for what is still open"
    UP = "it has been asked for all that it is to be asked, and may get what is new"
    HOLDING = "as UP, and too much waits for it: no client is read meanwhile"
    STALLED = "it has held the clients up for too long: it gets nothing new, and holds up nobody"
    CLOSING = "we end it, and what still comes from it does not count"


class LinkEvent(Label):
    """What happens to a link."""

    DIAL_DUE = "it is time to dial"
    CONNECTED = "the dial was answered"
    CAUGHT_UP = "the last slice is on its way"
    BACKLOGGED = "more waits for it than the high mark"
    FELL_BEHIND = "it is to be asked more than one slice"
    RELIEVED = "less waits for it than the low mark"
    HELD_TOO_LONG = "the clients have been held up for as long as they may be"
    LOST = "the dial failed or the connection is gone"
    GIVEN_UP = "we close it: it has ended, is no table server, or is not needed any more"


S, E = LinkState, LinkEvent
LINK: Transitions[LinkState, LinkEvent] = {
    S.DOWN: {E.DIAL_DUE: S.DIALING},
    S.DIALING: {E.CONNECTED: S.CATCHING_UP, E.LOST: S.DOWN, E.GIVEN_UP: S.CLOSING},
    S.CATCHING_UP: {
        E.CAUGHT_UP: S.UP,
        E.BACKLOGGED: STAY,
        E.RELIEVED: STAY,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.UP: {
        E.BACKLOGGED: S.HOLDING,
        E.FELL_BEHIND: S.CATCHING_UP,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.HOLDING: {
        E.RELIEVED: S.UP,
        E.HELD_TOO_LONG: S.STALLED,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.STALLED: {E.RELIEVED: S.CATCHING_UP, E.LOST: S.DOWN, E.GIVEN_UP: S.CLOSING},
    S.CLOSING: {E.LOST: S.DOWN},
}

_ASKED = frozenset({S.UP, S.HOLDING})
_LIVE = frozenset({S.CATCHING_UP, S.UP, S.HOLDING})
_ANSWERS = _LIVE | {S.STALLED}


LINK_STATE = Metric("state", "How the link to it stands", is_level=True, per="ts")
LINK_ASKED = Metric("asked", "Questions that it was sent", per="ts")
LINK_WON = Metric("won", "Races that it won", per="ts")
LINK_LATE = Metric("late", "Replies of it that nobody waited for", per="ts")
NOTHING_SAID = Metric("nothing_said", "Legal lines of it that end no question", per="ts")
MALFORMED = Metric("malformed", "Lines or messages of it that are no replies", per="ts")
REDIALS = Metric("redials", "Times that it was dialled again", per="ts")


class Link:
    """How one upstream stands. `conn` is what it is called here and in the log: TS1, DNS1, ...;
    `bit` stands for it in sets of servers."""

    def __init__(
        self, conn: str, addresses: tuple[Address, ...], env: Environment, bit: int = 1
    ) -> None:
        self.conn = conn
        self.bit = bit
        self.addresses = addresses
        self.life = Machine(LINK, LinkState.DOWN, f"link {conn}", env.watch)
        self.away_since: float | None = None  # since when it is down, or was last looked up
        self._dial_at = 0.0  # while DOWN
        self._held_since = 0.0  # while HOLDING
        self._is_retired = False  # never dialled again
        self._is_mute = False
        self._down_said = False  # the log says once that it is down
        self._asked = 0  # questions, since it came up
        self._asked_before = 0  # questions, on earlier connections
        self._won = 0
        self._late = 0
        self._nothing_said = 0  # legal lines that end no question
        self._malformed = 0  # lines or messages that are no replies
        self._dials = 0
        self._bounds = env.bounds
        self._backoff = Backoff(env.bounds.redial_first_s, env.bounds.redial_max_s, env.random)
        self._up_since: float | None = None

    def metrics(self) -> list[Value]:
        """Return what is counted about it."""
        return [
            Value(LINK_STATE, self.life.state.name, self.conn),
            Value(LINK_ASKED, self._asked_before + self._asked, self.conn),
            Value(LINK_WON, self._won, self.conn),
            Value(LINK_LATE, self._late, self.conn),
            Value(REDIALS, max(0, self._dials - 1), self.conn),
            Value(NOTHING_SAID, self._nothing_said, self.conn),
            Value(MALFORMED, self._malformed, self.conn),
        ]

    @property
    def is_asked(self) -> bool:
        """Return whether a new question is sent to it at once."""
        return self.life.state in _ASKED

    @property
    def is_live(self) -> bool:
        """Return whether it is asked, at once or in slices, and an answer can be hoped for."""
        return self.life.state in _LIVE

    @property
    def is_answering(self) -> bool:
        """Return whether what comes from it may count."""
        return self.life.state in _ANSWERS

    def sent(self, count: int) -> None:
        """Count questions that it was sent."""
        self._asked += count

    @property
    def asked(self) -> int:
        """Return how many questions it was sent since it came up."""
        return self._asked

    def credit(self, won: int, late: int) -> None:
        """Count replies of it: races that it won, and replies that nobody waited for."""
        self._won += won
        self._late += late

    def misread(self, malformed: int, nothing_said: int = 0) -> None:
        """Count what came from it and ended no question."""
        self._malformed += malformed
        self._nothing_said += nothing_said

    # -- up and down -------------------------------------------------------------------------------

    def due(self) -> float:
        """Return when it has to be dialled, or is to hold up clients no longer."""
        match self.life.state:
            case LinkState.DOWN if not self._is_retired:
                return self._dial_at
            case LinkState.HOLDING:
                return self._held_since + self._bounds.held_s
        return math.inf

    def dialled(self) -> None:
        """Take note that it is being dialled."""
        self.life.fire(LinkEvent.DIAL_DUE)
        self._dials += 1

    def connected(self, now: float) -> bool:
        """Take a new connection, which was asked nothing; return whether it was said to be down."""
        self.life.fire(LinkEvent.CONNECTED)
        self._asked_before += self._asked
        self._asked = 0
        self._up_since = now
        was_said, self._down_said = self._down_said, False
        return was_said

    def lost(self, now: float, again_s: float | None = None) -> None:
        """Dial again after `again_s`, or after a wait that doubles every time
        (`core/backoff.py`)."""
        self.life.fire(LinkEvent.LOST)
        lasted_s = 0.0
        if self._up_since is not None:
            self.away_since = now
            lasted_s = now - self._up_since
        self._up_since = None
        backoff = self._backoff
        wait_s = backoff.wait_s(lasted_s) if again_s is None else backoff.jittered(again_s)
        self._dial_at = now + wait_s

    def give_up(self, why: str) -> list[Effect]:
        """Take leave of the connection; return what there is to say about it."""
        self.life.fire(LinkEvent.GIVEN_UP)
        return self.say_down(why)

    def say_down(self, why: str) -> list[Effect]:
        """Return a line for the log, once each time that it goes down."""
        if self._down_said or self._is_mute:
            return []
        self._down_said = True
        return [Report(f"{self.conn} is down ({why}); dialling it again", Level.WARNING)]

    def mute(self) -> None:
        """Say no more that it is down."""
        self._is_mute = True

    def retire(self) -> None:
        """Never dial it again."""
        self._is_retired = True

    def backlogged(self, now: float) -> None:
        """Take note that more waits for it than its high mark."""
        if self.life.fire(LinkEvent.BACKLOGGED) is LinkState.HOLDING:
            self._held_since = now

    # -- where it is -------------------------------------------------------------------------------

    def wait_for_address(self) -> None:
        """Do not dial it: it has no address, and its host is being looked up."""
        self._dial_at = math.inf

    def is_long_away(self, now: float) -> bool:
        """Return whether it may have moved meanwhile; True once in `away_s`."""
        if self.away_since is None:
            self.away_since = now
        if now - self.away_since < self._bounds.away_s:
            return False
        self.away_since = now
        return True

    def found(self, addresses: tuple[Address, ...], now: float) -> None:
        """Take other addresses than before, or the first ones: dial there."""
        if not self.addresses:
            self._dial_at = now
            self._backoff.start_over()
        self.addresses = addresses

    def not_found(self, now: float, count: int) -> None:
        """Look its host up again after a wait that doubles. `count` hosts are nowhere: the more,
        the longer the wait may be, so that together they cost no more."""
        longest_s = max(self._bounds.lookup_max_s, self._bounds.lookup_each_s * count)
        self._dial_at = now + self._backoff.wait_s(longest_s=longest_s)
