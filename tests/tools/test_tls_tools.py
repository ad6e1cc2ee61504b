"""LS before DNS servers of others that are asked by TLS: unbound, dnsdist and Knot Resolver, and
one by hand.

All are on loopback, with certificates of the test's own. Names in the clear are looked for by
a relay that keeps all bytes, by sockets that nobody may send to, and on the interface itself.

Whether LS waits is a matter of what it is told to wait for, as in `test_resolver_trouble.py`: a
question that is asked again only when a stream has been silent for longer than the test waits
must not have been lost. Programs that are missing, and an interface that may not be watched, skip
what needs them.

Not here: LS as a server of TLS (`tests/tools/test_tls_clients.py`), and its layer of TLS
(`tests/io/test_tls_layer.py`).
"""

import math
import random
import select
import signal
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.certificates import (
    EC,
    Authority,
    Issued,
    authority,
    openssl,
    self_signed,
    without_chain,
)
from tests.support.dns_clients import Reply, query
from tests.support.processes import (
    PATIENCE_S,
    Program,
    Programs,
    exchange,
    free_port,
    stats,
    wait_for,
)
from tests.support.tls_peers import (
    ABRUPT,
    ALERT,
    ANSWERS,
    CHANGE,
    CLIENT_HELLO,
    HANDSHAKE,
    LARGE,
    LEAVES,
    MUTE,
    ONCE,
    SECURED,
    Capture,
    PlayedTlsServer,
    Relay,
    can_capture,
    ports_of,
    records,
)
from tests.tools.test_dns_tools import kdig, need, output_of
from tests.tools.test_resolver_tools import LOOPBACK, Server, a_knot, dnsmasq, fields, knot, unbound
from tests.tools.test_resolver_tools import NAMES as ZONE_NAMES
from tests.tools.test_resolver_tools import TYPES as ZONE_TYPES
from tests.tools.test_resolver_trouble import Steady, a_table

dns = pytest.importorskip("dns", reason="no dnspython here: pip install -r tests/requirements.txt")
import dns.flags  # noqa: E402, F811
import dns.message  # noqa: E402
import dns.query  # noqa: E402

pytestmark = [pytest.mark.process, pytest.mark.dns, openssl]
dnsdist = need("dnsdist", "dnsdist")
kresd = need("kresd", "knot-resolver")
NAME = "dns.example"
_BACK_S = 2.0  # after which one that is there again has to be used again
LONG = 2 * PATIENCE_S  # LS waits for longer than the test does


def good_keys() -> Issued:
    """Issue a certificate for the name and the address of the servers here."""
    return authority().issue(NAME, LOOPBACK, "::1", kind=EC)


def between_keys() -> Issued:
    """Issue a certificate by an authority below ours, which is behind it in its file."""
    return Authority("Between", EC, above=authority()).issue(NAME, LOOPBACK)


# -- servers ---------------------------------------------------------------------------------------


class TlsServer(Server):
    """A program that serves DNS by TLS; it is there when it accepts."""

    def replies(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port)):
            return True
        return False


def a_tls_unbound(stack: ExitStack, folder: Path, keys: Issued, idle_s: float = 30.0) -> TlsServer:
    """unbound that has the names itself, by TLS alone; it pads for those who pad."""
    port = free_port()
    path = folder / f"unbound-{port}.conf"
    names = "".join(f'    local-data: "n{n}.example. 60 A 10.0.0.{n}"\n' for n in range(100))
    path.write_text(
        f"""server:
    interface: {LOOPBACK}@{port}
    tls-port: {port}
    tls-service-pem: "{keys.certificate}"
    tls-service-key: "{keys.key}"
    tcp-idle-timeout: {idle_s * 1000:.0f}
    do-udp: no
    do-daemonize: no
    use-syslog: no
    pidfile: ""
    chroot: ""
    username: ""
    num-threads: 1
    module-config: "iterator"
    local-zone: "example." static
{names}"""
    )
    return TlsServer(
        stack, ["unbound", "-d", "-c", str(path)], port, folder / f"unbound-{port}.log"
    )


