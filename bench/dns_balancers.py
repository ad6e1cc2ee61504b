"""Balancers of others that the DNS benches put in front of the same servers, and how each starts.

Each is a function from the ports of its servers and a folder; it yields the balancer's port and
process ID. Where relaying is compared, caches are off; they have room for some entries where hits
are compared. dnsmasq and smartdns ask all servers and keep a reply; dnsdist and unbound ask one of
them for each question, and are called `(one)`: they have half of the work, and no fast second
reply.

Not here: ours, and the load (`bench/dnsperf.py`, `bench/open_load.py`).
"""

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from systems import ROOT, free_port

NAMES = 10_000
IN_FLIGHT_MOST = 10_000  # where a balancer has a bound of its own
Balancer = Callable[[list[int], Path], contextlib.AbstractContextManager[tuple[int, int]]]
PACKAGES = {  # of Debian, by the program
    "dnsmasq": "dnsmasq-base", "smartdns": "smartdns", "dnsdist": "dnsdist", "unbound": "unbound",
    "knotd": "knot", "dnsperf": "dnsperf", "cc": "gcc", "openssl": "openssl",
}  # fmt: skip
_VERSION_WORDS = {  # where it is not --version
    "smartdns": "-v", "unbound": "-V", "knotd": "-V", "dnsperf": "-h",
}  # fmt: skip


def missing(*programs: str) -> str:
    """Say which of these programs are not here, and what installs them; empty if all are."""
    packages = [PACKAGES[program] for program in programs if shutil.which(program) is None]
    return f"(Debian, as root: apt-get install {' '.join(packages)})" if packages else ""


def look_in_sbin() -> None:
    """Add the folder to PATH where Debian has servers, and not everybody looks."""
    os.environ["PATH"] += ":/usr/sbin"


def versions(*programs: str) -> str:
    """List those of these programs that are here, with their versions."""
    found = []
    for program in filter(shutil.which, programs):
        words = [program, _VERSION_WORDS.get(program, "--version")]
        done = subprocess.run(words, capture_output=True, text=True)
        said = re.search(r"\d+\.\d[\w.+-]*|\d+(?=\+)", done.stdout + done.stderr)
        found.append(f"{program} {said[0] if said else '?'}")
    return ", ".join(found)


def address(number: int) -> bytes:
    """Return the address of the name with this number."""
    return (10 << 24 | number).to_bytes(4)


def query(number: int, label: bytes = b"") -> bytes:
    """Make a query with this ID, for the address of a label, or of the name with this number."""
    label = label or b"n%d" % number
    head = struct.pack(">6H", number, 0x100, 1, 0, 0, 0)
    return head + bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


@contextlib.contextmanager
def serving(
    words: list[str], port: int, root: Path = ROOT, log: int = subprocess.DEVNULL
) -> Iterator[int]:
    """Start a DNS server and wait until it replies at this port; yield its process ID.

    It is started in `root`, and `log` takes its standard error. Raises RuntimeError."""
    process = subprocess.Popen(words, cwd=root, stdout=subprocess.DEVNULL, stderr=log)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect(("127.0.0.1", port))
            end = time.monotonic() + 20
            while True:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{' '.join(words)} does not serve")
                with contextlib.suppress(OSError):
                    probe.send(query(0))
                    if probe.recv(512):
                        break
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def dnsmasq(port: int, *words: str, entries: int = 0) -> list[str]:
    """Return the command of a dnsmasq that knows nothing but these words, and its cache's size."""
    return [
        "dnsmasq", "--keep-in-foreground", f"--port={port}", "--listen-address=127.0.0.1",
        "--bind-interfaces", "--no-resolv", "--no-hosts", f"--cache-size={entries}",
        "--pid-file=", "--conf-file=/dev/null", "--user=root", "--log-facility=/dev/null", *words,
    ]  # fmt: skip


@contextlib.contextmanager
def all_servers(ports: list[int], folder: Path, entries: int = 0) -> Iterator[tuple[int, int]]:
    """Start a dnsmasq that asks all of these."""
    port = free_port()
    servers = [f"--server=127.0.0.1#{server}" for server in ports]
    words = ["--all-servers", f"--dns-forward-max={IN_FLIGHT_MOST}", *servers]
    with serving(dnsmasq(port, *words, entries=entries), port) as pid:
        yield port, pid


