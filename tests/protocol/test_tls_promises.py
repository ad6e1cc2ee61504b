"""Each MUST of proto.md about DNS over TLS that needs a wire: a real LS and loop, on loopback.

The other end is Python's ssl and nothing of ours. A test turns the loop, so that nothing waits for
a clock but what has to be late.

Not here: cuts (`tests/io/test_tls_layer.py`), padded replies (`tests/nodes/test_dns_clients.py`),
streams that end or are silent (the sessions of proto.md).
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes
from socket import AF_INET

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.events import Opened, Role
from core.io import acceptor
from core.io.frame_buffer import frame, split_frames
from core.io.loop import Loop
from core.operator import ReadKeys
from core.tls import ServerIdentity, TlsKeys
from nodes.cli.serving import DNS_TLS_STREAMS, LINES
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import ServerSetup
from tests.support.balancers import load_balancer, metric
from tests.support.certificates import EC, Issued, authority, openssl
from tests.support.dns_clients import query
from tests.support.dns_messages import question_of, said
from tests.support.loops import BRISK, QuietSystem, Script, listen_at, real_loop, turn_until

pytestmark = openssl
HERE = AF_INET, ("127.0.0.1", 0)
NAME = "dns.example"
HANDSHAKE, RECORD_TYPES = 22, range(20, 24)


def keys_for(name: str, ends_in_days: float = 90.0) -> Issued:
    return authority(kind=EC).issue(name, kind=EC, ends_in_days=ends_in_days)


class Peer:
    """An end of a stream, with TLS. `wire` is all that came by it, and `plain` what that said."""

    def __init__(self, stream: socket.socket, context: ssl.SSLContext, *, serves: bool) -> None:
        stream.setblocking(False)
        self.stream = stream
        self.wire = bytearray()
        self.plain = bytearray()
        self.reason = ""
        self.has_ended = self.is_secure = False
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self.outgoing, serves, None if serves else NAME)

    def pump(self) -> None:
        """Take what is there, and send what is to be said."""
        with suppress(BlockingIOError, ConnectionError):
            data = self.stream.recv(1 << 16)
            self.wire += data
            self._incoming.write(data)
            self.has_ended = not data
        try:
            self.tls.do_handshake()
            self.is_secure = True
            while data := self.tls.read(1 << 16):
                self.plain += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.reason = self.reason or error.reason or "?"
        with suppress(ConnectionError):
            self.stream.send(self.outgoing.read())

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.pump()


class Resolver:
    """A port at which LS asks: its streams, and whatever comes there by UDP."""

    def __init__(self, keys: Issued | None) -> None:
        """Without keys it takes streams, and says nothing."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.end = self.listener.getsockname()
        self.datagrams = socket.socket(AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(self.end)
        self.datagrams.setblocking(False)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.is_mute = keys is None
        if keys is not None:
            self.context.load_cert_chain(*keys)
        self.peers: list[Peer] = []

    def pump(self) -> None:
        with suppress(BlockingIOError):
            stream, _ = self.listener.accept()
            self.peers.append(Peer(stream, self.context, serves=True))
        for peer in self.peers:
            if not self.is_mute:
                peer.pump()

    def queries(self) -> list[bytes]:
        return [each for peer in self.peers for each in split_frames(bytes(peer.plain))]

    def check_strict(self) -> None:
        """Check that no datagram came, and by streams nothing but handshakes and records."""
        with pytest.raises(BlockingIOError):
            self.datagrams.recv(1)
        for peer in self.peers:
            wire = bytes(peer.wire)
            assert not wire or wire[0] == HANDSHAKE
            while len(wire) >= 5:
                assert wire[0] in RECORD_TYPES and wire[1] == 3
                wire = wire[5 + int.from_bytes(wire[3:5]) :]

    def close(self) -> None:
        for each in (self.listener, self.datagrams, *(peer.stream for peer in self.peers)):
            each.close()


@contextmanager
def asking(
    resolver: Resolver, name: str = NAME, bounds: Bounds = BRISK
) -> Iterator[tuple[Loop, LoadBalancer, socket.socket, list[str]]]:
    """Run an LS before this resolver by TLS, which has to be `name`; also return a client of lines,
    and the log."""
    log: list[str] = []
    loop = real_loop(bounds, said=lambda record: log.append(record.decode()))
    trusted = authority(kind=EC).file
    loop.engine.system.tls.load_authorities(trusted)
    identity = ServerIdentity(name, trusted)
    setup = ServerSetup("DNS1", ((AF_INET, resolver.end),), resolver.end, identity)
    brain = load_balancer((), bounds, resolvers=[setup], secret=token_bytes)
    with closing(loop), closing(resolver), closing(socket.socket()) as client:
        end = listen_at(loop, HERE, LINES)
        loop.start(brain)
        client.connect((end[0], end[1]))
        client.setblocking(False)
        yield loop, brain, client, log


def test_a_resolver_that_proves_who_it_is_is_asked_and_padded() -> None:
    """[P112] [P113] [P117]: not a byte before, and nothing in the clear for a cut reply either."""
    resolver = Resolver(keys_for(NAME))
    with asking(resolver) as (loop, brain, client, _):
        client.send(b"x.example\na-much-longer-name.of.several.labels.example AAAA\n")
        turn_until(loop, lambda: (resolver.pump(), len(resolver.queries()) == 2)[1])
        asked = resolver.queries()
        assert [question_of_padded(each) for each in asked] == [
            "x.example", "a-much-longer-name.of.several.labels.example AAAA",
        ]  # fmt: skip
        assert all(len(each) % 128 == 0 for each in asked)
        peer = resolver.peers[0]
        peer.say(frame(said(asked[0], "10.0.0.1")) + frame(said(asked[1], "TC")))
        got = bytearray()

        def both_came() -> bool:
            resolver.pump()
            with suppress(BlockingIOError):
                got.extend(client.recv(1 << 16))
            return got.count(b"\n") == 2

        turn_until(loop, both_came)
        assert sorted(got.splitlines()) == [
            b"a-much-longer-name.of.several.labels.example AAAA - FAILED",
            b"x.example 10.0.0.1 A IN",
        ]
        assert len(resolver.peers) == 1 and metric(brain, "DNS1.state") == "UP"
        resolver.check_strict()
        assert b"\1x\7example" not in peer.wire


def question_of_padded(message: bytes) -> str:
    """Return what a padded query asks: `question_of` reads none."""
    start = message.index(b"\0\0\x29", 12)
    return question_of(message[: start + 9] + b"\0\0")


@pytest.mark.parametrize(
    ("name", "ends_in_days", "why"),
    [
        ("other.example", 90, f"its certificate is not for {NAME}"),
        (NAME, -1, "its certificate has expired"),
    ],
)
def test_a_certificate_that_does_not_fit_is_down_and_said(
    name: str, ends_in_days: float, why: str
) -> None:
    """[P112] [P113] [P114]: it is asked nothing, and nobody waits for it."""
    resolver = Resolver(keys_for(name, ends_in_days))
    with asking(resolver) as (loop, brain, client, log):
        client.send(b"x.example\n")
        turn_until(loop, lambda: (resolver.pump(), metric(brain, "failed") == 1)[1])
        turn_until(loop, lambda: (resolver.pump(), len(resolver.peers) == 3)[1])
        assert metric(brain, "DNS1.state") == "DOWN"
        assert [record for record in log if f"DNS1 is down ({why}); dialling it again" in record]
        assert resolver.peers[0].has_ended or resolver.peers[0].reason
        assert resolver.queries() == []
        resolver.check_strict()


def test_a_handshake_that_hangs_is_down_in_time() -> None:
    """[P114]: `dial_s` is for TCP and TLS together."""
    resolver = Resolver(None)
    with asking(resolver, bounds=replace(BRISK, dial_s=0.05)) as (loop, brain, client, log):
        client.send(b"x.example\n")
        turn_until(loop, lambda: (resolver.pump(), metric(brain, "failed") == 1)[1])
        assert metric(brain, "DNS1.state") == "DOWN"
        assert any("(no answer to the TLS handshake); dialling" in record for record in log)
        for peer in resolver.peers:
            with suppress(BlockingIOError):
                peer.wire += peer.stream.recv(1 << 16)
        resolver.check_strict()


# -- in front --------------------------------------------------------------------------------------


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority(kind=EC).file)
    return context