def a_tls_dnsdist(
    stack: ExitStack, folder: Path, keys: Issued, idle_s: float = 30.0, behind: int | None = None
) -> TlsServer:
    """dnsdist that has the names itself, or passes all on to a server of plain DNS."""
    port = free_port()
    path = folder / f"dnsdist-{port}.conf"
    answers = """for n = 0, 99 do
    addAction(QNameRule("n" .. n .. ".example."), SpoofAction({"10.0.0." .. n}))
end
"""
    passes = f'newServer({{address="{LOOPBACK}:{behind}", healthCheckMode="up"}})\n'
    path.write_text(
        f"""setSecurityPollSuffix("")
setLocal("{LOOPBACK}:{free_port()}")
addTLSLocal("{LOOPBACK}:{port}", "{keys.certificate}", "{keys.key}", {{minTLSVersion="tls1.2"}})
setTCPRecvTimeout({idle_s:.0f})
{answers if behind is None else passes}"""
    )
    words = ["dnsdist", "--supervised", "--disable-syslog", "-C", str(path)]
    return TlsServer(stack, words, port, folder / f"dnsdist-{port}.log")


KRESD_IS_LOCAL = """
for _, module in ipairs({'ta_update', 'ta_signal_query', 'priming', 'detect_time_skew'}) do
    modules.unload(module)
end
trust_anchors.remove('.')
"""


def a_tls_kresd(stack: ExitStack, folder: Path, keys: Issued, _idle_s: float) -> TlsServer:
    """Knot Resolver that has the names itself. Its TLS is GnuTLS."""
    port = free_port()
    home = folder / f"kresd-{port}"
    home.mkdir()
    (home / "kresd.conf").write_text(
        f"""net.listen('{LOOPBACK}', {port}, {{kind = 'tls'}})
net.tls('{keys.certificate}', '{keys.key}')
modules = {{'hints > iterate'}}
for n = 0, 99 do hints.set('n' .. n .. '.example 10.0.0.' .. n) end
{KRESD_IS_LOCAL}"""
    )
    words = ["kresd", "--noninteractive", "--config", str(home / "kresd.conf"), str(home)]
    return TlsServer(stack, words, port, home / "log")


Maker = Callable[[ExitStack, Path, Issued, float], TlsServer]
MAKERS = [
    pytest.param(a_tls_unbound, marks=unbound, id="unbound"),
    pytest.param(a_tls_dnsdist, marks=dnsdist, id="dnsdist"),
]


@kdig
@pytest.mark.parametrize("maker", MAKERS)
def test_servers_here_are_what_another_client_takes(tmp_path: Path, maker: Maker) -> None:
    """kdig is the judge of these servers and certificates; LS comes below."""
    with ExitStack() as stack:
        port = str(maker(stack, tmp_path, good_keys(), 30.0).port)
        asks = ("kdig", f"@{LOOPBACK}", "-p", port, f"+tls-ca={authority().file}", "+retry=0")
        asks += ("+short", "n7.example")
        assert output_of(*asks, f"+tls-hostname={NAME}") == "10.0.0.7\n"
        wrong = subprocess.run([*asks, "+tls-hostname=other.example"], capture_output=True)
        assert wrong.returncode == 1 and b"Error in the certificate" in wrong.stderr


# -- LS --------------------------------------------------------------------------------------------


def tls(port: int, name: str = NAME, host: str = LOOPBACK) -> str:
    """Write where such a server is; without a name its certificate has to have the address."""
    return f"tls://{host}:{port}{'#' if name else ''}{name}"


def a_site(
    run: Programs,
    upstreams: list[str],
    *words: object,
    up: int | None = None,
    timeout_s: float = LONG,
    environment: dict[str, str] | None = None,
) -> tuple[Program, int, int]:
    """Start LS that trusts our authority, or those of this environment, and wait until so many of
    its resolvers are there; return it, and its ports for lines and for DNS."""
    before = [word for one in upstreams for word in ("--dns-upstream", one)]
    waits = ("--dns-timeout", timeout_s, "--timeout", timeout_s)
    trusted = ("--tls-ca", authority().file) if environment is None else ()
    ls, port = run.ls(
        [], "--dns", 0, *waits, *before, *trusted, *words, linked=False, environment=environment
    )
    dns = ls.listener("DNS")
    wait_for(lambda: links_up(port) >= (len(upstreams) if up is None else up), "all are up")
    return ls, port, dns


