"""TLS layer: whom it takes and whom not, why, and that every cut of the stream means the same.

Two layers talk in memory, or one with a `Peer`, which is Python's ssl and nothing of ours.

Not here: sockets (`tests/io/test_secure_streams.py`), and how contexts are kept
(`tests/io/test_tls_contexts.py`).
"""

import ssl
import struct
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.io.secure_layer import KINDS, SecurityError
from core.io.tls_layer import TlsLayer, accepted_context, dialled_context, read_certificate
from core.tls import TlsKeys
from tests.support.certificates import (
    EC,
    Authority,
    Issued,
    authority,
    encrypted,
    openssl,
    self_signed,
    without_chain,
)

pytestmark = openssl
NAME, ADDRESS = "dns.example", "127.0.0.1"
Cut = Callable[[bytes], Iterator[bytes]]
DAY_S = 86_400


class End:
    """A layer, and what came of it: `plain` bytes, or an `error`."""

    def __init__(self, layer: TlsLayer) -> None:
        self.layer = layer
        self.plain = b""
        self.error: SecurityError | None = None

    def take(self, data: bytes) -> bytes:
        """Take bytes off the wire; return those that go there."""
        if self.error is None:
            try:
                self.plain += self.layer.receive(data)
            except SecurityError as error:
                self.error = error
        return self.layer.seal(b"")


class Peer:
    """Another end, by Python's ssl alone; see `End`. `reason` is OpenSSL's, if it fails."""

    def __init__(self, context: ssl.SSLContext, name: str | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=name is None, server_hostname=name
        )
        self.plain = b""
        self.reason = ""
        self.has_ended = False

    def take(self, data: bytes) -> bytes:
        self.incoming.write(data)
        try:
            self.tls.do_handshake()
            while not self.has_ended:
                plain = self.tls.read(65_536)
                self.plain += plain
                self.has_ended = not plain
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.reason = error.reason or "?"
        return self.outgoing.read()


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def by_byte(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def meet(dialled: End | Peer, accepted: End | Peer, cut: Cut = whole) -> None:
    """Carry bytes to and fro until nobody has any more to say."""
    there, back = dialled.take(b""), b""
    while there or back:
        back += b"".join(accepted.take(chunk) for chunk in cut(there))
        there, back = b"".join(dialled.take(chunk) for chunk in cut(back)), b""


@cache
def good_keys() -> Issued:
    return authority(kind=EC).issue(NAME, ADDRESS, "::1")


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return dialled_context(authority(kind=EC).file), accepted_context(TlsKeys(*good_keys()))


def dialled(name: str = NAME, trusted: str = "") -> End:
    return End(TlsLayer(dialled_context(trusted) if trusted else contexts()[0], name))


def accepted(keys: Issued | None = None) -> End:
    return End(TlsLayer(accepted_context(TlsKeys(*keys)) if keys else contexts()[1]))


def secured(cut: Cut = whole) -> tuple[End, End]:
    """Return two ends that have met."""
    ends = dialled(), accepted()
    meet(*ends, cut)
    assert all(end.layer.is_secured and end.error is None for end in ends)
    return ends


def plain_server(keys: Issued | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*(keys or good_keys()))
    return context


def plain_client() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority(kind=EC).file)


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Let it speak this version alone, however old that is."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.minimum_version = version
    return context


def records(sealed: bytes) -> list[int]:
    """Return the sizes of the records in this."""
    sizes, at = [], 0
    while at < len(sealed):
        (size,) = struct.unpack_from(">H", sealed, at + 3)
        sizes.append(size)
        at += 5 + size
    assert at == len(sealed)
    return sizes


# -- whom it takes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [NAME, ADDRESS, "::1"])
def test_a_certificate_is_good_for_each_of_its_names(name: str) -> None:
    ends = dialled(name), accepted()
    meet(*ends)
    assert all(end.layer.is_secured for end in ends)


