"""Log: one line a record whatever is said, and never too many.

Not here: the output that it goes to (`tests/io/test_outputs.py`).
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from core.io.log import Log
from core.io.log_format import LogFormat, json_line, text_line
from core.io.stream_state import StreamState
from core.operator import Level

RECORD_MAX, SHOWN, WHILE_S = 4_096, 5, 10.0  # as an operator may rely on them
NOON = 1_700_000_000.0  # some time of day
STAMP = "2023-11-14T22:13:20.000000Z"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def logging(**words: Any) -> tuple[Log, list[bytes], Clock]:  # noqa: ANN401
    """Make a log; return it, what it has written, and its clock."""
    written: list[bytes] = []
    clock = Clock()
    return Log("LS", written.append, lambda: NOON, clock, **words), written, clock


texts = st.one_of(
    st.text(),
    st.text('\x00\x07\x1b\r\n\v\f\x7f\x85\u2028"\\é漢𝄞\ud800', max_size=200),
    st.tuples(st.text(min_size=1, max_size=5), st.integers(1, 5_000)).map(lambda t: t[0] * t[1]),
    st.integers(4_000, 4_200).map(lambda count: "x" * count),
    st.integers(600, 800).map(lambda count: "漢" * count),
)
levels = st.sampled_from(list(Level))


# -- records ---------------------------------------------------------------------------------------


@given(texts, levels)
def test_any_text_is_one_line_of_text_that_a_pipe_takes_whole(text: str, level: Level) -> None:
    log, written, _ = logging(least=Level.DEBUG)
    log.report(text, level)
    (record,) = written
    assert record.endswith(b"\n") and record.count(b"\n") == 1 and len(record) <= RECORD_MAX
    loud = level.name.encode() + b" " if level > Level.INFO else b""
    assert record.startswith(STAMP.encode() + b" LS " + loud)
    if len(text) < 3_000 and text.isascii() and text.isprintable():
        assert record.endswith(b" LS " + loud + text.encode() + b"\n")


@given(texts, levels)
def test_any_text_is_one_object_of_json_that_a_pipe_takes_whole(text: str, level: Level) -> None:
    log, written, _ = logging(least=Level.DEBUG, log_format=json_line)
    log.report(text, level, "said", {"server": "TS1", "reason": text})
    (record,) = written
    assert record.endswith(b"\n") and record.count(b"\n") == 1 and len(record) <= RECORD_MAX
    assert all(0x20 <= byte < 0x7F for byte in record[:-1])
    found = json.loads(record)
    assert list(found)[:5] == ["time", "node", "level", "event", "server"]
    assert (found["time"], found["node"], found["level"]) == (NOON, "LS", level.name)
    assert text.startswith(found["text"])
    if len(json.dumps(text)) < 1_900:
        assert found["text"] == found["reason"] == text
    elif found["text"] != text:
        assert len(record) > RECORD_MAX / 2  # not more is cut off than has to be


@given(
    st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.sampled_from([text_line, json_line]),
)
def test_a_line_of_the_wire_moves_no_cursor(data: bytes, log_format: LogFormat) -> None:
    log, written, _ = logging(log_format=log_format)
    log.received("client-1", data * 2)
    log.sent("TS1", data)
    assert len(written) == 3 and all(record[:-1].isascii() for record in written)
    assert all(0x20 <= byte < 0x7F for record in written for byte in record[:-1])
    marks = ["> client-1 ", "> client-1 ", "< TS1 "]
    if log_format is json_line:
        said = [json.loads(record)["text"] for record in written]
    else:
        said = [record.decode()[len(f"{STAMP} LS ") : -1] for record in written]
    assert all(text.startswith(mark) for text, mark in zip(said, marks, strict=True))


def test_the_wire_is_logged_whatever_the_level_and_never_limited() -> None:
    log, written, _ = logging(least=Level.ERROR)
    log.received("a", b"x\n" * 100)
    for _ in range(100):
        log.changed("TS1", StreamState.OPEN, StreamState.CLOSED)
    assert len(written) == 200
    assert written[-1].endswith(b"= TS1 OPEN -> CLOSED\n")


@pytest.mark.parametrize("least", list(Level))
def test_what_is_less_than_the_least_level_is_left_out(least: Level) -> None:
    log, written, _ = logging(least=least)
    for level in Level:
        log.report(f"at {level.name}", level)
    assert len(written) == sum(level >= least for level in Level)


# -- records that repeat ---------------------------------------------------------------------------


class RepeatsMachine(RuleBasedStateMachine):
    """Reports of some kinds as time passes, against a model: all times at which each was made."""

    def __init__(self) -> None:
        super().__init__()
        self.log, self.written, self.clock = logging()
        self.began: dict[str, float] = {}
        self.shown: dict[str, int] = {}
        self.hidden: dict[str, int] = {}
        self.number = 0

    @rule(kind=st.sampled_from(["a", "b", "", "same"]), times=st.integers(1, 8))
    def report(self, kind: str, times: int) -> None:
        """Records without a kind are alike when their texts are; kinds do not count for others."""
        for _ in range(times):
            self.number += 1
            text = "same" if kind == "same" else f"text {self.number}"
            self.log.report(text, event="said", kind="" if kind == "same" else kind)
            key, now = kind or text, self.clock.now
            suffix = ""
            if key not in self.began or now - self.began[key] >= WHILE_S:
                if hidden := self.hidden.get(key):
                    suffix = f" (and {hidden} more like this)"
                self.began[key], self.shown[key], self.hidden[key] = now, 0, 0
            if self.shown[key] == SHOWN:
                self.hidden[key] += 1
                assert not self.written
            else:
                self.shown[key] += 1
                assert self.written.pop().decode().split(" LS ")[1] == f"{text}{suffix}\n"
            assert not self.written

    @rule(seconds=st.sampled_from([0.0, 0.1, 5.0, 9.5, 10.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(level=st.sampled_from([Level.DEBUG]))
    def say_what_is_left_out(self, level: Level) -> None:
        """A record that is left out counts for nothing."""
        self.log.report("same", level)
        self.log.report("x", level, "said", {}, "a")
        assert not self.written


TestRepeats = RepeatsMachine.TestCase


def test_of_ever_new_kinds_not_all_are_remembered() -> None:
    """A kind that was not shown any more is as new after a thousand others."""
    log, written, _ = logging()
    for kind in (*"aaaaaa", *range(999), "a", "another", "a"):
        log.report("x", kind=f"kind {kind}")
    assert len(written) == 5 + 999 + 1 + 1


def test_how_many_were_not_shown_is_a_fact_of_the_next() -> None:
    log, written, clock = logging(log_format=json_line)
    for _ in range(SHOWN + 3):
        log.report("x", kind="a")
    clock.now += WHILE_S
    log.report("x", kind="a")
    last = json.loads(written[-1])
    assert (last["text"], last["hidden"]) == ("x (and 3 more like this)", 3)
    assert "hidden" not in json.loads(written[0])


@pytest.mark.parametrize("log_format", [text_line, json_line])
@pytest.mark.parametrize("more", [0, 1])
def test_a_record_of_just_its_bound_is_whole(log_format: LogFormat, more: int) -> None:
    log, written, _ = logging(log_format=log_format)
    log.report("")
    text = "x" * (RECORD_MAX - len(written.pop()) + more)
    log.report(text)
    (record,) = written
    assert (text.encode() in record) is not bool(more)
    assert (len(record) == RECORD_MAX) is (not more or log_format is text_line)
