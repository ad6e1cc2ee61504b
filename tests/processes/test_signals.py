"""Signals from the first line of a program to its last, standard streams, and a service manager.

The moments at which a signal comes are what is tested here, so some tests wait for a time to pass;
what they assert does not depend on how fast the machine is: whatever the moment, the end is the
same. Reactions of a program to a signal are read from the kernel (`SigCgt` and so on, man 5 proc).

Not here: what a drain does for clients (`tests/protocol/test_server.py`,
`tests/processes/test_system.py`), and the same in the simulator (`tests/sim/test_drain.py`).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nodes.test_replay import line as race
from tests.processes.test_system import ANSWER, ROWS_1, Manager, children
from tests.support.processes import ROOT, Program, Programs, Talk, free_port, wait_for

pytestmark = pytest.mark.process

MOMENTS_S = (0.0, 0.03, 0.08, 0.15, 0.3, 0.6)
AS_PROCESS_1 = ("unshare", "--fork", "--pid", "--kill-child")


def can_be_process_1() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*AS_PROCESS_1, "true"], capture_output=True).returncode == 0


container = pytest.mark.skipif(
    not can_be_process_1(), reason="nobody may make a PID namespace here (unshare)"
)
KINDS = {
    "ts": ("ts", 0, "--table", "{large}"),
    "ls": ("ls", 0, "localhost", 1),
    "workers": ("ls", 0, "localhost", 1, "--workers", 2),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table that takes a while to load."""
    path = tmp_path_factory.mktemp("large") / "table"
    with path.open("w") as file:
        file.writelines(
            f"host{n}.example 10.{n >> 16}.{n >> 8 & 255}.{n & 255} A\n" for n in range(30_000)
        )
    return path


def words(kind: str, large: Path) -> list[str]:
    return [str(word).format(large=large) for word in KINDS[kind]]


