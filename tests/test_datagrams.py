"""Sockets of datagrams, over loopback and before sockets that refuse: what is sent is sent once.

Not here: when a socket is read and written (`tests/test_turn.py`), and what datagrams say.
"""

import errno
import socket
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datagrams import DatagramSocket, DatagramSockets
from core.system import System

LOOPBACK = "127.0.0.1"


class Pair:
    """A socket that was dialled, and its peer."""

    def __init__(self) -> None:
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((LOOPBACK, 0))
        self.peer.setblocking(False)
        system = System()
        stream = system.dial_datagrams((socket.AF_INET, self.peer.getsockname()))
        self.one = DatagramSocket(stream, "x", dialled=True, send_alike=system.send_alike)

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.close()
        self.one.stream.close()

    def came(self) -> list[bytes]:
        came = []
        while True:
            try:
                came.append(self.peer.recv(4096))
            except BlockingIOError:
                return came


def test_a_port_is_one_of_all_and_no_two_are_alike() -> None:
    """[P35]: half of them are below 33,280; that 64 are on one side has a chance of 2**-63."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        dialled = [System().dial_datagrams((socket.AF_INET, peer.getsockname())) for _ in range(64)]
        ports = [one.getsockname()[1] for one in dialled]
        for one in dialled:
            one.close()
    assert len(set(ports)) == 64 and min(ports) < 33_280 < max(ports) and min(ports) >= 1_024


def test_who_was_dialled_is_heard_and_nobody_else() -> None:
    """[P35]: the kernel sees to it."""
    with Pair() as pair, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        here = pair.one.stream.getsockname()
        stranger.sendto(b"stranger", (LOOPBACK, here[1]))
        pair.peer.sendto(b"peer", (LOOPBACK, here[1]))
        assert pair.one.receive(10) == [(b"peer", None)]


@given(st.lists(st.integers(1, 5).map(lambda size: size * 100), max_size=200))
def test_all_that_waits_arrives_once_whatever_sizes_it_has(sizes: list[int]) -> None:
    with Pair() as pair:
        datagrams = [b"%03d" % number * (size // 3) for number, size in enumerate(sizes)]
        pair.one.append([(datagram, None) for datagram in datagrams])
        pair.one.send()
        assert Counter(pair.came()) == Counter(datagrams)
        assert not pair.one.has_waiting and not pair.one.dropped


class Refusing:
    """A socket that takes one datagram in so many, else it raises."""

    def __init__(self, *outcomes: Any) -> None:  # noqa: ANN401
        self.outcomes = list(outcomes)
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> int:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.sent.append(data)
        return len(data)

    sendto = send


def dialled(stream: Any, **more: Any) -> DatagramSocket:  # noqa: ANN401
    one = DatagramSocket(stream, "x", dialled=True, **more)
    one.append([(b"1", None), (b"2", None), (b"3", None)])
    return one


def test_word_of_an_earlier_datagram_costs_the_next_one_nothing() -> None:
    """Linux tells of a port where nobody is with the next call, and does not do that then."""
    stream = Refusing(ConnectionRefusedError())
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"1", b"2", b"3"] and one.dropped == 0
    stream = Refusing(*[ConnectionRefusedError()] * 6)
    one = dialled(stream)
    one.send()
    assert stream.sent == [] and one.dropped == 3


def test_what_the_network_does_not_take_waits_and_what_it_cannot_take_is_dropped() -> None:
    stream = Refusing(None, BlockingIOError())
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"1"] and one.has_waiting
    one.send()
    assert stream.sent == [b"1", b"2", b"3"] and not one.has_waiting
    stream = Refusing(OSError(errno.EMSGSIZE, "too long"))
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"2", b"3"] and one.dropped == 1


@pytest.mark.parametrize(
    ("number", "tries"), [(errno.EINVAL, 1), (errno.EAGAIN, 2), (errno.ECONNREFUSED, 2)]
)
def test_where_many_cannot_be_sent_at_once_each_goes_by_itself(number: int, tries: int) -> None:
    """An old kernel is asked once, a full buffer again."""
    tried = []

    def send_alike(stream: Any, datagrams: bytes, size: int) -> None:  # noqa: ANN401
        tried.append(datagrams)
        raise OSError(number, "")

    stream = Refusing()
    one = dialled(stream, send_alike=send_alike)
    one.send()
    one.append([(b"4", None), (b"5", None)])
    one.send()
    assert stream.sent == [b"1", b"2", b"3", b"4", b"5"]
    assert tried == [b"123", b"45"][:tries]


def test_what_was_dropped_is_counted_when_the_socket_is_gone_too() -> None:
    sockets = DatagramSockets()
    with Pair() as pair:
        sockets.add(pair.one)
        pair.one.dropped = 3
        assert sockets.dropped == 3 and sockets.at(pair.one.fileno()) is pair.one
        assert sockets.to_read(dialled=True) == [pair.one.fileno()]
        assert sockets.to_read(dialled=False) == []
        sockets.remove(pair.one)
    assert sockets.dropped == 3 and not sockets


def test_what_found_no_room_is_counted_once() -> None:
    """By the kernel; and what is asked since the last time is what is new."""
    system = System()
    stream = system.take_datagrams((socket.AF_INET, (LOOPBACK, 0)))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    one = DatagramSocket(stream, "x", overflowed=system.overflowed)
    sockets = DatagramSockets()
    sockets.add(one)
    assert one.overflowed == one.overflowed_since() == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(500):
            peer.sendto(bytes(100), stream.getsockname())
        came = len(one.receive(1_000))
        assert 0 < came < 500 and one.overflowed == 500 - came
        assert one.overflowed_since() == 500 - came and one.overflowed_since() == 0
        sockets.remove(one)
        assert sockets.overflowed == 500 - came
    stream.close()
