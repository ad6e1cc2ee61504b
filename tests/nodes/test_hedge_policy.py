"""Hedging: LS with a budget for extra questions, by the rules of `proto.md`'s chapter Hedging.

Not here: what fast is (`tests/nodes/test_latency.py`), and LS under chance
(`tests/nodes/test_load_balancer_machine.py`).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.environment import Environment
from core.events import Backlogged, Woken
from core.text import split_lines
from nodes.ls.hedging.asking import Asking
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.server_set import server_at
from tests.support.balancers import addresses_of, hedging_of, load_balancer, metric
from tests.support.counting import alive, lines_run
from tests.support.stage import Stage

T1, T2, T3 = "TS1", "TS2", "TS3"
TSS = (T1, T2, T3)


def started(
    bounds: Bounds | None = None,
    extra_load: float | None = 0.5,
    servers: int = 2,
    linked: Iterable[str] = TSS,
    explores: bool = False,
) -> Stage:
    """Build LS that asks TS1 first while nothing is known, and does not explore unless it is to;
    with a client."""
    bounds = bounds or Bounds()
    if not explores:
        bounds = replace(bounds, explore_every=2**31 - 1)
    up = [name for name in TSS[:servers] if name in linked]
    brain = load_balancer(addresses_of(servers), bounds, extra_load=extra_load)
    return Stage.begun(brain, bounds, up=up, clients=("a",))


def ask(stage: Stage, *questions: bytes) -> None:
    stage.hear("a", b"".join(question + b"\n" for question in questions))


def asked(stage: Stage, name: str) -> list[bytes]:
    """Return what a TS was asked since the last time; PING is no question."""
    return [line for line in split_lines(stage.take(name)) if line != b"PING"]


def say(stage: Stage, name: str, *questions: bytes) -> None:
    """Let a TS answer these, which are of type A."""
    stage.hear(name, b"".join(question + b" 10.0.0.1 A IN\n" for question in questions))


def deny(stage: Stage, name: str, *questions: bytes) -> None:
    stage.hear(name, b"".join(question + b" - NOT FOUND\n" for question in questions))


def deny_data(stage: Stage, name: str, *questions: bytes) -> None:
    stage.hear(name, b"".join(question + b" - NO DATA\n" for question in questions))


def names(count: int, letter: bytes = b"n") -> list[bytes]:
    return [b"%b%05d" % (letter, number) for number in range(count)]


def train(stage: Stage, took_s: dict[str, float], rounds: int = 40) -> None:
    """Make it known how fast TSs are: whoever is asked answers so much later."""
    for number in range(rounds):
        name = b"train%d" % number
        ask(stage, name)
        first = next((ts for ts in took_s if name in asked(stage, ts)), None)
        assert first is not None
        stage.wait(took_s[first])
        say(stage, first, name)
        stage.wait(0.05)
    stage.take("a")
    for ts in took_s:
        stage.take(ts)


def prefer(stage: Stage, first: str) -> None:
    """Make all others seem very slow."""
    ranking = hedging_of(stage.brain).ranking
    for link in stage.brain.parts.upstreams.links:
        if link.conn != first:
            ranking.add(link, 1000.0, 1000, stage.now)


def set_tokens(stage: Stage, tokens: float) -> None:
    """Set the budget as if so many had been saved up."""
    hedging_of(stage.brain).budget.tokens = tokens


def keeps_nothing(brain: LoadBalancer) -> None:
    """Check that what is settled is let go, but for what the next question or moment clears
    away."""
    hedge = hedging_of(brain)
    assert not hedge.kept and brain.parts.negatives.is_empty
    while (due := hedge.due) < math.inf:  # a step clears so much away and no more
        hedge.woken(due)


# -- the order of asking ---------------------------------------------------------------------------


def first_asked(stage: Stage, name: bytes) -> str:
    """Ask; who alone is asked? It answers at once."""
    ask(stage, name)
    (first,) = [ts for ts in (T1, T2) if name in asked(stage, ts)]
    say(stage, first, name)
    return first


def test_a_ts_that_turns_slow_loses_its_place_to_the_next() -> None:
    stage = started(extra_load=0.0)
    train(stage, {T1: 0.002, T2: 0.01})
    assert first_asked(stage, b"x") == T1
    train(stage, {T1: 0.04, T2: 0.01}, rounds=10)
    assert first_asked(stage, b"y") == T2


def test_a_ts_that_falls_silent_loses_its_place() -> None:
    stage = started(extra_load=0.0)
    train(stage, {T1: 0.002, T2: 0.01})
    unheard = 0
    for name in names(100):
        ask(stage, name)
        stage.wait(0.01)
        if name in asked(stage, T2):
            break
        unheard += 1
    assert 0 < unheard < 30


def test_a_ts_that_is_well_again_has_its_place_again() -> None:
    """Only exploring can find that out."""
    bounds = replace(Bounds(), explore_every=5)
    stage = started(bounds, extra_load=0.0, explores=True)
    for took_s in (0.03, 0.001):
        train(stage, {T1: took_s, T2: 0.01}, rounds=100)
    assert [first_asked(stage, b"x%d" % n) for n in range(4)].count(T1) >= 3


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_share_of_questions_explores_each_ts_in_its_turn(batch: int) -> None:
    bounds = replace(Bounds(), explore_every=20)
    stage = started(bounds, extra_load=0.0, servers=3, explores=True)
    train(stage, {T1: 0.001, T2: 0.01, T3: 0.01})
    counts = dict.fromkeys(TSS, 0)
    for number in range(0, 6000, batch):
        some = [b"x%d" % n for n in range(number, number + batch)]
        ask(stage, *some)
        for ts in TSS:
            mine = asked(stage, ts)
            counts[ts] += len(mine)
            say(stage, ts, *mine)
    assert counts == {T1: 5700, T2: 150, T3: 150} or abs(counts[T2] - counts[T3]) <= batch
    assert counts[T2] + counts[T3] == pytest.approx(300, abs=1)


# -- the delay -------------------------------------------------------------------------------------


FIFTHS = [0.0019, 0.002, 0.002, 0.002, 0.02]


def learn(stage: Stage, took_s: list[float]) -> None:
    """Ask a hundred at once, again and again; a share of them takes each of these times."""
    for number in range(10 if took_s else 0):
        prefer(stage, T1)
        some = names(100, b"learn%d-" % number)
        ask(stage, *some)
        at_s = 0.0
        for place, until_s in enumerate(took_s):
            stage.wait(until_s - at_s)
            at_s = until_s
            say(stage, T1, *some[place :: len(took_s)])
    stage.wait(0.02)
    stage.take(T2)
    stage.take("a")


def delay_s(stage: Stage) -> float:
    """Ask, with tokens enough, and see after how long the second TS is asked."""
    set_tokens(stage, 10.0)
    prefer(stage, T1)
    stage.wait(0.06)
    ask(stage, b"how-long")
    for step in range(1, 1001):
        assert not asked(stage, T2)
        stage.wait(0.0001)
        if stage.said.get(T2):
            return step * 0.0001
    raise AssertionError("never")


@pytest.mark.parametrize(
    ("extra_load", "took_s", "wait_s"),
    [
        pytest.param(0.5, [], 0.05, id="while little is known the ceiling"),
        (0.05, [0.0], 0.001),
        (0.05, [0.0004], 0.001),
        (0.05, [0.01], 0.01),
        (0.05, [0.03], 0.03),
        (0.05, [0.2], 0.05),
        pytest.param(0.1, FIFTHS, 0.02, id="10 % take longer than 2 ms"),
        pytest.param(0.3, FIFTHS, 0.002, id="30 % do not"),
    ],
)
def test_the_delay_is_the_quantile_of_all_but_the_share(
    extra_load: float, took_s: list[float], wait_s: float
) -> None:
    stage = started(extra_load=extra_load)
    learn(stage, took_s)
    assert delay_s(stage) == pytest.approx(wait_s, rel=0.05, abs=0.0002)


def test_what_explored_before_it_was_hedged_sets_no_delay() -> None:
    """The TS that it was asked of first may be slow."""
    stage = started(Bounds(explore_every=2), extra_load=0.05, explores=True)
    for number in range(20):
        prefer(stage, T1)
        set_tokens(stage, 10.0)
        ask(stage, *names(20, b"learn%d-" % number))
        stage.wait(0.002)
        say(stage, T1, *asked(stage, T1))
        assert len(asked(stage, T2)) == 10  # and it says nothing
        stage.wait(0.06)
        say(stage, T1, *asked(stage, T1))
    assert stage.take("a").count(b"\n") == 400
    prefer(stage, T1)
    set_tokens(stage, 10.0)
    ask(stage, b"usual", b"explores")
    assert (asked(stage, T1), asked(stage, T2)) == ([b"usual"], [b"explores"])
    stage.wait(0.003)
    assert asked(stage, T2) == [b"usual"]


# -- the budget ------------------------------------------------------------------------------------


def test_late_questions_take_tokens_the_oldest_first() -> None:
    """[P23]: each to a TS at most once."""
    stage = started(extra_load=0.125)
    prefer(stage, T1)
    old, young = names(20, b"o"), names(20, b"y")
    ask(stage, *old)
    stage.wait(0.01)
    ask(stage, *young)
    stage.wait(0.1)
    expected = [*old, *young]
    hedged = asked(stage, T2)
    assert hedged == expected[:5]
    for number in range(296):
        ask(stage, b"more%03d" % number)
        hedged += asked(stage, T2)
    assert hedged == expected
    assert metric(stage.brain, "hedged") == len(hedged) == 40


# -- costs -----------------------------------------------------------------------------------------


TIGHT = replace(Bounds(), waiting_bytes_high=60, waiting_bytes_low=20)


def denied_by_one_of_two() -> Stage:
    """Ask two TSs the same two questions, and let the first deny one of them."""
    stage = started(extra_load=0.0, servers=3)
    ask(stage, b"x", b"y")
    set_tokens(stage, 2.0)
    stage.wait(0.05)
    assert asked(stage, T2) == [b"x", b"y"]
    return stage


def test_a_part_that_was_denied_goes_to_everyone_in_time() -> None:
    """[P24]"""
    stage = denied_by_one_of_two()
    deny(stage, T1, b"x")
    stage.wait(0.949)
    assert asked(stage, T3) == []
    stage.wait(0.001)
    assert sorted(asked(stage, T3)) == [b"x", b"y"]


def test_a_part_that_was_denied_stays_late() -> None:
    stage = denied_by_one_of_two()
    stage.wait(0.1)  # late, and no token
    deny(stage, T1, b"x")
    prefer(stage, T1)
    set_tokens(stage, 2.0)
    ask(stage, b"new")
    stage.wait(0.0)
    assert sorted(asked(stage, T3)) == [b"x", b"y"]


# -- servers that cannot be asked everything -------------------------------------------------------

ODD = [b"odd1 TYPE15", b"odd2 TYPE15"]


class Beside:
    """Hedging among links of which the first cannot be asked what is odd."""

    def __init__(self, count: int, **bounds: int) -> None:
        env = Environment(Bounds(explore_every=2**31 - 1, **bounds))
        self.links = [Link(f"TS{n + 1}", (), env, server_at(n)) for n in range(count)]
        self.policy = HedgePolicy(env, self.links, 0.0, self.limits)
        for link in self.links:
            self.connect(link, 0.0)

    def limits(self, question: bytes) -> tuple[int, int]:
        return (self.links[0].bit if question in ODD else 0), 0

    def connect(self, link: Link, now: float) -> None:
        link.dialled()
        link.connected(now)
        link.life.fire(LinkEvent.CAUGHT_UP)
        self.policy.links_changed(0, 0, now)

    def lose(self, link: Link, now: float) -> None:
        link.lost(now)
        self.policy.links_changed(0, 0, now)

    def ask(self, *questions: bytes, now: float = 0.0) -> dict[str, list[bytes]]:
        return {link.conn: share for link, share in self.policy.ask(list(questions), now)}

    def slices(self, now: float) -> dict[str, list[bytes]]:
        """Return what else each link is asked by then."""
        while self.policy.due <= now:
            self.policy.woken(now)
        waiting = list(self.policy.waiting)
        return {link.conn: sorted(self.policy.next_slice(link, now)[0]) for link in waiting}


def test_a_server_is_not_asked_what_it_cannot_be() -> None:
    """[P24]: first, when what is open is old, and when it is back."""
    beside = Beside(3)
    assert beside.ask(b"x", *ODD) == {T1: [b"x"], T2: ODD}
    assert beside.slices(1.0) == {T2: [b"x"], T3: [*ODD, b"x"]}
    beside.lose(beside.links[0], 2.0)
    beside.connect(beside.links[0], 2.1)
    assert beside.slices(2.1) == {T1: [b"x"]}


def test_a_part_that_was_denied_is_not_asked_of_who_cannot_be() -> None:
    """[P24]"""
    beside = Beside(3)
    beside.ask(*ODD)
    beside.policy.passed(beside.links[1], ODD[:1], 0.1)
    assert beside.slices(0.1) == {T3: ODD[:1]}
    beside.policy.passed(beside.links[2], ODD[:1], 0.2)
    assert beside.slices(0.2) == {}
    assert beside.slices(1.5) == {T3: ODD[1:]}


def test_a_slice_leaves_out_what_its_server_has_denied() -> None:
    beside = Beside(1)
    beside.ask(b"x", b"y")
    beside.links[0].life.fire(LinkEvent.FELL_BEHIND)
    assert beside.ask(b"x", b"y", now=1.5) == {}
    beside.policy.passed(beside.links[0], [b"x"], 1.6)
    assert beside.slices(1.6) == {T1: [b"y"]}


# -- asked again -----------------------------------------------------------------------------------


def test_what_may_be_lost_goes_to_everyone_as_it_is_asked_again() -> None:
    """[P24]: without the delay that a new question has."""
    stage = started(extra_load=0.0)
    ask(stage, b"x")
    stage.wait(1.5)
    assert asked(stage, T1) == asked(stage, T2) == [b"x"]
    ask(stage, b"x")
    assert asked(stage, T1) == asked(stage, T2) == [b"x"]


def test_a_question_lends_nothing_to_what_is_asked_with_it() -> None:
    """[P10]: x was sent to TS2, and y was not."""
    stage = started(extra_load=0.0)
    ask(stage, b"x")
    stage.wait(1.5)
    assert asked(stage, T2) == asked(stage, T1) == [b"x"]
    prefer(stage, T1)
    ask(stage, b"x", b"y")
    assert asked(stage, T1) == [b"x", b"y"] and b"y" not in asked(stage, T2)
    say(stage, T2, b"y")
    deny(stage, T2, b"y")
    assert stage.take("a") == b"" and metric(stage.brain, "late") == 2


# -- links that come and go ------------------------------------------------------------------------


def test_what_was_asked_on_another_connection_does_not_count() -> None:
    """[P10] [P21]"""
    stage = started(extra_load=0.0)
    ask(stage, b"x")
    deny(stage, T1, b"x")
    stage.reset(T1)
    stage.wait(0.05)
    stage.take(T1)
    stage.connect(T1)
    assert asked(stage, T1) == [b"x"]
    deny(stage, T2, b"x")
    assert stage.take("a") == b""
    deny(stage, T1, b"x")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_a_link_that_is_lost_after_it_has_stalled_is_asked_anew() -> None:
    """[P10] [P13]"""
    stage = started(TIGHT, extra_load=0.0)
    stage.held.add(T1)
    some = names(20)
    ask(stage, *some)
    stage.wait(1.0)
    stage.held.clear()
    stage.reset(T1)
    stage.wait(0.05)
    asked(stage, T1)
    stage.connect(T1)
    before = metric(stage.brain, "late")
    got = asked(stage, T1)
    assert got == some
    say(stage, T1, *some)
    assert stage.take("a").count(b"\n") == 20 and metric(stage.brain, "late") == before


# -- slices ----------------------------------------------------------------------------------------


def test_what_moves_on_goes_in_slices_under_the_mark() -> None:
    stage = started(TIGHT, extra_load=0.0)
    some = names(40)
    for name in some:  # 280 bytes, and the mark is 60
        ask(stage, name)
    stage.held.add(T2)
    stage.reset(T1)
    assert 60 < stage.connections[T2].waiting <= 67
    assert metric(stage.brain, f"{T2}.link") == "CATCHING_UP" and stage.paused == set()
    ask(stage, b"new")
    assert 60 < stage.connections[T2].waiting <= 67
    said = b"n00030 10.0.0.1 A IN\n"  # which it has not been asked yet
    stage.hear(T2, said)
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert asked(stage, T2) == [*some, b"new"] and metric(stage.brain, f"{T2}.state") == "UP"
    stage.hear(T2, said)
    assert stage.take("a") == said


def test_a_link_that_catches_up_is_asked_last() -> None:
    stage = started(TIGHT, extra_load=0.0, servers=3)
    for name in names(40):
        ask(stage, name)
    stage.held.add(T2)
    stage.reset(T1)
    assert metric(stage.brain, f"{T2}.link") == "CATCHING_UP"
    ask(stage, b"new")
    assert asked(stage, T3) == [b"new"]


def test_what_is_queued_twice_does_not_make_a_link_wait_for_good() -> None:
    """A slice of less than the mark, thought to be more, would never be followed by the next."""
    stage = started(TIGHT, extra_load=0.0, linked=[])
    for name in names(10):  # nine come to 63 bytes: more than a slice
        ask(stage, name)
    stage.held.add(T1)
    stage.connect(T1)
    assert metric(stage.brain, f"{T1}.link") == "CATCHING_UP"
    ask(stage, b"x" * 30)
    stage.wait(1.0)
    ask(stage, b"x" * 30)
    ask(stage, b"y" * 30)
    stage.held.clear()
    stage.settle()
    assert asked(stage, T1) == [*names(10), b"x" * 30, b"y" * 30]
    assert metric(stage.brain, f"{T1}.state") == "UP"
    ask(stage, b"z")
    assert asked(stage, T1) == [b"z"]


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_goes_on_hedging_for_what_is_open() -> None:
    stage = started(extra_load=1.0)
    ask(stage, b"x", b"y")
    stage.drain()
    stage.wait(0.05)
    assert asked(stage, T2) == [b"x", b"y"]
    say(stage, T2, b"x")
    stage.wait(5.0)
    assert stage.take("a") == b"x 10.0.0.1 A IN\ny - TIMED OUT\nBYE\n"
    stage.end("a")
    stage.end(T1)
    stage.end(T2)
    assert stage.reports[-1] == (
        "asked 2, answered 1, timed_out 1, not_found 0, no_data 0, failed 0, dropped 0, joined 0, "
        "late 0, hedged 2, sessions 1, errors 0"
    )


@pytest.mark.parametrize("extra_load", [0.0, 0.05])
def test_late_questions_without_tokens_are_not_kept_for_ever(extra_load: float) -> None:
    stage = started(extra_load=extra_load)
    for number in range(200):
        name = b"x%d" % number
        ask(stage, name)
        stage.wait(0.06)
        for ts in (T1, T2):
            say(stage, ts, name)
    keeps_nothing(stage.brain)
    assert alive(Asking) < 10


# -- no quadratic work -----------------------------------------------------------------------------


def replied_one_by_one(count: int) -> None:
    for wait_s, reply in ((0.0, deny), (0.0, deny_data), (0.06, say), (0.06, deny)):
        stage = started(extra_load=0.01, servers=3)
        some = names(count)
        ask(stage, *some)
        stage.wait(wait_s)
        for ts, order in ((T1, some[::-1]), (T2, some)):
            for name in order:
                reply(stage, ts, name)


def hedged_one_by_one(count: int) -> None:
    stage = started(extra_load=1.0)
    some = names(count)
    prefer(stage, T1)
    ask(stage, *some)
    set_tokens(stage, 0.0)
    stage.wait(0.06)
    for number in range(count):
        ask(stage, b"more%d" % number)
    assert asked(stage, T2) == some
    stage.wait(5.0)
    keeps_nothing(stage.brain)


def asked_one_by_one_of_links_that_flap(count: int) -> None:
    stage = started(extra_load=0.0)
    for name in names(count):
        ask(stage, name)
    for _ in range(5):
        stage.reset(T1)
        stage.wait(0.05)
        if T1 not in stage.dialled:
            stage.wait(2.0)
        stage.connect(T1)
    stage.wait(5.0)
    keeps_nothing(stage.brain)


@pytest.mark.parametrize(
    "work",
    [
        replied_one_by_one,
        hedged_one_by_one,
        asked_one_by_one_of_links_that_flap,
    ],
)
def test_four_times_as_much_is_four_times_the_work(work: Callable[[int], None]) -> None:
    """Quadratic work would be sixteen times as much."""
    assert lines_run(lambda: work(400)) < 6 * lines_run(lambda: work(100))


# -- no step goes through everything ---------------------------------------------------------------

FEW = replace(Bounds(), hedge_per_turn=32, held_s=0.02)


def work_of_largest_step(stage: Stage, work: Callable[[Stage], None]) -> int:
    """Return the lines of Python of the step that runs the most."""
    brain, most = stage.brain, 0
    step = brain.step

    def counted(call: Callable[[], object]) -> object:
        nonlocal most
        results: list[object] = []
        most = max(most, lines_run(lambda: results.append(call())))
        return results[0]

    brain.step = lambda event, now: counted(lambda: step(event, now))
    work(stage)
    brain.step = step
    return most


def settle_all(stage: Stage) -> None:
    questions = stage.brain.parts.questions
    say(stage, T1, *questions.all_open())
    questions.batches.next_due()  # which clears away what is settled, too


@pytest.mark.parametrize(
    ("linked", "before", "event", "then_asked"),
    [
        pytest.param(
            [], lambda stage: stage.wait(0.1), lambda stage: stage.connect(T1), [T1],
            id="the first link comes",
        ),
        pytest.param(
            [T1, T2], lambda stage: stage.wait(1.5), lambda stage: stage.connect(T3), [T3],
            id="another link comes",
        ),
        pytest.param(
            TSS, lambda stage: None, lambda stage: stage.reset(T1), [T2],
            id="a link goes",
        ),
        pytest.param(
            TSS, lambda stage: stage.step(Backlogged(T1)), lambda stage: stage.wait(0.02), [T2],
            id="a link stalls",
        ),
        pytest.param(
            TSS, lambda stage: None, lambda stage: stage.wait(0.05), [],
            id="all are late at once",
        ),
        pytest.param(
            TSS, lambda stage: stage.wait(0.9), lambda stage: stage.wait(0.1), [T2, T3],
            id="all are old at once",
        ),
        pytest.param(
            [T1, T2],
            lambda stage: (stage.wait(0.05), stage.reset(T2), stage.wait(0.0)),
            lambda stage: (set_tokens(stage, 1.0), ask(stage, b"new")), [],
            id="tokens come and nobody is left to ask",
        ),
        pytest.param(
            TSS,
            settle_all,
            lambda stage: stage.wait(0.05), [],
            id="all that is looked at is settled",
        ),
    ],
)  # fmt: skip
def test_the_largest_step_is_the_same_however_much_is_open(
    linked: Iterable[str],
    before: Callable[[Stage], object],
    event: Callable[[Stage], object],
    then_asked: list[str],
) -> None:
    def work(count: int) -> int:
        stage = started(FEW, extra_load=0.0, servers=3, linked=linked)
        for name in names(count):
            ask(stage, name)
        before(stage)
        for ts in TSS:
            stage.take(ts)
        most = work_of_largest_step(stage, lambda stage: (event(stage), stage.wait(0.0)))
        assert [ts for ts in TSS if asked(stage, ts) == names(count)] == then_asked
        assert metric(stage.brain, "hedged") == 0
        return most

    assert work(1600) < 1.2 * work(400)


def lose_and_connect(stage: Stage, name: str) -> None:
    """Lose a link and connect it again, with as little done meanwhile as can be."""
    stage.reset(name)
    stage.now += 0.002
    stage.step(Woken())
    stage.connect(name)


SLOW = replace(FEW, hedge_per_turn=1, redial_first_s=0.001, redial_max_s=0.001)


@pytest.mark.parametrize("line", [b" 10.0.0.1 A IN\n", b" - NOT FOUND\n"])
def test_a_lost_connection_counts_for_nothing_before_its_slice(line: bytes) -> None:
    """[P10]"""
    stage = started(SLOW, extra_load=0.0)
    for name in names(100):
        ask(stage, name)
    lose_and_connect(stage, T1)
    last, before = names(100)[-1], metric(stage.brain, "late")
    stage.take(T1)
    assert last not in asked(stage, T2)
    stage.hear(T1, last + line)
    assert stage.take("a") == b"" and metric(stage.brain, "late") == before + 1
    stage.wait(0.0)
    assert (asked(stage, T1) + asked(stage, T2)).count(last) == 1


def test_asked_anew_before_its_slice_lends_no_lost_connection() -> None:
    """[P10]"""
    beside = Beside(2, hedge_per_turn=1)
    for name in names(100):
        beside.ask(name)
    first, last = beside.links[0], names(100)[-1]
    assert beside.policy.admits(first, [last]) is None
    beside.lose(first, 1.1)
    beside.connect(first, 1.2)
    beside.policy.ranking.add(first, 1000.0, 1000, 1.2)
    assert beside.ask(last, now=1.3) == {T2: [last]}
    assert beside.policy.admits(first, [last]) == [False]


def test_a_late_question_whose_ts_is_lost_takes_no_token() -> None:
    """[P23] [P24]: neither before its slice."""
    stage = started(FEW, extra_load=0.0, servers=3)
    for name in names(100):
        ask(stage, name)
    stage.wait(0.05)
    stage.reset(T3)
    stage.reset(T1)  # a round is under way, and goes on before it begins anew
    set_tokens(stage, 1.0)
    ask(stage, b"new")
    stage.wait(0.0)
    assert metric(stage.brain, "hedged") == 0
    assert sorted(asked(stage, T2)) == [*names(100), b"new"]


def test_an_old_question_goes_once_to_a_link_that_is_back() -> None:
    """[P13] [P24]"""
    stage = started(SLOW, extra_load=0.0, servers=3)
    for name in names(100):
        ask(stage, name)
    stage.wait(0.999)
    stage.take(T1)
    stage.reset(T3)
    for _ in range(50):
        stage.step(Woken())
    lose_and_connect(stage, T1)  # the first to be looked at was judged before that
    stage.take("a")
    stage.wait(0.0)
    assert sorted(asked(stage, T1)) == names(100)
    say(stage, T1, *names(100))
    assert stage.take("a").count(b"\n") == 100


def test_links_that_flap_keep_no_question_from_its_slice() -> None:
    """[P24]"""
    stage = started(SLOW, extra_load=0.0, servers=3)
    for name in names(100):
        ask(stage, name)
    prefer(stage, T2)
    stage.reset(T1)
    for _ in range(60):
        lose_and_connect(stage, T3)
    assert set(asked(stage, T2)) >= set(names(100))
