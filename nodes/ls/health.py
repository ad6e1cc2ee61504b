"""Health: how well one server serves just now, for people, and for whoever sends clients here.

It follows from how its link stands (`link_state.py`) and from what came of it lately. It never says
whom to ask, nor whom to wait for: a server that fails everything is asked like any other.

Each change is one line in the log, with the address, and is kept with its time and reason. LS tries
a server that is not good itself, so that it is found again without a question of a client: a link
that is down is dialled again, and one that is there is asked something once a second.

Not here: the judgement that a server is silent (`table_silence.py`, `resolvers/grace.py`), or fails
(`resolvers/failure_streak.py`).
"""

import errno
import os

from core.effects import Effect
from core.environment import Environment
from core.machine import STAY, Label, Machine, Transitions
from core.operator import Level, Report


class HealthState(Label):
    """The health of a server."""

    NEW = "nothing has come from it yet; it counts as good"
    UP = "it replies"
    STALLED = "it does not take what it is sent"
    SILENT = "it has replied nothing to its last questions, for a while"
    FAILING = "it has replied to its last questions with failures only, for a while"
    UNREACHABLE = "the network says that nothing gets there"
    DOWN = "its connection is gone"


class HealthEvent(Label):
    """The events in the health of a server."""

    GOOD = "it replies, or takes what it is sent again"
    TAKES_NOTHING = "it has held up the clients for as long as it may"
    SAYS_NOTHING = "it is silent"
    FAILS = "its replies have been failures for long enough"
    NO_WAY = "the network says that nothing gets there"
    GONE = "its connection is gone, or could not be had"


S, E = HealthState, HealthEvent
BAD = frozenset(S) - {S.NEW, S.UP}  # nobody is helped by it
SERVER_HEALTH: Transitions[HealthState, HealthEvent] = {
    S.NEW: {
        E.GOOD: S.UP,
        E.SAYS_NOTHING: S.SILENT,
        E.FAILS: S.FAILING,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: S.DOWN,
    },
    S.UP: {
        E.GOOD: STAY,
        E.TAKES_NOTHING: S.STALLED,
        E.SAYS_NOTHING: S.SILENT,
        E.FAILS: S.FAILING,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: S.DOWN,
    },
    S.STALLED: {
        E.GOOD: S.UP,
        E.SAYS_NOTHING: STAY,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: S.DOWN,
    },
    S.SILENT: {
        E.GOOD: S.UP,
        E.TAKES_NOTHING: S.STALLED,
        E.SAYS_NOTHING: STAY,
        E.FAILS: S.FAILING,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: S.DOWN,
    },
    S.FAILING: {
        E.GOOD: S.UP,
        E.SAYS_NOTHING: S.SILENT,
        E.FAILS: STAY,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: S.DOWN,
    },
    S.UNREACHABLE: {
        E.GOOD: S.UP,
        E.SAYS_NOTHING: S.SILENT,
        E.FAILS: S.FAILING,
        E.NO_WAY: STAY,
        E.GONE: S.DOWN,
    },
    S.DOWN: {
        E.GOOD: S.UP,
        E.SAYS_NOTHING: S.SILENT,
        E.FAILS: S.FAILING,
        E.NO_WAY: S.UNREACHABLE,
        E.GONE: STAY,
    },
}
_OF_CONNECTION = frozenset({S.UNREACHABLE, S.DOWN})  # another reason is news, too
_MEANWHILE = {  # of LS
    S.STALLED: "it gets nothing new",
    S.SILENT: "it is tried once a second",
    S.FAILING: "it is asked nevertheless",
    S.UNREACHABLE: "dialling it again",
    S.DOWN: "dialling it again",
}
# The words of the kernel for it, as `core.io.system.reason` has them.
_NO_WAY = frozenset(
    os.strerror(code).lower()
    for code in (
        errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN,
        errno.ENETDOWN, errno.EPERM, errno.EACCES,
    )
)  # fmt: skip


class Health:
    """The health of the server of this name, at this address. `why` is empty while it is good;
    `since` is in s since 1970, UTC, and 0 while it is NEW."""

    def __init__(self, server: str, address: str, env: Environment) -> None:
        self.life = Machine(SERVER_HEALTH, HealthState.NEW, f"server {server}", env.watch)
        self.why = ""
        self.since = 0.0
        self._server = server
        self.address = address
        self._wall = env.wall
        self._silent_questions = env.bounds.silent_questions
        self._is_mute = False

    @property
    def is_bad(self) -> bool:
        """Return whether nobody is helped by it."""
        return self.life.state in BAD

    def text(self) -> str:
        """Return how it stands, in a few words."""
        state = f"{self._server} {self.life.state.name}"
        return f"{state} ({self.why})" if self.why else state

    def mute(self) -> None:
        """Say nothing more in the log."""
        self._is_mute = True

    def good(self) -> list[Effect]:
        """Take note that it replies, or that there is a connection to it."""
        return self._take(HealthEvent.GOOD, "")

    def lost(self, why: str) -> list[Effect]:
        """Take note that there is no connection to it; `why` may be the kernel's word."""
        return self._take(HealthEvent.NO_WAY if why in _NO_WAY else HealthEvent.GONE, why)

    def takes_nothing(self) -> list[Effect]:
        """Take note that it has held up the clients for as long as it may."""
        return self._take(HealthEvent.TAKES_NOTHING, "it does not take its questions")

    def says_nothing(self) -> list[Effect]:
        """Take note that it is silent."""
        why = f"no reply to its last {self._silent_questions} questions"
        return self._take(HealthEvent.SAYS_NOTHING, why)

    def fails(self, why: str) -> list[Effect]:
        """Take note that its replies have been failures for long enough."""
        return self._take(HealthEvent.FAILS, why)

    def _take(self, event: HealthEvent, why: str) -> list[Effect]:
        before = self.life.state
        state = self.life.fire(event)
        is_still = state is before
        if is_still and (state not in _OF_CONNECTION or why == self.why):
            return []
        self.why = why
        if not is_still:
            self.since = self._wall()
        if self._is_mute:
            return []
        words = [f"{self._server} is {'still ' * is_still}{state.name.lower()}"]
        if state in _MEANWHILE:
            words.append(f"({why}); {_MEANWHILE[state]}")
        if self.address:
            words.append(f"[{self.address}]")
        level = Level.WARNING if state in _MEANWHILE else Level.INFO
        about = {"server": self._server, "state": state.name, "address": self.address}
        if why:
            about["reason"] = why
        kind = f"{self._server} is {state.name}"
        return [Report(" ".join(words), level, "server_health", about, kind)]
