"""Every planted bug can be planted, and the way of planting finds what it should.

Which test finds each bug is another matter, and takes some 20 minutes: `make mutants`.
"""

import ast
from pathlib import Path

import pytest

from tests.mutants import ROOT, read_bugs
from tests.support.planting import Place, find, places, planted

_SOURCE = '''
class Pool:
    """A pool."""

    size: int = 3

    @property
    def room(self):
        # A comment, and a layout of its own.
        return max(
            0,
            self.size
            - len(self.taken),
        )

    def take(self):
        if self.room:
            self.taken += 1
            return True
        return False


ROOM = {"a": 1, "b": 2}
'''


@pytest.fixture
def known(tmp_path: Path) -> list[Place]:
    (tmp_path / "core" / "deep").mkdir(parents=True)
    (tmp_path / "core" / "deep" / "pool.py").write_text(_SOURCE)
    return places(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "seen"),
    [
        ("Pool.room", "max(0, self.size - len(self.taken))", "0", "        return 0\n"),
        ("pool.Pool.size", "3", "4", "    size: int = 4\n"),
        ("ROOM", '"b": 2', '"b": 3', '\nROOM = {"a": 1, "b": 3}\n'),
        (
            "Pool.take",
            "self.taken += 1\nreturn True",
            "x = 1\nreturn x",
            "  x = 1\n            ret",
        ),
    ],
)
def test_a_snippet_is_found_in_any_layout(
    known: list[Place], name: str, old: str, new: str, seen: str
) -> None:
    assert seen in planted(find(known, name), old, new)


@pytest.mark.parametrize(
    ("name", "old"),
    [("room", "self.nothing"), ("Pool", "self.taken"), ("Pond.room", "max"), ("pool.Pool", "a")],
)
def test_what_is_not_there_exactly_once_is_an_error(
    known: list[Place], name: str, old: str
) -> None:
    with pytest.raises(LookupError):
        planted(find(known, name), old, "None")


def test_each_bug_can_be_planted() -> None:
    known, mistakes = places(ROOT), []
    for bug in read_bugs()[0]:
        try:
            place = find(known, bug.place)
            source = planted(place, bug.old, bug.new)
            compile(source, place.path, "exec")
            if ast.dump(ast.parse(source)) == ast.dump(ast.parse(place.path.read_text())):
                raise LookupError("it changes nothing")
        except (LookupError, SyntaxError) as error:
            mistakes.append(f"{bug}: {error}")
    assert mistakes == []