@contextlib.contextmanager
def smartdns(ports: list[int], folder: Path, entries: int = 0) -> Iterator[tuple[int, int]]:
    """Start a smartdns that keeps the fastest response of these."""
    port = free_port()
    lines = [
        f"bind 127.0.0.1:{port}", f"cache-size {entries}", "speed-check-mode none",
        "response-mode fastest-response", "dualstack-ip-selection no", "log-level error",
        f"log-file {folder / 'smartdns.log'}",
        "serve-expired no", "prefetch-domain no", "cache-persist no",
        *(f"server 127.0.0.1:{server}" for server in ports),
    ]  # fmt: skip
    path = folder / "smartdns.conf"
    path.write_text("\n".join(lines) + "\n")
    with serving(["smartdns", "-f", "-c", str(path), "-p", "-"], port) as pid:
        yield port, pid


@contextlib.contextmanager
def dnsdist(ports: list[int], folder: Path, entries: int = 0) -> Iterator[tuple[int, int]]:
    """Start a dnsdist that asks the least busy of these, and looks each second who is up."""
    port = free_port()
    path = folder / "dnsdist.conf"
    # A reply that finds the cache locked is not kept otherwise.
    cache = f"getPool(''):setCache(newPacketCache({entries}, {{deferrableInsertLock=false}}))\n"
    path.write_text(
        f'setLocal("127.0.0.1:{port}")\n'
        + "".join(f'newServer{{address="127.0.0.1:{server}"}}\n' for server in ports)
        + "setMaxUDPOutstanding(65535)\nsetSecurityPollSuffix('')\n"
        + (cache if entries else "")
    )
    with serving(["dnsdist", "-C", str(path), "--supervised"], port) as pid:
        yield port, pid


@contextlib.contextmanager
def unbound(ports: list[int], folder: Path, entries: int = 0) -> Iterator[tuple[int, int]]:
    """Start an unbound that forwards to these: to one of the fast ones, to another if it fails."""
    port = free_port()
    path = folder / "unbound.conf"
    forwards = "\n".join(f"    forward-addr: 127.0.0.1@{server}" for server in ports)
    path.write_text(
        f"""server:
    interface: 127.0.0.1
    port: {port}
    do-daemonize: no
    use-syslog: no
    logfile: "{folder / "unbound.log"}"
    pidfile: ""
    chroot: ""
    username: ""
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    msg-cache-size: {entries}k
    rrset-cache-size: {entries}k
    cache-max-ttl: {86_400 if entries else 0}
    outgoing-range: 8192
    num-queries-per-thread: 4096
forward-zone:
    name: "."
{forwards}
"""
    )
    with serving(["unbound", "-d", "-c", str(path)], port) as pid:
        yield port, pid


@dataclass(frozen=True)
class Peer:
    """A balancer of others, and the programs that it needs. `start` takes the entries of its cache
    beside what a balancer takes."""

    start: Callable[[list[int], Path, int], contextlib.AbstractContextManager[tuple[int, int]]]
    needs: tuple[str, ...]

    def balancer(self, entries: int = 0) -> Balancer:
        """Return it with room for so many entries in its cache; 0 is without one."""
        return lambda ports, folder: self.start(ports, folder, entries)


DNSMASQ, SMARTDNS, UNBOUND = "dnsmasq --all-servers", "smartdns", "unbound (one)"
PEERS = {
    DNSMASQ: Peer(all_servers, ("dnsmasq",)),
    SMARTDNS: Peer(smartdns, ("smartdns",)),
    "dnsdist (one)": Peer(dnsdist, ("dnsdist",)),
    UNBOUND: Peer(unbound, ("unbound",)),
}


def peers_here(*servers: str) -> dict[str, Balancer]:
    """Return the peers that can be started here; leave out others with a line for each.

    `servers` are the programs that they need behind them."""
    found = {}
    for name, peer in PEERS.items():
        if why := missing(*dict.fromkeys((*peer.needs, *servers))):
            print(f"without {name} {why}")
        else:
            found[name] = peer.balancer()
    return found
