"""The health of servers: what makes each good or bad, how it is told, how one is found again."""

import math

import pytest

from core.bounds import Bounds
from core.environment import Environment
from nodes.ls.health import Health, HealthState
from nodes.ls.resolvers.failure_streak import FailureStreak
from nodes.ls.resolvers.tries import TRY
from nodes.ls.unanswered import Unanswered
from tests.support.balancers import addresses_of, load_balancer, metric
from tests.support.dns_messages import question_of, said
from tests.support.resolver_cast import D1, D2, Cast
from tests.support.stage import Stage

BOUNDS = Bounds()
S = HealthState


def suffer(cast: Cast) -> None:
    """Let clients ask for 3 s: the first resolver says SERVFAIL to all, the second nothing."""
    for n in range(30):
        cast.ask(f"n{n}.example")
        for conn, query in cast.asked(D1):
            cast.say(conn, said(query, "SERVFAIL"))
        cast.wait(0.1)


def tried(cast: Cast, resolver: str) -> list[str]:
    """Return the connections by which LS asked something of its own since the last time."""
    return [conn for conn, query in cast.asked(resolver) if question_of(query).encode() == TRY]


def test_a_failing_and_a_silent_resolver_make_ls_unready() -> None:
    """[P68] [P69]: though the failing one replies at once, and is UP as a link."""
    cast = Cast(2)
    suffer(cast)
    failing = "DNS1 is failing (failures only in its last "
    (line,) = [text for text in cast.stage.reports if text.startswith(failing)]
    assert line.endswith("); it is asked nevertheless [10.0.0.53:53]")
    assert [cast.metric(f"{name}.state") for name in (D1, D2)] == ["FAILING", "SILENT"]
    assert cast.metric("DNS1.link") == "UP" and cast.metric("DNS1.failed") == 30
    why = cast.brain.unhealthy()
    assert why.startswith("no server is good: DNS1 FAILING (failures only")
    assert why.endswith("DNS2 SILENT (no reply to its last 16 questions)")
    cast.asked(D1)
    cast.ask("x.example")
    assert len(cast.asked(D1)) == 1  # it is asked nevertheless


@pytest.mark.parametrize("resolver", [D1, D2])
def test_a_bad_resolver_is_found_again_without_load(resolver: str) -> None:
    """[P67]"""
    cast = Cast(2)
    suffer(cast)
    cast.wait(5.0)
    cast.asked(resolver)
    cast.wait(1.0)
    (conn,) = tried(cast, resolver)
    cast.stage.replies[conn].clear()
    cast.wait(1.0)
    cast.answer(resolver, "10.0.0.1")
    assert cast.metric(f"{resolver}.state") == "UP" and cast.brain.unhealthy() == ""
    late = cast.metric(f"{resolver}.late")
    cast.wait(5.0)
    assert tried(cast, resolver) == [] and cast.metric(f"{resolver}.late") == late


def test_under_load_the_questions_of_clients_tell() -> None:
    cast = Cast(1)
    suffer(cast)
    assert cast.metric("DNS1.state") == "FAILING" and tried(cast, D1) == []
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    assert cast.metric("DNS1.state") == "UP"


@pytest.mark.parametrize("text", ["SERVFAIL", "NOTIMP"])
def test_late_failures_are_failures_as_well(text: str) -> None:
    """A slow resolver that fails everything is beaten by a good one each time."""
    cast = Cast(2)
    for n in range(30):
        cast.ask(f"n{n}.example")
        cast.answer(D2, "10.0.0.2")
        cast.answer(D1, text)
        cast.wait(0.1)
    assert [cast.metric(f"{name}.state") for name in (D1, D2)] == ["FAILING", "UP"]
    assert cast.metric("DNS1.late") == 30 and cast.metric("DNS1.failed") == 0
    assert cast.brain.unhealthy() == ""


@pytest.mark.parametrize(
    ("replies", "seconds", "fails"),
    [
        ([(0, 16, 0)], 2.0, True),
        ([(0, 15, 0)], 2.0, False),
        ([(0, 16, 0)], 1.9, False),
        ([(0, 1, 15)], 2.0, True),
        ([(0, 0, 99)], 59.9, False),
        ([(0, 0, 99)], 60.0, True),
        ([(0, 16, 0), (1, 0, 0)], 2.0, False),
        ([(1, 0, 0), (0, 16, 0)], 2.0, True),
    ],
)
def test_sixteen_failures_over_two_seconds_are_failing(
    replies: list[tuple[int, int, int]], seconds: float, fails: bool
) -> None:
    """REFUSED alone only when no good reply has come for a minute."""
    streak = FailureStreak(BOUNDS)
    for good, failed, refused in replies:
        streak.add(good, failed, refused, 100.0)
    assert bool(streak.why(100.0 + seconds)) is fails


