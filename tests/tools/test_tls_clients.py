"""LS as a server of DNS by TLS, before clients of others: dig, kdig, dnsperf, openssl, unbound,
dnsdist, Knot Resolver, stubby, and `ssl` of Python.

LS has a table server behind it and certificates of the test's own. A program that is missing skips
its tests, and says so.

Not here: LS as a client of TLS (`tests/tools/test_tls_tools.py`), and its layer of TLS
(`tests/io/test_tls_layer.py`).
"""

import re
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import pytest

from tests.support.at_once import at_once
from tests.support.certificates import EC, Authority, Issued, authority, encrypted, openssl
from tests.support.dns_clients import Reply, query
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Programs,
    can_be_apart,
    free_port,
    programs,
    stats,
    wait_for,
)
from tests.tools.test_dns_tools import dnsperf, kdig, need, output_of, status, with_dig
from tests.tools.test_resolver_tools import LOOPBACK, Server, dig, unbound
from tests.tools.test_resolver_trouble import Steady
from tests.tools.test_tls_tools import KRESD_IS_LOCAL, dnsdist, kresd

pytestmark = [pytest.mark.process, pytest.mark.dns, openssl]
stubby = need("stubby", "stubby")
NAME = "dns.example"
ROWS = [f"n{n}.example 10.0.0.{n}" for n in range(100)]
NAMES = [f"n{n}.example" for n in range(100)]
ADDRESSES = [f"10.0.0.{n}" for n in range(100)]
PADDED = 468  # bytes: a reply to a client that pads has a multiple of it (RFC 8467)


class Site:
    """LS with a table server behind it, and its ports: for lines, plain DNS and DNS by TLS.

    The certificate is in files of its own, which a test may replace.
    """

    def __init__(
        self, run: Programs, *words: object, keys: Issued | None = None, host: str = LOOPBACK
    ) -> None:
        folder = run.folder / f"site-{len(run.started)}"
        folder.mkdir()
        self.keys = Issued(str(folder / "certificate.pem"), str(folder / "key.pem"))
        self.put(keys or authority().issue(NAME, LOOPBACK, kind=EC))
        table = run.table("table", *ROWS)
        self.ts, ts_port = run.ts(table, 0, "--answer-unknown")
        self.tls = free_port()
        self.there = host, self.tls
        self.ls, self.lines = run.ls(
            [ts_port], "--dns", 0, "--dns-tls", f"{host}:{self.tls}",
            "--tls-cert", self.keys.certificate, "--tls-key", self.keys.key,
            "--dns-timeout", PATIENCE_S, "--timeout", PATIENCE_S, *words, linked=False,
        )  # fmt: skip
        self.ls.logs(" is up")
        self.dns = self.ls.listener("DNS")

    def put(self, keys: Issued) -> None:
        """Put other keys in the place of those that are there."""
        for there, here in zip(self.keys, keys, strict=True):
            Path(there).write_text(Path(here).read_text())

    def reload(self) -> None:
        self.ls.signal(signal.SIGHUP)


class Client:
    """A client of DNS by TLS, with `ssl` of Python."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        plain: socket.socket | None = None,
    ) -> None:
        if plain is None:
            plain = socket.create_connection((LOOPBACK, port), PATIENCE_S)
        self.stream = (context or trusting()).wrap_socket(plain, server_hostname=NAME)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def ask(self, *names: str) -> list[str]:
        """Ask in one write; return the addresses, in the order of the names."""
        self.stream.sendall(frames(*names))
        return self.hear(len(names))

    def hear(self, count: int) -> list[str]:
        """Read so many replies; return their addresses in the order of their questions."""
        found = {}
        for _ in range(count):
            reply = Reply(self._read(int.from_bytes(self._read(2))))
            found[reply.number] = reply.addresses[0] if reply.addresses else f"code {reply.code}"
        return [found[number] for number in sorted(found)]

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.stream.recv(count - len(data))
            assert more, f"ended after {data!r}"
            data += more
        return data

    def serial(self) -> str:
        """Return the number of the server's certificate."""
        certificate = self.stream.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority().file)


