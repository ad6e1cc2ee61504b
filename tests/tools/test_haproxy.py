"""Two LSs behind a real HAProxy, with the configuration that the examples have for it.

All parts are real: HAProxy, LSs, TSs, sockets; only addresses, the socket for operators and the
user are other than in the example. Its checks are as fast here as there. Where HAProxy is missing,
the tests are skipped, and say so.

A TS that is halted (SIGSTOP) keeps a question open for as long as a test wants it to be. The tests
wait for what HAProxy says of an LS on its own socket, or what an LS says of itself to STATS.

Not here: the clients that ask all the while (`tests/support/fleet.py`).
"""

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    Talk,
    free_port,
    programs,
    stats,
    wait_for,
)

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(HAPROXY is None, reason="no HAProxy here (Debian: apt-get install haproxy)"),
]
EXAMPLE = ROOT / "examples" / "haproxy.cfg"
ROWS = [f"host{n}.example 10.2.{n >> 8}.{n & 255}" for n in range(600)]
ANSWERS = {row.split()[0].encode(): f"{row} A IN".encode() for row in ROWS}
NAME, ANSWER = next(iter(ANSWERS.items()))
CLIENTS = 50
CHECK = "    default-server port "
ROUNDS = int(os.environ.get("HAPROXY_ROUNDS", "2"))  # of restarts: 10 take 20 s


