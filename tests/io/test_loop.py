"""Promises of a turn of the loop: its order, its budgets, and who is dialled.

On the simulated network, where a turn can be looked at from outside; what needs the kernel is in
`tests/protocol/test_promises.py` and `tests/processes/test_system.py`.
"""

import errno
import socket
import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from core.bounds import Bounds
from core.effects import Abort, Dial, Effect, Send
from core.events import Closed, Event, Opened, Received, Role, Woken
from core.framing import Framing
from core.io.listener import Listener
from core.io.system import System
from nodes.cli.serving import LINES
from nodes.ls.load_balancer import LoadBalancer
from tests.sim.scenes import Puppet, Scene
from tests.sim.world import PORT, Observer, Signals
from tests.support.balancers import load_balancer

X = b"x 10.0.0.1 A IN\n"
FILLER = b"y - TIMED OUT\n"  # legal from a TS, and answers nothing


@pytest.mark.parametrize(("reads", "reply"), [(5, X), (40, b"x - TIMED OUT\n")])
def test_a_due_timeout_waits_while_a_ts_has_more_to_read_but_not_for_ever(
    reads: int, reply: bytes
) -> None:
    """The answer stands behind so many full reads; sixteen turns are what a timeout waits."""
    bounds = replace(Bounds(), read_bytes=len(FILLER))
    scene = Scene("", bounds=bounds)
    asker = scene.asker(b"x\n")
    scene.ls.paused_until = scene.world.t + 6.0
    scene.watch.undisturbed_since = scene.ls.clock() + 7.0
    scene.puppets[0].say(FILLER * reads + X)
    scene.wait(8.0)
    assert asker.take() == reply


class Due:
    """A brain that counts how often it was woken."""

    def __init__(self) -> None:
        self.due = 1.0
        self.woken = 0

    def step(self, event: Event, now: float) -> list[Effect]:
        self.woken += isinstance(event, Woken)
        return []

    def deadline(self) -> float | None:
        return self.due


def test_each_deadline_may_wait_its_own_sixteen_turns() -> None:
    scene = Scene("")
    loop, brain = scene.ls.loop, Due()
    assert loop is not None
    loop.engine.brain = brain
    for _ in range(10):
        loop.engine.wake(2.0, link_was_full=True)
    brain.due = 3.0  # a step has put it off: what it waited for has come
    loop.engine.wake(2.0, link_was_full=True)
    brain.due = 1.0
    for _ in range(16):
        loop.engine.wake(2.0, link_was_full=True)
    assert brain.woken == 0
    loop.engine.wake(2.0, link_was_full=True)
    assert brain.woken == 1 and loop.hits["late_turns"] == 1


def test_a_signal_after_the_end_of_the_drain_changes_nothing() -> None:
    scene = Scene("")
    loop = scene.ls.loop
    assert loop is not None
    scene.signal()
    scene.wait(1.0)
    scene.puppets[0].end()
    scene.wait(1.0)
    assert loop.exit_code == 0

    assert scene.ls.signals is None
    signals = Signals(scene.ls)
    signals.ring(15)
    loop.signals._pipe = signals  # type: ignore[assignment]
    loop.signals.read()
    assert loop.exit_code == 0


def test_no_more_than_the_budget_is_accepted_in_one_turn() -> None:
    scene = Scene("", bounds=replace(Bounds(), accepts_per_turn=3))
    loop = scene.ls.loop
    assert loop is not None
    scene.ls.paused_until = scene.world.t + 1.0
    for _ in range(20):
        scene.asker()
    growths = set()
    before = len(loop.streams.accepted)
    until = scene.world.t + 2.0
    while scene.world.step(until):
        growths.add(len(loop.streams.accepted) - before)
        before = len(loop.streams.accepted)
    assert before == 20 and max(growths) == 3


def test_a_host_is_tried_address_by_address_and_then_from_the_first_again() -> None:
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
    scene.wait(1.0)  # 3 s for the first address, then the second
    assert second.accepted == 2