def links_up(port: int) -> int:
    """Count the resolvers whose links are up."""
    return sum(key.endswith(".link") and value == "UP" for key, value in stats(port).items())


def ask(port: int, *names: str) -> list[str]:
    """Ask for addresses one after the other; return what each is, or the code of a failure."""
    said = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect((LOOPBACK, port))
        for number, name in enumerate(names):
            client.send(query(number, name.encode()))
            reply = Reply(client.recv(4096))
            assert reply.number == number
            said.append(reply.addresses[0] if reply.addresses else f"code {reply.code}")
    return said


NAMES = [f"n{n}.example" for n in range(20)]
ADDRESSES = [f"10.0.0.{n}" for n in range(20)]
SERVFAIL = "code 2"
NO_WAIT = ("--bound", f"join_s={LONG}")  # nothing is asked again because a stream is silent


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        pytest.param(a_tls_unbound, NAME, marks=unbound, id="unbound"),
        pytest.param(a_tls_dnsdist, "", marks=dnsdist, id="dnsdist, by address"),
        pytest.param(a_tls_kresd, NAME, marks=kresd, id="kresd"),
    ],
)
@at_once
def test_a_server_of_tls_answers_dns_and_lines(
    run: Programs, tmp_path: Path, maker: Maker, name: str
) -> None:
    with ExitStack() as stack:
        server = maker(stack, tmp_path, good_keys(), 30.0)
        _, lines_port, port = a_site(run, [tls(server.port, name)], *NO_WAIT)
        steady = stack.enter_context(Steady(port))
        steady.ask(50)
        assert steady.finish() == {"data": 50}
        lines = exchange(lines_port, [b"n3.example\nn4.example\nQUIT\n"])[0].splitlines()
        assert sorted(lines) == [b"BYE", b"n3.example 10.0.0.3 A IN", b"n4.example 10.0.0.4 A IN"]
        padded = dns.message.make_query("n1.example", "A", use_edns=0)
        reply = dns.query.udp(padded, LOOPBACK, PATIENCE_S, port)
        assert reply.edns == 0 and reply.options == (), "padding is between two hops"
        assert stats(lines_port)["DNS1.state"] == "UP"


@at_once
def test_a_server_of_an_authority_below_ours_answers(run: Programs) -> None:
    with PlayedTlsServer(between_keys()) as server:
        _, _, dns = a_site(run, [tls(server.port)])
        assert ask(dns, "n1.example") == ["10.0.0.1"]


@knot
@dnsdist
@at_once
def test_replies_by_tls_are_those_of_the_server(run: Programs, tmp_path: Path) -> None:
    """[P37]: field by field, whether a client uses EDNS or not."""
    chance = random.Random(26)
    queries = []
    for number in range(300):
        options = chance.choice([{}, {"use_edns": 0, "payload": 1232}, {"want_dnssec": True}])
        asked = dns.message.make_query(
            chance.choice(ZONE_NAMES), chance.choice(ZONE_TYPES), id=number, **options
        )
        asked.flags = dns.flags.RD | chance.choice([0, dns.flags.CD])
        queries.append(asked)
    with ExitStack() as stack:
        behind = a_knot(stack, tmp_path).port
        server = a_tls_dnsdist(stack, tmp_path, good_keys(), behind=behind)
        _, _, port = a_site(run, [tls(server.port)], *NO_WAIT)
        context = ssl.create_default_context(cafile=authority().file)
        plain = stack.enter_context(socket.create_connection((LOOPBACK, server.port)))
        direct = stack.enter_context(context.wrap_socket(plain, server_hostname=NAME))
        for asked in queries:
            expected = dns.query.tls(asked, LOOPBACK, PATIENCE_S, sock=direct)
            got = dns.query.tcp(asked, LOOPBACK, PATIENCE_S, port)
            assert fields(got) == fields(expected), f"{asked}\n{expected}\n{got}"