def bad(kind: str) -> tuple[Issued, str, str]:
    """Return keys that are bad in this way, whom we dial, and what is said of them."""
    one = authority(kind=EC)
    match kind:
        case "other name":
            return good_keys(), "other.example", "its certificate is not for other.example"
        case "other address":
            return good_keys(), "127.0.0.2", "its certificate is not for 127.0.0.2"
        case "address for a name":
            return one.issue(NAME), ADDRESS, "its certificate is not for 127.0.0.1"
        case "ended":
            return one.issue(NAME, ends_in_days=-1), NAME, "its certificate has expired"
        case "not begun":
            why = "its certificate is not valid yet; is the clock of this machine right?"
            return one.issue(NAME, ends_in_days=9, days=8), NAME, why
        case "self-signed":
            why = "its certificate is signed by itself, and not trusted here"
            return self_signed(NAME, kind=EC), NAME, why
        case "other authority":
            keys = authority("Other", EC).issue(NAME)
        case "no chain":
            keys = without_chain(Authority("Between", EC, above=one).issue(NAME))
        case "chain":
            keys = Authority("Between", EC, above=authority("Other", EC)).issue(NAME)
    return keys, NAME, "its certificate is by an authority that is not trusted here"


@pytest.mark.parametrize(
    ("what", "kind"),
    {
        "other name": "wrong_name",
        "other address": "wrong_name",
        "address for a name": "wrong_name",
        "ended": "expired",
        "not begun": "expired",
        "self-signed": "untrusted",
        "other authority": "untrusted",
        "no chain": "untrusted",
        "chain": "untrusted",
    }.items(),
)
def test_a_certificate_that_proves_nothing_is_not_taken(what: str, kind: str) -> None:
    """The server hears of it by an alert, and nothing else."""
    keys, name, why = bad(what)
    client, server = dialled(name), accepted(keys)
    meet(client, server)
    assert client.error is not None and server.error is not None
    assert (client.error.kind, str(client.error)) == (kind, why)
    assert not client.layer.is_secured and client.plain == b""
    assert server.error.kind == "refused"
    assert str(server.error).startswith("it refuses TLS with us: ")


def test_any_other_trouble_with_a_certificate_is_told() -> None:
    """Here nobody can say whether it was taken back."""
    strict = dialled_context(authority(kind=EC).file)
    strict.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    client = End(TlsLayer(strict, NAME))
    meet(client, accepted())
    assert client.error is not None and client.error.kind == "certificate"
    assert str(client.error) == "its certificate is refused: unable to get certificate CRL"


def test_a_chain_to_the_authority_is_taken() -> None:
    ends = dialled(), accepted(Authority("Between", EC, above=authority(kind=EC)).issue(NAME))
    meet(*ends)
    assert all(end.layer.is_secured for end in ends)


def test_authorities_of_the_system_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none but those."""
    for file, kind in ((authority(kind=EC).file, None), (authority("Other", EC).file, "untrusted")):
        monkeypatch.setenv("SSL_CERT_FILE", file)
        client = End(TlsLayer(dialled_context(""), NAME))
        meet(client, accepted())
        assert (client.error and client.error.kind) == kind


# -- peers of others -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
def test_peers_of_others_are_taken_by_both_versions(version: ssl.TLSVersion) -> None:
    """A server's tickets are read over, and those of TLS 1.3 come after the handshake."""
    client, server = dialled(), Peer(only(plain_server(), version))
    meet(client, server)
    server.tls.write(b"reply")
    assert client.take(server.outgoing.read()) == b"" and client.plain == b"reply"
    other, own = Peer(only(plain_client(), version), NAME), accepted()
    meet(other, own)
    assert own.layer.is_secured and other.reason == ""
    other.take(own.layer.seal(b"reply"))
    other.tls.write(b"query")
    own.take(other.outgoing.read())
    assert (own.plain, other.plain) == (b"query", b"reply")
    session = other.tls.session
    assert session is None or not session.has_ticket


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_refused(version: ssl.TLSVersion) -> None:
    own, other = accepted(), Peer(only(plain_client(), version), NAME)
    meet(other, own)
    assert own.error is not None and own.error.kind == "protocol"
    assert str(own.error) == "it speaks no version of TLS from 1.2 on"
    client, server = dialled(), Peer(only(plain_server(), version))
    meet(client, server)
    assert client.error is not None and client.error.kind in ("protocol", "refused")
    assert not client.layer.is_secured and not own.layer.is_secured


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\x1d" + bytes(40),
        b"x.example\n",
        b"220 mail.example ESMTP\r\n",
        bytes(200),
        b"\xff" * 200,
    ],
)
@pytest.mark.parametrize("cut", [whole, by_byte])
def test_what_is_no_tls_is_said_to_be_none(said: bytes, cut: Cut) -> None:
    for end in (dialled(), accepted()):
        end.take(b"")
        for chunk in cut(said):
            end.take(chunk)
        assert end.error is not None and end.error.kind == "protocol"
        assert str(end.error) == "it does not speak TLS"
        assert not end.layer.is_secured and end.plain == b""


