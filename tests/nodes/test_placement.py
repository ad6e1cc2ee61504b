"""Placement: the tier and the routes of each server, as the status page shows them.

Not here: how the page looks (`tests/tools/test_page.py`), and who is asked a question
(`test_routes.py`, `test_tier_policy.py`).
"""

import json
from collections.abc import Collection
from typing import Any

import pytest

from nodes.ls.placement import nobodys, placed
from nodes.ls.setup import ServerSetup, Setup
from nodes.status_page.pages import status
from tests.support.resolver_cast import Cast

ALL_OTHERS = "all other names"


def some_setup(**more: Any) -> Setup:  # noqa: ANN401
    """Return options of an LS before TS1, TS2, DNS1 and DNS2."""
    tables, resolvers = ([ServerSetup(f"{kind}{n}", ()) for n in (1, 2)] for kind in ("TS", "DNS"))
    return Setup(tables, resolvers, **more)


def shown(key: str, **more: Any) -> list[Any]:  # noqa: ANN401
    places = placed(some_setup(**more))
    assert list(places) == ["TS1", "TS2", "DNS1", "DNS2"]
    return [place[key] for place in places.values()]


def test_nothing_is_said_where_there_are_no_tiers_and_routes() -> None:
    assert shown("tier") == [None] * 4 and shown("routes") == [""] * 4
    assert nobodys(some_setup()) == ""


def test_servers_without_a_tier_are_in_the_first() -> None:
    assert shown("tier", tiers={"DNS1": 2, "DNS2": 3}) == [1, 1, 2, 3]
    assert shown("routes", tiers={"DNS1": 2}) == [""] * 4


def test_a_tier_has_the_number_that_its_metrics_have() -> None:
    tiered = Cast(2, tables=1, tiers={"DNS1": 3, "DNS2": 7})
    entries = tiered.brain.page_entries()
    tiers = [server["tier"] for server in entries["servers"].values()]
    counted = [value.subject for value in tiered.brain.metrics() if value.metric.per == "tier"]
    assert tiers == [1, 2, 3] and set(counted) == {f"tier{tier}" for tier in tiers}
    assert entries["policy"] == "tiers"


Routes = dict[bytes, Collection[str] | None]


@pytest.mark.parametrize(
    ("routes", "routed", "first", "second"),
    [
        ({b"corp.example": ["DNS2"]}, ["DNS2"], ALL_OTHERS, "corp.example"),
        ({b"corp.example": ["DNS2"]}, [], ALL_OTHERS, f"corp.example and {ALL_OTHERS}"),
        ({b"a": ["DNS2"], b"b": None}, ["DNS2"], f"b and {ALL_OTHERS}", "a"),
        ({b"a": ["DNS1", "DNS2"], b"b": ["DNS1"]}, ["DNS1"], "a and b", f"a and {ALL_OTHERS}"),
        ({b"lan": []}, [], ALL_OTHERS, ALL_OTHERS),
    ],
    ids=["apart", "both", "default", "several", "nobody"],
)
def test_resolvers_have_their_routes_and_tables_have_none(
    routes: Routes, routed: list[str], first: str, second: str
) -> None:
    words = {"routes": routes, "routed": routed}
    assert shown("routes", **words) == ["", "", first, second]
    wanted = ", ".join(name.decode() for name, servers in routes.items() if servers == [])
    assert nobodys(some_setup(**words)) == wanted


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (4, "n0, n1, n2 and n3"),
        (5, "n0, n1, n2, n3 and n4"),
        (6, "n0, n1, n2, n3, n4 and 1 more"),
        (17, "n0, n1, n2, n3, n4 and 12 more"),
    ],
)
def test_of_many_names_five_are_shown_and_the_others_counted(count: int, words: str) -> None:
    names = [b"n%d" % n for n in range(count)]
    setup = some_setup(routes=dict.fromkeys(names, ("DNS1",)), routed=["DNS1"])
    assert placed(setup)["DNS1"]["routes"] == words
    assert nobodys(some_setup(routes=dict.fromkeys(names, ()))) == words
    both = placed(some_setup(routes=dict.fromkeys(names, ("DNS1",))))["DNS1"]["routes"]
    assert both == f"{words.replace(' and', ',')} and {ALL_OTHERS}"


def test_no_name_that_clients_asked_is_shown() -> None:
    routed = Cast(2, routes={b"corp.example": ["DNS2"], b"lan": ()}, routed=["DNS2"])
    before = routed.brain.page_entries()
    for question in ("a.corp.example", "nas.lan", "x.example"):
        routed.ask(question)
    assert routed.brain.page_entries() == before
    text = json.dumps(status(routed.brain, 1.0))
    assert all(name not in text for name in ("a.corp", "nas.lan", "x.example"))
    assert '"nobodys_names": "lan"' in text and '"routes": "corp.example"' in text
