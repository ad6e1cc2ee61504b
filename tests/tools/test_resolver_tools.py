"""LS before resolvers written by others: Knot DNS, unbound and dnsmasq.

Relayed replies are compared, field by field, with what the same server says when it is asked
directly (after respdiff, of CZ.NIC). Knot has a signed zone, so that there is much to be wrong
about: signatures, denials, aliases, replies that no datagram holds.

`make test-dns` runs these tests alone; each is skipped with a clear line where its program is
missing, and `make parts` installs them. Nothing here is about speed.

Not here: how fast it is (`bench/resolvers.py`), bad replies
(`tests/nodes/test_reply_matcher.py`), and servers in trouble under questions that do not stop
(`tests/tools/test_resolver_trouble.py`).
"""

import os
import random
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, Programs, exchange, free_port, wait_for
from tests.tools.test_dns_tools import need

dns = pytest.importorskip("dns", reason="no dnspython here: pip install -r tests/requirements.txt")
import dns.flags  # noqa: E402, F811
import dns.message  # noqa: E402
import dns.query  # noqa: E402
import dns.rcode  # noqa: E402

pytestmark = [pytest.mark.process, pytest.mark.dns]
LOOPBACK = "127.0.0.1"
COUNT = int(os.environ.get("RESOLVER_QUERIES", "2000"))  # 10,000 take 14 s
os.environ["PATH"] += ":/usr/sbin"  # where Debian has servers, and not everybody looks
knot = need("knotd", "knot")
unbound = need("unbound", "unbound")
dnsmasq = need("dnsmasq", "dnsmasq-base")
dig = need("dig", "bind9-dnsutils")

ZONE = """\
$ORIGIN example.
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
@ MX 10 mail
@ TXT "one" "two"
mail A 10.0.1.1
mail AAAA 2001:db8::25
alias CNAME other
other CNAME n1
broken CNAME nowhere
outside CNAME www.elsewhere.net.
*.wild A 10.0.2.1
srv SRV 1 2 53 ns
caa CAA 0 issue "ca.example"
""" + "".join(f"n{n} A 10.0.0.{n}\nn{n} AAAA 2001:db8::{n:x}\n" for n in range(100)) + "".join(
    f"many A 10.1.0.{n}\n" for n in range(100)
) + "".join(f'text TXT "{"x" * 200}{n}"\n' for n in range(5))  # fmt: skip
NAMES = [
    "example", "n1.example", "N2.Example", "alias.example", "other.example", "broken.example",
    "outside.example", "a.wild.example", "b.c.wild.example", "many.example", "text.example",
    "srv.example", "caa.example", "mail.example", "nowhere.example", "x.n1.example", "wild.example",
    "elsewhere.net", ".", "odd\\032name.example", "_under.example",
]  # fmt: skip
TYPES = [
    "A",
    "AAAA",
    "MX",
    "TXT",
    "SRV",
    "CAA",
    "NS",
    "SOA",
    "CNAME",
    "DNSKEY",
    "ANY",
    "HTTPS",
    "DS",
]


class Server:
    """A program that resolves, at a port of its own. `stack` ends it."""

    def __init__(self, stack: ExitStack, words: list[str], port: int, log: Path) -> None:
        self.words = words
        self.port = port
        self.log = log
        stack.callback(self.end)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.words, stdout=log, stderr=log)
        wait_for(self.replies, f"{self.words[0]} replies:\n{self.log.read_text()}")

    def replies(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        query = dns.message.make_query("n1.example", "A").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.settimeout(0.2)
            probe.connect((LOOPBACK, self.port))
            probe.send(query)
            return bool(probe.recv(4096))  # anything: one that refuses may send a header only
        return False

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def a_knot(stack: ExitStack, folder: Path, zone: str = ZONE) -> Server:
    """Knot with a zone `example`, signed."""
    home = folder / "knot"
    home.mkdir()
    port = free_port()
    (home / "example.zone").write_text(zone)
    (home / "knot.conf").write_text(
        f"""server:
    listen: {LOOPBACK}@{port}
    rundir: {home}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {home}
policy:
  - id: default
    algorithm: ECDSAP256SHA256
zone:
  - domain: example.
    file: {home / "example.zone"}
    zonefile-sync: -1
    dnssec-signing: on
    dnssec-policy: default
"""
    )
    return Server(stack, ["knotd", "-c", str(home / "knot.conf")], port, home / "log")


def an_unbound(stack: ExitStack, folder: Path, behind: int, *options: str) -> Server:
    """unbound that forwards to a server, does not validate, and remembers; with these options."""
    port = free_port()
    path = folder / "unbound.conf"
    path.write_text(
        f"""server:
    interface: {LOOPBACK}
    port: {port}
    do-daemonize: no
    use-syslog: no
    pidfile: ""
    chroot: ""
    username: ""
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    local-zone: "test." transparent
{"".join(f"    {option}{os.linesep}" for option in options)}
forward-zone:
    name: "."
    forward-addr: {LOOPBACK}@{behind}
"""
    )
    return Server(stack, ["unbound", "-d", "-c", str(path)], port, folder / "unbound.log")


def a_dnsmasq(stack: ExitStack, folder: Path, behind: int) -> Server:
    """dnsmasq that forwards to a server."""
    port = free_port()
    words = dnsmasq_words(port, f"--server={LOOPBACK}#{behind}")
    return Server(stack, words, port, folder / "dnsmasq.log")


def dnsmasq_words(port: int, knows: str, host: str = LOOPBACK) -> list[str]:
    """Return a command line; `knows` is the option that says where it has its names from."""
    return [
        "dnsmasq", "--keep-in-foreground", f"--port={port}", f"--listen-address={host}",
        "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=", "--conf-file=/dev/null",
        "--user=root", "--log-facility=-", knows,
    ]  # fmt: skip


def balancer_before(run: Programs, servers: list[Server], *words: object) -> tuple[int, str]:
    """Start LS before these; return its port, and that of its DNS front end."""
    upstreams = [word for one in servers for word in ("--dns-upstream", f"{LOOPBACK}:{one.port}")]
    waits = ("--dns-timeout", PATIENCE_S, "--timeout", PATIENCE_S)
    ls, port = run.ls([], "--dns", 0, *upstreams, *waits, *words, linked=False)
    return port, str(ls.listener("DNS"))


# -- the same, field by field ----------------------------------------------------------------------


def ask_all(port: int, queries: list[dns.message.Message]) -> list[dns.message.Message]:
    """Ask over UDP, a hundred in flight; what is lost is asked for again. In order of asking."""
    found: dict[int, dns.message.Message] = {}
    wire = {number: query.to_wire() for number, query in enumerate(queries)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.settimeout(2.0)
        client.connect((LOOPBACK, port))
        todo, flying = list(wire), set()
        while len(found) < len(queries):
            while todo and len(flying) < 100:
                number = todo.pop()
                flying.add(number)
                client.send(wire[number])
            try:
                said = client.recv(65_535)
            except TimeoutError:
                todo += flying
                flying.clear()
                continue
            number = int.from_bytes(said[:2])
            flying.discard(number)
            found[number] = dns.message.from_wire(said, ignore_trailing=False)
    return [found[number] for number in range(len(queries))]


def fields(message: dns.message.Message) -> tuple[object, ...]:
    """Return all that is compared: a reply that is cut is asked for again, so only that it is
    counts."""
    is_cut = bool(message.flags & dns.flags.TC)
    sections = [] if is_cut else [message.answer, message.authority, message.additional]
    return (
        message.id,
        dns.flags.to_text(message.flags),
        dns.rcode.to_text(message.rcode()),
        str(message.question[0]),
        message.edns, message.ednsflags & dns.flags.DO, [] if is_cut else list(message.options),
        [sorted(rrset.to_text() for rrset in section) for section in sections],
    )  # fmt: skip


@knot
def test_replies_are_those_of_the_resolver(run: Programs, tmp_path: Path) -> None:
    """[P37]: everything but what is between two hops."""
    chance = random.Random(9)
    queries = []
    for number in range(COUNT):
        name = chance.choice([*NAMES, f"n{chance.randrange(200)}.example"])
        options = chance.choice([{}, {"use_edns": 0, "payload": 1232}, {"want_dnssec": True}])
        query = dns.message.make_query(name, chance.choice(TYPES), id=number, **options)
        query.flags = chance.choice([0, dns.flags.RD, dns.flags.RD | dns.flags.CD])
        if query.edns >= 0:
            query.use_edns(0, query.ednsflags, payload=1232)
        queries.append(query)
    with ExitStack() as stack:
        one = a_knot(stack, tmp_path)
        _, port = balancer_before(run, [one])
        directly, through = ask_all(one.port, queries), ask_all(int(port), queries)
        seen = set()
        for query, expected, got in zip(queries, directly, through, strict=True):
            assert fields(got) == fields(expected), f"{query}\n{expected}\n{got}"
            seen.add((dns.rcode.to_text(got.rcode()), bool(got.flags & dns.flags.TC)))
        assert seen >= {("NOERROR", False), ("NOERROR", True), ("NXDOMAIN", False)}
        for query, got in zip(queries, through, strict=True):
            if got.flags & dns.flags.TC and chance.random() < 0.2:
                over = [
                    dns.query.tcp(query, LOOPBACK, PATIENCE_S, p) for p in (one.port, int(port))
                ]
                assert fields(over[0]) == fields(over[1])


@knot
@unbound
@dnsmasq
def test_resolvers_of_three_makes_say_the_same_to_all_clients(
    run: Programs, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        servers = [a_knot(stack, tmp_path)]
        servers += [make(stack, tmp_path, servers[0].port) for make in (an_unbound, a_dnsmasq)]
        for chosen in ([servers[1]], [servers[2]], servers):
            port, dns_port = balancer_before(run, chosen)
            for n in range(30):
                reply = dns.query.udp(
                    dns.message.make_query(f"n{n}.example", "A"),
                    LOOPBACK,
                    PATIENCE_S,
                    int(dns_port),
                )
                assert [str(rdata) for rdata in reply.answer[0]] == [f"10.0.0.{n}"]
            lines = b"n3.example\nn3.example AAAA\nalias.example\nnowhere.example\nQUIT\n"
            said = exchange(port, [lines])[0].split(b"\n")
            assert sorted(said[:-1]) == sorted([
                b"n3.example 10.0.0.3 A IN", b"n3.example 2001:db8::3 AAAA IN",
                b"alias.example 10.0.0.1 A IN", b"nowhere.example - NOT FOUND", b"BYE",
            ])  # fmt: skip


# -- changes on the way ----------------------------------------------------------------------------