def frames(*names: str) -> bytes:
    """Write queries for addresses, numbered from 0, with their lengths."""
    asked = [query(number, name.encode()) for number, name in enumerate(names)]
    return b"".join(len(each).to_bytes(2) + each for each in asked)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """LS for tests that do nothing to it."""
    with programs(tmp_path_factory.mktemp("tls")) as some:
        yield Site(some)


# -- kdig, dnsperf, Python -------------------------------------------------------------------------


def kdig_words(site: Site, *words: str, name: str = NAME, trusted: str = "") -> list[str]:
    return [
        *("kdig", f"@{LOOPBACK}", "-p", str(site.tls), f"+tls-ca={trusted or authority().file}"),
        *(f"+tls-hostname={name}", "+retry=0", f"+time={PATIENCE_S:.0f}", *words),
    ]


@kdig
@at_once
def test_kdig_takes_the_right_certificate_alone(site: Site) -> None:
    assert output_of(*kdig_words(site, "+short", "n7.example")) == "10.0.0.7\n"
    other = authority("Other").file
    for words in (kdig_words(site, "n7.example", name="other.example"),
                  kdig_words(site, "n7.example", trusted=other)):  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 1 and "Error in the certificate" in done.stderr


@dig
@at_once
def test_dig_takes_the_right_certificate_alone(site: Site) -> None:
    if "+[no]tls-ca" not in output_of("dig", "-h"):
        pytest.skip("this dig knows no TLS: it is older than 9.18")
    asks = [*("dig", f"@{LOOPBACK}", "-p", str(site.tls), "+tls", f"+tls-ca={authority().file}")]
    asks += ["+tries=1", "+short", "n7.example"]
    assert output_of(*asks, f"+tls-hostname={NAME}") == "10.0.0.7\n"
    done = subprocess.run([*asks, "+tls-hostname=other.example"], capture_output=True)
    assert b"hostname mismatch" in done.stdout and b"10.0.0.7" not in done.stdout


@kdig
@at_once
def test_kdig_gets_the_authority_between(run: Programs) -> None:
    between = Authority("Between", EC, above=authority())
    site = Site(run, keys=between.issue(NAME))
    assert output_of(*kdig_words(site, "+short", "n7.example")) == "10.0.0.7\n"


@kdig
@at_once
def test_kdig_that_pads_gets_replies_of_one_size(site: Site) -> None:
    """[P120]: a client that does not pad gets no byte more than needed."""
    for name in ("n1.example", "a-name-that-is-rather-longer.example", "n2.example"):
        said = output_of(*kdig_words(site, "+padding", name))
        assert f"Received {PADDED} B" in said and "PADDING" in said
        said = output_of(*kdig_words(site, "+nopadding", name))
        size = re.search(r"Received (\d+) B", said)
        assert size is not None and int(size[1]) < 100 and "PADDING" not in said


@dnsperf
@pytest.mark.parametrize("clients", [1, 50])
@at_once
def test_dnsperf_loses_no_question(site: Site, tmp_path: Path, clients: int) -> None:
    asked = tmp_path / "asked"
    asked.write_text("".join(f"{name} A\n" for name in NAMES * 10))
    said = output_of(
        *("dnsperf", "-m", "dot", "-s", LOOPBACK, "-p", str(site.tls), "-d", str(asked), "-n", "1"),
        *("-c", str(clients), "-q", "100", "-t", f"{PATIENCE_S:.0f}"),
    )
    assert re.search(r"Queries completed: +1000 \(100.00%\)", said), said
    assert re.search(r"NOERROR 1000 \(100.00%\)", said), said


