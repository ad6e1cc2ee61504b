"""Every compiled pattern means the same in every Python that we run in.

Before 3.11.5 a possessive quantifier goes wrong unless what it repeats is one character (cpython
issue 106052): `(?:...)++` took `QUIT` for a name there, and `(?:[.]x)*+` left half of what it
repeats behind. A test that runs in a newer Python cannot see that, so the patterns themselves are
looked at.

Not here: what the patterns match (`tests/test_wire.py`, `tests/test_load.py`).
"""

import importlib
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.test_tidy import SOURCES

ONE_CHARACTER = {"LITERAL", "NOT_LITERAL", "IN", "ANY"}


def doubtful(parsed: Any) -> Iterator[str]:  # noqa: ANN401
    """What a possessive quantifier repeats, and what an atomic group holds, but one character."""
    for operation, value in parsed:
        name = str(operation)
        if name in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP"):
            inner = value[2] if name == "POSSESSIVE_REPEAT" else value
            if [str(what) for what, _ in inner if str(what) not in ONE_CHARACTER] or len(inner) > 1:
                yield name
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            yield from doubtful(value[2])
        elif name == "SUBPATTERN":
            yield from doubtful(value[3])
        elif name == "BRANCH":
            for branch in value[1]:
                yield from doubtful(branch)
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from doubtful(value[1])


def patterns() -> Iterator[tuple[str, "re.Pattern[bytes]"]]:
    for path in SOURCES:
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize(
    "pattern",
    [r"(?:aa|b)++", r"(?:[.]b)*+", r"(?>(?:aa|b)c)", r"(?:(?!x)a)++", r"(y|x(?: A)?+)"],
)
def test_the_rule_can_say_no(pattern: str) -> None:
    assert list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize("pattern", [r"(?:ab{1,3}+)*", r"(?:aa|b)+", r"[ab]++c?+", r"(?: AAAA)?"])
def test_the_rule_can_say_yes(pattern: str) -> None:
    assert not list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize(("name", "pattern"), list(patterns()), ids=lambda value: str(value)[:40])
def test_possessive_quantifiers_repeat_single_characters_only(
    name: str, pattern: "re.Pattern[bytes]"
) -> None:
    assert not list(doubtful(_parser.parse(pattern.pattern))), name
