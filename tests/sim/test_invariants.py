"""The checks of the simulator can fail: each sees what it is there to see."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.bounds import Bounds
from nodes.ls.hedging.budget import Budget
from nodes.ls.load_balancer import LoadBalancer
from nodes.ts.table_server import TableServer
from tests.sim.invariants import Violated
from tests.sim.scenes import Scene, lines
from tests.sim.stories import Cluster
from tests.support.balancers import hedging_of


def everyone_is_one(brain: LoadBalancer) -> None:
    brain.parts.upstreams.everyone = 1


def words_outlive_connections(brain: LoadBalancer) -> None:
    change = brain.parts.negatives.links_changed
    brain.parts.negatives.links_changed = (  # type: ignore[method-assign]
        lambda reconnected, unawaited, now: change(0, unawaited, now)
    )


def nothing(brain: LoadBalancer) -> None:
    pass


def tokens_are_not_taken(brain: LoadBalancer) -> None:
    hedging_of(brain).budget.__class__ = Free


class Free(Budget):
    """A budget that is full whenever anybody looks."""

    tokens = property(lambda self: 100.0, lambda self, tokens: None)  # type: ignore[assignment]


def everything_is_admitted(brain: LoadBalancer) -> None:
    brain.parts.policy.admits = lambda link, questions: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("spoil", "tag", "share", "bounds"),
    [
        (everyone_is_one, "P21", None, {}),
        (words_outlive_connections, "P21", None, {}),
        (nothing, "P22", None, {"no_data_s": 0.002}),
        (nothing, "P22", None, {"no_data_s": 1.0}),
        (tokens_are_not_taken, "P23", 0.1, {}),
        (nothing, "P24", 0.0, {"join_s": 10.0}),
        (everything_is_admitted, "P10", 0.0, {}),
    ],
)
def test_a_planted_bug_is_seen(
    spoil: Callable[[LoadBalancer], None], tag: str, share: float | None, bounds: dict[str, float]
) -> None:
    """[P10] [P21] [P22] [P23] [P24]: what the watch holds LS to. Without the bug all is well."""
    go_wrong(share, nothing, {})
    with pytest.raises(Violated, match=f"^{tag}: "):
        go_wrong(share, spoil, bounds)


def go_wrong(
    share: float | None, spoil: Callable[[LoadBalancer], None], bounds: dict[str, float]
) -> None:
    """Tell a story in which every one of those bugs would show. LS has these bounds, and its watch
    those that are usual."""
    scene = Scene("", "", share=share, bounds=replace(Bounds(), **bounds))
    scene.watch.bounds = Bounds()
    first, second = scene.puppets
    spoil(scene.watch.brain)
    asker = scene.asker(b"w\nx\ny\nz\n")
    first.say(b"w - NOT FOUND\ny - NO DATA\n")
    scene.wait(0.5)
    second.say(b"z 10.0.0.2 A IN\n")
    scene.wait(0.6)
    first.is_gone()
    scene.wait(0.1)
    second.say(b"w - NOT FOUND\n")
    first.listens()
    scene.wait(5.0)
    asker.say(b"v\n")
    scene.wait(5.2)
    asker.say(b"QUIT\n")
    asker.close()
    scene.wait(1.0)


def test_a_table_that_is_not_the_one_that_is_served_is_seen() -> None:
    """[P25] [P26]: half of a table, the old one again, one that is to be refused; and an answer of
    a table before (I3), were it to come to LS."""
    old, new = {"x": "10.0.0.1", "y": "10.0.0.1"}, {"x": "10.0.0.2", "y": "10.0.0.2"}
    for tag in ("", "P25", "P26", "I3"):
        scene = Scene(old, "")
        watch = scene.table_watches["TS1"]
        brain = scene.tables[0].loop.engine.brain  # type: ignore[union-attr]
        assert isinstance(brain, TableServer)
        asker = scene.asker(b"x\n")
        scene.reload(scene.tables[0], new)
        if tag == "P26":
            watch.file.rows = None
            with pytest.raises(Violated, match=r"^P26: "):
                scene.wait(0.1)
            continue
        scene.wait(0.1)
        if tag == "P25":
            brain.answers.table.rows.update(lines({"y": "10.0.0.1"}))
        elif tag == "I3":
            scene.table_watches["TS1"].sent = lambda conn, data: None  # type: ignore[method-assign]
            brain.answers.table.rows.update(lines(old))
        asker.say(b"x\n")
        scene.wait(0.5)
        asker.say(b"y\n")
        if not tag:
            scene.wait(0.1)
            assert asker.take() == b"x 10.0.0.1 A IN\nx 10.0.0.2 A IN\ny 10.0.0.2 A IN\n"
        else:
            with pytest.raises(Violated, match=f"^{tag}: "):
                scene.wait(0.1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda watch: watch.sent("client-1", b"never-asked 10.0.0.0 A IN\n"),
        lambda watch: watch.sent("client-1", b"BYE\n"),
        lambda watch: watch.sent("client-1", b"- ERROR BADNAME\n"),
        lambda watch: watch.sent("client-77", b"x - TIMED OUT\n"),
        lambda watch: watch.counts.update(asked=10_000),
    ],
)
def test_a_watch_that_sees_something_wrong_says_so(spoil: object) -> None:
    cluster = next(c for c in map(Cluster, range(50)) if c.askers and not c.plan)
    while not cluster.watch.talking:
        cluster.world.run_until(cluster.world.t + 0.1)
    with pytest.raises(Violated):
        spoil(cluster.watch)  # type: ignore[operator]
        cluster.watch.check()
