"""The Makefile and the documents: each target that a document names is one, each target that is for
people is named in a document, and `make help` shows them in columns.

Not here: what a target does.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.support.documents import DOCUMENTS, ROOT, place

COLUMNS = 120
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", MAKEFILE))
HELPED = re.findall(r"(?m)^([a-z-]+):.*## (.*)", MAKEFILE)
PLACES = [*DOCUMENTS, ROOT / ".ci" / "run"]
# In a line of its own, perhaps behind a prompt, or in backticks.
MAKE = re.compile(r"(?m)(?:^(?:\$ )?|`)make((?: +[^\s`#&]+)+)")


def named(text: str) -> set[str]:
    """Return the targets that a document names; `bench-...` names none."""
    words = {word for found in MAKE.findall(text) for word in found.split()}
    return {word for word in words if not re.search(r"[=.]|^-", word)}


def test_targets_are_found_in_a_document() -> None:
    text = (
        "```\nmake a b   # of c\n$ make d X=1\n```\nUse `make e-f PART=3/10`, make g, `make h-...`"
    )
    assert named(text) == {"a", "b", "d", "e-f"}


def test_documents_name_only_targets_that_there_are() -> None:
    wrong = {place(path): named(path.read_text()) - TARGETS for path in PLACES}
    assert {name: words for name, words in wrong.items() if words} == {}


def test_each_target_for_people_is_named_in_a_document() -> None:
    in_documents = {word for path in PLACES for word in named(path.read_text())}
    assert {name for name, _ in HELPED} - in_documents == set()
    assert "run-local" in in_documents  # something was read


def test_only_halves_of_a_target_have_no_help() -> None:
    phony = re.search(r"(?m)^\.PHONY: ((?:.*\\\n)*.*)", MAKEFILE)
    assert phony is not None
    names = set(phony[1].replace("\\", " ").split())
    halves = {"test-nodes", "test-others", "test-programs", "test-shown"}
    assert names - {name for name, _ in HELPED} == halves


def test_each_file_that_the_makefile_names_is_there() -> None:
    """A half that names a file which has moved would leave out its tests."""
    names = re.search(r"tests/processes/test_%.py,([a-z ]+)\)", MAKEFILE)
    assert names is not None
    files = [ROOT / f"tests/processes/test_{name}.py" for name in names[1].split()]
    assert len(files) >= 6 and [path for path in files if not path.exists()] == []


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_help_is_in_two_columns_of_a_wide_terminal() -> None:
    words = ["make", "--no-print-directory", "help"]
    outside = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(words, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    width = max(len(name) for name, _ in HELPED) + 2
    assert lines == [f"{name:{width}}{text}" for name, text in HELPED]
    assert [line for line in lines if len(line) > COLUMNS] == []
