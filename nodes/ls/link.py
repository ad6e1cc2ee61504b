"""Link: how one upstream stands, through every connection to it, and when it is dialled again.

Not here: its states (`link_state.py`), connections, and what it is asked (`table_link.py`,
`resolvers/`).
"""

import math

from core.addresses import Address
from core.backoff import Backoff
from core.effects import Effect
from core.environment import Environment
from core.machine import Machine
from core.tls import ServerIdentity
from nodes.ls.health import Health, HealthState
from nodes.ls.link_state import ANSWERING, ASKED_NOW, LINK, LIVE, LinkEvent, LinkState
from nodes.ls.reply_counts import ReplyCounts


class Link:
    """How one upstream stands. `conn` is what it is called here and in the log: TS1, DNS1, ...;
    `bit` stands for it in sets of servers; `where` is its address, for people. `identity`: what it
    has to prove, by TLS; None: it is asked in the clear."""

    def __init__(
        self,
        conn: str,
        addresses: tuple[Address, ...],
        env: Environment,
        bit: int = 1,
        where: str = "",
        identity: ServerIdentity | None = None,
    ) -> None:
        self.conn = conn
        self.bit = bit
        self.addresses = addresses
        self.identity = identity
        self.life = Machine(LINK, LinkState.DOWN, f"link {conn}", env.watch)
        self._dial_at = 0.0  # while DOWN
        self._held_since = 0.0  # while HOLDING
        self._is_retired = False  # never dialled again
        self.health = Health(conn, where, env)
        self.replies = ReplyCounts()
        self.dials = 0
        self._bounds = env.bounds
        self._backoff = Backoff(env.bounds.redial_first_s, env.bounds.redial_max_s, env.random)
        self._up_since: float | None = None

    @property
    def is_asked(self) -> bool:
        """Return whether a new question is sent to it at once."""
        return self.life.state in ASKED_NOW

    @property
    def is_live(self) -> bool:
        """Return whether it is asked, at once or in slices, and an answer can be hoped for."""
        return self.life.state in LIVE

    @property
    def is_coming(self) -> bool:
        """Return whether its first dial is under way, so that nothing bad is known of it."""
        return self.life.state is LinkState.DIALING and self.health.life.state is HealthState.NEW

    @property
    def is_answering(self) -> bool:
        """Return whether what comes from it may count."""
        return self.life.state in ANSWERING

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
        self.dials += 1

    def connected(self, now: float) -> None:
        """Take a new connection."""
        self.life.fire(LinkEvent.CONNECTED)
        self._up_since = now

    def lost(self, now: float, again_s: float | None = None) -> bool:
        """Dial again after `again_s`, or after a wait that doubles every time (`core/backoff.py`).
        Return whether it had been up."""
        self.life.fire(LinkEvent.LOST)
        was_up = self._up_since is not None
        lasted_s = now - self._up_since if self._up_since is not None else 0.0
        self._up_since = None
        wait, jittered = self._backoff.wait_s, self._backoff.jittered
        self._dial_at = now + (wait(lasted_s) if again_s is None else jittered(again_s))
        return was_up

    def give_up(self, why: str) -> list[Effect]:
        """Take leave of the connection; return what there is to say about it."""
        self.life.fire(LinkEvent.GIVEN_UP)
        return self.health.lost(why)

    def retire(self) -> None:
        """Never dial it again."""
        self._is_retired = True

    def backlogged(self, now: float) -> None:
        """Take note that more waits for it than its high mark."""
        if self.life.fire(LinkEvent.BACKLOGGED) is LinkState.HOLDING:
            self._held_since = now