class Closing:
    """A brain that dials when a client is gone, so that a number could be used again."""

    def step(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Closed) and event.conn.startswith("client"):
            return [Dial("TS1", ((2, ("TS1", PORT)),))]
        return []

    def deadline(self) -> float | None:
        return None


def test_a_descriptor_that_select_named_is_not_used_again_in_that_turn() -> None:
    """The simulated kernel raises when it is; with the lowest number free it would be, at once."""
    scene = Scene("")
    host = scene.world.host("server")
    host.run(Bounds(), Observer(scene.world, "server"), lambda loop: Closing(), listens=True)
    asker = scene.asker()
    asker.dial(host)
    scene.wait(0.1)
    asker.reset()
    scene.wait(0.1)
    assert scene.puppets[0].accepted == 2


def test_c8_the_clock_is_not_the_time_of_day() -> None:
    assert abs(System.now() - time.monotonic()) < 3600 < abs(System.now() - time.time())


def test_a_brain_hears_nothing_of_a_link_that_it_closes_but_that_it_is_gone() -> None:
    """Here the QUIT of a drain takes what waits over the high mark: no Backlogged after Close."""
    scene = Scene("", bounds=replace(Bounds(), waiting_bytes_high=3, waiting_bytes_low=1))
    scene.signal()
    scene.wait(1.0)
    assert scene.puppets[0].take() == b"QUIT\n"
    scene.puppets[0].end()
    scene.wait(1.0)
    assert scene.ls.exit_code == 0


class Listening:
    """A brain that dials a server once, and hears what comes."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self.heard: list[Event] = []

    def step(self, event: Event, now: float) -> list[Effect]:
        self.heard.append(event)
        woken = isinstance(event, Woken)
        return [Dial("TS1", ((2, ("TS1", PORT)),), self.framing)] if woken else []

    def deadline(self) -> float | None:
        return None


@pytest.mark.parametrize(
    ("framing", "why"),
    [
        (Framing.LINES, "a line took too long"),
        (Framing.LENGTH_PREFIXED, "a message took too long"),
    ],
)
def test_a_slow_message_is_cut_and_called_by_its_framing(framing: Framing, why: str) -> None:
    scene = Scene("")
    brain = Listening(framing)
    host = scene.world.host("server")
    host.run(Bounds(), Observer(scene.world, "server"), lambda loop: brain, listens=True)
    scene.wait(0.5)
    scene.puppets[0].say(b"\0\7half")
    scene.wait(9.0)
    assert brain.heard == [Woken(), Opened("TS1", Role.UPSTREAM), Received("TS1", b"")]
    scene.wait(2.0)
    assert brain.heard[3:] == [Closed("TS1", why)]


class Impatient:
    """A brain that dials what cannot be dialled, and gives it up in the same step."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def step(self, event: Event, now: float) -> list[Effect]:
        self.heard.append(event)
        woken = isinstance(event, Woken)
        return [Dial("TS1", ()), Abort("TS1")] if woken else []

    def deadline(self) -> float | None:
        return None


def test_a_dial_that_has_failed_already_may_be_given_up() -> None:
    scene = Scene("")
    brain = Impatient()
    host = scene.world.host("server")
    host.run(Bounds(), Observer(scene.world, "server"), lambda loop: brain, listens=True)
    scene.wait(0.1)
    assert brain.heard == [Woken(), Closed("TS1", "no address")]


def test_c7_after_a_stop_nobody_is_cut_off_for_what_could_not_be_sent_meanwhile() -> None:
    """Room comes when the process goes on: what waits is sent before it is judged."""
    scene = Scene("", bounds=replace(Bounds(), idle_s=8.0))
    scene.world.network.room = 3_000
    slow, idle = scene.asker(), scene.asker(b"nobody\n")
    slow.reads = False
    slow.say(b"?\nx\n" * 500)
    scene.wait(1.0)
    scene.ls.paused_until = scene.world.t + 15.0
    scene.watch.undisturbed_since = scene.ls.clock() + 16.0
    slow.reads = True
    slow.poll()
    scene.wait(16.0)
    assert idle.take() == b"nobody - TIMED OUT\n" and not idle.has_ended
    assert not slow.has_ended and scene.ls.loop.hits["write_stall_s"] == 0  # type: ignore[union-attr]


