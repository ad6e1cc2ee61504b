"""Long and large experiments with the real programs; `make soak` runs all and prints the results.

Each experiment is a function that returns one line of figures, and raises when what it is to show
does not hold. How long something took is printed and not judged: the machine's speed decides
nothing.

Not here: crowds and floods of clients (`tests/processes/test_system.py`), that clients share a turn
(`tests/io/test_loop.py`), that a reload goes by slices (`tests/nodes/test_reload.py`), and that
each question ends in its time (`tests/sim/`).

Run `python3 -m tests.soak [NAME ...]`.
"""

import argparse
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.processes import PATIENCE_S, Programs, Talk, programs
from tests.support.reconfiguring import Load, Reconfigured, two_equal_servers

ROWS = [f"host{n}.example 10.1.{n >> 8}.{n & 255}" for n in range(2_000)]
ANSWERS = {row.split()[0].encode(): f"{row} A IN".encode() for row in ROWS}
NAMES = list(ANSWERS)


def proc(pid: int, file: str, key: str) -> int:
    """Read a number out of /proc."""
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(text.split(f"{key}:")[1].split()[0])


def halves(run: Programs, *words: object) -> tuple[int, int]:
    """Start a system with the rows split between two TSs; return LS's port and pid."""
    _, one = run.ts(run.table("even", *ROWS[::2]))
    _, two = run.ts(run.table("odd", *ROWS[1::2]))
    ls, port = run.ls([one, two], *words)
    return port, ls.process.pid


def closes(run: Programs) -> str:
    """Ten thousand sessions that end in every way; each reply counts."""
    port, _ = halves(run, "--timeout", 60)
    chance = random.Random(1)
    resets = lost = 0
    for _ in range(10_000):
        names = [chance.choice(NAMES) for _ in range(chance.choice([0, 1, 3, 30, 300]))]
        quits = chance.random() < 0.7
        data = b"".join(name + b"\n" for name in names) + (b"QUIT\n" if quits else b"")
        talk = Talk(port)
        cut = chance.randint(0, len(data))
        talk.say(data[:cut])
        with suppress(BrokenPipeError):
            talk.say(data[cut:])
            if quits and chance.random() < 0.5:
                talk.say(chance.choice([b"x", b"junk\n" * 2_000, b"QUIT\n"]))
            elif not quits or chance.random() < 0.5:
                talk.end()
        if chance.random() < 0.05:
            time.sleep(0.01)  # a reader that is a little late
        try:
            got = talk.rest()
        except ConnectionResetError:
            resets += 1
            continue
        finally:
            talk.close()
        expected = Counter(ANSWERS[name] for name in names)
        if quits:
            expected[b"BYE"] += 1
        lost += (expected - Counter(got.split(b"\n"))).total()
    assert (resets, lost) == (0, 0), f"{resets} resets, {lost} replies lost"
    return "10,000 closes: no reset, no reply lost"


def lockstep(run: Programs) -> str:
    """Pipeline 100,000 names, again and again, while another client asks one by one."""
    port, _ = halves(run, "--timeout", 60)
    pipe, one = socket.create_connection(("127.0.0.1", port)), Talk(port)
    pipe.setblocking(False)
    one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    names = memoryview(b"".join(name + b"\n" for name in NAMES * 50))
    unsent, rounds, replies = names, 1, 0
    times: list[float] = []
    one.say(NAMES[0] + b"\n")
    asked_at = time.perf_counter()
    while len(times) < 500:
        readable, writable, _ = select.select([pipe, one.socket], [pipe], [], PATIENCE_S)
        assert readable or writable, "nothing moves any more"
        if one.socket in readable:
            assert one.hear(1) == [ANSWERS[NAMES[len(times)]]]
            times.append(time.perf_counter() - asked_at)
            asked_at = time.perf_counter()
            one.say(NAMES[len(times)] + b"\n")
        if pipe in readable:
            replies += pipe.recv(1 << 18).count(b"\n")
        if pipe in writable:
            unsent = unsent[pipe.send(unsent[: 1 << 16]) :]
        if not unsent and replies >= 100_000 * rounds:
            unsent, rounds = names, rounds + 1
    return (
        f"{replies:,} pipelined, 100,000 at a time, beside {len(times):,} in lockstep: "
        f"p50/p99/longest {shown(times)} ms"
    )


