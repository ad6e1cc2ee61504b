"""Stories of LS before resolvers hold, happen again from their seed, and see planted bugs.

The stories are `tests/sim/resolver_story.py`, which tells more of them. Not here: what they are
about.
"""

import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from core.bounds import Bounds
from core.effects import Effect
from core.io.datagrams import DatagramSocket
from core.protocol.outcome import Answers, Outcome
from nodes.dns.reply import DnsReply, is_bare, read_reply
from nodes.ls import negatives
from nodes.ls.dns_clients import DnsClient
from nodes.ls.negatives import HeldNegatives
from nodes.ls.outcomes import QUESTION, QuestionEvent, QuestionState
from nodes.ls.resolvers import reply_matcher as module
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.line_equivalents import TableLinkBesideResolvers
from nodes.ls.resolvers.reachability import Reachability
from nodes.ls.resolvers.recent_queries import RecentQueries
from nodes.ls.resolvers.reply_matcher import ResolverReplies
from nodes.ls.resolvers.resolver import Resolver
from nodes.ls.resolvers.sockets import ResolverSocket
from nodes.ls.resolvers.window import Window
from tests.nodes.test_dns_clients import MX, query
from tests.sim.dns_story import Violated
from tests.sim.resolver_checks import ALL, DEAD_HOLD_S, REFUSED_S, Checks
from tests.sim.resolver_shapes import KINDS, Shape
from tests.sim.resolver_story import Story
from tests.support.dns_messages import section_of
from tests.support.volume import scaled

# Every kind of story; the last one moves a host that has no way.
SEEDS = [*range(scaled(len(KINDS))), 47]


@cache
def told(seed: int) -> tuple[Story, Counter[str]]:
    """Tell the story of this seed, once for all tests; return what has been seen in it."""
    story = Story(seed)
    return story, Counter(story.tell().probes)


@pytest.mark.parametrize("seed", SEEDS)
def test_stories_hold(seed: int) -> None:
    """[P29] [P33] to [P37] [P39] [P40] [P45] to [P50]"""
    told(seed)


def test_a_seed_tells_one_story() -> None:
    assert Story(3).tell().trace == told(3)[0].world.trace


def test_bad_things_do_happen() -> None:
    """Each kind of end, and of trouble, is there often enough to be looked at."""
    probes: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for seed in SEEDS:
        story, seen = told(seed)
        probes.update(seen)
        ends.update(story.told)
    assert min(ends.values()) > 10 and len(ends) == 5
    for what in (
        "a datagram is lost",
        "a datagram arrives twice",
        "a forger guesses",
        "a host says it twice",
        "a way is too narrow",
        "SocketState RETIRED",
        "an ICMP error comes",
        "a datagram cannot be sent",
        "a header only",
        "a query with EDNS in vain",
    ):
        assert probes[what] > 5, what
    for what in ("a host freezes", "a dial finds no way", "a host gets another address"):
        assert probes[what], what


def test_the_first_stories_have_all_shapes() -> None:
    shapes = [Story(seed).shape for seed in range(4 * len(KINDS))]
    assert {shape.kind for shape in shapes} == set(KINDS)
    halves = {(shape.denial, shape.load.is_heavy) for shape in shapes if shape.kind == "halves"}
    assert len(halves) == 4


# -- the checks that can be switched ---------------------------------------------------------------

# A name that the second of two has, a name that the first has, and one without data.
X1, X2 = section_of(query(1, b"n9.example")), section_of(query(1, b"N10.example"))
MAIL = section_of(query(1, b"n9.example", MX))


def miss_data(checks: Checks) -> None:
    checks.told(X1, "REFUSED", 1.0)


def miss_shown_data(checks: Checks) -> None:
    checks.came("DNS1", X1, "NXDOMAIN", 1.0)
    checks.came("DNS2", X1, "data", 1.1)
    checks.told(X1, "NXDOMAIN", 1.2)


def overflow(checks: Checks) -> None:
    checks.ended(1, [], [])


def guess(checks: Checks) -> None:
    checks.ended(0, ["DNS1: 32 replies that match nothing, as if guessed"], [])


def stream(checks: Checks) -> None:
    checks.ended(0, [], ["DNS1"])