def test_c2_a_second_signal_counts_also_in_the_turn_in_which_the_drain_ends() -> None:
    scene = Scene("")
    scene.asker(b"x\n").reads = False
    scene.signal()
    scene.wait(1.0)
    scene.ls.paused_until = scene.world.t + 10.0
    scene.watch.drain_since = None
    scene.watch.undisturbed_since = scene.ls.clock() + 10.0
    assert scene.ls.signals is not None
    scene.ls.signals.ring(15)
    scene.wait(11.0)
    assert scene.ls.exit_code == 1


class Queue:
    """A listening socket: what accept gives or raises, in order, and then nobody."""

    def __init__(self, *waiting: int | str) -> None:
        self.waiting = list(waiting)
        self.closed: list[str] = []

    def accept(self) -> tuple[Any, tuple[str, int]]:
        if not self.waiting:
            raise BlockingIOError
        first = self.waiting.pop(0)
        if isinstance(first, int):
            raise OSError(first, "as told")
        return socket.socket(), (first, 1)


def listener(queue: Queue, *refused: str) -> Listener:
    stream: Any = queue
    return Listener(
        System(), stream, LINES, lambda host: host not in refused, lambda: 9, rest_s=0.1
    )


def hosts(some: Listener, most: float = 16) -> list[str]:
    accepted = []
    for stream, host, _ in some.accept(most, now=5.0):
        stream.close()
        accepted.append(host)
    return accepted


@pytest.mark.parametrize(
    "number",
    [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM],
)
def test_c14_a_connection_gone_before_accept_is_passed_over(number: int) -> None:
    some = listener(Queue("a", number, "b"))
    assert hosts(some) == ["a", "b"] and some.again_at is None


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_b12_running_out_of_something_is_a_reason_to_rest(number: int) -> None:
    some = listener(Queue("a", number, "b"))
    assert hosts(some) == ["a"] and some.again_at == 5.1
    assert not some.rested(5.05) and some.rested(5.1) and some.again_at is None
    assert hosts(some) == ["b"]


def test_attempts_are_counted_whatever_comes_of_them() -> None:
    some = listener(Queue(*[errno.ECONNABORTED] * 5, "a"))
    assert hosts(some, most=5) == []
    assert hosts(some, most=5) == ["a"]


def test_one_who_may_not_come_in_is_closed_without_a_word() -> None:
    some = listener(Queue("a", "b", "c"), "b")
    assert hosts(some) == ["a", "c"] and some.not_admitted == 1


# -- reads and sends of a turn ---------------------------------------------------------------------


