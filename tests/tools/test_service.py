"""The examples of systemd units, as systemd's own tools see them.

Their exposure is bounded (0 is closed, 10 is open), their syntax is looked at, what they say of the
program is compared with the program, and the tool that opens sockets hands some over. Where a tool
is missing, that is skipped, and said.

Not here: what a server tells its service manager (`tests/processes/test_system.py`), and sockets
that the test hands over (`tests/processes/test_handed_over.py`).
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from core.bounds import Bounds
from tests.support.processes import ROOT, Programs, exchange, free_port

EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "photofinish@.service"
AT_53 = EXAMPLES / "photofinish-dns.service"
SOCKETS = {"photofinish-dns.socket": "dns", "photofinish-dns-tls.socket": "dns-tls"}
EXPOSURE_MAX = 1.5
analyzer = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="no systemd-analyze here (Debian: apt-get install systemd)",
)


def settings(example: Path = EXAMPLE) -> dict[str, list[str]]:
    """Return what the unit sets, each as often as it does."""
    found: dict[str, list[str]] = {}
    for line in example.read_text().splitlines():
        if match := re.fullmatch(r"([A-Za-z]+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.fixture(params=[EXAMPLE, AT_53], ids=["template", "port 53"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A service, or an instance of the template, of programs that are here."""
    example: Path = request.param
    text = example.read_text().replace(
        "/usr/bin/python3 /opt/photofinish/photofinish.pyz", "/bin/true"
    )
    path = tmp_path / example.name.replace("@", "@names")
    path.write_text(text)
    for socket in SOCKETS:
        shutil.copy(EXAMPLES / socket, tmp_path)
    return path


@analyzer
def test_the_unit_is_hardly_exposed(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
    )
    found = re.search(rf"Overall exposure level for {unit.name}: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX, done.stdout


@analyzer
def test_the_unit_has_nothing_that_systemd_does_not_know(unit: Path) -> None:
    both = [unit]
    if unit.name == AT_53.name:
        both += [unit.parent / socket for socket in SOCKETS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, both)], capture_output=True, text=True
    )
    said = [line for line in done.stderr.splitlines() if "photofinish" in line]
    assert said == [], done.stderr


def test_the_unit_starts_reloads_and_stops_as_the_program_wants() -> None:
    said = settings()
    assert said["Type"] == ["notify"] and said["NotifyAccess"] == ["main"]
    assert float(said["WatchdogSec"][0].removesuffix("s")) > 1.0  # with room for a busy machine
    assert said["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "AF_UNIX" in said["RestrictAddressFamilies"][0].split()  # to notify
    drain_s = Bounds().timeout_s + 2 * Bounds().drain_grace_s  # of a parent with workers
    assert float(said["TimeoutStopSec"][0].removesuffix("s")) > drain_s


def test_table_servers_begin_before_the_service_at_port_53() -> None:
    """Names that they block do not get out while a machine starts."""
    assert settings()["Before"] == [AT_53.name]
    assert settings()["Type"] == ["notify"]  # it counts as started once it serves


def test_the_service_at_port_53_differs_only_in_its_sockets() -> None:
    """Both are hardened alike."""
    own = {"Description", "EnvironmentFile", "StateDirectory", "Sockets", "Requires", "Before"}
    own |= {"After", "Wants", "Also"}
    template, at_53 = settings(), settings(AT_53)
    different = {key for key in template | at_53 if template.get(key) != at_53.get(key)}
    assert different == own
    for socket, name in SOCKETS.items():
        assert settings(EXAMPLES / socket)["FileDescriptorName"] == [name]
    assert settings(EXAMPLES / "photofinish-dns-tls.socket")["Service"] == [AT_53.name]


@pytest.mark.process
@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None,
    reason="no systemd-socket-activate here (Debian: apt-get install systemd)",
)
@pytest.mark.parametrize(("kind", "name"), [("stream", "lines"), ("datagram", "dns")])
def test_what_systemd_hands_over_is_served(run: Programs, kind: str, name: str) -> None:
    """The tool opens a socket, and executes LS when somebody comes."""
    _, ts_port = run.ts(run.table("t", "n1.example 10.0.0.1"))
    port = free_port()
    words = ["systemd-socket-activate", f"--listen=127.0.0.1:{port}", f"--fdname={name}"]
    if kind == "datagram":
        words.append("--datagram")
    ls = run.start("ls", "127.0.0.1", ts_port, within=words)
    ls.logs(f":{port}")
    if kind == "stream":
        answer = b"n1.example 10.0.0.1 A IN\nBYE\n"
        assert exchange(port, [b"n1.example\nQUIT\n"]) == [answer]
        return
    done = subprocess.run(
        ["dig", "@127.0.0.1", "-p", str(port), "n1.example", "+short", "+timeout=20"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "10.0.0.1\n"