def test_refusals_after_a_good_reply_count_from_that() -> None:
    streak = FailureStreak(BOUNDS)
    streak.add(1, 0, 0, 0.0)
    streak.add(0, 0, 99, 30.0)
    assert not streak.why(59.0) and streak.why(60.0)


# -- table servers ---------------------------------------------------------------------------------


def asking() -> Stage:
    """Build LS before two table servers, of which the first says nothing to 16 questions."""
    stage = Stage.begun(load_balancer(addresses_of(2)), BOUNDS, up=["TS1", "TS2"], clients=["a"])
    for n in range(16):
        stage.hear("a", b"n%d\n" % n)
        stage.hear("TS2", b"n%d 10.0.0.1 A IN\n" % n)
    return stage


def test_a_ts_that_says_nothing_is_sent_ping_before_it_is_silent() -> None:
    """[P67]: it may have none of the names."""
    stage = asking()
    stage.take("TS1")
    stage.wait(2.0)
    assert stage.take("TS1") == b"PING\n" and metric(stage.brain, "TS1.state") == "UP"
    stage.hear("TS1", b"PONG\n")
    stage.wait(9.0)
    assert stage.take("TS1") == b"" and metric(stage.brain, "TS1.state") == "UP"


def test_a_ts_that_leaves_ping_without_a_reply_is_silent() -> None:
    """[P67] [P68]: it is sent PING until something comes."""
    stage = asking()
    stage.wait(20.0)
    assert metric(stage.brain, "TS1.state") == "SILENT"
    assert stage.reports[-1] == (
        "TS1 is silent (no reply to its last 16 questions); it is tried once a second"
    )
    assert stage.take("TS1").count(b"PING\n") >= 18
    stage.hear("TS1", b"PONG\n" * 19)
    assert metric(stage.brain, "TS1.state") == "UP" and stage.reports[-1] == "TS1 is up"
    stage.wait(20.0)
    assert stage.take("TS1") == b""


def test_unanswered_questions_count_once_their_time_is_over() -> None:
    stage = asking()
    assert metric(stage.brain, "TS1.none") == 0
    stage.wait(8.0)
    assert (metric(stage.brain, "TS1.none"), metric(stage.brain, "TS2.none")) == (16, 0)
    stage.reset("TS1")
    stage.wait(1.0)
    stage.connect("TS1")
    assert metric(stage.brain, "TS1.none") == 16
    stage.hear("a", b"more\n")
    stage.hear("TS2", b"more 10.0.0.1 A IN\n")
    stage.wait(8.0)
    assert metric(stage.brain, "TS1.none") == 17


def test_later_replies_hide_nothing_in_the_end() -> None:
    unanswered = Unanswered(BOUNDS)
    asked = replied = 0
    for second in range(20):
        asked, replied = asked + 10, replied + 9
        unanswered.begin(float(second))
        unanswered.look(asked, replied, float(second))
        assert unanswered.count <= asked - replied
    while unanswered.due < math.inf:
        unanswered.look(asked, replied, unanswered.due)
    assert unanswered.count == 20


# -- the machine -----------------------------------------------------------------------------------


def test_a_reason_of_the_kernel_is_unreachable_another_is_down() -> None:
    for why, state in (("connection refused", S.UNREACHABLE), ("it ended", S.DOWN)):
        health = Health("TS1", "", Environment())
        (report,) = health.lost(why)
        assert health.life.state is state and why in str(report) and health.is_bad
        assert health.lost(why) == []  # it is said once
        (report,) = health.lost("no answer")  # another reason is news, too
        assert health.life.state is S.DOWN and "no answer" in str(report)
        assert ("still" in str(report)) is (state is S.DOWN) and health.lost("no answer") == []


def test_a_muted_server_says_nothing_and_changes_nevertheless() -> None:
    health = Health("TS1", "", Environment(wall=lambda: 7.0))
    health.mute()
    assert health.good() == [] and health.life.state is S.UP and health.since == 7.0
