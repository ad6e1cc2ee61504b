"""Places of clients with addresses of their own, in a network namespace.

Not here: who parts for whom (`tests/io/test_places.py`).
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_S, ROOT, can_be_apart

APART = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
INSIDE = """
set -e
ip link set lo up
ip address add 192.0.2.0/24 dev lo
ip address add 2001:db8:0:1::1/128 dev lo
ip address add 2001:db8:0:1::2/128 dev lo
ip address add 2001:db8:0:1::3/128 dev lo
ip address add 2001:db8:0:2::1/128 dev lo
{python} -c '{program}'
"""
PROGRAM = """
import socket, sys
sys.path.insert(0, ".")
from pathlib import Path
from tests.support.processes import Program, programs

def knock(source, there):
    return socket.create_connection(there, 30, source_address=(source, 0))

def all_of(guest):
    return b"".join(iter(lambda: guest.recv(100), b""))

with programs(Path({folder!r})) as some:
    for own, many, others in (
        ("192.0.2.9", ["192.0.2.1"] * 4, "192.0.2.2"),
        ("2001:db8:0:1::1", ["2001:db8:0:1::2", "2001:db8:0:1::3"] * 2, "2001:db8:0:2::1"),
    ):
        words = ["--host", own, "--allow", "0.0.0.0/0", "--allow", "::/0"]
        ts, port = some.ts(some.table("T", "x.example 10.0.0.1"), 0, *words,
                           "--bound", "clients_max=4")
        there = own, port
        first, *rest = [knock(source, there) for source in many]
        for guest in (first, *rest):
            guest.sendall(b"PING\\n")
            assert guest.recv(100) == b"PONG\\n"
        newcomer = knock(others, there)
        assert all_of(first) == b"BYE\\n"
        newcomer.sendall(b"x.example\\n")
        assert newcomer.recv(100) == b"x.example 10.0.0.1 A IN\\n"
        assert all_of(knock(many[0], there)) == b"- ERROR BUSY\\n"
        ts, port = some.ts(some.table("T", "x.example 10.0.0.1"), 0, *words,
                           "--bound", "clients_max=4")
        here = [knock(own, (own, port)) for _ in range(4)]
        assert all_of(knock(others, (own, port))) == b"- ERROR BUSY\\n"
print("done")
"""


@pytest.mark.process
@pytest.mark.skipif(
    not can_be_apart(APART), reason="no namespaces here (Debian, as root: apt-get install iproute2)"
)
def test_a_program_tells_real_addresses_apart(tmp_path: Path) -> None:
    """[P38]: IPv4, a /64 of IPv6, and the machine's own address."""
    program = tmp_path / "inside.py"
    program.write_text(PROGRAM.replace("{folder!r}", repr(str(tmp_path))))
    script = INSIDE.replace("-c '{program}'", str(program)).replace("{python}", sys.executable)
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "done\n", done.stdout + done.stderr
