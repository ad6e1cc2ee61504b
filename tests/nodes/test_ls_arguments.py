"""The times and bounds of resolvers that the command line of LS says, or that follow from it.

Not here: the command lines of others (`tests/nodes/test_arguments.py`).
"""

import pytest

from core.bounds import Bounds
from nodes.cli.ls_arguments import read_ls_options
from tests.support.dns_messages import said
from tests.support.resolver_cast import D1, Cast


def bounds_said(*said: tuple[str, float], upstreams: int = 1, workers: int | None = None) -> Bounds:
    """Return what the command line makes of these."""
    words = ["0", "localhost", "5301", *["--dns-upstream", "192.0.2.1"] * upstreams]
    for bound, value in said:
        words += ["--bound", f"{bound}={value}"]
    if workers is not None:
        words += ["--workers", str(workers)]
    return read_ls_options(words).server.bounds


def test_workers_share_queries_in_flight_grace_and_lookups() -> None:
    """[P40]: a drain with workers ends in time, too, as their parent waits for as long again."""
    for workers, share in ((None, 150), (1, 150), (3, 50), (128, 1)):
        assert bounds_said(workers=workers).upstream_window == share
    bounds = bounds_said(("drain_grace_s", 0.8), workers=2)
    assert bounds.drain_grace_s == 0.4
    assert bounds.lookup_each_s == 2 * Bounds().lookup_each_s, "nor do they look up more than one"


@pytest.mark.parametrize("given", [[], [("timeout_s", 1.0)]], ids=["defaults", "short lines"])
def test_a_good_reply_after_2_5_s_is_relayed_by_default(given: list[tuple[str, float]]) -> None:
    cast = Cast(1, bounds=bounds_said(*given))
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.wait(2.5)
    assert cast.codes() == []
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] and cast.metric("DNS1.unmatched") == 0


@pytest.mark.parametrize(
    ("given", "upstreams", "due_s"),
    [
        ([], 1, 4.5),
        ([], 0, 1.8),
        ([("dns_timeout_s", 1.8)], 1, 1.8),
        ([("dns_timeout_s", 0.5)], 0, 0.5),
        ([("dns_timeout_s", 9.0), ("dns_timeout_s", 3.0)], 1, 3.0),
        ([("dns_timeout_upstream_s", 3.0)], 1, 3.0),
        ([("dns_timeout_upstream_s", 3.0)], 0, 1.8),
    ],
)
def test_the_time_of_dns_is_as_told_or_by_who_is_asked(
    given: list[tuple[str, float]], upstreams: int, due_s: float
) -> None:
    assert bounds_said(*given, upstreams=upstreams).dns_timeout_s == due_s
