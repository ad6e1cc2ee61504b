"""LS under DNS tools written by others: dig, kdig, drill, dnsperf, and a program's resolver.

The whole system runs as processes. `make test-dns` runs these tests alone; each is skipped with a
clear line where its program is missing, and `make parts` installs them.

Nothing here is about speed. LS waits for its TSs as long as this machine may stall, so an empty
answer that came "at once" is one that came at all; only where SERVFAIL is wanted LS waits for
0.3 s.

Not here: how fast it is (`bench/dns.py`), and the bytes (`tests/processes/test_dns_loopback.py`).
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    can_be_apart,
    free_port,
    programs,
)

pytestmark = [pytest.mark.process, pytest.mark.dns]
ROWS = """\
one.example 10.0.0.1 A
One.example 2001:db8::1 AAAA
many.example 10.0.0.1 A
many.example 10.0.0.2 A
many.example 10.0.0.3 A
four.example 10.0.0.4 A
web.corp 10.0.0.7 A
"""
LONG = ".".join(["long" * 15] * 3) + ".example"
# A line has 512 bytes, and a short address is 28 bytes in a message: more than any datagram has.
MANY = ",".join(f"::{n:x}" for n in range(1, 100))


def need(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"no {program} here (Debian: apt-get install {package})",
    )


dig = need("dig", "bind9-dnsutils")
kdig = need("kdig", "knot-dnsutils")
dnsmasq = need("dnsmasq", "dnsmasq-base")
drill = need("drill", "ldnsutils")
dnsperf = need("dnsperf", "dnsperf")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, ts_ports: list[int]) -> Iterator[str]:
    """The whole system; the port of its DNS front end."""
    with programs(tmp_path_factory.mktemp("dns")) as some:
        yield front(some, ts_ports)[1]


@pytest.fixture(scope="module")
def ts_ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Two TSs with the same rows."""
    table = tmp_path_factory.mktemp("ts") / "table.txt"
    sets = [f"{LONG} 2001:db8::{n} AAAA\n" for n in range(1, 17)]
    sets += [f"large.example {address} AAAA\n" for address in MANY.split(",")]
    numbered = "".join(f"n{n}.example 10.1.0.{n} A\n" for n in range(100))
    table.write_text(ROWS + "".join(sets) + numbered)
    with programs(table.parent) as some:
        yield [some.ts(table, 0, "--answer-unknown")[1] for _ in range(2)]


def front(run: Programs, ts_ports: list[int], *words: object) -> tuple[Program, str]:
    """Start LS with these words before these TSs; return it and the port of its DNS front end."""
    words = ("--dns", 0, "--dns-timeout", PATIENCE_S, "--timeout", PATIENCE_S, *words)
    ls, _ = run.ls(ts_ports, *words, linked=False)
    ls.logs(" is up", len(ts_ports))
    return ls, str(ls.listener("DNS"))


