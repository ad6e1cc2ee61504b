"""Listener: what accept may give or raise, and who is let in."""

import errno
import socket
from typing import Any

import pytest

from core.io.listener import Listener
from core.io.places import Places
from core.io.system import System
from nodes.cli.serving import LINES


class Queue:
    """A listening socket: what accept gives or raises, in order, and then nobody."""

    def __init__(self, *waiting: int | str) -> None:
        self.waiting = list(waiting)
        self.closed: list[str] = []

    def accept(self) -> tuple[Any, tuple[str, int]]:
        if not self.waiting:
            raise BlockingIOError
        first = self.waiting.pop(0)
        if isinstance(first, int):
            raise OSError(first, "as told")
        return socket.socket(), (first, 1)


def listener(queue: Queue, *refused: str) -> Listener:
    stream: Any = queue
    return Listener(
        System(), stream, LINES, lambda host: host not in refused, Places(lambda: 9), rest_s=0.1
    )


def hosts(some: Listener, most: float = 16) -> list[str]:
    accepted = []
    for stream, host, _ in some.accept(most, now=5.0):
        stream.close()
        accepted.append(host)
    return accepted


@pytest.mark.parametrize(
    "number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM]
)
def test_c14_a_connection_gone_before_accept_is_passed_over(number: int) -> None:
    some = listener(Queue("a", number, "b"))
    assert hosts(some) == ["a", "b"] and some.again_at is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_b12_running_out_of_something_is_a_reason_to_rest(number: int) -> None:
    some = listener(Queue("a", number, "b"))
    assert hosts(some) == ["a"] and some.again_at == 5.1
    assert not some.rested(5.05) and some.rested(5.1) and some.again_at is None
    assert hosts(some) == ["b"]


def test_attempts_are_counted_whatever_comes_of_them() -> None:
    some = listener(Queue(*[errno.ECONNABORTED] * 5, "a"))
    assert hosts(some, most=5) == []
    assert hosts(some, most=5) == ["a"]


def test_one_who_may_not_come_in_is_closed_without_a_word() -> None:
    some = listener(Queue("a", "b", "c"), "b")
    assert hosts(some) == ["a", "c"]
