"""A loop's containers, clocks and limits, in scenes in which something could be forgotten.

After each turn of each scene `tests/sim/kept.py` checks the loop against the simulator's records;
a test here says besides when a limit is to strike.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from core.bounds import Bounds
from tests.sim.scenes import Asker, Scene
from tests.sim.sockets import SimSocket

NAMES = b"".join(b"name%d.example\n" % n for n in range(20))
SMALL = replace(Bounds(), owed_bytes_high=300, owed_bytes_low=60, mid_line_s=6.0)


def is_cut(asker: Asker) -> bool:
    return asker.has_ended or asker.was_reset


def cut_after(scene: Scene, asker: Asker) -> float:
    """Wait until this client is cut, while another one keeps LS turning; return how long it was."""
    other = scene.asker()

    def happened() -> bool:
        other.say(b"\n")
        return is_cut(asker)

    return scene.wait_for(happened)


def blocked(bounds: Bounds) -> tuple[Scene, Asker]:
    """Build a client that is owed too much, reads nothing, and has begun another line."""
    scene = Scene({"x": "10.0.0.1"}, bounds=bounds)
    scene.world.network.room = 200
    asker = scene.asker()
    asker.reads = False
    asker.say(b"x\n" * 60 + b"half")
    scene.wait(0.5)
    return scene, asker


def test_a_reset_of_a_blocked_client_leaves_nothing() -> None:
    scene, asker = blocked(SMALL)
    asker.reset()
    scene.wait(0.1)
    scene.leaves_nothing()


def test_a_blocked_client_that_reads_again_is_given_all() -> None:
    asker = blocked(SMALL)[1]
    asker.reads = True
    asker.poll()
    assert asker.after(5.0) == b"x 10.0.0.1 A IN\n" * 60 and not is_cut(asker)


def test_a_line_has_its_whole_time_after_a_backlog() -> None:
    scene, asker = blocked(SMALL)
    scene.wait(3.0)
    asker.reads = True
    asker.poll()
    assert 5.9 < cut_after(scene, asker) < 6.3


@pytest.mark.parametrize("mid_line_s", [3.0, 6.0])
def test_a_line_has_its_whole_time_after_a_pause(mid_line_s: float) -> None:
    """The client is paused for 5 s, and its line is not late by what nobody read."""
    scene = Scene("", bounds=replace(Bounds(), mid_line_s=mid_line_s, pending_per_client_max=5))
    asker = scene.asker(NAMES + b"half")
    assert scene.watch.brain.backpressure.paused
    assert 4.9 < cut_after(scene, asker) - mid_line_s < 5.2


def test_a_line_has_its_whole_time_after_memory_was_short() -> None:
    bounds = replace(SMALL, owed_all_bytes_high=3_000, owed_all_bytes_low=2_000, few_bytes=1)
    scene = Scene("", bounds=bounds)
    asker, hoarder = scene.asker(b"x\nhalf"), scene.asker(NAMES)
    assert scene.ls.loop is not None and scene.ls.loop.streams.was_short
    scene.wait(5.5)
    assert not scene.ls.loop.streams.was_short
    assert 4.9 < cut_after(scene, asker) < 6.0 and not is_cut(hoarder)


def test_each_line_has_its_own_time() -> None:
    scene = Scene("", bounds=SMALL)
    asker = scene.asker(b"na")
    scene.wait(4.0)
    asker.say(b"me\nanother")
    scene.wait(1.0)
    asker.say(b"one")
    assert 4.9 < cut_after(scene, asker) < 5.1


@pytest.mark.parametrize("ends", [Asker.end, Asker.reset, lambda asker: asker.say(b"\nQUIT\nmore")])
def test_no_clock_runs_for_a_line_after_the_end(ends: Callable[[Asker], None]) -> None:
    scene = Scene("", bounds=replace(SMALL, mid_line_s=1.0))
    asker = scene.asker(b"x\nhalf")
    ends(asker)
    scene.wait(0.5)
    scene.puppets[0].say(b"x 10.0.0.1 A IN\n")
    scene.wait(0.1)
    assert scene.ls.loop is not None
    if ends is Asker.end:
        assert asker.heard.endswith(b"x 10.0.0.1 A IN\n")
    scene.wait(10.0)
    assert not scene.ls.loop.streams.accepted


def test_a_paused_client_that_ls_closes_is_read_to_its_end() -> None:
    """Closed unread it would get a reset, and lose its last replies."""
    scene = Scene("", bounds=replace(Bounds(), pending_per_client_max=5, read_bytes=100))
    asker = scene.asker(NAMES * 5)
    assert scene.watch.brain.backpressure.paused
    scene.signal()
    scene.wait(6.5)
    assert asker.heard.endswith(b"BYE\n") and not asker.was_reset
    asker.close()


def test_idle_time_is_counted_from_the_last_byte_either_way() -> None:
    """A question restarts it; an answer that nobody takes does not."""
    scene = Scene("", bounds=replace(Bounds(), idle_s=4.0, timeout_s=3.0))
    asker, silent = scene.asker(), scene.asker()
    scene.wait(2.0)
    asker.say(b"x\n")
    scene.wait(0.1)
    scene.world.network.room = 0
    scene.wait(2.0)
    assert is_cut(silent) and not is_cut(asker)
    assert 1.7 < scene.wait_for(lambda: scene.ls.loop.hits["idle_s"] == 2) < 2.1  # type: ignore[union-attr]


def test_a_client_that_takes_a_little_is_not_stalled() -> None:
    scene, asker = blocked(replace(SMALL, mid_line_s=1_000.0, write_stall_s=2.0))
    for _ in range(4):
        scene.wait(1.0)
        assert asker.stream is not None and asker.stream.recv(20)
    scene.wait(1.5)
    hits = scene.ls.loop.hits  # type: ignore[union-attr]
    assert hits["write_stall_s"] == 0
    scene.wait(0.6)
    assert hits["write_stall_s"] == 1


def test_a_drain_leaves_no_dial_under_way() -> None:
    scene = Scene("", linked=False)
    scene.world.cut(scene.ls, scene.puppets[0].host, 100.0)
    scene.puppets[0].is_gone()
    scene.wait(2.0)
    asker = scene.asker(b"x\n")
    scene.signal()
    scene.wait(6.5)
    assert scene.ls.exit_code == 0 and asker.heard.endswith(b"BYE\n")


def test_a_client_that_parts_for_another_leaves_nothing() -> None:
    scene = Scene("", bounds=replace(Bounds(), clients_max=3))
    crowd = scene.world.host("crowd")
    streams = [SimSocket(crowd) for _ in range(3)]
    for stream in streams:
        scene.world.dial(stream, scene.ls)
    scene.wait(0.1)
    newcomers = [scene.asker() for _ in range(3)]
    assert scene.ls.loop is not None and scene.ls.loop.acceptor.parting
    assert newcomers[2].after(0.1) == b"- ERROR BUSY\n"
    for stream in streams:
        stream.close()
    scene.wait(0.1)
    assert not is_cut(newcomers[0]) and not scene.ls.loop.acceptor.parting


def test_a_connection_reset_before_it_is_accepted_leaves_nothing() -> None:
    scene = Scene("")
    scene.ls.paused_until = scene.world.t + 1.0
    asker = scene.asker()
    asker.reset()
    scene.wait(1.5)
    assert scene.world.probes["reset before it was tuned"] == 1
    scene.leaves_nothing()
