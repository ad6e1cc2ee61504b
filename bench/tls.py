"""CPU that TLS costs LS, compared with the same in the clear.

    python3 bench/tls.py --results bench/TLS.md
    python3 bench/tls.py --only upstream,handshakes --rounds 5

- *upstream*: LS asks one unbound, which knows 10,000 names by itself, by TLS; and by UDP. dnsperf
  asks LS by UDP.
- *clients*: dnsperf asks LS by TLS; and by TCP, over one connection. LS has all names in its cache,
  and unbound stands still meanwhile: nothing but hits is counted.
- *handshakes*: connections one after another, each for one query: with TLS 1.3 by either kind of
  key, and without TLS, which shows what the handshake is of it.

The first two are pairs that are measured in alternating rounds (`bench/pairs.py`); the ratio of a
round is with TLS to without. The certificates are made by openssl. Parts that lack a program are
left out, and a message says so. A wrong reply ends the run with exit code 1; a bound that is missed
is said on the page only.

Not here: rates and latencies (`bench/dns.py`, `bench/resolvers.py`).
"""

import argparse
import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pairs
from cpu import Workload, dns
from dns_balancers import NAMES, address, look_in_sbin, missing, query, versions
from dns_servers import Resolver, secured, standing_still
from dnsperf import Wrong, dnsperf
from pairs import Ask
from results import Row, add_flag, figures, keep, machine
from systems import ROOT, node, running
from terminal import Progress, chosen

UPSTREAM, CLIENTS, HANDSHAKES = "upstream", "clients", "handshakes"
NEEDS = {
    UPSTREAM: ("unbound", "dnsperf", "openssl"),
    CLIENTS: ("unbound", "dnsperf", "openssl"),
    HANDSHAKES: ("openssl",),
}
IN_FLIGHT = (20, 100)
MOST = {(UPSTREAM, 100): 1.35, (CLIENTS, 20): 2.2, (CLIENTS, 100): 2.2}  # ratio of CPU
WITHOUT = {UPSTREAM: "UDP", CLIENTS: "TCP"}  # TLS is compared with that
CACHE_MIB = 16  # some 1,000 replies each
EC, RSA, NO_TLS = "TLS 1.3, EC P-256", "TLS 1.3, RSA 2048", "no TLS"
KEYS = {EC: ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), RSA: ("-newkey", "rsa:2048")}
_HOST = "dns.example"
_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Pair:
    """The same load on an LS with TLS and on one without."""

    part: str
    in_flight: int
    secure: Workload
    plain: Workload


@dataclass
class Measured:
    """Results of all parts, in the order of the page."""

    costs: dict[tuple[str, int], pairs.Summary] = field(default_factory=dict)
    connections: dict[str, tuple[float, float, float]] = field(default_factory=dict)  # quartiles

    def rows(self) -> list[Row]:
        """Make the rows to keep."""
        rows = []
        for (part, in_flight), one in self.costs.items():
            rows += one.rows(f"{part}, {in_flight} in flight", "TLS", WITHOUT[part])
        for name, (low, middle, high) in self.connections.items():
            found = {"CPU": middle, "CPU, lower quartile": low, "CPU, upper quartile": high}
            told = {figure: (us, "µs a connection") for figure, us in found.items()}
            rows += figures("connections", name, told)
        return rows


# -- workloads -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    """Files of a certificate for `_HOST`, which it signs itself, and of its key, in PEM."""

    certificate: Path
    key: Path

    def flags(self) -> tuple[object, ...]:
        """Return the words of LS that serve DNS over TLS with it, but for its port."""
        return ("--tls-cert", self.certificate, "--tls-key", self.key)


def made(folder: Path, kind: str) -> Keys:
    """Make a certificate with a key of this kind."""
    home = Path(tempfile.mkdtemp(dir=folder))
    keys = Keys(home / "certificate.pem", home / "key.pem")
    words = ["openssl", "req", "-x509", *KEYS[kind], "-nodes", "-days", "30"]
    words += ["-subj", f"/CN={_HOST}", "-addext", f"subjectAltName=DNS:{_HOST}"]
    words += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    words += ["-out", str(keys.certificate), "-keyout", str(keys.key)]
    subprocess.run(words, check=True, capture_output=True)
    return keys


def upstream(resolver: Resolver, keys: Keys, queries: Path, in_flight: int) -> Pair:
    """Return LS that asks the resolver by TLS, and by UDP."""
    by_tls = f"tls://127.0.0.1:{resolver.tls_port}#{_HOST}"
    secure = ("--dns-upstream", by_tls, "--tls-ca", keys.certificate)
    plain = ("--dns-upstream", f"127.0.0.1:{resolver.port}")
    return Pair(UPSTREAM, in_flight, *(dns(w, queries, in_flight) for w in (secure, plain)))


