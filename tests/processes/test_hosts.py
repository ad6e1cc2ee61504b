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

# LS as it is, on a machine whose name service comes to know of "later.example" with a file.
LATER = """
import os, sys
from core.io.system import System
from nodes.cli.programs import main
look_up, flag = System.look_up, sys.argv.pop(1)
def of_name(self, host, port):
    known = host == "later.example" and os.path.exists(flag)
    return look_up(self, "localhost" if known else host, port)
System.look_up = of_name
sys.exit(main(sys.argv[1:]))
"""
# LS as it is, on a machine whose name service never replies.
DEAD = """
import sys
import core.io.lookup
core.io.lookup._CHILD = "import time; time.sleep(600)"
from nodes.cli.programs import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("workers", [[], ["--workers", 2]])
def test_a_ts_whose_name_comes_to_be_known_is_dialled(run: Programs, workers: list[object]) -> None:
    """[P61]"""
    _, ts_port = run.ts(run.table("t", ROW))
    flag = run.folder / "flag"
    ls = run.start(
        flag, "ls", 0, "later.example", ts_port, "--timeout", 60, "--metrics", 0, *workers,
        python=("-c", LATER),
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
        (server,) = json.load(response)["servers"]
    assert server["where"] == f"later.example:{ts_port}" and server["state"] == "DOWN"
    flag.touch()
    assert talk.hear(1) == [ANSWER]
    talk.close()
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_dead_name_service_does_not_keep_ls_from_serving(run: Programs) -> None:
    _, ts_port = run.ts(run.table("t", ROW))
    ls = run.start(
        "ls", 0, "a.example", 1, "127.0.0.1", ts_port, "--bound", "start_s=0.2",
        python=("-c", DEAD),
    )  # fmt: skip
    talk = Talk(ls.port())
    ls.logs("TS2 is up")
    talk.say(b"x.example\nQUIT\n")
    assert talk.rest() == ANSWER + b"\nBYE\n"
    talk.close()
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_table_server_at_no_interface_is_waited_for(run: Programs) -> None:
    """As one whose name is not known yet: interfaces come later, too."""
    ls = run.start("ls", 0, "fe80::1%nope", 5300)
    ls.port()
    ls.logs("TS1: cannot look up fe80::1%nope (")
