"""The programs of a test, and three hypothesis profiles, chosen by HYPOTHESIS_PROFILE.

The default is `ci`; the others are `fuzz`, and `no_shrinking` for planted bugs.

`ci` is derandomized: the same inputs every time, so a red run is a change of ours. `fuzz` is
random and long, and keeps what it finds. No deadline in either: no test depends on speed.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

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

# In the background of a shell it is ignored, and so it would be in what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Programs]:
    """Programs that are ended with the test."""
    with programs(tmp_path) as started:
        yield started
