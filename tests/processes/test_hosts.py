"""Names of servers as a real LS looks them up: they come to be known, or never do.

Not here: lookups in this process (`tests/nodes/test_host_names.py`).
"""

import json
import signal
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.support.played_resolver import played_resolver
from tests.support.processes import PATIENCE_S, Programs, Talk, stats

pytestmark = pytest.mark.process
ROW = "x.example 10.0.0.1"
ANSWER = b"x.example 10.0.0.1 A IN"

# LS as it is, on a machine whose name service comes to know of "later.example" with a file, which
# may have its address, and never replies when it is asked for "dead.example".
LATER = """
import os, sys
import core.io.lookup
from core.io.system import System
from nodes.cli.programs import main
look_up, flag = System.look_up, sys.argv.pop(1)
def of_name(self, host, port):
    known = host == "later.example" and os.path.exists(flag)
    return look_up(self, open(flag).read() or "127.0.0.1" if known else host, port)
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


def test_a_resolver_whose_name_comes_to_be_known_is_asked(run: Programs) -> None:
    """[P61]: by the name that it was given, in all that LS tells."""
    flag = run.folder / "flag"
    with played_resolver("10.0.0.7") as port:
        ls = run.start(
            flag, "ls", 0, "--upstream", f"played=later.example:{port}", "--upstream",
            "dead.example", "--timeout", 60, "--bound", "start_s=0.5", python=("-c", LATER),
        )  # fmt: skip
        ls_port = ls.port()
        talk = Talk(ls_port)
        ls.logs("played: cannot look up later.example (", 2)
        talk.say(b"early.example\n")
        assert talk.hear(1) == [b"early.example - FAILED"], "as of one that is down"
        flag.touch()
        ls.logs(f"played: later.example is at 127.0.0.1:{port} now")
        ls.logs("played is up")
        talk.say(b"x.example\n")
        assert talk.hear(1) == [b"x.example 10.0.0.7 A IN"]
        assert stats(ls_port)["played.won"] == "1"
        talk.close()
    ls.signal(signal.SIGTERM)
    assert ls.exits() == 0


def test_a_resolver_that_moves_is_asked_there_after_a_hangup(run: Programs) -> None:
    """[P75]: whatever its old address still says; nothing fails."""
    flag = run.folder / "flag"
    flag.write_text("127.0.0.1")
    with played_resolver("10.0.0.1") as port, played_resolver("10.0.0.2", "127.0.0.2", port):
        upstream = f"played=later.example:{port}"
        ls = run.start(flag, "ls", 0, "--upstream", upstream, python=("-c", LATER))
        talk = Talk(ls.port())
        assert talk.ask(b"x.example") == b"x.example 10.0.0.1 A IN"
        flag.write_text("127.0.0.2")
        ls.signal(signal.SIGHUP)
        number, said = 0, b""
        while not said.endswith(b" 10.0.0.2 A IN"):
            number += 1
            said = talk.ask(b"n%d.example" % number)
            assert said.split()[1].startswith(b"10.0.0."), said
        ls.logs(f"played: later.example is at 127.0.0.2:{port} now")
        assert "played is down" not in ls.log
        talk.close()


def test_a_table_server_at_no_interface_is_waited_for(run: Programs) -> None:
    """As one whose name is not known yet: interfaces come later, too."""
    ls = run.start("ls", 0, "fe80::1%nope", 5300, "--upstream", "fe80::2%nope")
    ls.port()
    ls.logs("TS1: cannot look up fe80::1%nope (")
    ls.logs("DNS1: cannot look up fe80::2%nope (")
