"""The example of a systemd unit, as systemd's own analyzer sees it.

Its exposure is bounded (0 is closed, 10 is open), its syntax is looked at, and what it says of the
program is compared with the program. Where the analyzer is missing, that is skipped, and said.

Not here: what a server tells its service manager (`tests/processes/test_system.py`).
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from core.bounds import Bounds
from tests.support.processes import ROOT

EXAMPLE = ROOT / "examples" / "photofinish@.service"
EXPOSURE_MAX = 2.0
analyzer = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here (Debian: apt-get install systemd)",
)


def settings() -> dict[str, list[str]]:
    """Return what the unit sets, each as often as it does."""
    found: dict[str, list[str]] = {}
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """An instance of the template, of programs that are here."""
    text = EXAMPLE.read_text().replace(
        "/usr/bin/python3 /opt/photofinish/photofinish.pyz", "/bin/true"
    )
    path = tmp_path / "photofinish@names.service"
    path.write_text(text)
    return path


@analyzer
def test_the_unit_is_hardly_exposed(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    found = re.search(
        r"Overall exposure level for photofinish@names.service: ([0-9.]+)", done.stdout
    )
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX, done.stdout


@analyzer
def test_the_unit_has_nothing_that_systemd_does_not_know(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True
    )
    said = [line for line in done.stderr.splitlines() if "photofinish@" in line]
    assert said == [], done.stderr


def test_the_unit_starts_reloads_and_stops_as_the_program_wants() -> None:
    said = settings()
    assert said["Type"] == ["notify"] and said["NotifyAccess"] == ["main"]
    assert float(said["WatchdogSec"][0].removesuffix("s")) > 1.0  # with room for a busy machine
    assert said["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "AF_UNIX" in said["RestrictAddressFamilies"][0].split()  # to notify
    drain_s = Bounds().timeout_s + 2 * Bounds().drain_grace_s  # of a parent with workers
    assert float(said["TimeoutStopSec"][0].removesuffix("s")) > drain_s
