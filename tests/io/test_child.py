"""Children: forks of this process, how each ended, and what neither may take from the other.

Not here: workers (`tests/processes/test_workers_loopback.py`).
"""

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from core.io.child import Born, Child
from core.io.lookup import Lookup
from tests.support.counting import open_descriptors
from tests.support.processes import PATIENCE_S


def forked(name: str, be: Callable[[socket.socket], int]) -> Child:
    """Fork a child that does this, and ends with the exit code that it returns."""
    try:
        return Child(name)
    except Born as born:
        code = 99
        try:
            assert born.name == name
            code = be(born.stream)
        finally:
            os._exit(code)


def last_word(child: Child) -> str:
    """Return what the end of its stream says, and let go of it."""
    child.setblocking(True)
    try:
        while True:
            child.recv(100)
    except OSError as end:
        return str(end.strerror)
    finally:
        child.close()


def die(stream: socket.socket) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def test_a_read_at_the_end_says_how_a_child_ended() -> None:
    assert last_word(forked("W1", lambda stream: 7)) == "it ended with exit code 7"
    assert last_word(forked("W2", die)) == "it was ended by signal 9"
    unheard = forked("W3", lambda stream: len(stream.recv(3)))
    unheard.send(b"end, and do not read this")  # the rest of it resets the stream
    assert last_word(unheard) == "it ended with exit code 3"


def pid_of(child: Child) -> int:
    """Return the PID that a child sends."""
    child.setblocking(True)
    return int(child.recv(100))


def test_a_child_is_ended_when_its_stream_is_closed() -> None:
    def be(stream: socket.socket) -> int:
        stream.send(b"%d" % os.getpid())
        time.sleep(PATIENCE_S)
        return 0

    child = forked("W1", be)
    pid = pid_of(child)
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_later_child_lets_go_of_an_earlier_one_only() -> None:
    first = forked("W1", lambda stream: len(stream.recv(1)))

    def be_second(stream: socket.socket) -> int:
        first.close()
        return 0

    assert last_word(forked("W2", be_second)) == "it ended with exit code 0"
    first.send(b"!")
    assert last_word(first) == "it ended with exit code 1"


def test_a_child_keeps_its_pid_where_sigchld_was_ignored() -> None:
    """Else its number may be a stranger's when it is ended, and nobody knows how it ended."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert last_word(forked("W1", lambda stream: 3)) == "it ended with exit code 3"
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        Lookup("localhost", 1).close()
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_child_that_somebody_else_waited_for_is_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    children = []
    for _ in range(2):
        children.append(forked("W1", lambda stream: stream.send(b"%d" % os.getpid()) and 3))
        os.waitpid(pid_of(children[-1]), 0)
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append(pid))
    children[0].close()
    assert ended == []
    assert last_word(children[1]) == "it ended, and somebody else was told how"


def test_a_signal_that_comes_before_a_child_can_take_it_waits() -> None:
    """Its byte would go to the parent."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno())
    try:

        def be(stream: socket.socket) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return 5 if signal.SIGTERM in signal.sigpending() else 6

        assert last_word(forked("W1", be)) == "it ended with exit code 5"
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        ours.close()
        theirs.close()


def test_a_fork_that_cannot_be_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    before = open_descriptors()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(OSError, match="temporarily unavailable"):
        Child("W1")
    assert open_descriptors() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