def clients(resolver: Resolver, keys: Keys, queries: Path, in_flight: int) -> Pair:
    """Return LS that is asked for what it has in its cache, by TLS and by TCP."""
    before = ("--cache", CACHE_MIB, "--dns-upstream", f"127.0.0.1:{resolver.port}")
    modes = {"dot": ("--dns-tls", keys.flags()), "tcp": ("--dns", ())}
    found = []
    for mode, (flag, words) in modes.items():
        over_one = ("-m", mode, "-c", "1")
        one = dns((*before, *words), queries, in_flight, *over_one, flag=flag)
        found.append(replace(one, load=partial(hits, one, resolver, queries, over_one)))
    return Pair(CLIENTS, in_flight, *found)


def hits(
    workload: Workload, resolver: Resolver, queries: Path, over_one: tuple[str, ...], port: int
) -> Ask:
    """Have the LS at this port ask for all names once; return the load, in which the resolver
    stands still."""
    dnsperf(port, queries, IN_FLIGHT[0], *over_one, "-n", "1")
    ask = workload.load(port)

    def ask_for_hits(seconds: float) -> int:
        with standing_still([resolver.pid]):
            return ask(seconds)

    return ask_for_hits


@contextlib.contextmanager
def connecting(folder: Path) -> Iterator[dict[str, Workload]]:
    """Start a table server; yield each kind of connection to an LS before it."""
    table = folder / "one-name"
    table.write_text(f"n1.example {'.'.join(map(str, address(1)))} A\n")
    with running(node("ts", 0, "--table", table)) as server:
        before = ("127.0.0.1", server.port)
        found = {NO_TLS: Workload(before, partial(one_by_one, None), "--dns")}
        for kind in KEYS:
            keys = made(folder, kind)
            context = ssl.create_default_context(cafile=str(keys.certificate))
            load = partial(one_by_one, context)
            found[kind] = Workload((*before, *keys.flags()), load, "--dns-tls")
        yield found


def one_by_one(context: ssl.SSLContext | None, port: int) -> Ask:
    """Return a load of connections to this port, each for one query. Raises Wrong."""
    asked = query(1)

    def ask(seconds: float) -> int:
        count = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with connected(context, port) as stream:
                stream.sendall(len(asked).to_bytes(2) + asked)
                reply = stream.recv(512)
            if reply[2:4] != asked[:2] or not reply.endswith(address(1)):
                raise Wrong(f"{reply!r} of port {port}")
            count += 1
        return count

    return ask


