"""Every compiled pattern means the same in every Python that we run in.

Before 3.11.5 a possessive quantifier goes wrong where what it repeats can be matched in two ways
(cpython issue 106052): `(?:...)++` took `QUIT` for a name there. A test that runs in a newer
Python cannot see that, so the patterns themselves are looked at.

Not here: what the patterns match (`tests/test_wire.py`, `tests/test_load.py`).
"""

import importlib
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.test_tidy import SOURCES

TWO_WAYS = {"BRANCH", "MAX_REPEAT", "MIN_REPEAT"}


def doubtful(parsed: Any, inside: bool = False) -> Iterator[str]:  # noqa: ANN401
    """What can be matched in two ways inside a possessive quantifier or an atomic group."""
    for operation, value in parsed:
        name = str(operation)
        is_fixed = name == "MAX_REPEAT" and value[0] == value[1]
        if inside and name in TWO_WAYS and not is_fixed:
            yield name
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            yield from doubtful(value[2], inside)
        elif name == "POSSESSIVE_REPEAT":
            yield from doubtful(value[2], True)
        elif name == "ATOMIC_GROUP":
            yield from doubtful(value, True)
        elif name == "SUBPATTERN":
            yield from doubtful(value[3], inside)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from doubtful(branch, inside)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from doubtful(value[1], inside)


def patterns() -> Iterator[tuple[str, "re.Pattern[bytes]"]]:
    for path in SOURCES:
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize(
    "pattern",
    [r"(?:aa|b)++", r"(?:a?b)*+", r"(?>(?:aa|b)c)", r"(?:(?!(?:xx|y))a)++", r"x(?:a(bb|c))?+"],
)
def test_the_rule_can_say_no(pattern: str) -> None:
    assert list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize("pattern", [r"(?:ab{1,3}+)*+", r"(?:a|b)+", r"[ab]++c?+", r"(?: AAAA)?+"])
def test_the_rule_can_say_yes(pattern: str) -> None:
    assert not list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize(("name", "pattern"), list(patterns()), ids=lambda value: str(value)[:40])
def test_no_possessive_quantifier_repeats_what_can_be_matched_in_two_ways(
    name: str, pattern: "re.Pattern[bytes]"
) -> None:
    assert not list(doubtful(_parser.parse(pattern.pattern))), name
