"""Connection: bytes go out once and in order, marks are crossed once, a close is staged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.io.backlog import BacklogState
from core.io.connection import Connection
from core.io.line_buffer import LineBuffer
from core.io.stream_state import HEARD, StreamState
from core.protocol.names import LINE_BYTES_MAX

SMALL = Environment(
    Bounds(owed_bytes_high=10, owed_bytes_low=4, waiting_bytes_high=30, waiting_bytes_low=8)
)


def accepted() -> Connection:
    return Connection(SMALL, "client-1", True, LineBuffer(LINE_BYTES_MAX))


def dialled() -> Connection:
    connection = Connection(SMALL, "TS1", False, LineBuffer(LINE_BYTES_MAX))
    connection.connected()
    return connection


def take(connection: Connection, most: int = 1 << 30) -> bytes:
    """Let the socket take some of what waits."""
    taken = bytearray()

    def send(data: memoryview) -> int:
        taken.extend(data)
        return len(data)

    connection.flush(send, most)
    return bytes(taken)


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(0, 12)), max_size=40))
def test_every_byte_goes_out_once_and_in_order(steps: list[bytes | int]) -> None:
    connection, appended, out = accepted(), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            connection.send(step)
            appended += step
        else:
            out += take(connection, step)
        assert connection.waiting == len(appended) - len(out)
        assert connection.is_reading or connection.waiting >= SMALL.bounds.owed_bytes_low
    while connection.waiting:
        out += take(connection, 5)
    assert out == appended
    assert connection.is_reading


@pytest.mark.parametrize(("make", "high", "low"), [(accepted, 10, 4), (dialled, 30, 8)])
def test_a_mark_is_told_once_when_it_is_crossed(make: type, high: int, low: int) -> None:
    connection: Connection = make()
    assert not connection.send(b"x" * high)
    assert connection.send(b"x")
    assert not connection.send(b"x" * 100)
    told = 0
    while connection.waiting:
        heavy = connection.weight.state is BacklogState.HEAVY
        relieved = connection.flush(len, 1)
        told += relieved
        assert relieved is (heavy and connection.waiting == low - 1)
    assert told == 1


def test_a_dialled_connection_is_read_whatever_waits_for_it() -> None:
    for make, reads in ((accepted, False), (dialled, True)):
        connection = make()
        connection.send(b"x" * 100)
        assert connection.weight.state is BacklogState.HEAVY
        assert connection.is_reading is reads


def test_what_is_left_of_a_send_is_not_copied_again() -> None:
    connection = accepted()
    connection.send(b"x" * 1000)
    given: list[memoryview] = []

    def take_one(data: memoryview) -> int:
        given.append(data)
        return 1

    connection.flush(take_one, 10_000)
    connection.send(b"y" * 1000)
    connection.flush(take_one, 10_000)
    first, second = given
    assert second.obj is first.obj and bytes(second) == b"x" * 999


def test_a_close_sends_what_is_owed_and_drops_what_comes() -> None:
    connection = accepted()
    connection.send(b"owed")
    connection.close()
    assert connection.life.state is StreamState.FLUSHING
    assert connection.is_reading and connection.life.state not in HEARD
    assert take(connection) == b"owed"
    assert connection.life.state is StreamState.LINGERING
    assert connection.is_reading and connection.life.state not in HEARD
    connection.receive_eof()
    assert connection.is_closed


@pytest.mark.parametrize("order", ["end close flush", "close end flush", "end flush close"])
def test_a_close_after_the_peers_end_is_done_when_all_is_sent(order: str) -> None:
    connection = accepted()
    connection.send(b"owed")
    out = b""
    for step in order.split():
        assert not connection.is_closed
        if step == "end":
            connection.receive_eof()
            assert not connection.is_reading
        elif step == "close":
            connection.close()
        else:
            out += take(connection)
    assert connection.is_closed and out == b"owed"


def test_a_deaf_peer_is_still_heard_and_sent_nothing() -> None:
    connection = dialled()
    connection.send(b"x" * 100)
    connection.send_failed()
    assert connection.life.state is StreamState.DEAF and connection.waiting == 0
    assert not connection.send(b"y") and connection.waiting == 0
    assert connection.life.state in HEARD
    connection.receive_eof()
    assert connection.is_closed


def test_a_broken_send_with_nothing_left_to_hear_is_the_end() -> None:
    for spoil in (Connection.receive_eof, Connection.close):
        connection = accepted()
        connection.send(b"x")
        spoil(connection)
        connection.send_failed()
        assert connection.is_closed


def test_sending_after_the_close_is_our_mistake() -> None:
    connection = accepted()
    connection.close()
    with pytest.raises(AssertionError):
        connection.send(b"too late")


def test_the_end_in_mid_line_is_told_unless_nobody_listens() -> None:
    connection = accepted()
    connection.framer.receive(b"a\nb")
    assert connection.framer.is_mid_message
    assert connection.receive_eof()
    closing = accepted()
    closing.framer.receive(b"a\nb")
    closing.close()
    assert not closing.receive_eof()


def test_what_has_been_sent_is_not_kept() -> None:
    """Else one who reads all but the end keeps the whole reply, and one who is idle the last."""
    connection = Connection(Environment(), "a", True, LineBuffer(LINE_BYTES_MAX))
    connection.send(b"x" * 1_000_000)
    kept: list[object] = []

    def look(data: memoryview) -> int:
        kept.append(data.obj)
        return 0

    while connection.waiting:
        connection.flush(len, 1_000)
        connection.flush(look, 1_000)
        last = kept.pop()
        assert isinstance(last, bytes) and len(last) <= 2 * connection.waiting
