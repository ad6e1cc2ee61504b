"""Stories of the simulator hold, happen again from their seeds, and see planted bugs.

More of them: `make sim`. Not here: what lines alone show of a bug (`tests/sim/test_invariants.py`).
"""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Effect
from core.events import Opened
from core.io.datagrams import DatagramSocket
from core.protocol.names import Negative
from core.protocol.outcome import Answers, Outcome
from core.protocol.reply_batch import ReplyBatch
from nodes.dns.lifetime import Lifetime
from nodes.dns.private_addresses import private_address
from nodes.dns.query import Query
from nodes.dns.record_set import RecordSet
from nodes.dns.reply import DnsReply, ReplyResult, is_bare, read_reply
from nodes.ls import dns_clients, negatives
from nodes.ls.barred import Barred
from nodes.ls.cache import cache as cache_module
from nodes.ls.cache.cache import Cache
from nodes.ls.cache.entry import Entry
from nodes.ls.dns_clients import DnsClient
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.dns_shared import BoundedCache, DnsShared
from nodes.ls.exchange import Exchange
from nodes.ls.held_negative import HeldNegative
from nodes.ls.link import Link
from nodes.ls.negatives import HeldNegatives
from nodes.ls.outcomes import QUESTION, QuestionEvent, QuestionState
from nodes.ls.race_policy import RacePolicy
from nodes.ls.replies import Denial, Replies
from nodes.ls.resolvers import reply_matcher, reply_ranks
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.datagram_resolver import DatagramResolver
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.line_equivalents import TableLinkBesideResolvers
from nodes.ls.resolvers.reachability import Reachability
from nodes.ls.resolvers.recent_queries import RecentQueries
from nodes.ls.resolvers.reply_matcher import ResolverReplies
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.resolvers.sockets import ResolverSocket
from nodes.ls.resolvers.validator_belief import ValidatorBelief
from nodes.ls.resolvers.window import Window
from nodes.ls.server_set import ServerSet
from nodes.ls.table_link import TableLink
from nodes.ls.tiers.tier_policy import TierPolicy
from nodes.ls.tiers.tier_turn import TierEvent
from nodes.ls.upstream import Upstream
from tests.sim.cache_story import CacheStory
from tests.sim.dns_story import TableStory
from tests.sim.invariants import Violated
from tests.sim.resolver_shapes import KINDS
from tests.sim.resolver_story import ResolverStory
from tests.sim.simulate import FACES, run_chunk, story_of
from tests.sim.stories import FAULTS, PLAN_S, WINDOW_S, Cluster, Fault, draw_plan
from tests.sim.story import Story
from tests.sim.tier_story import TierStory
from tests.sim.tls_story import TlsStory
from tests.support.volume import scaled

ROOT = Path(__file__).parents[2]
# Clusters; TSs before DNS askers; every kind of story of resolvers, one of a host that moves and
# has no way, and one of a validator with a wrong clock; the cache, and one of a validator's word
# that comes while a table is waited for; routes and tiers; TLS.
NUMBERS = (
    (Cluster, range(20, 20 + scaled(30))),
    (TableStory, range(scaled(20))),
    (ResolverStory, [*range(scaled(len(KINDS))), 47, 64]),
    (CacheStory, [*range(20, 20 + scaled(12)), 61_149]),
    (TierStory, range(20, 20 + scaled(12))),
    (TlsStory, [20, 21]),  # more of them: test_tls_story.py
)
STORIES = [(face, number) for face, numbers in NUMBERS for number in numbers]


@cache
def told(face: type[Story], number: int) -> tuple[int, Counter[str]]:
    """Tell this story, once for all tests; return its trace and what has been seen in it."""
    world = face(number).tell()
    return world.trace, Counter(world.probes)


@pytest.mark.parametrize(("face", "number"), STORIES)
def test_a_story_holds(face: type[Story], number: int) -> None:
    """[P29] [P31] [P33] to [P37] [P39] [P40] [P45] to [P50] [P89] to [P99] [P104] to [P108]"""
    told(face, number)


