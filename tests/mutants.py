"""Plant bugs one at a time, and see which test finds each: `make mutants`.

The bugs are in planted.toml. For each one the harness copies the sources, plants the bug, and runs
the tests that concern it until one fails: those named after the file that the bug is in, and those
that planted.toml adds. If all of them pass, it runs every test that starts no process. A bug that
lives is a missing test.

Run `python3 -m tests.mutants [NAME ...] [--part K/N | --part today]`; exit code 1 when one lives.
"""

import argparse
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from tests.support.planting import Place, find, places, planted

ROOT = Path(__file__).parent.parent
_BUGS = ROOT / "tests" / "planted.toml"
_COPIED = ("core", "nodes", "tests", "examples", "bench", "proto.md", "README.md", "Makefile")
_COPIED += ("pyproject.toml", ".ci", "LICENSE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")
_TESTS_S = 200  # a run of tests; this clock finds a bug that makes them hang
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)
# A test that reads the sources as text is no judge of what they do.
_NO_JUDGES = ("tests/test_tidy.py", "tests/test_planting.py")


@dataclass(frozen=True, slots=True)
class Bug:
    """`new` for `old` at a place (see support/planting.py)."""

    place: str
    goes_wrong: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.place}: {self.goes_wrong}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`killer` is the first test that failed ("" if none did)."""

    bug: Bug
    killer: str
    is_expected: bool  # a test that concerns it failed, and no other was needed


def read_bugs() -> tuple[list[Bug], dict[str, list[str]]]:
    """Return every bug of planted.toml, and which tests concern a file besides those named after
    it (patterns by the file's stem)."""
    places_of_bugs = tomllib.loads(_BUGS.read_text())
    tests = places_of_bugs.pop("tests")
    return [
        Bug(place, goes_wrong, old.strip("\n"), new.strip("\n"))
        for place, bugs in places_of_bugs.items()
        for goes_wrong, (old, new) in bugs.items()
    ], tests


def judge(bug: Bug, place: Place, tests: dict[str, list[str]]) -> Verdict:
    """Plant a bug in a copy of the sources and run tests there: those that concern its file, then
    those of its folder, then all others that start no process."""
    source = planted(place, bug.old, bug.new)
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        tree = Path(directory)
        _copy(tree)
        (tree / place.path.relative_to(ROOT)).write_text(source)
        stem = place.path.stem
        concerned = _test_files(tree, f"test_{stem}", *tests.get(stem, ()))
        killer = _first_failure(tree, *concerned) if concerned else ""
        if killer:
            return Verdict(bug, killer, True)
        folder = tree / "tests" / place.path.relative_to(ROOT).parts[-2]
        near = str(folder if folder.is_dir() else tree / "tests" / "nodes")
        fast = ("-m", "not process")
        killer = _first_failure(tree, near, *fast) or _first_failure(tree, "--ignore", near, *fast)
        return Verdict(bug, killer, False)


def _test_files(tree: Path, *patterns: str) -> list[str]:
    found = (path for each in patterns for path in sorted(tree.glob(f"tests/**/{each}.py")))
    return list(dict.fromkeys(map(str, found)))


def _copy(tree: Path) -> None:
    for name in _COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, tree / name)


def _first_failure(tree: Path, *chosen: str) -> str:
    """Run the chosen tests until one fails, and return which; "" if none does."""
    words = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    words += [word for path in _NO_JUDGES for word in ("--deselect", path)]
    profile = {"PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "no_shrinking"}
    with subprocess.Popen(
        [*words, *chosen],
        cwd=tree,
        env={**os.environ, **profile},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        try:
            said, _ = run.communicate(timeout=_TESTS_S)
        except subprocess.TimeoutExpired:
            return f"the clock: not done after {_TESTS_S} s"
        finally:  # also what the tests have started, and a bug keeps from ending
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
    if run.returncode in (0, 5):  # 5: there were no tests among the chosen ones
        return ""
    found = _FAILED.search(said)
    return found[1] if found else said[-600:]


def _part(text: str) -> tuple[int, int]:
    if text == "today":
        return datetime.datetime.now(datetime.UTC).date().toordinal() % 20, 20
    k, n = map(int, text.split("/"))
    if not 1 <= k <= n:
        raise ValueError(text)
    return k - 1, n


def main() -> int:
    """Plant them all, or those chosen; print which test killed each."""
    parser = argparse.ArgumentParser(description="Plant bugs and see which tests find them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only bugs whose names have this")
    parser.add_argument(
        "--part", type=_part, default=(0, 1), metavar="K/N", help="a part, or `today`: a twentieth"
    )
    arguments = parser.parse_args()
    known, tests = read_bugs()
    bugs = [
        bug
        for bug in known
        if not arguments.names or any(name in str(bug) for name in arguments.names)
    ][arguments.part[0] :: arguments.part[1]]
    sources = places(ROOT)
    sites = [find(sources, bug.place) for bug in bugs]
    living = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, verdict in enumerate(pool.map(judge, bugs, sites, repeat(tests)), 1):
            living += not verdict.killer
            how = "LIVES" if not verdict.killer else "killed"
            note = "" if verdict.is_expected else "  (by no test that concerns it)"
            print(f"{done}/{len(bugs)} {how}  {verdict.bug}  {verdict.killer}{note}", flush=True)
    print(f"{len(bugs) - living} of {len(bugs)} planted bugs killed")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