@contextmanager
def serving(
    keys: Issued, brain: LoadBalancer | Script, said: list[str], bounds: Bounds = BRISK
) -> Iterator[tuple[Loop, tuple[str, int]]]:
    """Serve DNS by TLS with these keys."""
    loop = real_loop(bounds, QuietSystem(), lambda record: said.append(record.decode()))
    tls = TlsKeys(*keys)
    loop.engine.system.tls.load_keys(tls)
    with closing(loop):
        end = listen_at(loop, HERE, replace(DNS_TLS_STREAMS, keys=tls))
        loop.start(brain)
        yield loop, (end[0], end[1])


def dial(end: tuple[str, int]) -> Peer:
    return Peer(socket.create_connection(end), client_context(), serves=False)


def test_a_connection_that_is_not_secure_is_no_client() -> None:
    """[P118]: neither text in the clear nor silence is heard of; who is secure is served."""
    brain = load_balancer((), BRISK, dns=DnsFrontEnd(Environment(BRISK), 60))
    log: list[str] = []
    with serving(keys_for(NAME), brain, log) as (loop, end):
        clear, mute, client = socket.create_connection(end), dial(end), dial(end)
        clear.setblocking(False)
        clear.send(frame(query(1, b"x.example")))
        got = bytearray()

        def over() -> bool:
            client.pump()
            with suppress(BlockingIOError, ConnectionError):
                data = clear.recv(1 << 16)
                got.extend(data)
                return not data and client.is_secure
            return False

        turn_until(loop, over)
        assert got[:1] in (b"", b"\x15")  # an alert of TLS, if anything
        assert any("is not served: it does not speak TLS" in record for record in log)
        assert (metric(brain, "clients"), metric(brain, "dns_queries")) == (0, 0)
        client.say(frame(query(7, b"x.example")))
        turn_until(loop, lambda: (client.pump(), client.plain)[1])
        assert client.plain[2:4] == b"\0\7" and metric(brain, "dns_queries") == 1
        for each in (clear, mute.stream, client.stream):
            each.close()


