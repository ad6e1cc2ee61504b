"""The sockets to a resolver: each is replaced after a while.

Not here: sockets under chance (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace

from core.bounds import Bounds
from tests.support.resolver_cast import D1, Cast


def test_a_socket_whose_successor_failed_is_replaced_later() -> None:
    """And it is asked meanwhile."""
    bounds = replace(Bounds(), upstream_sockets=1, upstream_socket_s=1.0)
    cast = Cast(1, bounds=bounds, refused={"DNS1.2"})
    for wait_s, after in ((2.0, ["DNS1.1"]), (0.9, ["DNS1.1"]), (0.2, ["DNS1.3"])):
        cast.wait(wait_s)
        cast.ask("x.example")
        cast.answer(D1, "10.0.0.1")
        assert cast.sockets(D1) == after and cast.codes() == [0]