def shown(times: list[float]) -> str:
    """Write the median, the 99th percentile and the longest, in milliseconds."""
    times = sorted(times)
    places = times[len(times) // 2], times[len(times) * 99 // 100], times[-1]
    return "/".join(f"{each * 1000:.1f}" for each in places)


def hostile(run: Programs) -> str:
    """Let clients do their worst at once: what LS grows by, and whether others are served."""
    port, pid = halves(run, "--timeout", 5)
    served = Talk(port)
    served.say(NAMES[0] + b"\n")
    served.hear(1)
    before = proc(pid, "status", "VmRSS")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    deaf.setblocking(False)
    asking = (NAMES[1] + b"\n") * 5_000
    since = time.monotonic()
    while time.monotonic() - since < 0.5:
        try:
            deaf.send(asking)
            since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)
    after_deaf = proc(pid, "status", "VmRSS") - before
    trickle = Talk(port)
    trickle.say(b"x")
    endless = Talk(port)
    endless.say(b"z" * 10_000_000)
    after_endless = proc(pid, "status", "VmRSS") - before
    unknown = Talk(port)
    unknown.say(b"".join(b"unknown%d.example\n" % n for n in range(60_000)))
    times = []
    for n in range(300):
        asked_at = time.perf_counter()
        served.say(NAMES[n] + b"\n")
        assert served.hear(1) == [ANSWERS[NAMES[n]]]
        times.append(time.perf_counter() - asked_at)
    grown = proc(pid, "status", "VmRSS") - before
    assert after_deaf < 4 * 1024, f"{after_deaf} KiB for one who never reads"
    assert after_endless - after_deaf < 1024, "an endless line is kept"
    assert grown < 48 * 1024, f"{grown} KiB"
    return (
        f"LS grows by {after_deaf} KiB for one who never reads, {after_endless - after_deaf} for "
        f"10 MB without LF, {grown - after_endless} for 60,000 open names; "
        f"another's slowest of 300: {max(times) * 1000:.1f} ms"
    )


def kills(run: Programs) -> str:
    """Kill and restart a TS a hundred times under load."""
    even = run.table("even", *ROWS[::2])
    _, two = run.ts(run.table("odd", *ROWS[1::2]))
    victim, one = run.ts(even)
    _, port = run.ls([one, two], "--timeout", 5)
    chance = random.Random(2)
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    open_since: dict[bytes, float] = {}
    held, answered, timed_out, longest = b"", 0, 0, 0.0
    restarts, next_kill = 0, time.monotonic() + 0.2
    unused = list(NAMES)
    chance.shuffle(unused)
    while restarts < 100 or open_since:
        if restarts < 100 and time.monotonic() >= next_kill:
            victim.kill()
            victim, _ = run.ts(even, one)
            restarts += 1
            next_kill = time.monotonic() + chance.uniform(0.0, 0.3)
        if restarts < 100 and len(open_since) < 500:
            batch = [unused.pop() for _ in range(min(20, len(unused)))]
            with suppress(BlockingIOError):
                client.sendall(b"".join(name + b"\n" for name in batch))
            open_since.update(dict.fromkeys(batch, time.monotonic()))
        if not select.select([client], [], [], 0.02 if restarts < 100 else PATIENCE_S)[0]:
            assert restarts < 100, f"{len(open_since)} names are unanswered"
            continue
        *lines, held = (held + client.recv(1 << 18)).split(b"\n")
        for line in lines:
            name = line.split(b" ")[0]
            took = time.monotonic() - open_since.pop(name)  # KeyError: answered twice
            longest = max(longest, took)
            if line == name + b" - TIMED OUT":
                timed_out += 1
            else:
                assert line == ANSWERS[name], line
                answered += 1
            unused.insert(chance.randint(0, len(unused)), name)
    return (
        f"{restarts} kills: {answered:,} answered, {timed_out} timed out, none twice or wrong; "
        f"the longest took {longest:.2f} s"
    )


def rest(run: Programs) -> str:
    """Measure what LS does when there is nothing to do."""
    _, pid = halves(run)
    time.sleep(0.5)
    before = proc(pid, "status", "voluntary_ctxt_switches")
    time.sleep(10.0)
    turns = proc(pid, "status", "voluntary_ctxt_switches") - before
    assert turns <= 10, f"{turns} turns in 10 s"
    return f"at rest: {turns} wake-ups in 10 s"


