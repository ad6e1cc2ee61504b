"""Sockets of datagrams, over loopback and before sockets that refuse: what is sent is sent once.

Not here: when a socket is read and written (`tests/io/test_loop.py`), and what datagrams say.
"""

import errno
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addresses import Address
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Close, Effect, Unlisten
from core.events import Closed, Event, Opened, Role, Woken
from core.io.datagram_sockets import DatagramSockets
from core.io.datagrams import DatagramSocket
from core.io.system import System
from core.operator import DrainAsked
from tests.support.loops import (
    BRISK,
    QuietSystem,
    Script,
    real_loop,
    started,
    take_datagrams_at,
    turn_until,
)

LOOPBACK = "127.0.0.1"
HERE = (LOOPBACK, 4000)


V4 = socket.AF_INET


@contextmanager
def a_peer() -> Iterator[socket.socket]:
    with socket.socket(V4, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        peer.settimeout(5.0)
        yield peer


class Pair:
    """A socket that was dialled, and its peer."""

    def __init__(self) -> None:
        self.peer = socket.socket(V4, socket.SOCK_DGRAM)
        self.peer.bind((LOOPBACK, 0))
        self.peer.setblocking(False)
        system = System()
        stream = system.dial_datagrams((V4, self.peer.getsockname()))
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
    with a_peer() as peer:
        dialled = [System().dial_datagrams((V4, peer.getsockname())) for _ in range(64)]
        ports = [one.getsockname()[1] for one in dialled]
        for one in dialled:
            one.close()
    assert len(set(ports)) == 64 and min(ports) < 33_280 < max(ports) and min(ports) >= 1_024


def test_who_was_dialled_is_heard_and_nobody_else() -> None:
    """[P35]: the kernel sees to it."""
    with Pair() as pair, socket.socket(V4, socket.SOCK_DGRAM) as stranger:
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
        assert not pair.one.waiting and not pair.one.dropped


class Refusing:
    """A socket that takes one datagram in so many, else it raises."""

    def __init__(self, *outcomes: Any) -> None:  # noqa: ANN401
        self.outcomes = list(outcomes)
        self.sent: list[bytes] = []

    def send(self, data: bytes, whither: object = None) -> int:
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


@pytest.mark.parametrize(
    "number", [errno.ECONNREFUSED, errno.EPERM, errno.ENETUNREACH, errno.EINVAL, errno.ENODEV]
)
def test_a_dialled_socket_that_nothing_gets_out_by_breaks(number: int) -> None:
    """[P49] [P50]: what waits is not sent; many peers have no such word in common."""
    stream = Refusing(None, OSError(number, ""))
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"1"] and not one.waiting
    assert one.broke is not None and one.broke.errno == number
    stream = Refusing(None, OSError(number, ""))
    one = DatagramSocket(stream, "x")
    one.append([(b"1", HERE), (b"2", HERE), (b"3", HERE)])
    one.send()
    assert stream.sent == [b"1", b"3"] and one.broke is None and one.dropped == 1


def test_word_of_a_closed_port_hides_nothing_that_had_come() -> None:
    """[P49]: Linux tells it before what lies in the socket, and once."""
    with Pair() as pair:
        here = pair.one.stream.getsockname()
        pair.peer.sendto(b"reply", (LOOPBACK, here[1]))
        pair.peer.close()
        pair.one.append([(b"question", None)])
        pair.one.send()
        assert pair.one.broke is None
        assert pair.one.receive(10) == [(b"reply", None)]
        assert isinstance(pair.one.broke, ConnectionRefusedError)


def asks(address: Address, *messages: bytes) -> Script:
    """Build a brain that dials one socket of datagrams, and sends all these by it at once."""

    def on(event: Event) -> list[Effect]:
        match event:
            case Woken():
                return [DialDatagrams("x", address, "x")]
            case Opened("x"):
                return [SendTo("x", [(message, None) for message in messages])]
        return []

    return Script(on)


