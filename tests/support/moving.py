"""A machine of its own for LS, whose address, ways and firewall change while it asks a resolver.

    unshare --map-root-user --net python3 -m tests.support.moving SCENE

It is a network namespace; the resolver is in another one, at the other end of a cable. Run by
`tests/tools/test_moving.py`; what is wrong is an AssertionError. Not here: what LS does of it
(`tests/nodes/test_reachability.py`), and delay, which not every kernel can make (`tc netem`): the
simulator has it.
"""

import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.bounds import Bounds
from tests.support.dns_messages import CODES, RD, name, said
from tests.support.processes import PATIENCE_S, Programs, Talk, programs, wait_for

HERE, NEXT, THERE = "10.9.0.2", "10.9.0.3", "10.9.0.1"
HERE_6, THERE_6 = "fd09::2", "fd09::1"
PORT = 5300
JOIN_S = Bounds().join_s + 0.1  # LS sends again what was asked before that
AT_ONCE_S = 2.0  # of a timeout that is ten times as long


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def firewall(action: str, chain: str, *rule: str) -> None:
    subprocess.run(["iptables", f"--{action}", chain, *rule], check=True)


def resolve() -> None:
    """Be the resolver, which says an address of everything."""
    sys.stdin.readline()  # the cable is there
    ip("link", "set", "lo", "up")
    ip("address", "add", f"{THERE}/24", "dev", "there")
    ip("address", "add", f"{THERE_6}/64", "dev", "there", "nodad")
    ip("link", "set", "there", "up")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as resolver:
        resolver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        resolver.bind(("::", PORT))
        print("ready", flush=True)
        while True:
            query, whence = resolver.recvfrom(4_096)
            resolver.sendto(said(query, "10.0.0.1"), whence)


@contextmanager
def cable() -> Iterator[int]:
    """Connect a resolver at the other end of it; yield its PID."""
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
            ip("address", "add", f"{HERE_6}/64", "dev", "here", "nodad")
            ip("link", "set", "here", "up")
            far.stdin.write(b"go\n")
            far.stdin.flush()
            assert far.stdout.readline() == b"ready\n"
            yield far.pid
        finally:
            far.kill()


class Site:
    """LS before the resolver, and who asks it."""

    def __init__(self, run: Programs, *words: object, host: str = "127.0.0.1") -> None:
        if not words:
            words = ("--dns-upstream", f"{THERE}:{PORT}")
        words += ("--host", host, "--dns", 0, "--dns-timeout", 10 * AT_ONCE_S)
        self.ls, self.port = run.ls([], *words, linked=False)
        dns = self.ls.listener("DNS")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.client = socket.socket(family, socket.SOCK_DGRAM)
        self.client.settimeout(PATIENCE_S)
        self.client.connect((host, dns))
        self.number = 0

    def ask(self, number: int) -> bytes:
        """Ask for a name with this number; return the head of the query."""
        head = number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        self.client.send(head + name(f"n{number}.example") + b"\0\1\0\1")
        return head

    def code(self) -> int:
        """Ask something new; return what is said, and when that was not at once, fail."""
        began = time.monotonic()
        self.number += 1
        head = self.ask(self.number)
        message = self.client.recv(4_096)
        took_s = time.monotonic() - began
        assert message[:2] == head[:2] and took_s < AT_ONCE_S, f"{took_s:.3f} s\n{self.ls.log}"
        return message[3] & 15

    def is_well(self) -> bool:
        return self.code() == 0


def move(run: Programs, _far: int) -> None:
    """Another address, time and again: nothing is lost, and nothing is said to be down."""
    site = Site(run)
    old, new = HERE, NEXT
    for _ in range(6):
        assert all(site.is_well() for _ in range(10))  # by each socket, or most
        ip("address", "add", f"{new}/24", "dev", "here")
        ip("address", "del", f"{old}/24", "dev", "here")  # which takes the other along, as its heir
        ip("address", "replace", f"{new}/24", "dev", "here")
        old, new = new, old
        assert all(site.is_well() for _ in range(10)), site.ls.log
    assert " is down" not in site.ls.log, site.ls.log


def lose_way(run: Programs, _far: int) -> None:
    """Take every way away, and give one again."""
    site = Site(run)
    assert site.is_well()
    for times in (1, 2):
        ip("link", "set", "here", "down")
        assert site.code() == CODES["SERVFAIL"]
        site.ls.logs("DNS1 is unreachable (network is unreachable)", times)
        ip("link", "set", "here", "up")
        site.ls.logs("DNS1 is up", 1 + times)
        assert site.is_well()


