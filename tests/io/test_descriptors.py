"""Descriptors: what the limit is, who may have them, and that clients never take those of links."""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.io.descriptors import Descriptors
from nodes.ls.setup import descriptors_for
from tests.sim.scenes import Scene

BUSY = b"- ERROR BUSY\n"
TABLE = {"n1": "10.0.0.1"}


def of(limit: int, taken: int = 3, **bounds: int) -> Descriptors:
    return Descriptors(replace(Bounds(), **bounds), limit, taken)  # type: ignore[arg-type]


# -- uses of descriptors ---------------------------------------------------------------------------


def test_clients_have_what_is_left_of_the_limit() -> None:
    some = of(64, descriptors_spare=10)
    assert some.clients_max == 64 - 3 - 2 - 10
    some.reserve(40)
    assert some.clients_max == 64 - 3 - 2 - 10 - 40
    assert of(64, taken=30, descriptors_spare=10).clients_max == 64 - 30 - 2 - 10
    assert of(1024, clients_max=5).clients_max == 5


def test_a_limit_in_the_way_is_said_with_what_to_raise_it_to() -> None:
    assert of(64).few().startswith("43 clients fit into 64 descriptors; for 992 raise the limit to")
    assert "to 1013 " in of(64).few()
    crowded = of(64)
    crowded.reserve(36)
    assert crowded.few().startswith("7 clients fit into 64 descriptors; for 967 raise the limit to")
    assert "to 1024 " in crowded.few()
    assert of(1024).few() == "" and of(64, clients_max=40).few() == ""
    assert of(64, descriptors_max=64).few() == "", "it is wanted so"


def test_a_limit_too_low_for_one_client_is_an_error() -> None:
    some = of(24)
    assert some.too_few() == "" and some.clients_max == 3
    some.reserve(3)
    assert some.clients_max == 0
    assert some.too_few().startswith("24 descriptors are too few: at least 25 are needed; raise")
    some.reserve(30)
    assert some.clients_max == 0


def test_ls_counts_sockets_of_resolvers_twice_and_lookups() -> None:
    bounds = replace(Bounds(), upstream_sockets=3, lookups_max=2)
    assert descriptors_for(bounds, 0, 1) == 2 * 3 + 2 + 2 + 4
    assert descriptors_for(bounds, 5, 2) == 5 + 2 * (2 * 3 + 2) + 2 + 4


@pytest.mark.parametrize("room", [1, 10, 50])
def test_a_ts_that_is_back_is_dialled_whatever_clients_come(room: int) -> None:
    """[P59]: and each client is served, or told BUSY."""
    bounds = Bounds()
    fds_max = 3 + 2 + bounds.descriptors_spare + 1 + 2 + room
    scene = Scene(TABLE, "puppet", fds_max=fds_max, bounds=bounds, linked=False)
    scene.wait(0.5)
    (puppet,) = scene.puppets
    askers = [scene.asker() for _ in range(room)]
    puppet.is_gone()
    scene.wait(0.2)
    askers += [scene.asker() for _ in range(90)]
    told = [asker.take() for asker in askers]
    assert told == [b""] * room + [BUSY] * 90
    scene.wait(3.0)
    puppet.listens()
    scene.wait_for(lambda: puppet.accepted == 2, bounds.redial_max_s * 1.25 + 0.1)
    for asker in askers[:room]:
        asker.say(b"n1\n")
    scene.wait(0.2)
    assert all(asker.take() == b"n1 10.0.0.1 A IN\n" for asker in askers[:room])
    assert scene.world.probes["a dial runs out of descriptors"] == 0
    assert scene.world.probes["accept runs out of descriptors"] == 0