@at_once
def test_replies_come_to_questions_cut_at_each_byte(site: Site) -> None:
    """[P111]"""
    asked = frames(*NAMES[:3])
    with Client(site.tls) as client:
        for at in range(len(asked)):
            client.stream.sendall(asked[at : at + 1])
        assert client.hear(3) == ADDRESSES[:3]
        assert client.ask(*NAMES) == ADDRESSES  # and all in one record


@at_once
def test_a_client_that_ends_has_its_replies_first(site: Site) -> None:
    """After its close_notify a client may read on (RFC 7766)."""
    context = trusting()
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    layer = context.wrap_bio(inward, outward, server_hostname=NAME)
    with socket.create_connection((LOOPBACK, site.tls), PATIENCE_S) as stream:

        def read() -> None:
            stream.sendall(outward.read())
            if data := stream.recv(1 << 16):
                inward.write(data)
            else:
                inward.write_eof()

        while True:
            try:
                layer.do_handshake()
                break
            except ssl.SSLWantReadError:
                read()
        layer.write(frames(*NAMES[:5]))
        with suppress(ssl.SSLWantReadError):
            layer.unwrap()
        said = b""
        with suppress(ssl.SSLZeroReturnError):  # LS ends, too, as it should
            while True:
                read()
                with suppress(ssl.SSLWantReadError):
                    while True:
                        said += layer.read(1 << 16)
        assert said.count(b"\x07example") == 5


# -- openssl ---------------------------------------------------------------------------------------


def s_client(site: Site, *words: str, asked: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `openssl s_client` that trusts our authority, and has this as its input."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"{LOOPBACK}:{site.tls}", "-verify_return_error",
         "-CAfile", authority().file, "-verify_hostname", NAME, "-servername", NAME, *words],
        input=asked, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip


@pytest.mark.parametrize("version", ["1_2", "1_3"])
@at_once
def test_openssl_takes_each_version_that_is_safe(site: Site, version: str) -> None:
    done = s_client(site, f"-tls{version}")
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    assert f"New, TLSv{version.replace('_', '.')}" in said
    assert "Verify return code: 0 (ok)" in said
    assert "Compression: NONE" in said


