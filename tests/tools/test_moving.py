"""LS on a machine whose address, ways and firewall change, in a network namespace of its own.

The scenes are `tests/support/moving.py`. Where this system makes no such machine for us, they are
skipped.
"""

import shutil
import subprocess
import sys

import pytest

from tests.support.moving import SCENES

pytestmark = pytest.mark.process
_SPACE = ["unshare", "--map-root-user", "--net"]
_CABLE = "ip link add name here type veth peer name there && unshare --net true"


def _is_possible(words: list[str]) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_SPACE, *words], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("scene", SCENES)
def test_what_changes_on_this_machine_is_heard_at_once(scene: str) -> None:
    """[P49] [P50]"""
    if not _is_possible(["sh", "-c", _CABLE]):
        pytest.skip("no network namespace of our own here")
    rule = ["iptables", "--append", "OUTPUT", "--proto", "udp", "--jump", "REJECT"]
    if scene == "forbid" and not _is_possible(rule):
        pytest.skip("no iptables in a network namespace here")
    words = [*_SPACE, sys.executable, "-m", "tests.support.moving", scene]
    played = subprocess.run(words, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr
