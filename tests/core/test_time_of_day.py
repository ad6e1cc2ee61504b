"""The time of day as text."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.time_of_day import utc_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (86_399.999999, "1970-01-01T23:59:59.999999Z"),
        (1_795_960_931.123456, "2026-11-29T14:02:11.123456Z"),
    ],
)
def test_a_time_is_a_date_and_a_time_in_utc(seconds: float, text: str) -> None:
    assert utc_text(seconds, 6) == text


def test_a_time_that_is_rounded_up_begins_the_next_second() -> None:
    assert utc_text(59.9996, 3) == "1970-01-01T00:01:00.000Z"


@given(st.integers(0, 4_000_000_000_000))
def test_any_time_reads_as_the_time_that_was_written(milliseconds: int) -> None:
    when = datetime.strptime(utc_text(milliseconds / 1000, 3), "%Y-%m-%dT%H:%M:%S.%fZ")
    assert when.replace(tzinfo=UTC) == datetime.fromtimestamp(milliseconds / 1000, UTC).replace(
        microsecond=milliseconds % 1000 * 1000
    )