def reload(run: Programs) -> str:
    """Let a TS read a million rows anew while one client loads it and another asks one by one.

    The rows of the two tables differ in every address, so each answer tells which of them it is
    from: no client hears the old one after the new one.
    """
    count = 1_000_000
    table = run.folder / "million.txt"
    write_rows(table, count, 10)
    ts, port = run.ts(table)
    before_kib = proc(ts.process.pid, "status", "VmRSS")
    write_rows(run.folder / "next", count, 11)
    (run.folder / "next").rename(table)
    load, one = Talk(port), Talk(port)
    one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times: dict[str, list[float]] = {"before": [], "during": [], "after": []}
    seen: Counter[int] = Counter()  # answers, by their first byte
    last = {load: 10, one: 10}
    phase, asked, owed = "before", 0, 0
    reload_began = reload_took = 0.0

    def hear(talk: Talk, line: bytes) -> None:
        name, address, *rest = line.split(b" ")
        n = int(name.removeprefix(b"host").removesuffix(b".example"))
        version, *place = map(int, address.split(b"."))
        assert (place, rest) == ([n >> 16, n >> 8 & 255, n & 255], [b"A", b"IN"]), line
        assert version in (10, 11) and version >= last[talk], f"{line!r} after {last[talk]}"
        last[talk] = version
        seen[version] += 1

    def ask() -> float:
        one.say(b"host%d.example\n" % (asked * 7919 % count))
        return time.perf_counter()

    asked_at = ask()
    while len(times["after"]) < 2_000:
        wanting = [load.socket] if owed < 500 else []
        readable, writable, _ = select.select([one.socket, load.socket], wanting, [], PATIENCE_S)
        assert readable or writable, "nothing moves any more"
        if one.socket in readable:
            (line,) = one.hear(1)
            times[phase].append(time.perf_counter() - asked_at)
            assert line.startswith(b"host%d.example " % (asked * 7919 % count))
            hear(one, line)
            if phase == "before" and len(times[phase]) == 2_000:
                ts.signal(signal.SIGHUP)
                phase, reload_began = "during", time.perf_counter()
            elif phase == "during" and not len(times[phase]) % 20 and " reloaded: " in ts.log:
                phase, reload_took = "after", time.perf_counter() - reload_began
            asked += 1
            asked_at = ask()
        if load.socket in readable:
            *lines, load.heard = (load.heard + load.socket.recv(1 << 18)).split(b"\n")
            for line in lines:
                hear(load, line)
            owed -= len(lines)
        if writable:
            numbers = range(seen.total(), seen.total() + 100)
            load.say(b"".join(b"host%d.example\n" % (number % count) for number in numbers))
            owed += 100
    assert seen[10] and seen[11], seen
    grown = proc(ts.process.pid, "status", "VmRSS") - before_kib
    figures = ", ".join(f"{name} {shown(sample)}" for name, sample in times.items())
    return (
        f"{count:,} rows anew in {reload_took:.1f} s beside {seen[10]:,} old answers and "
        f"{seen[11]:,} new; in lockstep, p50/p99/longest ms: {figures}; "
        f"afterwards {grown // 1024} MiB more"
    )


def reconfigured(run: Programs) -> str:
    """Change the configuration of two workers fifty times beside clients of lines and DNS, and
    dnsperf where it is there."""
    rounds = 50
    ls = Reconfigured(run, two_equal_servers(run))
    load = Load(ls)
    queries = run.folder / "queries"
    queries.write_text("".join(f"n{number}.example A\n" for number in range(100)))
    dnsperf = None
    if shutil.which("dnsperf"):
        words = ["-s", "127.0.0.1", "-p", str(ls.dns_port), "-c", "10", "-q", "20", "-l", "600"]
        dnsperf = subprocess.Popen(
            ["dnsperf", "-d", str(queries), *words], stdout=subprocess.PIPE, text=True
        )
    try:
        with load.running():
            for _ in range(rounds):
                ls.change()
        said = "no dnsperf here"
        if dnsperf is not None:
            dnsperf.send_signal(signal.SIGINT)
            out, _ = dnsperf.communicate(timeout=PATIENCE_S)
            found = re.findall(r"Queries (sent|completed|lost): +(\d+)", out)
            said = "dnsperf: " + ", ".join(f"{int(count):,} {what}" for what, count in found)
            lost = dict(found)["lost"]
            assert lost == "0", f"dnsperf lost {lost}"
    finally:
        if dnsperf is not None:
            dnsperf.kill()
            dnsperf.wait()
    assert load.lost == [], load.lost[:3]
    return (
        f"{rounds} configurations of two workers: {load.lines:,} lines and {load.queries:,} "
        f"queries, none lost, {len(load.ttls)} of the configurations seen; {said}"
    )


def write_rows(path: Path, count: int, first: int) -> None:
    with path.open("w") as file:
        file.writelines(
            f"host{n}.example {first}.{n >> 16}.{n >> 8 & 255}.{n & 255} A\n" for n in range(count)
        )


EXPERIMENTS: dict[str, Callable[[Programs], str]] = {
    function.__name__: function
    for function in (closes, lockstep, hostile, kills, rest, reload, reconfigured)
}


def main() -> int:
    """Run them; return 0 when each showed what it is to show."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.soak", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*EXPERIMENTS, []], metavar="NAME")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.names or EXPERIMENTS:
        with tempfile.TemporaryDirectory() as folder, programs(Path(folder)) as run:
            try:
                print(f"{name:9} {EXPERIMENTS[name](run)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{name:9} FAILED: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
