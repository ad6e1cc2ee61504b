"""The one file that `make dist` builds: the same bytes each time, and all it takes to run.

It is copied into an empty directory and run there, with nothing of the checkout in reach.

Not here: what the programs do, which every other test shows.
"""

import ast
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.version import VERSION
from nodes.demo.scenario import Scenario
from tests.support.processes import PATIENCE_S, ROOT, TRACEBACK

pytestmark = pytest.mark.process
PARTS = ("core", "nodes", ".ci", "LICENSE", "CHANGELOG.md")
SCENARIO = Scenario.read()
BARE = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
OLDER_PATH = os.pathsep.join(  # beside what is installed, what pyenv has
    [*map(str, Path("~/.pyenv/versions").expanduser().glob("*/bin")), os.environ["PATH"]]
)


def build(checkout: Path) -> bytes:
    """Run what `make dist` runs."""
    subprocess.run([sys.executable, ".ci/dist.py"], cwd=checkout, check=True, capture_output=True)
    return (checkout / "dist" / "photofinish.pyz").read_bytes()


def checkout(folder: Path, mode: int, stamp: int) -> Path:
    """Copy the sources, with another mode and date, in another order of making."""
    folder.mkdir()
    for part in sorted(PARTS, reverse=bool(mode & 1)):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
        else:
            shutil.copy(ROOT / part, folder / part)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
            os.utime(path, (stamp, stamp))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file alone in an empty directory."""
    folder = tmp_path_factory.mktemp("alone")
    source = checkout(tmp_path_factory.mktemp("source") / "it", 0o644, 1_000_000_000)
    target = folder / "photofinish.pyz"
    build(source)
    shutil.copy2(source / "dist" / "photofinish.pyz", target)
    return target


def run(built: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, str(built), *words],
        cwd=built.parent,
        env=BARE,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@contextmanager
def serving(built: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server out of the file; yield its port. The server is gone afterwards, whatever
    happens."""
    process = subprocess.Popen(
        [str(built), *words],
        cwd=built.parent,
        env=BARE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().rstrip().rsplit(":", 1)[1]
    finally:
        process.kill()
        process.communicate()


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, built: Path) -> None:
    again = build(checkout(tmp_path / "again", 0o775, 1_700_000_000))
    assert again == built.read_bytes() == build(tmp_path / "again")


def test_its_entries_are_sorted_undated_and_only_what_runs(built: Path) -> None:
    with zipfile.ZipFile(built) as file:
        entries = file.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    sources = {
        path.relative_to(ROOT).as_posix()
        for room in ("core", "nodes")
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".py", ".html", ".txt")
    }
    assert set(names) == sources | {"__main__.py", "LICENSE", "CHANGELOG.md"}


def test_it_says_its_version(built: Path) -> None:
    done = run(built, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"photofinish {VERSION}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["ls", "--help"], ["ls"]])
def test_its_help_and_its_errors_call_it_by_its_name(built: Path, words: list[str]) -> None:
    done = run(built, *words)
    said = done.stdout + done.stderr
    assert "photofinish.pyz ls" in said and "python3 -m" not in said
    assert done.returncode == (0 if "--help" in words else 2)


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_alone_in_an_empty_directory_it_runs_the_whole_system(
    built: Path, workers: list[str]
) -> None:
    tables = [str(ROOT / "examples" / name) for name in ("ts1.txt", "ts2.txt")]
    names, expected = SCENARIO.names, "".join(f"{line}\n" for line in SCENARIO.expected)
    with serving(built, "ts", "0", "--table", tables[0]) as (_, ts1):
        with serving(built, "ts", "0", "--table", tables[1]) as (_, ts2):
            servers = ["localhost", ts1, "localhost", ts2]
            words = ["--timeout", "0.5", "--metrics", "0", *workers]
            with serving(built, "ls", "0", *servers, *words) as (ls, port):
                done = run(built, "client", "127.0.0.1", port, *names)
                assert (done.returncode, done.stdout) == (0, expected)
                ls.send_signal(signal.SIGTERM)
                assert ls.wait(PATIENCE_S) == 0
    assert TRACEBACK not in done.stderr
    assert [path.name for path in built.parent.iterdir()] == ["photofinish.pyz"]


def test_alone_in_an_empty_directory_it_runs_the_demo(built: Path) -> None:
    done = run(built, "demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n".join(SCENARIO.expected) in done.stdout
    assert [path.name for path in built.parent.iterdir()] == ["photofinish.pyz"]


def test_the_example_of_a_container_has_what_is_built(built: Path) -> None:
    lines = (ROOT / "examples" / "Containerfile").read_text().splitlines()
    assert f"COPY dist/{built.name} /{built.name}" in lines
    assert f'ENTRYPOINT ["python3", "/{built.name}"]' in lines


def test_an_older_python_is_told_what_it_lacks_in_one_line(built: Path) -> None:
    """By the text that it would run first, with an older number in its place. The same
    text starts a checkout."""
    with zipfile.ZipFile(built) as file:
        first = file.read("__main__.py").decode()
    assert first == (ROOT / "nodes" / "__main__.py").read_text()
    ast.parse(first, feature_version=(3, 4))
    old = first.replace("import sys\n", "import sys\nsys.version_info = (3, 9, 2, 'final', 0)\n", 1)
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "photofinish: this is Python 3.9; 3.11 or newer is needed\n"


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.10"])
def test_a_real_older_python_is_told_the_same_at_every_door(
    built: Path, tmp_path: Path, version: str
) -> None:
    """A checkout, the file, what makes the file, and what pip would install."""
    python = shutil.which(f"python{version}", path=OLDER_PATH)
    if python is None:
        pytest.skip(f"no Python {version} here")
    package = tmp_path / "photofinish"
    package.mkdir()
    shutil.copy(ROOT / ".ci" / "launcher.py", package / "__main__.py")
    for part in ("core", "nodes"):
        (package / part).symlink_to(ROOT / part)
    installed = ([str(package / "__main__.py")], [str(package)])
    doors = ([str(built)], ["-B", "-m", "nodes"], ["-B", ".ci/dist.py"], *installed)
    for words in doors:
        done = subprocess.run(
            [python, *words, "ls"], cwd=ROOT, env=BARE, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr == f"photofinish: this is Python {version}; 3.11 or newer is needed\n"


def test_make_makes_no_environment_with_an_older_python(tmp_path: Path) -> None:
    """By one that says what `nodes/__main__.py` would, and fails."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\necho too old >&2\nexit 1\n')
    python.chmod(0o755)
    words = ["make", "dist", f"PYTHON={python}", f"VENV={tmp_path}/environment"]
    done = subprocess.run(words, cwd=ROOT, env=BARE, capture_output=True, text=True)
    assert done.stderr.startswith("too old\nmake: ***") and done.stdout == ""
    assert (tmp_path / "asked").read_text() == "-m nodes --version\n"