class Plain:
    """A brain that hears, and says what it is told to say."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []  # speakers, and how many bytes
        self.says = b""

    def step(self, event: Event, now: float) -> list[Effect]:
        if not isinstance(event, Received):
            return []
        self.heard.append((event.conn, len(event.data)))
        return [Send(event.conn, self.says)] if self.says else []

    def deadline(self) -> float | None:
        return None


class Crowd:
    """A loop with clients, each with much to say, that is turned by hand."""

    def __init__(self, clients: int, **bounds: int) -> None:
        self.scene = Scene("")
        self.brain = Plain()
        self.host = self.scene.world.host("server")
        self.host.run(
            replace(Bounds(), **bounds),  # type: ignore[arg-type]
            Observer(self.scene.world, "server"),
            lambda loop: self.brain,
            listens=True,
        )
        assert self.host.loop is not None
        self.loop = self.host.loop
        self.askers = []
        for _ in range(clients):
            self.add()
        self.scene.wait(0.5)
        self.host.paused_until = self.scene.world.t + 1_000  # from now on it is turned by hand

    def add(self) -> Any:  # noqa: ANN401
        asker = self.scene.asker()
        asker.dial(self.host)
        self.askers.append(asker)
        return asker

    def say(self, data: bytes) -> None:
        for asker in self.askers:
            asker.say(data)
        self.scene.wait(0.5)

    def turn(self) -> list[tuple[str, int]]:
        """Turn once; return who was heard."""
        self.brain.heard = []
        self.loop.turn()
        return self.brain.heard


def test_clients_share_what_a_turn_reads_in_equal_parts() -> None:
    crowd = Crowd(10, turn_bytes=1_000)
    crowd.say(b"x\n" * 500)
    for _ in range(3):
        heard = crowd.turn()
        assert len({conn for conn, _ in heard}) == 10
        assert sum(count for _, count in heard) <= 1_000
    assert crowd.loop.hits["turn_bytes"] == 30


def test_one_client_alone_may_have_the_whole_turn() -> None:
    crowd = Crowd(1, turn_bytes=1_000)
    crowd.say(b"x\n" * 500)
    assert crowd.turn() == [("client-1", 1_000)]


def test_while_memory_is_short_only_the_few_are_read() -> None:
    crowd = Crowd(3, owed_all_bytes_high=10_000, owed_all_bytes_low=5_000, few_read_bytes=10)
    crowd.say(b"x\n" * 50)
    for conn in ("client-1", "client-2"):
        crowd.loop.owed.promise(conn, 9_000)
    for _ in range(3):
        assert crowd.turn() == [("client-3", 10)]
    fds = crowd.loop.wants()[0]
    read = {each.name for each in crowd.loop.streams.accepted.values() if each.fd in fds}
    assert read == {"client-3"}  # select would name the others again and again
    crowd.loop.owed.promise("client-1", 0)
    assert crowd.turn() == [("client-1", 10), ("client-3", 10)]  # not yet below the low mark
    crowd.loop.owed.promise("client-2", 0)
    assert [conn for conn, _ in crowd.turn()] == ["client-1", "client-2", "client-3"]
    assert crowd.loop.hits["owed_all_bytes_high"] == 1


def test_memory_that_gets_short_inside_a_turn_counts_in_it() -> None:
    crowd = Crowd(
        5, owed_all_bytes_high=1_000, owed_all_bytes_low=500, few_bytes=400, few_read_bytes=2
    )
    crowd.brain.says = b"y" * 600
    crowd.say(b"x\n" * 50)
    heard = crowd.turn()
    assert heard[:2] == [("client-1", 100), ("client-2", 100)]
    assert heard[2:] == [("client-3", 2), ("client-4", 2), ("client-5", 2)]


def test_a_link_is_read_whatever_the_clients_are_owed() -> None:
    scene = Scene("", bounds=replace(Bounds(), owed_all_bytes_high=100, owed_all_bytes_low=50))
    loop = scene.ls.loop
    assert loop is not None
    asker = scene.asker(b"x\n")
    scene.wait(0.1)
    loop.owed.total += 100  # somebody else's
    scene.world.checks.clear()
    link = loop.streams.dialled["TS1"]
    assert loop.owed.is_short() and link.bytes_to_read(1) == scene.bounds.read_bytes
    link.waiting += 10_000  # however much waits for it: else both ends might stop reading
    assert link.bytes_to_read(1) == scene.bounds.read_bytes
    link.waiting -= 10_000
    scene.puppets[0].say(X)
    scene.wait(0.1)
    assert asker.take() == X and loop.owed.is_short()


def test_clients_share_what_a_turn_sends_in_equal_parts() -> None:
    crowd = Crowd(4, turn_sent_bytes=400)
    crowd.brain.says = b"y" * 1_000
    crowd.say(b"x\n")
    crowd.turn()
    waiting = [connection.waiting for connection in crowd.loop.streams.accepted.values()]
    assert waiting == [900] * 4 and crowd.loop.hits["turn_sent_bytes"] == 4
    for _ in range(9):
        crowd.turn()
    assert crowd.loop.owed.total == 0
