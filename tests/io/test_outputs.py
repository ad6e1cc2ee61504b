"""Outputs: records wait, are written or dropped, whole; and what a broken descriptor costs.

The loop is real, and what `write` makes of a descriptor is the test's. Not here: how to write
without blocking (`tests/io/test_writer.py`).
"""

import errno
import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.bounds import PIPE_BYTES
from core.effects import Stop, Write
from core.events import Backlogged, Relieved
from core.io.log_format import json_line
from core.io.outputs import OWN_OUTPUT, Destinations, Output
from core.operator import Level, Progress, Record, ReopenRecords, Report
from tests.support.loops import QuietSystem, Script, real_loop

# -- an output by itself ---------------------------------------------------------------------------

records = st.binary(max_size=12).map(
    lambda data: data.replace(b"\n", b".") + b"\n" if data else b""
)


class OutputMachine(RuleBasedStateMachine):
    """Records wait, are dropped or written, in pieces; the model is a queue of bytes."""

    MOST = 30

    def __init__(self) -> None:
        super().__init__()
        self.output = Output(2, self.MOST, "the log")
        self.waiting: deque[bytes] = deque()
        self.dropped = 0
        self.failed = False

    @rule(record=records)
    def append(self, record: bytes) -> None:
        self.output.append(record)
        if self.failed or sum(map(len, self.waiting)) + len(record) > self.MOST:
            self.dropped += bool(record)
        elif record:
            self.waiting.append(record)

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(0, 30))
    def write(self, count: int) -> None:
        """All that waits is little enough to be offered at once. A descriptor takes some of it; the
        rest of a record comes before all others."""
        data = bytes(self.output.unwritten())
        assert data == b"".join(self.waiting)
        count = min(count, len(data))
        self.output.written(count)
        self.waiting = deque(line + b"\n" for line in data[count:].split(b"\n")[:-1])

    @rule()
    def fail(self) -> None:
        self.output.fail()
        self.dropped += len(self.waiting)
        self.waiting.clear()
        self.failed = True

    @invariant()
    def what_waits_and_what_was_dropped_is_known(self) -> None:
        assert self.output.waiting == sum(map(len, self.waiting)) <= self.MOST
        assert self.output.dropped == self.dropped


TestOutput = OutputMachine.TestCase


def test_a_long_record_is_handed_out_in_views_of_itself() -> None:
    """Each byte of it is handed out once, and none is copied."""
    record = bytes(40_000_000)
    output = Output(1)
    output.append(record)
    output.append(b"next\n")
    steps = 0
    while output.waiting > PIPE_BYTES:
        piece = output.unwritten()
        assert piece.obj is record and len(piece) == PIPE_BYTES
        output.written(len(piece))
        steps += 1
    assert steps == len(record) // PIPE_BYTES
    assert bytes(output.unwritten()).endswith(b"next\n")


def test_what_is_handed_out_is_no_more_than_a_pipe_takes() -> None:
    output = Output(1)
    for size in (1, PIPE_BYTES, PIPE_BYTES - 1, 1, 1, PIPE_BYTES + 1, 100):
        output.append(b"x" * size)
    sizes = []
    while output.waiting:
        sizes.append(len(output.unwritten()))
        output.written(sizes[-1])
    assert sizes == [1, PIPE_BYTES, PIPE_BYTES, 1, PIPE_BYTES, 101]


def test_half_a_record_is_not_joined_to_the_next() -> None:
    """A disk was full in the middle of one, and has room again: replay reads it line by line."""
    output = Output(3, 1_000, "races.jsonl")
    taken = b""
    output.append(b'{"at":1}\n')
    taken += bytes(output.unwritten()[:4])
    output.written(4)
    output.drop()
    for number in range(2):  # it still is
        output.append(b'{"at":3}\n')
        output.drop()
        assert output.dropped == 2 + number
    output.append(b'{"at":2}\n')
    while output.waiting:
        data = bytes(output.unwritten())
        taken += data
        output.written(len(data))
    assert b'{"at":2}' in taken.split(b"\n")


# -- those of a loop -------------------------------------------------------------------------------

LOG, OWN, RECORDS = 1_001, 1_002, 1_003  # descriptors that nobody has