def test_the_brain_hears_of_a_client_once_it_is_secure() -> None:
    """[P118]"""
    brain = Script()
    with serving(keys_for(NAME), brain, []) as (loop, end):
        mute, client = dial(end), dial(end)
        turn_until(loop, lambda: len(loop.streams.accepted) == 2)
        assert brain.of(Opened) == []
        turn_until(loop, lambda: (client.pump(), client.is_secure and brain.of(Opened))[1])
        assert len(brain.of(Opened)) == 1 and brain.of(Opened)[0].role is Role.TLS
        for each in (mute, client):
            each.stream.close()


def test_an_address_has_so_many_handshakes_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """[P119]: those beyond are closed before any is begun."""
    monkeypatch.setattr(acceptor, "THIS_MACHINE", "nobody's")  # loopback is exempt
    brain = Script()
    bounds = replace(BRISK, tls_per_second=4)
    with serving(keys_for(NAME), brain, [], bounds) as (loop, end):
        monkeypatch.setattr(loop.engine.system, "now", lambda: 100.0)
        clients = [dial(end) for _ in range(7)]

        def all_done() -> bool:
            for client in clients:
                client.pump()
            return all(client.is_secure or client.has_ended for client in clients)

        turn_until(loop, all_done)
        assert [client.is_secure for client in clients] == [True] * 4 + [False] * 3
        assert loop.engine.environment.hits["tls_per_second"] == 3
        for client in clients:
            client.stream.close()


def test_a_certificate_that_is_of_no_use_changes_nothing(tmp_path: Path) -> None:
    """[P121]: the one before is shown, the log says why, and a good one is shown from then on."""
    log: list[str] = []
    paths = Issued(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))

    def put(keys: Issued) -> None:
        for path, new in zip(paths, keys, strict=True):
            Path(path).write_bytes(Path(new).read_bytes())

    def shown() -> object:
        client = dial(end)
        turn_until(loop, lambda: (client.pump(), client.is_secure)[1])
        client.stream.close()
        return (client.tls.getpeercert() or {})["serialNumber"]

    put(keys_for(NAME))
    with serving(paths, Script(), log) as (loop, end):
        first = shown()
        for broken in (b"", b"no certificate", Path(keys_for(NAME).certificate).read_bytes()[:300]):
            Path(paths.certificate).write_bytes(broken)
            loop.engine.performers[ReadKeys](ReadKeys())
            assert shown() == first
        assert sum("all stays as it was" in record for record in log) == 3
        put(keys_for(NAME))
        loop.engine.performers[ReadKeys](ReadKeys())
        assert shown() != first
