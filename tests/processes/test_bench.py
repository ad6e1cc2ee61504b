"""The bench runs and checks its replies. Never for time: what it measures here is thrown away.

All runs are begun at once with the first test: they wait a good deal, each for itself.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.process
ODD = "good; REFUSED; each reply twice; TC, and TCP is closed"
# Command lines, by the test that looks at what comes of them; {}: the file that they write.
RUNS = {
    "test_a_little_of_the_bench_before_resolvers": [
        "resolvers.py", "--only", "fails,dead,guesses", "--seconds", "0.1", "--rounds", "1",
        "--forge-seconds", "0.2", "--results", "{}",
    ],
    "test_a_little_of_the_first_good_answer": [
        "first_good.py", "--parts", "refused,mixed,ends", "--questions", "1000", "--rounds", "1",
        "--in-flight", "20", "--before", str(ROOT), "--results", "{}",
    ],
    "test_a_little_of_the_tail": [
        "tail.py", "--only", "deterministic", "--lookups", "800", "--json", "{}",
    ],
    "test_a_moment_of_the_bench": [
        "throughput.py", "--seconds", "0.05", "--rounds", "1", "--workloads", "1,1x100,10x20",
        "--peers", "streams,batched,relay,lockstep", "--json", "{}",
    ],
    "test_a_little_of_the_dns_bench": [
        "dns.py", "--seconds", "0.1", "--rounds", "1", "--in-flight", "20,40", "--results", "{}",
    ],
    "test_a_round_of_cpu_beside_another_checkout": [
        "cpu.py", "--before", "{folder}", "--rounds", "1", "--seconds", "0.05",
        "--only", "1x100,dns 20",
    ],
    "test_a_few_of_the_odd_resolvers": [
        "oddities.py", "--kinds", ODD, "--questions", "6", "--results", "{}",
    ],
}  # fmt: skip


class Run:
    """A bench that runs. Its output goes to files, so that it waits for nobody."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self._out, self._err = folder / "out", folder / "err"
        self._results = folder / "results"
        for name in ("core", "nodes"):
            (folder / name).symlink_to(ROOT / name)
        script, *words = [word.format(self._results, folder=folder) for word in words]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, f"bench/{script}", *words], cwd=ROOT, stdout=out, stderr=err
            )

    def done(self) -> "Done":
        code = self.process.wait(120)
        assert self._results.exists() or code == 0, self._err.read_text()
        results = self._results.read_text() if self._results.exists() else ""
        return Done(code, results, self._out.read_text(), self._err.read_text())


@dataclass(frozen=True)
class Done:
    """Exit code, what it wrote as results, and what it said."""

    code: int
    results: str
    out: str
    err: str


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Run]]:
    wanted = {item.name for item in request.session.items}
    with contextlib.ExitStack() as stack:
        runs = {}
        for name, words in RUNS.items():
            if name in wanted:
                run = runs[name] = Run(tmp_path_factory.mktemp("bench"), words)
                stack.callback(run.process.wait)
                stack.callback(run.process.terminate)
        yield runs


@pytest.fixture
def done(request: pytest.FixtureRequest, running: dict[str, Run]) -> Done:
    """The end of the run that `RUNS` has for this test."""
    return running[request.node.name].done()


def test_a_few_of_the_odd_resolvers(done: Done) -> None:
    """Each has a row; the exit code says whether what shall be is kept."""
    assert (done.code == 1) == ("NOT kept" in done.results)
    alone = ("data", "REFUSED", "data", "SERVFAIL")
    for kind, code in zip(ODD.split("; "), alone, strict=True):
        row = rf"(?m)^\| {kind} \| \**data\** \|.*\| \**{code}\** \|"
        assert re.search(row, done.results), done.results


def test_a_round_of_cpu_beside_another_checkout(done: Done) -> None:
    """The other one is a copy of this; DNS is left out without dnsperf, and a line says so."""
    assert done.code == 0, done.out + done.err
    row = r"(?m)^(1x100|dns 20) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ to [\d.]+$"
    assert re.findall(row, done.out) == ["1x100", "dns 20"][: 1 if "without DNS" in done.out else 2]


@pytest.mark.skipif(
    shutil.which("dnsperf") is None, reason="no dnsperf here (Debian: apt-get install dnsperf)"
)
def test_a_little_of_the_dns_bench(done: Done) -> None:
    """Others that are installed are asked, too, and said to be missing where they are not."""
    assert done.code == 0, done.out + done.err
    for name in ("ours", "dnsmasq --all-servers", "smartdns"):
        rows = re.findall(rf"(?m)^\| \d+ \| {name} \|", done.results)
        assert len(rows) == (0 if f"without {name} " in done.out else 2)


def test_a_moment_of_the_bench(done: Done) -> None:
    assert done.code == 0, done.err
    cells = {(c["workload"], c["system"]) for c in json.loads(done.results)["cells"]}
    assert {(w, s) for w in ("1", "1x100", "10x20") for s in ("ours", "streams")} <= cells
    assert ("10x20", "lockstep") not in cells and ("1x100", "lockstep") in cells
    assert len(re.findall(r"(?m)^1x100 +ours", done.out)) == 1


