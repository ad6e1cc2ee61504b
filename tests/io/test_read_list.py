"""Read lists: whom `select` is asked about, and when about all.

The kernel here is a set of descriptors that can be read; time passes only while `select` waits, and
when a test says so.
"""

import math
from typing import Any

import pytest

from core.bounds import Bounds
from core.io.read_list import ReadList

BOUNDS = Bounds(quiet_look_s=0.5, quiet_turns=4, quiet_least=2)


class Kernel:
    """Stands in for the system, as far as a read list calls it; keeps what was asked."""

    def __init__(self) -> None:
        self.t = 100.0
        self.ready: set[int] = set()
        self.asked: list[tuple[list[int], float]] = []

    def now(self) -> float:
        return self.t

    def select(
        self, read: list[int], write: list[int], broken: list[int], timeout_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        self.asked.append((read, timeout_s))
        readable = [fd for fd in read if fd in self.ready]
        if not readable:
            self.t += timeout_s
        return readable, [], []

    def looks(self) -> list[tuple[list[int], float]]:
        """Return each question to select since the last time."""
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def some(kernel: Kernel) -> ReadList:
    system: Any = kernel
    some = ReadList(system, BOUNDS)
    some.renew([1, 2, 3, 4], {2, 3, 4}, 7)
    return some


def turn(some: ReadList, timeout_s: float = 9.0) -> list[int]:
    return some.select([], timeout_s)[0]


def test_while_others_are_busy_the_quiet_are_not_asked_about(
    some: ReadList, kernel: Kernel
) -> None:
    kernel.ready = {1, 3}
    assert turn(some) == [1]
    assert kernel.looks() == [([1], 0.5)]


def test_a_quiet_one_waits_no_longer_than_the_bound(some: ReadList, kernel: Kernel) -> None:
    kernel.ready = {1, 3}
    seen = []
    for _ in range(6):
        seen.append(turn(some))
        kernel.t += 0.125
        some.renew([1, 2, 3, 4], {2, 3, 4}, 8)  # however often that happens
    assert seen == [[1], [1], [1], [1], [1, 3], [1]]


def test_one_that_was_quiet_is_busy_once_it_is_heard(some: ReadList, kernel: Kernel) -> None:
    kernel.t += 0.5
    kernel.ready = {3}
    assert turn(some) == [3]
    assert turn(some) == [3] and kernel.looks()[-1] == ([1, 3], 0.5)


def test_a_long_wait_is_for_all_of_them(some: ReadList, kernel: Kernel) -> None:
    assert turn(some) == []
    assert kernel.looks() == [([1], 0.5), ([1, 2, 3, 4], 8.5)]
    assert kernel.t == 109.0


def test_a_wait_for_nothing_is_no_wait(some: ReadList, kernel: Kernel) -> None:
    assert turn(some, 0.0) == []
    assert kernel.looks() == [([1], 0.0), ([1, 2, 3, 4], 0.0)]


def test_few_quiet_ones_are_as_good_as_none(some: ReadList) -> None:
    some.renew([1, 2, 3], {3}, 9)
    assert (some.fds, some.quiet) == ([1, 2, 3], set())


def test_who_is_quiet_is_looked_up_again_after_so_many_turns(some: ReadList) -> None:
    assert some.renew_at == 7 + 4
    some.renew([1], set(), 12)
    assert some.renew_at == math.inf  # of so few, nobody may be quiet
