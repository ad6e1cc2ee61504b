"""Metrics of the servers that LS asks: how each stands, and what came of what it was asked.

Not here: who counts (`link.py`, `upstream.py`), and what is counted about a resolver besides
(`resolvers/`).
"""

import math
from typing import Any

from core.metrics import Metric, Value
from nodes.ls.health import HealthState
from nodes.ls.link_state import LinkState
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.upstream import Upstream

SERVER_STATE = Metric(
    "state",
    "Health of the server",
    is_level=True,
    per="server",
    words=tuple(state.name for state in HealthState),
)
SERVER_SINCE = Metric("since", "Time since which it is so", True, "server", is_text=True)
SERVER_WHY = Metric("why", "Reason for which it is not good", True, "server", is_text=True)
SERVER_LINK = Metric(
    "link",
    "State of the link to the server",
    is_level=True,
    per="server",
    words=tuple(state.name for state in LinkState),
)
SERVER_ASKED = Metric("asked", "Questions that the server was sent", per="server")
SERVER_NOTHING_SAID = Metric(
    "nothing_said", "Legal lines of the server that end no question", per="server"
)
SERVER_REDIALS = Metric("redials", "Times that the server was dialled again", per="server")


def _reply(name: str, about: str, result: str = "") -> Metric:
    family_about = "Replies of the server, by what they say"
    label = ("result", result or name)
    return Metric(
        name, about, per="server", family="replies", family_about=family_about, label=label
    )


SERVER_WON = _reply("won", "Races that it won: its answers that counted", "answer")
SERVER_LATE = _reply("late", "Replies of it that nobody waited for")
SERVER_NONE = _reply("none", "Questions that it left without a reply")
SERVER_MALFORMED = _reply("malformed", "Lines or messages of it that are no replies")
SERVER_TRUNCATED = _reply(
    "truncated", "Replies of it that were truncated, and asked for again over TCP"
)
SERVER_DENIALS = {
    QuestionEvent.NAME_SAID: _reply("names_below", "NAMES BELOW that it replied"),
    QuestionEvent.NO_DATA_SAID: _reply("no_data", "NO DATA that it replied"),
    QuestionEvent.NOT_FOUND_SAID: _reply(
        "not_found", "NXDOMAIN, NOT FOUND or BLOCKED that it replied"
    ),
    QuestionEvent.REFUSAL_SAID: _reply("refused", "REFUSED that it replied"),
    QuestionEvent.FAILURE_SAID: _reply("failed", "SERVFAIL and other failures that it replied"),
    QuestionEvent.BOGUS_SAID: _reply("bogus", "Names that it said to be bogus, and was believed"),
}


def link_metrics(upstream: Upstream) -> list[Value]:
    """Return what was counted about one upstream."""
    link, health, replies = upstream.link, upstream.link.health, upstream.link.replies
    name = link.conn
    return [
        Value(SERVER_STATE, health.life.state.name, name),
        Value(SERVER_SINCE, f"{health.since:.3f}", name),
        Value(SERVER_WHY, health.why or "-", name),
        Value(SERVER_LINK, link.life.state.name, name),
        Value(SERVER_ASKED, upstream.asked, name),
        Value(SERVER_WON, replies.won, name),
        *(Value(metric, replies.denied[said], name) for said, metric in SERVER_DENIALS.items()),
        Value(SERVER_TRUNCATED, replies.truncated, name),
        Value(SERVER_MALFORMED, replies.malformed, name),
        Value(SERVER_LATE, replies.late, name),
        Value(SERVER_NONE, upstream.unanswered.count, name),
        Value(SERVER_REDIALS, max(0, link.dials - 1), name),
        Value(SERVER_NOTHING_SAID, replies.nothing_said, name),
    ]


def about(upstream: Upstream) -> dict[str, Any]:
    """Return what the status page shows of one upstream beside its metrics. `next`: when it is
    dialled, if it is to be, by the clock that never jumps."""
    link = upstream.link
    due = link.due()
    address = link.health.address
    return {"kind": upstream.kind, "address": address, "next": None if due == math.inf else due}
