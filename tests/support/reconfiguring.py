"""LS under load while its configuration file changes: nobody loses a question.

Clients of lines come and go, some stay; DNS clients ask by UDP, one query at a time each, with
names that only tables know. The TTL of a reply tells which configuration the worker has that
serves: a file differs from the one before by `dns-ttl`.

Not here: how often, and who asks besides (`tests/processes/test_reconfiguring.py`,
`tests/soak.py`).
"""

import select
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import PATIENCE_S, Program, Programs, Talk, wait_for

ANSWER = b"n%d.example 10.0.0.%d A IN"
NAMES = 100
_DNS_CLIENTS = 8
_QUERY = b"\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
_TTL_AT = -10  # in a reply with one address and no EDNS: before its length and the address


def question(number: int) -> bytes:
    """Return the question of a DNS query for a name."""
    label = b"n%d" % number
    return bytes([len(label)]) + label + b"\x07example\x00\x00\x01\x00\x01"


class Reconfigured:
    """A real `ls --config FILE` before these TSs, and the file."""

    def __init__(self, run: Programs, ts_ports: list[int], workers: int = 2) -> None:
        self.file = run.folder / "ls.toml"
        self._ts_ports = ts_ports
        self._workers = workers
        self.ttl = 60
        self.write(self.ttl)
        self.program: Program = run.start("ls", "--config", self.file)
        self.port = self.program.port()
        self.dns_port = self.program.listener("DNS")
        self._is_up(workers)

    def write(self, ttl: int, more: str = "") -> None:
        """Put a whole file in place."""
        servers = ", ".join(f'"127.0.0.1:{port}"' for port in self._ts_ports)
        text = f"port = 0\nservers = [{servers}]\ndns = 0\nworkers = {self._workers}\n"
        new = self.file.with_suffix(".new")
        new.write_text(f"{text}dns-ttl = {ttl}\n{more}")
        new.rename(self.file)

    def change(self) -> None:
        """Change it, and wait until each worker has a successor that serves."""
        before = self._count()
        self.ttl += 1
        self.write(self.ttl)
        self.program.signal(signal.SIGHUP)
        self._is_up(before + self._workers)

    def _count(self) -> int:
        return self.program.log.count(" is up: process ")

    def _is_up(self, count: int) -> None:
        wait_for(lambda: self._count() >= count, f"{count} workers are up:\n{self.program.log}")


class Load:
    """Clients that ask, and all that they lose. `ttls`: how often each was in a DNS reply."""

    def __init__(self, reconfigured: Reconfigured) -> None:
        self.lines = self.queries = 0
        self.lost: list[str] = []
        self.ttls: Counter[int] = Counter()
        self._port, self._dns_port = reconfigured.port, reconfigured.dns_port
        self._is_over = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have clients ask meanwhile. A failure in them is one here."""
        failures: list[BaseException] = []

        def until_over(ask: object) -> None:
            try:
                while not self._is_over:
                    ask()  # type: ignore[operator]
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=until_over, args=(ask,))
            for ask in (self._short_session, self._long_session, self._queries)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over = True
            for thread in threads:
                thread.join(2 * PATIENCE_S)
        assert failures == []

    def _short_session(self) -> None:
        talk = Talk(self._port)
        numbers = range(self.lines % 50, self.lines % 50 + 20)
        talk.say(b"".join(b"n%d.example\n" % number for number in numbers) + b"QUIT\n")
        got = Counter(talk.rest().split(b"\n"))
        talk.close()
        wanted = Counter([*(ANSWER % (number, number) for number in numbers), b"BYE", b""])
        if got != wanted:
            self.lost.append(f"a session of lines got {got - wanted}, not {wanted - got}")
        self.lines += len(numbers)

    def _long_session(self) -> None:
        """Ask one by one, until LS parts with `BYE`: then nothing is owed [P19], or the name is to
        be asked elsewhere."""
        talk = Talk(self._port)
        for number in range(NAMES):
            if self._is_over:
                break
            try:
                answer = talk.ask(b"n%d.example" % number)
            except (AssertionError, BrokenPipeError, ConnectionResetError):
                answer = b"cut without a BYE"
            if answer == b"BYE":
                break
            if answer != ANSWER % (number, number):
                self.lost.append(f"a long session got {answer!r}")
                break
        talk.close()

    def _queries(self) -> None:
        """Let some DNS clients ask, each from a port of its own, and wait for all replies."""
        clients = {}
        for number in range(_DNS_CLIENTS):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.connect(("127.0.0.1", self._dns_port))
            client.send(_QUERY + question(number))
            clients[client] = number
        self.queries += len(clients)
        while clients:
            ready, _, _ = select.select(list(clients), [], [], PATIENCE_S)
            if not ready:
                self.lost.append(f"{len(clients)} queries have no reply")
            for client in ready or list(clients):
                number = clients.pop(client)
                if ready:
                    self._judge(number, client.recv(4096))
                client.close()

    def _judge(self, number: int, reply: bytes) -> None:
        if reply[3] & 15 or reply[-4:] != bytes([10, 0, 0, number]):
            self.lost.append(f"a query got {reply!r}")
        self.ttls[int.from_bytes(reply[_TTL_AT : _TTL_AT + 4], "big")] += 1


def two_equal_servers(run: Programs) -> list[int]:
    """Start two TSs with the same names; return their ports."""
    table = run.table("names", *(f"n{number}.example 10.0.0.{number}" for number in range(NAMES)))
    return [run.ts(table)[1] for _ in range(2)]
