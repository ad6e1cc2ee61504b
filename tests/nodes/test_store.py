"""The store of the cache: its bound of memory, and what goes when there is no room.

There are two references: SIEVE as its authors write it, a list and a hand, which throws out the
same at the same moment; and LRU, which a flood of random names empties.

Not here: what is kept (`tests/nodes/test_cache.py`).
"""

from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodes.ls.cache.store import Store
from tests.support.counting import alive, lines_run

ROOM = 10
names = st.integers(0, 11).map(lambda number: b"n%d" % number)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, st.sampled_from([1, 1, 1, 2, 3, ROOM, ROOM + 1])),
        st.tuples(st.sampled_from(["touch", "touch", "take"]), names, st.just(0)),
    ),
    max_size=120,
)


@dataclass(frozen=True)
class Value:
    """A value of so many bytes."""

    size: int = 1


class Sieve:
    """SIEVE as it is written in the paper: the queue, the oldest first, and a hand. Of what is
    taken out an empty place stays, until the hand comes by; it has it again if it comes back."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.queue: list[bytes] = []
        self.hand = 0
        self.sizes: dict[bytes, int] = {}
        self.visited: set[bytes] = set()
        self.evicted: list[bytes] = []

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    def put(self, question: bytes, size: int) -> None:
        is_new = question not in self.sizes
        while is_new and self.sizes and self.total + size > self.room:
            self.evict()
        if question not in self.queue:
            self.queue.append(question)
        self.sizes[question] = size
        while self.total > self.room:
            self.evict()

    def evict(self) -> None:
        while True:
            question = self.queue[self.hand]
            is_kept = question in self.visited
            self.visited.discard(question)
            if is_kept:
                self.hand += 1
            else:
                del self.queue[self.hand]
            self.hand = self.hand if self.hand < len(self.queue) else 0
            if not is_kept and question in self.sizes:
                break
        del self.sizes[question]
        self.evicted.append(question)

    def take(self, question: bytes) -> None:
        self.sizes.pop(question, None)
        self.visited.discard(question)

    def touch(self, question: bytes) -> None:
        if question in self.sizes:
            self.visited.add(question)


@given(steps)
@example([("put", b"n0", 1), ("touch", b"n0", 0), ("put", b"n1", ROOM), ("put", b"n2", ROOM)])
@example([("put", b"n0", ROOM + 1), ("put", b"n1", 1)])
def test_what_goes_is_what_sieve_throws_out(steps: list[tuple[str, bytes, int]]) -> None:
    """At each step there are no more bytes than there may be, and those are counted right."""
    gone: list[bytes] = []
    store: Store[Value] = Store(ROOM, gone.append)
    model = Sieve(ROOM)
    for what, name, size in steps:
        match what:
            case "put":
                store.put(name, Value(size))
                model.put(name, size)
            case "touch" if name in store.values:
                store.touch([name])
                model.touch(name)
            case "take":
                store.take(name)
                model.take(name)
        assert {name: value.size for name, value in store.values.items()} == model.sizes
        assert store.bytes == model.total <= ROOM
        assert gone == model.evicted and store.evicted == len(gone)


def test_a_new_question_stays_where_all_others_are_wanted() -> None:
    """The hand must not find what has just come, or nothing new would ever be kept."""
    store: Store[Value] = Store(3, lambda _: None)
    for name in (b"a", b"b", b"c"):
        store.put(name, Value())
    store.touch([b"a", b"b", b"c"])
    for number in range(9):
        store.put(b"%d" % number, Value())
        assert b"%d" % number in store.values and len(store.values) == 3


def test_at_the_end_of_the_queue_the_hand_begins_with_the_oldest() -> None:
    """Not with what comes next, which nobody could have asked for yet."""
    gone: list[bytes] = []
    store: Store[Value] = Store(3, gone.append)
    for name in (b"a", b"b", b"c"):
        store.put(name, Value())
    store.touch([b"a", b"b"])
    store.put(b"d", Value())
    store.put(b"e", Value())
    assert gone == [b"c", b"a"]


def test_a_longer_value_for_the_same_question_makes_room() -> None:
    gone: list[bytes] = []
    store: Store[Value] = Store(ROOM, gone.append)
    store.put(b"a", Value(4))
    store.put(b"b", Value(4))
    store.touch([b"b"])
    store.put(b"b", Value(8))
    assert gone == [b"a"] and store.bytes == 8 and list(store.values) == [b"b"]
    store.put(b"b", Value(2))
    assert gone == [b"a"] and store.bytes == 2


def test_what_is_taken_out_is_not_evicted() -> None:
    gone: list[bytes] = []
    store: Store[Value] = Store(2, gone.append)
    store.put(b"a", Value())
    store.touch([b"a"])
    store.take(b"a")
    store.take(b"never there")
    assert (store.bytes, store.evicted, gone) == (0, 0, [])
    store.put(b"a", Value())
    store.put(b"b", Value())
    store.put(b"c", Value())
    assert gone == [b"a"], "that it was asked for before counts no more"


class Question(bytes):
    """A question that can be counted."""


def put(store: Store[Value], number: int) -> None:
    store.put(Question(b"%d" % number), Value())


def test_questions_that_come_and_go_for_ever_are_forgotten() -> None:
    """Nothing is thrown out here, so the hand never comes by."""
    store: Store[Value] = Store(1_000_000, lambda _: None)
    for number in range(500):
        put(store, number)
    store.touch(list(store.values))
    for number in range(500, 20_000):
        put(store, number)
        store.take(b"%d" % number)
    assert len(store.values) == 500 and alive(Question) < 4_000
    for number in range(500, 10_000):  # and comes back
        put(store, number)
    assert len(store.values) == store.bytes == 10_000 and alive(Question) < 12_000


def test_the_same_question_that_comes_and_goes_has_one_place() -> None:
    store: Store[Value] = Store(5, lambda _: None)
    for _ in range(20_000):
        store.put(Question(b"a"), Value())
        store.take(b"a")
    assert alive(Question) < 10
    for number in range(5):
        put(store, number)
    assert lines_run(lambda: put(store, 5)) < 60


def test_room_is_made_in_as_many_steps_as_it_throws_out() -> None:
    """However many are asked for: each is looked at once in a round of the hand."""
    store: Store[Value] = Store(5_000, lambda _: None)
    for number in range(5_000):
        put(store, number)
    store.touch(list(store.values))
    first = lines_run(lambda: put(store, 5_000))
    others = max(lines_run(partial(put, store, number)) for number in range(5_001, 5_101))
    assert first > 5_000 and others < 60


def test_what_is_forgotten_at_once_leaves_nothing() -> None:
    store: Store[Value] = Store(10, lambda _: None)
    for number in range(30):
        put(store, number)
        store.touch([b"%d" % number])
    store.take(b"29")
    store.clear()
    assert store.bytes == 0 and not store.values and alive(Question) == 0
    for number in range(11):
        put(store, number)
    assert list(store.values) == [b"%d" % number for number in range(1, 11)]


# -- hit ratios ------------------------------------------------------------------------------------

ROOM_FOR = 1_000
WARM_UP, COUNTED = 20_000, 40_000  # questions for names that people ask for


class Sieved:
    """The store, as one asks it."""

    def __init__(self) -> None:
        self.store: Store[Value] = Store(ROOM_FOR, lambda _: None)

    def has(self, name: bytes) -> bool:
        if name in self.store.values:
            self.store.touch((name,))
            return True
        self.store.put(name, Value())
        return False


class Lru:
    """Least recently used: the name that was asked for first goes."""

    def __init__(self) -> None:
        self.names: OrderedDict[bytes, None] = OrderedDict()

    def has(self, name: bytes) -> bool:
        has_it = name in self.names
        self.names[name] = None
        self.names.move_to_end(name)
        if len(self.names) > ROOM_FOR:
            self.names.popitem(last=False)
        return has_it


def popular(random: Random) -> Iterator[bytes]:
    """Yield names of 100,000, the n-th with a weight of 1/n (Zipf 1.0)."""
    weights = list(accumulate(1 / number for number in range(1, 100_001)))
    while True:
        yield b"n%d" % bisect(weights, random.random() * weights[-1])


def hits(kept: Sieved | Lru, flood: float) -> float:
    """Return the share of hits, in percent, among questions for names that people ask for, where
    this share of all questions is for names that nobody asks for twice."""
    random = Random(24)
    names = popular(random)
    found = asked = number = 0
    while asked < WARM_UP + COUNTED:
        if random.random() < flood:
            number += 1
            kept.has(b"r%d" % number)
            continue
        asked += 1
        has_it = kept.has(next(names))
        found += has_it and asked > WARM_UP
    return 100 * found / COUNTED


@pytest.fixture(scope="module")
def ratios() -> dict[tuple[type, float], float]:
    return {(kind, flood): hits(kind(), flood) for kind in (Sieved, Lru) for flood in (0.0, 0.8)}


def test_a_flood_of_random_names_costs_few_hits(ratios: dict[tuple[type, float], float]) -> None:
    """Four of five questions are for names that nobody asks for twice."""
    assert ratios[Sieved, 0.0] > 57
    assert ratios[Sieved, 0.8] > ratios[Sieved, 0.0] - 8


def test_lru_has_fewer_hits_and_loses_more_to_a_flood(
    ratios: dict[tuple[type, float], float],
) -> None:
    assert ratios[Lru, 0.0] < ratios[Sieved, 0.0] - 5
    assert ratios[Lru, 0.8] < ratios[Sieved, 0.8] - 15


def test_names_that_become_popular_get_in() -> None:
    """All that is there was wanted, and is not any more."""
    kept, random = Sieved(), Random(24)
    names = popular(random)
    for number in range(ROOM_FOR):
        kept.has(b"old%d" % number)
        kept.has(b"old%d" % number)
    found = [kept.has(next(names)) for _ in range(WARM_UP + COUNTED)]
    assert sum(found[WARM_UP:]) > 0.55 * COUNTED
