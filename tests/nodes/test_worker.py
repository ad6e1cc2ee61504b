"""A worker around a real LS: what it reports to its parent, and what that can have it do.

Not here: the parent (`tests/nodes/test_supervisor.py`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.bounds import Bounds
from core.effects import Drain, Effect
from core.metrics import Metric, Value
from core.operator import ReloadAsked, Standing
from core.protocol import server_state
from nodes.ls.load_balancer import LoadBalancer
from nodes.workers.messages import Unpacker, keyed, pack
from nodes.workers.worker import PARENT, Worker
from tests.support.balancers import addresses_of, load_balancer
from tests.support.stage import Stage

STATE = Metric("state", "State", is_level=True, per="ts")
NOTHING_NEW = {"process": 7, "values": {}, "histograms": {}, "about": {}}


class Nest(Stage):
    """A worker, and its parent, which is what the test says it is."""

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, Drain):
            self.drain()
        else:
            super().perform(effect)

    def drains(self) -> bool:
        """Return whether the parent has been told that it drains."""
        return {"standing": "STOPPING"} in self.told()

    def told(self) -> list[dict[str, Any]]:
        """Return what the parent has been told."""
        return Unpacker().take(self.take(PARENT))

    def command(self, do: str, **more: object) -> list[dict[str, Any]]:
        """Let the parent want this; return what it is told."""
        self.hear(PARENT, pack({"do": do, **more}))
        return self.told()

    def hear_of_others(self, values: list[Value], gone: Sequence[str] = ()) -> None:
        self.hear(PARENT, pack({"do": "hear", "values": keyed(values), "gone": list(gone)}))


def worker(sample: float = 0.0) -> Nest:
    """Build a worker with a real LS and a client, whose parent is there."""
    bounds = Bounds()
    hosts = [("ts1", 1), ("ts2", 1)]

    def build(shown: Callable[[list[Value]], list[Value]]) -> LoadBalancer:
        return load_balancer(
            addresses_of(2), bounds, lambda: 0.0, hosts=hosts, stats=shown, sample=sample
        )

    return Nest.begun(Worker(build, 7), bounds, clients=(PARENT,))


def with_client(sample: float = 0.0) -> Nest:
    """Build a worker whose links are up, with a client that has said nothing yet."""
    stage = worker(sample)
    for conn in ("TS1", "TS2"):
        stage.connect(conn)
    stage.take(PARENT)
    stage.accept("client-1")
    return stage


def numbers(message: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a message has, by their keys."""
    return {key: value for key, (_, value, _) in message["values"].items()}


def test_a_worker_reports_at_once_and_whenever_it_is_asked() -> None:
    (first,) = worker().told()
    assert first["process"] == 7
    assert [one["address"] for one in first["about"]["servers"].values()] == ["ts1:1", "ts2:1"]
    stage = with_client()
    stage.hear("client-1", b"x\n")
    (second,) = stage.command("tell")
    said = numbers(second)
    assert (said["asked"], said["clients"], said["TS1.state"]) == (1, 1, "UP")


def test_stats_tells_the_sum_over_all() -> None:
    """[P28]: of what the others still have."""
    stage = with_client()
    stage.hear_of_others([Value(STATE, "DOWN", "TS1"), Value(server_state.ASKED, 41)])
    stage.hear_of_others([], gone=["TS1.state"])
    stage.hear("client-1", b"x\n", b"STATS\n")
    said = stage.take("client-1")
    assert b"STAT asked 42\n" in said and b"STAT TS1.state UP\n" in said
    (told,) = stage.command("tell")
    assert numbers(told)["asked"] == 1  # its own only


def test_a_worker_tells_only_what_has_changed() -> None:
    stage = with_client(sample=1.0)
    stage.command("tell")
    assert stage.command("tell") == [NOTHING_NEW]
    for name in (b"x", b"y"):  # the second time too: what was told is not what goes on counting
        stage.hear("client-1", name + b"\n")
        for conn in ("TS1", "TS2"):
            stage.hear(conn, name + b" 10.0.0.1 A IN\n")
        (told,) = stage.command("tell")
        assert {"asked", "answered", "TS1.won"} <= set(told["values"])
        assert not {"TS1.state", "TS2.won", "errors"} & set(told["values"])
        assert "TS1.answer_seconds" in told["histograms"] and not told["about"]


@pytest.mark.parametrize("how", ["told", "orphaned", "cut off"])
def test_it_drains_when_it_is_told_to_or_has_no_parent(how: str) -> None:
    """A parent that is gone is told nothing: the stage would fail."""
    stage = with_client()
    stage.hear("client-1", b"x\n")
    if how == "told":
        assert stage.command("drain") == [{"standing": "STOPPING"}]
    elif how == "orphaned":
        stage.end(PARENT)
    else:
        stage.reset(PARENT)
    if how != "told":
        assert "the parent is gone: draining" in stage.reports
        assert stage.standings == [Standing.STOPPING]
        stage.step(ReloadAsked())
    stage.hear("TS1", b"x 10.0.0.1 A IN\n")
    assert stage.take("client-1") == b"x 10.0.0.1 A IN\nBYE\n"
    for conn in ("client-1", "TS1", "TS2"):
        stage.end(conn)
    assert stage.exit_code == 0
    answered = [numbers(message)["answered"] for message in stage.told() if "values" in message]
    assert answered == ([1] if how == "told" else [])


def test_the_parent_is_the_service_manager_of_a_worker() -> None:
    stage = worker()
    stage.take(PARENT)
    assert stage.command("reload") == [{"standing": "RELOADING"}]
    assert [conn for conn, *_ in stage.lookups] == ["TS1", "TS2"]
    stage.resolve("TS1", ((2, ("TS1", 1)),))
    stage.resolve("TS2", ())
    assert stage.told() == [{"standing": "READY"}] and stage.standings == []


# -- retiring --------------------------------------------------------------------------------------


def test_one_that_retires_serves_its_clients_and_then_drains() -> None:
    """Its listeners are closed at once, and its clients served."""
    stage = with_client()
    stage.accept("dns-client-1")
    stage.accept("tls-client-1")
    assert stage.command("retire", within_s=10.0) == [] and not stage.listening
    stage.hear("client-1", b"a.example\n")
    stage.hear("TS1", b"a.example 10.0.0.1 A IN\n")
    assert stage.take("client-1") == b"a.example 10.0.0.1 A IN\n"
    for conn in ("client-1", "dns-client-1", "tls-client-1"):
        assert not stage.drains()
        stage.end(conn)
    assert stage.drains()


def test_one_that_retires_waits_for_its_clients_so_long() -> None:
    stage = with_client()
    stage.command("retire", within_s=3.0)
    stage.wait(2.9)
    assert not stage.drains()
    stage.wait(0.2)
    assert stage.drains() and b"BYE\n" in stage.take("client-1")


def test_one_without_clients_retires_by_draining_at_once() -> None:
    stage = worker()
    assert {"standing": "STOPPING"} in stage.command("retire", within_s=3.0)
    assert not stage.listening
