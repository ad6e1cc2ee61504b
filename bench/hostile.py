"""Cost of clients that ask much and never read: memory, and the waits of another client.

    python3 bench/hostile.py
    python3 bench/hostile.py --parts stream,lines

- *stream*: 20,000 equal queries for 59 KB on one DNS stream, in front of a resolver that has them;
- *lines*: 150 clients that ask 32,768 times each for an answer of 508 bytes, at LS and at a TS;
- *waiting*: 900 clients with 64 KiB of names each in LS's sockets before it reads the first;
- *circle*: sixteen clients that read, with 62,500 names each: every name has its answer.

Meanwhile another client asks, one question after the other; its slowest reply counts. Bounds stand
at the top; a missed bound ends the run with exit code 1. Not here: the same with smaller bounds, as
tests (`tests/processes/test_hostile.py`).
"""

import argparse
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from percentiles import percentiles
from results import Row, add_flag, figures, keep, latencies
from systems import ROOT, Process, free_port, node, peak_mb, running

STREAM_MB, LINES_MB, WAIT_S = 150, 200, 0.3
_WATCH_S = 5.0
_LONG = ",".join(f"10.{n}.{n}.{n}" for n in range(100, 133))  # x, these, A, IN: 508 bytes
_TEXT_STRINGS = 230  # of 255 bytes: 59 KB


class Watch:
    """Another client, which asks LS for a PONG again and again on one connection."""

    def __init__(self, port: int) -> None:
        self._stream = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.waits_ms: list[float] = []

    @property
    def slowest_s(self) -> float:
        return max(self.waits_ms, default=0.0) / 1000

    def ask(self) -> None:
        began = time.perf_counter()
        self._stream.send(b"PING\n")
        assert self._stream.recv(16) == b"PONG\n"
        self.waits_ms.append((time.perf_counter() - began) * 1000)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.ask()
            time.sleep(0.001)


Found = tuple[str, float, Watch]  # of a part: a title, MB, and the other client


def text_resolver() -> tuple[int, Callable[[], None]]:
    """Start a resolver that has 59 KB of text for every name, over TCP only; return its port, and
    a function that ends it."""
    record = b"\xc0\x0c\0\x10\0\1\0\0\0\x3c" + (_TEXT_STRINGS * 256).to_bytes(2)
    text = record + (b"\xff" + b"t" * 255) * _TEXT_STRINGS
    port = free_port()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", port))
    listener = socket.create_server(("127.0.0.1", port))

    def question(query: bytes) -> bytes:
        return query[12 : query.index(b"\0", 12) + 5]

    def by_datagrams() -> None:
        with suppress(OSError):
            while True:
                query, whence = datagrams.recvfrom(4096)
                head = query[:2] + b"\x83\x80\0\1\0\0\0\0\0\0"  # cut
                datagrams.sendto(head + question(query), whence)

    def by_streams() -> None:
        with suppress(OSError):
            while True:
                stream, _ = listener.accept()
                with stream, stream.makefile("rb") as queries:
                    while size := int.from_bytes(queries.read(2)):
                        query = queries.read(size)
                        head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
                        reply = head + question(query) + text
                        stream.sendall(len(reply).to_bytes(2) + reply)

    for serve in (by_datagrams, by_streams):
        threading.Thread(target=serve, daemon=True).start()

    def end() -> None:
        datagrams.close()
        listener.close()

    return port, end


def stream() -> Iterator[Found]:
    """Send 20,000 queries on one stream that is not read for a while."""
    resolver, end = text_resolver()
    dns = free_port()
    words = node("ls", 0, "--dns", dns, "--dns-upstream", f"127.0.0.1:{resolver}")
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = ""
        while not line.startswith("ls ready"):
            line = process.stdout.readline()
        watch = Watch(int(line.rsplit(":", 1)[1]))
        asked = b"\1\0\0\1\0\0\0\0\0\0\3big\7example\0\0\x10\0\1"
        one = (2 + len(asked)).to_bytes(2)
        data = memoryview(b"".join(one + (n % 65_536).to_bytes(2) + asked for n in range(20_000)))
        with socket.create_connection(("127.0.0.1", dns)) as client:
            client.setblocking(False)
            end_at = time.monotonic() + _WATCH_S
            while time.monotonic() < end_at:
                with suppress(BlockingIOError):
                    data = data[client.send(data) :] if data else data
                watch.ask()
        yield "LS: one stream of DNS", peak_mb(process.pid), watch
    finally:
        process.kill()
        process.wait()
        end()


def flood(stack: ExitStack, port: int, clients: int, data: bytes) -> list[socket.socket]:
    """Connect clients that send this, as far as it goes, and never read."""
    came = []
    for _ in range(clients):
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.send(data)
        came.append(client)
    return came


