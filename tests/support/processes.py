"""The real programs as processes on loopback, and conversations with them.

Servers take free ports and say so in their ready line; nothing here waits for a time to pass, only
for something to happen, with a deadline that is far beyond what it takes. Programs started inside
`programs()` are gone when it ends, also when the test fails.
"""

import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0  # an event that has not happened by then is a failure
TRACEBACK = "Traceback (most recent call last)"


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait until something is so. Raises AssertionError when it never is."""
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, f"it never happened: {what}"
        time.sleep(0.005)


# Below those that the kernel gives to whoever dials or asks: nobody takes a free one before its
# server, or while that is started again. Each is given once, since tests run at once.
_PORTS = random.SystemRandom().sample(range(12_000, 32_000), 20_000)
_claims: list[socket.socket] = []  # held to the end, against tests that run in other processes


def free_port() -> int:
    """Find a port that is free for TCP and UDP, and that no other test is given."""
    while True:
        port = _PORTS.pop()
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError):
            # Before the port is tried: another process may have it, and be about to listen.
            claim.bind(f"\0photofinish-test-port-{port}")
            with (
                socket.create_server(("127.0.0.1", port)),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
            ):
                probe.bind(("127.0.0.1", port))
            _claims.append(claim)
            return port
        claim.close()


def bind_to_free_port(one: socket.socket) -> int:
    """Bind a socket to a port that is free for TCP and UDP, and return it."""
    while True:
        with suppress(OSError):  # LS takes any port to ask resolvers from
            port = free_port()
            one.bind(("127.0.0.1", port))
            return port


def can_be_apart(words: Sequence[str]) -> bool:
    """Return whether these words (`unshare`) give namespaces, with a loopback to set up."""
    if shutil.which(words[0]) is None or shutil.which("ip") is None:
        return False
    done = subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True)
    return done.returncode == 0


def need_descriptors(count: int) -> None:
    """Let this process hold so many. Raises ValueError where the machine forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _limit(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Program:
    """A program that runs. Its log is in a file, so that it never waits for us, or goes to
    `stderr`.

    `descriptors`: its limit of them, soft and hard. `environment`: what it has besides ours.
    `python`: how the programs are called. `within`: words before that, of a program that runs it.
    `before`: what the process does before it begins. `close_fds`: it has none but its streams.
    """

    def __init__(
        self,
        *words: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int | None = None,
        descriptors: tuple[int, int] | None = None,
        environment: Mapping[str, str] | None = None,
        python: Sequence[str] = ("-m", "nodes"),
        within: Sequence[str] = (),
        before: Callable[[], object] | None = None,
        close_fds: bool = True,
    ) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `end`)
        self.process = subprocess.Popen(
            [*within, sys.executable, *python, *words],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=self._log if stderr is None else stderr,
            text=True,
            close_fds=close_fds,
            preexec_fn=before if descriptors is None else lambda: _limit(*descriptors),
        )

    @property
    def log(self) -> str:
        # Not by seek and read: the process writes at the same offset of the same open file.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode()

    def port(self) -> int:
        """Return the port in the ready line, once it is there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " ready on " in line, self.log
        return int(line.rsplit(":", 1)[1])

    def listener(self, what: str) -> int:
        """Return the port of another listener, as the log has it: `DNS` or `status page`."""
        self.logs(f"{what} on ")
        found = re.search(rf"{what} on [^,;]*:(\d+)", self.log)
        assert found is not None, self.log
        return int(found[1])

    def descriptors(self) -> int:
        """Count those that the process holds."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def peak_mb(self) -> float:
        """Return the most memory that the process has held at once."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def logs(self, text: str, times: int = 1) -> None:
        """Wait for a text in the log."""
        wait_for(lambda: self.log.count(text) >= times, f"{text!r} in the log:\n{self.log}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exits(self) -> int:
        """Wait for the end; return the exit code. A traceback is a failure whatever it is."""
        code = self.process.wait(PATIENCE_S)
        assert TRACEBACK not in self.log, self.log
        return code

    def output(self) -> str:
        """Wait for the end, return standard output."""
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert TRACEBACK not in self.log, self.log
        return out

    def end(self) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()


class Programs:
    """The programs that a test has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Program] = []

    def start(self, *words: object, **how: Any) -> Program:  # noqa: ANN401
        program = Program(*map(str, words), **how)
        self.started.append(program)
        return program

    def table(self, name: str, *rows: str) -> Path:
        path = self.folder / f"{name}.txt"
        path.write_text("".join(f"{row} A\n" for row in rows))
        return path

    def replace(self, table: Path, *rows: str) -> None:
        """Replace a table file by another, whole, as an operator should do it."""
        self.table("next", *rows).rename(table)

    def ts(self, table: Path, port: int = 0, *words: object) -> tuple[Program, int]:
        program = self.start("ts", port, "--table", table, *words)
        return program, program.port()

    def ls(
        self,
        ts_ports: list[int],
        *words: object,
        linked: bool = True,
        **how: Any,  # noqa: ANN401
    ) -> tuple[Program, int]:
        """Start LS, and, unless told otherwise, wait until its links are up."""
        servers = [word for port in ts_ports for word in ("127.0.0.1", port)]
        program = self.start("ls", 0, *servers, *words, **how)
        port = program.port()
        if linked:
            program.logs(" is up", len(ts_ports))
        return program, port

    def run(self, *words: object) -> tuple[int, str, str]:
        """Run a program that ends by itself; return its exit code, output and log."""
        program = self.start(*words)
        out = program.output()
        return program.process.returncode, out, program.log


