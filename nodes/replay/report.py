"""Reports of a replay: the table for people, and all of it as JSON for programs.

Not here: how the figures come about (`replay.py`), and the verdict (`verdict.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodes.replay.replay import ReplayOutcome
from nodes.replay.verdict import Play, Verdict

_DECIMALS = 6  # of times, as in the records
HEAD = (
    f"{'policy':<14}{'questions':>10}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}"
    f"{'extra %':>10}{'timed out':>11}{'unanswered':>12}{'changed':>9}"
)
LEGEND = (
    "extra: questions to servers, beyond one for each\n"
    "unanswered: had an answer when recorded, and has none under this policy\n"
    "changed: has another reply than when recorded: other addresses, another negative, or none"
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """All that there is to report. `dropped`: races whose askers left before the reply, `bad`:
    records that could not be replayed; neither was played."""

    servers: Sequence[str]
    dropped: int
    bad: int
    recorded: ReplayOutcome
    plays: Sequence[Play]
    verdict: Verdict


def table_row(label: str, outcome: ReplayOutcome) -> str:
    """Return one row of the table that HEAD begins."""
    number = len(outcome.took_s)
    times = "".join(f"{quantile_s * 1000:>10.1f}" for quantile_s in outcome.quantiles_s())
    counts = f"{outcome.timed_out:>11}{outcome.unanswered:>12}{outcome.changed:>9}"
    return f"{label:<14}{number:>10}{times}{100 * outcome.extra:>10.2f}{counts}"


def notes(replayed: Replayed) -> list[str]:
    """Return a line for each kind of race that the figures, or the verdict, leave out."""
    said = []
    if replayed.dropped:
        said.append(f"Left out, for their askers left before the reply: {replayed.dropped:,}")
    if unreplied := replayed.recorded.timed_out:
        said.append(f"Not in the verdict, for they timed out when recorded: {unreplied:,}")
    return said


def as_json(replayed: Replayed) -> str:
    """Return everything as one line of JSON; examples/monitoring.md has its shape."""
    verdict = replayed.verdict
    take = verdict.take
    return json.dumps(
        {
            "servers": replayed.servers,
            "bad_records": replayed.bad,
            "dropped": replayed.dropped,
            "as_recorded": _figures(replayed.recorded),
            "policies": {
                play.label: {"flags": play.flags, **_figures(play.outcome)}
                for play in replayed.plays
            },
            "verdict": {
                "take": take and take.label,
                "flags": take.flags if take else (),
                "by": verdict.by,
                "times_s": {
                    label: round(time_s, _DECIMALS) for label, time_s in verdict.times_s.items()
                },
                "text": verdict.text,
            },
        }
    )


def _figures(outcome: ReplayOutcome) -> dict[str, Any]:
    p50_s, p99_s, p999_s = (round(time_s, _DECIMALS) for time_s in outcome.quantiles_s())
    return {
        "questions": len(outcome.took_s),
        "p50_s": p50_s,
        "p99_s": p99_s,
        "p999_s": p999_s,
        "extra": round(outcome.extra, _DECIMALS),
        "timed_out": outcome.timed_out,
        "unanswered": outcome.unanswered,
        "changed": outcome.changed,
    }