def output_of(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_dig(port: str, *words: str) -> str:
    return output_of("dig", "@127.0.0.1", "-p", port, "+tries=1", f"+time={PATIENCE_S:.0f}", *words)


Ask = Callable[..., str]


@pytest.fixture
def ask(port: str) -> Ask:
    """dig, asking the whole system."""
    return partial(with_dig, port)


def status(said: str) -> str:
    found = re.search(r"status: (\w+)", said)
    assert found is not None, said
    return found[1]


# -- dig -------------------------------------------------------------------------------------------


@dig
@kdig
@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_tools_take_replies_at_any_address_of_a_wildcard(
    run: Programs, ts_ports: list[int], words: list[str]
) -> None:
    """[P53]: both look where a reply comes from."""
    _, port = front(run, ts_ports, "--host", "0.0.0.0", "--allow", "127.0.0.0/8", *words)
    for program, once in (("dig", "+tries=1"), ("kdig", "+retry=0")):
        for address in ("127.0.0.1", "127.0.0.2"):
            asks = ("-p", port, once, f"+time={PATIENCE_S:.0f}", "+short", "one.example")
            assert output_of(program, f"@{address}", *asks) == "10.0.0.1\n"


@dig
@pytest.mark.parametrize("words", [[], ["--workers", "2"]], ids=["alone", "workers"])
@at_once
def test_dig_is_answered_at_each_address_of_both_families(
    run: Programs, ts_ports: list[int], words: list[str]
) -> None:
    """LS serves DNS only: it has no PORT of lines."""
    port = str(free_port())
    addresses = ("127.0.0.1", "127.0.0.2", "::1")
    at = [word for address in addresses for word in ("--dns", f"[{address}]:{port}")]
    ls = run.start("ls", *(f"127.0.0.1:{ts_port}" for ts_port in ts_ports), *at, *words)
    assert ls.port() == int(port)
    ls.logs(" is up", len(ts_ports))
    for address in addresses:
        for way in ("+notcp", "+tcp"):
            asks = ("-p", port, "+tries=1", f"+time={PATIENCE_S:.0f}", "+short", way, "one.example")
            assert output_of("dig", f"@{address}", *asks) == "10.0.0.1\n"


@dig
@pytest.mark.parametrize(
    "way",
    [
        "", "+tcp", "+bufsize=512", "+noedns", "+nocookie", "+dnssec", "+subnet=192.0.2.0/24",
        "+padding=128", "+norecurse", "+cdflag",
    ],
)  # fmt: skip
def test_dig_gets_an_address_in_every_way_of_asking(ask: Ask, way: str) -> None:
    said = ask("one.example", *way.split())
    assert status(said) == "NOERROR"
    assert re.search(r"^one\.example\.\s+60\s+IN\s+A\s+10\.0\.0\.1$", said, re.M)
    assert ("EDNS: version: 0" in said) is (way != "+noedns")
    assert "warning" not in said.lower()


@dig
def test_dig_sees_its_spelling_and_addresses_turned_round(ask: Ask) -> None:
    assert ask("one.example", "AAAA", "+short") == "2001:db8::1\n"
    said = ask("four.example", "AAAA")
    assert status(said) == "NOERROR" and "ANSWER: 0" in said
    assert re.search(r"^oNe\.ExAmPlE\.\s+60\s+IN\s+A", ask("oNe.ExAmPlE"), re.M)
    firsts = {ask("many.example", "+short").split()[0] for _ in range(3)}
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


@dig
@at_once
def test_dig_sees_why_there_is_no_answer(run: Programs, ts_ports: list[int]) -> None:
    """Of three TSs one is silent about what it does not know."""
    _, silent = run.ts(run.table("t", "one.example 10.0.0.1"))
    _, port = front(run, [*ts_ports, silent], "--dns-timeout", 0.3)
    for way in ("+edns=0", "+tcp"):
        said = with_dig(port, "nowhere.example", way)
        assert status(said) == "SERVFAIL" and "EDE: 22 (No Reachable Authority)" in said
    said = with_dig(port, "nowhere.example", "+noedns")
    assert status(said) == "SERVFAIL" and "EDE" not in said


@dig
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["one.example", "MX"], "NOERROR"),
        (["one.example", "HTTPS"], "NOERROR"),
        (["one.example", "ANY", "+notcp"], "NOERROR"),
        ([".", "NS"], "NOERROR"),
        (["-c", "CH", "version.bind", "TXT"], "REFUSED"),
        (["a\\ b.example"], "NXDOMAIN"),
        (["one.example", "+opcode=STATUS"], "NOTIMP"),
        (["one.example", "+edns=7", "+noednsneg"], "BADVERS"),
    ],
)
def test_dig_is_told_what_is_not_served(ask: Ask, words: list[str], code: str) -> None:
    assert status(ask(*words)) == code


@dig
@pytest.mark.parametrize("words", [["+header-only"], ["one.example", "+opcode=STATUS"]])
def test_dig_sees_that_we_know_edns_whatever_is_wrong(ask: Ask, words: list[str]) -> None:
    assert "EDNS: version: 0" in ask(*words, "+edns=0")
    assert "EDNS" not in ask(*words, "+noedns")