@contextmanager
def programs(folder: Path) -> Iterator[Programs]:
    """End everything that is started inside."""
    some = Programs(folder)
    try:
        yield some
    finally:
        for program in some.started:
            program.end()


class Talk:
    """A conversation over one socket, as a person with `nc` would have it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self.heard = b""

    @classmethod
    def accepted(cls, listener: socket.socket) -> "Talk":
        """Return the conversation with whoever dials next."""
        talk = cls.__new__(cls)
        talk.socket, _ = listener.accept()
        talk.socket.settimeout(PATIENCE_S)
        talk.heard = b""
        return talk

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, question: bytes) -> bytes:
        """Ask, and return the next line."""
        self.say(question + b"\n")
        return self.hear(1)[0]

    def hear(self, count: int) -> list[bytes]:
        """Read the next lines; fail when the stream ends before."""
        while self.heard.count(b"\n") < count:
            data = self.socket.recv(1 << 16)
            assert data, f"ended after {self.heard!r}"
            self.heard += data
        *lines, self.heard = self.heard.split(b"\n", count)
        return lines

    def is_silent(self) -> bool:
        """Return whether nothing more has come by now."""
        return not self.heard and not select.select([self.socket], [], [], 0)[0]

    def end(self) -> None:
        """Half-close: nothing more will be said."""
        self.socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Read everything up to the end of the stream. A reset raises ConnectionResetError."""
        while data := self.socket.recv(1 << 16):
            self.heard += data
        heard, self.heard = self.heard, b""
        return heard

    def close(self) -> None:
        self.socket.close()


def stats(port: int) -> dict[str, str]:
    """Return what STATS tells."""
    talk = Talk(port)
    talk.say(b"STATS\nQUIT\n")
    *lines, end, bye, rest = talk.rest().decode().split("\n")
    talk.close()
    assert (end, bye, rest) == ("END", "BYE", "")
    words = [line.split(" ") for line in lines]
    assert all(first == "STAT" for first, *_ in words)
    return {key: " ".join(value) for _, key, *value in words}


def exchange(port: int, clients: list[bytes]) -> list[bytes]:
    """Let clients send all they have and read all the while; return what each got, up to its end.

    Raises AssertionError when nothing moves any more.
    """
    unsent: dict[socket.socket, memoryview] = {}
    got: dict[socket.socket, list[bytes]] = {}
    order = []
    for data in clients:
        talk = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        talk.setblocking(False)
        unsent[talk], got[talk] = memoryview(data), []
        order.append(talk)
    reading = set(order)
    while reading:
        readable, writable, _ = select.select(
            reading, [talk for talk in reading if unsent[talk]], [], PATIENCE_S
        )
        assert readable or writable, "nothing moves any more"
        for talk in writable:
            unsent[talk] = unsent[talk][talk.send(unsent[talk][: 1 << 18]) :]
        for talk in readable:
            data = talk.recv(1 << 18)
            if data:
                got[talk].append(data)
            else:
                reading.remove(talk)
                talk.close()
    return [b"".join(got[talk]) for talk in order]
