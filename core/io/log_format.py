"""Log formats: how a record of the log is written.

    text     2026-11-29T14:02:11.123456Z LS WARNING TS2 is stalled
    json     {"time": 1795960931.123456, "node": "LS", "level": "WARNING",
              "event": "server_stalled", "server": "TS2", "text": "TS2 is stalled"}
    journal  <4>TS2 is stalled
    bare     TS2 is stalled

- Text: the time of day in UTC, the node, the level if it is more than information, the text.
- JSON, an object a line (here it is broken): `time` is in s since 1970; then the event, and each
  fact of the report as a field of its own. A fact for which there is no room is left out.
- Journal, for a standard error that leads to systemd's: the priority by which it filters (man 3
  sd-daemon), and the text. It adds the time and the unit itself; the name of a worker stays.
- Bare: what a program that a person runs by hand has to say.

Not here: which records there are, and how many (`core/io/log.py`).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from core.bounds import PIPE_BYTES
from core.operator import Level
from core.time_of_day import utc_text

PRIORITY = {  # the beginning of a line, by its level (man 3 sd-daemon)
    Level.DEBUG: "<7>", Level.INFO: "<6>", Level.WARNING: "<4>", Level.ERROR: "<3>"
}  # fmt: skip
_FACTS_BYTES_MAX = PIPE_BYTES // 2  # all fields but the text, which gets the rest


class LogRecord(NamedTuple):
    """A record: when (s since 1970, UTC), of which node, and what a `Report` has."""

    time: float
    node: str
    level: Level
    text: str
    event: str
    about: Mapping[str, object]


LogFormat = Callable[[LogRecord], str]


def text_line(record: LogRecord) -> str:
    """Write a record for people."""
    loud = f"{record.level.name} " if record.level > Level.INFO else ""
    return f"{utc_text(record.time, 6)} {record.node} {loud}{record.text}"


def json_line(record: LogRecord) -> str:
    """Write a record as an object, its text as far as there is room."""
    fields: dict[str, Any] = {
        "time": round(record.time, 6),
        "node": record.node,
        "level": record.level.name,
        "event": record.event,
    }
    for name, value in record.about.items():
        if name not in fields and len(json.dumps({**fields, name: value})) <= _FACTS_BYTES_MAX:
            fields[name] = value
    text = record.text
    room = PIPE_BYTES - len(json.dumps({**fields, "text": ""})) - 1
    while len(json.dumps(text)) - 2 > room:
        text = text[: len(text) * 3 // 4]
    return json.dumps({**fields, "text": text})


def journal_line(record: LogRecord) -> str:
    """Write a record for systemd's journal."""
    _, _, worker = record.node.partition(".")
    whose = f"{worker} " if worker else ""
    return f"{PRIORITY[record.level]}{whose}{record.text}"


def bare_line(record: LogRecord) -> str:
    """Return the text of a record."""
    return record.text


FORMATS: dict[str, LogFormat] = {"text": text_line, "json": json_line, "journal": journal_line}