@at_once
def test_a_server_at_an_address_of_ipv6_answers(run: Programs, tmp_path: Path) -> None:
    with PlayedTlsServer(good_keys(), host="::1") as server:
        _, _, dns = a_site(run, [tls(server.port, "", "[::1]")])
        assert ask(dns, "n1.example") == ["10.0.0.1"]


# -- those that cannot be authenticated ------------------------------------------------------------

# How the certificate is bad, the name that LS wants, and what the log has to say of it.
Bad = tuple[Callable[[], Issued], str, str]
BAD: dict[str, Bad] = {
    "wrong name": (good_keys, "other.example", "other.example"),
    "wrong address": (lambda: authority().issue(NAME, kind=EC), "", LOOPBACK),
    "expired": (
        lambda: authority().issue(NAME, ends_in_days=-1, kind=EC),
        NAME,
        "expired",
    ),
    "self-signed": (lambda: self_signed(NAME, kind=EC), NAME, "signed by itself"),
    "of another authority": (lambda: authority("Other").issue(NAME, kind=EC), NAME, "authority"),
    "name in the subject alone": (
        lambda: authority().issue_without_names(NAME, EC),
        NAME,
        NAME,
    ),
    "without the one between": (lambda: without_chain(between_keys()), NAME, "authority"),
}


@at_once
def test_renewed_authorities_are_trusted_after_a_hangup(run: Programs, tmp_path: Path) -> None:
    file = tmp_path / "authorities.pem"
    file.write_text(Path(authority("Other").file).read_text())
    with PlayedTlsServer(good_keys()) as server:
        upstream = ("--dns-upstream", tls(server.port), "--tls-ca", file)
        ls, _ = run.ls([], "--dns", 0, *upstream, "--dns-timeout", 0.5, linked=False)
        ls.logs("by an authority that is not trusted")
        file.write_text(Path(authority().file).read_text())
        ls.signal(signal.SIGHUP)
        dns = ls.listener("DNS")
        wait_for(lambda: ask(dns, "n1.example") == ["10.0.0.1"], "it is trusted")


@at_once
def test_bad_certificates_mean_not_one_question(run: Programs) -> None:
    """[P112] [P114]: the reason is in the log and in STATS; a good one beside them serves all."""
    with ExitStack() as stack:
        servers = [stack.enter_context(PlayedTlsServer(make())) for make, _, _ in BAD.values()]
        upstreams = [
            tls(server.port, name)
            for server, (_, name, _) in zip(servers, BAD.values(), strict=True)
        ]
        good = stack.enter_context(PlayedTlsServer(good_keys()))
        ls, port, dns = a_site(run, [*upstreams, tls(good.port)], *NO_WAIT, up=1)
        ls.logs(" is down (", len(BAD))
        assert ask(dns, *NAMES) == ADDRESSES
        told = stats(port)
        for number, (server, how) in enumerate(zip(servers, BAD, strict=True), 1):
            wait_for(lambda: server.accepted > 1, f"{how} is dialled again")  # noqa: B023
            assert (server.queries, server.handshakes) == ([], 0), how
            why = told[f"DNS{number}.why"]
            assert told[f"DNS{number}.state"] == "DOWN" and BAD[how][2] in why, how
            assert f"DNS{number} is down ({why})" in ls.log, how


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
@at_once
def test_authorities_are_those_of_the_system_by_default(run: Programs, trusted: bool) -> None:
    """OpenSSL lets the environment say which these are."""
    file = (authority() if trusted else authority("Other")).file
    with PlayedTlsServer(good_keys()) as server:
        environment = {"SSL_CERT_FILE": file}
        ls, _, dns = a_site(run, [tls(server.port)], up=trusted, environment=environment)
        if not trusted:
            ls.logs("DNS1 is down (")
        assert ask(dns, "n1.example") == ["10.0.0.1" if trusted else SERVFAIL]
        assert len(server.queries) == trusted


