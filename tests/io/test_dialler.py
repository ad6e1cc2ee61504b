"""Dialler: addresses one by one, and dials, lookups and children that fail before they begin."""

import errno
import os
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from core.bounds import Bounds
from core.datagram_events import DialDatagrams
from core.effects import Abort, Dial, Effect, Resolve, Spawn
from core.events import Closed, Resolved, Woken
from nodes.ls.load_balancer import LoadBalancer
from tests.sim.scenes import Puppet, Scene
from tests.sim.world import PORT, Observer
from tests.support.balancers import load_balancer
from tests.support.loops import Node, QuietSystem, Script, started

THERE = (2, ("127.0.0.1", 9))


def test_a_host_is_tried_address_by_address_and_then_anew() -> None:
    """Again from the first one, which hangs now, for 3 s."""
    scene = Scene("")
    world = scene.world
    dead, second = world.host("dead"), Puppet(world, "second")
    bounds = Bounds()
    host = world.host("LS2")
    addresses = tuple((2, (name, PORT)) for name in ("dead", "second"))

    def build(loop: Any) -> LoadBalancer:  # noqa: ANN401
        return load_balancer([addresses], bounds, Random("jitter").random)

    host.run(bounds, Observer(world, "LS2"), build, listens=True)
    scene.wait(0.5)
    assert second.accepted == 1
    world.cut(host, dead, world.t + 100)  # now the first one does not even refuse
    second.is_gone()
    second.listens()
    scene.wait(2.9)
    assert second.accepted == 1
    scene.wait(1.0)
    assert second.accepted == 2


def test_a_dial_that_has_failed_already_may_be_given_up() -> None:
    node = Node(Script(lambda e: [Dial("TS1", ()), Abort("TS1")] if isinstance(e, Woken) else []))
    node.scene.wait(0.1)
    assert node.brain.heard == [Woken(), Closed("TS1", "no address")]


def test_a_dial_that_hangs_may_be_given_up() -> None:
    """Its clock ends with it."""
    node = Node()
    node.world.cut(node.host, node.world.hosts["TS1"], node.world.t + 100)
    node.do(Dial("TS1", ((2, ("TS1", PORT)),)))
    node.scene.wait(1.0)
    node.do(Abort("TS1"))
    node.scene.wait(10.0)
    assert node.why_closed("TS1") == "given up" and not node.loop.hits


def test_a20_a_dial_that_nobody_answers_ends_after_its_time() -> None:
    node = Node()
    node.world.cut(node.host, node.world.hosts["TS1"], node.world.t + 100)
    node.do(Dial("TS1", ((2, ("TS1", PORT)),) * 2))
    node.scene.wait_for(lambda: node.why_closed("TS1") is not None)
    assert 6.0 < node.now < 6.1 and node.why_closed("TS1") == "no answer"
    assert node.loop.hits == {"dial_s": 2}


def test_an_address_has_its_whole_time_after_a_late_refusal() -> None:
    """The first one refuses after 2 s, when the way there is open again; the next one hangs."""
    node = Node()
    dead, hangs = node.world.host("dead"), node.world.hosts["TS1"]
    node.world.cut(node.host, dead, node.world.t + 1.5)
    node.world.cut(node.host, hangs, node.world.t + 100)
    node.do(Dial("TS1", ((2, ("dead", PORT)), (2, ("TS1", PORT)))))
    node.scene.wait_for(lambda: node.why_closed("TS1") is not None)
    assert 5.0 < node.now < 5.1 and node.why_closed("TS1") == "no answer"
    assert node.loop.hits == {"dial_s": 1}


def test_a22_a_dial_that_meets_itself_has_failed() -> None:
    """With nobody listening, from the very port that it dials."""
    node = Node()
    node.world.own_dials = 1.0
    node.puppet.is_gone()
    node.do(Dial("TS1", ((2, ("TS1", PORT)),)))
    node.scene.wait(1.0)
    assert node.why_closed("TS1") == "nobody there: the dial met itself"


def raising(number: int) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


WHYS = {errno.EMFILE: "too many open files", errno.ENETUNREACH: "network is unreachable"}


@pytest.mark.parametrize(
    ("effect", "method", "end"),
    [
        (Dial("x", (THERE, THERE)), "connect", Closed("x", "{}")),
        (DialDatagrams("x", THERE, "x"), "dial_datagrams", Closed("x", "{}")),
        (Spawn("x"), "spawn", Closed("x", "{}")),
        (Resolve("x", "x.example", 1), "look_up", Resolved("x", (), "{}")),
    ],
    ids=lambda word: word if isinstance(word, str) else type(word).__name__,
)
@pytest.mark.parametrize(("number", "why"), WHYS.items())
def test_what_cannot_begin_fails_and_leaves_nothing(
    effect: Effect, method: str, end: Closed | Resolved, number: int, why: str
) -> None:
    """Only where this process is out of something that is said, and by sockets."""
    system, said = QuietSystem(), list[bytes]()
    setattr(system, method, raising(number))
    brain = Script(lambda event: [effect] if isinstance(event, Woken) else [])
    with started(brain, system=system, said=said.append) as loop:
        fds = set(loop.engine.by_fd)
        loop.turn()
        assert set(loop.engine.by_fd) == fds and not loop.host_lookups.may_start
    (heard,) = brain.heard[1:]
    assert type(heard) is type(end) and heard.why == why
    is_told = number == errno.EMFILE and method in ("connect", "dial_datagrams")
    line = b"no socket for x: too many open files; trying again\n"
    assert said == [line] * is_told * (2 if method == "connect" else 1)