def test_a_server_at_our_own_address_is_not_asked() -> None:
    """[P54]: whatever its name has come to stand for; with a line in the log."""
    said: list[bytes] = []
    loop = real_loop(said=said.append)
    with closing(loop):
        host, port = take_datagrams_at(loop, (V4, ("0.0.0.0", 0)), Role.DNS)
        brain = asks((V4, ("127.0.0.9", port)), b"question")
        loop.start(brain)
        turn_until(loop, lambda: brain.of(Closed))
    assert brain.of(Closed) == [Closed("x", "it is this server itself")] and not brain.of(Datagrams)
    assert said == [f"x: 127.0.0.9 port {port} is this server itself; not dialled\n".encode()], host


def test_what_is_not_taken_waits_and_what_cannot_be_is_dropped() -> None:
    stream = Refusing(None, BlockingIOError())
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"1"] and one.waiting
    one.send()
    assert stream.sent == [b"1", b"2", b"3"] and not one.waiting
    stream = Refusing(OSError(errno.EMSGSIZE, "too long"))
    one = dialled(stream)
    one.send()
    assert stream.sent == [b"2", b"3"] and one.dropped == 1


@pytest.mark.parametrize(
    ("number", "tries"),
    [(errno.EINVAL, 1), (errno.EIO, 1), (errno.EAGAIN, 2), (errno.ECONNREFUSED, 1)],
)
def test_where_many_cannot_be_sent_at_once_each_goes_by_itself(number: int, tries: int) -> None:
    """[P49]: an old kernel is asked once, a full buffer again. Word of a closed port is the end,
    though the call that tells it has sent nothing, and the next one would send."""
    tried = []

    def send_alike(stream: Any, datagrams: bytes, size: int) -> None:  # noqa: ANN401
        tried.append(datagrams)
        raise OSError(number, "")

    stream = Refusing()
    one = dialled(stream, send_alike=send_alike)
    one.send()
    one.append([(b"4", None), (b"5", None)])
    one.send()
    is_over = number == errno.ECONNREFUSED
    assert stream.sent == ([] if is_over else [b"1", b"2", b"3", b"4", b"5"])
    assert tried == [b"123", b"45"][:tries]
    assert (one.broke is not None) is is_over and not one.waiting


class OldKernel:
    """A socket of Linux before 4.18: it knows no UDP_SEGMENT, and sends what it gets as one."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    def sendmsg(self, buffers: list[bytes], ancillary: object) -> int:
        return self.stream.send(b"".join(buffers))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.stream, name)


class OldSystem(QuietSystem):
    def dial_datagrams(self, address: Address) -> Any:  # noqa: ANN401
        return OldKernel(super().dial_datagrams(address))


def test_ten_questions_are_ten_datagrams_on_an_old_kernel() -> None:
    """[P51]"""
    questions = [b"question %d" % n for n in range(10)]
    with a_peer() as peer:
        with started(asks((V4, peer.getsockname()), *questions), system=OldSystem()) as loop:
            loop.turn()
            assert sorted(peer.recv(4_096) for _ in questions) == questions


@pytest.mark.parametrize("last", [SendTo("x", [(b"more", None)]), Close("x")])
def test_a_broken_socket_may_be_used_until_the_brain_knows(last: Effect) -> None:
    """Datagrams that had come by it before the error are heard first, and may be a reason to send
    or close."""
    with a_peer() as peer:
        brain = asks((V4, peer.getsockname()), b"hello")
        first = brain.on

        def on(event: Event) -> list[Effect]:
            match event:
                case Datagrams("x", [(b"one", None)]):
                    return [SendTo("x", [(b"two?", None)])]
                case Datagrams("x"):
                    return [SendTo("x", [(b"three?", None)]), last]
            return list(first(event))

        brain.on = on
        with started(brain, replace(BRISK, datagrams_per_turn=1)) as loop:
            loop.turn()
            _, asker = peer.recvfrom(4_096)
            peer.sendto(b"one", asker)
            peer.sendto(b"two", asker)
            peer.close()
            loop.turn()  # "two?" makes an error, and "two" waits
            loop.turn()
    heard = brain.of(Datagrams, Closed)
    assert heard[1] == Datagrams("x", [(b"two", None)])
    assert isinstance(heard[2], Closed)


def test_what_waits_for_a_slow_network_is_bounded() -> None:
    """Datagrams beyond a second's work are dropped and counted."""
    most = 65_536
    stream = Refusing(BlockingIOError())
    one = DatagramSocket(stream, "x")
    one.append([(b"1", HERE)] * (most - 1))
    one.send()
    one.append([(b"2", HERE), (b"3", HERE)])
    one.append([(b"4", HERE)])
    assert one.dropped == 2
    one.send()
    assert len(stream.sent) == most and stream.sent[-1] == b"2"