def test_faces_take_turns() -> None:
    stories = [story_of(seed) for seed in range(2 * len(FACES))]
    assert [type(story) for story in stories] == 2 * [face for face, _ in NUMBERS]
    assert [story.number for story in stories] == [0] * len(FACES) + [1] * len(FACES)


def test_a_violation_names_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DnsClient, "reply", in_vain)
    count, _, _, wrong = run_chunk(1, 3)
    assert count == 0 and "Violated: P29" in wrong and "TableStory(0)" in wrong
    assert wrong.endswith("again: python3 -m tests.sim.simulate --replay 1")


# -- the same seed is the same story ---------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
def test_i13_a_seed_gives_one_trace(face: type[Story]) -> None:
    assert face(20).tell().trace == told(face, 20)[0] != told(face, 21)[0]


def test_i13_the_hash_seed_does_not_change_a_trace() -> None:
    program = "from tests.sim.simulate import story_of as s; print([s(n).tell().trace for n in %s])"
    seeds = range(20 * len(FACES), 21 * len(FACES))
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    output = subprocess.run(
        [sys.executable, "-c", program % list(seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
    ).stdout
    stories = map(story_of, seeds)
    assert json.loads(output) == [told(type(story), story.number)[0] for story in stories]


def test_a_plan_is_the_seeds_own() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert [draw_plan(seed) for seed in range(20)] != [draw_plan(seed + 1) for seed in range(20)]


# -- trouble is frequent ---------------------------------------------------------------------------


def seen_in(face: type[Story]) -> Counter[str]:
    """Count what has been seen in the stories of this face."""
    return sum((told(*story)[1] for story in STORIES if story[0] is face), Counter())


def test_bad_things_happen_to_dns_askers() -> None:
    """Each kind of end, and of trouble, is there often enough to be looked at."""
    seen = seen_in(TableStory)
    assert min(seen["a datagram is lost"], seen["a datagram arrives twice"]) > 10
    ends = {what.removeprefix("DNS hears ") for what in seen if what.startswith("DNS hears ")}
    assert ends == {"NOERROR", "NOERROR and data", "NXDOMAIN", "SERVFAIL"}


def test_bad_things_happen_before_resolvers() -> None:
    seen = seen_in(ResolverStory)
    ends = [count for what, count in seen.items() if what.startswith("DNS hears ")]
    assert min(ends) > 10 and len(ends) == 5
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
        "a validator is not believed",
    ):
        assert seen[what] > 5, what
    for what in (
        "a host freezes",
        "a dial finds no way",
        "a host gets another address",
        "a host that is asked moves away",
        "a datagram goes where nobody is any more",
        "a validator is believed",
    ):
        assert seen[what], what


def test_bad_things_happen_to_the_cache() -> None:
    seen = seen_in(CacheStory)
    for what in (
        "a special name is asked for",
        "a kept reply is told",
        "a kept reply is told beside tables",
        "a failure is told from the cache",
        "stale data is told",
        "stale data is told again",
        "a late reply has taken the place of a worse one",
        "a validator's word ends what is known",
        "the cache counts evicted",
    ):
        assert seen[what], what


def test_bad_things_happen_to_routes_and_tiers() -> None:
    seen = seen_in(TierStory)
    for what in (
        "a name of a route is asked for",
        "a name belongs to nobody",
        "a route fails",
        "the time of a tier is over",
        "a tier has nothing to say",
        "what a later tier has said is told",
        "an earlier tier says something late",
        "a negative is held when the time of its tier is over",
        "a question is asked again in a later tier",
        "a table answers when a later tier is asked, too",
        "a reply comes before its turn",
    ):
        assert seen[what], what


def test_the_first_stories_have_all_shapes() -> None:
    shapes = [ResolverStory(seed).shape for seed in range(4 * len(KINDS))]
    assert {shape.kind for shape in shapes} == set(KINDS)
    halves = {(shape.denial, shape.load.is_heavy) for shape in shapes if shape.kind == "halves"}
    assert len(halves) == 4


# -- any plan --------------------------------------------------------------------------------------


faults = st.builds(
    Fault,
    st.floats(0, PLAN_S).map(lambda at: round(at, 3)),
    st.sampled_from(FAULTS),
    st.integers(0, 3),
    st.floats(0.01, WINDOW_S).map(lambda lasts: round(lasts, 3)),
)


@settings(max_examples=scaled(8), suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.lists(faults, max_size=50))
def test_any_plan_of_faults(seed: int, plan: list[Fault]) -> None:
    Cluster(seed, plan).tell()


# -- planted bugs ----------------------------------------------------------------------------------


def in_vain(self: DnsClient, outcomes: list[Outcome]) -> list[Effect]:
    self.owed -= sum(len(outcome.questions) for outcome in outcomes)
    return self.last_words()


def impatient(self: DnsFrontEnd, opened: Opened) -> DnsClient:
    asker = ASKER(self, opened)
    asker.timeout_s = 0.2
    return asker


def with_wrong_addresses(self: DnsShared, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
    BEGIN(self, *arguments, **more)
    self.record_sets = BoundedCache(lambda _: RecordSet(b"10.0.0.0,10.0.1.1", 60), 1)


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


def read_mended(message: bytes) -> DnsReply | None:
    """Undo `malformed`, of a message without its ID."""
    if message[-1:] == b"!":
        message = message[:9] + bytes([message[9] - 1]) + message[10:-1]
    return read_reply(message)


def always(result: object) -> Callable[..., object]:
    """Build a method that does nothing, and returns this."""
    return lambda *_, **__: result


def at_the_first(self: Reachability) -> bool:
    return bool(self.question)


def without_tail(message: bytes) -> DnsReply | None:
    return None if message[-4:] == b"tail" else read_reply(message)


def unless_bare(message: bytes) -> DnsReply | None:
    return None if is_bare(message) else read_reply(message)


def refusals_are_cut(message: bytes) -> DnsReply | None:
    reply = read_reply(message)
    if reply is not None:
        reply.is_cut = reply.result is ReplyResult.REFUSED
    return reply


def hasty(self: Ageing, bounds: Bounds, resend_s: float) -> None:
    """Forget an ID as soon as nobody can join the question, however long DNS may wait."""
    AGE(self, replace(bounds, timeout_s=0.001, dns_timeout_s=0.001), resend_s)


def last_word(was: QuestionState, found: QuestionEvent) -> QuestionState:
    course = QUESTION[was if found is QuestionEvent.RELEASED else QuestionState.OPEN][found]
    assert isinstance(course, QuestionState)
    return course


def fail_all(self: DatagramResolver, one: ResolverSocket, why: str, heard: ResolverReplies) -> None:
    heard.denials += [
        (question, QuestionEvent.FAILURE_SAID, None) for question, _, _ in one.asked.values()
    ]
    heard.effects.append(self.sockets.dial_udp())


def as_a_failure(self: ReplyRanks, result: ReplyResult, before: int) -> QuestionEvent:
    event = RANK(self, result, before)
    return QuestionEvent.FAILURE_SAID if event is QuestionEvent.BOGUS_SAID else event


def of_first_record(reply: DnsReply) -> object:
    count, *others = counts = reply.counts
    reply.counts = (min(1, count), *others)
    found, reply.counts = private_address(reply), counts
    return found


def no_name(self: TableLinkBesideResolvers, chunk: Answers, _: Any) -> Any:  # noqa: ANN401
    return ANSWERED(self, chunk, [])


def of_any_age(self: Lifetime, seconds: int) -> DnsReply:
    return AGED(self, 0)


def of_twice_its_age(self: Lifetime, seconds: int) -> DnsReply:
    return AGED(self, min(2 * seconds, self.seconds - 1))


def with_ttl_1(self: Lifetime, ttls: list[int]) -> Any:  # noqa: ANN401
    return WITH_TTLS(self, [min(1, ttl) for ttl in ttls])


def whatever_the_flags(self: Cache, questions: Sequence[bytes], now: float) -> Any:  # noqa: ANN401
    return LOOK(self, [question.replace(b" TYPE1 +cd", b"") for question in questions], now)


def drop_what_fails(
    self: Cache,
    upstream: Upstream,
    unknown: Sequence[bytes],
    denials: Sequence[Denial],
    now: float,
) -> Iterable[Effect]:
    for question, event, _ in denials:
        if event is QuestionEvent.FAILURE_SAID:
            self._drop(question)
    return DENIED(self, upstream, unknown, denials, now)


def also_old(self: Cache, entry: Entry, now: float) -> DnsReply | None:
    reply = entry.fresh(now)
    return entry.stale() if reply is None and entry.is_data else reply


def for_ever(self: Cache, question: bytes, now: float) -> None:
    COUNT_STALE(self, question, now)
    if entry := self._entries.get(question):
        entry.told_until = math.inf


def whoever_was_asked(_: Cache, *about: Any) -> list[bool] | None:  # noqa: ANN401
    """See Cache.admits. No reply is late."""
    admitted: list[bool] | None = about[-1]
    return admitted


def validators_first(self: Cache, question: bytes, now: float) -> tuple[Denial, bool] | None:
    """See Cache.word. A validator's word is told before old data."""
    failure = self._failures.get(question)
    if failure is not None and failure.is_final and not self.has(question, now):
        return (question, QuestionEvent.FAILURE_SAID, failure.reply), True
    return WORD(self, question, now)


def what_is_worse(self: Cache, question: bytes) -> bool:
    return question in self._worse or question in self._failures


def askable_without_routes(self: Barred, link: Link, questions: list[bytes]) -> list[bytes]:
    some, self.routes = self.routes, None
    left = ASKABLE(self, link, questions)
    self.routes = some
    return left


def askable_in_any_tier(self: Barred, link: Link, questions: list[bytes]) -> list[bytes]:
    return [one for one in questions if not self.from_all_tiers(one) & link.bit]


def the_last_tier(self: TierPolicy, tier: int, unable: ServerSet) -> int | None:
    last = len(self._tiers) - 1
    return last if tier < last else None


def blocked_is_not_found(self: TableLink, replies: Replies, batch: ReplyBatch) -> None:
    batch.not_found, batch.blocked = [*batch.not_found, *batch.blocked], []
    ADD_NEGATIVES(self, replies, batch)


def others_have_their_turn(
    self: Exchange, upstream: Upstream, replies: Replies, now: float
) -> list[Effect]:
    effects = DENY(self, upstream, replies, now)
    failed = [
        question
        for question, event, _ in replies.denials
        if event is QuestionEvent.FAILURE_SAID and self._questions.is_open(question)
    ]
    for other in self._upstreams.all if failed else ():
        if other.covers_all_names and other.link.is_asked:
            effects += other.ask(failed, now)
    return effects


def whatever_is_held(self: HeldNegatives, questions: list[bytes], now: float) -> list[Effect]:
    return self._ask_next_tier(questions, TierEvent.TIER_SLOW, now)[1]


def when_held(self: HeldNegatives, due: list[HeldNegative], now: float) -> list[Effect]:
    effects = self._decide(due, now)
    return effects + RELEASE_DUE(self, [], now)


def all_over_again(self: TierPolicy, questions: list[bytes], now: float) -> None:
    known = [question for question in questions if question in self._turns]
    self.closed(known, QuestionState.DROPPED, now)
    BEGIN_TURNS(self, questions, now)


def move_anywhere(self: ResolverLink, now: float) -> list[Effect]:
    return self.resolver.move(now)


AGED, LOOK, DENIED, WORD = Lifetime.aged, Cache.look, Cache.denied, Cache.word
ASKABLE, BEGIN_TURNS = Barred.askable, TierPolicy.begin
DENY = vars(Exchange)["_deny"]
ADD_NEGATIVES = vars(TableLink)["_add_negatives"]
WITH_TTLS, COUNT_STALE = vars(Lifetime)["_with_ttls"], vars(Cache)["_count_stale"]
ASKER, BEGIN, AGE = DnsFrontEnd.asker, DnsShared.__init__, Ageing.__init__
RANK, BELIEVES = ReplyRanks.event, "_is_believed"
LINK_BESIDE = TableLinkBesideResolvers
ANSWERED = LINK_BESIDE.answers_to_queries
NXDOMAIN_WHEN_TIME_IS_UP = dns_clients.DENIALS | {Negative.TIMED_OUT: Query.no_such_name}
SERVFAIL_OF_NO_DATA = dns_clients.DENIALS | {Negative.NO_DATA: Query.failure}
DEAF = property(lambda self: None, lambda self, error: None)
RELEASE, RELEASE_DUE = map(vars(HeldNegatives).get, ("_release", "_release_due"))
FIRST, REFUSED = "first good answer", "refused at once"
PRIVATE = "private_address"
# Each with the number of a story that shows it soon, with the invariant that sees it, and with what
# is put in the place of what.
BUGS: dict[type[Story], list[tuple[str, int, str, Any, str, Any]]] = {
    TableStory: [
        ("NXDOMAIN when time is up", 8, "I3", dns_clients, "DENIALS", NXDOMAIN_WHEN_TIME_IS_UP),
        ("SERVFAIL when there is no data", 0, "I3", dns_clients, "DENIALS", SERVFAIL_OF_NO_DATA),
        ("no reply at all", 0, "P29", DnsClient, "reply", in_vain),
        ("time is up too soon", 1, "I3", DnsFrontEnd, "asker", impatient),
        ("addresses of the wrong question", 0, "I3", DnsShared, "__init__", with_wrong_addresses),
    ],
    ResolverStory: [
        ("a reply to another question counts", 5, FIRST, reply_matcher, "_read", about_anything),
        ("what is malformed is mended", 23, "P35", reply_matcher, "_read", read_mended),
        ("bytes behind a reply make it none", 27, FIRST, reply_matcher, "_read", without_tail),
        ("an error needs more than a header", 27, FIRST, reply_matcher, "_read", unless_bare),
        ("a worse answer is held for ever", 9, "P33", Grace, "grace_s", always(60.0)),
        ("the first to fail wins", 3, FIRST, Grace, "grace_s", always(0.03)),
        ("the last to speak is right", 51, "P33", negatives, "state_after", last_word),
        ("a table's name is nothing", 94, "P42", LINK_BESIDE, "answers_to_queries", no_name),
        ("what was asked is never forgotten", 6, "I8", DatagramResolver, "due", always(math.inf)),
        ("nothing is relayed", 5, "P29", DnsClient, "reply", in_vain),
        ("as much is in flight as is asked", 59, "no overflow", Window, "size", always(1 << 30)),
        ("nobody hears that a port is closed", 43, REFUSED, DatagramSocket, "broke", DEAF),
        ("who asks one that is down waits", 43, REFUSED, HeldNegatives, "fail", always([])),
        ("what a broken socket asked fails", 43, REFUSED, DatagramResolver, "_broke", fail_all),
        ("the first to break is the end of it", 43, REFUSED, Reachability, "broke", at_the_first),
        ("nobody asks whether it is back", 43, REFUSED, Reachability, "due", always(math.inf)),
        (
            "a resolver that moves is asked where it was",
            44,
            FIRST,
            DatagramResolver,
            "move",
            always([]),
        ),
        ("what is late for lines is late for all", 15, "P33", Ageing, "__init__", hasty),
        (
            "who does not know EDNS has failed",
            27,
            FIRST,
            DatagramResolver,
            "_ask_plain",
            always([]),
        ),
        ("REFUSED is thought to be cut", 1, "no streams", reply_matcher, "_read", refusals_are_cut),
        ("a validator is a failure", 16, "P89", ReplyRanks, "event", as_a_failure),
        ("a wrong clock is believed", 64, "P90", ValidatorBelief, BELIEVES, always(True)),
        ("one bogus name is too many", 88, "P89", ValidatorBelief, BELIEVES, always(False)),
        ("what is private may stand behind", 66, "P91", reply_ranks, PRIVATE, of_first_record),
        ("a copy of a reply is a guess", 105, "no guesses", RecentQueries, "has", always(False)),
    ],
    CacheStory: [
        ("a kept reply does not age", 1, "P94", Lifetime, "aged", of_any_age),
        ("a kept reply ages twice", 3, "P94", Lifetime, "aged", of_twice_its_age),
        ("a TTL is 1 at most", 1, "P94", Lifetime, "_with_ttls", with_ttl_1),
        ("+cd is no part of a question", 4, "exact question", Cache, "look", whatever_the_flags),
        ("a failure drops old data", 2, "P96", Cache, "denied", drop_what_fails),
        ("old data is told before anybody is asked", 1, "P97", Cache, "_current", also_old),
        ("old data is told for ever", 15, "P97", Cache, "_count_stale", for_ever),
        ("what is disputed is kept for an hour", 37, "P94", cache_module, "_DISPUTED_MAX_S", 3_600),
        ("late data repairs a bogus name", 247, "P89", Cache, "wants", what_is_worse),
        ("late data beats a word that is kept", 100_335, "P89", Cache, "admits", whoever_was_asked),
        ("a validator's word beats old data", 112, "P96", Cache, "word", validators_first),
        ("a late reply is always kept", 4, "P98", Cache, "wants", always(True)),
        ("a table's answer drops nothing", 76, "P95", Cache, "_drop_names", always(None)),
        ("what is withheld is asked", 0, "P92", Barred, "let_pass", lambda _, shares: shares),
        ("who moves out is asked all the same", 2, "P92", ResolverLink, "moved", move_anywhere),
    ],
    TierStory: [
        (
            "whoever comes up knows of no route",
            16,
            "P107",
            Barred,
            "askable",
            askable_without_routes,
        ),
        ("no name has a route", 2, "P107", Barred, "of_each", always(None)),
        (
            "a route's failure is others' turn",
            3,
            "P107",
            Exchange,
            DENY.__name__,
            others_have_their_turn,
        ),
        ("all tiers are asked at once", 0, "P104", TierPolicy, "_next", the_last_tier),
        ("what is blocked goes on", 10, "P104", TableLink, "_add_negatives", blocked_is_not_found),
        ("a negative is held, and time is up", 4, "P104", HeldNegatives, "slow", whatever_is_held),
        ("whoever comes up has its turn", 54, "P104", Barred, "askable", askable_in_any_tier),
        ("a late reply has its turn", 1, "P104", TierPolicy, "admits", RacePolicy.admits),
        (
            "a slow table has no time",
            10,
            "P104",
            HeldNegatives,
            "_release_due",
            when_held,
        ),
        ("the time of a tier is never over", 1, "P105", TierPolicy, "due", math.inf),
        ("what fails waits for its time", 7, "P105", HeldNegatives, "_is_enough", always(False)),
        ("what is asked again begins anew", 0, "P33", TierPolicy, "begin", all_over_again),
        ("a failure of the first tier is told", 7, "P106", HeldNegatives, "_decide", RELEASE),
        ("turns are kept", 2, "I8", TierPolicy, "closed", RacePolicy.closed),
    ],
}
PLANTED = [pytest.param(face, *bug[1:], id=bug[0]) for face, bugs in BUGS.items() for bug in bugs]


@pytest.mark.parametrize(("face", "number", "tag", "of", "attribute", "bad"), PLANTED)
def test_a_planted_bug_is_seen(
    face: type[Story],
    number: int,
    tag: str,
    of: Any,  # noqa: ANN401
    attribute: str,
    bad: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of, attribute, bad, raising=False)
    with pytest.raises(Violated, match=f"^{tag}: "):
        face(number).tell()
