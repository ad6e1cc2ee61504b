"""Names of table servers as a real LS looks them up: they come to be known, or never do.

Not here: lookups in this process (`tests/nodes/test_host_names.py`).
"""

import json
import signal
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.processes import PATIENCE_S, Programs, Talk

pytestmark = pytest.mark.process
ROW = "x.example 10.0.0.1"
ANSWER = b"x.example 10.0.0.1 A IN"

# LS as it is, on a machine whose name service comes to know of "later.example" with a file, and
# never replies when it is asked for "dead.example".
LATER = """
import os, sys
import core.io.lookup
from core.io.system import System
from nodes.cli.programs import main
look_up, flag = System.look_up, sys.argv.pop(1)
def of_name(self, host, port):
    known = host == "later.example" and os.path.exists(flag)
    return look_up(self, "localhost" if known else host, port)
System.look_up = of_name
silent = "import sys, time; 'dead.example' in sys.argv and time.sleep(600)\\n"
core.io.lookup._CHILD = silent + core.io.lookup._CHILD
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", [[], ["--workers", 2]])
def test_a_ts_whose_name_comes_to_be_known_is_dialled(run: Programs, workers: list[object]) -> None:
    """[P61]"""
    _, ts_port = run.ts(run.table("t", ROW))
    flag = run.folder / "flag"
    ls = run.start(
        flag, "ls", 0, "later.example", ts_port, "dead.example", 1, "--timeout", 60,
        "--metrics", 0, "--bound", "start_s=0.5", *workers, python=("-c", LATER),
    )  # fmt: skip
    talk = Talk(ls.port())
    talk.say(b"x.example\n")
    ls.logs("TS1: cannot look up later.example (", 2)
    page = f"http://127.0.0.1:{ls.listener('status page')}/"
    with pytest.raises(HTTPError) as raised:
        urlopen(page + "healthz", timeout=PATIENCE_S)
    assert raised.value.code == 503
    raised.value.close()
    with urlopen(page + "status.json", timeout=PATIENCE_S) as response:
        server, _ = json.load(response)["servers"]
    assert server["address"] == f"later.example:{ts_port}" and server["state"] == "DOWN"
    flag.touch()
    assert talk.hear(1) == [ANSWER]
    talk.close()
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_table_server_at_no_interface_is_waited_for(run: Programs) -> None:
    """As one whose name is not known yet: interfaces come later, too."""
    ls = run.start("ls", 0, "fe80::1%nope", 5300)
    ls.port()
    ls.logs("TS1: cannot look up fe80::1%nope (")