@pytest.mark.parametrize("ends", [Close("x"), None])
def test_a_socket_that_is_done_is_closed(ends: Effect | None) -> None:
    with a_peer() as peer:
        with started(asks((V4, peer.getsockname()))) as loop:
            stream = loop.datagrams["x"].stream
            if ends is not None:
                loop.engine.performers[Close](ends)
                loop.turn()
                loop.turn()
                assert stream.fileno() == -1 and "x" not in loop.datagrams
    assert stream.fileno() == -1


def test_a_drain_hears_what_has_come_and_then_nothing() -> None:
    """All of it, though it is more than some turns take."""
    system, brain = QuietSystem(), Script()
    loop = real_loop(replace(BRISK, descriptors_max=64, datagrams_per_turn=2), system)
    there = take_datagrams_at(loop, (V4, (LOOPBACK, 0)), Role.DNS)
    loop.start(brain)
    with closing(loop), a_peer() as peer:
        for _ in range(20):
            peer.sendto(b"before", tuple(there))
        system.waker.send(b"\x0f")
        turn_until(loop, lambda: brain.of(DrainAsked))
        peer.sendto(b"after", tuple(there))
        for _ in range(3):
            loop.turn()
    assert [data for each in brain.of(Datagrams) for data, _ in each.datagrams] == [b"before"] * 20


def test_unlistening_leaves_datagrams_to_who_has_the_socket() -> None:
    """A worker that retires, to its successor."""
    brain = Script()
    loop = real_loop(BRISK, QuietSystem())
    (stream,) = System().take_datagrams((V4, (LOOPBACK, 0)))
    successors = stream.dup()
    loop.listen_for_datagrams(stream, Role.DNS)
    loop.start(brain)
    with closing(loop), closing(successors), a_peer() as peer:
        loop.engine.performers[Unlisten](Unlisten())
        peer.sendto(b"later", stream.getsockname())
        for _ in range(3):
            loop.turn()
        assert brain.of(Datagrams) == [] and successors.recv(100) == b"later"


def test_hosts_that_were_judged_are_remembered_within_a_bound() -> None:
    """A flood from ever new addresses is judged, and leaves little behind."""
    most = 65_536
    hosts = ["h0", *(f"h{number}" for number in range(most + 1)), "h0"]
    stream = Refusing()
    coming = iter(hosts)
    stream.recvfrom = lambda _: (b"?", (next(coming), 1))
    judged: list[str] = []
    refused: list[str] = []
    judge = lambda host: judged.append(host) or host != "h1"  # noqa: E731
    one = DatagramSocket(stream, "x", judge, refuse=refused.append)
    came = one.receive(len(hosts))
    assert judged == hosts[1:] and len(came) == len(hosts) - 1
    assert refused == ["h1"]


def test_what_found_no_room_is_counted_once_and_for_good() -> None:
    """By the kernel or by us; and what is asked since the last time is what is new."""
    system = System()
    (stream,) = system.take_datagrams((V4, (LOOPBACK, 0)))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    one = DatagramSocket(stream, "x", overflowed=system.overflowed)
    engine = SimpleNamespace(by_fd={}, write_fds={}, performers={})
    sockets = DatagramSockets(engine)
    sockets.add(one)
    assert one.overflowed == one.overflowed_since() == 0
    assert engine.by_fd[one.fileno()] is one
    assert sockets.to_read(dialled=False) == [one.fileno()] and sockets.to_read(dialled=True) == []
    with socket.socket(V4, socket.SOCK_DGRAM) as peer:
        for _ in range(500):
            peer.sendto(bytes(100), stream.getsockname())
        came = len(one.receive(1_000))
        assert 0 < came < 500 and one.overflowed == 500 - came
        assert one.overflowed_since() == 500 - came and one.overflowed_since() == 0
    one.dropped = 3
    assert sockets.dropped == 3
    sockets.remove(one)
    assert (sockets.overflowed, sockets.dropped, len(sockets)) == (500 - came, 3, 0)
    stream.close()
