"""The life of a server as a machine, and what all servers count.

A server serves until it is asked to drain: by a signal, or, with `--once`, because its one
session has ended. Draining, it takes no more questions and gives every session what it is owed.
It stops when all connections are gone, or when its time is up.

Not here: the sessions (`core/protocol/server.py`), and processes that serve together, which have
the same life (`nodes/workers/supervisor.py`).
"""

from collections.abc import Iterable, Mapping

from core.effects import Effect
from core.machine import STAY, Label, Transitions
from core.metrics import Metric, Value
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

DRAINING = "draining"  # why nobody should be sent to a server that drains
ASKED = Metric("asked", "Questions that clients asked")


def ended(result: str, about: str) -> Metric:
    """Return the metric of the questions that had this result."""
    family_about = "Questions of clients, by what became of them"
    label = ("result", result)
    return Metric(
        result, about, family="replies", family_about=family_about, label=label, is_kept=True
    )


ANSWERED = ended("answered", "Questions that were answered with addresses")
NO_DATA = ended("no_data", "Questions whose name has nothing of their type")
CLIENTS = Metric("clients", "Clients that are connected", is_level=True)
SESSIONS = Metric("sessions", "Clients that have connected")
ERRORS = Metric("errors", "Lines of clients that were refused", family="bad_lines", is_kept=True)


def metrics_report(values: Iterable[Value]) -> list[Effect]:
    """Report metrics in the log, each as STATS has it."""
    return [
        Report(f"{value.key} {value.value}", event="metric", about={value.key: value.value})
        for value in values
    ]


def closing_report(
    values: Iterable[Value], hits: Mapping[str, int], whose: str = ""
) -> list[Effect]:
    """Report what became of all questions, and which bounds took hold, by the names of STATS.

    `values`: all metrics; those of one server, worker or bound, and levels, are left out. `whose`
    begins the text.
    """
    counts = {
        value.key: value.value
        for value in values
        if not value.metric.per and not value.metric.is_level
    }
    effects: list[Effect] = [Report(f"{whose}{_listed(counts)}", event="stopped", about=counts)]
    if hits:
        taken = dict(sorted(hits.items()))
        text = f"bounds that took hold: {_listed(taken)}"
        effects.append(Report(text, event="bounds_hit", about=taken))
    return effects


def _listed(counts: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