class Desk(QuietSystem):
    """Descriptors that take what the test says; `errors` are raised by the next writes to each, in
    order; 0 is none."""

    def __init__(self) -> None:
        super().__init__()
        self.written = {fd: bytearray() for fd in (LOG, OWN, RECORDS)}
        self.errors: dict[int, list[int]] = {}
        self.at_once = self.room = 1 << 20  # bytes that a write takes, and all together
        self.forgotten: list[int] = []

    def select(self, read: list[int], write: list[int], *_: Any) -> Any:  # noqa: ANN401
        """Select; descriptors that are no sockets can always be written."""
        return QuietSystem.select(read, [], [], 0.0)[0], write, []

    def forget(self, fd: int) -> None:
        self.forgotten.append(fd)

    def write(self, fd: int, data: memoryview) -> int:
        if self.errors.get(fd) and (number := self.errors[fd].pop(0)):
            raise OSError(number, os.strerror(number))
        data = data[: min(self.at_once, self.room)]
        if not data:
            raise BlockingIOError
        self.room -= len(data)
        self.written[fd] += data
        return len(data)


class House:
    """A loop with three outputs."""

    def __init__(self, *, on_terminal: bool = False) -> None:
        self.desk = Desk()
        log, own = Output(LOG, 1_000), Output(OWN, 10_000)
        log.append(b"started\n")  # before there is a loop
        self.records = Output(RECORDS, 10_000, "races.jsonl")
        to = Destinations(log, own, self.records, on_terminal)
        self.loop = real_loop(system=self.desk, said=log.append, to=to)
        self.brain = Script()
        self.loop.start(self.brain)
        self.do()
        assert self.written(LOG) == "started\n"
        self.desk.written[LOG].clear()

    def do(self, *effects: Any, turns: int = 1) -> None:  # noqa: ANN401
        """Perform these effects, each in a turn of its own."""
        for effect in effects or [None]:
            if effect is not None:
                self.loop.engine.performers[type(effect)](effect)
            for _ in range(turns):
                self.loop.turn()

    def written(self, fd: int) -> str:
        return self.desk.written[fd].decode()

    @property
    def metrics(self) -> dict[str, object]:
        return {value.key: value.value for value in self.loop.metrics()}


@pytest.fixture
def house() -> Iterator[House]:
    some = House()
    yield some
    some.loop.close()


def records_of(count: int) -> list[Record]:
    return [Record(b"record %4d\n" % number) for number in range(count)]


def whole(records: list[Record]) -> str:
    return b"".join(record.data for record in records).decode()


def test_a_full_disk_costs_records_and_one_warning(house: House) -> None:
    """The disk may have room again."""
    house.desk.errors[RECORDS] = [errno.ENOSPC, 0, errno.ENOSPC, errno.EDQUOT]
    house.do(*map(Record, (b"a\n", b"b\n", b"c\n", b"d\n", b"e\n")))
    assert house.written(RECORDS) == "b\ne\n"
    line = "cannot write races.jsonl: no space left on device; records are dropped\n"
    assert house.written(LOG) == line
    metrics = house.metrics
    assert (metrics["records_dropped"], metrics["log_dropped"]) == (3, 0)
    assert metrics["turns"] == house.loop.turns and house.loop.exit_code is None


def test_a_record_that_began_in_the_old_file_is_dropped_with_it(house: House) -> None:
    """[P65]: what has not begun goes to the new one, whole."""
    house.desk.room = 20
    for record in records_of(3):
        house.records.append(record.data)
    house.records.reopen = lambda: True
    house.loop.engine.performers[ReopenRecords](ReopenRecords())
    assert house.written(RECORDS) == "record    0\nrecord  " and house.desk.forgotten == [RECORDS]
    house.desk.written[RECORDS].clear()
    house.desk.room = 1 << 20
    house.do()
    assert house.written(RECORDS) == "record    2\n"
    assert (house.records.dropped, house.records.waiting) == (1, 0)
    assert house.written(LOG) == "races.jsonl is opened anew\n"


def test_a_new_file_that_is_full_is_news_again(house: House) -> None:
    house.desk.errors[RECORDS] = [errno.ENOSPC] * 3
    house.records.reopen = lambda: True
    house.do(Record(b"a\n"), Record(b"b\n"), ReopenRecords(), Record(b"c\n"), Report("x"))
    full = "cannot write races.jsonl: no space left on device; records are dropped\n"
    assert house.written(LOG) == f"{full}races.jsonl is opened anew\n{full}x\n"


def test_a_file_that_cannot_be_opened_anew_is_gone_on_with(house: House) -> None:
    def refuse() -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    house.records.reopen = refuse
    house.do(ReopenRecords(), Record(b"a\n"))
    assert house.written(RECORDS) == "a\n" and not house.desk.forgotten
    text = "cannot open races.jsonl anew: permission denied; going on with the old file\n"
    assert house.written(LOG) == text


def test_the_event_and_the_facts_of_a_report_come_to_the_log() -> None:
    said: list[bytes] = []
    with closing(real_loop(said=said.append, log_format=json_line)) as loop:
        report = Report("TS1 is down", Level.WARNING, "server_down", {"server": "TS1"})
        loop.engine.performers[Report](report)
    found = json.loads(said[0])
    told = found["text"], found["level"], found["event"], found["server"]
    assert told == ("TS1 is down", "WARNING", "server_down", "TS1")