@contextlib.contextmanager
def site(table: str) -> Iterator[tuple[Process, Process]]:
    """Start a TS with this table, and LS in front of it; yield both."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name, ExitStack() as stack:
        path = Path(name) / "table"
        path.write_text(table)
        ts = stack.enter_context(running(node("ts", 0, "--table", path)))
        yield ts, stack.enter_context(running(node("ls", 0, "127.0.0.1", ts.port)))


def lines() -> Iterator[Found]:
    """Connect 150 clients to LS, and then to a TS."""
    table = "".join(f"x {address} A\n" for address in _LONG.split(","))
    for at_ls in (True, False):
        with site(table) as (ts, ls), ExitStack() as stack:
            asked = ls if at_ls else ts
            watch = Watch(asked.port)
            thread = threading.Thread(target=watch.run, args=(_WATCH_S,))
            thread.start()
            flood(stack, asked.port, 150, b"x\n" * 32_768)
            thread.join()
            for what, process in (("LS", ls), ("TS", ts))[not at_ls :]:
                where = "LS" if at_ls else "TS"
                yield f"{what}: 150 clients of {where}", peak_mb(process.pid), watch


def waiting() -> Iterator[Found]:
    """Connect 900 clients whose names are there before LS reads the first."""
    rows = "".join(f"n{n}.example 10.0.0.1 A\n" for n in range(8_000))
    names = b"".join(b"n%d.example\n" % (n % 8_000) for n in range(5_000))[: 64 * 1024]
    with site(rows) as (_, ls), ExitStack() as stack:
        watch = Watch(ls.port)
        watch.ask()
        clients = flood(stack, ls.port, 899, b"")
        watch.ask()  # they are let in
        os.kill(ls.pid, signal.SIGSTOP)
        for client in clients:
            with suppress(BlockingIOError):
                client.send(names)
        watch.waits_ms.clear()
        os.kill(ls.pid, signal.SIGCONT)
        watch.run(_WATCH_S)
        yield "LS: 899 clients at once", peak_mb(ls.pid), watch


def circle() -> Iterator[Found]:
    """Run sixteen of our own clients: every name has its answer."""
    count = 62_500
    rows = "".join(f"n{n}.example 10.0.0.1 A\n" for n in range(16 * count))
    with site(rows) as (_, ls), tempfile.TemporaryDirectory(prefix="hostile-") as name:
        watch = Watch(ls.port)
        clients = []
        for number in range(16):
            names, out = Path(name) / f"names{number}", Path(name) / f"out{number}"
            wanted = range(number * count, (number + 1) * count)
            names.write_text("".join(f"n{n}.example\n" for n in wanted))
            words = node("client", "127.0.0.1", ls.port, "--names", names, "--out", out)
            clients.append((subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL), out))
        while any(client.poll() is None for client, _ in clients):
            watch.ask()
            time.sleep(0.001)
        answers = sum(out.read_text().count(" A IN\n") for _, out in clients)
        missing = 16 * count - answers
        if missing:
            print(f"{missing:,} names have no answer")
            watch.waits_ms.append(math.inf)
        yield f"LS: {answers:,} answers", peak_mb(ls.pid), watch


PARTS = {"stream": stream, "lines": lines, "waiting": waiting, "circle": circle}
MOST_MB = {"stream": STREAM_MB, "lines": LINES_MB}


def main() -> int:
    """Measure, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="PART,PART", help="(default %(default)s)"
    )
    add_flag(parser)
    arguments = parser.parse_args()
    chosen = arguments.parts.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part is called {unknown[0]}; there are {', '.join(PARTS)}")
    missed = 0
    rows: list[Row] = []
    for part in chosen:
        for what, mb, watch in PARTS[part]():
            most_mb = MOST_MB.get(part, float("inf"))
            is_kept = mb < most_mb and watch.slowest_s < WAIT_S
            missed += not is_kept
            said = "kept" if is_kept else f"MISSED (below {most_mb} MB and {WAIT_S} s)"
            took_ms = percentiles(watch.waits_ms)
            waits = ", ".join(f"{name} {ms:.1f}" for name, ms in took_ms.items())
            waits += f", slowest {watch.slowest_s * 1000:.0f} ms"
            print(f"{what:28} {mb:6.0f} MB; waits: {waits}: {said}")
            system, _, case = what.partition(": ")
            slowest = {"slowest": (watch.slowest_s * 1000, "ms"), "peak": (mb, "MB")}
            rows += latencies(case, system, took_ms) + figures(case, system, slowest)
    keep(arguments.json, "hostile", rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
