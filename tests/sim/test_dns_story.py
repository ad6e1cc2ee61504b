"""The DNS front end in the simulator: stories hold, say the same each time, and can say no.

More of them: `python3 -m tests.sim.dns_story --seeds 1000`.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from core.bounds import Bounds
from core.datagram_events import Datagrams
from core.effects import Effect
from core.events import Event
from core.protocol.names import Negative
from nodes.dns.query import Query
from nodes.dns.record_set import RecordSet
from nodes.ls import dns_clients as module
from nodes.ls.dns_clients import DnsClient
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.dns_shared import BoundedCache, DnsShared
from tests.sim.dns_story import Story, Violated
from tests.sim.world import Observer, World
from tests.support.volume import scaled

SEEDS = scaled(20)


@cache
def told(seed: int) -> tuple[Story, Counter[str]]:
    """Tell the story of this seed, once for all tests; return what has been seen in it."""
    story = Story(seed)
    return story, Counter(story.tell().probes)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_stories_hold(seed: int) -> None:
    """[P29] [P31]"""
    told(seed)


def test_a_seed_tells_one_story() -> None:
    assert Story(3).tell().trace == told(3)[0].world.trace


def test_bad_things_do_happen() -> None:
    """Each reply code, too, is told in some story."""
    probes: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    for story, seen in map(told, range(SEEDS)):
        probes.update(seen)
        codes.update(story.codes)
    assert codes.keys() == {0, 2, 3}
    assert min(probes["a datagram is lost"], probes["a datagram arrives twice"]) > 10


def in_vain(self: DnsClient, lines: bytes) -> list[Effect]:
    return self.last_words()


def impatient(self: DnsFrontEnd, conn: str, is_datagrams: bool) -> DnsClient:
    asker = ASKER(self, conn, is_datagrams)
    asker.timeout_s = 0.2
    return asker


def with_wrong_addresses(self: DnsShared, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
    BEGIN(self, *arguments, **more)
    self.record_sets = BoundedCache(lambda _: RecordSet(b"10.0.0.0,10.0.1.1", 60), 1)


ASKER, BEGIN = DnsFrontEnd.asker, DnsShared.__init__


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "NXDOMAIN when time is up": lambda patch: patch.setitem(
        module._DENIALS, Negative.TIMED_OUT, Query.no_such_name
    ),
    "SERVFAIL when there is no data": lambda patch: patch.setitem(
        module._DENIALS, Negative.NO_DATA, Query.failure
    ),
    "no reply at all": lambda patch: patch.setattr(DnsClient, "reply", in_vain),
    "time is up too soon": lambda patch: patch.setattr(DnsFrontEnd, "asker", impatient),
    "addresses of the wrong question": lambda patch: patch.setattr(
        DnsShared, "__init__", with_wrong_addresses
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug](monkeypatch)
    with pytest.raises(Violated):
        for seed in range(20):
            Story(seed).tell()


class CountingBrain:
    """A brain that counts the datagrams of each event."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def deadline(self) -> float | None:
        return None

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Datagrams):
            self.counts.append(len(event.datagrams))
        return []


def test_datagrams_are_read_so_many_in_one_turn() -> None:
    world, brain = World("full"), CountingBrain()
    ls, resolver = world.host("LS"), world.host("resolver")
    bounds = Bounds(datagrams_per_turn=5)
    ls.run(bounds, Observer(world, "LS"), lambda _: brain, listens=False, with_dns=True)
    assert ls.datagrams is not None
    ls.paused_until = 1.0
    for _ in range(12):
        world.fly(b"x", resolver, ls)
    world.run_until(20.0)
    assert sum(brain.counts) == 12 and max(brain.counts) <= 5
