"""Replay as a process: where its output goes.

Not here: what it reads and plays (`tests/nodes/test_replay.py`).
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.nodes.test_replay import line
from tests.support.processes import ROOT

pytestmark = pytest.mark.process


def test_an_output_that_is_full_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "races.jsonl"
    path.write_bytes(line() + b"\n")
    with Path("/dev/full").open("wb") as full:
        words = [sys.executable, "-m", "nodes", "replay", str(path)]
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    said = b"photofinish: cannot write the output: no space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)
