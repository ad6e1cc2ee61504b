"""Stories of LS before resolvers hold, happen again from their seed, and see planted bugs.

The stories are `tests/resolver_story.py`, which tells more of them. Not here: what they are about.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from core import node
from core.session import Relayed
from nodes.balancer import upstream as module
from nodes.balancer import verdicts
from nodes.balancer.patience import Patience
from nodes.balancer.race import RACE, Course, Finding
from nodes.balancer.sockets import Socket
from nodes.balancer.upstream import Upstream
from nodes.balancer.window import Window
from nodes.dns.asker import DnsAsker
from nodes.dns.reply import Reply, read_reply
from tests.dns_story import Violated
from tests.resolver_checks import Checks
from tests.resolver_story import Story

SEEDS = 40


@pytest.mark.parametrize("seed", range(SEEDS))
def test_stories_hold(seed: int) -> None:
    """[P29] [P33] to [P36] [P39] [P40]"""
    Story(seed).tell()


def test_a_seed_tells_one_story() -> None:
    assert Story(3).tell().trace == Story(3).tell().trace


def test_bad_things_do_happen() -> None:
    """Each kind of end, and of trouble, is there often enough to be looked at."""
    probes: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for seed in range(SEEDS):
        story = Story(seed)
        probes.update(story.tell().probes)
        told.update(story.told)
    assert min(told.values()) > 20 and len(told) == 5
    for what in (
        "a datagram is lost",
        "a datagram arrives twice",
        "a forger guesses",
        "a host says it twice",
    ):
        assert probes[what] > 10, what
    assert probes["Way RETIRED"] > 10
    for what in ("a host freezes", "a way is too narrow"):
        assert probes[what], what


class Anything(bytes):
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def about_anything(message: bytes) -> Reply | None:
    reply = read_reply(message)
    if reply is not None:
        reply.asked = Anything()
    return reply


def never(self: Upstream, *_: object) -> list[node.Effect]:
    return []


def in_vain(self: DnsAsker, relayed: list[Relayed]) -> list[node.Effect]:
    return self.last_words()


def all_at_once(self: Window, now: float) -> int:
    return 1 << 30


def as_before(patch: pytest.MonkeyPatch) -> None:
    """As version 0.9.0 did: send without limit, hold for a little, send again after a second."""
    patch.setattr(Window, "size", all_at_once)
    patch.setattr(Upstream, "held", never)
    patch.setattr(Patience, "grace_s", lambda self, now, is_failure: 0.03)
    patch.setattr(Checks, "on", frozenset({"first good answer"}))


def last_word(was: Course, found: Finding) -> Course:
    course = RACE[Course.OPEN][found]
    assert isinstance(course, Course)
    return course


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a reply to another question counts": lambda patch: patch.setattr(
        module, "_read", about_anything
    ),
    "what is malformed is mended": lambda patch: patch.setattr(
        module, "_read", lambda message: read_reply(message.rstrip(b"!"))
    ),
    "a worse answer is held for ever": lambda patch: patch.setattr(
        Patience, "grace_s", lambda self, now, is_failure: 60.0
    ),
    "the last to speak is right": lambda patch: patch.setattr(verdicts, "course_after", last_word),
    "what was asked is never forgotten": lambda patch: patch.setattr(Upstream, "woken", never),
    "nothing is relayed": lambda patch: patch.setattr(DnsAsker, "relay", in_vain),
    "the first to fail wins under load": as_before,
    "as much is in flight as is asked": lambda patch: patch.setattr(Window, "size", all_at_once),
    "a copy of a reply is a guess": lambda patch: patch.setattr(
        Socket, "was_settled", lambda self, pair: False
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug](monkeypatch)
    with pytest.raises(Violated):
        for seed in range(SEEDS):
            Story(seed).tell()