class Proxy:
    """HAProxy with the example's configuration before two LSs, `ls1` and `ls2`.

    `changes`: what else is to stand there, by what does in the example.
    """

    def __init__(
        self, folder: Path, ls_ports: list[int], changes: Mapping[str, str] | None = None
    ) -> None:
        assert HAPROXY is not None
        self.port = free_port()
        self._admin = folder / "admin"
        text = EXAMPLE.read_text()
        for there, here in {
            "bind :5300": f"bind 127.0.0.1:{self.port}",
            "127.0.0.1:5310": f"127.0.0.1:{ls_ports[0]}",
            "127.0.0.1:5311": f"127.0.0.1:{ls_ports[1]}",
            "/run/haproxy/admin.sock": str(self._admin),
            "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
            **(changes or {}),
        }.items():
            assert text.count(there) == 1, f"{there!r} is not once in {EXAMPLE.name}"
            text = text.replace(there, here)
        (folder / "haproxy.cfg").write_text(text)
        self._log = (folder / "haproxy.log").open("w+")
        self._process = subprocess.Popen(
            [HAPROXY, "-db", "-f", folder / "haproxy.cfg"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def _said(self) -> str:
        return Path(self._log.name).read_text()

    def state(self, server: str) -> str:
        """Return how HAProxy sees an LS, once it has looked: UP, DOWN, or something between."""
        assert self._process.poll() is None, self._said()
        talk = socket.socket(socket.AF_UNIX)
        talk.settimeout(PATIENCE_S)
        try:
            talk.connect(str(self._admin))
            talk.sendall(b"show stat\n")
            table = b"".join(iter(lambda: talk.recv(1 << 16), b"")).decode()
        except (FileNotFoundError, ConnectionRefusedError):  # it is still starting
            return ""
        finally:
            talk.close()
        rows = csv.DictReader(table.splitlines())
        (stat,) = (row for row in rows if (row["# pxname"], row["svname"]) == ("ls", server))
        return stat["status"] if stat["check_status"] else ""

    def sees(self, server: str, state: str) -> None:
        """Wait until HAProxy sees an LS so."""
        wait_for(lambda: self.state(server) == state, f"{server} is {state}:\n{self._said()}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


class Site:
    """Two TSs with a half of the names each, two LSs, and HAProxy, which sees both."""

    def __init__(self, run: Programs) -> None:
        self._run = run
        tables = run.table("even", *ROWS[::2]), run.table("odd", *ROWS[1::2])
        self.table_servers, self._ts_ports = zip(*map(run.ts, tables), strict=True)
        self.ports = [free_port(), free_port()]
        self.servers = [self.start_ls(place) for place in (0, 1)]
        self.proxy = Proxy(run.folder, self.ports)

    def start_ls(self, place: int) -> Program:
        """Start an LS at its port. A question may wait for as long as a test halts the TSs."""
        words = [word for port in self._ts_ports for word in ("127.0.0.1", port)]
        program = self._run.start("ls", self.ports[place], *words, "--timeout", PATIENCE_S)
        assert program.port() == self.ports[place]
        return program

    def see_both(self) -> None:
        for server in ("ls1", "ls2"):
            self.proxy.sees(server, "UP")

    def metric(self, place: int, name: str) -> int:
        """Return what one LS says of itself."""
        return int(stats(self.ports[place])[name])

    def is_gone(self, place: int) -> bool:
        """Return whether an LS listens no more."""
        try:
            Talk(self.ports[place]).close()
        except ConnectionRefusedError:
            return True
        return False

    def halt(self) -> None:
        """Let no TS answer from now on."""
        for program in self.table_servers:
            program.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for program in self.table_servers:
            program.signal(signal.SIGCONT)

    def asked_in_vain(self) -> tuple[Talk, int]:
        """Ask by a client of HAProxy, whose question stays open; return it, and the place of the LS
        that has it."""
        self.halt()
        talk = Talk(self.proxy.port)
        talk.say(NAME + b"\n")
        wait_for(lambda: any(self.metric(n, "pending") for n in (0, 1)), "an LS has the question")
        return talk, 0 if self.metric(0, "pending") else 1


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with programs(tmp_path) as run:
        some = Site(run)
        try:
            some.see_both()
            yield some
        finally:
            some.proxy.end()


def test_haproxy_takes_the_example_as_it_is_without_a_warning() -> None:
    assert HAPROXY is not None
    done = subprocess.run(
        [HAPROXY, "-c", "-dW", "-f", EXAMPLE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "Configuration file is valid\n"


def test_a_check_is_a_whole_session_with_a_clean_end(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    port = listener.getsockname()[1]
    proxy = Proxy(tmp_path, [port, port])
    try:
        for _ in range(3):
            talk, _ = listener.accept()
            talk.settimeout(PATIENCE_S)
            assert talk.recv(100) == b"PING\n"
            talk.sendall(b"PONG\n")
            assert talk.recv(100) == b"QUIT\n"
            talk.sendall(b"BYE\n")
            talk.shutdown(socket.SHUT_WR)
            assert talk.recv(100) == b""  # a reset would raise
            talk.close()
    finally:
        proxy.end()
        listener.close()


def test_haproxys_plain_http_check_sees_the_health_of_an_ls(run: Programs) -> None:
    """`option httpchk` alone asks `OPTIONS / HTTP/1.0`."""
    assert HAPROXY is not None
    table_server, ts_port = run.ts(run.table("ts", *ROWS[:2]))
    ls, port = run.ls([ts_port], "--metrics", 0)
    text = EXAMPLE.read_text()
    checks = text[text.index("    option tcp-check") : text.index("    # maxconn: below the 992")]
    proxy = Proxy(
        run.folder,
        [port, port],
        {checks: f"    option httpchk\n{CHECK}{ls.listener('status page')}\n"},
    )
    try:
        proxy.sees("ls1", "UP")
        table_server.signal(signal.SIGTERM)
        proxy.sees("ls1", "DOWN")
    finally:
        proxy.end()


def test_quit_and_a_half_close_end_a_session_as_without_haproxy(site: Site) -> None:
    quitting = Talk(site.proxy.port)
    quitting.say(NAME + b"\nPING\nQUIT\n")
    assert sorted(quitting.rest().split(b"\n")) == sorted([ANSWER, b"PONG", b"BYE", b""])
    ending = Talk(site.proxy.port)
    ending.say(NAME + b"\n")
    ending.end()
    assert ending.rest() == ANSWER + b"\n"


def test_an_ls_that_drains_gets_nobody_and_gives_what_it_owes(site: Site) -> None:
    client, place = site.asked_in_vain()
    site.servers[place].signal(signal.SIGTERM)
    site.proxy.sees(f"ls{place + 1}", "DOWN")
    newcomer = Talk(site.proxy.port)
    assert newcomer.ask(b"PING") == b"PONG"
    assert client.is_silent()  # neither served nor cut
    site.go_on()
    assert client.rest() == ANSWER + b"\nBYE\n"
    client.close()
    assert site.servers[place].exits() == 0
    newcomer.say(NAME + b"\nQUIT\n")
    assert newcomer.rest() == ANSWER + b"\nBYE\n"


def test_a_question_to_an_ls_that_dies_is_answered_by_the_other(site: Site) -> None:
    client, place = site.asked_in_vain()
    site.servers[place].kill()
    with suppress(ConnectionResetError):
        assert client.rest() == b""
    again = Talk(site.proxy.port)
    again.say(NAME + b"\nQUIT\n")
    site.go_on()
    assert again.rest() == ANSWER + b"\nBYE\n"


@pytest.mark.parametrize("asks_again", [True, False])
def test_the_fleet_sees_that_questions_are_lost(site: Site, asks_again: bool) -> None:
    """An LS is killed, not drained: what it was asked is lost, but for those who ask again."""
    fleet = Fleet(site.proxy.port, ANSWERS, CLIENTS, asks_again)
    with fleet.asking():
        wait_for(lambda: all(site.metric(n, "answered") for n in (0, 1)), "both serve")
        site.halt()
        wait_for(lambda: site.metric(0, "pending"), "one has questions without a reply")
        site.servers[0].kill()
        site.go_on()
    print(fleet.account())
    assert fleet.wrong == []
    assert fleet.ends["end"] + fleet.ends["reset"] > 0
    assert fleet.replied + fleet.lost == fleet.asked
    assert (fleet.again > 0, fleet.lost > 0) == (asks_again, not asks_again)


def test_two_ls_restarted_in_turn_leave_no_question_open(site: Site) -> None:
    """Every second time the TSs are halted, so that the LS that ends owes something for sure."""
    fleet = Fleet(site.proxy.port, ANSWERS, CLIENTS)
    ended = []
    with fleet.asking():
        wait_for(lambda: all(site.metric(n, "answered") for n in (0, 1)), "both serve")
        for number in range(2 * ROUNDS):
            place = number % 2
            owes = number // 2 % 2
            if owes:
                site.halt()
                wait_for(lambda n=place: site.metric(n, "pending"), "it owes something")
            site.servers[place].signal(signal.SIGTERM)
            if owes:
                wait_for(lambda n=place: site.is_gone(n), "it drains")
                site.go_on()
            assert site.servers[place].exits() == 0
            ended.append(site.servers[place])
            site.servers[place] = site.start_ls(place)
            site.proxy.sees(f"ls{place + 1}", "UP")
            wait_for(lambda n=place: site.metric(n, "answered"), "HAProxy sends it clients")
    for server in site.servers:
        server.signal(signal.SIGTERM)
        assert server.exits() == 0
    print(fleet.account())
    assert fleet.wrong == []
    assert (fleet.replied, fleet.lost) == (fleet.asked, 0)
    assert fleet.ends["BYE"] >= ROUNDS, "those that waited for a reply while an LS drained"
    total = 0
    for server in (*ended, *site.servers):
        account = re.search(r"LS asked (\d+), answered (\d+), .* dropped (\d+)", server.log)
        assert account is not None, server.log
        asked, answered, dropped = map(int, account.groups())
        assert asked == answered > 0 and dropped == 0, server.log
        assert "the drain took too long" not in server.log
        total += answered
    assert total == fleet.replied, "an answer that an LS gave did not arrive"
