"""Link: one table server as the load balancer sees it, through every connection it has had.

A link that comes up is asked for what is open, in slices, before it gets what is new
(CATCHING_UP). Where everyone is asked, `asked_upto` says how far that has come, in batch
numbers; a link that is UP or HOLDING then has been asked for every open question, so it needs no
such figure. Where not everyone is asked, a link that is UP may be given more at once than a slice
and fall behind.

A link that takes too little first holds the clients up (HOLDING), since they ask faster than it
reads, and after a while it holds up nobody (STALLED): the other servers are there to answer.

A resolver has a link, too. It is UP when there is a socket; one that was refused
(`reachability.py`) only when it has replied again.

Not here: what is done about any of it (`nodes/ls/load_balancer.py`).
"""

import math
from collections.abc import Callable

from core.addresses import Address
from core.backoff import Backoff
from core.bounds import Bounds
from core.machine import STAY, Label, Machine, Transitions, Watch
from core.metrics import Metric, Value


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
    """One table server. `conn` is what it is called here and in the log: TS1, TS2, ... `bit`
    stands for it in numbers that mean several."""

    def __init__(
        self,
        conn: str,
        addresses: tuple[Address, ...],
        bounds: Bounds,
        random: Callable[[], float],
        watch: Watch | None,
        bit: int = 1,
    ) -> None:
        self.conn = conn
        self.bit = bit
        self.addresses = addresses
        self.life = Machine(LINK, LinkState.DOWN, f"link {conn}", watch)
        self.dial_at = 0.0  # while DOWN
        self.is_sought = False  # there is no address yet, and its host is being looked up
        self.away_since: float | None = None  # since when it is away, or was last looked up
        self.held_since = 0.0  # while HOLDING
        self.asked_upto = 0  # where everyone is asked: see above
        self.asked = 0  # lines, since it came up
        self.asked_before = 0  # lines, on earlier connections
        self.won = 0  # races
        self.late = 0  # replies that nobody waited for
        self.dials = 0
        self.nothing_said = 0  # legal lines that end no question
        self.malformed = 0  # lines that are no replies
        self.answered = 0  # lines, since it came up
        self.errors_in_a_row = 0
        self.down_said = False  # the log says once that it is down
        self._bounds = bounds
        self._up_since: float | None = None
        self._backoff = Backoff(bounds.redial_first_s, bounds.redial_max_s, random)

    def metrics(self) -> list[Value]:
        """What is counted about it."""
        return [
            Value(LINK_STATE, self.life.state.name, self.conn),
            Value(LINK_ASKED, self.asked_before + self.asked, self.conn),
            Value(LINK_WON, self.won, self.conn),
            Value(LINK_LATE, self.late, self.conn),
            Value(REDIALS, max(0, self.dials - 1), self.conn),
            Value(NOTHING_SAID, self.nothing_said, self.conn),
            Value(MALFORMED, self.malformed, self.conn),
        ]

    @property
    def is_asked(self) -> bool:
        """Whether a new question is sent to it at once."""
        return self.life.state in _ASKED

    @property
    def is_live(self) -> bool:
        """Whether it is asked for things, at once or in slices, and an answer can be hoped for."""
        return self.life.state in _LIVE

    @property
    def is_answering(self) -> bool:
        """Whether what comes from it may count."""
        return self.life.state in _ANSWERS

    def connected(self, now: float) -> None:
        """A new connection, which has been asked for nothing."""
        self.life.fire(LinkEvent.CONNECTED)
        self.asked_before += self.asked
        self.asked_upto = self.asked = self.answered = self.errors_in_a_row = 0
        self._up_since = now

    def due(self) -> float:
        """When something has to be done about it: dial, or look its host up, or stop holding up the
        clients. Infinite for never."""
        match self.life.state:
            case LinkState.DOWN:
                return math.inf if self.is_sought else self.dial_at
            case LinkState.HOLDING:
                return self.held_since + self._bounds.held_s
        return math.inf

    def is_long_away(self, now: float) -> bool:
        """Whether it may have moved meanwhile. Says so once in a while."""
        if self.away_since is None:
            self.away_since = now
        if now - self.away_since < self._bounds.away_s:
            return False
        self.away_since = now
        return True

    def found(self, addresses: tuple[Address, ...], now: float) -> None:
        """Its host is somewhere, elsewhere than before or for the first time: dial there."""
        if not self.addresses:
            self.dial_at = now
            self._backoff.start_over()
        self.addresses = addresses
        self.is_sought = False

    def not_found(self, now: float, count: int) -> None:
        """Nobody knows where its host is, nor those of so many in all: look it up again, after a
        wait that doubles. The more there are, the longer it may be, so that they cost no more."""
        most_s = max(self._bounds.lookup_max_s, self._bounds.lookup_each_s * count)
        self.is_sought = False
        self.dial_at = now + self._backoff.wait_s(longest_s=most_s)

    def lost(self, now: float, again_s: float | None = None) -> None:
        """No connection any more: dial again after `again_s`, or a wait that doubles every time
        (`core/backoff.py`)."""
        self.life.fire(LinkEvent.LOST)
        lasted_s = 0.0
        if self._up_since is not None:
            self.away_since = now
            lasted_s = now - self._up_since
        self._up_since = None
        backoff = self._backoff
        wait_s = backoff.wait_s(lasted_s) if again_s is None else backoff.jittered(again_s)
        self.dial_at = now + wait_s
