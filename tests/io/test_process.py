"""Signals of this very process, before there is a loop and when there is one.

Not here: programs that get them at any moment of their lives (`tests/processes/test_signals.py`).
"""

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from core.io import process
from core.io.process import SIGNALS


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put back afterwards what this process does with signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    process.hand_over(is_server=True).close()
    for number, how in before.items():
        signal.signal(number, how)


def test_what_comes_before_the_loop_waits_for_it() -> None:
    """[P55]"""
    process.catch(is_server=True)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        os.kill(os.getpid(), number)
    signals = process.hand_over(is_server=True)
    assert signals.recv(64) == bytes([signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP])
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.recv(64) == bytes([signal.SIGTERM])
    with pytest.raises(BlockingIOError):
        signals.recv(64)
    signals.close()
    os.kill(os.getpid(), signal.SIGTERM)  # the loop is over: nobody hears it


def test_what_has_been_blocked_comes_when_it_is_caught() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    os.kill(os.getpid(), signal.SIGHUP)
    signals = process.hand_over(is_server=True)
    assert signals.recv(64) == bytes([signal.SIGHUP])
    signals.close()


@pytest.mark.parametrize(("is_server", "left"), [(True, {signal.SIGINT}), (False, set(SIGNALS))])
def test_what_was_ignored_stays_so_but_for_what_a_server_needs(
    is_server: bool, left: set[signal.Signals]
) -> None:
    """[P57]"""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    process.hand_over(is_server).close()
    assert {n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN} == left


def test_only_a_server_is_told_to_say_how_it_stands() -> None:
    """Another program would be killed by the signal for that."""
    process.hand_over(is_server=False).close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


def test_the_end_of_one_loop_takes_no_signal_from_the_next() -> None:
    first, second = process.hand_over(is_server=True), process.hand_over(is_server=True)
    first.close()
    os.kill(os.getpid(), signal.SIGHUP)
    assert second.recv(64) == bytes([signal.SIGHUP])
    second.close()


def test_a_program_that_ends_takes_no_signal() -> None:
    """Nor does Python complain of one that has come already."""
    process.hand_over(is_server=True).close()
    process.ignore()
    for number in SIGNALS:
        os.kill(os.getpid(), number)
    assert signal.sigpending() == set(SIGNALS)
    process.hand_over(is_server=True).close()


def test_while_a_call_blocks_a_program_that_starts_can_be_ended() -> None:
    process.catch(is_server=True)
    caught = signal.getsignal(signal.SIGTERM)
    with process.blocking():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is caught
    signals = process.hand_over(is_server=True)
    with process.blocking():  # there is a loop: it drains
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    signals.close()


def test_a_closed_standard_output_is_what_nothing_can_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing to it fails; the other streams, where they are closed, become /dev/null."""
    opened: list[tuple[str, int]] = []

    def closed(number: int) -> None:
        if number != 2:
            raise OSError

    fake = SimpleNamespace(**vars(os))
    fake.fstat, fake.open = closed, lambda path, flags: opened.append((path, flags))
    monkeypatch.setattr(process, "os", fake)
    process.open_standard_streams()
    assert opened == [(os.devnull, os.O_RDWR), ("/", os.O_RDONLY)]
