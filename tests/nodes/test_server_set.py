"""Sets of servers as numbers, beside Python's own sets.

Not here: which sets are kept of what (`tests/nodes/test_hedge_policy.py`,
`tests/nodes/test_negatives.py`).
"""

from hypothesis import given
from hypothesis import strategies as st

from nodes.ls.server_set import (
    NO_SERVERS,
    ServerSet,
    has_all,
    server_at,
    union,
    without,
)

NUMBERS = st.frozensets(st.integers(0, 80))


def made(numbers: frozenset[int]) -> ServerSet:
    return union(server_at(number) for number in numbers)


@given(NUMBERS, NUMBERS)
def test_server_sets_behave_like_sets(some: frozenset[int], more: frozenset[int]) -> None:
    servers, others = made(some), made(more)
    assert union([servers, others]) == servers | others == made(some | more)
    assert servers & others == made(some & more)
    assert without(servers, others) == made(some - more)
    assert bool(servers & others) is not some.isdisjoint(more)
    assert has_all(servers, others) is (more <= some)
    assert bool(servers) is bool(some)
    assert (servers == others) is (some == more)
    assert union([]) == NO_SERVERS
