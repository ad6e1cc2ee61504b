"""The wheel of `make dist`: the same bytes each time, installed and removed by pip.

It is built from copies of the sources, and installed into an environment that has nothing else, not
even pip. Without hatchling all of it is skipped.

Not here: the one executable file (`tests/processes/test_dist.py`).
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.version import VERSION
from nodes.cli.programs import PROGRAMS
from nodes.demo.scenario import Scenario
from tests.support.processes import PATIENCE_S, ROOT

pytestmark = pytest.mark.process
pytest.importorskip("hatchling", reason="no hatchling here (make dist installs it)")
NAME = f"photofinish-{VERSION}-py3-none-any.whl"
METADATA = f"photofinish-{VERSION}.dist-info/METADATA"
PARTS = ("core", "nodes", ".ci", "pyproject.toml", "LICENSE", "CHANGELOG.md", "README.md")
BARE = {"PATH": os.environ["PATH"]}  # byte code lies where pip looks for it
PAGES = {"share/man/man1/photofinish.1", "share/bash-completion/completions/photofinish"}


def build(folder: Path, mode: int, left_behind: Sequence[str] = ()) -> Path:
    """Copy the sources, with this mode, and build what `make dist` does, there."""
    folder.mkdir()
    for part in sorted(PARTS, reverse=bool(mode & 0o020)):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
    for path in left_behind:
        (folder / path).write_text("what an editor or a merge leaves")
    words = [sys.executable, ".ci/dist.py", "--wheel"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder / "dist" / NAME


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("one") / "checkout", 0o644)


def pip(environment: Path, *words: str) -> None:
    """Run our pip for another environment, without the network."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, *words], env=BARE, check=True, capture_output=True, timeout=PATIENCE_S)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_same_sources_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    left_behind = ["core/notes.txt~", "nodes/.client.py.swp", "nodes/cli/top.py.orig"]
    again = build(tmp_path / "elsewhere", 0o664, left_behind)
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_and_the_one_file_have_the_same_parts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    package = {name: data for name, data in parts.items() if name.startswith("photofinish/")}
    with zipfile.ZipFile(wheel.parent / "photofinish.pyz") as file:
        others = {f"photofinish/{name}": file.read(name) for name in file.namelist()}
    for starts in (package, others):
        del starts["photofinish/__main__.py"]
    del others["photofinish/LICENSE"]
    assert package == others


def test_an_empty_environment_gets_the_command_and_gives_it_back(
    wheel: Path, tmp_path: Path
) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    venv.create(environment, symlinks=True)
    before = files(environment)
    pip(environment, "install", "--no-index", "--no-deps", str(wheel))
    (packages,) = environment.glob("lib/python3*/site-packages")
    own = {"photofinish", f"photofinish-{VERSION}.dist-info"}
    assert {path.name for path in packages.iterdir()} == own
    added = {name for name in files(environment) - before if "/site-packages/" not in name}
    assert added == {"bin/photofinish", *PAGES}

    def photofinish(*words: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "photofinish", *words],
            cwd=empty,
            env=BARE,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    for program in ((), *((name,) for name in PROGRAMS)):
        assert photofinish(*program, "--version") == f"photofinish {VERSION}\n"
    assert photofinish("ls", "--help").startswith("usage: photofinish ls ")
    assert "\n".join(Scenario.read().expected) in photofinish("demo")

    assert list(empty.iterdir()) == []
    pip(environment, "uninstall", "--yes", "photofinish")
    assert files(environment) == before


def test_an_older_python_can_tell_pip_which_it_takes_to_run(tmp_path: Path) -> None:
    """By the metadata in a wheel that pip makes of a checkout; it has no pages."""
    older = "import hatchling.metadata.core, sys; sys.version_info = (3, 10, 13, 'final', 0)"
    program = f"{older}; from hatchling.cli import hatchling; sys.exit(hatchling())"
    words = [sys.executable, "-B", "-c", program, "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "photofinish: this is Python 3.10; 3.11 or newer is needed" in done.stdout + done.stderr
    with zipfile.ZipFile(tmp_path / NAME) as file:
        assert "Requires-Python: >=3.11" in file.read(METADATA).decode()


def test_what_pip_is_told_and_what_make_installs_are_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = (ROOT / ".ci" / "dist-requirements.txt").read_text()
    wanted = [line for line in pinned.splitlines() if not line.startswith("#")]
    assert project["build-system"]["requires"] == wanted
    oldest = re.search(
        r"sys\.version_info < \((\d+), (\d+)\)", (ROOT / "nodes/__main__.py").read_text()
    )
    assert oldest is not None
    assert project["project"]["requires-python"] == f">={oldest[1]}.{oldest[2]}"