@at_once
def test_questions_at_the_start_wait_for_the_handshake(run: Programs) -> None:
    """LS serves before it has shaken hands with anybody, which takes three round trips."""
    with ExitStack() as stack:
        server = a_played_one(stack)
        server.is_open.clear()
        _, port, dns = a_site(run, [tls(server.port)], up=0)
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.settimeout(PATIENCE_S)
        client.connect((LOOPBACK, dns))
        client.send(query(1, b"n1.example"))
        wait_for(lambda: stats(port)["asked"] == "1", "LS is asked")
        server.is_open.set()
        assert Reply(client.recv(4096)).addresses == ["10.0.0.1"]


@at_once
def test_a_server_that_wants_a_certificate_says_so(run: Programs) -> None:
    """In TLS 1.3 its alert comes when the handshake is over on our side."""

    def demand(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority().file)

    with PlayedTlsServer(good_keys(), prepare=demand) as server:
        ls, _, dns = a_site(run, [tls(server.port)], up=0, timeout_s=0.5)
        for name in NAMES[:5]:
            assert ask(dns, name) == [SERVFAIL]
        ls.logs("it refuses TLS with us: certificate required")
        assert not server.queries


# -- in trouble ------------------------------------------------------------------------------------


def a_played_one(stack: ExitStack, manner: str = ANSWERS) -> PlayedTlsServer:
    server = PlayedTlsServer(good_keys(), manner)
    stack.callback(server.end)
    return server


@at_once
def test_silent_servers_beside_a_good_one_cost_nothing(run: Programs) -> None:
    """A silent server never finishes its handshake, or it does, and never replies."""
    with ExitStack() as stack:
        servers = [a_played_one(stack, manner) for manner in (MUTE, SECURED, ANSWERS)]
        _, _, dns = a_site(run, [tls(one.port) for one in servers], *NO_WAIT, up=1)
        assert ask(dns, *NAMES) == ADDRESSES
        assert servers[0].accepted and servers[1].queries


@pytest.mark.parametrize("manner", [MUTE, SECURED])
@at_once
def test_a_silent_server_alone_is_a_failure_in_time(run: Programs, manner: str) -> None:
    with ExitStack() as stack:
        silent = a_played_one(stack, manner)
        _, _, dns = a_site(run, [tls(silent.port)], "--bound", "dial_s=0.5", up=0, timeout_s=0.5)
        assert ask(dns, "n1.example") == [SERVFAIL]
        silent.manner = ANSWERS
        wait_for(lambda: ask(dns, "n2.example") == ["10.0.0.2"], "it is used once it replies")


@at_once
def test_a_server_that_leaves_at_once_is_not_dialled_often(run: Programs) -> None:
    """A hundred questions a second do not make a dial each, though LS dials a server again
    that it has asked; the other server has all answers."""
    with ExitStack() as stack:
        leaving, good = a_played_one(stack, LEAVES), a_played_one(stack)
        _, _, dns = a_site(run, [tls(leaving.port), tls(good.port)], *NO_WAIT, up=1)
        steady = stack.enter_context(Steady(dns))
        steady.ask(200)
        assert steady.finish() == {"data": 200}
        assert 1 < leaving.accepted < 40


@at_once
def test_a_silent_stream_has_another_one_beside_it(run: Programs) -> None:
    """[P116]"""
    with ExitStack() as stack:
        server = a_played_one(stack, SECURED)
        _, _, dns = a_site(run, [tls(server.port)], "--bound", "join_s=0.3")
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.settimeout(PATIENCE_S)
        client.connect((LOOPBACK, dns))
        client.send(query(1, b"n1.example"))
        wait_for(lambda: server.queries, "it is asked")
        server.manner = ANSWERS  # from the next question on
        assert Reply(client.recv(4096)).addresses == ["10.0.0.1"]
        assert (server.accepted, len(server.queries)) == (2, 2)