def test_a_little_of_the_tail(done: Done) -> None:
    """Every reply is checked; the results compare questions, not times."""
    assert done.code == 0, done.err
    extra = {row["policy"]: row["extra"] for row in json.loads(done.results)["rows"]}
    assert extra["single"] == 0 and extra["race"] == 1 and 0 <= extra["hedge"] < 0.0501


def test_a_little_of_the_first_good_answer(done: Done) -> None:
    """Bounds may be missed here; what lacks a program is left out, and a line says so."""
    left_out = "".join(re.findall("(?m)^without (.*)", done.out))
    for part, pattern in (
        ("refused", r"\| 20 \| (ours|before|dnsmasq --all-servers) \| [1-9]"),
        ("mixed", r"\| 500 \| (ours|before) \| [1-9]"),
        ("ends", r"\| (?:300|1,500) \| (ours|before) \| [1-9]"),
    ):
        rows = re.findall(f"(?m)^{pattern}", done.results)
        names = {"ours", "before"} | ({"dnsmasq --all-servers"} if part == "refused" else set())
        assert set(rows) == (set() if part in left_out else names), part
    assert done.code == ("NOT " in done.results), done.out + done.err


def test_a_little_of_the_bench_before_resolvers(done: Done) -> None:
    """Ours tells no failure where there is an answer, and believes no forger, whatever it takes."""
    assert done.code == 0, done.out + done.err
    assert re.search(r"(?m)^\| ours \| 100.00% \| 0.00% \| 0.00% \|", done.results)
    forgers = re.findall(r"(?m)^\| (blind|knowing) \| [1-9][\d,]* \| 0 \|", done.results)
    assert forgers == ["blind", "knowing"]


@pytest.fixture
def late_resolver(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts `bench/peers/late.c` with these words."""
    program = tmp_path / "late"
    subprocess.run(["cc", "-o", program, ROOT / "bench" / "peers" / "late.c"], check=True)
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> subprocess.Popen[str]:
            process = subprocess.Popen([program, *words], stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


_QUERY = b"ab\1\0\0\1\0\0\0\0\0\0\2n1\7example\0\0\1\0\1"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here (cc)")
@pytest.mark.parametrize(
    ("words", "heads"),
    [
        ((), [b"\x81\x80\0\1\0\1"]),
        (("--delay", "5"), [b"\x81\x80\0\1\0\1"]),
        (("--code", "5"), [b"\x81\x85\0\1\0\0"]),
        (("--twice",), [b"\x81\x80\0\1\0\1"] * 2),
        (("--cut",), [b"\x83\x80\0\1\0\0"]),
    ],
)
def test_the_late_resolver_does_as_it_is_told(
    late_resolver: Callable[..., subprocess.Popen[str]], words: tuple[str, ...], heads: list[bytes]
) -> None:
    """Over UDP, and over TCP, where it reads on behind the end of its side."""
    process = late_resolver(*words)
    assert process.stdout is not None
    where = ("127.0.0.1", int(process.stdout.readline().rsplit(":", 1)[1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(where)
        client.send(_QUERY)
        for head in heads:
            said = client.recv(512)
            assert said[:2] + said[2:8] == b"ab" + head and said[12:].startswith(_QUERY[12:])
            assert said.endswith(b"\x0a\0\0\1") == (head[5] == 1)
    replies = 1 if words == ("--cut",) else 3
    with socket.create_connection(where, timeout=10) as stream:
        stream.sendall((len(_QUERY).to_bytes(2) + _QUERY) * 3)
        stream.shutdown(socket.SHUT_WR)
        data = b""
        while more := stream.recv(4096):
            data += more
    assert data.count(b"ab\x81") == replies
    process.terminate()
    assert process.stdout.readline() == "1 3\n"  # by UDP, by TCP


def test_a_wrong_reply_ends_the_run(tmp_path: Path) -> None:
    """An answer with another address, and one that comes twice."""
    script = tmp_path / "wrong.py"
    script.write_text(
        "import socket, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'bench')!r})\n"
        "from load import Load, WrongReply\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "for said in (b'a 10.0.0.9 A IN\\n', b'a 10.0.0.1 A IN\\n' * 2):\n"
        "    load = Load(listener.getsockname()[1], [b'a', b'b'], [b'a 10.0.0.1 A IN', b'b 10.0.0.2"
        " A IN'], connections=1, window=1)\n"
        "    server, _ = listener.accept()\n"
        "    server.sendall(said)\n"
        "    try:\n"
        "        load.run(5.0)\n"
        "    except WrongReply as wrong:\n"
        "        print('wrong', wrong)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.count("wrong not owed") == 2, done.stderr


def test_a_name_that_is_none_is_said_in_one_line() -> None:
    words = [sys.executable, "bench/throughput.py", "--workloads", "2x2"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("there is no workload '2x2'; there are")
