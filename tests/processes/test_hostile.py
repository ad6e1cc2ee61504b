"""The memory that hostile clients make the real servers hold: the peak of a process has a bound.

Nothing here is about speed: a client that is served meanwhile is waited for, however long it takes.

Not here: who is read when (`tests/io/test_loop.py`), and what is owed to whom
(`tests/core/test_owed.py`).
"""

import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from core.io.frame_buffer import frame
from tests.support.dns_messages import TO_QUESTION, name, opt, record, reply, said
from tests.support.processes import PATIENCE_S, Programs, Talk, bind_to_free_port, stats, wait_for

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]
LOOPBACK = "127.0.0.1"
SMALL = ("--bound", "owed_all_bytes_high=8388608", "--bound", "owed_all_bytes_low=4194304")


def flood(stack: ExitStack, port: int, clients: int) -> None:
    """Connect clients that ask for long answers, 32,768 each, and never read any."""
    for _ in range(clients):
        client = stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((LOOPBACK, port))
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.send(b"x\n" * 32_768)


@pytest.mark.parametrize("server", ["ls", "ts"])
def test_b9_lines_that_are_asked_and_never_read_have_a_bound(run: Programs, server: str) -> None:
    """40 times 16 MB are asked for; 8 and one read's 16 may be owed."""
    addresses = [f"x 10.{n}.{n}.{n}" for n in range(100, 133)]
    table = run.table("t", *addresses, "other.example 10.0.0.1")
    ts, ts_port = run.ts(table, 0, *SMALL)
    ls, ls_port = run.ls([ts_port], *SMALL)
    asked, port = (ls, ls_port) if server == "ls" else (ts, ts_port)
    other = Talk(port)
    with ExitStack() as stack:
        flood(stack, port, 40)
        wait_for(lambda: "owed_all_bytes_high.hits" in stats(port), "too much is owed")
        for _ in range(100):
            assert other.ask(b"other.example") == b"other.example 10.0.0.1 A IN"
        peak = asked.peak_mb()
    other.close()
    assert peak < 100


class Resolver:
    """Has 59 KB of text, over TCP only, and one address for every other question."""

    def __init__(self) -> None:
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = bind_to_free_port(self.datagrams)
        self.listener = socket.create_server((LOOPBACK, self.port))
        for serve in (self.answer_datagrams, self.answer_streams):
            threading.Thread(target=serve, daemon=True).start()

    def answer_datagrams(self) -> None:
        with suppress(OSError):
            while True:
                query, whence = self.datagrams.recvfrom(4_096)
                is_text = name("big.example") in query
                self.datagrams.sendto(said(query, "TC" if is_text else "10.0.0.1"), whence)

    def answer_streams(self) -> None:
        text = record(TO_QUESTION, "TXT", (b"\xff" + b"t" * 255) * 230)
        with suppress(OSError):
            while True:
                stream, _ = self.listener.accept()
                with stream, stream.makefile("rb") as queries:
                    while size := int.from_bytes(queries.read(2)):
                        answer = reply(queries.read(size), answers=(text,), additionals=(opt(),))
                        stream.sendall(frame(answer))

    def close(self) -> None:
        self.datagrams.close()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_queries_on_one_stream_for_a_long_reply_have_a_bound(run: Programs) -> None:
    """20,000 queries at once, each for 59 KB: 1.2 GB, of which 256 replies may be there at once."""
    resolver = Resolver()
    ls = run.start("ls", 0, "--dns", 0, "--dns-upstream", f"{LOOPBACK}:{resolver.port}")
    port = ls.port()
    ls.logs("DNS on ")
    asked = b"\1\0\0\1\0\0\0\0\0\0" + name("big.example") + b"\0\x10\0\1"
    queries = memoryview(b"".join(frame(n.to_bytes(2) + asked) for n in range(20_000)))
    with socket.create_connection((LOOPBACK, ls.listener("DNS")), timeout=PATIENCE_S) as stream:
        stream.setblocking(False)
        with suppress(BlockingIOError):
            while queries:
                queries = queries[stream.send(queries) :]
        stream.setblocking(True)
        stream.settimeout(PATIENCE_S)
        with stream.makefile("rb") as replies:
            for _ in range(500):
                size = int.from_bytes(replies.read(2))
                assert size > 58_000 and len(replies.read(size)) == size
        other = Talk(port)
        assert other.ask(b"other.example") == b"other.example 10.0.0.1 A IN"
        other.close()
        peak = ls.peak_mb()
    resolver.close()
    assert peak < 120
    assert "stream_pending_max.hits" in stats(port)
