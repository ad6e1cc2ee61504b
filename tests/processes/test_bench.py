"""The bench runs and checks its replies. Never for time: what it measures here is thrown away.

Its programs wait a good deal, each for itself, and so they run at once.
"""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import ROOT

pytestmark = pytest.mark.process


def bench(script: str, *words: object, codes: tuple[int, ...] = (0,)) -> tuple[str, int]:
    """Run a bench; return its output and exit code, which is one of these."""
    done = subprocess.run(
        [sys.executable, f"bench/{script}.py", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout + done.stderr, done.returncode


def kept(path: Path, bench: str) -> dict[tuple[str, str, str], float | None]:
    """Return the values that a bench has kept, by case, system and figure."""
    section = json.loads(path.read_text())[bench]
    assert section["date"] and section["machine"] and section["command"].startswith("bench/")
    assert all(isinstance(row["unit"], str) for row in section["rows"])
    return {(row["case"], row["system"], row["figure"]): row["value"] for row in section["rows"]}


@at_once
def test_a_moment_of_the_bench(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    said, _ = bench(
        "throughput", "--seconds", 0.1, "--rounds", 1, "--workloads", "1,1x100,10x20",
        "--json", results, "--peers", "streams,batched,relay,lockstep",
    )  # fmt: skip
    values = kept(results, "throughput")
    cells = {(workload, system) for workload, system, _ in values}
    assert {(w, s) for w in ("1", "1x100", "10x20") for s in ("ours", "streams")} <= cells
    took_ms = [values["1x100", "ours", figure] for figure in ("p50", "p99", "p99.9")]
    assert None not in took_ms and took_ms == sorted(took_ms, key=float)
    assert ("10x20", "lockstep") not in cells and ("1x100", "lockstep") in cells
    assert len(re.findall(r"(?m)^1x100 +ours", said)) == 1


@at_once
def test_a_moment_of_the_quick_bench(tmp_path: Path) -> None:
    """Each program has its start-up; DNS is left out without dnsperf, and a line says so."""
    results = tmp_path / "results.json"
    said, _ = bench("quick", "--seconds", 0.05, "--rounds", 1, "--json", results)
    values = kept(results, "quick")
    cases = {case for case, _, _ in values}
    assert cases >= {"1", "1x100", "50x100", "start-up"}
    assert ("without DNS" in said) == ("DNS, 20 in flight" not in cases)
    for program in ("ts --help", "ls --help", "client --help", "ts, ready", "ls, ready"):
        assert values["start-up", "ours", program]
    assert re.search(r"(?m)^1x100 +ours .*\n", said) and "| ts, ready |" in said


def test_pictures_are_drawn_from_results_that_were_kept(tmp_path: Path) -> None:
    """All that the repository has; none without matplotlib, and a line for each says so."""
    said, _ = bench("pictures", "--to", tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    names = {"latency.svg", "sizes.svg", "tail.svg", "dns.svg"}
    assert drawn == (set() if "no picture" in said else names)
    for path in tmp_path.iterdir():
        width = re.search(r'<svg [^>]*?width="([\d.]+)pt"', path.read_text())
        assert width and float(width[1]) == 600  # 800 px


@at_once
def test_a_little_of_the_tail(tmp_path: Path) -> None:
    """Every reply is checked; the results compare questions, not times."""
    results = tmp_path / "results.json"
    bench("tail", "--only", "deterministic", "--lookups", 800, "--json", results)
    values = kept(results, "tail")
    extra = [values["deterministic", p, "extra questions"] for p in ("single", "race", "hedge")]
    assert extra[:2] == [0, 1] and extra[2] is not None and 0 <= extra[2] < 0.0501


dnsperf = pytest.mark.skipif(
    shutil.which("dnsperf") is None, reason="no dnsperf here (Debian: apt-get install dnsperf)"
)


@dnsperf
@at_once
def test_a_little_of_the_dns_bench(tmp_path: Path) -> None:
    """Others that are installed are asked, too, and said to be missing where they are not."""
    page, results = tmp_path / "DNS.md", tmp_path / "results.json"
    words = ("--seconds", 0.3, "--rounds", 1, "--in-flight", "20,40", "--results", page)
    said, _ = bench("dns", *words, "--json", results)
    text, values = page.read_text(), kept(results, "dns")
    for name in ("ours", "dnsmasq --all-servers", "smartdns", "dnsdist (one)", "unbound (one)"):
        is_there = f"without {name} " not in said
        rows = re.findall(rf"(?m)^\| \d+ \| {re.escape(name)} \|", text)
        assert len(rows) == (2 if is_there else 0)
        assert all(((f"{n} in flight", name, "p99.9") in values) == is_there for n in (20, 40))


@at_once
def test_a_little_of_the_bench_before_resolvers(tmp_path: Path) -> None:
    """Ours tells no failure where there is an answer, and believes no forger, whatever it takes."""
    page, results = tmp_path / "RESOLVERS.md", tmp_path / "results.json"
    bench(
        "resolvers", "--only", "fails,dead,guesses", "--seconds", 0.1, "--rounds", 1,
        "--forge-seconds", 0.2, "--results", page, "--json", results,
    )  # fmt: skip
    values = kept(results, "resolvers")
    assert values["one fails fast", "ours", "good"] == 1
    assert ("one is dead, both", "ours", "NXDOMAIN p99.9") in values
    text = page.read_text()
    assert re.search(r"(?m)^\| ours \| 100.00% \| 0.00% \| 0.00% \|", text)
    forgers = re.findall(r"(?m)^\| (blind|knowing) \| [1-9][\d,]* \| 0 \|", text)
    assert forgers == ["blind", "knowing"]


@dnsperf
@at_once
def test_a_little_of_the_bench_of_caches(tmp_path: Path) -> None:
    """A name that a cache does not keep ends the bench; ratios and verdicts fit what was kept."""
    page, results = tmp_path / "RESOLVERS.md", tmp_path / "results.json"
    said, _ = bench(
        "resolvers", "--only", "cached", "--seconds", 0.4, "--rounds", 1, "--in-flight", 20,
        "--results", page, "--json", results,
    )  # fmt: skip
    if "without cached" in said:
        pytest.skip("no Knot DNS here (Debian: apt-get install knot)")
    values, text = kept(results, "resolvers"), page.read_text()
    ours, others = "ours, --cache 32", {"ours without": "ours", "unbound's": "unbound (one)"}
    if "without unbound (one) " in said:
        del others["unbound's"]
    told = re.findall(
        r"to ([a-z' ]+) ([\d.]+) at 20 \(at most ([\d.]+): (kept|NOT reached)\)", text
    )
    assert {other for other, *_ in told} == set(others)
    for other, ratio, most, verdict in told:
        cpu, its = (values["cached, 20 in flight", name, "CPU"] for name in (ours, others[other]))
        assert cpu and its and float(ratio) == pytest.approx(cpu / its, abs=0.006)
        assert (verdict == "kept") == (float(ratio) <= float(most))


@at_once
def test_a_little_of_the_first_good_answer(tmp_path: Path) -> None:
    """Bounds may be missed here; what lacks a program is left out, and a line says so."""
    page, results = tmp_path / "FIRST_GOOD.md", tmp_path / "results.json"
    said, code = bench(
        "first_good", "--parts", "refused,mixed,ends", "--questions", 1_000, "--rounds", 1,
        "--in-flight", 20, "--before", ROOT, "--results", page, "--json", results, codes=(0, 1),
    )  # fmt: skip
    values = kept(results, "first_good")
    text = page.read_text()
    left_out = "".join(re.findall("(?m)^without (.*)", said))
    for part, pattern in (
        ("refused", r"\| 20 \| (ours|before|dnsmasq --all-servers) \| [1-9]"),
        ("mixed", r"\| 500 \| (ours|before) \| [1-9]"),
        ("ends", r"\| (?:300|1,500) \| (ours|before) \| [1-9]"),
    ):
        rows = re.findall(f"(?m)^{pattern}", text)
        names = {"ours", "before"} | ({"dnsmasq --all-servers"} if part == "refused" else set())
        assert set(rows) == (set() if part in left_out else names), part
        assert (part in left_out) != any(case.startswith(f"{part}, ") for case, _, _ in values)
    assert (code == 1) == ("NOT " in text), said


@at_once
def test_a_few_of_the_odd_resolvers(tmp_path: Path) -> None:
    """Each has a row; the exit code says whether what shall be is kept."""
    page, results = tmp_path / "ODD.md", tmp_path / "results.json"
    kinds = "good; REFUSED; each reply twice; TC, and TCP is closed"
    words = ("--kinds", kinds, "--questions", 6, "--results", page, "--json", results)
    _, code = bench("oddities", *words, codes=(0, 1))
    text = page.read_text()
    assert (code == 1) == ("NOT kept" in text)
    for kind, alone in zip(kinds.split("; "), ("data", "REFUSED", "data", "SERVFAIL"), strict=True):
        assert re.search(rf"(?m)^\| {kind} \| \**data\** \|.*\| \**{alone}\** \|", text), text
        assert (f"{kind}, alone", "ours", "p99") in kept(results, "odd")


@at_once
def test_a_round_of_cpu_beside_another_checkout(tmp_path: Path) -> None:
    """The other one is a copy of this; DNS is left out without dnsperf, and a line says so."""
    for name in ("core", "nodes"):
        (tmp_path / name).symlink_to(ROOT / name)
    results = tmp_path / "results.json"
    words = ("--before", tmp_path, "--rounds", 1, "--seconds", 0.4, "--only", "1x100,dns 20")
    said, _ = bench("cpu", *words, "--json", results)
    assert {case for case, _, _ in kept(results, "cpu")} >= {"1x100"}
    rows = re.findall(r"(?m)^(1x100|dns 20) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ to [\d.]+$", said)
    assert rows == (["1x100"] if "without DNS" in said else ["1x100", "dns 20"])


@at_once
def test_a_round_of_what_tls_costs(tmp_path: Path) -> None:
    """Parts that lack a program are left out, and a line says so; verdicts fit what was kept."""
    page, results = tmp_path / "TLS.md", tmp_path / "results.json"
    words = ("--rounds", 1, "--seconds", 0.2, "--results", page, "--json", results)
    said, _ = bench("tls", *words)
    left_out = "".join(re.findall("(?m)^without (.*)", said))
    if "handshakes" in left_out:
        pytest.skip("no openssl here (Debian: apt-get install openssl)")
    values, text = kept(results, "tls"), page.read_text()
    assert "medians of 1 alternating rounds of 0.2 s" in text
    for part, other in (("upstream", "UDP"), ("clients", "TCP")):
        for in_flight in (20, 100):
            case = f"{part}, {in_flight} in flight"
            assert ((case, "TLS", f"to {other}") in values) == (part not in left_out)
    for kind in ("no TLS", "TLS 1.3, EC P-256", "TLS 1.3, RSA 2048"):
        assert values["connections", kind, "CPU"]
    bounds = re.findall(
        r"(?m)^- (.*): TLS .* most ([\d.]+) times (\w+), .* ([\d.]+): (.*)\.$", text
    )
    assert len(bounds) == (0 if "upstream" in left_out else 3)
    for case, most, other, ratio, verdict in bounds:
        told = values[case, "TLS", f"to {other}"]
        assert told and float(ratio) == pytest.approx(told, abs=0.006)
        assert verdict == ("kept" if float(ratio) <= float(most) else "NOT kept")


@at_once
def test_a_moment_of_being_watched(tmp_path: Path) -> None:
    """A second bench puts its section beside that of the first, in place of its own former one."""
    results = tmp_path / "results.json"
    other = {"case": "a", "system": "b", "figure": "c", "value": None, "unit": ""}
    results.write_text(json.dumps({bench: {"rows": [other]} for bench in ("watching", "other")}))
    words = ("--ways", "10 scrapes/s", "--rounds", 1, "--seconds", 0.25, "--workloads", "1x100")
    bench("watching", *words, "--json", results)
    assert ("1x100", "10 scrapes/s", "scrape p99.9") in kept(results, "watching")
    assert ("a", "b", "c") not in kept(results, "watching")
    assert json.loads(results.read_text())["other"]["rows"] == [other]


@at_once
def test_a_little_of_workers(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    bench("workers", "--seconds", 0.3, "--rounds", 1, "--json", results)
    assert ("50x100", "--workers 2", "p99.9") in kept(results, "workers")


@at_once
def test_a_client_that_never_reads_a_stream(tmp_path: Path) -> None:
    """The bound may be missed here."""
    results = tmp_path / "results.json"
    bench("hostile", "--parts", "stream", "--json", results, codes=(0, 1))
    assert ("one stream of DNS", "LS", "p99.9") in kept(results, "hostile")


@pytest.mark.parametrize("text", ["", "[]", '{"dns": {}}'])
def test_a_file_that_has_no_results_is_kept(tmp_path: Path, text: str) -> None:
    """The bench says so before it measures anything."""
    results = tmp_path / "notes"
    results.write_text(text)
    said, _ = bench("tail", "--json", results, codes=(2,))
    assert f"--json: {results}" in said and results.read_text() == text


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
    late_resolver: Callable[..., subprocess.Popen[str]],
    words: tuple[str, ...],
    heads: list[bytes],
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
    said, _ = bench("throughput", "--workloads", "2x2", codes=(2,))
    assert said.startswith("there is no workload '2x2'; there are")


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the figures are those of Python 3.11")
def test_a_turn_costs_what_the_results_say() -> None:
    bench("turn", "--check", "bench/RESULTS.md")
