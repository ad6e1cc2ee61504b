"""`ls --config FILE` whose file changes while clients ask: what is replaced, and what is refused.

Not here: the parent's brain (`tests/nodes/test_succession.py`), and fifty changes beside dnsperf
(`tests/soak.py`).
"""

import signal

import pytest

from tests.support.processes import Programs, stats, wait_for
from tests.support.reconfiguring import Load, Reconfigured, two_equal_servers

pytestmark = pytest.mark.process


def test_a_new_configuration_loses_no_question(run: Programs) -> None:
    """[P77]"""
    ls = Reconfigured(run, two_equal_servers(run))
    load = Load(ls)
    with load.running():
        for _ in range(4):
            ls.change()
    assert load.lost == [] and load.lines and load.queries
    assert set(load.ttls) <= set(range(60, 65)) and 64 in load.ttls
    ls.program.signal(signal.SIGTERM)
    assert ls.program.exits() == 0
    assert " ERROR " not in ls.program.log


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("tiemout = 3", "tiemout"),
        ("timeout = [", "ls.toml:"),
        ("once = true", "--once"),
        ('host = "127.0.0.2"', "PORT or --host cannot change while LS runs"),
        ("metrics = 0", "--metrics, --metrics-host or --metrics-name cannot change while LS"),
        ('dns-upstream = ["nowhere.invalid"]', "cannot resolve 'nowhere.invalid' within"),
        ('dns-upstream = "::1"\nroute = "a=x"', "ls.toml: --route: no resolver is called 'x'"),
        ('race-sample = 1\nrace-log = "/nowhere/races"', "cannot write /nowhere/races: no such"),
        ('log-format = "json"', "--log-format cannot change while LS runs"),
    ],
)
def test_a_configuration_that_is_no_good_changes_nothing(
    run: Programs, more: str, why: str
) -> None:
    """[P78]"""
    ls = Reconfigured(run, two_equal_servers(run), workers=1)
    ls.write(61, f"{more}\n")
    ls.program.signal(signal.SIGHUP)
    ls.program.logs("all stays as it was")
    line = next(line for line in ls.program.log.splitlines() if "all stays as it was" in line)
    assert " LS ERROR " in line and why in line
    assert ls.program.log.count(" is up: process ") == 1
    assert stats(ls.port)["W1.restarts"] == "0"
    ls.change()


def test_a_file_of_the_same_meaning_replaces_nobody(run: Programs) -> None:
    ls = Reconfigured(run, two_equal_servers(run), workers=1)
    ls.write(60, '# of the same meaning\npolicy = "race"\n')
    ls.program.signal(signal.SIGHUP)
    ls.program.logs("has the same address as before", 2)
    assert ls.program.log.count(" is up: process ") == 1
    assert "configuration has changed" not in ls.program.log


def test_a_file_of_resolvers_is_read_again_at_a_hangup(run: Programs) -> None:
    """[P78]: of other resolvers, another worker; where it is no good, all stays as it was."""
    path = run.folder / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    ls, port = run.ls([], "--upstream", path, "--upstream", "mine=192.0.2.9", linked=False)
    assert servers(port) == {"DNS1", "mine"}
    path.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.9\n")
    ls.signal(signal.SIGHUP)
    wait_for(lambda: servers(port) == {"DNS1", "DNS2", "mine"}, "the resolvers of the file")
    ls.logs(f"{path}: 192.0.2.9 is left out: it is given already")
    path.write_text("nameserver dns.example\n")
    ls.signal(signal.SIGHUP)
    ls.logs("all stays as it was")
    assert f"'{path}' has a nameserver that is no address: 'dns.example'" in ls.log
    assert servers(port) == {"DNS1", "DNS2", "mine"}


def servers(port: int) -> set[str]:
    """Return the names of the servers that LS asks."""
    keys = (key.partition(".") for key in stats(port))
    return {subject for subject, _, metric in keys if metric == "redials"}