@pytest.mark.parametrize("manner", [ONCE, ABRUPT])
@at_once
def test_a_server_that_ends_after_each_reply_loses_none(run: Programs, manner: str) -> None:
    """[P115]"""
    with ExitStack() as stack:
        server = a_played_one(stack, manner)
        _, _, dns = a_site(run, [tls(server.port)], *NO_WAIT)
        assert ask(dns, *NAMES) == ADDRESSES
        assert server.handshakes >= len(NAMES)
        with Steady(dns, rate=math.inf) as all_at_once:
            all_at_once.ask(50)
            assert all_at_once.finish() == {"data": 50}


@pytest.mark.parametrize(
    ("maker", "idle_s"),
    [
        pytest.param(a_tls_unbound, 0.5, marks=unbound, id="unbound"),
        pytest.param(a_tls_dnsdist, 1.0, marks=dnsdist, id="dnsdist"),
    ],
)
@at_once
def test_a_server_that_ends_idle_streams_loses_none(
    run: Programs, tmp_path: Path, maker: Maker, idle_s: float
) -> None:
    """Questions come as a stream ends, before, and some time after it. LS waits for no timer."""
    with ExitStack() as stack:
        server = maker(stack, tmp_path, good_keys(), idle_s)
        relay = stack.enter_context(Relay(server.port))
        _, _, dns = a_site(run, [tls(relay.port)], *NO_WAIT)
        for ended, name in enumerate(NAMES[:4]):
            wait_for(lambda: relay.ended >= ended, "it ends an idle stream")  # noqa: B023
            assert ask(dns, name, name.replace("n", "n1")) == [
                f"10.0.0.{ended}",
                f"10.0.0.1{ended}",
            ]


@pytest.mark.parametrize("maker", MAKERS)
@at_once
def test_a_server_in_trouble_beside_one_is_not_noticed(
    run: Programs, tmp_path: Path, maker: Maker
) -> None:
    with ExitStack() as stack:
        victim, good = maker(stack, tmp_path, good_keys(), 30.0), a_played_one(stack)
        _, _, dns = a_site(run, [tls(victim.port), tls(good.port)])
        steady = stack.enter_context(Steady(dns))
        steady.ask(20)
        victim.signal(signal.SIGSTOP)
        steady.ask(50)
        victim.signal(signal.SIGCONT)
        steady.ask(20)
        victim.end()
        steady.ask(30)
        victim.start()
        steady.ask(20)
        assert steady.finish().keys() == {"data"}


@pytest.mark.parametrize("is_stopped", [True, False], ids=["stopped", "restarted"])
@pytest.mark.parametrize("maker", MAKERS)
@at_once
def test_a_server_alone_that_is_back_is_used_again(
    run: Programs, tmp_path: Path, maker: Maker, is_stopped: bool
) -> None:
    """LS tells what is lost while a server stands still for longer than LS waits; of one that is
    gone it knows at once."""
    with ExitStack() as stack:
        victim = maker(stack, tmp_path, good_keys(), 30.0)
        _, port, dns = a_site(run, [tls(victim.port)], timeout_s=0.6 if is_stopped else LONG)
        steady = stack.enter_context(Steady(dns))
        steady.ask(20)
        if is_stopped:
            victim.signal(signal.SIGSTOP)
            steady.ask(100)
            victim.signal(signal.SIGCONT)
        else:
            victim.end()
            steady.ask(40)
            victim.start()
        back = time.monotonic()
        steady.ask(230)
        assert steady.finish().keys() == {"data", "SERVFAIL"}
        assert steady.after(back + _BACK_S).keys() == {"data"}
        assert stats(port)["DNS1.state"] == "UP"