@dig
@pytest.mark.parametrize("way", ["+bufsize=1232", "+bufsize=4096", "+bufsize=512", "+noedns"])
def test_dig_asks_again_over_tcp_what_no_datagram_holds(ask: Ask, way: str) -> None:
    """A set is one line of 512 bytes, and may be 3 KB of records: no client is sent those."""
    said = ask("large.example", "AAAA", way)
    assert "Truncated, retrying in TCP mode" in said and status(said) == "NOERROR"
    assert sorted(re.findall(r"IN\s+AAAA\s+(::\S+)", said)) == sorted(MANY.split(","))
    cut = ask("large.example", "AAAA", way, "+ignore")
    assert re.search(r"flags: [a-z ]*\btc\b", cut) and "ANSWER: 0" in cut
    fits = ask(LONG, "AAAA", way, "+ignore")  # into a datagram of 1,232 bytes, not of 512
    assert ("ANSWER: 0" in fits) is (way in ("+bufsize=512", "+noedns"))


@dig
@at_once
def test_every_ts_says_no_and_dig_hears_nxdomain(run: Programs, ts_ports: list[int]) -> None:
    ls, port = front(run, ts_ports, "--workers", 2)
    ls.logs(" is up", 6)
    for way in (["+notcp"], ["+tcp"], ["MX"], ["AAAA"]):
        assert status(with_dig(port, "nowhere.example", *way)) == "NXDOMAIN"
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


# -- others ----------------------------------------------------------------------------------------


@kdig
@at_once
def test_kdig_gets_a_hundred_names_over_one_connection(run: Programs, ts_ports: list[int]) -> None:
    """LS lets it keep the connection: no other one comes."""
    names = [f"n{n}.example" for n in range(100)]
    ls, port = front(run, ts_ports, "--wire-log")
    ways = ("+tcp", "+keepopen", "+short", f"+time={PATIENCE_S:.0f}", "+retry=0")
    said = output_of("kdig", "@127.0.0.1", "-p", port, *ways, *names)
    assert said.split() == [f"10.1.0.{n}" for n in range(100)]
    assert len(re.findall(r"dns-client-\d+ is 127\.0\.0\.1", ls.log)) == 1


@drill
@pytest.mark.parametrize("way", [[], ["-t"], ["-D"]])
def test_drill_gets_its_answer(port: str, way: list[str]) -> None:
    said = output_of("drill", "-p", port, *way, "@127.0.0.1", "one.example")
    assert re.search(r"^one\.example\.\s+60\s+IN\s+A\s+10\.0\.0\.1$", said, re.M)
    said = output_of("drill", "-p", port, *way, "@127.0.0.1", "four.example", "AAAA")
    assert "rcode: NOERROR" in said and "ANSWER: 0" in said


