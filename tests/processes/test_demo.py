"""The demo with real processes: its output, its end, and that nobody outlives it.

Not here: what it starts and shows, step by step (`tests/nodes/test_demo.py`), and the demo of an
installed photofinish (`tests/processes/test_wheel.py`, `tests/processes/test_dist.py`).
"""

import signal
from contextlib import suppress
from pathlib import Path

import pytest

from nodes.demo.scenario import Scenario
from tests.support.at_once import at_once
from tests.support.processes import Program, Programs, wait_for

pytestmark = pytest.mark.process
EXPECTED = "".join(f"{line}\n" for line in Scenario.read().expected)


def alive(mark: str) -> list[int]:
    """Return the processes that have this in their environment, and have not ended."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def start(run: Programs, mark: Path, *words: str) -> Program:
    """Start the demo, marked, where there is no place for a temporary file."""
    return run.start("demo", *words, environment={"TMPDIR": f"{mark}/none"})


@at_once
def test_the_demo_shows_the_client_and_then_the_race(run: Programs, tmp_path: Path) -> None:
    demo = start(run, tmp_path)
    out = demo.output()
    assert (demo.exits(), demo.log) == (0, "")
    _, found, after = out.partition(EXPECTED)
    assert found and "{" not in out
    assert "  TS2  answers GOOGLE.com 46.1.3.7 A IN\n" in after
    assert "  LS   tells the client nothinghere.com - TIMED OUT\n" in after
    assert alive(str(tmp_path)) == []


@at_once
def test_the_wire_shows_all_that_was_sent(run: Programs, tmp_path: Path) -> None:
    demo = start(run, tmp_path, "--wire")
    out = demo.output()
    assert (demo.exits(), demo.log) == (0, "")
    wire, _, written = out.partition("\nWhat the client wrote:\n\n")
    assert written.startswith(EXPECTED)
    for text in ("TS1    > client-1 google.com", "LS     < TS2 rutgers.edu", "LS     = TS1 "):
        assert f"  {text}" in wire
    times = [float(line.split()[0]) for line in wire.split("\n") if line.startswith("   ")]
    assert len(times) > 50 and times == sorted(times)


@at_once
def test_ctrl_c_ends_all_that_the_demo_has_started(run: Programs, tmp_path: Path) -> None:
    demo = start(run, tmp_path)
    wait_for(lambda: len(alive(str(tmp_path))) == 5, "all programs run")
    demo.signal(signal.SIGINT)
    assert (demo.exits(), demo.log) == (1, "interrupted\n")
    assert alive(str(tmp_path)) == []
