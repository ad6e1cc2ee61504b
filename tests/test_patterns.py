"""Every compiled pattern means the same in every Python that we run in.

Before 3.11.5 a possessive quantifier goes wrong unless what it repeats is one character (cpython
issue 106052): `(?:...)++` took `QUIT` for a name there, and `(?:[.]x)*+` left half of what it
repeats behind. There the patterns give back instead. A newer Python builds them here, too, as for
an old one: they keep the rule, match the same, and do not take for ever.

Not here: what the patterns match (`tests/protocol/test_messages.py`,
`tests/nodes/test_table_file.py`).
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol import messages, names
from nodes.ts import block_list, rows
from tests.support.house_rules import ROOT, SOURCES

ONE_CHARACTER = {"LITERAL", "NOT_LITERAL", "IN", "ANY"}


def doubtful(parsed: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield what a possessive quantifier repeats, and what an atomic group holds, but one
    character."""
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


def as_of_old(path: str) -> ModuleType:
    """Copy a module as it would be in a Python before 3.11.5."""
    spec = importlib.util.spec_from_file_location("as_of_old", ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "version_info", (3, 11, 4, "final", 0))
        patch.setitem(sys.modules, "as_of_old", module)  # dataclasses look there
        if path != "core/protocol/names.py":
            patch.setitem(sys.modules, "core.protocol.names", as_of_old("core/protocol/names.py"))
        spec.loader.exec_module(module)
    return module


def patterns_of(module: ModuleType) -> dict[str, "re.Pattern[bytes]"]:
    return {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}


OLD = {
    f"{path} {name}": pattern
    for path in SOURCES
    if patterns_of(importlib.import_module(path.removesuffix(".py").replace("/", ".")))
    for name, pattern in patterns_of(as_of_old(path)).items()
}


@pytest.mark.parametrize(
    "pattern", [r"(?:aa|b)++", r"(?:[.]b)*+", r"(?>(?:aa|b)c)", r"(?:(?!x)a)++", r"(y|x(?: A)?+)"]
)
def test_the_rule_can_say_no(pattern: str) -> None:
    assert list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize("pattern", [r"(?:ab{1,3}+)*", r"(?:aa|b)+", r"[ab]++c?+", r"(?: AAAA)?"])
def test_the_rule_can_say_yes(pattern: str) -> None:
    assert not list(doubtful(_parser.parse(pattern)))


@pytest.mark.parametrize("name", OLD)
def test_possessive_quantifiers_repeat_single_characters(name: str) -> None:
    assert not list(doubtful(_parser.parse(OLD[name].pattern)))


PIECES = [
    b"a", b"a.b", b"QUIT", b"-", b"a..", b".", b" AAAA", b" A", b" IN", b" - NO DATA", b" 1.2.3.4",
    b" 255.30.0.1,10.2.0.9", b" ::1,1::2", b" 1:2:3:4:5:6:7", b",", b"\n", b"\n", b"\t", b" ",
    b"x.example 10.0.0.1 A IN\n", b"y AAAA - NO DATA\n", b"z 10.0.0.1 A\n", b"n\n", b"n AAAA\n",
    b"*.", b"#", b" - BLOCKED\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
def test_old_patterns_and_new_ones_match_the_same(data: bytes) -> None:
    for path, module in (
        ("core/protocol/names.py", names),
        ("core/protocol/messages.py", messages),
        ("nodes/ts/rows.py", rows),
        ("nodes/ts/block_list.py", block_list),
    ):
        for name, pattern in patterns_of(module).items():
            old = OLD[f"{path} {name}"]
            assert (old.fullmatch(data) is None) is (pattern.fullmatch(data) is None), name


OF_CHUNKS = [
    *(f"core/protocol/names.py {name}" for name in ("QUESTIONS", "ANSWERS", "REPLIES")),
    "nodes/ts/rows.py _ORDINARY_ROWS",
    "nodes/ts/block_list.py _ORDINARY_NAMES",
]


def test_giving_back_takes_no_longer_than_taking() -> None:
    """A greedy quantifier repeats what matches in one way only: else this would not end."""
    for again, end in (
        (b"a\n", b"!"),
        (b"a AAAA\n", b"a AAA"),
        (b"x.example 10.0.0.1 A IN\n", b"x 1.1.1 A IN\n"),
        (b"x 1::1,2::2 AAAA IN\n", b"x ::1 AAAA I\n"),
        (b"y AAAA - NO DATA\n", b"y - NO DATE\n"),
        (b"a.", b"a.."),
        (b"z 10.0.0.1 A\n", b"z"),
    ):
        for name in OF_CHUNKS:
            assert OLD[name].fullmatch(again * 20_000 + end) is None, name
