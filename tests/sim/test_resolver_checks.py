"""The checks of stories before resolvers see a miss, in stories of the right shape only."""

from collections.abc import Callable

import pytest

from tests.sim.invariants import Violated
from tests.sim.resolver_checks import DEAD_HOLD_S, REFUSED_S, Checks
from tests.sim.resolver_shapes import KINDS, Shape
from tests.support.dns_clients import query
from tests.support.dns_messages import TYPES, section_of

# A name that the second of two has, a name that the first has, and one without data.
X1, X2 = section_of(query(1, b"n9.example")), section_of(query(1, b"N10.example"))
MAIL = section_of(query(1, b"n9.example", TYPES["MX"]))


def miss_data(checks: Checks) -> None:
    checks.told(X1, "REFUSED", 1.0)


def miss_shown_data(checks: Checks) -> None:
    checks.came("DNS1", X1, "NXDOMAIN", 1.0)
    checks.came("DNS2", X1, "data", 1.1)
    checks.told(X1, "NXDOMAIN", 1.2)


def overflow(checks: Checks) -> None:
    checks.ended(1, [], [])


def guess(checks: Checks) -> None:
    checks.ended(0, ["DNS1: 32 replies that match nothing, as if guessed"], [])


def stream(checks: Checks) -> None:
    checks.ended(0, [], ["DNS1"])


def hold_long(checks: Checks) -> None:
    checks.held(DEAD_HOLD_S + 0.01, "")


def wait_for_the_refused(checks: Checks) -> None:
    checks.closed_port(1.0, 2.0)
    checks.replied("SERVFAIL", "data", 1.0 + REFUSED_S / 2, 1.9)
    checks.replied("SERVFAIL", "data", 1.5, 1.5 + 2 * REFUSED_S)


def refuse_what_is_back(checks: Checks) -> None:
    checks.closed_port(1.0, 2.0)
    checks.replied("SERVFAIL", "data", 2.0 + REFUSED_S / 2, 2.1 + REFUSED_S / 2)
    checks.replied("SERVFAIL", "data", 3.0, 3.1)


MISSES: list[tuple[str, Callable[[Checks], None], Shape, Shape]] = [  # and where it is none
    ("first good answer", miss_data, Shape("halves", denial="REFUSED"), Shape("rough")),
    ("first good answer", miss_data, Shape("load"), Shape("halves", denial="NXDOMAIN")),
    ("first good answer", miss_shown_data, Shape("halves", denial="NXDOMAIN"), Shape("dead")),
    ("no overflow", overflow, Shape("load"), Shape("freeze")),
    ("no guesses", guess, Shape("twice"), Shape()),
    ("no streams", stream, Shape("freeze"), Shape("rough")),
    ("the dead hold nobody", hold_long, Shape("dead"), Shape("load")),
    ("refused at once", wait_for_the_refused, Shape("closed"), Shape()),
    ("refused at once", refuse_what_is_back, Shape("closed"), Shape()),
]


@pytest.mark.parametrize(("check", "do", "shape", "other"), MISSES)
def test_a_check_sees_its_miss(
    check: str, do: Callable[[Checks], None], shape: Shape, other: Shape
) -> None:
    """In a story of another shape, it is none."""
    with pytest.raises(Violated, match=check):
        do(Checks(shape))
    do(Checks(other))


def test_right_replies_are_no_miss() -> None:
    for kind in KINDS:
        checks = Checks(Shape(kind, denial="REFUSED"))
        checks.told(X1, "data", 1.0)
        checks.told(MAIL, "NOERROR", 1.0)
        checks.held(DEAD_HOLD_S, "")
        checks.ended(0, ["DNS1 is silent: nobody waits for it"], [])


def test_data_shown_long_ago_is_not_known() -> None:
    checks = Checks(Shape("halves", denial="NXDOMAIN"))
    checks.came("DNS1", X1, "NXDOMAIN", 1.0)
    checks.came("DNS2", X1, "data", 1.1)
    for section, asked_at in ((X1, 1.1), (X1, 3.2), (X2, 1.2)):
        checks.told(section, "NXDOMAIN", asked_at)
