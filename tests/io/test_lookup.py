"""Lookup and LookupRunner: host names looked up by children, a few at a time, that leave nothing.

Not here: who wants a name looked up (`tests/nodes/test_host_lookups.py`), and whole programs
(`tests/processes/test_hosts.py`).
"""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from core.effects import Resolve
from core.events import Resolved
from core.io.lookup import Lookup
from tests.support.counting import open_descriptors
from tests.support.loops import Node, Script, real_loop, turn_until


def children() -> list[str]:
    """Return the processes that this one has not waited for."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def found(lookup: Lookup) -> tuple[object, ...]:
    while (addresses := lookup.read()) is None:
        pass
    return addresses


@pytest.mark.parametrize("ends", ["found", "given up"])
def test_a_lookup_leaves_no_descriptor_and_no_child(ends: str) -> None:
    """Whether it has ended or is closed while it runs."""
    before = open_descriptors(), children()
    for _ in range(2):
        lookup = Lookup("127.0.0.1", 80)
        if ends == "found":
            assert found(lookup) == ((socket.AF_INET, ("127.0.0.1", 80)),)
        lookup.close()
    assert (open_descriptors(), children()) == before


def test_a_name_that_nobody_has_is_told_why() -> None:
    """`a..b` is no name, which getaddrinfo says in another way."""
    lookup = Lookup("a..b", 80)
    assert found(lookup) == () and lookup.why != "no reply"
    lookup.close()


def test_a_child_that_is_ended_has_found_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child of this test hangs: it finds nothing, however late it is ended."""
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 60\n")
    hangs.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hangs))
    before = set(children())
    lookup = Lookup("localhost", 80)
    (child,) = set(children()) - before
    os.kill(int(child), signal.SIGKILL)
    assert found(lookup) == () and lookup.why == "no reply"
    lookup.close()


def test_a_loop_that_is_closed_gives_its_lookups_up() -> None:
    before = open_descriptors(), children()
    brain, loop = Script(), real_loop()
    loop.start(brain)
    for name in ("a", "b"):
        loop.engine.performers[Resolve](Resolve(name, "localhost", 80))
    turn_until(loop, lambda: brain.of(Resolved))
    loop.engine.performers[Resolve](Resolve("c", "localhost", 80))
    loop.turn()
    loop.close()
    del loop  # and its own sockets
    assert (open_descriptors(), children()) == before


# -- those of a loop -------------------------------------------------------------------------------


def test_few_lookups_run_at_once_and_one_begins_in_a_turn() -> None:
    node = Node(lookups_max=2)
    node.world.lookup_s = 1.0
    before = set(node.host.open)
    names = [f"TS{number}" for number in range(1, 6)]
    node.do(*(Resolve(name, "TS1", 53) for name in names))
    node.do(Resolve("TS1", "TS1", 53), Resolve("TS5", "TS1", 53))  # wanted already
    for at, running in ((0.5, 2), (1.5, 2), (2.5, 1), (3.5, 0)):
        node.wait_until(at)
        assert len(set(node.host.open) - before) == running
    assert [event.conn for event in node.brain.of(Resolved)] == names
    assert all(event.addresses for event in node.brain.of(Resolved))


def test_a_turn_begins_one_lookup_however_many_are_wanted() -> None:
    node = Node(lookups_max=3)
    node.turned_by_hand()
    before = len(node.host.open)
    node.do(*(Resolve(f"TS{number}", "TS1", 53) for number in range(4)))
    for running in (1, 2, 3, 3):
        node.turn()
        assert len(node.host.open) - before == running


def test_a_name_may_be_wanted_again_when_its_lookup_is_over() -> None:
    """A lookup that found nothing says why."""
    node = Node()
    node.world.known_at["TS1"] = 0.5
    for at in (1.0, 2.0):
        node.do(Resolve("TS1", "TS1", 53))
        node.wait_until(at)
    first, second = node.brain.of(Resolved)
    assert first == Resolved("TS1", (), "name or service not known")
    assert second.addresses == ((2, ("TS1", 53)),)


def test_an_address_needs_no_lookup() -> None:
    brain, loop = Script(), real_loop()
    loop.start(brain)
    loop.engine.performers[Resolve](Resolve("x", "127.0.0.1", 80))
    loop.engine.deliver()
    assert brain.of(Resolved) == [Resolved("x", ((socket.AF_INET, ("127.0.0.1", 80)),))]
    loop.close()