def test_a_server_that_refuses_after_the_handshake_is_heard() -> None:
    """With TLS 1.3 a client is done before the server has looked at its certificate."""
    context = plain_server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority(kind=EC).file)
    client, server = dialled(), Peer(context)
    meet(client, server)
    assert client.layer.is_secured and client.error is not None
    assert client.error.kind == "refused" and "certificate required" in str(client.error)


def test_an_alert_has_words_and_kind() -> None:
    """A client that does not know our authority says so."""
    context = ssl.create_default_context(cafile=authority("Other", EC).file)
    own = accepted()
    meet(Peer(context, NAME), own)
    assert own.error is not None and own.error.kind == "refused"
    assert str(own.error) == "it refuses TLS with us: unknown ca"


def test_forged_bytes_end_a_secured_stream() -> None:
    client, server = secured()
    sealed = bytearray(server.layer.seal(b"reply"))
    sealed[-1] ^= 1
    client.take(bytes(sealed))
    assert client.plain == b"" and client.error is not None and client.error.kind == "protocol"


def test_bytes_before_a_record_that_is_forged_are_had() -> None:
    """As if it had come in another read."""
    ours, theirs = secured()
    sealed = theirs.layer.seal(b"good") + b"\x17\x03\x03\x00\x05forge"
    with pytest.raises(SecurityError) as raised:
        ours.layer.receive(sealed)
    assert raised.value.plain == b"good"


def test_each_kind_of_error_is_one_that_is_counted() -> None:
    assert set(KINDS) == {
        "expired", "wrong_name", "untrusted", "certificate", "refused", "protocol", "unfinished",
    }  # fmt: skip


# -- bytes -----------------------------------------------------------------------------------------


def test_every_byte_alone_means_the_same() -> None:
    client, server = secured(by_byte)
    for chunk in by_byte(client.layer.seal(b"query") + client.layer.seal(b"and another")):
        server.take(chunk)
    for chunk in by_byte(server.layer.seal(b"reply")):
        client.take(chunk)
    assert (client.plain, server.plain) == (b"reply", b"queryand another")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 700), min_size=1), st.lists(st.binary(min_size=1), min_size=1))
