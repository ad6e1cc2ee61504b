"""LS on a machine of its own, a network namespace: its address, ways and firewall change, packets
are lost, and there is no IPv4.

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
def test_ls_answers_whatever_happens_to_its_network(scene: str) -> None:
    """[P49] [P50]: a change on this machine is heard at once."""
    if not _is_possible(["sh", "-c", _CABLE]):
        pytest.skip("no network namespace of our own here")
    rule = ["iptables", "--append", "OUTPUT", "--proto", "udp"]
    rule += ["--match", "statistic", "--mode", "random", "--probability", "0.3", "--jump", "REJECT"]
    if scene in ("forbid", "lose_packets", "drop_table") and not _is_possible(rule):
        pytest.skip("no iptables in a network namespace here")
    words = [*_SPACE, sys.executable, "-m", "tests.support.moving", scene]
    played = subprocess.run(words, capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr
