"""A machine of its own for LS, whose address, ways and firewall change while it asks a resolver.

    unshare --map-root-user --net python3 -m tests.support.moving SCENE

It is a network namespace; the resolver is in another one, at the other end of a cable. Run by
`tests/tools/test_moving.py`; what is wrong is an AssertionError. Not here: what LS does of it
(`tests/nodes/test_reachability.py`).
"""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.dns_messages import CODES, RD, name, said
from tests.support.processes import PATIENCE_S, Program, programs, wait_for

HERE, NEXT, THERE = "10.9.0.2", "10.9.0.3", "10.9.0.1"
PORT = 5300
AT_ONCE_S = 2.0  # of a timeout that is ten times as long


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def resolve() -> None:
    """Be the resolver, which says an address of everything."""
    sys.stdin.readline()  # the cable is there
    ip("address", "add", f"{THERE}/24", "dev", "there")
    ip("link", "set", "there", "up")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind((THERE, PORT))
        print("ready", flush=True)
        while True:
            query, whence = resolver.recvfrom(4_096)
            resolver.sendto(said(query, "10.0.0.1"), whence)


@contextmanager
def cable() -> Iterator[None]:
    """Connect a resolver at the other end of it."""
    words = ["unshare", "--net", sys.executable, "-m", "tests.support.moving", "resolver"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as far:
        try:
            assert far.stdin is not None and far.stdout is not None
            own = Path("/proc/self/ns/net").readlink()
            space = Path(f"/proc/{far.pid}/ns/net")
            wait_for(lambda: space.readlink() != own, "another namespace")
            ip("link", "set", "lo", "up")
            ends = ("link", "add", "here", "type", "veth", "peer", "name", "there")
            ip(*ends, "netns", str(far.pid))
            ip("address", "add", f"{HERE}/24", "dev", "here")
            ip("link", "set", "here", "up")
            far.stdin.write(b"go\n")
            far.stdin.flush()
            assert far.stdout.readline() == b"ready\n"
            yield
        finally:
            far.kill()


class Site:
    """LS, and who asks it."""

    def __init__(self, ls: Program, dns: int) -> None:
        self.ls = ls
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(PATIENCE_S)
        self.client.connect(("127.0.0.1", dns))
        self.number = 0

    def code(self) -> int:
        """Ask something new; return what is said, and when that was not at once, fail."""
        self.number += 1
        head = self.number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        began = time.monotonic()
        self.client.send(head + name(f"n{self.number}.example") + b"\0\1\0\1")
        message = self.client.recv(4_096)
        took_s = time.monotonic() - began
        assert message[:2] == head[:2] and took_s < AT_ONCE_S, f"{took_s:.3f} s\n{self.ls.log}"
        return message[3] & 15

    def is_well(self) -> bool:
        return self.code() == 0


def move(site: Site) -> None:
    """Another address, time and again: nothing is lost, and nothing is said to be down."""
    old, new = HERE, NEXT
    for _ in range(6):
        assert all(site.is_well() for _ in range(10))  # by each socket, or most
        ip("address", "add", f"{new}/24", "dev", "here")
        ip("address", "del", f"{old}/24", "dev", "here")  # which takes the other along, as its heir
        ip("address", "replace", f"{new}/24", "dev", "here")
        old, new = new, old
        assert all(site.is_well() for _ in range(10)), site.ls.log
    assert " is down" not in site.ls.log, site.ls.log


def lose_way(site: Site) -> None:
    """Take every way away, and give one again."""
    assert site.is_well()
    for times in (1, 2):
        ip("link", "set", "here", "down")
        assert site.code() == CODES["SERVFAIL"]
        site.ls.logs("DNS1 is down (network is unreachable)", times)
        ip("link", "set", "here", "up")
        site.ls.logs("DNS1 is up", times)
        assert site.is_well()


def forbid(site: Site) -> None:
    """Put up a firewall here, which drops or rejects."""
    rule = ("OUTPUT", "--proto", "udp", "--destination", THERE, "--jump")
    for times, way in enumerate((["DROP"], ["REJECT"]), 1):
        assert site.is_well()
        subprocess.run(["iptables", "--append", *rule, *way], check=True)
        assert site.code() == CODES["SERVFAIL"]
        site.ls.logs("DNS1 is down", times)
        subprocess.run(["iptables", "--delete", *rule, *way], check=True)
        site.ls.logs("DNS1 is up", times)
        assert site.is_well()
    assert "DNS1 is down (operation not permitted)" in site.ls.log


SCENES = {"move": move, "lose_way": lose_way, "forbid": forbid}


def main() -> None:
    """Play one scene."""
    scene = sys.argv[1]
    if scene == "resolver":
        resolve()
    with tempfile.TemporaryDirectory() as folder, cable(), programs(Path(folder)) as run:
        words = ("--dns", 0, "--dns-upstream", f"{THERE}:{PORT}", "--dns-timeout", 10 * AT_ONCE_S)
        ls, _ = run.ls([], *words, linked=False)
        dns = int(ls.log.split("DNS on ")[1].split()[0].rpartition(":")[2])
        SCENES[scene](Site(ls, dns))


if __name__ == "__main__":
    main()
