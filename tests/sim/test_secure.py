"""Layers of security: any cutting of the bytes of one gives the same plain bytes, and misuse fails.

All of it is so of the simulator's layer (`tests/sim/secure.py`) and of the real one
(`core/io/tls_layer.py`), which the simulator's stories can therefore stand for.

Not here: how streams use it (`tests/io/test_streams.py`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.io.secure_layer import SecureLayer, SecurityError
from core.tls import ServerIdentity
from tests.sim.secure import RealSecurity, SimCertificate, SimSecurity
from tests.sim.wire import Wire
from tests.support.certificates import openssl
from tests.support.splitting import pieces
from tests.support.volume import scaled

NAME = "dns.test"
GOOD = SimCertificate((NAME,))
TRUSTED = frozenset({"public"})
WALL = 1_000.0

Cut = Callable[[bytes], Iterable[bytes]]
MAKERS = pytest.mark.parametrize("make", [SimSecurity, pytest.param(RealSecurity, marks=openssl)])
Make = type[SimSecurity]
_NUMBERS = count()


class Pair:
    """Both ends, and all that goes between them, cut by `cut`. A message that one end is told is
    put together of all that it was told in one flight of the other."""

    def __init__(self, make: Make, cut: Cut, certificate: SimCertificate = GOOD) -> None:
        security = make(f"pair{next(_NUMBERS)}")
        self.client = security.dialled(ServerIdentity(NAME), TRUSTED, WALL)
        self.server = security.accepted(certificate)
        self.cut = cut
        self.sizes: list[int] = []
        self.client.receive(b"")

    def fly(self, source: SecureLayer, target: SecureLayer, plain: bytes = b"") -> bytes:
        """Let everything go that one end has to send; return what the other one is told."""
        sealed = source.seal(plain)
        self.sizes.append(len(sealed))
        assert source.unsent == 0
        return b"".join(map(target.receive, self.cut(sealed)))

    def shake(self) -> None:
        """Do the handshake, which takes two flights of one that dials, and one of the other."""
        told = self.fly(self.client, self.server) + self.fly(self.server, self.client)
        assert not self.server.is_secured and self.client.is_secured
        assert not told

    def finish(self) -> None:
        """Let the other end know of the end of the handshake, without any plain bytes."""
        assert self.fly(self.client, self.server) == b""
        assert self.server.is_secured


def whole(data: bytes) -> list[bytes]:
    return [data]


def at(place: int, data: bytes) -> list[bytes]:
    return pieces(data, [place] if 0 < place < len(data) else [])


def in_bytes(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


def secured(make: Make, cut: Cut = whole) -> Pair:
    pair = Pair(make, cut)
    pair.shake()
    pair.finish()
    return pair


# -- any cutting -----------------------------------------------------------------------------------


@MAKERS
@settings(max_examples=scaled(25))
@given(places=st.lists(st.integers(1, 3_000), max_size=12), plain=st.lists(st.binary(max_size=400)))
def test_any_cutting_gives_the_same_bytes(
    make: Make, places: list[int], plain: list[bytes]
) -> None:
    def cut(data: bytes) -> list[bytes]:
        return pieces(data, sorted({one for one in places if one < len(data)}))

    pair = Pair(make, cut)
    pair.shake()
    first, rest = plain[:1], plain[1:]
    assert pair.fly(pair.client, pair.server, b"".join(first)) == b"".join(first)
    assert pair.server.is_secured
    for each in rest:
        assert pair.fly(pair.server, pair.client, each) == each
        assert pair.fly(pair.client, pair.server, each[::-1]) == each[::-1]
    pair.server.end()
    assert pair.fly(pair.server, pair.client) == b""
    assert pair.client.is_ended and not pair.server.is_ended


@MAKERS
def test_a_handshake_may_be_cut_at_every_byte(make: Make) -> None:
    pair = secured(make)
    for place in range(1, max(pair.sizes)):
        again = Pair(make, partial(at, place))
        again.shake()
        assert again.fly(again.client, again.server, b"asked") == b"asked"
        assert again.fly(again.server, again.client, b"told") == b"told"


@MAKERS
def test_records_may_be_cut_at_every_byte(make: Make) -> None:
    pair = secured(make)
    for source, target in ((pair.client, pair.server), (pair.server, pair.client)):
        pair.cut = whole
        pair.fly(source, target, b"first and second")
        for place in range(1, pair.sizes[-1] * 2):
            sealed = source.seal(b"first and ") + source.seal(b"second")
            if place < len(sealed):
                told = target.receive(sealed[:place]) + target.receive(sealed[place:])
                assert told == b"first and second"
            else:
                assert target.receive(sealed) == b"first and second"


@MAKERS
def test_all_may_come_byte_by_byte(make: Make) -> None:
    pair = secured(make, in_bytes)
    long = bytes(range(256)) * 200
    assert pair.fly(pair.client, pair.server, long) == long
    pair.cut = whole
    assert pair.fly(pair.server, pair.client, long) == long


@MAKERS
def test_sizes_repeat(make: Make) -> None:
    """[I13] for a story that runs the real layer."""
    sizes = []
    for _ in range(3):
        pair = secured(make)
        for size in (1, 128, 468, 20_000):
            pair.fly(pair.client, pair.server, bytes(size))
            pair.fly(pair.server, pair.client, bytes(size))
        pair.client.end()
        pair.fly(pair.client, pair.server)
        sizes.append(pair.sizes)
    assert sizes[0] == sizes[1] == sizes[2]


@MAKERS
def test_the_wire_has_records_only(make: Make) -> None:
    pair = Pair(make, whole)
    wires = {id(pair.client): Wire("client"), id(pair.server): Wire("server")}

    def fly(source: SecureLayer, target: SecureLayer, plain: bytes = b"") -> None:
        sealed = source.seal(plain)
        wires[id(source)].take(sealed)
        target.receive(sealed)

    fly(pair.client, pair.server)
    fly(pair.server, pair.client)
    fly(pair.client, pair.server, b"\1n\7example\0")
    fly(pair.server, pair.client, b"\1n\7example\0" * 2_000)


def test_a_wire_sees_what_is_no_record() -> None:
    with pytest.raises(AssertionError, match="is none"):
        Wire("x").take(b"\0\x80 a query in the clear")
    with pytest.raises(AssertionError, match="in the clear"):
        Wire("x").take(b"\x17\x03\x03\0\x0a\1n\7example")


# -- words of a layer ---------------------------------------------------------------------------


@MAKERS
def test_what_comes_with_the_last_flight_is_told(make: Make) -> None:
    pair = Pair(make, whole)
    pair.shake()
    assert pair.client.unsent  # its last flight
    assert pair.fly(pair.client, pair.server, b"asked at once") == b"asked at once"


@MAKERS
def test_an_end_is_one_of_a_direction(make: Make) -> None:
    pair = secured(make)
    pair.client.end()
    assert pair.fly(pair.client, pair.server) == b"" and pair.server.is_ended
    assert pair.fly(pair.server, pair.client, b"the last word") == b"the last word"
    assert not pair.client.is_ended


@MAKERS
def test_what_comes_with_the_end_is_told(make: Make) -> None:
    pair = secured(make)
    last = pair.server.seal(b"the last word")
    pair.server.end()
    assert pair.client.receive(last + pair.server.seal(b"")) == b"the last word"
    assert pair.client.is_ended


@MAKERS
@pytest.mark.parametrize(
    ("certificate", "kind"),
    [
        (SimCertificate(("other.test",)), "wrong_name"),
        (SimCertificate((NAME,), authority="nobody"), "untrusted"),
        (SimCertificate((NAME,), ends_at=WALL - 1.0), "expired"),
    ],
)
def test_a_certificate_that_does_not_fit_ends_it(
    make: Make, certificate: SimCertificate, kind: str
) -> None:
    pair = Pair(make, whole, certificate)
    pair.fly(pair.client, pair.server)
    with pytest.raises(SecurityError) as raised:
        pair.fly(pair.server, pair.client)
    assert raised.value.kind == kind and str(raised.value) and not pair.client.is_secured
    with pytest.raises(SecurityError) as raised:
        pair.fly(pair.client, pair.server)
    assert raised.value.kind == "refused" and not pair.server.is_secured


@MAKERS
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\x1c" + bytes(28), b"\xff" * 9])
def test_what_is_no_record_ends_it(make: Make, data: bytes) -> None:
    pair = Pair(make, whole)
    with pytest.raises(SecurityError) as raised:
        pair.server.receive(data)
    assert raised.value.kind == "protocol"
    pair.client.seal(b"")
    with pytest.raises(SecurityError) as raised:
        pair.client.receive(data)
    assert raised.value.kind == "protocol"


@MAKERS
@pytest.mark.parametrize("place", [5, 12, -1])
def test_a_broken_record_ends_it(make: Make, place: int) -> None:
    pair = secured(make)
    sealed = bytearray(pair.server.seal(b"a message that is long enough"))
    sealed[place] ^= 1
    with pytest.raises(SecurityError) as raised:
        pair.client.receive(bytes(sealed))
    assert raised.value.kind == "protocol"
    with pytest.raises(SecurityError) as raised:
        pair.fly(pair.client, pair.server)
    assert raised.value.kind == "refused"


@MAKERS
def test_a_record_of_another_stream_ends_it(make: Make) -> None:
    pair, other = secured(make), secured(make)
    with pytest.raises(SecurityError):
        pair.client.receive(other.server.seal(b"not for you"))


@MAKERS
def test_a_record_that_comes_twice_ends_it(make: Make) -> None:
    pair = secured(make)
    sealed = pair.server.seal(b"once")
    assert pair.client.receive(sealed) == b"once"
    with pytest.raises(SecurityError):
        pair.client.receive(sealed)


def test_misuse_of_the_simulated_layer_fails() -> None:
    pair = Pair(SimSecurity, whole)
    for layer in (pair.client, pair.server):
        with pytest.raises(AssertionError, match="in the clear"):
            layer.seal(b"asked too soon")
    pair = secured(SimSecurity)
    pair.client.end()
    with pytest.raises(AssertionError, match="after our end"):
        pair.client.seal(b"asked too late")
    with pytest.raises(SecurityError):
        pair.server.receive(b"no record")
    with pytest.raises(AssertionError, match="after a failure"):
        pair.server.receive(b"")
