"""The life of a server as a machine, and what all servers count.

A server serves until it is asked to drain: by a signal, or, with `--once`, because its one
session has ended. Draining, it takes no more questions and gives every session what it is owed.
It stops when all connections are gone, or when its time is up.

Not here: the sessions (`core/protocol/server.py`), and processes that serve together, which have
the same life (`nodes/workers/supervisor.py`).
"""

from collections.abc import Mapping

from core.effects import Effect
from core.machine import STAY, Label, Transitions
from core.metrics import Metric
from core.operator import Report


class ServerState(Label):
    """The life of a server."""

    SERVING = "sessions are accepted and may ask"
    DRAINING = "no more questions are taken; what is owed is still sent"
    STOPPED = "every connection is gone, or the drain took too long"


class ServerEvent(Label):
    """The events in the life of a server."""

    DRAIN = "a signal came, or the one session of --once has ended"
    ALL_CLOSED = "no connection is left"
    TIME_UP = "the drain has taken as long as it may"


S, E = ServerState, ServerEvent
SERVER: Transitions[ServerState, ServerEvent] = {
    S.SERVING: {E.DRAIN: S.DRAINING},
    S.DRAINING: {E.DRAIN: STAY, E.ALL_CLOSED: S.STOPPED, E.TIME_UP: S.STOPPED},
    S.STOPPED: {E.DRAIN: STAY},
}

ASKED = Metric("asked", "Questions that clients asked")
ANSWERED = Metric("answered", "Questions that were answered with addresses")
NO_DATA = Metric("no_data", "Questions whose name has nothing of their type")
CLIENTS = Metric("clients", "Clients that are connected", is_level=True)
SESSIONS = Metric("sessions", "Clients that have connected")
ERRORS = Metric("errors", "Lines of clients that were refused")


def stats_report(stats: bytes) -> list[Effect]:
    """Report in the log what STATS would reply; `stats` is that whole reply."""
    *lines, _, _ = stats.decode("ascii").split("\n")
    return [Report(line.removeprefix("STAT ")) for line in lines]


def closing_report(account: str, hits: Mapping[str, int]) -> list[Effect]:
    """Report in the log what became of all questions, and which bounds took hold."""
    effects: list[Effect] = [Report(account)]
    if hits:
        counts = ", ".join(f"{bound} {count}" for bound, count in sorted(hits.items()))
        effects.append(Report(f"bounds that took hold: {counts}"))
    return effects
