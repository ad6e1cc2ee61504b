"""The page for Prometheus: facts beside the metrics, every bound, and what LS is fit for.

Not here: the format (`tests/core/test_exposition.py`), and Prometheus itself
(`tests/tools/test_prometheus.py`).
"""

from core.bounds import COUNTED, BoundHits
from core.environment import Environment
from core.exposition import prometheus_text
from core.metrics import Metric, Value
from core.operator import DrainAsked
from core.version import PYTHON, VERSION
from nodes.ls.load_balancer import LoadBalancer
from nodes.status_page.prometheus import prometheus_page
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from nodes.workers.messages import keyed
from nodes.workers.totals import summed
from tests.core.test_exposition import ParsedMetric, read
from tests.core.test_metrics import T1, started
from tests.support.stage import Stage


def shown(stage: Stage, process: list[Value] | None = None) -> dict[str, ParsedMetric]:
    brain = stage.brain
    assert isinstance(brain, LoadBalancer)
    return read(prometheus_page(brain, lambda: process or []))


def by_labels(metric: ParsedMetric) -> dict[tuple[str, ...], float]:
    return {tuple(text for _, text in labels): n for (_, labels), n in metric.samples.items()}


def test_every_bound_is_there_from_the_start() -> None:
    hits = BoundHits()
    stage = started(hits=hits)
    name = "photofinish_hits_total"
    assert by_labels(shown(stage)[name]) == {(bound,): 0 for bound in COUNTED}
    hits["clients_max"] = 3
    assert by_labels(shown(stage)[name]) == {
        (bound,): 3 * (bound == "clients_max") for bound in COUNTED
    }


def test_facts_are_labels_of_series_that_are_one() -> None:
    found = shown(started())
    assert by_labels(found["photofinish_build_info"]) == {(VERSION, PYTHON, "race"): 1}
    assert by_labels(found["photofinish_server_info"]) == {("TS1", "ts"): 1, ("TS2", "ts"): 1}
    table_server = TableServer(Table(), Environment())
    found = read(prometheus_page(table_server, list))
    assert by_labels(found["photofinish_build_info"]) == {(VERSION, PYTHON): 1}
    assert "photofinish_server_info" not in found


def test_a_tier_has_series_of_its_own_that_workers_add_up() -> None:
    stage = started(tiers={"TS2": 2})
    stage.accept("a")
    stage.hear("a", b"x\ny\n")
    stage.hear("TS1", b"x 10.0.0.1 A IN\ny - NOT FOUND\n")
    assert isinstance(stage.brain, LoadBalancer)
    values = stage.brain.metrics()
    assert totals_of(read(prometheus_text(values))) == {
        "asked": {("tier1",): 2, ("tier2",): 1},
        "slow": {("tier1",): 0, ("tier2",): 0},
        "won": {("tier1",): 1, ("tier2",): 0},
    }
    of_two = summed([keyed(values), keyed(values)]).values()
    assert totals_of(read(prometheus_text(of_two)))["asked"] == {("tier1",): 4, ("tier2",): 2}


def totals_of(found: dict[str, ParsedMetric]) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what is counted of tiers, by the metric and the values of its labels."""
    begin, end = "photofinish_tier_", "_total"
    return {
        name.removeprefix(begin).removesuffix(end): by_labels(metric)
        for name, metric in found.items()
        if name.startswith(begin)
    }


def test_an_address_may_have_any_letters() -> None:
    """A zone of IPv6 is the name of an interface, which may have quotes."""
    brain = started().brain
    assert isinstance(brain, LoadBalancer)
    server = {"kind": "resolver", "address": 'fe80::1%a"\\b:53'}
    brain.page_entries = lambda: {"servers": {"DNS1": server}}
    found = read(prometheus_page(brain, list))
    assert by_labels(found["photofinish_server_info"]) == {
        ("DNS1", "resolver", r"fe80::1%a\"\\b:53"): 1
    }


def test_what_is_seen_of_the_process_has_its_common_name() -> None:
    metric = Metric("process_cpu_seconds", "CPU", is_common=True)
    found = shown(started(), [Value(metric, 1.5)])
    assert by_labels(found["process_cpu_seconds_total"]) == {(): 1.5}


def test_a_server_that_drains_is_not_ready_and_says_why() -> None:
    stage = started()
    stage.accept("a")
    stage.hear("a", b"x\n")
    names = "photofinish_ready", "photofinish_draining"

    def standing() -> list[float]:
        found = shown(stage)
        return [by_labels(found[name])[()] for name in names]

    assert standing() == [1, 0]
    stage.step(DrainAsked())
    assert standing() == [0, 1]


def test_an_ls_without_a_good_server_is_not_ready() -> None:
    stage = started()
    for server in (T1, "TS2"):
        stage.reset(server)
    stage.wait(3.5)
    found = shown(stage)
    assert by_labels(found["photofinish_ready"]) == {(): 0}
    assert by_labels(found["photofinish_draining"]) == {(): 0}


def test_a_name_that_is_kept_has_its_own_help_and_says_so() -> None:
    found = shown(started())
    about = found["photofinish_not_found_total"].about
    assert about == (
        "Questions whose name nobody has; kept until 1.1: see photofinish_replies_total."
    )
    assert "kept" not in found["photofinish_replies_total"].about