@pytest.mark.parametrize("version", ["1", "1_1"])
@at_once
def test_openssl_is_refused_an_old_version(site: Site, version: str) -> None:
    done = s_client(site, f"-tls{version}", "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode == 1 and b"alert protocol version" in done.stderr, done.stderr


@at_once
def test_no_ticket_is_given_to_a_client(site: Site) -> None:
    """Tickets would tie two streams of one client together."""
    for version in ("-tls1_2", "-tls1_3"):
        done = s_client(site, version, "-reconnect")
        assert done.returncode == 0 and b"session ticket" not in done.stdout, done.stdout
    assert b"Reused" not in done.stdout


@pytest.mark.parametrize(
    ("version", "command"),
    [("1_3", "KEYUPDATE"), ("1_2", "RENEGOTIATING")],
    ids=["keys", "handshake"],
)
@at_once
def test_openssl_that_changes_keys_is_served_on(site: Site, version: str, command: str) -> None:
    """A line `K` changes the keys of both sides (TLS 1.3). `R` asks for another handshake (TLS
    1.2): this is refused, and openssl may leave because of it."""
    words = [
        "openssl", "s_client", "-connect", f"{LOOPBACK}:{site.tls}", f"-tls{version}", "-brief",
        "-CAfile", authority().file,
    ]  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as client:
        assert client.stdin and client.stdout and client.stderr
        try:
            for number in range(2):
                client.stdin.write(frames(f"n{number}.example"))
                said = read_until(client.stdout, bytes([10, 0, 0, number]))
                if command == "RENEGOTIATING" and number == 1 and not said:
                    break
                assert said.endswith(bytes([10, 0, 0, number]))
                client.stdin.write(command[:1].encode() + b"\n")
                assert command.encode() in read_until(client.stderr, command.encode() + b"\n")
        finally:
            client.kill()
    assert ask_by_tls(site) == ADDRESSES[:1]


def read_until(stream: IO[bytes], end: bytes) -> bytes:
    """Read until the bytes end so, or the stream does."""
    said = b""
    while not said.endswith(end):
        assert select.select([stream], [], [], PATIENCE_S)[0], said
        if not (more := stream.read(1 << 16)):
            break
        said += more
    return said


def ask_by_tls(site: Site) -> list[str]:
    with Client(site.tls) as client:
        return client.ask(NAMES[0])


def is_taken(port: int) -> bool:
    """Return whether a client that comes to this port is taken."""
    with suppress(OSError), Client(port):
        return True
    return False


# -- nonsense --------------------------------------------------------------------------------------


def hello() -> bytes:
    """Write the first flight of a client."""
    outward = ssl.MemoryBIO()
    layer = trusting().wrap_bio(ssl.MemoryBIO(), outward, server_hostname=NAME)
    with suppress(ssl.SSLWantReadError):
        layer.do_handshake()
    return outward.read()


@at_once
def test_clients_of_nonsense_hold_up_nobody(run: Programs) -> None:
    """[P118]: a question in the clear gets no answer; each such stream ends, and leaves nothing."""
    site = Site(run, "--bound", "mid_line_s=1")
    asked = frames("n1.example")
    first = hello()
    with Client(site.tls) as old:
        assert old.ask(*NAMES[:2]) == ADDRESSES[:2]
        held = site.ls.descriptors()
        nonsense = [
            b"GET / HTTP/1.1\r\nHost: dns.example\r\n\r\n", asked, b"\0" * 4096, b"\xff" * 4096,
            b"\x16\x03\x01\x40\x00" + b"\x01" * 20_000, b"\x15\x03\x03\0\2\2\x28",
            first[:1], first[:5], first[:-1], first, first + asked, first + first, b"",
        ]  # fmt: skip
        with ExitStack() as stack:
            streams = []
            for data in nonsense:
                plain = socket.create_connection((LOOPBACK, site.tls), PATIENCE_S)
                streams.append(stack.enter_context(plain))
                with suppress(OSError):
                    plain.sendall(data)
            assert old.ask(*NAMES) == ADDRESSES
            assert ask_by_tls(site) == ADDRESSES[:1]
            for data, plain in zip(nonsense, streams, strict=True):
                said = b""
                with suppress(ConnectionResetError):
                    while more := plain.recv(1 << 16):
                        said += more
                assert asked[2:-5] not in said and said[:1] in (b"", b"\x15", b"\x16"), (data, said)
        wait_for(lambda: site.ls.descriptors() <= held, "all of them are gone")
        assert old.ask(*NAMES) == ADDRESSES
    assert site.ls.process.poll() is None


@at_once
def test_a_drain_answers_first_and_ends_as_it_should(run: Programs) -> None:
    """A client that has its replies hears close_notify, and takes nothing for cut short."""
    site = Site(run)
    with Client(site.tls) as client:
        assert client.ask("n1.example") == ["10.0.0.1"]
        site.ts.signal(signal.SIGSTOP)
        client.stream.sendall(frames("n5.example"))
        wait_for(lambda: stats(site.lines)["asked"] == "2", "LS is asked")
        site.ls.signal(signal.SIGTERM)
        wait_for(lambda: not is_taken(site.tls), "LS takes nobody more")
        site.ts.signal(signal.SIGCONT)
        assert client.hear(1) == ["10.0.0.5"]
        client.stream.suppress_ragged_eofs = False
        assert client.stream.recv(1) == b""
    assert site.ls.exits() == 0


@at_once
def test_an_idle_stream_ends_as_it_should(run: Programs) -> None:
    """Without close_notify a client would have to take what it has for cut short."""
    site = Site(run, "--bound", "dns_idle_s=0.5")
    with Client(site.tls) as client:
        assert client.ask("n1.example") == ["10.0.0.1"]
        client.stream.suppress_ragged_eofs = False
        assert client.stream.recv(1) == b""


@at_once
def test_clear_text_after_a_handshake_ends_its_stream(site: Site) -> None:
    with Client(site.tls) as client:
        assert client.ask("n1.example") == ["10.0.0.1"]
        plain = socket.socket(fileno=socket.dup(client.stream.fileno()))
        with plain:
            plain.settimeout(PATIENCE_S)
            plain.sendall(frames("n2.example"))
            said = b""
            with suppress(ConnectionResetError):
                while more := plain.recv(1 << 16):
                    said += more
            assert b"example" not in said
    assert ask_by_tls(site) == ADDRESSES[:1]


# -- resolvers as clients --------------------------------------------------------------------------


def asks_through(stack: ExitStack, words: list[str], port: int, log: Path) -> list[str]:
    """Start a program that asks LS by TLS, and ask it some names."""
    front = Server(stack, words, port, log)
    said = [with_dig(str(front.port), name) for name in NAMES[1:20]]
    return [(re.findall(r"\tIN\tA\t(\S+)", each) or [status(each)])[0] for each in said]


NAMED = [(NAME, ADDRESSES[1:20]), ("other.example", ["SERVFAIL"] * 19)]


@dig
@unbound
@pytest.mark.parametrize(("name", "said"), NAMED, ids=["right", "wrong name"])
@at_once
def test_unbound_in_front_asks_by_tls(
    site: Site, tmp_path: Path, name: str, said: list[str]
) -> None:
    port = free_port()
    path = tmp_path / "unbound.conf"
    path.write_text(
        f"""server:
    interface: {LOOPBACK}@{port}
    do-daemonize: no
    use-syslog: no
    pidfile: ""
    chroot: ""
    username: ""
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    tls-cert-bundle: "{authority().file}"
forward-zone:
    name: "."
    forward-tls-upstream: yes
    forward-addr: {LOOPBACK}@{site.tls}#{name}
"""
    )
    with ExitStack() as stack:
        words = ["unbound", "-d", "-c", str(path)]
        assert asks_through(stack, words, port, tmp_path / "log") == said


@dig
@dnsdist
@at_once
def test_dnsdist_in_front_asks_by_tls(site: Site, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "dnsdist.conf"
    path.write_text(
        f"""setSecurityPollSuffix("")
setLocal("{LOOPBACK}:{port}")
newServer({{address="{LOOPBACK}:{site.tls}", tls="openssl", caStore="{authority().file}",
    subjectName="{NAME}", healthCheckMode="up"}})
"""
    )
    with ExitStack() as stack:
        words = ["dnsdist", "--supervised", "--disable-syslog", "-C", str(path)]
        assert asks_through(stack, words, port, tmp_path / "log") == ADDRESSES[1:20]


@dig
@stubby
@at_once
def test_stubby_in_front_asks_by_tls(site: Site, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "stubby.yml"
    path.write_text(
        f"""resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: 128
tls_ca_file: "{authority().file}"
appdata_dir: "{tmp_path}"
listen_addresses: [{LOOPBACK}@{port}]
upstream_recursive_servers:
  - address_data: {LOOPBACK}
    tls_port: {site.tls}
    tls_auth_name: "{NAME}"
"""
    )
    with ExitStack() as stack:
        words = ["stubby", "-C", str(path)]
        assert asks_through(stack, words, port, tmp_path / "log") == ADDRESSES[1:20]


@dig
@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_ls_in_front_of_ls_asks_by_tls(site: Site, run: Programs, more: list[str]) -> None:
    upstream = f"tls://{LOOPBACK}:{site.tls}#{NAME}"
    words = ("--dns", 0, "--dns-upstream", upstream, "--tls-ca", authority().file)
    ls, port = run.ls([], *words, "--dns-timeout", PATIENCE_S, *more, linked=False)
    wait_for(lambda: stats(port)["DNS1.link"] == "UP", "it has shaken hands")
    port = ls.listener("DNS")
    for name, address in zip(NAMES[:20], ADDRESSES, strict=False):
        assert with_dig(str(port), "+short", name) == f"{address}\n"


@dig
@kresd
@at_once
def test_knot_resolver_in_front_asks_by_tls(site: Site, tmp_path: Path) -> None:
    """Its TLS is GnuTLS."""
    port = free_port()
    path = tmp_path / "kresd.conf"
    path.write_text(
        f"""net.listen('{LOOPBACK}', {port}, {{kind = 'dns'}})
{KRESD_IS_LOCAL}
policy.add(policy.all(policy.TLS_FORWARD({{
    {{'{LOOPBACK}@{site.tls}', hostname = '{NAME}', ca_file = '{authority().file}'}}
}})))
"""
    )
    with ExitStack() as stack:
        words = ["kresd", "--noninteractive", "--config", str(path), str(tmp_path)]
        assert asks_through(stack, words, port, tmp_path / "log") == ADDRESSES[1:20]


# -- certificates that change ----------------------------------------------------------------------


def serial(port: int, context: ssl.SSLContext | None = None) -> str:
    with Client(port, context) as client:
        return client.serial()


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_a_renewed_certificate_is_for_new_streams(run: Programs, words: list[str]) -> None:
    """SIGHUP reads it; whoever has a stream keeps it, and each new one has the new certificate."""
    site = Site(run, *words)
    with Client(site.tls) as old:
        assert old.ask(*NAMES[:9]) == ADDRESSES[:9]
        before = old.serial()
        site.put(authority().issue(NAME, kind=EC, has_own_key=True))
        assert serial(site.tls) == before
        site.reload()
        wait_for(lambda: before not in [serial(site.tls) for _ in range(8)], "all see the new one")
        assert old.ask(*NAMES[:9]) == ADDRESSES[:9]


def broken(site: Site) -> dict[str, Issued]:
    """Return what may stand there instead of a certificate and its key."""
    good = authority().issue(NAME, kind=EC)
    folder = Path(site.keys.key).parent
    empty, cut = folder / "empty", folder / "cut"
    empty.touch()
    cut.write_text(Path(good.certificate).read_text()[:300])
    return {
        "empty": Issued(str(empty), good.key),
        "cut": Issued(str(cut), good.key),
        "no key": Issued(good.certificate, str(empty)),
        "another's key": Issued(
            good.certificate, authority().issue(NAME, kind=EC, has_own_key=True).key
        ),
        "key with a pass phrase": encrypted(good),
        "the wrong way round": Issued(good.key, good.certificate),
    }


@at_once
def test_a_broken_certificate_does_not_take_the_place(run: Programs) -> None:
    """[P121]: each SIGHUP has one line in the log that says what is wrong."""
    site = Site(run)
    before = serial(site.tls)
    with Client(site.tls) as old:
        for how, keys in broken(site).items():
            site.put(keys)
            told = site.ls.log.count(" ERROR ")
            site.reload()
            site.ls.logs(" ERROR ", told + 1)
            assert serial(site.tls) == before, how
            assert old.ask(*NAMES[:3]) == ADDRESSES[:3]
            line = [line for line in site.ls.log.splitlines() if " ERROR " in line][-1]
            assert re.search(r"certificate|key", line), (how, line)
            assert site.ls.log.count(" ERROR ") == told + 1, how
        site.put(authority().issue(NAME, kind=EC))
        site.reload()
        wait_for(lambda: serial(site.tls) != before, "a good one is taken again")
    assert site.ls.process.poll() is None


@at_once
def test_a_certificate_that_has_ended_is_told_of(run: Programs) -> None:
    """LS serves it, as there is no better one; clients that look at it leave."""
    site = Site(run, keys=authority().issue(NAME, ends_in_days=-2, kind=EC))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        serial(site.tls)
    blind = trusting()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    with Client(site.tls, blind) as client:
        assert client.ask("n1.example") == ["10.0.0.1"]
    assert "ended" in site.ls.log
    assert -3 < float(stats(site.lines)["tls_days"]) < -1


# -- many at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_a_storm_of_handshakes_costs_no_datagram(run: Programs, words: list[str]) -> None:
    """300 at once, and again; questions in datagrams have their replies meanwhile."""
    site = Site(run, *words)
    first = hello()
    with ExitStack() as stack, Steady(site.dns) as steady:
        steady.ask(10)
        for _ in range(2):
            for _ in range(300):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                with suppress(BlockingIOError):
                    one.connect((LOOPBACK, site.tls))
                with suppress(OSError):
                    one.sendall(first)
            steady.ask(60)
        assert steady.finish() == {"data": 130}
    wait_for(lambda: is_taken(site.tls), "there is room again")
    assert ask_by_tls(site) == ADDRESSES[:1]


@dnsperf
@at_once
def test_dnsperf_of_many_clients_beside_datagrams(run: Programs, tmp_path: Path) -> None:
    """Handshakes wait for their turn; no client of either kind loses a question."""
    site = Site(run)
    asked = tmp_path / "asked"
    asked.write_text("".join(f"{name} A\n" for name in NAMES * 10))
    words = ("dnsperf", "-m", "dot", "-s", LOOPBACK, "-p", str(site.tls), "-d", str(asked))
    with Steady(site.dns) as steady, subprocess.Popen(
        [*words, "-n", "1", "-c", "120", "-q", "120", "-t", f"{PATIENCE_S:.0f}"],
        stdout=subprocess.PIPE, text=True,
    ) as many:  # fmt: skip
        while many.poll() is None:
            steady.ask(20)
        assert steady.finish().keys() == {"data"}
        assert many.stdout is not None
        said = many.stdout.read()
        assert re.search(r"Queries completed: +1000 \(100.00%\)", said), said


# Clients with addresses of their own, inside a network namespace. Programs end with `unshare`.
APART = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
INSIDE = """
set -e
ip link set lo up
ip address add 192.0.2.0/24 dev lo
{python} -c '{program}' {folder}
"""
PROGRAM = """
import socket, sys
from contextlib import suppress
from pathlib import Path
from tests.support.processes import programs, stats
from tests.tools.test_tls_clients import ADDRESSES, Client, NAMES, Site, hello

def knock(number, site):
    return socket.create_connection(site.there, 30, source_address=(f"192.0.2.{number}", 0))

def is_heard(stream):
    with suppress(ConnectionError):
        stream.sendall(hello())
        return stream.recv(1) == b"\\x16"
    return False

with programs(Path(sys.argv[1])) as some:
    words = ["--allow", "0.0.0.0/0", "--bound"]
    site = Site(some, *words, "tls_per_second=5", host="192.0.2.9")
    heard = sum(is_heard(knock(1, site)) for _ in range(30))
    assert 5 <= heard < 30, heard
    assert stats(site.lines)["tls_limited"] == str(30 - heard)
    assert Client(site.tls, plain=knock(2, site)).ask(NAMES[1]) == ADDRESSES[1:2]

    site = Site(some, *words, "tls_clients_max=4", host="192.0.2.9")
    held = [knock(1, site) for _ in range(4)]
    for stream in held:
        stream.sendall(hello()[:1])
    assert Client(site.tls, plain=knock(2, site)).ask(NAMES[1]) == ADDRESSES[1:2]
print("done")
"""


@pytest.mark.skipif(not can_be_apart(APART), reason="no namespaces (Debian, as root: iproute2)")
@at_once
def test_an_address_has_its_share_of_handshakes(tmp_path: Path) -> None:
    """[P119] [P38]: nor do handshakes that are not done keep others out."""
    script = INSIDE.format(python=sys.executable, program=PROGRAM, folder=tmp_path)
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True,
        timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert done.stdout == "done\n", done.stdout + done.stderr
