"""The man page and the completion, as `man` and `bash` see them.

Not here: that pip puts them in their places (`tests/processes/test_wheel.py`).
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.version import VERSION
from nodes.cli.ls_arguments import ls_parser
from nodes.cli.programs import PROGRAMS
from tests.support.processes import PATIENCE_S, ROOT

pytestmark = pytest.mark.process
MAN = pytest.mark.skipif(
    shutil.which("man") is None, reason="no man here (Debian: apt-get install man-db)"
)
BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
COMPLETE = """\
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_photofinish
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which they are made, by nothing but Python."""
    folder = tmp_path_factory.mktemp("pages")
    for part in ("core", "nodes", ".ci"):
        shutil.copytree(ROOT / part, folder / part)
    words = [sys.executable, "-S", ".ci/dist.py"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder / "dist"


def said(*words: object, cwd: Path | None = None) -> str:
    """Run a program that has nothing to complain about; return its output."""
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@MAN
def test_man_has_no_warnings_and_shows_every_flag(pages: Path) -> None:
    page = pages / "photofinish.1"
    shown = said("env", "MANWIDTH=200", "LC_ALL=C.UTF-8", "man", "--warnings", "-l", page)
    shown = re.sub(r".\x08", "", shown)
    assert shown.splitlines()[0].startswith("PHOTOFINISH(1)")
    assert f"photofinish {VERSION}" in shown
    synopsis = shown.split("\nSYNOPSIS\n")[1].split("\nDESCRIPTION\n")[0]
    assert re.findall(r"(?m)^ +photofinish (\w+)", synopsis) == [*PROGRAMS]
    section = shown.split("\n   ls\n")[1].split("\n   client\n")[0]
    for flag in set(re.findall(r"--[a-z][a-z-]+", ls_parser().format_help())) | {"-h", "-V"}:
        assert re.search(rf"(?m)^ .*(?<![\w-]){flag}(?![\w-])", section), flag
    assert "photofinish ls [PORT] [TS_HOST:TS_PORT ...] [OPTION ...]" in section


@BASH
def test_bash_reads_the_completion(pages: Path) -> None:
    said("bash", "-n", pages / "photofinish.bash")


@BASH
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ([""], [*PROGRAMS, "--help", "--version"]),
        (["r"], ["replay"]),
        (["--v"], ["--version"]),
        (["ls", "--race-s"], ["--race-sample"]),
        (["ls", "--policy", ""], ["race", "hedge"]),
        (["ls", "--policy", "=", "he"], ["hedge"]),
        (["ls", "--policy", "="], ["race", "hedge"]),
        (["ls", "--timeout", ""], []),
        (["ts", "5301", "--table", "a "], ["a table.txt"]),
        (["ts", "5301", "--answer"], ["--answer-unknown"]),
        (["replay", "a"], ["a table.txt"]),
        (["demo", "--w"], ["--wire"]),
        (["ls", "a"], []),
        (["nothing", "--"], []),
    ],
)
def test_bash_completes_what_can_be_known(
    pages: Path, tmp_path: Path, words: list[str], completed: list[str]
) -> None:
    (tmp_path / "a table.txt").write_text("")
    script = tmp_path / "complete"
    script.write_text(COMPLETE)
    out = said("bash", script, pages / "photofinish.bash", "photofinish", *words, cwd=tmp_path)
    assert [line for line in out.split("\n") if line] == completed
