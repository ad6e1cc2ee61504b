"""The programs of a test, and three hypothesis profiles, chosen by HYPOTHESIS_PROFILE.

Programs under test keep their byte code in a folder of this run, also where the environment says
that Python is to write none: they start in half the time, nothing of an older source is run, and
nothing appears in the tree.

The default is `ci`; the others are `fuzz`, and `no_shrinking` for planted bugs.

`ci` is derandomized: the same inputs every time, so a red run is a change of ours. `fuzz` is
random and long, and keeps what it finds. No deadline in either: no test depends on speed.
"""

import atexit
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from core.io.loop import Loop
from nodes.cli.programs import main
from tests.support.at_once import begun as begun  # a fixture
from tests.support.processes import Programs, programs

settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fuzz",
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "no_shrinking", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_byte_code = tempfile.TemporaryDirectory(prefix="photofinish-", ignore_cleanup_errors=True)
atexit.register(_byte_code.cleanup)
os.environ["PYTHONPYCACHEPREFIX"] = _byte_code.name
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Under nohup, and in the background of a shell, they are ignored, and so they would be in what the
# tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Programs]:
    """Programs that are ended with the test."""
    with programs(tmp_path) as started:
        yield started


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """A function that runs a program in this process and returns its exit code, output and log. A
    program that begins to serve, or to ask, fails with a bug."""

    def serves(loop: Loop) -> int:
        raise AssertionError("nothing is wrong with this command: it serves")

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(list(words))
        except SystemExit as end:  # of a --help
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    monkeypatch.setattr(Loop, "run", serves)
    monkeypatch.setattr(sys, "argv", ["nodes/__main__.py"])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield run
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