@pytest.mark.parametrize("on_terminal", [False, True])
def test_progress_is_shown_on_a_terminal_only(on_terminal: bool) -> None:
    house = House(on_terminal=on_terminal)
    house.do(Progress("1 of 2"))
    assert house.written(LOG) == "\r\x1b[K1 of 2" * on_terminal
    house.loop.close()


def test_all_that_is_taken_is_written_in_one_turn(house: House) -> None:
    """However many pieces it is, and however many more than the bound have been made."""
    records = records_of(10_000)
    for record in records:
        house.records.append(record.data)
    house.do()
    assert house.written(RECORDS) == whole(records) and house.records.dropped == 0


def test_a_descriptor_that_takes_no_more_is_left_alone(house: House) -> None:
    """Bytes that it does not take within the bound are dropped, and it is asked again in later
    turns."""
    house.desk.room = 5_000
    for record in records_of(10_000):
        house.records.append(record.data)
    house.do()
    assert len(house.written(RECORDS)) == 5_000
    assert house.records.waiting > 10_000 - 12
    house.desk.room = 1 << 20
    house.do()
    written = house.written(RECORDS)
    assert house.records.waiting == 0
    assert written.count("\n") + house.records.dropped == 10_000
    assert all(len(line) == 11 for line in written.splitlines())


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.EBADF])
def test_a_log_that_is_broken_is_silent_and_nothing_else_happens(house: House, number: int) -> None:
    """As when whoever reads standard error has gone: it is never tried again."""
    house.desk.errors[LOG] = [0, number]
    house.do(Report("one"), Report("two"), Report("three"), Record(b"a\n"))
    assert (house.written(LOG), house.written(RECORDS)) == ("one\n", "a\n")
    assert house.metrics["log_dropped"] == 2 and house.loop.exit_code is None


@pytest.mark.parametrize("is_purpose", [False, True])
def test_an_output_that_is_broken_ends_a_program_that_is_for_it(
    house: House, is_purpose: bool
) -> None:
    own = house.loop.outputs.all[1]
    own.bytes_max = float("inf") if is_purpose else 10_000
    house.desk.errors[OWN] = [0, errno.EPIPE]
    house.do(Write(b"x\n"), Write(b"x\n"))
    house.loop.engine.performers[Write](Write(b"x\n"))
    house.loop.outputs.write_all()
    assert house.written(OWN) == "x\n" and own.dropped == 2
    assert house.loop.exit_code == (1 if is_purpose else None)
    what = "the output: {}" if is_purpose else "to standard output: {}; going on without it"
    assert house.written(LOG) == f"cannot write {what.format('broken pipe')}\n"


@pytest.mark.parametrize("is_purpose", [False, True])
def test_a_brain_is_told_when_much_waits_for_its_output(house: House, is_purpose: bool) -> None:
    """Once each time, and not where what is too much is dropped."""
    own, bounds = house.loop.outputs.all[1], house.loop.environment.bounds
    own.bytes_max = float("inf") if is_purpose else 10 * bounds.waiting_bytes_high
    half = Write(b"x" * (bounds.waiting_bytes_high // 2))
    for _ in range(2):
        house.desk.room = 0
        house.brain.heard.clear()
        house.do(half, half)
        assert house.brain.heard == []
        house.do(Write(b"x"), Write(b"x"))
        told = [Backlogged(OWN_OUTPUT)] if is_purpose else []
        assert house.brain.heard == told
        house.desk.room = own.waiting - bounds.waiting_bytes_low
        house.do()
        assert house.brain.heard == told
        house.desk.room = bounds.waiting_bytes_low
        house.do()
        assert own.waiting == 0
        assert house.brain.heard == [*told, *([Relieved(OWN_OUTPUT)] if is_purpose else [])]


def test_a_program_that_ends_writes_what_is_taken_now(house: House) -> None:
    for effect in (Write(b"x\n"), Report("bye"), Record(b"a\n"), Stop(3)):
        house.loop.engine.performers[type(effect)](effect)
    assert house.loop.run() == 3
    assert [house.written(fd) for fd in (OWN, LOG, RECORDS)] == ["x\n", "bye\n", "a\n"]


def test_what_went_wrong_at_the_end_is_written_at_the_end(house: House) -> None:
    """The log is the last to be written."""
    house.desk.errors[OWN] = [errno.EPIPE]
    house.loop.engine.performers[Write](Write(b"x\n"))
    house.loop.outputs.write_all()
    assert house.written(LOG).startswith("cannot write to standard output: broken pipe")