def hold_long(checks: Checks) -> None:
    checks.held(DEAD_HOLD_S + 0.01, "")


def wait_for_the_refused(checks: Checks) -> None:
    checks.closed_port(1.0, 2.0)
    checks.replied("SERVFAIL", "data", 1.0 + REFUSED_S / 2, 1.9)
    checks.replied("SERVFAIL", "data", 1.5, 1.5 + 2 * REFUSED_S)


def refuse_what_is_back(checks: Checks) -> None:
    checks.closed_port(1.0, 2.0)
    checks.replied("SERVFAIL", "data", 2.0 + REFUSED_S / 2, 2.1 + REFUSED_S / 2)
    checks.replied("SERVFAIL", "data", 3.0, 3.1)


MISSES: list[tuple[str, Callable[[Checks], None], Shape, Shape]] = [  # and where it is none
    (ALL[0], miss_data, Shape("halves", denial="REFUSED"), Shape("rough")),
    (ALL[0], miss_data, Shape("load"), Shape("halves", denial="NXDOMAIN")),
    (ALL[0], miss_shown_data, Shape("halves", denial="NXDOMAIN"), Shape("dead")),
    (ALL[1], overflow, Shape("load"), Shape("freeze")),
    (ALL[2], guess, Shape("twice"), Shape()),
    (ALL[3], stream, Shape("freeze"), Shape("rough")),
    (ALL[4], hold_long, Shape("dead"), Shape("load")),
    (ALL[5], wait_for_the_refused, Shape("closed"), Shape()),
    (ALL[5], refuse_what_is_back, Shape("closed"), Shape()),
]