@at_once
def test_a_renewed_certificate_is_looked_at_anew(run: Programs) -> None:
    """LS takes one from the authority that it trusts, and from no other, also later."""
    with ExitStack() as stack:
        server = a_played_one(stack)
        ls, _, dns = a_site(run, [tls(server.port)])
        assert ask(dns, *NAMES[:3]) == ADDRESSES[:3]
        for keys, is_good in (
            (good_keys(), True),
            (authority("Other").issue(NAME, kind=EC), False),
            (authority().issue(NAME, kind=EC), True),
        ):
            server.end()
            server = stack.enter_context(PlayedTlsServer(keys, port=server.port))
            if is_good:
                wait_for(lambda: ask(dns, "n9.example") == ["10.0.0.9"], "it is used again")
            else:
                ls.logs("by an authority that is not trusted")
                assert ask(dns, *NAMES[:3]) == [SERVFAIL] * 3
                assert not server.queries


# -- beside others ---------------------------------------------------------------------------------


@unbound
@dnsmasq
@at_once
def test_resolvers_of_both_kinds_race_and_stand_in(run: Programs, tmp_path: Path) -> None:
    """Two by TLS and one of plain DNS: each alone has all answers."""
    with ExitStack() as stack:
        plain = a_table(stack, tmp_path)
        secured = [a_tls_unbound(stack, tmp_path, good_keys()), a_played_one(stack)]
        _, port, dns = a_site(
            run, [f"{LOOPBACK}:{plain.port}", *(tls(one.port) for one in secured)], *NO_WAIT
        )
        steady = stack.enter_context(Steady(dns))
        steady.ask(50)
        for each in secured:
            each.end()
            steady.ask(30)
        assert steady.finish().keys() == {"data"}
        asked = stats(port)
        assert all(int(asked[f"DNS{n}.asked"]) >= 50 for n in (1, 2, 3)), asked


# -- versions, and sizes ---------------------------------------------------------------------------

_ONE_TWO, _ONE_THREE = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize("version", [_ONE_TWO, _ONE_THREE])
@at_once
def test_a_server_of_one_version_answers_in_all_sizes(
    run: Programs, version: ssl.TLSVersion
) -> None:
    """A long reply is in more than one record."""

    def only(context: ssl.SSLContext) -> None:
        context.minimum_version = context.maximum_version = version

    with PlayedTlsServer(good_keys(), prepare=only) as server:
        _, _, dns = a_site(run, [tls(server.port)], *NO_WAIT)
        assert ask(dns, *NAMES) == ADDRESSES
        with socket.create_connection((LOOPBACK, dns), PATIENCE_S) as client:
            asked = query(1, b"n1.example", 16)
            client.sendall(len(asked).to_bytes(2) + asked)
            reply = client.makefile("rb")
            said = reply.read(int.from_bytes(reply.read(2)))
            assert len(said) > LARGE and said[3] & 15 == 0


@at_once
def test_a_server_of_tls_1_1_alone_is_not_taken(run: Programs) -> None:
    def only(context: ssl.SSLContext) -> None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1

    with PlayedTlsServer(good_keys(), prepare=only) as server:
        ls, _, dns = a_site(run, [tls(server.port)], up=0, timeout_s=0.5)
        ls.logs("DNS1 is down (")
        assert ask(dns, "n1.example") == [SERVFAIL]
        wait_for(lambda: server.failures, "no handshake is done")
        assert not server.queries


def leave_unanswered(stack: ExitStack, server: PlayedTlsServer, port: int, *names: str) -> None:
    """Let a server that has been asked fall silent, and ask it these names through LS."""
    server.manner = SECURED
    asked = len(server.queries)
    client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for number, name in enumerate(names):
        client.sendto(query(number, name.encode()), (LOOPBACK, port))
    wait_for(lambda: len(server.queries) == asked + len(names), "it is asked")


# -- never in the clear ----------------------------------------------------------------------------

SECRET = b"very-secret"


