"""The DNS face under tools written by others: dig, kdig, drill, dnsperf, and a program's resolver.

The whole system runs as processes. `make test-dns` runs these tests alone; each is skipped with a
clear line where its program is missing, and `make parts` installs them.

Not here: how fast it is (`bench/dns.py`).
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, ROOT, Program, Programs, programs

pytestmark = [pytest.mark.process, pytest.mark.dns]
ROWS = """\
one.example 10.0.0.1 A
One.example 2001:db8::1 AAAA
many.example 10.0.0.1 A
many.example 10.0.0.2 A
many.example 10.0.0.3 A
four.example 10.0.0.4 A
"""
LONG = ".".join(["long" * 15] * 3) + ".example"


def need(program: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(program) is None,
        reason=f"no {program} here (Debian: apt-get install {package})",
    )


dig = need("dig", "bind9-dnsutils")
kdig = need("kdig", "knot-dnsutils")
drill = need("drill", "ldnsutils")
dnsperf = need("dnsperf", "dnsperf")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole system; the port of its DNS face."""
    folder = tmp_path_factory.mktemp("dns")
    with programs(folder) as some:
        _, port = system(some, folder)
        yield port


def system(some: Programs, folder: Path, *words: object) -> tuple[Program, str]:
    table = folder / "table.txt"
    long = "".join(f"{LONG} 2001:db8::{n} AAAA\n" for n in range(1, 17))
    numbered = "".join(f"n{n}.example 10.1.0.{n} A\n" for n in range(100))
    table.write_text(ROWS + long + numbered)
    # The second is silent about what it does not know, so an unknown name takes its time.
    ports = [some.ts(table, 0, "--answer-unknown")[1], some.ts(table)[1]]
    ls, _ = some.ls(ports, "--dns", 0, "--dns-timeout", 0.3, *words)
    found = re.search(r"DNS on .*:(\d+)", ls.log)
    assert found is not None
    return ls, found[1]


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


Ask = Callable[..., str]


@pytest.fixture
def ask(port: str) -> Ask:
    """dig."""

    def with_dig(*words: str) -> str:
        return run("dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=5", *words)

    return with_dig


def status(said: str) -> str:
    found = re.search(r"status: (\w+)", said)
    assert found is not None, said
    return found[1]


# -- dig -------------------------------------------------------------------------------------------


@dig
@pytest.mark.parametrize("way", [[], ["+tcp"], ["+bufsize=512"], ["+noedns"], ["+nocookie"]])
def test_dig_gets_an_address_in_every_way_of_asking(ask: Ask, way: list[str]) -> None:
    said = ask("one.example", *way)
    assert status(said) == "NOERROR"
    assert re.search(r"^one\.example\.\s+60\s+IN\s+A\s+10\.0\.0\.1$", said, re.M)
    assert ("EDNS: version: 0" in said) is (way != ["+noedns"])
    assert "warning" not in said.lower()


@dig
def test_dig_gets_aaaa_and_an_empty_answer_for_a_name_that_has_only_a(ask: Ask) -> None:
    assert ask("one.example", "AAAA", "+short") == "2001:db8::1\n"
    said = ask("four.example", "AAAA")
    assert status(said) == "NOERROR" and "ANSWER: 0" in said


@dig
def test_dig_sees_its_own_spelling(ask: Ask) -> None:
    assert re.search(r"^oNe\.ExAmPlE\.\s+60\s+IN\s+A", ask("oNe.ExAmPlE"), re.M)


@dig
def test_dig_sees_addresses_turned_round(ask: Ask) -> None:
    firsts = {ask("many.example", "+short").split()[0] for _ in range(3)}
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


@dig
def test_dig_sees_why_there_is_no_answer(ask: Ask) -> None:
    said = ask("nowhere.example")
    assert status(said) == "SERVFAIL" and "EDE: 22 (No Reachable Authority)" in said


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
def test_dig_asks_again_over_tcp_when_the_answer_does_not_fit(ask: Ask) -> None:
    plain = ask(LONG, "AAAA", "+noedns")
    assert "Truncated, retrying in TCP mode" in plain and "ANSWER: " in plain
    count = len(re.findall(r"IN\s+AAAA\s+2001:db8::", plain))
    assert count > 8
    assert len(re.findall(r"IN\s+AAAA\s+2001:db8::", ask(LONG, "AAAA", "+notcp"))) == count
    assert "ANSWER: 0" in ask(LONG, "AAAA", "+noedns", "+ignore")