def forbid(run: Programs, _far: int) -> None:
    """Put up a firewall here, which drops or rejects."""
    site = Site(run)
    rule = ("--proto", "udp", "--destination", THERE, "--jump")
    for times, way in enumerate((["DROP"], ["REJECT"]), 1):
        assert site.is_well()
        firewall("append", "OUTPUT", *rule, *way)
        assert site.code() == CODES["SERVFAIL"]
        site.ls.logs("DNS1 is unreachable", times)
        firewall("delete", "OUTPUT", *rule, *way)
        site.ls.logs("DNS1 is up", 1 + times)
        assert site.is_well()
    assert "DNS1 is unreachable (operation not permitted)" in site.ls.log


def lose_packets(run: Programs, _far: int) -> None:
    """Lose three replies in ten: who asks again when there is silence, as every stub resolver does,
    gets an answer to each query."""
    site = Site(run)
    loss = ("--match", "statistic", "--mode", "random", "--probability", "0.3", "--jump", "DROP")
    firewall("append", "INPUT", "--proto", "udp", "--source", THERE, *loss)
    open_queries = {site.ask(number)[:2]: number for number in range(50)}
    end = time.monotonic() + PATIENCE_S
    while open_queries:
        assert time.monotonic() < end, site.ls.log
        if select.select([site.client], [], [], JOIN_S)[0]:
            message = site.client.recv(4_096)
            assert message[3] & 15 == 0, site.ls.log
            open_queries.pop(message[:2], None)
        else:
            for number in open_queries.values():
                site.ask(number)
    rules = subprocess.check_output(["iptables", "--list-rules", "INPUT", "--verbose"], text=True)
    (dropped,) = re.findall(r" -c (\d+) \d+ -j DROP", rules)
    assert int(dropped) > 0, "nothing was lost"


def drop_table(run: Programs, far: int) -> None:
    """Drop what comes from one of two table servers: the other one answers, and nobody waits. When
    the firewall lets it through again it answers alone, on the same connection."""
    table = run.table("table", *(f"n{number}.example 10.0.0.{number}" for number in range(100)))
    within = ["nsenter", "--net", "--target", str(far)]
    words = ("--host", THERE, "--allow", f"{HERE}/32", "--table", table)
    ts = run.start("ts", PORT, *words, within=within)
    ts.port()
    near_ts, near = run.ts(table)
    ls, port = run.ls([near], THERE, PORT, linked=False)
    ls.logs(" is up", 2)
    rule = ("--proto", "tcp", "--source", THERE, "--jump", "DROP")
    firewall("append", "INPUT", *rule)
    talk = Talk(port)
    began = time.monotonic()
    for number in range(50):
        talk.say(f"n{number}.example\n".encode())
        said = talk.hear(1)
        assert said == [f"n{number}.example 10.0.0.{number} A IN".encode()], (said, ls.log)
    assert time.monotonic() - began < AT_ONCE_S, ls.log
    firewall("delete", "INPUT", *rule)
    near_ts.kill()
    ls.logs("TS1 is unreachable")
    talk.say(b"n99.example\n")
    assert talk.hear(1) == [b"n99.example 10.0.0.99 A IN"], ls.log
    assert "TS2 is down" not in ls.log, ls.log


def have_ipv6_only(run: Programs, _far: int) -> None:
    """Take every IPv4 address away: lines and DNS are answered by IPv6."""
    ip("address", "flush", "dev", "here", "scope", "global")
    ip("address", "add", f"{HERE_6}/64", "dev", "here", "nodad")
    ip("address", "del", "127.0.0.1/8", "dev", "lo")
    table = run.folder / "table.txt"
    table.write_text("here.example fd09::7 AAAA\n")
    _, ts = run.ts(table, 0, "--host", "::1")
    site = Site(run, "::1", ts, "--dns-upstream", f"[{THERE_6}]:{PORT}", host="::1")
    site.ls.logs("TS1 is up")
    assert site.is_well()
    code, said, log = run.run("client", "::1", site.port, "here.example AAAA")
    assert (code, said) == (0, "here.example fd09::7 AAAA IN\n"), log


SCENES = {
    "move": move,
    "lose_way": lose_way,
    "forbid": forbid,
    "lose_packets": lose_packets,
    "drop_table": drop_table,
    "have_ipv6_only": have_ipv6_only,
}


def main() -> None:
    """Play one scene."""
    scene = sys.argv[1]
    if scene == "resolver":
        resolve()
    with tempfile.TemporaryDirectory() as folder, cable() as far, programs(Path(folder)) as run:
        SCENES[scene](run, far)


if __name__ == "__main__":
    main()
