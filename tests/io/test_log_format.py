"""Log formats: what each shows of a record.

Not here: records of any text, in a line and as long as a pipe takes (`tests/io/test_log.py`).
"""

import json
from typing import Any

import pytest

from core.io.log_format import LogRecord, bare_line, journal_line, json_line, text_line
from core.operator import Level

NOON = 1_795_953_600.25  # 2026-11-29, in UTC
FACTS: dict[str, object] = {"server": "TS2", "reason": "gone"}


def record(level: Level = Level.WARNING, node: str = "LS", **more: Any) -> LogRecord:  # noqa: ANN401
    facts = {"text": "TS2 is down (gone)", "event": "server_down", "about": FACTS, **more}
    return LogRecord(NOON, node, level, **facts)


def test_text_has_the_date_in_utc_and_a_loud_level() -> None:
    assert text_line(record()) == "2026-11-29T12:00:00.250000Z LS WARNING TS2 is down (gone)"
    assert text_line(record(Level.INFO)) == "2026-11-29T12:00:00.250000Z LS TS2 is down (gone)"


def test_json_has_the_event_and_each_fact_in_a_field() -> None:
    found = json.loads(json_line(record()))
    assert found == {
        "time": NOON, "node": "LS", "level": "WARNING", "event": "server_down", "server": "TS2",
        "reason": "gone", "text": "TS2 is down (gone)",
    }  # fmt: skip
    assert list(found)[:4] == ["time", "node", "level", "event"]


def test_a_fact_takes_the_place_of_no_other_field() -> None:
    found = json.loads(json_line(record(about={"time": 0, "node": "x", "level": 1, "text": ""})))
    assert (found["time"], found["node"], found["level"]) == (NOON, "LS", "WARNING")
    assert found["text"] == "TS2 is down (gone)"


def test_a_fact_of_json_without_room_is_left_out_not_the_text() -> None:
    found = json.loads(json_line(record(about={"servers": ["x" * 100] * 99, "count": 99})))
    assert "servers" not in found and found["count"] == 99
    assert found["text"] == "TS2 is down (gone)"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(Level.DEBUG, 7), (Level.INFO, 6), (Level.WARNING, 4), (Level.ERROR, 3)],
)
def test_the_journal_gets_a_priority_and_no_time(level: Level, priority: int) -> None:
    assert journal_line(record(level)) == f"<{priority}>TS2 is down (gone)"


def test_the_journal_names_a_worker_and_not_the_program() -> None:
    assert journal_line(record(node="LS.W2")) == "<4>W2 TS2 is down (gone)"


def test_a_bare_record_is_its_text() -> None:
    assert bare_line(record(Level.ERROR)) == "TS2 is down (gone)"
