"""The systems that are measured: how each load balancer is started, and the CPU it has used.

All of them stand in front of the same table servers, ours, and get the same load. The load balancer
alone is compared.

Not here: the load (`bench/load.py`).
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = HERE / "peers"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """This system cannot be measured here; the text says why, and what to do."""


class Process:
    """A program that has printed where it listens. It is started in `root`."""

    def __init__(self, words: list[str], root: Path = ROOT) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `stop`)
        self._popen = subprocess.Popen(
            words, cwd=root, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        assert self._popen.stdout is not None
        try:
            line = self._popen.stdout.readline()
        except BaseException:  # a signal while it starts: no caller knows of it yet
            self.stop()
            raise
        if " on " not in line:
            self._popen.wait()
            self._errors.seek(0)
            errors = self._errors.read().strip()
            raise RuntimeError(f"{' '.join(words)} did not start: {errors}")
        self.port = int(line.rsplit(":", 1)[1])
        self.pid = self._popen.pid

    def cpu_s(self) -> float:
        return cpu_s(self.pid)

    def peak_mb(self) -> float:
        return peak_mb(self.pid)

    def log(self) -> str:
        """Return all that it has written to standard error."""
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), size, 0).decode(errors="replace")

    def stop(self) -> None:
        self._popen.kill()
        self._popen.communicate()
        self._errors.close()


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s(*pids: int) -> float:
    """Return the CPU seconds used so far by these processes and their children, user and system
    (man 5 proc, fields 14 and 15 of stat)."""
    total = 0
    for pid in pids:
        for number in (pid, *children(pid)):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def peak_mb(pid: int) -> float:
    """Return the largest resident size of a process so far, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


@contextlib.contextmanager
def running(words: list[str], root: Path = ROOT) -> Iterator[Process]:
    """Start a program in `root`, and kill it at the end."""
    process = Process(words, root)
    try:
        yield process
    finally:
        process.stop()


def node(*words: object) -> list[str]:
    """Return the command of one of our own programs."""
    return [sys.executable, "-m", "nodes", *map(str, words)]


@dataclass(frozen=True)
class System:
    """A load balancer. `one_client`: it serves one connection at a time."""

    name: str
    about: str
    words: tuple[str, ...]
    one_client: bool = False
    needs: str = ""  # a Python package

    def command(self, servers: list[int], folder: Path) -> list[str]:
        """Return the command that starts it in front of these ports. Raises Unavailable."""
        if self.needs:
            probe = subprocess.run(
                [sys.executable, "-c", f"import {self.needs}"], check=False, capture_output=True
            )
            if probe.returncode:
                raise Unavailable(f"no {self.needs} here: pip install -r bench/requirements.txt")
        words = list(self.words)
        if words[0].endswith(".c"):
            words[0] = str(compiled(PEERS / words[0], folder))
        elif words[0].endswith(".py"):
            words = [sys.executable, str(PEERS / words[0]), *words[1:]]
        else:
            words = node(*words)
        for port in servers:
            words += ["127.0.0.1", str(port)]
        return words


def compiled(source: Path, folder: Path) -> Path:
    """Build a program in C in this folder; return its path. Raises Unavailable."""
    program = folder / source.stem
    if not program.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            raise Unavailable("no C compiler (cc) here")
        if subprocess.run([compiler, "-O2", "-o", program, source], check=False).returncode:
            raise Unavailable(f"{compiler} cannot build {source.name}")
    return program


SYSTEMS = (
    System("ours", "photofinish: python3 -m nodes ls", ("ls", "0")),
    System("streams", "asyncio streams, a task for each question", ("streams.py", "0")),
    System("uvloop", "the same on uvloop", ("streams.py", "--uvloop", "0"), needs="uvloop"),
    System("batched", "asyncio protocols, batched by hand", ("batched.py", "0")),
    System("uvbatched", "the same on uvloop", ("batched.py", "--uvloop", "0"), needs="uvloop"),
    System("relay", "the limit: a relay in C", ("relay.c", "0")),
    System("lockstep", "the original way, one at a time", ("lockstep.py", "0"), one_client=True),
)


def free_port() -> int:
    """Find a port that is free for TCP and UDP, below those that the kernel gives to whoever dials
    or asks: it would be taken again before its server has it."""
    while True:
        port = random.SystemRandom().randint(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", port))
                return port