@dig
def test_every_ts_says_no_and_dig_hears_nxdomain(tmp_path: Path) -> None:
    with programs(tmp_path) as some:
        table = some.table("t", "one.example 10.0.0.1")
        ports = [some.ts(table, 0, "--answer-unknown")[1] for _ in range(2)]
        ls, _ = some.ls(ports, "--dns", 0, "--workers", 2, linked=False)
        ls.logs(" is up", 6)
        found = re.search(r"DNS on .*:(\d+)", ls.log)
        assert found is not None
        for way in ("+notcp", "+tcp"):
            said = run("dig", "@127.0.0.1", "-p", found[1], "nowhere.example", way)
            assert status(said) == "NXDOMAIN"
        ls.signal(signal.SIGTERM)
        assert ls.exits() == 0


# -- others ----------------------------------------------------------------------------------------


@kdig
def test_kdig_gets_a_hundred_names_over_one_connection(port: str) -> None:
    names = [f"n{n}.example" for n in range(100)]
    said = run("kdig", "@127.0.0.1", "-p", port, "+tcp", "+keepopen", "+short", *names)
    assert said.split() == [f"10.1.0.{n}" for n in range(100)]


@drill
@pytest.mark.parametrize("way", [[], ["-t"]])
def test_drill_gets_its_answer(port: str, way: list[str]) -> None:
    said = run("drill", "-p", port, *way, "@127.0.0.1", "one.example")
    assert re.search(r"^one\.example\.\s+60\s+IN\s+A\s+10\.0\.0\.1$", said, re.M)


@dnsperf
@pytest.mark.parametrize("mode", ["udp", "tcp"])
def test_dnsperf_loses_nothing_and_sees_no_wrong_code(port: str, mode: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("".join(f"n{n % 100}.example A\n" for n in range(5000)))
    words = ["-d", str(queries), "-n", "1", "-q", "100", "-c", "4", "-t", "10"]
    said = run("dnsperf", "-s", "127.0.0.1", "-p", port, "-m", mode, *words)
    assert re.search(r"Queries completed:\s+5000 \(100.00%\)", said), said
    assert re.search(r"Response codes:\s+NOERROR 5000 \(100.00%\)", said), said


# -- a program's own resolver ----------------------------------------------------------------------

APART = ["unshare", "--mount", "--net"]
INSIDE = """
set -e
ip link set lo up
printf 'nameserver 127.0.0.1\\noptions timeout:5 attempts:1\\n' > {folder}/resolv.conf
printf 'hosts: dns\\n' > {folder}/nsswitch.conf
mount --bind {folder}/resolv.conf /etc/resolv.conf
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf
{python} -m nodes ts 5001 --table {folder}/table.txt --answer-unknown > {folder}/ts.out &
TS=$!
{python} -m nodes ls 5000 127.0.0.1 5001 --dns 53 > {folder}/ls.out 2> {folder}/ls.err &
LS=$!
trap 'kill $LS $TS; wait' EXIT
for _ in $(seq 200); do grep -q 'is up' {folder}/ls.err && break; sleep 0.05; done
{resolve}
"""


def can_be_apart() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return (
        subprocess.run([*APART, "ip", "link", "set", "lo", "up"], capture_output=True).returncode
        == 0
    )


def resolved(folder: Path, resolve: str) -> str:
    """What a program says whose resolver asks the face, in namespaces of its own."""
    (folder / "table.txt").write_text(ROWS)
    script = INSIDE.format(folder=folder, python=sys.executable, resolve=resolve)
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


apart = pytest.mark.skipif(
    not can_be_apart(), reason="no namespaces here (Debian, as root: apt-get install iproute2)"
)


@apart
def test_a_glibc_program_resolves_names(tmp_path: Path) -> None:
    six = "import socket; print(socket.getaddrinfo('one.example', 0, socket.AF_INET6)[0][4][0])"
    said = resolved(tmp_path, f'getent ahosts many.example; {sys.executable} -c "{six}"')
    found = {line.split()[0] for line in said.splitlines()}
    assert found == {"10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"}


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
def test_a_musl_program_resolves_names(tmp_path: Path) -> None:
    """musl asks for both types at once, from one socket, and waits for both."""
    (tmp_path / "resolve.c").write_text(PROGRAM)
    subprocess.run(["musl-gcc", "-static", "-o", "resolve", "resolve.c"], cwd=tmp_path, check=True)
    said = resolved(tmp_path, f"{tmp_path}/resolve one.example; {tmp_path}/resolve four.example")
    assert sorted(said.split()) == ["10.0.0.1", "10.0.0.4", "2001:db8::1"]