@contextlib.contextmanager
def connected(context: ssl.SSLContext | None, port: int) -> Iterator[socket.socket]:
    """Connect to this port, by TLS 1.3 if there is a context. Raises Wrong."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as plain:
        # Else the query waits until LS has acknowledged the end of the handshake.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            yield plain
            return
        with context.wrap_socket(plain, server_hostname=_HOST) as secure:
            if secure.version() != "TLSv1.3" or secure.session_reused:
                raise Wrong(f"{secure.version()}, no full handshake of TLS 1.3")
            yield secure


# -- the run ---------------------------------------------------------------------------------------


def compare(folder: Path, parts: list[str], rounds: int, seconds: float, seen: Measured) -> None:
    """Measure the pairs of these parts. Raises Wrong."""
    progress = Progress()
    keys = made(folder, EC)
    queries = folder / "queries"
    queries.write_text("".join(f"n{n}.example A\n" for n in range(NAMES)))
    with secured(folder, keys.certificate, keys.key) as resolver:
        pair = {UPSTREAM: upstream, CLIENTS: clients}
        for part, in_flight in ((part, n) for part in parts for n in IN_FLIGHT):
            one = pair[part](resolver, keys, queries, in_flight)
            ways = (partial(each.started, ROOT) for each in (one.secure, one.plain))
            costs = []
            for cost in pairs.compare(*ways, rounds, seconds):
                costs.append(cost)
                progress.say(f"{part}, {in_flight} in flight: {len(costs)} of {rounds}")
            seen.costs[part, in_flight] = pairs.Summary.of(costs)
    progress.end()


def count_connections(folder: Path, rounds: int, seconds: float, seen: Measured) -> None:
    """Measure connections of each kind. Raises Wrong."""
    progress = Progress()
    with connecting(folder) as kinds:
        costs: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(rounds):
            turn = number % len(kinds)
            for kind in (*kinds, *kinds)[turn : turn + len(kinds)]:
                progress.say(f"{HANDSHAKES}: {number + 1} of {rounds}, {kind}")
                with kinds[kind].started(ROOT) as (pid, ask):
                    before_s = pairs.cpu_s(pid)
                    count = ask(seconds / 2)
                    costs[kind].append((pairs.cpu_s(pid) - before_s) / count * 1e6)
        seen.connections = {kind: pairs.quartiles(each) for kind, each in costs.items()}
    progress.end()


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", metavar="A,B", help=f"of {', '.join(NEEDS)} (all)")
    add("--rounds", type=int, default=pairs.ROUNDS, metavar="N", help="(default %(default)s)")
    add("--seconds", type=float, default=pairs.SECONDS, metavar="S", help="of each (%(default)s)")
    add("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    look_in_sbin()
    parts = []
    for part in chosen(arguments.only, list(NEEDS), "part"):
        if why := missing(*NEEDS[part]):
            print(f"without {part} {why}")
        else:
            parts.append(part)
    if not parts:
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    pairs.leave_core_of_ls()
    seen = Measured()
    rounds, seconds = arguments.rounds, arguments.seconds
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            if compared := [part for part in parts if part in WITHOUT]:
                compare(Path(folder), compared, rounds, seconds, seen)
            if HANDSHAKES in parts:
                count_connections(Path(folder), rounds, seconds, seen)
    except Wrong as wrong:
        print(f"\nwrong: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    text = page(seen, rounds, seconds)
    print(text)
    keep(arguments.json, "tls", seen.rows())
    if arguments.results:
        arguments.results.write_text(text)
    return 0


def page(seen: Measured, rounds: int, seconds: float) -> str:
    """Format the page."""
    lines = [
        "# CPU that TLS costs LS",
        "",
        f"`make bench-tls` writes this page: CPU of LS alone, medians of {rounds} alternating "
        f"rounds of {seconds:g} s of each.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}; {ssl.OPENSSL_VERSION} in Python; "
        f"{versions('unbound', 'dnsperf')}.",
        "",
    ]
    if seen.costs:
        lines += compared_lines(seen)
    if seen.connections:
        lines += connections_lines(seen, seconds)
    return "\n".join(lines)


def compared_lines(seen: Measured) -> list[str]:
    """Format the section of the pairs, with their bounds."""
    rows, bounds = [], []
    for (part, in_flight), one in seen.costs.items():
        other = WITHOUT[part]
        rows.append(
            f"| {part} | {in_flight} | {one.ours_us:.2f} | {other} | {one.other_us:.2f} "
            f"| {one.middle:.2f} | {one.low:.2f} to {one.high:.2f} |"
        )
        if most := MOST.get((part, in_flight)):
            said = "kept" if round(one.middle, 2) <= most else "NOT kept"
            bounds.append(
                f"- {part}, {in_flight} in flight: TLS shall cost at most {most:g} times {other}, "
                f"and costs {one.middle:.2f}: {said}."
            )
    return [
        "## A query",
        "",
        "| part | in flight | TLS µs | to | its µs | ratio | quartiles |",
        "|---|---:|---:|---|---:|---:|---:|",
        *rows,
        "",
        *bounds,
        "",
        f"`upstream`: LS asks one unbound, with {NAMES:,} names of its own, by TLS or by UDP,",
        "and dnsperf asks LS by UDP. `clients`: a dnsperf with one connection asks LS by TLS or by",
        "TCP for what LS has in its cache. Ratio and quartiles are of the ratios of the rounds.",
        "What limits `upstream`: unbound sends each reply by TLS by itself, and LS, which waits",
        "for it, is woken more often: counted once, at 100 in flight, for 10 questions a turn,",
        "by UDP for 32. On a machine where LS has to wait for its processor turns are longer, and",
        "the ratio is lower. `clients` connects anew in each turn of a round, and that handshake",
        "is counted.",
        "",
    ]


def connections_lines(seen: Measured, seconds: float) -> list[str]:
    """Format the section of the handshakes."""
    return [
        "## A connection",
        "",
        "| connection | µs | quartiles |",
        "|---|---:|---:|",
        *(
            f"| {name} | {middle:,.0f} | {low:,.0f} to {high:,.0f} |"
            for name, (low, middle, high) in seen.connections.items()
        ),
        "",
        f"Connections one after another for {seconds / 2:g} s, each for one query to a TS, with a",
        "full handshake where there is TLS: that, and to seal a query and its reply, is what such",
        "a connection costs more. LS resumes no session.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