def test_any_cut_means_the_same(sizes: list[int], batches: list[bytes]) -> None:
    """[P111]: plain bytes right behind the handshake are among them."""

    def cut(data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            sizes.append(sizes.pop(0))
            yield data[at : at + sizes[-1]]
            at += sizes[-1]

    client, server = dialled(), accepted()
    there = client.take(b"")
    while not client.layer.is_secured:
        back = b"".join(server.take(chunk) for chunk in cut(there))
        there = b"".join(client.take(chunk) for chunk in cut(back))
    there += b"".join(map(client.layer.seal, batches))
    client.layer.end()
    for chunk in cut(there + client.layer.seal(b"")):
        assert not server.layer.is_ended
        server.take(chunk)
    assert server.layer.is_secured and server.plain == b"".join(batches)
    assert server.layer.is_ended and server.error is None


def test_what_is_sealed_at_once_is_few_records() -> None:
    """A batch is one; what is more than a record can take is as few as may be."""
    client, _ = secured()
    assert len(records(client.layer.seal(b"x" * 4_000))) == 1
    data = bytes(range(256)) * 400
    sealed = client.layer.seal(data)
    assert len(records(sealed)) == 7 and client.layer.seal(b"") == b""


def test_large_data_comes_whole_both_ways() -> None:
    client, server = secured()
    data = bytes(range(256)) * 4_096
    server.take(client.layer.seal(data))
    client.take(server.layer.seal(data))
    assert server.plain == data and client.plain == data


def test_its_own_words_come_first_and_are_counted() -> None:
    """With TLS 1.3 the client's last word of the handshake goes with its first query."""
    client, server = dialled(), accepted()
    hello = client.layer
    assert hello.unsent == 0 and hello.receive(b"") == b"" and hello.unsent > 0
    server.layer.receive(hello.seal(b""))
    assert hello.unsent == 0 and server.layer.unsent > 0
    hello.receive(server.layer.seal(b""))
    waits = hello.unsent
    assert hello.is_secured and waits > 0
    sealed = hello.seal(b"query")
    assert hello.unsent == 0 and len(sealed) > waits
    assert server.layer.receive(sealed) == b"query" and server.layer.is_secured


# -- the end ---------------------------------------------------------------------------------------


def test_the_end_is_said_once_and_behind_what_was_sealed() -> None:
    client, server = secured()
    sealed = client.layer.seal(b"last")
    client.layer.end()
    assert client.layer.unsent > 0
    end = client.layer.seal(b"")
    client.layer.end()
    assert client.layer.seal(b"") == b""
    server.take(sealed)
    assert not server.layer.is_ended
    server.take(end)
    assert server.plain == b"last" and server.layer.is_ended and server.error is None


def test_one_that_has_ended_still_hears_and_is_still_sent_to() -> None:
    """As with TCP: an end is that of one direction."""
    client, server = secured()
    client.layer.end()
    server.take(client.layer.seal(b""))
    client.take(server.layer.seal(b"reply"))
    assert client.plain == b"reply" and not client.layer.is_ended
    server.layer.end()
    client.take(server.layer.seal(b""))
    assert client.layer.is_ended and client.error is None


def test_nothing_is_read_behind_the_end() -> None:
    client, server = secured()
    client.layer.end()
    server.take(client.layer.seal(b"") + b"anything")
    server.take(b"more")
    assert server.layer.is_ended and server.error is None and server.plain == b""


# -- files -----------------------------------------------------------------------------------------


def facts(keys: Issued) -> tuple[tuple[str, ...], float]:
    """Return the names in a certificate, and in how many days it ends."""
    said = read_certificate(accepted_context(TlsKeys(*keys)), TlsKeys(*keys))
    return said.names, (said.ends_at - time.time()) / DAY_S


@pytest.mark.parametrize("ends_in_days", [90.0, 0.5, -3.0])
def test_a_certificate_is_read_also_after_its_end(ends_in_days: float) -> None:
    names, days = facts(authority(kind=EC).issue(NAME, ADDRESS, ends_in_days=ends_in_days))
    assert names == (NAME, ADDRESS) and days == pytest.approx(ends_in_days, abs=0.01)


def test_a_certificate_is_read_before_it_begins() -> None:
    _, days = facts(authority(kind=EC).issue(NAME, ends_in_days=20, days=10))
    assert days == pytest.approx(20, abs=0.01)


def test_certificates_of_all_makers_are_read() -> None:
    """With a chain the first one in the file is read."""
    one = authority(kind=EC)
    below = Authority("Between", EC, above=one).issue(NAME, ends_in_days=5)
    for keys in (below, without_chain(below), self_signed(NAME, ends_in_days=5)):
        names, days = facts(keys)
        assert names == (NAME,) and days == pytest.approx(5, abs=0.01)


def test_keys_that_are_of_no_use_are_told_apart(tmp_path: Path) -> None:
    """A key that takes a pass phrase asks nobody for it."""
    keys = good_keys()
    empty, mangled = tmp_path / "empty.pem", tmp_path / "mangled.pem"
    empty.write_bytes(b"")
    mangled.write_bytes(Path(keys.certificate).read_bytes().replace(b"M", b"!", 3))
    no_pem = "no certificate in PEM form in it, or no key in the file of the key"
    another = "the key is that of another certificate"
    for files, why in (
        ((keys.certificate, authority().issue(NAME).key), another),
        ((keys.certificate, authority(kind=EC).issue(NAME, has_own_key=True).key), another),
        (encrypted(keys), "the key is encrypted; take the password off it"),
        ((str(empty), keys.key), no_pem),
        ((keys.certificate, str(empty)), no_pem),
        ((keys.key, keys.key), no_pem),
        ((str(mangled), keys.key), no_pem),
    ):
        with pytest.raises(ValueError, match=why) as raised:
            accepted_context(TlsKeys(*files))
        assert "\n" not in str(raised.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pem")
    keys = good_keys()
    for files in ((gone, keys.key), (keys.certificate, gone)):
        with pytest.raises(FileNotFoundError) as raised:
            accepted_context(TlsKeys(*files))
        assert raised.value.filename == gone
    with pytest.raises(FileNotFoundError) as missing:
        dialled_context(gone)
    assert missing.value.filename == gone


def test_authorities_have_to_be_in_their_file(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none\n")
    with pytest.raises(ValueError, match="there is no certificate in PEM form in it"):
        dialled_context(str(tmp_path / "none.pem"))