@dnsperf
@pytest.mark.parametrize("mode", ["udp", "tcp"])  # over TCP it sends before it has its replies
def test_dnsperf_loses_nothing_and_sees_no_wrong_code(port: str, mode: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("".join(f"n{n % 100}.example A\n" for n in range(4_000)))
    words = ["-d", str(queries), "-n", "1", "-q", "100", "-c", "4", "-t", f"{PATIENCE_S:.0f}"]
    said = output_of("dnsperf", "-s", "127.0.0.1", "-p", port, "-m", mode, *words)
    assert re.search(r"Queries completed:\s+4000 \(100.00%\)", said), said
    assert re.search(r"Response codes:\s+NOERROR 4000 \(100.00%\)", said), said


# -- a program's own resolver ----------------------------------------------------------------------

# Programs that run inside end with `unshare`, however that ends.
APART = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
INSIDE = """
set -e
ip link set lo up
printf 'nameserver 127.0.0.1\\noptions timeout:20 attempts:1\\n' > {folder}/resolv.conf
printf 'hosts: dns\\n' > {folder}/nsswitch.conf
mount --bind {folder}/resolv.conf /etc/resolv.conf
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf
{python} -m nodes ts 5301 --table {folder}/table.txt --answer-unknown > {folder}/ts.out &
{first}
{python} -m nodes ls 5300 127.0.0.1 5301 --dns 53 --dns-timeout {patience} --timeout {patience} \\
    {words} > {folder}/ls.out 2> {folder}/ls.err &
until grep -q 'is up' {folder}/ls.err; do kill -0 $!; sleep 0.02; done
{resolve}
"""


def resolved(folder: Path, resolve: str, first: str = "", words: str = "") -> str:
    """Return what a program says whose resolver asks LS by DNS, in namespaces of its own.

    `first` is run before LS is started, with these words besides.
    """
    (folder / "table.txt").write_text(ROWS)
    script = INSIDE.format(
        folder=folder, python=sys.executable, patience=PATIENCE_S, resolve=resolve, first=first,
        words=words,
    )  # fmt: skip
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


apart = pytest.mark.skipif(
    not can_be_apart(APART), reason="no namespaces here (Debian, as root: apt-get install iproute2)"
)


@apart
@at_once
def test_a_glibc_program_resolves_names_or_hears_of_none(tmp_path: Path) -> None:
    """2: that is no trouble with the server, which would have it ask again later."""
    six = "import socket; print(socket.getaddrinfo('one.example', 0, socket.AF_INET6)[0][4][0])"
    wrong = "import socket; socket.getaddrinfo('nowhere.example', 0)"
    said = resolved(
        tmp_path,
        f'getent ahosts many.example; {sys.executable} -c "{six}"; '
        f'getent ahosts nowhere.example || echo $?; {sys.executable} -c "{wrong}" 2>&1 | tail -n 1',
    )
    *found, code, wrong = said.splitlines()
    assert {line.split()[0] for line in found} == {
        "10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1",
    }  # fmt: skip
    assert code == "2" and "Name or service not known" in wrong


PROGRAM = """\
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **words) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[64];
    if (count != 2 || getaddrinfo(words[1], 0, &hints, &found)) return 1;
    for (; found; found = found->ai_next) {
        void *at = found->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, at, text, sizeof text));
    }
    return 0;
}
"""


@apart
@need("musl-gcc", "musl-tools")
@at_once
def test_a_musl_program_resolves_names(tmp_path: Path) -> None:
    """musl asks for both types at once, from one socket, and waits for both."""
    program = musl_program(tmp_path)
    said = resolved(tmp_path, f"{program} one.example; {program} four.example")
    assert sorted(said.split()) == ["10.0.0.1", "10.0.0.4", "2001:db8::1"]


def musl_program(folder: Path) -> Path:
    """Compile what prints all addresses of a name."""
    (folder / "resolve.c").write_text(PROGRAM)
    subprocess.run(["musl-gcc", "-static", "-o", "resolve", "resolve.c"], cwd=folder, check=True)
    return folder / "resolve"


# A resolver that knows nothing of what the house has for itself: in `corp` there is no name.
OUTER = """
dnsmasq --keep-in-foreground --port=5302 --listen-address=127.0.0.1 --bind-interfaces --no-resolv \\
    --no-hosts --pid-file= --conf-file=/dev/null --user=root --log-facility=- --local=/corp/ &
"""
BESIDE_OUTER = {"first": OUTER, "words": "--dns-upstream 127.0.0.1:5302"}
TIMES = 5  # enough that each is first at some time


@apart
@dnsmasq
@need("musl-gcc", "musl-tools")
@at_once
def test_musl_finds_a_name_of_a_table_that_a_resolver_denies(tmp_path: Path) -> None:
    """The resolver of musl asks for both types; a single NXDOMAIN is the end of the name."""
    program = musl_program(tmp_path)
    asks = f"for n in $(seq {TIMES}); do {program} web.corp; done"
    assert resolved(tmp_path, asks, **BESIDE_OUTER).split() == ["10.0.0.7"] * TIMES


@apart
@dig
@dnsmasq
@at_once
def test_glibc_and_dig_hear_that_a_name_of_a_table_exists(tmp_path: Path) -> None:
    """[P33]: the table has nothing of dig's types, and a resolver denies the name."""
    asks = ["getent ahosts web.corp"] * TIMES + ["echo --"]
    kinds = ["AAAA", "MX", "HTTPS", "TXT"] * TIMES
    asks += [f"dig +tries=1 +time={PATIENCE_S:.0f} web.corp {kind}" for kind in kinds]
    words = f"{BESIDE_OUTER['words']} --bound no_data_s={PATIENCE_S}"
    said = resolved(tmp_path, "; ".join(asks), OUTER, words)
    of_glibc, _, of_dig = said.partition("--\n")
    assert {line.split()[0] for line in of_glibc.splitlines()} == {"10.0.0.7"}
    assert re.findall(r"status: (\w+)", of_dig) == ["NOERROR"] * len(kinds)
    assert of_dig.count("ANSWER: 0") == len(kinds)