@at_once
def test_only_records_of_tls_pass_by_the_wire(run: Programs) -> None:
    """[P112] [P117]: no name is to be read on the way, neither as it is asked nor in a reply. That
    of the server is there (SNI), unless its address is what its certificate is for."""
    with ExitStack() as stack:
        server = a_played_one(stack)
        relay, nameless = (stack.enter_context(Relay(server.port)) for _ in range(2))
        upstreams = [tls(relay.port), tls(nameless.port, "")]
        _, _, dns = a_site(run, upstreams, *NO_WAIT)
        assert ask(dns, *(f"n{n}.{SECRET.decode()}.example" for n in range(9))) == ADDRESSES[:9]
        server.end()
        for each in (relay, nameless):
            wait_for(lambda: each.ended == len(each.passages), "the relay is at rest")  # noqa: B023
            assert (NAME.encode() in each.passages[0].up) == (each is relay)
        assert {len(asked) % 128 for asked in server.queries} == {0}, "sizes say nothing, either"
        for passage in relay.passages + nameless.passages:
            assert SECRET not in (passage.up + passage.down).lower()
            sent = records(passage.up)
            assert not passage.up or (sent[0][0], sent[0][1][0]) == (HANDSHAKE, CLIENT_HELLO)
            assert [kind for kind, _ in records(passage.up_before_down)][1:] == []
            records(passage.down)


@at_once
def test_no_question_goes_before_a_handshake_is_done(run: Programs) -> None:
    """[P112]: relays keep all that servers say, or its end, and LS is asked all the while."""
    with ExitStack() as stack:
        server = a_played_one(stack)
        relays = [stack.enter_context(Relay(server.port, passes)) for passes in (0, 5, 100, 600)]
        upstreams = [tls(relay.port) for relay in relays]
        _, _, dns = a_site(run, upstreams, "--bound", "dial_s=0.3", up=0, timeout_s=1.0)
        assert ask(dns, "n1.example") == [SERVFAIL]
        for relay in relays:
            wait_for(lambda: relay.ended >= 2, "LS gives up, and dials again")  # noqa: B023
            for passage in [one for one in relay.passages if one.is_over]:
                sent = {kind for kind, _ in records(passage.up)}
                assert HANDSHAKE in sent and sent <= {HANDSHAKE, ALERT, CHANGE}
        assert not server.queries


@at_once
def test_nothing_is_sent_in_the_clear_around_a_server(run: Programs) -> None:
    """[P113]: neither by a datagram to its port, nor to that of plain DNS or one beside: in good
    times and when it is silent or gone."""
    host = f"127.{random.randrange(2, 250)}.{random.randrange(256)}.{random.randrange(2, 250)}"
    with ExitStack() as stack:
        keys = authority().issue(NAME, kind=EC)
        server = stack.enter_context(PlayedTlsServer(keys, host=host))
        traps = []
        for port in (53, server.port - 1, server.port, server.port + 1):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                if (port, kind) == (server.port, socket.SOCK_STREAM):
                    continue
                trap = stack.enter_context(socket.socket(socket.AF_INET, kind))
                with suppress(OSError):  # port 53 is not for everybody, and may be taken
                    trap.bind((host, port))
                    if kind == socket.SOCK_STREAM:
                        trap.listen()
                    traps.append(trap)
        _, _, dns = a_site(run, [tls(server.port, host=host)])
        assert ask(dns, *NAMES) == ADDRESSES
        leave_unanswered(stack, server, dns, *NAMES[:2])
        server.end()
        assert ask(dns, *NAMES[:3]) == [SERVFAIL] * 3
        assert len(traps) >= 5
        assert select.select(traps, [], [], 0)[0] == []


@pytest.mark.skipif(not can_capture(), reason="no right to see the packets of an interface")
@at_once
def test_the_interface_carries_no_name_in_the_clear(run: Programs) -> None:
    """[P113]: only packets between LS and its own client have a name in them."""
    label = f"secret-{random.randrange(10**9)}"
    with ExitStack() as stack:
        server = a_played_one(stack)
        _, _, dns = a_site(run, [tls(server.port)])
        with Capture(label.encode()) as seen:
            names = [f"n{n}.{label}.example" for n in range(9)]
            assert ask(dns, *names) == ADDRESSES[:9]
            leave_unanswered(stack, server, dns, names[1], names[2])
            server.end()
            assert ask(dns, names[3]) == [SERVFAIL]
            seen.end()
        assert seen.packets
        assert [ports_of(packet) for packet in seen.packets if dns not in ports_of(packet)] == []