def has(pid: int, field: str, number: signal.Signals) -> bool:
    """Return whether a process catches (`SigCgt`), ignores (`SigIgn`) or blocks (`SigBlk`) a
    signal."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    raise AssertionError(field)


def inside(program: Program) -> int:
    """Return the process that is number 1 inside, as we call it."""
    wait_for(lambda: children(program), "the process inside")
    return int(children(program)[0])


def catches(pid: int, number: signal.Signals = signal.SIGUSR1) -> bool:
    """Return whether its first lines are run; SIGUSR1 is the last that is caught there."""
    return has(pid, "SigCgt", number)


def at_many_moments(programs: list[Program], send: Callable[[Program], object]) -> None:
    """Send each of these, which have all been started just now, its signal at its own moment."""
    began = time.monotonic()
    for moment_s, program in zip(MOMENTS_S, programs, strict=True):
        time.sleep(max(0.0, began + moment_s - time.monotonic()))
        send(program)


def signal_inside(program: Program, number: signal.Signals) -> None:
    """Send a signal to process 1 of a container, once its first line has run."""
    pid = inside(program)
    wait_for(lambda: catches(pid), "its first line")
    os.kill(pid, number)


# -- from the first line on ------------------------------------------------------------------------


@container
@pytest.mark.parametrize("kind", KINDS)
def test_process_1_is_ended_by_sigterm_at_any_moment(run: Programs, kind: str, large: Path) -> None:
    """[P55]: what the kernel discards before the first line is sent once that is there."""
    some = [run.start(*words(kind, large), within=AS_PROCESS_1) for _ in MOMENTS_S]
    at_many_moments(some, lambda program: signal_inside(program, signal.SIGTERM))
    assert [program.exits() for program in some] == [0] * len(some)


@container
@pytest.mark.parametrize("kind", KINDS)
def test_process_1_outlives_sighup_at_any_moment(run: Programs, kind: str, large: Path) -> None:
    """[P55]: and reads anew, be it ready or not when that comes."""
    some = [run.start(*words(kind, large), within=AS_PROCESS_1) for _ in MOMENTS_S]
    at_many_moments(some, lambda program: signal_inside(program, signal.SIGHUP))
    for program in some:
        program.port()
        program.logs(" reloaded: " if kind == "ts" else "has the same address as before")
        os.kill(inside(program), signal.SIGTERM)
        assert program.exits() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_loads_is_ended_at_once(run: Programs, number: signal.Signals) -> None:
    """The table is a pipe, and nobody writes its rows."""
    table = run.folder / "pipe"
    os.mkfifo(table)
    ts = run.start("ts", 0, "--table", table)
    wait_for(lambda: catches(ts.process.pid), "its first line")
    ts.signal(number)
    assert ts.exits() == 0
    assert ts.log == "photofinish: ended by a signal before it served\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_comes_before_the_first_line_waits_if_it_is_blocked(
    run: Programs, number: signal.Signals, large: Path
) -> None:
    def before() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        os.kill(os.getpid(), number)

    ts = run.start("ts", 0, "--table", large, before=before)
    assert ts.exits() == 0
    assert ts.log == "photofinish: ended by a signal before it served\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_client_that_starts_is_ended_by_a_signal(run: Programs, number: signal.Signals) -> None:
    os.mkfifo(run.folder / "names")  # nobody writes into it, so it cannot be opened
    client = run.start("client", "127.0.0.1", 1, "--names", run.folder / "names")
    # Of those that are caught it is the last. (Python itself catches SIGINT before.)
    wait_for(lambda: catches(client.process.pid, signal.SIGHUP), "its first line")
    client.signal(number)
    assert client.exits() == 1
    assert client.log == "photofinish: interrupted\n"


@pytest.mark.parametrize("kind", KINDS)
def test_hangups_to_the_very_end_change_no_exit_code(run: Programs, kind: str, large: Path) -> None:
    """[P55]: also while the interpreter shuts down. Workers, too, as their parent would say."""
    for _ in range(3):
        program = run.start(*words(kind, large))
        program.port()
        pids = [program.process.pid]
        if kind == "workers":
            pids += map(int, children(program))
        program.signal(signal.SIGTERM)
        while program.process.poll() is None:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGHUP)
                except ProcessLookupError:
                    pids.remove(pid)
        assert program.exits() == 0
        assert "by signal" not in program.log and "by force" not in program.log


def test_a_client_goes_on_ignoring_what_it_was_told_to_ignore(run: Programs) -> None:
    """[P57]: as under nohup, and as a job that a script has put into the background."""
    ts, port = run.ts(run.table("ts1", *ROWS_1))
    ts.signal(signal.SIGSTOP)
    numbers = (signal.SIGINT, signal.SIGHUP)

    def before() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    client = run.start("client", "127.0.0.1", port, "rutgers.edu", before=before)
    pid = client.process.pid
    wait_for(lambda: catches(pid, signal.SIGTERM), "its first line")
    for number in (*numbers, signal.SIGUSR1):
        assert not catches(pid, number) and has(pid, "SigIgn", number)
        client.signal(number)
    ts.signal(signal.SIGCONT)
    assert client.output() == ANSWER.decode() + "\n" and client.process.returncode == 0


@pytest.mark.parametrize("workers", [(), ("--workers", 2)], ids=["alone", "workers"])
def test_sigusr1_puts_the_metrics_into_the_log(run: Programs, workers: tuple[object, ...]) -> None:
    """[P58]: the same that STATS tells, and the server serves on."""
    ts, ts_port = run.ts(run.table("ts1", *ROWS_1))
    ls, port = run.ls([ts_port], *workers, linked=not workers)
    talk = Talk(port)
    talk.say(b"rutgers.edu\nSTATS\n")
    said = talk.hear(1)
    while said[-1] != b"END":
        said += talk.hear(1)
    for program in (ts, ls):
        program.signal(signal.SIGUSR1)
        program.logs(" log_dropped 0\n")
    keys = {line.split()[1].decode() for line in said if line.startswith(b"STAT ")}
    told = {line.split()[2] for line in ls.log.splitlines()}
    assert {key for key in keys if ".hits" not in key} <= told
    assert talk.ask(b"rutgers.edu") == ANSWER


# -- standard streams ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ts", "ls", "workers"])
def test_a_server_goes_on_without_its_standard_output(run: Programs, kind: str) -> None:
    """`ts ... | true`, and a full disk: there is no place for the ready line, and it serves on."""
    table = run.table("ts1", *ROWS_1)
    port = free_port()
    given = [str(word).format(large=table) for word in KINDS[kind]]
    given[1] = str(port)
    nobody, pipe = os.pipe()
    os.close(nobody)
    full = os.open("/dev/full", os.O_WRONLY)
    for stdout, why in ((pipe, "broken pipe"), (full, "no space left on device")):
        program = run.start(*given, stdout=stdout)
        program.logs(f"WARNING cannot write to standard output: {why}; going on without it\n")
        talk = Talk(port)
        assert talk.ask(b"PING") == b"PONG"
        program.signal(signal.SIGTERM)
        assert talk.rest() == b"BYE\n"
        talk.close()
        assert program.exits() == 0
        os.close(stdout)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_socket_gets_the_number_of_a_closed_stream(run: Programs, closed: str) -> None:
    port = free_port()
    table = run.table("ts1", *ROWS_1)
    command = f"exec {sys.executable} -m nodes ts {port} --table {table} {closed}"
    process = subprocess.Popen(["sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_there(port), "it listens")
        for number in range(3):
            link = Path(f"/proc/{process.pid}/fd/{number}").readlink()
            assert not str(link).startswith("socket:"), link
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def is_there(port: int) -> bool:
    try:
        Talk(port).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("given", [["--help"], ["client", "--help"], ["replay"]])
def test_help_or_figures_that_cannot_be_written_end_it(tmp_path: Path, given: list[str]) -> None:
    if given == ["replay"]:
        races = tmp_path / "races.jsonl"
        races.write_bytes(race() + b"\n")
        given = ["replay", str(races)]
    nobody, pipe = os.pipe()
    os.close(nobody)
    full = os.open("/dev/full", os.O_WRONLY)
    line = "photofinish: cannot write the output: no space left on device\n"
    for stdout, said in ((pipe, ""), (full, line)):  # quiet behind `| head`
        done = subprocess.run(
            [sys.executable, "-m", "nodes", *given],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(stdout)
        assert (done.returncode, done.stderr) == (1, said)


# -- a service manager -----------------------------------------------------------------------------


def test_a_watchdog_hears_only_of_a_loop_that_turns(run: Programs) -> None:
    name = f"@photofinish-{os.getpid()}-watchdog"
    manager = Manager(name)
    with manager.socket:
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"}
        table = run.table("ts1", *ROWS_1)
        ts = run.start("ts", 0, "--table", table, environment=environment)
        ts.port()
        heard = [manager.socket.recv(4096) for _ in range(6)]
        assert heard[0].startswith(b"READY=1\n") and set(heard[1:]) == {b"WATCHDOG=1\n"}
        ts.signal(signal.SIGSTOP)
        manager.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(1_000):
                manager.socket.recv(4096)
        ts.signal(signal.SIGCONT)
        manager.socket.settimeout(30)
        assert manager.socket.recv(4096) == b"WATCHDOG=1\n"
        another = {**environment, "WATCHDOG_PID": "1"}  # it is not for us
        other = run.start("ts", 0, "--table", table, environment=another)
        other.port()
        other.signal(signal.SIGTERM)
        assert other.exits() == 0


def test_under_a_watchdog_a_stopped_worker_is_started_again(run: Programs) -> None:
    name = f"@photofinish-{os.getpid()}-workers"
    manager = Manager(name)
    with manager.socket:
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "500000"}
        ls, _ = run.ls(
            [1], "--workers", 2, "--bound", "news_s=0.1", linked=False, environment=environment
        )
        worker = int(ls.log.split("W1 is up: process ")[1].split()[0])
        os.kill(worker, signal.SIGSTOP)
        ls.logs("ERROR W1 has been silent for 0.5 s: ending it")
        ls.logs("W1 is up", 2)
        assert "W2 is gone" not in ls.log
        ls.signal(signal.SIGTERM)
        assert ls.exits() == 0


def dev(run: Programs, *given: object, **how: object) -> Program:
    return run.start(*given, python=("-X", "dev", "-m", "nodes"), **how)


def test_a_python_that_warns_has_nothing_to_warn_of(run: Programs) -> None:
    """Nothing that was opened is left to the garbage collector, also where a program fails."""
    table = run.table("ts1", *ROWS_1)
    ts = dev(run, "ts", 0, "--table", table)
    port = ts.port()
    some = [
        dev(run, "ls", 0, "localhost", port, "--metrics", 0, "--dns", 0, *more)
        for more in ((), ("--workers", 2), ("--race-sample", 1, "--race-log", run.folder / "log"))
    ]
    asking = ("rutgers.edu", "--out", run.folder / "o")
    clients = [dev(run, "client", "localhost", ls.port(), *asking) for ls in some]
    for ls, client in zip(some, clients, strict=True):
        ls.logs("TS1 is up")
        ls.signal(signal.SIGHUP)
        ls.logs("TS1 has the same address as before")
        assert client.exits() == 0 and "Warning" not in client.log, client.log
    for program in (*some, ts):
        program.signal(signal.SIGTERM)
        assert program.exits() == 0
        assert "Warning" not in program.log, program.log
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failing: dict[str, Program] = {}
        for given in (
            ("ts", port, "--table", table),
            ("ts", 0, "--table", run.folder),
            ("ls", port, "localhost", 1),
            ("ls", port, "localhost", 1, "--workers", 2),
            ("ls", 0, "localhost", 1, "--metrics", port),
            ("ls", 0, "localhost", 1, "--dns", port),
            ("ls", 0, "localhost", 1, "--dns", port, "--workers", 2),
            ("ls", 0, "a..b", 1),
            ("ls", 0, "localhost", 1, "--bound", "descriptors_max=4"),
            ("client", "localhost", 1, "a", "--out", "/dev/full"),
            ("client", "localhost", 1, "a", "--out", run.folder),
            ("replay", run.folder / "none"),
            ("--help",),
        ):
            failing[str(given)] = dev(run, *given)
        for given, failed in failing.items():
            assert failed.exits() != 0 or given == "('--help',)", given
            assert "Warning" not in failed.log, (given, failed.log)