@pytest.mark.parametrize(("check", "do", "shape", "other"), MISSES)
def test_a_switched_check_sees_its_miss(
    check: str,
    do: Callable[[Checks], None],
    shape: Shape,
    other: Shape,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off, it counts; on, it raises; in a story of another shape, it is none."""
    monkeypatch.setattr(Checks, "on", frozenset())
    checks = Checks(shape)
    do(checks)
    assert checks.missed == {check: 1}
    monkeypatch.setattr(Checks, "on", frozenset(ALL))
    with pytest.raises(Violated, match=check):
        do(Checks(shape))
    do(Checks(other))


def test_what_is_right_is_no_miss() -> None:
    for kind in KINDS:
        checks = Checks(Shape(kind, denial="REFUSED"))
        checks.told(X1, "data", 1.0)
        checks.told(MAIL, "NOERROR", 1.0)
        checks.held(DEAD_HOLD_S, "")
        checks.ended(0, ["DNS1 is silent: nobody waits for it"], [])
        assert not checks.missed


def test_what_was_shown_long_ago_is_not_known() -> None:
    checks = Checks(Shape("halves", denial="NXDOMAIN"))
    checks.came("DNS1", X1, "NXDOMAIN", 1.0)
    checks.came("DNS2", X1, "data", 1.1)
    for section, asked_at in ((X1, 1.1), (X1, 3.2), (X2, 1.2)):
        checks.told(section, "NXDOMAIN", asked_at)
    assert not checks.missed


class Anything(bytes):
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def about_anything(message: bytes) -> DnsReply | None:
    reply = read_reply(message)
    if reply is not None:
        reply.section = Anything()
    return reply


def mended(message: bytes) -> bytes:
    """Undo `malformed`, of a message without its ID."""
    if message[-1:] != b"!":
        return message
    return message[:9] + bytes([message[9] - 1]) + message[10:-1]


def never(self: Resolver, *_: object) -> list[Effect]:
    return []


def in_vain(self: DnsClient, outcomes: list[Outcome]) -> list[Effect]:
    self.owed -= sum(len(outcome.questions) for outcome in outcomes)
    return self.last_words()


def all_at_once(self: Window, now: float) -> int:
    return 1 << 30


def as_before(patch: pytest.MonkeyPatch) -> None:
    """Do as version 0.9.0 did: send without limit, hold for a little, send again after a second."""
    patch.setattr(Window, "size", all_at_once)
    patch.setattr(Resolver, "held", never)
    patch.setattr(Grace, "grace_s", lambda self, now, is_failure: 0.03)
    patch.setattr(Checks, "on", frozenset({"first good answer"}))


def forget_soon(patch: pytest.MonkeyPatch) -> None:
    """Wait for an ID as long as a line waits, however long DNS may."""
    begin = Ageing.__init__

    def begin_so(self: Ageing, bounds: Bounds, resend_s: float) -> None:
        begin(self, bounds, resend_s)
        self._ages_s = (*self._ages_s[:2], bounds.timeout_s)

    patch.setattr(Ageing, "__init__", begin_so)


def last_word(was: QuestionState, found: QuestionEvent) -> QuestionState:
    course = QUESTION[QuestionState.OPEN][found]
    assert isinstance(course, QuestionState)
    return course


def fail_all(self: Resolver, one: ResolverSocket, why: str, heard: ResolverReplies) -> None:
    heard.denials += [
        (question, QuestionEvent.FAILURE_SAID, None) for question, _, _ in one.asked.values()
    ]
    heard.effects.append(self.sockets.dial_udp())


def nothing_of_the_name(self: TableLinkBesideResolvers, chunk: Answers, _: Any) -> Any:  # noqa: ANN401
    return ANSWERED(self, chunk, [])


ANSWERED = TableLinkBesideResolvers._answers_to_queries

# Bugs, each with the seed of a story that shows it soon.
BUGS: dict[tuple[str, int], Callable[[pytest.MonkeyPatch], None]] = {
    ("a reply to another question counts", 5): lambda patch: patch.setattr(
        module, "_read", about_anything
    ),
    ("what is malformed is mended", 23): lambda patch: patch.setattr(
        module, "_read", lambda message: read_reply(mended(message))
    ),
    ("a worse answer is held for ever", 9): lambda patch: patch.setattr(
        Grace, "grace_s", lambda self, now, is_failure: 60.0
    ),
    ("the last to speak is right", 51): lambda patch: patch.setattr(
        negatives, "state_after", last_word
    ),
    ("that a table has the name is nothing", 94): lambda patch: patch.setattr(
        TableLinkBesideResolvers, "_answers_to_queries", nothing_of_the_name
    ),
    ("what was asked is never forgotten", 6): lambda patch: patch.setattr(
        Resolver, "due", lambda self: math.inf
    ),
    ("nothing is relayed", 5): lambda patch: patch.setattr(DnsClient, "reply", in_vain),
    ("the first to fail wins under load", 3): as_before,
    ("as much is in flight as is asked", 59): lambda patch: patch.setattr(
        Window, "size", all_at_once
    ),
    ("nobody hears that a port is closed", 43): lambda patch: patch.setattr(
        DatagramSocket,
        "broke",
        property(lambda self: None, lambda self, error: None),
        raising=False,
    ),
    ("what is asked of a resolver that is down waits", 43): lambda patch: patch.setattr(
        HeldNegatives, "fail", never
    ),
    ("what was asked by a socket that broke fails", 43): lambda patch: patch.setattr(
        Resolver, "_broke", fail_all
    ),
    ("the first to break is the end of it", 43): lambda patch: patch.setattr(
        Reachability, "broke", lambda self: bool(self.question)
    ),
    ("nobody asks whether a resolver is back", 43): lambda patch: patch.setattr(
        Reachability, "due", lambda self: math.inf
    ),
    ("what is late for lines is late for all", 13): forget_soon,
    ("who does not know EDNS has failed", 27): lambda patch: patch.setattr(
        Resolver, "_ask_plain", never
    ),
    ("bytes behind a reply make it none", 27): lambda patch: patch.setattr(
        module, "_read", lambda message: None if message[-4:] == b"tail" else read_reply(message)
    ),
    ("an error needs more than a header", 27): lambda patch: patch.setattr(
        module, "_read", lambda message: None if is_bare(message) else read_reply(message)
    ),
    ("a copy of a reply is a guess", 87): lambda patch: patch.setattr(
        RecentQueries, "has", lambda self, pair: False
    ),
}


@pytest.mark.parametrize(("bug", "seed"), BUGS)
def test_a_planted_bug_is_seen(bug: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug, seed](monkeypatch)
    with pytest.raises(Violated):
        Story(seed).tell()
