"""Sockets of datagrams, over loopback and before sockets that refuse: what is sent is sent once.

Not here: when a socket is read and written (`tests/io/test_loop.py`), and what datagrams say.
"""

import errno
import socket
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addresses import Address
from core.bounds import Bounds
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Close, Effect
from core.events import Closed, Event, Opened, Woken
from core.io import ports
from core.io.datagram_sockets import DatagramSockets
from core.io.datagrams import DatagramSocket
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.protocol.names import LINE_BYTES_MAX

LOOPBACK = "127.0.0.1"
HERE = (LOOPBACK, 4000)


class Asks:
    """A brain that dials one socket of datagrams, and sends all by it at once."""

    def __init__(self, address: Address, messages: list[bytes]) -> None:
        self.address = address
        self.messages = messages

    def deadline(self) -> float | None:
        return None

    def step(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Woken():
                return [DialDatagrams("x", self.address, "x")]
            case Opened("x"):
                return [SendTo("x", [(message, None) for message in self.messages])]
        return []


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


def test_a_port_that_is_filtered_or_reserved_is_not_used() -> None:
    """[P52]"""
    left = ports.usable(ports.reserved_in("8080,9148-9150,123\n"))
    assert not {1_900, 5_353, 11_211, 8_080, 9_148, 9_149, 9_150} & set(left)
    assert {1_024, 65_535, 8_081, 9_147, 9_151} <= set(left) and len(left) == 64_512 - 13 - 4
    assert len(ports.usable(set())) == 64_499


def test_a_list_of_reserved_ports_may_be_anything() -> None:
    assert (
        ports.reserved_in("") == ports.reserved_in("\n") == ports.reserved_in("-,a-b,-7") == set()
    )
    assert ports.reserved_in("70000,65535-99999") == {65_535}
    assert ports.usable(set(range(1_024, 65_000))) == ports.usable(set())  # too few would be left


def test_a_machine_without_a_list_has_reserved_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RESERVED", "/nowhere")
    ports.ours.cache_clear()
    assert len(ports.ours()) == 64_499
    ports.ours.cache_clear()


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
    assert stream.sent == [b"1"] and not one.has_waiting
    assert one.broke is not None and one.broke.errno == number
    stream = Refusing(None, OSError(number, ""))
    one = DatagramSocket(stream, "x")  # type: ignore[arg-type]
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


class Echoes(Asks):
    """A brain that says more by the same socket, whatever comes."""

    def __init__(self, address: Address, messages: list[bytes]) -> None:
        super().__init__(address, messages)
        self.events: list[Event] = []

    def step(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        if isinstance(event, Datagrams):
            return [SendTo("x", event.datagrams)]
        return super().step(event, now)


def test_what_is_sent_by_a_socket_that_has_just_broken_is_dropped() -> None:
    """A reply and an ICMP error come in one turn, and the reply has the brain ask more by it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        log: Any = SimpleNamespace(report=lambda *_: None)
        loop = Loop(
            System(),
            Bounds(sleep_s=0.1),
            log,
            Destinations(Output(2, bytes_max=0)),
            line_bytes_max=LINE_BYTES_MAX,
        )
        brain = Echoes((socket.AF_INET, peer.getsockname()), [b"question"])
        loop.start(brain)
        loop.turn()
        _, whence = peer.recvfrom(4_096)
        peer.sendto(b"reply", whence)
        peer.close()
        loop.datagrams["x"].stream.send(b"more")  # nobody listens any more: that is told
        loop.turn()
        loop.turn()
        loop.close()
    assert [type(event) for event in brain.events] == [
        Woken, Opened, Datagrams, Closed,
    ]  # fmt: skip


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
    ("number", "tries"), [(errno.EINVAL, 1), (errno.EIO, 1), (errno.EAGAIN, 2)]
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


def test_word_of_a_closed_port_that_comes_with_many_is_heard() -> None:
    """[P49]: the call that tells it has sent nothing, and the next one would send."""

    def send_alike(stream: Any, datagrams: bytes, size: int) -> None:  # noqa: ANN401
        raise ConnectionRefusedError(errno.ECONNREFUSED, "")

    stream = Refusing()
    one = dialled(stream, send_alike=send_alike)
    one.send()
    assert stream.sent == [] and one.broke is not None and not one.has_waiting


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


class OldSystem(System):
    def dial_datagrams(self, address: Address) -> Any:  # noqa: ANN401
        return OldKernel(super().dial_datagrams(address))


@pytest.mark.parametrize("system", [System(), OldSystem()])
def test_ten_questions_are_ten_datagrams_on_any_kernel(system: System) -> None:
    """[P51]"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        peer.settimeout(5.0)
        said: list[Any] = []
        log: Any = SimpleNamespace(report=lambda *_: None)
        loop = Loop(
            system,
            Bounds(),
            log,
            Destinations(Output(2, bytes_max=0)),
            line_bytes_max=LINE_BYTES_MAX,
        )
        questions = [b"question %d" % n for n in range(10)]
        brain = Asks((socket.AF_INET, peer.getsockname()), questions)
        loop.start(brain)
        loop.turn()
        said = [peer.recv(4_096) for _ in questions]
        loop.close()
    assert sorted(said) == questions


class Chatty:
    """A brain that dials one socket of datagrams, and answers whatever it hears by it."""

    def __init__(self, address: Address, last: Effect) -> None:
        self.address = address
        self.last = last  # the effect besides
        self.events: list[Event] = []

    def deadline(self) -> float | None:
        return None

    def step(self, event: Event, now: float) -> list[Effect]:
        self.events.append(event)
        match event:
            case Woken():
                return [DialDatagrams("x", self.address, "x")]
            case Opened("x"):
                return [SendTo("x", [(b"hello", None)])]
            case Datagrams("x", [(b"one", None)]):
                return [SendTo("x", [(b"two?", None)])]
            case Datagrams("x"):
                return [SendTo("x", [(b"three?", None)]), self.last]
        return []


@pytest.mark.parametrize("last", [SendTo("x", [(b"more", None)]), Close("x")])
def test_a_broken_socket_may_be_used_until_the_brain_knows(last: Effect) -> None:
    """Datagrams that had come by it before the error are heard first, and may be a reason to send
    or close."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind((LOOPBACK, 0))
        peer.settimeout(5.0)
        log: Any = SimpleNamespace(report=lambda *_: None)
        bounds = replace(Bounds(), datagrams_per_turn=1)
        loop = Loop(
            System(),
            bounds,
            log,
            Destinations(Output(2, bytes_max=0)),
            line_bytes_max=LINE_BYTES_MAX,
        )
        brain = Chatty((socket.AF_INET, peer.getsockname()), last)
        loop.start(brain)
        loop.turn()
        _, asker = peer.recvfrom(4_096)
        peer.sendto(b"one", asker)
        peer.sendto(b"two", asker)
    loop.turn()  # "two?" makes an error, and "two" waits
    loop.turn()
    loop.close()
    heard = [event for event in brain.events if isinstance(event, Datagrams | Closed)]
    assert heard[1] == Datagrams("x", [(b"two", None)])
    assert isinstance(heard[2], Closed)


def test_what_was_dropped_is_counted_when_the_socket_is_gone_too() -> None:
    engine = SimpleNamespace(by_fd={}, write_fds={}, performers={})
    sockets = DatagramSockets(engine)  # type: ignore[arg-type]
    with Pair() as pair:
        sockets.add(pair.one)
        pair.one.dropped = 3
        assert sockets.dropped == 3 and engine.by_fd[pair.one.fileno()] is pair.one
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
    sockets = DatagramSockets(SimpleNamespace(by_fd={}, write_fds={}, performers={}))  # type: ignore[arg-type]
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
