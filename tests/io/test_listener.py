"""Two listeners under one loop: clients and watchers have names, limits and ends of their own.

And the records that the loop writes: what a full disk costs, and what it does not.

Everything is real but the signals, which come from a socket of the test, and what `write` makes of
a descriptor. Not here: what accept may raise (`tests/io/test_loop.py`).
"""

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.bounds import Bounds
from core.effects import Close, Effect, Send
from core.events import Ended, Event, Opened, Received, Role
from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.operator import DrainAsked, Record, ReopenRecords
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import LINES, STATUS_PAGE

LOG_FD, RECORDS_FD = 1_001, 1_002  # nobody has these


class Desk(System):
    """The real system, but for signals and for descriptors that are no sockets.

    `errors` are raised by the next writes of records, in order; 0 is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signals, self.waker = socket.socketpair()
        self.signals.setblocking(False)
        self.written: dict[int, bytearray] = {LOG_FD: bytearray(), RECORDS_FD: bytearray()}
        self.errors: list[int] = []
        self.at_once = 1 << 20  # bytes that a write takes
        self.room = 1 << 20  # bytes that all writes together take

    def catch_signals(self) -> Any:  # noqa: ANN401
        return self.signals

    def select(self, read: list[int], write: list[int], *rest: Any) -> Any:  # noqa: ANN401
        """Select; what is no socket can always be written."""
        ours = [fd for fd in write if fd in self.written]
        others = [fd for fd in write if fd not in self.written]
        timeout_s = 0.0 if ours else min(rest[-1], 0.01)
        readable, writable, _ = System.select(read, others, [], timeout_s)
        return readable, writable + ours, []

    def write(self, fd: int, data: memoryview) -> int:
        if fd == RECORDS_FD and self.errors and (number := self.errors.pop(0)):
            raise OSError(number, os.strerror(number))
        data = data[: min(self.at_once, self.room)]
        if not data:
            raise BlockingIOError
        self.room -= len(data)
        self.written[fd] += data
        return len(data)


class Echo:
    """Says what it hears, and records it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def step(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        match event:
            case Received(conn, data):
                return [Send(conn, data), Record(data)]
            case Ended(conn):
                return [Close(conn)]
        return []

    def deadline(self) -> float | None:
        return None

    def opened(self) -> list[str]:
        return [event.conn for event in self.events if isinstance(event, Opened)]


class House:
    """A loop with both listeners."""

    def __init__(self, bounds: Bounds) -> None:
        self.desk, self.brain = Desk(), Echo()
        log_output = Output(LOG_FD)
        self.records = Output(RECORDS_FD, 10_000, "races.jsonl")
        log = Log("X", log_output.append, None)
        self.loop = Loop(
            self.desk,
            bounds,
            log,
            Destinations(log_output, records=self.records),
            line_bytes_max=LINE_BYTES_MAX,
        )
        here = (socket.AF_INET, ("127.0.0.1", 0))
        self.doors: dict[Role, Any] = {
            service.role: self.loop.listen(here, service) for service in (LINES, STATUS_PAGE)
        }
        self.loop.start(self.brain)
        self.guests: list[socket.socket] = []

    def knock(self, role: Role) -> socket.socket:
        """Connect somebody."""
        guest = socket.create_connection(self.doors[role][:2], timeout=5)
        self.guests.append(guest)
        self.turn()
        return guest

    def turn(self, times: int = 2) -> None:
        for _ in range(times):
            self.loop.turn()

    def log(self) -> str:
        return self.desk.written[LOG_FD].decode()

    def close(self) -> None:
        self.loop.close()
        for some in (*self.guests, self.desk.waker):
            some.close()


@pytest.fixture
def house() -> Iterator[House]:
    some = House(replace(Bounds(), watchers_max=2, clients_max=3))
    yield some
    some.close()


def test_each_is_called_after_the_door_it_came_by(house: House) -> None:
    for name in (Role.HTTP, Role.LINES, Role.LINES, Role.HTTP):
        house.knock(name)
    assert house.brain.opened() == ["watcher-1", "client-1", "client-2", "watcher-2"]


def test_one_kind_that_is_too_many_keeps_nobody_of_the_other_out(house: House) -> None:
    """A client that is too many is told; a watcher waits until another has gone."""
    watchers = [house.knock(Role.HTTP) for _ in range(3)]
    clients = [house.knock(Role.LINES) for _ in range(4)]
    assert clients[3].recv(100) == b"- ERROR BUSY\n"
    assert len(house.brain.opened()) == 5
    assert house.loop.hits == {"watchers_max": 1, "clients_max": 1}
    clients[0].sendall(b"x\n")
    watchers[0].sendall(b"y\n")
    house.turn(3)
    assert (clients[0].recv(100), watchers[0].recv(100)) == (b"x\n", b"y\n")
    watchers[2].sendall(b"z\n")
    watchers[1].close()
    house.turn(4)
    assert house.brain.opened()[-1] == "watcher-3" and watchers[2].recv(100) == b"z\n"


@pytest.mark.parametrize("most", [1, 2, 16])
def test_watchers_that_come_at_once_come_in_one_after_another(most: int) -> None:
    """Never more than may be there, and none is closed."""
    some = House(replace(Bounds(), watchers_max=most))
    try:
        waiting = [some.knock(Role.HTTP) for _ in range(30)]
        for number, guest in enumerate(list(waiting), 1):
            opened = some.brain.opened()
            assert len(opened) == min(30, number + most - 1)
            guest.sendall(b"x\n")
            some.turn(3)
            assert guest.recv(100) == b"x\n"
            guest.close()
            some.turn(3)
        assert some.loop.hits["watchers_max"] >= 30 - most
    finally:
        some.close()


def test_who_has_gone_makes_room_for_another(house: House) -> None:
    for number in range(1, 8):
        guest = house.knock(Role.HTTP)
        assert house.brain.opened()[-1] == f"watcher-{number}"
        guest.close()
        house.turn(3)
    assert not house.loop.hits


def test_the_places_of_watchers_are_kept_free_of_clients() -> None:
    some = House(replace(Bounds(), watchers_max=5, descriptors_max=35, descriptors_spare=16))
    try:
        for _ in range(10):
            some.knock(Role.LINES)
        standing = 3 + 2 + 2  # standard streams, signals, listeners
        assert len(some.brain.opened()) == 35 - 16 - standing - 5
    finally:
        some.close()


def test_a_signal_closes_the_door_of_clients_only(house: House) -> None:
    house.desk.waker.send(b"\x0f")
    house.turn(3)
    assert any(isinstance(event, DrainAsked) for event in house.brain.events)
    house.knock(Role.HTTP)
    assert house.brain.opened() == ["watcher-1"]
    with pytest.raises(ConnectionRefusedError):
        house.knock(Role.LINES)


# -- records ---------------------------------------------------------------------------------------


def spoken(house: House, guest: socket.socket, *lines: bytes) -> None:
    """Send lines: they are recorded, and answered whatever becomes of the records."""
    for line in lines:
        guest.sendall(line)
        house.turn(3)
        assert guest.recv(100) == line


def test_records_are_written_as_they_are_however_little_is_taken_at_a_time(house: House) -> None:
    house.desk.at_once = 3
    guest = house.knock(Role.LINES)
    spoken(house, guest, *(b"line %d\n" % number for number in range(10)))
    house.turn(40)
    expected = b"".join(b"line %d\n" % number for number in range(10))
    assert house.desk.written[RECORDS_FD] == expected and house.records.dropped == 0


def test_a_full_disk_costs_records_and_one_warning_and_may_have_room_again(house: House) -> None:
    guest = house.knock(Role.LINES)
    house.desk.errors = [errno.ENOSPC, 0, errno.ENOSPC, errno.EDQUOT]
    spoken(house, guest, b"a\n", b"b\n", b"c\n", b"d\n", b"e\n")
    house.turn(3)
    assert house.desk.written[RECORDS_FD] == b"b\ne\n" and house.records.dropped == 3
    assert house.log().count("\n") == 1
    assert "cannot write races.jsonl: no space left" in house.log().lower()
    metrics = {value.key: value.value for value in house.loop.metrics()}
    assert metrics["records_dropped"] == 3 and metrics["log_dropped"] == 0
    assert metrics["turns"] == house.loop.turns
    assert house.loop.exit_code is None


def test_records_that_do_not_fit_are_dropped_and_counted(house: House) -> None:
    guest = house.knock(Role.LINES)
    house.records.bytes_max = 0
    spoken(house, guest, b"a\n", b"b\n")
    assert (house.records.dropped, house.desk.written[RECORDS_FD]) == (2, b"")


def test_a_record_that_began_in_the_old_file_is_dropped_with_it(house: House) -> None:
    """[P65]: what has not begun goes to the new one, whole."""
    house.desk.room = 15
    for number in range(3):
        house.records.append(b"record %d\n" % number)
    house.records.reopen = lambda: True
    house.loop.engine.performers[ReopenRecords](ReopenRecords())
    assert house.desk.written[RECORDS_FD] == b"record 0\nrecord"
    house.desk.written[RECORDS_FD] = bytearray()
    house.desk.room = 1 << 20
    house.turn(1)
    assert house.desk.written[RECORDS_FD] == b"record 2\n"
    assert (house.records.dropped, house.records.waiting) == (1, 0)
    assert "races.jsonl is opened anew" in house.log()


def test_all_that_is_taken_is_written_in_one_turn(house: House) -> None:
    """However many pieces it is, and however many more than the bound have been made."""
    count = 10_000
    for number in range(count):
        house.records.append(b"record %d\n" % number)
    house.turn(1)
    expected = b"".join(b"record %d\n" % number for number in range(count))
    assert house.desk.written[RECORDS_FD] == expected and house.records.dropped == 0


def test_a_descriptor_that_takes_no_more_is_left_alone(house: House) -> None:
    """Bytes that it does not take within the bound are dropped, and it is asked again in later
    turns."""
    house.desk.room = 5_000
    for number in range(10_000):
        house.records.append(b"record %4d\n" % number)
    house.turn(1)
    assert len(house.desk.written[RECORDS_FD]) == 5_000
    assert house.records.waiting > 10_000 - 12
    house.desk.room = 1 << 20
    house.turn(1)
    written = house.desk.written[RECORDS_FD]
    assert house.records.waiting == 0
    assert written.count(b"\n") + house.records.dropped == 10_000
    assert all(len(line) == 11 for line in written.splitlines())
