"""The form of CHANGELOG.md (Keep a Changelog 1.1.0): its newest version is the one that programs
show, dates fall, and sections have the names that readers and tools look for.

Not here: what has changed.
"""

import re
from datetime import date

import pytest

from core.version import VERSION
from tests.support.house_rules import ROOT

SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WELL_FORMED = """# Changes
## [Unreleased]
### Fixed
## [1.2.0] - 2026-02-01
### Added
### Security
## [1.1.0] - 2026-02-01
### Changed
"""


def faults(text: str) -> list[str]:
    """Return what is wrong with the headings of a changelog."""
    wrong, versions, dates = [], [], []
    titles = re.findall(r"(?m)^## (.*)", text)
    if titles[:1] != ["[Unreleased]"]:
        wrong.append("Unreleased does not come first")
    for title in titles[1:]:
        found = re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)", title)
        if found is None:
            wrong.append(f"'{title}' is not [VERSION] - DATE")
        else:
            versions.append(tuple(map(int, found.groups()[:3])))
            dates.append(date.fromisoformat(found[4]))
    if versions != sorted(set(versions), reverse=True) or dates != sorted(dates, reverse=True):
        wrong.append("versions and dates do not fall")
    for release in re.split(r"(?m)^## ", text)[1:]:
        names = re.findall(r"(?m)^### (.*)", release)
        if names != [name for name in SECTIONS if name in names]:
            wrong.append(f"sections {names}")
    return wrong


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## [Unreleased]\n", ""),
        ("[1.2.0] - ", "1.2.0 - "),
        (" - 2026-02-01\n### A", "\n### A"),
        ("[1.1.0] - 2026-02-01", "[1.1.0] - 2026-02-02"),
        ("[1.2.0]", "[1.0.9]"),
        ("[1.2.0]", "[1.1.0]"),
        ("### Fixed", "### Mended"),
        ("### Added\n### Security", "### Security\n### Added"),
    ],
)
def test_a_fault_in_a_changelog_is_found(old: str, new: str) -> None:
    assert faults(WELL_FORMED) == [] and old in WELL_FORMED
    assert len(faults(WELL_FORMED.replace(old, new))) == 1


def test_the_changelog_has_no_fault() -> None:
    assert faults(CHANGELOG) == []


def test_the_newest_release_is_the_version_of_the_programs() -> None:
    newest = re.search(r"(?m)^## \[(\d\S*)\]", CHANGELOG)
    assert newest is not None and newest[1] == VERSION
